//! Lines of one log file on their way to it, held by one shard.
//!
//! ```text
//! unbuffered:  lines of one turn of the shard's loop --(end of the turn, or LOG_TURN_BYTES)--> write(2)
//! buffer=N:    lines --(N bytes, flush=, the end)--------------------------------------------> write(2)
//! ```
//!
//! A buffer writes whole lines only, and never keeps them because the disk is full: the file counts
//! what it lost.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, Write};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::base::limits::{LOG_BUFFER_MAX, LOG_TURN_BYTES};
use crate::net::log_file::LogFile;
use crate::net::{deadline, runtime};

/// Bytes of one line without its line feed; what is longer is cut. A head of the default 33 KB with
/// every byte escaped as `\xXX`, and a body of 16 KB escaped for JSON: 33 * 4 + 16 * 6 < 256.
pub const LINE_BYTES_MAX: usize = 256 * 1024;

/// When lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffering {
    /// At the end of the turn that made them.
    Turn,
    /// When they fill a buffer, when the oldest has waited long enough, and at the end.
    Held {
        /// `buffer=`, bytes; at most [`LOG_BUFFER_MAX`] are held.
        bytes: usize,
        /// `flush=`: how long a line waits at most; `None` for as long as it takes.
        flush: Option<Duration>,
        /// `gzip=`: what is written is a gzip member (RFC 1952) of this level, 1 to 9.
        gzip: Option<u32>,
    },
}

/// The lines of one file that one shard has not written yet. Belongs to its thread; a line may be
/// pushed only on a running runtime. Dropped, it writes what it holds.
pub struct LogBuffer(Rc<Inner>);

struct Inner {
    file: Arc<LogFile>,
    buffering: Buffering,
    lines: RefCell<Lines>,
    /// A flush is under way: the task was woken, or sleeps until `flush=` has passed.
    scheduled: Cell<bool>,
    /// The flushing task was started.
    started: Cell<bool>,
    /// Wakes the flushing task while it has nothing to do.
    waker: Cell<Option<Waker>>,
    /// Why lines were lost last, until somebody asks.
    failure: Cell<Option<io::Error>>,
}

#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    /// How much of it is whole lines; behind it lies what a panic left of one.
    whole: usize,
}

thread_local! {
    /// Every buffer of this thread.
    static BUFFERS: RefCell<Vec<Weak<Inner>>> = const { RefCell::new(Vec::new()) };
    /// Unbuffered logs with lines of this turn.
    static UNWRITTEN: Cell<usize> = const { Cell::new(0) };
}

/// Writes the lines of unbuffered logs now. To be called before a connection closes, so that its
/// lines are in the file when the client sees the end; costs nothing when there are none.
pub fn flush_turn() {
    if UNWRITTEN.get() > 0 {
        flush_those(|buffering| buffering == Buffering::Turn);
    }
}

/// Writes every line of this thread's logs now, buffered ones too. To be called when a shard ends,
/// and before log files are reopened.
pub fn flush_all() {
    flush_those(|_| true);
}

fn flush_those(wanted: impl Fn(Buffering) -> bool) {
    BUFFERS.with_borrow(|buffers| {
        for buffer in buffers.iter().filter_map(Weak::upgrade) {
            if wanted(buffer.buffering) {
                buffer.write();
            }
        }
    });
}

impl LogBuffer {
    /// An empty buffer in front of `file`.
    pub fn new(file: Arc<LogFile>, buffering: Buffering) -> LogBuffer {
        let inner = Rc::new(Inner {
            file,
            buffering,
            lines: RefCell::default(),
            scheduled: Cell::new(false),
            started: Cell::new(false),
            waker: Cell::new(None),
            failure: Cell::new(None),
        });
        BUFFERS.with_borrow_mut(|buffers| {
            buffers.retain(|buffer| buffer.strong_count() > 0);
            buffers.push(Rc::downgrade(&inner));
        });
        LogBuffer(inner)
    }

    /// Adds a line. `write` appends it, without the line feed, to the bytes it is given and returns
    /// true; or false when there is to be no line after all. It must not push to this buffer itself.
    #[inline]
    pub fn push_line(&self, write: impl FnOnce(&mut Vec<u8>) -> bool) {
        let inner = &*self.0;
        let mut guard = inner.lines.borrow_mut();
        let lines = &mut *guard;
        let start = lines.whole;
        lines.bytes.truncate(start);
        if !write(&mut lines.bytes) {
            lines.bytes.truncate(start);
            return;
        }
        lines.bytes.truncate(start + LINE_BYTES_MAX);
        lines.bytes.push(b'\n');
        lines.whole = lines.bytes.len();
        match inner.buffering {
            Buffering::Turn if lines.whole < LOG_TURN_BYTES => {
                drop(guard);
                if !inner.scheduled.replace(true) {
                    UNWRITTEN.set(UNWRITTEN.get() + 1);
                    self.wake();
                }
            }
            Buffering::Turn => {
                drop(guard);
                inner.write();
            }
            Buffering::Held { bytes, flush, .. } => {
                if lines.whole > bytes.min(LOG_BUFFER_MAX) {
                    inner.make_room(lines, start, bytes.min(LOG_BUFFER_MAX));
                }
                let waiting = lines.whole > 0;
                drop(guard);
                if waiting && flush.is_some() && !inner.scheduled.replace(true) {
                    self.wake();
                }
            }
        }
    }

