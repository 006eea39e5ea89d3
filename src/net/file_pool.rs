//! The file pool: a few threads of the process for what may sleep on a disk, so that a shard never
//! does. What the page cache can answer never comes here (see [`super::file`]).

use crate::base::clock;
use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::thread;

use flume::{Receiver, Sender, TrySendError};

use crate::base::limits::{FILE_POOL_QUEUE, FILE_POOL_THREADS};

type Job = Box<dyn FnOnce() + Send>;

/// The queue of the process's pool; `None` when no thread could be started.
static POOL: OnceLock<Option<Sender<Job>>> = OnceLock::new();

/// Runs `job` on the pool and waits for its result without holding up the shard. Only what runs as
/// a task of its own ([`super::runtime::spawn`]) may wait here: the future that a runtime was
/// started with is not woken from other threads. Dropping the future does not stop the job.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] when [`FILE_POOL_QUEUE`] jobs wait already: the disk is slower than
/// what is asked of it. [`io::ErrorKind::Other`] when the job panicked or the process has no thread
/// to run it.
pub async fn run<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let pool = POOL.get_or_init(start).as_ref();
    let queue = pool.ok_or_else(|| io::Error::other("file pool has no thread"))?;
    let (reply, answer) = flume::bounded(1);
    let job = move || {
        // Who asked may be gone; then the result is dropped here. The reply has room for one.
        let _ = reply.try_send(job());
    };
    queue.try_send(Box::new(job)).map_err(|refused| match refused {
        TrySendError::Full(_) => io::Error::new(io::ErrorKind::WouldBlock, "file pool is busy"),
        TrySendError::Disconnected(_) => io::Error::other("file pool has no thread"),
    })?;
    let answered = answer.recv_async().await;
    clock::tick();
    answered.map_err(|_| io::Error::other("file pool: the job panicked"))
}

/// Does `job` on the pool, when it gets to it, and nobody waits for it; here and now if the pool has no
/// place for it.
pub fn later(job: impl FnOnce() + Send + 'static) {
    match POOL.get_or_init(start) {
        Some(queue) => {
            if let Err(refused) = queue.try_send(Box::new(job)) {
                refused.into_inner()();
            }
        }
        None => job(),
    }
}

/// Starts the threads; fewer than asked for will do.
fn start() -> Option<Sender<Job>> {
    let (sender, receiver) = flume::bounded::<Job>(FILE_POOL_QUEUE);
    let started = (0..FILE_POOL_THREADS).filter(|number| {
        let jobs = receiver.clone();
        let thread = thread::Builder::new().name(format!("octroi-file-{number}"));
        thread.spawn(move || work(&jobs)).is_ok()
    });
    (started.count() > 0).then_some(sender)
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

/// Runs a test as a task, on the driver the host gives and on epoll.
#[cfg(test)]
pub(super) fn on_both_drivers<F: Future<Output = ()> + 'static>(test: impl Fn() -> F) {
    use super::runtime::{self, Driver};
    for driver in [runtime::probe(), Driver::Epoll] {
        let (done, over) = flume::bounded(1);
        let test = test();
        let main = async move {
            runtime::spawn(async move {
                test.await;
                let _ = done.send(());
            });
            over.recv_async().await
        };
        assert_eq!(runtime::run(driver, main).ok(), Some(Ok(())), "{driver:?}");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;

    #[test]
    fn results_come_back_in_any_order() {
        on_both_drivers(|| async {
            for round in 0..200_u64 {
                let slow = run(move || {
                    thread::sleep(Duration::from_micros(round % 7 * 30));
                    round
                });
                let quick = run(move || round + 1);
                assert_eq!(crate::net::deadline::both(slow, quick).await.0.unwrap(), round);
            }
            let (tasks, done) = flume::unbounded();
            for number in 0..300_u64 {
                let tasks = tasks.clone();
                crate::net::runtime::spawn(async move {
                    tasks.send(run(move || number * 2).await.unwrap()).unwrap();
                });
            }
            let mut sum = 0;
            for _ in 0..300 {
                sum += done.recv_async().await.unwrap();
            }
            assert_eq!(sum, 299 * 300);
        });
    }

    #[test]
    fn a_panic_is_an_error_for_its_caller_only() {
        on_both_drivers(|| async {
            for _ in 0..FILE_POOL_THREADS * 2 {
                let failed =
                    run(|| -> u32 { std::panic::resume_unwind(Box::new("a job's own fault")) }).await;
                assert_eq!(failed.unwrap_err().to_string(), "file pool: the job panicked");
            }
            assert_eq!(run(|| 7).await.unwrap(), 7);
        });
    }

    #[test]
    fn who_leaves_early_holds_nothing_up() {
        on_both_drivers(|| async {
            for _ in 0..100 {
                let mut left = Box::pin(run(|| thread::sleep(Duration::from_micros(100))));
                std::future::poll_fn(|cx| {
                    let _ = left.as_mut().poll(cx);
                    std::task::Poll::Ready(())
                })
                .await;
            }
            assert_eq!(run(|| 7).await.unwrap(), 7);
        });
    }
}
