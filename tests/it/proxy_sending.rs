//! How requests and answers travel: what is sent instead of the client's, from where, how fast, which
//! part, and what comes before and behind.

use crate::harness::*;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Instant;

fn before(up: &Upstream, directives: &str) -> Server {
    let conf = format!(
        "server {{ listen 127.0.0.1:%%PORT%%; location / {{ proxy_pass http://%%UP%%; {directives} }} }}"
    );
    Server::before(up, &conf)
}

#[test]
fn method_may_be_a_variable() {
    let up = Upstream::ok("");
    let server = before(&up, "proxy_method $arg_m;");
    assert_eq!(server.get("/?m=PUT").status(), 200);
    assert!(up.last().start.starts_with("PUT /?m=PUT "), "{}", up.last().start);
}

#[test]
fn method_that_is_none_is_refused() {
    if !only_octroi("nginx sends any text as a method") {
        return;
    }
    let up = Upstream::ok("");
    let server = before(&up, "proxy_method $arg_m;");
    for target in ["/", "/?m=", "/?m=a/b", "/?m=GET:x"] {
        assert_eq!(server.get(target).status(), 500, "{target}");
    }
    assert_eq!(up.connections(), 0);
    server.wait_log("invalid method in \"proxy_method\"");
}

#[test]
fn answer_to_head_has_no_body_whoever_asked_for_it() {
    let up = Upstream::always("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    if !only_octroi("nginx promises a body that does not come") {
        return;
    }
    let conf = "upstream kept { server %%UP%%; } server { listen 127.0.0.1:%%PORT%%;
        location / { proxy_pass http://kept; proxy_method HEAD; } }";
    let server = Server::before(&up, conf);
    let mut client = server.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.recv().answer(), (200, String::new()));
    }
    assert_eq!(up.connections(), 1);
}

#[test]
fn head_may_be_asked_as_get() {
    let up = Upstream::once("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let server = before(&up, "proxy_method GET;");
    let mut client = server.client();
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.recv_to_head().get("content-length"), Some("5"));
    }
    client.assert_quiet(100);
}

#[test]
fn body_of_the_configuration_replaces_the_clients() {
    let up = Upstream::ok("");
    let server = before(&up, "proxy_set_body \"<$request_body|$arg_a>\"; proxy_request_buffering off;");
    let mut client = server.client();
    client.send("POST /?a=b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(client.recv().status(), 200);
    assert_eq!((up.last().text().as_str(), up.last().get("content-length")), ("<abc|b>", Some("7")));
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n");
    assert_eq!(client.recv().status(), 200);
    let request = up.last();
    assert_eq!((request.text().as_str(), request.get("transfer-encoding")), ("<x|>", None));
}

#[test]
fn large_body_of_the_configuration() {
    let up = Upstream::ok("");
    let server = before(&up, "client_body_buffer_size 64k; proxy_set_body $request_body$request_body;");
    let body = "0123456789".repeat(4_000);
    server.ask(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40000\r\nConnection: close\r\n\r\n{body}"
    ));
    assert_eq!(up.last().text(), body.repeat(2));
}

#[test]
fn body_kept_back_leaves_the_connections_in_step() {
    let up = Upstream::ok("");
    let server = before(&up, "proxy_pass_request_body off; proxy_set_header Content-Length '';");
    let mut client = server.client();
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
        assert_eq!(client.recv().status(), 200);
        assert_eq!((up.last().get("content-length"), up.last().text().as_str()), (None, ""));
    }
}

#[test]
fn fields_of_the_client_can_be_kept_back() {
    let up = Upstream::ok("");
    let server = before(&up, "proxy_pass_request_headers off; proxy_set_header X-Own $http_x_a;");
    server.get_with("/", "Host: a\r\nX-A: 1\r\nCookie: c\r\n");
    let request = up.last();
    assert_eq!((request.get("x-own"), request.get("x-a"), request.get("cookie")), (Some("1"), None, None));
}

/// The peer's address of each connection, as the upstream answers it.
fn peers() -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let mut seen = Vec::new();
        while let Ok((mut stream, peer)) = listener.accept() {
            use std::io::{Read, Write};
            let mut bytes = [0; 4096];
            let n = stream.read(&mut bytes).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            seen.push(peer.ip().to_string());
            if bytes[..n].starts_with(b"GET /last") {
                break;
            }
        }
        seen
    });
    (address, thread)
}

