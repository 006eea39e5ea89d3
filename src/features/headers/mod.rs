//! `add_header`, `add_trailer` and `expires`: fields added to answers, whoever made them.

mod added;
mod expires;

use crate::conf::{Arity, Context, Diagnostic, DirectiveSpec as D, Inherit, Scope};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::step::HeaderFilter;
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end};
use added::Added;
use expires::Setting;

const HSLI: Context = Context::HTTP.or(Context::SERVER).or(Context::LOCATION).or(Context::IF_IN_LOCATION);

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "headers",
    module: None,
    directives: &[
        D::new(
            "add_header",
            HSLI,
            Arity::Between(2, 3),
            "name value [always]",
            "",
            "A field added to answers with status 200, 201, 204, 206, 301, 302, 303, 304, 307 or 308; with always, to any. An empty value adds none.",
        )
        .inherit(Inherit::Together),
        D::new(
            "add_header_inherit",
            HSLI,
            Arity::Exactly(1),
            "on | off | merge",
            "on",
            "Whether a level without add_header has those of the level above (on), none does (off), or all do, behind their own (merge).",
        ),
        D::new(
            "add_trailer",
            HSLI,
            Arity::Between(2, 3),
            "name value [always]",
            "",
            "A field added behind the body of answers with those statuses; with always, to any. The body is then sent chunked, and clients that do not know that get no such field.",
        )
        .inherit(Inherit::Together),
        D::new(
            "add_trailer_inherit",
            HSLI,
            Arity::Exactly(1),
            "on | off | merge",
            "on",
            "The same as add_header_inherit, for add_trailer.",
        ),
        D::new(
            "expires",
            HSLI,
            Arity::Between(1, 2),
            "[modified] time | @time | epoch | max | off",
            "off",
            "Sets Expires and Cache-Control of answers with those statuses, so many seconds from now or from Last-Modified, or at a time of day.",
        ),
    ],
    variables: &[],
    http,
    location,
    end: no_end,
};

/// What one location was told.
struct Headers {
    expires: Option<Setting>,
    added: Box<[Added]>,
    trailers: Option<Behind>,
}

/// To which answers fields are added behind the body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Behind {
    /// To those that all fields are added to.
    Safe,
    /// To any.
    Any,
}

