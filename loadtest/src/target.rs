//! What is asked of whom: the address of a server, and every request to it
//! serialised once, before the first is sent.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

/// The port of `http` when the URL names none (RFC 9110 section 4.2.1).
const HTTP_PORT: u16 = 80;

/// Where the server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A unix stream socket.
    Unix(PathBuf),
}

/// How requests differ from a plain GET of the URL.
#[derive(Debug, Clone, Default)]
pub struct Shape {
    /// The method; empty means GET, or POST where there is a body.
    pub method: String,
    /// `Name: value` lines; a Host among them replaces the URL's.
    pub headers: Vec<String>,
    /// The content sent with each request.
    pub body: Option<Vec<u8>>,
    /// Paths asked for in turn instead of the URL's.
    pub paths: Vec<String>,
    /// Whether to ask for the connection to stay open.
    pub keep_alive: bool,
}

/// A server and the requests for it.
#[derive(Debug, Clone)]
pub struct Target {
    /// The URL as it was given.
    pub url: String,
    /// Where to connect.
    pub address: Address,
    /// Whole requests, sent in turn. Never empty.
    pub requests: Vec<Box<[u8]>>,
    /// The method is HEAD, so responses have no body.
    pub to_head: bool,
    /// Connections are used again.
    pub keep_alive: bool,
}

impl Target {
    /// Resolves `url` and serialises its requests.
    ///
    /// # Errors
    /// A sentence for the user: the URL, a header, the method or a path is
    /// not usable, or the host has no address.
    pub fn new(url: &str, shape: &Shape) -> Result<Self, String> {
        let location = Location::parse(url)?;
        let method = match (shape.method.as_str(), &shape.body) {
            ("", None) => "GET",
            ("", Some(_)) => "POST",
            (method, _) => method,
        };
        if !method.bytes().all(is_token_byte) {
            return Err(format!("\"{method}\" is not a method"));
        }
        let own = [location.path.to_owned()];
        let paths = if shape.paths.is_empty() { own.as_slice() } else { shape.paths.as_slice() };
        let rest = rest_of_head(location.host, shape)?;
        let requests = paths.iter().map(|path| serialise(method, path, &rest, shape.body.as_deref()));
        Ok(Self {
            url: url.to_owned(),
            address: location.address()?,
            requests: requests.collect::<Result<_, _>>()?,
            to_head: method == "HEAD",
            keep_alive: shape.keep_alive,
        })
    }
}

/// A URL taken apart; nothing resolved yet.
#[derive(Debug, PartialEq, Eq)]
struct Location<'a> {
    /// `host`, `host:port`, `[v6]:port`: what the Host header says.
    host: &'a str,
    /// The path of a unix socket.
    socket: Option<&'a str>,
    path: &'a str,
}

impl<'a> Location<'a> {
    fn parse(url: &'a str) -> Result<Self, String> {
        if url.starts_with("https://") {
            return Err(format!("{url}: https is not supported, only http and unix"));
        }
        let rest = url.strip_prefix("http://").unwrap_or(url);
        if let Some(unix) = rest.strip_prefix("unix:") {
            // As in nginx: `unix:/path/of.sock:/uri`.
            let (socket, path) = unix.split_once(':').unwrap_or((unix, "/"));
            if socket.is_empty() || !path.starts_with('/') {
                return Err(format!("{url}: expected unix:/path/of.sock or unix:/path/of.sock:/uri"));
            }
            return Ok(Self { host: "localhost", socket: Some(socket), path });
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let (host, path) = match rest.find(['/', '?']) {
            Some(at) if rest[at..].starts_with('?') => {
                return Err(format!("{url}: no path before the query"));
            }
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        if host.is_empty() || host.contains('@') || host.contains("://") {
            return Err(format!("{url}: expected http://host[:port][/path] or unix:/path/of.sock"));
        }
        Ok(Self { host, socket: None, path })
    }

    fn address(&self) -> Result<Address, String> {
        if let Some(socket) = self.socket {
            return Ok(Address::Unix(PathBuf::from(socket)));
        }
        let (name, port) = match self.host.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => {
                (name, port.parse().map_err(|_| format!("\"{port}\" is not a port"))?)
            }
            _ => (self.host, HTTP_PORT),
        };
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let mut found = (bare, port).to_socket_addrs().map_err(|error| format!("{bare}: {error}"))?;
        found.next().map(Address::Tcp).ok_or_else(|| format!("{bare}: no address"))
    }
}

/// The head after the request line, with the empty line missing.
fn rest_of_head(host: &str, shape: &Shape) -> Result<String, String> {
    let mut head = String::new();
    let mut has_host = false;
    for line in &shape.headers {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("header \"{line}\" has no colon"))?;
        let clean = value.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f));
        if name.is_empty() || !name.bytes().all(is_token_byte) || !clean {
            return Err(format!("\"{line}\" is not a header"));
        }
        if name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(format!("{name} follows from the body, it can't be set"));
        }
        has_host |= name.eq_ignore_ascii_case("host");
        head.push_str(&format!("{name}: {}\r\n", value.trim()));
    }
    if !has_host {
        head.insert_str(0, &format!("Host: {host}\r\n"));
    }
    if !shape.keep_alive {
        head.push_str("Connection: close\r\n");
    }
    Ok(head)
}

