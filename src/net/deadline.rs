//! Deadlines without a timer per wait.
//!
//! A connection waits thousands of times, nearly always shorter than its timeouts. So it owns one
//! timer, and a wait only notes its deadline: the timer is moved when it fires too early (once per
//! timeout, not once per wait) or when a deadline comes before it.

use crate::base::clock;
use monoio::time::{Instant as TimerInstant, Sleep};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// The deadline passed before the future was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

/// The one timer of a connection's task. It must be polled by one task only.
pub struct Alarm {
    /// `None` until a wait needs it: monoio's timer is 640 bytes, which an idle connection is not to
    /// hold.
    timer: Option<Pin<Box<Sleep>>>,
    /// When the timer is set to fire.
    armed: Instant,
    /// Whether the timer has been polled, and so knows the task to wake, since it was last set.
    registered: bool,
}

impl Alarm {
    /// A timer that fires first at `first`, once something is waited for.
    pub fn new(first: Instant) -> Alarm {
        Alarm { timer: None, armed: first, registered: false }
    }

    /// Gives the timer's memory back until the next wait.
    pub fn rest(&mut self) {
        self.timer = None;
        self.registered = false;
    }

    /// Waits for `future`, at most until `deadline`. The future is dropped when time is up.
    #[inline]
    pub fn within<F: Future>(&mut self, deadline: Instant, future: F) -> Within<'_, F> {
        Within { alarm: self, deadline, begun: false, future }
    }

    /// Ready when `deadline` has passed; else sees to it that the task is woken then.
    /// `first`: nothing was waited for yet.
    fn poll(&mut self, deadline: Instant, first: bool, cx: &mut Context<'_>) -> Poll<()> {
        if deadline < self.armed {
            self.set(deadline);
        }
        // As a wait begins, the clock has just been read at the end of the one before: a timer that
        // looks as if it had not fired has not. Later polls may be its doing, and ask it.
        if first && self.registered && clock::now() + TIMER_GRAIN < self.armed {
            return Poll::Pending;
        }
        loop {
            let armed = self.armed;
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(monoio::time::sleep_until(TimerInstant::from_std(armed))));
            match timer.as_mut().poll(cx) {
                Poll::Pending => {
                    self.registered = true;
                    return Poll::Pending;
                }
                Poll::Ready(()) => {
                    if clock::tick() >= deadline {
                        self.set(deadline + REST);
                        return Poll::Ready(());
                    }
                    self.set(deadline);
                }
            }
        }
    }

    fn set(&mut self, at: Instant) {
        if let Some(timer) = &mut self.timer {
            timer.as_mut().reset(TimerInstant::from_std(at));
        }
        self.armed = at;
        self.registered = false;
    }
}

/// monoio's timers count milliseconds; rounding may make one fire this much early.
const TIMER_GRAIN: Duration = Duration::from_millis(2);

/// Where the timer is put after it fired, until a wait needs it.
const REST: Duration = Duration::from_secs(60);

pin_project_lite::pin_project! {
    /// See [`Alarm::within`].
    #[must_use = "futures do nothing unless awaited"]
    pub struct Within<'a, F> {
        alarm: &'a mut Alarm,
        deadline: Instant,
        begun: bool,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Within<'_, F> {
    type Output = Result<F::Output, Elapsed>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        let first = !std::mem::replace(this.begun, true);
        ready!(this.alarm.poll(*this.deadline, first, cx));
        Poll::Ready(Err(Elapsed))
    }
}

/// Sleeps for `time`.
pub async fn sleep(time: Duration) {
    // Boxed: the timer is 640 bytes, aligned to 128, and would swell every future it is awaited in.
    Box::pin(monoio::time::sleep(time)).await;
    clock::tick();
}

/// What of two futures was done first; the other is dropped by the caller.
pub enum First<A, B> {
    /// The first one.
    Left(A),
    /// The second one.
    Right(B),
}

/// Waits for the first of two futures; `left` wins a tie. Neither may be one that loses bytes when
/// dropped (use [`super::stream::Stream::readable`], not a read).
pub async fn first<A: Future, B: Future>(left: A, right: B) -> First<A::Output, B::Output> {
    let mut left = std::pin::pin!(left);
    let mut right = std::pin::pin!(right);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(output) = left.as_mut().poll(cx) {
            return Poll::Ready(First::Left(output));
        }
        right.as_mut().poll(cx).map(First::Right)
    })
    .await
}

/// Waits for both futures, driven by this one task.
pub async fn both<A: Future, B: Future>(left: A, right: B) -> (A::Output, B::Output) {
    let mut left = std::pin::pin!(left);
    let mut right = std::pin::pin!(right);
    let (mut first, mut second) = (None, None);
    std::future::poll_fn(|cx| {
        if first.is_none()
            && let Poll::Ready(output) = left.as_mut().poll(cx)
        {
            first = Some(output);
        }
        if second.is_none()
            && let Poll::Ready(output) = right.as_mut().poll(cx)
        {
            second = Some(output);
        }
        match (first.take(), second.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                first = a;
                second = b;
                Poll::Pending
            }
        }
    })
    .await
}
