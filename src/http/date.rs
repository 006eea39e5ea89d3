//! Dates of headers and of logs. Times are seconds since 1970-01-01T00:00:00Z; the clock is the caller's.

use crate::base::calendar::{self, DAY_S, days};

/// The years the formats have room for: 0 to 9999.
const FIRST_SECOND: i64 = -62_167_219_200;
/// The last second of the year 9999.
const LAST_SECOND: i64 = 253_402_300_799;

const WEEK: [&[u8; 3]; 7] = [b"Sun", b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat"];
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// A time taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parts {
    year: i64,
    /// 1 to 12.
    month: i64,
    /// 1 to 31.
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    /// 0 is Sunday.
    weekday: i64,
}

/// Takes a time apart in the proleptic Gregorian calendar; beyond the years 0 to 9999 it stops there.
fn parts(unix_s: i64) -> Parts {
    let unix_s = unix_s.clamp(FIRST_SECOND, LAST_SECOND);
    let (days, second_of_day) = (unix_s.div_euclid(DAY_S), unix_s.rem_euclid(DAY_S));
    let (year, month, day) = calendar::date(days);
    Parts {
        year,
        month,
        day,
        hour: second_of_day / 3600,
        minute: second_of_day / 60 % 60,
        second: second_of_day % 60,
        weekday: (days + 4).rem_euclid(7),
    }
}

/// Writes into an array of the size the caller knows to be right.
struct Pen<const N: usize> {
    room: [u8; N],
    at: usize,
}

impl<const N: usize> Pen<N> {
    fn new() -> Self {
        Pen { room: [b' '; N], at: 0 }
    }

    fn text(&mut self, text: &[u8]) -> &mut Self {
        for &byte in text {
            if let Some(place) = self.room.get_mut(self.at) {
                *place = byte;
            }
            self.at += 1;
        }
        self
    }

    /// Two decimal digits.
    fn two(&mut self, n: i64) -> &mut Self {
        self.text(&[b'0' + (n / 10 % 10) as u8, b'0' + (n % 10) as u8])
    }

    fn year(&mut self, year: i64) -> &mut Self {
        self.two(year / 100).two(year % 100)
    }

    fn clock(&mut self, p: &Parts) -> &mut Self {
        self.two(p.hour).text(b":").two(p.minute).text(b":").two(p.second)
    }

    /// `+0200`, with `between` between hours and minutes.
    fn offset(&mut self, offset_s: i32, between: &[u8]) -> &mut Self {
        let minutes = i64::from(offset_s.unsigned_abs() / 60);
        self.text(if offset_s < 0 { b"-" } else { b"+" }).two(minutes / 60).text(between).two(minutes % 60)
    }
}

