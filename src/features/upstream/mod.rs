//! `upstream {}`: groups of servers, for whoever passes requests on. A group's health and its idle
//! connections belong to a shard; all locations that name the group share them.

pub mod address;
mod block;
mod directives;
mod method;
mod sticky;
mod zone;

use crate::base::address::Address;
use crate::conf::{Context, Diagnostic, Scope, Word};
use crate::pipeline::local::Slot;
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end, nothing};
use crate::upstream::balance::{Balancer, Record};
use crate::upstream::group::{Group, Keepalive, PeerSettings};
use crate::upstream::pool::Pool;
use address::Authority;
use ahash::AHashMap;
pub use method::Selector;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
pub use sticky::StickyFilter;

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "upstream",
    module: None,
    directives: directives::DIRECTIVES,
    variables: &[],
    http,
    location: nothing,
    end: no_end,
};

/// A group, and where each shard keeps its state of it.
#[derive(Clone)]
pub struct UpstreamRef {
    /// The group.
    pub group: Arc<Group>,
    /// Which peer is next: one per shard, shared by all locations.
    pub balancer: Slot<Rc<Balancer>>,
    /// What a request is balanced by.
    pub selector: Selector,
    /// Idle connections that all locations share; `None` under `keepalive ... local`.
    shared_pool: Option<Slot<Rc<Pool>>>,
}

impl UpstreamRef {
    fn new(group: Group, selector: Selector, b: &mut Builder<'_>) -> UpstreamRef {
        let group = Arc::new(group);
        let of_shard = Arc::clone(&group);
        let shared = OnceLock::new();
        let balancer = b.reserve(move |facts| {
            let group = &of_shard;
            if !group.is_shared || facts.shards == 1 {
                return Rc::new(Balancer::new(group));
            }
            let record: &Arc<Record> = shared.get_or_init(|| Arc::new(Record::new(group.peers.len(), true)));
            Rc::new(Balancer::with_record(group, record.clone()))
        });
        let keepalive = group.keepalive;
        let shared_pool = (!keepalive.local).then(|| b.reserve(move |_| Rc::new(Pool::new(keepalive))));
        UpstreamRef { group, balancer, selector, shared_pool }
    }

    /// Where a location finds idle connections to the group: the place all share, or under `local`
    /// one that is made for this call. A location asks once for each group it may name.
    pub fn pool(&self, b: &mut Builder<'_>) -> Slot<Rc<Pool>> {
        let keepalive = self.group.keepalive;
        self.shared_pool.unwrap_or_else(|| b.reserve(move |_| Rc::new(Pool::new(keepalive))))
    }
}

/// All groups of a configuration; the builder's store holds them.
#[derive(Default)]
pub struct Groups {
    /// Those of `upstream {}` blocks, by their names in lower case.
    named: AHashMap<Box<str>, UpstreamRef>,
    /// Those made of a host and port, by `host:port` in lower case.
    implicit: AHashMap<Box<str>, UpstreamRef>,
}

impl Groups {
    /// The `upstream {}` of this name, in any case.
    pub fn by_name(&self, name: &str) -> Option<&UpstreamRef> {
        match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => self.named.get(name.to_ascii_lowercase().as_str()),
            false => self.named.get(name),
        }
    }

    /// All groups by their names: those of blocks first, then hosts with their ports.
    pub fn all(&self) -> impl Iterator<Item = (&str, &UpstreamRef)> {
        self.named().chain(self.implicit.iter().map(|(name, group)| (&**name, group)))
    }

    /// All `upstream {}` blocks with their names in lower case: those a URL made of variables may
    /// name. Every block is known before the first server is compiled.
    pub fn named(&self) -> impl Iterator<Item = (&str, &UpstreamRef)> {
        self.named.iter().map(|(name, group)| (&**name, group))
    }
}

/// The `upstream {}` of this name, in any case.
pub fn group(b: &mut Builder<'_>, name: &str) -> Option<UpstreamRef> {
    b.store::<Groups>().by_name(name).cloned()
}

