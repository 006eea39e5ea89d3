//! `charset_map`: how the bytes of one charset become those of another, both ways.

use crate::conf::{Diagnostic, Directive, Scope, Word};
use std::sync::Arc;

/// The one charset whose characters are longer than a byte.
pub(super) const UTF8: &str = "utf-8";

/// Bytes of a character in UTF-8 that a table may hold: U+0800 to U+FFFF have three.
const UTF8_BYTES_MAX: usize = 3;

/// The first half of all charsets is the same.
const ASCII: u8 = 0x80;

/// What stands for a byte that a table does not name.
const UNKNOWN: u8 = b'?';

/// A way from one charset to another.
pub(super) enum Table {
    /// A byte becomes another.
    Bytes(Box<[u8; 256]>),
    /// A byte becomes a character in UTF-8.
    ToUtf8(Box<[Character; 256]>),
    /// A character in UTF-8 becomes a byte; 0 for those that have none.
    FromUtf8(Box<[u8; 0x1_0000]>),
}

/// A character in UTF-8.
#[derive(Clone, Copy, Default)]
pub(super) struct Character {
    bytes: [u8; UTF8_BYTES_MAX],
    len: u8,
}

impl Character {
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// All ways between charsets.
#[derive(Default)]
pub(super) struct Maps(Vec<Way>);

struct Way {
    from: Box<str>,
    to: Box<str>,
    table: Arc<Table>,
}

impl Maps {
    /// The way from one charset to another; their names in any case.
    pub(super) fn way(&self, from: &[u8], to: &[u8]) -> Option<&Arc<Table>> {
        let is = |name: &str, other: &[u8]| name.as_bytes().eq_ignore_ascii_case(other);
        self.0.iter().find(|way| is(&way.from, from) && is(&way.to, to)).map(|way| &way.table)
    }

    /// Whether there is no table.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a table is from this charset; then there is one to it too.
    pub(super) fn knows(&self, name: &[u8]) -> bool {
        self.0.iter().any(|way| way.from.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Adds what a block says.
    pub(super) fn add(&mut self, scope: &Scope<'_>, block: &Directive) -> Result<(), Diagnostic> {
        let [from, to] = block.args.as_slice() else {
            return Err(scope.error(block, "invalid number of arguments in \"charset_map\" directive"));
        };
        let (from, to) = (from.text.as_str(), to.text.as_str());
        if from.eq_ignore_ascii_case(to) {
            let message = format!("\"charset_map\" between the same charsets \"{from}\" and \"{to}\"");
            return Err(scope.error(block, message));
        }
        if from.eq_ignore_ascii_case(UTF8) {
            let message = "\"charset_map\" with \"utf-8\" charset should be given in the second column";
            return Err(scope.error(block, message));
        }
        if self.way(from.as_bytes(), to.as_bytes()).is_some() {
            return Err(
                scope.error(block, format!("duplicate \"charset_map\" between \"{from}\" and \"{to}\""))
            );
        }
        let (there, back) = match to.eq_ignore_ascii_case(UTF8) {
            true => utf8_tables(scope, block)?,
            false => byte_tables(scope, block)?,
        };
        self.0.push(Way { from: from.into(), to: to.into(), table: Arc::new(there) });
        self.0.push(Way { from: to.into(), to: from.into(), table: Arc::new(back) });
        Ok(())
    }
}

/// The two columns of a block.
fn columns<'b>(
    scope: &'b Scope<'_>,
    block: &'b Directive,
) -> impl Iterator<Item = Result<(&'b Directive, u8, &'b Word), Diagnostic>> {
    block.body().iter().map(move |line| match line.args.as_slice() {
        [second] => {
            let first = byte(&line.name.text).ok_or_else(|| invalid(scope, line, &line.name))?;
            Ok((line, first, second))
        }
        _ => Err(scope.error(line, "invalid parameters number")),
    })
}

fn byte_tables(scope: &Scope<'_>, block: &Directive) -> Result<(Table, Table), Diagnostic> {
    let mut there = Box::new([UNKNOWN; 256]);
    for code in 0..ASCII {
        there[usize::from(code)] = code;
    }
    let mut back = there.clone();
    for column in columns(scope, block) {
        let (line, first, second) = column?;
        let other = byte(&second.text).ok_or_else(|| invalid(scope, line, second))?;
        there[usize::from(first)] = other;
        back[usize::from(other)] = first;
    }
    Ok((Table::Bytes(there), Table::Bytes(back)))
}

fn utf8_tables(scope: &Scope<'_>, block: &Directive) -> Result<(Table, Table), Diagnostic> {
    let one = |byte| Character { bytes: [byte, 0, 0], len: 1 };
    let mut there = Box::new([one(UNKNOWN); 256]);
    let mut back: Box<[u8; 0x1_0000]> =
        vec![0; 0x1_0000].try_into().unwrap_or_else(|_| Box::new([0; 0x1_0000]));
    for code in 0..ASCII {
        there[usize::from(code)] = one(code);
        back[usize::from(code)] = code;
    }
    for column in columns(scope, block) {
        let (line, first, second) = column?;
        let (character, code) = character(&second.text).ok_or_else(|| invalid(scope, line, second))?;
        there[usize::from(first)] = character;
        back[usize::from(code)] = first;
    }
    Ok((Table::ToUtf8(there), Table::FromUtf8(back)))
}

fn invalid(scope: &Scope<'_>, line: &Directive, word: &Word) -> Diagnostic {
    scope.error_at(line, word, format!("invalid value \"{}\"", word.text))
}

/// A byte in hexadecimal.
fn byte(text: &str) -> Option<u8> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u64::from_str_radix(text, 16).ok())?.and_then(|code| u8::try_from(code).ok())
}

/// The bytes of a character in UTF-8, in hexadecimal, and its number.
fn character(text: &str) -> Option<(Character, u16)> {
    let digits = text.as_bytes();
    if digits.is_empty() || !digits.len().is_multiple_of(2) || digits.len() / 2 > UTF8_BYTES_MAX {
        return None;
    }
    let mut character = Character::default();
    for (place, pair) in character.bytes.iter_mut().zip(digits.chunks(2)) {
        *place = byte(std::str::from_utf8(pair).ok()?)?;
        character.len += 1;
    }
    let decoded = match character.bytes() {
        [code] => char::from(*code).is_ascii().then_some(u32::from(*code)),
        bytes => match super::utf8::decode(bytes) {
            super::utf8::Decoded::Code(code, len) if len == bytes.len() => Some(code),
            _ => None,
        },
    };
    Some((character, u16::try_from(decoded?).ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn codes() {
        assert_eq!(
            (byte("e0"), byte("A"), byte("100"), byte("x"), byte("")),
            (Some(0xe0), Some(10), None, None, None)
        );
        let code = |text| character(text).map(|(character, code)| (character.bytes().to_vec(), code));
        assert_eq!(code("D0B0"), Some((vec![0xd0, 0xb0], 0x430)));
        assert_eq!(code("E282AC"), Some((vec![0xe2, 0x82, 0xac], 0x20ac)));
        assert_eq!(code("41"), Some((vec![0x41], 0x41)));
        for text in ["", "D0B", "D0", "F09F9880", "D041", "xx", "4142"] {
            assert_eq!(code(text), None, "{text}");
        }
    }
}
