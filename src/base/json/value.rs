//! A value of JSON, read strictly: a name that stands twice in an object is an error, since two readers
//! would take it for two things.

use super::quoted;

/// How deep values may be nested: what tokens and key sets hold is four deep.
const DEPTH_MAX: usize = 32;

/// Names of one object at most: they are compared with each other.
const MEMBERS_MAX: usize = 1024;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as it is written.
    Number(Box<str>),
    /// A string, without its escapes.
    String(Box<str>),
    /// An array.
    Array(Vec<Json>),
    /// An object, in the order of its members.
    Object(Vec<(Box<str>, Json)>),
}

impl Json {
    /// Reads a whole text; `None` if it is not JSON, or has a name twice.
    pub fn parse(text: &[u8]) -> Option<Json> {
        let text = std::str::from_utf8(text).ok()?;
        let mut reader = Reader { text: text.as_bytes(), at: 0 };
        let value = reader.value(0)?;
        reader.skip_space();
        (reader.at == text.len()).then_some(value)
    }

    /// The member of an object.
    pub fn member(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => {
                members.iter().find(|(known, _)| **known == *name).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Json::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a number.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Json::Number(text) => text.parse().ok().filter(|number: &f64| number.is_finite()),
            _ => None,
        }
    }

    /// The strings of an array, or a string alone.
    pub fn strings(&self) -> impl Iterator<Item = &str> {
        let all = match self {
            Json::Array(values) => values.as_slice(),
            alone => std::slice::from_ref(alone),
        };
        all.iter().filter_map(Json::as_str)
    }

    /// Appends it as JSON, without space.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Json::Null => out.extend_from_slice(b"null"),
            Json::Bool(true) => out.extend_from_slice(b"true"),
            Json::Bool(false) => out.extend_from_slice(b"false"),
            Json::Number(text) => out.extend_from_slice(text.as_bytes()),
            Json::String(text) => out.extend_from_slice(quoted(text).as_bytes()),
            Json::Array(values) => {
                out.push(b'[');
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    value.write(out);
                }
                out.push(b']');
            }
            Json::Object(members) => {
                out.push(b'{');
                for (index, (name, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(quoted(name).as_bytes());
                    out.push(b':');
                    value.write(out);
                }
                out.push(b'}');
            }
        }
    }
}

struct Reader<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Option<u8> {
        let byte = *self.text.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn take(&mut self, word: &[u8]) -> Option<()> {
        self.text.get(self.at..)?.starts_with(word).then(|| self.at += word.len())
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        if depth > DEPTH_MAX {
            return None;
        }
        self.skip_space();
        match self.peek()? {
            b'n' => self.take(b"null").map(|()| Json::Null),
            b't' => self.take(b"true").map(|()| Json::Bool(true)),
            b'f' => self.take(b"false").map(|()| Json::Bool(false)),
            b'"' => self.string().map(Json::String),
            b'[' => self.array(depth),
            b'{' => self.object(depth),
            _ => self.number(),
        }
    }

    fn array(&mut self, depth: usize) -> Option<Json> {
        self.at += 1;
        let mut values = Vec::new();
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Some(Json::Array(values));
        }
        loop {
            values.push(self.value(depth + 1)?);
            self.skip_space();
            match self.next()? {
                b',' => {}
                b']' => return Some(Json::Array(values)),
                _ => return None,
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<Json> {
        self.at += 1;
        let mut members: Vec<(Box<str>, Json)> = Vec::new();
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Some(Json::Object(members));
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') || members.len() >= MEMBERS_MAX {
                return None;
            }
            let name = self.string()?;
            if members.iter().any(|(known, _)| *known == name) {
                return None;
            }
            self.skip_space();
            self.take(b":")?;
            members.push((name, self.value(depth + 1)?));
            self.skip_space();
            match self.next()? {
                b',' => {}
                b'}' => return Some(Json::Object(members)),
                _ => return None,
            }
        }
    }

