//! When requests are sent: as soon as a connection is free (closed loop), or
//! at fixed instants whatever the replies do (open loop).
//!
//! All instants are nanoseconds on the run's own clock. The measured window
//! opens when the warm-up ends.

use std::collections::VecDeque;

/// Nanoseconds in a second.
pub const SECOND_NS: u64 = 1_000_000_000;

/// When a run stops sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// At this instant.
    At(u64),
    /// After this many requests of the measured window.
    Requests(u64),
}

/// The requests of one event loop.
#[derive(Debug)]
pub struct Schedule {
    pace: Pace,
    /// When the measured window opens.
    measure_from_ns: u64,
    end: End,
    /// Measured requests handed out (closed loop) or scheduled (open loop).
    taken: u64,
}

#[derive(Debug)]
enum Pace {
    Closed,
    Open(OpenLoop),
}

#[derive(Debug)]
struct OpenLoop {
    first_ns: f64,
    /// Not a whole number of nanoseconds: rounding it would shift the rate.
    interval_ns: f64,
    /// How many instants have passed.
    count: u64,
    /// Instants that have passed and whose request waits for a connection.
    backlog: VecDeque<u64>,
    backlog_max: usize,
    /// Measured requests that found the backlog full.
    dropped: u64,
}

impl Schedule {
    /// A request whenever a connection is free.
    #[must_use]
    pub fn closed(measure_from_ns: u64, end: End) -> Self {
        Self { pace: Pace::Closed, measure_from_ns, end, taken: 0 }
    }

    /// A request every `interval_ns` from `first_ns` on; at most `backlog_max`
    /// of them wait for a connection, further ones are dropped and counted.
    #[must_use]
    pub fn open(first_ns: f64, interval_ns: f64, backlog_max: usize, measure_from_ns: u64, end: End) -> Self {
        let backlog = VecDeque::with_capacity(backlog_max);
        let open = OpenLoop { first_ns, interval_ns, count: 0, backlog, backlog_max, dropped: 0 };
        Self { pace: Pace::Open(open), measure_from_ns, end, taken: 0 }
    }

    /// The request to send now on a free connection, as the instant its
    /// latency counts from.
    #[inline]
    pub fn next(&mut self, now_ns: u64) -> Option<u64> {
        if let Pace::Open(_) = self.pace {
            self.absorb(now_ns);
        }
        match &mut self.pace {
            Pace::Open(open) => open.backlog.pop_front(),
            Pace::Closed => {
                let measured = now_ns >= self.measure_from_ns;
                let wanted = match self.end {
                    End::At(end_ns) => now_ns < end_ns,
                    End::Requests(requests) => !measured || self.taken < requests,
                };
                self.taken += u64::from(wanted && measured);
                wanted.then_some(now_ns)
            }
        }
    }

    /// Moves every instant that has passed to the backlog, so that a request
    /// waits from its instant on even while no connection is free.
    pub fn absorb(&mut self, now_ns: u64) {
        while let Some(instant) = self.upcoming_ns().filter(|&instant| instant <= now_ns) {
            let measured = instant >= self.measure_from_ns;
            let Pace::Open(open) = &mut self.pace else { return };
            open.count += 1;
            self.taken += u64::from(measured);
            if open.backlog.len() < open.backlog_max {
                open.backlog.push_back(instant);
            } else {
                open.dropped += u64::from(measured);
            }
        }
    }

    /// The next instant of an open loop that has not passed yet.
    #[must_use]
    pub fn upcoming_ns(&self) -> Option<u64> {
        let Pace::Open(open) = &self.pace else { return None };
        let instant = (open.first_ns + open.interval_ns * open.count as f64) as u64;
        let wanted = match self.end {
            End::At(end_ns) => instant < end_ns,
            End::Requests(requests) => self.taken < requests,
        };
        wanted.then_some(instant)
    }

    /// Whether a free connection would get a request at once.
    #[must_use]
    pub fn is_pressing(&self, now_ns: u64) -> bool {
        match &self.pace {
            Pace::Closed => !self.is_over(now_ns),
            Pace::Open(open) => !open.backlog.is_empty(),
        }
    }

    /// Nothing is left to send.
    #[must_use]
    pub fn is_over(&self, now_ns: u64) -> bool {
        match (&self.pace, self.end) {
            (Pace::Closed, End::At(end_ns)) => now_ns >= end_ns,
            (Pace::Closed, End::Requests(requests)) => self.taken >= requests,
            (Pace::Open(open), _) => open.backlog.is_empty() && self.upcoming_ns().is_none(),
        }
    }

    /// Gives up what waits in the backlog; it counts as dropped.
    pub fn abandon(&mut self) {
        if let Pace::Open(open) = &mut self.pace {
            let measured = open.backlog.iter().filter(|&&instant| instant >= self.measure_from_ns).count();
            open.dropped += measured as u64;
            open.backlog.clear();
        }
    }

    /// Measured requests that were never sent.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        match &self.pace {
            Pace::Closed => 0,
            Pace::Open(open) => open.dropped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_loop_by_time() {
        let mut schedule = Schedule::closed(100, End::At(200));
        assert_eq!(schedule.next(0), Some(0));
        assert_eq!(schedule.next(199), Some(199));
        assert!(schedule.is_pressing(199) && !schedule.is_over(199));
        assert_eq!(schedule.next(200), None);
        assert!(schedule.is_over(200));
    }

    #[test]
    fn closed_loop_counts_after_the_warm_up_only() {
        let mut schedule = Schedule::closed(100, End::Requests(2));
        for now in 0..100 {
            assert_eq!(schedule.next(now), Some(now));
        }
        assert_eq!(schedule.next(100), Some(100));
        assert_eq!(schedule.next(101), Some(101));
        assert_eq!(schedule.next(102), None);
        assert!(schedule.is_over(102));
    }

    #[test]
    fn open_loop_keeps_its_instants() {
        let mut schedule = Schedule::open(0.0, 10.0, 100, 0, End::At(50));
        assert_eq!(schedule.next(0), Some(0));
        assert_eq!(schedule.next(9), None);
        assert_eq!(schedule.upcoming_ns(), Some(10));
        // A sender that comes late gets the instants, not its own time.
        let late: Vec<u64> = std::iter::from_fn(|| schedule.next(1000)).collect();
        assert_eq!(late, [10, 20, 30, 40]);
        assert!(schedule.is_over(1000) && schedule.dropped() == 0);
    }

    #[test]
    fn open_loop_rate_does_not_drift() {
        let interval = SECOND_NS as f64 / 3.0;
        let mut schedule = Schedule::open(0.0, interval, 10, 0, End::Requests(3_000_001));
        let mut last = 0;
        while let Some(instant) = schedule.upcoming_ns() {
            last = schedule.next(instant).unwrap_or_default();
        }
        assert!(last.abs_diff(1_000_000 * SECOND_NS) < 1000, "{last}");
    }

    #[test]
    fn full_backlog_drops_and_counts() {
        let mut schedule = Schedule::open(0.0, 10.0, 3, 20, End::Requests(8));
        // Two instants of the warm-up, eight measured ones, room for three.
        schedule.absorb(1000);
        assert_eq!(schedule.dropped(), 7);
        assert_eq!(schedule.next(1000), Some(0));
        schedule.abandon();
        assert_eq!(schedule.dropped(), 8);
        assert!(schedule.is_over(1000));
    }
}
