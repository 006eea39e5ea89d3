//! What a server's directives make of its handshakes. Files are read by the master, with its rights.

use super::{finder, stapling};
use crate::bridge::published::Published;
use crate::conf::{Context, Diagnostic, Directive, Scope, Word, value};
use crate::net::error_log::OsError;
use crate::net::tls::ciphers;
use crate::net::tls::key;
use crate::net::tls::pairs::Pairs;
use crate::net::tls::server::{self, Recipe, TlsServer};
use crate::net::tls::tickets::{self, Key, Keys, Store};
use crate::net::tls::verify::{Clients, Mode, Trust};
use crate::plan::builder::Builder;
use crate::plan::{Handshakes, ServerTls};
use crate::remote::ocsp;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

/// The largest record of TLS (RFC 8446, 5.1), bytes; nginx's default too.
const RECORD_BYTES_MAX: u64 = 16 * 1024;

/// The smallest that rustls makes, bytes.
const RECORD_BYTES_MIN: u64 = 32;

/// Bytes of a stored session with what it takes to find it: a megabyte holds about 4000, as nginx's.
const SESSION_BYTES: u64 = 256;

/// Sessions a store may have at most, half a gigabyte of them.
const SESSIONS_MAX: u64 = 2 * 1024 * 1024;

/// The least size of a shared store that nginx takes: eight pages.
const STORE_BYTES_MIN: u64 = 8 * 4096;

/// Sessions of a store of `builtin`, as OpenSSL has it.
const BUILTIN_SESSIONS: u64 = 20 * 1024;

/// The longest time a session may go on, seconds: what TLS 1.3 allows (RFC 8446, 4.6.1).
const SESSION_S_MAX: u64 = 7 * 24 * 3600;

/// The versions that nginx has, and which of ours they are.
const VERSIONS: &[(&str, Option<bool>)] = &[
    ("SSLv2", None),
    ("SSLv3", None),
    ("TLSv1", None),
    ("TLSv1.1", None),
    ("TLSv1.2", Some(false)),
    ("TLSv1.3", Some(true)),
];

/// The stores that servers share, by name.
#[derive(Default)]
struct Stores(HashMap<String, (u64, Store)>);

/// Compiles what a server says.
pub(super) fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    if scope.context() != Context::SERVER {
        return Ok(());
    }
    let modes = [
        ("off", None),
        ("on", Some(Mode::On)),
        ("optional", Some(Mode::Optional)),
        ("optional_no_ca", Some(Mode::OptionalNoCa)),
    ];
    let verify = scope.one_of("ssl_verify_client", &modes, None)?;
    b.files_read();
    let certificates = scope.all("ssl_certificate");
    let first = certificates.first().map(|line| &line.name);
    let rejects = scope.flag("ssl_reject_handshake", false)?;
    let finder = finder::finder(scope, b, &certificates, &scope.all("ssl_certificate_key"))?;
    let made = match first {
        None => None,
        Some(first) => Some(handshakes(scope, b, (&certificates, first), verify, finder.is_some())?),
    };
    let handshakes = match made {
        _ if rejects => Some(Handshakes::Reject),
        Some(made) => {
            let asks = made.pairs.asking().next().is_some();
            let server = Arc::new(Published::new(made));
            if asks {
                let weak = Arc::downgrade(&server);
                b.worker(Box::new(move |log| Box::pin(ocsp::keep_fresh(weak.clone(), log.clone()))));
            }
            Some(Handshakes::Serve(server))
        }
        None => None,
    };
    let files = b.files_read();
    b.server_tls(ServerTls { handshakes, verify, files, finder });
    Ok(())
}

