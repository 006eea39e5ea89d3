//! Private keys in PEM, also encrypted ones: PKCS #8 (RFC 5958, 3) by PBES2 with PBKDF2 and AES (RFC 8018),
//! and the older form of OpenSSL, in which the block itself names its cipher (RFC 1421, 4.6.1).

use super::certificate::{INTEGER, OCTET_STRING, OID, SEQUENCE, expect};
use crate::base::base64;
use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, Algorithm, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey,
};
use aws_lc_rs::pbkdf2;
use md5::{Digest, Md5};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use std::num::NonZeroU32;

/// Rounds of PBKDF2 at most: ten seconds of one processor. OpenSSL makes 2048, others a million.
const ROUNDS_MAX: u32 = 10_000_000;

/// Pass phrases that are tried at most, each over all those rounds.
pub const PASSWORDS_MAX: usize = 64;

/// Bytes of the salt in the older form: the first of the initialisation vector.
const OLD_SALT_BYTES: usize = 8;

/// Why a key cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub enum KeyFault {
    /// The file has none.
    None(String),
    /// It is encrypted, and there is no pass phrase.
    Encrypted,
    /// It is encrypted, and none of the pass phrases opens it.
    Locked,
    /// It is encrypted in a way that is not here.
    Cipher(String),
    /// It is of a kind that is not here, or broken.
    Unusable(String),
    /// It is not that of the certificate.
    Mismatch,
}

impl KeyFault {
    /// What nginx, or we, say of the key of this file.
    pub fn text(&self, path: &str) -> String {
        match self {
            KeyFault::None(fault) | KeyFault::Unusable(fault) => {
                format!("cannot load certificate key \"{path}\": {fault}")
            }
            KeyFault::Encrypted => format!(
                "cannot load certificate key \"{path}\": it is encrypted, and no file of pass phrases is named"
            ),
            KeyFault::Locked => format!(
                "cannot load certificate key \"{path}\": PEM_read_bio_PrivateKey() failed (SSL: bad decrypt)"
            ),
            KeyFault::Cipher(cipher) => format!(
                "cannot load certificate key \"{path}\": keys encrypted with {cipher} are not supported by Octroi, those with AES are (openssl pkcs8 -topk8 -v2 aes256)"
            ),
            KeyFault::Mismatch => {
                format!("SSL_CTX_use_PrivateKey(\"{path}\") failed (SSL: key values mismatch)")
            }
        }
    }
}

/// The pass phrases of a file, one on each line.
pub fn passwords(text: &[u8]) -> Vec<Vec<u8>> {
    let lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut found: Vec<Vec<u8>> =
        lines.filter(|line| !line.is_empty()).take(PASSWORDS_MAX).map(<[u8]>::to_vec).collect();
    if found.is_empty() {
        // As in nginx an empty file is one with the empty pass phrase.
        found.push(Vec::new());
    }
    found
}

/// The first key of a file in PEM. Where it is encrypted, the pass phrases are tried in turn.
///
/// # Errors
/// There is none, or it cannot be decrypted.
pub fn read(pem: &[u8], passwords: &[Vec<u8>]) -> Result<PrivateKeyDer<'static>, KeyFault> {
    let Some(sealed) = Sealed::find(&String::from_utf8_lossy(pem))? else {
        return PrivateKeyDer::from_pem_slice(pem).map_err(|fault| KeyFault::None(fault.to_string()));
    };
    if passwords.is_empty() {
        return Err(KeyFault::Encrypted);
    }
    let mut opened = passwords.iter().filter_map(|password| sealed.open(password));
    opened.next().ok_or(KeyFault::Locked)
}

/// How the key of the cipher comes from a pass phrase.
enum Derivation {
    /// PBKDF2.
    Rounds { salt: Vec<u8>, rounds: NonZeroU32, hash: pbkdf2::Algorithm },
    /// MD5, over and over.
    Old,
}

/// An encrypted key.
struct Sealed {
    /// What stands in the block's first line.
    label: String,
    derivation: Derivation,
    cipher: &'static Algorithm,
    key_bytes: usize,
    vector: [u8; 16],
    sealed: Vec<u8>,
}

impl Sealed {
    /// The encrypted key, if the first one of the text is.
    fn find(text: &str) -> Result<Option<Sealed>, KeyFault> {
        let Some((label, lines)) = block(text) else { return Ok(None) };
        let is_header = |line: &&str| line.contains(':');
        let headers: Vec<&str> = lines.iter().copied().filter(is_header).collect();
        let body: String =
            lines.iter().filter(|line| !is_header(line)).flat_map(|line| line.split_whitespace()).collect();
        let is_old = headers.iter().any(|line| line.replace(' ', "") == "Proc-Type:4,ENCRYPTED");
        if !is_old && label != "ENCRYPTED PRIVATE KEY" {
            return Ok(None);
        }
        let mut der = Vec::new();
        if !base64::decode(body.as_bytes(), &mut der) {
            return Err(KeyFault::None("the base64 of the key is broken".to_owned()));
        }
        match is_old {
            true => Sealed::old(label, &headers, der).map(Some),
            false => Sealed::new(&der).map(Some),
        }
    }

