//! Reading the project for its rules: which files there are, and their code apart from comments,
//! strings and tests.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of Rust.
pub struct File {
    /// From the root of the project.
    pub path: String,
    /// As it stands.
    pub text: String,
    /// The text with comments and the insides of strings blanked, line by line.
    pub all_code: String,
    /// The same without tests.
    pub code: String,
}

impl File {
    fn new(path: String) -> File {
        let text = read(&path);
        let all_code = without_comments(&text);
        let is_test =
            ["tests.rs", "testing.rs", "property.rs"].iter().any(|name| path.ends_with(&format!("/{name}")));
        let code = if is_test { String::new() } else { without_tests(&all_code) };
        File { path, text, all_code, code }
    }

    /// The room in `src` that it is in.
    pub fn room(&self) -> Option<&str> {
        self.path.strip_prefix("src/")?.split(['/', '.']).next()
    }

    /// The lines of its tests.
    pub fn tests(&self) -> String {
        let code: Vec<&str> = self.code.lines().collect();
        let all = self.all_code.lines().zip(self.text.lines()).enumerate();
        // What was code and is so no more without the tests is of a test.
        let tests = all
            .filter(|(at, (all, _))| code.get(*at).is_none_or(|code| code != all) && !all.trim().is_empty());
        tests.map(|(_, (_, text))| text).collect::<Vec<_>>().join("\n")
    }
}

/// The root of the project.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a file.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file of Rust of the project.
pub fn all_rust() -> Vec<File> {
    ["src", "tests", "loadtest", "benches", "fuzz"].iter().flat_map(|folder| sources(folder)).collect()
}

/// The files of Rust below a folder.
pub fn sources(folder: &str) -> Vec<File> {
    list(folder, "rs").into_iter().map(File::new).collect()
}

/// Every text that is not made by a tool.
pub fn texts() -> Vec<String> {
    ["rs", "md", "toml", "conf"]
        .iter()
        .flat_map(|extension| list("", extension))
        .chain(list("scripts", ""))
        .collect()
}

/// The files below a folder with this extension, sorted; hidden folders and what is built are left out.
pub fn list(folder: &str, extension: &str) -> Vec<String> {
    fn walk(folder: &Path, extension: &str, out: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            let built = ["target", "corpus", "artifacts"].contains(&&*name);
            if path.is_dir() && !name.starts_with('.') && !built {
                walk(&path, extension, out);
            } else if path.is_file() && path.extension().unwrap_or_default() == extension {
                out.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), extension, &mut found);
    let mut paths: Vec<String> = found
        .iter()
        .map(|path| path.strip_prefix(root()).unwrap_or(path).to_string_lossy().into_owned())
        .collect();
    paths.sort();
    paths
}

/// Where a whole word stands in a line.
pub fn word(line: &str, word: &str) -> Option<usize> {
    let part = |char: char| char.is_alphanumeric() || char == '_';
    line.match_indices(word)
        .map(|(at, _)| at)
        .find(|at| !line[..*at].ends_with(part) && !line[at + word.len()..].starts_with(part))
}

/// The names behind `crate::`, those in braces too, with their lines.
pub fn crate_names(code: &str) -> Vec<(usize, &str)> {
    let mut names = Vec::new();
    for (at, prefix) in code.match_indices("crate::") {
        let line = code[..at].lines().count().max(1);
        let rest = &code[at + prefix.len()..];
        let Some(inner) = rest.strip_prefix('{') else {
            names.push((line, ident(rest)));
            continue;
        };
        let mut depth = 0;
        let mut start = true;
        for (at, char) in inner.char_indices() {
            match char {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' => start = depth == 0,
                _ if start && char.is_alphabetic() => {
                    names.push((line, ident(&inner[at..])));
                    start = false;
                }
                _ => {}
            }
        }
    }
    names
}

fn ident(text: &str) -> &str {
    let end = text.find(|char: char| !char.is_alphanumeric() && char != '_');
    &text[..end.unwrap_or(text.len())]
}

/// The text with comments and the insides of strings and characters replaced by spaces.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let part = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first == '"' {
            string_end(rest)
        } else if first == 'r' && !out.ends_with(|char: char| char.is_alphanumeric() && char != 'b') {
            raw_string_end(rest).unwrap_or(0)
        } else if first == '\'' {
            char_end(rest).unwrap_or(0)
        } else {
            0
        };
        if part == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            out.extend(rest[..part].chars().map(|char| if char == '\n' { '\n' } else { ' ' }));
            rest = &rest[part..];
        }
    }
    out
}

fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, char) in text.char_indices().skip(1) {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn raw_string_end(text: &str) -> Option<usize> {
    let hashes = text[1..].chars().take_while(|char| *char == '#').count();
    let inner = text[1 + hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = inner.find(&close)?;
    Some(1 + hashes + 1 + end + close.len())
}

/// `'a'` is a character, `'a` a lifetime.
fn char_end(text: &str) -> Option<usize> {
    let inner = &text[1..];
    if inner.starts_with('\\') {
        // From behind the escaped character on: `'\''`.
        return inner.char_indices().skip(2).find(|(_, char)| *char == '\'').map(|(at, _)| at + 2);
    }
    let first = inner.chars().next()?.len_utf8();
    inner[first..].starts_with('\'').then_some(1 + first + 1)
}

/// The code without what `#[cfg(test)]` stands before.
fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    while let Some(start) = out.find("#[cfg(test)]") {
        let rest = &out[start..];
        let end = match rest.find([';', '{']) {
            Some(at) if rest[at..].starts_with('{') => at + block_end(&rest[at..]),
            Some(at) => at + 1,
            None => rest.len(),
        };
        let blank: String = rest[..end].chars().map(|char| if char == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(start..start + end, &blank);
    }
    out
}

fn block_end(text: &str) -> usize {
    let mut depth = 0;
    for (at, char) in text.char_indices() {
        match char {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    text.len()
}

#[test]
fn the_reading_of_code_is_right() {
    let code = "let a = \"x // \\\" y\"; // crate::z\nlet b = r#\"unsafe\"#; let c = ['\"', '\\''];\n&'a str /* b */ b\"unsafe\"";
    let blanked = without_comments(code);
    assert_eq!(blanked.lines().count(), 3);
    assert!(!blanked.contains("unsafe") && !blanked.contains("crate") && blanked.contains("&'a str"));
    let tests = "use a;\n#[cfg(test)]\nmod testing;\n#[cfg(test)]\nmod tests { fn f() { b } }\nfn c() {}";
    assert_eq!(without_tests(tests).split_whitespace().collect::<Vec<_>>(), ["use", "a;", "fn", "c()", "{}"]);
    let names: Vec<_> =
        crate_names("use crate::{a, b::{c, d}, e};\ncrate::f::g").iter().map(|(_, name)| *name).collect();
    assert_eq!(names, ["a", "b", "e", "f"]);
    assert_eq!(word("keepalive_time keepalive;", "keepalive"), Some(15));
}
