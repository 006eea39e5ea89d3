//! `open_log_file_cache`: descriptors of logs whose names hold variables, kept by one shard.

use crate::conf::{Diagnostic, Directive, Scope, value};
use ahash::AHashMap;
use rustix::fs::{Mode, OFlags, fstat, open, stat};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Permissions of a new log, as of any other: nginx's NGX_FILE_DEFAULT_ACCESS.
const MODE: u32 = 0o644;

/// What the directive says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CacheSettings {
    /// `max=`: descriptors at most.
    pub(super) max: usize,
    /// `inactive=`: unused for so long, a descriptor is closed.
    pub(super) inactive: Duration,
    /// `valid=`: after this time it is asked whether the name still means the same file.
    pub(super) valid: Duration,
    /// `min_uses=`: a file that was written to less often is closed at once.
    pub(super) min_uses: u64,
}

impl CacheSettings {
    /// Reads the directive; `None` for `off`.
    ///
    /// # Errors
    /// nginx's messages.
    pub(super) fn read(
        scope: &Scope<'_>,
        directive: &Directive,
    ) -> Result<Option<CacheSettings>, Diagnostic> {
        let ten = Duration::from_secs(10);
        let mut said = CacheSettings { max: 0, inactive: ten, valid: 6 * ten, min_uses: 1 };
        let mut off = false;
        for word in &directive.args {
            let invalid = || {
                let message = format!("invalid \"open_log_file_cache\" parameter \"{}\"", word.text);
                scope.error_at(directive, word, message)
            };
            let seconds = |text| value::time_s(text).map(Duration::from_secs).ok_or_else(invalid);
            match word.text.split_once('=') {
                Some(("max", number)) => said.max = number.parse().map_err(|_| invalid())?,
                Some(("min_uses", number)) => said.min_uses = number.parse().map_err(|_| invalid())?,
                Some(("inactive", time)) => said.inactive = seconds(time)?,
                Some(("valid", time)) => said.valid = seconds(time)?,
                None if word.text == "off" => off = true,
                _ => return Err(invalid()),
            }
        }
        match (off, said.max) {
            (true, _) => Ok(None),
            (false, 0) => Err(scope.error(directive, "\"open_log_file_cache\" must have \"max\" parameter")),
            _ => Ok(Some(said)),
        }
    }
}

/// Open files by their paths, the least recently used of which goes first.
pub(super) struct OpenFiles {
    settings: CacheSettings,
    entries: AHashMap<Box<[u8]>, Entry>,
    /// The paths by when they were used last.
    order: BTreeMap<u64, Box<[u8]>>,
    clock: u64,
}

struct Entry {
    /// Its place in the order.
    used: u64,
    uses: u64,
    accessed: Instant,
    /// When the name was known to mean this file.
    checked: Instant,
    /// None while it was not used often enough.
    file: Option<(OwnedFd, Identity)>,
}

/// Device and inode.
type Identity = (u64, u64);

impl OpenFiles {
    /// No file is open yet.
    pub(super) fn new(settings: CacheSettings) -> OpenFiles {
        OpenFiles { settings, entries: AHashMap::new(), order: BTreeMap::new(), clock: 0 }
    }

    /// Calls `write` with the file of this path, opened for appending, made if it is not there.
    ///
    /// # Errors
    /// What open(2) says; else what `write` gives.
    pub(super) fn with<T>(
        &mut self,
        path: &[u8],
        now: Instant,
        write: impl FnOnce(&OwnedFd) -> T,
    ) -> io::Result<T> {
        self.close_unused(now);
        self.clock += 1;
        let CacheSettings { valid, min_uses, .. } = self.settings;
        if let Some(entry) = self.entries.get_mut(path) {
            entry.uses += 1;
            entry.accessed = now;
            if let Some(key) = self.order.remove(&entry.used) {
                entry.used = self.clock;
                self.order.insert(entry.used, key);
            }
            if let Some((file, identity)) = &entry.file {
                if now.saturating_duration_since(entry.checked) < valid {
                    return Ok(write(file));
                }
                if means(path, *identity) {
                    entry.checked = now;
                    return Ok(write(file));
                }
                entry.file = None;
            }
            let file = append_to(path)?;
            let outcome = write(&file);
            if entry.uses >= min_uses {
                (entry.file, entry.checked) = (Some(identified(file)?), now);
            }
            return Ok(outcome);
        }
        let file = append_to(path)?;
        let outcome = write(&file);
        let kept = if min_uses <= 1 { Some(identified(file)?) } else { None };
        self.insert(path, Entry { used: self.clock, uses: 1, accessed: now, checked: now, file: kept });
        Ok(outcome)
    }

