//! Changing the binary while it serves, as nginx does it:
//!
//! ```text
//! USR2    old master: pid file becomes PID.oldbin, the file at this program's path is started with
//!         the listening sockets; it writes a pid file of its own once it serves
//! WINCH   old master: its worker finishes what is under way; the sockets stay open
//! QUIT    old master: the end; or HUP: its worker starts again, and QUIT to the new master
//! ```
//! The sockets' numbers travel in nginx's own environment variable and form, so that an nginx can be
//! changed for Octroi in the same way, and back. A group of SO_REUSEPORT sockets travels whole.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, getppid};

use super::data_plane::DataPlane;
use super::listeners::Others;
use super::master::{End, Master};
use super::{environment, os};
use crate::base::process_settings::Level;
use crate::net::error_log::{ErrorLog, OsError};

/// The environment variable with the sockets' numbers, each followed by a semicolon.
const VARIABLE: &str = "NGINX";

/// What the pid file of a master is called besides while another binary runs.
const OLD_SUFFIX: &str = ".oldbin";

/// How this program was started, to start its next version in the same way.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    name: OsString,
    arguments: Vec<OsString>,
}

impl Program {
    /// This process's. What was found through PATH is looked up now: later its file may be another
    /// one, and the kernel would only remember the old one.
    pub fn of_this_process() -> Program {
        let mut arguments = env::args_os();
        let name = arguments.next().unwrap_or_default();
        let written = PathBuf::from(&name);
        let path = match written.components().count() {
            0 | 1 => env::current_exe().unwrap_or(written),
            _ => written,
        };
        Program { path, name, arguments: arguments.collect() }
    }

    /// Starts the program that stands at the path now, with these sockets open in it.
    fn start(
        &self,
        sockets: &[BorrowedFd<'_>],
        environment: Vec<(OsString, OsString)>,
    ) -> io::Result<Option<Pid>> {
        let numbers: String = sockets.iter().map(|socket| format!("{};", socket.as_raw_fd())).collect();
        let mut command = Command::new(&self.path);
        command.arg0(&self.name).args(&self.arguments);
        command.env_clear().envs(environment).env(VARIABLE, numbers);
        // Nothing else is started meanwhile: the master has one thread.
        let _passed = Passed::on(sockets)?;
        let child = command.spawn()?;
        Ok(i32::try_from(child.id()).ok().and_then(Pid::from_raw))
    }
}

/// Sockets that stay open in a program that is started; they are closed in it again from the drop on.
struct Passed<'a>(&'a [BorrowedFd<'a>]);

impl<'a> Passed<'a> {
    fn on(sockets: &'a [BorrowedFd<'a>]) -> io::Result<Passed<'a>> {
        let passed = Passed(sockets);
        sockets.iter().try_for_each(|socket| fcntl_setfd(socket, FdFlags::empty()))?;
        Ok(passed)
    }
}

impl Drop for Passed<'_> {
    fn drop(&mut self) {
        for socket in self.0 {
            // The descriptor is open, which is all that this call asks for.
            let _ = fcntl_setfd(socket, FdFlags::CLOEXEC);
        }
    }
}

/// The listening sockets that the master before left to this process.
#[derive(Debug)]
pub struct Inheritance {
    variable: String,
    /// In the order they were named.
    pub sockets: Vec<OwnedFd>,
    refused: Vec<String>,
    predecessor: Option<Pid>,
}

impl Inheritance {
    /// Takes over what the environment names; to be called before this process opens a socket of
    /// its own. `None` when it names nothing.
    pub fn take() -> Option<Inheritance> {
        let variable = env::var(VARIABLE).ok()?;
        let (numbers, mut refused) = parse(&variable);
        let mut sockets = Vec::new();
        for number in numbers {
            match os::take_over_listener(number) {
                Ok(socket) => sockets.push(socket),
                Err(error) => refused.push(format!("socket {number} was not inherited: {error}")),
            }
        }
        // Somebody's own variable of that name, who knows nothing of this.
        if sockets.is_empty() {
            return None;
        }
        Some(Inheritance { variable, sockets, refused, predecessor: getppid() })
    }

