//! Words into a tree: blocks nest, `include` is replaced by what the files hold.

use std::path::{Path, PathBuf};
use std::vec::IntoIter;

use super::diagnostic::{Diagnostic, os_error};
use super::files::{Files, MAX_CONFIG_BYTES};
use super::glob;
use super::lexer::{End, LexError, Lexer};
use super::source::{Place, Sources};
use super::spec::Registry;
use super::tree::{Directive, Tree, Word};
use crate::base::process_settings::Level;

/// How deep blocks nest. Real configurations reach 6; the bound keeps recursion over a tree safe.
const MAX_BLOCK_DEPTH: usize = 100;

/// How deep files include each other. NGINX has no bound and runs out of descriptors.
const MAX_INCLUDE_DEPTH: usize = 64;

/// How many times files are included. Snippets included in each of 10,000 servers stay below it.
const MAX_INCLUDES: usize = 200_000;

/// `EISDIR`: reading a directory fails after its opening worked.
const IS_DIRECTORY: i32 = 21;

/// Reads a configuration: `globals` (the text of `-g`) first, as nginx does, then the file `root`.
/// Relative names in `include` are taken from `prefix`, the directory of the configuration file.
///
/// # Errors
/// The first thing that cannot be read, with its place.
pub fn parse(root: &Path, globals: &str, prefix: &Path, files: &mut dyn Files) -> Result<Tree, Diagnostic> {
    let (tree, error) = Parser::new(prefix, files).run(root, globals);
    error.map_or(Ok(tree), |error| Err(*error))
}

/// The same as far as it can be read, with the error that ended it.
pub fn parse_as_far(
    root: &Path,
    globals: &str,
    prefix: &Path,
    files: &mut dyn Files,
) -> (Tree, Option<Diagnostic>) {
    let (tree, error) = Parser::new(prefix, files).run(root, globals);
    (tree, error.map(|error| *error))
}

/// Reads and checks a configuration, and gives the notices of the check.
///
/// nginx checks each directive as it reads it. So what was read before a syntax error is checked
/// too, and an error in it comes first: the code of an unsupported `content_by_lua_block` is not
/// called a syntax error.
///
/// # Errors
/// The first thing that cannot be read or is not allowed, with its place.
pub fn load(
    root: &Path,
    globals: &str,
    prefix: &Path,
    files: &mut dyn Files,
    registry: &Registry,
) -> Result<(Tree, Vec<Diagnostic>), Diagnostic> {
    let (tree, error) = Parser::new(prefix, files).run(root, globals);
    let notices = registry.check(&tree)?;
    error.map_or(Ok((tree, notices)), |error| Err(*error))
}

struct Parser<'a> {
    prefix: &'a Path,
    files: &'a mut dyn Files,
    sources: Sources,
    /// The texts being read, the innermost last.
    frames: Vec<Frame>,
    /// The blocks being read, the innermost last, without their bodies.
    open: Vec<Directive>,
    /// The bodies of the main context and of each open block.
    bodies: Vec<Vec<Directive>>,
    includes: usize,
    bytes: u64,
}

/// One text being read.
struct Frame {
    file: u32,
    lexer: Lexer,
    command_line: bool,
    /// How many blocks were open where the text began: those are not its to close.
    base: usize,
    /// What its last `include` still has to read.
    pending: IntoIter<PathBuf>,
    include: Option<(Word, Place)>,
}

/// Boxed: it is rare, and a tree is large enough to return beside it.
type Failure = Box<Diagnostic>;

impl<'a> Parser<'a> {
    fn new(prefix: &'a Path, files: &'a mut dyn Files) -> Self {
        Parser {
            prefix,
            files,
            sources: Sources::default(),
            frames: Vec::new(),
            open: Vec::new(),
            bodies: vec![Vec::new()],
            includes: 0,
            bytes: 0,
        }
    }

