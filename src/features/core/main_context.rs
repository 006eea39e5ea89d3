//! The main context: what it says of the processes.

use super::syslog;
use crate::base::process_settings::{
    Affinity, ErrorLog, Level, LogTarget, ProcessSettings, Shards, Variable,
};
use crate::conf::{Context, Diagnostic, Directive, Place, Scope, value};
use crate::plan::builder::Builder;
use std::path::PathBuf;
use std::time::Duration;

/// `worker_connections` when nothing is said.
const WORKER_CONNECTIONS: usize = 512;

/// What `use` may name: nginx's methods on Linux, and the one of Octroi's own.
const EVENT_METHODS: [&str; 4] = ["epoll", "poll", "select", "io_uring"];

/// Shards at most; CPU masks and tables are sized by it.
const SHARDS_MAX: usize = 1024;

/// The debug levels of parts of nginx.
const DEBUG_LEVELS: [&str; 7] =
    ["debug_core", "debug_alloc", "debug_mutex", "debug_event", "debug_http", "debug_mail", "debug_stream"];

/// Modules whose feature is built in, by a part of their file's name.
const BUILT_IN_MODULES: &[&str] = &[];

/// The process settings, and `worker_connections`.
///
/// # Errors
/// What nginx refuses, in its words.
pub fn compile(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(ProcessSettings, usize), Diagnostic> {
    let Some(events) = scope.here("events").next() else {
        return Err(Diagnostic::new(Level::Emerg, "no \"events\" section in configuration"));
    };
    for directive in scope.here("load_module") {
        let file = directive.arg(0).unwrap_or_default();
        if !BUILT_IN_MODULES.iter().any(|name| file.contains(name)) {
            let message = format!(
                "module \"{file}\" cannot be loaded: Octroi has no dynamic modules, and this one's feature is not built in"
            );
            return Err(scope.error(directive, message));
        }
    }
    let events_scope = scope.child(events, Context::EVENTS);
    let worker_connections = worker_connections(&events_scope)?;
    event_method(&events_scope)?;
    thread_pools(scope)?;
    let user = scope.one("user").map(|directive| {
        (directive.arg(0).unwrap_or_default().to_owned(), directive.arg(1).map(str::to_owned))
    });
    let settings = ProcessSettings {
        daemon: scope.flag("daemon", true)?,
        master_process: scope.flag("master_process", true)?,
        pid: pid_path(scope, b),
        user,
        shards: shards(scope)?,
        affinity: affinity(scope)?,
        rlimit_nofile: scope
            .one("worker_rlimit_nofile")
            .map(|_| scope.number("worker_rlimit_nofile", 0))
            .transpose()?,
        rlimit_core: scope
            .one("worker_rlimit_core")
            .map(|_| scope.offset("worker_rlimit_core", 0))
            .transpose()?,
        priority: priority(scope)?,
        working_directory: scope.word("working_directory").map(PathBuf::from),
        environment: environment(scope)?,
        shutdown_timeout: match scope.time_ms("worker_shutdown_timeout", 0)? {
            0 => None,
            ms => Some(Duration::from_millis(ms)),
        },
        transparent: false,
        uses_stderr: false,
        error_logs: error_logs(scope, b)?,
    };
    Ok((settings, worker_connections))
}

fn worker_connections(events: &Scope<'_>) -> Result<usize, Diagnostic> {
    let Some(directive) = events.one("worker_connections") else { return Ok(WORKER_CONNECTIONS) };
    let text = directive.arg(0).unwrap_or_default();
    let number = value::number(text).and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| events.error(directive, format!("invalid number \"{text}\"")))
}

/// `use` names a method that nginx has on Linux.
fn event_method(events: &Scope<'_>) -> Result<(), Diagnostic> {
    match events.one("use") {
        Some(directive) if !EVENT_METHODS.contains(&directive.arg(0).unwrap_or_default()) => {
            let text = directive.arg(0).unwrap_or_default();
            Err(events.error(directive, format!("invalid event type \"{text}\"")))
        }
        _ => Ok(()),
    }
}

