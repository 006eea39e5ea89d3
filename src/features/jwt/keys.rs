//! Sets of keys (JWK, RFC 7517), and signatures by them (JWS, RFC 7515).
//!
//! A key says which algorithms it is good for; what a token claims of itself only chooses among these. So
//! an RSA key never checks an HMAC, and `none` is no algorithm of any key.

use super::algorithm::{Algorithm, Algorithms};
use super::base64url;
use crate::base::json::Json;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, VerificationAlgorithm,
};
use std::fmt;

/// Keys of one set at most: issuers have a handful.
const KEYS_MAX: usize = 256;

/// Keys that are tried for a token that names none: each costs a signature.
const TRIES_MAX: usize = 4;

/// The shortest modulus of RSA, bits (RFC 7518, 3.3).
const RSA_BITS_MIN: usize = 2048;

/// The longest: beyond it a signature costs milliseconds.
const RSA_BITS_MAX: usize = 8192;

/// Keys that tokens are checked with.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
    /// What is wrong with those that are of no use, for a log.
    pub unusable: Vec<String>,
}

/// One key.
struct Key {
    id: Option<Box<str>>,
    /// How it checks a signature, for each algorithm that it is good for.
    checks: Vec<(Algorithm, Check)>,
}

enum Check {
    Public(ParsedPublicKey),
    Secret(Box<hmac::Key>),
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A secret does not get into a log this way.
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a set says to a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is by one of the keys.
    Right,
    /// It is not.
    Wrong,
    /// The set has no key that the token may mean.
    NoKey,
}

impl KeySet {
    /// Reads a set (RFC 7517, 5). Keys that are of no use here are left out and noted; secrets are such
    /// unless `secrets` says that nobody else can read the set.
    ///
    /// # Errors
    /// The text is no set of keys.
    pub fn parse(text: &[u8], secrets: bool) -> Result<KeySet, &'static str> {
        let json = Json::parse(text).ok_or("it is not JSON, or has a name twice")?;
        let Some(Json::Array(keys)) = json.member("keys") else { return Err("it has no \"keys\"") };
        if keys.len() > KEYS_MAX {
            return Err("it has too many keys");
        }
        let mut set = KeySet::default();
        for (index, key) in keys.iter().enumerate() {
            match Key::parse(key, secrets) {
                Ok(key) => set.keys.push(key),
                Err(what) => {
                    let name = key.member("kid").and_then(Json::as_str).unwrap_or("");
                    set.unusable.push(format!("key {} \"{name}\" {what}", index + 1));
                }
            }
        }
        Ok(set)
    }

    /// Adds the keys of another set.
    pub fn append(&mut self, mut other: KeySet) {
        self.keys.append(&mut other.keys);
        self.unusable.append(&mut other.unusable);
    }

    /// Whether no key is of any use.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Checks a signature of `signed` by the key that `id` names. Without a name, all keys for the
    /// algorithm are tried, within a bound.
    pub fn verify(&self, algorithm: Algorithm, id: Option<&str>, signed: &[u8], signature: &[u8]) -> Verdict {
        let mut verdict = Verdict::NoKey;
        let named = |key: &&Key| id.is_none_or(|id| key.id.as_deref() == Some(id));
        let checks = self.keys.iter().filter(named).flat_map(|key| &key.checks);
        for (_, check) in checks.filter(|(for_it, _)| *for_it == algorithm).take(TRIES_MAX) {
            match check.is_right(signed, signature) {
                true => return Verdict::Right,
                false => verdict = Verdict::Wrong,
            }
        }
        // It has the key, which is for something else: no newer set will change that.
        if verdict == Verdict::NoKey && id.is_some() && self.keys.iter().any(|key| named(&key)) {
            verdict = Verdict::Wrong;
        }
        verdict
    }
}

impl Check {
    fn is_right(&self, signed: &[u8], signature: &[u8]) -> bool {
        match self {
            Check::Public(key) => key.verify_sig(signed, signature).is_ok(),
            // In constant time.
            Check::Secret(key) => hmac::verify(key, signed, signature).is_ok(),
        }
    }
}

