//! From the directives of a location to its step.

use super::algorithm::{Algorithm, Algorithms};
use super::keys::KeySet;
use super::remote::{Place, RemoteKeys};
use super::sources::{Keys, Local, Source, Sources};
use super::step::{AuthJwt, ClaimName, Issuer, Named, Requirement};
use super::variables::{FromToken, Part};
use crate::conf::{Diagnostic, Directive, Scope, Word, value};
use crate::features::consumer::{self, Consumers, Scheme};
use crate::pipeline::step::Phase;
use crate::plan::builder::Builder;
use crate::remote::refreshed;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long a set that was fetched is good when nothing is said.
const REFRESH: Duration = Duration::from_secs(600);

/// What the places of keys of one location are made from: locations that say the same share them.
#[derive(Clone, PartialEq, Eq)]
struct Wanted {
    files: Vec<String>,
    remote: Vec<(Place, Duration, Option<Box<str>>)>,
}

/// What is shared while a configuration is compiled.
#[derive(Default)]
struct Shared {
    sources: Vec<(Wanted, Arc<Sources>)>,
    /// The sets that the control plane was asked to keep.
    kept: Vec<Arc<RemoteKeys>>,
    named: Option<Arc<Named>>,
}

/// What is said for the whole configuration: variables of claims, and whom tokens may name.
pub fn http(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    for (directive, part) in [("auth_jwt_claim_set", Part::Claims), ("auth_jwt_header_set", Part::Header)] {
        for line in scope.here(directive) {
            let Some((variable, names)) = line.args.split_first() else { continue };
            b.declare(variable)?;
            let path = names.iter().map(|word| word.text.as_str().into()).collect();
            // Worked out each time: what asked before Access has no token yet.
            b.derive(variable, true, FromToken { part, path });
        }
    }
    let mut named = Named::default();
    for (place, (_, consumer)) in consumer::blocks(scope).enumerate() {
        let issuers: Box<[Box<str>]> =
            consumer.here("jwt_issuer").filter_map(|line| line.arg(0)).map(Into::into).collect();
        if let Some(known) = b.store::<Consumers>().all().get(place).filter(|_| !issuers.is_empty()) {
            named.by_name.insert(known.name.clone(), (known.clone(), issuers));
        }
    }
    b.store::<Shared>().named = Some(Arc::new(named));
    Ok(())
}

/// What one location says.
pub fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    if let Some((line, word)) = first(scope, "auth_jwt_type").filter(|(_, word)| word.text != "signed") {
        let message = format!("only signed tokens are supported by Octroi, not \"{}\" ones", word.text);
        return Err(scope.error_at(line, word, message));
    }
    let (algorithms, audience) = (algorithms(scope)?, audience(scope)?);
    let Some((line, realm)) = first(scope, "auth_jwt") else { return Ok(()) };
    if realm.text == "off" && line.args.len() == 1 {
        return Ok(());
    }
    let token = match line.args.get(1) {
        None => None,
        Some(word) => {
            let variable = word.text.strip_prefix("token=").filter(|text| text.starts_with('$'));
            let text = variable
                .ok_or_else(|| scope.error_at(line, word, format!("invalid parameter \"{}\"", word.text)))?;
            Some(b.template_of(text, word)?)
        }
    };
    let (issuers, wanted) = places(scope, b)?;
    // At a server's own level nobody may ever be: its locations say where keys are.
    let is_place = scope.location().is_some();
    if is_place && wanted.files.is_empty() && wanted.remote.is_empty() {
        let message = "no keys for \"auth_jwt\": auth_jwt_key_file, auth_jwt_key_url or auth_jwt_issuer say where they are";
        return Err(scope.error(line, message));
    }
    let sources = sources(scope, line, wanted, b)?;
    let requirements = scope.all("auth_jwt_require").into_iter().map(|line| requirement(scope, line, b));
    let requirements = requirements.collect::<Result<_, _>>()?;
    let realm = b.template(realm)?;
    consumer::challenges(b, Scheme::Bearer, &realm);
    b.gateway();
    // Where callers show who they are, nobody else says who they are.
    b.veil();
    let claim = |name| scope.word(name).filter(|claim| *claim != "off").map(ClaimName::new);
    let step = AuthJwt {
        realm,
        token,
        sources,
        algorithms,
        issuers,
        audience,
        leeway_s: scope.time_s("auth_jwt_leeway", 0)?,
        consumer_claim: claim("auth_jwt_consumer_claim"),
        groups_claim: claim("auth_jwt_groups_claim"),
        requirements,
        named: b.store::<Shared>().named.clone().unwrap_or_default(),
    };
    b.quick(Phase::Access, step);
    Ok(())
}

