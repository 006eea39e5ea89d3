//! `map`: a variable whose value depends on that of others.

mod compile;
pub mod table;

use crate::conf::{Arity, Block, Context, DirectiveSpec as D, Inherit, Values};
use crate::plan::feature::{Feature, no_end, nothing};

/// Why the sizes of nginx's hash tables mean nothing here.
const GROWS: &str = "the tables of maps grow as they need to";

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "map",
    module: Some("http_map"),
    directives: &[
        D::new(
            "map",
            Context::HTTP,
            Arity::Exactly(2),
            "string $variable",
            "",
            "Defines a variable whose value depends on that of the string; each line is a source and a value.",
        )
        .block(Block::Entries)
        .inherit(Inherit::NeverMany),
        D::new(
            "map_hash_max_size",
            Context::HTTP,
            Arity::Exactly(1),
            "size",
            "2048",
            "The largest size of the tables of maps.",
        )
        .values(Values::Number).accepted(GROWS),
        D::new(
            "map_hash_bucket_size",
            Context::HTTP,
            Arity::Exactly(1),
            "size",
            "32|64|128",
            "The size of a bucket in the tables of maps.",
        )
        .values(Values::Number).accepted(GROWS),
    ],
    variables: &[],
    http: compile::http,
    location: nothing,
    end: no_end,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::testing::{Bench, message};
    use crate::features::variables;

    #[test]
    fn errors_are_nginxs() {
        for (text, want) in [
            ("map a b {}", "invalid variable name \"b\""),
            ("map a $ {}", "invalid variable name \"$\""),
            ("map $uri $X { a; }", "invalid number of the map parameters"),
            ("map $uri $x { a b c; }", "invalid number of the map parameters"),
            ("map $uri $x { default a; default b; }", "duplicate default map parameter"),
            ("map $uri $x { a b; A c; }", "conflicting parameter \"A\""),
            ("map $uri $x { a b; \\a c; }", "conflicting parameter \"a\""),
            ("map $uri $x { hostnames; *a b; }", "invalid hostname or wildcard \"*a\""),
            ("map $uri $x { a b; hostnames; .a c; }", "conflicting parameter \".a\""),
            ("map $nowhere $x { a b; }", "unknown \"nowhere\" variable"),
            ("map $uri $x { a $nowhere; }", "unknown \"nowhere\" variable"),
            ("map $uri $x { *a b; hostnames; }", "no error"),
            ("map $uri $x { a $y; } map $x $y { b $x; }", "no error"),
            ("map $uri $x { \\default a; default b; }", "no error"),
        ] {
            let text = format!("http {{ {text} server {{ }} }}");
            assert_eq!(message(Bench::new(&text, &[&variables::FEATURE, &FEATURE]).plan()), want, "{text}");
        }
    }
}
