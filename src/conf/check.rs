//! A tree against the specs: names, contexts, braces, argument counts, duplicates, flags. What the
//! arguments mean is left to the features.

use std::collections::{HashMap, HashSet};

use super::diagnostic::Diagnostic;
use super::parser::width;
use super::source::Sources;
use super::spec::{Arity, Block, Context, DirectiveSpec, Effect, Inherit, Refused, Registry};
use super::suggest::nearest;
use super::tree::{Directive, Tree};
use super::value;
use super::values::Values;
use crate::base::process_settings::Level;

/// Where the list of directives is, for the hint of a refused one.
const REFERENCE_HINT: &str = "\"octroi -h directives\" lists what is supported";

impl Registry {
    /// Checks a whole tree, in the order in which it was read. Gives a notice for each directive
    /// that is read and changes nothing, one per name.
    ///
    /// # Errors
    /// The first directive that is unknown, misplaced, repeated or wrongly built.
    pub fn check(&self, tree: &Tree) -> Result<Vec<Diagnostic>, Diagnostic> {
        let mut check = Check::new(self, tree);
        check.body(&tree.directives, Context::MAIN).map_err(|error| *error)?;
        Ok(check.notices)
    }

    /// The specs by name.
    pub(super) fn index(&self) -> HashMap<&'static str, Vec<&'static DirectiveSpec>> {
        let mut index: HashMap<&'static str, Vec<&'static DirectiveSpec>> = HashMap::new();
        for spec in &self.specs {
            index.entry(spec.name).or_default().push(spec);
        }
        index
    }
}

pub(super) struct Check<'t> {
    specs: HashMap<&'static str, Vec<&'static DirectiveSpec>>,
    refused: &'static [Refused],
    sources: &'t Sources,
    notices: Vec<Diagnostic>,
    noticed: HashSet<&'static str>,
}

/// Boxed: it is rare, and the check is recursive.
pub(super) type Failure = Box<Diagnostic>;

impl<'t> Check<'t> {
    pub(super) fn new(registry: &Registry, tree: &'t Tree) -> Check<'t> {
        Check {
            specs: registry.index(),
            refused: registry.refused,
            sources: &tree.sources,
            notices: Vec::new(),
            noticed: HashSet::new(),
        }
    }

    fn body(&mut self, body: &'t [Directive], context: Context) -> Result<(), Failure> {
        let mut seen = HashSet::new();
        for directive in body {
            let spec = self.spec(directive, context)?;
            self.shape(directive, spec)?;
            let once = matches!(spec.inherit, Inherit::Override | Inherit::Never | Inherit::Answers);
            if once && !seen.insert(spec.name) {
                return Err(self.error(directive, format!("\"{}\" directive is duplicate", spec.name)));
            }
            self.values(directive, spec)?;
            self.notice(directive, spec);
            match spec.block {
                Block::No => {}
                Block::Directives(inner) => self.body(directive.body(), inner)?,
                Block::Entries => self.entries(directive.body())?,
            }
        }
        Ok(())
    }

    /// The spec that describes a directive here.
    pub(super) fn spec(
        &self,
        directive: &Directive,
        context: Context,
    ) -> Result<&'static DirectiveSpec, Failure> {
        let name = directive.name.text.as_str();
        let Some(specs) = self.specs.get(name) else { return Err(self.unknown(directive, context)) };
        if let Some(&spec) = specs.iter().find(|spec| spec.contexts.meets(context)) {
            return Ok(spec);
        }
        let allowed = specs.iter().fold(Context::NONE, |all, spec| all | spec.contexts);
        let error = self.error(directive, format!("\"{name}\" directive is not allowed here"));
        Err(hinted(error, format!("it is allowed in: {allowed}")))
    }

