//! nginx's leaky bucket in one word: how much more than the rate came, and when that was worked out.
//! All numbers are thousandths of a request, so a rate of one request a minute is 16.

/// Bits of the excess; the rest of a word is the time in milliseconds, which thus lasts 2.2 years and
/// then begins anew. Words of later times are the larger ones, which is how the oldest is found.
const EXCESS_BITS: u32 = 28;

/// The largest excess a word can hold, thousandths.
const EXCESS_MAX: u64 = (1 << EXCESS_BITS) - 1;

/// The largest `burst`, requests: what a word can hold, less what shards that are not of one mind about
/// a key may add to it.
pub const BURST_MAX: u64 = EXCESS_MAX / 1000 - 1000;

const TIME_BITS: u32 = u64::BITS - EXCESS_BITS;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;

/// A time that lies this much in the future, milliseconds, is a wrong one rather than another thread's
/// clock; nginx's bound.
const AHEAD_MAX_MS: u64 = 60_000;

/// A bucket at one time: what a request would find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// The excess if the request comes in, thousandths.
    pub excess: u64,
    /// When the bucket was last changed or, if time passed since, now.
    time: u64,
}

impl Level {
    /// What a request at `now_ms` finds in the bucket that `word` holds, emptied at `rate` thousandths a
    /// second. The first request of a key finds no excess.
    pub fn with_one_more(word: Option<u64>, now_ms: u64, rate: u64) -> Level {
        let now = now_ms & TIME_MASK;
        let Some(word) = word else { return Level { excess: 0, time: now } };
        let (last, before) = (word >> EXCESS_BITS, word & EXCESS_MAX);
        let passed = passed_ms(last, now);
        let gone = rate.saturating_mul(passed) / 1000;
        let excess = (before + 1000).saturating_sub(gone).min(EXCESS_MAX - 1);
        Level { excess, time: if passed > 0 { now } else { last } }
    }

    /// The same if so many more requests come in with it.
    #[must_use]
    pub fn and(self, requests: u64) -> Level {
        let more = requests.saturating_mul(1000);
        Level { excess: self.excess.saturating_add(more).min(EXCESS_MAX - 1), ..self }
    }

    /// The word that holds it.
    pub fn word(self) -> u64 {
        self.time << EXCESS_BITS | self.excess
    }
}

/// Milliseconds between two times of a word; 0 where the first is the later one, as clocks of threads
/// may have it.
fn passed_ms(last: u64, now: u64) -> u64 {
    let passed = now.wrapping_sub(last) & TIME_MASK;
    if passed <= TIME_MASK / 2 {
        return passed;
    }
    let ahead = TIME_MASK - passed + 1;
    u64::from(ahead > AHEAD_MAX_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The excess of each request of a key at these milliseconds, all let in.
    fn excesses(rate: u64, times: &[u64]) -> Vec<u64> {
        let mut word = None;
        let level = |&now: &u64| {
            let level = Level::with_one_more(word, now, rate);
            word = Some(level.word());
            level.excess
        };
        times.iter().map(level).collect()
    }

    #[test]
    fn as_nginx_reckons() {
        assert_eq!(excesses(1000, &[5, 5, 5, 5]), [0, 1000, 2000, 3000]);
        assert_eq!(excesses(1000, &[0, 500, 1000, 3000]), [0, 500, 1000, 0]);
        // 2r/s: what is less than a thousandth is lost at each request.
        assert_eq!(excesses(2000, &[0, 1, 2, 300]), [0, 998, 1996, 2400]);
        // 1r/m
        assert_eq!(excesses(16, &[0, 60_000, 122_500]), [0, 40, 40]);
        // A clock that is behind takes nothing off.
        assert_eq!(excesses(1000, &[500, 400, 500]), [0, 1000, 2000]);
    }

    #[test]
    fn times_begin_anew() {
        let end = TIME_MASK;
        assert_eq!(excesses(1000, &[end, end, end + 501]), [0, 1000, 1499]);
        assert_eq!(passed_ms(100_000, 0), 1);
        assert_eq!(passed_ms(50_000, 0), 0);
    }

    #[test]
    fn a_word_is_never_full() {
        let full = Level { excess: EXCESS_MAX - 1, time: TIME_MASK };
        let level = Level::with_one_more(Some(full.word()), TIME_MASK, 1000);
        assert_eq!((level, level.and(u64::MAX)), (full, full));
        assert!(full.word() < u64::MAX);
        assert_eq!(BURST_MAX, 267_435);
    }

    /// nginx's own way of counting, in numbers that cannot overflow: what flowed off since the last
    /// request that was let in, and what is above the burst is refused.
    fn passed_as_nginx(rate: i128, burst: i128, times: &[u64]) -> Vec<bool> {
        let (mut excess, mut last, mut known) = (0, 0, false);
        let passes = |&now: &u64| {
            let now = i128::from(now);
            let found = if known { (excess - rate * (now - last) / 1000 + 1000).max(0) } else { 0 };
            if found > burst {
                return false;
            }
            (excess, last, known) = (found, now, true);
            true
        };
        times.iter().map(passes).collect()
    }

    proptest! {
        #[test]
        fn whoever_asks_is_answered_as_nginx_would(
            rate in 16_u64..500_000,
            burst in 0_u64..300,
            gaps in prop::collection::vec(0_u64..3000, 1..200),
        ) {
            let times: Vec<u64> = gaps.iter().scan(0, |now, gap| { *now += gap; Some(*now) }).collect();
            let mut word = None;
            let passed: Vec<bool> = times.iter().map(|&now| {
                let level = Level::with_one_more(word, now, rate);
                let passes = level.excess <= burst * 1000;
                if passes {
                    word = Some(level.word());
                }
                passes
            }).collect();
            prop_assert_eq!(&passed, &passed_as_nginx(rate.into(), i128::from(burst) * 1000, &times));
            // And so no stretch of time lets more in than its rate, the burst and the first one. What
            // is less than a thousandth flows off late, never early.
            for from in 0..times.len() {
                let mut sum = 0;
                for at in from..times.len() {
                    sum += u64::from(passed[at]);
                    prop_assert!(sum * 1000 <= rate * (times[at] - times[from]) / 1000 + burst * 1000 + 1000);
                }
            }
        }
    }
}
