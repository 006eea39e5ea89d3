//! Opening a path whose symbolic links are not trusted: component by component, each below the
//! directory opened before it, so that nothing can be put in between (openat(2)).

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};
use std::os::fd::{AsFd, OwnedFd};

/// What becomes of symbolic links in a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Links {
    /// They are followed.
    #[default]
    Followed,
    /// A path with one behind its first `from` bytes is refused.
    Refused {
        /// Bytes of the path, a whole number of components, whose links are followed.
        from: usize,
    },
    /// The same, but one that belongs to the owner of what it points to is followed.
    SameOwner {
        /// As above.
        from: usize,
    },
}

/// How a directory on the way is opened: to look in it, which needs no right to read it.
const ON_THE_WAY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens `path` with `flags` under the rule `links`. With `resolve` CACHED only what the kernel knows
/// without a disk is found, else the answer is EAGAIN.
///
/// # Errors
/// Those of open(2); ELOOP where the last component is a link that is refused, and for one that
/// another owner's file is behind; ENOTDIR where one on the way is refused, as nginx has it.
pub(super) fn open(path: &[u8], links: Links, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd> {
    let (from, same_owner) = match links {
        Links::Followed => return at(CWD, path, flags, resolve),
        Links::Refused { from } => (from, false),
        Links::SameOwner { from } => (from, true),
    };
    let (trusted, rest) = path.split_at_checked(from).ok_or(Errno::INVAL)?;
    let mut folder = match (trusted, rest.first()) {
        ([], Some(b'/')) => Some(at(CWD, b"/", ON_THE_WAY, resolve)?),
        ([], _) => None,
        (trusted, _) => Some(at(CWD, trusted, ON_THE_WAY, resolve)?),
    };
    let mut names = rest.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).peekable();
    let ends_in_folder = rest.last() == Some(&b'/');
    while let Some(name) = names.next() {
        let last = names.peek().is_none() && !ends_in_folder;
        let flags = if last { flags } else { ON_THE_WAY };
        let opened = match &folder {
            Some(folder) => component(folder.as_fd(), name, same_owner, flags, resolve)?,
            None => component(CWD, name, same_owner, flags, resolve)?,
        };
        if last {
            return Ok(opened);
        }
        folder = Some(opened);
    }
    // A path that ends in a slash means the directory itself.
    match &folder {
        Some(folder) => at(folder.as_fd(), b".", flags, resolve),
        None => Err(Errno::NOENT),
    }
}

/// Opens one component below `folder`.
fn component(
    folder: impl AsFd + Copy,
    name: &[u8],
    same_owner: bool,
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd> {
    if same_owner {
        let opened = at(folder, name, flags, resolve)?;
        // Compared even if it looks like no link: it may have been one a moment ago.
        let link = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let owner = rustix::fs::fstat(&opened)?.st_uid;
        return if link.st_uid == owner { Ok(opened) } else { Err(Errno::LOOP) };
    }
    let opened = at(folder, name, flags | OFlags::NOFOLLOW, resolve)?;
    // Opened for its path only, a link is not refused but opened itself.
    if flags.contains(OFlags::PATH)
        && FileType::from_raw_mode(rustix::fs::fstat(&opened)?.st_mode) == FileType::Symlink
    {
        return Err(Errno::LOOP);
    }
    Ok(opened)
}

fn at(folder: impl AsFd, name: &[u8], flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd> {
    if resolve.is_empty() {
        // Also where the kernel, or a sandbox, has no openat2.
        return rustix::fs::openat(folder, name, flags, Mode::empty());
    }
    rustix::fs::openat2(folder, name, flags, Mode::empty(), resolve)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_followed_or_refused() {
        let folder = std::env::temp_dir().join(format!("octroi-links-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("real")).unwrap();
        let folder = fs::canonicalize(folder).unwrap();
        fs::write(folder.join("real/file"), b"x").unwrap();
        symlink("real", folder.join("way")).unwrap();
        symlink("file", folder.join("real/link")).unwrap();
        let root = folder.as_os_str().as_bytes().len();
        let read = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let look = OFlags::PATH | OFlags::CLOEXEC;
        let try_both = |path: &str, links: Links| {
            let path = folder.join(path);
            let results = [read, look].map(|flags| {
                let plain = open(path.as_os_str().as_bytes(), links, flags, ResolveFlags::empty()).map(drop);
                let cached = open(path.as_os_str().as_bytes(), links, flags, ResolveFlags::CACHED).map(drop);
                // Where the kernel cannot tell, the other way is asked.
                assert!(cached == plain || matches!(cached, Err(Errno::AGAIN | Errno::NOSYS | Errno::PERM)));
                plain
            });
            assert_eq!(results[0], results[1], "{path:?}");
            results[0]
        };
        let refused = Links::Refused { from: 0 };
        let owner = Links::SameOwner { from: 0 };
        for (path, followed, without) in [
            ("real/file", Ok(()), Ok(())),
            ("real//./../real/file", Ok(()), Ok(())),
            ("real/", Ok(()), Ok(())),
            ("real/link", Ok(()), Err(Errno::LOOP)),
            ("way/file", Ok(()), Err(Errno::NOTDIR)),
            ("way/", Ok(()), Err(Errno::NOTDIR)),
            ("real/file/", Err(Errno::NOTDIR), Err(Errno::NOTDIR)),
            ("real/none", Err(Errno::NOENT), Err(Errno::NOENT)),
        ] {
            assert_eq!(try_both(path, Links::Followed), followed, "{path}");
            assert_eq!(try_both(path, owner), followed, "{path}");
            assert_eq!(try_both(path, refused), without, "{path}");
        }
        assert_eq!(try_both("way/file", Links::Refused { from: root + 4 }), Ok(()));
        assert_eq!(try_both("way/link", Links::Refused { from: root + 4 }), Err(Errno::LOOP));
        assert_eq!(try_both("way/file", Links::Refused { from: root }), Err(Errno::NOTDIR));
        assert_eq!(
            open(b"/x", Links::Refused { from: 3 }, read, ResolveFlags::empty()).unwrap_err(),
            Errno::INVAL
        );
        assert_eq!(open(b"", refused, read, ResolveFlags::empty()).unwrap_err(), Errno::NOENT);
        fs::remove_dir_all(folder).unwrap();
    }
}
