//! Sets of header field names: which are passed on, hidden, or left alone.

use crate::http::Known;

/// A set of field names: the known ones as bits, the others by comparison.
#[derive(Default)]
pub struct FieldSet {
    known: u64,
    others: Vec<Box<[u8]>>,
}

impl FieldSet {
    /// Adds a name.
    pub fn insert(&mut self, name: &[u8]) {
        match Known::of(name) {
            Known::Other if !self.contains(Known::Other, name) => self.others.push(name.into()),
            Known::Other => {}
            known => self.known |= known.bit(),
        }
    }

    /// Removes a name.
    pub fn remove(&mut self, name: &[u8]) {
        match Known::of(name) {
            Known::Other => self.others.retain(|other| !other.eq_ignore_ascii_case(name)),
            known => self.known &= !known.bit(),
        }
    }

    /// Whether a field is in the set.
    #[inline]
    pub fn contains(&self, known: Known, name: &[u8]) -> bool {
        match known {
            Known::Other => self.others.iter().any(|other| other.eq_ignore_ascii_case(name)),
            known => self.known & known.bit() != 0,
        }
    }
}
