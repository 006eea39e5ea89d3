//! `hash` without `consistent`, spread as nginx and Cache::Memcached spread: the upper half of a CRC-32
//! of the key, over the sum of the weights.

use super::REHASH_MAX;
use super::crc32::Crc32;
use super::set::Set;
use super::tried::Search;

/// The peer that the key leads to. Each try that finds it unfit adds a hash of the number of the try and
/// the key; after [`REHASH_MAX`] of them nobody is chosen, and it is round robin's turn.
pub(super) fn choose(set: &Set, search: &mut Search<'_>) -> Option<usize> {
    let total = set.total_weight();
    if total == 0 {
        return None;
    }
    while let Some(trail) = search.tried.trail()
        && trail.misses <= REHASH_MAX
    {
        let mut crc = Crc32::default();
        if trail.rehashes > 0 {
            crc.update(trail.rehashes.to_string().as_bytes());
        }
        crc.update(&trail.key);
        trail.hash = trail.hash.wrapping_add((crc.value() >> 16) & 0x7fff);
        trail.rehashes += 1;
        let at = set.at_weight(u64::from(trail.hash) % total);
        if set.is_open(at, search) {
            return Some(at);
        }
        search.miss();
    }
    None
}
