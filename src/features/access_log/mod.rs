//! `access_log`, `log_format` and `open_log_file_cache`: a line for each request, written by the shard
//! that served it.

mod escape;
mod format;
mod line;
mod open_files;
mod steps;

use crate::base::process_settings::Syslog;
use crate::conf::{
    Arity, Block, Context, Diagnostic, Directive, DirectiveSpec, Effect, Inherit, Place, Scope, Values,
};
use crate::features::core::syslog;
use crate::net::log_buffer::{Buffering, LogBuffer};
use crate::net::log_file::LogFile;
use crate::net::syslog::SyslogSocket;
use crate::pipeline::local::Slot;
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end};
use ahash::AHashMap;
use escape::Escape;
use format::Format;
use line::{Line, Target};
use open_files::{CacheSettings, OpenFiles};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use steps::{FileLog, NamedLog, NamedState, SyslogLog, SyslogState};

/// Where `open_log_file_cache` may stand,
const CACHED: Context = Context::HTTP.or(Context::SERVER).or(Context::LOCATION);

/// and where `access_log`.
const LOGGED: Context = CACHED.or(Context::IF_IN_LOCATION).or(Context::LIMIT_EXCEPT);

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "access_log",
    module: None,
    directives: &[
        DirectiveSpec {
            name: "access_log",
            contexts: LOGGED,
            arity: Arity::AtLeast(1),
            block: Block::No,
            inherit: Inherit::Together,
            default: "logs/access.log combined",
            syntax: "path [format [buffer=size] [gzip[=level]] [flush=time] [if=condition]] | syslog:server=address[,parameter=value] [format [if=condition]] | off",
            doc: "Writes a line for each request to a file, whose path may hold variables, or to a syslog \
                  server. Several may stand on a level; `off` there overrules them. A line that is not \
                  buffered is in the file before its connection closes.",
            effect: Effect::Works,
            values: Values::Any,
        },
        DirectiveSpec {
            name: "open_log_file_cache",
            contexts: CACHED,
            arity: Arity::Between(1, 4),
            block: Block::No,
            inherit: Inherit::Override,
            default: "off",
            syntax: "max=N [inactive=time] [min_uses=N] [valid=time] | off",
            doc: "Keeps logs open whose names hold variables. Each shard has such a cache of its own.",
            effect: Effect::Works,
            values: Values::Any,
        },
        DirectiveSpec {
            name: "log_format",
            contexts: Context::HTTP,
            arity: Arity::AtLeast(2),
            block: Block::No,
            inherit: Inherit::NeverMany,
            default: "combined \"...\"",
            syntax: "name [escape=default|json|none] string ...",
            doc: "Names a format for lines of the access log. The format combined is always there.",
            effect: Effect::Works,
            values: Values::Any,
        },
    ],
    variables: &[],
    http,
    location,
    end: no_end,
};

/// The log of a configuration that names none, relative to the prefix.
const DEFAULT_PATH: &str = "logs/access.log";

/// The prefix of Debian's package, which keeps logs elsewhere,
const PACKAGED_PREFIX: &str = "/usr/share/nginx";

/// namely here.
const PACKAGED_PATH: &str = "/var/log/nginx/access.log";

/// What is known while a configuration is compiled.
#[derive(Default)]
struct Logs {
    /// By name, in order: combined first.
    formats: Vec<(String, Arc<Format>)>,
    files: AHashMap<PathBuf, File>,
    syslogs: AHashMap<Syslog, Slot<SyslogState>>,
    /// By the `open_log_file_cache` that holds for them.
    named: AHashMap<Option<Place>, Slot<NamedState>>,
}

/// A log file that some line names.
#[derive(Clone)]
struct File {
    slot: Slot<LogBuffer>,
    /// How it is buffered: as the first line with `buffer=` says, else per turn.
    buffering: Arc<OnceLock<Buffering>>,
}

fn http(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let Some(block) = scope.directive() else { return Ok(()) };
    let pieces =
        format::parse([format::COMBINED].into_iter()).map_err(|(_, message)| scope.error(block, message))?;
    let combined = Format::new(Escape::Default, pieces, &block.name, b);
    b.store::<Logs>().formats = vec![(line::DEFAULT_FORMAT.to_owned(), Arc::new(combined))];
    for directive in scope.here("log_format") {
        log_format(scope, directive, b)?;
    }
    // A faulty line counts even where every server has lines of its own, and so does its file.
    for directive in scope.here("access_log") {
        access_log(scope, directive, b)?;
    }
    check_cache(scope)
}

/// Finds a wrong `open_log_file_cache` where no log needs it, too.
fn check_cache(scope: &Scope<'_>) -> Result<(), Diagnostic> {
    scope.here("open_log_file_cache").try_for_each(|line| CacheSettings::read(scope, line).map(drop))
}

