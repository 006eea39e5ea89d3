//! Request paths: from the target a client sent to the path that locations are matched with.
//!
//! nginx decodes, resolves `.` and `..`, and merges slashes in one pass, in which an encoded dot or
//! slash counts as the character it stands for, while an encoded `?`, `#` or `%` is only a character
//! of the path. That order is what keeps `/%2e%2e/` from climbing out and `%252e` from being decoded
//! twice.

pub use super::escape::{Escape, Unescape, escape, unescape};

use super::escape::hex_value;
use super::fault::UriFault;
use super::span::Span;

/// A normalised path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Normalised {
    /// The path, in the vector it was appended to. Starts with a slash.
    pub path: Span,
    /// The arguments, in the target: what stands between `?` and `#`. `None` without a `?`.
    pub args: Option<Span>,
    /// What stands behind the last dot of the last segment, in the vector; empty without one. A dot
    /// that begins the segment begins no extension.
    pub extension: Span,
    /// The path differs from the raw one.
    pub changed: bool,
    /// Something was percent-encoded, so the path has to be escaped where it goes back into a URI.
    pub quoted: bool,
    /// A plus stands in the path, encoded or not.
    pub plus: bool,
}

/// What a byte of a raw path asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Nothing.
    Usual,
    /// A look at the next byte.
    Slash,
    /// A note.
    Plus,
    /// The end of the path.
    Args,
    /// The long way.
    Complex,
}

/// The class of every byte.
static CLASS: [Class; 256] = {
    let mut table = [Class::Usual; 256];
    table[b'/' as usize] = Class::Slash;
    table[b'+' as usize] = Class::Plus;
    table[b'?' as usize] = Class::Args;
    table[b'%' as usize] = Class::Complex;
    table[b'#' as usize] = Class::Complex;
    table
};

/// Normalises the path of a request target and appends it to `out`. `target` is path and arguments;
/// an empty path (`?x`) is the root.
///
/// # Errors
/// [`UriFault`] on a percent sign without two hexadecimal digits, an encoded NUL, segments that climb
/// above the root, and a path that does not start with a slash. `out` is then as it was.
pub fn normalise(target: &[u8], merge_slashes: bool, out: &mut Vec<u8>) -> Result<Normalised, UriFault> {
    let start = out.len();
    let mut found = Normalised::default();
    match plain_end(target, &mut found.plus) {
        Some(end) => {
            out.extend_from_slice(target.get(..end).unwrap_or_default());
            found.args = (end < target.len()).then(|| Span::new(end + 1, target.len()));
        }
        None => {
            let end = complex(target, merge_slashes, start, out, &mut found)
                .inspect_err(|_| out.truncate(start))?;
            found.changed = out.get(start..) != target.get(..end);
            if target.get(end) == Some(&b'?') {
                let rest = target.get(end + 1..).unwrap_or_default();
                let len = rest.iter().position(|&b| b == b'#').unwrap_or(rest.len());
                found.args = Some(Span::new(end + 1, end + 1 + len));
            }
        }
    }
    found.path = Span::new(start, out.len());
    found.extension = extension(out, start);
    Ok(found)
}

/// Where the path ends if it is normal as it is and no fragment follows; else `None`.
#[inline]
fn plain_end(target: &[u8], plus: &mut bool) -> Option<usize> {
    if target.first() != Some(&b'/') {
        return None;
    }
    for (at, &byte) in target.iter().enumerate() {
        match CLASS[byte as usize] {
            Class::Usual => {}
            Class::Plus => *plus = true,
            Class::Slash => {
                if let Some(b'/' | b'.') = target.get(at + 1) {
                    return None;
                }
            }
            // A fragment behind the arguments is cut off by the long way.
            Class::Args => return (!target.get(at..)?.contains(&b'#')).then_some(at),
            Class::Complex => return None,
        }
    }
    Some(target.len())
}

/// Where in a segment the decoded path ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Inside a segment.
    Usual,
    /// Behind a slash.
    Slash,
    /// Behind `/.`
    Dot,
    /// Behind `/..`
    DotDot,
}

