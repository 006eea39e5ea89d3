//! Timeouts towards the client. Bounds are generous: one second set, ten allowed.

use std::time::Instant;

use crate::harness::*;

const BIG: &str = "HTTP/1.1 200 OK\r\nContent-Length: 64000000\r\n\r\n";

#[test]
fn head_that_never_ends() {
    let server = Server::http("client_header_timeout 1s; server { listen 127.0.0.1:%%PORT%%; return 204; }");
    let start = Instant::now();
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost:");
    // nginx closes without an answer, and logs 408.
    client.assert_closed();
    assert!(start.elapsed().as_millis() >= 900);
    assert!(server.wait_lines("access.log", 1)[0].contains("\"GET / HTTP/1.1\" 408 0 "));
}

#[test]
fn head_in_drips_has_one_timeout() {
    let server = Server::http("client_header_timeout 1s; server { listen 127.0.0.1:%%PORT%%; return 204; }");
    let start = Instant::now();
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\n");
    for n in 0..30 {
        if !client.try_send(format!("X-{n}: v\r\n")) {
            break;
        }
        pause(100);
    }
    client.assert_closed();
    assert!(start.elapsed().as_secs() < 8);
}

#[test]
fn connection_that_says_nothing() {
    let server = Server::http("client_header_timeout 1s; server { listen 127.0.0.1:%%PORT%%; return 204; }");
    let mut client = server.client();
    client.assert_closed();
    assert_eq!(server.access_log(), "");
}

#[test]
fn body_that_never_comes() {
    let up = Upstream::ok("");
    let conf = "client_body_timeout 1s; server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; } }";
    let server = Server::before(&up, conf);
    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhal");
    client.assert_closed();
    assert!(server.wait_lines("access.log", 1)[0].contains("\" 408 0 "));
    assert_eq!(up.requests().len(), 0);
}

#[test]
fn body_in_drips_is_waited_for() {
    // The timeout is between two reads, not for the whole.
    let up = Upstream::ok("done");
    let conf = "client_body_timeout 1s; server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; } }";
    let server = Server::before(&up, conf);
    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    for byte in "hello".chars() {
        pause(400);
        client.send(byte.to_string());
    }
    assert_eq!(client.recv().text(), "done");
}

#[test]
fn idle_connection_is_closed() {
    let server = Server::http("keepalive_timeout 1s; server { listen 127.0.0.1:%%PORT%%; return 204; }");
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.recv().status(), 204);
    client.assert_closed();
    assert_eq!(server.access_log().lines().count(), 1);
}

#[test]
fn head_of_the_next_request_has_its_own_timeout() {
    let server = Server::http(
        "keepalive_timeout 30s; client_header_timeout 1s; server { listen 127.0.0.1:%%PORT%%; return 204; }",
    );
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.recv();
    client.assert_quiet(1500);
    client.send("GET / HT");
    client.assert_closed();
}

/// A client that takes nothing of a large answer.
fn stalled(directives: &str) -> (Upstream, Server, Wire) {
    let up = Upstream::new(|origin| {
        origin.request();
        origin.send(BIG);
        let chunk = vec![b'x'; 1_000_000];
        for _ in 0..64 {
            if !origin.send(&chunk) {
                return;
            }
        }
    });
    let conf = format!(
        "{directives} proxy_max_temp_file_size 0; server {{ listen 127.0.0.1:%%PORT%%; location / {{ proxy_pass http://%%UP%%; }} }}"
    );
    let server = Server::before(&up, &conf);
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    (up, server, client)
}

#[test]
fn client_that_does_not_read() {
    let (up, server, mut client) = stalled("send_timeout 1s;");
    eventually("the upstream let go", || up.connections() == 1 && up.open() == 0);
    server.wait_log("client timed out (110: Connection timed out) while sending to client");
    assert!(client.rest().len() < 64_000_000);
}

#[test]
fn client_that_does_not_read_is_reset() {
    let (up, _server, mut client) = stalled("send_timeout 1s; reset_timedout_connection on;");
    eventually("the upstream let go", || up.connections() == 1 && up.open() == 0);
    // What is queued in the kernel is thrown away by the reset.
    let got = client.rest().len();
    assert!(got < 64_000_000, "{got}");
}

#[test]
fn lingering_is_bounded() {
    let conf = "lingering_timeout 1s; client_max_body_size 1; server { listen 127.0.0.1:%%PORT%%; location / { return 204; } }";
    let server = Server::http(conf);
    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n");
    let start = Instant::now();
    client.assert_answer_then_closed(413);
    assert!(start.elapsed().as_secs() < 8);
}
