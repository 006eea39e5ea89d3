//! The attempts of one request: a peer is picked, asked, and, where the rules allow it, the next.

use super::bind::Bind;
use super::request::{self, Outgoing, Resolved};
use super::retry::Failure;
use super::settings::{ProxySettings, ProxyStep, Target};
use super::{accel, answer, hints};
use crate::base::address::Address;
use crate::base::buffer::Buffer;
use crate::base::clock;
use crate::base::limits::{BUFFER_BYTES, INTERIM_ANSWERS_MAX, RESPONSE_FIELDS_MAX, WATCH_CLIENT_AFTER_MS};
use crate::base::process_settings::Level;
use crate::http::chunked::LAST_CHUNK;
use crate::http::{Framing, HeadLimits, Known, Method, Parsed};
use crate::net::deadline::{First, first};
use crate::net::stream::{Quiet, Stream};
use crate::pipeline::answer::{Answer, Body};
use crate::pipeline::body::{RequestBody, Source};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::pace;
use crate::pipeline::passing::Passing;
use crate::pipeline::step::{Flow, WaitingStep};
use crate::pipeline::trace::Attempt;
use crate::pipeline::upload::{self, Rest, Upload};
use crate::upstream::balance::{Tried, Verdict};
use crate::upstream::client::{Hold, Members, UpstreamBody};
use crate::upstream::pool::Kept;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

impl WaitingStep for ProxyStep {
    fn run<'a>(&'a self, x: &'a mut Exchange) -> Pin<Box<dyn Future<Output = Flow> + 'a>> {
        Box::pin(proxy(&self.settings, x))
    }
}

/// How one attempt ended.
enum Ended {
    /// With an answer, whose head is in the exchange.
    Answered(Box<UpstreamBody>),
    /// In a failure that may be tried again elsewhere.
    Failed(Failure),
    /// An idle connection turned out to be closed before it carried anything: the same peer again,
    /// on a fresh one.
    Stale,
    /// The client is gone, or its body was refused with this status.
    Client(u16),
}

