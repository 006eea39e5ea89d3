//! `limit_conn`: how many requests of a key are under way.

use super::lines::{self, Limit};
use super::zone::{Counted, Declared};
use super::{Names, Refusal};
use crate::base::process_settings::Level;
use crate::bridge::zone::ZoneKind;
use crate::conf::{Diagnostic, Directive, Scope, value};
use crate::pipeline::answer::Answer;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::limits::{Full, Held, LimitStatus, When};
use crate::pipeline::step::{Flow, QuickStep};
use crate::pipeline::variable::VariableSpec;
use crate::plan::builder::Builder;
use std::sync::Arc;

const NAMES: Names = ["limit_conn_log_level", "limit_conn_status", "limit_conn_dry_run"];

/// Bytes of a key, at most; nginx's bound.
const KEY_BYTES_MAX: usize = 255;

/// Requests a limit may allow; nginx's bound.
const CONNECTIONS_MAX: u64 = 65_535;

pub(super) const VARIABLES: &[VariableSpec] = &[VariableSpec {
    name: "limit_conn_status",
    family: false,
    eval: |x, _, out| match x.limits.connections.status() {
        Some(status) => {
            out.extend_from_slice(status.text().as_bytes());
            true
        }
        None => false,
    },
    doc: "What limit_conn made of the request: PASSED, REJECTED or REJECTED_DRY_RUN.",
}];

/// The limits of one location that are asked at one time.
struct LimitConnections {
    limits: Vec<Connections>,
    when: When,
    refusal: Refusal,
}

/// One `limit_conn`.
struct Connections {
    zone: Arc<Counted>,
    max: u64,
}

pub(super) fn http(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    for line in scope.here("limit_conn_zone") {
        Declared::add(scope, line, ZoneKind::Count, b, |_, _| Ok(None))?;
    }
    let _: Vec<Connections> = lines::all(scope, b)?;
    Refusal::compile(scope, NAMES).map(drop)
}

pub(super) fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let refusal = Refusal::compile(scope, NAMES)?;
    let limits = lines::all(scope, b)?;
    lines::add_steps(limits, b, |limits, when| LimitConnections { limits, when, refusal });
    Ok(())
}

impl Limit for Connections {
    const DIRECTIVE: &'static str = "limit_conn";

    fn read(scope: &Scope<'_>, line: &Directive, b: &mut Builder<'_>) -> Result<Connections, Diagnostic> {
        let [name, number] = line.args.as_slice() else {
            return Err(scope.error(line, "invalid number of arguments in \"limit_conn\" directive"));
        };
        let Some(max) = value::number(&number.text).filter(|&max| max > 0) else {
            let message = format!("invalid number of connections \"{}\"", number.text);
            return Err(scope.error_at(line, number, message));
        };
        if max > CONNECTIONS_MAX {
            return Err(scope.error_at(line, number, "connection limit must be less 65536"));
        }
        Ok(Connections { zone: Declared::find(scope, line, &name.text, ZoneKind::Count, b)?, max })
    }

    fn zone(&self) -> &Counted {
        &self.zone
    }
}

impl QuickStep for LimitConnections {
    fn run(&self, x: &mut Exchange) -> Flow {
        if x.limits.connections.at(self.when).is_some() {
            return Flow::Next;
        }
        lines::with_key(x, |x, key| self.ask(x, key))
    }
}

impl LimitConnections {
    fn ask(&self, x: &mut Exchange, key: &mut Vec<u8>) -> Flow {
        let before = x.limits.held.len();
        for limit in &self.limits {
            if !limit.zone.write_key(x, KEY_BYTES_MAX, key) {
                continue;
            }
            x.limits.connections.set(self.when, LimitStatus::Passed);
            let locals = x.locals.clone();
            let here = locals.at(limit.zone.slot);
            match Held::take(here, here.zone.table.fingerprint(key), limit.max) {
                Ok(Some(held)) => x.limits.held.push(held),
                Ok(None) => {
                    let dry_run = if self.refusal.dry_run { ", dry run," } else { "" };
                    let message =
                        format_args!("limiting connections{dry_run} by zone \"{}\"", limit.zone.name);
                    x.log(self.refusal.level, message);
                    return self.refuse(x, before);
                }
                Err(Full) => {
                    x.log(Level::Crit, format_args!("no memory in limit_conn_zone \"{}\"", limit.zone.name));
                    return self.refuse(x, before);
                }
            }
        }
        Flow::Next
    }

    /// The request counts nowhere then.
    fn refuse(&self, x: &mut Exchange, before: usize) -> Flow {
        x.limits.held.truncate(before);
        if self.refusal.dry_run {
            x.limits.connections.set(self.when, LimitStatus::RejectedDryRun);
            return Flow::Next;
        }
        x.limits.connections.set(self.when, LimitStatus::Rejected);
        Flow::Answer(Answer::Status(self.refusal.status))
    }
}

#[cfg(test)]
mod tests {
    use crate::features::limits::{CONNECTIONS, REQUESTS};
    use crate::features::testing::{Bench, message};

    #[test]
    fn errors_are_nginxs() {
        let wrong = |text: &str| {
            let text = format!(
                "http {{ limit_conn_zone x zone=z:64k; limit_req_zone x zone=r:64k rate=1r/s; {text} }}"
            );
            message(Bench::new(&text, &[&REQUESTS, &CONNECTIONS]).plan())
        };
        for (text, want) in [
            ("limit_conn_zone y zone=q:64k;", "no error"),
            ("limit_conn_zone y zone=z:64k;", "limit_conn_zone \"z\" is already bound to key \"x\""),
            ("limit_conn_zone y q;", "invalid parameter \"q\""),
            (
                "limit_conn_zone y zone=r:64k;",
                "the shared memory zone \"r\" is already declared for a different use",
            ),
            ("limit_conn r 1;", "the shared memory zone \"r\" is already declared for a different use"),
            ("limit_conn none 1;", "zero size shared memory zone \"none\""),
            ("limit_conn z 0;", "invalid number of connections \"0\""),
            ("limit_conn z 65536;", "connection limit must be less 65536"),
            ("limit_conn z 1; limit_conn z 2;", "\"limit_conn\" directive is duplicate"),
            ("limit_conn_status 200;", "value must be between 400 and 599"),
            ("limit_conn_log_level debug;", "invalid value \"debug\""),
            ("limit_conn_dry_run on;", "no error"),
        ] {
            assert_eq!(wrong(text), want, "{text}");
        }
    }
}
