//! `octroi demo`: three small services of a classified-ads app and the gateway in front of them, in
//! one process and on loopback, with the curl lines to try.

mod records;
mod services;

use crate::process::{self, Invocation, Task};
use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// The gateway's configuration; it can be used without the demo as well.
const CONFIGURATION: &str = include_str!("../config/lebonclone.conf");

/// The name it gets in the demo's folder.
const CONFIGURATION_NAME: &str = "lebonclone.conf";

/// The files that the configuration names, in that folder.
const ERROR_LOG: &str = "error.log";
const ACCESS_LOG: &str = "access.log";
const PID: &str = "octroi.pid";

/// Where the configuration has the gateway listen; the demo asks for the same port first.
const GATEWAY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// What holds for the demo and is not in the configuration: one process, in the foreground.
const GLOBALS: &str = "daemon off; master_process off;";

/// Permissions of the demo's folder: its owner's.
const FOLDER_MODE: u32 = 0o700;

/// How often it is looked whether the gateway listens; nobody notices a fiftieth of a second.
const READY_LOOK: Duration = Duration::from_millis(20);

/// How it is called.
const USAGE: &str = "usage: octroi demo [--port NUMBER]";

/// Runs the demo until a signal ends it. `arguments` are those behind the word `demo`.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let port = match port(&arguments) {
        Ok(port) => port,
        Err(message) => {
            eprintln!("octroi: {message}\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    serve(port).unwrap_or_else(|error| {
        eprintln!("octroi: the demo could not start: {error}");
        ExitCode::FAILURE
    })
}

/// The port that was asked for.
fn port(arguments: &[OsString]) -> Result<Option<u16>, String> {
    let mut arguments = arguments.iter().map(|argument| argument.to_string_lossy());
    let Some(first) = arguments.next() else { return Ok(None) };
    let value = match first.strip_prefix("--port") {
        Some("") => arguments.next().ok_or("option \"--port\" requires a number")?.into_owned(),
        Some(joined) if joined.starts_with('=') => joined[1..].to_owned(),
        _ => return Err(format!("invalid option: \"{first}\"")),
    };
    if let Some(more) = arguments.next() {
        return Err(format!("invalid option: \"{more}\""));
    }
    match value.parse() {
        Ok(port) if port > 0 => Ok(Some(port)),
        _ => Err(format!("invalid port \"{value}\"")),
    }
}

fn serve(port: Option<u16>) -> io::Result<ExitCode> {
    // Before the first thread starts: a signal that one of them got would end the process at once.
    process::hold_signals()?;
    let gateway = match port {
        Some(port) => SocketAddr::new(GATEWAY.ip(), port),
        None => free_address()?,
    };
    let services = services::start()?;
    let folder = folder();
    // Only a folder of our own: whoever made this one before could read or change what is in it.
    DirBuilder::new().mode(FOLDER_MODE).create(&folder)?;
    let conf = folder.join(CONFIGURATION_NAME);
    let prepared = fs::write(&conf, configuration(gateway, &services))
        .and_then(|()| announce(tour(gateway, &services, &folder), folder.join(PID)));
    prepared.inspect_err(|_| clean())?;
    let invocation = Invocation {
        conf: Some(conf),
        prefix: Some(folder),
        error_log: Some(ERROR_LOG.into()),
        globals: GLOBALS.to_owned(),
        quiet: false,
        task: Task::Serve,
    };
    Ok(process::run_then(invocation, clean))
}

/// Prints the tour when the gateway listens: the pid file is there. The thread ends with the process
/// if that never comes.
fn announce(tour: String, ready: PathBuf) -> io::Result<()> {
    let wait = move || {
        while !ready.exists() {
            thread::sleep(READY_LOOK);
        }
        print(&tour);
    };
    thread::Builder::new().name("tour".to_owned()).spawn(wait).map(drop)
}

/// The folder for the files of this process's demo.
fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("octroi-demo-{}", std::process::id()))
}

/// Removes it; what cannot be removed is the system's to clean up.
fn clean() {
    let _ = fs::remove_dir_all(folder());
}

/// A reader that went away has seen enough.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The configuration's own address if nobody listens there, else one that the kernel picks.
fn free_address() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(GATEWAY).or_else(|_| TcpListener::bind((GATEWAY.ip(), 0)))?;
    listener.local_addr()
}

/// The configuration with the addresses of this run.
fn configuration(gateway: SocketAddr, services: &[services::Service]) -> String {
    let text = CONFIGURATION.replace(&GATEWAY.to_string(), &gateway.to_string());
    services.iter().fold(text, |text, service| {
        text.replace(&format!("127.0.0.1:{}", service.configured_port), &service.address.to_string())
    })
}

/// What is printed once the gateway listens.
fn tour(gateway: SocketAddr, services: &[services::Service], folder: &Path) -> String {
    let mut text = format!("LebonClone, a classified-ads app, is up.\n\n  gateway      http://{gateway}\n");
    for service in services {
        text += &format!("  {:<11}  http://{}\n", service.name, service.address);
    }
    let log = folder.join(ACCESS_LOG);
    text += &format!(
        "
  configuration {conf}
  access log    {log}
  error log     {errors}

Try, in another terminal:

  # One API in front of three services: the path decides.
  curl -i http://{gateway}/api/users/
  curl -i http://{gateway}/api/orders/2
  # Two instances of annonces take turns; X-Instance and X-Upstream tell which one it was.
  curl -s -o /dev/null -D - http://{gateway}/api/annonces/ http://{gateway}/api/annonces/ | grep '^X-'
  # A new annonce, and the way to it.
  curl -i http://{gateway}/api/annonces/ -d '{{\"title\":\"Guitare folk\",\"price_eur\":140,\"city\":\"Nantes\"}}'
  # A service's own 404 passes as it is; a path that is none of the API is the gateway's.
  curl -i http://{gateway}/api/annonces/999
  curl -i http://{gateway}/nowhere
  # More than client_max_body_size allows: 413.
  head -c 20000 /dev/zero | curl -i http://{gateway}/api/annonces/ --data-binary @-
  # A service that thinks longer than proxy_read_timeout: the gateway answers for it.
  curl -i http://{gateway}/api/orders/slow
  # What the gateway wrote about all that.
  tail -n 3 {log}

Ctrl-C ends all of it.
",
        conf = folder.join(CONFIGURATION_NAME).display(),
        log = log.display(),
        errors = folder.join(ERROR_LOG).display(),
    );
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Option<u16>, String> {
        port(&arguments.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn arguments() {
        assert_eq!(parsed(&[]), Ok(None));
        assert_eq!(parsed(&["--port", "81"]), Ok(Some(81)));
        assert_eq!(parsed(&["--port=81"]), Ok(Some(81)));
        for wrong in [
            &["--port"][..],
            &["--port", "0"],
            &["--port", "x"],
            &["-x"],
            &["--ports"],
            &["--port", "1", "2"],
        ] {
            assert!(parsed(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn every_address_of_the_configuration_is_replaced() {
        for port in services::ALL.iter().map(|service| service.port).chain([GATEWAY.port()]) {
            assert_eq!(CONFIGURATION.matches(&format!("127.0.0.1:{port}")).count(), 1, "{port}");
        }
        let services = services::start().unwrap();
        let text = configuration(SocketAddr::new(GATEWAY.ip(), 1), &services);
        assert!(text.contains("listen       127.0.0.1:1;"));
        assert!(services.iter().all(|service| text.contains(&service.address.to_string())));
        for name in [ERROR_LOG, ACCESS_LOG, PID] {
            assert!(text.contains(name), "{name}");
        }
    }
}
