//! One connection and the one request under way on it.
//!
//! ```text
//! closed --start--> connecting --> sending --> reading --reply--> idle --start--> sending
//!    ^                  |             |           |                 |
//!    +------------------+-------------+-----------+---- failure ----+  closed by the peer
//! ```
//!
//! Readiness is edge-triggered: what an event announced is taken until the
//! kernel has no more. A short read of a stream socket means that it is empty,
//! so the usual exchange costs one write and one read.

use std::io::{self, ErrorKind as Io, Read, Write};

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

use crate::outcome::ErrorKind;
use crate::response::{Malformed, Parser, Progress, Reply};
use crate::target::{Address, Target};

/// Reads of one connection before others get their turn: an endless or very
/// fast body must not hold up the whole event loop.
const READS_PER_TURN: u32 = 16;

/// A connection, open or not.
#[derive(Debug)]
pub struct Connection {
    stream: Option<Stream>,
    /// A byte has passed on this stream, so it is certainly connected.
    connected: bool,
    /// The end of this stream is known to have come, perhaps behind a reply:
    /// no further event will tell of it.
    peer_closed: bool,
    exchange: Option<Exchange>,
    parser: Parser,
}

/// A request on its way.
#[derive(Debug, Clone, Copy)]
pub struct Exchange {
    /// When its latency began.
    pub since_ns: u64,
    /// When it was handed to a connection: timeouts count from here.
    pub sent_ns: u64,
    /// Which of the target's requests it is.
    pub request: usize,
    written: usize,
}

impl Exchange {
    /// A request about to be sent.
    #[must_use]
    pub fn new(since_ns: u64, sent_ns: u64, request: usize) -> Self {
        Self { since_ns, sent_ns, request, written: 0 }
    }
}

/// What came of a turn.
#[derive(Debug)]
pub enum Turn {
    /// Wait for the next event.
    Wait,
    /// There may be more to read; call again without waiting for an event.
    Again,
    /// The exchange ended with a reply.
    Replied(Exchange, Reply),
    /// The exchange failed, and the connection is closed.
    Failed(Exchange, Failure),
}

/// Why an exchange failed.
#[derive(Debug)]
pub enum Failure {
    /// By an error of the socket.
    Socket(ErrorKind, io::Error),
    /// By what the peer sent, or did not send.
    Reply(ErrorKind, &'static str),
}

impl Connection {
    /// A closed connection.
    #[must_use]
    pub fn new(to_head: bool) -> Self {
        Self {
            stream: None,
            connected: false,
            peer_closed: false,
            exchange: None,
            parser: Parser::new(to_head),
        }
    }

    /// The request under way.
    #[must_use]
    pub fn exchange(&self) -> Option<&Exchange> {
        self.exchange.as_ref()
    }

    /// Whether [`Connection::start`] would have to connect.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.stream.is_none()
    }

    /// Sends a request, on a new connection if there is none.
    pub fn start(
        &mut self,
        exchange: Exchange,
        target: &Target,
        registry: &Registry,
        token: Token,
        buffer: &mut [u8],
    ) -> Turn {
        self.parser.reset();
        self.exchange = Some(exchange);
        if self.stream.is_some() {
            return match self.write(target) {
                Ok(()) => Turn::Wait,
                // The peer may have answered before it closed.
                Err(_) => self.read_last(target, buffer),
            };
        }
        match self.open(target, registry, token) {
            Ok(()) => Turn::Wait,
            Err(error) => self.fail_by(error),
        }
    }

    /// Takes an event: sends the rest of the request, reads what has come.
    /// `peer_closed` says that the event told of the end of the stream.
    pub fn ready(&mut self, target: &Target, buffer: &mut [u8], peer_closed: bool) -> Turn {
        self.peer_closed |= peer_closed;
        let Some(exchange) = self.exchange else { return self.idle_event(buffer) };
        let length = target.requests.get(exchange.request).map_or(0, |request| request.len());
        if exchange.written == length {
            return self.read(target, buffer);
        }
        match self.write(target) {
            // Still connecting, or the peer does not read: it may have
            // answered all the same, but only if it got something.
            Ok(()) if !self.connected => Turn::Wait,
            Ok(()) => self.read(target, buffer),
            Err(error) if !self.connected => self.fail_by(error),
            Err(_) => self.read_last(target, buffer),
        }
    }

    /// Gives up the request under way and closes.
    pub fn give_up(&mut self) -> Option<Exchange> {
        self.close();
        self.exchange.take()
    }

