//! `client_body_early_read`: the body is read before anything asks for it, so that the rewrite
//! directives, maps and limits can look at `$request_body`.

use crate::base::process_settings::Level;
use crate::conf::{Arity, Context, Diagnostic, DirectiveSpec as D, Scope};
use crate::http::Framing;
use crate::pipeline::answer::Answer;
use crate::pipeline::body::RequestBody;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::step::{Flow, Phase, WaitingStep};
use crate::pipeline::template::Template;
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end, nothing};
use std::future::Future;
use std::pin::Pin;

/// The feature. Its step comes before all others, as in nginx.
pub const FEATURE: Feature = Feature {
    name: "early_body",
    module: None,
    directives: &[D::new(
        "client_body_early_read",
        Context::HTTP.or(Context::SERVER),
        Arity::AtLeast(1),
        "string ...",
        "",
        "Reads the request's body right behind its head, before a location is chosen, if at least one of the strings is neither empty nor 0; what the server says of bodies holds for it.",
    )],
    variables: &[],
    http: nothing,
    location,
    end: no_end,
};

struct EarlyBody {
    /// If one of them is neither empty nor `0`.
    conditions: Box<[Template]>,
}

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    if scope.context() != Context::SERVER {
        return Ok(());
    }
    let Some(line) = scope.one("client_body_early_read") else { return Ok(()) };
    let conditions = line.args.iter().map(|word| b.template(word)).collect::<Result<_, _>>()?;
    let folder = b.settings().client_body_temp_path.clone();
    b.temp_folder(&folder);
    b.waiting(Phase::PostRead, EarlyBody { conditions });
    Ok(())
}

impl EarlyBody {
    fn applies(&self, x: &Exchange) -> bool {
        x.depth == 0
            && self.conditions.iter().any(|condition| {
                let value = condition.value(x);
                !value.is_empty() && value != b"0"
            })
    }

    /// Reads the body.
    ///
    /// # Errors
    /// The status to refuse the request with.
    async fn read(&self, x: &mut Exchange) -> Result<(), u16> {
        let limit = x.here.settings.client_max_body_size;
        if let Framing::Length(length) = x.head.framing
            && limit > 0
            && length > limit
        {
            x.log(Level::Error, format_args!("client intended to send too large body: {length} bytes"));
            x.body = RequestBody::Consumed;
            return Err(413);
        }
        x.read_body().await
    }
}

impl WaitingStep for EarlyBody {
    fn run<'a>(&'a self, x: &'a mut Exchange) -> Pin<Box<dyn Future<Output = Flow> + 'a>> {
        Box::pin(async move {
            if !self.applies(x) {
                return Flow::Next;
            }
            match self.read(x).await {
                Ok(()) => Flow::Next,
                Err(status) => Flow::Answer(Answer::Status(status)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::testing::{Bench, message};

    #[test]
    fn errors_are_nginxs() {
        for (text, want) in [
            ("client_body_early_read on;", "no error"),
            ("client_body_early_read $nowhere;", "unknown \"nowhere\" variable"),
        ] {
            let text = format!("http {{ server {{ {text} }} }}");
            let features = [&crate::features::variables::FEATURE, &crate::features::core::FEATURE, &FEATURE];
            assert_eq!(message(Bench::new(&text, &features).plan()), want, "{text}");
        }
    }
}
