//! The step that weighs a request by the plan of its caller.

use super::compile::{self, Plan, Plans, Rate, Tables};
use super::quota::{self, Quotas};
use super::told::Told;
use crate::base::process_settings::Level;
use crate::bridge::bucket::Level as Bucket;
use crate::conf::{Diagnostic, Scope};
use crate::features::limits::Thousandths;
use crate::pipeline::answer::Answer;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::limits::{Full, Held, Left, PlanSaid, PlanVerdict, ZoneHere};
use crate::pipeline::problem::Problem;
use crate::pipeline::step::{Flow, Phase, QuickStep};
use crate::plan::builder::Builder;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

/// The status of what exceeds a plan (RFC 6585, 4).
const TOO_MANY_REQUESTS: u16 = 429;

/// The status of what nobody knows to be within its quota.
const UNAVAILABLE: u16 = 503;

/// Seconds after which a caller may try again that has too many requests under way: nobody knows when
/// one of them will end.
const BUSY_RETRY_S: u64 = 1;

/// What the keys of consumers begin with.
const CONSUMER: &[u8] = b"consumer:";

/// What the keys of subjects of tokens begin with.
const SUBJECT: &[u8] = b"subject:";

/// Holds requests to the plans of their callers.
struct EnforcePlan(Arc<Plans>);

/// Who a request is counted as.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// Somebody who is known.
    Known,
    /// An address.
    Stranger,
}

pub(super) fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    if !scope.flag("enforce_plan", false)? {
        return Ok(());
    }
    match (compile::all(b), scope.one("enforce_plan")) {
        (Some(plans), _) => {
            b.gateway();
            b.quick(Phase::Admit, EnforcePlan(plans.clone()));
            b.header_filter(Told(plans));
            Ok(())
        }
        (None, Some(line)) => Err(scope.error(line, "\"enforce_plan\" is on, and there is no plan")),
        (None, None) => Ok(()),
    }
}

impl QuickStep for EnforcePlan {
    fn run(&self, x: &mut Exchange) -> Flow {
        // A client's request is weighed, once: not what the gateway asks itself for it, nor again behind
        // a relocation.
        if x.depth > 0 || x.is_post_action || x.limits.plan.plan.is_some() {
            return Flow::Next;
        }
        let Some((number, plan)) = plan_of(&self.0, x) else { return Flow::Next };
        let mut key = std::mem::take(&mut x.scratch);
        key.clear();
        let whose = write_key(x, &mut key);
        let mut said = PlanSaid { plan: Some(number), ..PlanSaid::default() };
        weigh(plan, self.0.quotas(), whose, &key, x, &mut said);
        key.clear();
        x.scratch = key;
        x.limits.plan = said;
        if said.verdict == PlanVerdict::Passed {
            return Flow::Next;
        }
        super::told::tell(plan, x);
        let is_known = said.verdict != PlanVerdict::Unknown;
        x.problem = Some(Box::new(Problem::new(match said.verdict {
            PlanVerdict::Concurrency => "too many requests of this caller are under way",
            PlanVerdict::Quota => "the quota of this caller is used up",
            PlanVerdict::Unknown => "what is left of this caller's quota is not known at the moment",
            PlanVerdict::Rate | PlanVerdict::Passed => "the requests of this caller come too fast",
        })));
        Flow::Answer(Answer::Status(if is_known { TOO_MANY_REQUESTS } else { UNAVAILABLE }))
    }
}

/// The plan that a request is weighed by, and its number.
pub(super) fn plan_of<'p>(plans: &'p Plans, x: &Exchange) -> Option<(u16, &'p Plan)> {
    let number = x.caller.plan().or(plans.for_others())?;
    Some((number, plans.at(number)?))
}

/// Writes what the caller is counted by: its name, or else the subject of its token with who vouches for
/// it, or else its address.
pub(super) fn write_key(x: &Exchange, key: &mut Vec<u8>) -> Whose {
    if let Some(name) = x.caller.consumer() {
        key.extend_from_slice(CONSUMER);
        key.extend_from_slice(name);
        return Whose::Known;
    }
    if let Some(subject) = x.caller.subject() {
        let issuer = x.caller.issuer().unwrap_or_default();
        key.extend_from_slice(SUBJECT);
        // The length parts the two, whatever is in them.
        key.extend_from_slice(issuer.len().to_string().as_bytes());
        key.push(b':');
        key.extend_from_slice(issuer);
        key.extend_from_slice(subject);
        return Whose::Known;
    }
    match x.peer().map(|peer| peer.ip().to_canonical()) {
        Some(IpAddr::V4(ip)) => key.extend_from_slice(&ip.octets()),
        // Whoever has one address of a /64 has all of them (RFC 6177).
        Some(IpAddr::V6(ip)) => key.extend(ip.octets().into_iter().take(8)),
        // Who comes by a Unix socket has no address: these are one.
        None => key.extend_from_slice(b"unix:"),
    }
    Whose::Stranger
}

