//! The one door every answer leaves by: header filters, the head, the body.

use super::file_body;
use super::filtered::{self, Filtered};
use super::generation::Generation;
use super::head;
use super::http2_answer;
use super::http2_tunnel;
use super::spliced;
use super::spool::{self, PATIENCE, Spool};
use super::tunnel;
use crate::base::buffer::Buffer;
use crate::base::clock;
use crate::base::process_settings::Level;
use crate::http::chunked::{CHUNK_TAIL, LAST_CHUNK, LAST_CHUNK_HEAD, chunk_head};
use crate::http::{Known, Version};
use crate::net::deadline::{Alarm, Elapsed, sleep};
use crate::net::error_log::OsError;
use crate::net::h1_body::BodyFault;
use crate::net::h2::H2Answer;
use crate::net::stream::Stream;
use crate::pipeline::answer::{Answer, Body, Ranges};
use crate::pipeline::body::{Source, Watch};
use crate::pipeline::conditions;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::pace::{self, Pace};
use crate::pipeline::ranges;
use crate::pipeline::upload::alongside;
use crate::upstream::client::UpstreamBody;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How sending ended.
pub enum Sent {
    /// The client got all of it.
    All,
    /// The answer was cut: the connection must be closed so that the client sees it.
    Cut {
        /// The end of the connection alone would look like the end of the body, or the client
        /// timed out and is to be reset.
        reset: bool,
    },
    /// Nothing was sent, on purpose or because nobody is there.
    Silent,
    /// Nothing was sent: the request is to be answered with this status instead.
    Instead(u16),
}

/// How a body is framed for the client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// There is none.
    None,
    /// Its length was told.
    Length,
    /// Chunked.
    Chunked,
    /// It ends with the connection.
    UntilClose,
    /// HTTP/2 frames it.
    Stream,
}

/// The way to the client.
#[derive(Clone, Copy)]
pub enum Client<'s> {
    /// An HTTP/1 connection.
    H1(&'s Stream),
    /// A stream of an HTTP/2 connection.
    H2(&'s Rc<H2Answer>),
}

impl Client<'_> {
    /// What shows whether the client is still there.
    fn watch(self) -> Watch {
        match self {
            Client::H1(stream) => Watch::H1(stream.clone()),
            Client::H2(answer) => Watch::H2(answer.clone()),
        }
    }

    /// Whether it takes more now.
    fn is_writable(self) -> bool {
        match self {
            Client::H1(stream) => stream.is_writable(),
            Client::H2(answer) => answer.has_room(),
        }
    }
}

/// Why sending stopped.
pub(super) enum Broken {
    /// The client is gone or too slow.
    Client { reset: bool },
    /// The source of the body failed.
    Source,
}

