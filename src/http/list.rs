//! Comma-separated lists in header values (RFC 9110, 5.6.1).

/// The elements of a list, without the space round them; empty elements are skipped.
pub fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(trim).filter(|token| !token.is_empty())
}

/// Whether `token` is an element of the list, in any case.
pub fn has(value: &[u8], token: &[u8]) -> bool {
    tokens(value).any(|element| element.eq_ignore_ascii_case(token))
}

/// The bytes without spaces and tabs at either end (OWS of RFC 9110, 5.6.3).
pub fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// A decimal number without sign or space, at most `i64::MAX`, as a `Content-Length` must be
/// (RFC 9110, 8.6); nothing else counts as one.
pub fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    let mut value: u64 = 0;
    for &byte in bytes {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
    }
    (value <= i64::MAX as u64).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        for (value, want) in [
            ("", vec![]),
            (",, ,\t,", vec![]),
            ("close", vec!["close"]),
            (" keep-alive ,\tUpgrade\t", vec!["keep-alive", "Upgrade"]),
            ("a b,c", vec!["a b", "c"]),
        ] {
            let found: Vec<_> = tokens(value.as_bytes()).collect();
            assert_eq!(found, want.iter().map(|w| w.as_bytes()).collect::<Vec<_>>(), "{value:?}");
        }
        assert!(has(b"x, CLOSE", b"close"));
        assert!(!has(b"closed, not-close", b"close"));
    }

    #[test]
    fn decimals() {
        for (text, want) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("9223372036854775807", Some(i64::MAX as u64)),
            ("9223372036854775808", None),
            ("18446744073709551616", None),
            ("99999999999999999999999999", None),
            ("", None),
            ("+1", None),
            ("-1", None),
            ("1 ", None),
            ("1,1", None),
            ("0x1", None),
            ("1.0", None),
        ] {
            assert_eq!(decimal(text.as_bytes()), want, "{text:?}");
        }
    }
}
