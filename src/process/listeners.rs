//! The listening sockets. The master makes all of them, one per shard and address, and keeps them
//! while their address stays in the configuration: closing one of a SO_REUSEPORT group resets the
//! connections that are queued on it. Their order within an address never changes either.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::socket::{self, Failure};
use crate::base::address::{Address, Listen};
use crate::base::process_settings::Level;
use crate::net::error_log::{ErrorLog, OsError};

/// How often binding is tried while a port is taken, and how long apart: nginx's numbers, which
/// give a predecessor two seconds to leave.
const BIND_TRIES: u32 = 5;
const BIND_PAUSE: Duration = Duration::from_millis(500);

/// The sockets of the configuration in force.
#[derive(Debug, Default)]
pub struct Listeners {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    address: Address,
    sockets: Vec<OwnedFd>,
    /// They were made by the master before this one.
    inherited: bool,
}

/// Which other master has sockets of ours. It needs the files of the Unix ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// None.
    Nobody,
    /// The one that inherited ours.
    Successor,
    /// The one that we inherited some of.
    Predecessor,
}

/// What a new configuration adds, bound but not yet part of the sockets in force.
#[derive(Debug)]
pub struct Staged {
    /// Every address of the new configuration, with the sockets it needs beside those it has.
    listens: Vec<(Listen, Vec<OwnedFd>)>,
}

impl Listeners {
    /// The sockets that another master has left, grouped by their addresses, in their order.
    pub fn inherit(sockets: Vec<OwnedFd>, log: &ErrorLog) -> Listeners {
        let mut entries: Vec<Entry> = Vec::new();
        for socket in sockets {
            let address = match socket::adopt(&socket) {
                Ok(address) => address,
                Err(error) => {
                    log!(log, Crit, "getsockname() of an inherited socket failed {}", OsError(&error));
                    continue;
                }
            };
            match entries.iter_mut().find(|entry| entry.address == address) {
                Some(entry) => entry.sockets.push(socket),
                None => entries.push(Entry { address, sockets: vec![socket], inherited: true }),
            }
        }
        Listeners { entries }
    }

    /// Makes what `wanted` needs beyond what is here: sockets for new addresses, and more sockets
    /// for an address that has fewer than `shards`. Nothing here changes until `commit`.
    ///
    /// # Errors
    /// The reason is logged, in nginx's words; everything made so far is undone.
    pub fn stage(&self, wanted: &[Listen], shards: usize, log: &ErrorLog) -> Result<Staged, ()> {
        let mut staged =
            Staged { listens: wanted.iter().map(|listen| (listen.clone(), Vec::new())).collect() };
        for attempt in 0..BIND_TRIES {
            if attempt > 0 {
                log!(log, Notice, "try again to bind() after 500ms");
                std::thread::sleep(BIND_PAUSE);
            }
            match self.fill(&mut staged, shards, log) {
                Ok(true) => return Ok(staged),
                Ok(false) => {}
                Err(()) => {
                    self.abandon(staged, log);
                    return Err(());
                }
            }
        }
        log!(log, Emerg, "still could not bind()");
        self.abandon(staged, log);
        Err(())
    }

    /// One round over the addresses that still lack sockets: false when some port is taken.
    fn fill(&self, staged: &mut Staged, shards: usize, log: &ErrorLog) -> Result<bool, ()> {
        let mut complete = true;
        for at in 0..staged.listens.len() {
            if let Err(failure) = self.add(staged, at, shards, log) {
                log!(log, Emerg, "{failure}");
                if !failure.is_taken() {
                    return Err(());
                }
                complete = false;
            }
        }
        Ok(complete)
    }

    /// Makes the sockets that staged address `at` lacks.
    fn add(&self, staged: &mut Staged, at: usize, shards: usize, log: &ErrorLog) -> Result<(), Failure> {
        let Some((listen, added)) = staged.listens.get(at) else { return Ok(()) };
        let (listen, mut count) = (listen.clone(), added.len() + self.sockets_of(&listen.address).len());
        let is_unix = matches!(listen.address, Address::Unix(_));
        // A Unix socket can't be bound twice: the worker copies its one descriptor.
        let needed = if is_unix { 1 } else { shards };
        if count == 0 && !is_unix && !self.overlaps(staged, &listen.address) {
            socket::probe(&listen)?;
        }
        while count < needed {
            let (made, refused) = socket::open(&listen)?;
            refused.iter().for_each(|text| log!(log, Alert, "{text}"));
            if let Some((_, added)) = staged.listens.get_mut(at) {
                added.push(made);
            }
            count += 1;
        }
        Ok(())
    }

