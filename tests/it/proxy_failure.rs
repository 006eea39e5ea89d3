//! Upstreams that fail: malformed answers are 502, cut ones are cut for the client
//! too, silent ones 504; and clients that leave.

use crate::harness::*;

const PROXY: &str =
    "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; proxy_http_version 1.1; } }";

/// What a client gets when the upstream answers with these bytes and closes.
fn got(bytes: impl AsRef<[u8]>) -> Message {
    let up = Upstream::once(bytes);
    Server::before(&up, PROXY).get("/")
}

#[test]
fn malformed_heads() {
    if !since("1.23.0", "framing was hardly checked") {
        return;
    }
    let mut wrong = String::new();
    for bytes in [
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX A: v\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A\0: v\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A: v\0\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A",
        "HTTP/1.1 200 OK\r\n",
        "",
    ] {
        let up = Upstream::once(bytes);
        let server = Server::before(&up, PROXY);
        let status = server.get("/").status();
        if status != 502 {
            wrong.push_str(&format!("{status} for {bytes:?}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn malformed_heads_that_nginx_lets_pass() {
    if !only_octroi("nginx takes these, or drops the odd line") {
        return;
    }
    for bytes in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nX-A: v\r\n w\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: 0\r\n\r\n",
        "nonsense\r\n\r\n",
        "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    ] {
        assert_eq!(got(bytes).status(), 502, "{bytes:?}");
    }
}

#[test]
fn malformed_chunks_cut_the_connection() {
    for body in [
        "5\r\nhello\r\nx\r\n",
        "5\r\nhelloxx0\r\n\r\n",
        "5\r\nhello\r\n-1\r\n\r\n",
        "5\r\nhello\r\nffffffffffffffffff\r\n",
    ] {
        let up = Upstream::new(move |origin| {
            origin.request();
            origin.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            pause(50);
            origin.send(body);
            origin.gone();
        });
        let server = Server::before(&up, PROXY);
        let mut client = server.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let bytes = client.rest();
        assert!(!bytes.ends_with(b"\r\n0\r\n\r\n"), "completed: {:?}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn truncated_bodies_are_cut_for_the_client_too() {
    for bytes in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ] {
        let up = Upstream::once(bytes);
        let server = Server::before(&up, PROXY);
        let mut client = server.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n");
        client.recv_cut();
        server.wait_log("upstream prematurely closed connection while reading upstream");
    }
}

#[test]
fn reset_within_the_body_is_cut_for_the_client_too() {
    let up = Upstream::new(|origin| {
        // The body of the request stays unread: closing resets.
        origin.head();
        origin.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
        pause(100);
    });
    let server = Server::before(&up, PROXY);
    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    client.recv_cut();
}

#[test]
fn more_than_the_length_is_not_sent_on() {
    let up = Upstream::once(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    );
    let server = Server::before(&up, PROXY);
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.recv().text(), "hello");
    client.assert_quiet(100);
    assert_eq!(up.connections(), 1);
}

#[test]
fn head_larger_than_its_buffer() {
    let up = Upstream::always(format!(
        "HTTP/1.1 200 OK\r\nX-A: {}\r\nContent-Length: 0\r\n\r\n",
        "v".repeat(5000)
    ));
    let server = Server::before(&up, PROXY);
    assert_eq!(server.get("/").status(), 502);
    server.wait_log("upstream sent too big header while reading response header from upstream");
    let server = Server::before(&up, &format!("proxy_buffer_size 16k; proxy_buffers 8 16k; {PROXY}"));
    assert_eq!(server.get("/").status(), 200);
}

#[test]
fn nobody_listens() {
    let port = Port::reserve();
    let server = Setup::http(PROXY).put("UP", port.address()).start();
    assert_eq!(server.get("/").status(), 502);
    server.wait_log("connect() failed (111: Connection refused) while connecting to upstream, client: 127.0.0.1, server: , request: \"GET / HTTP/1.1\", upstream: \"http://127.0.0.1:");
    assert_eq!(server.log().lines().filter(|line| line.contains("[error]")).count(), 1);
}

#[test]
fn answer_that_never_comes() {
    let up = Upstream::new(|origin| drop((origin.request(), origin.gone())));
    let server = Server::before(&up, &format!("proxy_read_timeout 1s; {PROXY}"));
    assert_eq!(server.get("/").status(), 504);
    server.wait_log(
        "upstream timed out (110: Connection timed out) while reading response header from upstream",
    );
}

#[test]
fn answer_that_stops_coming() {
    let up = Upstream::new(|origin| {
        origin.answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
        origin.gone();
    });
    let server = Server::before(&up, &format!("proxy_read_timeout 1s; {PROXY}"));
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    // What was buffered may be lost with the connection.
    assert!("hello".starts_with(&client.recv_cut().text()));
    server.wait_log("upstream timed out (110: Connection timed out) while reading upstream");
}

#[test]
fn half_closed_upstream_may_have_answered_all() {
    let halves: [(&str, Option<&str>); 5] = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Some("hello")),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Some("hello")),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello", Some("hello")),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", None),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", None),
    ];
    for (bytes, whole) in halves {
        // It takes all that is sent to it, and sends nothing more itself.
        let up = Upstream::new(move |origin| {
            origin.request();
            origin.send(bytes);
            origin.wire.half_close();
            origin.gone();
        });
        let conf = "upstream up { server %%UP%%; keepalive 2; } server { listen 127.0.0.1:%%PORT%%;
            location / { proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ''; } }";
        let server = Server::before(&up, conf);
        // The second does not come upon a connection that takes no more answers.
        for _ in 0..2 {
            let mut client = server.client();
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            match whole {
                Some(body) => assert_eq!(client.recv().text(), body),
                None => drop(client.recv_cut()),
            }
        }
        assert_eq!(up.connections(), 2);
        eventually("the end of the upstream's connections", || up.open() == 0);
    }
    // Without a head there is no answer.
    let up = Upstream::new(|origin| {
        origin.request();
        origin.wire.half_close();
        origin.gone();
    });
    assert_eq!(Server::before(&up, PROXY).get("/").status(), 502);
}

#[test]
fn client_that_leaves_is_499() {
    let up = Upstream::new(|origin| drop((origin.request(), origin.gone())));
    let server = Server::before(&up, PROXY);
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    up.wait_requests(1);
    drop(client);
    assert!(server.wait_lines("access.log", 1)[0].contains("\" 499 0 "));
    eventually("the upstream let go", || up.open() == 0);
}

#[test]
fn half_closed_client_is_499_too() {
    let up = Upstream::new(|origin| drop((origin.request(), origin.gone())));
    let server = Server::before(&up, PROXY);
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.half_close();
    client.assert_closed();
    assert!(server.wait_lines("access.log", 1)[0].contains("\" 499 0 "));
}

#[test]
fn client_that_leaves_can_be_ignored() {
    let up = Upstream::new(|origin| {
        origin.request();
        pause(300);
        origin.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let server = Server::before(&up, &format!("proxy_ignore_client_abort on; {PROXY}"));
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    up.wait_requests(1);
    drop(client);
    assert!(server.wait_lines("access.log", 1)[0].contains("\" 200 0 "));
}
