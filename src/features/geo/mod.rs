//! `geo`: a variable whose value depends on the client's address.

mod compile;
mod ranges;
mod segments;

use crate::conf::{Arity, Block, Context, DirectiveSpec as D, Inherit};
use crate::plan::feature::{Feature, no_end, nothing};

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "geo",
    module: Some("http_geo"),
    directives: &[D::new(
        "geo",
        Context::HTTP,
        Arity::Between(1, 2),
        "[$address] $variable",
        "",
        "Defines a variable whose value depends on the client's address, or on the one in another variable; each line is a network, or a range, and a value.",
    )
    .block(Block::Entries)
    .inherit(Inherit::NeverMany)],
    variables: &[],
    http: compile::http,
    location: nothing,
    end: no_end,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::testing::{Bench, message};

    #[test]
    fn errors_are_nginxs() {
        for (text, want) in [
            ("geo x {}", "invalid variable name \"x\""),
            ("geo x $y {}", "invalid variable name \"x\""),
            ("geo $ {}", "invalid variable name \"$\""),
            ("geo $nowhere $x {}", "unknown \"nowhere\" variable"),
            ("geo $x { a; }", "invalid number of the geo parameters"),
            ("geo $x { 1.2.3.4 a b; }", "invalid number of the geo parameters"),
            ("geo $x { ranges; proxy a b; }", "invalid number of the geo parameters"),
            (
                "geo $x { default a; ranges; }",
                "the \"ranges\" directive must be the first directive inside \"geo\" block",
            ),
            ("geo $x { ranges; ranges; default a; proxy 127.0.0.1; }", "no error"),
            ("geo $x { 1.2.3.4/33 a; }", "invalid network \"1.2.3.4/33\""),
            ("geo $x { delete a; }", "invalid network \"a\""),
            ("geo $x { proxy localhost; }", "invalid network \"localhost\""),
            ("geo $x { ranges; 1.2.3.4 a; }", "invalid range \"1.2.3.4\""),
            ("geo $x { ranges; 1.2.3.4-1.2.3.3 a; }", "invalid range \"1.2.3.4-1.2.3.3\""),
            ("geo $x { ranges; 1.2.3.4-255.255.255.255 a; }", "invalid range \"1.2.3.4-255.255.255.255\""),
            ("geo $x { ranges; ::-::1 a; }", "invalid range \"::-::1\""),
            (
                "geo $x { ranges; 1.2.3.4-1.2.3.9 a; 1.2.3.0-1.2.3.5 b; }",
                "range \"1.2.3.0-1.2.3.5\" overlaps \"1.2.3.4-1.2.3.9\"",
            ),
            (
                "geo $x { 1.2.3.4 a; 1.2.3.4 b; delete 1.2.3.5; default a; default b; 0.0.0.0/0 c; }",
                "no error",
            ),
        ] {
            let text = format!("http {{ {text} server {{ }} }}");
            assert_eq!(message(Bench::new(&text, &[&FEATURE]).plan()), want, "{text}");
        }
    }
}
