//! TLS for clients: handshakes, sessions, certificates, and what a request on them has to keep to.

use crate::harness::*;
use crate::tls_client::*;
use rustls::ClientConnection;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A server block's beginning: it listens with a certificate.
const LISTEN: &str = "listen 127.0.0.1:%%PORT%% ssl; ssl_certificate host.pem; ssl_certificate_key host.key;";

fn setup(conf: &str) -> Setup {
    let host = authority().sign("host");
    Setup::http(conf)
        .file("host.pem", &host.pem)
        .file("host.key", &host.key)
        .file("root.pem", &authority().pem)
}

fn server(conf: &str) -> Server {
    setup(&format!("server {{ {LISTEN} {conf} }}")).start()
}

#[test]
fn a_request_is_served_and_the_end_is_announced() {
    let server =
        server("return 200 \"$scheme $https $ssl_protocol $ssl_cipher $ssl_server_name $server_port\";");
    let port = server.port();
    assert_eq!(
        Client::new().body(port, "host.example", "/"),
        format!("https on TLSv1.3 TLS_AES_256_GCM_SHA384 host.example {port}")
    );
    assert_eq!(
        Client::old().body(port, "host.example", "/"),
        format!("https on TLSv1.2 ECDHE-ECDSA-AES256-GCM-SHA384 host.example {port}")
    );
    let mut tls = Client::new().connect(port, "host").unwrap();
    tls.send("GET / HTTP/1.0\r\n\r\n");
    let (answer, announced) = tls.rest();
    assert!(answer.ends_with(format!("TLS_AES_256_GCM_SHA384 host {port}").as_bytes()) && announced);
}

#[test]
fn a_connection_serves_many_requests() {
    let server = server("location / { return 200 $connection_requests; }");
    for client in [Client::new(), Client::old()] {
        let mut tls = client.connect(server.port(), "host").unwrap();
        for number in 1..=5 {
            tls.send("GET / HTTP/1.1\r\nHost: host\r\n\r\n");
            assert!(tls.until("\r\n\r\n").contains("keep-alive"));
            assert_eq!(tls.take(1), number.to_string().as_bytes());
        }
        // Two in one record.
        tls.send(
            "GET / HTTP/1.1\r\nHost: host\r\n\r\nGET / HTTP/1.1\r\nHost: host\r\nConnection: close\r\n\r\n",
        );
        let (rest, announced) = tls.rest();
        assert!(rest.ends_with(b"7") && announced);
    }
}

#[test]
fn large_bodies_go_both_ways() {
    let upstream = Upstream::echo();
    let big: Vec<u8> = (0..3_000_000u32).map(|n| (n * 7 % 251) as u8).collect();
    let server = setup(&format!(
        "server {{ {LISTEN} client_max_body_size 10m; root %%DIR%%; location /up {{ proxy_pass http://%%UP%%; }} location / {{ }} }}"
    ))
    .put("UP", upstream.address())
    .file("big", &big)
    .start();
    for client in [Client::new(), Client::old()] {
        let mut tls = client.connect(server.port(), "host").unwrap();
        tls.send(format!("POST /up HTTP/1.1\r\nHost: host\r\nContent-Length: {}\r\n\r\n", big.len()));
        tls.send(&big);
        let head = tls.until("\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        tls.send("GET /big HTTP/1.1\r\nHost: host\r\nConnection: close\r\n\r\n");
        let (rest, announced) = tls.rest();
        assert!(announced && rest.ends_with(&big), "{} bytes", rest.len());
        let sent = upstream.last();
        assert_eq!(sent.body.len(), big.len());
        assert!(sent.body == big);
    }
}

#[test]
fn the_name_in_the_handshake_chooses_the_server() {
    let block = |name: &str, file: &str| {
        format!(
            "server {{ listen 127.0.0.1:%%PORT%% ssl; server_name {name}; ssl_certificate {file}.pem;
             ssl_certificate_key {file}.key; return 200 {file}; }}"
        )
    };
    let conf =
        [block("one.example", "one"), block("*.two.example", "two"), block("~^r[0-9]+\\.example$", "three")];
    let made = ["one", "two", "three"].map(|name| (name, authority().sign(name)));
    let mut setup = Setup::http(&conf.concat());
    for (name, made) in &made {
        setup = setup.file(&format!("{name}.pem"), &made.pem).file(&format!("{name}.key"), &made.key);
    }
    let server = setup.start();
    for (name, which) in [("one.example", 0), ("a.two.example", 1), ("R7.example", 2), ("other.example", 0)] {
        let mut tls = Client::new().connect(server.port(), name).unwrap();
        assert_eq!(tls.certificate(), made[which].1.chain[0].to_vec(), "{name}");
        tls.send(format!("GET / HTTP/1.0\r\nHost: {name}\r\n\r\n"));
        assert!(tls.rest().0.ends_with(made[which].0.as_bytes()), "{name}");
    }
}

