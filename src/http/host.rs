//! The host a request names: `Host`, or the authority of an absolute-form target.
//!
//! What is allowed is what nginx 1.31 allows: a name of letters, digits, unreserved, sub-delim and
//! percent-encoded characters (RFC 3986, 3.2.2), or an IP literal in brackets, then at most one
//! port up to 65535. User information, spaces, slashes, control bytes and bytes above 0x7f are not.

use super::fault::HostFault;

/// A valid host, seen inside the bytes that were checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Length in bytes of the name at the front: no port, no final dot; an IP literal keeps its
    /// brackets. Never 0.
    pub name_len: usize,
    /// The port, 0 when none was given.
    pub port: u16,
    /// The name holds capitals, so it has to be lower-cased before it is compared.
    pub capitals: bool,
}

/// What a byte means in a host.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Nothing: the host is refused.
    Bad,
    /// Part of the name.
    Name,
    /// Part of the name, and has a lower-case form.
    Capital,
    /// `.`
    Dot,
    /// `:`
    Colon,
    /// `%`: part of a name but not of an IP literal.
    Percent,
}

/// The class of every byte.
const CLASS: [Class; 256] = {
    let mut table = [Class::Bad; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte as usize] = match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => Class::Name,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => Class::Name,
            b'A'..=b'Z' => Class::Capital,
            b'.' => Class::Dot,
            b':' => Class::Colon,
            b'%' => Class::Percent,
            _ => Class::Bad,
        };
        byte += 1u8;
    }
    table
};

/// Checks a host with an optional port.
///
/// # Errors
/// [`HostFault`] when it is empty, holds a byte no host has, two dots in a row, an IP literal
/// without its end, or a port that is no number up to 65535. `name:` (an empty port) is allowed.
pub fn check(bytes: &[u8]) -> Result<Host, HostFault> {
    let literal = bytes.first() == Some(&b'[');
    let mut capitals = false;
    let mut after_dot = false;
    let mut end = bytes.len();
    for (at, &byte) in bytes.iter().enumerate().skip(literal as usize) {
        match CLASS[byte as usize] {
            Class::Name => after_dot = false,
            Class::Capital => (capitals, after_dot) = (true, false),
            Class::Dot if after_dot => return Err(HostFault),
            Class::Dot => after_dot = true,
            Class::Percent if !literal => after_dot = false,
            Class::Colon if literal => after_dot = false,
            Class::Bad if literal && byte == b']' => {
                end = at;
                break;
            }
            Class::Colon => {
                end = at;
                break;
            }
            Class::Percent | Class::Bad => return Err(HostFault),
        }
    }
    let (name_len, rest) = if literal {
        // Past the bracket; without one `end` is the length and nothing is left to look at.
        let rest = bytes.get(end + 1..).ok_or(HostFault)?;
        (end + 1, rest)
    } else {
        (end - after_dot as usize, bytes.get(end..).unwrap_or_default())
    };
    if name_len == 0 {
        return Err(HostFault);
    }
    Ok(Host { name_len, port: port(rest)?, capitals })
}

/// Appends the name lower-cased: what `$host` is and what server names are compared with.
///
/// # Errors
/// As [`check`].
pub fn normalise(bytes: &[u8], out: &mut Vec<u8>) -> Result<Host, HostFault> {
    let host = check(bytes)?;
    let start = out.len();
    out.extend_from_slice(bytes.get(..host.name_len).unwrap_or_default());
    if let Some(name) = out.get_mut(start..).filter(|_| host.capitals) {
        name.make_ascii_lowercase();
    }
    Ok(host)
}

/// The number in `:8080`; 0 for nothing and for a bare colon.
fn port(rest: &[u8]) -> Result<u16, HostFault> {
    let Some((&first, digits)) = rest.split_first() else { return Ok(0) };
    if first != b':' {
        return Err(HostFault);
    }
    digits.iter().try_fold(0u16, |port, &digit| {
        let digit = digit.is_ascii_digit().then(|| u16::from(digit - b'0')).ok_or(HostFault)?;
        port.checked_mul(10).and_then(|p| p.checked_add(digit)).ok_or(HostFault)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> Option<(String, u16)> {
        let mut out = Vec::new();
        let host = normalise(text.as_bytes(), &mut out).ok()?;
        Some((String::from_utf8(out).unwrap(), host.port))
    }

    #[test]
    fn accepted() {
        for (text, want, port) in [
            ("l", "l", 0),
            ("L", "l", 0),
            ("abcd-ef.g02.xyz:", "abcd-ef.g02.xyz", 0),
            ("www.abcd-ef.g02.xyz:10", "www.abcd-ef.g02.xyz", 10),
            ("www.example.com.", "www.example.com", 0),
            ("example.com.:88", "example.com", 88),
            ("AbC.Ru:88", "abc.ru", 88),
            ("127.0.0.1:65535", "127.0.0.1", 65535),
            ("[::1]", "[::1]", 0),
            ("[FE80::1]:8080", "[fe80::1]", 8080),
            ("[::ffff:1.2.3.4]:", "[::ffff:1.2.3.4]", 0),
            ("[v1.a~b]", "[v1.a~b]", 0),
            (".example.com", ".example.com", 0),
            ("a_b", "a_b", 0),
            ("a%2eb", "a%2eb", 0),
            ("a!$&'()*+,;=~b", "a!$&'()*+,;=~b", 0),
            ("x:0", "x", 0),
            ("x:000080", "x", 80),
            ("[]", "[]", 0),
        ] {
            assert_eq!(name(text), Some((want.into(), port)), "{text}");
        }
    }

    #[test]
    fn refused() {
        for text in [
            "",
            ".",
            ":",
            ":80",
            ".:80",
            "a..b",
            "a b",
            "a/b",
            "a/",
            "u@h",
            "u:p@h",
            "a\tb",
            "a\0",
            "a\x02",
            "a\x7f",
            "a?b",
            "a#b",
            "a\\b",
            "a\"b",
            "a<b",
            "a[b",
            "a]",
            "{a}",
            "a|b",
            "a^b",
            "a`b",
            "é",
            "a:x",
            "a:80x",
            "a:-1",
            "a:+1",
            "a: 80",
            "a:65536",
            "a:99999",
            "a:123456",
            "a:80:80",
            "a.:1.2",
            "[::1",
            "[",
            "[::1]x",
            "[::1]]",
            "[::1]:x",
            "[::1]:99999",
            "[::1].",
            "[a..b]",
            "[::1%25eth0]",
            "[::1/]",
            "[[::1]]",
            "::1",
            "[a b]",
        ] {
            assert_eq!(name(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_normal_host_stays(text in "[\\[\\]:A-Za-z0-9.%-]{0,20}") {
            if let Some((first, _)) = name(&text) {
                prop_assert!(!first.is_empty() && !first.bytes().any(|b| b.is_ascii_uppercase()));
                prop_assert_eq!(name(&first), Some((first.clone(), 0)));
            }
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(host) = check(&bytes) {
                prop_assert!(host.name_len > 0 && host.name_len <= bytes.len());
            }
        }
    }
}
