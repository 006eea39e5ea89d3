//! `log_format`: a line taken apart once, written for each request.

use super::escape::Escape;
use crate::conf::Word;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::variable::Variable;
use crate::plan::builder::Builder;

/// The text of the format that is always there.
pub(super) const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" \
     $status $body_bytes_sent \"$http_referer\" \"$http_user_agent\"";

/// A compiled format.
pub(super) struct Format {
    escape: Escape,
    parts: Box<[Part]>,
}

/// One part of a line.
enum Part {
    /// Bytes of the format itself; they are not escaped.
    Text(Box<[u8]>),
    /// A variable's value.
    Variable(Variable),
}

impl Format {
    /// Resolves the variables of a parsed format; `word` is where they are used.
    pub(super) fn new(escape: Escape, pieces: Vec<Piece>, word: &Word, b: &mut Builder<'_>) -> Format {
        let parts = pieces.into_iter().map(|piece| match piece {
            Piece::Text(text) => Part::Text(text.into_bytes().into()),
            Piece::Variable(name) => Part::Variable(b.variable(&name, word)),
        });
        Format { escape, parts: parts.collect() }
    }

    /// Appends the line of one request, without a line feed.
    #[inline]
    pub(super) fn write(&self, x: &Exchange, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Variable(variable) => {
                    let start = out.len();
                    if variable.write(x, out) {
                        self.escape.apply(out, start);
                    } else {
                        out.truncate(start);
                        out.extend_from_slice(self.escape.absent());
                    }
                }
            }
        }
    }
}

/// One part of a format as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Literal text.
    Text(String),
    /// A variable's name.
    Variable(String),
}

/// Takes a format's strings apart; they follow each other without a space.
///
/// # Errors
/// nginx's message, and the number of the string it is about.
pub(super) fn parse<'t>(strings: impl Iterator<Item = &'t str>) -> Result<Vec<Piece>, (usize, String)> {
    let mut pieces = Vec::new();
    for (number, string) in strings.enumerate() {
        parse_string(string, &mut pieces).map_err(|message| (number, message))?;
    }
    Ok(pieces)
}

fn parse_string(string: &str, pieces: &mut Vec<Piece>) -> Result<(), String> {
    let mut rest = string;
    while let Some(at) = rest.find('$') {
        push_text(pieces, &rest[..at]);
        let variable = &rest[at..];
        let (name, behind) = name(&variable[1..])?;
        if name.is_empty() {
            return Err(format!("invalid parameter \"{variable}\""));
        }
        pieces.push(Piece::Variable(name.to_owned()));
        rest = behind;
    }
    push_text(pieces, rest);
    Ok(())
}

/// The name behind a `$`, and what follows it; the name is empty where there is none.
fn name(text: &str) -> Result<(&str, &str), String> {
    let braced = text.strip_prefix('{');
    let text = braced.unwrap_or(text);
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    let (name, behind) = text.split_at(end);
    if braced.is_none() {
        return Ok((name, behind));
    }
    match behind.strip_prefix('}') {
        Some(behind) => Ok((name, behind)),
        // A lone `${` at the end is an invalid parameter to nginx, not an open bracket.
        None if text.is_empty() => Ok(("", "")),
        None => Err(format!("the closing bracket in \"{name}\" variable is missing")),
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        _ if text.is_empty() => {}
        Some(Piece::Text(last)) => last.push_str(text),
        _ => pieces.push(Piece::Text(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn text(text: &str) -> Piece {
        Piece::Text(text.to_owned())
    }

    fn variable(name: &str) -> Piece {
        Piece::Variable(name.to_owned())
    }

    #[test]
    fn strings_follow_each_other() {
        let pieces = parse(["a $b", "c${d}e", " f", "g"].into_iter()).unwrap();
        assert_eq!(pieces, [text("a "), variable("b"), text("c"), variable("d"), text("e fg")]);
        assert_eq!(parse(["", "$a$b_1"].into_iter()).unwrap(), [variable("a"), variable("b_1")]);
        assert_eq!(parse([].into_iter()).unwrap(), []);
    }

    #[test]
    fn the_combined_format() {
        let pieces = parse([COMBINED].into_iter()).unwrap();
        assert_eq!(pieces.len(), 16);
        assert_eq!(pieces[..4], [variable("remote_addr"), text(" - "), variable("remote_user"), text(" [")]);
        assert_eq!(pieces[7..9], [text("\" "), variable("status")]);
    }

    #[test]
    fn errors_are_nginxs() {
        let error = |string: &str| parse(["x", string].into_iter()).unwrap_err();
        assert_eq!(error("a$"), (1, "invalid parameter \"$\"".to_owned()));
        assert_eq!(error("a$-b"), (1, "invalid parameter \"$-b\"".to_owned()));
        assert_eq!(error("${}c"), (1, "invalid parameter \"${}c\"".to_owned()));
        assert_eq!(error("${"), (1, "invalid parameter \"${\"".to_owned()));
        assert_eq!(error("${ab-c}").1, "the closing bracket in \"ab\" variable is missing");
        assert_eq!(error("${ab").1, "the closing bracket in \"ab\" variable is missing");
        assert_eq!(error("${-}").1, "the closing bracket in \"\" variable is missing");
    }
}
