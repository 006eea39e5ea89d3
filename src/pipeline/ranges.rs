//! Byte ranges (RFC 9110, 14) as nginx serves them: 206 with one part or several, 416.

use super::answer::{AnswerHead, Body, Ranges};
use super::connection::push_decimal;
use super::exchange::Exchange;
use crate::http::{Known, Version, date, list};
use crate::net::file::{FileRange, Segment};
use std::cell::Cell;
use std::hash::{BuildHasher, Hasher};
use std::ops::Range;

/// What the head of one part costs, by nginx's reckoning, bytes; an answer in many parts must not
/// become much longer than the whole.
const PART_COST: u64 = 256;

/// By how much it may, bytes.
const PARTS_EXCESS_MAX: u64 = 4096;

/// The largest position; nginx keeps them signed.
const POSITION_MAX: u64 = i64::MAX as u64;

/// Which bytes a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    /// All of them, or in a way that is ignored.
    Whole,
    /// These.
    One(Range<u64>),
    /// These, in this order; at least two ranges.
    Many(Vec<Range<u64>>),
    /// None that exist: 416.
    Unsatisfiable,
}

/// Cuts the answer down to what the request asks for, where its head allows that; body filters may
/// have taken the permission away.
///
/// # Errors
/// 416: there is no such part. `Content-Range` is set.
pub fn cut(x: &mut Exchange, body: &mut Body) -> Result<(), u16> {
    let max = match x.answer.ranges {
        Ranges::No | Ranges::Many(Some(0)) => return Ok(()),
        Ranges::One => Some(1),
        Ranges::Many(max) => max,
    };
    let (Some(length), 200, 0) = (x.answer.length, x.answer.status, x.depth) else { return Ok(()) };
    if x.version() < Version::Http10 {
        return Ok(());
    }
    let fields = &x.answer.fields;
    let modified = fields.find(Known::LastModified).and_then(date::parse_http);
    let wanted = asked(x, length, modified, fields.find(Known::Etag), max);
    match (wanted, body) {
        (Asked::One(range), Body::File(file)) => {
            *file = FileRange::new(file.file().clone(), range.start, range.end - range.start);
            one(&mut x.answer, &range, length);
        }
        (Asked::One(range), Body::Upstream) => {
            one(&mut x.answer, &range, length);
            x.passing.only(range);
        }
        (Asked::Many(ranges), Body::File(file)) => {
            let boundary = boundary();
            let parts = parts(&ranges, length, &x.answer.content_type, &boundary);
            *file = FileRange::of_segments(file.file().clone(), parts);
            x.answer.status = 206;
            x.answer.length = Some(file.remaining());
            x.answer.content_type.clear();
            x.answer.content_type.extend_from_slice(b"multipart/byteranges; boundary=");
            x.answer.content_type.extend_from_slice(&boundary);
        }
        (Asked::Unsatisfiable, _) => {
            let coding_varies = x.answer.coding_varies;
            x.answer.clear();
            x.answer.coding_varies = coding_varies;
            x.answer.fields.push_with(b"Content-Range", |out| content_range(None, length, out));
            return Err(416);
        }
        (Asked::Whole | Asked::One(_) | Asked::Many(_), _) => {
            x.answer.fields.set_known(Known::AcceptRanges, b"Accept-Ranges", b"bytes");
        }
    }
    Ok(())
}

/// Makes it the answer with one part of the body.
fn one(answer: &mut AnswerHead, range: &Range<u64>, length: u64) {
    answer.status = 206;
    answer.reason.clear();
    answer.length = Some(range.end - range.start);
    answer.fields.remove(Known::AcceptRanges);
    answer.fields.push_with(b"Content-Range", |out| content_range(Some(range), length, out));
}

/// What the request asks for of a body of `length` bytes with this `Last-Modified` (seconds since the
/// epoch) and `ETag`, whose answer would have status 200. More than `max` ranges are ignored; `None`
/// sets no number, but then the parts must not outweigh the whole.
fn asked(
    x: &Exchange,
    length: u64,
    modified_unix_s: Option<i64>,
    etag: Option<&[u8]>,
    max: Option<u64>,
) -> Asked {
    let fields = &x.head.fields;
    let Some(range) = fields.find(Known::Range) else { return Asked::Whole };
    if x.version() < Version::Http10 {
        return Asked::Whole;
    }
    let buffer = x.input.filled();
    if let Some(condition) = fields.find(Known::IfRange)
        && !if_range_holds(condition.value.of(buffer), modified_unix_s, etag)
    {
        return Asked::Whole;
    }
    parse(range.value.of(buffer), length, max)
}

