//! An answer on a stream of HTTP/2: what `deliver.rs` does for HTTP/1, but for the framing, which is h2's.

use super::deliver::{Broken, Coding, Sink, drop_upstream, pass};
use super::filtered::Filtered;
use super::generation::Generation;
use super::head;
use crate::base::process_settings::Level;
use crate::http::status;
use crate::net::h2::{Fields, H2Answer};
use crate::pipeline::answer::Body;
use crate::pipeline::exchange::Exchange;
use std::rc::Rc;

/// Sends head, body and trailers.
pub(super) async fn send(
    g: &Rc<Generation>,
    x: &mut Exchange,
    sink: &mut Sink<'_>,
    answer: &Rc<H2Answer>,
    body: Body,
    coding: Coding,
    filters: Option<Box<Filtered>>,
) -> Result<(), Broken> {
    answer.set_chunk(x.here.settings.http2_chunk_bytes);
    let fields = head::fields(x);
    let head_len = fields.bytes();
    let nothing = filters.is_none() && x.answer.length == Some(0) && !x.answer.expect_trailers;
    let is_all = coding == Coding::None || nothing && !matches!(body, Body::Upstream);
    if !answer.send_head(status::sent(x.answer.status), fields, is_all) {
        x.log(Level::Info, format_args!("client closed stream while sending to client"));
        return Err(Broken::Client { reset: false });
    }
    x.bytes_sent += head_len;
    if is_all {
        drop_upstream(x);
        return Ok(());
    }
    let outcome = match pass(g, x, sink, body, filters).await {
        Ok(()) => end(x, sink, answer).await,
        Err(Broken::Source) => {
            let _ = sink.flush(x).await;
            Err(Broken::Source)
        }
        broken => broken,
    };
    x.body_bytes_sent = x.bytes_sent.saturating_sub(head_len);
    outcome
}

/// Ends a stream: with its last bytes, else with the fields behind them.
async fn end(x: &mut Exchange, sink: &mut Sink<'_>, answer: &Rc<H2Answer>) -> Result<(), Broken> {
    let here = x.here.clone();
    for filter in &here.settings.trailer_filters {
        filter.filter(x);
    }
    let mut trailers = Fields::default();
    for (name, value, _) in x.answer.trailers.iter() {
        trailers.push(name, value);
    }
    if trailers.bytes() == 0 && sink.pace.is_none() {
        answer.end_with_next();
    }
    sink.flush(x).await?;
    if answer.finish(trailers) { Ok(()) } else { Err(Broken::Client { reset: false }) }
}
