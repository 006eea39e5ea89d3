//! A configuration's texts as one value, with the addresses of the names in it: recorded where they
//! may be read, sent to another process, and parsed there without a file system. A name means the
//! same addresses in both, whatever the system would say by then.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::net::IpAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::files::Files;
use super::glob;

/// The first bytes of an encoded snapshot; the digit is the version of the form.
const MAGIC: &[u8] = b"octroi-conf-2\n";

/// `ENOENT`: what a path that was never recorded gives.
const NOT_FOUND: i32 = 2;

/// `EIO`: how an error that is none of the kernel's is replayed.
const EIO: i32 = 5;

/// Files that also remembers what was read.
#[derive(Debug)]
pub struct Recorder<F: Files> {
    inner: F,
    snapshot: Snapshot,
}

impl<F: Files> Recorder<F> {
    /// Records what is read through it from `inner`.
    pub fn new(inner: F) -> Self {
        Recorder { inner, snapshot: Snapshot::default() }
    }

    /// What was recorded so far.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What was recorded.
    pub fn into_snapshot(self) -> Snapshot {
        self.snapshot
    }
}

impl<F: Files> Files for Recorder<F> {
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        // Read twice, a file could hold two things, and one that is a pipe only holds them once.
        if let Some(known) = self.snapshot.reads.get(path) {
            return replayed(known);
        }
        let result = self.inner.read(path);
        self.snapshot.reads.insert(path.to_owned(), kept(&result));
        result
    }

    fn glob(&mut self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        let result = self.inner.glob(pattern);
        self.snapshot.globs.insert(pattern.to_owned(), kept(&result));
        result
    }

    fn resolve(&mut self, host: &str) -> io::Result<Vec<IpAddr>> {
        // Asked for twice, a name could mean two things.
        if let Some(known) = self.snapshot.hosts.get(host) {
            return replayed(known);
        }
        let result = self.inner.resolve(host);
        self.snapshot.hosts.insert(host.to_owned(), kept(&result));
        result
    }
}

/// Files from memory: the texts, the results of the patterns, and the errors among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    reads: BTreeMap<PathBuf, Result<Vec<u8>, i32>>,
    globs: BTreeMap<String, Result<Vec<PathBuf>, i32>>,
    hosts: BTreeMap<String, Result<Vec<IpAddr>, i32>>,
}

impl Snapshot {
    /// Adds a file.
    pub fn insert(&mut self, path: impl Into<PathBuf>, text: impl Into<Vec<u8>>) {
        self.reads.insert(path.into(), Ok(text.into()));
    }

    /// The snapshot as bytes: counts, lengths and error numbers as little-endian 64-bit words.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        put_number(&mut out, self.reads.len() as u64);
        for (path, result) in &self.reads {
            put_bytes(&mut out, path.as_os_str().as_bytes());
            put_status(&mut out, result);
            if let Ok(text) = result {
                put_bytes(&mut out, text);
            }
        }
        put_number(&mut out, self.globs.len() as u64);
        for (pattern, result) in &self.globs {
            put_bytes(&mut out, pattern.as_bytes());
            put_status(&mut out, result);
            if let Ok(paths) = result {
                put_number(&mut out, paths.len() as u64);
                paths.iter().for_each(|path| put_bytes(&mut out, path.as_os_str().as_bytes()));
            }
        }
        put_number(&mut out, self.hosts.len() as u64);
        for (host, result) in &self.hosts {
            put_bytes(&mut out, host.as_bytes());
            put_status(&mut out, result);
            if let Ok(addresses) = result {
                put_number(&mut out, addresses.len() as u64);
                addresses.iter().for_each(|address| put_bytes(&mut out, address.to_string().as_bytes()));
            }
        }
        out
    }

    /// Reads what `encode` wrote.
    ///
    /// # Errors
    /// `InvalidData` if the bytes are anything else.
    pub fn decode(bytes: &[u8]) -> io::Result<Snapshot> {
        decoded(bytes)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a snapshot of a configuration"))
    }
}

impl Files for Snapshot {
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        match self.reads.get(path) {
            Some(known) => replayed(known),
            None => Err(io::Error::from_raw_os_error(NOT_FOUND)),
        }
    }

    /// A recorded pattern gives what it gave; any other is matched against the texts at hand.
    fn glob(&mut self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        match self.globs.get(pattern) {
            Some(known) => replayed(known),
            None => Ok(self.reads.keys().filter(|path| glob::path_matches(pattern, path)).cloned().collect()),
        }
    }

    fn resolve(&mut self, host: &str) -> io::Result<Vec<IpAddr>> {
        match self.hosts.get(host) {
            Some(known) => replayed(known),
            None => Err(io::Error::from_raw_os_error(NOT_FOUND)),
        }
    }
}

