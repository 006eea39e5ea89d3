//! Quotas: how many requests of a caller came in a window of the calendar. Shards count in accounts;
//! whoever keeps the counts, on a disk or for several hosts, is told which accounts have changed.
//!
//! Two ways of counting. Where this host counts alone, an account is exact: a compare-and-swap on its
//! word, and no more than the quota passes. Where hosts count together, each takes leases from what is
//! left for all of them, ahead of its requests: what passes is held to what was leased. Until the first
//! lease of a window is there, and while a new one is under way, up to half a lease passes ahead of it,
//! and is told with the next: so no request waits, and two hosts together stay within one lease of the
//! quota.

use super::window::{Span, Window};
use ahash::{AHashMap, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Bits of a count; the rest of a word is the number of the window. 36 bits are 68 thousand million
/// requests; 28 bits are minutes until the year 2480.
const COUNT_BITS: u32 = 36;

/// The largest quota, requests.
pub const QUOTA_MAX: u64 = (1 << COUNT_BITS) - 1;

/// Accounts of a book, at most, each about 200 bytes: when there are as many, those of windows that are
/// over are closed, and while there are none of these, new callers are not counted.
pub const ACCOUNTS_MAX: usize = 1 << 20;

/// Parts of a book, each with a lock of its own, so that shards rarely meet: it is taken when a shard
/// meets a caller that it does not remember.
const PARTS: usize = 64;

/// Accounts that may wait for their keeper: beyond that it finds them when it looks through all.
const CHANGED_MAX: usize = 64 * 1024;

/// The largest lease, requests.
const LEASE_MAX: u64 = 1000;

/// Leases in a quota, unless that makes them larger than [`LEASE_MAX`], or smaller than two.
const LEASES_IN_QUOTA: u64 = 50;

/// Where counts are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreSpec {
    /// In memory alone.
    Memory,
    /// In a file of this host.
    File(std::path::PathBuf),
    /// In a Redis, for all hosts: its address as it is written.
    Redis(Box<str>),
}

/// What becomes of requests while the store of all hosts is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// They pass, and are told of later.
    Open,
    /// Those that no lease is left for are refused.
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

/// The accounts of a configuration's quotas. It outlives a reload when they are kept at the same place.
#[derive(Debug)]
pub struct Book {
    /// Where its counts are kept.
    pub store: StoreSpec,
    parts: Box<[Mutex<AHashMap<Key, Arc<Account>>>]>,
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

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    window: Window,
    caller: Box<[u8]>,
}

/// What is counted of one caller in windows of one kind.
#[derive(Debug)]
pub struct Account {
    /// Whose it is.
    pub caller: Box<[u8]>,
    /// The windows it counts in.
    pub window: Window,
    /// The number of the window, and what was used in it, here.
    used: AtomicU64,
    /// The same with what was leased of it, for this host.
    leased: AtomicU64,
    /// What was used by all hosts together when the last lease was taken, of the window of `leased`.
    elsewhere: AtomicU64,
    /// The window of which the store said that there is nothing left.
    spent: AtomicU64,
    /// The quota that counts, for the keeper.
    limit: AtomicU64,
    /// It waits for the keeper.
    is_changed: AtomicBool,
    /// For the keeper alone: what it knows to be kept.
    pub kept: Mutex<Kept>,
}

/// What a keeper knows of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The number of a window.
    pub number: u64,
    /// What of its count is kept.
    pub count: u64,
}

/// What an account said to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was counted; so many are left.
    Passed(u64),
    /// The quota is used up.
    Spent,
    /// The store of all hosts is away, and no lease is left.
    Unknown,
}
