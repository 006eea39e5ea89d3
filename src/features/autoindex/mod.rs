//! `autoindex`: a page of what is in a directory that has no index file. And `random_index`, which
//! answers for a directory with one of its files.

mod page;

use crate::base::clock;
use crate::base::process_settings::Level;
use crate::conf::{Arity, Context, Diagnostic, DirectiveSpec as D, Scope};
use crate::features::static_files::ServesFiles;
use crate::http::Method;
use crate::net::directory::{self, Entry, Fault};
use crate::net::error_log::OsError;
use crate::net::file::FileKind;
use crate::net::timezone;
use crate::pipeline::answer::{Answer, Body};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::file_path::FilePath;
use crate::pipeline::step::{Flow, Phase, Relocation, WaitingStep};
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end, nothing};
use page::Shown;
use rustix::io::Errno;
use std::future::{Future, ready};
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;

const HSL: Context = Context::HTTP.or(Context::SERVER).or(Context::LOCATION);

/// The feature. It is listed behind `index`, which comes first.
pub const FEATURE: Feature = Feature {
    name: "autoindex",
    module: Some("http_autoindex"),
    directives: &[
        D::new(
            "autoindex",
            HSL,
            Arity::Flag,
            "on | off",
            "off",
            "Whether a directory without index file is listed.",
        ),
        D::new(
            "autoindex_format",
            HSL,
            Arity::Exactly(1),
            "html | xml | json | jsonp",
            "html",
            "The format of the list.",
        ),
        D::new(
            "autoindex_exact_size",
            HSL,
            Arity::Flag,
            "on | off",
            "on",
            "Whether the list shows sizes in bytes, or rounded (HTML).",
        ),
        D::new(
            "autoindex_localtime",
            HSL,
            Arity::Flag,
            "on | off",
            "off",
            "Whether the list shows times in the local time zone (HTML).",
        ),
    ],
    variables: &[],
    http: |scope, _| List::compile(scope).map(drop),
    location,
    end: no_end,
};

/// `random_index`. It is listed before `index`.
pub const RANDOM: Feature = Feature {
    name: "random_index",
    module: Some("http_random_index"),
    directives: &[D::new(
        "random_index",
        Context::LOCATION,
        Arity::Flag,
        "on | off",
        "off",
        "Whether one of its files, whichever, answers for a directory.",
    )],
    variables: &[],
    http: nothing,
    location: random_location,
    end: no_end,
};

/// The longest name of a function in JSONP.
const CALLBACK_MAX: usize = 128;

/// `autoindex_format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Html,
    Xml,
    Json,
    Jsonp,
}

impl Format {
    fn content_type(self) -> &'static [u8] {
        match self {
            Format::Html => b"text/html",
            Format::Xml => b"text/xml; charset=utf-8",
            Format::Json => b"application/json",
            Format::Jsonp => b"application/javascript",
        }
    }
}

/// The step.
struct List {
    format: Format,
    exact_size: bool,
    local_time: bool,
}

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let list = List::compile(scope)?;
    if scope.flag("autoindex", false)? && b.store::<ServesFiles>().0 {
        b.waiting(Phase::Content, list);
    }
    Ok(())
}

fn random_location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    if scope.flag("random_index", false)? && b.store::<ServesFiles>().0 {
        b.waiting(Phase::Content, RandomFile);
    }
    Ok(())
}

impl List {
    fn compile(scope: &Scope<'_>) -> Result<List, Diagnostic> {
        let formats =
            [("html", Format::Html), ("json", Format::Json), ("jsonp", Format::Jsonp), ("xml", Format::Xml)];
        Ok(List {
            format: scope.one_of("autoindex_format", &formats, Format::Html)?,
            exact_size: scope.flag("autoindex_exact_size", true)?,
            local_time: scope.flag("autoindex_localtime", false)?,
        })
    }

    async fn answer(&self, x: &mut Exchange) -> Answer {
        let (format, name) = match self.format {
            Format::Jsonp => match callback(&x.args) {
                None => (Format::Json, Vec::new()),
                Some(name) if is_function(x, name) => (Format::Jsonp, name.to_vec()),
                Some(_) => return Answer::Status(400),
            },
            format => (format, Vec::new()),
        };
        let mut entries = match entries(x).await {
            Ok(entries) => entries,
            Err(status) => return Answer::Status(status),
        };
        page::sort(&mut entries);
        let now = i64::try_from(clock::unix_time(clock::now()).as_secs()).unwrap_or(i64::MAX);
        let offset_s = if self.local_time { timezone::utc_offset_s(now) } else { 0 };
        let shown = Shown { exact_size: self.exact_size, offset_s };
        let page = page::write(format, &x.uri, &entries, shown, &name);
        x.answer.status = 200;
        x.answer.reason.clear();
        x.answer.content_type.clear();
        x.answer.content_type.extend_from_slice(format.content_type());
        x.answer.length = Some(page.len() as u64);
        Answer::Ready(Body::Bytes(page))
    }
}

