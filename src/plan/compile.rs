//! The tree of directives becomes a plan: servers, their names and locations, and in each location
//! what the features make of it.

use super::builder::Builder;
use super::feature::Feature;
use super::listen::{self, AddressSites};
use super::names;
use super::path_template::PathTemplate;
use super::router::{Name, Router};
use super::routes::{Clash, Methods, NewRoute, Routes};
use super::{Handshakes, LocationId, Origin, Plan, Server};
use crate::base::process_settings::{ErrorLog, Level, LogTarget, ProcessSettings};
use crate::conf::{Context, Diagnostic, Directive, Files, Place, Scope, Sources, Word};
use std::sync::Arc;

/// How deep locations may be nested; nginx sets no bound, a stack does.
const NESTING_MAX: usize = 64;

/// Servers a plan may have without any `listen`: they listen on port 80 as root, else on 8000.
const DEFAULT_PORT: &str = "80";

/// What compiles the main context: the core feature's part.
pub type MainCompiler = fn(&Scope<'_>, &mut Builder<'_>) -> Result<(ProcessSettings, usize), Diagnostic>;

/// Compiles a checked tree.
///
/// # Errors
/// The first thing that is wrong.
pub fn compile(
    main: &Scope<'_>,
    sources: &Sources,
    origin: &Origin,
    features: &[&'static Feature],
    compile_main: MainCompiler,
    files: &mut dyn Files,
    notices: &mut Vec<Diagnostic>,
) -> Result<Plan, Diagnostic> {
    let variables = features.iter().flat_map(|feature| feature.variables);
    let mut b = Builder::new(origin, sources, variables).with_hosts(files);
    let (mut process, worker_connections) = compile_main(main, &mut b)?;
    let mut sites = Vec::new();
    let mut servers = Vec::new();
    if let Some(http) = main.here("http").next() {
        let scope = main.child(http, Context::HTTP);
        for feature in features {
            (feature.http)(&scope, &mut b)?;
        }
        let mut gather =
            Gather { features, sites: &mut sites, servers: &mut servers, blocks: Vec::new(), notices };
        for server in scope.here("server") {
            gather.server(&scope.child(server, Context::SERVER), server, &mut b)?;
        }
        gather.certificates(sources)?;
    }
    for feature in features {
        (feature.end)(&mut b);
    }
    notices.append(&mut b.notices);
    b.end_names();
    if let Some(error) = b.undefined() {
        return Err(error);
    }
    let to_stderr = |lines: &[ErrorLog]| lines.iter().any(|line| line.target == LogTarget::Stderr);
    process.transparent = b.transparent;
    process.uses_stderr =
        to_stderr(&process.error_logs) || b.locations.iter().any(|place| to_stderr(&place.error_logs));
    let (listens, sites) = listen::fold(sites);
    let layout = b.layout();
    Ok(Plan {
        process,
        worker_connections,
        listens,
        log_files: b.log_files,
        temp_folders: b.temp_folders,
        sites,
        servers,
        locations: b.locations,
        zones: b.zones,
        quota_store: b.quota_store,
        layout,
        workers: b.workers,
        preparations: b.preparations,
    })
}

/// What is gathered over all servers.
struct Gather<'g> {
    features: &'g [&'static Feature],
    sites: &'g mut Vec<AddressSites>,
    servers: &'g mut Vec<Server>,
    /// Where each begins, and the addresses it listens on.
    blocks: Vec<(Place, Vec<usize>)>,
    notices: &'g mut Vec<Diagnostic>,
}