fn handshakes(
    scope: &Scope<'_>,
    b: &mut Builder<'_>,
    (certificates, first): (&[&Directive], &Word),
    verify: Option<Mode>,
    are_found_later: bool,
) -> Result<TlsServer, Diagnostic> {
    if scope.flag("ssl_early_data", false)?
        && let Some(line) = scope.one("ssl_early_data")
    {
        return Err(
            scope.error(line, "\"ssl_early_data on\" is not supported by Octroi: early data may be replayed")
        );
    }
    let versions = versions(scope, b, "ssl_protocols")?;
    let suites = suites(scope, "ssl_ciphers")?;
    let groups = match argument(scope, "ssl_ecdh_curve") {
        Some((line, word)) => ciphers::groups(&word.text).map_err(|name| {
            scope.error_at(line, word, format!("the curve \"{name}\" does not exist here"))
        })?,
        None => ciphers::default_groups(),
    };
    let passwords = passwords(scope, b, "ssl_password_file")?;
    let mut pairs = Vec::new();
    let keys = scope.all("ssl_certificate_key");
    for (at, line) in certificates.iter().enumerate() {
        let Some(key) = keys.get(at) else {
            let last = certificates.last().and_then(|line| line.args.first()).map_or("", |word| &word.text);
            let message = format!("no \"ssl_certificate_key\" is defined for certificate \"{last}\"");
            return Err(scope.error(*line, message));
        };
        if !are_found_later {
            pairs.push(pair(scope, b, line, key, &passwords)?);
        }
    }
    if let Some(staple) = staple(scope, b)? {
        pairs.iter_mut().for_each(|pair| pair.ocsp = Some(staple.clone()));
    }
    let record_bytes = scope.size("ssl_buffer_size", RECORD_BYTES_MAX)?;
    let session_s = session_s(scope)?;
    let (mut trusted, told) = trusted(scope, b, verify)?;
    let hints = server::names(&trusted[..told]);
    let asking = stapling::asking(scope, b, &pairs, certificates, &trusted)?;
    let mark = {
        let chains = pairs.iter().flat_map(|pair| pair.cert.iter().map(|one| one.as_ref()));
        let names: Vec<_> =
            certificates.iter().flat_map(|line| line.args.iter().map(|word| &word.text)).collect();
        let mode = format!("{verify:?} {versions:?} {session_s} {names:?}");
        server::mark(chains.chain(trusted.iter().map(|one| one.as_ref())).chain([mode.as_bytes()]))
    };
    let clients = match verify {
        Some(mode) => {
            let depth = scope.number("ssl_verify_depth", 1)?.min(usize::MAX as u64) as usize;
            let mut clients = Clients::new(mode, std::mem::take(&mut trusted), depth, server::algorithms());
            revoke(scope, b, "ssl_crl", &mut clients.trust)?;
            Some(clients)
        }
        None => None,
    };
    let recipe = Recipe {
        pairs: Pairs::new(pairs.into_iter().zip(asking).collect()),
        versions,
        suites,
        groups,
        compresses: scope.flag("ssl_certificate_compression", false)?,
        prefers_own: scope.flag("ssl_prefer_server_ciphers", false)?,
        record_bytes: record_bytes.clamp(RECORD_BYTES_MIN, RECORD_BYTES_MAX) as usize,
        clients,
        hints,
        tickets: tickets(scope, b)?,
        store: store(scope, b)?,
        session_s,
        mark,
    };
    recipe.make().map_err(|fault| b.error(first, format!("TLS cannot be set up: {fault}")))
}

/// A directive with one argument, where there is one.
pub fn argument<'t>(scope: &Scope<'t>, name: &str) -> Option<(&'t Directive, &'t Word)> {
    scope.one(name).and_then(|line| Some((line, line.args.first()?)))
}

/// The file that a directive names, beside the configuration, and what is in it.
pub fn read(
    scope: &Scope<'_>,
    b: &Builder<'_>,
    line: &Directive,
    what: &str,
) -> Result<(String, Vec<u8>), Diagnostic> {
    let text = line.args.first().map_or("", |word| word.text.as_str());
    if text.contains('$') {
        let name = &line.name.text;
        let message = format!("variables in \"{name}\" are not supported by Octroi yet");
        return Err(scope.error(line, message));
    }
    if let Some(pem) = text.strip_prefix("data:") {
        return Ok(("data:".to_owned(), pem.as_bytes().to_vec()));
    }
    if text.starts_with("engine:") || text.starts_with("store:") {
        let message =
            format!("keys of engines and stores of OpenSSL are not supported by Octroi: \"{text}\"");
        return Err(scope.error(line, message));
    }
    let origin = b.origin();
    let path: PathBuf = origin.conf.parent().unwrap_or(&origin.prefix).join(text);
    match b.read(&path) {
        Ok(bytes) => Ok((path.display().to_string(), bytes)),
        Err(fault) => {
            let path = path.display();
            let message = format!("cannot load {what} \"{path}\": open() failed {}", OsError(&fault));
            Err(scope.error(line, message))
        }
    }
}

