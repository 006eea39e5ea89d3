//! The path of a `route`: segments that are texts and segments that are parameters.
//!
//! ```text
//! /api/{version}/annonces/{id}     a parameter is a whole segment, of at least one byte
//! /api/{version}/orders/{*rest}    the last one may take all segments that are left
//! ```
//!
//! The tree could hold a text beside a parameter (`/{name}.json`), but does not go back from there to a
//! template without one, so what is found would depend on what else is configured: it is refused.

/// Parameters of one template: each is a variable, and more than a few tell a path nothing more.
const PARAMETERS_MAX: usize = 16;

/// Segments of one template: as many as a request's path may need, and a tree for each number of
/// segments before a `{*rest}` is asked in turn.
const SEGMENTS_MAX: usize = 32;

/// A template, read.
#[derive(Debug, PartialEq, Eq)]
pub struct PathTemplate {
    /// The template with numbers for names, as the tree takes it: templates that match the same paths
    /// have the same one.
    pub shape: String,
    /// The names of its parameters, in order.
    pub names: Vec<String>,
    /// The number of segments before `{*rest}`; none without one.
    pub catch_all_depth: Option<usize>,
}

impl PathTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it, in words that follow `invalid route template "..."`.
    pub fn read(text: &str) -> Result<PathTemplate, String> {
        let Some(path) = text.strip_prefix('/') else { return Err("it does not begin with \"/\"".into()) };
        if let Some(odd) = text.chars().find(|c| matches!(c, '?' | '#' | '\0'..='\x20' | '\x7f')) {
            return Err(format!("{odd:?} is no part of a path"));
        }
        let mut read = PathTemplate { shape: String::new(), names: Vec::new(), catch_all_depth: None };
        let segments: Vec<&str> = path.split('/').collect();
        if segments.len() > SEGMENTS_MAX {
            return Err(format!("it has more than {SEGMENTS_MAX} segments"));
        }
        for (depth, segment) in segments.iter().enumerate() {
            read.shape.push('/');
            read.segment(segment, depth, depth + 1 == segments.len())?;
        }
        Ok(read)
    }

    fn segment(&mut self, segment: &str, depth: usize, last: bool) -> Result<(), String> {
        let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let Some(name) = name.filter(|name| !name.contains(['{', '}'])) else {
            if segment.contains(['{', '}']) {
                return Err(format!("\"{segment}\" is neither a text nor one parameter"));
            }
            self.shape.push_str(segment);
            return Ok(());
        };
        let number = self.names.len();
        match name.strip_prefix('*') {
            Some(_) if !last => return Err(format!("\"{segment}\" is not at the end")),
            Some(name) => {
                self.name(name)?;
                self.catch_all_depth = Some(depth);
                self.shape.push_str(&format!("{{*p{number}}}"));
            }
            None => {
                self.name(name)?;
                self.shape.push_str(&format!("{{p{number}}}"));
            }
        }
        Ok(())
    }

    fn name(&mut self, name: &str) -> Result<(), String> {
        let is_name =
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_name || name.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(format!("\"{name}\" is no name of a parameter"));
        }
        let name = name.to_ascii_lowercase();
        if self.names.contains(&name) {
            return Err(format!("it has two parameters \"{name}\""));
        }
        if self.names.len() >= PARAMETERS_MAX {
            return Err(format!("it has more than {PARAMETERS_MAX} parameters"));
        }
        self.names.push(name);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (String, String, Option<usize>) {
        let read = PathTemplate::read(text).unwrap_or_else(|what| panic!("{text}: {what}"));
        (read.shape, read.names.join(","), read.catch_all_depth)
    }

    #[test]
    fn templates() {
        let shape = |text: &str, names: &str, depth| (text.to_owned(), names.to_owned(), depth);
        assert_eq!(read("/"), shape("/", "", None));
        assert_eq!(read("/a/{Id}/b"), shape("/a/{p0}/b", "id", None));
        assert_eq!(read("/a/{x}/{*rest}"), shape("/a/{p0}/{*p1}", "x,rest", Some(2)));
        assert_eq!(read("/{*rest}"), shape("/{*p0}", "rest", Some(0)));
        assert_eq!(read("/é/{_1}/"), shape("/é/{p0}/", "_1", None));
    }

    #[test]
    fn faults() {
        for (text, want) in [
            ("a", "it does not begin with \"/\""),
            ("", "it does not begin with \"/\""),
            ("/a?b", "'?' is no part of a path"),
            ("/a b", "' ' is no part of a path"),
            ("/{a", "\"{a\" is neither a text nor one parameter"),
            ("/a}", "\"a}\" is neither a text nor one parameter"),
            ("/{{a}}", "\"{{a}}\" is neither a text nor one parameter"),
            ("/{a}{b}", "\"{a}{b}\" is neither a text nor one parameter"),
            ("/{a}.json", "\"{a}.json\" is neither a text nor one parameter"),
            ("/v{a}", "\"v{a}\" is neither a text nor one parameter"),
            ("/x{*a}", "\"x{*a}\" is neither a text nor one parameter"),
            ("/{}", "\"\" is no name of a parameter"),
            ("/{1a}", "\"1a\" is no name of a parameter"),
            ("/{a-b}", "\"a-b\" is no name of a parameter"),
            ("/{a}/{A}", "it has two parameters \"a\""),
            ("/{*a}/b", "\"{*a}\" is not at the end"),
            ("/{*}", "\"\" is no name of a parameter"),
        ] {
            assert_eq!(PathTemplate::read(text), Err(want.to_owned()), "{text}");
        }
        let many: String = (0..17).map(|n| format!("/{{a{n}}}")).collect();
        assert_eq!(PathTemplate::read(&many), Err("it has more than 16 parameters".to_owned()));
        assert_eq!(PathTemplate::read(&"/a".repeat(33)), Err("it has more than 32 segments".to_owned()));
    }
}
