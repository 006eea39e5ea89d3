//! `problem_details`: errors made here as objects that programs can read (RFC 9457). The walk makes them,
//! since they stand in for its built-in pages; here is said where.

use crate::conf::{Arity, Context, Diagnostic, DirectiveSpec as D, Scope};
use crate::pipeline::problem::Problems;
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end, nothing};

/// The feature; behind all that use it by default.
pub const FEATURE: Feature = Feature {
    name: "problem_details",
    module: None,
    directives: &[D::new(
        "problem_details",
        Context::HTTP.or(Context::SERVER).or(Context::LOCATION),
        Arity::Exactly(1),
        "auto | on | off",
        "auto in a location with a directive of the gateway, else off",
        "Whether an error that is made here is application/problem+json (RFC 9457) instead of the built-in page: on, always; auto, where the client's Accept does not prefer text/html. An error_page for the status counts before either.",
    )],
    variables: &[],
    http: nothing,
    location,
    end: no_end,
};

const MODES: &[(&str, Problems)] = &[("auto", Problems::Auto), ("on", Problems::On), ("off", Problems::Off)];

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let default = if b.settings().is_gateway { Problems::Auto } else { Problems::Off };
    b.settings().problems = scope.one_of("problem_details", MODES, default)?;
    Ok(())
}
