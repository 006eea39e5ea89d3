//! Opening and reopening the logs that a configuration names.

use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::os;
use crate::base::process_settings::{Level, LogTarget, ProcessSettings};
use crate::net::error_log::{ErrorLog, OsError, Target};
use crate::net::log_file::LogFile;
use crate::net::sockets::Logs;
use crate::net::syslog::SyslogSocket;

/// Permissions of a new log: nginx's NGX_FILE_DEFAULT_ACCESS.
const MODE: u32 = 0o644;

/// The descriptor of standard error.
const STDERR: i32 = 2;

/// Opened files by their paths, before they are anybody's.
pub type Opened = Vec<(PathBuf, OwnedFd)>;

/// Opens every path for appending.
///
/// # Errors
/// The message for the log, for the first that could not be opened.
pub fn open(paths: &[PathBuf]) -> Result<Opened, String> {
    paths.iter().map(|path| open_one(path).map(|file| (path.clone(), file))).collect()
}

/// Opens those that can be opened, and logs the others, which go on as they are.
pub fn reopen(logs: &Logs, log: &ErrorLog) -> Opened {
    let mut opened = Opened::new();
    for path in logs.keys() {
        match open_one(path) {
            Ok(file) => opened.push((path.clone(), file)),
            Err(message) => log!(log, Emerg, "{message}"),
        }
    }
    opened
}

/// The error log to use before a configuration is known: `-e`, else the built-in path; standard
/// error, with nginx's complaint, when it can't be opened.
pub fn initial(path: &Path, level: Level) -> ErrorLog {
    let file = if path == Path::new("stderr") {
        LogFile::stderr()
    } else {
        open_one(path).map(|file| LogFile::new(file, path.to_owned())).unwrap_or_else(|message| {
            eprintln!("octroi: [alert] could not open error log file: {message}");
            LogFile::stderr()
        })
    };
    ErrorLog::new(vec![(Target::File(file), level)])
}

/// Puts opened files to use: a path that is in use keeps its `LogFile`, so that whoever holds it
/// writes to the new file from now on.
pub fn adopt(logs: &mut Logs, opened: Opened, log: &ErrorLog) {
    for (path, file) in opened {
        match logs.get(&path) {
            Some(known) => {
                if let Err(error) = known.replace(file) {
                    log!(log, Alert, "dup3() for \"{}\" failed {}", path.display(), OsError(&error));
                }
            }
            None => {
                logs.insert(path.clone(), LogFile::new(file, path));
            }
        }
    }
}

/// The logs of a new configuration, which are exactly those opened for it: a path that is in use
/// keeps its `LogFile`, with the newly opened file under it.
pub fn renewed(logs: &Logs, opened: Opened, log: &ErrorLog) -> Logs {
    let kept = opened.iter().filter_map(|(path, _)| Some((path.clone(), Arc::clone(logs.get(path)?))));
    let mut next: Logs = kept.collect();
    adopt(&mut next, opened, log);
    next
}

/// The main context's error log, on files that were opened.
pub fn error_log(settings: &ProcessSettings, logs: &Logs) -> ErrorLog {
    let target = |target: &LogTarget| match target {
        LogTarget::File(path) => logs.get(path).map(|file| Target::File(Arc::clone(file))),
        LogTarget::Stderr => Some(Target::File(LogFile::stderr())),
        LogTarget::Syslog(to) => Some(Target::Syslog(Arc::new(SyslogSocket::new(to.clone())))),
    };
    let lines = settings.error_logs.iter();
    ErrorLog::new(lines.filter_map(|line| Some((target(&line.target)?, line.level))).collect())
}

/// Sends standard error into the first file of the main error log, as nginx does, so that what a
/// library or a panic prints is found there. Not when some error log is standard error itself.
pub fn redirect_stderr(settings: &ProcessSettings, logs: &Logs, log: &ErrorLog) {
    if settings.uses_stderr {
        return;
    }
    let mut first = None;
    for line in &settings.error_logs {
        match &line.target {
            LogTarget::Stderr => return,
            LogTarget::File(path) => first = first.or_else(|| logs.get(path)),
            LogTarget::Syslog(_) => {}
        }
    }
    let Some(file) = first else { return };
    let done = file.duplicate().and_then(|file| os::redirect(STDERR, &file));
    if let Err(error) = done {
        log!(log, Alert, "dup2(STDERR) failed {}", OsError(&error));
    }
}

fn open_one(path: &Path) -> Result<OwnedFd, String> {
    let opened = OpenOptions::new().append(true).create(true).mode(MODE).open(path);
    opened
        .map(OwnedFd::from)
        .map_err(|error| format!("open() \"{}\" failed {}", path.display(), OsError(&error)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    #[test]
    fn reopened_logs_keep_their_holders() {
        let folder = std::env::temp_dir().join(format!("octroi-logs-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("error.log");
        let nothing = ErrorLog::new(Vec::new());
        let mut logs = Logs::new();
        adopt(&mut logs, open(std::slice::from_ref(&path)).unwrap(), &nothing);
        let held = Arc::clone(&logs[&path]);
        fs::rename(&path, folder.join("error.log.1")).unwrap();
        let reopened = reopen(&logs, &nothing);
        adopt(&mut logs, reopened, &nothing);
        held.write(b"after\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"after\n");
        fs::remove_dir_all(&folder).unwrap();
        assert!(reopen(&logs, &nothing).is_empty());
        let message = open(std::slice::from_ref(&path)).unwrap_err();
        assert_eq!(message, format!("open() \"{}\" failed (2: No such file or directory)", path.display()));
    }
}
