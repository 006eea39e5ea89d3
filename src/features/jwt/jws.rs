//! A signed token in its compact form (RFC 7515, 7.1): three parts, of which the first says how the second
//! is signed. Nothing in it is believed before the signature is found right; the claims are not even read.

use super::algorithm::{Algorithm, Algorithms};
use super::base64url;
use super::keys::{KeySet, Verdict};
use crate::base::json::Json;

/// Bytes of a token at most: what one line of a request's head has room for by default.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Bytes of its header at most, in Base64: what is read before the signature is checked.
const HEADER_BYTES_MAX: usize = 2 * 1024;

/// A token taken apart.
#[derive(Debug)]
pub struct Jws<'t> {
    /// Its header.
    pub header: Json,
    /// How it says it is signed.
    pub algorithm: Algorithm,
    /// The first two parts, which are signed.
    signed: &'t [u8],
    payload: &'t [u8],
    signature: Vec<u8>,
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is no token.
    Form(&'static str),
    /// It is signed in a way that is not permitted here.
    Algorithm,
    /// Its signature is wrong.
    Signature,
    /// No key is known that it may be signed with.
    NoKey,
    /// What it says does not hold.
    Claim(&'static str),
}

impl Fault {
    /// For the log.
    pub fn text(self) -> &'static str {
        match self {
            Fault::Form(what) | Fault::Claim(what) => what,
            Fault::Algorithm => "its algorithm is not permitted",
            Fault::Signature => "its signature is wrong",
            Fault::NoKey => "no key is known that it may be signed with",
        }
    }
}

impl<'t> Jws<'t> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// It is not what it has to be.
    pub fn parse(token: &'t [u8]) -> Result<Jws<'t>, Fault> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Fault::Form("it is too long"));
        }
        let mut parts = token.split(|&byte| byte == b'.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Fault::Form("it has not three parts"));
        };
        if header.len() > HEADER_BYTES_MAX {
            return Err(Fault::Form("its header is too long"));
        }
        let signed = token.get(..header.len() + 1 + payload.len()).unwrap_or_default();
        let read = base64url::decode(header).and_then(|header| Json::parse(&header));
        let Some(header @ Json::Object(_)) = read else {
            return Err(Fault::Form("its header is no JSON, or says something twice"));
        };
        // What must be understood is nothing that is (RFC 7515, 4.1.11; RFC 7797 wants it for "b64").
        if header.member("crit").is_some() || header.member("b64").is_some() {
            return Err(Fault::Form("its header wants something to be understood that is not"));
        }
        match header.member("typ").map(Json::as_str) {
            None => {}
            Some(Some(typ)) if is_token_type(typ) => {}
            Some(_) => return Err(Fault::Form("it is of another type")),
        }
        if header.member("kid").is_some_and(|kid| kid.as_str().is_none()) {
            return Err(Fault::Form("the name of its key is no text"));
        }
        let algorithm = header.member("alg").and_then(Json::as_str);
        let algorithm =
            algorithm.and_then(|name| Algorithm::parse(name.as_bytes())).ok_or(Fault::Algorithm)?;
        let signature = base64url::decode(signature).ok_or(Fault::Form("its signature is no Base64"))?;
        Ok(Jws { header, algorithm, signed, payload, signature })
    }

    /// The name of the key that it says it is signed with. It is compared with names of keys, and nothing
    /// else is done with it; addresses and keys in the header (`jku`, `jwk`, `x5u`, `x5c`) are not looked at.
    pub fn key_id(&self) -> Option<&str> {
        self.header.member("kid").and_then(Json::as_str)
    }

    /// What was signed, if a key of the set has.
    ///
    /// # Errors
    /// No key has, or the algorithm is not among the permitted ones.
    pub fn payload(&self, keys: &KeySet, permitted: Algorithms) -> Result<Vec<u8>, Fault> {
        if !permitted.has(self.algorithm) {
            return Err(Fault::Algorithm);
        }
        match keys.verify(self.algorithm, self.key_id(), self.signed, &self.signature) {
            Verdict::Right => base64url::decode(self.payload).ok_or(Fault::Form("its claims are no Base64")),
            Verdict::Wrong => Err(Fault::Signature),
            Verdict::NoKey => Err(Fault::NoKey),
        }
    }
}

