//! `mirror`: each request is made a second time, inside, for somebody who looks on; what comes of that
//! is ignored.

use crate::conf::{Arity, Context, Diagnostic, DirectiveSpec as D, Inherit, Scope};
use crate::pipeline::answer::Answer;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::step::{Flow, Phase, Subrequest, WaitingStep};
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end};
use std::future::Future;
use std::pin::Pin;

const HSL: Context = Context::HTTP.or(Context::SERVER).or(Context::LOCATION);

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "mirror",
    module: Some("http_mirror"),
    directives: &[
        D::new(
            "mirror",
            HSL,
            Arity::Exactly(1),
            "uri | off",
            "off",
            "Makes each request once more, to this path, and ignores the answer; several lines make several.",
        )
        .inherit(Inherit::Together),
        D::new(
            "mirror_request_body",
            HSL,
            Arity::Flag,
            "on | off",
            "on",
            "Whether the request's body is read first, and sent along.",
        ),
    ],
    variables: &[],
    http: |scope, _| Mirror::compile(scope).map(drop),
    location,
    end: no_end,
};

struct Mirror {
    /// Where to, at least one.
    paths: Box<[Box<[u8]>]>,
    with_body: bool,
}

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let mirror = Mirror::compile(scope)?;
    if !mirror.paths.is_empty() {
        if mirror.with_body {
            // Whatever answers here, the body is read.
            let folder = b.settings().client_body_temp_path.clone();
            b.temp_folder(&folder);
        }
        b.waiting(Phase::PreContent, mirror);
    }
    Ok(())
}

impl Mirror {
    fn compile(scope: &Scope<'_>) -> Result<Mirror, Diagnostic> {
        let with_body = scope.flag("mirror_request_body", true)?;
        let lines = scope.all("mirror");
        let off = lines.iter().any(|line| line.arg(0) == Some("off"));
        if let (true, Some(second)) = (off, lines.get(1)) {
            return Err(scope.error(*second, "\"mirror\" directive is duplicate"));
        }
        let paths = lines.iter().filter_map(|line| line.arg(0)).filter(|_| !off);
        Ok(Mirror { paths: paths.map(|path| path.as_bytes().into()).collect(), with_body })
    }
}

impl WaitingStep for Mirror {
    fn run<'a>(&'a self, x: &'a mut Exchange) -> Pin<Box<dyn Future<Output = Flow> + 'a>> {
        Box::pin(async move {
            // What the gateway asks itself is not mirrored.
            if x.depth > 0 {
                return Flow::Next;
            }
            if self.with_body
                && let Err(status) = x.read_body().await
            {
                return Flow::Answer(Answer::Status(status));
            }
            let made = |path: &[u8]| Subrequest { uri: path.to_vec(), args: x.args.clone() };
            Flow::Aside(self.paths.iter().map(|path| made(path)).collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::testing::{Bench, message};

    #[test]
    fn off_stands_alone() {
        for (text, want) in [
            ("mirror /a; mirror /b;", "no error"),
            ("mirror off;", "no error"),
            ("mirror /a; mirror off;", "\"mirror\" directive is duplicate"),
            ("mirror off; mirror /a;", "\"mirror\" directive is duplicate"),
        ] {
            let text = format!("http {{ mirror /x; server {{ {text} }} }}");
            assert_eq!(message(Bench::new(&text, &[&FEATURE]).plan()), want, "{text}");
        }
    }
}
