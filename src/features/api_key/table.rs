//! Keys by their hashes. A table is made once and then only read; it holds a key in 40 bytes, and names
//! one after the other in one text, so that a million keys of a million consumers take some 70 MB.

use crate::pipeline::veil::{HASH_BYTES, KeyHash};
use ahash::AHashMap;
use aws_lc_rs::constant_time::verify_slices_are_equal;

/// Keys of one table at most: 160 MB of entries. More belong into more files, or behind another issuer.
pub const KEYS_MAX: usize = 4_000_000;

/// Stands for no expiry.
pub const NEVER: u32 = u32::MAX;

/// A key.
#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: KeyHash,
    /// The number of its consumer's name.
    owner: u32,
    /// When it expires, seconds since the epoch.
    until_s: u32,
}

/// A table being filled.
#[derive(Default)]
pub struct Filling {
    entries: Vec<Entry>,
    names: Vec<u8>,
    /// Where each name ends.
    ends: Vec<u32>,
    known: AHashMap<Box<[u8]>, u32>,
}

/// Keys by their hashes.
#[derive(Debug, Default)]
pub struct KeyTable {
    /// In the order of their hashes.
    entries: Box<[Entry]>,
    /// Where the entries begin whose hash begins with these bits; one more for the end.
    starts: Box<[u32]>,
    /// How far the first 32 bits of a hash are shifted for that.
    shift: u32,
    names: Box<[u8]>,
    ends: Box<[u32]>,
}

/// What a key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'t> {
    /// Whose it is.
    pub consumer: &'t [u8],
    /// Until when, seconds since the epoch; [`NEVER`] for always.
    pub until_s: u32,
}

impl Found<'_> {
    /// Whether its time is up.
    pub fn is_expired(&self, unix_s: u64) -> bool {
        self.until_s != NEVER && unix_s >= u64::from(self.until_s)
    }
}

impl Filling {
    /// Adds a key.
    ///
    /// # Errors
    /// There is no place for more.
    pub fn add(&mut self, hash: KeyHash, consumer: &[u8], until_s: u32) -> Result<(), &'static str> {
        if self.entries.len() >= KEYS_MAX {
            return Err("too many keys");
        }
        let owner = match self.known.get(consumer) {
            Some(&owner) => owner,
            None => {
                let owner = self.ends.len() as u32;
                self.names.extend_from_slice(consumer);
                self.ends.push(u32::try_from(self.names.len()).map_err(|_| "too many names")?);
                self.known.insert(consumer.into(), owner);
                owner
            }
        };
        self.entries.push(Entry { hash, owner, until_s });
        Ok(())
    }

    /// The table.
    ///
    /// # Errors
    /// The hash of a key that is given to two consumers, or has two expiries.
    pub fn finish(mut self) -> Result<KeyTable, KeyHash> {
        drop(self.known);
        self.entries.sort_unstable_by_key(|entry| entry.hash);
        let said = |entry: &Entry| (entry.owner, entry.until_s);
        let pairs = self.entries.iter().zip(self.entries.iter().skip(1));
        if let Some((one, _)) = pairs.clone().find(|(a, b)| a.hash == b.hash && said(a) != said(b)) {
            return Err(one.hash);
        }
        self.entries.dedup_by_key(|entry| entry.hash);
        // Between one and two keys behind each start.
        let bits = self.entries.len().checked_ilog2().unwrap_or(0);
        let shift = 32 - bits;
        let mut starts = vec![0_u32; (1 << bits) + 1];
        for entry in &self.entries {
            if let Some(count) = starts.get_mut(bucket(&entry.hash, shift) + 1) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        Ok(KeyTable {
            entries: self.entries.into(),
            starts: starts.into(),
            shift,
            names: self.names.into(),
            ends: self.ends.into(),
        })
    }
}

