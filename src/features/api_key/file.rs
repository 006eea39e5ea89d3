//! `api_key_file`: keys by the million, a line each:
//!
//! ```text
//! # SHA-256 of the key, in hexadecimal    consumer    expires
//! 9f86d081884c7d65...b0f00a08             mobile
//! 60303ae22b998861...83fec752             partner     2027-01-01
//! ```
//!
//! The process that serves reads it, before the first request and again whenever it has changed. A file
//! that is wrong, or gone, leaves the keys in force that it held before.

use super::table::{Filling, KeyTable, NEVER, parse_hash, show_hash};
use crate::base::process_settings::Level;
use crate::bridge::published::Published;
use crate::features::consumer;
use crate::http::date;
use crate::net::error_log::{ErrorLog, OsError};
use crate::net::file_version::FileVersion;
use crate::pipeline::veil::KeyHash;
use crate::remote::files::Watched;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

/// Bytes of a line at most: a hash, a name of 255, a date.
const LINE_BYTES_MAX: u64 = 1024;

/// Bytes that are read at once: 16 MB/s a reading would be slow for a million lines of 90 bytes.
const READ_BYTES: usize = 256 * 1024;

/// A file of keys, shared by all configurations that name it.
pub struct KeyFile {
    path: PathBuf,
    table: Published<KeyTable>,
    version: Mutex<Option<FileVersion>>,
    watched: AtomicBool,
    log: OnceLock<ErrorLog>,
}

/// The files that are in use: a reload goes on with what was read before.
static FILES: Mutex<Vec<Weak<KeyFile>>> = Mutex::new(Vec::new());

impl KeyFile {
    /// The file at a path.
    pub fn at(path: &Path) -> Arc<KeyFile> {
        let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|file| file.strong_count() > 0);
        if let Some(known) = files.iter().filter_map(Weak::upgrade).find(|file| file.path == path) {
            return known;
        }
        let file = Arc::new(KeyFile {
            path: path.to_owned(),
            table: Published::new(KeyTable::default()),
            version: Mutex::new(None),
            watched: AtomicBool::new(false),
            log: OnceLock::new(),
        });
        files.push(Arc::downgrade(&file));
        file
    }

    /// Its keys.
    pub fn table(&self) -> &Published<KeyTable> {
        &self.table
    }

    /// Reads it, unless what was read is what it is.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn load(&self) -> Result<(), String> {
        let file = open(&self.path)?;
        let version = file.metadata().map(|metadata| FileVersion::of(&metadata)).ok();
        let mut known = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        if version.is_some() && *known == version {
            return Ok(());
        }
        let mut filling = Filling::default();
        lines(file, &self.path, |hash, consumer, until_s| filling.add(hash, consumer, until_s))?;
        let table = filling.finish().map_err(|hash| twice(&self.path, &hash))?;
        self.table.publish(Arc::new(table));
        // What changed just now may change again without another version.
        *known = version.filter(FileVersion::is_settled);
        Ok(())
    }

    /// Whether the caller is the first to watch it; then it has to.
    pub fn begin_watch(&self, log: &ErrorLog) -> bool {
        let _ = self.log.set(log.clone());
        !self.watched.swap(true, Ordering::Relaxed)
    }
}

impl Watched for KeyFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn version(&self) -> Option<FileVersion> {
        *self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_again(&self) {
        let read = self.load();
        let Some(log) = self.log.get() else { return };
        match read {
            Ok(()) => {
                let keys = self.table.current().0.len();
                let path = self.path.display();
                log.write(Level::Notice, None, format_args!("{keys} keys are read from \"{path}\""));
            }
            Err(error) => {
                let message = format_args!("{error}; the keys from before stay in force");
                log.write(Level::Error, None, message);
            }
        }
    }
}

/// Looks for what is wrong with a file, and keeps nothing of it.
///
/// # Errors
/// What is wrong, and where.
pub fn check(path: &Path) -> Result<(), String> {
    lines(open(path)?, path, |_, _, _| Ok(()))
}

/// The keys of a file.
///
/// # Errors
/// What is wrong, and where.
pub fn read(path: &Path) -> Result<KeyTable, String> {
    let mut filling = Filling::default();
    lines(open(path)?, path, |hash, consumer, until_s| filling.add(hash, consumer, until_s))?;
    filling.finish().map_err(|hash| twice(path, &hash))
}

