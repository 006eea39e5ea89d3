//! HTTP/2 for clients, nginx's `ngx_http_v2_module`: its variable, and the directives that are left of its
//! past. Those that say something are settings of a server (`core`), as a connection asks for them before
//! there is a request.

use crate::conf::{Arity, Context, DirectiveSpec as D, Values};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::variable::VariableSpec;
use crate::plan::feature::{Feature, no_end, nothing};

const HTTP: Context = Context::HTTP;
const HS: Context = HTTP.or(Context::SERVER);
const HSL: Context = HS.or(Context::LOCATION);
const ONE: Arity = Arity::Exactly(1);

const FRAMES: &str = "large_client_header_buffers bounds heads of HTTP/2 too";
const PUSH: &str = "server push is gone from browsers, and from nginx";
const POOLS: &str = "tunes a part of nginx that Octroi does not have";

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "http2",
    module: Some("http_v2"),
    directives: &[
        D::new("http2_pool_size", HS, ONE, "size", "4k", "Memory pools of nginx.")
            .values(Values::Size)
            .accepted(POOLS),
        D::new("http2_streams_index_size", HS, ONE, "number", "32", "A table of nginx.")
            .values(Values::Number)
            .accepted(POOLS),
        D::new("http2_idle_timeout", HS, ONE, "time", "3m", "Obsolete.")
            .accepted("it is obsolete, keepalive_timeout says it"),
        D::new("http2_recv_timeout", HS, ONE, "time", "30s", "Obsolete.")
            .accepted("it is obsolete, client_header_timeout says it"),
        D::new("http2_max_requests", HS, ONE, "number", "1000", "Obsolete.")
            .accepted("it is obsolete, keepalive_requests says it"),
        D::new("http2_max_field_size", HS, ONE, "size", "4k", "Obsolete.").accepted(FRAMES),
        D::new("http2_max_header_size", HS, ONE, "size", "16k", "Obsolete.").accepted(FRAMES),
        D::new("http2_max_concurrent_pushes", HS, ONE, "number", "10", "Obsolete.").accepted(PUSH),
        D::new("http2_push_preload", HSL, ONE, "on | off", "off", "Obsolete.").accepted(PUSH),
        D::new("http2_push", HSL, ONE, "uri | off", "off", "Obsolete.").accepted(PUSH),
    ],
    variables: &[VariableSpec {
        name: "http2",
        family: false,
        eval: protocol,
        doc: "`h2` where the request came over HTTP/2 and TLS, `h2c` where over HTTP/2 in clear text, else empty.",
    }],
    http: nothing,
    location: nothing,
    end: no_end,
};

fn protocol(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    if x.connection.http2.get() {
        out.extend_from_slice(if x.connection.is_encrypted() { b"h2" } else { b"h2c" });
    }
    true
}
