//! `access_log` and `error_log` to syslog servers.

use crate::harness::*;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

/// A syslog server on UDP.
struct Udp(UdpSocket);

impl Udp {
    fn new() -> Udp {
        Udp::at("127.0.0.1:0")
    }

    fn at(address: &str) -> Udp {
        let socket = UdpSocket::bind(address).unwrap();
        socket.set_read_timeout(Some(WAIT)).unwrap();
        Udp(socket)
    }

    fn address(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }

    fn next(&self) -> String {
        let mut room = [0; 8192];
        let length = self.0.recv(&mut room).expect("a message for syslog");
        String::from_utf8_lossy(&room[..length]).into_owned()
    }
}

/// The priority, the host (empty without one), the tag, and the rest of a message.
fn parts(message: &str, hostname: bool) -> (u32, String, String, String) {
    let (priority, rest) = message.strip_prefix('<').and_then(|text| text.split_once('>')).unwrap();
    let (time, rest) = rest.split_at(16);
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    assert!(months.contains(&&time[..3]) && time.as_bytes()[9] == b':' && time.ends_with(' '), "{message}");
    let (host, rest) = if hostname { rest.split_once(' ').unwrap() } else { ("", rest) };
    let (tag, text) = rest.split_once(": ").unwrap();
    (priority.parse().unwrap(), host.to_owned(), tag.to_owned(), text.to_owned())
}

/// Asks, and waits until the connection is closed: what there is to log was logged.
fn ask(server: &Server, path: &str) {
    let text =
        server.exchange(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
    assert!(text.starts_with("HTTP/1.1 204"), "{text}");
}

fn this_host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_ascii_lowercase()
}

#[test]
fn lines_of_the_access_log() {
    let syslog = Udp::new();
    let conf = "log_format f '$request|$status'; server { listen 127.0.0.1:%%PORT%%; return 200 ok;
        access_log syslog:server=%%LOG%% f; location /own { access_log syslog:server=%%LOG%%,facility=user,severity=warn,tag=web_1,nohostname f; return 204; } }";
    let server = Setup::http(conf).put("LOG", syslog.address()).start();
    server.get("/a");
    let text = "GET /a HTTP/1.1|200".to_owned();
    assert_eq!(parts(&syslog.next(), true), (23 * 8 + 6, this_host(), "nginx".to_owned(), text));
    server.get("/own");
    // The server's own return answers before its locations are looked at.
    assert!(syslog.next().ends_with("GET /own HTTP/1.1|200"));
}

#[test]
fn parameters_of_a_server() {
    let syslog = Udp::new();
    let conf = "log_format f '$uri'; server { listen 127.0.0.1:%%PORT%%;
        location / { access_log syslog:server=%%LOG%%,facility=user,severity=warn,tag=web_1,nohostname f if=$arg_log; return 204; } }";
    let server = Setup::http(conf).put("LOG", syslog.address()).start();
    server.get("/not");
    server.get("/own?log=1");
    assert_eq!(parts(&syslog.next(), false), (8 + 4, String::new(), "web_1".to_owned(), "/own".to_owned()));
}

#[test]
fn lines_of_the_error_log() {
    let syslog = Udp::new();
    let conf = "server { listen 127.0.0.1:%%PORT%%; server_name here; root %%DIR%%;
        error_log syslog:server=%%LOG%%,tag=gate info; error_log %%DIR%%/e.log crit; }";
    let server = Setup::http(conf).put("LOG", syslog.address()).start();
    server.get("/absent");
    let (priority, host, tag, text) = parts(&syslog.next(), true);
    assert_eq!((priority, host, tag.as_str()), (23 * 8 + 3, this_host(), "gate"));
    let (time, rest) = text.split_at(20);
    assert!(time.as_bytes()[4] == b'/' && rest.starts_with("[error] "), "{text}");
    assert!(
        rest.ends_with(
            ", client: 127.0.0.1, server: here, request: \"GET /absent HTTP/1.1\", host: \"localhost\""
        ),
        "{text}"
    );
    server.exchange("GET / HTTP/1.1\r\n\r\n");
    assert_eq!(parts(&syslog.next(), true).0, 23 * 8 + 6);
    assert_eq!(server.read("e.log"), "");
}

