//! The core module's settings of one location, resolved: what the walk itself needs to know. What
//! other features were told stands in their own steps.

use super::exchange::Exchange;
use super::files::FileRules;
use super::filter::{BodyFilter, Stage};
use super::pattern::Pattern;
use super::problem::Problems;
use super::step::{HeaderFilter, LogStep, PHASES, Phase, Step};
use super::template::Template;
use super::variable::Variable;
use super::veil::Veil;
use crate::base::process_settings::{ErrorLog as ErrorLogSetting, Level};
use crate::conf::Place;
use crate::net::error_log::ErrorLog;
use crate::net::temp_file::Levels;
use std::any::Any;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A location of this shard's generation: the compiled settings, shared by all shards, behind a
/// counter that only this shard touches.
pub struct Here {
    /// The settings.
    pub settings: Arc<Settings>,
    /// The error log that applies here.
    pub error_log: ErrorLog,
    /// What stands in for the location once an `if` of it matched: its `if` blocks in order, then its
    /// `limit_except`.
    pub inner: Box<[Rc<Here>]>,
}

/// One location, compiled (a server's own level is one too).
pub struct Settings {
    /// The location's name as written: `/api/`, `@fallback`; empty at server level.
    pub name: String,
    /// Where it is written.
    pub place: Option<Place>,
    /// What of the server it belongs to is needed at run time.
    pub server: Arc<ServerFacts>,
    /// `internal`, or a named location.
    pub internal: bool,
    /// `satisfy`.
    pub satisfy: Satisfy,
    /// `auth_delay`; zero for none.
    pub auth_delay: Duration,
    /// How files are opened, where that is said.
    pub files: Option<Box<FileRules>>,
    /// What is hidden of requests, where callers show who they are.
    pub veil: Option<Box<Veil>>,
    /// `identity_headers`.
    pub identity_headers: bool,
    /// Where files are.
    pub root: Root,
    /// `client_max_body_size`, bytes; 0 for no limit.
    pub client_max_body_size: u64,
    /// `client_body_buffer_size`, bytes.
    pub client_body_buffer_size: usize,
    /// `client_body_temp_path`.
    pub client_body_temp_path: std::path::PathBuf,
    /// Its levels, for files that have a name.
    pub client_body_temp_levels: Levels,
    /// `client_body_timeout`.
    pub client_body_timeout: Duration,
    /// `send_timeout`.
    pub send_timeout: Duration,
    /// `limit_rate`, bytes a second.
    pub limit_rate: Option<Template>,
    /// `limit_rate_after`, bytes.
    pub limit_rate_after: Option<Template>,
    /// Where a request keeps what `set $limit_rate` says.
    pub limit_rate_place: usize,
    /// `client_body_in_file_only`.
    pub client_body_in_file_only: BodyFile,
    /// `keepalive_timeout`; zero closes after the answer.
    pub keepalive_timeout: Duration,
    /// The second argument of `keepalive_timeout`: seconds for the `Keep-Alive` field.
    pub keepalive_header_s: Option<u64>,
    /// `keepalive_requests`.
    pub keepalive_requests: u64,
    /// `keepalive_time`.
    pub keepalive_time: Duration,
    /// `keepalive_disable`.
    pub keepalive_disable: KeepaliveDisable,
    /// `keepalive_min_timeout`.
    pub keepalive_min_timeout: Duration,
    /// `lingering_close`.
    pub lingering_close: Lingering,
    /// `lingering_time`.
    pub lingering_time: Duration,
    /// `lingering_timeout`.
    pub lingering_timeout: Duration,
    /// `reset_timedout_connection`.
    pub reset_timedout_connection: bool,
    /// `tcp_nodelay`.
    pub tcp_nodelay: bool,
    /// `http2_chunk_size`, bytes.
    pub http2_chunk_bytes: usize,
    /// `chunked_transfer_encoding`.
    pub chunked_transfer_encoding: bool,
    /// `server_tokens`.
    pub server_tokens: ServerTokens,
    /// `msie_padding`.
    pub msie_padding: bool,
    /// `msie_refresh`.
    pub msie_refresh: bool,
    /// `types`: extension (lower case) to type.
    pub types: Arc<MediaTypes>,
    /// `default_type`.
    pub default_type: Box<[u8]>,
    /// `etag`.
    pub etag: bool,
    /// `if_modified_since`.
    pub if_modified_since: IfModifiedSince,
    /// `log_not_found`.
    pub log_not_found: bool,
    /// `log_subrequest`.
    pub log_subrequest: bool,
    /// `absolute_redirect`.
    pub absolute_redirect: bool,
    /// `port_in_redirect`.
    pub port_in_redirect: bool,
    /// `server_name_in_redirect`.
    pub server_name_in_redirect: bool,
    /// `error_page`.
    pub error_pages: Vec<ErrorPage>,
    /// `recursive_error_pages`.
    pub recursive_error_pages: bool,
    /// `error_log` lines.
    pub error_logs: Vec<ErrorLogSetting>,
    /// The location redirects its name without the trailing slash to itself (a prefix location
    /// that ends in `/` and whose requests are proxied).
    pub auto_redirect: bool,
    /// An upstream answers here.
    pub passes: bool,
    /// The numbers of the levels within this one that may stand in for it: those of its `if` blocks
    /// in order, then that of its `limit_except`.
    pub inner: Vec<usize>,
    /// A directive of the gateway's own is used here.
    pub is_gateway: bool,
    /// `problem_details`.
    pub problems: Problems,
    /// `post_action`.
    pub post_action: Option<Box<str>>,
    /// `uninitialized_variable_warn`.
    pub uninitialized_variable_warn: bool,
    /// The variables that `set` makes.
    pub set_names: Arc<SetNames>,
    /// The steps of each phase.
    pub steps: [Vec<Step>; PHASES],
    /// The features that put them there.
    pub step_names: [Vec<&'static str>; PHASES],
    /// The header filters, in the order of their stages.
    pub header_filters: Vec<Box<dyn HeaderFilter>>,
    /// The body filters, in the order of their stages.
    pub body_filters: Vec<(Stage, Box<dyn BodyFilter>)>,
    /// What adds fields behind a body, once that was sent.
    pub trailer_filters: Vec<Box<dyn HeaderFilter>>,
    /// What is run when a request ended here.
    pub log_steps: Vec<Box<dyn LogStep>>,
    /// What features were told here that their variables need.
    pub attached: Vec<Box<dyn Any + Send + Sync>>,
}

impl Settings {
    /// The steps of `phase`.
    #[inline]
    pub fn steps(&self, phase: Phase) -> &[Step] {
        &self.steps[phase as usize]
    }

