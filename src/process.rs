//! The life of the processes: master and worker, load, bind, hand over, signals, reload, drain.
//!
//! ```text
//! cli -> Invocation -> run -+- Test    read, check, print                      check.rs
//!                           +- Signal  read for the pid file, kill(2)          signal.rs
//!                           +- Serve   start.rs, master.rs, reload.rs
//!                                         | link.rs: messages with descriptors
//!                                      worker.rs: control loop -> engine.rs -> shards
//! ```
//! Unsafe code of this room is in `os.rs` alone.

/// One line of an error log: `log!(log, Notice, "exit")`.
macro_rules! log {
    ($log:expr, $level:ident, $($message:tt)+) => {
        $log.write(Level::$level, None, format_args!($($message)+))
    };
}

mod check;
mod cpu;
mod daemon;
mod data_plane;
mod engine;
mod environment;
mod folders;
mod link;
mod listeners;
mod load;
mod logs;
mod master;
mod message;
mod origin;
mod os;
mod pid_file;
mod privileges;
mod reload;
mod restarts;
mod signal;
mod socket;
mod start;
mod upgrade;
mod watch;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::base::process_settings::Level;
use load::Configuration;
use upgrade::Inheritance;

pub use origin::{default_conf, default_error_log, default_prefix, resolve};
pub use signal::Verb;

/// What the command line asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invocation {
    /// `-c`.
    pub conf: Option<PathBuf>,
    /// `-p`.
    pub prefix: Option<PathBuf>,
    /// `-e`.
    pub error_log: Option<PathBuf>,
    /// `-g`.
    pub globals: String,
    /// `-q`.
    pub quiet: bool,
    /// What to do.
    pub task: Task,
}

/// What to do with the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Task {
    /// Serve.
    #[default]
    Serve,
    /// `-t`, and `-T` if `dump`.
    Test {
        /// Print the configuration's texts.
        dump: bool,
    },
    /// `-s`.
    Signal(Verb),
}

/// Does what was asked for; the exit code is nginx's.
pub fn run(invocation: Invocation) -> ExitCode {
    let serves = invocation.task == Task::Serve;
    // Before anything is opened, so that nothing of ours can have the number of what is inherited.
    let inheritance = serves.then(Inheritance::take).flatten();
    dispatch(invocation, inheritance, || ())
}

/// The same for a program that has threads and files of its own: `end` is called when it is over,
/// and the process may end without returning from here, since shards cannot be taken down.
pub fn run_then(invocation: Invocation, end: fn()) -> ExitCode {
    let code = dispatch(invocation, None, end);
    end();
    code
}

/// Holds back the signals that [`run`] reads, in this thread and those it starts from now on. A
/// program with threads of its own calls it before it starts them: one that got such a signal would
/// end the process at once.
///
/// # Errors
/// What signalfd(2) reports.
pub fn hold_signals() -> std::io::Result<()> {
    signal::Signals::new(signal::Role::Master).map(drop)
}

fn dispatch(invocation: Invocation, inheritance: Option<Inheritance>, end: fn()) -> ExitCode {
    os::ignore_broken_pipes();
    let Invocation { conf, prefix, error_log, globals, quiet, task } = invocation;
    let origin = origin::resolve(conf.as_deref(), prefix.as_deref(), error_log.as_deref(), globals);
    let level = if matches!(task, Task::Test { .. }) { Level::Info } else { Level::Notice };
    let log_path = origin.error_log.as_deref().unwrap_or(default_error_log());
    let log = logs::initial(log_path, level).with_console(true);
    match task {
        Task::Serve => master::run(origin, inheritance, log, end),
        Task::Test { dump } => check::run(&origin, quiet, dump, &log),
        Task::Signal(verb) => {
            let read = Configuration::read(&origin, &log);
            let sent = read.is_some_and(|read| signal::send(verb, &read.settings().pid, &log));
            if sent { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}
