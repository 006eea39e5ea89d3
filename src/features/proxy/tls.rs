//! TLS to upstreams: what `proxy_ssl_*` says of connections to `https://`.

use super::attempt::timed_out;
use super::retry::Failure;
use crate::base::process_settings::Level;
use crate::conf::{Diagnostic, Scope};
use crate::features::ssl::{self, Files, Named};
use crate::net::error_log::OsError;
use crate::net::stream::Stream;
use crate::net::tls::client::{self, Expected, Identity, Own, Peers, Recipe, Refusal, TlsClient};
use crate::net::tls::handshake::Fault;
use crate::net::tls::server::{algorithms, certificates, mark};
use crate::net::tls::tickets::Mark;
use crate::net::tls::verify::{Role, Trust};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::local::Slot;
use crate::pipeline::template::Template;
use crate::plan::builder::Builder;
use rustls::pki_types::ServerName;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// What a location does about TLS to its upstreams.
pub struct ProxyTls {
    client: TlsClient,
    /// `proxy_ssl_verify`
    trust: Option<Trust>,
    /// `proxy_ssl_name`; the host of the URL where there is none.
    name: Option<Template>,
    /// `proxy_ssl_server_name`
    sends_name: bool,
    peers: Slot<Peers>,
    settings: Mark,
    /// `proxy_ssl_certificate` where its name has variables.
    named: Option<Named>,
    /// The identity of all connections, where it is the same for all requests.
    fixed: Option<Arc<Identity>>,
}

/// The slot of what shards keep of peers, which all locations share.
#[derive(Default)]
struct Shared(Option<Slot<Peers>>);

impl ProxyTls {
    /// From the configuration. `host` is that of the URL, where it has no variables.
    ///
    /// # Errors
    /// What nginx refuses, and what does not exist here.
    pub fn compile(
        scope: &Scope<'_>,
        host: Option<&[u8]>,
        b: &mut Builder<'_>,
    ) -> Result<ProxyTls, Diagnostic> {
        let versions = ssl::versions(scope, b, "proxy_ssl_protocols")?;
        let suites = ssl::suites(scope, "proxy_ssl_ciphers")?;
        let named = Named::compile(scope, b, CERTIFICATE)?;
        let pair = if named.is_some() { None } else { own_pair(scope, b)? };
        let (trust, trusted) = trust(scope, b)?;
        let sends_name = scope.flag("proxy_ssl_server_name", false)?;
        let reuses = scope.flag("proxy_ssl_session_reuse", true)?;
        let name = ssl::argument(scope, "proxy_ssl_name").map(|(_, word)| b.template(word)).transpose()?;
        let chain = pair.iter().flat_map(|pair| pair.cert.iter().map(|one| one.as_ref()));
        let words = format!(
            "{versions:?} {:?} {sends_name} {reuses} {:?}",
            suites.iter().map(|suite| suite.suite()).collect::<Vec<_>>(),
            CERTIFICATE.map(|name| ssl::argument(scope, name).map(|(_, word)| &word.text)),
        );
        let settings =
            mark(chain.chain([&[][..]]).chain(trusted.iter().map(Vec::as_slice)).chain([words.as_bytes()]));
        let recipe = Recipe { versions, suites, pair, reuses };
        let client = recipe.make().map_err(|fault| {
            let message = format!("TLS to upstreams cannot be set up: {fault}");
            scope.one("proxy_ssl_ciphers").map_or_else(
                || Diagnostic::new(Level::Emerg, message.clone()),
                |line| scope.error(line, message.clone()),
            )
        })?;
        let peers = match b.store::<Shared>().0 {
            Some(slot) => slot,
            None => {
                let slot = b.reserve(|_| Peers::default());
                b.store::<Shared>().0 = Some(slot);
                slot
            }
        };
        let mut tls = ProxyTls { client, trust, name, sends_name, peers, settings, named, fixed: None };
        let literal = ssl::argument(scope, "proxy_ssl_name").map(|(_, word)| word.text.as_bytes());
        let known = literal.or(host).filter(|name| !name.contains(&b'$'));
        let is_named = tls.sends_name || tls.trust.is_some();
        let known = known.or((!is_named).then_some(b"")).filter(|_| tls.named.is_none());
        tls.fixed = known.map(|name| Arc::new(tls.identity_of(name, None)));
        Ok(tls)
    }

