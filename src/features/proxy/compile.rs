//! From the directives of one location to its step.

use super::bind::Bind;
use super::canary;
use super::connect;
use super::cookies::Cookies;
use super::request::Resolved;
use super::retry::NextUpstream;
use super::settings::{MemberSlots, ProxySettings, ProxyStep, Target};
use super::tls::ProxyTls;
use super::{accel, hints, rewrites, spool};
use crate::base::process_settings::Level;
use crate::conf::{Context, Diagnostic, Directive, Scope, Word};
use crate::features::upstream::{self, Groups, Named, StickyFilter, UpstreamRef};
use crate::features::{consumer, resolver};
use crate::pipeline::answer::Answer;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::field_set::FieldSet;
use crate::pipeline::step::{Flow, Phase, QuickStep};
use crate::pipeline::template::Template;
use crate::plan::builder::Builder;
use crate::upstream::balance::Tried;
use crate::upstream::client::Members;
use ahash::AHashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// What a client's request never passes on by itself: it concerns one connection only, or is
/// decided anew.
const SUPPRESSED: &[&str] = &[
    "Host",
    "Connection",
    "Proxy-Connection",
    "Content-Length",
    "Transfer-Encoding",
    "TE",
    "Keep-Alive",
    "Expect",
    "Upgrade",
];

/// What clients do not see of an answer unless `proxy_pass_header` says so.
const HIDDEN: &[&str] = &[
    "Date",
    "Server",
    "X-Pad",
    "X-Accel-Expires",
    "X-Accel-Redirect",
    "X-Accel-Limit-Rate",
    "X-Accel-Buffering",
    "X-Accel-Charset",
];

/// `proxy_buffer_size` when nothing is said: one page.
pub(super) const BUFFER_SIZE: u64 = 4 * 1024;

/// Compiles `proxy_pass` of this level, if there is one.
///
/// # Errors
/// What nginx refuses, in its words.
pub fn compile(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let pass = scope.one("proxy_pass").and_then(|directive| Some((directive, directive.args.first()?)));
    let canary = canary::line(scope);
    let Some((directive, word)) = pass else {
        if let Some(line) = canary.filter(|_| scope.context() == Context::LOCATION) {
            // Where versions answer, each may have what it is a share of.
            if scope.here("version").next().is_none() {
                return Err(scope.error(line, "\"canary\" needs a \"proxy_pass\" beside it"));
            }
        }
        if follows_another(scope) {
            // Whoever has a content step serves no files.
            b.quick(Phase::PreContent, LostUpstream);
        }
        return look_for_faults(scope, b);
    };
    let target = target(scope, directive, word, b)?;
    stick(&target, b);
    let tls = tls(scope, &target, b)?;
    let settings = ProxySettings { tls, ..settings(scope, target, b)? };
    // What a client sends may be too large for memory, and what it takes too slowly.
    let bodies = b.settings().client_body_temp_path.clone();
    b.temp_folder(&bodies);
    spool::ask_for_folder(scope, b)?;
    let name_ends_in_slash = b.settings().name.ends_with('/');
    b.settings().auto_redirect = name_ends_in_slash;
    b.settings().passes = true;
    let stays = ProxyStep { settings: Arc::new(settings) };
    match canary {
        None => b.waiting(Phase::Content, stays),
        Some(line) => {
            let (share, to) = canary::compile(scope, line, b)?;
            let leaves = ProxyStep { settings: Arc::new(elsewhere(scope, directive, word, line, to, b)?) };
            b.gateway();
            b.waiting(Phase::Content, canary::Split { share, stays, leaves });
        }
    }
    Ok(())
}

