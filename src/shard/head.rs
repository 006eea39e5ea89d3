//! The head of an answer on the wire, its fields in nginx's order.

use super::deliver::Coding;
use crate::base::clock;
use crate::http::{Known, date, status};
use crate::net::h2::Fields;
use crate::pipeline::connection::{decimal, push_decimal};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::settings::ServerTokens;
use std::cell::Cell;

thread_local! {
    /// The second shown last, and its text.
    static DATE: Cell<(u64, [u8; 29])> = const { Cell::new((0, [0; 29])) };
}

/// The current date as `Date` shows it; formatted once a second and thread.
pub fn current_date() -> [u8; 29] {
    let now = clock::unix_time(clock::now()).as_secs();
    let (second, text) = DATE.get();
    if second == now {
        return text;
    }
    let text = date::http(now as i64);
    DATE.set((now, text));
    text
}

/// Appends the head to `out`.
pub(super) fn write(x: &Exchange, coding: Coding, out: &mut Vec<u8>) {
    let answer = &x.answer;
    let code = status::sent(answer.status);
    out.extend_from_slice(b"HTTP/1.1 ");
    push_decimal(out, u64::from(code));
    out.push(b' ');
    if answer.reason.is_empty() {
        out.extend_from_slice(status::reason(code).unwrap_or_default().as_bytes());
    } else {
        out.extend_from_slice(&answer.reason);
    }
    out.extend_from_slice(b"\r\n");
    front(x, coding, |name, value| field(out, name, value));
    if coding == Coding::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    write_connection(x, out);
    rest(x, |name, value| field(out, name, value));
    out.extend_from_slice(b"\r\n");
}

/// The same as fields of HTTP/2.
pub(super) fn fields(x: &Exchange) -> Fields {
    let mut fields = Fields::default();
    front(x, Coding::Stream, |name, value| fields.push(name, value));
    rest(x, |name, value| fields.push(name, value));
    fields
}

/// The fields before those about the connection.
#[inline]
fn front(x: &Exchange, coding: Coding, mut put: impl FnMut(&[u8], &[u8])) {
    let answer = &x.answer;
    if answer.fields.find(Known::Server).is_none() && !answer.hides_server {
        let token = match x.here.settings.server_tokens {
            ServerTokens::Off => crate::SERVER,
            ServerTokens::On | ServerTokens::Build => crate::SERVER_VERSION,
        };
        put(b"Server", token.as_bytes());
    }
    if answer.fields.find(Known::Date).is_none() {
        put(b"Date", &current_date());
    }
    if !answer.content_type.is_empty() {
        put(b"Content-Type", &answer.content_type);
    }
    if let (Some(length), false) = (answer.length, coding == Coding::Chunked) {
        let mut room = [0u8; 20];
        put(b"Content-Length", decimal(length, &mut room));
    }
    for known in [Known::LastModified, Known::Location] {
        if let Some(value) = answer.fields.find(known) {
            let name: &[u8] = if known == Known::Location { b"Location" } else { b"Last-Modified" };
            put(name, value);
        }
    }
}

/// Those behind them.
#[inline]
fn rest(x: &Exchange, mut put: impl FnMut(&[u8], &[u8])) {
    for (name, value, known) in x.answer.fields.iter() {
        if !matches!(known, Known::LastModified | Known::Location) {
            put(name, value);
        }
    }
}

/// What the client is told about the connection's future.
fn write_connection(x: &Exchange, out: &mut Vec<u8>) {
    if x.answer.status == 101 {
        out.extend_from_slice(b"Connection: upgrade\r\n");
    } else if x.keep_alive {
        out.extend_from_slice(b"Connection: keep-alive\r\n");
        if let Some(seconds) = x.here.settings.keepalive_header_s.filter(|s| *s > 0) {
            out.extend_from_slice(b"Keep-Alive: timeout=");
            push_decimal(out, seconds);
            out.extend_from_slice(b"\r\n");
        }
    } else {
        out.extend_from_slice(b"Connection: close\r\n");
    }
}

pub(super) fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