/// The name in one of the tables above.
fn name(table: &[&'static [u8; 3]], index: i64) -> &'static [u8] {
    usize::try_from(index).ok().and_then(|i| table.get(i)).map_or(b"???", |name| name.as_slice())
}

/// The date of headers (IMF-fixdate, RFC 9110, 5.6.7): `Sun, 22 Nov 2026 18:00:00 GMT`.
pub fn http(unix_s: i64) -> [u8; 29] {
    let p = parts(unix_s);
    let mut pen = Pen::new();
    pen.text(name(&WEEK, p.weekday)).text(b", ").two(p.day).text(b" ");
    pen.text(name(&MONTHS, p.month - 1)).text(b" ").year(p.year).text(b" ").clock(&p).text(b" GMT");
    pen.room
}

/// The common log's time, `$time_local`: `22/Nov/2026:18:00:00 +0000`. `offset_s` is the local zone's,
/// seconds east of UTC.
pub fn common_log(unix_s: i64, offset_s: i32) -> [u8; 26] {
    let p = parts(unix_s.saturating_add(offset_s.into()));
    let mut pen = Pen::new();
    pen.two(p.day).text(b"/").text(name(&MONTHS, p.month - 1)).text(b"/").year(p.year).text(b":");
    pen.clock(&p).text(b" ").offset(offset_s, b"");
    pen.room
}

/// `$time_iso8601`: `2026-11-22T18:00:00+00:00`.
pub fn iso8601(unix_s: i64, offset_s: i32) -> [u8; 25] {
    let p = parts(unix_s.saturating_add(offset_s.into()));
    let mut pen = Pen::new();
    pen.year(p.year).text(b"-").two(p.month).text(b"-").two(p.day).text(b"T");
    pen.clock(&p).offset(offset_s, b":");
    pen.room
}

/// The error log's time: `2026/11/22 18:00:00`.
pub fn error_log(unix_s: i64, offset_s: i32) -> [u8; 19] {
    let p = parts(unix_s.saturating_add(offset_s.into()));
    let mut pen = Pen::new();
    pen.year(p.year).text(b"/").two(p.month).text(b"/").two(p.day).text(b" ").clock(&p);
    pen.room
}

/// The time of a syslog message (RFC 3164, 4.1.2): `Nov 22 18:00:00`, a day below ten with a space.
pub fn syslog(unix_s: i64, offset_s: i32) -> [u8; 15] {
    let p = parts(unix_s.saturating_add(offset_s.into()));
    let mut pen = Pen::new();
    pen.text(name(&MONTHS, p.month - 1)).text(b" ");
    if p.day < 10 {
        pen.text(b" ").text(&[b'0' + p.day as u8]);
    } else {
        pen.two(p.day);
    }
    pen.text(b" ").clock(&p);
    pen.room
}

/// Reads any of the three dates of HTTP (RFC 9110, 5.6.7):
/// `Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 08:49:37 GMT`, `Sun Nov  6 08:49:37 1994`.
/// As in nginx the name of the day is not looked at, nor what follows the time in the first two; years
/// of two digits are 1970 to 2069. `None` for anything else.
pub fn parse_http(text: &[u8]) -> Option<i64> {
    let stop = text.iter().position(|b| matches!(b, b',' | b' '))?;
    let comma = text.get(stop) == Some(&b',');
    let mut rest = text.get(stop + 1..)?;
    while let Some(tail) = rest.strip_prefix(b" ") {
        rest = tail;
    }
    let (date, clock) = if comma { day_first(rest)? } else { month_first(rest)? };
    let (year, month, day) = date;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if day == 0 || day > last {
        return None;
    }
    Some(days(year, month, day) * DAY_S + clock)
}

/// Year, month and day.
type Date = (i64, i64, i64);

/// `06 Nov 1994 08:49:37` or `06-Nov-94 08:49:37`.
fn day_first(rest: &[u8]) -> Option<(Date, i64)> {
    let day = digits(rest.get(..2)?)?;
    let sign = *rest.get(2)?;
    let month = month(rest.get(3..6)?)?;
    if *rest.get(6)? != sign {
        return None;
    }
    let (year, rest) = match sign {
        b' ' => (digits(rest.get(7..11)?)?, rest.get(11..)?),
        b'-' => {
            let year = digits(rest.get(7..9)?)?;
            (year + if year < 70 { 2000 } else { 1900 }, rest.get(9..)?)
        }
        _ => return None,
    };
    let clock = clock(rest.strip_prefix(b" ")?)?;
    Some(((year, month, day), clock))
}

/// `Nov  6 08:49:37 1994`.
fn month_first(rest: &[u8]) -> Option<(Date, i64)> {
    let month = month(rest.get(..3)?)?;
    let rest = rest.get(3..)?.strip_prefix(b" ")?;
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    let len = rest.iter().take(2).take_while(|b| b.is_ascii_digit()).count();
    let day = digits(rest.get(..len)?)?;
    let rest = rest.get(len..)?.strip_prefix(b" ")?;
    let clock = clock(rest.get(..8)?)?;
    let year = digits(rest.get(8..)?.strip_prefix(b" ")?.get(..4)?)?;
    Some(((year, month, day), clock))
}

/// The number of a month, 1 to 12.
fn month(text: &[u8]) -> Option<i64> {
    MONTHS.iter().position(|name| name.as_slice() == text).map(|index| index as i64 + 1)
}

/// Seconds of the day of `08:49:37`.
fn clock(text: &[u8]) -> Option<i64> {
    if text.get(2) != Some(&b':') || text.get(5) != Some(&b':') {
        return None;
    }
    let (hour, minute, second) =
        (digits(text.get(..2)?)?, digits(text.get(3..5)?)?, digits(text.get(6..8)?)?);
    (hour < 24 && minute < 60 && second < 60).then_some(hour * 3600 + minute * 60 + second)
}

/// A number made of digits alone.
fn digits(text: &[u8]) -> Option<i64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0, |n, digit| n * 10 + i64::from(digit - b'0')))
}

