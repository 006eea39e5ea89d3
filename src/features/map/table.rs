//! What a `map` looks its source up in: whole values, names with a mask, regular expressions.

use crate::pipeline::exchange::Exchange;
use crate::pipeline::settings::PlacedPattern;
use ahash::AHashMap;

/// The number of a value among those of its map.
pub type ValueId = u32;

/// The sources of a map. All but regular expressions are without case.
#[derive(Default)]
pub struct Table {
    exact: AHashMap<Box<[u8]>, ValueId>,
    /// `*.example.com` and `.example.com` as `.example.com`.
    heads: AHashMap<Box<[u8]>, ValueId>,
    /// `www.*` as `www.`.
    tails: AHashMap<Box<[u8]>, ValueId>,
    regexes: Vec<(PlacedPattern, ValueId)>,
}

/// Why a source cannot be added.
#[derive(Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It is no host name and no mask of one.
    Invalid,
    /// The map has it already.
    Taken,
}

impl Table {
    /// Adds a source; as a host name, it may have a mask in front or at the end.
    ///
    /// # Errors
    /// Two dots in a row or a `*` elsewhere in a host name, and a source that is there.
    pub fn insert(&mut self, source: &str, hostnames: bool, value: ValueId) -> Result<(), Unfit> {
        let source = source.to_ascii_lowercase();
        if !hostnames {
            return put(&mut self.exact, &source, value);
        }
        if source.matches('*').count() > 1 || source.contains("..") {
            return Err(Unfit::Invalid);
        }
        if source.len() > 1 && source.starts_with('.') {
            put(&mut self.exact, &source[1..], value)?;
            return put(&mut self.heads, &source, value);
        }
        match source.strip_prefix('*') {
            Some(rest) if rest.len() > 1 && rest.starts_with('.') => {
                return put(&mut self.heads, rest, value);
            }
            _ => {}
        }
        match source.strip_suffix('*') {
            Some(front) if front.len() > 1 && front.ends_with('.') => put(&mut self.tails, front, value),
            None if !source.contains('*') => put(&mut self.exact, &source, value),
            _ => Err(Unfit::Invalid),
        }
    }

    /// Adds a regular expression, behind those that are there.
    pub fn insert_regex(&mut self, pattern: PlacedPattern, value: ValueId) {
        self.regexes.push((pattern, value));
    }

    /// Whether only regular expressions can match: then the case of a subject need not be folded.
    pub fn only_regexes(&self) -> bool {
        self.exact.is_empty() && self.heads.is_empty() && self.tails.is_empty()
    }

    /// The value for a subject in lower case: of the whole, of the longest mask in front, of the
    /// longest at the end.
    pub fn find(&self, lower: &[u8]) -> Option<ValueId> {
        if let Some(&value) = self.exact.get(lower) {
            return Some(value);
        }
        let dots = || lower.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at);
        if !self.heads.is_empty()
            && let Some(value) = dots().find_map(|dot| self.heads.get(lower.get(dot..)?))
        {
            return Some(*value);
        }
        if self.tails.is_empty() {
            return None;
        }
        dots().rev().find_map(|dot| self.tails.get(lower.get(..=dot)?)).copied()
    }

    /// The value of the first regular expression that matches; its groups are left in the exchange.
    ///
    /// # Errors
    /// PCRE's error, for which nothing matches.
    pub fn find_regex(&self, x: &Exchange, subject: &[u8]) -> Result<Option<ValueId>, String> {
        if subject.is_empty() {
            return Ok(None);
        }
        for (pattern, value) in &self.regexes {
            if pattern.search(x, subject)? {
                return Ok(Some(*value));
            }
        }
        Ok(None)
    }
}

fn put(table: &mut AHashMap<Box<[u8]>, ValueId>, key: &str, value: ValueId) -> Result<(), Unfit> {
    use std::collections::hash_map::Entry;
    match table.entry(key.as_bytes().into()) {
        Entry::Occupied(_) => Err(Unfit::Taken),
        Entry::Vacant(free) => {
            free.insert(value);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn table(sources: &[&str]) -> Table {
        let mut table = Table::default();
        for (value, source) in sources.iter().enumerate() {
            table.insert(source, true, value as ValueId).unwrap();
        }
        table
    }

    #[test]
    fn masks() {
        let table = table(&["*.example.com", ".example.org", "www.*", "*.a.example.com", "www.a.*", "x.y"]);
        for (name, value) in [
            ("www.example.com", Some(0)),
            ("a.b.example.com", Some(0)),
            ("a.example.com", Some(0)),
            ("b.a.example.com", Some(3)),
            (".example.com", Some(0)),
            ("example.com", None),
            ("example.org", Some(1)),
            ("a.example.org", Some(1)),
            ("notexample.org", None),
            ("www.x", Some(2)),
            ("www.a.x", Some(4)),
            ("www.a", Some(2)),
            ("www", None),
            ("x.y", Some(5)),
            ("", None),
        ] {
            assert_eq!(table.find(name.as_bytes()), value, "{name}");
        }
    }

    #[test]
    fn what_is_no_name() {
        let mut table = table(&["example.com", "*.example.net", ".example.org"]);
        for (source, unfit) in [
            ("*", Unfit::Invalid),
            ("*.", Unfit::Invalid),
            ("a*.b", Unfit::Invalid),
            ("*.a.*", Unfit::Invalid),
            ("a..b", Unfit::Invalid),
            ("Example.com", Unfit::Taken),
            (".example.com", Unfit::Taken),
            (".example.net", Unfit::Taken),
            ("example.org", Unfit::Taken),
        ] {
            assert_eq!(table.insert(source, true, 0), Err(unfit), "{source}");
        }
        assert_eq!(table.insert("a..*b*", false, 9), Ok(()));
        assert_eq!(table.find(b"a..*b*"), Some(9));
    }
}
