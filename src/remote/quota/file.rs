//! Counts in a folder of this host: `counts`, to which records are appended, and `lock`, which is held
//! while anybody reads or writes it. Several processes may count together in one folder, as the old and
//! the new one do while one takes over from the other.
//!
//! A record is on the disk's way (write(2)) within half a second, which outlives the process but not the
//! host. When the file has grown too long, what counts is written to a new one (fsync, rename), so there
//! is a whole file at any time.

use super::record::{self, Damage, HEAD, Record};
use crate::base::process_settings::Level;
use crate::bridge::quota::{Account, Book, Kept};
use crate::bridge::window::Window;
use crate::net::error_log::ErrorLog;
use ahash::AHashMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long another process may hold the lock while this one begins or ends, in steps of ten
/// milliseconds: it does for as long as it takes to write a few records, or the whole file.
const LOCK_TRIES: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// A file below this is never written anew: bytes.
const COMPACT_MIN: u64 = 1 << 20;

/// How many times as long as when it was last written anew a file may become.
const COMPACT_GROWTH: u64 = 4;

/// The file of counts, open.
pub(super) struct CountsFile {
    folder: PathBuf,
    lock: File,
    file: File,
    inode: u64,
    /// Bytes of it that are in the book.
    known: u64,
    /// How long it was when it was last written anew.
    compacted: u64,
    /// The file has none of what the accounts count, or an unknown part of it.
    writes_all: bool,
    /// Its last line is not whole: somebody died while writing it.
    is_torn: bool,
}

/// What a window of a caller came to.
type Totals = AHashMap<(Window, Vec<u8>), Kept>;

impl CountsFile {
    /// Opens the folder, or makes it, and enters what is kept there into the book.
    ///
    /// # Errors
    /// It cannot be made, read or written, or another process holds it.
    pub(super) fn open(folder: &Path, book: &Book, unix_s: u64, log: &ErrorLog) -> io::Result<CountsFile> {
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let lock = options().open(folder.join("lock"))?;
        let _held = Locked::wait(&lock)?;
        let (file, inode) = open_counts(folder)?;
        let mut counts = CountsFile {
            folder: folder.to_owned(),
            lock: lock.try_clone()?,
            file,
            inode,
            known: 0,
            compacted: 0,
            writes_all: false,
            is_torn: false,
        };
        let (totals, damage) = counts.read_all(unix_s)?;
        for ((window, caller), kept) in totals {
            if let Some(account) = book.account(window, &caller) {
                account.add_kept(kept.number, kept.count);
            }
        }
        if let Some(damage) = damage {
            counts.set_aside(damage, log)?;
            counts.compact(book, unix_s)?;
        }
        Ok(counts)
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes what others have written, and writes what has changed. Where another process holds the lock it
    /// is left for the next time, unless this is the last.
    ///
    /// # Errors
    /// What reading or writing gave; nothing is lost then but time.
    pub(super) fn save(&mut self, book: &Book, unix_s: u64, is_last: bool) -> io::Result<()> {
        let lock = self.lock.try_clone()?;
        let held = if is_last { Locked::wait(&lock).map(Some) } else { Locked::now(&lock) };
        let Some(_held) = held? else { return Ok(()) };
        if fs::metadata(self.path()).map_or(0, |facts| facts.ino()) == self.inode {
            self.read_others(book, unix_s)?;
        } else {
            self.follow(book, unix_s)?;
        }
        let accounts = if self.writes_all || is_last { book.all() } else { book.take_changed(usize::MAX) };
        self.append(&accounts, unix_s)?;
        if self.known > COMPACT_MIN.max(self.compacted.saturating_mul(COMPACT_GROWTH)) {
            self.compact(book, unix_s)?;
        }
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.folder.join("counts")
    }

    /// Reads the whole file; the sums of windows that are not over, and what is damaged.
    fn read_all(&mut self, unix_s: u64) -> io::Result<(Totals, Option<Damage>)> {
        let mut text = Vec::new();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.read_to_end(&mut text)?;
        if text.is_empty() {
            self.file.write_all(HEAD)?;
            text.extend_from_slice(HEAD);
        }
        let mut totals = Totals::default();
        let (records, is_ours) = match text.strip_prefix(HEAD) {
            Some(records) => (records, true),
            // Its first line is damaged, or it never was such a file.
            None => (&text[..], false),
        };
        let mut damage = record::read(records, |record| add(&mut totals, record, unix_s));
        if is_ours {
            damage.first_at += HEAD.len() as u64;
        }
        self.known = text.len() as u64;
        self.compacted = self.known;
        self.is_torn = text.last() != Some(&b'\n');
        Ok((totals, (damage.records > 0 || !is_ours).then_some(damage)))
    }

    /// Keeps the damaged file beside, and says so.
    fn set_aside(&self, damage: Damage, log: &ErrorLog) -> io::Result<()> {
        let aside = self.folder.join("counts.damaged");
        fs::copy(self.path(), &aside)?;
        let Damage { records, first_at } = damage;
        log.write(
            Level::Error,
            None,
            format_args!(
                "quota_store \"{}\": {records} records are damaged, the first at byte {first_at}; what they counted is not known any more; the file as it was is \"{}\"",
                self.folder.display(),
                aside.display()
            ),
        );
        Ok(())
    }

    /// Takes what other processes have appended.
    fn read_others(&mut self, book: &Book, unix_s: u64) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        if length < self.known {
            return self.resync(book, unix_s);
        }
        if length == self.known {
            return Ok(());
        }
        let mut text = Vec::new();
        self.file.seek(SeekFrom::Start(self.known))?;
        self.file.read_to_end(&mut text)?;
        let mut totals = Totals::default();
        record::read(&text, |record| add(&mut totals, record, unix_s));
        for ((window, caller), kept) in totals {
            if let Some(account) = book.account(window, &caller) {
                account.add_kept(kept.number, kept.count);
            }
        }
        self.known = length;
        self.is_torn = text.last() != Some(&b'\n');
        Ok(())
    }

