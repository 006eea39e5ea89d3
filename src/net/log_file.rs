//! A log file: an append-only descriptor that many threads write whole lines to without a lock.
//!
//! Reopening (USR1) puts the new file under the same descriptor number with dup3(2), so that a
//! writer never has to ask which descriptor is current.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::net::syslog::Noted;

/// A file opened with O_APPEND, or standard error.
#[derive(Debug)]
pub struct LogFile {
    /// `None` is standard error, which is not ours to close.
    file: Option<OwnedFd>,
    path: PathBuf,
    dropped: AtomicU64,
    /// The Unix second in which the disk was found full; 0 when it was not.
    full_second: AtomicU64,
    noted: Noted,
}

impl LogFile {
    /// A log on an open descriptor; `path` is only remembered.
    pub fn new(file: OwnedFd, path: PathBuf) -> Arc<LogFile> {
        Arc::new(LogFile::of(Some(file), path))
    }

    /// A log on standard error.
    pub fn stderr() -> Arc<LogFile> {
        Arc::new(LogFile::of(None, PathBuf::from("stderr")))
    }

    fn of(file: Option<OwnedFd>, path: PathBuf) -> LogFile {
        LogFile {
            file,
            path,
            dropped: AtomicU64::new(0),
            full_second: AtomicU64::new(0),
            noted: Noted::default(),
        }
    }

    /// Writes `bytes`, which should end with a line feed, in one write(2): O_APPEND keeps lines of
    /// several writers apart. Nothing is tried again: a log must not hold up what it reports on. A
    /// disk that is full is left alone for the rest of the second, as nginx does.
    ///
    /// # Errors
    /// What was not written whole is lost and counted: write(2)'s error, or `WriteZero` when a part
    /// was written.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let full = self.full_second.load(Ordering::Relaxed);
        if full != 0 {
            if full == unix_second() {
                return Err(self.failed(rustix::io::Errno::NOSPC.into()));
            }
            self.full_second.store(0, Ordering::Relaxed);
        }
        let written = rustix::io::retry_on_intr(|| match &self.file {
            Some(file) => rustix::io::write(file, bytes),
            None => rustix::io::write(io::stderr(), bytes),
        });
        match written {
            Ok(count) if count == bytes.len() => Ok(()),
            Ok(_) => Err(self.failed(io::ErrorKind::WriteZero.into())),
            Err(error) => {
                if matches!(error, rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT) {
                    self.full_second.store(unix_second(), Ordering::Relaxed);
                }
                Err(self.failed(error.into()))
            }
        }
    }

    /// Whether a failure is to be logged: one in a while.
    pub fn is_due(&self) -> bool {
        self.noted.is_due()
    }

    /// Puts `file` in the place of the one written to so far; a write under way ends in either.
    /// Standard error is never replaced.
    ///
    /// # Errors
    /// What dup3(2) reports; the old file stays.
    pub fn replace(&self, file: OwnedFd) -> io::Result<()> {
        let Some(own) = &self.file else { return Ok(()) };
        // SAFETY: both descriptors are open and owned here. `own` goes on owning its number, which
        // dup3 only points at another open file; nobody keeps state about the old one.
        let done = unsafe { libc::dup3(file.as_raw_fd(), own.as_raw_fd(), libc::O_CLOEXEC) };
        if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The path it was opened by; `stderr` for standard error.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// True for standard error.
    pub fn is_stderr(&self) -> bool {
        self.file.is_none()
    }

    /// Writes that failed or were cut short since the file was opened first.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// A second descriptor of the same open file.
    ///
    /// # Errors
    /// What fcntl(2) reports, such as EMFILE.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        match &self.file {
            Some(file) => file.try_clone(),
            None => io::stderr().as_fd().try_clone_to_owned(),
        }
    }

    #[cold]
    fn failed(&self, error: io::Error) -> io::Error {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        error
    }
}

fn unix_second() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs().max(1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs::{self, File, OpenOptions};

    fn append(path: &Path) -> OwnedFd {
        OpenOptions::new().append(true).create(true).open(path).unwrap().into()
    }

    #[test]
    fn a_replaced_file_gets_what_is_written_next_under_the_same_number() {
        let folder = std::env::temp_dir().join(format!("octroi-log-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.log");
        let log = LogFile::new(append(&path), path.clone());
        let number = log.file.as_ref().unwrap().as_raw_fd();
        log.write(b"one\n").unwrap();
        fs::rename(&path, folder.join("a.log.1")).unwrap();
        log.write(b"two\n").unwrap();
        log.replace(append(&path)).unwrap();
        log.write(b"three\n").unwrap();
        assert_eq!(log.file.as_ref().unwrap().as_raw_fd(), number);
        assert_eq!(fs::read_to_string(folder.join("a.log.1")).unwrap(), "one\ntwo\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_full_disk_is_counted_and_left_alone() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let log = LogFile::new(full.into(), PathBuf::from("/dev/full"));
        assert_eq!(log.write(b"lost\n").unwrap_err().raw_os_error(), Some(libc::ENOSPC));
        assert_eq!(log.write(b"lost\n").unwrap_err().raw_os_error(), Some(libc::ENOSPC));
        assert_eq!(log.dropped(), 2);
        assert_ne!(log.full_second.load(Ordering::Relaxed), 0);
    }
}
