//! Turns without going through all peers.
//!
//! In smooth weighted round robin each peer that takes part gains its weight at each turn, and the one
//! with the greatest claim pays the sum of all weights. Peers of the same weight gain the same, so their
//! order among themselves changes only where one pays: each weight has a ranking and a common offset, and
//! a turn looks at the first of each. With fewest connections only those take part that share the lowest
//! number of connections by weight, so there is a ranking for each weight and number of connections.

use super::peer::Peer;
use super::ranking::Ranking;

/// A peer that has no rank.
const NOWHERE: u32 = u32::MAX;

/// What an offset may grow to before all is counted anew, far from what a number holds.
const OFFSET_MAX: i64 = 1 << 60;

/// The ranks of the peers of a set.
pub(super) struct Ranks {
    /// By weight, which is the same for all of a class.
    classes: Vec<Class>,
    /// The class of each peer.
    class_of: Vec<u32>,
    /// The level of each peer, or `NOWHERE`.
    level_of: Vec<u32>,
    /// Where in its ranking each peer is.
    slots: Vec<u32>,
    /// Connections count; else all peers are on level 0.
    pub(super) by_connections: bool,
    /// The offset that grew last.
    reached: i64,
}

struct Class {
    weight: i64,
    /// By number of connections.
    levels: Vec<Level>,
    /// The first level that is not empty, or how many there are.
    lowest: usize,
}

#[derive(Default)]
struct Level {
    /// What every peer here has gained; their own numbers are without it.
    offset: i64,
    ranking: Ranking,
}

impl Ranks {
    pub(super) fn new(peers: &[Peer], by_connections: bool) -> Ranks {
        let mut weights: Vec<i64> = peers.iter().map(|peer| peer.weight).collect();
        weights.sort_unstable();
        weights.dedup();
        let class = |peer: &Peer| weights.partition_point(|weight| *weight < peer.weight) as u32;
        let class_of = peers.iter().map(class).collect();
        let made = |weight: &i64| Class { weight: *weight, levels: Vec::new(), lowest: 0 };
        Ranks {
            classes: weights.iter().map(made).collect(),
            class_of,
            level_of: vec![NOWHERE; peers.len()],
            slots: vec![0; peers.len()],
            by_connections,
            reached: 0,
        }
    }

    /// Whether an offset has grown so far that all must be counted anew.
    pub(super) fn is_worn(&self) -> bool {
        self.reached > OFFSET_MAX
    }

    /// A peer with so many connections takes part.
    pub(super) fn enter(&mut self, at: usize, connections: u32, peers: &mut [Peer]) {
        let level = if self.by_connections { connections } else { 0 };
        self.put(at, level, peers);
    }

    /// A peer has a connection fewer.
    pub(super) fn release(&mut self, at: usize, peers: &mut [Peer]) {
        let level = self.level_of[at];
        if self.by_connections && level != NOWHERE && level > 0 {
            self.take(at, peers);
            self.put(at, level - 1, peers);
        }
    }

    /// No peer takes part any more; their claims are their own again.
    pub(super) fn dissolve(&mut self, peers: &mut [Peer]) {
        for class in &mut self.classes {
            for level in &mut class.levels {
                for at in level.ranking.drain() {
                    peers[at].current += level.offset;
                    self.level_of[at] = NOWHERE;
                }
                level.offset = 0;
            }
            class.lowest = class.levels.len();
        }
        self.reached = 0;
    }

    /// The next turn. With fewest connections the peer gets one more.
    pub(super) fn pick(&mut self, peers: &mut [Peer]) -> Option<usize> {
        let least = self.least()?;
        let mut total = 0;
        let mut best: Option<(i64, usize)> = None;
        for class in &mut self.classes {
            if class.load().is_none_or(|load| is_less(least, load)) {
                continue;
            }
            let Some(level) = class.levels.get_mut(class.lowest) else { continue };
            let Some(top) = level.ranking.top() else { continue };
            level.offset += class.weight;
            self.reached = self.reached.max(level.offset);
            total += class.weight * level.ranking.len() as i64;
            let claim = peers[top].current + level.offset;
            if best.is_none_or(|(most, first)| claim > most || (claim == most && top < first)) {
                best = Some((claim, top));
            }
        }
        let (_, chosen) = best?;
        if self.by_connections {
            let level = self.level_of[chosen];
            self.take(chosen, peers);
            peers[chosen].current -= total;
            self.put(chosen, level + 1, peers);
        } else {
            peers[chosen].current -= total;
            let class = &mut self.classes[self.class_of[chosen] as usize];
            class.levels[0].ranking.update(chosen, peers, &mut self.slots);
        }
        Some(chosen)
    }

    /// The least load of a class: connections, and the weight they are shared by.
    fn least(&self) -> Option<(u64, u64)> {
        let loads = self.classes.iter().filter_map(Class::load);
        loads.reduce(|least, load| if is_less(load, least) { load } else { least })
    }

    fn put(&mut self, at: usize, level: u32, peers: &mut [Peer]) {
        let class = &mut self.classes[self.class_of[at] as usize];
        let number = level as usize;
        let is_first = class.lowest >= class.levels.len();
        if class.levels.len() <= number {
            class.levels.resize_with(number + 1, Level::default);
        }
        class.lowest = if is_first { number } else { class.lowest.min(number) };
        let to = &mut class.levels[number];
        peers[at].current -= to.offset;
        to.ranking.insert(at, peers, &mut self.slots);
        self.level_of[at] = level;
    }

    fn take(&mut self, at: usize, peers: &mut [Peer]) {
        let class = &mut self.classes[self.class_of[at] as usize];
        let from = &mut class.levels[self.level_of[at] as usize];
        from.ranking.remove(at, peers, &mut self.slots);
        peers[at].current += from.offset;
        if from.ranking.is_empty() {
            from.offset = 0;
        }
        self.level_of[at] = NOWHERE;
        while class.levels.get(class.lowest).is_some_and(|level| level.ranking.is_empty()) {
            class.lowest += 1;
        }
    }
}

impl Class {
    /// Connections and weight of the peers with the fewest; `None` without peers.
    fn load(&self) -> Option<(u64, u64)> {
        (self.lowest < self.levels.len()).then_some((self.lowest as u64, self.weight as u64))
    }
}

/// Whether one load by weight is less than another.
fn is_less((one, one_weight): (u64, u64), (other, other_weight): (u64, u64)) -> bool {
    one * other_weight < other * one_weight
}
