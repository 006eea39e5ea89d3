//! From `plan` blocks to what a request is weighed with.

use super::quota::{self, Quota, Quotas};
use super::told;
use crate::bridge::bucket::BURST_MAX;
use crate::bridge::lease::{LEASE_RATE_MIN, Leases};
use crate::bridge::zone::{Zone, ZoneKind, ZoneSpec};
use crate::conf::{Context, Diagnostic, Directive, Scope, value};
use crate::features::consumer::{PlanNames, is_name};
use crate::pipeline::limits::ZoneHere;
use crate::pipeline::local::Slot;
use crate::plan::builder::Builder;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// Bytes of the table of a limit of a plan, at most: 16 MB are 700,000 callers. It takes memory as they
/// come; when it is full, who was not seen for the longest time is forgotten.
const TABLE_BYTES: u64 = 16 << 20;

/// Plans of a configuration, at most: their numbers are kept in 16 bits.
const PLANS_MAX: usize = u16::MAX as usize;

/// All plans of a configuration.
#[derive(Default)]
pub(super) struct Plans {
    /// By their numbers, which consumers refer to.
    list: Vec<Option<Plan>>,
    /// The number of the one for who has none.
    default: Option<u16>,
    /// What their quotas have in common.
    quotas: Option<Quotas>,
}

/// What a kind of caller may do.
pub(super) struct Plan {
    pub(super) name: Box<str>,
    pub(super) rate: Option<Rate>,
    /// Requests under way at once.
    pub(super) concurrency: Option<u64>,
    /// Requests in windows of the calendar, the shortest first.
    pub(super) quotas: Vec<Quota>,
    /// The value of `RateLimit-Policy`.
    pub(super) policy: Box<[u8]>,
    /// Where callers are counted that are known.
    pub(super) known: Tables,
    /// Where the others are, by their addresses: a flood of these makes none of those forgotten.
    pub(super) strangers: Tables,
}

/// How many requests may come in a time.
#[derive(Clone)]
pub(super) struct Rate {
    /// As it is written.
    pub(super) text: Box<str>,
    /// Thousandths of a request a second.
    pub(super) per_second: u64,
    /// Requests in each unit, and how long that is, seconds.
    pub(super) unit: (u64, u64),
    /// Excess that is let in, thousandths.
    pub(super) excess_max: u64,
    /// Requests that may come at once besides, as written.
    burst: u64,
}

/// The tables of a plan, as a shard has them.
#[derive(Clone, Copy, Default)]
pub(super) struct Tables {
    pub(super) rate: Option<Slot<Rc<ZoneHere>>>,
    pub(super) concurrency: Option<Slot<Rc<ZoneHere>>>,
}

/// The plans, once they are compiled; the builder's store holds them.
#[derive(Default)]
struct Compiled(Option<Arc<Plans>>);

impl Plans {
    /// The plan of this number.
    pub(super) fn at(&self, number: u16) -> Option<&Plan> {
        self.list.get(usize::from(number))?.as_ref()
    }

    /// The number of the plan for who has none.
    pub(super) fn for_others(&self) -> Option<u16> {
        self.default
    }

    /// What their quotas have in common, if there are any.
    pub(super) fn quotas(&self) -> Option<Quotas> {
        self.quotas
    }
}

pub(super) fn http(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let mut plans = Plans::default();
    for block in scope.here("plan") {
        let plan = plan(&scope.child(block, Context::PLAN), block, b)?;
        let Some(number) = number(block, b) else { continue };
        if number >= PLANS_MAX {
            return Err(scope.error(block, format!("more than {PLANS_MAX} plans")));
        }
        if plans.list.len() <= number {
            plans.list.resize_with(number + 1, || None);
        }
        match plans.list.get_mut(number) {
            Some(place @ None) => *place = Some(plan),
            _ => return Err(scope.error(block, format!("duplicate plan \"{}\"", plan.name))),
        }
    }
    let has_quotas = plans.list.iter().flatten().any(|plan| !plan.quotas.is_empty());
    plans.quotas = quota::of_all(scope, has_quotas, b)?;
    let default = scope.one("plan_default").and_then(|line| number(line, b));
    plans.default = default.and_then(|number| u16::try_from(number).ok());
    let names = b.store::<PlanNames>().all();
    let is_unknown = |number: &usize| !matches!(plans.list.get(*number), Some(Some(_)));
    if let Some((name, word)) = (0..names.len()).find(is_unknown).and_then(|number| names.get(number)) {
        return Err(scope.error(word, format!("unknown plan \"{name}\"")));
    }
    if !plans.list.is_empty() {
        b.store::<Compiled>().0 = Some(Arc::new(plans));
    }
    Ok(())
}

/// The number of the plan that a directive's first word names.
fn number(line: &Directive, b: &mut Builder<'_>) -> Option<usize> {
    line.args.first().map(|word| b.store::<PlanNames>().number(word))
}

/// What variables need to know of the plans is known everywhere.
pub(super) fn location(_: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    if let Some(plans) = all(b) {
        b.attach(plans);
    }
    Ok(())
}

