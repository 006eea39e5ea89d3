//! The chunked transfer coding (RFC 9112, 7.1), both ways.
//!
//! The decoder is stricter than nginx: after a chunk's size only an extension may come, and an
//! extension holds no control bytes. What it has accepted is written anew by [`chunk_head`], so
//! nothing of the peer's framing travels on.

use memchr::memchr;

use super::escape::hex_value;
use super::fault::ChunkFault;
use super::field::{Fields, Known};
use super::line::{self, Line, Name};
use super::scan;
use super::span::Span;

/// Ends a chunked body that has no trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// Ends the chunks of a body whose trailer fields and empty line follow.
pub const LAST_CHUNK_HEAD: &[u8] = b"0\r\n";
/// Follows the data of every chunk.
pub const CHUNK_TAIL: &[u8] = b"\r\n";

/// Hexadecimal digits of a size: 64 bits have 16. More can only be zeros, which nobody sends.
const SIZE_DIGITS_MAX: u32 = 16;
/// Bytes of extensions that one chunk may have: real ones are names or signatures of some tens.
const EXTENSION_MAX: u32 = 1024;
/// Bytes of extensions that a body may have beyond its bytes of data: one-byte chunks with long
/// extensions would make a peer's traffic a thousand times what the receiver counts.
const EXTENSION_SLACK: u64 = 16 * 1024;
/// Bytes of all trailer lines: one header buffer of nginx's `large_client_header_buffers`.
pub const TRAILERS_MAX: usize = 8 * 1024;
/// Trailer lines: far more than gRPC's two or a checksum's one.
pub const TRAILER_FIELDS_MAX: usize = 64;

/// Trailer fields that are dropped: those for framing, routing, authentication, request modifiers and
/// control data, or which say how to read the body that has passed already (RFC 9110, 6.5.1), and the
/// ones that gateways trust.
const FORBIDDEN: u64 = Known::TransferEncoding.bit()
    | Known::ContentLength.bit()
    | Known::Host.bit()
    | Known::Trailer.bit()
    | Known::Te.bit()
    | Known::Connection.bit()
    | Known::ProxyConnection.bit()
    | Known::KeepAlive.bit()
    | Known::Upgrade.bit()
    | Known::Http2Settings.bit()
    | Known::Expect.bit()
    | Known::MaxForwards.bit()
    | Known::Range.bit()
    | Known::IfMatch.bit()
    | Known::IfNoneMatch.bit()
    | Known::IfModifiedSince.bit()
    | Known::IfUnmodifiedSince.bit()
    | Known::IfRange.bit()
    | Known::Authorization.bit()
    | Known::ProxyAuthorization.bit()
    | Known::ProxyAuthenticate.bit()
    | Known::WwwAuthenticate.bit()
    | Known::Cookie.bit()
    | Known::SetCookie.bit()
    | Known::XApiKey.bit()
    | Known::Age.bit()
    | Known::CacheControl.bit()
    | Known::Pragma.bit()
    | Known::Expires.bit()
    | Known::Date.bit()
    | Known::Location.bit()
    | Known::Refresh.bit()
    | Known::RetryAfter.bit()
    | Known::Vary.bit()
    | Known::Status.bit()
    | Known::ContentType.bit()
    | Known::ContentEncoding.bit()
    | Known::ContentRange.bit()
    | Known::Forwarded.bit()
    | Known::Via.bit()
    | Known::XForwardedFor.bit()
    | Known::XForwardedProto.bit()
    | Known::XForwardedHost.bit()
    | Known::XRealIp.bit()
    | Known::XAccelRedirect.bit()
    | Known::XAccelExpires.bit()
    | Known::XAccelLimitRate.bit()
    | Known::XAccelBuffering.bit()
    | Known::XAccelCharset.bit();

/// What one call of [`Decoder::decode`] came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that are done with, `data` included.
    pub consumed: usize,
    /// Bytes of the body, in the input; may be none.
    pub data: Span,
    /// The body and its trailers are complete; what follows `consumed` is no part of them.
    pub done: bool,
}

/// Where in the coding the decoder stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// At the size of a chunk, or in it.
    #[default]
    Size,
    /// In the space behind the size.
    Space,
    /// In an extension.
    Extension,
    /// At the LF of the size's line.
    SizeLf,
    /// In the data.
    Data,
    /// At the CR behind the data.
    DataCr,
    /// At the LF behind the data.
    DataLf,
    /// In the trailer section.
    Trailer,
    /// At the end.
    Done,
}

