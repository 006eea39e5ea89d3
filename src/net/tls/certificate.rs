//! What a certificate says (X.509, RFC 5280, 4.1), read from its DER as far as texts about it need.
//! Nothing is trusted for it.

mod host;

use crate::http::date;

/// The parts of a certificate, as they stand in it.
pub struct Certificate<'c> {
    /// What its issuer signed.
    pub signed: &'c [u8],
    /// The algorithm of the signature, without its header.
    pub algorithm: &'c [u8],
    /// The signature.
    pub signature: &'c [u8],
    /// Whether it says its version; version 1 does not.
    pub has_version: bool,
    /// The serial number, without leading zeros.
    pub serial: &'c [u8],
    /// The issuer's name, without its header.
    pub issuer: &'c [u8],
    /// The subject's name, without its header.
    pub subject: &'c [u8],
    /// From when it is valid, seconds since 1970.
    pub from: i64,
    /// Until when.
    pub until: i64,
    /// The subject's public key, with its header.
    pub key: &'c [u8],
    /// The extensions, one behind the other.
    extensions: &'c [u8],
}

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
const BMP_STRING: u8 = 0x1e;
pub(super) const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

/// The names of attributes (RFC 4519) by the contents of their identifiers, as OpenSSL shortens them.
const ATTRIBUTES: &[(&[u8], &str)] = &[
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 4], "SN"),
    (&[0x55, 4, 5], "serialNumber"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "street"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 12], "title"),
    (&[0x55, 4, 42], "GN"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], "emailAddress"),
];

/// One value: its tag, all of it, and its contents.
pub(super) type Value<'c> = (u8, &'c [u8], &'c [u8]);

impl<'c> Certificate<'c> {
    /// Reads a certificate; `None` if it is none.
    pub fn read(der: &'c [u8]) -> Option<Certificate<'c>> {
        let mut rest = der;
        let mut whole = expect(&mut rest, SEQUENCE)?.2;
        let (_, signed, mut body) = expect(&mut whole, SEQUENCE)?;
        let algorithm = expect(&mut whole, SEQUENCE)?.2;
        let signature = expect(&mut whole, BIT_STRING)?.2.strip_prefix(&[0])?;
        let has_version = body.first() == Some(&VERSION);
        if has_version {
            next(&mut body)?;
        }
        let serial = expect(&mut body, INTEGER)?.2;
        expect(&mut body, SEQUENCE)?;
        let issuer = expect(&mut body, SEQUENCE)?.2;
        let mut validity = expect(&mut body, SEQUENCE)?.2;
        let (from, until) = (time(next(&mut validity)?)?, time(next(&mut validity)?)?);
        let subject = expect(&mut body, SEQUENCE)?.2;
        let key = expect(&mut body, SEQUENCE)?.1;
        let mut extensions: &[u8] = &[];
        while let Some((tag, _, mut contents)) = next(&mut body) {
            if tag == EXTENSIONS {
                extensions = expect(&mut contents, SEQUENCE)?.2;
            }
        }
        let zeros = serial.iter().take_while(|byte| **byte == 0).count();
        let serial = serial.get(zeros..)?;
        Some(Certificate {
            signed,
            algorithm,
            signature,
            has_version,
            serial,
            issuer,
            subject,
            from,
            until,
            key,
            extensions,
        })
    }

    /// Whether it names itself as its issuer.
    pub fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// What the extension of this identifier (below 2.5.29 for most) says; `None` without it.
    pub(super) fn extension(&self, identifier: &[u8]) -> Option<&'c [u8]> {
        let mut rest = self.extensions;
        loop {
            let mut one = expect(&mut rest, SEQUENCE)?.2;
            if expect(&mut one, OID)?.2 == identifier {
                // Behind the flag that says whether it is critical.
                return std::iter::from_fn(|| next(&mut one))
                    .find(|value| value.0 == OCTET_STRING)
                    .map(|v| v.2);
            }
        }
    }
}

/// Appends a name as RFC 2253 writes it: `CN=host,O=company`, the last part first.
pub fn push_name(name: &[u8], out: &mut Vec<u8>) {
    let mut separator: &[u8] = b"";
    for (attribute, value) in parts(name).into_iter().rev() {
        out.extend_from_slice(separator);
        separator = b",";
        push_attribute(attribute, out);
        out.push(b'=');
        push_escaped(&text(value), out);
    }
}

/// Appends a name as OpenSSL once wrote it: `/O=company/CN=host`.
pub fn push_legacy_name(name: &[u8], out: &mut Vec<u8>) {
    for (attribute, value) in parts(name) {
        out.push(b'/');
        push_attribute(attribute, out);
        out.push(b'=');
        for byte in text(value) {
            match byte {
                b' '..=b'~' => out.push(byte),
                _ => out.extend_from_slice(format!("\\x{byte:02X}").as_bytes()),
            }
        }
    }
}

/// Appends a time as OpenSSL prints it: `Nov 22 22:29:42 2026 GMT`.
pub fn push_time(seconds: i64, out: &mut Vec<u8>) {
    // Sun, 22 Nov 2026 22:29:42 GMT
    let text = date::http(seconds);
    let (day, month, year, time) = (&text[5..7], &text[8..11], &text[12..16], &text[17..25]);
    let day = if day[0] == b'0' { [b' ', day[1]] } else { [day[0], day[1]] };
    for part in [month, b" ", &day, b" ", time, b" ", year, b" GMT"] {
        out.extend_from_slice(part);
    }
}

