//! The command line, and what it means.

use std::fs;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::run::{Length, Load};
use crate::target::{Shape, Target};

/// Connections bound: a host has fewer ports towards one address.
const CONNECTIONS_MAX: usize = 65_000;
/// Longest time an option takes, in seconds: a week. The clock counts
/// nanoseconds in 64 bits, so sums stay far from its end.
const SECONDS_MAX: f64 = 604_800.0;
/// Most requests a second that can be asked for: one per 10 ns is beyond any
/// machine and keeps the schedule's arithmetic exact.
const RATE_MAX: f64 = 100_000_000.0;
/// Requests waiting for a connection that can be asked for; 8 bytes each.
const BACKLOG_MAX: usize = 10_000_000;

/// HTTP/1.1 load tester with honest latencies.
///
/// Closed loop by default: each connection sends its next request when the
/// last is answered. With --rate open loop: requests are due at fixed instants,
/// and each latency counts from its instant, however late a connection is free.
///
/// Exit code: 0 fine, 1 more errors than --max-errors, 2 wrong usage.
#[derive(Debug, Parser)]
#[command(name = "octroi-load", version, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// What to do other than load one URL.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// `http://host[:port][/path]`, or `unix:/path/of.sock[:/path]`
    #[arg(required = true)]
    pub url: Option<String>,
    /// Options of a run.
    #[command(flatten)]
    pub options: Options,
}

/// What else there is.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Loads two URLs in turn (A B, B A, A B, ...) and prints their ratios
    Compare(Compare),
}

/// `octroi-load compare`.
#[derive(Debug, Args)]
pub struct Compare {
    /// The first URL; ratios are A/B
    pub url_a: String,
    /// The second URL
    pub url_b: String,
    /// Rounds, each one run of both
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rounds: u32,
    /// Process of A: adds its CPU time per request, children and threads included
    #[arg(long, value_name = "PID")]
    pub pid_a: Option<u32>,
    /// Process of B
    #[arg(long, value_name = "PID")]
    pub pid_b: Option<u32>,
    /// Options of every run.
    #[command(flatten)]
    pub options: Options,
}

/// Options of a run.
#[derive(Debug, Args)]
pub struct Options {
    /// Connections, shared among the threads
    #[arg(short, long, default_value_t = 16)]
    pub connections: usize,
    /// Threads, each with an event loop of its own
    #[arg(short, long, default_value_t = 1)]
    pub threads: usize,
    /// Open loop at this many requests a second
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    pub rate: Option<f64>,
    /// Seconds to measure [default: 10]
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "requests")]
    pub duration: Option<f64>,
    /// Requests to measure, instead of a duration
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub requests: Option<u64>,
    /// Seconds of load before measuring
    #[arg(short, long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    pub warm_up: f64,
    /// Seconds a request may take, connecting included
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = some_seconds)]
    pub timeout: f64,
    /// A connection for each request
    #[arg(long)]
    pub no_keepalive: bool,
    /// Method [default: GET, or POST with a body]
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub method: String,
    /// Header, repeatable
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// Content of each request
    #[arg(long, value_name = "TEXT", conflicts_with = "body_file")]
    pub body: Option<String>,
    /// The same from a file
    #[arg(long, value_name = "FILE")]
    pub body_file: Option<PathBuf>,
    /// Paths to ask for in turn, one a line; # begins a comment
    #[arg(long, value_name = "FILE")]
    pub paths: Option<PathBuf>,
    /// Requests of an open loop that may wait for a connection; more are dropped
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub backlog: usize,
    /// Errors that still count as success
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub max_errors: u64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Write JSON to a file as well
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

impl Options {
    /// The load that these options ask for.
    ///
    /// # Errors
    /// A sentence for the user.
    pub fn load(&self) -> Result<Load, String> {
        if self.connections == 0 || self.connections > CONNECTIONS_MAX {
            return Err(format!("connections must be 1 to {CONNECTIONS_MAX}"));
        }
        if self.threads == 0 || self.threads > self.connections {
            return Err("threads must be at least 1 and at most one per connection".to_owned());
        }
        if self.backlog == 0 || self.backlog > BACKLOG_MAX {
            return Err(format!("backlog must be 1 to {BACKLOG_MAX}"));
        }
        let length = match (self.requests, self.duration.unwrap_or(10.0)) {
            (Some(requests), _) => Length::Requests(requests),
            (None, seconds) if seconds > 0.0 => Length::Time(nanoseconds(seconds)),
            (None, _) => return Err("duration must be above 0".to_owned()),
        };
        Ok(Load {
            connections: self.connections,
            threads: self.threads,
            rate: self.rate,
            warm_up_ns: nanoseconds(self.warm_up),
            length,
            timeout_ns: nanoseconds(self.timeout).max(1),
            backlog_max: self.backlog,
            progress: true,
        })
    }

