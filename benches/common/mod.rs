//! What the benchmarks share: a configuration from a text, compiled, and an exchange under it.

// Each benchmark is a program of its own and uses a part of this.
#![allow(dead_code)]

use octroi::base::address::Address;
use octroi::bridge::zone::Zones;
use octroi::conf::Snapshot;
use octroi::features;
use octroi::net::error_log::ErrorLog;
use octroi::net::log_file::LogFile;
use octroi::net::runtime::{self, Driver};
use octroi::net::sockets::Logs;
use octroi::pipeline::connection::Connection;
use octroi::pipeline::exchange::{Exchange, Recycled};
use octroi::pipeline::local::ShardFacts;
use octroi::pipeline::settings::Here;
use octroi::plan::{Origin, Plan};
use std::cell::Cell;
use std::fs::OpenOptions;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// Where the configuration is said to be; nothing is read from there.
const CONF: &str = "/conf/nginx.conf";

/// A request as a browser sends it, cut down to nine fields.
pub const REQUEST: &[u8] = b"GET /assets/app.js?version=12 HTTP/1.1\r\n\
Host: www.example.com\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
Accept-Language: en-US,en;q=0.5\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Referer: https://www.example.com/index.html\r\n\
Cookie: session=6f1c9d0ab2c34e5f; theme=dark\r\n\
Cache-Control: max-age=0\r\n\
Connection: keep-alive\r\n\
\r\n";

/// An answer as an application server sends it.
pub const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
Server: app\r\n\
Date: Tue, 03 Mar 2026 10:00:00 GMT\r\n\
Content-Type: application/json\r\n\
Content-Length: 1024\r\n\
Cache-Control: no-store\r\n\
X-Request-Id: 6f1c9d0ab2c34e5f\r\n\
Connection: keep-alive\r\n\
\r\n";

/// Compiles what stands in `http {}`.
///
/// # Panics
/// With the diagnostic, when the text is refused.
pub fn plan(http: &str) -> Arc<Plan> {
    plan_with(http, &[])
}

/// Compiles what stands in `http {}`, beside files of these names and texts.
///
/// # Panics
/// With the diagnostic, when the text is refused.
pub fn plan_with(http: &str, beside: &[(&str, String)]) -> Arc<Plan> {
    let mut files = Snapshot::default();
    for (name, text) in beside {
        files.insert(name, text.clone());
    }
    files.insert(CONF, format!("events {{ worker_connections 8192; }} http {{ {http} }}"));
    let origin =
        Origin { conf: CONF.into(), prefix: "/conf".into(), globals: String::new(), error_log: None };
    features::load(&origin, &mut files).unwrap_or_else(|error| panic!("{error}")).plan
}

/// Every log of the plan, opened on `/dev/null`.
pub fn void_logs(plan: &Plan) -> Logs {
    let open = |path: &std::path::PathBuf| {
        let file = OpenOptions::new().append(true).open("/dev/null").expect("/dev/null opens");
        (path.clone(), LogFile::new(file.into(), path.clone()))
    };
    plan.log_files().iter().map(open).collect()
}

/// Runs `look` on a fresh exchange in the location of this name (empty for a server's own level), on
/// a runtime of this thread.
pub fn with_exchange<T>(plan: &Plan, location: &str, look: impl FnOnce(&mut Exchange) -> T) -> T {
    let settings = plan.locations.iter().find(|found| found.name == location).expect("a location").clone();
    let connection = Connection {
        number: 1,
        stream: Default::default(),
        tls: Default::default(),
        nodelay: Default::default(),
        accepted_from: Some(([192, 0, 2, 7], 50_000).into()),
        proxied: Default::default(),
        local: Address::Ip(([127, 0, 0, 1], 8080).into()),
        started: Instant::now(),
        requests: Cell::new(1),
        generation: Default::default(),
        http2: Default::default(),
        life: Default::default(),
    };
    let logs = void_logs(plan);
    runtime::run(Driver::Epoll, async {
        let zones = Zones::default();
        let facts = ShardFacts { shard: 0, shards: 1, logs: &logs, zones: &zones };
        let locals = Rc::new(plan.layout.build(&facts));
        let here = Rc::new(Here { settings, error_log: ErrorLog::new(Vec::new()), inner: Box::default() });
        let mut x = Recycled::take(&Rc::new(connection), &locals, &here);
        look(&mut x)
    })
    .expect("an epoll runtime")
}

/// A directory for this run's files, removed by nobody: it lies where the build puts its own.
pub fn scratch(name: &str) -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a directory in the target directory");
    folder
}

/// Whether only the smoke test is asked for: `cargo bench -- --test`.
pub fn is_smoke() -> bool {
    std::env::args().any(|argument| argument == "--test")
}