/// What `proxy_pass` would be with another upstream's name in it.
fn elsewhere(
    scope: &Scope<'_>,
    directive: &Directive,
    word: &Word,
    canary: &Directive,
    to: &str,
    b: &mut Builder<'_>,
) -> Result<ProxySettings, Diagnostic> {
    let split = word.text.split_once("://").filter(|_| !word.text.contains('$'));
    let Some((scheme, rest)) = split else {
        let message = "\"canary\" cannot be used with \"proxy_pass\" with variables";
        return Err(scope.error(canary, message));
    };
    let (_, uri) = split_authority(rest);
    let text = format!("{scheme}://{to}{}", uri.unwrap_or_default());
    let target = target(scope, directive, &Word { text, ..word.clone() }, b)?;
    stick(&target, b);
    settings(scope, target, b)
}

/// Whether this is an `if` that may match after one with a `proxy_pass`.
fn follows_another(scope: &Scope<'_>) -> bool {
    let Some(location) = scope.parent().filter(|_| scope.context() == Context::IF_IN_LOCATION) else {
        return false;
    };
    location.here("if").any(|block| {
        let branch = location.child(block, Context::IF_IN_LOCATION);
        branch.here("proxy_pass").next().is_some()
    })
}

/// Answers a request that an `if` has sent to an upstream and the next one has taken from it: nginx then
/// knows that an upstream is to answer, and not which.
struct LostUpstream;

impl QuickStep for LostUpstream {
    fn run(&self, x: &mut Exchange) -> Flow {
        if !x.lost_upstream {
            return Flow::Next;
        }
        x.log(Level::Alert, format_args!("no upstream configuration"));
        Flow::Answer(Answer::Status(500))
    }
}

/// Answers from groups with `sticky cookie` say which server they came from.
fn stick(target: &Target, b: &mut Builder<'_>) {
    let filters: Vec<StickyFilter> = match target {
        Target::Fixed { members, .. } => StickyFilter::new(&members.selector, None).into_iter().collect(),
        Target::Variable { .. } => {
            let groups = b.store::<Groups>();
            groups
                .named()
                .filter_map(|(name, found)| StickyFilter::new(&found.selector, Some(name)))
                .collect()
        }
    };
    filters.into_iter().for_each(|filter| b.header_filter(filter));
}

/// A level without `proxy_pass` may still hold wrong values, which nginx finds as it reads.
pub fn look_for_faults(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    if scope.body().iter().any(|directive| is_of_proxy(&directive.name.text)) {
        let nowhere = Target::Variable { url: Template::default(), groups: Arc::default(), resolver: None };
        settings(scope, nowhere, b)?;
    }
    Ok(())
}

fn is_of_proxy(name: &str) -> bool {
    name.starts_with("proxy_") || name == "early_hints"
}

fn settings(scope: &Scope<'_>, target: Target, b: &mut Builder<'_>) -> Result<ProxySettings, Diagnostic> {
    let (host, mut headers, suppressed, own_length) = request_fields(scope, b)?;
    if b.tells_identity() {
        add_identity(&mut headers);
    }
    Ok(ProxySettings {
        redirects: rewrites::redirects(scope, &target, b)?,
        target,
        host,
        headers,
        suppressed,
        own_length,
        http11: scope.one_of("proxy_http_version", &[("1.0", false), ("1.1", true)], true)?,
        connect_timeout: time(scope, "proxy_connect_timeout")?,
        send_timeout: time(scope, "proxy_send_timeout")?,
        read_timeout: time(scope, "proxy_read_timeout")?,
        buffering: scope.flag("proxy_buffering", true)?,
        spool: spool::compile(scope, b)?,
        request_buffering: scope.flag("proxy_request_buffering", true)?,
        buffer_size: scope.size("proxy_buffer_size", BUFFER_SIZE)? as usize,
        next: NextUpstream::compile(scope)?,
        hidden: Arc::new(hidden(scope)),
        method: template(scope, "proxy_method", b)?,
        body: template(scope, "proxy_set_body", b)?,
        pass_headers: scope.flag("proxy_pass_request_headers", true)?,
        pass_body: scope.flag("proxy_pass_request_body", true)?,
        intercept_errors: scope.flag("proxy_intercept_errors", false)?,
        cookies: Cookies::compile(scope, b)?,
        ignored: accel::ignored(scope)?,
        force_ranges: scope.flag("proxy_force_ranges", false)?,
        limit_rate: rate(scope, "proxy_limit_rate", b)?,
        sockets: connect::Options::compile(
            scope,
            ["proxy_socket_keepalive", "proxy_socket_rcvbuf", "proxy_socket_sndbuf"],
        )?,
        bind: Bind::compile(scope, "proxy_bind", b)?,
        early_hints: hints::compile(scope, b)?,
        pass_trailers: scope.flag("proxy_pass_trailers", false)?,
        ignore_client_abort: scope.flag("proxy_ignore_client_abort", false)?,
        tls: None,
    })
}

