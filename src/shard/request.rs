//! One request on an HTTP/1 connection: its head is read, it walks, it is answered and logged.

use super::connection::first_server;
use super::core::Shard;
use super::deliver::{self, Client, Sent};
use super::drain;
use super::generation::Generation;
use super::tls;
use super::walk;
use crate::base::address::Address;
use crate::base::buffer::Buffer;
use crate::base::clock;
use crate::base::counters::{self, Count};
use crate::base::limits::BUFFER_BYTES;
use crate::base::process_settings::Level;
use crate::http::{Framing, HeadLimits, Method, Parsed, RequestFault, Version, uri};
use crate::net::deadline::Alarm;
use crate::net::error_log::OsError;
use crate::net::h1_body::{Frame, H1Body};
use crate::net::stream::Stream;
use crate::pipeline::answer::Answer;
use crate::pipeline::body::Source;
use crate::pipeline::connection::Connection;
use crate::pipeline::exchange::{Exchange, Recycled};
use crate::pipeline::settings::{Lingering, ServerFacts};
use crate::plan::names::Names;
use std::rc::Rc;
use std::time::Duration;

/// What becomes of the connection.
pub enum After {
    /// It waits for the next request.
    KeepAlive {
        /// How long.
        timeout: Duration,
        /// For how long it does so even while the shard ends.
        least: Duration,
        /// What of it has come already.
        rest: Buffer,
    },
    /// It is closed.
    Close,
}

/// The first bytes of a request.
pub struct Arrived {
    /// The bytes, at least one.
    pub bytes: Buffer,
    /// They were read together with the request before.
    pub pipelined: bool,
}

/// Serves the request that begins in `arrived`.
pub async fn serve(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    listen: &Rc<Address>,
    stream: &Stream,
    arrived: Arrived,
    alarm: &mut Alarm,
) -> After {
    let generation = shard.generation();
    // An address that left the configuration serves no further request.
    let Some(site) = generation.plan.listens.iter().position(|known| known.address == **listen) else {
        return After::Close;
    };
    let server = first_server(&generation, site, &connection.local);
    if !generation.here(server).settings.tcp_nodelay {
        connection.nodelay.set(true);
    }
    let mut x = Recycled::take(connection, &generation.locals, generation.here(server));
    x.input = arrived.bytes;
    x.pipelined = arrived.pipelined;
    std::mem::swap(&mut x.alarm, alarm);
    let after = serve_with(shard, &generation, site, &mut x, stream).await;
    std::mem::swap(&mut x.alarm, alarm);
    after
}

/// The same with an exchange at hand.
async fn serve_with(
    shard: &Rc<Shard>,
    generation: &Rc<Generation>,
    site: usize,
    x: &mut Exchange,
    stream: &Stream,
) -> After {
    let connection = x.connection.clone();
    connection.requests.set(connection.requests.get() + 1);
    counters::add(Count::Requests);
    let reading = counters::hold::<{ Count::Reading as usize }>();
    let read = read_head(x, stream).await;
    drop(reading);
    let _writing = counters::hold::<{ Count::Writing as usize }>();
    let answer = match read {
        Ok(()) => match begin(generation, site, x, Some(stream)) {
            Ok(()) => walk::run(generation, x).await,
            Err(status) => refuse(generation, x, status).await,
        },
        Err(Unread::Refused(status)) => {
            // A method that is refused has a head that is right, and the page for it may be its server's.
            if status == 405 {
                meet_server(generation, site, x);
            }
            refuse(generation, x, status).await
        }
        Err(Unread::Gone(status)) => {
            if status > 0 {
                x.answer.status = status;
                walk::log(x);
            }
            return After::Close;
        }
    };
    if !shard.keeps(stream) {
        x.keep_alive = false;
    }
    let mut sent = deliver::run(generation, x, Client::H1(stream), answer).await;
    // Each error page on the way counts as a relocation, of which there is a bounded number.
    while let Sent::Instead(status) = sent {
        sent = Box::pin(async {
            let answer = walk::answer_status(generation, x, status).await;
            deliver::run(generation, x, Client::H1(stream), answer).await
        })
        .await;
    }
    x.completed = matches!(sent, Sent::All);
    if x.here.settings.post_action.is_some() {
        Box::pin(walk::post_action(generation, x)).await;
    }
    finish(shard, x, stream, sent).await
}

