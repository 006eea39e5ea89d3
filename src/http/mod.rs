//! Floor 1: HTTP/1 as bytes in and values out (RFC 9110, RFC 9112, and nginx's reading of them).
//!
//! Nothing here reads a socket, looks at a clock or allocates per message: heads are parsed in the
//! caller's buffer and described by [`Span`]s, the vectors that hold them are recycled. What is
//! ambiguous is refused, so that no two parsers on the way can read one message differently.
//!
//! | file | what it reads or writes |
//! |---|---|
//! | [`request`] | request line and header fields of a client |
//! | [`response`] | status line and header fields of an upstream |
//! | [`field`] | one header field, the list of them, the names the gateway knows |
//! | [`host`] | `Host` and the authority of a request target |
//! | [`uri`] | normalisation and escaping of request paths |
//! | [`encoded`] | raw paths that others may read otherwise |
//! | [`accept`] | which media types a client wants |
//! | [`carried`] | heads of HTTP/2 requests as those of HTTP/1 |
//! | [`chunked`] | the chunked transfer coding, both ways |
//! | [`list`] | comma-separated lists |
//! | [`status`] | reason phrases and the built-in error pages |
//! | [`date`] | dates of headers and of logs |
//! | [`proxy_protocol`] | what a balancer says of a connection before its first byte |
#![forbid(unsafe_code)]

pub mod accept;
pub mod basic;
pub mod carried;
pub mod chunked;
pub mod date;
pub mod encoded;
mod escape;
mod explain;
pub mod fault;
pub mod field;
pub mod host;
mod line;
pub mod list;
pub mod method;
pub mod proxy_protocol;
pub mod request;
mod request_line;
pub mod response;
mod scan;
pub mod span;
pub mod status;
pub mod uri;

pub use fault::{ChunkFault, HostFault, RequestFault, ResponseFault, UriFault};
pub use field::{Field, Fields, Known};
pub use method::{Method, Version};
pub use request::{Framing, HTTP2_PREFACE, HeadLimits, Parsed, RequestHead};
pub use response::{BodyFraming, ResponseHead};
pub use span::Span;