/// The group that consists of one host: a literal IP address (IPv6 in brackets), `unix:/path`, whose
/// `port` counts for nothing, or a name, which is resolved here, once. Two that ask for the same
/// host and port share the group. Connections to it are not kept, as in nginx: that is for
/// `upstream {}`.
///
/// # Errors
/// nginx's `host not found in upstream`, and its other complaints about an address; at `word`.
pub fn implicit(b: &mut Builder<'_>, host: &str, port: u16, word: &Word) -> Result<UpstreamRef, Diagnostic> {
    let is_unix = host.starts_with(address::UNIX);
    let key = if is_unix { host.to_owned() } else { format!("{}:{port}", host.to_ascii_lowercase()) };
    if let Some(known) = b.store::<Groups>().implicit.get(key.as_str()) {
        return Ok(known.clone());
    }
    let refused = |b: &Builder<'_>, what: &str| b.error(word, format!("{what} in upstream \"{host}\""));
    let authority = Authority::parse(host).map_err(|what| refused(b, what))?;
    let addresses = authority.resolve(b, port).map_err(|what| refused(b, what))?;
    let peers = addresses.into_iter().map(PeerSettings::new).collect();
    let keepalive = Keepalive { connections: 0, local: false, ..Keepalive::default() };
    let made = UpstreamRef::new(Group { keepalive, ..Group::new(host, peers) }, Selector::default(), b);
    b.store::<Groups>().implicit.insert(key.into(), made.clone());
    Ok(made)
}

/// What the authority of a `proxy_pass` URL means: an `upstream {}`, or the host itself. It is
/// `host`, `host:port`, `[v6]:port` or `unix:/path`.
///
/// # Errors
/// As [`implicit`]; and a port behind the name of an `upstream {}`.
pub fn target(
    b: &mut Builder<'_>,
    authority: &str,
    default_port: u16,
    word: &Word,
) -> Result<UpstreamRef, Diagnostic> {
    let parsed = Authority::parse(authority)
        .map_err(|what| b.error(word, format!("{what} in upstream \"{authority}\"")))?;
    match (group(b, parsed.host()), parsed.port()) {
        (Some(found), None) => Ok(found),
        (Some(_), Some(port)) => {
            let message = format!("upstream \"{}\" may not have port {port}", parsed.host());
            Err(b.error(word, message))
        }
        (None, port) => implicit(b, parsed.host(), port.unwrap_or(default_port), word),
    }
}

/// What an authority names that is no `upstream {}`.
pub enum Named<'a> {
    /// An address.
    Address(Address),
    /// A host, which has to be looked up.
    Host {
        /// Its name.
        name: &'a str,
        /// The port behind it, or the usual one.
        port: u16,
    },
}

/// Reads an authority without asking anybody: for URLs made of variables, which are looked at while a
/// request waits.
///
/// # Errors
/// nginx's words for what is wrong with it.
pub fn named(authority: &str, default_port: u16) -> Result<Named<'_>, &'static str> {
    let parsed = Authority::parse(authority)?;
    Ok(match parsed.literal(default_port) {
        Some(address) => Named::Address(address),
        None => Named::Host { name: parsed.host(), port: parsed.port().unwrap_or(default_port) },
    })
}

