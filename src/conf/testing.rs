//! What the tests of this room share: a small registry in nginx's manner, files in memory, and the
//! table of wrong configurations.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::files::Files;
use super::snapshot::Snapshot;
use super::spec::{Arity, Block, Context, DirectiveSpec, Effect, Inherit, Refused, Registry};
use super::tree::Tree;
use super::values::Values;
use super::{Diagnostic, parser};

const ALL: Context = Context::HTTP.or(Context::SERVER).or(Context::LOCATION);
const ALL_AND_IF: Context = ALL.or(Context::IF_IN_LOCATION);
const REWRITE: Context =
    Context::SERVER.or(Context::LOCATION).or(Context::IF_IN_SERVER).or(Context::IF_IN_LOCATION);

const fn line(name: &'static str, contexts: Context, arity: Arity, inherit: Inherit) -> DirectiveSpec {
    DirectiveSpec {
        name,
        contexts,
        arity,
        block: Block::No,
        inherit,
        default: "",
        syntax: "value",
        doc: "A directive.",
        effect: Effect::Works,
        values: Values::Any,
    }
}

const fn block(
    name: &'static str,
    contexts: Context,
    arity: Arity,
    inherit: Inherit,
    block: Block,
) -> DirectiveSpec {
    let syntax = if matches!(arity, Arity::Exactly(0)) { "" } else { "words" };
    DirectiveSpec { block, syntax, ..line(name, contexts, arity, inherit) }
}

static SPECS: &[DirectiveSpec] = {
    use Arity::*;
    use Inherit::*;
    &[
        line("daemon", Context::MAIN, Flag, Never),
        line("worker_processes", Context::MAIN, Exactly(1), Never),
        line("user", Context::MAIN, Between(1, 2), Never),
        line("error_log", Context::MAIN.or(ALL), AtLeast(1), Together),
        block("events", Context::MAIN, Exactly(0), Never, Block::Directives(Context::EVENTS)),
        line("worker_connections", Context::EVENTS, Exactly(1), Never),
        block("http", Context::MAIN, Exactly(0), Never, Block::Directives(Context::HTTP)),
        block("server", Context::HTTP, Exactly(0), NeverMany, Block::Directives(Context::SERVER)),
        block("upstream", Context::HTTP, Exactly(1), NeverMany, Block::Directives(Context::UPSTREAM)),
        line("server", Context::UPSTREAM, AtLeast(1), NeverMany),
        line("keepalive", Context::UPSTREAM, Between(1, 2), Never),
        line("keepalive_timeout", Context::UPSTREAM, Exactly(1), Never),
        line("ip_hash", Context::UPSTREAM, Exactly(0), Never),
        block("types", ALL, Exactly(0), Together, Block::Entries),
        block("map", Context::HTTP, Exactly(2), NeverMany, Block::Entries),
        DirectiveSpec {
            default: "*:80",
            syntax: "address[:port] [default_server]",
            doc: "Sets the address. There may be many.",
            ..line("listen", Context::SERVER, AtLeast(1), NeverMany)
        },
        line("server_name", Context::SERVER, AtLeast(1), NeverMany),
        block(
            "location",
            Context::SERVER.or(Context::LOCATION),
            Between(1, 2),
            NeverMany,
            Block::Directives(Context::LOCATION),
        ),
        block("if", Context::SERVER, AtLeast(1), NeverMany, Block::Directives(Context::IF_IN_SERVER)),
        block("if", Context::LOCATION, AtLeast(1), NeverMany, Block::Directives(Context::IF_IN_LOCATION)),
        block(
            "limit_except",
            Context::LOCATION,
            AtLeast(1),
            NeverMany,
            Block::Directives(Context::LIMIT_EXCEPT),
        ),
        line("deny", ALL.or(Context::LIMIT_EXCEPT), Exactly(1), Together),
        DirectiveSpec { syntax: "on | off", ..line("sendfile", ALL_AND_IF, Flag, Override) },
        line("keepalive_timeout", ALL, Between(1, 2), Override),
        line("client_max_body_size", ALL, Exactly(1), Override),
        line("proxy_buffers", ALL, Exactly(2), Override),
        line("default_type", ALL, Exactly(1), Override),
        line("root", ALL_AND_IF, Exactly(1), Override),
        line("access_log", ALL_AND_IF.or(Context::LIMIT_EXCEPT), AtLeast(1), Together),
        line("log_format", Context::HTTP, AtLeast(2), NeverMany),
        line("error_page", ALL_AND_IF, AtLeast(2), Together),
        line("return", REWRITE, Between(1, 2), NeverMany),
        line("set", REWRITE, Exactly(2), NeverMany),
        line("rewrite", REWRITE, Between(2, 3), NeverMany),
        line("proxy_pass", Context::LOCATION.or(Context::IF_IN_LOCATION), Exactly(1), Never),
        line("proxy_set_header", ALL, Exactly(2), Together),
        line("internal", Context::LOCATION, Exactly(0), Never),
        line("merged", ALL, OneOf(&[1, 3]), Merge),
        DirectiveSpec {
            effect: Effect::Accepted("one send per answer"),
            ..line("tcp_nopush", ALL, Flag, Override)
        },
    ]
};

