//! Reading an HTTP/1.x response: where it ends, its status, and whether the
//! connection may carry another request.
//!
//! The parser takes bytes in whatever pieces they arrive and looks at no more
//! of them than framing needs (RFC 9112 section 6). A head that arrives whole
//! is parsed where it lies; only a head cut in two is copied.

use memchr::memchr;

use crate::head::{Head, parse_head};

/// Longest head taken, in bytes, interim responses each on their own. Twice
/// what common servers send at most, so that a bad peer costs bounded memory.
pub const HEAD_MAX: usize = 64 * 1024;
/// Interim (1xx) responses taken before a final one: a real server sends one
/// or two, an endless row of them would never be an answer.
pub const INTERIM_MAX: u32 = 16;
/// Longest chunk-size line with its extensions, in bytes.
const CHUNK_LINE_MAX: u32 = 4096;
/// Hexadecimal digits of a chunk size: 15 of them fit a u64 without overflow.
const CHUNK_DIGITS_MAX: u32 = 15;

/// A response that breaks HTTP, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// A complete response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// The final status code.
    pub status: u16,
    /// Whether the server keeps the connection open for another request.
    pub reusable: bool,
    /// Bytes of the response on the wire, heads and framing included.
    pub wire_bytes: u64,
}

/// How far a piece of input brought the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// All input was used, and the response goes on.
    More,
    /// The response ended; this many bytes of the input belonged to it.
    Done(Reply, usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    /// A body of a known length; bytes to come are in `remaining`.
    Length,
    UntilClose,
    /// Digits of a chunk size, how many so far.
    ChunkDigits(u32),
    ChunkExtension,
    ChunkLineFeed,
    /// Data of a chunk; bytes to come are in `remaining`.
    ChunkData,
    ChunkDataReturn,
    ChunkDataFeed,
    TrailerStart,
    Trailer,
    LastFeed,
    Complete,
}

/// One response on one connection; [`Parser::reset`] readies it for the next.
#[derive(Debug)]
pub struct Parser {
    state: State,
    /// The answer to a HEAD request has no body, whatever its head says.
    to_head: bool,
    /// A head whose end has not arrived.
    partial: Vec<u8>,
    remaining: u64,
    /// Bytes of the current chunk-size line, or of all trailers.
    line_bytes: u32,
    interim: u32,
    reply: Reply,
}

impl Parser {
    /// A parser of responses to HEAD (`to_head`) or to any other method.
    #[must_use]
    pub fn new(to_head: bool) -> Self {
        let reply = Reply { status: 0, reusable: false, wire_bytes: 0 };
        Self {
            state: State::Head,
            to_head,
            partial: Vec::new(),
            remaining: 0,
            line_bytes: 0,
            interim: 0,
            reply,
        }
    }

    /// Forgets the response, keeps the memory.
    pub fn reset(&mut self) {
        self.state = State::Head;
        self.partial.clear();
        self.interim = 0;
        self.reply.wire_bytes = 0;
    }

    /// Takes the next bytes of the connection.
    ///
    /// # Errors
    /// The response breaks HTTP; the connection is of no further use.
    pub fn feed(&mut self, input: &[u8]) -> Result<Progress, Malformed> {
        let mut at = 0;
        while at < input.len() && self.state != State::Complete {
            at += self.step(&input[at..])?;
        }
        self.reply.wire_bytes += at as u64;
        Ok(match self.state {
            State::Complete => Progress::Done(self.reply, at),
            _ => Progress::More,
        })
    }

    /// The peer closed. A response delimited by the close is now complete;
    /// any other one was cut short, which is `None`.
    #[must_use]
    pub fn closed(&self) -> Option<Reply> {
        (self.state == State::UntilClose).then_some(self.reply)
    }

