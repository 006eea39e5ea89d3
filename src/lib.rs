//! Octroi: an API gateway and reverse proxy that reads nginx.conf. Thread per core, io_uring.
//!
//! | floor | room | what it is |
//! |---|---|---|
//! | | [`cli`] | nginx's flags and our verbs |
//! | | [`process`] | the life of the processes: master and worker, signals, reload |
//! | | [`check`] | `octroi check`: what of a configuration works, and what does not |
//! | | [`key`] | `octroi key`: makes, hashes and lists keys of callers |
//! | | [`demo`] | `octroi demo`: small services with the gateway in front of them |
//! | | [`explain`] | `octroi explain`: what becomes of a request, and why |
//! | 7 | [`control`] | the control plane: what waits for other hosts, on a runtime of its own |
//! | 7 | [`shard`] | the data plane: accept, the walk of a request, delivery |
//! | 6 | [`features`] | what directives do, a folder each, in one ordered list |
//! | 5 | [`plan`] | the configuration compiled: servers, names, locations, routers |
//! | 4 | [`pipeline`] | what a request is while it walks, and what may touch it |
//! | 3 | [`remote`] | what is asked of other hosts, off the shards |
//! | 3 | [`upstream`] | one shard's view of a group of servers |
//! | 2 | [`net`] | sockets, files and timers of the data plane |
//! | 1 | [`bridge`] | where threads meet: zones that shards count in, errands to the control plane |
//! | 1 | [`http`] | HTTP/1: bytes in, values out |
//! | 1 | [`conf`] | the configuration language, which knows no directive by name |
//! | 0 | [`base`] | bounds, buffers, clocks |
//!
//! A room imports from lower floors only; `tests/tidy.rs` sees to it.

pub mod base;
pub mod bridge;
pub mod check;
pub mod cli;
pub mod conf;
pub mod control;
pub mod demo;
pub mod explain;
pub mod features;
pub mod http;
pub mod key;
pub mod net;
pub mod pipeline;
pub mod plan;
pub mod process;
pub mod remote;
pub mod shard;
pub mod upstream;

/// What the gateway calls itself where versions are not shown.
pub const SERVER: &str = "octroi";

/// The same with its version.
pub const SERVER_VERSION: &str = concat!("octroi/", env!("CARGO_PKG_VERSION"));
