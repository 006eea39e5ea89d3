//! `sticky`: requests of a session go to the server that the first one went to. A cookie that we set
//! names it (`cookie`), or a variable does by the server's `route=` (`route`).

use super::method::Selector;
use crate::base::clock;
use crate::conf::{Diagnostic, Directive, Scope, Word, value};
use crate::http::date;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::step::HeaderFilter;
use crate::pipeline::template::{Part, Template};
use crate::plan::builder::Builder;
use crate::upstream::balance::{Balancer, Tried};
use crate::upstream::group::PeerSettings;
use ahash::AHashMap;
use md5::{Digest, Md5};
use std::fmt::Write;
use std::sync::Arc;

/// Bytes of a route, at most: those of an MD5 sum in hexadecimal, which servers without a route have.
const ROUTE_BYTES_MAX: usize = 32;

/// The end of the calendar for `expires=max`, as nginx words it.
const EXPIRES_MAX: &str = "; expires=Thu, 31-Dec-37 23:55:55 GMT; max-age=315360000";

/// Years up to which the date of a cookie has two digits for them, as clients once wanted.
const SHORT_YEAR_MAX: &str = "2037";

/// `sticky` of one group.
pub struct Sticky {
    /// Where a request names its server; the first that is not empty counts.
    lookup: Vec<Template>,
    cookie: Option<Cookie>,
    /// What is said of each server, by its address.
    sids: AHashMap<Arc<str>, Arc<str>>,
}

/// The cookie that is set.
struct Cookie {
    name: String,
    expires: Option<Expires>,
    domain: Option<Template>,
    is_httponly: bool,
    is_secure: bool,
    samesite: Option<Template>,
    path: Option<String>,
}

enum Expires {
    Max,
    InSeconds(i64),
}

impl Sticky {
    /// Compiles the line.
    ///
    /// # Errors
    /// What nginx refuses, in its words; and what is not built.
    pub(super) fn compile(
        scope: &Scope<'_>,
        line: &Directive,
        b: &mut Builder<'_>,
    ) -> Result<Sticky, Diagnostic> {
        let Some((kind, words)) = line.args.split_first() else {
            return Err(scope.error(line, "invalid number of arguments in \"sticky\" directive"));
        };
        let (lookup, cookie) = match kind.text.as_str() {
            "cookie" => {
                let Some((name, options)) = words.split_first() else {
                    return Err(scope.error(line, "invalid number of arguments in \"sticky\" directive"));
                };
                if name.text.is_empty() {
                    return Err(scope.error(line, "\"sticky\" directive empty cookie name"));
                }
                let sent = b.variable(&format!("cookie_{}", name.text), name);
                let lookup = vec![Template::new(vec![Part::Variable(sent)])];
                (lookup, Some(Cookie::compile(scope, line, name, options, b)?))
            }
            "route" => {
                let variable = |word: &Word, b: &mut Builder<'_>| match word.text.strip_prefix('$') {
                    Some(name) if !name.is_empty() => {
                        Ok(Template::new(vec![Part::Variable(b.variable(name, word))]))
                    }
                    _ => {
                        let message = format!("invalid variable name \"{}\"", word.text);
                        Err(scope.error_at(line, word, message))
                    }
                };
                (words.iter().map(|word| variable(word, b)).collect::<Result<_, _>>()?, None)
            }
            "learn" => {
                let message = "parameter \"learn\" is not supported by Octroi (sessions that servers begin are not kept yet)";
                return Err(scope.error_at(line, kind, message));
            }
            other => return Err(scope.error_at(line, kind, format!("unknown parameter \"{other}\""))),
        };
        Ok(Sticky { lookup, cookie, sids: AHashMap::new() })
    }

    /// The same for these servers, which get names where they have no route.
    pub(super) fn over(mut self, peers: &mut [PeerSettings]) -> Sticky {
        for peer in peers {
            let sid = peer.sid.get_or_insert_with(|| sum(&peer.label)).clone();
            self.sids.entry(peer.label.clone()).or_insert(sid);
        }
        self
    }

    /// Makes a request stick to the server it names.
    pub(super) fn prefer(&self, x: &Exchange, balancer: &Balancer, tried: &mut Tried) {
        let named = self.lookup.iter().map(|place| place.value(x)).find(|named| !named.is_empty());
        if let Some(named) = named {
            balancer.prefer(tried, &named);
        }
    }
}

