//! The request line (RFC 9112, 3), as strict as nginx 1.31.

use super::fault::RequestFault;
use super::method::{Method, Version};
use super::scan;
use super::span::Span;

/// A request line taken apart. Parts that the target lacks are empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RequestLine {
    pub(super) method: Method,
    pub(super) method_text: Span,
    /// The whole request target.
    pub(super) target: Span,
    pub(super) schema: Span,
    /// Host and port of an absolute-form or authority-form target.
    pub(super) authority: Span,
    /// Path and arguments; a lone slash of the line when the target has no path.
    pub(super) path: Span,
    /// `HTTP/1.1` as sent; empty in HTTP/0.9.
    pub(super) protocol: Span,
    pub(super) version: Version,
    /// The line without its end.
    pub(super) line: Span,
    /// Where the next line starts.
    pub(super) next: usize,
}

/// Why there is no request line (yet).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It has no end yet.
    More,
    /// It is refused.
    Fault(RequestFault),
}

/// The fault of everything that is wrong after the method.
const INVALID: Stop = Stop::Fault(RequestFault::InvalidRequest);

/// Reads the request line at `start` of `buf`, which must not be in the empty lines before it.
pub(super) fn read(buf: &[u8], start: usize) -> Result<RequestLine, Stop> {
    let mut line = RequestLine::default();
    let at = method(buf, start, &mut line)?;
    let at = spaces(buf, at)?;
    let at = target(buf, at, &mut line)?;
    let at = protocol(buf, at, &mut line)?;
    end(buf, start, at, &mut line)?;
    if line.version == Version::Http09 && line.method != Method::Get {
        return Err(Stop::Fault(RequestFault::InvalidMethod09));
    }
    Ok(line)
}

/// The byte at `at`.
#[inline]
fn byte(buf: &[u8], at: usize) -> Result<u8, Stop> {
    buf.get(at).copied().ok_or(Stop::More)
}

/// The first byte from `at` on that is no space.
#[inline]
fn spaces(buf: &[u8], mut at: usize) -> Result<usize, Stop> {
    while byte(buf, at)? == b' ' {
        at += 1;
    }
    Ok(at)
}

/// Capitals, `_` and `-` up to a space: narrower than the token of RFC 9110, 9.1, as nginx is.
#[inline]
fn method(buf: &[u8], start: usize, line: &mut RequestLine) -> Result<usize, Stop> {
    let mut at = start;
    loop {
        match byte(buf, at)? {
            b'A'..=b'Z' | b'_' | b'-' => at += 1,
            b' ' if at > start => break,
            _ => return Err(Stop::Fault(RequestFault::InvalidMethod)),
        }
    }
    line.method_text = Span::new(start, at);
    line.method = Method::of(line.method_text.of(buf));
    Ok(at)
}

/// Origin-form, absolute-form, or for CONNECT the authority-form (RFC 9112, 3.2). nginx refuses the
/// asterisk-form. Returns where the target ends.
#[inline]
fn target(buf: &[u8], start: usize, line: &mut RequestLine) -> Result<usize, Stop> {
    let end = match byte(buf, start)? {
        _ if line.method == Method::Connect => {
            let end = authority(buf, start, true)?;
            line.authority = Span::new(start, end);
            // The path is the slash of `HTTP/1.1`, which `protocol` fills in.
            end
        }
        b'/' => {
            let end = path(buf, start)?;
            line.path = Span::new(start, end);
            end
        }
        b'a'..=b'z' | b'A'..=b'Z' => absolute(buf, start, line)?,
        _ => return Err(INVALID),
    };
    line.target = Span::new(start, end);
    Ok(end)
}

/// `http://host:port/path`.
fn absolute(buf: &[u8], start: usize, line: &mut RequestLine) -> Result<usize, Stop> {
    let mut at = start;
    while byte(buf, at)?.is_ascii_alphanumeric() || matches!(byte(buf, at)?, b'+' | b'-' | b'.') {
        at += 1;
    }
    line.schema = Span::new(start, at);
    for want in *b"://" {
        if byte(buf, at)? != want {
            return Err(INVALID);
        }
        at += 1;
    }
    let end = authority(buf, at, false)?;
    line.authority = Span::new(at, end);
    match byte(buf, end)? {
        b'/' | b'?' => {
            let path_end = path(buf, end)?;
            line.path = Span::new(end, path_end);
            Ok(path_end)
        }
        b' ' => {
            // No path means "/": the second slash before the authority serves as one, so that
            // the span has a byte to stand on.
            line.path = Span::new(at - 1, at);
            Ok(end)
        }
        _ => Err(INVALID),
    }
}

