//! The worker process: gives up root, takes configurations and descriptors from the master, and
//! runs the shards. Its main thread is this control loop and touches no connection.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::engine::{DRAIN_LOOK, Engine};
use super::link::Link;
use super::message::{Load, Message};
use super::os::{self, User};
use super::signal::{Role, Signals};
use super::{load, privileges};
use crate::base::process_settings::{Level, ProcessSettings};
use crate::net::error_log::{ErrorLog, OsError};
use crate::plan::Origin;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// nginx's exit code for a worker that could not set itself up.
const FATAL: i32 = 2;

/// What the child of a fork needs to become a worker.
pub struct Start {
    /// Its end of the pair.
    pub link: Link,
    /// Where to log until a configuration arrives.
    pub log: ErrorLog,
    /// Whom to run as; `None`: as the master.
    pub user: Option<User>,
    /// What the process itself is to be.
    pub settings: ProcessSettings,
}

/// Becomes the worker, and ends the process when the work is done.
pub fn run(start: Start) -> ! {
    let Start { link, log, user, settings } = start;
    if let Err((level, message)) = privileges::become_worker(&settings, user.as_ref(), &log) {
        log.write(level, None, format_args!("{message}"));
        os::exit_now(FATAL);
    }
    let signals = match Signals::new(Role::Worker) {
        Ok(signals) => signals,
        Err(error) => {
            log!(log, Emerg, "signalfd() failed {}", OsError(&error));
            os::exit_now(FATAL);
        }
    };
    let code =
        Worker { link: Some(link), log, engine: Engine::default(), origin: None, signals, quitting: false }
            .serve();
    os::exit_now(code)
}

struct Worker {
    /// `None` when the master is gone.
    link: Option<Link>,
    log: ErrorLog,
    engine: Engine,
    /// Where the configuration in force comes from.
    origin: Option<Origin>,
    signals: Signals,
    quitting: bool,
}

/// What the loop does next.
enum Next {
    GoOn,
    /// Flush the logs and exit.
    Stop,
    Exit(i32),
}

impl Worker {
    fn serve(&mut self) -> i32 {
        loop {
            let (signal, message) = match self.wait() {
                Ok(ready) => ready,
                Err(error) => {
                    log!(self.log, Alert, "poll() failed {}", OsError(&error.into()));
                    return FATAL;
                }
            };
            let mut next = Next::GoOn;
            if signal {
                next = self.take_signals();
            }
            if message && matches!(next, Next::GoOn) {
                next = self.take_message();
            }
            match next {
                Next::GoOn if self.quitting && self.engine.finished() => break,
                Next::GoOn => {}
                Next::Stop => {
                    self.engine.stop();
                    break;
                }
                Next::Exit(code) => return code,
            }
        }
        log!(self.log, Notice, "exiting");
        log!(self.log, Notice, "exit");
        0
    }

    /// Waits for a signal, a message or, while draining, a little; tells which of the two came.
    fn wait(&self) -> Result<(bool, bool), Errno> {
        let look = Timespec { tv_sec: 0, tv_nsec: DRAIN_LOOK.as_nanos() as i64 };
        let mut sources = vec![PollFd::new(&self.signals, PollFlags::IN)];
        sources.extend(self.link.iter().map(|link| PollFd::new(link, PollFlags::IN)));
        match poll(&mut sources, self.quitting.then_some(&look)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let came = |at: usize| sources.get(at).is_some_and(|source| !source.revents().is_empty());
        Ok((came(0), came(1)))
    }

    fn take_signals(&mut self) -> Next {
        while let Some(signal) = self.signals.next(&self.log, |_| None) {
            match signal {
                libc::SIGTERM | libc::SIGINT => return Next::Stop,
                libc::SIGQUIT => self.quit(),
                _ => {}
            }
        }
        Next::GoOn
    }

    fn take_message(&mut self) -> Next {
        let Some(link) = &self.link else { return Next::GoOn };
        match link.receive() {
            Ok(Some(Message::Load(load))) => return self.load(load),
            Ok(Some(Message::Renew { snapshot, files })) => self.renew(&snapshot, &files),
            Ok(Some(Message::Reopen(opened))) => {
                log!(self.log, Notice, "reopening logs");
                self.engine.reopen(opened, &self.log);
            }
            Ok(Some(Message::Quit)) => self.quit(),
            Ok(Some(Message::Stop)) => return Next::Stop,
            // The worker's own words; nobody says them to it.
            Ok(Some(Message::Ready { .. } | Message::Refused { .. })) => {}
            Ok(None) => self.lose_master("the master process is gone"),
            Err(error) => self.lose_master(&format!("the link to the master process broke: {error}")),
        }
        Next::GoOn
    }

    fn load(&mut self, load: Load<OwnedFd>) -> Next {
        let generation = load.generation;
        let answer: Message<OwnedFd> = match self.take_up(load) {
            Ok(()) => Message::Ready { generation },
            Err(reason) => Message::Refused { generation, reason },
        };
        let sent = self.link.as_ref().map_or(Ok(()), |link| link.send(&answer));
        if let Err(error) = sent {
            self.lose_master(&format!("the link to the master process broke: {error}"));
        }
        // Without a configuration there is nothing to go on with.
        if self.engine.is_running() { Next::GoOn } else { Next::Exit(1) }
    }

    fn take_up(&mut self, load: Load<OwnedFd>) -> Result<(), String> {
        if self.quitting {
            return Err("the worker process is shutting down".to_owned());
        }
        let Load { snapshot, conf, prefix, globals, error_log, listens, logs, .. } = load;
        let origin = Origin { conf, prefix, globals, error_log };
        let plan = load::from_snapshot(&origin, &snapshot)?;
        self.log = self.engine.load(plan, listens, logs, &self.log)?;
        self.origin = Some(origin);
        Ok(())
    }

    /// The master has compiled the same texts before it sent them.
    fn renew(&self, snapshot: &[u8], files: &[PathBuf]) {
        let Some(origin) = &self.origin else { return };
        match load::from_snapshot(origin, snapshot) {
            Ok(plan) => self.engine.renew(&plan, files, &self.log),
            Err(reason) => log!(self.log, Error, "certificates were not renewed: {reason}"),
        }
    }

    fn quit(&mut self) {
        if !self.quitting {
            log!(self.log, Notice, "gracefully shutting down");
            self.quitting = true;
            self.engine.quit();
        }
    }

    /// Without a master nobody could reload or stop this process in the usual ways, and its
    /// sockets would stand in the way of a new one: finish and go.
    fn lose_master(&mut self, reason: &str) {
        if !self.quitting {
            log!(self.log, Alert, "{reason}, shutting down");
        }
        self.link = None;
        self.quit();
    }
}
