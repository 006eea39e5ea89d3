//! How a directive is declared: once, as data. The check, the inheritance, the reference and the
//! suggestions all come from here.

use super::values::Values;
use std::fmt;
use std::ops::BitOr;

/// A set of the blocks a directive may stand in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Context(u32);

/// Each context with the words nginx's documentation has for it, in the order of the reference.
const CONTEXT_NAMES: &[(Context, &str)] = &[
    (Context::MAIN, "main"),
    (Context::EVENTS, "events"),
    (Context::HTTP, "http"),
    (Context::UPSTREAM, "upstream"),
    (Context::CONSUMER, "consumer"),
    (Context::PLAN, "plan"),
    (Context::SERVER, "server"),
    (Context::IF_IN_SERVER, "if in server"),
    (Context::LOCATION, "location"),
    (Context::IF_IN_LOCATION, "if in location"),
    (Context::LIMIT_EXCEPT, "limit_except"),
];

impl Context {
    /// No block at all.
    pub const NONE: Context = Context(0);
    /// The file itself, outside of every block.
    pub const MAIN: Context = Context(1);
    /// `events {}`
    pub const EVENTS: Context = Context(1 << 1);
    /// `http {}`
    pub const HTTP: Context = Context(1 << 2);
    /// `server {}`
    pub const SERVER: Context = Context(1 << 3);
    /// `location {}`
    pub const LOCATION: Context = Context(1 << 4);
    /// `if {}` in a server
    pub const IF_IN_SERVER: Context = Context(1 << 5);
    /// `if {}` in a location
    pub const IF_IN_LOCATION: Context = Context(1 << 6);
    /// `limit_except {}`
    pub const LIMIT_EXCEPT: Context = Context(1 << 7);
    /// `upstream {}`
    pub const UPSTREAM: Context = Context(1 << 8);
    /// `consumer {}`
    pub const CONSUMER: Context = Context(1 << 9);
    /// `plan {}`
    pub const PLAN: Context = Context(1 << 10);

    /// Both sets together.
    #[must_use]
    pub const fn or(self, other: Context) -> Context {
        Context(self.0 | other.0)
    }

    /// Whether the sets have a context in common.
    pub const fn meets(self, other: Context) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Context {
    type Output = Context;

    fn bitor(self, other: Context) -> Context {
        self.or(other)
    }
}

impl fmt::Display for Context {
    /// `http, server, if in location`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (_, name) in CONTEXT_NAMES.iter().filter(|(context, _)| context.meets(*self)) {
            write!(f, "{separator}{name}")?;
            separator = ", ";
        }
        Ok(())
    }
}

/// One directive in one family of contexts. A name may have several, with disjoint contexts:
/// `server` in `http` is not `server` in `upstream`.
#[derive(Clone, Copy, Debug)]
pub struct DirectiveSpec {
    /// The name.
    pub name: &'static str,
    /// Where it may stand.
    pub contexts: Context,
    /// How many arguments it takes.
    pub arity: Arity,
    /// Whether it opens a block, and of what.
    pub block: Block,
    /// What a block gets from the blocks round it, and whether a level may repeat it.
    pub inherit: Inherit,
    /// The default as nginx's documentation words it; empty for none.
    pub default: &'static str,
    /// The syntax as nginx's documentation words it.
    pub syntax: &'static str,
    /// What it does. The first sentence goes into the reference.
    pub doc: &'static str,
    /// Whether it does anything.
    pub effect: Effect,
    /// What its arguments must be, where nobody acts on them who would say what is wrong.
    pub values: Values,
}

/// How many arguments a directive takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// This many.
    Exactly(usize),
    /// From the first to the second, both included.
    Between(usize, usize),
    /// This many or more.
    AtLeast(usize),
    /// One, `on` or `off`.
    Flag,
    /// One of these numbers.
    OneOf(&'static [usize]),
}

impl DirectiveSpec {
    /// A directive without a block that the nearest level decides; what differs is said with the
    /// methods below.
    pub const fn new(
        name: &'static str,
        contexts: Context,
        arity: Arity,
        syntax: &'static str,
        default: &'static str,
        doc: &'static str,
    ) -> DirectiveSpec {
        let (block, inherit, effect) = (Block::No, Inherit::Override, Effect::Works);
        let values = Values::Any;
        DirectiveSpec { name, contexts, arity, block, inherit, default, syntax, doc, effect, values }
    }

    /// The same with a block.
    #[must_use]
    pub const fn block(mut self, block: Block) -> DirectiveSpec {
        self.block = block;
        self
    }

    /// The same with another inheritance.
    #[must_use]
    pub const fn inherit(mut self, inherit: Inherit) -> DirectiveSpec {
        self.inherit = inherit;
        self
    }

