//! `$plan_*`: the plan of a request's caller, and what it said.

use super::compile::{Plan, Plans};
use super::enforce;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::limits::Left;
use crate::pipeline::variable::VariableSpec;
use std::io::Write;
use std::sync::Arc;

pub(super) const VARIABLES: &[VariableSpec] = &[
    VariableSpec {
        name: "plan_name",
        family: false,
        eval: |x, _, out| match plan(x) {
            Some(plan) => {
                out.extend_from_slice(plan.name.as_bytes());
                true
            }
            None => false,
        },
        doc: "The name of the plan that holds for the caller: its own, or that of plan_default.",
    },
    VariableSpec {
        name: "plan_rate",
        family: false,
        eval: |x, _, out| match plan(x).and_then(|plan| plan.rate.as_ref()) {
            Some(rate) => {
                out.extend_from_slice(rate.text.as_bytes());
                true
            }
            None => false,
        },
        doc: "The rate of that plan, as it is written: 100r/s. For limit_req_zone, too.",
    },
    VariableSpec {
        name: "plan_status",
        family: false,
        eval: |x, _, out| {
            let said = &x.limits.plan;
            if said.plan.is_some() {
                out.extend_from_slice(said.verdict.text().as_bytes());
            }
            said.plan.is_some()
        },
        doc: "What enforce_plan made of the request: PASSED, REJECTED_RATE, REJECTED_CONCURRENCY, REJECTED_QUOTA, or REJECTED_UNKNOWN under quota_failure closed.",
    },
    VariableSpec {
        name: "plan_rate_remaining",
        family: false,
        eval: |x, _, out| number(x.limits.plan.rate.map(|left| left.requests), out),
        doc: "How many requests more the rate of the plan lets in now, as RateLimit tells it.",
    },
    VariableSpec {
        name: "plan_concurrency_remaining",
        family: false,
        eval: |x, _, out| number(x.limits.plan.concurrency, out),
        doc: "How many requests more the plan lets be under way, as RateLimit tells it.",
    },
    VariableSpec {
        name: "plan_quota_remaining",
        family: false,
        eval: |x, _, out| number(tightest(x).map(|left| left.requests), out),
        doc: "How many requests more the quota of the plan lets in of which the least is left.",
    },
    VariableSpec {
        name: "plan_quota_reset",
        family: false,
        eval: |x, _, out| number(tightest(x).map(|left| left.reset_s), out),
        doc: "How many seconds it is until that quota begins anew.",
    },
];

/// The plan that holds for the caller; also where it is not enforced.
fn plan(x: &Exchange) -> Option<&Plan> {
    let plans = x.here.settings.attached::<Arc<Plans>>()?;
    match x.limits.plan.plan {
        Some(number) => plans.at(number),
        None => enforce::plan_of(plans, x).map(|(_, plan)| plan),
    }
}

/// The quota of which the least is left; of equal ones that which begins anew last.
fn tightest(x: &Exchange) -> Option<&Left> {
    x.limits.plan.quotas.iter().flatten().min_by_key(|left| (left.requests, u64::MAX - left.reset_s))
}

fn number(number: Option<u64>, out: &mut Vec<u8>) -> bool {
    if let Some(number) = number {
        // A Vec takes all that is written.
        let _ = write!(out, "{number}");
    }
    number.is_some()
}
