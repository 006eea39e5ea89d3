//! Where an upstream's server is: the text of a `server` line or of a URL's authority.

use crate::base::address::Address;
use crate::plan::builder::Builder;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// How the address of a Unix socket begins.
pub const UNIX: &str = "unix:";

/// Bytes of a Unix socket's path at most: `sun_path` with its final NUL, unix(7).
const UNIX_PATH_MAX: usize = 107;

/// A server's address, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    /// The host as written: brackets and `unix:` belong to it.
    host: &'a str,
    port: Option<u16>,
    place: Place,
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    Ip(IpAddr),
    Unix(PathBuf),
    Name,
}

impl<'a> Authority<'a> {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// nginx's words for what is wrong.
    pub fn parse(text: &'a str) -> Result<Authority<'a>, &'static str> {
        if let Some(path) = text.strip_prefix(UNIX) {
            return match path.len() {
                0 => Err("no path in the unix domain socket"),
                1..=UNIX_PATH_MAX => {
                    Ok(Authority { host: text, port: None, place: Place::Unix(path.into()) })
                }
                _ => Err("too long path in the unix domain socket"),
            };
        }
        if text.contains(['/', '?']) {
            return Err("invalid host");
        }
        if let Some(rest) = text.strip_prefix('[') {
            let (inner, behind) = rest.split_once(']').ok_or("invalid host")?;
            let port = match behind.strip_prefix(':') {
                Some(digits) => Some(port(digits)?),
                None if behind.is_empty() => None,
                None => return Err("invalid host"),
            };
            if inner.is_empty() {
                return Err("no host");
            }
            let ip = inner.parse().map_err(|_| "invalid IPv6 address")?;
            let host = text.get(..inner.len() + 2).unwrap_or(text);
            return Ok(Authority { host, port, place: Place::Ip(IpAddr::V6(ip)) });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, digits)) => (host, Some(port(digits)?)),
            None => (text, None),
        };
        if host.is_empty() {
            return Err("no host");
        }
        let place = host.parse().map_or(Place::Name, |ip| Place::Ip(IpAddr::V4(ip)));
        Ok(Authority { host, port, place })
    }

    /// The host as written, without the port.
    pub fn host(&self) -> &'a str {
        self.host
    }

    /// The port, if one was written.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Its address, unless it is a name.
    pub fn literal(&self, default_port: u16) -> Option<Address> {
        match &self.place {
            Place::Ip(ip) => Some(Address::Ip(SocketAddr::new(*ip, self.port.unwrap_or(default_port)))),
            Place::Unix(path) => Some(Address::Unix(path.clone())),
            Place::Name => None,
        }
    }

    /// Its addresses: one for a literal, all of a name's. `default_port` is for one without.
    ///
    /// # Errors
    /// nginx's words for a name that has none.
    pub fn resolve(&self, b: &Builder<'_>, default_port: u16) -> Result<Vec<Address>, &'static str> {
        let port = self.port.unwrap_or(default_port);
        match &self.place {
            Place::Ip(ip) => Ok(vec![Address::Ip(SocketAddr::new(*ip, port))]),
            Place::Unix(path) => Ok(vec![Address::Unix(path.clone())]),
            Place::Name => {
                let found = b.resolve(self.host)?;
                Ok(found.into_iter().map(|ip| Address::Ip(SocketAddr::new(ip, port))).collect())
            }
        }
    }
}

fn port(digits: &str) -> Result<u16, &'static str> {
    let valid = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|&port| valid && port > 0).ok_or("invalid port")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn hosts_and_ports() {
        for (text, host, port) in [
            ("127.0.0.1:81", "127.0.0.1", Some(81)),
            ("127.0.0.1", "127.0.0.1", None),
            ("[::1]:81", "[::1]", Some(81)),
            ("[::1]", "[::1]", None),
            ("back_end.example:65535", "back_end.example", Some(65535)),
            ("unix:/a:b", "unix:/a:b", None),
        ] {
            let found = Authority::parse(text).unwrap();
            assert_eq!((found.host(), found.port()), (host, port), "{text}");
        }
        for (text, want) in [
            ("a:", "invalid port"),
            ("a:+1", "invalid port"),
            ("a:65536", "invalid port"),
            ("a:1:2", "invalid port"),
            ("[::1]x", "invalid host"),
            ("[]", "no host"),
            ("", "no host"),
        ] {
            assert_eq!(Authority::parse(text), Err(want), "{text}");
        }
        let long = format!("unix:/{}", "x".repeat(UNIX_PATH_MAX));
        assert_eq!(Authority::parse(&long), Err("too long path in the unix domain socket"));
    }
}