static REFUSED: &[Refused] = &[
    Refused { name: "content_by_lua_block", module: "lua-nginx-module", reason: "no scripting" },
    Refused { name: "gzip", module: "ngx_http_gzip_module", reason: "response compression is not built yet" },
    Refused { name: "root", module: "ngx_http_core_module", reason: "not built yet" },
];

/// A registry with the shapes that nginx's own directives have.
pub fn registry() -> Registry {
    Registry { specs: SPECS.iter().collect(), refused: REFUSED }
}

/// Files that the cases include.
const FILES: &[(&str, &str)] = &[
    ("/conf/good.conf", "default_type a/b;\n"),
    ("/conf/empty.conf", ""),
    ("/conf/brace.conf", "default_type a/b;\n}\n"),
    ("/conf/open.conf", "server {\n"),
    ("/conf/half.conf", "\ndefault_type a/b"),
    ("/conf/unknown.conf", "\n\nnonsense;\n"),
    ("/conf/missing.conf", "\ninclude not-there.conf;\n"),
    ("/conf/types.conf", "types {\n text/html html;\n}\n"),
    ("/conf/entries.conf", "text/html html;\ntext/css css;\n"),
    ("/conf/loop.conf", "\ninclude loop.conf;\n"),
    ("/conf/ping.conf", "include pong.conf;\n"),
    ("/conf/pong.conf", "\n\ninclude ping.conf;\n"),
    ("/conf/d/a.conf", "root /a;\n"),
    ("/conf/d/b.conf", "root /b;\n"),
];

fn files(text: &[u8]) -> Snapshot {
    let mut files = Snapshot::default();
    FILES.iter().for_each(|(path, text)| files.insert(path, *text));
    files.insert("/conf/nginx.conf", text);
    files
}

/// Reads a text, as `/conf/nginx.conf`.
pub fn parse(text: &[u8]) -> Result<Tree, Diagnostic> {
    parse_with("", &mut files(text))
}

/// Reads `/conf/nginx.conf` of some files, with the text of `-g`.
pub fn parse_with(globals: &str, files: &mut dyn Files) -> Result<Tree, Diagnostic> {
    parser::parse(Path::new("/conf/nginx.conf"), globals, Path::new("/conf"), files)
}

/// Reads and checks a text.
pub fn load(text: &str) -> Result<Tree, Diagnostic> {
    load_with("", text)
}

/// Reads and checks the text of `-g` and a file's.
pub fn load_with(globals: &str, text: &str) -> Result<Tree, Diagnostic> {
    let root = Path::new("/conf/nginx.conf");
    let mut files = files(text.as_bytes());
    parser::load(root, globals, Path::new("/conf"), &mut files, &registry()).map(|(tree, _)| tree)
}

