//! What a feature is to the house: its directives and variables as data, and one function that
//! compiles what it was told at a level of the configuration.

use super::builder::Builder;
use crate::conf::{Diagnostic, DirectiveSpec, Scope};
use crate::pipeline::variable::VariableSpec;

/// A feature.
pub struct Feature {
    /// Its name, that of its folder.
    pub name: &'static str,
    /// The nginx module it stands for, as `nginx -V` names it (`http_rewrite`), if it is one that
    /// can be left out of nginx.
    pub module: Option<&'static str>,
    /// Its directives.
    pub directives: &'static [DirectiveSpec],
    /// Its variables.
    pub variables: &'static [VariableSpec],
    /// Compiles what the feature was told at the `http` level; called once, before the servers.
    pub http: fn(&Scope<'_>, &mut Builder<'_>) -> Result<(), Diagnostic>,
    /// Compiles what holds in one location (or at a server's own level): adds steps, filters, log
    /// steps to the location the builder has open.
    pub location: fn(&Scope<'_>, &mut Builder<'_>) -> Result<(), Diagnostic>,
    /// Called once, after all servers: what could not be known before.
    pub end: fn(&mut Builder<'_>),
}

/// For a feature that has nothing left to do at the end.
pub fn no_end(_: &mut Builder<'_>) {}

/// For a feature that has nothing to do at a level.
pub fn nothing(_: &Scope<'_>, _: &mut Builder<'_>) -> Result<(), Diagnostic> {
    Ok(())
}
