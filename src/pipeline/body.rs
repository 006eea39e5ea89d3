//! A request's body: where it comes from, and what of it was kept.

use super::exchange::Exchange;
use super::settings::BodyFile;
use crate::base::buffer::Buffer;
use crate::base::process_settings::Level;
use crate::http::Framing;
use crate::net::deadline::Alarm;
use crate::net::error_log::OsError;
use crate::net::h1_body::{BodyFault, H1Body};
use crate::net::h2::{H2Answer, H2Body};
use crate::net::stream::{Quiet, Stream};
use crate::net::temp_file::{TempFile, Then};
use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

/// Where a request's body is read from.
pub enum Source {
    /// There is nothing to read: a subrequest, or the body was handed on.
    None,
    /// An HTTP/1 connection.
    H1(H1Body),
    /// A stream of an HTTP/2 connection.
    H2(Box<H2Body>),
}

impl Source {
    /// Whether all of it was given out.
    pub fn is_done(&self) -> bool {
        match self {
            Source::None => true,
            Source::H1(body) => body.is_done(),
            Source::H2(body) => body.is_done(),
        }
    }

    /// Bytes given out so far.
    pub fn received(&self) -> u64 {
        match self {
            Source::None => 0,
            Source::H1(body) => body.received(),
            Source::H2(body) => body.received(),
        }
    }

    /// Whether bytes wait in memory. On an HTTP/1 connection they may be those of the next request.
    pub fn has_bytes(&self) -> bool {
        match self {
            Source::None => false,
            Source::H1(body) => body.has_bytes(),
            Source::H2(body) => body.has_bytes(),
        }
    }

    /// What of it is in memory already: how many bytes, and whether that is all there is to come.
    pub fn at_hand(&self) -> (u64, bool) {
        match self {
            Source::None => (0, true),
            Source::H1(body) => body.at_hand(),
            Source::H2(body) => body.at_hand(),
        }
    }

    /// Whether the client still waits for a `100 Continue`.
    pub fn owes_continue(&self) -> bool {
        matches!(self, Source::H1(body) if body.owes_continue())
    }

    /// The next piece, never empty; `None` at the end. Waits at most `timeout` for the client.
    ///
    /// # Errors
    /// See [`BodyFault`].
    pub async fn next(&mut self, alarm: &mut Alarm, timeout: Duration) -> Result<Option<Buffer>, BodyFault> {
        match self {
            Source::None => Ok(None),
            Source::H1(body) => body.next(alarm, timeout).await,
            // Boxed, so that a body of HTTP/1 does not carry room for it.
            Source::H2(body) => Box::pin(body.next(alarm, timeout)).await,
        }
    }

    /// Whether it is one direction of a tunnel that the request asks for (RFC 8441).
    pub fn is_held(&self) -> bool {
        matches!(self, Source::H2(body) if body.is_held())
    }

    /// Waits until the client has sent more of it, has ended it or is gone.
    pub async fn readable(&mut self) {
        match self {
            Source::None => {}
            Source::H1(body) => _ = body.stream().readable().await,
            Source::H2(body) => Box::pin(body.readable()).await,
        }
    }

    /// What shows whether the client is still there.
    pub fn watch(&self) -> Option<Watch> {
        match self {
            Source::None => None,
            Source::H1(body) => Some(Watch::H1(body.stream().clone())),
            Source::H2(body) => Some(Watch::H2(body.answer().clone())),
        }
    }
}

/// A client that is watched while it waits for its answer.
pub enum Watch {
    /// By its connection.
    H1(Stream),
    /// By its stream.
    H2(Rc<H2Answer>),
}

impl Watch {
    /// Waits until something is to be seen: the client is gone, or has sent something.
    pub async fn stirs(&self) {
        match self {
            Watch::H1(stream) => _ = stream.readable().await,
            Watch::H2(answer) => poll_fn(|cx| answer.poll_gone(cx)).await,
        }
    }

    /// Whether the client is gone.
    pub fn is_gone(&self) -> bool {
        match self {
            Watch::H1(stream) => stream.quiet() == Quiet::Closed,
            Watch::H2(answer) => answer.is_gone(),
        }
    }
}

/// What of the body was read.
pub enum RequestBody {
    /// Nothing yet.
    Unread,
    /// All of it is in memory.
    Memory(Vec<u8>),
    /// All of it is in a temporary file.
    File(TempFile),
    /// It was read piece by piece, and is gone.
    Consumed,
}

impl RequestBody {
    /// Its length, if all of it was kept.
    pub fn len(&self) -> Option<u64> {
        match self {
            RequestBody::Memory(bytes) => Some(bytes.len() as u64),
            RequestBody::File(file) => Some(file.len()),
            RequestBody::Unread | RequestBody::Consumed => None,
        }
    }

    /// Whether all of it was kept and there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }
}

impl Exchange {
    /// Whether the request has a body that was not read to its end.
    pub fn body_pending(&self) -> bool {
        !self.source.is_done()
    }

    /// Whether what is unread of the body has come already, and fits into memory: reading it waits for
    /// nothing.
    pub fn body_is_here(&self) -> bool {
        let settings = &self.here.settings;
        let (bytes, all) = self.source.at_hand();
        self.source.is_done() || all && bytes <= settings.client_body_buffer_size as u64
    }

