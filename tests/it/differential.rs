//! The same configuration and the same requests to NGINX and to Octroi: what
//! the client gets, what the upstream saw and what the access log says must be
//! the same.
//!
//! A case is a configuration with a file of requests in `tests/differential/`;
//! [`script`] says how they are written. Both servers run one after the other
//! in the same directory, on the same ports and before the same upstream, so
//! that next to nothing has to be normalised: [`report`] does it, in one place.
//! Differences that are meant stand in [`ACCEPTED`]; any other fails the test.
//!
//! The NGINX is the one that `OCTROI_NGINX=` names, else the one in PATH or in
//! /usr/sbin. Without one the tests say so and pass.

mod origin;
mod report;
mod script;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::*;
use report::{Difference, Report};
use script::Script;

/// A difference that is meant.
struct Accepted {
    /// The case, or `*` for every one.
    case: &'static str,
    /// What the request's line contains.
    request: &'static str,
    /// What differs, as the report of a failure names it; `*` for anything.
    parts: &'static [&'static str],
    /// What it is at nginx; none if that does not matter.
    theirs: Option<&'static str>,
    /// What it is at Octroi; none if that does not matter.
    ours: Option<&'static str>,
    /// It differs from an NGINX older than this; a newer one does what Octroi does.
    /// None: it differs from every NGINX.
    before: Option<&'static str>,
    /// It differs from an NGINX at least this old only.
    since: Option<&'static str>,
    /// Why.
    reason: &'static str,
}

const CONTROL: &str = "a control character in a value is refused (RFC 9110, 5.5)";
const NO_TOKEN: &str =
    "a name that is no token is refused also with ignore_invalid_headers off (RFC 9110, 5.1)";

const DECODED: &str = "$upstream_response_length counts the body, not its chunks";

