//! From root to `user`: who the worker runs as, and how many descriptors it may hold.

use std::io;

use rustix::process::{DumpableBehavior, Pid, Resource, Rlimit};
use rustix::process::{geteuid, getrlimit, prlimit, set_dumpable_behavior, setrlimit};

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

/// Gives up root for `user`, for good, and lets the process dump core again.
///
/// # Errors
/// The message for the log; the process must not go on.
pub fn become_user(user: &User, log: &ErrorLog) -> Result<(), String> {
    let failed = |call: String| move |error: io::Error| format!("{call} failed {}", OsError(&error));
    os::set_group(user.gid).map_err(failed(format!("setgid({})", user.gid)))?;
    os::set_supplementary_groups(&user.name, user.gid)
        .map_err(failed(format!("initgroups({}, {})", user.name, user.gid)))?;
    os::set_user(user.uid).map_err(failed(format!("setuid({})", user.uid)))?;
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::Dumpable) {
        log!(log, Alert, "prctl(PR_SET_DUMPABLE) failed {}", OsError(&error.into()));
    }
    Ok(())
}

/// Sets RLIMIT_NOFILE of this process: as `worker_rlimit_nofile` says, else as high as the hard
/// limit allows, since one process holds what nginx's workers hold together.
pub fn limit_descriptors(settings: &ProcessSettings, log: &ErrorLog) {
    let limit = match settings.rlimit_nofile {
        Some(count) => Rlimit { current: Some(count), maximum: Some(count) },
        None => {
            let hard = getrlimit(Resource::Nofile).maximum;
            Rlimit { current: hard, maximum: hard }
        }
    };
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        log_limit_failure(settings, error.into(), log);
    }
}

/// Sets RLIMIT_NOFILE of a worker that already runs.
pub fn limit_descriptors_of(worker: Pid, settings: &ProcessSettings, log: &ErrorLog) {
    let Some(count) = settings.rlimit_nofile else { return };
    let limit = Rlimit { current: Some(count), maximum: Some(count) };
    if let Err(error) = prlimit(Some(worker), Resource::Nofile, limit) {
        log_limit_failure(settings, error.into(), log);
    }
}

fn log_limit_failure(settings: &ProcessSettings, error: io::Error, log: &ErrorLog) {
    let count = settings.rlimit_nofile.map_or("unlimited".to_owned(), |count| count.to_string());
    log!(log, Alert, "setrlimit(RLIMIT_NOFILE, {count}) failed {}", OsError(&error));
}
