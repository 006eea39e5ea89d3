#![allow(clippy::unwrap_used)]
use super::*;
use crate::bridge::quota::{OnFailure, Quota, StoreSpec, Verdict};

/// Noon of 2026-11-23.
const NOON: u64 = 1_795_435_200;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("octroi-quota-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Folder(path)
    }

    fn counts(&self) -> PathBuf {
        self.0.join("counts")
    }

    fn open(&self) -> (Book, CountsFile) {
        self.open_at(NOON)
    }

    fn open_at(&self, unix_s: u64) -> (Book, CountsFile) {
        let book = Book::new(StoreSpec::File(self.0.clone()));
        let file = CountsFile::open(&self.0, &book, unix_s, &ErrorLog::new(Vec::new())).unwrap();
        (book, file)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn take(book: &Book, caller: &str, unix_s: u64, count: u64) {
    for _ in 0..count {
        let account = book.account(Window::Day, caller.as_bytes()).unwrap();
        let quota = Quota { limit: 1000, span: Window::Day.at(unix_s), on_failure: OnFailure::Open };
        assert!(matches!(book.count(&account, &quota, unix_s), Verdict::Passed(_)));
    }
}

fn used(book: &Book, caller: &str) -> u64 {
    book.account(Window::Day, caller.as_bytes()).unwrap().used().count
}

#[test]
fn counts_outlive_the_process() {
    let folder = Folder::new("outlive");
    let (book, mut file) = folder.open();
    take(&book, "a", NOON, 3);
    file.save(&book, NOON, false).unwrap();
    take(&book, "a", NOON, 2);
    take(&book, "b", NOON, 1);
    file.save(&book, NOON, false).unwrap();
    // What comes behind the last save is lost with a process that is killed.
    take(&book, "b", NOON, 1);
    drop((book, file));
    let (book, mut file) = folder.open();
    assert_eq!((used(&book, "a"), used(&book, "b")), (5, 1));
    take(&book, "b", NOON, 1);
    // What is over is forgotten.
    file.save(&book, NOON, true).unwrap();
    let (book, _) = folder.open_at(NOON + 86_400);
    assert_eq!((used(&book, "a"), used(&book, "b")), (0, 0));
    let (book, _) = folder.open();
    assert_eq!(used(&book, "b"), 2);
}

#[test]
fn nothing_is_written_where_nothing_has_changed() {
    let folder = Folder::new("still");
    let (book, mut file) = folder.open();
    take(&book, "a", NOON, 3);
    file.save(&book, NOON, false).unwrap();
    let length = fs::metadata(folder.counts()).unwrap().len();
    file.save(&book, NOON, false).unwrap();
    file.save(&book, NOON, true).unwrap();
    assert_eq!(fs::metadata(folder.counts()).unwrap().len(), length);
}

#[test]
fn processes_count_together() {
    let folder = Folder::new("together");
    let (one, mut first) = folder.open();
    let (two, mut second) = folder.open();
    take(&one, "a", NOON, 3);
    first.save(&one, NOON, false).unwrap();
    take(&two, "a", NOON, 4);
    second.save(&two, NOON, false).unwrap();
    assert_eq!(used(&two, "a"), 7);
    // One writes the file anew, the other one finds it.
    first.save(&one, NOON, false).unwrap();
    assert_eq!(used(&one, "a"), 7);
    take(&two, "a", NOON, 1);
    first.compact(&one, NOON).unwrap();
    take(&one, "a", NOON, 1);
    second.save(&two, NOON, false).unwrap();
    first.save(&one, NOON, false).unwrap();
    second.save(&two, NOON, false).unwrap();
    assert_eq!((used(&one, "a"), used(&two, "a")), (9, 9));
    assert_eq!(used(&folder.open().0, "a"), 9);
}

#[test]
fn a_new_day_begins_at_nothing() {
    let folder = Folder::new("day");
    let (book, mut file) = folder.open();
    take(&book, "a", NOON, 3);
    file.save(&book, NOON, false).unwrap();
    take(&book, "a", NOON + 86_400, 2);
    file.save(&book, NOON + 86_400, false).unwrap();
    assert_eq!(used(&folder.open_at(NOON + 86_400).0, "a"), 2);
}

#[test]
fn damage_is_told_and_set_aside() {
    let folder = Folder::new("damage");
    let (book, mut file) = folder.open();
    for caller in ["a", "b", "c"] {
        take(&book, caller, NOON, 3);
        file.save(&book, NOON, false).unwrap();
    }
    drop((book, file));
    let whole = fs::read(folder.counts()).unwrap();
    // A torn end: only what was torn is lost, and the next record is whole.
    fs::write(folder.counts(), &whole[..whole.len() - 4]).unwrap();
    let (book, mut file) = folder.open();
    assert_eq!((used(&book, "b"), used(&book, "c")), (3, 0));
    assert!(!folder.0.join("counts.damaged").exists());
    take(&book, "c", NOON, 1);
    file.save(&book, NOON, false).unwrap();
    drop((book, file));
    // The torn line stands in the middle now.
    let (book, file) = folder.open();
    assert_eq!((used(&book, "b"), used(&book, "c")), (3, 1));
    assert!(folder.0.join("counts.damaged").exists());
    drop((book, file));
    // It was written anew: the next time nothing is damaged.
    fs::remove_file(folder.0.join("counts.damaged")).unwrap();
    assert_eq!(used(&folder.open().0, "b"), 3);
    assert!(!folder.0.join("counts.damaged").exists());
    // Something else altogether.
    fs::write(folder.counts(), b"\x7fELF").unwrap();
    assert_eq!(used(&folder.open().0, "b"), 0);
    assert_eq!(fs::read(folder.0.join("counts.damaged")).unwrap(), b"\x7fELF");
    assert_eq!(fs::read(folder.counts()).unwrap(), HEAD);
}

#[test]
fn a_file_that_is_removed_gets_it_all_again() {
    let folder = Folder::new("removed");
    let (book, mut file) = folder.open();
    take(&book, "a", NOON, 3);
    take(&book, "b", NOON, 1);
    file.save(&book, NOON, false).unwrap();
    fs::remove_file(folder.counts()).unwrap();
    take(&book, "a", NOON, 1);
    file.save(&book, NOON, false).unwrap();
    let (book, _) = folder.open();
    assert_eq!((used(&book, "a"), used(&book, "b")), (4, 1));
}

#[test]
fn the_file_stays_short() {
    let folder = Folder::new("short");
    let (book, mut file) = folder.open();
    let name = "x".repeat(1000);
    for caller in 0..2000 {
        take(&book, &format!("{name}{caller}"), NOON, 1);
    }
    for _ in 0..6 {
        for caller in 0..2000 {
            take(&book, &format!("{name}{caller}"), NOON, 1);
        }
        file.save(&book, NOON, false).unwrap();
        let length = fs::metadata(folder.counts()).unwrap().len();
        assert!(length < 5 * 2000 * 1100, "{length}");
    }
    drop(file);
    assert_eq!(used(&folder.open().0, &format!("{name}1999")), 7);
}
