//! One shard's listening socket.

use super::runtime::Driver;
use super::stream::Stream;
use crate::base::address::Address;
use crate::base::clock;
pub use monoio::io::CancelHandle as StopHandle;
use monoio::io::Canceller;
use monoio::net::{TcpListener, UnixListener};
use rustix::event::{PollFd, PollFlags, Timespec};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A listening socket of this shard.
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// Unix.
    Unix(UnixListener),
}

/// Ends an accept loop: cancel it, then let the loop come to its end.
#[derive(Default)]
pub struct Stop(Canceller);

impl Stop {
    /// The loop's side.
    pub fn handle(&self) -> StopHandle {
        self.0.handle()
    }

    /// Makes the accept under way end, unless a connection had already come.
    pub fn stop(self) {
        drop(self.0.cancel());
    }
}

impl Listener {
    /// Takes over a bound, listening descriptor. io_uring waits in the kernel and wants it
    /// blocking; epoll wants it non-blocking.
    pub fn new(fd: OwnedFd, address: &Address, driver: Driver) -> io::Result<Listener> {
        let blocking = matches!(driver, Driver::IoUring { .. });
        rustix::io::ioctl_fionbio(fd.as_fd(), !blocking)?;
        Ok(match address {
            Address::Ip(_) => Listener::Tcp(TcpListener::from_std(std::net::TcpListener::from(fd))?),
            Address::Unix(_) => {
                Listener::Unix(UnixListener::from_std(std::os::unix::net::UnixListener::from(fd))?)
            }
        })
    }

    /// Whether a connection waits to be accepted.
    pub fn has_waiting(&self) -> bool {
        let socket = match self {
            Listener::Tcp(tcp) => tcp.as_raw_fd(),
            Listener::Unix(unix) => unix.as_raw_fd(),
        };
        // SAFETY: the descriptor is open as long as `self` is, which outlives the call.
        let socket = unsafe { BorrowedFd::borrow_raw(socket) };
        let mut look = [PollFd::new(&socket, PollFlags::IN)];
        let found = rustix::event::poll(&mut look, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        found.is_ok_and(|count| count > 0)
    }

    /// Accepts one connection. Never drop this future: monoio 0.2.4 would leak the descriptor of a
    /// connection that arrived meanwhile. Stop it through the handle; a connection that it returns
    /// even so must be served.
    pub async fn accept(&self, stop: StopHandle) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Listener::Tcp(tcp) => {
                let accepted = tcp.cancelable_accept(stop).await;
                clock::tick();
                let (stream, peer) = accepted?;
                Ok((Stream::from(stream), Some(peer)))
            }
            Listener::Unix(unix) => {
                let accepted = unix.cancelable_accept(stop).await;
                clock::tick();
                let (stream, _) = accepted?;
                Ok((Stream::from(stream), None))
            }
        }
    }
}
