//! What a location hides of a request: the keys that callers show, which must not reach an upstream or a
//! log, and fields in which only the gateway says who the caller is.
//!
//! Keys are taken out where Access begins: what comes before it (limits by a key, redirects that keep the
//! arguments) sees the request as it is. What is logged earlier is masked as it is written.

use super::exchange::Exchange;
use crate::http::{Field, Known, Span};
use aws_lc_rs::digest::{SHA256, digest};

/// What stands in place of a key.
const MASK: &[u8] = b"***";

/// Bytes of a hash of a key.
pub const HASH_BYTES: usize = 32;

/// The hash by which a key is known.
pub type KeyHash = [u8; HASH_BYTES];

/// The hash of a key.
#[inline]
pub fn hash(key: &[u8]) -> KeyHash {
    let mut hash = [0; HASH_BYTES];
    hash.copy_from_slice(digest(&SHA256, key).as_ref());
    hash
}

/// Where a client may put a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A header field, as `$http_` names it: lower case, with underscores.
    Header(Box<str>),
    /// An argument, by its name in lower case.
    Argument(Box<str>),
    /// A cookie, by its name in lower case.
    Cookie(Box<str>),
}

/// A key that a location asks for.
#[derive(Clone, Debug)]
pub struct Secret {
    /// The number of its source among those of the configuration.
    pub number: u16,
    /// Where it is.
    pub source: Source,
    /// It stays where it is: `auth_api_key_forward on`.
    pub forward: bool,
}

/// What a location hides.
#[derive(Debug, Default)]
pub struct Veil {
    /// Keys.
    pub secrets: Vec<Secret>,
}

impl Veil {
    /// Removes the fields that only the gateway writes (`X-Consumer-...`, `X-Auth-Method`), in whatever
    /// spelling the client has sent them.
    pub fn strip_identity(&self, x: &mut Exchange) {
        let buffer = x.input.filled();
        x.head.fields.list.retain(|field| field.known != Known::Other || !is_identity(field.name.of(buffer)));
    }

    /// Takes the keys out of the request and keeps their hashes.
    pub fn cover(&self, x: &mut Exchange) {
        for secret in &self.secrets {
            match &secret.source {
                Source::Header(name) => cover_header(x, secret, name),
                Source::Argument(name) => cover_argument(x, secret, name),
                Source::Cookie(name) => cover_cookie(x, secret, name),
            }
        }
    }

    /// A text of a log, such as a request line, with the values of secret arguments masked.
    pub fn masked(&self, text: &[u8]) -> Vec<u8> {
        let mut text = text.to_vec();
        for secret in self.secrets.iter().filter(|secret| !secret.forward) {
            if let Source::Argument(name) = &secret.source {
                text = mask_arguments(&text, name);
            }
        }
        text
    }
}

/// Whether only the gateway says what a field of this name says. Upstreams may take `_` for `-`.
fn is_identity(name: &[u8]) -> bool {
    const FAMILY: &[u8] = b"x-consumer-";
    let is = |name: &[u8], lower: &[u8]| {
        name.len() == lower.len()
            && name.iter().zip(lower).all(|(&byte, &lower)| match byte {
                b'_' => lower == b'-',
                byte => byte.to_ascii_lowercase() == lower,
            })
    };
    name.get(..FAMILY.len()).is_some_and(|front| is(front, FAMILY)) || is(name, b"x-auth-method")
}

fn cover_header(x: &mut Exchange, secret: &Secret, name: &str) {
    let buffer = x.input.filled_mut();
    for field in &mut x.head.fields.list {
        let value = field.value.of(buffer);
        if field.hidden || value.is_empty() || !is_meant(field.name.of(buffer), name) {
            continue;
        }
        x.caller.keep_key(secret.number, hash(value));
        if !secret.forward {
            mask(buffer, &mut field.value);
            field.hidden = true;
        }
    }
}

