//! The command line: nginx's flags with nginx's meaning, messages and exit codes, and our verbs.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::process::{self, Invocation, Task, Verb};

/// The language's version: whose directives and defaults are spoken.
const LANGUAGE: &str = "nginx/1.31.5";

/// Runs the command line `arguments` (without the program's name).
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let command = match parse(arguments) {
        Ok(command) => command,
        Err(message) => {
            eprintln!("octroi: {message}");
            return ExitCode::FAILURE;
        }
    };
    match command {
        Command::Demo(arguments) => crate::demo::run(arguments),
        Command::Explain(arguments) => crate::explain::run(arguments),
        Command::Check(arguments) => crate::check::run(&arguments),
        Command::Key(arguments) => crate::key::run(&arguments),
        Command::Reference => {
            // A pager that was left early has shown enough.
            let _ = io::stdout().write_all(crate::features::reference().as_bytes());
            ExitCode::SUCCESS
        }
        Command::Nginx { version, invocation } => {
            if let Some(version) = version {
                eprint!("{}", version_text(version));
                if !matches!(invocation.task, Task::Test { .. }) {
                    return ExitCode::SUCCESS;
                }
            }
            process::run(invocation)
        }
    }
}

/// What the arguments ask for.
#[derive(Debug, PartialEq, Eq)]
enum Command {
    /// nginx's flags.
    Nginx { version: Option<Version>, invocation: Invocation },
    /// `-h directives`.
    Reference,
    /// `demo`.
    Demo(Vec<OsString>),
    /// `check`.
    Check(Vec<OsString>),
    /// `explain`.
    Explain(Vec<OsString>),
    /// `key`.
    Key(Vec<OsString>),
}

/// What is printed before anything else, and most often alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Version {
    help: bool,
    configure: bool,
}

fn parse(arguments: Vec<OsString>) -> Result<Command, String> {
    let mut arguments = arguments.into_iter().peekable();
    if arguments.peek().is_some_and(|first| first == "demo") {
        return Ok(Command::Demo(arguments.skip(1).collect()));
    }
    if arguments.peek().is_some_and(|first| first == "check") {
        return Ok(Command::Check(arguments.skip(1).collect()));
    }
    if arguments.peek().is_some_and(|first| first == "explain") {
        return Ok(Command::Explain(arguments.skip(1).collect()));
    }
    if arguments.peek().is_some_and(|first| first == "key") {
        return Ok(Command::Key(arguments.skip(1).collect()));
    }
    let mut invocation = Invocation::default();
    let mut version = None;
    while let Some(argument) = arguments.next() {
        let Some(mut flags) = argument.as_bytes().strip_prefix(b"-") else {
            return Err(format!("invalid option: \"{}\"", argument.display()));
        };
        while let Some((&flag, rest)) = flags.split_first() {
            flags = rest;
            // A flag with a value takes the rest of its argument, or else the next argument.
            let mut value = |what: &str| {
                let here = std::mem::take(&mut flags);
                if !here.is_empty() {
                    return Ok(OsStr::from_bytes(here).to_owned());
                }
                arguments.next().ok_or(format!("option \"-{}\" requires {what}", char::from(flag)))
            };
            match flag {
                b'?' | b'h' => version.get_or_insert(Version::default()).help = true,
                b'v' => drop(version.get_or_insert(Version::default())),
                b'V' => version.get_or_insert(Version::default()).configure = true,
                b't' => test(&mut invocation.task, false),
                b'T' => test(&mut invocation.task, true),
                b'q' => invocation.quiet = true,
                b'p' => invocation.prefix = Some(PathBuf::from(value("directory name")?)),
                b'e' => invocation.error_log = Some(PathBuf::from(value("file name")?)),
                b'c' => invocation.conf = Some(PathBuf::from(value("file name")?)),
                b'g' => invocation.globals = text(value("parameter")?)?,
                b's' => signal(&mut invocation.task, &value("parameter")?)?,
                other => return Err(format!("invalid option: \"{}\"", char::from(other))),
            }
        }
        if version.is_some_and(|version| version.help)
            && arguments.peek().is_some_and(|next| next == "directives")
        {
            return Ok(Command::Reference);
        }
    }
    Ok(Command::Nginx { version, invocation })
}

/// `-t` beats `-s`, in whatever order they come, and `-T` beats `-t`: as in nginx.
fn test(task: &mut Task, dump: bool) {
    let dumps = matches!(task, Task::Test { dump: true });
    *task = Task::Test { dump: dump || dumps };
}

fn signal(task: &mut Task, word: &OsStr) -> Result<(), String> {
    let verb = Verb::parse(word.as_bytes()).ok_or(format!("invalid option: \"-s {}\"", word.display()))?;
    if !matches!(task, Task::Test { .. }) {
        *task = Task::Signal(verb);
    }
    Ok(())
}

fn text(value: OsString) -> Result<String, String> {
    String::from_utf8(value.into_vec()).map_err(|_| "option \"-g\" requires text in UTF-8".to_owned())
}

fn version_text(version: Version) -> String {
    let mut text = format!("octroi version: octroi/{}\n", env!("CARGO_PKG_VERSION"));
    if version.help {
        text += &help();
    }
    if version.configure {
        let arguments = crate::features::configure_arguments();
        let library = crate::net::tls::library();
        text += &format!(
            "nginx version: {LANGUAGE} (language)\nbuilt with {library}\nTLS SNI support enabled\nconfigure arguments: {}\n",
            arguments.trim()
        );
    }
    text
}

