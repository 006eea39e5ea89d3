//! Certificates whose files are named with variables. They are read when a handshake needs them, on the
//! file pool and with the worker's rights, and kept for a while where the configuration says so.

use super::compile::{argument, passwords};
use crate::base::clock;
use crate::conf::{Diagnostic, Scope, Word, value};
use crate::net::error_log::OsError;
use crate::net::file_pool;
use crate::net::tls::client::Own;
use crate::net::tls::server::{certificates, mark, pair};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::local::Slot;
use crate::pipeline::template::Template;
use crate::plan::builder::Builder;
use ahash::AHashMap;
use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of a file with a chain or a key, at most: a chain of ten certificates has some 20 KB.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// How long a certificate that nobody asks for is kept, unless the configuration says otherwise.
const INACTIVE: Duration = Duration::from_secs(10);

/// How long one is good without another look at its file.
const VALID: Duration = Duration::from_secs(60);

/// The directives: of the certificate, its key, pass phrases, and the cache.
pub type Names = [&'static str; 4];

/// A certificate that is named with variables.
pub struct Named {
    certificate: Template,
    key: Template,
    /// What relative names begin with: the configuration's directory.
    directory: Arc<Path>,
    passwords: Arc<[Vec<u8>]>,
    cache: Option<Slot<Cache>>,
}

/// What the variables came to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Files {
    /// The name of the certificate's file.
    pub certificate: Vec<u8>,
    /// That of the key's.
    pub key: Vec<u8>,
}

impl Named {
    /// From the configuration; `None` where no name has variables.
    ///
    /// # Errors
    /// A wrong value.
    pub fn compile(
        scope: &Scope<'_>,
        b: &mut Builder<'_>,
        [certificate, key, phrases, cache]: Names,
    ) -> Result<Option<Named>, Diagnostic> {
        rules(scope, cache)?;
        let (Some((_, certificate)), Some((_, key))) = (argument(scope, certificate), argument(scope, key))
        else {
            return Ok(None);
        };
        if certificate.text.is_empty() || !(certificate.text.contains('$') || key.text.contains('$')) {
            return Ok(None);
        }
        Named::of(scope, b, (certificate, key), [phrases, cache]).map(Some)
    }

    /// From these words; the directives are those of pass phrases and the cache.
    ///
    /// # Errors
    /// A wrong value.
    pub fn of(
        scope: &Scope<'_>,
        b: &mut Builder<'_>,
        (certificate, key): (&Word, &Word),
        [phrases, cache]: [&'static str; 2],
    ) -> Result<Named, Diagnostic> {
        let rules = rules(scope, cache)?;
        let origin = b.origin();
        let directory: Arc<Path> = origin.conf.parent().unwrap_or(&origin.prefix).into();
        Ok(Named {
            certificate: b.template(certificate)?,
            key: b.template(key)?,
            directory,
            passwords: passwords(scope, b, phrases)?.into(),
            cache: rules.map(|rules| b.reserve(move |_| Cache::new(rules))),
        })
    }

    /// The files for this request; `None` for no certificate.
    pub fn files(&self, x: &Exchange) -> Option<Files> {
        let certificate = self.certificate.value(x);
        (!certificate.is_empty()).then(|| Files { certificate, key: self.key.value(x) })
    }

    /// The certificate of these files with its key.
    ///
    /// # Errors
    /// Why it cannot be had, in words for the log.
    pub async fn load(&self, x: &Exchange, files: &Files) -> Result<Arc<Own>, String> {
        let cache = self.cache.map(|slot| x.locals.at(slot));
        if let Some(known) = cache.and_then(|cache| cache.find(files, clock::now())) {
            return Ok(known);
        }
        let (directory, passwords, wanted) = (self.directory.clone(), self.passwords.clone(), files.clone());
        let read = file_pool::run(move || read(&directory, &wanted, &passwords)).await;
        let own = read.map_err(|fault| {
            let name = String::from_utf8_lossy(&files.certificate);
            format!("cannot load certificate \"{name}\": {fault}")
        })??;
        let own = Arc::new(own);
        if let Some(cache) = cache {
            cache.keep(files, own.clone(), clock::now());
        }
        Ok(own)
    }
}

/// Reads both files. It reads a disk, and takes the time that pass phrases take.
fn read(directory: &Path, files: &Files, passwords: &[Vec<u8>]) -> Result<Own, String> {
    let (path, chain) = content(directory, &files.certificate, "certificate")?;
    let found =
        certificates(&chain).map_err(|fault| format!("cannot load certificate \"{path}\": {fault}"))?;
    let (path, key) = content(directory, &files.key, "certificate key")?;
    let pair = pair(found, &key, passwords).map_err(|fault| fault.text(&path))?;
    Ok(Own { pair, mark: mark([chain.as_slice(), key.as_slice()].into_iter()) })
}

/// The name of a file as the log shows it, and what is in it.
fn content(directory: &Path, name: &[u8], what: &str) -> Result<(String, Vec<u8>), String> {
    if let Some(text) = name.strip_prefix(b"data:") {
        return Ok(("data:".to_owned(), text.to_vec()));
    }
    let path = directory.join(OsStr::from_bytes(name));
    let shown = path.display().to_string();
    match bytes(&path) {
        Ok(bytes) => Ok((shown, bytes)),
        Err(fault) => Err(format!("cannot load {what} \"{shown}\": open() failed {}", OsError(&fault))),
    }
}

fn bytes(path: &PathBuf) -> io::Result<Vec<u8>> {
    // A pipe is not waited for.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// How long certificates are kept, and how many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    max: usize,
    inactive: Duration,
    valid: Duration,
}

/// The certificates that one shard keeps for one location.
struct Cache {
    rules: Rules,
    known: RefCell<AHashMap<Files, Entry>>,
}

struct Entry {
    own: Arc<Own>,
    read: Instant,
    used: Instant,
}

impl Cache {
    fn new(rules: Rules) -> Cache {
        Cache { rules, known: RefCell::default() }
    }