    /// Writes what is pending.
    pub fn flush(&self) {
        self.0.write();
    }

    /// Bytes that wait to be written.
    pub fn pending(&self) -> usize {
        self.0.lines.borrow().whole
    }

    /// Why lines were lost since this was asked last, where that is to be logged now.
    #[inline]
    pub fn failure(&self) -> Option<io::Error> {
        self.0.failure.take().filter(|_| self.0.file.is_due())
    }

    /// The file.
    pub fn file(&self) -> &LogFile {
        &self.0.file
    }

    /// Sets the flushing task going, which is started by the first line: buffers are made before
    /// the runtime takes tasks.
    fn wake(&self) {
        if let Some(waker) = self.0.waker.take() {
            waker.wake();
        } else if !self.0.started.replace(true) {
            runtime::spawn(flush_when_due(Rc::downgrade(&self.0)));
        }
        // Else the task was woken already and has not run yet.
    }
}

/// The flushing task of a buffer. Tasks run in the order they were woken, so one that a line woke
/// runs when all that were ready in this turn have added theirs.
async fn flush_when_due(buffer: Weak<Inner>) {
    loop {
        let delay = poll_fn(|cx| {
            let Some(inner) = buffer.upgrade() else { return Poll::Ready(None) };
            if !inner.scheduled.get() {
                inner.waker.set(Some(cx.waker().clone()));
                return Poll::Pending;
            }
            Poll::Ready(Some(match inner.buffering {
                Buffering::Turn => None,
                Buffering::Held { flush, .. } => flush,
            }))
        });
        let Some(delay) = delay.await else { return };
        if let Some(delay) = delay {
            deadline::sleep(delay).await;
        }
        let Some(inner) = buffer.upgrade() else { return };
        inner.write();
        inner.scheduled.set(false);
    }
}

impl Inner {
    /// Writes all whole lines.
    fn write(&self) {
        let Ok(mut lines) = self.lines.try_borrow_mut() else { return };
        if lines.whole > 0 {
            let whole = lines.whole;
            self.put(lines.bytes.get(..whole).unwrap_or_default());
            lines.bytes.clear();
            lines.whole = 0;
            if lines.bytes.capacity() > self.keep() {
                lines.bytes = Vec::new();
            }
        }
        if self.buffering == Buffering::Turn && self.scheduled.replace(false) {
            // The thread is ending when the count is gone.
            let _ = UNWRITTEN.try_with(|count| count.set(count.get().saturating_sub(1)));
        }
    }

    fn put(&self, bytes: &[u8]) {
        let outcome = match self.buffering {
            Buffering::Held { gzip: Some(level), .. } => {
                compressed(bytes, level).and_then(|member| self.file.write(&member))
            }
            _ => self.file.write(bytes),
        };
        if let Err(error) = outcome {
            self.failure.set(Some(error));
        }
    }

    /// Writes the lines before `start`; and the last one too when a buffer of `size` bytes cannot
    /// hold it.
    fn make_room(&self, lines: &mut Lines, start: usize, size: usize) {
        if start > 0 {
            self.put(lines.bytes.get(..start).unwrap_or_default());
            lines.bytes.drain(..start);
        }
        if lines.bytes.len() > size {
            self.put(&lines.bytes);
            lines.bytes.clear();
        }
        lines.whole = lines.bytes.len();
    }

    /// Bytes of memory an empty buffer keeps.
    fn keep(&self) -> usize {
        match self.buffering {
            Buffering::Turn => 2 * LOG_TURN_BYTES,
            Buffering::Held { bytes, .. } => bytes.min(LOG_BUFFER_MAX) + LOG_TURN_BYTES,
        }
    }
}

