//! Poul-Henning Kamp's password hash on MD5: `$1$`, and Apache's `$apr1$`, which differs in its name.

use super::push_digits;
use md5::{Digest, Md5};

/// Characters of a salt.
const SALT_MAX: usize = 8;

/// Rounds, which are fixed.
const ROUNDS: usize = 1000;

/// The hash of a password in full, with the scheme's name and the salt of `stored`.
pub(super) fn hash(scheme: &[u8], password: &[u8], stored: &[u8]) -> Vec<u8> {
    let rest = stored.get(scheme.len()..).unwrap_or_default();
    let salt = rest.split(|&byte| byte == b'$').next().unwrap_or_default();
    let salt = salt.get(..SALT_MAX).unwrap_or(salt);
    let digest = digest(scheme, password, salt);
    let mut out = [scheme, salt, b"$"].concat();
    for [a, b, c] in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        push_digits(&mut out, &[digest[a], digest[b], digest[c]], 4);
    }
    push_digits(&mut out, &[digest[11]], 2);
    out
}

fn digest(scheme: &[u8], password: &[u8], salt: &[u8]) -> [u8; 16] {
    let parts = |parts: &[&[u8]]| -> [u8; 16] {
        let mut md5 = Md5::new();
        parts.iter().for_each(|part| md5.update(part));
        md5.finalize().into()
    };
    let inner = parts(&[password, salt, password]);
    let mut md5 = Md5::new_with_prefix(password);
    md5.update(scheme);
    md5.update(salt);
    for chunk in password.chunks(inner.len()) {
        md5.update(&inner[..chunk.len()]);
    }
    // A byte for each bit of the length: a zero, or the password's first.
    let first = password.first().copied().unwrap_or(0);
    let mut length = password.len();
    while length > 0 {
        md5.update([if length & 1 == 1 { 0 } else { first }]);
        length >>= 1;
    }
    let mut digest: [u8; 16] = md5.finalize().into();
    for round in 0..ROUNDS {
        let odd = round % 2 == 1;
        let before = digest;
        let (front, back): (&[u8], &[u8]) = if odd { (password, &before) } else { (&before, password) };
        let salt = if round % 3 > 0 { salt } else { b"" };
        let again = if round % 7 > 0 { password } else { b"" };
        digest = parts(&[front, salt, again, back]);
    }
    digest
}
