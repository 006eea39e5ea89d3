//! Passwords against what a password file holds for them: the schemes of crypt(3) that password files
//! have, Apache's, and those of RFC 2307. As in nginx, a password is right if hashing it with the
//! stored text as the setting gives that text.

mod des;
mod md5;

use crate::base::base64;
use sha_crypt::Params;
use sha1::{Digest, Sha1};

/// What the text in a password file says to a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the one.
    Right,
    /// It is another one.
    Wrong,
    /// Passwords cannot be checked against this kind of text.
    Unknown,
}

/// The digits of crypt(3), each six bits.
const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Those of bcrypt.
const BCRYPT_DIGITS: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Bytes of a password that crypt(3) takes, at most (libxcrypt's CRYPT_MAX_PASSPHRASE_SIZE): the work of
/// its SHA schemes grows with the square.
const PASSWORD_BYTES_MAX: usize = 511;

/// Bytes of a salt in its schemes of SHA.
const SHA_SALT_MAX: usize = 16;

/// Checks a password. It may take as long as whoever made the stored text chose.
pub(super) fn check(password: &[u8], stored: &[u8]) -> Verdict {
    // In C a string ends at the first zero.
    let password = password.split(|&byte| byte == 0).next().unwrap_or_default();
    let hashed = if let Some(text) = stored.strip_prefix(b"{PLAIN}") {
        return verdict(password, text);
    } else if stored.starts_with(b"{SHA}") {
        Some(sha1(b"{SHA}", password, b""))
    } else if let Some(text) = stored.strip_prefix(b"{SSHA}") {
        Some(salted_sha1(password, text))
    } else if stored.starts_with(b"$apr1$") {
        Some(md5::hash(b"$apr1$", password, stored))
    } else if password.len() > PASSWORD_BYTES_MAX {
        None
    } else if stored.starts_with(b"$1$") {
        Some(md5::hash(b"$1$", password, stored))
    } else if let Some(rest) = stored.strip_prefix(b"$5$") {
        sha_crypt(b"$5$", password, rest)
    } else if let Some(rest) = stored.strip_prefix(b"$6$") {
        sha_crypt(b"$6$", password, rest)
    } else if stored.starts_with(b"$2a$") || stored.starts_with(b"$2b$") || stored.starts_with(b"$2y$") {
        bcrypt(password, stored)
    } else if stored.starts_with(b"$") || stored.starts_with(b"_") {
        return Verdict::Unknown;
    } else {
        des::hash(password, stored)
    };
    hashed.map_or(Verdict::Wrong, |hashed| verdict(&hashed, stored))
}

/// Compares in a time that does not tell where the difference is.
fn verdict(hashed: &[u8], stored: &[u8]) -> Verdict {
    let differences = hashed.iter().zip(stored).fold(0, |all, (a, b)| all | (a ^ b));
    if hashed.len() == stored.len() && std::hint::black_box(differences) == 0 {
        Verdict::Right
    } else {
        Verdict::Wrong
    }
}

fn sha1(scheme: &[u8], password: &[u8], salt: &[u8]) -> Vec<u8> {
    let mut digest = Sha1::new().chain_update(password).chain_update(salt).finalize().to_vec();
    digest.extend_from_slice(salt);
    let mut out = scheme.to_vec();
    base64::encode(&digest, &mut out);
    out
}

/// `{SSHA}`: the salt stands behind the 20 bytes of the digest.
fn salted_sha1(password: &[u8], text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    base64::decode(text, &mut decoded);
    sha1(b"{SSHA}", password, decoded.get(20..).unwrap_or_default())
}

/// `$5$` and `$6$`, by Ulrich Drepper's "Unix crypt using SHA-256 and SHA-512".
fn sha_crypt(scheme: &[u8], password: &[u8], rest: &[u8]) -> Option<Vec<u8>> {
    let mut out = scheme.to_vec();
    let mut params = Params::default();
    let mut rest = rest;
    if let Some(text) = rest.strip_prefix(b"rounds=") {
        let end = text.iter().position(|&byte| byte == b'$')?;
        let rounds: u32 = std::str::from_utf8(text.get(..end)?).ok()?.parse().ok()?;
        params = Params::new(rounds).ok()?;
        out.extend_from_slice(format!("rounds={rounds}$").as_bytes());
        rest = text.get(end + 1..)?;
    }
    let salt = rest.split(|&byte| byte == b'$').next()?;
    let salt = salt.get(..SHA_SALT_MAX).unwrap_or(salt);
    out.extend_from_slice(salt);
    out.push(b'$');
    if scheme == b"$5$" {
        let digest = sha_crypt::sha256_crypt(password, salt, params);
        // Each three bytes make four digits; the first of the three goes round by ten.
        for i in 0..10_usize {
            let at = [(i * 21) % 30, (i * 21 + 10) % 30, (i * 21 + 20) % 30];
            push_digits(&mut out, &at.map(|at| digest[at]), 4);
        }
        push_digits(&mut out, &[digest[31], digest[30]], 3);
    } else {
        let digest = sha_crypt::sha512_crypt(password, salt, params);
        for i in 0..21_usize {
            let at = [(i * 22) % 63, (i * 22 + 21) % 63, (i * 22 + 42) % 63];
            push_digits(&mut out, &at.map(|at| digest[at]), 4);
        }
        push_digits(&mut out, &[digest[63]], 2);
    }
    Some(out)
}

/// Appends `count` digits of a number whose bytes are these, the lowest six bits first.
fn push_digits(out: &mut Vec<u8>, bytes: &[u8], count: u32) {
    let number = bytes.iter().fold(0_u32, |number, &byte| number << 8 | u32::from(byte));
    out.extend((0..count).map(|place| DIGITS[(number >> (6 * place) & 63) as usize]));
}

/// `$2a$`, `$2b$`, `$2y$`: two digits of cost, 22 digits of salt.
fn bcrypt(password: &[u8], stored: &[u8]) -> Option<Vec<u8>> {
    /// What of a password bcrypt uses, the zero at its end included.
    const USED: usize = 72;
    let cost: u32 = std::str::from_utf8(stored.get(4..6)?).ok()?.parse().ok()?;
    if !(4..=31).contains(&cost) || stored.get(6) != Some(&b'$') {
        return None;
    }
    let salt: [u8; 16] = unpack(stored.get(7..29)?)?.get(..16)?.try_into().ok()?;
    let mut key = password.to_vec();
    key.push(0);
    key.truncate(USED);
    let digest = bcrypt::bcrypt(cost, salt, &key);
    let mut out = stored.get(..7)?.to_vec();
    pack(&salt, &mut out);
    // The last byte is not shown.
    pack(digest.get(..23)?, &mut out);
    Some(out)
}

/// Appends bytes in bcrypt's digits, the highest bits first and without padding.
fn pack(bytes: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut held) = (0_u32, 0);
    for &byte in bytes {
        bits = bits << 8 | u32::from(byte);
        held += 8;
        while held >= 6 {
            held -= 6;
            out.push(BCRYPT_DIGITS[(bits >> held & 63) as usize]);
        }
    }
    if held > 0 {
        out.push(BCRYPT_DIGITS[(bits << (6 - held) & 63) as usize]);
    }
}

