//! One `access_log` line of the configuration, read.

use super::escape::Escape;
use crate::conf::value;
use crate::features::core::syslog;
use crate::net::log_buffer::Buffering;
use std::time::Duration;

/// What the arguments of `access_log` say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line<'t> {
    /// `off`
    Off,
    /// Anything else.
    Log {
        /// Where lines go.
        target: Target<'t>,
        /// The format's name.
        format: &'t str,
        /// The number of the argument with `if=`, and the text behind it.
        condition: Option<(usize, &'t str)>,
    },
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target<'t> {
    /// A file.
    File {
        /// The path as written.
        path: &'t str,
        /// `buffer=`, `gzip=` and `flush=`; `None` without a buffer, which leaves it to other lines
        /// for the same file.
        buffering: Option<Buffering>,
    },
    /// A file whose path, this one, holds variables.
    Named(&'t str),
    /// A syslog server: what stands behind `syslog:`.
    Syslog(&'t str),
}

/// A message, and the number of the argument it is about.
pub(super) type Fault = (usize, String);

/// The format of a line that names none.
pub(super) const DEFAULT_FORMAT: &str = "combined";

/// Bytes of the buffer of a compressed log without `buffer=`.
const GZIP_BUFFER_BYTES: u64 = 64 * 1024;

/// The level of `gzip` without one: the fastest.
const GZIP_LEVEL: u32 = 1;

/// Reads the arguments; `known` tells which formats there are.
///
/// # Errors
/// nginx's messages, in the order nginx looks for them.
pub(super) fn read<'t>(args: &[&'t str], known: impl Fn(&str) -> bool) -> Result<Line<'t>, Fault> {
    let path = args.first().copied().unwrap_or_default();
    if path == "off" {
        return match args.get(1) {
            Some(word) => Err((1, format!("invalid parameter \"{word}\""))),
            None => Ok(Line::Off),
        };
    }
    let format = args.get(1).copied().unwrap_or(DEFAULT_FORMAT);
    if !known(format) {
        return Err((1, format!("unknown log format \"{format}\"")));
    }
    let Parameters { bytes, flush, gzip, condition } = parameters(args)?;
    if bytes == 0 && flush.is_some() {
        return Err((0, format!("no buffer is defined for access_log \"{path}\"")));
    }
    let target = match path.strip_prefix(syslog::PREFIX) {
        Some(_) if bytes > 0 => return Err((0, "logs to syslog cannot be buffered".to_owned())),
        Some(parameters) => Target::Syslog(parameters),
        None if path.contains('$') && bytes > 0 => {
            return Err((0, "buffered logs cannot have variables in name".to_owned()));
        }
        None if path.contains('$') => Target::Named(path),
        None => {
            // What does not fit in memory is bounded when the buffer is made.
            let held = usize::try_from(bytes).unwrap_or(usize::MAX);
            let buffering = (bytes > 0).then_some(Buffering::Held { bytes: held, flush, gzip });
            Target::File { path, buffering }
        }
    };
    Ok(Line::Log { target, format, condition })
}

/// What follows the format.
#[derive(Default)]
struct Parameters<'t> {
    bytes: u64,
    flush: Option<Duration>,
    gzip: Option<u32>,
    condition: Option<(usize, &'t str)>,
}

fn parameters<'t>(args: &[&'t str]) -> Result<Parameters<'t>, Fault> {
    let mut said = Parameters::default();
    for (at, word) in args.iter().copied().enumerate().skip(2) {
        if let Some(size) = word.strip_prefix("buffer=") {
            said.bytes = value::size(size)
                .filter(|&size| size > 0)
                .ok_or_else(|| (at, format!("invalid buffer size \"{size}\"")))?;
        } else if let Some(time) = word.strip_prefix("flush=") {
            let time_ms = value::time_ms(time)
                .filter(|&time_ms| time_ms > 0)
                .ok_or_else(|| (at, format!("invalid flush time \"{time}\"")))?;
            said.flush = Some(Duration::from_millis(time_ms));
        } else if word == "gzip" {
            said.gzip = Some(GZIP_LEVEL);
        } else if let Some(level) = word.strip_prefix("gzip=") {
            let number = level.parse().ok().filter(|level| (1..=9).contains(level));
            let invalid = || (at, format!("invalid compression level \"{level}\""));
            said.gzip = Some(number.ok_or_else(invalid)?);
        } else if let Some(text) = word.strip_prefix("if=") {
            said.condition = Some((at, text));
        } else {
            return Err((at, format!("invalid parameter \"{word}\"")));
        }
    }
    if said.gzip.is_some() && said.bytes == 0 {
        said.bytes = GZIP_BUFFER_BYTES;
    }
    Ok(said)
}

