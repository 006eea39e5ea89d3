//! Content negotiation by `Accept` (RFC 9110, 12.5.1).

/// How much a client wants a media type, in thousandths: 0 for not at all. `accept` holds the values of its
/// `Accept` fields; without any, every type is as good as another.
pub fn quality<'a>(accept: impl Iterator<Item = &'a [u8]>, kind: &str, subtype: &str) -> u16 {
    let mut best: Option<(u8, u16)> = None;
    let mut any = false;
    for value in accept {
        any = true;
        for range in value.split(|byte| *byte == b',') {
            let Some((specific, q)) = range_for(range, kind, subtype) else { continue };
            // The most specific range counts, whatever its weight.
            if best.is_none_or(|(other, _)| specific > other) {
                best = Some((specific, q));
            }
        }
    }
    match best {
        Some((_, q)) => q,
        None if any => 0,
        None => 1000,
    }
}

/// How specifically a range names the type, and its weight; `None` if it does not.
fn range_for(range: &[u8], kind: &str, subtype: &str) -> Option<(u8, u16)> {
    let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let name = parts.next()?;
    let at = name.iter().position(|byte| *byte == b'/')?;
    let (its_kind, its_subtype) = (name.get(..at)?, name.get(at + 1..)?);
    let specific = match (its_kind, its_subtype) {
        (b"*", b"*") => 0,
        (its_kind, b"*") if its_kind.eq_ignore_ascii_case(kind.as_bytes()) => 1,
        _ if its_kind.eq_ignore_ascii_case(kind.as_bytes())
            && its_subtype.eq_ignore_ascii_case(subtype.as_bytes()) =>
        {
            2
        }
        _ => return None,
    };
    let weight = parts.find_map(|part| part.strip_prefix(b"q=").or_else(|| part.strip_prefix(b"Q=")));
    Some((specific, weight.map_or(1000, thousandths)))
}

/// A weight like `0.5`; one that is none counts as 1, as if it were not there.
fn thousandths(text: &[u8]) -> u16 {
    let digit = |at: usize| {
        text.get(at).filter(|byte| byte.is_ascii_digit()).map_or(0, |byte| u16::from(byte - b'0'))
    };
    match text.first() {
        Some(b'0') if text.len() == 1 || text.get(1) == Some(&b'.') => {
            digit(2) * 100 + digit(3) * 10 + digit(4)
        }
        _ => 1000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(accept: &[&str], media_type: &str) -> u16 {
        let (kind, subtype) = media_type.split_once('/').unwrap_or_default();
        quality(accept.iter().map(|value| value.as_bytes()), kind, subtype)
    }

    #[test]
    fn the_most_specific_range_counts() {
        assert_eq!(of(&[], "a/b"), 1000);
        assert_eq!(of(&["*/*"], "a/b"), 1000);
        assert_eq!(of(&["text/html"], "a/b"), 0);
        assert_eq!(of(&["text/html", "a/*;q=0.5"], "a/b"), 500);
        assert_eq!(of(&["*/*;q=0.8, A/B ; v=1; q=0.25 , a/*"], "a/b"), 250);
        assert_eq!(of(&["a/b;q=0"], "a/b"), 0);
        assert_eq!(of(&["a/b;q=0.", "x"], "a/b"), 0);
        assert_eq!(of(&["a/b;q=1.000"], "a/b"), 1000);
        assert_eq!(of(&["a/b;q=x"], "a/b"), 1000);
        assert_eq!(of(&[""], "a/b"), 0);
    }
}
