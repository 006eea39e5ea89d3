//! `$ssl_*`: what is known of a client's TLS session and certificate.

use crate::base::base64;
use crate::base::clock;
use crate::http::uri::{Escape, escape};
use crate::net::tls::certificate::{Certificate, push_legacy_name, push_name, push_time};
use crate::net::tls::handshake::Facts;
use crate::net::tls::verify::Verdict;
use crate::pipeline::connection::push_decimal;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::variable::{Eval, VariableSpec};
use sha1::{Digest, Sha1};

/// Characters of base64 in a line of PEM (RFC 7468, 2).
const PEM_LINE: usize = 64;

/// Seconds of a day.
const DAY_S: i64 = 24 * 3600;

const fn one(name: &'static str, eval: Eval, doc: &'static str) -> VariableSpec {
    VariableSpec { name, family: false, eval, doc }
}

/// The variables.
pub(super) const VARIABLES: &[VariableSpec] = &[
    one("ssl_protocol", protocol, "The version of TLS that the client speaks: `TLSv1.2` or `TLSv1.3`."),
    one("ssl_cipher", cipher, "The suite of ciphers in use, by OpenSSL's name."),
    one(
        "ssl_ciphers",
        offered_suites,
        "The suites that the client offered, by OpenSSL's names, with colons between.",
    ),
    one(
        "ssl_curves",
        offered_groups,
        "The groups of key exchange that the client offered, with colons between.",
    ),
    one(
        "ssl_sigalgs",
        offered_schemes,
        "The schemes of signatures that the client offered, as numbers with colons between.",
    ),
    one("ssl_sigalg", signed, "What the server signed the handshake with; empty where a session went on."),
    one(
        "ssl_session_id",
        session_id,
        "The identifier of the session that the client can go on with, in hexadecimal.",
    ),
    one("ssl_ech_status", no_ech, "What became of an encrypted hello: empty, there is none here."),
    one(
        "ssl_ech_outer_server_name",
        no_ech,
        "The public name of an encrypted hello: empty, there is none here.",
    ),
    one("ssl_curve", curve, "The group of the key exchange; empty where a session went on without one."),
    one("ssl_server_name", server_name, "The name that the client asked for in its handshake (SNI)."),
    one("ssl_alpn_protocol", alpn, "The protocol agreed on in the handshake (ALPN)."),
    one("ssl_session_reused", reused, "`r` if the session goes on with one from before, else a dot."),
    one("ssl_early_data", early_data, "`1` while a request came as early data: never, there is none here."),
    one("ssl_client_verify", verify, "`SUCCESS`, `FAILED:reason`, or `NONE` without a client's certificate."),
    one(
        "ssl_client_s_dn",
        subject,
        "The name of whom the client's certificate is for, as RFC 2253 writes it.",
    ),
    one("ssl_client_i_dn", issuer, "The name of its issuer, as RFC 2253 writes it."),
    one("ssl_client_s_dn_legacy", legacy_subject, "The name of whom it is for, in OpenSSL's old form."),
    one("ssl_client_i_dn_legacy", legacy_issuer, "The name of its issuer, in OpenSSL's old form."),
    one("ssl_client_serial", serial, "The serial number of the client's certificate, in hexadecimal."),
    one("ssl_client_fingerprint", fingerprint, "The SHA-1 fingerprint of the client's certificate."),
    one("ssl_client_v_start", from, "When the client's certificate begins to be valid."),
    one("ssl_client_v_end", until, "When it ends to be valid."),
    one("ssl_client_v_remain", remain, "The days until then."),
    one("ssl_client_cert", tabbed, "The client's certificate in PEM, each line but the first behind a tab."),
    one("ssl_client_raw_cert", raw, "The client's certificate in PEM."),
    one("ssl_client_escaped_cert", escaped, "The client's certificate in PEM, escaped as in a URL."),
];

fn facts(x: &Exchange) -> Option<&Facts> {
    x.connection.tls.get().map(AsRef::as_ref)
}

/// Appends something of the session, if there is one.
fn of_session(x: &Exchange, out: &mut Vec<u8>, text: impl FnOnce(&Facts) -> &[u8]) -> bool {
    let Some(facts) = facts(x) else { return false };
    let text = text(facts);
    out.extend_from_slice(text);
    !text.is_empty()
}

