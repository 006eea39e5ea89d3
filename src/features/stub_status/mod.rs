//! `stub_status`: how many connections and requests there were and are.

use crate::base::counters::{Count, total};
use crate::conf::{Arity, Context, Diagnostic, DirectiveSpec as D, Inherit, Scope};
use crate::http::Method;
use crate::pipeline::answer::{Answer, Body};
use crate::pipeline::connection::push_decimal;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::step::{Flow, Phase, QuickStep};
use crate::pipeline::variable::{Eval, VariableSpec};
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end, nothing};

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "stub_status",
    module: Some("http_stub_status"),
    directives: &[D::new(
        "stub_status",
        Context::SERVER.or(Context::LOCATION),
        // Up to nginx 1.7.5 it had to have an argument, which means nothing.
        Arity::Between(0, 1),
        "",
        "",
        "Answers with the numbers of connections and requests.",
    )
    .inherit(Inherit::Never)],
    variables: &[
        one("connections_active", |_, _, out| put(Count::Active, out), "Connections open now."),
        one(
            "connections_reading",
            |_, _, out| put(Count::Reading, out),
            "Connections of which a request's head is read now.",
        ),
        one(
            "connections_writing",
            |_, _, out| put(Count::Writing, out),
            "Connections of which a request is answered now.",
        ),
        one(
            "connections_waiting",
            |_, _, out| put(Count::Waiting, out),
            "Connections that wait for a request now.",
        ),
    ],
    http: nothing,
    location,
    end: no_end,
};

const fn one(name: &'static str, eval: Eval, doc: &'static str) -> VariableSpec {
    VariableSpec { name, family: false, eval, doc }
}

fn put(count: Count, out: &mut Vec<u8>) -> bool {
    push_decimal(out, total(count));
    true
}

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let may_hold = scope.context().meets(Context::SERVER.or(Context::LOCATION));
    if may_hold && scope.here("stub_status").next().is_some() {
        b.quick(Phase::Content, StubStatus);
    }
    Ok(())
}

struct StubStatus;

impl QuickStep for StubStatus {
    fn run(&self, x: &mut Exchange) -> Flow {
        if !matches!(x.method(), Method::Get | Method::Head) {
            return Flow::Answer(Answer::Status(405));
        }
        let of = total;
        let page = format!(
            "Active connections: {} \nserver accepts handled requests\n {} {} {} \nReading: {} Writing: {} Waiting: {} \n",
            of(Count::Active),
            of(Count::Accepted),
            of(Count::Handled),
            of(Count::Requests),
            of(Count::Reading),
            of(Count::Writing),
            of(Count::Waiting),
        );
        x.answer.status = 200;
        x.answer.reason.clear();
        x.answer.content_type.clear();
        x.answer.content_type.extend_from_slice(b"text/plain");
        x.answer.length = Some(page.len() as u64);
        Flow::Answer(Answer::Ready(Body::Bytes(page.into_bytes())))
    }
}