    /// All that could be read, and what ended the reading early.
    fn run(mut self, root: &Path, globals: &str) -> (Tree, Option<Failure>) {
        let result = self.globals(globals).and_then(|()| self.file(root, None)).and_then(|()| self.read());
        while !self.open.is_empty() {
            self.close_block();
        }
        let directives = self.bodies.pop().unwrap_or_default();
        (Tree { directives, sources: self.sources }, result.err())
    }

    fn globals(&mut self, text: &str) -> Result<(), Failure> {
        if text.is_empty() {
            return Ok(());
        }
        let file = self.sources.add_command_line(text);
        self.push_frame(file, true);
        self.read()
    }

    /// Reads until no text is left.
    fn read(&mut self) -> Result<(), Failure> {
        while let Some(frame) = self.frames.last_mut() {
            if let Some(path) = frame.pending.next() {
                let include = frame.include.clone();
                self.file(&path, include)?;
                continue;
            }
            let mut words = Vec::new();
            let end = match frame.lexer.next(&mut words) {
                Ok(end) => end,
                Err(error) => return Err(self.lex_error(error)),
            };
            let (here, last) = (frame.lexer.here(), frame.lexer.last());
            match end {
                End::Semicolon | End::Open => self.directive(words, end, last)?,
                End::Close => self.block_end(here, last)?,
                End::Text => self.text_end(here)?,
            }
        }
        Ok(())
    }

    fn directive(&mut self, words: Vec<Word>, end: End, place: Place) -> Result<(), Failure> {
        let mut words = words.into_iter();
        let Some(name) = words.next() else { return Ok(()) };
        let args: Vec<Word> = words.collect();
        if end == End::Open {
            return self.block_start(Directive { name, args, block: None, place });
        }
        if name.text == "include" {
            return self.include(name, args, place);
        }
        if let Some(body) = self.bodies.last_mut() {
            body.push(Directive { name, args, block: None, place });
        }
        Ok(())
    }

    fn block_start(&mut self, directive: Directive) -> Result<(), Failure> {
        let (name, place) = (&directive.name, directive.place);
        if self.frames.last().is_some_and(|frame| frame.command_line) {
            return Err(self.error("block directives are not supported in -g option", place, name));
        }
        if name.text == "include" {
            let message = "directive \"include\" is not terminated by \";\"";
            return Err(self.error(message, place, name));
        }
        if self.open.len() >= MAX_BLOCK_DEPTH {
            return Err(self.error(format!("blocks nest more than {MAX_BLOCK_DEPTH} deep"), place, name));
        }
        self.open.push(directive);
        self.bodies.push(Vec::new());
        Ok(())
    }

    fn block_end(&mut self, here: Place, brace: Place) -> Result<(), Failure> {
        let base = self.frames.last().map_or(0, |frame| frame.base);
        if self.open.len() > base {
            self.close_block();
            return Ok(());
        }
        let hint = "no block that was opened in this file is open here";
        Err(Box::new(self.diagnostic("unexpected \"}\"", here, brace, 1).with_hint(hint)))
    }

    fn close_block(&mut self) {
        let (Some(mut directive), Some(body)) = (self.open.pop(), self.bodies.pop()) else { return };
        directive.block = Some(body);
        if let Some(outer) = self.bodies.last_mut() {
            outer.push(directive);
        }
    }

    fn text_end(&mut self, here: Place) -> Result<(), Failure> {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        match self.open.last() {
            Some(block) if self.open.len() > frame.base => {
                let name = &block.name;
                let hint = format!("\"{}\" is opened here and never closed", name.text);
                let message = "unexpected end of file, expecting \"}\"";
                Err(Box::new(self.diagnostic(message, here, name.place, width(name)).with_hint(hint)))
            }
            _ => Ok(()),
        }
    }

