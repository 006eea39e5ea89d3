//! What happened with upstreams while a request was served: the source of `$upstream_*`.

use std::sync::Arc;
use std::time::Instant;

/// One attempt at one peer.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The peer's address as `$upstream_addr` shows it.
    pub peer: Arc<str>,
    /// The status that came, or that nginx would note (502, 504); 0 while none.
    pub status: u16,
    /// When the attempt began.
    pub started: Instant,
    /// Milliseconds to the connection; `None` when it never stood.
    pub connect_ms: Option<u64>,
    /// Milliseconds to the answer's head.
    pub header_ms: Option<u64>,
    /// Milliseconds to the answer's end.
    pub response_ms: Option<u64>,
    /// Body bytes of the answer.
    pub response_length: u64,
    /// Bytes received, head included.
    pub bytes_received: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
}

impl Attempt {
    /// An attempt that begins now.
    pub fn begin(peer: Arc<str>, now: Instant) -> Attempt {
        Attempt {
            peer,
            status: 0,
            started: now,
            connect_ms: None,
            header_ms: None,
            response_ms: None,
            response_length: 0,
            bytes_received: 0,
            bytes_sent: 0,
        }
    }

    /// Milliseconds since the attempt began.
    pub fn elapsed_ms(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_millis() as u64
    }
}

/// Attempts of one request. A group is what one `proxy_pass` tried; nginx separates groups by a
/// colon (an internal redirect to another upstream) and attempts within one by a comma.
#[derive(Default, Debug)]
pub struct UpstreamTrace {
    /// All attempts, in order.
    pub attempts: Vec<Attempt>,
    /// Indices of attempts that begin a new group.
    pub groups: Vec<usize>,
}

impl UpstreamTrace {
    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.attempts.clear();
        self.groups.clear();
    }

    /// Begins a group: another `proxy_pass` of the same request.
    pub fn begin_group(&mut self) {
        self.groups.push(self.attempts.len());
    }

    /// The attempt under way.
    pub fn last_mut(&mut self) -> Option<&mut Attempt> {
        self.attempts.last_mut()
    }

    /// Writes one figure of every attempt, as nginx lists them; false when there is no attempt.
    pub fn list(&self, out: &mut Vec<u8>, mut write: impl FnMut(&Attempt, &mut Vec<u8>)) -> bool {
        for (i, attempt) in self.attempts.iter().enumerate() {
            if i > 0 {
                out.extend_from_slice(if self.groups.contains(&i) { b" : " } else { b", " });
            }
            write(attempt, out);
        }
        !self.attempts.is_empty()
    }
}
