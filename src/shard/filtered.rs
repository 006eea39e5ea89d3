//! Bodies that pass through filters on their way to the client.
//!
//! ```text
//! the answer put before ─ its own filters ──────────────┐
//! the body ─ Unpack ─ Replace ─ Charset ────────────────┼─ Pack ─ Sink
//! the answer put behind ─ its own filters ──────────────┘
//! ```
//!
//! Each stage works on one piece at a time, and the next piece is read when the client has taken what
//! became of the one before: a body of any length costs bounded memory.

use super::deliver::{Broken, Sink, end_attempt, front, log_fault, take_trailers};
use super::generation::Generation;
use super::spool;
use super::walk;
use crate::base::buffer::Buffer;
use crate::base::clock;
use crate::base::process_settings::Level;
use crate::net::deadline::sleep;
use crate::net::file::FileRange;
use crate::pipeline::answer::{Answer, Body};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::filter::{Around, Ask, Begun, Chain, Fault, Stage};
use crate::pipeline::pace::Pace;
use crate::pipeline::step::Subrequest;
use crate::pipeline::type_set::split_charset;
use crate::pipeline::upload::alongside;
use std::rc::Rc;

/// Bytes of an answer in memory that are put into a chain at once: a buffer's worth.
const PIECE_BYTES: usize = crate::base::limits::BUFFER_BYTES;

/// The filters that apply to one answer.
#[derive(Default)]
pub(super) struct Filtered {
    /// What the body itself passes through.
    own: Chain,
    /// What it passes through together with what is put round it.
    joint: Chain,
    around: Option<Around>,
}

/// Asks the filters of the location whether they apply; none of them does where it returns `None`.
pub(super) fn begin(x: &mut Exchange, body: &Body) -> Option<Box<Filtered>> {
    // The filters want to know it; one that applies makes it unknown again.
    match body {
        Body::Bytes(bytes) => _ = x.answer.length.get_or_insert(bytes.len() as u64),
        Body::None if x.answer.status != 304 => _ = x.answer.length.get_or_insert(0),
        _ => {}
    }
    let mut found = Filtered::default();
    let here = x.here.clone();
    for (stage, filter) in &here.settings.body_filters {
        match filter.begin(x) {
            Begun::Nothing => {}
            Begun::Through(link) => found.own.push(*stage, link),
            Begun::Around(around) => found.around = Some(around),
        }
    }
    if found.around.is_some() {
        found.joint = found.own.split_off(Stage::Pack);
    }
    (found.around.is_some() || !found.own.is_empty()).then(|| Box::new(found))
}

/// Sends a body through its filters.
pub(super) async fn pass(
    g: &Rc<Generation>,
    x: &mut Exchange,
    sink: &mut Sink<'_>,
    body: Body,
    mut filters: Box<Filtered>,
) -> Result<(), Broken> {
    let around = filters.around.take().unwrap_or_default();
    let Filtered { own, joint, .. } = &mut *filters;
    if let Some(path) = &around.before {
        put(g, x, sink, joint, path).await?;
    }
    match x.upload.take() {
        Some(mut upload) => {
            let sent = alongside(main(x, sink, own, joint, body), upload.run()).await;
            x.upload = Some(upload);
            x.end_upload();
            sent?;
        }
        None => main(x, sink, own, joint, body).await?,
    }
    if let Some(path) = &around.after {
        put(g, x, sink, joint, path).await?;
    }
    joint.give(Buffer::default(), Ask::End);
    emit(x, sink, joint).await
}

/// Sends the body itself.
async fn main(
    x: &mut Exchange,
    sink: &mut Sink<'_>,
    own: &mut Chain,
    joint: &mut Chain,
    body: Body,
) -> Result<(), Broken> {
    let mut pieces = Pieces::new(x, body);
    loop {
        let (piece, ask) = pieces.next(x, Some(sink)).await?;
        own.give(piece, ask);
        while let Some((piece, ask)) = out_of(own, x)? {
            joint.give(piece, if ask == Ask::Flush { ask } else { Ask::More });
            emit(x, sink, joint).await?;
        }
        if ask == Ask::End {
            return Ok(());
        }
    }
}

