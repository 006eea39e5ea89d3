//! One header field line (RFC 9112, 5), where nginx draws the lines between good, ignored and bad.

use super::field::{Field, Known};
use super::scan;
use super::span::Span;

/// What kind of name a field has, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    /// Letters, digits and hyphens.
    Plain = 0,
    /// Also underscores: good when `underscores_in_headers` is on.
    Underscore = 1,
    /// Also other characters of a token (RFC 9110, 5.6.2), such as a dot.
    Token = 2,
    /// Visible characters or bytes above 0x7f that no token has.
    Odd = 3,
}

/// What stands at the front of the bytes looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A field; the next line starts at `next`.
    Field { field: Field, name: Name, next: usize },
    /// The empty line that ends the head.
    Empty { next: usize },
    /// The line has no end yet.
    More,
    /// The byte at `at` may not stand there.
    Bad { at: usize },
}

/// The byte classes of names: those of [`Name`], then the two that end one.
const COLON: u8 = 4;
/// Control bytes, space and DEL: never in a name, nor before its colon.
const ILLEGAL: u8 = 5;

/// The class of every byte in a name.
static CLASS: [u8; 256] = {
    let mut table = [Name::Odd as u8; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte as usize] = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => Name::Plain as u8,
            b'_' => Name::Underscore as u8,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'.' | b'^' | b'`' | b'|' | b'~' => {
                Name::Token as u8
            }
            b':' => COLON,
            0..=0x20 | 0x7f => ILLEGAL,
            _ => Name::Odd as u8,
        };
        byte += 1u8;
    }
    table
};

/// Reads the line that starts at `start` of `buf`.
///
/// A line ends in CRLF or, as nginx has it, a bare LF; any other CR is refused, as are control
/// bytes but TAB in a value, folded lines (their first byte is a space), an empty name, space before
/// the colon, and a line without a colon.
#[inline]
pub(super) fn read(buf: &[u8], start: usize) -> Line {
    let rest = buf.get(start..).unwrap_or_default();
    match rest {
        [b'\n', ..] => return Line::Empty { next: start + 1 },
        [b'\r', b'\n', ..] => return Line::Empty { next: start + 2 },
        [] | [b'\r'] => return Line::More,
        [b'\r', ..] => return Line::Bad { at: start + 1 },
        [b':', ..] => return Line::Bad { at: start },
        _ => {}
    }
    // Most names are known ones, and those are plain: only others are looked at byte by byte.
    if let Some(colon) = scan::colon_in_name(rest) {
        let known = Known::of(rest.get(..colon).unwrap_or_default());
        if known != Known::Other {
            return with_value(buf, start, colon, known, Name::Plain);
        }
    }
    unknown(buf, start, rest)
}

/// The same for a field that is not known by name, or none at all.
#[inline(never)]
fn unknown(buf: &[u8], start: usize, rest: &[u8]) -> Line {
    let mut name = Name::Plain as u8;
    let mut colon = 0;
    for &byte in rest {
        let class = CLASS[byte as usize];
        if class != Name::Plain as u8 {
            if class >= COLON {
                break;
            }
            name = name.max(class);
        }
        colon += 1;
    }
    match rest.get(colon) {
        None => return Line::More,
        Some(b':') => {}
        Some(_) => return Line::Bad { at: start + colon },
    }
    let name = match name {
        0 => Name::Plain,
        1 => Name::Underscore,
        2 => Name::Token,
        _ => Name::Odd,
    };
    // One that is longer than all known ones is not looked up above, nor is one near the buffer's end.
    let known = Known::of(rest.get(..colon).unwrap_or_default());
    with_value(buf, start, colon, known, name)
}

/// The field whose name ends at `start + colon`.
#[inline]
fn with_value(buf: &[u8], start: usize, colon: usize, known: Known, name: Name) -> Line {
    let Some((value, next)) = value(buf, start + colon + 1) else { return Line::More };
    let Some(next) = next else { return Line::Bad { at: value.end as usize } };
    Line::Field {
        field: Field { name: Span::new(start, start + colon), value, known, hidden: false },
        name,
        next,
    }
}

