//! Sets of keys that are fetched (JWKS), directly or from where an issuer says that they are (OpenID
//! Connect Discovery 1.0, 4). The control plane fetches them; requests use the last good set.

use super::keys::KeySet;
use crate::base::json::Json;
use crate::base::process_settings::Level;
use crate::bridge::published::Published;
use crate::net::error_log::ErrorLog;
use crate::pipeline::veil::{KeyHash, hash};
use crate::remote::https::Fetcher;
use crate::remote::refreshed::Refreshed;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

/// Where a set is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At this address.
    Url(Box<str>),
    /// Where the configuration of this issuer says.
    Issuer(Box<str>),
}

/// A set that is fetched, shared by all configurations that name it.
pub struct RemoteKeys {
    place: Place,
    refresh: Duration,
    set: Published<Option<KeySet>>,
    /// The hash of the text that the set was read from: one that says the same is no newer one.
    text: Mutex<Option<KeyHash>>,
    /// Somebody has met a key that the set has not.
    early: (flume::Sender<()>, flume::Receiver<()>),
    kept: AtomicBool,
    log: OnceLock<ErrorLog>,
}

/// The sets that are in use: a reload goes on with what was fetched before.
static SETS: Mutex<Vec<Weak<RemoteKeys>>> = Mutex::new(Vec::new());

impl RemoteKeys {
    /// The set at a place.
    pub fn at(place: Place, refresh: Duration) -> Arc<RemoteKeys> {
        let mut sets = SETS.lock().unwrap_or_else(PoisonError::into_inner);
        sets.retain(|set| set.strong_count() > 0);
        let mut known = sets.iter().filter_map(Weak::upgrade);
        if let Some(known) = known.find(|set| set.place == place && set.refresh == refresh) {
            return known;
        }
        let set = Arc::new(RemoteKeys {
            place,
            refresh,
            set: Published::new(None),
            text: Mutex::new(None),
            early: flume::bounded(1),
            kept: AtomicBool::new(false),
            log: OnceLock::new(),
        });
        sets.push(Arc::downgrade(&set));
        set
    }

    /// The set; `None` until it was fetched.
    pub fn set(&self) -> &Published<Option<KeySet>> {
        &self.set
    }

    /// Asks for the set to be fetched before its time.
    pub fn ask_early(&self) {
        let _ = self.early.0.try_send(());
    }

    /// Whether the caller is the first to keep it fresh; then it has to.
    pub fn begin(&self, log: &ErrorLog) -> bool {
        let _ = self.log.set(log.clone());
        !self.kept.swap(true, Ordering::Relaxed)
    }

    /// The set, unless it is the one in force.
    async fn fetch(&self, fetcher: &Fetcher) -> Result<Option<KeySet>, String> {
        let url = match &self.place {
            Place::Url(url) => url.to_string(),
            Place::Issuer(issuer) => discover(issuer, fetcher).await?,
        };
        let text = fetcher.get(&url).await.map_err(|error| format!("{url}: {error}"))?;
        let hash = Some(hash(&text));
        if *self.text.lock().unwrap_or_else(PoisonError::into_inner) == hash {
            return Ok(None);
        }
        let set = KeySet::parse(&text, false).map_err(|what| format!("{url}: no set of keys: {what}"))?;
        if set.is_empty() {
            return Err(format!("{url}: no key in it is of any use: {}", set.unusable.join("; ")));
        }
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = hash;
        Ok(Some(set))
    }

    fn name(&self) -> &str {
        match &self.place {
            Place::Url(name) | Place::Issuer(name) => name,
        }
    }
}

/// Where an issuer has its keys. What it says of itself must be what it is called here.
async fn discover(issuer: &str, fetcher: &Fetcher) -> Result<String, String> {
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let text = fetcher.get(&url).await.map_err(|error| format!("{url}: {error}"))?;
    let json = Json::parse(&text).ok_or_else(|| format!("{url}: no JSON"))?;
    let word = |name: &str| json.member(name).and_then(Json::as_str);
    if word("issuer") != Some(issuer) {
        return Err(format!("{url}: it is of the issuer \"{}\"", word("issuer").unwrap_or("")));
    }
    let keys = word("jwks_uri").ok_or_else(|| format!("{url}: it has no \"jwks_uri\""))?;
    // Keys that came in clear text would undo what the issuer's certificate proves.
    if issuer.starts_with("https://") && !keys.starts_with("https://") {
        return Err(format!("{url}: its \"jwks_uri\" is not https"));
    }
    Ok(keys.to_owned())
}

impl Refreshed for RemoteKeys {
    fn every(&self) -> Duration {
        self.refresh
    }

    fn early(&self) -> flume::Receiver<()> {
        self.early.1.clone()
    }

    async fn refresh(&self, fetcher: &Fetcher) -> bool {
        let fetched = self.fetch(fetcher).await;
        let log = self.log.get();
        let say = |level, message: std::fmt::Arguments<'_>| {
            if let Some(log) = log {
                log.write(level, None, message);
            }
        };
        match fetched {
            Ok(None) => true,
            Ok(Some(set)) => {
                let unusable = set.unusable.join("; ");
                if !unusable.is_empty() {
                    say(
                        Level::Warn,
                        format_args!("of the keys of \"{}\" some are of no use: {unusable}", self.name()),
                    );
                }
                self.set.publish(Arc::new(Some(set)));
                say(Level::Info, format_args!("keys of \"{}\" are fetched", self.name()));
                true
            }
            Err(error) => {
                let stays = match self.set.current().0.is_some() {
                    true => "the keys from before stay in force",
                    false => "there are none yet",
                };
                say(
                    Level::Error,
                    format_args!("keys of \"{}\" are not to be had: {error}; {stays}", self.name()),
                );
                false
            }
        }
    }
}
