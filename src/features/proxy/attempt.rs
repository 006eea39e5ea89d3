//! The attempts of one request: a peer is picked, asked, and, where the rules allow it, the next.

use super::bind::Bind;
use super::compile::{Whom, read_variable};
use super::connect;
use super::outcome::{finish, note};
use super::request::{self, Outgoing, Resolved};
use super::retry::Failure;
use super::settings::{ProxySettings, ProxyStep, Target};
use super::tls::HANDSHAKING;
use super::{answer, hints};
use crate::base::address::Address;
use crate::base::buffer::Buffer;
use crate::base::clock;
use crate::base::limits::{BUFFER_BYTES, INTERIM_ANSWERS_MAX, RESPONSE_FIELDS_MAX, WATCH_CLIENT_AFTER_MS};
use crate::base::process_settings::Level;
use crate::features::resolver::ResolverRef;
use crate::http::{Framing, HeadLimits, Method, Parsed, ResponseFault};
use crate::net::deadline::{First, first};
use crate::net::error_log::OsError;
use crate::net::stream::Stream;
use crate::net::tls::client::Identity;
use crate::pipeline::answer::Answer;
use crate::pipeline::body::RequestBody;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::step::{Flow, WaitingStep};
use crate::pipeline::trace::Attempt;
use crate::upstream::balance::{Tried, Verdict};
use crate::upstream::client::{Hold, Members, UpstreamBody};
use crate::upstream::pool::Kept;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

impl WaitingStep for ProxyStep {
    fn run<'a>(&'a self, x: &'a mut Exchange) -> Pin<Box<dyn Future<Output = Flow> + 'a>> {
        // Made where it is to stay: the future is large, and hardly any of it is filled yet.
        let room = Box::new_uninit();
        let proxied = Box::write(room, proxy(&self.settings, x));
        Box::into_pin(proxied)
    }

    fn preview(&self, x: &mut Exchange) -> Option<String> {
        Some(super::preview::preview(&self.settings, x))
    }
}

/// How one attempt ended.
pub(super) enum Ended {
    /// With an answer, whose head is in the exchange.
    Answered,
    /// In a failure that may be tried again elsewhere.
    Failed(Failure),
    /// An idle connection turned out to be closed before it carried anything: the same peer again,
    /// on a fresh one.
    Stale,
    /// The client is gone, or its body was refused with this status.
    Client(u16),
}

/// What an attempt holds on to.
pub(super) struct Call<'a> {
    pub(super) settings: &'a ProxySettings,
    pub(super) members: &'a Members,
    pub(super) hold: Option<Hold>,
    /// The upstream may have got something of the request.
    pub(super) sent: bool,
    /// What of the request is not the client's own.
    pub(super) outgoing: &'a Outgoing,
    /// Of which connections it may use one, where TLS is spoken.
    identity: Option<&'a Arc<Identity>>,
    /// The handshake of TLS is under way.
    shaking: bool,
}