    /// The sockets in force once `staged` is committed, in the order they keep for ever.
    pub fn with<'a>(&'a self, staged: &'a Staged) -> Vec<(Address, Vec<BorrowedFd<'a>>)> {
        let sockets = |listen: &Listen, added: &'a [OwnedFd]| {
            self.sockets_of(&listen.address).iter().chain(added).map(AsFd::as_fd).collect()
        };
        staged
            .listens
            .iter()
            .map(|(listen, added)| (listen.address.clone(), sockets(listen, added)))
            .collect()
    }

    /// The sockets in force.
    pub fn all(&self) -> Vec<(Address, Vec<BorrowedFd<'_>>)> {
        let entries = self.entries.iter();
        entries
            .map(|entry| (entry.address.clone(), entry.sockets.iter().map(AsFd::as_fd).collect()))
            .collect()
    }

    /// Puts `staged` in force: kept sockets take the new options, those of addresses that are no
    /// longer wanted are closed.
    pub fn commit(&mut self, staged: Staged, others: Others, log: &ErrorLog) {
        let mut old = std::mem::take(&mut self.entries);
        for (listen, added) in staged.listens {
            let (mut sockets, inherited) = match old.iter().position(|entry| entry.address == listen.address)
            {
                Some(at) => {
                    let entry = old.swap_remove(at);
                    (entry.sockets, entry.inherited)
                }
                None => (Vec::new(), false),
            };
            for kept in &sockets {
                socket::configure(kept, &listen).iter().for_each(|text| log!(log, Alert, "{text}"));
            }
            sockets.extend(added);
            self.entries.push(Entry { address: listen.address, sockets, inherited });
        }
        old.iter().for_each(|left| left.remove_file(others, log));
    }

    /// Undoes `stage`.
    pub fn abandon(&self, staged: Staged, log: &ErrorLog) {
        for (listen, added) in staged.listens {
            if !added.is_empty() {
                remove_file(&listen.address, log);
            }
        }
    }

    /// Closes everything and removes the files of Unix sockets that are ours alone.
    pub fn close(&mut self, others: Others, log: &ErrorLog) {
        for entry in self.entries.drain(..) {
            entry.remove_file(others, log);
        }
    }

    fn sockets_of(&self, address: &Address) -> &[OwnedFd] {
        let entry = self.entries.iter().find(|entry| entry.address == *address);
        entry.map_or(&[], |entry| entry.sockets.as_slice())
    }

    /// Whether a probe of `address` would run into one of our own sockets, such as `127.0.0.1:80`
    /// held while `*:80` is added.
    fn overlaps(&self, staged: &Staged, address: &Address) -> bool {
        let held = self.entries.iter().map(|entry| &entry.address);
        let made =
            staged.listens.iter().filter(|(_, added)| !added.is_empty()).map(|(other, _)| &other.address);
        held.chain(made).any(|other| overlap(other, address))
    }
}

impl Entry {
    fn remove_file(&self, others: Others, log: &ErrorLog) {
        let used = match others {
            Others::Nobody => false,
            Others::Successor => true,
            Others::Predecessor => self.inherited,
        };
        if !used {
            remove_file(&self.address, log);
        }
    }
}

/// Checks for `-t` that every address can be bound, and leaves nothing behind. As in nginx, a port
/// that is taken is no failure, since it is most often our own running server that has it.
pub fn check(wanted: &[Listen], log: &ErrorLog) -> bool {
    let mut fine = true;
    for failure in wanted.iter().filter_map(|listen| socket::probe(listen).err()) {
        if !failure.is_taken() {
            log!(log, Emerg, "{failure}");
            fine = false;
        }
    }
    fine
}

/// Whether a socket bound to one address keeps another from binding the other.
fn overlap(one: &Address, other: &Address) -> bool {
    match (one, other) {
        (Address::Ip(one), Address::Ip(other)) => {
            let any = one.ip().is_unspecified() || other.ip().is_unspecified();
            one.port() == other.port() && (any || one.ip() == other.ip())
        }
        (Address::Unix(one), Address::Unix(other)) => one == other,
        _ => false,
    }
}

