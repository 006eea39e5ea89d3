//! Versions of an API: which one a request asks for, and how long one is there. `deprecated` and
//! `sunset` say so to clients, in any location; `version` blocks are levels within a location, each
//! compiled as a location of its own, of which a request enters one.

mod life;

use crate::conf::{Arity, Block, Context, Diagnostic, Directive, DirectiveSpec as D, Inherit, Scope};
use crate::pipeline::answer::Answer;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::problem::Problem;
use crate::pipeline::step::{Flow, Phase, QuickStep};
use crate::pipeline::template::Template;
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end, nothing};

/// Days on which versions end. Its step comes first in a location: what is gone is not rewritten.
pub const LIFE: Feature = Feature {
    name: "sunset",
    module: None,
    directives: &[
        D::new(
            "deprecated",
            Context::LOCATION,
            Arity::Between(1, 2),
            "off | YYYY-MM-DD [url]",
            "off",
            "The day (UTC) from which what is here should not be used any more: each answer says so in Deprecation (RFC 9745), with the URL in Link.",
        ),
        D::new(
            "sunset",
            Context::LOCATION,
            Arity::Between(1, 2),
            "off | YYYY-MM-DD [url]",
            "off",
            "The day at whose beginning (00:00 UTC) what is here ends: each answer says so in Sunset (RFC 8594), with the URL in Link, and from then on it is 410.",
        ),
    ],
    variables: &[],
    http: nothing,
    location: life::location,
    end: no_end,
};

/// The choice of a version; behind the location's rewrite directives, whose variables it may use.
pub const FEATURE: Feature = Feature {
    name: "version",
    module: None,
    directives: &[
        D::new(
            "version_from",
            Context::LOCATION,
            Arity::AtLeast(1),
            "string ...",
            "",
            "Where the version that a request asks for is named: the first of the strings that is not empty.",
        )
        .inherit(Inherit::Never),
        D::new(
            "version",
            Context::LOCATION,
            Arity::Between(1, 2),
            "name [default]",
            "",
            "What holds for requests for this version, instead of the location; with default, also for those that name none, which otherwise get 400. A version that there is not is 404 with the list of those there are. $api_version is the name.",
        )
        .block(Block::Directives(Context::LOCATION))
        .inherit(Inherit::NeverMany),
    ],
    variables: &[],
    http,
    location,
    end: no_end,
};

/// The variable that holds the version of a request; a log format may name it where no location has any.
const VARIABLE: &str = "api_version";

fn http(_: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    b.define(VARIABLE);
    Ok(())
}

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    if scope.context() != Context::LOCATION {
        return Ok(());
    }
    let blocks: Vec<&Directive> = scope.here("version").collect();
    let from = scope.here("version_from").next();
    if scope.directive().is_some_and(|block| block.name.text == "version") {
        let wrong = ["version", "version_from", "location", "internal"]
            .iter()
            .find_map(|name| scope.here(name).next());
        b.gateway();
        return wrong.map_or(Ok(()), |line| {
            Err(scope.error(line, format!("\"{}\" cannot be inside a version", line.name.text)))
        });
    }
    let from = match (from, blocks.first()) {
        (None, None) => return Ok(()),
        (Some(from), Some(_)) => from,
        (Some(from), None) => return Err(scope.error(from, "\"version_from\" without a version to choose")),
        (None, Some(first)) => {
            return Err(scope.error(*first, "\"version\" needs \"version_from\" beside it"));
        }
    };
    for name in ["if", "limit_except"] {
        if let Some(block) = scope.here(name).next() {
            let message = format!(
                "\"{name}\" cannot stand beside versions, which replace the location: put it into them"
            );
            return Err(scope.error(block, message));
        }
    }
    let from = from.args.iter().map(|word| b.template(word)).collect::<Result<_, _>>()?;
    let (versions, default) = versions(scope, &blocks)?;
    let place = b.define(VARIABLE);
    b.gateway();
    b.quick(Phase::Rewrite, Choose { from, versions, default, place });
    Ok(())
}

/// Names of versions, in order.
type Names = Box<[Box<[u8]>]>;

