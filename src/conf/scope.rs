//! A block as a feature sees it: its own directives, and what the blocks round it leave to it.
//! How a directive is inherited comes from its spec, so that no feature merges anything itself.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::diagnostic::Diagnostic;
use super::parser::width;
use super::source::{Place, Sources};
use super::spec::{Context, DirectiveSpec, Inherit, Registry};
use super::tree::{Directive, Tree, Word};
use crate::base::process_settings::Level as Severity;

/// Shorter bodies are searched line by line, which is faster than building an index.
const INDEXED_BODY: usize = 16;

impl Registry {
    /// The main context of a checked tree.
    pub fn scope<'t>(&self, tree: &'t Tree) -> Scope<'t> {
        let shared = Rc::new(Shared { specs: self.index(), sources: &tree.sources });
        let level = Level {
            parent: None,
            block: None,
            body: &tree.directives,
            context: Context::MAIN,
            stands_in: false,
            index: OnceCell::new(),
        };
        Scope { shared, level: Rc::new(level) }
    }
}

/// The chain of open blocks at one block. Cheap to clone; blocks of one level share the chain above.
#[derive(Clone, Debug)]
pub struct Scope<'t> {
    shared: Rc<Shared<'t>>,
    level: Rc<Level<'t>>,
}

#[derive(Debug)]
struct Shared<'t> {
    specs: HashMap<&'static str, Vec<&'static DirectiveSpec>>,
    sources: &'t Sources,
}

#[derive(Debug)]
struct Level<'t> {
    parent: Option<Rc<Level<'t>>>,
    block: Option<&'t Directive>,
    body: &'t [Directive],
    context: Context,
    /// It stands in for the location round it.
    stands_in: bool,
    /// Where each name stands in a long body.
    index: OnceCell<HashMap<&'t str, Vec<u32>>>,
}

/// What an error can point to: a word, or a directive (its name is marked).
pub trait Located {
    /// The place whose line the error names.
    fn place(&self) -> Place;
    /// The word that is marked.
    fn marked(&self) -> &Word;
}

impl Located for Directive {
    fn place(&self) -> Place {
        self.place
    }

    fn marked(&self) -> &Word {
        &self.name
    }
}

impl Located for Word {
    fn place(&self) -> Place {
        self.place
    }

    fn marked(&self) -> &Word {
        self
    }
}

impl<'t> Scope<'t> {
    /// The scope of a block that stands in this one; `context` is what its body is.
    #[must_use]
    pub fn child(&self, block: &'t Directive, context: Context) -> Scope<'t> {
        let level = Level {
            parent: Some(Rc::clone(&self.level)),
            block: Some(block),
            body: block.body(),
            context,
            stands_in: false,
            index: OnceCell::new(),
        };
        Scope { shared: Rc::clone(&self.shared), level: Rc::new(level) }
    }

    /// The scope of a block in this location that stands in for it for some requests: all that may be said
    /// in a location may be said there, and what is not said holds as in the location.
    #[must_use]
    pub fn stand_in(&self, block: &'t Directive) -> Scope<'t> {
        let level = Level {
            parent: Some(Rc::clone(&self.level)),
            block: Some(block),
            body: block.body(),
            context: self.level.context,
            stands_in: true,
            index: OnceCell::new(),
        };
        Scope { shared: Rc::clone(&self.shared), level: Rc::new(level) }
    }

    /// The scope round this one; `None` for the main context.
    pub fn parent(&self) -> Option<Scope<'t>> {
        let level = self.level.parent.clone()?;
        Some(Scope { shared: Rc::clone(&self.shared), level })
    }

    /// The location that this is the level of, or that this `if`, `limit_except` or other level within it
    /// stands in.
    pub fn location(&self) -> Option<Scope<'t>> {
        match self.level.context {
            Context::LOCATION if !self.level.stands_in => Some(self.clone()),
            Context::LOCATION | Context::IF_IN_LOCATION | Context::LIMIT_EXCEPT => self.parent()?.location(),
            _ => None,
        }
    }

