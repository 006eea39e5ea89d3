//! Quotas: how many requests of a caller came in a window of the calendar. Shards count in accounts;
//! whoever keeps the counts, on a disk or for several hosts, is told which accounts have changed.
//!
//! Two ways of counting. Where this host counts alone, an account is exact: a compare-and-swap on its
//! word, and no more than the quota passes. Where hosts count together, each takes leases from what is
//! left for all of them, ahead of its requests. Until the first lease of a window is there, and while the
//! next one is under way, up to half a lease passes ahead of it and is told with it: so no request waits,
//! and two hosts together stay within one lease of the quota.

use super::window::{Span, Window};
use ahash::{AHashMap, RandomState};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bits of a count; the rest of a word is the number of the window. 36 bits are 68 thousand million
/// requests; 28 bits are minutes until the year 2480.
const COUNT_BITS: u32 = 36;

/// The largest quota, requests.
pub const QUOTA_MAX: u64 = (1 << COUNT_BITS) - 1;

/// Accounts of a book, at most, each about 200 bytes. When there are as many, those of windows that are
/// over make room; while there are none of these, callers that are new cannot be counted.
pub const ACCOUNTS_MAX: usize = 1 << 20;

/// Parts of a book, each with a lock of its own, so that shards rarely meet: it is taken when a shard
/// meets a caller that it does not remember.
const PARTS: usize = 64;

/// Accounts that may wait for their keeper: beyond that it looks through all.
const CHANGED_MAX: usize = 64 * 1024;

/// The largest lease, requests: what a host that dies may take along.
const LEASE_MAX: u64 = 1000;

/// Leases in a quota, unless that makes them larger than [`LEASE_MAX`] or smaller than two.
const LEASES_IN_QUOTA: u64 = 10;

/// How long after the store said that nothing is left it is asked again, seconds: other hosts give back
/// what they do not use.
const ASK_AGAIN_S: u64 = 2;

/// Where counts are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreSpec {
    /// In a folder of this host.
    File(std::path::PathBuf),
    /// In a Redis, for all hosts: its URL.
    Redis(Box<str>),
}

/// What becomes of requests that cannot be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// They pass, and are told of later where that is possible.
    Open,
    /// They are refused.
    Closed,
}

/// How the store of all hosts is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Health {
    /// It was not reached yet, and should be in a moment.
    Beginning,
    /// It answers.
    Well,
    /// It does not.
    Away,
}

/// What a request is counted in.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// Requests in a window.
    pub limit: u64,
    /// The window that it is.
    pub span: Span,
    /// What becomes of it where it cannot be counted.
    pub on_failure: OnFailure,
}

/// What an account said to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was counted; so many are left.
    Passed(u64),
    /// The quota is used up.
    Spent,
    /// Something is left, and not here: a lease is on its way.
    Wait,
    /// Nobody knows what is left.
    Unknown,
}

/// The accounts of a configuration's quotas. It outlives a reload that keeps them at the same place.
#[derive(Debug)]
pub struct Book {
    /// Where its counts are kept.
    pub store: StoreSpec,
    parts: Box<[Mutex<Part>]>,
    hasher: RandomState,
    health: AtomicU8,
    /// Accounts that there are.
    count: AtomicU64,
    changed: flume::Sender<Arc<Account>>,
    waiting: flume::Receiver<Arc<Account>>,
    /// Some did not fit into the queue.
    is_behind: AtomicBool,
    /// A caller was not counted, and that was not said yet.
    is_full: AtomicBool,
}

type Part = AHashMap<(Window, Box<[u8]>), Arc<Account>>;

/// What is counted of one caller in windows of one kind.
#[derive(Debug)]
pub struct Account {
    /// Whose it is.
    pub caller: Box<[u8]>,
    /// The windows it counts in.
    pub window: Window,
    /// The number of the window, and what was used in it, as far as this host knows.
    used: AtomicU64,
    /// The quota that was last asked about.
    limit: AtomicU64,
    /// The number of a window, and what was leased of it for this host.
    leased: AtomicU64,
    /// What all hosts together had leased of that window then.
    total: AtomicU64,
    /// When the store last answered, seconds since 1970.
    answered_s: AtomicU64,
    /// It waits for the keeper.
    is_changed: AtomicBool,
    kept: Mutex<Kept>,
}

/// What the keeper knows of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The number of a window.
    pub number: u64,
    /// What of its count is kept.
    pub count: u64,
}

/// A window's number with a count, in one word.
fn word(number: u64, count: u64) -> u64 {
    number << COUNT_BITS | count.min(QUOTA_MAX)
}

/// The two again.
fn parted(word: u64) -> (u64, u64) {
    (word >> COUNT_BITS, word & QUOTA_MAX)
}

/// Counts one request in the word of an account: the word it becomes and what is left then; `None` when
/// the limit is reached. A clock that was put back goes on in the window that it came from.
pub fn one_more(before: u64, number: u64, limit: u64) -> Option<(u64, u64)> {
    let (number, used) = current(before, number);
    (used < limit).then(|| (word(number, used + 1), limit - used - 1))
}

