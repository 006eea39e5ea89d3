//! `cors`: which pages of other origins may read what is answered here (the Fetch standard, 3.2).
//!
//! An origin that is not listed is never named in an answer; what an upstream says of these things is
//! replaced, since two answers to one question are none.

use crate::conf::{Arity, Context, Diagnostic, Directive, DirectiveSpec as D, Scope, Word, value};
use crate::http::{Known, Method};
use crate::pipeline::answer::{Answer, Body};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::problem::Problem;
use crate::pipeline::step::{Flow, HeaderFilter, Phase, QuickStep};
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end, nothing};
use std::sync::Arc;

/// The feature. Its step comes before the rewrite directives: a preflight asks about a request, and is not
/// one.
pub const FEATURE: Feature = Feature {
    name: "cors",
    module: None,
    directives: &[D::new(
        "cors",
        Context::HTTP.or(Context::SERVER).or(Context::LOCATION),
        Arity::AtLeast(1),
        "off | origin=URL[,URL...]|* [methods=NAME,...] [headers=NAME,...] [expose=NAME,...] [credentials] [max_age=time]",
        "off",
        "Which origins' pages may read answers: exact ones, all below a name (https://*.example.com), or any (*). A preflight is answered here, before limits and access; an origin that is not listed gets 403 there, and no leave in any answer. Fields of that kind that an upstream sends are replaced.",
    )],
    variables: &[],
    http: nothing,
    location,
    end: no_end,
};

/// What a request other than a preflight may be without asking (the Fetch standard, "CORS-safelisted").
const SIMPLE_METHODS: &str = "GET, HEAD, POST";

/// Names of fields that only who answers for this gateway may send.
const OURS: &[u8] = b"access-control-";

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let Some(line) = scope.one("cors").filter(|line| line.arg(0) != Some("off")) else { return Ok(()) };
    let rules = Arc::new(Rules::read(scope, line)?);
    b.gateway();
    b.quick(Phase::Rewrite, Preflight(rules.clone()));
    b.header_filter(Tells(rules));
    Ok(())
}

/// Who may read what.
struct Rules {
    origins: Origins,
    methods: String,
    headers: String,
    expose: String,
    credentials: bool,
    max_age: String,
}

enum Origins {
    /// Every one, which are all told the same.
    Any,
    /// These.
    Listed(Box<[Origin]>),
}

enum Origin {
    Exact(Box<[u8]>),
    /// Scheme, and the end of the host with its dot and port.
    Below(Box<[u8]>, Box<[u8]>),
}

impl Rules {
    fn read(scope: &Scope<'_>, line: &Directive) -> Result<Rules, Diagnostic> {
        let wrong = |word: &Word, what: &str| scope.error_at(line, word, format!("{what} \"{}\"", word.text));
        let mut rules = Rules {
            origins: Origins::Listed(Box::default()),
            methods: SIMPLE_METHODS.to_owned(),
            headers: String::new(),
            expose: String::new(),
            credentials: false,
            max_age: String::new(),
        };
        let mut origins = Vec::new();
        for word in &line.args {
            let (name, text) = word.text.split_once('=').unwrap_or((&word.text, ""));
            match name {
                "credentials" if word.text == name => rules.credentials = true,
                "origin" if text == "*" => rules.origins = Origins::Any,
                "origin" => {
                    for text in text.split(',') {
                        let origin = Origin::read(text).map_err(|what| {
                            scope.error_at(line, word, format!("invalid origin \"{text}\": {what}"))
                        })?;
                        origins.push(origin);
                    }
                }
                "methods" => rules.methods = names(text).ok_or_else(|| wrong(word, "invalid methods"))?,
                "headers" => rules.headers = names(text).ok_or_else(|| wrong(word, "invalid headers"))?,
                "expose" => rules.expose = names(text).ok_or_else(|| wrong(word, "invalid headers"))?,
                "max_age" => {
                    let seconds = value::time_s(text).ok_or_else(|| wrong(word, "invalid time"))?;
                    rules.max_age = seconds.to_string();
                }
                _ => return Err(wrong(word, "invalid parameter")),
            }
        }
        match (&rules.origins, origins.is_empty()) {
            (Origins::Any, false) => {
                return Err(scope.error(line, "\"origin=*\" leaves no room for other origins"));
            }
            (Origins::Any, true) if rules.credentials => {
                return Err(scope.error(
                    line,
                    "\"credentials\" cannot be given to \"origin=*\": any page could act for whoever looks at it",
                ));
            }
            (Origins::Listed(_), true) => {
                return Err(scope.error(line, "\"cors\" must have \"origin\" parameter"));
            }
            (Origins::Listed(_), false) => rules.origins = Origins::Listed(origins.into()),
            (Origins::Any, true) => {}
        }
        let has_star = [&rules.methods, &rules.headers, &rules.expose].iter().any(|list| *list == "*");
        if rules.credentials && has_star {
            // Browsers take it for a name then.
            return Err(scope.error(line, "\"*\" means nothing beside \"credentials\""));
        }
        Ok(rules)
    }

