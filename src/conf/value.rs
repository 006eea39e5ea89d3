//! The values of nginx's language. `None` is what nginx calls an invalid value.

/// The largest value of nginx's `size_t`, `off_t` and `time_t` here: it keeps them signed.
const MAX: u64 = i64::MAX as u64;

/// `on` or `off`, in any case.
pub fn flag(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("on") {
        Some(true)
    } else if text.eq_ignore_ascii_case("off") {
        Some(false)
    } else {
        None
    }
}

/// A decimal number without a sign.
pub fn number(text: &str) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.bytes().try_fold(0_u64, |sum, byte| {
        let digit = char::from(byte).to_digit(10)?;
        sum.checked_mul(10)?.checked_add(u64::from(digit)).filter(|&sum| sum <= MAX)
    })
}

/// A number of bytes: `512`, `8k`, `1M`.
pub fn size(text: &str) -> Option<u64> {
    match text.as_bytes().last()? {
        b'k' | b'K' => scaled(text, 1 << 10),
        b'm' | b'M' => scaled(text, 1 << 20),
        _ => number(text),
    }
}

/// A number of bytes that may be large: `512`, `8k`, `1M`, `2g`.
pub fn offset(text: &str) -> Option<u64> {
    match text.as_bytes().last()? {
        b'g' | b'G' => scaled(text, 1 << 30),
        _ => size(text),
    }
}

/// A rate of requests, in thousandths of one a second: `10r/s`, `30r/m`; seconds without a unit. What is
/// less than a thousandth is left off, as in nginx. `None` for nothing at all, too.
pub fn rate(text: &str) -> Option<u64> {
    let (digits, scale) = match (text.strip_suffix("r/s"), text.strip_suffix("r/m")) {
        (Some(digits), _) => (digits, 1),
        (_, Some(digits)) => (digits, 60),
        _ => (text, 1),
    };
    let thousandths = number(digits)?.checked_mul(1000).filter(|&rate| rate > 0)?;
    Some(thousandths / scale)
}

/// A time in milliseconds: `30s`, `1h 30m`, `500ms`; seconds without a unit. No years or months.
pub fn time_ms(text: &str) -> Option<u64> {
    time(text, false)
}

/// A time in seconds: `30`, `1h 30m`, `1y`. No milliseconds.
pub fn time_s(text: &str) -> Option<u64> {
    time(text, true)
}

/// nginx's message for a flag that is neither `on` nor `off`.
pub(super) fn not_a_flag(name: &str, text: &str) -> String {
    format!("invalid value \"{text}\" in \"{name}\" directive, it must be \"on\" or \"off\"")
}

fn scaled(text: &str, scale: u64) -> Option<u64> {
    // The unit is one ASCII byte.
    number(&text[..text.len() - 1])?.checked_mul(scale).filter(|&bytes| bytes <= MAX)
}

/// The units of a time, in the order they must come in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    None,
    Year,
    Month,
    Week,
    Day,
    Hour,
    Minute,
    Second,
    Millisecond,
    /// A number that ends with a space: seconds, and nothing but a plain number after it.
    Space,
}

impl Unit {
    fn seconds(self) -> u64 {
        match self {
            Unit::Year => 365 * 86_400,
            Unit::Month => 30 * 86_400,
            Unit::Week => 7 * 86_400,
            Unit::Day => 86_400,
            Unit::Hour => 3600,
            Unit::Minute => 60,
            Unit::None | Unit::Second | Unit::Millisecond | Unit::Space => 1,
        }
    }
}