/// The tree of a text that is right.
pub fn tree(text: &str) -> Tree {
    load(text).unwrap_or_else(|error| panic!("{error}"))
}

/// The first line of the error of a text that is wrong.
pub fn first_line(text: &str) -> String {
    load(text).map_or_else(|error| error.first_line(), |_| "no error".to_owned())
}

/// A wrong configuration and the first line of its error.
pub struct Case {
    pub text: String,
    pub expected: String,
    /// Whether nginx prints exactly this line.
    pub as_nginx: bool,
}

/// All wrong configurations.
pub fn cases() -> Vec<Case> {
    let long = "x".repeat(5000);
    let mut cases: Vec<Case> =
        WRONG.iter().map(|&(text, expected)| case(text.to_owned(), expected)).collect();
    let deep = "location / {".repeat(200);
    cases.push(case(
        format!("http {{ default_type\n {long}; }}"),
        "too long parameter \"xxxxxxxxxx...\" started @2",
    ));
    cases.push(case(
        format!("http {{\n default_type\n  \"{long}\"; }}"),
        "too long parameter, probably missing terminating \"\"\" character @3",
    ));
    cases.push(case(
        format!("http {{ default_type '{long}; }}"),
        "too long parameter, probably missing terminating \"'\" character @1",
    ));
    cases.push(case(format!("http {{ server {{ {deep}"), "*blocks nest more than 100 deep @1"));
    cases
}

fn case(text: String, expected: &str) -> Case {
    let as_nginx = !expected.starts_with('*');
    let (message, place) = expected.trim_start_matches('*').rsplit_once(" @").unwrap_or((expected, "1"));
    let place = if place.contains(':') { place.to_owned() } else { format!("nginx.conf:{place}") };
    Case { text, expected: format!("[emerg] {message} in /conf/{place}"), as_nginx }
}