#[test]
fn handshakes_are_rejected() {
    let server = setup(&format!(
        "server {{ listen 127.0.0.1:%%PORT%% ssl default_server; ssl_reject_handshake on; }}
         server {{ {LISTEN} server_name host; return 200 ok; }}"
    ))
    .start();
    assert_eq!(Client::new().body(server.port(), "host", "/"), "ok");
    let refused = Client::new().connect(server.port(), "other").err().unwrap();
    assert!(refused.contains("Unrecogni"), "{refused}");
}

#[test]
fn plain_http_on_a_tls_port() {
    let server = setup(&format!("server {{ {LISTEN} return 200 ok; }} server {{ listen 127.0.0.1:%%PORT_1%% ssl; ssl_certificate host.pem; ssl_certificate_key host.key; error_page 497 =301 https://$host/; }}")).start();
    let response = server.get("/");
    assert_eq!(response.status(), 400);
    assert!(response.text().contains("400 The plain HTTP request was sent to HTTPS port"));
    assert_eq!(response.get("connection"), Some("close"));
    let mut wire = server.client_of("PORT_1");
    wire.send("GET / HTTP/1.1\r\nHost: host\r\n\r\n");
    let response = wire.recv();
    assert_eq!((response.status(), response.get("location")), (301, Some("https://host/")));
}

#[test]
fn sessions_go_on() {
    let all = [
        ("", true),
        ("ssl_session_tickets off;", false),
        ("ssl_session_tickets off; ssl_session_cache shared:S:1m;", true),
        ("ssl_session_cache builtin;", true),
        ("ssl_session_timeout 0;", false),
    ];
    for (conf, goes_on) in all {
        if conf.contains("timeout 0") && !only_octroi("a session of no time") {
            continue;
        }
        let server = server(&format!("{conf} return 200 $ssl_session_reused;"));
        for client in [Client::new(), Client::old()] {
            assert_eq!(client.body(server.port(), "host", "/"), ".", "{conf}");
            if conf.contains("timeout 0") {
                pause(1100);
            }
            assert_eq!(client.body(server.port(), "host", "/"), if goes_on { "r" } else { "." }, "{conf}");
        }
    }
}

#[test]
fn sessions_go_on_over_a_reload() {
    let server = server("return 200 $ssl_session_reused;");
    let client = Client::new();
    assert_eq!(client.body(server.port(), "host", "/"), ".");
    if only_octroi("nginx keeps no keys of tickets over a reload without a shared cache") {
        server.reload();
        pause(200);
        assert_eq!(client.body(server.port(), "host", "/"), "r");
    }
}

