//! An answer that its client takes more slowly than the upstream sends it: what comes meanwhile waits in
//! memory and then in a temporary file, so that the upstream's connection is free early.
//!
//! Nothing of this is there until the client has kept an answer waiting for [`SPOOL_AFTER_MS`]. Then
//! the reading becomes a future of its own, which is driven wherever the request waits for its client.

use super::deliver::{Broken, Sink, end_attempt_at, log_fault, take_trailers};
use crate::base::buffer::Buffer;
use crate::base::clock;
use crate::base::limits::SPOOL_AFTER_MS;
use crate::base::process_settings::Level;
use crate::net::deadline::{Alarm, sleep};
use crate::net::error_log::OsError;
use crate::net::h1_body::BodyFault;
use crate::net::temp_file::TempFile;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::pace::Pace;
use crate::pipeline::passing::SpoolRules;
use crate::upstream::client::UpstreamBody;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// For how long a client may keep an answer waiting, all its waits together.
pub(super) const PATIENCE: Duration = Duration::from_millis(SPOOL_AFTER_MS);

/// What waits for the client, and the future that reads more.
pub(super) struct Spool {
    queue: Rc<Queue>,
    reader: Option<Pin<Box<dyn Future<Output = Ended>>>>,
    ended: Option<Ended>,
    /// Bytes of the body that were read before this began.
    received_before: u64,
}

/// The upstream's body when no more is read from it, and why.
type Ended = (UpstreamBody, Result<(), BodyFault>);

/// Why there is no next piece.
enum Stop {
    /// The upstream failed, which is logged by now.
    Upstream,
    /// The temporary file cannot be read.
    File(io::Error),
}

/// The pieces in order: those in memory come before those in the file.
#[derive(Default)]
struct Queue(RefCell<Pieces>);

#[derive(Default)]
struct Pieces {
    memory: VecDeque<Buffer>,
    memory_bytes: usize,
    file: Option<Rc<TempFile>>,
    /// The bytes of the file that wait: from here,
    read: u64,
    /// to here.
    written: u64,
    /// The file could not be made or written: memory has to do.
    file_failed: bool,
    /// Bytes of the body that were read since this began.
    received: u64,
    /// When the last of them came.
    complete_at: Option<Instant>,
    /// What is to be logged.
    notes: Vec<Note>,
}

enum Note {
    /// The answer goes to this file.
    Spilled(String),
    /// It cannot be written.
    Failed(io::Error),
    /// The upstream failed before the end.
    Fault(BodyFault),
}

/// Begins to read ahead; `None` where the location has no place for it or there is nothing to read.
pub(super) fn begin(x: &mut Exchange) -> Option<Box<Spool>> {
    let rules = x.locals.at(x.passing.spool?).clone();
    if x.upstream_body.as_ref().is_none_or(UpstreamBody::is_done) {
        return None;
    }
    let body = x.upstream_body.take()?;
    let queue = Rc::new(Queue::default());
    let pace = Pace::new(x.passing.rate, 0, clock::now());
    let reader = Box::pin(read_ahead(body, queue.clone(), rules, pace));
    let received_before = x.upstream.last_mut().map_or(0, |attempt| attempt.response_length);
    Some(Box::new(Spool { queue, reader: Some(reader), ended: None, received_before }))
}

/// Passes on what waits, and what still comes, to the end of the answer.
pub(super) async fn relay(x: &mut Exchange, sink: &mut Sink<'_>) -> Result<(), Broken> {
    while let Some(piece) = next(x, sink).await? {
        sink.buffer(x, piece).await?;
    }
    Ok(())
}