impl Headers {
    fn compile(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<Headers, Diagnostic> {
        Ok(Headers {
            expires: Setting::compile(scope, b)?,
            added: added::compile(scope, ["add_header", "add_header_inherit"], b)?,
            trailers: behind(&trailers(scope, b)?),
        })
    }
}

/// What `add_trailer` adds in one location.
struct Trailers(Box<[Added]>);

impl HeaderFilter for Trailers {
    fn filter(&self, x: &mut Exchange) {
        if !x.answer.expect_trailers {
            return;
        }
        let safe = is_safe(x.answer.status);
        for added in self.0.iter().filter(|added| safe || added.always) {
            added.apply_behind(x);
        }
    }
}

fn behind(added: &[Added]) -> Option<Behind> {
    let always = added.iter().any(|added| added.always);
    (!added.is_empty()).then_some(if always { Behind::Any } else { Behind::Safe })
}

fn trailers(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<Box<[Added]>, Diagnostic> {
    added::compile(scope, ["add_trailer", "add_trailer_inherit"], b)
}

impl HeaderFilter for Headers {
    fn filter(&self, x: &mut Exchange) {
        // An answer to the gateway itself is not sent to anyone.
        if x.depth > 0 {
            return;
        }
        let safe = is_safe(x.answer.status);
        if let (Some(expires), true) = (&self.expires, safe) {
            expires.apply(x);
        }
        for added in &self.added {
            if safe || added.always {
                added.apply(x);
            }
        }
        x.answer.expect_trailers |= match self.trailers {
            None => false,
            Some(Behind::Safe) => safe,
            Some(Behind::Any) => true,
        };
    }
}

/// The statuses that fields are added to without `always`.
fn is_safe(status: u16) -> bool {
    matches!(status, 200 | 201 | 204 | 206 | 301..=304 | 307 | 308)
}

/// What is wrong at the http level is told even where no server inherits it.
fn http(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    Headers::compile(scope, b).map(drop)
}

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let headers = Headers::compile(scope, b)?;
    if headers.expires.is_some() || !headers.added.is_empty() || headers.trailers.is_some() {
        b.header_filter(headers);
    }
    let trailers = trailers(scope, b)?;
    if !trailers.is_empty() {
        b.trailer_filter(Trailers(trailers));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::features::testing::{Bench, message};
    use crate::http::Known;

    /// The fields that the filters of location `/` leave of an answer.
    fn filtered(text: &str, prepare: impl FnOnce(&mut Exchange)) -> String {
        Bench::new(text, &[&FEATURE]).exchange("/", |x| {
            x.answer.status = 200;
            prepare(x);
            let here = x.here.clone();
            here.settings.header_filters.iter().for_each(|filter| filter.filter(x));
            let shown = |(name, value, _): (&[u8], &[u8], Known)| {
                format!("{}: {}\n", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
            };
            x.answer.fields.iter().map(shown).collect()
        })
    }

    fn in_location(directives: &str) -> String {
        format!("http {{ server {{ location / {{ {directives} }} }} }}")
    }

    fn wrong(directives: &str) -> String {
        message(Bench::new(&in_location(directives), &[&FEATURE]).plan())
    }

    #[test]
    fn fields_are_added() {
        let text = in_location("add_header A 1; add_header B ''; add_header C 2 always;");
        assert_eq!(filtered(&text, |_| ()), "A: 1\nC: 2\n");
        assert_eq!(filtered(&text, |x| x.answer.status = 404), "C: 2\n");
        assert_eq!(filtered(&text, |x| x.depth = 1), "");
        assert_eq!(
            [200, 202, 205, 302, 305, 308, 400].map(is_safe),
            [true, false, false, true, false, true, false]
        );
    }

    #[test]
    fn a_value_of_several_lines_is_sent_as_one() {
        let text = in_location("add_header A \"a;\n  b\\n\"; add_header B 'c ';");
        assert_eq!(filtered(&text, |_| ()), "A: a;   b\nB: c \n");
        assert_eq!(wrong("add_header 'A\nB' c;"), "a header field whose name has more than one line");
    }

    #[test]
    fn some_fields_are_replaced() {
        let text = in_location("add_header ETag '\"x\"'; add_header Last-Modified ''; add_header Link b;");
        let prepare = |x: &mut Exchange| {
            x.answer.fields.push(b"ETag", b"old");
            x.answer.fields.push(b"Last-Modified", b"old");
            x.answer.fields.push(b"Link", b"a");
        };
        assert_eq!(filtered(&text, prepare), "Link: a\nETag: \"x\"\nLink: b\n");
    }

    #[test]
    fn levels_replace_or_add_up() {
        let nested = |http: &str, server: &str, location: &str| {
            let text = format!(
                "http {{ add_header H 1; {http} server {{ {server} location / {{ {location} }} }} }}"
            );
            filtered(&text, |_| ())
        };
        assert_eq!(nested("", "", ""), "H: 1\n");
        assert_eq!(nested("", "add_header S 1;", ""), "S: 1\n");
        assert_eq!(nested("", "add_header S 1;", "add_header L 1;"), "L: 1\n");
        assert_eq!(nested("", "", "add_header_inherit off;"), "");
        let all = nested("add_header_inherit merge;", "add_header S 1;", "add_header L 1;");
        assert_eq!(all, "L: 1\nS: 1\nH: 1\n");
        assert_eq!(
            nested("", "add_header S 1;", "add_header L 1; add_header_inherit merge;"),
            "L: 1\nS: 1\n"
        );
    }

    #[test]
    fn expires_in_all_forms() {
        let expires = |value: &str| filtered(&in_location(&format!("expires {value};")), |_| ());
        let epoch = "Expires: Thu, 01 Jan 1970 00:00:01 GMT\nCache-Control: no-cache\n";
        let max = "Expires: Thu, 31 Dec 2037 23:55:55 GMT\nCache-Control: max-age=315360000\n";
        assert_eq!(expires("epoch"), epoch);
        assert_eq!(expires("max"), max);
        assert_eq!(expires("off"), "");
        assert!(expires("1h").ends_with("\nCache-Control: max-age=3600\n"));
        assert!(expires("+1h").ends_with("\nCache-Control: max-age=3600\n"));
        assert!(expires("-1").ends_with("\nCache-Control: no-cache\n"));
        assert!(expires("0").ends_with("\nCache-Control: max-age=0\n"));
        assert!(expires("@15h30m33s").contains(":33 GMT\nCache-Control: max-age="));
        let modified = |x: &mut Exchange| {
            x.answer.fields.push(b"Last-Modified", b"Mon, 28 Sep 1970 06:00:00 GMT");
            x.answer.fields.push(b"Cache-Control", b"private");
        };
        assert_eq!(
            filtered(&in_location("expires modified 2048;"), modified),
            "Last-Modified: Mon, 28 Sep 1970 06:00:00 GMT\nExpires: Mon, 28 Sep 1970 06:34:08 GMT\nCache-Control: no-cache\n"
        );
        assert!(expires("modified 1h").ends_with("max-age=3600\n"));
        let safe_only = filtered(&in_location("expires max;"), |x| x.answer.status = 404);
        assert_eq!(safe_only, "");
    }

    #[test]
    fn errors_are_nginxs() {
        for (text, want) in [
            ("add_header A 1 sometimes;", "invalid parameter \"sometimes\""),
            ("add_header_inherit yes;", "invalid value \"yes\""),
            ("expires never;", "\"expires\" directive invalid value"),
            ("expires changed 1h;", "\"expires\" directive invalid value"),
            ("expires @25h;", "\"expires\" directive daily time value must be less than 24 hours"),
            (
                "expires modified @1h;",
                "\"expires\" directive daily time cannot be used with \"modified\" parameter",
            ),
            ("expires modified max;", "\"expires\" directive invalid value"),
        ] {
            assert_eq!(wrong(text), want, "{text}");
        }
    }
}