fn remove_file(address: &Address, log: &ErrorLog) {
    let Address::Unix(path) = address else { return };
    let removed = fs::remove_file(path);
    if let Err(error) = removed.or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
    {
        log!(log, Emerg, "unlink() {} failed {}", path.display(), OsError(&error));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::base::address::ListenOptions;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;
    use std::path::PathBuf;

    fn quiet() -> ErrorLog {
        ErrorLog::new(Vec::new())
    }

    fn listen(address: &str) -> Listen {
        let address = match address.strip_prefix("unix:") {
            Some(path) => Address::Unix(PathBuf::from(path)),
            None => Address::Ip(address.parse().unwrap()),
        };
        Listen { address, options: ListenOptions::default() }
    }

    /// A port that nobody had a moment ago.
    fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    fn counts(listeners: &Listeners) -> Vec<usize> {
        listeners.all().iter().map(|(_, sockets)| sockets.len()).collect()
    }

    #[test]
    fn kept_addresses_keep_their_sockets_whatever_the_number_of_shards() {
        let kept = listen(&format!("127.0.0.1:{}", free_port()));
        let leaving = listen(&format!("127.0.0.1:{}", free_port()));
        let mut listeners = Listeners::default();
        let staged = listeners.stage(&[leaving.clone(), kept.clone()], 3, &quiet()).unwrap();
        listeners.commit(staged, Others::Nobody, &quiet());
        assert_eq!(counts(&listeners), [3, 3]);
        let names = |listeners: &Listeners| -> Vec<i32> {
            let all = listeners.all();
            let (_, sockets) = all.iter().find(|(address, _)| *address == kept.address).unwrap();
            sockets.iter().map(AsRawFd::as_raw_fd).collect()
        };
        let before = names(&listeners);

        let fewer = listeners.stage(std::slice::from_ref(&kept), 1, &quiet()).unwrap();
        assert_eq!(listeners.with(&fewer)[0].1.len(), 3, "surplus sockets are handed on");
        listeners.commit(fewer, Others::Nobody, &quiet());
        assert_eq!(names(&listeners), before);
        let Address::Ip(gone) = leaving.address else { panic!() };
        assert!(TcpStream::connect(gone).is_err());

        let more = listeners.stage(std::slice::from_ref(&kept), 4, &quiet()).unwrap();
        listeners.commit(more, Others::Nobody, &quiet());
        assert_eq!(counts(&listeners), [4]);
        assert_eq!(names(&listeners)[..3], before);
    }

    #[test]
    fn a_wildcard_may_join_an_address_we_hold() {
        let port = free_port();
        let mut listeners = Listeners::default();
        let one = listen(&format!("127.0.0.1:{port}"));
        let staged = listeners.stage(std::slice::from_ref(&one), 1, &quiet()).unwrap();
        listeners.commit(staged, Others::Nobody, &quiet());
        let staged = listeners.stage(&[listen(&format!("0.0.0.0:{port}"))], 2, &quiet()).unwrap();
        listeners.commit(staged, Others::Nobody, &quiet());
        assert_eq!(counts(&listeners), [2]);
    }

    #[test]
    fn what_is_abandoned_leaves_nothing() {
        let path = std::env::temp_dir().join(format!("octroi-staged-{}", std::process::id()));
        let wanted = [listen(&format!("unix:{}", path.display())), listen("192.0.2.1:1")];
        let listeners = Listeners::default();
        // 192.0.2.0/24 is for documentation (RFC 5737): no host has it, so binding it fails.
        assert!(listeners.stage(&wanted, 1, &quiet()).is_err());
        assert!(!path.exists());
        assert!(check(&wanted[..1], &quiet()));
        assert!(!check(&wanted, &quiet()));
        let mut listeners = listeners;
        let staged = listeners.stage(&wanted[..1], 4, &quiet()).unwrap();
        listeners.commit(staged, Others::Nobody, &quiet());
        assert_eq!(counts(&listeners), [1], "one descriptor serves all shards");
        listeners.close(Others::Nobody, &quiet());
        assert!(!path.exists());
    }

    #[test]
    fn a_group_is_inherited_whole_and_its_files_are_left() {
        let path = std::env::temp_dir().join(format!("octroi-inherited-{}", std::process::id()));
        let wanted =
            [listen(&format!("127.0.0.1:{}", free_port())), listen(&format!("unix:{}", path.display()))];
        let mut before = Listeners::default();
        let staged = before.stage(&wanted, 3, &quiet()).unwrap();
        before.commit(staged, Others::Nobody, &quiet());
        let passed: Vec<OwnedFd> = before
            .all()
            .into_iter()
            .flat_map(|(_, sockets)| sockets)
            .map(|socket| socket.try_clone_to_owned().unwrap())
            .collect();

        let mut after = Listeners::inherit(passed, &quiet());
        assert_eq!(counts(&after), [3, 1]);
        let fewer = after.stage(&wanted, 1, &quiet()).unwrap();
        assert_eq!(after.with(&fewer)[0].1.len(), 3, "surplus sockets are handed on");
        after.commit(fewer, Others::Predecessor, &quiet());
        before.close(Others::Successor, &quiet());
        let more = after.stage(&wanted[..1], 4, &quiet()).unwrap();
        assert!(path.exists());
        after.commit(more, Others::Nobody, &quiet());
        assert_eq!(counts(&after), [4]);
        assert!(!path.exists(), "its last user has gone");
    }
}
