//! `proxy_cookie_domain`, `proxy_cookie_path` and `proxy_cookie_flags`: how attributes of an answer's
//! `Set-Cookie` are rewritten.

use super::rewrites::{self, Rewrite};
use crate::conf::{Diagnostic, Directive, Scope, Word};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::settings::PlacedPattern;
use crate::pipeline::template::Template;
use crate::plan::builder::Builder;

/// What one location does with cookies.
pub struct Cookies {
    domains: Vec<Rewrite>,
    paths: Vec<Rewrite>,
    flags: Vec<Flags>,
}

/// One `proxy_cookie_flags` line.
struct Flags {
    cookie: Name,
    wanted: Vec<Template>,
}

/// The cookie it is for.
enum Name {
    Is(Template),
    Matches(PlacedPattern),
}

/// A flag, as the directive words it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flag {
    Secure,
    NoSecure,
    HttpOnly,
    NoHttpOnly,
    Strict,
    Lax,
    None,
    NoSameSite,
}

const FLAGS: [(&[u8], Flag); 8] = [
    (b"secure", Flag::Secure),
    (b"nosecure", Flag::NoSecure),
    (b"httponly", Flag::HttpOnly),
    (b"nohttponly", Flag::NoHttpOnly),
    (b"samesite=strict", Flag::Strict),
    (b"samesite=lax", Flag::Lax),
    (b"samesite=none", Flag::None),
    (b"nosamesite", Flag::NoSameSite),
];

/// `name=value`, or a name alone.
#[derive(Debug, PartialEq)]
struct Attribute {
    name: Vec<u8>,
    value: Option<Vec<u8>>,
}

impl Cookies {
    /// From the directives that hold here.
    ///
    /// # Errors
    /// What nginx refuses, in its words.
    pub fn compile(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<Cookies, Diagnostic> {
        Ok(Cookies {
            domains: lines(scope, "proxy_cookie_domain", |line| pair(scope, line, b, rewrites::domain))?,
            paths: lines(scope, "proxy_cookie_path", |line| pair(scope, line, b, rewrites::url))?,
            flags: lines(scope, "proxy_cookie_flags", |line| flags(scope, line, b))?,
        })
    }

    /// Whether cookies pass as they are.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty() && self.paths.is_empty() && self.flags.is_empty()
    }

    /// A `Set-Cookie` value rewritten; `None` if it stays as it is.
    pub fn rewrite(&self, x: &mut Exchange, value: &[u8]) -> Option<Vec<u8>> {
        let mut attributes = parse(value);
        let (cookie, rest) = attributes.split_first_mut()?;
        cookie.value.as_ref()?;
        let mut changed = false;
        for Attribute { name, value } in rest {
            let Some(value) = value else { continue };
            if name.eq_ignore_ascii_case(b"domain") {
                changed |= rewrites::apply(&self.domains, x, value, 0);
            } else if name.eq_ignore_ascii_case(b"path") {
                changed |= rewrites::apply(&self.paths, x, value, 0);
            }
        }
        if let Some(line) = self.flags.iter().find(|line| line.cookie.is(x, &cookie.name)) {
            let wanted = line.wanted(x);
            if !wanted.is_empty() {
                set_flags(&mut attributes, &wanted);
                changed = true;
            }
        }
        changed.then(|| join(&attributes))
    }
}

impl Name {
    fn is(&self, x: &mut Exchange, name: &[u8]) -> bool {
        match self {
            Name::Is(template) => template.value(x).eq_ignore_ascii_case(name),
            Name::Matches(placed) => rewrites::matches(x, placed, name),
        }
    }
}

impl Flags {
    /// The flags, as far as they are known: values of variables may be none.
    fn wanted(&self, x: &Exchange) -> Vec<Flag> {
        let known = |text: &[u8]| FLAGS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        self.wanted.iter().filter_map(|template| Some(known(&template.value(x))?.1)).collect()
    }
}

/// The lines of one directive that hold here, compiled; none if it is `off`.
fn lines<T>(
    scope: &Scope<'_>,
    name: &str,
    compile: impl FnMut(&Directive) -> Result<T, Diagnostic>,
) -> Result<Vec<T>, Diagnostic> {
    let lines = scope.all(name);
    if rewrites::is_off(scope, &lines)? {
        return Ok(Vec::new());
    }
    lines.into_iter().map(compile).collect()
}

