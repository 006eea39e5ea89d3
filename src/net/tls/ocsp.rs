//! Answers about revocation (OCSP, RFC 6960): the question about a certificate, and what an answer has to
//! be for clients to believe it. Nothing is asked here.

use super::authority;
use super::certificate::{
    BIT_STRING, Certificate, GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, SEQUENCE, Value, expect, next,
    time,
};
use super::server;
use super::verify::is_signed;
use crate::base::base64;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;

/// Seconds by which the clocks of responders may differ from ours; nginx's.
const CLOCK_S: i64 = 300;

const ENUMERATED: u8 = 0x0a;
const GOOD: u8 = 0x80;
const CONTEXT_0: u8 = 0xa0;
const CONTEXT_6: u8 = 0x86;

/// 1.3.14.3.2.26, SHA-1, with no parameters: what every responder knows (RFC 5019, 2.1.1).
const SHA1: &[u8] = &[SEQUENCE, 9, OID, 5, 0x2b, 14, 3, 2, 26, 5, 0];
/// 1.3.6.1.5.5.7.1.1, where to learn more of a certificate.
const INFORMATION: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 1];
/// 1.3.6.1.5.5.7.48.1, by OCSP.
const BY_OCSP: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 48, 1];
/// 1.3.6.1.5.5.7.48.1.1, the usual form of an answer.
const BASIC: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 48, 1, 1];

/// Whom to ask about a certificate, and what.
#[derive(Debug)]
pub struct Asking {
    /// The responder's host, as its URL has it.
    pub host: String,
    /// Its path there.
    pub path: String,
    /// Where it is.
    pub addresses: Vec<SocketAddr>,
    /// The certificate in question.
    certificate: Question,
    issuer: CertificateDer<'static>,
}

/// How a certificate is named: its issuer's name and key as SHA-1, and its number.
#[derive(Debug, PartialEq, Eq)]
struct Question {
    name: Vec<u8>,
    key: Vec<u8>,
    serial: Vec<u8>,
}

/// The responder that a certificate names.
pub fn responder(leaf: &CertificateDer<'_>) -> Option<String> {
    let read = Certificate::read(leaf)?;
    let mut all = expect(&mut read.extension(INFORMATION)?, SEQUENCE)?.2;
    loop {
        let mut one = expect(&mut all, SEQUENCE)?.2;
        if expect(&mut one, OID)?.2 == BY_OCSP {
            let url = expect(&mut one, CONTEXT_6)?.2;
            return String::from_utf8(url.to_vec()).ok();
        }
    }
}

/// The issuer of a certificate among these.
pub fn issuer<'c>(
    leaf: &CertificateDer<'_>,
    mut among: impl Iterator<Item = &'c CertificateDer<'static>>,
) -> Option<&'c CertificateDer<'static>> {
    let leaf = Certificate::read(leaf)?;
    among.find(|one| Certificate::read(one).is_some_and(|one| vouches(&one, &leaf)))
}

fn vouches(issuer: &Certificate<'_>, below: &Certificate<'_>) -> bool {
    issuer.subject == below.issuer
        && is_signed(&server::algorithms(), issuer.key, (below.signed, below.algorithm, below.signature))
}

impl Asking {
    /// The question about this certificate of this issuer; `None` if one of the two cannot be read.
    pub fn new(
        (host, path, addresses): (String, String, Vec<SocketAddr>),
        leaf: &CertificateDer<'_>,
        issuer: &CertificateDer<'static>,
    ) -> Option<Asking> {
        let (read, above) = (Certificate::read(leaf)?, Certificate::read(issuer)?);
        let mut key = expect(&mut { above.key }, SEQUENCE)?.2;
        next(&mut key)?;
        let key = expect(&mut key, BIT_STRING)?.2.get(1..)?;
        let sha1 = |bytes: &[u8]| digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec();
        let serial = read.serial.to_vec();
        let certificate = Question { name: sha1(&wrapped(SEQUENCE, &[read.issuer])), key: sha1(key), serial };
        Some(Asking { host, path, addresses, certificate, issuer: issuer.clone() })
    }

    /// What to get from the host (RFC 6960, A.1).
    pub fn target(&self) -> String {
        let mut text = Vec::new();
        base64::encode(&self.certificate.request(), &mut text);
        let text = String::from_utf8_lossy(&text).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        let between = if self.path.ends_with('/') { "" } else { "/" };
        format!("{}{between}{text}", self.path)
    }

    /// Until when an answer that came at `now` holds, seconds since 1970; `None` if it does not say.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(&self, answer: &[u8], now: i64) -> Result<Option<i64>, String> {
        let basic = successful(answer)?;
        let broken = || "the answer cannot be read".to_owned();
        let basic = Basic::read(basic).ok_or_else(broken)?;
        if !self.is_signed_rightly(&basic, now) {
            return Err(
                "the answer is not signed by the issuer of the certificate, nor in its name".to_owned()
            );
        }
        let single = basic.about(&self.certificate).ok_or("the answer is about another certificate")?;
        match single.status {
            GOOD => {}
            _ => return Err("the certificate is revoked, or not known".to_owned()),
        }
        if single.from > now + CLOCK_S || single.until.is_some_and(|until| until < now - CLOCK_S) {
            return Err("the answer is not valid now".to_owned());
        }
        Ok(single.until)
    }

    /// By the issuer, or by one whom it lets sign such answers (RFC 6960, 4.2.2.2).
    fn is_signed_rightly(&self, basic: &Basic<'_>, now: i64) -> bool {
        let Some(issuer) = Certificate::read(&self.issuer) else { return false };
        let by = |key: &[u8]| {
            is_signed(&server::algorithms(), key, (basic.signed, basic.algorithm, basic.signature))
        };
        let is_deputy = |one: &Certificate<'_>| {
            authority::may_answer(one) && (one.from..=one.until).contains(&now) && vouches(&issuer, one)
        };
        by(issuer.key) || basic.certificates().iter().any(|one| is_deputy(one) && by(one.key))
    }
}

