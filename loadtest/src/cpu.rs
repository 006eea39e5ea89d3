//! CPU time of threads and processes, as Linux counts it in /proc.
//!
//! schedstat counts nanoseconds but only of threads that live; stat counts
//! ended threads and children too, but in hundredths of a second.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Nanoseconds of a clock tick in /proc/PID/stat: USER_HZ is 100 on every
/// architecture that this builds for.
const TICK_NS: u64 = 10_000_000;

/// CPU time of the calling thread, in nanoseconds; 0 where it is not counted.
#[must_use]
pub fn of_this_thread_ns() -> u64 {
    schedstat_ns(Path::new("/proc/thread-self/schedstat")).unwrap_or(0)
}

/// CPU time of a process and all its descendants at one moment.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// Nanoseconds by thread.
    threads: BTreeMap<u32, u64>,
    /// Nanoseconds by process, its ended threads and children included.
    processes: BTreeMap<u32, u64>,
}

impl Usage {
    /// Reads the counters of `pid` and its descendants.
    ///
    /// # Errors
    /// A sentence for the user: there is no such process.
    pub fn of(pid: u32) -> Result<Self, String> {
        let mut usage = Self::default();
        for pid in family(pid)? {
            // A process may end between the listing and here.
            if let Some(stat) = Stat::read(pid) {
                usage.processes.insert(pid, stat.ticks * TICK_NS);
                usage.add_threads(pid);
            }
        }
        Ok(usage)
    }

    /// CPU time spent since an earlier moment, in nanoseconds: exact while no
    /// thread ended in between, else to a hundredth of a second per process.
    #[must_use]
    pub fn since_ns(&self, earlier: &Self) -> u64 {
        let all_live = earlier.threads.keys().all(|thread| self.threads.contains_key(thread));
        let (now, before) = if all_live && !self.threads.is_empty() {
            (&self.threads, &earlier.threads)
        } else {
            (&self.processes, &earlier.processes)
        };
        now.iter().map(|(id, ns)| ns.saturating_sub(before.get(id).copied().unwrap_or(0))).sum()
    }

    fn add_threads(&mut self, pid: u32) {
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return };
        for task in tasks.flatten() {
            let id = task.file_name().to_str().and_then(|name| name.parse().ok());
            if let (Some(id), Some(ns)) = (id, schedstat_ns(&task.path().join("schedstat"))) {
                self.threads.insert(id, ns);
            }
        }
    }
}

/// `pid` and its descendants.
fn family(pid: u32) -> Result<BTreeSet<u32>, String> {
    if Stat::read(pid).is_none() {
        return Err(format!("no process {pid}"));
    }
    let entries = fs::read_dir("/proc").map_err(|error| format!("/proc: {error}"))?;
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parents: Vec<(u32, u32)> = pids.filter_map(|pid| Some((pid, Stat::read(pid)?.parent))).collect();
    let mut family = BTreeSet::from([pid]);
    loop {
        let known = family.len();
        family.extend(
            parents
                .iter()
                .filter(|(_, parent)| family.contains(parent))
                .map(|&(pid, _)| pid)
                .collect::<Vec<_>>(),
        );
        if family.len() == known {
            return Ok(family);
        }
    }
}

/// The first field of a schedstat file: nanoseconds on a CPU.
fn schedstat_ns(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.split_ascii_whitespace().next()?.parse().ok()
}

/// The parts of /proc/PID/stat (proc_pid_stat(5)) that matter here.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// User and system time, with that of children waited for.
    ticks: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The name in parentheses may hold spaces and parentheses itself.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // Field 3 of the manual page is the first here.
        let parent = fields.get(4 - 3)?.parse().ok()?;
        let times = fields.get(14 - 3..=17 - 3)?;
        let ticks = times.iter().map(|time| time.parse::<u64>().unwrap_or(0)).sum();
        Some(Self { parent, ticks })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn stat_with_an_awkward_name() {
        let text = "7 (a) (b c) S 3 7 7 0 -1 4194560 1 2 3 4 10 20 3 4 20 0 1 0 100 200 300";
        assert_eq!(Stat::parse(text), Some(Stat { parent: 3, ticks: 37 }));
        assert_eq!(Stat::parse("7 (a"), None);
    }

    #[test]
    fn a_busy_process_uses_cpu() {
        let before = Usage::of(std::process::id()).unwrap();
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(100) {}
        let spent = Usage::of(std::process::id()).unwrap().since_ns(&before);
        assert!(spent >= 20_000_000, "{spent}");
        assert!(of_this_thread_ns() >= 20_000_000);
    }

    #[test]
    fn ended_threads_count_by_process() {
        let usage = |threads: &[(u32, u64)], process| Usage {
            threads: threads.iter().copied().collect(),
            processes: BTreeMap::from([(1, process)]),
        };
        let before = usage(&[(1, 10), (2, 20)], 30);
        assert_eq!(usage(&[(1, 15), (2, 21), (3, 4)], 90).since_ns(&before), 10);
        assert_eq!(usage(&[(1, 15)], 90).since_ns(&before), 60);
    }

    #[test]
    fn unknown_process() {
        assert!(Usage::of(u32::MAX).is_err());
    }
}