fn open(path: &Path) -> Result<File, String> {
    File::open(path).map_err(|error| format!("open() \"{}\" failed {}", path.display(), OsError(&error)))
}

fn twice(path: &Path, hash: &KeyHash) -> String {
    format!("the key {} stands in \"{}\" twice, with different meanings", show_hash(hash), path.display())
}

/// Reads the lines of a file.
fn lines(
    file: File,
    path: &Path,
    mut take: impl FnMut(KeyHash, &[u8], u32) -> Result<(), &'static str>,
) -> Result<(), String> {
    let mut reader = BufReader::with_capacity(READ_BYTES, file);
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let read = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        let read = read.map_err(|error: io::Error| {
            format!("read() \"{}\" failed {}", path.display(), OsError(&error))
        })?;
        if read == 0 {
            return Ok(());
        }
        let taken = match line.ends_with(b"\n") || (read as u64) < LINE_BYTES_MAX {
            true => entry(&line).and_then(|entry| match entry {
                Some((hash, consumer, until_s)) => take(hash, consumer, until_s),
                None => Ok(()),
            }),
            false => Err("the line is too long"),
        };
        taken.map_err(|what| format!("{what} in {}:{number}", path.display()))?;
    }
    Ok(())
}

/// A key: its hash, its consumer, when it expires.
type Entry<'l> = (KeyHash, &'l [u8], u32);

/// What a line says; `None` for an empty one and a comment.
fn entry(line: &[u8]) -> Result<Option<Entry<'_>>, &'static str> {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let Some(first) = words.next().filter(|word| !word.starts_with(b"#")) else { return Ok(None) };
    let hash = parse_hash(first).ok_or("no SHA-256 of a key in hexadecimal")?;
    let consumer = words.next().filter(|name| consumer::is_name(name)).ok_or("no name of a consumer")?;
    let until_s = match words.next() {
        None | Some(b"-" | b"never") => NEVER,
        Some(word) => expiry(word).ok_or("no date of the form 2027-01-31")?,
    };
    match words.next() {
        None => Ok(Some((hash, consumer, until_s))),
        Some(_) => Err("too many words"),
    }
}

/// When the day of an expiry begins.
pub fn expiry(text: &[u8]) -> Option<u32> {
    u32::try_from(date::parse_day(text)?).ok().filter(|at| *at != NEVER)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::pipeline::veil::hash;

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("octroi-keys-{name}-{}", std::process::id()))
    }

    #[test]
    fn lines_are_keys() {
        let path = path("lines");
        let (one, two) = (show_hash(&hash(b"1")), show_hash(&hash(b"2")));
        std::fs::write(
            &path,
            format!("# keys\n\n{one}\tmobile\r\nsha256:{two} partner 2027-01-01 \n  # end"),
        )
        .unwrap();
        let table = read(&path).unwrap();
        let found = table.find(&hash(b"2")).unwrap();
        assert_eq!((table.len(), found.consumer, found.until_s), (2, &b"partner"[..], 1_798_761_600));
        for (text, want) in [
            (format!("{one}\n"), "no name of a consumer"),
            (format!("\n{one} a,b\n"), "no name of a consumer"),
            ("mobile\n".to_owned(), "no SHA-256 of a key in hexadecimal"),
            (format!("{one} a soon"), "no date of the form 2027-01-31"),
            (format!("{one} a - x"), "too many words"),
            (format!("{one} a\n{one} b\n"), "twice, with different meanings"),
            ("#".repeat(2000), "the line is too long"),
        ] {
            std::fs::write(&path, &text).unwrap();
            let error = read(&path).unwrap_err();
            assert!(error.contains(want), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(check(&path).unwrap_err().starts_with("open() \""));
    }

    #[test]
    fn what_is_wrong_leaves_what_was_right() {
        let path = path("stays");
        std::fs::write(&path, format!("{} a\n", show_hash(&hash(b"1")))).unwrap();
        let file = KeyFile::at(&path);
        assert!(Arc::ptr_eq(&file, &KeyFile::at(&path)));
        file.load().unwrap();
        assert_eq!(file.table().current().0.len(), 1);
        std::fs::write(&path, "broken").unwrap();
        assert!(file.load().is_err());
        assert_eq!(file.table().current().0.len(), 1);
        std::fs::write(&path, "").unwrap();
        file.load().unwrap();
        assert_eq!(file.table().current().0.len(), 0);
        std::fs::remove_file(&path).unwrap();
    }
}
