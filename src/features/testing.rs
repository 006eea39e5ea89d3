//! What the tests of features share: a configuration in memory, compiled with some features, and an
//! exchange in one of its locations.

#![allow(clippy::unwrap_used)]

use crate::base::address::Address;
use crate::base::clock;
use crate::bridge::zone::Zones;
use crate::conf::{Context, Diagnostic, Disk, Registry, Scope, Snapshot, Tree, Word};
use crate::features::core;
use crate::net::error_log::ErrorLog;
use crate::net::runtime::{self, Driver};
use crate::net::sockets::Logs;
use crate::pipeline::connection::Connection;
use crate::pipeline::exchange::{Exchange, Recycled};
use crate::pipeline::local::ShardFacts;
use crate::pipeline::settings::Here;
use crate::plan::builder::Builder;
use crate::plan::feature::Feature;
use crate::plan::{Origin, Plan, compile};
use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;

/// Where the configuration is said to be.
const CONF: &str = "/conf/nginx.conf";

/// A configuration and the features that it is compiled with, behind the core.
pub struct Bench {
    tree: Tree,
    origin: Origin,
    registry: Registry,
    features: Vec<&'static Feature>,
}

impl Bench {
    /// Reads and checks a text, to which an empty `events` block is added.
    pub fn new(text: &str, features: &[&'static Feature]) -> Bench {
        let features: Vec<&'static Feature> =
            [&core::FEATURE].into_iter().chain(features.iter().copied()).collect();
        let specs = features.iter().flat_map(|feature| feature.directives).collect();
        let registry = Registry { specs, refused: &[] };
        let mut files = Snapshot::default();
        files.insert(CONF, format!("events {{}} {text}"));
        let folder = Path::new("/conf");
        let (tree, _) = crate::conf::load(Path::new(CONF), "", folder, &mut files, &registry)
            .unwrap_or_else(|error| panic!("{error}"));
        let origin =
            Origin { conf: CONF.into(), prefix: folder.into(), globals: String::new(), error_log: None };
        Bench { tree, origin, registry, features }
    }

    /// Runs the features' part of the `http` level, then `look`, which gets a word to point to.
    pub fn http<T>(&self, look: impl FnOnce(&mut Builder<'_>, &Word) -> T) -> Result<T, Diagnostic> {
        let main = self.registry.scope(&self.tree);
        let block = main.here("http").next().unwrap();
        let variables = self.features.iter().flat_map(|feature| feature.variables);
        let mut hosts = Disk;
        let mut b = Builder::new(&self.origin, &self.tree.sources, variables).with_hosts(&mut hosts);
        let scope = main.child(block, Context::HTTP);
        self.features.iter().try_for_each(|feature| (feature.http)(&scope, &mut b))?;
        Ok(look(&mut b, &block.name))
    }

    /// What `look` makes of the `http` level, before any feature was asked.
    pub fn level<T>(&self, look: impl FnOnce(&Scope<'_>, &mut Builder<'_>) -> T) -> T {
        let main = self.registry.scope(&self.tree);
        let block = main.here("http").next().unwrap();
        let variables = self.features.iter().flat_map(|feature| feature.variables);
        let mut b = Builder::new(&self.origin, &self.tree.sources, variables);
        look(&main.child(block, Context::HTTP), &mut b)
    }

    /// Compiles all of it.
    pub fn plan(&self) -> Result<Plan, Diagnostic> {
        let main = self.registry.scope(&self.tree);
        let sources = &self.tree.sources;
        let (features, notices) = (&self.features, &mut Vec::new());
        compile::compile(&main, sources, &self.origin, features, core::compile_main, &mut Disk, notices)
    }

    /// Runs `walk` on a fresh exchange in the location of this name (empty for a server's own level).
    pub fn exchange<T>(&self, location: &str, walk: impl FnOnce(&mut Exchange) -> T) -> T {
        let plan = self.plan().unwrap_or_else(|error| panic!("{error}"));
        let is_inner = |id: &usize| plan.locations.iter().any(|outer| outer.inner.contains(id));
        let mut named = (0..plan.locations.len()).filter(|id| plan.locations[*id].name == location);
        let id = named.find(|id| !is_inner(id)).unwrap();
        let address = ([127, 0, 0, 1], 8080).into();
        runtime::run(Driver::Epoll, async {
            let connection = Connection {
                stream: Default::default(),
                tls: Default::default(),
                nodelay: Default::default(),
                number: 1,
                accepted_from: Some(([127, 0, 0, 1], 50_000).into()),
                proxied: Default::default(),
                local: Address::Ip(address),
                started: clock::now(),
                requests: Cell::new(1),
                generation: Default::default(),
                life: Default::default(),
                http2: Default::default(),
            };
            let zones = Zones::default().renewed(&plan.zones).unwrap_or_default();
            let facts = ShardFacts { shard: 0, shards: 1, logs: &Logs::default(), zones: &zones };
            let locals = Rc::new(plan.layout.build(&facts));
            let here = here(&plan, id);
            let mut x = Recycled::take(&Rc::new(connection), &locals, &here);
            x.uri.extend_from_slice(b"/");
            walk(&mut x)
        })
        .unwrap()
    }
}

fn here(plan: &Plan, id: usize) -> Rc<Here> {
    let settings = plan.locations[id].clone();
    let inner = settings.inner.iter().map(|id| here(plan, *id)).collect();
    Rc::new(Here { settings, error_log: ErrorLog::new(Vec::new()), inner })
}

/// The message of an error; "no error" where there is none.
pub fn message<T>(result: Result<T, Diagnostic>) -> String {
    result.map_or_else(|error| error.message, |_| "no error".to_owned())
}
