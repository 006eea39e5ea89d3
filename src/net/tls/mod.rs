//! TLS over a connected socket (RFC 8446, RFC 5246), driven by rustls. What is encrypted passes through
//! buffers of the free lists, and none is held while a connection waits to become readable.

mod authority;
pub mod certificate;
pub mod ciphers;
pub mod client;
pub mod compression;
pub mod handshake;
pub mod key;
mod list;
pub mod noted;
pub mod ocsp;
pub mod offered;
pub mod pairs;
pub mod server;
pub mod tickets;
pub mod verify;

use super::stream::{Quiet, Stream};
use crate::base::buffer::Buffer;
use crate::base::limits::BUFFER_BYTES;
use client::Identity;
use rustix::net::{SendAncillaryBuffer, SendFlags};
use rustls::Connection;
use std::cell::{Cell, RefCell};
use std::io::{self, BufRead, IoSlice, Read, Write};
use std::sync::Arc;

/// Decrypted bytes that may wait in a session before no more is decrypted: rustls takes nothing more in
/// beyond that.
const PLAIN_MAX: usize = 16 * 1024;

/// The library of cryptography with its version, as `-V` names it.
pub fn library() -> String {
    let version = aws_lc_sys::AWSLC_VERSION_NUMBER_STRING;
    format!("AWS-LC {}", String::from_utf8_lossy(version).trim_end_matches('\0'))
}

/// Reads of one look without waiting: who sends records with nothing in them does not hold the shard.
const LOOKS_MAX: usize = 16;

/// A TLS connection. Everything but the waits happens under a short borrow, so that one task may read
/// while it writes.
pub struct Session {
    below: Stream,
    tls: RefCell<Connection>,
    /// Read from the socket, and not decrypted yet: what was read before it has to be taken first.
    ahead: RefCell<Buffer>,
    /// The end is not told to the peer: it was told already, or the peer shall see that something is
    /// missing.
    silent: Cell<bool>,
    /// Of a connection to an upstream: for which requests it is.
    identity: Option<Arc<Identity>>,
}

impl Session {
    fn new(below: Stream, tls: Connection, identity: Option<Arc<Identity>>) -> Session {
        let (tls, ahead) = (RefCell::new(tls), RefCell::default());
        Session { below, tls, ahead, silent: Cell::new(false), identity }
    }

