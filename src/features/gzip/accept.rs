//! Whether a client gets a compressed answer: what it accepts, and what the configuration says of
//! proxies and of clients that only claim to.

use crate::base::clock;
use crate::base::process_settings::Level;
use crate::conf::{Diagnostic, Scope};
use crate::http::{Known, Version, date, list};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::pattern::{Groups, Pattern};
use crate::plan::builder::Builder;

/// The words of `gzip_proxied`.
const PROXIED: [(&str, Proxied); 9] = [
    ("off", Proxied::Off),
    ("expired", Proxied::Expired),
    ("no-cache", Proxied::NoCache),
    ("no-store", Proxied::NoStore),
    ("private", Proxied::Private),
    ("no_last_modified", Proxied::NoLastModified),
    ("no_etag", Proxied::NoEtag),
    ("auth", Proxied::Auth),
    ("any", Proxied::Any),
];

/// To which requests that came through a proxy compressed answers are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proxied {
    Off,
    Expired,
    NoCache,
    NoStore,
    Private,
    NoLastModified,
    NoEtag,
    Auth,
    Any,
}

/// What one location says of it.
pub(super) struct Acceptance {
    version: Version,
    proxied: Vec<Proxied>,
    /// `gzip_disable msie6`.
    not_for_old_explorers: bool,
    /// `gzip_disable`: not for these clients.
    disabled: Vec<Pattern>,
}