/// The names of the versions in order, and the number of the default one.
fn versions(scope: &Scope<'_>, blocks: &[&Directive]) -> Result<(Names, Option<usize>), Diagnostic> {
    let (mut names, mut default) = (Vec::<Box<[u8]>>::new(), None);
    for block in blocks {
        let [name, rest @ ..] = block.args.as_slice() else {
            return Err(scope.error(*block, "invalid number of arguments in \"version\" directive"));
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if name.text.is_empty() || !name.text.bytes().all(is_name) {
            return Err(scope.error_at(block, name, format!("invalid version name \"{}\"", name.text)));
        }
        if names.iter().any(|other| **other == *name.text.as_bytes()) {
            return Err(scope.error_at(block, name, format!("duplicate version \"{}\"", name.text)));
        }
        match rest.first() {
            None => {}
            Some(word) if word.text != "default" => {
                return Err(scope.error_at(block, word, format!("invalid parameter \"{}\"", word.text)));
            }
            Some(word) if default.is_some() => {
                return Err(scope.error_at(block, word, "a second default version"));
            }
            Some(_) => default = Some(names.len()),
        }
        names.push(name.text.as_bytes().into());
    }
    Ok((names.into(), default))
}

/// Puts the level of a version in the location's place.
struct Choose {
    from: Box<[Template]>,
    versions: Names,
    default: Option<usize>,
    place: usize,
}

impl QuickStep for Choose {
    fn run(&self, x: &mut Exchange) -> Flow {
        let mut asked = std::mem::take(&mut x.scratch);
        asked.clear();
        for source in &self.from {
            source.write(x, &mut asked);
            if !asked.is_empty() {
                break;
            }
        }
        let flow = self.enter(x, &asked);
        x.scratch = asked;
        flow
    }
}

impl Choose {
    fn enter(&self, x: &mut Exchange, asked: &[u8]) -> Flow {
        let chosen = match asked {
            b"" => self.default,
            name => self.versions.iter().position(|other| **other == *name),
        };
        // No `if` and no `limit_except` stands beside versions: they are all the inner levels.
        let inner = chosen.and_then(|at| Some((at, x.here.inner.get(at)?.clone())));
        let Some((at, inner)) = inner else {
            let list: Vec<String> =
                self.versions.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
            let (status, what) = match asked {
                b"" => (400, "no version is asked for".to_owned()),
                name => (404, format!("there is no version \"{}\"", name.escape_ascii())),
            };
            let detail = format!("{what}; the versions are {}", list.join(", "));
            x.problem = Some(Box::new(Problem::new(detail).with("versions", list)));
            return Flow::Answer(Answer::Status(status));
        };
        x.values.set(self.place, self.versions.get(at).map_or(b"", |name| name));
        x.enter(&inner);
        Flow::Enter
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::testing::{Bench, message};

    fn said(location: &str) -> String {
        let text = format!("http {{ server {{ location /a {{ {location} }} }} }}");
        message(Bench::new(&text, &[&LIFE, &crate::features::rewrite::FEATURE, &FEATURE]).plan())
    }

    #[test]
    fn what_is_refused() {
        for (location, want) in [
            ("version_from $api_version; version v1 { } version v2 default { }", "no error"),
            ("version_from a;", "\"version_from\" without a version to choose"),
            ("version v1 { }", "\"version\" needs \"version_from\" beside it"),
            ("version_from a; version v1 { } version v1 { }", "duplicate version \"v1\""),
            ("version_from a; version v1 old { }", "invalid parameter \"old\""),
            ("version_from a; version v1 default { } version v2 default { }", "a second default version"),
            ("version_from a; version 'v 1' { }", "invalid version name \"v 1\""),
            ("version_from a; version v1 { location /a/b { } }", "\"location\" cannot be inside a version"),
            ("version_from a; version v1 { version_from b; }", "\"version_from\" cannot be inside a version"),
            (
                "version_from a; version v1 { } if ($api_version) { }",
                "\"if\" cannot stand beside versions, which replace the location: put it into them",
            ),
            ("deprecated 2026-13-01;", "invalid day \"2026-13-01\": YYYY-MM-DD"),
            ("sunset 2026-02-29;", "invalid day \"2026-02-29\": YYYY-MM-DD"),
            ("sunset tomorrow;", "invalid day \"tomorrow\": YYYY-MM-DD"),
            ("sunset 2026-02-28 docs;", "invalid URL \"docs\""),
            ("sunset off https://a/;", "invalid parameter \"https://a/\""),
            ("deprecated 2026-06-02; sunset 2026-06-01;", "the sunset is before the deprecation"),
        ] {
            assert_eq!(said(location), want, "{location}");
        }
    }
}
