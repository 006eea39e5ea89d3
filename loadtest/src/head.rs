//! The head of a response: status line and the three headers that framing needs.

use memchr::memchr;

use crate::response::{HEAD_MAX, Malformed};

/// Decimal digits of a Content-Length: 18 of them fit a u64 without overflow.
const LENGTH_DIGITS_MAX: usize = 18;

/// The parts of a head that framing needs.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    /// The status code, 100 to 999.
    pub status: u16,
    /// The connection stays open, by version and Connection (RFC 9112 section 9.3).
    pub keep_alive: bool,
    /// Transfer-Encoding is present, and its last coding is chunked.
    pub chunked: Option<bool>,
    /// Content-Length.
    pub length: Option<u64>,
}

/// The head at the start of `bytes` and its length with the empty line;
/// `None` while it is incomplete.
///
/// # Errors
/// It breaks HTTP, or is longer than [`HEAD_MAX`].
pub fn parse_head(bytes: &[u8]) -> Result<Option<(Head, usize)>, Malformed> {
    const PROTOCOL: &[u8] = b"HTTP/1.";
    // Looked at before the first line is complete: what talks another protocol
    // may never send a line feed.
    let known = bytes.len().min(PROTOCOL.len());
    if bytes[..known] != PROTOCOL[..known] {
        return Err(Malformed("not an HTTP/1 response"));
    }
    let Some(feed) = memchr(b'\n', bytes) else { return Ok(None) };
    let (status, http_1_1) = status_line(without_cr(&bytes[..feed]))?;
    let mut head = Head { status, keep_alive: http_1_1, chunked: None, length: None };
    let mut start = feed + 1;
    while let Some(feed) = memchr(b'\n', &bytes[start..]) {
        let line = without_cr(&bytes[start..start + feed]);
        start += feed + 1;
        let Some(&first) = line.first() else {
            if head.chunked.is_some() && (head.length.is_some() || !http_1_1) {
                return Err(Malformed("Transfer-Encoding with Content-Length or HTTP/1.0"));
            }
            return if start > HEAD_MAX {
                Err(Malformed("head is too long"))
            } else {
                Ok(Some((head, start)))
            };
        };
        let colon = memchr(b':', line).ok_or(Malformed("header line without a colon"))?;
        match first {
            b' ' | b'\t' | b':' => return Err(Malformed("folded header or one without a name")),
            b'c' | b'C' | b't' | b'T' => header(&mut head, &line[..colon], &line[colon + 1..])?,
            _ => {}
        }
    }
    Ok(None)
}

/// `HTTP/1.1 200 OK`: the status, and whether the version is 1.1.
fn status_line(line: &[u8]) -> Result<(u16, bool), Malformed> {
    let bad = Malformed("bad status line");
    let http_1_1 = match line.get(7) {
        Some(b'1') => true,
        Some(b'0') => false,
        _ => return Err(bad),
    };
    let digits = line.get(8..12).filter(|part| part[0] == b' ').ok_or(bad)?;
    let mut status = 0;
    for &digit in &digits[1..] {
        if !digit.is_ascii_digit() {
            return Err(bad);
        }
        status = status * 10 + u16::from(digit - b'0');
    }
    if status < 100 || !matches!(line.get(12), None | Some(b' ')) {
        return Err(bad);
    }
    Ok((status, http_1_1))
}

fn header(head: &mut Head, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
    if name.eq_ignore_ascii_case(b"content-length") {
        let digits = value.trim_ascii();
        if digits.is_empty() || digits.len() > LENGTH_DIGITS_MAX || !digits.iter().all(u8::is_ascii_digit) {
            return Err(Malformed("bad Content-Length"));
        }
        let length = digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        if head.length.replace(length).is_some_and(|earlier| earlier != length) {
            return Err(Malformed("two different Content-Length"));
        }
    } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
        let last = value.rsplit(|&byte| byte == b',').next().unwrap_or_default();
        head.chunked = Some(last.trim_ascii().eq_ignore_ascii_case(b"chunked"));
    } else if name.eq_ignore_ascii_case(b"connection") {
        for token in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            if token.eq_ignore_ascii_case(b"close") {
                head.keep_alive = false;
            } else if token.eq_ignore_ascii_case(b"keep-alive") {
                head.keep_alive = true;
            }
        }
    }
    Ok(())
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}
