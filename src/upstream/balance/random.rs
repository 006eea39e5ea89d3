//! `random`: a peer by chance, or the one of two with fewer connections.

use super::REHASH_MAX;
use super::set::Set;
use super::tried::Search;
use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

/// A source of numbers that need not be hard to guess.
pub(super) struct Dice(Cell<u64>);

impl Dice {
    /// Seeded by the system.
    pub(super) fn new() -> Dice {
        Dice(Cell::new(RandomState::new().hash_one(0_u8) | 1))
    }

    /// The next number (xorshift64*; S. Vigna, "An experimental exploration of Marsaglia's xorshift
    /// generators, scrambled").
    fn roll(&self) -> u64 {
        let mut x = self.0.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0.set(x);
        x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 1
    }
}

/// One or two by chance; after [`REHASH_MAX`] that were unfit nobody is chosen, and it is round robin's
/// turn.
pub(super) fn choose(set: &Set, search: &mut Search<'_>, dice: &Dice, of_two: bool) -> Option<usize> {
    let total = set.total_weight();
    let mut first: Option<usize> = None;
    while total > 0 && search.tried.misses() <= REHASH_MAX {
        let at = set.at_weight(dice.roll() % total);
        if first == Some(at) || !set.is_open(at, search) {
            search.miss();
            continue;
        }
        let Some(first) = first else {
            if !of_two {
                return Some(at);
            }
            first = Some(at);
            continue;
        };
        return Some(if load(set, search, at, first) > load(set, search, first, at) { first } else { at });
    }
    None
}

/// The connections of a peer, to be compared with those of another.
fn load(set: &Set, search: &Search<'_>, of: usize, with: usize) -> u64 {
    let connections = search.record.health(set.peers[of].id).connections();
    u64::from(connections) * set.peers[with].weight.unsigned_abs()
}
