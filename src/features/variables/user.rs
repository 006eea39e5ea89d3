//! `$remote_user`: the name in Basic credentials (RFC 7617).

use crate::http::Known;
use crate::http::basic;
use crate::pipeline::exchange::Exchange;

/// Whether or not the password was checked.
pub(super) fn remote_user(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    match x.head.fields.find(Known::Authorization) {
        Some(field) => push_user(field.value.of(x.input.filled()), out),
        None => false,
    }
}

/// Appends the user name of an Authorization field; false, with nothing appended, when it holds none.
fn push_user(field: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    match basic::push_credentials(field, out) {
        Some(name) => {
            out.truncate(start + name);
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(field: &str) -> Option<String> {
        let mut out = b"-".to_vec();
        let found = push_user(field.as_bytes(), &mut out);
        let name = String::from_utf8_lossy(&out[1..]).into_owned();
        assert!(found || name.is_empty());
        found.then_some(name)
    }

    #[test]
    fn names() {
        // RFC 7617, 2.
        assert_eq!(user("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==").as_deref(), Some("Aladdin"));
        assert_eq!(user("bAsIc   dGVzdDoxMjPCow==").as_deref(), Some("test"));
        assert_eq!(user("Basic YTpiOmM").as_deref(), Some("a"));
        assert_eq!(user("Basic YTo=").as_deref(), Some("a"));
    }

    #[test]
    fn what_is_no_name() {
        for field in [
            "",
            "Basic",
            "Basic ",
            "Basic    ",
            "Bearer QWxhZGRpbjpvcGVu", // another scheme, or none
            "Basic OnBhc3M=",          // :pass
            "Basic YWJj",              // abc
            "Basic YTpi!",             // no Base64
            "Basic YTpiY",             // a digit too many
            "Basic YTpi YTpi",         // a space in it
        ] {
            assert_eq!(user(field), None, "{field}");
        }
    }
}
