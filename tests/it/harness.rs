//! The harness of the behaviour tests: a server under test, a client and an
//! upstream, all on raw sockets.
//!
//! The binary is Octroi, or whatever `OCTROI_BIN` names: run against nginx
//! itself the same tests show that what they expect is what nginx does.
//! `OCTROI_TEST_DRIVER=epoll` makes Octroi use its epoll driver.
//!
//! Every wait has a bound, and a test that fails prints the configuration, the
//! error log and the bytes exchanged.

mod message;
mod place;
mod program;
mod server;
mod setup;
mod upstream;
mod wire;

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

pub use message::Message;
pub use place::Port;
pub use program::{as_root, only_octroi, program, reachable, run, since};
pub use server::Server;
pub use setup::Setup;
pub use upstream::{Origin, Upstream};
pub use wire::{End, Wire};

/// How long anything may take before the test fails: far above what a loaded machine needs.
pub const WAIT: Duration = Duration::from_secs(10);
/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(5);

/// Asks until there is an answer or the time is up.
fn bounded<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if start.elapsed() > WAIT {
            return None;
        }
        thread::sleep(POLL);
    }
}

/// Waits until the condition holds; the test fails if it never does.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    assert!(bounded(|| condition().then_some(())).is_some(), "never came: {what}");
}

/// Sleeps. For what must *not* happen, and for an upstream that is slow on purpose.
pub fn pause(milliseconds: u64) {
    thread::sleep(Duration::from_millis(milliseconds));
}

/// Sends a signal; a negative pid is a process group.
pub fn kill(signal: &str, pid: i64) {
    let script = format!("kill -{signal} {pid} 2>/dev/null");
    let _ = Command::new("sh").args(["-c", &script]).status();
}

/// True while the process exists and is no zombie.
pub fn alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}