/// Reads a chunked body, piece by piece.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    state: State,
    /// Bytes of data left in this chunk; while its size is read, the size so far.
    size: u64,
    /// Digits of the size so far.
    digits: u32,
    /// Bytes of extension in this chunk.
    extension: u32,
    /// Bytes of extensions in all chunks.
    extensions: u64,
    /// Bytes of data in all chunks.
    received: u64,
    /// The trailer fields, spans into `trailer_text`.
    trailers: Fields,
    /// The trailer lines that are kept, and the one being read.
    trailer_text: Vec<u8>,
    /// Where the line being read starts.
    trailer_line: usize,
    /// Bytes of all trailer lines.
    trailer_bytes: usize,
    /// Trailer lines, kept or not.
    trailer_lines: usize,
    /// Trailer names may hold underscores.
    underscores: bool,
}

impl Decoder {
    /// A decoder for a client's body. `underscores` as
    /// [`HeadLimits::underscores`](super::request::HeadLimits::underscores): without it trailer fields
    /// with an underscore in their name are dropped.
    pub fn new(underscores: bool) -> Decoder {
        Decoder { underscores, ..Decoder::default() }
    }

    /// A decoder for an upstream's body, whose names may hold underscores.
    pub fn upstream() -> Decoder {
        Decoder::new(true)
    }

    /// Makes it ready for another body; keeps the memory.
    pub fn clear(&mut self) {
        let mut trailers = std::mem::take(&mut self.trailers);
        let mut trailer_text = std::mem::take(&mut self.trailer_text);
        trailers.clear();
        trailer_text.clear();
        *self = Decoder { trailers, trailer_text, underscores: self.underscores, ..Decoder::default() };
    }

    /// Whether the whole body was read.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes of data the current chunk still has, 0 between chunks: what a reader can ask for at once.
    pub fn data_left(&self) -> u64 {
        if self.state == State::Data { self.size } else { 0 }
    }

    /// Bytes of the body so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The trailer fields and the bytes their spans point into, complete once the body is.
    pub fn trailers(&self) -> (&Fields, &[u8]) {
        (&self.trailers, &self.trailer_text)
    }

    /// Decodes the front of `input`: framing, then at most one run of data, then framing again up to
    /// the next data. Call it again with what was not consumed until it is done, or until it consumes
    /// nothing for want of input.
    ///
    /// # Errors
    /// [`ChunkFault`]: where the body ends can no longer be known, the connection has to close. A fault
    /// behind a run of data is reported by the next call.
    pub fn decode(&mut self, input: &[u8]) -> Result<Progress, ChunkFault> {
        let mut at = 0;
        let mut data: Option<Span> = None;
        while let Some(&byte) = input.get(at) {
            match self.state {
                State::Done => break,
                State::Data => {
                    if data.is_some() {
                        break;
                    }
                    let run = self.size.min((input.len() - at) as u64);
                    data = Some(Span::new(at, at + run as usize));
                    at += run as usize;
                    self.received += run;
                    self.size -= run;
                    if self.size == 0 {
                        self.state = State::DataCr;
                    }
                    continue;
                }
                _ => {}
            }
            let step = match self.state {
                State::Trailer => self.trailer(input.get(at..).unwrap_or_default()),
                State::Extension => self.extension(input.get(at..).unwrap_or_default()),
                _ => self.step(byte).map(|()| 1),
            };
            match step {
                Ok(taken) => at += taken,
                Err(_) if data.is_some() => break,
                Err(fault) => return Err(fault),
            }
        }
        Ok(Progress { consumed: at, data: data.unwrap_or_default(), done: self.is_done() })
    }

