//! The files of certificates: those that change while the server runs.

use crate::harness::*;
use crate::tls_client::*;

const LISTEN: &str = "listen 127.0.0.1:%%PORT%% ssl; ssl_certificate host.pem; ssl_certificate_key host.key;";

fn setup(conf: &str) -> Setup {
    let host = authority().sign("host");
    Setup::http(conf)
        .file("host.pem", &host.pem)
        .file("host.key", &host.key)
        .file("root.pem", &authority().pem)
}

/// The certificate that new connections are shown.
fn shown(server: &Server) -> Vec<u8> {
    Client::new().connect(server.port(), "host").unwrap().certificate()
}

/// Puts a file in another's place, as those do who care for whoever reads it.
fn replace(server: &Server, name: &str, text: &str) {
    server.write(&format!("{name}.new"), text);
    std::fs::rename(server.path(&format!("{name}.new")), server.path(name)).unwrap();
}

#[test]
fn a_certificate_that_changes_is_taken_up_without_a_reload() {
    if !only_octroi("nginx takes up certificates when it is told to") {
        return;
    }
    let server =
        setup(&format!("server {{ {LISTEN} location / {{ return 200 $connection_requests; }} }}")).start();
    let mut kept = Client::new().connect(server.port(), "host").unwrap();
    kept.send("GET / HTTP/1.1\r\nHost: host\r\n\r\n");
    assert!(kept.until("\r\n\r\n1").contains("200 OK"));
    let before = shown(&server);
    let next = authority().sign("host");
    replace(&server, "host.pem", &next.pem);
    replace(&server, "host.key", &next.key);
    eventually("the new certificate", || shown(&server) == next.chain[0].to_vec());
    assert_ne!(before, next.chain[0].to_vec());
    // The connection goes on, and nothing was reloaded.
    kept.send("GET / HTTP/1.1\r\nHost: host\r\n\r\n");
    assert!(kept.until("\r\n\r\n2").contains("200 OK"));
    let log = server.log();
    assert!(log.contains("certificates of 1 server(s) renewed") && !log.contains("reconfiguring"), "{log}");
}

#[test]
fn a_bad_file_leaves_the_certificate_in_use() {
    if !only_octroi("nginx takes up certificates when it is told to") {
        return;
    }
    let server = setup(&format!("server {{ {LISTEN} return 200 ok; }}")).start();
    let before = shown(&server);
    let next = authority().sign("host");
    server.write("host.pem", "no certificate");
    eventually("the refusal", || server.log().contains("host.pem\": no certificate in it"));
    assert!(server.log().contains("the certificates in use stay in use"));
    assert_eq!(shown(&server), before);
    // A certificate alone does not fit the key; with its key it does, however much later that comes.
    server.write("host.pem", &next.pem);
    eventually("the mismatch", || server.log().contains("key values mismatch"));
    assert_eq!(shown(&server), before);
    server.write("host.key", &next.key);
    eventually("the new certificate", || shown(&server) == next.chain[0].to_vec());
}

#[test]
fn those_who_are_trusted_change_for_connections_that_stand() {
    if !only_octroi("nginx takes up certificates when it is told to") {
        return;
    }
    let conf = format!(
        "server {{ {LISTEN} ssl_verify_client on; ssl_client_certificate root.pem; ssl_crl list.pem; return 200 ok; }}"
    );
    let server = setup(&conf).file("list.pem", authority().revoke(&[])).start();
    let client = Client::presenting(&authority().sign("anna"));
    let mut kept = client.connect(server.port(), "host").unwrap();
    let ask = |kept: &mut Tls| {
        kept.send("GET / HTTP/1.1\r\nHost: host\r\n\r\n");
        kept.until("\r\n\r\n")
    };
    assert!(ask(&mut kept).starts_with("HTTP/1.1 200"));
    assert_eq!(kept.take(2), b"ok");
    replace(&server, "list.pem", &authority().revoke(&[0x1b]));
    eventually("the new list", || server.log().contains("server(s) renewed"));
    assert!(ask(&mut kept).starts_with("HTTP/1.1 400"));
    // Sessions from before are of no use either.
    let answer = client.get(server.port(), "host", "/");
    assert!(answer.contains("The SSL certificate error"), "{answer}");
}

#[test]
fn a_worker_that_comes_after_has_the_new_certificate() {
    if !only_octroi("nginx takes up certificates when it is told to")
        || !as_root("a key that only root can read")
    {
        return;
    }
    let mut server = setup(&format!("server {{ {LISTEN} return 200 ok; }}")).prepare();
    server.keep_root();
    server.allow_alerts();
    server.launch();
    let next = authority().sign("host");
    for (name, text) in [("host.pem", &next.pem), ("host.key", &next.key)] {
        let new = server.path(&format!("{name}.new"));
        std::fs::write(&new, text).unwrap();
        std::fs::set_permissions(&new, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::rename(new, server.path(name)).unwrap();
    }
    eventually("the new certificate", || shown(&server) == next.chain[0].to_vec());
    let worker = server.pids()[1];
    assert!(std::process::Command::new("kill").args(["-9", &worker.to_string()]).status().unwrap().success());
    eventually("the next worker", || server.pids().get(1).is_some_and(|next| *next != worker));
    assert_eq!(shown(&server), next.chain[0].to_vec());
}

#[test]
fn stores_of_sessions_outlive_a_reload() {
    let conf = format!(
        "server {{ {LISTEN} ssl_session_tickets off; ssl_session_cache shared:S:1m; return 200 $ssl_session_reused; }}"
    );
    let server = setup(&conf).start();
    let client = Client::old();
    assert_eq!(client.body(server.port(), "host", "/"), ".");
    server.reload();
    assert_eq!(client.body(server.port(), "host", "/"), "r");
}
