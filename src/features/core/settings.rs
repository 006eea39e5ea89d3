//! The settings of one location, from all the levels round it.

use super::files;
use super::main_context::error_logs;
use crate::base::limits::{H2_STREAMS_MAX, H2_WINDOW_MAX, REQUEST_FIELDS_MAX};
use crate::conf::{Context, Diagnostic, Directive, Place, Scope, Word, value};
use crate::net::temp_file::Levels;
use crate::pipeline::settings::{
    BodyFile, Directory, ErrorPage, Http2, IfModifiedSince, KeepaliveDisable, LIMIT_RATE_PLACE, Lingering,
    MediaTypes, Root, Satisfy, ServerFacts, ServerTokens, Settings,
};
use crate::pipeline::template::Template;
use crate::plan::builder::Builder;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Largest head a client may be allowed, bytes: the spans of a head are 32 bits wide, and a shard
/// buffers a whole head.
const HEAD_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Most header fields a client may be allowed: what is kept of each is about 20 bytes, 2 MB in all.
const FIELDS_MAX: u64 = 100_000;

/// The types nginx knows without a `types` block.
const DEFAULT_TYPES: &[(&str, &str)] = &[("html", "text/html"), ("gif", "image/gif"), ("jpg", "image/jpeg")];

/// Finds wrong values at the `http` level even where no server uses them, as nginx does.
///
/// # Errors
/// What nginx refuses, in its words.
pub fn look_for_faults(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let facts = server_facts(scope)?;
    b.begin_server(facts);
    compile(scope, b)?;
    b.discard();
    Ok(())
}

