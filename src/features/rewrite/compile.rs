//! The directives of one level become a script.

use super::script::{Instruction, Outcome, Script};
use crate::conf::{Context, Diagnostic, Directive, Scope, Word, value};
use crate::pipeline::settings::LIMIT_RATE_PLACE;
use crate::pipeline::step::Phase;
use crate::plan::builder::Builder;

/// The highest code that `return` takes.
const CODE_MAX: u64 = 999;

/// The lowest: a final answer that says it is an interim one (RFC 9110, 15.2) would leave the client
/// waiting for another.
const CODE_MIN: u64 = 200;

/// How a URL begins that may stand without a code.
const URLS: [&str; 3] = ["http://", "https://", "$scheme"];

/// The variables of nginx's own that may be set: this one,
const ARGS: &str = "args";

/// and this one.
const LIMIT_RATE: &str = "limit_rate";

/// Compiles what a server or a location was told.
pub fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let mut instructions = Vec::new();
    for directive in scope.body() {
        match directive.name.text.as_str() {
            "return" => instructions.push(Instruction::Return(outcome(scope, directive, b)?)),
            "set" => instructions.push(set(scope, directive, b)?),
            "break" => instructions.push(Instruction::Break),
            _ => {}
        }
    }
    if instructions.is_empty() {
        return Ok(());
    }
    let server = scope.context().meets(Context::SERVER);
    let phase = if server { Phase::ServerRewrite } else { Phase::Rewrite };
    b.quick(phase, Script { instructions: instructions.into() });
    Ok(())
}

fn outcome(scope: &Scope<'_>, directive: &Directive, b: &mut Builder<'_>) -> Result<Outcome, Diagnostic> {
    let Some((first, rest)) = directive.args.split_first() else {
        return Err(scope.error(directive, "invalid number of arguments in \"return\" directive"));
    };
    let invalid = || {
        let message = format!("invalid return code \"{}\"", first.text);
        scope.error_at(directive, first, message)
    };
    let Some(code) = value::number(&first.text) else {
        if rest.is_empty() && URLS.iter().any(|url| first.text.starts_with(url)) {
            return Ok(Outcome::Redirect { status: 302, to: b.template(first)? });
        }
        return Err(invalid());
    };
    if !(CODE_MIN..=CODE_MAX).contains(&code) {
        return Err(invalid());
    }
    let status = code as u16;
    let text = match rest.first() {
        Some(word) => b.template(word)?,
        None => Default::default(),
    };
    Ok(Outcome::new(status, text))
}

fn set(scope: &Scope<'_>, directive: &Directive, b: &mut Builder<'_>) -> Result<Instruction, Diagnostic> {
    let [name, value] = directive.args.as_slice() else {
        return Err(scope.error(directive, "invalid number of arguments in \"set\" directive"));
    };
    let place = variable(scope, directive, name, b)?;
    let value = b.template(value)?;
    Ok(match place {
        Some(place) => Instruction::Set { place, value },
        None => Instruction::SetArgs(value),
    })
}

/// The place of a variable that a directive sets; `None` for `$args`, which is the request's.
///
/// # Errors
/// A word that is no variable, and a variable that cannot be set.
pub fn variable(
    scope: &Scope<'_>,
    directive: &Directive,
    word: &Word,
    b: &mut Builder<'_>,
) -> Result<Option<usize>, Diagnostic> {
    let is_name =
        |name: &&str| !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
    let Some(name) = word.text.strip_prefix('$').filter(is_name) else {
        let message = format!("invalid variable name \"{}\"", word.text);
        return Err(scope.error_at(directive, word, message));
    };
    let name = name.to_ascii_lowercase();
    if name == ARGS {
        return Ok(None);
    }
    if name == LIMIT_RATE {
        return Ok(Some(b.define(LIMIT_RATE_PLACE)));
    }
    if b.is_offered(&name) {
        return Err(scope.error_at(directive, word, format!("the duplicate \"{name}\" variable")));
    }
    Ok(Some(b.define(&name)))
}