    /// A name without a spec: one that NGINX knows is refused by name.
    fn unknown(&self, directive: &Directive, context: Context) -> Failure {
        let name = directive.name.text.as_str();
        if let Ok(found) = self.refused.binary_search_by(|refused| refused.name.cmp(name)) {
            let Refused { module, reason, .. } = self.refused[found];
            let message = format!("directive \"{name}\" is not supported by Octroi ({module}: {reason})");
            return hinted(self.error(directive, message), REFERENCE_HINT.to_owned());
        }
        let error = self.error(directive, format!("unknown directive \"{name}\""));
        let mut here: Vec<&str> = self
            .specs
            .iter()
            .filter(|(_, specs)| specs.iter().any(|spec| spec.contexts.meets(context)))
            .map(|(name, _)| *name)
            .chain(["include"])
            .collect();
        here.sort_unstable();
        if let Some(meant) = nearest(name, here.into_iter()) {
            return hinted(error, format!("did you mean \"{meant}\"?"));
        }
        let mut elsewhere: Vec<&str> = self.specs.keys().copied().collect();
        elsewhere.sort_unstable();
        match nearest(name, elsewhere.into_iter()) {
            Some(meant) => hinted(error, format!("did you mean \"{meant}\", which is not allowed here?")),
            None => error,
        }
    }

    /// Braces and the number of arguments.
    pub(super) fn shape(&self, directive: &Directive, spec: &DirectiveSpec) -> Result<(), Failure> {
        let name = spec.name;
        let message = match (spec.block, &directive.block) {
            (Block::No, Some(_)) => format!("directive \"{name}\" is not terminated by \";\""),
            (Block::Directives(_) | Block::Entries, None) => {
                format!("directive \"{name}\" has no opening \"{{\"")
            }
            _ if !spec.arity.allows(directive.args.len()) => {
                format!("invalid number of arguments in \"{name}\" directive")
            }
            _ => return Ok(()),
        };
        Err(hinted(self.error(directive, message), format!("syntax: {}", syntax(spec))))
    }

    /// What the arguments must be, as far as the spec says it.
    pub(super) fn values(&self, directive: &Directive, spec: &DirectiveSpec) -> Result<(), Failure> {
        let Some(word) = directive.args.first() else { return Ok(()) };
        let message = if spec.arity == Arity::Flag && value::flag(&word.text).is_none() {
            value::not_a_flag(spec.name, &word.text)
        } else if spec.values == Values::Any {
            return Ok(());
        } else {
            let args: Vec<&str> = directive.args.iter().map(|word| word.text.as_str()).collect();
            let Some(message) = spec.values.fault(spec.name, &args) else { return Ok(()) };
            message
        };
        let (place, mark) = (directive.place, word.place);
        Err(Box::new(Diagnostic::at(self.sources, Level::Emerg, message, place, mark, width(word))))
    }

    fn notice(&mut self, directive: &Directive, spec: &'static DirectiveSpec) {
        let Effect::Accepted(why) = spec.effect else { return };
        if self.noticed.insert(spec.name) {
            let message = format!("directive \"{}\" has no effect: {why}", spec.name);
            let mut notice = self.error(directive, message);
            notice.level = Level::Notice;
            self.notices.push(*notice);
        }
    }

    /// Data holds no blocks.
    pub(super) fn entries(&self, body: &[Directive]) -> Result<(), Failure> {
        match body.iter().find(|entry| entry.block.is_some()) {
            Some(entry) => {
                let brace = entry.place;
                let message = "unexpected \"{\"";
                Err(Box::new(Diagnostic::at(self.sources, Level::Emerg, message, brace, brace, 1)))
            }
            None => Ok(()),
        }
    }

    pub(super) fn error(&self, directive: &Directive, message: String) -> Failure {
        let name = &directive.name;
        let place = directive.place;
        Box::new(Diagnostic::at(self.sources, Level::Emerg, message, place, name.place, width(name)))
    }
}

