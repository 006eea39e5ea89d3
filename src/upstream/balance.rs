//! Which peer a request goes to: nginx's smooth weighted round robin, with failures remembered for
//! `fail_timeout` and backups behind the rest. One per shard; nothing is shared.

use super::group::{Group, PeerSettings};
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// The peers of one group, as this shard sees them.
pub struct Balancer {
    peers: RefCell<Vec<Peer>>,
}

struct Peer {
    weight: i64,
    effective: i64,
    current: i64,
    max_fails: u32,
    fail_timeout: Duration,
    max_conns: u32,
    backup: bool,
    down: bool,
    fails: u32,
    connections: u32,
    /// When it failed last.
    failed: Option<Instant>,
    /// When it was last tried after failing.
    checked: Option<Instant>,
}

/// The peers one request has tried.
#[derive(Default, Debug)]
pub struct Tried {
    /// The first one, which nearly always is the only one, costs no allocation.
    first: Option<usize>,
    others: Vec<usize>,
}

impl Tried {
    /// Forgets them.
    pub fn clear(&mut self) {
        self.first = None;
        self.others.clear();
    }

    fn push(&mut self, peer: usize) {
        if self.first.is_none() {
            self.first = Some(peer);
        } else {
            self.others.push(peer);
        }
    }

    /// A lone peer may be tried again, where the number of tries allows it.
    pub fn forget_if_alone(&mut self, peers: usize) {
        if peers == 1 {
            self.clear();
        }
    }

    /// Whether `peer` was tried.
    pub fn contains(&self, peer: usize) -> bool {
        self.first == Some(peer) || self.others.contains(&peer)
    }
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
    /// All peers in good health.
    pub fn new(group: &Group) -> Balancer {
        let single = group.peers.len() == 1;
        Balancer { peers: RefCell::new(group.peers.iter().map(|p| Peer::new(p, single)).collect()) }
    }

    /// The next peer, one that was not tried; `None` when none can take a request. The caller
    /// reports back with [`Balancer::done`].
    pub fn pick(&self, tried: &mut Tried, now: Instant) -> Option<usize> {
        let mut peers = self.peers.borrow_mut();
        let chosen = if let [only] = peers.as_slice() {
            (!only.down && !only.is_full() && tried.first.is_none()).then_some(0)
        } else {
            choose(&mut peers, tried, now, false).or_else(|| choose(&mut peers, tried, now, true))
        };
        if let Some(i) = chosen {
            peers[i].connections += 1;
            tried.push(i);
        } else {
            // As nginx: when all are gone their failures are forgotten, so that the next request
            // finds someone to try.
            for peer in peers.iter_mut() {
                peer.fails = 0;
            }
        }
        chosen
    }

    /// An attempt at `peer` is over.
    pub fn done(&self, peer: usize, verdict: Verdict, now: Instant) {
        let mut peers = self.peers.borrow_mut();
        let single = peers.len() == 1;
        let Some(peer) = peers.get_mut(peer) else { return };
        peer.connections = peer.connections.saturating_sub(1);
        if single {
            return;
        }
        match verdict {
            Verdict::Failed => {
                peer.fails += 1;
                peer.failed = Some(now);
                peer.checked = Some(now);
                if peer.max_fails > 0 {
                    peer.effective = (peer.effective - peer.weight / i64::from(peer.max_fails)).max(0);
                }
            }
            Verdict::Good => {
                // Alive again after a trial: nginx clears the record.
                if peer.failed < peer.checked {
                    peer.fails = 0;
                }
            }
            Verdict::Neutral => {}
        }
    }

    /// Whether `peer` has failed so often that it is left alone for its `fail_timeout`.
    pub fn is_disabled(&self, peer: usize, now: Instant) -> bool {
        self.peers.borrow().get(peer).is_some_and(|peer| peer.is_out(now))
    }

