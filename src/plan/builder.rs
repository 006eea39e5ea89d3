//! What a feature compiles with: it turns words into templates, patterns and paths, and puts steps
//! into the location that is open.

use super::{LocationId, Origin, Preparation, ServerTls, Worker};
use crate::base::process_settings::Level;
use crate::bridge::quota::StoreSpec;
use crate::bridge::zone::ZoneSpec;
use crate::conf::{Diagnostic, Directive, Files, Sources, Word};
use crate::pipeline::caller;
use crate::pipeline::filter::{BodyFilter, Stage};
use crate::pipeline::local::{Layout, ShardFacts, Slot};
use crate::pipeline::pattern::Pattern;
use crate::pipeline::settings::{PlacedPattern, ServerFacts, SetName, SetNames, Settings};
use crate::pipeline::step::{HeaderFilter, LogStep, Phase, QuickStep, Step, WaitingStep};
use crate::pipeline::template::{Part, Template};
use crate::pipeline::variable::{Derive, Derived, Variable, VariableSpec};
use crate::pipeline::veil::Veil;
use ahash::{AHashMap, AHashSet};
use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The state of one compilation.
pub struct Builder<'a> {
    origin: &'a Origin,
    sources: &'a Sources,
    /// Who knows the addresses of names; `None` where a configuration is compiled that may name none.
    files: Option<RefCell<&'a mut dyn Files>>,
    pub(super) notices: Vec<Diagnostic>,
    exact: AHashMap<&'static str, &'static VariableSpec>,
    families: Vec<&'static VariableSpec>,
    places: AHashMap<String, Place>,
    derived: Vec<Option<Derived>>,
    stores: AHashMap<TypeId, Box<dyn Any>>,
    layout: Layout,
    pub(super) workers: Vec<Worker>,
    pub(super) preparations: Vec<Preparation>,
    pub(super) transparent: bool,
    pub(super) log_files: Vec<PathBuf>,
    pub(super) temp_folders: Vec<PathBuf>,
    pub(super) zones: Vec<ZoneSpec>,
    pub(super) quota_store: Option<StoreSpec>,
    /// Places that Access gives a value in the open location.
    known_late: Vec<usize>,
    pub(super) locations: Vec<Arc<Settings>>,
    open: Option<Settings>,
    /// The feature that compiles its part of it now.
    pub(super) feature: &'static str,
    server: Option<Arc<ServerFacts>>,
    pub(super) tls: ServerTls,
    pub(super) connects: bool,
    /// Files that were read and not asked for.
    files_read: RefCell<Vec<PathBuf>>,
    set_names: Arc<SetNames>,
    set_places: HashMap<usize, SetName>,
}

/// Variables of nginx's own whose names a block may take.
const CHANGEABLE: [&str; 2] = ["args", "limit_rate"];

/// A variable of the exchange's own: known by name before, or after, it is defined.
#[derive(Default)]
struct Place {
    index: usize,
    defined: bool,
    /// A named group took the name after whatever it was derived from.
    captured: bool,
    first_use: Option<Word>,
}

