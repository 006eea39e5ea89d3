//! The rules of the house that a compiler does not check: floors, where unsafe code and the runtime
//! may stand, what every directive has beside its code, and what no file may hold.
//!
//! Each rule is a test that prints every place that breaks it. The exceptions are lists in this file,
//! each entry with its reason; an entry that nothing needs any more fails too.

#[path = "tidy/reading.rs"]
mod reading;

use octroi::conf::{Diagnostic, Disk, Effect, Files};
use octroi::features;
use octroi::plan::{Loaded, Origin};
use reading::{File, all_rust, crate_names, list, read, root, sources, texts, word};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The rooms of `src` and their floors, as in the table of `src/lib.rs`.
const FLOORS: &[(&str, u32)] = &[
    ("base", 0),
    ("bridge", 1),
    ("conf", 1),
    ("http", 1),
    ("net", 2),
    ("remote", 3),
    ("upstream", 3),
    ("pipeline", 4),
    ("plan", 5),
    ("features", 6),
    ("control", 7),
    ("shard", 7),
    // The table gives these no number: each starts the ones before it.
    ("process", 8),
    ("check", 9),
    ("demo", 9),
    ("explain", 9),
    ("key", 9),
    ("cli", 10),
];

/// What lies on a lower floor and still may not be named.
const NOT_BELOW: &[(&str, &str, &str)] = &[
    ("shard", "features", "the data plane runs steps and knows no feature by name"),
    ("control", "features", "the control plane does the plan's work and knows no feature by name"),
    ("shard", "remote", "a shard awaits nothing of the other runtime"),
];

/// Lines of a file, at most.
const FILE_LINES_MAX: usize = 700;

/// Files that may be longer.
const LONG_FILES: &[(&str, &str)] =
    &[("src/features/refused.rs", "data: a line for every directive that is refused by name")];

/// Where unsafe code may stand.
const UNSAFE_ROOMS: &[&str] = &["src/net/", "src/process/os.rs"];

/// Crates that only one room may name.
const CRATE_ROOMS: &[(&str, &[&str])] = &[
    ("monoio", &["src/net/"]),
    ("io_uring", &["src/net/"]),
    // The data plane must not wait on it.
    // Its io traits alone, through which h2 reads and writes.
    ("tokio", &["src/control/", "src/remote/", "src/net/h2/transport.rs"]),
    ("hyper", &["src/remote/"]),
    ("redis", &["src/remote/"]),
];

/// Files that may call `expect`, which states what a bug of our own would break; never what a file,
/// a client or an upstream sends.
const EXPECTING_FILES: &[(&str, &str)] = &[
    ("src/plan/builder.rs", "a feature is compiled into a location that is open"),
    ("src/pipeline/exchange.rs", "a recycled exchange is there until it is dropped"),
    ("src/pipeline/local.rs", "a slot is used with the layout that gave it out"),
];

/// Directives that are not in `config/reference.conf`, and why.
const WITHOUT_EXAMPLE: &[(&str, &str)] =
    &[("load_module", "a commented line there: whether it loads depends on the modules built in")];

// ---------------------------------------------------------------------------------------- the code

#[test]
fn rooms_import_from_lower_floors_only() {
    let mut faults = Faults::default();
    for file in sources("src") {
        let Some(own) = file.room() else { continue };
        let Some(floor) = floor(own) else { continue };
        for (line, name) in crate_names(&file.code) {
            let Some(other) = self::floor(name) else { continue };
            let barred = NOT_BELOW.iter().any(|(from, to, _)| *from == own && *to == name);
            if name != own && (other >= floor || barred) {
                faults.add(
                    &file.path,
                    line,
                    format!("`{own}` (floor {floor}) names `{name}` (floor {other})"),
                );
            }
        }
    }
    faults.none();
}

fn floor(name: &str) -> Option<u32> {
    FLOORS.iter().find(|(room, _)| *room == name).map(|(_, floor)| *floor)
}

