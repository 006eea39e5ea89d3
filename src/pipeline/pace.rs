//! Bounds on bytes per second, counted by whole seconds as nginx does: what was not used of one second
//! may be used later.

use super::exchange::Exchange;
use super::template::Template;
use crate::base::process_settings::Level;
use crate::conf::value;
use std::time::{Duration, Instant};

/// A bound on bytes per second.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Bytes a second, at least 1.
    rate: u64,
    /// Bytes that pass before the bound counts.
    free: u64,
    begun: Instant,
}

impl Pace {
    /// A bound that counts from `begun` on; none for a rate of 0.
    pub fn new(rate: u64, free: u64, begun: Instant) -> Option<Pace> {
        (rate > 0).then_some(Pace { rate, free, begun })
    }

    /// How many bytes may pass now when so many have passed.
    ///
    /// # Errors
    /// None: for how long.
    pub fn allowance(&self, passed: u64, now: Instant) -> Result<u64, Duration> {
        let elapsed = now.saturating_duration_since(self.begun);
        let counted = passed.saturating_sub(self.free);
        let limit = self.rate.saturating_mul(elapsed.as_secs().saturating_add(1)).saturating_add(self.free);
        match limit.checked_sub(passed) {
            Some(left) if left > 0 => Ok(left),
            // By then so many seconds have passed that one more byte is within the bound.
            _ => Err(Duration::from_secs(counted / self.rate).saturating_sub(elapsed)),
        }
    }
}

/// Bytes a second the client gets at most, 0 for any: what `X-Accel-Limit-Rate` says, else `set
/// $limit_rate`, else `limit_rate`.
pub fn client_rate(x: &Exchange) -> u64 {
    let settings = &x.here.settings;
    let assigned = || {
        let text = x.values.at(settings.limit_rate_place)?;
        value::size(std::str::from_utf8(&text).ok()?)
    };
    x.limit_rate.or_else(assigned).unwrap_or_else(|| size(settings.limit_rate.as_ref(), x))
}

/// A rate or size that may hold variables, in bytes; 0 where there is none, or a value that is none,
/// which is logged.
pub fn size(template: Option<&Template>, x: &Exchange) -> u64 {
    let Some(template) = template else { return 0 };
    let text = template.value(x);
    if text.is_empty() {
        return 0;
    }
    let parsed = std::str::from_utf8(&text).ok().and_then(value::size);
    parsed.unwrap_or_else(|| {
        x.log(Level::Error, format_args!("invalid size \"{}\"", String::from_utf8_lossy(&text)));
        0
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_second_is_worth_the_rate() {
        let begun = Instant::now();
        let at = |ms: u64| begun + Duration::from_millis(ms);
        let pace = Pace::new(100, 0, begun).unwrap();
        assert_eq!(pace.allowance(0, at(0)), Ok(100));
        assert_eq!(pace.allowance(60, at(900)), Ok(40));
        assert_eq!(pace.allowance(100, at(900)), Err(Duration::from_millis(100)));
        assert_eq!(pace.allowance(100, at(1000)), Ok(100));
        assert_eq!(pace.allowance(450, at(1000)), Err(Duration::from_secs(3)));
        assert!(Pace::new(0, 9, begun).is_none());
    }

    #[test]
    fn the_first_bytes_are_free() {
        let begun = Instant::now();
        let pace = Pace::new(100, 1000, begun).unwrap();
        assert_eq!(pace.allowance(0, begun), Ok(1100));
        assert_eq!(pace.allowance(1100, begun), Err(Duration::from_secs(1)));
    }
}
