//! A message body as HTTP/1 frames it (RFC 9112 section 6), read from a stream: a client's request
//! or an upstream's answer.

use super::deadline::Alarm;
use super::splice::Pipe;
use super::stream::Stream;
use crate::base::buffer::Buffer;
use crate::base::clock;
use crate::base::limits::{BUFFER_BYTES, PIPE_BYTES, SPLICE_LEAST};
use crate::http::chunked::Decoder;
use std::io::ErrorKind;
use std::time::Duration;

/// The bytes of one body, and those of the connection behind it.
pub struct H1Body {
    stream: Stream,
    /// Read from the socket but not given out: body bytes, and behind them what follows it.
    ahead: Buffer,
    state: State,
    /// Body bytes given out so far.
    received: u64,
    /// Bytes read from the socket for it, as framed.
    raw: u64,
    /// An interim answer that is owed before the first wait for the body (RFC 9110 10.1.1).
    continue_due: bool,
    /// What read a chunked body to its end, if trailer fields followed.
    trailers: Option<Box<Decoder>>,
}

enum State {
    Done,
    Length(u64),
    Chunked(Box<Decoder>),
    UntilClose,
}

/// How a body is framed, seen from its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// There is none.
    None,
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// It ends with the connection (answers only).
    UntilClose,
}

/// Why a body could not be read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// Nothing came in time.
    Timeout,
    /// The peer closed the connection before the end.
    Closed,
    /// Reading failed, with this error number: the peer reset the connection, most often.
    Failed(i32),
    /// The chunked coding was malformed.
    Malformed,
}

impl H1Body {
    /// A body framed so, whose first bytes may be in `ahead` already.
    pub fn new(stream: Stream, ahead: Buffer, frame: Frame) -> H1Body {
        let state = match frame {
            Frame::None | Frame::Length(0) => State::Done,
            Frame::Length(n) => State::Length(n),
            Frame::Chunked => State::Chunked(Box::default()),
            Frame::UntilClose => State::UntilClose,
        };
        H1Body { stream, ahead, state, received: 0, raw: 0, continue_due: false, trailers: None }
    }

    /// Owes the client a `100 Continue` before its body is waited for.
    pub fn expect_continue(&mut self) {
        self.continue_due = true;
    }

