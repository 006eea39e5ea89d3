//! `add_before_body` and `add_after_body`: the answers to other paths stand round a body.

use crate::conf::{Arity, Context, Diagnostic, DirectiveSpec as D, Inherit, Scope};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::filter::{Around, Begun, BodyFilter, Stage};
use crate::pipeline::type_set::TypeSet;
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end, nothing};

const HSL: Context = Context::HTTP.or(Context::SERVER).or(Context::LOCATION);

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "addition",
    module: Some("http_addition"),
    directives: &[
        D::new(
            "add_before_body",
            HSL,
            Arity::Exactly(1),
            "uri",
            "",
            "The path whose answer stands before the body; an empty one adds nothing.",
        ),
        D::new(
            "add_after_body",
            HSL,
            Arity::Exactly(1),
            "uri",
            "",
            "The path whose answer stands behind the body; an empty one adds nothing.",
        ),
        D::new(
            "addition_types",
            HSL,
            Arity::AtLeast(1),
            "mime-type ...",
            "text/html",
            "The media types of bodies that other answers stand round, beside text/html; * for any.",
        )
        .inherit(Inherit::Together),
    ],
    variables: &[],
    http: nothing,
    location,
    end: no_end,
};

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let path = |name| scope.word(name).filter(|path| !path.is_empty()).map(|path| path.as_bytes().into());
    let around = Around { before: path("add_before_body"), after: path("add_after_body") };
    if around.before.is_some() || around.after.is_some() {
        b.body_filter(
            Stage::Around,
            Addition { around, types: TypeSet::compile(scope, "addition_types", &[]) },
        );
    }
    Ok(())
}

struct Addition {
    around: Around,
    types: TypeSet,
}

impl BodyFilter for Addition {
    fn begin(&self, x: &mut Exchange) -> Begun {
        if x.answer.status != 200 || x.depth > 0 || !self.types.contains(&x.answer.content_type) {
            return Begun::Nothing;
        }
        x.answer.forget_length();
        x.answer.weaken_etag();
        Begun::Around(self.around.clone())
    }
}
