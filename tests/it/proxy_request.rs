//! The request as the upstream gets it.

use crate::harness::*;

/// The request that arrives for these header lines, with directives in the location.
fn arrives(directives: &str, lines: &str) -> Message {
    let up = Upstream::ok("");
    let server = Server::before(
        &up,
        &format!(
            "server {{ listen 127.0.0.1:%%PORT%%; location / {{ proxy_pass http://%%UP%%; {directives} }} }}"
        ),
    );
    assert_eq!(server.get_with("/", lines).status(), 200);
    up.last()
}

#[test]
fn what_is_sent_by_default() {
    if !since("1.29.7", "HTTP/1.0 and Connection: close") {
        return;
    }
    let up = Upstream::ok("");
    let server =
        Server::before(&up, "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; } }");
    server.get_with("/", "Host: front\r\nX-A: 1\r\nAccept: */*\r\n");
    assert_eq!(
        up.last().head,
        format!("GET / HTTP/1.1\r\nHost: {}\r\nX-A: 1\r\nAccept: */*\r\n\r\n", up.address())
    );
}

#[test]
fn old_version() {
    let request = arrives("proxy_http_version 1.0;", "Host: a\r\n");
    assert_eq!(request.start, "GET / HTTP/1.0");
    // HTTP/1.0 closes by itself; nginx says so too until 1.29.6.
    assert_ne!(request.get("connection"), Some("keep-alive"));
}

#[test]
fn hop_by_hop_fields_stop_here() {
    let lines = "Host: a\r\nKeep-Alive: 5\r\nTE: gzip\r\nUpgrade: x\r\nX-Stays: v\r\nProxy-Connection: keep-alive\r\n";
    let request = arrives("", lines);
    for name in ["keep-alive", "te", "upgrade"] {
        assert_eq!(request.get(name), None, "{name}");
    }
    assert_ne!(request.get("connection"), Some("keep-alive"));
    assert_eq!(request.get("x-stays"), Some("v"));
}

#[test]
fn repeated_fields_stay_repeated_and_in_order() {
    let request = arrives("", "Host: a\r\nX-A: 1\r\nX-B: x\r\nX-A: 2\r\nx-a: 3\r\n");
    assert_eq!(request.all("x-a"), ["1", "2", "3"]);
}

#[test]
fn bytes_of_a_value_are_kept() {
    let request = arrives("", "Host: a\r\nX-A: \u{e9} \"q\" \\ ;,\t=\r\nX-Empty:\r\n");
    assert_eq!(request.get("x-a"), Some("\u{e9} \"q\" \\ ;,\t="));
    assert_eq!(request.get("x-empty"), Some(""));
}

#[test]
fn fields_are_set() {
    let directives = "proxy_set_header Host $host; proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Fixed 'a b';";
    let request = arrives(directives, "Host: front.example\r\nX-Fixed: client\r\nX-Real-IP: 6.6.6.6\r\n");
    assert_eq!(request.get("host"), Some("front.example"));
    assert_eq!(request.all("x-real-ip"), ["127.0.0.1"]);
    assert_eq!(request.all("x-fixed"), ["a b"]);
}

#[test]
fn field_set_to_nothing_is_removed() {
    let request = arrives(
        "proxy_set_header X-A ''; proxy_set_header X-B $arg_none; proxy_set_header Accept-Encoding '';",
        "Host: a\r\nX-A: 1\r\nX-B: 2\r\nAccept-Encoding: gzip\r\n",
    );
    assert_eq!((request.get("x-a"), request.get("x-b"), request.get("accept-encoding")), (None, None, None));
}

