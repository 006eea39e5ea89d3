//! `limit_req`: nginx's leaky bucket, per key.

use super::lines::{self, Limit};
use super::zone::{self, Counted, Declared};
use super::{Names, Refusal};
use crate::base::process_settings::Level;
use crate::bridge::bucket::{BURST_MAX, Level as Bucket};
use crate::bridge::zone::ZoneKind;
use crate::bridge::zone::table::Fingerprint;
use crate::conf::{Diagnostic, Directive, Scope, Word, value};
use crate::pipeline::answer::Answer;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::limits::{LimitStatus, When, ZoneHere};
use crate::pipeline::step::{Flow, QuickStep};
use crate::pipeline::variable::VariableSpec;
use crate::plan::builder::Builder;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const NAMES: Names = ["limit_req_log_level", "limit_req_status", "limit_req_dry_run"];

/// Bytes of a key, at most; nginx's bound.
const KEY_BYTES_MAX: usize = 65_535;

pub(super) const VARIABLES: &[VariableSpec] = &[VariableSpec {
    name: "limit_req_status",
    family: false,
    eval: |x, _, out| match x.limits.requests.status() {
        Some(status) => {
            out.extend_from_slice(status.text().as_bytes());
            true
        }
        None => false,
    },
    doc: "What limit_req made of the request: PASSED, DELAYED, REJECTED, DELAYED_DRY_RUN or REJECTED_DRY_RUN.",
}];

/// The limits of one location that are asked at one time.
struct LimitRequests {
    limits: Vec<Rate>,
    when: When,
    refusal: Refusal,
    delay_level: Level,
}

/// One `limit_req`.
struct Rate {
    zone: Arc<Counted>,
    /// Excess that is let in, thousandths.
    burst: u64,
    /// Excess that is let in without delay.
    delay: u64,
}

/// A request that has passed a limit and is still to be counted there.
struct Passed {
    limit: usize,
    key: Fingerprint,
    rate: u64,
}

pub(super) fn http(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    for line in scope.here("limit_req_zone") {
        Declared::add(scope, line, ZoneKind::Rate, b, |word, b| rate(scope, line, word, b))?;
    }
    let _: Vec<Rate> = lines::all(scope, b)?;
    Refusal::compile(scope, NAMES).map(drop)
}

/// `rate=10r/s`, `rate=30r/m`, `rate=$variable`.
fn rate(
    scope: &Scope<'_>,
    line: &Directive,
    word: &Word,
    b: &mut Builder<'_>,
) -> Result<Option<zone::Rate>, Diagnostic> {
    let Some(text) = word.text.strip_prefix("rate=") else { return Ok(None) };
    if text.contains('$') {
        return Ok(Some(zone::Rate::Told(b.template_of(text, word)?)));
    }
    let invalid = || scope.error_at(line, word, format!("invalid rate \"{}\"", word.text));
    value::rate(text).ok_or_else(invalid).map(|rate| Some(zone::Rate::Fixed(rate)))
}

pub(super) fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let refusal = Refusal::compile(scope, NAMES)?;
    let all: Vec<Rate> = lines::all(scope, b)?;
    if let [only] = all.as_slice() {
        only.zone.note_use((only.delay == u64::MAX).then_some(only.burst / 1000));
    } else {
        all.iter().for_each(|limit| limit.zone.note_use(None));
    }
    let delay_level = match refusal.level {
        Level::Error => Level::Warn,
        Level::Warn => Level::Notice,
        _ => Level::Info,
    };
    lines::add_steps(all, b, |limits, when| LimitRequests { limits, when, refusal, delay_level });
    Ok(())
}

impl Limit for Rate {
    const DIRECTIVE: &'static str = "limit_req";

    fn read(scope: &Scope<'_>, line: &Directive, b: &mut Builder<'_>) -> Result<Rate, Diagnostic> {
        let mut zone = None;
        let (mut burst, mut delay) = (0, 0);
        for word in &line.args {
            let text = word.text.as_str();
            let invalid = |what: &str| scope.error_at(line, word, format!("invalid {what} \"{text}\""));
            let number = |digits: &str| value::number(digits).filter(|&number| number > 0);
            if let Some(name) = text.strip_prefix("zone=") {
                if name.is_empty() {
                    return Err(scope.error(line, "zero size shared memory zone \"\""));
                }
                zone = Some(name);
            } else if let Some(digits) = text.strip_prefix("burst=") {
                burst = number(digits).ok_or_else(|| invalid("burst value"))?;
                if burst > BURST_MAX {
                    let message = format!("\"{text}\" is more than a zone can count, which is {BURST_MAX}");
                    return Err(scope.error_at(line, word, message));
                }
            } else if let Some(digits) = text.strip_prefix("delay=") {
                delay = number(digits).ok_or_else(|| invalid("delay value"))?.saturating_mul(1000);
            } else if text == "nodelay" {
                delay = u64::MAX;
            } else {
                return Err(invalid("parameter"));
            }
        }
        let Some(name) = zone else {
            return Err(scope.error(line, "\"limit_req\" must have \"zone\" parameter"));
        };
        let zone = Declared::find(scope, line, name, ZoneKind::Rate, b)?;
        Ok(Rate { zone, burst: burst * 1000, delay })
    }