    /// For which requests it is, if it is one to an upstream.
    pub(super) fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }

    /// The socket below.
    pub(super) fn below(&self) -> &Stream {
        &self.below
    }

    /// Reads once into the spare part of `buffer`; 0 is the end of the stream.
    pub(super) async fn read(&self, mut buffer: Buffer) -> (io::Result<usize>, Buffer) {
        loop {
            if let Some(taken) = self.take(&mut buffer) {
                return (taken, buffer);
            }
            // A request is small, and so is the buffer that waits for one.
            let room = buffer.capacity().min(BUFFER_BYTES);
            let (read, cipher) = self.below.read(Buffer::with_capacity(room)).await;
            match read {
                Ok(0) => return (Ok(0), buffer),
                Ok(_) => {
                    if let Err(fault) = self.decrypt(cipher) {
                        return (Err(fault), buffer);
                    }
                }
                Err(fault) => return (Err(fault), buffer),
            }
        }
    }

    /// Reads what is there, without waiting; 0 is the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there.
    pub(super) fn read_now(&self, buffer: &mut Buffer) -> io::Result<usize> {
        for _ in 0..LOOKS_MAX {
            if let Some(taken) = self.take(buffer) {
                return taken;
            }
            let mut cipher = Buffer::ordinary();
            if self.below.read_now(&mut cipher)? == 0 {
                return Ok(0);
            }
            self.decrypt(cipher)?;
        }
        self.take(buffer).unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))
    }

    /// Reads what is there, without waiting, and throws it away; `None` when the peer is done. It is no
    /// longer decrypted: nobody will read from this connection again.
    pub(super) fn discard(&self, scratch: &mut [u8]) -> Option<usize> {
        self.ahead.take();
        match self.tls.borrow_mut().reader().read(scratch) {
            Ok(0) => None,
            Ok(n) => Some(n),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.below.discard(scratch),
            Err(_) => None,
        }
    }

    /// Waits until there may be something to read, or the peer is gone.
    pub(super) async fn readable(&self) -> io::Result<()> {
        if !self.ahead.borrow().is_empty() || self.at_hand() != Quiet::Open {
            return Ok(());
        }
        self.below.readable().await
    }

    /// Looks, without waiting, at a connection that should be quiet. What only keeps the session going
    /// is not for whoever asks.
    pub(super) fn quiet(&self) -> Quiet {
        for _ in 0..LOOKS_MAX {
            if self.decrypt(Buffer::default()).is_err() {
                return Quiet::Closed;
            }
            match (self.at_hand(), self.below.quiet()) {
                (Quiet::Open, Quiet::Data) => {}
                (Quiet::Open, below) => return below,
                (known, _) => return known,
            }
            let mut cipher = Buffer::ordinary();
            match self.below.read_now(&mut cipher) {
                Ok(1..) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Quiet::Open,
                Ok(0) | Err(_) => return Quiet::Closed,
            }
            if self.decrypt(cipher).is_err() {
                return Quiet::Closed;
            }
        }
        self.at_hand()
    }

    /// Writes once; the filled part is not consumed. All that was taken is on its way to the peer when
    /// this returns.
    pub(super) async fn write(&self, buffer: Buffer) -> (io::Result<usize>, Buffer) {
        let taken = self.tls.borrow_mut().writer().write(buffer.filled());
        let written = match self.drain().await {
            Ok(()) => taken,
            Err(fault) => Err(fault),
        };
        if buffer.len() >= BUFFER_BYTES && written.is_ok() {
            // A client that takes whatever it is sent would keep the others from their turn.
            let _ = self.below.writable().await;
        }
        (written, buffer)
    }

    /// Sends a few last bytes without waiting.
    pub(super) fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.tls.borrow_mut().writer().write(bytes)?;
        self.flush()?;
        Ok(taken)
    }

    /// Tells the peer that nothing more comes (RFC 8446, 6.1), once.
    pub(super) fn shutdown_write(&self) {
        if !self.silent.replace(true) {
            self.tls.borrow_mut().send_close_notify();
            // The peer may be gone already; then there is no one to tell.
            let _ = self.flush();
        }
    }

    /// Leaves it at the end of the socket, by which the peer sees that something is missing.
    pub(super) fn end_silently(&self) {
        self.silent.set(true);
    }

    /// What the session has for a reader now, without asking the socket.
    fn at_hand(&self) -> Quiet {
        let mut tls = self.tls.borrow_mut();
        let mut reader = tls.reader();
        match reader.fill_buf() {
            Ok([]) => Quiet::Closed,
            Ok(_) => Quiet::Data,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Quiet::Open,
            Err(_) => Quiet::Closed,
        }
    }

    /// Takes decrypted bytes, if there are any or will be from what was read ahead; 0 is the end.
    fn take(&self, buffer: &mut Buffer) -> Option<io::Result<usize>> {
        loop {
            let read = self.tls.borrow_mut().reader().read(buffer.spare());
            match read {
                Ok(read) => {
                    buffer.advance(read);
                    return Some(Ok(read));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Some(Ok(0)),
                Err(e) => return Some(Err(e)),
            }
            if self.ahead.borrow().is_empty() {
                return None;
            }
            if let Err(fault) = self.decrypt(Buffer::default()) {
                return Some(Err(fault));
            }
        }
    }

    /// Takes in what came from the socket, behind what came before; what that has to be answered with
    /// is sent as far as the socket takes it.
    fn decrypt(&self, mut cipher: Buffer) -> io::Result<()> {
        let mut ahead = self.ahead.borrow_mut();
        if !ahead.is_empty() {
            // Only what is kept is behind it: new bytes are read when nothing is kept any more.
            cipher = std::mem::take(&mut *ahead);
        }
        let mut tls = self.tls.borrow_mut();
        while !cipher.is_empty() {
            let mut rest = cipher.filled();
            let read = tls.read_tls(&mut rest)?;
            cipher.consume(read);
            let state = tls.process_new_packets();
            if tls.wants_write() {
                let _ = flush(&mut tls, &self.below);
            }
            let state = state.map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault))?;
            if read == 0 {
                break;
            }
            if state.plaintext_bytes_to_read() > PLAIN_MAX {
                *ahead = cipher;
                break;
            }
        }
        Ok(())
    }

    /// Sends what is encrypted, as far as the socket takes it now; whether that was all.
    fn flush(&self) -> io::Result<bool> {
        flush(&mut self.tls.borrow_mut(), &self.below)
    }

    /// Sends all that is encrypted.
    async fn drain(&self) -> io::Result<()> {
        while !self.flush()? {
            self.below.writable().await?;
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shutdown_write();
    }
}

/// Sends what is encrypted, as far as the socket takes it now; whether that was all.
fn flush(tls: &mut Connection, below: &Stream) -> io::Result<bool> {
    while tls.wants_write() {
        match tls.write_tls(&mut Now(below)) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}

/// A socket that is written to without waiting.
struct Now<'s>(&'s Stream);

impl Write for Now<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send_now(bytes)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let mut nothing = SendAncillaryBuffer::default();
        rustix::net::sendmsg(self.0.fd(), parts, &mut nothing, flags).map_err(io::Error::from)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
