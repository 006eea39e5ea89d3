//! A [`Stream`], whose reads and writes take buffers and give them back, as what h2 polls.

use super::passing::{Inward, Outward};
use super::tally::Tally;
use crate::base::buffer::Buffer;
use crate::base::clock;
use crate::base::limits::{LARGE_BUFFER_BYTES, SMALL_BUFFER_BYTES};
use crate::net::stream::Stream;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

type Reading = Pin<Box<dyn Future<Output = (io::Result<usize>, Buffer)>>>;
type Writing = Pin<Box<dyn Future<Output = io::Result<()>>>>;

/// One read and one write at a time may be under way. Neither is dropped before the connection is.
pub(super) struct Transport {
    stream: Stream,
    /// What was read and not yet asked for.
    ahead: Buffer,
    reading: Option<Reading>,
    writing: Option<Writing>,
    /// Bytes the next read asks for: more when the one before was filled. A connection that waits holds
    /// a small buffer.
    next_bytes: usize,
    read_bytes_max: usize,
    tally: Rc<Tally>,
    inward: Inward,
    outward: Outward,
}

impl Transport {
    pub(super) fn new(stream: Stream, ahead: Buffer, read_bytes_max: usize, tally: Rc<Tally>) -> Transport {
        let read_bytes_max = read_bytes_max.clamp(SMALL_BUFFER_BYTES, LARGE_BUFFER_BYTES);
        let next_bytes = SMALL_BUFFER_BYTES;
        let (mut inward, outward) = (Inward::new(), Outward::default());
        inward.pass(ahead.filled(), clock::now(), &tally.notes);
        let (reading, writing) = (None, None);
        Transport { stream, ahead, reading, writing, next_bytes, read_bytes_max, tally, inward, outward }
    }

    /// Moves the write along that is under way.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(writing) = &mut self.writing {
            let done = ready!(writing.as_mut().poll(cx));
            self.writing = None;
            self.tally.set_stuck(None);
            done?;
        }
        Poll::Ready(Ok(()))
    }

    /// Begins to write what fits of these parts, and says how much that is.
    fn begin_write(&mut self, parts: &[IoSlice<'_>], cx: &mut Context<'_>) -> io::Result<usize> {
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        let mut buffer = Buffer::with_capacity(bytes.min(LARGE_BUFFER_BYTES));
        for part in parts {
            buffer.append(part);
        }
        let taken = buffer.len();
        if let Some(with_refusals) = self.outward.pass(buffer.filled(), &self.tally.notes) {
            buffer = Buffer::with_capacity(with_refusals.len());
            buffer.append(&with_refusals);
        }
        self.tally.set_stuck(Some(clock::now()));
        self.writing = Some(Box::pin(write_out(self.stream.clone(), buffer, self.tally.clone())));
        match self.poll_written(cx) {
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(taken),
        }
    }
}

/// Writes all of a buffer, and notes when it moves.
async fn write_out(stream: Stream, mut buffer: Buffer, tally: Rc<Tally>) -> io::Result<()> {
    while !buffer.is_empty() {
        let (written, back) = stream.write(buffer).await;
        buffer = back;
        match written? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            n => buffer.consume(n),
        }
        tally.set_stuck(Some(clock::now()));
    }
    Ok(())
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ahead.is_empty() {
            if this.tally.is_stopped() {
                // As if the client had ended: what is to be said is said and that is all.
                return Poll::Ready(Ok(()));
            }
            if this.tally.is_flooded() {
                // Whoever drives the session asks for that as soon as it waits.
                return Poll::Pending;
            }
            let reading = match &mut this.reading {
                Some(reading) => reading,
                none => {
                    let (stream, bytes) = (this.stream.clone(), this.next_bytes);
                    none.insert(Box::pin(async move { stream.read(Buffer::with_capacity(bytes)).await }))
                }
            };
            let (read, buffer) = ready!(reading.as_mut().poll(cx));
            this.reading = None;
            let read = read?;
            this.tally.came(read);
            this.inward.pass(buffer.filled(), clock::now(), &this.tally.notes);
            let filled = buffer.room() == 0;
            this.next_bytes =
                if filled { (this.next_bytes * 4).min(this.read_bytes_max) } else { SMALL_BUFFER_BYTES };
            this.ahead = buffer;
        }
        let bytes = this.ahead.filled();
        let bytes = &bytes[..bytes.len().min(into.remaining())];
        into.put_slice(bytes);
        let taken = bytes.len();
        this.ahead.consume(taken);
        if this.ahead.is_empty() {
            this.ahead = Buffer::default();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_written(cx))?;
        Poll::Ready(self.begin_write(parts, cx))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_written(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_written(cx))?;
        self.stream.shutdown_write();
        Poll::Ready(Ok(()))
    }
}