/// Every difference that is meant. An entry that no request needs fails its case.
const ACCEPTED: &[Accepted] = &[
    Accepted {
        case: "variables",
        request: "GET /upstream/fields",
        parts: &["x-fields"],
        before: Some("1.23.0"),
        reason: "the variable of a field has the values of all its lines",
        ..ANY
    },
    Accepted {
        case: "variables",
        request: "| Transfer-Encoding: chunked",
        parts: &["body", "content-length"],
        reason: "a chunked body that nobody has read has no length",
        ..ANY
    },
    Accepted {
        case: "variables",
        request: "GET /late/chunked",
        parts: &["log 1: server_port"],
        reason: DECODED,
        ..ANY
    },
    Accepted {
        case: "variables",
        request: "GET /upstream/chunked",
        parts: &["trailer x-bytes"],
        reason: DECODED,
        ..ANY
    },
    Accepted {
        case: "errors",
        request: "GET /redirect-up/",
        parts: &["location"],
        reason: "an upstream's answer in place of a redirect does not carry the redirect's Location",
        ..ANY
    },
    Accepted {
        case: "errors",
        request: " MSIE ",
        parts: &["body", "content-length"],
        reason: "the words that pad a page for MSIE are our own",
        ..ANY
    },
    Accepted {
        case: "fields",
        request: "X-B:\\ttab",
        parts: &["body", "content-length"],
        reason: "a tab before a value is no part of it (RFC 9110, 5.5)",
        ..ANY
    },
    Accepted {
        case: "fields",
        request: "GET /charset-var/x",
        parts: &["*"],
        theirs: None,
        reason: "a charset whose variables are empty is none; nginx closes the connection without an answer",
        ..ANY
    },
    Accepted {
        case: "fields",
        request: "GET /xxxxxxxx",
        parts: &["log 1: request"],
        reason: "of a request line that is too long as much is logged as was read",
        ..ANY
    },
    Accepted {
        case: "fields",
        request: "X-A: one | X-A: two | X-B",
        parts: &["body", "content-length"],
        before: Some("1.23.0"),
        reason: "the variable of a field has the values of all its lines",
        ..ANY
    },
    Accepted {
        case: "fields",
        request: "GET /say | Accept: a",
        parts: &["body", "content-length"],
        before: Some("1.23.0"),
        reason: "the variable of a field has the values of all its lines",
        ..ANY
    },
    Accepted {
        case: "fields",
        request: "GET /connection | Connection: upgrade | Connection",
        parts: &["body", "content-length"],
        before: Some("1.23.0"),
        reason: "the variable of a field has the values of all its lines",
        ..ANY
    },
    Accepted {
        case: "fields",
        request: "GET / | X-Under-Score: d | X_Under",
        parts: &["body", "content-length"],
        before: Some("1.23.0"),
        reason: "the variable of a field has the values of all its lines",
        ..ANY
    },
    Accepted {
        case: "fields",
        request: "Cookie: xa=1,a=2",
        parts: &["body", "content-length"],
        before: Some("1.23.0"),
        reason: "cookies are parted by semicolons only (RFC 6265, 4.2.1)",
        ..ANY
    },
    Accepted {
        case: "fields",
        request: "/hosts | Host: a@b",
        parts: &["*"],
        before: Some("1.29.3"),
        reason: "the characters of a host are looked at",
        ..ANY
    },
    Accepted {
        case: "fields",
        request: "GET /host-default/",
        parts: &["upstream 1: host"],
        before: Some("1.29.3"),
        reason: "a request of HTTP/1.1 has a Host, also if $http_host is empty",
        ..ANY
    },
    Accepted {
        case: "fields",
        request: "GET /two-hosts/",
        parts: &["upstream 1: host"],
        before: Some("1.31.4"),
        reason: "Host is written as Host",
        ..ANY
    },
    Accepted {
        case: "fields",
        request: " /autoindex",
        parts: &["transfer-encoding", "content-length"],
        reason: "a listing has a length",
        ..ANY
    },
    Accepted {
        case: "paths",
        request: "CONNECT localhost:80",
        parts: &["start", "body", "log 1: status"],
        before: Some("1.29.3"),
        reason: "CONNECT was not read as a method; now it is refused as one (405)",
        ..ANY
    },
    Accepted {
        case: "files",
        request: "s.txt",
        parts: &["accept-ranges", "start", "content-range", "log 1: status"],
        before: Some("1.23.4"),
        reason: "files of gzip_static had no ranges",
        ..ANY
    },
    Accepted {
        case: "files",
        request: "GET /always/sub/a.txt | Range: bytes=90-",
        parts: &["x-always", "x-ok"],
        reason: "nginx runs the filters twice, for the 200 it was about to send and for the 416",
        ..ANY
    },
    Accepted {
        case: "files",
        request: "GET /index-other/",
        parts: &["*"],
        reason: "an index whose variables are empty is passed over; in nginx it means the directory itself, \
                 which is asked for again until the tenth time (500)",
        ..ANY
    },
    Accepted { case: "proxy", request: "X-Ctl: ", parts: &["*"], reason: CONTROL, ..ANY },
    Accepted { case: "proxy", request: "X-Del: ", parts: &["*"], reason: CONTROL, ..ANY },
    Accepted {
        case: "proxy",
        request: "Nocolon",
        parts: &["*"],
        reason: "a line without a colon is no field and is refused (RFC 9112, 5)",
        ..ANY
    },
    Accepted {
        case: "proxy",
        request: "Host: caf",
        parts: &["*"],
        before: Some("1.29.3"),
        reason: "the characters of a host are looked at",
        ..ANY
    },
    Accepted {
        case: "proxy",
        request: "Host: h:abc",
        parts: &["*"],
        before: Some("1.29.3"),
        reason: "the port of a host is looked at",
        ..ANY
    },
    Accepted {
        case: "proxy",
        request: "Proxy-Connection",
        parts: &["upstream 1: proxy-connection"],
        before: Some("1.29.3"),
        reason: "it is for the next server only",
        ..ANY
    },
    Accepted {
        case: "proxy",
        request: "garbage",
        parts: &["*"],
        reason: "an answer without a status line is no HTTP; nginx takes it for one of HTTP/0.9",
        ..ANY
    },
    Accepted {
        request: " HTTP/1.0",
        parts: &["upstream 1: host"],
        before: Some("1.29.3"),
        reason: "a request of HTTP/1.1 has a Host, also if $http_host is empty",
        ..ANY
    },
    Accepted {
        case: "proxy",
        request: "GET /range/dated | Range: bytes=50-",
        parts: &["expires"],
        reason: "the error has no validity of its own",
        ..ANY
    },
    Accepted {
        case: "rewrite",
        request: " /return-304",
        parts: &["content-type", "content-length"],
        reason: "a 304 has neither (RFC 9110, 15.4.5)",
        ..ANY
    },
    Accepted { case: "proxy", request: "X@At: 1", parts: &["*"], reason: NO_TOKEN, ..ANY },
    Accepted { case: "proxy", request: "GET /x | \"quoted\": no", parts: &["*"], reason: NO_TOKEN, ..ANY },
];

