//! Who the caller of a request is, once Access has found out: the consumer of the configuration that a
//! credential names, or the subject of a token. A part of the exchange that costs a request without one
//! a pointer.

use super::token::Token;
use super::veil::KeyHash;
use crate::base::limits::SCRATCH_KEEP_BYTES;
use std::rc::Rc;

/// What separates groups where they are one text; no group's name holds it.
pub const GROUP_SEPARATOR: u8 = b',';

/// How a caller has shown who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// A key of `auth_api_key`.
    ApiKey,
    /// A token of `auth_jwt`.
    Jwt,
    /// A name and a password of `auth_basic`.
    Basic,
    /// A certificate of the client.
    ClientCert,
}

impl AuthMethod {
    /// As `$auth_method` shows it.
    pub fn name(self) -> &'static str {
        match self {
            AuthMethod::ApiKey => "api_key",
            AuthMethod::Jwt => "jwt",
            AuthMethod::Basic => "basic",
            AuthMethod::ClientCert => "client_cert",
        }
    }
}

/// Whether the variable of this name has a value behind Access only: limits that count by it are asked
/// there.
pub fn is_late(variable: &str) -> bool {
    matches!(variable, "consumer" | "consumer_groups" | "consumer_plan" | "auth_method")
        || variable.starts_with("jwt_")
        || variable.starts_with("plan_")
}

/// A caller that the configuration knows by name: a `consumer` block, or one that a file of keys names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consumer {
    /// Its name: visible ASCII, without commas.
    pub name: Box<[u8]>,
    /// Its groups, separated by commas.
    pub groups: Box<[u8]>,
    /// Its plan, where its block names one.
    pub plan: Option<PlanRef>,
}

/// A plan that is referred to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanRef {
    /// Its number among all plans of the configuration.
    pub number: u16,
    /// Its name.
    pub name: Box<[u8]>,
}

/// Two credentials of one request name different consumers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict;

/// The caller of a request, if it is known.
#[derive(Debug, Default)]
pub struct Caller {
    /// The first of them to be found out.
    method: Option<AuthMethod>,
    /// The memory for the rest, taken with the first caller that an exchange ever had.
    who: Option<Box<Who>>,
}

#[derive(Debug, Default)]
struct Who {
    /// Its name; empty when no consumer is named.
    consumer: Vec<u8>,
    groups: Vec<u8>,
    plan: Option<u16>,
    plan_name: Vec<u8>,
    issuer: Vec<u8>,
    subject: Vec<u8>,
    /// The token that it came with, verified.
    token: Option<Rc<Token>>,
    /// The hashes of the keys that the request came with, each with the number of its source.
    keys: Vec<(u16, KeyHash)>,
    /// The arguments that held keys, separated by `&`.
    hidden: String,
}

/// Different keys of one source that are kept: two are one too many already.
const KEYS_MAX: usize = 2;

impl Caller {
    /// Whether somebody has shown who it is.
    #[inline]
    pub fn is_known(&self) -> bool {
        self.method.is_some()
    }

    /// How it has: where there are several ways, the first.
    pub fn method(&self) -> Option<AuthMethod> {
        self.method
    }

    /// The consumer's name. `None` for a caller that is known by its token alone.
    pub fn consumer(&self) -> Option<&[u8]> {
        self.who().map(|who| who.consumer.as_slice()).filter(|name| !name.is_empty())
    }

    /// Its groups, separated by commas; empty for none.
    pub fn groups_text(&self) -> &[u8] {
        self.who().map_or(b"", |who| &who.groups)
    }

    /// Its groups.
    pub fn groups(&self) -> impl Iterator<Item = &[u8]> {
        self.groups_text().split(|&byte| byte == GROUP_SEPARATOR).filter(|group| !group.is_empty())
    }

    /// The number of its plan among those of the configuration.
    pub fn plan(&self) -> Option<u16> {
        self.who()?.plan
    }

    /// The name of its plan.
    pub fn plan_name(&self) -> Option<&[u8]> {
        self.plan()?;
        self.who().map(|who| who.plan_name.as_slice())
    }

    /// Who issued the token that it came with: its `iss`.
    pub fn issuer(&self) -> Option<&[u8]> {
        self.who().map(|who| who.issuer.as_slice()).filter(|issuer| !issuer.is_empty())
    }

