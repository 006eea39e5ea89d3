//! `ip_hash`: clients of one network, the first three octets of an IPv4 address or a whole IPv6 address,
//! go to the same peer. The sum is nginx's, so that clients stay where they were.

use super::REHASH_MAX;
use super::set::Set;
use super::tried::Search;

/// What the sum begins with.
pub(super) const START: u32 = 89;

/// What the sum is multiplied by for each byte.
const FACTOR: u32 = 113;

/// What the sum stays below.
const MODULUS: u32 = 6271;

/// The peer that the client's address leads to; where it is unfit, the sum goes on from where it was.
/// After [`REHASH_MAX`] tries nobody is chosen, and it is round robin's turn.
pub(super) fn choose(set: &Set, search: &mut Search<'_>) -> Option<usize> {
    let total = set.total_weight();
    if total == 0 {
        return None;
    }
    while let Some(trail) = search.tried.trail()
        && trail.misses <= REHASH_MAX
    {
        let before = trail.hash;
        let hash = trail.key.iter().fold(before, |hash, byte| (hash * FACTOR + u32::from(*byte)) % MODULUS);
        trail.hash = hash;
        let at = set.at_weight(u64::from(hash) % total);
        if set.is_open(at, search) {
            return Some(at);
        }
        search.miss();
    }
    None
}
