//! What the user wrote, includes resolved, with no meaning yet.

use std::fmt::{self, Write};

use super::source::{Place, Sources};

/// One word of a directive: its name or an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The text, quotes removed and escapes resolved.
    pub text: String,
    /// Where it starts; the quote itself for a quoted word.
    pub place: Place,
    /// Whether it stood in quotes, of either kind.
    pub quoted: bool,
}

/// One directive: `name args;` or `name args { block }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// The first word.
    pub name: Word,
    /// The other words before the `;` or `{`.
    pub args: Vec<Word>,
    /// What stands between its braces, if it has them.
    pub block: Option<Vec<Directive>>,
    /// Where its `;` or `{` stands: the line that nginx names in errors.
    pub place: Place,
}

impl Directive {
    /// The text of an argument, from 0.
    pub fn arg(&self, index: usize) -> Option<&str> {
        self.args.get(index).map(|word| word.text.as_str())
    }

    /// What stands between its braces; nothing if it has none.
    pub fn body(&self) -> &[Directive] {
        self.block.as_deref().unwrap_or_default()
    }
}

/// A whole configuration: the directives of `-g`, then those of the file.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// The main context, in order.
    pub directives: Vec<Directive>,
    /// The texts it came from.
    pub sources: Sources,
}

impl fmt::Display for Tree {
    /// One text that reads back as the same tree, without includes and comments.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.directives.iter().try_for_each(|directive| write_directive(f, directive, 0))
    }
}

impl fmt::Display for Directive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_directive(f, self, 0)
    }
}

fn write_directive(f: &mut fmt::Formatter<'_>, directive: &Directive, depth: usize) -> fmt::Result {
    let indent = depth * 4;
    write!(f, "{:indent$}", "")?;
    write_word(f, &directive.name)?;
    for word in &directive.args {
        f.write_char(' ')?;
        write_word(f, word)?;
    }
    let Some(block) = &directive.block else { return f.write_str(";\n") };
    f.write_str(" {\n")?;
    block.iter().try_for_each(|inner| write_directive(f, inner, depth + 1))?;
    writeln!(f, "{:indent$}}}", "")
}

/// Writes a word so that the lexer gives it back. A backslash that the lexer would resolve is
/// doubled, and one before `$`, which it must not guard from a `{`; any other stays with the
/// character it guards, as it was read.
fn write_word(f: &mut fmt::Formatter<'_>, word: &Word) -> fmt::Result {
    if word.quoted {
        f.write_char('"')?;
    }
    let mut chars = word.text.chars().peekable();
    let mut first = true;
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.peek() {
                None | Some('"' | '\'' | '\\' | 't' | 'r' | 'n' | '$') => {
                    f.write_str(r"\\")?;
                    // The pair is complete; a second backslash is judged with what follows it.
                }
                Some(&guarded) => {
                    chars.next();
                    write!(f, "\\{guarded}")?;
                }
            },
            '"' if word.quoted || first => f.write_str("\\\"")?,
            '\'' if first && !word.quoted => f.write_str("\\'")?,
            '\t' => f.write_str("\\t")?,
            '\r' => f.write_str("\\r")?,
            '\n' => f.write_str("\\n")?,
            char => f.write_char(char)?,
        }
        first = false;
    }
    if word.quoted { f.write_char('"') } else { Ok(()) }
}
