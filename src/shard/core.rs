//! What all tasks of one shard share: the generation in force, and what is open.

use super::generation::Generation;
use super::moving::Neighbour;
use super::term::{self, Roll};
use crate::base::address::Address;
use crate::base::clock;
use crate::base::counters::{self, Count, Held};
use crate::base::limits::HOT_WAITS_MAX;
use crate::net::deadline;
use crate::net::runtime::Driver;
use crate::net::stream::Stream;
use crate::pipeline::exchange;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The state of one shard, on its own thread.
pub struct Shard {
    /// What drives its sockets.
    pub driver: Driver,
    generation: RefCell<Rc<Generation>>,
    /// Open connections of clients.
    connections: Cell<usize>,
    /// The same, for whoever asks from another thread.
    gauge: Arc<AtomicUsize>,
    /// Connections that wait for a request, with the address they came in by.
    idle: RefCell<Vec<Option<IdleConnection>>>,
    free: RefCell<Vec<usize>>,
    quitting: Cell<bool>,
    /// A reload left no work for it: its connections go to the neighbours.
    superfluous: Cell<bool>,
    neighbours: RefCell<Vec<Neighbour>>,
    /// Counts the generations.
    number: Cell<u64>,
    /// Its open connections.
    pub roll: Roll,
    /// Accept loops that have not ended.
    accepting: Cell<usize>,
    /// Connections that wait with a buffer in hand.
    hot: Cell<usize>,
}

/// How often idle connections are looked at whether their time is up.
const SWEEP: Duration = Duration::from_secs(1);

struct IdleConnection {
    stream: Stream,
    listen: Rc<Address>,
    /// When it is closed, if it waits without a timer of its own.
    until: Option<Instant>,
    /// Until when it is left open even if the shard ends (`keepalive_min_timeout`).
    spared_until: Option<Instant>,
}

/// Numbers connections over all shards, as nginx's connection numbers are unique in a process.
static NEXT_CONNECTION: AtomicU64 = AtomicU64::new(1);

/// A connection's number; taken once per connection, never on the way of a request.
pub fn next_connection() -> u64 {
    NEXT_CONNECTION.fetch_add(1, Ordering::Relaxed)
}

impl Shard {
    /// A shard that serves by `generation`.
    pub fn new(driver: Driver, generation: Generation, gauge: Arc<AtomicUsize>) -> Shard {
        Shard {
            driver,
            generation: RefCell::new(Rc::new(generation)),
            connections: Cell::new(0),
            gauge,
            idle: RefCell::default(),
            free: RefCell::default(),
            quitting: Cell::new(false),
            superfluous: Cell::new(false),
            neighbours: RefCell::default(),
            number: Cell::new(0),
            roll: Roll::default(),
            accepting: Cell::new(0),
            hot: Cell::new(0),
        }
    }

    /// The generation in force.
    pub fn generation(&self) -> Rc<Generation> {
        self.generation.borrow().clone()
    }

    /// The number of the generation in force.
    pub fn generation_number(&self) -> u64 {
        self.number.get()
    }

    /// Puts a new generation in force. Connections that wait go on with it, unless the address they
    /// came in by is gone.
    pub fn switch(self: &Rc<Self>, generation: Generation) {
        let next = Rc::new(generation);
        let old = self.generation.replace(next.clone());
        old.replace();
        self.number.set(self.number.get() + 1);
        term::begin(self, old.plan.process().shutdown_timeout, self.number.get());
        drop(old);
        self.roll.wake_http2();
        exchange::forget_free();
        let gone = |listen: &Address| !next.plan.listens.iter().any(|known| known.address == *listen);
        for idle in self.idle.borrow().iter().flatten() {
            if gone(&idle.listen) {
                idle.stream.end_reading();
            }
        }
    }

    /// No further request is waited for: idle connections end, others close after their answer.
    pub fn quit(&self) {
        self.quitting.set(true);
        self.roll.wake_http2();
        let now = clock::now();
        for idle in self.idle.borrow_mut().iter_mut().flatten() {
            match idle.spared_until.filter(|spared| *spared > now) {
                None => idle.stream.end_reading(),
                spared => idle.until = spared,
            }
        }
    }

    /// From now on its connections go to the neighbours, as soon as nothing is under way on them; with
    /// no neighbours they stay.
    pub fn yield_to(&self, neighbours: Vec<Neighbour>) {
        self.superfluous.set(!neighbours.is_empty());
        *self.neighbours.borrow_mut() = neighbours;
        if self.superfluous.get() {
            self.roll.wake_all();
        }
    }

    /// Whether its connections are to go to the neighbours.
    pub fn is_superfluous(&self) -> bool {
        self.superfluous.get()
    }

