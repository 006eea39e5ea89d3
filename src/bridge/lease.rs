//! Leases: what a shard takes from a bucket ahead of its requests, so that most of them touch nothing
//! that another shard writes.
//!
//! A lease is at most `burst / (16 x shards)` requests, and the bucket itself holds `burst - shards x
//! lease`. Of any stretch of time no more than `rate x time` and what the bucket holds is leased, and no
//! more than `shards x lease` was leased before it: so `rate x time + burst` requests pass at most.

use super::bucket::Level;
use super::zone::table::{Fingerprint, Table};

/// Keys a shard holds leases for, per zone: 1024 x 48 bytes. A key whose place another takes loses what
/// it has left, and leases anew.
const LEASES: usize = 1024;

/// How many of the leases of all shards are the burst. What all shards may hold is what a caller may not
/// get that asks one shard alone, and what lapses: a sixteenth of the burst. So whoever asks for twice the
/// rate gets more than 97 % of `rate x time + burst` within ten seconds, whatever the burst: up to nine
/// times the rate it is less than 3 %, above that it is not used up.
const LEASES_IN_BURST: u64 = 16;

/// The rate from which on leases are worth their inexactness, thousandths of a request a second.
pub const LEASE_RATE_MIN: u64 = 100_000;

/// The leases of one shard on one zone.
pub struct Leases {
    /// Requests of a lease.
    share: u64,
    /// The excess at which the bucket gives a request out, at most, thousandths.
    capacity: u64,
    /// Thousandths a second.
    rate: u64,
    /// How long a lease is good for: until all of the burst would have flowed off. That what is held is
    /// never more than its share is what the bound rests on, not this; were it as short as the lease's own
    /// time, a shard that gets less than the whole rate would waste the rest of each lease.
    lapse_ms: u64,
    held: Box<[Lease]>,
}

