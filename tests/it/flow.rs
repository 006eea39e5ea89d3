//! Large bodies both ways, and what a slow side costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::*;

/// A body of many megabytes, every byte in its place.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n.wrapping_mul(31) >> 7) as u8).collect()
}

fn sends(body: Vec<u8>, chunked: bool) -> Upstream {
    Upstream::new(move |origin| {
        origin.request();
        if chunked {
            origin.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            for piece in body.chunks(7_001) {
                origin.send(format!("{:x}\r\n", piece.len()));
                origin.send(piece);
                origin.send("\r\n");
            }
            origin.send("0\r\n\r\n");
        } else {
            origin.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()));
            origin.send(&body);
        }
    })
}

#[test]
fn large_answer_arrives_whole() {
    let body = pattern(5_000_000);
    for directives in ["", "proxy_buffering off;", "proxy_max_temp_file_size 0;"] {
        for chunked in [false, true] {
            let up = sends(body.clone(), chunked);
            let conf = format!(
                "{directives} server {{ listen 127.0.0.1:%%PORT%%; location / {{ proxy_pass http://%%UP%%; proxy_http_version 1.1; }} }}"
            );
            assert!(Server::before(&up, &conf).get("/").body == body, "{directives} chunked: {chunked}");
        }
    }
}

#[test]
fn large_request_arrives_whole() {
    let body = pattern(5_000_000);
    for directives in ["", "proxy_request_buffering off;"] {
        for chunked in [false, true] {
            let up = Upstream::ok("done");
            let conf = format!(
                "client_max_body_size 0; {directives} server {{ listen 127.0.0.1:%%PORT%%; location / {{ proxy_pass http://%%UP%%; proxy_http_version 1.1; }} }}"
            );
            let server = Server::before(&up, &conf);
            let mut client = server.client();
            if chunked {
                client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
                for piece in body.chunks(70_001) {
                    client.send(format!("{:x}\r\n", piece.len()));
                    client.send(piece);
                    client.send("\r\n");
                }
                client.send("0\r\n\r\n");
            } else {
                client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()));
                client.send(&body);
            }
            assert_eq!(client.recv().text(), "done");
            assert!(up.last().body == body, "{directives} chunked: {chunked}");
        }
    }
}

#[test]
fn slow_client_costs_bounded_memory() {
    let up = Upstream::new(|origin| {
        origin.request();
        origin.send("HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n");
        let block = vec![b'x'; 1_000_000];
        for _ in 0..200 {
            if !origin.send(&block) {
                return;
            }
        }
    });
    let conf = "proxy_max_temp_file_size 0; server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; } }";
    let server = Server::before(&up, conf);
    let before = server.private_memory();
    let mut clients: Vec<Wire> = (0..4).map(|_| server.client()).collect();
    clients.iter_mut().for_each(|client| client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    up.wait_requests(4);
    pause(700);
    let grown = server.private_memory().saturating_sub(before);
    // Four answers of 200 MB: a few buffers each, not the bodies.
    assert!(grown < 8_000_000, "{grown} bytes");
}

#[test]
fn slow_upstream_costs_bounded_memory() {
    let up = Upstream::new(|origin| {
        origin.head();
        origin.wait_release();
    });
    let conf = "client_max_body_size 0; server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; proxy_request_buffering off; } }";
    let server = Server::before(&up, conf);
    let before = server.private_memory();
    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000000\r\n\r\n");
    up.wait_requests(1);
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let sender = std::thread::spawn(move || {
        let block = vec![b'x'; 1_000_000];
        while counter.load(Ordering::SeqCst) < 200 && client.try_send(&block) {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    pause(700);
    let grown = server.private_memory().saturating_sub(before);
    assert!(grown < 8_000_000, "{grown} bytes");
    // What the kernel's buffers hold is some megabytes: the client was held up.
    assert!(sent.load(Ordering::SeqCst) < 100, "nobody reads, and yet {sent:?} MB were taken");
    up.release();
    sender.join().unwrap();
}

#[test]
fn slow_client_gets_all_of_it() {
    let body = pattern(3_000_000);
    let up = sends(body.clone(), false);
    let server = Server::before(
        &up,
        "proxy_max_temp_file_size 0; server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; } }",
    );
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    client.take_until("\r\n\r\n").unwrap();
    let mut got = Vec::new();
    while got.len() < body.len() {
        pause(5);
        got.extend(client.take((body.len() - got.len()).min(50_000)).unwrap());
    }
    assert!(got == body);
}

#[test]
fn slow_upstream_is_waited_for() {
    let up = Upstream::new(|origin| {
        origin.request();
        for byte in "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".chars() {
            origin.send(byte.to_string());
            pause(2);
        }
    });
    let server =
        Server::before(&up, "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; } }");
    assert_eq!(server.get("/").text(), "hello");
}

#[test]
fn request_and_answer_stream_at_the_same_time() {
    // The upstream answers while the body is still coming in.
    let up = Upstream::new(|origin| {
        origin.head();
        origin.send("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n");
        for _ in 0..30 {
            let bytes = origin.wire.take(10_000).unwrap();
            origin.send(bytes);
        }
    });
    let conf = "client_max_body_size 0; server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; proxy_http_version 1.1; proxy_request_buffering off; proxy_buffering off; } }";
    let server = Server::before(&up, conf);
    let body = pattern(300_000);
    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n");
    client.send(&body);
    assert!(client.recv().body == body);
}
