//! Certificates of the other side: whether their chains lead to somebody trusted (RFC 5280, 6). A
//! handshake goes on with any certificate whose key the other side holds; what its verification says is
//! for the request, as in nginx.

use super::authority;
use super::certificate::Certificate;
use super::list::{List, Wrong};
use crate::base::clock;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, SignatureScheme};
use std::time::Duration;
use webpki::{
    BorrowedCertRevocationList, CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage,
    RawPublicKeyEntity, RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy,
};

/// `ssl_verify_client`, where it is not off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A certificate, and a good one.
    On,
    /// None, or a good one.
    Optional,
    /// None, or any: whether it is trusted is said in a variable only.
    OptionalNoCa,
}

/// What the verification of a certificate said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There was none.
    None,
    /// It is trusted.
    Trusted,
    /// It is not: OpenSSL's number and words for the reason.
    Failed(u16, &'static str),
}

/// The errors of OpenSSL that `optional_no_ca` lets pass: the issuer is not known.
const UNKNOWN_ISSUER: [u16; 5] = [2, 18, 19, 20, 21];

/// Who is trusted to say who clients are.
pub struct Clients {
    /// `ssl_verify_client`.
    pub mode: Mode,
    /// By whom their certificates have to be signed.
    pub trust: Trust,
}

