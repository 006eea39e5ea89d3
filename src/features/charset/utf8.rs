//! Characters in UTF-8 as nginx reads them: it knows what is cut off from what is malformed.

/// What stands at the beginning of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// A character, and of how many bytes.
    Code(u32, usize),
    /// So many bytes that are none.
    Malformed(usize),
    /// The beginning of one.
    Cut,
}

/// Decodes what stands at the beginning of `bytes`.
pub(super) fn decode(bytes: &[u8]) -> Decoded {
    let Some(&first) = bytes.first() else { return Decoded::Cut };
    // The bits of the first byte, how many bytes follow, and the largest code that is too long so.
    let (bits, more, short) = match first {
        0..0x80 => return Decoded::Code(u32::from(first), 1),
        0xc2..0xe0 => (first & 0x1f, 1, 0x7f),
        0xe0..0xf0 => (first & 0x0f, 2, 0x7ff),
        0xf0..0xf8 => (first & 0x07, 3, 0xffff),
        _ => return Decoded::Malformed(1),
    };
    let Some(rest) = bytes.get(1..=more) else { return Decoded::Cut };
    let mut code = u32::from(bits);
    for (at, byte) in rest.iter().enumerate() {
        if *byte < 0x80 {
            return Decoded::Malformed(at + 2);
        }
        code = code << 6 | u32::from(byte & 0x3f);
    }
    if code > short && code <= 0x10_ffff {
        Decoded::Code(code, more + 1)
    } else {
        Decoded::Malformed(more + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Decoded::{Code, Cut, Malformed};

    #[test]
    fn what_stands_there() {
        for (bytes, want) in [
            (&b"a"[..], Code(0x61, 1)),
            ("жx".as_bytes(), Code(0x436, 2)),
            ("€".as_bytes(), Code(0x20ac, 3)),
            ("😀".as_bytes(), Code(0x1f600, 4)),
            (b"\xd0", Cut),
            (b"\xe2\x82", Cut),
            (b"", Cut),
            (b"\x80", Malformed(1)),
            (b"\xc0\x80", Malformed(1)),
            (b"\xff", Malformed(1)),
            (b"\xd0a", Malformed(2)),
            (b"\xe2\x82a", Malformed(3)),
            (b"\xe0\x80\x80", Malformed(3)),
            (b"\xf7\xbf\xbf\xbf", Malformed(4)),
        ] {
            assert_eq!(decode(bytes), want, "{bytes:x?}");
        }
    }
}
