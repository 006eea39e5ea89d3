//! `modern_browser` and `ancient_browser`: whether a request comes from a browser that can do what a site
//! asks of it, as far as its field User-Agent tells.

use crate::conf::{Arity, Context, Diagnostic, Directive, DirectiveSpec as D, Inherit, Scope};
use crate::http::Known;
use crate::pipeline::browser::Browser;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::variable::VariableSpec;
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end, nothing};

const HSL: Context = Context::HTTP.or(Context::SERVER).or(Context::LOCATION);

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "browser",
    module: Some("http_browser"),
    directives: &[
        D::new(
            "modern_browser",
            HSL,
            Arity::Between(1, 2),
            "browser version | unlisted",
            "",
            "From which version on a browser (opera, msie, gecko, safari, konqueror) is modern; unlisted: so are those that no line names.",
        )
        .inherit(Inherit::Together),
        D::new(
            "ancient_browser",
            HSL,
            Arity::AtLeast(1),
            "string ...",
            "",
            "Parts of the User-Agent of browsers that are ancient; netscape4 means Mozilla up to version 4.",
        )
        .inherit(Inherit::Together),
        D::new("modern_browser_value", HSL, Arity::Exactly(1), "string", "1", "What $modern_browser is for a modern browser."),
        D::new("ancient_browser_value", HSL, Arity::Exactly(1), "string", "1", "What $ancient_browser is for an ancient browser."),
    ],
    variables: &[
        VariableSpec {
            name: "modern_browser",
            family: false,
            eval: modern,
            doc: "The value of modern_browser_value if the browser is modern, else empty.",
        },
        VariableSpec {
            name: "ancient_browser",
            family: false,
            eval: ancient,
            doc: "The value of ancient_browser_value if the browser is ancient, else empty.",
        },
        VariableSpec { name: "msie", family: false, eval: msie, doc: "`1` if the browser is Internet Explorer, else empty." },
    ],
    http: nothing,
    location,
    end: no_end,
};

/// How a browser is told by its User-Agent.
struct Mark {
    name: &'static str,
    /// Bytes at the beginning that are not looked at.
    skip: usize,
    /// What stands before the version,
    text: &'static [u8],
    /// so many bytes from its beginning on.
    version_at: usize,
}

/// In the order they are looked for: Opera calls itself by the names of others too.
const MARKS: [Mark; 5] = [
    Mark { name: "opera", skip: 0, text: b"Opera", version_at: 6 },
    Mark { name: "msie", skip: b"Mozilla/4.0 (compatible; ".len(), text: b"MSIE ", version_at: 5 },
    Mark { name: "gecko", skip: b"Mozilla/5.0 (".len(), text: b"rv:", version_at: 3 },
    Mark { name: "safari", skip: b"Mozilla/5.0 (".len(), text: b"Safari/", version_at: 7 },
    Mark { name: "konqueror", skip: b"Mozilla/5.0 (compatible; ".len(), text: b"Konqueror/", version_at: 10 },
];

/// What the first part of a version counts; each part after it a hundredth of the one before.
const FIRST_PART: u64 = 1_000_000;

/// What is modern and what is ancient in a location.
#[derive(Debug, PartialEq, Eq)]
struct Browsers {
    /// The numbers of marks with the first version that is modern, in the marks' order.
    modern: Vec<(usize, u64)>,
    unlisted_are_modern: bool,
    ancient: Vec<Box<[u8]>>,
    netscape4: bool,
    modern_value: Box<[u8]>,
    ancient_value: Box<[u8]>,
}

impl Default for Browsers {
    fn default() -> Browsers {
        Browsers {
            modern: Vec::new(),
            unlisted_are_modern: false,
            ancient: Vec::new(),
            netscape4: false,
            modern_value: b"1".as_slice().into(),
            ancient_value: b"1".as_slice().into(),
        }
    }
}

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let mut browsers = Browsers::default();
    for line in scope.all("modern_browser") {
        browsers.add_modern(scope, line)?;
    }
    if !browsers.modern.is_empty() {
        // Whoever does not name Opera does not mean it, even where it says that it is another.
        if browsers.modern.iter().all(|(mark, _)| *mark != 0) {
            browsers.modern.push((0, u64::MAX));
        }
        browsers.modern.sort_by_key(|(mark, _)| *mark);
    }
    for word in scope.all("ancient_browser").iter().flat_map(|line| &line.args) {
        match word.text.as_str() {
            "netscape4" => browsers.netscape4 = true,
            text => browsers.ancient.push(text.as_bytes().into()),
        }
    }
    if let Some(value) = scope.word("modern_browser_value") {
        browsers.modern_value = value.as_bytes().into();
    }
    if let Some(value) = scope.word("ancient_browser_value") {
        browsers.ancient_value = value.as_bytes().into();
    }
    if browsers != Browsers::default() {
        b.attach(browsers);
    }
    Ok(())
}

