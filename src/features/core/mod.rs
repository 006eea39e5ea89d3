//! nginx's core, events and HTTP core modules: processes, servers, locations, and the settings the
//! walk itself needs.

mod directives;
mod main_context;
mod settings;

use crate::plan::feature::{Feature, nothing};

pub use main_context::compile as compile_main;

/// The feature. It opens each location, so it comes first in the list.
pub const FEATURE: Feature = Feature {
    name: "core",
    module: None,
    directives: directives::DIRECTIVES,
    variables: &[],
    http: nothing,
    location: settings::compile,
};