/// Compiles a server's own level or a location, and opens it for the other features.
///
/// # Errors
/// What nginx refuses, in its words.
pub fn compile(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    if scope.context() == Context::SERVER {
        let facts = server_facts(scope)?;
        b.begin_server(facts);
    }
    let Some(server) = b.server() else {
        return Err(Diagnostic::new(
            crate::base::process_settings::Level::Emerg,
            "a location outside of a server",
        ));
    };
    let name = location_name(scope);
    let keepalive = keepalive_timeout(scope)?;
    let settings = Settings {
        internal: scope.here("internal").next().is_some() || name.starts_with('@'),
        server,
        satisfy: scope.one_of("satisfy", &[("all", Satisfy::All), ("any", Satisfy::Any)], Satisfy::All)?,
        auth_delay: time(scope, "auth_delay", 0)?,
        files: files::compile(scope, b)?,
        veil: None,
        identity_headers: false,
        root: root(scope, b)?,
        client_max_body_size: scope.offset("client_max_body_size", 1024 * 1024)?,
        client_body_buffer_size: scope.size("client_body_buffer_size", 16 * 1024)? as usize,
        client_body_temp_path: b.path(scope.word("client_body_temp_path").unwrap_or(default_temp_path(b))),
        client_body_temp_levels: temp_levels(scope),
        client_body_timeout: time(scope, "client_body_timeout", 60_000)?,
        send_timeout: time(scope, "send_timeout", 60_000)?,
        limit_rate: rate(scope, "limit_rate", b)?,
        limit_rate_after: rate(scope, "limit_rate_after", b)?,
        limit_rate_place: b.define(LIMIT_RATE_PLACE),
        client_body_in_file_only: scope.one_of(
            "client_body_in_file_only",
            &[("off", BodyFile::Off), ("clean", BodyFile::Clean), ("on", BodyFile::On)],
            BodyFile::Off,
        )?,
        keepalive_timeout: keepalive.0,
        keepalive_header_s: keepalive.1,
        keepalive_requests: scope.number("keepalive_requests", 1000)?,
        keepalive_time: time(scope, "keepalive_time", 3_600_000)?,
        keepalive_disable: keepalive_disable(scope)?,
        keepalive_min_timeout: time(scope, "keepalive_min_timeout", 0)?,
        lingering_close: scope.one_of(
            "lingering_close",
            &[("off", Lingering::Off), ("on", Lingering::On), ("always", Lingering::Always)],
            Lingering::On,
        )?,
        lingering_time: time(scope, "lingering_time", 30_000)?,
        lingering_timeout: time(scope, "lingering_timeout", 5_000)?,
        reset_timedout_connection: scope.flag("reset_timedout_connection", false)?,
        tcp_nodelay: scope.flag("tcp_nodelay", true)?,
        chunked_transfer_encoding: scope.flag("chunked_transfer_encoding", true)?,
        server_tokens: scope.one_of(
            "server_tokens",
            &[("on", ServerTokens::On), ("off", ServerTokens::Off), ("build", ServerTokens::Build)],
            ServerTokens::On,
        )?,
        msie_padding: scope.flag("msie_padding", true)?,
        msie_refresh: scope.flag("msie_refresh", false)?,
        types: types(scope, b),
        default_type: scope.word("default_type").unwrap_or("text/plain").as_bytes().into(),
        etag: scope.flag("etag", true)?,
        if_modified_since: scope.one_of(
            "if_modified_since",
            &[
                ("off", IfModifiedSince::Off),
                ("exact", IfModifiedSince::Exact),
                ("before", IfModifiedSince::Before),
            ],
            IfModifiedSince::Exact,
        )?,
        log_not_found: scope.flag("log_not_found", true)?,
        log_subrequest: scope.flag("log_subrequest", false)?,
        absolute_redirect: scope.flag("absolute_redirect", true)?,
        port_in_redirect: scope.flag("port_in_redirect", true)?,
        server_name_in_redirect: scope.flag("server_name_in_redirect", false)?,
        error_pages: error_pages(scope, b)?,
        recursive_error_pages: scope.flag("recursive_error_pages", false)?,
        error_logs: error_logs(scope, b)?,
        auto_redirect: false,
        passes: false,
        inner: Vec::new(),
        http2_chunk_bytes: http2_chunk_bytes(scope)?,
        post_action: scope.word("post_action").map(Into::into),
        uninitialized_variable_warn: true,
        set_names: b.set_names(),
        steps: Default::default(),
        step_names: Default::default(),
        is_gateway: false,
        problems: Default::default(),
        place: scope.directive().map(|block| block.place),
        header_filters: Vec::new(),
        body_filters: Vec::new(),
        trailer_filters: Vec::new(),
        log_steps: Vec::new(),
        attached: Vec::new(),
        name,
    };
    b.begin(settings);
    Ok(())
}

fn time(scope: &Scope<'_>, name: &str, default_ms: u64) -> Result<Duration, Diagnostic> {
    scope.time_ms(name, default_ms).map(Duration::from_millis)
}

/// A rate or size that may hold variables; `None` for 0.
fn rate(scope: &Scope<'_>, name: &str, b: &mut Builder<'_>) -> Result<Option<Template>, Diagnostic> {
    let Some(word) = scope.one(name).and_then(|directive| directive.args.first()) else { return Ok(None) };
    if !word.text.contains('$') && scope.size(name, 0)? == 0 {
        return Ok(None);
    }
    b.template(word).map(Some)
}

fn location_name(scope: &Scope<'_>) -> String {
    let Some(block) = scope.location().and_then(|location| location.directive()) else {
        return String::new();
    };
    let text = block.args.last().map_or("", |word| word.text.as_str());
    if block.args.len() > 1 {
        return text.to_owned();
    }
    ["=", "^~", "~*", "~"].iter().find_map(|modifier| text.strip_prefix(modifier)).unwrap_or(text).to_owned()
}

/// Whether the block takes paths by another rule than that they begin with its name.
fn is_regex(block: &Directive) -> bool {
    block.name.text == "route" || block.args.first().is_some_and(|word| word.text.starts_with('~'))
}

