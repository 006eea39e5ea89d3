//! The list of directives that `octroi -h directives` prints.

use std::fmt::Write;

use super::check::syntax;
use super::spec::{DirectiveSpec, Effect, Registry};

impl Registry {
    /// Every directive that works, by name: syntax, default, contexts, the first sentence of its doc.
    pub fn reference(&self) -> String {
        let mut specs = self.specs.clone();
        specs.sort_by_key(|spec| (spec.name, spec.contexts.to_string()));
        let mut out = String::new();
        for spec in specs {
            entry(&mut out, spec);
        }
        out
    }
}

fn entry(out: &mut String, spec: &DirectiveSpec) {
    let default = if spec.default.is_empty() { "none" } else { spec.default };
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "{}\n    syntax:  {}\n    default: {default}\n    context: {}\n    {}",
        spec.name,
        syntax(spec),
        spec.contexts,
        first_sentence(spec.doc)
    );
    if let Effect::Accepted(why) = spec.effect {
        let _ = writeln!(out, "    Accepted without effect: {why}");
    }
    out.push('\n');
}

/// Up to the first full stop that ends a sentence: `e.g.` inside of one has no capital after it.
fn first_sentence(doc: &str) -> &str {
    let end = doc.match_indices(". ").find(|(at, _)| {
        let next = doc[at + 2..].chars().find(|char| !char.is_whitespace());
        next.is_none_or(|char| !char.is_lowercase())
    });
    end.map_or(doc, |(at, _)| &doc[..=at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing;

    #[test]
    fn one_entry_per_spec() {
        let text = testing::registry().reference();
        assert!(text.contains(
            "\nlisten\n    syntax:  listen address[:port] [default_server];\n    default: *:80\n    context: server\n    Sets the address.\n"
        ), "{text}");
        assert!(text.contains("\nserver\n    syntax:  server { ... }\n"));
        assert!(text.contains("    Accepted without effect: one send per answer\n"));
        let names: Vec<&str> =
            text.lines().filter(|line| !line.starts_with(' ') && !line.is_empty()).collect();
        assert!(names.is_sorted() && names.len() == testing::registry().specs.len());
    }

    #[test]
    fn sentences() {
        assert_eq!(first_sentence("One. Two."), "One.");
        assert_eq!(first_sentence("One, e.g. this. Two."), "One, e.g. this.");
        assert_eq!(first_sentence("One."), "One.");
    }
}
