//! Floor 5: the configuration compiled. Immutable, behind one `Arc`, the same for all shards.

pub mod builder;
pub mod compile;
pub mod feature;
pub mod listen;
pub mod names;
pub mod path_template;
pub mod router;
pub mod routes;

use crate::base::address::{Address, Listen};
use crate::base::process_settings::ProcessSettings;
use crate::bridge::published::Published;
use crate::bridge::quota::StoreSpec;
use crate::bridge::zone::ZoneSpec;
use crate::conf::{Diagnostic, Sources};
use crate::net::error_log::ErrorLog;
use crate::net::tls::pairs::Pairs;
use crate::net::tls::server::TlsServer;
use crate::net::tls::verify::Mode;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::local::Layout;
use crate::pipeline::settings::Settings;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

/// Where a configuration is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The configuration file; absolute.
    pub conf: PathBuf,
    /// `-p`: relative paths in the configuration (logs, `root`) start here; absolute.
    pub prefix: PathBuf,
    /// `-g`: directives of the main context, as text.
    pub globals: String,
    /// `-e`: the error log instead of the built-in default.
    pub error_log: Option<PathBuf>,
}

/// Debian's prefix, which a host's own nginx.conf expects.
pub const DEBIAN_PREFIX: &str = "/usr/share/nginx";

impl Origin {
    /// Whether the built-in paths are Debian's rather than below the prefix.
    pub fn is_debian(&self) -> bool {
        self.prefix == std::path::Path::new(DEBIAN_PREFIX)
    }

    /// The pid file when the configuration names none.
    pub fn default_pid(&self) -> PathBuf {
        match (self.is_debian(), self.conf.file_stem().is_some_and(|stem| stem == "octroi")) {
            (true, true) => PathBuf::from("/run/octroi.pid"),
            (true, false) => PathBuf::from("/run/nginx.pid"),
            (false, _) => self.prefix.join("logs/nginx.pid"),
        }
    }

    /// The error log when the configuration names none: that of `-e`, else the built-in one.
    pub fn default_error_log(&self) -> PathBuf {
        match &self.error_log {
            Some(path) if path.as_os_str() == "stderr" => path.clone(),
            Some(path) => self.prefix.join(path),
            None if self.is_debian() => PathBuf::from("/var/log/nginx/error.log"),
            None => self.prefix.join("logs/error.log"),
        }
    }
}

/// A configuration that was read, checked and compiled.
pub struct Loaded {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Notices: what was accepted without effect.
    pub notices: Vec<Diagnostic>,
    /// The texts, for `-T`.
    pub sources: Sources,
}

/// A piece of the control plane's work. It ends when the plan that wanted it is gone.
pub type Work = Pin<Box<dyn Future<Output = ()>>>;

/// Begins a piece of work, which writes to this log.
pub type Worker = Box<dyn Fn(&ErrorLog) -> Work + Send + Sync>;

/// What the process that serves does before it takes a plan up. An error refuses the plan.
pub type Preparation = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The number of a location among all of a plan.
pub type LocationId = usize;

/// The configuration compiled.
pub struct Plan {
    /// What the main context says of the processes.
    pub process: ProcessSettings,
    /// `worker_connections` per shard.
    pub worker_connections: usize,
    /// Every address to listen on, once.
    pub listens: Vec<Listen>,
    /// Every log file to open; absolute, once.
    pub log_files: Vec<PathBuf>,
    /// Every folder for temporary files; absolute, once.
    pub temp_folders: Vec<PathBuf>,
    /// What each listening socket serves; in the order of `listens`.
    pub sites: Vec<Site>,
    /// The servers.
    pub servers: Vec<Server>,
    /// All locations of all servers, the servers' own levels among them.
    pub locations: Vec<Arc<Settings>>,
    /// What all shards count in.
    pub zones: Vec<ZoneSpec>,
    /// Where the counts of quotas are kept, if there are quotas.
    pub quota_store: Option<StoreSpec>,
    /// The features' per-shard states.
    pub layout: Layout,
    /// What the control plane does for it.
    pub workers: Vec<Worker>,
    /// What has to be done before the first request.
    pub preparations: Vec<Preparation>,
}

/// What a listening socket serves.
pub struct Site {
    /// For a wildcard socket: the specific addresses configured beside it, with their servers.
    pub specific: Vec<(Address, names::Names)>,
    /// The servers of the socket's own address.
    pub names: names::Names,
}

impl Site {
    /// The servers for a connection accepted at `local`.
    pub fn names_at(&self, local: &Address) -> &names::Names {
        self.specific.iter().find(|(address, _)| address == local).map_or(&self.names, |(_, names)| names)
    }
}

/// One server.
pub struct Server {
    /// Its own level, as a location.
    pub own: LocationId,
    /// Its locations.
    pub router: router::Router,
    /// Its named locations, without `@`.
    pub named: ahash::AHashMap<Box<str>, LocationId>,
    /// What it says of TLS.
    pub tls: ServerTls,
    /// Clients may ask for tunnels with CONNECT somewhere in it.
    pub connects: bool,
}

/// What a server says of TLS, wherever it listens.
#[derive(Clone, Default)]
pub struct ServerTls {
    /// What it does with handshakes; `None` when it has no certificate.
    pub handshakes: Option<Handshakes>,
    /// `ssl_verify_client`, where it is not off.
    pub verify: Option<Mode>,
    /// The files that it was made from.
    pub files: Vec<PathBuf>,
    /// What finds the certificates of a handshake, where their names have variables.
    pub finder: Option<Arc<dyn FindCertificates>>,
}

/// What finds the certificates of one handshake.
pub trait FindCertificates: Send + Sync {
    /// The certificates for what the variables are in this exchange, which has a connection and no request.
    fn find<'x>(&'x self, x: &'x Exchange) -> Finding<'x>;
}

/// Certificates to come, or why there are none, in words for the log.
pub type Finding<'x> = Pin<Box<dyn Future<Output = Result<Pairs, String>> + 'x>>;

/// What a server does with handshakes.
#[derive(Clone)]
pub enum Handshakes {
    /// It has certificates, which may be replaced.
    Serve(Arc<Published<TlsServer>>),
    /// It refuses them (`ssl_reject_handshake`).
    Reject,
}

impl Plan {
    /// What the main context says of the processes.
    pub fn process(&self) -> &ProcessSettings {
        &self.process
    }

    /// Every address to listen on, once.
    pub fn listens(&self) -> &[Listen] {
        &self.listens
    }

    /// The files of certificates and what belongs to them, each once.
    pub fn tls_files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> = self.servers.iter().flat_map(|server| server.tls.files.clone()).collect();
        files.sort_unstable();
        files.dedup();
        files
    }

    /// Puts what `newer`, the same configuration, has made of these files in place of what is here; the
    /// number of servers for which it did.
    pub fn renew_tls(&self, newer: &Plan, files: &[PathBuf]) -> usize {
        let mut renewed = 0;
        for (server, newer) in self.servers.iter().zip(&newer.servers) {
            let concerns = server.tls.files.iter().any(|file| files.contains(file));
            if let (true, Some(Handshakes::Serve(place)), Some(Handshakes::Serve(new))) =
                (concerns, &server.tls.handshakes, &newer.tls.handshakes)
            {
                place.publish(new.current().0);
                renewed += 1;
            }
        }
        renewed
    }

    /// Every log file to open; absolute, once.
    pub fn log_files(&self) -> &[PathBuf] {
        &self.log_files
    }
}
