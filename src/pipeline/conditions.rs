//! Conditional requests (RFC 9110, 13) as nginx weighs them: answers 304 and 412 in place of 200.

use super::answer::{AnswerHead, Body};
use super::exchange::Exchange;
use super::settings::IfModifiedSince;
use crate::http::{Known, date};

/// What a request's conditions ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The answer as it is.
    Send,
    /// 304: the client has it already.
    NotModified,
    /// 412: it is not what the client takes it for.
    Failed,
}

/// Weighs the request's conditions against an answer of status 200 that the gateway has made itself, by
/// its `Last-Modified` and `ETag` as far as it has them, and makes it a 304 where the client has it
/// already. What an upstream answers is not weighed: that was up to it.
///
/// # Errors
/// The status that the request is to be answered with instead; the answer is empty then.
pub fn weigh(x: &mut Exchange, body: &mut Body) -> Result<(), u16> {
    if x.answer.status != 200
        || matches!(body, Body::Upstream | Body::Tunnel)
        || !x.head.fields.list.iter().any(|field| is_condition(field.known))
    {
        return Ok(());
    }
    let modified_unix_s = x.answer.fields.find(Known::LastModified).and_then(date::parse_http);
    let etag = x.answer.fields.find(Known::Etag);
    match Conditions::of(x).weigh(x.here.settings.if_modified_since, modified_unix_s, etag) {
        Verdict::Send => Ok(()),
        Verdict::NotModified => {
            make_not_modified(&mut x.answer);
            // It is the status even where `error_page ... =200` led here.
            x.error_status = None;
            *body = Body::None;
            Ok(())
        }
        Verdict::Failed => {
            // Its page depends on what the client accepts as much as the answer would have.
            let coding_varies = x.answer.coding_varies;
            x.answer.clear();
            x.answer.coding_varies = coding_varies;
            Err(412)
        }
    }
}

fn is_condition(known: Known) -> bool {
    matches!(known, Known::IfMatch | Known::IfNoneMatch | Known::IfModifiedSince | Known::IfUnmodifiedSince)
}

fn make_not_modified(answer: &mut AnswerHead) {
    answer.status = 304;
    answer.reason.clear();
    answer.content_type.clear();
    answer.length = None;
    for known in [Known::ContentLength, Known::AcceptRanges, Known::ContentEncoding] {
        answer.fields.remove(known);
    }
}

/// The fields of a request that make it conditional.
#[derive(Clone, Copy, Debug, Default)]
struct Conditions<'a> {
    if_match: Option<&'a [u8]>,
    if_none_match: Option<&'a [u8]>,
    if_modified_since: Option<&'a [u8]>,
    if_unmodified_since: Option<&'a [u8]>,
}

