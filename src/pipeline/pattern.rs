//! Regular expressions with nginx's meaning: PCRE, with a bound on the work of one match.

use crate::base::limits::{CAPTURES_MAX, REGEX_MATCH_LIMIT};
use crate::http::Span;
use pcre2::bytes::{CaptureLocations, Regex, RegexBuilder};
use std::cell::RefCell;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A compiled pattern.
pub struct Pattern {
    source: String,
    regex: Regex,
    /// Its place in each thread's scratch memory; another pattern's once this one is dropped.
    place: usize,
    /// Its number among all patterns there ever were: tells it from an earlier one at its place.
    serial: u64,
    named: Vec<(String, usize)>,
}

/// Where the groups of a match lie in its subject.
#[derive(Default, Debug, Clone)]
pub struct Groups {
    list: Vec<Option<Span>>,
}

thread_local! {
    /// Each thread matches with its own clone of a pattern, so that PCRE's match memory is never
    /// fought over.
    static SCRATCH: RefCell<Vec<Option<Scratch>>> = const { RefCell::new(Vec::new()) };
}

/// What a thread matches one pattern with.
struct Scratch {
    serial: u64,
    regex: Regex,
    locations: CaptureLocations,
}

/// The places that patterns have had, taken while configurations are read and given back when they are
/// let go of: however often that happens, no thread holds on to more patterns than there were at once.
static PLACES: Mutex<Places> = Mutex::new(Places { free: Vec::new(), places: 0, serials: 0 });

struct Places {
    free: Vec<usize>,
    places: usize,
    serials: u64,
}

impl Places {
    /// A place and a number for a new pattern.
    fn take(&mut self) -> (usize, u64) {
        self.serials += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.places += 1;
            self.places - 1
        });
        (place, self.serials)
    }
}

fn places() -> MutexGuard<'static, Places> {
    // Nothing that can panic runs while it is held.
    PLACES.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Pattern {
    fn drop(&mut self) {
        places().free.push(self.place);
    }
}

impl Pattern {
    /// Compiles `source`.
    ///
    /// # Errors
    /// PCRE's own message.
    pub fn new(source: &str, caseless: bool) -> Result<Pattern, String> {
        let bounded = format!("(*LIMIT_MATCH={REGEX_MATCH_LIMIT}){source}");
        let mut builder = RegexBuilder::new();
        builder.caseless(caseless).jit_if_available(true);
        let prefix = bounded.len() - source.len();
        let regex = builder.build(&bounded).map_err(|e| compile_error(&e, source, prefix))?;
        if regex.captures_len() > CAPTURES_MAX {
            return Err(format!("more than {CAPTURES_MAX} capture groups"));
        }
        let named = regex
            .capture_names()
            .iter()
            .enumerate()
            .filter_map(|(i, name)| name.clone().map(|name| (name, i)))
            .collect();
        let (place, serial) = places().take();
        Ok(Pattern { source: source.to_owned(), regex, place, serial, named })
    }

    /// The pattern as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Named groups with their numbers.
    pub fn named(&self) -> &[(String, usize)] {
        &self.named
    }

    /// Matches `subject`; the groups say where. A pattern that exceeds its bound does not match,
    /// and `Err` says so for the log.
    ///
    /// # Errors
    /// The number of PCRE's error, above all -47, the match limit.
    pub fn matches(&self, subject: &[u8], groups: &mut Groups) -> Result<bool, String> {
        SCRATCH.with(|scratch| {
            let mut scratch = scratch.borrow_mut();
            if scratch.len() <= self.place {
                scratch.resize_with(self.place + 1, || None);
            }
            let mine = &mut scratch[self.place];
            if mine.as_ref().is_none_or(|found| found.serial != self.serial) {
                let regex = self.regex.clone();
                let locations = regex.capture_locations();
                *mine = Some(Scratch { serial: self.serial, regex, locations });
            }
            let Some(Scratch { regex, locations, .. }) = mine else { return Ok(false) };
            let found = regex.captures_read(locations, subject).map_err(|e| e.code().to_string())?;
            groups.list.clear();
            if found.is_none() {
                return Ok(false);
            }
            for i in 0..locations.len() {
                let span = locations.get(i).map(|(s, e)| Span { start: s as u32, end: e as u32 });
                groups.list.push(span);
            }
            Ok(true)
        })
    }
}

/// PCRE's message as nginx shows it: with the pattern, and the rest of it from where the fault is.
fn compile_error(e: &pcre2::Error, source: &str, prefix: usize) -> String {
    let shown = e.to_string();
    let message = shown.split_once(": ").map_or(shown.as_str(), |(_, rest)| rest);
    let message = message.split_once(": ").map_or(message, |(_, rest)| rest);
    let at = e.offset().unwrap_or(0).saturating_sub(prefix);
    match source.get(at..).filter(|rest| !rest.is_empty()) {
        Some(rest) => format!("{message} in \"{source}\" at \"{rest}\""),
        None => format!("{message} in \"{source}\""),
    }
}

impl Groups {
    /// Where group `i` lies, if it took part in the match.
    pub fn at(&self, i: usize) -> Option<Span> {
        self.list.get(i).copied().flatten()
    }

    /// Forgets the match.
    pub fn clear(&mut self) {
        self.list.clear();
    }

    /// Whether there was a match.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_used_again_by_another_pattern() {
        let mut groups = Groups::default();
        // Other tests of the process may take places meanwhile: one of many is taken again.
        let mut seen = std::collections::HashSet::new();
        let again = (0..100).any(|n| {
            let p = Pattern::new(&format!("^{n}$"), false).expect("pattern");
            assert_eq!(p.matches(n.to_string().as_bytes(), &mut groups), Ok(true));
            assert_eq!(p.matches(b"x", &mut groups), Ok(false));
            !seen.insert(p.place)
        });
        assert!(again);
    }

    #[test]
    fn groups_lookaround_and_bounds() {
        let mut groups = Groups::default();
        let p = Pattern::new(r"^/(?<user>[a-z]+)/(\d+)?(?!x)", false).expect("pattern");
        assert_eq!(p.named(), &[("user".to_owned(), 1)]);
        let subject = b"/anna/";
        assert_eq!(p.matches(subject, &mut groups), Ok(true));
        assert_eq!(groups.at(1).map(|s| s.of(subject)), Some(&b"anna"[..]));
        assert_eq!(groups.at(2), None);
        assert_eq!(Pattern::new("ABC", true).expect("pattern").matches(b"xabc", &mut groups), Ok(true));
        assert!(Pattern::new("(", false).is_err());
        let slow = Pattern::new(r"^(a+)+$", false).expect("pattern");
        assert!(
            slow.matches(&[b'a'; 64].map(|b| b).iter().chain(b"!").copied().collect::<Vec<_>>(), &mut groups)
                .is_err()
        );
    }
}
