//! Header fields as variables: `$http_name`, `$cookie_name`, and what the other files here share.

use crate::http::{Framing, Known};
use crate::pipeline::connection::push_decimal;
use crate::pipeline::exchange::Exchange;

/// What stands between two fields of one name.
const COMMA: &[u8] = b", ";

/// What stands between two Cookie fields (RFC 6265, 4.2.1).
const SEMICOLON: &[u8] = b"; ";

pub(super) fn http_host(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    known(x, Known::Host, COMMA, out)
}

pub(super) fn http_user_agent(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    known(x, Known::UserAgent, COMMA, out)
}

pub(super) fn http_referer(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    known(x, Known::Referer, COMMA, out)
}

pub(super) fn http_via(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    known(x, Known::Via, COMMA, out)
}

pub(super) fn http_x_forwarded_for(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    known(x, Known::XForwardedFor, COMMA, out)
}

pub(super) fn http_cookie(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    known(x, Known::Cookie, SEMICOLON, out)
}

pub(super) fn content_type(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    known(x, Known::ContentType, COMMA, out)
}

/// As the client sent it; for a chunked body the length it turned out to have, once all of it was
/// read.
pub(super) fn content_length(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    if known(x, Known::ContentLength, COMMA, out) {
        return true;
    }
    match x.body.len() {
        Some(bytes) if x.head.framing == Framing::Chunked => {
            push_decimal(out, bytes);
            true
        }
        _ => false,
    }
}

/// Every field whose name is meant, underscores in it too where they are allowed.
pub(super) fn http(x: &Exchange, name: &str, out: &mut Vec<u8>) -> bool {
    let buffer = x.input.filled();
    let fields = x.head.fields.list.iter();
    join(fields.filter(|f| is_meant(f.name.of(buffer), name)).map(|f| f.value.of(buffer)), COMMA, out)
}

pub(super) fn cookie(x: &Exchange, name: &str, out: &mut Vec<u8>) -> bool {
    let buffer = x.input.filled();
    let mut fields = x.head.fields.all(Known::Cookie);
    put(fields.find_map(|field| cookie_value(field.value.of(buffer), name.as_bytes())), out)
}

/// The request's fields of one identity.
fn known(x: &Exchange, known: Known, separator: &[u8], out: &mut Vec<u8>) -> bool {
    let buffer = x.input.filled();
    join(x.head.fields.all(known).map(|field| field.value.of(buffer)), separator, out)
}

/// Appends a value, if there is one.
pub(super) fn put(value: Option<&[u8]>, out: &mut Vec<u8>) -> bool {
    match value {
        Some(value) => {
            out.extend_from_slice(value);
            true
        }
        None => false,
    }
}

/// Appends values with a separator between them; false when there are none.
pub(super) fn join<'a>(values: impl Iterator<Item = &'a [u8]>, separator: &[u8], out: &mut Vec<u8>) -> bool {
    let mut found = false;
    for value in values {
        if found {
            out.extend_from_slice(separator);
        }
        out.extend_from_slice(value);
        found = true;
    }
    found
}

/// The values of all fields that a variable's name means, joined by a comma.
pub(super) fn join_named<'a>(
    fields: impl Iterator<Item = (&'a [u8], &'a [u8], Known)>,
    name: &str,
    out: &mut Vec<u8>,
) -> bool {
    join(fields.filter(|field| is_meant(field.0, name)).map(|field| field.1), COMMA, out)
}

/// Whether a variable's name, in lower case, means a field: dashes are underscores in it.
#[inline]
fn is_meant(field: &[u8], name: &str) -> bool {
    let fold = |byte: u8| if byte == b'-' { b'_' } else { byte.to_ascii_lowercase() };
    field.len() == name.len() && field.iter().zip(name.as_bytes()).all(|(&a, &b)| fold(a) == b)
}

/// The value of a cookie in one Cookie field; its name in any case, as nginx looks for it.
fn cookie_value<'a>(field: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    field.split(|&byte| byte == b';').find_map(|pair| value_of(pair, name))
}

/// The value of a cookie that a Set-Cookie field sets.
pub(super) fn set_cookie_value<'a>(field: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    value_of(field.split(|&byte| byte == b';').next()?, name)
}

/// The value of `name = value`; spaces are skipped before each of the three parts.
fn value_of<'a>(pair: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let pair = without_spaces(pair);
    let (front, rest) = pair.split_at_checked(name.len())?;
    if !front.eq_ignore_ascii_case(name) {
        return None;
    }
    without_spaces(rest).strip_prefix(b"=").map(without_spaces)
}

fn without_spaces(text: &[u8]) -> &[u8] {
    let spaces = text.iter().take_while(|&&byte| byte == b' ').count();
    text.get(spaces..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_meant_with_dashes_and_in_any_case() {
        assert!(is_meant(b"X-Real-IP", "x_real_ip") && is_meant(b"x_real_ip", "x_real_ip"));
        assert!(!is_meant(b"X-Real-IPs", "x_real_ip") && !is_meant(b"X.Real.IP", "x_real_ip"));
        assert!(!is_meant(b"", "x") && is_meant(b"", ""));
    }

    #[test]
    fn repeated_fields_are_joined() {
        let mut out = b"a=".to_vec();
        let fields: [(&[u8], &[u8], Known); 3] =
            [(b"X-A", b"1", Known::Other), (b"X-B", b"2", Known::Other), (b"x-a", b"", Known::Other)];
        assert!(join_named(fields.into_iter(), "x_a", &mut out));
        assert_eq!(out, b"a=1, ");
        assert!(!join_named(fields.into_iter(), "x_c", &mut out));
        assert!(join_named(fields.into_iter().skip(2), "x_a", &mut out));
        assert_eq!(out, b"a=1, ");
    }

    #[test]
    fn cookies() {
        let field = b"a=1; bc = two ;d;e=; A=2; bc=3";
        let value = |name: &str| cookie_value(field, name.as_bytes());
        assert_eq!(value("a"), Some(&b"1"[..]));
        assert_eq!(value("BC"), Some(&b"two "[..]));
        assert_eq!(value("d"), None);
        assert_eq!(value("e"), Some(&b""[..]));
        assert_eq!(value("b"), None);
        assert_eq!(cookie_value(b"", b"a"), None);
        assert_eq!(set_cookie_value(b"sid=x y; Path=/; a=1", b"Sid"), Some(&b"x y"[..]));
        assert_eq!(set_cookie_value(b"sid=x; a=1", b"a"), None);
    }
}