    /// Takes some of `input`, which is not empty; returns how much.
    fn step(&mut self, input: &[u8]) -> Result<usize, Malformed> {
        let first = input[0];
        match self.state {
            State::Head => return self.head(input),
            State::Length => return Ok(self.data(input, State::Complete)),
            State::ChunkData => return Ok(self.data(input, State::ChunkDataReturn)),
            State::UntilClose => return Ok(input.len()),
            State::ChunkDigits(digits) => self.chunk_digit(first, digits)?,
            State::ChunkExtension if first == b'\r' => self.state = State::ChunkLineFeed,
            State::ChunkExtension if first == b'\n' => return Err(Malformed("bare LF after a chunk size")),
            State::ChunkExtension => self.long_line(CHUNK_LINE_MAX)?,
            State::ChunkLineFeed => {
                let last = self.remaining == 0;
                self.line_bytes = 0;
                self.must(first, b'\n', if last { State::TrailerStart } else { State::ChunkData })?;
            }
            State::ChunkDataReturn => self.must(first, b'\r', State::ChunkDataFeed)?,
            State::ChunkDataFeed => {
                self.line_bytes = 0;
                self.must(first, b'\n', State::ChunkDigits(0))?;
            }
            State::TrailerStart if first == b'\r' => self.state = State::LastFeed,
            State::Trailer if first == b'\n' => self.state = State::TrailerStart,
            State::TrailerStart | State::Trailer => {
                self.state = State::Trailer;
                self.long_line(HEAD_MAX as u32)?;
            }
            State::LastFeed => self.must(first, b'\n', State::Complete)?,
            State::Complete => return Ok(0),
        }
        Ok(1)
    }

    fn data(&mut self, input: &[u8], after: State) -> usize {
        let taken = self.remaining.min(input.len() as u64);
        self.remaining -= taken;
        if self.remaining == 0 {
            self.state = after;
        }
        taken as usize
    }