impl Clients {
    /// Trusts these roots, over at most `depth` certificates between one of them and a client's.
    pub fn new(
        mode: Mode,
        roots: Vec<CertificateDer<'static>>,
        depth: usize,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Clients {
        Clients { mode, trust: Trust::new(roots, depth, algorithms, Role::Client) }
    }

    /// Whether a client with this verdict may make requests.
    ///
    /// # Errors
    /// The words for the log and nginx's status.
    pub fn admit(mode: Mode, verdict: Verdict) -> Result<(), (String, u16)> {
        match verdict {
            Verdict::Trusted => Ok(()),
            Verdict::None if mode != Mode::On => Ok(()),
            Verdict::None => Err(("client sent no required SSL certificate".to_owned(), 496)),
            Verdict::Failed(number, _) if mode == Mode::OptionalNoCa && UNKNOWN_ISSUER.contains(&number) => {
                Ok(())
            }
            Verdict::Failed(number, words) => {
                Err((format!("client SSL certificate verify error: ({number}:{words})"), 495))
            }
        }
    }
    /// Verifies what a client sent: its certificate first.
    pub fn judge(&self, chain: &[CertificateDer<'_>]) -> Verdict {
        self.trust.judge(chain)
    }
}

/// Whose certificates are verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Clients'.
    Client,
    /// Those of servers that we ask.
    Server,
}

/// Who is trusted to say who others are.
pub struct Trust {
    role: Role,
    roots: Vec<CertificateDer<'static>>,
    /// Of the roots those that vouch for themselves: as in OpenSSL a chain ends there and nowhere else.
    anchors: Vec<TrustAnchor<'static>>,
    /// The other ones, which may stand between.
    links: Vec<CertificateDer<'static>>,
    depth: usize,
    revocations: Vec<CertRevocationList<'static>>,
    /// All lists, where one of them is nothing for webpki.
    lists: Vec<List>,
    has_old_lists: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Trust {
    /// Trusts these roots, over at most `depth` certificates between one of them and that in question.
    pub fn new(
        roots: Vec<CertificateDer<'static>>,
        depth: usize,
        algorithms: WebPkiSupportedAlgorithms,
        role: Role,
    ) -> Trust {
        let anchor =
            |root: &CertificateDer<'_>| Some(webpki::anchor_from_trusted_cert(root).ok()?.to_owned());
        let vouches =
            |root: &CertificateDer<'_>| Certificate::read(root).is_some_and(|read| read.is_self_issued());
        let (own, links): (Vec<_>, Vec<_>) = roots.iter().cloned().partition(vouches);
        let anchors = own.iter().filter_map(anchor).collect();
        Trust {
            role,
            roots,
            anchors,
            links,
            depth,
            revocations: Vec::new(),
            lists: Vec::new(),
            has_old_lists: false,
            algorithms,
        }
    }

    /// Adds a list of certificates that were revoked; false if it is none.
    #[must_use]
    pub fn add_revocations(&mut self, der: &[u8]) -> bool {
        let Some(list) = List::read(der) else { return false };
        self.lists.push(list);
        match BorrowedCertRevocationList::from_der(der).and_then(|list| list.to_owned()) {
            Ok(list) => self.revocations.push(CertRevocationList::from(list)),
            Err(_) => self.has_old_lists = true,
        }
        true
    }

    /// Verifies what the other side sent: its certificate first.
    pub fn judge(&self, chain: &[CertificateDer<'_>]) -> Verdict {
        let Some((leaf, between)) = chain.split_first() else { return Verdict::None };
        let Some(read) = Certificate::read(leaf) else {
            return Verdict::Failed(1, "unspecified certificate verification error");
        };
        let now = clock::unix_time(clock::now());
        // One that is trusted itself needs nobody to vouch for it.
        let is_root = read.is_self_issued() && self.roots.contains(leaf);
        if is_root && self.lists.is_empty() {
            return in_time(&read, now);
        }
        if !read.has_version {
            return match self.issuing_root(&read) {
                Some(root) => match self.look(&read, root.key, now) {
                    Ok(()) => in_time(&read, now),
                    Err(fault) => failed(&fault),
                },
                None => unknown_issuer(&read, between),
            };
        }
        match self.verify(leaf, between, now) {
            Ok(()) => Verdict::Trusted,
            Err(webpki::Error::UnknownIssuer) => unknown_issuer(&read, between),
            Err(webpki::Error::CaUsedAsEndEntity) if self.role == Role::Client && self.lists.is_empty() => {
                self.judge_authority(read, now)
            }
            Err(fault) => failed(&fault),
        }
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: Duration,
    ) -> Result<(), webpki::Error> {
        let leaf = EndEntityCert::try_from(leaf)?;
        let sent = between.iter().map(|one| CertificateDer::from(one.as_ref()));
        let between: Vec<_> =
            self.links.iter().map(|one| CertificateDer::from(one.as_ref())).chain(sent).collect();
        // Those that webpki does not take are looked at below, with all others.
        let unknown = match self.has_old_lists {
            true => UnknownStatusPolicy::Allow,
            false => UnknownStatusPolicy::Deny,
        };
        let lists: Vec<&CertRevocationList<'_>> = self.revocations.iter().collect();
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            options
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(unknown)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        });
        let depth = self.depth;
        let rules = |path: &webpki::VerifiedPath<'_>| {
            if path.intermediate_certificates().count() > depth {
                return Err(webpki::Error::MaximumPathDepthExceeded);
            }
            if self.has_old_lists { self.look_along(path, now) } else { Ok(()) }
        };
        let at = UnixTime::since_unix_epoch(now);
        let usage = match self.role {
            Role::Client => KeyUsage::client_auth(),
            Role::Server => KeyUsage::server_auth(),
        };
        let algorithms = self.algorithms.all;
        leaf.verify_for_usage(algorithms, &self.anchors, &between, at, usage, revocation, Some(&rules))
            .map(|_| ())
    }

