//! The texts a configuration was read from, and places in them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memchr::memchr_iter;

/// What stands for a file's name where directives came from `-g`.
const COMMAND_LINE: &str = "command line";

/// A position in one of the `Sources`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Which source: an index into `Sources`.
    pub file: u32,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// Every text that was read, in the order of first use, each path once.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    entries: Vec<Source>,
    by_path: HashMap<PathBuf, u32>,
}

#[derive(Clone, Debug)]
struct Source {
    path: PathBuf,
    text: Arc<Vec<u8>>,
    /// The text of `-g`: it has no lines worth naming and is not part of a dump.
    command_line: bool,
}

impl Sources {
    /// The path of a source, as it was opened; `command line` for the text of `-g`.
    pub fn path(&self, file: u32) -> &Path {
        self.entry(file).map_or(Path::new(""), |source| &source.path)
    }

    /// The bytes of a source; empty if there is no such source.
    pub fn text(&self, file: u32) -> &[u8] {
        self.entry(file).map_or(&[], |source| source.text.as_slice())
    }

    /// The line a place stands in, without its line end; bytes that are not UTF-8 are shown as U+FFFD.
    pub fn line_text(&self, place: Place) -> Cow<'_, str> {
        let text = self.text(place.file);
        let line = place.line.max(1) as usize;
        let start = match line {
            1 => 0,
            _ => memchr_iter(b'\n', text).nth(line - 2).map_or(text.len(), |end| end + 1),
        };
        let rest = text.get(start..).unwrap_or_default();
        let line = rest.split(|&byte| byte == b'\n').next().unwrap_or_default();
        String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// The files, in the order they were first opened, for `-T`; without the text of `-g`.
    pub fn iter(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        self.entries.iter().filter(|s| !s.command_line).map(|s| (s.path.as_path(), s.text.as_slice()))
    }

    /// How nginx ends a message about this place: `FILE:LINE`, or `command line`.
    pub(super) fn name(&self, place: Place) -> String {
        match self.entry(place.file) {
            Some(source) if source.command_line => COMMAND_LINE.to_owned(),
            Some(source) => format!("{}:{}", source.path.display(), place.line),
            None => String::new(),
        }
    }

    /// Takes in the text of `-g`.
    pub(super) fn add_command_line(&mut self, text: &str) -> u32 {
        self.push(Source {
            path: PathBuf::from(COMMAND_LINE),
            text: Arc::new(text.as_bytes().to_vec()),
            command_line: true,
        })
    }

    /// Takes in a file's text.
    pub(super) fn add_file(&mut self, path: &Path, text: Vec<u8>) -> u32 {
        let file = self.push(Source { path: path.to_owned(), text: Arc::new(text), command_line: false });
        self.by_path.insert(path.to_owned(), file);
        file
    }

    /// The source that was read from this path, if it was read already.
    pub(super) fn find(&self, path: &Path) -> Option<u32> {
        self.by_path.get(path).copied()
    }

    /// The text of a source, to be read while further sources are taken in.
    pub(super) fn shared_text(&self, file: u32) -> Arc<Vec<u8>> {
        self.entry(file).map(|source| Arc::clone(&source.text)).unwrap_or_default()
    }

    fn entry(&self, file: u32) -> Option<&Source> {
        self.entries.get(file as usize)
    }

    fn push(&mut self, source: Source) -> u32 {
        self.entries.push(source);
        (self.entries.len() - 1) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_place() {
        let mut sources = Sources::default();
        sources.add_command_line("daemon off;");
        let file = sources.add_file(Path::new("/a.conf"), b"one\r\n\ntwo \xff\nlast".to_vec());
        let line = |line| sources.line_text(Place { file, line, column: 1 }).into_owned();
        assert_eq!(line(1), "one");
        assert_eq!(line(2), "");
        assert_eq!(line(3), "two \u{fffd}");
        assert_eq!(line(4), "last");
        assert_eq!(line(5), "");
        assert_eq!(line(400), "");
        assert_eq!(sources.line_text(Place { file: 9, line: 1, column: 1 }), "");
    }

    #[test]
    fn a_dump_leaves_the_command_line_out() {
        let mut sources = Sources::default();
        sources.add_command_line("daemon off;");
        sources.add_file(Path::new("/a.conf"), b"a;".to_vec());
        let dump: Vec<_> = sources.iter().collect();
        assert_eq!(dump, [(Path::new("/a.conf"), b"a;".as_slice())]);
        assert_eq!(sources.name(Place { file: 0, line: 1, column: 1 }), "command line");
        assert_eq!(sources.name(Place { file: 1, line: 7, column: 1 }), "/a.conf:7");
    }
}
