//! The peers that stand in for one another: those of a group that are no backups, or its backups. Here
//! are the turns, weighted round robin and fewest connections, which other methods fall back on.
//!
//! Which turn is whose is what nginx's smooth weighted round robin says, and there are two ways to find
//! out. One goes through all peers and is right always; the other keeps the peers ranked (`ranks.rs`)
//! and is right as long as the same peers take part, each with its whole weight. A change (a failure, a
//! peer that is full or comes back, a retry) leads back to the first way until things are calm.

use super::peer::{Health, Peer};
use super::ranks::Ranks;
use super::tried::Search;

/// Going through so few peers is as quick as keeping them ranked.
const LINEAR_PEERS_MAX: usize = 8;

/// Turns without a change before peers are ranked: a group that changes all the time would be ranked in
/// vain, at the price of several turns each time.
const CALM_TURNS: u32 = 8;

/// Peers that stand in for one another.
pub(super) struct Set {
    pub(super) peers: Vec<Peer>,
    /// The sum of the weights of each peer and those before it.
    weights: Vec<u64>,
    ranks: Ranks,
    is_ranked: bool,
    /// Turns since the last change.
    calm: u32,
    /// The changes of the record that are known.
    changes: u64,
    /// When the first of those that are out comes back.
    wake: u64,
}

impl Set {
    pub(super) fn new(peers: Vec<Peer>, by_connections: bool) -> Set {
        let mut sum = 0;
        let weights = peers
            .iter()
            .map(|peer| {
                sum += peer.weight as u64;
                sum
            })
            .collect();
        Set {
            ranks: Ranks::new(&peers, by_connections),
            peers,
            weights,
            is_ranked: false,
            calm: CALM_TURNS,
            changes: 0,
            wake: u64::MAX,
        }
    }

    /// The sum of all weights.
    pub(super) fn total_weight(&self) -> u64 {
        self.weights.last().copied().unwrap_or(0)
    }

    /// Whose share of the weights the number lies in.
    pub(super) fn at_weight(&self, number: u64) -> usize {
        self.weights.partition_point(|sum| *sum <= number)
    }

    /// Whether the peer may take this request.
    pub(super) fn is_open(&self, at: usize, search: &Search<'_>) -> bool {
        self.peers.get(at).is_some_and(|peer| search.may_ask(peer))
    }

    /// The next turn. `preferred` takes it, whoever else it belongs to.
    pub(super) fn turn(&mut self, search: &Search<'_>, preferred: Option<usize>) -> Option<usize> {
        let by_connections = self.ranks.by_connections;
        let changes = search.record.changes();
        if changes != self.changes || search.now > self.wake {
            self.settle();
            self.changes = changes;
        }
        let is_plain = preferred.is_none() && search.tried.is_fresh();
        // What other shards hold of a peer's connections cannot be followed one by one.
        if is_plain && !(by_connections && search.record.is_shared) && (self.is_ranked || self.rank(search)) {
            let chosen = self.ranks.pick(&mut self.peers);
            if self.ranks.is_worn() {
                self.settle();
            }
            return chosen;
        }
        if self.is_ranked {
            self.settle();
        }
        self.calm = self.calm.saturating_add(1);
        if by_connections {
            return preferred.or_else(|| fewest(&mut self.peers, search));
        }
        round_robin(&mut self.peers, search, preferred)
    }

    /// The next turn among a few.
    pub(super) fn turn_among(&mut self, places: &[u32], search: &Search<'_>) -> Option<usize> {
        if self.is_ranked && places.len() > 1 {
            self.settle();
        }
        let mut best: Option<usize> = None;
        let mut total = 0;
        for &at in places {
            let at = at as usize;
            let Some(peer) = self.peers.get_mut(at) else { continue };
            if !search.may_ask(peer) {
                continue;
            }
            if let [_] = places {
                // It takes the turn and pays for it.
                peer.effective = (peer.effective + 1).min(peer.weight);
                return Some(at);
            }
            total += peer.advance();
            let current = peer.current;
            if best.is_none_or(|best| current > self.peers[best].current) {
                best = Some(at);
            }
        }
        self.peers[best?].current -= total;
        best
    }