#[test]
fn every_room_has_a_floor() {
    let lib = read("src/lib.rs");
    let rooms: BTreeSet<&str> =
        lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert_eq!(rooms, FLOORS.iter().map(|(room, _)| *room).collect());
    for (room, floor) in FLOORS {
        let shown = if *floor > 7 { String::new() } else { format!("{floor} ") };
        assert!(lib.contains(&format!("//! | {shown}| [`{room}`] |")), "src/lib.rs: the line of `{room}`");
    }
}

#[test]
fn unsafe_code_has_its_rooms_and_its_reasons() {
    let mut faults = Faults::default();
    for file in sources("src") {
        let lines: Vec<&str> = file.text.lines().collect();
        for (at, code) in file.all_code.lines().enumerate() {
            let Some(column) = word(code, "unsafe") else { continue };
            if !UNSAFE_ROOMS.iter().any(|room| file.path.starts_with(room)) {
                faults.add(&file.path, at + 1, "unsafe code outside of its rooms".to_owned());
            }
            // A function's contract is the trait's or stands in its documentation.
            if word(&code[column..], "fn").is_none() && !has_safety_comment(&lines[..at]) {
                faults.add(&file.path, at + 1, "no SAFETY comment above".to_owned());
            }
        }
    }
    for file in sources("loadtest").iter().chain(&sources("tests")) {
        for (at, _) in file.all_code.lines().enumerate().filter(|(_, code)| word(code, "unsafe").is_some()) {
            faults.add(&file.path, at + 1, "unsafe code outside of its rooms".to_owned());
        }
    }
    faults.none();
}

/// Whether the comment that ends above (or the statement's first lines) says SAFETY.
fn has_safety_comment(above: &[&str]) -> bool {
    // A statement is rarely begun more than three lines above its unsafe block.
    const STATEMENT_LINES: usize = 3;
    let mut code = 0;
    for line in above.iter().rev().map(|line| line.trim_start()) {
        if line.starts_with("// SAFETY:") {
            return true;
        }
        if !line.starts_with("//") && !line.starts_with("#[") {
            code += 1;
            if code > STATEMENT_LINES {
                return false;
            }
        }
    }
    false
}

#[test]
fn the_runtime_has_its_room() {
    let mut faults = Faults::default();
    for file in sources("src") {
        for (at, code) in file.all_code.lines().enumerate() {
            for (name, rooms) in CRATE_ROOMS {
                if word(code, name).is_some() && !rooms.iter().any(|room| file.path.starts_with(room)) {
                    faults.add(
                        &file.path,
                        at + 1,
                        format!("`{name}` is named in {} only", rooms.join(" and ")),
                    );
                }
            }
        }
    }
    faults.none();
}

#[test]
fn nothing_is_left_to_do() {
    let mut faults = Faults::default();
    for file in all_rust() {
        for (at, code) in file.all_code.lines().enumerate() {
            for name in ["todo", "unimplemented", "dbg"] {
                if word(code, name).is_some_and(|column| code[column + name.len()..].starts_with('!')) {
                    faults.add(&file.path, at + 1, format!("`{name}!`"));
                }
            }
        }
    }
    faults.none();
}

#[test]
fn nothing_is_unwrapped_that_comes_from_outside() {
    let mut faults = Faults::default();
    let mut used = BTreeSet::new();
    for file in sources("src") {
        for (at, code) in file.code.lines().enumerate() {
            if code.contains(".expect(") && exception(EXPECTING_FILES, &file.path, &mut used) {
                continue;
            }
            for call in [".unwrap()", ".expect(", "panic!(", "unreachable!("] {
                if code.contains(call) {
                    faults.add(&file.path, at + 1, format!("`{call}` outside of tests"));
                }
            }
        }
    }
    faults.unused(EXPECTING_FILES, &used);
    faults.none();
}

#[test]
fn files_are_of_a_readable_length_and_say_what_they_are() {
    let mut faults = Faults::default();
    let mut used = BTreeSet::new();
    for file in all_rust() {
        let lines = file.text.lines().count();
        if lines > FILE_LINES_MAX && !exception(LONG_FILES, &file.path, &mut used) {
            faults.add(&file.path, lines, format!("more than {FILE_LINES_MAX} lines"));
        }
        // The tests of one file need no page of their own.
        if !file.text.starts_with("//!") && !file.path.ends_with("/tests.rs") {
            faults.add(&file.path, 1, "does not begin with what it is (`//! ...`)".to_owned());
        }
    }
    faults.unused(LONG_FILES, &used);
    faults.none();
}