    fn chunk_digit(&mut self, byte: u8, digits: u32) -> Result<(), Malformed> {
        let value = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ if digits == 0 => return Err(Malformed("chunk size is not a number")),
            b'\r' => {
                self.state = State::ChunkLineFeed;
                return Ok(());
            }
            b';' | b' ' | b'\t' => {
                self.state = State::ChunkExtension;
                return Ok(());
            }
            _ => return Err(Malformed("chunk size is not a number")),
        };
        if digits == CHUNK_DIGITS_MAX {
            return Err(Malformed("chunk size is too large"));
        }
        self.remaining = if digits == 0 { 0 } else { self.remaining << 4 } | u64::from(value);
        self.state = State::ChunkDigits(digits + 1);
        Ok(())
    }

    fn must(&mut self, byte: u8, expected: u8, next: State) -> Result<(), Malformed> {
        if byte != expected {
            return Err(Malformed("chunk is not followed by CRLF"));
        }
        self.state = next;
        Ok(())
    }

    fn long_line(&mut self, max: u32) -> Result<(), Malformed> {
        self.line_bytes += 1;
        if self.line_bytes > max {
            return Err(Malformed("chunk-size line or trailers are too long"));
        }
        Ok(())
    }

    /// Parses the head, out of `partial` and `input` together where it began
    /// in an earlier piece. Returns how much of `input` was taken.
    fn head(&mut self, input: &[u8]) -> Result<usize, Malformed> {
        let earlier = self.partial.len();
        let parsed = if earlier == 0 {
            parse_head(input)?
        } else {
            let room = (HEAD_MAX + 1).saturating_sub(earlier).min(input.len());
            self.partial.extend_from_slice(&input[..room]);
            // Only a line feed can end a head, so others need no second look.
            if memchr(b'\n', &input[..room]).is_some() { parse_head(&self.partial)? } else { None }
        };
        let Some((head, length)) = parsed else {
            if earlier.max(self.partial.len()).max(input.len()) > HEAD_MAX {
                return Err(Malformed("head is too long"));
            }
            if earlier == 0 {
                self.partial.extend_from_slice(input);
            }
            return Ok(input.len());
        };
        self.partial.clear();
        self.begin_body(head)?;
        // A head is never complete within the earlier piece alone.
        Ok(length.saturating_sub(earlier))
    }

    /// RFC 9112 section 6.3: what follows the head.
    fn begin_body(&mut self, head: Head) -> Result<(), Malformed> {
        if head.status == 101 {
            return Err(Malformed("101 although no upgrade was asked for"));
        }
        if head.status < 200 {
            self.interim += 1;
            return if self.interim > INTERIM_MAX {
                Err(Malformed("too many interim responses"))
            } else {
                Ok(())
            };
        }
        self.reply.status = head.status;
        self.reply.reusable = head.keep_alive;
        let bodiless = self.to_head || head.status == 204 || head.status == 304;
        self.state = match (bodiless, head.chunked, head.length) {
            (true, _, _) => State::Complete,
            (false, Some(true), _) => State::ChunkDigits(0),
            (false, None, Some(0)) => State::Complete,
            (false, None, Some(length)) => {
                self.remaining = length;
                State::Length
            }
            (false, Some(false), _) | (false, None, None) => {
                self.reply.reusable = false;
                State::UntilClose
            }
        };
        self.line_bytes = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `pieces` in turn, then the close. `Ok(None)` is a cut response.
    fn read(to_head: bool, pieces: &[&[u8]]) -> Result<Option<Reply>, Malformed> {
        let mut parser = Parser::new(to_head);
        for piece in pieces {
            if let Progress::Done(reply, _) = parser.feed(piece)? {
                return Ok(Some(reply));
            }
        }
        Ok(parser.closed())
    }

    /// Status and reuse of whole responses, the same at every split.
    #[test]
    fn good_responses() {
        let table: &[(bool, &str, u16, bool)] = &[
            (false, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, true),
            (false, "HTTP/1.1 200\r\ncontent-length:0\r\n\r\n", 200, true),
            (false, "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", 200, true),
            (false, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", 200, true),
            (false, "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", 404, false),
            (false, "HTTP/1.1 200 OK\r\nConnection: foo, Close\r\nContent-Length: 1\r\n\r\nx", 200, false),
            (false, "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, false),
            (false, "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx", 200, true),
            (false, "HTTP/1.1 200 OK\r\n\r\nuntil close", 200, false),
            (false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nuntil close", 200, false),
            (false, "HTTP/1.1 204 No Content\r\n\r\n", 204, true),
            (false, "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", 304, true),
            (true, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", 200, true),
            (true, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, true),
            (
                false,
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
                200,
                true,
            ),
            (false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, true),
            (
                false,
                "HTTP/1.1 500 No\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n5\r\nhello\r\n0B;a=b\r\nhello world\r\n0\r\nX: y\r\nZ: w\r\n\r\n",
                500,
                true,
            ),
        ];
        for &(to_head, text, status, reusable) in table {
            let bytes = text.as_bytes();
            let expected = Ok(Some(Reply { status, reusable, wire_bytes: bytes.len() as u64 }));
            for at in 0..=bytes.len() {
                let (left, right) = bytes.split_at(at);
                assert_eq!(read(to_head, &[left, right]), expected, "split at {at} of {text}");
            }
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(read(to_head, &single), expected, "byte by byte: {text}");
        }
    }

    /// Every proper prefix of a delimited response is a cut response.
    #[test]
    fn truncation_is_never_success() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        ] {
            for end in 0..text.len() {
                assert_eq!(read(false, &[&text.as_bytes()[..end]]), Ok(None), "{end} bytes of {text}");
            }
        }
    }

    #[test]
    fn malformed_responses() {
        for text in [
            "hello",
            "SSH-2.0-x",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.2 200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1\r\n\r\n",
            "HTTP/1.1 101 Switching\r\n\r\n",
            "HTTP/1.1 200 OK\r\nnocolon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n folded: c\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\nx",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1ffffffffffffffff\r\n",
        ] {
            let bytes = text.as_bytes();
            for at in 0..=bytes.len() {
                let (left, right) = bytes.split_at(at);
                assert!(read(false, &[left, right]).is_err(), "split at {at} of {text}");
            }
        }
    }

    #[test]
    fn bounds_hold() {
        let mut long = b"HTTP/1.1 200 OK\r\nA: ".to_vec();
        long.resize(HEAD_MAX + 100, b'a');
        assert!(read(false, &[&long]).is_err());
        let pieces: Vec<&[u8]> = long.chunks(1000).collect();
        assert!(read(false, &pieces).is_err());
        let interim = b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(INTERIM_MAX as usize + 1);
        assert!(read(false, &[&interim]).is_err());
        let mut trailers = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n".to_vec();
        trailers.extend(b"A: b\r\n".repeat(HEAD_MAX / 4));
        assert!(read(false, &[&trailers]).is_err());
    }

    #[test]
    fn bytes_after_the_end_are_left() {
        let mut parser = Parser::new(false);
        let two = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1";
        assert!(matches!(parser.feed(two), Ok(Progress::Done(_, taken)) if taken == two.len() - 8));
        parser.reset();
        assert!(matches!(parser.feed(b"HTTP/1.1 204 No\r\n\r\n"), Ok(Progress::Done(..))));
    }
}
