//! Where the keys come from that a location checks tokens with: files of the configuration, sets fetched
//! from addresses, issuers that say where theirs are.

use super::algorithm::Algorithms;
use super::jws::{Fault, Jws};
use super::keys::KeySet;
use super::known::{Tokens, Verified};
use super::remote::RemoteKeys;
use crate::base::json::Json;
use crate::bridge::published::Seen;
use crate::pipeline::local::Slot;
use crate::pipeline::token::Token;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// The sources of a location; those that name the same ones share them, with what shards remember.
pub struct Sources {
    /// Each is tried.
    pub all: Vec<Source>,
    /// What a shard knows.
    pub local: Slot<Local>,
}

/// One source.
pub struct Source {
    /// Its keys.
    pub keys: Keys,
    /// The issuer whose keys these are: its tokens say so, or are not.
    pub issuer: Option<Box<str>>,
}

/// Keys.
pub enum Keys {
    /// Of files, which the configuration holds.
    Files(Arc<KeySet>),
    /// Fetched.
    Remote(Arc<RemoteKeys>),
}

/// What a shard knows of one set of sources.
pub struct Local {
    seen: Vec<Seen<Option<KeySet>>>,
    /// Tokens that were verified.
    pub tokens: RefCell<Tokens>,
}

impl Local {
    /// For so many sources.
    pub fn new(sources: usize) -> Local {
        Local { seen: (0..sources).map(|_| Seen::default()).collect(), tokens: RefCell::default() }
    }
}

/// Why no source has verified a token.
#[derive(Debug, PartialEq, Eq)]
pub enum Unverified {
    /// The token is wrong.
    Wrong(Fault),
    /// Keys that it might be signed with were not fetched yet.
    NoKeysYet,
}

impl Sources {
    /// Whether what verified a token then is what the source has now.
    pub fn is_current(&self, verified: &Verified) -> bool {
        match self.all.get(verified.source).map(|source| &source.keys) {
            Some(Keys::Files(_)) => true,
            Some(Keys::Remote(remote)) => remote.set().number() == verified.number,
            None => false,
        }
    }

    /// Verifies a token by the sources in turn.
    ///
    /// # Errors
    /// None has.
    pub fn verify(&self, token: &[u8], permitted: Algorithms, local: &Local) -> Result<Verified, Unverified> {
        let jws = Jws::parse(token).map_err(Unverified::Wrong)?;
        let mut fault = Fault::NoKey;
        let mut missing = false;
        for (at, source) in self.all.iter().enumerate() {
            let verdict = match &source.keys {
                Keys::Files(set) => Some((jws.payload(set, permitted), 0)),
                Keys::Remote(remote) => match local.seen.get(at) {
                    Some(seen) => seen.look(remote.set(), |set, number| {
                        set.as_ref().map(|set| (jws.payload(set, permitted), number))
                    }),
                    None => None,
                },
            };
            match verdict {
                None => missing = true,
                Some((Ok(payload), number)) => {
                    return taken_apart(jws, payload, at, number).map_err(Unverified::Wrong);
                }
                Some((Err(Fault::NoKey), _)) => {
                    if let Keys::Remote(remote) = &source.keys {
                        remote.ask_early();
                    }
                }
                Some((Err(other), _)) => fault = other,
            }
        }
        match missing {
            true if fault == Fault::NoKey => Err(Unverified::NoKeysYet),
            _ => Err(Unverified::Wrong(fault)),
        }
    }
}

/// Reads the claims of a token whose signature is right.
fn taken_apart(jws: Jws<'_>, payload: Vec<u8>, source: usize, number: u64) -> Result<Verified, Fault> {
    let Some(claims @ Json::Object(_)) = Json::parse(&payload) else {
        return Err(Fault::Form("its claims are no JSON, or say something twice"));
    };
    let algorithm = jws.algorithm;
    let token = Token { header: jws.header, claims, payload: payload.into() };
    Ok(Verified { token: Rc::new(token), algorithm, source, number })
}

/// Shared by those who hold it for a while.
pub type Held = Rc<Verified>;
