//! Leases: what a shard takes from a bucket ahead of its requests, so that most of them touch nothing
//! that another shard writes.
//!
//! A lease is at most `burst / (2 x shards)` requests, and the bucket itself holds `burst - shards x
//! lease`. Of any stretch of time no more than `rate x time` and what the bucket holds is leased, and no
//! more than `shards x lease` was leased before it: so `rate x time + burst` requests pass at most.

use super::bucket::Level;
use super::zone::Zone;
use super::zone::table::Fingerprint;

/// Keys a shard holds leases for, per zone: 1024 x 40 bytes. A key whose place another takes loses what
/// it has left, and leases anew.
const LEASES: usize = 1024;

/// The rate from which on leases are worth their inexactness, thousandths of a request a second.
pub const LEASE_RATE_MIN: u64 = 100_000;

/// The leases of one shard on one zone.
pub struct Leases {
    /// Requests of a lease.
    share: u64,
    /// What the bucket holds beyond its rate, thousandths.
    capacity: u64,
    /// Thousandths a second.
    rate: u64,
    held: Box<[Lease]>,
}

#[derive(Clone, Copy, Default)]
struct Lease {
    key: Option<Fingerprint>,
    /// Requests left.
    left: u64,
    /// When it lapses, the zone's milliseconds: what is left would have flowed off by then.
    until_ms: u64,
}

impl Leases {
    /// The leases for a limit of `rate` (thousandths a second) with `burst` (requests); `None` where
    /// each request has to ask the bucket.
    pub fn new(rate: u64, burst: u64, shards: usize) -> Option<Leases> {
        let shards = shards as u64;
        if shards < 2 || rate < LEASE_RATE_MIN {
            return None;
        }
        let share = burst / (2 * shards);
        let capacity = (burst - shards * share) * 1000;
        // A lease of one request is none.
        (share > 1).then(|| Leases { share, capacity, rate, held: vec![Lease::default(); LEASES].into() })
    }

    /// Takes one request out of the shard's lease, or a new lease out of the bucket. `Err` with the
    /// excess, thousandths, when the bucket has no room for it.
    ///
    /// # Errors
    /// See above.
    pub fn take(&mut self, zone: &Zone, key: Fingerprint) -> Result<(), u64> {
        let now = zone.now_ms();
        let Leases { share, capacity, rate, ref mut held } = *self;
        let places = held.len();
        let Some(lease) = held.get_mut(key.place(places)) else { return Err(0) };
        if lease.key == Some(key) && lease.left > 0 && now < lease.until_ms {
            lease.left -= 1;
            return Ok(());
        }
        let mut granted = 0;
        let mut excess = 0;
        zone.table.update(key, |word| {
            let level = Level::with_one_more(word, now, rate);
            excess = level.excess;
            let room = capacity.checked_sub(level.excess);
            granted = room.map_or(0, |room| (room / 1000 + 1).min(share));
            (granted > 0).then(|| level.and(granted - 1).word())
        });
        if granted == 0 {
            return Err(excess);
        }
        *lease = Lease { key: Some(key), left: granted - 1, until_ms: now + granted * 1_000_000 / rate };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::bridge::zone::{ZoneKind, ZoneSpec};

    fn zone() -> Zone {
        let spec = ZoneSpec { name: "z".into(), kind: ZoneKind::Rate, size: 0, key: "$x".into() };
        Zone::new(spec)
    }

    #[test]
    fn only_fast_limits_of_several_shards_lease() {
        assert!(Leases::new(100_000, 200, 1).is_none());
        assert!(Leases::new(99_000, 200, 2).is_none());
        assert!(Leases::new(100_000, 7, 2).is_none() && Leases::new(100_000, 8, 2).is_some());
    }

    #[test]
    fn at_one_moment_no_more_than_the_burst_passes() {
        for (shards, burst) in [(2, 200), (2, 8), (4, 1000), (3, 100), (64, 256)] {
            let zone = zone();
            let key = zone.table.fingerprint(b"key");
            let mut all: Vec<Leases> =
                (0..shards).map(|_| Leases::new(100_000, burst, shards).unwrap()).collect();
            let mut passed = 0;
            for turn in 0..burst * 4 {
                // One shard gets most of it.
                let shard = if turn % 3 == 0 { turn as usize / 3 % shards } else { 0 };
                passed += u64::from(all[shard].take(&zone, key).is_ok());
            }
            // The clock of this thread stands still. As in nginx the first request comes on top.
            assert!(passed <= burst + 1, "{shards} {burst}: {passed}");
            let one_shard_gets = burst - shards as u64 * (burst / (2 * shards as u64));
            assert!(passed > one_shard_gets, "{shards} {burst}: {passed}");
        }
    }

    #[test]
    fn other_keys_have_their_own() {
        let zone = zone();
        let mut leases = Leases::new(100_000, 40, 2).unwrap();
        for key in 0..64_u32 {
            let key = zone.table.fingerprint(&key.to_le_bytes());
            let passed = (0..100).filter(|_| leases.take(&zone, key).is_ok()).count();
            assert!((20..=41).contains(&passed), "{passed}");
        }
    }
}