    /// Of which connections this request may use one.
    pub fn identity(&self, x: &Exchange) -> Arc<Identity> {
        if let Some(fixed) = &self.fixed {
            return fixed.clone();
        }
        let files = self.named.as_ref().and_then(|named| named.files(x));
        Arc::new(match &self.name {
            Some(name) => self.identity_of(&name.value(x), files.as_ref()),
            None => self.identity_of(&x.proxy_host, files.as_ref()),
        })
    }

    fn identity_of(&self, name: &[u8], files: Option<&Files>) -> Identity {
        // Names that nobody looks at keep no connections apart.
        let name = if self.sends_name || self.trust.is_some() { without_port(name) } else { b"" };
        let certificate = files.map(|files| [&files.certificate, &b"\0"[..], &files.key].concat());
        let certificate = certificate.unwrap_or_default().into();
        Identity { settings: self.settings, name: name.into(), certificate }
    }

    /// Shakes hands with the upstream at the other end of a connection.
    ///
    /// # Errors
    /// Why it is of no use; the reason is in the error log.
    pub async fn secure(
        &self,
        x: &mut Exchange,
        stream: Stream,
        peer: &Arc<str>,
        identity: Arc<Identity>,
        deadline: Instant,
    ) -> Result<Stream, Failure> {
        let own = self.own(x).await?;
        let config = x.locals.at(self.peers).config(&self.client, peer, &identity, own.as_deref());
        let name = match self.sent_name(&identity.name) {
            Ok(name) => name,
            Err(name) => {
                x.log(Level::Error, format_args!("invalid name \"{name}\" in \"proxy_ssl_name\""));
                return Err(Failure::Status(500));
            }
        };
        let expected = Expected { trust: self.trust.as_ref(), name: &identity.name };
        let shaken = client::connect(stream, config, name, identity.clone(), expected);
        match x.alarm.within(deadline, shaken).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(refusal)) => {
                log_refusal(x, refusal, &identity.name);
                Err(Failure::Error)
            }
            Err(_) => {
                timed_out(x, HANDSHAKING);
                Err(Failure::Timeout)
            }
        }
    }

    /// The certificate that this request's variables name.
    async fn own(&self, x: &Exchange) -> Result<Option<Arc<Own>>, Failure> {
        let Some((named, files)) = self.named.as_ref().and_then(|named| Some((named, named.files(x)?)))
        else {
            return Ok(None);
        };
        named.load(x, &files).await.map(Some).map_err(|message| {
            x.log(Level::Error, format_args!("{message} while {HANDSHAKING}"));
            Failure::Status(500)
        })
    }

    /// What the upstream is told of whom it is asked for (RFC 6066, 3): names, and not addresses.
    ///
    /// # Errors
    /// What is no name.
    fn sent_name<'n>(
        &self,
        name: &'n [u8],
    ) -> Result<Option<ServerName<'static>>, std::borrow::Cow<'n, str>> {
        if !self.sends_name || name.is_empty() || name.starts_with(b"[") {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(name);
        if text.parse::<IpAddr>().is_ok() {
            return Ok(None);
        }
        match ServerName::try_from(text.as_ref()) {
            Ok(name) => Ok(Some(name.to_owned())),
            Err(_) => Err(text),
        }
    }
}

/// The directives about our certificate.
const CERTIFICATE: [&str; 4] = [
    "proxy_ssl_certificate",
    "proxy_ssl_certificate_key",
    "proxy_ssl_password_file",
    "proxy_ssl_certificate_cache",
];

/// What goes on during a handshake, for the log.
pub const HANDSHAKING: &str = "SSL handshaking to upstream";