/// Whether a name in `$http_` stands for a field.
fn is_meant(field: &[u8], name: &str) -> bool {
    let fold = |byte: u8| if byte == b'-' { b'_' } else { byte.to_ascii_lowercase() };
    field.len() == name.len() && field.iter().zip(name.as_bytes()).all(|(&a, &b)| fold(a) == b)
}

/// Overwrites a value, and makes it as long as the mask.
fn mask(buffer: &mut [u8], value: &mut Span) {
    if let Some(bytes) = buffer.get_mut(value.start as usize..value.end as usize) {
        bytes.fill(b'*');
    }
    value.end = value.end.min(value.start + MASK.len() as u32);
}

fn cover_argument(x: &mut Exchange, secret: &Secret, name: &str) {
    let mut found = false;
    for (argument, value) in pairs(&x.args) {
        if is_named(argument, name) && !value.is_empty() && !is_mask(value) {
            x.caller.keep_key(secret.number, hash(&decoded(value)));
            found = true;
        }
    }
    if secret.forward {
        return;
    }
    if found {
        x.caller.hide_argument(name);
        let mut masked = Vec::with_capacity(x.args.len());
        push_masked(&x.args, name, &mut masked);
        x.args = masked;
    }
    let in_line = x.request_line().contains(&b'?');
    if in_line {
        let masked = mask_arguments(x.head.path.of(x.input.filled()), name);
        x.head.replace_path(x.input.filled_mut(), &masked);
    }
    // The page that an address with a key in it led to the next one from.
    if let Some(referer) = x.head.fields.list.iter_mut().find(|field| field.known == Known::Referer) {
        let buffer = x.input.filled_mut();
        if referer.value.of(buffer).contains(&b'?') {
            let masked = mask_arguments(referer.value.of(buffer), name);
            put(buffer, referer, &masked);
        }
    }
}

fn cover_cookie(x: &mut Exchange, secret: &Secret, name: &str) {
    let buffer = x.input.filled_mut();
    for field in x.head.fields.list.iter_mut().filter(|field| field.known == Known::Cookie) {
        let mut masked: Vec<u8> = Vec::new();
        let mut found = false;
        for pair in field.value.of(buffer).split(|&byte| byte == b';') {
            let (front, value) = split(pair);
            if !masked.is_empty() {
                masked.push(b';');
            }
            if !front.trim_ascii().eq_ignore_ascii_case(name.as_bytes()) || value.trim_ascii().is_empty() {
                masked.extend_from_slice(pair);
                continue;
            }
            let value = value.trim_ascii();
            if !is_mask(value) {
                x.caller.keep_key(secret.number, hash(value));
                found = true;
            }
            masked.extend_from_slice(front);
            masked.push(b'=');
            masked.extend_from_slice(mask_of(value));
        }
        if found && !secret.forward {
            put(buffer, field, &masked);
        }
    }
}

/// Puts a text that is not longer in the place of a field's value.
fn put(buffer: &mut [u8], field: &mut Field, text: &[u8]) {
    let value = &mut field.value;
    let Some(bytes) = buffer.get_mut(value.start as usize..value.end as usize) else { return };
    let Some((front, rest)) = bytes.split_at_mut_checked(text.len()) else { return };
    front.copy_from_slice(text);
    rest.fill(b'*');
    value.end = value.start + text.len() as u32;
}

/// The arguments of a text without `?`: names and values.
fn pairs(args: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    args.split(|&byte| byte == b'&').map(split)
}

fn split(pair: &[u8]) -> (&[u8], &[u8]) {
    let at = pair.iter().position(|&byte| byte == b'=');
    at.map_or((pair, b""), |at| (&pair[..at], &pair[at + 1..]))
}

/// Whether an argument has this name, however its letters are written.
fn is_named(argument: &[u8], name: &str) -> bool {
    argument.eq_ignore_ascii_case(name.as_bytes())
        || (argument.contains(&b'%') && decoded(argument).eq_ignore_ascii_case(name.as_bytes()))
}

