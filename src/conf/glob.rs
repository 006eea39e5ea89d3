//! glob(3) as nginx's `include` calls it, without flags: `*`, `?`, `[...]` and the backslash; a
//! leading dot must be matched by a dot; what cannot be read is skipped; results are sorted by bytes.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The most paths that one pattern may give. Patterns such as `/*/*/*/*` would walk the whole disk.
const MAX_MATCHES: usize = 100_000;

/// Whether nginx's `include` takes this text for a pattern.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// The existing paths that match, sorted.
///
/// # Errors
/// More than `MAX_MATCHES` paths.
pub(super) fn expand(pattern: &str) -> io::Result<Vec<PathBuf>> {
    let mut found: Vec<Vec<u8>> = vec![if pattern.starts_with('/') { b"/".to_vec() } else { Vec::new() }];
    let mut parts = pattern.split('/').filter(|part| !part.is_empty()).peekable();
    while let Some(part) = parts.next() {
        let mut next = Vec::new();
        for base in found {
            if is_pattern(part) {
                list(&base, part.as_bytes(), &mut next);
            } else {
                next.push(joined(&base, &unescaped(part.as_bytes())));
            }
            if next.len() > MAX_MATCHES {
                return Err(io::Error::other("the pattern matches too many files"));
            }
        }
        // Between two parts only directories go on; at the end whatever exists counts.
        let last = parts.peek().is_none();
        next.retain(|path| exists(path, !last || pattern.ends_with('/')));
        found = next;
    }
    found.sort();
    Ok(found.into_iter().map(|path| PathBuf::from(OsString::from_vec(path))).collect())
}

/// Whether a whole path matches a pattern, part by part.
pub(super) fn path_matches(pattern: &str, path: &Path) -> bool {
    let mut parts = pattern.as_bytes().split(|&b| b == b'/');
    let mut names = path.as_os_str().as_bytes().split(|&b| b == b'/');
    loop {
        match (parts.next(), names.next()) {
            (None, None) => return true,
            (Some(part), Some(name)) if name_matches(part, name) => {}
            _ => return false,
        }
    }
}

/// Adds the entries of a directory that match one part of a pattern.
fn list(base: &[u8], part: &[u8], into: &mut Vec<Vec<u8>>) {
    let directory = if base.is_empty() { Path::new(".") } else { Path::new(OsStr::from_bytes(base)) };
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name_matches(part, name.as_bytes()) {
            into.push(joined(base, name.as_bytes()));
        }
    }
}

fn joined(base: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = base.to_vec();
    if !path.is_empty() && !path.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

fn exists(path: &[u8], directory: bool) -> bool {
    let path = Path::new(OsStr::from_bytes(path));
    if directory { path.is_dir() } else { path.symlink_metadata().is_ok() }
}

fn unescaped(part: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(part.len());
    let mut bytes = part.iter();
    while let Some(&byte) = bytes.next() {
        out.push(if byte == b'\\' { *bytes.next().unwrap_or(&b'\\') } else { byte });
    }
    out
}

/// Matches one name against one part of a pattern. Walks back only to the last `*`, so the time is
/// at most the product of the two lengths.
fn name_matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') && !pattern.starts_with(b"\\.") {
        return false;
    }
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(&byte) = name.get(n) {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, n));
            p += 1;
        } else if let Some(width) = single_matches(&pattern[p..], byte) {
            p += width;
            n += 1;
        } else if let Some((after, taken)) = star {
            star = Some((after, taken + 1));
            (p, n) = (after, taken + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// Matches one byte against what the pattern starts with; the pattern's bytes used, if it does.
fn single_matches(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern.first()? {
        b'?' => Some(1),
        b'[' => match set_matches(pattern, byte) {
            Some((true, width)) => Some(width),
            Some((false, _)) => None,
            // Without its end the bracket is an ordinary character.
            None => (byte == b'[').then_some(1),
        },
        b'\\' => match pattern.get(1) {
            Some(&escaped) => (escaped == byte).then_some(2),
            None => (byte == b'\\').then_some(1),
        },
        literal => (literal == byte).then_some(1),
    }
}

/// A bracket expression: whether the byte is in it and how long it is; `None` if it has no end.
fn set_matches(pattern: &[u8], byte: u8) -> Option<(bool, usize)> {
    let mut at = 1;
    let negated = matches!(pattern.get(at), Some(b'!' | b'^'));
    if negated {
        at += 1;
    }
    let first = at;
    let mut inside = false;
    loop {
        let low = match *pattern.get(at)? {
            b']' if at > first => return Some((inside != negated, at + 1)),
            b'\\' => {
                at += 1;
                *pattern.get(at)?
            }
            low => low,
        };
        at += 1;
        let mut high = low;
        if pattern.get(at) == Some(&b'-') && pattern.get(at + 1).is_some_and(|&end| end != b']') {
            high = pattern[at + 1];
            at += 2;
        }
        inside |= (low..=high).contains(&byte);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names() {
        let cases: &[(&str, &str, bool)] = &[
            ("*.conf", "a.conf", true),
            ("*.conf", ".a.conf", false),
            (".*", ".a", true),
            ("?", ".", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[]x]", "]", true),
            ("[a", "[a", true),
            ("[a-]", "-", true),
            (r"\*", "*", true),
            (r"\*", "a", false),
            (r"[\]]", "]", true),
            ("**", "abc", true),
            ("", "", true),
            ("*", "", true),
            ("*?", "", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(name_matches(pattern.as_bytes(), name.as_bytes()), *expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_exponential_time() {
        let pattern = "*a".repeat(200);
        let name = "a".repeat(199);
        assert!(!name_matches(pattern.as_bytes(), name.as_bytes()));
    }

    #[test]
    fn the_disk() {
        let root = std::env::temp_dir().join(format!("octroi-glob-{}", std::process::id()));
        for name in ["b/2.conf", "a/1.conf", "a/.hidden.conf", "a/x.txt", "c.conf/y"] {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let found = |pattern: &str| -> Vec<String> {
            let paths = expand(&format!("{}/{pattern}", root.display())).unwrap();
            paths.iter().map(|p| p.strip_prefix(&root).unwrap().display().to_string()).collect()
        };
        assert_eq!(found("*/*.conf"), ["a/1.conf", "b/2.conf"]);
        assert_eq!(found("[ab]/?.conf"), ["a/1.conf", "b/2.conf"]);
        assert_eq!(found("*"), ["a", "b", "c.conf"]);
        assert_eq!(found("a/*/z"), Vec::<String>::new());
        assert_eq!(found("none*"), Vec::<String>::new());
        assert_eq!(found("c*/y"), ["c.conf/y"]);
        fs::remove_dir_all(&root).unwrap();
    }
}
