//! `proxy_next_upstream`: what makes the next server be tried.

use crate::conf::{Diagnostic, Scope};
use crate::http::Method;
use std::time::{Duration, Instant};

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Connecting, sending or reading failed.
    Error,
    /// The upstream took too long.
    Timeout,
    /// Its answer was no HTTP, or empty.
    InvalidHeader,
    /// It answered with this status, which is named.
    Status(u16),
}

impl Failure {
    /// The status the client gets when nobody else is tried.
    pub fn status(self) -> u16 {
        match self {
            Failure::Timeout => 504,
            Failure::Error | Failure::InvalidHeader => 502,
            Failure::Status(status) => status,
        }
    }

    fn bit(self) -> u32 {
        let at = match self {
            Failure::Error => 0,
            Failure::Timeout => 1,
            Failure::InvalidHeader => 2,
            Failure::Status(status) => match STATUSES.iter().position(|(_, s)| *s == status) {
                Some(i) => 3 + i,
                None => return 0,
            },
        };
        1 << at
    }
}

const STATUSES: &[(&str, u16)] = &[
    ("http_500", 500),
    ("http_502", 502),
    ("http_503", 503),
    ("http_504", 504),
    ("http_403", 403),
    ("http_404", 404),
    ("http_429", 429),
];

/// The directive with its companions.
#[derive(Clone, Copy, Debug)]
pub struct NextUpstream {
    failures: u32,
    non_idempotent: bool,
    /// `proxy_next_upstream_tries`; 0 for all.
    tries: usize,
    /// `proxy_next_upstream_timeout`; zero for any time.
    timeout: Duration,
}

impl NextUpstream {
    /// From the configuration.
    ///
    /// # Errors
    /// A word that names no failure.
    pub fn compile(scope: &Scope<'_>) -> Result<NextUpstream, Diagnostic> {
        let names = ["proxy_next_upstream", "proxy_next_upstream_tries", "proxy_next_upstream_timeout"];
        NextUpstream::named(scope, names, true)
    }

    /// The same for tunnels, of which less can be said.
    ///
    /// # Errors
    /// A word that names no failure.
    pub fn for_tunnels(scope: &Scope<'_>) -> Result<NextUpstream, Diagnostic> {
        let names = ["tunnel_next_upstream", "tunnel_next_upstream_tries", "tunnel_next_upstream_timeout"];
        NextUpstream::named(scope, names, false)
    }

    /// `answers`: what makes the next one be tried may be an answer.
    fn named(
        scope: &Scope<'_>,
        [name, tries, timeout]: [&str; 3],
        answers: bool,
    ) -> Result<NextUpstream, Diagnostic> {
        let mut next = NextUpstream {
            failures: Failure::Error.bit() | Failure::Timeout.bit(),
            non_idempotent: false,
            tries: scope.number(tries, 0)? as usize,
            timeout: Duration::from_millis(scope.time_ms(timeout, 0)?),
        };
        let Some(directive) = scope.one(name) else { return Ok(next) };
        next.failures = 0;
        let mut off = false;
        for word in &directive.args {
            match word.text.as_str() {
                "error" => next.failures |= Failure::Error.bit(),
                "timeout" => next.failures |= Failure::Timeout.bit(),
                "invalid_header" if answers => next.failures |= Failure::InvalidHeader.bit(),
                "non_idempotent" if answers => next.non_idempotent = true,
                "off" => off = true,
                text => match STATUSES.iter().find(|(name, _)| answers && *name == text) {
                    Some(&(_, status)) => next.failures |= Failure::Status(status).bit(),
                    None => return Err(scope.error_at(directive, word, format!("invalid value \"{text}\""))),
                },
            }
        }
        if off {
            next.failures = 0;
        }
        Ok(next)
    }

    /// Whether answers with this status make the next server be tried.
    pub fn names_status(&self, status: u16) -> bool {
        self.failures & Failure::Status(status).bit() != 0
    }

    /// How many attempts a request gets among `peers`.
    pub fn tries(&self, peers: usize) -> usize {
        if self.tries > 0 { self.tries.min(peers) } else { peers }
    }

    /// Whether another server may be tried after `failure`. `sent`: the upstream may have got the
    /// request. `repeatable`: its body is still at hand.
    pub fn allows(
        &self,
        failure: Failure,
        method: Method,
        sent: bool,
        repeatable: bool,
        begun: Instant,
    ) -> bool {
        let idempotent = !matches!(method, Method::Post | Method::Lock | Method::Patch);
        self.failures & failure.bit() != 0
            && (idempotent || !sent || self.non_idempotent)
            && (repeatable || !sent)
            && (self.timeout.is_zero() || begun.elapsed() < self.timeout)
    }
}
