//! The binary under test, and runs of it that end by themselves.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::place::Dir;
use super::{bounded, kill};

/// The identity of the server when the tests run as root: `nobody`, which every Linux has.
const NOBODY: u32 = 65_534;

/// The program under test.
pub struct Program {
    pub(super) path: PathBuf,
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

pub(super) fn is_root() -> bool {
    fs::read_to_string("/proc/self/status")
        .unwrap()
        .lines()
        .any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
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

/// Runs the binary with nothing but these arguments, until it ends by itself.
pub fn run(arguments: &[&str]) -> Outcome {
    let mut command = bare_command();
    command.args(arguments);
    finish(command)
}

fn bare_command() -> Command {
    command_of(&program().path)
}

pub(super) fn command_of(binary: &Path) -> Command {
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

pub(super) fn finish(mut command: Command) -> Outcome {
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

pub(super) fn give_to_nobody(path: &Path) {
    if is_root() {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}