    /// For certificates of version 1, which webpki does not take: the root that signed it.
    fn issuing_root(&self, read: &Certificate<'_>) -> Option<Certificate<'_>> {
        let roots = self.roots.iter().filter_map(|root| Certificate::read(root));
        let mut issuers = roots.filter(|root| root.subject == read.issuer);
        let signed = (read.signed, read.algorithm, read.signature);
        issuers.find(|issuer| is_signed(&self.algorithms, issuer.key, signed))
    }

    /// Looks in the lists for each certificate of a path.
    fn look_along(&self, path: &webpki::VerifiedPath<'_>, now: Duration) -> Result<(), webpki::Error> {
        let between = path.intermediate_certificates().map(|one| one.der());
        let chain: Vec<CertificateDer<'_>> =
            std::iter::once(path.end_entity().der()).chain(between).collect();
        let read = |der: &CertificateDer<'_>| Certificate::read(der).map(|read| read.key.to_vec());
        let of_root = self.roots.iter().filter_map(|root| Certificate::read(root));
        let of_root = of_root.filter(|root| root.subject == path.anchor().subject.as_ref());
        let roots: Vec<&[u8]> = of_root.map(|root| root.key).collect();
        for (at, one) in chain.iter().enumerate() {
            let Some(read_one) = Certificate::read(one) else { return Err(webpki::Error::BadDer) };
            let above = chain.get(at + 1).and_then(read);
            let keys: Vec<&[u8]> = above.as_deref().map_or(roots.clone(), |key| vec![key]);
            let looks = keys.into_iter().map(|key| self.look(&read_one, key, now));
            // Of roots of one name the one that signed the list counts.
            let mut result = Err(webpki::Error::UnknownRevocationStatus);
            for look in looks {
                let is_forged = matches!(look, Err(webpki::Error::InvalidCrlSignatureForPublicKey));
                result = look;
                if !is_forged {
                    break;
                }
            }
            result?;
        }
        Ok(())
    }

    /// Looks in the lists for one certificate, whose issuer has this key.
    fn look(&self, read: &Certificate<'_>, key: &[u8], now: Duration) -> Result<(), webpki::Error> {
        if self.lists.is_empty() {
            return Ok(());
        }
        let at = UnixTime::since_unix_epoch(now);
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let mut found = Err(webpki::Error::UnknownRevocationStatus);
        for list in self.lists.iter().filter(|list| list.issuer == read.issuer) {
            found = list.look(&self.algorithms, read.serial, key, now).map_err(|wrong| match wrong {
                Wrong::Revoked => webpki::Error::CertRevoked,
                Wrong::Expired => webpki::Error::CrlExpired { time: at, next_update: at },
                Wrong::Forged => webpki::Error::InvalidCrlSignatureForPublicKey,
            });
            if matches!(found, Err(webpki::Error::CertRevoked)) {
                return found;
            }
        }
        found
    }

    /// For an authority that presents its own certificate, which webpki does not take: whether the roots
    /// lead from it to one that vouches for itself.
    fn judge_authority(&self, read: Certificate<'_>, now: Duration) -> Verdict {
        if !authority::may_be_a_client(&read) {
            return Verdict::Failed(26, "unsuitable certificate purpose");
        }
        let roots: Vec<Certificate<'_>> =
            self.roots.iter().filter_map(|root| Certificate::read(root)).collect();
        let mut below = &read;
        for between in 0..=self.depth.min(self.roots.len()) {
            let vouches = |issuer: &&Certificate<'_>| {
                issuer.subject == below.issuer
                    && authority::may_sign(issuer, between)
                    && is_signed(
                        &self.algorithms,
                        issuer.key,
                        (below.signed, below.algorithm, below.signature),
                    )
            };
            let Some(issuer) = roots.iter().find(vouches) else { return unknown_issuer(&read, &[]) };
            for one in [below, issuer] {
                match in_time(one, now) {
                    Verdict::Trusted => {}
                    other => return other,
                }
            }
            if issuer.is_self_issued() {
                return Verdict::Trusted;
            }
            below = issuer;
        }
        Verdict::Failed(20, "unable to get local issuer certificate")
    }
}

/// Whether this key made the signature under these bytes, by this algorithm.
pub(super) fn is_signed(
    algorithms: &WebPkiSupportedAlgorithms,
    key: &[u8],
    (bytes, algorithm, signature): (&[u8], &[u8], &[u8]),
) -> bool {
    let key = SubjectPublicKeyInfoDer::from(key);
    let Ok(key) = RawPublicKeyEntity::try_from(&key) else { return false };
    let mut fitting = algorithms.all.iter().filter(|one| one.signature_alg_id().as_ref() == algorithm);
    fitting.any(|one| key.verify_signature(*one, bytes, signature).is_ok())
}

fn failed(fault: &webpki::Error) -> Verdict {
    let (number, words) = openssl_words(fault);
    Verdict::Failed(number, words)
}

