//! Base64 for URLs as tokens have it (RFC 7515, 2): no padding, no space, and one way only to write a text,
//! so that a token cannot be changed without its bytes changing too.

/// What `text` stands for; `None` when it is anything else.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut held) = (0_u32, 0);
    for &digit in text {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    // One digit alone is no byte, and what is left over is zero.
    (text.len() % 4 != 1 && bits & ((1 << held) - 1) == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::base64;
    use proptest::prelude::*;

    #[test]
    fn one_way_only() {
        assert_eq!(decode(b"").as_deref(), Some(&b""[..]));
        assert_eq!(decode(b"-_8").as_deref(), Some(&[0xfb, 0xff][..]));
        for wrong in [&b"A"[..], b"AAAAA", b"AA==", b"AB", b"AAB", b"+/8", b"AA AA", b"AAAA\n", b"AAA\xff"] {
            assert_eq!(decode(wrong), None);
        }
    }

    proptest! {
        #[test]
        fn reads_what_is_written(bytes in proptest::collection::vec(any::<u8>(), 0..50)) {
            let mut text = Vec::new();
            base64::encode_url(&bytes, &mut text);
            prop_assert_eq!(decode(&text), Some(bytes));
        }
    }
}