/// The types of tokens that let a caller in (RFC 7519, 5.1; RFC 9068, 2.1): others are signed by the same
/// issuers for other ends.
fn is_token_type(typ: &str) -> bool {
    let short =
        typ.get(..12).filter(|front| front.eq_ignore_ascii_case("application/")).map_or(typ, |_| &typ[12..]);
    ["jwt", "at+jwt"].iter().any(|known| short.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::base::base64;
    use aws_lc_rs::hmac;

    const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

    fn encoded(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        base64::encode_url(bytes, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn signed(header: &str) -> String {
        let front = format!("{}.{}", encoded(header.as_bytes()), encoded(b"{}"));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), front.as_bytes());
        format!("{front}.{}", encoded(tag.as_ref()))
    }

    fn set(more: &str) -> KeySet {
        let key = format!("{{\"keys\":[{{\"kty\":\"oct\",\"k\":\"{}\"{more}}}]}}", encoded(SECRET));
        KeySet::parse(key.as_bytes(), true).unwrap()
    }

    fn check(token: &str, set: &KeySet) -> Result<(), Fault> {
        Jws::parse(token.as_bytes())?.payload(set, Algorithms::ALL).map(drop)
    }

    #[test]
    fn headers() {
        let other = Err(Fault::Form("it is of another type"));
        let wants = Err(Fault::Form("its header wants something to be understood that is not"));
        let twice = Err(Fault::Form("its header is no JSON, or says something twice"));
        for (more, want) in [
            ("", Ok(())),
            (",\"typ\":\"JWT\"", Ok(())),
            (",\"typ\":\"application/at+JWT\"", Ok(())),
            (",\"typ\":\"JWE\"", other),
            (",\"typ\":\"logout+jwt\"", other),
            (",\"typ\":7", other),
            (",\"crit\":[\"exp\"]", wants),
            (",\"crit\":[]", wants),
            (",\"b64\":false", wants),
            (",\"alg\":\"HS256\"", twice),
            (",\"a\":1,\"\\u0061\":1", twice),
            (",\"kid\":7", Err(Fault::Form("the name of its key is no text"))),
            // What would have a key come from elsewhere is not looked at.
            (
                ",\"jku\":\"http://127.0.0.1/\",\"jwk\":{\"kty\":\"oct\",\"k\":\"\"},\"x5u\":\"x\",\"x5c\":[]",
                Ok(()),
            ),
        ] {
            assert_eq!(check(&signed(&format!("{{\"alg\":\"HS256\"{more}}}")), &set("")), want, "{more}");
        }
        for algorithm in ["none", "None", "nOnE", "hs256", "", "HS257"] {
            let token = signed(&format!("{{\"alg\":\"{algorithm}\"}}"));
            assert_eq!(check(&token, &set("")), Err(Fault::Algorithm), "{algorithm}");
            let front = token.rsplit_once('.').unwrap().0;
            assert!(check(&format!("{front}."), &set("")).is_err());
        }
        assert_eq!(check(&signed("{}"), &set("")), Err(Fault::Algorithm));
        assert_eq!(check(&signed("[]"), &set("")), twice);
    }

    #[test]
    fn keys_are_found_by_name_and_nothing_else() {
        let token = |kid: &str| signed(&format!("{{\"alg\":\"HS256\",\"kid\":\"{kid}\"}}"));
        let named = set(",\"kid\":\"a\"");
        assert_eq!(check(&token("a"), &named), Ok(()));
        for kid in ["b", "A", "", "../a", "/dev/null", "a' OR '1'='1", "a\\u0000"] {
            assert_eq!(check(&token(kid), &named), Err(Fault::NoKey), "{kid}");
        }
        assert_eq!(check(&signed("{\"alg\":\"HS256\"}"), &named), Ok(()));
        // It is the key, and for something else.
        assert_eq!(
            check(&token("a"), &set(",\"kid\":\"a\",\"alg\":\"HS256\",\"use\":\"enc\"")),
            Err(Fault::NoKey)
        );
        let confused = signed("{\"alg\":\"HS512\",\"kid\":\"a\"}");
        assert_eq!(check(&confused, &set(",\"kid\":\"a\",\"alg\":\"HS256\"")), Err(Fault::Signature));
    }

    #[test]
    fn forms() {
        let token = signed("{\"alg\":\"HS256\"}");
        assert_eq!(check(&token, &set("")), Ok(()));
        let parts: Vec<&str> = token.split('.').collect();
        for wrong in [
            String::new(),
            "a.b".to_owned(),
            format!("{token}."),
            format!("{token}.a"),
            format!("{token}="),
            format!(" {token}"),
            format!("{}.{}.", parts[0], parts[1]),
            format!("{}..{}", parts[0], parts[2]),
            format!("{}.{}.{}", parts[0], encoded(b"{ }"), parts[2]),
            format!("{}.{}.{}", parts[0], parts[1], &parts[2][1..]),
            format!("{}.{}.{}", encoded(&b"[".repeat(1500)), parts[1], parts[2]),
            "a".repeat(TOKEN_BYTES_MAX + 1),
        ] {
            assert!(check(&wrong, &set("")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_that_are_of_no_use() {
        let one = |key: &str, secrets: bool| {
            KeySet::parse(format!("{{\"keys\":[{key}]}}").as_bytes(), secrets).unwrap().unusable.join("")
        };
        let long = encoded(SECRET);
        for (key, secrets, want) in [
            (
                "{\"kty\":\"oct\",\"k\":\"ZmFudGFzdGljand0\"}",
                true,
                "is too short: a secret is as long as the hash, 32, 48 or 64 bytes",
            ),
            (
                &format!("{{\"kty\":\"oct\",\"k\":\"{long}\",\"alg\":\"HS512\"}}"),
                true,
                "is too short: a secret is as long as the hash, 32, 48 or 64 bytes",
            ),
            (
                &format!("{{\"kty\":\"oct\",\"k\":\"{long}\"}}"),
                false,
                "is a secret, which a set that is fetched must not hold",
            ),
            (
                &format!("{{\"kty\":\"oct\",\"k\":\"{long}\",\"alg\":\"none\"}}"),
                true,
                "is for an algorithm that is not offered",
            ),
            (
                &format!("{{\"kty\":\"oct\",\"k\":\"{long}\",\"alg\":\"RS256\"}}"),
                true,
                "is too short: a secret is as long as the hash, 32, 48 or 64 bytes",
            ),
            (&format!("{{\"kty\":\"oct\",\"k\":\"{long}\",\"use\":\"enc\"}}"), true, "is not for signatures"),
            (
                &format!("{{\"kty\":\"oct\",\"k\":\"{long}\",\"key_ops\":[\"sign\"]}}"),
                true,
                "is not for checking signatures",
            ),
            ("{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}", true, "is too short: RSA wants 2048 bits"),
            ("{\"kty\":\"EC\",\"crv\":\"secp256k1\"}", true, "is on a curve that is not offered"),
            (
                "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}",
                true,
                "has coordinates of another length than its curve's",
            ),
            ("{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AA\"}", true, "is not a valid key"),
            ("{\"kty\":\"new\"}", true, "is of a kind that is not offered"),
        ] {
            assert!(one(key, secrets).ends_with(want), "{key}: {}", one(key, secrets));
        }
        assert!(KeySet::parse(b"{}", true).is_err() && KeySet::parse(b"[]", true).is_err());
        assert!(KeySet::parse(b"{\"keys\":[],\"keys\":[]}", true).is_err());
    }
}
