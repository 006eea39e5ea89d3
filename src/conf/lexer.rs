//! Words out of bytes, by nginx's rules.
//!
//! A word ends at white space, `;` or `{`. It starts quoted or not at all: a quote in the middle of
//! a word is an ordinary character. A backslash guards the next character; of the guarded ones only
//! `\"` `\'` `\\` `\t` `\r` `\n` are resolved, in quotes and out of them, so that `\d` or `\;`
//! reach a regular expression as they are. `${` opens no block, nor, other than in nginx, where it is an
//! error, does `{name}` or `{*name}` in the middle of a word: the parameter of a path template. `#`
//! starts a comment only where a word could start.

use std::sync::Arc;

use super::source::Place;
use super::tree::Word;

/// The longest word, with what ends it, in bytes: nginx reads through a buffer of this size.
const MAX_WORD_BYTES: usize = 4096;

/// How much of a word that is too long is shown; as nginx.
const SHOWN_BYTES: usize = 10;

/// The byte order mark that some editors put in front of a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What ended a row of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// `;`
    Semicolon,
    /// `{`
    Open,
    /// `}`, which has no words before it.
    Close,
    /// The end of the text, with no words before it.
    Text,
}

/// What the lexer cannot read.
#[derive(Debug)]
pub(super) struct LexError {
    pub message: String,
    /// The place that nginx names.
    pub place: Place,
    /// What to underline.
    pub mark: Place,
    pub width: usize,
    pub hint: Option<String>,
}

/// Reads one text.
#[derive(Debug)]
pub(super) struct Lexer {
    text: Arc<Vec<u8>>,
    pos: usize,
    /// The place of the byte at `pos`.
    here: Place,
    /// The place of the last byte that was read.
    last: Place,
    /// The text of `-g`: other words for its end, no bound on a word (the kernel's is 128 KB).
    command_line: bool,
}

/// A word while it is read.
#[derive(Clone, Copy)]
struct Open {
    start: usize,
    place: Place,
    quote: Option<u8>,
    /// A `$` was the last character, so that `{` belongs to the word.
    variable: bool,
}

impl Lexer {
    pub(super) fn new(file: u32, text: Arc<Vec<u8>>, command_line: bool) -> Self {
        let start = Place { file, line: 1, column: 1 };
        let pos = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        Lexer { text, pos, here: start, last: start, command_line }
    }

    /// Where nginx would place an error now: the line after all that was read.
    pub(super) fn here(&self) -> Place {
        self.here
    }

    /// The last byte that was read: the `;`, `{` or `}` that ended the words.
    pub(super) fn last(&self) -> Place {
        self.last
    }

