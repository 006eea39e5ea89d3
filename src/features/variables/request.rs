//! The request itself: its line, its target, its host, its body.

use super::fields::put;
use crate::pipeline::body::RequestBody;
use crate::pipeline::connection::push_decimal;
use crate::pipeline::exchange::Exchange;
use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::ffi::OsStrExt;

/// Appends what is there; nothing at all is no value.
fn some(value: &[u8], out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(value);
    !value.is_empty()
}

/// Appends a word if `given`; the value is empty otherwise.
fn mark(given: bool, word: &[u8], out: &mut Vec<u8>) -> bool {
    if given {
        out.extend_from_slice(word);
    }
    true
}

pub(super) fn line(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    some(x.request_line(), out)
}

pub(super) fn method(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    some(x.method_text(), out)
}

pub(super) fn target(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    some(x.raw_target(), out)
}

pub(super) fn uri(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    // Of a request that was refused before its path was known it is empty, not missing.
    out.extend_from_slice(&x.uri);
    true
}

pub(super) fn args(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    some(&x.args, out)
}

pub(super) fn is_args(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    mark(!x.args.is_empty(), b"?", out)
}

pub(super) fn argument(x: &Exchange, name: &str, out: &mut Vec<u8>) -> bool {
    put(argument_value(&x.args, name.as_bytes()), out)
}

/// The first argument of this name, in any case and not decoded; one without `=` has no value.
fn argument_value<'a>(args: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    if name.is_empty() {
        return None;
    }
    args.split(|&byte| byte == b'&').find_map(|pair| {
        let (front, rest) = pair.split_at_checked(name.len())?;
        if front.eq_ignore_ascii_case(name) { rest.strip_prefix(b"=") } else { None }
    })
}

pub(super) fn host(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    let named = if x.host.is_empty() { x.here.settings.server.name.as_bytes() } else { &x.host };
    out.extend_from_slice(named);
    true
}

pub(super) fn port(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    if x.head.host_port > 0 {
        push_decimal(out, u64::from(x.head.host_port));
    }
    true
}

pub(super) fn is_port(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    mark(x.head.host_port > 0, b":", out)
}

pub(super) fn server_name(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(x.here.settings.server.name.as_bytes());
    true
}

pub(super) fn protocol(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    some(x.head.protocol.of(x.input.filled()), out)
}

pub(super) fn scheme(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(if x.connection.is_encrypted() { b"https" } else { b"http" });
    true
}

pub(super) fn https(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    mark(x.connection.is_encrypted(), b"on", out)
}

pub(super) fn id(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(x.id.get_or_init(new_id));
    true
}

thread_local! {
    /// A random key of this thread, and how many numbers were made with it.
    static IDS: (RandomState, Cell<u64>) = (RandomState::new(), const { Cell::new(0) });
}

/// Sixteen bytes that nobody can guess from others, in hexadecimal: a keyed hash of a counter, as
/// in nginx, so that no system call is needed per request.
pub fn new_id() -> [u8; 32] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let halves = IDS.with(|(key, made)| {
        let number = made.get();
        made.set(number.wrapping_add(2));
        [key.hash_one(number), key.hash_one(number.wrapping_add(1))]
    });
    let bits = u128::from(halves[0]) << 64 | u128::from(halves[1]);
    let mut text = [0; 32];
    for (at, digit) in text.iter_mut().enumerate() {
        *digit = HEX[(bits >> (4 * at) & 15) as usize];
    }
    text
}

pub(super) fn length(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    push_decimal(out, x.request_length);
    true
}

pub(super) fn body(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    match &x.body {
        RequestBody::Memory(bytes) => some(bytes, out),
        _ => false,
    }
}

/// Bodies lie in files that have no name any more, so there is none to give.
pub(super) fn body_file(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    match &x.body {
        RequestBody::File(file) => some(file.path().as_os_str().as_bytes(), out),
        _ => false,
    }
}

pub(super) fn pipe(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    out.push(if x.pipelined { b'p' } else { b'.' });
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let value = |name: &str| argument_value(b"a=1&bc=x=y&D=&e&aa=2&a=3&", name.as_bytes());
        assert_eq!(value("a"), Some(&b"1"[..]));
        assert_eq!(value("BC"), Some(&b"x=y"[..]));
        assert_eq!(value("d"), Some(&b""[..]));
        assert_eq!(value("e"), None);
        assert_eq!(value("aa"), Some(&b"2"[..]));
        assert_eq!(value("c"), None);
        assert_eq!(value(""), None);
        assert_eq!(argument_value(b"", b"a"), None);
    }

    #[test]
    fn ids_differ() {
        let ids: std::collections::HashSet<[u8; 32]> = (0..1000).map(|_| new_id()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().flatten().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte)));
    }
}
