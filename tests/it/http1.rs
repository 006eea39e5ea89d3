//! HTTP/1.0 and HTTP/1.1 towards the client: connections, pipelining, forms of a request.

use crate::harness::*;

const OK: &str = "server { listen 127.0.0.1:%%PORT%%; location / { return 200 $request_uri; } }";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn connection_is_kept() {
    let server = Server::http(OK);
    let mut client = server.client();
    for path in ["/1", "/2", "/3"] {
        client.send(get(path));
        let response = client.recv();
        assert_eq!(response.text(), path);
        assert_eq!(response.get("connection"), Some("keep-alive"));
    }
}

#[test]
fn connection_close_is_heeded() {
    let server = Server::http(OK);
    for value in ["close", "Close", "keep-alive, close"] {
        let mut client = server.client();
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {value}\r\n\r\n"));
        assert_eq!(client.recv().get("connection"), Some("close"), "{value}");
        client.assert_closed();
    }
}

#[test]
fn http_1_0_closes() {
    let server = Server::http(OK);
    let mut client = server.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let response = client.recv();
    // nginx answers in its own version, whatever the client's.
    assert_eq!(response.start, "HTTP/1.1 200 OK");
    assert_eq!(response.get("connection"), Some("close"));
    client.assert_closed();
}

#[test]
fn http_1_0_is_kept_when_asked() {
    let server = Server::http(OK);
    let mut client = server.client();
    for path in ["/1", "/2"] {
        client.send(format!("GET {path} HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"));
        let response = client.recv();
        assert_eq!(response.text(), path);
        assert_eq!(response.get("connection"), Some("keep-alive"));
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::http(OK);
    let mut client = server.client();
    let all: String = (0..50).map(|n| get(&format!("/{n}"))).collect();
    client.send(all);
    for n in 0..50 {
        assert_eq!(client.recv().text(), format!("/{n}"));
    }
}

#[test]
fn pipelined_requests_to_an_upstream() {
    let up = Upstream::echo();
    let server =
        Server::before(&up, "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; } }");
    let mut client = server.client();
    let body = "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nxyz";
    client.send(get("/a") + body + &get("/c"));
    for start in ["GET /a ", "POST /b ", "GET /c "] {
        let text = client.recv().text();
        assert!(text.starts_with(start), "{text}");
    }
}

#[test]
fn pipelined_request_cut_at_any_byte() {
    let server = Server::http(OK);
    let two = get("/first") + &get("/second");
    for cut in 1..two.len() {
        let mut client = server.client();
        client.send(&two[..cut]);
        if cut % 7 == 0 {
            pause(2);
        }
        client.send(&two[cut..]);
        assert_eq!(client.recv().text(), "/first", "cut at {cut}");
        assert_eq!(client.recv().text(), "/second", "cut at {cut}");
    }
}

#[test]
fn request_byte_by_byte() {
    let server = Server::http(OK);
    let mut client = server.client();
    for byte in get("/slow").as_bytes() {
        client.send([*byte]);
    }
    assert_eq!(client.recv().text(), "/slow");
}

#[test]
fn number_of_requests_is_bounded() {
    let server = Server::http(&format!("keepalive_requests 3; {OK}"));
    let mut client = server.client();
    for number in 1..=3 {
        client.send(get("/"));
        let expected = if number == 3 { "close" } else { "keep-alive" };
        assert_eq!(client.recv().get("connection"), Some(expected), "{number}");
    }
    client.assert_closed();
}

#[test]
fn keepalive_timeout_zero_closes() {
    let server = Server::http(&format!("keepalive_timeout 0; {OK}"));
    let mut client = server.client();
    client.send(get("/"));
    assert_eq!(client.recv().get("connection"), Some("close"));
    client.assert_closed();
}

#[test]
fn keepalive_timeout_in_a_header() {
    let server = Server::http(&format!("keepalive_timeout 60s 45s; {OK}"));
    let mut client = server.client();
    client.send(get("/"));
    let response = client.recv();
    assert_eq!(response.get("keep-alive"), Some("timeout=45"));
    assert_eq!(response.get("connection"), Some("keep-alive"));
}

#[test]
fn empty_lines_before_a_request() {
    let server = Server::http(OK);
    let mut client = server.client();
    client.send("\r\n".to_owned() + &get("/1") + "\r\n\n" + &get("/2"));
    assert_eq!(client.recv().text(), "/1");
    assert_eq!(client.recv().text(), "/2");
}

#[test]
fn bare_line_feeds_end_header_lines() {
    let server = Server::http(OK);
    assert_eq!(server.ask("GET /lf HTTP/1.1\nHost: a\nConnection: close\n\n").text(), "/lf");
}

#[test]
fn absolute_target() {
    let server = Server::http(
        "server { listen 127.0.0.1:%%PORT%%; location / { return 200 \"$uri|$args|$host|$http_host|$request_uri\"; } }",
    );
    let request =
        |target: &str| format!("GET {target} HTTP/1.1\r\nHost: header\r\nConnection: close\r\n\r\n");
    assert_eq!(server.ask(request("http://target/p?q=1")).text(), "/p|q=1|target|header|/p?q=1");
    assert_eq!(server.ask(request("HTTP://Target:99/p")).text(), "/p||target|header|/p");
    assert_eq!(server.ask(request("http://target")).text(), "/||target|header|/");
    assert_eq!(server.ask(request("https://target?q")).text(), "/|q|target|header|?q");
}

#[test]
fn asterisk_target_is_refused() {
    let server = Server::http(OK);
    assert_eq!(server.ask("OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").status(), 400);
}

#[test]
fn connect_is_not_allowed() {
    let server = Server::http(OK);
    let mut client = server.client();
    client.send("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!([400, 405].contains(&client.recv().status()));
    client.assert_closed();
}

#[test]
fn trace_is_not_allowed() {
    let server = Server::http(OK);
    assert_eq!(server.ask("TRACE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").status(), 405);
}

#[test]
fn half_closed_client_gets_its_answer() {
    let server = Server::http(OK);
    let mut client = server.client();
    client.send(get("/half"));
    client.half_close();
    assert_eq!(client.recv().text(), "/half");
    client.assert_closed();
}

#[test]
fn half_closed_client_gets_the_answer_under_way() {
    // The upstream has begun: the rest goes out though the client has closed its side.
    let up = Upstream::new(|origin| {
        origin.request();
        origin.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n1234");
        pause(300);
        origin.send("5678");
    });
    let conf = "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; proxy_buffering off; proxy_ignore_client_abort on; } }";
    let server = Server::before(&up, conf);
    let mut client = server.client();
    client.send(get("/"));
    client.half_close();
    assert_eq!(client.recv().text(), "12345678");
}

#[test]
fn header_names_in_any_case_and_values_trimmed() {
    let server = Server::http("server { listen 127.0.0.1:%%PORT%%; return 200 \"[$http_x_some_thing]\"; }");
    let text = |line: &str| server.get_with("/", &format!("Host: a\r\n{line}\r\n")).text();
    assert_eq!(text("X-SOME-thing: v"), "[v]");
    assert_eq!(text("x-some-thing:v"), "[v]");
    assert_eq!(text("x-some-thing:   v  w  "), "[v  w]");
    assert_eq!(text("x-some-thing:"), "[]");
    assert_eq!(text("x-some-thing: a:b"), "[a:b]");
}

#[test]
fn repeated_headers_are_joined_in_a_variable() {
    if !since("1.23.0", "header lines became linked lists") {
        return;
    }
    let server = Server::http("server { listen 127.0.0.1:%%PORT%%; return 200 \"$http_x_a\"; }");
    assert_eq!(server.get_with("/", "Host: a\r\nX-A: 1\r\nX-A: 2\r\n").text(), "1, 2");
}

#[test]
fn underscores_in_names() {
    let conf = "server { listen 127.0.0.1:%%PORT%%; return 200 \"[$http_x_a]\"; }";
    assert_eq!(Server::http(conf).get_with("/", "Host: a\r\nX_A: v\r\n").text(), "[]");
    let server = Server::http(&format!("underscores_in_headers on; {conf}"));
    assert_eq!(server.get_with("/", "Host: a\r\nX_A: v\r\n").text(), "[v]");
}

#[test]
fn invalid_header_names_are_dropped() {
    let up = Upstream::echo();
    let server =
        Server::before(&up, "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; } }");
    let head = server.get_with("/", "Host: a\r\nX@A: v\r\nX.B: v\r\nX-C: v\r\n").text();
    assert!(head.contains("X-C: v") && !head.contains("X@A") && !head.contains("X.B"), "{head}");
}

#[test]
fn many_headers_pass() {
    let up = Upstream::echo();
    let server =
        Server::before(&up, "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; } }");
    let lines: String = (0..90).map(|n| format!("X-{n}: {n}\r\n")).collect();
    let head = server.get_with("/", &format!("Host: a\r\n{lines}")).text();
    assert!(head.contains("\r\nX-0: 0\r\n") && head.contains("\r\nX-89: 89\r\n"), "{head}");
}

#[test]
fn head_of_many_kilobytes_in_pieces() {
    let up = Upstream::echo();
    let server =
        Server::before(&up, "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; } }");
    let mut client = server.client();
    let lines: String = (0..6).map(|n| format!("X-{n}: {}\r\n", "v".repeat(4000))).collect();
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    for piece in request.as_bytes().chunks(1500) {
        client.send(piece);
    }
    let head = client.recv().text();
    assert!(head.contains("X-5: v") && head.len() > 24_000);
}

#[test]
fn zero_nine_has_no_head() {
    // HTTP/0.9: a request line alone, answered with the body alone.
    let server = Server::http(OK);
    let mut client = server.client();
    client.send("GET /old\r\n");
    assert_eq!(String::from_utf8_lossy(&client.rest()), "/old");
}

#[test]
fn next_minor_version_is_taken_as_1_1() {
    let server = Server::http(OK);
    assert_eq!(server.ask("GET / HTTP/1.2\r\nHost: a\r\nConnection: close\r\n\r\n").status(), 200);
}
