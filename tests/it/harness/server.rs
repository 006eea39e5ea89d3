//! A server under test: its processes, its files, and the requests to it.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use super::message::{Message, find};
use super::place::{Dir, Port};
use super::program::{Outcome, command_of, finish, give_to_nobody, program};
use super::setup::{Setup, in_http};
use super::upstream::Upstream;
use super::wire::{Socket, Transcript, Wire};
use super::{WAIT, alive, bounded, eventually, kill};

/// A server under test with a directory of its own. It is stopped, and its
/// directory removed, when the value goes.
pub struct Server {
    pub(super) child: Option<Child>,
    pub(super) dir: Dir,
    pub(super) config: String,
    pub(super) values: BTreeMap<String, String>,
    pub(super) ports: Vec<Port>,
    pub(super) arguments: Vec<String>,
    pub(super) http: bool,
    pub(super) transcript: Transcript,
    pub(super) alerts_allowed: bool,
    pub(super) binary: Option<PathBuf>,
    pub(super) detached: bool,
    pub(super) keeps_root: bool,
    pub(super) data_kilobytes: Option<u32>,
}

impl Server {
    /// Starts a server with this inside its `http {}` block.
    pub fn http(text: &str) -> Server {
        Setup::http(text).start()
    }

    /// The same, with `%%UP%%` standing for the upstream's address.
    pub fn before(upstream: &Upstream, text: &str) -> Server {
        Setup::http(text).put("UP", upstream.address()).start()
    }

    /// Writes another configuration, with the same placeholders; nothing is reloaded.
    pub fn configure(&mut self, text: &str) {
        self.config = if self.http { in_http(text) } else { text.to_owned() };
        self.config = self.fill(&self.config.clone());
        self.write("nginx.conf", self.config.clone());
    }

    /// Starts the prepared server and waits for its pid file.
    pub fn launch(&mut self) {
        let stderr = fs::File::create(self.path("stderr")).unwrap();
        let mut command = self.command(&[]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let mut child = command.spawn().expect("the binary starts");
        let pid_file = self.path("nginx.pid");
        let ready = bounded(|| {
            let written = fs::read_to_string(&pid_file).is_ok_and(|text| text.ends_with('\n'));
            (written || child.try_wait().unwrap().is_some()).then_some(written)
        });
        self.child = Some(child);
        assert_eq!(ready, Some(true), "the server did not start: {}", self.read("stderr"));
    }

    /// Starts the prepared server, whose configuration makes it a daemon. Whatever its pid files name at
    /// the end is stopped then.
    pub fn launch_daemon(&mut self) {
        let outcome = self.run(&[]);
        self.detached = true;
        assert_eq!(outcome.code, Some(0), "the daemon did not start: {}", outcome.stderr);
        eventually("the pid file", || self.read("nginx.pid").ends_with('\n'));
    }

    /// Bounds the memory that each of the server's processes may have for data (RLIMIT_DATA).
    pub fn limit_data(&mut self, kilobytes: u32) {
        self.data_kilobytes = Some(kilobytes);
    }

    /// The server's master is root, if the tests are (see [`as_root`]).
    pub fn keep_root(&mut self) {
        self.keeps_root = true;
    }

    /// Runs a copy of the binary that is this server's own; its path.
    pub fn copy_binary(&mut self) -> PathBuf {
        let copy = PathBuf::from(self.path(&program().name));
        fs::copy(&program().path, &copy).unwrap();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
        self.binary = Some(copy.clone());
        copy
    }

    /// The binary of the next launches; none for the one under test.
    pub fn use_binary(&mut self, path: Option<PathBuf>) {
        self.binary = path;
    }

    /// Stops the server, which may be launched again.
    pub fn end(&mut self) {
        self.stop().unwrap();
    }

    /// Runs the binary on this configuration with more arguments, until it ends by itself.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        finish(self.command(arguments))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let binary = self.binary.as_ref().unwrap_or(&program().path);
        let mut command = command_of(self.data_kilobytes.map_or(binary, |_| Path::new("sh")));
        if let Some(kilobytes) = self.data_kilobytes {
            command.args(["-c", &format!("ulimit -d {kilobytes}; exec \"$0\" \"$@\"")]).arg(binary);
        }
        if self.keeps_root {
            command.uid(0).gid(0);
        }
        command.args(["-p", &self.path(""), "-c", "nginx.conf", "-e", "error.log"]);
        command.args(&self.arguments).args(arguments).current_dir(self.path(""));
        command
    }

