//! One `access_log` line of the configuration, read.

use super::escape::Escape;
use crate::conf::value;
use crate::net::log_buffer::Buffering;
use std::time::Duration;

/// What the arguments of `access_log` say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line<'t> {
    /// `off`
    Off,
    /// Anything else.
    File {
        /// The path as written.
        path: &'t str,
        /// The format's name.
        format: &'t str,
        /// `buffer=` and `flush=`; `None` without `buffer=`, which leaves it to other lines for the
        /// same file.
        buffering: Option<Buffering>,
        /// The number of the argument with `if=`, and the text behind it.
        condition: Option<(usize, &'t str)>,
    },
}

/// A message, and the number of the argument it is about.
pub(super) type Fault = (usize, String);

/// The format of a line that names none.
pub(super) const DEFAULT_FORMAT: &str = "combined";

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
    if path.starts_with("syslog:") {
        return Err((
            0,
            "logging to syslog is not built yet: \"access_log\" needs the path of a file".to_owned(),
        ));
    }
    if path.contains('$') {
        return Err((0, "variables in the path of \"access_log\" are not built yet".to_owned()));
    }
    let format = args.get(1).copied().unwrap_or(DEFAULT_FORMAT);
    if !known(format) {
        return Err((1, format!("unknown log format \"{format}\"")));
    }
    let (mut bytes, mut flush, mut condition) = (0, None, None);
    for (at, word) in args.iter().copied().enumerate().skip(2) {
        if let Some(size) = word.strip_prefix("buffer=") {
            bytes = value::size(size)
                .filter(|&size| size > 0)
                .ok_or_else(|| (at, format!("invalid buffer size \"{size}\"")))?;
        } else if let Some(time) = word.strip_prefix("flush=") {
            let time_ms = value::time_ms(time)
                .filter(|&time_ms| time_ms > 0)
                .ok_or_else(|| (at, format!("invalid flush time \"{time}\"")))?;
            flush = Some(Duration::from_millis(time_ms));
        } else if word == "gzip" || word.starts_with("gzip=") {
            return Err((
                at,
                "compressed logs are not built yet: \"access_log\" takes no \"gzip\"".to_owned(),
            ));
        } else if let Some(text) = word.strip_prefix("if=") {
            condition = Some((at, text));
        } else {
            return Err((at, format!("invalid parameter \"{word}\"")));
        }
    }
    let buffering = match bytes {
        0 if flush.is_some() => {
            return Err((0, format!("no buffer is defined for access_log \"{path}\"")));
        }
        0 => None,
        // What does not fit in memory is bounded when the buffer is made.
        bytes => Some(Buffering::Held { bytes: usize::try_from(bytes).unwrap_or(usize::MAX), flush }),
    };
    Ok(Line::File { path, format, buffering, condition })
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
        assert_eq!(line(&["off"]).unwrap(), Line::Off);
        assert_eq!(
            line(&["a.log"]).unwrap(),
            Line::File { path: "a.log", format: "combined", buffering: None, condition: None }
        );
        let flush = Some(Duration::from_secs(60));
        assert_eq!(
            line(&["a.log", "main", "if=$x", "flush=1m", "buffer=4k"]).unwrap(),
            Line::File {
                path: "a.log",
                format: "main",
                buffering: Some(Buffering::Held { bytes: 4096, flush }),
                condition: Some((2, "$x"))
            }
        );
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
        assert_eq!(escaping(Some("escape=xml")).unwrap_err(), "unknown log format escaping \"xml\"");
    }

    #[test]
    fn what_is_not_built_is_named() {
        assert!(message(&["syslog:server=127.0.0.1"]).contains("syslog"));
        assert!(message(&["/var/log/$host.log"]).contains("variables"));
        assert!(message(&["a.log", "main", "gzip=5"]).contains("compressed"));
    }

    #[test]
    fn escapings() {
        assert_eq!(escaping(Some("escape=none")), Ok((Escape::None, 1)));
        assert_eq!(escaping(Some("$a")), Ok((Escape::Default, 0)));
        assert_eq!(escaping(None), Ok((Escape::Default, 0)));
    }
}
