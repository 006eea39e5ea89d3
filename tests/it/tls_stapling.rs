//! Answers of responders that go with certificates (`ssl_stapling`): asked for, verified, and shown.

use crate::harness::*;
use crate::tls_client::*;
use octroi::base::base64;
use rcgen::{CustomExtension, SigningKey};
use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use std::sync::{Arc, Mutex};

const LISTEN: &str = "listen 127.0.0.1:%%PORT%% ssl; ssl_certificate host.pem; ssl_certificate_key host.key;";

/// Remembers the answer that came with a certificate.
#[derive(Debug, Default)]
struct Curious(Mutex<Vec<u8>>);

impl ServerCertVerifier for Curious {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        answer: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.0.lock().unwrap() = answer.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The answer that goes with the server's certificate.
fn stapled(server: &Server) -> Vec<u8> {
    let curious = Arc::new(Curious::default());
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(curious.clone())
        .with_no_client_auth();
    drop(Client(Arc::new(config)).connect(server.port(), "host").unwrap());
    curious.0.lock().unwrap().clone()
}

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let contents = parts.concat();
    let length = match contents.len() as u16 {
        short @ 0..=0x7f => vec![short as u8],
        middle @ 0x80..=0xff => vec![0x81, middle as u8],
        long => [&[0x82], long.to_be_bytes().as_slice()].concat(),
    };
    [&[tag], length.as_slice(), &contents].concat()
}

/// What a responder answers: of the certificate it was asked about, that it is good, or not, until then.
fn answer(target: &str, signer: &Authority, status: u8, until: &str) -> Vec<u8> {
    let text = target.rsplit('/').next().unwrap().replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
    let mut asked = Vec::new();
    assert!(base64::decode(text.as_bytes(), &mut asked), "{target}");
    // Four sequences are round the name of the certificate; all are short.
    let named = &asked[8..];
    let status =
        if status == 0x80 { vec![0x80, 0] } else { der(status, &[&der(0x18, &[b"20260101000000Z"])]) };
    let until = der(0xa0, &[&der(0x18, &[until.as_bytes()])]);
    let single = der(0x30, &[named, &status, &der(0x18, &[b"20260101000000Z"]), &until]);
    // The key of the issuer, as it is named there.
    let by = der(0xa2, &[&der(0x04, &[&named[37..57]])]);
    let data = der(0x30, &[&by, &der(0x18, &[b"20260101000000Z"]), &der(0x30, &[&single])]);
    // ecdsa-with-SHA256
    let algorithm = der(0x30, &[&[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]]);
    let signature = signer.key().sign(&data).unwrap();
    let basic = der(0x30, &[&data, &algorithm, &der(0x03, &[&[0], &signature])]);
    let form = [6, 9, 0x2b, 6, 1, 5, 5, 7, 48, 1, 1];
    let inner = der(0x30, &[&form, &der(0x04, &[&basic])]);
    der(0x30, &[&[0x0a, 1, 0], &der(0xa0, &[&inner])])
}

/// A responder for the certificates of this authority.
fn responder(signer: &'static Authority, status: u8, until: &'static str) -> Upstream {
    Upstream::new(move |origin| {
        let Some(request) = origin.request() else { return };
        let body = answer(request.target(), signer, status, until);
        let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        origin.send([head.as_bytes(), &body].concat());
    })
}

/// A server whose certificate names this responder.
fn server(responder: &str, conf: &str) -> Server {
    let url = format!("http://{responder}/ask");
    let one = der(0x30, &[&[6, 8, 0x2b, 6, 1, 5, 5, 7, 48, 1], &der(0x86, &[url.as_bytes()])]);
    let extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], der(0x30, &[&one]));
    let host = authority().sign_with("host", |params| params.custom_extensions.push(extension));
    Setup::http(&format!("server {{ {LISTEN} ssl_stapling on; {conf} return 200 ok; }}"))
        .file("host.pem", format!("{}{}", host.pem, authority().pem))
        .file("host.key", &host.key)
        .file("root.pem", &authority().pem)
        .start()
}

