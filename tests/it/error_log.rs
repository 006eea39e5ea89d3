//! `error_log`: places, levels, the shape of a line.

use crate::harness::*;

#[test]
fn shape_of_a_line() {
    let server = Server::http("server { listen 127.0.0.1:%%PORT%%; server_name here; root %%DIR%%/www; }");
    server.get_with("/absent", "Host: there\r\nReferer: http://r/\r\n");
    server.wait_log("[error]");
    let log = server.log();
    let line = log.lines().find(|line| line.contains("[error]")).unwrap();
    let (time, rest) = line.split_at(20);
    assert!(time.as_bytes()[4] == b'/' && time.as_bytes()[13] == b':' && time.ends_with(' '), "{line}");
    assert!(rest.starts_with("[error] "), "{line}");
    let (ids, message) = rest["[error] ".len()..].split_once(": *").unwrap();
    let (pid, tid) = ids.split_once('#').unwrap();
    assert!(pid.parse::<u32>().is_ok() && tid.parse::<u32>().is_ok(), "{line}");
    let message = message.split_once(' ').unwrap().1;
    assert_eq!(
        message,
        format!(
            "open() \"{}\" failed (2: No such file or directory), client: 127.0.0.1, server: here, request: \"GET /absent HTTP/1.1\", host: \"there\", referrer: \"http://r/\"",
            server.path("www/absent")
        )
    );
}

#[test]
fn levels() {
    // A missing file is an error; a client's bad request is info.
    for (level, error, info) in
        [("crit", false, false), ("error", true, false), ("warn", true, false), ("info", true, true)]
    {
        let conf =
            format!("server {{ listen 127.0.0.1:%%PORT%%; error_log %%DIR%%/e.log {level}; root %%DIR%%; }}");
        let server = Server::http(&conf);
        server.get("/absent");
        server.exchange("GET / HTTP/1.1\r\n\r\n");
        let text = server.read("e.log");
        assert_eq!((text.contains("[error]"), text.contains("[info]")), (error, info), "{level}: {text}");
    }
}

#[test]
fn level_defaults_to_error() {
    let server = Server::http("server { listen 127.0.0.1:%%PORT%%; error_log %%DIR%%/e.log; root %%DIR%%; }");
    server.get("/absent");
    server.exchange("GET / HTTP/1.1\r\n\r\n");
    assert_eq!(server.read("e.log").lines().count(), 1);
}

#[test]
fn log_of_a_location() {
    let conf = "server { listen 127.0.0.1:%%PORT%%; root %%DIR%%; location /a { error_log %%DIR%%/a.log; } location /b { } }";
    let server = Server::http(conf);
    server.get("/a/absent");
    server.get("/b/absent");
    assert!(server.read("a.log").contains("/a/absent") && !server.read("a.log").contains("/b/absent"));
    assert!(server.log().contains("/b/absent") && !server.log().contains("/a/absent"));
}

#[test]
fn several_logs() {
    let conf = "server { listen 127.0.0.1:%%PORT%%; root %%DIR%%; error_log %%DIR%%/one.log; error_log %%DIR%%/two.log info; }";
    let server = Server::http(conf);
    server.get("/absent");
    assert!(server.read("one.log").contains("/absent") && server.read("two.log").contains("/absent"));
}

#[test]
fn stderr() {
    let server = Server::http("server { listen 127.0.0.1:%%PORT%%; root %%DIR%%; error_log stderr; }");
    server.get("/absent");
    eventually("the line on stderr", || {
        server.read("stderr").contains("/absent\" failed (2: No such file or directory)")
    });
}

#[test]
fn log_not_found_can_be_off() {
    let server = Server::http("server { listen 127.0.0.1:%%PORT%%; root %%DIR%%; log_not_found off; }");
    assert_eq!(server.get("/absent").status(), 404);
    assert!(!server.log().contains("[error]"));
}

#[test]
fn unknown_level() {
    let said = Setup::http("error_log e.log nonsense;").refused();
    assert!(said.starts_with("[emerg] invalid log level \"nonsense\" in DIR/nginx.conf:"), "{said}");
}

#[test]
fn upstream_is_named_in_the_line() {
    let dead = Port::reserve();
    let conf =
        "server { listen 127.0.0.1:%%PORT%%; server_name here; location / { proxy_pass http://%%UP%%/x/; } }";
    let server = Setup::http(conf).put("UP", dead.address()).start();
    server.get("/p?q");
    let expected = format!(
        "connect() failed (111: Connection refused) while connecting to upstream, client: 127.0.0.1, server: here, request: \"GET /p?q HTTP/1.1\", upstream: \"http://{}/x/p?q\", host: \"localhost\"",
        dead.address()
    );
    server.wait_log(&expected);
}

#[test]
fn one_refused_request_is_one_error_line() {
    let server = Server::http("server { listen 127.0.0.1:%%PORT%%; root %%DIR%%; }");
    for count in 1..=3 {
        server.get("/absent");
        assert_eq!(server.log().lines().filter(|line| line.contains("[error]")).count(), count);
    }
}

#[test]
fn client_forges_no_line() {
    if !only_octroi("nginx writes a line feed of the path as it is") {
        return;
    }
    let server = Server::http("server { listen 127.0.0.1:%%PORT%%; root %%DIR%%; }");
    server.get("/%0a2026/01/01%20[alert]%20forged");
    let log = server.log();
    assert!(!log.lines().any(|line| line.starts_with("2026/01/01 [alert]")), "{log}");
}
