//! Where the parser gets its texts from.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::glob;

/// The most bytes of configuration that are read, over all files and inclusions: a large `geo` or
/// `map` table has tens of megabytes, and the tree takes a small multiple of the text.
pub(super) const MAX_CONFIG_BYTES: u64 = 256 * 1024 * 1024;

/// What reads files and expands patterns for the parser.
pub trait Files {
    /// The bytes of a file.
    ///
    /// # Errors
    /// What opening or reading it gave.
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>>;

    /// The paths that match a pattern of glob(3), sorted by their bytes; none is no error.
    ///
    /// # Errors
    /// What keeps the pattern from being worked on at all.
    fn glob(&mut self, pattern: &str) -> io::Result<Vec<PathBuf>>;
}

/// The file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // One byte beyond the bound lets the parser see that the bound was passed.
        File::open(path)?.take(MAX_CONFIG_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn glob(&mut self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        glob::expand(pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_keeps_its_error_number() {
        let error = Disk.read(Path::new("/nonexistent/octroi.conf")).err();
        assert_eq!(error.and_then(|e| e.raw_os_error()), Some(2));
    }
}
