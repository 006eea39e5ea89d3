//! `sub_filter`: texts in a body are replaced.

mod replace;
mod search;

use crate::conf::{Arity, Context, Diagnostic, DirectiveSpec as D, Inherit, Scope};
use crate::http::Known;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::filter::{Begun, BodyFilter, Stage};
use crate::pipeline::template::Template;
use crate::pipeline::type_set::TypeSet;
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end};
use replace::{Replacer, Work};
use search::Needles;
use std::sync::Arc;

const HSL: Context = Context::HTTP.or(Context::SERVER).or(Context::LOCATION);

/// Texts that one level may replace; nginx's bound.
const PAIRS_MAX: usize = 255;

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "sub_filter",
    module: Some("http_sub"),
    directives: &[
        D::new(
            "sub_filter",
            HSL,
            Arity::Exactly(2),
            "string replacement",
            "",
            "A text in the bodies of answers, in any case, and what stands in its place.",
        )
        .inherit(Inherit::Together),
        D::new(
            "sub_filter_once",
            HSL,
            Arity::Flag,
            "on | off",
            "on",
            "Whether each text is replaced once in a body, or wherever it stands.",
        ),
        D::new(
            "sub_filter_types",
            HSL,
            Arity::AtLeast(1),
            "mime-type ...",
            "text/html",
            "The media types of bodies in which texts are replaced, beside text/html; * for any.",
        )
        .inherit(Inherit::Together),
        D::new(
            "sub_filter_last_modified",
            HSL,
            Arity::Flag,
            "on | off",
            "off",
            "Whether answers whose texts are replaced keep Last-Modified and a weak ETag.",
        ),
    ],
    variables: &[],
    http,
    location,
    end: no_end,
};

/// What is wrong at the http level is told even where no server inherits it.
fn http(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    Sub::compile(scope, b).map(drop)
}

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    if let Some(filter) = Sub::compile(scope, b)? {
        b.body_filter(Stage::Replace, filter);
    }
    Ok(())
}

/// What one location was told.
struct Sub {
    texts: Texts,
    replacements: Arc<[Template]>,
    once: bool,
    types: TypeSet,
    last_modified: bool,
}

/// What is looked for.
enum Texts {
    /// The same in every body.
    Fixed(Arc<Needles>),
    /// There are variables in it.
    Variable(Box<[Template]>),
}

impl Sub {
    fn compile(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<Option<Sub>, Diagnostic> {
        let (mut texts, mut replacements) = (Vec::new(), Vec::new());
        for line in scope.all("sub_filter") {
            let [text, replacement] = line.args.as_slice() else {
                return Err(scope.error(line, "invalid number of arguments in \"sub_filter\" directive"));
            };
            if text.text.is_empty() {
                return Err(scope.error(line, "empty search pattern"));
            }
            if texts.len() == PAIRS_MAX {
                return Err(scope.error(line, format!("number of search patterns exceeds {PAIRS_MAX}")));
            }
            texts.push(b.template(text)?);
            replacements.push(b.template(replacement)?);
        }
        let once = scope.flag("sub_filter_once", true)?;
        let last_modified = scope.flag("sub_filter_last_modified", false)?;
        let types = TypeSet::compile(scope, "sub_filter_types", &[]);
        if texts.is_empty() {
            return Ok(None);
        }
        let fixed: Option<Vec<Vec<u8>>> =
            texts.iter().map(|text| text.as_literal().map(<[u8]>::to_vec)).collect();
        let texts = match fixed {
            Some(fixed) => Texts::Fixed(Arc::new(Needles::new(fixed))),
            None => Texts::Variable(texts.into()),
        };
        Ok(Some(Sub { texts, replacements: replacements.into(), once, types, last_modified }))
    }
}

impl BodyFilter for Sub {
    fn begin(&self, x: &mut Exchange) -> Begun {
        if x.answer.length == Some(0) || !self.types.contains(&x.answer.content_type) {
            return Begun::Nothing;
        }
        let needles = match &self.texts {
            Texts::Fixed(needles) => needles.clone(),
            Texts::Variable(texts) => {
                Arc::new(Needles::new(texts.iter().map(|text| text.value(x)).collect()))
            }
        };
        if needles.is_empty() {
            return Begun::Nothing;
        }
        x.answer.length = None;
        if self.last_modified {
            x.answer.weaken_etag();
        } else {
            x.answer.fields.remove(Known::LastModified);
            x.answer.fields.remove(Known::Etag);
        }
        let work = Work { needles, replacements: self.replacements.clone(), once: self.once };
        Begun::Through(Box::new(Replacer::new(work)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::testing::{Bench, message};

    #[test]
    fn errors_are_nginxs() {
        let many = "sub_filter a b; ".repeat(256);
        for (text, want) in [
            ("sub_filter '' a;", "empty search pattern"),
            (many.as_str(), "number of search patterns exceeds 255"),
            ("sub_filter a ${;", "invalid variable name"),
            ("sub_filter_types text/css; sub_filter_last_modified on;", "no error"),
        ] {
            let text = format!("http {{ server {{ location / {{ {text} }} }} }}");
            assert_eq!(message(Bench::new(&text, &[&FEATURE]).plan()), want, "{text}");
        }
    }
}
