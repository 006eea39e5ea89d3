//! The content step: opens the file that the path means and makes the answer's head from it.

use crate::base::process_settings::Level;
use crate::http::uri::{Escape, escape};
use crate::http::{Known, Method, date};
use crate::net::error_log::OsError;
use crate::net::file::{FileKind, FileRange, OpenFile};
use crate::pipeline::answer::{Answer, Body};
use crate::pipeline::conditions::{self, Verdict};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::file_path::FilePath;
use crate::pipeline::media_type;
use crate::pipeline::ranges::{self, Asked};
use crate::pipeline::redirect;
use crate::pipeline::step::{Flow, WaitingStep};
use rustix::io::Errno;
use std::future::{Future, ready};
use std::io::{self, Write};
use std::pin::Pin;

/// Serves files.
#[derive(Debug)]
pub(super) struct StaticFiles {
    /// `max_ranges`, where given.
    pub(super) max_ranges: Option<u64>,
}

impl WaitingStep for StaticFiles {
    fn run<'a>(&'a self, x: &'a mut Exchange) -> Pin<Box<dyn Future<Output = Flow> + 'a>> {
        if !matches!(x.method(), Method::Get | Method::Head | Method::Post) {
            return Box::pin(ready(Flow::Answer(Answer::Status(405))));
        }
        if matches!(x.uri.last(), Some(b'/') | None) {
            return Box::pin(ready(Flow::Next));
        }
        Box::pin(async move { Flow::Answer(self.serve(x).await) })
    }
}

impl StaticFiles {
    async fn serve(&self, x: &mut Exchange) -> Answer {
        let path = match FilePath::of(x) {
            Ok(path) => path,
            Err(status) => return Answer::Status(status),
        };
        let file = match x.open_file(path.bytes()).await {
            Ok(file) => file,
            Err(error) => return Answer::Status(open_fault(x, &path, &error)),
        };
        match file.facts.kind {
            FileKind::Regular if x.method() == Method::Post => Answer::Status(405),
            FileKind::Regular => self.answer(x, file),
            FileKind::Directory => with_slash(x),
            FileKind::Other => {
                x.log(Level::Crit, format_args!("\"{}\" is not a regular file", path.shown()));
                Answer::Status(404)
            }
        }
    }

    /// The file, a part of it, or that the client has it already.
    fn answer(&self, x: &mut Exchange, file: OpenFile) -> Answer {
        let (size, modified) = (file.facts.size, file.facts.modified_unix_s);
        let tag = Tag::of(modified, size);
        let etag = x.here.settings.etag.then(|| tag.bytes());
        x.answer.status = 200;
        x.answer.reason.clear();
        x.answer.length = Some(size);
        media_type::set(x);
        x.answer.fields.set_known(Known::LastModified, b"Last-Modified", &date::http(modified));
        if let Some(etag) = etag {
            x.answer.fields.set_known(Known::Etag, b"ETag", etag);
        }
        // The page of an error, and what is embedded in another answer, are sent as they are.
        if x.error_status.is_some() || x.depth > 0 {
            return Answer::Ready(Body::File(FileRange::new(file, 0, size)));
        }
        match conditions::verdict(x, Some(modified), etag) {
            Verdict::Send => {}
            Verdict::NotModified => {
                conditions::make_not_modified(&mut x.answer);
                return Answer::Ready(Body::None);
            }
            Verdict::Failed => {
                x.answer.clear();
                return Answer::Status(412);
            }
        }
        if self.max_ranges == Some(0) {
            return Answer::Ready(Body::File(FileRange::new(file, 0, size)));
        }
        match ranges::asked(x, size, Some(modified), etag, self.max_ranges) {
            Asked::Whole => {
                x.answer.fields.set_known(Known::AcceptRanges, b"Accept-Ranges", b"bytes");
                Answer::Ready(Body::File(FileRange::new(file, 0, size)))
            }
            Asked::One(range) => {
                let len = range.end - range.start;
                x.answer.status = 206;
                x.answer.length = Some(len);
                x.answer.fields.push_with(b"Content-Range", |out| {
                    ranges::content_range(Some(&range), size, out);
                });
                Answer::Ready(Body::File(FileRange::new(file, range.start, len)))
            }
            Asked::Many(ranges) => {
                let boundary = ranges::boundary();
                let parts = ranges::parts(&ranges, size, &x.answer.content_type, &boundary);
                let body = FileRange::of_segments(file, parts);
                x.answer.status = 206;
                x.answer.length = Some(body.remaining());
                x.answer.content_type.clear();
                x.answer.content_type.extend_from_slice(b"multipart/byteranges; boundary=");
                x.answer.content_type.extend_from_slice(&boundary);
                Answer::Ready(Body::File(body))
            }
            Asked::Unsatisfiable => {
                x.answer.clear();
                x.answer.fields.push_with(b"Content-Range", |out| ranges::content_range(None, size, out));
                Answer::Status(416)
            }
        }
    }
}

/// The status for a file that cannot be opened, logged as nginx does.
fn open_fault(x: &Exchange, path: &FilePath, error: &io::Error) -> u16 {
    let (level, status) = match Errno::from_io_error(error) {
        Some(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => (Level::Error, 404),
        Some(Errno::ACCESS | Errno::MLINK | Errno::LOOP) => (Level::Error, 403),
        // The file pool has more to do than it can.
        None if error.kind() == io::ErrorKind::WouldBlock => (Level::Error, 503),
        _ => (Level::Crit, 500),
    };
    if status != 404 || x.here.settings.log_not_found {
        x.log(level, format_args!("{} \"{}\" failed {}", x.open_call(), path.shown(), OsError(error)));
    }
    status
}

/// A directory asked for by its bare name: 301 to the name with a slash.
fn with_slash(x: &mut Exchange) -> Answer {
    let mut target = Vec::with_capacity(x.uri.len() + x.args.len() + 16);
    escape(Escape::Uri, &x.uri, &mut target);
    target.push(b'/');
    if !x.args.is_empty() {
        target.push(b'?');
        target.extend_from_slice(&x.args);
    }
    let mut location = Vec::with_capacity(target.len() + 64);
    redirect::location(x, &target, &mut location);
    x.answer.fields.remove(Known::Location);
    x.answer.fields.push_with(b"Location", |out| out.extend_from_slice(&location));
    Answer::Status(301)
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
