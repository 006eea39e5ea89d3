//! One listening socket: made, bound and given the options of its `listen`.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with, sockopt,
};

use super::os::set_socket_option;
use crate::base::address::{Address, Listen, TcpKeepalive};
use crate::net::error_log::OsError;

/// Permissions of a Unix socket: anyone may connect, as in nginx; its folder says who gets there.
const UNIX_SOCKET_MODE: u32 = 0o666;

/// Seconds that `deferred` lets a connection wait for its first bytes: nginx asks for 1, which the
/// kernel rounds up to its first retransmission.
const DEFER_ACCEPT_S: i32 = 1;

/// Why a socket could not be made, in nginx's words.
#[derive(Debug)]
pub struct Failure {
    call: String,
    error: io::Error,
}

impl Failure {
    /// True when the address is taken, which may pass.
    pub fn is_taken(&self) -> bool {
        self.error.kind() == io::ErrorKind::AddrInUse
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed {}", self.call, OsError(&self.error))
    }
}

/// Finds out whether an address is free, and leaves nothing behind. SO_REUSEPORT would let us
/// share a port with another process that set it too, so this does without.
///
/// # Errors
/// What keeps it from being bound.
pub fn probe(wanted: &Listen) -> Result<(), Failure> {
    let socket = bound(wanted, false)?;
    listening(&socket, wanted)?;
    if let Address::Unix(path) = &wanted.address {
        // It was bound here, so it is ours to remove; if that fails, whoever binds it next says so.
        let _ = fs::remove_file(path);
    }
    Ok(())
}

/// A listening socket (of a SO_REUSEPORT group, for TCP), and what the kernel refused of its
/// options, for the log.
///
/// # Errors
/// What keeps it from listening.
pub fn open(wanted: &Listen) -> Result<(OwnedFd, Vec<String>), Failure> {
    let socket = bound(wanted, true)?;
    let mut refused = options(&socket, wanted);
    if let Address::Unix(path) = &wanted.address
        && let Err(error) = fs::set_permissions(path, fs::Permissions::from_mode(UNIX_SOCKET_MODE))
    {
        refused.push(format!("chmod() \"{}\" failed {}", path.display(), OsError(&error)));
    }
    listening(&socket, wanted)?;
    Ok((socket, refused))
}

/// Gives a socket that already listens the options of a new configuration; what the kernel refuses
/// comes back for the log.
pub fn configure(socket: &OwnedFd, wanted: &Listen) -> Vec<String> {
    let mut refused = options(socket, wanted);
    refused.extend(listening(socket, wanted).err().map(|failure| format!("{failure}, ignored")));
    refused
}

/// The address of a listening socket that another program has bound, made ready to be one of a group.
///
/// # Errors
/// What is neither an IP nor a Unix socket with a path.
pub fn adopt(socket: &OwnedFd) -> io::Result<Address> {
    let name = rustix::net::getsockname(socket)?;
    if let Ok(ip) = SocketAddr::try_from(name.clone()) {
        // nginx has sockets without it; more of them can join once it is set.
        sockopt::set_socket_reuseport(socket, true)?;
        return Ok(Address::Ip(ip));
    }
    let unix = SocketAddrUnix::try_from(name)?;
    let path = unix.path().ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok(Address::Unix(PathBuf::from(OsStr::from_bytes(path.to_bytes()))))
}

fn bound(wanted: &Listen, grouped: bool) -> Result<OwnedFd, Failure> {
    let address = &wanted.address;
    let failed = |call: String| move |error: rustix::io::Errno| Failure { call, error: error.into() };
    let family = match address {
        Address::Ip(ip) if ip.is_ipv4() => AddressFamily::INET,
        Address::Ip(_) => AddressFamily::INET6,
        Address::Unix(_) => AddressFamily::UNIX,
    };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(failed(format!("socket() {address}")))?;
    let bind_failed = failed(format!("bind() to {address}"));
    match address {
        Address::Ip(ip) => {
            sockopt::set_socket_reuseaddr(&socket, true)
                .map_err(failed(format!("setsockopt(SO_REUSEADDR) {address}")))?;
            if grouped {
                sockopt::set_socket_reuseport(&socket, true)
                    .map_err(failed(format!("setsockopt(SO_REUSEPORT) {address}")))?;
            }
            if ip.is_ipv6() {
                sockopt::set_ipv6_v6only(&socket, wanted.options.ipv6only)
                    .map_err(failed(format!("setsockopt(IPV6_V6ONLY) {address}")))?;
            }
            bind(&socket, ip).map_err(bind_failed)?;
        }
        Address::Unix(path) => {
            // As in nginx, a file that is already there is an error, even if nobody listens on it.
            SocketAddrUnix::new(path.as_path()).and_then(|path| bind(&socket, &path)).map_err(bind_failed)?;
        }
    }
    Ok(socket)
}

fn listening(socket: &OwnedFd, wanted: &Listen) -> Result<(), Failure> {
    let backlog = wanted.options.backlog;
    listen(socket, backlog).map_err(|error| Failure {
        call: format!("listen() to {}, backlog {backlog}", wanted.address),
        error: error.into(),
    })
}