    /// `DEK-Info: AES-256-CBC,0011...` says what with.
    fn old(label: &str, headers: &[&str], sealed: Vec<u8>) -> Result<Sealed, KeyFault> {
        let info = headers.iter().find_map(|line| line.strip_prefix("DEK-Info:")).unwrap_or_default();
        let (name, vector) = info.trim().split_once(',').unwrap_or_default();
        let (cipher, key_bytes) = match name {
            "AES-128-CBC" => (&AES_128, 16),
            "AES-192-CBC" => (&AES_192, 24),
            "AES-256-CBC" => (&AES_256, 32),
            _ => return Err(KeyFault::Cipher(name.to_owned())),
        };
        let number = u128::from_str_radix(vector.trim(), 16).ok().filter(|_| vector.trim().len() == 32);
        let vector = number.ok_or_else(|| broken("its DEK-Info"))?.to_be_bytes();
        Ok(Sealed { label: label.to_owned(), derivation: Derivation::Old, cipher, key_bytes, vector, sealed })
    }

    /// `EncryptedPrivateKeyInfo`.
    fn new(mut der: &[u8]) -> Result<Sealed, KeyFault> {
        let parts = || -> Option<_> {
            let mut whole = expect(&mut der, SEQUENCE)?.2;
            let mut scheme = expect(&mut whole, SEQUENCE)?.2;
            let name = expect(&mut scheme, OID)?.2;
            Some((name, scheme, expect(&mut whole, OCTET_STRING)?.2))
        };
        let (scheme, mut parameters, sealed) = { parts }().ok_or_else(|| broken("its encryption"))?;
        if scheme != PBES2 {
            return Err(KeyFault::Cipher("another scheme than PBES2".to_owned()));
        }
        let parts = || -> Option<_> {
            let mut both = expect(&mut parameters, SEQUENCE)?.2;
            let mut derivation = expect(&mut both, SEQUENCE)?.2;
            let mut cipher = expect(&mut both, SEQUENCE)?.2;
            let by = expect(&mut derivation, OID)?.2;
            Some((
                by,
                derivation,
                expect(&mut cipher, OID)?.2,
                expect(&mut cipher, OCTET_STRING).map(|v| v.2),
            ))
        };
        let (by, parameters, cipher, vector) = { parts }().ok_or_else(|| broken("its encryption"))?;
        if by != PBKDF2 {
            let name = if by == SCRYPT { "scrypt" } else { "another derivation than PBKDF2" };
            return Err(KeyFault::Cipher(name.to_owned()));
        }
        let (cipher, key_bytes) = match cipher.strip_prefix(AES) {
            Some([2]) => (&AES_128, 16),
            Some([22]) => (&AES_192, 24),
            Some([42]) => (&AES_256, 32),
            _ => return Err(KeyFault::Cipher("another cipher than AES in CBC".to_owned())),
        };
        let vector = vector.and_then(|vector| vector.try_into().ok()).ok_or_else(|| broken("its vector"))?;
        let derivation = rounds(parameters)?;
        let label = "PRIVATE KEY".to_owned();
        Ok(Sealed { label, derivation, cipher, key_bytes, vector, sealed: sealed.to_vec() })
    }

    /// The key, if this is the pass phrase.
    fn open(&self, password: &[u8]) -> Option<PrivateKeyDer<'static>> {
        let mut key = vec![0; self.key_bytes];
        match &self.derivation {
            Derivation::Rounds { salt, rounds, hash } => {
                pbkdf2::derive(*hash, *rounds, salt, password, &mut key);
            }
            Derivation::Old => old_key(password, self.vector.get(..OLD_SALT_BYTES)?, &mut key),
        }
        let key = UnboundCipherKey::new(self.cipher, &key).ok()?;
        let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).ok()?;
        let mut sealed = self.sealed.clone();
        let plain = key.decrypt(&mut sealed, DecryptionContext::Iv128(self.vector.into())).ok()?;
        // A wrong pass phrase may leave padding that looks right: one in 256 does.
        let mut rest = &*plain;
        expect(&mut rest, SEQUENCE).filter(|_| rest.is_empty())?;
        let der = plain.to_vec();
        Some(match self.label.as_str() {
            "RSA PRIVATE KEY" => PrivatePkcs1KeyDer::from(der).into(),
            "EC PRIVATE KEY" => PrivateSec1KeyDer::from(der).into(),
            _ => PrivatePkcs8KeyDer::from(der).into(),
        })
    }
}

