//! `proxy_pass https://`: TLS to upstreams. The upstream is another server of the same configuration,
//! which passes some requests on to a scripted one.

use crate::harness::*;
use crate::tls_client::*;
use std::net::TcpListener;

/// The upstream that most tests ask: what it knows of the handshake is in fields of its answers.
const UP: &str = "server { listen 127.0.0.1:%%PORT_1%% ssl; listen unix:%%DIR%%/up.sock ssl; server_name up;
    ssl_certificate host.pem; ssl_certificate_key host.key; client_max_body_size 10m;
    ssl_verify_client optional_no_ca; ssl_client_certificate root.pem;
    add_header X-Session $ssl_session_reused; add_header X-Name \"<$ssl_server_name>\";
    add_header X-Spoken \"$ssl_protocol $ssl_cipher\";
    add_header X-Client \"$ssl_client_verify $ssl_client_s_dn\"; add_header X-Request $connection_requests;
    location / { return 200 \"$scheme $http_host\"; }
    location /behind { proxy_pass http://%%BEHIND%%; proxy_request_buffering off; early_hints $http_early;
        proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection; } }";

fn setup(conf: &str) -> Setup {
    let (host, client) = (authority().sign("host.example"), authority().sign("gateway"));
    let both = format!("{}{}", authority().revoke(&[]), authority().pem);
    Setup::http(&format!("{conf} {UP}"))
        .file("host.pem", &host.pem)
        .file("host.key", &host.key)
        .file("client.pem", &client.pem)
        .file("client.key", &client.key)
        .file("root.pem", &authority().pem)
        .file("other.pem", &Authority::new("other").pem)
        .file("none.crl", &both)
        .file("revoked.crl", authority().revoke(&[0x1b]))
        .put("BEHIND", "127.0.0.1:1")
}

/// A gateway with these locations.
fn gateway(locations: &str) -> Setup {
    setup(&format!("server {{ listen 127.0.0.1:%%PORT%%; {locations} }}"))
}

fn field(server: &Server, target: &str, name: &str) -> String {
    server.get(target).get(name).unwrap_or("none").to_owned()
}

