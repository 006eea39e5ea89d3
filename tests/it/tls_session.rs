//! What is known of a session: what the client offered, its identifier, how it was signed; and certificates
//! that are compressed, encrypted keys, chains of clients.

use crate::harness::*;
use crate::tls_client::*;
use rustls::compress::{CertDecompressor, DecompressionFailed};
use rustls::{CertificateCompressionAlgorithm, ClientConfig};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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
fn what_the_client_offered_is_named() {
    let server = server(
        "location /suites { return 200 $ssl_ciphers; } location /groups { return 200 $ssl_curves; }
         location /schemes { return 200 $ssl_sigalgs; } location /ech { return 200 [$ssl_ech_status$ssl_ech_outer_server_name]; }",
    );
    let body = |target: &str| Client::new().body(server.port(), "host", target);
    assert_eq!(
        body("/suites"),
        "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:\
         ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:\
         ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305:\
         TLS_EMPTY_RENEGOTIATION_INFO_SCSV"
    );
    let groups = body("/groups");
    assert!(groups.contains("X25519:prime256v1:secp384r1"), "{groups}");
    let schemes = body("/schemes");
    assert!(schemes.starts_with("0x0") && schemes.contains(":0x0403:"), "{schemes}");
    assert_eq!(body("/ech"), "[]");
}

#[test]
fn how_the_handshake_was_signed_is_named() {
    let server = server("return 200 \"$ssl_sigalg $ssl_session_reused\";");
    // Older libraries do not tell.
    if only_octroi("nginx with OpenSSL below 3.5 leaves it empty") {
        let client = Client::new();
        assert_eq!(client.body(server.port(), "host", "/"), "ecdsa_secp256r1_sha256 .");
        assert_eq!(client.body(server.port(), "host", "/"), " r");
    }
}

#[test]
fn sessions_have_an_identifier() {
    for conf in ["ssl_session_tickets off; ssl_session_cache shared:S:1m;", ""] {
        let server =
            server(&format!("{conf} location / {{ return 200 \"$ssl_session_reused $ssl_session_id\"; }}"));
        let port = server.port();
        for client in [Client::new(), Client::old()] {
            let (first, again) = (client.body(port, "host", "/"), client.body(port, "host", "/"));
            let (first, again) = (first.strip_prefix(". ").unwrap(), again.strip_prefix("r ").unwrap());
            let is_id = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            // nginx has none for a ticket of TLS 1.2 that it just gave.
            assert!(is_id(first) || first.is_empty(), "{conf} {first}");
            assert!(is_id(again), "{conf} {again}");
        }
        // In TLS 1.2 with a store it stays the same.
        if !conf.is_empty() {
            let client = Client::old();
            assert_eq!(client.body(port, "host", "/")[1..], client.body(port, "host", "/")[1..]);
        }
    }
}

/// zlib, which counts what it unpacks.
#[derive(Debug)]
struct Counting(AtomicUsize);

impl CertDecompressor for Counting {
    fn decompress(&self, input: &[u8], output: &mut [u8]) -> Result<(), DecompressionFailed> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let mut decoder = flate2::read::ZlibDecoder::new(input);
        std::io::Read::read_exact(&mut decoder, output).map_err(|_| DecompressionFailed)
    }

    fn algorithm(&self) -> CertificateCompressionAlgorithm {
        CertificateCompressionAlgorithm::Zlib
    }
}

#[test]
fn certificates_are_compressed_where_wanted() {
    if !only_octroi("OpenSSL before 3.2 compresses nothing") {
        return;
    }
    for (conf, times) in [("", 0), ("ssl_certificate_compression on;", 1)] {
        let server = server(&format!("{conf} return 200 ok;"));
        let zlib: &'static Counting = Box::leak(Box::new(Counting(AtomicUsize::new(0))));
        let mut config = ClientConfig::clone(&Client::new().0);
        config.cert_decompressors = vec![zlib];
        assert_eq!(Client(Arc::new(config)).body(server.port(), "host", "/"), "ok");
        assert_eq!(zlib.0.load(Ordering::Relaxed), times, "{conf}");
        // A client that does not take them is served as well.
        assert_eq!(Client::new().body(server.port(), "host", "/"), "ok");
    }
}