    /// The directive that opens this block; `None` for the main context.
    pub fn directive(&self) -> Option<&'t Directive> {
        self.level.block
    }

    /// What kind of block this is.
    pub fn context(&self) -> Context {
        self.level.context
    }

    /// Everything in this block itself, in order.
    pub fn body(&self) -> &'t [Directive] {
        self.level.body
    }

    /// The lines of a block of data, such as `map` or `types`, in order.
    pub fn entries(&self) -> &'t [Directive] {
        self.level.body
    }

    /// The texts that the directives came from.
    pub fn sources(&self) -> &'t Sources {
        self.shared.sources
    }

    /// The directive of this name that holds here, by its inheritance: of many on the level that
    /// counts, the first; for those that merge, the last of all.
    pub fn one(&self, name: &str) -> Option<&'t Directive> {
        let (spec, level) = self.resolve(name)?;
        match spec.inherit {
            Inherit::Never | Inherit::NeverMany => self.level.first(name),
            Inherit::Override | Inherit::Together => {
                level.outwards().filter(|l| spec.contexts.meets(l.context)).find_map(|l| l.first(name))
            }
            Inherit::Merge => self.all(name).last().copied(),
            Inherit::Answers => self.answering_level().first(name),
        }
    }

    /// All directives of this name that hold here, by their inheritance, in order.
    pub fn all(&self, name: &str) -> Vec<&'t Directive> {
        let Some((spec, level)) = self.resolve(name) else { return Vec::new() };
        let mut levels = level.outwards().filter(|level| spec.contexts.meets(level.context));
        match spec.inherit {
            Inherit::Never | Inherit::NeverMany => self.level.find(name),
            Inherit::Answers => self.answering_level().find(name),
            Inherit::Override | Inherit::Together => {
                levels.map(|level| level.find(name)).find(|found| !found.is_empty()).unwrap_or_default()
            }
            Inherit::Merge => {
                let mut found: Vec<Vec<&'t Directive>> = Vec::new();
                found.extend(levels.by_ref().map(|level| level.find(name)));
                found.into_iter().rev().flatten().collect()
            }
        }
    }

    /// The directives of this name in this block itself, whatever their inheritance.
    pub fn here(&self, name: &str) -> impl Iterator<Item = &'t Directive> + use<'t> {
        self.level.find(name).into_iter()
    }

    /// An error at a directive or a word.
    pub fn error(&self, at: &impl Located, message: impl Into<String>) -> Diagnostic {
        self.diagnostic(Severity::Emerg, at.place(), at.marked(), message)
    }

    /// An error whose line is that of the directive, as in nginx, and whose mark is one of its words.
    pub fn error_at(&self, directive: &Directive, word: &Word, message: impl Into<String>) -> Diagnostic {
        self.diagnostic(Severity::Emerg, directive.place, word, message)
    }

    /// What does not stop a start, at a directive or a word.
    pub fn warning(&self, at: &impl Located, message: impl Into<String>) -> Diagnostic {
        self.diagnostic(Severity::Warn, at.place(), at.marked(), message)
    }

    fn diagnostic(
        &self,
        level: Severity,
        place: Place,
        mark: &Word,
        message: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic::at(self.shared.sources, level, message, place, mark.place, width(mark))
    }

    /// The level whose [`Inherit::Answers`] directives hold here: a block in a location that has none
    /// itself leaves it to the location.
    fn answering_level(&self) -> &Level<'t> {
        const WITHIN: Context = Context::IF_IN_LOCATION.or(Context::LIMIT_EXCEPT);
        let answers = |directive: &Directive| {
            let specs = self.shared.specs.get(directive.name.text.as_str());
            specs.is_some_and(|specs| specs.iter().any(|spec| spec.inherit == Inherit::Answers))
        };
        let own = |level: &&Level<'t>| {
            let within = WITHIN.meets(level.context) || level.stands_in;
            !within || level.body.iter().any(answers)
        };
        self.level.outwards().find(own).unwrap_or(&self.level)
    }

    /// The spec that a name has here, or in the nearest block round here that may hold it, with
    /// that block. So `keepalive_timeout` in an `upstream` is not the one of `http`.
    fn resolve(&self, name: &str) -> Option<(&'static DirectiveSpec, &Level<'t>)> {
        let specs = self.shared.specs.get(name);
        debug_assert!(specs.is_some(), "a feature asks for \"{name}\", which no spec declares");
        let specs = specs?;
        self.level.outwards().find_map(|level| {
            let spec = specs.iter().find(|spec| spec.contexts.meets(level.context))?;
            Some((*spec, level))
        })
    }
}

