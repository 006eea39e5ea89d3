//! The client's connection, and the host and process that serve it.

use crate::base::address::Address;
use crate::net::stream::TcpInfo;
use crate::pipeline::connection::{push_decimal, push_ip};
use crate::pipeline::exchange::Exchange;
use std::cell::Cell;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;

/// The nginx whose behaviour is followed; configurations and scripts compare it.
pub const NGINX_VERSION: &str = "1.31.5";

pub(super) fn remote_addr(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    x.peer_text(out);
    true
}

pub(super) fn remote_port(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    push_port(x.peer().map_or(0, |peer| peer.port()), out)
}

pub(super) fn binary_remote_addr(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    match x.peer().map(|peer| peer.ip()) {
        Some(IpAddr::V4(ip)) => out.extend_from_slice(&ip.octets()),
        Some(IpAddr::V6(ip)) => out.extend_from_slice(&ip.octets()),
        None => x.peer_text(out),
    }
    true
}

pub(super) fn server_addr(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    match &x.connection.local {
        Address::Ip(ip) => push_ip(out, ip.ip()),
        Address::Unix(path) => {
            out.extend_from_slice(b"unix:");
            out.extend_from_slice(path.as_os_str().as_bytes());
        }
    }
    true
}

pub(super) fn server_port(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    push_port(x.connection.local_port(), out)
}

/// Appends a port; a Unix socket has none, and the value is empty.
pub(crate) fn push_port(port: u16, out: &mut Vec<u8>) -> bool {
    if port > 0 {
        push_decimal(out, u64::from(port));
    }
    true
}

/// Appends one figure of TCP_INFO; a Unix socket has none.
fn tcpinfo(x: &Exchange, out: &mut Vec<u8>, figure: fn(&TcpInfo) -> u32) -> bool {
    let info = x.connection.client().and_then(|stream| stream.tcp_info());
    if let Some(info) = &info {
        push_decimal(out, u64::from(figure(info)));
    }
    info.is_some()
}

pub(super) fn tcpinfo_rtt(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    tcpinfo(x, out, |info| info.rtt_us)
}

pub(super) fn tcpinfo_rttvar(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    tcpinfo(x, out, |info| info.rttvar_us)
}

pub(super) fn tcpinfo_snd_cwnd(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    tcpinfo(x, out, |info| info.snd_cwnd)
}

pub(super) fn tcpinfo_rcv_space(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    tcpinfo(x, out, |info| info.rcv_space)
}

pub(super) fn number(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    push_decimal(out, x.connection.number);
    true
}

pub(super) fn requests(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    push_decimal(out, x.connection.requests.get());
    true
}

pub(super) fn hostname(_: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(host_name());
    true
}

/// The name of this host in lower case; empty if the system does not tell. Asked for once.
pub(super) fn host_name() -> &'static [u8] {
    static NAME: OnceLock<Vec<u8>> = OnceLock::new();
    NAME.get_or_init(|| {
        let name = std::fs::read("/proc/sys/kernel/hostname").unwrap_or_default();
        name.trim_ascii().to_ascii_lowercase()
    })
}

thread_local! {
    /// The process of this thread; 0 until it was asked for, which is a system call.
    static PID: Cell<u32> = const { Cell::new(0) };
}

pub(super) fn pid(_: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    if PID.get() == 0 {
        PID.set(std::process::id());
    }
    push_decimal(out, u64::from(PID.get()));
    true
}

pub(super) fn nginx_version(_: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(NGINX_VERSION.as_bytes());
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_has_a_name() {
        let name = host_name();
        assert!(!name.is_empty() && !name.contains(&b'\n'));
        assert_eq!(name, name.to_ascii_lowercase());
    }

    #[test]
    fn a_unix_socket_has_no_port() {
        let mut out = Vec::new();
        assert!(push_port(0, &mut out) && out.is_empty());
        assert!(push_port(8080, &mut out));
        assert_eq!(out, b"8080");
    }
}
