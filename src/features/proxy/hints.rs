//! `early_hints`: an upstream's 103 (RFC 8297) is passed on while its answer is still awaited.

use super::settings::ProxySettings;
use crate::base::buffer::Buffer;
use crate::base::process_settings::Level;
use crate::conf::{Diagnostic, Scope};
use crate::http::{Known, Version};
use crate::net::error_log::OsError;
use crate::net::h2::Fields;
use crate::pipeline::body::Source;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::template::Template;
use crate::plan::builder::Builder;
use std::time::Instant;

/// Fields that concern one connection only, or would say where a body ends that is not there.
const DROPPED: u64 = Known::Connection.bit()
    | Known::KeepAlive.bit()
    | Known::ProxyConnection.bit()
    | Known::Upgrade.bit()
    | Known::TransferEncoding.bit()
    | Known::ContentLength.bit()
    | Known::Trailer.bit();

/// `early_hints`.
///
/// # Errors
/// A malformed variable.
pub fn compile(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<Vec<Template>, Diagnostic> {
    scope
        .all("early_hints")
        .iter()
        .flat_map(|directive| &directive.args)
        .map(|word| b.template(word))
        .collect()
}

/// Whether hints are passed on: one of the values is neither empty nor `0`.
fn wanted(settings: &ProxySettings, x: &Exchange) -> bool {
    settings.early_hints.iter().any(|template| {
        let value = template.value(x);
        !value.is_empty() && value != b"0"
    })
}

/// Those of its fields that are passed on over HTTP/2.
fn fields(settings: &ProxySettings, x: &Exchange, input: &Buffer) -> Fields {
    let mut fields = Fields::default();
    for field in &x.upstream_head.fields.list {
        let name = field.name.of(input.filled());
        if field.known.bit() & DROPPED == 0 && !settings.hidden.contains(field.known, name) {
            fields.push(name, field.value.of(input.filled()));
        }
    }
    fields
}

/// Passes the 103 in `x.upstream_head` on, whose bytes are in `input`. False if the client is gone.
pub async fn pass(settings: &ProxySettings, x: &mut Exchange, input: &Buffer) -> bool {
    if x.depth > 0 || x.version() < Version::Http11 || !wanted(settings, x) {
        return true;
    }
    if let Source::H2(body) = &x.source {
        let fields = fields(settings, x, input);
        // Once the head is sent there are no hints any more; nor is there anything to do about it.
        return fields.bytes() == 0 || body.answer().send_interim(103, fields) || !body.answer().is_gone();
    }
    let Some(client) = x.connection.client().filter(|_| !x.connection.http2.get()) else {
        return x.connection.http2.get();
    };
    let mut text = Vec::with_capacity(x.upstream_head.len);
    for field in &x.upstream_head.fields.list {
        let name = field.name.of(input.filled());
        if field.known.bit() & DROPPED != 0 || settings.hidden.contains(field.known, name) {
            continue;
        }
        text.extend_from_slice(name);
        text.extend_from_slice(b": ");
        text.extend_from_slice(field.value.of(input.filled()));
        text.extend_from_slice(b"\r\n");
    }
    if text.is_empty() {
        return true;
    }
    let line = b"HTTP/1.1 103 Early Hints\r\n";
    let mut out = Buffer::with_capacity(line.len() + text.len() + 2);
    out.append(line);
    out.append(&text);
    out.append(b"\r\n");
    let bytes = out.len() as u64;
    let deadline = Instant::now() + x.here.settings.send_timeout;
    match x.alarm.within(deadline, client.write_all(out)).await {
        Ok((Ok(()), _)) => {
            x.bytes_sent += bytes;
            true
        }
        Ok((Err(e), _)) => {
            x.log(Level::Info, format_args!("send() failed {} while sending to client", OsError(&e)));
            false
        }
        Err(_) => {
            x.log(
                Level::Info,
                format_args!("client timed out (110: Connection timed out) while sending to client"),
            );
            false
        }
    }
}
