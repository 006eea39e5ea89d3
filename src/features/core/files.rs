//! `disable_symlinks` and `open_file_cache`, compiled.

use crate::conf::{Diagnostic, Directive, Place, Scope, value};
use crate::net::file_cache::{FileCache, Wanted};
use crate::pipeline::files::{FileRules, LinkRule};
use crate::pipeline::local::Slot;
use crate::plan::builder::Builder;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

/// `inactive` when nothing is said, seconds.
const INACTIVE_S: u64 = 60;

/// Where each shard has the cache of a directive: all the locations that it holds for share one.
#[derive(Default)]
struct Caches(HashMap<Place, Slot<Rc<FileCache>>>);

/// How a location's files are opened, if either directive says so.
///
/// # Errors
/// What nginx refuses, in its words.
pub fn compile(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<Option<Box<FileRules>>, Diagnostic> {
    let links = links(scope, b)?;
    let wanted = Wanted {
        valid: Duration::from_secs(scope.time_s("open_file_cache_valid", 60)?),
        min_uses: scope.number("open_file_cache_min_uses", 1)?,
        errors: scope.flag("open_file_cache_errors", false)?,
    };
    let cache = cache(scope, b)?.map(|slot| (slot, wanted));
    let none = cache.is_none() && matches!(links, LinkRule::Followed);
    Ok((!none).then(|| Box::new(FileRules { links, cache })))
}

fn links(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<LinkRule, Diagnostic> {
    let Some(directive) = scope.one("disable_symlinks") else { return Ok(LinkRule::Followed) };
    let (mut kind, mut from) = (None, None);
    for word in &directive.args {
        let text = word.text.as_str();
        let again = match (text, text.strip_prefix("from=")) {
            ("off" | "on" | "if_not_owner", _) => kind.replace(text).is_some(),
            (_, Some(part)) => from.replace(b.template_of(part, word)?).is_some(),
            _ => return Err(scope.error_at(directive, word, format!("invalid parameter \"{text}\""))),
        };
        if again {
            let words = [directive.arg(0).unwrap_or_default(), text].join(" ");
            return Err(scope.error(directive, format!("duplicate parameters \"{words}\"")));
        }
    }
    match (kind, from) {
        (Some("off"), None) => Ok(LinkRule::Followed),
        (Some("on"), from) => Ok(LinkRule::Refused(from)),
        (Some("if_not_owner"), from) => Ok(LinkRule::SameOwner(from)),
        (Some(_), _) => Err(scope.error(directive, "\"from=\" cannot be used with \"off\" parameter")),
        (None, _) => {
            let message = "\"disable_symlinks\" must have \"off\", \"on\" or \"if_not_owner\" parameter";
            Err(scope.error(directive, message))
        }
    }
}

fn cache(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<Option<Slot<Rc<FileCache>>>, Diagnostic> {
    let Some(directive) = scope.one("open_file_cache") else { return Ok(None) };
    let Some((max, inactive)) = size(scope, directive)? else { return Ok(None) };
    if let Some(slot) = b.store::<Caches>().0.get(&directive.place) {
        return Ok(Some(*slot));
    }
    let slot = b.reserve(move |_| Rc::new(FileCache::new(max, inactive)));
    b.store::<Caches>().0.insert(directive.place, slot);
    Ok(Some(slot))
}

/// The bounds of the cache; `None` for `off`.
fn size(scope: &Scope<'_>, directive: &Directive) -> Result<Option<(usize, Duration)>, Diagnostic> {
    let (mut max, mut inactive_s, mut off) = (None, INACTIVE_S, false);
    for word in &directive.args {
        let invalid = || {
            let message = format!("invalid \"open_file_cache\" parameter \"{}\"", word.text);
            scope.error_at(directive, word, message)
        };
        match word.text.split_once('=') {
            None if word.text == "off" => off = true,
            Some(("max", text)) => {
                let number = value::number(text).filter(|number| *number > 0).ok_or_else(invalid)?;
                max = Some(usize::try_from(number).unwrap_or(usize::MAX));
            }
            Some(("inactive", text)) => inactive_s = value::time_s(text).ok_or_else(invalid)?,
            _ => return Err(invalid()),
        }
    }
    match max {
        _ if off => Ok(None),
        Some(max) => Ok(Some((max, Duration::from_secs(inactive_s)))),
        None => Err(scope.error(directive, "\"open_file_cache\" must have the \"max\" parameter")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::features::testing::{Bench, message};

    fn plan(directives: &str) -> Bench {
        Bench::new(&format!("http {{ server {{ {directives} location / {{ }} }} }}"), &[])
    }

    #[test]
    fn rules_are_where_they_are_wanted() {
        for (directives, want) in [
            ("", false),
            ("disable_symlinks off; open_file_cache off; open_file_cache_errors on;", false),
            ("disable_symlinks on;", true),
            ("disable_symlinks if_not_owner from=/srv;", true),
            ("open_file_cache max=10 inactive=20s;", true),
        ] {
            let plan = plan(directives).plan().unwrap();
            let location = plan.locations.iter().find(|location| location.name == "/").unwrap();
            assert_eq!(location.files.is_some(), want, "{directives}");
        }
    }

    #[test]
    fn errors_are_nginxs() {
        for (directives, want) in [
            ("disable_symlinks maybe;", "invalid parameter \"maybe\""),
            ("disable_symlinks on off;", "duplicate parameters \"on off\""),
            ("disable_symlinks off from=/a;", "\"from=\" cannot be used with \"off\" parameter"),
            (
                "disable_symlinks from=/a;",
                "\"disable_symlinks\" must have \"off\", \"on\" or \"if_not_owner\" parameter",
            ),
            ("open_file_cache on;", "invalid \"open_file_cache\" parameter \"on\""),
            ("open_file_cache max=0;", "invalid \"open_file_cache\" parameter \"max=0\""),
            ("open_file_cache inactive=1m;", "\"open_file_cache\" must have the \"max\" parameter"),
            ("open_file_cache max=1 inactive=x;", "invalid \"open_file_cache\" parameter \"inactive=x\""),
            ("open_file_cache_valid x;", "\"open_file_cache_valid\" directive invalid value"),
        ] {
            assert_eq!(message(plan(directives).plan()), want, "{directives}");
        }
    }
}
