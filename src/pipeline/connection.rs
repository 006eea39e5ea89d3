//! What is known of a client's connection for as long as it lasts.

use crate::base::address::Address;
use crate::base::clock;
use crate::http::proxy_protocol::Header;
use crate::net::stream::{Stream, WeakStream};
use crate::net::tls::handshake::Facts;
use std::cell::{Cell, OnceCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Instant;

/// A client's connection.
pub struct Connection {
    /// What requests come by, once they can, and which these facts may outlive.
    pub stream: OnceCell<WeakStream>,
    /// Its TLS session, where it has one: the same for all requests.
    pub tls: OnceCell<Rc<Facts>>,
    /// TCP_NODELAY is set, or not wanted (`tcp_nodelay off`).
    pub nodelay: Cell<bool>,
    /// Its number in this worker, as logs show it (`*17`).
    pub number: u64,
    /// Who is at the other end of the socket; `None` on a Unix socket.
    pub accepted_from: Option<SocketAddr>,
    /// What the PROXY protocol said of it, where its address speaks that.
    pub proxied: OnceCell<Box<Header>>,
    /// Where it was accepted: for a wildcard listener, the address the client used.
    pub local: Address,
    /// When it was accepted.
    pub started: Instant,
    /// Requests read from it so far.
    pub requests: Cell<u64>,
    /// The number of the generation in force when it was accepted, or began its latest request.
    pub generation: Cell<u64>,
    /// Whether it may go on.
    pub life: Cell<Life>,
    /// It speaks HTTP/2.
    pub http2: Cell<bool>,
}

/// The facts of a connection that goes on at another shard.
pub struct Luggage {
    nodelay: bool,
    number: u64,
    accepted_from: Option<SocketAddr>,
    proxied: Option<Box<Header>>,
    local: Address,
    started: Instant,
    requests: u64,
}

/// Whether a connection may go on (`worker_shutdown_timeout`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Life {
    /// It may.
    #[default]
    Goes,
    /// It has to end: no more is read from the client.
    Called,
    /// It should have ended: its task is dropped.
    Over,
}

impl Connection {
    /// One that was just accepted.
    pub fn accepted(number: u64, from: Option<SocketAddr>, local: Address, generation: u64) -> Connection {
        let (nodelay, proxied, requests) = (false, None, 0);
        let started = clock::now();
        let facts = Luggage { nodelay, number, accepted_from: from, proxied, local, started, requests };
        Connection::unpacked(facts, generation)
    }

    /// One that comes from another shard. It has not begun a request since the last reload.
    pub fn moved(luggage: Luggage, generation: u64) -> Connection {
        Connection::unpacked(luggage, generation.saturating_sub(1))
    }

    fn unpacked(luggage: Luggage, generation: u64) -> Connection {
        let Luggage { nodelay, number, accepted_from, proxied, local, started, requests } = luggage;
        Connection {
            stream: OnceCell::new(),
            tls: OnceCell::new(),
            nodelay: Cell::new(nodelay),
            number,
            accepted_from,
            proxied: proxied.map_or_else(OnceCell::new, OnceCell::from),
            local,
            started,
            requests: Cell::new(requests),
            generation: Cell::new(generation),
            life: Cell::new(Life::Goes),
            http2: Cell::new(false),
        }
    }

    /// What another shard has to know of it: it is in clear text and speaks HTTP/1, if anything yet.
    pub fn luggage(&self) -> Luggage {
        Luggage {
            nodelay: self.nodelay.get(),
            number: self.number,
            accepted_from: self.accepted_from,
            proxied: self.proxied.get().cloned(),
            local: self.local.clone(),
            started: self.started,
            requests: self.requests.get(),
        }
    }

    /// What requests come by, as long as it is open.
    pub fn client(&self) -> Option<Stream> {
        self.stream.get().and_then(WeakStream::upgrade)
    }

    /// Whether it is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.tls.get().is_some()
    }

    /// The facts for one request of several at a time: what changes with a request is its own.
    pub fn for_stream(&self) -> Connection {
        Connection {
            stream: self.stream.clone(),
            tls: self.tls.clone(),
            nodelay: self.nodelay.clone(),
            number: self.number,
            accepted_from: self.accepted_from,
            proxied: self.proxied.clone(),
            local: self.local.clone(),
            started: self.started,
            requests: self.requests.clone(),
            generation: self.generation.clone(),
            life: Cell::new(Life::Goes),
            http2: self.http2.clone(),
        }
    }

    /// Sets TCP_NODELAY, once. As in nginx that waits until the connection is kept alive or an
    /// answer takes several sends: one send leaves at once anyway.
    pub fn set_nodelay(&self, stream: &Stream) {
        if !self.nodelay.replace(true) {
            stream.set_nodelay();
        }
    }

    /// The local TCP port; 0 on a Unix socket.
    pub fn local_port(&self) -> u16 {
        match &self.local {
            Address::Ip(ip) => ip.port(),
            Address::Unix(_) => 0,
        }
    }
}

/// Appends a peer's address as text: `unix:` for one on a Unix socket.
pub fn push_peer(out: &mut Vec<u8>, peer: Option<SocketAddr>) {
    match peer {
        Some(peer) => push_ip(out, peer.ip()),
        None => out.extend_from_slice(b"unix:"),
    }
}

/// Appends an address as text, without a `String` between.
pub fn push_ip(out: &mut Vec<u8>, ip: IpAddr) {
    use std::io::Write;
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            for (i, part) in [a, b, c, d].into_iter().enumerate() {
                if i > 0 {
                    out.push(b'.');
                }
                push_decimal(out, u64::from(part));
            }
        }
        // Writing to a Vec cannot fail.
        IpAddr::V6(v6) => drop(write!(out, "{v6}")),
    }
}

/// Appends a number in decimal.
pub fn push_decimal(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(decimal(n, &mut [0u8; 20]));
}

/// A number in decimal, in memory of the caller's.
pub fn decimal(mut n: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    &digits[at..]
}

/// Appends milliseconds as nginx prints times: seconds with three decimals.
pub fn push_seconds(out: &mut Vec<u8>, ms: u64) {
    push_decimal(out, ms / 1000);
    let rest = ms % 1000;
    out.extend_from_slice(&[
        b'.',
        b'0' + (rest / 100) as u8,
        b'0' + (rest / 10 % 10) as u8,
        b'0' + (rest % 10) as u8,
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_addresses_as_text() {
        let mut out = Vec::new();
        push_decimal(&mut out, 0);
        out.push(b' ');
        push_decimal(&mut out, u64::MAX);
        out.push(b' ');
        push_seconds(&mut out, 12_034);
        out.push(b' ');
        push_ip(&mut out, "127.0.0.1".parse().expect("literal"));
        assert_eq!(out, b"0 18446744073709551615 12.034 127.0.0.1");
    }
}