fn time(text: &str, in_seconds: bool) -> Option<u64> {
    let per_second = if in_seconds { 1 } else { 1000 };
    let mut total: u64 = 0;
    let mut value: u64 = 0;
    let mut digits = false;
    // A time in milliseconds starts behind the months: it has neither years nor months.
    let mut step = if in_seconds { Unit::None } else { Unit::Month };
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        if byte.is_ascii_digit() {
            value = value.checked_mul(10)?.checked_add(u64::from(byte - b'0')).filter(|&v| v <= MAX)?;
            digits = true;
            continue;
        }
        let unit = match byte {
            b'y' => Unit::Year,
            b'M' => Unit::Month,
            b'w' => Unit::Week,
            b'd' => Unit::Day,
            b'h' => Unit::Hour,
            b'm' if bytes.next_if_eq(&b's').is_some() => Unit::Millisecond,
            b'm' => Unit::Minute,
            b's' => Unit::Second,
            b' ' => Unit::Space,
            _ => return None,
        };
        let late = match unit {
            Unit::Millisecond if in_seconds => true,
            Unit::Space => step >= Unit::Second,
            unit => step >= unit,
        };
        if late {
            return None;
        }
        step = unit;
        let scale = if unit == Unit::Millisecond { 1 } else { unit.seconds() * per_second };
        total = total.checked_add(value.checked_mul(scale)?).filter(|&total| total <= MAX)?;
        value = 0;
        while bytes.next_if_eq(&b' ').is_some() {}
    }
    let rest = value.checked_mul(per_second)?;
    let total = total.checked_add(rest).filter(|&total| total <= MAX)?;
    digits.then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_numbers() {
        assert_eq!(flag("on"), Some(true));
        assert_eq!(flag("OFF"), Some(false));
        assert_eq!(flag("yes"), None);
        assert_eq!(number("0042"), Some(42));
        assert_eq!(number("9223372036854775807"), Some(MAX));
        for wrong in ["", "-1", "+1", "1 ", "1.5", "9223372036854775808", "99999999999999999999999", "\u{b2}"]
        {
            assert_eq!(number(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn rates() {
        let thousandths = ["10r/s", "5", "30r/m", "1r/m"].map(rate);
        assert_eq!(thousandths, [10_000, 5000, 500, 16].map(Some));
        for wrong in ["", "0", "0r/s", "r/s", "1r/h", "1.5r/s", "-1r/s", "9223372036854775807r/s"] {
            assert_eq!(rate(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("0"), Some(0));
        assert_eq!(size("8k"), Some(8192));
        assert_eq!(size("1M"), Some(1 << 20));
        assert_eq!(size("8796093022207m"), Some(MAX - (1 << 20) + 1));
        for wrong in ["", "k", "1g", "8796093022208m", "1kb", "1 k", "-1k", "8\u{212a}"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
        assert_eq!(offset("2g"), Some(2 << 30));
        assert_eq!(offset("2G"), Some(2 << 30));
        assert_eq!(offset("3k"), Some(3072));
        assert_eq!(offset("8589934592g"), None);
    }

    #[test]
    fn times_in_milliseconds() {
        let cases: &[(&str, u64)] = &[
            ("0", 0),
            ("60", 60_000),
            ("60s", 60_000),
            ("500ms", 500),
            ("1h 30m", 5_400_000),
            ("1h30m", 5_400_000),
            ("1m 5", 65_000),
            ("1d  2h", 93_600_000),
            ("1w", 604_800_000),
            ("1s500ms", 1500),
            ("10 ", 10_000),
            ("1m 10 ", 70_000),
        ];
        for (text, expected) in cases {
            assert_eq!(time_ms(text), Some(*expected), "{text}");
        }
        let wrong = [
            "",
            " ",
            "s",
            "1y",
            "1M",
            "1m1h",
            "1s1s",
            "1ms1s",
            "1x",
            "-1",
            "1.5s",
            "30 m",
            "9223372036854776",
        ];
        for wrong in wrong {
            assert_eq!(time_ms(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_in_seconds() {
        assert_eq!(time_s("30"), Some(30));
        assert_eq!(
            time_s("1y 1M 1w 1d 1h 1m 1s"),
            Some(31_536_000 + 2_592_000 + 604_800 + 86_400 + 3600 + 61)
        );
        assert_eq!(time_s("9223372036854775807"), Some(MAX));
        for wrong in ["500ms", "1s500ms", "1M 1y", "1y 1y", "292471208678y", "9223372036854775807s1"] {
            assert_eq!(time_s(wrong), None, "{wrong}");
        }
    }
}
