//! The file pool: a few threads of the process for what may sleep on a disk, so that a shard never
//! does. What the page cache can answer never comes here (see [`super::file`]).

use super::pool::Pool;
use crate::base::limits::{FILE_POOL_QUEUE, FILE_POOL_THREADS};
use std::io;

static POOL: Pool = Pool::new("file", FILE_POOL_THREADS, FILE_POOL_QUEUE);

/// Runs `job` on the pool and waits for its result without holding up the shard.
///
/// # Errors
/// Those of [`Pool::run`]: [`io::ErrorKind::WouldBlock`] when the disk is slower than what is asked of
/// it.
pub async fn run<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    POOL.run(job).await
}

/// Does `job` on the pool, when it gets to it, and nobody waits for it; here and now if the pool has no
/// place for it.
pub fn later(job: impl FnOnce() + Send + 'static) {
    POOL.later(job);
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
    use std::thread;
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
