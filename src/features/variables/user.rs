//! `$remote_user`: the name in Basic credentials (RFC 7617).

use crate::http::Known;
use crate::pipeline::exchange::Exchange;

/// What stands before the credentials, in any case.
const BASIC: &[u8] = b"Basic ";

/// Whether or not the password was checked.
pub(super) fn remote_user(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    match x.head.fields.find(Known::Authorization) {
        Some(field) => push_user(field.value.of(x.input.filled()), out),
        None => false,
    }
}

/// Appends the user name of an Authorization field; false, with nothing appended, when it holds
/// none: another scheme, bad Base64, no colon, an empty name.
fn push_user(field: &[u8], out: &mut Vec<u8>) -> bool {
    let Some((scheme, encoded)) = field.split_at_checked(BASIC.len()) else { return false };
    if !scheme.eq_ignore_ascii_case(BASIC) {
        return false;
    }
    let spaces = encoded.iter().take_while(|&&byte| byte == b' ').count();
    let encoded = encoded.get(spaces..).unwrap_or_default();
    let start = out.len();
    if push_decoded_name(encoded, out) && out.len() > start {
        return true;
    }
    out.truncate(start);
    false
}

/// Decodes Base64 and appends what comes before the first colon. All of it is decoded, since an
/// error behind the colon spoils the name too. False for an error, or without a colon.
fn push_decoded_name(encoded: &[u8], out: &mut Vec<u8>) -> bool {
    let digits = encoded.iter().position(|&byte| byte == b'=').unwrap_or(encoded.len());
    if digits % 4 == 1 {
        return false;
    }
    let mut colon = false;
    let (mut bits, mut held) = (0_u32, 0);
    for &digit in encoded.iter().take(digits) {
        let Some(value) = sextet(digit) else { return false };
        bits = bits << 6 | value;
        held += 6;
        if held >= 8 {
            held -= 8;
            let byte = (bits >> held) as u8;
            colon |= byte == b':';
            if !colon {
                out.push(byte);
            }
        }
    }
    colon
}

/// The six bits of a Base64 digit (RFC 4648, 4).
fn sextet(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(field: &str) -> Option<String> {
        let mut out = b"-".to_vec();
        let found = push_user(field.as_bytes(), &mut out);
        let name = String::from_utf8_lossy(&out[1..]).into_owned();
        assert!(found || name.is_empty());
        found.then_some(name)
    }

    #[test]
    fn names() {
        // RFC 7617, 2.
        assert_eq!(user("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==").as_deref(), Some("Aladdin"));
        assert_eq!(user("bAsIc   dGVzdDoxMjPCow==").as_deref(), Some("test"));
        assert_eq!(user("Basic YTpiOmM").as_deref(), Some("a"));
        assert_eq!(user("Basic YTo=").as_deref(), Some("a"));
    }

    #[test]
    fn what_is_no_name() {
        for field in [
            "",
            "Basic",
            "Basic ",
            "Basic    ",
            "Bearer QWxhZGRpbjpvcGVu", // another scheme, or none
            "Basic OnBhc3M=",          // :pass
            "Basic YWJj",              // abc
            "Basic YTpi!",             // no Base64
            "Basic YTpiY",             // a digit too many
            "Basic YTpi YTpi",         // a space in it
        ] {
            assert_eq!(user(field), None, "{field}");
        }
    }
}