#[test]
fn a_reload_takes_a_new_certificate() {
    let server = server("return 200 ok;");
    let before = Client::new().connect(server.port(), "host").unwrap().certificate();
    let made = authority().sign("other");
    for (name, text) in [("host.pem", &made.pem), ("host.key", &made.key)] {
        // Another file in its place, as those who renew certificates make it: nginx goes by the inode.
        server.write("new", text);
        std::fs::rename(server.path("new"), server.path(name)).unwrap();
    }
    let mut open = Client::new().connect(server.port(), "host").unwrap();
    open.send("GET / HTTP/1.1\r\nHost: host\r\n\r\n");
    open.until("ok");
    server.reload();
    eventually("the new certificate", || {
        let now = Client::new().connect(server.port(), "host").unwrap().certificate();
        now != before && now == made.chain[0].to_vec()
    });
}

#[test]
fn versions_and_suites_are_limited() {
    let new = server("ssl_protocols TLSv1.3; return 200 ok;");
    assert!(Client::old().connect(new.port(), "host").is_err());
    assert_eq!(Client::new().body(new.port(), "host", "/"), "ok");
    let old = server(
        "ssl_protocols TLSv1.2; ssl_ciphers EECDH+CHACHA20; return 200 \"$ssl_protocol $ssl_cipher\";",
    );
    assert_eq!(Client::new().body(old.port(), "host", "/"), "TLSv1.2 ECDHE-ECDSA-CHACHA20-POLY1305");
    let curve = server("ssl_ecdh_curve prime256v1; return 200 \"$ssl_curve $ssl_alpn_protocol\";");
    assert_eq!(Client::new().body(curve.port(), "host", "/"), "prime256v1 ");
}

#[test]
fn clients_show_certificates() {
    let variables = "$ssl_client_verify:$ssl_client_s_dn:$ssl_client_i_dn:$ssl_client_serial";
    let conf = |mode: &str| {
        format!(
            "server {{ {LISTEN} server_name host; ssl_verify_client {mode}; ssl_client_certificate root.pem;
             return 200 \"{variables}\"; }}"
        )
    };
    let (known, stranger) = (authority().sign("anna"), Authority::new("elsewhere").sign("eve"));
    let anna = "SUCCESS:CN=anna,O=Octroi:CN=root:0A1B";
    let eve = "FAILED:unable to verify the first certificate:CN=eve,O=Octroi:CN=elsewhere:0A1B";
    let wrong = "400 The SSL certificate error";
    let missing = "400 No required SSL certificate was sent";
    for (mode, none, bad) in
        [("on", missing, wrong), ("optional", "NONE:::", wrong), ("optional_no_ca", "NONE:::", eve)]
    {
        let server = setup(&conf(mode)).start();
        let get = |client: Client| client.body(server.port(), "host", "/");
        assert!(get(Client::presenting(&known)).contains(anna), "{mode}");
        assert!(get(Client::new()).contains(none), "{mode}");
        let answer = get(Client::presenting(&stranger));
        assert!(answer.contains(bad), "{mode}: {answer}");
    }
}