/// All plans, if there are any.
pub(super) fn all(b: &mut Builder<'_>) -> Option<Arc<Plans>> {
    b.store::<Compiled>().0.clone()
}

fn plan(scope: &Scope<'_>, block: &Directive, b: &mut Builder<'_>) -> Result<Plan, Diagnostic> {
    let Some(name) = block.args.first() else {
        return Err(scope.error(block, "invalid number of arguments in \"plan\" directive"));
    };
    if !is_name(name.text.as_bytes()) {
        return Err(scope.error_at(block, name, format!("invalid plan name \"{}\"", name.text)));
    }
    let rate = scope.one("rate").map(|line| rate(scope, line)).transpose()?;
    let concurrency = scope.one("concurrency").map(|line| concurrency(scope, line)).transpose()?;
    let mut plan = Plan {
        name: name.text.as_str().into(),
        rate,
        concurrency,
        quotas: quota::of_plan(scope, &name.text, block, b)?,
        policy: Box::default(),
        known: Tables::default(),
        strangers: Tables::default(),
    };
    plan.policy = told::policy(&plan).into();
    plan.known = tables(&plan, "", scope, block, b)?;
    plan.strangers = tables(&plan, ":address", scope, block, b)?;
    Ok(plan)
}

fn rate(scope: &Scope<'_>, line: &Directive) -> Result<Rate, Diagnostic> {
    let Some((word, words)) = line.args.split_first() else {
        return Err(scope.error(line, "invalid number of arguments in \"rate\" directive"));
    };
    let text = word.text.as_str();
    let invalid = || scope.error_at(line, word, format!("invalid rate \"{text}\""));
    let per_second = value::rate(text).ok_or_else(invalid)?;
    let (digits, seconds) = match text.strip_suffix("r/m") {
        Some(digits) => (digits, 60),
        None => (text.strip_suffix("r/s").unwrap_or(text), 1),
    };
    let number = value::number(digits).ok_or_else(invalid)?;
    let mut burst = 0;
    for word in words {
        let text = word.text.as_str();
        let Some(digits) = text.strip_prefix("burst=") else {
            return Err(scope.error_at(line, word, format!("invalid parameter \"{text}\"")));
        };
        burst = value::number(digits)
            .filter(|&burst| burst > 0)
            .ok_or_else(|| scope.error_at(line, word, format!("invalid burst value \"{text}\"")))?;
        if burst > BURST_MAX {
            let message = format!("\"{text}\" is more than a plan can count, which is {BURST_MAX}");
            return Err(scope.error_at(line, word, message));
        }
    }
    // nginx's bucket lets the first request in on top of the burst. Fast rates are held to the letter,
    // so that it makes no difference whether shards lease.
    let above = if per_second >= LEASE_RATE_MIN { burst.max(1) - 1 } else { burst };
    Ok(Rate { text: text.into(), per_second, unit: (number, seconds), excess_max: above * 1000, burst })
}

fn concurrency(scope: &Scope<'_>, line: &Directive) -> Result<u64, Diagnostic> {
    let Some(word) = line.args.first() else {
        return Err(scope.error(line, "invalid number of arguments in \"concurrency\" directive"));
    };
    value::number(&word.text)
        .filter(|&number| number > 0)
        .ok_or_else(|| scope.error_at(line, word, format!("invalid number \"{}\"", word.text)))
}

/// Asks for the tables of a plan.
fn tables(
    plan: &Plan,
    whose: &str,
    scope: &Scope<'_>,
    block: &Directive,
    b: &mut Builder<'_>,
) -> Result<Tables, Diagnostic> {
    let mut table = |what: &str, kind, leased| {
        table(&plan.name, &format!("{what}{whose}"), kind, leased, scope, block, b)
    };
    let leased = plan.rate.as_ref().map(|rate| (rate.per_second, rate.burst));
    let rate = leased.map(|leased| table("rate", ZoneKind::Rate, Some(leased))).transpose()?;
    let concurrency = plan.concurrency.map(|_| table("concurrency", ZoneKind::Count, None)).transpose()?;
    Ok(Tables { rate, concurrency })
}

/// Asks for a table, of which shards may lease at a rate with a burst. Its name is none that a `zone=` can
/// have, which ends at a colon.
pub(super) fn table(
    plan: &str,
    what: &str,
    kind: ZoneKind,
    leased: Option<(u64, u64)>,
    scope: &Scope<'_>,
    block: &Directive,
    b: &mut Builder<'_>,
) -> Result<Slot<Rc<ZoneHere>>, Diagnostic> {
    let name = format!("plan:{plan}:{what}");
    let spec = ZoneSpec { name, kind, size: TABLE_BYTES, key: "caller".to_owned() };
    b.zone(spec.clone(), "plan").map_err(|message| scope.error(block, message))?;
    Ok(b.reserve(move |facts| {
        let zone = facts.zones.find(&spec.name).cloned();
        let zone = zone.unwrap_or_else(|| Arc::new(Zone::new(spec.clone())));
        let leases = leased.and_then(|(rate, burst)| Leases::new(rate, burst, facts.shards));
        Rc::new(ZoneHere { zone, leases: leases.map(RefCell::new) })
    }))
}