fn unpack(digits: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut bits, mut held) = (0_u32, 0);
    for digit in digits {
        bits = bits << 6 | BCRYPT_DIGITS.iter().position(|known| known == digit)? as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What other programs made: crypt(3), htpasswd and openssl passwd.
    const STORED: &[(&str, &str)] = &[
        ("secret", "{PLAIN}secret"),
        ("", "{PLAIN}"),
        ("test", "{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M="),
        ("secret", "abNANd1rDfiNc"),
        ("rasmuslerdorf", "rl.3StKT.4T8M"),
        ("p\u{e4}sswort lang genug", "./8N.cE7s2K8o"),
        ("secret", "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1"),
        ("secret", "$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/"),
        ("a longer password than sixteen", "$apr1$ab$Og87Wzt5wgKjRUrahxI6N."),
        ("secret", "$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA"),
        (
            "secret",
            "$6$rounds=1500$saltsalt$34Syr0FSbWlp9hNFif0BNSVHRPxwiPh79DU920TQC0DoAPilRd9UG4mVZjASSDEENmIuJl1xJneHoAcjNgCp00",
        ),
        ("secret", "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"),
    ];

    #[test]
    fn what_others_stored() {
        for (password, stored) in STORED {
            assert_eq!(check(password.as_bytes(), stored.as_bytes()), Verdict::Right, "{stored}");
            assert_eq!(check(b"Secret", stored.as_bytes()), Verdict::Wrong, "{stored}");
            let longer = format!("{stored}x");
            assert_eq!(check(password.as_bytes(), longer.as_bytes()), Verdict::Wrong, "{longer}");
        }
    }

    #[test]
    fn salted_sha() {
        let stored = sha1(b"{SSHA}", b"secret", b"salt");
        assert_eq!(check(b"secret", &stored), Verdict::Right);
        assert_eq!(check(b"other", &stored), Verdict::Wrong);
        assert_eq!(check(b"secret", b"{SSHA}!"), Verdict::Wrong);
        // Without a salt it is {SHA} by another name.
        assert_eq!(check(b"test", b"{SSHA}qUqP5cyxm6YcTAhz05Hph5gvu9M="), Verdict::Right);
    }

    #[test]
    fn what_is_cut_or_refused() {
        assert_eq!(check(b"secret\0more", b"{PLAIN}secret"), Verdict::Right);
        // DES looks at eight characters.
        assert_eq!(check(b"rasmusle", b"rl.3StKT.4T8M"), Verdict::Right);
        for stored in [
            "",
            "*",
            "x",
            "!!",
            "secret",
            "$5$",
            "$6$rounds=1$a$",
            "$2y$99$abc",
            "$2y$05$abc",
            "$1$",
            "$apr1$",
        ] {
            assert_eq!(check(b"secret", stored.as_bytes()), Verdict::Wrong, "{stored}");
        }
        for stored in ["$y$j9T$abcdefgh$9W", "$7$C6..../", "_J9..rasmBYk8r9AiWNc", "$"] {
            assert_eq!(check(b"secret", stored.as_bytes()), Verdict::Unknown, "{stored}");
        }
        assert_eq!(check(&[b'a'; 600], b"$6$saltsalt$x"), Verdict::Wrong);
    }
}
