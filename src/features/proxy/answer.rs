//! The upstream's head becomes the answer's.

use super::rewrites;
use super::settings::ProxySettings;
use crate::http::{BodyFraming, Known};
use crate::net::h1_body::Frame;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::redirect;

/// Fills `x.answer` from the head in `x.upstream_head`, whose bytes are in `x.upstream_input`. Fields
/// that an earlier `X-Accel-Redirect` took along stay.
pub fn fill(settings: &ProxySettings, x: &mut Exchange, framing: BodyFraming) {
    let mut location = rewritten_location(settings, x);
    let mut refresh = rewritten_refresh(settings, x);
    let mut cookies = rewritten_cookies(settings, x).into_iter();
    let (head_asked, forced) = (x.is_head(), settings.force_ranges);
    let Exchange { answer, upstream_head: head, upstream_input, .. } = x;
    let buffer = upstream_input.filled();
    answer.status = head.status;
    answer.reason.clear();
    answer.reason.extend_from_slice(head.reason.of(buffer));
    answer.fields.remove(Known::Location);
    answer.length = match framing {
        BodyFraming::Length(length) => Some(length),
        // An answer to HEAD, or a 304, tells the length of what is not there. HEAD may be what
        // `proxy_method` made of a client's GET, who would wait for so many bytes.
        BodyFraming::None if !head_asked && head.status >= 200 && !matches!(head.status, 204 | 304) => {
            Some(0)
        }
        BodyFraming::None => head.length,
        BodyFraming::Chunked | BodyFraming::UntilClose => None,
    };
    for field in &head.fields.list {
        let (name, value) = (field.name.of(buffer), field.value.of(buffer));
        let rewritten = match field.known {
            Known::Connection | Known::KeepAlive | Known::TransferEncoding | Known::ContentLength => continue,
            // The order of cookies is that of their rewritten values, hidden or not.
            Known::SetCookie => cookies.next().flatten(),
            Known::Location => location.take(),
            Known::Refresh => refresh.take(),
            _ => None,
        };
        match field.known {
            known if settings.hidden.contains(known, name) => {}
            Known::AcceptRanges if forced => {}
            Known::ContentType => {
                answer.content_type.clear();
                answer.content_type.extend_from_slice(value);
            }
            known => match rewritten {
                Some(rewritten) => answer.fields.push_with(name, |out| out.extend_from_slice(&rewritten)),
                None => answer.fields.push_known(known, name, value),
            },
        }
    }
}

/// A field of the upstream's answer in memory of its own.
fn value(x: &Exchange, known: Known) -> Option<Vec<u8>> {
    let field = x.upstream_head.fields.find(known)?;
    Some(field.value.of(x.upstream_input.filled()).to_vec())
}

/// What `proxy_redirect` makes of `Location`; a path becomes absolute as those made here do.
fn rewritten_location(settings: &ProxySettings, x: &mut Exchange) -> Option<Vec<u8>> {
    if settings.redirects.is_empty() {
        return None;
    }
    let mut value = value(x, Known::Location)?;
    if !rewrites::apply(&settings.redirects, x, &mut value, 0) {
        return None;
    }
    let mut absolute = Vec::with_capacity(value.len() + 64);
    redirect::location(x, &value, &mut absolute);
    Some(absolute)
}

/// What `proxy_redirect` makes of the URL in `Refresh`.
fn rewritten_refresh(settings: &ProxySettings, x: &mut Exchange) -> Option<Vec<u8>> {
    const URL: &[u8] = b"url=";
    if settings.redirects.is_empty() {
        return None;
    }
    let mut value = value(x, Known::Refresh)?;
    let at = value.windows(URL.len()).position(|window| window.eq_ignore_ascii_case(URL))?;
    rewrites::apply(&settings.redirects, x, &mut value, at + URL.len()).then_some(value)
}

/// What `proxy_cookie_*` make of each `Set-Cookie`, in order; `None` for one that stays as it is. The
/// list is empty where no directive asks for it.
pub fn rewritten_cookies(settings: &ProxySettings, x: &mut Exchange) -> Vec<Option<Vec<u8>>> {
    if settings.cookies.is_empty() {
        return Vec::new();
    }
    let buffer = x.upstream_input.filled();
    let fields = x.upstream_head.fields.all(Known::SetCookie);
    let values: Vec<Vec<u8>> = fields.map(|field| field.value.of(buffer).to_vec()).collect();
    values.into_iter().map(|value| settings.cookies.rewrite(x, &value)).collect()
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
