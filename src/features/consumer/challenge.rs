//! What a client is told that has not shown who it is: `WWW-Authenticate` (RFC 9110, 11.6.1).

use crate::pipeline::exchange::Exchange;
use crate::pipeline::template::Template;
use crate::plan::builder::Builder;

/// How a client may show who it is, by the scheme that the field names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `auth_basic` (RFC 7617).
    Basic,
    /// `auth_api_key`: no scheme is registered for keys.
    ApiKey,
    /// `auth_jwt` (RFC 6750).
    Bearer,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Scheme::Basic => "Basic",
            Scheme::ApiKey => "ApiKey",
            Scheme::Bearer => "Bearer",
        }
    }
}

/// The challenges of the open location, in the builder's store: by the number of its location.
#[derive(Default)]
pub struct Challenges(Vec<(Scheme, Template)>);

/// Notes that the open location asks for credentials in this scheme.
pub fn challenges(b: &mut Builder<'_>, scheme: Scheme, realm: &Template) {
    b.store::<Challenges>().0.push((scheme, realm.clone()));
}

/// Those of the open location: what follows begins another one.
pub fn take_challenges(b: &mut Builder<'_>) -> Vec<(Scheme, Template)> {
    std::mem::take(&mut b.store::<Challenges>().0)
}

/// Adds a challenge to the answer; `more` are further parameters, each with its comma in front.
pub fn challenge(x: &mut Exchange, scheme: Scheme, realm: &Template, more: &[u8]) {
    let realm = realm.value(x);
    x.answer.fields.push_with(b"WWW-Authenticate", |out| {
        out.extend_from_slice(scheme.name().as_bytes());
        out.extend_from_slice(b" realm=\"");
        push_quoted(&realm, out);
        out.push(b'"');
        out.extend_from_slice(more);
    });
}

/// Appends what stands between quotes (RFC 9110, 5.6.4).
pub fn push_quoted(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text.iter().filter(|byte| !byte.is_ascii_control()) {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_quoted_text_early() {
        let mut out = Vec::new();
        push_quoted(b"a \"b\\ \r\nSet-Cookie: x", &mut out);
        assert_eq!(out, b"a \\\"b\\\\ Set-Cookie: x");
    }
}