fn help() -> String {
    format!(
        "\
Usage: octroi [-?hvVtTq] [-s signal] [-p prefix]
              [-e filename] [-c filename] [-g directives]
       octroi check [file] [-p prefix] [--json]
       octroi explain 'METHOD URL' [-H 'Name: value'] [--from address]
                      [-c filename] [-p prefix] [-g directives]
       octroi demo
       octroi key new | hash | list

Options:
  -?,-h         : this help
  -h directives : list the directives that are supported
  -v            : show version and exit
  -V            : show version and configure options then exit
  -t            : test configuration and exit
  -T            : test configuration, dump it and exit
  -q            : suppress non-error messages during configuration testing
  -s signal     : send signal to a master process: stop, quit, reopen, reload
  -p prefix     : set prefix path (default: {prefix})
  -e filename   : set error log file (default: {error_log})
  -c filename   : set configuration file (default: {conf})
  -g directives : set global directives out of configuration file

Verbs:
  check         : list what of a configuration is supported, refused, or without effect,
                  with what to do instead; exits with 0 if all is supported, 1 if something
                  is refused, 2 if the configuration cannot be read
  explain       : tell what becomes of a request: which server and location take it and why,
                  what each step decides, whom it would be passed on to; no host is asked
  demo          : start example services and the gateway in front of them
  key           : make a key for auth_api_key, hash one, list those of a configuration

",
        prefix = process::default_prefix().display(),
        error_log = process::default_error_log().display(),
        conf = process::default_conf().display(),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parsed(line: &[&str]) -> Result<Command, String> {
        parse(line.iter().map(OsString::from).collect())
    }

    fn invocation(line: &[&str]) -> Invocation {
        match parsed(line) {
            Ok(Command::Nginx { version: None, invocation }) => invocation,
            other => panic!("{line:?}: {other:?}"),
        }
    }

    #[test]
    fn values_stand_with_their_flag_or_after_it() {
        let paths = Invocation {
            prefix: Some("/p".into()),
            conf: Some("n.conf".into()),
            error_log: Some("stderr".into()),
            globals: "daemon off;".to_owned(),
            ..Invocation::default()
        };
        assert_eq!(invocation(&["-p", "/p", "-c", "n.conf", "-e", "stderr", "-g", "daemon off;"]), paths);
        assert_eq!(invocation(&["-p/p", "-cn.conf", "-estderr", "-gdaemon off;"]), paths);
        assert_eq!(invocation(&[]), Invocation::default());
        assert_eq!(invocation(&["-"]), Invocation::default());
    }

    #[test]
    fn flags_combine() {
        let test = |dump, quiet| Invocation { task: Task::Test { dump }, quiet, ..Invocation::default() };
        assert_eq!(invocation(&["-t"]), test(false, false));
        assert_eq!(invocation(&["-tq"]), test(false, true));
        assert_eq!(invocation(&["-qT"]), test(true, true));
        assert_eq!(invocation(&["-Tt"]), test(true, false));
        let with_path = Invocation { conf: Some("n.conf".into()), ..test(false, false) };
        assert_eq!(invocation(&["-tc", "n.conf"]), with_path);
        assert_eq!(invocation(&["-tcn.conf"]), with_path);
    }

    #[test]
    fn signals() {
        for (word, verb) in
            [("stop", Verb::Stop), ("quit", Verb::Quit), ("reload", Verb::Reload), ("reopen", Verb::Reopen)]
        {
            assert_eq!(invocation(&["-s", word]).task, Task::Signal(verb));
        }
        assert_eq!(invocation(&["-t", "-sstop"]).task, Task::Test { dump: false });
        assert_eq!(invocation(&["-s", "stop", "-t"]).task, Task::Test { dump: false });
    }

    #[test]
    fn refusals_are_worded_as_nginx_words_them() {
        for (line, message) in [
            (&["-z"][..], "invalid option: \"z\""),
            (&["-tz"], "invalid option: \"z\""),
            (&["foo"], "invalid option: \"foo\""),
            (&["-s", "foo"], "invalid option: \"-s foo\""),
            (&["-s"], "option \"-s\" requires parameter"),
            (&["-p"], "option \"-p\" requires directory name"),
            (&["-c"], "option \"-c\" requires file name"),
            (&["-e"], "option \"-e\" requires file name"),
            (&["-g"], "option \"-g\" requires parameter"),
            (&["-h", "foo"], "invalid option: \"foo\""),
        ] {
            assert_eq!(parsed(line), Err(message.to_owned()), "{line:?}");
        }
    }

    #[test]
    fn versions_help_and_verbs() {
        let version = |line: &[&str]| match parsed(line) {
            Ok(Command::Nginx { version: Some(version), .. }) => version_text(version),
            other => panic!("{line:?}: {other:?}"),
        };
        let first = format!("octroi version: octroi/{}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(version(&["-v"]), first);
        let configure = version(&["-V"]);
        assert!(configure.starts_with(&format!("{first}nginx version: nginx/1.31.5 (language)\n")));
        assert!(configure.contains("\nconfigure arguments: "));
        assert!(version(&["-?"]).contains("\nOptions:\n") && version(&["-h"]).contains("Usage: octroi"));
        assert_eq!(parsed(&["-h", "directives"]), Ok(Command::Reference));
        assert_eq!(parsed(&["check", "a", "--json"]), Ok(Command::Check(vec!["a".into(), "--json".into()])));
        assert_eq!(parsed(&["explain", "/"]), Ok(Command::Explain(vec!["/".into()])));
        assert_eq!(parsed(&["key", "list"]), Ok(Command::Key(vec!["list".into()])));
        assert_eq!(parsed(&["demo", "-x"]), Ok(Command::Demo(vec!["-x".into()])));
    }
}
