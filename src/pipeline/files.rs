//! Opening files as the location has it: `disable_symlinks` and `open_file_cache`.

use super::exchange::Exchange;
use super::local::Slot;
use super::template::Template;
use crate::net::file::{self, FileFacts, OpenFile};
use crate::net::file_cache::{FileCache, Wanted};
use crate::net::symlinks::Links;
use std::io;
use std::rc::Rc;

/// What a location says about it, if anything.
pub struct FileRules {
    /// `disable_symlinks`.
    pub links: LinkRule,
    /// `open_file_cache`: where each shard has it, and what is wanted of it.
    pub cache: Option<(Slot<Rc<FileCache>>, Wanted)>,
}

/// `disable_symlinks`, with its `from`.
pub enum LinkRule {
    /// `off`.
    Followed,
    /// `on`.
    Refused(Option<Template>),
    /// `if_not_owner`.
    SameOwner(Option<Template>),
}

impl Exchange {
    /// Opens a file for reading as the location has it.
    ///
    /// # Errors
    /// Those of [`file::open_with`].
    pub async fn open_file(&self, path: &[u8]) -> io::Result<OpenFile> {
        match &self.here.settings.files {
            None => file::open(path).await,
            Some(rules) => Box::pin(rules.open(self, path)).await,
        }
    }

    /// The system call that opening a file comes to, for the log.
    pub fn open_call(&self) -> &'static str {
        match &self.here.settings.files {
            Some(rules) if !matches!(rules.links, LinkRule::Followed) => "openat()",
            _ => "open()",
        }
    }

    /// Looks at what stands at a path as the location has it.
    ///
    /// # Errors
    /// Those of [`file::facts_with`].
    pub async fn file_facts(&self, path: &[u8]) -> io::Result<FileFacts> {
        match &self.here.settings.files {
            None => file::facts(path).await,
            Some(rules) => Box::pin(rules.facts(self, path)).await,
        }
    }
}

impl FileRules {
    async fn open(&self, x: &Exchange, path: &[u8]) -> io::Result<OpenFile> {
        let links = self.links.of(x, path);
        match self.cache {
            Some((slot, wanted)) => x.locals.at(slot).open(path, links, wanted).await,
            None => file::open_with(path, links).await,
        }
    }

    async fn facts(&self, x: &Exchange, path: &[u8]) -> io::Result<FileFacts> {
        let links = self.links.of(x, path);
        match self.cache {
            Some((slot, wanted)) => x.locals.at(slot).facts(path, links, wanted).await,
            None => file::facts_with(path, links).await,
        }
    }
}

impl LinkRule {
    /// The rule for this path: what `from` means is known only now.
    fn of(&self, x: &Exchange, path: &[u8]) -> Links {
        let from = match self {
            LinkRule::Followed => return Links::Followed,
            LinkRule::Refused(from) | LinkRule::SameOwner(from) => from,
        };
        let part = from.as_ref().map(|from| from.value(x)).unwrap_or_default();
        let Some(from) = initial_part(path, &part) else { return Links::Followed };
        match self {
            LinkRule::SameOwner(_) => Links::SameOwner { from },
            _ => Links::Refused { from },
        }
    }
}

/// Bytes of `path` that the initial part `part` takes, without its last slash; 0 if it is none, or
/// ends within a component. `None` if it is all of the path: then no link is looked for.
fn initial_part(path: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() || !path.starts_with(part) {
        return Some(0);
    }
    match path.get(part.len()) {
        None => None,
        Some(b'/') => Some(part.len()),
        Some(_) if part.last() == Some(&b'/') => Some(part.len() - 1),
        Some(_) => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_initial_part_is_whole_components() {
        for (part, want) in [
            ("", Some(0)),
            ("/a", Some(2)),
            ("/a/", Some(2)),
            ("/a/b", Some(0)),
            ("/a/bc", Some(5)),
            ("/", Some(0)),
            ("/b", Some(0)),
            ("/a/bc/d", None),
            ("/a/bc/d/", Some(0)),
        ] {
            assert_eq!(initial_part(b"/a/bc/d", part.as_bytes()), want, "{part}");
        }
    }
}