/// Sends the answer to another path as a part of this one.
async fn put(
    g: &Rc<Generation>,
    x: &mut Exchange,
    sink: &mut Sink<'_>,
    joint: &mut Chain,
    path: &[u8],
) -> Result<(), Broken> {
    // As nginx has it, a question mark in it is one of the path.
    let asked = Subrequest { uri: path.to_vec(), args: Vec::new() };
    let (mut sub, answer) = Box::pin(walk::embedded(g, x, asked)).await;
    let outcome = match answer {
        Answer::Ready(body) => part(x, sink, joint, &mut sub, body).await,
        Answer::Status(_) | Answer::Close => Ok(()),
    };
    walk::end_embedded(x, &sub);
    outcome
}

/// Sends the body of such an answer, through the filters of its own location.
async fn part(
    x: &mut Exchange,
    sink: &mut Sink<'_>,
    joint: &mut Chain,
    sub: &mut Exchange,
    body: Body,
) -> Result<(), Broken> {
    let here = sub.here.clone();
    for filter in &here.settings.header_filters {
        filter.filter(sub);
    }
    sub.answer.charset = split_charset(&x.answer.content_type).1.map(<[u8]>::to_vec);
    // An answer that is a part of another one has none round it: only the client's own has.
    let mut own = begin(sub, &body).map(|filters| filters.own).unwrap_or_default();
    let mut pieces = Pieces::new(sub, body);
    loop {
        let (piece, ask) = pieces.next(sub, None).await?;
        own.give(piece, ask);
        while let Some((piece, ask)) = out_of(&mut own, sub)? {
            joint.give(piece, if ask == Ask::Flush { ask } else { Ask::More });
            emit(x, sink, joint).await?;
        }
        if ask == Ask::End {
            return Ok(());
        }
    }
}

/// Sends what comes out of the last filter.
async fn emit(x: &mut Exchange, sink: &mut Sink<'_>, joint: &mut Chain) -> Result<(), Broken> {
    while let Some((piece, ask)) = out_of(joint, x)? {
        if !piece.is_empty() {
            sink.buffer(x, piece).await?;
        }
        if ask == Ask::Flush {
            sink.flush(x).await?;
        }
    }
    Ok(())
}

/// What comes out of a chain. A fault of the body is logged, and cuts the answer.
fn out_of(chain: &mut Chain, x: &mut Exchange) -> Result<Option<(Buffer, Ask)>, Broken> {
    chain.take(x).map_err(|Fault(message)| {
        x.log(Level::Error, format_args!("{message} while sending to client"));
        Broken::Source
    })
}

/// A body, piece by piece.
struct Pieces {
    source: Source,
    /// `proxy_limit_rate`, and how much of it was used.
    pace: Option<Pace>,
    passed: u64,
    /// A piece of which only the front could pass as yet.
    rest: Buffer,
    /// Something was given that no flush has followed.
    unflushed: bool,
}

/// Where it comes from.
enum Source {
    Bytes { bytes: Vec<u8>, at: usize },
    File(FileRange),
    Upstream,
    Done,
}

impl Pieces {
    fn new(x: &Exchange, body: Body) -> Pieces {
        let (source, rate) = match body {
            Body::None | Body::Tunnel => (Source::Done, 0),
            Body::Bytes(bytes) => (Source::Bytes { bytes, at: 0 }, 0),
            Body::File(file) => (Source::File(file), 0),
            Body::Upstream => (Source::Upstream, x.passing.rate),
        };
        let pace = Pace::new(rate, 0, clock::now());
        Pieces { source, pace, passed: 0, rest: Buffer::default(), unflushed: false }
    }

