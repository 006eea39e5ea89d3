//! Whether a file is still what it was: without reading it.

use super::file;
use super::symlinks::Links;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

/// What changes when a file, or which file it is, changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileVersion {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds since the epoch.
    modified: (i64, i64),
    /// The same for its inode: who may read it, its name.
    changed: (i64, i64),
}

/// How old a change must be for the next one to be seen: clocks of file systems tick some hundred times
/// a second, those of networked ones once.
const SETTLES: Duration = Duration::from_secs(2);

impl FileVersion {
    /// The version of what stands at a path.
    ///
    /// # Errors
    /// Those of [`file::facts`].
    pub async fn at(path: &[u8]) -> io::Result<FileVersion> {
        let stat = file::stat(path, Links::Followed).await?;
        Ok(FileVersion {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0)),
            changed: (stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or(0)),
        })
    }

    /// The version of an open file.
    pub fn of(metadata: &Metadata) -> FileVersion {
        FileVersion {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether another change would make another version: two in one tick of the file system's clock
    /// cannot be told apart.
    pub fn is_settled(&self) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let changed = Duration::from_secs(u64::try_from(self.changed.0).unwrap_or(0));
        now.checked_sub(changed).is_some_and(|age| age > SETTLES)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::net::file_pool::on_both_drivers;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn the_same_by_path_and_by_descriptor() {
        let path = std::env::temp_dir().join(format!("octroi-version-{}", std::process::id()));
        std::fs::write(&path, "x").unwrap();
        let open = std::fs::File::open(&path).unwrap();
        let version = FileVersion::of(&open.metadata().unwrap());
        assert!(!version.is_settled());
        let old = FileVersion { changed: (version.changed.0 - 10, 0), ..version };
        assert!(old.is_settled());
        on_both_drivers(|| {
            let path = path.clone();
            async move {
                assert_eq!(FileVersion::at(path.as_os_str().as_bytes()).await.unwrap(), version);
            }
        });
        std::fs::write(&path, "xy").unwrap();
        assert_ne!(FileVersion::of(&std::fs::metadata(&path).unwrap()), version);
        std::fs::remove_file(&path).unwrap();
    }
}
