//! What an authority's certificate allows (RFC 5280, 4.2.1), where webpki is not asked: of one that a client
//! presents as its own, and of those above it that the configuration names.

use super::certificate::{BIT_STRING, BOOLEAN, Certificate, INTEGER, OID, SEQUENCE, expect};

/// 2.5.29.15, the uses of a key.
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
/// 2.5.29.19, whether it is an authority.
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
/// 2.5.29.30, for which names.
const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 30];
/// 2.5.29.37, the purposes.
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];
/// 1.3.6.1.5.5.7.3, below which the purposes are.
const PURPOSES: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3];
/// 2.5.29.37.0, any purpose.
const ANY_PURPOSE: &[u8] = &[0x55, 0x1d, 37, 0];

/// The purpose of clients.
const CLIENT: u8 = 2;

/// The purpose of those that sign answers about revocation (RFC 6960, 4.2.2.2).
const OCSP: u8 = 9;

/// Bits of the uses of a key, in its first byte.
const SIGNS: u8 = 0x80;
const AGREES: u8 = 0x08;
const SIGNS_CERTIFICATES: u8 = 0x04;

/// Whether the certificate may be a client's.
pub(super) fn may_be_a_client(read: &Certificate<'_>) -> bool {
    is_used(read, SIGNS | AGREES) && has_purpose(read, CLIENT).unwrap_or(true)
}

/// Whether the certificate is for signing answers about revocation: for that it has to say so.
pub(super) fn may_answer(read: &Certificate<'_>) -> bool {
    purposes(read).is_some_and(|mut each| each.any(|one| one.strip_prefix(PURPOSES) == Some(&[OCSP])))
}

/// Whether it is an authority that may stand above `between` others and one that is none. Of one for some
/// names only it is not said: nobody here looks at names.
pub(super) fn may_sign(read: &Certificate<'_>, between: usize) -> bool {
    if !read.has_version {
        return read.is_self_issued();
    }
    is_used(read, SIGNS_CERTIFICATES)
        && read.extension(NAME_CONSTRAINTS).is_none()
        && path_length(read).is_some_and(|length| between <= length)
}

/// How many authorities may stand below; `None` if it is none itself.
fn path_length(read: &Certificate<'_>) -> Option<usize> {
    let mut value = read.extension(BASIC_CONSTRAINTS)?;
    let mut contents = expect(&mut value, SEQUENCE)?.2;
    expect(&mut contents, BOOLEAN).filter(|flag| flag.2 != [0])?;
    match expect(&mut contents, INTEGER) {
        Some((_, _, [length])) => Some(usize::from(*length)),
        Some(_) => Some(0),
        None => Some(usize::MAX),
    }
}

/// Whether its key may be used in one of these ways; any way if it does not say.
fn is_used(read: &Certificate<'_>, ways: u8) -> bool {
    let Some(mut value) = read.extension(KEY_USAGE) else { return true };
    let bits = expect(&mut value, BIT_STRING).and_then(|bits| bits.2.get(1).copied());
    bits.is_some_and(|bits| bits & ways != 0)
}

/// Whether it names this purpose; `None` if it names none.
fn has_purpose(read: &Certificate<'_>, purpose: u8) -> Option<bool> {
    let mut each = purposes(read)?;
    Some(each.any(|one| one == ANY_PURPOSE || one.strip_prefix(PURPOSES) == Some(&[purpose])))
}

/// The purposes that it names; `None` if it names none.
fn purposes<'c>(read: &Certificate<'c>) -> Option<impl Iterator<Item = &'c [u8]> + use<'c>> {
    let mut value = read.extension(EXTENDED_KEY_USAGE)?;
    let mut purposes = expect(&mut value, SEQUENCE)?.2;
    Some(std::iter::from_fn(move || expect(&mut purposes, OID).map(|one| one.2)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    };

    fn check<T>(change: impl FnOnce(&mut CertificateParams), look: impl FnOnce(&Certificate<'_>) -> T) -> T {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        change(&mut params);
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        look(&Certificate::read(made.der()).unwrap())
    }

    #[test]
    fn who_may_sign() {
        let may = |ca, between| check(|params| params.is_ca = ca, |read| may_sign(read, between));
        assert!(!may(IsCa::NoCa, 0) && !may(IsCa::ExplicitNoCa, 0));
        assert!(may(IsCa::Ca(BasicConstraints::Unconstrained), 9));
        assert!(may(IsCa::Ca(BasicConstraints::Constrained(1)), 1));
        assert!(!may(IsCa::Ca(BasicConstraints::Constrained(1)), 2));
        let with = |usage| {
            let change = |params: &mut CertificateParams| {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                params.key_usages = vec![usage];
            };
            check(change, |read| (may_sign(read, 0), may_be_a_client(read)))
        };
        assert_eq!(with(KeyUsagePurpose::KeyCertSign), (true, false));
        assert_eq!(with(KeyUsagePurpose::DigitalSignature), (false, true));
    }

    #[test]
    fn purposes() {
        let with = |purpose| check(|params| params.extended_key_usages = vec![purpose], may_be_a_client);
        assert!(with(ExtendedKeyUsagePurpose::ClientAuth) && !with(ExtendedKeyUsagePurpose::ServerAuth));
        assert!(with(ExtendedKeyUsagePurpose::Any) && check(|_| (), may_be_a_client));
    }
}
