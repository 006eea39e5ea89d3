//! Files that stay open between requests, and what is known of paths (`open_file_cache`): one table of
//! a shard, bounded, the entry used longest ago leaves first.

use super::file::{self, FileFacts, OpenFile};
use super::symlinks::Links;
use crate::base::clock;
use ahash::AHashMap;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Entries that nobody asked for lately are looked for at the cold end of the table, so many each
/// time something is put in.
const EXPIRED_AT_ONCE: usize = 2;

/// No entry.
const NONE: usize = usize::MAX;

/// The cache.
pub struct FileCache {
    max: usize,
    inactive: Duration,
    table: RefCell<Table>,
}

/// What a location wants of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// How old an entry may be before the file system is asked again.
    pub valid: Duration,
    /// Uses before a file is left open.
    pub min_uses: u64,
    /// Failures are remembered too.
    pub errors: bool,
}

struct Entry {
    path: Rc<[u8]>,
    links: Links,
    found: Found,
    /// When the file system was asked.
    asked: Instant,
    /// When the entry was used last.
    used: Instant,
    uses: u64,
    /// The neighbours in the order of use.
    newer: usize,
    older: usize,
}

/// What stood at the path.
enum Found {
    Open(OpenFile),
    Seen(FileFacts),
    /// The error's number.
    Nothing(i32),
}

impl FileCache {
    /// An empty one of at most `max` entries, from which those unused for `inactive` are removed.
    pub fn new(max: usize, inactive: Duration) -> FileCache {
        FileCache { max: max.max(1), inactive, table: RefCell::new(Table::new()) }
    }

    /// Entries in it.
    pub fn len(&self) -> usize {
        self.table.borrow().by_path.len()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As [`file::open_with`], but from the cache where it knows.
    ///
    /// # Errors
    /// Those of [`file::open_with`], which may be remembered ones.
    pub async fn open(&self, path: &[u8], links: Links, wanted: Wanted) -> io::Result<OpenFile> {
        let known = self.table.borrow_mut().look(path, links, wanted, |found| match found {
            Found::Open(file) => Some(Ok(file.clone())),
            Found::Seen(_) => None,
            Found::Nothing(errno) => Some(Err(io::Error::from_raw_os_error(*errno))),
        });
        if let Some(known) = known {
            return known;
        }
        let opened = file::open_with(path, links).await;
        self.keep(path, links, wanted, &opened, |file, uses| {
            if uses >= wanted.min_uses { Found::Open(file.clone()) } else { Found::Seen(file.facts) }
        });
        opened
    }

    /// As [`file::facts_with`], but from the cache where it knows.
    ///
    /// # Errors
    /// Those of [`file::facts_with`], which may be remembered ones.
    pub async fn facts(&self, path: &[u8], links: Links, wanted: Wanted) -> io::Result<FileFacts> {
        let known = self.table.borrow_mut().look(path, links, wanted, |found| match found {
            Found::Open(file) => Some(Ok(file.facts)),
            Found::Seen(facts) => Some(Ok(*facts)),
            Found::Nothing(errno) => Some(Err(io::Error::from_raw_os_error(*errno))),
        });
        if let Some(known) = known {
            return known;
        }
        let facts = file::facts_with(path, links).await;
        self.keep(path, links, wanted, &facts, |facts, _| Found::Seen(*facts));
        facts
    }

    /// Remembers what the file system said.
    fn keep<T>(
        &self,
        path: &[u8],
        links: Links,
        wanted: Wanted,
        said: &io::Result<T>,
        found: impl Fn(&T, u64) -> Found,
    ) {
        let mut table = self.table.borrow_mut();
        let now = clock::now();
        let known = table.by_path.get(path).copied();
        let uses = known.and_then(|at| table.entry(at)).map_or(1, |entry| entry.uses);
        let found = match said {
            Ok(said) => found(said, uses),
            // An error of the file pool tells nothing about the file.
            Err(error) => match error.raw_os_error().filter(|_| wanted.errors) {
                Some(errno) => Found::Nothing(errno),
                None => return known.map_or((), |at| table.remove(at)),
            },
        };
        match known.and_then(|at| table.entry(at)) {
            Some(entry) => {
                (entry.links, entry.asked, entry.used) = (links, now, now);
                entry.found = found;
            }
            None => {
                let (newer, older) = (NONE, NONE);
                table.insert(Entry {
                    path: path.into(),
                    links,
                    found,
                    asked: now,
                    used: now,
                    uses,
                    newer,
                    older,
                });
            }
        }
        for _ in 0..EXPIRED_AT_ONCE {
            let oldest = table.oldest;
            let expired = |entry: &mut Entry| now.saturating_duration_since(entry.used) >= self.inactive;
            if !table.entry(oldest).is_some_and(expired) {
                break;
            }
            table.remove(oldest);
        }
        while table.by_path.len() > self.max {
            let oldest = table.oldest;
            table.remove(oldest);
        }
    }
}

/// The entries: found by path, and linked in the order of use.
struct Table {
    by_path: AHashMap<Rc<[u8]>, usize>,
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    newest: usize,
    oldest: usize,
}

impl Table {
    fn new() -> Table {
        Table { by_path: AHashMap::new(), entries: Vec::new(), free: Vec::new(), newest: NONE, oldest: NONE }
    }