/// The addresses of a server that a directive names, looked up once; `default_port` is for one without.
///
/// # Errors
/// nginx's words for what is wrong with it.
pub fn addresses(b: &Builder<'_>, authority: &str, default_port: u16) -> Result<Vec<Address>, &'static str> {
    Authority::parse(authority)?.resolve(b, default_port)
}

fn http(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    for directive in scope.here("upstream") {
        let Some(name) = directive.args.first() else { continue };
        if b.store::<Groups>().by_name(&name.text).is_some() {
            return Err(scope.error_at(directive, name, format!("duplicate upstream \"{}\"", name.text)));
        }
        let (group, selector) =
            block::compile(&scope.child(directive, Context::UPSTREAM), directive, name, b)?;
        let made = UpstreamRef::new(group, selector, b);
        b.store::<Groups>().named.insert(name.text.to_ascii_lowercase().into(), made);
    }
    zone::end(b)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::features::testing::{Bench, message};

    const FEATURES: &[&Feature] = &[&FEATURE];

    fn groups<T>(upstreams: &str, look: impl FnOnce(&mut Builder<'_>, &Word) -> T) -> T {
        Bench::new(&format!("http {{ {upstreams} }}"), FEATURES)
            .http(|builder, word| look(builder, word))
            .unwrap()
    }

    fn wrong(upstreams: &str) -> String {
        message(Bench::new(&format!("http {{ {upstreams} }}"), FEATURES).http(|_, _| ()))
    }

    #[test]
    fn blocks_become_groups() {
        let text = "upstream Back { server 127.0.0.1:81 weight=3 max_fails=2 fail_timeout=1m max_conns=7;
            server [::1] down; server unix:/run/a.sock backup; keepalive 4; keepalive_timeout 5s;
            keepalive_requests 9; keepalive_time 2m; }";
        let found = groups(text, |b, _| group(b, "bACK").unwrap());
        let Group { name, peers, keepalive, .. } = &*found.group;
        assert_eq!(&**name, "Back");
        let labels: Vec<_> = peers.iter().map(|peer| &*peer.label).collect();
        assert_eq!(labels, ["127.0.0.1:81", "[::1]:80", "unix:/run/a.sock"]);
        let first = &peers[0];
        assert_eq!((first.weight, first.max_fails, first.max_conns), (3, 2, 7));
        assert_eq!(first.fail_timeout.as_secs(), 60);
        assert_eq!((first.down, first.backup, peers[1].down, peers[2].backup), (false, false, true, true));
        assert_eq!((keepalive.connections, keepalive.local, keepalive.requests), (4, false, 9));
        assert_eq!((keepalive.timeout.as_secs(), keepalive.time.as_secs()), (5, 120));
    }

    #[test]
    fn connections_are_shared_unless_local() {
        let text = "upstream a { server 127.0.0.1; keepalive 8; }
            upstream b { server 127.0.0.1; keepalive 8 local; } upstream c { server 127.0.0.1; }";
        let shared = groups(text, |b, _| ["a", "b", "c"].map(|name| group(b, name).unwrap()));
        assert_eq!(shared.each_ref().map(|found| found.shared_pool.is_some()), [true, false, false]);
        assert_eq!(shared[2].group.keepalive, Keepalive::default());
    }

    #[test]
    fn hosts_become_groups_once() {
        groups("upstream u { server 127.0.0.1; }", |b, word| {
            let one = target(b, "127.0.0.1:81", 80, word).unwrap();
            let two = target(b, "127.0.0.1:81", 80, word).unwrap();
            assert!(Arc::ptr_eq(&one.group, &two.group));
            assert_eq!(one.group.keepalive.connections, 0);
            let plain = implicit(b, "127.0.0.1", 80, word).unwrap();
            assert_eq!(&*plain.group.peers[0].label, "127.0.0.1:80");
            let unix = target(b, "unix:/run/x.sock", 80, word).unwrap();
            assert_eq!(&*unix.group.peers[0].label, "unix:/run/x.sock");
            assert_eq!(&*target(b, "U", 80, word).unwrap().group.name, "u");
            let error = |b: &mut Builder<'_>, text| target(b, text, 80, word).err().map(|e| e.message);
            assert_eq!(error(b, "u:81").as_deref(), Some("upstream \"u\" may not have port 81"));
            assert_eq!(error(b, "x:0").as_deref(), Some("invalid port in upstream \"x:0\""));
            assert_eq!(
                error(b, "nowhere.invalid").as_deref(),
                Some("host not found in upstream \"nowhere.invalid\"")
            );
        });
    }

    #[test]
    fn errors_are_nginxs() {
        for (text, want) in [
            ("upstream u { }", "no servers are inside upstream"),
            ("upstream u { server 127.0.0.1 backup; }", "no servers in upstream \"u\""),
            ("upstream u { server 127.0.0.1; } upstream U { server 127.0.0.1; }", "duplicate upstream \"U\""),
            ("upstream u { server 127.0.0.1 weight=0; }", "invalid parameter \"weight=0\""),
            ("upstream u { server 127.0.0.1 max_fails=x; }", "invalid parameter \"max_fails=x\""),
            ("upstream u { server 127.0.0.1 fail_timeout=5ms; }", "invalid parameter \"fail_timeout=5ms\""),
            ("upstream u { server 127.0.0.1 fast; }", "invalid parameter \"fast\""),
            ("upstream u { server 127.0.0.1:99999; }", "invalid port in upstream \"127.0.0.1:99999\""),
            ("upstream u { server [::1; }", "invalid host in upstream \"[::1\""),
            ("upstream u { server [::x]; }", "invalid IPv6 address in upstream \"[::x]\""),
            ("upstream u { server unix:; }", "no path in the unix domain socket in upstream \"unix:\""),
            ("upstream u { server :80; }", "no host in upstream \":80\""),
            ("upstream u { server a/b; }", "invalid host in upstream \"a/b\""),
            (
                "upstream u { server nowhere.invalid:81; }",
                "host not found in upstream \"nowhere.invalid:81\"",
            ),
            (
                "upstream u { server 127.0.0.1; keepalive x; }",
                "invalid value \"x\" in \"keepalive\" directive",
            ),
            ("upstream u { server 127.0.0.1; keepalive 1 all; }", "invalid parameter \"all\""),
            (
                "upstream u { server a.example resolve; }",
                "parameter \"resolve\" is not supported by Octroi (names are resolved when the configuration is read)",
            ),
        ] {
            assert_eq!(wrong(text), want, "{text}");
        }
    }
}
