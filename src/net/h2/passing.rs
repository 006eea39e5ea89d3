//! What passes by on a connection, seen from outside of h2: how long heads are, which of them does not
//! come to its end, and which requests h2 refuses by a bare RST_STREAM. Those get the answer that they may
//! have (RFC 9113, 8.1.1) before it.

use crate::base::limits::H2_HEADS_NOTED_MAX;
use crate::http::HTTP2_PREFACE;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Instant;

/// Bytes of a frame's head (RFC 9113, 4.1).
const HEAD_BYTES: usize = 9;

/// Bytes of RST_STREAM as a whole.
const RESET_BYTES: usize = HEAD_BYTES + 4;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;
const DATA: u8 = 0;

const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// Bytes that the flag PRIORITY puts before a block.
const PRIORITY_BYTES: u32 = 5;

/// The error code of what is malformed (RFC 9113, 7).
const PROTOCOL_ERROR: u32 = 1;

/// The block of a HEADERS frame that answers with 400 and no body, of nothing but the static table
/// (RFC 7541, appendix A): `:status: 400` and `content-length: 0`.
const REFUSAL: [u8; 5] = [0x8c, 0x0f, 0x0d, 0x01, b'0'];

/// What is known of requests beside what h2 says of them.
#[derive(Default)]
pub(super) struct Notes {
    /// Heads that came and were not taken yet: stream, bytes as they came.
    heads: RefCell<VecDeque<(u32, u32)>>,
    /// Streams that were taken, whose body is still to come and whose answer has not begun.
    unanswered: RefCell<Vec<u32>>,
    /// Requests that were refused and are not told of yet.
    refused: Cell<u32>,
    /// Since when there is a part of a head, or of another frame without a body's bytes.
    partial_since: Cell<Option<Instant>>,
    /// The client has promised something, which is a server's to do (RFC 9113, 8.4).
    promised: Cell<bool>,
}

impl Notes {
    /// Notes that a head was taken, and says how long it was.
    pub(super) fn take_head(&self, stream: u32) -> Option<u32> {
        let mut heads = self.heads.borrow_mut();
        let place = heads.iter().position(|(of, _)| *of == stream)?;
        heads.remove(place).map(|(_, bytes)| bytes)
    }

    /// A stream waits for its answer while its body comes.
    pub(super) fn awaits(&self, stream: u32) {
        self.unanswered.borrow_mut().push(stream);
    }

    /// Its answer begins, or it is over.
    pub(super) fn answers(&self, stream: u32) {
        let mut unanswered = self.unanswered.borrow_mut();
        if let Some(place) = unanswered.iter().position(|of| *of == stream) {
            unanswered.swap_remove(place);
        }
    }

    /// How many requests were refused since this was asked.
    pub(super) fn take_refused(&self) -> u32 {
        self.refused.take()
    }

    /// Whether there were any.
    pub(super) fn has_refused(&self) -> bool {
        self.refused.get() > 0
    }

    /// Whether the client has promised something.
    pub(super) fn has_promised(&self) -> bool {
        self.promised.get()
    }

    /// Since when a head has not come to its end.
    pub(super) fn partial_since(&self) -> Option<Instant> {
        self.partial_since.get()
    }

    fn note_head(&self, stream: u32, bytes: u32) {
        let mut heads = self.heads.borrow_mut();
        if heads.len() >= H2_HEADS_NOTED_MAX {
            heads.pop_front();
        }
        heads.push_back((stream, bytes));
    }

    /// A stream is reset from this side. True when it is to be answered first.
    fn resets(&self, stream: u32, code: u32) -> bool {
        if self.take_head(stream).is_some() {
            let is_refusal = code == PROTOCOL_ERROR;
            self.refused.set(self.refused.get() + u32::from(is_refusal));
            return is_refusal;
        }
        let waits = self.unanswered.borrow().contains(&stream);
        self.answers(stream);
        waits && code == PROTOCOL_ERROR
    }
}

