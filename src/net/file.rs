//! Files that are sent: opened and read inline as long as the kernel has what is asked for in its
//! caches (openat2 with RESOLVE_CACHED, preadv2 with RWF_NOWAIT), on the file pool where it has not.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{FileType, OFlags, ResolveFlags, Stat};
use rustix::io::{Errno, ReadWriteFlags};

use super::file_pool;
use super::symlinks::{self, Links};
use crate::base::buffer::Buffer;
use crate::base::limits::{LARGE_BUFFER_BYTES, SENDFILE_LEAST};

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// Anything else: a device, a pipe, a socket.
    Other,
}

/// What stat(2) says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// What it is.
    pub kind: FileKind,
    /// Its size, bytes.
    pub size: u64,
    /// When it was last changed, seconds since the epoch.
    pub modified_unix_s: i64,
    /// Its inode.
    pub inode: u64,
    /// Its owner may execute it.
    pub executable: bool,
}

/// A file opened for reading.
#[derive(Clone, Debug)]
pub struct OpenFile {
    descriptor: Arc<OwnedFd>,
    /// What it was when it was opened.
    pub facts: FileFacts,
}

/// Opens a file for reading; symbolic links are followed, and nothing waits for the other end of a
/// pipe. A directory can be opened too: look at the facts.
///
/// # Errors
/// What open(2) and fstat(2) report, ENOENT for a path with a NUL in it, and those of
/// [`file_pool::run`].
pub async fn open(path: &[u8]) -> io::Result<OpenFile> {
    open_with(path, Links::Followed).await
}

/// The same under a rule for symbolic links.
///
/// # Errors
/// Those of [`open`]; ELOOP or ENOTDIR for a link that is refused.
pub async fn open_with(path: &[u8], links: Links) -> io::Result<OpenFile> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    if path.contains(&0) {
        return Err(Errno::NOENT.into());
    }
    let descriptor = match open_cached(path, links, flags) {
        Some(result) => result?,
        None => {
            let path = path.to_vec();
            file_pool::run(move || symlinks::open(&path, links, flags, ResolveFlags::empty())).await??
        }
    };
    let facts = facts_of(&rustix::fs::fstat(&descriptor)?);
    Ok(OpenFile { descriptor: Arc::new(descriptor), facts })
}

/// Looks at what stands at a path, without opening it for reading: no permission on the file itself
/// is needed.
///
/// # Errors
/// What stat(2) reports, ENOENT for a path with a NUL in it, and those of [`file_pool::run`].
pub async fn facts(path: &[u8]) -> io::Result<FileFacts> {
    facts_with(path, Links::Followed).await
}

/// The same under a rule for symbolic links.
///
/// # Errors
/// Those of [`facts`]; ELOOP or ENOTDIR for a link that is refused.
pub async fn facts_with(path: &[u8], links: Links) -> io::Result<FileFacts> {
    Ok(facts_of(&stat(path, links).await?))
}

/// What the kernel knows of what stands at a path.
pub(super) async fn stat(path: &[u8], links: Links) -> io::Result<Stat> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    if path.contains(&0) {
        return Err(Errno::NOENT.into());
    }
    Ok(match open_cached(path, links, flags) {
        Some(result) => rustix::fs::fstat(result?)?,
        None => {
            let path = path.to_vec();
            let look = move || -> rustix::io::Result<Stat> {
                rustix::fs::fstat(symlinks::open(&path, links, flags, ResolveFlags::empty())?)
            };
            file_pool::run(look).await??
        }
    })
}

/// Opens what can be found without a disk; `None` when that is not known without asking one, or when
/// the kernel cannot tell (before Linux 5.12, or in a sandbox that refuses openat2).
fn open_cached(path: &[u8], links: Links, flags: OFlags) -> Option<io::Result<OwnedFd>> {
    match symlinks::open(path, links, flags, ResolveFlags::CACHED) {
        Err(Errno::AGAIN | Errno::NOSYS | Errno::PERM | Errno::INVAL | Errno::INTR) => None,
        result => Some(result.map_err(io::Error::from)),
    }
}