    /// Goes on in the file that another process has put in the place of this one.
    fn follow(&mut self, book: &Book, unix_s: u64) -> io::Result<()> {
        (self.file, self.inode) = open_counts(&self.folder)?;
        self.resync(book, unix_s)
    }

    /// Brings the book and the file together, whatever became of the file: the book takes what others
    /// have added, the file gets what it lost.
    fn resync(&mut self, book: &Book, unix_s: u64) -> io::Result<()> {
        let (mut totals, _) = self.read_all(unix_s)?;
        for account in book.all() {
            let in_file = totals.remove(&(account.window, account.caller.to_vec())).unwrap_or_default();
            let kept = *account.kept();
            if in_file.number > kept.number {
                account.add_kept(in_file.number, in_file.count);
            } else if in_file.number == kept.number && in_file.count >= kept.count {
                account.add_kept(in_file.number, in_file.count - kept.count);
            } else {
                let count = if in_file.number == kept.number { in_file.count } else { 0 };
                *account.kept() = Kept { count, ..kept };
            }
        }
        for ((window, caller), kept) in totals {
            if let Some(account) = book.account(window, &caller) {
                account.add_kept(kept.number, kept.count);
            }
        }
        self.writes_all = true;
        Ok(())
    }

    /// Appends what the accounts have counted since it was last kept.
    fn append(&mut self, accounts: &[Arc<Account>], unix_s: u64) -> io::Result<()> {
        let mut text = Vec::new();
        if self.is_torn {
            text.push(b'\n');
        }
        let begin = text.len();
        let mut written = Vec::new();
        for account in accounts {
            let used = account.used();
            let kept = *account.kept();
            let before = if kept.number == used.number { kept.count } else { 0 };
            let count = used.count.saturating_sub(before);
            if count == 0 || used.number < account.window.at(unix_s).number {
                continue;
            }
            let caller = account.caller.to_vec();
            Record { window: account.window, number: used.number, count, caller }.write(&mut text);
            written.push((account, used));
        }
        if text.len() > begin {
            if let Err(error) = self.file.write_all(&text) {
                // A part of it may be there: it must not be counted twice.
                self.writes_all = true;
                let _ = self.file.set_len(self.known);
                return Err(error);
            }
            self.known += text.len() as u64;
            self.is_torn = false;
        }
        written.iter().for_each(|(account, used)| *account.kept() = *used);
        self.writes_all = false;
        Ok(())
    }

    /// Writes what counts into a new file, and puts it in the place of the old one.
    fn compact(&mut self, book: &Book, unix_s: u64) -> io::Result<()> {
        let new = self.folder.join("counts.new");
        let mut text = HEAD.to_vec();
        let mut written = Vec::new();
        for account in book.all() {
            let used = account.used();
            if used.count > 0 && used.number >= account.window.at(unix_s).number {
                let caller = account.caller.to_vec();
                let Kept { number, count } = used;
                Record { window: account.window, number, count, caller }.write(&mut text);
            }
            written.push((account, used));
        }
        let mut file = options().truncate(true).open(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&new, self.path())?;
        // So that the new name outlives the host, too. A file system that cannot has its own ways.
        let _ = File::open(&self.folder).and_then(|folder| folder.sync_all());
        (self.file, self.inode) = open_counts(&self.folder)?;
        self.known = text.len() as u64;
        self.compacted = self.known;
        self.is_torn = false;
        written.iter().for_each(|(account, used)| *account.kept() = *used);
        Ok(())
    }
}

/// Adds a record to the sums, if its window is not over. A later window takes the place of an earlier one.
fn add(totals: &mut Totals, record: Record, unix_s: u64) {
    let Record { window, number, count, caller } = record;
    if number < window.at(unix_s).number {
        return;
    }
    let kept = totals.entry((window, caller)).or_default();
    if number > kept.number {
        *kept = Kept { number, count: 0 };
    }
    if number == kept.number {
        kept.count = kept.count.saturating_add(count);
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    options
}

/// Opens the counts, or makes an empty file; its inode.
fn open_counts(folder: &Path) -> io::Result<(File, u64)> {
    let file = options().write(false).append(true).open(folder.join("counts"))?;
    let inode = file.metadata()?.ino();
    Ok((file, inode))
}

/// The lock, held.
struct Locked<'f>(&'f File);

impl Locked<'_> {
    /// Takes it if nobody holds it.
    fn now(lock: &File) -> io::Result<Option<Locked<'_>>> {
        match lock.try_lock() {
            Ok(()) => Ok(Some(Locked(lock))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Waits for it, within bounds.
    fn wait(lock: &File) -> io::Result<Locked<'_>> {
        for _ in 0..LOCK_TRIES {
            if let Some(held) = Locked::now(lock)? {
                return Ok(held);
            }
            std::thread::sleep(LOCK_PAUSE);
        }
        Err(io::Error::new(ErrorKind::WouldBlock, "another process holds the lock"))
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests;
