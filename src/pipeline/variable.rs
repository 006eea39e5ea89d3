//! Variables. Names are resolved when the configuration is compiled; at run time a variable is a
//! function, or a place in the exchange.

use super::exchange::Exchange;
use super::pattern::{Groups, Pattern};
use crate::base::limits::{VARIABLE_DEPTH_MAX, VARIABLE_EVALUATIONS_MAX};
use crate::base::process_settings::Level;
use crate::http::Span;
use std::cell::{Cell, RefCell};

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
        /// It has no value before Access.
        late: bool,
    },
    /// A value that a step or a match put into the exchange, else what it is derived from.
    Place(usize),
    /// A numbered group of the last match.
    Group(usize),
}

/// How a variable is worked out that the configuration defines by others: a `map`, a `geo`. It is held
/// by the plan, so it may own tables of any size.
pub trait Derive: Send + Sync {
    /// Appends the value; false when there is none.
    fn write(&self, x: &Exchange, out: &mut Vec<u8>) -> bool;

    /// Whether one of the variables that it is worked out from is one that `is` looks for.
    fn depends_on(&self, is: &dyn Fn(&Variable) -> bool) -> bool;
}

/// A variable with its derivation, at the place of its name.
pub struct Derived {
    /// The name without `$`.
    pub name: Box<str>,
    /// `volatile`: worked out each time it is asked for. Else the first value is kept for the whole
    /// request, whatever becomes of what it was derived from.
    pub volatile: bool,
    /// How.
    pub by: Box<dyn Derive>,
}

impl Variable {
    /// Appends its value for `x`; false when it has none.
    #[inline]
    pub fn write(&self, x: &Exchange, out: &mut Vec<u8>) -> bool {
        match self {
            Variable::Computed { eval, argument, .. } => eval(x, argument, out),
            Variable::Place(place) => match x.values.write(*place, out) {
                Some(has) => has,
                None => derive(x, *place, out),
            },
            Variable::Group(i) => x.matched.write(*i, out),
        }
    }
}

/// Works out the variable at `place`, if it is derived, and keeps its value.
fn derive(x: &Exchange, place: usize, out: &mut Vec<u8>) -> bool {
    let Some(derived) = x.locals.derived(place) else { return x.write_unset(place, out) };
    let _deeper = match x.values.deeper() {
        Ok(deeper) => deeper,
        Err(Cycle { first }) => {
            if first {
                let name = &derived.name;
                x.log(Level::Error, format_args!("cycle while evaluating variable \"{name}\""));
            }
            return false;
        }
    };
    let start = out.len();
    let has = derived.by.write(x, out);
    if !derived.volatile {
        x.values.hold(place, has.then(|| out.get(start..).unwrap_or_default()));
    }
    has
}

/// The values of an exchange's own variables: named groups, what `set` and its like assign, and what
/// was derived. Values come up while an exchange is only looked at, hence the cells.
#[derive(Default, Debug)]
pub struct Values {
    held: RefCell<Held>,
    /// Derivations under way, one within the other.
    depth: Cell<u32>,
    /// Derivations that the outermost of them may still begin.
    left: Cell<u32>,
    refused: Cell<bool>,
}

#[derive(Default, Debug)]
struct Held {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Default, Debug)]
enum Slot {
    /// Nothing put a value here.
    #[default]
    Unset,
    /// It is known that there is none.
    Nothing,
    /// Here it lies.
    Value(Span),
}

/// Derivations lead back to themselves, or take too many steps.
struct Cycle {
    /// It was not said yet.
    first: bool,
}

/// A derivation under way.
struct Deeper<'v>(&'v Values);

impl Drop for Deeper<'_> {
    fn drop(&mut self) {
        self.0.depth.set(self.0.depth.get().saturating_sub(1));
    }
}

impl Values {
    /// Forgets all values.
    pub fn clear(&mut self) {
        let held = self.held.get_mut();
        held.bytes.clear();
        held.slots.clear();
    }