    fn is_good(&self, entry: &Entry, now: Instant) -> bool {
        now.saturating_duration_since(entry.read) < self.rules.valid
            && now.saturating_duration_since(entry.used) < self.rules.inactive
    }

    fn find(&self, files: &Files, now: Instant) -> Option<Arc<Own>> {
        let mut known = self.known.borrow_mut();
        let entry = known.get_mut(files)?;
        if !self.is_good(entry, now) {
            known.remove(files);
            return None;
        }
        entry.used = now;
        Some(entry.own.clone())
    }

    /// Keeps one. Where there is no place, those that are good no more go, and else the one that nobody
    /// has asked for longest.
    fn keep(&self, files: &Files, own: Arc<Own>, now: Instant) {
        let mut known = self.known.borrow_mut();
        if known.len() >= self.rules.max {
            known.retain(|_, entry| self.is_good(entry, now));
        }
        if known.len() >= self.rules.max {
            let oldest = known.iter().min_by_key(|(_, entry)| entry.used).map(|(files, _)| files.clone());
            oldest.and_then(|oldest| known.remove(&oldest));
        }
        known.insert(files.clone(), Entry { own, read: now, used: now });
    }
}

/// What the directive of a cache says; `None` for none.
pub(super) fn rules(scope: &Scope<'_>, name: &str) -> Result<Option<Rules>, Diagnostic> {
    let Some(line) = scope.one(name) else { return Ok(None) };
    let mut rules = Rules { max: 0, inactive: INACTIVE, valid: VALID };
    let mut is_off = false;
    for word in &line.args {
        let invalid = || scope.error_at(line, word, format!("invalid parameter \"{}\"", word.text));
        let time = |text: &str| value::time_s(text).map(Duration::from_secs).ok_or_else(invalid);
        match word.text.split_once('=') {
            None if word.text == "off" => is_off = true,
            Some(("max", text)) => {
                let max = value::number(text).and_then(|max| usize::try_from(max).ok());
                rules.max = max.filter(|max| *max > 0).ok_or_else(invalid)?;
            }
            Some(("inactive", text)) => rules.inactive = time(text)?,
            Some(("valid", text)) => rules.valid = time(text)?,
            _ => return Err(invalid()),
        }
    }
    match rules.max {
        _ if is_off => Ok(None),
        0 => Err(scope.error(line, format!("\"{name}\" must have the \"max\" parameter"))),
        _ => Ok(Some(rules)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn own() -> Arc<Own> {
        let made = rcgen::generate_simple_self_signed(vec!["host".to_owned()]).unwrap();
        let chain = certificates(made.cert.pem().as_bytes()).unwrap();
        let pair = pair(chain, made.signing_key.serialize_pem().as_bytes(), &[]);
        Arc::new(Own { pair: pair.map_err(|fault| fault.text("")).unwrap(), mark: [0; 32] })
    }

    #[test]
    fn certificates_are_kept_for_a_while_and_not_too_many() {
        let rules = Rules { max: 2, inactive: Duration::from_secs(10), valid: Duration::from_secs(15) };
        let cache = Cache::new(rules);
        let files = |name: u8| Files { certificate: vec![name], key: vec![name] };
        let (own, start) = (own(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        cache.keep(&files(1), own.clone(), start);
        cache.keep(&files(2), own.clone(), at(1));
        assert!(cache.find(&files(1), at(5)).is_some());
        cache.keep(&files(3), own.clone(), at(6));
        let known = |time| [1, 2, 3].map(|name| cache.find(&files(name), at(time)).is_some());
        assert_eq!(known(7), [true, false, true]);
        // The first was read too long ago, though asked for all the time.
        assert_eq!(known(16), [false, false, true]);
        assert_eq!(known(60), [false; 3]);
        assert!(cache.known.borrow().is_empty() || cache.known.borrow().len() == 1);
    }
}
