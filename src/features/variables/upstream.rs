//! The upstreams: what was tried, and what the last one answered.

use super::fields::{http_x_forwarded_for, join_named, put, set_cookie_value};
use crate::http::Known;
use crate::pipeline::connection::{push_decimal, push_seconds};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::trace::Attempt;
use crate::upstream::client::UpstreamBody;

pub(super) fn addr(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    x.upstream.list(out, |attempt, out| out.extend_from_slice(attempt.peer.as_bytes()))
}

pub(super) fn status(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    x.upstream.list(out, |attempt, out| match attempt.status {
        0 => out.push(b'-'),
        status => push_decimal(out, u64::from(status)),
    })
}

pub(super) fn connect_time(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    times(x, out, |attempt| attempt.connect_ms)
}

pub(super) fn header_time(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    times(x, out, |attempt| attempt.header_ms)
}

pub(super) fn response_time(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    times(x, out, |attempt| attempt.response_ms)
}

pub(super) fn response_length(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    x.upstream.list(out, |attempt, out| push_decimal(out, attempt.response_length))
}

pub(super) fn bytes_received(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    x.upstream.list(out, |attempt, out| push_decimal(out, attempt.bytes_received))
}

pub(super) fn bytes_sent(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    x.upstream.list(out, |attempt, out| push_decimal(out, attempt.bytes_sent))
}

/// Lists a time of each attempt in seconds, `-` where it was never measured.
fn times(x: &Exchange, out: &mut Vec<u8>, time_ms: impl Fn(&Attempt) -> Option<u64>) -> bool {
    x.upstream.list(out, |attempt, out| match time_ms(attempt) {
        Some(ms) => push_seconds(out, ms),
        None => out.push(b'-'),
    })
}

pub(super) fn field(x: &Exchange, name: &str, out: &mut Vec<u8>) -> bool {
    join_named(fields(x), name, out)
}

pub(super) fn cookie(x: &Exchange, name: &str, out: &mut Vec<u8>) -> bool {
    let mut set = fields(x).filter(|field| field.2 == Known::SetCookie);
    put(set.find_map(|field| set_cookie_value(field.1, name.as_bytes())), out)
}

/// The fields behind the body of the last answer: they are read where they are passed on.
pub(super) fn trailer(x: &Exchange, name: &str, out: &mut Vec<u8>) -> bool {
    let body = x.upstream_body.as_ref().filter(|_| x.passing.trailers_but.is_some());
    let Some((fields, text)) = body.and_then(UpstreamBody::trailers) else { return false };
    let fields = fields.list.iter();
    join_named(fields.map(|field| (field.name.of(text), field.value.of(text), field.known)), name, out)
}

/// Name, value and identity of the fields of the last answer, as it came.
fn fields(x: &Exchange) -> impl Iterator<Item = (&[u8], &[u8], Known)> {
    let buffer = x.upstream_input.filled();
    let list = x.upstream_head.fields.list.iter();
    list.map(move |field| (field.name.of(buffer), field.value.of(buffer), field.known))
}

pub(super) fn proxy_host(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(&x.proxy_host);
    !x.proxy_host.is_empty()
}

pub(super) fn proxy_port(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    if x.proxy_host.is_empty() {
        return false;
    }
    let usual = if x.proxy_scheme == "https" { b"443".as_slice() } else { b"80" };
    out.extend_from_slice(port(&x.proxy_host).unwrap_or(usual));
    true
}

/// The port in `host:port`; the colons of an IPv6 address stand in brackets.
fn port(host: &[u8]) -> Option<&[u8]> {
    let colon = host.iter().rposition(|&byte| byte == b':')?;
    let port = host.get(colon + 1..)?;
    if port.is_empty() || !port.iter().all(u8::is_ascii_digit) { None } else { Some(port) }
}

pub(super) fn add_x_forwarded_for(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    if http_x_forwarded_for(x, "", out) {
        out.extend_from_slice(b", ");
    }
    x.peer_text(out);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        assert_eq!(port(b"example.com:8080"), Some(&b"8080"[..]));
        assert_eq!(port(b"[::1]:81"), Some(&b"81"[..]));
        for host in [&b"example.com"[..], b"[::1]", b"host:", b"[fe80::12]", b""] {
            assert_eq!(port(host), None);
        }
    }
}
