//! TLS at the beginning of a connection, and what a request on it has to keep to.

use super::connection::{first_server, next_bytes};
use super::core::Shard;
use super::generation::Generation;
use super::proxied::log_while;
use crate::base::address::Address;
use crate::base::buffer::Buffer;
use crate::base::clock;
use crate::base::process_settings::Level;
use crate::http::status::HTTP_TO_HTTPS;
use crate::net::deadline::Alarm;
use crate::net::error_log::OsError;
use crate::net::stream::Stream;
use crate::net::tls::handshake::{self, Choice, Facts, Fault};
use crate::net::tls::pairs::Pairs;
use crate::net::tls::verify::Clients;
use crate::pipeline::connection::Connection;
use crate::pipeline::exchange::{Exchange, Recycled};
use crate::plan::{Handshakes, Server, ServerTls};
use std::rc::Rc;
use std::time::Duration;

/// The first byte of a TLS handshake (RFC 8446, 5.1), and the bit that is set in that of SSL 2.
const HANDSHAKE: u8 = 0x16;
const SSL2: u8 = 0x80;

/// The status for a request that is for another server than the handshake (RFC 9110, 15.5.20).
pub(super) const MISDIRECTED: u16 = 421;

/// Shakes hands, and keeps what came of it with the connection. Gives what requests come by, and what of
/// them has come; `None` when the connection is to be closed. A client that does not speak TLS is heard
/// out, to be told so.
pub(super) async fn begin(
    shard: &Rc<Shard>,
    connection: &Connection,
    stream: &Stream,
    listen: &Rc<Address>,
    wait: Duration,
    alarm: &mut Alarm,
    mut first: Buffer,
) -> Option<(Stream, Buffer)> {
    let deadline = clock::now() + wait;
    if first.is_empty() {
        first = next_bytes(shard, stream, listen, (wait, Duration::ZERO), alarm, false).await?;
    }
    if !first.filled().first().is_some_and(|byte| *byte == HANDSHAKE || *byte >= SSL2) {
        return Some((stream.clone(), first));
    }
    let choose = async |name: Option<&str>| choose(shard, connection, listen, name).await;
    let shaken = alarm.within(deadline, handshake::accept(stream, first, choose)).await;
    let log = |message: &str| log_while(shard, connection, listen, Level::Info, message, "SSL handshaking");
    match shaken {
        Ok(Ok((encrypted, facts))) => {
            // Nobody has set it before: a connection has one session.
            let _ = connection.tls.set(Rc::new(facts));
            return Some((encrypted, Buffer::default()));
        }
        Ok(Err(Fault::Closed)) => log("peer closed connection in SSL handshake"),
        Ok(Err(Fault::Broken(fault))) => log(&format!("SSL_do_handshake() failed {}", OsError(&fault))),
        Ok(Err(Fault::Tls(fault))) => log(&format!("SSL_do_handshake() failed (SSL: {fault})")),
        Ok(Err(Fault::NoCertificate)) => log("SSL_do_handshake() failed (SSL: there is no certificate)"),
        Ok(Err(Fault::Rejected)) => log("SSL_do_handshake() failed (SSL: the name was rejected)"),
        Err(_) => log("client timed out (110: Connection timed out)"),
    }
    None
}

/// The server for the name the client asks for, and whether there was one for it.
async fn choose(
    shard: &Rc<Shard>,
    connection: &Connection,
    listen: &Rc<Address>,
    name: Option<&str>,
) -> (Choice, bool) {
    let generation = shard.generation();
    let Some(site) = generation.plan.listens.iter().position(|known| known.address == **listen) else {
        return (Choice::Reject, false);
    };
    let names = generation.plan.sites[site].names_at(&connection.local);
    let known = name.and_then(|name| names.known(name.as_bytes()));
    let server = &generation.plan.servers[known.unwrap_or(names.default_server)];
    let http2 = names.http2 || generation.here(server.own).settings.server.http2.on;
    let choice = match &server.tls.handshakes {
        Some(Handshakes::Serve(tls)) => {
            match own(&generation, connection, server, name, known.is_some()).await {
                Ok(own) => Choice::Serve { server: tls.clone(), http2, own },
                Err(fault) => {
                    let log = &generation.here(server.own).error_log;
                    let message = format_args!("{fault} while SSL handshaking");
                    log.write(Level::Error, Some(connection.number), message);
                    Choice::Fail
                }
            }
        }
        Some(Handshakes::Reject) => Choice::Reject,
        None => {
            let log = &generation.here(first_server(&generation, site, &connection.local)).error_log;
            let message = "no \"ssl_certificate\" is defined in server listening on SSL port";
            log.write(Level::Error, Some(connection.number), format_args!("{message} while SSL handshaking"));
            Choice::Reject
        }
    };
    (choice, known.is_some())
}

/// The certificates for this handshake, where their names have variables.
async fn own(
    generation: &Rc<Generation>,
    connection: &Connection,
    server: &Server,
    name: Option<&str>,
    is_known: bool,
) -> Result<Option<Pairs>, String> {
    let Some(finder) = &server.tls.finder else { return Ok(None) };
    // As if there were a request already, of which nothing is known but the name.
    let assumed = Rc::new(connection.for_stream());
    let _ = assumed.tls.set(Rc::new(Facts::assumed(name.unwrap_or_default(), is_known)));
    let x = Recycled::take(&assumed, &generation.locals, generation.here(server.own));
    finder.find(&x).await.map(Some)
}

/// Whether a request that came to an address that speaks TLS may be served by the server that its host
/// chose, of which `tls` says what it wants of clients.
///
/// # Errors
/// The status to answer with.
pub(super) fn admit(x: &mut Exchange, tls: &ServerTls) -> Result<(), u16> {
    let Some(facts) = x.connection.tls.get() else {
        x.log(Level::Info, format_args!("client sent plain HTTP request to HTTPS port"));
        return Err(HTTP_TO_HTTPS);
    };
    let Some(mode) = tls.verify else { return Ok(()) };
    let is_other = facts.name.as_deref().is_none_or(|name| name.as_bytes() != x.host);
    if facts.is_named && is_other {
        x.log(
            Level::Info,
            format_args!(
                "client attempted to request the server name different from the one that was negotiated"
            ),
        );
        return Err(MISDIRECTED);
    }
    // By the settings in force here and now: a reload, or another server, may trust others.
    let verdict = match &tls.handshakes {
        Some(Handshakes::Serve(server)) => facts.judged_by(server),
        _ => facts.verdict(),
    };
    Clients::admit(mode, verdict).map_err(|(message, status)| {
        x.log(Level::Info, format_args!("{message}"));
        status
    })
}
