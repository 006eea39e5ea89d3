//! After 101: bytes go both ways until both sides have ended, or nothing moves for too long.

use super::deliver::{Coding, Sent};
use super::head;
use crate::base::buffer::Buffer;
use crate::base::clock;
use crate::net::deadline::{Alarm, both};
use crate::net::stream::Stream;
use crate::pipeline::body::Source;
use crate::pipeline::connection::{Connection, Life};
use crate::pipeline::exchange::Exchange;
use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

/// Sends the head and relays.
pub async fn run(x: &mut Exchange, client: &Stream) -> Sent {
    let Some(upstream) = x.upstream_body.take() else { return Sent::Cut { reset: false } };
    x.keep_alive = false;
    x.connection.set_nodelay(client);
    let timeout = upstream.timeout();
    let Some((server, from_server, hold)) = upstream.into_tunnel() else { return Sent::Cut { reset: false } };
    let mut text = std::mem::take(&mut x.scratch);
    text.clear();
    head::write(x, Coding::None, &mut text);
    let head_len = text.len() as u64;
    let mut out = Buffer::with_capacity(text.len() + from_server.len());
    out.append(&text);
    out.append(from_server.filled());
    x.scratch = text;
    let first = out.len() as u64;
    let deadline = clock::now() + x.here.settings.send_timeout;
    match x.alarm.within(deadline, client.write_all(out)).await {
        Ok((Ok(()), _)) => x.bytes_sent += first,
        _ => return Sent::Cut { reset: false },
    }
    let from_client = match std::mem::replace(&mut x.source, Source::None) {
        Source::H1(body) => body.into_parts().1,
        Source::None | Source::H2(_) => Buffer::default(),
    };
    let activity = Cell::new(clock::now());
    let (up, down) = (x.passing.tunnel_send_timeout.unwrap_or(timeout), x.here.settings.send_timeout);
    let (up, down) = both(
        pump(client, &server, from_client, (timeout, up), &activity, &x.connection),
        pump(&server, client, Buffer::default(), (timeout, down), &activity, &x.connection),
    )
    .await;
    if let Some(attempt) = x.upstream.last_mut() {
        attempt.bytes_sent += up;
        attempt.bytes_received += down + from_server.len() as u64;
        attempt.response_length += down + from_server.len() as u64;
        attempt.response_ms.get_or_insert(attempt.started.elapsed().as_millis() as u64);
    }
    x.bytes_sent += down;
    x.body_bytes_sent = x.bytes_sent - head_len;
    drop(hold);
    Sent::All
}

/// Reads what is there of a session. What has come may be a piece of a record, or nothing for a reader: a
/// read that waits for the rest would not know of the other direction.
fn read_now(from: &Stream) -> (io::Result<usize>, Buffer) {
    let mut buffer = Buffer::ordinary();
    let read = from.read_now(&mut buffer);
    (read, buffer)
}

/// Copies one direction until its end, and passes the end on. The wait takes no buffer; silence in
/// both directions for `silence` ends it, and so does a side that takes nothing for `sending`. Returns the bytes copied.
async fn pump(
    from: &Stream,
    to: &Stream,
    ahead: Buffer,
    (silence, sending): (Duration, Duration),
    activity: &Cell<Instant>,
    connection: &Connection,
) -> u64 {
    let mut copied = 0;
    let mut alarm = Alarm::new(clock::now() + silence);
    let mut buffer = ahead;
    loop {
        if !buffer.is_empty() {
            let bytes = buffer.len() as u64;
            match alarm.within(clock::now() + sending, to.write_all(buffer)).await {
                Ok((Ok(()), _)) => copied += bytes,
                _ => break,
            }
            activity.set(clock::now());
        }
        if alarm.within(activity.get() + silence, from.readable()).await.is_err() {
            if activity.get().elapsed() < silence {
                buffer = Buffer::default();
                continue;
            }
            break;
        }
        let (read, back) = match from.is_encrypted() {
            true => read_now(from),
            false => from.read(Buffer::ordinary()).await,
        };
        match read {
            Ok(n) if n > 0 => {
                activity.set(clock::now());
                buffer = back;
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => buffer = Buffer::default(),
            _ if connection.life.get() == Life::Goes => {
                to.shutdown_write();
                return copied;
            }
            _ => break,
        }
    }
    // A broken or silent direction ends the other one too.
    from.end_reading();
    to.end_reading();
    to.shutdown_write();
    copied
}
