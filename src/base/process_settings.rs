//! What the main context says of the processes themselves, resolved and with defaults applied.
//! The master and the worker's control loop act on it; of it shards see the time to shut down.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::address::Address;

/// The severity of a line of the error log, as `error_log` names it; lower is graver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Level {
    Emerg = 1,
    Alert,
    Crit,
    Error,
    Warn,
    Notice,
    Info,
    Debug,
}

impl Level {
    /// The word nginx uses in the log and in `error_log`.
    pub fn name(self) -> &'static str {
        ["emerg", "alert", "crit", "error", "warn", "notice", "info", "debug"][self as usize - 1]
    }

    /// The level a word of `error_log` names.
    pub fn parse(word: &str) -> Option<Level> {
        use Level::*;
        [Emerg, Alert, Crit, Error, Warn, Notice, Info, Debug].into_iter().find(|l| l.name() == word)
    }
}

/// Where error lines go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LogTarget {
    /// A file, opened with O_APPEND; absolute.
    File(PathBuf),
    /// Standard error.
    Stderr,
    /// A syslog server.
    Syslog(Syslog),
}

/// What `syslog:server=...` says, with defaults applied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Syslog {
    /// Where datagrams are sent.
    pub server: Address,
    /// The same as it was written, for messages.
    pub name: String,
    /// `facility=`: 0 (kern) to 23 (local7), RFC 3164, 4.1.1.
    pub facility: u8,
    /// `severity=`: that of the access log's lines; a line of the error log has its own.
    pub severity: Level,
    /// `tag=`.
    pub tag: String,
    /// Whether messages name this host: not with `nohostname`.
    pub hostname: bool,
}

/// One `error_log` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorLog {
    /// Where to.
    pub target: LogTarget,
    /// The least grave level that is written.
    pub level: Level,
}

/// How many shards (`worker_processes`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shards {
    /// A number.
    Count(usize),
    /// One per CPU that the affinity mask and the cgroup quota allow.
    Auto,
}

/// `worker_cpu_affinity`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Affinity {
    /// Not given: shards are pinned only under `worker_processes auto`.
    Unset,
    /// `auto [mask]`: one CPU each, of those in the mask (all if `None`).
    Auto(Option<Vec<usize>>),
    /// One CPU set per shard; the last serves the shards beyond the list.
    Masks(Vec<Vec<usize>>),
}

/// One `env` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Never empty, without `=` and NUL.
    pub name: OsString,
    /// What it is set to, without NUL; `None` passes on what the master has.
    pub value: Option<OsString>,
}

/// The processes' own settings (main context).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessSettings {
    /// `daemon`; default on.
    pub daemon: bool,
    /// `master_process`; default on.
    pub master_process: bool,
    /// `pid`; absolute.
    pub pid: PathBuf,
    /// `user NAME [GROUP]`, as written; applied only when root.
    pub user: Option<(String, Option<String>)>,
    /// `worker_processes`; default 1.
    pub shards: Shards,
    /// `worker_cpu_affinity`.
    pub affinity: Affinity,
    /// `worker_rlimit_nofile`: RLIMIT_NOFILE of the worker.
    pub rlimit_nofile: Option<u64>,
    /// `worker_rlimit_core`: RLIMIT_CORE of the worker, bytes.
    pub rlimit_core: Option<u64>,
    /// `worker_priority`: the worker's nice value; 0 leaves it as it is.
    pub priority: i32,
    /// `working_directory`: as written, so relative to where the master was started.
    pub working_directory: Option<PathBuf>,
    /// `env`, in order.
    pub environment: Vec<Variable>,
    /// `worker_shutdown_timeout`: how long what is old may go on; `None` for as long as it likes.
    pub shutdown_timeout: Option<Duration>,
    /// Some `proxy_bind` is `transparent`: the worker keeps the right to send from any address.
    pub transparent: bool,
    /// Some `error_log`, at any level, names stderr: it is then not redirected to a file.
    pub uses_stderr: bool,
    /// The main context's `error_log` lines, default applied (never empty).
    pub error_logs: Vec<ErrorLog>,
}