    /// Whether all of the body was given out.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Bytes still to come, where the framing tells.
    pub fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Done => Some(0),
            State::Length(n) => Some(n),
            State::Chunked(_) | State::UntilClose => None,
        }
    }

    /// Body bytes given out so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Bytes read from the socket for it so far, framing included; what came with the head is not
    /// among them.
    pub fn raw_received(&self) -> u64 {
        self.raw
    }

    /// Whether bytes wait in memory, so that [`H1Body::next`] need not wait for the socket.
    pub fn has_bytes(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Sends the `100 Continue` that is owed, if one is.
    pub fn send_continue(&mut self) {
        if std::mem::take(&mut self.continue_due) {
            // What does not fit into an empty socket buffer of a client that waits will not be
            // read by it either; the body then times out.
            let _ = self.stream.send_now(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
    }

    /// Whether the client waits for a `100 Continue` that was not sent yet.
    pub fn owes_continue(&self) -> bool {
        self.continue_due
    }

    /// What read a chunked body to its end, if trailer fields followed.
    pub fn take_trailers(&mut self) -> Option<Box<Decoder>> {
        self.trailers.take()
    }

    /// What of it is in memory already: how many bytes, and whether that is all there is to come.
    pub fn at_hand(&self) -> (u64, bool) {
        let ahead = self.ahead.len() as u64;
        match &self.state {
            State::Done => (0, true),
            State::UntilClose => (ahead, false),
            State::Length(left) => (ahead.min(*left), ahead >= *left),
            State::Chunked(decoder) => {
                let mut decoder = decoder.clone();
                let (mut bytes, mut rest) = (0, self.ahead.filled());
                while let Ok(step) = decoder.decode(rest) {
                    bytes += step.data.len() as u64;
                    if step.done || step.consumed == 0 {
                        return (bytes, step.done);
                    }
                    rest = rest.get(step.consumed..).unwrap_or_default();
                }
                // What is malformed is met when it is read.
                (bytes, false)
            }
        }
    }

    /// The stream it is read from.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The stream, and the bytes read from it that are not part of this body.
    pub fn into_parts(self) -> (Stream, Buffer) {
        (self.stream, self.ahead)
    }

    /// The next piece, never empty; `None` at the end. Waits at most `timeout` for the peer.
    ///
    /// # Errors
    /// See [`BodyFault`]; the connection cannot be used afterwards.
    pub async fn next(&mut self, alarm: &mut Alarm, timeout: Duration) -> Result<Option<Buffer>, BodyFault> {
        self.send_continue();
        loop {
            if let Some(piece) = self.take_ahead()? {
                self.received += piece.len() as u64;
                return Ok(Some(piece));
            }
            if self.is_done() {
                return Ok(None);
            }
            if !self.fill(alarm, timeout).await? {
                return match self.state {
                    State::UntilClose => {
                        self.state = State::Done;
                        Ok(None)
                    }
                    _ => Err(BodyFault::Closed),
                };
            }
        }
    }

    /// Whether the rest is such that the kernel may pass it on, and large enough for that.
    pub fn is_worth_splicing(&self) -> bool {
        let is_large = match self.state {
            State::Length(left) => left >= SPLICE_LEAST,
            // What has been large so far goes on to be.
            State::UntilClose => self.received >= SPLICE_LEAST,
            State::Done | State::Chunked(_) => false,
        };
        is_large && self.ahead.is_empty() && !self.stream.is_encrypted()
    }

    /// Takes what has come of the body into a pipe: how many bytes, 0 at the end; `None` when nothing has.
    /// The body [is worth it](H1Body::is_worth_splicing), or was.
    ///
    /// # Errors
    /// As [`H1Body::next`]'s.
    pub fn splice(&mut self, pipe: &mut Pipe) -> Result<Option<usize>, BodyFault> {
        let most = match self.state {
            State::Length(left) => usize::try_from(left).unwrap_or(usize::MAX).min(PIPE_BYTES),
            State::UntilClose => PIPE_BYTES,
            State::Done | State::Chunked(_) => return Ok(Some(0)),
        };
        let taken = match pipe.fill(&self.stream, most) {
            Ok(taken) => taken,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(None),
            Err(e) => return Err(BodyFault::Failed(e.raw_os_error().unwrap_or_default())),
        };
        self.received += taken as u64;
        self.raw += taken as u64;
        match &mut self.state {
            State::Length(_) if taken == 0 => return Err(BodyFault::Closed),
            State::UntilClose if taken == 0 => self.state = State::Done,
            State::Length(left) => {
                *left = left.saturating_sub(taken as u64);
                if *left == 0 {
                    self.state = State::Done;
                    // What comes behind it is noticed as it is when it is read.
                    let mut behind = Buffer::small();
                    if self.stream.read_now(&mut behind).is_ok_and(|more| more > 0) {
                        self.ahead = behind;
                    }
                }
            }
            _ => {}
        }
        Ok(Some(taken))
    }

    /// Waits for more to come, at most `timeout`.
    ///
    /// # Errors
    /// [`BodyFault::Timeout`]; what else there is shows when it is read.
    pub async fn readable(&mut self, alarm: &mut Alarm, timeout: Duration) -> Result<(), BodyFault> {
        let readable = alarm.within(clock::now() + timeout, self.stream.readable()).await;
        readable.map(drop).map_err(|_| BodyFault::Timeout)
    }

    /// Reads once more into `ahead`; false at the end of the stream.
    async fn fill(&mut self, alarm: &mut Alarm, timeout: Duration) -> Result<bool, BodyFault> {
        self.send_continue();
        let mut ahead = std::mem::take(&mut self.ahead);
        if ahead.capacity() == 0 || (ahead.is_empty() && ahead.capacity() < self.wanted()) {
            ahead = Buffer::with_capacity(self.wanted());
        } else if ahead.room() == 0 {
            ahead.compact();
            if ahead.room() == 0 {
                // A chunk head that fills a buffer is no chunk head.
                return Err(BodyFault::Malformed);
            }
        }
        let read = alarm.within(clock::now() + timeout, self.stream.read(ahead)).await;
        let (result, ahead) = read.map_err(|_| BodyFault::Timeout)?;
        self.ahead = ahead;
        match result {
            Ok(n) => {
                self.raw += n as u64;
                Ok(n > 0)
            }
            Err(error) => Err(BodyFault::Failed(error.raw_os_error().unwrap_or_default())),
        }
    }

    /// The size of buffer worth taking: large ones only for bodies that fill them.
    fn wanted(&self) -> usize {
        match self.state {
            State::Length(n) if n <= BUFFER_BYTES as u64 => BUFFER_BYTES,
            _ => crate::base::limits::LARGE_BUFFER_BYTES,
        }
    }

    /// What of `ahead` is body, as a buffer of its own; `None` when more must be read first.
    fn take_ahead(&mut self) -> Result<Option<Buffer>, BodyFault> {
        if self.ahead.is_empty() {
            return Ok(None);
        }
        match &mut self.state {
            State::Done => Ok(None),
            State::UntilClose => Ok(Some(std::mem::take(&mut self.ahead))),
            State::Length(left) => {
                let piece = if self.ahead.len() as u64 <= *left {
                    std::mem::take(&mut self.ahead)
                } else {
                    split_front(&mut self.ahead, *left as usize)
                };
                *left -= piece.len() as u64;
                if *left == 0 {
                    self.state = State::Done;
                }
                Ok(Some(piece))
            }
            State::Chunked(decoder) => {
                let mut piece = Buffer::default();
                let mut done = false;
                while !self.ahead.is_empty() && !done {
                    let step = decoder.decode(self.ahead.filled()).map_err(|_| BodyFault::Malformed)?;
                    let data = step.data.of(self.ahead.filled());
                    if !data.is_empty() {
                        if piece.capacity() == 0 {
                            piece = Buffer::with_capacity(self.ahead.len());
                        }
                        piece.append(data);
                    }
                    done = step.done;
                    if step.consumed == 0 && !done {
                        break;
                    }
                    self.ahead.consume(step.consumed);
                }
                if done && let State::Chunked(decoder) = std::mem::replace(&mut self.state, State::Done) {
                    self.trailers = Some(decoder).filter(|decoder| !decoder.trailers().0.list.is_empty());
                }
                Ok((!piece.is_empty()).then_some(piece))
            }
        }
    }
}

/// Cuts the first `n` bytes off `buffer`.
fn split_front(buffer: &mut Buffer, n: usize) -> Buffer {
    let mut front = Buffer::with_capacity(n);
    front.append(&buffer.filled()[..n.min(buffer.len())]);
    buffer.consume(n);
    front
}
