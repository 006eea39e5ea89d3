//! What the services of the demo keep: a few records, in memory, as JSON.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Records a service keeps; the oldest that a client made goes first.
const RECORDS_MAX: usize = 200;

/// How deep the JSON of a new record may be nested: records are flat, and the check recurses.
const DEPTH_MAX: usize = 8;

/// Each record without its id, which is its place.
const USERS: &[&str] = &[
    r#""name":"Awa Diallo","city":"Lyon","member_since":"2023-04-11""#,
    r#""name":"Jean Petit","city":"Nantes","member_since":"2024-09-02""#,
    r#""name":"Chloé Martin","city":"Lille","member_since":"2026-01-20""#,
];

const ORDERS: &[&str] = &[
    r#""annonce":2,"buyer":1,"price_eur":35,"state":"shipped""#,
    r#""annonce":1,"buyer":3,"price_eur":120,"state":"paid""#,
];

const ANNONCES: &[&str] = &[
    r#""title":"Vélo de ville","price_eur":120,"city":"Lyon","seller":2"#,
    r#""title":"Lampe de bureau","price_eur":35,"city":"Nantes","seller":3"#,
    r#""title":"Table en chêne","price_eur":260,"city":"Lille","seller":1"#,
    r#""title":"Appareil photo argentique","price_eur":90,"city":"Lyon","seller":2"#,
];

/// The records of one service; its instances share them.
pub struct Records {
    /// How many came with the service: those stay.
    samples: usize,
    state: Mutex<State>,
}

struct State {
    /// Id and JSON, ids rising.
    list: Vec<(u64, String)>,
    next: u64,
}

impl Records {
    /// The samples of a service.
    pub fn of(path: &str) -> Records {
        let samples = match path {
            "users" => USERS,
            "orders" => ORDERS,
            _ => ANNONCES,
        };
        let list: Vec<_> = (1..).zip(samples).map(|(id, fields)| (id, record(id, fields))).collect();
        let next = list.len() as u64 + 1;
        Records { samples: samples.len(), state: Mutex::new(State { list, next }) }
    }

    /// All of them, as an array.
    pub fn list(&self) -> String {
        let state = self.state();
        let all: Vec<&str> = state.list.iter().map(|(_, json)| json.as_str()).collect();
        format!("[{}]\n", all.join(","))
    }

    /// One of them.
    pub fn find(&self, id: u64) -> Option<String> {
        let state = self.state();
        state.list.iter().find(|(known, _)| *known == id).map(|(_, json)| format!("{json}\n"))
    }

    /// Adds the object that `body` holds, and returns its id and itself with the id in it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add(&self, body: &[u8]) -> Result<(u64, String), &'static str> {
        let text = std::str::from_utf8(body).map_err(|_| "the body is no UTF-8")?.trim();
        let object = value(text.as_bytes(), 0).is_some_and(<[u8]>::is_empty);
        let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).filter(|_| object);
        let inner = inner.ok_or("the body is no JSON object")?.trim();
        let mut state = self.state();
        let id = state.next;
        state.next += 1;
        let json = record(id, inner);
        if state.list.len() >= RECORDS_MAX {
            state.list.remove(self.samples);
        }
        state.list.push((id, json.clone()));
        Ok((id, json + "\n"))
    }

    /// A thread that panicked left the records whole: each change is one push or one removal.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn record(id: u64, fields: &str) -> String {
    match fields {
        "" => format!("{{\"id\":{id}}}"),
        fields => format!("{{\"id\":{id},{fields}}}"),
    }
}

/// Reads one JSON value (RFC 8259) and returns what stands behind it; `None` when there is none.
fn value(text: &[u8], depth: usize) -> Option<&[u8]> {
    let text = text.trim_ascii_start();
    match text.first()? {
        b'{' => items(text.get(1..)?, b'}', depth, |text| {
            let rest = string(text.trim_ascii_start())?.trim_ascii_start();
            value(rest.strip_prefix(b":")?, depth + 1)
        }),
        b'[' => items(text.get(1..)?, b']', depth, |text| value(text, depth + 1)),
        b'"' => string(text),
        b'-' | b'0'..=b'9' => number(text),
        _ => [&b"true"[..], b"false", b"null"].into_iter().find_map(|word| text.strip_prefix(word)),
    }
}

