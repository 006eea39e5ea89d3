//! The language of nginx.conf: text in, a checked tree and its scopes out. No directive is known
//! here by name except `include`, which belongs to the language itself; what the others mean is
//! said by the `DirectiveSpec`s that the features declare.
//!
//! ```text
//! files -> lexer -> parser -> Tree -> Registry::check -> Scope -> a feature's values
//! ```
//!
//! Every error is a `Diagnostic`: its first line is nginx's own wording, which scripts look for;
//! the lines below it show the place and a suggestion.

mod check;
mod diagnostic;
mod files;
mod glob;
mod lexer;
mod parser;
mod reference;
mod scope;
mod settings;
mod snapshot;
mod source;
mod spec;
mod suggest;
mod survey;
mod tree;
pub mod value;
mod values;

#[cfg(test)]
mod property;
#[cfg(test)]
mod testing;

pub use diagnostic::Diagnostic;
pub use files::{Disk, Files};
pub use parser::{load, parse, parse_as_far};
pub use scope::{Located, Scope};
pub use snapshot::{Recorder, Snapshot};
pub use source::{Place, Sources};
pub use spec::{Arity, Block, Context, DirectiveSpec, Effect, Inherit, Refused, Registry};
pub use survey::{Finding, Outcome};
pub use tree::{Directive, Tree, Word};
pub use values::Values;