/// What is left for a request that is not counted.
pub fn left(before: u64, number: u64, limit: u64) -> u64 {
    limit.saturating_sub(current(before, number).1)
}

/// The window that counts, and what is used of it.
fn current(before: u64, number: u64) -> (u64, u64) {
    let (known, used) = parted(before);
    if known >= number { (known, used) } else { (number, 0) }
}

/// Requests of a lease.
pub fn lease_of(limit: u64) -> u64 {
    // An even number, since half of it may pass ahead.
    (limit / LEASES_IN_QUOTA).clamp(2, LEASE_MAX) & !1
}

impl Book {
    /// An empty book.
    pub fn new(store: StoreSpec) -> Book {
        let (changed, waiting) = flume::bounded(CHANGED_MAX);
        Book {
            store,
            parts: (0..PARTS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            health: AtomicU8::new(Health::Beginning as u8),
            count: AtomicU64::new(0),
            changed,
            waiting,
            is_behind: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
        }
    }

    /// Whether hosts count together in it.
    pub fn is_shared(&self) -> bool {
        matches!(self.store, StoreSpec::Redis(_))
    }

    /// The account of a caller, which is opened if there is none; `None` when the book is full.
    pub fn account(&self, window: Window, caller: &[u8]) -> Option<Arc<Account>> {
        let mut part = self.part(window, caller);
        // Rare enough for a copy: a shard remembers whom it has met.
        let key = (window, Box::from(caller));
        if let Some(known) = part.get(&key) {
            return Some(known.clone());
        }
        if self.count.fetch_add(1, Relaxed) >= ACCOUNTS_MAX as u64 {
            self.count.fetch_sub(1, Relaxed);
            self.is_full.store(true, Relaxed);
            return None;
        }
        let account = Arc::new(Account::new(window, caller));
        part.insert(key, account.clone());
        Some(account)
    }

    fn part(&self, window: Window, caller: &[u8]) -> MutexGuard<'_, Part> {
        let at = self.hasher.hash_one((window, caller)) as usize % PARTS;
        // The parts are as many as that says.
        self.parts[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request.
    pub fn count(&self, account: &Arc<Account>, quota: &Quota, unix_s: u64) -> Verdict {
        if !self.is_shared() {
            let verdict = account.take_alone(quota);
            if matches!(verdict, Verdict::Passed(_)) {
                self.note(account);
            }
            return verdict;
        }
        let (verdict, wants) = account.take_leased(quota, self.health(), unix_s);
        if wants {
            self.note(account);
        }
        verdict
    }

    /// Puts an account into the keeper's queue, if it is not there.
    fn note(&self, account: &Arc<Account>) {
        // Read first: it is nearly always there already, and a swap would take the line from all others.
        if account.is_changed.load(SeqCst) || account.is_changed.swap(true, SeqCst) {
            return;
        }
        if self.changed.try_send(account.clone()).is_err() {
            self.is_behind.store(true, SeqCst);
        }
    }

    // ---- for the keeper -------------------------------------------------------------------------

    /// Waits until an account has changed.
    pub async fn changed(&self) -> Option<Arc<Account>> {
        let account = self.waiting.recv_async().await.ok()?;
        account.is_changed.swap(false, SeqCst);
        Some(account)
    }

    /// The accounts that have changed, so many at most.
    pub fn take_changed(&self, most: usize) -> Vec<Arc<Account>> {
        if self.is_behind.swap(false, SeqCst) {
            let all = self.all();
            all.iter().for_each(|account| account.is_changed.store(false, SeqCst));
            self.waiting.drain().for_each(drop);
            return all;
        }
        let taken: Vec<_> = self.waiting.try_iter().take(most).collect();
        // Before their counts are read: what comes behind that puts them into the queue again.
        taken.iter().for_each(|account| {
            account.is_changed.swap(false, SeqCst);
        });
        taken
    }

    /// All accounts.
    pub fn all(&self) -> Vec<Arc<Account>> {
        let part = |part: &Mutex<Part>| {
            let part = part.lock().unwrap_or_else(PoisonError::into_inner);
            part.values().cloned().collect::<Vec<_>>()
        };
        self.parts.iter().flat_map(part).collect()
    }

    /// Closes the accounts of windows that are over, if nobody holds on to them and all is kept.
    pub fn close_old(&self, unix_s: u64) {
        for part in &self.parts {
            let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
            let before = part.len();
            part.retain(|_, account| {
                let (number, _) = parted(account.used.load(SeqCst));
                Arc::strong_count(account) > 1 || number >= account.window.at(unix_s).number
            });
            self.count.fetch_sub((before - part.len()) as u64, Relaxed);
        }
    }

    /// Whether a caller was not counted since this was last asked.
    pub fn was_full(&self) -> bool {
        self.is_full.swap(false, Relaxed)
    }

    /// Says how the store is.
    pub fn set_health(&self, health: Health) {
        self.health.store(health as u8, Relaxed);
    }

    /// How the store is.
    pub fn health(&self) -> Health {
        match self.health.load(Relaxed) {
            0 => Health::Beginning,
            1 => Health::Well,
            _ => Health::Away,
        }
    }
}

impl Account {
    fn new(window: Window, caller: &[u8]) -> Account {
        Account {
            caller: caller.into(),
            window,
            used: AtomicU64::new(0),
            limit: AtomicU64::new(0),
            leased: AtomicU64::new(0),
            total: AtomicU64::new(0),
            answered_s: AtomicU64::new(0),
            is_changed: AtomicBool::new(false),
            kept: Mutex::default(),
        }
    }

    fn take_alone(&self, quota: &Quota) -> Verdict {
        let mut before = self.used.load(Relaxed);
        loop {
            let Some((after, left)) = one_more(before, quota.span.number, quota.limit) else {
                return Verdict::Spent;
            };
            match self.used.compare_exchange_weak(before, after, SeqCst, Relaxed) {
                Ok(_) => return Verdict::Passed(left),
                Err(other) => before = other,
            }
        }
    }

    /// The same where hosts count together; and whether the keeper should see to the next lease.
    fn take_leased(&self, quota: &Quota, health: Health, unix_s: u64) -> (Verdict, bool) {
        let Quota { limit, span, on_failure } = *quota;
        if self.limit.load(Relaxed) != limit {
            self.limit.store(limit, Relaxed);
        }
        let half = lease_of(limit) / 2;
        let is_fresh = unix_s < self.answered_s.load(Relaxed).saturating_add(ASK_AGAIN_S);
        loop {
            let before = self.used.load(SeqCst);
            let (number, used) = current(before, span.number);
            let (known, leased, total) = self.lease();
            let (leased, total) = if known == number { (leased, total) } else { (0, 0) };
            // What is left for all, less what of this host's lease is used.
            let unleased = limit.saturating_sub(total);
            let is_spent = known == number && unleased == 0;
            let ahead = match health {
                Health::Away if on_failure == OnFailure::Open => limit,
                Health::Away => 0,
                _ if is_spent => 0,
                _ => half,
            };
            let most = leased.saturating_add(ahead).min(limit);
            let wants = if is_spent { !is_fresh } else { used + half >= leased };
            if used >= most {
                let verdict = match health {
                    _ if is_spent || used >= limit => Verdict::Spent,
                    Health::Away => Verdict::Unknown,
                    _ => Verdict::Wait,
                };
                return (verdict, wants);
            }
            if self.used.compare_exchange_weak(before, word(number, used + 1), SeqCst, Relaxed).is_ok() {
                let left = unleased + leased.saturating_sub(used + 1);
                return (Verdict::Passed(left.min(limit - used - 1)), wants);
            }
        }
    }

    /// What is left for a request that is not counted.
    pub fn left(&self, quota: &Quota) -> u64 {
        let (number, used) = current(self.used.load(Relaxed), quota.span.number);
        let alone = quota.limit.saturating_sub(used);
        let (known, leased, total) = self.lease();
        match known == number && total > 0 {
            true => alone.min(quota.limit.saturating_sub(total) + leased.saturating_sub(used)),
            false => alone,
        }
    }

    fn lease(&self) -> (u64, u64, u64) {
        let (number, leased) = parted(self.leased.load(SeqCst));
        (number, leased, self.total.load(SeqCst))
    }

    // ---- for the keeper -------------------------------------------------------------------------

    /// The number of its window and what was used in it.
    pub fn used(&self) -> Kept {
        let (number, count) = parted(self.used.load(SeqCst));
        Kept { number, count }
    }

    /// What the keeper knows.
    pub fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what was used elsewhere, and is kept already.
    pub fn add_kept(&self, number: u64, count: u64) {
        let mut kept = self.kept();
        let mut before = self.used.load(SeqCst);
        loop {
            let (known, used) = parted(before);
            let after = match known.cmp(&number) {
                std::cmp::Ordering::Greater => return,
                std::cmp::Ordering::Equal => used.saturating_add(count),
                std::cmp::Ordering::Less => count,
            };
            match self.used.compare_exchange(before, word(number, after), SeqCst, SeqCst) {
                Ok(_) => break,
                Err(other) => before = other,
            }
        }
        *kept = match kept.number == number {
            true => Kept { number, count: kept.count.saturating_add(count) },
            false => Kept { number, count },
        };
    }

    /// The quota that was last asked about, and what was leased of a window.
    pub fn wanted(&self, number: u64) -> (u64, u64) {
        let (known, leased, _) = self.lease();
        (self.limit.load(Relaxed), if known == number { leased } else { 0 })
    }

    /// Takes the store's answer: what is leased for this host, and for all.
    pub fn set_lease(&self, number: u64, leased: u64, total: u64, unix_s: u64) {
        let (known, ..) = self.lease();
        if known > number {
            return;
        }
        self.total.store(total, SeqCst);
        self.leased.store(word(number, leased), SeqCst);
        self.answered_s.store(unix_s, Relaxed);
    }
}

#[cfg(test)]
mod tests;
