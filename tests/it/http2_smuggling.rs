//! What could mean something else once it is a request of HTTP/1.1 does not get there.

use crate::harness::*;
use crate::http2_frames::*;

const PROXY: &str = "server { listen 127.0.0.1:%%PORT%%; http2 on; location / { proxy_pass http://%%UP%%; proxy_set_header Host $http_host; } }";

type List<'l> = Vec<(&'l str, &'l str)>;

/// Sends one request; what reached the upstream, if anything did.
fn passed(server: &Server, up: &Upstream, list: &List<'_>, body: &[u8]) -> Option<Message> {
    let before = up.requests().len();
    let mut wire = begun(server);
    let end = if body.is_empty() { END_STREAM } else { 0 };
    wire.send(frame(HEADERS, end | END_HEADERS, 1, &fields(list)));
    if !body.is_empty() {
        wire.send(frame(DATA, END_STREAM, 1, body));
    }
    let outcome = outcome(&mut wire, 1);
    let requests = up.requests();
    assert!(requests.len() <= before + 1, "{list:?} became several requests");
    match requests.get(before) {
        Some(request) => Some(request.clone()),
        None => {
            assert!(outcome.map_or(true, |block| is_refusal(&block)), "{list:?} was served");
            None
        }
    }
}

fn with<'l>(more: &[(&'l str, &'l str)]) -> List<'l> {
    [&GET[..], more].concat()
}

fn but<'l>(name: &'l str, value: &'l str) -> List<'l> {
    GET.iter().map(|(known, old)| (*known, if *known == name { value } else { *old })).collect()
}

#[test]
fn what_would_end_a_line_or_a_name_is_refused() {
    let up = Upstream::echo();
    let server = Server::before(&up, PROXY);
    for bad in ["a\r\nb: c", "a\nb: c", "a\rb: c", "a\0b", "\r\n\r\nGET /x HTTP/1.1\r\nHost: a", "\n"] {
        for list in [
            with(&[("x", bad)]),
            with(&[(bad, "x")]),
            with(&[("cookie", bad)]),
            but(":path", bad),
            but(":path", &format!("/{bad}")),
            but(":method", bad),
            but(":authority", bad),
            but(":scheme", bad),
        ] {
            assert!(passed(&server, &up, &list, b"").is_none(), "{list:?}");
        }
    }
    for name in [
        "a:b",
        "a:",
        ":x",
        ": x",
        "a b",
        " a",
        "a ",
        "a\t",
        "A",
        "Host",
        "Content-Length",
        "",
        "\u{7f}",
        "a\u{e9}",
    ] {
        let list = with(&[(name, "0")]);
        let got = passed(&server, &up, &list, b"");
        // A name that is no token is left out where it is not refused.
        let value = |request: &Message| request.headers.iter().find(|(_, value)| value == "0").cloned();
        assert_eq!(got.as_ref().and_then(value), None, "{list:?}");
    }
}

#[test]
fn what_is_of_one_connection_is_refused() {
    let up = Upstream::echo();
    let server = Server::before(&up, PROXY);
    for (name, value) in [
        ("connection", "close"),
        ("connection", "x-secret"),
        ("keep-alive", "timeout=5"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("upgrade", "websocket"),
        ("te", "chunked"),
        ("te", "trailers, deflate"),
    ] {
        assert!(passed(&server, &up, &with(&[(name, value)]), b"0\r\n\r\n").is_none(), "{name}: {value}");
    }
    let request = passed(&server, &up, &with(&[("te", "trailers")]), b"").unwrap();
    assert_eq!(request.get("transfer-encoding"), None);
}

#[test]
fn lengths_that_lie_are_refused() {
    let up = Upstream::echo();
    let server = Server::before(&up, PROXY);
    let smuggled = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
    for value in ["0", "5", "9", "-1", "+31", "31,31", "31, 31", " 31", "0x1f", "", "99999999999999999999"] {
        let mut list = but(":method", "POST");
        list.push(("content-length", value));
        if let Some(request) = passed(&server, &up, &list, smuggled) {
            assert_eq!(request.body, smuggled, "{value:?}");
        }
    }
    for pair in [["31", "0"], ["0", "31"], ["31", "31"]] {
        let mut list = but(":method", "POST");
        list.extend(pair.map(|value| ("content-length", value)));
        if let Some(request) = passed(&server, &up, &list, smuggled) {
            assert_eq!(
                (request.all("content-length").len(), &request.body[..]),
                (1, &smuggled[..]),
                "{pair:?}"
            );
        }
    }
    // No length: the gateway frames it.
    let request = passed(&server, &up, &but(":method", "POST"), smuggled).unwrap();
    assert_eq!((request.target(), &request.body[..]), ("/", &smuggled[..]));
}

#[test]
fn games_with_pseudo_headers_are_refused() {
    let up = Upstream::echo();
    let server = Server::before(&up, PROXY);
    for list in [
        with(&[(":path", "/again")]),
        with(&[(":authority", "again")]),
        with(&[(":method", "POST")]),
        with(&[("x", "1"), (":path", "/late")]),
        with(&[(":other", "1")]),
        with(&[(":status", "200")]),
        with(&[(":protocol", "websocket")]),
        with(&[("host", "other")]),
        with(&[("host", "a"), ("host", "b")]),
        but(":authority", "user:word@a"),
        but(":authority", "user@a"),
        but(":authority", "a/b"),
        but(":authority", "a?b"),
        but(":authority", "a#b"),
        but(":authority", "a b"),
        but(":authority", ""),
        but(":method", "GET / HTTP/1.1"),
        but(":method", "CONNECT"),
        but(":method", ""),
        but(":path", ""),
        but(":path", "/a b"),
        but(":scheme", ""),
        GET[..3].to_vec(),
    ] {
        assert!(passed(&server, &up, &list, b"").is_none(), "{list:?}");
    }
    for path in ["x", "http://other/", "//other/", "/a?b?c", "*"] {
        if let Some(request) = passed(&server, &up, &but(":path", path), b"") {
            assert!(request.target().starts_with('/'), "{path}: {}", request.start);
            assert_eq!(request.get("host"), Some("a"), "{path}");
        }
    }
}

#[test]
fn fields_behind_a_body_do_not_get_into_the_head() {
    let up = Upstream::echo();
    let server = Server::before(&up, PROXY);
    let mut wire = begun(&server);
    wire.send(frame(HEADERS, END_HEADERS, 1, &fields(&but(":method", "POST"))));
    wire.send(frame(DATA, 0, 1, b"body"));
    wire.send(frame(
        HEADERS,
        END_STREAM | END_HEADERS,
        1,
        &fields(&[("x-late", "1"), ("content-length", "9"), ("host", "other")]),
    ));
    if outcome(&mut wire, 1).is_ok() {
        let request = up.last();
        assert_eq!((request.get("x-late"), request.get("host")), (None, Some("a")));
        assert_eq!(request.body, b"body");
    }
}