/// Logs, and sees to it that the connection can be used again or is closed with care.
async fn finish(shard: &Rc<Shard>, x: &mut Exchange, stream: &Stream, sent: Sent) -> After {
    walk::log(x);
    let settings = &x.here.settings;
    match sent {
        Sent::Cut { reset } => {
            stream.end_silently();
            if reset {
                stream.reset_on_close();
            }
            return After::Close;
        }
        Sent::Silent | Sent::Instead(_) => return After::Close,
        Sent::All => {}
    }
    let (timeout, least) = (settings.keepalive_timeout, settings.keepalive_min_timeout);
    let lingering = settings.lingering_close;
    let (time, pause) = (settings.lingering_time, settings.lingering_timeout);
    let keep_alive = x.keep_alive && !timeout.is_zero() && shard.keeps(stream);
    let pending = x.body_pending();
    if keep_alive && pending && !Box::pin(drain::body(x, time, pause)).await {
        return After::Close;
    }
    if !keep_alive {
        let unread = pending || x.source.has_bytes();
        let linger = match lingering {
            Lingering::Always => true,
            Lingering::On => unread || x.head_refused,
            Lingering::Off => false,
        };
        if linger {
            crate::net::log_buffer::flush_turn();
            Box::pin(drain::linger(stream, time, pause)).await;
        }
        return After::Close;
    }
    let rest = match std::mem::replace(&mut x.source, Source::None) {
        Source::H1(body) => body.into_parts().1,
        Source::None | Source::H2(_) => Buffer::default(),
    };
    After::KeepAlive { timeout, least, rest }
}

/// Why there is no request to serve.
enum Unread {
    /// It is refused with this status.
    Refused(u16),
    /// There is nobody to answer; the status is for the log, 0 for none.
    Gone(u16),
}

/// Reads and parses the head.
async fn read_head(x: &mut Exchange, stream: &Stream) -> Result<(), Unread> {
    let facts = x.here.settings.server.clone();
    let limits = head_limits(&facts);
    let deadline = clock::now() + facts.client_header_timeout;
    loop {
        match x.head.parse(x.input.filled(), &limits) {
            Ok(Parsed::Complete) => {
                if x.head.ignored > 0 {
                    log_dropped(x, &limits);
                }
                return Ok(());
            }
            Ok(Parsed::Partial) => {}
            Err(fault) => return Err(Unread::Refused(refused_head(x, fault))),
        }
        // Into a buffer of its own: when time runs out it is lost, and the log still wants to show
        // what came before.
        let Ok((read, more)) = x.alarm.within(deadline, stream.read(Buffer::ordinary())).await else {
            x.log(
                Level::Info,
                format_args!("client timed out (110: Connection timed out) while {}", x.head.action()),
            );
            if x.here.settings.reset_timedout_connection {
                stream.reset_on_close();
            }
            return Err(Unread::Gone(408));
        };
        make_room(&mut x.input, more.len(), &limits);
        x.input.append(more.filled());
        match read {
            Ok(0) => {
                let blank = x.input.filled().iter().all(|b| matches!(b, b'\r' | b'\n'));
                if blank {
                    return Err(Unread::Gone(0));
                }
                x.log(
                    Level::Info,
                    format_args!("client prematurely closed connection while {}", x.head.action()),
                );
                return Err(Unread::Gone(400));
            }
            Ok(_) => {}
            Err(e) => {
                x.log(Level::Info, format_args!("recv() failed {} while {}", OsError(&e), x.head.action()));
                return Err(Unread::Gone(400));
            }
        }
    }
}

/// Says which fields were dropped for their names.
#[cold]
pub(super) fn log_dropped(x: &Exchange, limits: &HeadLimits) {
    let input = x.input.filled();
    for field in x.head.dropped(input, limits) {
        let name = String::from_utf8_lossy(field.name.of(input));
        let value = String::from_utf8_lossy(field.value.of(input));
        x.log(
            Level::Info,
            format_args!(
                "client sent invalid header line: \"{name}: {value}\" while reading client request headers"
            ),
        );
    }
}

pub(super) fn head_limits(facts: &ServerFacts) -> HeadLimits {
    HeadLimits {
        line_max: facts.large_header_buffer_size.max(facts.client_header_buffer_size),
        total_max: facts.large_header_buffers * facts.large_header_buffer_size
            + facts.client_header_buffer_size,
        fields_max: facts.max_headers,
        underscores: facts.underscores_in_headers,
        ignore_invalid: facts.ignore_invalid_headers,
    }
}

/// The head grows within its limits; the parser refuses it before they are passed.
fn make_room(input: &mut Buffer, more: usize, limits: &HeadLimits) {
    if input.room() >= more {
        return;
    }
    input.compact();
    if input.room() < more {
        let wanted = (input.capacity() * 2).min(limits.total_max + 2 * BUFFER_BYTES).max(input.len() + more);
        input.grow(wanted);
    }
}

