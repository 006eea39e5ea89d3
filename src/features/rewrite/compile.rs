//! The directives of one level become a script.

use super::condition::{Condition, FileTest, FileTestKind};
use super::outcome::Outcome;
use super::replacement::{Flag, Rewrite};
use super::script::{Instruction, QuickScript, Script, WaitingScript};
use crate::conf::{Context, Diagnostic, Directive, Scope, Word, value};
use crate::http::Method;
use crate::pipeline::settings::LIMIT_RATE_PLACE;
use crate::pipeline::step::Phase;
use crate::plan::builder::Builder;

/// The highest code that `return` takes.
const CODE_MAX: u64 = 999;

/// The lowest: a final answer that says it is an interim one (RFC 9110, 15.2) would leave the client
/// waiting for another.
const CODE_MIN: u64 = 200;

/// How a URL begins that may stand without a code, and that `rewrite` sends the client to.
const URLS: [&str; 3] = ["http://", "https://", "$scheme"];

/// The variables of nginx's own that may be set: this one,
const ARGS: &str = "args";

/// and this one.
const LIMIT_RATE: &str = "limit_rate";

/// The methods that `limit_except` knows by name.
const METHODS: [Method; 14] = [
    Method::Get,
    Method::Head,
    Method::Post,
    Method::Put,
    Method::Delete,
    Method::Mkcol,
    Method::Copy,
    Method::Move,
    Method::Options,
    Method::Propfind,
    Method::Proppatch,
    Method::Lock,
    Method::Unlock,
    Method::Patch,
];

/// Defines the variables of all `set` directives, so that each is known wherever it is read. Faults in
/// them are found where they are compiled.
///
/// # Errors
/// None.
pub fn http(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    names(scope.body(), b);
    Ok(())
}

