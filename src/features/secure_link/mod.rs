//! `secure_link` and its companions: whether a link was made by somebody who knows a secret, and
//! whether its time is up.

use crate::base::{base64, clock};
use crate::conf::{Arity, Context, Diagnostic, Directive, DirectiveSpec as D, Scope};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::template::Template;
use crate::pipeline::variable::VariableSpec;
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end, nothing};
use md5::{Digest, Md5};

const HSL: Context = Context::HTTP.or(Context::SERVER).or(Context::LOCATION);

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "secure_link",
    module: Some("http_secure_link"),
    directives: &[
        D::new(
            "secure_link",
            HSL,
            Arity::Exactly(1),
            "expression",
            "",
            "Where a link holds its hash, MD5 in base64url, and behind a comma when it expires, in seconds since 1970.",
        ),
        D::new(
            "secure_link_md5",
            HSL,
            Arity::Exactly(1),
            "expression",
            "",
            "What the hash is taken of: some part of the link, with a secret.",
        ),
        D::new(
            "secure_link_secret",
            Context::LOCATION,
            Arity::Exactly(1),
            "word",
            "",
            "A secret word: links are `/prefix/hash/link`, the hash is MD5 of link and word in hexadecimal.",
        ),
    ],
    variables: &[
        VariableSpec {
            name: "secure_link",
            family: false,
            eval: secure_link,
            doc: "`1` if the link is right, `0` if its time is up, else empty; with `secure_link_secret` the link itself if it is right.",
        },
        VariableSpec {
            name: "secure_link_expires",
            family: false,
            eval: expires,
            doc: "When the link expires, as it says.",
        },
    ],
    http: nothing,
    location,
    end: no_end,
};

/// Base64 digits that can stand for 16 bytes, with padding.
const HASH_DIGITS_MAX: usize = 24;

/// Digits of such a hash in hexadecimal.
const HEX_DIGITS: usize = 32;

/// What a location was told.
enum SecureLink {
    /// `secure_link` and `secure_link_md5`.
    Expression { link: Template, md5: Template },
    /// `secure_link_secret`.
    Secret(Box<[u8]>),
}

/// The directives that hold at a level.
#[derive(Default)]
struct Lines<'t> {
    link: Option<&'t Directive>,
    md5: Option<&'t Directive>,
    secret: Option<&'t Directive>,
}

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let Lines { link, md5, secret } = lines(scope)?;
    let word = |line: Option<&Directive>| line.and_then(|line| line.args.first()).cloned();
    if let Some(secret) = word(secret) {
        b.attach(SecureLink::Secret(secret.text.as_bytes().into()));
    } else if let (Some(link), Some(md5)) = (word(link), word(md5)) {
        let (link, md5) = (b.template(&link)?, b.template(&md5)?);
        b.attach(SecureLink::Expression { link, md5 });
    }
    Ok(())
}

/// A secret and the two expressions take the place of each other, level by level.
fn lines<'t>(scope: &Scope<'t>) -> Result<Lines<'t>, Diagnostic> {
    let own = |name: &str| scope.here(name).next();
    let (link, md5, secret) = (own("secure_link"), own("secure_link_md5"), own("secure_link_secret"));
    if let Some(line) = secret {
        if link.or(md5).is_some() {
            let message =
                "\"secure_link_secret\" cannot be mixed with \"secure_link\" and \"secure_link_md5\"";
            return Err(scope.error(line, message));
        }
        return Ok(Lines { secret, ..Lines::default() });
    }
    let outer = match scope.parent() {
        Some(parent) => lines(&parent)?,
        None => Lines::default(),
    };
    let (link, md5) = (link.or(outer.link), md5.or(outer.md5));
    let secret = if link.or(md5).is_none() { outer.secret } else { None };
    Ok(Lines { link, md5, secret })
}