/// What the entries have in common.
const ANY: Accepted = Accepted {
    case: "*",
    request: "",
    parts: &[],
    theirs: None,
    ours: None,
    before: None,
    since: None,
    reason: "",
};

/// When the files of a case were changed.
const MODIFIED_SECONDS: u64 = 1_577_836_800;
const MODIFIED: &str = "Wed, 01 Jan 2020 00:00:00 GMT";

/// A test for each case.
macro_rules! cases {
    ($($name:ident: $folder:literal)*) => {
        const CASES: &[(&str, &str)] = &[$(($folder, stringify!($name))),*];
        $(
            #[test]
            fn $name() {
                compare($folder, stringify!($name));
            }
        )*
    };
}

cases! {
    errors: "tests/differential"
    fields: "tests/differential"
    files: "tests/differential"
    paths: "tests/differential"
    proxy: "tests/differential"
    rewrite: "tests/differential"
    variables: "tests/differential"
    rewrite_map_geo: "tests/differential/topics"
    access_and_limits: "tests/differential/topics"
    static_compressed: "tests/differential/topics"
    load_balancing: "tests/differential/topics"
    real_client_address: "tests/differential/topics"
    grafana: "tests/differential/apps"
    home_assistant: "tests/differential/apps"
    synapse: "tests/differential/apps"
    jitsi: "tests/differential/apps"
    sentry: "tests/differential/apps"
    harbor: "tests/differential/apps"
    lemmy: "tests/differential/apps"
    peertube: "tests/differential/apps"
    nextcloud: "tests/differential/apps"
    gitlab: "tests/differential/apps"
}

/// What is meant is told to those who run it.
#[test]
fn the_page_of_differences_gives_each_reason() {
    let page = fs::read_to_string(repository().join("docs/differences.md")).unwrap();
    for entry in ACCEPTED {
        assert!(page.contains(entry.reason), "docs/differences.md does not say: {}", entry.reason);
    }
}

#[test]
fn every_file_of_requests_is_a_case() {
    for folder in ["tests/differential", "tests/differential/apps", "tests/differential/topics"] {
        for entry in fs::read_dir(repository().join(folder)).unwrap().flatten() {
            let path = entry.path();
            let name = path.file_stem().unwrap().to_string_lossy().replace('-', "_");
            let known = CASES.iter().any(|(_, case)| *case == name);
            assert!(path.is_dir() || known, "{} is no case", path.display());
        }
    }
}

// ------------------------------------------------------------------ the run

/// Runs a case on both servers and compares.
fn compare(folder: &str, name: &str) {
    if !only_octroi("the test compares it with nginx") {
        return;
    }
    let Some(nginx) = nginx() else {
        println!("NOT RUN: there is no nginx to compare with; OCTROI_NGINX=PATH names one");
        return;
    };
    let version = version_of(&nginx);
    let script = Script::read(&repository(), folder, name);
    let upstreams = [
        ("UP", Upstream::new(origin::answer)),
        ("UP_1", Upstream::new(origin::answer)),
        ("UP_2", Upstream::new(origin::answer)),
        ("UNIX", Upstream::unix(origin::answer)),
    ];
    let mut setup = Setup::whole(&script.configuration)
        .put("MODIFIED", MODIFIED)
        .put("ETAG", format!("\"{MODIFIED_SECONDS:x}-15\""))
        .file("www/index.html", "index of www\n");
    for (name, upstream) in &upstreams {
        setup = setup.put(name, upstream.address());
    }
    for (path, content) in &script.files {
        setup = setup.file(path, content);
    }
    let mut server = setup.prepare();
    let octroi = server.run(&["-t"]);
    assert_eq!(octroi.code, Some(0), "octroi -t: {}", octroi.stderr);
    stamp(&server);
    server.use_binary(Some(nginx));
    let checked = server.run(&["-t"]).stderr;
    if let Some(line) = checked.lines().find(|line| line.contains("unknown directive")) {
        println!("NOT RUN: this nginx is built without a module: {line}");
        return;
    }
    let theirs = answers(&mut server, &script, &upstreams);
    server.use_binary(None);
    let ours = answers(&mut server, &script, &upstreams);

    // What they would print when the test fails is no help.
    drop((server, upstreams));
    let mut faults = String::new();
    let mut used = vec![false; ACCEPTED.len()];
    for (exchange, (theirs, ours)) in script.exchanges.iter().zip(theirs.iter().zip(&ours)) {
        let line = &exchange.line;
        let differences = Report::differences(theirs, ours);
        let open = differences.iter().filter(|d| !accepted(name, line, d, &version, &mut used));
        let text: String = open.map(|d| d.to_string()).collect();
        if !text.is_empty() {
            let _ = write!(faults, "\n{line}\n{text}");
        }
    }
    let all = ACCEPTED.iter().zip(used).filter(|(entry, used)| !used && entry.case == name);
    for (entry, _) in all.filter(|(entry, _)| entry.holds_for(&version)) {
        let _ = write!(faults, "\nno longer needed: {} {:?}: {}", entry.request, entry.parts, entry.reason);
    }
    assert!(faults.is_empty(), "{name}: Octroi (+) differs from nginx {version} (-):\n{faults}");
}

