//! Sessions that go on: tickets (RFC 5077; RFC 8446, 2.2) and the store of `ssl_session_cache`. One of
//! each serves all shards; what belongs to one server's settings is of no use under others.

use super::noted::{self, SESSION_ID_BYTES, SessionId};
use crate::base::clock;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{digest, rand};
use rustls::server::{ProducesTickets, ServerSessionMemoryCache, StoresServerSessions};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

/// The mark of the settings that a session was made under.
pub type Mark = [u8; 32];

/// Bytes in front of a session: its mark, the second it was made in, and its identifier.
const HEAD_BYTES: usize = 32 + 8 + SESSION_ID_BYTES;

/// Bytes of a key's name in a ticket, as in the files of `ssl_session_ticket_key`.
const NAME_BYTES: usize = 16;

/// The tickets' key that the process has if it is given none: new ones every six hours.
static OWN: OnceLock<Option<Arc<dyn ProducesTickets>>> = OnceLock::new();

/// Tickets of one server.
pub struct Tickets {
    keys: Keys,
    mark: Mark,
    timeout_s: u32,
}

/// What tickets are encrypted with.
pub enum Keys {
    /// The process's own, which change.
    Own(Arc<dyn ProducesTickets>),
    /// Those of files: the first encrypts, all decrypt.
    Files(Vec<Key>),
}

/// The key of a file.
pub struct Key {
    name: [u8; NAME_BYTES],
    key: RandomizedNonceKey,
}

impl Keys {
    /// The process's own; `None` when the system has no random numbers.
    pub fn own() -> Option<Keys> {
        OWN.get_or_init(|| rustls::crypto::aws_lc_rs::Ticketer::new().ok()).clone().map(Keys::Own)
    }
}

impl Key {
    /// The key that a file of 48 or 80 bytes makes; `None` for any other.
    pub fn of_file(bytes: &[u8]) -> Option<Key> {
        if !matches!(bytes.len(), 48 | 80) {
            return None;
        }
        let (name, _) = bytes.split_first_chunk::<NAME_BYTES>()?;
        let secret = digest::digest(&digest::SHA256, bytes);
        Some(Key { name: *name, key: RandomizedNonceKey::new(&AES_256_GCM, secret.as_ref()).ok()? })
    }
}