    /// Says what was inherited.
    pub fn report(&self, log: &ErrorLog) {
        log!(log, Notice, "using inherited sockets from \"{}\"", self.variable);
        self.refused.iter().for_each(|text| log!(log, Emerg, "{text}"));
    }
}

/// The numbers, and what is wrong with the rest.
fn parse(variable: &str) -> (Vec<RawFd>, Vec<String>) {
    let mut numbers = Vec::new();
    let mut rest = variable;
    while let Some((word, after)) = rest.split_once([':', ';']) {
        match word.parse::<RawFd>().ok().filter(|number| *number >= 0) {
            Some(number) => numbers.push(number),
            None => {
                let message = format!(
                    "invalid socket number \"{rest}\" in {VARIABLE} environment variable, ignoring the rest of the variable"
                );
                return (numbers, vec![message]);
            }
        }
        rest = after;
    }
    match rest {
        "" => (numbers, Vec::new()),
        _ => {
            let message =
                format!("invalid socket number \"{rest}\" in {VARIABLE} environment variable, ignoring");
            (numbers, vec![message])
        }
    }
}

/// The master's view of a change of binary.
#[derive(Debug)]
pub struct Upgrade {
    program: Program,
    /// The master that started this one with its sockets.
    predecessor: Option<Pid>,
    /// The master that this one started, until it ends.
    successor: Option<Pid>,
    /// This process left the terminal, or was never at one.
    detached: bool,
    /// WINCH came: no worker until HUP.
    pub(super) no_accept: bool,
}

impl Upgrade {
    /// Nothing has been changed yet.
    pub fn new(program: Program, inheritance: Option<&Inheritance>, detached: bool) -> Upgrade {
        let predecessor = inheritance.and_then(|inheritance| inheritance.predecessor);
        let detached = detached || inheritance.is_some();
        Upgrade { program, predecessor, successor: None, detached, no_accept: false }
    }

    /// Who else has the listening sockets, and so the files of Unix ones.
    pub fn others(&self) -> Others {
        if self.successor.is_some() {
            Others::Successor
        } else if self.predecessor_runs() {
            Others::Predecessor
        } else {
            Others::Nobody
        }
    }

    /// Where this master's pid file is when the configuration puts it at `path`.
    pub fn pid_path(&self, path: &Path) -> PathBuf {
        if self.successor.is_some() { old_path(path) } else { path.to_owned() }
    }

    fn predecessor_runs(&self) -> bool {
        self.predecessor.is_some() && getppid() == self.predecessor
    }
}

fn old_path(path: &Path) -> PathBuf {
    let mut old = path.as_os_str().to_owned();
    old.push(OLD_SUFFIX);
    PathBuf::from(old)
}

