//! splice(2): bytes that nobody looks at go from socket to socket through a pipe, and the processor does
//! not copy them.
//!
//! A pipe holds references to the pages the bytes arrived in. Pipes come from a free list of the shard; a
//! shard has a bounded number of them, and who gets none copies.

use super::stream::Stream;
use crate::base::buffer::Buffer;
use crate::base::limits::{PIPE_BYTES, PIPES_MAX};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;

/// A pipe, and how much lies in it. Dropped empty, it goes back to the free list of its thread.
pub struct Pipe {
    /// `None` once it was given back.
    ends: Option<Ends>,
    held: usize,
}

struct Ends {
    read: OwnedFd,
    write: OwnedFd,
}

thread_local! {
    static FREE: RefCell<Vec<Ends>> = const { RefCell::new(Vec::new()) };
    /// Pipes that are open, free or not.
    static OPEN: Cell<usize> = const { Cell::new(0) };
}

impl Pipe {
    /// An empty pipe; `None` when there are enough of them, or the kernel has none of a useful size.
    pub fn take() -> Option<Pipe> {
        if let Some(ends) = FREE.with(|free| free.borrow_mut().pop()) {
            return Some(Pipe { ends: Some(ends), held: 0 });
        }
        if OPEN.get() >= PIPES_MAX {
            return None;
        }
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        // A user with many pipes gets tiny ones only, which are not worth the calls.
        if fcntl_setpipe_size(&write, PIPE_BYTES).ok()? < PIPE_BYTES {
            return None;
        }
        OPEN.set(OPEN.get() + 1);
        Some(Pipe { ends: Some(Ends { read, write }), held: 0 })
    }

    /// Bytes in it.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Takes up to `most` bytes of what has arrived at a socket; 0 is the end of the stream. Nothing else
    /// may be under way on the socket, and it is none of TLS.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there or the pipe is full; else splice(2)'s.
    pub fn fill(&mut self, from: &Stream, most: usize) -> io::Result<usize> {
        let Some(ends) = &self.ends else { return Ok(0) };
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let moved = from.without_waiting(|socket| splice(socket, None, &ends.write, None, most, flags))?;
        self.held += moved;
        Ok(moved)
    }

    /// Sends what lies in it, as much as the socket takes, on the same terms.
    ///
    /// # Errors
    /// `WouldBlock` when it takes nothing; else splice(2)'s.
    pub fn empty(&mut self, to: &Stream) -> io::Result<usize> {
        let Some(ends) = &self.ends else { return Ok(0) };
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let moved = to.without_waiting(|socket| splice(&ends.read, None, socket, None, self.held, flags))?;
        self.held = self.held.saturating_sub(moved);
        Ok(moved)
    }

    /// What lies in it, in memory after all.
    ///
    /// # Errors
    /// read(2)'s.
    pub fn into_memory(mut self) -> io::Result<Buffer> {
        let mut buffer = Buffer::with_capacity(self.held);
        while let (Some(ends), true) = (&self.ends, self.held > 0) {
            let read = rustix::io::read(&ends.read, buffer.spare())?;
            buffer.advance(read);
            self.held = self.held.saturating_sub(read.max(1));
        }
        Ok(buffer)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let Some(ends) = self.ends.take() else { return };
        if self.held == 0 {
            FREE.with(|free| free.borrow_mut().push(ends));
        } else {
            OPEN.set(OPEN.get() - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn pipes_are_used_again_when_they_are_empty() {
        let pipe = Pipe::take().unwrap();
        assert_eq!((pipe.held(), OPEN.get()), (0, 1));
        drop(pipe);
        let mut pipe = Pipe::take().unwrap();
        assert_eq!(OPEN.get(), 1);
        let ends = pipe.ends.as_ref().unwrap();
        rustix::io::write(&ends.write, b"some bytes").unwrap();
        pipe.held = 10;
        assert_eq!(pipe.into_memory().unwrap().filled(), b"some bytes");
        let mut pipe = Pipe::take().unwrap();
        pipe.held = 1;
        drop(pipe);
        assert_eq!(OPEN.get(), 0);
    }

    #[test]
    fn their_number_is_bounded() {
        let pipes: Vec<_> = (0..PIPES_MAX).map_while(|_| Pipe::take()).collect();
        assert!(pipes.len() == PIPES_MAX && Pipe::take().is_none());
    }
}
