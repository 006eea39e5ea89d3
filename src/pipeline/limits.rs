//! What limits made of a request: `$limit_req_status`, `$limit_conn_status`, and the places in zones
//! that it holds for as long as it lasts.

use crate::bridge::lease::Leases;
use crate::bridge::zone::Zone;
use crate::bridge::zone::table::Fingerprint;
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

/// A zone as one shard has it.
pub struct ZoneHere {
    /// The zone, which all shards have.
    pub zone: Arc<Zone>,
    /// What this shard took from it ahead, where that is done.
    pub leases: Option<RefCell<Leases>>,
}

/// When limits are asked: those whose key is known only once the caller is run behind Access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// In PreAccess.
    Early,
    /// In Admit.
    Late,
}

/// What limits said. The graver one is shown where they were asked twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum LimitStatus {
    Passed,
    DelayedDryRun,
    Delayed,
    RejectedDryRun,
    Rejected,
}

impl LimitStatus {
    /// nginx's word for it.
    pub fn text(self) -> &'static str {
        match self {
            LimitStatus::Passed => "PASSED",
            LimitStatus::DelayedDryRun => "DELAYED_DRY_RUN",
            LimitStatus::Delayed => "DELAYED",
            LimitStatus::RejectedDryRun => "REJECTED_DRY_RUN",
            LimitStatus::Rejected => "REJECTED",
        }
    }
}

/// What one kind of limit said to a request, which it is asked once: not again behind a relocation, and
/// not for what the gateway asks itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said([Option<LimitStatus>; 2]);

impl Said {
    /// What was said then.
    pub fn at(&self, when: When) -> Option<LimitStatus> {
        self.0.get(when as usize).copied().flatten()
    }

    /// Notes it.
    pub fn set(&mut self, when: When, status: LimitStatus) {
        if let Some(said) = self.0.get_mut(when as usize) {
            *said = Some(status);
        }
    }

    /// The gravest.
    pub fn status(&self) -> Option<LimitStatus> {
        self.0.iter().flatten().max().copied()
    }
}

/// The limits' part of an exchange.
#[derive(Debug, Default)]
pub struct Limits {
    /// `limit_req`.
    pub requests: Said,
    /// `limit_conn`.
    pub connections: Said,
    /// Where the request counts until it is over.
    pub held: Vec<Held>,
}

impl Limits {
    /// What a subrequest begins with: it is not asked again.
    pub fn said(&self) -> Limits {
        Limits { requests: self.requests, connections: self.connections, held: Vec::new() }
    }

    /// Takes over what a subrequest ended with.
    pub fn take_over(&mut self, mut other: Limits) {
        self.requests = other.requests;
        self.connections = other.connections;
        self.held.append(&mut other.held);
    }

    /// Forgets it all, and counts no more.
    pub fn clear(&mut self) {
        self.requests = Said::default();
        self.connections = Said::default();
        self.held.clear();
    }
}

/// One more under a key of a zone, until it is dropped.
pub struct Held {
    here: Rc<ZoneHere>,
    key: Fingerprint,
}

impl Held {
    /// Counts one more, unless there are `max` already; `None` then. `Err` when the zone has no place for
    /// the key.
    ///
    /// # Errors
    /// See above.
    pub fn take(here: &Rc<ZoneHere>, key: Fingerprint, max: u64) -> Result<Option<Held>, Full> {
        let mut taken = false;
        let placed = here.zone.table.update(key, |count| {
            let count = count.unwrap_or(0);
            taken = count < max;
            taken.then_some(count + 1)
        });
        match (placed, taken) {
            (false, _) => Err(Full),
            (true, taken) => Ok(taken.then(|| Held { here: here.clone(), key })),
        }
    }
}

/// A zone has no place for a new key.
#[derive(Debug)]
pub struct Full;

impl Drop for Held {
    fn drop(&mut self) {
        self.here.zone.table.update(self.key, |count| count.map(|count| count.saturating_sub(1)));
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("zone", &self.here.zone.spec.name).finish_non_exhaustive()
    }
}
