//! What a feature keeps per shard: pools, balancers, counters, log buffers. Reached by a typed slot
//! that was given out when the configuration was compiled, so there is no look-up by name and no lock.

use super::variable::Derived;
use crate::bridge::zone::Zones;
use crate::net::sockets::Logs;
use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;

/// The place of one feature's per-shard state.
pub struct Slot<T> {
    index: usize,
    kind: PhantomData<fn() -> T>,
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Slot<T> {}

/// Makes a state for one shard.
pub type Make = Box<dyn Fn(&ShardFacts<'_>) -> Box<dyn Any> + Send + Sync>;

/// What a maker may know of the shard.
#[derive(Clone, Copy)]
pub struct ShardFacts<'a> {
    /// The shard's number, from 0.
    pub shard: usize,
    /// How many shards there are.
    pub shards: usize,
    /// The log files, opened.
    pub logs: &'a Logs,
    /// The zones.
    pub zones: &'a Zones,
}

/// The list of makers, filled while the configuration is compiled.
#[derive(Default)]
pub struct Layout {
    makers: Vec<Make>,
    /// The derived variables by their places.
    pub derived: Arc<[Option<Derived>]>,
}

impl Layout {
    /// Reserves a slot.
    pub fn reserve<T: 'static>(
        &mut self,
        make: impl Fn(&ShardFacts<'_>) -> T + Send + Sync + 'static,
    ) -> Slot<T> {
        self.makers.push(Box::new(move |facts| Box::new(make(facts))));
        Slot { index: self.makers.len() - 1, kind: PhantomData }
    }

    /// Makes one shard's states.
    pub fn build(&self, facts: &ShardFacts<'_>) -> Locals {
        let states = self.makers.iter().map(|make| make(facts)).collect();
        Locals { states, derived: self.derived.clone() }
    }
}

/// One shard's states, of one generation of the configuration.
pub struct Locals {
    states: Vec<Box<dyn Any>>,
    derived: Arc<[Option<Derived>]>,
}

impl Locals {
    /// The state in `slot`. A slot belongs to the configuration these states were built from.
    #[inline]
    pub fn at<T: 'static>(&self, slot: Slot<T>) -> &T {
        self.states[slot.index].downcast_ref().expect("a slot is used with its own layout")
    }

    /// How the variable at a place is derived, if it is.
    #[inline]
    pub fn derived(&self, place: usize) -> Option<&Derived> {
        self.derived.get(place)?.as_ref()
    }
}
