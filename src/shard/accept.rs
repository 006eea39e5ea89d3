//! The accept loops of a shard: one per listening socket.

use super::connection::{self, Accepted, Client};
use super::core::Shard;
use crate::base::address::Address;
use crate::base::counters::{self, Count};
use crate::base::limits::{ACCEPT_LOOK_MS, ACCEPT_RETRY_MS, ACCEPTS_IN_FLIGHT};
use crate::base::process_settings::Level;
use crate::net::deadline;
use crate::net::error_log::OsError;
use crate::net::listener::{Listener, Stop, StopHandle};
use crate::net::runtime::{self, Driver};
use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};
use std::time::Duration;

/// One listening socket that this shard accepts on.
pub struct OwnSocket {
    /// Its address.
    pub address: Address,
    /// Its number in the address's group: the same socket in every generation.
    pub index: usize,
    /// A descriptor of it.
    pub descriptor: OwnedFd,
}

/// The loops that run, by address and the number of the socket in its group.
#[derive(Default)]
pub struct Loops {
    running: HashMap<(Address, usize), Running>,
}

struct Running {
    stop: Stop,
    stopping: Rc<Cell<bool>>,
}

impl Loops {
    /// Makes this shard accept on just these sockets: new ones are taken up, those that it accepts
    /// on already go on, others end.
    ///
    /// # Errors
    /// A socket that cannot be driven.
    pub fn set(&mut self, shard: &Rc<Shard>, sockets: Vec<OwnSocket>) -> io::Result<()> {
        let wanted: HashMap<_, _> =
            sockets.into_iter().map(|own| ((own.address, own.index), own.descriptor)).collect();
        let gone: Vec<_> = self.running.keys().filter(|key| !wanted.contains_key(*key)).cloned().collect();
        for (key, descriptor) in wanted {
            if self.running.contains_key(&key) {
                continue;
            }
            let listener = Listener::new(descriptor, &key.0, shard.driver)?;
            let (stop, stopping) = (Stop::default(), Rc::new(Cell::new(false)));
            let (listener, address) = (Rc::new(listener), Rc::new(key.0.clone()));
            // monoio's epoll driver knows one waiter per descriptor and direction; it accepts until
            // nothing is left, so one is enough there.
            let in_flight = if shard.driver == Driver::Epoll { 1 } else { ACCEPTS_IN_FLIGHT };
            for _ in 0..in_flight {
                let (stop, stopping) = (stop.handle(), stopping.clone());
                runtime::spawn(accept_loop(shard.clone(), listener.clone(), address.clone(), stop, stopping));
            }
            if shard.driver != Driver::Epoll {
                let (stop, stopping) = (stop.handle(), stopping.clone());
                runtime::spawn(watch(shard.clone(), Rc::downgrade(&listener), address, stop, stopping));
            }
            self.running.insert(key, Running { stop, stopping });
        }
        for key in gone {
            self.end(&key);
        }
        Ok(())
    }

    /// Ends all loops.
    pub fn stop(&mut self) {
        let all: Vec<_> = self.running.keys().cloned().collect();
        for key in all {
            self.end(&key);
        }
    }

    fn end(&mut self, key: &(Address, usize)) {
        if let Some(running) = self.running.remove(key) {
            running.stopping.set(true);
            running.stop.stop();
        }
    }
}

/// Takes what waits to be accepted while all accepts sleep. Under io_uring the kernel wakes one of those
/// that wait on a socket; if that is one of a process that is being killed, the connection would stay
/// in the queue until another one comes.
async fn watch(
    shard: Rc<Shard>,
    listener: Weak<Listener>,
    address: Rc<Address>,
    stop: StopHandle,
    stopping: Rc<Cell<bool>>,
) {
    loop {
        deadline::sleep(Duration::from_millis(ACCEPT_LOOK_MS)).await;
        // Between two looks it is the loops' socket only, and closed as soon as they end.
        let Some(listener) = listener.upgrade() else { return };
        if stopping.get() {
            return;
        }
        if listener.has_waiting() {
            let _counted = shard.accepting();
            accept(&shard, &listener, &address, &stop, &stopping).await;
        }
    }
}

async fn accept_loop(
    shard: Rc<Shard>,
    listener: Rc<Listener>,
    address: Rc<Address>,
    stop: StopHandle,
    stopping: Rc<Cell<bool>>,
) {
    let _counted = shard.accepting();
    while !stopping.get() {
        accept(&shard, &listener, &address, &stop, &stopping).await;
    }
}

/// Accepts one connection and starts its task; after a failure of the kernel's it pauses.
async fn accept(
    shard: &Rc<Shard>,
    listener: &Listener,
    address: &Rc<Address>,
    stop: &StopHandle,
    stopping: &Cell<bool>,
) {
    match listener.accept(stop.clone()).await {
        Ok((stream, peer)) => {
            counters::add(Count::Accepted);
            let generation = shard.generation();
            let limit = generation.plan.worker_connections;
            if shard.connections() >= limit {
                let message = format_args!("{limit} worker_connections are not enough");
                generation.error_log.write(Level::Alert, None, message);
                return;
            }
            let site = generation.plan.listens.iter().position(|known| known.address == **address);
            // A connection that was queued when the address left the configuration.
            let Some(site) = site else { return };
            let accepted = Accepted { stream, peer, listen: address.clone(), site };
            counters::add(Count::Handled);
            let open = shard.open();
            let task = connection::run(shard.clone(), Client::Accepted(accepted), open);
            runtime::spawn(super::panic::caught(told_by(shard), task));
        }
        Err(_) if stopping.get() => {}
        // The client was gone before it was accepted.
        Err(e) if e.raw_os_error() == Some(libc::ECONNABORTED) => {}
        Err(e) => {
            let generation = shard.generation();
            let message = format_args!("accept4() failed {}", OsError(&e));
            generation.error_log.write(Level::Crit, None, message);
            drop(generation);
            deadline::sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await;
        }
    }
}

/// Gives the generation in force whenever it is asked for.
pub(super) fn told_by(shard: &Rc<Shard>) -> impl Fn() -> Rc<super::generation::Generation> + use<> {
    let shard = shard.clone();
    move || shard.generation()
}
