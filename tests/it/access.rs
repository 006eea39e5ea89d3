//! `allow`, `deny`, `satisfy` and `auth_delay`.

use crate::harness::*;

#[test]
fn rules_by_address_and_by_level() {
    let server = Setup::http(
        "deny all;
         server { listen 127.0.0.1:%%PORT%%; listen unix:%%DIR%%/s.sock;
           location /closed { return 200 in; root %%DIR%%/www; }
           location /files/closed { alias %%DIR%%/www/; }
           location /files/one { allow 127.0.0.1; deny all; alias %%DIR%%/www/; }
           location /files/net { deny 127.0.0.0/8; allow all; alias %%DIR%%/www/; }
           location /files/order { allow 127.0.0.0/8; deny 127.0.0.1; alias %%DIR%%/www/; }
           location /files/unnamed { deny 10.0.0.0/8; alias %%DIR%%/www/; }
           location /files/v6 { deny ::1; deny 2001:db8::/32; alias %%DIR%%/www/; }
           location /files/methods { allow all; alias %%DIR%%/www/; limit_except GET { deny all; } }
           location /files/unix { allow unix:; deny all; alias %%DIR%%/www/; } }",
    )
    .file("www/f", "x")
    .start();
    for (path, tcp, unix) in [
        // `return` answers before anybody is asked.
        ("/closed", 200, 200),
        ("/files/closed/f", 403, 403),
        ("/files/one/f", 200, 403),
        ("/files/net/f", 403, 200),
        ("/files/order/f", 200, 200),
        ("/files/unnamed/f", 200, 200),
        ("/files/v6/f", 200, 200),
        ("/files/unix/f", 403, 200),
    ] {
        assert_eq!(server.get(path).status(), tcp, "{path}");
        let mut local = server.client_unix("s.sock");
        local.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(local.recv().status(), unix, "{path} over a Unix socket");
    }
    server.wait_log(
        "access forbidden by rule, client: 127.0.0.1, server: , request: \"GET /files/closed/f HTTP/1.1\"",
    );
    server.wait_log(
        "access forbidden by rule, client: unix:, server: , request: \"GET /files/one/f HTTP/1.1\"",
    );
}

#[test]
fn wrong_rules_are_refused() {
    for (text, message) in [
        ("allow 127.0.0.1/33;", "invalid parameter \"127.0.0.1/33\""),
        ("deny localhost;", "invalid parameter \"localhost\""),
        ("deny unix:/run/x;", "invalid parameter \"unix:/run/x\""),
        ("satisfy some;", "invalid value \"some\""),
        ("auth_delay x;", "\"auth_delay\" directive invalid value"),
    ] {
        let line = Setup::http(&format!("{text} server {{ listen 127.0.0.1:%%PORT%%; }}")).refused();
        assert!(line.starts_with(&format!("[emerg] {message} in ")), "{text}: {line}");
    }
    let text = "server { listen 127.0.0.1:%%PORT%%; location / { allow 10.0.0.1/8; location /in { } } }";
    let outcome = Setup::http(text).check();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(
        outcome.stderr.matches("[warn] low address bits of 10.0.0.1/8 are meaningless in ").count(),
        1,
        "{}",
        outcome.stderr
    );
}

/// A location that is asked for leave, and answers as its arguments say.
const ASKED: &str = "location = /yes { return 204; }
    location = /no { add_header WWW-Authenticate Ask always; return 401; }
    location = /never { return 403; }
    location = /broken { return 404; }";

#[test]
fn satisfy_weighs_addresses_and_questions() {
    let mut locations = String::new();
    let mut cases = Vec::new();
    for (satisfy, address, asked, status) in [
        ("all", "allow all;", "/yes", 200),
        ("all", "allow all;", "/no", 401),
        ("all", "allow all;", "/never", 403),
        ("all", "deny all;", "/yes", 403),
        ("all", "deny all;", "/no", 403),
        ("all", "deny 10.0.0.0/8;", "/yes", 200),
        ("any", "allow all;", "/no", 200),
        ("any", "allow all;", "/broken", 200),
        ("any", "deny all;", "/yes", 200),
        ("any", "deny all;", "/no", 401),
        ("any", "deny all;", "/never", 403),
        ("any", "deny all;", "/broken", 500),
        ("any", "deny 10.0.0.0/8;", "/yes", 200),
        ("any", "deny 10.0.0.0/8;", "/never", 403),
    ] {
        let path = format!("/{}", cases.len());
        locations += &format!(
            "location {path}/ {{ satisfy {satisfy}; {address} auth_request {asked}; alias %%DIR%%/www/; }}\n"
        );
        cases.push((path, status, format!("satisfy {satisfy}; {address} auth_request {asked};")));
    }
    let server = Setup::http(&format!("server {{ listen 127.0.0.1:%%PORT%%; {ASKED} {locations} }}"))
        .file("www/f", "x")
        .start();
    for (path, status, what) in &cases {
        assert_eq!(server.get(&format!("{path}/f")).status(), *status, "{what}");
    }
    // Each of the two kinds of line once per refusal.
    let log = server.log();
    let lines = |path: &str| {
        log.lines()
            .filter(|line| {
                line.contains("access forbidden by rule") && line.contains(&format!("GET {path}/"))
            })
            .count()
    };
    let counts: Vec<usize> = cases.iter().map(|(path, ..)| lines(path)).collect();
    assert_eq!(counts, [0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 1]);
}

#[test]
fn unauthorized_waits() {
    let text = format!(
        "server {{ listen 127.0.0.1:%%PORT%%; {ASKED} auth_delay 300ms; error_log error.log info;
           location /401/ {{ auth_request /no; alias %%DIR%%/www/; }}
           location /403/ {{ auth_request /never; alias %%DIR%%/www/; }}
           location /200/ {{ auth_request /yes; alias %%DIR%%/www/; }} }}"
    );
    let server = Setup::http(&text).file("www/f", "x").start();
    for (status, waits) in [(401, true), (403, false), (200, false)] {
        let begun = std::time::Instant::now();
        assert_eq!(server.get(&format!("/{status}/f")).status(), status);
        assert!(!waits || begun.elapsed().as_millis() >= 300, "{status}: {:?}", begun.elapsed());
    }
    server.wait_log("delaying unauthorized request, client: 127.0.0.1");
    // Who leaves meanwhile is not waited for.
    let mut client = server.client();
    client.send("GET /401/gone HTTP/1.1\r\nHost: a\r\n\r\n");
    drop(client);
    server.wait_log("client prematurely closed connection, client: 127.0.0.1");
}