/// 1.2.840.113549.1.5.13, PBES2.
const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 13];
/// 1.2.840.113549.1.5.12, PBKDF2.
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 12];
/// 1.3.6.1.4.1.11591.4.11, scrypt.
const SCRYPT: &[u8] = &[0x2b, 6, 1, 4, 1, 0xda, 0x47, 4, 11];
/// 1.2.840.113549.2, below which the hashes for HMAC are.
const HASHES: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2];
/// 2.16.840.1.101.3.4.1, below which the forms of AES are.
const AES: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1];

/// `PBKDF2-params` (RFC 8018, A.2).
fn rounds(mut parameters: &[u8]) -> Result<Derivation, KeyFault> {
    let wrong = || broken("its derivation");
    let mut inner = expect(&mut parameters, SEQUENCE).ok_or_else(wrong)?.2;
    let salt = expect(&mut inner, OCTET_STRING).ok_or_else(wrong)?.2.to_vec();
    let count = expect(&mut inner, INTEGER).ok_or_else(wrong)?.2;
    let count = count.iter().try_fold(0_u32, |n, byte| n.checked_mul(256)?.checked_add(u32::from(*byte)));
    let rounds = count.filter(|n| *n <= ROUNDS_MAX).and_then(NonZeroU32::new).ok_or_else(wrong)?;
    if inner.first() == Some(&INTEGER) {
        // The length of the key, which the cipher says too.
        expect(&mut inner, INTEGER).ok_or_else(wrong)?;
    }
    let hash = match expect(&mut inner, SEQUENCE) {
        None => pbkdf2::PBKDF2_HMAC_SHA1,
        Some((_, _, mut algorithm)) => {
            let name = expect(&mut algorithm, OID).and_then(|name| name.2.strip_prefix(HASHES));
            match name {
                Some([7]) => pbkdf2::PBKDF2_HMAC_SHA1,
                Some([9]) => pbkdf2::PBKDF2_HMAC_SHA256,
                Some([10]) => pbkdf2::PBKDF2_HMAC_SHA384,
                Some([11]) => pbkdf2::PBKDF2_HMAC_SHA512,
                _ => return Err(KeyFault::Cipher("another hash than SHA-1 and SHA-2".to_owned())),
            }
        }
    };
    Ok(Derivation::Rounds { salt, rounds, hash })
}

fn broken(what: &str) -> KeyFault {
    KeyFault::None(format!("{what} cannot be read"))
}

/// What OpenSSL derives in the older form: MD5 of what it had, the pass phrase and the salt, again and again.
fn old_key(password: &[u8], salt: &[u8], key: &mut [u8]) {
    let mut last = Vec::new();
    for part in key.chunks_mut(16) {
        let digest = Md5::new().chain_update(&last).chain_update(password).chain_update(salt).finalize();
        last = digest.to_vec();
        part.copy_from_slice(&last[..part.len()]);
    }
}