/// The next piece of the answer, as far as it is passed on; `None` at its end.
pub(super) async fn next(x: &mut Exchange, sink: &mut Sink<'_>) -> Result<Option<Buffer>, Broken> {
    loop {
        let Some(spool) = &mut sink.spool else { return Ok(None) };
        if x.passing.is_over() {
            let received = spool.received().0;
            end_attempt_at(x, received, clock::now());
            return Ok(None);
        }
        let next = spool.next(x).await;
        let (received, complete_at) = spool.received();
        let complete_at = complete_at.unwrap_or_else(clock::now);
        if let Some(attempt) = x.upstream.last_mut() {
            attempt.response_length = received;
        }
        match next {
            Ok(Some(piece)) => {
                let piece = x.passing.cut(piece);
                if !piece.is_empty() {
                    return Ok(Some(piece));
                }
            }
            Ok(None) => {
                if let Some((body, _)) = spool.ended.take() {
                    x.upstream_body = Some(body);
                }
                sink.spool = None;
                sink.may_spool = false;
                let raw_received = x.upstream_body.as_ref().map_or(0, UpstreamBody::raw_received);
                end_attempt_at(x, raw_received, complete_at);
                take_trailers(x);
                return Ok(None);
            }
            Err(Stop::Upstream) => {
                end_attempt_at(x, received, complete_at);
                return Err(Broken::Source);
            }
            Err(Stop::File(error)) => {
                let failed = "reading a temporary file failed";
                x.log(Level::Crit, format_args!("{failed} {} while sending to client", OsError(&error)));
                return Err(Broken::Source);
            }
        }
    }
}

impl Spool {
    /// Whether the upstream still sends.
    pub(super) fn is_fed(&self) -> bool {
        self.reader.is_some()
    }

