//! `hash ... consistent`: the ring of Cache::Memcached::Fast and of nginx. A peer that goes moves only
//! the keys that were its own.

use super::REHASH_MAX;
use super::crc32::Crc32;
use super::set::Set;
use super::tried::Search;
use crate::upstream::group::PeerSettings;

/// Points on the ring for each unit of weight.
const POINTS: u64 = 160;

/// The ring. Its points are those of servers: peers that one `server` line stands for share them.
#[derive(Debug)]
pub struct Ring {
    /// Hashes and servers, by hash.
    points: Vec<(u32, u32)>,
    /// The peers of each server.
    servers: Vec<Vec<u32>>,
}

impl Ring {
    /// The sum of weights up to which a ring is made: 16 million points, 128 MiB.
    pub const WEIGHT_MAX: u64 = 100_000;

    /// Whether the ring of these peers is not too large.
    pub fn fits(peers: &[PeerSettings]) -> bool {
        peers.iter().map(|peer| u64::from(peer.weight)).sum::<u64>() <= Ring::WEIGHT_MAX
    }

    /// The ring of these peers.
    pub(super) fn new<'a>(peers: impl Iterator<Item = &'a PeerSettings>) -> Ring {
        let mut points = Vec::new();
        let mut servers: Vec<Vec<u32>> = Vec::new();
        let mut known = ahash::AHashMap::new();
        for (at, peer) in peers.enumerate() {
            let server = *known.entry(&*peer.server).or_insert_with(|| {
                servers.push(Vec::new());
                servers.len() as u32 - 1
            });
            servers[server as usize].push(at as u32);
            let start = start(&peer.server);
            let mut before = 0_u32;
            for _ in 0..POINTS * u64::from(peer.weight) {
                let mut crc = start;
                crc.update(&before.to_le_bytes());
                before = crc.value();
                points.push((before, server));
            }
        }
        points.sort_by_key(|(hash, _)| *hash);
        points.dedup_by_key(|(hash, _)| *hash);
        Ring { points, servers }
    }

    /// The peer that the key leads to: of the server at the first point that is not before its hash,
    /// or at one of the next. After [`REHASH_MAX`] points nobody is chosen, and it is round robin's turn.
    pub(super) fn choose(&self, set: &mut Set, search: &mut Search<'_>) -> Option<usize> {
        while let Some(trail) = search.tried.trail()
            && trail.misses <= REHASH_MAX
        {
            if trail.rehashes == 0 {
                let mut crc = Crc32::default();
                crc.update(&trail.key);
                let hash = crc.value();
                trail.hash = self.points.partition_point(|(point, _)| *point < hash) as u32;
                trail.rehashes = 1;
            }
            let at = (trail.hash as usize).checked_rem(self.points.len())?;
            let (_, server) = *self.points.get(at)?;
            let chosen = set.turn_among(self.servers.get(server as usize)?, search);
            if chosen.is_some() {
                return chosen;
            }
            if let Some(trail) = search.tried.trail() {
                trail.hash = trail.hash.wrapping_add(1);
            }
            search.miss();
        }
        None
    }
}

/// What the hashes of a server begin with: its host and its port, if that is written.
fn start(server: &str) -> Crc32 {
    let is_unix = server.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("unix:"));
    let (host, port) = match server.rsplit_once(':') {
        _ if is_unix => (&server[5..], ""),
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        _ => (server, ""),
    };
    let mut crc = Crc32::default();
    crc.update(host.as_bytes());
    crc.update(b"\0");
    crc.update(port.as_bytes());
    crc
}