/// Compiles one `log_format`.
fn log_format(scope: &Scope<'_>, directive: &Directive, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let Some((name, strings)) = directive.args.split_first() else { return Ok(()) };
    if b.store::<Logs>().formats.iter().any(|(known, _)| *known == name.text) {
        let message = format!("duplicate \"log_format\" name \"{}\"", name.text);
        return Err(scope.error_at(directive, name, message));
    }
    let first = strings.first();
    let (escape, taken) = line::escaping(first.map(|word| word.text.as_str()))
        .map_err(|message| scope.error_at(directive, first.unwrap_or(name), message))?;
    let strings = strings.get(taken..).unwrap_or_default();
    let pieces = format::parse(strings.iter().map(|word| word.text.as_str()))
        .map_err(|(at, message)| scope.error_at(directive, strings.get(at).unwrap_or(name), message))?;
    let format = Format::new(escape, pieces, strings.first().unwrap_or(name), b);
    b.store::<Logs>().formats.push((name.text.clone(), Arc::new(format)));
    Ok(())
}

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    check_cache(scope)?;
    let directives = scope.all("access_log");
    if directives.is_empty() {
        if let Some(step) = default_log(b) {
            b.log_step(step);
        }
        return Ok(());
    }
    let mut steps = Vec::with_capacity(directives.len());
    let mut off = false;
    for directive in directives {
        match access_log(scope, directive, b)? {
            Some(step) => steps.push(step),
            None => off = true,
        }
    }
    if off {
        return Ok(());
    }
    for step in steps {
        match step {
            Log::File(log) => b.log_step(log),
            Log::Named(log) => b.log_step(log),
            Log::Syslog(log) => b.log_step(log),
        }
    }
    Ok(())
}

/// The log of a location for which the configuration names none.
fn default_log(b: &mut Builder<'_>) -> Option<FileLog> {
    let packaged = b.origin().prefix == Path::new(PACKAGED_PREFIX);
    let file = file(if packaged { PACKAGED_PATH } else { DEFAULT_PATH }, b);
    let format = b.store::<Logs>().formats.first()?.1.clone();
    Some(FileLog { format, slot: file.slot, condition: None })
}

/// One log, compiled.
enum Log {
    File(FileLog),
    Named(NamedLog),
    Syslog(SyslogLog),
}

/// Compiles one `access_log`; `None` for `off`.
fn access_log(
    scope: &Scope<'_>,
    directive: &Directive,
    b: &mut Builder<'_>,
) -> Result<Option<Log>, Diagnostic> {
    let fault = |at: usize, message: String| match directive.args.get(at) {
        Some(word) => scope.error_at(directive, word, message),
        None => scope.error(directive, message),
    };
    let args: Vec<&str> = directive.args.iter().map(|word| word.text.as_str()).collect();
    let formats = &b.store::<Logs>().formats;
    // A format is found in any case, though names that differ in case only may be defined.
    let find = |name: &str| formats.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let line = line::read(&args, |name| find(name).is_some()).map_err(|(at, message)| fault(at, message))?;
    let Line::Log { target, format, condition } = line else { return Ok(None) };
    let Some((_, format)) = find(format) else { return Ok(None) };
    let format = format.clone();
    let condition = match condition.and_then(|(at, text)| Some((directive.args.get(at)?, text))) {
        Some((word, text)) => Some(b.template_of(text, word)?),
        None => None,
    };
    Ok(Some(match target {
        Target::File { path, buffering } => {
            let file = file(path, b);
            if buffering.is_some_and(|buffering| *file.buffering.get_or_init(|| buffering) != buffering) {
                let message = format!("access_log \"{path}\" already defined with conflicting parameters");
                return Err(fault(0, message));
            }
            Log::File(FileLog { format, slot: file.slot, condition })
        }
        Target::Syslog(parameters) => {
            let to = syslog::parse(parameters, b).map_err(|message| fault(0, message))?;
            Log::Syslog(SyslogLog { format, slot: syslog_server(to, b), condition })
        }
        Target::Named(path) => {
            let word = directive.args.first().unwrap_or(&directive.name);
            let path = b.template_of(&b.path(path).to_string_lossy(), word)?;
            Log::Named(NamedLog { format, path, slot: named_files(scope, b)?, condition })
        }
    }))
}

/// The syslog server, the same for all lines that say the same of it.
fn syslog_server(to: Syslog, b: &mut Builder<'_>) -> Slot<SyslogState> {
    if let Some(known) = b.store::<Logs>().syslogs.get(&to) {
        return *known;
    }
    let told = to.clone();
    let slot = b.reserve(move |_| SyslogState::new(SyslogSocket::new(told.clone())));
    b.store::<Logs>().syslogs.insert(to, slot);
    slot
}