    /// Reads up to the next `;`, `{`, `}` or the end, and adds the words before it.
    pub(super) fn next(&mut self, words: &mut Vec<Word>) -> Result<End, LexError> {
        loop {
            let Some(byte) = self.take() else {
                return if words.is_empty() { Ok(End::Text) } else { Err(self.unfinished(None, words)) };
            };
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => {}
                b'#' => self.skip_line(),
                b';' | b'{' if words.is_empty() => return Err(self.unexpected(byte)),
                b';' => return Ok(End::Semicolon),
                b'{' => return Ok(End::Open),
                b'}' if words.is_empty() => return Ok(End::Close),
                b'}' => return Err(self.unexpected(byte)),
                _ => {
                    if let Some(end) = self.word(byte, words)? {
                        return Ok(end);
                    }
                }
            }
        }
    }

    /// Reads the word that starts with `first`, and what ended the row, if the word's end did.
    fn word(&mut self, first: u8, words: &mut Vec<Word>) -> Result<Option<End>, LexError> {
        let quote = matches!(first, b'"' | b'\'').then_some(first);
        let mut word = Open {
            start: if quote.is_some() { self.pos } else { self.pos - 1 },
            place: self.last,
            quote,
            variable: first == b'$',
        };
        if first == b'\\' {
            self.guarded(&word, words)?;
        }
        loop {
            let Some(byte) = self.take_in(&word)? else { return Err(self.unfinished(Some(&word), words)) };
            match byte {
                b'{' if word.variable => continue,
                b'{' if quote.is_none() && self.at_parameter() => {}
                b'\\' => self.guarded(&word, words)?,
                b' ' | b'\t' | b'\r' | b'\n' | b';' | b'{' if quote.is_none() => {
                    words.push(self.finished(&word)?);
                    return Ok(match byte {
                        b';' => Some(End::Semicolon),
                        b'{' => Some(End::Open),
                        _ => None,
                    });
                }
                byte if quote == Some(byte) => {
                    words.push(self.finished(&word)?);
                    return self.after_quote(&word, words);
                }
                _ => {}
            }
            word.variable = byte == b'$';
        }
    }

    /// Whether `name}` or `*name}` follows, which no block can begin with. A name begins with a letter,
    /// so that `\d{3}` stays what it is in nginx.
    fn at_parameter(&self) -> bool {
        let rest = self.text.get(self.pos..).unwrap_or_default();
        let rest = rest.strip_prefix(b"*").unwrap_or(rest);
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let end = rest.iter().take(MAX_WORD_BYTES).position(|byte| !is_name(byte)).unwrap_or_default();
        rest.get(end) == Some(&b'}')
            && rest.first().is_some_and(|first| is_name(first) && !first.is_ascii_digit())
    }

    /// Reads what must follow a closing quote: white space, `;`, `{`, or the `)` of an `if`.
    fn after_quote(&mut self, word: &Open, words: &mut Vec<Word>) -> Result<Option<End>, LexError> {
        let closed = Open { quote: None, ..*word };
        match self.take_in(&closed)? {
            None => Err(self.unfinished(None, words)),
            Some(b' ' | b'\t' | b'\r' | b'\n') => Ok(None),
            Some(b';') => Ok(Some(End::Semicolon)),
            Some(b'{') => Ok(Some(End::Open)),
            Some(b')') => self.word(b')', words),
            Some(byte) => {
                let hint = "a quoted word must be followed by a space, \";\", \"{\" or \")\"";
                Err(LexError { hint: Some(hint.into()), ..self.unexpected(byte) })
            }
        }
    }

    /// Skips the character after a backslash, whatever it is.
    fn guarded(&mut self, word: &Open, words: &[Word]) -> Result<(), LexError> {
        match self.take_in(word)? {
            Some(_) => Ok(()),
            None => Err(self.unfinished(Some(word), words)),
        }
    }

    /// The word from its start to the byte before the last.
    fn finished(&self, word: &Open) -> Result<Word, LexError> {
        let raw = self.text.get(word.start..self.pos - 1).unwrap_or_default();
        let text = match String::from_utf8(resolved(raw)) {
            Ok(text) if !text.contains('\0') => text,
            Ok(_) => return Err(self.not_text(word, raw, "contains a NUL character")),
            Err(_) => return Err(self.not_text(word, raw, "is not valid UTF-8")),
        };
        Ok(Word { text, place: word.place, quoted: word.quote.is_some() })
    }

    /// The next byte. Columns count characters: the bytes inside of one do not move them.
    fn take(&mut self) -> Option<u8> {
        let byte = *self.text.get(self.pos)?;
        self.pos += 1;
        self.last = self.here;
        if byte == b'\n' {
            self.here.line = self.here.line.saturating_add(1);
            self.here.column = 1;
        } else if self.text.get(self.pos).is_none_or(|next| next & 0xc0 != 0x80) {
            self.here.column = self.here.column.saturating_add(1);
        }
        Some(byte)
    }

    /// The next byte inside of a word, which must not get too long.
    fn take_in(&mut self, word: &Open) -> Result<Option<u8>, LexError> {
        let full = self.pos - word.start >= MAX_WORD_BYTES && self.pos < self.text.len();
        if full && !self.command_line { Err(self.too_long(word)) } else { Ok(self.take()) }
    }

    fn skip_line(&mut self) {
        while self.take().is_some_and(|byte| byte != b'\n') {}
    }

    fn unexpected(&self, byte: u8) -> LexError {
        // A character of several bytes is named whole.
        let from = self.pos - 1;
        let to = self.text.len().min(from + 4);
        let shown = String::from_utf8_lossy(self.text.get(from..to).unwrap_or_default());
        let char = shown.chars().next().unwrap_or(char::from(byte));
        self.error(format!("unexpected \"{char}\""), self.here, self.last, 1)
    }

    /// The text ended within a directive: inside of `word`, or after `words`.
    fn unfinished(&self, word: Option<&Open>, words: &[Word]) -> LexError {
        let message = if self.command_line {
            "unexpected end of parameter, expecting \";\""
        } else {
            "unexpected end of file, expecting \";\" or \"}\""
        };
        let quote = word.and_then(|word| word.quote);
        let mark = match (word, words) {
            (Some(word), _) if quote.is_some() => word.place,
            (_, [name, ..]) => name.place,
            (Some(word), []) => word.place,
            (None, []) => self.last,
        };
        let hint = match (quote, words) {
            (Some(quote), _) => format!("this {} is never closed", char::from(quote)),
            _ => "this directive has no \";\" or \"{\" at its end".to_owned(),
        };
        LexError { hint: Some(hint), ..self.error(message.to_owned(), self.here, mark, 1) }
    }

    fn too_long(&self, word: &Open) -> LexError {
        let message = match word.quote {
            Some(quote) => format!(
                "too long parameter, probably missing terminating \"{}\" character",
                char::from(quote)
            ),
            None => {
                let start = self.text.get(word.start..word.start + SHOWN_BYTES).unwrap_or_default();
                format!("too long parameter \"{}...\" started", String::from_utf8_lossy(start))
            }
        };
        let hint = format!("a word has at most {} bytes", MAX_WORD_BYTES - 1);
        LexError { hint: Some(hint), ..self.error(message, word.place, word.place, 1) }
    }

    fn not_text(&self, word: &Open, raw: &[u8], what: &str) -> LexError {
        let shown = String::from_utf8_lossy(raw);
        let width = shown.chars().count();
        let message = format!("parameter \"{}\" {what}", shown.replace('\0', "\u{fffd}"));
        self.error(message, word.place, word.place, width)
    }

    fn error(&self, message: String, place: Place, mark: Place, width: usize) -> LexError {
        LexError { message, place, mark, width, hint: None }
    }
}

