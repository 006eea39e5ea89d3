//! Zones: tables that all shards count in (`limit_req_zone`, `limit_conn_zone`). A zone survives a
//! reload when its name, kind, size and key are the same.

pub mod table;

use super::quota::Book;
use crate::base::clock;
use std::sync::Arc;
use std::time::Instant;
use table::{Spare, Table};

/// What a zone counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneKind {
    /// Requests in time: `limit_req_zone`.
    Rate,
    /// What is under way: `limit_conn_zone`.
    Count,
}

/// A zone as a configuration declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneSpec {
    /// Its name.
    pub name: String,
    /// What it counts.
    pub kind: ZoneKind,
    /// Bytes it may take.
    pub size: u64,
    /// Its key as it is written.
    pub key: String,
}

/// A zone that is counted in.
#[derive(Debug)]
pub struct Zone {
    /// Its declaration.
    pub spec: ZoneSpec,
    /// The keys and what is counted for each.
    pub table: Table,
    born: Instant,
}

impl Zone {
    /// An empty zone.
    pub fn new(spec: ZoneSpec) -> Zone {
        let spare = match spec.kind {
            ZoneKind::Rate => Spare::Oldest,
            ZoneKind::Count => Spare::Zero,
        };
        Zone { table: Table::new(spec.size, spare), spec, born: clock::now() }
    }

    /// Milliseconds since the zone was made, by the clock of this thread.
    pub fn now_ms(&self) -> u64 {
        clock::now().saturating_duration_since(self.born).as_millis() as u64
    }
}

/// All that the shards of a configuration count in.
#[derive(Clone, Debug, Default)]
pub struct Zones {
    list: Arc<[Arc<Zone>]>,
    book: Option<Arc<Book>>,
}

impl Zones {
    /// The zones of a new configuration: those that stay, and new ones.
    ///
    /// # Errors
    /// nginx's message for a zone that stays and has another key.
    pub fn renewed(&self, wanted: &[ZoneSpec]) -> Result<Zones, String> {
        let mut list = Vec::with_capacity(wanted.len());
        for spec in wanted {
            let same = |zone: &&Arc<Zone>| {
                let old = &zone.spec;
                (&old.name, old.kind, old.size) == (&spec.name, spec.kind, spec.size)
            };
            list.push(match self.list.iter().find(same) {
                Some(zone) if zone.spec.key == spec.key => zone.clone(),
                Some(zone) => return Err(other_key(spec, &zone.spec.key)),
                None => Arc::new(Zone::new(spec.clone())),
            });
        }
        Ok(Zones { list: list.into(), book: None })
    }

    /// The same with the accounts of quotas.
    #[must_use]
    pub fn with_book(self, book: Option<Arc<Book>>) -> Zones {
        Zones { book, ..self }
    }

    /// The accounts of quotas, if there are quotas.
    pub fn book(&self) -> Option<&Arc<Book>> {
        self.book.as_ref()
    }

    /// The zone of this name.
    pub fn find(&self, name: &str) -> Option<&Arc<Zone>> {
        self.list.iter().find(|zone| zone.spec.name == name)
    }
}

fn other_key(spec: &ZoneSpec, before: &str) -> String {
    let directive = match spec.kind {
        ZoneKind::Rate => "limit_req",
        ZoneKind::Count => "limit_conn_zone",
    };
    let ZoneSpec { name, key, .. } = spec;
    format!("{directive} \"{name}\" uses the \"{key}\" key while previously it used the \"{before}\" key")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn spec(name: &str, kind: ZoneKind, size: u64, key: &str) -> ZoneSpec {
        ZoneSpec { name: name.to_owned(), kind, size, key: key.to_owned() }
    }

    #[test]
    fn what_is_the_same_stays() {
        let first = Zones::default()
            .renewed(&[spec("a", ZoneKind::Rate, 32_768, "$x"), spec("b", ZoneKind::Count, 32_768, "$x")])
            .unwrap();
        let stays =
            |zones: &Zones, name: &str| Arc::ptr_eq(first.find(name).unwrap(), zones.find(name).unwrap());
        let second = first
            .renewed(&[spec("b", ZoneKind::Count, 32_768, "$x"), spec("a", ZoneKind::Rate, 32_768, "$x")])
            .unwrap();
        assert!(stays(&second, "a") && stays(&second, "b"));
        // Another size makes another zone, which may have another key.
        let third = second.renewed(&[spec("a", ZoneKind::Rate, 65_536, "$y")]).unwrap();
        assert!(!stays(&third, "a") && third.find("b").is_none());
        assert!(!stays(&second.renewed(&[spec("a", ZoneKind::Count, 32_768, "$x")]).unwrap(), "a"));
    }

    #[test]
    fn another_key_is_refused_in_nginxs_words() {
        let zones = |kind| Zones::default().renewed(&[spec("a", kind, 32_768, "$x")]).unwrap();
        assert_eq!(
            zones(ZoneKind::Rate).renewed(&[spec("a", ZoneKind::Rate, 32_768, "$y")]).unwrap_err(),
            "limit_req \"a\" uses the \"$y\" key while previously it used the \"$x\" key"
        );
        assert_eq!(
            zones(ZoneKind::Count).renewed(&[spec("a", ZoneKind::Count, 32_768, "$y")]).unwrap_err(),
            "limit_conn_zone \"a\" uses the \"$y\" key while previously it used the \"$x\" key"
        );
    }
}
