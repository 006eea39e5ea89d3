//! The pid file: written once every socket listens and the worker is ready, since others take it
//! for the sign of readiness, and removed at the end.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::base::process_settings::Level;
use crate::net::error_log::{ErrorLog, OsError};

/// Permissions of a new pid file: nginx's NGX_FILE_DEFAULT_ACCESS.
const MODE: u32 = 0o644;

/// Writes this process's number. False, with the reason logged, when that failed.
pub fn write(path: &Path, log: &ErrorLog) -> bool {
    // One write of a few bytes: whoever waits for the file and reads it at once finds the number.
    let text = format!("{}\n", std::process::id());
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(MODE)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    reported(path, written, log)
}

/// Checks for `-t` that the file could be written, and leaves none behind that was not there.
pub fn check(path: &Path, log: &ErrorLog) -> bool {
    let opened = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path);
    let checked = match opened {
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            OpenOptions::new().write(true).open(path).map(drop)
        }
        Err(error) => Err(error),
    };
    reported(path, checked, log)
}

/// Removes the file.
pub fn remove(path: &Path, log: &ErrorLog) {
    if let Err(error) = fs::remove_file(path) {
        log!(log, Alert, "unlink() \"{}\" failed {}", path.display(), OsError(&error));
    }
}

fn reported(path: &Path, result: io::Result<()>, log: &ErrorLog) -> bool {
    if let Err(error) = &result {
        log!(log, Emerg, "open() \"{}\" failed {}", path.display(), OsError(error));
    }
    result.is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_pid_file_is_written_checked_and_removed() {
        let log = ErrorLog::new(Vec::new());
        let path = std::env::temp_dir().join(format!("octroi-pid-{}", std::process::id()));
        assert!(check(&path, &log));
        assert!(!path.exists(), "a check leaves nothing behind");
        fs::write(&path, "a longer text than a number\n").unwrap();
        assert!(check(&path, &log));
        assert!(write(&path, &log));
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        remove(&path, &log);
        assert!(!path.exists());
        assert!(!write(Path::new("/nonexistent/folder/pid"), &log));
    }
}