/// Has something of the client's certificate appended, if there is one.
fn of_certificate(x: &Exchange, push: impl FnOnce(&Certificate<'_>)) -> bool {
    let read = facts(x).and_then(|facts| facts.chain.first()).and_then(|first| Certificate::read(first));
    read.as_ref().map(push).is_some()
}

fn protocol(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    of_session(x, out, |facts| facts.protocol.as_bytes())
}

fn cipher(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    of_session(x, out, |facts| facts.cipher.as_bytes())
}

fn curve(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    of_session(x, out, |facts| facts.curve.as_bytes())
}

fn server_name(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    of_session(x, out, |facts| facts.name.as_deref().unwrap_or_default().as_bytes())
}

fn alpn(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    of_session(x, out, |facts| &facts.alpn)
}

fn reused(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    of_session(x, out, |facts| if facts.is_resumed { b"r" } else { b"." })
}

fn offered_suites(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    facts(x).map(|facts| facts.offered.push_suites(out)).is_some()
}

fn offered_groups(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    facts(x).map(|facts| facts.offered.push_groups(out)).is_some()
}

fn offered_schemes(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    facts(x).map(|facts| facts.offered.push_schemes(out)).is_some()
}

fn signed(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    of_session(x, out, |facts| facts.signed.as_bytes())
}

fn session_id(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    let Some(id) = facts(x).and_then(|facts| facts.session) else { return false };
    id.iter().for_each(|byte| push_hex(*byte, b"0123456789abcdef", out));
    true
}

fn no_ech(_: &Exchange, _: &str, _: &mut Vec<u8>) -> bool {
    false
}

fn early_data(_: &Exchange, _: &str, _: &mut Vec<u8>) -> bool {
    false
}

fn verify(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    let Some(facts) = facts(x) else { return false };
    match facts.verdict() {
        Verdict::None => out.extend_from_slice(b"NONE"),
        Verdict::Trusted => out.extend_from_slice(b"SUCCESS"),
        Verdict::Failed(_, words) => {
            out.extend_from_slice(b"FAILED:");
            out.extend_from_slice(words.as_bytes());
        }
    }
    true
}

fn subject(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    of_certificate(x, |read| push_name(read.subject, out))
}

fn issuer(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    of_certificate(x, |read| push_name(read.issuer, out))
}

fn legacy_subject(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    of_certificate(x, |read| push_legacy_name(read.subject, out))
}

fn legacy_issuer(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    of_certificate(x, |read| push_legacy_name(read.issuer, out))
}

fn serial(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    of_certificate(x, |read| match read.serial {
        [] => out.extend_from_slice(b"00"),
        serial => serial.iter().for_each(|byte| push_hex(*byte, b"0123456789ABCDEF", out)),
    })
}

fn fingerprint(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    let Some(first) = facts(x).and_then(|facts| facts.chain.first()) else { return false };
    Sha1::digest(first.as_ref()).iter().for_each(|byte| push_hex(*byte, b"0123456789abcdef", out));
    true
}

fn from(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    of_certificate(x, |read| push_time(read.from, out))
}

fn until(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    of_certificate(x, |read| push_time(read.until, out))
}

fn remain(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    let now = i64::try_from(clock::unix_time(clock::now()).as_secs()).unwrap_or(i64::MAX);
    of_certificate(x, |read| {
        let days = (read.until - now).max(0) / DAY_S;
        push_decimal(out, u64::try_from(days).unwrap_or_default());
    })
}

fn tabbed(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    let Some(pem) = pem(x) else { return false };
    for byte in pem {
        out.push(byte);
        if byte == b'\n' {
            out.push(b'\t');
        }
    }
    true
}

fn raw(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    let Some(pem) = pem(x) else { return false };
    out.extend_from_slice(&pem);
    out.push(b'\n');
    true
}

fn escaped(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    let Some(mut pem) = pem(x) else { return false };
    pem.push(b'\n');
    escape(Escape::UriComponent, &pem, out);
    true
}

/// The client's certificate in PEM, without a line's end behind it.
fn pem(x: &Exchange) -> Option<Vec<u8>> {
    let first = facts(x)?.chain.first()?;
    let mut text = Vec::new();
    base64::encode(first, &mut text);
    let mut out = b"-----BEGIN CERTIFICATE-----\n".to_vec();
    for line in text.chunks(PEM_LINE) {
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.extend_from_slice(b"-----END CERTIFICATE-----");
    Some(out)
}

fn push_hex(byte: u8, digits: &[u8; 16], out: &mut Vec<u8>) {
    out.extend_from_slice(&[digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
}
