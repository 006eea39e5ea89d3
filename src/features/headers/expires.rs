//! `expires`.

use crate::base::clock;
use crate::conf::{Diagnostic, Directive, Scope, value};
use crate::http::{Known, date};
use crate::net::timezone;
use crate::pipeline::connection::push_decimal;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::template::Template;
use crate::plan::builder::Builder;

/// Seconds of a day.
const DAY_S: i64 = 86_400;

/// What `expires epoch` sets.
const EPOCH: &[u8] = b"Thu, 01 Jan 1970 00:00:01 GMT";

/// What `expires max` sets: the last minutes that fit 32 bits, and ten years.
const MAX: &[u8] = b"Thu, 31 Dec 2037 23:55:55 GMT";
const MAX_CACHE_CONTROL: &[u8] = b"max-age=315360000";

/// What one location was told.
pub enum Setting {
    /// A fixed rule.
    Fixed(Rule),
    /// A rule made of variables; `modified` stood before it.
    Variable { rule: Template, modified: bool },
}

/// When an answer expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// It says nothing about that.
    Off,
    /// Long ago.
    Epoch,
    /// In ten years.
    Max,
    /// So many seconds from now.
    Access(i64),
    /// So many seconds after it was modified.
    Modified(i64),
    /// At this second of the local day.
    Daily(i64),
}

impl Setting {
    /// The setting that holds in this block; `None` for `off`.
    ///
    /// # Errors
    /// What nginx refuses, in its words.
    pub fn compile(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<Option<Setting>, Diagnostic> {
        let Some(directive) = scope.one("expires") else { return Ok(None) };
        let wrong = |what: &str| wrong(scope, directive, what);
        let modified = match directive.args.as_slice() {
            [_] => false,
            [first, _] if first.text == "modified" => true,
            _ => return Err(wrong("invalid value")),
        };
        let Some(word) = directive.args.last() else { return Ok(None) };
        let rule = b.template(word)?;
        let Some(text) = rule.as_literal() else { return Ok(Some(Setting::Variable { rule, modified })) };
        match Rule::parse(text, modified).map_err(wrong)? {
            Rule::Off => Ok(None),
            rule => Ok(Some(Setting::Fixed(rule))),
        }
    }

    /// Sets the fields; a value of variables that says nothing sets none.
    pub fn apply(&self, x: &mut Exchange) {
        match self {
            Setting::Fixed(rule) => rule.apply(x),
            Setting::Variable { rule, modified } => {
                if let Ok(rule) = Rule::parse(&rule.value(x), *modified) {
                    rule.apply(x);
                }
            }
        }
    }
}

fn wrong(scope: &Scope<'_>, directive: &Directive, what: &str) -> Diagnostic {
    scope.error(directive, format!("\"expires\" directive {what}"))
}

impl Rule {
    fn parse(text: &[u8], modified: bool) -> Result<Rule, &'static str> {
        match text {
            b"off" if !modified => return Ok(Rule::Off),
            b"epoch" if !modified => return Ok(Rule::Epoch),
            b"max" if !modified => return Ok(Rule::Max),
            b"" => return Err("invalid value"),
            _ => {}
        }
        let (sign, digits) = match text {
            [b'@', ..] if modified => return Err("daily time cannot be used with \"modified\" parameter"),
            [sign @ (b'@' | b'+' | b'-'), rest @ ..] => (*sign, rest),
            _ => (b'+', text),
        };
        let seconds = std::str::from_utf8(digits).ok().and_then(value::time_s);
        // The language's times fit a signed number.
        let seconds = seconds.and_then(|s| i64::try_from(s).ok()).ok_or("invalid value")?;
        match sign {
            b'@' if seconds > DAY_S => Err("daily time value must be less than 24 hours"),
            b'@' => Ok(Rule::Daily(seconds)),
            b'-' if modified => Ok(Rule::Modified(-seconds)),
            b'-' => Ok(Rule::Access(-seconds)),
            _ if modified => Ok(Rule::Modified(seconds)),
            _ => Ok(Rule::Access(seconds)),
        }
    }

    fn apply(self, x: &mut Exchange) {
        let now = clock::unix_time(clock::now()).as_secs() as i64;
        let modified = x.answer.fields.find(Known::LastModified).and_then(date::parse_http);
        let (at, max_age, negative) = match self {
            Rule::Off => return,
            Rule::Epoch => return set(x, EPOCH, b"no-cache"),
            Rule::Max => return set(x, MAX, MAX_CACHE_CONTROL),
            Rule::Access(0) | Rule::Modified(0) => return set(x, &date::http(now), b"max-age=0"),
            Rule::Daily(second) => {
                let at = next(second, now, timezone::utc_offset_s(now));
                (at, at - now, false)
            }
            Rule::Access(after) => (now.saturating_add(after), after, after < 0),
            Rule::Modified(after) => match modified {
                None => (now.saturating_add(after), after, after < 0),
                Some(modified) => {
                    let at = modified.saturating_add(after);
                    (at, at.saturating_sub(now), after < 0)
                }
            },
        };
        let mut cache_control = b"no-cache".to_vec();
        if let (false, Ok(max_age)) = (negative, u64::try_from(max_age)) {
            cache_control.clear();
            cache_control.extend_from_slice(b"max-age=");
            push_decimal(&mut cache_control, max_age);
        }
        set(x, &date::http(at), &cache_control);
    }
}

/// The next time that is this second of the local day.
fn next(second: i64, now: i64, offset_s: i32) -> i64 {
    let local = now.saturating_add(offset_s.into());
    let today = local - local.rem_euclid(DAY_S) + second - i64::from(offset_s);
    if today > now { today } else { today + DAY_S }
}

fn set(x: &mut Exchange, expires: &[u8], cache_control: &[u8]) {
    x.answer.fields.set_known(Known::Expires, b"Expires", expires);
    x.answer.fields.set_known(Known::CacheControl, b"Cache-Control", cache_control);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        for (text, modified, want) in [
            ("off", false, Ok(Rule::Off)),
            ("1d", false, Ok(Rule::Access(86_400))),
            ("-1d", true, Ok(Rule::Modified(-86_400))),
            ("@1h", false, Ok(Rule::Daily(3600))),
            ("", false, Err("invalid value")),
            ("", true, Err("invalid value")),
            ("+", false, Err("invalid value")),
            ("--1", false, Err("invalid value")),
            ("max", true, Err("invalid value")),
        ] {
            assert_eq!(Rule::parse(text.as_bytes(), modified), want, "{text}");
        }
    }

    #[test]
    fn the_next_time_of_day() {
        // 1970-01-02 00:00:00 UTC, in zones two hours east and west.
        assert_eq!(next(3600, 86_400, 0), 86_400 + 3600);
        assert_eq!(next(0, 86_400, 0), 2 * 86_400);
        assert_eq!(next(3 * 3600, 86_400, 7200), 86_400 + 3600);
        assert_eq!(next(3600, 86_400, 7200), 2 * 86_400 - 3600);
        assert_eq!(next(3600, 86_400, -7200), 86_400 + 3 * 3600);
    }
}
