//! The answer to a request.

use super::tally::Tally;
use crate::base::buffer::Buffer;
use crate::base::limits::LARGE_BUFFER_BYTES;
use bytes::Buf;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

/// A piece of a body, in the buffer it came in.
pub(super) struct Piece {
    bytes: Buffer,
    unsent: Rc<Unsent>,
}

/// The pieces of one answer that h2 still has.
#[derive(Default)]
struct Unsent {
    pieces: Cell<usize>,
    waits: Cell<Option<Waker>>,
}

impl Piece {
    fn new(bytes: Buffer, unsent: &Rc<Unsent>) -> Piece {
        unsent.pieces.set(unsent.pieces.get() + 1);
        Piece { bytes, unsent: unsent.clone() }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.unsent.pieces.set(self.unsent.pieces.get().saturating_sub(1));
        if let Some(waker) = self.unsent.waits.take() {
            waker.wake();
        }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.filled()
    }

    fn advance(&mut self, n: usize) {
        self.bytes.consume(n);
    }
}

/// Fields of an answer: names become lower case, and what is no field of HTTP/2 is left out.
#[derive(Default)]
pub struct Fields {
    map: HeaderMap,
    /// What they measure as text, bytes.
    bytes: u64,
}

/// What concerns one connection only, which HTTP/2 does not have (RFC 9113, 8.2.2; RFC 8441, 5).
const OF_HTTP1: [&str; 6] =
    ["connection", "keep-alive", "proxy-connection", "sec-websocket-accept", "transfer-encoding", "upgrade"];

impl Fields {
    /// Adds one.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) else {
            return;
        };
        if OF_HTTP1.contains(&name.as_str()) {
            return;
        }
        self.bytes += (name.as_str().len() + value.len()) as u64;
        // So many fields that the map refuses them are beyond every bound of an answer.
        let _ = self.map.try_append(name, value);
    }

    /// What they measure as text, bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// One stream's way to the client.
pub struct H2Answer {
    state: RefCell<State>,
    /// The piece that is sent next is the last one.
    last: Cell<bool>,
    /// It was ended or reset by either side.
    over: Cell<bool>,
    /// The client, or the end of its connection, has reset it.
    gone: Cell<bool>,
    unsent: Rc<Unsent>,
    /// Bytes in one DATA frame.
    chunk_bytes: Cell<usize>,
    stream: u32,
    tally: Rc<Tally>,
}

enum State {
    /// The head was not sent.
    Head(SendResponse<Piece>),
    /// The body is sent.
    Body(SendStream<Piece>),
}

fn broken() -> io::Error {
    io::Error::from_raw_os_error(libc::ECONNRESET)
}

impl H2Answer {
    pub(super) fn new(respond: SendResponse<Piece>, tally: Rc<Tally>) -> H2Answer {
        let stream = respond.stream_id().as_u32();
        let state = RefCell::new(State::Head(respond));
        let no = || Cell::new(false);
        let chunk_bytes = Cell::new(LARGE_BUFFER_BYTES);
        H2Answer {
            state,
            last: no(),
            over: no(),
            gone: no(),
            unsent: Rc::default(),
            chunk_bytes,
            stream,
            tally,
        }
    }

    /// Sends an answer before the answer (103). False if that cannot be.
    pub fn send_interim(&self, status: u16, fields: Fields) -> bool {
        let State::Head(respond) = &mut *self.state.borrow_mut() else { return false };
        let Some(head) = head_of(status, fields) else { return false };
        respond.send_informational(head).is_ok()
    }

    /// Bytes that one DATA frame may hold from now on.
    pub fn set_chunk(&self, bytes: usize) {
        self.chunk_bytes.set(bytes);
    }

    /// Sends the head; `end`: nothing follows it. False when the client is gone.
    pub fn send_head(&self, status: u16, fields: Fields, end: bool) -> bool {
        let mut state = self.state.borrow_mut();
        let State::Head(respond) = &mut *state else { return false };
        let Some(head) = head_of(status, fields) else { return false };
        let Ok(stream) = respond.send_response(head, end) else { return false };
        self.over.set(end);
        *state = State::Body(stream);
        self.tally.notes.answers(self.stream);
        true
    }

    /// From now on a piece that is sent whole is the last one.
    pub fn end_with_next(&self) {
        self.last.set(true);
    }

    /// Whether nothing more can be sent.
    pub fn is_over(&self) -> bool {
        self.over.get()
    }

    /// Sends as much of a piece as the client's windows take now, and waits until they take some.
    pub async fn write(&self, buffer: Buffer) -> (io::Result<usize>, Buffer) {
        let wanted = buffer.len().min(self.chunk_bytes.get());
        if wanted == 0 {
            return (Ok(0), buffer);
        }
        if let State::Body(stream) = &mut *self.state.borrow_mut() {
            stream.reserve_capacity(wanted);
        }
        match poll_fn(|cx| self.poll_capacity(cx)).await {
            Ok(room) => self.send(buffer, room.min(wanted)),
            Err(error) => (Err(error), buffer),
        }
    }

