//! Pools of a few threads of the process, each with a bounded queue, for what a shard may not do
//! itself: sleep on a disk, or hash a password.

use crate::base::clock;
use flume::{Receiver, Sender, TrySendError};
use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::thread;

type Job = Box<dyn FnOnce() + Send>;

/// A pool. Its threads are started when it is first needed.
pub struct Pool {
    /// What is done in it: `file`.
    kind: &'static str,
    threads: usize,
    queue: usize,
    /// The queue; `None` when no thread could be started.
    jobs: OnceLock<Option<Sender<Job>>>,
}

impl Pool {
    /// A pool of so many threads, for whom so many jobs may wait.
    pub const fn new(kind: &'static str, threads: usize, queue: usize) -> Pool {
        Pool { kind, threads, queue, jobs: OnceLock::new() }
    }

    /// Runs `job` on the pool and waits for its result without holding up the shard. Only what runs as
    /// a task of its own ([`super::runtime::spawn`]) may wait here: the future that a runtime was
    /// started with is not woken from other threads. Dropping the future does not stop the job.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when as many jobs wait as may. [`io::ErrorKind::Other`] when the
    /// job panicked or the process has no thread to run it.
    pub async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let kind = self.kind;
        let jobs = self.jobs.get_or_init(|| self.start()).as_ref();
        let jobs = jobs.ok_or_else(|| io::Error::other(format!("{kind} pool has no thread")))?;
        let (reply, answer) = flume::bounded(1);
        let job = move || {
            // Who asked may be gone; then the result is dropped here. The reply has room for one.
            let _ = reply.try_send(job());
        };
        jobs.try_send(Box::new(job)).map_err(|refused| match refused {
            TrySendError::Full(_) => {
                io::Error::new(io::ErrorKind::WouldBlock, format!("{kind} pool is busy"))
            }
            TrySendError::Disconnected(_) => io::Error::other(format!("{kind} pool has no thread")),
        })?;
        let answered = answer.recv_async().await;
        clock::tick();
        answered.map_err(|_| io::Error::other(format!("{kind} pool: the job panicked")))
    }

    /// Does `job` on the pool, when it gets to it, and nobody waits for it; here and now if the pool has
    /// no place for it.
    pub fn later(&self, job: impl FnOnce() + Send + 'static) {
        match self.jobs.get_or_init(|| self.start()) {
            Some(jobs) => {
                if let Err(refused) = jobs.try_send(Box::new(job)) {
                    refused.into_inner()();
                }
            }
            None => job(),
        }
    }

    /// Starts the threads; fewer than asked for will do.
    fn start(&self) -> Option<Sender<Job>> {
        let (sender, receiver) = flume::bounded::<Job>(self.queue);
        let started = (0..self.threads).filter(|number| {
            let jobs = receiver.clone();
            let name = format!("octroi-{}-{number}", self.kind);
            thread::Builder::new().name(name).spawn(move || work(&jobs)).is_ok()
        });
        (started.count() > 0).then_some(sender)
    }
}

/// What a thread does: one job after another, for as long as the process lives.
fn work(jobs: &Receiver<Job>) {
    while let Ok(job) = jobs.recv() {
        // A job that panics drops its reply, which is the error its caller gets.
        let panicked: Option<Box<dyn Any + Send>> = catch_unwind(AssertUnwindSafe(job)).err();
        // What it panicked with may panic when dropped: leaked, which a bug that rare may cost.
        std::mem::forget(panicked);
    }
}