/// Sends an answer.
pub async fn run(g: &Rc<Generation>, x: &mut Exchange, client: Client<'_>, answer: Answer) -> Sent {
    let mut body = match answer {
        Answer::Ready(body) => body,
        Answer::Close => {
            if x.answer.status == 0 {
                x.answer.status = 444;
            }
            x.keep_alive = false;
            return Sent::Silent;
        }
        // The walk turns a status into a page before it ends.
        Answer::Status(_) => Body::None,
    };
    if let Some(status) = x.error_status {
        x.answer.status = status;
        x.answer.reason.clear();
    }
    if http2_tunnel::is_mistaken(x, &body) {
        drop_upstream(x);
        return Sent::Instead(http2_tunnel::NOT_SWITCHED);
    }
    if let Err(status) = conditions::weigh(x, &mut body) {
        return Sent::Instead(status);
    }
    let here = x.here.clone();
    for filter in &here.settings.header_filters {
        filter.filter(x);
    }
    if let Body::Tunnel = body {
        // Rare and large: boxed, so that every other request does not carry room for it.
        return match client {
            Client::H1(stream) => Box::pin(tunnel::run(x, stream)).await,
            Client::H2(answer) => Box::pin(http2_tunnel::run(x, answer)).await,
        };
    }
    // What body filters need is large: boxed, so that every other answer does not carry room for it.
    let mut filters = None;
    if !here.settings.body_filters.is_empty() {
        filters = filtered::begin(x, &body);
    }
    if x.answer.ranges != Ranges::No
        && let Err(status) = ranges::cut(x, &mut body)
    {
        drop_upstream(x);
        return Sent::Instead(status);
    }
    let coding = coding(x, &body, filters.is_some());
    if coding == Coding::UntilClose {
        x.keep_alive = false;
    }
    if x.owes_continue() {
        // nginx invites the body even so, and throws it away, to keep the connection in step.
        match &mut x.source {
            Source::H1(body) if x.keep_alive => body.send_continue(),
            _ => x.keep_alive = false,
        }
    }
    if x.version() == Version::Http09 {
        x.keep_alive = false;
    }
    let mut sink = Sink {
        client,
        out: Buffer::ordinary(),
        chunked: coding == Coding::Chunked,
        pace: pace(x),
        may_spool: false,
        splices: true,
        waited: Duration::ZERO,
        spool: None,
    };
    let outcome = send(g, x, &mut sink, body, coding, filters).await;
    match outcome {
        Ok(()) => Sent::All,
        Err(Broken::Client { reset }) => Sent::Cut { reset },
        Err(Broken::Source) => Sent::Cut { reset: coding == Coding::UntilClose },
    }
}

/// The coding that version, status and length call for.
fn coding(x: &mut Exchange, body: &Body, filtered: bool) -> Coding {
    let status = x.answer.status;
    if x.is_head() || status == 204 || status == 304 || (100..200).contains(&status) {
        if status == 204 {
            // There is nothing that these could be said of.
            x.answer.length = None;
            x.answer.content_type.clear();
            x.answer.fields.remove(Known::LastModified);
        }
        return Coding::None;
    }
    match body {
        // What is filtered has the length that the filters leave.
        _ if filtered => {}
        Body::Bytes(bytes) => {
            x.answer.length.get_or_insert(bytes.len() as u64);
        }
        Body::None => {
            x.answer.length.get_or_insert(0);
        }
        Body::File(_) | Body::Upstream | Body::Tunnel => {}
    }
    if x.version() == Version::Http2 {
        return Coding::Stream;
    }
    let chunks = x.version() >= Version::Http11 && x.here.settings.chunked_transfer_encoding;
    if x.answer.length.is_some() && !(x.answer.expect_trailers && chunks) {
        return Coding::Length;
    }
    if x.version() >= Version::Http11 && x.here.settings.chunked_transfer_encoding {
        return Coding::Chunked;
    }
    Coding::UntilClose
}

async fn send(
    g: &Rc<Generation>,
    x: &mut Exchange,
    sink: &mut Sink<'_>,
    body: Body,
    coding: Coding,
    filters: Option<Box<Filtered>>,
) -> Result<(), Broken> {
    if let Client::H2(answer) = sink.client {
        return Box::pin(http2_answer::send(g, x, sink, answer, body, coding, filters)).await;
    }
    let mut head = std::mem::take(&mut x.scratch);
    head.clear();
    if x.version() != Version::Http09 {
        head::write(x, coding, &mut head);
    }
    let head_len = head.len() as u64;
    let put = sink.put(x, &head).await;
    x.scratch = head;
    put?;
    if coding == Coding::None {
        drop_upstream(x);
        sink.flush(x).await?;
        return Ok(());
    }
    let outcome = match pass(g, x, sink, body, filters).await {
        Ok(()) => {
            if sink.chunked {
                end_chunks(x, sink).await?;
            }
            sink.flush(x).await
        }
        // What was read before the source failed still goes out; then the connection is cut.
        Err(Broken::Source) => {
            let _ = sink.flush(x).await;
            Err(Broken::Source)
        }
        broken => broken,
    };
    x.body_bytes_sent = x.bytes_sent.saturating_sub(head_len);
    outcome
}

