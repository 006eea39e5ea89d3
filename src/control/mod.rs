//! Floor 7, the control plane: one thread with a tokio runtime, for what is not a request and takes
//! waiting: so far, asking name servers. It never touches a client's bytes, knows no feature by name,
//! and exists only where the configuration has work for it.
//!
//! The work is the plan's ([`crate::plan::Worker`]). It ends by itself when the configuration that
//! wanted it is gone, so a reload only adds to it.

use crate::base::process_settings::Level;
use crate::net::error_log::ErrorLog;
use crate::plan::{Plan, Work};
use std::io;
use std::sync::Arc;

/// Plans that the thread may be behind with: they come one reload at a time.
const PLANS_MAX: usize = 16;

/// The control plane's thread, from outside.
pub struct Control {
    plans: flume::Sender<(Arc<Plan>, ErrorLog)>,
}

impl Control {
    /// Starts the thread.
    ///
    /// # Errors
    /// There is no thread or no runtime to be had.
    pub fn start() -> io::Result<Control> {
        let (plans, receiver) = flume::bounded(PLANS_MAX);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("octroi-control".to_owned()).spawn(move || {
            let tasks = tokio::task::LocalSet::new();
            tasks.block_on(&runtime, run(receiver));
        })?;
        Ok(Control { plans })
    }

    /// Does the work that a plan has.
    pub fn take_up(&self, plan: &Arc<Plan>, log: &ErrorLog) {
        // The thread lives as long as this handle does, and the queue is longer than reloads are fast.
        let _ = self.plans.send((plan.clone(), log.clone()));
    }
}

async fn run(plans: flume::Receiver<(Arc<Plan>, ErrorLog)>) {
    while let Ok((plan, log)) = plans.recv_async().await {
        for worker in &plan.workers {
            tokio::task::spawn_local(watched(worker(&log), log.clone()));
        }
    }
}

/// Runs a piece of work and says so when it ends in a panic; the others go on.
async fn watched(work: Work, log: ErrorLog) {
    if let Err(error) = tokio::task::spawn_local(work).await {
        log.write(Level::Alert, None, format_args!("a task of the control plane ended: {error}"));
    }
}
