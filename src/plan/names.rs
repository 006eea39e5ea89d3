//! Which server of a listening address a host name belongs to: exact names, then the longest
//! wildcard at the front, then the longest at the end, then regular expressions in order, then the
//! default server.

use crate::pipeline::exchange::Exchange;
use crate::pipeline::pattern::Groups;
use crate::pipeline::settings::PlacedPattern;
use ahash::AHashMap;
use std::sync::Arc;

/// The servers of one address by name.
#[derive(Default)]
pub struct Names {
    /// Connections to the address begin with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// They begin with a TLS handshake then.
    pub tls: bool,
    /// A `listen` of the address says `http2`.
    pub http2: bool,
    /// The server that takes what no name takes.
    pub default_server: usize,
    exact: AHashMap<Box<[u8]>, usize>,
    /// `*.example.com` as `.example.com`.
    heads: AHashMap<Box<[u8]>, usize>,
    /// `www.*` as `www.`.
    tails: AHashMap<Box<[u8]>, usize>,
    regexes: Vec<(Arc<PlacedPattern>, usize)>,
}

/// One name of a `server_name` line.
#[derive(Clone)]
pub enum Name {
    /// A whole name; the empty one is for requests without a host.
    Exact(String),
    /// Any name that ends so, beginning with a dot.
    Head(String),
    /// `.example.com`: the name without the dot, and any that ends so.
    HeadAndExact(String),
    /// Any name that begins so, ending with a dot.
    Tail(String),
    /// A regular expression.
    Regex(Arc<PlacedPattern>),
}

impl Names {
    /// No names yet; this server takes everything.
    pub fn new(default_server: usize) -> Names {
        Names { default_server, ..Names::default() }
    }

    /// Adds a name; false when this address had it already (the first one stays).
    pub fn insert(&mut self, name: &Name, server: usize) -> bool {
        use std::collections::hash_map::Entry;
        let (table, key) = match name {
            Name::Exact(name) => (&mut self.exact, name),
            Name::Head(name) => (&mut self.heads, name),
            Name::HeadAndExact(name) => {
                let exact = self.insert(&Name::Exact(name.trim_start_matches('.').to_owned()), server);
                return self.insert(&Name::Head(name.clone()), server) && exact;
            }
            Name::Tail(name) => (&mut self.tails, name),
            Name::Regex(pattern) => {
                self.regexes.push((pattern.clone(), server));
                return true;
            }
        };
        match table.entry(key.as_bytes().into()) {
            Entry::Occupied(taken) => *taken.get() == server,
            Entry::Vacant(free) => {
                free.insert(server);
                true
            }
        }
    }

    /// Every server of the address, in the order of the configuration.
    pub fn servers(&self) -> Vec<usize> {
        let tables = [&self.exact, &self.heads, &self.tails];
        let named = tables.into_iter().flat_map(|table| table.values().copied());
        let all = named.chain(self.regexes.iter().map(|(_, server)| *server)).chain([self.default_server]);
        let mut all: Vec<usize> = all.collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The server for `x.host`. A regular expression that decides leaves its groups in the exchange.
    pub fn find(&self, x: &mut Exchange) -> usize {
        let host = x.host.as_slice();
        if let Some(&server) = self.exact.get(host) {
            return server;
        }
        if host.is_empty() {
            return self.default_server;
        }
        if let Some(server) = self.wildcard(host) {
            return server;
        }
        for (placed, server) in &self.regexes {
            // A pattern that reaches its bound decides nothing; the next name may.
            if placed.search(x, host).unwrap_or(false) {
                return *server;
            }
        }
        self.default_server
    }

    /// The server that has a name for `host`, before there is a request; `None` if none has.
    pub fn known(&self, host: &[u8]) -> Option<usize> {
        if host.is_empty() {
            return None;
        }
        let matches =
            |placed: &PlacedPattern| placed.pattern.matches(host, &mut Groups::default()).unwrap_or(false);
        let by_regex = || self.regexes.iter().find(|(placed, _)| matches(placed)).map(|(_, server)| *server);
        self.exact.get(host).copied().or_else(|| self.wildcard(host)).or_else(by_regex)
    }

    fn wildcard(&self, host: &[u8]) -> Option<usize> {
        if !self.heads.is_empty() {
            // From the left, so that the longest wildcard wins; it stands for at least one label.
            let dots = host.iter().enumerate().skip(1).filter(|(_, b)| **b == b'.');
            for (dot, _) in dots {
                if let Some(&server) = self.heads.get(&host[dot..]) {
                    return Some(server);
                }
            }
        }
        if !self.tails.is_empty() {
            for (dot, _) in host.iter().enumerate().rev().filter(|(_, b)| **b == b'.') {
                if let Some(&server) = self.tails.get(&host[..=dot]) {
                    return Some(server);
                }
            }
        }
        None
    }
}