#[derive(Clone, Copy, Default)]
struct Lease {
    key: Option<Fingerprint>,
    /// Requests left.
    left: u64,
    /// Requests that were left in the bucket when the lease was taken.
    behind: u64,
    /// When it lapses, the zone's milliseconds.
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
        let share = burst / (LEASES_IN_BURST * shards);
        // What the bucket gives out at one moment; the first of them finds no excess.
        let capacity = (burst - shards * share).saturating_sub(1) * 1000;
        let lapse_ms = (burst * 1_000_000).div_ceil(rate);
        let held = || vec![Lease::default(); LEASES].into();
        // A lease of one request is none.
        (share > 1).then(|| Leases { share, capacity, rate, lapse_ms, held: held() })
    }

    /// Takes one request out of the shard's lease, or a new lease out of the bucket. How many requests
    /// are left, as far as the shard knows; `Err` with the excess, thousandths, when the bucket has no
    /// room for it.
    ///
    /// # Errors
    /// See above.
    #[inline]
    pub fn take(&mut self, table: &Table, key: Fingerprint, now_ms: u64) -> Result<u64, u64> {
        let places = self.held.len();
        let Some(lease) = self.held.get_mut(key.place(places)) else { return Err(0) };
        if lease.key == Some(key) && lease.left > 0 && now_ms < lease.until_ms {
            lease.left -= 1;
            return Ok(lease.left + lease.behind);
        }
        self.renew(table, key, now_ms)
    }

    /// Takes a lease for a key that has none, and a request out of that.
    fn renew(&mut self, table: &Table, key: Fingerprint, now_ms: u64) -> Result<u64, u64> {
        let Leases { share, capacity, rate, lapse_ms, ref mut held } = *self;
        let mut granted = 0;
        let mut excess = 0;
        table.update(key, |word| {
            let level = Level::with_one_more(word, now_ms, rate);
            excess = level.excess;
            let room = capacity.checked_sub(level.excess);
            granted = room.map_or(0, |room| (room / 1000 + 1).min(share));
            (granted > 0).then(|| level.and(granted - 1).word())
        });
        if granted == 0 {
            return Err(excess);
        }
        let behind = (capacity - excess) / 1000 + 1 - granted;
        let lease = Lease { key: Some(key), left: granted - 1, behind, until_ms: now_ms + lapse_ms };
        let places = held.len();
        if let Some(place) = held.get_mut(key.place(places)) {
            *place = lease;
        }
        Ok(granted - 1 + behind)
    }

    /// By how much an excess is too much for the bucket, thousandths.
    pub fn beyond(&self, excess: u64) -> u64 {
        excess.saturating_sub(self.capacity)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::bridge::zone::table::Spare;
    use proptest::prelude::*;

    fn table() -> Table {
        Table::new(0, Spare::Oldest)
    }

    fn leases(rate: u64, burst: u64, shards: usize) -> Vec<Leases> {
        (0..shards).map(|_| Leases::new(rate, burst, shards).unwrap()).collect()
    }

    #[test]
    fn only_fast_limits_of_several_shards_lease() {
        assert!(Leases::new(100_000, 200, 1).is_none());
        assert!(Leases::new(99_000, 200, 2).is_none());
        assert!(Leases::new(100_000, 63, 2).is_none() && Leases::new(100_000, 64, 2).is_some());
    }

    #[test]
    fn at_one_moment_no_more_than_the_burst_passes() {
        for (shards, burst) in [(2, 200), (2, 64), (4, 1000), (3, 100), (64, 2048)] {
            let table = table();
            let key = table.fingerprint(b"key");
            let mut all = leases(100_000, burst, shards);
            let mut passed = 0;
            for turn in 0..burst * 4 {
                // One shard gets most of it.
                let shard = if turn % 3 == 0 { turn as usize / 3 % shards } else { 0 };
                passed += u64::from(all[shard].take(&table, key, 7).is_ok());
            }
            assert!(passed <= burst, "{shards} {burst}: {passed}");
            let one_shard_gets = burst - shards as u64 * (burst / (LEASES_IN_BURST * shards as u64));
            assert!(passed >= one_shard_gets, "{shards} {burst}: {passed}");
        }
    }

    #[test]
    fn what_is_left_is_told() {
        let table = table();
        let key = table.fingerprint(b"key");
        let mut all = leases(100_000, 64, 2);
        // A lease is 2, and the bucket has 60.
        let told: Vec<u64> = (0..61).map_while(|_| all[0].take(&table, key, 0).ok()).collect();
        assert_eq!(told, (0..60).rev().collect::<Vec<u64>>());
        let excess = all[0].take(&table, key, 0).unwrap_err();
        assert_eq!((excess, all[0].beyond(excess)), (60_000, 1000));
    }

    #[test]
    fn other_keys_have_their_own() {
        let table = table();
        let mut leases = Leases::new(100_000, 64, 2).unwrap();
        for key in 0..64_u32 {
            let key = table.fingerprint(&key.to_le_bytes());
            let passed = (0..100).filter(|_| leases.take(&table, key, 0).is_ok()).count();
            assert_eq!(passed, 60);
        }
    }

    #[test]
    fn who_asks_for_twice_the_rate_gets_it_nearly_all() {
        for (rate, burst, shards) in
            [(100, 200, 2), (100, 900, 2), (1000, 100, 2), (5000, 2000, 4), (250, 400, 8)]
        {
            let table = table();
            let key = table.fingerprint(b"key");
            let mut all = leases(rate * 1000, burst, shards);
            let seconds = 10;
            let asked = rate * 2 * seconds;
            // In turn, as connections of all shards would.
            let passes =
                |n: &u64| all[(*n as usize) % shards].take(&table, key, n * 1000 / (rate * 2)).is_ok();
            let passed = (0..asked).filter(passes).count() as u64;
            let most = rate * seconds + burst;
            assert!(
                passed <= most && passed * 100 >= most.min(asked) * 97,
                "{rate} {burst} {shards}: {passed}"
            );
            // And who asks for the rate, gets it all.
            let other = table.fingerprint(b"other");
            let passes = |n: &u64| all[(*n as usize) % shards].take(&table, other, n * 1000 / rate).is_ok();
            assert_eq!((0..rate * seconds).filter(passes).count() as u64, rate * seconds);
        }
    }

    proptest! {
        /// Whoever asks whenever on whichever shard: of no stretch of time more than its rate and the
        /// burst passes. The clocks of shards may be behind one another.
        #[test]
        fn never_more_than_rate_and_burst(
            rate in 100_u64..5000,
            burst in 64_u64..2000,
            shards in 2_usize..5,
            asks in prop::collection::vec((0_u64..40, 0_usize..5, 1_u64..80, 0_u64..3), 1..150),
        ) {
            prop_assume!(burst >= 2 * LEASES_IN_BURST * shards as u64);
            let table = table();
            let key = table.fingerprint(b"key");
            let mut all = leases(rate * 1000, burst, shards);
            let mut clocks = vec![0; shards];
            let mut now = 0;
            let mut passed: Vec<(u64, u64)> = Vec::new();
            for (later, shard, requests, behind) in asks {
                now += later;
                let shard = shard % shards;
                clocks[shard] = now.saturating_sub(behind).max(clocks[shard]);
                let took = (0..requests).filter(|_| all[shard].take(&table, key, clocks[shard]).is_ok());
                passed.push((now, took.count() as u64));
            }
            for (from, &(begun, _)) in passed.iter().enumerate() {
                let mut sum = 0;
                for &(at, count) in &passed[from..] {
                    sum += count;
                    // A clock that is behind by two milliseconds lets in what came in them.
                    let most = rate * (at - begun + 2) / 1000 + burst;
                    prop_assert!(sum <= most, "{} from {} to {}: at most {}", sum, begun, at, most);
                }
            }
        }
    }
}
