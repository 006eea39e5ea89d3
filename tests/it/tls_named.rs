//! Certificates whose names have variables.

use crate::harness::*;
use crate::tls_client::*;

/// Servers for two names, and for one that has no files.
fn setup(conf: &str) -> (Setup, [Made; 2]) {
    let made = ["one.example", "two.example"].map(|name| authority().sign(name));
    let mut setup = Setup::http(&format!(
        "{conf} server {{ listen 127.0.0.1:%%PORT%% ssl; ssl_certificate $ssl_server_name.pem; ssl_certificate_key $ssl_server_name.key;
         return 200 \"$ssl_server_name $ssl_session_reused\"; }}"
    ));
    for (name, made) in ["one.example", "two.example"].iter().zip(&made) {
        setup = setup.file(&format!("{name}.pem"), &made.pem).file(&format!("{name}.key"), &made.key);
    }
    (setup, made)
}

fn shown(server: &Server, name: &str) -> Result<Vec<u8>, String> {
    Client::new().connect(server.port(), name).map(|tls| tls.certificate())
}

#[test]
fn the_name_in_the_handshake_names_the_certificate() {
    let (setup, made) = setup("");
    let server = setup.start();
    assert_eq!(shown(&server, "one.example").unwrap(), made[0].chain[0].to_vec());
    assert_eq!(shown(&server, "two.example").unwrap(), made[1].chain[0].to_vec());
    for client in [Client::new(), Client::old()] {
        assert_eq!(client.body(server.port(), "two.example", "/"), "two.example .");
        assert_eq!(client.body(server.port(), "two.example", "/"), "two.example r");
        assert_eq!(client.body(server.port(), "one.example", "/"), "one.example .");
    }
    // One that is not there fails its own handshake.
    assert!(shown(&server, "three.example").is_err());
    server.wait_log("cannot load certificate \"");
    assert!(server.log().contains("three.example.pem\""));
    // A file that changes is seen at once.
    let next = authority().sign("one.example");
    server.write("one.example.pem", &next.pem);
    server.write("one.example.key", &next.key);
    assert_eq!(shown(&server, "one.example").unwrap(), next.chain[0].to_vec());
}

#[test]
fn certificates_are_kept_where_wanted() {
    if !since("1.27.4", "ssl_certificate_cache is new") {
        return;
    }
    let (setup, made) = setup("ssl_certificate_cache max=8 valid=1h inactive=1h;");
    let server = setup.start();
    assert_eq!(shown(&server, "one.example").unwrap(), made[0].chain[0].to_vec());
    let next = authority().sign("one.example");
    server.write("one.example.pem", &next.pem);
    server.write("one.example.key", &next.key);
    assert_eq!(shown(&server, "one.example").unwrap(), made[0].chain[0].to_vec());
    assert_eq!(shown(&server, "two.example").unwrap(), made[1].chain[0].to_vec());
}

#[test]
fn variables_of_maps_and_texts_of_certificates() {
    let made = authority().sign("mapped");
    let line = |text: &str| text.replace('\n', "\\n");
    let conf = format!(
        "map $ssl_server_name $file {{ default mapped; a.example other; }}
         server {{ listen 127.0.0.1:%%PORT%% ssl; ssl_certificate $file.pem; ssl_certificate_key $file.key; return 200 ok; }}
         map $ssl_server_name $chain {{ default \"data:{}\"; }} map $ssl_server_name $secret {{ default \"data:{}\"; }}
         server {{ listen 127.0.0.1:%%PORT2%% ssl; ssl_certificate $chain; ssl_certificate_key $secret; return 200 ok; }}",
        line(&made.pem),
        line(&made.key)
    );
    let server = Setup::http(&conf).file("mapped.pem", &made.pem).file("mapped.key", &made.key).start();
    assert_eq!(shown(&server, "b.example").unwrap(), made.chain[0].to_vec());
    assert!(shown(&server, "a.example").is_err());
    let port = server.value("PORT2").parse().unwrap();
    assert_eq!(Client::new().connect(port, "host").unwrap().certificate(), made.chain[0].to_vec());
}

#[test]
fn the_cache_has_a_bound() {
    for (conf, words) in [
        ("ssl_certificate_cache inactive=1s;", "must have the \"max\" parameter"),
        ("ssl_certificate_cache max=0;", "invalid parameter \"max=0\""),
        ("ssl_certificate_cache some=1;", "invalid parameter \"some=1\""),
    ] {
        if !since("1.27.4", "ssl_certificate_cache is new") {
            return;
        }
        let (setup, _) = setup(conf);
        let refused = setup.refused();
        assert!(refused.contains(words), "{refused}");
    }
}