/// The chain and the key of two directives.
pub fn pair(
    scope: &Scope<'_>,
    b: &Builder<'_>,
    line: &Directive,
    key: &Directive,
    passwords: &[Vec<u8>],
) -> Result<rustls::sign::CertifiedKey, Diagnostic> {
    let (path, pem) = read(scope, b, line, "certificate")?;
    let chain = server::certificates(&pem)
        .map_err(|fault| scope.error(line, format!("cannot load certificate \"{path}\": {fault}")))?;
    let (path, pem) = read(scope, b, key, "certificate key")?;
    server::pair(chain, &pem, passwords).map_err(|fault| scope.error(key, fault.text(&path)))
}

/// The pass phrases of the file that the directive of this name names; none without it.
pub fn passwords(scope: &Scope<'_>, b: &Builder<'_>, name: &str) -> Result<Vec<Vec<u8>>, Diagnostic> {
    match argument(scope, name) {
        Some((line, _)) => Ok(key::passwords(&read(scope, b, line, "pass phrases")?.1)),
        None => Ok(Vec::new()),
    }
}

/// Whether TLS 1.2 and TLS 1.3 are among the versions that the directive of this name lists.
pub fn versions(scope: &Scope<'_>, b: &mut Builder<'_>, name: &str) -> Result<(bool, bool), Diagnostic> {
    let Some(line) = scope.one(name) else { return Ok((true, true)) };
    let mut versions = (false, false);
    let mut absent = Vec::new();
    for word in &line.args {
        match VERSIONS.iter().find(|(name, _)| *name == word.text) {
            Some((_, Some(true))) => versions.1 = true,
            Some((_, Some(false))) => versions.0 = true,
            Some((name, None)) => absent.push(*name),
            None => return Err(scope.error_at(line, word, format!("invalid value \"{}\"", word.text))),
        }
    }
    let absent = absent.join(", ");
    if versions == (false, false) {
        let message = format!("\"{name}\" leaves none: {absent} are not supported by Octroi, being insecure");
        return Err(scope.error(line, message));
    }
    if !absent.is_empty() {
        let message = format!("\"{name}\": {absent} do not exist here, being insecure, and are not spoken");
        b.warn(scope.warning(line, message));
    }
    Ok(versions)
}

/// The suites of TLS 1.2 that the directive of this name chooses.
pub fn suites(scope: &Scope<'_>, name: &str) -> Result<Vec<rustls::SupportedCipherSuite>, Diagnostic> {
    let Some((line, word)) = argument(scope, name) else {
        return Ok(ciphers::default_suites());
    };
    ciphers::chosen(&word.text).map_err(|unknown| {
        let text = &word.text;
        let message = match unknown {
            "" => {
                format!("\"{name}\" leaves none of the ciphers there are: \"{text}\" (no cipher match)")
            }
            _ => format!("unknown cipher \"{unknown}\" in \"{name}\""),
        };
        scope.error_at(line, word, message)
    })
}

fn session_s(scope: &Scope<'_>) -> Result<u32, Diagnostic> {
    let Some((line, word)) = argument(scope, "ssl_session_timeout") else { return Ok(300) };
    let seconds = value::time_s(&word.text)
        .ok_or_else(|| scope.error_at(line, word, "\"ssl_session_timeout\" directive invalid value"))?;
    Ok(u32::try_from(seconds.min(SESSION_S_MAX)).unwrap_or(u32::MAX))
}

/// The certificates that are trusted, and of how many clients are told.
fn trusted(
    scope: &Scope<'_>,
    b: &Builder<'_>,
    verify: Option<Mode>,
) -> Result<(Vec<rustls::pki_types::CertificateDer<'static>>, usize), Diagnostic> {
    let mut found = Vec::new();
    let mut told = 0;
    for name in ["ssl_client_certificate", "ssl_trusted_certificate"] {
        // An empty name takes back what an outer level says.
        let Some((line, _)) = argument(scope, name).filter(|(_, word)| !word.text.is_empty()) else {
            continue;
        };
        let (path, pem) = read(scope, b, line, "certificates")?;
        let more = server::certificates(&pem)
            .map_err(|fault| scope.error(line, format!("cannot load certificates \"{path}\": {fault}")))?;
        found.extend(more);
        if name == "ssl_client_certificate" {
            told = found.len();
        }
    }
    match scope.one("ssl_verify_client") {
        Some(line) if verify.is_some_and(|mode| mode != Mode::OptionalNoCa) && found.is_empty() => {
            let message = "no ssl_client_certificate or ssl_trusted_certificate for ssl_verify_client";
            Err(scope.error(line, message))
        }
        _ => Ok((found, told)),
    }
}

