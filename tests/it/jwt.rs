//! `auth_jwt`: which tokens let a client in, and whom they name.

use crate::harness::*;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use aws_lc_rs::{hmac, signature};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

const WHY: &str = "tokens are NGINX Plus's, or Octroi's own";
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const FAR: u64 = 4_000_000_000;

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(*three.get(at).unwrap_or(&0)));
        for place in 0..=three.len() {
            out.push(char::from(DIGITS[(bits >> (18 - 6 * place) & 63) as usize]));
        }
    }
    out
}

fn front(header: &str, claims: &str) -> String {
    format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()))
}

/// A token signed with the secret.
fn hs256(header: &str, claims: &str) -> String {
    let front = front(header, claims);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), front.as_bytes());
    format!("{front}.{}", base64url(tag.as_ref()))
}

fn token(claims: &str) -> String {
    hs256("{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"s\"}", claims)
}

/// The set that has the secret.
fn secrets() -> String {
    format!("{{\"keys\":[{{\"kty\":\"oct\",\"kid\":\"s\",\"k\":\"{}\"}}]}}", base64url(SECRET))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn bearer(token: &str) -> String {
    format!("Host: a\r\nAuthorization: Bearer {token}\r\n")
}

/// An issuer with a key of ES256.
struct Issuer {
    key: EcdsaKeyPair,
    kid: String,
}

impl Issuer {
    fn new(kid: &str) -> Issuer {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
        Issuer { key, kid: kid.to_owned() }
    }

    fn set(&self) -> String {
        let point = self.key.public_key().as_ref();
        let (x, y) = (base64url(&point[1..33]), base64url(&point[33..]));
        format!(
            "{{\"keys\":[{{\"kty\":\"EC\",\"crv\":\"P-256\",\"use\":\"sig\",\"kid\":\"{}\",\"x\":\"{x}\",\"y\":\"{y}\"}}]}}",
            self.kid
        )
    }

    fn token(&self, claims: &str) -> String {
        let front = front(&format!("{{\"alg\":\"ES256\",\"kid\":\"{}\"}}", self.kid), claims);
        let signed = self.key.sign(&SystemRandom::new(), front.as_bytes()).unwrap();
        format!("{front}.{}", base64url(signed.as_ref()))
    }
}

#[test]
fn tokens_let_in_while_they_hold() {
    if !only_octroi(WHY) {
        return;
    }
    let server = Setup::http(
        "server { listen 127.0.0.1:%%PORT%%; root %%DIR%%; auth_jwt 'a \"b\"'; auth_jwt_key_file keys.json;
           add_header X-Who '$consumer|$auth_method|$jwt_claim_sub|$jwt_header_kid' always;
           location / { try_files /none =204; }
           location /strict/ { auth_jwt_issuer https://id; auth_jwt_audience api other; auth_jwt_leeway 1m;
             try_files /none =204; }
           location /asymmetric/ { auth_jwt_algorithms RS256 ES256; try_files /none =204; }
           location /elsewhere/ { auth_jwt x token=$arg_token; try_files /none =204; }
           location /open/ { auth_jwt off; try_files /none =204; } }",
    )
    .file("keys.json", secrets())
    .start();
    let claims = |more: &str| format!("{{\"sub\":\"u1\"{more}}}");
    let (past, soon) = (now() - 30, now() + 30);
    let good = token(&claims(""));
    let parts: Vec<&str> = good.split('.').collect();
    for (target, token, status) in [
        ("/", good.clone(), 204),
        ("/", token(&claims(&format!(",\"exp\":{FAR},\"nbf\":{past}"))), 204),
        ("/", token(&claims(&format!(",\"exp\":{FAR}.5"))), 204),
        ("/", token(&claims(&format!(",\"exp\":{past}"))), 401),
        ("/", token(&claims(&format!(",\"nbf\":{soon}"))), 401),
        ("/", token(&claims(",\"exp\":\"4000000000\"")), 401),
        ("/", token(&claims(",\"exp\":null")), 401),
        ("/", token(&claims(",\"sub\":\"u2\"")), 401),
        ("/", token("[]"), 401),
        ("/", token("{\"sub\":\"u1\""), 401),
        // What is not signed so, or not at all.
        ("/", hs256("{\"alg\":\"none\"}", "{}"), 401),
        ("/", format!("{}.", front("{\"alg\":\"none\"}", "{}")), 401),
        ("/", hs256("{\"alg\":\"RS256\",\"kid\":\"s\"}", "{}"), 401),
        ("/", hs256("{\"alg\":\"HS256\",\"kid\":\"../../s\"}", "{}"), 401),
        ("/", hs256("{\"alg\":\"HS256\",\"typ\":\"JWE\"}", "{}"), 401),
        ("/", hs256("{\"alg\":\"HS256\",\"crit\":[\"x\"],\"x\":1}", "{}"), 401),
        ("/", hs256("{\"alg\":\"HS256\",\"alg\":\"HS256\"}", "{}"), 401),
        ("/", hs256("{\"alg\":\"HS256\"}", "{\"sub\":\"u1\"}"), 204),
        ("/", format!("{}.{}.{}", parts[0], base64url(b"{\"sub\":\"admin\"}"), parts[2]), 401),
        ("/", format!("{good}A"), 401),
        ("/", format!("{good}="), 401),
        ("/", "x".to_owned(), 401),
        ("/", hs256(&format!("{{\"alg\":\"HS256\",\"x\":\"{}\"}}", "y".repeat(3000)), "{}"), 401),
        ("/strict/", token(&claims(",\"iss\":\"https://id\",\"aud\":\"api\"")), 204),
        ("/strict/", token(&claims(",\"iss\":\"https://id\",\"aud\":[\"x\",\"other\"]")), 204),
        ("/strict/", token(&claims(&format!(",\"iss\":\"https://id\",\"aud\":\"api\",\"exp\":{past}"))), 204),
        ("/strict/", token(&claims(&format!(",\"iss\":\"https://id\",\"aud\":\"api\",\"nbf\":{soon}"))), 204),
        ("/strict/", token(&claims(",\"iss\":\"https://id/\",\"aud\":\"api\"")), 401),
        ("/strict/", token(&claims(",\"iss\":\"https://id\",\"aud\":\"apis\"")), 401),
        ("/strict/", token(&claims(",\"aud\":\"api\"")), 401),
        ("/strict/", good.clone(), 401),
        ("/asymmetric/", good.clone(), 401),
        ("/open/", good.clone(), 204),
    ] {
        // Twice: what is remembered of a token lets nobody in whom it did not at first.
        for _ in 0..2 {
            let answer = server.get_with(target, &bearer(&token));
            assert_eq!(answer.status(), status, "{target} {token}");
            let challenge =
                (status == 401).then_some("Bearer realm=\"a \\\"b\\\"\", error=\"invalid_token\"");
            assert_eq!(answer.get("www-authenticate"), challenge);
        }
    }
    let who = |target: &str, fields: &str| {
        let answer = server.get_with(target, fields);
        (answer.status(), answer.get("x-who").unwrap_or_default().to_owned())
    };
    assert_eq!(who("/", &bearer(&good)), (204, "|jwt|u1|s".to_owned()));
    assert_eq!(who("/", &format!("Host: a\r\nAuthorization: bearer  {good}\r\n")).0, 204);
    assert_eq!(who(&format!("/elsewhere/?token={good}"), "Host: a\r\n"), (204, "|jwt|u1|s".to_owned()));
    assert_eq!(who("/elsewhere/", &bearer(&good)).0, 401);
    for nothing in ["Host: a\r\n", "Host: a\r\nAuthorization: Basic YTpi\r\n"] {
        let answer = server.get_with("/", nothing);
        assert_eq!(
            (answer.status(), answer.get("www-authenticate")),
            (401, Some("Bearer realm=\"a \\\"b\\\"\""))
        );
    }
    for said in [
        "it has expired",
        "it is not valid yet",
        "its algorithm is not permitted",
        "its signature is wrong",
        "no key is known that it may be signed with",
        "it is of another type",
        "its header is too long",
        "its issuer is not permitted",
        "it is meant for somebody else",
    ] {
        server.wait_log(&format!("a token is refused: {said}, client: 127.0.0.1"));
    }
}