fn default_temp_path(b: &Builder<'_>) -> &'static str {
    if b.origin().is_debian() { "/var/lib/nginx/body" } else { "client_body_temp" }
}

fn server_facts(scope: &Scope<'_>) -> Result<ServerFacts, Diagnostic> {
    let (large_header_buffers, large_header_buffer_size) =
        scope.buffers("large_client_header_buffers", (4, 8 * 1024))?;
    if large_header_buffers.saturating_mul(large_header_buffer_size) > HEAD_BYTES_MAX {
        let directive = scope.one("large_client_header_buffers");
        let message = format!("\"large_client_header_buffers\" of more than {HEAD_BYTES_MAX} bytes in all");
        return Err(match directive {
            Some(directive) => scope.error(directive, message),
            None => Diagnostic::new(crate::base::process_settings::Level::Emerg, message),
        });
    }
    let name = scope.here("server_name").next().and_then(|directive| directive.args.first());
    Ok(ServerFacts {
        name: name.map_or(String::new(), shown_name),
        merge_slashes: scope.flag("merge_slashes", true)?,
        ignore_invalid_headers: scope.flag("ignore_invalid_headers", true)?,
        underscores_in_headers: scope.flag("underscores_in_headers", false)?,
        max_headers: max_headers(scope)?,
        client_header_timeout: time(scope, "client_header_timeout", 60_000)?,
        client_header_buffer_size: scope.size("client_header_buffer_size", 1024)? as usize,
        large_header_buffers: large_header_buffers as usize,
        large_header_buffer_size: large_header_buffer_size as usize,
        http2: http2(scope)?,
    })
}

/// What the directives of HTTP/2 say.
fn http2(scope: &Scope<'_>) -> Result<Http2, Diagnostic> {
    let streams_max = scope.number("http2_max_concurrent_streams", 128)?;
    if let Some(directive) = scope.one("http2_max_concurrent_streams")
        && !(1..=H2_STREAMS_MAX).contains(&streams_max)
    {
        let message = format!("\"http2_max_concurrent_streams\" must be from 1 to {H2_STREAMS_MAX}");
        return Err(scope.error(directive, message));
    }
    let preread_bytes = scope.size("http2_body_preread_size", 64 * 1024)?;
    if let Some(directive) = scope.one("http2_body_preread_size")
        && preread_bytes > H2_WINDOW_MAX
    {
        let message = format!("the maximum body preread buffer size is {H2_WINDOW_MAX}");
        return Err(scope.error(directive, message));
    }
    Ok(Http2 {
        on: scope.flag("http2", false)?,
        streams_max: streams_max as u32,
        preread_bytes: preread_bytes as u32,
        read_bytes: scope.size("http2_recv_buffer_size", 256 * 1024)? as usize,
    })
}

/// `http2_chunk_size`: nginx leaves what is above a frame's bound at that.
fn http2_chunk_bytes(scope: &Scope<'_>) -> Result<usize, Diagnostic> {
    let bytes = scope.size("http2_chunk_size", 8 * 1024)?;
    match scope.one("http2_chunk_size") {
        Some(line) if bytes == 0 => Err(scope.error(line, "the http2 chunk size cannot be zero")),
        _ => Ok(bytes.min(16 * 1024 * 1024 - 1) as usize),
    }
}

fn max_headers(scope: &Scope<'_>) -> Result<usize, Diagnostic> {
    let number = scope.number("max_headers", REQUEST_FIELDS_MAX as u64)?;
    match scope.one("max_headers") {
        Some(directive) if number > FIELDS_MAX => {
            Err(scope.error(directive, format!("\"max_headers\" of more than {FIELDS_MAX}")))
        }
        _ => Ok(number as usize),
    }
}

/// `$server_name` as nginx shows it: `.example.com` without its dot, a regular expression with its
/// tilde.
fn shown_name(word: &Word) -> String {
    if word.text.starts_with('~') {
        return word.text.clone();
    }
    word.text.strip_prefix('.').unwrap_or(&word.text).to_ascii_lowercase()
}

fn keepalive_timeout(scope: &Scope<'_>) -> Result<(Duration, Option<u64>), Diagnostic> {
    let timeout = time(scope, "keepalive_timeout", 75_000)?;
    let Some(directive) = scope.one("keepalive_timeout") else { return Ok((timeout, None)) };
    let Some(word) = directive.args.get(1) else { return Ok((timeout, None)) };
    let header = value::time_s(&word.text)
        .ok_or_else(|| scope.error_at(directive, word, "\"keepalive_timeout\" directive invalid value"))?;
    Ok((timeout, Some(header)))
}

/// The levels of `client_body_temp_path`, which the file's check has found to be right.
fn temp_levels(scope: &Scope<'_>) -> Levels {
    let mut levels = Levels::default();
    let words = scope.one("client_body_temp_path").map(|line| line.args.iter().skip(1));
    for (level, word) in levels.iter_mut().zip(words.into_iter().flatten()) {
        *level = word.text.parse().unwrap_or(0);
    }
    levels
}

fn keepalive_disable(scope: &Scope<'_>) -> Result<KeepaliveDisable, Diagnostic> {
    let Some(directive) = scope.one("keepalive_disable") else {
        return Ok(KeepaliveDisable { msie6: true, safari: false });
    };
    let mut disable = KeepaliveDisable { msie6: false, safari: false };
    for word in &directive.args {
        match word.text.as_str() {
            "none" => {}
            "msie6" => disable.msie6 = true,
            "safari" => disable.safari = true,
            other => {
                let message = format!("invalid value \"{other}\"");
                return Err(scope
                    .error_at(directive, word, message)
                    .with_hint("one of: none, msie6, safari"));
            }
        }
    }
    Ok(disable)
}

/// The nearest level with `root` or `alias` decides; an alias replaces the name of the location it was
/// written in.
fn root(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<Root, Diagnostic> {
    let mut level = Some(scope.clone());
    while let Some(scope) = level {
        let alias = scope.here("alias").next();
        let root = scope.here("root").next();
        if let (Some(alias), Some(root)) = (alias, root) {
            let at = |wanted: &Directive| scope.body().iter().position(|line| std::ptr::eq(line, wanted));
            let (first, second) = if at(alias) < at(root) { (alias, root) } else { (root, alias) };
            let (first, name) = (&first.name.text, &second.name.text);
            let message =
                format!("\"{name}\" directive is duplicate, \"{first}\" directive was specified earlier");
            return Err(scope.error(second, message));
        }
        if let Some(directive) = alias {
            let path = directory(directive, b)?;
            let block = scope.location().and_then(|location| location.directive());
            let regex = block.is_some_and(is_regex);
            let name = location_name(&scope);
            if name.starts_with('@') {
                let message = "the \"alias\" directive cannot be used inside the named location";
                return Err(scope.error(directive, message));
            }
            let replaced = name.len();
            return Ok(if regex { Root::AliasWhole(path) } else { Root::Alias(path, replaced) });
        }
        if let Some(directive) = root {
            return Ok(Root::Root(directory(directive, b)?));
        }
        level = scope.parent();
    }
    let path = Template::literal(b.path("html").into_os_string().into_encoded_bytes());
    Ok(Root::Root(Directory { path, prefix: None }))
}

fn directory(directive: &Directive, b: &mut Builder<'_>) -> Result<Directory, Diagnostic> {
    let Some(word) = directive.args.first() else {
        return Err(b.directive_error(directive, "a path is missing"));
    };
    for variable in ["document_root", "realpath_root"] {
        if [format!("${variable}"), format!("${{{variable}}}")].iter().any(|used| word.text.contains(used)) {
            let name = &directive.name.text;
            let message = format!("the ${variable} variable cannot be used in the \"{name}\" directive");
            return Err(b.directive_error(directive, message));
        }
    }
    if word.text.starts_with('$') {
        let mut prefix = b.path("").into_os_string().into_encoded_bytes();
        if prefix.last() != Some(&b'/') {
            prefix.push(b'/');
        }
        return Ok(Directory { path: b.template(word)?, prefix: Some(prefix.into()) });
    }
    let path = b.path(&word.text);
    let mut text = path.to_string_lossy().into_owned();
    // Joining drops nothing, but a root's final slash would double the path's first.
    if directive.name.text == "root" && text.len() > 1 && text.ends_with('/') {
        text.pop();
    }
    Ok(Directory { path: b.template_of(&text, word)?, prefix: None })
}

/// The tables made so far, by the place of their block: all the locations that a block holds for
/// share one.
#[derive(Default)]
struct TypeTables(HashMap<Option<Place>, Arc<MediaTypes>>);

fn types(scope: &Scope<'_>, b: &mut Builder<'_>) -> Arc<MediaTypes> {
    let blocks = scope.all("types");
    let key = blocks.first().map(|block| block.place);
    if let Some(known) = b.store::<TypeTables>().0.get(&key) {
        return known.clone();
    }
    let table = Arc::new(type_table(scope, &blocks, b));
    b.store::<TypeTables>().0.insert(key, table.clone());
    table
}

/// The blocks of one level together.
fn type_table(scope: &Scope<'_>, blocks: &[&Directive], b: &mut Builder<'_>) -> MediaTypes {
    if blocks.is_empty() {
        let builtin = DEFAULT_TYPES.iter().map(|(ext, kind)| (ext.as_bytes().into(), kind.as_bytes().into()));
        return builtin.collect();
    }
    let mut types = MediaTypes::new();
    for entry in blocks.iter().flat_map(|block| block.body()) {
        let kind = &entry.name.text;
        for extension in &entry.args {
            let lower = extension.text.to_ascii_lowercase();
            let old = types.insert(lower.into_bytes().into(), kind.as_bytes().into());
            if let Some(old) = old.map(|old| String::from_utf8_lossy(&old).into_owned()) {
                let extension = &extension.text;
                let message = format!(
                    "duplicate extension \"{extension}\", content type: \"{kind}\", previous content type: \"{old}\""
                );
                b.warn(scope.warning(entry, message));
            }
        }
    }
    types
}

fn error_pages(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<Vec<ErrorPage>, Diagnostic> {
    scope.all("error_page").into_iter().map(|directive| error_page(scope, directive, b)).collect()
}

fn error_page(
    scope: &Scope<'_>,
    directive: &Directive,
    b: &mut Builder<'_>,
) -> Result<ErrorPage, Diagnostic> {
    let invalid = |word: &Word| scope.error_at(directive, word, format!("invalid value \"{}\"", word.text));
    let Some((target, mut codes)) = directive.args.split_last() else {
        return Err(scope.error(directive, "invalid number of arguments in \"error_page\" directive"));
    };
    if let [only] = codes
        && only.text.starts_with('=')
    {
        return Err(invalid(only));
    }
    let mut overwrite = None;
    if let Some((word, before)) = codes.split_last()
        && let Some(code) = word.text.strip_prefix('=')
    {
        overwrite = Some(match code {
            "" => 0,
            code => code.parse().map_err(|_| invalid(word))?,
        });
        codes = before;
    }
    if codes.is_empty() {
        return Err(invalid(target));
    }
    let mut statuses = Vec::new();
    for word in codes {
        match word.text.parse::<u16>() {
            Ok(499) => return Err(invalid(word)),
            Ok(status) if (300..=599).contains(&status) => statuses.push(status),
            Ok(status) => {
                let message = format!("value \"{status}\" must be between 300 and 599");
                return Err(scope.error_at(directive, word, message));
            }
            Err(_) => return Err(invalid(word)),
        }
    }
    Ok(ErrorPage { statuses, overwrite, target: b.template(target)? })
}
