//! The harness of the behaviour tests: a server under test, a client and an
//! upstream, all on raw sockets.
//!
//! The binary is Octroi, or whatever `OCTROI_BIN` names: run against nginx
//! itself the same tests show that what they expect is what nginx does.
//! `OCTROI_TEST_DRIVER=epoll` makes Octroi use its epoll driver.
//!
//! Every wait has a bound, and a test that fails prints the configuration, the
//! error log and the bytes exchanged.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take before the test fails: far above what a loaded machine needs.
pub const WAIT: Duration = Duration::from_secs(10);
/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(5);
/// Ports are taken below the kernel's ephemeral range, so that no outgoing connection holds one.
const PORTS: std::ops::Range<u16> = 10_000..32_000;
/// How much of one send or receive the transcript keeps.
const TRANSCRIPT_BYTES: usize = 2_000;
/// The identity of the server when the tests run as root: `nobody`, which every Linux has.
const NOBODY: u32 = 65_534;

// ---------------------------------------------------------------- the binary

/// The program under test.
pub struct Program {
    path: PathBuf,
    /// Its name, as in the `Server` header: `octroi` or `nginx`.
    pub name: String,
    /// Its version, as in the `Server` header.
    pub version: String,
}

impl Program {
    /// Octroi, not nginx.
    pub fn is_octroi(&self) -> bool {
        self.name == "octroi"
    }

    /// The `Server` header with `server_tokens on`.
    pub fn token(&self) -> String {
        format!("{}/{}", self.name, self.version)
    }
}

/// The program under test, found once.
pub fn program() -> &'static Program {
    static PROGRAM: OnceLock<Program> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let path = std::env::var_os("OCTROI_BIN")
            .map(PathBuf::from)
            .or(option_env!("CARGO_BIN_EXE_octroi").map(PathBuf::from))
            .expect("OCTROI_BIN names the binary to test");
        let path = reachable(path);
        let output = Command::new(&path).arg("-v").output().expect("the binary runs");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let token = text.lines().next().and_then(|line| line.split(": ").nth(1)).expect("a version line");
        let (name, version) = token.split_once('/').expect("name/version");
        let version = version.split(' ').next().unwrap_or_default();
        Program { path, name: name.to_owned(), version: version.to_owned() }
    })
}

