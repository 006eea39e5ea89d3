//! Basic credentials (RFC 7617): a name and a password.

use crate::base::base64;

/// What stands before the credentials, in any case.
const SCHEME: &[u8] = b"Basic ";

/// Appends `name:password` out of an Authorization field and returns the length of the name. `None`,
/// with nothing appended, when it holds none: another scheme, bad Base64, no colon, an empty name.
pub fn push_credentials(field: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let (scheme, encoded) = field.split_at_checked(SCHEME.len())?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return None;
    }
    let spaces = encoded.iter().take_while(|&&byte| byte == b' ').count();
    let start = out.len();
    base64::decode(encoded.get(spaces..)?, out).then_some(())?;
    let name = out.get(start..)?.iter().position(|&byte| byte == b':').filter(|&name| name > 0);
    if name.is_none() {
        out.truncate(start);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_passwords() {
        let read = |field: &str| {
            let mut out = Vec::new();
            let name = push_credentials(field.as_bytes(), &mut out)?;
            let text = String::from_utf8_lossy(&out).into_owned();
            Some((text[..name].to_owned(), text[name + 1..].to_owned()))
        };
        let some = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
        // RFC 7617, 2.
        assert_eq!(read("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), some("Aladdin", "open sesame"));
        assert_eq!(read("bAsIc   YTpiOmM"), some("a", "b:c"));
        assert_eq!(read("Basic YTo="), some("a", ""));
        for none in ["", "Basic", "Basic ", "Bearer YTpi", "Basic OnBhc3M=", "Basic YWJj", "Basic YTpi!"] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
