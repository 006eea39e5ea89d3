//! The error log: nginx's line, written whole to every target whose level allows it.

use std::cell::Cell;
use std::fmt::{self, Write as _};
use std::io;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::base::process_settings::Level;
use crate::http::date;
use crate::net::log_file::LogFile;
use crate::net::syslog::SyslogSocket;
use crate::net::timezone::utc_offset_s;

/// Bytes of one line with its line feed; what is longer is cut. nginx's NGX_MAX_ERROR_STR.
pub const LINE_BYTES_MAX: usize = 2048;

/// Bytes of `2026/11/22 18:00:00`.
const TIME_BYTES: usize = 19;

thread_local! {
    /// The Unix second shown last by this thread, and its text.
    static SHOWN: Cell<(u64, [u8; TIME_BYTES])> = const { Cell::new((0, [0; TIME_BYTES])) };
}

/// One place that error lines go to.
#[derive(Clone, Debug)]
pub enum Target {
    /// A file, or standard error.
    File(Arc<LogFile>),
    /// A syslog server.
    Syslog(Arc<SyslogSocket>),
}

/// Where error lines go: any number of places, each with the least grave level it takes.
/// Cloning costs one reference count.
#[derive(Clone, Debug)]
pub struct ErrorLog {
    targets: Arc<[(Target, Level)]>,
    /// The least grave level that any target takes; `None` without a target.
    least: Option<Level>,
    console: bool,
}

impl ErrorLog {
    /// A log with these targets.
    pub fn new(targets: Vec<(Target, Level)>) -> ErrorLog {
        let least = targets.iter().map(|(_, level)| *level).max();
        ErrorLog { targets: targets.into(), least, console: false }
    }

    /// The same log which also shows lines of level `warn` and graver on standard error, as
    /// `octroi: [emerg] ...`, while an operator may still be looking at it.
    pub fn with_console(mut self, console: bool) -> ErrorLog {
        let is_stderr = |target: &Target| matches!(target, Target::File(file) if file.is_stderr());
        self.console = console && !self.targets.iter().any(|(target, _)| is_stderr(target));
        self
    }

    /// Whether lines of `warn` and graver are also shown on standard error.
    pub fn has_console(&self) -> bool {
        self.console
    }

    /// True when some target takes `level`: ask before formatting something costly.
    #[inline]
    pub fn enabled(&self, level: Level) -> bool {
        self.least.is_some_and(|least| level <= least)
    }

    /// Writes one line: `2026/11/22 18:00:00 [notice] PID#TID: *CONNECTION message`.
    #[cold]
    pub fn write(&self, level: Level, connection: Option<u64>, message: fmt::Arguments<'_>) {
        if self.enabled(level) {
            let mut line = Line::new();
            line.begin(level, connection);
            let _ = line.write_fmt(message);
            let line = line.ended();
            for (target, least) in self.targets.iter() {
                if level <= *least {
                    self.write_to(target, level, line);
                }
            }
        }
        if self.console && level <= Level::Warn {
            let mut line = Line::new();
            let _ = write!(line, "octroi: [{}] {message}", level.name());
            let _ = rustix::io::write(io::stderr(), line.ended());
        }
    }
}

impl ErrorLog {
    fn write_to(&self, target: &Target, level: Level, line: &[u8]) {
        match target {
            // Nobody is left to be told.
            Target::File(file) => drop(file.write(line)),
            Target::Syslog(socket) => {
                let line = line.strip_suffix(b"\n").unwrap_or(line);
                let mut message = Vec::with_capacity(LINE_BYTES_MAX + 128);
                socket.begin(level, &mut message);
                message.extend_from_slice(line);
                if let Err(failure) = socket.send(&message)
                    && socket.is_due()
                {
                    self.note_to_files(&failure);
                }
            }
        }
    }

