//! One shard's view of one generation of the configuration.

use crate::base::process_settings::{ErrorLog as ErrorLogSetting, Level, LogTarget};
use crate::net::error_log::{ErrorLog, Target};
use crate::net::log_file::LogFile;
use crate::net::sockets::Logs;
use crate::net::syslog::SyslogSocket;
use crate::pipeline::local::{Locals, ShardFacts};
use crate::pipeline::settings::Here;
use crate::plan::{LocationId, Plan};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

/// The plan with this shard's own state. Whoever serves by it holds it; when the last one lets go
/// of a generation that was replaced, it has drained.
pub struct Generation {
    /// The plan, shared with the other shards.
    pub plan: Arc<Plan>,
    /// The locations, each behind a counter of this shard's.
    heres: Vec<Rc<Here>>,
    /// The features' states.
    pub locals: Rc<Locals>,
    /// The main context's error log.
    pub error_log: ErrorLog,
    /// A newer one has taken over.
    replaced: Cell<bool>,
    shard: usize,
}

impl Generation {
    /// Builds this shard's state for `plan`.
    pub fn new(plan: Arc<Plan>, facts: &ShardFacts<'_>, error_log: ErrorLog) -> Generation {
        let locals = Rc::new(plan.layout.build(facts));
        let mut known: Vec<(&[ErrorLogSetting], ErrorLog)> = Vec::new();
        let mut heres: Vec<Rc<Here>> = Vec::with_capacity(plan.locations.len());
        for settings in &plan.locations {
            let wanted = settings.error_logs.as_slice();
            let log = match known.iter().find(|(lines, _)| *lines == wanted) {
                Some((_, log)) => log.clone(),
                None => {
                    let log = opened(wanted, facts.logs);
                    known.push((wanted, log.clone()));
                    log
                }
            };
            // Inner levels are compiled before the one that holds them.
            let inner = settings.inner.iter().filter_map(|id| heres.get(*id).cloned()).collect();
            heres.push(Rc::new(Here { settings: settings.clone(), error_log: log, inner }));
        }
        drop(known);
        Generation { heres, locals, error_log, replaced: Cell::new(false), shard: facts.shard, plan }
    }

    /// A location.
    pub fn here(&self, id: LocationId) -> &Rc<Here> {
        &self.heres[id]
    }

    /// A newer generation has taken over: it says so in the log when it has drained.
    pub fn replace(&self) {
        self.replaced.set(true);
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        if self.replaced.get() {
            let pid = std::process::id();
            self.error_log.write(
                Level::Notice,
                None,
                format_args!(
                    "generation drained on shard {}: worker process {pid} exited with code 0",
                    self.shard
                ),
            );
        }
    }
}

/// The log these lines name, on descriptors that were opened for us.
fn opened(lines: &[ErrorLogSetting], logs: &Logs) -> ErrorLog {
    let target = |line: &ErrorLogSetting| {
        let file = match &line.target {
            LogTarget::File(path) => Target::File(logs.get(path)?.clone()),
            LogTarget::Stderr => Target::File(LogFile::stderr()),
            LogTarget::Syslog(to) => Target::Syslog(Arc::new(SyslogSocket::new(to.clone()))),
        };
        Some((file, line.level))
    };
    ErrorLog::new(lines.iter().filter_map(target).collect())
}
