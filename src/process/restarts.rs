//! How soon the next worker may start after one has died: at once, but not for ever.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The starts of late that replaced a dead worker.
#[derive(Debug, Default)]
pub struct Restarts {
    starts: VecDeque<Instant>,
}

impl Restarts {
    /// Starts within one window. A worker that dies of one bad request now and then is replaced at
    /// once; one that dies while starting would otherwise keep a CPU busy with dying.
    pub const MAX: usize = 10;

    /// The window.
    pub const WINDOW: Duration = Duration::from_secs(60);

    /// How long the start that is due at `now` has to wait; it is counted as made then.
    pub fn next_wait(&mut self, now: Instant) -> Duration {
        while self.starts.front().is_some_and(|&start| now.saturating_duration_since(start) >= Self::WINDOW) {
            self.starts.pop_front();
        }
        let wait = match self.starts.front() {
            Some(&oldest) if self.starts.len() >= Self::MAX => {
                (oldest + Self::WINDOW).saturating_duration_since(now)
            }
            _ => Duration::ZERO,
        };
        if self.starts.len() >= Self::MAX {
            self.starts.pop_front();
        }
        self.starts.push_back(now + wait);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eleventh_start_waits_for_the_window() {
        let mut restarts = Restarts::default();
        let begin = Instant::now();
        let at = |second| begin + Duration::from_secs(second);
        for second in 0..10 {
            assert_eq!(restarts.next_wait(at(second)), Duration::ZERO);
        }
        assert_eq!(restarts.next_wait(at(10)), Duration::from_secs(50));
        assert_eq!(restarts.next_wait(at(60)), Duration::from_secs(1));
        assert_eq!(restarts.next_wait(at(300)), Duration::ZERO);
    }
}
