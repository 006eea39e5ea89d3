//! `index`: which file of a directory answers for it.

mod find;

use crate::conf::{Arity, Context, Diagnostic, DirectiveSpec, Inherit, Scope};
use crate::features::static_files::ServesFiles;
use crate::pipeline::step::Phase;
use crate::pipeline::template::Template;
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end, nothing};

use find::IndexFiles;

/// nginx's default.
const DEFAULT: &str = "index.html";

/// The feature. It is listed behind `static_files`.
pub const FEATURE: Feature = Feature {
    name: "index",
    module: None,
    directives: &[DirectiveSpec::new(
        "index",
        Context::HTTP.or(Context::SERVER).or(Context::LOCATION),
        Arity::AtLeast(1),
        "file ...",
        DEFAULT,
        "The files, tried in order, that answer for a directory; the last may be a path of its own.",
    )
    .inherit(Inherit::Together)],
    variables: &[],
    http: nothing,
    location,
    end: no_end,
};

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let mut files = Vec::new();
    for directive in scope.all("index") {
        for (number, word) in directive.args.iter().enumerate() {
            if word.text.starts_with('/') && number + 1 < directive.args.len() {
                let message = "only the last index in \"index\" directive should be absolute";
                b.warn(scope.warning(directive, message));
            }
            if word.text.is_empty() {
                return Err(scope.error_at(directive, word, "index \"\" in \"index\" directive is invalid"));
            }
            files.push(b.template(word)?);
        }
    }
    if files.is_empty() {
        files.push(Template::literal(DEFAULT));
    }
    let ServesFiles(serves) = *b.store();
    if serves {
        b.waiting(Phase::Content, IndexFiles { files });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::features::static_files;
    use crate::features::static_files::tests::{ask, folder};
    use crate::features::testing::{Bench, message};
    use std::fs;

    fn bench(text: &str) -> Bench {
        Bench::new(text, &[&static_files::FEATURE, &FEATURE])
    }

    #[test]
    fn the_first_that_is_there() {
        let folder = folder("index");
        for name in ["with", "second", "empty"] {
            fs::create_dir(folder.join(name)).unwrap();
        }
        for name in ["with/index.html", "with/b.html", "second/b.html", "a.txt"] {
            fs::write(folder.join(name), b"x").unwrap();
        }
        let root = folder.display();
        let plain = bench(&format!("http {{ server {{ location / {{ root {root}; }} }} }}"));
        let own = bench(&format!(
            "http {{ index never; server {{ location / {{ root {root}; index index.html; index b.html /f?x; }} }} }}"
        ));
        for (request, default, list) in [
            ("GET /with/", "-> /with/index.html", "-> /with/index.html"),
            ("POST /second/", "next", "-> /second/b.html"),
            ("HEAD /empty/", "next", "-> /f?x"),
            ("GET /missing/", "404", "404"),
            ("GET /a.txt/", "404", "404"),
            ("PUT /with/", "405", "405"),
        ] {
            assert_eq!(ask(&plain, "/", request), default, "{request}");
            assert_eq!(ask(&own, "/", request), list, "{request}");
        }
        let alias = bench(&format!("http {{ server {{ location /w/ {{ alias {root}/with/; }} }} }}"));
        assert_eq!(ask(&alias, "/w/", "GET /w/"), "-> /w/index.html");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn an_empty_name_is_refused() {
        let wrong = bench("http { server { index a \"\"; } }");
        assert_eq!(message(wrong.plan()), "index \"\" in \"index\" directive is invalid");
    }
}
