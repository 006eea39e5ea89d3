//! The head of a client's request: request line, header fields, and what they say together.
//!
//! [`RequestHead::parse`] is called again with more bytes until the head is complete; it goes on
//! with the line it stopped in, so a head that drips in costs no more than one that comes at once.

use memchr::memchr;

use super::explain;
use super::fault::RequestFault;
use super::field::{Field, Fields, Known};
use super::host;
use super::line::{self, Line, Name};
use super::list;
use super::method::{Method, Version};
use super::request_line::{self, Stop};
use super::span::Span;

/// How an HTTP/2 client with prior knowledge begins (RFC 9113, 3.4). This parser refuses it as an
/// invalid request; who also speaks HTTP/2 on the socket looks for it first.
pub const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// `large_client_header_buffers 4 8k`: nginx's default number of buffers.
const LARGE_BUFFERS: usize = 4;
/// The same directive's default size of one buffer, which one line has to fit, bytes.
const LARGE_BUFFER: usize = 8 * 1024;
/// `client_header_buffer_size 1k`: nginx's default, bytes.
const HEADER_BUFFER: usize = 1024;
/// `max_headers 1000`: nginx's default.
const FIELDS_MAX: usize = 1000;

/// The fields that nginx takes once only (its unique headers, without `Host`, which it words apart).
const UNIQUE: u64 = Known::IfModifiedSince.bit()
    | Known::IfUnmodifiedSince.bit()
    | Known::IfMatch.bit()
    | Known::IfNoneMatch.bit()
    | Known::IfRange.bit()
    | Known::ContentLength.bit()
    | Known::ContentRange.bit()
    | Known::TransferEncoding.bit()
    | Known::Expect.bit()
    | Known::Authorization.bit()
    | Known::ProxyAuthorization.bit();

/// What a head may measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// One line with its end, bytes: the size of `large_client_header_buffers`.
    pub line_max: usize,
    /// The whole head, bytes: number times size of `large_client_header_buffers`, and
    /// `client_header_buffer_size`.
    pub total_max: usize,
    /// Header lines that are kept: `max_headers`.
    pub fields_max: usize,
    /// `underscores_in_headers`: with it a name may hold underscores; without, it is an invalid one.
    pub underscores: bool,
    /// `ignore_invalid_headers`: a field with an invalid name is dropped. Without it the field is
    /// kept if its name is a token (RFC 9110, 5.6.2), else the request is refused.
    pub ignore_invalid: bool,
}

impl Default for HeadLimits {
    /// nginx's defaults.
    fn default() -> Self {
        HeadLimits {
            line_max: LARGE_BUFFER,
            total_max: LARGE_BUFFERS * LARGE_BUFFER + HEADER_BUFFER,
            fields_max: FIELDS_MAX,
            underscores: false,
            ignore_invalid: true,
        }
    }
}

/// How far a head has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The head ends at `len`.
    Complete,
    /// More bytes are needed.
    Partial,
}

/// How the end of a request's body is known (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    #[default]
    None,
    /// As many bytes as `Content-Length` says; may be 0.
    Length(u64),
    /// The chunked transfer coding.
    Chunked,
}

/// Where the parser stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// In the empty lines before the request line, or in it.
    #[default]
    Line,
    /// In the header lines.
    Fields,
    /// At the end, good or bad: the next call begins a new head.
    Over,
}

/// The head of a request. Spans point into the buffer it was parsed from. After a fault what was
/// read so far stays, for the logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// Its text.
    pub method_text: Span,
    /// The request target as sent.
    pub target: Span,
    /// The version.
    pub version: Version,
    /// `HTTP/1.1` as sent; empty in HTTP/0.9.
    pub protocol: Span,
    /// The header fields, without those dropped for their names.
    pub fields: Fields,
    /// Bytes of the head, with the empty lines skipped before it and the one that ends it.
    pub len: usize,
    /// The host as sent, with its port: the authority of an absolute-form target, else `Host`. Checked.
    pub host: Option<Span>,
    /// The name in `host`: no port, no final dot; not yet lower-cased. Empty without a host.
    pub host_name: Span,
    /// The port in `host`, 0 when none was given.
    pub host_port: u16,
    /// The name holds capitals.
    pub host_capitals: bool,
    /// Scheme of an absolute-form target, else empty.
    pub schema: Span,
    /// Authority of an absolute-form target, else empty.
    pub authority: Span,
    /// Path and arguments of the target, undecoded: nginx's `$request_uri`. It starts with `?` when an
    /// absolute-form target has arguments but no path.
    pub path: Span,
    /// The request line without its end.
    pub request_line: Span,
    /// The connection may serve another request: by version and the tokens of `Connection`.
    pub keep_alive: bool,
    /// `Connection: upgrade` in HTTP/1.1.
    pub connection_upgrade: bool,
    /// How the body is framed.
    pub framing: Framing,
    /// The client waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
    /// Fields dropped for their names.
    pub ignored: u32,
    /// The field, or for an invalid line its front part, that the fault is about; for the log.
    culprit: Field,
    /// The field it repeats, where the fault is a repetition.
    previous: Field,
    stage: Stage,
    /// Where the request line starts.
    origin: usize,
    /// Where the line starts that is read next.
    at: usize,
    /// No line ends before this.
    scanned: usize,
    /// `Connection: close` was seen.
    close: bool,
    /// `Connection: keep-alive` was seen.
    persist: bool,
}

