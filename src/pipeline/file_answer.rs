//! A file becomes an answer: its head, by which the request's conditions are weighed later.

use super::answer::{Answer, Body, Ranges};
use super::exchange::Exchange;
use super::media_type;
use crate::http::{Known, date};
use crate::net::file::{FileRange, OpenFile};
use std::io::Write;

/// The file. Parts may be asked for, as many as `max_ranges` says.
pub fn of(x: &mut Exchange, file: OpenFile, max_ranges: Option<u64>) -> Answer {
    let (size, modified) = (file.facts.size, file.facts.modified_unix_s);
    let tag = Tag::of(modified, size);
    let etag = x.here.settings.etag.then(|| tag.bytes());
    x.answer.status = 200;
    x.answer.reason.clear();
    x.answer.length = Some(size);
    x.answer.ranges = Ranges::Many(max_ranges);
    media_type::set(x);
    // The page of an error does not say when it was changed: that is not what was asked for.
    if !x.error_status.is_some_and(|status| !matches!(status, 200 | 206 | 304)) {
        x.answer.fields.set_known(Known::LastModified, b"Last-Modified", &date::http(modified));
    }
    if let Some(etag) = etag {
        x.answer.fields.set_known(Known::Etag, b"ETag", etag);
    }
    Answer::Ready(Body::File(FileRange::new(file, 0, size)))
}

/// An `ETag`: time of change and size in hexadecimal, `"4f1a2b3c-1a2"`.
struct Tag {
    text: [u8; 40],
    len: usize,
}

impl Tag {
    fn of(modified_unix_s: i64, size: u64) -> Tag {
        let mut text = [0; 40];
        let mut rest = &mut text[..];
        // Twice 16 digits, two quotes and a dash always fit.
        let _ = write!(rest, "\"{modified_unix_s:x}-{size:x}\"");
        let len = 40 - rest.len();
        Tag { text, len }
    }

    fn bytes(&self) -> &[u8] {
        self.text.get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_nginxs() {
        assert_eq!(Tag::of(0x637c_f2a0, 615).bytes(), b"\"637cf2a0-267\"");
        assert_eq!(Tag::of(0, 0).bytes(), b"\"0-0\"");
        assert_eq!(Tag::of(-1, u64::MAX).bytes(), b"\"ffffffffffffffff-ffffffffffffffff\"");
    }
}
