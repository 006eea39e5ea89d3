//! What a client offers in its hello, as numbers (RFC 8446, 4.1.2), and the names that OpenSSL has for
//! them. What has none is written in hexadecimal, as nginx does.

use rustls::server::ClientHello;
use std::fmt::Write;

/// What a client offered.
#[derive(Debug, Default)]
pub struct Offered {
    suites: Box<[u16]>,
    groups: Box<[u16]>,
    schemes: Box<[u16]>,
}

impl Offered {
    /// What this hello offers.
    pub fn read(hello: &ClientHello<'_>) -> Offered {
        Offered {
            suites: hello.cipher_suites().iter().map(|suite| u16::from(*suite)).collect(),
            groups: hello.named_groups().unwrap_or_default().iter().map(|group| u16::from(*group)).collect(),
            schemes: hello.signature_schemes().iter().map(|scheme| u16::from(*scheme)).collect(),
        }
    }

    /// Appends the suites, with colons between.
    pub fn push_suites(&self, out: &mut Vec<u8>) {
        push(&self.suites, SUITES, out);
    }

    /// Appends the groups, with colons between.
    pub fn push_groups(&self, out: &mut Vec<u8>) {
        push(&self.groups, GROUPS, out);
    }

    /// Appends the schemes of signatures, with colons between; they have no names, as in nginx.
    pub fn push_schemes(&self, out: &mut Vec<u8>) {
        push(&self.schemes, &[], out);
    }
}

fn push(numbers: &[u16], names: &[(u16, &str)], out: &mut Vec<u8>) {
    let mut text = String::new();
    for number in numbers {
        if !text.is_empty() {
            text.push(':');
        }
        match names.iter().find(|(known, _)| known == number) {
            Some((_, name)) => text.push_str(name),
            // Writing to a String cannot fail.
            None => drop(write!(text, "0x{number:04x}")),
        }
    }
    out.extend_from_slice(text.as_bytes());
}

/// OpenSSL's names of suites (openssl-ciphers(1)).
const SUITES: &[(u16, &str)] = &[
    (0x1301, "TLS_AES_128_GCM_SHA256"),
    (0x1302, "TLS_AES_256_GCM_SHA384"),
    (0x1303, "TLS_CHACHA20_POLY1305_SHA256"),
    (0x1304, "TLS_AES_128_CCM_SHA256"),
    (0x1305, "TLS_AES_128_CCM_8_SHA256"),
    (0xc02b, "ECDHE-ECDSA-AES128-GCM-SHA256"),
    (0xc02c, "ECDHE-ECDSA-AES256-GCM-SHA384"),
    (0xc02f, "ECDHE-RSA-AES128-GCM-SHA256"),
    (0xc030, "ECDHE-RSA-AES256-GCM-SHA384"),
    (0xcca8, "ECDHE-RSA-CHACHA20-POLY1305"),
    (0xcca9, "ECDHE-ECDSA-CHACHA20-POLY1305"),
    (0xccaa, "DHE-RSA-CHACHA20-POLY1305"),
    (0xc009, "ECDHE-ECDSA-AES128-SHA"),
    (0xc00a, "ECDHE-ECDSA-AES256-SHA"),
    (0xc013, "ECDHE-RSA-AES128-SHA"),
    (0xc014, "ECDHE-RSA-AES256-SHA"),
    (0xc023, "ECDHE-ECDSA-AES128-SHA256"),
    (0xc024, "ECDHE-ECDSA-AES256-SHA384"),
    (0xc027, "ECDHE-RSA-AES128-SHA256"),
    (0xc028, "ECDHE-RSA-AES256-SHA384"),
    (0xc0ac, "ECDHE-ECDSA-AES128-CCM"),
    (0xc0ad, "ECDHE-ECDSA-AES256-CCM"),
    (0xc0ae, "ECDHE-ECDSA-AES128-CCM8"),
    (0xc0af, "ECDHE-ECDSA-AES256-CCM8"),
    (0x0033, "DHE-RSA-AES128-SHA"),
    (0x0039, "DHE-RSA-AES256-SHA"),
    (0x0067, "DHE-RSA-AES128-SHA256"),
    (0x006b, "DHE-RSA-AES256-SHA256"),
    (0x009e, "DHE-RSA-AES128-GCM-SHA256"),
    (0x009f, "DHE-RSA-AES256-GCM-SHA384"),
    (0x002f, "AES128-SHA"),
    (0x0035, "AES256-SHA"),
    (0x003c, "AES128-SHA256"),
    (0x003d, "AES256-SHA256"),
    (0x009c, "AES128-GCM-SHA256"),
    (0x009d, "AES256-GCM-SHA384"),
    (0x00ff, "TLS_EMPTY_RENEGOTIATION_INFO_SCSV"),
    (0x5600, "TLS_FALLBACK_SCSV"),
];

/// OpenSSL's names of groups.
const GROUPS: &[(u16, &str)] = &[
    (21, "secp224r1"),
    (22, "secp256k1"),
    (23, "prime256v1"),
    (24, "secp384r1"),
    (25, "secp521r1"),
    (26, "brainpoolP256r1"),
    (27, "brainpoolP384r1"),
    (28, "brainpoolP512r1"),
    (29, "X25519"),
    (30, "X448"),
    (256, "ffdhe2048"),
    (257, "ffdhe3072"),
    (258, "ffdhe4096"),
    (259, "ffdhe6144"),
    (260, "ffdhe8192"),
    (512, "MLKEM512"),
    (513, "MLKEM768"),
    (514, "MLKEM1024"),
    (4587, "SecP256r1MLKEM768"),
    (4588, "X25519MLKEM768"),
    (4589, "SecP384r1MLKEM1024"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let mut out = Vec::new();
        push(&[0x1302, 0x1a1a, 0x00ff], SUITES, &mut out);
        out.push(b' ');
        push(&[29, 0x2a2a], GROUPS, &mut out);
        out.push(b' ');
        push(&[0x0403], &[], &mut out);
        let want = "TLS_AES_256_GCM_SHA384:0x1a1a:TLS_EMPTY_RENEGOTIATION_INFO_SCSV X25519:0x2a2a 0x0403";
        assert_eq!(String::from_utf8_lossy(&out), want);
    }
}