    /// A copy of the value at `place`.
    pub fn at(&self, place: usize) -> Option<Vec<u8>> {
        let mut value = Vec::new();
        (self.write(place, &mut value) == Some(true)).then_some(value)
    }

    /// Assigns `value` to `place`.
    pub fn set(&self, place: usize, value: &[u8]) {
        self.hold(place, Some(value));
    }

    /// Takes copies of all values of another.
    pub fn copy(&self, other: &Values) {
        let (mut held, other) = (self.held.borrow_mut(), other.held.borrow());
        held.bytes.clone_from(&other.bytes);
        held.slots.clone_from(&other.slots);
    }

    /// Exchanges all values with those of another: a subrequest has its parent's.
    pub fn swap(&self, other: &Values) {
        self.held.swap(&other.held);
    }

    /// Appends what is at `place`: `None` when that is not known, false when there is nothing.
    #[inline]
    fn write(&self, place: usize, out: &mut Vec<u8>) -> Option<bool> {
        let held = self.held.borrow();
        match *held.slots.get(place)? {
            Slot::Unset => None,
            Slot::Nothing => Some(false),
            Slot::Value(span) => {
                out.extend_from_slice(span.of(&held.bytes));
                Some(true)
            }
        }
    }

    fn hold(&self, place: usize, value: Option<&[u8]>) {
        let held = &mut *self.held.borrow_mut();
        if held.slots.len() <= place {
            held.slots.resize(place + 1, Slot::Unset);
        }
        let slot = match value {
            None => Slot::Nothing,
            Some(value) => {
                let start = held.bytes.len() as u32;
                held.bytes.extend_from_slice(value);
                Slot::Value(Span { start, end: held.bytes.len() as u32 })
            }
        };
        if let Some(at) = held.slots.get_mut(place) {
            *at = slot;
        }
    }

    fn deeper(&self) -> Result<Deeper<'_>, Cycle> {
        let depth = self.depth.get();
        if depth == 0 {
            self.left.set(VARIABLE_EVALUATIONS_MAX);
            self.refused.set(false);
        }
        let left = self.left.get();
        if depth >= VARIABLE_DEPTH_MAX || left == 0 {
            return Err(Cycle { first: !self.refused.replace(true) });
        }
        self.left.set(left - 1);
        self.depth.set(depth + 1);
        Ok(Deeper(self))
    }
}

/// The last match of a regular expression: its subject and where the groups lie.
#[derive(Default, Debug)]
pub struct Matched {
    last: RefCell<Match>,
}

#[derive(Default, Debug)]
struct Match {
    /// The subject, copied: the path may change while the groups are used.
    subject: Vec<u8>,
    groups: Groups,
    /// Memory for the next try: one that fails leaves the groups as they are.
    tried: Groups,
}

impl Matched {
    /// Tries a pattern; a match takes the place of the last one.
    ///
    /// # Errors
    /// PCRE's match error, above all the match limit.
    pub fn search(&self, pattern: &Pattern, subject: &[u8]) -> Result<bool, String> {
        let last = &mut *self.last.borrow_mut();
        if !pattern.matches(subject, &mut last.tried)? {
            return Ok(false);
        }
        std::mem::swap(&mut last.groups, &mut last.tried);
        last.subject.clear();
        last.subject.extend_from_slice(subject);
        Ok(true)
    }

    /// Appends the text of group `i`; false when it took no part in the match.
    pub fn write(&self, i: usize, out: &mut Vec<u8>) -> bool {
        let last = self.last.borrow();
        match last.groups.at(i) {
            Some(span) => {
                out.extend_from_slice(span.of(&last.subject));
                true
            }
            None => false,
        }
    }

    /// Where group `i` lies in the subject.
    pub fn span(&self, i: usize) -> Option<Span> {
        self.last.borrow().groups.at(i)
    }

    /// Forgets the match.
    pub fn clear(&mut self) {
        let last = self.last.get_mut();
        last.subject.clear();
        last.groups.clear();
    }
}