// --------------------------------------------------------------------------------- the directives

#[test]
fn every_directive_is_documented() {
    assert_eq!(features::registry().faults(), Vec::<String>::new());
}

#[test]
fn every_directive_is_tested() {
    let mut texts: Vec<String> = sources("tests")
        .iter()
        .filter(|file| file.path != "tests/tidy.rs")
        .map(|file| file.text.clone())
        .collect();
    texts.extend(sources("src/features").iter().map(File::tests));
    texts.extend(sources("src/process").iter().map(File::tests));
    let untested: BTreeSet<&str> = features::registry()
        .specs
        .iter()
        // What has no effect is tested with the examples below: it gives its notice.
        .filter(|spec| spec.effect == Effect::Works)
        .map(|spec| spec.name)
        .filter(|name| !texts.iter().any(|text| text.lines().any(|line| word(line, name).is_some())))
        .collect();
    assert!(untested.is_empty(), "no test names these directives: {untested:?}");
}

#[test]
fn every_directive_has_an_example() {
    let examples: Vec<String> = list("config", "conf").iter().map(|path| read(path)).collect();
    let uses = |name: &str| {
        let named = |line: &str| {
            line.trim_start().strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', ';']))
        };
        examples.iter().any(|text| text.lines().any(named))
    };
    let excepted = |name: &str| WITHOUT_EXAMPLE.iter().any(|(known, _)| *known == name);
    let missing: BTreeSet<&str> = features::registry()
        .specs
        .iter()
        .map(|spec| spec.name)
        .filter(|name| uses(name) == excepted(name))
        .collect();
    assert!(
        missing.is_empty(),
        "in config/reference.conf without need for an exception, or missing: {missing:?}"
    );
}

#[test]
fn every_example_loads() {
    for path in list("config", "conf") {
        if let Err(error) = example(&path) {
            panic!("{path}: {error}");
        }
    }
}

#[test]
fn what_has_no_effect_is_noticed() {
    let loaded = example("config/reference.conf").unwrap_or_else(|error| panic!("{error}"));
    let notices: Vec<&str> = loaded.notices.iter().map(|notice| notice.message.as_str()).collect();
    let mut count = 0;
    for spec in features::registry().specs {
        if let Effect::Accepted(reason) = spec.effect {
            let notice = format!("directive \"{}\" has no effect: {reason}", spec.name);
            assert_eq!(notices.iter().filter(|text| **text == notice).count(), 1, "{notice}");
            count += 1;
        }
    }
    assert_eq!(notices.len(), count, "{notices:#?}");
}

/// The disk, and in a folder `tls` what examples name there: certificates made for the occasion.
struct WithCertificates;

impl Files for WithCertificates {
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let Some(name) = path.strip_prefix(root().join("config/tls")).ok().and_then(Path::to_str) else {
            return Disk.read(path);
        };
        static MADE: OnceLock<[String; 3]> = OnceLock::new();
        let [certificate, key, revoked] = MADE.get_or_init(made);
        match name {
            "host.pem" | "clients.pem" => Ok(certificate.clone().into()),
            "host.key" => Ok(key.clone().into()),
            "revoked.pem" => Ok(revoked.clone().into()),
            "tickets.key" => Ok(vec![7; 80]),
            "phrases" => Ok(b"phrase\n".to_vec()),
            "ocsp.der" => Ok(vec![0x30, 0]),
            _ => Disk.read(path),
        }
    }

    fn glob(&mut self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        Disk.glob(pattern)
    }

    fn resolve(&mut self, host: &str) -> io::Result<Vec<IpAddr>> {
        Disk.resolve(host)
    }
}

/// An authority's certificate, its key, and what it revoked, in PEM.
fn made() -> [String; 3] {
    let mut params = rcgen::CertificateParams::new(vec!["example.com".to_owned()]).expect("a name");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate").pem();
    let text = key.serialize_pem();
    let list = rcgen::CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2026, 1, 1),
        next_update: rcgen::date_time_ymd(2036, 1, 1),
        crl_number: vec![1].into(),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    let revoked = list.signed_by(&rcgen::Issuer::new(params, key)).expect("a list").pem();
    [certificate, text, revoked.expect("a list")]
}