/// Passes a body on to the client, filtered or as it is.
pub(super) async fn pass(
    g: &Rc<Generation>,
    x: &mut Exchange,
    sink: &mut Sink<'_>,
    body: Body,
    filters: Option<Box<Filtered>>,
) -> Result<(), Broken> {
    match (body, filters) {
        (body, Some(filters)) => Box::pin(filtered::pass(g, x, sink, body, filters)).await,
        (Body::None | Body::Tunnel, None) => Ok(()),
        (Body::Bytes(bytes), None) => sink.piece(x, &bytes).await,
        (Body::File(file), None) => file_body::send(x, sink, file).await,
        (Body::Upstream, None) => match x.upload.take() {
            Some(mut upload) => {
                // Nothing else may be under way on a socket that is spliced from.
                sink.splices = false;
                let outcome = Box::pin(alongside(relay(x, sink), upload.run())).await;
                x.upload = Some(upload);
                x.end_upload();
                outcome
            }
            None => relay(x, sink).await,
        },
    }
}

/// Leaves the upstream's body unread; the rest of the request is then not wanted either.
pub(super) fn drop_upstream(x: &mut Exchange) {
    if let Some(mut upstream) = x.upstream_body.take() {
        upstream.settle();
        end_attempt(x, 0);
    }
    x.end_upload();
}

/// Ends a chunked body, with the fields behind it where there are any.
async fn end_chunks(x: &mut Exchange, sink: &mut Sink<'_>) -> Result<(), Broken> {
    let here = x.here.clone();
    for filter in &here.settings.trailer_filters {
        filter.filter(x);
    }
    if x.answer.trailers.is_empty() {
        return sink.put(x, LAST_CHUNK).await;
    }
    let mut text = LAST_CHUNK_HEAD.to_vec();
    for (name, value, _) in x.answer.trailers.iter() {
        head::field(&mut text, name, value);
    }
    text.extend_from_slice(b"\r\n");
    sink.put(x, &text).await
}

/// Takes over the upstream's trailer fields, where they are passed on.
pub(super) fn take_trailers(x: &mut Exchange) {
    let Exchange { answer, passing, upstream_body, .. } = x;
    let Some(but) = &passing.trailers_but else { return };
    let Some((fields, text)) = upstream_body.as_ref().and_then(UpstreamBody::trailers) else { return };
    for field in &fields.list {
        let name = field.name.of(text);
        if !but.contains(field.known, name) {
            answer.trailers.push_known(field.known, name, field.value.of(text));
        }
    }
}

/// Passes an upstream's body on as it comes.
async fn relay(x: &mut Exchange, sink: &mut Sink<'_>) -> Result<(), Broken> {
    let pace = if x.passing.rate > 0 { Pace::new(x.passing.rate, 0, clock::now()) } else { None };
    let mut passed = 0;
    loop {
        if sink.spool.is_some() {
            // The client turned out to be slower than the upstream.
            return Box::pin(spool::relay(x, sink)).await;
        }
        let Some(body) = &x.upstream_body else { return Ok(()) };
        if body.is_worth_splicing() && sink.splices && sink.is_plain() && x.passing.is_plain() {
            // Boxed, as only large bodies pay for it.
            if let Some(left) = Box::pin(spliced::pass(x, sink)).await? {
                sink.may_spool = true;
                sink.buffer(x, left).await?;
            }
            continue;
        }
        if !body.is_gathered() && !body.has_bytes() && !body.is_done() {
            // The upstream has nothing more just now: the client gets what there is.
            sink.flush(x).await?;
        }
        let Exchange { upstream_body: Some(body), alarm, .. } = x else { return Ok(()) };
        let next = body.next(alarm).await;
        let (done, raw_received) = (body.is_done(), body.raw_received());
        match next {
            Ok(Some(piece)) => {
                if let Some(attempt) = x.upstream.last_mut() {
                    attempt.response_length += piece.len() as u64;
                }
                if done {
                    end_attempt(x, raw_received);
                }
                sink.may_spool = !done && x.passing.spool.is_some();
                let piece = x.passing.cut(piece);
                match pace {
                    None => sink.buffer(x, piece).await?,
                    // Boxed, as only answers with a rate pay for it.
                    Some(pace) => Box::pin(sink.paced(x, piece, pace, &mut passed)).await?,
                }
                if x.passing.is_over() {
                    end_attempt(x, raw_received);
                    return Ok(());
                }
            }
            Ok(None) => {
                end_attempt(x, raw_received);
                take_trailers(x);
                return Ok(());
            }
            Err(fault) => {
                end_attempt(x, raw_received);
                log_fault(x, fault);
                return Err(Broken::Source);
            }
        }
    }
}

