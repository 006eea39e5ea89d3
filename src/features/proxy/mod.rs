//! `proxy_pass` and its family: the request goes to an upstream, its answer comes back.

mod accel;
mod answer;
mod attempt;
mod bind;
mod canary;
mod compile;
mod connect;
mod cookies;
mod directives;
mod hints;
mod outcome;
mod preview;
mod request;
mod retry;
mod rewrites;
mod send;
mod settings;
mod spool;
mod tls;
mod tunnel;

use crate::plan::feature::Feature;
pub use tunnel::TUNNEL;

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "proxy",
    module: Some("http_proxy"),
    directives: directives::DIRECTIVES,
    variables: &[],
    http: compile::look_for_faults,
    location: compile::compile,
    end: compile::end,
};
