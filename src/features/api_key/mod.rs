//! `auth_api_key`: a key in a header field, an argument or a cookie says which consumer calls. The gateway
//! knows keys by their SHA-256 alone, and takes them out of the request before it goes anywhere.

mod file;
pub mod table;

use crate::base::clock;
use crate::base::process_settings::Level;
use crate::bridge::published::Seen;
use crate::conf::{Arity, Context, Diagnostic, Directive, DirectiveSpec as D, Files, Inherit, Scope, Word};
use crate::features::consumer::{self, Consumers};
use crate::pipeline::answer::Answer;
use crate::pipeline::caller::{AuthMethod, Consumer};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::local::Slot;
use crate::pipeline::settings::Satisfy;
use crate::pipeline::step::{Flow, Phase, QuickStep};
use crate::pipeline::template::Template;
use crate::pipeline::veil::{KeyHash, Secret, Source};
use crate::plan::Origin;
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end};
use crate::remote::files;
use ahash::AHashMap;
use file::KeyFile;
use std::sync::Arc;
use table::{Filling, KeyTable, NEVER, parse_hash, show_hash};

const CONTEXTS: Context = Context::HTTP.or(Context::SERVER).or(Context::LOCATION).or(Context::LIMIT_EXCEPT);

/// Where keys are looked for when nothing is said.
const DEFAULT_SOURCE: &str = "$http_x_api_key";

/// Digits of a key's hash that a log shows: enough to find its line, of no use to anybody else.
const SHOWN_DIGITS: usize = 12;

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "api_key",
    module: None,
    directives: &[
        D::new(
            "auth_api_key",
            CONTEXTS,
            Arity::Between(1, 2),
            "realm [from=$variable,...] | off",
            "off",
            "Asks for a key of a consumer (401), in one of these places: $http_ fields, $arg_ arguments, $cookie_ cookies; $http_x_api_key when nothing is said. Two different keys are 400. A key is not passed on, and is *** in variables and logs.",
        ),
        D::new(
            "auth_api_key_forward",
            CONTEXTS,
            Arity::Flag,
            "on | off",
            "off",
            "Leaves keys in the request: upstreams and logs get them.",
        ),
        D::new(
            "api_key",
            Context::CONSUMER,
            Arity::Between(1, 2),
            "sha256:hash [expires=date]",
            "",
            "A key of the consumer, by its SHA-256 in hexadecimal, and the day (2027-01-31, UTC) from which on it is not valid any more. `octroi key new` makes one.",
        )
        .inherit(Inherit::NeverMany),
        D::new(
            "api_key_file",
            Context::HTTP,
            Arity::Exactly(1),
            "file",
            "",
            "Keys in a file: lines of hash, consumer and perhaps the day of expiry. It is read again when it changes.",
        )
        .inherit(Inherit::NeverMany),
    ],
    variables: &[],
    http,
    location,
    end: no_end,
};

/// All keys of a configuration, the same for all its locations.
pub struct Keys {
    /// Those in the blocks of consumers.
    own: KeyTable,
    files: Vec<Arc<KeyFile>>,
    seen: Slot<Vec<Seen<KeyTable>>>,
    consumers: Vec<Consumer>,
    by_name: AHashMap<Box<[u8]>, usize>,
}

/// What is shared while a configuration is compiled.
#[derive(Default)]
struct Shared {
    keys: Option<Arc<Keys>>,
    /// The places that locations look at: their numbers.
    sources: Vec<Source>,
}

/// `auth_api_key` in one location.
struct AuthApiKey {
    realm: Template,
    /// The numbers of its places.
    sources: Box<[u16]>,
    keys: Arc<Keys>,
}

/// What the keys of a request come to.
enum Presented {
    Nothing,
    One(KeyHash),
    Several,
}

