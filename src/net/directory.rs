//! What is in a directory, read on the file pool: the kernel has no way to say beforehand that it need
//! not ask the disk.

use super::file::FileKind;
use super::file_pool;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Entries of one directory that are read; a page of more is of no use to anybody, and would take
/// hundreds of megabytes.
pub const ENTRIES_MAX: usize = 500_000;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: Vec<u8>,
    /// What it is, symbolic links followed.
    pub kind: FileKind,
    /// Its size in bytes.
    pub size: u64,
    /// When it was changed, in seconds since 1970.
    pub modified_unix_s: i64,
}

/// Why a directory could not be read.
#[derive(Debug)]
pub enum Fault {
    /// It could not be opened.
    Open(io::Error),
    /// It could not be read on, or has too many entries.
    Read(io::Error),
    /// This entry could not be looked at.
    Entry(Vec<u8>, io::Error),
}

/// All entries but those whose names begin with a dot, in no order. Those that may not be looked at are
/// left out.
///
/// # Errors
/// The first fault.
pub async fn list(path: &[u8]) -> Result<Vec<Entry>, Fault> {
    let path = path.to_vec();
    match file_pool::run(move || read(Path::new(OsStr::from_bytes(&path)))).await {
        Ok(listed) => listed,
        Err(e) => Err(Fault::Open(e)),
    }
}

fn read(path: &Path) -> Result<Vec<Entry>, Fault> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(Fault::Open)? {
        let entry = entry.map_err(Fault::Read)?;
        let name = entry.file_name().into_vec();
        if name.starts_with(b".") {
            continue;
        }
        if entries.len() == ENTRIES_MAX {
            return Err(Fault::Read(io::Error::other("too many entries")));
        }
        match look(&entry.path()) {
            Ok(facts) => entries.push(of(name, &facts)),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {}
            Err(e) => return Err(Fault::Entry(name, e)),
        }
    }
    Ok(entries)
}

/// What a path leads to; the link itself if it leads nowhere.
fn look(path: &Path) -> io::Result<Metadata> {
    match fs::metadata(path) {
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ELOOP)) => fs::symlink_metadata(path),
        result => result,
    }
}

fn of(name: Vec<u8>, facts: &Metadata) -> Entry {
    let kind = match facts.file_type() {
        kind if kind.is_dir() => FileKind::Directory,
        kind if kind.is_file() => FileKind::Regular,
        _ => FileKind::Other,
    };
    Entry { name, kind, size: facts.len(), modified_unix_s: facts.mtime() }
}
