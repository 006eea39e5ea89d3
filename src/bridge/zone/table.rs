//! A table of a fixed size from keys to one word each, for all shards at once. A key is known by its
//! fingerprint; a word is changed by compare-and-swap. Only a key that is new to its group takes that
//! group's lock, so that no two shards enter it twice.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Places a key may be in. A full look at a group is 64 x 24 bytes, 24 cache lines: well below a
/// microsecond, and only for keys that are not there. With half of the places taken, the chance that a
/// group of 64 is full is about 1 in 20,000.
const GROUP_SLOTS: usize = 64;

/// Bytes of one place: what a zone's size is divided by.
const SLOT_BYTES: u64 = 24;

/// The word of a place that is given to another key just now. No caller may store it.
const TAKEN: u64 = u64::MAX;

/// How often a place that is [`TAKEN`] is looked at before the thread that holds it is let run.
const SPINS: u32 = 64;

/// What a full group gives up for a new key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spare {
    /// The key whose word is the smallest: words begin with their time.
    Oldest,
    /// A key whose word is zero, and none else.
    Zero,
}

/// A key as the table knows it: 128 bits of two hashes whose seeds nobody knows, so that nobody can
/// make two keys that share one, or a group overflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    low: u64,
    high: u64,
}

impl Fingerprint {
    /// One of so many places, for tables of a shard's own.
    pub fn place(self, places: usize) -> usize {
        (self.high >> 32) as usize % places.max(1)
    }
}

/// The table.
#[derive(Debug)]
pub struct Table {
    /// A group takes memory when its first key comes.
    groups: Box<[OnceLock<Box<Group>>]>,
    spare: Spare,
    seeds: [RandomState; 2],
}

#[derive(Debug)]
struct Group {
    /// Held while a key enters.
    entering: Mutex<()>,
    slots: [Slot; GROUP_SLOTS],
}

/// A place: all zero until its first key comes, and never without a key after that.
#[derive(Debug, Default)]
struct Slot {
    low: AtomicU64,
    high: AtomicU64,
    word: AtomicU64,
}

impl Table {
    /// A table of about so many bytes, one group at least.
    pub fn new(bytes: u64, spare: Spare) -> Table {
        let groups = (bytes / SLOT_BYTES / GROUP_SLOTS as u64).max(1);
        let groups = (0..groups).map(|_| OnceLock::new()).collect();
        Table { groups, spare, seeds: [RandomState::new(), RandomState::new()] }
    }

    /// The fingerprint of a key.
    pub fn fingerprint(&self, key: &[u8]) -> Fingerprint {
        let [low, high] = self.seeds.each_ref().map(|seed| {
            let mut hasher = seed.build_hasher();
            hasher.write(key);
            hasher.finish()
        });
        // All zero is a place that no key was in yet.
        Fingerprint { low: low | 1, high }
    }

    /// The word of a key, if the key is there.
    pub fn word(&self, key: Fingerprint) -> Option<u64> {
        let group = self.group(key)?.get()?;
        group.look(key).map(|(_, word)| word)
    }

    /// Changes the word of a key: `change` is given the word, `None` for a key that is not there, and
    /// says what it becomes, `None` to leave it. It may be asked again when another shard was quicker.
    /// False when the key is new and there is no place for it.
    pub fn update(&self, key: Fingerprint, mut change: impl FnMut(Option<u64>) -> Option<u64>) -> bool {
        let Some(group) = self.group(key) else { return false };
        let group = group.get_or_init(|| Box::new(Group::new()));
        loop {
            if let Some((slot, word)) = group.look(key) {
                let Some(new) = change(Some(word)) else { return true };
                if slot.swap(word, new) {
                    return true;
                }
                continue;
            }
            let entering = group.entering.lock().unwrap_or_else(PoisonError::into_inner);
            if group.look(key).is_some() {
                continue;
            }
            let Some(new) = change(None) else { return true };
            let entered = group.enter(key, new, self.spare);
            drop(entering);
            return entered;
        }
    }

    fn group(&self, key: Fingerprint) -> Option<&OnceLock<Box<Group>>> {
        self.groups.get((key.low >> 1) as usize % self.groups.len())
    }
}

impl Group {
    fn new() -> Group {
        Group { entering: Mutex::new(()), slots: std::array::from_fn(|_| Slot::default()) }
    }

    /// The places in the order in which a key looks at them.
    fn order(&self, key: Fingerprint) -> impl Iterator<Item = &Slot> {
        let (behind, ahead) = self.slots.split_at(key.high as usize % GROUP_SLOTS);
        ahead.iter().chain(behind)
    }

