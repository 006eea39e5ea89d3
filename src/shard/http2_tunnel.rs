//! A tunnel on a stream of HTTP/2 (RFC 8441): to the upstream the request is an Upgrade of HTTP/1.1, and
//! after its 101 the stream's DATA is what goes through that connection. The end of one side is passed on
//! to the other, and so is a side that breaks off.

use super::deliver::Sent;
use super::head;
use crate::base::base64;
use crate::base::buffer::Buffer;
use crate::base::clock;
use crate::base::process_settings::Level;
use crate::net::deadline::{Alarm, both};
use crate::net::h2::{Fields, H2Answer, H2Body};
use crate::net::stream::Stream;
use crate::pipeline::answer::Body;
use crate::pipeline::body::Source;
use crate::pipeline::exchange::Exchange;
use ahash::RandomState;
use sha1::{Digest, Sha1};
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What a server puts behind a WebSocket's key (RFC 6455, 1.3).
const ACCEPTS: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The status where nobody has switched protocols (RFC 9220, 3): 200 would say that somebody has.
pub(super) const NOT_SWITCHED: u16 = 501;

/// The status for a server that did not understand what it agreed to.
const MISUNDERSTOOD: u16 = 502;

/// A key for a WebSocket (RFC 6455, 4.1): sixteen bytes that nobody can guess, in Base64.
pub(super) fn key() -> Vec<u8> {
    thread_local! {
        static KEYS: (RandomState, Cell<u64>) = (RandomState::new(), const { Cell::new(0) });
    }
    let halves = KEYS.with(|(key, made)| {
        let number = made.get();
        made.set(number.wrapping_add(2));
        [key.hash_one(number), key.hash_one(number.wrapping_add(1))]
    });
    let mut text = Vec::new();
    base64::encode(&[halves[0].to_le_bytes(), halves[1].to_le_bytes()].concat(), &mut text);
    text
}

/// Whether this answer to a request for a tunnel would be taken for one.
pub(super) fn is_mistaken(x: &Exchange, body: &Body) -> bool {
    x.source.is_held() && !matches!(body, Body::Tunnel) && (200..300).contains(&x.answer.status)
}

/// Sends the head and relays.
pub(super) async fn run(x: &mut Exchange, answer: &Rc<H2Answer>) -> Sent {
    let Some(upstream) = x.upstream_body.take() else { return Sent::Cut { reset: false } };
    if !is_accepted(x) {
        let message = "upstream sent invalid \"Sec-WebSocket-Accept\" header while reading response header from upstream";
        x.log(Level::Error, format_args!("{message}"));
        return Sent::Instead(MISUNDERSTOOD);
    }
    let timeout = upstream.timeout();
    let Some((server, from_server, hold)) = upstream.into_tunnel() else { return Sent::Cut { reset: false } };
    let Source::H2(mut body) = std::mem::replace(&mut x.source, Source::None) else {
        return Sent::Cut { reset: false };
    };
    body.release();
    x.answer.status = 200;
    let fields = head::fields(x);
    let head_len = fields.bytes();
    if !answer.send_head(x.answer.status, fields, false) {
        return Sent::Cut { reset: false };
    }
    let activity = Cell::new(clock::now());
    let (up, down) = both(
        upwards(&mut body, &server, timeout, &activity),
        downwards(&server, answer, from_server, timeout, &activity),
    )
    .await;
    // What did not end in order by now does not end in order.
    answer.cancel();
    if let Some(attempt) = x.upstream.last_mut() {
        attempt.bytes_sent += up;
        attempt.bytes_received += down;
        attempt.response_length += down;
        attempt.response_ms.get_or_insert(attempt.started.elapsed().as_millis() as u64);
    }
    x.request_length += up;
    x.bytes_sent += head_len + down;
    x.body_bytes_sent = down;
    drop(hold);
    Sent::All
}

/// Whether the server has agreed to the WebSocket that it was asked for, if it was one.
fn is_accepted(x: &Exchange) -> bool {
    let named = |name: &[u8], wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
    let (asked, told) = (x.input.filled(), x.upstream_input.filled());
    let key = x.head.fields.list.iter().find(|field| named(field.name.of(asked), b"sec-websocket-key"));
    let Some(key) = key else { return true };
    let mut want = Vec::new();
    base64::encode(
        &Sha1::new().chain_update(key.value.of(asked)).chain_update(ACCEPTS).finalize(),
        &mut want,
    );
    let fields = &x.upstream_head.fields.list;
    let accept = fields.iter().find(|field| named(field.name.of(told), b"sec-websocket-accept"));
    accept.is_some_and(|field| field.value.of(told) == want)
}

/// From the client to the server; the bytes that went.
async fn upwards(body: &mut H2Body, server: &Stream, timeout: Duration, activity: &Cell<Instant>) -> u64 {
    let mut copied = 0;
    let mut alarm = Alarm::new(clock::now() + timeout);
    loop {
        if alarm.within(activity.get() + timeout, body.readable()).await.is_err() {
            if activity.get().elapsed() < timeout {
                continue;
            }
            break;
        }
        match body.next(&mut alarm, timeout).await {
            Ok(Some(piece)) => {
                let bytes = piece.len() as u64;
                activity.set(clock::now());
                match alarm.within(clock::now() + timeout, server.write_all(piece)).await {
                    Ok((Ok(()), _)) => copied += bytes,
                    _ => break,
                }
            }
            Ok(None) => {
                server.shutdown_write();
                return copied;
            }
            // The client has broken off, and so the server sees it.
            Err(_) => {
                server.reset_on_close();
                break;
            }
        }
    }
    server.end_reading();
    copied
}

/// From the server to the client; the bytes that went.
async fn downwards(
    server: &Stream,
    answer: &H2Answer,
    ahead: Buffer,
    timeout: Duration,
    activity: &Cell<Instant>,
) -> u64 {
    let mut copied = 0;
    let mut alarm = Alarm::new(clock::now() + timeout);
    let mut buffer = ahead;
    loop {
        while !buffer.is_empty() {
            let Ok((Ok(taken), back)) = alarm.within(clock::now() + timeout, answer.write(buffer)).await
            else {
                server.end_reading();
                answer.cancel();
                return copied;
            };
            activity.set(clock::now());
            copied += taken as u64;
            buffer = back;
            buffer.consume(taken.min(buffer.len()));
        }
        if alarm.within(activity.get() + timeout, server.readable()).await.is_err() {
            if activity.get().elapsed() < timeout {
                continue;
            }
            break;
        }
        let (read, back) = server.read(Buffer::ordinary()).await;
        match read {
            Ok(0) => {
                answer.finish(Fields::default());
                return copied;
            }
            Ok(_) => {
                activity.set(clock::now());
                buffer = back;
            }
            Err(_) => break,
        }
    }
    answer.cancel();
    copied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sixteen_bytes_and_differ() {
        let keys: std::collections::HashSet<Vec<u8>> = (0..1000).map(|_| key()).collect();
        assert_eq!(keys.len(), 1000);
        for key in keys {
            let mut bytes = Vec::new();
            assert!(base64::decode(&key, &mut bytes));
            assert_eq!(bytes.len(), 16);
        }
    }
}
