//! Certificates whose files change: the master, which may read them, looks at the files in turn, and hands
//! new ones to the worker when the configuration compiles with them. Connections go on; what is wrong is
//! logged, and what was in use stays in use.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{FileType, stat};

use super::load;
use super::master::Master;
use crate::base::process_settings::Level;
use crate::conf::{Disk, Files, Snapshot};
use crate::net::error_log::{ErrorLog, OsError};
use crate::plan::Plan;

/// How often files are looked at: often enough for whoever waits for it, at a microsecond a file.
const LOOK: Duration = Duration::from_secs(1);

/// Files that are looked at in a second at most, so that it takes a thousandth of a processor.
const FILES_A_SECOND: u32 = 1000;

/// What tells a file from what it was: its number and size, and when it changed.
type Stamp = (u64, i64, i64, i64);

/// The files that are looked at.
pub struct Watch {
    files: Vec<(PathBuf, Seen)>,
    /// Changed, and not of use with the others as they were then: a certificate before its key.
    refused: Vec<PathBuf>,
    next: Instant,
}

/// What is known of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// It was read when the configuration was; whether it was the same a moment later is not known.
    Read,
    /// It is as it was then, or what it is was refused.
    Known(Stamp),
    /// It has changed, and may still be written to.
    Changed(Stamp),
}

impl Watch {
    /// Looks at the files of a configuration from now on. What is no regular file is left alone: a pipe
    /// holds things once.
    pub fn new(plan: &Plan) -> Watch {
        let files = plan.tls_files().into_iter().filter(|path| stamp(path).is_some());
        let files = files.map(|path| (path, Seen::Read)).collect();
        Watch { files, refused: Vec::new(), next: Instant::now() + LOOK }
    }

    /// When to look next; `None` when there is nothing to look at.
    pub fn due(&self) -> Option<Instant> {
        (!self.files.is_empty()).then_some(self.next)
    }

    /// Looks: the files that have changed and were left alone since the last look.
    fn look(&mut self, now: Instant) -> Vec<PathBuf> {
        let many = u32::try_from(self.files.len()).unwrap_or(u32::MAX) / FILES_A_SECOND;
        self.next = now + LOOK * many.max(1);
        let mut changed = Vec::new();
        for (path, seen) in &mut self.files {
            // One that is gone for now: somebody puts another in its place.
            let Some(stamp) = stamp(path) else { continue };
            *seen = match *seen {
                Seen::Known(known) if known == stamp => Seen::Known(stamp),
                Seen::Known(_) => Seen::Changed(stamp),
                Seen::Changed(known) if known != stamp => Seen::Changed(stamp),
                Seen::Changed(_) | Seen::Read => {
                    changed.push(path.clone());
                    Seen::Known(stamp)
                }
            };
        }
        if !changed.is_empty() {
            changed.append(&mut self.refused);
        }
        changed
    }
}

impl Master {
    /// Looks at the files of certificates, if it is time.
    pub(super) fn watch(&mut self) {
        let now = Instant::now();
        if self.in_force.watch.due().is_none_or(|at| at > now) {
            return;
        }
        let changed = self.in_force.watch.look(now);
        if changed.is_empty() {
            return;
        }
        let Some((plan, files)) = self.renewed(&changed) else { return };
        let sent = self.data_plane.renew(&plan, &self.in_force.snapshot, &files, &self.log);
        if let Err(error) = sent {
            self.give_up_worker(&error.to_string());
        }
    }

    /// The configuration with what the files hold now, which is in force then, and those of them that hold
    /// something else.
    fn renewed(&mut self, changed: &[PathBuf]) -> Option<(Arc<Plan>, Vec<PathBuf>)> {
        let mut snapshot = Snapshot::decode(&self.in_force.snapshot).ok()?;
        let mut files = Vec::new();
        for (path, text) in texts(changed, &self.log) {
            if !snapshot.read(&path).is_ok_and(|known| known == text) {
                snapshot.insert(path.clone(), text);
                files.push(path);
            }
        }
        if files.is_empty() {
            return None;
        }
        match load::compiled(&self.origin, &mut snapshot) {
            Ok(plan) => {
                self.in_force.snapshot = snapshot.encode();
                Some((plan, files))
            }
            Err(reason) => {
                self.in_force.watch.refused = files;
                log!(self.log, Error, "{reason}; the certificates in use stay in use");
                None
            }
        }
    }
}

fn texts(paths: &[PathBuf], log: &ErrorLog) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut texts = BTreeMap::new();
    for path in paths {
        match Disk.read(path) {
            Ok(text) => drop(texts.insert(path.clone(), text)),
            Err(error) => log!(log, Error, "open() \"{}\" failed {}", path.display(), OsError(&error)),
        }
    }
    texts
}

/// What tells a regular file from what it was.
fn stamp(path: &Path) -> Option<Stamp> {
    let found = stat(path).ok()?;
    (FileType::from_raw_mode(found.st_mode) == FileType::RegularFile).then_some((
        found.st_ino,
        found.st_size,
        found.st_mtime,
        found.st_mtime_nsec as i64,
    ))
}
