//! Static files: a request whose path names a file is answered with it.
//!
//! The step stands in every location that nothing else answers for. With its neighbour `index` it
//! is all of nginx's static module: paths that end in `/` are left to that one.

mod serve;
#[cfg(test)]
pub(super) mod tests;

use crate::conf::{Arity, Context, Diagnostic, DirectiveSpec, Scope};
use crate::pipeline::step::Phase;
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end, nothing};

use serve::StaticFiles;

/// The feature. It is listed before `index`, and behind whatever else answers requests.
pub const FEATURE: Feature = Feature {
    name: "static_files",
    module: None,
    directives: &[DirectiveSpec::new(
        "max_ranges",
        Context::HTTP.or(Context::SERVER).or(Context::LOCATION),
        Arity::Exactly(1),
        "number",
        "",
        "How many byte ranges one request may ask for; with more it gets the whole, with 0 ranges are off.",
    )],
    variables: &[],
    http: nothing,
    location,
    end: no_end,
};

/// Whether the open location serves files: what `index` has to know.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServesFiles(pub bool);

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let max_ranges = match scope.one("max_ranges") {
        Some(_) => Some(scope.number("max_ranges", 0)?),
        None => None,
    };
    let serves = !b.has_content();
    *b.store() = ServesFiles(serves);
    if serves {
        b.waiting(Phase::Content, StaticFiles { max_ranges });
    }
    Ok(())
}
