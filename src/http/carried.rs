//! The head of an HTTP/2 request as the HTTP/1 head that it stands for (RFC 9113, 8.3), so that one parser
//! with one set of limits judges both.
//!
//! The line names HTTP/1.1 while it is parsed; [`name_version`] then puts in what the client speaks.

use super::method::Version;
use super::request::RequestHead;

/// What a client asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// `:method`.
    pub method: &'a str,
    /// `:path`; empty for CONNECT.
    pub path: &'a str,
    /// `:authority`, where it is given.
    pub authority: Option<&'a str>,
    /// `:protocol` of an extended CONNECT (RFC 8441, 4).
    pub protocol: Option<&'a str>,
    /// The fields.
    pub fields: &'a [(&'a str, &'a [u8])],
}

/// Why a head cannot be carried over, in nginx's words. The answer is 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CarryFault {
    /// A name or value holds what would end its line, or the name.
    Invalid,
    /// The client names no host.
    NoHost,
    /// It names two.
    TwoHosts,
}

impl CarryFault {
    /// What is wrong, for the log.
    pub fn message(self) -> &'static str {
        match self {
            CarryFault::Invalid => "client sent invalid header",
            CarryFault::NoHost => "client sent neither \":authority\" nor \"Host\" header",
            CarryFault::TwoHosts => "client sent \":authority\" and \"Host\" headers with different values",
        }
    }
}