/// Says why an upstream's body broke off.
pub(super) fn log_fault(x: &Exchange, fault: BodyFault) {
    let text = match fault {
        BodyFault::Timeout => "upstream timed out (110: Connection timed out)",
        BodyFault::Closed => "upstream prematurely closed connection",
        BodyFault::Malformed => "upstream sent invalid chunked response",
        // No number of the system's: the session is what failed.
        BodyFault::Failed(0) => "SSL_read() failed",
        BodyFault::Failed(code) => {
            // nginx reads what it gathers into several buffers at once.
            let gathered = x.upstream_body.as_ref().is_some_and(UpstreamBody::is_gathered);
            let call = if gathered { "readv()" } else { "recv()" };
            let error = std::io::Error::from_raw_os_error(code);
            x.log(Level::Error, format_args!("{call} failed {} while reading upstream", OsError(&error)));
            return;
        }
    };
    x.log(Level::Error, format_args!("{text} while reading upstream"));
}

/// Notes that the upstream's answer was read to its end.
pub(super) fn end_attempt(x: &mut Exchange, received_since_head: u64) {
    end_attempt_at(x, received_since_head, clock::now());
}

/// The same for one that was read at another time.
pub(super) fn end_attempt_at(x: &mut Exchange, received_since_head: u64, now: Instant) {
    let Some(attempt) = x.upstream.last_mut().filter(|attempt| attempt.response_ms.is_none()) else { return };
    attempt.response_ms = Some(attempt.elapsed_ms(now));
    attempt.bytes_received += received_since_head;
    if x.upstream_body.as_ref().is_some_and(UpstreamBody::has_excess) {
        x.log(
            Level::Warn,
            format_args!(
                "upstream sent more data than specified in \"Content-Length\" header while reading upstream"
            ),
        );
    }
}

/// The client took nothing for `send_timeout`.
pub(super) fn timed_out(x: &Exchange) -> Broken {
    x.log(Level::Info, format_args!("client timed out (110: Connection timed out) while sending to client"));
    Broken::Client { reset: x.here.settings.reset_timedout_connection }
}

/// Where an answer goes: small parts are gathered, so that head and body leave together.
pub(super) struct Sink<'s> {
    pub(super) client: Client<'s>,
    out: Buffer,
    chunked: bool,
    /// `limit_rate`.
    pub(super) pace: Option<Pace>,
    /// The upstream has more to send, which may wait elsewhere for a slow client.
    pub(super) may_spool: bool,
    /// The kernel may pass the body on, and has not yet.
    pub(super) splices: bool,
    /// For how long the client has kept such an answer waiting.
    pub(super) waited: Duration,
    /// What waits for a client that turned out to be slow.
    pub(super) spool: Option<Box<Spool>>,
}

/// The rate this answer is sent at.
fn pace(x: &Exchange) -> Option<Pace> {
    let rate = pace::client_rate(x);
    if rate == 0 {
        return None;
    }
    Pace::new(rate, pace::size(x.here.settings.limit_rate_after.as_ref(), x), x.started)
}