impl Browsers {
    fn add_modern(&mut self, scope: &Scope<'_>, line: &Directive) -> Result<(), Diagnostic> {
        match line.args.as_slice() {
            [word] if word.text == "unlisted" => self.unlisted_are_modern = true,
            [name, version] => {
                let unknown =
                    || scope.error_at(line, name, format!("unknown browser name \"{}\"", name.text));
                let known = |mark: &Mark| mark.name.eq_ignore_ascii_case(&name.text);
                let mark = MARKS.iter().position(known).ok_or_else(unknown)?;
                let (number, rest) = number_of(version.text.as_bytes());
                if !rest.is_empty() {
                    let message = format!("invalid browser version \"{}\"", version.text);
                    return Err(scope.error_at(line, version, message));
                }
                self.modern.push((mark, number));
            }
            words => {
                let text = words.first().map_or("", |word| &word.text);
                return Err(scope.error(line, format!("invalid parameter \"{text}\"")));
            }
        }
        Ok(())
    }

    fn is_modern(&self, x: &Exchange) -> bool {
        let Some(field) = x.head.fields.find(Known::UserAgent) else { return self.unlisted_are_modern };
        self.is_modern_agent(field.value.of(x.input.filled()))
    }

    fn is_modern_agent(&self, agent: &[u8]) -> bool {
        for (mark, least) in &self.modern {
            let version = MARKS.get(*mark).and_then(|mark| mark.version_in(agent));
            if let Some(version) = version {
                return version >= *least;
            }
        }
        let is_netscape4 = || {
            agent.len() > b"Mozilla/4.72 ".len()
                && matches!(agent.strip_prefix(b"Mozilla/"), Some([b'1'..=b'4', ..]))
        };
        self.unlisted_are_modern
            && !((self.netscape4 && is_netscape4())
                || self.ancient.iter().any(|part| find(agent, part).is_some()))
    }
}

impl Mark {
    /// The version that a User-Agent names, if it is of this browser.
    fn version_in(&self, agent: &[u8]) -> Option<u64> {
        let at = self.skip + find(agent.get(self.skip..)?, self.text)?;
        let version = agent.get(at + self.version_at..).filter(|rest| !rest.is_empty())?;
        Some(number_of(version).0)
    }
}

/// A version as a number, and what follows it. Parts behind the fourth count nothing.
fn number_of(text: &[u8]) -> (u64, &[u8]) {
    let (mut number, mut part, mut counts) = (0u64, 0u64, FIRST_PART);
    let end = text.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.').unwrap_or(text.len());
    let (version, rest) = text.split_at_checked(end).unwrap_or((text, b""));
    for &byte in version {
        if byte == b'.' {
            number = number.saturating_add(part.saturating_mul(counts));
            (part, counts) = (0, counts / 100);
        } else {
            part = part.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
        }
    }
    // Less than the version of one that is not meant at all.
    (number.saturating_add(part.saturating_mul(counts)).min(u64::MAX - 1), rest)
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    text.windows(part.len()).position(|window| window == part)
}

fn modern(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    if let Some(browsers) = x.here.settings.attached::<Browsers>()
        && browsers.is_modern(x)
    {
        out.extend_from_slice(&browsers.modern_value);
    }
    true
}

fn ancient(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    match x.here.settings.attached::<Browsers>() {
        // Where nothing is said all are.
        None => out.push(b'1'),
        Some(browsers) if !browsers.is_modern(x) => out.extend_from_slice(&browsers.ancient_value),
        Some(_) => {}
    }
    true
}

fn msie(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    if Browser::of(x).msie {
        out.push(b'1');
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::testing::{Bench, message};

    #[test]
    fn versions_are_numbers() {
        for (text, number, rest) in [
            ("7.50 (X11)", 7_500_000, " (X11)"),
            ("1", 1_000_000, ""),
            ("1.0.4", 1_000_400, ""),
            ("1.2.3.4.5", 1_020_304, ""),
            ("", 0, ""),
            ("x", 0, "x"),
        ] {
            assert_eq!(number_of(text.as_bytes()), (number, rest.as_bytes()), "{text}");
        }
    }

    #[test]
    fn errors_are_nginxs() {
        for (text, want) in [
            ("modern_browser unlisted; modern_browser MSIE 6.0;", "no error"),
            ("modern_browser other 1;", "unknown browser name \"other\""),
            ("modern_browser msie 1x;", "invalid browser version \"1x\""),
            ("modern_browser msie;", "invalid parameter \"msie\""),
        ] {
            let text = format!("http {{ server {{ {text} }} }}");
            assert_eq!(message(Bench::new(&text, &[&FEATURE]).plan()), want, "{text}");
        }
    }
}