    /// The place and the word of a key. A key never lies behind a place that was never used.
    fn look(&self, key: Fingerprint) -> Option<(&Slot, u64)> {
        for slot in self.order(key) {
            match slot.key() {
                Fingerprint { low: 0, .. } => return None,
                found if found == key => {}
                _ => continue,
            }
            let word = slot.settled();
            // Another key may have got the place meanwhile; its word was stored behind its key.
            if slot.key() == key {
                return Some((slot, word));
            }
        }
        None
    }

    /// Puts a key that is not there into a place. The caller holds `entering`.
    fn enter(&self, key: Fingerprint, word: u64, spare: Spare) -> bool {
        loop {
            let mut best: Option<(&Slot, u64)> = None;
            for slot in self.order(key) {
                let found = slot.settled();
                if slot.key().low == 0 || (spare == Spare::Zero && found == 0) {
                    best = Some((slot, found));
                    break;
                }
                let older = best.is_none_or(|(_, least)| found < least);
                if spare == Spare::Oldest && older {
                    best = Some((slot, found));
                }
            }
            let Some((slot, found)) = best else { return false };
            if slot.swap(found, TAKEN) {
                slot.low.store(key.low, Ordering::Relaxed);
                slot.high.store(key.high, Ordering::Relaxed);
                slot.word.store(word, Ordering::Release);
                return true;
            }
        }
    }
}

impl Slot {
    fn key(&self) -> Fingerprint {
        Fingerprint { low: self.low.load(Ordering::Acquire), high: self.high.load(Ordering::Acquire) }
    }

    fn swap(&self, word: u64, new: u64) -> bool {
        self.word.compare_exchange(word, new, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// The word, once nobody is giving the place away. That takes three stores, and longer only if the
    /// thread that makes them is not running.
    fn settled(&self) -> u64 {
        let mut looks = 0;
        loop {
            match self.word.load(Ordering::Acquire) {
                TAKEN if looks < SPINS => std::hint::spin_loop(),
                TAKEN => std::thread::yield_now(),
                word => return word,
            }
            looks += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::Arc;

    fn count(table: &Table, key: &[u8]) -> bool {
        table.update(table.fingerprint(key), |word| Some(word.unwrap_or(0) + 1))
    }

    #[test]
    fn words_are_kept_by_key() {
        let table = Table::new(1 << 20, Spare::Zero);
        for round in 1..4_u64 {
            for key in 0..5000_u32 {
                assert!(count(&table, &key.to_le_bytes()));
            }
            let word = |key: u32| table.word(table.fingerprint(&key.to_le_bytes()));
            assert!((0..5000).all(|key| word(key) == Some(round)));
            assert_eq!(word(5000), None);
        }
        let key = table.fingerprint(b"none");
        assert!(table.update(key, |word| word) && table.word(key).is_none());
    }

    #[test]
    fn a_full_group_gives_up_the_oldest() {
        let table = Table::new(0, Spare::Oldest);
        let enter = |key: u64| table.update(table.fingerprint(&key.to_le_bytes()), |_| Some(key));
        assert!((1..=200).all(enter));
        let kept: Vec<u64> =
            (1..=200_u64).filter(|key| table.word(table.fingerprint(&key.to_le_bytes())).is_some()).collect();
        assert_eq!(kept, (137..=200).collect::<Vec<u64>>());
    }

    #[test]
    fn a_full_group_of_counts_takes_no_more_until_one_is_zero() {
        let table = Table::new(0, Spare::Zero);
        assert!((0..64_u32).all(|key| count(&table, &key.to_le_bytes())));
        assert!(!count(&table, b"one more") && count(&table, &7_u32.to_le_bytes()));
        let seven = table.fingerprint(&7_u32.to_le_bytes());
        assert!(table.update(seven, |_| Some(0)));
        assert!(count(&table, b"one more") && !count(&table, b"and one more"));
        assert_eq!(table.word(seven), None);
    }

    #[test]
    fn threads_lose_nothing() {
        const ROUNDS: u64 = 20_000;
        let table = Arc::new(Table::new(0, Spare::Zero));
        let threads: Vec<_> = (0..4_u64)
            .map(|thread| {
                let table = table.clone();
                std::thread::spawn(move || {
                    for round in 0..ROUNDS {
                        // A key that all share, and keys that come and go round it.
                        assert!(count(&table, b"shared"));
                        let passing = table.fingerprint(&(thread * ROUNDS + round).to_le_bytes());
                        assert!(table.update(passing, |word| Some(word.unwrap_or(0) + 1)));
                        assert!(table.update(passing, |word| word.map(|word| word - 1)));
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(table.word(table.fingerprint(b"shared")), Some(4 * ROUNDS));
    }
}
