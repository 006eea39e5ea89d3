//! The words of the error log: what log parsers and fail2ban filters look for. One failure is one line
//! (or those of its tries), with the request's facts behind it. All of them are what nginx writes.

use crate::harness::*;

/// The lines that end with a request's facts, without time, process and connection: `[error] text`.
fn lines(server: &Server) -> Vec<String> {
    let about_requests = |line: &str| {
        let (_, rest) = line.split_once(" [")?;
        let (level, rest) = rest.split_once("] ")?;
        let (_, message) = rest.split_once(": *")?.1.split_once(' ')?;
        let idle =
            message.contains("closed keepalive connection") || message.contains("while waiting for request");
        (!idle).then(|| format!("[{level}] {message}"))
    };
    let log = server.log().replace(server.path("").trim_end_matches('/'), "DIR");
    log.lines().filter_map(about_requests).collect()
}

/// Asks with these bytes, to the end of the connection, and compares what the log says of it. `%%`
/// names stand for their values in what is expected, too; `CLIENT` for what each line has.
fn check(server: &Server, request: &str, expected: &[&str]) {
    server.exchange(request);
    let mut client = ", client: 127.0.0.1, server: srv, request: \"".to_owned();
    client += request.lines().next().unwrap();
    client += "\"";
    let expected: Vec<String> = expected
        .iter()
        .map(|line| line.replace("CLIENT", &client).replace("UPSTREAM", &upstream(server)))
        .collect();
    eventually(&format!("{expected:#?}\ninstead of {:#?}", lines(server)), || {
        lines(server).len() >= expected.len()
    });
    assert_eq!(lines(server), expected, "{request}");
}

fn upstream(server: &Server) -> String {
    format!(", upstream: \"http://{}/x/p\"", server.value("UP"))
}

const GET: &str = "GET /p HTTP/1.1\r\nHost: h\r\nReferer: http://r/\r\nConnection: close\r\n\r\n";
const FACTS: &str = ", host: \"h\", referrer: \"http://r/\"";

/// What an upstream may do wrong: what it sends before it closes, and what is logged.
#[test]
fn upstreams_that_fail() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "a".repeat(9000));
    for (answer, message) in [
        ("", "upstream prematurely closed connection while reading response header from upstream"),
        (
            "HTTP/1.1 abc\r\n\r\n",
            "upstream sent no valid HTTP/1.0 header while reading response header from upstream",
        ),
        (&long, "upstream sent too big header while reading response header from upstream"),
        (
            "HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n",
            "upstream sent invalid header: \"bad\\x20...\" while reading response header from upstream",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
            "upstream sent duplicate header line: \"Content-Length: 3\", previous value: \"Content-Length: 3\" while reading response header from upstream",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "upstream sent invalid \"Content-Length\" header: \"Content-Length: x\" while reading response header from upstream",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: foo\r\n\r\n",
            "upstream sent unknown \"Transfer-Encoding\": \"foo\" while reading response header from upstream",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "upstream sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time while reading response header from upstream",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
            "upstream prematurely closed connection while reading upstream",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
            "upstream prematurely closed connection while reading upstream",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "upstream sent invalid chunked response while reading upstream",
        ),
    ] {
        let newer = message.contains("duplicate")
            || message.contains("Content-Length")
            || message.contains("unknown");
        if newer && !since("1.23.0", message) {
            continue;
        }
        let up = Upstream::once(answer);
        let conf = "server { listen 127.0.0.1:%%PORT%%; server_name srv; location / { proxy_http_version 1.1; proxy_pass http://%%UP%%/x/; } }";
        let server = Server::before(&up, conf);
        check(&server, GET, &[&format!("[error] {message}CLIENTUPSTREAM{FACTS}")]);
    }
}

#[test]
fn upstream_that_sends_too_much() {
    let up = Upstream::once("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef");
    let conf =
        "server { listen 127.0.0.1:%%PORT%%; server_name srv; location / { proxy_pass http://%%UP%%/x/; } }";
    let message =
        "[warn] upstream sent more data than specified in \"Content-Length\" header while reading upstream";
    check(&Server::before(&up, conf), GET, &[&format!("{message}CLIENTUPSTREAM{FACTS}")]);
}