/// `name arguments;` or `name arguments { ... }`
pub(super) fn syntax(spec: &DirectiveSpec) -> String {
    let space = if spec.syntax.is_empty() { "" } else { " " };
    let end = if spec.block == Block::No { ";" } else { " { ... }" };
    format!("{}{space}{}{end}", spec.name, spec.syntax)
}

fn hinted(mut error: Failure, hint: String) -> Failure {
    error.hint = Some(hint);
    error
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::conf::testing::{self, first_line, registry, tree};

    /// Wrong configurations with nginx's line for each. Those marked `*` nginx words otherwise or
    /// does not have; all others are exactly what `nginx -t` prints.
    #[test]
    fn wrong_configurations() {
        for case in testing::cases() {
            assert_eq!(first_line(&case.text), case.expected, "{}", case.text);
        }
        assert!(testing::cases().len() >= 80, "{}", testing::cases().len());
    }

    /// The oracle of the table above: `cargo test -- --ignored nginx_says_the_same`.
    #[test]
    #[ignore = "needs nginx in the PATH"]
    fn nginx_says_the_same() {
        let root = std::env::temp_dir().join(format!("octroi-oracle-{}", std::process::id()));
        testing::write_files(&root);
        let mut differences = Vec::new();
        for case in testing::cases().iter().filter(|case| case.as_nginx) {
            let said = testing::nginx_line(&root, &case.text);
            if said != case.expected {
                let text: String = case.text.chars().take(200).collect();
                differences.push(format!("{text:?}\n  nginx: {said}\n  here:  {}", case.expected));
            }
        }
        std::fs::remove_dir_all(&root).unwrap();
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    }

    #[test]
    fn hints() {
        let hint = |text: &str| {
            let error = testing::load(text).unwrap_err();
            error.hint.unwrap_or_default()
        };
        assert_eq!(hint("http { servre { } }"), "did you mean \"server\"?");
        assert_eq!(hint("htpp { }"), "did you mean \"http\"?");
        assert_eq!(hint("servre { }"), "did you mean \"server\", which is not allowed here?");
        assert_eq!(hint("http { inclde x; }"), "did you mean \"include\"?");
        assert_eq!(hint("listen 80;"), "it is allowed in: server");
        assert_eq!(hint("http { sendfile; }"), "syntax: sendfile on | off;");
        assert_eq!(hint("http { server"), "this directive has no \";\" or \"{\" at its end");
        assert_eq!(hint("http { server {"), "\"server\" is opened here and never closed");
        assert_eq!(hint("http { default_type \"a"), "this \" is never closed");
        assert_eq!(hint("http { gzip on; }"), "\"octroi -h directives\" lists what is supported");
    }

    #[test]
    fn a_refused_name_with_a_spec_is_only_misplaced() {
        assert_eq!(
            first_line("root /x;"),
            "[emerg] \"root\" directive is not allowed here in /conf/nginx.conf:1"
        );
    }

    #[test]
    fn notices_come_once_per_name() {
        let notices = registry().check(&tree("http { tcp_nopush on; server { tcp_nopush off; } }")).unwrap();
        let lines: Vec<String> = notices.iter().map(|notice| notice.first_line()).collect();
        assert_eq!(
            lines,
            ["[notice] directive \"tcp_nopush\" has no effect: one send per answer in /conf/nginx.conf:1"]
        );
    }

    #[test]
    fn right_configurations() {
        for text in testing::RIGHT {
            let result = testing::load(text);
            assert!(result.is_ok(), "{text}: {}", result.unwrap_err());
        }
    }

    #[test]
    fn what_was_read_before_a_syntax_error_is_checked_first() {
        let text = "http { server { location / { content_by_lua_block { ngx.say({1}) } } } }";
        assert_eq!(
            first_line(text),
            "[emerg] directive \"content_by_lua_block\" is not supported by Octroi (lua-nginx-module: no scripting) in /conf/nginx.conf:1"
        );
    }
}
