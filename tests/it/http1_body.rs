//! Bodies of requests: length, chunks, trailers, Expect.

use crate::harness::*;

const PROXY: &str =
    "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; proxy_http_version 1.1; } }";

fn sent(head: &str, body: &str) -> Message {
    let up = Upstream::ok("");
    let server = Server::before(&up, PROXY);
    let response = server.ask(format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{head}\r\n{body}"));
    assert_eq!(response.status(), 200);
    up.last()
}

#[test]
fn body_with_a_length() {
    let request = sent("Content-Length: 5\r\n", "hello");
    assert_eq!(request.text(), "hello");
    assert_eq!(request.get("content-length"), Some("5"));
}

#[test]
fn empty_body_with_a_length() {
    let request = sent("Content-Length: 0\r\n", "");
    assert_eq!(request.get("content-length"), Some("0"));
}

#[test]
fn chunked_body_is_sent_on_with_its_length() {
    // proxy_request_buffering is on: the whole body is known before it goes out.
    let request = sent("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n");
    assert_eq!(request.text(), "abc0123456789");
    assert_eq!(request.get("content-length"), Some("13"));
    assert_eq!(request.get("transfer-encoding"), None);
}

#[test]
fn chunk_extensions_and_leading_zeros() {
    let request =
        sent("Transfer-Encoding: Chunked\r\n", "003;name=value\r\nabc\r\n1 ; x=\"y\"\r\nd\r\n000\r\n\r\n");
    assert_eq!(request.text(), "abcd");
}

#[test]
fn trailers_are_read_and_dropped() {
    let request =
        sent("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\nX-Trailer: v\r\nX-Other: w\r\n\r\n");
    assert_eq!(request.text(), "abc");
    assert!(!request.head.contains("X-Trailer"), "{}", request.head);
}

#[test]
fn request_after_a_chunked_body() {
    let up = Upstream::echo();
    let server = Server::before(&up, PROXY);
    let mut client = server.client();
    client.send("POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.recv().text().starts_with("POST /1 "));
    assert!(client.recv().text().starts_with("GET /2 "));
}

#[test]
fn chunked_body_cut_at_any_byte() {
    let up = Upstream::ok("");
    let server = Server::before(&up, PROXY);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let body = "3;e=f\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nT: v\r\n\r\n";
    for cut in 0..body.len() {
        let mut client = server.client();
        client.send(format!("{head}{}", &body[..cut]));
        pause(1);
        client.send(&body[cut..]);
        assert_eq!(client.recv().status(), 200);
        assert_eq!(up.last().text(), "abc0123456789abcdef", "cut at {cut}");
    }
}

#[test]
fn body_that_nobody_reads_is_skipped() {
    let server = Server::http("server { listen 127.0.0.1:%%PORT%%; return 200 $request_uri; }");
    let mut client = server.client();
    client.send("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloPOST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(client.recv().text(), "/1");
    client.send("3\r\nabc\r\n0\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.recv().text(), "/2");
    assert_eq!(client.recv().text(), "/3");
}

#[test]
fn expect_continue() {
    let up = Upstream::ok("done");
    let server = Server::before(&up, PROXY);
    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    let go_on = client.recv();
    assert_eq!((go_on.start.as_str(), go_on.names().len()), ("HTTP/1.1 100 Continue", 0));
    client.send("hello");
    assert_eq!(client.recv().text(), "done");
    assert_eq!(up.last().text(), "hello");
    assert_eq!(up.last().get("expect"), None);
}

#[test]
fn expect_continue_with_chunks() {
    let up = Upstream::ok("done");
    let server = Server::before(&up, PROXY);
    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-Continue\r\n\r\n");
    assert_eq!(client.recv().status(), 100);
    client.send("3\r\nabc\r\n0\r\n\r\n");
    assert_eq!(client.recv().text(), "done");
}

#[test]
fn expect_continue_is_not_answered_when_the_body_is_there() {
    let up = Upstream::ok("done");
    let server = Server::before(&up, PROXY);
    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello");
    let first = client.recv();
    // Either is allowed (RFC 9110, 10.1.1); the final answer must come.
    let last = if first.status() == 100 { client.recv() } else { first };
    assert_eq!(last.text(), "done");
}

#[test]
fn expect_continue_of_http_1_0_is_ignored() {
    let up = Upstream::ok("done");
    let server = Server::before(&up, PROXY);
    let mut client = server.client();
    client.send("POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    client.assert_quiet(200);
    client.send("hello");
    assert_eq!(client.recv().text(), "done");
}

#[test]
fn too_large_a_length_is_refused_at_once() {
    let up = Upstream::ok("");
    let server = Server::before(&up, &format!("client_max_body_size 10; {PROXY}"));
    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n");
    assert_eq!(client.recv().status(), 413);
    client.send("01234567890");
    assert_eq!(
        server
            .ask("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 10\r\n\r\n0123456789")
            .status(),
        200
    );
    assert_eq!(up.requests().len(), 1);
    server.wait_log("client intended to send too large body: 11 bytes");
}

#[test]
fn too_large_a_length_is_refused_instead_of_continue() {
    let up = Upstream::ok("");
    let server = Server::before(&up, &format!("client_max_body_size 10; {PROXY}"));
    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.recv().status(), 413);
}

#[test]
fn too_many_chunks_are_refused() {
    let up = Upstream::ok("");
    let server = Server::before(&up, &format!("client_max_body_size 10; {PROXY}"));
    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n6\r\nabcdef\r\n0\r\n\r\n");
    assert_eq!(client.recv().status(), 413);
    assert_eq!(up.requests().len(), 0);
}

#[test]
fn one_megabyte_is_the_default_limit() {
    let server = Server::http(
        "server { listen 127.0.0.1:%%PORT%%; location / { return 204; } location /b/ { client_max_body_size 0; return 204; } }",
    );
    let status = |path: &str, length: usize| {
        let mut client = server.client();
        client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
        client.recv().status()
    };
    assert_eq!(status("/", 1_048_577), 413);
    assert_eq!(status("/", 1_048_576), 204);
    assert_eq!(status("/b/", 1 << 40), 204);
}

#[test]
fn rest_of_a_refused_body_is_read_before_closing() {
    // Lingering close: a reset would throw the answer away before the client reads it.
    let server = Server::http(
        "client_max_body_size 1k; server { listen 127.0.0.1:%%PORT%%; location / { return 204; } }",
    );
    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n");
    let chunk = vec![b'x'; 100_000];
    for _ in 0..40 {
        assert!(client.try_send(&chunk), "the connection was reset while the body was under way");
    }
    assert_eq!(client.recv().status(), 413);
}

#[test]
fn body_larger_than_the_buffer() {
    let body = "0123456789abcdef".repeat(40_000);
    let request = sent(&format!("Content-Length: {}\r\n", body.len()), &body);
    assert_eq!(request.body.len(), body.len());
    assert_eq!(request.text(), body);
}

#[test]
fn client_that_leaves_within_the_body() {
    let up = Upstream::ok("");
    let server = Server::before(&up, PROXY);
    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhal");
    drop(client);
    let line = server.wait_lines("access.log", 1).remove(0);
    assert!(line.contains("\" 400 0 "), "{line}");
    assert_eq!(up.requests().len(), 0);
}

#[test]
fn body_of_a_get_is_sent_on() {
    let up = Upstream::ok("");
    let server = Server::before(&up, PROXY);
    server.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(up.last().text(), "abc");
}

#[test]
fn body_read_early_is_known_to_rewrites() {
    if !since("1.31.5", "client_body_early_read") {
        return;
    }
    let up = Upstream::ok("up");
    let server = Server::before(
        &up,
        "map $request_body $wanted { ~evil 0; default 1; }
         server { listen 127.0.0.1:%%PORT%%; client_body_early_read $http_x_read $arg_read; client_max_body_size 20;
            if ($wanted = 0) { return 403 refused; }
            error_page 413 /large;
            location / { return 200 <$request_body>; }
            location /large { return 200 large; }
            location /up { proxy_pass http://%%UP%%; } }",
    );
    let post = |target: &str, fields: &str, body: &str| {
        let length = body.len();
        let head = format!("POST {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}");
        server.ask(format!("{head}Content-Length: {length}\r\n\r\n{body}")).answer()
    };
    let read = "X-Read: 1\r\n";
    assert_eq!(post("/", "", "evil"), (200, "<>".to_owned()));
    assert_eq!(post("/", "X-Read: 0\r\n", "evil"), (200, "<>".to_owned()));
    assert_eq!(post("/", read, "good"), (200, "<good>".to_owned()));
    assert_eq!(post("/", read, "evil"), (403, "refused".to_owned()));
    assert_eq!(post("/?read=yes", "", "evil"), (403, "refused".to_owned()));
    assert_eq!(post("/up", read, "evil"), (403, "refused".to_owned()));
    assert_eq!(post("/up", read, "good"), (200, "up".to_owned()));
    assert_eq!(up.last().text(), "good");
    assert_eq!(post("/", read, &"x".repeat(21)), (413, "large".to_owned()));
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nX-Read: 1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n";
    assert_eq!(server.ask(chunked).status(), 403);
    assert_eq!(server.get_with("/", "Host: a\r\nX-Read: 1\r\n").answer(), (200, "<>".to_owned()));
}

#[test]
fn page_for_a_body_that_is_too_large_is_found() {
    let server = Server::http(
        "client_max_body_size 20; server { listen 127.0.0.1:%%PORT%%; error_page 413 /large;
            location / { return 200 ok; } location /large { return 200 large; } }",
    );
    let answer =
        server.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 21\r\n\r\nxxxxxxxxxxxxxxxxxxxxx").answer();
    assert_eq!(answer, (413, "large".to_owned()));
    eventually("the line", || server.log().contains("too large body"));
    assert_eq!(server.log().matches("too large body").count(), 1);
}

#[test]
fn page_for_a_body_that_is_too_large_may_be_an_upstreams() {
    let up = Upstream::ok("explained");
    let server = Server::before(
        &up,
        "client_max_body_size 20; server { listen 127.0.0.1:%%PORT%%; error_page 413 @page;
            location / { proxy_pass http://%%UP%%; } location @page { proxy_pass http://%%UP%%; } }",
    );
    let sized = "Content-Length: 21\r\n\r\nxxxxxxxxxxxxxxxxxxxxx";
    let chunked = "Transfer-Encoding: chunked\r\n\r\n15\r\nxxxxxxxxxxxxxxxxxxxxx\r\n0\r\n\r\n";
    for body in [sized, chunked] {
        let answer = server.ask(format!("POST / HTTP/1.1\r\nHost: a\r\n{body}")).answer();
        assert_eq!(answer, (413, "explained".to_owned()), "{body}");
    }
    assert_eq!(up.requests().len(), 2);
}