/// The escaping that the strings of `log_format` begin with, and how many of them it takes.
///
/// # Errors
/// nginx's message for one it does not know.
pub(super) fn escaping(first: Option<&str>) -> Result<(Escape, usize), String> {
    match first.and_then(|word| word.strip_prefix("escape=")) {
        None => Ok((Escape::Default, 0)),
        Some(word) => match Escape::parse(word) {
            Some(escape) => Ok((escape, 1)),
            None => Err(format!("unknown log format escaping \"{word}\"")),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn line<'t>(args: &[&'t str]) -> Result<Line<'t>, Fault> {
        read(args, |name| ["combined", "main"].contains(&name))
    }

    fn message(args: &[&str]) -> String {
        line(args).unwrap_err().1
    }

    #[test]
    fn lines() {
        let held = |bytes, gzip, flush| Some(Buffering::Held { bytes, flush, gzip });
        let log = |target, format, condition| Ok(Line::Log { target, format, condition });
        let file = |path, buffering| Target::File { path, buffering };
        assert_eq!(line(&["off"]), Ok(Line::Off));
        assert_eq!(line(&["a.log"]), log(file("a.log", None), "combined", None));
        let minute = Some(Duration::from_secs(60));
        assert_eq!(
            line(&["a.log", "main", "if=$x", "flush=1m", "buffer=4k"]),
            log(file("a.log", held(4096, None, minute)), "main", Some((2, "$x")))
        );
        assert_eq!(
            line(&["a.log", "main", "gzip"]),
            log(file("a.log", held(65_536, Some(1), None)), "main", None)
        );
        assert_eq!(
            line(&["a.log", "main", "gzip=9", "buffer=1k", "flush=1m"]),
            log(file("a.log", held(1024, Some(9), minute)), "main", None)
        );
        assert_eq!(line(&["/x/$host", "main"]), log(Target::Named("/x/$host"), "main", None));
        assert_eq!(line(&["syslog:server=a", "main"]), log(Target::Syslog("server=a"), "main", None));
    }

    #[test]
    fn errors_are_nginxs() {
        assert_eq!(line(&["off", "main"]).unwrap_err(), (1, "invalid parameter \"main\"".to_owned()));
        assert_eq!(message(&["a.log", "nope"]), "unknown log format \"nope\"");
        assert_eq!(message(&["a.log", "buffer=4k"]), "unknown log format \"buffer=4k\"");
        assert_eq!(message(&["a.log", "main", "buffer=0"]), "invalid buffer size \"0\"");
        assert_eq!(message(&["a.log", "main", "buffer="]), "invalid buffer size \"\"");
        assert_eq!(message(&["a.log", "main", "flush=x"]), "invalid flush time \"x\"");
        assert_eq!(message(&["a.log", "main", "flush=5s"]), "no buffer is defined for access_log \"a.log\"");
        assert_eq!(message(&["a.log", "main", "bufer=5"]), "invalid parameter \"bufer=5\"");
        assert_eq!(message(&["a.log", "main", "gzipped"]), "invalid parameter \"gzipped\"");
        assert_eq!(message(&["a.log", "main", "gzip=0"]), "invalid compression level \"0\"");
        assert_eq!(message(&["a.log", "main", "gzip="]), "invalid compression level \"\"");
        assert_eq!(message(&["$a", "main", "gzip"]), "buffered logs cannot have variables in name");
        assert_eq!(message(&["syslog:a", "main", "buffer=1k"]), "logs to syslog cannot be buffered");
        assert_eq!(escaping(Some("escape=xml")).unwrap_err(), "unknown log format escaping \"xml\"");
    }

    #[test]
    fn escapings() {
        assert_eq!(escaping(Some("escape=none")), Ok((Escape::None, 1)));
        assert_eq!(escaping(Some("$a")), Ok((Escape::Default, 0)));
        assert_eq!(escaping(None), Ok((Escape::Default, 0)));
    }
}