    /// What shows whether the client is still there; a subrequest looks at its connection, where that
    /// carries one request at a time.
    pub fn watch(&self) -> Option<Watch> {
        let of_connection = || self.connection.client().map(Watch::H1);
        self.source.watch().or_else(|| if self.connection.http2.get() { None } else { of_connection() })
    }

    /// Whether the client still waits for a `100 Continue`: it may or may not send its body now.
    pub fn owes_continue(&self) -> bool {
        self.source.owes_continue()
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// The status to refuse the request with: 408, 413 or 400. The connection ends with it.
    pub async fn next_body_piece(&mut self) -> Result<Option<Buffer>, u16> {
        let timeout = self.here.settings.client_body_timeout;
        let limit = self.here.settings.client_max_body_size;
        match self.source.next(&mut self.alarm, timeout).await {
            Ok(piece) => {
                let (received, came) = (self.source.received(), piece.as_ref().map_or(0, |p| p.len() as u64));
                self.request_length += came;
                if limit > 0 && received > limit {
                    self.keep_alive = false;
                    self.log(
                        Level::Error,
                        format_args!(
                            "client intended to send too large chunked body: {}+{came} bytes",
                            received.saturating_sub(came)
                        ),
                    );
                    return Err(413);
                }
                Ok(piece)
            }
            Err(fault) => {
                self.keep_alive = false;
                self.client_gone = matches!(fault, BodyFault::Closed | BodyFault::Failed(_));
                Err(self.body_fault(fault))
            }
        }
    }

    fn body_fault(&self, fault: BodyFault) -> u16 {
        match fault {
            // The status in the access log tells, as with nginx.
            BodyFault::Timeout => 408,
            BodyFault::Closed => {
                self.log(Level::Info, format_args!("client prematurely closed connection"));
                400
            }
            BodyFault::Failed(code) => {
                let error = std::io::Error::from_raw_os_error(code);
                self.log(Level::Info, format_args!("recv() failed {}", OsError(&error)));
                400
            }
            BodyFault::Malformed => {
                self.log(Level::Error, format_args!("client sent invalid chunked body"));
                400
            }
        }
    }

    /// Reads the whole body: in memory up to `client_body_buffer_size`, beyond it, or with
    /// `client_body_in_file_only`, into a temporary file. Does nothing when it was read before.
    ///
    /// # Errors
    /// The status to refuse the request with.
    pub async fn read_body(&mut self) -> Result<(), u16> {
        let named = self.here.settings.client_body_in_file_only;
        self.read_body_into(named).await
    }

    /// The same without regard to `client_body_in_file_only`.
    ///
    /// # Errors
    /// The status to refuse the request with.
    pub async fn read_body_unnamed(&mut self) -> Result<(), u16> {
        self.read_body_into(BodyFile::Off).await
    }

    async fn read_body_into(&mut self, named: BodyFile) -> Result<(), u16> {
        if !matches!(self.body, RequestBody::Unread) {
            return Ok(());
        }
        // What is left of one that failed is no body: nobody reads on in it.
        self.body = RequestBody::Consumed;
        let memory_max = match named {
            BodyFile::Off => self.here.settings.client_body_buffer_size,
            BodyFile::Clean | BodyFile::On => 0,
        };
        let mut memory: Vec<u8> = Vec::new();
        let mut file: Option<TempFile> = None;
        while let Some(piece) = self.next_body_piece().await? {
            if file.is_none() && memory.len() + piece.len() > memory_max {
                let path = &self.here.settings.client_body_temp_path;
                let levels = self.here.settings.client_body_temp_levels;
                let made = match named {
                    BodyFile::Off => TempFile::create(path).await,
                    BodyFile::Clean => TempFile::create_named(path, levels, Then::Remove).await,
                    BodyFile::On => TempFile::create_named(path, levels, Then::Keep).await,
                };
                let mut spill = made.map_err(|e| self.temp_file_fault(&e))?;
                self.log(
                    Level::Warn,
                    format_args!("a client request body is buffered to a temporary file {}", spill.shown()),
                );
                if !memory.is_empty() {
                    spill.append(std::mem::take(&mut memory)).await.map_err(|e| self.temp_file_fault(&e))?;
                }
                file = Some(spill);
            }
            match &mut file {
                Some(spill) => {
                    let bytes = piece.filled().to_vec();
                    spill.append(bytes).await.map_err(|e| self.temp_file_fault(&e))?;
                }
                None => memory.extend_from_slice(piece.filled()),
            }
        }
        if file.is_none() && named != BodyFile::Off && self.head.framing != Framing::None {
            // An empty body has a file as well.
            let then = if named == BodyFile::On { Then::Keep } else { Then::Remove };
            let (path, levels) =
                (&self.here.settings.client_body_temp_path, self.here.settings.client_body_temp_levels);
            let made = TempFile::create_named(path, levels, then).await;
            file = Some(made.map_err(|e| self.temp_file_fault(&e))?);
        }
        self.body = match file {
            Some(spill) => RequestBody::File(spill),
            None => RequestBody::Memory(memory),
        };
        Ok(())
    }

    fn temp_file_fault(&self, e: &std::io::Error) -> u16 {
        self.log(Level::Crit, format_args!("temporary file for a client request body failed {}", OsError(e)));
        500
    }
}
