//! Base64 (RFC 4648, 4), as NGINX reads it: what follows a `=` is not looked at.

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Appends what `encoded` stands for; false, with nothing appended, when it is no Base64.
pub fn decode(encoded: &[u8], out: &mut Vec<u8>) -> bool {
    decode_with(encoded, [b'+', b'/'], out)
}

/// The same for the digits that are safe in a URL (RFC 4648, 5).
pub fn decode_url(encoded: &[u8], out: &mut Vec<u8>) -> bool {
    decode_with(encoded, [b'-', b'_'], out)
}

/// `last` are the two digits that the alphabets do not share.
fn decode_with(encoded: &[u8], last: [u8; 2], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let digits = encoded.iter().position(|&byte| byte == b'=').unwrap_or(encoded.len());
    if digits % 4 == 1 {
        return false;
    }
    let (mut bits, mut held) = (0_u32, 0);
    for &digit in encoded.iter().take(digits) {
        let Some(value) = sextet(digit, last) else {
            out.truncate(start);
            return false;
        };
        bits = bits << 6 | value;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    true
}

/// Appends the Base64 of `bytes`, with padding.
pub fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place > three.len() { b'=' } else { digit });
        }
    }
}

/// Appends the Base64 of `bytes` in digits that are safe in a URL, without padding.
pub fn encode_url(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    encode(bytes, out);
    while out.len() > start && out.ends_with(b"=") {
        out.pop();
    }
    for digit in out.iter_mut().skip(start) {
        match digit {
            b'+' => *digit = b'-',
            b'/' => *digit = b'_',
            _ => {}
        }
    }
}

/// The six bits of a digit.
fn sextet(digit: u8, last: [u8; 2]) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        _ if digit == last[0] => 62,
        _ if digit == last[1] => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Option<Vec<u8>> {
        let mut out = b"-".to_vec();
        let done = decode(text.as_bytes(), &mut out);
        assert!(done || out == b"-");
        done.then(|| out.split_off(1))
    }

    #[test]
    fn there_and_back() {
        // RFC 4648, 10.
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
        ] {
            let mut out = Vec::new();
            encode(bytes.as_bytes(), &mut out);
            assert_eq!(out, text.as_bytes());
            assert_eq!(decoded(text).as_deref(), Some(bytes.as_bytes()));
            assert_eq!(decoded(text.trim_end_matches('=')).as_deref(), Some(bytes.as_bytes()));
        }
    }

    #[test]
    fn what_is_none() {
        for text in ["Z", "Zm9vY", "Zm 9", "Zm9!", "\u{e4}a"] {
            assert_eq!(decoded(text), None, "{text}");
        }
    }
}