fn http(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let own = own_keys(scope)?;
    let mut files = Vec::new();
    for line in scope.here("api_key_file") {
        let Some(word) = line.args.first() else { continue };
        let path = b.beside_conf(&word.text);
        file::check(&path).map_err(|error| scope.error_at(line, word, error))?;
        let file = KeyFile::at(&path);
        if !files.iter().any(|known| Arc::ptr_eq(known, &file)) {
            files.push(file);
        }
    }
    for file in &files {
        let loaded = file.clone();
        b.prepare(Box::new(move || loaded.load()));
        let watched = Arc::downgrade(file);
        b.worker(Box::new(move |log| {
            let first = watched.upgrade().is_some_and(|file| file.begin_watch(log));
            let watched = watched.clone();
            Box::pin(async move {
                if first {
                    files::watch(watched).await;
                }
            })
        }));
    }
    let count = files.len();
    let seen = b.reserve(move |_| (0..count).map(|_| Seen::default()).collect());
    let all = b.store::<Consumers>();
    let (consumers, by_name) = (all.all().to_vec(), all.places().clone());
    b.store::<Shared>().keys = Some(Arc::new(Keys { own, files, seen, consumers, by_name }));
    Ok(())
}

/// The keys in the blocks of consumers.
fn own_keys(http: &Scope<'_>) -> Result<KeyTable, Diagnostic> {
    let mut filling = Filling::default();
    let mut last = None;
    for (block, consumer) in consumer::blocks(http) {
        let name = block.arg(0).unwrap_or_default();
        for line in consumer.here("api_key") {
            let (hash, until_s) = key_of(&consumer, line)?;
            filling.add(hash, name.as_bytes(), until_s).map_err(|what| consumer.error(line, what))?;
            last = Some(line);
        }
    }
    filling.finish().map_err(|hash| {
        let message = format!("the key {} is given twice, with different meanings", show_hash(&hash));
        match line_of(http, &hash).or(last) {
            Some(line) => http.error(line, message),
            None => Diagnostic::new(Level::Emerg, message),
        }
    })
}

/// The last line that has a key.
fn line_of<'t>(http: &Scope<'t>, hash: &KeyHash) -> Option<&'t Directive> {
    let lines = consumer::blocks(http).flat_map(|(_, consumer)| consumer.here("api_key"));
    lines.filter(|line| line.arg(0).and_then(|text| parse_hash(text.as_bytes())) == Some(*hash)).last()
}

/// What an `api_key` says: the hash, and when it expires.
fn key_of(scope: &Scope<'_>, line: &Directive) -> Result<(KeyHash, u32), Diagnostic> {
    let mut words = line.args.iter();
    let Some(word) = words.next() else { return Err(scope.error(line, "no key")) };
    let hash = Some(word.text.as_bytes()).filter(|text| text.starts_with(b"sha256:")).and_then(parse_hash);
    let hash = hash.ok_or_else(|| {
        let message = "a key is written as \"sha256:\" and 64 hexadecimal digits (octroi key hash)";
        scope.error_at(line, word, message)
    })?;
    let Some(word) = words.next() else { return Ok((hash, NEVER)) };
    let until_s = word.text.strip_prefix("expires=").and_then(|date| file::expiry(date.as_bytes()));
    let until_s =
        until_s.ok_or_else(|| scope.error_at(line, word, format!("invalid parameter \"{}\"", word.text)))?;
    Ok((hash, until_s))
}

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let Some(line) = scope.one("auth_api_key") else { return Ok(()) };
    let Some(realm) = line.args.first() else { return Ok(()) };
    if realm.text == "off" && line.args.len() == 1 {
        return Ok(());
    }
    b.gateway();
    let forward = scope.flag("auth_api_key_forward", false)?;
    let from = match line.args.get(1) {
        None => DEFAULT_SOURCE,
        Some(word) => word
            .text
            .strip_prefix("from=")
            .ok_or_else(|| scope.error_at(line, word, format!("invalid parameter \"{}\"", word.text)))?,
    };
    let at = line.args.get(1).unwrap_or(realm);
    let sources = from.split(',').map(|name| source(scope, line, at, name)).collect::<Result<Vec<_>, _>>()?;
    let shared = b.store::<Shared>();
    let Some(keys) = shared.keys.clone() else { return Ok(()) };
    let mut numbers = Vec::new();
    for source in &sources {
        let known = shared.sources.iter().position(|known| known == source);
        let number = known.unwrap_or_else(|| {
            shared.sources.push(source.clone());
            shared.sources.len() - 1
        });
        numbers.push(u16::try_from(number).map_err(|_| scope.error(line, "too many places of keys"))?);
    }
    let secrets = numbers.iter().zip(sources).map(|(&number, source)| Secret { number, source, forward });
    b.veil().secrets.extend(secrets);
    let realm = b.template(realm)?;
    consumer::challenges(b, consumer::Scheme::ApiKey, &realm);
    b.quick(Phase::Access, AuthApiKey { realm, sources: numbers.into(), keys });
    Ok(())
}