    /// A number (RFC 8259, 6).
    fn number(&mut self) -> Option<Json> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.next()? {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            _ => return None,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.some_digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.some_digits()?;
        }
        let text = std::str::from_utf8(self.text.get(start..self.at)?).ok()?;
        Some(Json::Number(text.into()))
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    fn some_digits(&mut self) -> Option<()> {
        let start = self.at;
        self.digits();
        (self.at > start).then_some(())
    }

    fn string(&mut self) -> Option<Box<str>> {
        self.at += 1;
        let mut text = String::new();
        let mut from = self.at;
        loop {
            match self.next()? {
                b'"' => {
                    text.push_str(self.piece(from, self.at - 1)?);
                    return Some(text.into());
                }
                b'\\' => {
                    text.push_str(self.piece(from, self.at - 1)?);
                    text.push(self.escape()?);
                    from = self.at;
                }
                0..0x20 => return None,
                _ => {}
            }
        }
    }

    fn piece(&self, from: usize, to: usize) -> Option<&'t str> {
        std::str::from_utf8(self.text.get(from..to)?).ok()
    }

    fn escape(&mut self) -> Option<char> {
        Some(match self.next()? {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.four_digits()?;
                // Half of a pair is followed by the other half.
                if !(0xd800..0xdc00).contains(&first) {
                    return char::from_u32(first);
                }
                self.take(b"\\u")?;
                let second = self.four_digits().filter(|second| (0xdc00..0xe000).contains(second))?;
                return char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00));
            }
            _ => return None,
        })
    }

    fn four_digits(&mut self) -> Option<u32> {
        let mut number = 0;
        for _ in 0..4 {
            number = number << 4 | char::from(self.next()?).to_digit(16)?;
        }
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn again(text: &str) -> Option<String> {
        let mut out = Vec::new();
        Json::parse(text.as_bytes())?.write(&mut out);
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn values() {
        for (text, want) in [
            (" null ", "null"),
            ("[true,false, 0,-1.5e+3 ]", "[true,false,0,-1.5e+3]"),
            ("{}", "{}"),
            ("[]", "[]"),
            ("{\"a\" : {\"b\":[{}]} , \"\":1}", "{\"a\":{\"b\":[{}]},\"\":1}"),
            ("\"\\u0041\\ud83d\\ude00\\/\\n\\u0001\"", "\"A\u{1f600}/\\u000a\\u0001\""),
        ] {
            assert_eq!(again(text).as_deref(), Some(want), "{text}");
        }
    }

    #[test]
    fn what_is_no_json() {
        for text in [
            "",
            "nul",
            "tru e",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "-",
            "[1,]",
            "[1 2]",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\" 1}",
            "{\"a\":1 \"b\":2}",
            "\"",
            "\"\t\"",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\\udc00\"",
            "\"\\ud800\\u0041\"",
            "1 2",
            "[",
            "{",
            "{\"a\":1,\"a\":1}",
            "{\"a\":1,\"\\u0061\":2}",
            "'a'",
            "NaN",
            "\u{feff}1",
        ] {
            assert_eq!(again(text), None, "{text}");
        }
        assert!(Json::parse(b"\"\xff\"").is_none());
        assert!(Json::parse(&b"[".repeat(100_000)).is_none());
    }

    #[test]
    fn members_and_strings() {
        let json = Json::parse(b"{\"a\":[\"x\",1,\"y\"],\"b\":\"z\",\"n\":1.5}").unwrap();
        let strings = |name: &str| json.member(name).unwrap().strings().collect::<Vec<_>>();
        assert_eq!((strings("a"), strings("b")), (vec!["x", "y"], vec!["z"]));
        assert_eq!((json.member("n").unwrap().as_f64(), json.member("c")), (Some(1.5), None));
        assert_eq!(Json::parse(b"1e999").unwrap().as_f64(), None);
    }

    proptest! {
        #[test]
        fn never_panics_and_reads_what_it_writes(text in "[\\[\\]{}\",:\\\\u0-9a-f nulltrue.eE+-]{0,60}") {
            if let Some(written) = again(&text) {
                prop_assert_eq!(again(&written), Some(written));
            }
        }
    }
}