    fn zone(&self) -> &Counted {
        &self.zone
    }
}

impl QuickStep for LimitRequests {
    fn run(&self, x: &mut Exchange) -> Flow {
        if x.limits.requests.at(self.when).is_some() {
            return Flow::Next;
        }
        lines::with_key(x, |x, key| self.ask(x, key))
    }
}

impl LimitRequests {
    /// Asks one limit after the other. All but the last count the request only when all let it in.
    fn ask(&self, x: &mut Exchange, key: &mut Vec<u8>) -> Flow {
        let mut passed: Vec<Passed> = Vec::new();
        // The limit that was asked last, and its excess.
        let mut last = None;
        for (number, limit) in self.limits.iter().enumerate() {
            if !limit.zone.write_key(x, KEY_BYTES_MAX, key) {
                continue;
            }
            let locals = x.locals.clone();
            let here = locals.at(limit.zone.slot);
            let key = here.zone.table.fingerprint(key);
            let counts = number + 1 == self.limits.len();
            let rate = match limit.zone.rate.of(x) {
                Ok(Some(rate)) => rate,
                Ok(None) => continue,
                Err(text) => {
                    // A limit that cannot be told from none must not be none.
                    let zone = &limit.zone.name;
                    x.log(Level::Error, format_args!("invalid rate \"{text}\" of zone \"{zone}\""));
                    return self.refuse(x, limit, 0);
                }
            };
            let verdict = if counts { limit.count(here, key, rate) } else { limit.look(here, key, rate) };
            match verdict {
                Ok(excess) => last = Some((limit, if counts { excess } else { 0 }, rate)),
                Err(excess) => return self.refuse(x, limit, excess),
            }
            if !counts {
                passed.push(Passed { limit: number, key, rate });
            }
        }
        let Some((mut limit, mut excess, rate)) = last else { return Flow::Next };
        let mut delay_ms = limit.delay_ms(excess, rate);
        for Passed { limit: number, key, rate } in passed.iter().rev() {
            let Some(earlier) = self.limits.get(*number) else { continue };
            let locals = x.locals.clone();
            let found = earlier.add(locals.at(earlier.zone.slot), *key, *rate);
            if earlier.delay_ms(found, *rate) > delay_ms {
                (limit, excess, delay_ms) = (earlier, found, earlier.delay_ms(found, *rate));
            }
        }
        self.admit(x, limit, excess, delay_ms)
    }

    fn refuse(&self, x: &mut Exchange, limit: &Rate, excess: u64) -> Flow {
        let Refusal { level, status, dry_run } = self.refusal;
        x.log(
            level,
            format_args!(
                "limiting requests{}, excess: {} by zone \"{}\"",
                if dry_run { ", dry run" } else { "" },
                Thousandths(excess),
                limit.zone.name
            ),
        );
        if dry_run {
            x.limits.requests.set(self.when, LimitStatus::RejectedDryRun);
            return Flow::Next;
        }
        x.limits.requests.set(self.when, LimitStatus::Rejected);
        Flow::Answer(Answer::Status(status))
    }

    fn admit(&self, x: &mut Exchange, limit: &Rate, excess: u64, delay_ms: u64) -> Flow {
        if delay_ms == 0 {
            x.limits.requests.set(self.when, LimitStatus::Passed);
            return Flow::Next;
        }
        let dry_run = self.refusal.dry_run;
        x.log(
            self.delay_level,
            format_args!(
                "delaying request{}, excess: {}, by zone \"{}\"",
                if dry_run { ", dry run" } else { "" },
                Thousandths(excess),
                limit.zone.name
            ),
        );
        if dry_run {
            x.limits.requests.set(self.when, LimitStatus::DelayedDryRun);
            return Flow::Next;
        }
        x.limits.requests.set(self.when, LimitStatus::Delayed);
        // Bounded by burst / rate: what exceeds the burst was refused.
        Flow::Pause(Duration::from_millis(delay_ms))
    }
}

impl Rate {
    /// Counts a request that the limit lets in. The excess; `Err` with it when it is too much.
    fn count(&self, here: &Rc<ZoneHere>, key: Fingerprint, rate: u64) -> Result<u64, u64> {
        if let Some(leases) = &here.leases {
            return leases.borrow_mut().take(&here.zone.table, key, here.zone.now_ms()).map(|_| 0);
        }
        let now = here.zone.now_ms();
        let mut excess = 0;
        here.zone.table.update(key, |word| {
            let level = Bucket::with_one_more(word, now, rate);
            excess = level.excess;
            (excess <= self.burst).then(|| level.word())
        });
        if excess <= self.burst { Ok(excess) } else { Err(excess) }
    }

