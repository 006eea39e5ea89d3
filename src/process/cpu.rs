//! How many shards, and which CPUs they are pinned to.

use std::fs;
use std::path::Path;

use rustix::thread::{CpuSet, sched_getaffinity};

use crate::base::process_settings::{Affinity, ProcessSettings, Shards};

/// Where cgroup file systems are mounted.
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// Shards at most, whatever `worker_processes` says: each is a thread with a ring and buffers of
/// its own, and no host has more CPUs than this in one affinity mask.
pub const SHARDS_MAX: usize = CpuSet::MAX_CPU;

/// The number of shards that the settings ask for, at least 1.
pub fn shard_count(settings: &ProcessSettings) -> usize {
    match settings.shards {
        Shards::Count(count) => count.clamp(1, SHARDS_MAX),
        Shards::Auto => auto_count(&allowed(), quota()),
    }
}

/// For each of `count` shards the CPUs it is pinned to; `None` leaves it where the kernel puts it.
pub fn pins(settings: &ProcessSettings, count: usize) -> Vec<Option<Vec<usize>>> {
    assign(settings, count, &allowed())
}

fn assign(settings: &ProcessSettings, count: usize, allowed: &[usize]) -> Vec<Option<Vec<usize>>> {
    let one_of =
        |cpus: &[usize], shard: usize| cpus.get(shard.checked_rem(cpus.len())?).map(|&cpu| vec![cpu]);
    (0..count)
        .map(|shard| match &settings.affinity {
            // Under a quota there are fewer shards than CPUs: pinning them to the first few would
            // pile them up there with every other container of the host.
            Affinity::Unset => match settings.shards {
                Shards::Auto if count == allowed.len() => one_of(allowed, shard),
                _ => None,
            },
            Affinity::Auto(None) => one_of(allowed, shard),
            Affinity::Auto(Some(mask)) => {
                let cpus: Vec<usize> = mask.iter().copied().filter(|cpu| allowed.contains(cpu)).collect();
                one_of(&cpus, shard)
            }
            Affinity::Masks(masks) => masks.get(shard).or(masks.last()).cloned(),
        })
        .collect()
}

fn auto_count(allowed: &[usize], quota: Option<usize>) -> usize {
    allowed.len().min(quota.unwrap_or(usize::MAX)).clamp(1, SHARDS_MAX)
}

/// The CPUs of the process's affinity mask, sched_getaffinity(2); CPU 0 if the kernel won't say.
fn allowed() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(None) else { return vec![0] };
    (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect()
}

/// Whole CPUs that the cgroup's bandwidth limit is worth, rounded up; `None` without a limit.
fn quota() -> Option<usize> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    quota_of(&groups, &|path| fs::read_to_string(Path::new(CGROUP_ROOT).join(path)).ok())
}

/// The narrowest limit among the process's cgroup and those above it, cgroups(7). `groups` is the
/// text of /proc/self/cgroup, `read` gives the text of a file below the mount point.
fn quota_of(groups: &str, read: &dyn Fn(&str) -> Option<String>) -> Option<usize> {
    let mut least: Option<usize> = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        // A container sees its own cgroup as the root, whatever path the line names: that root is
        // the last of the ancestors.
        let ancestors = Path::new(path.trim_start_matches('/')).ancestors();
        for folder in ancestors.filter_map(Path::to_str) {
            let found = if controllers.is_empty() {
                read(&join(folder, "cpu.max")).as_deref().and_then(parse_cpu_max)
            } else if controllers.split(',').any(|name| name == "cpu") {
                let folder = join("cpu", folder);
                let quota = read(&join(&folder, "cpu.cfs_quota_us"));
                let period = read(&join(&folder, "cpu.cfs_period_us"));
                quota.zip(period).and_then(|(quota, period)| whole_cpus(&quota, &period))
            } else {
                break;
            };
            least = [least, found].into_iter().flatten().min();
        }
    }
    least
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// `max 100000` or `150000 100000`: microseconds of CPU time, and the period they are for.
fn parse_cpu_max(text: &str) -> Option<usize> {
    let mut words = text.split_whitespace();
    whole_cpus(words.next()?, words.next()?)
}

