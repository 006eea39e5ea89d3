//! Variables. Names are resolved when the configuration is compiled; at run time a variable is a
//! function, or a place in the exchange.

use super::exchange::Exchange;
use crate::http::Span;

/// Appends a variable's value; false when it has none (nginx's "not found": `-` in a log). The
/// second argument is what follows the prefix of a prefixed variable (`http_`), else empty.
pub type Eval = fn(&Exchange, &str, &mut Vec<u8>) -> bool;

/// One variable a feature offers, or a family of them.
pub struct VariableSpec {
    /// The name without `$`; for a family, the prefix (`http_`).
    pub name: &'static str,
    /// Whether it is a family: everything that begins with the name.
    pub family: bool,
    /// How it is computed.
    pub eval: Eval,
    /// One sentence for the reference.
    pub doc: &'static str,
}

/// A resolved variable.
#[derive(Clone)]
pub enum Variable {
    /// Computed by a feature.
    Computed {
        /// By this function
        eval: Eval,
        /// with this argument.
        argument: Box<str>,
    },
    /// A value that a step or a match put into the exchange.
    Place(usize),
    /// A numbered group of the last match.
    Group(usize),
}

impl Variable {
    /// Appends its value for `x`; false when it has none.
    #[inline]
    pub fn write(&self, x: &Exchange, out: &mut Vec<u8>) -> bool {
        match self {
            Variable::Computed { eval, argument } => eval(x, argument, out),
            Variable::Place(place) => match x.values.at(*place) {
                Some(value) => {
                    out.extend_from_slice(value);
                    true
                }
                None => false,
            },
            Variable::Group(i) => match x.matched.group(*i) {
                Some(value) => {
                    out.extend_from_slice(value);
                    true
                }
                None => false,
            },
        }
    }
}

/// The values of an exchange's own variables: named groups, and what `set` and its like assign.
#[derive(Default, Debug)]
pub struct Values {
    bytes: Vec<u8>,
    spans: Vec<Option<Span>>,
}

impl Values {
    /// Forgets all values.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
    }

    /// The value at `place`.
    pub fn at(&self, place: usize) -> Option<&[u8]> {
        self.spans.get(place).copied().flatten().map(|span| span.of(&self.bytes))
    }

    /// Assigns `value` to `place`.
    pub fn set(&mut self, place: usize, value: &[u8]) {
        if self.spans.len() <= place {
            self.spans.resize(place + 1, None);
        }
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(value);
        self.spans[place] = Some(Span { start, end: self.bytes.len() as u32 });
    }
}

/// The last match of a regular expression: its subject and where the groups lie.
#[derive(Default, Debug)]
pub struct Matched {
    /// The subject, copied: the path may change while the groups are used.
    pub subject: Vec<u8>,
    /// The groups.
    pub groups: super::pattern::Groups,
}

impl Matched {
    /// The text of group `i`.
    pub fn group(&self, i: usize) -> Option<&[u8]> {
        self.groups.at(i).map(|span| span.of(&self.subject))
    }

    /// Forgets the match.
    pub fn clear(&mut self) {
        self.subject.clear();
        self.groups.clear();
    }
}
