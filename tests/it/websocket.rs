//! WebSockets through the gateway, between a client and a server of a library that is used for real
//! (`websockets` for Python), over TCP and over TLS on either side; and half-closed tunnels.
//!
//! Without Python and the library (Debian: python3-websockets) the tests with it say so and pass;
//! `scripts/test` reports it.

use crate::harness::*;
use crate::tls_client::*;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

/// The script of both ends.
const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/websocket/peers.py");

/// Reloads under load.
const RELOADS: usize = 100;

/// A Python that has the library.
fn python() -> Option<&'static str> {
    static FOUND: OnceLock<Option<&'static str>> = OnceLock::new();
    let has = |python: &&str| {
        let import = Command::new(python).args(["-c", "import websockets"]).stderr(Stdio::null()).status();
        import.is_ok_and(|status| status.success())
    };
    let found = *FOUND.get_or_init(|| ["python3", "/usr/bin/python3"].into_iter().find(has));
    if found.is_none() {
        println!("NOT RUN: there is no python3 with the library websockets (Debian: python3-websockets)");
    }
    found
}

/// A process of the script. It ends when its input does.
struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<std::process::ChildStdout>,
}

impl Peer {
    fn start(python: &str, arguments: &[&str]) -> Peer {
        let mut command = Command::new(python);
        command
            .arg(PEERS)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Peer { child, input, output }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Ends its input, and waits for what it has to say to that.
    fn end(&mut self) -> String {
        drop(self.input.take());
        let (mut rest, mut errors) = (String::new(), String::new());
        self.output.read_to_string(&mut rest).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{errors}");
        rest
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A gateway on a plain port and one of TLS, before a server of each kind.
struct Between {
    gateway: Server,
    plain: Peer,
    secure: Peer,
}

const CONF: &str = "map $http_upgrade $connection_upgrade { default upgrade; '' close; }
    proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
    server { listen 127.0.0.1:%%PORT%%; listen 127.0.0.1:%%PORT_1%% ssl;
        ssl_certificate host.pem; ssl_certificate_key host.key;
        location /plain { proxy_pass http://127.0.0.1:%%PLAIN%%; }
        location /secure { proxy_pass https://127.0.0.1:%%SECURE%%; proxy_ssl_verify on;
            proxy_ssl_trusted_certificate root.pem; proxy_ssl_name up.example; }
        location /generation { return 200 0; } }";

impl Between {
    fn start(python: &str) -> Between {
        let (host, up) = (authority().sign("host"), authority().sign("up.example"));
        let mut plain = Peer::start(python, &["serve"]);
        // The files of the server belong to the gateway's folder, which is there once it is prepared.
        let mut gateway = Setup::http(CONF)
            .file("host.pem", &host.pem)
            .file("host.key", &host.key)
            .file("up.pem", &up.pem)
            .file("up.key", &up.key)
            .file("root.pem", &authority().pem)
            .put("PLAIN", plain.line())
            .put("SECURE", 1)
            .prepare();
        let mut secure = Peer::start(python, &["serve", &gateway.path("up.pem"), &gateway.path("up.key")]);
        let conf = CONF.replace("%%SECURE%%", &secure.line());
        gateway.configure(&conf);
        gateway.launch();
        Between { gateway, plain, secure }
    }

    /// The addresses by which the servers are reached, with the authority to trust.
    fn ways(&self) -> Vec<(String, Option<String>)> {
        let root = self.gateway.path("root.pem");
        let mut ways = Vec::new();
        for target in ["plain", "secure"] {
            ways.push((format!("ws://127.0.0.1:{}/{target}", self.gateway.port()), None));
            let port = self.gateway.value("PORT_1");
            ways.push((format!("wss://127.0.0.1:{port}/{target}"), Some(root.clone())));
        }
        ways
    }
}

#[test]
fn messages_and_close_codes_pass() {
    let Some(python) = python() else { return };
    let mut between = Between::start(python);
    for (url, root) in between.ways() {
        let mut arguments = vec!["talk", url.as_str()];
        arguments.extend(root.as_deref());
        Peer::start(python, &arguments).end();
        let server = if url.ends_with("plain") { &mut between.plain } else { &mut between.secure };
        assert_eq!(server.line(), r#"{"code": 4001, "reason": "our own reason", "count": 8}"#, "{url}");
        assert_eq!(server.line(), r#"{"code": 4002, "reason": "the server's reason", "count": 1}"#, "{url}");
        assert_eq!(server.line(), r#"{"code": 1000, "reason": "", "count": 0}"#, "{url}");
    }
    let lines = between.gateway.wait_lines("access.log", 12);
    assert!(lines.iter().all(|line| line.contains("HTTP/1.1\" 101 ")), "{lines:?}");
}

#[test]
fn reloads_close_no_websocket() {
    let Some(python) = python() else { return };
    let mut between = Between::start(python);
    let mut clients: Vec<Peer> = Vec::new();
    for (url, root) in between.ways() {
        let mut arguments = vec!["load", url.as_str(), "6"];
        arguments.extend(root.as_deref());
        clients.push(Peer::start(python, &arguments));
    }
    for client in &mut clients {
        assert_eq!(client.line(), "ready");
    }
    // nginx keeps a process for each reload that a WebSocket outlives.
    let reloads = if program().is_octroi() { RELOADS } else { 5 };
    let conf = std::fs::read_to_string(between.gateway.path("nginx.conf")).unwrap();
    for number in 1..=reloads {
        let text = conf.replace("return 200 0;", &format!("return 200 {number};"));
        between.gateway.write("nginx.conf", text);
        between.gateway.reload();
        eventually("the reload", || between.gateway.get("/generation").text() == number.to_string());
    }
    for client in &mut clients {
        let sent: u64 = client.end().trim().parse().unwrap();
        assert!(sent >= 6, "{sent}");
    }
    for server in [&mut between.plain, &mut between.secure] {
        for _ in 0..12 {
            let line = server.line();
            assert!(line.starts_with(r#"{"code": 1000, "reason": "done""#), "{line}");
        }
    }
}

/// A gateway with TLS or without on either side of a tunnel, before what a script does.
fn tunnel(behind: &Upstream) -> Server {
    let host = authority().sign("host");
    let tls = "ssl; ssl_certificate host.pem; ssl_certificate_key host.key;";
    let upgrade = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;";
    Setup::http(&format!(
        "{upgrade} server {{ listen 127.0.0.1:%%PORT%%; listen 127.0.0.1:%%PORT_1%% {tls}
             location / {{ proxy_pass http://%%UP%%; }}
             location /tls/ {{ proxy_pass https://127.0.0.1:%%PORT_1%%/; }} }}"
    ))
    .file("host.pem", &host.pem)
    .file("host.key", &host.key)
    .put("UP", behind.address())
    .start()
}

const ASK: &str = " HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: any\r\n\r\n";
const YES: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: any\r\n\r\n";

#[test]
fn a_client_that_has_said_all_is_still_answered() {
    if !only_octroi("nginx ends a tunnel when one side has ended") {
        return;
    }
    let behind = Upstream::new(|origin| {
        origin.head();
        origin.send(YES);
        let all = origin.wire.rest();
        pause(50);
        origin.send(format!("got {}", all.len()));
    });
    let server = tunnel(&behind);
    for target in ["/", "/tls/"] {
        let mut client = server.client();
        client.send(format!("GET {target}{ASK}"));
        client.recv();
        client.send("x".repeat(100_000));
        client.half_close();
        assert_eq!(client.rest(), b"got 100000", "{target}");
        for client in [Client::new(), Client::old()] {
            let mut tls = client.connect(server.value("PORT_1").parse().unwrap(), "host").unwrap();
            tls.send(format!("GET {target}{ASK}"));
            tls.until("\r\n\r\n");
            tls.send("x".repeat(100_000));
            tls.tls.send_close_notify();
            let _ = tls.tls.complete_io(&mut tls.socket);
            let (rest, announced) = tls.rest();
            assert!(rest == b"got 100000" && announced, "{target} {}", String::from_utf8_lossy(&rest));
        }
    }
}

#[test]
fn an_upstream_that_has_said_all_still_listens() {
    if !only_octroi("nginx ends a tunnel when one side has ended") {
        return;
    }
    let behind = Upstream::new(|origin| {
        origin.head();
        origin.send(YES.to_owned() + "bye");
        origin.wire.half_close();
        origin.request();
    });
    let server = tunnel(&behind);
    for (number, target) in ["/", "/tls/"].into_iter().enumerate() {
        let mut client = server.client();
        client.send(format!("GET {target}{ASK}"));
        client.recv();
        assert_eq!(client.rest(), b"bye", "{target}");
        client.send("POST /last HTTP/1.1\r\nContent-Length: 2\r\n\r\nok");
        behind.wait_requests(2 * number + 2);
        assert_eq!((behind.last().target(), behind.last().text().as_str()), ("/last", "ok"), "{target}");
    }
}

#[test]
fn a_piece_of_a_record_does_not_keep_a_silent_tunnel_open() {
    let behind = Upstream::new(|origin| {
        origin.head();
        origin.send(YES);
        origin.gone();
    });
    let host = authority().sign("host");
    let server = Setup::http(
        "proxy_read_timeout 1s; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
         server { listen 127.0.0.1:%%PORT%% ssl; ssl_certificate host.pem; ssl_certificate_key host.key;
             location / { proxy_pass http://%%UP%%; } }",
    )
    .file("host.pem", &host.pem)
    .file("host.key", &host.key)
    .put("UP", behind.address())
    .start();
    let mut tls = Client::new().connect(server.port(), "host").unwrap();
    tls.send(format!("GET /{ASK}"));
    tls.until("\r\n\r\n");
    // The head of a record of 100 bytes, and no more.
    std::io::Write::write_all(&mut tls.socket, &[23, 3, 3, 0, 100, 1, 2, 3]).unwrap();
    tls.rest();
    eventually("the upstream let go", || behind.open() == 0);
}
