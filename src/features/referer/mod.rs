//! `valid_referers`: whether a request comes from a page of ours, as far as its field Referer tells.

use crate::base::process_settings::Level;
use crate::conf::{Arity, Context, Diagnostic, Directive, DirectiveSpec as D, Inherit, Scope, Values, Word};
use crate::features::map::table::{Table, Unfit, ValueId};
use crate::http::Known;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::pattern::{Groups, Pattern};
use crate::pipeline::variable::VariableSpec;
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end, nothing};

const SL: Context = Context::SERVER.or(Context::LOCATION);

/// Why the sizes of nginx's hash tables mean nothing here.
const GROWS: &str = "the table of referers grows as it needs to";

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "referer",
    module: Some("http_referer"),
    directives: &[
        D::new(
            "valid_referers",
            SL,
            Arity::AtLeast(1),
            "none | blocked | server_names | string ...",
            "",
            "The values of Referer for which $invalid_referer is empty: none at all, one without scheme, the server's names, hosts with masks and paths, regular expressions.",
        )
        .inherit(Inherit::Together),
        D::new("referer_hash_max_size", SL, Arity::Exactly(1), "size", "2048", "The largest size of the table.")
            .values(Values::Number).accepted(GROWS),
        D::new("referer_hash_bucket_size", SL, Arity::Exactly(1), "size", "64", "The size of a bucket of it.")
            .values(Values::Number).accepted(GROWS),
    ],
    variables: &[VariableSpec {
        name: "invalid_referer",
        family: false,
        eval: invalid_referer,
        doc: "`1` if valid_referers does not name the request's Referer, else empty.",
    }],
    http: nothing,
    location,
    end: no_end,
};

/// The shortest Referer that can name a host, as nginx counts: `http://i.ru`.
const SHORTEST: usize = 11;

/// Bytes of a host that are looked at; a longer one is invalid.
const HOST_MAX: usize = 256;

/// What is valid in a location.
#[derive(Default)]
struct Referers {
    none: bool,
    blocked: bool,
    hosts: Table,
    /// The paths that hosts are valid with, by the numbers in the table; `None` for any.
    paths: Vec<Option<Box<[u8]>>>,
    /// Regular expressions in the server's names, matched with the host.
    host_patterns: Vec<Pattern>,
    /// Regular expressions, matched with all behind the scheme.
    patterns: Vec<Pattern>,
}

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let lines = scope.all("valid_referers");
    let Some(first) = lines.first() else { return Ok(()) };
    let mut referers = Referers::default();
    let words = || lines.iter().flat_map(|line| line.args.iter().map(move |word| (*line, word)));
    for (line, word) in words() {
        match word.text.as_str() {
            "" => return Err(scope.error_at(line, word, "invalid referer \"\"")),
            "none" => referers.none = true,
            "blocked" => referers.blocked = true,
            "server_names" => {}
            text if text.starts_with('~') => {}
            text => {
                let (host, path) = match text.find('/') {
                    Some(at) => (&text[..at], Some(text.as_bytes()[at..].into())),
                    None => (text, None),
                };
                referers.host(scope, line, host, path)?;
            }
        }
    }
    if let Some((line, _)) = words().find(|(_, word)| word.text == "server_names") {
        referers.server_names(scope, line, b)?;
    }
    referers.patterns = inherited_patterns(scope, b)?;
    if (referers.none || referers.blocked) && referers.paths.is_empty() {
        let message = "the \"none\" or \"blocked\" referers are specified in the \"valid_referers\" directive without any valid referer";
        return Err(scope.error(*first, message));
    }
    b.attach(referers);
    Ok(())
}