/// The value from `start` on, trimmed, and where the next line starts; `None` for that when the byte
/// at the value's end is refused. `None` as a whole when the line has no end yet.
#[inline]
fn value(buf: &[u8], start: usize) -> Option<(Span, Option<usize>)> {
    let mut first = start;
    while let Some(b' ' | b'\t') = buf.get(first) {
        first += 1;
    }
    let mut end = first;
    loop {
        end += scan::control(buf.get(end..).unwrap_or_default());
        match buf.get(end)? {
            b'\t' => end += 1,
            b'\n' => return Some((trimmed(buf, first, end), Some(end + 1))),
            b'\r' => match buf.get(end + 1)? {
                b'\n' => return Some((trimmed(buf, first, end), Some(end + 2))),
                _ => return Some((Span::new(first, end), None)),
            },
            _ => return Some((Span::new(first, end), None)),
        }
    }
}

/// `first..end` without the spaces and tabs at its end.
#[inline]
fn trimmed(buf: &[u8], first: usize, mut end: usize) -> Span {
    while end > first && matches!(buf.get(end - 1), Some(b' ' | b'\t')) {
        end -= 1;
    }
    Span::new(first, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(text: &[u8]) -> Option<(&[u8], &[u8], Name, usize)> {
        match read(text, 0) {
            Line::Field { field, name, next } => {
                Some((field.name.of(text), field.value.of(text), name, next))
            }
            _ => None,
        }
    }

    #[test]
    fn fields() {
        for (text, name, value, kind) in [
            (&b"a: b\r\n"[..], &b"a"[..], &b"b"[..], Name::Plain),
            (b"a:b\n", b"a", b"b", Name::Plain),
            (b"a:\r\n", b"a", b"", Name::Plain),
            (b"a: \t \n", b"a", b"", Name::Plain),
            (b"a: \tb\tc  d \t\r\n", b"a", b"b\tc  d", Name::Plain),
            (b"A-1: \xff\xfe\r\n", b"A-1", b"\xff\xfe", Name::Plain),
            (b"a_b: c\r\n", b"a_b", b"c", Name::Underscore),
            (b"a_.b: c\r\n", b"a_.b", b"c", Name::Token),
            (b"</a>: c\r\n", b"</a>", b"c", Name::Odd),
            (b"\xe9: c\r\n", b"\xe9", b"c", Name::Odd),
            (b"a: :b: c:\r\n", b"a", b":b: c:", Name::Plain),
        ] {
            assert_eq!(
                good(text),
                Some((name, value, kind, text.len())),
                "{:?}",
                text.escape_ascii().to_string()
            );
        }
    }

    #[test]
    fn bad_lines_name_the_byte() {
        for (text, at) in [
            (&b": a\r\n"[..], 0),
            (b" a: b\r\n", 0),
            (b"\ta: b\r\n", 0),
            (b"a : b\r\n", 1),
            (b"a\t: b\r\n", 1),
            (b"a b: c\r\n", 1),
            (b"ab\r\n", 2),
            (b"ab\n", 2),
            (b"a\0: b\r\n", 1),
            (b"a\x7f: b\r\n", 1),
            (b"a: b\0c\r\n", 4),
            (b"a: b\x01\r\n", 4),
            (b"a: b\x7f\r\n", 4),
            (b"a: b\rc\r\n", 4),
            (b"a: b\r\r\n", 4),
            (b"\rx", 1),
            (b"\r\r\n", 1),
        ] {
            assert_eq!(read(text, 0), Line::Bad { at }, "{:?}", text.escape_ascii().to_string());
        }
    }

    #[test]
    fn unfinished_and_empty() {
        for text in [&b""[..], b"\r", b"a", b"a:", b"a: b", b"a: b\r", b"a: \t"] {
            assert_eq!(read(text, 0), Line::More);
        }
        assert_eq!(read(b"xx\r\n", 2), Line::Empty { next: 4 });
        assert_eq!(read(b"\na: b", 0), Line::Empty { next: 1 });
        assert_eq!(read(b"a", 9), Line::More);
    }
}