#[test]
fn requests_are_passed_on() {
    let conf = "log_format up '$upstream_status $upstream_connect_time $proxy_host $proxy_port';
        server { listen 127.0.0.1:%%PORT%%; access_log up.log up;
            location / { proxy_pass https://127.0.0.1:%%PORT_1%%; }
            location /unix/ { proxy_pass HTTPS://unix:%%DIR%%/up.sock:/; }
            location /none { proxy_pass https://127.0.0.9; } }";
    let server = setup(conf).start();
    let port = server.value("PORT_1").to_owned();
    assert_eq!(server.get("/").text(), format!("https 127.0.0.1:{port}"));
    assert_eq!(server.get("/unix/").text(), "https localhost");
    assert_eq!(server.get("/none").status(), 502);
    let lines = server.wait_lines("up.log", 3);
    assert!(lines[0].starts_with("200 0.") && lines[0].ends_with(&format!("127.0.0.1:{port} {port}")));
    assert!(lines[1].starts_with("200 0."), "{}", lines[1]);
    assert_eq!(lines[2], "502 - 127.0.0.9 443");
    server.wait_log("upstream: \"https://127.0.0.9:443/none\"");
    assert!(field(&server, "/", "x-spoken").starts_with("TLSv1.3 TLS_"));
    assert_eq!(field(&server, "/", "x-name"), "<>");
    assert_eq!(field(&server, "/", "x-client"), "NONE");
}

#[test]
fn versions_and_suites_are_those_of_the_configuration() {
    let server = gateway(
        "proxy_ssl_protocols TLSv1.2; proxy_ssl_session_reuse off;
         location / { proxy_pass https://127.0.0.1:%%PORT_1%%; }
         location /suite { proxy_pass https://127.0.0.1:%%PORT_1%%;
             proxy_ssl_ciphers ECDHE-ECDSA-CHACHA20-POLY1305; }
         location /new { proxy_pass https://127.0.0.1:%%PORT_1%%; proxy_ssl_protocols TLSv1.3; }",
    )
    .start();
    assert!(field(&server, "/", "x-spoken").starts_with("TLSv1.2 ECDHE-ECDSA-"));
    assert_eq!(field(&server, "/suite", "x-spoken"), "TLSv1.2 ECDHE-ECDSA-CHACHA20-POLY1305");
    assert!(field(&server, "/new", "x-spoken").starts_with("TLSv1.3 "));
}

#[test]
fn large_bodies_pass_both_ways() {
    let behind = Upstream::new(|origin| {
        while let Some(request) = origin.request() {
            origin.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len()));
            origin.send(&request.body);
        }
    });
    let big: Vec<u8> = (0..2_000_000u32).map(|n| (n * 7 % 251) as u8).collect();
    for more in ["", "proxy_request_buffering off;", "proxy_buffering off;", "proxy_ssl_protocols TLSv1.2;"] {
        let server = gateway(&format!(
            "client_max_body_size 10m; location / {{ proxy_pass https://127.0.0.1:%%PORT_1%%; {more} }}"
        ))
        .put("BEHIND", behind.address())
        .start();
        let mut client = server.client();
        client.send(format!("POST /behind HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", big.len()));
        client.send(&big);
        assert!(client.recv().body == big, "{more}");
        client.send("POST /behind HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        for piece in ["1\r\na\r\n", "2\r\nbc\r\n", "0\r\n\r\n"] {
            pause(20);
            client.send(piece);
        }
        assert_eq!(client.recv().text(), "abc", "{more}");
    }
}

#[test]
fn sessions_go_on() {
    let server = gateway(
        "location / { proxy_pass https://127.0.0.1:%%PORT_1%%; }
         location /old { proxy_pass https://127.0.0.1:%%PORT_1%%; proxy_ssl_protocols TLSv1.2; }
         location /off { proxy_pass https://127.0.0.1:%%PORT_1%%; proxy_ssl_session_reuse off; }",
    )
    .start();
    for (target, later) in [("/", "r"), ("/old", "r"), ("/off", ".")] {
        let seen: Vec<_> = (0..4).map(|_| field(&server, target, "x-session")).collect();
        assert_eq!(seen, [".", later, later, later], "{target}");
    }
}

#[test]
fn connections_are_kept() {
    let server = setup(
        "upstream up { server 127.0.0.1:%%PORT_1%%; keepalive 4; }
         server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass https://up; } }",
    )
    .start();
    let seen: Vec<_> = (0..3).map(|_| field(&server, "/", "x-request")).collect();
    assert_eq!(seen, ["1", "2", "3"]);
}

#[test]
fn connections_of_different_settings_are_kept_apart() {
    if !only_octroi("nginx takes any connection to the peer") {
        return;
    }
    let server = setup(
        "upstream up { server 127.0.0.1:%%PORT_1%%; keepalive 8; } proxy_ssl_server_name on;
         server { listen 127.0.0.1:%%PORT%%; location /one { proxy_pass https://up; proxy_ssl_name one.example; }
             location /two { proxy_pass https://up; proxy_ssl_name two.example; }
             location /name { proxy_pass https://up; proxy_ssl_name $arg_n; }
             location /bare { proxy_pass https://up; proxy_ssl_server_name off; }
             location /who { proxy_pass https://up; proxy_ssl_name one.example; proxy_ssl_certificate client.pem;
                 proxy_ssl_certificate_key client.key; }
             location /sure { proxy_pass https://up; proxy_ssl_name one.example; proxy_ssl_verify on;
                 proxy_ssl_trusted_certificate root.pem; } }",
    )
    .start();
    for round in 1..=3 {
        for (target, name) in [
            ("/one", "<one.example>"),
            ("/two", "<two.example>"),
            ("/name?n=a.example", "<a.example>"),
            ("/name?n=b.example:81", "<b.example>"),
            ("/bare", "<>"),
            ("/who", "<one.example>"),
        ] {
            let answer = server.get(target);
            assert_eq!(answer.get("x-name"), Some(name), "{target}");
            assert_eq!(answer.get("x-request"), Some(round.to_string().as_str()), "{target}");
            let client = if target == "/who" { "SUCCESS CN=gateway,O=Octroi" } else { "NONE" };
            assert_eq!(answer.get("x-client").map(str::trim), Some(client), "{target}");
        }
        assert_eq!(server.get("/sure").status(), 502);
    }
}

#[test]
fn names_are_sent() {
    let server = setup(
        "upstream up { server 127.0.0.1:%%PORT_1%%; } proxy_ssl_server_name on; proxy_ssl_session_reuse off;
         server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass https://up; }
             location /ip { proxy_pass https://127.0.0.1:%%PORT_1%%; }
             location /port { proxy_pass https://up; proxy_ssl_name up.example:123; }
             location /six { proxy_pass https://up; proxy_ssl_name [::1]:81; }
             location /empty { proxy_pass https://up; proxy_ssl_name $arg_none; }
             location /url { proxy_pass https://$arg_host/; } }",
    )
    .start();
    for (target, want) in [
        ("/", "<up>"),
        ("/ip", "<>"),
        ("/port", "<up.example>"),
        ("/six", "<>"),
        ("/empty", "<>"),
        ("/url?host=up", "<up>"),
    ] {
        assert_eq!(field(&server, target, "x-name"), want, "{target}");
    }
}

#[test]
fn the_scheme_may_be_a_variable() {
    let plain = Upstream::ok("plain");
    let server = gateway("location / { proxy_pass $arg_scheme://127.0.0.1:$arg_port; }").start();
    let port = server.value("PORT_1").to_owned();
    assert!(server.get(&format!("/?scheme=https&port={port}")).text().starts_with("https "));
    let port = plain.address().rsplit(':').next().unwrap();
    assert_eq!(server.get(&format!("/?scheme=http&port={port}")).text(), "plain");
    assert_eq!(server.get("/?scheme=ftp&port=1").status(), 500);
    server.wait_log("invalid URL prefix in \"ftp://127.0.0.1:1\"");
}

#[test]
fn upstreams_are_verified() {
    // nginx lets sessions go on that were made under other settings, and does not verify them.
    let reuse = if program().is_octroi() { "on" } else { "off" };
    let server = gateway(
        "proxy_ssl_verify on; proxy_ssl_trusted_certificate root.pem; proxy_ssl_name host.example;
         proxy_ssl_session_reuse %%REUSE%%;
         location / { proxy_pass https://127.0.0.1:%%PORT_1%%; }
         location /name { proxy_pass https://127.0.0.1:%%PORT_1%%; proxy_ssl_name other.example; }
         location /url { proxy_pass https://127.0.0.1:%%PORT_1%%; proxy_ssl_name $proxy_host; }
         location /stranger { proxy_pass https://127.0.0.1:%%PORT_1%%; proxy_ssl_trusted_certificate other.pem; }
         location /off { proxy_pass https://127.0.0.1:%%PORT_1%%; proxy_ssl_trusted_certificate other.pem;
             proxy_ssl_verify off; }
         location /list { proxy_pass https://127.0.0.1:%%PORT_1%%; proxy_ssl_crl none.crl; }
         location /revoked { proxy_pass https://127.0.0.1:%%PORT_1%%; proxy_ssl_crl revoked.crl; }",
    )
    .put("REUSE", reuse)
    .start();
    for (target, status) in [
        ("/", 200),
        ("/name", 502),
        ("/url", 502),
        ("/stranger", 502),
        ("/off", 200),
        ("/list", 200),
        ("/revoked", 502),
    ] {
        // The second time with the session of the first.
        for _ in 0..2 {
            assert_eq!(server.get(target).status(), status, "{target}");
        }
    }
    let handshaking = "while SSL handshaking to upstream, client: 127.0.0.1";
    for words in [
        "upstream SSL certificate does not match \"other.example\"",
        "upstream SSL certificate does not match \"127.0.0.1\"",
        "upstream SSL certificate verify error: (21:unable to verify the first certificate)",
        "upstream SSL certificate verify error: (23:certificate revoked)",
    ] {
        server.wait_log(&format!("{words} {handshaking}"));
    }
}

#[test]
fn chains_have_a_length() {
    let middle = authority().below("middle");
    let low = middle.below("low");
    let host = low.sign("host.example");
    let server = gateway(
        "proxy_ssl_verify on; proxy_ssl_trusted_certificate root.pem; proxy_ssl_name host.example;
         location / { proxy_pass https://127.0.0.1:%%PORT_1%%; }
         location /two { proxy_pass https://127.0.0.1:%%PORT_1%%; proxy_ssl_verify_depth 2; }",
    )
    .file("host.pem", host.pem.clone() + &low.pem + &middle.pem)
    .file("host.key", &host.key)
    .start();
    assert_eq!((server.get("/").status(), server.get("/two").status()), (502, 200));
}

#[test]
fn upstreams_are_shown_a_certificate() {
    let text = authority().sign("in-line");
    let server = gateway(&format!(
        "proxy_ssl_certificate client.pem; proxy_ssl_certificate_key client.key; proxy_ssl_session_reuse off;
         location / {{ proxy_pass https://127.0.0.1:%%PORT_1%%; }}
         location /old {{ proxy_pass https://127.0.0.1:%%PORT_1%%; proxy_ssl_protocols TLSv1.2; }}
         location /none {{ proxy_pass https://127.0.0.1:%%PORT_1%%; proxy_ssl_certificate ''; }}
         location /text {{ proxy_pass https://127.0.0.1:%%PORT_1%%; proxy_ssl_certificate \"data:{}\";
             proxy_ssl_certificate_key \"data:{}\"; }}",
        text.pem, text.key
    ))
    .start();
    assert_eq!(field(&server, "/", "x-client"), "SUCCESS CN=gateway,O=Octroi");
    assert_eq!(field(&server, "/old", "x-client"), "SUCCESS CN=gateway,O=Octroi");
    assert_eq!(field(&server, "/none", "x-client").trim(), "NONE");
    assert_eq!(field(&server, "/text", "x-client"), "SUCCESS CN=in-line,O=Octroi");
}

#[test]
fn an_encrypted_key_is_opened() {
    let conf = "location / { proxy_pass https://127.0.0.1:%%PORT_1%%; proxy_ssl_password_file phrases;
        proxy_ssl_certificate sealed.pem; proxy_ssl_certificate_key sealed.key; }";
    let sealed = |phrases: &str| {
        gateway(conf)
            .file("sealed.pem", include_str!("tls/sealed.pem"))
            .file("sealed.key", include_str!("tls/sealed.key"))
            .file("phrases", phrases)
    };
    let server = sealed("wrong\nsecret\n").start();
    assert!(field(&server, "/", "x-client").starts_with("FAILED:"));
    assert!(sealed("wrong\n").refused().contains("cannot load certificate key \""));
}

#[test]
fn certificates_may_be_named_by_variables() {
    let other = authority().sign("other");
    let server = gateway(
        "proxy_ssl_certificate $arg_c.pem; proxy_ssl_certificate_key $arg_c.key; proxy_ssl_session_reuse off;
         location / { proxy_pass https://127.0.0.1:%%PORT_1%%; }
         location /kept { proxy_pass https://127.0.0.1:%%PORT_1%%; proxy_ssl_certificate_cache max=4 valid=1h inactive=1h; }
         location /none { proxy_pass https://127.0.0.1:%%PORT_1%%; proxy_ssl_certificate $arg_c; }
         location /sealed { proxy_pass https://127.0.0.1:%%PORT_1%%; proxy_ssl_password_file phrases;
             proxy_ssl_certificate tls/$arg_c.pem; proxy_ssl_certificate_key tls/$arg_c.key; }",
    )
    .file("other.pem", &other.pem)
    .file("other.key", &other.key)
    .file("tls/sealed.pem", include_str!("tls/sealed.pem"))
    .file("tls/sealed.key", include_str!("tls/sealed.key"))
    .file("phrases", "wrong\nsecret\n")
    .start();
    for target in ["/", "/kept", "/kept"] {
        for (name, want) in
            [("client", "SUCCESS CN=gateway,O=Octroi"), ("other", "SUCCESS CN=other,O=Octroi")]
        {
            assert_eq!(field(&server, &format!("{target}?c={name}"), "x-client"), want, "{target}");
        }
    }
    assert_eq!(field(&server, "/none", "x-client").trim(), "NONE");
    assert!(field(&server, "/sealed?c=sealed", "x-client").starts_with("FAILED:"));
    // What is kept is not read again.
    std::fs::remove_file(server.path("other.key")).unwrap();
    assert_eq!(field(&server, "/kept?c=other", "x-client"), "SUCCESS CN=other,O=Octroi");
    assert_eq!(server.get("/?c=other").status(), 500);
    assert_eq!(server.get("/?c=missing").status(), 500);
    server.wait_log("cannot load certificate \"");
    server.wait_log("cannot load certificate key \"");
}

#[test]
fn sessions_go_on_for_the_same_certificate_only() {
    if !only_octroi("nginx has one session for each peer") {
        return;
    }
    let server = gateway(
        "location / { proxy_pass https://127.0.0.1:%%PORT_1%%; proxy_ssl_certificate $arg_c;
             proxy_ssl_certificate_key client.key; }",
    )
    .start();
    for (target, session) in
        [("/", "."), ("/?c=client.pem", "."), ("/", "r"), ("/?c=client.pem", "r"), ("/?c=client.pem", "r")]
    {
        let answer = server.get(target);
        assert_eq!(answer.get("x-session"), Some(session), "{target}");
        let want = if target == "/" { "NONE" } else { "SUCCESS CN=gateway,O=Octroi" };
        assert_eq!(answer.get("x-client").map(str::trim), Some(want), "{target}");
    }
}

#[test]
fn the_next_server_is_asked_when_a_handshake_fails() {
    let plain = Upstream::new(|origin| {
        let _ = origin.wire.take(5);
        origin.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        origin.gone();
    });
    let closed = Upstream::new(|origin| drop(origin.wire.take(5)));
    let conf = "log_format up '$upstream_status $upstream_connect_time'; upstream plain { server %%PLAIN%%;
            server 127.0.0.1:%%PORT_1%%; }
        upstream closed { server %%CLOSED%%; server 127.0.0.1:%%PORT_1%% backup; }
        server { listen 127.0.0.1:%%PORT%%; access_log up.log up; location /plain { proxy_pass https://plain; }
            location /closed { proxy_pass https://closed; }
            location /alone { proxy_pass https://%%PLAIN%%; } }";
    let server = setup(conf).put("PLAIN", plain.address()).put("CLOSED", closed.address()).start();
    for target in ["/plain", "/closed"] {
        assert!(server.get(target).text().starts_with("https "), "{target}");
    }
    assert_eq!(server.get("/alone").status(), 502);
    let lines = server.wait_lines("up.log", 3);
    assert!(lines[0].starts_with("502, 200 -, 0.") && lines[1].starts_with("502, 200 -, 0."), "{lines:?}");
    assert_eq!(lines[2], "502 -");
    server.wait_log("SSL_do_handshake() failed (SSL: ");
    server.wait_log("peer closed connection in SSL handshake");
    server.wait_log("while SSL handshaking to upstream");
}

#[test]
fn a_handshake_that_takes_too_long_is_a_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = gateway("proxy_connect_timeout 300ms; location / { proxy_pass https://%%SILENT%%; }")
        .put("SILENT", silent.local_addr().unwrap())
        .start();
    assert_eq!(server.get("/").status(), 504);
    server.wait_log("upstream timed out (110: Connection timed out) while SSL handshaking to upstream");
}

#[test]
fn tunnels_and_early_hints_pass() {
    let behind = Upstream::new(|origin| {
        let request = origin.request().unwrap();
        if request.get("upgrade").is_none() {
            origin.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
            origin.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
            return;
        }
        origin.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello");
        while let Ok(bytes) = origin.wire.take(4) {
            origin.send(&bytes);
            if bytes == b"stop" {
                return;
            }
        }
    });
    let server = gateway(
        "early_hints $http_early;
         location / { proxy_pass https://127.0.0.1:%%PORT_1%%; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection; }",
    )
    .put("BEHIND", behind.address())
    .start();
    let mut client = server.client();
    if since("1.29", "early hints") {
        client.send("GET /behind HTTP/1.1\r\nHost: a\r\nEarly: 1\r\n\r\n");
        assert!(client.take_until("\r\n\r\n").unwrap().starts_with("HTTP/1.1 103 "));
        assert_eq!(client.recv().text(), "ok");
    }
    let mut client = server.client();
    client.send("GET /behind HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
    assert!(client.take_until("\r\n\r\n").unwrap().starts_with("HTTP/1.1 101 "));
    assert_eq!(client.take(5).unwrap(), b"hello");
    for word in ["ping", "pong", "stop"] {
        client.send(word);
        assert_eq!(client.take(4).unwrap(), word.as_bytes());
    }
    client.assert_closed();
}

#[test]
fn a_reload_takes_other_certificates() {
    let server = gateway(
        "proxy_ssl_verify on; proxy_ssl_trusted_certificate trusted.pem; proxy_ssl_name host.example;
         proxy_ssl_certificate client.pem; proxy_ssl_certificate_key client.key;
         location / { proxy_pass https://127.0.0.1:%%PORT_1%%; }",
    )
    .file("trusted.pem", &authority().pem)
    .start();
    assert_eq!(field(&server, "/", "x-client"), "SUCCESS CN=gateway,O=Octroi");
    let replace = |name: &str, text: &str| {
        server.write("new", text);
        std::fs::rename(server.path("new"), server.path(name)).unwrap();
    };
    let other = authority().sign("another");
    replace("client.pem", &other.pem);
    replace("client.key", &other.key);
    server.reload();
    eventually("the new certificate", || field(&server, "/", "x-client") == "SUCCESS CN=another,O=Octroi");
    replace("trusted.pem", &Authority::new("other").pem);
    server.reload();
    eventually("the new trust", || server.get("/").status() == 502);
}

#[test]
fn what_is_wrong_is_refused() {
    for (conf, want) in [
        (
            "proxy_ssl_certificate client.pem;",
            "no \"proxy_ssl_certificate_key\" is defined for certificate \"client.pem\"",
        ),
        (
            "proxy_ssl_certificate none.pem; proxy_ssl_certificate_key client.key;",
            "cannot load certificate \"",
        ),
        ("proxy_ssl_certificate client.pem; proxy_ssl_certificate_key host.key;", "key values mismatch"),
        ("proxy_ssl_verify on;", "no proxy_ssl_trusted_certificate for proxy_ssl_verify"),
        (
            "proxy_ssl_certificate_cache valid=1m;",
            "\"proxy_ssl_certificate_cache\" must have the \"max\" parameter",
        ),
        ("proxy_ssl_certificate_cache max=0;", "invalid parameter \"max=0\""),
        ("proxy_ssl_certificate_cache max=1 inactive=x;", "invalid parameter \"inactive=x\""),
        ("proxy_ssl_protocols TLSv9;", "invalid value \"TLSv9\""),
    ] {
        let refused =
            gateway(&format!("location / {{ proxy_pass https://127.0.0.1:%%PORT_1%%; {conf} }}")).refused();
        assert!(refused.contains(want), "{conf}: {refused}");
    }
    // Files that nothing needs are not looked for.
    let unused = "proxy_ssl_certificate none.pem; proxy_ssl_verify on; location / { return 200; }
        location /http { proxy_pass http://127.0.0.1:1; }";
    assert_eq!(gateway(unused).start().get("/").status(), 200);
}
