//! How a variable's value is written into a log line, so that no client can forge one.

/// `escape=` of `log_format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escape {
    /// `"`, `\`, and bytes below 0x20 or above 0x7e become `\xXX`; no value is `-`.
    Default,
    /// Inside a JSON string; no value is nothing.
    Json,
    /// As it is; no value is nothing.
    None,
}

impl Escape {
    /// The escaping a word of `escape=` names.
    pub(super) fn parse(word: &str) -> Option<Escape> {
        match word {
            "default" => Some(Escape::Default),
            "json" => Some(Escape::Json),
            "none" => Some(Escape::None),
            _ => None,
        }
    }

    /// What stands for a variable that has no value.
    #[inline]
    pub(super) fn absent(self) -> &'static [u8] {
        match self {
            Escape::Default => b"-",
            Escape::Json | Escape::None => b"",
        }
    }

    /// Escapes what lies in `out` from `start` on.
    #[inline]
    pub(super) fn apply(self, out: &mut Vec<u8>, start: usize) {
        let value = out.get(start..).unwrap_or_default();
        // Without a branch inside, these loops look at 16 bytes at once; values are nearly always
        // clean.
        let dirty = match self {
            Escape::Default => value.iter().fold(false, |dirty, &byte| dirty | forbidden(byte)),
            Escape::Json => value.iter().fold(false, |dirty, &byte| dirty | special(byte)),
            Escape::None => false,
        };
        if dirty {
            self.expand(out, start);
        }
    }

    /// Makes room behind the value and spreads it from its end, so that nothing is overwritten
    /// before it was read.
    #[cold]
    fn expand(self, out: &mut Vec<u8>, start: usize) {
        let extra: usize = out.iter().skip(start).map(|&byte| self.sequence(byte).1 - 1).sum();
        let mut from = out.len();
        out.resize(from + extra, 0);
        let mut to = out.len();
        while from > start {
            from -= 1;
            let (sequence, length) = self.sequence(out[from]);
            to -= length;
            out[to..to + length].copy_from_slice(&sequence[..length]);
        }
    }

    /// What a byte is written as, and how many bytes of the array that takes.
    fn sequence(self, byte: u8) -> ([u8; 6], usize) {
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
        let letter = |letter| ([b'\\', letter, 0, 0, 0, 0], 2);
        match (self, byte) {
            (Escape::Default, _) if forbidden(byte) => ([b'\\', b'x', high, low, 0, 0], 4),
            (Escape::Json, b'"' | b'\\') => letter(byte),
            (Escape::Json, b'\n') => letter(b'n'),
            (Escape::Json, b'\r') => letter(b'r'),
            (Escape::Json, b'\t') => letter(b't'),
            (Escape::Json, 0x08) => letter(b'b'),
            (Escape::Json, 0x0c) => letter(b'f'),
            (Escape::Json, 0..=0x1f) => ([b'\\', b'u', b'0', b'0', high, low], 6),
            _ => ([byte, 0, 0, 0, 0, 0], 1),
        }
    }
}

/// What may not stand in a line of the default escaping.
#[inline]
fn forbidden(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\') | (byte >= 0x7f)
}

/// What may not stand in a JSON string (RFC 8259, 7). Bytes above 0x7f pass as they came.
#[inline]
fn special(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escaped(escape: Escape, value: &[u8]) -> Vec<u8> {
        let mut out = b"kept\"".to_vec();
        out.extend_from_slice(value);
        escape.apply(&mut out, 5);
        assert!(out.starts_with(b"kept\""));
        out.split_off(5)
    }

    #[test]
    fn the_default_is_hexadecimal() {
        assert_eq!(escaped(Escape::Default, b"GET /a b~ HTTP/1.1"), b"GET /a b~ HTTP/1.1");
        assert_eq!(
            escaped(Escape::Default, b"a\"b\\c\r\n\x7f\xc3\xa9"),
            b"a\\x22b\\x5Cc\\x0D\\x0A\\x7F\\xC3\\xA9"
        );
        assert_eq!(escaped(Escape::Default, b""), b"");
    }

    #[test]
    fn json_is_that_of_strings() {
        assert_eq!(
            escaped(Escape::Json, b"\"\\\n\r\t\x08\x0c\x00\x1f/\x7f\xc3\xa9"),
            b"\\\"\\\\\\n\\r\\t\\b\\f\\u0000\\u001F/\x7f\xc3\xa9"
        );
        assert_eq!(escaped(Escape::None, b"\"\n\xff"), b"\"\n\xff");
    }

    #[test]
    fn words_and_absence() {
        assert_eq!(Escape::parse("json"), Some(Escape::Json));
        assert_eq!(Escape::parse("JSON"), None);
        assert_eq!(
            (Escape::Default.absent(), Escape::Json.absent(), Escape::None.absent()),
            (&b"-"[..], &b""[..], &b""[..])
        );
    }

    proptest! {
        #[test]
        fn no_value_breaks_a_line(value in proptest::collection::vec(any::<u8>(), 0..80)) {
            let text = escaped(Escape::Default, &value);
            prop_assert!(text.iter().all(|&byte| (0x20..0x7f).contains(&byte) && byte != b'"'));
            let json = escaped(Escape::Json, &value);
            prop_assert!(json.iter().all(|&byte| byte >= 0x20));
            // A quote is always the second of a pair that a backslash begins.
            let mut bytes = json.iter();
            while let Some(&byte) = bytes.next() {
                prop_assert_ne!(byte, b'"');
                if byte == b'\\' {
                    prop_assert!(bytes.next().is_some());
                }
            }
        }
    }
}
