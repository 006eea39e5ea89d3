//! nginx's core, events and HTTP core modules: processes, servers, locations, and the settings the
//! walk itself needs.

mod directives;
mod files;
mod main_context;
mod settings;
pub mod syslog;

use crate::plan::feature::{Feature, no_end};

pub use main_context::compile as compile_main;

/// The feature. It opens each location, so it comes first in the list.
pub const FEATURE: Feature = Feature {
    name: "core",
    module: None,
    directives: directives::DIRECTIVES,
    variables: &[],
    http: settings::look_for_faults,
    location: settings::compile,
    end: no_end,
};
