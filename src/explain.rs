//! `octroi explain 'GET https://host/path'`: what becomes of a request under a configuration. Which
//! server and location take it and why the others do not, what each step decides, whom it would be
//! passed on to and with which header fields. No other host is asked, and nothing is sent or logged.

use crate::base::address::Address;
use crate::conf::{Disk, Place};
use crate::net::log_file::LogFile;
use crate::net::runtime::{self, Driver};
use crate::net::sockets::Logs;
use crate::plan::{Loaded, Plan};
use crate::shard::explain::{Question, explain};
use crate::{features, process};
use rustix::fs::{MemfdFlags, memfd_create};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "usage: octroi explain 'METHOD URL' [-H 'Name: value'] [--from address] [-c file] [-p prefix] [-g directives]";

/// Runs the verb with what follows it on the command line.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match Wanted::parse(arguments).map_err(|message| format!("{message}\n{USAGE}")).and_then(report) {
        Ok(text) => {
            // A pager that was left early has shown enough.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("octroi: {message}");
            ExitCode::FAILURE
        }
    }
}

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    method: String,
    /// `https`.
    tls: bool,
    /// The host of the URL; none where that is a path alone.
    host: Option<String>,
    port: Option<u16>,
    /// Path and arguments.
    target: String,
    headers: Vec<String>,
    from: IpAddr,
    conf: Option<PathBuf>,
    prefix: Option<PathBuf>,
    globals: String,
}

impl Wanted {
    fn parse(arguments: Vec<OsString>) -> Result<Wanted, String> {
        let mut words = Vec::new();
        let (mut headers, mut conf, mut prefix) = (Vec::new(), None, None);
        let (mut from, mut globals) = (IpAddr::V4(Ipv4Addr::LOCALHOST), String::new());
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let argument = argument.into_string().map_err(|_| "an argument is not valid UTF-8".to_owned())?;
            let mut value = |what: &str| {
                let next = arguments.next().and_then(|next| next.into_string().ok());
                next.ok_or(format!("option \"{argument}\" requires {what}"))
            };
            match argument.as_str() {
                "-H" => headers.push(header(value("a header field")?)?),
                "-c" => conf = Some(value("file name")?.into()),
                "-p" => prefix = Some(value("directory name")?.into()),
                "-g" => globals = value("parameter")?,
                "--from" => {
                    let text = value("an address")?;
                    from = text.parse().map_err(|_| format!("\"{text}\" is no address"))?;
                }
                other if other.starts_with('-') => return Err(format!("invalid option: \"{other}\"")),
                words_of => words.extend(words_of.split_ascii_whitespace().map(str::to_owned)),
            }
        }
        let (method, url) = match words.as_slice() {
            [url] => ("GET".to_owned(), url.clone()),
            [method, url] => (method.clone(), url.clone()),
            [] => return Err("what is to be explained?".to_owned()),
            [_, _, other, ..] => return Err(format!("\"{other}\" is one word too many")),
        };
        let (tls, host, port, target) = split(&url)?;
        Ok(Wanted { method, tls, host, port, target, headers, from, conf, prefix, globals })
    }

    /// The head as a client would send it.
    fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let names_host = self
            .headers
            .iter()
            .any(|field| field.get(..5).is_some_and(|name| name.eq_ignore_ascii_case("host:")));
        if !names_host {
            let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
            head += &format!("Host: {}{port}\r\n", self.host.as_deref().unwrap_or("localhost"));
        }
        for field in &self.headers {
            head += field;
            head += "\r\n";
        }
        head += "\r\n";
        head.into_bytes()
    }
}

/// A field that can stand in a head.
fn header(text: String) -> Result<String, String> {
    let is_field = text.split_once(':').is_some_and(|(name, _)| !name.is_empty());
    match is_field && !text.contains(['\r', '\n', '\0']) {
        true => Ok(text),
        false => Err(format!("{text:?} is no header field: \"Name: value\"")),
    }
}

/// Whether it is `https`, host, port and target of a URL, or of a path alone.
fn split(url: &str) -> Result<(bool, Option<String>, Option<u16>, String), String> {
    if url.starts_with('/') {
        return Ok((false, None, None, url.to_owned()));
    }
    let (scheme, rest) = url.split_once("://").ok_or(format!("\"{url}\" is neither a URL nor a path"))?;
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        _ => return Err(format!("\"{scheme}\" is neither http nor https")),
    };
    let rest = rest.split('#').next().unwrap_or(rest);
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(at);
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    let bare = authority.rfind(':').filter(|at| !authority.get(*at..).unwrap_or_default().contains(']'));
    let (host, port) = match bare {
        Some(at) => {
            let text = authority.get(at + 1..).unwrap_or_default();
            let port = text.parse().map_err(|_| format!("\"{text}\" is no port"))?;
            (authority.get(..at).unwrap_or_default(), Some(port))
        }
        None => (authority, None),
    };
    match host.is_empty() {
        true => Err(format!("\"{url}\" has no host")),
        false => Ok((tls, Some(host.to_owned()), port, target)),
    }
}