#[test]
fn set_fields_are_inherited_all_or_none() {
    let up = Upstream::ok("");
    let conf = "proxy_set_header X-Http http; server { listen 127.0.0.1:%%PORT%%;
        location /a { proxy_pass http://%%UP%%; } location /b { proxy_set_header X-Own own; proxy_pass http://%%UP%%; } }";
    let server = Server::before(&up, conf);
    server.get("/a");
    assert_eq!(up.last().get("x-http"), Some("http"));
    server.get("/b");
    assert_eq!((up.last().get("x-http"), up.last().get("x-own")), (None, Some("own")));
}

#[test]
fn forwarded_for() {
    let directives = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;";
    let request = arrives(directives, "Host: a\r\n");
    assert_eq!(request.get("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.get("x-forwarded-proto"), Some("http"));
    let request = arrives(directives, "Host: a\r\nX-Forwarded-For: 1.2.3.4, 5.6.7.8\r\n");
    assert_eq!(request.all("x-forwarded-for"), ["1.2.3.4, 5.6.7.8, 127.0.0.1"]);
}

#[test]
fn proxy_variables() {
    let up = Upstream::ok("");
    let conf = "upstream group { server %%UP%%; } server { listen 127.0.0.1:%%PORT%%;
        location /a { proxy_pass http://%%UP%%; proxy_set_header X-To $proxy_host|$proxy_port; }
        location /b { proxy_pass http://group; proxy_set_header X-To $proxy_host|$proxy_port; } }";
    let server = Server::before(&up, conf);
    server.get("/a");
    let port = up.address().rsplit(':').next().unwrap();
    assert_eq!(up.last().get("x-to"), Some(format!("{}|{port}", up.address()).as_str()));
    server.get("/b");
    assert_eq!(up.last().get("x-to"), Some("group|80"));
}

#[test]
fn default_host_is_proxy_pass_as_written() {
    let up = Upstream::ok("");
    let conf = "upstream Group.Name { server %%UP%%; } server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://Group.Name; } }";
    let server = Server::before(&up, conf);
    server.get("/");
    assert!(up.last().get("host").unwrap().eq_ignore_ascii_case("group.name"));
}

#[test]
fn fields_and_body_can_be_kept_back() {
    let up = Upstream::ok("");
    let conf = "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; proxy_pass_request_headers off; proxy_pass_request_body off; proxy_set_header Content-Length ''; } }";
    let server = Server::before(&up, conf);
    server.ask("POST / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc");
    let request = up.last();
    assert_eq!(
        (request.get("x-a"), request.get("content-length"), request.text().as_str()),
        (None, None, "")
    );
}

#[test]
fn method_can_be_set() {
    let request = arrives("proxy_method POST;", "Host: a\r\n");
    assert!(request.start.starts_with("POST / "), "{}", request.start);
}

#[test]
fn methods_go_through() {
    let up = Upstream::ok("");
    let server =
        Server::before(&up, "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; } }");
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "MADEUP", "HEAD"] {
        let request =
            format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        assert_eq!(server.ask(request).status(), 200);
        assert!(up.last().start.starts_with(&format!("{method} / ")));
    }
}

#[test]
fn unbuffered_length_goes_out_as_it_comes() {
    let up = Upstream::new(|origin| {
        origin.head();
        assert_eq!(origin.wire.take(3).unwrap(), b"abc");
        origin.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
        assert_eq!(origin.wire.take(3).unwrap(), b"def");
        origin.send("ok");
    });
    let conf = "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; proxy_request_buffering off; } }";
    let server = Server::before(&up, conf);
    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
    up.wait_requests(1);
    assert_eq!(up.last().get("content-length"), Some("6"));
    client.send("def");
    assert_eq!(client.recv().text(), "ok");
}

#[test]
fn buffered_body_goes_out_when_it_is_whole() {
    let up = Upstream::ok("ok");
    let server =
        Server::before(&up, "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; } }");
    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
    pause(200);
    assert_eq!(up.connections(), 0);
    client.send("def");
    assert_eq!(client.recv().text(), "ok");
}

#[test]
fn unbuffered_chunks_go_out_as_chunks() {
    let up = Upstream::ok("ok");
    let conf = "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; proxy_http_version 1.1; proxy_request_buffering off; } }";
    let server = Server::before(&up, conf);
    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    eventually("the head at the upstream", || up.connections() == 1);
    client.send("3\r\ndef\r\n0\r\n\r\n");
    assert_eq!(client.recv().text(), "ok");
    let request = up.last();
    assert_eq!((request.get("transfer-encoding"), request.get("content-length")), (Some("chunked"), None));
    assert_eq!(request.text(), "abcdef");
}

#[test]
fn unbuffered_chunks_for_http_1_0_are_gathered() {
    let up = Upstream::ok("ok");
    let conf = "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; proxy_http_version 1.0; proxy_request_buffering off; } }";
    let server = Server::before(&up, conf);
    server.ask("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n");
    assert_eq!((up.last().get("content-length"), up.last().text().as_str()), (Some("6"), "abcdef"));
}

#[test]
fn unbuffered_client_that_leaves_cuts_the_upstream_request() {
    let up = Upstream::new(|origin| {
        origin.head();
        // The rest never comes: the connection must end, not be completed.
        assert!(origin.wire.take(6).is_err());
    });
    let conf = "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; proxy_http_version 1.1; proxy_request_buffering off; } }";
    let server = Server::before(&up, conf);
    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
    up.wait_requests(1);
    drop(client);
    eventually("the end at the upstream", || up.open() == 0);
}

#[test]
fn body_set_by_the_configuration() {
    let request = arrives("proxy_set_body 'q=$arg_q';", "Host: a\r\n");
    assert_eq!((request.text().as_str(), request.get("content-length")), ("q=", Some("2")));
}
