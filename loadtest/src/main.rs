//! `octroi-load`: reads the command line, runs, prints, and says by its exit
//! code whether there were errors.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use octroi_load::cli::{Arguments, Command, Compare, Options};
use octroi_load::compare::{Comparison, Side};
use octroi_load::report;
use octroi_load::run::run;
use serde_json::Value;

/// Too many errors, or the run failed.
const EXIT_ERRORS: u8 = 1;
/// The command line is wrong; clap's own code for it.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nothing can be done about a closed terminal.
            let _ = error.print();
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return ExitCode::from(if asked { 0 } else { EXIT_USAGE });
        }
    };
    let result = match &arguments.command {
        Some(Command::Compare(compare)) => compare_two(compare),
        None => load_one(arguments.url.as_deref().unwrap_or_default(), &arguments.options),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_ERRORS),
        Err(Failure { words, code }) => {
            let _ = writeln!(io::stderr(), "octroi-load: {words}");
            ExitCode::from(code)
        }
    }
}

/// Why there is no report.
struct Failure {
    words: String,
    code: u8,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self { words: error.to_string(), code: EXIT_ERRORS }
    }
}

fn usage(words: String) -> Failure {
    Failure { words, code: EXIT_USAGE }
}

/// Whether the errors stayed within bounds.
fn load_one(url: &str, options: &Options) -> Result<bool, Failure> {
    let load = options.load().map_err(usage)?;
    let target = options.target(url).map_err(usage)?;
    let outcome = run(&target, &load)?;
    print(options, &report::text(&target, &load, &outcome), || report::json(&target, &load, &outcome))?;
    Ok(outcome.error_count() <= options.max_errors)
}

fn compare_two(compare: &Compare) -> Result<bool, Failure> {
    let options = &compare.options;
    let load = options.load().map_err(usage)?;
    let a = Side { target: options.target(&compare.url_a).map_err(usage)?, pid: compare.pid_a };
    let b = Side { target: options.target(&compare.url_b).map_err(usage)?, pid: compare.pid_b };
    let comparison = Comparison::run(&a, &b, &load, compare.rounds, |line| {
        // With JSON on standard output the rounds are for a watching person only.
        if !options.json {
            let _ = write!(io::stdout(), "{line}");
        } else if io::stderr().is_terminal() {
            let _ = write!(io::stderr(), "{line}");
        }
    })?;
    print(options, &comparison.summary(), || comparison.json())?;
    Ok(comparison.error_count() <= options.max_errors)
}

/// Prints the report, as JSON if asked to, and writes the file.
fn print(options: &Options, text: &str, json: impl Fn() -> Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if options.json {
        writeln!(out, "{:#}", json())?;
    } else {
        write!(out, "{text}")?;
    }
    // Last, so that a bad path does not cost the report.
    match &options.out {
        Some(path) => fs::write(path, format!("{:#}\n", json())),
        None => Ok(()),
    }
}
