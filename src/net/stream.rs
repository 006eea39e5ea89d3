//! A connected socket of a shard: TCP or Unix, or TLS over one of those, with the reads and writes the
//! data plane needs.

use crate::base::buffer::Buffer;
use crate::base::clock;
use crate::base::counters::{self, Count};
use crate::base::limits::{BUFFER_BYTES, SENDS_ALONE_MAX};
use crate::net::tls::Session;
use crate::net::tls::client::Identity;
use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{AsyncReadRent, AsyncWriteRent};
use monoio::net::{TcpStream, UnixStream};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, sockopt};
use std::cell::UnsafeCell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

/// A connected socket. Clones are the same socket: one task may read while it writes.
#[derive(Clone)]
pub struct Stream(Rc<Socket>);

/// A socket that may be closed by now: it does not keep it open.
#[derive(Clone, Default)]
pub struct WeakStream(Weak<Socket>);

impl WeakStream {
    /// The socket, if it is still open.
    pub fn upgrade(&self) -> Option<Stream> {
        self.0.upgrade().map(Stream)
    }
}

enum Socket {
    Tcp(UnsafeCell<TcpStream>),
    Unix(UnsafeCell<UnixStream>),
    /// Boxed, so that the others do not carry room for it.
    Tls(Box<Session>),
}

/// What a look at a connection that should be quiet found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quiet {
    /// Open, and nothing to read.
    Open,
    /// There are bytes to read.
    Data,
    /// The peer closed or reset it.
    Closed,
}

/// Figures of a TCP connection.
#[derive(Clone, Copy, Debug)]
pub struct TcpInfo {
    /// Smoothed round-trip time, microseconds.
    pub rtt_us: u32,
    /// Its variance, microseconds.
    pub rttvar_us: u32,
    /// The congestion window, segments.
    pub snd_cwnd: u32,
    /// The receive window to come, bytes.
    pub rcv_space: u32,
}

impl Stream {
    /// Connects over TCP.
    ///
    /// # Errors
    /// The kernel's connect(2) errors.
    pub async fn connect_tcp(to: SocketAddr) -> io::Result<Stream> {
        let connected = TcpStream::connect_addr(to).await.map(Stream::from);
        clock::tick();
        connected
    }

    /// Connects over TCP from the address that the socket is bound to.
    ///
    /// # Errors
    /// The kernel's connect(2) errors.
    pub async fn connect_bound(bound: Bound, to: SocketAddr) -> io::Result<Stream> {
        let Bound(socket) = bound;
        match rustix::net::connect(&socket, &to) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
            Err(e) => return Err(e.into()),
        }
        let tcp = TcpStream::from_std(socket.into())?;
        tcp.writable(false).await?;
        let stream = Stream::from(tcp);
        match sockopt::socket_error(stream.fd())? {
            Ok(()) => {
                // io_uring waits for a socket only if that blocks; epoll needs one that does not.
                if !monoio::utils::is_legacy() {
                    rustix::io::ioctl_fionbio(stream.fd(), false)?;
                }
                Ok(stream)
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Connects to a Unix socket.
    ///
    /// # Errors
    /// The kernel's connect(2) errors.
    pub async fn connect_unix(path: &Path) -> io::Result<Stream> {
        let connected = UnixStream::connect(path).await.map(Stream::from);
        clock::tick();
        connected
    }

    /// Reads once into the spare part of `buffer`; 0 is the end of the stream. Dropping the future
    /// loses bytes: close the connection if you do.
    pub async fn read(&self, buffer: Buffer) -> (io::Result<usize>, Buffer) {
        let (result, Tail(buffer)) = match &*self.0 {
            // SAFETY: monoio's read takes `&mut self` but only clones the shared descriptor out of
            // it; TcpStream implements monoio's `Split`, whose contract is exactly this sharing.
            Socket::Tcp(tcp) => unsafe { &mut *tcp.get() }.read(Tail(buffer)).await,
            // SAFETY: as above, for UnixStream.
            Socket::Unix(unix) => unsafe { &mut *unix.get() }.read(Tail(buffer)).await,
            // Boxed, so that the reads of plain sockets do not carry room for it.
            Socket::Tls(session) => return Box::pin(session.read(buffer)).await,
        };
        clock::tick();
        (result, buffer)
    }

    /// Writes all that is filled; the buffer comes back empty, or with what was not written.
    pub async fn write_all(&self, mut buffer: Buffer) -> (io::Result<()>, Buffer) {
        while !buffer.is_empty() {
            let (result, back) = self.write(buffer).await;
            buffer = back;
            match result {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), buffer),
                Ok(n) => buffer.consume(n),
                Err(e) => return (Err(e), buffer),
            }
        }
        (Ok(()), buffer)
    }