/// A host with its port from `start` on; the name is checked later, the port here. With
/// `port_needed` (CONNECT) a port and a space have to follow. Returns where it ends.
fn authority(buf: &[u8], start: usize, port_needed: bool) -> Result<usize, Stop> {
    let mut at = start;
    if byte(buf, at)? == b'[' {
        at += 1;
        loop {
            match byte(buf, at)? {
                b']' => break,
                b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b':' | b'-' | b'.' | b'_' | b'~' => {}
                b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => {}
                _ => return Err(INVALID),
            }
            at += 1;
        }
        at += 1;
    } else {
        while matches!(byte(buf, at)?, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'.' | b'-') {
            at += 1;
        }
    }
    let colon = at;
    if byte(buf, at)? == b':' {
        at += 1;
        while byte(buf, at)?.is_ascii_digit() {
            at += 1;
        }
    }
    if port_needed && (at <= colon + 1 || byte(buf, at)? != b' ') {
        return Err(INVALID);
    }
    Ok(at)
}

/// Where the path that starts at `start` ends: at a space, or at the end of an HTTP/0.9 line.
#[inline]
fn path(buf: &[u8], start: usize) -> Result<usize, Stop> {
    let at = start + scan::space_or_control(buf.get(start..).unwrap_or_default());
    match byte(buf, at)? {
        b' ' | b'\r' | b'\n' => Ok(at),
        _ => Err(INVALID),
    }
}

/// The version after the target, or none (HTTP/0.9). Returns where the end of the line is looked for.
#[inline]
fn protocol(buf: &[u8], at: usize, line: &mut RequestLine) -> Result<usize, Stop> {
    let at = spaces(buf, at)?;
    if matches!(byte(buf, at)?, b'\r' | b'\n') {
        line.version = Version::Http09;
        return Ok(at);
    }
    let start = at;
    let mut at = at;
    for want in *b"HTTP/" {
        if byte(buf, at)? != want {
            return Err(INVALID);
        }
        at += 1;
    }
    if line.path.is_empty() {
        line.path = Span::new(at - 1, at);
    }
    let (end, minor) = version(buf, at)?;
    line.protocol = Span::new(start, end);
    line.version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    spaces(buf, end)
}

/// `1.` and a minor version of up to three digits; the major has to be 1.
#[inline]
fn version(buf: &[u8], at: usize) -> Result<(usize, u32), Stop> {
    match byte(buf, at)? {
        b'1' => {}
        b'2'..=b'9' => return Err(Stop::Fault(RequestFault::InvalidVersion)),
        _ => return Err(INVALID),
    }
    match byte(buf, at + 1)? {
        b'.' => {}
        b'0'..=b'9' => return Err(Stop::Fault(RequestFault::InvalidVersion)),
        _ => return Err(INVALID),
    }
    let first = at + 2;
    let mut at = first;
    let mut minor = 0;
    while let digit @ b'0'..=b'9' = byte(buf, at)? {
        if minor > 99 {
            return Err(INVALID);
        }
        minor = minor * 10 + u32::from(digit - b'0');
        at += 1;
    }
    match byte(buf, at)? {
        b' ' | b'\r' | b'\n' if at > first => Ok((at, minor)),
        _ => Err(INVALID),
    }
}

/// CRLF or LF at `at`.
#[inline]
fn end(buf: &[u8], start: usize, at: usize, line: &mut RequestLine) -> Result<(), Stop> {
    line.line = Span::new(start, at);
    line.next = match byte(buf, at)? {
        b'\n' => at + 1,
        b'\r' if byte(buf, at + 1)? == b'\n' => at + 2,
        _ => return Err(INVALID),
    };
    Ok(())
}
