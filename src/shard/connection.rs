//! One client connection: requests one after the other, and the wait between them.

use super::core::{Open, Shard, next_connection};
use super::generation::Generation;
use super::http2;
use super::moving::{self, Moved, Stay};
use super::proxied;
use super::request::{After, Arrived, serve};
use super::term::while_it_lasts;
use super::tls;
use crate::base::address::Address;
use crate::base::buffer::Buffer;
use crate::base::clock;
use crate::net::deadline::Alarm;
use crate::net::log_buffer;
use crate::net::stream::Stream;
use crate::pipeline::connection::Connection;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// A connection that was accepted.
pub struct Accepted {
    /// Its socket.
    pub stream: Stream,
    /// The client's address; `None` on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// The address it was accepted at, as configured.
    pub listen: Rc<Address>,
    /// The place of that address's site in the plan at the time.
    pub site: usize,
}

/// Where a connection comes from.
pub enum Client {
    /// The listening socket.
    Accepted(Accepted),
    /// Another shard, where it is past its beginnings.
    Moved(Box<Moved>),
}

/// Serves a connection to its end.
pub async fn run(shard: Rc<Shard>, client: Client, open: Open) {
    let Some((connection, mut stream, listen, site, stay)) = begun(&shard, client) else { return };
    let enrolled = shard.roll.enrol(&stream, &connection).await;
    let (mut wait, is_proxied, is_tls, speaks_http2) = {
        let generation = shard.generation();
        let server = first_server(&generation, site, &connection.local);
        let settings = &generation.here(server).settings;
        let names = generation.plan.sites[site].names_at(&connection.local);
        let speaks_http2 = settings.server.http2.on || names.http2;
        (settings.server.client_header_timeout, names.proxy_protocol, names.tls, speaks_http2)
    };
    // Whoever has asked nothing yet may have the first request on its way: as in nginx the end of the
    // shard does not close it before its time is up.
    let mut least = wait;
    let mut ahead = Buffer::default();
    let mut pipelined = false;
    let is_new = stay.is_none();
    if let Some(stay) = stay {
        Stay { ahead, pipelined, wait, least } = stay;
    }
    let mut alarm = Alarm::new(clock::now() + wait);
    if is_proxied && is_new {
        // Boxed: rare, and it would swell what waits.
        let header = Box::pin(proxied::read_header(&shard, &connection, &stream, &listen, wait, &mut alarm));
        match header.await {
            Some(rest) => ahead = rest,
            None => {
                drop((enrolled, open));
                return;
            }
        }
    }
    if is_tls {
        // Boxed as well: what a handshake needs is not there when it is over.
        let begun = Box::pin(tls::begin(&shard, &connection, &stream, &listen, wait, &mut alarm, ahead));
        match begun.await {
            Some((encrypted, rest)) => (stream, ahead) = (encrypted, rest),
            None => {
                drop((enrolled, open));
                return;
            }
        }
    }
    // Nobody has set it before.
    let _ = connection.stream.set(stream.downgrade());
    if connection.tls.get().is_some_and(|facts| facts.is_http2()) {
        // Boxed: it would swell what waits.
        Box::pin(http2::run_agreed(&shard, &connection, &listen, &stream, &mut alarm)).await;
        log_buffer::flush_turn();
        drop((enrolled, open));
        return;
    }
    loop {
        if ahead.is_empty() && (is_tls || !shard.is_superfluous()) {
            match next_bytes(&shard, &stream, &listen, (wait, least), &mut alarm, !is_tls).await {
                Some(buffer) => ahead = buffer,
                None => break,
            }
        }
        if shard.is_superfluous() && !is_tls {
            let stay = Stay { ahead, pipelined, wait, least };
            match moving::hand_over(&shard, &connection, &listen, &stream, stay) {
                Ok(()) => break,
                Err(stay) => ahead = stay.ahead,
            }
            if ahead.is_empty() {
                match next_bytes(&shard, &stream, &listen, (wait, least), &mut alarm, false).await {
                    Some(buffer) => ahead = buffer,
                    None => break,
                }
            }
        }
        if speaks_http2 && !is_tls && connection.requests.get() == 0 && http2::may_begin(ahead.filled()) {
            // Boxed: it would swell what waits.
            let session = http2::run(&shard, &connection, &listen, &stream, ahead, &mut alarm);
            match Box::pin(session).await {
                Some(bytes) => ahead = bytes,
                None => break,
            }
        }
        // Boxed, so that a connection that waits costs little memory: one of the two allocations
        // of a request. Made where it is to stay: hardly any of it is filled yet.
        let arrived = Arrived { bytes: ahead, pipelined };
        let room = Box::new_uninit();
        let serving = Box::into_pin(Box::write(
            room,
            serve(&shard, &connection, &listen, &stream, arrived, &mut alarm),
        ));
        connection.generation.set(shard.generation_number());
        match while_it_lasts(&connection, serving).await.unwrap_or(After::Close) {
            After::KeepAlive { timeout, least: spared, rest } => {
                connection.set_nodelay(&stream);
                wait = timeout;
                least = spared;
                pipelined = !rest.is_empty();
                ahead = rest;
            }
            After::Close => break,
        }
    }
    // A line of an unbuffered log is on disk before the client can see the connection end.
    log_buffer::flush_turn();
    drop((enrolled, open));
}

