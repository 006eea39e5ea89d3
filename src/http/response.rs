//! The head of an upstream's answer: status line, header fields, and how the body is framed.
//!
//! As strict as towards clients. Two leniences are nginx's: lines may end in a bare LF, and a field
//! that may come once (`Date`, `Location`, ...) is dropped when it comes again.

use memchr::memchr;

use super::explain;
use super::fault::ResponseFault;
use super::field::{Field, Fields, Known};
use super::line::{self, Line, Name};
use super::list;
use super::method::{Method, Version};
use super::request::{HeadLimits, Parsed};
use super::scan;
use super::span::Span;

/// The fields of which nginx keeps the first and drops the rest.
const FIRST_ONLY: u64 = Known::Status.bit()
    | Known::ContentType.bit()
    | Known::Date.bit()
    | Known::LastModified.bit()
    | Known::Etag.bit()
    | Known::Server.bit()
    | Known::Location.bit()
    | Known::Refresh.bit()
    | Known::Expires.bit()
    | Known::XAccelExpires.bit()
    | Known::XAccelRedirect.bit();

/// The fields that decide where the body ends: a second one is a fault.
const FRAMING: u64 = Known::ContentLength.bit() | Known::TransferEncoding.bit();

/// How the end of an answer's body is known (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyFraming {
    /// There is no body, whatever the fields say.
    #[default]
    None,
    /// As many bytes as `Content-Length` says; may be 0.
    Length(u64),
    /// The chunked transfer coding.
    Chunked,
    /// All until the upstream closes: a truncation cannot be told from the end.
    UntilClose,
}

/// Where the parser stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// In the status line.
    #[default]
    Line,
    /// In the header lines.
    Fields,
    /// At the end, good or bad: the next call begins a new head.
    Over,
}

/// The head of an answer. Spans point into the buffer it was parsed from. An interim answer (1xx) is
/// a head of its own, with the next one behind its `len`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status, 100 to 999.
    pub status: u16,
    /// The version.
    pub version: Version,
    /// `404 Not Found`: status and reason as sent.
    pub status_line: Span,
    /// The reason as sent, may be empty.
    pub reason: Span,
    /// The header fields, without repeated ones and those whose name is no token.
    pub fields: Fields,
    /// Bytes of the head with the empty line that ends it.
    pub len: usize,
    /// The upstream will take another request after this body: HTTP/1.1 without `Connection: close`.
    /// A body that lasts until the close says no all the same, and so does an upgrade.
    pub keep_alive: bool,
    /// 101: what follows is no HTTP any more.
    pub upgrade: bool,
    /// `Content-Length`, if it came.
    pub length: Option<u64>,
    /// `Transfer-Encoding: chunked` came.
    pub chunked: bool,
    /// Fields dropped for their names or as repeated.
    pub ignored: u32,
    stage: Stage,
    /// Where the line starts that is read next.
    at: usize,
    /// No line ends before this.
    scanned: usize,
    /// `Connection: close` was seen.
    close: bool,
    /// The field, or for an invalid line its front part, that the fault is about; for the log.
    culprit: Field,
    /// The field it repeats, where the fault is a repetition.
    previous: Field,
}

impl ResponseHead {
    /// Forgets everything but the memory. Needed only when a partial head is given up.
    pub fn clear(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = ResponseHead { fields, ..ResponseHead::default() };
    }

    /// Parses the head at the front of `buf`, or goes on with it, as
    /// [`RequestHead::parse`](super::request::RequestHead::parse) does. Of the limits `total_max`
    /// (`proxy_buffer_size`) and `fields_max` count here.
    ///
    /// # Errors
    /// [`ResponseFault`]: the answer is 502, the connection is closed.
    pub fn parse(&mut self, buf: &[u8], limits: &HeadLimits) -> Result<Parsed, ResponseFault> {
        if self.stage == Stage::Over {
            self.clear();
        }
        let outcome = self.advance(buf, limits);
        if outcome != Ok(Parsed::Partial) {
            self.stage = Stage::Over;
        }
        if outcome.is_err() {
            self.keep_alive = false;
        }
        outcome
    }