    /// The next piece and what is asked for behind it. A flush comes before a wait for an upstream
    /// that is passed on as it comes.
    /// `sink` is where the client's own answer goes: what of it cannot be sent may wait there.
    async fn next(&mut self, x: &mut Exchange, sink: Option<&mut Sink<'_>>) -> Result<(Buffer, Ask), Broken> {
        if let Some(pace) = self.pace.filter(|_| !self.rest.is_empty()) {
            return Ok(self.paced(pace).await);
        }
        let piece = match &mut self.source {
            Source::Done => None,
            Source::Bytes { bytes, at } => {
                let piece = bytes.get(*at..).unwrap_or_default();
                let piece = &piece[..piece.len().min(PIECE_BYTES)];
                *at += piece.len();
                let mut buffer = Buffer::with_capacity(piece.len());
                buffer.append(piece);
                Some(buffer).filter(|buffer| !buffer.is_empty())
            }
            Source::File(file) => file.next().await.map_err(|e| {
                x.log(
                    Level::Alert,
                    format_args!("reading a file failed while sending response to client ({e})"),
                );
                Broken::Source
            })?,
            Source::Upstream => {
                if self.unflushed && would_wait(x) {
                    self.unflushed = false;
                    return Ok((Buffer::default(), Ask::Flush));
                }
                self.unflushed = true;
                from_upstream(x, sink).await?
            }
        };
        match (piece, self.pace) {
            (None, _) => {
                self.source = Source::Done;
                Ok((Buffer::default(), Ask::End))
            }
            (Some(piece), None) => Ok((piece, Ask::More)),
            (Some(piece), Some(pace)) => {
                self.rest = piece;
                Ok(self.paced(pace).await)
            }
        }
    }

    /// The front of what is there, once some of it may pass.
    async fn paced(&mut self, pace: Pace) -> (Buffer, Ask) {
        loop {
            match pace.allowance(self.passed, clock::now()) {
                Err(wait) => sleep(wait).await,
                Ok(allowed) => {
                    let part = front(&self.rest, allowed);
                    self.rest.consume(part.len());
                    self.passed += part.len() as u64;
                    return (part, Ask::More);
                }
            }
        }
    }
}

/// Whether the upstream has nothing just now, and its parts are passed on as they come.
fn would_wait(x: &Exchange) -> bool {
    x.upstream_body.as_ref().is_some_and(|body| !body.is_gathered() && !body.has_bytes() && !body.is_done())
}

/// The next piece of the upstream's body, as far as it is passed on; `None` at the end.
async fn from_upstream(x: &mut Exchange, mut sink: Option<&mut Sink<'_>>) -> Result<Option<Buffer>, Broken> {
    loop {
        if let Some(sink) = sink.as_mut().filter(|sink| sink.spool.is_some()) {
            // The client turned out to be slower than the upstream.
            return Box::pin(spool::next(x, sink)).await;
        }
        let Exchange { upstream_body: Some(body), alarm, .. } = x else { return Ok(None) };
        if x.passing.is_over() {
            return Ok(None);
        }
        let next = body.next(alarm).await;
        let (done, raw_received) = (body.is_done(), body.raw_received());
        match next {
            Ok(Some(piece)) => {
                if let Some(attempt) = x.upstream.last_mut() {
                    attempt.response_length += piece.len() as u64;
                }
                if let Some(sink) = &mut sink {
                    sink.may_spool = !done && x.passing.spool.is_some();
                }
                let piece = x.passing.cut(piece);
                if done || x.passing.is_over() {
                    end_attempt(x, raw_received);
                }
                if !piece.is_empty() {
                    return Ok(Some(piece));
                }
            }
            Ok(None) => {
                end_attempt(x, raw_received);
                take_trailers(x);
                return Ok(None);
            }
            Err(fault) => {
                end_attempt(x, raw_received);
                log_fault(x, fault);
                return Err(Broken::Source);
            }
        }
    }
}
