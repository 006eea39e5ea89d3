//! The master: it reads configurations, makes sockets, opens logs, hands all of that to the one
//! worker, and watches over it. It reads no byte from the network and has one thread. Under
//! `master_process off` the same loop runs the shards in its own process.
//!
//! ```text
//! start:   read, open, bind -> (leave the terminal) -> fork -> Load -> Ready -> pid file
//! reload:  read, open, bind what is new -> Load -> Ready: commit | Refused: undo
//! death:   fork again on the same sockets -> Load
//! ```

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{WaitOptions, wait};

use super::daemon::Readiness;
use super::data_plane::DataPlane;
use super::engine::DRAIN_LOOK;
use super::listeners::Listeners;
use super::message::Message;
use super::os::User;
use super::reload::Change;
use super::restarts::Restarts;
use super::signal::Signals;
use super::start::Begun;
use super::{logs, os, pid_file, worker};
use crate::base::process_settings::{Level, ProcessSettings};
use crate::net::error_log::{ErrorLog, OsError};
use crate::net::sockets::Logs;
use crate::plan::Origin;

/// How long a worker that was told to stop may take before it is killed: nginx waits about as long
/// before it turns from TERM to KILL.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Reads the configuration, starts everything, and serves until a signal ends it. Returns in the
/// master, and in the process that was started when it has left a daemon behind; under
/// `master_process off` the process ends here, after a call of `end`.
pub fn run(origin: Origin, log: ErrorLog, end: fn()) -> ExitCode {
    let master = match Master::prepared(origin, log) {
        Ok(Begun::Master(master)) => master,
        Ok(Begun::Left(serves)) => return if serves { ExitCode::SUCCESS } else { ExitCode::FAILURE },
        Err(()) => return ExitCode::FAILURE,
    };
    // The master is gone, with every descriptor it held, when its child becomes the worker.
    match master.serve(end) {
        End::Exit(code) => code,
        End::Worker(start) => worker::run(*start),
    }
}

/// How `serve` ends.
pub enum End {
    /// The master's work is done.
    Exit(ExitCode),
    /// This is the child of a fork.
    Worker(Box<worker::Start>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// The worker finishes what is under way.
    Quitting,
    /// The worker is killed if it is still there then.
    Stopping(Instant),
}

/// What the worker has been asked and not yet answered.
pub enum Pending {
    /// To take up the configuration in force.
    Start,
    /// To change over to a new one.
    Change(Box<Change>),
}

/// The configuration in force, as far as the master needs it.
pub struct InForce {
    /// The processes' own settings.
    pub settings: ProcessSettings,
    /// Whom a worker runs as.
    pub user: Option<User>,
    /// The texts, for the next worker.
    pub snapshot: Vec<u8>,
}

/// The state of the master; `start.rs` makes it, `reload.rs` changes its configuration.
pub struct Master {
    pub(super) origin: Origin,
    pub(super) log: ErrorLog,
    pub(super) logs: Logs,
    pub(super) listeners: Listeners,
    pub(super) in_force: InForce,
    /// Counts the configurations handed over, so that an answer can be told from an older one's.
    pub(super) generation: u64,
    pub(super) data_plane: DataPlane,
    pub(super) pending: Option<Pending>,
    /// True once the pid file stands.
    pub(super) serves: bool,
    pub(super) signals: Signals,
    pub(super) readiness: Option<Readiness>,
    pub(super) phase: Phase,
    pub(super) restarts: Restarts,
    pub(super) restart_at: Option<Instant>,
    /// Signals that came while the worker had something to answer.
    pub(super) wants_reload: bool,
    pub(super) wants_reopen: bool,
}

impl Master {
    fn serve(mut self: Box<Self>, before_exit: fn()) -> End {
        let mut step = self.launch();
        loop {
            if let ControlFlow::Break(end) = step {
                if let (DataPlane::Here(_), End::Exit(_)) = (&self.data_plane, &end) {
                    before_exit();
                    // Shards may still run on other threads.
                    os::exit_now(i32::from(!self.serves));
                }
                return end;
            }
            step = self.turn();
        }
    }

    /// One turn of the loop: wait, then do what came.
    fn turn(&mut self) -> ControlFlow<End> {
        let (signal, message) = match self.wait() {
            Ok(came) => came,
            Err(error) => {
                log!(self.log, Alert, "poll() failed {}", OsError(&error.into()));
                return ControlFlow::Break(self.exit(ExitCode::FAILURE));
            }
        };
        if signal {
            while let Some(signal) = self.signals.next(&self.log) {
                self.take_signal(signal)?;
            }
        }
        if message {
            self.take_message()?;
        }
        self.tick()
    }

