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
use super::listeners::Staged;
use super::load::{self, Configuration, Prepared};
use super::master::{End, InForce, Master, Pending};
use super::message::{Load, Message};
use super::os::{self, Fork};
use super::{logs, pid_file, privileges, worker};
use crate::base::address::Address;
use crate::base::process_settings::{Level, ProcessSettings};
use crate::net::error_log::{ErrorLog, OsError};
use crate::plan::{Origin, Plan};

/// A new configuration with everything made for it, not yet in force.
pub struct Change {
    plan: Arc<Plan>,
    snapshot: Vec<u8>,
    prepared: Prepared,
    staged: Staged,
}

impl Master {
    /// Starts the data plane with the configuration in force.
    pub(super) fn launch(&mut self) -> ControlFlow<End> {
        self.generation += 1;
        if !self.in_force.settings.master_process {
            return self.launch_here();
        }
        log!(self.log, Notice, "start worker processes");
        let forked = Link::pair().and_then(|(ours, theirs)| Ok((ours, theirs, os::fork()?)));
        let (link, pid) = match forked {
            Ok((_, link, Fork::Child)) => {
                return ControlFlow::Break(End::Worker(Box::new(worker::Start {
                    link,
                    log: self.log.clone(),
                    user: self.in_force.user.clone(),
                    settings: self.in_force.settings.clone(),
                })));
            }
            Ok((link, _, Fork::Parent(pid))) => (link, pid),
            Err(error) => {
                log!(self.log, Emerg, "could not fork a worker process {}", OsError(&error));
                return self.launch_failed();
            }
        };
        log!(self.log, Notice, "start worker process {}", pid.as_raw_nonzero());
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

    fn launch_here(&mut self) -> ControlFlow<End> {
        privileges::limit_descriptors(&self.in_force.settings, &self.log);
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
    pub(super) fn reconfigure(&mut self) {
        log!(self.log, Notice, "reconfiguring");
        let Some(change) = self.change() else { return };
        self.generation += 1;
        match &mut self.data_plane {
            // Nobody is there to be asked; the next worker starts with it.
            DataPlane::None => self.commit(change),
            DataPlane::Here(engine) => {
                let files = copies(&change.prepared.logs, &self.log);
                let taken = owned(self.listeners.with(&change.staged))
                    .and_then(|listens| engine.load(Arc::clone(&change.plan), listens, files, &self.log));
                match taken {
                    Ok(_) => self.commit(change),
                    Err(reason) => self.undo(change, &reason),
                }
            }
            DataPlane::Process { link, .. } => {
                let listens = self.listeners.with(&change.staged);
                let load = load_message(
                    self.generation,
                    &self.origin,
                    &change.snapshot,
                    listens,
                    &change.prepared.logs,
                );
                let sent = link
                    .as_ref()
                    .map_or(Err(io::ErrorKind::BrokenPipe.into()), |link| link.send(&Message::Load(load)));
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
    }

    /// Reads, opens and binds. `None`, with the reason logged, leaves everything as it was.
    fn change(&self) -> Option<Change> {
        let configuration = Configuration::read(&self.origin, &self.log)?;
        let prepared = configuration.prepare(&self.log).ok()?;
        configuration.notices.iter().for_each(|notice| load::report(notice, &self.log));
        let Configuration { plan, snapshot, .. } = configuration;
        let staged = self.listeners.stage(plan.listens(), prepared.shards, &self.log).ok()?;
        Some(Change { plan, snapshot, prepared, staged })
    }

    /// Puts a change in force.
    pub(super) fn commit(&mut self, change: Change) {
        let Change { snapshot, prepared: Prepared { settings, user, logs, .. }, staged, .. } = change;
        self.listeners.commit(staged, &self.log);
        self.logs = logs::renewed(&self.logs, logs, &self.log);
        self.log = logs::error_log(&settings, &self.logs);
        logs::redirect_stderr(&settings, &self.logs, &self.log);
        let before = std::mem::replace(&mut self.in_force, InForce { settings, user, snapshot });
        let settings = &self.in_force.settings;
        log_deferred(&before.settings, settings, &self.log);
        if let (true, Some(pid)) =
            (before.settings.rlimit_nofile != settings.rlimit_nofile, self.data_plane.pid())
        {
            privileges::limit_descriptors_of(pid, settings, &self.log);
        }
        if before.settings.pid != settings.pid && pid_file::write(&settings.pid, &self.log) {
            pid_file::remove(&before.settings.pid, &self.log);
        }
    }

    /// Gives a change up.
    pub(super) fn undo(&mut self, change: Change, reason: &str) {
        log!(self.log, Emerg, "the new configuration was not taken up: {reason}");
        self.listeners.abandon(change.staged, &self.log);
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
        ("user", before.user != now.user),
        ("worker_cpu_affinity", before.affinity != now.affinity),
        ("daemon", before.daemon != now.daemon),
        ("master_process", before.master_process != now.master_process),
    ];
    for (name, _) in deferred.iter().filter(|(_, changed)| *changed) {
        log!(log, Notice, "the new value of \"{name}\" takes effect at the next start");
    }
}
