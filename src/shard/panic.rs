//! A panic in one connection's task ends that connection: caught, counted, logged.

use super::generation::Generation;
use crate::base::process_settings::Level;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

/// Panics caught since the start.
pub static CAUGHT: AtomicU64 = AtomicU64::new(0);

pin_project_lite::pin_project! {
    struct Caught<F, G> {
        #[pin]
        task: F,
        generation: G,
    }
}

/// The same task, which ends when it panics; `generation` gives the one whose error log is told.
pub fn caught(
    generation: impl Fn() -> Rc<Generation>,
    task: impl Future<Output = ()>,
) -> impl Future<Output = ()> {
    Caught { task, generation }
}

impl<F: Future<Output = ()>, G: Fn() -> Rc<Generation>> Future for Caught<F, G> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let task = this.task;
        // What the task shares with others is consistent between any two of its statements: cells
        // that are set, lists that are pushed to. The task itself is dropped and never polled again.
        match catch_unwind(AssertUnwindSafe(|| task.poll(cx))) {
            Ok(poll) => poll,
            Err(_) => {
                let count = CAUGHT.fetch_add(1, Ordering::Relaxed) + 1;
                let generation = (this.generation)();
                let message =
                    format_args!("a connection's task panicked and was ended ({count} since the start)");
                generation.error_log.write(Level::Alert, None, message);
                Poll::Ready(())
            }
        }
    }
}
