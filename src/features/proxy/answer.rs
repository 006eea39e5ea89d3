//! The upstream's head becomes the answer's.

use super::settings::ProxySettings;
use crate::http::{BodyFraming, Known};
use crate::net::h1_body::Frame;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::redirect;

/// Fills `x.answer` from the head in `x.upstream_head`, whose bytes are in `x.upstream_input`.
pub fn fill(settings: &ProxySettings, x: &mut Exchange, framing: BodyFraming) {
    let redirects: Vec<(Vec<u8>, Vec<u8>)> = if x.upstream_head.fields.has(Known::Location) {
        settings.redirects.iter().map(|(from, to)| (from.value(x), to.value(x))).collect()
    } else {
        Vec::new()
    };
    let rewritten = rewritten_location(x, &redirects);
    let Exchange { answer, upstream_head: head, upstream_input, .. } = x;
    let buffer = upstream_input.filled();
    answer.clear();
    answer.status = head.status;
    answer.reason.extend_from_slice(head.reason.of(buffer));
    answer.length = match framing {
        BodyFraming::Length(length) => Some(length),
        // An answer to HEAD, or a 304, tells the length of what is not there.
        BodyFraming::None => head.length,
        BodyFraming::Chunked | BodyFraming::UntilClose => None,
    };
    for field in &head.fields.list {
        let (name, value) = (field.name.of(buffer), field.value.of(buffer));
        match field.known {
            Known::Connection
            | Known::KeepAlive
            | Known::TransferEncoding
            | Known::ContentLength
            | Known::Upgrade => continue,
            known if settings.hidden.contains(known, name) => continue,
            Known::ContentType => {
                answer.content_type.clear();
                answer.content_type.extend_from_slice(value);
            }
            Known::Location => {
                answer.fields.push_known(Known::Location, name, rewritten.as_deref().unwrap_or(value));
            }
            known => answer.fields.push_known(known, name, value),
        }
    }
    if head.status == 101 {
        if let Some(field) = head.fields.find(Known::Upgrade) {
            answer.fields.push_known(Known::Upgrade, b"Upgrade", field.value.of(buffer));
        }
    }
}

/// What `proxy_redirect` makes of `Location`; a path becomes absolute as those made here do.
fn rewritten_location(x: &Exchange, redirects: &[(Vec<u8>, Vec<u8>)]) -> Option<Vec<u8>> {
    let field = x.upstream_head.fields.find(Known::Location)?;
    let value = field.value.of(x.upstream_input.filled());
    let (from, to) = redirects.iter().find(|(from, _)| value.starts_with(from))?;
    let mut rewritten = Vec::new();
    redirect::location(x, &[to.as_slice(), &value[from.len()..]].concat(), &mut rewritten);
    Some(rewritten)
}

/// The reader's view of the framing.
pub fn frame(framing: BodyFraming) -> Frame {
    match framing {
        BodyFraming::None => Frame::None,
        BodyFraming::Length(length) => Frame::Length(length),
        BodyFraming::Chunked => Frame::Chunked,
        BodyFraming::UntilClose => Frame::UntilClose,
    }
}