#[test]
fn a_clients_certificate_is_passed_on() {
    let server = setup(&format!(
        "server {{ {LISTEN} ssl_verify_client optional_no_ca;
         location /raw {{ return 200 $ssl_client_raw_cert; }} location /tabs {{ return 200 $ssl_client_cert; }}
         location /escaped {{ return 200 $ssl_client_escaped_cert; }}
         location /facts {{ return 200 \"$ssl_client_s_dn_legacy $ssl_client_v_end\"; }} }}"
    ))
    .start();
    let made = authority().sign("anna");
    let client = Client::presenting(&made);
    let pem = made.pem.replace("\r\n", "\n");
    let body = |target: &str| client.body(server.port(), "host", target);
    assert_eq!(body("/raw"), pem);
    assert_eq!(body("/tabs"), pem.trim_end().replace('\n', "\n\t"));
    let escaped = body("/escaped").replace("%20", " ").replace("%0A", "\n").replace("%2B", "+");
    assert_eq!(escaped.replace("%2F", "/").replace("%3D", "="), pem);
    assert!(body("/facts").starts_with("/O=Octroi/CN=anna ") && body("/facts").ends_with(" GMT"));
}

#[test]
fn a_host_must_be_that_of_the_handshake_where_clients_are_verified() {
    let server = setup(&format!(
        "server {{ {LISTEN} server_name open; return 200 open; }}
         server {{ {LISTEN} server_name closed; ssl_verify_client on; ssl_client_certificate root.pem; return 200 closed; }}"
    ))
    .start();
    let made = authority().sign("anna");
    assert_eq!(Client::presenting(&made).body(server.port(), "closed", "/"), "closed");
    let ask = |name: &str, host: &str| {
        let mut tls = Client::presenting(&made).connect(server.port(), name).unwrap();
        tls.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
        String::from_utf8_lossy(&tls.rest().0).into_owned()
    };
    assert!(ask("open", "closed").starts_with("HTTP/1.1 421 "));
    assert!(ask("closed", "open").ends_with("open"));
    // Without a name of its own in the handshake, the host's server judges.
    assert!(ask("unknown", "closed").contains("400 No required SSL certificate was sent"));
}

#[test]
fn chains_have_a_length_and_certificates_are_revoked() {
    let root = Authority::new("root");
    let middle = root.below("middle");
    let low = middle.below("low");
    let with = |authority: &Authority, between: &[&Authority]| {
        let mut made = authority.sign("anna");
        let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        made.chain.extend(between.iter().map(|one| der(&one.pem)));
        Client::presenting(&made)
    };
    let conf = |more: &str| {
        format!(
            "server {{ {LISTEN} ssl_verify_client optional_no_ca; ssl_client_certificate root.pem; {more}
             error_page 495 /wrong; location / {{ return 200 $ssl_client_verify; }} }}"
        )
    };
    let ask = |more: &str, client: Client| {
        let server = setup(&conf(more)).file("root.pem", &root.pem).file("lists.pem", {
            format!("{}{}{}", root.revoke(&[]), middle.revoke(&[0x1b]), low.revoke(&[]))
        });
        client.body(server.start().port(), "host", "/")
    };
    assert_eq!(ask("", with(&root, &[])), "SUCCESS");
    assert_eq!(ask("", with(&middle, &[&middle])), "SUCCESS");
    assert_eq!(ask("", with(&low, &[&low, &middle])), "FAILED:unable to get local issuer certificate");
    assert_eq!(ask("ssl_verify_depth 2;", with(&low, &[&low, &middle])), "SUCCESS");
    assert_eq!(ask("ssl_crl lists.pem;", with(&root, &[])), "SUCCESS");
    assert_eq!(ask("ssl_crl lists.pem;", with(&middle, &[&middle])), "FAILED:certificate revoked");
}

#[test]
fn records_are_as_large_as_wanted_and_suites_in_the_servers_order() {
    let server = server(
        "ssl_buffer_size 1k; ssl_prefer_server_ciphers on; ssl_protocols TLSv1.2;
        ssl_ciphers ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256; root %%DIR%%;
        location = /c { return 200 $ssl_cipher; }",
    );
    server.write("big", vec![b'x'; 10_000]);
    assert_eq!(Client::old().body(server.port(), "host", "/c"), "ECDHE-ECDSA-CHACHA20-POLY1305");
    let mut tls = Client::old().connect(server.port(), "host").unwrap();
    tls.send("GET /big HTTP/1.0\r\n\r\n");
    // The records themselves: five bytes of head, of which the last two are the length.
    let mut all = Vec::new();
    tls.socket.read_to_end(&mut all).unwrap();
    let mut rest = all.as_slice();
    let mut records = 0;
    while let [_, _, _, high, low, behind @ ..] = rest {
        let length = usize::from(*high) << 8 | usize::from(*low);
        assert!(length <= 1024 + 64, "{length}");
        rest = &behind[length..];
        records += 1;
    }
    assert!(records >= 10, "{records}");
}