    /// Says in the files of this log, and in no syslog, what went wrong with one.
    fn note_to_files(&self, what: &dyn fmt::Display) {
        let mut line = Line::new();
        line.begin(Level::Alert, None);
        let _ = write!(line, "{what}");
        let line = line.ended();
        for (target, least) in self.targets.iter() {
            if let Target::File(file) = target
                && Level::Alert <= *least
            {
                let _ = file.write(line);
            }
        }
    }
}

/// An operating system's error as nginx prints it: `(2: No such file or directory)`.
pub struct OsError<'a>(pub &'a io::Error);

impl fmt::Display for OsError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        match self.0.raw_os_error() {
            Some(code) => write!(f, "({code}: {})", text.split(" (os error").next().unwrap_or(&text)),
            None => write!(f, "({text})"),
        }
    }
}

fn thread_id() -> i32 {
    rustix::thread::gettid().as_raw_nonzero().get()
}

/// The local time as the log shows it, made once a second and thread.
fn shown_now() -> [u8; TIME_BYTES] {
    let second = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (last, text) = SHOWN.get();
    if last == second && last != 0 {
        return text;
    }
    let text = date::error_log(second as i64, utc_offset_s(second as i64));
    SHOWN.set((second, text));
    text
}

/// A line being written, on the stack; what does not fit is left out.
struct Line {
    bytes: [u8; LINE_BYTES_MAX],
    length: usize,
}

impl Line {
    fn new() -> Line {
        Line { bytes: [0; LINE_BYTES_MAX], length: 0 }
    }

    /// `2026/11/22 18:00:00 [notice] PID#TID: *CONNECTION `
    fn begin(&mut self, level: Level, connection: Option<u64>) {
        self.put(&shown_now());
        let _ = write!(self, " [{}] {}#{}: ", level.name(), std::process::id(), thread_id());
        if let Some(number) = connection {
            let _ = write!(self, "*{number} ");
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        // One byte stays free for the line feed.
        let count = bytes.len().min(LINE_BYTES_MAX - 1 - self.length);
        self.bytes[self.length..self.length + count].copy_from_slice(&bytes[..count]);
        self.length += count;
    }

    fn ended(&mut self) -> &[u8] {
        self.bytes[self.length] = b'\n';
        &self.bytes[..=self.length]
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Read;
    use std::path::PathBuf;

    fn captured(level: Level, write: impl FnOnce(&ErrorLog)) -> String {
        let (mut reader, writer) = io::pipe().unwrap();
        let log =
            ErrorLog::new(vec![(Target::File(LogFile::new(writer.into(), PathBuf::from("pipe"))), level)]);
        write(&log);
        drop(log);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn the_line_is_nginxs() {
        let text =
            captured(Level::Notice, |log| log.write(Level::Error, Some(7), format_args!("no {}", "way")));
        let (time, rest) = text.split_at(TIME_BYTES);
        assert!(
            time.bytes().zip(*b"0000/00/00 00:00:00").all(|(a, b)| a == b || b == b'0' && a.is_ascii_digit())
        );
        let pid = std::process::id();
        assert_eq!(rest, format!(" [error] {pid}#{}: *7 no way\n", thread_id()));
    }

    #[test]
    fn levels_are_weighed_per_target() {
        assert_eq!(captured(Level::Warn, |log| log.write(Level::Notice, None, format_args!("x"))), "");
        let log = ErrorLog::new(Vec::new());
        assert!(!log.enabled(Level::Emerg));
    }

    #[test]
    fn a_long_line_is_cut_and_still_ended() {
        let text =
            captured(Level::Debug, |log| log.write(Level::Info, None, format_args!("{}", "y".repeat(4000))));
        assert_eq!(text.len(), LINE_BYTES_MAX);
        assert!(text.ends_with("y\n"));
    }

    #[test]
    fn system_errors_are_shown_as_nginx_shows_them() {
        assert_eq!(OsError(&io::Error::from_raw_os_error(2)).to_string(), "(2: No such file or directory)");
    }
}
