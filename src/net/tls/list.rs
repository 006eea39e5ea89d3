//! Lists of revoked certificates (RFC 5280, 5) that webpki does not take: those of version 1, and without
//! the extensions that later ones must have. OpenSSL makes such lists unless it is told otherwise.

use super::certificate::{
    BIT_STRING, BOOLEAN, GENERALIZED_TIME, INTEGER, OID, SEQUENCE, UTC_TIME, expect, next, time,
};
use super::verify::is_signed;
use rustls::crypto::WebPkiSupportedAlgorithms;
use std::collections::BTreeSet;

/// The tag of the list's extensions.
const EXTENSIONS: u8 = 0xa0;

/// One list.
pub(super) struct List {
    /// The name of its issuer, without its header.
    pub issuer: Vec<u8>,
    signed: Vec<u8>,
    algorithm: Vec<u8>,
    signature: Vec<u8>,
    /// Until when it holds, seconds since 1970; `None` if it does not say.
    until: Option<i64>,
    /// The numbers of the certificates, without leading zeros.
    revoked: BTreeSet<Vec<u8>>,
}

/// What is wrong by a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// The certificate was revoked.
    Revoked,
    /// The list is older than it may be.
    Expired,
    /// Somebody else has signed it.
    Forged,
}

impl List {
    /// Reads a list; `None` for one that is broken, or says that something in it has to be understood.
    pub fn read(der: &[u8]) -> Option<List> {
        let mut rest = der;
        let mut whole = expect(&mut rest, SEQUENCE)?.2;
        let (_, signed, mut body) = expect(&mut whole, SEQUENCE)?;
        let algorithm = expect(&mut whole, SEQUENCE)?.2.to_vec();
        let signature = expect(&mut whole, BIT_STRING)?.2.strip_prefix(&[0])?.to_vec();
        if body.first() == Some(&INTEGER) {
            next(&mut body)?;
        }
        expect(&mut body, SEQUENCE)?;
        let issuer = expect(&mut body, SEQUENCE)?.2.to_vec();
        time(next(&mut body)?)?;
        let mut until = None;
        if matches!(body.first(), Some(&(UTC_TIME | GENERALIZED_TIME))) {
            until = Some(time(next(&mut body)?)?);
        }
        let mut revoked = BTreeSet::new();
        if body.first() == Some(&SEQUENCE) {
            let mut entries = expect(&mut body, SEQUENCE)?.2;
            while !entries.is_empty() {
                let mut entry = expect(&mut entries, SEQUENCE)?.2;
                let number = expect(&mut entry, INTEGER)?.2;
                let zeros = number.iter().take_while(|byte| **byte == 0).count();
                time(next(&mut entry)?)?;
                if !entry.is_empty() && !is_optional(expect(&mut entry, SEQUENCE)?.2)? {
                    return None;
                }
                revoked.insert(number.get(zeros..)?.to_vec());
            }
        }
        if let Some((_, _, mut extensions)) = expect(&mut body, EXTENSIONS)
            && !is_optional(expect(&mut extensions, SEQUENCE)?.2)?
        {
            return None;
        }
        Some(List { issuer, signed: signed.to_vec(), algorithm, signature, until, revoked })
    }

    /// Looks for the certificate of this number, whose issuer has this key.
    pub fn look(
        &self,
        algorithms: &WebPkiSupportedAlgorithms,
        serial: &[u8],
        key: &[u8],
        now: i64,
    ) -> Result<(), Wrong> {
        let zeros = serial.iter().take_while(|byte| **byte == 0).count();
        match () {
            () if !is_signed(algorithms, key, (&self.signed, &self.algorithm, &self.signature)) => {
                Err(Wrong::Forged)
            }
            () if self.until.is_some_and(|until| until < now) => Err(Wrong::Expired),
            () if self.revoked.contains(serial.get(zeros..).unwrap_or_default()) => Err(Wrong::Revoked),
            () => Ok(()),
        }
    }
}

/// Whether none of these extensions has to be understood; `None` if they cannot be read.
fn is_optional(mut extensions: &[u8]) -> Option<bool> {
    while !extensions.is_empty() {
        let mut one = expect(&mut extensions, SEQUENCE)?.2;
        expect(&mut one, OID)?;
        if expect(&mut one, BOOLEAN).is_some_and(|flag| flag.2 != [0]) {
            return Some(false);
        }
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::net::tls::certificate::Certificate;
    use crate::net::tls::server;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

    const ROOT: &str = include_str!("list/root.pem");
    const OLD: &str = include_str!("list/old.crl");

    #[test]
    fn a_list_of_version_1() {
        let root = CertificateDer::from_pem_slice(ROOT.as_bytes()).unwrap();
        let root = Certificate::read(&root).unwrap();
        let der = CertificateRevocationListDer::from_pem_slice(OLD.as_bytes()).unwrap();
        let list = List::read(&der).unwrap();
        assert_eq!(list.issuer, root.subject);
        let until = list.until.unwrap();
        let look = |serial: &[u8], key: &[u8], now| list.look(&server::algorithms(), serial, key, now);
        assert_eq!(look(&[0x10, 0x00], root.key, until), Err(Wrong::Revoked));
        assert_eq!(look(&[0, 0x10, 0x01], root.key, until), Ok(()));
        assert_eq!(look(&[0x10, 0x01], root.key, until + 1), Err(Wrong::Expired));
        assert_eq!(look(&[0x10, 0x01], &root.key[1..], until), Err(Wrong::Forged));
        for length in 0..der.len() {
            assert!(List::read(&der[..length]).is_none());
        }
    }
}