fn facts_of(stat: &Stat) -> FileFacts {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => FileKind::Regular,
        FileType::Directory => FileKind::Directory,
        _ => FileKind::Other,
    };
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let executable = rustix::fs::Mode::from_raw_mode(stat.st_mode).contains(rustix::fs::Mode::XUSR);
    FileFacts { kind, size, modified_unix_s: stat.st_mtime, inode: stat.st_ino, executable }
}

/// Appends what stands at `offset` to `buffer`, at most `max` bytes and what fits; 0 bytes at the
/// file's end. On an error the buffer is lost.
pub(super) async fn read_at(
    file: &Arc<OwnedFd>,
    offset: u64,
    max: usize,
    mut buffer: Buffer,
) -> io::Result<(usize, Buffer)> {
    let spare = buffer.spare();
    let room = max.min(spare.len());
    if room == 0 {
        return Ok((0, buffer));
    }
    let mut target = [IoSliceMut::new(&mut spare[..room])];
    match rustix::io::preadv2(&**file, &mut target, offset, ReadWriteFlags::NOWAIT) {
        // Linux 5.9 and 5.10 may say 0 before the end (preadv2(2), "BUGS"): the pool knows better.
        Ok(0) | Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::INTR) => {}
        Ok(n) => {
            buffer.advance(n);
            return Ok((n, buffer));
        }
        Err(error) => return Err(error.into()),
    }
    let file = file.clone();
    file_pool::run(move || {
        let n = loop {
            match rustix::io::pread(&*file, &mut buffer.spare()[..room], offset) {
                Err(Errno::INTR) => {}
                result => break result?,
            }
        };
        buffer.advance(n);
        Ok((n, buffer))
    })
    .await?
}

/// What of a file, or of several parts of it with text between them, is still to be sent.
#[derive(Debug)]
pub struct FileRange {
    file: OpenFile,
    /// The stretch of the file that comes next.
    offset: u64,
    len: u64,
    /// What comes behind it.
    rest: VecDeque<Segment>,
    /// Bytes of all of it.
    remaining: u64,
}

/// A stretch of an answer's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Bytes that are not in the file: the head of a part.
    Text(Vec<u8>),
    /// Bytes of the file.
    File {
        /// The first one.
        offset: u64,
        /// How many.
        len: u64,
    },
}

impl FileRange {
    /// `len` bytes of `file` from `offset`.
    pub fn new(file: OpenFile, offset: u64, len: u64) -> FileRange {
        FileRange { file, offset, len, rest: VecDeque::new(), remaining: len }
    }

    /// Several stretches, one behind the other.
    pub fn of_segments(file: OpenFile, segments: Vec<Segment>) -> FileRange {
        let lengths = segments.iter().map(|segment| match segment {
            Segment::Text(text) => text.len() as u64,
            Segment::File { len, .. } => *len,
        });
        let remaining = lengths.sum();
        FileRange { file, offset: 0, len: 0, rest: segments.into(), remaining }
    }

    /// The file.
    pub fn file(&self) -> &OpenFile {
        &self.file
    }

    /// Bytes still to be sent.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// The next piece, in a buffer from the free list that fits what is left: 16 or 64 KB. `None`
    /// at the end.
    ///
    /// # Errors
    /// What reading reports, and [`io::ErrorKind::UnexpectedEof`] when the file got shorter than it
    /// was: the answer's length was announced, so that only cutting the connection tells the client.
    pub async fn next(&mut self) -> io::Result<Option<Buffer>> {
        let wanted = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(LARGE_BUFFER_BYTES);
        if wanted == 0 {
            return Ok(None);
        }
        self.append_to(Buffer::with_capacity(wanted)).await.map(Some)
    }

