//! Floor 7, the control plane: one thread with a tokio runtime, for what is not a request and takes
//! waiting: asking name servers, keeping the counts of quotas. It never touches a client's bytes, knows no feature by name,
//! and exists only where the configuration has work for it.
//!
//! The work is the plan's ([`crate::plan::Worker`]). It ends by itself when the configuration that
//! wanted it is gone, so a reload only adds to it.

use crate::base::process_settings::Level;
use crate::net::error_log::ErrorLog;
use crate::plan::{Plan, Work};
use crate::remote::quota::Keeper;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Plans that the thread may be behind with: they come one reload at a time.
const PLANS_MAX: usize = 16;

/// How long the end of the process waits for the last counts to be kept.
const LAST_SAVE: Duration = Duration::from_secs(3);

/// The control plane's thread, from outside.
pub struct Control {
    orders: flume::Sender<Order>,
}

enum Order {
    /// Do a plan's work.
    TakeUp(Arc<Plan>, ErrorLog),
    /// Keep the counts of quotas.
    Keep(Box<Keeper>, ErrorLog),
    /// Keep them for the last time, and say so.
    End(flume::Sender<()>),
}

impl Control {
    /// Starts the thread.
    ///
    /// # Errors
    /// There is no thread or no runtime to be had.
    pub fn start() -> io::Result<Control> {
        let (orders, receiver) = flume::bounded(PLANS_MAX);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("octroi-control".to_owned()).spawn(move || {
            let tasks = tokio::task::LocalSet::new();
            tasks.block_on(&runtime, run(receiver));
        })?;
        Ok(Control { orders })
    }

    /// Does the work that a plan has.
    pub fn take_up(&self, plan: &Arc<Plan>, log: &ErrorLog) {
        // The thread lives as long as this handle does, and the queue is longer than reloads are fast.
        let _ = self.orders.send(Order::TakeUp(plan.clone(), log.clone()));
    }

    /// Keeps the counts of quotas until nobody counts in them any more.
    pub fn keep(&self, keeper: Keeper, log: &ErrorLog) {
        let _ = self.orders.send(Order::Keep(Box::new(keeper), log.clone()));
    }

    /// Keeps them for the last time: the process is about to end, and no shard counts any more.
    pub fn end(&self) {
        let (done, ended) = flume::bounded(1);
        if self.orders.try_send(Order::End(done)).is_ok() {
            let _ = ended.recv_timeout(LAST_SAVE);
        }
    }
}

async fn run(orders: flume::Receiver<Order>) {
    // What ends each keeper when it is dropped, and the keeper itself.
    let mut keepers: Vec<(flume::Sender<()>, JoinHandle<()>)> = Vec::new();
    while let Ok(order) = orders.recv_async().await {
        match order {
            Order::TakeUp(plan, log) => {
                for worker in &plan.workers {
                    tokio::task::spawn_local(watched(worker(&log), log.clone()));
                }
            }
            Order::Keep(keeper, log) => {
                let (end, ends) = flume::bounded(1);
                let work = Box::pin(keeper.run(ends, log.clone()));
                keepers.retain(|(_, keeper)| !keeper.is_finished());
                keepers.push((end, tokio::task::spawn_local(watched(work, log))));
            }
            Order::End(done) => {
                for (end, keeper) in keepers.drain(..) {
                    drop(end);
                    let _ = keeper.await;
                }
                let _ = done.send(());
            }
        }
    }
}

/// Runs a piece of work and says so when it ends in a panic; the others go on.
async fn watched(work: Work, log: ErrorLog) {
    if let Err(error) = tokio::task::spawn_local(work).await {
        log.write(Level::Alert, None, format_args!("a task of the control plane ended: {error}"));
    }
}
