//! `daemon on`: leaving the terminal. Unlike nginx's, the process that was started waits until the
//! daemon serves, so that its exit code tells the truth and the pid file is there when it ends.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};

use super::os::{self, Fork};

/// The daemon's word to the process that waits for it.
pub struct Readiness(PipeWriter);

impl Readiness {
    /// Lets the waiting process end with success. Dropped without this it ends with a failure.
    pub fn tell(mut self) {
        // If that process was killed meanwhile, there is nobody left to tell.
        let _ = self.0.write_all(b"1");
    }
}

/// Which process this is after leaving the terminal.
pub enum Detached {
    /// The one that was started: end with success, or not.
    Started(bool),
    /// The daemon.
    Daemon(Readiness),
}

/// fork(2), setsid(2), umask 0, and /dev/null for standard input and output. Standard error stays
/// until the error log takes its place.
///
/// # Errors
/// The call that failed, and how.
pub fn detach() -> Result<Detached, (&'static str, io::Error)> {
    let (reader, writer) = io::pipe().map_err(|error| ("pipe()", error))?;
    match os::fork().map_err(|error| ("fork()", error))? {
        Fork::Parent(_) => {
            drop(writer);
            return Ok(Detached::Started(wait(reader)));
        }
        Fork::Child => drop(reader),
    }
    rustix::process::setsid().map_err(|error| ("setsid()", error.into()))?;
    rustix::process::umask(rustix::fs::Mode::empty());
    let null = File::options().read(true).write(true).open("/dev/null");
    let null = null.map_err(|error| ("open(\"/dev/null\")", error))?;
    os::redirect(0, &null).map_err(|error| ("dup2(STDIN)", error))?;
    os::redirect(1, &null).map_err(|error| ("dup2(STDOUT)", error))?;
    Ok(Detached::Daemon(Readiness(writer)))
}

/// True when the daemon said that it serves, false when it ended without a word.
fn wait(mut reader: PipeReader) -> bool {
    let mut word = [0];
    reader.read_exact(&mut word).is_ok()
}