    /// A connection to the peer is over.
    pub(super) fn released(&mut self, at: usize) {
        if self.is_ranked {
            self.ranks.release(at, &mut self.peers);
        }
    }

    /// Ranks the peers, if that is worth it and possible now.
    fn rank(&mut self, search: &Search<'_>) -> bool {
        if self.peers.len() <= LINEAR_PEERS_MAX || self.calm < CALM_TURNS {
            return false;
        }
        let mut wake = u64::MAX;
        let mut are_whole = true;
        for peer in self.peers.iter().filter(|peer| !peer.down) {
            let health = search.record.health(peer.id);
            if peer.is_out(health, search.now) {
                wake = wake.min(peer.back_at(health));
            } else if !peer.is_full(health) {
                are_whole &= peer.effective == peer.weight;
            }
        }
        if !are_whole {
            self.calm = 0;
            return false;
        }
        for at in 0..self.peers.len() {
            let peer = &self.peers[at];
            let health = search.record.health(peer.id);
            if peer.is_open(health, search.now) {
                self.ranks.enter(at, health.connections(), &mut self.peers);
            }
        }
        self.wake = wake;
        self.is_ranked = true;
        true
    }

    /// Gives up the ranks.
    fn settle(&mut self) {
        self.calm = 0;
        self.wake = u64::MAX;
        if std::mem::take(&mut self.is_ranked) {
            self.ranks.dissolve(&mut self.peers);
        }
    }
}

/// nginx's smooth weighted round robin, going through all.
fn round_robin(peers: &mut [Peer], search: &Search<'_>, preferred: Option<usize>) -> Option<usize> {
    if let Some(at) = preferred {
        // One that is preferred again and again goes into debt no further than this, and the others
        // gain no claims meanwhile.
        let others: i64 = peers.iter().map(|peer| peer.weight).sum::<i64>() - peers[at].weight;
        if peers[at].current <= -others {
            return preferred;
        }
    }
    let mut best: Option<usize> = None;
    let mut total = 0;
    for at in 0..peers.len() {
        if !search.may_ask(&peers[at]) {
            continue;
        }
        total += peers[at].advance();
        if best.is_none_or(|best| peers[at].current > peers[best].current) {
            best = Some(at);
        }
    }
    let chosen = preferred.or(best)?;
    peers[chosen].current -= total;
    Some(chosen)
}

/// Fewest connections by weight; among equals, weighted round robin.
fn fewest(peers: &mut [Peer], search: &Search<'_>) -> Option<usize> {
    fewest_by(peers, search, |_, health| u64::from(health.connections()))
}

/// The least load by weight; among equals, weighted round robin.
pub(super) fn fewest_by(
    peers: &mut [Peer],
    search: &Search<'_>,
    load: impl Fn(&Peer, &Health) -> u64,
) -> Option<usize> {
    let weight = |peer: &Peer| u128::from(peer.weight.unsigned_abs());
    let load = |peer: &Peer| u128::from(load(peer, search.record.health(peer.id)));
    let mut least: Option<(usize, u128, u128)> = None;
    let mut are_many = false;
    for (at, peer) in peers.iter().enumerate().filter(|(_, peer)| search.may_ask(peer)) {
        let (own, own_weight) = (load(peer), weight(peer));
        match least {
            Some((_, best, best_weight)) if own * best_weight > best * own_weight => {}
            Some((_, best, best_weight)) if own * best_weight == best * own_weight => are_many = true,
            _ => (least, are_many) = (Some((at, own, own_weight)), false),
        }
    }
    let (first, least, least_weight) = least?;
    if !are_many {
        return Some(first);
    }
    let (mut best, mut total) = (first, 0);
    for at in first..peers.len() {
        let peer = &peers[at];
        if !search.may_ask(peer) || load(peer) * least_weight != least * weight(peer) {
            continue;
        }
        total += peers[at].advance();
        if peers[at].current > peers[best].current {
            best = at;
        }
    }
    peers[best].current -= total;
    Some(best)
}
