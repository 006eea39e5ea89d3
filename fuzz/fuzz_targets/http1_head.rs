//! Heads of requests and of answers: whatever comes, reading it neither panics nor depends on where
//! the bytes were cut, and what was accepted has one meaning.

#![no_main]

use libfuzzer_sys::fuzz_target;
use octroi::http::{Framing, HeadLimits, Parsed, RequestHead, ResponseHead, uri};

fuzz_target!(|data: &[u8]| {
    // The first byte says how the rest is cut.
    let Some((&cut, bytes)) = data.split_first() else { return };
    let limits =
        HeadLimits { ignore_invalid: cut & 1 == 0, underscores: cut & 2 == 0, ..HeadLimits::default() };
    request(bytes, usize::from(cut).max(1), &limits);
    answer(bytes, usize::from(cut).max(1), &limits);
});

fn request(bytes: &[u8], step: usize, limits: &HeadLimits) {
    let mut whole = RequestHead::default();
    let outcome = whole.parse(bytes, limits);
    let mut pieces = RequestHead::default();
    let mut last = pieces.parse(&bytes[..step.min(bytes.len())], limits);
    let mut end = step;
    while last == Ok(Parsed::Partial) && end < bytes.len() {
        end = (end + step).min(bytes.len());
        last = pieces.parse(&bytes[..end], limits);
    }
    assert!(agree(outcome, last), "the same bytes in pieces: {outcome:?} {last:?}");
    if outcome != Ok(Parsed::Complete) {
        return;
    }
    assert_eq!((whole.len, whole.framing, whole.path), (pieces.len, pieces.framing, pieces.path));
    assert!(whole.len <= bytes.len());
    let named = |name: &[u8]| {
        whole.fields.list.iter().filter(|field| field.name.of(bytes).eq_ignore_ascii_case(name)).count()
    };
    assert!(named(b"content-length") + named(b"transfer-encoding") <= 1, "two framings were accepted");
    assert!(named(b"host") <= 1, "two hosts were accepted");
    if named(b"content-length") + named(b"transfer-encoding") == 0 {
        assert_eq!(whole.framing, Framing::None);
    }
    for field in whole.fields.list.iter() {
        let value = field.value.of(bytes);
        assert!(!value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')), "a value that splits a head");
    }
    // An absolute-form target may have arguments and no path.
    let mut path = Vec::new();
    if uri::normalise(whole.path.of(bytes), true, &mut path).is_ok() {
        assert!(path.starts_with(b"/") && !path.contains(&0));
        assert!(!path.split(|byte| *byte == b'/').any(|segment| segment == b".."), "a path that climbs");
    }
}

fn answer(bytes: &[u8], step: usize, limits: &HeadLimits) {
    let mut whole = ResponseHead::default();
    let outcome = whole.parse(bytes, limits);
    let mut pieces = ResponseHead::default();
    let mut last = pieces.parse(&bytes[..step.min(bytes.len())], limits);
    let mut end = step;
    while last == Ok(Parsed::Partial) && end < bytes.len() {
        end = (end + step).min(bytes.len());
        last = pieces.parse(&bytes[..end], limits);
    }
    assert!(agree(outcome, last), "the same bytes in pieces: {outcome:?} {last:?}");
    if outcome == Ok(Parsed::Complete) {
        assert!((100..1000).contains(&whole.status));
        assert_eq!((whole.len, whole.status), (pieces.len, pieces.status));
    }
}

/// A line that comes in pieces is read again when its end is there, so its fault may show later than
/// in a line that came at once; never may it pass.
fn agree<F: PartialEq>(whole: Result<Parsed, F>, pieces: Result<Parsed, F>) -> bool {
    whole == pieces || (whole.is_err() && pieces == Ok(Parsed::Partial))
}
