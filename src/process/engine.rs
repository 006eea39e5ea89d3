//! The data plane as the control loops see it: a configuration and its descriptors go in, shards
//! run. It lives in the worker, or in the only process under `master_process off`.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::{cpu, logs};
use crate::base::address::{Address, Listen};
use crate::base::process_settings::Level;
use crate::bridge::quota::Book;
use crate::bridge::zone::Zones;
use crate::control::Control;
use crate::net::error_log::ErrorLog;
use crate::net::sockets::{ListenSockets, Logs, Sockets};
use crate::plan::Plan;
use crate::remote::quota::Keeper;
use crate::shard::Shards;

/// How often a drain is looked at. A shard says that it has finished by ending; at 100 looks a
/// second the look costs nothing and delays the exit by less than anyone notices.
pub const DRAIN_LOOK: Duration = Duration::from_millis(10);

/// How long shards may take to write their buffered logs out when they are told to stop.
const STOP_WAIT: Duration = Duration::from_secs(1);

/// The accounts of quotas, and their keeper where they have none yet.
type Kept = (Option<Arc<Book>>, Option<Keeper>);

/// The shards, if they were started, the logs they write to, and the zones they count in.
#[derive(Default)]
pub struct Engine {
    shards: Option<Shards>,
    /// Started when a configuration first has work for it.
    control: Option<Control>,
    logs: Logs,
    zones: Zones,
    /// The configuration in force, which is the shards' to keep.
    plan: Weak<Plan>,
}

impl Engine {
    /// Takes up a configuration: starts the shards, or gives the running ones a new generation.
    /// `listens` is the complete set of sockets. Returns the configuration's error log.
    ///
    /// # Errors
    /// The message for the log; what ran before runs on.
    pub fn load(
        &mut self,
        plan: Arc<Plan>,
        listens: Vec<(Address, Vec<OwnedFd>)>,
        opened: logs::Opened,
        log: &ErrorLog,
    ) -> Result<ErrorLog, String> {
        let settings = plan.process().clone();
        let shards = cpu::shard_count(&settings);
        let sockets = sockets(plan.listens(), listens, shards)?;
        let logs = logs::renewed(&self.logs, opened, log);
        let error_log = logs::error_log(&settings, &logs);
        let pins = cpu::pins(&settings, shards);
        plan.preparations.iter().try_for_each(|prepare| prepare())?;
        let zones = self.zones.renewed(&plan.zones)?;
        let (book, keeper) = self.book(&plan, &error_log)?;
        let zones = zones.with_book(book);
        if !plan.workers.is_empty() || keeper.is_some() {
            let control = match self.control.take() {
                Some(running) => running,
                None => {
                    Control::start().map_err(|error| format!("could not start the control plane: {error}"))?
                }
            };
            let control = self.control.insert(control);
            if !plan.workers.is_empty() {
                control.take_up(&plan, &error_log);
            }
            if let Some(keeper) = keeper {
                control.keep(keeper, &error_log);
            }
        }
        let in_force = Arc::downgrade(&plan);
        match &mut self.shards {
            Some(running) => {
                running.load(plan, sockets, logs.clone(), zones.clone(), error_log.clone(), pins)?
            }
            None => {
                let started =
                    Shards::start(plan, sockets, logs.clone(), zones.clone(), error_log.clone(), pins);
                self.shards = Some(started.map_err(|error| format!("could not start the shards: {error}"))?);
            }
        }
        self.logs = logs;
        self.zones = zones;
        self.plan = in_force;
        logs::redirect_stderr(&settings, &self.logs, &error_log);
        Ok(error_log)
    }

    /// Puts the certificates that `newer`, the same configuration, has made of these files in the place of
    /// those in use. Connections go on.
    pub fn renew(&self, newer: &Plan, files: &[PathBuf], log: &ErrorLog) {
        let servers = self.plan.upgrade().map_or(0, |plan| plan.renew_tls(newer, files));
        log!(log, Notice, "certificates of {servers} server(s) renewed, {} file(s) changed", files.len());
    }

    /// The accounts of a plan's quotas: those that are there, if they are kept at the same place, or else
    /// what is kept there, with its keeper.
    fn book(&self, plan: &Plan, log: &ErrorLog) -> Result<Kept, String> {
        let Some(store) = &plan.quota_store else { return Ok((None, None)) };
        if let Some(book) = self.zones.book().filter(|book| book.store == *store) {
            return Ok((Some(book.clone()), None));
        }
        let (book, keeper) = Keeper::open(store, log)?;
        Ok((Some(book), Some(keeper)))
    }

    /// True once a configuration was taken up.
    pub fn is_running(&self) -> bool {
        self.shards.is_some()
    }

    /// Goes on in files that were opened again.
    pub fn reopen(&mut self, opened: logs::Opened, log: &ErrorLog) {
        if let Some(shards) = &self.shards {
            shards.flush_logs();
        }
        logs::adopt(&mut self.logs, opened, log);
    }

    /// Lets what is under way finish, and takes nothing new.
    pub fn quit(&mut self) {
        if let Some(shards) = &mut self.shards {
            shards.quit();
        }
    }

    /// True when nothing runs (any more).
    pub fn finished(&mut self) -> bool {
        let finished = self.shards.as_mut().is_none_or(|shards| shards.finished());
        if finished {
            self.end_control();
        }
        finished
    }

    /// The last counts are kept; the process ends next.
    fn end_control(&mut self) {
        if let Some(control) = self.control.take() {
            control.end();
        }
    }

    /// Ends everything now, except that the logs' buffers are written out. The process has to end
    /// next: a shard that is stuck may still run.
    pub fn stop(&mut self) {
        if let Some(shards) = &mut self.shards {
            shards.stop();
        }
        let until = Instant::now() + STOP_WAIT;
        while !self.finished() && Instant::now() < until {
            std::thread::sleep(DRAIN_LOOK);
        }
        self.end_control();
    }
}

/// Pairs the plan's addresses with their descriptors; a Unix socket's one is copied for each shard.
fn sockets(
    wanted: &[Listen],
    mut listens: Vec<(Address, Vec<OwnedFd>)>,
    shards: usize,
) -> Result<Sockets, String> {
    let mut all = Vec::with_capacity(wanted.len());
    for listen in wanted {
        let at = listens.iter().position(|(address, _)| *address == listen.address);
        let Some(at) = at else { return Err(format!("no socket for {}", listen.address)) };
        let (address, mut descriptors) = listens.swap_remove(at);
        if let (Address::Unix(_), Some(first)) = (&address, descriptors.first()) {
            let copies: Result<Vec<OwnedFd>, _> = (1..shards).map(|_| first.try_clone()).collect();
            descriptors.extend(copies.map_err(|error| format!("dup() of {address} failed: {error}"))?);
        }
        all.push(ListenSockets { listen: listen.clone(), descriptors });
    }
    Ok(Sockets { listens: all })
}
