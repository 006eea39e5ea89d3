//! OpenSSL's names and strings of cipher suites, and its names of groups, as what rustls has
//! (openssl-ciphers(1)). What rustls has of TLS 1.2 is ECDHE with AES-GCM or ChaCha20; a string that
//! names others too chooses what is left of it.

use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::{CipherSuite, SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion};

/// The suites of TLS 1.3, in the order of preference; `ssl_ciphers` says nothing of them.
pub const TLS13: &[SupportedCipherSuite] = &[
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS13_AES_128_GCM_SHA256,
];

/// The suites of TLS 1.2, in OpenSSL's order, with their names there.
const TLS12: &[(&str, SupportedCipherSuite)] = &[
    ("ECDHE-ECDSA-AES256-GCM-SHA384", cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-RSA-AES256-GCM-SHA384", cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-RSA-CHACHA20-POLY1305", cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-ECDSA-AES128-GCM-SHA256", cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-RSA-AES128-GCM-SHA256", cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
];

/// Words that are in every suite there is.
const IN_ALL: &[&str] = &[
    "ALL",
    "DEFAULT",
    "COMPLEMENTOFDEFAULT",
    "HIGH",
    "EECDH",
    "kEECDH",
    "ECDHE",
    "kECDHE",
    "TLSv1.2",
    "AEAD",
];

/// Words for what none of the suites has.
const IN_NONE: &[&str] = &[
    "COMPLEMENTOFALL",
    "MEDIUM",
    "LOW",
    "EXP",
    "EXPORT",
    "EXPORT40",
    "EXPORT56",
    "eNULL",
    "NULL",
    "aNULL",
    "ADH",
    "AECDH",
    "kRSA",
    "kDHE",
    "kEDH",
    "DH",
    "DHE",
    "EDH",
    "kDHr",
    "kDHd",
    "kDH",
    "aDSS",
    "DSS",
    "aDH",
    "kECDHr",
    "kECDHe",
    "kECDH",
    "aECDH",
    "SSLv2",
    "SSLv3",
    "TLSv1",
    "TLSv1.0",
    "AESCCM",
    "AESCCM8",
    "ARIA",
    "ARIAGCM",
    "ARIA128",
    "ARIA256",
    "CAMELLIA",
    "CAMELLIA128",
    "CAMELLIA256",
    "3DES",
    "DES",
    "RC4",
    "RC2",
    "IDEA",
    "SEED",
    "MD5",
    "SHA1",
    "SHA",
    "CBC",
    "PSK",
    "kPSK",
    "kECDHEPSK",
    "kDHEPSK",
    "kRSAPSK",
    "aPSK",
    "SRP",
    "kSRP",
    "aSRP",
    "KRB5",
    "kKRB5",
    "aKRB5",
    "GOST94",
    "GOST89MAC",
    "aGOST",
    "aGOST01",
    "kGOST",
    "CBC3",
    "kFZA",
    "aFZA",
    "eFZA",
    "FZA",
    "SUITEB192",
    "ECCdraft",
];

/// What the names of suites are put together from, between their hyphens.
const PARTS: &[&str] = &[
    "ECDHE",
    "DHE",
    "EDH",
    "ECDH",
    "DH",
    "RSA",
    "ECDSA",
    "DSS",
    "PSK",
    "SRP",
    "ADH",
    "AECDH",
    "KRB5",
    "AES",
    "AES128",
    "AES256",
    "CAMELLIA128",
    "CAMELLIA256",
    "ARIA128",
    "ARIA256",
    "GCM",
    "CBC",
    "CBC3",
    "CCM",
    "CCM8",
    "SHA",
    "SHA256",
    "SHA384",
    "MD5",
    "DES",
    "RC4",
    "RC2",
    "SEED",
    "IDEA",
    "CHACHA20",
    "POLY1305",
    "NULL",
    "EXP",
    "EXP1024",
    "DES56",
    "3DES",
    "EDE",
    "ANON",
];

/// What rustls is to use: of TLS 1.2 and TLS 1.3 those that are spoken, of the former these suites, and
/// these groups. With it go the versions.
pub fn provider(
    (tls12, tls13): (bool, bool),
    suites: &[SupportedCipherSuite],
    groups: Vec<&'static dyn SupportedKxGroup>,
) -> (CryptoProvider, Vec<&'static SupportedProtocolVersion>) {
    let mut versions = Vec::new();
    let mut cipher_suites = Vec::new();
    if tls13 {
        versions.push(&rustls::version::TLS13);
        cipher_suites.extend_from_slice(TLS13);
    }
    if tls12 {
        versions.push(&rustls::version::TLS12);
        cipher_suites.extend_from_slice(suites);
    }
    (CryptoProvider { cipher_suites, kx_groups: groups, ..aws_lc_rs::default_provider() }, versions)
}

/// OpenSSL's name of a suite; empty for one that is not here.
pub fn name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        _ => TLS12.iter().find(|(_, known)| known.suite() == suite).map_or("", |(name, _)| name),
    }
}