/// Reads the value of `Range`.
fn parse(value: &[u8], length: u64, max: Option<u64>) -> Asked {
    const UNIT: &[u8] = b"bytes=";
    let specs = match value.split_at_checked(UNIT.len()) {
        Some((unit, specs)) if unit.eq_ignore_ascii_case(UNIT) && !specs.is_empty() => specs,
        _ => return Asked::Whole,
    };
    let mut first: Option<Range<u64>> = None;
    let mut others: Vec<Range<u64>> = Vec::new();
    let (mut count, mut size): (u64, u64) = (0, 0);
    for spec in specs.split(|&byte| byte == b',') {
        let Some(range) = range(spec, length) else { return Asked::Unsatisfiable };
        if range.is_empty() {
            // An empty body, or nothing of its end: the whole says as much.
            if range.start == 0 {
                return Asked::Whole;
            }
            continue;
        }
        size = size.saturating_add(range.end - range.start);
        count += 1;
        if size > POSITION_MAX {
            return Asked::Unsatisfiable;
        }
        if max.is_some_and(|max| count > max) {
            return Asked::Whole;
        }
        match first {
            None => first = Some(range),
            Some(_) => others.push(range),
        }
    }
    let Some(first) = first else { return Asked::Unsatisfiable };
    if others.is_empty() {
        return Asked::One(first);
    }
    // Overlapping ranges would send bytes more than once.
    let outweighs = max.is_none() && size + count * PART_COST > length.saturating_add(PARTS_EXCESS_MAX);
    if size > length || outweighs {
        return Asked::Whole;
    }
    others.insert(0, first);
    Asked::Many(others)
}

/// One range: `a-b`, `a-` or `-n`, cut to what exists; empty when that is nothing. `None` when it is
/// malformed.
fn range(spec: &[u8], length: u64) -> Option<Range<u64>> {
    // nginx allows spaces round the numbers.
    let spaceless = |part: &'_ [u8]| -> Option<Option<u64>> {
        let digits = list::trim(part);
        if digits.is_empty() { Some(None) } else { list::decimal(digits).map(Some) }
    };
    let dash = spec.iter().position(|&byte| byte == b'-')?;
    let (from, to) = (spaceless(spec.get(..dash)?)?, spaceless(spec.get(dash + 1..)?)?);
    match (from, to) {
        (None, None) => None,
        (None, Some(suffix)) => Some(length.saturating_sub(suffix)..length),
        (Some(start), None) => Some(start..length),
        (Some(start), Some(last)) => Some(start..length.min(last.saturating_add(1))),
    }
}

/// Whether `If-Range` names the answer as it is (RFC 9110, 13.1.5): by its tag, compared strongly,
/// or by its exact date.
fn if_range_holds(condition: &[u8], modified: Option<i64>, etag: Option<&[u8]>) -> bool {
    if condition.len() >= 2 && condition.ends_with(b"\"") {
        return etag == Some(condition);
    }
    modified.is_some() && date::parse_http(condition) == modified
}

/// Appends the value of `Content-Range`: of this range, or of none that exists.
fn content_range(range: Option<&Range<u64>>, length: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"bytes ");
    match range {
        Some(range) => push_range(range, length, out),
        None => {
            out.extend_from_slice(b"*/");
            push_decimal(out, length);
        }
    }
}

fn push_range(range: &Range<u64>, length: u64, out: &mut Vec<u8>) {
    push_decimal(out, range.start);
    out.push(b'-');
    push_decimal(out, range.end.saturating_sub(1));
    out.push(b'/');
    push_decimal(out, length);
}

/// The body of an answer in several parts (multipart/byteranges, RFC 9110, 14.6).
fn parts(ranges: &[Range<u64>], length: u64, content_type: &[u8], boundary: &[u8]) -> Vec<Segment> {
    let mut segments = Vec::with_capacity(ranges.len() * 2 + 1);
    for range in ranges {
        let mut head = Vec::with_capacity(128);
        head.extend_from_slice(b"\r\n--");
        head.extend_from_slice(boundary);
        if !content_type.is_empty() {
            head.extend_from_slice(b"\r\nContent-Type: ");
            head.extend_from_slice(content_type);
        }
        head.extend_from_slice(b"\r\nContent-Range: ");
        content_range(Some(range), length, &mut head);
        head.extend_from_slice(b"\r\n\r\n");
        segments.push(Segment::Text(head));
        segments.push(Segment::File { offset: range.start, len: range.end - range.start });
    }
    segments.push(Segment::Text([b"\r\n--", boundary, b"--\r\n"].concat()));
    segments
}

thread_local! {
    static BOUNDARY: Cell<u64> = Cell::new(ahash::RandomState::new().build_hasher().finish());
}

