//! Temporary files: what of a body does not fit into memory. All disk work is done on the file pool.

use std::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::{file, file_pool};
use crate::base::buffer::Buffer;
use crate::base::limits::LARGE_BUFFER_BYTES;

/// Names tried before the folder is given up: others may count in it too, but not that many.
const NAMES_MAX: u32 = 1000;

/// The number of the process's next temporary file.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// How many characters name the folder of each level, nginx's `levels`: the last ones of a file's name, then
/// those before them. 0 for no level.
pub type Levels = [u8; 3];

/// A file without a name in its folder, readable and writable by this process alone: its space is
/// free again when it is dropped, and also when the process is killed.
#[derive(Debug)]
pub struct TempFile {
    descriptor: Arc<OwnedFd>,
    path: PathBuf,
    len: u64,
    _removed: Option<Removed>,
}

/// What becomes of a file with a name when it is no longer used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It stays, and its owner deals with it.
    Keep,
    /// It is removed.
    Remove,
}

/// A file that is removed when this is dropped.
#[derive(Debug)]
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.0);
        // Whoever else removed it was quicker.
        file_pool::later(move || drop(std::fs::remove_file(path)));
    }
}

impl TempFile {
    /// Makes an empty one in `folder`, which is made too (mode 0700) if it is missing.
    ///
    /// # Errors
    /// What open(2) and mkdir(2) report, and those of [`file_pool::run`].
    pub async fn create(folder: &Path) -> io::Result<TempFile> {
        let folder = folder.to_owned();
        let (descriptor, path) = file_pool::run(move || create_in(&folder)).await??;
        Ok(TempFile { descriptor: Arc::new(descriptor), path, len: 0, _removed: None })
    }

    /// Makes an empty one that has a name for as long as it is used, or for good; the folders of its levels
    /// are made too.
    ///
    /// # Errors
    /// As [`TempFile::create`].
    pub async fn create_named(folder: &Path, levels: Levels, then: Then) -> io::Result<TempFile> {
        let folder = folder.to_owned();
        let create = move || in_folder(&folder, |folder| create_with_name(folder, levels));
        let (descriptor, path) = file_pool::run(create).await??;
        let removed = (then == Then::Remove).then(|| Removed(path.clone()));
        Ok(TempFile { descriptor: Arc::new(descriptor), path, len: 0, _removed: removed })
    }

    /// Appends `bytes`, all of them.
    ///
    /// # Errors
    /// What write(2) reports, such as ENOSPC, and those of [`file_pool::run`]. The file is as long
    /// as before.
    pub async fn append(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        let descriptor = self.descriptor.clone();
        let (at, added) = (self.len, bytes.len() as u64);
        file_pool::run(move || write_at(&descriptor, at, &bytes)).await??;
        self.len += added;
        Ok(())
    }

    /// Writes `bytes` at an offset, at most `most` at once; its own notion of its length stays as it is.
    ///
    /// # Errors
    /// As [`TempFile::append`], with the bytes.
    pub async fn write_at(&self, at: u64, bytes: Buffer, most: usize) -> Result<(), (io::Error, Buffer)> {
        let descriptor = self.descriptor.clone();
        let bytes = Arc::new(bytes);
        let shared = bytes.clone();
        let job = move || {
            let parts = shared.filled().chunks(most.max(1));
            parts
                .scan(at, |at, part| Some((std::mem::replace(at, *at + part.len() as u64), part)))
                .try_for_each(|(at, part)| write_at(&descriptor, at, part))
        };
        match file_pool::run(job).await.and_then(|written| written) {
            Ok(()) => Ok(()),
            // The pool has let go of it by now.
            Err(error) => Err((error, Arc::try_unwrap(bytes).unwrap_or_else(|shared| copy(&shared)))),
        }
    }

