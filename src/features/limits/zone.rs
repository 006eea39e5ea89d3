//! What `limit_req_zone` and `limit_conn_zone` have in common: a key, a name, a size.

use crate::base::process_settings::Level;
use crate::bridge::lease::Leases;
use crate::bridge::zone::{Zone, ZoneKind, ZoneSpec};
use crate::conf::{Diagnostic, Directive, Scope, Word, value};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::limits::ZoneHere;
use crate::pipeline::local::{ShardFacts, Slot};
use crate::pipeline::template::Template;
use crate::plan::builder::Builder;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

/// The smallest zone, bytes: eight pages in nginx.
const ZONE_BYTES_MIN: u64 = 8 * 4096;

/// The zones that were declared, for the directives that name them.
#[derive(Default)]
pub(super) struct Declared(Vec<Arc<Counted>>);

/// A declared zone.
pub(super) struct Counted {
    pub(super) name: String,
    kind: ZoneKind,
    /// The key as it is written.
    key_text: String,
    pub(super) key: Template,
    /// For requests: the rate.
    pub(super) rate: Rate,
    /// The zone of a shard.
    pub(super) slot: Slot<Rc<ZoneHere>>,
    uses: Arc<Mutex<Uses>>,
}

/// How fast the requests of a key may come.
pub(super) enum Rate {
    /// Thousandths of a request a second.
    Fixed(u64),
    /// Each request says it, in the words of a configuration.
    Told(Template),
}

/// How a zone is used: leases are taken out of it only where all its limits allow them.
#[derive(Clone, Copy, Default)]
enum Uses {
    #[default]
    None,
    /// By limits without delay that stand alone, all with this burst.
    Leasable(u64),
    /// Otherwise too.
    Exact,
}

impl Declared {
    /// Declares the zone of a line. `rate` reads the words that are not `zone=`, and says whether it knows
    /// the word.
    pub(super) fn add(
        scope: &Scope<'_>,
        line: &Directive,
        kind: ZoneKind,
        b: &mut Builder<'_>,
        mut rate: impl FnMut(&Word, &mut Builder<'_>) -> Result<Option<Rate>, Diagnostic>,
    ) -> Result<(), Diagnostic> {
        let directive = line.name.text.as_str();
        let Some((key_word, words)) = line.args.split_first() else {
            return Err(
                scope.error(line, format!("invalid number of arguments in \"{directive}\" directive"))
            );
        };
        let key = b.template(key_word)?;
        let mut named = None;
        let mut per_second = Rate::Fixed(1000);
        for word in words {
            if let Some(text) = word.text.strip_prefix("zone=") {
                named = Some(name_and_size(scope, line, word, text)?);
            } else if let Some(found) = rate(word, b)? {
                per_second = found;
            } else {
                return Err(scope.error_at(line, word, format!("invalid parameter \"{}\"", word.text)));
            }
        }
        let Some((name, size)) = named.filter(|(name, _)| !name.is_empty()) else {
            return Err(scope.error(line, format!("\"{directive}\" must have \"zone\" parameter")));
        };
        let spec = ZoneSpec { name: name.to_owned(), kind, size, key: key_word.text.clone() };
        b.zone(spec.clone(), directive).map_err(|message| scope.error(line, message))?;
        let uses = Arc::new(Mutex::new(Uses::None));
        let known = uses.clone();
        let fixed = per_second.fixed();
        let counted = Counted {
            name: spec.name.clone(),
            kind,
            key_text: spec.key.clone(),
            key,
            rate: per_second,
            slot: b.reserve(move |facts| Rc::new(here(facts, &spec, fixed, &known))),
            uses,
        };
        b.store::<Declared>().0.push(Arc::new(counted));
        Ok(())
    }

    /// The zone that a line names.
    pub(super) fn find(
        scope: &Scope<'_>,
        line: &Directive,
        name: &str,
        kind: ZoneKind,
        b: &mut Builder<'_>,
    ) -> Result<Arc<Counted>, Diagnostic> {
        let found = b.store::<Declared>().0.iter().find(|counted| counted.name == name).cloned();
        match found {
            Some(counted) if counted.kind == kind => Ok(counted),
            Some(_) => {
                let message =
                    format!("the shared memory zone \"{name}\" is already declared for a different use");
                Err(scope.error(line, message))
            }
            // nginx finds it when all is read and names no place; the hint does.
            None => {
                let place = scope.error(line, "").text();
                let place = place.trim_start_matches(" in ");
                let message = format!("zero size shared memory zone \"{name}\"");
                Err(Diagnostic::new(Level::Emerg, message).with_hint(format!("it is used in {place}")))
            }
        }
    }
}

fn name_and_size<'w>(
    scope: &Scope<'_>,
    line: &Directive,
    word: &Word,
    text: &'w str,
) -> Result<(&'w str, u64), Diagnostic> {
    let invalid = || scope.error_at(line, word, format!("invalid zone size \"{}\"", word.text));
    let (name, size) = text.split_once(':').ok_or_else(invalid)?;
    let size = value::size(size).ok_or_else(invalid)?;
    if size < ZONE_BYTES_MIN {
        return Err(scope.error_at(line, word, format!("zone \"{}\" is too small", word.text)));
    }
    Ok((name, size))
}

