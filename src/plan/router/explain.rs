//! Why a path belongs where it does, and not elsewhere: for `octroi explain`.

use super::{LocationId, Router};
use crate::pipeline::exchange::Exchange;

/// Candidates of one kind that are named one by one; of more, the number is told.
const NAMED_MAX: usize = 40;

/// What a location is called, and the same with its kind and place.
pub type Shown<'s> = &'s dyn Fn(LocationId) -> (String, String);

impl Router {
    /// What stands before a location's name.
    pub fn modifier(&self, id: LocationId) -> &'static str {
        if self.exact.values().any(|other| *other == id) {
            return "= ";
        }
        if self.regexes.iter().any(|regex| regex.id == id) {
            return "~ ";
        }
        match self.prefixes.list.iter().find(|prefix| prefix.id == id) {
            Some(prefix) if prefix.no_regex => "^~ ",
            _ => "",
        }
    }

    /// A line for each location that the exchange's path does not belong to, with the reason, in the order
    /// in which they are tried. `found` is where it belongs.
    pub fn others(&self, x: &Exchange, found: Option<LocationId>, shown: Shown<'_>) -> Vec<String> {
        let mut told = Vec::new();
        let path = String::from_utf8_lossy(&x.uri).into_owned();
        let other = |id: &LocationId| Some(*id) != found;
        let mut exact: Vec<LocationId> = self.exact.values().copied().filter(other).collect();
        exact.sort_unstable();
        let lines = exact.into_iter().map(|id| format!("{}: is not the whole path", shown(id).1));
        several(lines, "exact locations", &mut told);
        if let Some(routes) = self.routes() {
            let chosen = routes.template_of(&x.uri);
            let others = routes.templates().filter(|text| Some(*text) != chosen);
            several(
                others.map(|text| format!("route {text}: {}", why_not(text, &path))),
                "routes",
                &mut told,
            );
        }
        let before = |is_one: bool, yes: &str, no: &str| match is_one {
            true => format!("{yes}, but what is found counts before it"),
            false => no.to_owned(),
        };
        let prefixes = self.prefixes.list.iter().map(|prefix| prefix.id).filter(other);
        let lines = prefixes.map(|id| {
            let (name, line) = shown(id);
            let begins = x.uri.starts_with(name.as_bytes());
            format!("{line}: {}", before(begins, "begins the path", "does not begin the path"))
        });
        several(lines, "prefixes", &mut told);
        let lines = self.regexes.iter().filter(|regex| other(&regex.id)).map(|regex| {
            let matches = regex.pattern.pattern.matches(&x.uri, &mut Default::default()).unwrap_or(false);
            format!("{}: {}", shown(regex.id).1, before(matches, "matches", "does not match"))
        });
        several(lines, "regular expressions", &mut told);
        told
    }
}

fn several(lines: impl Iterator<Item = String>, what: &str, told: &mut Vec<String>) {
    let lines: Vec<String> = lines.collect();
    if lines.len() > NAMED_MAX {
        told.push(format!("{} other {what}, by none of which it is found first", lines.len()));
    } else {
        told.extend(lines);
    }
}

/// Why a template does not take a path, or not this time.
fn why_not(template: &str, path: &str) -> String {
    let mut asked = path.split('/').skip(1);
    for (at, own) in template.split('/').skip(1).enumerate() {
        let number = at + 1;
        match asked.next() {
            _ if own.starts_with("{*") => return later(),
            None => return format!("the path has no segment {number}"),
            Some("") if own.starts_with('{') => return format!("segment {number} of the path is empty"),
            Some(_) if own.starts_with('{') => {}
            Some(segment) if segment != own => {
                return format!("segment {number} is \"{segment}\", not \"{own}\"");
            }
            Some(_) => {}
        }
    }
    match asked.next() {
        Some(_) => "the path has more segments".to_owned(),
        None => later(),
    }
}

fn later() -> String {
    "takes the path too, but what is found is more specific".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons() {
        assert_eq!(why_not("/a/{x}", "/b/7"), "segment 1 is \"b\", not \"a\"");
        assert_eq!(why_not("/a/{x}", "/a/"), "segment 2 of the path is empty");
        assert_eq!(why_not("/a/{x}", "/a"), "the path has no segment 2");
        assert_eq!(why_not("/a/{x}", "/a/b/c"), "the path has more segments");
        assert_eq!(why_not("/{*rest}", "/a/b/c"), later());
    }
}
