//! Idle connections to upstreams, last in first out. A peer may close one at any time: it is looked
//! at when it is taken, and a sweep once a second drops those that were closed or grew old.

use super::group::Keepalive;
use crate::base::clock;
use crate::base::limits::POOL_SWEEP_MS;
use crate::net::deadline;
use crate::net::runtime;
use crate::net::stream::{Quiet, Stream};
use crate::net::tls::client::Identity;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// This shard's idle connections to the peers of one group.
pub struct Pool {
    shared: Rc<Shared>,
}

struct Shared {
    settings: Keepalive,
    idle: RefCell<Vec<Idle>>,
    sweeping: Cell<bool>,
}

/// One connection with its history.
pub struct Kept {
    /// The connection.
    pub stream: Stream,
    /// Requests it has carried.
    pub requests: u64,
    /// When it was made.
    pub opened: Instant,
}

struct Idle {
    peer: usize,
    since: Instant,
    kept: Kept,
}

impl Pool {
    /// An empty pool.
    pub fn new(settings: Keepalive) -> Pool {
        Pool { shared: Rc::new(Shared { settings, idle: RefCell::default(), sweeping: Cell::new(false) }) }
    }

    /// The connection to `peer` that was used last and is still open; where TLS is spoken, one of this
    /// identity.
    ///
    /// It is always looked at: bytes that nobody asked for would be taken for the next answer.
    pub fn take(&self, peer: usize, identity: Option<&Arc<Identity>>) -> Option<Kept> {
        let (now, timeout) = (clock::now(), self.shared.settings.timeout);
        let mut idle = self.shared.idle.borrow_mut();
        let fits = |idle: &Idle| idle.peer == peer && idle.kept.stream.identity() == identity;
        while let Some(at) = idle.iter().rposition(fits) {
            let found = idle.remove(at);
            // `keepalive_timeout` is exact here; the sweep only sees to it that nothing is kept long
            // after it.
            let fresh = now.saturating_duration_since(found.since) < timeout;
            if fresh && found.kept.stream.quiet() == Quiet::Open {
                return Some(found.kept);
            }
        }
        None
    }

    /// Keeps a connection whose answer was read to its end. It is closed instead when it carried
    /// its requests or lived its time; the one used longest ago makes room.
    pub fn put(&self, peer: usize, kept: Kept) {
        let settings = &self.shared.settings;
        let now = clock::now();
        let spent =
            kept.requests >= settings.requests || now.saturating_duration_since(kept.opened) >= settings.time;
        if settings.connections == 0 || spent {
            return;
        }
        let mut idle = self.shared.idle.borrow_mut();
        if idle.len() >= settings.connections {
            idle.remove(0);
        }
        idle.push(Idle { peer, since: now, kept });
        drop(idle);
        self.sweep_later();
    }

    /// How many connections are idle.
    pub fn len(&self) -> usize {
        self.shared.idle.borrow().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sees to it that idle connections are looked at, as long as there are any.
    fn sweep_later(&self) {
        if self.shared.sweeping.replace(true) {
            return;
        }
        let pool: Weak<Shared> = Rc::downgrade(&self.shared);
        runtime::spawn(async move {
            loop {
                deadline::sleep(Duration::from_millis(POOL_SWEEP_MS)).await;
                let Some(shared) = pool.upgrade() else { return };
                if shared.sweep() {
                    shared.sweeping.set(false);
                    return;
                }
            }
        });
    }
}

impl Shared {
    /// Drops what was closed or idled too long; true when nothing is left.
    fn sweep(&self) -> bool {
        let now = clock::now();
        let timeout = self.settings.timeout;
        let mut idle = self.idle.borrow_mut();
        idle.retain(|idle| {
            now.saturating_duration_since(idle.since) < timeout && idle.kept.stream.quiet() == Quiet::Open
        });
        idle.is_empty()
    }
}
