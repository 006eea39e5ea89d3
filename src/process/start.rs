//! The start of a master: everything up to the point where only the worker can still refuse.

use super::daemon::{self, Detached};
use super::data_plane::DataPlane;
use super::listeners::Listeners;
use super::load::{self, Configuration, Prepared};
use super::master::{InForce, Master, Phase, Wants};
use super::restarts::Restarts;
use super::signal::{Role, Signals};
use super::upgrade::{Inheritance, Program, Upgrade};
use super::watch::Watch;
use super::{logs, pid_file};
use crate::base::process_settings::Level;
use crate::net::error_log::{ErrorLog, OsError};
use crate::net::sockets::Logs;
use crate::plan::Origin;
use rustix::process::{Resource, getrlimit};

/// What became of a start.
pub enum Begun {
    /// A master that is ready to launch its worker.
    Master(Box<Master>),
    /// The daemon runs elsewhere, and serves or has failed.
    Left(bool),
}

impl Master {
    /// Everything up to the point where nothing can be refused any more but by the worker.
    pub(super) fn prepared(
        origin: Origin,
        inheritance: Option<Inheritance>,
        log: ErrorLog,
    ) -> Result<Begun, ()> {
        let program = Program::of_this_process();
        inheritance.iter().for_each(|inheritance| inheritance.report(&log));
        let configuration = Configuration::read(&origin, &log).ok_or(())?;
        let prepared = configuration.prepare(&log)?;
        let Prepared { settings, user, shards, logs } = prepared;
        let logs = logs::renewed(&Logs::new(), logs, &log);
        let log = logs::error_log(&settings, &logs).with_console(true);
        configuration.notices.iter().for_each(|notice| load::report(notice, &log));
        // Better found out now than when everything runs and only the file is missing.
        if !pid_file::check(&settings.pid, &log) {
            return Err(());
        }
        // A master that takes over is where the one before it was.
        let leaves = settings.daemon && inheritance.is_none();
        let upgrade = Upgrade::new(program, inheritance.as_ref(), leaves);
        let sockets = inheritance.map(|inheritance| inheritance.sockets).unwrap_or_default();
        let mut listeners = Listeners::inherit(sockets, &log);
        let staged = listeners.stage(configuration.plan.listens(), shards, &log)?;
        listeners.commit(staged, upgrade.others(), &log);
        let mut readiness = None;
        if leaves {
            match daemon::detach() {
                Ok(Detached::Started(serves)) => return Ok(Begun::Left(serves)),
                Ok(Detached::Daemon(daemon)) => readiness = Some(daemon),
                Err((call, error)) => {
                    log!(log, Emerg, "{call} failed {}", OsError(&error));
                    listeners.close(upgrade.others(), &log);
                    return Err(());
                }
            }
        }
        let signals = match Signals::new(Role::Master) {
            Ok(signals) => signals,
            Err(error) => {
                log!(log, Emerg, "signalfd() failed {}", OsError(&error));
                listeners.close(upgrade.others(), &log);
                return Err(());
            }
        };
        log_start(&log);
        let watch = Watch::new(&configuration.plan);
        Ok(Begun::Master(Box::new(Master {
            origin,
            log,
            logs,
            listeners,
            in_force: InForce { settings, user, snapshot: configuration.snapshot, watch },
            generation: 0,
            data_plane: DataPlane::None,
            leaving: Vec::new(),
            pending: None,
            serves: false,
            signals,
            readiness,
            phase: Phase::Running,
            restarts: Restarts::default(),
            restart_at: None,
            upgrade,
            wants: Wants::default(),
        })))
    }
}

fn log_start(log: &ErrorLog) {
    log!(log, Notice, "octroi/{}", env!("CARGO_PKG_VERSION"));
    if let Ok(release) = std::fs::read_to_string("/proc/sys/kernel/osrelease") {
        log!(log, Notice, "OS: Linux {}", release.trim_end());
    }
    let limit = getrlimit(Resource::Nofile);
    let shown = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |count| count.to_string());
    log!(log, Notice, "getrlimit(RLIMIT_NOFILE): {}:{}", shown(limit.current), shown(limit.maximum));
}
