//! `consumer`: a caller that the configuration knows by name, with its groups and its plan. How it shows
//! who it is, each way of doing that reads from the block itself (`api_key`, ...).

mod challenge;

pub use challenge::{Scheme, challenge, challenges, push_quoted, take_challenges};

use crate::conf::{Arity, Block, Context, Diagnostic, Directive, DirectiveSpec as D, Inherit, Scope, Word};
use crate::pipeline::caller::{Consumer, PlanRef};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::template::{Part, Template};
use crate::pipeline::variable::{Eval, Variable, VariableSpec};
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end};
use ahash::AHashMap;

const HSL: Context = Context::HTTP.or(Context::SERVER).or(Context::LOCATION);

/// Bytes of a consumer's name at most, and of a group's: both stand in header fields and log lines.
pub const NAME_BYTES_MAX: usize = 255;

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "consumer",
    module: None,
    directives: &[
        D::new(
            "consumer",
            Context::HTTP,
            Arity::Exactly(1),
            "name { ... }",
            "",
            "A caller that is known by name: an app, a partner, a team. The block says how it shows who it is, and what it may do.",
        )
        .block(Block::Directives(Context::CONSUMER))
        .inherit(Inherit::NeverMany),
        D::new(
            "groups",
            Context::CONSUMER,
            Arity::AtLeast(1),
            "group ...",
            "",
            "The groups that a consumer belongs to, for `require group` and `$consumer_groups`.",
        )
        .inherit(Inherit::NeverMany),
        D::new(
            "plan",
            Context::CONSUMER,
            Arity::Exactly(1),
            "name",
            "",
            "The plan of a consumer: its name is `$consumer_plan`.",
        )
        .inherit(Inherit::Never),
        D::new(
            "identity_headers",
            HSL,
            Arity::Flag,
            "on | off",
            "off",
            "Tells upstreams who the caller is: X-Consumer-Name, X-Consumer-Groups, X-Auth-Method. What clients send under such names is removed here, and wherever callers show who they are.",
        ),
    ],
    variables: &[
        VariableSpec {
            name: "consumer",
            family: false,
            eval: consumer,
            doc: "The name of the consumer that the caller is.",
        },
        VariableSpec {
            name: "consumer_groups",
            family: false,
            eval: consumer_groups,
            doc: "The groups of the caller, separated by commas.",
        },
        VariableSpec {
            name: "consumer_plan",
            family: false,
            eval: consumer_plan,
            doc: "The name of the caller's plan.",
        },
        VariableSpec {
            name: "auth_method",
            family: false,
            eval: auth_method,
            doc: "How the caller has shown who it is: `api_key`, `jwt`, `basic` or `client_cert`.",
        },
    ],
    http,
    location,
    end: no_end,
};

/// The consumers of the configuration, in the builder's store.
#[derive(Default)]
pub struct Consumers {
    list: Vec<Consumer>,
    by_name: AHashMap<Box<[u8]>, usize>,
}

impl Consumers {
    /// All of them, in the order of their blocks.
    pub fn all(&self) -> &[Consumer] {
        &self.list
    }

    /// Their places by their names.
    pub fn places(&self) -> &AHashMap<Box<[u8]>, usize> {
        &self.by_name
    }

    /// The place of the one of this name.
    pub fn place(&self, name: &[u8]) -> Option<usize> {
        self.by_name.get(name).copied()
    }
}

/// The plans that the configuration names, in the builder's store: each has a number, whichever directive
/// names it first.
#[derive(Default)]
pub struct PlanNames(Vec<(Box<str>, Word)>);

impl PlanNames {
    /// The number of the plan that a word names.
    pub fn number(&mut self, word: &Word) -> usize {
        if let Some(known) = self.0.iter().position(|(name, _)| **name == *word.text) {
            return known;
        }
        self.0.push((word.text.as_str().into(), word.clone()));
        self.0.len() - 1
    }

    /// All names in the order of their numbers, with the word that named each first.
    pub fn all(&self) -> &[(Box<str>, Word)] {
        &self.0
    }
}

/// The blocks of consumers, as scopes, in order: their places are those of [`Consumers::all`].
pub fn blocks<'t>(http: &Scope<'t>) -> impl Iterator<Item = (&'t Directive, Scope<'t>)> {
    let http = http.clone();
    http.clone().here("consumer").map(move |block| (block, http.child(block, Context::CONSUMER)))
}

/// Whether a text can be the name of a consumer or a group, wherever it is shown.
pub fn is_name(text: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_graphic() && !b",\"\\".contains(byte);
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.iter().all(fits)
}

fn http(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    for (block, inner) in blocks(scope) {
        let Some(name) = block.args.first() else { continue };
        if !is_name(name.text.as_bytes()) {
            return Err(scope.error_at(block, name, format!("invalid consumer name \"{}\"", name.text)));
        }
        let (groups, plan) = (groups(&inner)?, plan(&inner, b)?);
        let name_bytes: Box<[u8]> = name.text.as_bytes().into();
        let consumers = b.store::<Consumers>();
        let place = consumers.list.len();
        if consumers.by_name.insert(name_bytes.clone(), place).is_some() {
            return Err(scope.error_at(block, name, format!("duplicate consumer \"{}\"", name.text)));
        }
        consumers.list.push(Consumer { name: name_bytes, groups, plan });
    }
    Ok(())
}