/// The regular expressions of the nearest level that has any: a level that names hosts alone keeps
/// those of the level above.
fn inherited_patterns(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<Vec<Pattern>, Diagnostic> {
    let mut level = Some(scope.clone());
    while let Some(scope) = level {
        let mut patterns = Vec::new();
        for line in scope.here("valid_referers") {
            for word in &line.args {
                match word.text.strip_prefix('~') {
                    None => {}
                    Some("") => return Err(scope.error_at(line, word, "empty regex in \"~\"")),
                    Some(source) => patterns.push(pattern(source, word, b)?),
                }
            }
        }
        if !patterns.is_empty() {
            return Ok(patterns);
        }
        level = scope.parent();
    }
    Ok(Vec::new())
}

fn pattern(source: &str, word: &Word, b: &Builder<'_>) -> Result<Pattern, Diagnostic> {
    Pattern::new(source, true).map_err(|e| b.error(word, format!("pcre2_compile() failed: {e}")))
}

impl Referers {
    fn host(
        &mut self,
        scope: &Scope<'_>,
        line: &Directive,
        host: &str,
        path: Option<Box<[u8]>>,
    ) -> Result<(), Diagnostic> {
        let id = self.paths.len() as ValueId;
        self.hosts.insert(host, true, id).map_err(|unfit| {
            let message = match unfit {
                Unfit::Invalid => format!("invalid hostname or wildcard \"{host}\""),
                Unfit::Taken => format!("conflicting parameter \"{host}\""),
            };
            scope.error(line, message)
        })?;
        self.paths.push(path);
        Ok(())
    }

    /// Adds the names of the server that the location is in.
    fn server_names(
        &mut self,
        scope: &Scope<'_>,
        line: &Directive,
        b: &mut Builder<'_>,
    ) -> Result<(), Diagnostic> {
        let server = std::iter::successors(Some(scope.clone()), Scope::parent)
            .find(|level| level.context() == Context::SERVER);
        let names: Vec<&Word> =
            server.iter().flat_map(|server| server.here("server_name")).flat_map(|d| &d.args).collect();
        if names.is_empty() {
            return self.host(scope, line, "", None);
        }
        for word in names {
            match word.text.strip_prefix('~') {
                // The host is in lower case here.
                Some(source) => self.host_patterns.push(pattern(source, word, b)?),
                None if word.text == "$hostname" => {
                    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
                    self.host(scope, line, &host, None)?;
                }
                None => self.host(scope, line, &word.text, None)?,
            }
        }
        Ok(())
    }

    fn allow(&self, x: &Exchange) -> bool {
        let Some(field) = x.head.fields.find(Known::Referer) else { return self.none };
        let value = field.value.of(x.input.filled());
        let Some(rest) = behind_scheme(value) else { return self.blocked };
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b':')).unwrap_or(rest.len());
        let Some(host) = rest.get(..end).filter(|host| host.len() <= HOST_MAX) else { return false };
        let host = host.to_ascii_lowercase();
        if let Some(id) = self.hosts.find(&host) {
            let slash = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
            let path = rest.get(slash..).unwrap_or_default();
            return match self.paths.get(id as usize) {
                Some(Some(wanted)) => path.starts_with(wanted),
                _ => true,
            };
        }
        matches_any(x, &self.host_patterns, &host) || matches_any(x, &self.patterns, rest)
    }
}

/// What stands behind `http://` or `https://`; `None` for anything else.
fn behind_scheme(referer: &[u8]) -> Option<&[u8]> {
    if referer.len() < SHORTEST {
        return None;
    }
    [&b"http://"[..], b"https://"].into_iter().find_map(|scheme| {
        let (front, rest) = referer.split_at_checked(scheme.len())?;
        front.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

fn matches_any(x: &Exchange, patterns: &[Pattern], subject: &[u8]) -> bool {
    let mut groups = Groups::default();
    patterns.iter().any(|pattern| {
        pattern.matches(subject, &mut groups).unwrap_or_else(|e| {
            let shown = String::from_utf8_lossy(subject);
            x.log(Level::Alert, format_args!("pcre2_match() failed: {e} on \"{shown}\""));
            false
        })
    })
}

fn invalid_referer(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    if x.here.settings.attached::<Referers>().is_some_and(|referers| !referers.allow(x)) {
        out.push(b'1');
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::testing::{Bench, message};

    #[test]
    fn errors_are_nginxs() {
        let alone = "the \"none\" or \"blocked\" referers are specified in the \"valid_referers\" directive without any valid referer";
        for (text, want) in [
            ("valid_referers none;", alone),
            ("valid_referers blocked ~a;", alone),
            ("valid_referers \"\";", "invalid referer \"\""),
            ("valid_referers ~;", "empty regex in \"~\""),
            ("valid_referers a.b A.b/x;", "conflicting parameter \"A.b\""),
            ("valid_referers a..b;", "invalid hostname or wildcard \"a..b\""),
            ("valid_referers a; valid_referers b none;", "no error"),
            ("valid_referers ~a;", "no error"),
        ] {
            let text = format!("http {{ server {{ {text} }} }}");
            assert_eq!(message(Bench::new(&text, &[&FEATURE]).plan()), want, "{text}");
        }
    }
}
