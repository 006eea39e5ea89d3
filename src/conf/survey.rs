//! The check that goes on: every directive of a tree, whether it works, changes nothing, or is refused.

use std::collections::HashSet;

use super::check::Check;
use super::diagnostic::Diagnostic;
use super::source::Place;
use super::spec::{Block, Context, Effect, Inherit, Registry};
use super::tree::{Directive, Tree};

/// One directive and what becomes of it.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The directive's name; empty for what is about none.
    pub name: String,
    /// Where it stands; none for what is about the whole.
    pub place: Option<Place>,
    /// What becomes of it.
    pub outcome: Outcome,
}

/// What becomes of a directive.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It does what its documentation says.
    Works,
    /// It is read and changes nothing, for this reason.
    Accepted(&'static str),
    /// The configuration does not load because of it.
    Refused(Diagnostic),
}

impl Registry {
    /// What [`Registry::check`] finds, for each directive in the order of the text; what stands inside
    /// of a block that is refused is not looked at.
    pub fn survey(&self, tree: &Tree) -> Vec<Finding> {
        let mut found = Vec::new();
        body(&Check::new(self, tree), &tree.directives, Context::MAIN, &mut found);
        found
    }
}

fn body(check: &Check<'_>, directives: &[Directive], context: Context, found: &mut Vec<Finding>) {
    let mut seen = HashSet::new();
    for directive in directives {
        let judged = check.spec(directive, context).and_then(|spec| {
            check.shape(directive, spec)?;
            let once = matches!(spec.inherit, Inherit::Override | Inherit::Never);
            if once && !seen.insert(spec.name) {
                return Err(check.error(directive, format!("\"{}\" directive is duplicate", spec.name)));
            }
            check.values(directive, spec)?;
            if spec.block == Block::Entries {
                check.entries(directive.body())?;
            }
            Ok(spec)
        });
        let (outcome, inner) = match judged {
            Err(error) => (Outcome::Refused(*error), None),
            Ok(spec) => {
                let inner = match spec.block {
                    Block::Directives(inner) => Some(inner),
                    Block::No | Block::Entries => None,
                };
                match spec.effect {
                    Effect::Works => (Outcome::Works, inner),
                    Effect::Accepted(why) => (Outcome::Accepted(why), inner),
                }
            }
        };
        let name = directive.name.text.clone();
        found.push(Finding { name, place: Some(directive.name.place), outcome });
        if let Some(inner) = inner {
            body(check, directive.body(), inner, found);
        }
    }
}

impl Tree {
    /// Takes the innermost directive out that a place belongs to; its name, and where it stood.
    pub fn take_out(&mut self, place: Place) -> Option<(String, Place)> {
        take_out(&mut self.directives, place)
    }
}

fn take_out(directives: &mut Vec<Directive>, place: Place) -> Option<(String, Place)> {
    for at in 0..directives.len() {
        let directive = directives.get_mut(at)?;
        if let Some(found) = directive.block.as_mut().and_then(|block| take_out(block, place)) {
            return Some(found);
        }
        let words = || std::iter::once(&directive.name).chain(&directive.args);
        if directive.place == place || words().any(|word| word.place == place) {
            let gone = directives.remove(at);
            return Some((gone.name.text, gone.name.place));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::conf::Snapshot;
    use crate::conf::testing::registry;
    use std::path::Path;

    fn tree(text: &str) -> Tree {
        let mut files = Snapshot::default();
        files.insert("/c", text);
        crate::conf::parse(Path::new("/c"), "", Path::new("/"), &mut files).unwrap()
    }

    fn seen(text: &str) -> Vec<String> {
        let show = |finding: Finding| match finding.outcome {
            Outcome::Works => finding.name,
            Outcome::Accepted(_) => format!("{} does nothing", finding.name),
            Outcome::Refused(error) => error.message,
        };
        registry().survey(&tree(text)).into_iter().map(show).collect()
    }

    #[test]
    fn it_goes_on_after_each_finding() {
        assert_eq!(
            seen(
                "servre { listen 80; } http { tcp_nopush on; tcp_nopush off; root a b; server { sendfile x; root /x; } }"
            ),
            [
                "unknown directive \"servre\"",
                "http",
                "tcp_nopush does nothing",
                "\"tcp_nopush\" directive is duplicate",
                "invalid number of arguments in \"root\" directive",
                "server",
                "invalid value \"x\" in \"sendfile\" directive, it must be \"on\" or \"off\"",
                "root",
            ]
        );
    }

    #[test]
    fn a_directive_is_taken_out_by_any_of_its_places() {
        let mut tree = tree("http { root /a; server { root /b; } }");
        let inner = tree.directives[0].body()[1].body()[0].args[0].place;
        assert_eq!(tree.take_out(inner).map(|(name, _)| name).as_deref(), Some("root"));
        assert!(tree.take_out(inner).is_none());
        assert_eq!(tree.to_string(), "http {\n    root /a;\n    server {\n    }\n}\n");
    }
}