impl RequestHead {
    /// Puts a text that is not longer in the place of the target's path and arguments, in the buffer
    /// itself; the rest of the request line follows it.
    pub fn replace_path(&mut self, buf: &mut [u8], text: &[u8]) {
        let (start, end) = (self.path.start as usize, self.path.end as usize);
        let line_end = self.request_line.end as usize;
        let Some(shorter) = end.saturating_sub(start).checked_sub(text.len()).filter(|_| end <= line_end)
        else {
            return;
        };
        let Some(place) = buf.get_mut(start..start + text.len()) else { return };
        place.copy_from_slice(text);
        if shorter == 0 || line_end > buf.len() {
            return;
        }
        buf.copy_within(end..line_end, end - shorter);
        buf[line_end - shorter..line_end].fill(b' ');
        let by = shorter as u32;
        self.path.end -= by;
        self.target.end -= by;
        self.request_line.end -= by;
        if self.protocol.start as usize >= end {
            self.protocol.start -= by;
            self.protocol.end -= by;
        }
    }

    /// Forgets everything but the memory. Needed only when a partial head is given up.
    pub fn clear(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = RequestHead { fields, ..RequestHead::default() };
    }

    /// Parses the head at the front of `buf`, or goes on with it: until it returns anything but
    /// [`Parsed::Partial`], the bytes given before have to be there again at the front. Bytes behind
    /// the head are not looked at. After [`Parsed::Complete`] or a fault the next call starts anew.
    ///
    /// # Errors
    /// [`RequestFault`], for which the request is answered [`RequestFault::status`] and the
    /// connection closed: nothing behind a malformed head can be trusted.
    pub fn parse(&mut self, buf: &[u8], limits: &HeadLimits) -> Result<Parsed, RequestFault> {
        if self.stage == Stage::Over {
            self.clear();
        }
        let outcome = self.advance(buf, limits);
        match outcome {
            Ok(Parsed::Partial) => {}
            Ok(Parsed::Complete) => self.stage = Stage::Over,
            Err(_) => {
                self.stage = Stage::Over;
                self.keep_alive = false;
                if self.request_line.is_empty() {
                    self.request_line = first_line(buf, self.origin);
                }
            }
        }
        outcome
    }

    /// Appends nginx's log message for a fault of this head, with the bytes it is about. What a
    /// log must not hold (control bytes) is not filtered here, except the byte it complains of.
    pub fn explain(&self, fault: RequestFault, buf: &[u8], out: &mut Vec<u8>) {
        let long_field = fault == RequestFault::HeadTooLarge && !self.culprit.name.is_empty();
        let fault = if long_field { RequestFault::HeaderTooLong } else { fault };
        out.extend_from_slice(fault.message().as_bytes());
        match fault {
            RequestFault::InvalidHeader => explain::invalid_line(self.culprit.name, buf, out),
            RequestFault::HeaderTooLong => explain::long_line(self.culprit.name, buf, out),
            RequestFault::DuplicateHeader | RequestFault::DuplicateHost => {
                explain::repeated(&self.culprit, &self.previous, buf, out);
            }
            RequestFault::UnknownTransferEncoding => explain::value(&self.culprit, buf, out),
            _ => {}
        }
        out.extend_from_slice(b" while ");
        out.extend_from_slice(fault.action().as_bytes());
    }

