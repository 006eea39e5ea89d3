//! What is known of the peers of a group: by one shard, or by all that share a `zone`.

use super::peer::Health;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Failures and connections of the peers of a group.
pub struct Record {
    peers: Box<[Health]>,
    /// Counts what may change who takes part: shards that keep the peers ranked look here.
    changes: AtomicU64,
    /// When the record's clock was at 1.
    start: Instant,
    /// Several shards write.
    pub(super) is_shared: bool,
}

impl Record {
    /// So many peers in good health, for one shard or for several.
    pub fn new(peers: usize, is_shared: bool) -> Record {
        Record {
            peers: (0..peers).map(|_| Health::default()).collect(),
            changes: AtomicU64::new(0),
            start: Instant::now(),
            is_shared,
        }
    }

    /// A peer, by its place in the group.
    pub(super) fn health(&self, id: usize) -> &Health {
        &self.peers[id]
    }

    /// The moment on the record's clock, nanoseconds; never 0, which means never.
    pub(super) fn time(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_nanos())
            .unwrap_or(u64::MAX)
            .saturating_add(1)
    }

    /// How many changes there were.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Relaxed)
    }

    /// Who takes part may have changed.
    pub(super) fn change(&self) {
        self.changes.fetch_add(1, Relaxed);
    }
}