/// A gzip member: members that follow each other are one gzip file.
fn compressed(bytes: &[u8], level: u32) -> io::Result<Vec<u8>> {
    // Lines of a log shrink to a tenth or so.
    let room = Vec::with_capacity(bytes.len() / 8 + 64);
    let mut encoder = GzEncoder::new(room, Compression::new(level));
    encoder.write_all(bytes)?;
    encoder.finish()
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.write();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::net::runtime::Driver;
    use std::fs;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A log file of its own for a test, removed at the end.
    struct Scratch(PathBuf, Arc<LogFile>);

    impl Scratch {
        fn new() -> Scratch {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("octroi-log-buffer-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let file = fs::OpenOptions::new().append(true).create(true).open(&path).unwrap();
            Scratch(path.clone(), LogFile::new(file.into(), path))
        }

        fn text(&self) -> String {
            fs::read_to_string(&self.0).unwrap()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    fn push(buffer: &LogBuffer, text: &str) {
        buffer.push_line(|out| {
            out.extend_from_slice(text.as_bytes());
            true
        });
    }

    fn run(test: impl Future<Output = ()>) {
        runtime::run(Driver::Epoll, test).unwrap();
    }

    #[test]
    fn lines_of_a_turn_are_written_together_at_its_end() {
        let log = Scratch::new();
        run(async {
            let buffer = LogBuffer::new(log.1.clone(), Buffering::Turn);
            for round in 1..=3 {
                push(&buffer, "one");
                push(&buffer, "two");
                assert_eq!(buffer.pending(), 8);
                deadline::sleep(Duration::from_millis(5)).await;
                assert_eq!(log.text(), "one\ntwo\n".repeat(round));
                assert_eq!((buffer.pending(), UNWRITTEN.get()), (0, 0));
            }
        });
    }

    #[test]
    fn a_line_is_written_before_the_connection_closes() {
        let log = Scratch::new();
        let held = Scratch::new();
        run(async {
            let buffer = LogBuffer::new(log.1.clone(), Buffering::Turn);
            let other =
                LogBuffer::new(held.1.clone(), Buffering::Held { bytes: 1024, flush: None, gzip: None });
            push(&buffer, "now");
            push(&other, "later");
            flush_turn();
            assert_eq!((log.text().as_str(), held.text().as_str()), ("now\n", ""));
            push(&buffer, "again");
            flush_all();
            assert_eq!((log.text().as_str(), held.text().as_str()), ("now\nagain\n", "later\n"));
            assert_eq!(UNWRITTEN.get(), 0);
            deadline::sleep(Duration::from_millis(5)).await;
            push(&buffer, "third");
            deadline::sleep(Duration::from_millis(5)).await;
            assert_eq!(log.text(), "now\nagain\nthird\n");
        });
    }

    #[test]
    fn a_full_buffer_is_written_without_the_line_that_does_not_fit() {
        let log = Scratch::new();
        run(async {
            let buffer = LogBuffer::new(log.1.clone(), Buffering::Held { bytes: 8, flush: None, gzip: None });
            push(&buffer, "abc");
            push(&buffer, "def");
            assert_eq!((log.text().as_str(), buffer.pending()), ("", 8));
            push(&buffer, "ghi");
            assert_eq!((log.text().as_str(), buffer.pending()), ("abc\ndef\n", 4));
            push(&buffer, "longer than 8");
            assert_eq!((log.text().as_str(), buffer.pending()), ("abc\ndef\nghi\nlonger than 8\n", 0));
            push(&buffer, "end");
            drop(buffer);
            assert!(log.text().ends_with("8\nend\n"));
        });
    }

    #[test]
    fn a_line_waits_no_longer_than_the_flush_time() {
        let log = Scratch::new();
        run(async {
            let flush = Some(Duration::from_millis(20));
            let buffer = LogBuffer::new(log.1.clone(), Buffering::Held { bytes: 1024, flush, gzip: None });
            for round in 1..=2 {
                push(&buffer, "x");
                deadline::sleep(Duration::from_millis(5)).await;
                assert_eq!(buffer.pending(), 2);
                deadline::sleep(Duration::from_millis(60)).await;
                assert_eq!(log.text(), "x\n".repeat(round));
            }
        });
    }

    #[test]
    fn a_compressed_log_is_a_row_of_gzip_members() {
        let log = Scratch::new();
        run(async {
            let held = Buffering::Held { bytes: 1024, flush: None, gzip: Some(1) };
            let buffer = LogBuffer::new(log.1.clone(), held);
            for line in ["one", "two"] {
                push(&buffer, line);
                buffer.flush();
            }
            let mut text = String::new();
            let file = fs::File::open(&log.0).unwrap();
            io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(file), &mut text).unwrap();
            assert_eq!(text, "one\ntwo\n");
        });
    }

    #[test]
    fn a_failure_is_told_once() {
        run(async {
            let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
            let buffer = LogBuffer::new(LogFile::new(full.into(), "/dev/full".into()), Buffering::Turn);
            for told in [true, false] {
                push(&buffer, "lost");
                buffer.flush();
                assert_eq!(buffer.failure().is_some(), told);
                assert!(buffer.failure().is_none());
            }
            assert_eq!(buffer.file().dropped(), 2);
        });
    }

    #[test]
    fn what_is_no_line_leaves_nothing_and_a_long_one_is_cut() {
        let log = Scratch::new();
        run(async {
            let buffer = LogBuffer::new(log.1.clone(), Buffering::Turn);
            buffer.push_line(|out| {
                out.extend_from_slice(b"not wanted");
                false
            });
            assert_eq!(buffer.pending(), 0);
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                buffer.push_line(|out| {
                    out.extend_from_slice(b"half a line");
                    std::panic::resume_unwind(Box::new(()));
                });
            }));
            push(&buffer, &"y".repeat(LINE_BYTES_MAX + 5));
            assert_eq!((buffer.pending(), log.text().len()), (0, LINE_BYTES_MAX + 1));
        });
    }
}
