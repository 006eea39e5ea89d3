//! From root to `user`: who the worker runs as, and how many descriptors it may hold.

use std::io;

use rustix::process::{DumpableBehavior, Pid, Resource, Rlimit};
use rustix::process::{geteuid, getrlimit, prlimit, set_dumpable_behavior, setpriority_process, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_keep_capabilities};

use super::environment;
use super::os::{self, User};
use crate::base::process_settings::{Level, ProcessSettings};
use crate::net::error_log::{ErrorLog, OsError};

/// Whom workers run as when the configuration names nobody: nginx's and Debian's defaults.
const DEFAULT_USER: &str = "nobody";
const DEFAULT_GROUPS: &[&str] = &["nogroup", "nobody"];

/// Looks up whom the worker is to run as: `None` when the master is not root and so cannot choose.
///
/// # Errors
/// The message for the log when there is no such user or group.
pub fn worker_user(settings: &ProcessSettings, log: &ErrorLog) -> Result<Option<User>, String> {
    if !geteuid().is_root() {
        if settings.user.is_some() {
            log!(
                log,
                Warn,
                "the \"user\" directive makes sense only if the master process runs with super-user privileges, ignored"
            );
        }
        return Ok(None);
    }
    let (name, group) = match &settings.user {
        Some((name, group)) => (name.as_str(), group.as_deref()),
        None => (DEFAULT_USER, None),
    };
    let mut user = os::user(name).ok_or_else(|| format!("getpwnam(\"{name}\") failed"))?;
    // As in nginx, a user without a group means the group of the same name.
    user.gid = match group {
        Some(group) => os::group(group),
        None if settings.user.is_some() => os::group(name),
        None => Some(DEFAULT_GROUPS.iter().find_map(|group| os::group(group)).unwrap_or(user.gid)),
    }
    .ok_or_else(|| format!("getgrnam(\"{}\") failed", group.unwrap_or(name)))?;
    Ok(Some(user))
}

/// Gives up root for `user`, for good, but for the right to send from any address if that is wanted, and lets the process dump core again.
///
/// # Errors
/// The message for the log; the process must not go on.
fn become_user(user: &User, transparent: bool, log: &ErrorLog) -> Result<(), String> {
    let failed = |call: String| move |error: io::Error| format!("{call} failed {}", OsError(&error));
    os::set_group(user.gid).map_err(failed(format!("setgid({})", user.gid)))?;
    os::set_supplementary_groups(&user.name, user.gid)
        .map_err(failed(format!("initgroups({}, {})", user.name, user.gid)))?;
    // Root that stays root keeps its rights anyway.
    let transparent = transparent && user.uid != 0;
    if transparent {
        set_keep_capabilities(true)
            .map_err(|error| failed("prctl(PR_SET_KEEPCAPS, 1)".to_owned())(error.into()))?;
    }
    os::set_user(user.uid).map_err(failed(format!("setuid({})", user.uid)))?;
    if transparent {
        // Of root's rights the one that IP_TRANSPARENT wants (ip(7)); the threads to come have it too.
        let kept = CapabilitySet::NET_RAW;
        let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
        set_capabilities(None, sets).map_err(|error| failed("capset()".to_owned())(error.into()))?;
    }
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::Dumpable) {
        log!(log, Alert, "prctl(PR_SET_DUMPABLE) failed {}", OsError(&error.into()));
    }
    Ok(())
}

/// Sets RLIMIT_NOFILE of this process: as `worker_rlimit_nofile` says, else as high as the hard
/// limit allows, since one process holds what nginx's workers hold together.
pub fn limit_descriptors(settings: &ProcessSettings, log: &ErrorLog) {
    let limit = match settings.rlimit_nofile {
        Some(count) => fixed(count),
        None => {
            let hard = getrlimit(Resource::Nofile).maximum;
            Rlimit { current: hard, maximum: hard }
        }
    };
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        let count = settings.rlimit_nofile.map_or("unlimited".to_owned(), |count| count.to_string());
        log!(log, Alert, "setrlimit(RLIMIT_NOFILE, {count}) failed {}", OsError(&error.into()));
    }
}

/// Makes this process what its settings say a worker is: environment, priority, limits, user, current
/// directory; in nginx's order.
///
/// # Errors
/// The level and the message for the log; the process must not go on.
pub fn become_worker(
    settings: &ProcessSettings,
    user: Option<&User>,
    log: &ErrorLog,
) -> Result<(), (Level, String)> {
    if !os::set_environment(&environment::left_by(&settings.environment)) {
        return Err((Level::Emerg, "a worker process has threads before its time".to_owned()));
    }
    let priority = settings.priority;
    if let (true, Err(error)) = (priority != 0, setpriority_process(None, priority)) {
        log!(log, Alert, "setpriority({priority}) failed {}", OsError(&error.into()));
    }
    limit_descriptors(settings, log);
    if let Some(bytes) = settings.rlimit_core
        && let Err(error) = setrlimit(Resource::Core, fixed(bytes))
    {
        log!(log, Alert, "setrlimit(RLIMIT_CORE, {bytes}) failed {}", OsError(&error.into()));
    }
    if let Some(user) = user {
        become_user(user, settings.transparent, log).map_err(|message| (Level::Emerg, message))?;
    }
    let Some(directory) = &settings.working_directory else { return Ok(()) };
    std::env::set_current_dir(directory).map_err(|error| {
        (Level::Alert, format!("chdir(\"{}\") failed {}", directory.display(), OsError(&error)))
    })
}

/// Sets the limits of a worker that already runs, where they have changed.
pub fn limits_changed(worker: Pid, before: &ProcessSettings, now: &ProcessSettings, log: &ErrorLog) {
    let limits = [
        (Resource::Nofile, "NOFILE", before.rlimit_nofile, now.rlimit_nofile),
        (Resource::Core, "CORE", before.rlimit_core, now.rlimit_core),
    ];
    for (resource, name, before, now) in limits {
        // What is no longer said stays until the next worker.
        let Some(limit) = now.filter(|_| before != now) else { continue };
        if let Err(error) = prlimit(Some(worker), resource, fixed(limit)) {
            log!(log, Alert, "setrlimit(RLIMIT_{name}, {limit}) failed {}", OsError(&error.into()));
        }
    }
}

fn fixed(limit: u64) -> Rlimit {
    Rlimit { current: Some(limit), maximum: Some(limit) }
}
