//! Which `route` a path and a method belong to: templates in a radix tree, those that end in `{*rest}`
//! in trees of their own that are asked behind it, one for each number of segments before the rest.
//!
//! The template decides first, then the method: a path that a template matches is that template's,
//! whatever a less specific one would take. Of two templates that match, the one counts whose leftmost
//! difference is a text in the one and a parameter in the other. A `{*rest}` with more segments before it
//! comes before one with fewer.

use super::LocationId;
use super::path_template::PathTemplate;
use crate::http::{Method, encoded};
use crate::pipeline::exchange::Exchange;
use ahash::AHashMap;
use matchit::{InsertError, Router as Tree};
use std::borrow::Cow;

/// All routes of a server.
#[derive(Default)]
pub struct Routes {
    templates: Tree<usize>,
    /// By segments before the rest, most first.
    catch_alls: Vec<(usize, Tree<usize>)>,
    list: Vec<Template>,
    /// Where each shape is in the list.
    shapes: AHashMap<String, usize>,
}

/// One template with the routes that name it.
struct Template {
    /// As it was written first.
    text: String,
    routes: Vec<Route>,
    /// What `Allow` says.
    allow: Vec<u8>,
}

/// One `route` block.
struct Route {
    methods: Methods,
    id: LocationId,
    /// Where the parameters' values are kept.
    places: Box<[usize]>,
    /// Their names.
    names: Box<[String]>,
    /// A raw path that others may read otherwise is refused.
    strict: bool,
}

/// The methods that a `route` is for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Methods {
    /// `*`
    any: bool,
    /// A bit for each method that is known.
    known: u32,
    /// The others.
    others: Vec<Box<str>>,
}

/// A `route` to be added.
pub struct NewRoute<'t> {
    /// The template as written,
    pub text: &'t str,
    /// and read.
    pub template: &'t PathTemplate,
    /// For which methods.
    pub methods: Methods,
    /// The location that it is.
    pub id: LocationId,
    /// Where the values of its parameters are kept, in their order.
    pub places: Box<[usize]>,
    /// A raw path that others may read otherwise is refused.
    pub strict: bool,
}

/// Where a path belongs among routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routed {
    /// To this one.
    To(LocationId),
    /// To this one, if its raw path were not one that others may read otherwise.
    Ambiguous(LocationId),
    /// To a template that has no route for the method; the first route of it, and its number.
    NoMethod(LocationId, usize),
}

/// Why a route cannot be added.
pub enum Clash {
    /// A path and a method could not be told to belong to it or to that one, by its location.
    With(LocationId),
    /// The tree cannot hold the template beside this one.
    Beside(String),
}

impl Methods {
    /// Reads `GET,HEAD` or `*`.
    ///
    /// # Errors
    /// The word that is no method.
    pub fn read(text: &str) -> Result<Methods, &str> {
        let mut methods = Methods::default();
        for word in text.split(',') {
            match Method::of(word.as_bytes()) {
                _ if word == "*" && text == "*" => methods.any = true,
                // No server of ours serves these.
                Method::Connect | Method::Trace => return Err(word),
                Method::Other if !is_method(word) => return Err(word),
                Method::Other => methods.others.push(word.into()),
                known => methods.known |= bit(known),
            }
        }
        Ok(methods)
    }

    fn has(&self, method: Method, text: &[u8]) -> bool {
        match method {
            Method::Other => self.others.iter().any(|other| other.as_bytes() == text),
            known => self.known & bit(known) != 0,
        }
    }

    fn meets(&self, other: &Methods) -> bool {
        self.any && other.any
            || self.known & other.known != 0
            || self.others.iter().any(|word| other.others.contains(word))
    }

    fn list(&self) -> impl Iterator<Item = &str> {
        let known = Method::all()
            .filter(|method| self.known & bit(*method) != 0)
            .map(|method: Method| -> &str { method.text() });
        known.chain(self.others.iter().map(|other| &**other))
    }
}

fn bit(method: Method) -> u32 {
    1 << method as u32
}

/// Methods are case-sensitive, and those in use are in capitals (RFC 9110, 9.1).
fn is_method(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_'))
}