async fn proxy(settings: &ProxySettings, x: &mut Exchange) -> Flow {
    // A body of unknown length cannot be told to an HTTP/1.0 upstream, so it is read first.
    let streamed = !settings.request_buffering
        && settings.body.is_none()
        && settings.pass_body
        && (settings.http11 || x.head.framing != Framing::Chunked)
        && matches!(x.body, RequestBody::Unread)
        && !x.body_is_here();
    if !streamed {
        // A body that would be passed on as it comes is in memory, where there is a choice.
        let read = if settings.request_buffering { x.read_body().await } else { x.read_body_unnamed().await };
        if let Err(status) = read {
            return Flow::Answer(Answer::Status(status));
        }
    }
    // What an earlier location passed on as it came cannot be passed on again.
    if matches!(x.body, RequestBody::Consumed) {
        x.body = RequestBody::Memory(Vec::new());
    }
    x.upstream.begin_group();
    if x.method() == Method::Connect {
        // A server with `tunnel_pass` elsewhere lets it in; it is not for upstreams of HTTP.
        return Flow::Answer(Answer::Status(405));
    }
    let Some(outgoing) = Outgoing::of(settings, x) else {
        x.log(Level::Error, format_args!("invalid method in \"proxy_method\""));
        return Flow::Answer(Answer::Status(500));
    };
    let (members, mut tried, resolved) = match resolve(settings, x).await {
        Ok(found) => found,
        Err(status) => return Flow::Answer(Answer::Status(status)),
    };
    let secure = settings.tls.as_ref().filter(|_| x.proxy_scheme == "https");
    let identity = secure.map(|tls| tls.identity(x));
    let balancer = &members.balancer;
    let mut head = std::mem::take(&mut x.scratch);
    head.clear();
    if !request::write(settings, x, &outgoing, resolved.as_ref(), &mut head) {
        x.log(Level::Error, format_args!("zero length URI to proxy"));
        x.scratch = head;
        return Flow::Answer(Answer::Status(500));
    }
    keep_uri(x, &head);
    let begun = clock::now();
    let mut left = settings.next.tries(balancer.tries());
    let method = x.method();
    let flow = loop {
        let Some(peer) = balancer.pick(&mut tried, clock::now()) else {
            break Flow::Answer(Answer::Status(no_live_upstreams(&members, x)));
        };
        left = left.saturating_sub(1);
        let hold = Hold::new(balancer.clone(), peer);
        let mut call = Call {
            settings,
            members: &members,
            hold: Some(hold),
            sent: false,
            outgoing: &outgoing,
            identity: identity.as_ref(),
            shaking: false,
        };
        let failure = match call.attempt(x, &head, streamed).await {
            Ended::Answered => break finish(settings, x, outgoing.method),
            Ended::Client(status) => {
                note(x, status);
                break Flow::Answer(Answer::Status(status));
            }
            Ended::Stale => Failure::Error,
            Ended::Failed(failure) => failure,
        };
        note(x, failure.status());
        x.end_upload();
        let repeatable = !matches!(x.body, RequestBody::Consumed);
        if left == 0 || !settings.next.allows(failure, method, call.sent, repeatable, begun) {
            break Flow::Answer(Answer::Status(failure.status()));
        }
    };
    x.scratch = head;
    flow
}

/// Keeps the path of the request to the upstream, for the log.
fn keep_uri(x: &mut Exchange, head: &[u8]) {
    x.upstream_uri.clear();
    if let Some(uri) = head.split(|b| *b == b' ').nth(1) {
        x.upstream_uri.extend_from_slice(uri);
    }
}

/// Who is asked, and with which URI, for this request.
async fn resolve(
    settings: &ProxySettings,
    x: &mut Exchange,
) -> Result<(Members, Tried, Option<Resolved>), u16> {
    x.proxy_host.clear();
    match &settings.target {
        Target::Fixed { members, host, scheme, .. } => {
            x.proxy_host.extend_from_slice(host);
            x.proxy_scheme = scheme;
            let slots = members;
            let members = slots.members(&x.locals);
            let tried = slots.selector.begin(x, &members.balancer);
            Ok((members, tried, None))
        }
        Target::Variable { url, groups, resolver } => {
            let url = url.value(x);
            let (whom, resolved) = read_variable(&url, groups, x)?;
            let (members, tried) = match whom {
                Whom::Known(members, tried) => (members, tried),
                // Boxed: rare, and it would swell what every request waits in.
                Whom::Host { name, port } => {
                    let asked = look_up(resolver.as_ref(), x, &name, port, settings.ignore_client_abort);
                    (Box::pin(asked).await?, Tried::default())
                }
            };
            Ok((members, tried, Some(resolved)))
        }
    }
}

/// Asks the location's resolver for the addresses of a host.
pub(super) async fn look_up(
    resolver: Option<&ResolverRef>,
    x: &mut Exchange,
    name: &str,
    port: u16,
    ignore_client_abort: bool,
) -> Result<Members, u16> {
    let Some(resolver) = resolver else {
        x.log(Level::Error, format_args!("no resolver defined to resolve {name}"));
        return Err(502);
    };
    let found = resolver.addresses(x, name, ignore_client_abort).await?;
    Ok(Members::of_addresses(name, found.into_iter().map(|ip| Address::Ip(SocketAddr::new(ip, port)))))
}

