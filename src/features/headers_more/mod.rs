//! OpenResty's headers-more: fields of requests and answers set and cleared, whatever the status and
//! whoever they came from.

mod input;
mod output;

use crate::conf::{Arity, Context, Diagnostic, Directive, DirectiveSpec as D, Inherit, Scope, Word};
use crate::http::Known;
use crate::pipeline::step::Phase;
use crate::pipeline::template::Template;
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end, nothing};

const HSLI: Context = Context::HTTP.or(Context::SERVER).or(Context::LOCATION).or(Context::IF_IN_LOCATION);

/// The feature. Its filter comes before `add_header`'s, as there.
pub const FEATURE: Feature = Feature {
    name: "headers_more",
    module: None,
    directives: &[
        D::new(
            "more_set_headers",
            HSLI,
            Arity::AtLeast(1),
            "[-t 'type ...'] [-s 'status ...'] [-a] 'Name: value' ...",
            "",
            "Sets fields of answers, also those of an upstream and of errors: a field of the name is replaced, with -a another one is added; without a value it is removed. Only for these types and statuses, where given. Those of outer levels come first.",
        )
        .inherit(Inherit::Merge),
        D::new(
            "more_clear_headers",
            HSLI,
            Arity::AtLeast(1),
            "[-t 'type ...'] [-s 'status ...'] Name ...",
            "",
            "Removes fields of answers; a name may end in *. Only for these types and statuses, where given.",
        )
        .inherit(Inherit::Merge),
    ],
    variables: &[],
    http: nothing,
    location: answers,
    end: no_end,
};

/// The other half; its step comes before all that looks at requests, behind the rewrite directives and the
/// client's address.
pub const INPUT: Feature = Feature {
    name: "headers_more_input",
    module: None,
    directives: &[
        D::new(
            "more_set_input_headers",
            HSLI,
            Arity::AtLeast(1),
            "[-r] [-t 'type ...'] 'Name: value' ...",
            "",
            "Sets fields of requests, for all that looks at them behind the rewrite directives, and for upstreams: with -r only where there is such a field. Only for requests whose bodies are of these types, where given.",
        )
        .inherit(Inherit::Merge),
        D::new(
            "more_clear_input_headers",
            HSLI,
            Arity::AtLeast(1),
            "[-t 'type ...'] Name ...",
            "",
            "Removes fields of requests; a name may end in *. Only for requests whose bodies are of these types, where given.",
        )
        .inherit(Inherit::Merge),
    ],
    variables: &[],
    http: nothing,
    location: requests,
    end: no_end,
};

/// One line.
struct Change {
    /// Media types it is for; none for any.
    types: Vec<Box<[u8]>>,
    /// Statuses it is for; none for any.
    statuses: Vec<u16>,
    /// `-a`
    append: bool,
    /// `-r`
    restrict: bool,
    fields: Vec<Edit>,
}

/// What becomes of the fields of one name.
struct Edit {
    known: Known,
    name: Box<[u8]>,
    /// Every name that begins so.
    prefix: bool,
    /// The new value; `None` removes the field.
    value: Option<Template>,
}

impl Edit {
    fn is_for(&self, name: &[u8]) -> bool {
        match self.prefix {
            true => name.get(..self.name.len()).is_some_and(|start| start.eq_ignore_ascii_case(&self.name)),
            false => name.eq_ignore_ascii_case(&self.name),
        }
    }
}

impl Change {
    /// Whether it is for this media type, whose parameters do not count.
    fn is_for_type(&self, media_type: &[u8]) -> bool {
        let bare = media_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        self.types.is_empty() || self.types.iter().any(|known| known.eq_ignore_ascii_case(bare))
    }
}

fn answers(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let changes = changes(scope, ["more_set_headers", "more_clear_headers"], &output::FIXED, b)?;
    if !changes.is_empty() {
        b.header_filter(output::Answers(changes));
    }
    Ok(())
}

fn requests(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let changes = changes(scope, ["more_set_input_headers", "more_clear_input_headers"], &input::FIXED, b)?;
    if !changes.is_empty() {
        b.quick(Phase::PreAccess, input::Requests(changes));
    }
    Ok(())
}

/// The lines of both directives that hold here, in their order on each level, the outermost level first.
fn changes(
    scope: &Scope<'_>,
    [set, clear]: [&str; 2],
    fixed: &[&str],
    b: &mut Builder<'_>,
) -> Result<Box<[Change]>, Diagnostic> {
    let mut levels = Vec::new();
    let mut level = Some(scope.clone());
    while let Some(scope) = level {
        level = scope.parent();
        levels.push(scope);
    }
    let mut found = Vec::new();
    for level in levels.iter().rev() {
        for line in level.body() {
            let sets = line.name.text == set;
            if sets || line.name.text == clear {
                found.push(change(level, line, sets, fixed, b)?);
            }
        }
    }
    Ok(found.into())
}

