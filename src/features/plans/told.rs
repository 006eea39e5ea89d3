//! What an answer tells of the caller's plan: `RateLimit-Policy`, `RateLimit`
//! (draft-ietf-httpapi-ratelimit-headers-10) and `Retry-After` (RFC 9110, 10.2.3).

use super::compile::{Plan, Plans};
use super::enforce;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::limits::PlanSaid;
use crate::pipeline::step::HeaderFilter;
use std::io::Write;
use std::sync::Arc;

const POLICY: &[u8] = b"RateLimit-Policy";
const LIMIT: &[u8] = b"RateLimit";
const RETRY_AFTER: &[u8] = b"Retry-After";

/// Tells on every answer, also on those to requests that never came to be weighed.
pub(super) struct Told(pub(super) Arc<Plans>);

impl HeaderFilter for Told {
    fn filter(&self, x: &mut Exchange) {
        if x.depth > 0 || x.limits.plan.is_told {
            return;
        }
        let weighed = x.limits.plan.plan;
        let plan = match weighed {
            Some(number) => self.0.at(number),
            None => enforce::plan_of(&self.0, x).map(|(_, plan)| plan),
        };
        let Some(plan) = plan else { return };
        if weighed.is_some() {
            return tell(plan, x);
        }
        let mut key = std::mem::take(&mut x.scratch);
        key.clear();
        let whose = enforce::write_key(x, &mut key);
        let mut said = PlanSaid::default();
        enforce::look(plan, self.0.quotas(), whose, &key, x, &mut said);
        key.clear();
        x.scratch = key;
        write(plan, &said, x);
    }
}

/// Puts the fields into the answer of a request that was weighed.
pub(super) fn tell(plan: &Plan, x: &mut Exchange) {
    let said = x.limits.plan;
    write(plan, &said, x);
    x.limits.plan.is_told = true;
}

fn write(plan: &Plan, said: &PlanSaid, x: &mut Exchange) {
    let fields = &mut x.answer.fields;
    if plan.policy.is_empty() {
        return;
    }
    fields.push(POLICY, &plan.policy);
    if said.rate.is_some() || said.concurrency.is_some() || said.quotas.iter().any(Option::is_some) {
        fields.push_with(LIMIT, |out| limits(plan, said, out));
    }
    if let Some(seconds) = said.retry_after_s {
        fields.push_with(RETRY_AFTER, |out| number(out, seconds));
    }
}

/// `"rate";q=100;w=1, "concurrency";q=50;qu="concurrent-requests"`.
pub(super) fn policy(plan: &Plan) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(rate) = &plan.rate {
        item(&mut out, 0, "rate");
        parameter(&mut out, "q", rate.unit.0);
        parameter(&mut out, "w", rate.unit.1);
    }
    if let Some(most) = plan.concurrency {
        item(&mut out, 0, "concurrency");
        parameter(&mut out, "q", most);
        out.extend_from_slice(b";qu=\"concurrent-requests\"");
    }
    for quota in &plan.quotas {
        item(&mut out, 0, quota.window.name());
        parameter(&mut out, "q", quota.limit);
        parameter(&mut out, "w", quota.window.length_s());
    }
    out
}

/// `"rate";r=99;t=1, "concurrency";r=49`.
fn limits(plan: &Plan, said: &PlanSaid, out: &mut Vec<u8>) {
    let begin = out.len();
    if let (Some(_), Some(left)) = (&plan.rate, said.rate) {
        item(out, begin, "rate");
        parameter(out, "r", left.requests);
        parameter(out, "t", left.reset_s);
    }
    if let (Some(_), Some(left)) = (plan.concurrency, said.concurrency) {
        item(out, begin, "concurrency");
        parameter(out, "r", left);
    }
    for (quota, left) in plan.quotas.iter().zip(&said.quotas) {
        let Some(left) = left else { continue };
        item(out, begin, quota.window.name());
        parameter(out, "r", left.requests);
        parameter(out, "t", left.reset_s);
    }
}

/// Begins an item of a list (RFC 9651, 3.1) that begins at `begin`; its value is a string.
fn item(out: &mut Vec<u8>, begin: usize, name: &str) {
    if out.len() > begin {
        out.extend_from_slice(b", ");
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.push(b'"');
}

fn parameter(out: &mut Vec<u8>, name: &str, value: u64) {
    out.push(b';');
    out.extend_from_slice(name.as_bytes());
    out.push(b'=');
    number(out, value);
}

fn number(out: &mut Vec<u8>, value: u64) {
    // A Vec takes all that is written.
    let _ = write!(out, "{value}");
}