/// The suites of TLS 1.2 that a string of `ssl_ciphers` chooses, in its order.
///
/// # Errors
/// The word that is unknown, or the empty one when nothing is left.
pub fn chosen(string: &str) -> Result<Vec<SupportedCipherSuite>, &str> {
    let mut active: Vec<usize> = Vec::new();
    let mut killed = [false; TLS12.len()];
    for element in string.split([':', ',', ';', ' ']).filter(|element| !element.is_empty()) {
        if element == "@STRENGTH" {
            // By the length of the key: 256 bits before 128, which sort() leaves in order otherwise.
            active.sort_by_key(|at| TLS12[*at].0.contains("AES128"));
            continue;
        }
        if let Some(level) = element.strip_prefix("@SECLEVEL=") {
            // Everything here passes all of them but for the keys, which no level of rustls lets be weak.
            match level.parse::<u8>() {
                Ok(0..=5) => continue,
                _ => return Err(element),
            }
        }
        let (order, words) = match element.split_at_checked(1) {
            Some((order @ ("!" | "-" | "+"), words)) => (order, words),
            _ => ("", element),
        };
        let found = matching(words).ok_or(element)?;
        match order {
            "!" => {
                found.iter().for_each(|at| killed[*at] = true);
                active.retain(|at| !found.contains(at));
            }
            "-" => active.retain(|at| !found.contains(at)),
            "+" => {
                let (moved, kept): (Vec<_>, Vec<_>) = active.iter().partition(|at| found.contains(at));
                active = [kept, moved].concat();
            }
            _ => {
                let new = found.into_iter().filter(|at| !killed[*at] && !active.contains(at));
                active.extend(new.collect::<Vec<_>>());
            }
        }
    }
    match active.is_empty() {
        true => Err(""),
        false => Ok(active.into_iter().map(|at| TLS12[at].1).collect()),
    }
}

/// The places of the suites that have all of these words, joined by `+`; `None` when one is unknown.
fn matching(words: &str) -> Option<Vec<usize>> {
    let mut found: Vec<usize> = (0..TLS12.len()).collect();
    for word in words.split('+') {
        let has = word_of(word)?;
        found.retain(|at| has(TLS12[*at].0, word));
    }
    Some(found)
}

/// Whether a suite, by its name, has what a word means; `None` for an unknown word.
fn word_of(word: &str) -> Option<fn(&str, &str) -> bool> {
    Some(match word {
        _ if IN_ALL.contains(&word) => |_, _| true,
        _ if IN_NONE.contains(&word) => |_, _| false,
        "aRSA" | "RSA" => |name, word| name.contains("-RSA-") && word == "aRSA",
        "aECDSA" | "ECDSA" => |name, _| name.contains("-ECDSA-"),
        "AESGCM" => |name, _| name.contains("-GCM-"),
        "AES" => |name, _| name.contains("-AES"),
        "AES128" => |name, _| name.contains("-AES128-"),
        "AES256" => |name, _| name.contains("-AES256-"),
        "CHACHA20" => |name, _| name.contains("-CHACHA20-"),
        // OpenSSL means the MAC by these two, which AEAD suites do not have.
        "SHA256" | "SHA384" => |_, _| false,
        "SUITEB128" | "SUITEB128ONLY" => |name, _| name == "ECDHE-ECDSA-AES128-GCM-SHA256",
        _ if TLS12.iter().any(|(name, _)| *name == word) => |name, word| name == word,
        _ if word.contains('-') && word.split('-').all(|part| PARTS.contains(&part)) => |_, _| false,
        // The suites of TLS 1.3 are not chosen by such strings, and do no harm in them.
        "TLS_AES_256_GCM_SHA384" | "TLS_AES_128_GCM_SHA256" | "TLS_CHACHA20_POLY1305_SHA256" => |_, _| false,
        _ => return None,
    })
}

/// The suites of TLS 1.2 of the default, in OpenSSL's order.
pub fn default_suites() -> Vec<SupportedCipherSuite> {
    TLS12.iter().map(|(_, suite)| *suite).collect()
}

/// The groups of the default, in the order of preference.
pub fn default_groups() -> Vec<&'static dyn SupportedKxGroup> {
    vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1]
}