    /// Notes what an `include` names; the main loop reads it.
    fn include(&mut self, name: Word, args: Vec<Word>, place: Place) -> Result<(), Failure> {
        let [file] = args.as_slice() else {
            let message = "invalid number of arguments in \"include\" directive";
            return Err(self.error(message, place, &name));
        };
        let path = self.prefix.join(&file.text);
        let text = path.to_string_lossy();
        let paths = if glob::is_pattern(&text) {
            self.files.glob(&text).map_err(|error| {
                self.error(format!("glob() \"{text}\" failed ({})", os_error(&error)), place, file)
            })?
        } else {
            vec![path]
        };
        if let Some(frame) = self.frames.last_mut() {
            frame.pending = paths.into_iter();
            frame.include = Some((file.clone(), place));
        }
        Ok(())
    }

    /// Begins to read a file; `include` is the word that named it and the end of its directive.
    fn file(&mut self, path: &Path, include: Option<(Word, Place)>) -> Result<(), Failure> {
        let shown = path.display();
        let fail = |parser: &Self, message: String| match &include {
            Some((word, place)) => parser.error(message, *place, word),
            None => Box::new(Diagnostic::new(Level::Emerg, message)),
        };
        let file = match self.sources.find(path) {
            Some(file) => file,
            None => match self.files.read(path) {
                Ok(text) => self.sources.add_file(path, text),
                Err(error) => {
                    let call = if error.raw_os_error() == Some(IS_DIRECTORY) { "pread" } else { "open" };
                    return Err(fail(self, format!("{call}() \"{shown}\" failed ({})", os_error(&error))));
                }
            },
        };
        if self.frames.iter().any(|frame| frame.file == file) {
            return Err(fail(self, format!("\"{shown}\" includes itself")));
        }
        if self.frames.len() >= MAX_INCLUDE_DEPTH {
            return Err(fail(self, format!("files include each other more than {MAX_INCLUDE_DEPTH} deep")));
        }
        self.includes += 1;
        self.bytes += self.sources.text(file).len() as u64;
        if self.includes > MAX_INCLUDES {
            return Err(fail(self, format!("more than {MAX_INCLUDES} files are included")));
        }
        if self.bytes > MAX_CONFIG_BYTES {
            return Err(fail(self, format!("the configuration has more than {MAX_CONFIG_BYTES} bytes")));
        }
        self.push_frame(file, false);
        Ok(())
    }

    fn push_frame(&mut self, file: u32, command_line: bool) {
        let lexer = Lexer::new(file, self.sources.shared_text(file), command_line);
        self.frames.push(Frame {
            file,
            lexer,
            command_line,
            base: self.open.len(),
            pending: Vec::new().into_iter(),
            include: None,
        });
    }

    fn error(&self, message: impl Into<String>, place: Place, word: &Word) -> Failure {
        Box::new(self.diagnostic(message, place, word.place, width(word)))
    }

    fn lex_error(&self, error: LexError) -> Failure {
        let mut found = self.diagnostic(error.message, error.place, error.mark, error.width);
        found.hint = error.hint;
        Box::new(found)
    }

    fn diagnostic(&self, message: impl Into<String>, place: Place, mark: Place, width: usize) -> Diagnostic {
        Diagnostic::at(&self.sources, Level::Emerg, message, place, mark, width)
    }
}