/// A text with its percent-encodings decoded.
fn decoded(text: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match (byte, digit(text.get(at + 1)), digit(text.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

fn is_mask(value: &[u8]) -> bool {
    value == MASK
}

/// The mask for a value: never longer than that.
fn mask_of(value: &[u8]) -> &'static [u8] {
    MASK.get(..value.len().min(MASK.len())).unwrap_or(MASK)
}

/// A text in which arguments begin behind the first `?` and end with a space or `"`, with the values of
/// this one masked.
fn mask_arguments(text: &[u8], name: &str) -> Vec<u8> {
    let Some(mark) = text.iter().position(|&byte| byte == b'?') else { return text.to_vec() };
    let (front, rest) = text.split_at(mark + 1);
    let end = rest.iter().position(|byte| matches!(byte, b' ' | b'"')).unwrap_or(rest.len());
    let (args, behind) = rest.split_at(end);
    let mut out = front.to_vec();
    push_masked(args, name, &mut out);
    out.extend_from_slice(behind);
    out
}

/// Appends arguments, with the values of this one masked.
fn push_masked(args: &[u8], name: &str, out: &mut Vec<u8>) {
    let start = out.len();
    for pair in args.split(|&byte| byte == b'&') {
        if out.len() > start {
            out.push(b'&');
        }
        match split(pair) {
            (argument, value) if !value.is_empty() && is_named(argument, name) => {
                out.extend_from_slice(argument);
                out.push(b'=');
                out.extend_from_slice(mask_of(value));
            }
            _ => out.extend_from_slice(pair),
        }
    }
}

/// Appends a target with its arguments, or with `only` the arguments, without those whose keys were taken
/// out of the request: what an upstream gets.
pub fn push_passed(x: &Exchange, text: &[u8], only_arguments: bool, out: &mut Vec<u8>) {
    if !x.caller.hides_arguments() {
        out.extend_from_slice(text);
        return;
    }
    let mark = if only_arguments { None } else { text.iter().position(|&byte| byte == b'?') };
    let (front, args) = match mark {
        Some(mark) => (&text[..mark], &text[mark + 1..]),
        None if only_arguments => (&b""[..], text),
        None => (text, &b""[..]),
    };
    out.extend_from_slice(front);
    let mut separator = if mark.is_some() { Some(b'?') } else { None };
    for pair in args.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()) {
        let (argument, _) = split(pair);
        if x.caller.hidden_arguments().any(|name| is_named(argument, name)) {
            continue;
        }
        out.extend(separator);
        out.extend_from_slice(pair);
        separator = Some(b'&');
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_gateways_own_fields() {
        for name in ["X-Consumer-Name", "x_consumer_groups", "X-Consumer_x", "X-AUTH_METHOD", "x-consumer-"] {
            assert!(is_identity(name.as_bytes()), "{name}");
        }
        for name in ["X-Consumer", "X-Consumers-Name", "X-Auth-Methods", "Consumer-Name", ""] {
            assert!(!is_identity(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn arguments_are_masked_wherever_they_stand() {
        for (text, want) in [
            ("GET /a?key=secret HTTP/1.1", "GET /a?key=*** HTTP/1.1"),
            ("/a?x=1&KEY=secret&key=&key&k=2&key=ab", "/a?x=1&KEY=***&key=&key&k=2&key=**"),
            ("/a?k%65y=s%20", "/a?k%65y=***"),
            ("/key=secret", "/key=secret"),
            ("/a?keys=1&akey=2&b=key=3", "/a?keys=1&akey=2&b=key=3"),
            ("/a?", "/a?"),
            ("/a?key=a=b&&c", "/a?key=***&&c"),
        ] {
            assert_eq!(String::from_utf8(mask_arguments(text.as_bytes(), "key")).unwrap(), want, "{text}");
        }
    }

    #[test]
    fn encodings_are_decoded() {
        assert_eq!(decoded(b"a%41%zz%4"), b"aA%zz%4");
        assert!(is_named(b"%4bEY", "key") && !is_named(b"%4bEYS", "key"));
    }

    #[test]
    fn the_hash_is_sha_256() {
        assert_eq!(hash(b"test")[..4], [0x9f, 0x86, 0xd0, 0x81]);
    }
}