fn source(scope: &Scope<'_>, line: &Directive, word: &Word, text: &str) -> Result<Source, Diagnostic> {
    let name = text.strip_prefix('$').unwrap_or_default().to_ascii_lowercase();
    let named = |prefix: &str| -> Option<Box<str>> {
        let name = name.strip_prefix(prefix)?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        (!name.is_empty() && name.bytes().all(fits)).then(|| name.into())
    };
    // These two are read before anybody asks for keys.
    if let Some(name) = named("http_")
        && !matches!(&*name, "host" | "cookie")
    {
        return Ok(Source::Header(name));
    }
    named("arg_").map(Source::Argument).or_else(|| named("cookie_").map(Source::Cookie)).ok_or_else(|| {
        let message =
            format!("a key cannot come from \"{text}\": only from $http_, $arg_ and $cookie_ variables");
        scope.error_at(line, word, message)
    })
}

impl QuickStep for AuthApiKey {
    fn run(&self, x: &mut Exchange) -> Flow {
        let hash = match self.presented(x) {
            Presented::One(hash) => hash,
            Presented::Nothing => {
                x.log(Level::Info, format_args!("no key was provided"));
                consumer::challenge(x, consumer::Scheme::ApiKey, &self.realm, b"");
                return Flow::Answer(Answer::Status(401));
            }
            Presented::Several => {
                x.log(Level::Info, format_args!("client sent different keys"));
                return Flow::Answer(Answer::Status(400));
            }
        };
        let keys = &*self.keys;
        let now_s = clock::unix_time(clock::now()).as_secs();
        let locals = x.locals.clone();
        let seen = locals.at(keys.seen);
        let mut verdict = keys.own.find(&hash).map(|found| keys.name(x, found, now_s));
        for (file, seen) in keys.files.iter().zip(seen) {
            if verdict.is_none() {
                let look = |table: &KeyTable, _| table.find(&hash).map(|found| keys.name(x, found, now_s));
                verdict = seen.look(file.table(), look);
            }
        }
        match verdict {
            Some(Verdict::Named) => Flow::Identify,
            Some(Verdict::Another) => {
                x.log(Level::Error, format_args!("the key names another consumer than the caller is"));
                Flow::Refuse(403)
            }
            Some(Verdict::Expired) => self.refuse(x, &hash, "has expired"),
            None => self.refuse(x, &hash, "is unknown"),
        }
    }
}

/// What a known key leads to.
enum Verdict {
    Named,
    Another,
    Expired,
}

impl Keys {
    /// Names the caller of a request.
    fn name(&self, x: &mut Exchange, found: table::Found<'_>, now_s: u64) -> Verdict {
        if found.is_expired(now_s) {
            return Verdict::Expired;
        }
        // Where one of several is enough, the first one names the caller.
        if x.caller.is_known() && x.here.settings.satisfy == Satisfy::Any {
            return Verdict::Named;
        }
        let known = self.by_name.get(found.consumer).and_then(|&place| self.consumers.get(place));
        let named = match known {
            Some(consumer) => x.caller.identify(AuthMethod::ApiKey, Some(consumer)),
            None => x.caller.identify_by_name(AuthMethod::ApiKey, found.consumer),
        };
        named.map_or(Verdict::Another, |()| Verdict::Named)
    }
}

impl AuthApiKey {
    fn presented(&self, x: &Exchange) -> Presented {
        let mut hashes = x.caller.keys().iter().filter(|(number, _)| self.sources.contains(number));
        let Some((_, first)) = hashes.next() else { return Presented::Nothing };
        match hashes.all(|(_, hash)| hash == first) {
            true => Presented::One(*first),
            false => Presented::Several,
        }
    }