fn in_time(read: &Certificate<'_>, now: Duration) -> Verdict {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    match now {
        _ if now < read.from => Verdict::Failed(9, "certificate is not yet valid"),
        _ if now > read.until => Verdict::Failed(10, "certificate has expired"),
        _ => Verdict::Trusted,
    }
}

fn unknown_issuer(read: &Certificate<'_>, between: &[CertificateDer<'_>]) -> Verdict {
    let last = between.last().and_then(|last| Certificate::read(last));
    match last {
        None if read.is_self_issued() => Verdict::Failed(18, "self-signed certificate"),
        None => Verdict::Failed(21, "unable to verify the first certificate"),
        Some(last) if last.is_self_issued() => {
            Verdict::Failed(19, "self-signed certificate in certificate chain")
        }
        Some(_) => Verdict::Failed(20, "unable to get local issuer certificate"),
    }
}

/// OpenSSL's number and words for what webpki says (X509_verify_cert_error_string(3)).
fn openssl_words(fault: &webpki::Error) -> (u16, &'static str) {
    use webpki::Error as E;
    match fault {
        E::CertExpired { .. } => (10, "certificate has expired"),
        E::CertNotValidYet { .. } => (9, "certificate is not yet valid"),
        E::CertRevoked => (23, "certificate revoked"),
        E::UnknownRevocationStatus => (3, "unable to get certificate CRL"),
        E::CrlExpired { .. } => (12, "CRL has expired"),
        E::InvalidCrlSignatureForPublicKey => (8, "CRL signature failure"),
        E::InvalidSignatureForPublicKey => (7, "certificate signature failure"),
        // What OpenSSL says last when it has not got to a root within the depth.
        E::MaximumPathDepthExceeded => (20, "unable to get local issuer certificate"),
        E::PathLenConstraintViolated => (25, "path length constraint exceeded"),
        E::EndEntityUsedAsCa => (79, "invalid CA certificate"),
        E::RequiredEkuNotFoundContext(_) | E::CaUsedAsEndEntity => (26, "unsuitable certificate purpose"),
        E::NameConstraintViolation => (47, "permitted subtree violation"),
        _ => (1, "unspecified certificate verification error"),
    }
}

/// Lets a handshake go on with any certificate whose key the other side holds.
#[derive(Debug)]
pub(super) struct AnyPeer {
    /// Who is said to be trusted, for the client to choose by.
    pub hints: Vec<DistinguishedName>,
    pub algorithms: WebPkiSupportedAlgorithms,
}

impl AnyPeer {
    fn verify_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let unknown = PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme;
        let (_, algorithms) =
            self.algorithms.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme).ok_or(unknown)?;
        // From the certificate itself, since webpki takes none of version 1.
        let read = Certificate::read(certificate).ok_or(rustls::CertificateError::BadEncoding)?;
        let key = SubjectPublicKeyInfoDer::from(read.key);
        let key = RawPublicKeyEntity::try_from(&key).map_err(|_| rustls::CertificateError::BadEncoding)?;
        let is_right = |algorithm: &&dyn rustls::pki_types::SignatureVerificationAlgorithm| {
            key.verify_signature(*algorithm, message, signed.signature()).is_ok()
        };
        match algorithms.iter().any(is_right) {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(rustls::CertificateError::BadSignature.into()),
        }
    }
}

impl AnyPeer {
    /// RFC 8446, 4.2.3: PKCS #1 v1.5 and SHA-1 are for certificates only.
    fn verify_of_tls13(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let is_for_handshakes = !matches!(
            signed.scheme,
            SignatureScheme::RSA_PKCS1_SHA1
                | SignatureScheme::RSA_PKCS1_SHA256
                | SignatureScheme::RSA_PKCS1_SHA384
                | SignatureScheme::RSA_PKCS1_SHA512
                | SignatureScheme::ECDSA_SHA1_Legacy
        );
        match is_for_handshakes {
            true => self.verify_signature(message, certificate, signed),
            false => Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into()),
        }
    }
}

impl ClientCertVerifier for AnyPeer {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_of_tls13(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for AnyPeer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_of_tls13(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
