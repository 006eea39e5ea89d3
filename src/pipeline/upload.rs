//! The rest of a request's body, sent while the upstream's answer is already on its way back.

use super::body::{RequestBody, Source};
use super::exchange::Exchange;
use crate::base::buffer::Buffer;
use crate::base::clock;
use crate::base::limits::LARGE_BUFFER_BYTES;
use crate::http::chunked::{CHUNK_TAIL, LAST_CHUNK, chunk_head};
use crate::net::deadline::Alarm;
use crate::net::stream::Stream;
use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// What is still to be sent, and where to.
pub struct Upload {
    /// Where it comes from.
    pub rest: Rest,
    /// The upstream's connection.
    pub to: Stream,
    /// It goes out in chunks.
    pub chunked: bool,
    /// How long the upstream may take between two reads.
    pub send_timeout: Duration,
    /// How long the client may pause.
    pub read_timeout: Duration,
    /// The most the client may send, bytes; 0 for any.
    pub limit: u64,
}

/// The source of the rest.
pub enum Rest {
    /// The client still sends it.
    Client(Box<Source>),
    /// It was read before; sending goes on at the offset.
    Kept(RequestBody, u64),
}

impl Upload {
    /// Sends until the end, or until either side fails: the answer goes on without it.
    pub async fn run(&mut self) {
        let mut alarm = Alarm::new(clock::now() + self.send_timeout);
        while let Some(piece) = self.next(&mut alarm).await {
            let piece = if self.chunked { framed(&piece, false) } else { piece };
            if !self.send(&mut alarm, piece).await {
                return;
            }
        }
        let done = match &self.rest {
            Rest::Client(body) => body.is_done(),
            Rest::Kept(..) => true,
        };
        if self.chunked && done {
            let mut last = Buffer::ordinary();
            last.append(LAST_CHUNK);
            self.send(&mut alarm, last).await;
        }
    }

    async fn next(&mut self, alarm: &mut Alarm) -> Option<Buffer> {
        match &mut self.rest {
            Rest::Client(body) => {
                let piece = body.next(alarm, self.read_timeout).await.ok().flatten();
                piece.filter(|_| self.limit == 0 || body.received() <= self.limit)
            }
            Rest::Kept(kept, offset) => {
                let piece = piece_at(kept, *offset).await?;
                *offset += piece.len() as u64;
                Some(piece)
            }
        }
    }

    async fn send(&self, alarm: &mut Alarm, piece: Buffer) -> bool {
        let sent = alarm.within(clock::now() + self.send_timeout, self.to.write_all(piece)).await;
        matches!(sent, Ok((Ok(()), _)))
    }
}

impl Exchange {
    /// Gives up the upload under way, if there is one. The client's body is its connection's again,
    /// so that what of it is unread is drained with it; what was kept can be sent again.
    pub fn end_upload(&mut self) {
        let Some(upload) = self.upload.take() else { return };
        match upload.rest {
            Rest::Client(body) => self.source = *body,
            // A body that the configuration made took no place of the client's.
            Rest::Kept(kept, _) if matches!(self.body, RequestBody::Consumed) => self.body = kept,
            Rest::Kept(..) => {}
        }
    }
}

/// A piece of a body that was kept; `None` at its end, or when its file cannot be read.
pub async fn piece_at(kept: &RequestBody, offset: u64) -> Option<Buffer> {
    match kept {
        RequestBody::Memory(bytes) => {
            let rest = bytes.get(offset as usize..).filter(|rest| !rest.is_empty())?;
            let mut piece = Buffer::with_capacity(rest.len().min(LARGE_BUFFER_BYTES));
            piece.append(rest);
            Some(piece)
        }
        RequestBody::File(file) if offset < file.len() => {
            file.read_at(offset, LARGE_BUFFER_BYTES).await.ok().filter(|piece| !piece.is_empty())
        }
        RequestBody::File(_) | RequestBody::Unread | RequestBody::Consumed => None,
    }
}

/// A piece as a chunk, with the end of the body behind it if it is the last one.
pub fn framed(piece: &Buffer, last: bool) -> Buffer {
    let mut room = [0u8; 18];
    let head = chunk_head(piece.len(), &mut room);
    let end: &[u8] = if last { LAST_CHUNK } else { b"" };
    let mut chunk = Buffer::with_capacity(head.len() + piece.len() + CHUNK_TAIL.len() + end.len());
    chunk.append(head);
    chunk.append(piece.filled());
    chunk.append(CHUNK_TAIL);
    chunk.append(end);
    chunk
}

/// Drives `side` for as long as `main` runs.
pub async fn alongside<T>(main: impl Future<Output = T>, side: impl Future<Output = ()>) -> T {
    let mut main = pin!(main);
    let mut side = pin!(side);
    let mut side_done = false;
    std::future::poll_fn(|cx| {
        if let Poll::Ready(output) = main.as_mut().poll(cx) {
            return Poll::Ready(output);
        }
        if !side_done {
            side_done = side.as_mut().poll(cx).is_ready();
        }
        Poll::Pending
    })
    .await
}