/// A word's bytes with the escapes that nginx knows resolved.
fn resolved(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let meant = match (byte, bytes.peek()) {
            (b'\\', Some(&next @ (b'"' | b'\'' | b'\\'))) => Some(next),
            (b'\\', Some(b't')) => Some(b'\t'),
            (b'\\', Some(b'r')) => Some(b'\r'),
            (b'\\', Some(b'n')) => Some(b'\n'),
            _ => None,
        };
        if meant.is_some() {
            bytes.next();
        }
        out.push(meant.unwrap_or(byte));
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn rows(text: &[u8]) -> Result<Vec<(Vec<String>, End)>, LexError> {
        let mut lexer = Lexer::new(0, Arc::new(text.to_vec()), false);
        let mut rows = Vec::new();
        loop {
            let mut words = Vec::new();
            let end = lexer.next(&mut words)?;
            if end == End::Text {
                return Ok(rows);
            }
            rows.push((words.into_iter().map(|word| word.text).collect(), end));
        }
    }

    fn words(text: &str) -> Vec<String> {
        rows(text.as_bytes()).unwrap().remove(0).0
    }

    #[test]
    fn words_as_nginx_reads_them() {
        let cases: &[(&str, &[&str])] = &[
            ("a b;", &["a", "b"]),
            ("a\n  b\r\n\tc ;", &["a", "b", "c"]),
            ("a \"b c\" 'd \"e';", &["a", "b c", "d \"e"]),
            ("a '' \"\";", &["a", "", ""]),
            (r#"a "\"" '\'' "\\" "\t|\r|\n";"#, &["a", "\"", "'", "\\", "\t|\r|\n"]),
            (r"a ^\d+\.php$ \;x \{ \# \ y;", &["a", r"^\d+\.php$", r"\;x", r"\{", r"\#", r"\ y"]),
            (r#"a b\tc \"d\" \\e;"#, &["a", "b\tc", "\"d\"", "\\e"]),
            ("a b\"c'd;", &["a", "b\"c'd"]),
            ("a ${b}c;", &["a", "${b}c"]),
            ("a b${c};", &["a", "b${c}"]),
            ("a \"{\" '}' \";\" '#';", &["a", "{", "}", ";", "#"]),
            ("a b#c d; # e", &["a", "b#c", "d"]),
            ("a # b ; {\n c;", &["a", "c"]),
            ("if ($a = \"b\") {", &["if", "($a", "=", "b", ")"]),
            ("if ($a = 'b'){", &["if", "($a", "=", "b", ")"]),
            ("a b} c;", &["a", "b}", "c"]),
            ("a \"b\nc\";", &["a", "b\nc"]),
            ("a \u{e9}\u{4e2d};", &["a", "\u{e9}\u{4e2d}"]),
            ("\u{feff}a b;", &["a", "b"]),
            ("a $;", &["a", "$"]),
            ("a $${b};", &["a", "$${b}"]),
            ("a ${{b;", &["a", "${{b"]),
            ("a /b/{c}/{*d_1} {", &["a", "/b/{c}/{*d_1}"]),
            (r"a ^\d{3}$;", &["a", r"^\d"]),
            ("a b{c;", &["a", "b"]),
            ("a {b} ;", &["a"]),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text), *expected, "{text}");
        }
    }

    #[test]
    fn rows_end_in_four_ways() {
        let ends: Vec<End> = rows(b"a{b;}c{}").unwrap().into_iter().map(|row| row.1).collect();
        assert_eq!(ends, [End::Open, End::Semicolon, End::Close, End::Open, End::Close]);
        assert!(rows(b" \n# only a comment").unwrap().is_empty());
        assert!(rows(b"# not \xff UTF-8\n").unwrap().is_empty());
    }

    #[test]
    fn places_count_lines_and_characters() {
        let mut lexer = Lexer::new(3, Arc::new("a;\n\u{e9}\u{e9} b\n ;".as_bytes().to_vec()), false);
        let mut first = Vec::new();
        lexer.next(&mut first).unwrap();
        let mut second = Vec::new();
        lexer.next(&mut second).unwrap();
        let place = |line, column| Place { file: 3, line, column };
        assert_eq!(second[0].place, place(2, 1));
        assert_eq!(second[1].place, place(2, 4));
        assert_eq!(lexer.last(), place(3, 2));
    }

    #[test]
    fn what_is_not_text_is_refused() {
        assert_eq!(rows(b"a \xff;").unwrap_err().message, "parameter \"\u{fffd}\" is not valid UTF-8");
        assert_eq!(
            rows(b"a b\0c;").unwrap_err().message,
            "parameter \"b\u{fffd}c\" contains a NUL character"
        );
    }

    #[test]
    fn the_longest_word_is_that_of_nginx() {
        let longest = "x".repeat(MAX_WORD_BYTES - 1);
        assert_eq!(words(&format!("a {longest};"))[1].len(), 4095);
        assert_eq!(words(&format!("a \"{}\";", &longest[1..]))[1].len(), 4094);
        let refused = |text: String| rows(text.as_bytes()).unwrap_err().message;
        assert_eq!(refused(format!("a {longest}x;")), "too long parameter \"xxxxxxxxxx...\" started");
        assert_eq!(refused(format!("a \"{longest}\";")), "too long parameter \"xxxxxxxxxx...\" started");
        assert_eq!(
            refused(format!("a '{longest}xxx';")),
            "too long parameter, probably missing terminating \"'\" character"
        );
        let long_comment = format!("#{longest}{longest}\na b;");
        assert_eq!(words(&long_comment), ["a", "b"]);
    }
}
