//! What a test has to itself: a directory and ports.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::program::give_to_nobody;

/// Ports are taken below the kernel's ephemeral range, so that no outgoing connection holds one.
const PORTS: std::ops::Range<u16> = 10_000..32_000;

/// A directory that is removed with the value.
pub(super) struct Dir(pub(super) PathBuf);

impl Dir {
    pub(super) fn new() -> Dir {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("octroi-it-{}-{number}", std::process::id()));
        // One that a run which was killed has left behind, under the number of this process, is not ours.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        give_to_nobody(&path);
        Dir(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A port that no other test takes, in this process or another, as long as the value lives.
pub struct Port {
    /// Its number.
    pub number: u16,
    // An abstract Unix socket by the port's name: one owner on the machine, gone with its process.
    _reservation: UnixListener,
}

impl Port {
    /// A port nobody listens on.
    pub fn reserve() -> Port {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let span = u32::from(PORTS.end - PORTS.start);
        let start = std::process::id().wrapping_mul(61);
        for _ in 0..span {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let number = PORTS.start + (start.wrapping_add(step) % span) as u16;
            let name = UnixAddress::from_abstract_name(format!("octroi-it-port-{number}")).unwrap();
            let Ok(reservation) = UnixListener::bind_addr(&name) else { continue };
            let free = TcpListener::bind((Ipv4Addr::UNSPECIFIED, number)).is_ok()
                && TcpListener::bind((Ipv6Addr::LOCALHOST, number)).is_ok();
            if free {
                return Port { number, _reservation: reservation };
            }
        }
        panic!("no free port");
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.number)
    }
}