fn example(path: &str) -> Result<Loaded, Diagnostic> {
    let origin = Origin {
        conf: root().join(path),
        prefix: "/var/lib/octroi-example/".into(),
        globals: String::new(),
        error_log: None,
    };
    features::load(&origin, &mut WithCertificates)
}

/// The page that `scripts/supported` writes.
#[test]
fn the_page_of_what_is_supported_is_up_to_date() {
    let path = root().join("docs/supported.md");
    let page = supported();
    if std::env::var_os("OCTROI_WRITE").is_some() {
        fs::write(&path, page).expect("docs/supported.md can be written");
        return;
    }
    let stands = fs::read_to_string(&path).unwrap_or_default();
    assert!(stands == page, "docs/supported.md is stale: scripts/supported writes it anew");
}

fn supported() -> String {
    let mut variables = BTreeMap::new();
    for variable in features::ALL.iter().flat_map(|feature| feature.variables) {
        let name = format!("${}{}", variable.name, if variable.family { "*name*" } else { "" });
        variables.insert(name, variable.doc);
    }
    let mut page = String::from(
        "# What is supported\n\n\
         Written by `scripts/supported` from the declarations in the code; `octroi -h directives` prints \
         the same list of directives. What NGINX knows and this page does not is refused by name when the \
         configuration is read.\n\n## Directives\n\n```text\n",
    );
    page += features::reference().trim_end();
    page += "\n```\n\n## Variables\n\n| variable | value |\n|---|---|\n";
    for (name, doc) in variables {
        let _ = writeln!(page, "| {name} | {} |", doc.replace('|', "\\|"));
    }
    page
}

// --------------------------------------------------------------------------------------- all texts

#[test]
fn no_text_names_a_place_of_its_writer() {
    // In two parts, so that this file passes.
    let forbidden =
        [concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("FIX", "ME")];
    let mut faults = Faults::default();
    for path in texts() {
        for (at, line) in read(&path).lines().enumerate() {
            for text in forbidden.iter().filter(|text| line.contains(*text)) {
                faults.add(&path, at + 1, format!("`{text}`"));
            }
        }
    }
    faults.none();
}

#[test]
fn documents_name_files_that_exist() {
    const FOLDERS: &[&str] = &[
        "src/",
        "tests/",
        "config/",
        "docs/",
        "scripts/",
        "benches/",
        "loadtest/",
        "fuzz/",
        ".ci/",
        ".config/",
    ];
    let mut faults = Faults::default();
    for path in list("", "md") {
        for (at, line) in read(&path).lines().enumerate() {
            for named in line.split('`').skip(1).step_by(2) {
                let named = named.split([' ', ':']).next().unwrap_or_default();
                let checked = FOLDERS.iter().any(|folder| named.starts_with(folder))
                    && !named.contains(['*', '{', '<']);
                if checked && !root().join(named).exists() {
                    faults.add(&path, at + 1, format!("`{named}` is not there"));
                }
            }
        }
    }
    faults.none();
}

// ----------------------------------------------------------------------------------------- helpers

/// What breaks a rule.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, path: &str, line: usize, what: String) {
        self.0.push(format!("{path}:{line}: {what}"));
    }

    /// Exceptions that nothing needs are faults too.
    fn unused(&mut self, exceptions: &[(&str, &str)], used: &BTreeSet<String>) {
        for (path, _) in exceptions.iter().filter(|(path, _)| !used.contains(*path)) {
            self.add(path, 1, "is excepted without need".to_owned());
        }
    }

    fn none(self) {
        assert!(self.0.is_empty(), "\n{}\n", self.0.join("\n"));
    }
}

fn exception(exceptions: &[(&str, &str)], path: &str, used: &mut BTreeSet<String>) -> bool {
    let excepted = exceptions.iter().any(|(known, _)| *known == path);
    if excepted {
        used.insert(path.to_owned());
    }
    excepted
}