impl<'a> Conditions<'a> {
    fn of(x: &'a Exchange) -> Conditions<'a> {
        let buffer = x.input.filled();
        let value = |known| x.head.fields.find(known).map(|field| field.value.of(buffer));
        Conditions {
            if_match: value(Known::IfMatch),
            if_none_match: value(Known::IfNoneMatch),
            if_modified_since: value(Known::IfModifiedSince),
            if_unmodified_since: value(Known::IfUnmodifiedSince),
        }
    }

    fn weigh(self, mode: IfModifiedSince, modified: Option<i64>, etag: Option<&[u8]>) -> Verdict {
        if self.if_unmodified_since.is_some_and(|since| !unmodified(since, modified)) {
            return Verdict::Failed;
        }
        if self.if_match.is_some_and(|list| !matches(list, etag, false)) {
            return Verdict::Failed;
        }
        if self.if_modified_since.is_none() && self.if_none_match.is_none() {
            return Verdict::Send;
        }
        // Both present: both have to say that nothing changed. RFC 9110, 13.2.2 would look at
        // If-None-Match alone; this errs on the side of sending.
        let changed = self.if_modified_since.is_some_and(|since| changed_since(mode, since, modified));
        let other = self.if_none_match.is_some_and(|list| !matches(list, etag, true));
        if changed || other { Verdict::Send } else { Verdict::NotModified }
    }
}

/// A date that is none is taken for one before all others.
fn unmodified(since: &[u8], modified: Option<i64>) -> bool {
    modified.is_some_and(|modified| date::parse_http(since).is_some_and(|since| since >= modified))
}

fn changed_since(mode: IfModifiedSince, since: &[u8], modified: Option<i64>) -> bool {
    let (Some(modified), Some(since)) = (modified, date::parse_http(since)) else { return true };
    match mode {
        IfModifiedSince::Off => true,
        IfModifiedSince::Exact => since != modified,
        IfModifiedSince::Before => since < modified,
    }
}

/// Whether the list names the answer's tag, or is `*`. The weak comparison (RFC 9110, 8.8.3.2) does
/// not look at `W/`.
fn matches(list: &[u8], etag: Option<&[u8]>, weak: bool) -> bool {
    if list == b"*" {
        return true;
    }
    let Some(etag) = etag else { return false };
    let etag = if weak { strong_part(etag) } else { etag };
    let mut rest = list;
    while !rest.is_empty() {
        if weak {
            rest = strong_part(rest);
        }
        if let Some(behind) = rest.strip_prefix(etag)
            && matches!(behind.trim_ascii_start().first(), None | Some(b','))
        {
            return true;
        }
        // A comma inside of a tag splits it, as in nginx: at worst the answer is sent.
        let comma = rest.iter().position(|&byte| byte == b',').unwrap_or(rest.len());
        rest = rest.get(comma..).unwrap_or_default();
        while let [b',' | b' ' | b'\t', behind @ ..] = rest {
            rest = behind;
        }
    }
    false
}

fn strong_part(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use IfModifiedSince::{Before, Exact, Off};
    use Verdict::{Failed, NotModified, Send};

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AT: i64 = 784_111_777;

    #[test]
    fn dates() {
        let since = |text: &'static str| Conditions {
            if_modified_since: Some(text.as_bytes()),
            ..Conditions::default()
        };
        let unless = |text: &'static str| Conditions {
            if_unmodified_since: Some(text.as_bytes()),
            ..Conditions::default()
        };
        for (conditions, mode, modified, want) in [
            (since(DATE), Exact, Some(AT), NotModified),
            (since(LATER), Exact, Some(AT), Send),
            (since(EARLIER), Exact, Some(AT), Send),
            (since(DATE), Before, Some(AT), NotModified),
            (since(LATER), Before, Some(AT), NotModified),
            (since(EARLIER), Before, Some(AT), Send),
            (since(DATE), Off, Some(AT), Send),
            (since(DATE), Exact, None, Send),
            (since("yesterday"), Before, Some(AT), Send),
            (unless(DATE), Exact, Some(AT), Send),
            (unless(LATER), Exact, Some(AT), Send),
            (unless(EARLIER), Exact, Some(AT), Failed),
            (unless("yesterday"), Exact, Some(AT), Failed),
            (unless(DATE), Exact, None, Failed),
            (Conditions::default(), Exact, Some(AT), Send),
        ] {
            assert_eq!(conditions.weigh(mode, modified, None), want, "{conditions:?} {mode:?} {modified:?}");
        }
    }

    #[test]
    fn tags() {
        for (list, etag, strong, weak) in [
            ("\"a\"", "\"a\"", true, true),
            ("\"b\"", "\"a\"", false, false),
            ("*", "\"a\"", true, true),
            ("\"b\", \"a\"", "\"a\"", true, true),
            ("\"b\",\"c\"\t,\t\"a\" , \"d\"", "\"a\"", true, true),
            ("W/\"a\"", "\"a\"", false, true),
            ("\"a\"", "W/\"a\"", false, true),
            ("W/\"a\"", "W/\"a\"", true, true),
            ("W/\"b\", W/\"a\"", "\"a\"", false, true),
            ("\"a\"x", "\"a\"", false, false),
            ("\"a\"x, \"a\"", "\"a\"", true, true),
            ("\"a", "\"a\"", false, false),
            (",, \"a\"", "\"a\"", true, true),
            ("", "\"a\"", false, false),
        ] {
            let (list_bytes, tag) = (list.as_bytes(), Some(etag.as_bytes()));
            assert_eq!(matches(list_bytes, tag, false), strong, "strong {list} {etag}");
            assert_eq!(matches(list_bytes, tag, true), weak, "weak {list} {etag}");
        }
        assert!(matches(b"*", None, false) && !matches(b"\"a\"", None, true));
    }

    #[test]
    fn together() {
        let all = |m: &'static str, n: &'static str, s: &'static str| Conditions {
            if_match: (!m.is_empty()).then_some(m.as_bytes()),
            if_none_match: (!n.is_empty()).then_some(n.as_bytes()),
            if_modified_since: (!s.is_empty()).then_some(s.as_bytes()),
            if_unmodified_since: None,
        };
        for (conditions, want) in [
            (all("", "\"a\"", DATE), NotModified),
            (all("", "\"a\"", EARLIER), Send),
            (all("", "\"b\"", DATE), Send),
            (all("\"a\"", "\"a\"", ""), NotModified),
            (all("\"b\"", "\"a\"", DATE), Failed),
            (all("\"a\"", "", ""), Send),
        ] {
            assert_eq!(conditions.weigh(Exact, Some(AT), Some(b"\"a\"")), want, "{conditions:?}");
        }
    }
}