/// The items of an object or an array, behind its bracket.
fn items<'a>(
    text: &'a [u8],
    end: u8,
    depth: usize,
    item: impl Fn(&'a [u8]) -> Option<&'a [u8]>,
) -> Option<&'a [u8]> {
    if depth >= DEPTH_MAX {
        return None;
    }
    let mut rest = text.trim_ascii_start();
    if rest.first() == Some(&end) {
        return rest.get(1..);
    }
    loop {
        rest = item(rest)?.trim_ascii_start();
        match rest.split_first()? {
            (b',', behind) => rest = behind,
            (&byte, behind) if byte == end => return Some(behind),
            _ => return None,
        }
    }
}

fn string(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text.strip_prefix(b"\"")?;
    loop {
        let (&byte, behind) = rest.split_first()?;
        rest = match byte {
            b'"' => return Some(behind),
            b'\\' => match behind.split_first()? {
                (b'u', digits) => {
                    let hex = digits.get(..4)?.iter().all(u8::is_ascii_hexdigit);
                    digits.get(4..).filter(|_| hex)?
                }
                (b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', behind) => behind,
                _ => return None,
            },
            0..=0x1f => return None,
            _ => behind,
        };
    }
}

fn number(text: &[u8]) -> Option<&[u8]> {
    let rest = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(rest)?;
    if rest.starts_with(b"0") && rest.len() - whole.len() > 1 {
        return None;
    }
    let fraction = match whole.strip_prefix(b".") {
        Some(behind) => digits(behind)?,
        None => whole,
    };
    match fraction.split_first() {
        Some((b'e' | b'E', behind)) => {
            let unsigned = behind.strip_prefix(b"+").or(behind.strip_prefix(b"-")).unwrap_or(behind);
            digits(unsigned)
        }
        _ => Some(fraction),
    }
}

/// One digit or more.
fn digits(text: &[u8]) -> Option<&[u8]> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    text.get(count..).filter(|_| count > 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn samples_are_json() {
        for path in ["users", "orders", "annonces"] {
            let list = Records::of(path).list();
            assert_eq!(value(list.as_bytes(), 0), Some(&b"\n"[..]), "{list}");
        }
    }

    #[test]
    fn records_are_added_and_bounded() {
        let records = Records::of("annonces");
        let (id, json) = records.add(b" {\"title\":\"x\"} ").unwrap();
        assert_eq!((id, json.as_str()), (5, "{\"id\":5,\"title\":\"x\"}\n"));
        assert_eq!(records.add(b"{ }").unwrap().1, "{\"id\":6}\n");
        assert_eq!(records.find(5), Some(json));
        for _ in 0..RECORDS_MAX {
            records.add(b"{}").unwrap();
        }
        assert_eq!(records.state().list.len(), RECORDS_MAX);
        assert!(records.find(4).is_some() && records.find(5).is_none());
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let records = Records::of("users");
        let deep = "[".repeat(100_000);
        for wrong in [
            "",
            "x",
            "[]",
            "1",
            "{",
            "{}x",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":01}",
            "{\"a\":1.}",
            "{'a':1}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\n\"}",
            "{\"a\":tru}",
            "{\"a\":{}",
            "{a:1}",
            &deep,
        ] {
            assert!(records.add(wrong.as_bytes()).is_err(), "{wrong}");
        }
        for right in ["{\"a\":[1,-0.5e+3,true,null,{\"b\":\"\\u00e9\\n\"}]}", "{\"a\" : \"\" , \"b\" : [ ] }"]
        {
            assert!(records.add(right.as_bytes()).is_ok(), "{right}");
        }
    }
}
