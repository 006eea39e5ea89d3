//! Which browser a request comes from, as far as the gateway minds: those that nginx knows to misbehave.

use super::exchange::Exchange;
use crate::http::Known;

/// What the `User-Agent` field tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Browser {
    /// Internet Explorer, any version.
    pub msie: bool,
    /// Internet Explorer up to 6, but for 6 with its security fixes (`SV1`).
    pub msie6: bool,
    /// Chrome.
    pub chrome: bool,
    /// Safari on macOS.
    pub safari: bool,
}

impl Browser {
    /// The browser that the exchange's request names; none without a `User-Agent`.
    pub fn of(x: &Exchange) -> Browser {
        let agent = x.head.fields.find(Known::UserAgent);
        agent.map_or(Browser::default(), |field| Browser::named(field.value.of(x.input.filled())))
    }

    /// The browser that a `User-Agent` names.
    pub fn named(agent: &[u8]) -> Browser {
        let holds = |text: &[u8]| find(agent, text).is_some();
        // Opera calls itself by the names of others too.
        if holds(b"Opera") {
            return Browser::default();
        }
        let version = find(agent, b"MSIE ").and_then(|at| agent.get(at + 5..)).filter(|rest| rest.len() > 2);
        if let Some(rest) = version {
            let old = match rest {
                [b'4' | b'5', b'.', ..] => true,
                [b'6', b'.', ..] => find(rest, b"SV1").is_none(),
                _ => false,
            };
            return Browser { msie: true, msie6: old, ..Browser::default() };
        }
        if holds(b"Gecko/") {
            return Browser::default();
        }
        let chrome = holds(b"Chrome/");
        Browser { chrome, safari: !chrome && holds(b"Safari/") && holds(b"Mac OS X"), ..Browser::default() }
    }
}

/// Where `text` begins in `agent`.
fn find(agent: &[u8], text: &[u8]) -> Option<usize> {
    agent.windows(text.len()).position(|window| window == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let msie = Browser { msie: true, ..Browser::default() };
        let old = Browser { msie6: true, ..msie };
        for (agent, want) in [
            ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)", old),
            ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; SV1)", msie),
            ("Mozilla/4.0 (compatible; MSIE 5.5; Windows 98; SV1)", old),
            ("Mozilla/5.0 (compatible; MSIE 9.0)", msie),
            ("MSIE foo", msie),
            ("MSIE 6.", Browser::default()),
            ("Mozilla/4.0 (compatible; MSIE 6.0; X) Opera 7.0", Browser::default()),
            ("Mozilla/5.0 (X11) Gecko/20100101 Firefox/128.0", Browser::default()),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15) AppleWebKit/605 (KHTML, like Gecko) Version/17 Safari/605",
                Browser { safari: true, ..Browser::default() },
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15) AppleWebKit/537 (KHTML, like Gecko) Chrome/120 Safari/537",
                Browser { chrome: true, ..Browser::default() },
            ),
            ("Mozilla/5.0 (Windows) AppleWebKit/605 Safari/605", Browser::default()),
            ("", Browser::default()),
        ] {
            assert_eq!(Browser::named(agent.as_bytes()), want, "{agent}");
        }
    }
}