/// What is done about TLS: for a URL of `https`, and for one of which that is not known yet.
fn tls(scope: &Scope<'_>, target: &Target, b: &mut Builder<'_>) -> Result<Option<Box<ProxyTls>>, Diagnostic> {
    let host = match target {
        Target::Fixed { scheme: "https", host, .. } => Some(&**host),
        Target::Fixed { .. } => return Ok(None),
        Target::Variable { .. } => None,
    };
    ProxyTls::compile(scope, host, b).map(|tls| Some(Box::new(tls)))
}

fn time(scope: &Scope<'_>, name: &str) -> Result<Duration, Diagnostic> {
    scope.time_ms(name, 60_000).map(Duration::from_millis)
}

/// The one argument of a directive, which may hold variables.
fn template(scope: &Scope<'_>, name: &str, b: &mut Builder<'_>) -> Result<Option<Template>, Diagnostic> {
    scope.one(name).and_then(|directive| directive.args.first()).map(|word| b.template(word)).transpose()
}

/// A rate in bytes a second, which may hold variables; `None` for 0.
fn rate(scope: &Scope<'_>, name: &str, b: &mut Builder<'_>) -> Result<Option<Template>, Diagnostic> {
    let Some(word) = scope.one(name).and_then(|directive| directive.args.first()) else { return Ok(None) };
    if !word.text.contains('$') && scope.size(name, 0)? == 0 {
        return Ok(None);
    }
    b.template(word).map(Some)
}

fn target(
    scope: &Scope<'_>,
    directive: &Directive,
    word: &Word,
    b: &mut Builder<'_>,
) -> Result<Target, Diagnostic> {
    let text = word.text.as_str();
    if text.contains('$') {
        let url = b.template(word)?;
        let groups = named_groups(b);
        let resolver = resolver::of_location(scope, b)?;
        return Ok(Target::Variable { url, groups, resolver });
    }
    let Some((scheme, rest)) = split_scheme(text) else {
        return Err(scope.error_at(directive, word, "invalid URL prefix"));
    };
    let (authority, uri) = split_authority(rest);
    if uri.is_some() && is_in_route(scope) {
        let message = "\"proxy_pass\" cannot have URI part in a route, whose template is no prefix of paths; \
                       a URL with variables can";
        return Err(scope.error_at(directive, word, message));
    }
    if uri.is_some() && !replaces_name(scope) {
        return Err(scope.error_at(
            directive,
            word,
            "\"proxy_pass\" cannot have URI part in location given by regular expression, or inside named \
             location, or inside \"if\" statement, or inside \"limit_except\" block",
        ));
    }
    let found = upstream::target(b, authority, usual_port(scheme), word)?;
    let host: Box<[u8]> = shown_host(authority, scheme).as_bytes().into();
    Ok(Target::Fixed {
        members: members(&found, b),
        uri: uri.map(|uri| uri.as_bytes().into()),
        replaced: b.settings().name.len(),
        host,
        scheme,
    })
}

/// Whether the part of the path that a location is named by can be replaced: there is such a name, and
/// the directive stands in the location itself.
fn replaces_name(scope: &Scope<'_>) -> bool {
    let is_version = scope.directive().is_some_and(|block| block.name.text == "version");
    if is_version || scope.here("proxy_pass").next().is_none() {
        // It is inherited from the location round it, or stands in for that.
        return scope.parent().is_none_or(|outer| is_version && is_named(&outer) || replaces_name(&outer));
    }
    is_named(scope)
}

