//! One request on an HTTP/2 connection: a task of its own, whose exchange goes the way of all others.

use super::connection::named_server;
use super::core::Shard;
use super::deliver::{self, Client, Sent};
use super::generation::Generation;
use super::http2::Streams;
use super::http2_tunnel;
use super::request::{begin, head_limits, log_dropped, refuse, refused_head};
use super::walk;
use crate::base::address::Address;
use crate::base::buffer::Buffer;
use crate::base::clock;
use crate::base::counters::{self, Count};
use crate::base::process_settings::Level;
use crate::http::carried::{self, Asked, CarryFault};
use crate::http::{Framing, Parsed, RequestFault};
use crate::net::deadline::Alarm;
use crate::net::h2::{H2Answer, Incoming};
use crate::net::log_buffer;
use crate::pipeline::answer::Answer;
use crate::pipeline::body::Source;
use crate::pipeline::connection::{Connection, Life};
use crate::pipeline::exchange::{Exchange, Recycled};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

/// A request that came.
pub(super) struct Arrived {
    pub(super) incoming: Incoming,
    /// The facts of the connection, for this request.
    pub(super) connection: Rc<Connection>,
    pub(super) listen: Rc<Address>,
    /// Those it is one of, and its place among them.
    pub(super) streams: Rc<Streams>,
    pub(super) place: usize,
}

/// Its place, which it leaves however it ends.
struct Place {
    streams: Rc<Streams>,
    place: usize,
    answer: Rc<H2Answer>,
}

impl Drop for Place {
    fn drop(&mut self) {
        // What was answered to its end is no reset, whatever the client did then.
        let reset = !self.answer.is_over() && self.answer.is_gone();
        self.answer.reset();
        self.streams.leave(self.place, reset);
    }
}

/// Serves it to its end, as long as its connection lasts.
pub(super) async fn serve(shard: Rc<Shard>, arrived: Arrived) {
    let Arrived { incoming, connection, listen, streams, place } = arrived;
    let answer = incoming.answer.clone();
    let held = Place { streams, place, answer };
    let mut serving = Box::pin(exchange(&shard, &connection, &listen, incoming));
    poll_fn(|cx| {
        held.streams.served_by(place, cx.waker());
        match connection.life.get() {
            Life::Over => Poll::Ready(()),
            _ => serving.as_mut().poll(cx),
        }
    })
    .await;
    drop(serving);
    // The line of an unbuffered log is on disk before the connection can end.
    log_buffer::flush_turn();
    drop(held);
}

async fn exchange(shard: &Rc<Shard>, connection: &Rc<Connection>, listen: &Rc<Address>, incoming: Incoming) {
    let generation = shard.generation();
    // An address that left the configuration serves no further request.
    let Some(site) = generation.plan.listens.iter().position(|known| known.address == **listen) else {
        return;
    };
    let server = named_server(&generation, site, connection);
    let mut x = Recycled::take(connection, &generation.locals, generation.here(server));
    // The timer it comes with may know another task.
    let deadline = clock::now() + x.here.settings.send_timeout;
    let spare = std::mem::replace(&mut x.alarm, Alarm::new(deadline));
    exchange_with(&generation, site, &mut x, incoming).await;
    x.alarm = spare;
}

async fn exchange_with(generation: &Rc<Generation>, site: usize, x: &mut Exchange, mut incoming: Incoming) {
    counters::add(Count::Requests);
    let _writing = counters::hold::<{ Count::Writing as usize }>();
    let client = incoming.answer.clone();
    let read = take_head(x, &mut incoming);
    let head_bytes = u64::from(incoming.head_bytes());
    x.source = Source::H2(Box::new(incoming.body));
    if client.is_gone() {
        // Reset before it was looked at: nothing is done for it.
        x.answer.status = 499;
        return walk::log(x);
    }
    let answer = match read {
        Ok(()) => {
            let begun = begin(generation, site, x, None);
            x.request_length = head_bytes;
            match begun {
                Ok(()) => walk::run(generation, x).await,
                Err(status) => refuse(generation, x, status).await,
            }
        }
        Err(status) => refuse(generation, x, status).await,
    };
    let sent = send(generation, x, &client, answer).await;
    x.completed = matches!(sent, Sent::All);
    if !x.completed {
        let timeout = x.here.settings.send_timeout;
        let sent = pin!(client.sent());
        _ = x.alarm.within(clock::now() + timeout, sent).await;
        if x.answer.status == 408 {
            client.give_up();
        }
        client.reset();
    }
    if x.here.settings.post_action.is_some() {
        Box::pin(walk::post_action(generation, x)).await;
    }
    walk::log(x);
}

async fn send(generation: &Rc<Generation>, x: &mut Exchange, client: &Rc<H2Answer>, answer: Answer) -> Sent {
    let mut sent = deliver::run(generation, x, Client::H2(client), answer).await;
    // Each error page on the way counts as a relocation, of which there is a bounded number.
    while let Sent::Instead(status) = sent {
        let answer = walk::answer_status(generation, x, status).await;
        sent = deliver::run(generation, x, Client::H2(client), answer).await;
    }
    sent
}

/// Writes the head down as one of HTTP/1 and parses it; else the status to refuse it with.
fn take_head(x: &mut Exchange, incoming: &mut Incoming) -> Result<(), u16> {
    let limits = head_limits(&x.here.settings.server);
    let mut text = std::mem::take(&mut x.scratch);
    text.clear();
    let protocol = incoming.protocol();
    let asked = Asked {
        method: incoming.method(),
        path: incoming.path(),
        authority: incoming.authority(),
        protocol,
        fields: &incoming.fields().collect::<Vec<_>>(),
    };
    let key = protocol.map(|_| http2_tunnel::key()).unwrap_or_default();
    let mut written = carried::write(&asked, &key, &mut text);
    if incoming.has_no_scheme() {
        written = Err(CarryFault::Invalid);
    }
    let is_tunnel = protocol.is_some();
    incoming.note_head(text.len());
    x.input = Buffer::with_capacity(text.len());
    x.input.append(&text);
    x.scratch = text;
    written.map_err(|fault| not_carried(x, fault))?;
    match x.head.parse(x.input.filled(), &limits) {
        Ok(Parsed::Complete) => {}
        Ok(Parsed::Partial) => return Err(refused_head(x, RequestFault::InvalidRequest)),
        Err(fault) => return Err(refused_head(x, fault)),
    }
    carried::name_version(&mut x.head, x.input.filled_mut());
    if x.head.ignored > 0 {
        log_dropped(x, &limits);
    }
    if is_tunnel {
        incoming.body.hold();
    } else if x.head.framing == Framing::None && !incoming.body.is_done() {
        x.head.framing = Framing::Chunked;
    }
    Ok(())
}

/// Logs a request whose head was refused before it could be looked at.
#[cold]
pub(super) fn log_refused(shard: &Rc<Shard>, connection: &Rc<Connection>, listen: &Address) {
    let generation = shard.generation();
    let Some(site) = generation.plan.listens.iter().position(|known| known.address == *listen) else {
        return;
    };
    let server = named_server(&generation, site, connection);
    let mut x = Recycled::take(connection, &generation.locals, generation.here(server));
    counters::add(Count::Requests);
    x.log(Level::Info, format_args!("client sent invalid request while reading client request headers"));
    x.head_refused = true;
    x.answer.status = 400;
    walk::log(&mut x);
}

#[cold]
fn not_carried(x: &mut Exchange, fault: CarryFault) -> u16 {
    x.log(Level::Info, format_args!("{} while processing HTTP/2 connection", fault.message()));
    x.head_refused = true;
    400
}
