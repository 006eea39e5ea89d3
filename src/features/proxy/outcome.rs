//! What becomes of an upstream's answer: it is passed on, replaced by an error page, or leads elsewhere.

use super::settings::ProxySettings;
use super::{accel, answer};
use crate::base::clock;
use crate::http::{Known, Method};
use crate::pipeline::answer::{Answer, Body, Ranges};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::pace;
use crate::pipeline::passing::Passing;
use crate::pipeline::step::Flow;

/// Turns the head in the exchange into the answer, or into what stands in for it.
pub fn finish(settings: &ProxySettings, x: &mut Exchange, method: Method) -> Flow {
    let status = x.upstream_head.status;
    if settings.intercept_errors && status >= INTERCEPTED_FROM && has_error_page(x, status) {
        leave(x);
        return intercepted(x, status);
    }
    accel::limit_rate(settings, x);
    if let Some(flow) = accel::redirect(settings, x) {
        leave(x);
        return flow;
    }
    // The framing was checked when the head arrived.
    let framing = x.upstream_head.framing(method).unwrap_or_default();
    let gathered = accel::is_gathered(settings, x);
    if let Some(body) = x.upstream_body.as_mut().filter(|_| gathered) {
        body.gather();
    }
    answer::fill(settings, x, framing);
    accel::charset(settings, x);
    x.passing = Passing::default();
    x.passing.ignores_client_abort = settings.ignore_client_abort;
    if x.upstream_head.upgrade {
        x.passing.tunnel_send_timeout = Some(settings.send_timeout);
    }
    if gathered {
        x.passing.rate = pace::size(settings.limit_rate.as_ref(), x);
        x.passing.spool = Some(settings.spool);
    }
    if settings.pass_trailers {
        x.passing.trailers_but = Some(settings.hidden.clone());
    }
    // Of an answer that is passed on as it comes there is one part at most.
    x.answer.ranges = if settings.force_ranges { Ranges::One } else { Ranges::No };
    Flow::Answer(Answer::Ready(if x.upstream_head.upgrade { Body::Tunnel } else { Body::Upstream }))
}

/// Statuses from here on are intercepted: those that can have an error page.
const INTERCEPTED_FROM: u16 = 300;

fn has_error_page(x: &Exchange, status: u16) -> bool {
    x.here.settings.error_pages.iter().any(|page| page.statuses.contains(&status))
}

/// The upstream's answer goes no further; its connection is kept if nothing more comes on it.
fn leave(x: &mut Exchange) {
    if let Some(mut body) = x.upstream_body.take() {
        body.settle();
    }
    note(x, x.upstream_head.status);
    x.end_upload();
}

/// The error page's turn; a client that may try again is still told how.
fn intercepted(x: &mut Exchange, status: u16) -> Flow {
    let Exchange { answer, upstream_head: head, upstream_input, .. } = x;
    answer.clear();
    if status == 401 {
        let buffer = upstream_input.filled();
        for field in head.fields.all(Known::WwwAuthenticate) {
            answer.fields.push_known(field.known, field.name.of(buffer), field.value.of(buffer));
        }
    }
    Flow::Answer(Answer::Status(status))
}

/// Notes how the attempt under way ended.
pub fn note(x: &mut Exchange, status: u16) {
    let now = clock::now();
    if let Some(attempt) = x.upstream.last_mut() {
        attempt.status = status;
        attempt.response_ms = Some(attempt.elapsed_ms(now));
    }
}