fn secure_link(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    match x.here.settings.attached() {
        None => false,
        Some(SecureLink::Secret(secret)) => match secret_link(x.raw_target(), secret) {
            Some(link) => {
                out.extend_from_slice(link);
                true
            }
            None => false,
        },
        Some(SecureLink::Expression { link, md5 }) => {
            let link = link.value(x);
            let Some((hash, expires)) = parts(&link) else { return false };
            let Some(sent) = hash_of_digits(hash) else { return false };
            if !same(&sent, &Md5::digest(md5.value(x))) {
                return false;
            }
            let over =
                expires.is_some_and(|(_, unix_s)| unix_s < clock::unix_time(clock::now()).as_secs() as i64);
            out.push(if over { b'0' } else { b'1' });
            true
        }
    }
}

fn expires(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    let Some(SecureLink::Expression { link, .. }) = x.here.settings.attached() else { return false };
    match parts(&link.value(x)) {
        Some((_, Some((text, _)))) => {
            out.extend_from_slice(text);
            true
        }
        _ => false,
    }
}

/// When a link expires: as it stands there, and in seconds since 1970.
type Expires<'a> = (&'a [u8], i64);

/// The hash and when the link expires; `None` where that is no time.
fn parts(link: &[u8]) -> Option<(&[u8], Option<Expires<'_>>)> {
    let Some(comma) = link.iter().position(|&byte| byte == b',') else { return Some((link, None)) };
    let (hash, text) = (link.get(..comma)?, link.get(comma + 1..)?);
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let unix_s = std::str::from_utf8(text).ok().filter(|_| digits)?.parse::<i64>().ok()?;
    (unix_s > 0).then_some((hash, Some((text, unix_s))))
}

/// The rest of `/prefix/hash/link`, if the hash is that of the rest and the secret.
fn secret_link<'a>(target: &'a [u8], secret: &[u8]) -> Option<&'a [u8]> {
    let mut parts = target.get(1..)?.splitn(3, |&byte| byte == b'/').skip(1);
    let (hash, link) = (parts.next()?, parts.next()?);
    if hash.len() != HEX_DIGITS || link.is_empty() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let sent: Option<Vec<u8>> =
        hash.as_chunks::<2>().0.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    let right = Md5::new().chain_update(link).chain_update(secret).finalize();
    same(&sent?, &right).then_some(link)
}

/// Whether the hashes are equal, in a time that does not tell how far they are.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |seen, (a, b)| seen | (a ^ b)) == 0
}

/// The 16 bytes that these digits stand for (RFC 4648, 5); padding may be left out.
fn hash_of_digits(digits: &[u8]) -> Option<[u8; 16]> {
    if digits.len() > HASH_DIGITS_MAX {
        return None;
    }
    let mut bytes = Vec::with_capacity(HASH_DIGITS_MAX);
    if !base64::decode_url(digits, &mut bytes) {
        return None;
    }
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::testing::{Bench, message};

    #[test]
    fn what_a_link_holds() {
        assert_eq!(parts(b"abc"), Some((&b"abc"[..], None)));
        assert_eq!(parts(b"abc,12"), Some((&b"abc"[..], Some((&b"12"[..], 12)))));
        for wrong in ["abc,", "abc,0", "abc,-1", "abc,1x", "abc,1,2", "abc,99999999999999999999"] {
            assert_eq!(parts(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn digits() {
        assert_eq!(hash_of_digits(b"AAAAAAAAAAAAAAAAAAAAAA"), Some([0; 16]));
        assert_eq!(hash_of_digits(b"_____________________w=="), Some([0xff; 16]));
        for wrong in
            ["", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAAA", "+/AAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAA==="]
        {
            assert_eq!(hash_of_digits(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn a_secret_stands_alone() {
        let text = "http { server { location / { secure_link_secret a; secure_link b; } } }";
        let want = "\"secure_link_secret\" cannot be mixed with \"secure_link\" and \"secure_link_md5\"";
        assert_eq!(message(Bench::new(text, &[&FEATURE]).plan()), want);
        let text = "http { secure_link $x; server { set $x 1; location / { secure_link_secret a; location /a { } } } }";
        assert_eq!(
            message(Bench::new(text, &[&FEATURE, &crate::features::rewrite::FEATURE]).plan()),
            "no error"
        );
    }
}
