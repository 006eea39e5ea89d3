//! What an upstream tells the gateway in `X-Accel-*` fields, as far as `proxy_ignore_headers` lets it.

use super::settings::ProxySettings;
use crate::conf::{Diagnostic, Scope};
use crate::http::Known;
use crate::http::uri::{Unescape, unescape};
use crate::pipeline::answer::Answer;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::field_set::FieldSet;
use crate::pipeline::step::{Flow, Relocation};

/// The fields that can be ignored. Those for caches mean nothing where nothing is cached.
const IGNORABLE: [&str; 9] = [
    "X-Accel-Redirect",
    "X-Accel-Expires",
    "X-Accel-Limit-Rate",
    "X-Accel-Buffering",
    "X-Accel-Charset",
    "Expires",
    "Cache-Control",
    "Set-Cookie",
    "Vary",
];

/// The fields that `X-Accel-Redirect` takes along to the answer it leads to.
const TAKEN_ALONG: [Known; 5] =
    [Known::SetCookie, Known::ContentDisposition, Known::CacheControl, Known::Expires, Known::AcceptRanges];

/// `proxy_ignore_headers`.
///
/// # Errors
/// A field that it does not know.
pub fn ignored(scope: &Scope<'_>) -> Result<FieldSet, Diagnostic> {
    let mut ignored = FieldSet::default();
    for directive in scope.all("proxy_ignore_headers") {
        for word in &directive.args {
            if !IGNORABLE.iter().any(|name| name.eq_ignore_ascii_case(&word.text)) {
                let message = format!("invalid value \"{}\"", word.text);
                let hint = format!("one of: {}", IGNORABLE.join(", "));
                return Err(scope.error_at(directive, word, message).with_hint(hint));
            }
            ignored.insert(word.text.as_bytes());
        }
    }
    Ok(ignored)
}

/// The value of one of the fields, unless it is to be ignored.
fn told<'x>(settings: &ProxySettings, x: &'x Exchange, known: Known) -> Option<&'x [u8]> {
    let field = x.upstream_head.fields.find(known)?;
    let value = field.value.of(x.upstream_input.filled());
    (!settings.ignored.contains(known, b"")).then_some(value)
}

/// Whether the answer is gathered into full buffers: what `X-Accel-Buffering` says, else
/// `proxy_buffering`.
pub fn is_gathered(settings: &ProxySettings, x: &Exchange) -> bool {
    match told(settings, x, Known::XAccelBuffering) {
        Some(value) if value.eq_ignore_ascii_case(b"yes") => true,
        Some(value) if value.eq_ignore_ascii_case(b"no") => false,
        _ => settings.buffering,
    }
}

/// Takes `X-Accel-Limit-Rate` to heart.
pub fn limit_rate(settings: &ProxySettings, x: &mut Exchange) {
    let rate = told(settings, x, Known::XAccelLimitRate).and_then(|value| {
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        std::str::from_utf8(value).ok().filter(|_| digits)?.parse::<u64>().ok()
    });
    if rate.is_some() {
        x.limit_rate = rate;
    }
}

/// Takes over `X-Accel-Charset`: what the answer is to be recoded into.
pub fn charset(settings: &ProxySettings, x: &mut Exchange) {
    x.answer.charset =
        told(settings, x, Known::XAccelCharset).filter(|name| !name.is_empty()).map(<[u8]>::to_vec);
}

/// Where `X-Accel-Redirect` sends the request, with the fields that go along in the answer. `None`
/// without the field.
pub fn redirect(settings: &ProxySettings, x: &mut Exchange) -> Option<Flow> {
    let target = told(settings, x, Known::XAccelRedirect)?.to_vec();
    take_along(settings, x);
    if let Some(name) = target.strip_prefix(b"@") {
        let name = String::from_utf8_lossy(name).into_owned();
        return Some(Flow::Relocate(Relocation::Named(name.into())));
    }
    let Some((uri, args)) = safe(&target) else {
        x.log(
            crate::base::process_settings::Level::Error,
            format_args!("unsafe URI \"{}\" was detected", String::from_utf8_lossy(&target)),
        );
        return Some(Flow::Answer(Answer::Status(404)));
    };
    x.become_get();
    Some(Flow::Relocate(Relocation::Uri { uri, args: Some(args) }))
}

fn take_along(settings: &ProxySettings, x: &mut Exchange) {
    let cookies = super::answer::rewritten_cookies(settings, x);
    let Exchange { answer, upstream_head: head, upstream_input, .. } = x;
    let buffer = upstream_input.filled();
    answer.clear();
    let mut cookies = cookies.into_iter();
    for field in &head.fields.list {
        let (name, value) = (field.name.of(buffer), field.value.of(buffer));
        match field.known {
            Known::ContentType => {
                answer.content_type.clear();
                answer.content_type.extend_from_slice(value);
            }
            Known::SetCookie => match cookies.next().flatten() {
                Some(cookie) => answer.fields.push_with(name, |out| out.extend_from_slice(&cookie)),
                None => answer.fields.push_known(field.known, name, value),
            },
            known if TAKEN_ALONG.contains(&known) => answer.fields.push_known(known, name, value),
            _ => {}
        }
    }
}

/// Path and arguments of a URI that stays below the root, decoded; `None` if it does not.
fn safe(uri: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (path, args) = match uri.iter().position(|&byte| byte == b'?') {
        Some(at) => (&uri[..at], &uri[at + 1..]),
        None => (uri, &[][..]),
    };
    let mut decoded = Vec::with_capacity(path.len());
    unescape(Unescape::All, path, &mut decoded);
    let climbs = |path: &[u8]| path.split(|&byte| byte == b'/').any(|segment| segment == b"..");
    let safe = path.first() == Some(&b'/') && !decoded.contains(&0) && !climbs(&decoded);
    safe.then(|| (decoded, args.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_that_climb_are_unsafe() {
        for uri in ["", "..", "../a", "/a/..", "/a/.%2e", "/a/../b", "a", "?a", "/%00"] {
            assert_eq!(safe(uri.as_bytes()), None, "{uri}");
        }
        assert_eq!(safe(b"/a%20b/..c?d=%20"), Some((b"/a b/..c".to_vec(), b"d=%20".to_vec())));
        assert_eq!(safe(b"/"), Some((b"/".to_vec(), Vec::new())));
    }
}
