//! The recoding of one body, whatever the pieces it comes in.

use super::maps::Table;
use super::utf8::{Decoded, decode};
use crate::base::buffer::Buffer;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::filter::{Ask, Fault, Link};
use std::io::Write;
use std::sync::Arc;

/// The most that one character becomes: `&#1114111;`.
const GIVEN_MAX: usize = 10;

/// The longest character in UTF-8, bytes.
const CHARACTER_MAX: usize = 4;

/// Recodes one body.
pub(super) struct Recoder {
    table: Arc<Table>,
    /// The beginning of a character whose rest is in the next piece.
    cut: Vec<u8>,
}

impl Recoder {
    pub(super) fn new(table: Arc<Table>) -> Recoder {
        Recoder { table, cut: Vec::new() }
    }

    /// Recodes characters while there is room; false when there is none left for another.
    fn from_utf8(codes: &[u8; 0x1_0000], cut: &mut Vec<u8>, input: &mut Buffer, out: &mut Buffer) -> bool {
        while !input.is_empty() {
            if out.room() < GIVEN_MAX {
                return false;
            }
            if cut.is_empty() {
                let plain = input.filled().iter().take_while(|byte| byte.is_ascii()).count();
                if plain > 0 {
                    let taken = out.append(input.filled().get(..plain).unwrap_or_default());
                    input.consume(taken);
                    continue;
                }
            }
            // What was cut off goes before what there is: a character of at most four bytes.
            let before = cut.len();
            cut.extend(input.filled().iter().take(CHARACTER_MAX - before.min(CHARACTER_MAX)));
            let used = match decode(cut) {
                Decoded::Code(code, len) => {
                    let byte = usize::try_from(code).ok().and_then(|code| codes.get(code)).copied();
                    match byte.filter(|byte| *byte != 0) {
                        Some(byte) => _ = out.append(&[byte]),
                        None => entity(code, out),
                    }
                    len
                }
                Decoded::Malformed(len) => {
                    out.append(b"?");
                    len
                }
                Decoded::Cut => {
                    input.consume(cut.len() - before);
                    continue;
                }
            };
            // The bytes of a cut character that did not turn out to be one are gone with it.
            input.consume(used.saturating_sub(before));
            cut.clear();
        }
        true
    }
}

/// A character that the charset has not, as HTML writes it.
fn entity(code: u32, out: &mut Buffer) {
    let mut text = [0; GIVEN_MAX];
    let mut rest = &mut text[..];
    // The largest code has seven digits.
    let _ = write!(rest, "&#{code};");
    let len = GIVEN_MAX - rest.len();
    out.append(text.get(..len).unwrap_or_default());
}

impl Link for Recoder {
    fn run(&mut self, _: &mut Exchange, input: &mut Buffer, _: Ask, out: &mut Buffer) -> Result<bool, Fault> {
        match &*self.table {
            Table::Bytes(codes) => {
                let mut len = 0;
                for (to, from) in out.spare().iter_mut().zip(input.filled()) {
                    *to = codes[usize::from(*from)];
                    len += 1;
                }
                out.advance(len);
                input.consume(len);
                Ok(input.is_empty())
            }
            Table::ToUtf8(characters) => {
                let mut taken = 0;
                for byte in input.filled() {
                    let character = characters[usize::from(*byte)].bytes();
                    if out.room() < character.len() {
                        break;
                    }
                    out.append(character);
                    taken += 1;
                }
                input.consume(taken);
                Ok(input.is_empty())
            }
            Table::FromUtf8(codes) => Ok(Recoder::from_utf8(codes, &mut self.cut, input, out)),
        }
    }
}