/// What an attempt holds on to.
struct Call<'a> {
    settings: &'a ProxySettings,
    members: &'a Members,
    hold: Option<Hold>,
    /// The upstream may have got something of the request.
    sent: bool,
    /// What of the request is not the client's own.
    outgoing: &'a Outgoing,
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
    let Some(outgoing) = Outgoing::of(settings, x) else {
        x.log(Level::Error, format_args!("invalid method in \"proxy_method\""));
        return Flow::Answer(Answer::Status(500));
    };
    let (members, resolved) = match resolve(settings, x) {
        Ok(found) => found,
        Err(status) => return Flow::Answer(Answer::Status(status)),
    };
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
    let mut tried = Tried::default();
    let mut left = settings.next.tries(balancer.len());
    let method = x.method();
    let flow = loop {
        let Some(peer) = balancer.pick(&mut tried, clock::now()) else {
            break no_live_upstreams(&members, x);
        };
        left = left.saturating_sub(1);
        let hold = Hold::new(balancer.clone(), peer);
        let mut call =
            Call { settings, members: &members, hold: Some(hold), sent: false, outgoing: &outgoing };
        let failure = match call.attempt(x, &head, streamed).await {
            Ended::Answered(body) => break finish(settings, x, body, outgoing.method),
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
        tried.forget_if_alone(balancer.len());
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
fn resolve(settings: &ProxySettings, x: &mut Exchange) -> Result<(Members, Option<Resolved>), u16> {
    x.proxy_host.clear();
    match &settings.target {
        Target::Fixed { members, host, .. } => {
            x.proxy_host.extend_from_slice(host);
            Ok((members.members(&x.locals), None))
        }
        Target::Variable { url, groups } => {
            let url = url.value(x);
            super::compile::resolve_variable(&url, groups, x)
        }
    }
}

fn no_live_upstreams(members: &Members, x: &mut Exchange) -> Flow {
    let mut attempt = Attempt::begin(members.group.name.clone(), clock::now());
    attempt.status = 502;
    attempt.response_ms = Some(0);
    x.upstream.attempts.push(attempt);
    x.log(Level::Error, format_args!("no live upstreams while connecting to upstream"));
    Flow::Answer(Answer::Status(502))
}

/// Notes how the attempt under way ended.
fn note(x: &mut Exchange, status: u16) {
    let now = clock::now();
    if let Some(attempt) = x.upstream.last_mut() {
        attempt.status = status;
        attempt.response_ms = Some(attempt.elapsed_ms(now));
    }
}

/// Turns the head in the exchange into the answer, or into what stands in for it.
fn finish(settings: &ProxySettings, x: &mut Exchange, mut body: Box<UpstreamBody>, method: Method) -> Flow {
    let status = x.upstream_head.status;
    if settings.intercept_errors && status >= INTERCEPTED_FROM && has_error_page(x, status) {
        leave(x, body);
        return intercepted(x, status);
    }
    accel::limit_rate(settings, x);
    if let Some(flow) = accel::redirect(settings, x) {
        leave(x, body);
        return flow;
    }
    // The framing was checked when the head arrived.
    let framing = x.upstream_head.framing(method).unwrap_or_default();
    if accel::is_gathered(settings, x) {
        body.gather();
    }
    answer::fill(settings, x, framing);
    x.passing = Passing::default();
    if body.is_gathered() {
        x.passing.rate = pace::size(settings.limit_rate.as_ref(), x);
    }
    if settings.pass_trailers {
        x.passing.trailers_but = Some(settings.hidden.clone());
    }
    if settings.force_ranges && !answer::cut_range(x) {
        leave(x, body);
        return Flow::Answer(Answer::Status(416));
    }
    Flow::Answer(Answer::Ready(if x.upstream_head.upgrade {
        Body::Tunnel(body)
    } else {
        Body::Upstream(body)
    }))
}

/// Statuses from here on are intercepted: those that can have an error page.
const INTERCEPTED_FROM: u16 = 300;

fn has_error_page(x: &Exchange, status: u16) -> bool {
    x.here.settings.error_pages.iter().any(|page| page.statuses.contains(&status))
}

/// The upstream's answer goes no further; its connection is kept if nothing more comes on it.
fn leave(x: &mut Exchange, mut body: Box<UpstreamBody>) {
    body.settle();
    drop(body);
    note(x, x.upstream_head.status);
    x.end_upload();
}

/// The error page's turn; a client that may try again is still told how.
fn intercepted(x: &mut Exchange, status: u16) -> Flow {
    let Exchange { answer, upstream_head: head, upstream_input, .. } = x;
    answer.clear();
    if status == 401 {
        let buffer = upstream_input.filled();
        for field in head.fields.all(Known::WwwAuthenticate) {
            answer.fields.push_known(field.known, field.name.of(buffer), field.value.of(buffer));
        }
    }
    Flow::Answer(Answer::Status(status))
}

impl Call<'_> {
    async fn attempt(&mut self, x: &mut Exchange, head: &[u8], streamed: bool) -> Ended {
        let peer = self.hold.as_ref().map_or(0, Hold::peer);
        let label = self.members.group.peers[peer].label.clone();
        x.upstream.attempts.push(Attempt::begin(label, clock::now()));
        x.upstream_head.clear();
        let mut reused = if self.pools() { self.members.pool.take(peer) } else { None };
        loop {
            let from_pool = reused.is_some();
            let kept = match reused.take() {
                Some(kept) => kept,
                None => match self.connect(x, peer).await {
                    Ok(kept) => kept,
                    Err(failure) => return self.failed(failure),
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
                Ended::Stale => return self.failed(Failure::Error),
                Ended::Failed(failure) => return self.failed(failure),
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

    fn failed(&mut self, failure: Failure) -> Ended {
        if let Some(hold) = &mut self.hold {
            let counts = !matches!(failure, Failure::Status(403 | 404));
            hold.judge(if counts { Verdict::Failed } else { Verdict::Neutral });
        }
        self.hold = None;
        Ended::Failed(failure)
    }

    async fn connect(&self, x: &mut Exchange, peer: usize) -> Result<Kept, Failure> {
        let deadline = clock::now() + self.settings.connect_timeout;
        let from = self.settings.bind.as_ref().and_then(|bind| bind.address(x));
        let connected = match &self.members.group.peers[peer].address {
            Address::Ip(ip) if let Some(from) = from => {
                x.alarm.within(deadline, Stream::connect_tcp_from(from, *ip)).await
            }
            Address::Ip(ip) => x.alarm.within(deadline, Stream::connect_tcp(*ip)).await,
            Address::Unix(path) => x.alarm.within(deadline, Stream::connect_unix(path)).await,
        };
        match connected {
            Ok(Ok(stream)) => {
                stream.set_nodelay();
                if self.settings.socket_keepalive {
                    stream.set_keepalive();
                }
                Ok(Kept { stream, requests: 0, opened: clock::now() })
            }
            Ok(Err(e)) => {
                let (code, text) = shown(&e);
                x.log(
                    Level::Error,
                    format_args!("connect() failed ({code}: {text}) while connecting to upstream"),
                );
                Err(Failure::Error)
            }
            Err(_) => {
                timed_out(x, "connecting to upstream");
                Err(Failure::Timeout)
            }
        }
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

    /// Sends head and body. `Ok(false)`: the upstream answers already; what is left of the body is
    /// in `x.upload`.
    async fn send(
        &mut self,
        x: &mut Exchange,
        stream: &Stream,
        head: &[u8],
        streamed: bool,
    ) -> Result<bool, Ended> {
        let body_bytes = match self.body(x) {
            RequestBody::Memory(bytes) => bytes.as_slice(),
            _ => &[],
        };
        let whole = head.len() + body_bytes.len();
        let mut buffer = Buffer::with_capacity(head.len().max(whole.min(BUFFER_BYTES)));
        buffer.append(head);
        let mut offset = buffer.append(body_bytes) as u64;
        let mut ended = false;
        if streamed {
            (buffer, ended) = self.with_first_piece(x, buffer).await?;
        }
        self.write(x, stream, buffer).await?;
        while let Some(length) = self.body(x).len().filter(|length| offset < *length) {
            if stream.quiet() != Quiet::Open {
                let kept = match &self.outgoing.body {
                    Some(RequestBody::Memory(own)) => RequestBody::Memory(own.clone()),
                    _ => std::mem::replace(&mut x.body, RequestBody::Consumed),
                };
                self.upload_later(x, stream, Rest::Kept(kept, offset), false);
                return Ok(false);
            }
            let Some(piece) = upload::piece_at(self.body(x), offset).await else {
                x.log(
                    Level::Crit,
                    format_args!("reading a buffered request body failed at {offset} of {length}"),
                );
                return Err(Ended::Client(500));
            };
            offset += piece.len() as u64;
            self.write(x, stream, piece).await?;
        }
        if streamed { self.stream_body(x, stream, ended).await } else { Ok(true) }
    }

    /// The body that is sent, as far as it is at hand.
    fn body<'x>(&'x self, x: &'x Exchange) -> &'x RequestBody {
        self.outgoing.body.as_ref().unwrap_or(&x.body)
    }

    /// The head with what has come of the client's body behind it, so that both leave at once; and
    /// whether its last chunk is among it.
    async fn with_first_piece(&self, x: &mut Exchange, head: Buffer) -> Result<(Buffer, bool), Ended> {
        match &x.source {
            Source::H1(body) if body.has_bytes() && body.at_hand().0 > 0 => {}
            _ => return Ok((head, false)),
        }
        let piece = x.next_body_piece().await.map_err(Ended::Client)?;
        x.body = RequestBody::Consumed;
        let Some(piece) = piece else { return Ok((head, false)) };
        let chunked = self.is_chunked(x);
        let ended = chunked && !x.body_pending();
        let piece = if chunked { upload::framed(&piece, ended) } else { piece };
        let mut both = Buffer::with_capacity(head.len() + piece.len());
        both.append(head.filled());
        both.append(piece.filled());
        Ok((both, ended))
    }

    /// Whether a body that is passed on as it comes is sent in chunks.
    fn is_chunked(&self, x: &Exchange) -> bool {
        x.head.framing == Framing::Chunked && !self.settings.own_length
    }

    /// Passes the client's body on as it comes, until the upstream begins to answer.
    /// `ended`: its last chunk was sent already.
    async fn stream_body(
        &mut self,
        x: &mut Exchange,
        stream: &Stream,
        mut ended: bool,
    ) -> Result<bool, Ended> {
        let chunked = self.is_chunked(x);
        while x.body_pending() {
            if stream.quiet() != Quiet::Open || wait_for_client(x, stream).await == Waited::Upstream {
                x.body = RequestBody::Consumed;
                if let Source::H1(body) = std::mem::replace(&mut x.source, Source::None) {
                    self.upload_later(x, stream, Rest::Client(Box::new(body)), chunked);
                }
                return Ok(false);
            }
            let piece = match x.next_body_piece().await {
                Ok(piece) => piece,
                Err(status) => return Err(Ended::Client(status)),
            };
            x.body = RequestBody::Consumed;
            let Some(piece) = piece else { break };
            let piece = if chunked {
                ended = !x.body_pending();
                upload::framed(&piece, ended)
            } else {
                piece
            };
            self.write(x, stream, piece).await?;
        }
        x.body = RequestBody::Consumed;
        if chunked && !ended {
            let mut last = Buffer::ordinary();
            last.append(LAST_CHUNK);
            self.write(x, stream, last).await?;
        }
        Ok(true)
    }

    /// The rest of the body is sent while the answer is read.
    fn upload_later(&self, x: &mut Exchange, stream: &Stream, rest: Rest, chunked: bool) {
        let settings = &x.here.settings;
        x.upload = Some(Box::new(Upload {
            rest,
            to: stream.clone(),
            chunked,
            send_timeout: self.settings.send_timeout,
            read_timeout: settings.client_body_timeout,
            limit: settings.client_max_body_size,
        }));
    }

    /// Writes all of a buffer. An upstream that stops reading because it has answered is no failure.
    async fn write(&mut self, x: &mut Exchange, stream: &Stream, buffer: Buffer) -> Result<(), Ended> {
        let bytes = buffer.len() as u64;
        let deadline = clock::now() + self.settings.send_timeout;
        match x.alarm.within(deadline, stream.write_all(buffer)).await {
            Ok((Ok(()), _)) => {
                self.sent = true;
                count_sent(x, bytes);
                Ok(())
            }
            Ok((Err(_), _)) if stream.quiet() == Quiet::Data => Ok(()),
            Ok((Err(e), _)) => Err(self.send_failed(x, stream, &e)),
            Err(_) => {
                timed_out(x, "sending request to upstream");
                Err(Ended::Failed(Failure::Timeout))
            }
        }
    }

    fn send_failed(&mut self, x: &Exchange, stream: &Stream, e: &io::Error) -> Ended {
        if !self.sent && stream.quiet() == Quiet::Closed {
            return Ended::Stale;
        }
        let (code, text) = shown(e);
        x.log(Level::Error, format_args!("send() failed ({code}: {text}) while sending request to upstream"));
        Ended::Failed(Failure::Error)
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
                        let (code, text) = shown(&e);
                        x.log(
                            Level::Error,
                            format_args!(
                                "recv() failed ({code}: {text}) while reading response header from upstream"
                            ),
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
                        x.log(
                            Level::Error,
                            format_args!("{} while reading response header from upstream", fault.message()),
                        );
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
        let client = match &x.source {
            Source::H1(body) if !self.settings.ignore_client_abort => Some(body.stream().clone()),
            _ => None,
        };
        if let (Some(client), true) = (client, watch_from < deadline) {
            if let Ok(done) = x.alarm.within(watch_from, read.as_mut()).await {
                return Ok(done);
            }
            match x.alarm.within(deadline, first(read.as_mut(), client.readable())).await {
                Ok(First::Left(done)) => return Ok(done),
                Ok(First::Right(_)) if client.quiet() == Quiet::Closed => {
                    x.log(
                        Level::Info,
                        format_args!("epoll_wait() reported that client prematurely closed connection, so upstream connection is closed too while sending request to upstream"),
                    );
                    x.keep_alive = false;
                    return Err(Ended::Client(499));
                }
                // Data of the client's next request: it cannot be watched any more.
                Ok(First::Right(_)) => {}
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
                x.log(
                    Level::Error,
                    format_args!("{} while reading response header from upstream", fault.message()),
                );
                return Ended::Failed(Failure::InvalidHeader);
            }
        };
        if self.settings.next.names_status(status) && self.can_go_on(x, status) {
            return Ended::Failed(Failure::Status(status));
        }
        let Some(mut hold) = self.hold.take() else { return Ended::Failed(Failure::Error) };
        hold.judge(Verdict::Good);
        let mut ahead = Buffer::default();
        if input.len() > len {
            ahead = Buffer::with_capacity(input.len() - len);
            ahead.append(&input.filled()[len..]);
            input.truncate(len);
        }
        let keep = clean && x.upload.is_none() && x.upstream_head.keep_alive && !x.upstream_head.upgrade;
        let frame = if x.upstream_head.upgrade {
            crate::net::h1_body::Frame::UntilClose
        } else {
            answer::frame(framing)
        };
        let pool = (keep && self.pools()).then(|| self.members.pool.clone());
        x.upstream_input = input;
        Ended::Answered(Box::new(UpstreamBody::new(
            kept,
            ahead,
            frame,
            self.settings.read_timeout,
            hold,
            pool,
        )))
    }

    /// Whether a status that `proxy_next_upstream` names can really lead to another server; else it
    /// is passed to the client as it is.
    fn can_go_on(&self, x: &Exchange, status: u16) -> bool {
        let tried = x.upstream.attempts.len() - x.upstream.groups.last().copied().unwrap_or(0);
        let tries = self.settings.next.tries(self.members.group.peers.len());
        let repeatable = !matches!(x.body, RequestBody::Consumed);
        let begun = x.upstream.attempts.last().map_or_else(clock::now, |attempt| attempt.started);
        tried < tries
            && self.settings.next.allows(Failure::Status(status), x.method(), self.sent, repeatable, begun)
    }
}

/// What moved first.
#[derive(PartialEq, Eq)]
enum Waited {
    /// The client has sent more, or its time is up, which its own read will tell.
    Client,
    /// The upstream begins to answer.
    Upstream,
}

/// Waits until the client has sent more of its body, or the upstream begins to answer.
async fn wait_for_client(x: &mut Exchange, upstream: &Stream) -> Waited {
    let timeout = x.here.settings.client_body_timeout;
    let Source::H1(body) = &x.source else { return Waited::Client };
    if body.is_done() || body.has_bytes() || body.owes_continue() {
        return Waited::Client;
    }
    let client = body.stream().clone();
    let deadline = clock::now() + timeout;
    match x.alarm.within(deadline, first(client.readable(), upstream.readable())).await {
        Ok(First::Right(_)) => Waited::Upstream,
        Ok(First::Left(_)) | Err(_) => Waited::Client,
    }
}

fn count_sent(x: &mut Exchange, bytes: u64) {
    if let Some(attempt) = x.upstream.last_mut() {
        attempt.bytes_sent += bytes;
    }
}

fn count_received(x: &mut Exchange, bytes: u64) {
    if let Some(attempt) = x.upstream.last_mut() {
        attempt.bytes_received += bytes;
    }
}

fn timed_out(x: &Exchange, while_doing: &str) {
    x.log(Level::Error, format_args!("upstream timed out (110: Connection timed out) while {while_doing}"));
}

/// An error as nginx prints it: the number and the system's text.
fn shown(e: &io::Error) -> (i32, String) {
    let text = e.to_string();
    let bare = text.split(" (os error").next().unwrap_or_default().to_owned();
    (e.raw_os_error().unwrap_or(0), bare)
}
