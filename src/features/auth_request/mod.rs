//! `auth_request`: another location is asked whether a request may come in.

mod answer_template;

use crate::base::process_settings::Level;
use crate::conf::{Arity, Context, Diagnostic, Directive, DirectiveSpec as D, Inherit, Scope};
use crate::features::rewrite;
use crate::http::Known;
use crate::pipeline::answer::Answer;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::settings::Satisfy;
use crate::pipeline::step::{Asked, Flow, Phase, QuickStep, Subrequest};
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end, nothing};
use answer_template::AnswerTemplate;

const HSL: Context = Context::HTTP.or(Context::SERVER).or(Context::LOCATION);

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "auth_request",
    module: Some("http_auth_request"),
    directives: &[
        D::new(
            "auth_request",
            HSL,
            Arity::Exactly(1),
            "uri | off",
            "off",
            "The path that is asked: a 2xx answer lets the request in, 401 and 403 refuse it, any other is an error.",
        ),
        D::new(
            "auth_request_set",
            HSL,
            Arity::Exactly(2),
            "$variable value",
            "",
            "Gives a variable a value once the answer is there; it may use $upstream_http_name, $upstream_cookie_name and $upstream_status of that answer.",
        )
        .inherit(Inherit::Together),
    ],
    variables: &[],
    http: nothing,
    location,
    end: no_end,
};

/// `auth_request` in one location.
struct AuthRequest {
    uri: Box<[u8]>,
    sets: Box<[Set]>,
}

/// One `auth_request_set`.
struct Set {
    /// Where to; `None` is `$args`.
    place: Option<usize>,
    value: AnswerTemplate,
}

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let lines = scope.all("auth_request_set");
    let sets = lines.into_iter().map(|line| set(scope, line, b)).collect::<Result<Box<_>, _>>()?;
    match scope.word("auth_request") {
        None | Some("off" | "") => {}
        Some(uri) => b.quick(Phase::Access, AuthRequest { uri: uri.as_bytes().into(), sets }),
    }
    Ok(())
}

fn set(scope: &Scope<'_>, line: &Directive, b: &mut Builder<'_>) -> Result<Set, Diagnostic> {
    let [name, value] = line.args.as_slice() else {
        return Err(scope.error(line, "invalid number of arguments in \"auth_request_set\" directive"));
    };
    let place = rewrite::variable(scope, line, name, b)?;
    place.into_iter().for_each(|place| b.known_late(place));
    Ok(Set { place, value: AnswerTemplate::compile(value, b)? })
}

impl QuickStep for AuthRequest {
    fn run(&self, x: &mut Exchange) -> Flow {
        match x.asked.take() {
            // Nobody needs to be asked about who has shown a credential, where that is enough.
            None if x.caller.is_known() && x.here.settings.satisfy == Satisfy::Any => Flow::Next,
            None => Flow::Ask(Box::new(Subrequest { uri: self.uri.to_vec(), args: Vec::new() })),
            Some(asked) => self.judge(x, &asked),
        }
    }
}

