//! Behaviour tests: the real binary on real sockets. Each is a configuration,
//! a request and what must come back.
//!
//! What they expect is what nginx does, and `OCTROI_BIN=/usr/sbin/nginx` runs
//! them against nginx to show it. Where nginx is older than the behaviour, or
//! Octroi chose its own, a test says so with `since` or `only_octroi`.
#![allow(clippy::unwrap_used)]

mod harness;

mod access;
mod access_log;
mod access_log_files;
mod api_keys;
mod auth_basic;
mod balancing;
mod body_filters;
mod browsers;
mod check;
mod clients;
mod command_line;
mod cors;
mod differential;
mod error_log;
mod error_wording;
mod exhaustion;
mod explain;
mod files;
mod flow;
mod geo;
mod gzip;
mod headers_more;
mod http1;
mod http1_abuse;
mod http1_body;
mod http1_refused;
mod http2;
mod http2_abuse;
mod http2_client;
mod http2_frames;
mod http2_smuggling;
mod http2_tls;
mod http2_tunnel;
mod jwt;
mod language;
mod limits;
mod listen;
mod listing;
mod location;
mod maps;
mod mirror;
mod moving;
mod plans;
mod proxy_failure;
mod proxy_protocol;
mod proxy_request;
mod proxy_response;
mod proxy_rewrites;
mod proxy_sending;
mod proxy_splice;
mod proxy_spool;
mod proxy_ssl;
mod proxy_tunnel;
mod proxy_uri;
mod quotas;
mod quotas_redis;
mod realip;
mod resolver;
mod returns;
mod rewrite;
mod routes;
mod server_name;
mod settings;
mod shutdown_timeout;
mod signals;
mod small_modules;
mod static_files;
mod sticky;
mod syslog;
mod timeouts;
mod tls;
mod tls_client;
mod tls_files;
mod tls_named;
mod tls_session;
mod tls_stapling;
mod try_files;
mod tunnel_pass;
mod upgrade;
mod upstream_keepalive;
mod upstreams;
mod values;
mod variables;
mod versions;
mod websocket;
mod worker;
mod wrong_configurations;
