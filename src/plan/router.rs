//! Which location a path belongs to: exact names, then routes where a server has any, then the longest
//! prefix, then regular expressions in the order they were written, each level with its nested ones.
//! nginx's rules, on a radix tree.

pub mod explain;

use super::LocationId;
use super::routes::{Routed, Routes};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::settings::PlacedPattern;
use ahash::AHashMap;
use matchit::Router as Tree;

/// One level of locations: those directly in a server, or in a location.
#[derive(Default)]
pub struct Router {
    exact: AHashMap<Box<[u8]>, LocationId>,
    prefixes: Prefixes,
    regexes: Vec<Regex>,
    /// Prefix locations that redirect their name without its final slash, by that shorter name.
    slashes: AHashMap<Box<[u8]>, LocationId>,
    /// Those of the server, on its own level.
    routes: Option<Box<Routes>>,
}

/// A prefix location.
struct Prefix {
    id: LocationId,
    /// Bytes of the prefix.
    len: usize,
    /// `^~`: a match ends the search before the regular expressions.
    no_regex: bool,
    nested: Option<Box<Router>>,
}

struct Regex {
    pattern: PlacedPattern,
    id: LocationId,
    nested: Option<Box<Router>>,
}

/// How a location names the paths it is for.
pub enum Name {
    /// `= /path`
    Exact(String),
    /// `/path` or `^~ /path`
    Prefix {
        /// The prefix.
        path: String,
        /// Written with `^~`.
        no_regex: bool,
    },
    /// `~` or `~*`
    Regex(PlacedPattern),
}

/// Where a path belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To no location: the server's own level answers.
    Nowhere,
    /// To this one.
    Location(LocationId),
    /// The client is sent to the same path with a slash behind it, which is this location's name.
    Slash(LocationId),
    /// To a route, if its raw path were not one that others may read otherwise.
    Ambiguous(LocationId),
    /// To a template none of whose routes is for the method: one of them, and the template's number.
    NoMethod(LocationId, usize),
}

/// How a search ended.
enum Found {
    /// Nothing on this level.
    Nothing,
    /// This, unless a regular expression of a level above matches.
    Prefix(LocationId),
    /// This, for good.
    Final(LocationId),
    /// A location of this name and a slash: the client is redirected there.
    Slash(LocationId),
    /// A route, or a template without one.
    Routed(Routed),
}

impl Router {
    /// Adds a location with its nested ones; false when the same name was there already.
    pub fn insert(&mut self, name: Name, id: LocationId, nested: Option<Router>) -> bool {
        let nested = nested.filter(|router| !router.is_empty()).map(Box::new);
        match name {
            Name::Exact(path) => self.exact.insert(path.into_bytes().into_boxed_slice(), id).is_none(),
            Name::Prefix { path, no_regex } => {
                let len = path.len();
                self.prefixes.insert(&path, Prefix { id, len, no_regex, nested })
            }
            Name::Regex(pattern) => {
                self.regexes.push(Regex { pattern, id, nested });
                true
            }
        }
    }

    /// Makes `path` without its final slash redirect to `path`, the name of location `id`.
    pub fn redirect_to_slash(&mut self, path: &str, id: LocationId) {
        if let Some(shorter) = path.strip_suffix('/').filter(|shorter| !shorter.is_empty()) {
            self.slashes.insert(shorter.as_bytes().into(), id);
        }
    }

    /// Adds the routes of a server.
    pub fn set_routes(&mut self, routes: Routes) {
        self.routes = Some(Box::new(routes)).filter(|routes| !routes.is_empty());
    }

    /// The routes, where there are any.
    pub fn routes(&self) -> Option<&Routes> {
        self.routes.as_deref()
    }

