//! `Location` for redirects to this server itself: absolute, unless `absolute_redirect off`.

use super::connection::{push_decimal, push_ip};
use super::exchange::Exchange;
use crate::base::address::Address;
use std::net::IpAddr;

/// The port that the scheme of a plain connection implies.
const HTTP_PORT: u16 = 80;

/// That of an encrypted one.
const HTTPS_PORT: u16 = 443;

/// Appends the value of `Location` for `path`, which is escaped already and may have arguments. A
/// path that does not begin with `/` is a URL, and stays as it is.
pub fn location(x: &Exchange, path: &[u8], out: &mut Vec<u8>) {
    let settings = &x.here.settings;
    if !settings.absolute_redirect || path.first() != Some(&b'/') {
        out.extend_from_slice(path);
        return;
    }
    let is_encrypted = x.connection.is_encrypted();
    out.extend_from_slice(if is_encrypted { b"https://" } else { b"http://" });
    let name = settings.server.name.as_bytes();
    if settings.server_name_in_redirect && !name.is_empty() {
        out.extend_from_slice(name);
    } else if !x.host.is_empty() {
        out.extend_from_slice(&x.host);
    } else {
        push_local(&x.connection.local, out);
    }
    let port = x.connection.local_port();
    if settings.port_in_redirect && port != 0 && port != if is_encrypted { HTTPS_PORT } else { HTTP_PORT } {
        out.push(b':');
        push_decimal(out, u64::from(port));
    }
    out.extend_from_slice(path);
}

/// The address the client connected to, for a request that names no host.
fn push_local(local: &Address, out: &mut Vec<u8>) {
    match local {
        Address::Ip(address) => match address.ip() {
            v4 @ IpAddr::V4(_) => push_ip(out, v4),
            v6 => {
                out.push(b'[');
                push_ip(out, v6);
                out.push(b']');
            }
        },
        // A socket in the file system has no name that a client could go to.
        Address::Unix(_) => out.extend_from_slice(b"localhost"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_request_without_host_gets_the_address() {
        for (address, want) in [("127.0.0.1:8080", "127.0.0.1"), ("[::1]:80", "[::1]")] {
            let mut out = Vec::new();
            push_local(&Address::Ip(address.parse().unwrap()), &mut out);
            assert_eq!(out, want.as_bytes());
        }
    }
}
