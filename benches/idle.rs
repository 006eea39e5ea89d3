//! What an idle keep-alive connection costs in memory.
//!
//! ```text
//! cargo build --release && cargo bench --bench idle [-- CONNECTIONS]
//! ```
//!
//! Starts the gateway as a process of its own (`OCTROI_BIN`, else the one this build made), opens
//! 10,000 connections, sends one request on each, waits until they count as idle, and reads the
//! worker's memory from the kernel: private dirty pages, which is user memory that only the worker
//! has. What the kernel keeps for its sockets is not in it.
//!
//! A connection keeps its buffer for half a second after a request. So this is done twice, with a
//! gateway of its own each: in groups so small that few connections are in that half second, which
//! shows what an idle one costs, and all at once, which also shows what a burst leaves behind.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

/// Connections, unless told otherwise.
const CONNECTIONS: usize = 10_000;

/// Connections of the smoke test.
const SMOKE_CONNECTIONS: usize = 200;

/// Connections of a group, and the pause after it: longer than a connection keeps its buffer.
const GROUP: usize = 500;
const PAUSE: Duration = Duration::from_millis(600);

/// Descriptors this process needs besides its connections.
const SPARE_DESCRIPTORS: usize = 64;

/// How long connections are left alone before the memory is read: beyond the half second for which a
/// connection keeps its buffer, and the second after which an allocator may give pages back.
const REST: Duration = Duration::from_secs(2);

/// How long anything may take before this is broken.
const PATIENCE: Duration = Duration::from_secs(20);

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn main() {
    let asked = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let wanted = asked.unwrap_or(if common::is_smoke() { SMOKE_CONNECTIONS } else { CONNECTIONS });
    let connections = wanted.min(descriptors().saturating_sub(SPARE_DESCRIPTORS));
    if connections < wanted {
        println!("the limit of open files allows {connections} connections instead of {wanted}");
    }
    let Some(program) = program() else {
        println!("no gateway to measure: build one, or name it in OCTROI_BIN");
        return;
    };
    println!("{connections} idle keep-alive connections at {}", program.display());
    measure("opened in groups", &program, connections, PAUSE);
    measure("opened at once", &program, connections, Duration::ZERO);
}

/// Opens the connections, with a pause after each group, and prints what they cost.
fn measure(how: &str, program: &Path, connections: usize, pause: Duration) {
    let gateway = Gateway::start(program, connections);
    // What is made once (buffers, tables, the runtime) is not counted to the connections.
    drop(open(gateway.address, GROUP.min(connections), Duration::ZERO));
    thread::sleep(REST);
    let before = Memory::of(gateway.worker());
    let held = open(gateway.address, connections, pause);
    thread::sleep(REST);
    let after = Memory::of(gateway.worker());
    println!("{how}:");
    for (name, was, is) in [
        ("private dirty", before.private_dirty_kb, after.private_dirty_kb),
        ("anonymous", before.anonymous_kb, after.anonymous_kb),
    ] {
        let each = (is as f64 - was as f64) * 1024.0 / connections as f64;
        println!("  {name:>13}: {was} kB before, {is} kB after, {each:.0} bytes per connection");
    }
    drop(held);
    thread::sleep(REST);
    println!(
        "  {:>13}: {} kB once they are closed",
        "private dirty",
        Memory::of(gateway.worker()).private_dirty_kb
    );
}

/// Descriptors this process may have open, after asking for all it can get.
fn descriptors() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX))
}

/// The gateway's program: `OCTROI_BIN`, else the one beside this benchmark.
fn program() -> Option<PathBuf> {
    let named = std::env::var_os("OCTROI_BIN").map(PathBuf::from);
    named.or_else(|| Some(PathBuf::from(env!("CARGO_BIN_EXE_octroi")))).filter(|path| path.is_file())
}

/// Opens connections and is answered once on each; pauses after each group.
fn open(address: SocketAddr, count: usize, pause: Duration) -> Vec<TcpStream> {
    let connect = |number: usize| {
        if number > 0 && number.is_multiple_of(GROUP) {
            thread::sleep(pause);
        }
        let mut stream = TcpStream::connect(address).expect("the gateway listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream.write_all(REQUEST).expect("the gateway reads");
        let mut answer = [0; 1024];
        let n = stream.read(&mut answer).expect("the gateway answers");
        assert!(answer[..n].starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer[..n]));
        stream
    };
    (0..count).map(connect).collect()
}

/// A gateway with one shard, in a process of its own.
struct Gateway {
    process: Child,
    address: SocketAddr,
    folder: PathBuf,
}

impl Gateway {
    /// Starts it; returns when it listens.
    fn start(program: &Path, connections: usize) -> Gateway {
        let folder = common::scratch("idle");
        let address = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
        let room = connections + 1024;
        let text = format!(
            "daemon off; worker_processes 1; worker_rlimit_nofile {room}; pid octroi.pid; \
             error_log error.log; events {{ worker_connections {room}; }} \
             http {{ access_log off; keepalive_timeout 1h; server {{ listen {address}; \
             location / {{ return 200 ok; }} }} }}"
        );
        fs::write(folder.join("nginx.conf"), text).expect("a file in the target directory");
        let mut prefix = folder.clone().into_os_string();
        prefix.push("/");
        let process = Command::new(program)
            .arg("-p")
            .arg(&prefix)
            .args(["-c", "nginx.conf", "-e", "error.log"])
            .stdin(Stdio::null())
            .spawn()
            .expect("the gateway starts");
        let gateway = Gateway { process, address, folder };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(
                begun.elapsed() < PATIENCE,
                "the gateway does not listen; see {}",
                gateway.folder.display()
            );
            thread::sleep(Duration::from_millis(20));
        }
        gateway
    }

    /// The process that holds the connections: the master's child, or the master itself.
    fn worker(&self) -> u32 {
        let master = self.process.id();
        let children =
            fs::read_to_string(format!("/proc/{master}/task/{master}/children")).unwrap_or_default();
        children.split_whitespace().next().and_then(|child| child.parse().ok()).unwrap_or(master)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // SIGTERM ends master and worker at once; killing the master alone would leave the worker to
        // find out by itself.
        let pid = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A process's memory, in kB.
struct Memory {
    private_dirty_kb: u64,
    anonymous_kb: u64,
}

impl Memory {
    /// Reads it from the kernel.
    fn of(process: u32) -> Memory {
        let path = format!("/proc/{process}/smaps_rollup");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let figure = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().find_map(|word| word.parse().ok()).unwrap_or(0)
        };
        Memory { private_dirty_kb: figure("Private_Dirty:"), anonymous_kb: figure("Anonymous:") }
    }
}