fn change(
    scope: &Scope<'_>,
    line: &Directive,
    sets: bool,
    fixed: &[&str],
    b: &mut Builder<'_>,
) -> Result<Change, Diagnostic> {
    let mut change = Change {
        types: Vec::new(),
        statuses: Vec::new(),
        append: false,
        restrict: false,
        fields: Vec::new(),
    };
    let is_input = line.name.text.contains("input");
    let wrong = |word: &Word, what: &str| scope.error_at(line, word, format!("{what} \"{}\"", word.text));
    let mut words = line.args.iter();
    while let Some(word) = words.next() {
        let mut value = || {
            let missing = || wrong(word, "no value behind");
            words.next().ok_or_else(missing)
        };
        match word.text.as_str() {
            "-t" => {
                let types = value()?;
                change.types.extend(types.text.split_ascii_whitespace().map(|text| text.as_bytes().into()));
            }
            "-s" if !is_input => {
                let statuses = value()?;
                for text in statuses.text.split_ascii_whitespace() {
                    let status = text.parse().ok().filter(|status| (100..1000).contains(status));
                    change.statuses.push(status.ok_or_else(|| wrong(statuses, "invalid status in"))?);
                }
            }
            "-a" if sets && !is_input => change.append = true,
            "-r" if sets && is_input => change.restrict = true,
            text if text.starts_with('-') => return Err(wrong(word, "invalid option name")),
            _ => change.fields.push(edit(scope, line, word, sets, fixed, b)?),
        }
    }
    match change.fields.is_empty() {
        true => Err(scope.error(line, format!("\"{}\" names no field", line.name.text))),
        false => Ok(change),
    }
}

fn edit(
    scope: &Scope<'_>,
    line: &Directive,
    word: &Word,
    sets: bool,
    fixed: &[&str],
    b: &mut Builder<'_>,
) -> Result<Edit, Diagnostic> {
    let (name, value) = match word.text.split_once(':') {
        Some((name, value)) if sets => (name, value.trim()),
        _ => (word.text.as_str(), ""),
    };
    let name = name.trim();
    let (name, prefix) = match name.strip_suffix('*') {
        Some(start) if !sets => (start, true),
        _ => (name, false),
    };
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(scope.error_at(line, word, format!("invalid header name in \"{}\"", word.text)));
    }
    if value.contains(['\r', '\n', '\0']) {
        return Err(scope.error_at(line, word, "a header value cannot hold a line end"));
    }
    let is_fixed = |fixed: &&str| match prefix {
        true => fixed.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)),
        false => fixed.eq_ignore_ascii_case(name),
    };
    // A pattern that would take one of these too leaves it; to name one is a mistake.
    if !prefix && fixed.iter().any(is_fixed) {
        let message = format!("\"{name}\" says how the message is sent, and is the gateway's to say");
        return Err(scope.error_at(line, word, message));
    }
    let value = if value.is_empty() { None } else { Some(b.template_of(value, word)?) };
    Ok(Edit { known: Known::of(name.as_bytes()), name: name.as_bytes().into(), prefix, value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::testing::{Bench, message};

    fn said(line: &str) -> String {
        message(
            Bench::new(&format!("http {{ server {{ location / {{ {line} }} }} }}"), &[&INPUT, &FEATURE])
                .plan(),
        )
    }

    #[test]
    fn what_is_refused() {
        for (line, want) in [
            ("more_set_headers -a -s '404 500' -t 'a/b c/d' 'A: b' C 'D:';", "no error"),
            ("more_clear_headers A* -s 404 B;", "no error"),
            ("more_set_headers -s 404;", "\"more_set_headers\" names no field"),
            ("more_set_headers 'A: b' -s;", "no value behind \"-s\""),
            ("more_set_headers -s x 'A: b';", "invalid status in \"x\""),
            ("more_set_headers -x 'A: b';", "invalid option name \"-x\""),
            ("more_clear_headers -a A;", "invalid option name \"-a\""),
            ("more_set_input_headers -s 404 A;", "invalid option name \"-s\""),
            ("more_set_headers 'A b: c';", "invalid header name in \"A b: c\""),
            ("more_set_headers 'A*: c';", "invalid header name in \"A*: c\""),
            (
                "more_set_headers 'Connection: close';",
                "\"Connection\" says how the message is sent, and is the gateway's to say",
            ),
            (
                "more_clear_input_headers content-length;",
                "\"content-length\" says how the message is sent, and is the gateway's to say",
            ),
        ] {
            assert_eq!(said(line), want, "{line}");
        }
    }
}
