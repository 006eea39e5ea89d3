//! `route`: API paths as templates. The plan compiles the blocks as it does locations
//! (`plan::routes`); here they are declared, with what may be said of them.

use crate::conf::{Arity, Block, Context, Diagnostic, DirectiveSpec as D, Inherit, Scope};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::variable::VariableSpec;
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end, nothing};

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "route",
    module: None,
    directives: &[
        D::new(
            "route",
            Context::SERVER,
            Arity::Exactly(2),
            "METHOD[,METHOD...]|* /path/{parameter}/{*rest}",
            "",
            "A location for the paths that a template matches, and for these methods; GET implies HEAD. A parameter is a segment, `{*rest}` all that is left, at least one byte; $route_parameter holds it. Behind `location =`, before all other locations; the most specific template counts.",
        )
        .block(Block::Directives(Context::LOCATION))
        .inherit(Inherit::NeverMany),
        D::new(
            "route_encoded",
            Context::HTTP.or(Context::SERVER).or(Context::LOCATION),
            Arity::Exactly(1),
            "refuse | allow",
            "refuse",
            "Whether a request to a route whose raw path holds %2F, %5C, %00 or an encoded dot segment is answered with 400: another server could take it for another path than the one that the route matched.",
        ),
    ],
    variables: &[VariableSpec {
        name: "route",
        family: false,
        eval: route,
        doc: "The template of the route that the request is in.",
    }],
    http: nothing,
    location,
    end: no_end,
};

/// That a level is a route's, or within one.
struct InRoute;

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let block = scope.location().and_then(|location| location.directive());
    if block.is_some_and(|block| block.name.text == "route") {
        b.attach(InRoute);
        b.gateway();
    }
    Ok(())
}

fn route(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    let settings = &x.here.settings;
    let is_route = settings.attached::<InRoute>().is_some();
    if is_route {
        out.extend_from_slice(settings.name.as_bytes());
    }
    is_route
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::testing::{Bench, message};

    fn said(server: &str) -> String {
        message(Bench::new(&format!("http {{ server {{ {server} }} }}"), &[&FEATURE]).plan())
    }

    #[test]
    fn what_is_refused() {
        for (server, want) in [
            ("route GET /a/{x} { } route POST /a/{y} { } location / { }", "no error"),
            ("route get /a { }", "invalid method \"get\""),
            ("route GET,TRACE /a { }", "invalid method \"TRACE\""),
            ("route GET a { }", "invalid route template \"a\": it does not begin with \"/\""),
            ("route GET / { location /a { } }", "a location cannot be inside the route \"/\""),
            (
                "route GET,PUT /a/{x} { }\nroute POST,PUT /a/{y} { }",
                "route \"POST,PUT /a/{y}\" cannot be told apart from \"GET,PUT /a/{x}\" in /conf/nginx.conf:1",
            ),
            ("route GET / { route_encoded on; }", "invalid value \"on\""),
        ] {
            assert_eq!(said(server), want, "{server}");
        }
    }
}