impl Template {
    /// The route for a method. HEAD is GET's where no route names it; OPTIONS, which asks what the
    /// others do, is let into the one that a preflight is about, else into the first.
    fn route(&self, x: &Exchange) -> Option<&Route> {
        let named =
            |method: Method, text: &[u8]| self.routes.iter().find(|route| route.methods.has(method, text));
        let any = || self.routes.iter().find(|route| route.methods.any);
        let method = x.method();
        let found = named(method, x.method_text());
        match method {
            Method::Head => found.or_else(|| named(Method::Get, b"")).or_else(any),
            Method::Options => found.or_else(any).or_else(|| {
                let input = x.input.filled();
                let asked = x.head.fields.find_name(input, b"access-control-request-method");
                let about = asked.map(|field| field.value.of(input)).unwrap_or_default();
                named(Method::of(about), about).or_else(|| self.routes.first())
            }),
            _ => found.or_else(any),
        }
    }
}

impl Routes {
    /// Adds a route.
    ///
    /// # Errors
    /// One that cannot be told apart from this one, or not be held beside it.
    pub fn insert(&mut self, new: NewRoute<'_>) -> Result<(), Clash> {
        let NewRoute { text, template, methods, id, places, strict } = new;
        let names = template.names.clone().into();
        let at = match self.shapes.get(&template.shape) {
            Some(&at) => at,
            None => self.template(text, template)?,
        };
        let Some(template) = self.list.get_mut(at) else { return Err(Clash::With(id)) };
        if let Some(other) = template.routes.iter().find(|other| other.methods.meets(&methods)) {
            return Err(Clash::With(other.id));
        }
        template.routes.push(Route { methods, id, places, names, strict });
        template.allow = allow(&template.routes);
        Ok(())
    }

    /// Adds a template; its number.
    fn template(&mut self, text: &str, template: &PathTemplate) -> Result<usize, Clash> {
        let at = self.list.len();
        let tree = match template.catch_all_depth {
            None => &mut self.templates,
            Some(depth) => {
                let place = self.catch_alls.partition_point(|(other, _)| *other > depth);
                if self.catch_alls.get(place).is_none_or(|(other, _)| *other != depth) {
                    self.catch_alls.insert(place, (depth, Tree::new()));
                }
                &mut self.catch_alls[place].1
            }
        };
        tree.insert(template.shape.as_str(), at).map_err(|error| {
            let with = match error {
                InsertError::Conflict { with } => with,
                _ => String::new(),
            };
            let beside = self.shapes.get(&with).and_then(|at| self.list.get(*at));
            match beside.and_then(|beside| beside.routes.first()) {
                Some(route) => Clash::With(route.id),
                None => Clash::Beside(with),
            }
        })?;
        self.shapes.insert(template.shape.clone(), at);
        self.list.push(Template { text: text.to_owned(), routes: Vec::new(), allow: Vec::new() });
        Ok(at)
    }

    /// The route of the exchange's path and method; its parameters are left where their variables find
    /// them. `None` where no template matches the path.
    pub fn find(&self, x: &Exchange) -> Option<Routed> {
        let text = as_text(&x.uri);
        let Some((at, params)) = self.matched(&text) else { return self.otherwise(x) };
        let template = self.list.get(at)?;
        let Some(route) = template.route(x) else {
            return Some(Routed::NoMethod(template.routes.first()?.id, at));
        };
        if route.strict && is_ambiguous(x) {
            return Some(Routed::Ambiguous(route.id));
        }
        for ((_, value), place) in params.iter().zip(&route.places) {
            // The text may be a stand-in, of the same length.
            let start = value.as_ptr().addr() - text.as_ptr().addr();
            x.values.set(*place, x.uri.get(start..start + value.len()).unwrap_or_default());
        }
        Some(Routed::To(route.id))
    }

    /// Where no template matches: what a server behind us would take for the path of a route, because it
    /// reads an encoded slash as a part of a segment, must not come to it round that route.
    fn otherwise(&self, x: &Exchange) -> Option<Routed> {
        if !is_ambiguous(x) {
            return None;
        }
        let path = encoded::read_literally(x.raw_target(), NO_TEXT);
        let (at, _) = self.matched(&as_text(&path))?;
        let route = self.list.get(at)?.routes.iter().find(|route| route.strict)?;
        Some(Routed::Ambiguous(route.id))
    }

