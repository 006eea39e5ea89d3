//! `gzip_static`: a file's compressed neighbour, `FILE.gz`, is sent in its place.

use super::accept::Acceptance;
use crate::base::process_settings::Level;
use crate::conf::{Arity, Context, Diagnostic, DirectiveSpec as D, Scope};
use crate::features::static_files::ServesFiles;
use crate::http::{Known, Method};
use crate::net::error_log::OsError;
use crate::net::file::FileKind;
use crate::pipeline::answer::Answer;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::file_answer;
use crate::pipeline::file_path::FilePath;
use crate::pipeline::step::{Flow, Phase, WaitingStep};
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end, nothing};
use rustix::io::Errno;
use std::future::{Future, ready};
use std::pin::Pin;

/// The feature. It is listed behind `static_files`, which knows whether files are served at all.
pub const FEATURE: Feature = Feature {
    name: "gzip_static",
    module: Some("http_gzip_static"),
    directives: &[D::new(
        "gzip_static",
        Context::HTTP.or(Context::SERVER).or(Context::LOCATION),
        Arity::Exactly(1),
        "on | off | always",
        "off",
        "Whether a file with .gz behind its name is sent in place of the file: to clients that accept gzip (on), or to all (always).",
    )],
    variables: &[],
    http: nothing,
    location,
    end: no_end,
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Never,
    Accepted,
    Always,
}

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let words = [("off", When::Never), ("on", When::Accepted), ("always", When::Always)];
    let when = scope.one_of("gzip_static", &words, When::Never)?;
    if when == When::Never || !b.store::<ServesFiles>().0 {
        return Ok(());
    }
    let max_ranges = match scope.one("max_ranges") {
        Some(_) => Some(scope.number("max_ranges", 0)?),
        None => None,
    };
    let acceptance = Acceptance::compile(scope, b)?;
    let vary = scope.flag("gzip_vary", false)?;
    b.waiting_first(Phase::Content, Precompressed { when, acceptance, vary, max_ranges });
    Ok(())
}

struct Precompressed {
    when: When,
    acceptance: Acceptance,
    /// `gzip_vary`: the neighbour is looked for even if it will not be sent.
    vary: bool,
    max_ranges: Option<u64>,
}

impl WaitingStep for Precompressed {
    fn run<'a>(&'a self, x: &'a mut Exchange) -> Pin<Box<dyn Future<Output = Flow> + 'a>> {
        if !matches!(x.method(), Method::Get | Method::Head) || matches!(x.uri.last(), Some(b'/') | None) {
            return Box::pin(ready(Flow::Next));
        }
        let wanted = self.when == When::Always || self.acceptance.allows(x);
        if !wanted && !self.vary {
            return Box::pin(ready(Flow::Next));
        }
        Box::pin(self.serve(x, wanted))
    }
}

impl Precompressed {
    async fn serve(&self, x: &mut Exchange, wanted: bool) -> Flow {
        // What is wrong with the path the file itself will tell.
        let Ok(path) = FilePath::of(x) else { return Flow::Next };
        let path = [path.bytes(), b".gz"].concat();
        let shown = String::from_utf8_lossy(&path);
        let file = match x.open_file(&path).await {
            Ok(file) => file,
            Err(error) => {
                let level = match Errno::from_io_error(&error) {
                    Some(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => return Flow::Next,
                    Some(Errno::ACCESS | Errno::MLINK | Errno::LOOP) => Level::Error,
                    _ => Level::Crit,
                };
                x.log(level, format_args!("{} \"{shown}\" failed {}", x.open_call(), OsError(&error)));
                return Flow::Next;
            }
        };
        if self.when == When::Accepted {
            x.answer.coding_varies = true;
        }
        match file.facts.kind {
            _ if !wanted => Flow::Next,
            FileKind::Directory => Flow::Next,
            FileKind::Other => {
                x.log(Level::Crit, format_args!("\"{shown}\" is not a regular file"));
                Flow::Answer(Answer::Status(404))
            }
            FileKind::Regular => {
                let answer = file_answer::of(x, file, self.max_ranges);
                x.answer.fields.set_known(Known::ContentEncoding, b"Content-Encoding", b"gzip");
                Flow::Answer(answer)
            }
        }
    }
}