impl<'t> Level<'t> {
    /// This level and those round it.
    fn outwards(&self) -> impl Iterator<Item = &Level<'t>> {
        std::iter::successors(Some(self), |level| level.parent.as_deref())
    }

    fn first(&self, name: &str) -> Option<&'t Directive> {
        match self.index() {
            Some(index) => index.get(name)?.first().and_then(|&at| self.body.get(at as usize)),
            None => self.body.iter().find(|directive| directive.name.text == name),
        }
    }

    fn find(&self, name: &str) -> Vec<&'t Directive> {
        match self.index() {
            Some(index) => {
                let places = index.get(name).map_or(&[][..], Vec::as_slice);
                places.iter().filter_map(|&at| self.body.get(at as usize)).collect()
            }
            None => self.body.iter().filter(|directive| directive.name.text == name).collect(),
        }
    }

    /// The index of a long body, built at its first use.
    fn index(&self) -> Option<&HashMap<&'t str, Vec<u32>>> {
        if self.body.len() <= INDEXED_BODY {
            return None;
        }
        Some(self.index.get_or_init(|| {
            let mut index: HashMap<&'t str, Vec<u32>> = HashMap::new();
            for (at, directive) in self.body.iter().enumerate() {
                index.entry(&directive.name.text).or_default().push(at as u32);
            }
            index
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::conf::testing::{registry, tree};

    const TEXT: &str = "http {
        keepalive_timeout 1m; root /http; sendfile on;
        access_log a; access_log b; proxy_set_header X 1;
        upstream u { server s1; server s2; }
        server {
            root /server; access_log c;
            location / { proxy_set_header Y 2; client_max_body_size 1m;
                location /in { client_max_body_size 2x; proxy_buffers 4 0; }
                if ($x) { root /if; }
            }
        }
    }";

    fn inner<'t>(scope: &Scope<'t>, name: &str, context: Context) -> Scope<'t> {
        scope.child(scope.here(name).next().unwrap(), context)
    }

    fn args(found: Vec<&Directive>) -> Vec<String> {
        found.iter().map(|d| d.args.iter().map(|w| w.text.as_str()).collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn inheritance() {
        let tree = tree(TEXT);
        let main = registry().scope(&tree);
        let http = inner(&main, "http", Context::HTTP);
        let server = inner(&http, "server", Context::SERVER);
        let location = inner(&server, "location", Context::LOCATION);
        let nested = inner(&location, "location", Context::LOCATION);
        let branch = inner(&location, "if", Context::IF_IN_LOCATION);
        let upstream = inner(&http, "upstream", Context::UPSTREAM);

        assert_eq!(http.word("root"), Some("/http"));
        assert_eq!(nested.word("root"), Some("/server"));
        assert_eq!(branch.word("root"), Some("/if"));
        assert!(main.one("root").is_none());
        // Whole levels win.
        assert_eq!(args(http.all("access_log")), ["a", "b"]);
        assert_eq!(args(nested.all("access_log")), ["c"]);
        // Levels add up.
        assert_eq!(args(nested.all("error_page")), Vec::<String>::new());
        assert_eq!(args(server.all("proxy_set_header")), ["X 1"]);
        assert_eq!(args(nested.all("proxy_set_header")), ["Y 2"]);
        // One name, two meanings.
        assert_eq!(args(upstream.all("server")), ["s1", "s2"]);
        assert!(upstream.one("keepalive_timeout").is_none());
        assert_eq!(nested.time_ms("keepalive_timeout", 75_000), Ok(60_000));
        // Not allowed in `if`, and yet in force there.
        assert_eq!(branch.size("client_max_body_size", 0), Ok(1 << 20));
        assert_eq!(branch.flag("sendfile", false), Ok(true));
        // What is not inherited.
        assert!(nested.one("listen").is_none());
        assert_eq!(nested.parent().unwrap().directive().unwrap().arg(0), Some("/"));
        assert_eq!(nested.context(), Context::LOCATION);
    }

    #[test]
    fn merged_levels_come_outermost_first() {
        let tree = tree("http { merged 1; server { merged 2; merged 3; location / { merged 4; } } }");
        let main = registry().scope(&tree);
        let server = inner(&inner(&main, "http", Context::HTTP), "server", Context::SERVER);
        let location = inner(&server, "location", Context::LOCATION);
        assert_eq!(args(location.all("merged")), ["1", "2", "3", "4"]);
        assert_eq!(location.word("merged"), Some("4"));
        assert_eq!(args(server.all("merged")), ["1", "2", "3"]);
    }

    #[test]
    fn ten_thousand_locations_are_no_burden() {
        let locations: String =
            (0..10_000).map(|n| format!("location /l{n} {{ proxy_pass http://u; root /x{n}; }}\n")).collect();
        let tree = tree(&format!("http {{ root /r; server {{ {locations} }} }}"));
        let begun = std::time::Instant::now();
        registry().check(&tree).unwrap();
        let main = registry().scope(&tree);
        let server = inner(&inner(&main, "http", Context::HTTP), "server", Context::SERVER);
        let mut found = 0;
        for location in server.here("location") {
            let scope = server.child(location, Context::LOCATION);
            for _ in 0..50 {
                found += usize::from(scope.word("root").is_some() && scope.one("sendfile").is_none());
            }
        }
        assert_eq!(found, 500_000);
        // A scan of all siblings at each look-up would be 10^10 steps, many minutes.
        assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    }
}