impl Key {
    fn parse(json: &Json, secrets: bool) -> Result<Key, &'static str> {
        let word = |name: &str| json.member(name).and_then(Json::as_str);
        if json.member("use").is_some() && word("use") != Some("sig") {
            return Err("is not for signatures");
        }
        if json.member("key_ops").is_some_and(|ops| !ops.strings().any(|op| op == "verify")) {
            return Err("is not for checking signatures");
        }
        let wanted = match json.member("alg") {
            None => Algorithms::ALL,
            Some(name) => {
                let name = name.as_str().ok_or("names no algorithm")?;
                Algorithms::of(
                    Algorithm::parse(name.as_bytes()).ok_or("is for an algorithm that is not offered")?,
                )
            }
        };
        let checks = match word("kty") {
            Some("RSA") => rsa(json, wanted)?,
            Some("EC") => elliptic(json, wanted)?,
            Some("OKP") => edwards(json, wanted)?,
            Some("oct") if secrets => secret(json, wanted)?,
            Some("oct") => return Err("is a secret, which a set that is fetched must not hold"),
            _ => return Err("is of a kind that is not offered"),
        };
        if checks.is_empty() {
            return Err("is for none of the algorithms of its kind");
        }
        let id = match json.member("kid") {
            None => None,
            Some(id) => Some(id.as_str().ok_or("has a name that is no text")?.into()),
        };
        Ok(Key { id, checks })
    }
}

/// The bytes of a member in Base64 for URLs.
fn bytes(json: &Json, name: &str) -> Option<Vec<u8>> {
    base64url::decode(json.member(name)?.as_str()?.as_bytes())
}

fn parsed(algorithm: &'static dyn VerificationAlgorithm, key: &[u8]) -> Result<Check, &'static str> {
    ParsedPublicKey::new(algorithm, key).map(Check::Public).map_err(|_| "is not a valid key")
}

fn rsa(json: &Json, wanted: Algorithms) -> Result<Vec<(Algorithm, Check)>, &'static str> {
    let (n, e) = (bytes(json, "n").ok_or("has no modulus")?, bytes(json, "e").ok_or("has no exponent")?);
    let n = n.get(n.iter().take_while(|&&byte| byte == 0).count()..).unwrap_or_default();
    let bits = n.len() * 8 - n.first().map_or(0, |byte| byte.leading_zeros() as usize);
    if bits < RSA_BITS_MIN {
        return Err("is too short: RSA wants 2048 bits");
    }
    if bits > RSA_BITS_MAX {
        return Err("is too long: RSA may have 8192 bits");
    }
    // RSAPublicKey (RFC 8017, A.1.1).
    let mut inner = Vec::new();
    der_integer(n, &mut inner);
    der_integer(&e, &mut inner);
    let mut der = vec![0x30];
    der_length(inner.len(), &mut der);
    der.extend_from_slice(&inner);
    let all: [(Algorithm, &'static dyn VerificationAlgorithm); 6] = [
        (Algorithm::Rs256, &RSA_PKCS1_2048_8192_SHA256),
        (Algorithm::Rs384, &RSA_PKCS1_2048_8192_SHA384),
        (Algorithm::Rs512, &RSA_PKCS1_2048_8192_SHA512),
        (Algorithm::Ps256, &RSA_PSS_2048_8192_SHA256),
        (Algorithm::Ps384, &RSA_PSS_2048_8192_SHA384),
        (Algorithm::Ps512, &RSA_PSS_2048_8192_SHA512),
    ];
    let wanted = all.into_iter().filter(|(algorithm, _)| wanted.has(*algorithm));
    wanted.map(|(algorithm, check)| Ok((algorithm, parsed(check, &der)?))).collect()
}

fn der_integer(bytes: &[u8], out: &mut Vec<u8>) {
    let bytes = bytes.get(bytes.iter().take_while(|&&byte| byte == 0).count()..).unwrap_or_default();
    // A first bit that is set would be a sign; and nothing is written as one byte too.
    let sign = bytes.first().is_none_or(|byte| byte & 0x80 != 0);
    out.push(0x02);
    der_length(bytes.len() + usize::from(sign), out);
    if sign {
        out.push(0);
    }
    out.extend_from_slice(bytes);
}

fn der_length(length: usize, out: &mut Vec<u8>) {
    if length < 0x80 {
        out.push(length as u8);
        return;
    }
    let bytes = length.to_be_bytes();
    let used = bytes.get(bytes.iter().take_while(|&&byte| byte == 0).count()..).unwrap_or_default();
    out.push(0x80 | used.len() as u8);
    out.extend_from_slice(used);
}

fn elliptic(json: &Json, wanted: Algorithms) -> Result<Vec<(Algorithm, Check)>, &'static str> {
    let (algorithm, size, check): (_, _, &'static dyn VerificationAlgorithm) =
        match json.member("crv").and_then(Json::as_str) {
            Some("P-256") => (Algorithm::Es256, 32, &ECDSA_P256_SHA256_FIXED),
            Some("P-384") => (Algorithm::Es384, 48, &ECDSA_P384_SHA384_FIXED),
            Some("P-521") => (Algorithm::Es512, 66, &ECDSA_P521_SHA512_FIXED),
            _ => return Err("is on a curve that is not offered"),
        };
    let (x, y) = (bytes(json, "x").unwrap_or_default(), bytes(json, "y").unwrap_or_default());
    if x.len() != size || y.len() != size {
        return Err("has coordinates of another length than its curve's");
    }
    if !wanted.has(algorithm) {
        return Ok(Vec::new());
    }
    // An uncompressed point (SEC 1, 2.3.3).
    let point = [&[4][..], &x, &y].concat();
    Ok(vec![(algorithm, parsed(check, &point)?)])
}

fn edwards(json: &Json, wanted: Algorithms) -> Result<Vec<(Algorithm, Check)>, &'static str> {
    if json.member("crv").and_then(Json::as_str) != Some("Ed25519") {
        return Err("is on a curve that is not offered");
    }
    let x = bytes(json, "x").unwrap_or_default();
    if !wanted.has(Algorithm::EdDsa) {
        return Ok(Vec::new());
    }
    Ok(vec![(Algorithm::EdDsa, parsed(&ED25519, &x)?)])
}

