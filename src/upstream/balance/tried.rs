//! What one request's search for a peer remembers: whom it tried, and where its key led it.

use super::ip_hash;
use super::peer::Peer;
use super::record::Record;
use std::net::IpAddr;

/// Bytes of an IPv4 address that `ip_hash` goes by.
const NETWORK_BYTES: usize = 3;

/// What clients of a Unix socket have for a network.
const NO_NETWORK: [u8; NETWORK_BYTES] = [0; NETWORK_BYTES];

/// The peers one request has tried.
#[derive(Default, Debug)]
pub struct Tried {
    /// The first one, which nearly always is the only one, costs no allocation.
    first: Option<u32>,
    /// The search has come to the backups.
    pub(super) backups: bool,
    more: Option<Box<Trail>>,
}

/// What not every request has.
#[derive(Default, Debug)]
pub(super) struct Trail {
    others: Vec<u32>,
    /// The key, or the bytes of the address.
    pub(super) key: Vec<u8>,
    pub(super) hash: u32,
    /// How often the key was hashed.
    pub(super) rehashes: u32,
    /// How often the key or chance led to a peer that was unfit.
    pub(super) misses: u32,
    /// Whom the request sticks to.
    preferred: Preferred,
}

/// The places of a peer that a request sticks to: among those that are no backups, and among backups.
pub(super) type Preferred = [Option<u32>; 2];

impl Tried {
    /// None yet, for a request whose key is this: for `hash`.
    pub fn by_key(key: Vec<u8>) -> Tried {
        // Without a key it is round robin's turn.
        let more = (!key.is_empty()).then(|| Box::new(Trail { key, ..Trail::default() }));
        Tried { more, ..Tried::default() }
    }

    /// None yet, for a request from this address: for `ip_hash`.
    pub fn by_address(client: Option<IpAddr>) -> Tried {
        let key = match client {
            Some(IpAddr::V4(v4)) => v4.octets()[..NETWORK_BYTES].to_vec(),
            Some(IpAddr::V6(v6)) => v6.octets().to_vec(),
            None => NO_NETWORK.to_vec(),
        };
        Tried {
            more: Some(Box::new(Trail { key, hash: ip_hash::START, ..Trail::default() })),
            ..Tried::default()
        }
    }

    /// Whom the request sticks to.
    pub(super) fn prefer(&mut self, preferred: Preferred) {
        self.more.get_or_insert_default().preferred = preferred;
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        *self = Tried::default();
    }

    /// Whether `peer` was tried.
    pub fn contains(&self, peer: usize) -> bool {
        let is = |other: &u32| *other as usize == peer;
        self.first.as_ref().is_some_and(is)
            || self.more.as_ref().is_some_and(|more| more.others.iter().any(is))
    }

    /// Whether none was.
    pub(super) fn is_fresh(&self) -> bool {
        self.first.is_none()
    }

    /// Where the key has led; `None` without a key.
    pub(super) fn trail(&mut self) -> Option<&mut Trail> {
        self.more.as_deref_mut().filter(|trail| !trail.key.is_empty())
    }

    /// How often the key or chance led to a peer that was unfit.
    pub(super) fn misses(&self) -> u32 {
        self.more.as_ref().map_or(0, |more| more.misses)
    }

    fn push(&mut self, peer: u32) {
        if self.first.is_none() {
            self.first = Some(peer);
        } else {
            self.more.get_or_insert_default().others.push(peer);
        }
    }
}

/// A request in search of a peer.
pub(super) struct Search<'a> {
    pub(super) record: &'a Record,
    pub(super) tried: &'a mut Tried,
    /// On the record's clock.
    pub(super) now: u64,
}

impl Search<'_> {
    /// Whether this request may go to the peer.
    pub(super) fn may_ask(&self, peer: &Peer) -> bool {
        peer.is_open(self.record.health(peer.id), self.now) && !self.tried.contains(peer.id)
    }

    /// The place of the peer that the request sticks to, if that may be asked.
    pub(super) fn preferred(&self, peers: &[Peer]) -> Option<usize> {
        let places = self.tried.more.as_ref()?.preferred;
        let at = places[usize::from(self.tried.backups)]? as usize;
        let peer = peers.get(at)?;
        let is_fit = (!peer.down || peer.drain)
            && peer.is_able(self.record.health(peer.id), self.now)
            && !self.tried.contains(peer.id);
        is_fit.then_some(at)
    }

    /// The key or chance led to a peer that is unfit.
    pub(super) fn miss(&mut self) {
        self.tried.more.get_or_insert_default().misses += 1;
    }

    /// The peer is chosen; returns its place in the group, or nothing if another shard has just taken
    /// its last connection.
    pub(super) fn take(&mut self, peer: &Peer) -> Option<usize> {
        let health = self.record.health(peer.id);
        let connections = health.connect(self.record.is_shared);
        if peer.max_conns > 0 && connections > peer.max_conns {
            health.disconnect(self.record.is_shared);
            return None;
        }
        health.check(self.now, peer.fail_timeout_ns);
        // It is full now, or out until its trial is over.
        if (peer.max_conns > 0 && connections == peer.max_conns) || peer.has_failed(health) {
            self.record.change();
        }
        self.tried.push(peer.id as u32);
        Some(peer.id)
    }
}
