//! Reading a configuration: from the disk in the master, from the master's texts in the worker.

use std::sync::Arc;

use super::os::User;
use super::{cpu, folders, logs, privileges};
use crate::base::process_settings::{Level, ProcessSettings};
use crate::conf::{Diagnostic, Disk, Recorder, Snapshot, Sources};
use crate::net::error_log::ErrorLog;
use crate::plan::{Loaded, Origin, Plan};

/// A configuration that was read, checked and compiled, and nothing opened for it yet.
pub struct Configuration {
    /// What it means.
    pub plan: Arc<Plan>,
    /// Its texts.
    pub sources: Sources,
    /// What is accepted without effect, and the like.
    pub notices: Vec<Diagnostic>,
    /// Its texts as bytes for the worker.
    pub snapshot: Vec<u8>,
}

impl Configuration {
    /// Reads the files. `None` when they are refused: the reason is logged, nginx's line first and
    /// on the console also the marked place.
    pub fn read(origin: &Origin, log: &ErrorLog) -> Option<Configuration> {
        let mut files = Recorder::new(Disk);
        match crate::features::load(origin, &mut files) {
            Ok(Loaded { plan, notices, sources, .. }) => {
                Some(Configuration { plan, sources, notices, snapshot: files.into_snapshot().encode() })
            }
            Err(diagnostic) => {
                report(&diagnostic, log);
                None
            }
        }
    }

    /// The processes' own settings.
    pub fn settings(&self) -> &ProcessSettings {
        self.plan.process()
    }

    /// Opens the logs, looks up the user and makes its folders: what can fail before a socket is touched.
    ///
    /// # Errors
    /// The reason is logged.
    pub fn prepare(&self, log: &ErrorLog) -> Result<Prepared, ()> {
        let settings = self.settings().clone();
        let shards = cpu::shard_count(&settings);
        let failed = |message: String| log!(log, Emerg, "{message}");
        let user = privileges::worker_user(&settings, log).map_err(failed)?;
        let logs = logs::open(self.plan.log_files()).map_err(failed)?;
        folders::make(&self.plan.temp_folders, user.as_ref(), log);
        Ok(Prepared { settings, user, shards, logs })
    }
}

/// What a configuration needs of the system, besides sockets.
pub struct Prepared {
    /// The processes' own settings.
    pub settings: ProcessSettings,
    /// Whom the worker runs as; `None`: as the master.
    pub user: Option<User>,
    /// How many shards.
    pub shards: usize,
    /// Every log, opened.
    pub logs: logs::Opened,
}

/// Compiles the texts that the master has read and checked.
///
/// # Errors
/// The message for the log.
pub fn from_snapshot(origin: &Origin, snapshot: &[u8]) -> Result<Arc<Plan>, String> {
    let mut files = Snapshot::decode(snapshot).map_err(|error| error.to_string())?;
    compiled(origin, &mut files)
}

/// Compiles these texts.
///
/// # Errors
/// The message for the log.
pub fn compiled(origin: &Origin, files: &mut Snapshot) -> Result<Arc<Plan>, String> {
    match crate::features::load(origin, files) {
        Ok(loaded) => Ok(loaded.plan),
        Err(diagnostic) => Err(diagnostic.text()),
    }
}

/// Logs a diagnostic; a console also gets the lines below the first.
pub fn report(diagnostic: &Diagnostic, log: &ErrorLog) {
    log.write(diagnostic.level, None, format_args!("{}", diagnostic.text()));
    if log.has_console() && diagnostic.level <= Level::Warn {
        diagnostic.to_string().lines().skip(1).for_each(|line| eprintln!("{line}"));
    }
}
