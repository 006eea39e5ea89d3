//! The master: it reads configurations, makes sockets, opens logs, hands all of that to the one
//! worker, and watches over it. It reads no byte from the network and has one thread. Under
//! `master_process off` the same loop runs the shards in its own process.
//!
//! ```text
//! start:   read, open, bind -> (leave the terminal) -> fork -> Load -> Ready -> pid file
//! reload:  read, open, bind what is new -> Load -> Ready: commit | Refused: undo
//! death:   fork again on the same sockets -> Load
//! ```
//! A worker that is to finish and go (after WINCH, or when a reload needs another process) leaves the
//! data plane's place and is watched among the leaving ones until it ends. `upgrade.rs` is about a
//! second master.

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
use super::upgrade::{Inheritance, Upgrade};
use super::watch::Watch;
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
pub fn run(origin: Origin, inheritance: Option<Inheritance>, log: ErrorLog, end: fn()) -> ExitCode {
    let master = match Master::prepared(origin, inheritance, log) {
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
    /// The files of certificates, which are looked at.
    pub watch: Watch,
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
    /// Worker processes that finish what is under way, and then end.
    pub(super) leaving: Vec<DataPlane>,
    pub(super) pending: Option<Pending>,
    /// True once the pid file stands.
    pub(super) serves: bool,
    pub(super) signals: Signals,
    pub(super) readiness: Option<Readiness>,
    pub(super) phase: Phase,
    pub(super) restarts: Restarts,
    pub(super) restart_at: Option<Instant>,
    pub(super) upgrade: Upgrade,
    /// Signals that came while the worker had something to answer.
    pub(super) wants: Wants,
}

/// What signals ask for that cannot be done while the worker has something to answer.
#[derive(Debug, Default)]
pub struct Wants {
    reload: bool,
    reopen: bool,
    change_binary: bool,
    stop_accepting: bool,
}

/// Who has said something.
#[derive(Debug, Default)]
struct Came {
    signal: bool,
    /// The worker.
    message: bool,
    /// The worker that is to take its place.
    next_message: bool,
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
        let came = match self.wait() {
            Ok(came) => came,
            Err(error) => {
                log!(self.log, Alert, "poll() failed {}", OsError(&error.into()));
                return ControlFlow::Break(self.exit(ExitCode::FAILURE));
            }
        };
        // First what a worker said: it may be why it has ended.
        if came.message {
            self.take_message(false)?;
        }
        if came.next_message {
            self.take_message(true)?;
        }
        if came.signal {
            while let Some(signal) = self.signals.next(&self.log, |signal| self.action(signal)) {
                self.take_signal(signal)?;
            }
        }
        self.tick()
    }

    /// Waits for a signal, a message or the next thing that is due.
    fn wait(&self) -> Result<Came, Errno> {
        let drain = match (&self.data_plane, self.phase) {
            (DataPlane::Here(_), Phase::Quitting) => Some(DRAIN_LOOK),
            _ => None,
        };
        let kill = match self.phase {
            Phase::Stopping(at) => Some(at),
            _ => None,
        };
        let now = Instant::now();
        let look = self.in_force.watch.due().filter(|_| self.looks());
        let due =
            [kill, self.restart_at, look].into_iter().flatten().map(|at| at.saturating_duration_since(now));
        let timeout = due.chain(drain).min().and_then(|wait| Timespec::try_from(wait).ok());
        let mut sources = vec![PollFd::new(&self.signals, PollFlags::IN)];
        let links = [self.data_plane.link(), self.next_data_plane().and_then(DataPlane::link)];
        sources.extend(links.iter().flatten().map(|link| PollFd::new(*link, PollFlags::IN)));
        match poll(&mut sources, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let mut ready = sources.iter().map(|source| !source.revents().is_empty());
        let mut of = |there: bool| there && ready.next().unwrap_or(false);
        Ok(Came { signal: of(true), message: of(links[0].is_some()), next_message: of(links[1].is_some()) })
    }

    /// The worker that is to take the present one's place, while it starts.
    fn next_data_plane(&self) -> Option<&DataPlane> {
        match &self.pending {
            Some(Pending::Change(change)) => change.next.as_ref(),
            _ => None,
        }
    }

    fn take_signal(&mut self, signal: i32) -> ControlFlow<End> {
        match signal {
            libc::SIGTERM | libc::SIGINT => return self.stop(),
            libc::SIGQUIT => return self.quit(),
            libc::SIGHUP => self.wants.reload = true,
            libc::SIGUSR1 => self.wants.reopen = true,
            libc::SIGCHLD => return self.reap(),
            libc::SIGUSR2 => self.wants.change_binary = true,
            libc::SIGWINCH if self.heeds_winch() => self.wants.stop_accepting = true,
            _ => {}
        }
        ControlFlow::Continue(())
    }

    /// Hears the worker, or the one that is to take its place.
    fn take_message(&mut self, next: bool) -> ControlFlow<End> {
        let from = if next { self.next_data_plane() } else { Some(&self.data_plane) };
        let Some(link) = from.and_then(DataPlane::link) else { return ControlFlow::Continue(()) };
        match link.receive() {
            Ok(Some(Message::Ready { generation })) => self.answered(generation, Ok(())),
            Ok(Some(Message::Refused { generation, reason })) => self.answered(generation, Err(reason)),
            Ok(Some(_)) => ControlFlow::Continue(()),
            Ok(None) => {
                // The worker is ending: SIGCHLD says how.
                self.spoken_to(next).into_iter().for_each(DataPlane::unlink);
                ControlFlow::Continue(())
            }
            Err(error) => {
                log!(self.log, Alert, "the link to the worker process broke: {error}");
                let log = self.log.clone();
                self.spoken_to(next).into_iter().for_each(|worker| worker.give_up(&log));
                ControlFlow::Continue(())
            }
        }
    }

    fn spoken_to(&mut self, next: bool) -> Option<&mut DataPlane> {
        match (&mut self.pending, next) {
            (Some(Pending::Change(change)), true) => change.next.as_mut(),
            (_, true) => None,
            (_, false) => Some(&mut self.data_plane),
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

    /// Kills what is left of the workers.
    fn kill_all(&self) {
        let next = self.next_data_plane();
        self.leaving.iter().chain(next).chain([&self.data_plane]).for_each(|worker| worker.kill(&self.log));
    }

    /// What is due by time, and what had to wait for the worker.
    fn tick(&mut self) -> ControlFlow<End> {
        let now = Instant::now();
        match self.phase {
            Phase::Stopping(at) if at <= now => {
                self.kill_all();
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
                self.do_wanted()?;
                if self.looks() {
                    self.watch();
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    /// Whether files of certificates are looked at: while it serves, and the worker has nothing to answer.
    fn looks(&self) -> bool {
        self.phase == Phase::Running && self.serves && self.pending.is_none()
    }

    /// Does what signals asked for, one after another: each may give the worker something to answer.
    fn do_wanted(&mut self) -> ControlFlow<End> {
        if self.pending.is_none() && std::mem::take(&mut self.wants.reopen) {
            self.reopen();
        }
        if self.pending.is_none() && std::mem::take(&mut self.wants.reload) {
            if self.is_upgrading() {
                self.accept_again()?;
            } else {
                self.reconfigure()?;
            }
        }
        if self.pending.is_none() && std::mem::take(&mut self.wants.change_binary) {
            self.change_binary();
        }
        if self.pending.is_none() && std::mem::take(&mut self.wants.stop_accepting) {
            self.stop_accepting();
        }
        ControlFlow::Continue(())
    }

    fn reopen(&mut self) {
        log!(self.log, Notice, "reopening logs");
        let opened = logs::reopen(&self.logs, &self.log);
        for worker in &mut self.leaving {
            // One that is gone by now needs no logs.
            let _ = worker.reopen(&opened, &self.log);
        }
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
        if matches!(self.pending, Some(Pending::Start)) {
            return self.stop();
        }
        self.forget_pending();
        self.phase = Phase::Quitting;
        if let Err(error) = self.data_plane.quit(&self.log) {
            self.give_up_worker(&error.to_string());
        }
        // New connections are refused from now on, instead of waiting on sockets that nobody
        // accepts from; unless another master has them too.
        self.listeners.close(self.upgrade.others(), &self.log);
        self.end_if_alone()
    }

    fn stop(&mut self) -> ControlFlow<End> {
        if matches!(self.phase, Phase::Stopping(_)) {
            return ControlFlow::Continue(());
        }
        self.forget_pending();
        self.phase = Phase::Stopping(Instant::now() + STOP_GRACE);
        for worker in &mut self.leaving {
            worker.stop(&self.log);
        }
        if !self.data_plane.stop(&self.log) && self.leaving.is_empty() {
            return ControlFlow::Break(self.exit(ExitCode::SUCCESS));
        }
        ControlFlow::Continue(())
    }

    /// Ends the master that is to end when no worker is left.
    fn end_if_alone(&mut self) -> ControlFlow<End> {
        if self.data_plane.is_none() && self.leaving.is_empty() {
            return ControlFlow::Break(self.exit(ExitCode::SUCCESS));
        }
        ControlFlow::Continue(())
    }

    /// The worker is to finish and end, and has no successor yet.
    pub(super) fn let_go(&mut self) {
        let mut worker = std::mem::replace(&mut self.data_plane, DataPlane::None);
        if worker.quit(&self.log).is_err() {
            worker.give_up(&self.log);
        }
        self.leaving.push(worker);
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
            let name = if self.is_successor(pid) { "new binary process" } else { "worker process" };
            match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => log!(self.log, Notice, "{name} {number} exited with code {code}"),
                (None, Some(signal)) => log!(self.log, Alert, "{name} {number} exited on signal {signal}"),
                (None, None) => continue,
            }
            let is_next = self.next_data_plane().and_then(DataPlane::pid) == Some(pid);
            self.leaving.retain(|worker| worker.pid() != Some(pid));
            if self.is_successor(pid) {
                self.successor_ended()?;
            } else if self.data_plane.pid() == Some(pid) {
                self.worker_ended()?;
            } else if is_next {
                self.next_worker_ended();
            } else if self.phase != Phase::Running {
                self.end_if_alone()?;
            }
        }
        ControlFlow::Continue(())
    }

    fn worker_ended(&mut self) -> ControlFlow<End> {
        self.data_plane = DataPlane::None;
        if self.phase != Phase::Running {
            return self.end_if_alone();
        }
        if !self.serves {
            log!(self.log, Emerg, "the worker process could not start");
            return ControlFlow::Break(self.exit(ExitCode::FAILURE));
        }
        match self.pending.take() {
            // The worker that was to take its place takes it, if it comes to that.
            Some(Pending::Change(change)) if change.next.is_some() => {
                self.pending = Some(Pending::Change(change));
                return ControlFlow::Continue(());
            }
            Some(Pending::Change(change)) => {
                self.undo(*change, "the worker process ended while taking up the new configuration");
            }
            _ => {}
        }
        self.restart_later();
        ControlFlow::Continue(())
    }

    fn next_worker_ended(&mut self) {
        if let Some(Pending::Change(mut change)) = self.pending.take() {
            change.next = None;
            self.undo(*change, "the new worker process ended before it was ready");
        }
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
        self.data_plane.give_up(&self.log);
    }

    pub(super) fn exit(&mut self, code: ExitCode) -> End {
        if self.serves {
            pid_file::remove(&self.upgrade.pid_path(&self.in_force.settings.pid), &self.log);
        }
        log!(self.log, Notice, "exit");
        self.listeners.close(self.upgrade.others(), &self.log);
        End::Exit(code)
    }
}