/// A zone as a shard has it.
fn here(facts: &ShardFacts<'_>, spec: &ZoneSpec, rate: Option<u64>, uses: &Mutex<Uses>) -> ZoneHere {
    let zone = facts.zones.find(&spec.name).cloned().unwrap_or_else(|| Arc::new(Zone::new(spec.clone())));
    let uses = *uses.lock().unwrap_or_else(PoisonError::into_inner);
    let leases = match (uses, rate) {
        (Uses::Leasable(burst), Some(rate)) => Leases::new(rate, burst, facts.shards).map(RefCell::new),
        _ => None,
    };
    ZoneHere { zone, leases }
}

impl Rate {
    fn fixed(&self) -> Option<u64> {
        match self {
            Rate::Fixed(rate) => Some(*rate),
            Rate::Told(_) => None,
        }
    }

    /// The rate of a request, thousandths a second: `Ok(None)` where nothing is said, which is no limit.
    ///
    /// # Errors
    /// What is said is no rate: this.
    pub(super) fn of(&self, x: &Exchange) -> Result<Option<u64>, String> {
        let template = match self {
            Rate::Fixed(rate) => return Ok(Some(*rate)),
            Rate::Told(template) => template,
        };
        let text = template.value(x);
        if text.is_empty() {
            return Ok(None);
        }
        let rate = std::str::from_utf8(&text).ok().and_then(value::rate).filter(|rate| *rate > 0);
        rate.map(Some).ok_or_else(|| String::from_utf8_lossy(&text).into_owned())
    }
}

impl Counted {
    /// Whether what it counts by is known only behind Access.
    pub(super) fn is_late(&self, b: &Builder<'_>) -> bool {
        b.is_known_late(&self.key) || matches!(&self.rate, Rate::Told(template) if b.is_known_late(template))
    }

    /// Notes that a limit uses the zone: `burst` where it could do with leases.
    pub(super) fn note_use(&self, burst: Option<u64>) {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        *uses = match (*uses, burst) {
            (Uses::None, Some(burst)) => Uses::Leasable(burst),
            (Uses::Leasable(before), Some(burst)) if before == burst => Uses::Leasable(burst),
            _ => Uses::Exact,
        };
    }

    /// Writes the request's key; false when it is not counted: empty, or too long.
    pub(super) fn write_key(&self, x: &Exchange, max: usize, key: &mut Vec<u8>) -> bool {
        key.clear();
        self.key.write(x, key);
        if key.len() > max {
            x.log(
                Level::Error,
                format_args!(
                    "the value of the \"{}\" key is more than {max} bytes: \"{}\"",
                    self.key_text,
                    String::from_utf8_lossy(key)
                ),
            );
            return false;
        }
        !key.is_empty()
    }
}
