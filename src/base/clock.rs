//! Time for the data plane: one monotonic reading gives both the deadline clock and the calendar.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long the offset between the two clocks is trusted: a stepped calendar clock is noticed
/// within this time.
const RESYNC: Duration = Duration::from_secs(1);

thread_local! {
    static OFFSET: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
}

/// The monotonic clock.
#[inline]
pub fn now() -> Instant {
    Instant::now()
}

/// Time since the Unix epoch at the monotonic instant `at`; reads the calendar clock at most once
/// a second and thread.
pub fn unix_time(at: Instant) -> Duration {
    if let Some((base, unix)) = OFFSET.get() {
        if let Some(since) = at.checked_duration_since(base) {
            if since < RESYNC {
                return unix + since;
            }
        }
    }
    let (base, unix) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
    OFFSET.set(Some((base, unix)));
    match at.checked_duration_since(base) {
        Some(later) => unix + later,
        None => unix.saturating_sub(base.duration_since(at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar_follows_the_monotonic_clock() {
        let at = now();
        let first = unix_time(at);
        assert_eq!(unix_time(at + Duration::from_millis(250)), first + Duration::from_millis(250));
        assert!(first.as_secs() > 1_700_000_000);
    }
}
