//! What `proxy_pass` in one location was told, compiled.

use super::bind::Bind;
use super::connect;
use super::cookies::Cookies;
use super::rewrites::Rewrite;
use super::tls::ProxyTls;
use crate::features::resolver::ResolverRef;
use crate::features::upstream::Selector;
use crate::pipeline::field_set::FieldSet;
use crate::pipeline::local::{Locals, Slot};
use crate::pipeline::passing::SpoolRules;
use crate::pipeline::template::Template;
use crate::upstream::balance::Balancer;
use crate::upstream::client::Members;
use crate::upstream::group::Group;
use crate::upstream::pool::Pool;
use ahash::AHashMap;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The content step of a location with `proxy_pass`.
pub struct ProxyStep {
    pub(super) settings: Arc<ProxySettings>,
}

/// Everything one `proxy_pass` knows.
pub struct ProxySettings {
    /// Who is asked.
    pub target: Target,
    /// `proxy_set_header Host`, or nothing for the target's.
    pub host: Option<Template>,
    /// The other `proxy_set_header` lines with a value, in order.
    pub headers: Vec<(Box<[u8]>, Template)>,
    /// The client's fields that are not passed on.
    pub suppressed: FieldSet,
    /// A line sets Content-Length or Transfer-Encoding: ours is left out.
    pub own_length: bool,
    /// HTTP/1.1, else 1.0.
    pub http11: bool,
    /// `proxy_connect_timeout`.
    pub connect_timeout: Duration,
    /// `proxy_send_timeout`.
    pub send_timeout: Duration,
    /// `proxy_read_timeout`.
    pub read_timeout: Duration,
    /// `proxy_buffering`.
    pub buffering: bool,
    /// Where answers wait for slow clients.
    pub spool: Slot<Rc<SpoolRules>>,
    /// `proxy_request_buffering`.
    pub request_buffering: bool,
    /// `proxy_buffer_size`, bytes.
    pub buffer_size: usize,
    /// `proxy_next_upstream`.
    pub next: super::retry::NextUpstream,
    /// `proxy_method`.
    pub method: Option<Template>,
    /// `proxy_set_body`.
    pub body: Option<Template>,
    /// `proxy_pass_request_headers`.
    pub pass_headers: bool,
    /// `proxy_pass_request_body`.
    pub pass_body: bool,
    /// `proxy_intercept_errors`.
    pub intercept_errors: bool,
    /// `proxy_redirect`.
    pub redirects: Vec<Rewrite>,
    /// `proxy_cookie_domain`, `proxy_cookie_path` and `proxy_cookie_flags`.
    pub cookies: Cookies,
    /// `proxy_ignore_headers`.
    pub ignored: FieldSet,
    /// `proxy_force_ranges`.
    pub force_ranges: bool,
    /// `proxy_limit_rate`, bytes a second.
    pub limit_rate: Option<Template>,
    /// `proxy_socket_keepalive`, `proxy_socket_rcvbuf` and `proxy_socket_sndbuf`.
    pub sockets: connect::Options,
    /// `proxy_bind`.
    pub bind: Option<Bind>,
    /// `early_hints`.
    pub early_hints: Vec<Template>,
    /// `proxy_pass_trailers`.
    pub pass_trailers: bool,
    /// Fields of the answer that clients do not see.
    pub hidden: Arc<FieldSet>,
    /// `proxy_ignore_client_abort`.
    pub ignore_client_abort: bool,
    /// How upstreams of `https://` are spoken to, where there may be any.
    pub tls: Option<Box<ProxyTls>>,
}

/// Who is asked.
pub enum Target {
    /// A group known when the configuration is read.
    Fixed {
        /// The group and this location's connections.
        members: MemberSlots,
        /// The URI part; `None` passes the client's on.
        uri: Option<Box<[u8]>>,
        /// Bytes of the location's name that the URI part replaces.
        replaced: usize,
        /// The host and port, as `Host` and `$proxy_host` show them.
        host: Box<[u8]>,
        /// `http` or `https`
        scheme: &'static str,
    },
    /// A URL with variables.
    Variable {
        /// The URL.
        url: Template,
        /// Groups it may name; filled when all are known.
        groups: Arc<OnceLock<AHashMap<Box<str>, MemberSlots>>>,
        /// Who is asked for the addresses of other names, if anybody.
        resolver: Option<ResolverRef>,
    },
}

/// A group and where each shard keeps its state of it.
#[derive(Clone)]
pub struct MemberSlots {
    /// The group.
    pub group: Arc<Group>,
    /// Which peer is next.
    pub balancer: Slot<Rc<Balancer>>,
    /// What a request is balanced by.
    pub selector: Selector,
    /// Idle connections.
    pub pool: Slot<Rc<Pool>>,
}

impl MemberSlots {
    /// This shard's state.
    pub fn members(&self, locals: &Locals) -> Members {
        Members {
            group: self.group.clone(),
            balancer: locals.at(self.balancer).clone(),
            pool: locals.at(self.pool).clone(),
        }
    }
}