    /// Reads what stands between two offsets, at most 64 KB of it.
    ///
    /// # Errors
    /// What read(2) reports, [`ErrorKind::UnexpectedEof`] at the end of the file, and those of
    /// [`file_pool::run`].
    pub async fn read_within(&self, from: u64, to: u64) -> io::Result<Buffer> {
        let max = usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX).min(LARGE_BUFFER_BYTES);
        let (n, buffer) = file::read_at(&self.descriptor, from, max, Buffer::with_capacity(max)).await?;
        if n == 0 && max > 0 {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "temporary file got shorter"));
        }
        Ok(buffer)
    }

    /// Reads what stands at `offset`: at most `max` bytes and 64 KB; nothing at the end.
    ///
    /// # Errors
    /// What read(2) reports, and those of [`file_pool::run`].
    pub async fn read_at(&self, offset: u64, max: usize) -> io::Result<Buffer> {
        let end = self.len.min(offset.saturating_add(max as u64));
        if offset >= end {
            return Ok(Buffer::default());
        }
        self.read_within(offset, end).await
    }

    /// The same file for another reader; it is its owner that removes it.
    pub fn shared(&self) -> TempFile {
        let (descriptor, path) = (self.descriptor.clone(), self.path.clone());
        TempFile { descriptor, path, len: self.len, _removed: None }
    }

    /// Bytes in it.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The path it has, had, or would have.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path it had, or would have, for the log.
    pub fn shown(&self) -> impl fmt::Display + '_ {
        self.path.display()
    }
}

fn copy(bytes: &Buffer) -> Buffer {
    let mut copy = Buffer::with_capacity(bytes.len());
    copy.append(bytes.filled());
    copy
}

/// Opens a file that has no name, or no longer one.
fn create_in(folder: &Path) -> io::Result<(OwnedFd, PathBuf)> {
    in_folder(folder, create_nameless)
}

/// Makes something in a folder, which is made too if it is missing.
fn in_folder<T>(folder: &Path, make: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
    match make(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => match rustix::fs::mkdir(folder, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => make(folder),
            Err(error) => Err(error.into()),
        },
        made => made,
    }
}

fn create_nameless(folder: &Path) -> io::Result<(OwnedFd, PathBuf)> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::EXCL | OFlags::CLOEXEC;
    match rustix::fs::openat(CWD, folder, flags, Mode::RUSR | Mode::WUSR) {
        Ok(descriptor) => Ok((descriptor, folder.join(name(next_number())))),
        // Not every file system has files without a name.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => create_unlinked(folder),
        Err(error) => Err(error.into()),
    }
}

/// Makes a file and takes its name away at once.
fn create_unlinked(folder: &Path) -> io::Result<(OwnedFd, PathBuf)> {
    let (descriptor, path) = create_with_name(folder, [0; 3])?;
    rustix::fs::unlinkat(CWD, &path, AtFlags::empty())?;
    Ok((descriptor, path))
}

