//! The upstream's answer as the client gets it.

use crate::harness::*;

const PROXY: &str =
    "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; proxy_http_version 1.1; } }";

/// What a client gets when the upstream answers with these bytes and closes.
fn got(bytes: impl AsRef<[u8]>) -> Message {
    let up = Upstream::once(bytes);
    Server::before(&up, PROXY).get("/")
}

/// The same for a client on a kept connection.
fn got_kept(bytes: impl AsRef<[u8]>) -> Message {
    let up = Upstream::once(bytes);
    let server = Server::before(&up, PROXY);
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.recv()
}

#[test]
fn body_with_a_length() {
    let response = got("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: v\r\n\r\nhello");
    assert_eq!(response.answer(), (200, "hello".to_owned()));
    assert_eq!((response.get("content-length"), response.get("x-a")), (Some("5"), Some("v")));
}

#[test]
fn chunked_body() {
    let response = got_kept(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nX-T: v\r\n\r\n",
    );
    assert_eq!(response.text(), "hello world");
    assert_eq!((response.get("transfer-encoding"), response.get("content-length")), (Some("chunked"), None));
}

#[test]
fn body_until_close_is_chunked_for_the_client() {
    let response = got_kept("HTTP/1.1 200 OK\r\n\r\nuntil the end");
    assert_eq!(
        (response.text().as_str(), response.get("transfer-encoding")),
        ("until the end", Some("chunked"))
    );
}

#[test]
fn body_of_an_http_1_0_upstream() {
    let response = got_kept("HTTP/1.0 200 OK\r\nX-A: v\r\n\r\nold");
    assert_eq!((response.start.as_str(), response.text().as_str()), ("HTTP/1.1 200 OK", "old"));
}

#[test]
fn http_1_0_client_gets_the_end_by_close() {
    for bytes in [
        "HTTP/1.1 200 OK\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        let up = Upstream::once(bytes);
        let server = Server::before(&up, PROXY);
        let response = server.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!((response.text().as_str(), response.get("transfer-encoding")), ("hello", None));
        assert_eq!(response.get("connection"), Some("close"));
    }
}

#[test]
fn head() {
    let up = Upstream::always("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    let server = Server::before(&up, PROXY);
    let mut client = server.client();
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.recv_to_head().get("content-length"), Some("1000"));
    }
    assert!(up.last().start.starts_with("HEAD "));
}

#[test]
fn head_of_a_chunked_answer() {
    let up = Upstream::once("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    let server = Server::before(&up, PROXY);
    let mut client = server.client();
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.recv_to_head().status(), 200);
    client.assert_quiet(100);
}

#[test]
fn answers_without_a_body() {
    for (bytes, status) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", 204),
        ("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 5\r\n\r\n", 304),
    ] {
        let up = Upstream::always(bytes);
        let server = Server::before(&up, PROXY);
        let mut client = server.client();
        for _ in 0..2 {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(client.recv().status(), status);
        }
    }
}

#[test]
fn empty_body() {
    assert_eq!(got("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").answer(), (200, String::new()));
    assert_eq!(
        got("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").answer(),
        (200, String::new())
    );
}

