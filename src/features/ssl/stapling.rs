//! `ssl_stapling`: whom to ask about a server's certificates. What cannot be asked about is said, and the
//! certificate goes without an answer, as in nginx.

use super::compile::argument;
use crate::conf::{Diagnostic, Directive, Scope};
use crate::net::tls::ocsp::{self, Asking};
use crate::plan::builder::Builder;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use std::net::{IpAddr, SocketAddr};

/// Where responders listen whose URL does not say.
const HTTP_PORT: u16 = 80;

/// Whom to ask about each of these certificates, which came from the files of these lines.
pub(super) fn asking(
    scope: &Scope<'_>,
    b: &mut Builder<'_>,
    pairs: &[CertifiedKey],
    lines: &[&Directive],
    trusted: &[CertificateDer<'static>],
) -> Result<Vec<Option<Asking>>, Diagnostic> {
    let on = scope.one("ssl_stapling").filter(|_| scope.flag("ssl_stapling", false) == Ok(true));
    let file = argument(scope, "ssl_stapling_file").filter(|(_, word)| !word.text.is_empty());
    let (Some(on), None) = (on, file) else { return Ok(pairs.iter().map(|_| None).collect()) };
    let said = argument(scope, "ssl_stapling_responder").map(|(_, word)| word.text.as_str());
    let mut all = Vec::new();
    for (pair, line) in pairs.iter().zip(lines) {
        let name = line.args.first().map_or("", |word| &word.text);
        let made = one(b, pair, said.filter(|url| !url.is_empty()), trusted);
        if let Err(why) = &made {
            let message = format!("\"ssl_stapling\" ignored, {why} in the certificate \"{name}\"");
            b.warn(scope.warning(on, message));
        }
        all.push(made.ok());
    }
    Ok(all)
}

fn one(
    b: &Builder<'_>,
    pair: &CertifiedKey,
    said: Option<&str>,
    trusted: &[CertificateDer<'static>],
) -> Result<Asking, String> {
    let (leaf, between) = pair.cert.split_first().ok_or("no certificate")?;
    let issuer = ocsp::issuer(leaf, between.iter().chain(trusted)).ok_or("issuer certificate not found")?;
    let named = || ocsp::responder(leaf).ok_or("no OCSP responder URL");
    let url = said.map_or_else(named, |url| Ok(url.to_owned()))?;
    let place = place(b, &url)?;
    Asking::new(place, leaf, issuer).ok_or_else(|| "nothing that can be asked about".to_owned())
}

/// The host, the path and the addresses of a responder.
fn place(b: &Builder<'_>, url: &str) -> Result<(String, String, Vec<SocketAddr>), String> {
    let prefix = url.get(..7).filter(|prefix| prefix.eq_ignore_ascii_case("http://"));
    let rest = prefix.map(|prefix| &url[prefix.len()..]);
    let rest = rest.ok_or_else(|| format!("invalid URL prefix in OCSP responder \"{url}\""))?;
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let invalid = || format!("invalid OCSP responder \"{url}\"");
    let (name, port) = match host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
        Some((name, port)) => (name, port.parse().map_err(|_| invalid())?),
        None => (host, HTTP_PORT),
    };
    let allowed = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if name.is_empty() || !allowed(host) || !allowed(path) {
        return Err(invalid());
    }
    let literal = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let addresses = match literal {
        Ok(address) => vec![address],
        Err(_) => b.resolve(name).map_err(|fault| format!("{fault} in OCSP responder \"{url}\""))?,
    };
    let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect();
    Ok((host.to_owned(), path.to_owned(), addresses))
}
