//! One request and its answer, from the first byte of the head to the log line. Recycled: what it
//! holds in memory serves the next request of the shard.

use super::answer::AnswerHead;
use super::body::{RequestBody, Source};
use super::caller::Caller;
use super::connection::{Connection, push_peer};
use super::limits::Limits;
use super::local::Locals;
use super::passing::Passing;
use super::problem::Problem;
use super::settings::{Here, SetName};
use super::step::Asked;
use super::trace::UpstreamTrace;
use super::upload::Upload;
use super::variable::{Matched, Values};
use crate::base::buffer::Buffer;
use crate::base::clock;
use crate::base::limits::{FREE_EXCHANGES_MAX, SCRATCH_KEEP_BYTES};
use crate::base::process_settings::Level;
use crate::http::{Method, RequestHead, ResponseHead, Version};
use crate::net::deadline::Alarm;
use crate::upstream::client::UpstreamBody;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A request while it walks.
pub struct Exchange {
    /// The connection it came on.
    pub connection: Rc<Connection>,
    /// This shard's states of the features.
    pub locals: Rc<Locals>,
    /// On whose behalf it came, where whoever is at the other end of the connection may say so
    /// (`set_real_ip_from`).
    pub real: Cell<Option<SocketAddr>>,
    /// The location it is in (before FindLocation: the server's own level).
    pub here: Rc<Here>,

    /// The bytes the head was parsed from.
    pub input: Buffer,
    /// The parsed head; its spans lie in `input`.
    pub head: RequestHead,
    /// The path, normalised and decoded; relocations replace it.
    pub uri: Vec<u8>,
    /// The arguments, without `?`.
    pub args: Vec<u8>,
    /// Whether `uri` and `args` are still those the client asked for, so that the raw target may
    /// be passed on.
    pub uri_is_original: bool,
    /// The path held something percent-encoded, so it is encoded again where it goes into a URI.
    pub uri_is_quoted: bool,
    /// The path held a plus, which arguments read as a space: what `rewrite` takes out of the path is
    /// encoded again there too.
    pub uri_has_plus: bool,
    /// The path begins with the name of its location: not where `rewrite` changed it and the location
    /// stayed.
    pub uri_is_located: bool,
    /// `try_files` has found a file behind an `alias` that is a whole path: the path goes behind it.
    pub uri_extends_alias: bool,
    /// The server it belongs to, its number in the plan.
    pub server: usize,
    /// The head could not be read as a request; what follows on the connection means nothing.
    pub head_refused: bool,
    /// An error page is being served: an error in it gets none of its own.
    pub in_error_page: bool,
    /// The host asked for, lower case, without port: `$host` before its fallback.
    pub host: Vec<u8>,
    /// The request is one the gateway made itself (relocation or subrequest): `internal` lets it in.
    pub internal: bool,
    /// Where the body comes from.
    pub source: Source,
    /// What of the body was read into memory or a file.
    pub body: RequestBody,
    /// When the first byte of the head arrived.
    pub started: Instant,
    /// Bytes of the head and the body received.
    pub request_length: u64,

    /// The answer's head.
    pub answer: AnswerHead,
    /// How an upstream's body is passed on.
    pub passing: Passing,
    /// Bytes of the body before it was compressed and behind, once all was.
    pub packed: Option<(u64, u64)>,
    /// Bytes sent to the client, head included.
    pub bytes_sent: u64,
    /// Body bytes sent to the client.
    pub body_bytes_sent: u64,
    /// The connection may serve another request after this one.
    pub keep_alive: bool,
    /// The answer was sent to its end.
    pub completed: bool,
    /// The answer was sent, and what `post_action` names is under way: the client is not watched any more.
    pub is_post_action: bool,
    /// The status of the first error, while its `error_page` is served.
    pub error_status: Option<u16>,

