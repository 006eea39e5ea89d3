//! The PROXY protocol, versions 1 and 2: what a balancer in front says of a connection before the
//! connection's own first byte (HAProxy's `proxy-protocol.txt`, sections 2.1 and 2.2).
//!
//! Bytes in, a [`Header`] out. nginx wants the header in the first read; here it may come in pieces,
//! within the bounds below.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of a header of version 1 at most, its line end included (section 2.1).
pub const V1_BYTES_MAX: usize = 107;

/// Bytes of a header of version 2 at most: nginx's NGX_PROXY_PROTOCOL_MAX_HEADER. The protocol allows
/// 64 KB, of which nobody sends more than a certificate's name.
pub const V2_BYTES_MAX: usize = 4096;

/// How a header of version 2 begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// How one of version 1 begins.
const V1_BEGIN: &[u8] = b"PROXY ";

/// Bytes of version 2 before the addresses: signature, version and command, family and transport,
/// and the length of the rest.
const V2_HEAD_BYTES: usize = 16;

/// Type and length of a TLV.
const TLV_HEAD_BYTES: usize = 3;

/// The TLV that holds others about TLS, and what stands before those: a byte of flags and the result
/// of the verification.
const TLV_SSL: u8 = 0x20;
const SSL_HEAD_BYTES: usize = 5;

/// Names of TLVs, as variables use them.
const TLVS: &[(&str, u8)] =
    &[("alpn", 0x01), ("authority", 0x02), ("unique_id", 0x05), ("ssl", TLV_SSL), ("netns", 0x30)];

/// Names of those inside of the one about TLS.
const SSL_TLVS: &[(&str, u8)] =
    &[("version", 0x21), ("cn", 0x22), ("cipher", 0x23), ("sig_alg", 0x24), ("key_alg", 0x25)];

/// What a header says of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The client's address: in version 1 as it was sent, which may be none.
    pub source: Box<str>,
    /// The address the client connected to.
    pub destination: Box<str>,
    /// The client's port.
    pub source_port: u16,
    /// The port the client connected to.
    pub destination_port: u16,
    /// What follows the addresses in version 2.
    tlvs: Box<[u8]>,
}

/// What the bytes so far are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// The beginning of a header.
    Partial,
    /// A whole one.
    Whole {
        /// Its bytes.
        len: usize,
        /// What it says; `None` when it says nothing of a client (`UNKNOWN`, `LOCAL`, a datagram, a
        /// family that is not IP): the connection is the balancer's own.
        header: Option<Header>,
    },
}

/// Why there is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is none of version 1, nor does it begin as version 2 does.
    Broken,
    /// A version that is not known.
    Version(u8),
    /// It is longer than [`V2_BYTES_MAX`].
    TooLarge,
    /// It is too short for the addresses that it announces.
    TooShort,
}

impl Fault {
    /// nginx's words for it. `bytes` are those that were read.
    pub fn explain(self, bytes: &[u8]) -> String {
        match self {
            Fault::Broken => {
                let line = bytes.split(|b| matches!(b, b'\r' | b'\n')).next().unwrap_or_default();
                format!("broken header: \"{}\"", String::from_utf8_lossy(line))
            }
            Fault::Version(version) => format!("unknown PROXY protocol version: {version}"),
            Fault::TooLarge => "header is too large".to_owned(),
            Fault::TooShort => "header is too short for its addresses".to_owned(),
        }
    }
}

/// The value of a TLV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tlv<'a> {
    /// Its bytes.
    Bytes(&'a [u8]),
    /// A number.
    Number(u32),
}

/// Why a TLV cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlvFault {
    /// The type is no hexadecimal number.
    Invalid,
    /// No TLV has that name.
    Unknown,
    /// The list of them is cut off.
    Broken,
}

/// Reads the header at the beginning of `bytes`.
///
/// # Errors
/// There is none, or none that is understood.
pub fn read(bytes: &[u8]) -> Result<Read, Fault> {
    let common = bytes.iter().zip(SIGNATURE).take_while(|(a, b)| a == b).count();
    if common == SIGNATURE.len() {
        return read_v2(bytes);
    }
    // A line end cannot begin version 1, so what is only part of the signature is that or broken.
    if common == bytes.len() {
        return Ok(Read::Partial);
    }
    read_v1(bytes)
}

fn read_v1(bytes: &[u8]) -> Result<Read, Fault> {
    let begin = V1_BEGIN.len().min(bytes.len());
    if bytes.get(..begin) != V1_BEGIN.get(..begin) {
        return Err(Fault::Broken);
    }
    let bound = bytes.get(..bytes.len().min(V1_BYTES_MAX)).unwrap_or_default();
    let Some(end) = bound.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() >= V1_BYTES_MAX { Err(Fault::Broken) } else { Ok(Read::Partial) };
    };
    let (line, len) = (bound.get(begin..end).ok_or(Fault::Broken)?, end + 2);
    // Whatever follows it means nothing (section 2.1).
    if line.starts_with(b"UNKNOWN") {
        return Ok(Read::Whole { len, header: None });
    }
    let line = std::str::from_utf8(line).map_err(|_| Fault::Broken)?;
    let rest = line.strip_prefix("TCP4 ").or_else(|| line.strip_prefix("TCP6 ")).ok_or(Fault::Broken)?;
    let mut words = rest.split(' ');
    let mut word = || words.next().ok_or(Fault::Broken);
    let (source, destination) = (address(word()?)?, address(word()?)?);
    let (source_port, destination_port) = (port(word()?)?, port(word()?)?);
    if words.next().is_some() {
        return Err(Fault::Broken);
    }
    let tlvs = Box::default();
    Ok(Read::Whole { len, header: Some(Header { source, destination, source_port, destination_port, tlvs }) })
}