fn whole_cpus(quota: &str, period: &str) -> Option<usize> {
    // `max`, and -1 in version 1, are no limit: neither parses.
    let (quota, period): (u64, u64) = (quota.trim().parse().ok()?, period.trim().parse().ok()?);
    if period == 0 {
        return None;
    }
    usize::try_from(quota.div_ceil(period)).ok().map(|cpus| cpus.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn settings(shards: Shards, affinity: Affinity) -> ProcessSettings {
        ProcessSettings {
            daemon: false,
            master_process: true,
            pid: PathBuf::from("/run/octroi.pid"),
            user: None,
            shards,
            affinity,
            rlimit_nofile: None,
            rlimit_core: None,
            priority: 0,
            working_directory: None,
            environment: Vec::new(),
            shutdown_timeout: None,
            transparent: false,
            uses_stderr: false,
            error_logs: Vec::new(),
        }
    }

    fn quota_in(groups: &str, files: &[(&str, &str)]) -> Option<usize> {
        quota_of(groups, &|path| {
            files.iter().find(|(name, _)| *name == path).map(|(_, text)| text.to_string())
        })
    }

    #[test]
    fn version_2_takes_the_narrowest_of_the_ancestors() {
        let groups = "0::/system.slice/octroi.service\n";
        assert_eq!(quota_in(groups, &[]), None);
        assert_eq!(quota_in(groups, &[("system.slice/octroi.service/cpu.max", "max 100000\n")]), None);
        let files = [
            ("system.slice/octroi.service/cpu.max", "400000 100000\n"),
            ("system.slice/cpu.max", "150000 100000\n"),
        ];
        assert_eq!(quota_in(groups, &files), Some(2));
        assert_eq!(quota_in("0::/\n", &[("cpu.max", "5000 100000\n")]), Some(1));
        assert_eq!(quota_in("0::/../../elsewhere\n", &[("cpu.max", "300000 100000\n")]), Some(3));
    }

    #[test]
    fn version_1_divides_quota_by_period() {
        let groups = "12:cpuset:/a\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/x\n";
        let files = [
            ("cpu/docker/abc/cpu.cfs_quota_us", "250000\n"),
            ("cpu/docker/abc/cpu.cfs_period_us", "100000\n"),
        ];
        assert_eq!(quota_in(groups, &files), Some(3));
        let unlimited = [("cpu/cpu.cfs_quota_us", "-1\n"), ("cpu/cpu.cfs_period_us", "100000\n")];
        assert_eq!(quota_in(groups, &unlimited), None);
        assert_eq!(quota_in("nonsense\n::\n", &unlimited), None);
    }

    #[test]
    fn auto_counts_what_mask_and_quota_allow() {
        assert_eq!(auto_count(&[0, 1, 2, 3], None), 4);
        assert_eq!(auto_count(&[0, 1, 2, 3], Some(2)), 2);
        assert_eq!(auto_count(&[5], Some(8)), 1);
        assert_eq!(auto_count(&[], None), 1);
    }

    #[test]
    fn pinned_only_when_asked_for() {
        let allowed = [2, 3];
        let pins = |shards, affinity, count| assign(&settings(shards, affinity), count, &allowed);
        assert_eq!(pins(Shards::Count(2), Affinity::Unset, 2), [None, None]);
        assert_eq!(pins(Shards::Auto, Affinity::Unset, 2), [Some(vec![2]), Some(vec![3])]);
        assert_eq!(pins(Shards::Auto, Affinity::Unset, 1), [None], "a quota left CPUs over");
        assert_eq!(
            pins(Shards::Count(3), Affinity::Auto(None), 3),
            [Some(vec![2]), Some(vec![3]), Some(vec![2])]
        );
        assert_eq!(
            pins(Shards::Count(2), Affinity::Auto(Some(vec![0, 3])), 2),
            [Some(vec![3]), Some(vec![3])]
        );
        assert_eq!(pins(Shards::Count(1), Affinity::Auto(Some(vec![9])), 1), [None]);
        let masks = Affinity::Masks(vec![vec![0], vec![1, 2]]);
        assert_eq!(pins(Shards::Count(3), masks, 3), [Some(vec![0]), Some(vec![1, 2]), Some(vec![1, 2])]);
    }
}
