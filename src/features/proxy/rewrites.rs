//! `proxy_redirect`: how URLs in `Location` and `Refresh` of an answer are rewritten. The patterns and
//! their replacements serve `proxy_cookie_domain` and `proxy_cookie_path` too.

use super::settings::Target;
use crate::base::process_settings::Level;
use crate::conf::{Diagnostic, Directive, Scope, Word};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::settings::PlacedPattern;
use crate::pipeline::template::Template;
use crate::plan::builder::Builder;

/// What is replaced, and by what.
pub struct Rewrite {
    what: What,
    to: Template,
}

/// What of a text is replaced.
enum What {
    /// This at its beginning.
    Prefix(Template),
    /// All of it but a leading dot, if it is this name in any case.
    Domain(Template),
    /// All of it, if it matches.
    Regex(PlacedPattern),
}

impl Rewrite {
    /// Rewrites what of `value` stands behind its first `start` bytes; false if it does not apply.
    /// The groups of a match are left in the exchange.
    fn apply(&self, x: &mut Exchange, value: &mut Vec<u8>, start: usize) -> bool {
        let rest = value.get(start..).unwrap_or_default();
        let replaced = match &self.what {
            What::Prefix(prefix) => {
                let prefix = prefix.value(x);
                if !rest.starts_with(&prefix) {
                    return false;
                }
                start..start + prefix.len()
            }
            What::Domain(name) => {
                let bare = rest.strip_prefix(b".").unwrap_or(rest);
                if !bare.eq_ignore_ascii_case(&name.value(x)) {
                    return false;
                }
                value.len() - bare.len()..value.len()
            }
            What::Regex(placed) => {
                if !matches(x, placed, rest) {
                    return false;
                }
                start..value.len()
            }
        };
        value.splice(replaced, self.to.value(x));
        true
    }
}

/// Applies the first of the rewrites that fits; false if none does.
pub fn apply(rewrites: &[Rewrite], x: &mut Exchange, value: &mut Vec<u8>, start: usize) -> bool {
    rewrites.iter().any(|rewrite| rewrite.apply(x, value, start))
}

/// Matches a text; the groups are left where variables find them.
pub fn matches(x: &Exchange, placed: &PlacedPattern, subject: &[u8]) -> bool {
    placed.search(x, subject).unwrap_or_else(|e| {
        let shown = String::from_utf8_lossy(subject);
        x.log(Level::Error, format_args!("pcre2_match() failed: {e} on \"{shown}\""));
        false
    })
}

/// The rewrites of `Location` and `Refresh` that hold here.
///
/// # Errors
/// What nginx refuses, in its words.
pub fn redirects(
    scope: &Scope<'_>,
    target: &Target,
    b: &mut Builder<'_>,
) -> Result<Vec<Rewrite>, Diagnostic> {
    let lines = scope.all("proxy_redirect");
    if lines.is_empty() {
        return Ok(default_redirect(scope, target, b).into_iter().collect());
    }
    if is_off(scope, &lines)? {
        return Ok(Vec::new());
    }
    let mut rewrites = Vec::new();
    for directive in lines {
        match directive.args.as_slice() {
            [word] if word.text == "default" => {
                refuse_default(scope, directive, target)?;
                rewrites.extend(default_redirect(scope, target, b));
            }
            [word] => return Err(invalid_parameter(scope, directive, word)),
            [from, to] => rewrites.push(url(from, to, b)?),
            _ => {}
        }
    }
    Ok(rewrites)
}

/// Whether the one line that holds here is `off`.
///
/// # Errors
/// `off` stands beside others.
pub fn is_off(scope: &Scope<'_>, lines: &[&Directive]) -> Result<bool, Diagnostic> {
    let off = |line: &&&Directive| matches!(line.args.as_slice(), [word] if word.text == "off");
    match (lines, lines.iter().find(off)) {
        (_, None) => Ok(false),
        ([_], Some(_)) => Ok(true),
        ([_, second, ..], Some(_)) => {
            let message = format!("\"{}\" directive is duplicate", second.name.text);
            Err(scope.error(*second, message))
        }
        ([], Some(_)) => Ok(false),
    }
}

/// An argument that is none of those the directive knows.
pub fn invalid_parameter(scope: &Scope<'_>, directive: &Directive, word: &Word) -> Diagnostic {
    scope.error_at(directive, word, format!("invalid parameter \"{}\"", word.text))
}

/// A rewrite of a URL or a path: a prefix, or a regular expression behind `~` or `~*`.
///
/// # Errors
/// A malformed expression or variable.
pub fn url(from: &Word, to: &Word, b: &mut Builder<'_>) -> Result<Rewrite, Diagnostic> {
    let what = match from.text.strip_prefix('~') {
        Some(rest) => {
            let (regex, caseless) = rest.strip_prefix('*').map_or((rest, false), |regex| (regex, true));
            What::Regex(b.pattern(regex, caseless, from)?)
        }
        None => What::Prefix(b.template(from)?),
    };
    Ok(Rewrite { what, to: b.template(to)? })
}

/// A rewrite of a domain: a name, with or without the dot before it, or a regular expression behind
/// `~`, which never minds case.
///
/// # Errors
/// A malformed expression or variable.
pub fn domain(from: &Word, to: &Word, b: &mut Builder<'_>) -> Result<Rewrite, Diagnostic> {
    if let Some(regex) = from.text.strip_prefix('~') {
        return Ok(Rewrite { what: What::Regex(b.pattern(regex, true, from)?), to: b.template(to)? });
    }
    let undotted = |word: &Word, b: &mut Builder<'_>| {
        b.template_of(word.text.strip_prefix('.').unwrap_or(&word.text), word)
    };
    Ok(Rewrite { what: What::Domain(undotted(from, b)?), to: undotted(to, b)? })
}

/// `default` needs a `proxy_pass` whose URL is known and stands before it.
fn refuse_default(scope: &Scope<'_>, directive: &Directive, target: &Target) -> Result<(), Diagnostic> {
    // Inherited lines were looked at where they stand.
    let position = |wanted: &Directive| scope.body().iter().position(|line| std::ptr::eq(line, wanted));
    let Some(at) = position(directive) else { return Ok(()) };
    let pass = scope.one("proxy_pass").and_then(position);
    if pass.is_none_or(|pass| pass > at) {
        let message = "\"proxy_redirect default\" should be placed after the \"proxy_pass\" directive";
        return Err(scope.error(directive, message));
    }
    if matches!(target, Target::Variable { .. }) {
        let message =
            "\"proxy_redirect default\" cannot be used with \"proxy_pass\" directive with variables";
        return Err(scope.error(directive, message));
    }
    Ok(())
}

/// From the upstream's URL back to the location's name.
fn default_redirect(scope: &Scope<'_>, target: &Target, b: &mut Builder<'_>) -> Option<Rewrite> {
    let Target::Fixed { uri, host, scheme, .. } = target else { return None };
    let block = scope.location()?.directive()?;
    let prefix = block.name.text == "location"
        && block.args.first().is_some_and(|word| !word.text.starts_with(['~', '@']));
    let uri = uri.as_deref().filter(|_| prefix);
    // Without a URI part the paths are the same on both sides: only scheme and host are taken off.
    let (from_path, to): (&[u8], Vec<u8>) = match uri {
        Some(uri) => (uri, b.settings().name.as_bytes().to_vec()),
        None => (b"/", b"/".to_vec()),
    };
    let from = [scheme.as_bytes(), b"://", host.as_ref(), from_path].concat();
    Some(Rewrite { what: What::Prefix(Template::literal(from)), to: Template::literal(to) })
}
