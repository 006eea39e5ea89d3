//! A password file: lines of `name:password`, perhaps with `:comment` behind. It is read anew for each
//! password that is not known yet, as nginx reads it for each request.

use super::crypt::{self, Verdict};
use crate::net::file_version::FileVersion;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;

/// Bytes of one line, at most: the longest hash has some 120.
const LINE_BYTES_MAX: u64 = 8 * 1024;

/// What a file says to a name and a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is the user's password.
    Right,
    /// It is not.
    Wrong,
    /// What the file has for the user is of a kind that cannot be checked.
    Unknown,
    /// The file has no such user.
    NoUser,
}

/// The answer, and of which file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checked {
    pub(super) answer: Answer,
    /// `None` while the file is too young to tell it from what it may become.
    pub(super) version: Option<FileVersion>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// The file could not be opened.
    Open(io::Error),
    /// It could not be read.
    Read(io::Error),
}

/// Looks a user up and checks a password. `credentials` is `name:password`, `name` the length of the
/// name. It reads a disk and takes the time that the hash takes.
pub(super) fn check(path: &[u8], credentials: &[u8], name: usize) -> Result<Checked, Failed> {
    let (user, password) = match (credentials.get(..=name), credentials.get(name + 1..)) {
        (Some(user), Some(password)) => (user, password),
        _ => return Ok(Checked { answer: Answer::NoUser, version: None }),
    };
    // A pipe is not waited for.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(OsStr::from_bytes(path));
    let file = file.map_err(Failed::Open)?;
    let version = FileVersion::of(&file.metadata().map_err(Failed::Read)?);
    let answer = match stored(file, user).map_err(Failed::Read)? {
        None => Answer::NoUser,
        Some(stored) => match crypt::check(password, &stored) {
            Verdict::Right => Answer::Right,
            Verdict::Wrong => Answer::Wrong,
            Verdict::Unknown => Answer::Unknown,
        },
    };
    Ok(Checked { answer, version: version.is_settled().then_some(version) })
}

/// What the file has for a user, whose name ends with its colon: that of the first line that begins so.
fn stored(file: File, user: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? as u64;
        if read == 0 {
            return Ok(None);
        }
        if read == LINE_BYTES_MAX && !line.ends_with(b"\n") {
            let message = format!("a line is longer than {LINE_BYTES_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let is_comment = matches!(line.first(), Some(b'#' | b'\r'));
        if let (Some(rest), false) = (line.strip_prefix(user), is_comment) {
            let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r' | b':'));
            return Ok(Some(rest.get(..end.unwrap_or(rest.len())).unwrap_or_default().to_vec()));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines() {
        let path = std::env::temp_dir().join(format!("octroi-passwords-{}", std::process::id()));
        let text = "# a:{PLAIN}comment\n\n\r\na:{PLAIN}one:more\r\na:{PLAIN}two\nab:{PLAIN}x\r\n#b:{PLAIN}x\n\
                    empty:\nlast:{PLAIN}end";
        std::fs::write(&path, text).unwrap();
        let ask = |credentials: &str| {
            let name = credentials.find(':').unwrap();
            let checked = check(path.as_os_str().as_bytes(), credentials.as_bytes(), name).unwrap();
            assert!(checked.version.is_none(), "a file this young");
            checked.answer
        };
        for (credentials, want) in [
            ("a:one", Answer::Right),
            ("a:two", Answer::Wrong),
            ("a:one:more", Answer::Wrong),
            ("ab:x", Answer::Right),
            ("abc:x", Answer::NoUser),
            ("#b:x", Answer::NoUser),
            ("empty:", Answer::Wrong),
            ("last:end", Answer::Right),
            ("las:t", Answer::NoUser),
        ] {
            assert_eq!(ask(credentials), want, "{credentials}");
        }
        std::fs::write(&path, "x".repeat(10_000)).unwrap();
        assert!(matches!(check(path.as_os_str().as_bytes(), b"a:b", 1), Err(Failed::Read(_))));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(check(path.as_os_str().as_bytes(), b"a:b", 1), Err(Failed::Open(_))));
    }
}
