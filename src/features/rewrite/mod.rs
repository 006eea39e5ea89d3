//! `rewrite`, `if`, `return`, `set` and `break`, run in the order in which they are written: a server's
//! before the location is looked for, a location's once it is found. No level inherits them.
//!
//! An `if` in a location is a level of its own: it inherits what the location has, may say otherwise,
//! and once its condition holds it stands in for the location. So does `limit_except`, which is
//! compiled here for that reason.

mod compile;
mod condition;
mod outcome;
mod replacement;
mod script;
#[cfg(test)]
mod tests;

use crate::conf::{Arity, Block, Context, DirectiveSpec as D, Inherit};
use crate::plan::feature::{Feature, no_end};

pub use compile::variable;

/// Where the directives of this family may stand.
const ALL: Context =
    Context::SERVER.or(Context::IF_IN_SERVER).or(Context::LOCATION).or(Context::IF_IN_LOCATION);

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "rewrite",
    module: Some("http_rewrite"),
    directives: &[
        D::new(
            "return",
            ALL,
            Arity::Between(1, 2),
            "code [text] | code URL | URL",
            "",
            "Answers with the code: with a text, a redirect to a URL, or the code's page; 444 closes the connection.",
        )
        .inherit(Inherit::NeverMany),
        D::new("set", ALL, Arity::Exactly(2), "$variable value", "", "Gives a variable a value.")
            .inherit(Inherit::NeverMany),
        D::new("break", ALL, Arity::Exactly(0), "", "", "Ends the directives of this family on its level.")
            .inherit(Inherit::NeverMany),
        D::new(
            "rewrite",
            ALL,
            Arity::Between(2, 3),
            "regex replacement [last | break | redirect | permanent]",
            "",
            "Replaces a path that matches, and looks for its location again (last), stays in this one (break), or sends the client there (redirect, permanent).",
        )
        .inherit(Inherit::NeverMany),
        D::new("if", Context::SERVER, Arity::AtLeast(1), "(condition)", "", "What is done where a condition holds.")
            .block(Block::Directives(Context::IF_IN_SERVER))
            .inherit(Inherit::NeverMany),
        D::new(
            "if",
            Context::LOCATION,
            Arity::AtLeast(1),
            "(condition)",
            "",
            "What is done, and what holds instead of the location, where a condition holds.",
        )
        .block(Block::Directives(Context::IF_IN_LOCATION))
        .inherit(Inherit::NeverMany),
        D::new(
            "limit_except",
            Context::LOCATION,
            Arity::AtLeast(1),
            "method ...",
            "",
            "What holds instead of the location for all methods but these; HEAD goes with GET.",
        )
        .block(Block::Directives(Context::LIMIT_EXCEPT))
        .inherit(Inherit::Never),
        D::new(
            "rewrite_log",
            ALL.or(Context::HTTP),
            Arity::Flag,
            "on | off",
            "off",
            "Whether what rewrite and if match is logged, at the level notice. Inside an if it changes nothing.",
        ),
        D::new(
            "uninitialized_variable_warn",
            ALL.or(Context::HTTP),
            Arity::Flag,
            "on | off",
            "on",
            "Whether it is logged when a variable is read that set has given no value yet.",
        ),
    ],
    variables: &[],
    http: compile::http,
    location: compile::location,
    end: no_end,
};