    fn entry(&mut self, at: usize) -> Option<&mut Entry> {
        self.entries.get_mut(at).and_then(Option::as_mut)
    }

    /// Uses the entry of a path, and tells what `of` makes of it unless that is out of date.
    fn look<T>(
        &mut self,
        path: &[u8],
        links: Links,
        wanted: Wanted,
        of: impl Fn(&Found) -> Option<T>,
    ) -> Option<T> {
        let at = *self.by_path.get(path)?;
        let now = clock::now();
        self.unlink(at);
        self.link(at);
        let entry = self.entry(at)?;
        entry.uses += 1;
        entry.used = now;
        let fresh = now.saturating_duration_since(entry.asked) < wanted.valid && entry.links == links;
        if fresh { of(&entry.found) } else { None }
    }

    fn insert(&mut self, entry: Entry) {
        let path = entry.path.clone();
        let at = match self.free.pop() {
            Some(at) => {
                self.entries[at] = Some(entry);
                at
            }
            None => {
                self.entries.push(Some(entry));
                self.entries.len() - 1
            }
        };
        self.by_path.insert(path, at);
        self.link(at);
    }

    fn remove(&mut self, at: usize) {
        self.unlink(at);
        let Some(entry) = self.entries.get_mut(at).and_then(Option::take) else { return };
        self.by_path.remove(&entry.path);
        self.free.push(at);
    }

    /// Puts an entry at the end of those just used.
    fn link(&mut self, at: usize) {
        let before = self.newest;
        if let Some(entry) = self.entry(at) {
            (entry.newer, entry.older) = (NONE, before);
        }
        match self.entry(before) {
            Some(entry) => entry.newer = at,
            None => self.oldest = at,
        }
        self.newest = at;
    }