/// The long way. Returns where the raw path ends: at `?`, `#` or the end of the target.
fn complex(
    target: &[u8],
    merge_slashes: bool,
    start: usize,
    out: &mut Vec<u8>,
    found: &mut Normalised,
) -> Result<usize, UriFault> {
    match target.first() {
        Some(b'/') => {}
        None | Some(b'?') => out.push(b'/'),
        Some(_) => return Err(UriFault),
    }
    out.reserve(target.len());
    let mut place = Place::Usual;
    let mut at = 0;
    let end = loop {
        let Some(&raw) = target.get(at) else { break at };
        let mut byte = raw;
        let mut literal = false;
        match raw {
            b'?' | b'#' => break at,
            b'%' => {
                byte = decoded(target, at)?;
                at += 2;
                found.quoted = true;
                literal = matches!(byte, b'?' | b'#' | b'%');
            }
            _ => {}
        }
        at += 1;
        found.plus |= byte == b'+';
        place = match (byte, place) {
            _ if literal => put(out, byte, Place::Usual),
            (b'/', Place::Usual) => put(out, byte, Place::Slash),
            (b'/', Place::Slash) if merge_slashes => Place::Slash,
            (b'/', Place::Slash) => put(out, byte, Place::Slash),
            (b'/', _) => leave(out, start, place)?,
            (b'.', Place::Slash) => put(out, byte, Place::Dot),
            (b'.', Place::Dot) => put(out, byte, Place::DotDot),
            _ => put(out, byte, Place::Usual),
        };
    };
    leave(out, start, place)?;
    Ok(end)
}

/// Appends a byte.
#[inline]
fn put(out: &mut Vec<u8>, byte: u8, place: Place) -> Place {
    out.push(byte);
    place
}

/// The byte that `%xx` at `at` stands for.
fn decoded(target: &[u8], at: usize) -> Result<u8, UriFault> {
    let digit = |at: usize| target.get(at).copied().and_then(hex_value).ok_or(UriFault);
    match digit(at + 1)? << 4 | digit(at + 2)? {
        0 => Err(UriFault),
        byte => Ok(byte),
    }
}

/// Takes back a `.` or `..` segment that has come to its end.
fn leave(out: &mut Vec<u8>, start: usize, place: Place) -> Result<Place, UriFault> {
    match place {
        Place::Usual | Place::Slash => {}
        Place::Dot => out.truncate(out.len().saturating_sub(1)),
        Place::DotDot => {
            // Without "/..", what is left up to and with its last slash.
            let kept = out.get(start..out.len().saturating_sub(3)).unwrap_or_default();
            let slash = kept.iter().rposition(|&b| b == b'/').ok_or(UriFault)?;
            out.truncate(start + slash + 1);
        }
    }
    Ok(Place::Slash)
}

/// What stands behind the last dot of the last segment.
#[inline]
fn extension(out: &[u8], start: usize) -> Span {
    let end = out.len();
    let path = out.get(start..).unwrap_or_default();
    let Some(at) = path.iter().rposition(|&b| b == b'.' || b == b'/') else { return Span::new(end, end) };
    if path.get(at) != Some(&b'.') {
        return Span::new(end, end);
    }
    let segment = path.iter().take(at).rposition(|&b| b == b'/').map_or(0, |slash| slash + 1);
    // Up to three dots at the front of a segment are taken for `.` and `..` until something else
    // follows; only a dot behind them begins an extension.
    let front = path.iter().skip(segment).take(DOTS_MAX).take_while(|&&b| b == b'.').count();
    let begins = at - segment >= front;
    Span::new(if begins { start + at + 1 } else { end }, end)
}