/// When the day that is written as `2027-01-31` begins in UTC.
pub fn parse_day(text: &[u8]) -> Option<i64> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *text else { return None };
    let (year, month, day) = (digits(&[y1, y2, y3, y4])?, digits(&[m1, m2])?, digits(&[d1, d2])?);
    let at = days(year, month.clamp(1, 12), day) * 86_400;
    // The 30th of February is a day in March.
    let begun = parts(at);
    ((begun.year, begun.month, begun.day) == (year, month, day)).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 22 Nov 2026, 18:00:00 UTC.
    const NOW: i64 = 1_795_370_400;

    fn text<const N: usize>(bytes: [u8; N]) -> String {
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[test]
    fn formats() {
        assert_eq!(text(http(NOW)), "Sun, 22 Nov 2026 18:00:00 GMT");
        assert_eq!(text(http(0)), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(text(http(-1)), "Wed, 31 Dec 1969 23:59:59 GMT");
        assert_eq!(text(http(784_111_777)), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(text(http(951_782_400)), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(text(http(i64::MAX)), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(text(http(i64::MIN)), "Sat, 01 Jan 0000 00:00:00 GMT");
        assert_eq!(text(common_log(NOW, 0)), "22/Nov/2026:18:00:00 +0000");
        assert_eq!(text(common_log(NOW, 7200)), "22/Nov/2026:20:00:00 +0200");
        assert_eq!(text(common_log(NOW, -12_600)), "22/Nov/2026:14:30:00 -0330");
        assert_eq!(text(iso8601(NOW, 0)), "2026-11-22T18:00:00+00:00");
        assert_eq!(text(iso8601(NOW, 20_700)), "2026-11-22T23:45:00+05:45");
        assert_eq!(text(error_log(NOW, 3600)), "2026/11/22 19:00:00");
        assert_eq!(text(syslog(NOW, 0)), "Nov 22 18:00:00");
        assert_eq!(text(syslog(NOW - 20 * 86_400, 3600)), "Nov  2 19:00:00");
    }

    #[test]
    fn days_of_the_calendar() {
        assert_eq!(parse_day(b"1970-01-02"), Some(86_400));
        assert_eq!(parse_day(b"2024-02-29"), Some(1_709_164_800));
        for text in [
            "2023-02-29",
            "2023-13-01",
            "2023-00-01",
            "2023-01-00",
            "2023-1-1",
            "2023-01-01 ",
            "20230101",
            "",
        ] {
            assert_eq!(parse_day(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn three_forms() {
        for form in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun Nov 6 08:49:37 1994",
            "Sun Nov 06 08:49:37 1994",
            "xyz,   06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(parse_http(form.as_bytes()), Some(784_111_777), "{form}");
        }
        assert_eq!(parse_http(b"Monday, 01-Jan-69 00:00:00 GMT"), Some(3_124_224_000));
        assert_eq!(parse_http(b"Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
    }

    #[test]
    fn no_dates() {
        for form in [
            "",
            "0",
            "Sun",
            "Sun, ",
            "Sun, 06 Nov 1994",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49:60 GMT",
            "Sun, 06-Nov 1994 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Sun, 29 Feb 2023 08:49:37 GMT",
            "Sun, 29 Feb 1900 08:49:37 GMT",
            "Sun, -6 Nov 1994 08:49:37 GMT",
            "Sun Nov  6 08:49:37",
            "Sun Nov  x 08:49:37 1994",
            "Sun Xxx  6 08:49:37 1994",
        ] {
            assert_eq!(parse_http(form.as_bytes()), None, "{form}");
        }
    }

    proptest! {
        #[test]
        fn parse_undoes_format(unix_s in FIRST_SECOND..=LAST_SECOND) {
            prop_assert_eq!(parse_http(&http(unix_s)), Some(unix_s));
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40), unix_s: i64, offset_s: i32) {
            let _ = parse_http(&bytes);
            let _ = (http(unix_s), common_log(unix_s, offset_s), iso8601(unix_s, offset_s), error_log(unix_s, offset_s));
        }
    }
}