    /// The same, accepted without effect for this reason.
    #[must_use]
    pub const fn accepted(mut self, reason: &'static str) -> DirectiveSpec {
        self.effect = Effect::Accepted(reason);
        self
    }

    /// The same with arguments that are looked at when the file is read.
    #[must_use]
    pub const fn values(mut self, values: Values) -> DirectiveSpec {
        self.values = values;
        self
    }
}

impl Arity {
    /// Whether this many arguments are right.
    pub fn allows(self, count: usize) -> bool {
        match self {
            Arity::Exactly(exact) => count == exact,
            Arity::Between(least, most) => (least..=most).contains(&count),
            Arity::AtLeast(least) => count >= least,
            Arity::Flag => count == 1,
            Arity::OneOf(counts) => counts.contains(&count),
        }
    }
}

/// What a directive's braces hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// It has none, and ends with `;`.
    No,
    /// Directives, in this context.
    Directives(Context),
    /// Data, as in `map` or `types`: lines of words, which no spec describes.
    Entries,
}

/// What a block gets from the blocks round it, and whether one level may have the directive twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inherit {
    /// The nearest level wins. Twice on one level: `"x" directive is duplicate`.
    Override,
    /// Many on a level. The nearest level that has any wins whole.
    Together,
    /// Many on a level. Those of all levels count, the outermost first.
    Merge,
    /// Its own level only. Twice: `"x" directive is duplicate`.
    Never,
    /// Its own level only, as often as wanted.
    NeverMany,
    /// It says what answers requests: its own level only, and the `if` and `limit_except` blocks in
    /// that which have no such directive themselves. Twice: `"x" directive is duplicate`.
    Answers,
}

/// Whether a directive does anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It does what its documentation says.
    Works,
    /// It is read and changes nothing that a client gets; why, in one line, for the notice at `-t`.
    Accepted(&'static str),
}

/// A directive that NGINX or a well-known module has and Octroi has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The name.
    pub name: &'static str,
    /// The module that has it.
    pub module: &'static str,
    /// Why it is refused.
    pub reason: &'static str,
}

/// Every directive that is known.
#[derive(Clone, Debug)]
pub struct Registry {
    /// Those that work.
    pub specs: Vec<&'static DirectiveSpec>,
    /// Those that are refused by name, sorted by name. One that has a spec too counts as known.
    pub refused: &'static [Refused],
}

impl Registry {
    /// The spec of a name in a context.
    pub fn spec(&self, name: &str, context: Context) -> Option<&'static DirectiveSpec> {
        self.specs.iter().copied().find(|spec| spec.name == name && spec.contexts.meets(context))
    }

    /// What is wrong with the declarations themselves; a test of the house asserts that it is empty.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (index, spec) in self.specs.iter().enumerate() {
            let name = spec.name;
            if spec.contexts == Context::NONE {
                faults.push(format!("\"{name}\" is allowed nowhere"));
            }
            if name == "include" {
                faults.push("\"include\" belongs to the language".to_owned());
            }
            if spec.doc.is_empty() || !spec.doc.ends_with('.') {
                faults.push(format!("the doc of \"{name}\" is not a sentence"));
            }
            if spec.syntax.is_empty() && !spec.arity.allows(0) {
                faults.push(format!("\"{name}\" takes arguments and has no syntax"));
            }
            let mut later = self.specs[index + 1..].iter();
            if later.any(|other| other.name == name && other.contexts.meets(spec.contexts)) {
                faults.push(format!("\"{name}\" has two specs in one context"));
            }
        }
        for pair in self.refused.windows(2) {
            if pair[0].name >= pair[1].name {
                faults.push(format!("refused \"{}\" is out of order", pair[1].name));
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing;

    #[test]
    fn contexts_are_sets() {
        const BOTH: Context = Context::HTTP.or(Context::SERVER);
        assert!(BOTH.meets(Context::SERVER) && !BOTH.meets(Context::LOCATION));
        assert!(!Context::NONE.meets(BOTH));
        assert_eq!((BOTH | Context::IF_IN_LOCATION).to_string(), "http, server, if in location");
    }

    #[test]
    fn arities() {
        assert!(Arity::Between(1, 2).allows(2) && !Arity::Between(1, 2).allows(3));
        assert!(Arity::AtLeast(2).allows(9) && !Arity::AtLeast(2).allows(1));
        assert!(Arity::Flag.allows(1) && !Arity::Flag.allows(2));
        assert!(Arity::OneOf(&[1, 3]).allows(3) && !Arity::OneOf(&[1, 3]).allows(2));
    }

    #[test]
    fn declarations_are_checked() {
        assert_eq!(testing::registry().faults(), Vec::<String>::new());
        let mut broken = testing::registry();
        broken.specs.push(broken.specs[0]);
        assert_eq!(broken.faults().len(), 1);
    }
}
