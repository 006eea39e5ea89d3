//! The files of a case: a configuration and the requests.
//!
//! `NAME.conf` is the inside of an `http {}` block, or a whole file if it has
//! one. In `NAME.requests` every line is one of
//!
//! ```text
//! # a comment
//! configuration PATH                    the configuration is that file of the repository
//! replace FROM => TO                    in the configuration; FROM must be there
//! file PATH CONTENT                     a file in the server's directory
//! host NAME                             the Host of the requests from here on
//! port PORT_1                           the placeholder of the port they go to
//! GET /target [HTTP/1.0] | Name: value | ... || body
//! raw BYTES                             sent as they are; they end the connection themselves
//! ```
//!
//! The escapes `\r`, `\n`, `\t`, `\0`, `\\`, `\xHH` hold everywhere but in `replace`.
//! A request gets `Host`, `Connection: close` and, with a body, `Content-Length` if it has none.

use std::fs;
use std::path::Path;

/// What the access log is asked for, and is compared.
pub const LOG_FIELDS: [&str; 9] = [
    "request",
    "status",
    "uri",
    "args",
    "host",
    "server_name",
    "server_port",
    "upstream_status",
    "remote_user",
];

/// A case as it is read.
pub struct Script {
    /// A whole nginx.conf, with placeholders.
    pub configuration: String,
    /// Files by their path in the server's directory.
    pub files: Vec<(String, Vec<u8>)>,
    /// The requests, in order.
    pub exchanges: Vec<Exchange>,
}

/// What is sent over one connection.
pub struct Exchange {
    /// Its line in the file.
    pub line: String,
    /// The placeholder of its port.
    pub port: String,
    /// The methods of its requests.
    pub methods: Vec<String>,
    /// What is sent.
    pub bytes: Vec<u8>,
}

impl Script {
    /// Reads a case; whatever is wrong with its files is a panic.
    pub fn read(repository: &Path, folder: &str, name: &str) -> Script {
        let base = repository.join(folder).join(name.replace('_', "-"));
        let read = |path: &Path| {
            fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let mut script = Script { configuration: String::new(), files: Vec::new(), exchanges: Vec::new() };
        let (mut host, mut port) = ("localhost".to_owned(), "PORT".to_owned());
        let mut source = base.with_extension("conf");
        let mut replaced = Vec::new();
        let requests = read(&base.with_extension("requests"));
        for line in requests.lines() {
            let line = line.trim_start();
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "" => {}
                _ if word.starts_with('#') => {}
                "configuration" => source = repository.join(rest),
                "replace" => replaced.push(rest.split_once(" => ").expect("FROM => TO")),
                "file" => {
                    let (path, content) = rest.split_once(' ').unwrap_or((rest, ""));
                    script.files.push((path.to_owned(), unescape(content)));
                }
                "host" => host = rest.to_owned(),
                "port" => port = rest.to_owned(),
                "raw" => script.exchanges.push(Exchange::raw(line, rest, &port)),
                _ => script.exchanges.push(Exchange::plain(line, &host, &port)),
            }
        }
        script.configuration = whole(&replace(read(&source), &replaced));
        script
    }
}

impl Exchange {
    fn raw(line: &str, rest: &str, port: &str) -> Exchange {
        let bytes = unescape(rest);
        let text = String::from_utf8_lossy(&bytes);
        let starts = text.split("\r\n").filter(|line| line.contains(" HTTP/"));
        let methods = starts.map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect();
        Exchange { line: line.to_owned(), port: port.to_owned(), methods, bytes }
    }

    fn plain(line: &str, host: &str, port: &str) -> Exchange {
        let (head, body) = line.split_once(" || ").map_or((line, None), |(head, body)| (head, Some(body)));
        let mut parts = head.split(" | ");
        let first = parts.next().unwrap_or_default().trim_end();
        let versioned = first.contains(" HTTP/");
        let fields: Vec<&str> = parts.collect();
        let has = |name: &str| {
            fields.iter().any(|f| f.split(':').next().is_some_and(|n| n.eq_ignore_ascii_case(name)))
        };
        let mut text = unescape(first);
        if !versioned {
            text.extend_from_slice(b" HTTP/1.1");
        }
        text.extend_from_slice(b"\r\n");
        if !versioned && !has("host") {
            text.extend_from_slice(format!("Host: {host}\r\n").as_bytes());
        }
        for field in &fields {
            text.extend(unescape(field));
            text.extend_from_slice(b"\r\n");
        }
        if !versioned && !has("connection") {
            text.extend_from_slice(b"Connection: close\r\n");
        }
        let body = unescape(body.unwrap_or_default());
        if !body.is_empty() && !has("content-length") && !has("transfer-encoding") {
            text.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        text.extend_from_slice(b"\r\n");
        text.extend(body);
        let method = first.split(' ').next().unwrap_or_default().to_owned();
        Exchange { line: line.to_owned(), port: port.to_owned(), methods: vec![method], bytes: text }
    }
}

fn replace(mut text: String, pairs: &[(&str, &str)]) -> String {
    for (from, to) in pairs {
        assert!(text.contains(from), "to be replaced, and not in the configuration: {from}");
        text = text.replace(from, to);
    }
    text
}

/// A whole nginx.conf that runs in a test's directory. Of an example it keeps everything but where its
/// own log and pid file are.
fn whole(text: &str) -> String {
    // The client's port tells which request a line is of.
    let fields = LOG_FIELDS.map(|field| format!("${field}"));
    let log = format!("log_format difference '$realip_remote_port\\t{}';", fields.join("\\t"));
    let frame = format!(
        "client_body_temp_path %%DIR%%/body; proxy_temp_path %%DIR%%/proxy; fastcgi_temp_path %%DIR%%/fastcgi; \
         uwsgi_temp_path %%DIR%%/uwsgi; scgi_temp_path %%DIR%%/scgi;\n{log}\naccess_log %%DIR%%/access.log difference;\n"
    );
    // What NGINX speaks to upstreams by default depends on its version.
    let own = text.starts_with("proxy_http_version") || text.contains("\n    proxy_http_version");
    let frame = if own { frame } else { frame + "proxy_http_version 1.1;\n" };
    let main = "daemon off;\npid %%DIR%%/nginx.pid;\nerror_log %%DIR%%/error.log info;\n";
    if !text.lines().any(|line| line.starts_with("http {")) {
        return format!("{main}events {{}}\nhttp {{\n{frame}\n{text}\n}}\n");
    }
    let own = ["pid ", "error_log ", "user ", "worker_processes ", "    access_log "];
    let kept: Vec<&str> =
        text.lines().filter(|line| !own.iter().any(|start| line.starts_with(start))).collect();
    format!("{main}{}\n", kept.join("\n").replacen("http {", &format!("http {{\n{frame}"), 1))
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let code = rest.as_bytes().get(at + 1).copied().expect("an escape");
        let mut used = 2;
        out.push(match code {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'0' => 0,
            b'\\' => b'\\',
            b'x' => {
                used = 4;
                u8::from_str_radix(&rest[at + 2..at + 4], 16).expect("two hexadecimal digits")
            }
            other => panic!("no escape: \\{}", char::from(other)),
        });
        rest = &rest[at + used..];
    }
    out.extend_from_slice(rest.as_bytes());
    out
}
