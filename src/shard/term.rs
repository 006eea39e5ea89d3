//! `worker_shutdown_timeout`: what is old may finish, but not for ever.
//!
//! When a shard quits, or a reload gives it a new generation, the timeout of the configuration that
//! goes begins. At its end the connections are called that have not begun a request since: their
//! clients are taken to have gone. What waits for one ends by that, in order and with its line in
//! the log. What waits for something else is dropped a moment later, and its client's connection
//! is reset, so that no part of an answer can pass for all of it.

use super::core::Shard;
use crate::net::deadline;
use crate::net::runtime;
use crate::net::stream::Stream;
use crate::pipeline::connection::{Connection, Life};
use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

/// How long a connection that was called may take to end in order: to log, and to close what it holds.
const GRACE: Duration = Duration::from_millis(500);

/// Newer than any generation: for a shard that quits.
const ALL: u64 = u64::MAX;

/// The open connections of a shard.
#[derive(Default)]
pub struct Roll {
    places: RefCell<Vec<Option<Entry>>>,
    free: RefCell<Vec<usize>>,
}

struct Entry {
    stream: Stream,
    connection: Rc<Connection>,
    task: Waker,
}

/// A connection on the roll.
pub struct Enrolled<'r> {
    roll: &'r Roll,
    place: usize,
}

impl Roll {
    /// Puts the connection of the task that awaits this on the roll, for as long as the result lives.
    pub async fn enrol(&self, stream: &Stream, connection: &Rc<Connection>) -> Enrolled<'_> {
        let task = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
        let entry = Entry { stream: stream.clone(), connection: connection.clone(), task };
        let mut places = self.places.borrow_mut();
        let place = match self.free.borrow_mut().pop() {
            Some(place) => {
                places[place] = Some(entry);
                place
            }
            None => {
                places.push(Some(entry));
                places.len() - 1
            }
        };
        Enrolled { roll: self, place }
    }

    /// Tells connections that serve by a generation before this one that their time is up.
    fn call(&self, before: u64) {
        for entry in self.places.borrow().iter().flatten() {
            if entry.connection.generation.get() < before {
                entry.connection.life.set(Life::Called);
                entry.stream.end_reading();
            }
        }
    }

    /// Wakes all, so that those that wait see that they are to go to another shard.
    pub(super) fn wake_all(&self) {
        for entry in self.places.borrow().iter().flatten() {
            entry.task.wake_by_ref();
        }
    }

    /// Wakes what speaks HTTP/2, so that it tells its client to go elsewhere.
    pub(super) fn wake_http2(&self) {
        for entry in self.places.borrow().iter().flatten() {
            if entry.connection.http2.get() {
                entry.task.wake_by_ref();
            }
        }
    }

    /// Ends those that were called and are still here.
    fn end(&self) {
        for entry in self.places.borrow().iter().flatten() {
            if entry.connection.life.get() == Life::Called {
                entry.connection.life.set(Life::Over);
                entry.stream.reset_on_close();
                entry.task.wake_by_ref();
            }
        }
    }
}

impl Drop for Enrolled<'_> {
    fn drop(&mut self) {
        self.roll.places.borrow_mut()[self.place] = None;
        self.roll.free.borrow_mut().push(self.place);
    }
}

/// Begins the time that connections of generations before `before` have; none if the timeout is.
pub fn begin(shard: &Rc<Shard>, timeout: Option<Duration>, before: u64) {
    if let Some(timeout) = timeout {
        runtime::spawn(term(Rc::downgrade(shard), timeout, before));
    }
}

/// The same for all connections of a shard that quits.
pub fn begin_for_all(shard: &Rc<Shard>) {
    let timeout = shard.generation().plan.process().shutdown_timeout;
    begin(shard, timeout, ALL);
}

async fn term(shard: Weak<Shard>, timeout: Duration, before: u64) {
    deadline::sleep(timeout).await;
    let Some(called) = shard.upgrade() else { return };
    called.roll.call(before);
    drop(called);
    deadline::sleep(GRACE).await;
    if let Some(shard) = shard.upgrade() {
        shard.roll.end();
    }
}

/// Drives what serves a connection until it is done; `None` when the connection's time was over.
pub async fn while_it_lasts<F: Future>(
    connection: &Connection,
    mut serving: Pin<Box<F>>,
) -> Option<F::Output> {
    poll_fn(|context| match connection.life.get() {
        Life::Over => Poll::Ready(None),
        _ => serving.as_mut().poll(context).map(Some),
    })
    .await
}
