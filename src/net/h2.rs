//! HTTP/2 towards a client (RFC 9113): a small face over the h2 crate, which no other room names.
//!
//! ```text
//! Session ── frames, settings, GOAWAY ── Transport ── Stream
//!    └─ Incoming: a request ── H2Body: what the client sends ── H2Answer: what it gets
//! ```
//!
//! One task drives the [`Session`]; bodies and answers are driven by the tasks of their requests, on
//! the same thread.

mod answer;
mod body;
mod passing;
mod tally;
mod transport;

pub use answer::{Fields, H2Answer};
pub use body::H2Body;

use super::stream::Stream;
use crate::base::buffer::Buffer;
use crate::base::limits::{
    H2_CONTROL_RESETS_MAX, H2_EARLY_RESETS_MAX, H2_FAULTS_MAX, H2_HEADER_TABLE_BYTES, H2_SEND_BUFFER_BYTES,
    H2_SESSION_WINDOWS, H2_SMALL_FRAMES_BYTES,
};
use answer::Piece;
use h2::Reason;
use h2::server::Connection;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;
use tally::Tally;
use transport::Transport;

/// What a session is told of its client's rights.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Streams the client may have open at a time.
    pub streams_max: u32,
    /// Bytes of a request's body that may come before it is read.
    pub preread_bytes: u32,
    /// Bytes of one header list, as RFC 9113, 6.5.2 counts them.
    pub header_list_bytes: u32,
    /// Bytes that are read from the socket at once.
    pub read_bytes: usize,
}

/// A client's connection that speaks HTTP/2.
pub struct Session {
    connection: Connection<Transport, Piece>,
    tally: Rc<Tally>,
}

/// A request of the client.
pub struct Incoming {
    head: http::request::Parts,
    /// Its body.
    pub body: H2Body,
    /// The way of its answer.
    pub answer: Rc<H2Answer>,
    tally: Rc<Tally>,
    head_bytes: u32,
}

/// Why a session is ended by this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// Nothing is wrong.
    Idle,
    /// The client asks for far more work than its requests are worth.
    Abuse,
    /// It does not keep to the protocol, or does not end what it has begun.
    Fault,
}

impl Session {
    /// Begins a session on a connection whose first bytes, the client's preface among them, may be in
    /// `ahead` already.
    ///
    /// # Errors
    /// The socket's, and a preface or first frames that are none.
    pub async fn begin(stream: Stream, ahead: Buffer, rules: &Rules) -> io::Result<Session> {
        let tally = Rc::new(Tally::default());
        let transport = Transport::new(stream, ahead, rules.read_bytes, tally.clone());
        let window = rules.preread_bytes;
        let connection = h2::server::Builder::new()
            .initial_window_size(window)
            .initial_connection_window_size(
                window.saturating_mul(H2_SESSION_WINDOWS).clamp(0xffff, 0x7fff_ffff),
            )
            .max_concurrent_streams(rules.streams_max)
            .max_header_list_size(rules.header_list_bytes)
            .header_table_size(H2_HEADER_TABLE_BYTES)
            .max_send_buffer_size(H2_SEND_BUFFER_BYTES)
            .max_pending_accept_reset_streams(H2_EARLY_RESETS_MAX)
            .max_concurrent_reset_streams(H2_CONTROL_RESETS_MAX)
            .max_local_error_reset_streams(Some(H2_FAULTS_MAX))
            .data_frame_budget(H2_SMALL_FRAMES_BYTES)
            .enable_connect_protocol()
            .handshake(transport)
            .await
            .map_err(into_io)?;
        Ok(Session { connection, tally })
    }

    /// The next request; `None` when there will be none. Moves everything else along, too.
    pub fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Incoming>>> {
        self.connection.poll_accept(cx).map(|next| {
            next.map(|request| {
                let (request, respond) = request.map_err(into_io)?;
                let (head, receive) = request.into_parts();
                let answer = Rc::new(H2Answer::new(respond, self.tally.clone()));
                let (stream, notes) = (receive.stream_id().as_u32(), &self.tally.notes);
                let head_bytes = notes.take_head(stream).unwrap_or_default();
                if !receive.is_end_stream() {
                    notes.awaits(stream);
                }
                let body = H2Body::new(receive, answer.clone(), self.tally.clone());
                Ok(Incoming { head, body, answer, tally: self.tally.clone(), head_bytes })
            })
        })
    }

    /// Moves everything along but takes no request. Ready when the connection is over.
    pub fn poll_others(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.connection.poll_closed(cx).map(|_| ())
    }

    /// Asks the client to make no more requests (GOAWAY); those under way go on, and those that cross it.
    pub fn leave(&mut self) {
        self.connection.graceful_shutdown();
    }

    /// Ends it: what is under way is lost, but for the GOAWAY that tells the client why.
    pub fn end(&mut self, why: Parting) {
        self.tally.stop_reading();
        self.connection.abrupt_shutdown(match why {
            Parting::Idle => Reason::NO_ERROR,
            Parting::Abuse => Reason::ENHANCE_YOUR_CALM,
            Parting::Fault => Reason::PROTOCOL_ERROR,
        });
    }

    /// Whether what the client sends is nearly all frames that carry nothing.
    pub fn is_flooded(&self) -> bool {
        self.tally.is_flooded()
    }

    /// How many requests were refused, and never given out, since this was asked.
    pub fn take_refused(&self) -> u32 {
        self.tally.notes.take_refused()
    }

    /// Whether the client has sent PUSH_PROMISE.
    pub fn has_promised(&self) -> bool {
        self.tally.notes.has_promised()
    }

    /// Whether there were any.
    pub fn has_refused(&self) -> bool {
        self.tally.notes.has_refused()
    }

    /// Since when a head that the client has begun has not come to its end.
    pub fn head_since(&self) -> Option<Instant> {
        self.tally.notes.partial_since()
    }

    /// Since when the client has taken none of the bytes that wait for it; `None` when none wait.
    pub fn stuck_since(&self) -> Option<Instant> {
        self.tally.stuck_since()
    }
}

impl Incoming {
    /// The method.
    pub fn method(&self) -> &str {
        self.head.method.as_str()
    }

    /// `:authority`, where it is given.
    pub fn authority(&self) -> Option<&str> {
        self.head.uri.authority().map(http::uri::Authority::as_str)
    }

    /// Whether `:scheme` was there and empty; as far as that shows, which is where there is an `:authority`.
    pub fn has_no_scheme(&self) -> bool {
        let is_plain_connect = self.head.method == http::Method::CONNECT && self.protocol().is_none();
        self.authority().is_some()
            && !is_plain_connect
            && self.head.uri.scheme_str().is_none_or(str::is_empty)
    }

    /// `:protocol` of an extended CONNECT (RFC 8441, 4).
    pub fn protocol(&self) -> Option<&str> {
        self.head.extensions.get::<h2::ext::Protocol>().map(h2::ext::Protocol::as_str)
    }

    /// Bytes of the head as it came.
    pub fn head_bytes(&self) -> u32 {
        self.head_bytes
    }

    /// `:path`; empty for CONNECT.
    pub fn path(&self) -> &str {
        self.head.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str)
    }

    /// The fields, in order but for those of one name, which stand together.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
    }

    /// Counts the bytes of the head as worth their frames.
    pub fn note_head(&self, bytes: usize) {
        self.tally.worth(bytes);
    }
}

/// An error of h2 as one of the socket.
fn into_io(error: h2::Error) -> io::Error {
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::Other.into());
    }
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}