    fn matched<'t, 'p>(&'t self, path: &'p str) -> Option<(usize, matchit::Params<'t, 'p>)> {
        if let Ok(found) = self.templates.at(path) {
            return Some((*found.value, found.params));
        }
        let mut rest = self.catch_alls.iter();
        rest.find_map(|(_, tree)| tree.at(path).ok()).map(|found| (*found.value, found.params))
    }

    /// What `Allow` says of a template.
    pub fn allow(&self, template: usize) -> &[u8] {
        self.list.get(template).map_or(b"", |template| &template.allow)
    }

    /// The template that matches a path, whatever the method, as it was written first.
    pub fn template_of(&self, path: &[u8]) -> Option<&str> {
        let (at, _) = self.matched(&as_text(path))?;
        self.list.get(at).map(|template| template.text.as_str())
    }

    /// Where the parameters of a route are kept, with their names.
    pub fn parameters(&self, id: LocationId) -> impl Iterator<Item = (&str, usize)> {
        let of = self.list.iter().flat_map(|t| t.routes.iter().map(move |route| (t, route)));
        let found = of.into_iter().find(move |(_, route)| route.id == id);
        found
            .into_iter()
            .flat_map(|(_, route)| route.names.iter().map(String::as_str).zip(route.places.iter().copied()))
    }

    /// Every template, as it was written first.
    pub fn templates(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|template| template.text.as_str())
    }

    /// Whether a location is one of them.
    pub fn is_route(&self, id: LocationId) -> bool {
        self.list.iter().any(|template| template.routes.iter().any(|route| route.id == id))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// Whether the raw path, which may be passed on, can be read in two ways.
fn is_ambiguous(x: &Exchange) -> bool {
    x.uri_is_quoted && (x.uri_is_original || !x.internal) && encoded::is_ambiguous(x.raw_target())
}

/// A byte that no template holds.
const NO_TEXT: u8 = 1;

/// The tree takes text. Bytes of a path that are none stand for themselves in a parameter and match no
/// literal: a byte that no template holds takes their place.
fn as_text(path: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(path) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => {
            let bytes = path.iter().map(|byte| if byte.is_ascii() { *byte } else { NO_TEXT }).collect();
            Cow::Owned(String::from_utf8(bytes).unwrap_or_default())
        }
    }
}

