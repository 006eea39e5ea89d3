//! The life of a running server: signals, reload, reopened logs.

use crate::harness::*;

const ONE: &str = "server { listen 127.0.0.1:%%PORT%%; return 200 one; }";
const TWO: &str = "server { listen 127.0.0.1:%%PORT%%; return 200 two; }";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn pid_file_holds_the_master_and_goes_with_it() {
    let mut server = Server::http("server { listen 127.0.0.1:%%PORT%%; return 200 $pid; }");
    assert_ne!(server.get("/").text(), server.pid().to_string());
    server.signal("QUIT");
    assert_eq!(server.wait_exit(), Some(0));
    assert!(!std::fs::exists(server.path("nginx.pid")).unwrap());
}

#[test]
fn term_and_int_end_at_once() {
    for signal in ["TERM", "INT"] {
        let up = Upstream::new(|origin| drop((origin.request(), origin.gone())));
        let mut server = Server::before(
            &up,
            "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; } }",
        );
        let mut client = server.client();
        client.send(GET);
        up.wait_requests(1);
        server.signal(signal);
        assert_eq!(server.wait_exit(), Some(0), "{signal}");
        client.assert_closed();
    }
}

#[test]
fn quit_finishes_what_is_under_way() {
    let up = Upstream::new(|origin| {
        origin.request();
        pause(500);
        origin.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
    });
    let mut server =
        Server::before(&up, "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; } }");
    let mut client = server.client();
    client.send(GET);
    up.wait_requests(1);
    server.signal("QUIT");
    let response = client.recv();
    assert_eq!(response.text(), "late");
    // Told that no more requests are taken here.
    assert_eq!(response.get("connection"), Some("close"));
    client.assert_closed();
    assert_eq!(server.wait_exit(), Some(0));
}

#[test]
fn quit_closes_idle_connections_and_listeners() {
    let mut server = Server::http(ONE);
    let mut client = server.client();
    client.send(GET);
    client.recv();
    server.signal("QUIT");
    client.assert_closed();
    assert_eq!(server.wait_exit(), Some(0));
    assert!(std::net::TcpStream::connect(("127.0.0.1", server.port())).is_err());
}

#[test]
fn quit_waits_for_the_first_request_of_a_connection() {
    let mut server = Server::http(ONE);
    let mut client = server.client();
    // Whoever connected later has been served, so this one was accepted.
    server.get("/");
    server.signal("QUIT");
    server.wait_log("gracefully shutting down");
    client.assert_quiet(30);
    client.send(GET);
    let response = client.recv();
    assert_eq!((response.status(), response.get("connection")), (200, Some("close")));
    client.assert_closed();
    assert_eq!(server.wait_exit(), Some(0));
}

#[test]
fn quit_flushes_a_buffered_log() {
    let conf = "access_log %%DIR%%/buffered.log combined buffer=64k;
                server { listen 127.0.0.1:%%PORT%%; return 200 one; }";
    let mut server = Server::http(conf);
    server.get("/kept");
    assert_eq!(server.read("buffered.log"), "");
    server.signal("QUIT");
    server.wait_exit();
    assert!(server.read("buffered.log").contains("GET /kept HTTP/1.1"));
}

#[test]
fn reload_takes_the_new_file() {
    let mut server = Server::http(ONE);
    let pid = server.pid();
    server.configure(TWO);
    server.reload();
    eventually("the new answer", || server.get("/").text() == "two");
    assert_eq!(server.pid(), pid);
    server.wait_log("exited with code 0");
}

#[test]
fn reload_of_a_bad_file_keeps_the_old_one_and_says_why() {
    let mut server = Server::http(ONE);
    server.configure("server { listen 127.0.0.1:%%PORT%%;\nreturn 200 two;\nnonsense; }");
    server.reload();
    server.wait_log("[emerg]");
    let log = server.log();
    let line = log.lines().find(|line| line.contains("[emerg]")).unwrap();
    assert!(line.contains("unknown directive \"nonsense\" in ") && line.contains("nginx.conf:"), "{line}");
    assert_eq!(server.get("/").text(), "one");
}

#[test]
fn reload_survives_a_bad_file_in_between() {
    let mut server = Server::http(ONE);
    server.configure("server {");
    server.reload();
    server.wait_log("[emerg]");
    server.configure(TWO);
    server.reload();
    eventually("the new answer", || server.get("/").text() == "two");
}

#[test]
fn reload_when_a_new_port_is_taken_keeps_the_old_file() {
    let mut server = Server::http(ONE);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    server.configure(&format!(
        "server {{ listen 127.0.0.1:{port}; listen 127.0.0.1:%%PORT%%; return 200 two; }}"
    ));
    server.reload();
    server.wait_log(&format!("bind() to 127.0.0.1:{port} failed (98: Address already in use)"));
    assert_eq!(server.get("/").text(), "one");
}