    /// Takes one byte of framing. On a fault the state stays, so that it is met again.
    fn step(&mut self, byte: u8) -> Result<(), ChunkFault> {
        self.state = match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = u64::from(hex_value(byte).ok_or(ChunkFault::Size)?);
                if self.digits >= SIZE_DIGITS_MAX || self.size > i64::MAX as u64 >> 4 {
                    return Err(ChunkFault::SizeOverflow);
                }
                self.size = self.size << 4 | digit;
                self.digits += 1;
                State::Size
            }
            (State::Size, _) if self.digits == 0 => return Err(ChunkFault::Size),
            (State::Size | State::Space, b' ' | b'\t') => {
                self.count_extension(1)?;
                State::Space
            }
            (State::Size | State::Space, b';') => {
                self.count_extension(1)?;
                State::Extension
            }
            (State::Size | State::Space, b'\r') => State::SizeLf,
            (State::Size | State::Space, b'\n') => return Err(ChunkFault::LineEnd),
            (State::Size | State::Space, _) => return Err(ChunkFault::Size),
            (State::SizeLf, b'\n') => {
                self.digits = 0;
                self.extension = 0;
                if self.size == 0 { State::Trailer } else { State::Data }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size,
            _ => return Err(ChunkFault::LineEnd),
        };
        Ok(())
    }

    /// Skips the extension at the front of `rest`, up to and with its CR.
    fn extension(&mut self, rest: &[u8]) -> Result<usize, ChunkFault> {
        let run = scan::control(rest);
        let end = rest.get(run);
        let taken = run + usize::from(matches!(end, Some(b'\t' | b'\r')));
        // Its length is weighed before its end, so that the fault does not depend on where the bytes are
        // cut; and counted only where there is none, as a fault is met again.
        let counts = self.extended(taken)?;
        match end {
            Some(b'\n') => return Err(ChunkFault::LineEnd),
            Some(b'\r') => self.state = State::SizeLf,
            Some(b'\t') | None => {}
            Some(_) => return Err(ChunkFault::Extension),
        }
        (self.extension, self.extensions) = counts;
        Ok(taken)
    }

    /// Counts bytes behind a size.
    fn count_extension(&mut self, bytes: usize) -> Result<(), ChunkFault> {
        (self.extension, self.extensions) = self.extended(bytes)?;
        Ok(())
    }

    /// The bytes of extension in this chunk and in all with so many more.
    fn extended(&self, bytes: usize) -> Result<(u32, u64), ChunkFault> {
        let extension = self.extension.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        let extensions = self.extensions.saturating_add(bytes as u64);
        if extension > EXTENSION_MAX || extensions > EXTENSION_SLACK.saturating_add(self.received) {
            return Err(ChunkFault::Extension);
        }
        Ok((extension, extensions))
    }

    /// Takes what there is of a trailer line at the front of `rest`.
    fn trailer(&mut self, rest: &[u8]) -> Result<usize, ChunkFault> {
        let end = memchr(b'\n', rest);
        let taken = end.map_or(rest.len(), |lf| lf + 1);
        if self.trailer_bytes + taken > TRAILERS_MAX {
            return Err(ChunkFault::TrailerTooLarge);
        }
        self.trailer_bytes += taken;
        self.trailer_text.extend_from_slice(rest.get(..taken).unwrap_or_default());
        if end.is_some() {
            self.trailer_done()?;
        }
        Ok(taken)
    }

    /// A whole trailer line is there: keep the field, drop it, or be done.
    fn trailer_done(&mut self) -> Result<(), ChunkFault> {
        let text = self.trailer_text.as_slice();
        if !text.get(self.trailer_line..).unwrap_or_default().ends_with(b"\r\n") {
            return Err(ChunkFault::LineEnd);
        }
        let mut kept = false;
        match line::read(text, self.trailer_line) {
            Line::Field { field, name, .. } => {
                self.trailer_lines += 1;
                if self.trailer_lines > TRAILER_FIELDS_MAX {
                    return Err(ChunkFault::TrailerTooLarge);
                }
                let named = name == Name::Plain || name == Name::Underscore && self.underscores;
                kept = named && field.known.bit() & FORBIDDEN == 0;
                if kept {
                    self.trailers.push(field);
                }
            }
            Line::Empty { .. } => self.state = State::Done,
            Line::Bad { .. } | Line::More => return Err(ChunkFault::Trailer),
        }
        if !kept {
            self.trailer_text.truncate(self.trailer_line);
        }
        self.trailer_line = self.trailer_text.len();
        Ok(())
    }
}

/// The line before a chunk of `len` bytes, written into `room`. `len` 0 would end the body: see
/// [`LAST_CHUNK`]. The data and [`CHUNK_TAIL`] follow.
pub fn chunk_head(len: usize, room: &mut [u8; 18]) -> &[u8] {
    let mut left = len as u64;
    let mut start = 16;
    room[16..].copy_from_slice(CHUNK_TAIL);
    for at in (0..16).rev() {
        let digit = (left & 15) as u8;
        room[at] = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
        start = at;
        left >>= 4;
        if left == 0 {
            break;
        }
    }
    &room[start..]
}

#[cfg(test)]
mod tests;
