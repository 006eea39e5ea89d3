//! Peers by their claims on the next turn: a heap from which any peer can be taken, not only the first.
//!
//! The claims are the peers' own (`Peer::current`), so a heap holds places only; where in its heap a peer
//! is, is kept beside the peers.

use super::peer::Peer;

/// Some of the peers of a set, the one with the greatest claim first; among equals, the one that comes
/// first in the configuration.
#[derive(Default)]
pub(super) struct Ranking {
    heap: Vec<u32>,
}

impl Ranking {
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The first.
    pub(super) fn top(&self) -> Option<usize> {
        self.heap.first().map(|at| *at as usize)
    }

    /// Forgets all, and hands out the places one by one.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = usize> + '_ {
        self.heap.drain(..).map(|at| at as usize)
    }

    /// Adds a peer; `slots` says for every peer of the set where in its heap it is.
    pub(super) fn insert(&mut self, at: usize, peers: &[Peer], slots: &mut [u32]) {
        self.heap.push(at as u32);
        self.rise(self.heap.len() - 1, peers, slots);
    }

    /// Takes a peer out that is in.
    pub(super) fn remove(&mut self, at: usize, peers: &[Peer], slots: &mut [u32]) {
        let slot = slots[at] as usize;
        self.heap.swap_remove(slot);
        if slot < self.heap.len() {
            self.settle(slot, peers, slots);
        }
    }

    /// Puts a peer that is in, and whose claim has changed, where it belongs.
    pub(super) fn update(&mut self, at: usize, peers: &[Peer], slots: &mut [u32]) {
        self.settle(slots[at] as usize, peers, slots);
    }

    fn settle(&mut self, slot: usize, peers: &[Peer], slots: &mut [u32]) {
        let slot = self.rise(slot, peers, slots);
        self.sink(slot, peers, slots);
    }

    fn rise(&mut self, mut slot: usize, peers: &[Peer], slots: &mut [u32]) -> usize {
        let at = self.heap[slot];
        while slot > 0 {
            let above = (slot - 1) / 2;
            if !is_before(at, self.heap[above], peers) {
                break;
            }
            self.put(slot, self.heap[above], slots);
            slot = above;
        }
        self.put(slot, at, slots);
        slot
    }

    fn sink(&mut self, mut slot: usize, peers: &[Peer], slots: &mut [u32]) {
        let at = self.heap[slot];
        loop {
            let left = 2 * slot + 1;
            let Some(&first) = self.heap.get(left) else { break };
            let (below, better) = match self.heap.get(left + 1) {
                Some(&right) if is_before(right, first, peers) => (left + 1, right),
                _ => (left, first),
            };
            if !is_before(better, at, peers) {
                break;
            }
            self.put(slot, better, slots);
            slot = below;
        }
        self.put(slot, at, slots);
    }

    fn put(&mut self, slot: usize, at: u32, slots: &mut [u32]) {
        self.heap[slot] = at;
        slots[at as usize] = slot as u32;
    }
}

fn is_before(one: u32, other: u32, peers: &[Peer]) -> bool {
    let (a, b) = (peers[one as usize].current, peers[other as usize].current);
    a > b || (a == b && one < other)
}