/// Writes the files that the cases include into a directory.
pub fn write_files(root: &Path) {
    for (path, text) in FILES {
        let path = root.join(path.trim_start_matches("/conf/"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// What `nginx -t` says first of a text, with the directory's name as in the cases.
pub fn nginx_line(root: &Path, text: &str) -> String {
    let file = root.join("nginx.conf");
    std::fs::write(&file, text).unwrap();
    let mut command = std::process::Command::new("nginx");
    command.args(["-t", "-e", "stderr", "-p"]).arg(root).arg("-c").arg(&file);
    let output = String::from_utf8_lossy(&command.output().unwrap().stderr).into_owned();
    // With standard error as its log: `2026/01/31 10:00:00 [emerg] 1#1: message`.
    let line = output.lines().find_map(|line| line.split_once("[emerg] ")?.1.split_once(": "));
    let message = line.map_or(output.as_str(), |(_, message)| message);
    format!("[emerg] {}", message.replace(&root.display().to_string(), "/conf"))
}

/// Wrong texts; then nginx's message, `@`, and the line, with its file if it is an included one.
/// A star: nginx words it otherwise or has no such error.
const WRONG: &[(&str, &str)] = &[
    // Names and contexts.
    ("nonsense;", "unknown directive \"nonsense\" @1"),
    ("\n\n  nonsense on;", "unknown directive \"nonsense\" @3"),
    ("nonsense\n a\n b\n;", "unknown directive \"nonsense\" @4"),
    ("nonsense\n{ }", "unknown directive \"nonsense\" @2"),
    ("http {\n servre { }\n}", "unknown directive \"servre\" @2"),
    ("http { server { locaton / { } } }", "unknown directive \"locaton\" @1"),
    ("http { upstream u { least_con; } }", "unknown directive \"least_con\" @1"),
    ("events { worker_conections 1; }", "unknown directive \"worker_conections\" @1"),
    ("HTTP { }", "unknown directive \"HTTP\" @1"),
    ("\"a b\" c;", "unknown directive \"a b\" @1"),
    ("'';", "unknown directive \"\" @1"),
    ("$x 1;", "unknown directive \"$x\" @1"),
    ("\u{e9}t\u{e9} 1;", "unknown directive \"\u{e9}t\u{e9}\" @1"),
    ("http\\;x;", "unknown directive \"http\\;x\" @1"),
    ("listen 80;", "\"listen\" directive is not allowed here @1"),
    ("server { }", "\"server\" directive is not allowed here @1"),
    ("http { listen 80; }", "\"listen\" directive is not allowed here @1"),
    ("http { location / { } }", "\"location\" directive is not allowed here @1"),
    ("http { http { } }", "\"http\" directive is not allowed here @1"),
    ("http { worker_processes 1; }", "\"worker_processes\" directive is not allowed here @1"),
    ("http { if ($x) { } }", "\"if\" directive is not allowed here @1"),
    ("http { server {\n proxy_pass http://a; } }", "\"proxy_pass\" directive is not allowed here @2"),
    ("http { server { server { } } }", "\"server\" directive is not allowed here @1"),
    ("http { server { upstream u { } } }", "\"upstream\" directive is not allowed here @1"),
    ("http { server { location / { listen 80; } } }", "\"listen\" directive is not allowed here @1"),
    (
        "http { server { location / { if ($uri) { if ($uri) { } } } } }",
        "\"if\" directive is not allowed here @1",
    ),
    (
        "http { server { location / { if ($uri) { client_max_body_size 1m; } } } }",
        "\"client_max_body_size\" directive is not allowed here @1",
    ),
    ("http { server { if ($uri) { root /x; } } }", "\"root\" directive is not allowed here @1"),
    ("http { upstream u { listen 80; } }", "\"listen\" directive is not allowed here @1"),
    ("http { upstream u { server { } } }", "directive \"server\" is not terminated by \";\" @1"),
    ("events { daemon off; }", "\"daemon\" directive is not allowed here @1"),
    ("worker_connections 10;", "\"worker_connections\" directive is not allowed here @1"),
    (
        "http { server { location / { limit_except GET { root /x; } } } }",
        "\"root\" directive is not allowed here @1",
    ),
    (
        "http {\n gzip on; }",
        "*directive \"gzip\" is not supported by Octroi (ngx_http_gzip_module: response compression is not built yet) @2",
    ),
    // Braces and ends.
    ("http;", "directive \"http\" has no opening \"{\" @1"),
    ("http { server\n; }", "directive \"server\" has no opening \"{\" @2"),
    ("http { server { location /; } }", "directive \"location\" has no opening \"{\" @1"),
    ("http { types; }", "directive \"types\" has no opening \"{\" @1"),
    ("daemon on {", "directive \"daemon\" is not terminated by \";\" @1"),
    ("daemon on { }", "directive \"daemon\" is not terminated by \";\" @1"),
    ("http { root /x\n server { } }", "directive \"root\" is not terminated by \";\" @2"),
    ("http { sendfile on\n server { } }", "directive \"sendfile\" is not terminated by \";\" @2"),
    ("http { server { listen 80 { } } }", "directive \"listen\" is not terminated by \";\" @1"),
    ("http { include good.conf { } }", "directive \"include\" is not terminated by \";\" @1"),
    (";", "unexpected \";\" @1"),
    ("http { ; }", "unexpected \";\" @1"),
    ("http { server { };\n}", "unexpected \";\" @1"),
    ("daemon on;;", "unexpected \";\" @1"),
    ("{", "unexpected \"{\" @1"),
    ("\n{ }", "unexpected \"{\" @2"),
    ("http {{ }}", "unexpected \"{\" @1"),
    ("http { types { text/html { } } }", "unexpected \"{\" @1"),
    ("http { types { a b;\n c\n { d e; } } }", "unexpected \"{\" @3"),
    ("http { map $uri $y { a { } } }", "unexpected \"{\" @1"),
    ("}", "unexpected \"}\" @1"),
    ("http { }\n}", "unexpected \"}\" @2"),
    ("http { root /x }", "unexpected \"}\" @1"),
    ("http {\n sendfile on\n}", "unexpected \"}\" @3"),
    ("http {", "unexpected end of file, expecting \"}\" @1"),
    ("http {\n", "unexpected end of file, expecting \"}\" @2"),
    ("http {\n server {\n }\n\n", "unexpected end of file, expecting \"}\" @5"),
    ("http { # }", "unexpected end of file, expecting \"}\" @1"),
    ("daemon on", "unexpected end of file, expecting \";\" or \"}\" @1"),
    ("daemon on\n", "unexpected end of file, expecting \";\" or \"}\" @2"),
    ("daemon", "unexpected end of file, expecting \";\" or \"}\" @1"),
    ("http { server {\n root '/x; } }\n", "unexpected end of file, expecting \";\" or \"}\" @3"),
    ("http { server { root /x\\; } }", "unexpected \"}\" @1"),
    ("http { root \"", "unexpected end of file, expecting \";\" or \"}\" @1"),
    ("http { root \"x\"", "unexpected end of file, expecting \";\" or \"}\" @1"),
    ("http { root \\", "unexpected end of file, expecting \";\" or \"}\" @1"),
    ("http { root ${x", "unexpected end of file, expecting \";\" or \"}\" @1"),
    ("http { root \"x\"y; }", "unexpected \"y\" @1"),
    ("http { root 'x''y'; }", "unexpected \"'\" @1"),
    ("http { root\n \"x\"}", "unexpected \"}\" @2"),
    ("http { root \"x\"# y\n; }", "unexpected \"#\" @1"),
    ("http { root \"x\"\\y; }", "unexpected \"\\\" @1"),
    // Arguments.
    ("daemon;", "invalid number of arguments in \"daemon\" directive @1"),
    ("daemon on off;", "invalid number of arguments in \"daemon\" directive @1"),
    ("user;", "invalid number of arguments in \"user\" directive @1"),
    ("user a b c;", "invalid number of arguments in \"user\" directive @1"),
    ("http x { }", "invalid number of arguments in \"http\" directive @1"),
    ("http { server x { } }", "invalid number of arguments in \"server\" directive @1"),
    ("http { server { location { } } }", "invalid number of arguments in \"location\" directive @1"),
    ("http { server { location = / x { } } }", "invalid number of arguments in \"location\" directive @1"),
    ("http { upstream { } }", "invalid number of arguments in \"upstream\" directive @1"),
    ("http { upstream u { ip_hash x; } }", "invalid number of arguments in \"ip_hash\" directive @1"),
    ("http { root; }", "invalid number of arguments in \"root\" directive @1"),
    ("http { root /x\n default_type a/b; }", "invalid number of arguments in \"root\" directive @2"),
    ("http { map $uri { } }", "invalid number of arguments in \"map\" directive @1"),
    ("http { proxy_set_header X; }", "invalid number of arguments in \"proxy_set_header\" directive @1"),
    ("http { server { server_name; } }", "invalid number of arguments in \"server_name\" directive @1"),
    ("http { server { return; } }", "invalid number of arguments in \"return\" directive @1"),
    (
        "http { server { location / { internal x; } } }",
        "invalid number of arguments in \"internal\" directive @1",
    ),
    ("http { include; }", "invalid number of arguments in \"include\" directive @1"),
    ("http { include a b; }", "invalid number of arguments in \"include\" directive @1"),
    ("daemon maybe;", "invalid value \"maybe\" in \"daemon\" directive, it must be \"on\" or \"off\" @1"),
    (
        "http { sendfile 1; }",
        "invalid value \"1\" in \"sendfile\" directive, it must be \"on\" or \"off\" @1",
    ),
    (
        "http { sendfile\n ''; }",
        "invalid value \"\" in \"sendfile\" directive, it must be \"on\" or \"off\" @2",
    ),
    ("http { merged 1 2; }", "*invalid number of arguments in \"merged\" directive @1"),
    ("http { root a\u{0}b; }", "*parameter \"a\u{fffd}b\" contains a NUL character @1"),
    // Duplicates.
    ("daemon on;\ndaemon on;", "\"daemon\" directive is duplicate @2"),
    ("worker_processes 1; worker_processes 2;", "\"worker_processes\" directive is duplicate @1"),
    ("http { }\nhttp { }", "\"http\" directive is duplicate @2"),
    ("events { }\nevents { }", "\"events\" directive is duplicate @2"),
    ("http { sendfile on; sendfile off; }", "\"sendfile\" directive is duplicate @1"),
    ("http { sendfile on; sendfile x; }", "\"sendfile\" directive is duplicate @1"),
    ("http { root /a; server { root /b;\n root /c; } }", "\"root\" directive is duplicate @2"),
    (
        "http { client_max_body_size 1; client_max_body_size 1; }",
        "\"client_max_body_size\" directive is duplicate @1",
    ),
    ("http { keepalive_timeout 1; keepalive_timeout 1; }", "\"keepalive_timeout\" directive is duplicate @1"),
    (
        "http { server { location / { proxy_pass http://127.0.0.1; proxy_pass http://127.0.0.1; } } }",
        "\"proxy_pass\" directive is duplicate @1",
    ),
    ("http { include good.conf; default_type x; }", "\"default_type\" directive is duplicate @1"),
    ("http { default_type x;\n include good.conf; }", "\"default_type\" directive is duplicate @good.conf:1"),
    ("http { include d/*.conf; }", "\"root\" directive is duplicate @d/b.conf:1"),
    // Includes.
    (
        "http {\n include not-there.conf;\n}",
        "open() \"/conf/not-there.conf\" failed (2: No such file or directory) @2",
    ),
    (
        "include missing.conf;",
        "open() \"/conf/not-there.conf\" failed (2: No such file or directory) @missing.conf:2",
    ),
    ("http { include brace.conf; }", "unexpected \"}\" @brace.conf:2"),
    ("http { include open.conf; }", "unexpected end of file, expecting \"}\" @open.conf:2"),
    ("http { include half.conf; }", "unexpected end of file, expecting \";\" or \"}\" @half.conf:2"),
    ("http { include unknown.conf; }", "unknown directive \"nonsense\" @unknown.conf:3"),
    ("include good.conf;", "\"default_type\" directive is not allowed here @good.conf:1"),
    ("http { types { include types.conf; } }", "unexpected \"{\" @types.conf:1"),
    ("http {\n include loop.conf; }", "*\"/conf/loop.conf\" includes itself @loop.conf:2"),
    ("http { include ping.conf; }", "*\"/conf/ping.conf\" includes itself @pong.conf:3"),
    ("include nginx.conf;", "*\"/conf/nginx.conf\" includes itself @1"),
];

/// Right texts that look wrong.
pub const RIGHT: &[&str] = &[
    "",
    "# nothing",
    "\u{feff}daemon on;",
    "daemon ON;",
    "http { include none-*.conf; }",
    "http { include empty.conf; include d/a.conf; }",
    "http { types { include entries.conf; text/plain txt; } }",
    "http { map $uri $y { default 0; \"~^/a{1,2}$\" 1; '' 2; \\include 3; } }",
    "http { server { if ($uri = \"x\") { return 200 \"{}\"; } location ~ ^/\\d+$ { } } }",
    "http { log_format a '$a' \"$b\"; log_format b x; }",
    "http { server { listen 80; listen 81; server_name a; server_name b; } server { } }",
    "http { upstream u { server a; keepalive_timeout 1; } keepalive_timeout 1; }",
    "http { root /a; server { root /b; location / { root /c; location /x { root /d; } } } }",
    "error_log a; error_log b; http { error_log c; error_log d; }",
];