    /// What a client with this origin is told: nothing, if it is not listed.
    fn allowed<'o>(&self, origin: &'o [u8]) -> Option<&'o [u8]> {
        match &self.origins {
            Origins::Any => Some(b"*"),
            Origins::Listed(origins) => origins.iter().any(|known| known.is(origin)).then_some(origin),
        }
    }

    /// The fields that every answer has.
    fn tell(&self, x: &mut Exchange) {
        let asks = is_preflight(x);
        let fields = &mut x.answer.fields;
        fields.remove_named(|name| {
            name.get(..OURS.len()).is_some_and(|start| start.eq_ignore_ascii_case(OURS))
        });
        if let Origins::Listed(_) = self.origins {
            fields.push_known(Known::Vary, b"Vary", b"Origin");
        }
        let input = x.input.filled();
        let origin = x.head.fields.find(Known::Origin).map(|field| field.value.of(input));
        let Some(allowed) = origin.and_then(|origin| self.allowed(origin)) else { return };
        fields.push(b"Access-Control-Allow-Origin", allowed);
        if self.credentials {
            fields.push(b"Access-Control-Allow-Credentials", b"true");
        }
        let also: [(&[u8], &str); 3] = match asks {
            true => [
                (b"Access-Control-Allow-Methods", &self.methods),
                (b"Access-Control-Allow-Headers", &self.headers),
                (b"Access-Control-Max-Age", &self.max_age),
            ],
            false => [(b"Access-Control-Expose-Headers", &self.expose), (b"", ""), (b"", "")],
        };
        for (name, value) in also.iter().filter(|(_, value)| !value.is_empty()) {
            fields.push(name, value.as_bytes());
        }
    }
}

impl Origin {
    /// Reads `https://host[:port]`, also with `*.` before the host.
    fn read(text: &str) -> Result<Origin, &'static str> {
        let Some((scheme, host)) = text.split_once("://") else { return Err("it has no scheme") };
        let is_scheme = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.')
        };
        if scheme.is_empty() || !scheme.bytes().all(is_scheme) {
            return Err("a scheme is in small letters");
        }
        if host.contains('/') {
            return Err("an origin has no path");
        }
        let default = match scheme {
            "https" => ":443",
            "http" => ":80",
            _ => "none",
        };
        if host.ends_with(default) {
            return Err("browsers leave the default port out");
        }
        let (below, name) = match host.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, host),
        };
        let is_host = |byte: u8| {
            byte.is_ascii_lowercase()
                || byte.is_ascii_digit()
                || matches!(byte, b'-' | b'.' | b':' | b'[' | b']' | b'_')
        };
        if name.is_empty() || !name.bytes().all(is_host) {
            return Err("a host is in small letters, digits, \"-\" and \".\"");
        }
        Ok(match below {
            true => Origin::Below(
                format!("{scheme}://").into_bytes().into(),
                format!(".{name}").into_bytes().into(),
            ),
            false => Origin::Exact(text.as_bytes().into()),
        })
    }

    fn is(&self, origin: &[u8]) -> bool {
        match self {
            Origin::Exact(known) => **known == *origin,
            Origin::Below(scheme, end) => {
                let label = origin.strip_prefix(&**scheme).and_then(|rest| rest.strip_suffix(&**end));
                let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
                label.is_some_and(|label| !label.is_empty() && label.iter().all(is_host))
            }
        }
    }
}

