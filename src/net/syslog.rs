//! One syslog server: messages as datagrams in the form of RFC 3164, as nginx writes them.
//!
//! ```text
//! <190>Nov 22 18:00:00 host nginx: message      facility * 8 + severity; host unless nohostname
//! ```
//!
//! A message that cannot be sent at once is dropped and counted: a log must not hold up what it
//! reports on. The server may come and go: after a failure the socket is connected anew.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use crate::base::address::Address;
use crate::base::process_settings::{Level, Syslog};
use crate::http::date;
use crate::net::error_log::OsError;
use crate::net::timezone::utc_offset_s;

/// Seconds between two lines about one server or file that takes nothing: as often as nginx says that a
/// log cannot be written.
pub const NOTE_EVERY_S: u64 = 60;

/// A socket to one syslog server, opened by the first message. Threads may share it.
#[derive(Debug)]
pub struct SyslogSocket {
    to: Syslog,
    /// This host's name, or nothing with `nohostname`.
    hostname: String,
    socket: OnceLock<OwnedFd>,
    /// The socket is connected, as far as is known.
    connected: AtomicBool,
    dropped: AtomicU64,
    noted: Noted,
}

/// Why a message was not sent.
#[derive(Debug)]
pub struct Failure<'s> {
    call: &'static str,
    error: io::Error,
    server: &'s str,
}

impl SyslogSocket {
    /// A socket for messages to `to`; nothing is opened yet.
    pub fn new(to: Syslog) -> SyslogSocket {
        let hostname = if to.hostname {
            rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase()
        } else {
            String::new()
        };
        SyslogSocket {
            to,
            hostname,
            socket: OnceLock::new(),
            connected: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            noted: Noted::default(),
        }
    }

    /// Appends what stands before a message of this severity.
    pub fn begin(&self, severity: Level, out: &mut Vec<u8>) {
        // Severities count from 0, levels from 1.
        let priority = u32::from(self.to.facility) * 8 + (severity as u32 - 1);
        out.push(b'<');
        out.extend_from_slice(priority.to_string().as_bytes());
        out.push(b'>');
        let now = unix_second() as i64;
        out.extend_from_slice(&date::syslog(now, utc_offset_s(now)));
        if self.to.hostname {
            out.push(b' ');
            out.extend_from_slice(self.hostname.as_bytes());
        }
        out.push(b' ');
        out.extend_from_slice(self.to.tag.as_bytes());
        out.extend_from_slice(b": ");
    }

    /// The severity of messages that have none of their own: `severity=`.
    pub fn severity(&self) -> Level {
        self.to.severity
    }

    /// Sends a message as one datagram, without waiting. A server that is not there yet, or again,
    /// is tried a second time at once.
    ///
    /// # Errors
    /// The call that failed; the message is dropped and counted.
    pub fn send(&self, message: &[u8]) -> Result<(), Failure<'_>> {
        let sent = match self.try_send(message) {
            // The error is that of an earlier datagram, or of a server that has been replaced.
            Err((_, error)) if error.raw_os_error().is_some_and(is_worth_another) => self.try_send(message),
            sent => sent,
        };
        sent.map_err(|(call, error)| {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            Failure { call, error, server: &self.to.name }
        })
    }

    /// Messages that were not sent.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Whether a failure is to be logged: once in [`NOTE_EVERY_S`].
    pub fn is_due(&self) -> bool {
        self.noted.is_due()
    }

    fn try_send(&self, message: &[u8]) -> Result<(), (&'static str, io::Error)> {
        let socket = self.socket().map_err(|error| ("socket()", error))?;
        if !self.connected.load(Ordering::Relaxed) {
            connect(socket, &self.to.server).map_err(|error| ("connect()", error))?;
            self.connected.store(true, Ordering::Relaxed);
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match rustix::io::retry_on_intr(|| rustix::net::send(socket, message, flags)) {
            Ok(_) => Ok(()),
            // A queue that is full does not need another socket.
            Err(error @ rustix::io::Errno::AGAIN) => Err(("send()", error.into())),
            Err(error) => {
                self.connected.store(false, Ordering::Relaxed);
                Err(("send()", error.into()))
            }
        }
    }

    fn socket(&self) -> io::Result<&OwnedFd> {
        if let Some(socket) = self.socket.get() {
            return Ok(socket);
        }
        let family = match &self.to.server {
            Address::Ip(ip) if ip.is_ipv4() => AddressFamily::INET,
            Address::Ip(_) => AddressFamily::INET6,
            Address::Unix(_) => AddressFamily::UNIX,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
        // Of two threads that were here at once, one's socket is closed again.
        Ok(self.socket.get_or_init(|| socket))
    }
}

impl fmt::Display for Failure<'_> {
    /// nginx's words: `send() failed (111: Connection refused) while logging to syslog, server: S`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { call, error, server } = self;
        write!(f, "{call} failed {} while logging to syslog, server: {server}", OsError(error))
    }
}

