//! The condition of an `if`.

use super::replacement::write_quoted;
use crate::base::process_settings::Level;
use crate::net::file::{FileFacts, FileKind};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::settings::PlacedPattern;
use crate::pipeline::template::Template;
use crate::pipeline::variable::Variable;

/// A condition.
pub enum Condition {
    /// `$variable`: it is neither empty nor `0`.
    True(Variable),
    /// `$variable = text`, `$variable != text`
    Equal {
        /// The variable.
        variable: Variable,
        /// What it is compared with.
        text: Template,
        /// `!=`
        negated: bool,
    },
    /// `$variable ~ regex`, `~*`, `!~`, `!~*`
    Matches {
        /// The variable.
        variable: Variable,
        /// The regular expression.
        pattern: PlacedPattern,
        /// `!~`, `!~*`
        negated: bool,
    },
    /// `-f path`, `!-f path`, and `-d`, `-e`, `-x`
    File {
        /// The path.
        path: Template,
        /// What is asked of it.
        test: FileTest,
    },
}

/// What is asked of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileTest {
    /// The letter behind the dash.
    pub kind: FileTestKind,
    /// It stands behind a `!`.
    pub negated: bool,
}

/// The letter of a file test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileTestKind {
    /// `-f`: a regular file.
    File,
    /// `-d`: a directory.
    Directory,
    /// `-e`: either. A device or a pipe is neither, as in nginx.
    Any,
    /// `-x`: its owner may execute it, or search it.
    Executable,
}

/// What a condition comes to.
pub enum Verdict {
    /// This.
    Known(bool),
    /// It depends on what stands at this path.
    File(FileTest, Vec<u8>),
}

impl Condition {
    /// Whether it depends on a file.
    pub fn waits(&self) -> bool {
        matches!(self, Condition::File { .. })
    }

    /// Whether it holds. `quotes`: groups are encoded. `logs`: `rewrite_log`.
    ///
    /// # Errors
    /// The status to answer with, when a match failed.
    pub fn verdict(&self, x: &mut Exchange, quotes: bool, logs: bool) -> Result<Verdict, u16> {
        Ok(Verdict::Known(match self {
            Condition::True(variable) => {
                let value = value(variable, x);
                !value.is_empty() && value != b"0"
            }
            Condition::Equal { variable, text, negated } => {
                let value = value(variable, x);
                let equal = match text.as_literal() {
                    Some(text) => value == text,
                    None => {
                        let mut other = Vec::new();
                        write_quoted(text, x, quotes, &mut other);
                        value == other
                    }
                };
                equal != *negated
            }
            Condition::Matches { variable, pattern, negated } => {
                let subject = value(variable, x);
                search(pattern, x, &subject, logs)? != *negated
            }
            Condition::File { path, test } => {
                let mut bytes = Vec::new();
                write_quoted(path, x, quotes, &mut bytes);
                return Ok(Verdict::File(*test, bytes));
            }
        }))
    }
}

fn value(variable: &Variable, x: &Exchange) -> Vec<u8> {
    let mut value = Vec::new();
    variable.write(x, &mut value);
    value
}

/// Matches as these directives do: without a match the groups of the one before are forgotten.
///
/// # Errors
/// The status to answer with, when the match failed.
pub fn search(pattern: &PlacedPattern, x: &mut Exchange, subject: &[u8], logs: bool) -> Result<bool, u16> {
    let matched = pattern.run(x, subject)?;
    if !matched {
        x.matched.clear();
    }
    if logs {
        let (source, subject) = (pattern.pattern.source(), String::from_utf8_lossy(subject));
        let verb = if matched { "matches" } else { "does not match" };
        x.log(Level::Notice, format_args!("\"{source}\" {verb} \"{subject}\""));
    }
    Ok(matched)
}

impl FileTest {
    /// What the test says of a file that is there.
    pub fn of(self, facts: &FileFacts) -> bool {
        let held = match self.kind {
            FileTestKind::File => facts.kind == FileKind::Regular,
            FileTestKind::Directory => facts.kind == FileKind::Directory,
            FileTestKind::Any => facts.kind != FileKind::Other,
            FileTestKind::Executable => facts.executable,
        };
        held != self.negated
    }

    /// What it says where there is none.
    pub fn without_file(self) -> bool {
        self.negated
    }
}