    /// Drives `main` to its end, and reads ahead as long as there is room.
    pub(super) async fn meanwhile<T>(&mut self, x: &Exchange, main: impl Future<Output = T>) -> T {
        let mut main = pin!(main);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(output) = main.as_mut().poll(cx) {
                return Poll::Ready(output);
            }
            self.read_on(x, cx);
            Poll::Pending
        })
        .await
    }

    /// The next piece that waits, else the next that comes.
    async fn next(&mut self, x: &Exchange) -> Result<Option<Buffer>, Stop> {
        loop {
            if let Some(piece) = self.queue.pop() {
                return Ok(Some(piece));
            }
            if let Some((file, from, to)) = self.queue.in_file() {
                let piece = self.meanwhile(x, file.read_within(from, to)).await.map_err(Stop::File)?;
                self.queue.0.borrow_mut().read += piece.len() as u64;
                return Ok(Some(piece));
            }
            match &self.ended {
                Some((_, Ok(()))) => return Ok(None),
                Some((_, Err(_))) => return Err(Stop::Upstream),
                None => {}
            }
            std::future::poll_fn(|cx| {
                self.read_on(x, cx);
                if self.ended.is_some() || !self.queue.is_empty() { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
    }

    /// Bytes of the body read so far, and when the last of them came if all have.
    fn received(&self) -> (u64, Option<Instant>) {
        let pieces = self.queue.0.borrow();
        (self.received_before + pieces.received, pieces.complete_at)
    }

    fn read_on(&mut self, x: &Exchange, cx: &mut Context<'_>) {
        if let Some(reader) = &mut self.reader
            && let Poll::Ready(ended) = reader.as_mut().poll(cx)
        {
            self.ended = Some(ended);
            self.reader = None;
        }
        for note in self.queue.0.borrow_mut().notes.drain(..) {
            match note {
                Note::Spilled(path) => x.log(
                    Level::Warn,
                    format_args!(
                        "an upstream response is buffered to a temporary file {path} while reading upstream"
                    ),
                ),
                Note::Fault(fault) => {
                    log_fault(x, fault);
                }
                Note::Failed(error) => x.log(
                    Level::Crit,
                    format_args!("a temporary file failed {} while reading upstream", OsError(&error)),
                ),
            }
        }
    }
}

/// Reads the body to its end, as fast as there is room for it and `proxy_limit_rate` allows.
async fn read_ahead(
    mut body: UpstreamBody,
    queue: Rc<Queue>,
    rules: Rc<SpoolRules>,
    pace: Option<Pace>,
) -> Ended {
    let mut alarm = Alarm::new(clock::now() + body.timeout());
    let mut received = 0;
    loop {
        // Whoever takes something out drives this future again before it waits for anything else.
        std::future::poll_fn(|_| if queue.has_room(&rules) { Poll::Ready(()) } else { Poll::Pending }).await;
        while let Some(Err(wait)) = pace.map(|pace| pace.allowance(received, clock::now())) {
            sleep(wait).await;
        }
        match body.next(&mut alarm).await {
            Ok(Some(piece)) => {
                received += piece.len() as u64;
                queue.note_received(received, body.is_done());
                if !queue.takes_memory(&rules) {
                    if let Some(left) = spill(&queue, &rules, piece).await {
                        queue.push(left);
                    }
                } else {
                    queue.push(piece);
                }
            }
            Ok(None) => {
                queue.note_received(received, true);
                return (body, Ok(()));
            }
            Err(fault) => {
                queue.note_received(received, true);
                queue.0.borrow_mut().notes.push(Note::Fault(fault));
                return (body, Err(fault));
            }
        }
    }
}

/// Writes a piece to the file; it comes back if that cannot be done. The order would break if it then
/// went to memory while the file holds what comes before it: so it waits until that was taken.
async fn spill(queue: &Queue, rules: &SpoolRules, piece: Buffer) -> Option<Buffer> {
    match write(queue, rules, piece).await {
        Ok(()) => None,
        Err((error, piece)) => {
            {
                let mut pieces = queue.0.borrow_mut();
                pieces.notes.push(Note::Failed(error));
                pieces.file_failed = true;
            }
            std::future::poll_fn(|_| if queue.in_file().is_none() { Poll::Ready(()) } else { Poll::Pending })
                .await;
            Some(piece)
        }
    }
}

async fn write(queue: &Queue, rules: &SpoolRules, piece: Buffer) -> Result<(), (io::Error, Buffer)> {
    let known = queue.0.borrow().file.clone();
    let file = match known {
        Some(file) => file,
        None => {
            let file = match TempFile::create(&rules.folder).await {
                Ok(file) => Rc::new(file),
                Err(error) => return Err((error, piece)),
            };
            let mut pieces = queue.0.borrow_mut();
            pieces.notes.push(Note::Spilled(file.shown().to_string()));
            pieces.file = Some(file.clone());
            file
        }
    };
    let (at, len) = (queue.start_of_next(), piece.len() as u64);
    file.write_at(at, piece, rules.write_bytes).await?;
    queue.0.borrow_mut().written = at + len;
    Ok(())
}

impl Queue {
    fn push(&self, piece: Buffer) {
        let mut pieces = self.0.borrow_mut();
        pieces.memory_bytes += piece.len();
        pieces.memory.push_back(piece);
    }

    fn pop(&self) -> Option<Buffer> {
        let mut pieces = self.0.borrow_mut();
        let piece = pieces.memory.pop_front()?;
        pieces.memory_bytes -= piece.len();
        Some(piece)
    }

    fn is_empty(&self) -> bool {
        let pieces = self.0.borrow();
        pieces.memory.is_empty() && pieces.read == pieces.written
    }

    /// The file, and the bytes of it that wait.
    fn in_file(&self) -> Option<(Rc<TempFile>, u64, u64)> {
        let pieces = self.0.borrow();
        let file = pieces.file.as_ref().filter(|_| pieces.read < pieces.written)?;
        Some((file.clone(), pieces.read, pieces.written))
    }

    /// Where the file is written next: at its beginning, once all of it was taken.
    fn start_of_next(&self) -> u64 {
        let mut pieces = self.0.borrow_mut();
        if pieces.read == pieces.written {
            (pieces.read, pieces.written) = (0, 0);
        }
        pieces.written
    }

    /// Whether the next piece may wait in memory: not while earlier ones wait in the file.
    fn takes_memory(&self, rules: &SpoolRules) -> bool {
        let pieces = self.0.borrow();
        pieces.read == pieces.written && pieces.memory_bytes < rules.memory_bytes
    }

    /// Whether there is a place for one more piece.
    fn has_room(&self, rules: &SpoolRules) -> bool {
        if self.takes_memory(rules) {
            return true;
        }
        let pieces = self.0.borrow();
        let taken = if pieces.read == pieces.written { 0 } else { pieces.written };
        !pieces.file_failed && taken < rules.file_max
    }

    fn note_received(&self, received: u64, complete: bool) {
        let mut pieces = self.0.borrow_mut();
        pieces.received = received;
        if complete {
            pieces.complete_at.get_or_insert_with(clock::now);
        }
    }
}