#[test]
fn an_answer_of_a_responder_is_stapled() {
    let server =
        setup(&format!("server {{ {LISTEN} ssl_stapling on; ssl_stapling_file ocsp.der; return 200 ok; }}"))
            .file("ocsp.der", [0x30, 3, 0x0a, 1, 6]);
    if only_octroi("nginx wants the answer to be well-formed") {
        assert_eq!(Client::new().body(server.start().port(), "host", "/"), "ok");
    }
}

#[test]
fn redirects_stay_encrypted() {
    let server = server("location /x/ { proxy_pass http://127.0.0.1:1; } location /r { return 301 /there; }");
    let port = server.port();
    assert!(
        Client::new()
            .get(port, "host", "/r")
            .contains(&format!("\r\nLocation: https://host:{port}/there\r\n"))
    );
}

#[test]
fn what_is_no_handshake_ends() {
    let server = server("client_header_timeout 200ms; return 200 ok;");
    let mut garbage = server.client();
    garbage.send(b"\x16\x03\x01\xff\xffgarbage that is no handshake at all");
    garbage.send(vec![b'x'; 2000]);
    garbage.rest();
    let mut slow = server.client();
    slow.send(b"\x16\x03\x01\x02\x00");
    slow.assert_closed();
    server.client().half_close();
    assert_eq!(Client::new().body(server.port(), "host", "/"), "ok");
}

#[test]
fn what_is_cut_is_not_announced_as_whole() {
    let upstream = Upstream::once("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
    let server = setup(&format!("server {{ {LISTEN} location / {{ proxy_pass http://%%UP%%; }} }}"))
        .put("UP", upstream.address())
        .start();
    let mut tls = Client::new().connect(server.port(), "host").unwrap();
    tls.send("GET / HTTP/1.1\r\nHost: host\r\n\r\n");
    let (answer, announced) = tls.rest();
    assert!(answer.ends_with(b"only this"));
    if only_octroi("nginx announces the end even so") {
        assert!(!announced);
    }
}

#[test]
fn a_client_that_leaves_is_noticed_while_the_upstream_thinks() {
    let upstream = Upstream::new(|origin| {
        origin.request();
        origin.wait_release();
    });
    let server = setup(&format!("server {{ {LISTEN} location / {{ proxy_pass http://%%UP%%; }} }}"))
        .put("UP", upstream.address())
        .start();
    let mut tls = Client::new().connect(server.port(), "host").unwrap();
    tls.send("GET / HTTP/1.1\r\nHost: host\r\n\r\n");
    upstream.wait_requests(1);
    tls.tls.send_close_notify();
    let _ = tls.tls.complete_io(&mut tls.socket);
    drop(tls);
    eventually("the request's end", || server.access_log().contains(" 499 "));
    upstream.release();
}

#[test]
fn a_file_of_ticket_keys_is_shared() {
    let conf = format!("server {{ {LISTEN} ssl_session_ticket_key t.key; return 200 $ssl_session_reused; }}");
    let made = authority().sign("host");
    let start = || {
        Setup::http(&conf)
            .file("host.pem", &made.pem)
            .file("host.key", &made.key)
            .file("t.key", [7; 80])
            .start()
    };
    let server = start();
    let client = Client::new();
    assert_eq!(client.body(server.port(), "host", "/"), ".");
    if only_octroi("its tickets hold the settings they were made under") {
        let again = start();
        assert_eq!(client.body(again.port(), "host", "/"), "r");
    }
}

#[test]
fn a_proxys_header_comes_before_the_handshake() {
    let server = setup(
        "server { listen 127.0.0.1:%%PORT%% ssl proxy_protocol; ssl_certificate host.pem; ssl_certificate_key host.key;
         return 200 $proxy_protocol_addr; }",
    )
    .start();
    let mut socket = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.write_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n").unwrap();
    let name = ServerName::try_from("host").unwrap();
    let tls = ClientConnection::new(Client::new().0, name).unwrap();
    let mut tls = Tls { socket, tls };
    tls.send("GET / HTTP/1.0\r\n\r\n");
    assert!(tls.rest().0.ends_with(b"192.0.2.1"));
}