/// What is known of a connection as its task begins, the place of its address's site, and what it was
/// doing elsewhere. `None` when it cannot be served.
#[allow(clippy::type_complexity)]
fn begun(
    shard: &Shard,
    client: Client,
) -> Option<(Rc<Connection>, Stream, Rc<Address>, usize, Option<Stay>)> {
    let generation = shard.generation_number();
    match client {
        Client::Accepted(Accepted { stream, peer, listen, site }) => {
            let local = local_address(&stream, &listen);
            let connection = Connection::accepted(next_connection(), peer, local, generation);
            Some((Rc::new(connection), stream, listen, site, None))
        }
        Client::Moved(moved) => {
            let Moved { socket, listen, luggage, stay } = *moved;
            let stream = Stream::arrive(socket).ok()?;
            // One whose address left the configuration meanwhile is closed, as if it had been idle.
            let plan = shard.generation().plan.clone();
            let site = plan.listens.iter().position(|known| known.address == listen)?;
            let connection = Connection::moved(luggage, generation);
            Some((Rc::new(connection), stream, Rc::new(listen), site, Some(stay)))
        }
    }
}

/// Waits for the next request's first bytes: with a buffer in hand where that is allowed, else
/// without. `None` when there will be none; `may_move`: an empty buffer when the shard has become
/// superfluous meanwhile.
pub(super) async fn next_bytes(
    shard: &Rc<Shard>,
    stream: &Stream,
    listen: &Rc<Address>,
    (wait, least): (Duration, Duration),
    alarm: &mut Alarm,
    may_move: bool,
) -> Option<Buffer> {
    let waiting = shard.wait(stream, listen, least);
    let until = clock::now() + wait;
    if let Some(_hot) = shard.wait_hot() {
        // Whatever comes after the time is up is lost with the connection, as in nginx.
        let read = pin!(stream.read(Buffer::small()));
        return match alarm.within(until, read).await {
            Ok((Ok(n), buffer)) if n > 0 => Some(buffer),
            _ => None,
        };
    }
    // The connection holds as little as can be: no buffer, no timer.
    alarm.rest();
    waiting.until(until);
    loop {
        let mut readable = pin!(stream.readable());
        let woken = poll_fn(|cx| match readable.as_mut().poll(cx) {
            Poll::Pending if may_move && shard.is_superfluous() => Poll::Ready(None),
            readable => readable.map(Some),
        });
        match woken.await {
            Some(Ok(())) => {}
            Some(Err(_)) => return None,
            None => return Some(Buffer::default()),
        }
        let mut buffer = Buffer::small();
        match stream.read_now(&mut buffer) {
            Ok(0) => return None,
            Ok(_) => return Some(buffer),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
}

fn local_address(stream: &Stream, listen: &Address) -> Address {
    match listen {
        Address::Ip(ip) if ip.ip().is_unspecified() => {
            stream.local_addr().map_or(listen.clone(), Address::Ip)
        }
        _ => listen.clone(),
    }
}

/// The own level of the server that a connection belongs to before a host is known.
pub fn first_server(generation: &Generation, site: usize, local: &Address) -> usize {
    let names = generation.plan.sites[site].names_at(local);
    generation.plan.servers[names.default_server].own
}

/// The same where the client has named a server in its handshake, if it was TLS.
pub fn named_server(generation: &Generation, site: usize, connection: &Connection) -> usize {
    let names = generation.plan.sites[site].names_at(&connection.local);
    let facts = connection.tls.get().filter(|facts| facts.is_named);
    let named = facts.and_then(|facts| names.known(facts.name.as_deref()?.as_bytes()));
    generation.plan.servers[named.unwrap_or(names.default_server)].own
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of the future that a function makes.
    fn size_of_future<A, B, C, F: Future>(_: impl Fn(A, B, C) -> F) -> usize {
        std::mem::size_of::<F>()
    }

    #[test]
    fn a_connection_that_waits_is_small() {
        // Ten thousand of them wait at once; what serves a request is boxed for that request.
        let bytes = size_of_future(run);
        assert!(bytes <= 1024, "{bytes} bytes");
    }
}