    /// Whom the token that it came with is about: its `sub`.
    pub fn subject(&self) -> Option<&[u8]> {
        self.who().map(|who| who.subject.as_slice()).filter(|subject| !subject.is_empty())
    }

    fn who(&self) -> Option<&Who> {
        self.method?;
        self.who.as_deref()
    }

    /// Notes that a credential has named somebody: a consumer, or nobody that the configuration knows.
    ///
    /// # Errors
    /// Another credential has named another consumer. The first one stays.
    pub fn identify(&mut self, method: AuthMethod, consumer: Option<&Consumer>) -> Result<(), Conflict> {
        let who = self.who.get_or_insert_default();
        if let Some(consumer) = consumer {
            if who.consumer.is_empty() {
                who.consumer.extend_from_slice(&consumer.name);
                push_group(&mut who.groups, &consumer.groups);
                who.plan = consumer.plan.as_ref().map(|plan| plan.number);
                who.plan_name.extend_from_slice(consumer.plan.as_ref().map_or(b"", |plan| &plan.name));
            } else if *who.consumer != *consumer.name {
                return Err(Conflict);
            }
        }
        self.method.get_or_insert(method);
        Ok(())
    }

    /// The same for a consumer of which nothing but its name is known.
    ///
    /// # Errors
    /// As for [`Caller::identify`].
    pub fn identify_by_name(&mut self, method: AuthMethod, name: &[u8]) -> Result<(), Conflict> {
        let who = self.who.get_or_insert_default();
        if who.consumer.is_empty() {
            who.consumer.extend_from_slice(name);
        } else if *who.consumer != *name {
            return Err(Conflict);
        }
        self.method.get_or_insert(method);
        Ok(())
    }

    /// Notes whom a token is about, who issued it, for a caller that is known.
    pub fn note_token(&mut self, issuer: &[u8], subject: &[u8]) {
        let who = self.who.get_or_insert_default();
        who.issuer.clear();
        who.issuer.extend_from_slice(issuer);
        who.subject.clear();
        who.subject.extend_from_slice(subject);
    }

    /// Notes the token that the request came with, verified.
    pub fn set_token(&mut self, token: Rc<Token>) {
        self.who.get_or_insert_default().token = Some(token);
    }

    /// The token that the request came with.
    pub fn token(&self) -> Option<&Token> {
        self.who.as_ref()?.token.as_deref()
    }

    /// Adds a group that a token puts a known caller into, by its source's alias. One whose name could be
    /// taken for several, or for something else where it is shown, is left out.
    pub fn add_group(&mut self, alias: &[u8], group: &[u8]) {
        if group.is_empty() || !group.iter().all(|&byte| byte.is_ascii_graphic() && byte != GROUP_SEPARATOR) {
            return;
        }
        let groups = &mut self.who.get_or_insert_default().groups;
        push_group(groups, alias);
        groups.push(b':');
        groups.extend_from_slice(group);
    }

    /// Keeps the hash of a key that was found at a source. Of several the first two that differ.
    pub fn keep_key(&mut self, source: u16, hash: KeyHash) {
        let keys = &mut self.who.get_or_insert_default().keys;
        let held = keys.iter().filter(|(number, _)| *number == source).count();
        if held < KEYS_MAX && !keys.contains(&(source, hash)) {
            keys.push((source, hash));
        }
    }

    /// The hashes of the keys that the request came with, each with the number of its source.
    pub fn keys(&self) -> &[(u16, KeyHash)] {
        self.who.as_ref().map_or(&[], |who| &who.keys)
    }

    /// Notes that an argument held a key, and is not passed on.
    pub fn hide_argument(&mut self, name: &str) {
        let hidden = &mut self.who.get_or_insert_default().hidden;
        if !hidden.split('&').any(|known| known == name) {
            hidden.push('&');
            hidden.push_str(name);
        }
    }

    /// Whether there are such arguments.
    #[inline]
    pub fn hides_arguments(&self) -> bool {
        self.who.as_ref().is_some_and(|who| !who.hidden.is_empty())
    }

    /// Their names.
    pub fn hidden_arguments(&self) -> impl Iterator<Item = &str> {
        let hidden = self.who.as_ref().map_or("", |who| &who.hidden);
        hidden.split('&').filter(|name| !name.is_empty())
    }