/// `a,b` as `a, b`; `None` unless each is a name.
fn names(text: &str) -> Option<String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let list: Vec<&str> = text.split(',').collect();
    list.iter().all(|name| !name.is_empty() && name.bytes().all(is_token)).then(|| list.join(", "))
}

/// Answers preflights.
struct Preflight(Arc<Rules>);

impl QuickStep for Preflight {
    fn run(&self, x: &mut Exchange) -> Flow {
        if !is_preflight(x) {
            return Flow::Next;
        }
        let input = x.input.filled();
        let origin = x.head.fields.find(Known::Origin).map(|field| field.value.of(input)).unwrap_or_default();
        if self.0.allowed(origin).is_none() {
            x.problem = Some(Box::new(Problem::new("this origin may not read what is answered here")));
            return Flow::Answer(Answer::Status(403));
        }
        x.answer.clear();
        x.answer.status = 204;
        Flow::Answer(Answer::Ready(Body::None))
    }
}

/// Whether a browser asks for leave to send another request (the Fetch standard, "CORS-preflight request").
fn is_preflight(x: &Exchange) -> bool {
    x.method() == Method::Options
        && x.depth == 0
        && x.head.fields.has(Known::Origin)
        && x.head.fields.find_name(x.input.filled(), b"access-control-request-method").is_some()
}

/// Says in each answer who may read it.
struct Tells(Arc<Rules>);

impl HeaderFilter for Tells {
    fn filter(&self, x: &mut Exchange) {
        // An answer to the gateway itself is not sent to anyone.
        if x.depth == 0 {
            self.0.tell(x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::testing::{Bench, message};

    fn said(cors: &str) -> String {
        message(
            Bench::new(&format!("http {{ server {{ location / {{ cors {cors}; }} }} }}"), &[&FEATURE]).plan(),
        )
    }

    #[test]
    fn what_is_refused() {
        for (cors, want) in [
            ("off", "no error"),
            (
                "origin=https://a.example,http://b:8080 methods=GET,PUT headers=A,b credentials max_age=10m",
                "no error",
            ),
            ("origin=*", "no error"),
            (
                "origin=* credentials",
                "\"credentials\" cannot be given to \"origin=*\": any page could act for whoever looks at it",
            ),
            ("origin=* origin=https://a", "\"origin=*\" leaves no room for other origins"),
            ("credentials", "\"cors\" must have \"origin\" parameter"),
            ("origin=https://a credentials headers=*", "\"*\" means nothing beside \"credentials\""),
            ("origin=https://a/", "invalid origin \"https://a/\": an origin has no path"),
            ("origin=https://a:443", "invalid origin \"https://a:443\": browsers leave the default port out"),
            ("origin=null", "invalid origin \"null\": it has no scheme"),
            (
                "origin=https://A",
                "invalid origin \"https://A\": a host is in small letters, digits, \"-\" and \".\"",
            ),
            ("origin=https://a methods=", "invalid methods \"methods=\""),
            ("origin=https://a 'headers=a b'", "invalid headers \"headers=a b\""),
            ("origin=https://a max_age=x", "invalid time \"max_age=x\""),
            ("origin=https://a credential", "invalid parameter \"credential\""),
        ] {
            assert_eq!(said(cors), want, "{cors}");
        }
    }

    #[test]
    fn origins() {
        let is =
            |known: &str, origin: &str| Origin::read(known).is_ok_and(|known| known.is(origin.as_bytes()));
        assert!(is("https://a.example", "https://a.example"));
        assert!(
            !is("https://a.example", "https://a.example:8443")
                && !is("https://a.example", "http://a.example")
        );
        assert!(is("https://*.example", "https://a.b.example") && is("https://*.e:8443", "https://a.e:8443"));
        for origin in [
            "https://example",
            "https://.example",
            "https://evil/.example",
            "https://a@b.example",
            "http://a.example",
        ] {
            assert!(!is("https://*.example", origin), "{origin}");
        }
    }
}