    /// The same without counting it.
    fn look(&self, here: &Rc<ZoneHere>, key: Fingerprint, rate: u64) -> Result<u64, u64> {
        let word = here.zone.table.word(key);
        let excess = Bucket::with_one_more(word, here.zone.now_ms(), rate).excess;
        if excess <= self.burst { Ok(excess) } else { Err(excess) }
    }

    /// Counts a request that was let in.
    fn add(&self, here: &Rc<ZoneHere>, key: Fingerprint, rate: u64) -> u64 {
        let now = here.zone.now_ms();
        let mut excess = 0;
        here.zone.table.update(key, |word| {
            let level = Bucket::with_one_more(word, now, rate);
            excess = level.excess;
            Some(level.word())
        });
        excess
    }

    /// How long a request with this excess waits.
    fn delay_ms(&self, excess: u64, rate: u64) -> u64 {
        excess.saturating_sub(self.delay).saturating_mul(1000) / rate.max(1)
    }
}

/// Thousandths as nginx shows them: `0.500`.
pub struct Thousandths(pub u64);

impl std::fmt::Display for Thousandths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::features::limits::REQUESTS;
    use crate::features::testing::{Bench, message};
    use crate::features::{auth_request, rewrite};
    use crate::pipeline::step::Phase;

    const ZONE: &str = "limit_req_zone $uri zone=z:64k rate=10r/s; limit_req_zone x zone=y:64k rate=1r/m;";

    fn wrong(text: &str) -> String {
        message(
            Bench::new(&format!("http {{ {text} }}"), &[&crate::features::variables::FEATURE, &REQUESTS])
                .plan(),
        )
    }

    #[test]
    fn errors_are_nginxs() {
        for (text, want) in [
            ("limit_req_zone x zone=z rate=1r/s;", "invalid zone size \"zone=z\""),
            ("limit_req_zone x zone=z:1x rate=1r/s;", "invalid zone size \"zone=z:1x\""),
            ("limit_req_zone x zone=z:8k rate=1r/s;", "zone \"zone=z:8k\" is too small"),
            ("limit_req_zone x zone=z:64k rate=0r/s;", "invalid rate \"rate=0r/s\""),
            ("limit_req_zone x zone=z:64k rate=1r/h;", "invalid rate \"rate=1r/h\""),
            ("limit_req_zone x zone=z:64k sync;", "invalid parameter \"sync\""),
            ("limit_req_zone x rate=1r/s rate=2r/s;", "\"limit_req_zone\" must have \"zone\" parameter"),
            ("limit_req_zone x zone=z:64k rate=5;", "no error"),
            ("limit_req_zone x zone=z:64k rate=$uri;", "no error"),
            ("limit_req_zone x zone=z:64k rate=$nowhere; server { }", "unknown \"nowhere\" variable"),
            ("limit_req zone=none;", "zero size shared memory zone \"none\""),
            ("limit_req zone=z burst=0;", "invalid burst value \"burst=0\""),
            ("limit_req zone=z delay=x;", "invalid delay value \"delay=x\""),
            ("limit_req zone=z later;", "invalid parameter \"later\""),
            ("limit_req burst=1;", "\"limit_req\" must have \"zone\" parameter"),
            ("limit_req zone=z; limit_req zone=z;", "\"limit_req\" directive is duplicate"),
            (
                "limit_req zone=z burst=268000;",
                "\"burst=268000\" is more than a zone can count, which is 267435",
            ),
            ("limit_req_status 399;", "value must be between 400 and 599"),
            ("limit_req_status 600;", "value must be between 400 and 599"),
            ("limit_req_log_level crit;", "invalid value \"crit\""),
            (
                "limit_req_zone y zone=z:64k rate=1r/s;",
                "limit_req_zone \"z\" is already bound to key \"$uri\"",
            ),
            (
                "limit_req_zone y zone=z:32k rate=1r/s;",
                "the size 32768 of shared memory zone \"z\" conflicts with already declared size 65536",
            ),
        ] {
            let zones = if text.starts_with("limit_req_zone x") { "" } else { ZONE };
            assert_eq!(wrong(&format!("{zones} {text}")), want, "{text}");
        }
    }

    #[test]
    fn a_key_known_late_is_counted_late() {
        let text = format!(
            "http {{ {ZONE} limit_req_zone $who zone=late:64k rate=1r/s;
               server {{ limit_req zone=z; limit_req zone=late;
                 location /asked {{ auth_request /a; auth_request_set $who $upstream_http_who; }}
                 location /given {{ set $who me; }} }} }}"
        );
        let features =
            [&crate::features::variables::FEATURE, &rewrite::FEATURE, &auth_request::FEATURE, &REQUESTS];
        let bench = Bench::new(&text, &features);
        let steps = |name: &str| {
            bench.exchange(name, |x| {
                [Phase::PreAccess, Phase::Admit].map(|phase| x.here.settings.steps(phase).len())
            })
        };
        assert_eq!((steps("/asked"), steps("/given")), ([1, 1], [1, 0]));
    }
}