/// Weighs a request, and counts it where it is let in. One that is refused counts nowhere.
fn weigh(
    plan: &Plan,
    quotas: Option<Quotas>,
    whose: Whose,
    key: &[u8],
    x: &mut Exchange,
    said: &mut PlanSaid,
) {
    let tables = tables(plan, whose);
    let locals = x.locals.clone();
    let mut held = None;
    if let (Some(max), Some(slot)) = (plan.concurrency, tables.concurrency) {
        let here = locals.at(slot);
        match Held::take(here, here.zone.table.fingerprint(key), max) {
            Ok(Some(taken)) => {
                said.concurrency = Some(max.saturating_sub(taken.before() + 1));
                held = Some(taken);
            }
            Ok(None) => {
                (said.concurrency, said.verdict) = (Some(0), PlanVerdict::Concurrency);
                said.retry_after_s = Some(BUSY_RETRY_S);
                x.log(Level::Error, format_args!("limiting requests under way by plan \"{}\"", plan.name));
                return;
            }
            // Every place is a caller's with requests under way. Who is new is let in: the plan limits
            // callers, not their number.
            Err(Full) => x.log(
                Level::Error,
                format_args!("more callers than the plan \"{}\" can count the requests of", plan.name),
            ),
        }
    }
    if let (Some(rate), Some(slot)) = (&plan.rate, tables.rate) {
        let taken = take(rate, locals.at(slot), key);
        said.rate = Some(taken.left);
        if let Some(wait) = taken.refused {
            (said.verdict, said.retry_after_s) = (PlanVerdict::Rate, Some(wait));
            let excess = Thousandths(taken.excess);
            x.log(
                Level::Error,
                format_args!("limiting requests, excess: {excess} by plan \"{}\"", plan.name),
            );
            return;
        }
    }
    if let (Some(quotas), false) = (quotas, plan.quotas.is_empty())
        && !quota::take(plan, quotas, whose, key, x, said)
    {
        // While the store is away that is said once, by who keeps the counts.
        if said.verdict == PlanVerdict::Quota {
            x.log(Level::Error, format_args!("limiting requests by a quota of plan \"{}\"", plan.name));
        }
        return;
    }
    x.limits.held.extend(held);
}

/// What is left for a request that is not counted.
pub(super) fn look(
    plan: &Plan,
    quotas: Option<Quotas>,
    whose: Whose,
    key: &[u8],
    x: &Exchange,
    said: &mut PlanSaid,
) {
    let tables = tables(plan, whose);
    if let (Some(max), Some(slot)) = (plan.concurrency, tables.concurrency) {
        let table = &x.locals.at(slot).zone.table;
        let under_way = table.word(table.fingerprint(key)).unwrap_or(0);
        said.concurrency = Some(max.saturating_sub(under_way));
    }
    if let (Some(rate), Some(slot)) = (&plan.rate, tables.rate) {
        let here = x.locals.at(slot);
        let word = here.zone.table.word(here.zone.table.fingerprint(key));
        let excess = Bucket::with_one_more(word, here.zone.now_ms(), rate.per_second).excess;
        let left = if excess <= rate.excess_max { (rate.excess_max - excess) / 1000 + 1 } else { 0 };
        said.rate = Some(rate.left(left, excess));
    }
    if let (Some(quotas), false) = (quotas, plan.quotas.is_empty()) {
        quota::look(plan, quotas, whose, key, x, said);
        // It is not this request that is refused.
        (said.verdict, said.retry_after_s) = (PlanVerdict::Passed, None);
    }
}

fn tables(plan: &Plan, whose: Whose) -> Tables {
    match whose {
        Whose::Known => plan.known,
        Whose::Stranger => plan.strangers,
    }
}

/// What became of a request at its rate.
struct Taken {
    left: Left,
    excess: u64,
    /// Seconds to wait for one that was refused.
    refused: Option<u64>,
}