impl Accepted {
    fn holds_for(&self, version: &str) -> bool {
        self.before.is_none_or(|before| number(version) < number(before))
            && self.since.is_none_or(|since| number(version) >= number(since))
    }
}

fn accepted(case: &str, line: &str, difference: &Difference, version: &str, used: &mut [bool]) -> bool {
    let fits = |entry: &Accepted| {
        (entry.case == case || entry.case == "*")
            && line.contains(entry.request)
            && entry.parts.iter().any(|part| *part == "*" || *part == difference.part)
            && entry.theirs.is_none_or(|theirs| difference.theirs.as_deref() == Some(theirs))
            && entry.ours.is_none_or(|ours| difference.ours.as_deref() == Some(ours))
            && entry.holds_for(version)
    };
    let found = ACCEPTED.iter().position(fits);
    found.map(|at| used[at] = true).is_some()
}

/// Starts the server, sends it every request and stops it: a report of each.
fn answers(server: &mut Server, script: &Script, upstreams: &[(&str, Upstream)]) -> Vec<Report> {
    let _ = fs::remove_file(server.path("access.log"));
    server.launch();
    let mut seen: Vec<usize> = upstreams.iter().map(|(_, upstream)| upstream.requests().len()).collect();
    let (mut reports, mut ports) = (Vec::new(), Vec::new());
    for exchange in &script.exchanges {
        let mut client = server.client_of(&exchange.port);
        // The port tells which lines of the log are its own.
        while ports.contains(&client.local_port().to_string()) {
            client = server.client_of(&exchange.port);
        }
        ports.push(client.local_port().to_string());
        client.send(server.filled(&exchange.bytes));
        let mut report = Report::of(&exchange.methods, &exchange.line, &mut client);
        for ((name, upstream), seen) in upstreams.iter().zip(&mut seen) {
            let requests = upstream.requests();
            requests[*seen..].iter().for_each(|request| report.saw(name, request));
            *seen = requests.len();
        }
        reports.push(report);
    }
    server.end();
    for line in server.access_log().lines() {
        let Some((port, rest)) = line.split_once('\t') else { continue };
        if let Some(at) = ports.iter().position(|known| known == port) {
            reports[at].logged(rest);
        }
    }
    reports
}

/// Gives the files a time of their own, so that requests can name it: it is `MODIFIED`, and the ETag of
/// a file of 21 bytes is `ETAG`.
fn stamp(server: &Server) {
    fn walk(folder: &Path) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path);
            } else {
                let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(MODIFIED_SECONDS);
                fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
            }
        }
    }
    walk(Path::new(&server.path("www")));
}

// ---------------------------------------------------------------- the nginx

fn nginx() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("OCTROI_NGINX").map(PathBuf::from) {
        assert!(path.is_file(), "OCTROI_NGINX names {}, which is not there", path.display());
        return Some(reachable(path));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.find_map(|folder| Some(folder.join("nginx")).filter(|file| file.is_file())).map(reachable)
}

fn version_of(nginx: &Path) -> String {
    let output = std::process::Command::new(nginx).arg("-v").output().expect("nginx runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let version = text.split('/').nth(1).and_then(|rest| rest.split_whitespace().next());
    version.expect("a version").to_owned()
}

/// A version as numbers, to be compared.
fn number(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
