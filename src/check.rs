//! `octroi check`: what of a configuration works here, what is read without effect, and what is
//! refused, each with its place and what to do instead. It goes on after each finding, opens nothing
//! but the configuration's texts, and changes nothing.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::base::json::quoted;
use crate::conf::{Disk, Finding, Outcome, Place, Sources};
use crate::features::survey::{Survey, advice, survey};
use crate::process;

/// All is supported, or accepted without effect.
const ALL_SUPPORTED: u8 = 0;
/// Something is refused.
const REFUSED: u8 = 1;
/// The configuration, or the command line, cannot be read.
const UNREADABLE: u8 = 2;

/// Runs the verb with what follows it on the command line.
pub fn run(arguments: &[OsString]) -> ExitCode {
    let wanted = match Wanted::parse(arguments) {
        Ok(wanted) => wanted,
        Err(message) => {
            eprintln!("octroi: {message}\nusage: octroi check [file] [-p prefix] [--json]");
            return ExitCode::from(UNREADABLE);
        }
    };
    // The file is relative to where one stands, unlike that of -c.
    let here = std::env::current_dir().unwrap_or_default();
    let conf = wanted.conf.map_or_else(|| process::default_conf().to_owned(), |conf| here.join(conf));
    let origin = process::resolve(Some(&conf), wanted.prefix.as_deref(), None, String::new());
    let survey = survey(&origin, &mut Disk);
    let report = if wanted.json { json(&conf, &survey) } else { text(&survey) };
    // A pager that was left early has shown enough.
    let _ = io::stdout().write_all(report.as_bytes());
    ExitCode::from(code(&survey))
}

/// What the command line asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    conf: Option<PathBuf>,
    prefix: Option<PathBuf>,
    json: bool,
}

impl Wanted {
    fn parse(arguments: &[OsString]) -> Result<Wanted, String> {
        let mut wanted = Wanted::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.to_str() {
                Some("--json") => wanted.json = true,
                Some("-p") => {
                    let prefix = arguments.next().ok_or("option \"-p\" requires directory name")?;
                    wanted.prefix = Some(prefix.into());
                }
                Some(other) if other.starts_with('-') => return Err(format!("invalid option: \"{other}\"")),
                _ if wanted.conf.is_none() => wanted.conf = Some(argument.into()),
                _ => return Err(format!("invalid option: \"{}\"", argument.display())),
            }
        }
        Ok(wanted)
    }
}

fn code(survey: &Survey) -> u8 {
    let refused = survey.findings.iter().any(|finding| matches!(finding.outcome, Outcome::Refused(_)));
    match (&survey.unreadable, refused) {
        (Some(_), _) => UNREADABLE,
        (None, true) => REFUSED,
        (None, false) => ALL_SUPPORTED,
    }
}

/// `FILE:LINE`; nothing for what is about the whole.
fn place_text(place: Option<Place>, sources: &Sources) -> String {
    place.map_or_else(String::new, |place| format!("{}:{}", sources.path(place.file).display(), place.line))
}

/// What is to be done about comes first, what works last, by name.
fn text(survey: &Survey) -> String {
    let sources = &survey.tree.sources;
    let (mut refused, mut accepted) = (String::new(), String::new());
    let mut counts = [0_usize; 3];
    let mut works: Vec<(&str, String, usize)> = Vec::new();
    for finding in &survey.findings {
        let (place, name) = (place_text(finding.place, sources), &finding.name);
        match &finding.outcome {
            Outcome::Refused(error) => {
                counts[0] += 1;
                let at = if place.is_empty() { String::new() } else { format!("{place}: ") };
                let _ = writeln!(refused, "  {at}{}\n      instead: {}", error.message, advice(error));
            }
            Outcome::Accepted(why) => {
                counts[1] += 1;
                let _ = writeln!(accepted, "  {place}: \"{name}\" has no effect: {why}");
            }
            Outcome::Works => {
                counts[2] += 1;
                match works.iter_mut().find(|(known, ..)| *known == name) {
                    Some((_, _, more)) => *more += 1,
                    None => works.push((name, place, 0)),
                }
            }
        }
    }
    let mut out = String::new();
    for (title, body, count) in [
        ("refused", refused, counts[0]),
        ("accepted without effect (nothing to do; the lines may go)", accepted, counts[1]),
    ] {
        if count > 0 {
            let _ = writeln!(out, "{title}: {count}\n{body}");
        }
    }
    let _ = writeln!(out, "supported: {}", counts[2]);
    works.sort();
    for (name, place, more) in works {
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let _ = writeln!(out, "  {name}  {place}{more}");
    }
    if let Some(error) = &survey.unreadable {
        let _ = writeln!(out, "\nnot read to its end: {error}");
    }
    out
}

/// One object; the lists hold every directive, in the order of the text.
fn json(conf: &Path, survey: &Survey) -> String {
    let sources = &survey.tree.sources;
    let list = |wanted: fn(&Outcome) -> bool| {
        let chosen = survey.findings.iter().filter(|finding| wanted(&finding.outcome));
        chosen.map(|finding| object(finding, sources)).collect::<Vec<_>>().join(",")
    };
    let unreadable = survey.unreadable.as_ref().map_or("null".to_owned(), |error| {
        format!("{{{},\"message\":{}}}", place_json(error.place, sources), quoted(&error.message))
    });
    format!(
        "{{\"configuration\":{},\"code\":{},\"error\":{unreadable},\"refused\":[{}],\"without_effect\":[{}],\"supported\":[{}]}}\n",
        quoted(&conf.to_string_lossy()),
        code(survey),
        list(|outcome| matches!(outcome, Outcome::Refused(_))),
        list(|outcome| matches!(outcome, Outcome::Accepted(_))),
        list(|outcome| matches!(outcome, Outcome::Works)),
    )
}

fn object(finding: &Finding, sources: &Sources) -> String {
    let more = match &finding.outcome {
        Outcome::Works => String::new(),
        Outcome::Accepted(why) => format!(",\"reason\":{}", quoted(why)),
        Outcome::Refused(error) => {
            format!(",\"message\":{},\"instead\":{}", quoted(&error.message), quoted(&advice(error)))
        }
    };
    format!("{{\"directive\":{},{}{more}}}", quoted(&finding.name), place_json(finding.place, sources))
}

fn place_json(place: Option<Place>, sources: &Sources) -> String {
    match place {
        Some(place) => {
            let file = quoted(&sources.path(place.file).to_string_lossy());
            format!("\"file\":{file},\"line\":{}", place.line)
        }
        None => "\"file\":null,\"line\":null".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &[&str]) -> Result<Wanted, String> {
        Wanted::parse(&line.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn command_lines() {
        let wanted =
            |conf: Option<&str>, json| Ok(Wanted { conf: conf.map(PathBuf::from), prefix: None, json });
        assert_eq!(parsed(&[]), wanted(None, false));
        assert_eq!(parsed(&["--json", "a.conf"]), wanted(Some("a.conf"), true));
        assert_eq!(parsed(&["a", "b"]), Err("invalid option: \"b\"".to_owned()));
        assert_eq!(parsed(&["-x"]), Err("invalid option: \"-x\"".to_owned()));
        assert_eq!(parsed(&["-p"]), Err("option \"-p\" requires directory name".to_owned()));
    }
}