impl KeyTable {
    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What the key with this hash says. Whole hashes are compared in constant time; which entries are
    /// looked at depends on the hash alone, from which nothing follows about a key.
    #[inline]
    pub fn find(&self, hash: &KeyHash) -> Option<Found<'_>> {
        let at = bucket(hash, self.shift);
        let (&start, &end) = (self.starts.get(at)?, self.starts.get(at + 1)?);
        let candidates = self.entries.get(start as usize..end as usize)?;
        let entry = candidates.iter().find(|entry| verify_slices_are_equal(&entry.hash, hash).is_ok())?;
        Some(Found { consumer: self.name(entry.owner)?, until_s: entry.until_s })
    }

    /// Every key, in the order of their hashes.
    pub fn all(&self) -> impl Iterator<Item = (&KeyHash, Found<'_>)> {
        self.entries.iter().filter_map(|entry| {
            Some((&entry.hash, Found { consumer: self.name(entry.owner)?, until_s: entry.until_s }))
        })
    }

    fn name(&self, owner: u32) -> Option<&[u8]> {
        let owner = owner as usize;
        let start = match owner.checked_sub(1) {
            Some(before) => *self.ends.get(before)? as usize,
            None => 0,
        };
        self.names.get(start..*self.ends.get(owner)? as usize)
    }
}

/// The first bits of a hash as a number.
#[inline]
fn bucket(hash: &KeyHash, shift: u32) -> usize {
    let first = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
    first.checked_shr(shift).unwrap_or(0) as usize
}

/// The hash that a text of 64 hexadecimal digits stands for, with or without `sha256:` in front.
pub fn parse_hash(text: &[u8]) -> Option<KeyHash> {
    let digits = text.strip_prefix(b"sha256:").unwrap_or(text);
    if digits.len() != 2 * HASH_BYTES {
        return None;
    }
    let mut hash = [0; HASH_BYTES];
    for (byte, pair) in hash.iter_mut().zip(digits.as_chunks::<2>().0) {
        let digit = |at: u8| char::from(at).to_digit(16);
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Some(hash)
}

/// A hash in hexadecimal.
pub fn show_hash(hash: &KeyHash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::pipeline::veil::hash;
    use proptest::prelude::*;

    #[test]
    fn hashes_are_read_and_shown() {
        let text = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        assert_eq!(parse_hash(text.as_bytes()), Some(hash(b"test")));
        assert_eq!(parse_hash(format!("sha256:{}", text.to_uppercase()).as_bytes()), Some(hash(b"test")));
        assert_eq!(show_hash(&hash(b"test")), text);
        for wrong in ["", "sha256:", &text[1..], &format!("{text}0"), &text.replace('9', "g"), "md5:0"] {
            assert_eq!(parse_hash(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn one_key_has_one_owner() {
        let mut filling = Filling::default();
        filling.add(hash(b"a"), b"one", NEVER).unwrap();
        filling.add(hash(b"a"), b"one", NEVER).unwrap();
        let table = filling.finish().unwrap();
        assert_eq!((table.len(), table.find(&hash(b"b"))), (1, None));
        for (consumer, until_s) in [(&b"two"[..], NEVER), (b"one", 1)] {
            let mut filling = Filling::default();
            filling.add(hash(b"a"), b"one", NEVER).unwrap();
            filling.add(hash(b"a"), consumer, until_s).unwrap();
            assert_eq!(filling.finish().map(|_| ()), Err(hash(b"a")));
        }
        let empty = Filling::default().finish().unwrap();
        assert!(empty.is_empty() && empty.find(&hash(b"a")).is_none());
    }

    #[test]
    fn expiry() {
        let found = |until_s| Found { consumer: b"a", until_s };
        assert!(found(10).is_expired(10) && !found(10).is_expired(9) && !found(NEVER).is_expired(u64::MAX));
    }

    proptest! {
        #[test]
        fn all_are_found_and_no_others(keys in proptest::collection::btree_set(0_u32..5000, 0..300), other in 5000_u32..) {
            let mut filling = Filling::default();
            for key in &keys {
                filling.add(hash(&key.to_le_bytes()), (key % 7).to_string().as_bytes(), *key).unwrap();
            }
            let table = filling.finish().unwrap();
            prop_assert_eq!(table.len(), keys.len());
            prop_assert_eq!(table.all().count(), keys.len());
            for key in &keys {
                let found = table.find(&hash(&key.to_le_bytes())).unwrap();
                let owner = (key % 7).to_string();
                prop_assert_eq!((found.consumer, found.until_s), (owner.as_bytes(), *key));
            }
            prop_assert!(table.find(&hash(&other.to_le_bytes())).is_none());
        }
    }
}