#[cold]
fn log_refusal(x: &Exchange, refusal: Refusal, name: &[u8]) {
    let message = match refusal {
        Refusal::Handshake(Fault::Closed | Fault::Rejected | Fault::NoCertificate) => {
            "peer closed connection in SSL handshake".to_owned()
        }
        Refusal::Handshake(Fault::Broken(fault)) => {
            format!("SSL_do_handshake() failed {}", OsError(&fault))
        }
        Refusal::Handshake(Fault::Tls(fault)) => format!("SSL_do_handshake() failed (SSL: {fault})"),
        Refusal::Untrusted(number, words) => {
            format!("upstream SSL certificate verify error: ({number}:{words})")
        }
        Refusal::OtherHost => {
            let name = String::from_utf8_lossy(name);
            format!("upstream SSL certificate does not match \"{name}\"")
        }
    };
    x.log(Level::Error, format_args!("{message} while {HANDSHAKING}"));
}

/// A host without the port behind it; an IPv6 address stands in brackets.
fn without_port(host: &[u8]) -> &[u8] {
    let from = match host.first() {
        Some(b'[') => host.iter().position(|byte| *byte == b']').unwrap_or(0),
        _ => 0,
    };
    let colon = host.iter().skip(from).position(|byte| *byte == b':');
    colon.and_then(|colon| host.get(..from + colon)).unwrap_or(host)
}

/// With what we say who we are.
fn own_pair(scope: &Scope<'_>, b: &Builder<'_>) -> Result<Option<rustls::sign::CertifiedKey>, Diagnostic> {
    let Some((line, word)) =
        ssl::argument(scope, "proxy_ssl_certificate").filter(|(_, word)| !word.text.is_empty())
    else {
        return Ok(None);
    };
    match scope.one("proxy_ssl_certificate_key") {
        Some(key) => {
            let passwords = ssl::passwords(scope, b, "proxy_ssl_password_file")?;
            ssl::pair(scope, b, line, key, &passwords).map(Some)
        }
        None => {
            let message =
                format!("no \"proxy_ssl_certificate_key\" is defined for certificate \"{}\"", word.text);
            Err(scope.error(line, message))
        }
    }
}

/// Who is trusted to say who upstreams are, and all of that for the settings' mark.
fn trust(scope: &Scope<'_>, b: &Builder<'_>) -> Result<(Option<Trust>, Vec<Vec<u8>>), Diagnostic> {
    let depth = scope.number("proxy_ssl_verify_depth", 1)?;
    if !scope.flag("proxy_ssl_verify", false)? {
        return Ok((None, Vec::new()));
    }
    let named =
        ssl::argument(scope, "proxy_ssl_trusted_certificate").filter(|(_, word)| !word.text.is_empty());
    let Some((line, _)) = named else {
        let message = "no proxy_ssl_trusted_certificate for proxy_ssl_verify";
        return Err(match scope.one("proxy_ssl_verify") {
            Some(line) => scope.error(line, message),
            None => Diagnostic::new(Level::Emerg, message),
        });
    };
    let (path, pem) = ssl::read(scope, b, line, "certificates")?;
    let roots = certificates(&pem)
        .map_err(|fault| scope.error(line, format!("cannot load certificates \"{path}\": {fault}")))?;
    let mut trust =
        Trust::new(roots, usize::try_from(depth).unwrap_or(usize::MAX), algorithms(), Role::Server);
    ssl::revoke(scope, b, "proxy_ssl_crl", &mut trust)?;
    let lists = match ssl::argument(scope, "proxy_ssl_crl").filter(|(_, word)| !word.text.is_empty()) {
        Some((line, _)) => ssl::read(scope, b, line, "revocation lists")?.1,
        None => Vec::new(),
    };
    Ok((Some(trust), vec![pem, lists, depth.to_string().into_bytes()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_without_ports() {
        for (host, want) in [
            ("a.example:81", "a.example"),
            ("a.example", "a.example"),
            ("[::1]:443", "[::1]"),
            ("[::1]", "[::1]"),
            ("[::1", "["),
            (":81", ""),
            ("", ""),
        ] {
            assert_eq!(without_port(host.as_bytes()), want.as_bytes(), "{host}");
        }
    }
}
