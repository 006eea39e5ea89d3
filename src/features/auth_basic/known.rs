//! What a shard knows of passwords: which were right, by a hash of file version, path, name and
//! password, and which are being checked just now. So a hash that takes a tenth of a second is worked
//! out once, and once for all who ask at the same time.

use super::file::{Answer, Failed};
use crate::net::file_version::FileVersion;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;

/// Right passwords a shard remembers: 1024 x 24 bytes. One whose place another takes is checked again.
const KNOWN: usize = 1024;

/// What is known of a name and a password in a version of a file: two hashes of it whose seeds nobody
/// knows. The password itself is kept nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mark([u64; 2]);

/// One shard's knowledge.
pub(super) struct Known {
    seeds: [RandomState; 2],
    right: RefCell<Box<[Option<Mark>]>>,
    /// Those who wait for a check that is under way.
    waiting: RefCell<HashMap<Mark, Vec<flume::Sender<Outcome>>>>,
}

/// What a check came to: the answer, or why there is none.
pub(super) type Outcome = Result<Answer, Rc<Failed>>;

impl Known {
    pub(super) fn new() -> Known {
        Known {
            seeds: [RandomState::new(), RandomState::new()],
            right: RefCell::new(vec![None; KNOWN].into()),
            waiting: RefCell::default(),
        }
    }

    /// The mark of `name:password` in a file; without a version while that is not known.
    pub(super) fn mark(&self, path: &[u8], version: Option<FileVersion>, credentials: &[u8]) -> Mark {
        Mark(self.seeds.each_ref().map(|seed| seed.hash_one((path, version, credentials))))
    }

    /// Whether this is known to be right.
    pub(super) fn is_right(&self, mark: Mark) -> bool {
        self.right.borrow().get(place(mark)) == Some(&Some(mark))
    }

    /// Remembers that it is.
    pub(super) fn note_right(&self, mark: Mark) {
        if let Some(known) = self.right.borrow_mut().get_mut(place(mark)) {
            *known = Some(mark);
        }
    }

    /// Joins the check of this that is under way; begins one where there is none.
    pub(super) fn join(&self, mark: Mark) -> Join<'_> {
        let mut waiting = self.waiting.borrow_mut();
        match waiting.get_mut(&mark) {
            Some(others) => {
                let (sender, receiver) = flume::bounded(1);
                others.push(sender);
                Join::Wait(receiver)
            }
            None => {
                waiting.insert(mark, Vec::new());
                Join::Check(Checking { known: self, mark })
            }
        }
    }
}

fn place(mark: Mark) -> usize {
    mark.0[0] as usize % KNOWN
}

/// What is to be done.
pub(super) enum Join<'k> {
    /// To check it and to tell the others.
    Check(Checking<'k>),
    /// To wait for what another finds out.
    Wait(flume::Receiver<Outcome>),
}

/// A check under way. If it is given up, those who wait are told by the end of their channel.
pub(super) struct Checking<'k> {
    known: &'k Known,
    mark: Mark,
}

impl Checking<'_> {
    /// Tells all who wait.
    pub(super) fn tell(self, outcome: &Outcome) {
        let others = self.known.waiting.borrow_mut().remove(&self.mark).unwrap_or_default();
        for other in others {
            let _ = other.try_send(outcome.clone());
        }
    }
}

impl Drop for Checking<'_> {
    fn drop(&mut self) {
        self.known.waiting.borrow_mut().remove(&self.mark);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_right_is_known() {
        let known = Known::new();
        let mark = known.mark(b"/f", None, b"a:b");
        assert!(!known.is_right(mark));
        known.note_right(mark);
        assert!(known.is_right(known.mark(b"/f", None, b"a:b")));
        for (path, credentials) in [(&b"/g"[..], &b"a:b"[..]), (b"/f", b"a:c"), (b"/fa", b":b"), (b"", b"")] {
            assert!(!known.is_right(known.mark(path, None, credentials)));
        }
        assert!(!Known::new().is_right(mark));
    }

    #[test]
    fn one_checks_for_all() {
        let known = Known::new();
        let mark = known.mark(b"/f", None, b"a:b");
        let Join::Check(checking) = known.join(mark) else { panic!("nobody checks yet") };
        let Join::Wait(told) = known.join(mark) else { panic!("somebody checks") };
        checking.tell(&Ok(Answer::Wrong));
        assert_eq!(told.try_recv().unwrap().unwrap(), Answer::Wrong);
        let Join::Check(given_up) = known.join(mark) else { panic!("nobody checks any more") };
        let Join::Wait(left) = known.join(mark) else { panic!("somebody checks") };
        drop(given_up);
        assert!(left.try_recv().is_err());
        assert!(matches!(known.join(mark), Join::Check(_)));
    }
}
