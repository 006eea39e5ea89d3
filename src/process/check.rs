//! `-t` and `-T`: everything a start would need is tried, and nothing is left behind but the logs,
//! which are created as nginx creates them.

use std::io::{self, Write};
use std::process::ExitCode;

use super::load::{self, Configuration};
use super::{listeners, pid_file};
use crate::base::process_settings::Level;
use crate::net::error_log::ErrorLog;
use crate::plan::Origin;

/// Checks the configuration, and says so in nginx's words unless `quiet`; `dump` prints its texts.
pub fn run(origin: &Origin, quiet: bool, dump: bool, log: &ErrorLog) -> ExitCode {
    let conf = origin.conf.display();
    let Some(configuration) = checked(origin, quiet, log) else {
        eprintln!("octroi: configuration file {conf} test failed");
        return ExitCode::FAILURE;
    };
    if !quiet {
        eprintln!("octroi: configuration file {conf} test is successful");
    }
    if dump {
        // A reader that closes the pipe early has seen enough.
        let _ = print(&configuration);
    }
    ExitCode::SUCCESS
}

fn checked(origin: &Origin, quiet: bool, log: &ErrorLog) -> Option<Configuration> {
    let configuration = Configuration::read(origin, log)?;
    if !quiet {
        eprintln!("octroi: the configuration file {} syntax is ok", origin.conf.display());
    }
    for notice in &configuration.notices {
        load::report(notice, log);
        // What is graver is on the console already.
        if notice.level > Level::Warn && !quiet {
            eprintln!("octroi: {}", notice.first_line());
        }
    }
    let prepared = configuration.prepare(log).ok()?;
    let fine =
        pid_file::check(&prepared.settings.pid, log) && listeners::check(configuration.plan.listens(), log);
    fine.then_some(configuration)
}

/// Every text that was read, each below a line with its name.
fn print(configuration: &Configuration) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for (path, text) in configuration.sources.iter() {
        writeln!(out, "# configuration file {}:", path.display())?;
        out.write_all(text)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}
