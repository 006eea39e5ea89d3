//! Time for the data plane: one monotonic reading gives both the deadline clock and the calendar.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long the offset between the two clocks is trusted: a stepped calendar clock is noticed
/// within this time.
const RESYNC: Duration = Duration::from_secs(1);

thread_local! {
    static NOW: Cell<Option<Instant>> = const { Cell::new(None) };
    static OFFSET: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
}

/// The monotonic clock as it was when this thread last got something from the kernel. Between two
/// waits a task runs for microseconds, so this is as good as the clock itself, and costs no reading.
/// Whatever waits (all of it in the room `net`) calls [`tick`] when its wait is over.
#[inline]
pub fn now() -> Instant {
    NOW.get().unwrap_or_else(tick)
}

/// Reads the monotonic clock.
#[inline]
pub fn tick() -> Instant {
    let now = Instant::now();
    NOW.set(Some(now));
    now
}

/// Time since the Unix epoch at the monotonic instant `at`; reads the calendar clock at most once
/// a second and thread.
pub fn unix_time(at: Instant) -> Duration {
    if let Some((base, unix)) = OFFSET.get()
        && let Some(since) = at.checked_duration_since(base)
        && since < RESYNC
    {
        return unix + since;
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
        let at = tick();
        let first = unix_time(at);
        assert_eq!(unix_time(at + Duration::from_millis(250)), first + Duration::from_millis(250));
        assert!(first.as_secs() > 1_700_000_000);
    }
}
