//! Where the shards run, as the master sees it: in a worker process, or, under `master_process
//! off`, in its own.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use super::engine::Engine;
use super::link::Link;
use super::logs;
use super::message::Message;
use crate::base::process_settings::Level;
use crate::net::error_log::{ErrorLog, OsError};
use crate::plan::Plan;

/// The one data plane of a master.
pub enum DataPlane {
    /// Not started yet, or dead and about to be started again.
    None,
    /// A child of this process.
    Process {
        /// Its number.
        pid: Pid,
        /// The way to speak to it; `None` once that is broken.
        link: Option<Link>,
    },
    /// Threads of this process.
    Here(Box<Engine>),
}

impl DataPlane {
    /// True when there is none.
    pub fn is_none(&self) -> bool {
        matches!(self, DataPlane::None)
    }

    /// The worker process.
    pub fn pid(&self) -> Option<Pid> {
        match self {
            DataPlane::Process { pid, .. } => Some(*pid),
            _ => None,
        }
    }

    /// The way to speak to the worker process.
    pub fn link(&self) -> Option<&Link> {
        match self {
            DataPlane::Process { link, .. } => link.as_ref(),
            _ => None,
        }
    }

    /// Stops speaking to the worker process.
    pub fn unlink(&mut self) {
        if let DataPlane::Process { link, .. } = self {
            *link = None;
        }
    }

    /// True when the shards of this process have finished; a worker process is known by its end.
    pub fn finished(&mut self) -> bool {
        match self {
            DataPlane::Here(engine) => engine.finished(),
            _ => false,
        }
    }

    /// Hands on logs that were opened again.
    ///
    /// # Errors
    /// The link is broken.
    pub fn reopen(&mut self, opened: &logs::Opened, log: &ErrorLog) -> io::Result<()> {
        match self {
            DataPlane::Process { link: Some(link), .. } => {
                link.send(&Message::Reopen(opened.iter().map(|(path, file)| (path.clone(), file)).collect()))
            }
            DataPlane::Here(engine) => {
                engine.reopen(copies(opened, log), log);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Has the certificates of these files renewed from the texts that hold them now; `plan` is made of
    /// those.
    ///
    /// # Errors
    /// The link is broken.
    pub fn renew(
        &mut self,
        plan: &Plan,
        snapshot: &[u8],
        files: &[PathBuf],
        log: &ErrorLog,
    ) -> io::Result<()> {
        match self {
            DataPlane::Process { link: Some(link), .. } => {
                let (snapshot, files) = (snapshot.to_vec(), files.to_vec());
                link.send(&Message::<OwnedFd>::Renew { snapshot, files })
            }
            DataPlane::Here(engine) => {
                engine.renew(plan, files, log);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Asks it to finish what is under way.
    ///
    /// # Errors
    /// The link is broken.
    pub fn quit(&mut self, log: &ErrorLog) -> io::Result<()> {
        match self {
            DataPlane::Process { link: Some(link), .. } => link.send(&Message::<OwnedFd>::Quit),
            DataPlane::Here(engine) => {
                log!(log, Notice, "gracefully shutting down");
                engine.quit();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Asks it to end; true when its end is yet to come.
    pub fn stop(&mut self, log: &ErrorLog) -> bool {
        match self {
            DataPlane::None => false,
            DataPlane::Process { link, .. } => {
                let sent = link.as_ref().map_or(Ok(()), |link| link.send(&Message::<OwnedFd>::Stop));
                if sent.is_err() {
                    self.kill(log);
                }
                true
            }
            DataPlane::Here(engine) => {
                engine.stop();
                false
            }
        }
    }

    /// Ends a worker process that can't be spoken to any more.
    pub fn give_up(&mut self, log: &ErrorLog) {
        self.unlink();
        self.kill(log);
    }

    /// Kills the worker process; one that has ended meanwhile is no error.
    pub fn kill(&self, log: &ErrorLog) {
        let DataPlane::Process { pid, .. } = self else { return };
        match kill_process(*pid, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => {
                log!(log, Alert, "kill({}, 9) failed {}", pid.as_raw_nonzero(), OsError(&error.into()));
            }
        }
    }
}

/// Second descriptors of opened logs; one that can't be made is logged and left out.
pub fn copies(opened: &logs::Opened, log: &ErrorLog) -> logs::Opened {
    let copy = |(path, file): &(PathBuf, OwnedFd)| match file.try_clone() {
        Ok(file) => Some((path.clone(), file)),
        Err(error) => {
            log!(log, Alert, "dup() of \"{}\" failed {}", path.display(), OsError(&error));
            None
        }
    };
    opened.iter().filter_map(copy).collect()
}