    /// Waits for a signal, a message or the next thing that is due.
    fn wait(&self) -> Result<(bool, bool), Errno> {
        let drain = match (&self.data_plane, self.phase) {
            (DataPlane::Here(_), Phase::Quitting) => Some(DRAIN_LOOK),
            _ => None,
        };
        let kill = match self.phase {
            Phase::Stopping(at) => Some(at),
            _ => None,
        };
        let now = Instant::now();
        let due = [kill, self.restart_at].into_iter().flatten().map(|at| at.saturating_duration_since(now));
        let timeout = due.chain(drain).min().and_then(|wait| Timespec::try_from(wait).ok());
        let mut sources = vec![PollFd::new(&self.signals, PollFlags::IN)];
        sources.extend(self.data_plane.link().map(|link| PollFd::new(link, PollFlags::IN)));
        match poll(&mut sources, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let came = |at: usize| sources.get(at).is_some_and(|source| !source.revents().is_empty());
        Ok((came(0), came(1)))
    }

    fn take_signal(&mut self, signal: i32) -> ControlFlow<End> {
        match signal {
            libc::SIGTERM | libc::SIGINT => return self.stop(),
            libc::SIGQUIT => return self.quit(),
            libc::SIGHUP => self.wants_reload = true,
            libc::SIGUSR1 => self.wants_reopen = true,
            libc::SIGCHLD => return self.reap(),
            libc::SIGUSR2 => log!(self.log, Notice, "changing the binary on SIGUSR2 is not built yet"),
            libc::SIGWINCH => {
                log!(self.log, Notice, "stopping the worker alone on SIGWINCH is not built yet")
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn take_message(&mut self) -> ControlFlow<End> {
        let Some(link) = self.data_plane.link() else { return ControlFlow::Continue(()) };
        match link.receive() {
            Ok(Some(Message::Ready { generation })) => self.answered(generation, Ok(())),
            Ok(Some(Message::Refused { generation, reason })) => self.answered(generation, Err(reason)),
            Ok(Some(_)) => ControlFlow::Continue(()),
            Ok(None) => {
                // The worker is ending: SIGCHLD says how.
                self.data_plane.unlink();
                ControlFlow::Continue(())
            }
            Err(error) => {
                self.give_up_worker(&error.to_string());
                ControlFlow::Continue(())
            }
        }
    }

    fn answered(&mut self, generation: u64, answer: Result<(), String>) -> ControlFlow<End> {
        if generation != self.generation {
            return ControlFlow::Continue(());
        }
        match (self.pending.take(), answer) {
            (Some(Pending::Start), Ok(())) => self.started(),
            (Some(Pending::Start), Err(reason)) => {
                // The worker exits by itself, having nothing to go on with.
                log!(self.log, Emerg, "{reason}");
                ControlFlow::Continue(())
            }
            (Some(Pending::Change(change)), Ok(())) => {
                self.commit(*change);
                ControlFlow::Continue(())
            }
            (Some(Pending::Change(change)), Err(reason)) => {
                self.undo(*change, &reason);
                ControlFlow::Continue(())
            }
            (None, _) => ControlFlow::Continue(()),
        }
    }

    /// The data plane runs. The first time, that is the moment to say so to the world.
    pub(super) fn started(&mut self) -> ControlFlow<End> {
        if self.serves {
            return ControlFlow::Continue(());
        }
        if !pid_file::write(&self.in_force.settings.pid, &self.log) {
            // Nobody could signal a server without it.
            self.data_plane.kill(&self.log);
            return ControlFlow::Break(self.exit(ExitCode::FAILURE));
        }
        self.serves = true;
        logs::redirect_stderr(&self.in_force.settings, &self.logs, &self.log);
        self.log = self.log.clone().with_console(false);
        self.readiness.take().into_iter().for_each(Readiness::tell);
        ControlFlow::Continue(())
    }

    /// What is due by time, and what had to wait for the worker.
    fn tick(&mut self) -> ControlFlow<End> {
        let now = Instant::now();
        match self.phase {
            Phase::Stopping(at) if at <= now => {
                self.data_plane.kill(&self.log);
                self.phase = Phase::Stopping(now + STOP_GRACE);
            }
            Phase::Quitting if self.data_plane.finished() => {
                return ControlFlow::Break(self.exit(ExitCode::SUCCESS));
            }
            Phase::Running => {
                if self.restart_at.is_some_and(|at| at <= now) {
                    self.restart_at = None;
                    self.launch()?;
                }
                if self.pending.is_none() && std::mem::take(&mut self.wants_reopen) {
                    self.reopen();
                }
                if self.pending.is_none() && std::mem::take(&mut self.wants_reload) {
                    self.reconfigure();
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn reopen(&mut self) {
        log!(self.log, Notice, "reopening logs");
        let opened = logs::reopen(&self.logs, &self.log);
        if let Err(error) = self.data_plane.reopen(&opened, &self.log) {
            self.give_up_worker(&error.to_string());
        }
        logs::adopt(&mut self.logs, opened, &self.log);
        logs::redirect_stderr(&self.in_force.settings, &self.logs, &self.log);
    }

    fn quit(&mut self) -> ControlFlow<End> {
        if self.phase != Phase::Running {
            return ControlFlow::Continue(());
        }
        if matches!(self.pending, Some(Pending::Start)) || self.data_plane.is_none() {
            return self.stop();
        }
        self.forget_pending();
        self.phase = Phase::Quitting;
        if let Err(error) = self.data_plane.quit(&self.log) {
            self.give_up_worker(&error.to_string());
        }
        // New connections are refused from now on, instead of waiting on sockets that nobody
        // accepts from.
        self.listeners.close(&self.log);
        ControlFlow::Continue(())
    }

    fn stop(&mut self) -> ControlFlow<End> {
        if matches!(self.phase, Phase::Stopping(_)) {
            return ControlFlow::Continue(());
        }
        self.forget_pending();
        self.phase = Phase::Stopping(Instant::now() + STOP_GRACE);
        if !self.data_plane.stop(&self.log) {
            return ControlFlow::Break(self.exit(ExitCode::SUCCESS));
        }
        ControlFlow::Continue(())
    }

    fn forget_pending(&mut self) {
        if let Some(Pending::Change(change)) = self.pending.take() {
            self.undo(*change, "shutting down");
        }
    }

    /// Collects children that have ended.
    fn reap(&mut self) -> ControlFlow<End> {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let number = pid.as_raw_nonzero();
            match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => log!(self.log, Notice, "worker process {number} exited with code {code}"),
                (None, Some(signal)) => {
                    log!(self.log, Alert, "worker process {number} exited on signal {signal}")
                }
                (None, None) => continue,
            }
            if self.data_plane.pid() == Some(pid) {
                self.worker_ended()?;
            }
        }
        ControlFlow::Continue(())
    }

    fn worker_ended(&mut self) -> ControlFlow<End> {
        self.data_plane = DataPlane::None;
        if self.phase != Phase::Running {
            return ControlFlow::Break(self.exit(ExitCode::SUCCESS));
        }
        if !self.serves {
            log!(self.log, Emerg, "the worker process could not start");
            return ControlFlow::Break(self.exit(ExitCode::FAILURE));
        }
        if let Some(Pending::Change(change)) = self.pending.take() {
            self.undo(*change, "the worker process ended while taking up the new configuration");
        }
        self.restart_later();
        ControlFlow::Continue(())
    }

    /// Starts the next worker in this loop's turn, or later when too many were started of late.
    pub(super) fn restart_later(&mut self) {
        let wait = self.restarts.next_wait(Instant::now());
        if !wait.is_zero() {
            log!(
                self.log,
                Alert,
                "worker processes keep ending: {} starts in {} seconds, the next one in {} seconds",
                Restarts::MAX,
                Restarts::WINDOW.as_secs(),
                wait.as_secs() + 1
            );
        }
        self.restart_at = Some(Instant::now() + wait);
    }

    /// A worker that can't be spoken to any more is ended; its death brings the next one.
    pub(super) fn give_up_worker(&mut self, reason: &str) {
        log!(self.log, Alert, "the link to the worker process broke: {reason}");
        self.data_plane.unlink();
        self.data_plane.kill(&self.log);
    }

    pub(super) fn exit(&mut self, code: ExitCode) -> End {
        if self.serves {
            pid_file::remove(&self.in_force.settings.pid, &self.log);
        }
        log!(self.log, Notice, "exit");
        self.listeners.close(&self.log);
        End::Exit(code)
    }
}
