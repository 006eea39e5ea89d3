//! An `upstream {}` block, compiled: its servers and how connections to them are kept.

use super::balance::Method;
use crate::base::address::Address;
use std::sync::Arc;
use std::time::Duration;

/// A group of servers.
#[derive(Debug)]
pub struct Group {
    /// Its name: that of the block, or the host and port a `proxy_pass` names.
    pub name: Arc<str>,
    /// Its peers: one per address of each server, in order.
    pub peers: Vec<PeerSettings>,
    /// How one of them is chosen.
    pub method: Method,
    /// Failures and connections are counted by all shards together (`zone`).
    pub is_shared: bool,
    /// How connections are kept.
    pub keepalive: Keepalive,
}

impl Group {
    /// A group in which turns are taken and connections are kept as nginx does by default.
    pub fn new(name: &str, peers: Vec<PeerSettings>) -> Group {
        let (method, keepalive) = (Method::default(), Keepalive::default());
        Group { name: name.into(), peers, method, is_shared: false, keepalive }
    }
}

/// One address of one `server` line.
#[derive(Clone, Debug)]
pub struct PeerSettings {
    /// Where it is.
    pub address: Address,
    /// The address as `$upstream_addr` shows it.
    pub label: Arc<str>,
    /// The address as the configuration names it, which `hash ... consistent` goes by.
    pub server: Arc<str>,
    /// `weight`.
    pub weight: u32,
    /// `max_fails`; 0 never takes the peer out.
    pub max_fails: u32,
    /// `fail_timeout`.
    pub fail_timeout: Duration,
    /// `max_conns`; 0 for no limit.
    pub max_conns: u32,
    /// `backup`.
    pub backup: bool,
    /// `down`, or `drain`: no new requests.
    pub down: bool,
    /// `drain`: requests that stick to it still come.
    pub drain: bool,
    /// What requests that stick to it name it by, where the group has `sticky`.
    pub sid: Option<Arc<str>>,
}

impl PeerSettings {
    /// A peer with nginx's defaults.
    pub fn new(address: Address) -> PeerSettings {
        let label: Arc<str> = address.to_string().into();
        PeerSettings {
            address,
            server: label.clone(),
            label,
            weight: 1,
            max_fails: 1,
            fail_timeout: Duration::from_secs(10),
            max_conns: 0,
            backup: false,
            down: false,
            drain: false,
            sid: None,
        }
    }
}

/// `keepalive` and its companions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Idle connections kept per shard; 0 keeps none.
    pub connections: usize,
    /// Connections are kept apart by location (`local`).
    pub local: bool,
    /// `keepalive_requests`.
    pub requests: u64,
    /// `keepalive_time`.
    pub time: Duration,
    /// `keepalive_timeout`.
    pub timeout: Duration,
}

impl Default for Keepalive {
    /// nginx's defaults since 1.29.7.
    fn default() -> Keepalive {
        Keepalive {
            connections: 32,
            local: true,
            requests: 1000,
            time: Duration::from_secs(3600),
            timeout: Duration::from_secs(60),
        }
    }
}
