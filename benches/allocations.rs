//! Memory allocations a proxied request costs the shard that serves it.
//!
//! ```text
//! cargo bench --bench allocations              20,000 requests; fails above the budget
//! cargo bench --bench allocations -- --sites   where they come from: the stack of each
//! ```
//!
//! A real shard runs in this process, with an origin behind it and a client in front of it. Every
//! allocation (and growth) that the shard's thread makes while the client's requests are served is
//! counted, the runtime's own included.

mod common;

use octroi::bridge::zone::Zones;
use octroi::conf::Snapshot;
use octroi::features;
use octroi::net::error_log::ErrorLog;
use octroi::net::runtime;
use octroi::net::sockets::{ListenSockets, Sockets};
use octroi::plan::Origin;
use octroi::shard::Shards;
use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Requests that are counted; a multiple of [`CONNECTIONS`].
const REQUESTS: usize = 20_000;

/// Requests before them: by then pools, free lists and the runtime's tables have grown.
const WARM_UP: usize = 2_000;

/// Connections of the client. They ask together and are answered together.
const CONNECTIONS: usize = 10;

/// The budget: the future of the walk and that of the step that waits. The fraction is what timers
/// that fire now and then may cost.
const BUDGET: f64 = 2.05;

/// What the origin answers.
const BODY_BYTES: usize = 1024;

/// Stacks that `--sites` keeps; resolving each takes a while.
const STACKS_MAX: usize = 400;

/// How long anything may take before this is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// The system's allocator, with a counter for one thread.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The thread whose allocations are counted; 0 for none.
static WATCHED: AtomicI32 = AtomicI32::new(0);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);
/// Stacks still wanted.
static STACKS_LEFT: AtomicI32 = AtomicI32::new(0);
static STACKS: Mutex<Vec<(usize, Backtrace)>> = Mutex::new(Vec::new());

thread_local! {
    /// This thread's number, once asked for.
    static THREAD: Cell<i32> = const { Cell::new(0) };
    /// A stack is being taken, which allocates too.
    static TAKING: Cell<bool> = const { Cell::new(false) };
}

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps GlobalAlloc's contract, which is System's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size);
        // SAFETY: as above.
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) }
    }
}

/// Counts an allocation, if this is the thread that is watched.
fn count(bytes: usize) {
    let watched = WATCHED.load(Ordering::Relaxed);
    if watched == 0 {
        return;
    }
    // A thread that ends has no cells any more; the shard's does not end while it is watched.
    let this = THREAD.try_with(|number| {
        if number.get() == 0 {
            number.set(rustix::thread::gettid().as_raw_nonzero().get());
        }
        number.get()
    });
    if this != Ok(watched) || TAKING.get() {
        return;
    }
    ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
    if STACKS_LEFT.load(Ordering::Relaxed) > 0 {
        TAKING.set(true);
        STACKS_LEFT.fetch_sub(1, Ordering::Relaxed);
        if let Ok(mut stacks) = STACKS.lock() {
            stacks.push((bytes, Backtrace::force_capture()));
        }
        TAKING.set(false);
    }
}

fn main() {
    let sites = std::env::args().any(|argument| argument == "--sites");
    let requests = if common::is_smoke() { REQUESTS / 10 } else { REQUESTS };
    let origin = start_origin();
    let (gateway, shards) = start_gateway(origin);
    println!("driver: {}", runtime::probe().name());
    let mut client = Client::new(gateway);
    client.ask(WARM_UP);
    let shard = thread_named("shard 0");
    if sites {
        print_sites(&mut client, shard);
    } else {
        print_count(&mut client, shard, requests);
    }
    shards.stop();
    // The shard's thread may be in the middle of something: the process ends without waiting.
    std::process::exit(0);
}

/// Counts, and fails above the budget.
fn print_count(client: &mut Client, shard: i32, requests: usize) {
    WATCHED.store(shard, Ordering::Relaxed);
    client.ask(requests);
    WATCHED.store(0, Ordering::Relaxed);
    let (allocations, bytes) = (ALLOCATIONS.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed));
    let (each, each_bytes) = (allocations as f64 / requests as f64, bytes as f64 / requests as f64);
    println!("allocations per proxied request: {each:.3} ({each_bytes:.0} bytes), {requests} requests");
    assert!(each < BUDGET, "{each:.3} allocations per request; --sites shows where they come from");
}

/// Prints the stacks of the allocations of some requests, most frequent first.
fn print_sites(client: &mut Client, shard: i32) {
    const SOME: usize = 4 * CONNECTIONS;
    STACKS_LEFT.store(STACKS_MAX as i32, Ordering::Relaxed);
    WATCHED.store(shard, Ordering::Relaxed);
    client.ask(SOME);
    WATCHED.store(0, Ordering::Relaxed);
    let stacks = std::mem::take(&mut *STACKS.lock().expect("nobody panicked with it"));
    let mut sites: BTreeMap<(usize, String), usize> = BTreeMap::new();
    for (bytes, stack) in stacks {
        *sites.entry((bytes, own_frames(&stack.to_string()))).or_default() += 1;
    }
    let mut sites: Vec<_> = sites.into_iter().collect();
    sites.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    for ((bytes, frames), times) in sites {
        println!("{:.2} per request, {bytes} bytes\n{frames}", times as f64 / SOME as f64);
    }
}