/// What names a server without a route: the MD5 sum of its address, as in nginx.
fn sum(label: &str) -> Arc<str> {
    let mut text = String::with_capacity(ROUTE_BYTES_MAX);
    for byte in Md5::digest(label.as_bytes()) {
        let _ = write!(text, "{byte:02x}");
    }
    text.into()
}

/// The value of `route=`.
///
/// # Errors
/// nginx's words for one that is empty or too long.
pub(super) fn route(text: &str) -> Result<Arc<str>, String> {
    match text.len() {
        0 => Err("route is empty".to_owned()),
        len if len > ROUTE_BYTES_MAX => Err(format!("route is longer than {ROUTE_BYTES_MAX}")),
        _ => Ok(text.into()),
    }
}

impl Cookie {
    fn compile(
        scope: &Scope<'_>,
        line: &Directive,
        name: &Word,
        options: &[Word],
        b: &mut Builder<'_>,
    ) -> Result<Cookie, Diagnostic> {
        let mut cookie = Cookie {
            name: name.text.clone(),
            expires: None,
            domain: None,
            is_httponly: false,
            is_secure: false,
            samesite: None,
            path: None,
        };
        for word in options {
            let (option, text) = match word.text.split_once('=') {
                Some((option, text)) => (option, Some(text)),
                None => (word.text.as_str(), None),
            };
            let wrong =
                |what: String| Err(scope.error_at(line, word, format!("\"sticky\" directive {what}")));
            let is_known = match option {
                "domain" => cookie.domain.is_some(),
                "path" => cookie.path.is_some(),
                "expires" => cookie.expires.is_some(),
                "samesite" => cookie.samesite.is_some(),
                "httponly" => cookie.is_httponly,
                "secure" => cookie.is_secure,
                _ => false,
            };
            if is_known {
                return wrong(format!("parameter \"{option}\" is duplicate"));
            }
            match (option, text) {
                ("domain" | "path", Some("")) => return wrong(format!("no value for \"{option}\"")),
                ("domain", Some(text)) => cookie.domain = Some(b.template_of(text, word)?),
                ("path", Some(text)) => cookie.path = Some(text.to_owned()),
                ("expires", Some("max")) => cookie.expires = Some(Expires::Max),
                ("expires", Some(text)) => match value::time_s(text).and_then(|s| i64::try_from(s).ok()) {
                    Some(seconds) => cookie.expires = Some(Expires::InSeconds(seconds)),
                    None => return wrong("invalid \"expires\" parameter value".to_owned()),
                },
                ("httponly", None) => cookie.is_httponly = true,
                ("secure", None) => cookie.is_secure = true,
                ("samesite", Some(text)) => {
                    let value = b.template_of(text, word)?;
                    if value.as_literal().is_some_and(|text| !is_samesite(text)) {
                        return wrong("invalid \"samesite\" parameter value".to_owned());
                    }
                    cookie.samesite = Some(value);
                }
                _ => {
                    let message = format!("unknown parameter \"{}\"", word.text);
                    return Err(scope.error_at(line, word, message));
                }
            }
        }
        Ok(cookie)
    }

