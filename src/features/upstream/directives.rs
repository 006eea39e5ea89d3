//! The directives, as data.

use crate::conf::{Arity, Block, Context, DirectiveSpec as D, Inherit};

const UPSTREAM: Context = Context::UPSTREAM;
const ONE: Arity = Arity::Exactly(1);

/// All of them.
pub const DIRECTIVES: &[D] = &[
    D::new("upstream", Context::HTTP, ONE, "name { ... }", "", "A group of servers that requests are spread over.")
        .block(Block::Directives(UPSTREAM))
        .inherit(Inherit::NeverMany),
    D::new(
        "server",
        UPSTREAM,
        Arity::AtLeast(1),
        "address [weight=number] [max_conns=number] [max_fails=number] [fail_timeout=time] [backup] [down]",
        "",
        "A server of the group: host[:port], [v6][:port] or unix:/path. A name is resolved when the configuration is read.",
    )
    .inherit(Inherit::NeverMany),
    D::new(
        "keepalive",
        UPSTREAM,
        Arity::Between(1, 2),
        "connections [local]",
        "32 local",
        "How many idle connections each shard keeps; local keeps those of different locations apart.",
    )
    .inherit(Inherit::Never),
    D::new("keepalive_requests", UPSTREAM, ONE, "number", "1000", "Requests sent over one connection.")
        .inherit(Inherit::Never),
    D::new("keepalive_time", UPSTREAM, ONE, "time", "1h", "How long one connection may be used.")
        .inherit(Inherit::Never),
    D::new("keepalive_timeout", UPSTREAM, ONE, "timeout", "60s", "How long an idle connection stays open.")
        .inherit(Inherit::Never),
];