    /// Takes over what is known of another's caller: a subrequest is made on its behalf.
    pub fn copy(&mut self, other: &Caller) {
        self.clear();
        let Some(theirs) = other.who.as_deref() else { return };
        let who = self.who.get_or_insert_default();
        who.consumer.extend_from_slice(&theirs.consumer);
        who.groups.extend_from_slice(&theirs.groups);
        who.plan = theirs.plan;
        who.plan_name.extend_from_slice(&theirs.plan_name);
        who.issuer.extend_from_slice(&theirs.issuer);
        who.subject.extend_from_slice(&theirs.subject);
        who.token.clone_from(&theirs.token);
        who.keys.extend_from_slice(&theirs.keys);
        who.hidden.push_str(&theirs.hidden);
        self.method = other.method;
    }

    /// Forgets the caller, keeps the memory within bounds.
    #[inline]
    pub fn clear(&mut self) {
        if let Some(who) = &mut self.who {
            who.clear();
        }
        self.method = None;
    }
}

impl Who {
    fn clear(&mut self) {
        for text in
            [&mut self.consumer, &mut self.groups, &mut self.plan_name, &mut self.issuer, &mut self.subject]
        {
            text.clear();
            if text.capacity() > SCRATCH_KEEP_BYTES {
                *text = Vec::new();
            }
        }
        self.plan = None;
        self.token = None;
        self.keys.clear();
        self.hidden.clear();
    }
}

fn push_group(groups: &mut Vec<u8>, group: &[u8]) {
    if !groups.is_empty() && !group.is_empty() {
        groups.push(GROUP_SEPARATOR);
    }
    groups.extend_from_slice(group);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn consumer(name: &str, groups: &str, plan: Option<u16>) -> Consumer {
        let plan = plan.map(|number| PlanRef { number, name: format!("plan{number}").into_bytes().into() });
        Consumer { name: name.as_bytes().into(), groups: groups.as_bytes().into(), plan }
    }

    #[test]
    fn nobody_is_known_at_first() {
        let mut caller = Caller::default();
        assert!(!caller.is_known() && caller.who.is_none());
        assert!(caller.consumer().is_none() && caller.plan().is_none() && caller.groups().next().is_none());
        caller.identify(AuthMethod::ApiKey, Some(&consumer("mobile", "app,public", Some(3)))).unwrap();
        assert_eq!((caller.consumer(), caller.method()), (Some(&b"mobile"[..]), Some(AuthMethod::ApiKey)));
        assert_eq!((caller.plan(), caller.plan_name()), (Some(3), Some(&b"plan3"[..])));
        assert_eq!(caller.groups().collect::<Vec<_>>(), [&b"app"[..], b"public"]);
        let mut other = Caller::default();
        other.copy(&caller);
        assert_eq!((other.consumer(), other.groups_text()), (Some(&b"mobile"[..]), &b"app,public"[..]));
        caller.clear();
        assert!(!caller.is_known() && caller.consumer().is_none() && caller.plan_name().is_none());
        other.copy(&caller);
        assert!(!other.is_known());
    }

    #[test]
    fn two_credentials_name_one_consumer_or_none() {
        let mut caller = Caller::default();
        caller.identify(AuthMethod::Jwt, None).unwrap();
        caller.note_token(b"https://id", b"u1");
        assert_eq!((caller.consumer(), caller.issuer()), (None, Some(&b"https://id"[..])));
        caller.identify(AuthMethod::ApiKey, Some(&consumer("a", "", None))).unwrap();
        caller.identify(AuthMethod::Basic, Some(&consumer("a", "", None))).unwrap();
        assert_eq!(caller.identify(AuthMethod::Basic, Some(&consumer("b", "x", Some(1)))), Err(Conflict));
        assert_eq!(
            (caller.consumer(), caller.plan(), caller.groups_text()),
            (Some(&b"a"[..]), None, &b""[..])
        );
        assert_eq!((caller.method(), caller.subject()), (Some(AuthMethod::Jwt), Some(&b"u1"[..])));
    }

    #[test]
    fn groups_of_a_token_are_its_sources() {
        let mut caller = Caller::default();
        caller.identify(AuthMethod::Jwt, Some(&consumer("a", "app", None))).unwrap();
        for group in [&b"admin"[..], b"", b"a,b", b"a b", b"x\ny", b"caf\xc3\xa9"] {
            caller.add_group(b"id", group);
        }
        assert_eq!(caller.groups_text(), b"app,id:admin");
    }
}