/// A copy of the binary where `nobody` can run it, if its own place is closed to others.
pub fn reachable(path: PathBuf) -> PathBuf {
    let path = fs::canonicalize(&path).unwrap_or(path);
    let closed = |p: &Path| fs::metadata(p).is_ok_and(|m| m.permissions().mode() & 0o001 == 0);
    if !is_root() || !path.ancestors().any(closed) {
        return path;
    }
    let folder = std::env::temp_dir().join(format!("octroi-it-bin-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let copy = folder.join(path.file_name().unwrap());
    fs::copy(&path, &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    copy
}

/// True for Octroi. For nginx it prints why the test does not apply and the test returns:
/// the expectation is a choice of Octroi's own.
pub fn only_octroi(why: &str) -> bool {
    if !program().is_octroi() {
        println!("skipped: only Octroi: {why}");
    }
    program().is_octroi()
}

/// True for Octroi and for an nginx of at least this version, which has what is expected.
pub fn since(version: &str, why: &str) -> bool {
    let number = |v: &str| v.split('.').map(|n| n.parse::<u32>().unwrap_or(0)).collect::<Vec<_>>();
    let held = program().is_octroi() || number(&program().version) >= number(version);
    if !held {
        println!("skipped: nginx {} came before {version}: {why}", program().version);
    }
    held
}

/// True when the tests run as root; else it prints that the test needs that, and the test returns.
pub fn as_root(why: &str) -> bool {
    if !is_root() {
        println!("skipped: needs root: {why}");
    }
    is_root()
}

fn is_root() -> bool {
    fs::read_to_string("/proc/self/status")
        .unwrap()
        .lines()
        .any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
}

// ------------------------------------------------------------- configuration

/// A configuration being prepared: its text, the values of its `%%NAME%%`
/// placeholders and the files beside it.
///
/// `%%PORT%%`, `%%PORT_1%%`, ... are free ports, `%%DIR%%` is the server's own directory.
pub struct Setup {
    text: String,
    values: BTreeMap<String, String>,
    files: Vec<(String, Vec<u8>)>,
    arguments: Vec<String>,
    http: bool,
}

impl Setup {
    /// The inside of an `http {}` block.
    pub fn http(text: &str) -> Setup {
        Setup { http: true, ..Setup::whole(text) }
    }

    /// A whole nginx.conf, taken as it is.
    pub fn whole(text: &str) -> Setup {
        Setup {
            text: text.to_owned(),
            values: BTreeMap::new(),
            files: Vec::new(),
            arguments: Vec::new(),
            http: false,
        }
    }

    /// What `%%NAME%%` stands for.
    pub fn put(mut self, name: &str, value: impl ToString) -> Setup {
        self.values.insert(name.to_owned(), value.to_string());
        self
    }

    /// A file in the server's directory, with its folders.
    pub fn file(mut self, path: &str, content: impl AsRef<[u8]>) -> Setup {
        self.files.push((path.to_owned(), content.as_ref().to_vec()));
        self
    }

    /// More arguments on the command line.
    pub fn argument(mut self, argument: &str) -> Setup {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Writes the files, and starts nothing.
    pub fn prepare(self) -> Server {
        let dir = Dir::new();
        let mut server = Server {
            child: None,
            dir,
            config: String::new(),
            values: self.values,
            ports: Vec::new(),
            arguments: self.arguments,
            http: self.http,
            transcript: Transcript::default(),
            alerts_allowed: false,
            binary: None,
            detached: false,
            keeps_root: false,
            data_kilobytes: None,
        };
        let folder = server.path("");
        server.values.insert("DIR".to_owned(), folder.trim_end_matches('/').to_owned());
        for (path, content) in self.files {
            let content = server.fill_bytes(content);
            server.write(&path, content);
        }
        server.configure(&self.text);
        server
    }

    /// Starts the server and waits until it is ready.
    pub fn start(self) -> Server {
        let mut server = self.prepare();
        server.launch();
        server
    }

    /// Runs `-t` on it.
    pub fn check(self) -> Outcome {
        self.prepare().run(&["-t"])
    }

    /// Runs `-t`, which must refuse it: the first line of the answer, without
    /// the program's name and with `DIR/` for the directory.
    pub fn refused(self) -> String {
        let server = self.prepare();
        let outcome = server.run(&["-t"]);
        assert_eq!(outcome.code, Some(1), "the file was not refused: {}", outcome.stderr);
        assert!(outcome.stderr.contains("nginx.conf test failed\n"), "{}", outcome.stderr);
        server.tidy(outcome.stderr.lines().next().unwrap_or_default())
    }
}

/// What a run of the binary that ended by itself gave.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code; none after a signal.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it printed as errors.
    pub stderr: String,
}

// -------------------------------------------------------------------- server

/// A server under test with a directory of its own. It is stopped, and its
/// directory removed, when the value goes.
pub struct Server {
    child: Option<Child>,
    dir: Dir,
    config: String,
    values: BTreeMap<String, String>,
    ports: Vec<Port>,
    arguments: Vec<String>,
    http: bool,
    transcript: Transcript,
    alerts_allowed: bool,
    binary: Option<PathBuf>,
    detached: bool,
    keeps_root: bool,
    data_kilobytes: Option<u32>,
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

    fn fill_bytes(&mut self, bytes: Vec<u8>) -> Vec<u8> {
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

/// The frame of a test's `http {}` block.
fn in_http(text: &str) -> String {
    // Debian's nginx keeps temporary files where only root may write.
    let temporary = if program().is_octroi() {
        ""
    } else {
        "client_body_temp_path %%DIR%%/body; proxy_temp_path %%DIR%%/proxy;\n    \
         fastcgi_temp_path %%DIR%%/fastcgi; uwsgi_temp_path %%DIR%%/uwsgi; scgi_temp_path %%DIR%%/scgi;"
    };
    format!(
        "daemon off;\npid %%DIR%%/nginx.pid;\nerror_log %%DIR%%/error.log info;\n\
         events {{ worker_connections 512; }}\nhttp {{\n    access_log %%DIR%%/access.log;\n    \
         {temporary}\n{text}\n}}\n"
    )
}

/// Runs the binary with nothing but these arguments, until it ends by itself.
pub fn run(arguments: &[&str]) -> Outcome {
    let mut command = bare_command();
    command.args(arguments);
    finish(command)
}

fn bare_command() -> Command {
    command_of(&program().path)
}

fn command_of(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    if std::env::var("OCTROI_TEST_DRIVER").is_ok_and(|driver| driver == "epoll") {
        command.env("MONOIO_FORCE_LEGACY_DRIVER", "1");
    }
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.process_group(0);
    command
}

fn finish(mut command: Command) -> Outcome {
    // Into files, not pipes: a daemon keeps what it inherits open.
    let dir = Dir::new();
    let (out, err) = (dir.0.join("stdout"), dir.0.join("stderr"));
    command.stdin(Stdio::null());
    command.stdout(fs::File::create(&out).unwrap()).stderr(fs::File::create(&err).unwrap());
    let mut child = command.spawn().expect("the binary starts");
    let status = bounded(|| child.try_wait().unwrap());
    if status.is_none() {
        kill("KILL", -i64::from(child.id()));
    }
    let text = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
    let outcome = Outcome { code: status.and_then(|s| s.code()), stdout: text(&out), stderr: text(&err) };
    assert!(status.is_some(), "the command did not end: {outcome:?}");
    outcome
}

/// Sends a signal; a negative pid is a process group.
pub fn kill(signal: &str, pid: i64) {
    let script = format!("kill -{signal} {pid} 2>/dev/null");
    let _ = Command::new("sh").args(["-c", &script]).status();
}

/// True while the process exists and is no zombie.
pub fn alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

fn give_to_nobody(path: &Path) {
    if is_root() {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

/// A directory that is removed with the value.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("octroi-it-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        give_to_nobody(&path);
        Dir(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

// --------------------------------------------------------------------- ports

/// A port that no other test takes, in this process or another, as long as the value lives.
pub struct Port {
    /// Its number.
    pub number: u16,
    // An abstract Unix socket by the port's name: one owner on the machine, gone with its process.
    _reservation: UnixListener,
}

impl Port {
    /// A port nobody listens on.
    pub fn reserve() -> Port {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let span = u32::from(PORTS.end - PORTS.start);
        let start = std::process::id().wrapping_mul(61);
        for _ in 0..span {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let number = PORTS.start + (start.wrapping_add(step) % span) as u16;
            let name = UnixAddress::from_abstract_name(format!("octroi-it-port-{number}")).unwrap();
            let Ok(reservation) = UnixListener::bind_addr(&name) else { continue };
            let free = TcpListener::bind((Ipv4Addr::UNSPECIFIED, number)).is_ok()
                && TcpListener::bind((Ipv6Addr::LOCALHOST, number)).is_ok();
            if free {
                return Port { number, _reservation: reservation };
            }
        }
        panic!("no free port");
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.number)
    }
}

// ------------------------------------------------------------------- waiting

/// Asks until there is an answer or the time is up.
fn bounded<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if start.elapsed() > WAIT {
            return None;
        }
        thread::sleep(POLL);
    }
}

/// Waits until the condition holds; the test fails if it never does.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    assert!(bounded(|| condition().then_some(())).is_some(), "never came: {what}");
}

/// Sleeps. For what must *not* happen, and for an upstream that is slow on purpose.
pub fn pause(milliseconds: u64) {
    thread::sleep(Duration::from_millis(milliseconds));
}

// --------------------------------------------------------------------- bytes

/// The bytes exchanged, for the report of a failure.
#[derive(Clone, Default)]
struct Transcript(Arc<Mutex<String>>);

impl Transcript {
    fn add(&self, label: &str, bytes: &[u8]) {
        let shown = &bytes[..bytes.len().min(TRANSCRIPT_BYTES)];
        let text = format!("{label} ({} bytes)\n{}\n", bytes.len(), String::from_utf8_lossy(shown));
        if let Ok(mut all) = self.0.lock() {
            all.push_str(&text);
        }
    }

    fn text(&self) -> String {
        self.0.lock().map(|text| text.clone()).unwrap_or_default()
    }
}

/// One end of a connection: the client's to the server, or an upstream's.
pub struct Wire {
    socket: Socket,
    buffer: Vec<u8>,
    label: &'static str,
    transcript: Transcript,
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Why no more bytes came.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum End {
    /// The peer closed in order.
    Closed,
    /// The peer reset the connection.
    Reset,
    /// Nothing came in time.
    Silent,
}

impl Wire {
    fn new(socket: Socket, label: &'static str, transcript: Transcript) -> Wire {
        let wire = Wire { socket, buffer: Vec::new(), label, transcript };
        match &wire.socket {
            Socket::Tcp(s) => {
                s.set_nodelay(true).unwrap();
                s.set_write_timeout(Some(WAIT)).unwrap();
            }
            Socket::Unix(s) => s.set_write_timeout(Some(WAIT)).unwrap(),
        }
        wire
    }

    /// Sends all of it.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        assert!(self.try_send(bytes), "{}: the peer takes no more bytes", self.label);
    }

    /// Sends what the peer takes; false if it has closed.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.transcript.add(&format!("{} >", self.label), bytes.as_ref());
        match &mut self.socket {
            Socket::Tcp(s) => s.write_all(bytes.as_ref()).is_ok(),
            Socket::Unix(s) => s.write_all(bytes.as_ref()).is_ok(),
        }
    }

    /// The port of this end; 0 on a Unix socket.
    pub fn local_port(&self) -> u16 {
        match &self.socket {
            Socket::Tcp(s) => s.local_addr().unwrap().port(),
            Socket::Unix(_) => 0,
        }
    }

    /// Sends no more.
    pub fn half_close(&self) {
        let _ = match &self.socket {
            Socket::Tcp(s) => s.shutdown(Shutdown::Write),
            Socket::Unix(s) => s.shutdown(Shutdown::Write),
        };
    }

    /// One read into the buffer.
    fn fill(&mut self, wait: Duration) -> Result<(), End> {
        let mut chunk = vec![0; 65_536];
        let got = match &mut self.socket {
            Socket::Tcp(s) => s.set_read_timeout(Some(wait)).and_then(|()| s.read(&mut chunk)),
            Socket::Unix(s) => s.set_read_timeout(Some(wait)).and_then(|()| s.read(&mut chunk)),
        };
        match got {
            Ok(0) => Err(End::Closed),
            Ok(count) => {
                self.transcript.add(&format!("{} <", self.label), &chunk[..count]);
                self.buffer.extend_from_slice(&chunk[..count]);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(End::Silent)
            }
            Err(_) => Err(End::Reset),
        }
    }

    /// What came before the mark, and the mark.
    pub fn take_until(&mut self, mark: &str) -> Result<String, End> {
        loop {
            if let Some(at) = find(&self.buffer, mark.as_bytes()) {
                let taken = self.buffer.drain(..at + mark.len()).collect::<Vec<_>>();
                return Ok(String::from_utf8_lossy(&taken).into_owned());
            }
            self.fill(WAIT)?;
        }
    }

    /// Exactly so many bytes.
    pub fn take(&mut self, count: usize) -> Result<Vec<u8>, End> {
        while self.buffer.len() < count {
            self.fill(WAIT)?;
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// The response to anything but HEAD, whole.
    pub fn recv(&mut self) -> Message {
        let message = self.response(false);
        assert!(message.complete, "the response was cut: {message:?}");
        message
    }

    /// The response to a HEAD.
    pub fn recv_to_head(&mut self) -> Message {
        self.response(true)
    }

    /// A response that must have been cut short.
    pub fn recv_cut(&mut self) -> Message {
        let message = self.response(false);
        assert!(!message.complete, "the response came whole: {message:?}");
        message
    }

    fn response(&mut self, to_head: bool) -> Message {
        let head = match self.take_until("\r\n\r\n") {
            Ok(head) => head,
            Err(end) => panic!("no response: {end:?} after {:?}", String::from_utf8_lossy(&self.buffer)),
        };
        let mut message = Message::parse(&head);
        let status = message.status();
        if !to_head && status >= 200 && status != 204 && status != 304 {
            self.body(&mut message, true);
        }
        message
    }

    /// A request, whole; nothing if the peer closed or was silent instead.
    pub fn request(&mut self) -> Option<Message> {
        let head = self.take_until("\r\n\r\n").ok()?;
        let mut message = Message::parse(&head);
        self.body(&mut message, false);
        message.complete.then_some(message)
    }

    /// The body that the message's framing announces.
    fn body(&mut self, message: &mut Message, until_close: bool) {
        let length = message.get("content-length").map(|v| v.parse::<usize>().expect("a length"));
        if message.get("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
            message.complete = self.chunks(message).is_ok();
        } else if let Some(length) = length {
            while self.buffer.len() < length && self.fill(WAIT).is_ok() {}
            let have = length.min(self.buffer.len());
            message.body = self.buffer.drain(..have).collect();
            message.complete = have == length;
        } else if until_close {
            message.complete = self.drain_to_end() == End::Closed;
            message.body = std::mem::take(&mut self.buffer);
        }
    }

    fn chunks(&mut self, message: &mut Message) -> Result<(), End> {
        loop {
            let line = self.take_until("\r\n")?;
            let size = usize::from_str_radix(line.trim_end().split(';').next().unwrap_or_default(), 16)
                .unwrap_or_else(|_| panic!("a chunk size: {line:?}"));
            message.chunks.push(size);
            if size == 0 {
                break;
            }
            let data = self.take(size)?;
            message.body.extend_from_slice(&data);
            assert_eq!(self.take(2)?, b"\r\n", "the end of a chunk");
        }
        loop {
            let line = self.take_until("\r\n")?;
            match line.trim_end().split_once(':') {
                Some((name, value)) => message.trailers.push((name.to_owned(), value.trim().to_owned())),
                None => return Ok(()),
            }
        }
    }

    fn drain_to_end(&mut self) -> End {
        loop {
            if let Err(end) = self.fill(WAIT) {
                return end;
            }
        }
    }

    /// Everything until the peer closes, resets or is silent, and which of these it was.
    pub fn rest_or_silence(&mut self) -> (Vec<u8>, End) {
        let end = self.drain_to_end();
        (std::mem::take(&mut self.buffer), end)
    }

    /// Everything until the peer closes or resets.
    pub fn rest(&mut self) -> Vec<u8> {
        let end = self.drain_to_end();
        assert_ne!(end, End::Silent, "{}: the connection stayed open", self.label);
        std::mem::take(&mut self.buffer)
    }

    /// The peer must close, or reset, without another byte.
    pub fn assert_closed(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "{}: more bytes: {:?}", self.label, String::from_utf8_lossy(&rest));
    }

    /// One answer with this status, and then the end of the connection.
    pub fn assert_answer_then_closed(&mut self, status: u16) {
        assert_eq!(self.recv().status(), status);
        self.assert_closed();
    }

    /// Nothing must come, and the peer must not close, for so long.
    pub fn assert_quiet(&mut self, milliseconds: u64) {
        let end = self.fill(Duration::from_millis(milliseconds));
        let text = String::from_utf8_lossy(&self.buffer);
        assert_eq!(end, Err(End::Silent), "{}: not quiet: {text:?}", self.label);
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// A request or a response.
#[derive(Debug, Clone, Default)]
pub struct Message {
    /// The request line or the status line.
    pub start: String,
    /// The header fields in order, repeats kept.
    pub headers: Vec<(String, String)>,
    /// The body, decoded.
    pub body: Vec<u8>,
    /// The sizes of the chunks, if it came chunked.
    pub chunks: Vec<usize>,
    /// The fields after the last chunk.
    pub trailers: Vec<(String, String)>,
    /// The head as it came.
    pub head: String,
    /// All of the body came.
    pub complete: bool,
    /// For a request at an upstream: the number of its connection, from 0.
    pub connection: usize,
}

impl Message {
    fn parse(head: &str) -> Message {
        let mut lines = head.trim_end_matches("\r\n").split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let field = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("a header line: {line:?}"));
            (name.to_owned(), value.trim().to_owned())
        };
        let headers = lines.map(field).collect();
        Message { start, headers, head: head.to_owned(), complete: true, ..Message::default() }
    }

    /// The response that these bytes start with, and its length; none if they are no whole response,
    /// or what follows the head does not fit it.
    pub fn response_in(bytes: &[u8], to_head: bool) -> Option<(Message, usize)> {
        let end = find(bytes, b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        if !head.starts_with("HTTP/") || head.trim_end().split("\r\n").skip(1).any(|line| !line.contains(':'))
        {
            return None;
        }
        let mut message = Message::parse(head);
        let status = message.status();
        if to_head || status < 200 || status == 204 || status == 304 {
            return Some((message, end));
        }
        let rest = &bytes[end..];
        let used = if message.get("transfer-encoding").is_some() {
            message.chunks_in(rest)?
        } else {
            let length = message.get("content-length").and_then(|v| v.parse().ok()).unwrap_or(rest.len());
            message.body = rest.get(..length)?.to_vec();
            length
        };
        Some((message, end + used))
    }

    /// A chunked body at the start of these bytes; its length.
    fn chunks_in(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            let line_end = at + find(&bytes[at..], b"\r\n")?;
            let size = usize::from_str_radix(std::str::from_utf8(&bytes[at..line_end]).ok()?, 16).ok()?;
            at = line_end + 2;
            self.chunks.push(size);
            if size == 0 {
                break;
            }
            self.body.extend_from_slice(bytes.get(at..at + size)?);
            at += size + 2;
        }
        loop {
            let rest = bytes.get(at..)?;
            let length = find(rest, b"\r\n")?;
            at += length + 2;
            if length == 0 {
                return Some(at);
            }
            let line = String::from_utf8_lossy(&rest[..length]).into_owned();
            let (name, value) = line.split_once(':')?;
            self.trailers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    /// The status code of a response.
    pub fn status(&self) -> u16 {
        let code = self.start.split(' ').nth(1).unwrap_or_default();
        code.parse().unwrap_or_else(|_| panic!("a status line: {:?}", self.start))
    }

    /// The first field of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// All fields of that name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    /// The names of the fields, in order.
    pub fn names(&self) -> Vec<&str> {
        self.headers.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The target in a request line.
    pub fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// Status and body of a response.
    pub fn answer(&self) -> (u16, String) {
        (self.status(), self.text())
    }
}

// ------------------------------------------------------------------ upstream

/// An origin server: a script that runs for every connection it gets.
pub struct Upstream {
    address: String,
    shared: Arc<Shared>,
    wake: Box<dyn Fn() + Send + Sync>,
    _dir: Option<Dir>,
}

#[derive(Default)]
struct Shared {
    requests: Mutex<Vec<Message>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    failures: Mutex<Vec<String>>,
    stopping: AtomicBool,
    released: AtomicBool,
    transcript: Transcript,
}

/// One connection at an upstream, as its script sees it.
pub struct Origin {
    /// The connection itself.
    pub wire: Wire,
    /// Its number, from 0.
    pub number: usize,
    shared: Arc<Shared>,
}

impl Origin {
    /// The next request, whole, kept for [`Upstream::requests`]; none if the peer closed.
    pub fn request(&mut self) -> Option<Message> {
        let mut message = self.wire.request()?;
        message.connection = self.number;
        self.shared.requests.lock().unwrap().push(message.clone());
        Some(message)
    }

    /// The head of the next request, the body left unread.
    pub fn head(&mut self) -> Option<Message> {
        let mut message = Message::parse(&self.wire.take_until("\r\n\r\n").ok()?);
        message.connection = self.number;
        self.shared.requests.lock().unwrap().push(message.clone());
        Some(message)
    }

    /// Sends bytes; false if the peer has closed.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.wire.try_send(bytes)
    }

    /// Reads the request, then sends these bytes, if a request came.
    pub fn answer(&mut self, bytes: impl AsRef<[u8]>) -> Option<Message> {
        let request = self.request()?;
        self.send(bytes);
        Some(request)
    }

    /// Waits until the test calls [`Upstream::release`].
    pub fn wait_release(&self) {
        eventually("the release by the test", || self.shared.released.load(Ordering::SeqCst));
    }

    /// Waits until the peer closes; true if it did so in time.
    pub fn gone(&mut self) -> bool {
        self.wire.drain_to_end() != End::Silent
    }
}

impl Upstream {
    /// An upstream on a free port of 127.0.0.1 that runs the script for each connection.
    pub fn new(script: impl Fn(&mut Origin) + Send + Sync + 'static) -> Upstream {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let wake = Box::new(move || drop(TcpStream::connect_timeout(&address, WAIT)));
        let accept = move || listener.accept().map(|(stream, _)| Socket::Tcp(stream));
        Upstream::serve(address.to_string(), None, wake, accept, script)
    }

    /// The same on a Unix socket; its address has the form that `proxy_pass` wants.
    pub fn unix(script: impl Fn(&mut Origin) + Send + Sync + 'static) -> Upstream {
        let dir = Dir::new();
        let path = dir.0.join("origin.sock");
        let listener = UnixListener::bind(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        let address = format!("unix:{}", path.display());
        let wake = Box::new(move || drop(UnixStream::connect(&path)));
        let accept = move || listener.accept().map(|(stream, _)| Socket::Unix(stream));
        Upstream::serve(address, Some(dir), wake, accept, script)
    }

    /// Answers every request of every connection with the same bytes and keeps the connection.
    pub fn always(bytes: impl AsRef<[u8]>) -> Upstream {
        let bytes = bytes.as_ref().to_vec();
        Upstream::new(move |origin| while origin.answer(&bytes).is_some() {})
    }

    /// Answers one request per connection and closes.
    pub fn once(bytes: impl AsRef<[u8]>) -> Upstream {
        let bytes = bytes.as_ref().to_vec();
        Upstream::new(move |origin| drop(origin.answer(&bytes)))
    }

    /// A 200 with this body, on kept connections.
    pub fn ok(body: &str) -> Upstream {
        Upstream::always(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    }

    /// A 200 whose body is the head of the request as it came, on kept connections.
    pub fn echo() -> Upstream {
        Upstream::new(|origin| {
            while let Some(request) = origin.request() {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.head.len());
                origin.send(head + &request.head);
            }
        })
    }

    fn serve(
        address: String,
        dir: Option<Dir>,
        wake: Box<dyn Fn() + Send + Sync>,
        accept: impl Fn() -> std::io::Result<Socket> + Send + 'static,
        script: impl Fn(&mut Origin) + Send + Sync + 'static,
    ) -> Upstream {
        let shared = Arc::new(Shared::default());
        let (seen, script) = (shared.clone(), Arc::new(script));
        thread::spawn(move || {
            while let Ok(socket) = accept() {
                if seen.stopping.load(Ordering::SeqCst) {
                    return;
                }
                let number = seen.connections.fetch_add(1, Ordering::SeqCst);
                seen.open.fetch_add(1, Ordering::SeqCst);
                let wire = Wire::new(socket, "upstream", seen.transcript.clone());
                let mut origin = Origin { wire, number, shared: seen.clone() };
                let script = script.clone();
                thread::spawn(move || {
                    let shared = origin.shared.clone();
                    let run = std::panic::AssertUnwindSafe(|| script(&mut origin));
                    if std::panic::catch_unwind(run).is_err() {
                        shared.failures.lock().unwrap().push(format!("connection {number}"));
                    }
                    drop(origin);
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Upstream { address, shared, wake, _dir: dir }
    }

    /// Its address: `127.0.0.1:PORT` or `unix:PATH`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The requests that came whole, in order.
    pub fn requests(&self) -> Vec<Message> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// The latest request.
    pub fn last(&self) -> Message {
        self.requests().pop().expect("a request at the upstream")
    }

    /// How many connections came.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Lets the scripts go on that wait for it.
    pub fn release(&self) {
        self.shared.released.store(true, Ordering::SeqCst);
    }

    /// Waits until so many requests have come.
    pub fn wait_requests(&self, count: usize) {
        eventually(&format!("{count} requests at the upstream"), || self.requests().len() >= count);
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        (self.wake)();
        if thread::panicking() {
            eprintln!("--- bytes at the upstream {}\n{}", self.address, self.shared.transcript.text());
            return;
        }
        let failures = self.shared.failures.lock().unwrap().clone();
        assert!(failures.is_empty(), "the upstream's script failed: {failures:?}");
    }
}
