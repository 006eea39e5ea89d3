//! An origin server that a test scripts.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::message::Message;
use super::place::Dir;
use super::wire::{End, Socket, Transcript, Wire};
use super::{WAIT, eventually};

/// An origin server: a script that runs for every connection it gets.
pub struct Upstream {
    address: String,
    shared: Arc<Shared>,
    wake: Box<dyn Fn() + Send + Sync>,
    _dir: Option<Dir>,
}

#[derive(Default)]
struct Shared {
    requests: Mutex<Vec<Message>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    failures: Mutex<Vec<String>>,
    stopping: AtomicBool,
    released: AtomicBool,
    transcript: Transcript,
}

/// One connection at an upstream, as its script sees it.
pub struct Origin {
    /// The connection itself.
    pub wire: Wire,
    /// Its number, from 0.
    pub number: usize,
    shared: Arc<Shared>,
}

impl Origin {
    /// The next request, whole, kept for [`Upstream::requests`]; none if the peer closed.
    pub fn request(&mut self) -> Option<Message> {
        let mut message = self.wire.request()?;
        message.connection = self.number;
        self.shared.requests.lock().unwrap().push(message.clone());
        Some(message)
    }

    /// The head of the next request, the body left unread.
    pub fn head(&mut self) -> Option<Message> {
        let mut message = Message::parse(&self.wire.take_until("\r\n\r\n").ok()?);
        message.connection = self.number;
        self.shared.requests.lock().unwrap().push(message.clone());
        Some(message)
    }

    /// Sends bytes; false if the peer has closed.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.wire.try_send(bytes)
    }

    /// Reads the request, then sends these bytes, if a request came.
    pub fn answer(&mut self, bytes: impl AsRef<[u8]>) -> Option<Message> {
        let request = self.request()?;
        self.send(bytes);
        Some(request)
    }

    /// Waits until the test calls [`Upstream::release`].
    pub fn wait_release(&self) {
        eventually("the release by the test", || self.shared.released.load(Ordering::SeqCst));
    }

    /// Waits until the peer closes; true if it did so in time.
    pub fn gone(&mut self) -> bool {
        self.wire.drain_to_end() != End::Silent
    }
}

impl Upstream {
    /// An upstream on a free port of 127.0.0.1 that runs the script for each connection.
    pub fn new(script: impl Fn(&mut Origin) + Send + Sync + 'static) -> Upstream {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let wake = Box::new(move || drop(TcpStream::connect_timeout(&address, WAIT)));
        let accept = move || listener.accept().map(|(stream, _)| Socket::Tcp(stream));
        Upstream::serve(address.to_string(), None, wake, accept, script)
    }

    /// The same on a Unix socket; its address has the form that `proxy_pass` wants.
    pub fn unix(script: impl Fn(&mut Origin) + Send + Sync + 'static) -> Upstream {
        let dir = Dir::new();
        let path = dir.0.join("origin.sock");
        let listener = UnixListener::bind(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        let address = format!("unix:{}", path.display());
        let wake = Box::new(move || drop(UnixStream::connect(&path)));
        let accept = move || listener.accept().map(|(stream, _)| Socket::Unix(stream));
        Upstream::serve(address, Some(dir), wake, accept, script)
    }

    /// Answers every request of every connection with the same bytes and keeps the connection.
    pub fn always(bytes: impl AsRef<[u8]>) -> Upstream {
        let bytes = bytes.as_ref().to_vec();
        Upstream::new(move |origin| while origin.answer(&bytes).is_some() {})
    }

    /// Answers one request per connection and closes.
    pub fn once(bytes: impl AsRef<[u8]>) -> Upstream {
        let bytes = bytes.as_ref().to_vec();
        Upstream::new(move |origin| drop(origin.answer(&bytes)))
    }

    /// A 200 with this body, on kept connections.
    pub fn ok(body: &str) -> Upstream {
        Upstream::always(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    }

    /// A 200 whose body is the head of the request as it came, on kept connections.
    pub fn echo() -> Upstream {
        Upstream::new(|origin| {
            while let Some(request) = origin.request() {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.head.len());
                origin.send(head + &request.head);
            }
        })
    }

    fn serve(
        address: String,
        dir: Option<Dir>,
        wake: Box<dyn Fn() + Send + Sync>,
        accept: impl Fn() -> std::io::Result<Socket> + Send + 'static,
        script: impl Fn(&mut Origin) + Send + Sync + 'static,
    ) -> Upstream {
        let shared = Arc::new(Shared::default());
        let (seen, script) = (shared.clone(), Arc::new(script));
        thread::spawn(move || {
            while let Ok(socket) = accept() {
                if seen.stopping.load(Ordering::SeqCst) {
                    return;
                }
                let number = seen.connections.fetch_add(1, Ordering::SeqCst);
                seen.open.fetch_add(1, Ordering::SeqCst);
                let wire = Wire::new(socket, "upstream", seen.transcript.clone());
                let mut origin = Origin { wire, number, shared: seen.clone() };
                let script = script.clone();
                thread::spawn(move || {
                    let shared = origin.shared.clone();
                    let run = std::panic::AssertUnwindSafe(|| script(&mut origin));
                    if std::panic::catch_unwind(run).is_err() {
                        shared.failures.lock().unwrap().push(format!("connection {number}"));
                    }
                    drop(origin);
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Upstream { address, shared, wake, _dir: dir }
    }

    /// Its address: `127.0.0.1:PORT` or `unix:PATH`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The requests that came whole, in order.
    pub fn requests(&self) -> Vec<Message> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// The latest request.
    pub fn last(&self) -> Message {
        self.requests().pop().expect("a request at the upstream")
    }

    /// How many connections came.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Lets the scripts go on that wait for it.
    pub fn release(&self) {
        self.shared.released.store(true, Ordering::SeqCst);
    }

    /// Waits until so many requests have come.
    pub fn wait_requests(&self, count: usize) {
        eventually(&format!("{count} requests at the upstream"), || self.requests().len() >= count);
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        (self.wake)();
        if thread::panicking() {
            eprintln!("--- bytes at the upstream {}\n{}", self.address, self.shared.transcript.text());
            return;
        }
        let failures = self.shared.failures.lock().unwrap().clone();
        assert!(failures.is_empty(), "the upstream's script failed: {failures:?}");
    }
}