/// The words of the `thread_pool` lines.
fn thread_pools(scope: &Scope<'_>) -> Result<(), Diagnostic> {
    let mut names: Vec<&str> = Vec::new();
    for line in scope.here("thread_pool") {
        let name = line.arg(0).unwrap_or_default();
        if names.contains(&name) {
            return Err(scope.error(line, format!("duplicate thread pool \"{name}\"")));
        }
        names.push(name);
        let mut threads = false;
        for word in line.args.iter().skip(1) {
            let text = word.text.as_str();
            let valid = if let Some(number) = text.strip_prefix("threads=") {
                threads = true;
                value::number(number).is_some_and(|number| number > 0)
            } else {
                text.strip_prefix("max_queue=").is_some_and(|number| value::number(number).is_some())
            };
            if !valid {
                let what = text.split_inclusive('=').next().filter(|name| name.ends_with('='));
                let message = match what {
                    Some("threads=") => format!("invalid threads value \"{text}\""),
                    Some("max_queue=") => format!("invalid max_queue value \"{text}\""),
                    _ => continue,
                };
                return Err(scope.error_at(line, word, message));
            }
        }
        if !threads {
            return Err(scope.error(line, "\"thread_pool\" must have \"threads\" parameter"));
        }
    }
    Ok(())
}

/// The nice value: digits after an optional sign.
fn priority(scope: &Scope<'_>) -> Result<i32, Diagnostic> {
    let Some(directive) = scope.one("worker_priority") else { return Ok(0) };
    let text = directive.arg(0).unwrap_or_default();
    let (sign, digits) = match text.split_at_checked(1) {
        Some(("-", digits)) => (-1, digits),
        Some(("+", digits)) => (1, digits),
        _ => (1, text),
    };
    let number = Some(digits).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    match number.and_then(|digits| digits.parse::<i32>().ok()) {
        Some(number) => Ok(sign * number),
        None => Err(scope.error(directive, "\"worker_priority\" directive invalid number")),
    }
}

/// The `env` lines. A name is what stands before the first `=`.
fn environment(scope: &Scope<'_>) -> Result<Vec<Variable>, Diagnostic> {
    let mut lines = Vec::new();
    for directive in scope.all("env") {
        let text = directive.arg(0).unwrap_or_default();
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        if name.is_empty() || text.contains('\0') {
            return Err(scope.error(directive, format!("invalid variable \"{text}\" in \"env\"")));
        }
        lines.push(Variable { name: name.into(), value: value.map(Into::into) });
    }
    Ok(lines)
}

fn pid_path(scope: &Scope<'_>, b: &Builder<'_>) -> PathBuf {
    match scope.word("pid") {
        Some(path) => b.path(path),
        None => b.origin().default_pid(),
    }
}

fn shards(scope: &Scope<'_>) -> Result<Shards, Diagnostic> {
    let Some(directive) = scope.one("worker_processes") else { return Ok(Shards::Count(1)) };
    match directive.arg(0).unwrap_or_default() {
        "auto" => Ok(Shards::Auto),
        text => match text.parse::<usize>() {
            Ok(n) if (1..=SHARDS_MAX).contains(&n) => Ok(Shards::Count(n)),
            _ => Err(scope.error(directive, "\"worker_processes\" directive invalid value")),
        },
    }
}

fn affinity(scope: &Scope<'_>) -> Result<Affinity, Diagnostic> {
    let Some(directive) = scope.one("worker_cpu_affinity") else { return Ok(Affinity::Unset) };
    let words: Vec<&str> = directive.args.iter().map(|word| word.text.as_str()).collect();
    let mask = |text: &str| cpu_mask(text).ok_or_else(|| invalid_mask(scope, directive, text));
    match words.as_slice() {
        ["auto"] => Ok(Affinity::Auto(None)),
        ["auto", _, _, ..] => {
            Err(scope.error(directive, "invalid number of arguments in \"worker_cpu_affinity\" directive"))
        }
        ["auto", text] => Ok(Affinity::Auto(Some(mask(text)?))),
        masks => masks.iter().map(|text| mask(text)).collect::<Result<_, _>>().map(Affinity::Masks),
    }
}

fn invalid_mask(scope: &Scope<'_>, directive: &Directive, text: &str) -> Diagnostic {
    let message = match text.chars().find(|c| !matches!(c, '0' | '1' | ' ')) {
        Some(wrong) => format!("invalid character \"{wrong}\" in \"worker_cpu_affinity\""),
        None => format!("\"worker_cpu_affinity\" supports up to {SHARDS_MAX} CPUs only"),
    };
    scope.error(directive, message)
}

