//! Points in time and durations. Texts are made once a second and thread.

use crate::base::clock;
use crate::http::date;
use crate::net::timezone::utc_offset_s;
use crate::pipeline::connection::push_seconds;
use crate::pipeline::exchange::Exchange;
use std::cell::Cell;
use std::time::Duration;

/// Text that holds for one second.
type Shown<const BYTES: usize> = Cell<(i64, [u8; BYTES])>;

/// No second that a clock shows.
const NEVER: i64 = i64::MIN;

thread_local! {
    static LOCAL: Shown<26> = const { Cell::new((NEVER, [0; 26])) };
    static ISO8601: Shown<25> = const { Cell::new((NEVER, [0; 25])) };
}

pub(super) fn local(_: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    LOCAL.with(|shown| push_shown(shown, unix_s(), date::common_log, out))
}

pub(super) fn iso8601(_: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    ISO8601.with(|shown| push_shown(shown, unix_s(), date::iso8601, out))
}

pub(super) fn msec(_: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    push_ms(out, clock::unix_time(clock::now()))
}

pub(super) fn request_time(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    push_ms(out, x.elapsed())
}

pub(super) fn connection_time(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    push_ms(out, clock::now().saturating_duration_since(x.connection.started))
}

fn unix_s() -> i64 {
    i64::try_from(clock::unix_time(clock::now()).as_secs()).unwrap_or(i64::MAX)
}

/// Appends seconds with three decimals.
fn push_ms(out: &mut Vec<u8>, time: Duration) -> bool {
    push_seconds(out, u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    true
}

/// Appends the text of a second, which `make` makes when it is not the one shown last.
fn push_shown<const BYTES: usize>(
    shown: &Shown<BYTES>,
    unix_s: i64,
    make: impl Fn(i64, i32) -> [u8; BYTES],
    out: &mut Vec<u8>,
) -> bool {
    let (second, mut text) = shown.get();
    if second != unix_s {
        text = make(unix_s, utc_offset_s(unix_s));
        shown.set((unix_s, text));
    }
    out.extend_from_slice(&text);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_made_once_a_second() {
        let shown = Cell::new((NEVER, [0; 1]));
        let made = Cell::new(0);
        let make = |second: i64, _| {
            made.set(made.get() + 1);
            [b'0' + second as u8]
        };
        let mut out = Vec::new();
        for second in [0, 0, 7, 7, 0] {
            assert!(push_shown(&shown, second, make, &mut out));
        }
        assert_eq!((out.as_slice(), made.get()), (&b"00770"[..], 3));
    }

    #[test]
    fn durations_are_seconds_with_three_decimals() {
        let mut out = Vec::new();
        assert!(push_ms(&mut out, Duration::from_micros(12_034_999)));
        assert_eq!(out, b"12.034");
    }
}