fn first<'t>(scope: &Scope<'t>, name: &str) -> Option<(&'t Directive, &'t Word)> {
    let line = scope.one(name)?;
    Some((line, line.args.first()?))
}

fn algorithms(scope: &Scope<'_>) -> Result<Algorithms, Diagnostic> {
    let Some(line) = scope.one("auth_jwt_algorithms") else { return Ok(Algorithms::ALL) };
    let mut all = Algorithms::NONE;
    for word in &line.args {
        let algorithm = Algorithm::parse(word.text.as_bytes()).ok_or_else(|| {
            scope.error_at(line, word, format!("the algorithm \"{}\" is not supported", word.text))
        })?;
        all = all.with(Algorithms::of(algorithm));
    }
    Ok(all)
}

fn audience(scope: &Scope<'_>) -> Result<Vec<Box<str>>, Diagnostic> {
    let Some(line) = scope.one("auth_jwt_audience") else { return Ok(Vec::new()) };
    match line.args.iter().find(|word| word.text.is_empty()) {
        Some(word) => Err(scope.error_at(line, word, "an audience cannot be empty")),
        None => Ok(line.args.iter().map(|word| word.text.as_str().into()).collect()),
    }
}

fn requirement(scope: &Scope<'_>, line: &Directive, b: &mut Builder<'_>) -> Result<Requirement, Diagnostic> {
    let mut requirement = Requirement { values: Vec::new(), error: 401 };
    for word in &line.args {
        match word.text.strip_prefix("error=") {
            Some("401") => requirement.error = 401,
            Some("403") => requirement.error = 403,
            Some(_) => return Err(scope.error_at(line, word, "the error can only be 401 or 403")),
            None if word.text.starts_with('$') => requirement.values.push(b.template(word)?),
            None => {
                let message = format!(
                    "\"auth_jwt_require\" wants values that begin with a variable, not \"{}\"",
                    word.text
                );
                return Err(scope.error_at(line, word, message));
            }
        }
    }
    match requirement.values.is_empty() {
        true => Err(scope.error(line, "\"auth_jwt_require\" has no value")),
        false => Ok(requirement),
    }
}

/// The issuers of a location, and where its keys are.
fn places(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(Vec<Issuer>, Wanted), Diagnostic> {
    let mut wanted = Wanted { files: Vec::new(), remote: Vec::new() };
    for line in scope.all("auth_jwt_key_file") {
        let Some(word) = line.args.first() else { continue };
        if word.text.contains('$') {
            return Err(scope.error_at(line, word, "the name of a file of keys cannot hold variables"));
        }
        wanted.files.push(word.text.clone());
    }
    for line in scope.all("auth_jwt_key_url") {
        let (url, _, refresh) = address(scope, line, false, b)?;
        wanted.remote.push((Place::Url(url), refresh, None));
    }
    let mut issuers = Vec::new();
    let discovers = wanted.files.is_empty() && wanted.remote.is_empty();
    for line in scope.all("auth_jwt_issuer") {
        let (name, alias, refresh) = address(scope, line, true, b)?;
        let alias = alias.unwrap_or_else(|| host(&name).into());
        if discovers {
            wanted.remote.push((Place::Issuer(name.clone()), refresh, Some(name.clone())));
        }
        issuers.push(Issuer { name, alias });
    }
    Ok((issuers, wanted))
}

/// An address with `alias=` and `refresh=`.
#[allow(clippy::type_complexity, reason = "read once, in the function above")]
fn address(
    scope: &Scope<'_>,
    line: &Directive,
    has_alias: bool,
    b: &mut Builder<'_>,
) -> Result<(Box<str>, Option<Box<str>>, Duration), Diagnostic> {
    let Some((url, more)) = line.args.split_first() else { return Err(scope.error(line, "no address")) };
    let text = url.text.as_str();
    let clear = text.strip_prefix("http://");
    let rest = clear.or_else(|| text.strip_prefix("https://")).filter(|rest| !rest.is_empty());
    if rest.is_none() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(scope.error_at(line, url, format!("\"{text}\" is no address of http or https")));
    }
    if clear.is_some() && !is_here(host(text)) {
        let message = format!("keys from \"{text}\" come in clear text: who is on the way can change them");
        b.warn(scope.warning(line, message));
    }
    let (mut alias, mut refresh) = (None, REFRESH);
    for word in more {
        let invalid = || scope.error_at(line, word, format!("invalid parameter \"{}\"", word.text));
        match word.text.split_once('=') {
            Some(("alias", name))
                if has_alias && consumer::is_name(name.as_bytes()) && !name.contains(':') =>
            {
                alias = Some(name.into());
            }
            Some(("refresh", time)) => {
                let seconds = value::time_s(time).filter(|seconds| *seconds > 0).ok_or_else(invalid)?;
                refresh = Duration::from_secs(seconds);
            }
            _ => return Err(invalid()),
        }
    }
    Ok((text.into(), alias, refresh))
}

