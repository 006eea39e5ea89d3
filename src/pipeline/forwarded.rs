//! The way back from the other end of a connection to the client: each trusted proxy names who asked
//! it.

use crate::base::cidr::Cidr;
use std::net::{IpAddr, SocketAddr};

/// Whose word counts.
#[derive(Debug, Default)]
pub struct Trusted {
    /// Those of these networks.
    pub networks: Vec<Cidr>,
    /// Those at the other end of a Unix socket.
    pub unix: bool,
}

impl Trusted {
    /// Whether the word of this address counts; `None` is a Unix socket.
    fn holds(&self, address: Option<SocketAddr>) -> bool {
        match address {
            Some(address) => self.networks.iter().any(|network| network.contains(address.ip())),
            None => self.unix,
        }
    }
}

/// The client that `from` speaks for, `None` if nobody is named who may be believed. `values` are
/// those of the fields that name addresses, the last field first.
pub fn client<'v>(
    from: Option<SocketAddr>,
    values: impl Iterator<Item = &'v [u8]>,
    trusted: &Trusted,
    recursive: bool,
) -> Option<SocketAddr> {
    let mut client = None;
    for value in values {
        let mut rest = value;
        loop {
            if !trusted.holds(client.or(from)) {
                return client;
            }
            let Some((named, before)) = last(rest) else { return client };
            client = Some(named);
            if !recursive {
                return client;
            }
            match before {
                Some(before) => rest = before,
                None => break,
            }
        }
    }
    client
}

/// The last address of a list and what stands before it, `None` at its beginning.
fn last(list: &[u8]) -> Option<(SocketAddr, Option<&[u8]>)> {
    let separates = |byte: &u8| matches!(byte, b' ' | b',');
    let end = list.iter().rposition(|byte| !separates(byte))? + 1;
    let list = list.get(..end)?;
    let (text, before) = match list.iter().rposition(separates) {
        Some(at) => (list.get(at + 1..)?, list.get(..at)),
        None => (list, None),
    };
    Some((address(text)?, before))
}

/// An address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `::1`, `[::1]`, `[::1]:80`.
fn address(text: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    match bare.parse::<IpAddr>() {
        Ok(ip) => Some(SocketAddr::new(ip, 0)),
        Err(_) => text.parse::<SocketAddr>().ok().filter(|found| found.port() > 0),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn client(from: &str, fields: &[&str], recursive: bool) -> String {
        let trusted = |text: &str| Cidr::parse(text).unwrap().0;
        let trusted = Trusted { networks: vec![trusted("127.0.0.0/8"), trusted("::1")], unix: false };
        let values = fields.iter().rev().map(|field| field.as_bytes());
        let found = super::client(from.parse().ok(), values, &trusted, recursive);
        found.map_or_else(|| "-".to_owned(), |found| found.to_string())
    }

    #[test]
    fn the_last_address() {
        for (fields, want) in [
            (&["192.0.2.1"][..], "192.0.2.1:0"),
            (&["192.0.2.1, 192.0.2.2"], "192.0.2.2:0"),
            (&["192.0.2.1", "192.0.2.2:81"], "192.0.2.2:81"),
            (&["192.0.2.1,192.0.2.2 , "], "192.0.2.2:0"),
            (&["[2001:db8::1]:81"], "[2001:db8::1]:81"),
            (&["[2001:db8::1]"], "[2001:db8::1]:0"),
            (&["2001:db8::1"], "[2001:db8::1]:0"),
            (&["192.0.2.1, unknown"], "-"),
            (&["192.0.2.1:0"], "-"),
            (&["192.0.2.1:65536"], "-"),
            (&["[192.0.2.1]"], "192.0.2.1:0"),
            (&["", ""], "-"),
            (&[", ,"], "-"),
            (&[], "-"),
        ] {
            assert_eq!(client("127.0.0.1:5", fields, false), want, "{fields:?}");
        }
        assert_eq!(client("192.0.2.9:5", &["192.0.2.1"], false), "-");
        assert_eq!(client("unix:", &["192.0.2.1"], false), "-");
        let trusted = Trusted { networks: Vec::new(), unix: true };
        assert!(super::client(None, [b"192.0.2.1".as_slice()].into_iter(), &trusted, false).is_some());
    }

    #[test]
    fn the_last_address_that_is_no_proxys() {
        for (fields, want) in [
            (&["192.0.2.1, 127.0.0.2, 127.0.0.3"][..], "192.0.2.1:0"),
            (&["10.0.0.1, 192.0.2.1, 127.0.0.2"], "192.0.2.1:0"),
            (&["192.0.2.1", "127.0.0.2", "::1"], "192.0.2.1:0"),
            (&["10.0.0.1", "192.0.2.1", "127.0.0.3"], "192.0.2.1:0"),
            // All are proxies: the first of them.
            (&["127.0.0.2", "127.0.0.3"], "127.0.0.2:0"),
            // What is no address ends the way.
            (&["192.0.2.1, x, 127.0.0.2"], "127.0.0.2:0"),
            (&["192.0.2.1", "x", "127.0.0.2"], "127.0.0.2:0"),
            (&["192.0.2.1", "x"], "-"),
        ] {
            assert_eq!(client("127.0.0.1:5", fields, true), want, "{fields:?}");
        }
    }
}