#[test]
fn main_context_keeps_a_file_beside_its_syslog() {
    let syslog = Udp::new();
    let conf = "error_log syslog:server=%%LOG%%; events {} daemon off; pid nginx.pid;
        http { access_log off; server { listen 127.0.0.1:%%PORT%%; root %%DIR%%/www; } }";
    let server = Setup::whole(conf).put("LOG", syslog.address()).start();
    server.get("/absent");
    assert!(syslog.next().contains("/www/absent\" failed (2: No such file or directory)"));
    server.wait_log("/www/absent\" failed (2: No such file or directory)");
}

#[test]
fn server_on_a_unix_socket_comes_and_goes() {
    let conf = "log_format f '$uri'; server { listen 127.0.0.1:%%PORT%%; location / { return 204; } access_log syslog:server=unix:%%DIR%%/log.sock,nohostname f; }";
    let mut server = Setup::http(conf).start();
    server.allow_alerts();
    for _ in 0..3 {
        ask(&server, "/lost");
    }
    if since("1.23.2", "it did not say what it did") {
        server.wait_log(
            "connect() failed (2: No such file or directory) while logging to syslog, server: unix:",
        );
    }
    for path in ["/one", "/two"] {
        let socket = UnixDatagram::bind(server.path("log.sock")).unwrap();
        std::fs::set_permissions(server.path("log.sock"), std::fs::Permissions::from_mode(0o666)).unwrap();
        socket.set_read_timeout(Some(WAIT)).unwrap();
        if !program().is_octroi() && path == "/two" {
            // nginx finds that the first server is gone by losing a line.
            ask(&server, "/lost");
        }
        ask(&server, path);
        let mut room = [0; 1024];
        let length = socket.recv(&mut room).unwrap();
        let message = String::from_utf8_lossy(&room[..length]).into_owned();
        assert_eq!(parts(&message, false).3, path);
        drop(socket);
        std::fs::remove_file(server.path("log.sock")).unwrap();
    }
    if only_octroi("nginx logs every line that is lost") {
        assert_eq!(server.log().matches("while logging to syslog").count(), 1, "{}", server.log());
    }
}

#[test]
fn server_on_udp_comes_and_goes() {
    let syslog = Udp::new();
    let address = syslog.address();
    drop(syslog);
    let conf = "log_format f '$uri'; server { listen 127.0.0.1:%%PORT%%; location / { return 204; } access_log syslog:server=%%LOG%% f; }";
    let mut server = Setup::http(conf).put("LOG", &address).start();
    server.allow_alerts();
    for _ in 0..5 {
        ask(&server, "/lost");
    }
    let syslog = Udp::at(&address);
    ask(&server, "/maybe");
    ask(&server, "/found");
    let first = syslog.next();
    assert!(first.ends_with("/maybe") || first.ends_with("/found"), "{first}");
}

#[test]
fn wrong_servers_are_refused_in_nginxs_words() {
    for (line, said) in [
        ("access_log syslog:", "unknown syslog parameter \"\""),
        ("access_log syslog:tag=a", "no syslog server specified"),
        ("error_log syslog:server=127.0.0.1,facility=x", "unknown syslog facility \"x\""),
        ("error_log syslog:server=127.0.0.1,severity=err", "unknown syslog severity \"err\""),
        ("error_log syslog:server=127.0.0.1,server=127.0.0.1", "duplicate syslog \"server\""),
        (
            "error_log syslog:server=127.0.0.1,tag=a-b",
            "syslog \"tag\" only allows alphanumeric characters and underscore",
        ),
        ("access_log syslog:server=127.0.0.1 combined buffer=4k", "logs to syslog cannot be buffered"),
        ("error_log a.log error warn", "duplicate log level \"warn\""),
        ("error_log a.log loud", "invalid log level \"loud\""),
    ] {
        let refused = Setup::http(&format!("{line};")).refused();
        assert!(refused.starts_with(&format!("[emerg] {said} in DIR/nginx.conf:")), "{line}: {refused}");
    }
}

#[test]
fn log_in_memory_is_refused_by_name() {
    if only_octroi("nginx's debug builds have it") {
        let refused = Setup::http("error_log memory:32m debug;").refused();
        assert!(refused.contains("\"error_log memory:\" is not supported by Octroi"), "{refused}");
    }
}