#[test]
fn connections_come_from_an_address() {
    let (address, thread) = peers();
    let conf = "server { listen 127.0.0.1:%%PORT%%; proxy_bind 127.0.0.2; proxy_socket_keepalive on;
        %%BUFFERS%%
        location / { proxy_pass http://%%UP%%; }
        location /off { proxy_bind off; proxy_pass http://%%UP%%; }
        location /variable { proxy_bind $arg_from; proxy_pass http://%%UP%%; } }";
    let buffers = "proxy_socket_rcvbuf 32k; proxy_socket_sndbuf 32k;";
    let buffers = if since("1.31.3", "proxy_socket_rcvbuf") { buffers } else { "" };
    let server = Setup::http(conf).put("UP", address).put("BUFFERS", buffers).start();
    for target in ["/", "/off", "/variable?from=127.0.0.3", "/variable?from=nonsense", "/variable", "/last"] {
        assert_eq!(server.get(target).status(), 200, "{target}");
    }
    let from = ["127.0.0.2", "127.0.0.1", "127.0.0.3", "127.0.0.1", "127.0.0.1", "127.0.0.2"];
    assert_eq!(thread.join().unwrap(), from);
    server.wait_log("invalid local address \"nonsense\"");
}

#[test]
fn address_that_is_not_ours_is_an_error() {
    let up = Upstream::ok("");
    let server = before(&up, "proxy_bind 192.0.2.1;");
    assert_eq!(server.get("/").status(), 500);
    server.wait_log("[crit] ");
    server.wait_log(
        "bind(192.0.2.1) failed (99: Cannot assign requested address) while connecting to upstream",
    );
    let wrong = |directive: &str| {
        let conf = format!("server {{ listen 127.0.0.1:%%PORT%%; location / {{ {directive} }} }}");
        Setup::http(&conf).refused()
    };
    assert!(wrong("proxy_bind nowhere;").contains("invalid address \"nowhere\""));
    assert!(wrong("proxy_bind 127.0.0.1 sideways;").contains("invalid parameter \"sideways\""));
}

#[test]
fn any_address_takes_a_right() {
    let up = Upstream::ok("");
    let mut server = before(&up, "proxy_bind 127.0.0.9 transparent;");
    server.allow_alerts();
    assert_eq!(server.get("/").status(), 500);
    server.wait_log("[alert] ");
    server.wait_log(
        "setsockopt(IP_TRANSPARENT) failed (1: Operation not permitted) while connecting to upstream",
    );
}

#[test]
fn a_worker_of_root_may_send_from_any_address() {
    if !as_root("only root can give the worker the right to send from any address") {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let origin = std::thread::spawn(move || {
        let (mut stream, from) = listener.accept().unwrap();
        let mut bytes = [0; 1024];
        let _ = stream.read(&mut bytes).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nin").unwrap();
        from.ip().to_string()
    });
    let mut server = Setup::whole(
        "user nobody nogroup; daemon off; pid %%DIR%%/nginx.pid; error_log %%DIR%%/error.log info;
         events { } http { access_log off;
            server { listen 127.0.0.1:%%PORT%%; location / {
                proxy_bind $arg_from transparent; proxy_pass http://%%UP%%; } } }",
    )
    .put("UP", address)
    .prepare();
    server.keep_root();
    server.launch();
    assert_eq!(server.get("/?from=127.0.0.9").text(), "in");
    assert_eq!(origin.join().unwrap(), "127.0.0.9");
    // Of root's rights the worker has this one, CAP_NET_RAW, and no other (capabilities(7)).
    let rights = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim();
        u64::from_str_radix(line, 16).unwrap()
    };
    let workers = server.pids().into_iter().filter(|pid| *pid != server.pid());
    assert_eq!(workers.map(rights).collect::<Vec<_>>(), [1 << 13]);
}

#[test]
fn upstream_is_read_at_a_rate() {
    let up = Upstream::ok(&"x".repeat(25_000));
    let server = before(&up, "proxy_limit_rate 10k;");
    let begun = Instant::now();
    assert_eq!(server.get("/").text().len(), 25_000);
    assert!(begun.elapsed().as_millis() >= 1000, "{:?}", begun.elapsed());
}

#[test]
fn client_is_sent_at_a_rate() {
    let up = Upstream::ok(&"x".repeat(25_000));
    let conf = "server { listen 127.0.0.1:%%PORT%%;
        location / { proxy_pass http://%%UP%%; limit_rate 10k; }
        location /after { proxy_pass http://%%UP%%; limit_rate $arg_rate; limit_rate_after 30k; }
        location /set { set $limit_rate 10k; proxy_pass http://%%UP%%; add_header X-Rate $limit_rate; }
        location /wrong { set $limit_rate fast; add_header X-Rate $limit_rate; return 200; }
        location /file { limit_rate 10k; } }";
    let server = Setup::http(conf).put("UP", up.address()).file("html/file", "y".repeat(25_000)).start();
    for target in ["/", "/set", "/file"] {
        let begun = Instant::now();
        assert_eq!(server.get(target).text().len(), 25_000, "{target}");
        assert!(begun.elapsed().as_millis() >= 1000, "{target}: {:?}", begun.elapsed());
    }
    assert_eq!(server.get("/set").get("x-rate"), Some("10240"));
    assert_eq!(server.get("/wrong").get("x-rate"), Some("0"));
    let begun = Instant::now();
    assert_eq!(server.get("/after?rate=1k").text().len(), 25_000);
    assert!(begun.elapsed().as_millis() < 5000, "{:?}", begun.elapsed());
}

#[test]
fn upstream_may_set_the_rate() {
    let up = Upstream::always(format!(
        "HTTP/1.1 200 OK\r\nX-Accel-Limit-Rate: 10000\r\nContent-Length: 25000\r\n\r\n{}",
        "x".repeat(25_000)
    ));
    let conf = "server { listen 127.0.0.1:%%PORT%%;
        location / { proxy_pass http://%%UP%%; }
        location /ignored { proxy_pass http://%%UP%%; proxy_ignore_headers X-Accel-Limit-Rate; } }";
    let server = Server::before(&up, conf);
    let begun = Instant::now();
    let message = server.get("/");
    assert_eq!((message.text().len(), message.get("x-accel-limit-rate")), (25_000, None));
    assert!(begun.elapsed().as_millis() >= 1000, "{:?}", begun.elapsed());
    let begun = Instant::now();
    assert_eq!(server.get("/ignored").text().len(), 25_000);
    assert!(begun.elapsed().as_millis() < 1000, "{:?}", begun.elapsed());
}

#[test]
fn ranges_are_forced() {
    let up = Upstream::always(
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"e\"\r\nAccept-Ranges: none\r\n\r\n0123456789",
    );
    let server = before(&up, "proxy_force_ranges on;");
    let range = |lines: &str| server.get_with("/", &format!("Host: a\r\n{lines}"));
    let message = range("Range: bytes=2-4\r\n");
    assert_eq!(message.answer(), (206, "234".to_owned()));
    assert_eq!(
        (message.get("content-range"), message.get("content-length")),
        (Some("bytes 2-4/10"), Some("3"))
    );
    assert_eq!(range("Range: bytes=-3\r\n").text(), "789");
    assert_eq!(range("Range: bytes=2-4\r\nIf-Range: \"e\"\r\n").status(), 206);
    assert_eq!(range("Range: bytes=2-4\r\nIf-Range: \"f\"\r\n").status(), 200);
    assert_eq!(range("Range: bytes=0-1,4-5\r\n").answer(), (200, "0123456789".to_owned()));
    let message = range("Range: bytes=10-\r\n");
    assert_eq!((message.status(), message.get("content-range")), (416, Some("bytes */10")));
    let message = range("");
    assert_eq!(
        (message.answer(), message.all("accept-ranges")),
        ((200, "0123456789".to_owned()), vec!["bytes"])
    );
    let mut client = server.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=0-0\r\n\r\n");
        assert_eq!(client.recv().text(), "0");
    }
}

#[test]
fn early_hints_are_passed_on() {
    if !since("1.29.0", "early hints") {
        return;
    }
    let up = Upstream::always(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nX-Hidden: v\r\nServer: up\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let server = before(&up, "early_hints $arg_hints; proxy_hide_header X-Hidden;");
    let all = |target: &str, version: &str| {
        server.exchange(format!("GET {target} HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n"))
    };
    let hinted = all("/?hints=1", "1.1");
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\n";
    assert!(hinted.starts_with(hints) && hinted.ends_with("\r\n\r\nok"), "{hinted}");
    for (target, version) in [("/?hints=0", "1.1"), ("/", "1.1"), ("/?hints=1", "1.0")] {
        assert!(!all(target, version).contains("103"), "{target} {version}");
    }
}

const TRAILED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nX-Gone: 2\r\nX-Sum: 3\r\n\r\n";

#[test]
fn trailers_are_passed_on() {
    if !since("1.27.2", "proxy_pass_trailers") {
        return;
    }
    let up = Upstream::always(TRAILED);
    let server = Server::before(
        &up,
        "log_format t '$upstream_trailer_x_sum|$upstream_trailer_x_gone|$upstream_trailer_none|$sent_trailer_x_sum|$sent_trailer_x_gone';
         access_log %%DIR%%/t.log t;
         server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; proxy_pass_trailers on; proxy_hide_header X-Gone; } }",
    );
    let mut client = server.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = client.take_until("\r\n\r\n").unwrap();
        assert!(head.contains("Transfer-Encoding: chunked\r\n"), "{head}");
        assert_eq!(client.take_until("\r\n\r\n").unwrap(), "2\r\nok\r\n0\r\nX-Sum: 1\r\nX-Sum: 3\r\n\r\n");
    }
    assert_eq!(server.wait_lines("t.log", 2), ["1, 3|2|-|1, 3|-"; 2]);
    let old = server.ask("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(old.text(), "ok");
    let off = before(&up, "");
    assert!(!off.exchange("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").contains("X-Sum:"));
}

#[test]
fn trailers_are_added() {
    let up = Upstream::ok("hello");
    let conf = "add_trailer X-Outer v; server { listen 127.0.0.1:%%PORT%%;
        location / { proxy_pass http://%%UP%%; add_trailer X-Length $upstream_response_length; add_trailer X-None ''; }
        location /nowhere { add_trailer X-Any v always; add_trailer X-Safe v; return 404; }
        location /merged { proxy_pass http://%%UP%%; add_trailer X-Own v; add_trailer_inherit merge; } }";
    let server = Server::before(&up, conf);
    let all = |target: &str| {
        server.exchange(format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
    };
    let answer = all("/");
    assert!(answer.ends_with("5\r\nhello\r\n0\r\nX-Length: 5\r\n\r\n"), "{answer}");
    assert!(!answer.contains("Content-Length"), "{answer}");
    assert!(all("/nowhere").ends_with("\r\n0\r\nX-Any: v\r\n\r\n"));
    assert_eq!(server.ask("GET / HTTP/1.0\r\n\r\n").get("content-length"), Some("5"));
    if since("1.29.3", "add_trailer_inherit") {
        assert!(all("/merged").ends_with("\r\n0\r\nX-Own: v\r\nX-Outer: v\r\n\r\n"));
    }
}

#[test]
fn bodies_are_written_to_files() {
    let up = Upstream::echo();
    let conf = "server { listen 127.0.0.1:%%PORT%%; proxy_pass_request_body off; proxy_set_header X-File $request_body_file;
        proxy_set_header Content-Length ''; client_body_temp_path bodies;
        location / { proxy_pass http://%%UP%%; client_body_in_file_only on; }
        location /levels { proxy_pass http://%%UP%%; client_body_in_file_only on; client_body_temp_path levels 1 2; }
        location /clean { proxy_pass http://%%UP%%; client_body_in_file_only clean; client_body_in_single_buffer on; } }";
    let server = Server::before(&up, conf);
    let post = |target: &str| {
        let message = server.ask(format!(
            "POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
        ));
        assert_eq!(message.status(), 200);
        up.last().get("x-file").expect("a file").to_owned()
    };
    assert_eq!(std::fs::read_to_string(post("/")).unwrap(), "hello");
    let levelled = post("/levels");
    assert_eq!(std::fs::read_to_string(&levelled).unwrap(), "hello");
    let name = levelled.rsplit('/').next().unwrap();
    let (last, before) = (&name[name.len() - 1..], &name[name.len() - 3..name.len() - 1]);
    assert!(levelled.ends_with(&format!("/levels/{last}/{before}/{name}")), "{levelled}");
    let removed = post("/clean");
    eventually("the file is removed", || !std::path::Path::new(&removed).exists());
    assert_eq!((server.get("/").status(), up.last().get("x-file")), (200, None));
}

#[test]
fn file_goes_to_the_upstream() {
    let up = Upstream::ok("");
    let server = before(&up, "client_body_in_file_only clean;");
    for body in ["hello".to_owned(), "x".repeat(100_000)] {
        let message = server.ask(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ));
        assert_eq!(message.status(), 200);
        assert_eq!(up.last().text(), body);
    }
}

/// A body that is under way when its upstream fails is still the connection's: nothing of it is read as
/// a request.
#[test]
fn body_of_a_failed_request_is_no_request() {
    for answer in ["HTTP/1.1 200 OK\r\nX-\0: v\r\n\r\n", "", "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n"] {
        let up = Upstream::new(move |origin| {
            origin.head();
            origin.send(answer);
        });
        let conf = "server { listen 127.0.0.1:%%PORT%%; error_page 500 502 =200 /page;
            location / { proxy_pass http://%%UP%%; proxy_request_buffering off; proxy_intercept_errors on; }
            location = /page { return 200 page; } location = /real { return 200 real; }
            location = /smuggled { return 200 smuggled; } }";
        let server = Server::before(&up, conf);
        let rest = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut client = server.client();
        client.send(format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\nabc", 3 + rest.len()));
        assert_eq!(client.recv().text(), "page");
        client.send(rest);
        client.try_send("GET /real HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let all = String::from_utf8_lossy(&client.rest()).into_owned();
        assert!(!all.contains("smuggled"), "{answer:?}: {all}");
    }
}