/// Whether this is a location that is named by the beginning of its paths.
fn is_named(scope: &Scope<'_>) -> bool {
    let is_nameless =
        |block: &Directive| block.args.first().is_some_and(|word| word.text.starts_with(['~', '@']));
    scope.context() == Context::LOCATION && !scope.directive().is_some_and(is_nameless)
}

/// Whether this is the level of a route, or one within it.
fn is_in_route(scope: &Scope<'_>) -> bool {
    let block = scope.location().and_then(|location| location.directive());
    block.is_some_and(|block| block.name.text == "route")
}

/// `http` or `https`, in any case, and what stands behind `://`.
fn split_scheme(text: &str) -> Option<(&'static str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let known = ["http", "https"].into_iter().find(|known| known.eq_ignore_ascii_case(scheme))?;
    Some((known, rest))
}

/// The port of a URL without one.
fn usual_port(scheme: &str) -> u16 {
    if scheme == "https" { 443 } else { 80 }
}

/// The authority and the URI part behind it: a path, or arguments alone.
fn split_authority(rest: &str) -> (&str, Option<&str>) {
    if let Some(path) = rest.strip_prefix("unix:") {
        // unix:/path/to/socket:/uri
        return match path.split_once(':') {
            Some((_, uri)) => {
                let socket = &rest[..rest.len() - uri.len() - 1];
                (socket, Some(uri).filter(|uri| !uri.is_empty()))
            }
            None => (rest, None),
        };
    }
    match rest.find(['/', '?']) {
        Some(at) => (&rest[..at], Some(&rest[at..])),
        None => (rest, None),
    }
}

/// What `Host` says of an authority: `localhost` for a Unix socket, no port that is the usual one.
fn shown_host<'a>(authority: &'a str, scheme: &str) -> &'a str {
    if authority.starts_with("unix:") {
        return "localhost";
    }
    let usual = if scheme == "https" { ":443" } else { ":80" };
    authority.strip_suffix(usual).unwrap_or(authority)
}

pub(super) fn members(found: &UpstreamRef, b: &mut Builder<'_>) -> MemberSlots {
    let (group, selector) = (found.group.clone(), found.selector.clone());
    MemberSlots { group, balancer: found.balancer, selector, pool: found.pool(b) }
}

/// What URLs with variables may name: filled at the end, when all groups are known.
#[derive(Default)]
struct Variables {
    groups: Arc<OnceLock<AHashMap<Box<str>, MemberSlots>>>,
    wanted: bool,
}

/// The groups that a text with variables may name; they are there when all is compiled.
pub(super) fn named_groups(b: &mut Builder<'_>) -> Arc<OnceLock<AHashMap<Box<str>, MemberSlots>>> {
    let variables = b.store::<Variables>();
    variables.wanted = true;
    variables.groups.clone()
}

/// Gives URLs with variables the groups they may name: `upstream {}` blocks, and the hosts of other
/// `proxy_pass` lines, as nginx does.
pub fn end(b: &mut Builder<'_>) {
    if !b.store::<Variables>().wanted {
        return;
    }
    let all: Vec<(Box<str>, UpstreamRef)> =
        b.store::<Groups>().all().map(|(name, found)| (name.into(), found.clone())).collect();
    let slots = all.into_iter().map(|(name, found)| (name, members(&found, b))).collect();
    let _ = b.store::<Variables>().groups.set(slots);
}

/// Whom a URL made of variables names.
pub(super) enum Whom {
    /// Servers that are known, and the beginning of the search for one.
    Known(Members, Tried),
    /// A host that has to be looked up.
    Host {
        /// Its name.
        name: Box<str>,
        /// The port behind it.
        port: u16,
    },
}