/// The dots at the front of a segment that begin no extension.
const DOTS_MAX: usize = 3;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn text(target: &str, merge: bool) -> Option<(String, Option<String>, String)> {
        let mut out = b"before".to_vec();
        let Ok(found) = normalise(target.as_bytes(), merge, &mut out) else {
            assert_eq!(out, b"before");
            return None;
        };
        assert_eq!(found.path.start, 6);
        Some((
            found.path.of(&out).escape_ascii().to_string(),
            found.args.map(|args| args.of(target.as_bytes()).escape_ascii().to_string()),
            found.extension.of(&out).escape_ascii().to_string(),
        ))
    }

    #[test]
    fn paths() {
        for (target, path, args) in [
            ("/", "/", None),
            ("", "/", None),
            ("?a", "/", Some("a")),
            ("?a#f", "/", Some("a")),
            ("/?", "/", Some("")),
            ("/a/b.c?x=/../y", "/a/b.c", Some("x=/../y")),
            ("/a?b?c", "/a", Some("b?c")),
            ("/a?b#c", "/a", Some("b")),
            ("/a#b?c", "/a", None),
            ("/a?#", "/a", Some("")),
            ("//a///b", "/a/b", None),
            ("/a/./b", "/a/b", None),
            ("/./././", "/", None),
            ("/a/.", "/a/", None),
            ("/a/..", "/", None),
            ("/a/../", "/", None),
            ("/a/b/../c", "/a/c", None),
            ("/a/b/../../c", "/c", None),
            ("/a//../b", "/b", None),
            ("/foo/bar/.?args", "/foo/bar/", Some("args")),
            ("/foo/bar/.#frag", "/foo/bar/", None),
            ("/foo/bar/..?args", "/foo/", Some("args")),
            ("/foo/bar/..#frag", "/foo/", None),
            ("/a/...", "/a/...", None),
            ("/a/..b", "/a/..b", None),
            ("/a/.b/", "/a/.b/", None),
            ("/a%20b", "/a b", None),
            ("/%02", "/\\x02", None),
            ("/%41%4a%4A", "/AJJ", None),
            ("/a%2Fb", "/a/b", None),
            ("/a%2F%2fb", "/a/b", None),
            ("/a/%2e%2E/b", "/b", None),
            ("/a/.%2e/b", "/b", None),
            ("/a%2f..%2fb", "/b", None),
            ("/%2e/a", "/a", None),
            ("/a%3Fb?c", "/a?b", Some("c")),
            ("/a%23b", "/a#b", None),
            ("/a%252e%252e/b", "/a%2e%2e/b", None),
            ("/%25%32%65", "/%2e", None),
            ("/a%2bb+c", "/a+b+c", None),
            ("/%c3%a9", "/\\xc3\\xa9", None),
            ("/é", "/\\xc3\\xa9", None),
            ("/a/%3f/../b", "/a/b", None),
            ("/.%3f/..", "/", None),
        ] {
            let (got, got_args, _) = text(target, true).unwrap_or_else(|| panic!("{target} refused"));
            assert_eq!((got.as_str(), got_args.as_deref()), (path, args), "{target}");
        }
    }

    #[test]
    fn slashes_stay_when_asked() {
        for (target, path) in
            [("//a//b/", "//a//b/"), ("/a//../b", "/a/b"), ("//..", "/"), ("/a/%2f", "/a//"), ("/.//", "//")]
        {
            assert_eq!(text(target, false).unwrap().0, path, "{target}");
        }
    }

    #[test]
    fn refused() {
        for target in [
            "/..",
            "/../",
            "/../a",
            "/a/../..",
            "/a/../../b",
            "/./..",
            "/%2e%2e",
            "/..%2f",
            "/..?a",
            "/..#",
            "//..",
            "/%",
            "/%4",
            "/%4g",
            "/%g4",
            "/%%20",
            "/%00",
            "/a%00b",
            "/%0",
            "/a%?b",
            "/a%2?",
            "*",
            "a/b",
            "http://a/",
            "#",
            "%2f",
        ] {
            assert_eq!(text(target, true), None, "{target}");
        }
    }

    #[test]
    fn extensions() {
        for (target, want) in [
            ("/a.html", "html"),
            ("/a.tar.gz", "gz"),
            ("/a.", ""),
            ("/a", ""),
            ("/a.b/c", ""),
            ("/.html", ""),
            ("/..html", ""),
            ("/...html", ""),
            ("/....html", "html"),
            ("/.a.b", "b"),
            ("/a%2ehtml", "html"),
            ("/a.ht%6dl?x.y", "html"),
            ("/a.b/..", ""),
            ("/a.php%3fx", "php\\?x"),
        ] {
            assert_eq!(text(target, true).unwrap().2, want.replace("\\?", "?"), "{target}");
        }
    }

    #[test]
    fn flags() {
        let of = |target: &str| normalise(target.as_bytes(), true, &mut Vec::new()).unwrap();
        assert!(!of("/a?b").changed && !of("/a#b").changed && of("//a").changed && of("?x").changed);
        assert!(of("/%41").changed && of("/%41").quoted && !of("//a").quoted);
        assert!(of("/a+").plus && of("/%2b").plus && !of("/a?+").plus);
    }

    proptest! {
        #[test]
        fn a_normal_path_stays_normal(target in "[/.a%?#+]{0,24}", merge in any::<bool>()) {
            let mut out = Vec::new();
            if let Ok(found) = normalise(format!("/{target}").as_bytes(), merge, &mut out) {
                let path = found.path.of(&out).to_vec();
                prop_assert_eq!(path.first(), Some(&b'/'));
                let mut raw = Vec::new();
                escape(Escape::Uri, &path, &mut raw);
                let mut again = Vec::new();
                let found = normalise(&raw, merge, &mut again).unwrap();
                prop_assert_eq!(found.path.of(&again), &path[..]);
                prop_assert!(!path.split(|&b| b == b'/').any(|s| s == b"." || s == b".."));
                prop_assert!(!merge || !path.windows(2).any(|w| w == b"//"));
            }
        }

        #[test]
        fn never_panics(target in proptest::collection::vec(any::<u8>(), 0..60), merge in any::<bool>()) {
            let mut out = vec![1, 2, 3];
            let outcome = normalise(&target, merge, &mut out);
            prop_assert_eq!(&out[..3], &[1, 2, 3]);
            if outcome.is_err() {
                prop_assert_eq!(out.len(), 3);
            }
        }
    }
}