impl AuthRequest {
    fn judge(&self, x: &mut Exchange, asked: &Asked) -> Flow {
        for Set { place, value } in &self.sets {
            let value = value.value(x, &asked.head);
            match place {
                Some(place) => x.values.set(*place, &value),
                None => {
                    x.args = value;
                    x.uri_is_original = false;
                }
            }
        }
        match asked.head.status {
            200..=299 => Flow::Grant,
            403 => Flow::Answer(Answer::Status(403)),
            401 => {
                for (name, value, known) in asked.head.fields.iter() {
                    if known == Known::WwwAuthenticate {
                        x.answer.fields.push_known(known, name, value);
                    }
                }
                Flow::Answer(Answer::Status(401))
            }
            status => {
                x.log(Level::Error, format_args!("auth request unexpected status: {status}"));
                Flow::Answer(Answer::Status(500))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::features::testing::{Bench, message};
    use crate::pipeline::step::Step;

    fn in_location(directives: &str) -> String {
        format!("http {{ server {{ location / {{ {directives} }} }} }}")
    }

    /// Runs the step of `/` twice, with an answer between, and shows what came of it.
    fn asked<T>(
        directives: &str,
        status: u16,
        fields: &[(&str, &str)],
        look: impl FnOnce(&mut Exchange, Flow) -> T,
    ) -> T {
        Bench::new(&in_location(directives), &[&FEATURE]).exchange("/", |x| {
            let here = x.here.clone();
            let [Step::Quick(step)] = here.settings.steps(Phase::Access) else {
                panic!("not one quick step")
            };
            let Flow::Ask(question) = step.run(x) else { panic!("nothing was asked") };
            assert_eq!((&*question.uri, &*question.args), (&b"/auth"[..], &b""[..]));
            let mut answer = Asked::default();
            answer.head.status = status;
            fields
                .iter()
                .for_each(|(name, value)| answer.head.fields.push(name.as_bytes(), value.as_bytes()));
            x.asked = Some(answer);
            let flow = step.run(x);
            look(x, flow)
        })
    }

    fn shown(flow: &Flow) -> String {
        match flow {
            Flow::Grant => "grant".to_owned(),
            Flow::Answer(Answer::Status(status)) => format!("status {status}"),
            _ => "something else".to_owned(),
        }
    }

    #[test]
    fn the_answer_decides() {
        for (status, want) in [
            (200, "grant"),
            (204, "grant"),
            (401, "status 401"),
            (403, "status 403"),
            (404, "status 500"),
            (302, "status 500"),
        ] {
            assert_eq!(asked("auth_request /auth;", status, &[], |_, flow| shown(&flow)), want, "{status}");
        }
    }

    #[test]
    fn challenges_reach_the_client() {
        let fields = [("WWW-Authenticate", "Basic"), ("X-Other", "1"), ("WWW-Authenticate", "Bearer")];
        asked("auth_request /auth;", 401, &fields, |x, _| {
            let found: Vec<_> = x.answer.fields.iter().map(|(_, value, _)| value.to_vec()).collect();
            assert_eq!(found, [b"Basic".to_vec(), b"Bearer".to_vec()]);
        });
    }

    #[test]
    fn values_come_from_the_answer() {
        let text = "auth_request /auth; auth_request_set $who \"<${upstream_http_x_user}>\";
            auth_request_set $session $upstream_cookie_sid; auth_request_set $status2 $upstream_status;
            auth_request_set $args $upstream_http_none$who;";
        let fields = [
            ("X-User", "anna"),
            ("Set-Cookie", "a=1; Path=/"),
            ("Set-Cookie", "SID=2; Path=/"),
            ("X-User", "b"),
        ];
        asked(text, 204, &fields, |x, flow| {
            assert_eq!(shown(&flow), "grant");
            // The first place is that of `$limit_rate`.
            let values: Vec<_> = (1..4).map(|place| x.values.at(place).unwrap().to_vec()).collect();
            assert_eq!(values, [b"<anna, b>".to_vec(), b"2".to_vec(), b"204".to_vec()]);
            assert_eq!((x.args.as_slice(), x.uri_is_original), (&b"<anna, b>"[..], false));
        });
    }

    #[test]
    fn off_adds_no_step() {
        let text =
            "http { auth_request /auth; server { location /off { auth_request off; } location /in { } } }";
        let bench = Bench::new(text, &[&FEATURE]);
        assert_eq!(bench.exchange("/off", |x| x.here.settings.steps(Phase::Access).len()), 0);
        assert_eq!(bench.exchange("/in", |x| x.here.settings.steps(Phase::Access).len()), 1);
    }

    #[test]
    fn errors_are_nginxs() {
        let wrong = |text: &str| message(Bench::new(&in_location(text), &[&FEATURE]).plan());
        assert_eq!(wrong("auth_request_set who x;"), "invalid variable name \"who\"");
        assert_eq!(wrong("auth_request_set $who $nowhere;"), "unknown \"nowhere\" variable");
    }
}
