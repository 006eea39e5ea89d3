//! What the header of the PROXY protocol said of the connection.

use super::connection::push_port;
use crate::base::process_settings::Level;
use crate::http::proxy_protocol::{Header, Tlv, TlvFault};
use crate::pipeline::connection::push_decimal;
use crate::pipeline::exchange::Exchange;

/// Appends a part of the header; false where there was none.
fn part(x: &Exchange, out: &mut Vec<u8>, write: impl FnOnce(&Header, &mut Vec<u8>) -> bool) -> bool {
    x.connection.proxied.get().is_some_and(|header| write(header, out))
}

fn push(text: &[u8], out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(text);
    true
}

pub(super) fn source(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    part(x, out, |header, out| push(header.source.as_bytes(), out))
}

pub(super) fn source_port(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    part(x, out, |header, out| push_port(header.source_port, out))
}

pub(super) fn destination(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    part(x, out, |header, out| push(header.destination.as_bytes(), out))
}

pub(super) fn destination_port(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    part(x, out, |header, out| push_port(header.destination_port, out))
}

pub(super) fn tlv(x: &Exchange, name: &str, out: &mut Vec<u8>) -> bool {
    let Some(header) = x.connection.proxied.get() else { return false };
    let wrong = |message: std::fmt::Arguments<'_>| x.log(Level::Error, message);
    match header.tlv(name) {
        Ok(Some(Tlv::Bytes(bytes))) => out.extend_from_slice(bytes),
        Ok(Some(Tlv::Number(number))) => push_decimal(out, u64::from(number)),
        Ok(None) => return false,
        Err(fault) => {
            match fault {
                TlvFault::Invalid => wrong(format_args!("invalid PROXY protocol TLV \"{name}\"")),
                TlvFault::Unknown => wrong(format_args!("unknown PROXY protocol TLV \"{name}\"")),
                TlvFault::Broken => wrong(format_args!("broken PROXY protocol TLV")),
            }
            return false;
        }
    }
    true
}