    /// What was attached of this type; features attach few things, and only where they are asked to.
    pub fn attached<T: 'static>(&self) -> Option<&T> {
        self.attached.iter().find_map(|attached| attached.downcast_ref())
    }
}

/// Media types by extension, lower case.
pub type MediaTypes = HashMap<Box<[u8]>, Box<[u8]>>;

/// The name of the place where `set $limit_rate` puts its value: none that a configuration can write, so
/// that `$limit_rate` itself can be computed.
pub const LIMIT_RATE_PLACE: &str = "$limit_rate";

/// The variables that `set` makes, by their places: known when all is compiled.
#[derive(Default)]
pub struct SetNames(OnceLock<HashMap<usize, SetName>>);

/// One of them.
pub struct SetName {
    /// Its name.
    pub name: Box<str>,
    /// What it is as long as it has no value: one of a family, `$http_name` for instance.
    pub otherwise: Option<Variable>,
}

impl SetNames {
    /// Fills in the names; once.
    pub fn fill(&self, names: HashMap<usize, SetName>) {
        let _ = self.0.set(names);
    }

    /// The variable at a place, if `set` makes it.
    pub fn of(&self, place: usize) -> Option<&SetName> {
        self.0.get()?.get(&place)
    }
}

/// Of a server, what a request needs beyond its location.
#[derive(Debug)]
pub struct ServerFacts {
    /// The first `server_name`, as `$server_name`.
    pub name: String,
    /// `merge_slashes`.
    pub merge_slashes: bool,
    /// `ignore_invalid_headers`.
    pub ignore_invalid_headers: bool,
    /// `underscores_in_headers`.
    pub underscores_in_headers: bool,
    /// `max_headers`.
    pub max_headers: usize,
    /// `client_header_timeout`.
    pub client_header_timeout: Duration,
    /// `client_header_buffer_size`, bytes.
    pub client_header_buffer_size: usize,
    /// `large_client_header_buffers`: number,
    pub large_header_buffers: usize,
    /// and size, bytes.
    pub large_header_buffer_size: usize,
    /// What HTTP/2 connections are told.
    pub http2: Http2,
}

