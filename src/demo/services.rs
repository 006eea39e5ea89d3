//! The services of the demo: HTTP/1.1 with keep-alive on plain threads, as small as is still correct.

use super::records::Records;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Connections, and so threads, of one service: the gateway keeps 16 per shard, and a laptop has few
/// cores. One more is closed at once, and the gateway says 502.
const CONNECTIONS_MAX: usize = 256;

/// Bytes of a request's head: more than the gateway lets through.
const HEAD_MAX: usize = 40 * 1024;

/// Header fields of a request.
const FIELDS_MAX: usize = 100;

/// Bytes of a request's body: more than the gateway lets through.
const BODY_MAX: usize = 64 * 1024;

/// How long a connection may be silent; a little longer than the gateway keeps one.
const IDLE: Duration = Duration::from_secs(75);

/// How long `slow` thinks: longer than the gateway waits.
const SLOW: Duration = Duration::from_secs(4);

/// What runs in the demo: name, the port that stands for it in the configuration, what it keeps.
pub const ALL: [Kind; 4] = [
    Kind { name: "users", port: 9001, path: "users" },
    Kind { name: "orders", port: 9002, path: "orders" },
    Kind { name: "annonces-1", port: 9003, path: "annonces" },
    Kind { name: "annonces-2", port: 9004, path: "annonces" },
];

/// One instance of a service.
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// Its port in the configuration.
    pub port: u16,
    /// The first segment of its paths. Instances with the same one share their records.
    pub path: &'static str,
}

/// An instance that runs.
pub struct Service {
    /// Its name.
    pub name: &'static str,
    /// Its port in the configuration.
    pub configured_port: u16,
    /// Where it listens.
    pub address: SocketAddr,
}

/// Starts all of them on free ports of the loopback address; they run as long as the process.
///
/// # Errors
/// No port or no thread to be had.
pub fn start() -> io::Result<Vec<Service>> {
    let mut kept: Vec<(&str, Arc<Records>)> = Vec::new();
    let mut running = Vec::new();
    for kind in &ALL {
        let records = match kept.iter().find(|(path, _)| *path == kind.path) {
            Some((_, records)) => Arc::clone(records),
            None => {
                let records = Arc::new(Records::of(kind.path));
                kept.push((kind.path, Arc::clone(&records)));
                records
            }
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let instance = Instance { kind, records };
        thread::Builder::new()
            .name(kind.name.to_owned())
            .spawn(move || accept(&listener, &Arc::new(instance)))?;
        running.push(Service { name: kind.name, configured_port: kind.port, address });
    }
    Ok(running)
}

struct Instance {
    kind: &'static Kind,
    records: Arc<Records>,
}

fn accept(listener: &TcpListener, instance: &Arc<Instance>) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // Out of descriptors: some will be free again.
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
            open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (of_thread, instance) = (Arc::clone(&open), Arc::clone(instance));
        let started = thread::Builder::new().spawn(move || {
            // A peer that goes away, or sends nothing for long, ends its connection; that is all.
            let _ = serve(stream, &instance);
            of_thread.fetch_sub(1, Ordering::Relaxed);
        });
        if started.is_err() {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// What of a request matters here.
struct Request {
    method: String,
    path: String,
    body: Vec<u8>,
    /// The connection goes on after the answer.
    keep_alive: bool,
}

/// An answer; the body is JSON.
struct Answer {
    status: u16,
    reason: &'static str,
    /// A field of its own, with its line end.
    field: String,
    body: String,
}

impl Answer {
    fn new(status: u16, reason: &'static str, body: impl Into<String>) -> Answer {
        Answer { status, reason, field: String::new(), body: body.into() }
    }
}

/// Serves one connection to its end.
fn serve(mut stream: TcpStream, instance: &Instance) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(IDLE))?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    loop {
        let (request, answer) = match read(&mut stream, &mut buffer)? {
            Ok(None) => return Ok(()),
            Ok(Some(request)) => {
                let answer = answer(instance, &request);
                (Some(request), answer)
            }
            Err(answer) => (None, answer),
        };
        let keep_alive = request.as_ref().is_some_and(|request| request.keep_alive);
        let mut out = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nX-Instance: {}\r\n{}",
            answer.status,
            answer.reason,
            answer.body.len(),
            instance.kind.name,
            answer.field,
        );
        out += if keep_alive { "\r\n" } else { "Connection: close\r\n\r\n" };
        if request.is_none_or(|request| request.method != "HEAD") {
            out += &answer.body;
        }
        stream.write_all(out.as_bytes())?;
        if !keep_alive {
            return Ok(());
        }
    }
}

/// Reads one request; `buffer` holds what came behind it. `None` at the connection's end, and an
/// answer for what is not understood.
fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Result<Option<Request>, Answer>> {
    let refused = |status, reason| Ok(Err(Answer::new(status, reason, "{\"error\":\"not understood\"}\n")));
    let (mut request, head_len, body_len) = loop {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut head = httparse::Request::new(&mut fields);
        match head.parse(buffer) {
            Ok(httparse::Status::Complete(head_len)) => match framed(&head) {
                Some((request, body_len)) => break (request, head_len, body_len),
                None => return refused(411, "Length Required"),
            },
            Ok(httparse::Status::Partial) if buffer.len() < HEAD_MAX => {}
            Ok(httparse::Status::Partial) => return refused(431, "Request Header Fields Too Large"),
            Err(_) => return refused(400, "Bad Request"),
        }
        if !more(stream, buffer)? {
            return Ok(Ok(None));
        }
    };
    if body_len > BODY_MAX {
        return refused(413, "Content Too Large");
    }
    while buffer.len() < head_len + body_len {
        if !more(stream, buffer)? {
            return Ok(Ok(None));
        }
    }
    let rest = buffer.split_off(head_len + body_len);
    request.body = buffer.split_off(head_len);
    *buffer = rest;
    Ok(Ok(Some(request)))
}

