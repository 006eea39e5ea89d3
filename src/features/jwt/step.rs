//! `auth_jwt` at work: takes the token, has it verified once, and asks each time whether it still holds.

use super::algorithm::Algorithms;
use super::jws::Fault;
use super::sources::{Held, Sources, Unverified};
use crate::base::clock;
use crate::base::json::Json;
use crate::base::process_settings::Level;
use crate::features::consumer::{Scheme, challenge};
use crate::http::Known;
use crate::pipeline::answer::Answer;
use crate::pipeline::caller::{AuthMethod, Consumer};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::settings::Satisfy;
use crate::pipeline::step::{Flow, QuickStep};
use crate::pipeline::template::Template;
use crate::pipeline::token::Token;
use crate::pipeline::veil::hash;
use ahash::AHashMap;
use std::rc::Rc;
use std::sync::Arc;

/// What `error=` of a refusal says more of a token (RFC 6750, 3.1).
const INVALID: &[u8] = b", error=\"invalid_token\"";

/// The alias of an issuer that has none.
const NO_ALIAS: &str = "jwt";

/// An issuer that the location takes tokens of.
#[derive(Clone)]
pub struct Issuer {
    /// Its `iss`.
    pub name: Box<str>,
    /// What its groups begin with.
    pub alias: Box<str>,
}

/// A claim by its name: the name as it is, else its parts between dots, from the outside in.
#[derive(Clone)]
pub struct ClaimName {
    /// The name as it is.
    pub whole: Box<str>,
    /// Its parts.
    pub parts: Box<[Box<str>]>,
}

impl ClaimName {
    /// From what the configuration says.
    pub fn new(text: &str) -> ClaimName {
        ClaimName { whole: text.into(), parts: text.split('.').map(Into::into).collect() }
    }

    /// Its value.
    pub fn of<'t>(&self, token: &'t Token) -> Option<&'t Json> {
        token.claim(std::slice::from_ref(&self.whole)).or_else(|| token.claim(&self.parts))
    }
}

/// One `auth_jwt_require`.
pub struct Requirement {
    /// All must be something else than nothing and `0`.
    pub values: Vec<Template>,
    /// The status if one is not.
    pub error: u16,
}

/// The consumers that tokens may name, with the issuers that may name them.
#[derive(Default)]
pub struct Named {
    /// By their names.
    pub by_name: AHashMap<Box<[u8]>, Nameable>,
}

/// A consumer, and the issuers that may name it.
pub type Nameable = (Consumer, Box<[Box<str>]>);

/// `auth_jwt` in one location.
pub struct AuthJwt {
    /// What the client is told that this is.
    pub realm: Template,
    /// Where the token is, if not in `Authorization`.
    pub token: Option<Template>,
    /// Where keys come from.
    pub sources: Arc<Sources>,
    /// The permitted ways of signing.
    pub algorithms: Algorithms,
    /// The permitted issuers; none for any whose keys these are.
    pub issuers: Vec<Issuer>,
    /// The permitted audiences; none for any.
    pub audience: Vec<Box<str>>,
    /// How far clocks may differ, seconds.
    pub leeway_s: u64,
    /// Whose value names the consumer.
    pub consumer_claim: Option<ClaimName>,
    /// Whose values are groups.
    pub groups_claim: Option<ClaimName>,
    /// What must hold besides.
    pub requirements: Vec<Requirement>,
    /// Consumers that may be named.
    pub named: Arc<Named>,
}

impl QuickStep for AuthJwt {
    fn run(&self, x: &mut Exchange) -> Flow {
        let mut scratch = std::mem::take(&mut x.scratch);
        scratch.clear();
        let found = match &self.token {
            Some(template) => {
                template.write(x, &mut scratch);
                !scratch.is_empty()
            }
            None => bearer(x, &mut scratch),
        };
        let flow = if found { self.judge(x, &scratch) } else { self.nothing(x) };
        scratch.clear();
        x.scratch = scratch;
        flow
    }
}

/// Appends the token of `Authorization: Bearer` (RFC 6750, 2.1); false when there is none.
fn bearer(x: &Exchange, out: &mut Vec<u8>) -> bool {
    const SCHEME: &[u8] = b"Bearer ";
    let Some(field) = x.head.fields.find(Known::Authorization) else { return false };
    let value = field.value.of(x.input.filled());
    match value.split_at_checked(SCHEME.len()) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(SCHEME) => {
            out.extend_from_slice(token.trim_ascii());
            true
        }
        _ => false,
    }
}

impl AuthJwt {
    fn nothing(&self, x: &mut Exchange) -> Flow {
        x.log(Level::Info, format_args!("no token was provided"));
        challenge(x, Scheme::Bearer, &self.realm, b"");
        Flow::Answer(Answer::Status(401))
    }