/// What a shard keeps for the logs with variables at this level.
fn named_files(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<Slot<NamedState>, Diagnostic> {
    let directive = scope.one("open_log_file_cache");
    let place = directive.map(|directive| directive.place);
    if let Some(known) = b.store::<Logs>().named.get(&place) {
        return Ok(*known);
    }
    let settings = match directive {
        Some(directive) => CacheSettings::read(scope, directive)?,
        None => None,
    };
    let slot = b.reserve(move |_| NamedState::new(settings.map(OpenFiles::new)));
    b.store::<Logs>().named.insert(place, slot);
    Ok(slot)
}

/// The file with this path, the same for all lines that name it.
fn file(path: &str, b: &mut Builder<'_>) -> File {
    let path = b.log_file(path);
    if let Some(known) = b.store::<Logs>().files.get(&path) {
        return known.clone();
    }
    let buffering = Arc::new(OnceLock::new());
    let (at, told) = (path.clone(), buffering.clone());
    let slot = b.reserve(move |facts| {
        // Every file of a plan is open before a shard is given it; a line must go somewhere all the
        // same.
        let log = facts.logs.get(&at).cloned().unwrap_or_else(LogFile::stderr);
        LogBuffer::new(log, told.get().copied().unwrap_or(Buffering::Turn))
    });
    let file = File { slot, buffering };
    b.store::<Logs>().files.insert(path, file.clone());
    file
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::conf::{Files, Registry, parse};
    use crate::pipeline::variable::VariableSpec;
    use crate::plan::Origin;
    use std::io;

    /// One configuration in memory.
    struct Text(String);

    impl Files for Text {
        fn read(&mut self, _: &Path) -> io::Result<Vec<u8>> {
            Ok(self.0.clone().into_bytes())
        }

        fn glob(&mut self, _: &str) -> io::Result<Vec<PathBuf>> {
            Ok(Vec::new())
        }
    }

    static HTTP: DirectiveSpec = DirectiveSpec {
        name: "http",
        contexts: Context::MAIN,
        arity: Arity::Exactly(0),
        block: Block::Directives(Context::HTTP),
        inherit: Inherit::Never,
        default: "",
        syntax: "",
        doc: "Holds the servers.",
        effect: Effect::Works,
        values: Values::Any,
    };

    static ANY: VariableSpec =
        VariableSpec { name: "", family: true, eval: |_, _, _| false, doc: "Any variable." };

    /// The log files of a configuration whose `http` block holds `body`, or its first error.
    fn files(body: &str) -> Result<Vec<(PathBuf, Option<Buffering>)>, String> {
        let path = Path::new("/conf/nginx.conf");
        let mut text = Text(format!("http {{\n{body}\n}}"));
        let tree = parse(path, "", Path::new("/conf"), &mut text).unwrap();
        let specs: Vec<_> = FEATURE.directives.iter().chain([&HTTP]).collect();
        let registry = Registry { specs, refused: &[] };
        registry.check(&tree).map_err(|error| error.text())?;
        let main = registry.scope(&tree);
        let origin = Origin {
            conf: path.to_owned(),
            prefix: "/prefix".into(),
            globals: String::new(),
            error_log: None,
        };
        let mut b = Builder::new(&origin, &tree.sources, [&ANY].into_iter());
        let scope = main.child(main.here("http").next().unwrap(), Context::HTTP);
        http(&scope, &mut b).map_err(|error| error.text())?;
        let files = b.store::<Logs>().files.iter();
        let mut files: Vec<_> =
            files.map(|(path, file)| (path.clone(), file.buffering.get().copied())).collect();
        files.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(files)
    }

    #[test]
    fn a_file_is_shared_by_its_lines() {
        let found = files(
            "log_format Main \"$a\";\naccess_log logs/a.log;\naccess_log /b.log main;
             access_log logs/a.log MAIN buffer=4k if=$x;\naccess_log /prefix/logs/a.log Main buffer=4k;",
        );
        let held = Buffering::Held { bytes: 4096, flush: None, gzip: None };
        assert_eq!(found.unwrap(), [("/b.log".into(), None), ("/prefix/logs/a.log".into(), Some(held))]);
    }

    #[test]
    fn errors_are_nginxs() {
        let error = |body: &str| files(body).unwrap_err();
        for (body, message) in [
            ("log_format combined x;", "duplicate \"log_format\" name \"combined\""),
            ("log_format a x;\nlog_format a y;", "duplicate \"log_format\" name \"a\""),
            ("log_format a escape=xml x;", "unknown log format escaping \"xml\""),
            ("log_format a x \"y$\";", "invalid parameter \"$\""),
            ("log_format a;", "invalid number of arguments in \"log_format\" directive"),
            ("access_log x nope;", "unknown log format \"nope\""),
            ("access_log x combined if=$;", "invalid variable name"),
            (
                "access_log x combined buffer=4k;\naccess_log x combined buffer=8k;",
                "access_log \"x\" already defined with conflicting parameters",
            ),
        ] {
            assert!(error(body).starts_with(&format!("{message} in /conf/nginx.conf:")), "{}", error(body));
        }
    }
}