    /// Appends nginx's log message for a fault of this head, with the bytes it is about. What a log
    /// must not hold (control bytes) is not filtered here, except the byte it complains of.
    pub fn explain(&self, fault: ResponseFault, buf: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(fault.message().as_bytes());
        match fault {
            ResponseFault::InvalidHeader => explain::invalid_line(self.culprit.name, buf, out),
            ResponseFault::DuplicateHeader => explain::repeated(&self.culprit, &self.previous, buf, out),
            ResponseFault::InvalidContentLength => explain::field(&self.culprit, buf, out),
            ResponseFault::UnknownTransferEncoding => explain::value(&self.culprit, buf, out),
            _ => {}
        }
        out.extend_from_slice(b" while ");
        out.extend_from_slice(fault.action().as_bytes());
    }

    /// How the body of this answer to a `method` request is framed (RFC 9112, 6.3). Interim answers,
    /// 204, 304 and whatever answers HEAD have none.
    ///
    /// # Errors
    /// [`ResponseFault::LengthAndTransferEncoding`]: a final answer that has both is refused.
    pub fn framing(&self, method: Method) -> Result<BodyFraming, ResponseFault> {
        if (100..200).contains(&self.status) {
            return Ok(BodyFraming::None);
        }
        if self.chunked && self.length.is_some() {
            return Err(ResponseFault::LengthAndTransferEncoding);
        }
        Ok(match (self.status, method) {
            (204 | 304, _) | (_, Method::Head) => BodyFraming::None,
            _ if self.chunked => BodyFraming::Chunked,
            _ => self.length.map_or(BodyFraming::UntilClose, BodyFraming::Length),
        })
    }

    /// Reads on from where the last call stopped.
    fn advance(&mut self, buf: &[u8], limits: &HeadLimits) -> Result<Parsed, ResponseFault> {
        let window = buf.get(..buf.len().min(limits.total_max)).unwrap_or_default();
        let full = window.len() >= limits.total_max;
        if self.scanned > self.at && !full {
            let fresh = window.get(self.scanned..).unwrap_or_default();
            if memchr(b'\n', fresh).is_none() {
                self.scanned = window.len();
                return Ok(Parsed::Partial);
            }
        }
        if self.stage == Stage::Line && !self.read_status_line(window)? {
            return self.short(window, full);
        }
        loop {
            match line::read(window, self.at) {
                Line::Field { field, name, next } => {
                    self.at = next;
                    let dropped = FIRST_ONLY & field.known.bit() != 0 && self.fields.has(field.known);
                    if name > Name::Token || dropped {
                        self.ignored += 1;
                        continue;
                    }
                    if self.fields.list.len() >= limits.fields_max {
                        return Err(ResponseFault::TooManyFields);
                    }
                    if self.status >= 200 {
                        self.take_field(field, field.value.of(window))?;
                    }
                    self.fields.push(field);
                }
                Line::Empty { next } => {
                    self.len = next;
                    self.finish()?;
                    return Ok(Parsed::Complete);
                }
                Line::Bad { at } => {
                    self.culprit = Field { name: Span::new(self.at, at), ..Field::default() };
                    return Err(ResponseFault::InvalidHeader);
                }
                Line::More => return self.short(window, full),
            }
        }
    }

    /// The line in hand has no end: that is a fault when it cannot come any more.
    fn short(&mut self, window: &[u8], full: bool) -> Result<Parsed, ResponseFault> {
        self.scanned = window.len();
        if full { Err(ResponseFault::HeadTooLarge) } else { Ok(Parsed::Partial) }
    }

    /// `HTTP/1.1 200 OK`; false when it has no end yet.
    fn read_status_line(&mut self, buf: &[u8]) -> Result<bool, ResponseFault> {
        let Some(line) = status_line(buf)? else { return Ok(false) };
        self.version = line.version;
        self.status = line.status;
        self.status_line = Span::new(line.start, line.end);
        self.reason = Span::new(line.reason.min(line.end), line.end);
        self.at = line.next;
        self.stage = Stage::Fields;
        if self.version < Version::Http11 && self.status == 103 {
            return Err(ResponseFault::EarlyHintsIn10);
        }
        Ok(true)
    }