    /// Connects and writes at once: to a near server the connection is
    /// usually complete by then, which saves a wake-up.
    fn open(&mut self, target: &Target, registry: &Registry, token: Token) -> io::Result<()> {
        self.connected = false;
        self.peer_closed = false;
        self.stream = Some(Stream::connect(&target.address)?);
        self.write(target)?;
        let complete = self.exchange.is_some_and(|exchange| {
            target.requests.get(exchange.request).is_some_and(|request| exchange.written == request.len())
        });
        // A unix socket announces room to write each time the peer reads, so
        // ask for that only while it is needed.
        let interest = if complete { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE };
        match &mut self.stream {
            Some(stream) => stream.source().register(registry, token, interest),
            None => Ok(()),
        }
    }

    /// Writes what is left of the request, or as much as the kernel takes.
    fn write(&mut self, target: &Target) -> io::Result<()> {
        let (Some(stream), Some(exchange)) = (&mut self.stream, &mut self.exchange) else { return Ok(()) };
        let request = target.requests.get(exchange.request).map_or(&[][..], |request| request);
        while exchange.written < request.len() {
            match stream.write(&request[exchange.written..]) {
                Ok(bytes) => {
                    exchange.written += bytes;
                    self.connected = true;
                }
                Err(error) if error.kind() == Io::WouldBlock => return Ok(()),
                Err(error) if error.kind() == Io::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What the peer sent before it stopped taking the request.
    fn read_last(&mut self, target: &Target, buffer: &mut [u8]) -> Turn {
        self.peer_closed = true;
        self.read(target, buffer)
    }

    fn read(&mut self, target: &Target, buffer: &mut [u8]) -> Turn {
        for _ in 0..READS_PER_TURN {
            let Some(stream) = &mut self.stream else { return Turn::Wait };
            match stream.read(buffer) {
                Ok(0) => return self.closed_by_peer(),
                Ok(bytes) => {
                    match self.parser.feed(&buffer[..bytes]) {
                        Ok(Progress::More) => {}
                        Ok(Progress::Done(reply, taken)) => {
                            return self.replied(target, reply, bytes - taken);
                        }
                        Err(Malformed(words)) => {
                            return self.fail(Failure::Reply(ErrorKind::BadResponse, words));
                        }
                    }
                    if bytes < buffer.len() && !self.peer_closed {
                        return Turn::Wait;
                    }
                }
                Err(error) if error.kind() == Io::WouldBlock => return Turn::Wait,
                Err(error) if error.kind() == Io::Interrupted => {}
                Err(error) => return self.fail_by(error),
            }
        }
        Turn::Again
    }

    fn replied(&mut self, target: &Target, reply: Reply, surplus: usize) -> Turn {
        if surplus > 0 {
            return self.fail(Failure::Reply(ErrorKind::BadResponse, "bytes after the end of the reply"));
        }
        let Some(exchange) = self.exchange.take() else { return Turn::Wait };
        // A reply that came before the whole request leaves the rest unsent.
        let sent =
            target.requests.get(exchange.request).is_some_and(|request| exchange.written == request.len());
        if self.peer_closed || !(reply.reusable && target.keep_alive && sent) {
            self.close();
        }
        Turn::Replied(exchange, reply)
    }

    fn closed_by_peer(&mut self) -> Turn {
        match (self.parser.closed(), self.exchange) {
            (Some(reply), Some(exchange)) => {
                self.close();
                self.exchange = None;
                Turn::Replied(exchange, reply)
            }
            _ => self.fail(Failure::Reply(ErrorKind::ClosedEarly, "closed before the reply was complete")),
        }
    }

    /// Without a request an event means that the peer closed; it may have
    /// said why (408), which nobody asked for.
    fn idle_event(&mut self, buffer: &mut [u8]) -> Turn {
        let Some(stream) = &mut self.stream else { return Turn::Wait };
        match stream.read(buffer) {
            Err(error) if matches!(error.kind(), Io::WouldBlock | Io::Interrupted) => {}
            Ok(_) | Err(_) => self.close(),
        }
        Turn::Wait
    }

    fn fail_by(&mut self, error: io::Error) -> Turn {
        let kind = match (self.connected, error.kind()) {
            (_, Io::TimedOut) => ErrorKind::Timeout,
            (false, _) => ErrorKind::Connect,
            (true, _) => ErrorKind::Reset,
        };
        self.fail(Failure::Socket(kind, error))
    }

    fn fail(&mut self, failure: Failure) -> Turn {
        self.close();
        match self.exchange.take() {
            Some(exchange) => Turn::Failed(exchange, failure),
            None => Turn::Wait,
        }
    }

    /// Closing the descriptor takes it out of epoll too.
    fn close(&mut self) {
        self.stream = None;
    }
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn connect(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(*address)?;
                // The tail of a large request must not wait for an
                // acknowledgement.
                stream.set_nodelay(true)?;
                Ok(Self::Tcp(stream))
            }
            Address::Unix(path) => UnixStream::connect(path).map(Self::Unix),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => stream,
        }
    }
}
