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
        "address [weight=number] [max_conns=number] [max_fails=number] [fail_timeout=time] [backup] [down] [drain] [route=string]",
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
    D::new(
        "least_conn",
        UPSTREAM,
        Arity::Exactly(0),
        "",
        "",
        "The server with the fewest connections by weight is asked; equals take turns by weight.",
    )
    .inherit(Inherit::Never),
    D::new(
        "ip_hash",
        UPSTREAM,
        Arity::Exactly(0),
        "",
        "",
        "Clients of one network (an IPv4 address's first three octets, a whole IPv6 address) go to the same server.",
    )
    .inherit(Inherit::Never),
    D::new(
        "hash",
        UPSTREAM,
        Arity::Between(1, 2),
        "key [consistent]",
        "",
        "Requests with the same key go to the same server; with consistent (ketama), a server that goes or comes moves few keys.",
    )
    .inherit(Inherit::Never),
    D::new(
        "random",
        UPSTREAM,
        Arity::Between(0, 2),
        "[two [least_conn]]",
        "",
        "A server by chance and weight, or of two such the one with fewer connections.",
    )
    .inherit(Inherit::Never),
    D::new(
        "zone",
        UPSTREAM,
        Arity::Between(1, 2),
        "name [size]",
        "",
        "All shards count failures and connections of the group together, so that max_fails, max_conns and least_conn hold for all of them.",
    )
    .inherit(Inherit::Never),
    D::new(
        "sticky",
        UPSTREAM,
        Arity::AtLeast(2),
        "cookie name [expires=time | max] [domain=domain] [httponly] [samesite=strict | lax | none | $variable] [secure] [path=path] | route $variable ...",
        "",
        "Requests go where a cookie that the first answer set says, or where the first of the variables that is not empty names a server by its route.",
    )
    .inherit(Inherit::Never),
];
