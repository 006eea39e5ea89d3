//! The step: looks at the files one after another.

use crate::base::process_settings::Level;
use crate::net::error_log::OsError;
use crate::net::file::{FileFacts, FileKind};
use crate::pipeline::answer::Answer;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::file_path::FilePath;
use crate::pipeline::settings::Root;
use crate::pipeline::step::{Flow, Relocation, WaitingStep};
use crate::pipeline::template::Template;
use rustix::io::Errno;
use std::future::Future;
use std::io;
use std::pin::Pin;

/// The directive.
pub(super) struct TryFiles {
    /// What is looked for.
    pub(super) tries: Vec<Try>,
    /// What is done when none of them is there.
    pub(super) otherwise: Otherwise,
}

/// One file.
pub(super) struct Try {
    /// Its path, below `root` or `alias`.
    pub(super) path: Template,
    /// It is a directory that is looked for.
    pub(super) is_folder: bool,
}

/// The last argument.
pub(super) enum Otherwise {
    /// A path with its arguments, or a named location.
    Path(Template),
    /// A status.
    Status(u16),
    /// A code that no answer can be made of: the connection is closed.
    Silence,
}

impl WaitingStep for TryFiles {
    fn run<'a>(&'a self, x: &'a mut Exchange) -> Pin<Box<dyn Future<Output = Flow> + 'a>> {
        Box::pin(
            async move { self.find(x).await.unwrap_or_else(|status| Flow::Answer(Answer::Status(status))) },
        )
    }
}

impl TryFiles {
    async fn find(&self, x: &mut Exchange) -> Result<Flow, u16> {
        let mut path = FilePath::root_of(x)?;
        let root_len = path.bytes().len();
        for candidate in &self.tries {
            path.bytes_mut().truncate(root_len);
            path.append(x, &name(&candidate.path, x))?;
            let found = match x.file_facts(path.bytes()).await {
                Ok(facts) => is_folder(&facts) == candidate.is_folder,
                Err(error) => {
                    fault(x, &path, &error);
                    false
                }
            };
            if found {
                let name = path.bytes().get(root_len..).unwrap_or_default();
                take(x, name, candidate.is_folder);
                return Ok(Flow::Next);
            }
        }
        Ok(self.otherwise(x))
    }

    fn otherwise(&self, x: &Exchange) -> Flow {
        let template = match &self.otherwise {
            Otherwise::Status(status) => return Flow::Answer(Answer::Status(*status)),
            Otherwise::Silence => return Flow::Answer(Answer::Close),
            Otherwise::Path(template) => template,
        };
        let target = name(template, x);
        if let Some(name) = target.strip_prefix(b"@") {
            return Flow::Relocate(Relocation::Named(String::from_utf8_lossy(name).into()));
        }
        let at = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
        let args = target.get(at + 1..).unwrap_or_default().to_vec();
        let uri = target.get(..at).unwrap_or_default().to_vec();
        Flow::Relocate(Relocation::Uri { uri, args: Some(args) })
    }
}

/// What a name with variables comes to. Under `alias` the location's name is taken off it, for `$uri`
/// begins with that; nginx does so for a text with variables only.
fn name(template: &Template, x: &Exchange) -> Vec<u8> {
    let mut name = template.value(x);
    if let (Root::Alias(_, replaced), None) = (&x.here.settings.root, template.as_literal())
        && let Some(located) = x.uri.get(..*replaced)
        && name.starts_with(located)
    {
        name.drain(..*replaced);
    }
    name
}

fn is_folder(facts: &FileFacts) -> bool {
    facts.kind == FileKind::Directory
}

/// The file is what the request is for from now on.
fn take(x: &mut Exchange, name: &[u8], is_folder: bool) {
    match &x.here.settings.root {
        Root::Root(_) => {
            x.uri.clear();
            x.uri.extend_from_slice(name);
        }
        Root::Alias(_, replaced) => {
            x.uri.truncate(*replaced);
            x.uri.extend_from_slice(name);
        }
        // The alias alone says which file it is; the name goes behind it.
        Root::AliasWhole(_) if is_folder || name.is_empty() => {}
        Root::AliasWhole(_) => {
            x.uri.clear();
            x.uri.extend_from_slice(name);
            x.uri_extends_alias = true;
        }
    }
}

/// Logs what is more than a file that is not there.
fn fault(x: &Exchange, path: &FilePath, error: &io::Error) {
    let missing =
        matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG));
    if !missing {
        x.log(Level::Crit, format_args!("stat() \"{}\" failed {}", path.shown(), OsError(error)));
    }
}