/// Adds the lists of the directive of this name, if there is one.
pub fn revoke(scope: &Scope<'_>, b: &Builder<'_>, name: &str, trust: &mut Trust) -> Result<(), Diagnostic> {
    let Some((line, _)) = argument(scope, name).filter(|(_, word)| !word.text.is_empty()) else {
        return Ok(());
    };
    let (path, pem) = read(scope, b, line, "revocation lists")?;
    let wrong = |fault: &str| scope.error(line, format!("cannot load revocation lists \"{path}\": {fault}"));
    for list in server::revocations(&pem).map_err(|fault| wrong(&fault))? {
        if !trust.add_revocations(&list) {
            return Err(wrong("one of them cannot be read"));
        }
    }
    Ok(())
}

/// The answer in `ssl_stapling_file`.
fn staple(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<Option<Vec<u8>>, Diagnostic> {
    if !scope.flag("ssl_stapling", false)? {
        return Ok(None);
    }
    match argument(scope, "ssl_stapling_file").filter(|(_, word)| !word.text.is_empty()) {
        Some((line, _)) => Ok(Some(read(scope, b, line, "OCSP response")?.1)),
        None => Ok(None),
    }
}

fn tickets(scope: &Scope<'_>, b: &Builder<'_>) -> Result<Option<Keys>, Diagnostic> {
    let lines = scope.all("ssl_session_ticket_key");
    let mut keys = Vec::new();
    for line in &lines {
        let (path, bytes) = read(scope, b, line, "ticket key")?;
        let key = Key::of_file(&bytes).ok_or_else(|| {
            scope.error(*line, format!("\"{path}\" must be 48 or 80 bytes in \"ssl_session_ticket_key\""))
        })?;
        keys.push(key);
    }
    if !scope.flag("ssl_session_tickets", true)? {
        return Ok(None);
    }
    Ok(if keys.is_empty() { Keys::own() } else { Some(Keys::Files(keys)) })
}

fn store(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<Option<Store>, Diagnostic> {
    let Some(line) = scope.one("ssl_session_cache") else { return Ok(None) };
    let mut found = None;
    for word in &line.args {
        let invalid = || scope.error_at(line, word, format!("invalid session cache \"{}\"", word.text));
        match word.text.split_once(':') {
            None if matches!(word.text.as_str(), "off" | "none") => {}
            None if word.text == "builtin" => {
                found.get_or_insert_with(|| tickets::store(BUILTIN_SESSIONS as usize));
            }
            Some(("builtin", count)) => {
                let count = value::number(count).ok_or_else(invalid)?.clamp(1, SESSIONS_MAX);
                found.get_or_insert_with(|| tickets::store(count as usize));
            }
            Some(("shared", rest)) => {
                let (name, size) =
                    rest.split_once(':').filter(|(name, _)| !name.is_empty()).ok_or_else(invalid)?;
                let size = value::size(size).ok_or_else(invalid)?;
                if size < STORE_BYTES_MIN {
                    let message = format!("session cache \"{}\" is too small", word.text);
                    return Err(scope.error_at(line, word, message));
                }
                let stores = &mut b.store::<Stores>().0;
                let sessions = (size / SESSION_BYTES).min(SESSIONS_MAX) as usize;
                let (known, store) = stores
                    .entry(name.to_owned())
                    .or_insert_with(|| (size, tickets::named_store(name, sessions)));
                if *known != size {
                    let message = format!(
                        "the size {size} of shared memory zone \"{name}\" conflicts with already declared size {known}"
                    );
                    return Err(scope.error_at(line, word, message));
                }
                found = Some(store.clone());
            }
            _ => return Err(invalid()),
        }
    }
    Ok(found)
}
