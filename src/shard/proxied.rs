//! The header of the PROXY protocol at the beginning of a connection.

use super::connection::{first_server, next_bytes};
use super::core::Shard;
use crate::base::address::Address;
use crate::base::buffer::Buffer;
use crate::base::clock;
use crate::base::limits::SMALL_BUFFER_BYTES;
use crate::base::process_settings::Level;
use crate::http::proxy_protocol::{Read, V2_BYTES_MAX, read};
use crate::net::deadline::Alarm;
use crate::net::stream::Stream;
use crate::pipeline::connection::{Connection, push_peer};
use crate::pipeline::exchange::one_line;
use std::rc::Rc;
use std::time::Duration;

// The buffer that the first bytes came in always has room for a whole header.
const _: () = assert!(V2_BYTES_MAX <= SMALL_BUFFER_BYTES);

/// Reads the header, and keeps what it says with the connection. Gives what came behind it; `None`
/// when the connection is to be closed: it is gone, took too long or is no proxy's.
pub(super) async fn read_header(
    shard: &Rc<Shard>,
    connection: &Connection,
    stream: &Stream,
    listen: &Rc<Address>,
    wait: Duration,
    alarm: &mut Alarm,
) -> Option<Buffer> {
    let deadline = clock::now() + wait;
    let mut buffer = next_bytes(shard, stream, listen, (wait, Duration::ZERO), alarm, false).await?;
    loop {
        match read(buffer.filled()) {
            Ok(Read::Whole { len, header }) => {
                if let Some(header) = header {
                    // Nobody has set it before: a connection has one header.
                    let _ = connection.proxied.set(Box::new(header));
                }
                buffer.consume(len);
                return Some(buffer);
            }
            Ok(Read::Partial) => {
                let Ok((got, back)) = alarm.within(deadline, stream.read(buffer)).await else {
                    log(
                        shard,
                        connection,
                        listen,
                        Level::Info,
                        "client timed out (110: Connection timed out)",
                    );
                    return None;
                };
                buffer = back;
                if !matches!(got, Ok(1..)) {
                    log(shard, connection, listen, Level::Info, "client closed connection");
                    return None;
                }
            }
            Err(fault) => {
                log(shard, connection, listen, Level::Error, &fault.explain(buffer.filled()));
                return None;
            }
        }
    }
}

/// Writes a line with nginx's facts behind it: there is no request yet.
fn log(shard: &Rc<Shard>, connection: &Connection, listen: &Address, level: Level, message: &str) {
    log_while(shard, connection, listen, level, message, "reading PROXY protocol");
}

/// The same, saying what was being done.
pub(super) fn log_while(
    shard: &Rc<Shard>,
    connection: &Connection,
    listen: &Address,
    level: Level,
    message: &str,
    action: &str,
) {
    let generation = shard.generation();
    let site = generation.plan.listens.iter().position(|known| known.address == *listen);
    let log = match site {
        Some(site) => &generation.here(first_server(&generation, site, &connection.local)).error_log,
        None => &generation.error_log,
    };
    let mut client = Vec::new();
    push_peer(&mut client, connection.accepted_from);
    let client = String::from_utf8_lossy(&client);
    let line = one_line(format!("{message} while {action}, client: {client}, server: {listen}"));
    log.write(level, Some(connection.number), format_args!("{line}"));
}