#[test]
fn what_is_wrong_is_said() {
    let check = |conf: &str| setup(&format!("server {{ listen 127.0.0.1:%%PORT%% ssl; {conf} }}")).refused();
    let pair = "ssl_certificate host.pem; ssl_certificate_key host.key;";
    let refused = check("");
    assert!(
        refused.starts_with("[emerg] no \"ssl_certificate\" is defined for the \"listen ... ssl\" directive in DIR/nginx.conf:"),
        "{refused}"
    );
    for (conf, want) in [
        ("ssl_certificate host.pem;", "no \"ssl_certificate_key\" is defined for certificate \""),
        (
            "ssl_certificate none.pem; ssl_certificate_key host.key;",
            "cannot load certificate \"DIR/none.pem\": ",
        ),
        (
            "ssl_certificate host.pem; ssl_certificate_key none.key;",
            "cannot load certificate key \"DIR/none.key\": ",
        ),
        (
            "ssl_certificate host.key; ssl_certificate_key host.key;",
            "cannot load certificate \"DIR/host.key\": ",
        ),
        (
            "ssl_certificate root.pem; ssl_certificate_key host.key;",
            "SSL_CTX_use_PrivateKey(\"DIR/host.key\") failed",
        ),
    ] {
        let refused = check(conf);
        assert!(refused.contains(want), "{conf}: {refused}");
    }
    for (conf, want) in [
        (
            "ssl_verify_client on;",
            "no ssl_client_certificate or ssl_trusted_certificate for ssl_verify_client",
        ),
        ("ssl_verify_client maybe;", "invalid value \"maybe\""),
        ("ssl_protocols TLSv9;", "invalid value \"TLSv9\""),
        ("ssl_session_cache shared:x:1k;", "session cache \"shared:x:1k\" is too small"),
        ("ssl_session_cache shared:x;", "invalid session cache \"shared:x\""),
        ("ssl_session_ticket_key host.key;", "must be 48 or 80 bytes"),
    ] {
        let refused = check(&format!("{pair} {conf}"));
        assert!(refused.contains(want), "{conf}: {refused}");
    }
    if only_octroi("what is not here") {
        for (conf, want) in [
            ("ssl_protocols SSLv3 TLSv1.1;", "\"ssl_protocols\" leaves none"),
            ("ssl_ciphers aNULL;", "no cipher match"),
            ("ssl_ciphers HIGH:nonsense;", "unknown cipher \"nonsense\""),
            ("ssl_ecdh_curve secp521r1;", "the curve \"secp521r1\" does not exist here"),
            ("ssl_early_data on;", "\"ssl_early_data on\" is not supported"),
        ] {
            let refused = check(&format!("{pair} {conf}"));
            assert!(refused.contains(want), "{conf}: {refused}");
        }
        let outcome = setup(&format!("server {{ {LISTEN} ssl_protocols TLSv1 TLSv1.1 TLSv1.2; }}")).check();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("TLSv1, TLSv1.1 do not exist here"), "{}", outcome.stderr);
    }
}

#[test]
fn the_key_is_read_with_the_masters_rights() {
    if !as_root("a key that only root can read") {
        return;
    }
    let mut server = setup(&format!("server {{ {LISTEN} return 200 ok; }}")).prepare();
    server.keep_root();
    let key = server.path("host.key");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert!(std::process::Command::new("chown").args(["0", &key]).status().unwrap().success());
    server.launch();
    assert_eq!(Client::new().body(server.port(), "host", "/"), "ok");
}
