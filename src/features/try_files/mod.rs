//! `try_files`: the first of some files that is there, else another path, a named location or a status.

mod step;

use crate::conf::{Arity, Context, Diagnostic, Directive, DirectiveSpec, Inherit, Scope, value};
use crate::pipeline::step::Phase;
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end, nothing};

use step::{Otherwise, Try, TryFiles};

/// The highest code behind `=`.
const CODE_MAX: u64 = 999;

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "try_files",
    module: None,
    directives: &[DirectiveSpec::new(
        "try_files",
        Context::SERVER.or(Context::LOCATION),
        Arity::AtLeast(2),
        "file ... uri | file ... =code",
        "",
        "Goes on with the first of the files that is there (a directory, where a slash ends its name); without one with the path, the named location or the code at the end.",
    )
    .inherit(Inherit::Never)],
    variables: &[],
    http: nothing,
    location,
    end: no_end,
};

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    if let Some(directive) = scope.here("try_files").next() {
        let step = compile(scope, directive, b)?;
        b.waiting(Phase::PreContent, step);
    }
    Ok(())
}

fn compile(scope: &Scope<'_>, directive: &Directive, b: &mut Builder<'_>) -> Result<TryFiles, Diagnostic> {
    let Some((last, files)) = directive.args.split_last() else {
        return Err(scope.error(directive, "invalid number of arguments in \"try_files\" directive"));
    };
    let mut tries = Vec::with_capacity(files.len());
    for word in files {
        let name = word.text.strip_suffix('/');
        tries.push(Try { path: b.template_of(name.unwrap_or(&word.text), word)?, is_folder: name.is_some() });
    }
    let otherwise = match last.text.strip_prefix('=') {
        Some(code) => match value::number(code) {
            Some(code @ (201 | 204 | 300..=CODE_MAX)) => Otherwise::Status(code as u16),
            Some(0..300) => Otherwise::Silence,
            _ => return Err(scope.error_at(directive, last, format!("invalid code \"{}\"", last.text))),
        },
        None => Otherwise::Path(b.template(last)?),
    };
    Ok(TryFiles { tries, otherwise })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::testing::{Bench, message};

    #[test]
    fn errors_are_nginxs() {
        for (text, want) in [
            ("try_files a =1000;", "invalid code \"=1000\""),
            ("try_files a =;", "invalid code \"=\""),
            ("try_files a =x;", "invalid code \"=x\""),
            ("try_files $nowhere =404;", "unknown \"nowhere\" variable"),
            ("try_files a/ b;", "no error"),
        ] {
            let text = format!("http {{ server {{ location / {{ {text} }} }} }}");
            assert_eq!(message(Bench::new(&text, &[&FEATURE]).plan()), want, "{text}");
        }
    }
}
