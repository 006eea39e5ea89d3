//! The head of the request to the upstream.

use super::settings::{ProxySettings, Target};
use crate::http::uri::{Escape, escape};
use crate::http::{Field, Framing, Method};
use crate::pipeline::body::RequestBody;
use crate::pipeline::connection::push_decimal;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::veil;

/// What a variable target came to for this request.
pub struct Resolved {
    /// The URI part; `None` passes the client's on.
    pub uri: Option<Vec<u8>>,
}

/// What of the request the configuration decides and not the client.
pub struct Outgoing {
    /// The method, by which the answer's framing is judged.
    pub method: Method,
    /// Its text, if `proxy_method` says it.
    method_text: Option<Vec<u8>>,
    /// The body that is sent instead of the client's: `proxy_set_body`, or none at all.
    pub body: Option<RequestBody>,
    /// The length of that body is told.
    announced: bool,
}

impl Outgoing {
    /// What the settings make of this request; `None` if the method is none.
    pub fn of(settings: &ProxySettings, x: &Exchange) -> Option<Outgoing> {
        let method_text = settings.method.as_ref().map(|template| template.value(x));
        // A value made of variables could hold a space or a line end.
        if method_text.as_deref().is_some_and(|text| !is_token(text)) {
            return None;
        }
        let method = method_text.as_deref().map_or(x.method(), Method::of);
        let text = settings.body.as_ref().map(|template| template.value(x));
        let announced = text.is_some();
        let body = match text {
            Some(text) => Some(RequestBody::Memory(text)),
            None if !settings.pass_body => Some(RequestBody::Memory(Vec::new())),
            None => None,
        };
        Some(Outgoing { method, method_text, body, announced })
    }
}

/// Whether it is a token (RFC 9110, 5.6.2).
fn is_token(text: &[u8]) -> bool {
    !text.is_empty()
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// Appends the head to `out`. False when it would have no path.
pub fn write(
    settings: &ProxySettings,
    x: &Exchange,
    outgoing: &Outgoing,
    resolved: Option<&Resolved>,
    out: &mut Vec<u8>,
) -> bool {
    out.extend_from_slice(outgoing.method_text.as_deref().unwrap_or(x.method_text()));
    out.push(b' ');
    let before = out.len();
    write_uri(settings, x, resolved, out);
    if out.len() == before {
        return false;
    }
    out.extend_from_slice(if settings.http11 { b" HTTP/1.1\r\n" } else { b" HTTP/1.0\r\n" });
    write_host(settings, x, out);
    for (name, value) in &settings.headers {
        let start = out.len();
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        let value_at = out.len();
        value.write(x, out);
        if out.len() == value_at {
            out.truncate(start);
            continue;
        }
        sanitise(&mut out[value_at..]);
        out.extend_from_slice(b"\r\n");
    }
    if !settings.own_length {
        write_framing(x, outgoing, out);
    }
    let buffer = x.input.filled();
    let passed: &[Field] = if settings.pass_headers { &x.head.fields.list } else { &[] };
    for field in passed {
        let name = field.name.of(buffer);
        if field.hidden || settings.suppressed.contains(field.known, name) {
            continue;
        }
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(field.value.of(buffer));
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    true
}

/// A value made of variables could hold a line end, which would begin another field: it becomes
/// spaces.
fn sanitise(value: &mut [u8]) {
    for byte in value {
        if matches!(byte, b'\r' | b'\n' | 0) {
            *byte = b' ';
        }
    }
}

fn write_uri(settings: &ProxySettings, x: &Exchange, resolved: Option<&Resolved>, out: &mut Vec<u8>) {
    let (uri, replaced) = match (&settings.target, resolved) {
        (Target::Fixed { uri, replaced, .. }, _) => (uri.as_deref(), *replaced),
        (Target::Variable { .. }, resolved) => {
            if let Some(uri) = resolved.and_then(|resolved| resolved.uri.as_deref()) {
                out.extend_from_slice(uri);
                return;
            }
            (None, 0)
        }
    };
    if uri.is_none() && x.uri_is_original {
        veil::push_passed(x, x.raw_target(), false, out);
        return;
    }
    // The location's name is replaced, unless `rewrite` has changed the path since it was found by it.
    let (uri, replaced) = match uri {
        Some(uri) if x.uri_is_located => (uri, replaced.min(x.uri.len())),
        _ => (&[][..], 0),
    };
    out.extend_from_slice(uri);
    let rest = &x.uri[replaced..];
    if x.uri_is_quoted || x.internal {
        escape(Escape::Uri, rest, out);
    } else {
        out.extend_from_slice(rest);
    }
    if !x.args.is_empty() {
        let mark = out.len();
        out.push(b'?');
        veil::push_passed(x, &x.args, true, out);
        if out.len() == mark + 1 {
            out.truncate(mark);
        }
    }
}

fn write_host(settings: &ProxySettings, x: &Exchange, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(b"Host: ");
    let value_at = out.len();
    if let Some(host) = &settings.host {
        host.write(x, out);
        sanitise(&mut out[value_at..]);
    }
    if out.len() == value_at && (settings.host.is_none() || settings.http11) {
        out.extend_from_slice(&x.proxy_host);
    }
    if out.len() == value_at {
        out.truncate(start);
    } else {
        out.extend_from_slice(b"\r\n");
    }
}

/// How the body is framed: by its length where it is known, else chunked.
fn write_framing(x: &Exchange, outgoing: &Outgoing, out: &mut Vec<u8>) {
    if let Some(body) = &outgoing.body {
        if outgoing.announced {
            out.extend_from_slice(b"Content-Length: ");
            push_decimal(out, body.len().unwrap_or(0));
            out.extend_from_slice(b"\r\n");
        }
        return;
    }
    let length = match (x.body.len(), x.head.framing) {
        (_, Framing::None) => return,
        (Some(kept), _) => Some(kept),
        (None, Framing::Length(length)) => Some(length),
        (None, Framing::Chunked) => None,
    };
    match length {
        Some(length) => {
            out.extend_from_slice(b"Content-Length: ");
            push_decimal(out, length);
            out.extend_from_slice(b"\r\n");
        }
        None => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
}
