//! The certificates of a server with their keys, and what responders answered about them.

use super::noted;
use super::ocsp::Asking;
use crate::base::clock;
use rustls::SignatureAlgorithm;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::sync::{Arc, PoisonError, RwLock};

/// The certificates of a server.
#[derive(Debug)]
pub struct Pairs(Vec<Pair>);

/// A certificate with its key.
#[derive(Debug)]
pub struct Pair {
    plain: Arc<CertifiedKey>,
    /// Whom to ask about it, and what was answered.
    asking: Option<(Asking, RwLock<Option<Stapled>>)>,
}

/// The same with an answer, which holds until then: seconds since 1970.
#[derive(Clone, Debug)]
struct Stapled {
    certified: Arc<CertifiedKey>,
    until: i64,
}

impl Pairs {
    /// Certificates with keys, and whom to ask about them.
    pub fn new(pairs: Vec<(CertifiedKey, Option<Asking>)>) -> Pairs {
        let pair = |(certified, asking): (CertifiedKey, Option<Asking>)| Pair {
            plain: Arc::new(certified),
            asking: asking.map(|asking| (asking, RwLock::default())),
        };
        let mut kept: Vec<Pair> = Vec::with_capacity(pairs.len());
        for new in pairs.into_iter().map(pair) {
            // Of two with the same kind of key the last one counts, as in OpenSSL.
            let kind = new.plain.key.algorithm();
            match kept.iter_mut().find(|known| known.plain.key.algorithm() == kind) {
                Some(known) => *known = new,
                None => kept.push(new),
            }
        }
        Pairs(kept)
    }

    /// Those about which somebody is to be asked.
    pub fn asking(&self) -> impl Iterator<Item = (&Pair, &Asking)> {
        self.0.iter().filter_map(|pair| Some((pair, &pair.asking.as_ref()?.0)))
    }
}

impl Pair {
    /// Has this answer go with the certificate until then, seconds since 1970.
    pub fn staple(&self, answer: Vec<u8>, until: i64) {
        let Some((_, place)) = &self.asking else { return };
        let certified = Arc::new(CertifiedKey { ocsp: Some(answer), ..CertifiedKey::clone(&self.plain) });
        *place.write().unwrap_or_else(PoisonError::into_inner) = Some(Stapled { certified, until });
    }

    /// What a client is shown.
    fn shown(&self) -> Arc<CertifiedKey> {
        let stapled = self
            .asking
            .as_ref()
            .and_then(|(_, place)| place.read().unwrap_or_else(PoisonError::into_inner).clone());
        match stapled {
            Some(stapled) if stapled.until >= now_s() => stapled.certified,
            _ => self.plain.clone(),
        }
    }
}

/// The time, seconds since 1970.
pub fn now_s() -> i64 {
    i64::try_from(clock::unix_time(clock::now()).as_secs()).unwrap_or(i64::MAX)
}

impl ResolvesServerCert for Pairs {
    /// What the client can verify: ECDSA before RSA.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits = |pair: &&Pair| pair.plain.key.choose_scheme(hello.signature_schemes()).is_some();
        let is_rsa = |pair: &&Pair| pair.plain.key.algorithm() == SignatureAlgorithm::RSA;
        // Where none fits, rustls finds nothing in common, and says so; without any it would say that the
        // client is denied access.
        let pair = self.0.iter().filter(fits).min_by_key(is_rsa).or(self.0.first())?;
        if let Some(signer) = pair.plain.key.choose_scheme(hello.signature_schemes()) {
            noted::signed(signer.scheme());
        }
        Some(pair.shown())
    }
}