fn pair(
    scope: &Scope<'_>,
    line: &Directive,
    b: &mut Builder<'_>,
    rewrite: fn(&Word, &Word, &mut Builder<'_>) -> Result<Rewrite, Diagnostic>,
) -> Result<Rewrite, Diagnostic> {
    match line.args.as_slice() {
        [from, to] => rewrite(from, to, b),
        _ => Err(alone(scope, line)),
    }
}

fn flags(scope: &Scope<'_>, line: &Directive, b: &mut Builder<'_>) -> Result<Flags, Diagnostic> {
    let [cookie, wanted @ ..] = line.args.as_slice() else { return Err(alone(scope, line)) };
    if wanted.is_empty() {
        return Err(alone(scope, line));
    }
    let name = match cookie.text.strip_prefix('~') {
        Some(regex) => Name::Matches(b.pattern(regex, true, cookie)?),
        None => Name::Is(b.template(cookie)?),
    };
    let wanted = wanted.iter().map(|word| b.template(word)).collect::<Result<_, _>>()?;
    Ok(Flags { cookie: name, wanted })
}

/// One argument that is not `off`.
fn alone(scope: &Scope<'_>, line: &Directive) -> Diagnostic {
    rewrites::invalid_parameter(scope, line, line.args.first().unwrap_or(&line.name))
}

/// The parts between semicolons, without the spaces round them; the first is the cookie itself.
fn parse(value: &[u8]) -> Vec<Attribute> {
    let attribute = |part: &[u8]| match part.iter().position(|&byte| byte == b'=') {
        Some(at) => Attribute {
            name: without_spaces(&part[..at]).to_vec(),
            value: Some(without_spaces(&part[at + 1..]).to_vec()),
        },
        None => Attribute { name: without_spaces(part).to_vec(), value: None },
    };
    value.split(|&byte| byte == b';').map(attribute).collect()
}

fn without_spaces(mut text: &[u8]) -> &[u8] {
    while let Some(rest) = text.strip_prefix(b" ") {
        text = rest;
    }
    while let Some(rest) = text.strip_suffix(b" ") {
        text = rest;
    }
    text
}

fn join(attributes: &[Attribute]) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, Attribute { name, value }) in attributes.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(b"; ");
        }
        out.extend_from_slice(name);
        if let Some(value) = value {
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }
    out
}

/// Sets the flags that are wanted, takes off those that are not, and leaves the others.
fn set_flags(attributes: &mut Vec<Attribute>, wanted: &[Flag]) {
    let has = |flag: Flag| wanted.contains(&flag);
    set_flag(attributes, "Secure", has(Flag::Secure), has(Flag::NoSecure));
    set_flag(attributes, "HttpOnly", has(Flag::HttpOnly), has(Flag::NoHttpOnly));
    let same_site = [(Flag::Strict, "Strict"), (Flag::Lax, "Lax"), (Flag::None, "None")];
    let Some((_, value)) = same_site.into_iter().find(|(flag, _)| has(*flag)) else {
        return set_flag(attributes, "SameSite", false, has(Flag::NoSameSite));
    };
    let there = attributes.iter_mut().skip(1).find(|a| a.name.eq_ignore_ascii_case(b"SameSite"));
    match there {
        Some(Attribute { value: Some(old), .. }) if old.eq_ignore_ascii_case(value.as_bytes()) => {}
        Some(attribute) => {
            *attribute = Attribute { name: b"SameSite".to_vec(), value: Some(value.as_bytes().to_vec()) };
        }
        None => {
            attributes.push(Attribute { name: b"SameSite".to_vec(), value: Some(value.as_bytes().to_vec()) });
        }
    }
}

fn set_flag(attributes: &mut Vec<Attribute>, name: &str, on: bool, off: bool) {
    let is = |attribute: &Attribute| attribute.name.eq_ignore_ascii_case(name.as_bytes());
    let there = attributes.iter().skip(1).any(is);
    if on && !there {
        attributes.push(Attribute { name: name.as_bytes().to_vec(), value: None });
    } else if off && !on {
        // The first one is the cookie itself, whatever its name is.
        let mut index = 0;
        attributes.retain(|attribute| {
            index += 1;
            index == 1 || !is(attribute)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flagged(cookie: &str, wanted: &[Flag]) -> String {
        let mut attributes = parse(cookie.as_bytes());
        set_flags(&mut attributes, wanted);
        String::from_utf8_lossy(&join(&attributes)).into_owned()
    }

    #[test]
    fn cookies_are_taken_apart_and_joined() {
        assert_eq!(join(&parse(b"a = b ;Path=/ ; Secure;x=")), b"a=b; Path=/; Secure; x=");
        assert_eq!(parse(b"a"), [Attribute { name: b"a".to_vec(), value: None }]);
    }

    #[test]
    fn flags_are_set_and_taken_off() {
        let all = [Flag::Secure, Flag::HttpOnly, Flag::Strict];
        assert_eq!(flagged("a=b", &all), "a=b; Secure; HttpOnly; SameSite=Strict");
        assert_eq!(flagged("a=b; secure; samesite=lax", &all), "a=b; secure; SameSite=Strict; HttpOnly");
        assert_eq!(flagged("a=b; SameSite=strict", &[Flag::Strict]), "a=b; SameSite=strict");
        assert_eq!(flagged("secure=b; Secure; HttpOnly", &[Flag::NoSecure]), "secure=b; HttpOnly");
        assert_eq!(flagged("a=b; SameSite=Lax; HttpOnly", &[Flag::NoSameSite, Flag::NoHttpOnly]), "a=b");
        assert_eq!(flagged("a=b", &[Flag::Lax, Flag::None]), "a=b; SameSite=Lax");
    }
}
