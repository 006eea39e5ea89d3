//! One peer: what a shard knows of it, and what shards may share.

use super::super::group::PeerSettings;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// A moment that has not been, among [`Health`]'s moments.
const NEVER: u64 = 0;

/// A peer's failures and connections. Those of one peer fill a cache line, so that shards which share
/// them (`zone`) meet only where they ask the same peer.
#[derive(Default)]
#[repr(align(64))]
pub(super) struct Health {
    fails: AtomicU32,
    connections: AtomicU32,
    /// When it failed last, nanoseconds of the record's clock; 0 for never.
    failed: AtomicU64,
    /// When it was last tried, at most once in a `fail_timeout`.
    checked: AtomicU64,
}

/// A peer as one shard balances it.
pub(super) struct Peer {
    /// Its place in the group.
    pub(super) id: usize,
    pub(super) weight: i64,
    /// The weight it has at present: a failure lowers it, and each turn gives one back.
    pub(super) effective: i64,
    /// Its claim on the next turn; counted from its class's offset where there is one.
    pub(super) current: i64,
    pub(super) max_fails: u32,
    pub(super) fail_timeout_ns: u64,
    pub(super) max_conns: u32,
    pub(super) down: bool,
    /// It is down, but for requests that stick to it.
    pub(super) drain: bool,
}

impl Peer {
    pub(super) fn new(id: usize, settings: &PeerSettings) -> Peer {
        let weight = i64::from(settings.weight);
        Peer {
            id,
            weight,
            effective: weight,
            current: 0,
            max_fails: settings.max_fails,
            fail_timeout_ns: u64::try_from(settings.fail_timeout.as_nanos()).unwrap_or(u64::MAX),
            max_conns: settings.max_conns,
            down: settings.down,
            drain: settings.drain,
        }
    }

    /// Whether new requests may go to it.
    pub(super) fn is_open(&self, health: &Health, now: u64) -> bool {
        !self.down && self.is_able(health, now)
    }

    /// Whether it may be asked, apart from what the configuration says of it.
    pub(super) fn is_able(&self, health: &Health, now: u64) -> bool {
        !self.is_full(health) && !self.is_out(health, now)
    }

    pub(super) fn is_full(&self, health: &Health) -> bool {
        self.max_conns > 0 && health.connections() >= self.max_conns
    }

    /// Whether it failed too often and its time is not over.
    pub(super) fn is_out(&self, health: &Health, now: u64) -> bool {
        self.has_failed(health) && now.saturating_sub(health.checked.load(Relaxed)) <= self.fail_timeout_ns
    }

    /// Whether it failed so often that it is left alone between trials.
    pub(super) fn has_failed(&self, health: &Health) -> bool {
        self.max_fails > 0 && health.fails.load(Relaxed) >= self.max_fails
    }

    /// When it will have been out for its time.
    pub(super) fn back_at(&self, health: &Health) -> u64 {
        health.checked.load(Relaxed).saturating_add(self.fail_timeout_ns)
    }

    /// Takes a turn's weight: what it claims, and what it regains.
    pub(super) fn advance(&mut self) -> i64 {
        let turn = self.effective;
        self.current += turn;
        if self.effective < self.weight {
            self.effective += 1;
        }
        turn
    }

    /// Notes a failure.
    pub(super) fn fail(&mut self, health: &Health, now: u64) {
        health.fails.fetch_add(1, Relaxed);
        health.failed.store(now, Relaxed);
        health.checked.store(now, Relaxed);
        if self.max_fails > 0 {
            self.effective = (self.effective - self.weight / i64::from(self.max_fails)).max(0);
        }
    }
}

impl Health {
    pub(super) fn connections(&self) -> u32 {
        self.connections.load(Relaxed)
    }

    /// One more connection; returns how many there are.
    pub(super) fn connect(&self, shared: bool) -> u32 {
        if shared {
            return self.connections.fetch_add(1, Relaxed) + 1;
        }
        // One shard alone needs no locked instruction.
        let connections = self.connections() + 1;
        self.connections.store(connections, Relaxed);
        connections
    }

    /// One connection fewer; returns how many there were.
    pub(super) fn disconnect(&self, shared: bool) -> u32 {
        if shared {
            return self.connections.fetch_sub(1, Relaxed);
        }
        let connections = self.connections();
        self.connections.store(connections.saturating_sub(1), Relaxed);
        connections
    }

    /// Notes that the peer is tried, once in its `fail_timeout`.
    pub(super) fn check(&self, now: u64, fail_timeout_ns: u64) {
        let checked = self.checked.load(Relaxed);
        if checked == NEVER || now.saturating_sub(checked) > fail_timeout_ns {
            self.checked.store(now, Relaxed);
        }
    }

    /// The peer answered: failures are forgotten if it was tried since the last. Says whether there
    /// were any.
    pub(super) fn succeed(&self) -> bool {
        let fails = self.fails.load(Relaxed);
        if fails > 0 && self.failed.load(Relaxed) < self.checked.load(Relaxed) {
            self.fails.store(0, Relaxed);
            return true;
        }
        false
    }
}