/// Loads the configuration and tells what becomes of the request.
fn report(wanted: Wanted) -> Result<String, String> {
    // The file is relative to where one stands, unlike that of -c for a start.
    let here = std::env::current_dir().unwrap_or_default();
    let conf =
        wanted.conf.as_ref().map_or_else(|| process::default_conf().to_owned(), |conf| here.join(conf));
    let origin = process::resolve(Some(&conf), wanted.prefix.as_deref(), None, wanted.globals.clone());
    let Loaded { plan, sources, .. } =
        features::load(&origin, &mut Disk).map_err(|error| error.to_string().trim_end().to_owned())?;
    plan.preparations.iter().try_for_each(|prepare| prepare())?;
    let (site, local, note) = entrance(&plan, &wanted)?;
    let written = |place: Option<Place>| {
        place.map_or_else(String::new, |place| {
            format!("({}:{})", sources.path(place.file).display(), place.line)
        })
    };
    // What steps write to error logs is told with them; it goes to no file of the configuration.
    let memory: File = memfd_create("explain", MemfdFlags::CLOEXEC).map_err(|e| e.to_string())?.into();
    let logs = logs(&plan, &memory).map_err(|e| e.to_string())?;
    let mut read = 0;
    let mut log = || {
        let mut text = Vec::new();
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = memory.read_at(&mut piece, read) {
            text.extend_from_slice(piece.get(..count).unwrap_or_default());
            read += count as u64;
        }
        String::from_utf8_lossy(&text).into_owned()
    };
    let head = wanted.head();
    let mut text = format!("{:<14} {} {}\n", "request", wanted.method, wanted.target);
    text += &format!("{:<14} {local}{note}\n", "address");
    let question = Question { head, site, local, from: SocketAddr::new(wanted.from, 50_000) };
    let walk = explain(plan, &logs, question, &written, &mut log);
    text += &runtime::run(Driver::Epoll, walk).map_err(|e| e.to_string())?;
    Ok(text)
}

/// Every log of the plan, in memory.
fn logs(plan: &Plan, memory: &File) -> io::Result<Logs> {
    let mut logs = Logs::default();
    for path in plan.log_files() {
        logs.insert(path.clone(), LogFile::new(OwnedFd::from(memory.try_clone()?), path.clone()));
    }
    Ok(logs)
}

/// Where the request comes in: the number of the socket, the address, and what was assumed.
fn entrance(plan: &Plan, wanted: &Wanted) -> Result<(usize, Address, String), String> {
    let mut known: Vec<(usize, Address, bool)> = Vec::new();
    for (at, site) in plan.sites.iter().enumerate() {
        let Some(listen) = plan.listens.get(at) else { continue };
        known.extend(site.specific.iter().map(|(address, names)| (at, address.clone(), names.tls)));
        known.push((at, listen.address.clone(), site.names.tls));
    }
    let port = |address: &Address| match address {
        Address::Ip(ip) => Some(ip.port()),
        Address::Unix(_) => None,
    };
    let speaks = if wanted.tls { "https" } else { "http" };
    let with_port = wanted.port.or(wanted.host.as_ref().map(|_| if wanted.tls { 443 } else { 80 }));
    let fits = |found: &&(usize, Address, bool)| found.2 == wanted.tls;
    let host = wanted.host.clone().unwrap_or_default().to_ascii_lowercase();
    let has_name = |(at, address, _): &&(usize, Address, bool)| {
        plan.sites.get(*at).is_some_and(|site| site.names_at(address).known(host.as_bytes()).is_some())
    };
    let at_port: Vec<_> =
        known.iter().filter(|found| with_port.is_some() && port(&found.1) == with_port).collect();
    let chosen = at_port.iter().copied().filter(fits).find(has_name).or(at_port.iter().copied().find(fits));
    if let Some((at, address, _)) = chosen {
        return Ok((*at, address.clone(), String::new()));
    }
    if let (Some(port), false) = (wanted.port, at_port.is_empty()) {
        return Err(format!("port {port} does not speak {speaks}"));
    }
    if let Some(port) = wanted.port {
        return Err(format!("nothing listens on port {port}"));
    }
    let other = known.iter().filter(fits).find(has_name).or(known.iter().find(fits));
    match other {
        Some((at, address, _)) => {
            let note = with_port.map_or_else(String::new, |port| {
                format!(", since nothing listens on port {port} for {speaks}")
            });
            Ok((*at, address.clone(), note))
        }
        None => Err(format!("nothing listens that speaks {speaks}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &[&str]) -> Result<Wanted, String> {
        Wanted::parse(line.iter().map(OsString::from).collect())
    }

    #[test]
    fn requests() {
        let of = |line: &[&str]| {
            let wanted = parsed(line).unwrap_or_else(|message| panic!("{message}"));
            String::from_utf8_lossy(&wanted.head()).into_owned()
        };
        assert_eq!(of(&["/a?b"]), "GET /a?b HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(of(&["PUT https://A:8443"]), "PUT / HTTP/1.1\r\nHost: A:8443\r\n\r\n");
        assert_eq!(
            of(&["POST", "http://[::1]/?x#f", "-H", "a: b"]),
            "POST /?x HTTP/1.1\r\nHost: [::1]\r\na: b\r\n\r\n"
        );
        assert_eq!(of(&["/", "-H", "host: x"]), "GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    }

    #[test]
    fn faults() {
        for (line, want) in [
            (&[][..], "what is to be explained?"),
            (&["GET / HTTP/1.1"], "\"HTTP/1.1\" is one word too many"),
            (&["ftp://a/"], "\"ftp\" is neither http nor https"),
            (&["a.com/x"], "\"a.com/x\" is neither a URL nor a path"),
            (&["http:///x"], "\"http:///x\" has no host"),
            (&["http://a:b/"], "\"b\" is no port"),
            (&["/", "-H"], "option \"-H\" requires a header field"),
            (&["/", "-H", "x"], "\"x\" is no header field: \"Name: value\""),
            (&["/", "-x"], "invalid option: \"-x\""),
            (&["/", "--from", "x"], "\"x\" is no address"),
        ] {
            assert_eq!(parsed(line), Err(want.to_owned()), "{line:?}");
        }
    }
}
