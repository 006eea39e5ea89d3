//! What a server has for its handshakes, made from what the configuration said.

use super::certificate::Certificate;
use super::ciphers;
use super::compression::Zlib;
use super::key::{self, KeyFault};
use super::pairs::Pairs;
use super::tickets::{Keys, Mark, Store, Stored, Tickets};
use super::verify::{AnyPeer, Clients};
use ::aws_lc_rs::digest;
use rustls::crypto::{SupportedKxGroup, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::{NoServerSessionStorage, StoresServerSessions};
use rustls::sign::CertifiedKey;
use rustls::{DistinguishedName, ServerConfig, SupportedCipherSuite};
use std::sync::Arc;

/// Bytes that TLS adds to a record of TLS 1.3 beside its header are not counted by rustls; the header is.
const RECORD_HEAD_BYTES: usize = 5;

/// Sessions that a client of TLS 1.3 is given tickets for at a time, as OpenSSL does.
const TICKETS: usize = 2;

/// The protocols of HTTP/1 (RFC 7301), as nginx has them.
const HTTP1: [&[u8]; 3] = [b"http/1.1", b"http/1.0", b"http/0.9"];

/// HTTP/2 over TLS (RFC 9113, 3.2).
pub const HTTP2: &[u8] = b"h2";

/// What a server has for its handshakes.
#[derive(Clone)]
pub struct TlsServer {
    /// For rustls, where HTTP/1 is spoken only.
    pub config: Arc<ServerConfig>,
    /// The same where HTTP/2 is spoken too, and preferred.
    pub with_http2: Arc<ServerConfig>,
    /// Whose certificates it asks for; `None` for nobody's.
    pub clients: Option<Arc<Clients>>,
    /// Its certificates.
    pub pairs: Arc<Pairs>,
}

/// What the configuration said.
pub struct Recipe {
    /// Chains with their keys.
    pub pairs: Pairs,
    /// TLS 1.2, TLS 1.3.
    pub versions: (bool, bool),
    /// Suites of TLS 1.2.
    pub suites: Vec<SupportedCipherSuite>,
    /// Groups of the key exchange.
    pub groups: Vec<&'static dyn SupportedKxGroup>,
    /// Certificates are compressed for clients that take it.
    pub compresses: bool,
    /// The order of suites is the server's.
    pub prefers_own: bool,
    /// The largest record, bytes.
    pub record_bytes: usize,
    /// Whose certificates are asked for.
    pub clients: Option<Clients>,
    /// The names of those that clients are told are trusted.
    pub hints: Vec<DistinguishedName>,
    /// What tickets are made with; `None` for no tickets.
    pub tickets: Option<Keys>,
    /// The store of sessions.
    pub store: Option<Store>,
    /// How long a session may go on, seconds.
    pub session_s: u32,
    /// What a session must share with another to go on there.
    pub mark: Mark,
}

impl Recipe {
    /// Makes it.
    ///
    /// # Errors
    /// What rustls finds wrong: suites that go with no version.
    pub fn make(self) -> Result<TlsServer, String> {
        let (provider, versions) = ciphers::provider(self.versions, &self.suites, self.groups);
        let algorithms = provider.signature_verification_algorithms;
        let builder = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&versions)
            .map_err(|fault| fault.to_string())?;
        let builder = match self.clients {
            Some(_) => builder.with_client_cert_verifier(Arc::new(AnyPeer { hints: self.hints, algorithms })),
            None => builder.with_no_client_auth(),
        };
        let pairs = Arc::new(self.pairs);
        let mut config = builder.with_cert_resolver(pairs.clone());
        config.alpn_protocols = HTTP1.map(<[u8]>::to_vec).into();
        if self.compresses {
            config.cert_compressors = vec![&Zlib];
            config.cert_decompressors = vec![&Zlib];
        }
        config.ignore_client_order = self.prefers_own;
        config.max_fragment_size = Some(self.record_bytes + RECORD_HEAD_BYTES);
        config.send_tls13_tickets = TICKETS;
        config.session_storage = match self.store {
            Some(store) => Arc::new(Stored::new(store, self.mark, self.session_s)),
            None => Arc::new(NoServerSessionStorage {}) as Arc<dyn StoresServerSessions>,
        };
        if let Some(keys) = self.tickets {
            config.ticketer = Arc::new(Tickets::new(keys, self.mark, self.session_s));
        }
        let mut with_http2 = config.clone();
        with_http2.alpn_protocols.insert(0, HTTP2.to_vec());
        Ok(TlsServer {
            config: Arc::new(config),
            with_http2: Arc::new(with_http2),
            clients: self.clients.map(Arc::new),
            pairs,
        })
    }
}

/// The algorithms that signatures are verified with.
pub fn algorithms() -> WebPkiSupportedAlgorithms {
    aws_lc_rs::default_provider().signature_verification_algorithms
}

/// The certificates of a PEM file, in its order.
///
/// # Errors
/// What is wrong with it.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err("no certificate in it".to_owned()),
        Ok(found) if found.iter().all(|one| Certificate::read(one).is_some()) => Ok(found),
        Ok(_) => Err("a certificate in it cannot be read".to_owned()),
        Err(fault) => Err(fault.to_string()),
    }
}

/// The lists of revoked certificates in a PEM file.
///
/// # Errors
/// What is wrong with it.
pub fn revocations(pem: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err("no list in it".to_owned()),
        Ok(found) => Ok(found),
        Err(fault) => Err(fault.to_string()),
    }
}

/// A chain with the key of its first certificate, from a PEM file, which one of the pass phrases may have
/// to open.
///
/// # Errors
/// What is wrong with the key.
pub fn pair(
    chain: Vec<CertificateDer<'static>>,
    pem: &[u8],
    passwords: &[Vec<u8>],
) -> Result<CertifiedKey, KeyFault> {
    let key = key::read(pem, passwords)?;
    let key =
        aws_lc_rs::sign::any_supported_type(&key).map_err(|fault| KeyFault::Unusable(fault.to_string()))?;
    // rustls would compare the two itself, but cannot read certificates of version 1.
    let certified = chain.first().and_then(|first| Certificate::read(first)).map(|read| read.key);
    if let (Some(own), Some(certified)) = (key.public_key(), certified)
        && own.as_ref() != certified
    {
        return Err(KeyFault::Mismatch);
    }
    Ok(CertifiedKey::new(chain, key))
}

/// The names of certificates, for clients to choose by.
pub fn names(certificates: &[CertificateDer<'_>]) -> Vec<DistinguishedName> {
    let name =
        |one: &CertificateDer<'_>| Some(DistinguishedName::in_sequence(Certificate::read(one)?.subject));
    certificates.iter().filter_map(name).collect()
}

/// A digest of all that makes one server's sessions different from another's.
pub fn mark<'p>(parts: impl Iterator<Item = &'p [u8]>) -> Mark {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    let mut mark = Mark::default();
    mark.copy_from_slice(context.finish().as_ref());
    mark
}
