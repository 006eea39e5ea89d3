//! What a connection costs and what it is worth: most of what a client sends has to be heads and bodies,
//! or answers that it takes. Whoever floods with PING, SETTINGS, PRIORITY, WINDOW_UPDATE, RST_STREAM or
//! bodies of tiny frames is found by that, whatever the frames are.

use super::passing::Notes;
use crate::base::limits::{H2_WORTHLESS_BYTES_MAX, H2_WORTHLESS_SHARE};
use std::cell::Cell;
use std::time::Instant;

#[derive(Default)]
pub(super) struct Tally {
    /// Bytes that came.
    came: Cell<u64>,
    /// Bytes of heads and bodies that came, and of bodies that went.
    worth: Cell<u64>,
    stopped: Cell<bool>,
    /// When the write that is under way last moved.
    stuck_since: Cell<Option<Instant>>,
    /// What is known of its requests beside what h2 says.
    pub(super) notes: Notes,
}

impl Tally {
    pub(super) fn came(&self, bytes: usize) {
        self.came.set(self.came.get() + bytes as u64);
    }

    pub(super) fn worth(&self, bytes: usize) {
        self.worth.set(self.worth.get() + bytes as u64);
    }

    pub(super) fn is_flooded(&self) -> bool {
        self.came.get() / H2_WORTHLESS_SHARE > self.worth.get() + H2_WORTHLESS_BYTES_MAX
    }

    pub(super) fn stop_reading(&self) {
        self.stopped.set(true);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    pub(super) fn set_stuck(&self, since: Option<Instant>) {
        self.stuck_since.set(since);
    }

    pub(super) fn stuck_since(&self) -> Option<Instant> {
        self.stuck_since.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_carry_nothing_are_a_flood() {
        let tally = Tally::default();
        // A request and its answer, ten thousand times.
        for _ in 0..10_000 {
            tally.came(60);
            tally.worth(40);
        }
        assert!(!tally.is_flooded());
        // A download of 8 MB that is acknowledged every 32 KB on stream and connection.
        for _ in 0..256 {
            tally.worth(32 * 1024);
            tally.came(2 * 13);
        }
        assert!(!tally.is_flooded());
        let tally = Tally::default();
        let mut pings = 0;
        while !tally.is_flooded() {
            tally.came(17);
            pings += 1;
        }
        assert!((1000..1_000_000).contains(&pings), "{pings}");
    }
}