/// The first bytes of a buffer, at most so many, in one of their own.
pub(super) fn front(buffer: &Buffer, most: u64) -> Buffer {
    let bytes = buffer.filled();
    let bytes = &bytes[..bytes.len().min(usize::try_from(most).unwrap_or(usize::MAX))];
    let mut front = Buffer::with_capacity(bytes.len());
    front.append(bytes);
    front
}

/// The client went away while its answer was under way.
fn left(x: &Exchange) -> Broken {
    x.log(Level::Info, format_args!("client prematurely closed connection while sending to client"));
    Broken::Client { reset: false }
}

/// Lets the time pass; false as soon as a client that is watched is gone. One that sends something
/// meanwhile is not watched any longer: what it sent is read later.
async fn pass_time(client: Client<'_>, time: Duration, is_watched: bool) -> bool {
    if !is_watched {
        sleep(time).await;
        return true;
    }
    let until = clock::now() + time;
    let mut alarm = Alarm::new(until);
    let watch = client.watch();
    if alarm.within(until, pin!(watch.stirs())).await.is_err() {
        return true;
    }
    if watch.is_gone() {
        return false;
    }
    sleep(until.saturating_duration_since(clock::now())).await;
    true
}

/// Writes once.
async fn write_once(client: Client<'_>, buffer: Buffer) -> (io::Result<usize>, Buffer) {
    match client {
        Client::H1(stream) => stream.write(buffer).await,
        // Boxed, so that an answer of HTTP/1 does not carry room for it.
        Client::H2(answer) => Box::pin(answer.write(buffer)).await,
    }
}