    /// The value of `Set-Cookie` for a server.
    fn write(&self, sid: &str, x: &Exchange, out: &mut Vec<u8>) {
        let mut put = |name: &str, value: &[u8]| {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(value);
        };
        put(&self.name, b"=");
        put(sid, b"");
        match self.expires {
            Some(Expires::Max) => put(EXPIRES_MAX, b""),
            Some(Expires::InSeconds(seconds)) => {
                let now = i64::try_from(clock::unix_time(clock::now()).as_secs()).unwrap_or(i64::MAX);
                put("; expires=", cookie_date(now.saturating_add(seconds)).as_bytes());
                put("; max-age=", seconds.to_string().as_bytes());
            }
            None => {}
        }
        let domain = self.domain.as_ref().map(|domain| domain.value(x));
        if let Some(domain) = domain.filter(|domain| !domain.is_empty()) {
            put("; domain=", &domain);
        }
        if self.is_httponly {
            put("; httponly", b"");
        }
        if self.is_secure {
            put("; secure", b"");
        }
        let samesite = self.samesite.as_ref().map(|samesite| samesite.value(x));
        if let Some(samesite) = samesite.filter(|samesite| !samesite.is_empty()) {
            // What a variable says wrongly is taken for the strictest.
            put("; samesite=", if is_samesite(&samesite) { &samesite } else { b"strict" });
        }
        if let Some(path) = &self.path {
            put("; path=", path.as_bytes());
        }
    }
}

fn is_samesite(text: &[u8]) -> bool {
    ["strict", "lax", "none"].iter().any(|known| text.eq_ignore_ascii_case(known.as_bytes()))
}

/// `Sun, 22-Nov-26 18:00:00 GMT`, with four digits for years after 2037.
fn cookie_date(unix_s: i64) -> String {
    let text = String::from_utf8_lossy(&date::http(unix_s)).into_owned();
    let parts: Vec<&str> = text.split(' ').collect();
    let [weekday, day, month, year, time, zone] = parts.as_slice() else { return text };
    let year = if *year <= SHORT_YEAR_MAX { year.get(2..).unwrap_or(year) } else { year };
    format!("{weekday} {day}-{month}-{year} {time} {zone}")
}

/// Says in the answer which server the next request should name.
pub struct StickyFilter {
    sticky: Arc<Sticky>,
    /// The group, where a URL of variables may have named another.
    group: Option<Box<[u8]>>,
}

impl StickyFilter {
    /// For answers from a group; `None` for one that sets no cookie. `group` is its name, if the
    /// location may ask others.
    pub fn new(selector: &Selector, group: Option<&str>) -> Option<StickyFilter> {
        let sticky = selector.sticky.clone().filter(|sticky| sticky.cookie.is_some())?;
        Some(StickyFilter { sticky, group: group.map(|name| name.as_bytes().into()) })
    }
}

impl HeaderFilter for StickyFilter {
    fn filter(&self, x: &mut Exchange) {
        let Some(cookie) = &self.sticky.cookie else { return };
        if self.group.as_ref().is_some_and(|group| !x.proxy_host.eq_ignore_ascii_case(group)) {
            return;
        }
        let first = x.upstream.groups.last().copied().unwrap_or(0);
        let attempts = x.upstream.attempts.get(first..).unwrap_or_default();
        // The last server that was chosen, whatever it answered.
        let sid = attempts.iter().rev().find_map(|attempt| self.sticky.sids.get(&attempt.peer));
        let Some(sid) = sid else { return };
        let mut value = Vec::new();
        cookie.write(sid, x, &mut value);
        x.answer.fields.push(b"Set-Cookie", &value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_have_dates_of_their_own() {
        assert_eq!(cookie_date(784_111_777), "Sun, 06-Nov-94 08:49:37 GMT");
        assert_eq!(cookie_date(2_145_916_800), "Fri, 01-Jan-2038 00:00:00 GMT");
    }

    #[test]
    fn servers_without_a_route_have_the_sum_of_their_address() {
        assert_eq!(&*sum("127.0.0.1:8081"), "df2b80dc43705d28db9be6f29fe58da3");
        assert!(route("").is_err() && route(&"x".repeat(33)).is_err() && route("a").is_ok());
    }
}