/// HTTP/2, as a server has it.
#[derive(Clone, Copy, Debug)]
pub struct Http2 {
    /// `http2`.
    pub on: bool,
    /// `http2_max_concurrent_streams`.
    pub streams_max: u32,
    /// `http2_body_preread_size`, bytes.
    pub preread_bytes: u32,
    /// `http2_recv_buffer_size`, bytes.
    pub read_bytes: usize,
}

/// `root` or `alias`.
pub enum Root {
    /// `root`: the path is appended.
    Root(Directory),
    /// `alias`: it replaces the first `usize` bytes of the path, the location's name.
    Alias(Directory, usize),
    /// `alias` in a regex location: it is the whole path.
    AliasWhole(Directory),
}

/// The path that `root` or `alias` names.
pub struct Directory {
    /// The path as written, absolute unless it begins with a variable.
    pub path: Template,
    /// What a path that begins with a variable is below, if that yields a relative one; ends in `/`.
    pub prefix: Option<Box<[u8]>>,
}

impl Directory {
    /// Appends the absolute path for this request.
    #[inline]
    pub fn write(&self, x: &Exchange, out: &mut Vec<u8>) {
        let start = out.len();
        self.path.write(x, out);
        if let Some(prefix) = &self.prefix
            && out.get(start) != Some(&b'/')
        {
            out.splice(start..start, prefix.iter().copied());
        }
    }
}

/// `client_body_in_file_only`: whether every body is written to a file with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFile {
    /// Bodies that fit stay in memory, files have no name.
    Off,
    /// The file is removed when the request is over.
    Clean,
    /// It stays.
    On,
}

/// `keepalive_disable`: whose connections serve one request only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepaliveDisable {
    /// Those of old versions of Internet Explorer, after a POST.
    pub msie6: bool,
    /// Those of Safari on macOS.
    pub safari: bool,
}

/// `lingering_close`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Lingering {
    Off,
    On,
    Always,
}

/// `satisfy`: how many of the steps in Access must let a request in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Satisfy {
    /// Each that has something to say.
    All,
    /// One of them.
    Any,
}

/// `server_tokens`.
#[derive(Clone)]
#[allow(missing_docs)]
pub enum ServerTokens {
    On,
    Off,
    Build,
}

/// `if_modified_since`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum IfModifiedSince {
    Off,
    Exact,
    Before,
}

/// One `error_page` line.
pub struct ErrorPage {
    /// The statuses it is for.
    pub statuses: Vec<u16>,
    /// `=code`: the status to answer with; `Some(0)` for `=`, the one of the page itself.
    pub overwrite: Option<u16>,
    /// A path, `@name`, or a URL.
    pub target: Template,
}

/// A regular expression with the places its named groups are put.
pub struct PlacedPattern {
    /// The expression.
    pub pattern: Pattern,
    /// (group, place) for each named group.
    pub places: Vec<(usize, usize)>,
}

impl PlacedPattern {
    /// Matches `subject`; the groups are left where variables find them. A named group that took no
    /// part is empty then.
    ///
    /// # Errors
    /// PCRE's match error, above all the match limit.
    pub fn search(&self, x: &Exchange, subject: &[u8]) -> Result<bool, String> {
        if !x.matched.search(&self.pattern, subject)? {
            return Ok(false);
        }
        for &(group, place) in &self.places {
            x.values.set(place, x.matched.span(group).map_or(&[], |span| span.of(subject)));
        }
        Ok(true)
    }

    /// The same, for whom an error ends the request: the log says it.
    ///
    /// # Errors
    /// The status to answer with.
    pub fn run(&self, x: &Exchange, subject: &[u8]) -> Result<bool, u16> {
        self.search(x, subject).map_err(|code| {
            let (subject, source) = (String::from_utf8_lossy(subject), self.pattern.source());
            x.log(
                Level::Alert,
                format_args!("pcre2_match() failed: {code} on \"{subject}\" using \"{source}\""),
            );
            500
        })
    }
}
