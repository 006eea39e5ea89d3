//! A group that lives through some minutes on a clock that is moved by hand: fifty peers of uneven
//! weights, of which some come and go while requests overlap.

use super::*;
use crate::base::address::Address;
use std::collections::VecDeque;
use std::time::Duration;

const PEERS: usize = 50;

/// The first so many come and go, each in its own rhythm.
const FLAPPING: usize = 6;

const REST: Duration = Duration::from_secs(10);

/// Requests, one a millisecond.
const REQUESTS: u32 = 150_000;

/// Requests under way at the same time.
const OVERLAP: usize = 20;

/// The same where connections decide: with few, they are no finer measure than the weights.
const OVERLAP_DENSE: usize = 15_000;

struct Outcome {
    served: Vec<u32>,
    refused: u32,
}

fn weight(peer: usize) -> u32 {
    1 + peer as u32 % 5
}

/// Whether a peer answers at this millisecond.
fn is_up(peer: usize, ms: u32) -> bool {
    let rhythm_ms = 15_000 + 4_000 * peer as u32;
    peer >= FLAPPING || (ms / rhythm_ms).is_multiple_of(2)
}

fn run(overlap: usize, method: impl Fn(&[PeerSettings]) -> Method, begin: impl Fn(u32) -> Tried) -> Outcome {
    let settings: Vec<PeerSettings> = (0..PEERS)
        .map(|peer| {
            let address = Address::Ip(([10, 0, 0, peer as u8], 80).into());
            PeerSettings { weight: weight(peer), fail_timeout: REST, ..PeerSettings::new(address) }
        })
        .collect();
    let balancer = Balancer::new(&Group { method: method(&settings), ..Group::new("u", settings) });
    let start = Instant::now();
    let mut outcome = Outcome { served: vec![0; PEERS], refused: 0 };
    let mut failed_ms = [None; PEERS];
    let mut up_since_ms: [Option<u32>; PEERS] = [None; PEERS];
    let mut open = VecDeque::new();
    for ms in 0..REQUESTS {
        let now = start + Duration::from_millis(u64::from(ms));
        for (peer, since) in up_since_ms.iter_mut().enumerate().take(FLAPPING) {
            if is_up(peer, ms) && ms > 0 && !is_up(peer, ms - 1) {
                *since = Some(ms);
            }
        }
        let mut tried = begin(ms);
        loop {
            let Some(peer) = balancer.pick(&mut tried, now) else {
                outcome.refused += 1;
                break;
            };
            // Nobody asks one that is known to be down.
            let rests = failed_ms[peer].is_some_and(|at| ms - at <= REST.as_millis() as u32);
            assert!(!rests, "peer {peer} at {ms} ms");
            if !is_up(peer, ms) {
                failed_ms[peer] = Some(ms);
                balancer.done(peer, Verdict::Failed, now);
                continue;
            }
            failed_ms[peer] = None;
            // It is found again in one `fail_timeout`, and the time until its turn.
            if let Some(since) = up_since_ms[peer].take() {
                assert!(ms - since <= REST.as_millis() as u32 + 2_000, "peer {peer}: {} ms", ms - since);
            }
            outcome.served[peer] += 1;
            open.push_back(peer);
            break;
        }
        if open.len() > overlap
            && let Some(peer) = open.pop_front()
        {
            balancer.done(peer, Verdict::Good, now);
        }
    }
    outcome
}

/// How far the worst of those that never failed is from its share of what these got together.
fn worst(outcome: &Outcome) -> f64 {
    let steady = FLAPPING..PEERS;
    let all: u32 = outcome.served[steady.clone()].iter().sum();
    let weights: u32 = steady.clone().map(weight).sum();
    steady.fold(0.0, |worst: f64, peer| {
        let ideal = f64::from(all) * f64::from(weight(peer)) / f64::from(weights);
        worst.max((f64::from(outcome.served[peer]) / ideal - 1.0).abs())
    })
}

#[test]
fn turns_are_fair_while_peers_come_and_go() {
    for (method, overlap) in [(Method::RoundRobin, OVERLAP), (Method::LeastConn, OVERLAP_DENSE)] {
        let outcome = run(overlap, |_| method.clone(), |_| Tried::default());
        assert_eq!(outcome.refused, 0);
        let worst = worst(&outcome);
        assert!(worst < 0.02, "{method:?}: {worst}");
    }
}

#[test]
fn chance_and_keys_ask_nobody_who_is_known_to_be_down() {
    let key = |ms: u32| Tried::by_key(ms.to_string().into_bytes());
    let chance = |of_two: bool| run(OVERLAP, |_| Method::Random { of_two }, |_| Tried::default());
    for outcome in [
        run(OVERLAP, |_| Method::Hash, key),
        run(OVERLAP, Method::consistent, key),
        chance(false),
        chance(true),
    ] {
        assert_eq!(outcome.refused, 0);
    }
    // What is left to chance comes as close as chance allows: thousands of requests for each.
    let worst = worst(&chance(false));
    assert!(worst < 0.15, "{worst}");
}
