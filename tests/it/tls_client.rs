//! What the tests of TLS share: certificates made for each run, and a client, rustls over a plain socket.

use crate::harness::WAIT;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, OnceLock};

/// A certificate with its key, in PEM and as a client presents it.
pub struct Made {
    pub pem: String,
    pub key: String,
    pub chain: Vec<CertificateDer<'static>>,
    key_der: Vec<u8>,
}

impl Made {
    /// One that was made before, from its files.
    pub fn read(pem: &str, key: &str) -> Made {
        let pair = KeyPair::from_pem(key).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()];
        Made { pem: pem.to_owned(), key: key.to_owned(), chain, key_der: pair.serialize_der() }
    }
}

/// An authority.
pub struct Authority {
    pub pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        Authority { pem: made.pem(), der: made.der().clone(), issuer: Issuer::new(params, key) }
    }

    /// An authority below this one.
    pub fn below(&self, name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &self.issuer).unwrap();
        Authority { pem: made.pem(), der: made.der().clone(), issuer: Issuer::new(params, key) }
    }

    /// Its key.
    pub fn key(&self) -> &KeyPair {
        self.issuer.key()
    }

    /// Its own certificate, for it to present.
    pub fn own(&self) -> Made {
        Made {
            pem: self.pem.clone(),
            key: self.issuer.key().serialize_pem(),
            chain: vec![self.der.clone()],
            key_der: self.issuer.key().serialize_der(),
        }
    }

    /// The list of what it revoked, in PEM.
    pub fn revoke(&self, serials: &[u8]) -> String {
        let revoked = |serial: &u8| rcgen::RevokedCertParams {
            serial_number: vec![0x0a, *serial].into(),
            revocation_time: rcgen::date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2026, 1, 1),
            next_update: rcgen::date_time_ymd(2096, 1, 1),
            crl_number: vec![1].into(),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    /// A certificate for this name, signed by the authority.
    pub fn sign(&self, name: &str) -> Made {
        self.sign_with(name, |_| ())
    }

    /// The same with something more to it.
    pub fn sign_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Made {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Octroi");
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(vec![0x0a, 0x1b].into());
        change(&mut params);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let made = params.signed_by(&key, &self.issuer).unwrap();
        Made {
            pem: made.pem(),
            key: key.serialize_pem(),
            chain: vec![made.der().clone()],
            key_der: key.serialize_der(),
        }
    }
}

pub fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| Authority::new("root"))
}

/// Takes any certificate: which one came is for the tests to look at.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
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

/// A client; its connections go on with each other's sessions.
pub struct Client(pub Arc<ClientConfig>);

impl Client {
    pub fn new() -> Client {
        Client::with(&[&rustls::version::TLS13, &rustls::version::TLS12], None)
    }

    pub fn old() -> Client {
        Client::with(&[&rustls::version::TLS12], None)
    }

    pub fn presenting(made: &Made) -> Client {
        Client::with(&[&rustls::version::TLS13], Some(made))
    }

    fn with(versions: &[&'static rustls::SupportedProtocolVersion], made: Option<&Made>) -> Client {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody));
        Client(Arc::new(match made {
            Some(made) => {
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.key_der.clone()));
                builder.with_client_auth_cert(made.chain.clone(), key).unwrap()
            }
            None => builder.with_no_client_auth(),
        }))
    }

    /// Connects and shakes hands.
    pub fn connect(&self, port: u16, name: &str) -> Result<Tls, String> {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(WAIT)).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut tls = ClientConnection::new(self.0.clone(), name).unwrap();
        while tls.is_handshaking() {
            match tls.complete_io(&mut socket) {
                Ok((0, 0)) => return Err("closed".to_owned()),
                Ok(_) => {}
                Err(e) => return Err(e.to_string()),
            }
        }
        Ok(Tls { socket, tls })
    }

    /// One request on a connection of its own; all that comes back.
    pub fn get(&self, port: u16, name: &str, target: &str) -> String {
        let mut tls = self.connect(port, name).unwrap_or_else(|e| panic!("no handshake: {e}"));
        tls.send(format!("GET {target} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"));
        String::from_utf8_lossy(&tls.rest().0).into_owned()
    }

    /// The body of it.
    pub fn body(&self, port: u16, name: &str, target: &str) -> String {
        let all = self.get(port, name, target);
        all.split_once("\r\n\r\n").map_or(all.clone(), |(_, body)| body.to_owned())
    }
}

pub struct Tls {
    pub socket: TcpStream,
    pub tls: ClientConnection,
}

impl Tls {
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        rustls::Stream::new(&mut self.tls, &mut self.socket).write_all(bytes.as_ref()).unwrap();
    }

    /// Reads until `count` bytes came.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        let mut all = vec![0; count];
        rustls::Stream::new(&mut self.tls, &mut self.socket).read_exact(&mut all).unwrap();
        all
    }

    /// Reads until the mark came.
    pub fn until(&mut self, mark: &str) -> String {
        let mut all = Vec::new();
        while !all.ends_with(mark.as_bytes()) {
            all.extend(self.take(1));
        }
        String::from_utf8(all).unwrap()
    }

    /// Reads to the end; whether that was announced (`close_notify`).
    pub fn rest(&mut self) -> (Vec<u8>, bool) {
        let mut all = Vec::new();
        let ended = rustls::Stream::new(&mut self.tls, &mut self.socket).read_to_end(&mut all);
        (all, ended.is_ok())
    }

    /// The name in the certificate of the server.
    pub fn certificate(&self) -> Vec<u8> {
        self.tls.peer_certificates().unwrap()[0].to_vec()
    }
}