    /// A target of these options.
    ///
    /// # Errors
    /// A sentence for the user: an option is not usable, or a file can't be read.
    pub fn target(&self, url: &str) -> Result<Target, String> {
        let read = |path: &PathBuf| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
        let body = match (&self.body, &self.body_file) {
            (Some(text), _) => Some(text.clone().into_bytes()),
            (None, Some(path)) => Some(read(path)?),
            (None, None) => None,
        };
        let paths = match &self.paths {
            None => Vec::new(),
            Some(path) => paths_of(&read(path)?).ok_or_else(|| format!("{}: no paths", path.display()))?,
        };
        let (method, headers) = (self.method.clone(), self.headers.clone());
        Target::new(url, &Shape { method, headers, body, paths, keep_alive: !self.no_keepalive })
    }
}

/// The lines of a file of paths; `None` if it holds none or is not UTF-8.
fn paths_of(bytes: &[u8]) -> Option<Vec<String>> {
    let lines = std::str::from_utf8(bytes).ok()?.lines().map(str::trim);
    let paths: Vec<String> =
        lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect();
    (!paths.is_empty()).then_some(paths)
}

/// Seconds, 0 allowed; `500ms` and `2s` too.
fn seconds(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    match number.parse::<f64>() {
        Ok(value) if (0.0..=SECONDS_MAX).contains(&(value * unit)) => Ok(value * unit),
        _ => Err(format!("expected 0 to {SECONDS_MAX} seconds, as 1.5, 2s or 500ms")),
    }
}

/// Seconds above 0.
fn some_seconds(text: &str) -> Result<f64, String> {
    seconds(text).ok().filter(|&value| value > 0.0).ok_or_else(|| "expected a time above 0".to_owned())
}

/// Requests a second.
fn rate(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|&value| value > 0.0 && value <= RATE_MAX);
    value.ok_or_else(|| format!("expected a number above 0, at most {RATE_MAX}"))
}

fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn options(line: &str) -> Result<Load, String> {
        let arguments = Arguments::try_parse_from(line.split(' ')).map_err(|error| error.to_string())?;
        arguments.options.load()
    }

    #[test]
    fn loads() {
        let load = options("octroi-load http://[::1]/ -c 4 -d 500ms -w 2s --timeout 0.1").unwrap();
        assert_eq!((load.connections, load.length), (4, Length::Time(500_000_000)));
        assert_eq!((load.warm_up_ns, load.timeout_ns), (2_000_000_000, 100_000_000));
        assert_eq!(options("octroi-load x -n 7").unwrap().length, Length::Requests(7));
    }

    #[test]
    fn refused() {
        for line in [
            "octroi-load",
            "octroi-load x y",
            "octroi-load x -c 0",
            "octroi-load x -t 17",
            "octroi-load x -n 0",
            "octroi-load x -n 1 -d 1",
            "octroi-load x -d 0",
            "octroi-load x -d -1",
            "octroi-load x --rate 0",
            "octroi-load x --rate nan",
            "octroi-load x --timeout 0",
            "octroi-load x --body a --body-file b",
            "octroi-load compare x",
        ] {
            assert!(options(line).is_err(), "{line}");
        }
    }

    #[test]
    fn compare_has_the_same_options() {
        let line = "octroi-load compare a b --rounds 3 --rate 100 --pid-a 1 -H A:b";
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        let Some(Command::Compare(compare)) = arguments.command else { panic!("not compare") };
        assert_eq!((compare.rounds, compare.pid_a, compare.options.rate), (3, Some(1), Some(100.0)));
        assert_eq!(compare.options.headers, ["A:b"]);
    }

    #[test]
    fn files_of_paths() {
        assert_eq!(paths_of(b"/a\n# no\n\n /b?c \n").unwrap(), ["/a", "/b?c"]);
        assert_eq!(paths_of(b"# none\n"), None);
    }
}