/// When something was logged last that would else be logged for every request.
#[derive(Debug, Default)]
pub struct Noted(AtomicU64);

impl Noted {
    /// Whether it is to be logged now; true for one caller in [`NOTE_EVERY_S`].
    pub fn is_due(&self) -> bool {
        let (now, last) = (unix_second(), self.0.load(Ordering::Relaxed));
        (last == 0 || now.abs_diff(last) >= NOTE_EVERY_S)
            && self.0.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

fn connect(socket: &OwnedFd, server: &Address) -> io::Result<()> {
    match server {
        Address::Ip(ip) => rustix::net::connect(socket, ip)?,
        Address::Unix(path) => rustix::net::connect(socket, &SocketAddrUnix::new(path.as_path())?)?,
    }
    Ok(())
}

/// A refused datagram is told by the call after it; a Unix server that was started again has
/// another socket under the same name.
fn is_worth_another(code: i32) -> bool {
    matches!(code, libc::ECONNREFUSED | libc::ENOTCONN | libc::ECONNRESET | libc::EDESTADDRREQ)
}

fn unix_second() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs().max(1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::net::UdpSocket;
    use std::os::unix::net::UnixDatagram;
    use std::time::Duration;

    fn syslog(server: Address) -> Syslog {
        Syslog {
            name: server.to_string(),
            server,
            facility: 23,
            severity: Level::Info,
            tag: "nginx".to_owned(),
            hostname: false,
        }
    }

    #[test]
    fn a_message_begins_as_rfc_3164_says() {
        let mut to = syslog(Address::Ip("127.0.0.1:514".parse().unwrap()));
        let mut out = Vec::new();
        SyslogSocket::new(to.clone()).begin(Level::Info, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("<190>") && text.ends_with(" nginx: ") && text.len() == 28, "{text}");
        (to.facility, to.hostname, to.tag) = (0, true, "a".to_owned());
        let mut out = Vec::new();
        SyslogSocket::new(to).begin(Level::Emerg, &mut out);
        let host = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("<0>") && text.ends_with(&format!(" {host} a: ")), "{text}");
    }

    #[test]
    fn a_server_that_is_not_there_is_found_when_it_comes() {
        let gone = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = gone.local_addr().unwrap();
        drop(gone);
        let socket = SyslogSocket::new(syslog(Address::Ip(address)));
        for _ in 0..4 {
            let _ = socket.send(b"lost");
        }
        let server = UdpSocket::bind(address).unwrap();
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.send(b"found").unwrap();
        let mut room = [0; 16];
        let length = server.recv(&mut room).unwrap();
        assert_eq!(&room[..length], b"found");
    }

    #[test]
    fn a_unix_server_may_be_started_again() {
        let path = std::env::temp_dir().join(format!("octroi-syslog-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let socket = SyslogSocket::new(syslog(Address::Unix(path.clone())));
        let failure = socket.send(b"lost").unwrap_err().to_string();
        let shown = path.display();
        assert_eq!(
            failure,
            format!(
                "connect() failed (2: No such file or directory) while logging to syslog, server: unix:{shown}"
            )
        );
        assert_eq!((socket.dropped(), socket.is_due(), socket.is_due()), (1, true, false));
        for round in [b"one", b"two"] {
            let server = UnixDatagram::bind(&path).unwrap();
            socket.send(round).unwrap();
            let mut room = [0; 16];
            let length = server.recv(&mut room).unwrap();
            assert_eq!(&room[..length], round);
            std::fs::remove_file(&path).unwrap();
        }
        assert_eq!(socket.dropped(), 1);
    }

    #[test]
    fn a_full_queue_is_not_waited_for() {
        let path = std::env::temp_dir().join(format!("octroi-syslog-full-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let server = UnixDatagram::bind(&path).unwrap();
        let socket = SyslogSocket::new(syslog(Address::Unix(path.clone())));
        let sent = (0..100_000).take_while(|_| socket.send(&[b'x'; 1000]).is_ok()).count();
        assert!(sent < 100_000 && socket.dropped() == 1, "{sent}");
        server.recv(&mut [0; 1000]).unwrap();
        socket.send(b"again").unwrap();
        std::fs::remove_file(&path).unwrap();
    }
}
