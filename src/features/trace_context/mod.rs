//! `otel_trace_context`: the context of a distributed trace that a request belongs to (W3C Trace Context)
//! is taken from it, and told to upstreams. Nothing is exported.

use crate::conf::{Arity, Context, Diagnostic, DirectiveSpec as D, Scope};
use crate::features::variables::new_id;
use crate::http::Known;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::step::{Flow, Phase, QuickStep};
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end};

/// The feature; its step comes before all that could look at the field.
pub const FEATURE: Feature = Feature {
    name: "trace_context",
    module: None,
    directives: &[D::new(
        "otel_trace_context",
        Context::HTTP.or(Context::SERVER).or(Context::LOCATION),
        Arity::Exactly(1),
        "extract | inject | propagate | ignore",
        "ignore",
        "Whether a request goes on with the trace that its field traceparent names (extract), upstreams are told of a new one (inject), or of the client's with a span of our own (propagate). $otel_trace_id, $otel_span_id, $otel_parent_id and $otel_parent_sampled are what it came to; a new trace has the identifier $request_id.",
    )],
    variables: &[],
    http,
    location,
    end: no_end,
};

/// The variables: the trace, our span in it, the client's, and whether that one is recorded.
const VARIABLES: [&str; 4] = ["otel_trace_id", "otel_span_id", "otel_parent_id", "otel_parent_sampled"];

/// What is done with contexts: taken over, and passed on.
const MODES: &[(&str, (bool, bool))] = &[
    ("extract", (true, false)),
    ("inject", (false, true)),
    ("propagate", (true, true)),
    ("ignore", (false, false)),
];

/// Defines the variables: a log format may name them where no trace is asked for.
fn http(_: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    for name in VARIABLES {
        b.define(name);
    }
    Ok(())
}

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let (extract, inject) = scope.one_of("otel_trace_context", MODES, (false, false))?;
    if extract || inject {
        let places = VARIABLES.map(|name| b.define(name));
        b.quick(Phase::PreAccess, Trace { extract, inject, places });
    }
    Ok(())
}

struct Trace {
    extract: bool,
    inject: bool,
    places: [usize; 4],
}

impl QuickStep for Trace {
    fn run(&self, x: &mut Exchange) -> Flow {
        // A request goes on inside with the span that it has.
        if x.values.at(self.places[1]).is_some() {
            return Flow::Next;
        }
        let came = if self.extract { context(x) } else { None };
        let [trace_at, span_at, parent_at, sampled_at] = self.places;
        let span = new_id();
        let span = span.get(..SPAN_DIGITS).unwrap_or_default();
        let (trace, flags) = match came {
            Some(Came { trace, parent, flags }) => {
                x.values.set(parent_at, &parent);
                x.values.set(sampled_at, if flags[1] & 1 == 1 { b"1" } else { b"0" });
                (trace, flags)
            }
            None => (*x.id.get_or_init(new_id), *b"00"),
        };
        x.values.set(trace_at, &trace);
        x.values.set(span_at, span);
        if self.inject {
            let value = [b"00-", &trace[..], b"-", span, b"-", &flags[..]].concat();
            let is_new = x.values.at(parent_at).is_none();
            // What vendors noted of a trace says nothing of another one.
            x.remove_request_fields(|name| {
                name.eq_ignore_ascii_case(b"traceparent")
                    || is_new && name.eq_ignore_ascii_case(b"tracestate")
            });
            x.push_request_field(Known::Traceparent, b"traceparent", &value);
        }
        Flow::Next
    }
}

/// Digits of a span's identifier.
const SPAN_DIGITS: usize = 16;

/// The context that a request came with.
#[derive(Debug, PartialEq, Eq)]
struct Came {
    trace: [u8; 32],
    parent: [u8; SPAN_DIGITS],
    flags: [u8; 2],
}

/// The context of a request; `None` unless it has one field that can be read.
fn context(x: &Exchange) -> Option<Came> {
    let mut fields = x.head.fields.all(Known::Traceparent);
    let field = fields.next().filter(|_| fields.next().is_none())?;
    read(field.value.of(x.input.filled()))
}

/// Reads `00-TRACE-PARENT-FLAGS` (W3C Trace Context, 3.2); a later version may have more behind it.
fn read(text: &[u8]) -> Option<Came> {
    let is_hex = |text: &[u8]| text.iter().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte));
    let is_some = |text: &[u8]| text.iter().any(|byte| *byte != b'0');
    let mut parts = text.split(|byte| *byte == b'-');
    let version =
        parts.next().filter(|version| version.len() == 2 && is_hex(version) && *version != b"ff")?;
    let trace: [u8; 32] = parts.next()?.try_into().ok()?;
    let parent: [u8; SPAN_DIGITS] = parts.next()?.try_into().ok()?;
    let flags: [u8; 2] = parts.next()?.try_into().ok()?;
    let ends = version != b"00" || parts.next().is_none();
    let fine =
        ends && is_hex(&flags) && is_hex(&trace) && is_some(&trace) && is_hex(&parent) && is_some(&parent);
    if !fine {
        return None;
    }
    // Of the flags the first version knows one, which is the last bit of the last digit.
    let sampled = match flags[1] {
        b'0'..=b'9' => flags[1] & 1,
        letter => (letter - b'a') & 1,
    };
    Some(Came { trace, parent, flags: [b'0', b'0' + sampled] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts() {
        let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        let flags = |text: String| read(text.as_bytes()).map(|came| came.flags);
        assert_eq!(flags(format!("00-{trace}-{parent}-01")), Some(*b"01"));
        assert_eq!(flags(format!("00-{trace}-{parent}-fe")), Some(*b"00"));
        assert_eq!(flags(format!("cc-{trace}-{parent}-0b-more")), Some(*b"01"));
        for text in [
            String::new(),
            format!("00-{trace}-{parent}"),
            format!("00-{trace}-{parent}-01-more"),
            format!("ff-{trace}-{parent}-01"),
            format!("00-{}-{parent}-01", trace.to_uppercase()),
            format!("00-{}-{parent}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{trace}-{parent}-0"),
            format!("0-{trace}-{parent}-01"),
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }
}