pub(super) fn refused_head(x: &mut Exchange, fault: RequestFault) -> u16 {
    let mut message = Vec::new();
    x.head.explain(fault, x.input.filled(), &mut message);
    x.log(Level::Info, format_args!("{}", String::from_utf8_lossy(&message)));
    x.head_refused = true;
    // The refusal of a HEAD has no body either, wherever its head went wrong.
    let begun = x.input.filled().iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or_default();
    if x.input.filled().get(begun..).is_some_and(|text| text.starts_with(b"HEAD ")) {
        x.head.method = Method::Head;
    }
    fault.status()
}

/// The host that the head names, and the server it means.
fn meet_server<'g>(generation: &'g Rc<Generation>, site: usize, x: &mut Exchange) -> &'g Names {
    let Exchange { host, head, input, .. } = x;
    host.clear();
    host.extend_from_slice(head.host_name.of(input.filled()));
    host.make_ascii_lowercase();
    let names = generation.plan.sites[site].names_at(&x.connection.local);
    let server = names.find(x);
    x.server = server;
    x.here = generation.here(generation.plan.servers[server].own).clone();
    names
}

/// From the head to a request that can walk: its server, its path, its body.
/// `stream`: where its body comes from, if that is not known yet.
pub(super) fn begin(
    generation: &Rc<Generation>,
    site: usize,
    x: &mut Exchange,
    stream: Option<&Stream>,
) -> Result<(), u16> {
    x.request_length = x.head.len as u64;
    let names = meet_server(generation, site, x);
    if x.head.method == Method::Connect {
        let is_possible = x.head.version == Version::Http11 && generation.plan.servers[x.server].connects;
        match x.head.framing {
            _ if !is_possible => return Err(refused_head(x, RequestFault::Connect)),
            Framing::None | Framing::Length(0) => {}
            _ => return Err(refused_head(x, RequestFault::ConnectWithBody)),
        }
    }
    let merge_slashes = x.here.settings.server.merge_slashes;
    let expect = x.head.expect_continue && x.head.version == Version::Http11;
    if let Some(stream) = stream {
        x.source = source(x.head.framing, &mut x.input, x.head.len, stream, expect);
    }
    let Exchange { head, input, uri, args, .. } = x;
    let target = head.path.of(input.filled());
    uri.clear();
    args.clear();
    match uri::normalise(target, merge_slashes, uri) {
        Ok(normalised) => {
            if let Some(span) = normalised.args {
                args.extend_from_slice(span.of(target));
            }
            x.uri_is_quoted = normalised.quoted;
            x.uri_has_plus = normalised.plus;
        }
        Err(_) => {
            // To nginx the line is wrong before it has read a field.
            x.head.fields.clear();
            x.log(Level::Info, format_args!("client sent invalid request while reading client request line"));
            x.head_refused = true;
            return Err(400);
        }
    }
    if names.tls {
        tls::admit(x, &generation.plan.servers[x.server].tls)?;
    }
    if x.head.version == Version::Http2 && !names.http2 && !x.here.settings.server.http2.on {
        x.log(
            Level::Info,
            format_args!(
                "client attempted to request the server name for which the negotiated protocol is disabled"
            ),
        );
        return Err(tls::MISDIRECTED);
    }
    // What the location says about it comes when it is found.
    x.keep_alive = x.head.keep_alive;
    Ok(())
}

/// The body's source: what of it came with the head, and the stream behind it.
fn source(framing: Framing, input: &mut Buffer, head_len: usize, stream: &Stream, expect: bool) -> Source {
    let mut ahead = Buffer::default();
    let behind = input.filled().get(head_len..).unwrap_or_default();
    if !behind.is_empty() {
        ahead = Buffer::with_capacity(behind.len());
        ahead.append(behind);
        input.truncate(head_len);
    }
    let frame = match framing {
        Framing::None => Frame::None,
        Framing::Length(length) => Frame::Length(length),
        Framing::Chunked => Frame::Chunked,
    };
    let nothing_came = ahead.is_empty();
    let mut body = H1Body::new(stream.clone(), ahead, frame);
    // As nginx, also where the length is 0: such a client waits all the same.
    if expect && nothing_came {
        body.expect_continue();
    }
    Source::H1(body)
}

/// A request that cannot walk still leaves by the one door, through its server's error pages.
pub(super) async fn refuse(generation: &Rc<Generation>, x: &mut Exchange, status: u16) -> Answer {
    x.keep_alive = false;
    walk::answer_status(generation, x, status).await
}
