//! The answer: its status, what was sent of it, and the fields of its head, those included that are
//! only written when it is sent.

use super::fields::join_named;
use crate::http::Version;
use crate::pipeline::connection::push_decimal;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::pace;

/// What nginx shows for an HTTP/0.9 request that has no status yet.
const HTTP09_STATUS: u16 = 9;

pub(super) fn status(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    let status = match (x.answer.status, x.error_status) {
        // An error page has the status of its error, whatever made it.
        (_, Some(status)) => status,
        (0, None) if x.version() == Version::Http09 => HTTP09_STATUS,
        (status, _) => status,
    };
    push_status(status, out);
    true
}

/// At least three digits: `000` while there is no answer.
fn push_status(status: u16, out: &mut Vec<u8>) {
    if status < 100 {
        out.extend_from_slice(if status < 10 { b"00" } else { b"0" });
    }
    push_decimal(out, u64::from(status));
}

pub(super) fn bytes_sent(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    push_decimal(out, x.bytes_sent);
    true
}

pub(super) fn body_bytes_sent(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    push_decimal(out, x.body_bytes_sent);
    true
}

pub(super) fn limit_rate(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    push_decimal(out, pace::client_rate(x));
    true
}

pub(super) fn completion(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    if x.completed {
        out.extend_from_slice(b"OK");
    }
    true
}

pub(super) fn content_type(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(&x.answer.content_type);
    !x.answer.content_type.is_empty()
}

pub(super) fn content_length(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    match x.answer.length {
        Some(bytes) => {
            push_decimal(out, bytes);
            true
        }
        None => false,
    }
}

pub(super) fn connection(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(match (x.answer.status, x.keep_alive) {
        (101, _) => b"upgrade",
        (_, true) => b"keep-alive",
        (_, false) => b"close",
    });
    true
}

pub(super) fn keep_alive(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    match x.here.settings.keepalive_header_s {
        Some(seconds) if x.keep_alive && seconds > 0 => {
            out.extend_from_slice(b"timeout=");
            push_decimal(out, seconds);
            true
        }
        _ => false,
    }
}

/// `chunked` where the body's length is not known and the client understands it.
pub(super) fn transfer_encoding(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    let has_body = x.answer.status >= 200 && !matches!(x.answer.status, 204 | 304) && !x.is_head();
    let chunked = has_body
        && x.answer.length.is_none()
        && x.version() == Version::Http11
        && x.here.settings.chunked_transfer_encoding;
    if chunked {
        out.extend_from_slice(b"chunked");
    }
    chunked
}

pub(super) fn field(x: &Exchange, name: &str, out: &mut Vec<u8>) -> bool {
    join_named(x.answer.fields.iter(), name, out)
}

pub(super) fn trailer(x: &Exchange, name: &str, out: &mut Vec<u8>) -> bool {
    join_named(x.answer.trailers.iter(), name, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_three_digits() {
        let mut out = Vec::new();
        for status in [0, 9, 42, 200, 499] {
            push_status(status, &mut out);
            out.push(b' ');
        }
        assert_eq!(out, b"000 009 042 200 499 ");
    }
}
