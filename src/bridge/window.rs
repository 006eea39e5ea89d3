//! The windows that quotas are counted in: minutes, hours, days, weeks, months and years of the calendar,
//! in UTC. Each has a number, which grows from one to the next. The clock is the caller's.

use crate::base::calendar::{self, DAY_S};

/// A kind of window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Window {
    Minute,
    Hour,
    Day,
    /// From Monday to Sunday (ISO 8601).
    Week,
    Month,
    Year,
}

/// One window of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Its number: that of the window behind it is larger by one.
    pub number: u64,
    /// Its first second, since 1970-01-01.
    pub begin_s: u64,
    /// The first second behind it.
    pub end_s: u64,
}

impl Window {
    /// All kinds, the shortest first.
    pub const ALL: [Window; 6] =
        [Window::Minute, Window::Hour, Window::Day, Window::Week, Window::Month, Window::Year];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Window::Minute => "minute",
            Window::Hour => "hour",
            Window::Day => "day",
            Window::Week => "week",
            Window::Month => "month",
            Window::Year => "year",
        }
    }

    /// The kind of this name.
    pub fn of_name(name: &str) -> Option<Window> {
        Window::ALL.into_iter().find(|window| window.name() == name)
    }

    /// How long it is, seconds; months and years as nginx's times have them, 30 and 365 days.
    pub fn length_s(self) -> u64 {
        match self {
            Window::Minute => 60,
            Window::Hour => 3600,
            Window::Day => 86_400,
            Window::Week => 7 * 86_400,
            Window::Month => 30 * 86_400,
            Window::Year => 365 * 86_400,
        }
    }

    /// The window that a second since 1970-01-01 lies in.
    pub fn at(self, unix_s: u64) -> Span {
        let day = (unix_s / DAY_S as u64) as i64;
        let days = |year, month| (calendar::days(year, month, 1) * DAY_S) as u64;
        match self {
            Window::Minute | Window::Hour | Window::Day => {
                let length = self.length_s();
                let number = unix_s / length;
                Span { number, begin_s: number * length, end_s: (number + 1) * length }
            }
            Window::Week => {
                // 1970-01-01 was a Thursday: the week it lies in has the number 0, and began before it.
                let number = (day as u64 + 3) / 7;
                let end_s = (number * 7 + 4) * DAY_S as u64;
                Span { number, begin_s: end_s.saturating_sub(7 * DAY_S as u64), end_s }
            }
            Window::Month => {
                let (year, month, _) = calendar::date(day);
                let (next_year, next) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                let number = ((year - 1970) * 12 + month - 1) as u64;
                Span { number, begin_s: days(year, month), end_s: days(next_year, next) }
            }
            Window::Year => {
                let (year, ..) = calendar::date(day);
                Span { number: (year - 1970) as u64, begin_s: days(year, 1), end_s: days(year + 1, 1) }
            }
        }
    }
}

impl Span {
    /// Whether a second lies in it.
    #[inline]
    pub fn holds(&self, unix_s: u64) -> bool {
        (self.begin_s..self.end_s).contains(&unix_s)
    }

    /// Seconds until it ends, one at least.
    pub fn left_s(&self, unix_s: u64) -> u64 {
        self.end_s.saturating_sub(unix_s).max(1)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::http::date;
    use proptest::prelude::*;

    /// A second by its text: `2026-11-23T00:00:00`.
    fn second(text: &str) -> u64 {
        let number = |range: std::ops::Range<usize>| text[range].parse::<i64>().unwrap();
        let day = calendar::days(number(0..4), number(5..7), number(8..10));
        (day * DAY_S + number(11..13) * 3600 + number(14..16) * 60 + number(17..19)) as u64
    }

    fn text(unix_s: u64) -> String {
        String::from_utf8_lossy(&date::iso8601(unix_s as i64, 0)[..19]).into_owned()
    }

    #[test]
    fn windows_begin_and_end_with_the_calendar() {
        for (window, at, begin, end) in [
            (Window::Minute, "2026-11-23T10:59:59", "2026-11-23T10:59:00", "2026-11-23T11:00:00"),
            (Window::Hour, "2026-12-31T23:00:00", "2026-12-31T23:00:00", "2027-01-01T00:00:00"),
            (Window::Day, "2028-02-28T23:59:59", "2028-02-28T00:00:00", "2028-02-29T00:00:00"),
            (Window::Day, "2028-02-29T00:00:00", "2028-02-29T00:00:00", "2028-03-01T00:00:00"),
            // A Monday, and the Sunday before it.
            (Window::Week, "2026-11-23T00:00:00", "2026-11-23T00:00:00", "2026-11-30T00:00:00"),
            (Window::Week, "2026-11-22T23:59:59", "2026-11-16T00:00:00", "2026-11-23T00:00:00"),
            (Window::Week, "2027-01-01T12:00:00", "2026-12-28T00:00:00", "2027-01-04T00:00:00"),
            (Window::Month, "2027-02-28T23:59:59", "2027-02-01T00:00:00", "2027-03-01T00:00:00"),
            (Window::Month, "2028-02-29T23:59:59", "2028-02-01T00:00:00", "2028-03-01T00:00:00"),
            (Window::Month, "2100-02-28T23:59:59", "2100-02-01T00:00:00", "2100-03-01T00:00:00"),
            (Window::Month, "2026-12-31T23:59:59", "2026-12-01T00:00:00", "2027-01-01T00:00:00"),
            (Window::Year, "2028-12-31T23:59:59", "2028-01-01T00:00:00", "2029-01-01T00:00:00"),
        ] {
            let span = window.at(second(at));
            assert_eq!((text(span.begin_s), text(span.end_s)), (begin.into(), end.into()), "{window:?} {at}");
        }
        assert_eq!(
            Window::Year.at(second("2028-06-01T00:00:00")).end_s - second("2028-01-01T00:00:00"),
            366 * 86_400
        );
        assert_eq!(Window::Month.at(0), Span { number: 0, begin_s: 0, end_s: 31 * 86_400 });
        assert_eq!(Window::Week.at(0), Span { number: 0, begin_s: 0, end_s: 4 * 86_400 });
    }

    #[test]
    fn names() {
        for window in Window::ALL {
            assert_eq!(Window::of_name(window.name()), Some(window));
        }
        assert_eq!(Window::of_name("fortnight"), None);
    }

    proptest! {
        /// Windows of a kind follow one another without a gap, and hold what they are asked for.
        #[test]
        fn no_second_is_lost_or_counted_twice(unix_s in 0_u64..10_000_000_000, kind in 0_usize..6) {
            let window = Window::ALL[kind];
            let span = window.at(unix_s);
            prop_assert!(span.holds(unix_s));
            prop_assert_eq!(window.at(span.begin_s), span);
            prop_assert_eq!(window.at(span.end_s - 1), span);
            let next = window.at(span.end_s);
            prop_assert_eq!((next.number, next.begin_s), (span.number + 1, span.end_s));
            prop_assert_eq!(span.left_s(unix_s), span.end_s - unix_s);
            // Those of a month and a year begin at midnight of a first.
            if matches!(window, Window::Month | Window::Year) {
                let begin = text(span.begin_s);
                prop_assert!(begin.ends_with("-01T00:00:00"), "{}", begin);
            }
            // A clock that is driven from second to second meets every window in turn.
            prop_assert!(window.at(unix_s + 1).number - span.number <= 1);
        }
    }
}