/// The CPUs of a mask such as `0101`: the last digit is CPU 0.
fn cpu_mask(text: &str) -> Option<Vec<usize>> {
    let digits: Vec<bool> = text
        .bytes()
        .filter(|b| *b != b' ')
        .map(|b| match b {
            b'0' => Some(false),
            b'1' => Some(true),
            _ => None,
        })
        .collect::<Option<_>>()?;
    if digits.is_empty() || digits.len() > SHARDS_MAX {
        return None;
    }
    Some(digits.iter().rev().enumerate().filter(|(_, on)| **on).map(|(cpu, _)| cpu).collect())
}

/// What the main context says of error logs, kept for the levels below.
#[derive(Default)]
struct MainErrorLogs {
    /// Its first line.
    first: Option<Place>,
    /// The default log beside it, if its lines name no file: nginx never goes without one.
    default: Option<ErrorLog>,
}

/// The `error_log` lines that hold at a level; the default where there is none.
///
/// # Errors
/// A level that does not exist, a target that is not built.
pub fn error_logs(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<Vec<ErrorLog>, Diagnostic> {
    let lines = scope.all("error_log");
    let first = lines.first().map(|directive| directive.place);
    let mut logs = Vec::with_capacity(lines.len());
    for directive in lines {
        logs.push(error_log(scope, directive, b)?);
    }
    if scope.context() == Context::MAIN {
        let has_file = logs.iter().any(|log| !matches!(log.target, LogTarget::Syslog(_)));
        let default = if has_file { None } else { Some(default_error_log(b)) };
        *b.store::<MainErrorLogs>() = MainErrorLogs { first, default };
    }
    let main = b.store::<MainErrorLogs>();
    if main.first == first {
        logs.extend(main.default.clone());
    }
    if logs.is_empty() {
        logs.push(default_error_log(b));
    }
    Ok(logs)
}

/// Compiles one `error_log`.
fn error_log(scope: &Scope<'_>, directive: &Directive, b: &mut Builder<'_>) -> Result<ErrorLog, Diagnostic> {
    let text = directive.arg(0).unwrap_or_default();
    let target = match text {
        "stderr" => LogTarget::Stderr,
        _ if text.starts_with("memory:") => {
            let message = "\"error_log memory:\" is not supported by Octroi: it is a ring in the memory of \
                           nginx's debug builds, to be read with a debugger";
            return Err(scope.error(directive, message));
        }
        _ => match text.strip_prefix(syslog::PREFIX) {
            Some(parameters) => LogTarget::Syslog(
                syslog::parse(parameters, b).map_err(|message| scope.error(directive, message))?,
            ),
            None => LogTarget::File(b.log_file(text)),
        },
    };
    let mut level = None;
    for word in directive.args.iter().skip(1) {
        let invalid =
            |kind: &str| scope.error_at(directive, word, format!("{kind} log level \"{}\"", word.text));
        match (Level::parse(&word.text), DEBUG_LEVELS.contains(&word.text.as_str()), level) {
            (Some(named), _, None) => level = Some(named),
            (Some(_), _, Some(_)) => return Err(invalid("duplicate")),
            // These choose among nginx's debug lines, and let all others pass.
            (None, true, None | Some(Level::Debug)) => level = Some(Level::Debug),
            _ => return Err(invalid("invalid")),
        }
    }
    Ok(ErrorLog { target, level: level.unwrap_or(Level::Error) })
}

/// The built-in error log.
fn default_error_log(b: &mut Builder<'_>) -> ErrorLog {
    let path = b.origin().default_error_log();
    let target = if path.as_os_str() == "stderr" {
        LogTarget::Stderr
    } else {
        LogTarget::File(b.log_file(&path.to_string_lossy()))
    };
    ErrorLog { target, level: Level::Error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_count_from_the_right() {
        assert_eq!(cpu_mask("0101"), Some(vec![0, 2]));
        assert_eq!(cpu_mask("012"), None);
        assert_eq!(cpu_mask(""), None);
    }
}