/// Reads some bytes; false at the end.
fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<bool> {
    let mut part = [0; 4096];
    let read = stream.read(&mut part)?;
    buffer.extend_from_slice(part.get(..read).unwrap_or_default());
    Ok(read > 0)
}

/// The request without its body, and the body's length; `None` when that is not plainly said.
fn framed(head: &httparse::Request<'_, '_>) -> Option<(Request, usize)> {
    let mut keep_alive = head.version == Some(1);
    let mut length = None;
    for field in head.headers.iter() {
        let text = std::str::from_utf8(field.value).unwrap_or_default().trim();
        if field.name.eq_ignore_ascii_case("content-length") {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let value: usize = text.parse().ok().filter(|_| digits)?;
            if length.replace(value).is_some() {
                return None;
            }
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            return None;
        } else if field.name.eq_ignore_ascii_case("connection") {
            keep_alive &= !text.split(',').any(|option| option.trim().eq_ignore_ascii_case("close"));
        }
    }
    let path = head.path?.split('?').next()?.to_owned();
    let request = Request { method: head.method?.to_owned(), path, body: Vec::new(), keep_alive };
    Some((request, length.unwrap_or(0)))
}

fn answer(instance: &Instance, request: &Request) -> Answer {
    let path = instance.kind.path;
    let own = request.path.strip_prefix('/').and_then(|rest| rest.strip_prefix(path));
    let Some(id) = own.and_then(|rest| rest.strip_prefix('/')) else {
        return Answer::new(404, "Not Found", "{\"error\":\"no such path\"}\n");
    };
    let records = &instance.records;
    match (request.method.as_str(), id) {
        ("GET" | "HEAD", "") => Answer::new(200, "OK", records.list()),
        ("GET" | "HEAD", "slow") => {
            thread::sleep(SLOW);
            Answer::new(200, "OK", "{\"slow\":true}\n")
        }
        ("GET" | "HEAD", id) => match id.parse().ok().and_then(|id| records.find(id)) {
            Some(record) => Answer::new(200, "OK", record),
            None => {
                Answer::new(404, "Not Found", format!("{{\"error\":\"none of the {path} has this id\"}}\n"))
            }
        },
        ("POST", "") => match records.add(&request.body) {
            Ok((id, record)) => {
                // Relative to the path that was asked, so that it holds behind any prefix.
                let field = format!("Location: {id}\r\n");
                Answer { field, ..Answer::new(201, "Created", record) }
            }
            Err(wrong) => Answer::new(400, "Bad Request", format!("{{\"error\":\"{wrong}\"}}\n")),
        },
        _ => {
            let allowed = if id.is_empty() { "GET, HEAD, POST" } else { "GET, HEAD" };
            let refused = Answer::new(405, "Method Not Allowed", "{\"error\":\"not with this method\"}\n");
            Answer { field: format!("Allow: {allowed}\r\n"), ..refused }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Sends requests over one connection to the first instance of `annonces` and returns all that
    /// comes until it closes.
    fn sent(requests: &str) -> String {
        let services = start().unwrap();
        let service = services.iter().find(|service| service.name == "annonces-1").unwrap();
        let mut stream = TcpStream::connect(service.address).unwrap();
        stream.write_all(requests.as_bytes()).unwrap();
        let mut out = String::new();
        stream.read_to_string(&mut out).unwrap();
        out
    }

    #[test]
    fn requests_in_a_row() {
        let body = "{\"title\":\"x\"}";
        let out = sent(&format!(
            "GET /annonces/1?a=b HTTP/1.1\r\nHost: a\r\n\r\nHEAD /annonces/ HTTP/1.1\r\nHost: a\r\n\r\n\
             POST /annonces/ HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}\
             PUT /annonces/1 HTTP/1.1\r\nHost: a\r\n\r\nGET /annonces/999 HTTP/1.0\r\n\r\n",
            body.len()
        ));
        let statuses: Vec<_> = out.lines().filter(|line| line.starts_with("HTTP/1.1 ")).collect();
        assert_eq!(
            statuses,
            [
                "HTTP/1.1 200 OK",
                "HTTP/1.1 200 OK",
                "HTTP/1.1 201 Created",
                "HTTP/1.1 405 Method Not Allowed",
                "HTTP/1.1 404 Not Found"
            ]
        );
        assert!(
            out.contains("\"title\":\"x\"}")
                && out.contains("\r\nLocation: ")
                && out.contains("X-Instance: annonces-1")
        );
    }

    #[test]
    fn what_is_not_plain_is_refused() {
        for (request, want) in [
            ("nonsense\r\n\r\n", "HTTP/1.1 400 "),
            ("POST /annonces/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 411 "),
            ("POST /annonces/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", "HTTP/1.1 411 "),
            ("POST /annonces/ HTTP/1.1\r\nContent-Length: 99999\r\n\r\n", "HTTP/1.1 413 "),
            ("POST /annonces/ HTTP/1.1\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", "HTTP/1.1 400 "),
        ] {
            let out = sent(request);
            assert!(out.starts_with(want), "{request}: {out}");
        }
    }
}
