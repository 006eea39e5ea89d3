//! A `map` block becomes a table and its values.

use super::table::{Table, Unfit, ValueId};
use crate::base::process_settings::Level;
use crate::conf::{Diagnostic, Directive, Scope, Word};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::template::Template;
use crate::pipeline::variable::{Derive, Variable};
use crate::plan::builder::Builder;
use ahash::AHashMap;

/// Compiles every map. All names come first: a value may use a map that stands further down.
pub fn http(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    for block in scope.here("map") {
        if let Some(name) = block.args.get(1) {
            b.declare(name)?;
        }
    }
    scope.here("map").try_for_each(|block| map(scope, block, b))
}

fn map(scope: &Scope<'_>, block: &Directive, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let [source, name] = block.args.as_slice() else {
        return Err(scope.error(block, "invalid number of arguments in \"map\" directive"));
    };
    let source = b.template(source)?;
    b.declare(name)?;
    let mut parts = Parts::default();
    block.body().iter().try_for_each(|line| parts.line(scope, line, b))?;
    let Parts { hostnames, volatile, default, table, values, .. } = parts;
    let fold = !table.only_regexes();
    b.derive(name, volatile, Map { source, hostnames, fold, table, default, values: values.into() });
    Ok(())
}

/// A block as far as it was read.
#[derive(Default)]
struct Parts {
    hostnames: bool,
    volatile: bool,
    default: Option<ValueId>,
    table: Table,
    values: Vec<Template>,
    /// The numbers of the values by their texts: lists name few values often.
    known: AHashMap<String, ValueId>,
}

impl Parts {
    fn line(&mut self, scope: &Scope<'_>, line: &Directive, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
        let source = &line.name;
        let value = match (source.text.as_str(), line.args.as_slice()) {
            ("hostnames", []) => {
                self.hostnames = true;
                return Ok(());
            }
            ("volatile", []) => {
                self.volatile = true;
                return Ok(());
            }
            (_, [value]) => self.value(value, b)?,
            _ => return Err(scope.error(line, "invalid number of the map parameters")),
        };
        match source.text.as_str() {
            "default" => match self.default.replace(value) {
                None => Ok(()),
                Some(_) => Err(scope.error(line, "duplicate default map parameter")),
            },
            text => match text.strip_prefix('~') {
                Some(regex) => {
                    let (caseless, regex) =
                        regex.strip_prefix('*').map_or((false, regex), |regex| (true, regex));
                    self.table.insert_regex(b.pattern(regex, caseless, source)?, value);
                    Ok(())
                }
                None => self.key(scope, line, text.strip_prefix('\\').unwrap_or(text), value),
            },
        }
    }

    fn key(
        &mut self,
        scope: &Scope<'_>,
        line: &Directive,
        text: &str,
        value: ValueId,
    ) -> Result<(), Diagnostic> {
        self.table.insert(text, self.hostnames, value).map_err(|unfit| {
            let message = match unfit {
                Unfit::Invalid => format!("invalid hostname or wildcard \"{text}\""),
                Unfit::Taken => format!("conflicting parameter \"{text}\""),
            };
            scope.error(line, message)
        })
    }

    fn value(&mut self, word: &Word, b: &mut Builder<'_>) -> Result<ValueId, Diagnostic> {
        if let Some(&id) = self.known.get(&word.text) {
            return Ok(id);
        }
        let id = self.values.len() as ValueId;
        self.values.push(b.template(word)?);
        self.known.insert(word.text.clone(), id);
        Ok(id)
    }
}

/// A map, compiled.
struct Map {
    source: Template,
    hostnames: bool,
    /// The table has entries without case.
    fold: bool,
    table: Table,
    default: Option<ValueId>,
    values: Box<[Template]>,
}

impl Derive for Map {
    fn write(&self, x: &Exchange, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        self.source.write(x, out);
        if self.hostnames && out.len() > start && out.last() == Some(&b'.') {
            out.pop();
        }
        let found = self.find(x, out, start);
        out.truncate(start);
        if let Some(value) = found.or(self.default).and_then(|id| self.values.get(id as usize)) {
            value.write(x, out);
        }
        true
    }

    fn depends_on(&self, is: &dyn Fn(&Variable) -> bool) -> bool {
        self.source.holds(is) || self.values.iter().any(|value| value.holds(is))
    }
}

impl Map {
    /// The number of the value for the subject that lies in `out` from `start`; more of `out` is used.
    fn find(&self, x: &Exchange, out: &mut Vec<u8>, start: usize) -> Option<ValueId> {
        let end = out.len();
        if self.fold {
            let subject = out.get(start..)?;
            let found = if subject.iter().any(u8::is_ascii_uppercase) {
                out.extend_from_within(start..);
                let lower = out.get_mut(end..)?;
                lower.make_ascii_lowercase();
                self.table.find(lower)
            } else {
                self.table.find(subject)
            };
            if found.is_some() {
                return found;
            }
        }
        let subject = out.get(start..end)?;
        self.table.find_regex(x, subject).unwrap_or_else(|e| {
            let shown = String::from_utf8_lossy(subject);
            x.log(Level::Alert, format_args!("pcre2_match() failed: {e} on \"{shown}\""));
            None
        })
    }
}