    /// What is being read, as the error log says it: the request line, or the headers behind it.
    pub fn action(&self) -> &'static str {
        match self.stage {
            Stage::Line => "reading client request line",
            Stage::Fields | Stage::Over => "reading client request headers",
        }
    }

    /// The fields of a complete head that were dropped for their names; `buf` and `limits` are those
    /// it was parsed with.
    pub fn dropped<'b>(&self, buf: &'b [u8], limits: &'b HeadLimits) -> impl Iterator<Item = Field> + 'b {
        let lines = buf.get(..self.len).unwrap_or_default();
        let mut at = memchr(b'\n', lines.get(self.origin..).unwrap_or_default())
            .map_or(self.len, |end| self.origin + end + 1);
        std::iter::from_fn(move || {
            let Line::Field { field, name, next } = line::read(lines, at) else { return None };
            at = next;
            Some((field, name))
        })
        .filter(|(_, name)| is_invalid(*name, limits))
        .map(|(field, _)| field)
    }

    /// Reads on from where the last call stopped.
    fn advance(&mut self, buf: &[u8], limits: &HeadLimits) -> Result<Parsed, RequestFault> {
        if self.stage == Stage::Line {
            self.skip_empty_lines(buf);
            let window = self.window(buf, limits);
            if self.waits(buf, window, limits) {
                return Ok(Parsed::Partial);
            }
            match request_line::read(buf.get(..window).unwrap_or_default(), self.at) {
                Ok(line) => self.take_line(buf, &line)?,
                Err(Stop::Fault(fault)) => return Err(fault),
                Err(Stop::More) if self.full(window, limits) => {
                    return Err(RequestFault::LineTooLong);
                }
                Err(Stop::More) => return Ok(self.wait(buf)),
            }
            if self.version == Version::Http09 {
                self.len = self.at;
                return Ok(Parsed::Complete);
            }
        }
        loop {
            let window = self.window(buf, limits);
            if self.waits(buf, window, limits) {
                return Ok(Parsed::Partial);
            }
            match line::read(buf.get(..window).unwrap_or_default(), self.at) {
                Line::Field { field, name, next } => {
                    self.at = next;
                    self.take_field(buf, field, name, limits)?;
                }
                Line::Empty { next } => {
                    self.at = next;
                    self.len = next;
                    self.finish(buf)?;
                    return Ok(Parsed::Complete);
                }
                Line::Bad { at } => {
                    self.culprit = Field { name: Span::new(self.at, at), ..Field::default() };
                    return Err(RequestFault::InvalidHeader);
                }
                Line::More if self.full(window, limits) => {
                    self.culprit = Field { name: Span::new(self.at, window), ..Field::default() };
                    let long = window - self.at >= limits.line_max;
                    return Err(if long { RequestFault::HeaderTooLong } else { RequestFault::HeadTooLarge });
                }
                Line::More => return Ok(self.wait(buf)),
            }
        }
    }

    /// Skips CR and LF before the request line, as nginx does (RFC 9112, 2.2 asks for one CRLF).
    fn skip_empty_lines(&mut self, buf: &[u8]) {
        if self.at > self.origin {
            return;
        }
        while let Some(b'\r' | b'\n') = buf.get(self.at) {
            self.at += 1;
        }
        self.origin = self.at;
    }

    /// One past the last byte the line at `at` may use.
    #[inline]
    fn window(&self, buf: &[u8], limits: &HeadLimits) -> usize {
        // Empty lines before the head count, so that they cannot be sent for ever.
        buf.len().min(self.at.saturating_add(limits.line_max)).min(limits.total_max)
    }

    /// Whether the line that starts at `at` may not grow beyond `window`.
    fn full(&self, window: usize, limits: &HeadLimits) -> bool {
        window >= self.at.saturating_add(limits.line_max) || window >= limits.total_max
    }

    /// Whether the line begun in an earlier call is still without its end: nothing to do then.
    #[inline]
    fn waits(&mut self, buf: &[u8], window: usize, limits: &HeadLimits) -> bool {
        if self.scanned <= self.at || self.full(window, limits) {
            return false;
        }
        if memchr(b'\n', buf.get(self.scanned..).unwrap_or_default()).is_some() {
            return false;
        }
        self.scanned = buf.len();
        true
    }

    /// Remembers that no line ends in what is there.
    fn wait(&mut self, buf: &[u8]) -> Parsed {
        self.scanned = buf.len();
        Parsed::Partial
    }

    /// Takes over the request line.
    fn take_line(&mut self, buf: &[u8], line: &request_line::RequestLine) -> Result<(), RequestFault> {
        self.method = line.method;
        self.method_text = line.method_text;
        self.target = line.target;
        self.schema = line.schema;
        self.authority = line.authority;
        self.path = line.path;
        self.protocol = line.protocol;
        self.version = line.version;
        self.request_line = line.line;
        self.at = line.next;
        self.stage = Stage::Fields;
        if !line.schema.is_empty() || line.method == Method::Connect {
            self.take_host(buf, line.authority).ok_or(RequestFault::InvalidTargetHost)?;
        }
        Ok(())
    }

    /// Checks a host and, unless there is one already, makes it the request's.
    fn take_host(&mut self, buf: &[u8], span: Span) -> Option<()> {
        let checked = host::check(span.of(buf)).ok()?;
        if self.host.is_none() {
            self.host = Some(span);
            self.host_name = Span { start: span.start, end: span.start + checked.name_len as u32 };
            self.host_port = checked.port;
            self.host_capitals = checked.capitals;
        }
        Some(())
    }

    /// Takes over one field, unless its name has it dropped.
    #[inline]
    fn take_field(
        &mut self,
        buf: &[u8],
        field: Field,
        name: Name,
        limits: &HeadLimits,
    ) -> Result<(), RequestFault> {
        if is_invalid(name, limits) {
            if limits.ignore_invalid {
                self.ignored += 1;
                return Ok(());
            }
            if name == Name::Odd {
                self.culprit = Field { name: field.name, ..Field::default() };
                return Err(RequestFault::InvalidHeader);
            }
        }
        if self.fields.list.len() >= limits.fields_max {
            return Err(RequestFault::TooManyFields);
        }
        match field.known {
            Known::Other => {}
            Known::Host => {
                self.once(field, RequestFault::DuplicateHost)?;
                self.culprit = field;
                if self.take_host(buf, field.value).is_none() {
                    // The log shows it.
                    self.fields.push(field);
                    return Err(RequestFault::InvalidHost);
                }
            }
            Known::Connection => self.take_connection(field.value.of(buf)),
            known if known.bit() & UNIQUE != 0 => self.once(field, RequestFault::DuplicateHeader)?,
            _ => {}
        }
        self.fields.push(field);
        Ok(())
    }

    /// Refuses the field if there is one of its name.
    fn once(&mut self, field: Field, fault: RequestFault) -> Result<(), RequestFault> {
        match self.fields.find(field.known) {
            None => Ok(()),
            Some(previous) => {
                self.previous = *previous;
                self.culprit = field;
                Err(fault)
            }
        }
    }

    /// The options of one `Connection` field (RFC 9110, 7.6.1).
    fn take_connection(&mut self, value: &[u8]) {
        for token in list::tokens(value) {
            if token.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if token.eq_ignore_ascii_case(b"keep-alive") {
                self.persist = true;
            } else if token.eq_ignore_ascii_case(b"upgrade") {
                self.connection_upgrade = true;
            }
        }
    }

    /// What only the whole head can say, in nginx's order.
    fn finish(&mut self, buf: &[u8]) -> Result<(), RequestFault> {
        let at_least_11 = self.version >= Version::Http11;
        if at_least_11 && !self.fields.has(Known::Host) {
            return Err(RequestFault::HostMissing);
        }
        self.framing = self.body(buf)?;
        match self.method {
            // In HTTP/1.1 it is for the server that is asked to say.
            Method::Connect if self.version != Version::Http11 => return Err(RequestFault::Connect),
            Method::Trace => return Err(RequestFault::Trace),
            _ => {}
        }
        self.keep_alive = !self.close && (at_least_11 || self.persist);
        self.connection_upgrade &= at_least_11;
        if at_least_11 && let Some(expect) = self.fields.find(Known::Expect) {
            self.expect_continue = expect.value.of(buf).eq_ignore_ascii_case(b"100-continue");
        }
        Ok(())
    }

    /// The framing, when it is beyond doubt (RFC 9112, 6.1 to 6.3).
    fn body(&mut self, buf: &[u8]) -> Result<Framing, RequestFault> {
        let length = match self.fields.find(Known::ContentLength) {
            None => None,
            Some(field) => {
                self.culprit = *field;
                Some(list::decimal(field.value.of(buf)).ok_or(RequestFault::InvalidContentLength)?)
            }
        };
        let Some(coding) = self.fields.find(Known::TransferEncoding) else {
            return Ok(length.map_or(Framing::None, Framing::Length));
        };
        self.culprit = *coding;
        if self.version < Version::Http11 {
            return Err(RequestFault::TransferEncodingIn10);
        }
        if !coding.value.of(buf).eq_ignore_ascii_case(b"chunked") {
            return Err(RequestFault::UnknownTransferEncoding);
        }
        if length.is_some() {
            return Err(RequestFault::LengthAndTransferEncoding);
        }
        Ok(Framing::Chunked)
    }
}

/// Whether a field's name is one of those that `ignore_invalid_headers` is about.
fn is_invalid(name: Name, limits: &HeadLimits) -> bool {
    name > Name::Plain && !(name == Name::Underscore && limits.underscores)
}

/// What there is of the line at `start`, for a request line that could not be parsed.
fn first_line(buf: &[u8], start: usize) -> Span {
    let rest = buf.get(start..).unwrap_or_default();
    let len = rest.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(rest.len());
    Span::new(start, start + len)
}

#[cfg(test)]
mod tests;
