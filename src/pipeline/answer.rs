//! An answer: what a content step hands to the one door all answers leave by.

use super::fields::FieldList;
use crate::net::file::FileRange;

/// How a request is answered.
pub enum Answer {
    /// With this status and whatever belongs to it: an `error_page`, else the built-in page.
    Status(u16),
    /// `Exchange::answer` is filled, and this is the body.
    Ready(Body),
    /// Not at all: the connection is closed (`return 444`, a client that left).
    Close,
}

/// The status line and fields of an answer, as far as the gateway decides them; framing and
/// connection fields are added at the door.
#[derive(Default, Debug)]
pub struct AnswerHead {
    /// The status code.
    pub status: u16,
    /// The upstream's own reason phrase; empty for the standard one.
    pub reason: Vec<u8>,
    /// `Content-Type` with charset; empty for none.
    pub content_type: Vec<u8>,
    /// The body's length, where it is known before it is sent.
    pub length: Option<u64>,
    /// All other fields, in order.
    pub fields: FieldList,
    /// Fields behind the body, where it is chunked (RFC 9112, 7.1.2).
    pub trailers: FieldList,
    /// The body is to be chunked even if its length is known: fields will follow it.
    pub expect_trailers: bool,
}

impl AnswerHead {
    /// Makes it an empty answer again; keeps the memory.
    pub fn clear(&mut self) {
        self.status = 0;
        self.reason.clear();
        self.content_type.clear();
        self.length = None;
        self.fields.clear();
        self.trailers.clear();
        self.expect_trailers = false;
    }
}

/// Where an answer's body comes from.
pub enum Body {
    /// There is none.
    None,
    /// Bytes in memory.
    Bytes(Vec<u8>),
    /// A file, or a part of one.
    File(FileRange),
    /// An upstream's answer, read as it is sent on: `Exchange::upstream_body`.
    Upstream,
    /// The connection becomes a tunnel to the upstream's (status 101).
    Tunnel,
}