/// Makes a file under a name that nothing has.
fn create_with_name(folder: &Path, levels: Levels) -> io::Result<(OwnedFd, PathBuf)> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for _ in 0..NAMES_MAX {
        let name = name(next_number());
        let inner = levelled(folder, levels, &name);
        let path = inner.join(&name);
        let open = || rustix::fs::openat(CWD, &path, flags, Mode::RUSR | Mode::WUSR);
        let opened = match open() {
            Err(Errno::NOENT) if inner != folder => {
                make_levels(folder, &inner)?;
                open()
            }
            opened => opened,
        };
        match opened {
            Ok(descriptor) => return Ok((descriptor, path)),
            Err(Errno::EXIST | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Errno::EXIST.into())
}

/// The folder of a file's name among the levels: `folder/7/45` for `0000123457` with the levels 1 and 2.
fn levelled(folder: &Path, levels: Levels, name: &str) -> PathBuf {
    let mut inner = folder.to_owned();
    let mut rest = name;
    for level in levels.into_iter().take_while(|&level| level > 0) {
        let Some((before, part)) = rest.split_at_checked(rest.len().saturating_sub(level.into())) else {
            break;
        };
        inner.push(part);
        rest = before;
    }
    inner
}

/// Makes the folders between `folder`, which must be there, and `inner`.
fn make_levels(folder: &Path, inner: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = inner.ancestors().take_while(|path| *path != folder).collect();
    for path in missing.into_iter().rev() {
        match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn next_number() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// nginx's names: ten digits or more.
fn name(number: u64) -> String {
    format!("{number:010}")
}

fn write_at(file: &OwnedFd, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(file, bytes, offset) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => {
                offset += n as u64;
                bytes = bytes.get(n..).unwrap_or_default();
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::net::file_pool::on_both_drivers;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("octroi-temp-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn what_was_written_is_read_and_leaves_no_trace() {
        let folder = folder("write");
        on_both_drivers(|| {
            let folder = folder.clone();
            async move {
                let mut file = TempFile::create(&folder).await.unwrap();
                assert!(file.is_empty());
                assert_eq!(file.read_at(0, 100).await.unwrap().len(), 0);
                let data: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
                for chunk in data.chunks(33_333) {
                    file.append(chunk.to_vec()).await.unwrap();
                }
                assert_eq!(file.len(), 200_000);
                let mut read = Vec::new();
                while (read.len() as u64) < file.len() {
                    let piece = file.read_at(read.len() as u64, usize::MAX).await.unwrap();
                    assert!(!piece.is_empty() && piece.len() <= LARGE_BUFFER_BYTES);
                    read.extend_from_slice(piece.filled());
                }
                assert_eq!(read, data);
                assert_eq!(file.read_at(150_000, 3).await.unwrap().filled(), &data[150_000..150_003]);
                assert!(file.read_at(200_000, 3).await.unwrap().is_empty());
                assert_eq!(rustix::fs::fstat(&*file.descriptor).unwrap().st_mode & 0o7777, 0o600);
                let shown = file.shown().to_string();
                let number = shown.strip_prefix(folder.to_str().unwrap()).unwrap().trim_matches('/');
                assert!(number.len() >= 10 && number.bytes().all(|b| b.is_ascii_digit()), "{shown}");
                assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
            }
        });
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_name_in_use_is_passed_over() {
        let folder = folder("names");
        fs::create_dir(&folder).unwrap();
        let taken = folder.join(name(NEXT.load(Ordering::Relaxed) + 1));
        fs::write(&taken, b"another's").unwrap();
        for _ in 0..3 {
            let (descriptor, path) = create_unlinked(&folder).unwrap();
            assert!(path != taken && !path.exists());
            assert_eq!(rustix::fs::fstat(&descriptor).unwrap().st_mode & 0o7777, 0o600);
        }
        assert_eq!(fs::metadata(&taken).unwrap().size(), 9);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_with_a_name_goes_or_stays() {
        let folder = folder("named");
        on_both_drivers(|| {
            let folder = folder.clone();
            async move {
                let mut kept = TempFile::create_named(&folder, [0; 3], Then::Keep).await.unwrap();
                kept.append(b"kept".to_vec()).await.unwrap();
                let path = kept.path().to_owned();
                drop(kept);
                assert_eq!(fs::read(path).unwrap(), b"kept");
                let removed = TempFile::create_named(&folder, [0; 3], Then::Remove).await.unwrap();
                let path = removed.path().to_owned();
                assert!(path.exists());
                drop(removed);
                let begun = std::time::Instant::now();
                while path.exists() {
                    assert!(begun.elapsed().as_secs() < 10);
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
            }
        });
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn errors_are_the_kernels() {
        on_both_drivers(|| async {
            let error = TempFile::create(Path::new("/proc/none/below")).await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(Errno::NOENT.raw_os_error()));
            let full = rustix::fs::open("/dev/full", OFlags::RDWR, Mode::empty()).unwrap();
            let mut file =
                TempFile { descriptor: Arc::new(full), path: PathBuf::new(), len: 0, _removed: None };
            let error = file.append(b"lost".to_vec()).await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(Errno::NOSPC.raw_os_error()));
            assert_eq!(file.len(), 0);
        });
    }
}