impl Sink<'_> {
    /// Whether bytes go out as they are, as fast as the client takes them, and may be the kernel's.
    pub(super) fn is_plain(&self) -> bool {
        let is_clear = matches!(self.client, Client::H1(stream) if !stream.is_encrypted());
        !self.chunked && self.pace.is_none() && is_clear
    }

    /// Queues bytes as they are.
    async fn put(&mut self, x: &mut Exchange, mut bytes: &[u8]) -> Result<(), Broken> {
        loop {
            let taken = self.out.append(bytes);
            bytes = &bytes[taken..];
            if bytes.is_empty() {
                return Ok(());
            }
            self.flush(x).await?;
        }
    }

    /// Queues a piece of the body.
    async fn piece(&mut self, x: &mut Exchange, bytes: &[u8]) -> Result<(), Broken> {
        if !self.chunked {
            return self.put(x, bytes).await;
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let mut room = [0u8; 18];
        self.put(x, chunk_head(bytes.len(), &mut room)).await?;
        self.put(x, bytes).await?;
        self.put(x, CHUNK_TAIL).await
    }

    /// Queues a piece of the body; a large one is sent from its own memory.
    pub(super) async fn buffer(&mut self, x: &mut Exchange, piece: Buffer) -> Result<(), Broken> {
        if piece.len() <= self.out.room() / 2 {
            return self.piece(x, piece.filled()).await;
        }
        if self.chunked {
            let mut room = [0u8; 18];
            self.put(x, chunk_head(piece.len(), &mut room)).await?;
        }
        self.flush(x).await?;
        self.send(x, piece).await?;
        if self.chunked {
            self.put(x, CHUNK_TAIL).await?;
        }
        Ok(())
    }

    /// Queues a piece of the body as fast as `pace` lets it pass; what is queued does not wait.
    async fn paced(
        &mut self,
        x: &mut Exchange,
        mut piece: Buffer,
        pace: Pace,
        passed: &mut u64,
    ) -> Result<(), Broken> {
        while !piece.is_empty() {
            match pace.allowance(*passed, clock::now()) {
                Err(wait) => {
                    self.flush(x).await?;
                    if !pass_time(self.client, wait, !x.passing.ignores_client_abort).await {
                        return Err(left(x));
                    }
                }
                Ok(allowed) => {
                    let part = front(&piece, allowed);
                    piece.consume(part.len());
                    *passed += part.len() as u64;
                    self.buffer(x, part).await?;
                }
            }
        }
        Ok(())
    }

    /// Sends what is queued.
    pub(super) async fn flush(&mut self, x: &mut Exchange) -> Result<(), Broken> {
        if self.out.is_empty() {
            return Ok(());
        }
        let out = std::mem::take(&mut self.out);
        self.out = self.send(x, out).await?;
        Ok(())
    }

    /// Sends a buffer; `send_timeout` bounds the time between two successful writes.
    async fn send(&mut self, x: &mut Exchange, buffer: Buffer) -> Result<Buffer, Broken> {
        if let Some(pace) = self.pace {
            return self.send_slowly(x, buffer, pace).await;
        }
        self.send_now(x, buffer).await
    }

    /// Sends a buffer as fast as `limit_rate` lets it.
    async fn send_slowly(
        &mut self,
        x: &mut Exchange,
        mut buffer: Buffer,
        pace: Pace,
    ) -> Result<Buffer, Broken> {
        while !buffer.is_empty() {
            match pace.allowance(x.bytes_sent, clock::now()) {
                Err(wait) => self.pause(x, wait).await?,
                Ok(allowed) => {
                    let part = front(&buffer, allowed);
                    buffer.consume(part.len());
                    self.send_now(x, part).await?;
                }
            }
        }
        Ok(buffer)
    }

    async fn send_now(&mut self, x: &mut Exchange, mut buffer: Buffer) -> Result<Buffer, Broken> {
        while !buffer.is_empty() {
            let Ok((result, back)) = self.write(x, buffer).await else {
                return Err(timed_out(x));
            };
            buffer = back;
            match result {
                Ok(n) if n > 0 => {
                    buffer.consume(n);
                    x.bytes_sent += n as u64;
                }
                failed => {
                    if let Err(e) = failed {
                        x.log(
                            Level::Info,
                            format_args!("send() failed {} while sending to client", OsError(&e)),
                        );
                    }
                    return Err(Broken::Client { reset: false });
                }
            }
        }
        Ok(buffer)
    }

    /// Writes once, within `send_timeout`.
    async fn write(
        &mut self,
        x: &mut Exchange,
        buffer: Buffer,
    ) -> Result<(io::Result<usize>, Buffer), Elapsed> {
        let (begun, timeout) = (clock::now(), x.here.settings.send_timeout);
        let mut write = pin!(write_once(self.client, buffer));
        if self.may_spool && self.spool.is_none() {
            let patience = PATIENCE.saturating_sub(self.waited).min(timeout);
            let written = x.alarm.within(begun + patience, write.as_mut()).await;
            self.waited += clock::now().saturating_duration_since(begun);
            if written.is_ok() {
                return written;
            }
            if self.client.is_writable() {
                // It was this side that was slow.
                self.waited = Duration::ZERO;
            } else {
                self.spool = spool::begin(x);
            }
        }
        let Some(spool) = &mut self.spool else { return x.alarm.within(begun + timeout, write).await };
        let mut alarm = std::mem::replace(&mut x.alarm, Alarm::new(begun + timeout));
        let written = Box::pin(spool.meanwhile(x, alarm.within(begun + timeout, write))).await;
        x.alarm = alarm;
        written
    }

    /// Waits because of `limit_rate`; the upstream need not. A client that leaves meanwhile ends it.
    async fn pause(&mut self, x: &mut Exchange, wait: Duration) -> Result<(), Broken> {
        if self.may_spool && self.spool.is_none() {
            self.spool = spool::begin(x);
        }
        let is_fed = match &self.spool {
            Some(spool) => spool.is_fed(),
            None => x.upstream_body.as_ref().is_some_and(|body| !body.is_done()),
        };
        let is_watched = !(is_fed && x.passing.ignores_client_abort);
        let passed = pass_time(self.client, wait, is_watched);
        let stays = match &mut self.spool {
            Some(spool) => Box::pin(spool.meanwhile(x, passed)).await,
            None => Box::pin(passed).await,
        };
        if stays { Ok(()) } else { Err(left(x)) }
    }
}