/// An address of version 1, whose signs alone are checked here: whoever judges by it reads it.
fn address(text: &str) -> Result<Box<str>, Fault> {
    let valid = |b: u8| b.is_ascii_hexdigit() || matches!(b, b':' | b'.');
    if text.bytes().all(valid) { Ok(text.into()) } else { Err(Fault::Broken) }
}

fn port(text: &str) -> Result<u16, Fault> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or(Fault::Broken)
}

fn read_v2(bytes: &[u8]) -> Result<Read, Fault> {
    let Some(&version_command) = bytes.get(SIGNATURE.len()) else { return Ok(Read::Partial) };
    if version_command >> 4 != 2 {
        return Err(Fault::Version(version_command >> 4));
    }
    let Some((head, rest)) = bytes.split_first_chunk::<V2_HEAD_BYTES>() else { return Ok(Read::Partial) };
    let [.., family_transport, high, low] = *head;
    let rest_len = usize::from(u16::from_be_bytes([high, low]));
    let len = V2_HEAD_BYTES + rest_len;
    if len > V2_BYTES_MAX {
        return Err(Fault::TooLarge);
    }
    let Some(rest) = rest.get(..rest_len) else { return Ok(Read::Partial) };
    let (command, family, transport) = (version_command & 0xf, family_transport >> 4, family_transport & 0xf);
    let header = match (command, transport, family) {
        (1, 1, 1) => Some(addresses::<4>(rest, |ip| Ipv4Addr::from(ip).into())?),
        (1, 1, 2) => Some(addresses::<16>(rest, |ip| Ipv6Addr::from(ip).into())?),
        _ => None,
    };
    Ok(Read::Whole { len, header })
}

/// Two addresses of `N` bytes, two ports, and the TLVs.
fn addresses<const N: usize>(rest: &[u8], ip: fn([u8; N]) -> IpAddr) -> Result<Header, Fault> {
    let parts = || {
        let (source, rest) = rest.split_first_chunk::<N>()?;
        let (destination, rest) = rest.split_first_chunk::<N>()?;
        let (source_port, rest) = rest.split_first_chunk::<2>()?;
        let (destination_port, tlvs) = rest.split_first_chunk::<2>()?;
        Some(Header {
            source: ip(*source).to_string().into(),
            destination: ip(*destination).to_string().into(),
            source_port: u16::from_be_bytes(*source_port),
            destination_port: u16::from_be_bytes(*destination_port),
            tlvs: tlvs.into(),
        })
    };
    parts().ok_or(Fault::TooShort)
}

impl Header {
    /// The TLV that a variable's name means: a name, `0x` with a type, and behind `ssl_` those about
    /// TLS. `None` when the header has none of that type.
    ///
    /// # Errors
    /// The name means none, or the TLVs before it cannot be read.
    pub fn tlv(&self, name: &str) -> Result<Option<Tlv<'_>>, TlvFault> {
        let Some(name) = name.strip_prefix("ssl_") else {
            return find(&self.tlvs, kind(name, TLVS)?).map(|found| found.map(Tlv::Bytes));
        };
        let Some(ssl) = find(&self.tlvs, u32::from(TLV_SSL))? else { return Ok(None) };
        let Some((head, inner)) = ssl.split_first_chunk::<SSL_HEAD_BYTES>() else {
            return Err(TlvFault::Broken);
        };
        if name == "verify" {
            let [_, verify @ ..] = *head;
            return Ok(Some(Tlv::Number(u32::from_be_bytes(verify))));
        }
        find(inner, kind(name, SSL_TLVS)?).map(|found| found.map(Tlv::Bytes))
    }
}

/// The type that a name means.
fn kind(name: &str, names: &[(&str, u8)]) -> Result<u32, TlvFault> {
    match name.strip_prefix("0x") {
        // A sign is no digit, though the parser takes it.
        Some(digits) if digits.starts_with('+') => Err(TlvFault::Invalid),
        Some(digits) => u32::from_str_radix(digits, 16).map_err(|_| TlvFault::Invalid),
        None => {
            let known = names.iter().find(|(known, _)| *known == name);
            known.map(|(_, kind)| u32::from(*kind)).ok_or(TlvFault::Unknown)
        }
    }
}

/// The first TLV of a type.
fn find(mut tlvs: &[u8], wanted: u32) -> Result<Option<&[u8]>, TlvFault> {
    while !tlvs.is_empty() {
        let (head, rest) = tlvs.split_first_chunk::<TLV_HEAD_BYTES>().ok_or(TlvFault::Broken)?;
        let [kind, high, low] = *head;
        let len = usize::from(u16::from_be_bytes([high, low]));
        let (value, behind) = rest.split_at_checked(len).ok_or(TlvFault::Broken)?;
        if u32::from(kind) == wanted {
            return Ok(Some(value));
        }
        tlvs = behind;
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