/// Methods in the order in which routes name them, HEAD behind GET, and OPTIONS, which is always let in.
fn allow(routes: &[Route]) -> Vec<u8> {
    let mut names: Vec<&str> = Vec::new();
    let mut add = |name| {
        if !names.contains(&name) {
            names.push(name);
        }
    };
    for name in routes.iter().flat_map(|route| route.methods.list()) {
        add(name);
        if name == "GET" {
            add("HEAD");
        }
    }
    add("OPTIONS");
    names.join(", ").into_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn routes(templates: &[String]) -> (Routes, Vec<String>) {
        let (mut routes, mut held) = (Routes::default(), Vec::new());
        for text in templates {
            let Ok(template) = PathTemplate::read(text) else { continue };
            let methods = Methods::read("*").unwrap();
            let (id, places) = (held.len(), Box::default());
            if routes
                .insert(NewRoute { text, template: &template, methods, id, places, strict: true })
                .is_ok()
            {
                held.push(text.clone());
            }
        }
        (routes, held)
    }

    /// How a segment of a template takes one of a path: the smaller, the more specific.
    fn rank(template: &str, segment: &str) -> Option<u8> {
        match template.starts_with('{') {
            true => (!segment.is_empty()).then_some(1),
            false => (template == segment).then_some(0),
        }
    }

    /// The naive search: every template, segment by segment.
    fn expected<'t>(held: &'t [String], path: &str) -> Option<&'t str> {
        let segments: Vec<&str> = path[1..].split('/').collect();
        let ranked = held.iter().filter_map(|text| {
            let own: Vec<&str> = text[1..].split('/').collect();
            let catch_all = own.last().is_some_and(|last| last.starts_with("{*"));
            let fixed = own.len() - usize::from(catch_all);
            let fits = match catch_all {
                true => segments.len() > fixed && !segments[fixed..].join("/").is_empty(),
                false => segments.len() == fixed,
            };
            let ranks: Option<Vec<_>> = own[..fixed].iter().zip(&segments).map(|(t, s)| rank(t, s)).collect();
            let depth = if catch_all { usize::MAX - fixed } else { 0 };
            fits.then_some(())?;
            Some(((depth, ranks?), text.as_str()))
        });
        ranked.min().map(|(_, text)| text)
    }

    #[test]
    fn the_most_specific_template_is_found() {
        let list =
            ["/a/{x}/c", "/a/b/{y}", "/a/b/c", "/a/{*rest}", "/{v}/b/{*rest}", "/{*rest}", "/f/{n}", "/"]
                .map(str::to_owned);
        let (routes, held) = routes(&list);
        assert_eq!(held.len(), list.len());
        for (path, want) in [
            ("/a/b/c", "/a/b/c"),
            ("/a/b/d", "/a/b/{y}"),
            ("/a/x/c", "/a/{x}/c"),
            ("/a/x/d", "/a/{*rest}"),
            ("/a/b/d/e", "/{v}/b/{*rest}"),
            ("/a/", "/{*rest}"),
            ("/f/n.xml", "/f/{n}"),
            ("/f/", "/{*rest}"),
            ("/", "/"),
        ] {
            assert_eq!(routes.template_of(path.as_bytes()), Some(want), "{path}");
        }
        assert_eq!(routes.template_of(b"/a/\xff/c"), Some("/a/{x}/c"));
        assert_eq!(routes.template_of(b"/a/\xc3\xa9\xff/c"), Some("/a/{x}/c"));
    }

    #[test]
    fn methods_are_read() {
        let read = |text| Methods::read(text);
        let both = read("GET,M-SEARCH").unwrap();
        assert!(both.has(Method::Get, b"") && both.has(Method::Other, b"M-SEARCH"));
        assert!(!both.has(Method::Head, b"") && !both.meets(&read("POST").unwrap()));
        assert!(both.meets(&read("PUT,GET").unwrap()) && !both.meets(&read("*").unwrap()));
        for (text, word) in
            [("get", "get"), ("GET,", ""), ("GET,*", "*"), ("", ""), ("CONNECT", "CONNECT"), ("G ET", "G ET")]
        {
            assert_eq!(read(text), Err(word), "{text}");
        }
    }

    #[test]
    fn templates_of_one_shape_share_their_methods() {
        let mut routes = Routes::default();
        let mut add = |text: &str, methods: &str, id| {
            let template = PathTemplate::read(text).unwrap();
            let methods = Methods::read(methods).unwrap();
            let new =
                NewRoute { text, template: &template, methods, id, places: Box::default(), strict: true };
            routes.insert(new).map_err(|clash| match clash {
                Clash::With(other) => other,
                Clash::Beside(_) => usize::MAX,
            })
        };
        assert_eq!(add("/a/{x}", "GET", 1), Ok(()));
        assert_eq!(add("/a/{y}", "PUT,REPORT", 2), Ok(()));
        assert_eq!(add("/a/{z}", "DELETE,GET", 3), Err(1));
        assert_eq!(add("/a/{z}", "*", 4), Ok(()));
        assert_eq!(add("/a/{z}", "*", 5), Err(4));
        assert_eq!(routes.allow(0), b"GET, HEAD, PUT, REPORT, OPTIONS");
    }

    proptest! {
        #[test]
        fn agrees_with_a_naive_search(
            templates in proptest::collection::vec(
                "(/(a|b|ab|\\{x\\}|\\{x\\})){0,4}(/|/\\{\\*r\\})", 1..40),
            asked in proptest::collection::vec("(/[ab]{0,2}){1,6}", 60),
        ) {
            // Names differ within a template.
            let named: Vec<String> = templates
                .iter()
                .map(|text| {
                    let pieces: Vec<&str> = text.split("{x}").collect();
                    let name = |(n, piece): (usize, &&str)| match n {
                        0 => (*piece).to_owned(),
                        n => format!("{{x{n}}}{piece}"),
                    };
                    pieces.iter().enumerate().map(name).collect()
                })
                .collect();
            let (routes, held) = routes(&named);
            for path in asked {
                prop_assert_eq!(routes.template_of(path.as_bytes()), expected(&held, &path), "{} {:?}", path, held);
            }
        }
    }
}