#[test]
fn tokens_name_consumers_groups_and_scopes() {
    if !only_octroi(WHY) {
        return;
    }
    let server = Setup::http(
        "auth_jwt_claim_set $city address city; auth_jwt_claim_set $roles realm_access roles;
         auth_jwt_header_set $type typ; map $jwt_claim_tier $good_tier { gold 1; default 0; }
         consumer web { jwt_issuer https://id; groups app; } consumer mobile { groups app; }
         server { listen 127.0.0.1:%%PORT%%; root %%DIR%%; auth_jwt x; auth_jwt_key_file keys.json;
           auth_jwt_consumer_claim azp; auth_jwt_groups_claim realm_access.roles;
           add_header X-Who '$consumer|$consumer_groups|$city|$roles|$type|$jwt_payload' always;
           auth_jwt_issuer https://id alias=id; auth_jwt_issuer https://other;
           location / { try_files /none =204; }
           location /scope/ { require scope ads:write ads:read; try_files /none =204; }
           location /group/ { require group id:admin; try_files /none =204; }
           location /claim/ { require claim email_verified=true address.city=Rome; try_files /none =204; }
           location /has/ { require claim email_verified; try_files /none =204; }
           location /tier/ { auth_jwt_require $good_tier $jwt_claim_sub error=403; try_files /none =204; }
           location /plain/ { auth_jwt_require $good_tier; try_files /none =204; } }",
    )
    .file("keys.json", secrets())
    .start();
    let ask = |target: &str, claims: &str| server.get_with(target, &bearer(&token(claims)));
    let who = |claims: &str| ask("/", claims).get("x-who").unwrap_or_default().to_owned();
    let claims = "{\"iss\":\"https://id\",\"azp\":\"web\",\"address\":{\"city\":\"Rome\"},\"realm_access\":{\"roles\":[\"admin\",\"a,b\"]}}";
    assert_eq!(who(claims), format!("web|app,id:admin|Rome|admin,a,b|JWT|{claims}"));
    // Another issuer cannot name it, and a consumer that trusts no issuer is named by none.
    let other = "{\"iss\":\"https://other\",\"azp\":\"web\",\"realm_access\":{\"roles\":\"x\"}}";
    assert_eq!(who(other), format!("|other:x||x|JWT|{other}"));
    let mobile = "{\"iss\":\"https://id\",\"azp\":\"mobile\"}";
    assert_eq!(who(mobile), format!("||||JWT|{mobile}"));
    for (target, more, status) in [
        ("/scope/", "\"scope\":\"x ads:read\"", 204),
        ("/scope/", "\"scp\":[\"ads:write\"]", 204),
        ("/scope/", "\"scope\":\"ads:readx ads\"", 403),
        ("/scope/", "\"sub\":\"x\"", 403),
        ("/group/", "\"realm_access\":{\"roles\":[\"admin\"]}", 204),
        ("/group/", "\"realm_access\":{\"roles\":[\"x,id:admin\"]}", 403),
        ("/claim/", "\"email_verified\":true", 204),
        ("/claim/", "\"address\":{\"city\":\"Rome\"}", 204),
        ("/claim/", "\"email_verified\":false", 403),
        ("/has/", "\"email_verified\":\"no\"", 204),
        ("/has/", "\"email_verified\":false", 403),
        ("/tier/", "\"tier\":\"gold\",\"sub\":\"u\"", 204),
        ("/tier/", "\"tier\":\"gold\"", 403),
        ("/tier/", "\"tier\":\"silver\",\"sub\":\"u\"", 403),
        ("/plain/", "\"tier\":\"gold\"", 204),
        ("/plain/", "\"tier\":\"silver\"", 401),
    ] {
        let answer = ask(target, &format!("{{\"iss\":\"https://id\",{more}}}"));
        assert_eq!(answer.status(), status, "{target} {more}");
    }
    let refused = ask("/scope/", "{\"iss\":\"https://id\"}");
    let challenge = "Bearer realm=\"x\", error=\"insufficient_scope\", scope=\"ads:write ads:read\"";
    assert_eq!(refused.get("www-authenticate"), Some(challenge));
    assert_eq!(server.get("/scope/").status(), 401);
}

#[test]
fn keys_and_tokens_together() {
    if !only_octroi(WHY) {
        return;
    }
    let line = |key: &str| run(&["key", "hash", key]).stdout;
    let server = Setup::http(&format!(
        "consumer web {{ jwt_issuer https://id; {} }} consumer mobile {{ {} }}
         server {{ listen 127.0.0.1:%%PORT%%; root %%DIR%%; auth_jwt x; auth_jwt_key_file keys.json; auth_api_key y;
           auth_jwt_consumer_claim azp; add_header X-Who '$consumer|$auth_method|$jwt_claim_sub' always;
           location /all/ {{ try_files /none =204; }}
           location /any/ {{ satisfy any; try_files /none =204; }} }}",
        line("w-key"),
        line("m-key")
    ))
    .file("keys.json", secrets())
    .start();
    let web = token("{\"iss\":\"https://id\",\"azp\":\"web\",\"sub\":\"u\"}");
    let nobody = token("{\"sub\":\"u\"}");
    for (target, key, token, status, who) in [
        ("/all/", "w-key", web.as_str(), 204, "web|api_key|u"),
        ("/all/", "m-key", &web, 403, "mobile|api_key|u"),
        ("/all/", "m-key", &nobody, 204, "mobile|api_key|u"),
        ("/all/", "", &web, 401, "||"),
        ("/any/", "m-key", &web, 204, "mobile|api_key|"),
        ("/any/", "", &web, 204, "web|jwt|u"),
        ("/any/", "m-key", "", 204, "mobile|api_key|"),
        // One that is wrong is wrong, whatever else there is.
        ("/any/", "m-key", "wrong", 401, "mobile|api_key|"),
        ("/any/", "wrong", &web, 401, "||"),
        ("/any/", "", "", 401, "||"),
    ] {
        let mut fields = "Host: a\r\n".to_owned();
        if !key.is_empty() {
            fields += &format!("X-Api-Key: {key}\r\n");
        }
        if !token.is_empty() {
            fields += &format!("Authorization: Bearer {token}\r\n");
        }
        let answer = server.get_with(target, &fields);
        assert_eq!((answer.status(), answer.get("x-who")), (status, Some(who)), "{target} {key} {token}");
    }
}

/// An upstream that answers with what the function says to a path.
fn answering(answer: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Upstream {
    Upstream::new(move |origin| {
        while let Some(request) = origin.request() {
            let answer = match answer(request.target()) {
                Some(body) => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
                None => "HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n".to_owned(),
            };
            origin.send(answer);
        }
    })
}

#[test]
fn keys_are_fetched_and_kept() {
    if !only_octroi(WHY) {
        return;
    }
    let (first, second) = (Issuer::new("first"), Issuer::new("second"));
    let served: Arc<Mutex<Option<String>>> = Arc::default();
    let said = served.clone();
    let issuer = answering(move |_| said.lock().unwrap().clone());
    let server = Setup::http(
        "server { listen 127.0.0.1:%%PORT%%; root %%DIR%%; auth_jwt x;
           auth_jwt_key_url http://%%ISSUER%%/keys refresh=1s;
           location / { try_files /none =204; } }",
    )
    .put("ISSUER", issuer.address())
    .start();
    let status = |token: &str| server.get_with("/", &bearer(token)).status();
    let (one, two) = (first.token("{\"sub\":\"u\"}"), second.token("{\"sub\":\"u\"}"));
    // No set yet: nothing can be said of the token.
    assert_eq!((status(&one), server.get("/").status()), (503, 401));
    server.wait_log("there are none yet");
    *served.lock().unwrap() = Some(first.set());
    eventually_long("the first set", || status(&one) == 204);
    assert_eq!(status(&two), 401);
    // The issuer is down: the last good set stays.
    *served.lock().unwrap() = None;
    server.wait_log("the keys from before stay in force");
    assert_eq!(status(&one), 204);
    server.reload();
    assert_eq!(status(&one), 204);
    // The keys change: what the old ones have verified is forgotten.
    *served.lock().unwrap() = Some(second.set());
    eventually_long("the second set", || status(&two) == 204);
    assert_eq!(status(&one), 401);
    // A set that is fetched holds no secret.
    *served.lock().unwrap() = Some(secrets());
    server.wait_log("is a secret, which a set that is fetched must not hold");
    assert_eq!(status(&token("{}")), 401);
}

/// As `eventually`, for what comes 10 seconds after a failure.
fn eventually_long(what: &str, mut condition: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + 3 * WAIT;
    while !condition() {
        assert!(std::time::Instant::now() < end, "never came: {what}");
        pause(50);
    }
}

#[test]
fn issuers_say_where_their_keys_are() {
    if !only_octroi(WHY) {
        return;
    }
    let (mine, other) = (Arc::new(Issuer::new("k")), Issuer::new("k"));
    let address: Arc<Mutex<String>> = Arc::default();
    let (said, keys) = (address.clone(), mine.clone());
    let issuer = answering(move |target| {
        let address = said.lock().unwrap().clone();
        match target {
            "/realm/.well-known/openid-configuration" => Some(format!(
                "{{\"issuer\":\"http://{address}/realm\",\"jwks_uri\":\"http://{address}/certs\"}}"
            )),
            "/forged/.well-known/openid-configuration" => Some(format!(
                "{{\"issuer\":\"http://{address}/realm\",\"jwks_uri\":\"http://{address}/certs\"}}"
            )),
            "/certs" => Some(keys.set()),
            _ => None,
        }
    });
    *address.lock().unwrap() = issuer.address().to_owned();
    let server = Setup::http(
        "server { listen 127.0.0.1:%%PORT%%; root %%DIR%%; auth_jwt x;
           location / { auth_jwt_issuer http://%%ISSUER%%/realm; try_files /none =204; }
           location /forged/ { auth_jwt_issuer http://%%ISSUER%%/forged; try_files /none =204; } }",
    )
    .put("ISSUER", issuer.address())
    .start();
    let iss = format!("{{\"iss\":\"http://{}/realm\"}}", issuer.address());
    let status = |target: &str, token: &str| server.get_with(target, &bearer(token)).status();
    eventually("the keys", || status("/", &mine.token(&iss)) == 204);
    assert_eq!(status("/", &mine.token("{\"iss\":\"http://else/realm\"}")), 401);
    assert_eq!(status("/", &mine.token("{}")), 401);
    assert_eq!(status("/", &other.token(&iss)), 401);
    server
        .wait_log(&format!("it is of the issuer \"http://{}/realm\"; there are none yet", issuer.address()));
    assert_eq!(status("/forged/", &mine.token(&iss)), 503);
}

#[test]
fn an_unknown_key_is_looked_for_early() {
    if !only_octroi(WHY) {
        return;
    }
    let (first, second) = (Issuer::new("first"), Issuer::new("second"));
    let served = Arc::new(Mutex::new(first.set()));
    let said = served.clone();
    let issuer = answering(move |_| Some(said.lock().unwrap().clone()));
    let server = Setup::http(
        "server { listen 127.0.0.1:%%PORT%%; root %%DIR%%; auth_jwt x;
           location / { auth_jwt_key_url http://%%ISSUER%%/ refresh=1h; try_files /none =204; } }",
    )
    .put("ISSUER", issuer.address())
    .start();
    let status = |token: &str| server.get_with("/", &bearer(token)).status();
    eventually("the keys", || status(&first.token("{}")) == 204);
    *served.lock().unwrap() = second.set();
    // Not for a signature that is wrong; for a key that is not known.
    eventually_long("the other keys", || status(&second.token("{}")) == 204);
    // Once at the start, once early: 10 seconds lie between.
    assert!(issuer.requests().len() <= 3, "{}", issuer.requests().len());
}

#[test]
fn all_ways_of_signing() {
    if !only_octroi(WHY) {
        return;
    }
    let random = SystemRandom::new();
    let rsa = signature::RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let ed = signature::Ed25519KeyPair::generate().unwrap();
    let p384 = EcdsaKeyPair::generate(&signature::ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let p521 = EcdsaKeyPair::generate(&signature::ECDSA_P521_SHA512_FIXED_SIGNING).unwrap();
    // RSAPublicKey in DER: behind 9 bytes the 256 of the modulus, and at the end 65537.
    let (n, e) = (&rsa.public_key().as_ref()[9..265], &[1, 0, 1]);
    let point = |key: &EcdsaKeyPair, crv: &str| {
        let point = &key.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        format!("{{\"kty\":\"EC\",\"crv\":\"{crv}\",\"x\":\"{}\",\"y\":\"{}\"}}", base64url(x), base64url(y))
    };
    let set = format!(
        "{{\"keys\":[{{\"kty\":\"RSA\",\"n\":\"{}\",\"e\":\"{}\"}},{},{},{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"{}\"}},{{\"kty\":\"oct\",\"k\":\"{}\"}}]}}",
        base64url(n),
        base64url(e),
        point(&p384, "P-384"),
        point(&p521, "P-521"),
        base64url(ed.public_key().as_ref()),
        base64url(&[7; 64]),
    );
    let server = Setup::http(
        "server { listen 127.0.0.1:%%PORT%%; root %%DIR%%; auth_jwt x; auth_jwt_key_file keys.json;
           location / { try_files /none =204; } }",
    )
    .file("keys.json", set)
    .start();
    let rsa_signed = |encoding: &'static dyn signature::RsaEncoding, front: &str| {
        let mut out = vec![0; rsa.public_modulus_len()];
        rsa.sign(encoding, &random, front.as_bytes(), &mut out).unwrap();
        out
    };
    let mac = |algorithm, front: &str| {
        hmac::sign(&hmac::Key::new(algorithm, &[7; 64]), front.as_bytes()).as_ref().to_vec()
    };
    for name in [
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES384", "ES512", "EdDSA", "HS256", "HS384",
        "HS512",
    ] {
        let front = front(&format!("{{\"alg\":\"{name}\"}}"), "{\"sub\":\"u\"}");
        let signed = match name {
            "RS256" => rsa_signed(&signature::RSA_PKCS1_SHA256, &front),
            "RS384" => rsa_signed(&signature::RSA_PKCS1_SHA384, &front),
            "RS512" => rsa_signed(&signature::RSA_PKCS1_SHA512, &front),
            "PS256" => rsa_signed(&signature::RSA_PSS_SHA256, &front),
            "PS384" => rsa_signed(&signature::RSA_PSS_SHA384, &front),
            "PS512" => rsa_signed(&signature::RSA_PSS_SHA512, &front),
            "ES384" => p384.sign(&random, front.as_bytes()).unwrap().as_ref().to_vec(),
            "ES512" => p521.sign(&random, front.as_bytes()).unwrap().as_ref().to_vec(),
            "EdDSA" => ed.sign(front.as_bytes()).as_ref().to_vec(),
            "HS256" => mac(hmac::HMAC_SHA256, &front),
            "HS384" => mac(hmac::HMAC_SHA384, &front),
            _ => mac(hmac::HMAC_SHA512, &front),
        };
        let token = format!("{front}.{}", base64url(&signed));
        assert_eq!(server.get_with("/", &bearer(&token)).status(), 204, "{name}");
        let mut broken = signed;
        broken[5] ^= 1;
        let token = format!("{front}.{}", base64url(&broken));
        assert_eq!(server.get_with("/", &bearer(&token)).status(), 401, "{name}");
    }
}