    /// How many peers there are.
    pub fn len(&self) -> usize {
        self.peers.borrow().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Smooth weighted round robin over those of `peers` that may take a request.
fn choose(peers: &mut [Peer], tried: &Tried, now: Instant, backup: bool) -> Option<usize> {
    let mut best: Option<usize> = None;
    let mut total = 0;
    for i in 0..peers.len() {
        let peer = &mut peers[i];
        if peer.backup != backup || peer.down || peer.is_full() || peer.is_out(now) || tried.contains(i) {
            continue;
        }
        peer.current += peer.effective;
        total += peer.effective;
        if peer.effective < peer.weight {
            peer.effective += 1;
        }
        let current = peer.current;
        if best.is_none_or(|b| current > peers[b].current) {
            best = Some(i);
        }
    }
    let chosen = &mut peers[best?];
    chosen.current -= total;
    if chosen.checked.is_none_or(|at| now.saturating_duration_since(at) > chosen.fail_timeout) {
        chosen.checked = Some(now);
    }
    best
}

impl Peer {
    fn new(settings: &PeerSettings, single: bool) -> Peer {
        let weight = i64::from(settings.weight);
        Peer {
            weight,
            effective: weight,
            current: 0,
            // A lone peer is never taken out: there is no other to go to.
            max_fails: if single { 0 } else { settings.max_fails },
            fail_timeout: settings.fail_timeout,
            max_conns: settings.max_conns,
            backup: settings.backup,
            down: settings.down,
            fails: 0,
            connections: 0,
            failed: None,
            checked: None,
        }
    }

    fn is_full(&self) -> bool {
        self.max_conns > 0 && self.connections >= self.max_conns
    }

    /// Whether it failed too often and its time is not over.
    fn is_out(&self, now: Instant) -> bool {
        self.max_fails > 0
            && self.fails >= self.max_fails
            && self.checked.is_some_and(|at| now.saturating_duration_since(at) <= self.fail_timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::address::Address;

    fn balancer(peers: &[(u32, bool)]) -> Balancer {
        let peers = peers
            .iter()
            .map(|&(weight, backup)| PeerSettings {
                weight,
                backup,
                ..PeerSettings::new(Address::Ip(([127, 0, 0, 1], 80).into()))
            })
            .collect();
        Balancer::new(&Group { name: "u".into(), peers, keepalive: Default::default() })
    }

    fn serve(b: &Balancer, now: Instant, verdict: Verdict) -> Option<usize> {
        let peer = b.pick(&mut Tried::default(), now)?;
        b.done(peer, verdict, now);
        Some(peer)
    }

    #[test]
    fn weights_are_spread_smoothly() {
        let b = balancer(&[(5, false), (1, false), (1, false)]);
        let now = Instant::now();
        let order: Vec<_> = (0..7).filter_map(|_| serve(&b, now, Verdict::Good)).collect();
        assert_eq!(order, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn a_failed_peer_is_left_out_and_tried_again() {
        let b = balancer(&[(1, false), (1, false), (1, true)]);
        let start = Instant::now();
        assert_eq!(serve(&b, start, Verdict::Failed), Some(0));
        for _ in 0..4 {
            assert_eq!(serve(&b, start, Verdict::Good), Some(1));
        }
        let later = start + Duration::from_secs(11);
        let mut seen: Vec<_> = (0..4).filter_map(|_| serve(&b, later, Verdict::Good)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [0, 1]);
    }

    #[test]
    fn backups_only_when_the_rest_is_gone_and_then_amnesty() {
        let b = balancer(&[(1, false), (1, true)]);
        let now = Instant::now();
        assert_eq!(serve(&b, now, Verdict::Failed), Some(0));
        assert_eq!(serve(&b, now, Verdict::Failed), Some(1));
        assert_eq!(serve(&b, now, Verdict::Good), None);
        assert_eq!(serve(&b, now, Verdict::Good), Some(0));
    }
}
