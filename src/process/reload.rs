//! Starting the data plane and changing its configuration: a transaction between master and worker.
//! The master reads, opens and binds first; the worker compiles and answers; then the master puts
//! the new set in force or undoes it. Whatever fails, the configuration before goes on.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::data_plane::{DataPlane, copies};
use super::engine::Engine;
use super::link::Link;
use super::listeners::{Listeners, Staged};
use super::load::{self, Configuration, Prepared};
use super::master::{End, InForce, Master, Pending};
use super::message::{Load, Message};
use super::os::{self, Fork, User};
use super::watch::Watch;
use super::{cpu, environment, logs, pid_file, privileges, worker};
use crate::base::address::Address;
use crate::base::process_settings::{Level, ProcessSettings};
use crate::net::error_log::{ErrorLog, OsError};
use crate::plan::{Origin, Plan};
use rustix::process::Pid;

/// A new configuration with everything made for it, not yet in force.
pub struct Change {
    plan: Arc<Plan>,
    snapshot: Vec<u8>,
    prepared: Prepared,
    staged: Staged,
    /// The worker process that takes it up, where the present one cannot.
    pub(super) next: Option<DataPlane>,
}

impl Change {
    fn message<'a>(
        &'a self,
        generation: u64,
        origin: &Origin,
        listeners: &'a Listeners,
    ) -> Load<BorrowedFd<'a>> {
        load_message(generation, origin, &self.snapshot, listeners.with(&self.staged), &self.prepared.logs)
    }
}

impl Master {
    /// Starts the data plane with the configuration in force.
    pub(super) fn launch(&mut self) -> ControlFlow<End> {
        self.generation += 1;
        if !self.in_force.settings.master_process {
            return self.launch_here();
        }
        let (link, pid) = match self.fork_worker(&self.in_force.settings, &self.in_force.user)? {
            Ok(worker) => worker,
            Err(_) => return self.launch_failed(),
        };
        let files = self.open_logs();
        let load = self.load_message(&self.in_force.snapshot, self.listeners.all(), &files);
        let sent = link.send(&Message::Load(load));
        self.data_plane = DataPlane::Process { pid, link: Some(link) };
        self.pending = Some(Pending::Start);
        if let Err(error) = sent {
            self.give_up_worker(&error.to_string());
        }
        ControlFlow::Continue(())
    }

    /// Forks a worker process. It breaks out with the worker's part in the child; a failure is logged.
    fn fork_worker(
        &self,
        settings: &ProcessSettings,
        user: &Option<User>,
    ) -> ControlFlow<End, io::Result<(Link, Pid)>> {
        log!(self.log, Notice, "start worker processes");
        match Link::pair().and_then(|(ours, theirs)| Ok((ours, theirs, os::fork()?))) {
            Ok((_, link, Fork::Child)) => ControlFlow::Break(End::Worker(Box::new(worker::Start {
                link,
                log: self.log.clone(),
                user: user.clone(),
                settings: settings.clone(),
            }))),
            Ok((link, _, Fork::Parent(pid))) => {
                log!(self.log, Notice, "start worker process {}", pid.as_raw_nonzero());
                ControlFlow::Continue(Ok((link, pid)))
            }
            Err(error) => {
                log!(self.log, Emerg, "could not fork a worker process {}", OsError(&error));
                ControlFlow::Continue(Err(error))
            }
        }
    }

    fn launch_here(&mut self) -> ControlFlow<End> {
        privileges::limit_descriptors(&self.in_force.settings, &self.log);
        let variables = environment::left_by(&self.in_force.settings.environment);
        if !os::set_environment(&variables) {
            log!(self.log, Notice, "\"env\" has no effect in a program with threads of its own");
        }
        let mut engine = Box::new(Engine::default());
        let loaded = load::from_snapshot(&self.origin, &self.in_force.snapshot)
            .and_then(|plan| engine.load(plan, owned(self.listeners.all())?, self.open_logs(), &self.log));
        match loaded {
            Ok(_) => {
                self.data_plane = DataPlane::Here(engine);
                self.started()
            }
            Err(reason) => {
                log!(self.log, Emerg, "{reason}");
                ControlFlow::Break(self.exit(ExitCode::FAILURE))
            }
        }
    }