impl Gather<'_> {
    fn server(
        &mut self,
        scope: &Scope<'_>,
        block: &Directive,
        b: &mut Builder<'_>,
    ) -> Result<(), Diagnostic> {
        let number = self.servers.len();
        let places = self.listens(scope, block, number, b)?;
        let own = self.location(scope, b)?;
        let mut named = ahash::AHashMap::new();
        let mut router = self.locations(scope, Some(&mut named), 0, b)?;
        router.set_routes(self.routes(scope, b)?);
        let tls = std::mem::take(&mut b.tls);
        let connects = std::mem::take(&mut b.connects);
        self.servers.push(Server { own, router, named, tls, connects });
        self.blocks.push((block.place, places.clone()));
        for (name, word) in server_names(scope, b)? {
            for &place in &places {
                let site = &mut self.sites[place];
                if !site.names.insert(&name, number) {
                    let address = &site.listen.address;
                    let message = format!("conflicting server name \"{}\" on {address}, ignored", word.text);
                    self.notices.push(scope.warning(&word, message));
                }
            }
        }
        if scope.one("server_name").is_none() {
            for &place in &places {
                // A server without a name is the one without a name: `server_name ""`.
                self.sites[place].names.insert(&names::Name::Exact(String::new()), number);
            }
        }
        Ok(())
    }

    /// Sees to it that where TLS is spoken there is a certificate: the default server's, or, if that
    /// refuses handshakes, all others'.
    fn certificates(&self, sources: &Sources) -> Result<(), Diagnostic> {
        let missing = |server: usize| {
            let place = self.blocks[server].0;
            let (file, line) = (sources.path(place.file).display(), place.line);
            let message = format!(
                "no \"ssl_certificate\" is defined for the \"listen ... ssl\" directive in {file}:{line}"
            );
            Err(Diagnostic::new(Level::Emerg, message))
        };
        for (place, site) in self.sites.iter().enumerate().filter(|(_, site)| site.names.tls) {
            let first = site.names.default_server;
            match self.servers[first].tls.handshakes {
                Some(Handshakes::Serve(_)) => continue,
                Some(Handshakes::Reject) => {}
                None => return missing(first),
            }
            let here = (0..self.servers.len()).filter(|server| self.blocks[*server].1.contains(&place));
            for server in here {
                if self.servers[server].tls.handshakes.is_none() {
                    return missing(server);
                }
            }
        }
        Ok(())
    }

    fn listens(
        &mut self,
        scope: &Scope<'_>,
        block: &Directive,
        number: usize,
        b: &Builder<'_>,
    ) -> Result<Vec<usize>, Diagnostic> {
        let mut places: Vec<usize> = Vec::new();
        let mut any = false;
        for directive in scope.here("listen") {
            any = true;
            let line = listen::parse(b, directive)?;
            let taken = |place: &usize| &self.sites[*place].listen.address;
            if let Some(address) = places.iter().map(taken).find(|known| line.addresses.contains(known)) {
                return Err(b.directive_error(directive, format!("a duplicate listen {address}")));
            }
            let mut warnings = Vec::new();
            places.extend(listen::add(b, self.sites, &line, number, directive, &mut warnings)?);
            self.notices.extend(warnings.into_iter().map(|text| scope.warning(directive, text)));
        }
        if !any {
            let port = if rustix::process::geteuid().is_root() { DEFAULT_PORT } else { "8000" };
            let word = Word { text: port.to_owned(), ..block.name.clone() };
            let assumed = Directive { args: vec![word], ..block.clone() };
            let line = listen::parse(b, &assumed)?;
            places = listen::add(b, self.sites, &line, number, block, &mut Vec::new())?;
        }
        Ok(places)
    }

    /// Compiles what holds at this level and returns its number.
    fn location(&self, scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<LocationId, Diagnostic> {
        let inner = self.inner(scope, b)?;
        for feature in self.features {
            b.feature = feature.name;
            (feature.location)(scope, b)?;
        }
        b.settings().inner = inner;
        Ok(b.finish())
    }

    /// Compiles the levels within a location that may stand in for it: those of its `if` blocks in
    /// order, then that of its `limit_except`, then those of its versions.
    fn inner(&self, scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<Vec<LocationId>, Diagnostic> {
        if scope.context() != Context::LOCATION {
            return Ok(Vec::new());
        }
        let branches = scope.here("if").map(|block| (block, Context::IF_IN_LOCATION));
        let limits = scope.here("limit_except").map(|block| (block, Context::LIMIT_EXCEPT));
        let inner = branches.chain(limits).map(|(block, context)| scope.child(block, context));
        let versions = scope.here("version").map(|block| scope.stand_in(block));
        inner.chain(versions).map(|level| self.location(&level, b)).collect()
    }

    /// Compiles the locations directly in this block. Named ones may stand in a server only.
    fn locations(
        &self,
        scope: &Scope<'_>,
        mut named: Option<&mut ahash::AHashMap<Box<str>, LocationId>>,
        depth: usize,
        b: &mut Builder<'_>,
    ) -> Result<Router, Diagnostic> {
        let mut router = Router::default();
        for block in scope.here("location") {
            if depth > NESTING_MAX {
                return Err(
                    b.directive_error(block, format!("locations are nested more than {NESTING_MAX} deep"))
                );
            }
            let child = scope.child(block, Context::LOCATION);
            let (name, text) = location_name(scope, block, b)?;
            if let Some(name) = text.strip_prefix('@').filter(|_| matches!(name, Name::Prefix { .. })) {
                let Some(named) = named.as_deref_mut() else {
                    return Err(scope
                        .error(block, format!("named location \"{text}\" can be on the server level only")));
                };
                if let Some(inner) = child.here("location").next() {
                    let message = format!(
                        "location \"{}\" cannot be inside the named location \"{text}\"",
                        inner.args.last().map_or("", |word| &word.text)
                    );
                    return Err(scope.error(inner, message));
                }
                let id = self.location(&child, b)?;
                if named.insert(name.into(), id).is_some() {
                    return Err(scope.error(block, format!("duplicate location \"{text}\"")));
                }
                continue;
            }
            let id = self.location(&child, b)?;
            let nested = self.locations(&child, None, depth + 1, b)?;
            let exact = matches!(name, Name::Exact(_));
            if exact && !nested.is_empty() {
                let inner = child.here("location").next().unwrap_or(block);
                let message = format!(
                    "location \"{}\" cannot be inside the exact location \"{text}\"",
                    inner.args.last().map_or("", |word| &word.text)
                );
                return Err(scope.error(inner, message));
            }
            let slash = matches!(name, Name::Prefix { .. }) && b.location(id).auto_redirect;
            if !router.insert(name, id, Some(nested)) {
                return Err(scope.error(block, format!("duplicate location \"{text}\"")));
            }
            if slash {
                router.redirect_to_slash(&text, id);
            }
        }
        Ok(router)
    }

    /// Compiles the routes of a server.
    fn routes(&self, scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<Routes, Diagnostic> {
        let mut routes = Routes::default();
        let mut known: Vec<(LocationId, &Directive)> = Vec::new();
        for block in scope.here("route") {
            let [methods, word] = block.args.as_slice() else {
                return Err(scope.error(block, "invalid number of arguments in \"route\" directive"));
            };
            let text = word.text.as_str();
            let methods = Methods::read(&methods.text)
                .map_err(|name| scope.error_at(block, methods, format!("invalid method \"{name}\"")))?;
            let template = PathTemplate::read(text).map_err(|what| {
                scope.error_at(block, word, format!("invalid route template \"{text}\": {what}"))
            })?;
            let child = scope.child(block, Context::LOCATION);
            if let Some(inner) = child.here("location").next() {
                return Err(scope.error(inner, format!("a location cannot be inside the route \"{text}\"")));
            }
            let id = self.location(&child, b)?;
            let places = template.names.iter().map(|name| b.define(&format!("route_{name}"))).collect();
            let strict = is_strict(&child)?;
            let new = NewRoute { text, template: &template, methods, id, places, strict };
            routes.insert(new).map_err(|clash| {
                let other = match clash {
                    Clash::With(id) => known.iter().find(|(other, _)| *other == id).map(|(_, block)| *block),
                    Clash::Beside(_) => None,
                };
                let shown = |block: &Directive| {
                    let words: Vec<&str> = block.args.iter().map(|word| word.text.as_str()).collect();
                    words.join(" ")
                };
                let beside = other.map_or("another route".to_owned(), |other| {
                    let file = scope.sources().path(other.place.file).display();
                    format!("\"{}\" in {file}:{}", shown(other), other.place.line)
                });
                scope.error(block, format!("route \"{}\" cannot be told apart from {beside}", shown(block)))
            })?;
            known.push((id, block));
        }
        Ok(routes)
    }
}

/// Whether raw paths that others may read otherwise are refused in a route: `route_encoded`.
fn is_strict(scope: &Scope<'_>) -> Result<bool, Diagnostic> {
    scope.one_of("route_encoded", &[("refuse", true), ("allow", false)], true)
}

/// The name of a location and its text: `= /a`, `=/a`, `^~ /a`, `~ re`, `~*re`, `@name`, `/a`.
fn location_name(
    scope: &Scope<'_>,
    block: &Directive,
    b: &mut Builder<'_>,
) -> Result<(Name, String), Diagnostic> {
    let (modifier, word) = match block.args.as_slice() {
        [modifier, word] => (modifier.text.as_str(), word),
        [word] => ("", word),
        _ => return Err(scope.error(block, "invalid number of arguments in \"location\" directive")),
    };
    let mut text = word.text.as_str();
    let mut modifier = modifier;
    if block.args.len() == 1 {
        for joined in ["=", "^~", "~*", "~"] {
            if let Some(rest) = text.strip_prefix(joined) {
                (modifier, text) = (joined, rest);
                break;
            }
        }
    }
    let name = match modifier {
        "" => Name::Prefix { path: text.to_owned(), no_regex: false },
        "=" => Name::Exact(text.to_owned()),
        "^~" => Name::Prefix { path: text.to_owned(), no_regex: true },
        "~" => Name::Regex(b.pattern(text, false, word)?),
        "~*" => Name::Regex(b.pattern(text, true, word)?),
        other => return Err(scope.error(block, format!("invalid location modifier \"{other}\""))),
    };
    let outer = scope.directive().filter(|_| scope.context() == Context::LOCATION);
    if let (Some(outer), false) = (outer, matches!(name, Name::Regex(_))) {
        let outer_text = outer.args.last().map_or("", |word| word.text.as_str());
        let outer_is_regex = outer.args.first().is_some_and(|word| word.text.starts_with('~'));
        if !outer_is_regex && !text.starts_with(outer_text) && !text.starts_with('@') {
            let message = format!("location \"{text}\" is outside location \"{outer_text}\"");
            return Err(scope.error(block, message));
        }
    }
    Ok((name, text.to_owned()))
}

/// The names of a server with the words they stand in.
fn server_names(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<Vec<(names::Name, Word)>, Diagnostic> {
    let mut found = Vec::new();
    for directive in scope.here("server_name") {
        for word in &directive.args {
            found.push((server_name(word, directive, b)?, word.clone()));
        }
    }
    Ok(found)
}

fn server_name(word: &Word, directive: &Directive, b: &mut Builder<'_>) -> Result<names::Name, Diagnostic> {
    let invalid = |b: &Builder<'_>| b.error(word, format!("server name \"{}\" is invalid", word.text));
    if let Some(source) = word.text.strip_prefix('~') {
        if source.is_empty() {
            let message = format!("empty regex in server name \"{}\"", word.text);
            return Err(b.directive_error(directive, message));
        }
        let caseless = source.bytes().any(|c| c.is_ascii_uppercase());
        return Ok(names::Name::Regex(Arc::new(b.pattern(source, caseless, word)?)));
    }
    let text = word.text.to_ascii_lowercase();
    let text = if text == "$hostname" { hostname() } else { text };
    if text.contains('/') || text.contains('\0') {
        // No request has such a host: the name is never met.
        let mut warning = b.error(word, format!("server name \"{}\" has suspicious symbols", word.text));
        warning.level = Level::Warn;
        b.warn(warning);
    }
    match text.matches('*').count() {
        0 if text.starts_with('.') => {
            if text.len() < 2 || text.contains("..") {
                return Err(invalid(b));
            }
            Ok(names::Name::HeadAndExact(text))
        }
        0 => Ok(names::Name::Exact(text.trim_end_matches('.').to_owned())),
        1 if text.starts_with("*.") && text.len() > 2 && !text.contains("..") => {
            Ok(names::Name::Head(text[1..].to_owned()))
        }
        1 if text.ends_with(".*") && text.len() > 2 && !text.contains("..") => {
            Ok(names::Name::Tail(text[..text.len() - 1].to_owned()))
        }
        _ => Err(invalid(b)),
    }
}

/// This host's name, lower case, as nginx's `$hostname` in a `server_name`.
fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase()
}