#[test]
fn an_answer_is_fetched_and_goes_with_the_certificate() {
    for conf in ["", "ssl_stapling_verify on; ssl_trusted_certificate root.pem;"] {
        let responder = responder(authority(), 0x80, "20960101000000Z");
        let server = server(responder.address(), conf);
        // nginx asks when the first client comes, and that one goes without.
        eventually("an answer", || !stapled(&server).is_empty());
        let target = responder.last().target().to_owned();
        assert!(target.starts_with("/ask/"), "{target}");
        // nginx leaves the port out.
        assert!(responder.last().get("Host").unwrap().starts_with("127.0.0.1"));
        if only_octroi("signatures are made with random numbers") {
            assert_eq!(stapled(&server).len(), stapled(&server).len());
        }
        assert_eq!(responder.requests().len(), 1);
    }
}

#[test]
fn the_configuration_may_name_the_responder() {
    let responder = responder(authority(), 0x80, "20960101000000Z");
    let conf = format!("ssl_stapling_responder http://{}/there/;", responder.address());
    let server = server("127.0.0.1:1", &conf);
    eventually("an answer", || !stapled(&server).is_empty());
    assert!(responder.last().target().starts_with("/there/M"));
}

#[test]
fn answers_that_clients_would_not_believe_are_not_shown() {
    let other: &'static Authority = Box::leak(Box::new(Authority::new("other")));
    let root = authority();
    for (signer, status, until, words) in [
        (other, 0x80, "20960101000000Z", "not signed by the issuer"),
        (root, 0xa1, "20960101000000Z", "revoked"),
        (root, 0x80, "20260102000000Z", "not valid now"),
    ] {
        let responder = responder(signer, status, until);
        let server = server(responder.address(), "");
        let _ = stapled(&server);
        responder.wait_requests(1);
        if only_octroi("in its own words") {
            server.wait_log(words);
            server.wait_log("while requesting certificate status, responder: 127.0.0.1:");
            // It is asked again.
            responder.wait_requests(2);
        }
        assert!(stapled(&server).is_empty(), "{words}");
    }
}

#[test]
fn a_responder_that_comes_late_is_asked_again() {
    if !only_octroi("nginx waits five minutes") {
        return;
    }
    let responder = Upstream::new(|origin| {
        let Some(request) = origin.request() else { return };
        if origin.number == 0 {
            origin.send("HTTP/1.0 500 Not Now\r\n\r\n");
            return;
        }
        let body = answer(request.target(), authority(), 0x80, "20960101000000Z");
        origin.send([b"HTTP/1.0 200 OK\r\n\r\n", body.as_slice()].concat());
    });
    let server = server(responder.address(), "");
    eventually("an answer", || !stapled(&server).is_empty());
    server.wait_log("it answered with the status 500");
}

#[test]
fn what_cannot_be_asked_about_is_said() {
    let check = |pem: &str, conf: &str| {
        let host = authority().sign("host");
        let pem = if pem.is_empty() { host.pem.clone() } else { format!("{}{pem}", host.pem) };
        let outcome = Setup::http(&format!("server {{ {LISTEN} ssl_stapling on; {conf} }}"))
            .file("host.pem", pem)
            .file("host.key", &host.key)
            .check();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        outcome.stderr
    };
    let root = &authority().pem;
    for (pem, conf, words) in [
        ("", "", "\"ssl_stapling\" ignored, issuer certificate not found"),
        (root.as_str(), "", "\"ssl_stapling\" ignored, no OCSP responder URL in the certificate \""),
        (
            root.as_str(),
            "ssl_stapling_responder https://127.0.0.1/;",
            "\"ssl_stapling\" ignored, invalid URL prefix in OCSP responder \"https://127.0.0.1/\"",
        ),
    ] {
        let said = check(pem, conf);
        assert!(said.contains(words), "{said}");
    }
}