    fn unlink(&mut self, at: usize) {
        let Some(entry) = self.entry(at) else { return };
        let (newer, older) = (entry.newer, entry.older);
        match self.entry(newer) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
        match self.entry(older) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::net::file_pool::on_both_drivers;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::path::PathBuf;

    const LONG: Wanted = Wanted { valid: Duration::from_secs(60), min_uses: 1, errors: false };
    const NEVER: Wanted = Wanted { valid: Duration::ZERO, ..LONG };
    const ERRORS: Wanted = Wanted { errors: true, ..LONG };
    const INACTIVE: Duration = Duration::from_secs(60);

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("octroi-cache-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Puts another file in the place of one.
    fn replace(path: &std::path::Path, text: &str) {
        let new = path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, path).unwrap();
    }

    #[test]
    fn what_is_known_is_not_asked_again() {
        let folder = folder("known");
        on_both_drivers(|| {
            let path = folder.join("file");
            async move {
                let cache = FileCache::new(10, INACTIVE);
                let bytes = path.as_os_str().as_bytes();
                fs::write(&path, "one").unwrap();
                assert_eq!(cache.open(bytes, Links::Followed, LONG).await.unwrap().facts.size, 3);
                replace(&path, "longer");
                assert_eq!(cache.open(bytes, Links::Followed, LONG).await.unwrap().facts.size, 3);
                assert_eq!(cache.facts(bytes, Links::Followed, LONG).await.unwrap().size, 3);
                // Another rule for links, or too old, and the file system is asked.
                let refused = Links::Refused { from: bytes.len() - "/file".len() };
                assert_eq!(cache.facts(bytes, refused, LONG).await.unwrap().size, 6);
                replace(&path, "even longer");
                assert_eq!(cache.facts(bytes, refused, LONG).await.unwrap().size, 6);
                assert_eq!(cache.open(bytes, refused, NEVER).await.unwrap().facts.size, 11);
                fs::remove_file(&path).unwrap();
                assert_eq!(cache.open(bytes, refused, LONG).await.unwrap().facts.size, 11);
                cache.open(bytes, refused, NEVER).await.unwrap_err();
                assert!(cache.is_empty());
            }
        });
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn errors_are_remembered_where_wanted() {
        let folder = folder("errors");
        on_both_drivers(|| {
            let path = folder.join("file");
            async move {
                let cache = FileCache::new(10, INACTIVE);
                let bytes = path.as_os_str().as_bytes();
                cache.open(bytes, Links::Followed, LONG).await.unwrap_err();
                assert!(cache.is_empty());
                cache.open(bytes, Links::Followed, ERRORS).await.unwrap_err();
                fs::write(&path, "late").unwrap();
                let error = cache.facts(bytes, Links::Followed, ERRORS).await.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::NotFound);
                cache.open(bytes, Links::Followed, NEVER).await.unwrap();
                fs::remove_file(&path).unwrap();
            }
        });
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_stays_open_from_so_many_uses_on() {
        let folder = folder("uses");
        on_both_drivers(|| {
            let path = folder.join("file");
            async move {
                let cache = FileCache::new(10, INACTIVE);
                let bytes = path.as_os_str().as_bytes();
                let third = Wanted { min_uses: 3, ..LONG };
                fs::write(&path, "one").unwrap();
                for _ in 0..2 {
                    cache.open(bytes, Links::Followed, third).await.unwrap();
                }
                replace(&path, "longer");
                // The third use opens it, and that one stays.
                assert_eq!(cache.open(bytes, Links::Followed, third).await.unwrap().facts.size, 6);
                replace(&path, "even longer");
                assert_eq!(cache.open(bytes, Links::Followed, third).await.unwrap().facts.size, 6);
            }
        });
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_one_used_longest_ago_leaves() {
        let folder = folder("lru");
        on_both_drivers(|| {
            let folder = folder.clone();
            async move {
                let paths: Vec<PathBuf> = (0..4).map(|n| folder.join(n.to_string())).collect();
                let cache = FileCache::new(3, INACTIVE);
                let ask = async |n: usize| {
                    cache.open(paths[n].as_os_str().as_bytes(), Links::Followed, ERRORS).await.is_ok()
                };
                for n in [0, 1, 2, 0, 3] {
                    assert!(!ask(n).await);
                }
                assert_eq!(cache.len(), 3);
                for path in &paths {
                    fs::write(path, "").unwrap();
                }
                // 1 was forgotten, and is asked for last as it takes the place of another.
                assert!(!ask(3).await && !ask(0).await && !ask(2).await && ask(1).await);
                let short = FileCache::new(3, Duration::ZERO);
                short.open(paths[0].as_os_str().as_bytes(), Links::Followed, LONG).await.unwrap();
                assert!(short.is_empty());
                for path in &paths {
                    fs::remove_file(path).unwrap();
                }
            }
        });
        fs::remove_dir_all(folder).unwrap();
    }
}
