//! The server's side of a handshake, and what is known of a session for as long as it lasts.

use super::ciphers;
use super::noted::{Noted, SessionId};
use super::offered::Offered;
use super::pairs::Pairs;
use super::server::{HTTP2, TlsServer};
use super::verify::Verdict;
use super::{Now, Session};
use crate::base::buffer::Buffer;
use crate::bridge::published::Published;
use crate::net::stream::Stream;
use rustls::pki_types::CertificateDer;
use rustls::server::{Acceptor, ClientHello};
use rustls::{Connection, HandshakeKind, NamedGroup, ProtocolVersion};
use std::cell::{Cell, RefCell};
use std::io;
use std::sync::{Arc, Weak};

/// An alert record (RFC 8446, 6): fatal, `unrecognized_name` (RFC 6066, 3).
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// What the client is answered with.
pub enum Choice {
    /// The handshake goes on with what this server has.
    Serve {
        /// The server.
        server: Arc<Published<TlsServer>>,
        /// HTTP/2 is spoken there.
        http2: bool,
        /// The certificates for this handshake, where the server has not the same for all.
        own: Option<Pairs>,
    },
    /// It fails: the certificates for it cannot be had.
    Fail,
    /// It is refused: there is no such name here.
    Reject,
}

/// The same: fatal, `internal_error`.
const INTERNAL_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];

/// Why there is no session.
pub enum Fault {
    /// The socket failed.
    Broken(io::Error),
    /// The client closed the connection.
    Closed,
    /// The name was refused.
    Rejected,
    /// There is no certificate for it.
    NoCertificate,
    /// What the client sent is no TLS, or there is nothing in common.
    Tls(rustls::Error),
}

/// What is known of a session.
pub struct Facts {
    /// The version.
    pub protocol: &'static str,
    /// The suite, by OpenSSL's name.
    pub cipher: &'static str,
    /// The group of the key exchange, by OpenSSL's name; empty where there was none.
    pub curve: &'static str,
    /// The name the client asked for (RFC 6066, 3), in lower case.
    pub name: Option<Box<str>>,
    /// A server was found by that name.
    pub is_named: bool,
    /// The protocol agreed on (RFC 7301).
    pub alpn: Box<[u8]>,
    /// The session goes on with one from before.
    pub is_resumed: bool,
    /// The session's identifier, where it can be gone on with.
    pub session: Option<SessionId>,
    /// What the server signed with, by its name in RFC 8446, 4.2.3; empty where it did not.
    pub signed: &'static str,
    /// What the client offered.
    pub offered: Offered,
    /// The client's certificate and those that it sent with it.
    pub chain: Box<[CertificateDer<'static>]>,
    /// What its verification said.
    verdict: Cell<Verdict>,
    /// Whose settings it was verified by, and the number of those.
    judge: RefCell<(Weak<Published<TlsServer>>, u64)>,
}

impl Facts {
    /// Those of a session that there is not: as if a client without a certificate had asked for `name`
    /// over TLS 1.3.
    pub fn assumed(name: &str, is_named: bool) -> Facts {
        Facts {
            protocol: "TLSv1.3",
            cipher: "TLS_AES_128_GCM_SHA256",
            curve: "X25519",
            name: Some(name.into()),
            is_named,
            alpn: Box::default(),
            is_resumed: false,
            session: None,
            signed: "",
            offered: Offered::default(),
            chain: Box::default(),
            verdict: Cell::new(Verdict::None),
            judge: RefCell::default(),
        }
    }

    /// Whether HTTP/2 was agreed on.
    pub fn is_http2(&self) -> bool {
        *self.alpn == *HTTP2
    }

    /// What the verification of the client's certificate said.
    pub fn verdict(&self) -> Verdict {
        self.verdict.get()
    }

