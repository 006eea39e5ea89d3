//! `resolver`: who is asked for the addresses of names that only a request tells. The asking is the
//! control plane's; a shard remembers what it was told, so that it asks once in an answer's lifetime.

use crate::base::address::Address;
use crate::base::clock;
use crate::base::limits::WATCH_CLIENT_AFTER_MS;
use crate::base::process_settings::Level;
use crate::bridge::errand::{Counter, errands};
use crate::conf::{Arity, Context, Diagnostic, Directive, DirectiveSpec as D, Scope, value};
use crate::features::upstream;
use crate::net::deadline::{First, first};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::local::Slot;
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end};
use crate::remote::dns::{self, Answer, Failure, Found, Settings};
use ahash::AHashMap;
use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

const HSL: Context = Context::HTTP.or(Context::SERVER).or(Context::LOCATION);

/// The port of a name server that names none.
const DNS_PORT: u16 = 53;

/// Questions of all shards that may lie with the control plane, for each `resolver`: beyond that it is
/// overwhelmed, and a request is better off with an error.
const ERRANDS_MAX: usize = 4096;

/// Names a shard remembers, for each `resolver`.
const KEPT_MAX: usize = 1024;

/// `resolver_timeout` when nothing is said.
const TIMEOUT_MS: u64 = 30_000;

/// What stands for no limit: longer than any client waits.
const FOREVER: Duration = Duration::from_secs(24 * 3600);

/// nginx's number of a name that took too long (ETIMEDOUT).
const TIMED_OUT: u8 = 110;

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "resolver",
    module: None,
    directives: &[
        D::new(
            "resolver",
            HSL,
            Arity::AtLeast(1),
            "address ... [valid=time] [ipv4=on|off] [ipv6=on|off]",
            "",
            "Name servers, which take turns, that are asked for the addresses of names that only a request tells; how long answers are kept (as they say), and which kinds of addresses are asked for (both).",
        ),
        D::new(
            "resolver_timeout",
            HSL,
            Arity::Exactly(1),
            "time",
            "30s",
            "How long a request waits for the addresses of a name.",
        ),
    ],
    variables: &[],
    http: look_for_faults,
    location: look_for_faults,
    end: no_end,
};

/// What is wrong is said even where nobody asks: only a URL made of variables does.
fn look_for_faults(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    scope.here("resolver").next().map_or(Ok(()), |line| settings(scope, line, b).map(drop))?;
    scope.time_ms("resolver_timeout", TIMEOUT_MS).map(drop)
}

/// A `resolver` and how long it is waited for.
#[derive(Clone)]
pub struct ResolverRef {
    counter: Arc<Counter<Box<str>, Answer>>,
    kept: Slot<Names>,
    timeout: Duration,
}

/// What one shard was told.
#[derive(Default)]
struct Names(RefCell<AHashMap<Box<str>, Kept>>);

struct Kept {
    found: Found,
    /// Which address is the first one next time.
    turn: Cell<usize>,
}

/// Those of a configuration, by the place of their directive; the builder's store holds them.
#[derive(Default)]
struct Resolvers(Vec<(Settings, ResolverRef)>);

/// The resolver that a level has, its own or that of the level above.
///
/// # Errors
/// What nginx refuses, in its words.
pub fn of_location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<Option<ResolverRef>, Diagnostic> {
    let timeout = match scope.time_ms("resolver_timeout", TIMEOUT_MS)? {
        0 => FOREVER,
        ms => Duration::from_millis(ms),
    };
    let Some(directive) = scope.one("resolver") else { return Ok(None) };
    let settings = settings(scope, directive, b)?;
    let known = b.store::<Resolvers>().0.iter().find(|(known, _)| *known == settings);
    if let Some((_, known)) = known {
        return Ok(Some(ResolverRef { timeout, ..known.clone() }));
    }
    let (counter, desk) = errands(ERRANDS_MAX);
    let kept = b.reserve(|_| Names::default());
    let made = ResolverRef { counter: Arc::new(counter), kept, timeout };
    b.store::<Resolvers>().0.push((settings.clone(), made.clone()));
    let settings = Arc::new(settings);
    b.worker(Box::new(move |log| Box::pin(dns::serve(settings.clone(), desk.clone(), log.clone()))));
    Ok(Some(made))
}