    fn poll_capacity(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let State::Body(stream) = &mut *self.state.borrow_mut() else { return Poll::Ready(Err(broken())) };
        if stream.capacity() > 0 {
            return Poll::Ready(Ok(stream.capacity()));
        }
        match ready!(stream.poll_capacity(cx)) {
            Some(Ok(room)) => Poll::Ready(Ok(room)),
            Some(Err(_)) | None => {
                self.gone.set(true);
                Poll::Ready(Err(broken()))
            }
        }
    }

    fn send(&self, mut buffer: Buffer, room: usize) -> (io::Result<usize>, Buffer) {
        let State::Body(stream) = &mut *self.state.borrow_mut() else { return (Err(broken()), buffer) };
        let (piece, back) = if room >= buffer.len() {
            // What comes back is for more: the memory of this one is h2's now.
            (std::mem::take(&mut buffer), Buffer::ordinary())
        } else {
            let mut piece = Buffer::with_capacity(room);
            piece.append(&buffer.filled()[..room]);
            (piece, buffer)
        };
        let sent = piece.len();
        let end = self.last.get() && back.is_empty();
        if stream.send_data(Piece::new(piece, &self.unsent), end).is_err() {
            self.gone.set(true);
            return (Err(broken()), back);
        }
        self.over.set(end);
        self.tally.worth(sent);
        (Ok(sent), back)
    }

    /// Ends the answer, with fields behind the body where there are any.
    pub fn finish(&self, trailers: Fields) -> bool {
        let State::Body(stream) = &mut *self.state.borrow_mut() else { return false };
        if self.over.replace(true) {
            return true;
        }
        if trailers.map.is_empty() {
            return stream.send_data(Piece::new(Buffer::default(), &self.unsent), true).is_ok();
        }
        stream.send_trailers(trailers.map).is_ok()
    }

    /// Waits until what was sent is on its way: breaking off would lose it. Or the client is gone.
    pub async fn sent(&self) {
        poll_fn(|cx| {
            if self.unsent.pieces.get() == 0 {
                return Poll::Ready(());
            }
            self.unsent.waits.set(Some(cx.waker().clone()));
            self.poll_gone(cx)
        })
        .await;
    }

    /// Breaks it off, so that the client sees that it is not whole.
    pub fn reset(&self) {
        self.reset_for(Reason::INTERNAL_ERROR);
    }

    /// Breaks it off for a client that has not sent what it owes.
    pub fn give_up(&self) {
        self.reset_for(Reason::PROTOCOL_ERROR);
    }

    /// Breaks off a tunnel whose other end has broken off (RFC 8441, 5).
    pub fn cancel(&self) {
        self.reset_for(Reason::CANCEL);
    }

    fn reset_for(&self, why: Reason) {
        if self.over.replace(true) {
            return;
        }
        match &mut *self.state.borrow_mut() {
            State::Head(respond) => respond.send_reset(why),
            State::Body(stream) => stream.send_reset(why),
        }
    }

    /// Ready when the client has reset the stream, or is gone.
    pub fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.gone.get() {
            return Poll::Ready(());
        }
        let polled = match &mut *self.state.borrow_mut() {
            State::Head(respond) => respond.poll_reset(cx).map(|_| ()),
            State::Body(stream) => stream.poll_reset(cx).map(|_| ()),
        };
        self.gone.set(polled.is_ready());
        polled
    }

    /// Whether it has, or is.
    pub fn is_gone(&self) -> bool {
        self.poll_gone(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    /// Whether the client's windows take more now.
    pub fn has_room(&self) -> bool {
        matches!(&*self.state.borrow(), State::Body(stream) if stream.capacity() > 0)
    }
}

impl Drop for H2Answer {
    fn drop(&mut self) {
        self.tally.notes.answers(self.stream);
    }
}

fn head_of(status: u16, fields: Fields) -> Option<Response<()>> {
    let mut head = Response::new(());
    *head.status_mut() = StatusCode::from_u16(status).ok()?;
    *head.headers_mut() = fields.map;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_http_2_does_not_have_are_left_out() {
        let mut fields = Fields::default();
        for (name, value) in [
            ("X-One", "1"),
            ("Connection", "close"),
            ("Transfer-Encoding", "chunked"),
            ("Keep-Alive", "timeout=5"),
            ("Sec-WebSocket-Accept", "x"),
            ("bad name", "x"),
            ("x-bad", "a\r\nb"),
            ("x-one", "2"),
        ] {
            fields.push(name.as_bytes(), value.as_bytes());
        }
        let all: Vec<_> = fields.map.get_all("x-one").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!((fields.map.len(), all), (2, vec![&b"1"[..], b"2"]));
    }
}
