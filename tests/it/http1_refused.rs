//! Requests that two parsers could read differently: refused, and never forwarded.

use crate::harness::*;

const PROXY: &str = "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; } }";
/// What an attacker would smuggle: it must never be answered.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// Sends the bytes with a second request behind: one answer with this status,
/// the connection closed, nothing at the upstream.
fn refused(status: u16, bytes: impl AsRef<[u8]>) {
    let up = Upstream::ok("forwarded");
    let server = Server::before(&up, PROXY);
    refused_by(&server, status, bytes.as_ref());
    assert_eq!(up.connections(), 0, "the upstream was reached");
}

fn refused_by(server: &Server, status: u16, bytes: &[u8]) {
    let mut client = server.client();
    client.send([bytes, SMUGGLED.as_bytes()].concat());
    let text = String::from_utf8_lossy(&client.rest()).into_owned();
    let shown = String::from_utf8_lossy(bytes);
    assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{shown:?}\nanswer: {text}");
    assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{shown:?}\nmore than one answer: {text}");
    assert!(text.contains("\r\nConnection: close\r\n"), "{shown:?}\n{text}");
}

fn post(lines: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n{body}")
}

#[test]
fn two_lengths() {
    refused(400, post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"));
    refused(400, post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"));
    refused(400, post("Content-Length: 5, 5\r\n", "hello"));
}

#[test]
fn length_that_is_no_number() {
    for value in ["-1", "+5", "5x", "0x5", "5 5", "", "5.0", "1e1", "99999999999999999999", "\u{ff15}"] {
        refused(400, post(&format!("Content-Length: {value}\r\n"), "hello"));
    }
}

#[test]
fn length_and_chunks() {
    refused(400, post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"));
    refused(400, post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"));
}

#[test]
fn transfer_encodings_that_are_not_chunked_alone() {
    for value in [
        "identity",
        "gzip",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "xchunked",
        "chunkedx",
        "\"chunked\"",
        "",
    ] {
        refused(501, post(&format!("Transfer-Encoding: {value}\r\n"), "0\r\n\r\n"));
    }
}

#[test]
fn two_transfer_encodings() {
    refused(400, post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"));
    refused(400, post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"));
}

#[test]
fn chunks_in_http_1_0() {
    refused(400, "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
}

#[test]
fn folded_header_line() {
    // nginx 1.22 ignores such a line, which is a lesser evil than joining it.
    if !only_octroi("obs-fold is refused (RFC 9112, 5.2)") {
        return;
    }
    refused(400, "GET / HTTP/1.1\r\nHost: a\r\nX-A: one\r\n two\r\n\r\n");
    refused(400, "GET / HTTP/1.1\r\nHost: a\r\nX-A: one\r\n\ttwo\r\n\r\n");
}

#[test]
fn folded_framing_is_never_believed() {
    refused(400, post("X-A: b\r\n Content-Length: 5\r\nContent-Length: 3\r\nContent-Length: 4\r\n", "abc"));
}

#[test]
fn space_before_the_colon() {
    refused(400, post("Content-Length : 5\r\n", "hello"));
    refused(400, post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"));
    refused(400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n");
}

#[test]
fn line_without_a_colon() {
    if !only_octroi("nginx ignores a header line without a colon") {
        return;
    }
    refused(400, "GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n");
}

#[test]
fn nul_anywhere() {
    refused(400, b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n");
    refused(400, b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\0c\r\n\r\n");
    refused(400, b"GET / HTTP/1.1\r\nHost: a\r\nX\0A: b\r\n\r\n");
    refused(400, b"GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n");
}

#[test]
fn carriage_return_alone() {
    refused(400, "GET / HTTP/1.1\r\nHost: a\r\nX-A: b\rc\r\n\r\n".replace("\rc", "\rContent-Length: 5"));
}

#[test]
fn control_characters() {
    refused(400, b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n");
    refused(400, b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n");
    refused(400, b"GET / HTTP/1.1\r\nHost: a\r\nX\x01A: b\r\n\r\n");
}

#[test]
fn hosts() {
    refused(400, "GET / HTTP/1.1\r\n\r\n");
    refused(400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    refused(400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n");
    refused(400, "GET / HTTP/1.1\r\nHost:\r\n\r\n");
    for host in ["a/b", "..", "a..b", ".", "a b"] {
        refused(400, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    }
}

#[test]
fn hosts_by_rfc_3986() {
    if !since("1.29.4", "the host was hardly looked at") {
        return;
    }
    for host in [
        "a@b",
        "a:b",
        "a:80:80",
        "a:65536",
        "a:99999999",
        "a?b",
        "a#b",
        "a\"b",
        "a<b",
        "a|b",
        "a\\b",
        "[::1",
        "[::1]x",
        "[::1]:x",
        "\u{80}",
    ] {
        refused(400, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    }
}

#[test]
fn request_lines() {
    for line in [
        "GET",
        "get / HTTP/1.1",
        "GET  HTTP/1.1",
        "GET / HTTP/1.1 x",
        "GET / http/1.1",
        "GET / HTTP/1",
        "GET / HTTP/1.",
        "GET / HTTP/x.1",
        "GET / HTTP/1.1x",
        "GET / HTP/1.1",
        "G@T / HTTP/1.1",
        " GET / HTTP/1.1",
        "GET nonsense HTTP/1.1",
        "GET http:/a HTTP/1.1",
        "GET http:// HTTP/1.1",
        "\u{1}",
    ] {
        refused(400, format!("{line}\r\nHost: a\r\n\r\n"));
    }
}

#[test]
fn versions() {
    refused(505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n");
    refused(505, "GET / HTTP/9.9\r\nHost: a\r\n\r\n");
}

#[test]
fn chunk_sizes() {
    let up = Upstream::ok("forwarded");
    let server = Server::before(&up, PROXY);
    for body in [
        "x\r\nabc\r\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "\r\nabc\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        ";a\r\nabc\r\n0\r\n\r\n",
    ] {
        refused_by(&server, 400, post("Transfer-Encoding: chunked\r\n", body).as_bytes());
    }
    assert_eq!(up.requests().len(), 0, "the upstream was reached");
}

#[test]
fn chunk_sizes_of_two_words() {
    if !only_octroi("nginx takes what follows a space for an extension") {
        return;
    }
    refused(400, post("Transfer-Encoding: chunked\r\n", "3 3\r\nabc\r\n0\r\n\r\n"));
}

#[test]
fn bare_line_feeds_in_chunks() {
    if !since("1.29.4", "a bare LF was an end of line in chunks") {
        return;
    }
    let up = Upstream::ok("forwarded");
    let server = Server::before(&up, PROXY);
    for body in [
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabc\r\n0\n\r\n",
        "3;a\nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\r\nX: y\n\r\n",
    ] {
        refused_by(&server, 400, post("Transfer-Encoding: chunked\r\n", body).as_bytes());
    }
    assert_eq!(up.requests().len(), 0, "the upstream was reached");
}

#[test]
fn line_too_long() {
    refused(414, format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(9000)));
}

#[test]
fn header_too_long() {
    refused(400, format!("GET / HTTP/1.1\r\nHost: a\r\nX-A: {}\r\n\r\n", "a".repeat(9000)));
}

#[test]
fn headers_too_long_together() {
    let lines: String = (0..20).map(|n| format!("X-{n}: {}\r\n", "a".repeat(4000))).collect();
    refused(400, format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
}

#[test]
fn limits_of_the_head_can_be_set() {
    let up = Upstream::ok("");
    let server = Server::before(
        &up,
        &format!("client_header_buffer_size 1k; large_client_header_buffers 2 2k; {PROXY}"),
    );
    let status = |path: usize, header: usize| {
        let request = format!(
            "GET /{} HTTP/1.1\r\nHost: a\r\nX: {}\r\nConnection: close\r\n\r\n",
            "a".repeat(path),
            "b".repeat(header)
        );
        server.ask(request).status()
    };
    assert_eq!(status(10, 1500), 200);
    assert_eq!(status(1500, 10), 200);
    assert_eq!(status(2100, 10), 414);
    assert_eq!(status(10, 2100), 400);
}

#[test]
fn page_of_a_long_header() {
    let up = Upstream::ok("");
    let server = Server::before(&up, PROXY);
    let response = server.get_with("/", &format!("Host: a\r\nX: {}\r\n", "a".repeat(9000)));
    assert!(response.text().contains("Request Header Or Cookie Too Large"), "{}", response.text());
}

#[test]
fn more_headers_than_allowed() {
    if !since("1.29.8", "max_headers") {
        return;
    }
    let lines: String = (0..1001).map(|n| format!("X-{n}: v\r\n")).collect();
    refused(400, format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
}

#[test]
fn reason_is_in_the_log() {
    let up = Upstream::ok("");
    let server = Server::before(&up, PROXY);
    server.exchange(post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"));
    server.wait_log(
        "client sent duplicate header line: \"Content-Length: 6\", previous value: \"Content-Length: 5\"",
    );
    server.exchange("GET / HTTP/1.1\r\n\r\n");
    server.wait_log(
        "client sent HTTP/1.1 request without \"Host\" header while reading client request headers",
    );
    server.exchange("nonsense\r\n\r\n");
    server.wait_log("client sent invalid method while reading client request line, client: 127.0.0.1");
}

#[test]
fn refused_requests_are_in_the_access_log() {
    let up = Upstream::ok("");
    let server = Server::before(&up, PROXY);
    server.exchange("G@T / HTTP/1.1\r\n\r\n");
    let line = server.wait_lines("access.log", 1).remove(0);
    assert!(line.contains("\"G@T / HTTP/1.1\" 400 "), "{line}");
}

#[test]
fn bytes_of_another_protocol() {
    let up = Upstream::ok("");
    let server = Server::before(&up, PROXY);
    let mut client = server.client();
    // A TLS ClientHello.
    client.send([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0, 0, 0, 0]);
    assert_eq!(client.recv().status(), 400);
    assert!(
        server.wait_lines("access.log", 1)[0]
            .contains("\"\\x16\\x03\\x01\\x02\\x00\\x01\\x00\\x01\\xFC\\x03\\x03\\x00\\x00\\x00\\x00\" 400")
    );
}

#[test]
fn the_refusal_of_a_head_has_no_body() {
    let server = Server::http("server { listen 127.0.0.1:%%PORT%%; location / { return 200 a; } }");
    for request in ["HEAD * HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD / HTTP/1.1\r\nHost: a b\r\n\r\n"] {
        let text = server.exchange(request);
        assert!(text.starts_with("HTTP/1.1 400 ") && text.ends_with("\r\n\r\n"), "{text}");
    }
}
