//! Sets of media types: to which answers a filter applies (`gzip_types` and its like).

use crate::conf::Scope;

/// What every such set holds, whatever is named.
const ALWAYS: &str = "text/html";

/// A set of media types.
#[derive(Clone, Debug)]
pub enum TypeSet {
    /// `*`: any type, and none.
    Any,
    /// These, lower case.
    Of(Box<[Box<[u8]>]>),
}

impl TypeSet {
    /// What the directive of this name says; where there is none, these and `text/html`.
    pub fn compile(scope: &Scope<'_>, directive: &str, defaults: &[&str]) -> TypeSet {
        let lines = scope.all(directive);
        let words: Vec<&str> =
            lines.iter().flat_map(|line| &line.args).map(|word| word.text.as_str()).collect();
        if words.contains(&"*") {
            return TypeSet::Any;
        }
        let named = if words.is_empty() { defaults } else { &words };
        let types = [ALWAYS].iter().chain(named).map(|name| name.to_ascii_lowercase().into_bytes().into());
        TypeSet::Of(types.collect())
    }

    /// Whether the type of a `Content-Type` is in the set; its charset does not matter.
    pub fn contains(&self, content_type: &[u8]) -> bool {
        match self {
            TypeSet::Any => true,
            TypeSet::Of(types) => {
                let (media_type, _) = split_charset(content_type);
                types.iter().any(|known| known.eq_ignore_ascii_case(media_type))
            }
        }
    }
}

/// The type and the charset of a `Content-Type`. As nginx has it, other parameters belong to the type.
pub fn split_charset(content_type: &[u8]) -> (&[u8], Option<&[u8]>) {
    const PARAMETER: &[u8] = b"charset=";
    let mut from = 0;
    while let Some(at) = content_type.get(from..).and_then(|rest| memchr::memchr(b';', rest)) {
        let at = from + at;
        let (media_type, rest) = content_type.split_at(at);
        let rest = rest.get(1..).unwrap_or_default();
        let spaces = rest.iter().take_while(|&&byte| byte == b' ').count();
        let parameter = rest.get(spaces..).unwrap_or_default();
        if let Some((name, charset)) = parameter.split_at_checked(PARAMETER.len())
            && name.eq_ignore_ascii_case(PARAMETER)
        {
            let charset = charset.strip_prefix(b"\"").unwrap_or(charset);
            return (media_type, Some(charset.strip_suffix(b"\"").unwrap_or(charset)));
        }
        from = at + 1;
    }
    (content_type, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charsets_are_split_off() {
        for (value, want) in [
            ("text/html", ("text/html", None)),
            ("text/html;charset=utf-8", ("text/html", Some("utf-8"))),
            ("text/html;  Charset=\"utf-8\"", ("text/html", Some("utf-8"))),
            ("text/html; a=b", ("text/html; a=b", None)),
            ("text/html; a=b; charset=x", ("text/html; a=b", Some("x"))),
            ("text/html;", ("text/html;", None)),
            ("", ("", None)),
        ] {
            let (media_type, charset) = split_charset(value.as_bytes());
            assert_eq!((media_type, charset), (want.0.as_bytes(), want.1.map(str::as_bytes)), "{value}");
        }
    }

    #[test]
    fn members() {
        let set = TypeSet::Of([b"text/html".to_vec().into(), b"text/css".to_vec().into()].into());
        for (value, want) in [
            ("text/html", true),
            ("TEXT/css; charset=x", true),
            ("text/css; a=b", false),
            ("text/plain", false),
            ("", false),
        ] {
            assert_eq!(set.contains(value.as_bytes()), want, "{value}");
            assert!(TypeSet::Any.contains(value.as_bytes()));
        }
    }
}