impl WaitingStep for List {
    fn run<'a>(&'a self, x: &'a mut Exchange) -> Pin<Box<dyn Future<Output = Flow> + 'a>> {
        if x.uri.last() != Some(&b'/') || !matches!(x.method(), Method::Get | Method::Head) {
            return Box::pin(ready(Flow::Next));
        }
        Box::pin(async move { Flow::Answer(self.answer(x).await) })
    }
}

/// The step of `random_index`.
struct RandomFile;

impl WaitingStep for RandomFile {
    fn run<'a>(&'a self, x: &'a mut Exchange) -> Pin<Box<dyn Future<Output = Flow> + 'a>> {
        let known = matches!(x.method(), Method::Get | Method::Head | Method::Post);
        if x.uri.last() != Some(&b'/') || !known {
            return Box::pin(ready(Flow::Next));
        }
        Box::pin(async move {
            let mut files = match entries(x).await {
                Ok(files) => files,
                Err(status) => return Flow::Answer(Answer::Status(status)),
            };
            files.retain(|entry| entry.kind == FileKind::Regular);
            if files.is_empty() {
                return Flow::Next;
            }
            // Keys that the system made at random, and the clock: nobody has to be kept from guessing.
            let chance = RandomState::new().hash_one(clock::now()) as usize % files.len();
            let file = files.swap_remove(chance);
            Flow::Relocate(Relocation::Uri { uri: [&x.uri, &file.name[..]].concat(), args: None })
        })
    }
}

/// What is in the directory that the path means.
async fn entries(x: &Exchange) -> Result<Vec<Entry>, u16> {
    let path = FilePath::of(x)?;
    let folder = match path.bytes() {
        [front @ .., b'/'] if !front.is_empty() => front,
        whole => whole,
    };
    directory::list(folder).await.map_err(|fault| {
        let shown = String::from_utf8_lossy(folder);
        match fault {
            Fault::Open(e) => {
                let (level, status) = match Errno::from_io_error(&e) {
                    Some(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => (Level::Error, 404),
                    Some(Errno::ACCESS) => (Level::Error, 403),
                    // The file pool has more to do than it can.
                    None if e.kind() == std::io::ErrorKind::WouldBlock => (Level::Error, 503),
                    _ => (Level::Crit, 500),
                };
                x.log(level, format_args!("opendir() \"{shown}\" failed {}", OsError(&e)));
                status
            }
            Fault::Read(e) => {
                x.log(Level::Crit, format_args!("readdir() \"{shown}\" failed {}", OsError(&e)));
                500
            }
            Fault::Entry(name, e) => {
                let name = String::from_utf8_lossy(&name);
                x.log(Level::Crit, format_args!("stat() \"{shown}/{name}\" failed {}", OsError(&e)));
                500
            }
        }
    })
}

/// The argument `callback`, if it has a value.
fn callback(args: &[u8]) -> Option<&[u8]> {
    let value = args.split(|&byte| byte == b'&').find_map(|argument| {
        let (name, value) = argument.split_at_checked("callback=".len())?;
        name.eq_ignore_ascii_case(b"callback=").then_some(value)
    });
    value.filter(|value| !value.is_empty())
}

/// Whether this may stand as a function's name in a script.
fn is_function(x: &Exchange, name: &[u8]) -> bool {
    let shown = String::from_utf8_lossy(name);
    if name.len() > CALLBACK_MAX {
        x.log(Level::Info, format_args!("client sent too long callback name: \"{shown}\""));
        return false;
    }
    let good = name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'));
    if !good {
        x.log(Level::Info, format_args!("client sent invalid callback name: \"{shown}\""));
    }
    good
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_functions() {
        for (args, want) in [
            ("callback=f", Some("f")),
            ("a=1&Callback=f.g_1&callback=h", Some("f.g_1")),
            ("callback=", None),
            ("callback", None),
            ("xcallback=f", None),
            ("", None),
        ] {
            assert_eq!(callback(args.as_bytes()), want.map(str::as_bytes), "{args}");
        }
    }
}