/// A frame's head, understood.
#[derive(Clone, Copy)]
struct Frame {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

/// Cuts what passes into frames.
#[derive(Default)]
struct Cutter {
    head: [u8; HEAD_BYTES],
    /// Bytes of a head that came.
    have: usize,
    /// Bytes that are left of a frame's payload.
    rest: usize,
}

impl Cutter {
    /// Takes the bytes up to the end of the next frame's head, or of what there is.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<Frame> {
        let skipped = self.rest.min(bytes.len());
        self.rest -= skipped;
        *bytes = bytes.get(skipped..).unwrap_or_default();
        let wanted = (HEAD_BYTES - self.have).min(bytes.len());
        let (taken, behind) = bytes.split_at(wanted);
        self.head[self.have..self.have + wanted].copy_from_slice(taken);
        self.have += wanted;
        *bytes = behind;
        if self.have < HEAD_BYTES {
            return None;
        }
        self.have = 0;
        let [a, b, c, kind, flags, d, e, f, g] = self.head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        self.rest = length;
        Some(Frame { length, kind, flags, stream: u32::from_be_bytes([d, e, f, g]) & 0x7fff_ffff })
    }
}

/// What the client sends.
pub(super) struct Inward {
    frames: Cutter,
    /// The frame under way carries a body.
    in_body: bool,
    /// A block that is not at its end: stream, bytes.
    open: Option<(u32, u32)>,
    /// The latest stream that a client has begun.
    last: u32,
}

impl Inward {
    pub(super) fn new() -> Inward {
        let frames = Cutter { rest: HTTP2_PREFACE.len(), ..Cutter::default() };
        Inward { frames, in_body: false, open: None, last: 0 }
    }

    /// Looks at what came.
    pub(super) fn pass(&mut self, mut bytes: &[u8], now: Instant, notes: &Notes) {
        while let Some(frame) = self.frames.next(&mut bytes) {
            self.in_body = frame.kind == DATA;
            let more = u32::try_from(frame.length).unwrap_or(u32::MAX);
            match frame.kind {
                HEADERS if frame.stream > self.last => {
                    self.last = frame.stream;
                    let mut extra = if frame.flags & PRIORITY > 0 { PRIORITY_BYTES } else { 0 };
                    if frame.flags & PADDED > 0 {
                        extra += 1 + bytes.first().copied().map_or(0, u32::from);
                    }
                    self.open = Some((frame.stream, more.saturating_sub(extra)));
                }
                CONTINUATION => {
                    if let Some((_, bytes)) = &mut self.open {
                        *bytes = bytes.saturating_add(more);
                    }
                }
                PUSH_PROMISE => notes.promised.set(true),
                _ => {}
            }
            if frame.flags & END_HEADERS > 0
                && matches!(frame.kind, HEADERS | CONTINUATION)
                && let Some((stream, bytes)) = self.open.take()
            {
                notes.note_head(stream, bytes);
            }
        }
        let inside = self.frames.have > 0 || self.frames.rest > 0 && !self.in_body;
        let partial = inside || self.open.is_some();
        let since = notes.partial_since.get().filter(|_| partial);
        notes.partial_since.set(since.or(partial.then_some(now)));
    }
}

/// What is sent to the client.
#[derive(Default)]
pub(super) struct Outward {
    frames: Cutter,
}

impl Outward {
    /// Looks at what is to be sent; `None` to send it as it is.
    pub(super) fn pass(&mut self, all: &[u8], notes: &Notes) -> Option<Vec<u8>> {
        let mut refused = Vec::new();
        let mut rest = all;
        while let Some(frame) = self.frames.next(&mut rest) {
            if frame.kind != RST_STREAM {
                continue;
            }
            let code = rest.first_chunk().map_or(0, |code| u32::from_be_bytes(*code));
            let begin = (all.len() - rest.len()).checked_sub(HEAD_BYTES);
            // One that began in the write before cannot have anything put before it any more.
            if let (true, Some(begin)) = (notes.resets(frame.stream, code), begin) {
                refused.push((begin, frame.stream));
            }
        }
        if refused.is_empty() {
            return None;
        }
        let mut out = Vec::with_capacity(all.len() + refused.len() * RESET_BYTES);
        let mut done = 0;
        for (begin, stream) in refused {
            out.extend_from_slice(all.get(done..begin).unwrap_or_default());
            done = begin;
            // END_STREAM and END_HEADERS.
            out.extend_from_slice(&[0, 0, REFUSAL.len() as u8, HEADERS, 0x5]);
            out.extend_from_slice(&stream.to_be_bytes());
            out.extend_from_slice(&REFUSAL);
        }
        out.extend_from_slice(all.get(done..).unwrap_or_default());
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        out.extend([kind, flags]);
        out.extend(stream.to_be_bytes());
        out.extend(payload);
        out
    }