impl Question {
    /// `OCSPRequest` with this certificate alone.
    fn request(&self) -> Vec<u8> {
        // A number that begins with a set bit would be negative.
        let sign: &[u8] = if self.serial.first().is_none_or(|byte| byte & 0x80 != 0) { &[0] } else { &[] };
        let certificate = wrapped(
            SEQUENCE,
            &[
                SHA1,
                &wrapped(OCTET_STRING, &[&self.name]),
                &wrapped(OCTET_STRING, &[&self.key]),
                &wrapped(INTEGER, &[sign, &self.serial]),
            ],
        );
        (0..4).fold(certificate, |inner, _| wrapped(SEQUENCE, &[&inner]))
    }

    /// Reads a `CertID`.
    fn read(mut parts: &[u8]) -> Option<Question> {
        expect(&mut parts, SEQUENCE)?;
        let name = expect(&mut parts, OCTET_STRING)?.2.to_vec();
        let key = expect(&mut parts, OCTET_STRING)?.2.to_vec();
        let serial = expect(&mut parts, INTEGER)?.2;
        let zeros = serial.iter().take_while(|byte| **byte == 0).count();
        Some(Question { name, key, serial: serial.get(zeros..)?.to_vec() })
    }
}

/// What is in an answer that says of itself that it is one.
fn successful(mut answer: &[u8]) -> Result<&[u8], String> {
    let broken = || "the answer cannot be read".to_owned();
    let mut whole = expect(&mut answer, SEQUENCE).ok_or_else(broken)?.2;
    let status = expect(&mut whole, ENUMERATED).and_then(|status| status.2.first().copied());
    match status.ok_or_else(broken)? {
        0 => {}
        number => return Err(format!("the responder has no answer: {number}")),
    }
    basic(whole).ok_or_else(broken)
}

/// The usual form of an answer.
fn basic(mut rest: &[u8]) -> Option<&[u8]> {
    let mut bytes = expect(&mut rest, CONTEXT_0)?.2;
    let mut inner = expect(&mut bytes, SEQUENCE)?.2;
    let form = expect(&mut inner, OID)?.2;
    expect(&mut inner, OCTET_STRING).map(|value| value.2).filter(|_| form == BASIC)
}

/// `BasicOCSPResponse`.
struct Basic<'a> {
    signed: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
    /// Those that came with it, one behind the other.
    certificates: &'a [u8],
    /// What it says of each certificate, one behind the other.
    answers: &'a [u8],
}

/// What an answer says of one certificate.
struct Single {
    status: u8,
    from: i64,
    until: Option<i64>,
}

impl<'a> Basic<'a> {
    fn read(mut der: &'a [u8]) -> Option<Basic<'a>> {
        let mut parts = expect(&mut der, SEQUENCE)?.2;
        let (_, signed, mut data) = expect(&mut parts, SEQUENCE)?;
        let algorithm = expect(&mut parts, SEQUENCE)?.2;
        let signature = expect(&mut parts, BIT_STRING)?.2.strip_prefix(&[0])?;
        let mut certificates: &[u8] = &[];
        if let Some((_, _, mut inner)) = expect(&mut parts, CONTEXT_0) {
            certificates = expect(&mut inner, SEQUENCE)?.2;
        }
        if data.first() == Some(&CONTEXT_0) {
            // The version.
            next(&mut data)?;
        }
        // Who answers: the signature tells.
        next(&mut data)?;
        expect(&mut data, GENERALIZED_TIME)?;
        let answers = expect(&mut data, SEQUENCE)?.2;
        Some(Basic { signed, algorithm, signature, certificates, answers })
    }

    fn certificates(&self) -> Vec<Certificate<'a>> {
        let mut rest = self.certificates;
        let each = std::iter::from_fn(|| expect(&mut rest, SEQUENCE));
        each.filter_map(|(_, whole, _): Value<'a>| Certificate::read(whole)).collect()
    }

    /// What it says of this certificate.
    fn about(&self, asked: &Question) -> Option<Single> {
        let mut rest = self.answers;
        loop {
            let mut one = expect(&mut rest, SEQUENCE)?.2;
            if Question::read(expect(&mut one, SEQUENCE)?.2).as_ref() != Some(asked) {
                continue;
            }
            let status = next(&mut one)?.0;
            let from = time(expect(&mut one, GENERALIZED_TIME)?)?;
            let until = match expect(&mut one, CONTEXT_0) {
                Some((_, _, mut inner)) => Some(time(expect(&mut inner, GENERALIZED_TIME)?)?),
                None => None,
            };
            return Some(Single { status, from, until });
        }
    }
}

/// A value of these parts with its tag and length in front.
fn wrapped(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    match length {
        0..=0x7f => out.push(length as u8),
        _ => {
            let bytes = length.to_be_bytes();
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            out.push(0x80 | (bytes.len() - zeros) as u8);
            out.extend_from_slice(&bytes[zeros..]);
        }
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}
