//! Header fields on their way out: an answer's or a proxied request's, in one recycled memory.

use crate::base::limits::SCRATCH_KEEP_BYTES;
use crate::http::{Known, Span};

/// An ordered list of header fields that owns its bytes.
#[derive(Default, Debug)]
pub struct FieldList {
    bytes: Vec<u8>,
    list: Vec<OutField>,
}

/// One field; its text lies in the list's memory.
#[derive(Clone, Copy, Debug)]
pub struct OutField {
    /// The name as it is sent.
    pub name: Span,
    /// The value.
    pub value: Span,
    /// Which well-known field it is.
    pub known: Known,
}

impl FieldList {
    /// Forgets all fields; keeps the memory, within bounds.
    pub fn clear(&mut self) {
        self.list.clear();
        self.bytes.clear();
        if self.bytes.capacity() > SCRATCH_KEEP_BYTES {
            self.bytes = Vec::new();
        }
    }

    /// Appends a field. The caller vouches that neither part holds CR, LF or NUL.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.push_known(Known::of(name), name, value);
    }

    /// Appends a field whose identity is known already.
    pub fn push_known(&mut self, known: Known, name: &[u8], value: &[u8]) {
        let name = self.store(name);
        let value = self.store(value);
        self.list.push(OutField { name, value, known });
    }

    /// Appends a field whose value `write` appends to the bytes it is given; CR, LF and NUL in it
    /// become spaces, since it may be made of what a client sent.
    pub fn push_with(&mut self, name: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        let name_span = self.store(name);
        let start = self.bytes.len();
        write(&mut self.bytes);
        for byte in &mut self.bytes[start..] {
            if matches!(byte, b'\r' | b'\n' | 0) {
                *byte = b' ';
            }
        }
        let value = Span { start: start as u32, end: self.bytes.len() as u32 };
        self.list.push(OutField { name: name_span, value, known: Known::of(name) });
    }

    /// Replaces every field of this identity by one.
    pub fn set_known(&mut self, known: Known, name: &[u8], value: &[u8]) {
        self.remove(known);
        self.push_known(known, name, value);
    }

    /// Gives the first field of this identity another value, in its place.
    pub fn replace(&mut self, known: Known, value: &[u8]) {
        let value = self.store(value);
        if let Some(field) = self.list.iter_mut().find(|field| field.known == known) {
            field.value = value;
        }
    }

    /// Puts a field before all others.
    pub fn push_front(&mut self, known: Known, name: &[u8], value: &[u8]) {
        let (name, value) = (self.store(name), self.store(value));
        self.list.insert(0, OutField { name, value, known });
    }

    /// Removes every field of this identity.
    pub fn remove(&mut self, known: Known) {
        self.list.retain(|field| field.known != known);
    }

    /// Removes every field whose name is one that `is` looks for.
    pub fn remove_named(&mut self, is: impl Fn(&[u8]) -> bool) {
        let bytes = &self.bytes;
        self.list.retain(|field| !is(field.name.of(bytes)));
    }

    /// The value of the first field of this identity.
    pub fn find(&self, known: Known) -> Option<&[u8]> {
        self.list.iter().find(|field| field.known == known).map(|field| field.value.of(&self.bytes))
    }

    /// Name, value and identity of each field, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8], Known)> {
        self.list.iter().map(|f| (f.name.of(&self.bytes), f.value.of(&self.bytes), f.known))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn store(&mut self, text: &[u8]) -> Span {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(text);
        Span { start, end: self.bytes.len() as u32 }
    }
}
