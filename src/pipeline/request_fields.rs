//! Changes to the header fields of a request that has come: what is behind them sees the new ones.

use super::exchange::Exchange;
use crate::http::{Field, Known, Span};

impl Exchange {
    /// Removes every field whose name is one that `is` looks for.
    pub fn remove_request_fields(&mut self, is: impl Fn(&[u8]) -> bool) {
        let old = std::mem::take(&mut self.head.fields);
        let input = self.input.filled();
        for field in old.list {
            if !is(field.name.of(input)) {
                self.head.fields.push(field);
            }
        }
    }

    /// Adds a field, whose text is put behind the head that came. CR, LF and NUL in the value become
    /// spaces: it is to be one field.
    pub fn push_request_field(&mut self, known: Known, name: &[u8], value: &[u8]) {
        let name = self.put_behind_head(name);
        let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0);
        let value = match value.iter().any(is_end) {
            false => self.put_behind_head(value),
            true => {
                let one_line: Vec<u8> =
                    value.iter().map(|byte| if is_end(byte) { b' ' } else { *byte }).collect();
                self.put_behind_head(&one_line)
            }
        };
        self.head.fields.push(Field { name, value, known, hidden: false });
    }

    fn put_behind_head(&mut self, text: &[u8]) -> Span {
        let start = self.input.len();
        if self.input.room() < text.len() {
            self.input.grow(start + text.len());
        }
        self.input.append(text);
        Span::new(start, start + text.len())
    }
}
