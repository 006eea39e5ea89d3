//! What a shard remembers of tokens: that a version of a set of keys has verified one, and what it says.
//! Whether it still lets its bearer in is asked anew each time. Tokens are known by their SHA-256.

use crate::pipeline::token::Token;
use crate::pipeline::veil::KeyHash;
use ahash::AHashMap;
use std::rc::Rc;

/// Tokens of one generation: with the older one that is twice as many, 16,384.
const TOKENS_MAX: usize = 8 * 1024;

/// Bytes of one generation, as tokens are held taken apart: 16 MB.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// How much more a token takes when it is taken apart: each claim in a place of its own.
const APART: usize = 4;

/// A token that was verified.
#[derive(Debug)]
pub struct Verified {
    /// What it says.
    pub token: Rc<Token>,
    /// How it is signed.
    pub algorithm: super::algorithm::Algorithm,
    /// Which of the location's sources of keys has verified it,
    pub source: usize,
    /// and the number of the set that source had then.
    pub number: u64,
}

/// The tokens of one shard and one set of sources: those used lately, and those before them. When there is
/// no room for another, the older ones go.
#[derive(Default)]
pub struct Tokens {
    young: AHashMap<KeyHash, Rc<Verified>>,
    old: AHashMap<KeyHash, Rc<Verified>>,
    bytes: usize,
}

impl Tokens {
    /// What is known of a token.
    #[inline]
    pub fn find(&mut self, hash: &KeyHash) -> Option<Rc<Verified>> {
        if let Some(known) = self.young.get(hash) {
            return Some(known.clone());
        }
        let known = self.old.remove(hash)?;
        self.keep(*hash, known.clone());
        Some(known)
    }

    /// Remembers a token.
    pub fn keep(&mut self, hash: KeyHash, verified: Rc<Verified>) {
        let bytes = size(&verified);
        if self.young.len() >= TOKENS_MAX || self.bytes + bytes > BYTES_MAX {
            // Their memory is used again.
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
            self.bytes = 0;
        }
        self.bytes += bytes;
        self.young.insert(hash, verified);
    }

    /// Forgets a token.
    pub fn forget(&mut self, hash: &KeyHash) {
        if let Some(gone) = self.young.remove(hash) {
            self.bytes = self.bytes.saturating_sub(size(&gone));
        }
        self.old.remove(hash);
    }
}

fn size(verified: &Verified) -> usize {
    size_of::<Verified>() + verified.token.payload.len() * (1 + APART)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::base::json::Json;
    use crate::features::jwt::algorithm::Algorithm;
    use crate::pipeline::veil::hash;

    fn verified(bytes: usize) -> Rc<Verified> {
        let token = Token { header: Json::Null, claims: Json::Null, payload: vec![0; bytes].into() };
        Rc::new(Verified { token: Rc::new(token), algorithm: Algorithm::Es256, source: 0, number: 0 })
    }

    #[test]
    fn what_is_used_stays() {
        let mut tokens = Tokens::default();
        let often = hash(b"often");
        tokens.keep(often, verified(10));
        for n in 0..TOKENS_MAX * 3 {
            tokens.keep(hash(&n.to_le_bytes()), verified(10));
            assert!(n % 100 != 0 || tokens.find(&often).is_some());
        }
        assert!(tokens.young.len() <= TOKENS_MAX && tokens.old.len() <= TOKENS_MAX);
        assert!(tokens.find(&hash(&0_usize.to_le_bytes())).is_none());
        tokens.forget(&often);
        assert!(tokens.find(&often).is_none());
    }

    #[test]
    fn large_ones_are_fewer() {
        let mut tokens = Tokens::default();
        for n in 0..10_000_usize {
            tokens.keep(hash(&n.to_le_bytes()), verified(8000));
        }
        assert!(tokens.young.len() + tokens.old.len() < 1000);
    }
}
