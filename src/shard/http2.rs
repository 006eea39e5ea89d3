//! A client's connection that speaks HTTP/2: one task takes its requests and moves its frames, and each
//! request is a task of its own, which walks as every other does (`http2_request.rs`).
//!
//! ```text
//! preface ─ Session ─┬─ request, request, ...           (Going)
//!                    ├─ GOAWAY, and what is under way   (Leaving: reload, quit, keepalive_requests, ...)
//!                    └─ GOAWAY, and the end             (Ending: idle too long, abuse)
//! ```

use super::connection::named_server;
use super::core::Shard;
use super::generation::Generation;
use super::http2_request::{self, Arrived};
use super::panic;
use crate::base::address::Address;
use crate::base::buffer::Buffer;
use crate::base::clock;
use crate::base::limits::{H2_GOAWAY_WAIT_MS, H2_RESETS_MAX};
use crate::base::process_settings::Level;
use crate::http::HTTP2_PREFACE;
use crate::net::deadline::Alarm;
use crate::net::h2::{Incoming, Parting, Rules, Session};
use crate::net::runtime;
use crate::net::stream::Stream;
use crate::pipeline::connection::{Connection, Life, push_peer};
use crate::pipeline::settings::Here;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// How long a connection may take to end.
const GOAWAY_WAIT: Duration = Duration::from_millis(H2_GOAWAY_WAIT_MS);

/// Whether a connection that begins so may be one of HTTP/2.
pub(super) fn may_begin(bytes: &[u8]) -> bool {
    let bytes = bytes.get(..HTTP2_PREFACE.len()).unwrap_or(bytes);
    HTTP2_PREFACE.starts_with(bytes)
}

/// Serves a connection to its end. If its client turns out to speak HTTP/1 after all, what has come of it
/// is given back.
pub(super) async fn run(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    listen: &Rc<Address>,
    stream: &Stream,
    ahead: Buffer,
    alarm: &mut Alarm,
) -> Option<Buffer> {
    let here = first_level(shard, connection, listen)?;
    let until = clock::now() + here.settings.server.client_header_timeout;
    let ahead = match whole_preface(stream, ahead, alarm, until).await? {
        Begun::Http1(bytes) => return Some(bytes),
        Begun::Http2(bytes) => bytes,
    };
    serve(shard, connection, listen, (stream, ahead), &here, alarm).await;
    None
}

/// Serves a connection to its end whose client has agreed on HTTP/2 in its handshake.
pub(super) async fn run_agreed(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    listen: &Rc<Address>,
    stream: &Stream,
    alarm: &mut Alarm,
) {
    if let Some(here) = first_level(shard, connection, listen) {
        serve(shard, connection, listen, (stream, Buffer::default()), &here, alarm).await;
    }
}

/// The own level of the server that a connection belongs to before a host is known; `None` when its
/// address has left the configuration.
fn first_level(shard: &Shard, connection: &Connection, listen: &Address) -> Option<Rc<Here>> {
    let generation = shard.generation();
    let site = generation.plan.listens.iter().position(|known| known.address == *listen)?;
    Some(generation.here(named_server(&generation, site, connection)).clone())
}

/// Serves a connection that begins with the preface, which is in `ahead` or to come.
async fn serve(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    listen: &Rc<Address>,
    (stream, ahead): (&Stream, Buffer),
    here: &Rc<Here>,
    alarm: &mut Alarm,
) {
    connection.http2.set(true);
    connection.generation.set(shard.generation_number());
    if here.settings.tcp_nodelay {
        connection.set_nodelay(stream);
    }
    let until = clock::now() + here.settings.server.client_header_timeout;
    let Ok(Ok(session)) = alarm.within(until, Session::begin(stream.clone(), ahead, &rules(here))).await
    else {
        return;
    };
    let streams = Rc::new(Streams::default());
    let mut driver = Driver {
        shard,
        connection,
        listen,
        here,
        stream,
        session,
        streams: streams.clone(),
        stage: Stage::Going,
        idle_since: clock::now(),
        number: shard.generation_number(),
    };
    driver.run(alarm).await;
    // What its requests still wait for of the client ends with it.
    drop(driver);
    poll_fn(|cx| {
        if connection.life.get() == Life::Over {
            streams.end();
        }
        streams.poll_none(cx)
    })
    .await;
}

/// What a client with such a server is told.
fn rules(here: &Rc<Here>) -> Rules {
    let (facts, http2) = (&here.settings.server, &here.settings.server.http2);
    let header_list_bytes = facts.large_header_buffers.saturating_mul(facts.large_header_buffer_size);
    Rules {
        streams_max: http2.streams_max,
        preread_bytes: http2.preread_bytes,
        header_list_bytes: u32::try_from(header_list_bytes).unwrap_or(u32::MAX),
        read_bytes: http2.read_bytes,
    }
}

enum Begun {
    Http1(Buffer),
    Http2(Buffer),
}

