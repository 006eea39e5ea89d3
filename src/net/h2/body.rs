//! The body of a request.

use super::answer::H2Answer;
use super::tally::Tally;
use crate::base::buffer::Buffer;
use crate::base::clock;
use crate::base::limits::{LARGE_BUFFER_BYTES, SMALL_BUFFER_BYTES};
use crate::net::deadline::Alarm;
use crate::net::h1_body::BodyFault;
use bytes::{Buf, Bytes};
use h2::RecvStream;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

/// The bytes that the client sends on one stream. What was not given out holds the client back: its
/// window opens again as the body is read.
pub struct H2Body {
    receive: RecvStream,
    /// What came and was not given out.
    ahead: Bytes,
    done: bool,
    /// It is no body but one direction of a tunnel, whose time has not come.
    held: bool,
    received: u64,
    answer: Rc<H2Answer>,
    tally: Rc<Tally>,
}

impl H2Body {
    pub(super) fn new(receive: RecvStream, answer: Rc<H2Answer>, tally: Rc<Tally>) -> H2Body {
        let done = receive.is_end_stream();
        H2Body { receive, ahead: Bytes::new(), done, held: false, received: 0, answer, tally }
    }

    /// Makes it one direction of a tunnel (RFC 8441): the request has no body then.
    pub fn hold(&mut self) {
        self.held = true;
    }

    /// Whether it is.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// The tunnel stands: what the client sends goes through it.
    pub fn release(&mut self) {
        self.held = false;
    }

    /// Whether all of it was given out.
    pub fn is_done(&self) -> bool {
        self.held || self.done && self.ahead.is_empty()
    }

    /// Bytes given out so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Whether [`H2Body::next`] need not wait.
    pub fn has_bytes(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// What of it is in hand: how many bytes, and whether that is all there is to come.
    pub fn at_hand(&self) -> (u64, bool) {
        (self.ahead.len() as u64, self.held || self.done)
    }

    /// Where the answer goes.
    pub fn answer(&self) -> &Rc<H2Answer> {
        &self.answer
    }

    /// Waits until there is something to give out, or the end, or a fault.
    pub async fn readable(&mut self) {
        // What is wrong is told by who reads.
        let _ = poll_fn(|cx| self.poll_fill(cx)).await;
    }

    /// The next piece, never empty; `None` at the end. Waits at most `timeout` for the client. What came in
    /// several frames is given out in one, as far as it fits. Fields behind the body are dropped, as those
    /// of a chunked one are.
    ///
    /// # Errors
    /// See [`BodyFault`].
    pub async fn next(&mut self, alarm: &mut Alarm, timeout: Duration) -> Result<Option<Buffer>, BodyFault> {
        if self.held {
            return Ok(None);
        }
        let deadline = clock::now() + timeout;
        let filled = alarm.within(deadline, poll_fn(|cx| self.poll_fill(cx))).await;
        filled.map_err(|_| BodyFault::Timeout)??;
        if self.ahead.is_empty() {
            return Ok(None);
        }
        let bytes = self.ahead.len().min(LARGE_BUFFER_BYTES);
        let mut piece = Buffer::with_capacity(bytes.max(SMALL_BUFFER_BYTES));
        self.move_into(&mut piece);
        while piece.room() > 0 && self.has_come() {
            self.move_into(&mut piece);
        }
        self.done |= self.receive.is_end_stream();
        Ok(Some(piece))
    }

    /// Moves what is in hand into a piece, as far as it fits.
    fn move_into(&mut self, piece: &mut Buffer) {
        let bytes = piece.append(&self.ahead);
        self.ahead.advance(bytes);
        // A stream that is over by now has no window.
        let _ = self.receive.flow_control().release_capacity(bytes);
        self.received += bytes as u64;
        self.tally.worth(bytes);
    }

    /// Whether there is more that came already. A fault is found again by who waits.
    fn has_come(&mut self) -> bool {
        let filled = self.poll_fill(&mut Context::from_waker(Waker::noop()));
        filled.is_ready() && !self.ahead.is_empty()
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyFault>> {
        while self.ahead.is_empty() && !self.done {
            match ready!(self.receive.poll_data(cx)) {
                Some(Ok(bytes)) => self.ahead = bytes,
                Some(Err(_)) => return Poll::Ready(Err(BodyFault::Closed)),
                None => self.done = true,
            }
        }
        Poll::Ready(Ok(()))
    }
}