    /// A file of the server's directory; a directory is given with a slash at its end.
    pub fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.dir.0.display())
    }

    /// A file's text; empty if it is not there.
    pub fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(name)).unwrap_or_default()).into_owned()
    }

    /// Writes a file into the server's directory, readable by the server.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = PathBuf::from(self.path(name));
        if let Some(folder) = path.parent().filter(|f| !f.exists()) {
            fs::create_dir_all(folder).unwrap();
            give_to_nobody(folder);
        }
        fs::write(&path, content).unwrap();
        give_to_nobody(&path);
    }

    /// The error log so far.
    pub fn log(&self) -> String {
        self.read("error.log")
    }

    /// The access log so far.
    pub fn access_log(&self) -> String {
        self.read("access.log")
    }

    /// Waits until the error log contains the text.
    pub fn wait_log(&self, text: &str) {
        eventually(&format!("{text:?} in the error log"), || self.log().contains(text));
    }

    /// Waits until a file has this many lines, and returns them.
    pub fn wait_lines(&self, name: &str, count: usize) -> Vec<String> {
        eventually(&format!("{count} lines in {name}"), || self.read(name).lines().count() >= count);
        self.read(name).lines().map(str::to_owned).collect()
    }

    /// What a placeholder stands for.
    pub fn value(&self, name: &str) -> &str {
        self.values.get(name).unwrap_or_else(|| panic!("no %%{name}%%"))
    }

    /// `%%PORT%%`.
    pub fn port(&self) -> u16 {
        self.value("PORT").parse().unwrap()
    }

    /// The pid in the pid file.
    pub fn pid(&self) -> u32 {
        self.read("nginx.pid").trim().parse().expect("a pid in the pid file")
    }

    /// The pids of the master and of its workers.
    pub fn pids(&self) -> Vec<u32> {
        let master = self.pid();
        let mut pids = vec![master];
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1));
            if parent == Some(master.to_string().as_str()) {
                pids.push(pid);
            }
        }
        pids
    }

    /// Memory of the server's processes that is theirs alone, in bytes.
    pub fn private_memory(&self) -> u64 {
        let of = |pid: u32| {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default();
            let dirty = text.lines().filter_map(|line| line.strip_prefix("Private_Dirty:"));
            dirty.filter_map(|rest| rest.trim().split(' ').next()?.parse::<u64>().ok()).sum::<u64>() * 1024
        };
        self.pids().into_iter().map(of).sum()
    }

    /// Sends a signal to the pid of the pid file, by the name `kill` knows.
    pub fn signal(&self, name: &str) {
        kill(name, i64::from(self.pid()));
    }

    /// Sends HUP.
    pub fn reload(&self) {
        self.signal("HUP");
    }

    /// Waits for the end of the process that was started.
    pub fn wait_exit(&mut self) -> Option<i32> {
        let mut child = self.child.take().expect("a running server");
        let status = bounded(|| child.try_wait().unwrap());
        if status.is_none() {
            self.child = Some(child);
            panic!("the server did not end");
        }
        status.unwrap().code()
    }

    /// Lets the error log hold alerts, which otherwise fail the test at its end.
    pub fn allow_alerts(&mut self) {
        self.alerts_allowed = true;
    }

    /// A connection to `%%PORT%%`.
    pub fn client(&self) -> Wire {
        self.client_at((Ipv4Addr::LOCALHOST, self.port()).into())
    }

    /// A connection to another port by its placeholder.
    pub fn client_of(&self, placeholder: &str) -> Wire {
        self.client_at((Ipv4Addr::LOCALHOST, self.value(placeholder).parse().unwrap()).into())
    }

    /// A connection to an address.
    pub fn client_at(&self, address: std::net::SocketAddr) -> Wire {
        let stream = TcpStream::connect_timeout(&address, WAIT)
            .unwrap_or_else(|error| panic!("connecting to {address}: {error}"));
        Wire::new(Socket::Tcp(stream), "client", self.transcript.clone())
    }

    /// A connection to a Unix socket in the server's directory.
    pub fn client_unix(&self, name: &str) -> Wire {
        let stream = UnixStream::connect(self.path(name)).unwrap();
        Wire::new(Socket::Unix(stream), "client", self.transcript.clone())
    }

    /// The response to a GET on a connection of its own, for the host `localhost`.
    pub fn get(&self, target: &str) -> Message {
        self.get_with(target, "Host: localhost\r\n")
    }

    /// The response to a GET with these header lines; the connection is closed after it.
    pub fn get_with(&self, target: &str, headers: &str) -> Message {
        self.ask(format!("GET {target} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n"))
    }

    /// The response to a GET for a host.
    pub fn get_host(&self, target: &str, host: &str) -> Message {
        self.get_with(target, &format!("Host: {host}\r\n"))
    }

    /// The first response to these bytes, on a connection of its own.
    pub fn ask(&self, bytes: impl AsRef<[u8]>) -> Message {
        let mut client = self.client();
        client.send(&bytes);
        if bytes.as_ref().starts_with(b"HEAD ") { client.recv_to_head() } else { client.recv() }
    }

    /// Everything that comes back for these bytes until the server closes.
    pub fn exchange(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut client = self.client();
        client.send(bytes);
        String::from_utf8_lossy(&client.rest()).into_owned()
    }

    /// The text with `DIR/` for the server's directory and without the program's name in front.
    pub fn tidy(&self, text: &str) -> String {
        let text = text.replace(&self.path(""), "DIR/");
        text.strip_prefix(&format!("{}: ", program().name)).map(str::to_owned).unwrap_or(text)
    }

    /// The text with its placeholders filled in; ports are taken as they are met.
    fn fill(&mut self, text: &str) -> String {
        let mut parts = text.split("%%");
        let mut filled = parts.next().unwrap_or_default().to_owned();
        while let (Some(name), after) = (parts.next(), parts.next()) {
            if name.starts_with("PORT") && !self.values.contains_key(name) {
                let port = Port::reserve();
                self.values.insert(name.to_owned(), port.number.to_string());
                self.ports.push(port);
            }
            filled.push_str(self.value(name));
            filled.push_str(after.unwrap_or_default());
        }
        filled
    }

    /// Bytes with the placeholders that the configuration has filled in.
    pub fn filled(&self, bytes: &[u8]) -> Vec<u8> {
        let mut text = bytes.to_vec();
        for (name, value) in &self.values {
            let name = format!("%%{name}%%");
            while let Some(at) = find(&text, name.as_bytes()) {
                text.splice(at..at + name.len(), value.bytes());
            }
        }
        text
    }

    pub(super) fn fill_bytes(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        match String::from_utf8(bytes) {
            Ok(text) => self.fill(&text).into_bytes(),
            Err(error) => error.into_bytes(),
        }
    }

    /// Stops what the pid files name: daemons, and what a binary that was changed has left.
    fn stop_named(&self) {
        for name in ["nginx.pid.oldbin", "nginx.pid"] {
            let Ok(pid) = self.read(name).trim().parse::<u32>() else { continue };
            kill("TERM", i64::from(pid));
            if bounded(|| (!alive(pid)).then_some(())).is_none() {
                kill("KILL", i64::from(pid));
            }
        }
    }

    fn stop(&mut self) -> Result<(), String> {
        if self.detached {
            self.stop_named();
        }
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let group = -i64::from(child.id());
        let ended = child.try_wait().ok().flatten().is_some() || {
            kill("TERM", i64::from(child.id()));
            bounded(|| child.try_wait().ok().flatten()).is_some()
        };
        // The process group, so that no worker is left behind by a master that died.
        kill("KILL", group);
        let _ = child.wait();
        if ended { Ok(()) } else { Err("the server did not end on TERM".to_owned()) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let stopped = self.stop();
        let log = self.log();
        if thread::panicking() {
            eprintln!("--- nginx.conf\n{}\n--- error.log\n{log}", self.config);
            eprintln!("--- stderr\n{}\n--- bytes\n{}", self.read("stderr"), self.transcript.text());
            return;
        }
        stopped.unwrap();
        // The level stands behind the time; the same word further on came from a client.
        let alert = |line: &str| line.get(20..).is_some_and(|rest| rest.starts_with("[alert]"));
        let bad = |line: &&str| alert(line) || line.contains("panicked at");
        let alert = log.lines().chain(self.read("stderr").lines()).find(bad).map(str::to_owned);
        assert!(self.alerts_allowed || alert.is_none(), "in the log: {}", alert.unwrap_or_default());
    }
}