#[test]
fn reload_opens_and_closes_ports() {
    let mut server =
        Setup::http("server { listen 127.0.0.1:%%PORT%%; listen 127.0.0.1:%%PORT_OLD%%; return 200 one; }")
            .start();
    let spare = Port::reserve();
    server.configure(&format!(
        "server {{ listen 127.0.0.1:%%PORT%%; listen 127.0.0.1:{}; return 200 two; }}",
        spare.number
    ));
    server.reload();
    let reaches = |port: u16| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    eventually("the new port", || reaches(spare.number));
    let old = server.value("PORT_OLD").parse().unwrap();
    eventually("the old port closed", || !reaches(old));
    assert_eq!(server.get("/").text(), "two");
}

#[test]
fn reload_finishes_a_request_with_the_old_file() {
    let up = Upstream::new(|origin| {
        origin.request();
        pause(600);
        origin.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
    });
    let mut server = Server::before(
        &up,
        "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; add_header X-From one; } }",
    );
    let mut client = server.client();
    client.send(GET);
    up.wait_requests(1);
    server.configure(TWO);
    server.reload();
    eventually("the new answer", || server.get("/").text() == "two");
    let response = client.recv();
    assert_eq!((response.text().as_str(), response.get("x-from")), ("late", Some("one")));
}

#[test]
fn reload_loses_no_request() {
    let mut server = Server::http(ONE);
    for round in 0..5 {
        server.configure(if round % 2 == 0 { TWO } else { ONE });
        server.reload();
        for _ in 0..40 {
            assert_eq!(server.get("/").status(), 200);
        }
    }
}

#[test]
fn kept_connection_survives_a_reload() {
    // nginx closes idle connections of the old workers; Octroi's move on to the new generation.
    if !only_octroi("an idle connection moves on to the new configuration") {
        return;
    }
    let mut server = Server::http(ONE);
    let mut client = server.client();
    client.send(GET);
    assert_eq!(client.recv().text(), "one");
    server.configure(TWO);
    server.reload();
    eventually("the new answer", || server.get("/").text() == "two");
    client.send(GET);
    assert_eq!(client.recv().text(), "two");
}

#[test]
fn tunnel_goes_on_after_a_reload() {
    let up = Upstream::new(|origin| {
        origin.head();
        origin.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
        while let Ok(bytes) = origin.wire.take(4) {
            origin.send(bytes);
        }
    });
    let conf =
        "server { listen 127.0.0.1:%%PORT%%; location /ws { proxy_pass http://%%UP%%; proxy_http_version 1.1;
                proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }
                location / { return 200 one; } }";
    let mut server = Server::before(&up, conf);
    let mut client = server.client();
    client.send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
    assert_eq!(client.recv_to_head().status(), 101);
    server.configure(TWO);
    server.reload();
    eventually("the new answer", || server.get("/").text() == "two");
    client.send("ping");
    assert_eq!(client.take(4).unwrap(), b"ping");
}

#[test]
fn usr1_reopens_the_logs() {
    let server = Server::http(ONE);
    server.get("/before");
    server.wait_lines("access.log", 1);
    std::fs::rename(server.path("access.log"), server.path("access.old")).unwrap();
    std::fs::rename(server.path("error.log"), server.path("error.old")).unwrap();
    server.signal("USR1");
    // The worker is told after the master has made the file: requests until one lands in it.
    eventually("a line in the new log", || {
        server.get("/after");
        server.access_log().contains("GET /after")
    });
    assert!(std::fs::exists(server.path("error.log")).unwrap());
    assert!(server.read("access.old").contains("GET /before"));
}

#[test]
fn dead_worker_is_replaced() {
    let mut server = Server::http("server { listen 127.0.0.1:%%PORT%%; return 200 $pid; }");
    server.allow_alerts();
    let worker = server.get("/").text();
    kill("KILL", worker.parse().unwrap());
    // A connection that the dying worker had accepted may be reset.
    let mut next = String::new();
    eventually("another worker", || {
        let mut client = server.client();
        client.send("GET / HTTP/1.0\r\n\r\n");
        let text = String::from_utf8_lossy(&client.rest()).into_owned();
        next = text.rsplit("\r\n").next().unwrap_or_default().to_owned();
        !next.is_empty() && next != worker
    });
    assert!(alive(server.pid()));
    server.wait_log(&format!("worker process {worker} exited on signal 9"));
}

#[test]
fn hup_to_a_stuck_client_does_not_block() {
    let mut server = Server::http(ONE);
    let mut slow = server.client();
    slow.send("GET / HTTP/1.1\r\nHost:");
    pause(50);
    server.configure(TWO);
    server.reload();
    eventually("the new answer", || server.get("/").text() == "two");
    slow.send(" a\r\nConnection: close\r\n\r\n");
    assert_eq!(slow.recv().status(), 200);
}