#[test]
fn upstream_that_is_slow() {
    let conf = "server { listen 127.0.0.1:%%PORT%%; server_name srv; proxy_read_timeout 100ms; location / { proxy_pass http://%%UP%%/x/; } }";
    for (begin, doing) in [
        ("", "reading response header from upstream"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "reading upstream"),
    ] {
        let up = Upstream::new(move |origin| {
            origin.request();
            origin.send(begin);
            origin.wait_release();
        });
        let message = format!(
            "[error] upstream timed out (110: Connection timed out) while {doing}CLIENTUPSTREAM{FACTS}"
        );
        check(&Server::before(&up, conf), GET, &[&message]);
        up.release();
    }
}

#[test]
fn group_of_upstreams_that_are_down() {
    let (one, two) = (Port::reserve(), Port::reserve());
    let conf = "upstream g { server %%ONE%%; server %%TWO%%; } server { listen 127.0.0.1:%%PORT%%; server_name srv; location / { proxy_pass http://g; } }";
    let server = Setup::http(conf).put("ONE", one.address()).put("TWO", two.address()).put("UP", "g").start();
    let tried = |port: &Port, what: &str| {
        format!("{what} while connecting to upstreamCLIENT, upstream: \"http://{}/p\"{FACTS}", port.address())
    };
    let refused = "[error] connect() failed (111: Connection refused)";
    let disabled = "[warn] upstream server temporarily disabled";
    let mut all =
        vec![tried(&one, refused), tried(&one, disabled), tried(&two, refused), tried(&two, disabled)];
    check(&server, GET, &all.iter().map(String::as_str).collect::<Vec<_>>());
    all.push(format!(
        "[error] no live upstreams while connecting to upstreamCLIENT, upstream: \"http://g/p\"{FACTS}"
    ));
    check(&server, GET, &all.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn unix_upstream_that_is_not_there() {
    let conf = "server { listen 127.0.0.1:%%PORT%%; server_name srv; location / { proxy_pass http://unix:%%DIR%%/no.sock:/x/; } }";
    let server = Setup::http(conf).put("UP", "").start();
    let message = format!(
        "[crit] connect() to unix:DIR/no.sock failed (2: No such file or directory) while connecting to upstreamCLIENT, upstream: \"http://unix:DIR/no.sock:/x/p\"{FACTS}"
    );
    check(&server, GET, &[&message]);
}

/// What a client may do wrong: its request, and what is logged up to its first line.
#[test]
fn requests_that_are_refused() {
    let long = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "a".repeat(9000));
    let line = "while reading client request lineCLIENT";
    let head = "while reading client request headersCLIENT";
    for (request, expected) in [
        ("get / HTTP/1.1\r\nHost: h\r\n\r\n", format!("client sent invalid method {line}")),
        ("GET foo HTTP/1.1\r\nHost: h\r\n\r\n", format!("client sent invalid request {line}")),
        ("GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n", format!("client sent invalid request {line}")),
        ("GET /../x HTTP/1.1\r\nHost: h\r\n\r\n", format!("client sent invalid request {line}")),
        ("GET / HTTP/2.0\r\nHost: h\r\n\r\n", format!("client sent invalid version {line}")),
        ("GET / HTTX/1.1\r\nHost: h\r\n\r\n", format!("client sent invalid request {line}")),
        ("GET / HTTP/1.1\r\n\r\n", format!("client sent HTTP/1.1 request without \"Host\" header {head}")),
        (
            "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
            format!("client sent invalid host header {head}, host: \"a/b\""),
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            format!(
                "client sent duplicate host header: \"Host: b\", previous value: \"Host: a\" {head}, host: \"a\""
            ),
        ),
        (
            "GET / HTTP/1.1\r\nHost: h\r\nX : y\r\n\r\n",
            format!("client sent invalid header line: \"X\\x20...\" {head}, host: \"h\""),
        ),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n",
            format!("client sent invalid \"Content-Length\" header {head}, host: \"h\""),
        ),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            format!(
                "client sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time {head}, host: \"h\""
            ),
        ),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: foo\r\n\r\n",
            format!("client sent unknown \"Transfer-Encoding\": \"foo\" {head}, host: \"h\""),
        ),
        ("TRACE / HTTP/1.1\r\nHost: h\r\n\r\n", format!("client sent TRACE method {head}, host: \"h\"")),
        (
            &long,
            format!("client sent too long header line: \"X: {}...\" {head}, host: \"h\"", "a".repeat(1745)),
        ),
    ] {
        let newer = request.contains("Transfer-Encoding: foo")
            || expected.contains("duplicate host")
            || expected.contains("invalid host");
        if newer && !since("1.23.0", "the words are other ones") {
            continue;
        }
        let server = Setup::http("server { listen 127.0.0.1:%%PORT%%; server_name srv; root %%DIR%%/www; }")
            .put("UP", "")
            .file("www/index.html", "")
            .start();
        check(&server, request, &[&format!("[info] {expected}")]);
    }
}