/// The host of an address, with neither port nor brackets.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match authority.strip_prefix('[') {
        Some(inner) => inner.split(']').next().unwrap_or(""),
        None => authority.split(':').next().unwrap_or(""),
    }
}

/// Whether a host is this one: what is sent there passes nobody.
fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn sources(
    scope: &Scope<'_>,
    line: &Directive,
    wanted: Wanted,
    b: &mut Builder<'_>,
) -> Result<Arc<Sources>, Diagnostic> {
    let known = b.store::<Shared>().sources.iter().find(|(known, _)| *known == wanted);
    if let Some((_, known)) = known {
        return Ok(known.clone());
    }
    let mut all = Vec::new();
    if !wanted.files.is_empty() {
        let mut set = KeySet::default();
        for file in &wanted.files {
            let path = b.beside_conf(file);
            let text = b.read(&path).map_err(|error| {
                let reason = crate::net::error_log::OsError(&error);
                scope.error(line, format!("open() \"{}\" failed {reason}", path.display()))
            })?;
            let parsed = KeySet::parse(&text, true).map_err(|what| {
                scope.error(line, format!("\"{}\" is no set of keys: {what}", path.display()))
            })?;
            // In a file of one's own a key that is of no use is a mistake.
            if let Some(what) = parsed.unusable.first() {
                return Err(scope.error(line, format!("{what} in \"{}\"", path.display())));
            }
            set.append(parsed);
        }
        all.push(Source { keys: Keys::Files(Arc::new(set)), issuer: None });
    }
    for (place, refresh, issuer) in &wanted.remote {
        let remote = RemoteKeys::at(place.clone(), *refresh);
        let shared = b.store::<Shared>();
        if !shared.kept.iter().any(|known| Arc::ptr_eq(known, &remote)) {
            shared.kept.push(remote.clone());
            let kept = Arc::downgrade(&remote);
            b.worker(Box::new(move |log| {
                let first = kept.upgrade().is_some_and(|set| set.begin(log));
                let (kept, log) = (kept.clone(), log.clone());
                Box::pin(async move {
                    if first {
                        refreshed::keep(kept, log).await;
                    }
                })
            }));
        }
        all.push(Source { keys: Keys::Remote(remote), issuer: issuer.clone() });
    }
    let count = all.len();
    let local = b.reserve(move |_| Local::new(count));
    let made = Arc::new(Sources { all, local });
    b.store::<Shared>().sources.push((wanted, made.clone()));
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_addresses() {
        for (url, want) in [
            ("https://id.example.com/realms/a", "id.example.com"),
            ("http://127.0.0.1:80/x", "127.0.0.1"),
            ("http://[::1]:80", "::1"),
            ("https://user@b?c", "b"),
            ("https://localhost.evil.example/", "localhost.evil.example"),
        ] {
            assert_eq!(host(url), want, "{url}");
        }
        assert!(is_here("localhost") && is_here("::1") && is_here("127.1.2.3"));
        assert!(!is_here("localhost.evil.example") && !is_here("10.0.0.1") && !is_here(""));
    }
}