/// Counts a request at its rate: in the shard's lease, or else in the bucket of all shards.
fn take(rate: &Rate, here: &Rc<ZoneHere>, key: &[u8]) -> Taken {
    let table = &here.zone.table;
    let (key, now) = (table.fingerprint(key), here.zone.now_ms());
    if let Some(leases) = &here.leases {
        let mut leases = leases.borrow_mut();
        return match leases.take(table, key, now) {
            Ok(left) => Taken { left: rate.left(left, 0), excess: 0, refused: None },
            Err(excess) => rate.refused(excess, leases.beyond(excess)),
        };
    }
    let mut excess = 0;
    table.update(key, |word| {
        let level = Bucket::with_one_more(word, now, rate.per_second);
        excess = level.excess;
        (excess <= rate.excess_max).then(|| level.word())
    });
    match rate.excess_max.checked_sub(excess) {
        Some(room) => Taken { left: rate.left(room / 1000, excess + 1000), excess, refused: None },
        None => rate.refused(excess, excess - rate.excess_max),
    }
}

impl Rate {
    /// What is told to be left: no more than one unit's requests, since that is what the policy names.
    fn left(&self, requests: u64, excess: u64) -> Left {
        Left { requests: requests.min(self.unit.0), reset_s: self.seconds_for(excess) }
    }

    fn refused(&self, excess: u64, beyond: u64) -> Taken {
        let left = Left { requests: 0, reset_s: self.seconds_for(excess) };
        Taken { left, excess, refused: Some(self.seconds_for(beyond)) }
    }

    /// Whole seconds in which so many thousandths flow off, one at least.
    fn seconds_for(&self, thousandths: u64) -> u64 {
        thousandths.div_ceil(self.per_second.max(1)).max(1)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::features::plans::{ENFORCED, PLANS};
    use crate::features::testing::Bench;
    use crate::features::{consumer, variables};
    use crate::pipeline::caller::{AuthMethod, Consumer};

    /// What a plan says to so many requests of each of these callers in turn.
    fn weighed(plans: &str, callers: &[&dyn Fn(&mut Exchange)]) -> Vec<String> {
        let text = format!("http {{ {plans} server {{ location / {{ enforce_plan on; }} }} }}");
        let bench = Bench::new(&text, &[&variables::FEATURE, &consumer::FEATURE, &PLANS, &ENFORCED]);
        bench.exchange("/", |x| {
            let here = x.here.clone();
            let step = here.settings.steps(Phase::Admit).first().unwrap();
            let mut said = Vec::new();
            for caller in callers {
                x.limits.clear();
                x.caller.clear();
                caller(x);
                let crate::pipeline::step::Step::Quick(step) = step else { panic!("a quick step") };
                let passed = matches!(step.run(x), Flow::Next);
                let number = x.limits.plan.plan;
                said.push(format!("{} {passed}", number.map_or("-".to_owned(), |number| number.to_string())));
                assert_eq!(passed, x.limits.plan.verdict == PlanVerdict::Passed);
            }
            said
        })
    }

    #[test]
    fn callers_are_weighed_by_their_plans_and_one_by_one() {
        let bench = Bench::new(
            "http { consumer a { plan gold; } consumer b { } plan gold { rate 1r/m; } server { } }",
            &[&variables::FEATURE, &consumer::FEATURE, &PLANS, &ENFORCED],
        );
        let all: Vec<Consumer> = bench.http(|b, _| b.store::<consumer::Consumers>().all().to_vec()).unwrap();
        let a = |x: &mut Exchange| x.caller.identify(AuthMethod::ApiKey, Some(&all[0])).unwrap();
        let b = |x: &mut Exchange| x.caller.identify(AuthMethod::ApiKey, Some(&all[1])).unwrap();
        let subject = |issuer: &'static str, subject: &'static str| {
            move |x: &mut Exchange| {
                x.caller.identify(AuthMethod::Jwt, None).unwrap();
                x.caller.note_token(issuer.as_bytes(), subject.as_bytes());
            }
        };
        let (one, two, mixed) = (subject("i", "one"), subject("i", "two"), subject("io", "ne"));
        let nobody = |_: &mut Exchange| ();
        let nameless = |x: &mut Exchange| x.caller.identify(AuthMethod::Basic, None).unwrap();
        let said = weighed(
            "consumer a { plan gold; } plan gold { rate 1r/m; } plan free { rate 1r/m; } plan_default free;",
            &[&a, &a, &b, &b, &one, &one, &two, &mixed, &nobody, &nobody, &nameless],
        );
        assert_eq!(
            said,
            [
                "0 true", "0 false", "1 true", "1 false", "1 true", "1 false", "1 true", "1 true", "1 true",
                "1 false", "1 false"
            ]
        );
        // Without a plan there is no limit.
        let said = weighed("consumer a { plan gold; } plan gold { rate 1r/m; }", &[&a, &a, &b, &b, &nobody]);
        assert_eq!(said, ["0 true", "0 false", "- true", "- true", "- true"]);
    }
}