fn serialise(method: &str, path: &str, rest: &str, body: Option<&[u8]>) -> Result<Box<[u8]>, String> {
    if path.is_empty() || path.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(format!("\"{path}\" is not a path"));
    }
    let mut request = format!("{method} {path} HTTP/1.1\r\n{rest}").into_bytes();
    if let Some(body) = body {
        request.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(body.unwrap_or_default());
    Ok(request.into_boxed_slice())
}

/// RFC 9110 section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn first(url: &str, shape: &Shape) -> String {
        let target = Target::new(url, shape).unwrap();
        String::from_utf8(target.requests[0].to_vec()).unwrap()
    }

    fn keep_alive() -> Shape {
        Shape { keep_alive: true, ..Shape::default() }
    }

    #[test]
    fn urls() {
        let parse = |url| Target::new(url, &keep_alive()).map(|target| target.address);
        let tcp = |text: &str| Ok(Address::Tcp(text.parse().unwrap()));
        assert_eq!(parse("http://127.0.0.1:81/x"), tcp("127.0.0.1:81"));
        assert_eq!(parse("127.0.0.1"), tcp("127.0.0.1:80"));
        assert_eq!(parse("http://[::1]:8080/"), tcp("[::1]:8080"));
        assert_eq!(parse("http://[::1]/"), tcp("[::1]:80"));
        assert_eq!(parse("unix:/run/a.sock"), Ok(Address::Unix("/run/a.sock".into())));
        assert_eq!(parse("http://unix:/run/a.sock:/uri"), Ok(Address::Unix("/run/a.sock".into())));
        for bad in
            ["https://127.0.0.1/", "http:///x", "ftp://127.0.0.1/", "127.0.0.1:99999", "unix:", "127.0.0.1?a"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn requests() {
        assert_eq!(
            first("http://127.0.0.1:81/a?b=c#d", &keep_alive()),
            "GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:81\r\n\r\n"
        );
        assert_eq!(first("unix:/s:/u", &keep_alive()), "GET /u HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let shape = Shape {
            headers: vec!["host: example.com".into(), "X-A:1".into()],
            body: Some(b"abc".to_vec()),
            paths: vec!["/one".into(), "/two".into()],
            ..Shape::default()
        };
        assert_eq!(
            first("127.0.0.1", &shape),
            "POST /one HTTP/1.1\r\nhost: example.com\r\nX-A: 1\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc"
        );
    }

    #[test]
    fn refused() {
        let refuse = |shape: Shape| assert!(Target::new("127.0.0.1", &shape).is_err(), "{shape:?}");
        refuse(Shape { method: "GE T".into(), ..Shape::default() });
        refuse(Shape { headers: vec!["no colon".into()], ..Shape::default() });
        refuse(Shape { headers: vec!["A: b\r\nC: d".into()], ..Shape::default() });
        refuse(Shape { headers: vec!["Content-Length: 3".into()], ..Shape::default() });
        refuse(Shape { paths: vec!["/a b".into()], ..Shape::default() });
    }
}
