//! The content step: opens the file that the path means and makes the answer's head from it.

use crate::base::process_settings::Level;
use crate::http::uri::{Escape, escape};
use crate::http::{Known, Method};
use crate::net::error_log::OsError;
use crate::net::file::FileKind;
use crate::pipeline::answer::Answer;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::file_answer;
use crate::pipeline::file_path::FilePath;
use crate::pipeline::redirect;
use crate::pipeline::step::{Flow, WaitingStep};
use rustix::io::Errno;
use std::future::{Future, ready};
use std::io;
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
            FileKind::Regular => file_answer::of(x, file, self.max_ranges),
            FileKind::Directory => with_slash(x),
            FileKind::Other => {
                x.log(Level::Crit, format_args!("\"{}\" is not a regular file", path.shown()));
                Answer::Status(404)
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
