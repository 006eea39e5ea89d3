//! What writes a request's line: one kind of step for each kind of log.

use super::format::Format;
use super::open_files::{OpenFiles, append_to};
use crate::base::clock;
use crate::base::limits::SCRATCH_KEEP_BYTES;
use crate::base::process_settings::Level;
use crate::net::error_log::OsError;
use crate::net::log_buffer::{LINE_BYTES_MAX, LogBuffer};
use crate::net::syslog::{Noted, SyslogSocket};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::local::Slot;
use crate::pipeline::settings::Root;
use crate::pipeline::step::LogStep;
use crate::pipeline::template::Template;
use std::cell::RefCell;
use std::io;
use std::sync::Arc;

/// Writes the line of one `access_log` with the path of a file.
pub(super) struct FileLog {
    pub(super) format: Arc<Format>,
    pub(super) slot: Slot<LogBuffer>,
    /// `if=`
    pub(super) condition: Option<Template>,
}

impl LogStep for FileLog {
    fn log(&self, x: &Exchange) {
        let buffer = x.locals.at(self.slot);
        buffer.push_line(|out| {
            if !holds(self.condition.as_ref(), x, out) {
                return false;
            }
            self.format.write(x, out);
            true
        });
        if let Some(error) = buffer.failure() {
            note(x, &buffer.file().path().to_string_lossy(), &error);
        }
    }
}

/// Sends the line to a syslog server.
pub(super) struct SyslogLog {
    pub(super) format: Arc<Format>,
    pub(super) slot: Slot<SyslogState>,
    /// `if=`
    pub(super) condition: Option<Template>,
}

/// A syslog server from one shard.
pub(super) struct SyslogState {
    socket: SyslogSocket,
    message: RefCell<Vec<u8>>,
}

impl SyslogState {
    /// A server that nothing was sent to yet.
    pub(super) fn new(socket: SyslogSocket) -> SyslogState {
        SyslogState { socket, message: RefCell::default() }
    }
}

impl LogStep for SyslogLog {
    fn log(&self, x: &Exchange) {
        let SyslogState { socket, message } = x.locals.at(self.slot);
        // A line never logs a line: variables that complain go to the error log.
        let Ok(mut message) = message.try_borrow_mut() else { return };
        message.clear();
        if !holds(self.condition.as_ref(), x, &mut message) {
            return;
        }
        socket.begin(socket.severity(), &mut message);
        self.format.write(x, &mut message);
        if let Err(failure) = socket.send(&message)
            && socket.is_due()
        {
            x.here.error_log.write(Level::Alert, None, format_args!("{failure}"));
        }
        message.shrink_to(SCRATCH_KEEP_BYTES);
    }
}

/// Writes the line to a file whose path holds variables.
pub(super) struct NamedLog {
    pub(super) format: Arc<Format>,
    pub(super) path: Template,
    pub(super) slot: Slot<NamedState>,
    /// `if=`
    pub(super) condition: Option<Template>,
}

/// What a shard keeps for such logs.
pub(super) struct NamedState {
    /// With `open_log_file_cache`.
    files: Option<RefCell<OpenFiles>>,
    /// A path, and behind it a line.
    scratch: RefCell<Vec<u8>>,
    noted: Noted,
}

impl NamedState {
    /// Nothing is open yet.
    pub(super) fn new(files: Option<OpenFiles>) -> NamedState {
        NamedState { files: files.map(RefCell::new), scratch: RefCell::default(), noted: Noted::default() }
    }

    /// Appends a line to the file of this path.
    fn append(&self, path: &[u8], line: &[u8]) -> Result<(), Failed> {
        let write = |file: &_| match rustix::io::retry_on_intr(|| rustix::io::write(file, line)) {
            Ok(count) if count == line.len() => Ok(()),
            Ok(_) => Err(io::ErrorKind::WriteZero.into()),
            Err(error) => Err(io::Error::from(error)),
        };
        let written = match self.files.as_ref().map(RefCell::try_borrow_mut) {
            Some(Ok(mut files)) => files.with(path, clock::now(), write),
            _ => append_to(path).map(|file| write(&file)),
        };
        written.map_err(Failed::Open)?.map_err(Failed::Write)
    }
}

/// Why a line was not written.
enum Failed {
    Open(io::Error),
    Write(io::Error),
}

impl LogStep for NamedLog {
    fn log(&self, x: &Exchange) {
        let state = x.locals.at(self.slot);
        let Ok(mut scratch) = state.scratch.try_borrow_mut() else { return };
        scratch.clear();
        if !holds(self.condition.as_ref(), x, &mut scratch) || !root_exists(x, &mut scratch) {
            return;
        }
        self.path.write(x, &mut scratch);
        let split = scratch.len();
        self.format.write(x, &mut scratch);
        scratch.truncate(split + LINE_BYTES_MAX);
        scratch.push(b'\n');
        let (path, line) = scratch.split_at(split);
        let shown = || String::from_utf8_lossy(path);
        match state.append(path, line) {
            Ok(()) => {}
            Err(Failed::Open(error)) => x.log(
                Level::Crit,
                format_args!("open() \"{}\" failed {} while logging request", shown(), OsError(&error)),
            ),
            Err(Failed::Write(error)) if state.noted.is_due() => note(x, &shown(), &error),
            Err(Failed::Write(_)) => {}
        }
        scratch.shrink_to(SCRATCH_KEEP_BYTES);
    }
}

/// Whether the request's root directory is there: who can choose a host that is not served must not
/// make files of that name. `scratch` is left as it was.
fn root_exists(x: &Exchange, scratch: &mut Vec<u8>) -> bool {
    let (Root::Root(root) | Root::Alias(root, _) | Root::AliasWhole(root)) = &x.here.settings.root;
    let start = scratch.len();
    root.write(x, scratch);
    let path = scratch.get(start..).unwrap_or_default();
    let found = rustix::fs::stat(path).map_err(io::Error::from).and_then(|facts| {
        match rustix::fs::FileType::from_raw_mode(facts.st_mode).is_dir() {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(libc::ENOTDIR)),
        }
    });
    if let Err(error) = &found {
        let path = String::from_utf8_lossy(path);
        x.log(
            Level::Error,
            format_args!("testing \"{path}\" existence failed {} while logging request", OsError(error)),
        );
    }
    scratch.truncate(start);
    found.is_ok()
}

/// Says that a log takes no lines. It is about more requests than this one.
#[cold]
fn note(x: &Exchange, path: &str, error: &io::Error) {
    let log = &x.here.error_log;
    match error.kind() {
        io::ErrorKind::WriteZero => {
            log.write(Level::Alert, None, format_args!("write() to \"{path}\" was incomplete"));
        }
        _ => log.write(Level::Alert, None, format_args!("write() to \"{path}\" failed {}", OsError(error))),
    }
}

/// Whether a condition is neither empty nor `0`. It is computed behind what is in `out`, where
/// there is memory.
fn holds(condition: Option<&Template>, x: &Exchange, out: &mut Vec<u8>) -> bool {
    let Some(condition) = condition else { return true };
    let start = out.len();
    condition.write(x, out);
    let holds = !matches!(out.get(start..), None | Some(b"" | b"0"));
    out.truncate(start);
    holds
}
