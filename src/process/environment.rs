//! `env`: what of the environment a worker, and a binary that takes over, gets to see.

use std::env;
use std::ffi::{OsStr, OsString};

use crate::base::process_settings::Variable;

/// Kept whatever the configuration says. The time zone as in nginx; the driver and the backtraces
/// because they are asked for by whoever starts the process, and nothing else could say them.
const KEPT: &[&str] = &["TZ", "MONOIO_FORCE_LEGACY_DRIVER", "RUST_BACKTRACE"];

/// The environment that `env` lines leave, each name once: of two lines the first counts, and a
/// line without a value passes on what this process has.
pub fn left_by(lines: &[Variable]) -> Vec<(OsString, OsString)> {
    from(lines, |name| env::var_os(name))
}

fn from(lines: &[Variable], ours: impl Fn(&OsStr) -> Option<OsString>) -> Vec<(OsString, OsString)> {
    let mut left: Vec<(OsString, OsString)> = Vec::new();
    let kept = KEPT.iter().map(|name| Variable { name: OsString::from(name), value: None });
    for Variable { name, value } in lines.iter().cloned().chain(kept) {
        let known = left.iter().any(|(other, _)| *other == name);
        if let (false, Some(value)) = (known, value.or_else(|| ours(&name))) {
            left.push((name, value));
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_left_and_the_time_zone() {
        let line = |name: &str, value: Option<&str>| Variable {
            name: OsString::from(name),
            value: value.map(OsString::from),
        };
        let ours = |name: &OsStr| match name.to_str() {
            Some("HOME") => Some(OsString::from("/root")),
            Some("TZ") => Some(OsString::from("UTC")),
            _ => None,
        };
        let text = |lines: &[Variable]| -> Vec<String> {
            let all = from(lines, ours).into_iter();
            all.map(|(name, value)| format!("{}={}", name.display(), value.display())).collect()
        };
        assert_eq!(text(&[]), ["TZ=UTC"]);
        assert_eq!(text(&[line("HOME", None), line("ABSENT", None)]), ["HOME=/root", "TZ=UTC"]);
        let twice = [line("A", Some("1")), line("A", Some("2")), line("TZ", Some("Asia/Tokyo"))];
        assert_eq!(text(&twice), ["A=1", "TZ=Asia/Tokyo"]);
        assert_eq!(text(&[line("A", Some(""))]), ["A=", "TZ=UTC"]);
    }
}
