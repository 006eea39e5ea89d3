//! A token (JWT, RFC 7519) whose signature was found right: what it says.

use crate::base::json::Json;

/// What a token says. Whether that still holds is asked for each request.
#[derive(Debug)]
pub struct Token {
    /// Its header.
    pub header: Json,
    /// Its claims.
    pub claims: Json,
    /// The claims as they were signed.
    pub payload: Box<[u8]>,
}

impl Token {
    /// The value of a claim, by its names from the outside in.
    pub fn claim<'t, N: AsRef<str>>(&'t self, path: &[N]) -> Option<&'t Json> {
        find(&self.claims, path)
    }

    /// The value of a field of the header.
    pub fn header_field<'t, N: AsRef<str>>(&'t self, path: &[N]) -> Option<&'t Json> {
        find(&self.header, path)
    }

    /// The scopes: `scope`, separated by spaces (RFC 8693, 4.2), or `scp`, which some issuers write.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        let said = ["scope", "scp"].into_iter().filter_map(|name| self.claims.member(name));
        said.flat_map(Json::strings).flat_map(|text| text.split(' ')).filter(|scope| !scope.is_empty())
    }
}

fn find<'j, N: AsRef<str>>(json: &'j Json, path: &[N]) -> Option<&'j Json> {
    path.iter().try_fold(json, |json, name| json.member(name.as_ref()))
}

/// Appends a value as a variable shows it: strings without quotes, arrays as a list with commas.
pub fn push_value(value: &Json, out: &mut Vec<u8>) {
    match value {
        Json::String(text) => out.extend_from_slice(text.as_bytes()),
        Json::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                push_value(value, out);
            }
        }
        Json::Object(_) => value.write(out),
        plain => plain.write(out),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn claims_by_their_paths() {
        let claims = br#"{"realm_access":{"roles":["a","b"]},"scope":"x y  z","scp":["w"],"n":1,"t":true}"#;
        let token = Token {
            header: Json::parse(b"{}").unwrap(),
            claims: Json::parse(claims).unwrap(),
            payload: claims[..].into(),
        };
        let shown = |path: &[&str]| {
            let mut out = Vec::new();
            push_value(token.claim(path)?, &mut out);
            String::from_utf8(out).ok()
        };
        assert_eq!(shown(&["realm_access", "roles"]).as_deref(), Some("a,b"));
        assert_eq!(shown(&["realm_access"]).as_deref(), Some("{\"roles\":[\"a\",\"b\"]}"));
        assert_eq!((shown(&["n"]).as_deref(), shown(&["t"]).as_deref()), (Some("1"), Some("true")));
        assert_eq!((shown(&["roles"]), shown(&["n", "x"])), (None, None));
        assert_eq!(token.scopes().collect::<Vec<_>>(), ["x", "y", "z", "w"]);
    }
}
