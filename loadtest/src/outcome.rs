//! What a run counted.

use hdrhistogram::Histogram;

use crate::response::Reply;

/// Longest latency told apart, in nanoseconds: an hour. Longer ones count as
/// an hour; timeouts end far earlier.
const LATENCY_MAX_NS: u64 = 3_600_000_000_000;
/// Significant decimal digits of a latency; 0.1 % is finer than any two runs
/// agree, and the histogram stays at some hundred kilobytes.
const LATENCY_DIGITS: u8 = 3;

/// Why a request counts as an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// No connection.
    Connect,
    /// No complete reply in time.
    Timeout,
    /// The connection was reset.
    Reset,
    /// The connection was closed before the reply was complete.
    ClosedEarly,
    /// The reply breaks HTTP.
    BadResponse,
    /// The reply says 4xx.
    Status4xx,
    /// The reply says 5xx.
    Status5xx,
    /// Never sent: too many requests were waiting for a connection.
    Dropped,
}

impl ErrorKind {
    /// All kinds, in the order of reports.
    pub const ALL: [Self; 8] = [
        Self::Connect,
        Self::Timeout,
        Self::Reset,
        Self::ClosedEarly,
        Self::BadResponse,
        Self::Status4xx,
        Self::Status5xx,
        Self::Dropped,
    ];

    /// The name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::ClosedEarly => "closed_early",
            Self::BadResponse => "bad_response",
            Self::Status4xx => "status_4xx",
            Self::Status5xx => "status_5xx",
            Self::Dropped => "dropped",
        }
    }
}

/// Counts of one event loop, or of several together.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Latencies in nanoseconds, of replies and of timeouts: left out, the
    /// slowest requests would flatter the percentiles.
    pub latencies: Histogram<u64>,
    /// Complete replies of the measured window, whatever their status.
    pub replies: u64,
    /// The same by the first digit of the status; index 0 is not used.
    pub statuses: [u64; 10],
    /// Bytes of these replies on the wire.
    pub wire_bytes: u64,
    /// By [`ErrorKind`], in the order of [`ErrorKind::ALL`].
    pub errors: [u64; ErrorKind::ALL.len()],
    /// The first error of each kind, in words.
    pub examples: [Option<String>; ErrorKind::ALL.len()],
    /// Complete replies of the whole run, warm-up included.
    pub all_replies: u64,
    /// Connections opened in the whole run.
    pub connects: u64,
    /// When the measured window opened, on the run's clock.
    pub from_ns: u64,
    /// When its last reply or error came in.
    pub until_ns: u64,
    /// CPU time of the event loops over the whole run.
    pub cpu_ns: u64,
    /// How long the event loops ran, all together.
    pub running_ns: u64,
}

impl Outcome {
    /// Nothing counted yet.
    ///
    /// # Panics
    /// Never: the histogram's bounds are constants that it accepts.
    #[must_use]
    #[allow(clippy::unwrap_used, reason = "constant arguments, covered by every test")]
    pub fn new(from_ns: u64) -> Self {
        Self {
            latencies: Histogram::new_with_bounds(1, LATENCY_MAX_NS, LATENCY_DIGITS).unwrap(),
            replies: 0,
            statuses: [0; 10],
            wire_bytes: 0,
            errors: [0; ErrorKind::ALL.len()],
            examples: [const { None }; ErrorKind::ALL.len()],
            all_replies: 0,
            connects: 0,
            from_ns,
            until_ns: from_ns,
            cpu_ns: 0,
            running_ns: 0,
        }
    }

    /// Counts a reply to the request of `since_ns`.
    #[inline]
    pub fn reply(&mut self, since_ns: u64, now_ns: u64, reply: Reply) {
        self.all_replies += 1;
        if since_ns < self.from_ns {
            return;
        }
        self.latencies.saturating_record(now_ns.saturating_sub(since_ns));
        self.replies += 1;
        self.wire_bytes += reply.wire_bytes;
        self.until_ns = now_ns;
        if let Some(count) = self.statuses.get_mut(usize::from(reply.status / 100)) {
            *count += 1;
        }
        match reply.status {
            400..=499 => self.count_error(ErrorKind::Status4xx, || format!("status {}", reply.status)),
            500..=599 => self.count_error(ErrorKind::Status5xx, || format!("status {}", reply.status)),
            _ => {}
        }
    }

    /// Counts a failure of the request of `since_ns`.
    pub fn failure(&mut self, since_ns: u64, now_ns: u64, kind: ErrorKind, words: impl FnOnce() -> String) {
        if since_ns < self.from_ns {
            return;
        }
        if kind == ErrorKind::Timeout {
            self.latencies.saturating_record(now_ns.saturating_sub(since_ns));
        }
        self.until_ns = now_ns;
        self.count_error(kind, words);
    }

    /// Counts requests that were never sent.
    pub fn dropped(&mut self, requests: u64) {
        self.errors[ErrorKind::Dropped as usize] += requests;
    }

    /// Adds the counts of another event loop of the same run.
    ///
    /// # Panics
    /// Never: both histograms have the same constant bounds.
    #[allow(clippy::unwrap_used, reason = "equal bounds")]
    pub fn add(&mut self, other: &Self) {
        self.latencies.add(&other.latencies).unwrap();
        self.replies += other.replies;
        self.wire_bytes += other.wire_bytes;
        self.all_replies += other.all_replies;
        self.connects += other.connects;
        self.until_ns = self.until_ns.max(other.until_ns);
        self.cpu_ns += other.cpu_ns;
        self.running_ns += other.running_ns;
        for (sum, more) in self.statuses.iter_mut().zip(other.statuses) {
            *sum += more;
        }
        for (sum, more) in self.errors.iter_mut().zip(other.errors) {
            *sum += more;
        }
        for (own, theirs) in self.examples.iter_mut().zip(&other.examples) {
            if own.is_none() {
                own.clone_from(theirs);
            }
        }
    }

    /// Errors of all kinds.
    #[must_use]
    pub fn error_count(&self) -> u64 {
        self.errors.iter().sum()
    }

    /// Errors of one kind.
    #[must_use]
    pub fn errors_of(&self, kind: ErrorKind) -> u64 {
        self.errors[kind as usize]
    }

    /// Length of the measured window, in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.until_ns.saturating_sub(self.from_ns) as f64 / 1e9
    }

    /// Complete replies a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        if self.replies == 0 { 0.0 } else { self.replies as f64 / self.seconds() }
    }

    /// The latency, in nanoseconds, that this share of requests did not exceed.
    #[must_use]
    pub fn latency_ns(&self, quantile: f64) -> u64 {
        self.latencies.value_at_quantile(quantile)
    }

    fn count_error(&mut self, kind: ErrorKind, words: impl FnOnce() -> String) {
        self.errors[kind as usize] += 1;
        self.examples[kind as usize].get_or_insert_with(words);
    }
}
