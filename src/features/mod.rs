//! Floor 6: the features, one folder each, in one visible ordered list.

pub mod access;
pub mod access_log;
pub mod addition;
pub mod api_key;
pub mod auth_basic;
pub mod auth_request;
pub mod autoindex;
pub mod browser;
pub mod charset;
pub mod consumer;
pub mod core;
pub mod cors;
pub mod early_body;
pub mod empty_gif;
pub mod geo;
pub mod gzip;
pub mod headers;
pub mod headers_more;
pub mod http2;
pub mod index;
pub mod jwt;
pub mod limits;
pub mod map;
pub mod mirror;
pub mod plans;
pub mod problem_details;
pub mod proxy;
pub mod realip;
pub mod referer;
pub mod refused;
pub mod require;
pub mod resolver;
pub mod rewrite;
pub mod route;
pub mod secure_link;
pub mod split_clients;
pub mod ssl;
pub mod static_files;
pub mod stub_status;
pub mod sub_filter;
pub mod survey;
pub mod trace_context;
pub mod try_files;
pub mod upstream;
pub mod variables;
pub mod version;

#[cfg(test)]
pub mod testing;

use crate::conf::{Diagnostic, Files, Registry};
use crate::plan::feature::Feature;
use crate::plan::{Loaded, Origin, compile};
use std::sync::Arc;

/// All features. The order is that of their steps within a phase and of their filters within a
/// stage. `core` opens each location and comes first; files are served where nothing else answers.
pub const ALL: &[&Feature] = &[
    &core::FEATURE,
    &variables::FEATURE,
    &route::FEATURE,
    &http2::FEATURE,
    &map::FEATURE,
    &geo::FEATURE,
    &split_clients::FEATURE,
    &referer::FEATURE,
    &browser::FEATURE,
    &secure_link::FEATURE,
    &upstream::FEATURE,
    &resolver::FEATURE,
    &ssl::FEATURE,
    &early_body::FEATURE,
    // Before all that judges by an address.
    &realip::FEATURE,
    &trace_context::FEATURE,
    &headers_more::INPUT,
    &version::LIFE,
    &cors::FEATURE,
    &rewrite::FEATURE,
    &version::FEATURE,
    // Before all that reads from the blocks of consumers.
    &consumer::FEATURE,
    &plans::PLANS,
    &access::FEATURE,
    &auth_basic::FEATURE,
    &auth_request::FEATURE,
    // Behind the others: what these find out the ones before need not.
    &api_key::FEATURE,
    &jwt::FEATURE,
    // Behind all that finds out who calls.
    &require::FEATURE,
    &limits::REQUESTS,
    &limits::CONNECTIONS,
    // Behind all else that judges in Admit.
    &plans::ENFORCED,
    &try_files::FEATURE,
    &mirror::FEATURE,
    &proxy::FEATURE,
    &proxy::TUNNEL,
    &empty_gif::FEATURE,
    &stub_status::FEATURE,
    &static_files::FEATURE,
    &gzip::precompressed::FEATURE,
    &autoindex::RANDOM,
    &index::FEATURE,
    &autoindex::FEATURE,
    // As in OpenResty, it does not see what add_header adds.
    &headers_more::FEATURE,
    &headers::FEATURE,
    &gzip::gunzip::FEATURE,
    &addition::FEATURE,
    &sub_filter::FEATURE,
    &charset::FEATURE,
    &gzip::FEATURE,
    &access_log::FEATURE,
    // Behind all that it is the default for.
    &problem_details::FEATURE,
];

/// Every directive, and what is refused by name.
pub fn registry() -> Registry {
    Registry { specs: ALL.iter().flat_map(|feature| feature.directives).collect(), refused: refused::REFUSED }
}

/// Reads, checks and compiles a configuration. Opens nothing but its texts.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn load(origin: &Origin, files: &mut dyn Files) -> Result<Loaded, Diagnostic> {
    let registry = registry();
    let directory = origin.conf.parent().unwrap_or(&origin.prefix);
    let (tree, mut notices) = crate::conf::load(&origin.conf, &origin.globals, directory, files, &registry)?;
    let scope = registry.scope(&tree);
    let plan = compile::compile(&scope, &tree.sources, origin, ALL, core::compile_main, files, &mut notices)?;
    Ok(Loaded { plan: Arc::new(plan), notices, sources: tree.sources })
}

/// The directives that work, as text: `octroi -h directives`.
pub fn reference() -> String {
    registry().reference()
}

/// The `--with` and `--without` words of `octroi -V`: what works of nginx's modules, and which of
/// its default modules do not.
pub fn configure_arguments() -> String {
    let is_declared =
        |name: &str| ALL.iter().flat_map(|feature| feature.directives).any(|known| known.name == name);
    let has = |module: &str| {
        ALL.iter().any(|feature| feature.module == Some(module))
            // A module for each way of balancing, which is named after its directive.
            || module.strip_prefix("http_upstream_").is_some_and(is_declared)
    };
    let without =
        DEFAULT_MODULES.iter().filter(|module| !has(module)).map(|m| format!("--without-{m}_module"));
    let with = OPTIONAL_MODULES.iter().filter(|module| has(module)).map(|m| format!("--with-{m}_module"));
    with.chain(without).collect::<Vec<_>>().join(" ")
}

/// The modules nginx is built with unless told otherwise.
const DEFAULT_MODULES: &[&str] = &[
    "http_access",
    "http_auth_basic",
    "http_autoindex",
    "http_browser",
    "http_charset",
    "http_empty_gif",
    "http_fastcgi",
    "http_geo",
    "http_grpc",
    "http_gzip",
    "http_limit_conn",
    "http_limit_req",
    "http_map",
    "http_memcached",
    "http_mirror",
    "http_proxy",
    "http_referer",
    "http_rewrite",
    "http_scgi",
    "http_split_clients",
    "http_ssi",
    "http_tunnel",
    "http_upstream_hash",
    "http_upstream_ip_hash",
    "http_upstream_keepalive",
    "http_upstream_least_conn",
    "http_upstream_least_time",
    "http_upstream_random",
    "http_upstream_sticky",
    "http_upstream_zone",
    "http_userid",
    "http_uwsgi",
];

/// The modules nginx is built with when asked.
const OPTIONAL_MODULES: &[&str] = &[
    "http_addition",
    "http_auth_request",
    "http_gunzip",
    "http_gzip_static",
    "http_random_index",
    "http_realip",
    "http_secure_link",
    "http_ssl",
    "http_stub_status",
    "http_sub",
    "http_v2",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_has_no_faults() {
        assert_eq!(registry().faults(), Vec::<String>::new());
    }
}
