//! Where the parser gets its texts from.

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use super::glob;

/// The most bytes of configuration that are read, over all files and inclusions: a large `geo` or
/// `map` table has tens of megabytes, and the tree takes a small multiple of the text.
pub(super) const MAX_CONFIG_BYTES: u64 = 256 * 1024 * 1024;

/// The kernel's list of the host's IPv6 addresses.
const V6_ADDRESSES: &str = "/proc/net/if_inet6";

/// `::1` as that list shows it.
const V6_LOOPBACK: &str = "00000000000000000000000000000001";

/// What reads files, expands patterns and looks names of hosts up: all that a configuration depends
/// on besides its own text.
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

    /// The addresses of a host, in the order in which the system gives them, each once. Where there
    /// is nobody to ask, no name has any.
    ///
    /// # Errors
    /// The name has none, or nobody could be asked.
    fn resolve(&mut self, _host: &str) -> io::Result<Vec<IpAddr>> {
        Err(io::ErrorKind::NotFound.into())
    }
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

    fn resolve(&mut self, host: &str) -> io::Result<Vec<IpAddr>> {
        let mut found: Vec<IpAddr> = Vec::new();
        for address in (host, 0).to_socket_addrs()? {
            if !found.contains(&address.ip()) {
                found.push(address.ip());
            }
        }
        if found.iter().any(IpAddr::is_ipv4) && !has_ipv6() {
            found.retain(IpAddr::is_ipv4);
        }
        match found.is_empty() {
            true => Err(io::ErrorKind::NotFound.into()),
            false => Ok(found),
        }
    }
}

/// Whether the host has an IPv6 address besides the loopback one. nginx asks the system for
/// addresses of families in use only (`AI_ADDRCONFIG`), which the standard library does not: where
/// there is no IPv6, `localhost` would get an address that cannot be reached.
fn has_ipv6() -> bool {
    let list = std::fs::read_to_string(V6_ADDRESSES).unwrap_or_default();
    list.lines().any(|line| !line.starts_with(V6_LOOPBACK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_keeps_its_error_number() {
        let error = Disk.read(Path::new("/nonexistent/octroi.conf")).err();
        assert_eq!(error.and_then(|e| e.raw_os_error()), Some(2));
    }

    #[test]
    fn names_are_resolved() {
        let found = Disk.resolve("localhost").unwrap_or_default();
        assert!(found.contains(&IpAddr::from([127, 0, 0, 1])), "{found:?}");
        assert!(Disk.resolve("nowhere.invalid").is_err());
    }
}