/// The frames of a stack that are not the allocator's or the standard library's, innermost first.
fn own_frames(stack: &str) -> String {
    /// Frames shown of each stack.
    const SHOWN: usize = 6;
    let mut shown = Vec::new();
    let mut lines = stack.lines().peekable();
    while let Some(name) = lines.next() {
        let Some(place) = lines.next_if(|line| line.trim_start().starts_with("at ")) else { continue };
        let foreign = ["/rustc/", "/library/", "benches/allocations.rs"];
        if !foreign.iter().any(|part| place.contains(part)) {
            shown.push(format!("    {} {}", name.trim(), place.trim()));
        }
    }
    shown.truncate(SHOWN);
    shown.join("\n")
}

/// The number of this process's thread of this name.
fn thread_named(name: &str) -> i32 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc is mounted");
    let named = tasks.flatten().find(|task| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    });
    let task = named.expect("the shard has a thread of its own");
    task.file_name().to_str().and_then(|number| number.parse().ok()).expect("threads are numbers")
}

/// Starts an origin that answers every request of every connection with the same bytes.
fn start_origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let body = "x".repeat(BODY_BYTES);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {BODY_BYTES}\r\n\r\n");
    let answer = format!("{head}{body}").into_bytes();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || serve(stream, &answer));
        }
    });
    address
}

/// Answers requests without a body until the connection ends.
fn serve(mut stream: TcpStream, answer: &[u8]) {
    let _ = stream.set_nodelay(true);
    let mut input = Vec::new();
    let mut piece = [0u8; 4096];
    while let Ok(n @ 1..) = stream.read(&mut piece) {
        input.extend_from_slice(&piece[..n]);
        if input.ends_with(b"\r\n\r\n") {
            input.clear();
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    }
}

/// Starts one shard that proxies everything to `origin`.
fn start_gateway(origin: SocketAddr) -> (SocketAddr, Shards) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let text = format!(
        "events {{}} http {{ access_log off; upstream origin {{ server {origin}; keepalive 64; \
         keepalive_requests 1000000000; }} \
         server {{ listen {address}; keepalive_requests 1000000000; location / {{ \
         proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_pass http://origin; }} }} }}"
    );
    let mut files = Snapshot::default();
    files.insert("/conf/nginx.conf", text);
    let read_as = Origin {
        conf: "/conf/nginx.conf".into(),
        prefix: "/conf".into(),
        globals: String::new(),
        error_log: None,
    };
    let plan = features::load(&read_as, &mut files).unwrap_or_else(|error| panic!("{error}")).plan;
    let listen = plan.listens()[0].clone();
    let sockets = Sockets { listens: vec![ListenSockets { listen, descriptors: vec![listener.into()] }] };
    let logs = common::void_logs(&plan);
    let shards = Shards::start(plan, sockets, logs, Zones::default(), ErrorLog::new(Vec::new()), vec![None]);
    (address, shards.expect("a shard starts"))
}

/// A client with a few connections that it uses together.
struct Client {
    connections: Vec<TcpStream>,
    /// Bytes of an answer; known from the first one.
    answer_bytes: usize,
}

impl Client {
    /// Connects, and asks once.
    fn new(gateway: SocketAddr) -> Client {
        let connect = |_| {
            let stream = TcpStream::connect(gateway).expect("the gateway listens");
            stream.set_nodelay(true).expect("it is TCP");
            stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
            stream
        };
        let mut client = Client { connections: (0..CONNECTIONS).map(connect).collect(), answer_bytes: 0 };
        for stream in &mut client.connections {
            stream.write_all(common::REQUEST).expect("the gateway reads");
            client.answer_bytes = read_answer(stream);
        }
        client
    }

    /// Sends so many requests and reads their answers.
    fn ask(&mut self, requests: usize) {
        let mut answer = vec![0; self.answer_bytes];
        for _ in 0..requests / CONNECTIONS {
            for stream in &mut self.connections {
                stream.write_all(common::REQUEST).expect("the gateway reads");
            }
            for stream in &mut self.connections {
                stream.read_exact(&mut answer).expect("the gateway answers");
                assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
            }
        }
    }
}

/// Reads one whole answer; returns its length.
fn read_answer(stream: &mut TcpStream) -> usize {
    let mut answer = Vec::new();
    let mut piece = [0u8; 4096];
    loop {
        let n = stream.read(&mut piece).expect("the gateway answers");
        assert!(n > 0, "the gateway closed after {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..n]);
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
        if head.is_some_and(|at| answer.len() == at + 4 + BODY_BYTES) {
            return answer.len();
        }
    }
}
