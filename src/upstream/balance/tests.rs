//! The methods, and what they share.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::base::address::Address;
use std::time::Duration;

fn balancer(peers: &[(u32, bool)]) -> Balancer {
    let peers = peers
        .iter()
        .map(|&(weight, backup)| PeerSettings {
            weight,
            backup,
            ..PeerSettings::new(Address::Ip(([127, 0, 0, 1], 80).into()))
        })
        .collect();
    Balancer::new(&Group::new("u", peers))
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
fn backups_only_when_the_rest_is_gone() {
    let b = balancer(&[(1, false), (1, true)]);
    let now = Instant::now();
    assert_eq!(serve(&b, now, Verdict::Failed), Some(0));
    assert_eq!(serve(&b, now, Verdict::Failed), Some(1));
    assert_eq!(serve(&b, now, Verdict::Good), None);
    assert_eq!(serve(&b, now, Verdict::Good), None);
    let later = now + REST + Duration::from_millis(1);
    assert_eq!(serve(&b, later, Verdict::Good), Some(0));
}

/// What nginx's round robin and `least_conn` do, going through all peers: what the ranks must agree with.
struct Model {
    by_connections: bool,
    peers: Vec<ModelPeer>,
}

struct ModelPeer {
    weight: i64,
    effective: i64,
    current: i64,
    connections: i64,
    failed: Option<Instant>,
    checked: Option<Instant>,
    fails: u32,
    max_conns: i64,
}

impl Model {
    fn pick(&mut self, tried: &[usize], now: Instant) -> Option<usize> {
        let fit: Vec<usize> = (0..self.peers.len())
            .filter(|&i| {
                let peer = &self.peers[i];
                let rests = peer.fails > 0 && peer.checked.is_some_and(|at| now - at <= REST);
                !rests && (peer.max_conns == 0 || peer.connections < peer.max_conns) && !tried.contains(&i)
            })
            .collect();
        let load = |peer: &ModelPeer, other: &ModelPeer| peer.connections * other.weight;
        let least = fit.iter().copied().reduce(|a, b| {
            let (first, second) = (&self.peers[a], &self.peers[b]);
            if load(second, first) < load(first, second) { b } else { a }
        })?;
        let ties = |i: &usize| {
            let (peer, other) = (&self.peers[*i], &self.peers[least]);
            !self.by_connections || load(peer, other) == load(other, peer)
        };
        let tied: Vec<usize> = fit.into_iter().filter(ties).collect();
        let mut best: Option<usize> = None;
        let mut total = 0;
        for &i in &tied {
            // One that has no equal takes no turn, and regains nothing.
            if self.by_connections && tied.len() == 1 {
                best = Some(i);
                break;
            }
            let peer = &mut self.peers[i];
            peer.current += peer.effective;
            total += peer.effective;
            peer.effective = (peer.effective + 1).min(peer.weight);
            if best.is_none_or(|best| self.peers[i].current > self.peers[best].current) {
                best = Some(i);
            }
        }
        let chosen = &mut self.peers[best?];
        chosen.current -= total;
        chosen.connections += 1;
        if chosen.checked.is_none_or(|at| now - at > REST) {
            chosen.checked = Some(now);
        }
        best
    }

    fn done(&mut self, peer: usize, failed: bool, now: Instant) {
        let peer = &mut self.peers[peer];
        peer.connections -= 1;
        if failed {
            peer.fails += 1;
            (peer.failed, peer.checked) = (Some(now), Some(now));
            peer.effective = (peer.effective - peer.weight).max(0);
        } else if peer.failed < peer.checked {
            peer.fails = 0;
        }
    }
}

const REST: Duration = Duration::from_secs(10);

fn number(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

/// Long runs with failures, retries, full peers and requests that overlap: the ranks and the model
/// choose the same peers.
#[test]
fn ranks_agree_with_going_through_all() {
    for (run, method) in [Method::RoundRobin, Method::LeastConn].into_iter().cycle().take(24).enumerate() {
        let mut seed = run as u64;
        let by_connections = matches!(method, Method::LeastConn);
        let address = || PeerSettings::new(Address::Ip(([127, 0, 0, 1], 80).into()));
        let settings: Vec<PeerSettings> = (0..9 + run * 3)
            .map(|_| PeerSettings {
                weight: 1 + number(&mut seed) as u32 % 5,
                max_conns: if number(&mut seed).is_multiple_of(4) { 2 } else { 0 },
                ..address()
            })
            .collect();
        let model = |peer: &PeerSettings| ModelPeer {
            weight: i64::from(peer.weight),
            effective: i64::from(peer.weight),
            current: 0,
            connections: 0,
            failed: None,
            checked: None,
            fails: 0,
            max_conns: i64::from(peer.max_conns),
        };
        let mut model = Model { by_connections, peers: settings.iter().map(model).collect() };
        let balancer = Balancer::new(&Group { method, ..Group::new("u", settings) });
        let mut now = Instant::now();
        let mut open: Vec<usize> = Vec::new();
        for turn in 0..6000 {
            now += Duration::from_millis(number(&mut seed) % 40);
            let (mut tried, mut tried_of_model) = (Tried::default(), Vec::new());
            loop {
                let chosen = balancer.pick(&mut tried, now);
                assert_eq!(chosen, model.pick(&tried_of_model, now), "run {run}, turn {turn}");
                let Some(peer) = chosen else { break };
                tried_of_model.push(peer);
                if number(&mut seed).is_multiple_of(97) {
                    balancer.done(peer, Verdict::Failed, now);
                    model.done(peer, true, now);
                    continue;
                }
                open.push(peer);
                break;
            }
            while open.len() > 4 || (!open.is_empty() && number(&mut seed).is_multiple_of(2)) {
                let peer = open.swap_remove(number(&mut seed) as usize % open.len());
                balancer.done(peer, Verdict::Good, now);
                model.done(peer, false, now);
            }
        }
    }
}