    /// Upstreams tried.
    pub upstream: UpstreamTrace,
    /// The head of the last upstream's answer; its spans lie in `upstream_input`.
    pub upstream_head: ResponseHead,
    /// The bytes that head was parsed from.
    pub upstream_input: Buffer,
    /// The rest of that answer, until it is passed on.
    pub upstream_body: Option<UpstreamBody>,
    /// What of the body is still to be sent while the answer comes back.
    pub upload: Option<Box<Upload>>,
    /// The client left while its body was read: nobody is there to answer.
    pub client_gone: bool,
    /// Who sends it, once Access knows.
    pub caller: Caller,
    /// What limits made of it.
    pub limits: Limits,
    /// Bytes a second the client gets at most, where `$limit_rate` or `X-Accel-Limit-Rate` says so;
    /// 0 for any.
    pub limit_rate: Option<u64>,
    /// Memory for texts that are made and sent at once.
    pub scratch: Vec<u8>,
    /// The path of the request to the upstream, for the log.
    pub upstream_uri: Vec<u8>,
    /// The request began with bytes that were read together with the one before: `$pipe`.
    pub pipelined: bool,
    /// The host and port `proxy_pass` names, as `$proxy_host` shows them.
    pub proxy_host: Vec<u8>,
    /// How that is spoken to: `http` or `https`, or nothing where bytes pass as they are.
    pub proxy_scheme: &'static str,
    /// The last match's groups.
    pub matched: Matched,
    /// The exchange's own variables.
    pub values: Values,
    /// The answer of the subrequest that the step under way asked for.
    pub asked: Option<Asked>,
    /// An `if` has sent it to an upstream, and one after it, which matched too, knows of none.
    pub lost_upstream: bool,
    /// What a step that answered with an error says of it.
    pub problem: Option<Box<Problem>>,
    /// Relocations so far.
    pub relocations: u32,
    /// How deep in subrequests this one is.
    pub depth: u32,

    /// The one timer of the connection's task.
    pub alarm: Alarm,
    /// `$request_id`, made when first asked for.
    pub id: std::cell::OnceCell<[u8; 32]>,
}

