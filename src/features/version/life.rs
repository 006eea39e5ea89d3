//! `deprecated` and `sunset`.

use crate::base::calendar::{self, DAY_S};
use crate::base::clock;
use crate::conf::{Diagnostic, Directive, Scope};
use crate::http::date;
use crate::pipeline::answer::Answer;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::problem::Problem;
use crate::pipeline::step::{Flow, HeaderFilter, Phase, QuickStep};
use crate::plan::builder::Builder;

/// Compiles what holds here.
///
/// # Errors
/// A day that is none, and an end before the warning of it.
pub fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let deprecated = day(scope, "deprecated")?;
    let sunset = day(scope, "sunset")?;
    let mut fields: Vec<Field> = Vec::new();
    if let Some(Day { at_s, url, .. }) = &deprecated {
        fields.push((b"Deprecation", format!("@{at_s}")));
        fields.extend(url.map(|url| (&b"Link"[..], format!("<{url}>; rel=\"deprecation\""))));
    }
    if let Some(Day { at_s, url, line }) = &sunset {
        if deprecated.as_ref().is_some_and(|deprecated| deprecated.at_s > *at_s) {
            return Err(scope.error(*line, "the sunset is before the deprecation"));
        }
        fields.push((b"Sunset", String::from_utf8_lossy(&date::http(*at_s)).into_owned()));
        fields.extend(url.map(|url| (&b"Link"[..], format!("<{url}>; rel=\"sunset\""))));
        let day = line.arg(0).unwrap_or_default().to_owned();
        b.quick(Phase::Rewrite, Gone { at_s: *at_s, day });
    }
    if !fields.is_empty() {
        b.gateway();
        b.header_filter(Tells(fields.into()));
    }
    Ok(())
}

/// A day that a directive names.
struct Day<'t> {
    /// Its beginning, in Unix seconds.
    at_s: i64,
    url: Option<&'t str>,
    line: &'t Directive,
}

fn day<'t>(scope: &Scope<'t>, name: &str) -> Result<Option<Day<'t>>, Diagnostic> {
    let Some(line) = scope.one(name) else { return Ok(None) };
    let Some(word) = line.args.first() else { return Ok(None) };
    let url = line.args.get(1);
    if word.text == "off" {
        return match url {
            None => Ok(None),
            Some(word) => Err(scope.error_at(line, word, format!("invalid parameter \"{}\"", word.text))),
        };
    }
    let invalid = || scope.error_at(line, word, format!("invalid day \"{}\": YYYY-MM-DD", word.text));
    let at_s = unix_day(&word.text).ok_or_else(invalid)? * DAY_S;
    if let Some(url) = url {
        let is_url = url.text.starts_with("https://") || url.text.starts_with("http://");
        if !is_url || url.text.bytes().any(|byte| byte <= b' ' || matches!(byte, b'<' | b'>' | b'"' | 0x7f)) {
            return Err(scope.error_at(line, url, format!("invalid URL \"{}\"", url.text)));
        }
    }
    Ok(Some(Day { at_s, url: url.map(|word| word.text.as_str()), line }))
}

/// The day `YYYY-MM-DD` as days since 1970.
fn unix_day(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let mut number = |digits: usize| -> Option<i64> {
        let part = parts.next()?;
        (part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit())).then(|| part.parse().ok())?
    };
    let (year, month, day) = (number(4)?, number(2)?, number(2)?);
    let days = calendar::days(year, month, day);
    // A day that the month has not is another one when it is counted back.
    (parts.next().is_none() && (1..=12).contains(&month) && calendar::date(days) == (year, month, day))
        .then_some(days)
}

/// A field's name and value.
type Field = (&'static [u8], String);

/// Tells clients of both days.
struct Tells(Box<[Field]>);

impl HeaderFilter for Tells {
    fn filter(&self, x: &mut Exchange) {
        // An answer to the gateway itself is not sent to anyone.
        if x.depth == 0 {
            self.0.iter().for_each(|(name, value)| x.answer.fields.push(name, value.as_bytes()));
        }
    }
}

/// Answers with 410 from that day on.
struct Gone {
    at_s: i64,
    day: String,
}

impl QuickStep for Gone {
    fn run(&self, x: &mut Exchange) -> Flow {
        if (clock::unix_time(clock::now()).as_secs() as i64) < self.at_s {
            return Flow::Next;
        }
        x.problem = Some(Box::new(Problem::new(format!("this ended on {}", self.day))));
        Flow::Answer(Answer::Status(410))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days() {
        assert_eq!(unix_day("1970-01-01"), Some(0));
        assert_eq!(unix_day("2024-02-29"), Some(19_782));
        for text in [
            "2023-02-29",
            "2026-04-31",
            "2026-00-10",
            "2026-01-00",
            "26-01-01",
            "2026-1-1",
            "2026-01-01-",
            "x",
        ] {
            assert_eq!(unix_day(text), None, "{text}");
        }
    }
}
