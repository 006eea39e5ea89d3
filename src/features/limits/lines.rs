//! What the lines of `limit_req` and of `limit_conn` have in common: which of them hold in a location,
//! when each is asked, and the buffer that a key is written into.

use super::zone::Counted;
use crate::conf::{Diagnostic, Directive, Scope};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::limits::When;
use crate::pipeline::step::{Flow, Phase, QuickStep};
use crate::plan::builder::Builder;

/// What one line says.
pub(super) trait Limit: Sized {
    /// The directive's name.
    const DIRECTIVE: &'static str;

    /// Reads a line. Errors are nginx's.
    fn read(scope: &Scope<'_>, line: &Directive, b: &mut Builder<'_>) -> Result<Self, Diagnostic>;

    /// What it counts in.
    fn zone(&self) -> &Counted;
}

/// The limits that hold in this scope, in the order of their lines. A zone may be named once.
pub(super) fn all<L: Limit>(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<Vec<L>, Diagnostic> {
    let mut limits: Vec<L> = Vec::new();
    for line in scope.all(L::DIRECTIVE) {
        let limit = L::read(scope, line, b)?;
        if limits.iter().any(|known| known.zone().name == limit.zone().name) {
            return Err(scope.error(line, format!("\"{}\" directive is duplicate", L::DIRECTIVE)));
        }
        limits.push(limit);
    }
    Ok(limits)
}

/// Adds a step for the limits whose key, and rate, is known early, and one for those of which only the
/// checks of access make them known.
pub(super) fn add_steps<L: Limit, S: QuickStep + 'static>(
    limits: Vec<L>,
    b: &mut Builder<'_>,
    step: impl Fn(Vec<L>, When) -> S,
) {
    let (late, early): (Vec<L>, Vec<L>) = limits.into_iter().partition(|limit| limit.zone().is_late(b));
    for (limits, when, phase) in [(early, When::Early, Phase::PreAccess), (late, When::Late, Phase::Admit)] {
        if !limits.is_empty() {
            b.quick(phase, step(limits, when));
        }
    }
}

/// Lends the exchange's scratch buffer to what writes keys.
pub(super) fn with_key(x: &mut Exchange, ask: impl FnOnce(&mut Exchange, &mut Vec<u8>) -> Flow) -> Flow {
    let mut key = std::mem::take(&mut x.scratch);
    let flow = ask(x, &mut key);
    key.clear();
    x.scratch = key;
    flow
}
