//! The folders of temporary files: made by the master, which may where the worker may not.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::os::User;
use crate::base::process_settings::Level;
use crate::net::error_log::{ErrorLog, OsError};

/// Permissions of such a folder: what clients send is nobody else's business.
const MODE: u32 = 0o700;

/// Makes those that are missing, for the user that the worker runs as. One that cannot be made is
/// logged: whoever needs it says so again, all others are served.
pub fn make(folders: &[PathBuf], user: Option<&User>, log: &ErrorLog) {
    for folder in folders {
        match fs::DirBuilder::new().mode(MODE).create(folder) {
            Ok(()) => give(folder, user, log),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => give(folder, user, log),
            Err(error) => log!(log, Error, "mkdir() \"{}\" failed {}", folder.display(), OsError(&error)),
        }
    }
}

/// Makes a folder the worker's own, if it is another's and the worker has a user of its own.
fn give(folder: &Path, user: Option<&User>, log: &ErrorLog) {
    let Some(user) = user else { return };
    // Only a folder itself: what a link leads to was not made for this.
    let others = fs::symlink_metadata(folder).is_ok_and(|facts| facts.is_dir() && facts.uid() != user.uid);
    if others && let Err(error) = std::os::unix::fs::lchown(folder, Some(user.uid), None) {
        let uid = user.uid;
        log!(log, Error, "chown(\"{}\", {uid}) failed {}", folder.display(), OsError(&error));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::net::error_log::Target;
    use crate::net::log_file::LogFile;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn folders_are_made_and_kept() {
        let root = std::env::temp_dir().join(format!("octroi-folders-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("kept")).unwrap();
        fs::write(root.join("kept/file"), b"x").unwrap();
        let log = ErrorLog::new(vec![(Target::File(LogFile::stderr()), Level::Emerg)]);
        let folders = [root.join("new"), root.join("kept"), root.join("no/where"), root.join("kept/file")];
        make(&folders, None, &log);
        assert_eq!(fs::metadata(&folders[0]).unwrap().permissions().mode() & 0o777, MODE);
        assert!(folders[1].join("file").exists() && !folders[2].exists());
        let own = fs::metadata(&root).unwrap().uid();
        let user = User { name: String::new(), uid: own, gid: 0 };
        make(&folders, Some(&user), &log);
        assert_eq!(fs::metadata(&folders[0]).unwrap().uid(), own);
        fs::remove_dir_all(root).unwrap();
    }
}