impl Tickets {
    /// Tickets with these keys, for sessions of `timeout_s`.
    pub fn new(keys: Keys, mark: Mark, timeout_s: u32) -> Tickets {
        Tickets { keys, mark, timeout_s }
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.timeout_s
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut id = SessionId::default();
        rand::fill(&mut id).ok()?;
        let whole = with_head(&self.mark, id, plain);
        match &self.keys {
            Keys::Own(own) => own.encrypt(&whole),
            Keys::Files(keys) => {
                let key = keys.first()?;
                let mut sealed = whole;
                let nonce = key.key.seal_in_place_append_tag(Aad::empty(), &mut sealed).ok()?;
                Some([&key.name, nonce.as_ref().as_slice(), &sealed].concat())
            }
        }
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let whole = match &self.keys {
            Keys::Own(own) => own.decrypt(cipher)?,
            Keys::Files(keys) => {
                let (name, rest) = cipher.split_first_chunk::<NAME_BYTES>()?;
                let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
                let key = keys.iter().find(|key| key.name == *name)?;
                let mut sealed = sealed.to_vec();
                let nonce = Nonce::assume_unique_for_key(*nonce);
                key.key.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?.to_vec()
            }
        };
        without_head(&self.mark, self.timeout_s, &whole)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

/// A store that servers share.
pub type Store = Arc<ServerSessionMemoryCache>;

/// A store for so many sessions.
pub fn store(sessions: usize) -> Store {
    ServerSessionMemoryCache::new(sessions)
}

/// The stores that have names, as long as a configuration uses them.
static NAMED: Mutex<BTreeMap<(String, usize), Weak<ServerSessionMemoryCache>>> = Mutex::new(BTreeMap::new());

/// The store of this name for so many sessions: over a reload it is the same one.
pub fn named_store(name: &str, sessions: usize) -> Store {
    let mut named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
    named.retain(|_, store| store.strong_count() > 0);
    let place = named.entry((name.to_owned(), sessions)).or_default();
    place.upgrade().unwrap_or_else(|| {
        let new = store(sessions);
        *place = Arc::downgrade(&new);
        new
    })
}

/// One server's part of a store.
#[derive(Debug)]
pub struct Stored {
    store: Store,
    mark: Mark,
    timeout_s: u32,
}

impl Stored {
    /// The part of these settings.
    pub fn new(store: Store, mark: Mark, timeout_s: u32) -> Stored {
        Stored { store, mark, timeout_s }
    }
}

impl StoresServerSessions for Stored {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let id = identifier(&key);
        self.store.put(key, with_head(&self.mark, id, &value))
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        without_head(&self.mark, self.timeout_s, &self.store.get(key)?)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        without_head(&self.mark, self.timeout_s, &self.store.take(key)?)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// The time, seconds since 1970.
fn now_s() -> u64 {
    clock::unix_time(clock::now()).as_secs()
}

/// The identifier that a session is stored under: the last bytes of its key, behind which it has no others.
fn identifier(key: &[u8]) -> SessionId {
    key.last_chunk().copied().unwrap_or_default()
}

fn with_head(mark: &Mark, id: SessionId, plain: &[u8]) -> Vec<u8> {
    noted::session(id);
    [mark.as_slice(), &now_s().to_le_bytes(), &id, plain].concat()
}

/// The session, if it was made under these settings and is not too old.
fn without_head(mark: &Mark, timeout_s: u32, whole: &[u8]) -> Option<Vec<u8>> {
    let (head, plain) = whole.split_at_checked(HEAD_BYTES)?;
    let (known, rest) = head.split_at_checked(mark.len())?;
    let (second, id) = rest.split_first_chunk()?;
    let made = u64::from_le_bytes(*second);
    let age = Duration::from_secs(now_s().saturating_sub(made));
    if known != mark || age > Duration::from_secs(timeout_s.into()) {
        return None;
    }
    noted::session(id.try_into().ok()?);
    Some(plain.to_vec())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn tickets_are_for_the_same_settings_only() {
        let key = |fill: u8| Key::of_file(&[fill; 80]).unwrap();
        let old = Tickets::new(Keys::Files(vec![key(1)]), [1; 32], 300);
        let ticket = old.encrypt(b"session").unwrap();
        let rotated = Tickets::new(Keys::Files(vec![key(2), key(1)]), [1; 32], 300);
        assert_eq!(rotated.decrypt(&ticket).unwrap(), b"session");
        assert!(old.decrypt(&rotated.encrypt(b"session").unwrap()).is_none());
        assert!(Tickets::new(Keys::Files(vec![key(1)]), [2; 32], 300).decrypt(&ticket).is_none());
        let mut forged = ticket.clone();
        forged[40] ^= 1;
        assert!(old.decrypt(&forged).is_none() && old.decrypt(b"short").is_none());
        assert!(Key::of_file(&[0; 47]).is_none());
    }

    #[test]
    fn sessions_of_a_process_key_and_of_a_store() {
        let tickets = |mark| Tickets::new(Keys::own().unwrap(), [mark; 32], 300);
        let ticket = tickets(1).encrypt(b"session").unwrap();
        assert_eq!(tickets(1).decrypt(&ticket).unwrap(), b"session");
        assert!(tickets(2).decrypt(&ticket).is_none());
        let shared = named_store("tests", 8);
        assert!(Arc::ptr_eq(&shared, &named_store("tests", 8)));
        assert!(!Arc::ptr_eq(&shared, &named_store("tests", 16)));
        let (one, other) = (Stored::new(shared.clone(), [1; 32], 300), Stored::new(shared, [2; 32], 300));
        assert!(one.put(vec![1], b"session".to_vec()));
        assert_eq!(one.get(&[1]).unwrap(), b"session");
        assert!(other.get(&[1]).is_none());
    }
}