impl Exchange {
    /// The client's address, as `$remote_addr` and all that judges by it see it: the one a trusted
    /// proxy names, else the socket's. `None` on a Unix socket.
    #[inline]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.real.get().or(self.connection.accepted_from)
    }

    /// That address as text: `unix:` on a Unix socket.
    pub fn peer_text(&self, out: &mut Vec<u8>) {
        push_peer(out, self.peer());
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.head.method
    }

    /// Whether the answer must have no body.
    pub fn is_head(&self) -> bool {
        self.head.method == Method::Head
    }

    /// The method's text.
    pub fn method_text(&self) -> &[u8] {
        match self.head.method {
            Method::Other => self.head.method_text.of(self.input.filled()),
            known => known.text().as_bytes(),
        }
    }

    /// Makes it a GET, unless it is a HEAD: it goes on to something else than it asked for.
    pub fn become_get(&mut self) {
        if self.head.method != Method::Head {
            self.head.method = Method::Get;
        }
    }

    /// The request's version.
    pub fn version(&self) -> Version {
        self.head.version
    }

    /// The target as the client sent it, for an absolute-form one without scheme and authority.
    pub fn raw_target(&self) -> &[u8] {
        self.head.path.of(self.input.filled())
    }

    /// The request line as the client sent it.
    pub fn request_line(&self) -> &[u8] {
        self.head.request_line.of(self.input.filled())
    }

    /// Time since the head's first byte.
    pub fn elapsed(&self) -> Duration {
        clock::now().saturating_duration_since(self.started)
    }

    /// Writes a line to the error log that applies here, with the request's facts behind it as
    /// nginx does.
    ///
    /// Cold, so that whatever leads to a line is laid out away from the code of a request that goes well.
    #[cold]
    #[inline(never)]
    pub fn log(&self, level: Level, message: std::fmt::Arguments<'_>) {
        let log = &self.here.error_log;
        if !log.enabled(level) {
            return;
        }
        let mut facts = Vec::with_capacity(256);
        facts.extend_from_slice(b", client: ");
        self.peer_text(&mut facts);
        facts.extend_from_slice(b", server: ");
        facts.extend_from_slice(self.here.settings.server.name.as_bytes());
        let request_line = match self.request_line() {
            [] => front_line(self.input.filled()),
            line => line,
        };
        let veil = self.here.settings.veil.as_deref();
        let masked = |text: &[u8]| veil.map_or_else(|| text.to_vec(), |veil| veil.masked(text));
        if !request_line.is_empty() {
            facts.extend_from_slice(b", request: \"");
            facts.extend_from_slice(&masked(request_line));
            facts.push(b'"');
        }
        if let Some(attempt) = self.upstream.attempts.last() {
            facts.extend_from_slice(b", upstream: \"");
            if !self.proxy_scheme.is_empty() {
                facts.extend_from_slice(self.proxy_scheme.as_bytes());
                facts.extend_from_slice(b"://");
            }
            facts.extend_from_slice(attempt.peer.as_bytes());
            if attempt.peer.starts_with("unix:") {
                facts.push(b':');
            }
            facts.extend_from_slice(&self.upstream_uri);
            facts.push(b'"');
        }
        let buffer = self.input.filled();
        if let Some(field) = self.head.fields.find(crate::http::Known::Host) {
            facts.extend_from_slice(b", host: \"");
            facts.extend_from_slice(field.value.of(buffer));
            facts.push(b'"');
        }
        if let Some(field) = self.head.fields.find(crate::http::Known::Referer) {
            facts.extend_from_slice(b", referrer: \"");
            facts.extend_from_slice(&masked(field.value.of(buffer)));
            facts.push(b'"');
        }
        let line = one_line(format!("{message}{}", String::from_utf8_lossy(&facts)));
        log.write(level, Some(self.connection.number), format_args!("{line}"));
    }

    /// Makes it another request inside: a new path, and arguments where given.
    pub fn relocate(&mut self, uri: &[u8], args: Option<&[u8]>) {
        self.uri.clear();
        self.uri.extend_from_slice(uri);
        if let Some(args) = args {
            self.args.clear();
            self.args.extend_from_slice(args);
        }
        self.uri_is_original = false;
        self.uri_is_located = true;
        self.uri_extends_alias = false;
        self.internal = true;
    }

    /// Takes the keys out of the request that its location hides, if it does.
    #[inline]
    pub fn cover(&mut self) {
        if self.here.settings.veil.is_some() {
            let here = self.here.clone();
            here.settings.veil.iter().for_each(|veil| veil.cover(self));
        }
    }

    /// A variable that was given no value is read: those that `set` makes are empty then, and the log
    /// says so once; false for the others, which have no value.
    #[cold]
    pub fn write_unset(&self, place: usize, out: &mut Vec<u8>) -> bool {
        let settings = &self.here.settings;
        let Some(SetName { name, otherwise }) = settings.set_names.of(place) else { return false };
        if let Some(otherwise) = otherwise {
            return otherwise.write(self, out);
        }
        // That is its value from now on.
        self.values.set(place, b"");
        if settings.uninitialized_variable_warn {
            self.log(Level::Warn, format_args!("using uninitialized \"{name}\" variable"));
        }
        true
    }
}

/// What has come of a request line that is not read to its end.
fn front_line(input: &[u8]) -> &[u8] {
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let start = input.iter().position(|byte| !is_end(byte)).unwrap_or(input.len());
    let line = input.get(start..).unwrap_or_default();
    line.iter().position(is_end).and_then(|end| line.get(..end)).unwrap_or(line)
}

/// A text without control bytes: what a client sent must not begin a line of its own.
pub fn one_line(text: String) -> String {
    if !text.bytes().any(|b| b < b' ' || b == 0x7f) {
        return text;
    }
    let escape = |c: char| if c.is_control() { format!("\\x{:02X}", c as u32) } else { c.to_string() };
    text.chars().map(escape).collect()
}

thread_local! {
    #[allow(clippy::vec_box, reason = "exchanges are large and handed out by their boxes")]
    static FREE: RefCell<Vec<Box<Exchange>>> = const { RefCell::new(Vec::new()) };
}

/// Frees the exchanges that wait to be used again on this thread: each holds on to the generation
/// it served last.
pub fn forget_free() {
    FREE.with(|free| free.borrow_mut().clear());
}

/// An exchange taken from the shard's free list; it goes back when it is dropped.
pub struct Recycled(Option<Box<Exchange>>);

