//! `zone`: all shards count the failures and connections of a group together. What is counted lies beside
//! the plan and takes a cache line for each peer, so a zone's size decides nothing; it is checked as
//! nginx checks it.

use crate::base::process_settings::Level;
use crate::conf::{Diagnostic, Directive, Scope, value};
use crate::plan::builder::Builder;

/// The smallest zone, bytes: eight pages in nginx.
const ZONE_BYTES_MIN: u64 = 8 * 4096;

/// The zones of a configuration, with their sizes where a line says one.
#[derive(Default)]
struct Declared(Vec<(String, Option<u64>)>);

/// Reads a line.
///
/// # Errors
/// What nginx refuses, in its words.
pub(super) fn declare(scope: &Scope<'_>, line: &Directive, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let Some((name_word, rest)) = line.args.split_first() else { return Ok(()) };
    let name = name_word.text.as_str();
    if name.is_empty() {
        return Err(scope.error_at(line, name_word, "invalid zone name \"\""));
    }
    let mut size = None;
    if let Some(word) = rest.first() {
        let invalid = || scope.error_at(line, word, format!("invalid zone size \"{}\"", word.text));
        let bytes = value::size(&word.text).ok_or_else(invalid)?;
        if bytes < ZONE_BYTES_MIN {
            return Err(scope.error_at(line, name_word, format!("zone \"{name}\" is too small")));
        }
        size = Some(bytes);
    }
    if b.known_zone(name).is_some() {
        let message = format!("the shared memory zone \"{name}\" is already declared for a different use");
        return Err(scope.error(line, message));
    }
    let declared = &mut b.store::<Declared>().0;
    let Some((_, known)) = declared.iter_mut().find(|(known, _)| known == name) else {
        declared.push((name.to_owned(), size));
        return Ok(());
    };
    match (*known, size) {
        (Some(known), Some(size)) if known != size => {
            let message = format!(
                "the size {size} of shared memory zone \"{name}\" conflicts with already declared size {known}"
            );
            Err(scope.error(line, message))
        }
        _ => {
            *known = known.or(size);
            Ok(())
        }
    }
}

/// All lines are read: each zone must have got a size.
///
/// # Errors
/// nginx's words for one that has none.
pub(super) fn end(b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    match b.store::<Declared>().0.iter().find(|(_, size)| size.is_none()) {
        None => Ok(()),
        Some((name, _)) => {
            Err(Diagnostic::new(Level::Emerg, format!("zero size shared memory zone \"{name}\"")))
        }
    }
}