/// How many characters a word takes in its line, quotes included. Escapes make it an estimate.
pub(super) fn width(word: &Word) -> usize {
    word.text.chars().count() + if word.quoted { 2 } else { 0 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::conf::snapshot::{Recorder, Snapshot};
    use crate::conf::testing;

    #[test]
    fn the_command_line_comes_first() {
        let tree = testing::load_with("daemon off; worker_processes 2;", "user a;").unwrap();
        let names: Vec<&str> = tree.directives.iter().map(|d| d.name.text.as_str()).collect();
        assert_eq!(names, ["daemon", "worker_processes", "user"]);
        let line = |globals: &str, text: &str| testing::load_with(globals, text).unwrap_err().first_line();
        assert_eq!(
            line("daemon off", ""),
            "[emerg] unexpected end of parameter, expecting \";\" in command line"
        );
        assert_eq!(
            line("http { }", ""),
            "[emerg] block directives are not supported in -g option in command line"
        );
        assert_eq!(
            line("daemon of;", ""),
            "[emerg] invalid value \"of\" in \"daemon\" directive, it must be \"on\" or \"off\" in command line"
        );
        assert_eq!(line("nonsense;", ""), "[emerg] unknown directive \"nonsense\" in command line");
        assert_eq!(line("}", ""), "[emerg] unexpected \"}\" in command line");
        assert_eq!(
            line("daemon off;", "\ndaemon off;"),
            "[emerg] \"daemon\" directive is duplicate in /conf/nginx.conf:2"
        );
        assert_eq!(
            line("include not-there.conf;", ""),
            "[emerg] open() \"/conf/not-there.conf\" failed (2: No such file or directory) in command line"
        );
    }

    #[test]
    fn a_missing_root_has_no_place() {
        let error = testing::parse_with("", &mut Snapshot::default()).unwrap_err();
        assert_eq!(error.place, None);
        assert_eq!(
            error.to_string(),
            "[emerg] open() \"/conf/nginx.conf\" failed (2: No such file or directory)"
        );
    }

    #[test]
    fn a_directory_cannot_be_read() {
        let error = parse(Path::new("/"), "", Path::new("/"), &mut crate::conf::Disk).unwrap_err();
        assert_eq!(error.first_line(), "[emerg] pread() \"/\" failed (21: Is a directory)");
    }

    #[test]
    fn includes_stand_where_they_are_named() {
        let mut files = Snapshot::default();
        files.insert("/conf/nginx.conf", "a; x { include d/*; b; include /abs/c; } e;");
        files.insert("/conf/d/2", "two { }");
        files.insert("/conf/d/1", "one;");
        files.insert("/abs/c", "c; include one-more;");
        files.insert("/conf/one-more", "d;");
        let mut recorder = Recorder::new(files);
        let tree = testing::parse_with("", &mut recorder).unwrap();
        let expected = "a;\nx {\n    one;\n    two {\n    }\n    b;\n    c;\n    d;\n}\ne;\n";
        assert_eq!(tree.to_string(), expected);
        let read: Vec<String> = tree.sources.iter().map(|(path, _)| path.display().to_string()).collect();
        assert_eq!(read, ["/conf/nginx.conf", "/conf/d/1", "/conf/d/2", "/abs/c", "/conf/one-more"]);
        // What was recorded gives the same tree elsewhere.
        let mut copy = Snapshot::decode(&recorder.into_snapshot().encode()).unwrap();
        assert_eq!(testing::parse_with("", &mut copy).unwrap().directives, tree.directives);
    }

    #[test]
    fn a_file_included_many_times_is_read_once() {
        let mut files = Snapshot::default();
        files.insert("/conf/nginx.conf", "s { include p; } s { include p; }");
        files.insert("/conf/p", "h 1;");
        let tree = testing::parse_with("", &mut files).unwrap();
        assert_eq!(tree.directives.len(), 2);
        assert_eq!(tree.directives[0].body(), tree.directives[1].body());
        assert_eq!(tree.sources.iter().count(), 2);
    }

    #[test]
    fn includes_that_multiply_are_bounded() {
        let mut files = Snapshot::default();
        files.insert("/conf/nginx.conf", "include f0; include f0;");
        for level in 0..40 {
            files.insert(format!("/conf/f{level}"), format!("include f{0}; include f{0};", level + 1));
        }
        files.insert("/conf/f40", "");
        let error = testing::parse_with("", &mut files).unwrap_err();
        assert_eq!(error.message, "more than 200000 files are included");
        let mut chain = Snapshot::default();
        chain.insert("/conf/nginx.conf", "include f0;");
        (0..100).for_each(|n| chain.insert(format!("/conf/f{n}"), format!("include f{};", n + 1)));
        let error = testing::parse_with("", &mut chain).unwrap_err();
        assert_eq!(error.message, "files include each other more than 64 deep");
    }
}