fn settings(scope: &Scope<'_>, line: &Directive, b: &Builder<'_>) -> Result<Settings, Diagnostic> {
    let mut settings = Settings { servers: Vec::new(), valid: None, ipv4: true, ipv6: true };
    for word in &line.args {
        let text = word.text.as_str();
        let invalid = || scope.error_at(line, word, format!("invalid parameter: {text}"));
        let flag = |flag: &str| match flag {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err(invalid()),
        };
        match text.split_once('=') {
            Some(("valid", time)) => {
                let seconds = value::time_s(time).ok_or_else(invalid)?;
                settings.valid = Some(seconds).filter(|s| *s > 0).map(Duration::from_secs);
            }
            Some(("ipv4", value)) => settings.ipv4 = flag(value)?,
            Some(("ipv6", value)) => settings.ipv6 = flag(value)?,
            Some(("status_zone", _)) => {
                let message = "parameter \"status_zone\" is not supported by Octroi (what name servers do is not counted yet)";
                return Err(scope.error_at(line, word, message));
            }
            _ => {
                let found = upstream::addresses(b, text, DNS_PORT);
                let found = found
                    .map_err(|what| scope.error_at(line, word, format!("{what} in resolver \"{text}\"")))?;
                for address in found {
                    match address {
                        Address::Ip(server) => settings.servers.push(server),
                        Address::Unix(_) => {
                            let message =
                                format!("a name server cannot be a Unix socket in resolver \"{text}\"");
                            return Err(scope.error_at(line, word, message));
                        }
                    }
                }
            }
        }
    }
    if !settings.ipv4 && !settings.ipv6 {
        return Err(scope.error(line, "\"ipv4\" and \"ipv6\" cannot both be \"off\""));
    }
    if settings.servers.is_empty() {
        return Err(scope.error(line, "no name servers defined"));
    }
    Ok(settings)
}

impl ResolverRef {
    /// The addresses of a host, each time another one first.
    ///
    /// # Errors
    /// The status to answer with; the reason is in the error log.
    pub async fn addresses(
        &self,
        x: &mut Exchange,
        host: &str,
        ignore_client_abort: bool,
    ) -> Result<Vec<IpAddr>, u16> {
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        if let Some(known) = x.locals.at(self.kept).known(&name) {
            return Ok(known);
        }
        match self.ask(x, &name, ignore_client_abort).await? {
            Ok(found) => {
                let addresses = found.addresses.to_vec();
                x.locals.at(self.kept).keep(&name, found);
                Ok(addresses)
            }
            Err(failure) => {
                let name = host.strip_suffix('.').unwrap_or(host);
                match failure {
                    Failure::Code(TIMED_OUT) => x.log(
                        Level::Error,
                        format_args!("{name} could not be resolved (110: Operation timed out)"),
                    ),
                    Failure::Code(code) => x.log(
                        Level::Error,
                        format_args!("{name} could not be resolved ({code}: {})", dns::code_text(code)),
                    ),
                    Failure::Busy => x.log(
                        Level::Error,
                        format_args!("{name} could not be resolved (too many names are being resolved)"),
                    ),
                }
                Err(502)
            }
        }
    }

    /// Asks the control plane, and watches the client when that takes its time.
    async fn ask(&self, x: &mut Exchange, name: &str, ignore_client_abort: bool) -> Result<Answer, u16> {
        const LATE: Answer = Err(Failure::Code(TIMED_OUT));
        const BUSY: Answer = Err(Failure::Busy);
        let Some(asked) = self.counter.ask(name.into()) else { return Ok(BUSY) };
        let now = clock::now();
        let deadline = now + self.timeout;
        let watch_from = now + Duration::from_millis(WATCH_CLIENT_AFTER_MS);
        let watched = !ignore_client_abort && !x.is_post_action;
        let client = if watched { x.source.watch() } else { None };
        let mut answer = pin!(asked.answer());
        if let Ok(answer) = x.alarm.within(deadline.min(watch_from), answer.as_mut()).await {
            return Ok(answer.unwrap_or(BUSY));
        }
        if let Some(client) = client {
            match x.alarm.within(deadline, first(answer.as_mut(), client.stirs())).await {
                Ok(First::Left(answer)) => return Ok(answer.unwrap_or(BUSY)),
                Ok(First::Right(())) if client.is_gone() => {
                    x.log(Level::Info, format_args!("client prematurely closed connection"));
                    x.keep_alive = false;
                    return Err(499);
                }
                // Data of the client's next request: it cannot be watched any more.
                Ok(First::Right(())) => {}
                Err(_) => return Ok(LATE),
            }
        }
        let answer = x.alarm.within(deadline, answer).await;
        Ok(answer.map_or(LATE, |answer| answer.unwrap_or(BUSY)))
    }
}