    /// Passes it in pieces of every length, and calls `look` behind each whole.
    fn in_pieces(all: &[u8], look: impl Fn(&Notes)) {
        for piece in 1..all.len() {
            let (notes, mut inward) = (Notes::default(), Inward::new());
            for part in all.chunks(piece) {
                inward.pass(part, Instant::now(), &notes);
            }
            look(&notes);
        }
    }

    #[test]
    fn heads_are_measured() {
        let mut all = HTTP2_PREFACE.to_vec();
        all.extend(frame(4, 0, 0, &[]));
        all.extend(frame(HEADERS, END_HEADERS, 1, &[0; 10]));
        all.extend(frame(DATA, 0, 1, &[0; 30]));
        all.extend(frame(HEADERS, 0, 3, &[0; 10]));
        all.extend(frame(CONTINUATION, 0, 3, &[0; 5]));
        all.extend(frame(CONTINUATION, END_HEADERS, 3, &[0; 7]));
        // Fields behind a body are no head.
        all.extend(frame(HEADERS, END_HEADERS | 1, 1, &[0; 9]));
        all.extend(frame(HEADERS, END_HEADERS | PRIORITY, 5, &[0; 15]));
        in_pieces(&all, |notes| {
            let taken = [1, 3, 5, 5].map(|stream| notes.take_head(stream));
            assert_eq!(taken, [Some(10), Some(22), Some(10), None]);
            assert_eq!(notes.partial_since(), None);
        });
    }

    #[test]
    fn a_head_without_an_end_is_seen() {
        let (notes, mut inward) = (Notes::default(), Inward::new());
        let begun = Instant::now();
        let mut pass = |bytes: &[u8]| {
            inward.pass(bytes, Instant::now(), &notes);
            notes.partial_since().is_some()
        };
        assert!(!pass(HTTP2_PREFACE));
        assert!(pass(&frame(HEADERS, 0, 1, &[0; 10])));
        assert!(pass(&frame(CONTINUATION, 0, 1, &[0; 10])[..4]));
        assert!(pass(&frame(CONTINUATION, 0, 1, &[0; 10])[4..]));
        assert!(!pass(&frame(CONTINUATION, END_HEADERS, 1, &[])));
        // The middle of a body is none.
        assert!(!pass(&frame(DATA, 0, 1, &[0; 10])[..12]));
        assert!(begun.elapsed().as_secs() < 60);
    }

    #[test]
    fn what_is_refused_is_answered_before_it_is_reset() {
        let notes = Notes::default();
        for stream in [1, 3, 5] {
            notes.note_head(stream, 10);
        }
        notes.awaits(5);
        notes.take_head(3);
        notes.take_head(5);
        let reset = |stream, code: u32| frame(RST_STREAM, 0, stream, &code.to_be_bytes());
        let ping = frame(6, 0, 0, &[0; 8]);
        let refusal = |stream| frame(HEADERS, 5, stream, &REFUSAL);
        let mut outward = Outward::default();
        assert_eq!(outward.pass(&ping, &notes), None);
        let all = [ping.clone(), reset(1, 1), reset(3, 1), reset(5, 1), ping.clone()].concat();
        let want = [ping.clone(), refusal(1), reset(1, 1), reset(3, 1), refusal(5), reset(5, 1), ping];
        assert_eq!(outward.pass(&all, &notes), Some(want.concat()));
        assert_eq!((notes.take_refused(), notes.take_refused()), (1, 0));
        // Once, and for nothing but what is malformed.
        assert_eq!(outward.pass(&reset(1, 1), &notes), None);
        notes.note_head(7, 1);
        assert_eq!(outward.pass(&reset(7, 7), &notes), None);
        assert_eq!(notes.take_refused(), 0);
    }
}
