//! `Upgrade`: from 101 on, bytes in both directions.

use crate::harness::*;

const TUNNEL: &str =
    "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; } }";
const ASK: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const YES: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// An upstream that agrees and then sends back what it gets, four bytes at a time.
fn echo() -> Upstream {
    Upstream::new(|origin| {
        origin.head();
        origin.send(YES);
        while let Ok(bytes) = origin.wire.take(4) {
            origin.send(bytes);
        }
    })
}

#[test]
fn bytes_go_both_ways() {
    let up = echo();
    let server = Server::before(&up, TUNNEL);
    let mut client = server.client();
    client.send(ASK);
    let response = client.recv();
    assert_eq!(response.start, "HTTP/1.1 101 Switching Protocols");
    assert_eq!(response.get("upgrade"), Some("websocket"));
    assert!(response.get("connection").unwrap().eq_ignore_ascii_case("upgrade"));
    assert_eq!(response.get("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    for message in ["ping", "pong", "\0\r\n\u{1}"] {
        client.send(message);
        assert_eq!(client.take(4).unwrap(), message.as_bytes());
    }
}

#[test]
fn upstream_is_asked_to_upgrade() {
    let up = echo();
    let server = Server::before(&up, TUNNEL);
    let mut client = server.client();
    client.send(ASK);
    client.recv();
    let request = up.last();
    assert_eq!((request.get("upgrade"), request.get("connection")), (Some("websocket"), Some("upgrade")));
    assert!(request.get("sec-websocket-key").is_some());
}

#[test]
fn bytes_sent_along_with_the_heads_are_not_lost() {
    let up = Upstream::new(|origin| {
        origin.head();
        origin.send(YES.to_owned() + "early");
        while let Ok(bytes) = origin.wire.take(4) {
            origin.send(bytes);
        }
    });
    let server = Server::before(&up, TUNNEL);
    let mut client = server.client();
    client.send(ASK.to_owned() + "ping");
    client.recv();
    assert_eq!(client.take(9).unwrap(), b"earlyping");
}

#[test]
fn upstream_that_closes_closes_the_client() {
    let up = Upstream::new(|origin| {
        origin.head();
        origin.send(YES.to_owned() + "bye");
    });
    let server = Server::before(&up, TUNNEL);
    let mut client = server.client();
    client.send(ASK);
    client.recv();
    assert_eq!(client.rest(), b"bye");
}

#[test]
fn client_that_closes_closes_the_upstream() {
    let up = echo();
    let server = Server::before(&up, TUNNEL);
    let mut client = server.client();
    client.send(ASK);
    client.recv();
    drop(client);
    eventually("the upstream let go", || up.open() == 0);
    assert!(server.wait_lines("access.log", 1)[0].contains("\"GET /ws HTTP/1.1\" 101 "));
}

#[test]
fn refused_upgrade_is_a_plain_answer() {
    let up = Upstream::ok("no");
    let server = Server::before(&up, TUNNEL);
    let mut client = server.client();
    client.send(ASK);
    assert_eq!(client.recv().answer(), (200, "no".to_owned()));
    client.send(ASK);
    assert_eq!(client.recv().answer(), (200, "no".to_owned()));
}

#[test]
fn switch_that_nobody_asked_for_is_refused() {
    if !only_octroi("nginx passes the 101 on") {
        return;
    }
    let up = Upstream::always(YES);
    let server =
        Server::before(&up, "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; } }");
    assert_eq!(server.get("/").status(), 502);
}

#[test]
fn silent_tunnel_ends_after_the_read_timeout() {
    let up = echo();
    let server = Server::before(&up, &format!("proxy_read_timeout 1s; {TUNNEL}"));
    let mut client = server.client();
    client.send(ASK);
    client.recv();
    client.assert_closed();
    eventually("the upstream let go", || up.open() == 0);
}

#[test]
fn tunnel_in_use_outlives_the_read_timeout() {
    let up = echo();
    let server = Server::before(&up, &format!("proxy_read_timeout 1s; {TUNNEL}"));
    let mut client = server.client();
    client.send(ASK);
    client.recv();
    for _ in 0..6 {
        pause(400);
        client.send("ping");
        assert_eq!(client.take(4).unwrap(), b"ping");
    }
}

#[test]
fn megabytes_both_ways_at_once() {
    let up = Upstream::new(|origin| {
        origin.head();
        origin.send(YES);
        for _ in 0..400 {
            let bytes = origin.wire.take(10_000).unwrap();
            origin.send(bytes);
        }
    });
    let server = Server::before(&up, TUNNEL);
    let mut client = server.client();
    client.send(ASK);
    client.recv();
    let block: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
    for _ in 0..40 {
        client.send(&block);
        assert!(client.take(100_000).unwrap() == block);
    }
}