impl Names {
    fn known(&self, name: &str) -> Option<Vec<IpAddr>> {
        let all = self.0.borrow();
        let kept = all.get(name).filter(|kept| kept.found.until > clock::now())?;
        let mut addresses = kept.found.addresses.to_vec();
        let turn = kept.turn.get() % addresses.len().max(1);
        kept.turn.set(turn + 1);
        addresses.rotate_left(turn);
        Some(addresses)
    }

    fn keep(&self, name: &str, found: Found) {
        let mut all = self.0.borrow_mut();
        if all.len() >= KEPT_MAX {
            let now = clock::now();
            all.retain(|_, kept| kept.found.until > now);
        }
        if all.len() >= KEPT_MAX {
            // Nothing has run out: begin anew rather than look for the oldest each time.
            all.clear();
        }
        all.insert(name.into(), Kept { found, turn: Cell::new(1) });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::features::proxy;
    use crate::features::testing::{Bench, message};

    fn wrong(text: &str) -> String {
        let text = format!("http {{ server {{ listen 8080; {text} }} }}");
        message(Bench::new(&text, &[&upstream::FEATURE, &FEATURE]).plan())
    }

    #[test]
    fn one_worker_for_equal_lines() {
        let workers = |locations: &str| {
            let text = format!("http {{ resolver 127.0.0.1; server {{ listen 8080; {locations} }} }}");
            Bench::new(&text, &[&upstream::FEATURE, &FEATURE, &proxy::FEATURE]).plan().unwrap().workers.len()
        };
        // Nobody asks.
        assert_eq!(workers("resolver 127.0.0.2; resolver_timeout 5s;"), 0);
        assert_eq!(
            workers(
                "location /a { proxy_pass http://$1; }
                 location /b { resolver 127.0.0.1; resolver_timeout 5s; proxy_pass http://$1; }
                 location /c { resolver 127.0.0.1:5353 [::1] valid=10s ipv6=off; proxy_pass http://$1; }"
            ),
            2
        );
    }

    #[test]
    fn errors_are_nginxs() {
        for (text, want) in [
            ("resolver valid=5s;", "no name servers defined"),
            ("resolver 127.0.0.1 valid=x;", "invalid parameter: valid=x"),
            ("resolver 127.0.0.1 ipv6=maybe;", "invalid parameter: ipv6=maybe"),
            ("resolver 127.0.0.1 ipv4=off ipv6=off;", "\"ipv4\" and \"ipv6\" cannot both be \"off\""),
            ("resolver 127.0.0.1:0;", "invalid port in resolver \"127.0.0.1:0\""),
            ("resolver nowhere.invalid;", "host not found in resolver \"nowhere.invalid\""),
            (
                "resolver 127.0.0.1 status_zone=z;",
                "parameter \"status_zone\" is not supported by Octroi (what name servers do is not counted yet)",
            ),
        ] {
            assert_eq!(wrong(text), want, "{text}");
        }
    }

    #[test]
    fn what_was_told_is_kept_for_its_time() {
        let names = Names::default();
        let found = |seconds| Found {
            addresses: [1u8, 2].map(|n| IpAddr::from([127, 0, 0, n])).into(),
            until: clock::now() + Duration::from_secs(seconds),
        };
        names.keep("a", found(60));
        names.keep("b", found(0));
        let first = |name: &str| names.known(name).map(|all| all[0].to_string());
        // The one who asked got the first one.
        assert_eq!([first("a"), first("a")].map(Option::unwrap), ["127.0.0.2", "127.0.0.1"]);
        assert_eq!((first("b"), first("c")), (None, None));
        (0..KEPT_MAX * 2).for_each(|n| names.keep(&n.to_string(), found(60)));
        assert!(names.0.borrow().len() <= KEPT_MAX);
    }
}
