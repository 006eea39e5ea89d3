//! Values of `auth_request_set`: strings with variables, of which those about the upstream speak of
//! the answer to the question, all others of the request itself.

use crate::conf::{Diagnostic, Word};
use crate::http::Known;
use crate::pipeline::answer::AnswerHead;
use crate::pipeline::connection::push_decimal;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::template::Template;
use crate::plan::builder::Builder;

/// Families of variables that speak of the answer.
const FIELDS: [&str; 2] = ["upstream_http_", "sent_http_"];
const COOKIES: &str = "upstream_cookie_";
const STATUSES: [&str; 2] = ["upstream_status", "status"];

/// A compiled string.
pub struct AnswerTemplate {
    parts: Box<[Part]>,
}

enum Part {
    /// Of the request.
    Request(Template),
    /// All fields of this name, in lower case, separated by commas.
    Field(Box<[u8]>),
    /// The cookie of this name that is set.
    Cookie(Box<[u8]>),
    /// The status.
    Status,
}

impl AnswerTemplate {
    /// Compiles a word.
    ///
    /// # Errors
    /// A malformed variable name.
    pub fn compile(word: &Word, b: &mut Builder<'_>) -> Result<AnswerTemplate, Diagnostic> {
        let mut parts = Vec::new();
        let mut before = word.text.as_str();
        let mut from = 0;
        while let Some(at) = before.get(from..).and_then(|rest| rest.find('$')).map(|at| from + at) {
            let (text, after) =
                (before.get(..at).unwrap_or_default(), before.get(at + 1..).unwrap_or_default());
            let (name, rest) = name(after);
            let Some(part) = part(name) else {
                from = at + 1;
                continue;
            };
            if !text.is_empty() {
                parts.push(Part::Request(b.template_of(text, word)?));
            }
            parts.push(part);
            (before, from) = (rest, 0);
        }
        if !before.is_empty() {
            parts.push(Part::Request(b.template_of(before, word)?));
        }
        Ok(AnswerTemplate { parts: parts.into() })
    }

    /// The string for a request and the answer to its question.
    pub fn value(&self, x: &Exchange, answer: &AnswerHead) -> Vec<u8> {
        let mut out = Vec::new();
        for part in &self.parts {
            match part {
                Part::Request(template) => template.write(x, &mut out),
                Part::Field(name) => field(answer, name, &mut out),
                Part::Cookie(name) => out.extend_from_slice(cookie(answer, name).unwrap_or_default()),
                Part::Status => push_decimal(&mut out, answer.status.into()),
            }
        }
        out
    }
}

/// The name of the variable that begins here, behind its `$`, and what follows it.
fn name(text: &str) -> (&str, &str) {
    match text.strip_prefix('{') {
        Some(braced) => braced.split_once('}').unwrap_or_default(),
        None => {
            let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
            text.split_at(end)
        }
    }
}

fn part(name: &str) -> Option<Part> {
    let name = name.to_ascii_lowercase();
    if STATUSES.contains(&name.as_str()) {
        return Some(Part::Status);
    }
    let rest = |family: &str| name.strip_prefix(family).filter(|rest| !rest.is_empty());
    if let Some(cookie) = rest(COOKIES) {
        return Some(Part::Cookie(cookie.as_bytes().into()));
    }
    let field = FIELDS.iter().find_map(|family| rest(family))?;
    Some(Part::Field(field.replace('_', "-").into_bytes().into()))
}

fn field(answer: &AnswerHead, wanted: &[u8], out: &mut Vec<u8>) {
    match Known::of(wanted) {
        Known::ContentType => out.extend_from_slice(&answer.content_type),
        Known::ContentLength => answer.length.into_iter().for_each(|length| push_decimal(out, length)),
        _ => {
            let found = answer.fields.iter().filter(|(name, ..)| name.eq_ignore_ascii_case(wanted));
            for (at, (_, value, _)) in found.enumerate() {
                if at > 0 {
                    out.extend_from_slice(b", ");
                }
                out.extend_from_slice(value);
            }
        }
    }
}

/// The value of a cookie that the answer sets; names are compared without case, as nginx does.
fn cookie<'a>(answer: &'a AnswerHead, wanted: &[u8]) -> Option<&'a [u8]> {
    answer.fields.iter().filter(|(_, _, known)| *known == Known::SetCookie).find_map(|(_, value, _)| {
        let pair = value.split(|&byte| byte == b';').next()?;
        let equals = pair.iter().position(|&byte| byte == b'=')?;
        let (name, value) = (pair.get(..equals)?, pair.get(equals + 1..)?);
        name.trim_ascii().eq_ignore_ascii_case(wanted).then(|| value.trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_where_they_end() {
        assert_eq!(name("a_b-c"), ("a_b", "-c"));
        assert_eq!(name("{a}b"), ("a", "b"));
        assert_eq!(name("{a"), ("", ""));
        assert_eq!(name(""), ("", ""));
        assert!(part("upstream_http_").is_none() && part("host").is_none() && part("Status").is_some());
    }
}