    fn judge(&self, x: &mut Exchange, token: &[u8]) -> Flow {
        let held = match self.verified(x, token) {
            Ok(held) => held,
            Err(Unverified::Wrong(fault)) => return self.refuse(x, fault),
            Err(Unverified::NoKeysYet) => {
                x.log(Level::Error, format_args!("a token cannot be checked: its keys are not fetched yet"));
                return Flow::Refuse(503);
            }
        };
        let issuer = match self.holds(&held) {
            Ok(issuer) => issuer,
            Err(fault) => return self.refuse(x, fault),
        };
        // Where one of several credentials is enough, the first one names the caller.
        let names = !(x.caller.is_known() && x.here.settings.satisfy == Satisfy::Any);
        if names {
            x.caller.set_token(held.token.clone());
        }
        for requirement in &self.requirements {
            let fails = requirement.values.iter().any(|value| matches!(&*value.value(x), b"" | b"0"));
            if fails {
                x.log(Level::Error, format_args!("a token has not what \"auth_jwt_require\" asks for"));
                if requirement.error == 401 {
                    challenge(x, Scheme::Bearer, &self.realm, INVALID);
                }
                return Flow::Refuse(requirement.error);
            }
        }
        if names && !self.identify(x, &held.token, issuer) {
            x.log(Level::Error, format_args!("the token names another consumer than the caller is"));
            return Flow::Refuse(403);
        }
        Flow::Identify
    }

    /// The token, verified now or before by the keys in force.
    fn verified(&self, x: &Exchange, token: &[u8]) -> Result<Held, Unverified> {
        let local = x.locals.at(self.sources.local);
        if token.len() > super::jws::TOKEN_BYTES_MAX {
            return Err(Unverified::Wrong(Fault::Form("it is too long")));
        }
        let hash = hash(token);
        let known = local.tokens.borrow_mut().find(&hash);
        if let Some(known) = known {
            if self.sources.is_current(&known) {
                return Ok(known);
            }
            local.tokens.borrow_mut().forget(&hash);
        }
        let held = Rc::new(self.sources.verify(token, self.algorithms, local)?);
        // One that has expired is not remembered: it lets nobody in again.
        if self.holds(&held).is_ok() {
            local.tokens.borrow_mut().keep(hash, held.clone());
        }
        Ok(held)
    }

    /// Whether what the token says holds here and now; the issuer that it is of, where one is asked for.
    fn holds(&self, held: &Held) -> Result<Option<&Issuer>, Fault> {
        let token = &held.token;
        if !self.algorithms.has(held.algorithm) {
            return Err(Fault::Algorithm);
        }
        let now = clock::unix_time(clock::now()).as_secs_f64();
        let leeway = self.leeway_s as f64;
        let time = |name: &str, fault| match token.claims.member(name) {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or(Fault::Claim(fault)),
        };
        if time("exp", "its \"exp\" is no time")?.is_some_and(|exp| now >= exp + leeway) {
            return Err(Fault::Claim("it has expired"));
        }
        if time("nbf", "its \"nbf\" is no time")?.is_some_and(|nbf| now + leeway < nbf) {
            return Err(Fault::Claim("it is not valid yet"));
        }
        let said = token.claims.member("iss").and_then(Json::as_str);
        let issuer = match self.issuers.as_slice() {
            [] => None,
            issuers => {
                let known = issuers.iter().find(|issuer| said == Some(&*issuer.name));
                Some(known.ok_or(Fault::Claim("its issuer is not permitted"))?)
            }
        };
        let source = self.sources.all.get(held.source).and_then(|source| source.issuer.as_deref());
        if source.is_some() && source != said {
            return Err(Fault::Claim("it is signed by keys of another issuer"));
        }
        if !self.audience.is_empty() {
            let meant = token.claims.member("aud").into_iter().flat_map(Json::strings);
            if !meant.into_iter().any(|audience| self.audience.iter().any(|known| **known == *audience)) {
                return Err(Fault::Claim("it is meant for somebody else"));
            }
        }
        Ok(issuer)
    }

    /// Notes who the caller is; false when another credential says otherwise.
    fn identify(&self, x: &mut Exchange, token: &Token, issuer: Option<&Issuer>) -> bool {
        let word = |name: &str| token.claims.member(name).and_then(Json::as_str).unwrap_or("");
        let said = word("iss");
        let named = self.consumer_claim.as_ref().and_then(|claim| claim.of(token)).and_then(Json::as_str);
        // Only one that is said to be of this issuer: a user called like a consumer is not that consumer.
        let consumer = named.and_then(|name| self.named.by_name.get(name.as_bytes()));
        let consumer = consumer.filter(|(_, issuers)| issuers.iter().any(|known| **known == *said));
        if x.caller.identify(AuthMethod::Jwt, consumer.map(|(consumer, _)| consumer)).is_err() {
            return false;
        }
        x.caller.note_token(said.as_bytes(), word("sub").as_bytes());
        if let Some(groups) = self.groups_claim.as_ref().and_then(|claim| claim.of(token)) {
            let alias = issuer.map_or(NO_ALIAS, |issuer| &issuer.alias);
            for group in groups.strings() {
                x.caller.add_group(alias.as_bytes(), group.as_bytes());
            }
        }
        true
    }

    #[cold]
    fn refuse(&self, x: &mut Exchange, fault: Fault) -> Flow {
        x.log(Level::Error, format_args!("a token is refused: {}", fault.text()));
        challenge(x, Scheme::Bearer, &self.realm, INVALID);
        Flow::Refuse(401)
    }
}
