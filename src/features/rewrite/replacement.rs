//! `rewrite`: the path is matched, and what replaces it is made.

use super::condition::search;
use crate::base::process_settings::Level;
use crate::http::Known;
use crate::http::uri::{Escape, Unescape, escape, unescape};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::redirect;
use crate::pipeline::settings::PlacedPattern;
use crate::pipeline::template::{Part, Template};
use crate::pipeline::variable::Variable;

/// One directive.
pub struct Rewrite {
    /// What the path is matched with.
    pub pattern: PlacedPattern,
    /// The new path; the whole URL for a redirect.
    pub path: Template,
    /// What stands behind the `?` of the new path, if it has one.
    pub args: Option<Template>,
    /// The replacement has arguments of its own.
    pub has_args: bool,
    /// The request's arguments are added: no `?` ends the replacement.
    pub adds_args: bool,
    /// What happens then.
    pub flag: Flag,
}

/// What happens once the path is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// The next directive.
    None,
    /// The location of the new path is looked for.
    Last,
    /// The request stays in its location.
    Break,
    /// The client is sent there.
    Redirect(u16),
}

/// What became of the path.
pub enum Replaced {
    /// It does not match.
    No,
    /// It is another one.
    Path,
    /// The answer is this, with its `Location`.
    Redirect(u16),
}

impl Rewrite {
    /// Whether nothing behind it runs once it matched.
    pub fn is_last(&self) -> bool {
        self.flag != Flag::None
    }

    /// Whether the location of the new path is looked for.
    pub fn searches(&self) -> bool {
        self.flag != Flag::Break
    }

    /// Matches and replaces. `logs`: `rewrite_log`.
    ///
    /// # Errors
    /// The status to answer with: the match failed, or nothing is left of the path.
    pub fn run(&self, x: &mut Exchange, logs: bool) -> Result<Replaced, u16> {
        let path = std::mem::take(&mut x.uri);
        let matched = search(&self.pattern, x, &path, logs);
        x.uri = path;
        if !matched? {
            return Ok(Replaced::No);
        }
        x.internal = true;
        x.uri_is_original = false;
        if let Flag::Redirect(status) = self.flag {
            self.redirect(x, logs);
            return Ok(Replaced::Redirect(status));
        }
        self.replace(x, logs)?;
        Ok(Replaced::Path)
    }

    fn replace(&self, x: &mut Exchange, logs: bool) -> Result<(), u16> {
        if self.flag == Flag::Break {
            x.uri_is_located = false;
        }
        let mut path = std::mem::take(&mut x.scratch);
        path.clear();
        self.path.write(x, &mut path);
        if let Some(template) = &self.args {
            let mut args = Vec::new();
            write_quoted(template, x, true, &mut args);
            if self.adds_args && !x.args.is_empty() {
                args.push(b'&');
                args.extend_from_slice(&x.args);
            }
            x.args = args;
        } else if !self.adds_args {
            x.args.clear();
        }
        x.scratch = std::mem::replace(&mut x.uri, path);
        if logs {
            let (path, args) = (String::from_utf8_lossy(&x.uri), String::from_utf8_lossy(&x.args));
            x.log(Level::Notice, format_args!("rewritten data: \"{path}\", args: \"{args}\""));
        }
        if x.uri.is_empty() {
            x.log(Level::Error, format_args!("the rewritten URI has a zero length"));
            return Err(500);
        }
        Ok(())
    }

    fn redirect(&self, x: &mut Exchange, logs: bool) {
        let mut quoted = Vec::new();
        write_quoted(&self.path, x, true, &mut quoted);
        let mut url = Vec::with_capacity(quoted.len() + x.args.len() + 1);
        unescape(Unescape::Redirect, &quoted, &mut url);
        if self.adds_args && !x.args.is_empty() {
            url.push(if self.has_args { b'&' } else { b'?' });
            url.extend_from_slice(&x.args);
        }
        if logs {
            let url = String::from_utf8_lossy(&url);
            x.log(Level::Notice, format_args!("rewritten redirect: \"{url}\""));
        }
        let mut location = Vec::with_capacity(url.len() + 64);
        redirect::location(x, &url, &mut location);
        x.answer.fields.remove(Known::Location);
        x.answer.fields.push_with(b"Location", |out| out.extend_from_slice(&location));
    }
}

/// Appends a template's value. With `quotes` its groups are encoded, if the path they were taken from
/// may have been: what the client encoded, and what a plus means, is kept so.
pub fn write_quoted(template: &Template, x: &Exchange, quotes: bool, out: &mut Vec<u8>) {
    if !(quotes && (x.uri_is_quoted || x.uri_has_plus)) {
        return template.write(x, out);
    }
    for part in template.parts() {
        match part {
            Part::Text(text) => out.extend_from_slice(text),
            Part::Variable(Variable::Group(group)) => {
                let mut text = Vec::new();
                x.matched.write(*group, &mut text);
                escape(Escape::Args, &text, out);
            }
            Part::Variable(variable) => {
                variable.write(x, out);
            }
        }
    }
}
