//! `add_header` and `add_trailer`.

use crate::conf::{Diagnostic, Directive, Scope};
use crate::http::Known;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::template::Template;
use crate::plan::builder::Builder;

/// What may not stand in a field.
const LINE_ENDS: [char; 3] = ['\r', '\n', '\0'];

/// One line of either.
pub struct Added {
    /// Whatever the answer's status is.
    pub always: bool,
    known: Known,
    name: Box<[u8]>,
    value: Template,
}

impl Added {
    /// Adds the field, unless its value is empty. Of `ETag` and `Last-Modified` there is one only:
    /// the answer's own is replaced, or removed by an empty value.
    pub fn apply(&self, x: &mut Exchange) {
        let one_only = matches!(self.known, Known::Etag | Known::LastModified);
        if one_only {
            x.answer.fields.remove(self.known);
        }
        match self.value.as_literal() {
            Some(b"") => {}
            Some(text) => x.answer.fields.push_known(self.known, &self.name, text),
            None => {
                let mut value = std::mem::take(&mut x.scratch);
                value.clear();
                self.value.write(x, &mut value);
                if !value.is_empty() {
                    x.answer.fields.push_with(&self.name, |out| out.extend_from_slice(&value));
                }
                x.scratch = value;
            }
        }
    }
}

impl Added {
    /// Adds the field behind the body, unless its value is empty.
    pub fn apply_behind(&self, x: &mut Exchange) {
        let value = self.value.value(x);
        if !value.is_empty() {
            x.answer.trailers.push_with(&self.name, |out| out.extend_from_slice(&value));
        }
    }
}

/// What `add_header_inherit` or `add_trailer_inherit` says.
#[derive(Clone, Copy)]
enum Inheritance {
    Off,
    On,
    Merge,
}

/// A directive and the one that says how it is inherited.
pub type Names = [&'static str; 2];

/// The lines of a directive that hold in this block.
///
/// # Errors
/// What nginx refuses, in its words.
pub fn compile(scope: &Scope<'_>, names: Names, b: &mut Builder<'_>) -> Result<Box<[Added]>, Diagnostic> {
    let (_, lines) = lines(scope, names)?;
    lines.into_iter().map(|directive| line(scope, directive, b)).collect()
}

/// How this level inherits, and its lines: its own before those of the level above.
fn lines<'t>(scope: &Scope<'t>, names: Names) -> Result<(Inheritance, Vec<&'t Directive>), Diagnostic> {
    let [name, inherit] = names;
    let (outer, inherited) = match scope.parent() {
        Some(parent) => lines(&parent, names)?,
        None => (Inheritance::On, Vec::new()),
    };
    let inheritance = match scope.here(inherit).next() {
        None => outer,
        Some(directive) => match directive.arg(0).unwrap_or_default() {
            "off" => Inheritance::Off,
            "on" => Inheritance::On,
            "merge" => Inheritance::Merge,
            other => return Err(scope.error(directive, format!("invalid value \"{other}\""))),
        },
    };
    let mut own: Vec<&'t Directive> = scope.here(name).collect();
    match inheritance {
        Inheritance::On if own.is_empty() => own = inherited,
        Inheritance::Merge => own.extend(inherited),
        Inheritance::On | Inheritance::Off => {}
    }
    Ok((inheritance, own))
}

fn line(scope: &Scope<'_>, directive: &Directive, b: &mut Builder<'_>) -> Result<Added, Diagnostic> {
    let [name, value, rest @ ..] = directive.args.as_slice() else {
        return Err(scope.error(
            directive,
            format!("invalid number of arguments in \"{}\" directive", directive.name.text),
        ));
    };
    let always = match rest.first() {
        None => false,
        Some(word) if word.text == "always" => true,
        Some(word) => {
            return Err(scope.error_at(directive, word, format!("invalid parameter \"{}\"", word.text)));
        }
    };
    // A line end would begin another field, or the body.
    if name.text.contains(LINE_ENDS) {
        return Err(scope.error_at(directive, name, "a header field whose name has more than one line"));
    }
    // In a value it is a space, as where a field was folded (RFC 9112, 5.2): long policies are written
    // over several lines, which nginx sends as they are.
    let folded = value.text.contains(LINE_ENDS).then(|| value.text.replace(LINE_ENDS, " "));
    let text = folded.as_deref().map_or(value.text.as_str(), str::trim_end);
    let known = Known::of(name.text.as_bytes());
    Ok(Added { always, known, name: name.text.as_bytes().into(), value: b.template_of(text, value)? })
}