impl Recycled {
    /// A fresh exchange for `connection`.
    pub fn take(connection: &Rc<Connection>, locals: &Rc<Locals>, here: &Rc<Here>) -> Recycled {
        let now = clock::now();
        let free = FREE.with(|free| free.borrow_mut().pop());
        let Some(mut x) = free else {
            return Recycled(Some(Box::new(Exchange {
                connection: connection.clone(),
                locals: locals.clone(),
                here: here.clone(),
                real: Cell::new(None),
                input: Buffer::default(),
                head: RequestHead::default(),
                uri: Vec::new(),
                args: Vec::new(),
                uri_is_original: true,
                uri_is_quoted: false,
                uri_has_plus: false,
                uri_is_located: true,
                uri_extends_alias: false,
                server: 0,
                head_refused: false,
                in_error_page: false,
                host: Vec::new(),
                internal: false,
                source: Source::None,
                body: RequestBody::Unread,
                started: now,
                request_length: 0,
                answer: AnswerHead::default(),
                passing: Passing::default(),
                packed: None,
                bytes_sent: 0,
                body_bytes_sent: 0,
                keep_alive: false,
                completed: false,
                is_post_action: false,
                error_status: None,
                upstream: UpstreamTrace::default(),
                upstream_head: ResponseHead::default(),
                upstream_input: Buffer::default(),
                upstream_body: None,
                upload: None,
                upstream_uri: Vec::new(),
                pipelined: false,
                client_gone: false,
                caller: Caller::default(),
                limits: Limits::default(),
                limit_rate: None,
                scratch: Vec::new(),
                proxy_host: Vec::new(),
                proxy_scheme: "http",
                matched: Matched::default(),
                values: Values::default(),
                asked: None,
                lost_upstream: false,
                problem: None,
                relocations: 0,
                depth: 0,
                alarm: Alarm::new(now + Duration::from_secs(60)),
                id: std::cell::OnceCell::new(),
            })));
        };
        x.connection = connection.clone();
        x.locals = locals.clone();
        x.here = here.clone();
        x.started = now;
        Recycled(Some(x))
    }
}

impl std::ops::Deref for Recycled {
    type Target = Exchange;

    fn deref(&self) -> &Exchange {
        self.0.as_ref().expect("present until dropped")
    }
}

impl std::ops::DerefMut for Recycled {
    fn deref_mut(&mut self) -> &mut Exchange {
        self.0.as_mut().expect("present until dropped")
    }
}

impl Drop for Recycled {
    fn drop(&mut self) {
        let Some(mut x) = self.0.take() else { return };
        x.wipe();
        // The thread is ending when the list is gone: then it is simply freed.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < FREE_EXCHANGES_MAX {
                free.push(x);
            }
        });
    }
}

impl Exchange {
    /// Forgets the request, keeps the memory within bounds. What holds a socket, a file or a
    /// generation of the configuration is let go of when the next request takes its place.
    fn wipe(&mut self) {
        self.input = Buffer::default();
        for text in [
            &mut self.uri,
            &mut self.args,
            &mut self.host,
            &mut self.proxy_host,
            &mut self.upstream_uri,
            &mut self.scratch,
        ] {
            text.clear();
            if text.capacity() > SCRATCH_KEEP_BYTES {
                *text = Vec::new();
            }
        }
        self.real.set(None);
        self.uri_is_original = true;
        self.uri_is_quoted = false;
        self.uri_has_plus = false;
        self.uri_is_located = true;
        self.uri_extends_alias = false;
        self.head_refused = false;
        self.in_error_page = false;
        self.internal = false;
        self.source = Source::None;
        self.body = RequestBody::Unread;
        self.request_length = 0;
        self.head.clear();
        self.answer.clear();
        self.passing = Passing::default();
        self.packed = None;
        self.bytes_sent = 0;
        self.body_bytes_sent = 0;
        self.keep_alive = false;
        self.completed = false;
        self.is_post_action = false;
        self.error_status = None;
        self.problem = None;
        self.upstream.clear();
        self.upstream_head.clear();
        self.upstream_input = Buffer::default();
        self.upstream_body = None;
        self.upload = None;
        self.pipelined = false;
        self.client_gone = false;
        self.caller.clear();
        self.limits.clear();
        self.limit_rate = None;
        self.matched.clear();
        self.values.clear();
        self.asked = None;
        self.lost_upstream = false;
        self.relocations = 0;
        self.depth = 0;
        self.id.take();
    }
}
