//! What limits made of a request: `$limit_req_status`, `$limit_conn_status`, and the places in zones
//! that it holds for as long as it lasts.

use crate::bridge::lease::Leases;
use crate::bridge::window::Window;
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

/// How much is left of one limit of a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Requests.
    pub requests: u64,
    /// Seconds until all of it is there again.
    pub reset_s: u64,
}

/// Quotas of a plan, at most: one for each kind of window.
pub const QUOTAS_MAX: usize = Window::ALL.len();

/// What a plan decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlanVerdict {
    /// The request came in.
    #[default]
    Passed,
    /// Too many requests at once.
    Concurrency,
    /// Too many requests in a short time.
    Rate,
    /// Too many in a window of the calendar.
    Quota,
    /// Nobody knows how many came in a window of the calendar.
    Unknown,
}

impl PlanVerdict {
    /// As `$plan_status` shows it.
    pub fn text(self) -> &'static str {
        match self {
            PlanVerdict::Passed => "PASSED",
            PlanVerdict::Concurrency => "REJECTED_CONCURRENCY",
            PlanVerdict::Rate => "REJECTED_RATE",
            PlanVerdict::Quota => "REJECTED_QUOTA",
            PlanVerdict::Unknown => "REJECTED_UNKNOWN",
        }
    }
}

/// What a plan said to a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlanSaid {
    /// The number of the plan that weighed it.
    pub plan: Option<u16>,
    /// What came of it.
    pub verdict: PlanVerdict,
    /// What is left of the rate.
    pub rate: Option<Left>,
    /// How many more may be under way.
    pub concurrency: Option<u64>,
    /// What is left of each quota, in their order; nothing where that is not known.
    pub quotas: [Option<Left>; QUOTAS_MAX],
    /// When to come back, seconds, for one that was refused.
    pub retry_after_s: Option<u64>,
    /// The answer has the fields that say so.
    pub is_told: bool,
}

/// The limits' part of an exchange.
#[derive(Debug, Default)]
pub struct Limits {
    /// `limit_req`.
    pub requests: Said,
    /// `limit_conn`.
    pub connections: Said,
    /// The caller's plan: the request of a client alone is weighed, none that the gateway makes for it.
    pub plan: PlanSaid,
    /// Where the request counts until it is over.
    pub held: Vec<Held>,
}

impl Limits {
    /// What a subrequest begins with: it is not asked again.
    pub fn said(&self) -> Limits {
        Limits { requests: self.requests, connections: self.connections, ..Limits::default() }
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
        if self.plan.plan.is_some() {
            self.plan = PlanSaid::default();
        }
        self.held.clear();
    }
}

/// One more under a key of a zone, until it is dropped.
pub struct Held {
    here: Rc<ZoneHere>,
    key: Fingerprint,
    before: u64,
}

impl Held {
    /// Counts one more, unless there are `max` already; `None` then. `Err` when the zone has no place for
    /// the key.
    ///
    /// # Errors
    /// See above.
    pub fn take(here: &Rc<ZoneHere>, key: Fingerprint, max: u64) -> Result<Option<Held>, Full> {
        let mut found = 0;
        let placed = here.zone.table.update(key, |count| {
            found = count.unwrap_or(0);
            (found < max).then_some(found + 1)
        });
        let taken = || Held { here: here.clone(), key, before: found };
        if placed { Ok((found < max).then(taken)) } else { Err(Full) }
    }

    /// How many were counted when it was taken, without it.
    pub fn before(&self) -> u64 {
        self.before
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
