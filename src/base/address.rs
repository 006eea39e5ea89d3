//! Where a socket listens or connects: an IP address with a port, or a Unix socket's path.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// An address to listen on or to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// TCP over IPv4 or IPv6.
    Ip(SocketAddr),
    /// A Unix stream socket, named by its path.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    /// As nginx prints it: `127.0.0.1:80`, `[::1]:80`, `unix:/run/a.sock`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(ip) => write!(f, "{ip}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The socket options of one listening address, as `listen` gives them.
/// `None` leaves the kernel's default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    /// `backlog=`: length of the queue of pending connections (nginx's default on Linux is 511).
    pub backlog: i32,
    /// `rcvbuf=`: SO_RCVBUF in bytes.
    pub rcvbuf: Option<u32>,
    /// `sndbuf=`: SO_SNDBUF in bytes.
    pub sndbuf: Option<u32>,
    /// `so_keepalive=`.
    pub keepalive: Option<TcpKeepalive>,
    /// `ipv6only=`; nginx's default is on.
    pub ipv6only: bool,
    /// `fastopen=`: the queue of TCP Fast Open (RFC 7413).
    pub fastopen: Option<u32>,
    /// `deferred`: TCP_DEFER_ACCEPT.
    pub deferred: bool,
}

impl Default for ListenOptions {
    fn default() -> Self {
        ListenOptions {
            backlog: 511,
            rcvbuf: None,
            sndbuf: None,
            keepalive: None,
            ipv6only: true,
            fastopen: None,
            deferred: false,
        }
    }
}

/// `so_keepalive=on|off|[keepidle]:[keepintvl]:[keepcnt]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpKeepalive {
    /// SO_KEEPALIVE on or off.
    pub on: bool,
    /// TCP_KEEPIDLE, seconds.
    pub idle_s: Option<u32>,
    /// TCP_KEEPINTVL, seconds.
    pub interval_s: Option<u32>,
    /// TCP_KEEPCNT.
    pub count: Option<u32>,
}

/// One address the configuration asks to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Where.
    pub address: Address,
    /// How.
    pub options: ListenOptions,
}