/// Reads until it is clear which of the two it is; `None` when the client is gone, or slow.
async fn whole_preface(
    stream: &Stream,
    mut ahead: Buffer,
    alarm: &mut Alarm,
    until: Instant,
) -> Option<Begun> {
    loop {
        if !may_begin(ahead.filled()) {
            return Some(Begun::Http1(ahead));
        }
        if ahead.len() >= HTTP2_PREFACE.len() {
            return Some(Begun::Http2(ahead));
        }
        let (read, back) = alarm.within(until, stream.read(ahead)).await.ok()?;
        ahead = back;
        if read.ok()? == 0 {
            return None;
        }
    }
}

/// One request: what it goes by, and the task that serves it.
type Entry = (Rc<Connection>, Option<Waker>);

/// The requests under way on one connection.
#[derive(Default)]
pub(super) struct Streams {
    places: RefCell<Vec<Option<Entry>>>,
    count: Cell<usize>,
    /// By how many the requests that were reset outnumber those that were answered.
    resets: Cell<u32>,
    /// The task of the connection.
    driver: RefCell<Option<Waker>>,
}

impl Streams {
    /// Puts a request on the list.
    pub(super) fn enter(&self, connection: Rc<Connection>) -> usize {
        self.count.set(self.count.get() + 1);
        let mut places = self.places.borrow_mut();
        let entry = Some((connection, None));
        match places.iter().position(Option::is_none) {
            Some(place) => {
                places[place] = entry;
                place
            }
            None => {
                places.push(entry);
                places.len() - 1
            }
        }
    }

    /// Remembers the task that serves it.
    pub(super) fn served_by(&self, place: usize, waker: &Waker) {
        if let Some(Some((_, task))) = self.places.borrow_mut().get_mut(place)
            && task.is_none()
        {
            *task = Some(waker.clone());
        }
    }

    /// Takes it off; `reset`: its client did not wait for the answer.
    pub(super) fn leave(&self, place: usize, reset: bool) {
        if let Some(entry) = self.places.borrow_mut().get_mut(place) {
            *entry = None;
        }
        self.count.set(self.count.get().saturating_sub(1));
        let resets = self.resets.get();
        self.resets.set(if reset { resets + 1 } else { resets.saturating_sub(1) });
        if let Some(driver) = &*self.driver.borrow() {
            driver.wake_by_ref();
        }
    }

    /// Ends all of them at once.
    fn end(&self) {
        for (connection, task) in self.places.borrow().iter().flatten() {
            connection.life.set(Life::Over);
            if let Some(task) = task {
                task.wake_by_ref();
            }
        }
    }