    /// What it says by these settings, if they are not those it was verified by.
    pub fn judged_by(&self, server: &Arc<Published<TlsServer>>) -> Verdict {
        let mut judge = self.judge.borrow_mut();
        let is_known = judge.0.as_ptr() == Arc::as_ptr(server) && judge.1 == server.number();
        if !is_known {
            let (current, number) = server.current();
            if let Some(clients) = &current.clients {
                self.verdict.set(clients.judge(&self.chain));
            }
            *judge = (Arc::downgrade(server), number);
        }
        self.verdict.get()
    }
}

/// Makes a session with the client at the other end of `below`, of whom `cipher` came already. `choose`
/// is given the name the client asks for, in lower case; it says what that is answered with, and whether
/// the name was known.
///
/// # Errors
/// Why there is none.
pub async fn accept(
    below: &Stream,
    mut cipher: Buffer,
    choose: impl AsyncFnOnce(Option<&str>) -> (Choice, bool),
) -> Result<(Stream, Facts), Fault> {
    let mut acceptor = Acceptor::default();
    let accepted = loop {
        if cipher.is_empty() {
            cipher = more(below).await?;
        }
        let mut rest = cipher.filled();
        let read = acceptor.read_tls(&mut rest).map_err(Fault::Broken)?;
        cipher.consume(read);
        match acceptor.accept() {
            Ok(Some(accepted)) => break accepted,
            Ok(None) if read == 0 => return Err(Fault::Closed),
            Ok(None) => {}
            Err((fault, mut alert)) => {
                let _ = alert.write_all(&mut Now(below));
                return Err(Fault::Tls(fault));
            }
        }
    };
    let name = name(&accepted.client_hello());
    let offered = Offered::read(&accepted.client_hello());
    let (choice, is_known) = choose(name.as_deref()).await;
    let (server, http2, own) = match choice {
        Choice::Serve { server, http2, own } => (server, http2, own),
        Choice::Reject => {
            let _ = below.send_now(&UNRECOGNIZED_NAME);
            return Err(Fault::Rejected);
        }
        Choice::Fail => {
            let _ = below.send_now(&INTERNAL_ERROR);
            return Err(Fault::NoCertificate);
        }
    };
    let (current, number) = server.current();
    let mut config = if http2 { current.with_http2.clone() } else { current.config.clone() };
    if let Some(own) = own {
        Arc::make_mut(&mut config).cert_resolver = Arc::new(own);
    }
    // Of another handshake, if anything.
    Noted::default().take();
    let mut noted = Noted::default();
    let tls = match accepted.into_connection(config) {
        Ok(tls) => tls,
        Err((fault, mut alert)) => {
            let _ = alert.write_all(&mut Now(below));
            return Err(Fault::Tls(fault));
        }
    };
    let session = Session::new(below.clone(), Connection::Server(tls), None);
    noted.take();
    if let Err(fault) = shake_hands(&session, cipher, &mut noted).await {
        session.end_silently();
        return Err(fault);
    }
    let is_named = is_known && name.is_some();
    let judge = RefCell::new((Arc::downgrade(&server), number));
    let facts = Facts { name, is_named, offered, judge, ..facts(&session, &current, noted) };
    Ok((Stream::from(session), facts))
}

/// Goes on until both sides know each other.
pub(super) async fn shake_hands(
    session: &Session,
    mut cipher: Buffer,
    noted: &mut Noted,
) -> Result<(), Fault> {
    loop {
        if !cipher.is_empty() {
            Noted::default().take();
            let decrypted = session.decrypt(std::mem::take(&mut cipher));
            noted.take();
            decrypted.map_err(tls_fault)?;
        }
        session.drain().await.map_err(Fault::Broken)?;
        if !session.tls.borrow().is_handshaking() {
            return Ok(());
        }
        cipher = more(&session.below).await?;
    }
}

/// Reads once.
async fn more(below: &Stream) -> Result<Buffer, Fault> {
    let (read, cipher) = below.read(Buffer::small()).await;
    match read {
        Ok(0) => Err(Fault::Closed),
        Ok(_) => Ok(cipher),
        Err(fault) => Err(Fault::Broken(fault)),
    }
}

/// What is the session's fault, and what is the socket's.
fn tls_fault(fault: io::Error) -> Fault {
    match fault.downcast::<rustls::Error>() {
        Ok(fault) => Fault::Tls(fault),
        Err(fault) => Fault::Broken(fault),
    }
}

/// The name the client asks for, in lower case.
fn name(hello: &ClientHello<'_>) -> Option<Box<str>> {
    hello.server_name().map(|name| name.to_ascii_lowercase().into())
}

fn facts(session: &Session, server: &TlsServer, noted: Noted) -> Facts {
    let tls = session.tls.borrow();
    let chain: Box<[CertificateDer<'static>]> = tls.peer_certificates().unwrap_or_default().into();
    let verdict = match &server.clients {
        Some(clients) => clients.judge(&chain),
        None => Verdict::None,
    };
    let is_resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
    let signed = noted.signed.filter(|_| !is_resumed);
    let group = tls.negotiated_key_exchange_group().map(|group| group.name());
    Facts {
        protocol: match tls.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        },
        cipher: tls.negotiated_cipher_suite().map_or("", |suite| ciphers::name(suite.suite())),
        curve: group.map_or("", curve),
        name: None,
        is_named: false,
        alpn: tls.alpn_protocol().unwrap_or_default().into(),
        is_resumed,
        session: noted.session,
        signed: signed.map_or("", ciphers::scheme),
        offered: Offered::default(),
        chain,
        verdict: Cell::new(verdict),
        judge: RefCell::default(),
    }
}

/// OpenSSL's name of a group.
fn curve(group: NamedGroup) -> &'static str {
    match group {
        NamedGroup::X25519 => "X25519",
        NamedGroup::secp256r1 => "prime256v1",
        NamedGroup::secp384r1 => "secp384r1",
        NamedGroup::X25519MLKEM768 => "X25519MLKEM768",
        NamedGroup::secp256r1MLKEM768 => "SecP256r1MLKEM768",
        NamedGroup::MLKEM768 => "MLKEM768",
        NamedGroup::MLKEM1024 => "MLKEM1024",
        _ => "",
    }
}