/// Sets what `listen` asks for; the refusals, as nginx words them.
fn options(socket: &OwnedFd, wanted: &Listen) -> Vec<String> {
    let asked = &wanted.options;
    let mut refused = Vec::new();
    let mut note = |name: &str, result: io::Result<()>| {
        if let Err(error) = result {
            let (address, error) = (&wanted.address, OsError(&error));
            refused.push(format!("setsockopt({name}) {address} failed, ignored {error}"));
        }
    };
    let tcp = |option, value| set_socket_option(socket, libc::IPPROTO_TCP, option, value);
    if let Some(bytes) = asked.rcvbuf {
        note("SO_RCVBUF", sockopt::set_socket_recv_buffer_size(socket, bytes as usize).map_err(Into::into));
    }
    if let Some(bytes) = asked.sndbuf {
        note("SO_SNDBUF", sockopt::set_socket_send_buffer_size(socket, bytes as usize).map_err(Into::into));
    }
    if let Address::Unix(_) = wanted.address {
        return refused;
    }
    if let Some(keepalive) = asked.keepalive {
        note("SO_KEEPALIVE", set_keepalive(socket, keepalive));
    }
    if let Some(queue) = asked.fastopen {
        note("TCP_FASTOPEN", tcp(libc::TCP_FASTOPEN, i32::try_from(queue).unwrap_or(i32::MAX)));
    }
    // Accepted connections inherit it, so on a socket that is kept it also has to be taken back.
    if asked.deferred || set_before(socket) {
        let seconds = if asked.deferred { DEFER_ACCEPT_S } else { 0 };
        note("TCP_DEFER_ACCEPT", tcp(libc::TCP_DEFER_ACCEPT, seconds));
    }
    refused
}

/// Whether the socket listens already: only then can an option be left from before.
fn set_before(socket: &OwnedFd) -> bool {
    sockopt::socket_acceptconn(socket).unwrap_or(false)
}

fn set_keepalive(socket: &OwnedFd, keepalive: TcpKeepalive) -> io::Result<()> {
    sockopt::set_socket_keepalive(socket, keepalive.on)?;
    if let Some(seconds) = keepalive.idle_s {
        sockopt::set_tcp_keepidle(socket, Duration::from_secs(seconds.into()))?;
    }
    if let Some(seconds) = keepalive.interval_s {
        sockopt::set_tcp_keepintvl(socket, Duration::from_secs(seconds.into()))?;
    }
    if let Some(count) = keepalive.count {
        sockopt::set_tcp_keepcnt(socket, count)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::base::address::ListenOptions;
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    fn listen_on(address: Address) -> Listen {
        Listen { address, options: ListenOptions::default() }
    }

    #[test]
    fn a_taken_port_is_found_and_named_as_nginx_names_it() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = listen_on(Address::Ip(other.local_addr().unwrap()));
        let failure = probe(&taken).unwrap_err();
        assert!(failure.is_taken());
        assert_eq!(
            failure.to_string(),
            format!("bind() to {} failed (98: Address already in use)", taken.address)
        );
    }

    #[test]
    fn a_port_shared_by_reuseport_is_found_too() {
        let (first, _) = open(&listen_on(Address::Ip("127.0.0.1:0".parse().unwrap()))).unwrap();
        let address: SocketAddr = rustix::net::getsockname(&first).unwrap().try_into().unwrap();
        let same = listen_on(Address::Ip(address));
        let (_second, _) = open(&same).unwrap();
        assert!(probe(&same).unwrap_err().is_taken());
        TcpStream::connect(address).unwrap();
    }

    #[test]
    fn options_reach_the_socket() {
        let keepalive = TcpKeepalive { on: true, idle_s: Some(30), interval_s: Some(5), count: Some(3) };
        let options = ListenOptions {
            rcvbuf: Some(65_536),
            sndbuf: Some(65_536),
            keepalive: Some(keepalive),
            deferred: true,
            ..ListenOptions::default()
        };
        let wanted = Listen { address: Address::Ip("[::1]:0".parse().unwrap()), options };
        let (socket, refused) = open(&wanted).unwrap();
        assert_eq!(refused, Vec::<String>::new());
        assert!(sockopt::ipv6_v6only(&socket).unwrap() && sockopt::socket_keepalive(&socket).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&socket).unwrap(), Duration::from_secs(30));
        assert_eq!(sockopt::socket_recv_buffer_size(&socket).unwrap(), 2 * 65_536);
        assert_eq!(configure(&socket, &wanted), Vec::<String>::new());
    }

    #[test]
    fn a_unix_socket_is_open_to_all_and_a_stale_file_is_an_error() {
        let path = std::env::temp_dir().join(format!("octroi-socket-{}", std::process::id()));
        let wanted = listen_on(Address::Unix(path.clone()));
        probe(&wanted).unwrap();
        assert!(!path.exists());
        let (socket, refused) = open(&wanted).unwrap();
        assert!(refused.is_empty());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, UNIX_SOCKET_MODE);
        UnixStream::connect(&path).unwrap();
        let copy = socket.as_fd().try_clone_to_owned().unwrap();
        drop((socket, copy));
        assert!(open(&wanted).unwrap_err().is_taken());
        fs::remove_file(&path).unwrap();
        let long = listen_on(Address::Unix("/tmp/".to_owned().into_boxed_str().repeat(40).into()));
        assert!(open(&long).unwrap_err().to_string().starts_with("bind() to unix:/tmp/"));
    }
}