/// The groups that a value of `ssl_ecdh_curve` names, in its order.
///
/// # Errors
/// The name that is unknown, or of a group that rustls has not.
pub fn groups(list: &str) -> Result<Vec<&'static dyn SupportedKxGroup>, &str> {
    if list == "auto" {
        return Ok(default_groups());
    }
    list.split(':').map(|name| group(name).ok_or(name)).collect()
}

fn group(name: &str) -> Option<&'static dyn SupportedKxGroup> {
    Some(match name.to_ascii_lowercase().as_str() {
        "x25519" => kx_group::X25519,
        "prime256v1" | "secp256r1" | "p-256" => kx_group::SECP256R1,
        "secp384r1" | "p-384" => kx_group::SECP384R1,
        "x25519mlkem768" => kx_group::X25519MLKEM768,
        "secp256r1mlkem768" => kx_group::SECP256R1MLKEM768,
        "mlkem768" => kx_group::MLKEM768,
        "mlkem1024" => kx_group::MLKEM1024,
        _ => return None,
    })
}

/// The name of a scheme of signatures (RFC 8446, 4.2.3), as OpenSSL has it.
pub fn scheme(scheme: SignatureScheme) -> &'static str {
    match scheme {
        SignatureScheme::RSA_PKCS1_SHA256 => "rsa_pkcs1_sha256",
        SignatureScheme::RSA_PKCS1_SHA384 => "rsa_pkcs1_sha384",
        SignatureScheme::RSA_PKCS1_SHA512 => "rsa_pkcs1_sha512",
        SignatureScheme::RSA_PSS_SHA256 => "rsa_pss_rsae_sha256",
        SignatureScheme::RSA_PSS_SHA384 => "rsa_pss_rsae_sha384",
        SignatureScheme::RSA_PSS_SHA512 => "rsa_pss_rsae_sha512",
        SignatureScheme::ECDSA_NISTP256_SHA256 => "ecdsa_secp256r1_sha256",
        SignatureScheme::ECDSA_NISTP384_SHA384 => "ecdsa_secp384r1_sha384",
        SignatureScheme::ECDSA_NISTP521_SHA512 => "ecdsa_secp521r1_sha512",
        SignatureScheme::ED25519 => "ed25519",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(string: &str) -> Result<Vec<&'static str>, &str> {
        chosen(string).map(|suites| suites.iter().map(|suite| name(suite.suite())).collect())
    }

    #[test]
    fn strings_choose_and_order() {
        let all: Vec<_> = TLS12.iter().map(|(name, _)| *name).collect();
        assert_eq!(names("HIGH:!aNULL:!MD5"), Ok(all.clone()));
        assert_eq!(names("DEFAULT"), Ok(all.clone()));
        assert_eq!(names("ECDHE-RSA-AES128-GCM-SHA256"), Ok(vec!["ECDHE-RSA-AES128-GCM-SHA256"]));
        assert_eq!(
            names("EECDH+CHACHA20:EECDH+AES128:RSA+AES128:EECDH+AES256:!MD5:!ECDSA"),
            Ok(vec![
                "ECDHE-RSA-CHACHA20-POLY1305",
                "ECDHE-RSA-AES128-GCM-SHA256",
                "ECDHE-RSA-AES256-GCM-SHA384"
            ])
        );
        assert_eq!(
            names("ALL:-aRSA:+CHACHA20:AES128+aRSA @STRENGTH").map(|names| names[..2].to_vec()),
            Ok(vec!["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"])
        );
        // Mozilla's list: what is not here drops out.
        assert_eq!(
            names(
                "ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-SHA256:DES-CBC3-SHA"
            ),
            Ok(vec!["ECDHE-RSA-AES128-GCM-SHA256"])
        );
        assert_eq!(names("!aRSA:ALL").map(|names| names.len()), Ok(3));
    }

    #[test]
    fn what_is_unknown_or_leaves_nothing_is_refused() {
        for string in ["", "aNULL", "ALL:!ALL", "AES128-SHA:DHE-RSA-AES256-SHA", "RSA+AESGCM"] {
            assert_eq!(names(string), Err(""), "{string}");
        }
        assert_eq!(names("HIGH:!nonsense"), Err("!nonsense"));
        assert_eq!(names("HIGH:@SECLEVEL=9"), Err("@SECLEVEL=9"));
        assert_eq!(names("ECDHE-XYZ"), Err("ECDHE-XYZ"));
    }

    #[test]
    fn groups_by_openssls_names() {
        let names = |list| groups(list).map(|found| found.iter().map(|g| g.name()).collect::<Vec<_>>());
        assert_eq!(names("X25519:prime256v1").map(|found| found.len()), Ok(2));
        assert_eq!(names("auto").map(|found| found.len()), Ok(4));
        assert_eq!(names("secp521r1"), Err("secp521r1"));
    }
}