fn secret(json: &Json, wanted: Algorithms) -> Result<Vec<(Algorithm, Check)>, &'static str> {
    let secret = bytes(json, "k").ok_or("has no value")?;
    let all = [
        (Algorithm::Hs256, hmac::HMAC_SHA256, 32),
        (Algorithm::Hs384, hmac::HMAC_SHA384, 48),
        (Algorithm::Hs512, hmac::HMAC_SHA512, 64),
    ];
    let wanted = all.into_iter().filter(|(algorithm, ..)| wanted.has(*algorithm));
    // A key as long as the hash is the least (RFC 7518, 3.2).
    let mut fit = wanted.filter(|(.., least)| secret.len() >= *least).peekable();
    if fit.peek().is_none() {
        return Err("is too short: a secret is as long as the hash, 32, 48 or 64 bytes");
    }
    Ok(fit
        .map(|(algorithm, hash, _)| (algorithm, Check::Secret(Box::new(hmac::Key::new(hash, &secret)))))
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::features::jwt::jws::Jws;

    /// Signatures that are right and wrong, with their keys.
    const VECTORS: &str = include_str!("vectors.txt");

    /// Right ones that are refused here, and why.
    const REFUSED: &[(&str, &str)] = &[
        ("Figure20", "its key says PS256, the token PS384: the key decides"),
        ("Figure27", "its key is said to be for \"ES521\", which is no algorithm"),
        ("InvalidCharacterInsertedInHeader", "there is one way only to write a token"),
        ("InvalidCharacterInsertedInPayload", "there is one way only to write a token"),
    ];

    #[test]
    fn signatures() {
        let mut set = KeySet::default();
        let (mut right, mut wrong, mut refused) = (0, 0, 0);
        for line in VECTORS.lines().filter(|line| !line.starts_with('#')) {
            let (kind, rest) = line.split_once(' ').unwrap();
            if kind == "k" {
                set = KeySet::parse(format!("{{\"keys\":[{rest}]}}").as_bytes(), true).unwrap();
                continue;
            }
            let (name, token) = rest.split_once(' ').unwrap();
            let jws = Jws::parse(token.as_bytes());
            let taken = jws.and_then(|jws| jws.payload(&set, Algorithms::ALL)).is_ok();
            let is_refused = REFUSED.iter().any(|(known, _)| *known == name);
            assert_eq!(taken, kind == "+" && !is_refused, "{line}");
            match kind {
                "+" if is_refused => refused += 1,
                "+" => right += 1,
                _ => wrong += 1,
            }
        }
        assert!(right >= 40 && wrong >= 200 && refused <= 6, "{right} {wrong} {refused}");
    }
}
