//! `require`: what a caller that is known must be to come in. It is asked in Admit, where Access has found
//! out who calls, however it did.

use crate::base::process_settings::Level;
use crate::conf::{Arity, Context, Diagnostic, Directive, DirectiveSpec as D, Inherit, Scope};
use crate::features::consumer::{self, Scheme};
use crate::pipeline::answer::Answer;
use crate::pipeline::caller::Caller;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::step::{Flow, Phase, QuickStep};
use crate::pipeline::template::Template;
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
        "consumer | group name ...",
        "",
        "Lets in only callers that are one of these consumers, or in one of these groups: of the words of a line one must hold, of several lines all. Who is not known gets 401, who is not permitted 403.",
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
}

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    // Taken in any case: the next location has its own.
    let challenges = consumer::take_challenges(b);
    let lines = scope.all("require").into_iter().map(|line| compile(scope, line));
    let lines: Box<[Line]> = lines.collect::<Result<_, _>>()?;
    if !lines.is_empty() {
        b.quick(Phase::Admit, Require { lines, challenges: challenges.into() });
    }
    Ok(())
}

fn compile(scope: &Scope<'_>, line: &Directive) -> Result<Line, Diagnostic> {
    let Some((kind, words)) = line.args.split_first() else {
        return Err(scope.error(line, "nothing is required"));
    };
    if let Some(word) = words.iter().find(|word| !consumer::is_name(word.text.as_bytes())) {
        return Err(scope.error_at(line, word, format!("invalid name \"{}\"", word.text)));
    }
    let names = words.iter().map(|word| word.text.as_str().into()).collect();
    match kind.text.as_str() {
        "consumer" => Ok(Line::Consumer(names)),
        "group" => Ok(Line::Group(names)),
        other => Err(scope.error_at(line, kind, format!("nothing is known of a \"{other}\" of a caller"))),
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
            Some(line) => forbid(x, line),
        }
    }
}

#[cold]
fn forbid(x: &mut Exchange, line: &Line) -> Flow {
    let (kind, names) = match line {
        Line::Consumer(names) => ("consumer", names),
        Line::Group(names) => ("group", names),
    };
    let who = String::from_utf8_lossy(x.caller.consumer().unwrap_or(b"-")).into_owned();
    x.log(
        Level::Error,
        format_args!("consumer \"{who}\" is none that \"require {kind} {}\" lets in", names.join(" ")),
    );
    Flow::Answer(Answer::Status(403))
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
