//! What a peer did wrong: values, never panics. The words are those of nginx's error log.

/// Declares a fault enum whose variants carry a status, nginx's message and what it was reading.
macro_rules! faults {
    ($(#[$doc:meta])* $fault:ident $( $(#[$each:meta])* $variant:ident $status:literal $message:literal $reading:literal )*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $fault {
            $( $(#[$each])* $variant, )*
        }

        impl $fault {
            /// The status it is answered and logged with. 494 is nginx's own: the client is sent 400
            /// (see [`super::status::sent`]).
            pub fn status(&self) -> u16 {
                match self { $( $fault::$variant => $status, )* }
            }

            /// nginx's message alone.
            pub fn message(&self) -> &'static str {
                match self { $( $fault::$variant => $message, )* }
            }

            /// nginx's message with what was being read, as the error log has it.
            pub fn reason(&self) -> &'static str {
                match self { $( $fault::$variant => concat!($message, " while reading ", $reading), )* }
            }

            /// What was being read: the words after `while`.
            pub fn action(&self) -> &'static str {
                match self { $( $fault::$variant => concat!("reading ", $reading), )* }
            }
        }

        impl std::fmt::Display for $fault {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.reason())
            }
        }

        impl std::error::Error for $fault {}
    };
}

faults! {
    /// Why a request head is refused.
    RequestFault
    /// The method holds a byte other than a capital, `_` or `-`.
    InvalidMethod 400 "client sent invalid method" "client request line"
    /// The request line is malformed: target, spaces, protocol.
    InvalidRequest 400 "client sent invalid request" "client request line"
    /// The major version is above 1.
    InvalidVersion 505 "client sent invalid version" "client request line"
    /// A simple (HTTP/0.9) request with a method other than GET.
    InvalidMethod09 400 "client sent invalid method in HTTP/0.9 request" "client request line"
    /// The request line is longer than a buffer of `large_client_header_buffers`.
    LineTooLong 414 "client sent too long URI" "client request line"
    /// The authority of the target is no valid host.
    InvalidTargetHost 400 "client sent invalid host in request line" "client request line"
    /// A header line is malformed.
    InvalidHeader 400 "client sent invalid header line" "client request headers"
    /// A header line is longer than a buffer of `large_client_header_buffers`.
    HeaderTooLong 494 "client sent too long header line" "client request headers"
    /// The head is longer than all buffers together.
    HeadTooLarge 494 "client sent too large request" "client request headers"
    /// More header lines than `max_headers`.
    TooManyFields 494 "client sent too many header lines" "client request headers"
    /// A field that may come once came twice, `Content-Length` for one.
    DuplicateHeader 400 "client sent duplicate header line" "client request headers"
    /// Two `Host` fields.
    DuplicateHost 400 "client sent duplicate host header" "client request headers"
    /// `Host` is no valid host.
    InvalidHost 400 "client sent invalid host header" "client request headers"
    /// HTTP/1.1 without `Host` (RFC 9112, 3.2).
    HostMissing 400 "client sent HTTP/1.1 request without \"Host\" header" "client request headers"
    /// `Content-Length` is no decimal number, or too large a one.
    InvalidContentLength 400 "client sent invalid \"Content-Length\" header" "client request headers"
    /// `Transfer-Encoding` from an HTTP/1.0 client, which cannot mean it (RFC 9112, 6.1).
    TransferEncodingIn10 400 "client sent HTTP/1.0 request with \"Transfer-Encoding\" header" "client request headers"
    /// Both framings at once: the classic of request smuggling (RFC 9112, 6.1).
    LengthAndTransferEncoding 400 "client sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time" "client request headers"
    /// Any coding but a single `chunked`.
    UnknownTransferEncoding 501 "client sent unknown \"Transfer-Encoding\"" "client request headers"
    /// CONNECT with a body, which means nothing (RFC 9110, 9.3.6).
    ConnectWithBody 400 "client sent CONNECT request with body" "client request headers"
    /// CONNECT where there are no tunnels, or not in HTTP/1.1.
    Connect 405 "client sent CONNECT method" "client request headers"
    /// TRACE would show a client what others added to its request.
    Trace 405 "client sent TRACE method" "client request headers"
}