    /// The neighbour that a connection with this number goes to.
    pub fn neighbour(&self, number: u64) -> Option<Neighbour> {
        let neighbours = self.neighbours.borrow();
        let place = number.checked_rem(neighbours.len() as u64)?;
        neighbours.get(place as usize).cloned()
    }

    /// Whether a connection may be kept for a further request, here or at a neighbour.
    pub fn keeps(&self, stream: &Stream) -> bool {
        let leaves = self.superfluous.get() && stream.is_encrypted();
        !self.quitting.get() && !leaves
    }

    /// Whether nothing is open and nothing can be accepted any more.
    pub fn is_drained(&self) -> bool {
        self.connections.get() == 0 && self.accepting.get() == 0 && super::aside::under_way() == 0
    }

    /// Whether accepts are under way.
    pub fn accepts(&self) -> bool {
        self.accepting.get() > 0
    }

    /// Counts an accept loop for as long as the result lives.
    pub fn accepting(self: &Rc<Self>) -> Accepting {
        self.accepting.set(self.accepting.get() + 1);
        Accepting(self.clone())
    }

    /// Whether the shard ends when its requests are served.
    pub fn is_quitting(&self) -> bool {
        self.quitting.get()
    }

    /// Open connections of clients.
    pub fn connections(&self) -> usize {
        self.connections.get()
    }

    /// Counts a connection as open for as long as the result lives.
    pub fn open(self: &Rc<Self>) -> Open {
        self.connections.set(self.connections.get() + 1);
        self.gauge.store(self.connections.get(), Ordering::Relaxed);
        Open { shard: self.clone(), _active: counters::hold() }
    }

    /// Leave to wait with a buffer in hand, for so many at a time.
    pub fn wait_hot(&self) -> Option<HotWait<'_>> {
        if self.hot.get() >= HOT_WAITS_MAX {
            return None;
        }
        self.hot.set(self.hot.get() + 1);
        Some(HotWait(self))
    }

    /// Lists a connection as waiting for a request for as long as the result lives.
    /// If the shard ends meanwhile, it is left open for `least` even so.
    pub fn wait(&self, stream: &Stream, listen: &Rc<Address>, least: Duration) -> Waiting<'_> {
        let spared_until = (!least.is_zero()).then(|| clock::now() + least);
        let entry =
            IdleConnection { stream: stream.clone(), listen: listen.clone(), until: None, spared_until };
        let mut idle = self.idle.borrow_mut();
        let place = match self.free.borrow_mut().pop() {
            Some(place) => {
                idle[place] = Some(entry);
                place
            }
            None => {
                idle.push(Some(entry));
                idle.len() - 1
            }
        };
        if self.quitting.get() && least.is_zero() {
            stream.end_reading();
        }
        Waiting { shard: self, place, _waiting: counters::hold() }
    }
}

/// An accept loop, counted.
pub struct Accepting(Rc<Shard>);

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.accepting.set(self.0.accepting.get() - 1);
    }
}

/// An open connection, counted.
pub struct Open {
    shard: Rc<Shard>,
    _active: Held<{ Count::Active as usize }>,
}

impl Drop for Open {
    fn drop(&mut self) {
        let connections = self.shard.connections.get() - 1;
        self.shard.connections.set(connections);
        self.shard.gauge.store(connections, Ordering::Relaxed);
    }
}

/// A connection that waits, listed.
pub struct Waiting<'s> {
    shard: &'s Shard,
    place: usize,
    _waiting: Held<{ Count::Waiting as usize }>,
}

impl Waiting<'_> {
    /// From now on the shard's sweep ends the wait, at `until` or up to a second later.
    pub fn until(&self, until: Instant) {
        if let Some(idle) = &mut self.shard.idle.borrow_mut()[self.place] {
            let ends = if self.shard.quitting.get() { idle.spared_until } else { None };
            idle.until = Some(ends.map_or(until, |spared| spared.min(until)));
        }
    }
}

/// Ends the waits of connections whose time is up, once a second, for as long as the shard lives.
pub async fn sweep(shard: Weak<Shard>) {
    loop {
        deadline::sleep(SWEEP).await;
        let Some(shard) = shard.upgrade() else { return };
        let now = clock::now();
        for idle in shard.idle.borrow().iter().flatten() {
            if idle.until.is_some_and(|until| until <= now) {
                idle.stream.end_reading();
            }
        }
    }
}

/// A connection that waits with a buffer in hand, counted.
pub struct HotWait<'s>(&'s Shard);

impl Drop for HotWait<'_> {
    fn drop(&mut self) {
        self.0.hot.set(self.0.hot.get() - 1);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shard.idle.borrow_mut()[self.place] = None;
        self.shard.free.borrow_mut().push(self.place);
    }
}