/// What was recorded, again.
fn replayed<T: Clone>(known: &Result<T, i32>) -> io::Result<T> {
    known.clone().map_err(io::Error::from_raw_os_error)
}

/// A result with its error cut down to what the message needs.
fn kept<T: Clone>(result: &io::Result<T>) -> Result<T, i32> {
    match result {
        Ok(value) => Ok(value.clone()),
        Err(error) => Err(error.raw_os_error().unwrap_or(EIO)),
    }
}

fn put_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// 0 for a success, else the error number.
fn put_status<T>(out: &mut Vec<u8>, result: &Result<T, i32>) {
    put_number(out, result.as_ref().err().map_or(0, |&errno| u64::from(errno.unsigned_abs())));
}

fn decoded(bytes: &[u8]) -> Option<Snapshot> {
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let mut snapshot = Snapshot::default();
    for _ in 0..take_number(&mut rest)? {
        let path = take_path(&mut rest)?;
        let result = match take_status(&mut rest)? {
            0 => Ok(take_bytes(&mut rest)?.to_vec()),
            errno => Err(errno),
        };
        snapshot.reads.insert(path, result);
    }
    for _ in 0..take_number(&mut rest)? {
        let pattern = take_text(&mut rest)?.to_owned();
        let result = match take_status(&mut rest)? {
            0 => {
                let mut paths = Vec::new();
                for _ in 0..take_number(&mut rest)? {
                    paths.push(take_path(&mut rest)?);
                }
                Ok(paths)
            }
            errno => Err(errno),
        };
        snapshot.globs.insert(pattern, result);
    }
    for _ in 0..take_number(&mut rest)? {
        let host = take_text(&mut rest)?.to_owned();
        let result = match take_status(&mut rest)? {
            0 => {
                let mut addresses = Vec::new();
                for _ in 0..take_number(&mut rest)? {
                    addresses.push(take_text(&mut rest)?.parse().ok()?);
                }
                Ok(addresses)
            }
            errno => Err(errno),
        };
        snapshot.hosts.insert(host, result);
    }
    rest.is_empty().then_some(snapshot)
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let (number, tail) = rest.split_first_chunk::<8>()?;
    *rest = tail;
    Some(u64::from_le_bytes(*number))
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_number(rest)?).ok()?;
    let (bytes, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(bytes)
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(take_bytes(rest)?).ok()
}

fn take_path(rest: &mut &[u8]) -> Option<PathBuf> {
    Some(PathBuf::from(OsString::from_vec(take_bytes(rest)?.to_vec())))
}

fn take_status(rest: &mut &[u8]) -> Option<i32> {
    i32::try_from(take_number(rest)?).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn recorded() -> Snapshot {
        let mut files = Snapshot::default();
        files.insert("/etc/a.conf", "include b*;");
        files.insert("/etc/b1", [0xff, 0]);
        files.hosts.insert("up".to_owned(), Ok(vec![[192, 0, 2, 1].into(), [0, 0, 0, 0, 0, 0, 0, 1].into()]));
        let mut recorder = Recorder::new(files);
        recorder.read(Path::new("/etc/a.conf")).unwrap();
        assert_eq!(recorder.glob("/etc/b*").unwrap(), [PathBuf::from("/etc/b1")]);
        assert!(recorder.glob("/none*").unwrap().is_empty());
        recorder.read(Path::new("/etc/b1")).unwrap();
        recorder.read(Path::new("/etc/missing")).unwrap_err();
        assert_eq!(recorder.resolve("up").unwrap().len(), 2);
        recorder.resolve("nowhere").unwrap_err();
        recorder.into_snapshot()
    }

    #[test]
    fn travels_whole() {
        let snapshot = recorded();
        let mut copy = Snapshot::decode(&snapshot.encode()).unwrap();
        assert_eq!(copy, snapshot);
        assert_eq!(copy.read(Path::new("/etc/b1")).unwrap(), [0xff, 0]);
        assert_eq!(copy.read(Path::new("/etc/missing")).unwrap_err().raw_os_error(), Some(2));
        assert_eq!(copy.glob("/etc/b*").unwrap(), [PathBuf::from("/etc/b1")]);
        assert_eq!(copy.resolve("up").unwrap(), [IpAddr::from([192, 0, 2, 1]), "::1".parse().unwrap()]);
        assert_eq!(copy.resolve("nowhere").unwrap_err().raw_os_error(), Some(2));
    }

    #[test]
    fn anything_else_is_refused() {
        let whole = recorded().encode();
        for length in 0..whole.len() {
            assert!(Snapshot::decode(&whole[..length]).is_err());
        }
        let mut long = whole.clone();
        long.push(0);
        assert!(Snapshot::decode(&long).is_err());
        let mut huge = MAGIC.to_vec();
        huge.extend_from_slice(&[0xff; 24]);
        assert!(Snapshot::decode(&huge).is_err());
    }
}
