//! Connections that go from one shard to another. A reload with fewer shards leaves some that nobody wants
//! any more; to close what their clients have kept open would reset a request that is just on its way.
//!
//! So a superfluous shard gives its connections to the others, at the moment when nothing is under way on
//! them: those that wait without a buffer at once, those that are being read from or served when that is
//! done, with what came meanwhile. What cannot go (TLS, whose session is this shard's; or nobody has room)
//! is served to its end where it is.

use super::connection::{self, Client};
use super::core::Shard;
use crate::base::address::Address;
use crate::base::buffer::Buffer;
use crate::bridge::handover::{Giver, Taker};
use crate::net::runtime;
use crate::net::stream::{Departed, Stream};
use crate::pipeline::connection::{Connection, Luggage};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A connection on its way.
pub struct Moved {
    pub(super) socket: Departed,
    /// The address it was accepted at, as configured.
    pub(super) listen: Address,
    pub(super) luggage: Luggage,
    pub(super) stay: Stay,
}

/// Where a connection stands between two requests.
#[derive(Default)]
pub(super) struct Stay {
    /// What of the next request has come.
    pub(super) ahead: Buffer,
    /// It came together with the request before.
    pub(super) pipelined: bool,
    /// How long the next request is waited for.
    pub(super) wait: Duration,
    /// For how long even while the shard ends.
    pub(super) least: Duration,
}

/// Another shard, seen from one that gives its connections away.
#[derive(Clone)]
pub struct Neighbour {
    /// Where they are left.
    pub door: Giver<Moved>,
    /// How many it has.
    pub connections: Arc<AtomicUsize>,
}

/// Gives a connection to a neighbour. It stays here, as it was, where none has room for it.
pub(super) fn hand_over(
    shard: &Shard,
    connection: &Connection,
    listen: &Address,
    stream: &Stream,
    stay: Stay,
) -> Result<(), Stay> {
    let Some(to) = shard.neighbour(connection.number) else { return Err(stay) };
    let there = to.connections.load(Ordering::Relaxed) + to.door.waiting();
    if there >= shard.generation().plan.worker_connections {
        return Err(stay);
    }
    let Ok(socket) = stream.leave() else { return Err(stay) };
    let luggage = connection.luggage();
    let moved = Moved { socket, listen: listen.clone(), luggage, stay };
    to.door.give(moved).map_err(|refused| refused.stay)
}

/// Takes up what other shards give, as long as the process lives.
pub(super) async fn take_up(shard: Rc<Shard>, door: Taker<Moved>) {
    while let Some(moved) = door.next().await {
        crate::base::clock::tick();
        let open = shard.open();
        let task = connection::run(shard.clone(), Client::Moved(Box::new(moved)), open);
        runtime::spawn(super::panic::caught(super::accept::told_by(&shard), task));
    }
}
