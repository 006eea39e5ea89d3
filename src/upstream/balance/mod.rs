//! Which peer a request goes to. The methods are nginx's, a file each; what they share is here: a peer
//! that failed is left alone for its `fail_timeout`, a full one until it has room, and backups stand
//! behind the rest.

mod consistent;
mod crc32;
mod hash;
mod ip_hash;
mod peer;
mod random;
mod ranking;
mod ranks;
mod record;
mod set;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod tried;

use super::group::{Group, PeerSettings};
use ahash::AHashMap;
use peer::Peer;
use random::Dice;
use set::Set;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;
use tried::{Preferred, Search};

pub use consistent::Ring;
pub use record::Record;
pub use tried::Tried;

/// How often a key, an address or chance may lead to a peer that is unfit before it is round robin's
/// turn, as in nginx.
const REHASH_MAX: u32 = 20;

/// How a peer is chosen.
#[derive(Clone, Debug, Default)]
pub enum Method {
    /// Weighted round robin.
    #[default]
    RoundRobin,
    /// `least_conn`
    LeastConn,
    /// `ip_hash`: by the client's address.
    IpHash,
    /// `hash`: by a key.
    Hash,
    /// `hash ... consistent`: by a key, on a ring.
    Consistent(Arc<Ring>),
    /// `random`
    Random {
        /// The one with fewer connections of two.
        of_two: bool,
    },
}

impl Method {
    /// `hash ... consistent` over these peers of a group.
    pub fn consistent(peers: &[PeerSettings]) -> Method {
        Method::Consistent(Arc::new(Ring::new(peers.iter().filter(|peer| !peer.backup))))
    }
}

/// The peers of one group, as this shard sees them.
pub struct Balancer {
    method: Method,
    sets: RefCell<Sets>,
    record: Arc<Record>,
    dice: Dice,
    /// There is one peer and no backup: it is never taken out, for there is no other to go to.
    is_single: bool,
    /// Peers that are not `down`.
    tries: usize,
    /// The peers by what requests that stick to them name them by; the first of each name.
    sids: AHashMap<Arc<str>, Preferred>,
}

struct Sets {
    primary: Set,
    backup: Set,
    /// For each peer of the group: whether it is a backup, and its place among its like.
    places: Vec<(bool, usize)>,
}

/// How an attempt ended, for the peer's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It answered.
    Good,
    /// It failed in a way that counts against it.
    Failed,
    /// It ended without saying anything about the peer (the client left, a status that
    /// `proxy_next_upstream` names but that does not count).
    Neutral,
}

impl Balancer {
    /// All peers in good health, and a record that is this shard's own.
    pub fn new(group: &Group) -> Balancer {
        Balancer::with_record(group, Arc::new(Record::new(group.peers.len(), false)))
    }

    /// The same on a record that others may share.
    pub fn with_record(group: &Group, record: Arc<Record>) -> Balancer {
        let by_connections = matches!(group.method, Method::LeastConn);
        let mut lists = (Vec::new(), Vec::new());
        let mut places = Vec::with_capacity(group.peers.len());
        let mut sids: AHashMap<Arc<str>, Preferred> = AHashMap::new();
        for (id, settings) in group.peers.iter().enumerate() {
            let list = if settings.backup { &mut lists.1 } else { &mut lists.0 };
            if let Some(sid) = &settings.sid {
                let of_sid = &mut sids.entry(sid.clone()).or_default()[usize::from(settings.backup)];
                *of_sid = of_sid.or(Some(list.len() as u32));
            }
            places.push((settings.backup, list.len()));
            list.push(Peer::new(id, settings));
        }
        let (primary, backup) = (Set::new(lists.0, by_connections), Set::new(lists.1, by_connections));
        Balancer {
            method: group.method.clone(),
            is_single: group.peers.len() == 1,
            tries: group.peers.iter().filter(|peer| !peer.down).count(),
            sets: RefCell::new(Sets { primary, backup, places }),
            record,
            dice: Dice::new(),
            sids,
        }
    }

    /// The next peer, one that was not tried; `None` when none can take a request. The caller
    /// reports back with [`Balancer::done`].
    pub fn pick(&self, tried: &mut Tried, now: Instant) -> Option<usize> {
        let mut sets = self.sets.borrow_mut();
        let mut search = Search { record: &self.record, now: self.record.time(now), tried };
        if self.is_single {
            let peer = sets.primary.peers.first()?;
            let is_meant = search.preferred(&sets.primary.peers).is_some();
            let may = is_meant || (!peer.down && !peer.is_full(self.record.health(peer.id)));
            return may.then(|| search.take(peer))?;
        }
        loop {
            let is_backup = search.tried.backups;
            let set = if is_backup { &mut sets.backup } else { &mut sets.primary };
            if let Some(at) = self.choose(set, is_backup, &mut search) {
                match search.take(set.peers.get(at)?) {
                    None => continue,
                    taken => return taken,
                }
            }
            if is_backup || sets.backup.peers.is_empty() {
                return None;
            }
            search.tried.backups = true;
        }
    }

    /// Makes a request stick to the peer that has this name, if any has.
    pub fn prefer(&self, tried: &mut Tried, sid: &[u8]) {
        if let Some(preferred) = std::str::from_utf8(sid).ok().and_then(|sid| self.sids.get(sid)) {
            tried.prefer(*preferred);
        }
    }

    fn choose(&self, set: &mut Set, is_backup: bool, search: &mut Search<'_>) -> Option<usize> {
        let preferred = search.preferred(&set.peers);
        // Keys lead to those that are no backups; for backups there is round robin.
        let by_method = match &self.method {
            Method::RoundRobin | Method::LeastConn => None,
            _ if is_backup || set.peers.len() < 2 => None,
            _ if preferred.is_some() => preferred,
            Method::IpHash => ip_hash::choose(set, search),
            Method::Hash => hash::choose(set, search),
            Method::Consistent(ring) => ring.choose(set, search),
            Method::Random { of_two } => random::choose(set, search, &self.dice, *of_two),
        };
        by_method.or_else(|| set.turn(search, preferred))
    }

    /// An attempt at `peer` is over.
    pub fn done(&self, peer: usize, verdict: Verdict, now: Instant) {
        let sets = &mut *self.sets.borrow_mut();
        let Some(&(is_backup, at)) = sets.places.get(peer) else { return };
        let set = if is_backup { &mut sets.backup } else { &mut sets.primary };
        let health = self.record.health(peer);
        let connections = health.disconnect(self.record.is_shared);
        set.released(at);
        let Some(peer) = set.peers.get_mut(at) else { return };
        let mut is_changed = peer.max_conns > 0 && connections >= peer.max_conns;
        match verdict {
            _ if self.is_single => {}
            Verdict::Failed => {
                peer.fail(health, self.record.time(now));
                is_changed = true;
            }
            // Alive again after a trial: the failures are forgotten.
            Verdict::Good | Verdict::Neutral => is_changed |= health.succeed(),
        }
        if is_changed {
            self.record.change();
        }
    }

    /// Whether `peer` has failed so often that it is left alone for its `fail_timeout`.
    pub fn is_disabled(&self, peer: usize, now: Instant) -> bool {
        let sets = self.sets.borrow();
        let Some(&(is_backup, at)) = sets.places.get(peer) else { return false };
        let set = if is_backup { &sets.backup } else { &sets.primary };
        let is_out = |found: &Peer| found.is_out(self.record.health(peer), self.record.time(now));
        !self.is_single && set.peers.get(at).is_some_and(is_out)
    }

    /// How many peers a request may try: all that are not `down`.
    pub fn tries(&self) -> usize {
        self.tries
    }
}