/// The first block that holds a key: its label and its lines.
fn block(text: &str) -> Option<(&str, Vec<&str>)> {
    let mut lines = text.lines().map(str::trim_end);
    let label = lines.find_map(|line| {
        let label = line.strip_prefix("-----BEGIN ")?.strip_suffix("-----")?;
        label.ends_with("PRIVATE KEY").then_some(label)
    })?;
    Some((label, lines.take_while(|line| !line.starts_with("-----END ")).collect()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn pass_phrases_are_lines() {
        assert_eq!(passwords(b"one\n\r\ntwo\r\nlast"), [b"one".to_vec(), b"two".to_vec(), b"last".to_vec()]);
        assert_eq!(passwords(b"\n"), [Vec::<u8>::new()]);
        assert_eq!(passwords(&b"x\n".repeat(1000)).len(), PASSWORDS_MAX);
    }

    /// One key in four forms, made with OpenSSL; the pass phrase is `secret`.
    const OLD: &str = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,CE916E90A65A00B98B86BB67E559E94A\n\nJiHnSBMOpDbg41vQGGM43kFPcJJOWymOW4xmBpFiN7nqsoa90Vil6ecAv6iyzV2q\nCUTa6HwUwEfH0ICmBk71bRZPqdvMcB989TgtLyzoI+GAVaveEgFoRpRU/rc1mJuQ\nlTTMv/DlMUDvj9D7tCvLZeGc07UTsRAZDI3cmbfoCCo=\n-----END EC PRIVATE KEY-----";
    const NEW: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAjOyF6IckjfoQICCAAw\nDAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEBf+p9FdVhKa+ExNW6RVfvYEgZAF\nzQLmqIYcFxFR0x4/WiqkNly5W3o1ZAtmadeeVN1H3Gw8KKL02ptIflHe/sRMzMwA\nhjeBstTPLXSns4jQ2/1ZyaU+WePUAZj8CQWnsdhL98s6AgBf+3j/zGjBS7MGcUR/\n7wdf017AXmBrt1aKkWwH8YVcqj25y8clcE+7yRsdtP74CjyXmgI3NL7qOC2ggEk=\n-----END ENCRYPTED PRIVATE KEY-----";
    const SHA1: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIHeMEkGCSqGSIb3DQEFDTA8MBsGCSqGSIb3DQEFDDAOBAgXgTBngGrQ3QICCAAw\nHQYJYIZIAWUDBAECBBBxF2PObBYtmHwp762cHxZ1BIGQrvB9EXzEKLxvl36hkyNM\nNi2+KvkpdE0LzI1olz2ojO3MxoM4VilteplLu8nsXhlUT3IrxTJ1zwGs1UaitTxW\nQdoFEQZeu+lGgIj1vFtJSz2k/St2i762nG/fkS+gWEnzuvLBe/YxNobWa2S2hyPV\nfgQ54hderXfANFjHgbLVJruAfinp31aeVG0hWZU4AZPI\n-----END ENCRYPTED PRIVATE KEY-----";
    const PLAIN: &str = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgO775PQoKK3JfL6k1\n9vUlIzrojQB3PtGc+pGnGJafGtmhRANCAARZPIXD8MSPEMdaT9tK9qDpX/YY6Lhq\nkypMkStdAmwEtixYR/L8EPkiYcbTpjSuCftqPXbgd1VEol/+h7XEGR1a\n-----END PRIVATE KEY-----";
    const SCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIHkME8GCSqGSIb3DQEFDTBCMCEGCSsGAQQB2kcECzAUBAi7xwQ6WqQ1ygICQAAC\nAQgCAQEwHQYJYIZIAWUDBAEqBBCQuJvQoKsY1H/Bk924wlV2BIGQTjKTD377Z2KT\nlUFSf26AhyqPryXR58h+SEPu9cRr8xzZ0IyYl1n3gCx/gSiS6fnD7GTsRayAY7PQ\n9//ztyLlS8n6/54elmdCAV5MZLx28+JXZ5vI1rjOqvhK4Nuwo+PdxjEEnTcFlt80\nKEwUj2uNZrY4fSYNbiOmr8ltMB28+McN/V755zMt1vS2vKkYFhlX\n-----END ENCRYPTED PRIVATE KEY-----";

    /// The 32 bytes of the key itself.
    fn number(key: &PrivateKeyDer<'_>) -> Vec<u8> {
        let der = key.secret_der();
        let at = der.windows(2).position(|pair| pair == [4, 32]).unwrap() + 2;
        der[at..at + 32].to_vec()
    }

    #[test]
    fn encrypted_keys_open_with_the_right_pass_phrase() {
        let plain = number(&read(PLAIN.as_bytes(), &[]).unwrap());
        let phrases = passwords(b"wrong\nsecret\n");
        for form in [OLD, NEW, SHA1] {
            assert_eq!(number(&read(form.as_bytes(), &phrases).unwrap()), plain);
            assert_eq!(read(form.as_bytes(), &[]).unwrap_err(), KeyFault::Encrypted);
            assert_eq!(read(form.as_bytes(), &phrases[..1]).unwrap_err(), KeyFault::Locked);
        }
        assert!(matches!(read(OLD.as_bytes(), &phrases).unwrap(), PrivateKeyDer::Sec1(_)));
    }

    #[test]
    fn what_is_not_here_is_named() {
        let phrases = passwords(b"secret");
        let fault = |pem: &str| read(pem.as_bytes(), &phrases).unwrap_err();
        assert_eq!(fault(SCRYPTED), KeyFault::Cipher("scrypt".to_owned()));
        let des = OLD.replace("AES-256-CBC", "DES-EDE3-CBC");
        assert_eq!(fault(&des), KeyFault::Cipher("DES-EDE3-CBC".to_owned()));
        assert!(matches!(fault("nothing"), KeyFault::None(_)));
        assert!(matches!(fault(&OLD.replace("CE91", "nope")), KeyFault::None(_)));
        let text = fault(SCRYPTED).text("a.key");
        assert!(text.contains("\"a.key\": keys encrypted with scrypt are not supported"), "{text}");
        // Cut anywhere, it is refused.
        for at in 0..NEW.len() {
            let _ = read(&NEW.as_bytes()[..at], &phrases[..0]);
        }
    }
}
