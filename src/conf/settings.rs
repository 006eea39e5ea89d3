//! The values of a scope's directives, with their defaults and in nginx's wording when wrong.

use super::diagnostic::Diagnostic;
use super::scope::Scope;
use super::value;

impl<'t> Scope<'t> {
    /// The first argument of a directive.
    pub fn word(&self, name: &str) -> Option<&'t str> {
        self.one(name)?.arg(0)
    }

    /// `on` or `off`.
    ///
    /// # Errors
    /// The argument is neither.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool, Diagnostic> {
        self.value(name, default, value::flag, |text| value::not_a_flag(name, text))
    }

    /// A number.
    ///
    /// # Errors
    /// The argument is none.
    pub fn number(&self, name: &str, default: u64) -> Result<u64, Diagnostic> {
        self.value(name, default, value::number, |_| format!("\"{name}\" directive invalid number"))
    }

    /// A size in bytes (`k`, `m`).
    ///
    /// # Errors
    /// The argument is none.
    pub fn size(&self, name: &str, default: u64) -> Result<u64, Diagnostic> {
        self.value(name, default, value::size, |_| invalid(name))
    }

    /// A large size in bytes (`k`, `m`, `g`).
    ///
    /// # Errors
    /// The argument is none.
    pub fn offset(&self, name: &str, default: u64) -> Result<u64, Diagnostic> {
        self.value(name, default, value::offset, |_| invalid(name))
    }

    /// A time in milliseconds.
    ///
    /// # Errors
    /// The argument is none.
    pub fn time_ms(&self, name: &str, default: u64) -> Result<u64, Diagnostic> {
        self.value(name, default, value::time_ms, |_| invalid(name))
    }

    /// A time in seconds.
    ///
    /// # Errors
    /// The argument is none.
    pub fn time_s(&self, name: &str, default: u64) -> Result<u64, Diagnostic> {
        self.value(name, default, value::time_s, |_| invalid(name))
    }

    /// A number of buffers and the size of each in bytes: `proxy_buffers 8 4k`.
    ///
    /// # Errors
    /// One of them is none, or zero.
    pub fn buffers(&self, name: &str, default: (u64, u64)) -> Result<(u64, u64), Diagnostic> {
        let Some(directive) = self.one(name) else { return Ok(default) };
        let count = directive.arg(0).and_then(value::number).filter(|&count| count > 0);
        let size = directive.arg(1).and_then(value::size).filter(|&size| size > 0);
        let wrong = usize::from(count.is_some());
        count.zip(size).ok_or_else(|| match directive.args.get(wrong) {
            Some(word) => self.error_at(directive, word, invalid(name)),
            None => self.error(directive, invalid(name)),
        })
    }

    /// One of some words, in any case.
    ///
    /// # Errors
    /// The argument is none of them.
    pub fn one_of<T: Clone>(&self, name: &str, words: &[(&str, T)], default: T) -> Result<T, Diagnostic> {
        let known = |text: &str| {
            let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
            found.map(|(_, meaning)| meaning.clone())
        };
        self.value(name, default, known, |text| format!("invalid value \"{text}\"")).map_err(|error| {
            let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            error.with_hint(format!("one of: {}", names.join(", ")))
        })
    }

    /// The value of the first argument, or the default.
    fn value<T>(
        &self,
        name: &str,
        default: T,
        parse: impl Fn(&str) -> Option<T>,
        wrong: impl Fn(&str) -> String,
    ) -> Result<T, Diagnostic> {
        let Some(directive) = self.one(name) else { return Ok(default) };
        match directive.args.first() {
            Some(word) => parse(&word.text).ok_or_else(|| self.error_at(directive, word, wrong(&word.text))),
            None => Err(self.error(directive, wrong(""))),
        }
    }
}

fn invalid(name: &str) -> String {
    format!("\"{name}\" directive invalid value")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::conf::Context;
    use crate::conf::testing::{registry, tree};

    const TEXT: &str = "http { keepalive_timeout 1m; sendfile on;
        server { root /server;
            location / {
                location /in { client_max_body_size 2x; proxy_buffers 4 0; }
            }
        }
    }";

    fn inner<'t>(scope: &Scope<'t>, name: &str, context: Context) -> Scope<'t> {
        scope.child(scope.here(name).next().unwrap(), context)
    }

    #[test]
    fn values_and_their_errors() {
        let tree = tree(TEXT);
        let main = registry().scope(&tree);
        let server = inner(&inner(&main, "http", Context::HTTP), "server", Context::SERVER);
        let nested = inner(&inner(&server, "location", Context::LOCATION), "location", Context::LOCATION);
        assert_eq!(
            nested.size("client_max_body_size", 0).unwrap_err().to_string(),
            "[emerg] \"client_max_body_size\" directive invalid value in /conf/nginx.conf:4\n    4 |                 location /in { client_max_body_size 2x; proxy_buffers 4 0; }\n      |                                                     ^^"
        );
        let buffers = nested.buffers("proxy_buffers", (4, 8192)).unwrap_err();
        assert_eq!(buffers.message, "\"proxy_buffers\" directive invalid value");
        assert_eq!(server.buffers("proxy_buffers", (4, 8192)), Ok((4, 8192)));
        assert_eq!(server.number("worker_processes", 7), Ok(7));
        let error = server.one_of("root", &[("a", 1), ("b", 2)], 1).unwrap_err();
        assert_eq!(error.message, "invalid value \"/server\"");
        assert_eq!(error.hint.as_deref(), Some("one of: a, b"));
        assert_eq!(server.one_of("root", &[("/SERVER", 5)], 1), Ok(5));
        assert_eq!(server.time_s("root", 1).unwrap_err().message, "\"root\" directive invalid value");
        assert_eq!(server.number("root", 1).unwrap_err().message, "\"root\" directive invalid number");
        assert_eq!(server.offset("root", 1).unwrap_err().message, "\"root\" directive invalid value");
    }
}
