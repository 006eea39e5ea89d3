//! Framing, reuse of connections, methods, bodies, kinds of sockets.

use std::os::unix::net::UnixListener;
use std::sync::atomic::AtomicU64;
use std::thread::{self, sleep};
use std::time::Duration;

use octroi_load::run::Load;
use octroi_load::target::Shape;

use crate::server::{Answer, Request, get, load, measure, milliseconds, ok, response, serve, serve_on, talk};

#[test]
fn keep_alive_uses_each_connection_again() {
    let url = serve(|_| ok());
    let outcome = measure(&url, &get(), &load(4, 200));
    assert_eq!((outcome.replies, outcome.error_count(), outcome.connects), (200, 0, 4));
    assert_eq!(outcome.wire_bytes, 200 * response(200, "hello").len() as u64);
    let outcome = measure(&url, &get(), &Load { threads: 2, ..load(5, 201) });
    assert_eq!((outcome.replies, outcome.error_count(), outcome.connects), (201, 0, 5));
}

#[test]
fn no_keep_alive_opens_one_per_request() {
    let url = serve(|request| {
        assert!(request.head.contains("Connection: close\r\n"));
        Answer::SendAndClose(response(200, "hello"))
    });
    let outcome = measure(&url, &Shape::default(), &load(4, 100));
    assert_eq!((outcome.replies, outcome.error_count(), outcome.connects), (100, 0, 100));
}

#[test]
fn framings() {
    let url = serve(|request| {
        let text = match request.path() {
            "/chunked" => {
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n"
            }
            "/interim" => "HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
            "/close" => "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
            _ => "HTTP/1.1 200 OK\r\n\r\nuntil the connection closes",
        };
        let bytes = text.as_bytes().to_vec();
        if matches!(request.path(), "/chunked" | "/interim") {
            Answer::Send(bytes)
        } else {
            Answer::SendAndClose(bytes)
        }
    });
    let paths = ["/chunked", "/interim", "/close", "/until-close"].map(str::to_owned).to_vec();
    let outcome = measure(&url, &Shape { paths, ..get() }, &load(1, 40));
    assert_eq!((outcome.replies, outcome.error_count()), (40, 0), "{:?}", outcome.examples);
    // Two of each four end their connection; the very last is not replaced.
    assert_eq!(outcome.connects, 20);
}

#[test]
fn head_has_no_body() {
    let url = serve(|request| {
        assert!(request.head.starts_with("HEAD / "));
        Answer::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n".to_vec())
    });
    let outcome = measure(&url, &Shape { method: "HEAD".into(), ..get() }, &load(2, 50));
    assert_eq!((outcome.replies, outcome.error_count(), outcome.connects), (50, 0, 2));
}

#[test]
fn large_bodies_both_ways() {
    const BODY_BYTES: usize = 3_000_000;
    let url = serve(|request| {
        assert!(request.head.starts_with("POST / ") && request.head.contains("X-A: b\r\n"));
        sleep(Duration::from_millis(5));
        Answer::Send(response(200, std::str::from_utf8(&request.body).unwrap()))
    });
    let shape = Shape { body: Some(vec![b'x'; BODY_BYTES]), headers: vec!["X-A: b".into()], ..get() };
    let outcome = measure(&url, &shape, &load(2, 10));
    assert_eq!(
        (outcome.replies, outcome.error_count(), outcome.connects),
        (10, 0, 2),
        "{:?}",
        outcome.examples
    );
    assert!(outcome.wire_bytes > 10 * BODY_BYTES as u64);
}

/// A server that closes idle connections: they are opened again, and since no
/// request was under way that is no error.
#[test]
fn idle_connections_may_be_closed() {
    let url = serve(|_| Answer::SendAndClose(response(200, "hello")));
    let outcome = measure(&url, &get(), &Load { rate: Some(10.0), ..load(1, 6) });
    assert_eq!(
        (outcome.replies, outcome.error_count(), outcome.connects),
        (6, 0, 6),
        "{:?}",
        outcome.examples
    );
}

#[test]
fn ipv6() {
    let url = serve_on("[::1]:0", |_| ok());
    assert!(url.starts_with("http://[::1]:"));
    let outcome = measure(&url, &get(), &load(2, 20));
    assert_eq!((outcome.replies, outcome.error_count()), (20, 0));
}

#[test]
fn unix_sockets() {
    let path = std::env::temp_dir().join(format!("octroi-load-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answers = |request: &Request| {
                assert_eq!(request.path(), "/uri");
                ok()
            };
            thread::spawn(move || talk(&mut stream, &answers, &AtomicU64::new(0), || false));
        }
    });
    let load = Load { timeout_ns: milliseconds(5000), ..load(3, 300) };
    let outcome = measure(&format!("unix:{}:/uri", path.display()), &get(), &load);
    std::fs::remove_file(&path).unwrap();
    assert_eq!((outcome.replies, outcome.error_count(), outcome.connects), (300, 0, 3));
}
