//! An answer: what a content step hands to the one door all answers leave by.

use super::fields::FieldList;
use crate::http::Known;
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
    /// The field Server is left out.
    pub hides_server: bool,
    /// Which parts of the body may be asked for.
    pub ranges: Ranges,
    /// The charset that the body is to be in, where the upstream names one (`X-Accel-Charset`), or the
    /// answer that this one is put into.
    pub charset: Option<Vec<u8>>,
    /// Whether it is compressed depends on what the request accepts: `gzip_vary` tells caches so.
    pub coding_varies: bool,
}

/// Which parts of a body a request may ask for (RFC 9110, 14).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ranges {
    /// None.
    #[default]
    No,
    /// One: of a body that is passed on as it comes.
    One,
    /// So many at most, any number without one.
    Many(Option<u64>),
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
        self.hides_server = false;
        self.ranges = Ranges::No;
        self.coding_varies = false;
        self.charset = None;
    }

    /// The body will be another one than the source's: its length is not known, its parts cannot be
    /// asked for.
    pub fn forget_length(&mut self) {
        self.length = None;
        self.forget_ranges();
    }

    /// Parts of the body cannot be asked for.
    pub fn forget_ranges(&mut self) {
        self.ranges = Ranges::No;
        self.fields.remove(Known::AcceptRanges);
    }

    /// The same content in other bytes: the tag is a weak one from here on (RFC 9110, 8.8.1). A tag
    /// that is malformed is removed.
    pub fn weaken_etag(&mut self) {
        let Some(tag) = self.fields.find(Known::Etag) else { return };
        if tag.starts_with(b"W/") && tag.len() > 2 {
            return;
        }
        if !tag.starts_with(b"\"") {
            self.fields.remove(Known::Etag);
            return;
        }
        let weak = [b"W/", tag].concat();
        self.fields.replace(Known::Etag, &weak);
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