    /// Writes once; the filled part is not consumed.
    pub async fn write(&self, buffer: Buffer) -> (io::Result<usize>, Buffer) {
        // Longer ones go by the ring even so, where others have their turn meanwhile.
        if counters::here(Count::Writing) <= SENDS_ALONE_MAX
            && buffer.len() <= BUFFER_BYTES
            && let Some(sent) = self.write_alone(&buffer)
        {
            return (sent, buffer);
        }
        let (result, Filled(buffer)) = match &*self.0 {
            // SAFETY: as in `read`; a write uses the same shared descriptor and nothing else.
            Socket::Tcp(tcp) => unsafe { &mut *tcp.get() }.write(Filled(buffer)).await,
            // SAFETY: as above.
            Socket::Unix(unix) => unsafe { &mut *unix.get() }.write(Filled(buffer)).await,
            Socket::Tls(session) => return Box::pin(session.write(buffer)).await,
        };
        clock::tick();
        (result, buffer)
    }

    /// Writes at once what the socket takes; `None` when it takes nothing now, or is one of TLS.
    fn write_alone(&self, buffer: &Buffer) -> Option<io::Result<usize>> {
        if self.is_encrypted() {
            return None;
        }
        match rustix::net::send(self.fd(), buffer.filled(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => None,
            sent => Some(sent.map_err(io::Error::from)),
        }
    }

    /// Waits until there is something to read, or the peer is gone. Takes no buffer, loses nothing
    /// when dropped.
    pub async fn readable(&self) -> io::Result<()> {
        let ready = match &*self.0 {
            // SAFETY: only a shared reference, for the time of the wait; the `&mut` of a read or
            // write is never used to replace the socket.
            Socket::Tcp(tcp) => unsafe { &*tcp.get() }.readable(false).await,
            // SAFETY: as above.
            Socket::Unix(unix) => unsafe { &*unix.get() }.readable(false).await,
            Socket::Tls(session) => return Box::pin(session.readable()).await,
        };
        clock::tick();
        ready
    }

    /// Waits until more can be sent, or the peer is gone. Loses nothing when dropped.
    ///
    /// # Errors
    /// What the driver reports.
    pub async fn writable(&self) -> io::Result<()> {
        let ready = match &*self.0 {
            // SAFETY: as in `readable`.
            Socket::Tcp(tcp) => unsafe { &*tcp.get() }.writable(false).await,
            // SAFETY: as above.
            Socket::Unix(unix) => unsafe { &*unix.get() }.writable(false).await,
            Socket::Tls(session) => return Box::pin(session.below().writable()).await,
        };
        clock::tick();
        ready
    }

    /// Has the kernel send a part of a file, as much as the socket takes without waiting (sendfile(2));
    /// 0 at the end of the file. Nothing else may be under way on the socket, and it is none of TLS.
    ///
    /// # Errors
    /// `WouldBlock` when the socket takes nothing; else sendfile(2)'s.
    pub fn send_file_now(&self, file: impl AsFd, mut offset: u64, len: usize) -> io::Result<usize> {
        self.without_waiting(|socket| rustix::fs::sendfile(socket, file, Some(&mut offset), len))
    }

    /// Makes a call on the socket that has no flag of its own for not waiting. Nothing else may be under
    /// way on it, and it is none of TLS.
    pub(super) fn without_waiting<T>(
        &self,
        call: impl FnOnce(BorrowedFd<'_>) -> rustix::io::Result<T>,
    ) -> io::Result<T> {
        if self.is_encrypted() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        // io_uring waits for a socket only if that blocks.
        let blocking = !monoio::utils::is_legacy();
        if blocking {
            rustix::io::ioctl_fionbio(self.fd(), true)?;
        }
        let done = call(self.fd());
        if blocking {
            rustix::io::ioctl_fionbio(self.fd(), false)?;
        }
        Ok(done?)
    }

    /// Another descriptor of the socket, for another shard to go on with. Nothing may be under way on
    /// this one but the wait for readability, and it is none of TLS.
    ///
    /// # Errors
    /// The kernel's, where there is no descriptor left.
    pub fn leave(&self) -> io::Result<Departed> {
        match &*self.0 {
            Socket::Tcp(_) => Ok(Departed::Tcp(self.fd().try_clone_to_owned()?)),
            Socket::Unix(_) => Ok(Departed::Unix(self.fd().try_clone_to_owned()?)),
            Socket::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Goes on with a socket of another shard, on the same driver.
    ///
    /// # Errors
    /// A socket that cannot be driven.
    pub fn arrive(departed: Departed) -> io::Result<Stream> {
        Ok(match departed {
            Departed::Tcp(fd) => Stream::from(TcpStream::from_std(fd.into())?),
            Departed::Unix(fd) => Stream::from(UnixStream::from_std(fd.into())?),
        })
    }

    /// Looks, without waiting, at a connection that should be quiet.
    pub fn quiet(&self) -> Quiet {
        if let Socket::Tls(session) = &*self.0 {
            return session.quiet();
        }
        let mut byte = [0u8; 1];
        match rustix::net::recv(self.fd(), &mut byte[..], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((0, _)) => Quiet::Closed,
            Ok(_) => Quiet::Data,
            Err(rustix::io::Errno::AGAIN) => Quiet::Open,
            Err(_) => Quiet::Closed,
        }
    }

    /// Whether the peer leaves room for more to be sent, without waiting.
    pub fn is_writable(&self) -> bool {
        let fd = self.fd();
        let mut poll = [PollFd::new(&fd, PollFlags::OUT)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // What cannot be told is found out by writing.
        rustix::event::poll(&mut poll, Some(&now)).map_or(true, |ready| ready > 0)
    }

    /// Reads what is there, without waiting, and throws it away; `None` when the peer is done.
    pub fn discard(&self, scratch: &mut [u8]) -> Option<usize> {
        if let Socket::Tls(session) = &*self.0 {
            return session.discard(scratch);
        }
        match rustix::net::recv(self.fd(), scratch, RecvFlags::DONTWAIT) {
            Ok((0, _)) => None,
            Ok((n, _)) => Some(n),
            Err(rustix::io::Errno::AGAIN) => Some(0),
            Err(_) => None,
        }
    }

    /// Reads what is there, without waiting; 0 is the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there; else recv(2)'s.
    pub fn read_now(&self, buffer: &mut Buffer) -> io::Result<usize> {
        if let Socket::Tls(session) = &*self.0 {
            return session.read_now(buffer);
        }
        let (read, _) = rustix::net::recv(self.fd(), buffer.spare(), RecvFlags::DONTWAIT)?;
        buffer.advance(read);
        Ok(read)
    }

    /// Sends what fits of a few last bytes without waiting (`100 Continue`, a refusal on the way out).
    pub fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        if let Socket::Tls(session) = &*self.0 {
            return session.send_now(bytes);
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        rustix::net::send(self.fd(), bytes, flags).map_err(io::Error::from)
    }

    /// Whether what is written is encrypted.
    pub fn is_encrypted(&self) -> bool {
        matches!(&*self.0, Socket::Tls(_))
    }

    /// For which requests it is, if it is a connection to an upstream that speaks TLS.
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        match &*self.0 {
            Socket::Tls(session) => session.identity(),
            Socket::Tcp(_) | Socket::Unix(_) => None,
        }
    }

    /// Makes the closing of this socket one that a peer does not take for the end of all there was: under
    /// TLS nothing is said of an end then (RFC 8446, 6.1).
    pub fn end_silently(&self) {
        if let Socket::Tls(session) = &*self.0 {
            session.end_silently();
        }
    }

    /// Tells the peer that nothing more comes (FIN, under TLS behind a `close_notify`).
    pub fn shutdown_write(&self) {
        if let Socket::Tls(session) = &*self.0 {
            session.shutdown_write();
        }
        // The peer may be gone already; then there is no one to tell.
        let _ = rustix::net::shutdown(self.fd(), Shutdown::Write);
    }

    /// Makes a read that waits, and those to come, end once what has already arrived was read.
    pub fn end_reading(&self) {
        let _ = rustix::net::shutdown(self.fd(), Shutdown::Read);
    }

    /// Makes the closing of this socket a reset (`reset_timedout_connection`).
    pub fn reset_on_close(&self) {
        self.end_silently();
        let _ = sockopt::set_socket_linger(self.fd(), Some(Duration::ZERO));
    }

    /// Sets TCP_NODELAY; nothing for a Unix socket.
    pub fn set_nodelay(&self) {
        if matches!(&*self.socket().0, Socket::Tcp(_)) {
            let _ = sockopt::set_tcp_nodelay(self.fd(), true);
        }
    }

    /// Sets the sizes of its buffers.
    pub fn set_buffers(&self, sizes: BufferSizes) {
        sizes.set(self.fd());
    }

    /// Sets SO_KEEPALIVE.
    pub fn set_keepalive(&self) {
        let _ = sockopt::set_socket_keepalive(self.fd(), true);
    }

    /// The local address, for TCP.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        rustix::net::getsockname(self.fd()).ok().and_then(|any| SocketAddr::try_from(any).ok())
    }

    /// The same socket, without keeping it open.
    pub fn downgrade(&self) -> WeakStream {
        WeakStream(Rc::downgrade(&self.0))
    }

    /// What the kernel knows of a TCP connection (tcp(7), TCP_INFO); `None` for a Unix socket.
    pub fn tcp_info(&self) -> Option<TcpInfo> {
        // SAFETY: an all-zero `tcp_info` is a valid value of this plain C struct.
        let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
        let mut len = std::mem::size_of::<libc::tcp_info>() as libc::socklen_t;
        let to = std::ptr::addr_of_mut!(info).cast();
        // SAFETY: `to` and `len` are live and describe the same memory; the descriptor is open.
        let done = unsafe {
            libc::getsockopt(self.fd().as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, to, &mut len)
        };
        (done == 0).then_some(TcpInfo {
            rtt_us: info.tcpi_rtt,
            rttvar_us: info.tcpi_rttvar,
            snd_cwnd: info.tcpi_snd_cwnd,
            rcv_space: info.tcpi_rcv_space,
        })
    }

    /// The socket itself, whatever is spoken over it.
    fn socket(&self) -> &Stream {
        match &*self.0 {
            Socket::Tls(session) => session.below(),
            _ => self,
        }
    }

    /// The descriptor, for system calls that do not wait.
    pub fn fd(&self) -> BorrowedFd<'_> {
        let raw = match &*self.0 {
            // SAFETY: a shared reference for the time of this call, as in `readable`.
            Socket::Tcp(tcp) => unsafe { &*tcp.get() }.as_raw_fd(),
            // SAFETY: as above.
            Socket::Unix(unix) => unsafe { &*unix.get() }.as_raw_fd(),
            Socket::Tls(session) => return session.below().fd(),
        };
        // SAFETY: the descriptor is open as long as `self` is, and the result borrows `self`.
        unsafe { BorrowedFd::borrow_raw(raw) }
    }
}

impl From<TcpStream> for Stream {
    fn from(tcp: TcpStream) -> Stream {
        Stream(Rc::new(Socket::Tcp(UnsafeCell::new(tcp))))
    }
}

impl From<Session> for Stream {
    fn from(session: Session) -> Stream {
        Stream(Rc::new(Socket::Tls(Box::new(session))))
    }
}

impl From<UnixStream> for Stream {
    fn from(unix: UnixStream) -> Stream {
        Stream(Rc::new(Socket::Unix(UnsafeCell::new(unix))))
    }
}

/// A socket on its way from one shard to another.
pub enum Departed {
    /// TCP.
    Tcp(OwnedFd),
    /// Unix.
    Unix(OwnedFd),
}

/// A TCP socket that has its own address and is not connected yet.
pub struct Bound(OwnedFd);

/// Why an address could not be had: the call that failed, and its error.
pub type BindFailure = (&'static str, io::Error);

impl Bound {
    /// A socket with this address; port 0 takes any that is free. `transparent`: the address need not
    /// be this host's (ip(7), IP_TRANSPARENT), which takes a right that few have.
    ///
    /// # Errors
    /// The call that failed, and the kernel's socket(2), setsockopt(2) and bind(2) errors.
    pub fn to(from: SocketAddr, transparent: bool) -> Result<Bound, BindFailure> {
        let v4 = from.is_ipv4();
        let family = if v4 { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)
            .map_err(|error| ("socket()", error.into()))?;
        if transparent && v4 {
            switch_on(socket.as_fd(), libc::IPPROTO_IP, libc::IP_TRANSPARENT)
                .map_err(|error| ("setsockopt(IP_TRANSPARENT)", error))?;
        } else if transparent {
            switch_on(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT)
                .map_err(|error| ("setsockopt(IPV6_TRANSPARENT)", error))?;
        }
        if from.port() == 0 {
            // It gets its port when it is connected: one of all that are free towards that peer,
            // instead of one that is free towards all. A kernel that does not know the option
            // leaves it at fewer ports.
            let _ = switch_on(socket.as_fd(), libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT);
        }
        rustix::net::bind(&socket, &from).map_err(|error| ("bind()", error.into()))?;
        Ok(Bound(socket))
    }

    /// A socket whose address the kernel chooses when it is connected to `peer`.
    ///
    /// # Errors
    /// The call that failed, and the kernel's socket(2) errors.
    pub fn anywhere(peer: SocketAddr) -> Result<Bound, BindFailure> {
        let family = if peer.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None);
        socket.map(Bound).map_err(|error| ("socket()", error.into()))
    }

    /// Sets the sizes of its buffers. Before it is connected, as TCP tells the peer then how large its
    /// window can become (RFC 7323, 2.2).
    pub fn set_buffers(&self, sizes: BufferSizes) {
        sizes.set(self.0.as_fd());
    }
}

/// What the kernel buffers of a connection, bytes; none leaves it to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BufferSizes {
    /// What came and was not read (SO_RCVBUF).
    pub receive: Option<u32>,
    /// What was written and not acknowledged (SO_SNDBUF).
    pub send: Option<u32>,
}

impl BufferSizes {
    /// The kernel takes what it allows; it refuses none of an open socket.
    fn set(self, socket: BorrowedFd<'_>) {
        if let Some(bytes) = self.receive {
            let _ = sockopt::set_socket_recv_buffer_size(socket, bytes as usize);
        }
        if let Some(bytes) = self.send {
            let _ = sockopt::set_socket_send_buffer_size(socket, bytes as usize);
        }
    }
}

/// Switches an option of a socket on.
fn switch_on(socket: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    let len = std::mem::size_of::<libc::c_int>() as libc::socklen_t;
    let value = std::ptr::addr_of!(on).cast();
    // SAFETY: `value` points to `len` bytes that live until the call returns; the descriptor is open.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value, len) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A buffer whose spare part the kernel fills.
struct Tail(Buffer);

// SAFETY: the pointer and length are those of the spare part of a boxed slice, which stays where
// it is while the buffer moves; `set_init` only moves the window within it.
unsafe impl IoBufMut for Tail {
    fn write_ptr(&mut self) -> *mut u8 {
        self.0.spare().as_mut_ptr()
    }

    fn bytes_total(&mut self) -> usize {
        self.0.room()
    }

    unsafe fn set_init(&mut self, n: usize) {
        self.0.advance(n);
    }
}

/// A buffer whose filled part the kernel reads.
struct Filled(Buffer);

// SAFETY: the filled part is initialised, and its memory is a boxed slice that stays where it is
// while the buffer moves.
unsafe impl IoBuf for Filled {
    fn read_ptr(&self) -> *const u8 {
        self.0.filled().as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn buffers_have_their_sizes_before_the_connection() {
        let bound = Bound::anywhere("127.0.0.1:1".parse().unwrap()).unwrap();
        let before = sockopt::socket_recv_buffer_size(&bound.0).unwrap();
        bound.set_buffers(BufferSizes { receive: None, send: Some(16 << 10) });
        assert_eq!(sockopt::socket_recv_buffer_size(&bound.0).unwrap(), before);
        bound.set_buffers(BufferSizes { receive: Some(32 << 10), send: None });
        // The kernel doubles what it is told (socket(7)).
        assert_eq!(sockopt::socket_recv_buffer_size(&bound.0).unwrap(), 64 << 10);
        assert_eq!(sockopt::socket_send_buffer_size(&bound.0).unwrap(), 32 << 10);
    }
}