/// Appends the head to `out`: line, host, fields, and the empty line. Cookies become one field
/// (RFC 9113, 8.2.3), and an extended CONNECT becomes a GET with `Upgrade`, as HTTP/1.1 asks for the same;
/// `key` is what a WebSocket is asked for with there (RFC 6455, 4.1).
///
/// # Errors
/// What would mean something else on the other side. What was appended stays, for the log.
pub fn write(asked: &Asked<'_>, key: &[u8], out: &mut Vec<u8>) -> Result<(), CarryFault> {
    let Asked { mut method, path, authority, protocol, fields } = *asked;
    if let Some(protocol) = protocol {
        // What follows is no body, so nothing may say how long one is.
        let has_body = fields.iter().any(|(name, _)| *name == "content-length");
        if method != "CONNECT" || has_body || !is_protocol(protocol.as_bytes()) {
            return Err(CarryFault::Invalid);
        }
        method = "GET";
    }
    let target = if path.is_empty() { authority.unwrap_or_default() } else { path };
    if !is_word(method.as_bytes()) || !is_word(target.as_bytes()) {
        return Err(CarryFault::Invalid);
    }
    for part in [method, " ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    let named = fields.iter().find(|(name, _)| *name == "host").map(|(_, value)| *value);
    match (authority.map(str::as_bytes), named) {
        (None, None) => return Err(CarryFault::NoHost),
        (Some(authority), Some(host)) if authority != host => return Err(CarryFault::TwoHosts),
        (Some(authority), None) => field("Host", authority, out)?,
        _ => {}
    }
    let mut cookies = fields.iter().filter(|(name, _)| *name == "cookie").map(|(_, value)| *value);
    if let Some(cookie) = cookies.next() {
        let mut all = cookie.to_vec();
        for cookie in cookies {
            all.extend_from_slice(b"; ");
            all.extend_from_slice(cookie);
        }
        field("cookie", &all, out)?;
    }
    for (name, value) in fields.iter().filter(|(name, _)| *name != "cookie") {
        field(name, value, out)?;
    }
    if let Some(protocol) = protocol {
        field("Connection", b"Upgrade", out)?;
        field("Upgrade", protocol.as_bytes(), out)?;
        let has_key = fields.iter().any(|(name, _)| *name == "sec-websocket-key");
        if protocol.eq_ignore_ascii_case("websocket") && !has_key {
            field("Sec-WebSocket-Key", key, out)?;
        }
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Puts the client's version into a head that was parsed, and into its line in `input`.
pub fn name_version(head: &mut RequestHead, input: &mut [u8]) {
    head.version = Version::Http2;
    // nginx looks for it in older requests only.
    head.expect_continue = false;
    if let Some(protocol) = input.get_mut(head.protocol.start as usize..head.protocol.end as usize)
        && protocol.len() == b"HTTP/2.0".len()
    {
        protocol.copy_from_slice(b"HTTP/2.0");
    }
}

/// Whether it can stand in a request line.
fn is_word(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| *byte > b' ' && *byte != 0x7f)
}

/// Whether it can be a protocol's name (RFC 9110, 7.8): a token, without what makes lists.
fn is_protocol(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._+".contains(byte))
}

fn field(name: &str, value: &[u8], out: &mut Vec<u8>) -> Result<(), CarryFault> {
    let name_is_good = is_word(name.as_bytes()) && !name.contains(':');
    if !name_is_good || value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Err(CarryFault::Invalid);
    }
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::http::{HeadLimits, Parsed};

    fn carried(
        method: &str,
        path: &str,
        authority: Option<&str>,
        fields: &[(&str, &[u8])],
    ) -> Result<String, CarryFault> {
        let mut out = Vec::new();
        write(&Asked { method, path, authority, protocol: None, fields }, b"", &mut out)?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn a_request_becomes_text() {
        assert_eq!(
            carried("GET", "/a?b", Some("h:1"), &[("cookie", b"a=1"), ("x", b"y"), ("cookie", b"b=2")])
                .unwrap(),
            "GET /a?b HTTP/1.1\r\nHost: h:1\r\ncookie: a=1; b=2\r\nx: y\r\n\r\n"
        );
        assert_eq!(
            carried("GET", "/", Some("a"), &[("host", b"a")]).unwrap(),
            "GET / HTTP/1.1\r\nhost: a\r\n\r\n"
        );
        assert_eq!(
            carried("CONNECT", "", Some("a:1"), &[]).unwrap(),
            "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"
        );
    }

    #[test]
    fn an_extended_connect_becomes_an_upgrade() {
        let carried = |method: &str, protocol: &str, fields: &[(&str, &[u8])]| {
            let asked =
                Asked { method, path: "/chat", authority: Some("a"), protocol: Some(protocol), fields };
            let mut out = Vec::new();
            write(&asked, b"KEY", &mut out)?;
            Ok(String::from_utf8_lossy(&out).into_owned())
        };
        let begin = "GET /chat HTTP/1.1\r\nHost: a\r\n";
        assert_eq!(
            carried("CONNECT", "websocket", &[("sec-websocket-version", b"13")]).unwrap(),
            format!(
                "{begin}sec-websocket-version: 13\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: KEY\r\n\r\n"
            )
        );
        assert_eq!(
            carried("CONNECT", "x-other", &[]).unwrap(),
            format!("{begin}Connection: Upgrade\r\nUpgrade: x-other\r\n\r\n")
        );
        for (method, protocol, fields) in [
            ("GET", "websocket", &[][..]),
            ("CONNECT", "", &[]),
            ("CONNECT", "a, b", &[]),
            ("CONNECT", "a\r\nb: c", &[]),
            ("CONNECT", "websocket", &[("content-length", &b"5"[..])]),
        ] {
            assert_eq!(carried(method, protocol, fields), Err(CarryFault::Invalid), "{method} {protocol}");
        }
    }

    #[test]
    fn what_would_be_read_otherwise_is_refused() {
        let bad = Err(CarryFault::Invalid);
        for (name, value) in [
            ("a", &b"b\r\nc: d"[..]),
            ("a", b"b\nc"),
            ("a", b"b\0c"),
            ("a: b\r\nc", b"d"),
            ("a:", b"b"),
            ("a b", b"c"),
            ("", b"a"),
        ] {
            assert_eq!(carried("GET", "/", Some("a"), &[(name, value)]), bad, "{name:?}");
        }
        assert_eq!(carried("GET x", "/", Some("a"), &[]), bad);
        assert_eq!(carried("GET", "/ HTTP/1.1\r\nx: y", Some("a"), &[]), bad);
        assert_eq!(carried("GET", "/", None, &[]), Err(CarryFault::NoHost));
        assert_eq!(carried("GET", "/", Some("a"), &[("host", b"b")]), Err(CarryFault::TwoHosts));
    }

    #[test]
    fn the_version_is_put_in() {
        let mut text = carried("GET", "/", Some("a"), &[("expect", b"100-continue")]).unwrap().into_bytes();
        let mut head = RequestHead::default();
        assert_eq!(head.parse(&text, &HeadLimits::default()), Ok(Parsed::Complete));
        name_version(&mut head, &mut text);
        assert_eq!(head.request_line.of(&text), b"GET / HTTP/2.0");
        assert!(head.version > Version::Http11 && !head.expect_continue);
    }
}