    /// Appends what comes next to `buffer`, so that a small file goes behind its head. Less than
    /// fits may come; nothing more comes once [`FileRange::remaining`] is 0.
    ///
    /// # Errors
    /// As [`FileRange::next`]; the buffer is lost.
    pub async fn append_to(&mut self, mut buffer: Buffer) -> io::Result<Buffer> {
        while buffer.room() > 0 {
            if self.len > 0 {
                buffer = self.read_file(buffer).await?;
                // The cache had only a part: that is sent before a disk is asked for more.
                if self.len > 0 {
                    break;
                }
                continue;
            }
            match self.rest.front_mut() {
                None => break,
                Some(Segment::Text(text)) => {
                    let n = buffer.append(text);
                    self.remaining = self.remaining.saturating_sub(n as u64);
                    text.drain(..n);
                    if text.is_empty() {
                        self.rest.pop_front();
                    }
                }
                Some(Segment::File { offset, len }) => {
                    (self.offset, self.len) = (*offset, *len);
                    self.rest.pop_front();
                }
            }
        }
        Ok(buffer)
    }

    /// What comes next of a file that is sent as it is, at most `max` bytes, if the kernel has it in
    /// memory; `None` where it has not, or where it is not worth a call of its own.
    pub fn at_hand(&self, max: usize) -> Option<(BorrowedFd<'_>, u64, usize)> {
        if !self.rest.is_empty() || self.len <= SENDFILE_LEAST {
            return None;
        }
        let len = max.min(usize::try_from(self.len).unwrap_or(usize::MAX));
        let file = self.file.descriptor.as_fd();
        let cached = |at: u64| {
            let mut byte = [0; 1];
            let mut target = [IoSliceMut::new(&mut byte)];
            rustix::io::preadv2(file, &mut target, at, ReadWriteFlags::NOWAIT) == Ok(1)
        };
        let all = cached(self.offset) && cached(self.offset + len as u64 - 1);
        all.then_some((file, self.offset, len))
    }

    /// Counts bytes of that as sent.
    pub fn sent(&mut self, bytes: usize) {
        self.offset += bytes as u64;
        self.len = self.len.saturating_sub(bytes as u64);
        self.remaining = self.remaining.saturating_sub(bytes as u64);
    }

