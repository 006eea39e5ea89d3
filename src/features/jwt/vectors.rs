//! The signatures of `vectors.txt`: no wrong one is taken, and each right one of an algorithm that is
//! offered is.

#![allow(clippy::unwrap_used)]

use super::algorithm::Algorithms;
use super::jws::Jws;
use super::keys::KeySet;

const VECTORS: &str = include_str!("vectors.txt");

/// Right ones that are refused here, and why.
const REFUSED: &[(&str, &str)] = &[
    ("Figure20", "its key says PS256, the token PS384: the key decides"),
    ("Figure27", "its key is said to be for \"ES521\", which is no algorithm"),
    ("InvalidCharacterInsertedInHeader", "there is one way only to write a token"),
    ("InvalidCharacterInsertedInPayload", "there is one way only to write a token"),
];

#[test]
fn signatures() {
    let mut set = KeySet::default();
    let (mut right, mut wrong, mut refused) = (0, 0, 0);
    for line in VECTORS.lines().filter(|line| !line.starts_with('#')) {
        let (kind, rest) = line.split_once(' ').unwrap();
        if kind == "k" {
            set = KeySet::parse(format!("{{\"keys\":[{rest}]}}").as_bytes(), true).unwrap();
            continue;
        }
        let (name, token) = rest.split_once(' ').unwrap();
        let jws = Jws::parse(token.as_bytes());
        let taken = jws.and_then(|jws| jws.payload(&set, Algorithms::ALL)).is_ok();
        let is_refused = REFUSED.iter().any(|(known, _)| *known == name);
        assert_eq!(taken, kind == "+" && !is_refused, "{line}");
        match kind {
            "+" if is_refused => refused += 1,
            "+" => right += 1,
            _ => wrong += 1,
        }
    }
    assert!(right >= 40 && wrong >= 200 && refused <= 6, "{right} {wrong} {refused}");
}