faults! {
    /// Why an upstream's answer is refused. The client gets 502.
    ResponseFault
    /// The status line is malformed. (nginx takes such bytes for an HTTP/0.9 body.)
    InvalidStatusLine 502 "upstream sent no valid HTTP/1.0 header" "response header from upstream"
    /// A header line is malformed.
    InvalidHeader 502 "upstream sent invalid header" "response header from upstream"
    /// The head does not fit `proxy_buffer_size`.
    HeadTooLarge 502 "upstream sent too big header" "response header from upstream"
    /// More header lines than the bound.
    TooManyFields 502 "upstream sent too many header lines" "response header from upstream"
    /// `Content-Length` or `Transfer-Encoding` came twice.
    DuplicateHeader 502 "upstream sent duplicate header line" "response header from upstream"
    /// `Content-Length` is no decimal number, or too large a one.
    InvalidContentLength 502 "upstream sent invalid \"Content-Length\" header" "response header from upstream"
    /// Both framings at once.
    LengthAndTransferEncoding 502 "upstream sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time" "response header from upstream"
    /// Any coding but a single `chunked`.
    UnknownTransferEncoding 502 "upstream sent unknown \"Transfer-Encoding\"" "response header from upstream"
    /// A 103 from a server that speaks HTTP/1.0, which knows no interim answers.
    EarlyHintsIn10 502 "upstream sent HTTP/1.0 response with early hints" "response header from upstream"
}

/// Why a chunked body is refused: 400 from a client (nginx logs `client sent invalid chunked body`),
/// a broken answer from an upstream (`upstream sent invalid chunked response`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChunkFault {
    /// A chunk size that is no hexadecimal number, or one followed by anything but an extension.
    Size,
    /// A chunk size that no 63-bit number holds, or that is padded with zeros without end.
    SizeOverflow,
    /// A control byte in an extension, or extensions beyond their bound.
    Extension,
    /// Anything but CRLF where a line or the data of a chunk ends.
    LineEnd,
    /// A malformed trailer field.
    Trailer,
    /// Trailers beyond their bound.
    TrailerTooLarge,
}

impl ChunkFault {
    /// What is wrong, in a few words.
    pub fn reason(&self) -> &'static str {
        match self {
            ChunkFault::Size => "invalid chunk size",
            ChunkFault::SizeOverflow => "chunk size overflow",
            ChunkFault::Extension => "invalid or too long chunk extension",
            ChunkFault::LineEnd => "chunk or line not ended by CRLF",
            ChunkFault::Trailer => "invalid trailer line",
            ChunkFault::TrailerTooLarge => "too big trailers",
        }
    }
}

impl std::fmt::Display for ChunkFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for ChunkFault {}

/// A path that cannot be normalised: bad percent-encoding, an encoded NUL, or one that climbs above
/// the root. nginx answers 400 and logs `client sent invalid request while reading client request line`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UriFault;

/// Not a valid host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HostFault;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_statuses() {
        assert_eq!(
            RequestFault::InvalidMethod.reason(),
            "client sent invalid method while reading client request line"
        );
        assert_eq!(
            RequestFault::HostMissing.reason(),
            "client sent HTTP/1.1 request without \"Host\" header while reading client request headers"
        );
        assert_eq!(RequestFault::LineTooLong.status(), 414);
        assert_eq!(RequestFault::HeaderTooLong.status(), 494);
        assert_eq!(RequestFault::InvalidHeader.message(), "client sent invalid header line");
        assert_eq!(RequestFault::InvalidHeader.action(), "reading client request headers");
        assert_eq!(ResponseFault::HeadTooLarge.status(), 502);
        assert!(ChunkFault::Size.to_string().contains("size"));
    }
}