impl Master {
    /// What a signal will do, for the log, where that depends.
    pub(super) fn action(&self, signal: i32) -> Option<&'static str> {
        let upgrade = &self.upgrade;
        match signal {
            libc::SIGUSR2 if upgrade.successor.is_some() || upgrade.predecessor_runs() => Some(", ignoring"),
            libc::SIGUSR2 => Some(", changing binary"),
            libc::SIGWINCH if self.heeds_winch() => Some(", stop accepting connections"),
            _ => None,
        }
    }

    /// A terminal sends WINCH when its window changes: at one it means something only when there is
    /// another master to take over.
    pub(super) fn heeds_winch(&self) -> bool {
        self.upgrade.detached || self.upgrade.successor.is_some()
    }

    /// USR2.
    pub(super) fn change_binary(&mut self) {
        let upgrade = &self.upgrade;
        if upgrade.successor.is_some() || upgrade.predecessor_runs() {
            log!(
                self.log,
                Crit,
                "the changing binary signal is ignored: you should shutdown or terminate before either old or new binary's process"
            );
            return;
        }
        log!(self.log, Notice, "changing binary");
        let path = &self.in_force.settings.pid;
        let (path, old) = (path.display(), old_path(path));
        let shown = upgrade.program.path.display();
        if let Err(error) = fs::rename(&self.in_force.settings.pid, &old) {
            log!(
                self.log,
                Alert,
                "rename() {path} to {} failed before executing new binary process \"{shown}\" {}",
                old.display(),
                OsError(&error)
            );
            return;
        }
        let sockets: Vec<BorrowedFd<'_>> =
            self.listeners.all().into_iter().flat_map(|(_, sockets)| sockets).collect();
        let environment = environment::left_by(&self.in_force.settings.environment);
        match upgrade.program.start(&sockets, environment) {
            Ok(Some(pid)) => {
                log!(self.log, Notice, "start new binary process {}", pid.as_raw_nonzero());
                self.upgrade.successor = Some(pid);
            }
            Ok(None) => self.restore_pid_file("an attempt to execute"),
            Err(error) => {
                log!(
                    self.log,
                    Alert,
                    "execve() failed while executing new binary process \"{shown}\" {}",
                    OsError(&error)
                );
                self.restore_pid_file("an attempt to execute");
            }
        }
    }

    /// A child has ended; true if it was the other master.
    pub(super) fn is_successor(&self, pid: Pid) -> bool {
        self.upgrade.successor == Some(pid)
    }

    /// The other master has ended: this one is the only one again, and serves if it did not.
    pub(super) fn successor_ended(&mut self) -> ControlFlow<End> {
        self.upgrade.successor = None;
        self.restore_pid_file("the end of");
        if self.upgrade.no_accept { self.accept_again() } else { ControlFlow::Continue(()) }
    }

    fn restore_pid_file(&self, after: &str) {
        let path = &self.in_force.settings.pid;
        if let Err(error) = fs::rename(old_path(path), path) {
            log!(
                self.log,
                Alert,
                "rename() {} back to {} failed after {after} new binary process \"{}\" {}",
                old_path(path).display(),
                path.display(),
                self.upgrade.program.path.display(),
                OsError(&error)
            );
        }
    }

    /// WINCH: the worker finishes, and the sockets stay open for whoever else has them.
    pub(super) fn stop_accepting(&mut self) {
        match self.data_plane {
            DataPlane::Here(_) => return,
            DataPlane::None => {}
            DataPlane::Process { .. } => self.let_go(),
        }
        self.upgrade.no_accept = true;
        self.restart_at = None;
    }

    /// HUP to a master beside which another one runs: the worker starts again, with the configuration
    /// that this master has. True when that is what HUP means now.
    pub(super) fn is_upgrading(&self) -> bool {
        self.upgrade.successor.is_some()
    }

    /// Starts a worker, if there is none.
    pub(super) fn accept_again(&mut self) -> ControlFlow<End> {
        self.upgrade.no_accept = false;
        match self.data_plane {
            DataPlane::None if self.restart_at.is_none() => self.launch(),
            _ => ControlFlow::Continue(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_is_read_as_nginx_reads_it() {
        assert_eq!(parse("6;7;"), (vec![6, 7], vec![]));
        assert_eq!(parse("6:7;"), (vec![6, 7], vec![]));
        assert_eq!(parse("").0, Vec::<RawFd>::new());
        for (text, numbers, end) in [
            ("6;x;7;", vec![6], "\"x;7;\" in NGINX environment variable, ignoring the rest of the variable"),
            ("6;-1;", vec![6], "\"-1;\" in NGINX environment variable, ignoring the rest of the variable"),
            ("6;7", vec![6], "\"7\" in NGINX environment variable, ignoring"),
            ("/usr/sbin/nginx", vec![], "\"/usr/sbin/nginx\" in NGINX environment variable, ignoring"),
        ] {
            let (parsed, refused) = parse(text);
            assert_eq!(parsed, numbers, "{text}");
            assert_eq!(refused, [format!("invalid socket number {end}")]);
        }
    }

    #[test]
    fn the_old_pid_file_stands_beside_the_new_one() {
        assert_eq!(old_path(Path::new("/run/octroi.pid")), Path::new("/run/octroi.pid.oldbin"));
    }

    #[test]
    fn a_binary_that_is_missing_is_an_error_at_once() {
        let program =
            Program { path: "/nonexistent/octroi".into(), name: "octroi".into(), arguments: vec![] };
        let failed = program.start(&[], Vec::new());
        assert_eq!(failed.map_err(|error| error.kind()), Err(io::ErrorKind::NotFound));
    }
}