#[test]
fn encrypted_keys_are_opened() {
    let sealed = include_str!("tls/sealed.key");
    let pem = include_str!("tls/sealed.pem");
    let conf = format!("server {{ {LISTEN} ssl_password_file phrases; return 200 ok; }}");
    let setup = |phrases: &str| {
        Setup::http(&conf).file("host.pem", pem).file("host.key", sealed).file("phrases", phrases)
    };
    assert_eq!(Client::new().body(setup("wrong\nsecret\n").start().port(), "host", "/"), "ok");
    let refused = setup("wrong\n").refused();
    assert!(
        refused.contains("cannot load certificate key \"DIR/host.key\": PEM_read_bio_PrivateKey() failed"),
        "{refused}"
    );
    let missing = Setup::http(&conf).file("host.pem", pem).file("host.key", sealed).refused();
    assert!(missing.contains("phrases\""), "{missing}");
    if only_octroi("nginx asks at the terminal") {
        let without = format!("server {{ {LISTEN} }}");
        let refused = Setup::http(&without).file("host.pem", pem).file("host.key", sealed).refused();
        assert!(refused.contains("it is encrypted, and no file of pass phrases is named"), "{refused}");
    }
}

#[test]
fn a_chain_ends_at_one_that_vouches_for_itself() {
    let root = Authority::new("root");
    let middle = root.below("middle");
    let both = format!("{}{}", root.pem, middle.pem);
    let ask = |trusted: &str, depth: u8, client: &Client| {
        let conf = format!(
            "server {{ {LISTEN} ssl_verify_client optional_no_ca; ssl_client_certificate ca.pem; ssl_verify_depth {depth};
             error_page 495 /wrong; location / {{ return 200 $ssl_client_verify; }} }}"
        );
        let server = setup(&conf).file("ca.pem", trusted).start();
        client.body(server.port(), "host", "/")
    };
    let client = Client::presenting(&middle.sign("anna"));
    assert_eq!(ask(&both, 1, &client), "SUCCESS");
    // One between, and none may be.
    assert!(ask(&both, 0, &client).starts_with("FAILED:"));
    assert!(ask(&middle.pem, 1, &client).starts_with("FAILED:"));
    // An authority may be a client itself.
    let own = Client::presenting(&middle.own());
    assert_eq!(ask(&both, 1, &own), "SUCCESS");
    assert!(ask(&middle.pem, 1, &own).starts_with("FAILED:"));
}

#[test]
fn lists_of_version_1() {
    // Made with OpenSSL, as it makes lists unless it is told otherwise: the first of the two is revoked.
    let conf = format!(
        "server {{ {LISTEN} ssl_verify_client optional_no_ca; ssl_client_certificate ca.pem; ssl_crl old.crl;
         error_page 495 /wrong; location / {{ return 200 $ssl_client_verify; }} }}"
    );
    let files =
        |list: &str| setup(&conf).file("ca.pem", include_str!("tls/root.pem")).file("old.crl", list).start();
    let server = files(include_str!("tls/old.crl"));
    let body = |made: &Made| Client::presenting(made).body(server.port(), "host", "/");
    let revoked = Made::read(include_str!("tls/a.pem"), include_str!("tls/a.key"));
    let good = Made::read(include_str!("tls/b.pem"), include_str!("tls/b.key"));
    assert_eq!(body(&good), "SUCCESS");
    assert_eq!(body(&revoked), "FAILED:certificate revoked");
    // A list of somebody else says nothing.
    let server = files(&Authority::new("other").revoke(&[]));
    let answer = Client::presenting(&good).body(server.port(), "host", "/");
    assert_eq!(answer, "FAILED:unable to get certificate CRL");
}

#[test]
fn of_two_certificates_with_one_kind_of_key_the_last_counts() {
    let other = authority().sign("host");
    let server = setup(&format!(
        "server {{ {LISTEN} ssl_certificate other.pem; ssl_certificate_key other.key; return 200 ok; }}"
    ))
    .file("other.pem", &other.pem)
    .file("other.key", &other.key)
    .start();
    let shown = Client::new().connect(server.port(), "host").unwrap().certificate();
    assert_eq!(shown, other.chain[0].to_vec());
}

#[test]
fn a_client_that_takes_no_signature_here_is_told_so() {
    // It takes RSA only, and here is ECDSA.
    let server = server("ssl_protocols TLSv1.2; return 200 ok;");
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites =
        vec![rustls::crypto::aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256];
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let refused = Client(Arc::new(config)).connect(server.port(), "host").err().unwrap();
    assert!(refused.contains("HandshakeFailure"), "{refused}");
}