impl<'a> Builder<'a> {
    /// A builder that knows these variables.
    pub fn new(
        origin: &'a Origin,
        sources: &'a Sources,
        variables: impl Iterator<Item = &'static VariableSpec>,
    ) -> Builder<'a> {
        let (families, exact): (Vec<_>, Vec<_>) = variables.partition(|spec| spec.family);
        Builder {
            origin,
            sources,
            files: None,
            notices: Vec::new(),
            exact: exact.into_iter().map(|spec| (spec.name, spec)).collect(),
            families,
            places: AHashMap::new(),
            derived: Vec::new(),
            stores: AHashMap::new(),
            layout: Layout::default(),
            workers: Vec::new(),
            preparations: Vec::new(),
            transparent: false,
            log_files: Vec::new(),
            temp_folders: Vec::new(),
            zones: Vec::new(),
            quota_store: None,
            known_late: Vec::new(),
            locations: Vec::new(),
            open: None,
            feature: "",
            server: None,
            tls: ServerTls::default(),
            connects: false,
            files_read: RefCell::default(),
            set_names: Arc::default(),
            set_places: HashMap::new(),
        }
    }

    /// The same, which looks names of hosts up there.
    #[must_use]
    pub fn with_hosts(mut self, files: &'a mut dyn Files) -> Builder<'a> {
        self.files = Some(RefCell::new(files));
        self
    }

    /// Where the configuration comes from.
    pub fn origin(&self) -> &Origin {
        self.origin
    }

    /// What a feature keeps during the compilation, by its type: named formats, groups.
    pub fn store<T: Default + 'static>(&mut self) -> &mut T {
        let any = self.stores.entry(TypeId::of::<T>()).or_insert_with(|| Box::new(T::default()));
        any.downcast_mut().expect("stored under its own type")
    }

    // ---- words ----------------------------------------------------------------------------

    /// A path of the configuration, made absolute against the prefix.
    pub fn path(&self, text: &str) -> PathBuf {
        self.origin.prefix.join(Path::new(text))
    }

    /// A path of the configuration, made absolute against the folder of the configuration file.
    pub fn beside_conf(&self, text: &str) -> PathBuf {
        self.origin.conf.parent().unwrap_or(&self.origin.prefix).join(text)
    }

    /// The addresses of a host's name. They are looked up once, by the master, when the configuration
    /// is read; the worker takes those.
    ///
    /// # Errors
    /// nginx's words for a name that has none.
    pub fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, &'static str> {
        let found = self.files.as_ref().map(|files| files.borrow_mut().resolve(host));
        found.and_then(Result::ok).ok_or("host not found")
    }

    /// The bytes of a file that the configuration names. The master reads it, which may be root; the
    /// worker gets what that read.
    ///
    /// # Errors
    /// What opening or reading it gave.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.files_read.borrow_mut().push(path.to_owned());
        match &self.files {
            Some(files) => files.borrow_mut().read(path),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The files that were read since this was asked last.
    pub fn files_read(&self) -> Vec<PathBuf> {
        self.files_read.take()
    }

    /// Says something that does not stop a start; once, however many locations it holds for.
    pub fn warn(&mut self, notice: Diagnostic) {
        if !self.notices.contains(&notice) {
            self.notices.push(notice);
        }
    }

    /// A string with variables.
    ///
    /// # Errors
    /// A malformed variable name.
    pub fn template(&mut self, word: &Word) -> Result<Template, Diagnostic> {
        self.template_of(&word.text, word)
    }

    /// A string with variables that is part of `word`, or derived from it.
    ///
    /// # Errors
    /// A malformed variable name; the place is the word's.
    pub fn template_of(&mut self, text: &str, word: &Word) -> Result<Template, Diagnostic> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            let (before, after) = (&rest[..at], &rest[at + 1..]);
            if !before.is_empty() {
                parts.push(Part::Text(before.as_bytes().into()));
            }
            // A group has one digit: `$12` is the first one with a 2 behind it.
            if let Some(digit) = after.bytes().next().filter(|byte| matches!(byte, b'1'..=b'9')) {
                parts.push(Part::Variable(Variable::Group(usize::from(digit - b'0'))));
                rest = &after[1..];
                continue;
            }
            let bare = after.strip_prefix('{');
            let text = bare.unwrap_or(after);
            let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
            let (name, mut behind) = text.split_at(end);
            if bare.is_some_and(|bare| !bare.is_empty()) {
                behind = behind.strip_prefix('}').ok_or_else(|| {
                    self.error(word, format!("the closing bracket in \"{name}\" variable is missing"))
                })?;
            }
            if name.is_empty() {
                return Err(self.error(word, "invalid variable name".to_owned()));
            }
            parts.push(Part::Variable(self.variable(name, word)));
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.as_bytes().into()));
        }
        Ok(Template::new(parts))
    }

    /// The variable of this name (without `$`). One that no feature offers is taken for one the
    /// configuration defines, perhaps further down; [`Builder::undefined`] tells at the end.
    pub fn variable(&mut self, name: &str, word: &Word) -> Variable {
        let lower = name.to_ascii_lowercase();
        if let Some(place) = self.places.get_mut(&lower) {
            place.first_use.get_or_insert_with(|| word.clone());
            return Variable::Place(place.index);
        }
        if let Some(spec) = self.exact.get(lower.as_str()) {
            return Variable::Computed {
                eval: spec.eval,
                argument: "".into(),
                late: caller::is_late(&lower),
            };
        }
        if let Some(variable) = self.of_family(&lower) {
            return variable;
        }
        let index = self.places.len();
        self.places.insert(lower, Place { index, first_use: Some(word.clone()), ..Place::default() });
        Variable::Place(index)
    }

    /// The variable of this name, in lower case, if it belongs to a family.
    fn of_family(&self, name: &str) -> Option<Variable> {
        let spec = self.families.iter().find(|spec| name.starts_with(spec.name))?;
        Some(Variable::Computed {
            eval: spec.eval,
            argument: name[spec.name.len()..].into(),
            late: caller::is_late(name),
        })
    }

    /// Defines a variable of the exchange's own and returns its place.
    pub fn define(&mut self, name: &str) -> usize {
        let place = self.place(name);
        place.defined = true;
        place.index
    }

    fn place(&mut self, name: &str) -> &mut Place {
        let index = self.places.len();
        let name = name.to_ascii_lowercase();
        self.places.entry(name).or_insert_with(|| Place { index, ..Place::default() })
    }

    /// Declares the variable that `word` names (with its `$`) as one that a block defines, and returns
    /// its place. Features declare all of theirs first, so that each is known wherever it is used.
    ///
    /// # Errors
    /// A word that is no variable, and a variable that is another feature's own.
    pub fn declare(&mut self, word: &Word) -> Result<usize, Diagnostic> {
        let Some(name) = word.text.strip_prefix('$') else {
            return Err(self.error(word, format!("invalid variable name \"{}\"", word.text)));
        };
        if name.is_empty() {
            return Err(self.error(word, "invalid variable name \"$\""));
        }
        let lower = name.to_ascii_lowercase();
        if self.is_offered(&lower) && !CHANGEABLE.contains(&lower.as_str()) {
            return Err(self.error(word, format!("the duplicate \"{name}\" variable")));
        }
        let place = self.place(&lower);
        (place.defined, place.captured) = (true, false);
        Ok(place.index)
    }

    /// Says how the variable that was declared with this word is worked out. Of two blocks with the
    /// same name the last one counts, and a named group behind it takes the name away.
    pub fn derive(&mut self, word: &Word, volatile: bool, by: impl Derive + 'static) {
        let name = word.text.trim_start_matches('$').to_ascii_lowercase();
        let place = self.place(&name);
        let (index, captured) = (place.index, place.captured);
        if !captured {
            let derived = Derived { name: name.into(), volatile, by: Box::new(by) };
            *self.derived_at(index) = Some(derived);
        }
    }

    fn derived_at(&mut self, index: usize) -> &mut Option<Derived> {
        if self.derived.len() <= index {
            self.derived.resize_with(index + 1, || None);
        }
        &mut self.derived[index]
    }

    /// Defines the variable of a named group.
    fn capture(&mut self, name: &str) -> usize {
        let place = self.place(name);
        (place.defined, place.captured) = (true, true);
        let index = place.index;
        *self.derived_at(index) = None;
        index
    }

    /// The shards' states, with the derived variables; for the end.
    pub(super) fn layout(&mut self) -> Layout {
        let mut layout = std::mem::take(&mut self.layout);
        layout.derived = std::mem::take(&mut self.derived).into();
        layout
    }

    /// As [`Builder::define`], for a variable that is empty as long as it has no value: one that `set`
    /// makes.
    pub fn define_settable(&mut self, name: &str) -> usize {
        let name = name.to_ascii_lowercase();
        let otherwise = self.of_family(&name);
        let place = self.define(&name);
        self.set_places.insert(place, SetName { name: name.into(), otherwise });
        place
    }

    /// The names of the variables of [`Builder::define_settable`], which are filled in at the end.
    pub fn set_names(&self) -> Arc<SetNames> {
        self.set_names.clone()
    }

    /// All is compiled: the names are known.
    pub(super) fn end_names(&mut self) {
        self.set_names.fill(std::mem::take(&mut self.set_places));
    }

    /// Whether a feature offers a variable of exactly this name.
    pub fn is_offered(&self, name: &str) -> bool {
        self.exact.contains_key(name)
    }

    /// The first use of a variable that nothing defines.
    pub fn undefined(&self) -> Option<Diagnostic> {
        let (name, place) =
            self.places.iter().filter(|(_, place)| !place.defined).min_by_key(|(_, place)| place.index)?;
        let word = place.first_use.as_ref()?;
        // nginx finds it when all is read and names no place; the hint does.
        let line = self.sources.path(word.place.file).display();
        let hint = format!("it is used in {line}:{}", word.place.line);
        Some(Diagnostic::new(Level::Emerg, format!("unknown \"{name}\" variable")).with_hint(hint))
    }

    /// A regular expression; its named groups become variables.
    ///
    /// # Errors
    /// PCRE's message, in nginx's words.
    pub fn pattern(
        &mut self,
        source: &str,
        caseless: bool,
        word: &Word,
    ) -> Result<PlacedPattern, Diagnostic> {
        let pattern = Pattern::new(source, caseless)
            .map_err(|e| self.error(word, format!("pcre2_compile() failed: {e}")))?;
        let named: Vec<(String, usize)> = pattern.named().to_vec();
        let places = named.into_iter().map(|(name, group)| (group, self.capture(&name))).collect();
        Ok(PlacedPattern { pattern, places })
    }

    /// An error about this word.
    pub fn error(&self, word: &Word, message: impl Into<String>) -> Diagnostic {
        Diagnostic::about(self.sources, word, message)
    }

    /// An error about this directive as a whole.
    pub fn directive_error(&self, directive: &Directive, message: impl Into<String>) -> Diagnostic {
        Diagnostic::about(self.sources, &directive.name, message)
    }

    // ---- what a plan consists of ------------------------------------------------------------

    /// Reserves a state that each shard has of its own.
    pub fn reserve<T: 'static>(
        &mut self,
        make: impl Fn(&ShardFacts<'_>) -> T + Send + Sync + 'static,
    ) -> Slot<T> {
        self.layout.reserve(make)
    }

    /// Asks for the right to send from addresses that are not this host's.
    pub fn send_from_any_address(&mut self) {
        self.transparent = true;
    }

    /// Asks the control plane to do something for as long as the configuration is in use. The work must
    /// end when nothing of the plan can want it any more, and hold nothing of it.
    pub fn worker(&mut self, worker: Worker) {
        self.workers.push(worker);
    }

    /// Asks for something to be done by the process that serves, before the first request. It waits for
    /// it, while the configuration before goes on.
    pub fn prepare(&mut self, preparation: Preparation) {
        self.preparations.push(preparation);
    }

    /// Asks for a log file to be opened; returns its absolute path, the key to find it by.
    pub fn log_file(&mut self, text: &str) -> PathBuf {
        let path = self.path(text);
        if !self.log_files.contains(&path) {
            self.log_files.push(path.clone());
        }
        path
    }

    /// Asks for a zone.
    ///
    /// # Errors
    /// nginx's words for one that is there already, which differ with what it is.
    pub fn zone(&mut self, spec: ZoneSpec, directive: &str) -> Result<(), String> {
        let Some(known) = self.zones.iter().find(|known| known.name == spec.name) else {
            self.zones.push(spec);
            return Ok(());
        };
        let ZoneSpec { name, size, key, .. } = known;
        Err(if known.kind != spec.kind {
            format!("the shared memory zone \"{name}\" is already declared for a different use")
        } else if *size != spec.size {
            format!(
                "the size {} of shared memory zone \"{name}\" conflicts with already declared size {size}",
                spec.size
            )
        } else {
            format!("{directive} \"{name}\" is already bound to key \"{key}\"")
        })
    }

    /// Asks for the counts of quotas to be kept there; a file's folder, and what `above` it has to be made
    /// with it, are made by the master.
    pub fn quota_store(&mut self, store: StoreSpec, above: Option<&Path>) {
        if let StoreSpec::File(folder) = &store {
            above.into_iter().chain([folder.as_path()]).for_each(|folder| self.temp_folder(folder));
        }
        self.quota_store = Some(store);
    }

    /// The zone of this name that was asked for.
    pub fn known_zone(&self, name: &str) -> Option<&ZoneSpec> {
        self.zones.iter().find(|known| known.name == name)
    }

    /// Asks for a folder for temporary files, which the worker can write to.
    pub fn temp_folder(&mut self, path: &Path) {
        if !self.temp_folders.iter().any(|known| known == path) {
            self.temp_folders.push(path.to_owned());
        }
    }

    // ---- the open location --------------------------------------------------------------------

    /// Opens a location; the core feature does, before any other is asked.
    pub fn begin(&mut self, settings: Settings) {
        self.known_late.clear();
        self.open = Some(settings);
    }

    /// Notes that a step in Access of the open location gives the variable at `place` its value.
    pub fn known_late(&mut self, place: usize) {
        self.known_late.push(place);
    }

    /// Whether a string of the open location is known only behind Access.
    pub fn is_known_late(&self, template: &Template) -> bool {
        let seen = RefCell::new(AHashSet::new());
        template.holds(&|variable| self.is_late(variable, &seen))
    }

    /// The same for a variable, and what it is derived from. Derivations may lead back to themselves: those
    /// that were `seen` are not followed again.
    fn is_late(&self, variable: &Variable, seen: &RefCell<AHashSet<usize>>) -> bool {
        let place = match variable {
            Variable::Place(place) => place,
            Variable::Computed { late, .. } => return *late,
            Variable::Group(_) => return false,
        };
        if self.known_late.contains(place) {
            return true;
        }
        let derived =
            self.derived.get(*place).and_then(Option::as_ref).filter(|_| seen.borrow_mut().insert(*place));
        derived.is_some_and(|derived| derived.by.depends_on(&|deeper| self.is_late(deeper, seen)))
    }

    /// The open location's settings.
    pub fn settings(&mut self) -> &mut Settings {
        self.open.as_mut().expect("a location is open while features compile it")
    }

    /// Ends the open location.
    pub(super) fn finish(&mut self) -> LocationId {
        let settings = self.open.take().expect("a location is open while features compile it");
        self.locations.push(Arc::new(settings));
        self.locations.len() - 1
    }

    /// A location that was ended.
    pub(super) fn location(&self, id: LocationId) -> &Settings {
        &self.locations[id]
    }

    /// Drops the open location: it was only looked at for its faults.
    pub fn discard(&mut self) {
        self.open = None;
        self.server = None;
    }

    /// The server whose locations are compiled now.
    pub fn server(&self) -> Option<Arc<ServerFacts>> {
        self.server.clone()
    }

    /// Begins a server.
    pub fn begin_server(&mut self, facts: ServerFacts) {
        self.server = Some(Arc::new(facts));
    }

    /// Says what the server that is open does about TLS.
    pub fn server_tls(&mut self, tls: ServerTls) {
        self.tls = tls;
    }

    /// Lets clients ask the server that is open for tunnels with CONNECT.
    pub fn allow_connect(&mut self) {
        self.connects = true;
    }

    /// Adds a step that never waits.
    pub fn quick(&mut self, phase: Phase, step: impl QuickStep + 'static) {
        self.name_step(phase, usize::MAX);
        self.settings().steps[phase as usize].push(Step::Quick(Box::new(step)));
    }

    /// Adds a step that may wait.
    pub fn waiting(&mut self, phase: Phase, step: impl WaitingStep + 'static) {
        self.name_step(phase, usize::MAX);
        self.settings().steps[phase as usize].push(Step::Waiting(Box::new(step)));
    }

    /// Adds a step that may wait before all others of its phase.
    pub fn waiting_first(&mut self, phase: Phase, step: impl WaitingStep + 'static) {
        self.name_step(phase, 0);
        self.settings().steps[phase as usize].insert(0, Step::Waiting(Box::new(step)));
    }

    /// Notes whose step stands at `at`, or at the end.
    fn name_step(&mut self, phase: Phase, at: usize) {
        let feature = self.feature;
        let names = &mut self.settings().step_names[phase as usize];
        names.insert(at.min(names.len()), feature);
    }

    /// Whether something answers every request of the open location already.
    pub fn has_content(&mut self) -> bool {
        !self.settings().steps[Phase::Content as usize].is_empty()
    }

    /// What the open location hides of requests.
    pub fn veil(&mut self) -> &mut Veil {
        self.settings().veil.get_or_insert_default()
    }

    /// Whether upstreams of the open location, if there is one, are told who the caller is.
    pub fn tells_identity(&self) -> bool {
        self.open.as_ref().is_some_and(|settings| settings.identity_headers)
    }

    /// Adds a header filter.
    pub fn header_filter(&mut self, filter: impl HeaderFilter + 'static) {
        self.settings().header_filters.push(Box::new(filter));
    }

    /// Adds a body filter; those of one stage stand in the order in which they were added.
    pub fn body_filter(&mut self, stage: Stage, filter: impl BodyFilter + 'static) {
        let filters = &mut self.settings().body_filters;
        let at = filters.partition_point(|(other, _)| *other <= stage);
        filters.insert(at, (stage, Box::new(filter)));
    }

    /// Adds a filter of what follows a body: it fills `x.answer.trailers`.
    pub fn trailer_filter(&mut self, filter: impl HeaderFilter + 'static) {
        self.settings().trailer_filters.push(Box::new(filter));
    }

    /// Notes that the open location uses a directive of the gateway's own: errors in it are told as
    /// `problem_details` says.
    pub fn gateway(&mut self) {
        self.settings().is_gateway = true;
    }

    /// Leaves what a variable needs to know of the open location.
    pub fn attach(&mut self, attached: impl Any + Send + Sync) {
        self.settings().attached.push(Box::new(attached));
    }

    /// Adds a log step.
    pub fn log_step(&mut self, step: impl LogStep + 'static) {
        self.settings().log_steps.push(Box::new(step));
    }
}