    /// What the fields say that decide over body and connection. Interim answers have neither.
    #[inline]
    fn take_field(&mut self, field: Field, value: &[u8]) -> Result<(), ResponseFault> {
        if field.known.bit() & FRAMING != 0 {
            self.culprit = field;
            if let Some(previous) = self.fields.find(field.known) {
                self.previous = *previous;
                return Err(ResponseFault::DuplicateHeader);
            }
        }
        match field.known {
            Known::ContentLength => {
                self.length = Some(list::decimal(value).ok_or(ResponseFault::InvalidContentLength)?);
            }
            Known::TransferEncoding if value.eq_ignore_ascii_case(b"chunked") => self.chunked = true,
            Known::TransferEncoding => return Err(ResponseFault::UnknownTransferEncoding),
            Known::Connection => self.close |= list::has(value, b"close"),
            _ => {}
        }
        Ok(())
    }

    /// What only the whole head can say.
    fn finish(&mut self) -> Result<(), ResponseFault> {
        if self.chunked && self.length.is_some() {
            return Err(ResponseFault::LengthAndTransferEncoding);
        }
        self.upgrade = self.status == 101;
        self.keep_alive = self.version >= Version::Http11 && !self.close && !self.upgrade;
        Ok(())
    }
}

/// A status line taken apart; offsets into the buffer.
struct StatusLine {
    version: Version,
    status: u16,
    /// The first digit of the status.
    start: usize,
    /// Where the reason starts.
    reason: usize,
    /// Where the line ends, without CRLF.
    end: usize,
    next: usize,
}

/// Reads the status line at the front (RFC 9112, 4); `None` when it has no end yet. Major version 1
/// only. Several spaces before the status pass, and so does `403.14 Reason`, which IIS may send.
fn status_line(buf: &[u8]) -> Result<Option<StatusLine>, ResponseFault> {
    const BAD: ResponseFault = ResponseFault::InvalidStatusLine;
    const START: &[u8] = b"HTTP/1.";
    let front = buf.get(..START.len().min(buf.len())).unwrap_or_default();
    if !START.starts_with(front) {
        return Err(BAD);
    }
    let rest = buf.get(START.len()..).unwrap_or_default();
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let Some(&after) = rest.get(digits) else {
        return if digits > MINOR_DIGITS_MAX { Err(BAD) } else { Ok(None) };
    };
    if after != b' ' || digits == 0 || digits > MINOR_DIGITS_MAX {
        return Err(BAD);
    }
    let zero = rest.iter().take(digits).all(|&b| b == b'0');
    let version = if zero { Version::Http10 } else { Version::Http11 };
    let mut start = START.len() + digits;
    while buf.get(start) == Some(&b' ') {
        start += 1;
    }
    let code = buf.get(start..).unwrap_or_default();
    let code = code.get(..code.len().min(3)).unwrap_or_default();
    if !code.iter().all(u8::is_ascii_digit) {
        return Err(BAD);
    }
    let &[a, b, c] = code else { return Ok(None) };
    let status = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
    let after = start + code.len();
    match buf.get(after) {
        None => return Ok(None),
        Some(b' ' | b'.' | b'\r' | b'\n') if status >= 100 => {}
        Some(_) => return Err(BAD),
    }
    let Some((end, next)) = line_end(buf, after)? else { return Ok(None) };
    Ok(Some(StatusLine { version, status, start, reason: after + 1, end, next }))
}

/// Digits of a minor version, at most as nginx takes them.
const MINOR_DIGITS_MAX: usize = 3;

/// Where the text from `start` ends and the next line starts. TAB may stand in it, other control
/// bytes may not.
fn line_end(buf: &[u8], start: usize) -> Result<Option<(usize, usize)>, ResponseFault> {
    let mut at = start;
    loop {
        at += scan::control(buf.get(at..).unwrap_or_default());
        match (buf.get(at), buf.get(at + 1)) {
            (None, _) | (Some(b'\r'), None) => return Ok(None),
            (Some(b'\t'), _) => at += 1,
            (Some(b'\n'), _) => return Ok(Some((at, at + 1))),
            (Some(b'\r'), Some(b'\n')) => return Ok(Some((at, at + 2))),
            _ => return Err(ResponseFault::InvalidStatusLine),
        }
    }
}

#[cfg(test)]
mod tests;