fn groups(consumer: &Scope<'_>) -> Result<Box<[u8]>, Diagnostic> {
    let mut all: Vec<&str> = Vec::new();
    for line in consumer.here("groups") {
        for word in &line.args {
            // A colon is in the groups that tokens name: `issuer:group`.
            if !is_name(word.text.as_bytes()) || word.text.contains(':') {
                return Err(consumer.error_at(line, word, format!("invalid group \"{}\"", word.text)));
            }
            if !all.contains(&word.text.as_str()) {
                all.push(&word.text);
            }
        }
    }
    Ok(all.join(",").into_bytes().into())
}

fn plan(consumer: &Scope<'_>, b: &mut Builder<'_>) -> Result<Option<PlanRef>, Diagnostic> {
    let Some(line) = consumer.here("plan").next() else { return Ok(None) };
    let Some(word) = line.args.first() else { return Ok(None) };
    if !is_name(word.text.as_bytes()) {
        return Err(consumer.error_at(line, word, format!("invalid plan \"{}\"", word.text)));
    }
    let number = u16::try_from(b.store::<PlanNames>().number(word))
        .map_err(|_| consumer.error_at(line, word, "too many plans"))?;
    Ok(Some(PlanRef { number, name: word.text.as_bytes().into() }))
}

/// The fields in which an upstream is told who the caller is.
pub fn identity_headers() -> Vec<(Box<[u8]>, Template)> {
    let computed = |eval: Eval| {
        Template::new(vec![Part::Variable(Variable::Computed { eval, argument: "".into(), late: true })])
    };
    let fields: [(&[u8], Eval); 3] = [
        (b"X-Consumer-Name", consumer),
        (b"X-Consumer-Groups", consumer_groups),
        (b"X-Auth-Method", auth_method),
    ];
    fields.into_iter().map(|(name, eval)| (name.into(), computed(eval))).collect()
}

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    if scope.flag("identity_headers", false)? {
        b.settings().identity_headers = true;
        b.veil();
    }
    Ok(())
}

fn consumer(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    push(x.caller.consumer(), out)
}

fn consumer_groups(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    push(Some(x.caller.groups_text()).filter(|groups| !groups.is_empty()), out)
}

fn consumer_plan(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    push(x.caller.plan_name(), out)
}

fn auth_method(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    push(x.caller.method().map(|method| method.name().as_bytes()), out)
}

fn push(value: Option<&[u8]>, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(value.unwrap_or_default());
    value.is_some()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::features::testing::{Bench, message};
    use crate::pipeline::caller::AuthMethod;

    fn http_block(text: &str) -> String {
        format!("http {{ {text} server {{ listen 8080; }} }}")
    }

    #[test]
    fn blocks_become_consumers() {
        let text = http_block(
            "consumer mobile { groups app public; groups app; plan gold; } consumer team.b { } consumer c { plan gold; }",
        );
        Bench::new(&text, &[&FEATURE])
            .http(|b, _| {
                let all = b.store::<Consumers>();
                let shown = |c: &Consumer| {
                    String::from_utf8_lossy(&[&c.name[..], b" ", &c.groups].concat()).into_owned()
                };
                assert_eq!(
                    all.all().iter().map(shown).collect::<Vec<_>>(),
                    ["mobile app,public", "team.b ", "c "]
                );
                assert_eq!((all.place(b"team.b"), all.place(b"x")), (Some(1), None));
                assert_eq!(all.all()[0].plan, all.all()[2].plan);
                assert_eq!(b.store::<PlanNames>().all().len(), 1);
            })
            .unwrap();
    }

    #[test]
    fn variables_show_the_caller() {
        let text = http_block("consumer mobile { groups app public; plan gold; }");
        let bench = Bench::new(&text, &[&FEATURE]);
        let consumer = bench.http(|b, _| b.store::<Consumers>().all()[0].clone()).unwrap();
        bench.exchange("", |x| {
            let shown = |x: &Exchange| {
                let value = |spec: &VariableSpec| {
                    let mut out = Vec::new();
                    let has = (spec.eval)(x, "", &mut out);
                    if has { String::from_utf8(out).unwrap() } else { "-".to_owned() }
                };
                FEATURE.variables.iter().map(value).collect::<Vec<_>>()
            };
            assert_eq!(shown(x), ["-", "-", "-", "-"]);
            x.caller.identify(AuthMethod::ApiKey, Some(&consumer)).unwrap();
            assert_eq!(shown(x), ["mobile", "app,public", "gold", "api_key"]);
        });
    }

    #[test]
    fn what_is_refused() {
        let wrong = |text: &str| message(Bench::new(&http_block(text), &[&FEATURE]).plan());
        for (text, want) in [
            ("consumer a,b { }", "invalid consumer name \"a,b\""),
            ("consumer 'a b' { }", "invalid consumer name \"a b\""),
            ("consumer a { } consumer a { }", "duplicate consumer \"a\""),
            ("consumer a { groups x id:y; }", "invalid group \"id:y\""),
            ("consumer a { plan 'g d'; }", "invalid plan \"g d\""),
        ] {
            assert_eq!(wrong(text), want, "{text}");
        }
    }
}