    /// A fork failed: the end for a master that has never served, else a matter of time.
    fn launch_failed(&mut self) -> ControlFlow<End> {
        if self.serves {
            self.restart_later();
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(self.exit(ExitCode::FAILURE))
    }

    /// HUP.
    pub(super) fn reconfigure(&mut self) -> ControlFlow<End> {
        log!(self.log, Notice, "reconfiguring");
        let Some(change) = self.change() else { return ControlFlow::Continue(()) };
        self.generation += 1;
        let another = self.needs_another_process(&change.prepared);
        match &mut self.data_plane {
            // Nobody is there to be asked; the next worker starts with it.
            DataPlane::None => {
                self.commit(change);
                if self.upgrade.no_accept {
                    return self.accept_again();
                }
            }
            DataPlane::Here(engine) => {
                let files = copies(&change.prepared.logs, &self.log);
                let taken = owned(self.listeners.with(&change.staged))
                    .and_then(|listens| engine.load(Arc::clone(&change.plan), listens, files, &self.log));
                match taken {
                    Ok(_) => self.commit(change),
                    Err(reason) => self.undo(change, &reason),
                }
            }
            DataPlane::Process { .. } if another => return self.hand_over(change),
            DataPlane::Process { link, .. } => {
                let sent = match link {
                    Some(link) => link.send(&Message::Load(change.message(
                        self.generation,
                        &self.origin,
                        &self.listeners,
                    ))),
                    None => Err(io::ErrorKind::BrokenPipe.into()),
                };
                match sent {
                    Ok(()) => self.pending = Some(Pending::Change(Box::new(change))),
                    Err(error) => {
                        self.undo(change, &error.to_string());
                        if error.kind() != io::ErrorKind::InvalidInput {
                            self.give_up_worker(&error.to_string());
                        }
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Whether a change asks for something that the worker cannot change in itself.
    fn needs_another_process(&self, now: &Prepared) -> bool {
        let InForce { settings: before, user, .. } = &self.in_force;
        let settings = &now.settings;
        let count = cpu::shard_count(before).min(now.shards);
        *user != now.user
            || before.environment != settings.environment
            || before.transparent != settings.transparent
            || before.working_directory != settings.working_directory
            || before.priority != settings.priority
            // Threads stay where they are pinned.
            || cpu::pins(before, cpu::shard_count(before)).get(..count)
                != cpu::pins(settings, now.shards).get(..count)
    }

    /// Starts a second worker on the same sockets; when it is ready the first one finishes and goes.
    fn hand_over(&mut self, mut change: Change) -> ControlFlow<End> {
        let (link, pid) = match self.fork_worker(&change.prepared.settings, &change.prepared.user)? {
            Ok(worker) => worker,
            Err(error) => {
                self.undo(change, &error.to_string());
                return ControlFlow::Continue(());
            }
        };
        let sent = link.send(&Message::Load(change.message(self.generation, &self.origin, &self.listeners)));
        let mut next = DataPlane::Process { pid, link: Some(link) };
        match sent {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                change.next = Some(next);
                self.undo(change, &error.to_string());
                return ControlFlow::Continue(());
            }
            // It has ended already, or is about to: its end says so.
            Err(_) => next.give_up(&self.log),
            Ok(()) => {}
        }
        change.next = Some(next);
        self.pending = Some(Pending::Change(Box::new(change)));
        ControlFlow::Continue(())
    }

    /// Reads, opens and binds. `None`, with the reason logged, leaves everything as it was.
    fn change(&self) -> Option<Change> {
        let configuration = Configuration::read(&self.origin, &self.log)?;
        let prepared = configuration.prepare(&self.log).ok()?;
        configuration.notices.iter().for_each(|notice| load::report(notice, &self.log));
        let Configuration { plan, snapshot, .. } = configuration;
        let staged = self.listeners.stage(plan.listens(), prepared.shards, &self.log).ok()?;
        Some(Change { plan, snapshot, prepared, staged, next: None })
    }

    /// Puts a change in force.
    pub(super) fn commit(&mut self, change: Change) {
        let Change { plan, snapshot, prepared: Prepared { settings, user, logs, .. }, staged, next, .. } =
            change;
        self.listeners.commit(staged, self.upgrade.others(), &self.log);
        self.logs = logs::renewed(&self.logs, logs, &self.log);
        self.log = logs::error_log(&settings, &self.logs);
        logs::redirect_stderr(&settings, &self.logs, &self.log);
        let before = std::mem::replace(
            &mut self.in_force,
            InForce { settings, user, snapshot, watch: Watch::new(&plan) },
        );
        let settings = &self.in_force.settings;
        log_deferred(&before.settings, settings, &self.log);
        // Else a worker that died would be replaced by shards of the master's own.
        self.in_force.settings.master_process = before.settings.master_process;
        let settings = &self.in_force.settings;
        if let (None, Some(pid)) = (&next, self.data_plane.pid()) {
            privileges::limits_changed(pid, &before.settings, settings, &self.log);
        }
        if before.settings.pid != settings.pid && pid_file::write(&settings.pid, &self.log) {
            pid_file::remove(&before.settings.pid, &self.log);
        }
        if let Some(next) = next {
            if !self.data_plane.is_none() {
                self.let_go();
            }
            self.data_plane = next;
        }
    }

    /// Gives a change up.
    pub(super) fn undo(&mut self, change: Change, reason: &str) {
        log!(self.log, Emerg, "the new configuration was not taken up: {reason}");
        self.listeners.abandon(change.staged, &self.log);
        if let Some(mut next) = change.next {
            next.stop(&self.log);
            self.leaving.push(next);
        }
        if self.data_plane.is_none() && self.restart_at.is_none() && !self.upgrade.no_accept {
            self.restart_later();
        }
    }

    fn load_message<'a>(
        &'a self,
        snapshot: &[u8],
        listens: Vec<(Address, Vec<BorrowedFd<'a>>)>,
        files: &'a logs::Opened,
    ) -> Load<BorrowedFd<'a>> {
        load_message(self.generation, &self.origin, snapshot, listens, files)
    }

    /// Second descriptors of the logs in force.
    fn open_logs(&self) -> logs::Opened {
        let copy = |(path, file): (&PathBuf, &Arc<crate::net::log_file::LogFile>)| match file.duplicate() {
            Ok(file) => Some((path.clone(), file)),
            Err(error) => {
                log!(self.log, Alert, "dup() of \"{}\" failed {}", path.display(), OsError(&error));
                None
            }
        };
        self.logs.iter().filter_map(copy).collect()
    }
}

fn load_message<'a>(
    generation: u64,
    origin: &Origin,
    snapshot: &[u8],
    listens: Vec<(Address, Vec<BorrowedFd<'a>>)>,
    files: &'a logs::Opened,
) -> Load<BorrowedFd<'a>> {
    Load {
        generation,
        snapshot: snapshot.to_vec(),
        conf: origin.conf.clone(),
        prefix: origin.prefix.clone(),
        globals: origin.globals.clone(),
        error_log: origin.error_log.clone(),
        listens,
        logs: files.iter().map(|(path, file)| (path.clone(), file.as_fd())).collect(),
    }
}

fn owned(listens: Vec<(Address, Vec<BorrowedFd<'_>>)>) -> Result<Vec<(Address, Vec<OwnedFd>)>, String> {
    let copy = |(address, sockets): (Address, Vec<BorrowedFd<'_>>)| {
        let copies: io::Result<Vec<OwnedFd>> = sockets.iter().map(BorrowedFd::try_clone_to_owned).collect();
        copies.map(|sockets| (address, sockets))
    };
    let all: io::Result<Vec<_>> = listens.into_iter().map(copy).collect();
    all.map_err(|error| format!("dup() of a listening socket failed {}", OsError(&error)))
}

/// Says which changed settings a running process can't take up.
fn log_deferred(before: &ProcessSettings, now: &ProcessSettings, log: &ErrorLog) {
    let deferred = [
        ("daemon", before.daemon != now.daemon),
        ("master_process", before.master_process != now.master_process),
    ];
    let alone = [
        ("user", before.user != now.user),
        ("env", before.environment != now.environment),
        ("proxy_bind ... transparent", before.transparent != now.transparent),
        ("working_directory", before.working_directory != now.working_directory),
        ("worker_priority", before.priority != now.priority),
        ("worker_cpu_affinity", before.affinity != now.affinity),
    ];
    // The only process there is cannot be replaced by another one.
    let alone = if before.master_process { &[][..] } else { &alone[..] };
    for (name, _) in deferred.iter().chain(alone).filter(|(_, changed)| *changed) {
        log!(log, Notice, "the new value of \"{name}\" takes effect at the next start");
    }
}