impl Acceptance {
    pub(super) fn compile(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<Acceptance, Diagnostic> {
        let version = scope.one_of(
            "gzip_http_version",
            &[("1.0", Version::Http10), ("1.1", Version::Http11)],
            Version::Http11,
        )?;
        let mut proxied = Vec::new();
        for line in scope.all("gzip_proxied") {
            for word in &line.args {
                let Some((_, meaning)) = PROXIED.iter().find(|(name, _)| *name == word.text) else {
                    return Err(scope.error_at(line, word, format!("invalid value \"{}\"", word.text)));
                };
                proxied.push(*meaning);
            }
        }
        let mut disabled = Vec::new();
        for line in scope.all("gzip_disable") {
            for word in line.args.iter().filter(|word| word.text != MSIE6) {
                disabled.push(b.pattern(&word.text, true, word)?.pattern);
            }
        }
        Ok(Acceptance { version, proxied, not_for_old_explorers: names_msie6(scope), disabled })
    }

    /// Whether the answer to this request may be compressed.
    pub(super) fn allows(&self, x: &Exchange) -> bool {
        if x.depth > 0 {
            return false;
        }
        let field = |known| x.head.fields.find(known).map(|field| field.value.of(x.input.filled()));
        if !field(Known::AcceptEncoding).is_some_and(accepts_gzip) || x.version() < self.version {
            return false;
        }
        let agent = field(Known::UserAgent);
        if self.not_for_old_explorers && agent.is_some_and(is_old_explorer) {
            return false;
        }
        if field(Known::Via).is_some() && !self.allows_proxied(x, field(Known::Authorization).is_some()) {
            return false;
        }
        !agent.is_some_and(|agent| self.is_disabled(x, agent))
    }

    fn is_disabled(&self, x: &Exchange, agent: &[u8]) -> bool {
        let matches = |pattern: &Pattern| {
            pattern.matches(agent, &mut Groups::default()).unwrap_or_else(|e| {
                let agent = String::from_utf8_lossy(agent);
                x.log(Level::Alert, format_args!("pcre2_match() failed: {e} on \"{agent}\""));
                true
            })
        };
        self.disabled.iter().any(matches)
    }

    fn allows_proxied(&self, x: &Exchange, authorized: bool) -> bool {
        let told = |word| self.proxied.contains(&word);
        if told(Proxied::Off) || self.proxied.is_empty() {
            return false;
        }
        if told(Proxied::Any) || (authorized && told(Proxied::Auth)) {
            return true;
        }
        let fields = &x.answer.fields;
        if let Some(expires) = fields.find(Known::Expires) {
            return told(Proxied::Expired) && has_expired(expires, fields.find(Known::Date));
        }
        if fields.find(Known::CacheControl).is_some() {
            let says = |word: &[u8]| {
                fields.iter().any(|(_, value, known)| known == Known::CacheControl && list::has(value, word))
            };
            return (told(Proxied::NoCache) && says(b"no-cache"))
                || (told(Proxied::NoStore) && says(b"no-store"))
                || (told(Proxied::Private) && says(b"private"));
        }
        let has = |known| fields.find(known).is_some();
        !(told(Proxied::NoLastModified) && has(Known::LastModified)
            || told(Proxied::NoEtag) && has(Known::Etag))
    }
}

const MSIE6: &str = "msie6";

/// `msie6` holds on from any level, unlike the patterns beside it.
fn names_msie6(scope: &Scope<'_>) -> bool {
    let mut level = Some(scope.clone());
    while let Some(scope) = level {
        if scope.here("gzip_disable").any(|line| line.args.iter().any(|word| word.text == MSIE6)) {
            return true;
        }
        level = scope.parent();
    }
    false
}

fn has_expired(expires: &[u8], date: Option<&[u8]>) -> bool {
    let Some(expires) = date::parse_http(expires) else { return false };
    let now = match date {
        Some(date) => date::parse_http(date),
        None => i64::try_from(clock::unix_time(clock::now()).as_secs()).ok(),
    };
    now.is_some_and(|now| expires < now)
}

/// Whether an `Accept-Encoding` allows gzip, as nginx reads it: the first `gzip` that begins a word, and
/// its weight.
fn accepts_gzip(value: &[u8]) -> bool {
    const GZIP: &[u8] = b"gzip";
    let begins = |at: &usize| {
        let behind = value.get(*at..).unwrap_or_default();
        let before = at.checked_sub(1).and_then(|at| value.get(at));
        behind.get(..GZIP.len()).is_some_and(|word| word.eq_ignore_ascii_case(GZIP))
            && matches!(before, None | Some(b',' | b' '))
    };
    let Some(at) = (0..value.len()).find(begins) else { return false };
    match spaceless(value.get(at + GZIP.len()..).unwrap_or_default()) {
        [] | [b',', ..] => true,
        [b';', rest @ ..] => match spaceless(rest) {
            [] => true,
            [b'q' | b'Q', b'=', weight @ ..] => is_positive(weight),
            _ => false,
        },
        _ => false,
    }
}

fn spaceless(bytes: &[u8]) -> &[u8] {
    let spaces = bytes.iter().take_while(|&&byte| byte == b' ').count();
    bytes.get(spaces..).unwrap_or_default()
}

/// Whether a weight (RFC 9110, 12.4.2) is well-formed and above zero.
fn is_positive(weight: &[u8]) -> bool {
    let end = weight.iter().position(|byte| matches!(byte, b',' | b' ')).unwrap_or(weight.len());
    let weight = weight.get(..end).unwrap_or_default();
    let (whole, fraction) = match weight {
        [whole @ (b'0' | b'1')] => (whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', fraction @ ..] => (whole, fraction),
        _ => return false,
    };
    let digits = fraction.len() <= 3 && fraction.iter().all(u8::is_ascii_digit);
    let some = fraction.iter().any(|&digit| digit != b'0');
    digits && (some != (*whole == b'1'))
}

/// Internet Explorer 4 to 6, but not the 6 of Windows XP SP2, which can: what nginx's `msie6` means.
fn is_old_explorer(agent: &[u8]) -> bool {
    const NAME: &[u8] = b"MSIE ";
    let finder = |needle: &[u8]| memchr::memmem::find(agent, needle);
    let Some(at) = finder(NAME) else { return false };
    if finder(b"Opera").is_some() {
        return false;
    }
    match agent.get(at + NAME.len()..) {
        Some([b'4' | b'5', b'.', ..]) => true,
        Some([b'6', b'.', rest @ ..]) => memchr::memmem::find(rest, b"SV1").is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_codings() {
        for (value, want) in [
            ("gzip", true),
            ("gzip,deflate", true),
            ("deflate, GZip", true),
            ("deflate,gzip ,br", true),
            ("x-gzip", false),
            ("x-gzip, gzip", true),
            ("gzipped", false),
            ("gzip;q=1", true),
            ("gzip; q=0.001", true),
            ("gzip;q=0", false),
            ("gzip;q=0.000, deflate", false),
            ("gzip;q=1.000", true),
            ("gzip;q=1.001", false),
            ("gzip;q=0.0001", false),
            ("gzip;q=", false),
            ("gzip;q=2", false),
            ("gzip;q=0.5x", false),
            ("gzip ; Q=0.5 , br", true),
            ("gzip; level=1", false),
            ("gzip;", true),
            ("*", false),
            ("", false),
        ] {
            assert_eq!(accepts_gzip(value.as_bytes()), want, "{value}");
        }
    }

    #[test]
    fn old_explorers() {
        for (agent, want) in [
            ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)", true),
            ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; SV1)", false),
            ("Mozilla/4.0 (compatible; MSIE 5.5; Windows)", true),
            ("Mozilla/4.0 (compatible; MSIE 7.0; Windows)", false),
            ("Mozilla/4.0 (compatible; MSIE 6.0; Windows) Opera 7", false),
            ("curl/8", false),
        ] {
            assert_eq!(is_old_explorer(agent.as_bytes()), want, "{agent}");
        }
    }

    #[test]
    fn expiry() {
        let date = Some(&b"Sun, 06 Nov 1994 08:49:37 GMT"[..]);
        assert!(has_expired(b"Thu, 01 Jan 1970 00:00:01 GMT", None));
        assert!(!has_expired(b"Thu, 31 Dec 2037 23:55:55 GMT", None));
        assert!(has_expired(b"Sun, 06 Nov 1994 08:49:36 GMT", date));
        assert!(!has_expired(b"Sun, 06 Nov 1994 08:49:37 GMT", date));
        assert!(!has_expired(b"0", None) && !has_expired(b"Sun, 06 Nov 1994 08:49:36 GMT", Some(b"x")));
    }
}