    /// Whether there is no location.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefixes.is_empty() && self.regexes.is_empty()
    }

    /// The location of the exchange's path. A regular expression that decides leaves its groups in
    /// the exchange.
    ///
    /// # Errors
    /// A match failed (its bound was reached), which the log says: the status to answer with.
    pub fn find(&self, x: &mut Exchange) -> Result<Destination, u16> {
        Ok(match self.search(x)? {
            Found::Nothing => Destination::Nowhere,
            Found::Prefix(id) | Found::Final(id) => Destination::Location(id),
            Found::Slash(id) => Destination::Slash(id),
            Found::Routed(Routed::To(id)) => Destination::Location(id),
            Found::Routed(Routed::Ambiguous(id)) => Destination::Ambiguous(id),
            Found::Routed(Routed::NoMethod(id, template)) => Destination::NoMethod(id, template),
        })
    }

    fn search(&self, x: &mut Exchange) -> Result<Found, u16> {
        if let Some(&id) = self.exact.get(x.uri.as_slice()) {
            return Ok(Found::Final(id));
        }
        if let Some(routed) = self.routes.as_ref().and_then(|routes| routes.find(x)) {
            return Ok(Found::Routed(routed));
        }
        let mut found = Found::Nothing;
        let longest = self.prefixes.longest(&x.uri);
        if let Some(&id) = self.slashes.get(x.uri.as_slice()) {
            // A location of just this name takes the request itself.
            if longest.is_none_or(|prefix| prefix.len != x.uri.len()) {
                return Ok(Found::Slash(id));
            }
        }
        if let Some(prefix) = longest {
            found = Found::Prefix(prefix.id);
            let no_regex = prefix.no_regex;
            if let Some(nested) = &prefix.nested {
                match nested.search(x)? {
                    Found::Nothing => {}
                    Found::Prefix(id) => found = Found::Prefix(id),
                    ended => return Ok(ended),
                }
            }
            if no_regex {
                return Ok(found);
            }
        }
        for regex in &self.regexes {
            if !regex.pattern.run(x, &x.uri)? {
                continue;
            }
            if let Some(nested) = &regex.nested {
                match nested.search(x)? {
                    Found::Nothing => {}
                    Found::Prefix(id) => return Ok(Found::Final(id)),
                    ended => return Ok(ended),
                }
            }
            return Ok(Found::Final(regex.id));
        }
        Ok(found)
    }
}

/// Prefixes in a radix tree. matchit's catch-all does not match an empty rest, so each prefix is
/// in it twice: itself, and followed by anything.
#[derive(Default)]
struct Prefixes {
    tree: Tree<usize>,
    list: Vec<Prefix>,
    /// The empty prefix, which a radix tree cannot hold twice.
    any: Option<usize>,
}

impl Prefixes {
    fn insert(&mut self, path: &str, prefix: Prefix) -> bool {
        let index = self.list.len();
        if path.is_empty() {
            self.list.push(prefix);
            return self.any.replace(index).is_none();
        }
        let literal = path.replace('{', "{{").replace('}', "}}");
        if self.tree.insert(literal.clone(), index).is_err() {
            return false;
        }
        let followed = self.tree.insert(format!("{literal}{{*rest}}"), index).is_ok();
        self.list.push(prefix);
        followed
    }

    fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn longest(&self, path: &[u8]) -> Option<&Prefix> {
        if self.list.is_empty() {
            return None;
        }
        let found = match std::str::from_utf8(path) {
            Ok(text) => self.tree.at(text).ok().map(|m| *m.value),
            // The tree takes text. Bytes that are none cannot begin a prefix of the configuration,
            // which is text, so the part before them decides.
            Err(e) => std::str::from_utf8(&path[..e.valid_up_to()])
                .ok()
                .and_then(|text| self.tree.at(text).ok().map(|m| *m.value)),
        };
        found.or(self.any).and_then(|index| self.list.get(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefixes(paths: &[String]) -> Prefixes {
        let mut prefixes = Prefixes::default();
        for (id, path) in paths.iter().enumerate() {
            prefixes.insert(path, Prefix { id, len: path.len(), no_regex: false, nested: None });
        }
        prefixes
    }

    #[test]
    fn longest_prefix_with_braces_and_bytes_that_are_no_text() {
        let list = ["/", "/a", "/ab/", "/{x}", "/a{*b}"].map(str::to_owned);
        let p = prefixes(&list);
        let longest = |path: &[u8]| p.longest(path).map(|f| list[f.id].as_str());
        assert_eq!(longest(b"/ab"), Some("/a"));
        assert_eq!(longest(b"/ab/c"), Some("/ab/"));
        assert_eq!(longest(b"/{x}y"), Some("/{x}"));
        assert_eq!(longest(b"/a\xff"), Some("/a"));
        assert_eq!(longest(b"/\xff"), Some("/"));
        assert_eq!(longest(b"x"), None);
    }

    proptest! {
        #[test]
        fn agrees_with_a_linear_search(
            paths in proptest::collection::hash_set("/[ab/{}*:]{0,5}", 1..40),
            asked in proptest::collection::vec("/[ab/{}*:]{0,8}", 40),
        ) {
            let paths: Vec<String> = paths.into_iter().collect();
            let p = prefixes(&paths);
            for path in asked {
                let expected = paths.iter().filter(|p| path.starts_with(p.as_str())).max_by_key(|p| p.len());
                let found = p.longest(path.as_bytes()).map(|f| &paths[f.id]);
                prop_assert_eq!(found, expected, "path {}", path);
            }
        }
    }
}