/// A boundary of 20 digits that no file can have been made to contain: it is not known beforehand.
fn boundary() -> [u8; 20] {
    let mut number = BOUNDARY.get();
    // The step is odd, so that the numbers of a thread do not repeat.
    BOUNDARY.set(number.wrapping_add(0x9e37_79b9_7f4a_7c15));
    let mut digits = [b'0'; 20];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use Asked::{Many, One, Unsatisfiable, Whole};

    #[test]
    fn ranges_of_a_hundred_bytes() {
        for (value, want) in [
            ("bytes=0-0", One(0..1)),
            ("bytes=0-", One(0..100)),
            ("bytes=5-9", One(5..10)),
            ("BYTES=5-9", One(5..10)),
            ("bytes= 5 - 9 ", One(5..10)),
            ("bytes=90-1000", One(90..100)),
            ("bytes=99-", One(99..100)),
            ("bytes=-1", One(99..100)),
            ("bytes=-100", One(0..100)),
            ("bytes=-1000", One(0..100)),
            ("bytes=- 5", One(95..100)),
            ("bytes=0-9223372036854775807", One(0..100)),
            ("bytes=100-", Unsatisfiable),
            ("bytes=100-200", Unsatisfiable),
            ("bytes=9-5", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=200-,100-", Unsatisfiable),
            ("bytes=9223372036854775808-", Unsatisfiable),
            ("bytes=0-9223372036854775808", Unsatisfiable),
            ("bytes=a-", Unsatisfiable),
            ("bytes=-", Unsatisfiable),
            ("bytes=5", Unsatisfiable),
            ("bytes=1-2x", Unsatisfiable),
            ("bytes=1-2-3", Unsatisfiable),
            ("bytes=--1", Unsatisfiable),
            ("bytes=1 0-20", Unsatisfiable),
            ("bytes=0-1,", Unsatisfiable),
            ("bytes=,0-1", Unsatisfiable),
            ("bytes=0-1;2-3", Unsatisfiable),
            ("bytes=", Whole),
            ("bytes", Whole),
            ("lines=0-1", Whole),
            ("", Whole),
            ("bytes=0-1,3-4", Many(vec![0..2, 3..5])),
            ("bytes=3-4, 0-1", Many(vec![3..5, 0..2])),
            ("bytes=0-1,200-,-3", Many(vec![0..2, 97..100])),
            ("bytes=200-,0-1", One(0..2)),
            ("bytes=0-59,40-99", Whole),
            ("bytes=0-49,50-99", Many(vec![0..50, 50..100])),
        ] {
            assert_eq!(parse(value.as_bytes(), 100, None), want, "{value}");
        }
    }

    #[test]
    fn of_nothing_all_is_asked_for() {
        for value in ["bytes=0-", "bytes=0-5", "bytes=-5", "bytes=-0"] {
            assert_eq!(parse(value.as_bytes(), 0, None), Whole, "{value}");
        }
        assert_eq!(parse(b"bytes=1-", 0, None), Unsatisfiable);
    }

    #[test]
    fn too_many_are_ignored() {
        assert_eq!(parse(b"bytes=0-0,2-2,4-4", 100, Some(2)), Whole);
        assert_eq!(parse(b"bytes=0-0,2-2", 100, Some(2)), Many(vec![0..1, 2..3]));
        // What does not exist is not counted.
        assert_eq!(parse(b"bytes=0-0,2-2,500-", 100, Some(2)), Many(vec![0..1, 2..3]));
        let tiny = |count: usize| format!("bytes={}", vec!["0-0"; count].join(",")).into_bytes();
        // 16 x (1 + 256) = 4112 <= 100 + 4096; one more is 4369.
        assert!(matches!(parse(&tiny(16), 100, None), Many(ranges) if ranges.len() == 16));
        assert_eq!(parse(&tiny(17), 100, None), Whole);
        assert!(matches!(parse(&tiny(17), 100, Some(17)), Many(_)));
    }

    #[test]
    fn conditions_on_ranges() {
        const AT: i64 = 784_111_777;
        let tag = Some(&b"\"a\""[..]);
        for (condition, modified, etag, want) in [
            ("\"a\"", Some(AT), tag, true),
            ("\"b\"", Some(AT), tag, false),
            ("W/\"a\"", Some(AT), tag, false),
            ("\"a\"", Some(AT), None, false),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(AT), tag, true),
            ("Sun, 06 Nov 1994 08:49:38 GMT", Some(AT), tag, false),
            ("Sun, 06 Nov 1994 08:49:37 GMT", None, tag, false),
            ("soon", None, tag, false),
            ("soon", Some(AT), tag, false),
        ] {
            assert_eq!(if_range_holds(condition.as_bytes(), modified, etag), want, "{condition}");
        }
    }

    #[test]
    fn parts_have_heads() {
        let text = |segment: &Segment| match segment {
            Segment::Text(text) => String::from_utf8_lossy(text).into_owned(),
            Segment::File { offset, len } => format!("[{offset}+{len}]"),
        };
        let segments = parts(&[0..2, 97..100], 100, b"text/html", b"7");
        assert_eq!(
            segments.iter().map(text).collect::<String>(),
            "\r\n--7\r\nContent-Type: text/html\r\nContent-Range: bytes 0-1/100\r\n\r\n[0+2]\
             \r\n--7\r\nContent-Type: text/html\r\nContent-Range: bytes 97-99/100\r\n\r\n[97+3]\r\n--7--\r\n"
        );
        assert!(!text(&parts(&[0..2, 4..5], 100, b"", b"7")[0]).contains("Type"));
        assert!(boundary() != boundary() && boundary().iter().all(u8::is_ascii_digit));
        let mut none = Vec::new();
        content_range(None, 100, &mut none);
        assert_eq!(none, b"bytes */100");
    }
}
