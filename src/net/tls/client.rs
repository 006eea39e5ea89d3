//! The client's side of a handshake: with the server that a request is passed on to.

use super::Session;
use super::certificate::Certificate;
use super::ciphers;
use super::handshake::{Fault, shake_hands};
use super::noted::Noted;
use super::server::algorithms;
use super::tickets::Mark;
use super::verify::{AnyPeer, Trust, Verdict};
use crate::base::buffer::Buffer;
use crate::net::stream::Stream;
use ahash::AHashMap;
use rustls::client::{ClientConnection, Resumption};
use rustls::pki_types::{IpAddr, Ipv4Addr, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, Connection, SupportedCipherSuite};
use std::cell::RefCell;
use std::sync::Arc;

/// Sessions of one peer that are kept: those of TLS 1.3 are good for one connection each, and a server
/// gives two or four at a time.
const SESSIONS_OF_PEER: usize = 8;

/// Peers whose sessions a shard keeps, in each of two halves of which the older one is dropped when the
/// younger one is full. At eight sessions with a chain of 4 KB that they share, 512 are 8 MB.
const PEERS_MAX: usize = 512;

/// What the configuration said of handshakes with upstreams.
pub struct Recipe {
    /// TLS 1.2, TLS 1.3.
    pub versions: (bool, bool),
    /// Suites of TLS 1.2.
    pub suites: Vec<SupportedCipherSuite>,
    /// With what we say who we are.
    pub pair: Option<CertifiedKey>,
    /// Connections may go on with sessions of others.
    pub reuses: bool,
}

/// With what we say who we are, where that differs by request.
pub struct Own {
    /// The chain with its key.
    pub pair: CertifiedKey,
    /// A mark of both.
    pub mark: Mark,
}

/// What handshakes with upstreams are made with.
pub struct TlsClient {
    config: Arc<ClientConfig>,
    reuses: bool,
}

/// What requests have to share to use each other's connections.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The mark of the settings.
    pub settings: Mark,
    /// The name of the peer, where the settings make use of it.
    pub name: Box<[u8]>,
    /// What our certificate is named by, where that differs by request.
    pub certificate: Box<[u8]>,
}

impl Recipe {
    /// Makes it.
    ///
    /// # Errors
    /// What rustls finds wrong: suites that go with no version.
    pub fn make(self) -> Result<TlsClient, String> {
        let (provider, versions) = ciphers::provider(self.versions, &self.suites, ciphers::default_groups());
        let verifier = AnyPeer { hints: Vec::new(), algorithms: algorithms() };
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&versions)
            .map_err(|fault| fault.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match self.pair {
            Some(pair) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair))),
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        Ok(TlsClient { config: Arc::new(config), reuses: self.reuses })
    }
}

/// What a shard keeps of each peer: the sessions that connections go on with.
#[derive(Default)]
pub struct Peers(RefCell<Halves>);

#[derive(Default)]
struct Halves {
    young: Known,
    old: Known,
}

type Known = AHashMap<(Arc<str>, Arc<Identity>), (Mark, Arc<ClientConfig>)>;

impl Peers {
    /// What a connection to the peer with this address is made with; `own` instead of the settings' own
    /// certificate, if any.
    pub fn config(
        &self,
        client: &TlsClient,
        peer: &Arc<str>,
        identity: &Arc<Identity>,
        own: Option<&Own>,
    ) -> Arc<ClientConfig> {
        if !client.reuses {
            return own.map_or_else(|| client.config.clone(), |own| Arc::new(presenting(client, Some(own))));
        }
        let Halves { young, old } = &mut *self.0.borrow_mut();
        let key = (peer.clone(), identity.clone());
        let mark = own.map_or(Mark::default(), |own| own.mark);
        if let Some((_, known)) = young.get(&key).filter(|(known, _)| *known == mark) {
            return known.clone();
        }
        let kept = old.remove(&key).filter(|(known, _)| *known == mark).map(|(_, config)| config);
        let config = kept.unwrap_or_else(|| {
            let mut config = presenting(client, own);
            config.resumption = Resumption::in_memory_sessions(SESSIONS_OF_PEER);
            Arc::new(config)
        });
        if young.len() >= PEERS_MAX / 2 {
            *old = std::mem::take(young);
        }
        young.insert(key, (mark, config.clone()));
        config
    }
}

fn presenting(client: &TlsClient, own: Option<&Own>) -> ClientConfig {
    let mut config = (*client.config).clone();
    if let Some(own) = own {
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(own.pair.clone()));
    }
    config
}

/// Whom a connection has to lead to.
pub struct Expected<'e> {
    /// Who is trusted to say who others are; `None` takes anybody.
    pub trust: Option<&'e Trust>,
    /// The name the certificate has to be for.
    pub name: &'e [u8],
}

/// Why there is no connection.
pub enum Refusal {
    /// The handshake failed.
    Handshake(Fault),
    /// The certificate is not trusted: OpenSSL's number and words for the reason.
    Untrusted(u16, &'static str),
    /// It is for somebody else.
    OtherHost,
}

/// Makes a session with the server at the other end of `below`, which is told `name` (SNI) if that is one
/// of DNS.
///
/// # Errors
/// Why there is none.
pub async fn connect(
    below: Stream,
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
    identity: Arc<Identity>,
    expected: Expected<'_>,
) -> Result<Stream, Refusal> {
    // Nothing is sent of an address (RFC 6066, 3).
    let nobody = || ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([0, 0, 0, 0])));
    let tls = ClientConnection::new(config, name.unwrap_or_else(nobody))
        .map_err(|fault| Refusal::Handshake(Fault::Tls(fault)))?;
    let session = Session::new(below, Connection::Client(tls), Some(identity));
    if let Err(fault) = shake_hands(&session, Buffer::default(), &mut Noted::default()).await {
        session.end_silently();
        return Err(Refusal::Handshake(fault));
    }
    if let Some(trust) = expected.trust {
        judge(&session, trust, expected.name)?;
    }
    Ok(Stream::from(session))
}

fn judge(session: &Session, trust: &Trust, name: &[u8]) -> Result<(), Refusal> {
    let tls = session.tls.borrow();
    let chain = tls.peer_certificates().unwrap_or_default();
    if let Verdict::Failed(number, words) = trust.judge(chain) {
        return Err(Refusal::Untrusted(number, words));
    }
    match chain.first().and_then(|first| Certificate::read(first)) {
        Some(read) if read.is_for_host(name) => Ok(()),
        _ => Err(Refusal::OtherHost),
    }
}