    async fn read_file(&mut self, buffer: Buffer) -> io::Result<Buffer> {
        let max = usize::try_from(self.len).unwrap_or(usize::MAX);
        let (n, buffer) = read_at(&self.file.descriptor, self.offset, max, buffer).await?;
        if n == 0 {
            let message = "file got shorter while it was sent";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        self.sent(n);
        Ok(buffer)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::net::file_pool::on_both_drivers;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::path::{Path, PathBuf};

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("octroi-file-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn bytes(path: &Path) -> &[u8] {
        path.as_os_str().as_bytes()
    }

    async fn all(range: &mut FileRange) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(piece) = range.next().await? {
            assert!(!piece.is_empty());
            all.extend_from_slice(piece.filled());
        }
        assert_eq!(range.remaining(), 0);
        Ok(all)
    }

    #[test]
    fn a_file_is_read_whole_and_in_parts() {
        let folder = folder("read");
        let path = folder.join("data");
        let data: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
        fs::write(&path, &data).unwrap();
        on_both_drivers(|| {
            let (path, data) = (path.clone(), data.clone());
            async move {
                let file = open(bytes(&path)).await.unwrap();
                assert_eq!((file.facts.kind, file.facts.size), (FileKind::Regular, 300_000));
                assert!(file.facts.modified_unix_s > 1_700_000_000);
                assert_eq!(all(&mut FileRange::new(file.clone(), 0, 300_000)).await.unwrap(), data);
                assert_eq!(
                    all(&mut FileRange::new(file.clone(), 99_999, 7)).await.unwrap(),
                    data[99_999..100_006]
                );
                // Out of the page cache, where the file system lets go of it: then the pool reads.
                fs::File::open(&path).unwrap().sync_all().unwrap();
                rustix::fs::fadvise(&*file.descriptor, 0, None, rustix::fs::Advice::DontNeed).unwrap();
                assert_eq!(all(&mut FileRange::new(file.clone(), 0, 300_000)).await.unwrap(), data);
                assert!(FileRange::new(file.clone(), 5, 0).next().await.unwrap().is_none());
                let first = FileRange::new(file.clone(), 0, 300).next().await.unwrap().unwrap();
                assert_eq!((first.len(), first.capacity()), (300, crate::base::limits::SMALL_BUFFER_BYTES));
                let segments = vec![
                    Segment::Text(b"<".to_vec()),
                    Segment::File { offset: 10, len: 5 },
                    Segment::Text(vec![b'-'; 70_000]),
                    Segment::File { offset: 0, len: 0 },
                    Segment::File { offset: 1000, len: 200_000 },
                    Segment::Text(b">".to_vec()),
                ];
                let mut range = FileRange::of_segments(file, segments);
                assert_eq!(range.remaining(), 270_007);
                let expected =
                    [b"<", &data[10..15], &[b'-'; 70_000][..], &data[1000..201_000], b">"].concat();
                assert_eq!(all(&mut range).await.unwrap(), expected);
            }
        });
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_small_file_goes_behind_its_head() {
        let folder = folder("head");
        let path = folder.join("data");
        fs::write(&path, b"body").unwrap();
        on_both_drivers(|| {
            let path = path.clone();
            async move {
                let mut range = FileRange::new(open(bytes(&path)).await.unwrap(), 0, 4);
                let mut buffer = Buffer::ordinary();
                buffer.append(b"head ");
                assert_eq!(range.append_to(buffer).await.unwrap().filled(), b"head body");
                assert!(range.next().await.unwrap().is_none());
            }
        });
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_got_shorter_is_an_error() {
        let folder = folder("short");
        let path = folder.join("data");
        on_both_drivers(|| {
            let path = path.clone();
            async move {
                fs::write(&path, vec![1; 100_000]).unwrap();
                let mut range = FileRange::new(open(bytes(&path)).await.unwrap(), 0, 100_000);
                range.next().await.unwrap();
                fs::write(&path, b"x").unwrap();
                let error = loop {
                    match range.next().await {
                        Ok(piece) => assert!(piece.is_some()),
                        Err(error) => break error,
                    }
                };
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            }
        });
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_at_a_path() {
        let folder = folder("facts");
        fs::write(folder.join("file"), b"123").unwrap();
        std::os::unix::fs::symlink("loop", folder.join("loop")).unwrap();
        on_both_drivers(|| {
            let folder = folder.clone();
            async move {
                let at = |name: &str| bytes(&folder.join(name)).to_vec();
                assert_eq!(facts(&at("file")).await.unwrap().size, 3);
                assert_eq!(facts(&at("")).await.unwrap().kind, FileKind::Directory);
                assert_eq!(facts(b"/dev/null").await.unwrap().kind, FileKind::Other);
                assert_eq!(open(&at("")).await.unwrap().facts.kind, FileKind::Directory);
                for (path, errno) in [
                    (at("missing"), Errno::NOENT),
                    (at("file/below"), Errno::NOTDIR),
                    (at("loop"), Errno::LOOP),
                    (at(&"x".repeat(300)), Errno::NAMETOOLONG),
                    (at(&"x/".repeat(4000)), Errno::NAMETOOLONG),
                    (b"/etc/passwd\0.html".to_vec(), Errno::NOENT),
                    (Vec::new(), Errno::NOENT),
                ] {
                    let raw = Some(errno.raw_os_error());
                    assert_eq!(
                        facts(&path).await.unwrap_err().raw_os_error(),
                        raw,
                        "{}",
                        path.escape_ascii()
                    );
                    assert_eq!(open(&path).await.unwrap_err().raw_os_error(), raw, "{}", path.escape_ascii());
                }
            }
        });
        fs::remove_dir_all(folder).unwrap();
    }
}