#[test]
fn field_that_is_dropped_is_told() {
    let conf = "server { listen 127.0.0.1:%%PORT%%; server_name srv; location / { return 204; } }";
    let server = Setup::http(conf).put("UP", "").start();
    let request = "GET / HTTP/1.1\r\nHost: h\r\nX_Y: y\r\nConnection: close\r\n\r\n";
    let message = "[info] client sent invalid header line: \"X_Y: y\" while reading client request headersCLIENT, host: \"h\"";
    check(&server, request, &[message]);
}

/// Bodies that are refused; the limit is ten bytes.
#[test]
fn bodies_that_are_refused() {
    for (body, message) in [
        ("Content-Length: 40\r\n\r\n", "client intended to send too large body: 40 bytes"),
        (
            "Transfer-Encoding: chunked\r\n\r\n14\r\naaaaaaaaaaaaaaaaaaaa\r\n0\r\n\r\n",
            "client intended to send too large chunked body: 0+20 bytes",
        ),
        ("Transfer-Encoding: chunked\r\n\r\nzz\r\n", "client sent invalid chunked body"),
    ] {
        let up = Upstream::ok("");
        let conf = "server { listen 127.0.0.1:%%PORT%%; server_name srv; client_max_body_size 10; location / { proxy_pass http://%%UP%%; } }";
        let request = format!("POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{body}");
        check(&Server::before(&up, conf), &request, &[&format!("[error] {message}CLIENT, host: \"h\"")]);
    }
}

#[test]
fn clients_that_leave_early() {
    for (request, doing, facts) in
        [("GET /p HT", "line", ""), ("GET /p HTTP/1.1\r\nHost: h\r\nX: y", "headers", ", host: \"h\"")]
    {
        let server =
            Setup::http("server { listen 127.0.0.1:%%PORT%%; server_name srv; }").put("UP", "").start();
        let mut client = server.client();
        client.send(request);
        pause(50);
        client.half_close();
        client.rest();
        let first = request.lines().next().unwrap();
        let expected = format!(
            "[info] client prematurely closed connection while reading client request {doing}, client: 127.0.0.1, server: srv, request: \"{first}\"{facts}"
        );
        eventually(&expected, || lines(&server) == [expected.as_str()]);
    }
}

/// Files that cannot be served; `p` is what is asked for.
#[test]
fn files_that_are_not_there() {
    for (path, message) in [
        ("/no", "open() \"DIR/www/no\" failed (2: No such file or directory)"),
        ("/f/x", "open() \"DIR/www/f/x\" failed (20: Not a directory)"),
        ("/d/", "directory index of \"DIR/www/d/\" is forbidden"),
        ("/no/", "\"DIR/www/no/index.html\" is not found (2: No such file or directory)"),
    ] {
        let conf = "server { listen 127.0.0.1:%%PORT%%; server_name srv; root %%DIR%%/www; }";
        let server = Setup::http(conf).put("UP", "").file("www/f", "").file("www/d/x", "").start();
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        check(&server, &request, &[&format!("[error] {message}CLIENT, host: \"h\"")]);
    }
}

#[test]
fn access_that_is_forbidden() {
    let conf = "server { listen 127.0.0.1:%%PORT%%; server_name srv; location / { deny all; } }";
    let server = Setup::http(conf).put("UP", "").start();
    check(&server, GET, &[&format!("[error] access forbidden by ruleCLIENT{FACTS}")]);
}

#[test]
fn redirections_in_a_circle() {
    let conf = "server { listen 127.0.0.1:%%PORT%%; server_name srv; log_not_found off; root %%DIR%%/www; error_page 404 /404; recursive_error_pages on; }";
    let server = Setup::http(conf).put("UP", "").start();
    let message =
        "[error] rewrite or internal redirection cycle while internally redirecting to \"/404\"CLIENT";
    check(&server, GET, &[&format!("{message}{FACTS}")]);
}