    /// Ready when there is none.
    fn poll_none(&self, cx: &Context<'_>) -> Poll<()> {
        *self.driver.borrow_mut() = Some(cx.waker().clone());
        if self.count.get() == 0 { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Where a connection is in its life.
enum Stage {
    Going,
    /// Its client was told to go elsewhere.
    Leaving,
    /// It ends, by then at the latest.
    Ending(Instant),
}

/// What moved.
enum Event {
    Request(Box<Incoming>),
    /// One of the requests has ended.
    Ended,
    /// The client is to go elsewhere.
    Leave,
    /// It sends nearly nothing but frames that carry nothing, or resets nearly all it asks for.
    Abuse(&'static str),
    /// It has sent PUSH_PROMISE.
    Promise,
    /// Something is known that was not: what is waited for may be another time.
    Look,
    /// It is gone.
    Gone,
}

struct Driver<'d> {
    shard: &'d Rc<Shard>,
    connection: &'d Rc<Connection>,
    listen: &'d Rc<Address>,
    /// The own level of the first server.
    here: &'d Rc<Here>,
    stream: &'d Stream,
    session: Session,
    streams: Rc<Streams>,
    stage: Stage,
    /// Since when there is no request.
    idle_since: Instant,
    /// The generation that the connection was told the settings of.
    number: u64,
}

impl Driver<'_> {
    async fn run(&mut self, alarm: &mut Alarm) {
        loop {
            let (deadline, known) = (self.deadline(), self.streams.count.get());
            let head_since = self.session.head_since();
            let event = alarm.within(deadline, poll_fn(|cx| self.poll(cx, known, head_since))).await;
            self.log_refused();
            match event {
                Ok(Event::Request(incoming)) => self.begin(*incoming),
                Ok(Event::Ended) => self.idle_since = clock::now(),
                Ok(Event::Leave) => self.leave(),
                Ok(Event::Abuse(what)) => {
                    self.log(what);
                    self.end(Parting::Abuse);
                }
                Ok(Event::Promise) => {
                    self.log("client sent PUSH_PROMISE frame");
                    self.end(Parting::Fault);
                }
                Ok(Event::Look) => {}
                Ok(Event::Gone) => return,
                Err(_) if self.is_over() => return,
                Err(_) => {}
            }
        }
    }

    /// Until when nothing need be done.
    fn deadline(&self) -> Instant {
        let settings = &self.here.settings;
        // What is written is looked at so often.
        let mut look = clock::now() + settings.send_timeout;
        if let Some(since) = self.session.head_since() {
            look = look.min(since + settings.server.client_header_timeout);
        }
        match self.stage {
            Stage::Ending(until) => until,
            _ if self.streams.count.get() > 0 => look,
            Stage::Leaving => look.min(self.idle_since + GOAWAY_WAIT),
            Stage::Going => look.min(self.idle_since + self.idle_timeout()),
        }
    }

    fn idle_timeout(&self) -> Duration {
        let settings = &self.here.settings;
        let fresh = self.connection.requests.get() == 0;
        if fresh { settings.server.client_header_timeout } else { settings.keepalive_timeout }
    }

    /// The time is up: what for? True when the connection is.
    fn is_over(&mut self) -> bool {
        let now = clock::now();
        if self.session.stuck_since().is_some_and(|since| since + self.here.settings.send_timeout <= now) {
            self.log("client timed out (110: Connection timed out)");
            if self.here.settings.reset_timedout_connection {
                self.stream.reset_on_close();
            }
            return true;
        }
        let head_time = self.here.settings.server.client_header_timeout;
        if !matches!(self.stage, Stage::Ending(_))
            && self.session.head_since().is_some_and(|since| since + head_time <= now)
        {
            self.log("client timed out (110: Connection timed out)");
            self.end(Parting::Fault);
            return false;
        }
        match self.stage {
            Stage::Ending(until) => return until <= now,
            _ if self.streams.count.get() > 0 || self.deadline() > now => {}
            Stage::Going | Stage::Leaving => self.end(Parting::Idle),
        }
        false
    }

    fn poll(&mut self, cx: &mut Context<'_>, known: usize, head_since: Option<Instant>) -> Poll<Event> {
        if self.connection.life.get() == Life::Over {
            return Poll::Ready(Event::Gone);
        }
        let is_going = matches!(self.stage, Stage::Going);
        if is_going && (self.shard.is_quitting() || self.shard.generation_number() != self.number) {
            return Poll::Ready(Event::Leave);
        }
        // Requests that were reset may still be served for a moment: they count until they are not.
        let full = self.streams.count.get() >= self.here.settings.server.http2.streams_max as usize;
        let polled = if full {
            self.session.poll_others(cx).map(|()| None)
        } else {
            self.session.poll_request(cx).map(|request| request.and_then(Result::ok))
        };
        if !matches!(self.stage, Stage::Ending(_)) {
            if self.session.has_promised() {
                return Poll::Ready(Event::Promise);
            }
            if self.session.is_flooded() {
                return Poll::Ready(Event::Abuse("http2 flood detected"));
            }
            if self.streams.resets.get() > H2_RESETS_MAX {
                return Poll::Ready(Event::Abuse("client reset too many streams"));
            }
        }
        match polled {
            Poll::Ready(Some(incoming)) => return Poll::Ready(Event::Request(Box::new(incoming))),
            Poll::Ready(None) => return Poll::Ready(Event::Gone),
            Poll::Pending => {}
        }
        if self.session.has_refused() || self.session.head_since() != head_since {
            return Poll::Ready(Event::Look);
        }
        _ = self.streams.poll_none(cx);
        if self.streams.count.get() == known { Poll::Pending } else { Poll::Ready(Event::Ended) }
    }

    fn log_refused(&self) {
        for _ in 0..self.session.take_refused() {
            http2_request::log_refused(self.shard, self.connection, self.listen);
        }
    }

    /// Gives a request to a task of its own.
    fn begin(&mut self, incoming: Incoming) {
        let requests = self.connection.requests.get() + 1;
        self.connection.requests.set(requests);
        let settings = &self.here.settings;
        let age = clock::now().saturating_duration_since(self.connection.started);
        if requests >= settings.keepalive_requests || age >= settings.keepalive_time {
            self.leave();
        }
        let connection = Rc::new(self.connection.for_stream());
        let place = self.streams.enter(connection.clone());
        let listen = self.listen.clone();
        let arrived = Arrived { incoming, connection, listen, streams: self.streams.clone(), place };
        let shard = self.shard.clone();
        let of_panic = shard.clone();
        let task = http2_request::serve(shard, arrived);
        runtime::spawn(panic::caught(move || -> Rc<Generation> { of_panic.generation() }, task));
    }

    fn leave(&mut self) {
        if matches!(self.stage, Stage::Going) {
            self.stage = Stage::Leaving;
            self.idle_since = clock::now();
            self.session.leave();
        }
    }

    fn end(&mut self, why: Parting) {
        self.stage = Stage::Ending(clock::now() + GOAWAY_WAIT);
        self.session.end(why);
    }

    fn log(&self, what: &str) {
        let mut client = Vec::new();
        push_peer(&mut client, self.connection.accepted_from);
        let client = String::from_utf8_lossy(&client);
        self.here.error_log.write(
            Level::Info,
            Some(self.connection.number),
            format_args!(
                "{what} while processing HTTP/2 connection, client: {client}, server: {}",
                self.listen
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preface_is_told_from_other_methods() {
        for (bytes, want) in [
            (&b"P"[..], true),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", true),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04", true),
            (b"PUT / HTTP/1.1\r\n", false),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rx", false),
            (b"GET", false),
        ] {
            assert_eq!(may_begin(bytes), want, "{}", bytes.escape_ascii());
        }
    }
}