fn names(body: &[Directive], b: &mut Builder<'_>) {
    for directive in body {
        if directive.name.text == "set" && directive.block.is_none() {
            let name = directive.arg(0).and_then(|word| word.strip_prefix('$')).unwrap_or_default();
            if is_name(name) && !is_offered(name, b) {
                b.define_settable(name);
            }
        } else if let "server" | "location" | "route" | "version" | "if" = directive.name.text.as_str() {
            names(directive.body(), b);
        }
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether a variable is one of nginx's own, even where it may be set.
fn is_offered(name: &str, b: &Builder<'_>) -> bool {
    let name = name.to_ascii_lowercase();
    b.is_offered(&name) || [ARGS, LIMIT_RATE].contains(&name.as_str())
}

/// Compiles what a server or a location was told. What stands inside an `if` belongs to the level
/// round it, so the levels of `if` and `limit_except` themselves have no script.
///
/// # Errors
/// What nginx refuses, in its words.
pub fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    b.settings().uninitialized_variable_warn = scope.flag("uninitialized_variable_warn", true)?;
    let log = scope.flag("rewrite_log", false)?;
    let server = scope.context() == Context::SERVER;
    if !server && scope.context() != Context::LOCATION {
        return Ok(());
    }
    let mut compiler = Compiler { instructions: Vec::new(), branches: 0, waits: false };
    if let Some(directive) = scope.here("limit_except").next() {
        // Its level stands behind those of all the `if` blocks.
        let inner = scope.here("if").count();
        let allowed = allowed_methods(scope, directive)?;
        compiler.instructions.push(Instruction::Limit { allowed, inner });
    }
    compiler.body(scope, b)?;
    if compiler.instructions.is_empty() {
        return Ok(());
    }
    let instructions = compiler.instructions.into();
    let script = Script { instructions, log, before_location: server };
    let phase = if server { Phase::ServerRewrite } else { Phase::Rewrite };
    match compiler.waits {
        false => b.quick(phase, QuickScript(script)),
        true => b.waiting(phase, WaitingScript(script)),
    }
    Ok(())
}

/// The methods that `limit_except` lets be; HEAD is let be with GET.
fn allowed_methods(scope: &Scope<'_>, directive: &Directive) -> Result<Box<[Method]>, Diagnostic> {
    let mut allowed = Vec::new();
    for word in &directive.args {
        let named = METHODS.iter().find(|method| method.text().eq_ignore_ascii_case(&word.text));
        let Some(method) = named else {
            return Err(scope.error_at(directive, word, format!("invalid method \"{}\"", word.text)));
        };
        allowed.push(*method);
    }
    if allowed.contains(&Method::Get) {
        allowed.push(Method::Head);
    }
    Ok(allowed.into())
}

/// A script being written.
struct Compiler {
    instructions: Vec<Instruction>,
    /// The `if` blocks so far.
    branches: usize,
    /// One of them asks for a file.
    waits: bool,
}

impl Compiler {
    fn body<'t>(&mut self, scope: &Scope<'t>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
        for directive in scope.body() {
            let instruction = match directive.name.text.as_str() {
                "return" => Instruction::Return(outcome(scope, directive, b)?),
                "set" => set(scope, directive, b)?,
                "break" => Instruction::Break,
                "rewrite" => Instruction::Rewrite(Box::new(rewrite(scope, directive, b)?)),
                "if" => {
                    self.branch(scope, directive, b)?;
                    continue;
                }
                _ => continue,
            };
            self.instructions.push(instruction);
        }
        Ok(())
    }

    fn branch<'t>(
        &mut self,
        scope: &Scope<'t>,
        directive: &'t Directive,
        b: &mut Builder<'_>,
    ) -> Result<(), Diagnostic> {
        let condition = Box::new(condition(scope, directive, b)?);
        self.waits |= condition.waits();
        let in_server = scope.context() == Context::SERVER;
        let inner = (!in_server).then_some(self.branches);
        self.branches += 1;
        let at = self.instructions.len();
        self.instructions.push(Instruction::If { condition, inner, end: 0 });
        let context = if in_server { Context::IF_IN_SERVER } else { Context::IF_IN_LOCATION };
        self.body(&scope.child(directive, context), b)?;
        let behind = self.instructions.len();
        if let Some(Instruction::If { end, .. }) = self.instructions.get_mut(at) {
            *end = behind;
        }
        Ok(())
    }
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
        if rest.is_empty() && is_url(&first.text) {
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

fn is_url(text: &str) -> bool {
    URLS.iter().any(|url| text.starts_with(url))
}

fn rewrite(scope: &Scope<'_>, directive: &Directive, b: &mut Builder<'_>) -> Result<Rewrite, Diagnostic> {
    let [regex, replacement, flags @ ..] = directive.args.as_slice() else {
        return Err(scope.error(directive, "invalid number of arguments in \"rewrite\" directive"));
    };
    if replacement.text.is_empty() {
        return Err(scope.error_at(directive, replacement, "empty replacement"));
    }
    let pattern = b.pattern(&regex.text, false, regex)?;
    let kept = replacement.text.strip_suffix('?');
    let (text, adds_args) = (kept.unwrap_or(&replacement.text), kept.is_none());
    let mut flag = if is_url(&replacement.text) { Flag::Redirect(302) } else { Flag::None };
    if let Some(word) = flags.first() {
        let is_redirect = flag != Flag::None;
        flag = match word.text.as_str() {
            // A URL is a redirect whatever is said of it.
            "last" | "break" if is_redirect => flag,
            "last" => Flag::Last,
            "break" => Flag::Break,
            "redirect" => Flag::Redirect(302),
            "permanent" => Flag::Redirect(301),
            other => {
                return Err(scope.error_at(directive, word, format!("invalid parameter \"{other}\"")));
            }
        };
    }
    let (path, args) = match (flag, text.split_once('?')) {
        (Flag::Redirect(_), _) | (_, None) => (b.template_of(text, replacement)?, None),
        (_, Some((path, args))) => {
            (b.template_of(path, replacement)?, Some(b.template_of(args, replacement)?))
        }
    };
    Ok(Rewrite { pattern, path, args, has_args: text.contains('?'), adds_args, flag })
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
    let Some(name) = word.text.strip_prefix('$').filter(|name| is_name(name)) else {
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

/// What stands between the brackets of an `if`.
fn condition(scope: &Scope<'_>, directive: &Directive, b: &mut Builder<'_>) -> Result<Condition, Diagnostic> {
    let invalid =
        |word: &Word, text: &str| scope.error_at(directive, word, format!("invalid condition \"{text}\""));
    let words = bare(&directive.args).map_err(|word| invalid(&directive.name, &word))?;
    let Some(first) = words.first() else { return Err(invalid(&directive.name, ")")) };
    let negated = first.text.starts_with('!');
    match (first.text.as_str(), words.as_slice()) {
        (text, [_]) if text.len() > 1 && text.starts_with('$') => {
            Ok(Condition::True(b.variable(&text[1..], first)))
        }
        (text, [_, sign, other]) if text.len() > 1 && text.starts_with('$') => {
            let variable = b.variable(&text[1..], first);
            let negated = sign.text.starts_with('!');
            match sign.text.as_str() {
                "=" | "!=" => Ok(Condition::Equal { variable, text: b.template(other)?, negated }),
                "~" | "~*" | "!~" | "!~*" => {
                    let pattern = b.pattern(&other.text, sign.text.ends_with('*'), other)?;
                    Ok(Condition::Matches { variable, pattern, negated })
                }
                sign => {
                    let message = format!("unexpected \"{sign}\" in condition");
                    Err(scope.error_at(directive, &words[1], message))
                }
            }
        }
        ("-f" | "!-f" | "-d" | "!-d" | "-e" | "!-e" | "-x" | "!-x", [_, path]) => {
            let kind = match first.text.trim_start_matches(['!', '-']) {
                "f" => FileTestKind::File,
                "d" => FileTestKind::Directory,
                "e" => FileTestKind::Any,
                _ => FileTestKind::Executable,
            };
            Ok(Condition::File { path: b.template(path)?, test: FileTest { kind, negated } })
        }
        (text, _) => Err(invalid(first, text)),
    }
}

/// The words between the brackets, which may stand close to their neighbours or alone.
///
/// # Errors
/// The text where a bracket is missing.
fn bare(words: &[Word]) -> Result<Vec<Word>, String> {
    let mut bare = words.to_vec();
    let Some(first) = bare.first_mut() else { return Ok(bare) };
    let Some(opened) = first.text.strip_prefix('(') else { return Err(first.text.clone()) };
    first.text = opened.to_owned();
    let Some(last) = bare.last_mut() else { return Ok(bare) };
    let Some(closed) = last.text.strip_suffix(')') else { return Err(last.text.clone()) };
    last.text = closed.to_owned();
    // A word that is left empty was a bracket alone; one within quotes is a text.
    let alone = |bracket: &str, word: Option<&Word>| word.is_some_and(|word| word.text == bracket);
    if alone(")", words.last()) || (words.len() == 1 && alone("()", words.last())) {
        bare.pop();
    }
    if alone("(", words.first()) {
        bare.remove(0);
    }
    Ok(bare)
}