    #[cold]
    fn refuse(&self, x: &mut Exchange, hash: &KeyHash, what: &str) -> Flow {
        let shown = show_hash(hash);
        let shown = shown.get(..SHOWN_DIGITS).unwrap_or_default();
        x.log(Level::Error, format_args!("the key sha256:{shown}... {what}"));
        consumer::challenge(x, consumer::Scheme::ApiKey, &self.realm, b"");
        Flow::Refuse(401)
    }
}

/// A key of a configuration, for a list of them.
pub struct Listed {
    /// Its hash.
    pub hash: KeyHash,
    /// Whose it is.
    pub consumer: String,
    /// When it expires, seconds since the epoch.
    pub until_s: Option<u32>,
}

/// The keys of a configuration: those of its consumers' blocks, then those of its files.
///
/// # Errors
/// What is wrong.
pub fn list(origin: &Origin, files: &mut dyn Files) -> Result<Vec<Listed>, String> {
    let registry = crate::features::registry();
    let folder = origin.conf.parent().unwrap_or(&origin.prefix);
    let read = crate::conf::load(&origin.conf, &origin.globals, folder, files, &registry);
    let (tree, _) = read.map_err(|error| error.text())?;
    let main = registry.scope(&tree);
    let Some(block) = main.here("http").next() else { return Ok(Vec::new()) };
    let http = &main.child(block, Context::HTTP);
    let mut all = Vec::new();
    let mut push = |table: &KeyTable| {
        let mut of_table: Vec<Listed> = table
            .all()
            .map(|(hash, found)| Listed {
                hash: *hash,
                consumer: String::from_utf8_lossy(found.consumer).into_owned(),
                until_s: Some(found.until_s).filter(|at| *at != NEVER),
            })
            .collect();
        of_table.sort_by(|a, b| a.consumer.cmp(&b.consumer));
        all.append(&mut of_table);
    };
    push(&own_keys(http).map_err(|error| error.text())?);
    for path in http.here("api_key_file").filter_map(|line| line.arg(0)) {
        push(&file::read(&folder.join(path))?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::features::testing::{Bench, message};

    const HASH: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    #[test]
    fn errors_are_said_with_their_place() {
        let wrong = |text: &str| {
            message(Bench::new(&format!("http {{ {text} }}"), &[&consumer::FEATURE, &FEATURE]).plan())
        };
        let one = format!("consumer a {{ api_key {HASH}; }}");
        for (text, want) in [
            (
                "consumer a { api_key secret; }",
                "a key is written as \"sha256:\" and 64 hexadecimal digits (octroi key hash)",
            ),
            (
                &format!("{one} consumer b {{ api_key {HASH}; }}"),
                "the key 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 is given twice, with different meanings",
            ),
            (&format!("consumer a {{ api_key {HASH} expires=soon; }}"), "invalid parameter \"expires=soon\""),
            (
                "server { auth_api_key x from=$host; }",
                "a key cannot come from \"$host\": only from $http_, $arg_ and $cookie_ variables",
            ),
            ("server { auth_api_key x $arg_key; }", "invalid parameter \"$arg_key\""),
            (
                "server { auth_api_key x from=$http_cookie; }",
                "a key cannot come from \"$http_cookie\": only from $http_, $arg_ and $cookie_ variables",
            ),
            (&one, "no error"),
        ] {
            assert_eq!(wrong(text), want, "{text}");
        }
        assert!(wrong("api_key_file none.tsv;").starts_with("open() \"/conf/none.tsv\" failed (2: "));
    }

    #[test]
    fn only_where_it_is_on_there_is_a_step() {
        let text = format!(
            "http {{ auth_api_key x; consumer a {{ api_key {HASH}; }}
             server {{ location /on {{ }} location /off {{ auth_api_key off; }} }} }}"
        );
        let bench = Bench::new(&text, &[&consumer::FEATURE, &FEATURE]);
        let steps = |name| {
            bench.exchange(name, |x| {
                (x.here.settings.steps(Phase::Access).len(), x.here.settings.veil.is_some())
            })
        };
        assert_eq!((steps("/on"), steps("/off")), ((1, true), (0, false)));
    }
}