/// The attributes of a name with their values, in its order.
fn parts(mut name: &[u8]) -> Vec<(&[u8], Value<'_>)> {
    let mut found = Vec::new();
    while let Some((_, _, mut set)) = expect(&mut name, SET) {
        while let Some((_, _, mut pair)) = expect(&mut set, SEQUENCE) {
            if let (Some((_, _, attribute)), Some(value)) = (expect(&mut pair, OID), next(&mut pair)) {
                found.push((attribute, value));
            }
        }
    }
    found
}

/// A string's bytes; those of two bytes a character as UTF-8.
fn text((tag, _, contents): Value<'_>) -> Vec<u8> {
    if tag != BMP_STRING {
        return contents.to_vec();
    }
    let units = contents.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair));
    String::from_utf16_lossy(&units.collect::<Vec<_>>()).into_bytes()
}

fn push_attribute(attribute: &[u8], out: &mut Vec<u8>) {
    match ATTRIBUTES.iter().find(|(known, _)| *known == attribute) {
        Some((_, name)) => out.extend_from_slice(name.as_bytes()),
        None => push_oid(attribute, out),
    }
}

/// Appends an identifier in dots: base 128, the first number holding two.
fn push_oid(bytes: &[u8], out: &mut Vec<u8>) {
    let mut number = 0u64;
    let mut is_first = true;
    for byte in bytes {
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        if std::mem::take(&mut is_first) {
            let top = (number / 40).min(2);
            out.extend_from_slice(format!("{top}.{}", number - top * 40).as_bytes());
        } else {
            out.extend_from_slice(format!(".{number}").as_bytes());
        }
        number = 0;
    }
}

/// Appends a value with what RFC 2253, 2.4 escapes escaped; other bytes than ASCII in hexadecimal.
fn push_escaped(value: &[u8], out: &mut Vec<u8>) {
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.iter().copied().enumerate() {
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => out.extend_from_slice(&[b'\\', byte]),
            b'#' if at == 0 => out.extend_from_slice(b"\\#"),
            b' ' if at == 0 || at == last => out.extend_from_slice(b"\\ "),
            b' '..=b'~' => out.push(byte),
            _ => out.extend_from_slice(format!("\\{byte:02X}").as_bytes()),
        }
    }
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`, seconds since 1970.
pub(super) fn time((tag, _, contents): Value<'_>) -> Option<i64> {
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = contents.split_at_checked(2)?;
            let year = decimal(year)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = contents.split_at_checked(4)?;
            (decimal(year)?, rest)
        }
        _ => return None,
    };
    let [month, day, hour, minute, second] = rest.strip_suffix(b"Z")?.as_chunks::<2>().0 else {
        return None;
    };
    let (month, day) = (decimal(month)?, decimal(day)?);
    // Days since 1970 of a date, with the year beginning in March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    Some(((days * 24 + decimal(hour)?) * 60 + decimal(minute)?) * 60 + decimal(second)?)
}

fn decimal(digits: &[u8]) -> Option<i64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

pub(super) fn expect<'c>(rest: &mut &'c [u8], tag: u8) -> Option<Value<'c>> {
    next(rest).filter(|value| value.0 == tag)
}

/// The next value (X.690, 8.1): a tag of one byte, a length, the contents.
pub(super) fn next<'c>(rest: &mut &'c [u8]) -> Option<Value<'c>> {
    let all = *rest;
    let (&[tag, short], _) = all.split_first_chunk::<2>()?;
    let (length, head) = match short {
        0..=0x7f => (usize::from(short), 2),
        // More than 4 GB fit nowhere.
        0x81..=0x84 => {
            let count = usize::from(short & 0x7f);
            let bytes = all.get(2..2 + count)?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), 2 + count)
        }
        _ => return None,
    };
    let whole = all.get(..head.checked_add(length)?)?;
    *rest = all.get(whole.len()..)?;
    Some((tag, whole, whole.get(head..)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_certificate_is_read() {
        let mut params = rcgen::CertificateParams::new(vec!["host.example".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "Acme, Inc");
        params.distinguished_name.push(rcgen::DnType::CommonName, "host");
        params.serial_number = Some(vec![0x0a, 0xbc].into());
        params.not_before = rcgen::date_time_ymd(2026, 2, 3);
        params.not_after = rcgen::date_time_ymd(2060, 12, 31);
        let key = rcgen::KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        let read = Certificate::read(made.der()).unwrap();
        assert_eq!((read.serial, read.has_version), (&[0x0a, 0xbc][..], true));
        assert!(read.is_self_issued());
        let (mut name, mut legacy, mut from) = (Vec::new(), Vec::new(), Vec::new());
        push_name(read.subject, &mut name);
        push_legacy_name(read.subject, &mut legacy);
        push_time(read.from, &mut from);
        assert_eq!(name, b"CN=host,O=Acme\\, Inc");
        assert_eq!(legacy, b"/O=Acme, Inc/CN=host");
        assert_eq!(from, b"Feb  3 00:00:00 2026 GMT");
        assert_eq!(read.until, 2_871_676_800);
        for length in 0..made.der().len() {
            let _ = Certificate::read(&made.der()[..length]);
        }
    }

    #[test]
    fn identifiers_in_dots() {
        let mut out = Vec::new();
        push_oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d], &mut out);
        out.push(b' ');
        push_oid(&[0x88, 0x37, 3], &mut out);
        assert_eq!(out, b"1.2.840.113549 2.999.3");
    }
}