/// Notes that there is nobody to ask; the status to answer with.
pub(super) fn no_live_upstreams(members: &Members, x: &mut Exchange) -> u16 {
    let mut attempt = Attempt::begin(members.group.name.clone(), clock::now());
    attempt.status = 502;
    attempt.response_ms = Some(0);
    x.upstream.attempts.push(attempt);
    x.log(Level::Error, format_args!("no live upstreams while connecting to upstream"));
    502
}

impl Call<'_> {
    async fn attempt(&mut self, x: &mut Exchange, head: &[u8], streamed: bool) -> Ended {
        let peer = self.hold.as_ref().map_or(0, Hold::peer);
        let label = self.members.group.peers[peer].label.clone();
        x.upstream.attempts.push(Attempt::begin(label, clock::now()));
        x.upstream_head.clear();
        let mut reused = if self.pools() { self.members.pool.take(peer, self.identity) } else { None };
        loop {
            let from_pool = reused.is_some();
            let kept = match reused.take() {
                Some(kept) => kept,
                None => match self.connect(x, peer).await {
                    Ok(kept) => kept,
                    Err(failure) => return self.failed(x, failure),
                },
            };
            let now = clock::now();
            if let Some(attempt) = x.upstream.last_mut() {
                attempt.connect_ms = Some(attempt.elapsed_ms(now));
            }
            match self.exchange(x, kept, head, streamed).await {
                // It was closed before it carried the request: nothing is lost by another try.
                Ended::Stale if from_pool && self.repeatable(x) => {
                    self.sent = false;
                    continue;
                }
                Ended::Stale => return self.failed(x, Failure::Error),
                Ended::Failed(failure) => return self.failed(x, failure),
                other => return other,
            }
        }
    }

    /// Whether connections are kept for other requests: not where each has an address of its own.
    fn pools(&self) -> bool {
        self.settings.bind.as_ref().is_none_or(Bind::is_fixed)
    }

    /// Whether the request may be sent once more after a kept connection broke under it.
    fn repeatable(&self, x: &Exchange) -> bool {
        let idempotent = !matches!(x.method(), Method::Post | Method::Lock | Method::Patch);
        idempotent && !matches!(x.body, RequestBody::Consumed)
    }

    fn failed(&mut self, x: &Exchange, failure: Failure) -> Ended {
        let counts = !matches!(failure, Failure::Status(403 | 404));
        let Some(mut hold) = self.hold.take() else { return Ended::Failed(failure) };
        let peer = hold.peer();
        hold.judge(if counts { Verdict::Failed } else { Verdict::Neutral });
        drop(hold);
        if counts && self.members.balancer.is_disabled(peer, clock::now()) {
            let action = match x.upstream.attempts.last() {
                Some(_) if self.shaking => HANDSHAKING,
                Some(attempt) if attempt.connect_ms.is_none() => "connecting to upstream",
                _ if self.sent => "reading response header from upstream",
                _ => "sending request to upstream",
            };
            x.log(Level::Warn, format_args!("upstream server temporarily disabled while {action}"));
        }
        Ended::Failed(failure)
    }

    async fn connect(&mut self, x: &mut Exchange, peer: usize) -> Result<Kept, Failure> {
        let deadline = clock::now() + self.settings.connect_timeout;
        let settings = &self.members.group.peers[peer];
        let (bind, options) = (self.settings.bind.as_ref(), self.settings.sockets);
        let stream = connect::open(x, &settings.address, bind, options, deadline).await?;
        let stream = match (&self.settings.tls, self.identity) {
            (Some(tls), Some(identity)) => {
                self.shaking = true;
                let label = &settings.label;
                // Boxed: it would swell what every request waits in.
                let shaken = Box::pin(tls.secure(x, stream, label, identity.clone(), deadline)).await?;
                self.shaking = false;
                shaken
            }
            _ => stream,
        };
        Ok(Kept { stream, requests: 0, opened: clock::now() })
    }

    /// Sends the request on `kept` and reads the answer's head.
    async fn exchange(&mut self, x: &mut Exchange, mut kept: Kept, head: &[u8], streamed: bool) -> Ended {
        kept.requests += 1;
        let clean = match self.send(x, &kept.stream, head, streamed).await {
            Ok(clean) => clean,
            Err(ended) => return ended,
        };
        self.sent = true;
        self.receive(x, kept, clean).await
    }

    /// Reads the answer's head; interim answers are passed over.
    async fn receive(&mut self, x: &mut Exchange, kept: Kept, clean: bool) -> Ended {
        let limits = HeadLimits {
            line_max: self.settings.buffer_size,
            total_max: self.settings.buffer_size,
            fields_max: RESPONSE_FIELDS_MAX,
            underscores: true,
            ignore_invalid: true,
        };
        let mut input = Buffer::with_capacity(self.settings.buffer_size.max(BUFFER_BYTES));
        let mut interim = 0;
        x.upstream_head.clear();
        loop {
            if input.is_empty() || input.room() > 0 {
                let (read, back) = match self.read(x, &kept.stream, input).await {
                    Ok(read) => read,
                    Err(ended) => return ended,
                };
                input = back;
                match read {
                    Ok(0) => return self.closed_early(x, &kept, input.is_empty()),
                    Ok(n) => count_received(x, n as u64),
                    Err(e) => {
                        if input.is_empty() && kept.requests > 1 {
                            return Ended::Stale;
                        }
                        let failed = failed(["recv()", "SSL_read()"], &e);
                        x.log(
                            Level::Error,
                            format_args!("{failed} while reading response header from upstream"),
                        );
                        return Ended::Failed(Failure::Error);
                    }
                }
            }
            loop {
                match x.upstream_head.parse(input.filled(), &limits) {
                    Ok(Parsed::Partial) => {
                        if input.room() == 0 {
                            input.compact();
                        }
                        if input.room() == 0 {
                            x.log(
                                Level::Error,
                                format_args!(
                                    "upstream sent too big header while reading response header from upstream"
                                ),
                            );
                            return Ended::Failed(Failure::InvalidHeader);
                        }
                        break;
                    }
                    Ok(Parsed::Complete) => {
                        let status = x.upstream_head.status;
                        if (100..200).contains(&status) && status != 101 {
                            interim += 1;
                            if interim > INTERIM_ANSWERS_MAX {
                                x.log(Level::Error, format_args!("upstream sent too many interim responses"));
                                return Ended::Failed(Failure::InvalidHeader);
                            }
                            if status == 103 && !hints::pass(self.settings, x, &input).await {
                                x.keep_alive = false;
                                return Ended::Client(499);
                            }
                            input.consume(x.upstream_head.len);
                            x.upstream_head.clear();
                            if input.is_empty() {
                                break;
                            }
                            continue;
                        }
                        return self.answered(x, kept, input, clean);
                    }
                    Err(fault) => {
                        log_fault(x, fault, input.filled());
                        return Ended::Failed(Failure::InvalidHeader);
                    }
                }
            }
        }
    }

    /// Reads once, watching the client when the upstream takes its time.
    async fn read(
        &self,
        x: &mut Exchange,
        stream: &Stream,
        buffer: Buffer,
    ) -> Result<(io::Result<usize>, Buffer), Ended> {
        let now = clock::now();
        let deadline = now + self.settings.read_timeout;
        let watch_from = now + Duration::from_millis(WATCH_CLIENT_AFTER_MS);
        let mut read = std::pin::pin!(stream.read(buffer));
        let watched = !self.settings.ignore_client_abort && !x.is_post_action;
        let client = if watched { x.source.watch() } else { None };
        if let (Some(client), true) = (client, watch_from < deadline) {
            if let Ok(done) = x.alarm.within(watch_from, read.as_mut()).await {
                return Ok(done);
            }
            match x.alarm.within(deadline, first(read.as_mut(), client.stirs())).await {
                Ok(First::Left(done)) => return Ok(done),
                Ok(First::Right(())) if client.is_gone() => {
                    x.log(
                        Level::Info,
                        format_args!("epoll_wait() reported that client prematurely closed connection, so upstream connection is closed too while sending request to upstream"),
                    );
                    x.keep_alive = false;
                    return Err(Ended::Client(499));
                }
                // Data of the client's next request: it cannot be watched any more.
                Ok(First::Right(())) => {}
                Err(_) => {
                    timed_out(x, "reading response header from upstream");
                    return Err(Ended::Failed(Failure::Timeout));
                }
            }
        }
        match x.alarm.within(deadline, read).await {
            Ok(done) => Ok(done),
            Err(_) => {
                timed_out(x, "reading response header from upstream");
                Err(Ended::Failed(Failure::Timeout))
            }
        }
    }

    fn closed_early(&self, x: &Exchange, kept: &Kept, nothing_came: bool) -> Ended {
        if nothing_came && kept.requests > 1 {
            return Ended::Stale;
        }
        x.log(
            Level::Error,
            format_args!(
                "upstream prematurely closed connection while reading response header from upstream"
            ),
        );
        Ended::Failed(Failure::Error)
    }

    /// The head is there: either the next server is tried for its status, or it is the answer.
    fn answered(&mut self, x: &mut Exchange, kept: Kept, mut input: Buffer, clean: bool) -> Ended {
        let status = x.upstream_head.status;
        let now = clock::now();
        let len = x.upstream_head.len;
        if let Some(attempt) = x.upstream.last_mut() {
            attempt.status = status;
            attempt.header_ms = Some(attempt.elapsed_ms(now));
        }
        if status == 101 && !x.head.connection_upgrade {
            x.log(Level::Error, format_args!("upstream switched protocols, which was not asked for"));
            return Ended::Failed(Failure::InvalidHeader);
        }
        let framing = match x.upstream_head.framing(self.outgoing.method) {
            Ok(framing) => framing,
            Err(fault) => {
                log_fault(x, fault, input.filled());
                return Ended::Failed(Failure::InvalidHeader);
            }
        };
        if self.settings.next.names_status(status) && self.can_go_on(x, status) {
            return Ended::Failed(Failure::Status(status));
        }
        let Some(mut hold) = self.hold.take() else { return Ended::Failed(Failure::Error) };
        hold.judge(Verdict::Good);
        // The head moves to a buffer of its own, as it is nearly always shorter than what follows it.
        let mut ahead = Buffer::default();
        if input.len() > len {
            let mut head = Buffer::with_capacity(len);
            head.append(input.filled().get(..len).unwrap_or_default());
            input.consume(len);
            ahead = std::mem::replace(&mut input, head);
        }
        let keep = clean && x.upload.is_none() && x.upstream_head.keep_alive && !x.upstream_head.upgrade;
        let frame = if x.upstream_head.upgrade {
            crate::net::h1_body::Frame::UntilClose
        } else {
            answer::frame(framing)
        };
        let pool = (keep && self.pools()).then(|| self.members.pool.clone());
        x.upstream_input = input;
        x.upstream_body = Some(UpstreamBody::new(kept, ahead, frame, self.settings.read_timeout, hold, pool));
        Ended::Answered
    }

    /// Whether a status that `proxy_next_upstream` names can really lead to another server; else it
    /// is passed to the client as it is.
    fn can_go_on(&self, x: &Exchange, status: u16) -> bool {
        let tried = x.upstream.attempts.len() - x.upstream.groups.last().copied().unwrap_or(0);
        let tries = self.settings.next.tries(self.members.balancer.tries());
        let repeatable = !matches!(x.body, RequestBody::Consumed);
        let begun = x.upstream.attempts.last().map_or_else(clock::now, |attempt| attempt.started);
        tried < tries
            && self.settings.next.allows(Failure::Status(status), x.method(), self.sent, repeatable, begun)
    }
}

fn count_received(x: &mut Exchange, bytes: u64) {
    if let Some(attempt) = x.upstream.last_mut() {
        attempt.bytes_received += bytes;
    }
}

fn log_fault(x: &Exchange, fault: ResponseFault, input: &[u8]) {
    let mut message = Vec::new();
    x.upstream_head.explain(fault, input, &mut message);
    x.log(Level::Error, format_args!("{}", String::from_utf8_lossy(&message)));
}

#[cold]
pub(super) fn timed_out(x: &Exchange, while_doing: &str) {
    x.log(Level::Error, format_args!("upstream timed out (110: Connection timed out) while {while_doing}"));
}

/// What failed, as nginx words it: the call on the socket with the system's number and text, or that on the
/// session with what is wrong in TLS.
#[cold]
pub(super) fn failed([call, session_call]: [&str; 2], error: &io::Error) -> String {
    match error.raw_os_error() {
        None if error.kind() == io::ErrorKind::InvalidData => format!("{session_call} failed (SSL: {error})"),
        _ => format!("{call} failed {}", OsError(error)),
    }
}
