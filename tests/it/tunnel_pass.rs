//! `tunnel_pass`: tunnels that clients ask for with CONNECT.

use crate::harness::*;
use crate::tls_client::*;

/// A server that sends back what it gets, four bytes at a time, behind a greeting.
fn echo() -> Upstream {
    Upstream::new(|origin| {
        origin.send("hello");
        while let Ok(bytes) = origin.wire.take(4) {
            origin.send(&bytes);
            if bytes == b"stop" {
                return;
            }
        }
    })
}

fn connect(to: &str) -> String {
    format!("CONNECT {to} HTTP/1.1\r\nHost: other:99\r\n\r\n")
}

/// Asks for a tunnel; the status of the answer, and the connection.
fn ask(server: &Server, to: &str) -> (u16, Wire) {
    let mut client = server.client();
    client.send(connect(to));
    let head = client.take_until("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), client)
}

const ANYWHERE: &str = "server { listen 127.0.0.1:%%PORT%%; tunnel_pass; }";

#[test]
fn bytes_go_both_ways() {
    let up = echo();
    let conf = "log_format up '$request|$status|$host:$request_port|$upstream_addr|$upstream_status|$body_bytes_sent|$upstream_bytes_sent|$upstream_bytes_received';
        access_log up.log up; server { listen 127.0.0.1:%%PORT%%; tunnel_pass; add_header X-A b; }";
    let server = Server::before(&up, conf);
    let address = up.address().to_owned();
    let mut client = server.client();
    client.send(connect(&address) + "ping");
    let head = client.take_until("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("\r\nConnection: close\r\n"), "{head}");
    assert!(!head.contains("Content-") && !head.contains("Transfer-") && head.contains("X-A: b"), "{head}");
    assert_eq!(client.take(9).unwrap(), b"helloping");
    for word in ["pong", "\0\r\n\u{1}", "stop"] {
        client.send(word);
        assert_eq!(client.take(4).unwrap(), word.as_bytes());
    }
    client.assert_closed();
    drop(client);
    let line = &server.wait_lines("up.log", 1)[0];
    assert_eq!(*line, format!("CONNECT {address} HTTP/1.1|200|{address}|{address}|-|21|16|21"));
}

#[test]
fn who_asks_for_something_else_is_refused() {
    let up = echo();
    let conf = "server { listen 127.0.0.1:%%PORT%%; tunnel_pass; }
        server { listen 127.0.0.1:%%PORT%%; server_name plain; return 200 plain; }
        server { listen 127.0.0.1:%%PORT%%; server_name closed; tunnel_pass %%UP%%; deny all; }";
    let server = Server::before(&up, conf);
    assert_eq!(server.get("/").status(), 405);
    assert_eq!(ask(&server, "plain:80").0, 405);
    assert_eq!(ask(&server, "closed:80").0, 403);
    for (request, status) in [
        ("CONNECT a:80 HTTP/1.0\r\nHost: a\r\n\r\n", 405),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 400),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("CONNECT a:80/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("CONNECT u@a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("CONNECT http://a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("CONNECT :80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ] {
        let mut client = server.client();
        client.send(request);
        client.assert_answer_then_closed(status);
    }
    server.wait_log("client sent CONNECT method while reading client request headers");
    server.wait_log("client sent CONNECT request with body while reading client request headers");
    assert_eq!(up.connections(), 0);
}

#[test]
fn a_condition_may_choose_tunnels() {
    let up = echo();
    let conf = "server { listen 127.0.0.1:%%PORT%%; location / { root %%DIR%%;
            if ($request_method = CONNECT) { tunnel_pass; error_page 502 /sorry; break; } }
        location /sorry { return 200 sorry; } }";
    let server = Setup::http(conf).put("UP", up.address()).file("page", "a page").start();
    assert_eq!(server.get("/page").text(), "a page");
    let (status, mut client) = ask(&server, up.address());
    assert_eq!(status, 200);
    assert_eq!(client.take(5).unwrap(), b"hello");
    let mut client = server.client();
    client.send(connect("127.0.0.1:1"));
    let answer = client.recv();
    assert_eq!((answer.status(), answer.text().as_str()), (502, "sorry"));
}

#[test]
fn tunnels_may_lead_elsewhere() {
    let up = echo();
    let conf = "upstream group { server 127.0.0.1:1; server %%UP%%; }
        map $host $where { a group; b %%UP%%; c 127.0.0.1; d nowhere.invalid:80; default ''; }
        server { listen 127.0.0.1:%%PORT%%; tunnel_pass $where; }
        server { listen 127.0.0.1:%%PORT%%; server_name fixed; tunnel_pass group; }
        server { listen 127.0.0.1:%%PORT%%; server_name address; tunnel_pass %%UP%%; }
        server { listen 127.0.0.1:%%PORT%%; server_name off; tunnel_pass group; tunnel_next_upstream off; }
        server { listen 127.0.0.1:%%PORT%%; server_name tries; tunnel_pass group; tunnel_next_upstream_tries 1; }";
    let server = Server::before(&up, conf);
    for host in ["a", "b", "fixed", "address"] {
        let (status, mut client) = ask(&server, &format!("{host}:9"));
        assert_eq!(status, 200, "{host}");
        assert_eq!(client.take(5).unwrap(), b"hello", "{host}");
    }
    // Turns begin with the server that is down.
    for host in ["off", "tries"] {
        let server = Server::before(&up, conf);
        assert_eq!(ask(&server, &format!("{host}:9")).0, 502, "{host}");
    }
    assert_eq!(ask(&server, "d:9").0, 502);
    server.wait_log("no resolver defined to resolve nowhere.invalid");
    server.wait_log("upstream: \"127.0.0.1:1\"");
    if only_octroi("nginx connects to port 0") {
        assert_eq!(ask(&server, "c:9").0, 500);
        server.wait_log("no port in upstream \"127.0.0.1\"");
    }
    assert_eq!(ask(&server, "e:9").0, 500);
}

#[test]
fn a_silent_tunnel_ends() {
    let up = echo();
    let server = Server::before(&up, &format!("tunnel_read_timeout 500ms; {ANYWHERE}"));
    let (status, mut client) = ask(&server, up.address());
    assert_eq!(status, 200);
    client.take(5).unwrap();
    for _ in 0..4 {
        pause(300);
        client.send("ping");
        assert_eq!(client.take(4).unwrap(), b"ping");
    }
    client.assert_closed();
    eventually("the server let go", || up.open() == 0);
}

#[test]
fn clients_may_come_over_tls() {
    let up = echo();
    let host = authority().sign("host");
    let conf =
        "server { listen 127.0.0.1:%%PORT%% ssl; ssl_certificate host.pem; ssl_certificate_key host.key;
        tunnel_pass; tunnel_bind 127.0.0.2; tunnel_socket_keepalive on; tunnel_socket_rcvbuf 64k; tunnel_socket_sndbuf 64k; tunnel_send_timeout 5s; tunnel_connect_timeout 5s;
        tunnel_next_upstream error timeout; tunnel_next_upstream_timeout 3s; }";
    let server = Setup::http(conf).file("host.pem", &host.pem).file("host.key", &host.key).start();
    let mut tls = Client::new().connect(server.port(), "host").unwrap();
    tls.send(connect(up.address()));
    assert!(tls.until("\r\n\r\n").starts_with("HTTP/1.1 200 "));
    tls.send("stop");
    assert_eq!(tls.take(9), b"hellostop");
}

#[test]
fn upstreams_of_http_get_no_connect() {
    if !only_octroi("nginx passes it on as CONNECT /") {
        return;
    }
    let up = Upstream::ok("");
    let conf = "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; }
        location /tunnels { tunnel_pass; } }";
    let server = Server::before(&up, conf);
    assert_eq!(ask(&server, up.address()).0, 405);
    assert_eq!(up.connections(), 0);
}

#[test]
fn what_is_wrong_is_refused() {
    for (conf, want) in [
        ("tunnel_pass 127.0.0.1;", "no port in upstream \"127.0.0.1\""),
        ("tunnel_pass; tunnel_pass;", "is duplicate"),
        ("tunnel_pass; tunnel_next_upstream http_500;", "invalid value \"http_500\""),
        ("tunnel_read_timeout x;", "invalid value"),
        ("tunnel_bind x;", "invalid address \"x\""),
    ] {
        let refused = Setup::http(&format!("server {{ listen 127.0.0.1:%%PORT%%; {conf} }}")).refused();
        assert!(refused.contains(want), "{conf}: {refused}");
    }
}