    fn insert(&mut self, path: &[u8], entry: Entry) {
        if self.entries.len() >= self.settings.max
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.order.insert(entry.used, path.into());
        self.entries.insert(path.into(), entry);
    }

    /// Forgets what was not used for `inactive`.
    fn close_unused(&mut self, now: Instant) {
        while let Some(first) = self.order.first_entry() {
            let stale =
                |entry: &Entry| now.saturating_duration_since(entry.accessed) >= self.settings.inactive;
            if !self.entries.get(first.get()).is_none_or(stale) {
                return;
            }
            self.entries.remove(&first.remove());
        }
    }
}

/// Opens a log for appending. A FIFO that nobody reads is an error rather than a wait.
///
/// # Errors
/// What open(2) says.
pub(super) fn append_to(path: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NONBLOCK;
    Ok(rustix::io::retry_on_intr(|| open(path, flags, Mode::from_raw_mode(MODE)))?)
}

fn identified(file: OwnedFd) -> io::Result<(OwnedFd, Identity)> {
    let facts = fstat(&file)?;
    Ok((file, (facts.st_dev, facts.st_ino)))
}

/// Whether the path names this very file.
fn means(path: &[u8], identity: Identity) -> bool {
    stat(path).is_ok_and(|facts| (facts.st_dev, facts.st_ino) == identity)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("octroi-open-logs-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn path(&self, name: &str) -> Vec<u8> {
            self.0.join(name).into_os_string().into_encoded_bytes()
        }

        fn text(&self, name: &str) -> String {
            fs::read_to_string(self.0.join(name)).unwrap_or_default()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn put(files: &mut OpenFiles, path: &[u8], now: Instant) {
        files.with(path, now, |file| rustix::io::write(file, b"x").unwrap()).unwrap();
    }

    fn open_paths(files: &OpenFiles) -> usize {
        files.entries.values().filter(|entry| entry.file.is_some()).count()
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_file_stays_open_until_its_name_is_asked_for_again() {
        let folder = Folder::new("valid");
        let settings = CacheSettings { max: 2, inactive: 10 * MINUTE, valid: MINUTE, min_uses: 1 };
        let (mut files, start) = (OpenFiles::new(settings), Instant::now());
        let a = folder.path("a");
        put(&mut files, &a, start);
        fs::rename(folder.0.join("a"), folder.0.join("a.1")).unwrap();
        put(&mut files, &a, start + MINUTE / 2);
        assert_eq!((folder.text("a.1").as_str(), folder.text("a").as_str()), ("xx", ""));
        put(&mut files, &a, start + MINUTE);
        put(&mut files, &a, start + MINUTE * 3);
        assert_eq!((folder.text("a.1").as_str(), folder.text("a").as_str()), ("xx", "xx"));
    }

    #[test]
    fn what_is_used_least_or_seldom_is_closed() {
        let folder = Folder::new("lru");
        let settings = CacheSettings { max: 2, inactive: MINUTE, valid: MINUTE, min_uses: 2 };
        let (mut files, start) = (OpenFiles::new(settings), Instant::now());
        let [a, b, c] = ["a", "b", "c"].map(|name| folder.path(name));
        put(&mut files, &a, start);
        assert_eq!(open_paths(&files), 0);
        put(&mut files, &a, start);
        put(&mut files, &b, start);
        put(&mut files, &b, start);
        assert_eq!(open_paths(&files), 2);
        put(&mut files, &a, start);
        put(&mut files, &c, start);
        assert!(files.entries.contains_key(a.as_slice()) && !files.entries.contains_key(b.as_slice()));
        put(&mut files, &c, start + MINUTE);
        assert_eq!((files.entries.len(), files.order.len()), (1, 1));
        assert_eq!(folder.text("a"), "xxx");
    }

    #[test]
    fn what_cannot_be_opened_leaves_nothing() {
        let folder = Folder::new("none");
        let settings = CacheSettings { max: 2, inactive: MINUTE, valid: MINUTE, min_uses: 1 };
        let mut files = OpenFiles::new(settings);
        let error = files.with(&folder.path("no/a"), Instant::now(), |_| ()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        assert!(files.with(b"/tmp/a\0b", Instant::now(), |_| ()).is_err());
        assert!(files.entries.is_empty() && files.order.is_empty());
    }
}
