//! `require`: what a caller that is known must be to come in. It is asked in Admit, where Access has found
//! out who calls, however it did.

use crate::base::json::Json;
use crate::base::process_settings::Level;
use crate::conf::{Arity, Context, Diagnostic, Directive, DirectiveSpec as D, Inherit, Scope};
use crate::features::consumer::{self, Scheme};
use crate::features::jwt::ClaimName;
use crate::pipeline::answer::Answer;
use crate::pipeline::caller::Caller;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::step::{Flow, Phase, QuickStep};
use crate::pipeline::template::Template;
use crate::pipeline::token::{Token, push_value};
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end, nothing};

const CONTEXTS: Context = Context::HTTP.or(Context::SERVER).or(Context::LOCATION).or(Context::LIMIT_EXCEPT);

/// The feature. It is listed behind all that finds out who calls.
pub const FEATURE: Feature = Feature {
    name: "require",
    module: None,
    directives: &[D::new(
        "require",
        CONTEXTS,
        Arity::AtLeast(2),
        "consumer | group | scope | claim name[=value] ...",
        "",
        "Lets in only callers that are one of these consumers, in one of these groups, or whose token has one of these scopes or claims: of the words of a line one must hold, of several lines all. Who is not known gets 401, who is not permitted 403.",
    )
    .inherit(Inherit::Together)],
    variables: &[],
    http: nothing,
    location,
    end: no_end,
};

/// The lines of one location, all of which must hold.
struct Require {
    lines: Box<[Line]>,
    /// What the location asks clients for, to tell one that is not known.
    challenges: Box<[(Scheme, Template)]>,
}

/// One line: one of its words must hold.
enum Line {
    Consumer(Box<[Box<str>]>),
    Group(Box<[Box<str>]>),
    Scope(Box<[Box<str>]>),
    /// Claims that must be there, or have a value.
    Claim(Box<[(ClaimName, Option<Box<str>>)]>),
}

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    // Taken in any case: the next location has its own.
    let challenges = consumer::take_challenges(b);
    let lines = scope.all("require").into_iter().map(|line| compile(scope, line));
    let lines: Box<[Line]> = lines.collect::<Result<_, _>>()?;
    if !lines.is_empty() {
        b.gateway();
        b.quick(Phase::Admit, Require { lines, challenges: challenges.into() });
    }
    Ok(())
}

fn compile(scope: &Scope<'_>, line: &Directive) -> Result<Line, Diagnostic> {
    let Some((kind, words)) = line.args.split_first() else {
        return Err(scope.error(line, "nothing is required"));
    };
    let is_claim = kind.text == "claim";
    if let Some(word) = words.iter().find(|word| !is_claim && !consumer::is_name(word.text.as_bytes())) {
        return Err(scope.error_at(line, word, format!("invalid name \"{}\"", word.text)));
    }
    let names = words.iter().map(|word| word.text.as_str().into()).collect();
    match kind.text.as_str() {
        "consumer" => Ok(Line::Consumer(names)),
        "group" => Ok(Line::Group(names)),
        "scope" => Ok(Line::Scope(names)),
        "claim" => Ok(Line::Claim(words.iter().map(|word| claim(&word.text)).collect())),
        other => Err(scope.error_at(line, kind, format!("nothing is known of a \"{other}\" of a caller"))),
    }
}

fn claim(text: &str) -> (ClaimName, Option<Box<str>>) {
    match text.split_once('=') {
        Some((name, value)) => (ClaimName::new(name), Some(value.into())),
        None => (ClaimName::new(text), None),
    }
}

/// Whether a token has a claim: something that is neither nothing nor false, or this value.
fn has(token: &Token, name: &ClaimName, value: Option<&str>) -> bool {
    let Some(said) = name.of(token) else { return false };
    let Some(value) = value else { return !matches!(said, Json::Null | Json::Bool(false)) };
    let is = |said: &Json| -> bool {
        let mut shown = Vec::new();
        push_value(said, &mut shown);
        shown == value.as_bytes()
    };
    match said {
        Json::Array(values) => values.iter().any(is),
        alone => is(alone),
    }
}

impl Line {
    fn holds(&self, caller: &Caller) -> bool {
        match self {
            Line::Consumer(names) => {
                caller.consumer().is_some_and(|name| names.iter().any(|known| known.as_bytes() == name))
            }
            Line::Group(names) => {
                caller.groups().any(|group| names.iter().any(|known| known.as_bytes() == group))
            }
            Line::Scope(names) => caller
                .token()
                .is_some_and(|token| token.scopes().any(|scope| names.iter().any(|known| **known == *scope))),
            Line::Claim(claims) => caller
                .token()
                .is_some_and(|token| claims.iter().any(|(name, value)| has(token, name, value.as_deref()))),
        }
    }
}

impl QuickStep for Require {
    fn run(&self, x: &mut Exchange) -> Flow {
        // What the gateway asks itself needs no leave.
        if x.depth > 0 {
            return Flow::Next;
        }
        if !x.caller.is_known() {
            x.log(Level::Info, format_args!("a caller is required, and nobody is known"));
            for (scheme, realm) in &self.challenges {
                consumer::challenge(x, *scheme, realm, b"");
            }
            return Flow::Answer(Answer::Status(401));
        }
        match self.lines.iter().find(|line| !line.holds(&x.caller)) {
            None => Flow::Next,
            Some(line) => self.forbid(x, line),
        }
    }
}

impl Require {
    #[cold]
    fn forbid(&self, x: &mut Exchange, line: &Line) -> Flow {
        let who = String::from_utf8_lossy(x.caller.consumer().unwrap_or(b"-")).into_owned();
        let what = line.text();
        x.log(Level::Error, format_args!("consumer \"{who}\" is none that \"require {what}\" lets in"));
        // What a token would have to have is told (RFC 6750, 3.1).
        if let Line::Scope(names) = line {
            let bearer = self.challenges.iter().find(|(scheme, _)| *scheme == Scheme::Bearer);
            if let Some((scheme, realm)) = bearer {
                let more = format!(", error=\"insufficient_scope\", scope=\"{}\"", names.join(" "));
                consumer::challenge(x, *scheme, realm, more.as_bytes());
            }
        }
        Flow::Answer(Answer::Status(403))
    }
}

impl Line {
    /// As it is written.
    fn text(&self) -> String {
        match self {
            Line::Consumer(names) => format!("consumer {}", names.join(" ")),
            Line::Group(names) => format!("group {}", names.join(" ")),
            Line::Scope(names) => format!("scope {}", names.join(" ")),
            Line::Claim(claims) => claims.iter().fold("claim".to_owned(), |text, (name, value)| {
                let value = value.as_ref().map_or_else(String::new, |value| format!("={value}"));
                format!("{text} {}{value}", name.whole)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::testing::{Bench, message};

    #[test]
    fn errors_are_said() {
        let wrong = |text: &str| {
            message(
                Bench::new(&format!("http {{ server {{ {text} }} }}"), &[&consumer::FEATURE, &FEATURE])
                    .plan(),
            )
        };
        assert_eq!(wrong("require colour red;"), "nothing is known of a \"colour\" of a caller");
        assert_eq!(wrong("require group 'a b';"), "invalid name \"a b\"");
        assert_eq!(wrong("require group a id:b;"), "no error");
    }
}
