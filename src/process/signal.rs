//! Signals: as data for the control loops, and as what `-s` sends to a running master.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

use super::os;
use crate::base::process_settings::Level;
use crate::net::error_log::{ErrorLog, OsError};

/// Every signal that means something to the processes, with the end of nginx's log line for it:
/// in a master, and in a worker.
const SIGNALS: &[(i32, &str, [&str; 2])] = &[
    (libc::SIGHUP, "SIGHUP", [", reconfiguring", ", ignoring"]),
    (libc::SIGUSR1, "SIGUSR1", [", reopening logs", ", ignoring"]),
    (libc::SIGWINCH, "SIGWINCH", ["", ", ignoring"]),
    (libc::SIGTERM, "SIGTERM", [", exiting", ", exiting"]),
    (libc::SIGINT, "SIGINT", [", exiting", ", exiting"]),
    (libc::SIGQUIT, "SIGQUIT", [", shutting down", ", shutting down"]),
    (libc::SIGUSR2, "SIGUSR2", ["", ", ignoring"]),
    (libc::SIGCHLD, "SIGCHLD", ["", ""]),
];

/// Which process reads the signals.
#[derive(Clone, Copy, Debug)]
pub enum Role {
    /// The master, or the only process.
    Master,
    /// The worker: only what ends it means something to it.
    Worker,
}

/// Bytes of the kernel's `signalfd_siginfo`, and where in it the number and the sender stand:
/// signalfd(2).
const SIGINFO_BYTES: usize = 128;
const SIGINFO_PID_AT: usize = 12;

/// Blocked signals, read one by one.
#[derive(Debug)]
pub struct Signals {
    descriptor: OwnedFd,
    role: Role,
}

impl Signals {
    /// Blocks the signals of the table above and delivers them here from now on.
    ///
    /// # Errors
    /// What signalfd(2) reports.
    pub fn new(role: Role) -> io::Result<Signals> {
        let numbers: Vec<i32> = SIGNALS.iter().map(|(number, _, _)| *number).collect();
        os::block_signals(&numbers)?;
        Ok(Signals { descriptor: os::signal_descriptor(&numbers)?, role })
    }

    /// The next pending signal, logged as nginx logs it; `None` when there is none. `special` words
    /// what a signal does where that depends.
    pub fn next(&self, log: &ErrorLog, special: impl FnOnce(i32) -> Option<&'static str>) -> Option<i32> {
        let mut info = [0u8; SIGINFO_BYTES];
        let read = rustix::io::read(&self.descriptor, &mut info).ok()?;
        if read < SIGINFO_BYTES {
            return None;
        }
        let word =
            |at: usize| info.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, i32::from_ne_bytes);
        let (number, sender) = (word(0), word(SIGINFO_PID_AT));
        let (_, name, [master, worker]) = SIGNALS.iter().find(|(known, _, _)| *known == number)?;
        let usual = match self.role {
            Role::Master => master,
            Role::Worker => worker,
        };
        let action = special(number).unwrap_or(usual);
        match sender {
            0 => log!(log, Notice, "signal {number} ({name}) received{action}"),
            pid => log!(log, Notice, "signal {number} ({name}) received from {pid}{action}"),
        }
        Some(number)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// The word after `-s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Fast shutdown: TERM.
    Stop,
    /// Graceful shutdown: QUIT.
    Quit,
    /// Re-read the configuration: HUP.
    Reload,
    /// Reopen the logs: USR1.
    Reopen,
}

impl Verb {
    /// The verb that a word names.
    pub fn parse(word: &[u8]) -> Option<Verb> {
        match word {
            b"stop" => Some(Verb::Stop),
            b"quit" => Some(Verb::Quit),
            b"reload" => Some(Verb::Reload),
            b"reopen" => Some(Verb::Reopen),
            _ => None,
        }
    }

    fn signal(self) -> Signal {
        match self {
            Verb::Stop => Signal::TERM,
            Verb::Quit => Signal::QUIT,
            Verb::Reload => Signal::HUP,
            Verb::Reopen => Signal::USR1,
        }
    }
}

/// Sends the verb's signal to the process whose number the pid file holds. False, with the reason
/// logged in nginx's words, when it could not be sent.
pub fn send(verb: Verb, pid_file: &Path, log: &ErrorLog) -> bool {
    log!(log, Notice, "signal process started");
    let shown = pid_file.display();
    let text = match fs::read(pid_file) {
        Ok(text) => text,
        Err(error) => {
            log!(log, Error, "open() \"{shown}\" failed {}", OsError(&error));
            return false;
        }
    };
    let Some(pid) = parse_pid(&text) else {
        let text = String::from_utf8_lossy(text.get(..text.len().min(PID_BYTES_MAX)).unwrap_or_default())
            .into_owned();
        log!(log, Error, "invalid PID number \"{}\" in \"{shown}\"", text.trim_end_matches(['\r', '\n']));
        return false;
    };
    let signal = verb.signal();
    match kill_process(pid, signal) {
        Ok(()) => true,
        Err(error) => {
            let (pid, number) = (pid.as_raw_nonzero(), signal.as_raw());
            log!(log, Alert, "kill({pid}, {number}) failed {}", OsError(&error.into()));
            false
        }
    }
}

/// Bytes of a pid file that are looked at: a 64-bit number with CR and LF.
const PID_BYTES_MAX: usize = 22;

fn parse_pid(text: &[u8]) -> Option<Pid> {
    let text = text.get(..text.len().min(PID_BYTES_MAX))?;
    let end = text.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
    let digits = text.get(..end)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // kill(2) gives 1 and, through negative numbers, whole groups a meaning: only real processes.
    std::str::from_utf8(digits).ok()?.parse().ok().and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn pid_files_are_read_as_nginx_reads_them() {
        let pid = |text: &[u8]| parse_pid(text).map(|pid| pid.as_raw_nonzero().get());
        assert_eq!(pid(b"4711\n"), Some(4711));
        assert_eq!(pid(b"4711\r\n\n"), Some(4711));
        assert_eq!(pid(b"4711"), Some(4711));
        for bad in [&b""[..], b"\n", b"0\n", b"-1\n", b"12 \n", b"xx", b"99999999999999999999999\n"] {
            assert_eq!(pid(bad), None, "{bad:?}");
        }
    }
}