#[test]
fn early_hints_are_skipped() {
    if !since("1.29.0", "103 was a final answer") {
        return;
    }
    let response =
        got("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!((response.answer(), response.get("link")), ((200, "ok".to_owned()), None));
}

#[test]
fn interim_answers_are_skipped() {
    if !only_octroi("nginx takes 100 and 102 for final answers") {
        return;
    }
    let response = got(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nX-A: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    assert_eq!((response.answer(), response.get("x-a")), ((200, "ok".to_owned()), None));
}

#[test]
fn endless_interim_answers_are_cut_off() {
    if !only_octroi("nginx takes 100 for a final answer") {
        return;
    }
    assert_eq!(got("HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000)).status(), 502);
}

#[test]
fn status_and_reason_go_through() {
    assert_eq!(got("HTTP/1.1 404 Own Words\r\nContent-Length: 0\r\n\r\n").start, "HTTP/1.1 404 Own Words");
    assert_eq!(got("HTTP/1.1 299\r\nContent-Length: 0\r\n\r\n").start.trim_end(), "HTTP/1.1 299");
    assert_eq!(got("HTTP/1.1 599 X\r\nContent-Length: 0\r\n\r\n").status(), 599);
}

#[test]
fn fields_go_through_in_order_with_repeats() {
    let response = got(
        "HTTP/1.1 200 OK\r\nX-B: 1\r\nSet-Cookie: a=1\r\nX-A: 2\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n",
    );
    assert_eq!(response.all("set-cookie"), ["a=1", "b=2"]);
    let names: Vec<&str> =
        response.names().into_iter().filter(|n| n.starts_with("X-") || n.starts_with("Set")).collect();
    assert_eq!(names, ["X-B", "Set-Cookie", "X-A", "Set-Cookie"]);
}

#[test]
fn hop_by_hop_and_private_fields_stop_here() {
    let response = got_kept(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close, X-Hop\r\nKeep-Alive: timeout=5\r\nServer: origin/1\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nX-Pad: avoid\r\nX-Accel-Expires: 1\r\n\r\n",
    );
    assert_eq!(response.get("connection"), Some("keep-alive"));
    for name in ["keep-alive", "x-pad", "x-accel-expires"] {
        assert_eq!(response.get(name), None, "{name}");
    }
    assert_eq!(response.all("server"), [program().token()]);
    assert_eq!(response.all("date").len(), 1);
    assert_ne!(response.get("date"), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
}

/// Without it, whoever gets a 426 would not know what to upgrade to (RFC 9110, 15.5.22).
#[test]
fn upgrade_that_the_upstream_offers_goes_through() {
    let offer = "Content-Length: 0\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    for status in ["200 OK", "426 Upgrade Required"] {
        let response = got_kept(format!("HTTP/1.1 {status}\r\n{offer}"));
        assert_eq!(response.all("upgrade"), ["h2c"], "{status}");
        assert_eq!(response.get("connection"), Some("keep-alive"), "{status}");
    }
}

#[test]
fn fields_can_be_hidden_and_passed() {
    let up = Upstream::always(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Secret: s\r\nServer: origin\r\nX-A: v\r\n\r\n",
    );
    let conf = "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; proxy_hide_header x-secret; proxy_pass_header Server; } }";
    let response = Server::before(&up, conf).get("/");
    assert_eq!((response.get("x-secret"), response.get("x-a")), (None, Some("v")));
    assert_eq!(response.all("server"), ["origin"]);
}

#[test]
fn added_field_beside_the_upstreams() {
    let up = Upstream::ok("");
    let conf = "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; add_header X-A $upstream_status; } }";
    assert_eq!(Server::before(&up, conf).get("/").get("x-a"), Some("200"));
}

#[test]
fn errors_of_the_upstream_can_be_intercepted() {
    let up = Upstream::always("HTTP/1.1 404 Gone Fishing\r\nContent-Length: 4\r\n\r\nown!");
    let conf = "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; }
                location /i { proxy_pass http://%%UP%%; proxy_intercept_errors on; error_page 404 = @page; } location @page { return 200 ours; } }";
    let server = Server::before(&up, conf);
    assert_eq!(server.get("/").answer(), (404, "own!".to_owned()));
    assert_eq!(server.get("/i").answer(), (200, "ours".to_owned()));
}

#[test]
fn answer_cut_at_any_byte_of_its_delivery() {
    // In two pieces, split anywhere: the same answer.
    let bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: v\r\n\r\n5;e\r\nhello\r\n3\r\nyou\r\n0\r\nT: v\r\n\r\n";
    let up = Upstream::new(move |origin| {
        if let Some(request) = origin.request() {
            let cut: usize = request.target()[1..].parse().unwrap();
            origin.send(&bytes[..cut]);
            pause(2);
            origin.send(&bytes[cut..]);
        }
    });
    let server = Server::before(&up, PROXY);
    for cut in 1..bytes.len() {
        let response = server.get(&format!("/{cut}"));
        assert_eq!((response.text().as_str(), response.get("x-a")), ("helloyou", Some("v")), "cut at {cut}");
    }
}

#[test]
fn answer_before_the_request_is_whole() {
    // An upstream may refuse early: its answer goes to the client.
    let up = Upstream::new(|origin| {
        origin.head();
        origin.send("HTTP/1.1 413 No\r\nContent-Length: 5\r\nConnection: close\r\n\r\nearly");
        origin.gone();
    });
    let conf = "server { listen 127.0.0.1:%%PORT%%; client_max_body_size 0; location / { proxy_pass http://%%UP%%; proxy_request_buffering off; } }";
    let server = Server::before(&up, conf);
    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegin");
    assert_eq!(client.recv().answer(), (413, "early".to_owned()));
}

#[test]
fn unbuffered_answer_goes_out_as_it_comes() {
    let up = Upstream::new(|origin| {
        origin.answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
        origin.wait_release();
        origin.send("other");
    });
    let conf =
        "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; proxy_buffering off; } }";
    let server = Server::before(&up, conf);
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.take_until("first").unwrap().starts_with("HTTP/1.1 200 OK\r\n"));
    up.release();
    assert_eq!(client.take(5).unwrap(), b"other");
}