/// What a URL made of variables means for this request.
///
/// # Errors
/// The status to answer with; the reason is in the error log.
pub(super) fn read_variable(
    url: &[u8],
    groups: &OnceLock<AHashMap<Box<str>, MemberSlots>>,
    x: &mut Exchange,
) -> Result<(Whom, Resolved), u16> {
    let Ok(text) = std::str::from_utf8(url) else {
        x.log(Level::Error, format_args!("invalid URL in \"proxy_pass\""));
        return Err(500);
    };
    let Some((scheme, rest)) = split_scheme(text) else {
        x.log(Level::Error, format_args!("invalid URL prefix in \"{text}\""));
        return Err(500);
    };
    let (authority, uri) = split_authority(rest);
    x.proxy_host.extend_from_slice(shown_host(authority, scheme).as_bytes());
    x.proxy_scheme = scheme;
    let port = usual_port(scheme);
    let uri = uri.map(|uri| match uri.strip_prefix('?') {
        Some(_) => [b"/", uri.as_bytes()].concat(),
        None => uri.as_bytes().to_vec(),
    });
    let usual = format!(":{port}");
    let host = authority.strip_suffix(usual.as_str()).unwrap_or(authority).to_ascii_lowercase();
    let with_port = host.clone() + &usual;
    let known = groups.get();
    if let Some(found) = known.and_then(|all| all.get(host.as_str()).or_else(|| all.get(with_port.as_str())))
    {
        let members = found.members(&x.locals);
        let tried = found.selector.begin(x, &members.balancer);
        return Ok((Whom::Known(members, tried), Resolved { uri }));
    }
    match upstream::named(authority, port) {
        Ok(Named::Address(address)) => {
            let members = Members::of_addresses(authority, std::iter::once(address));
            Ok((Whom::Known(members, Tried::default()), Resolved { uri }))
        }
        Ok(Named::Host { name, port }) => Ok((Whom::Host { name: name.into(), port }, Resolved { uri })),
        Err(what) => {
            x.log(Level::Error, format_args!("{what} in upstream \"{rest}\""));
            Err(500)
        }
    }
}

type RequestFields = (Option<Template>, Vec<(Box<[u8]>, Template)>, FieldSet, bool);

/// The fields of the request: `Host`, the ones set, what is held back.
fn request_fields(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<RequestFields, Diagnostic> {
    let mut suppressed = FieldSet::default();
    for name in SUPPRESSED {
        suppressed.insert(name.as_bytes());
    }
    let (mut host, mut headers, mut own_length) = (None, Vec::new(), false);
    for directive in scope.all("proxy_set_header") {
        let [name, value] = directive.args.as_slice() else { continue };
        if name.text.is_empty() || !name.text.bytes().all(|c| c > b' ' && c != b':' && c < 0x7f) {
            return Err(scope.error_at(directive, name, format!("invalid header name \"{}\"", name.text)));
        }
        if value.text.bytes().any(|c| matches!(c, b'\r' | b'\n' | 0)) {
            return Err(scope.error_at(directive, value, "a header value cannot hold a line end"));
        }
        suppressed.insert(name.text.as_bytes());
        let template = b.template(value)?;
        match name.text.to_ascii_lowercase().as_str() {
            "host" => host = Some(template),
            lower => {
                own_length |= matches!(lower, "content-length" | "transfer-encoding");
                headers.push((name.text.as_bytes().into(), template));
            }
        }
    }
    Ok((host, headers, suppressed, own_length))
}

/// Adds who the caller is, except for what `proxy_set_header` says.
fn add_identity(headers: &mut Vec<(Box<[u8]>, Template)>) {
    for (name, value) in consumer::identity_headers() {
        if !headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(&name)) {
            headers.push((name, value));
        }
    }
}

fn hidden(scope: &Scope<'_>) -> FieldSet {
    let mut hidden = FieldSet::default();
    for name in HIDDEN {
        hidden.insert(name.as_bytes());
    }
    for directive in scope.all("proxy_hide_header") {
        hidden.insert(directive.arg(0).unwrap_or_default().as_bytes());
    }
    for directive in scope.all("proxy_pass_header") {
        hidden.remove(directive.arg(0).unwrap_or_default().as_bytes());
    }
    hidden
}
