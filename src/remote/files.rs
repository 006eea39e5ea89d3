//! Files that are read again when they change, without a reload.

use crate::net::file_version::FileVersion;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a file is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// What is watched.
pub trait Watched: Send + Sync + 'static {
    /// Where it stands.
    fn path(&self) -> &Path;

    /// The version that was read last; `None` when that could not be told from the next one.
    fn version(&self) -> Option<FileVersion>;

    /// Reads it again. It may take its time: no other work waits for it.
    fn read_again(&self);
}

/// Looks at a file until nobody holds what is made of it.
pub async fn watch<W: Watched>(watched: std::sync::Weak<W>) {
    let mut tried = None;
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(file) = watched.upgrade() else { return };
        let (path, known) = (file.path().to_owned(), file.version());
        // One that is gone leaves what it held in force.
        let Some(now) = version(path).await else { continue };
        if known == Some(now) || tried == Some(now) {
            continue;
        }
        // A file that was changed just now may change again unseen.
        tried = now.is_settled().then_some(now);
        let _ = tokio::task::spawn_blocking(move || file.read_again()).await;
    }
}

/// A file system may be slow to answer.
async fn version(path: PathBuf) -> Option<FileVersion> {
    let metadata = tokio::task::spawn_blocking(move || std::fs::metadata(path)).await.ok()?.ok()?;
    Some(FileVersion::of(&metadata))
}
