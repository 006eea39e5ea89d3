//! Whether a certificate is for a host (RFC 6125, 6.4; X509_check_host(3), as nginx asks it): the names
//! for DNS count, and the common names where there are none.

use super::{ATTRIBUTES, Certificate, SEQUENCE, expect, next, parts, text};

/// The identifier of subjectAltName (RFC 5280, 4.2.1.6).
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 29, 17];

/// The tag of a name for DNS among them.
const DNS_NAME: u8 = 0x82;

impl Certificate<'_> {
    /// Whether it is for this host. An address is a name as any other, as it is for nginx.
    pub fn is_for_host(&self, host: &[u8]) -> bool {
        let sequence = self.extension(ALTERNATIVE_NAMES).and_then(|mut value| expect(&mut value, SEQUENCE));
        let mut names = sequence.map_or(&[][..], |(_, _, names)| names);
        let mut has_names = false;
        while let Some((tag, _, name)) = next(&mut names) {
            if tag == DNS_NAME {
                has_names = true;
                if matches(name, host) {
                    return true;
                }
            }
        }
        let is_common =
            |attribute: &[u8]| ATTRIBUTES.iter().any(|(known, name)| *name == "CN" && *known == attribute);
        let common = parts(self.subject).into_iter().filter(|(attribute, _)| is_common(attribute));
        !has_names && common.into_iter().any(|(_, value)| matches(&text(value), host))
    }
}

/// Whether a name of a certificate, which may begin with a wildcard, is that of the host.
fn matches(name: &[u8], host: &[u8]) -> bool {
    if host.is_empty() || name.contains(&0) {
        return false;
    }
    match wildcard(name) {
        Some((before, behind)) if !host.starts_with(b".") => is_covered(before, behind, host),
        _ => name.eq_ignore_ascii_case(host),
    }
}

/// What stands before and behind the star of a name: it has one, at the beginning or the end of its first
/// label, and at least two labels follow.
fn wildcard(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let star = name.iter().position(|byte| *byte == b'*')?;
    let (before, behind) = (name.get(..star)?, name.get(star + 1..)?);
    let dot = name.iter().position(|byte| *byte == b'.').filter(|dot| *dot > star)?;
    let (first, rest) = name.split_at_checked(dot)?;
    let at_an_end = before.is_empty() || behind.starts_with(b".");
    let labels = rest.get(1..)?.split(|byte| *byte == b'.');
    let (mut count, mut are_labels) = (0, true);
    for label in labels {
        count += 1;
        are_labels &= !label.is_empty()
            && label.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
            && !label.starts_with(b"-")
            && !label.ends_with(b"-");
    }
    // A part of an internationalised label is no part of what it stands for.
    let is_encoded = is_encoded(first) && first.len() > 1;
    (at_an_end && are_labels && count >= 2 && !is_encoded).then_some((before, behind))
}

/// Whether the star between these two stands for what the host has there: a part of one label, and not
/// nothing where it is the whole of it.
fn is_covered(before: &[u8], behind: &[u8], host: &[u8]) -> bool {
    let Some(rest) = host.len().checked_sub(behind.len()) else { return false };
    let (Some(head), Some(tail)) = (host.get(..before.len()), host.get(rest..)) else { return false };
    let Some(covered) = host.get(before.len()..rest) else { return false };
    let is_whole = before.is_empty() && behind.starts_with(b".");
    head.eq_ignore_ascii_case(before)
        && tail.eq_ignore_ascii_case(behind)
        && (!is_whole || !covered.is_empty())
        && (is_whole || !is_encoded(host))
        && covered.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

/// Whether a label is an internationalised one (RFC 5890, 2.3.2.1).
fn is_encoded(label: &[u8]) -> bool {
    label.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"xn--"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_and_wildcards() {
        for (name, host, want) in [
            ("a.example.com", "A.example.COM", true),
            ("a.example.com", "b.example.com", false),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "a.b.example.com", false),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("*.com", "example.com", false),
            ("a*.example.com", "abc.example.com", true),
            ("*a.example.com", "bca.example.com", true),
            ("a*.example.com", "a.example.com", true),
            ("a*b.example.com", "axb.example.com", false),
            ("a*.example.com", "xn--abc.example.com", false),
            ("xn--*.example.com", "xn--abc.example.com", false),
            ("*.*.example.com", "a.b.example.com", false),
            ("b.*.example.com", "b.a.example.com", false),
            ("*.example.com", "x_y.example.com", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("", "", false),
        ] {
            assert_eq!(matches(name.as_bytes(), host.as_bytes()), want, "{name} {host}");
        }
        assert!(!matches(b"a.example\0.evil", b"a.example"));
    }

    #[test]
    fn names_of_a_certificate() {
        let certificate = |names: &[&str], common: &str| {
            let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            let mut params = rcgen::CertificateParams::new(names).unwrap();
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(rcgen::DnType::CommonName, common);
            params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap()
        };
        let is_for = |made: &rcgen::Certificate, host: &str| {
            Certificate::read(made.der()).unwrap().is_for_host(host.as_bytes())
        };
        let named = certificate(&["example.com", "*.example.com"], "other.example");
        assert!(is_for(&named, "example.com") && is_for(&named, "x.example.com"));
        assert!(!is_for(&named, "other.example"));
        let common = certificate(&[], "other.example");
        assert!(is_for(&common, "other.example") && !is_for(&common, "example.com"));
        // A name that is an address does not hide the common name.
        let address = certificate(&["127.0.0.1"], "other.example");
        assert!(is_for(&address, "other.example") && !is_for(&address, "127.0.0.1"));
    }
}
