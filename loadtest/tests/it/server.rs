//! A blocking HTTP server, one thread per connection, whose answers a test
//! decides; and the shortest way to load it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use octroi_load::outcome::Outcome;
use octroi_load::run::{Length, Load, run};
use octroi_load::target::{Shape, Target};

/// What the server does with a request.
pub enum Answer {
    /// Sends these bytes and waits for the next request.
    Send(Vec<u8>),
    /// Sends these bytes and closes.
    SendAndClose(Vec<u8>),
    /// Closes with the request unread, which resets the connection.
    Reset,
    /// Never answers.
    Silence,
}

/// A request as the server sees it.
pub struct Request {
    /// `GET /x HTTP/1.1` and the header lines.
    pub head: String,
    /// Its content.
    pub body: Vec<u8>,
    /// How many requests came before it on all connections.
    pub number: u64,
}

impl Request {
    pub fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }
}

type Answers = dyn Fn(&Request) -> Answer + Send + Sync;

/// Serves on a loopback port for the rest of the test's life.
pub fn serve(answers: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> String {
    serve_on("127.0.0.1:0", answers)
}

pub fn serve_on(address: &str, answers: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind(address).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answers: Arc<Answers> = Arc::new(answers);
    let count = Arc::new(AtomicU64::new(0));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (answers, count) = (answers.clone(), count.clone());
            thread::spawn(move || talk_tcp(stream, &*answers, &count));
        }
    });
    url
}

fn talk_tcp(mut stream: TcpStream, answers: &Answers, count: &AtomicU64) {
    stream.set_nodelay(true).unwrap();
    let unread = stream.try_clone().unwrap();
    // A look at the waiting bytes decides whether they are read at all.
    let reset = move || {
        let mut bytes = [0; 4096];
        let seen = unread.peek(&mut bytes).unwrap_or(0);
        let head = String::from_utf8_lossy(&bytes[..seen]).into_owned();
        seen > 0 && matches!(answers(&Request { head, body: Vec::new(), number: u64::MAX }), Answer::Reset)
    };
    talk(&mut stream, answers, count, reset);
}

/// Answers requests until the peer is gone.
pub fn talk(
    stream: &mut (impl Read + Write),
    answers: &Answers,
    count: &AtomicU64,
    reset: impl Fn() -> bool,
) {
    loop {
        if reset() {
            return;
        }
        let Some((head, body)) = read_request(stream) else { return };
        let number = count.fetch_add(1, Ordering::Relaxed);
        let (bytes, close) = match answers(&Request { head, body, number }) {
            Answer::Send(bytes) => (bytes, false),
            Answer::SendAndClose(bytes) => (bytes, true),
            Answer::Reset => return,
            Answer::Silence => {
                // Until the peer gives up.
                let _ = stream.read(&mut [0; 1]);
                return;
            }
        };
        if stream.write_all(&bytes).is_err() || close {
            return;
        }
    }
}

fn read_request(stream: &mut impl Read) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut piece = [0; 16 * 1024];
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        match stream.read(&mut piece) {
            Ok(length) if length > 0 => bytes.extend_from_slice(&piece[..length]),
            _ => return None,
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let length = head.split("Content-Length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
    let mut body = bytes.split_off(end);
    while body.len() < length.unwrap_or(0) {
        match stream.read(&mut piece) {
            Ok(length) if length > 0 => body.extend_from_slice(&piece[..length]),
            _ => return None,
        }
    }
    Some((head, body))
}

/// A whole response with a length.
pub fn response(status: u16, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Some Reason\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

pub fn ok() -> Answer {
    Answer::Send(response(200, "hello"))
}

pub fn milliseconds(count: u64) -> u64 {
    Duration::from_millis(count).as_nanos() as u64
}

/// A closed loop over a few connections.
pub fn load(connections: usize, requests: u64) -> Load {
    Load {
        connections,
        threads: 1,
        rate: None,
        warm_up_ns: 0,
        length: Length::Requests(requests),
        timeout_ns: milliseconds(20_000),
        backlog_max: 10_000,
        progress: false,
    }
}

/// Keep-alive GET.
pub fn get() -> Shape {
    Shape { keep_alive: true, ..Shape::default() }
}

pub fn measure(url: &str, shape: &Shape, load: &Load) -> Outcome {
    run(&Target::new(url, shape).unwrap(), load).unwrap()
}
