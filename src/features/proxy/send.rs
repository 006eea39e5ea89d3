//! The way of a request to its upstream: the head, and the body, whole or as it comes.

use super::attempt::{Call, Ended, failed, timed_out};
use super::retry::Failure;
use crate::base::buffer::Buffer;
use crate::base::clock;
use crate::base::limits::BUFFER_BYTES;
use crate::base::process_settings::Level;
use crate::http::Framing;
use crate::http::chunked::LAST_CHUNK;
use crate::net::deadline::{First, first};
use crate::net::stream::{Quiet, Stream};
use crate::pipeline::body::{RequestBody, Source};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::upload::{self, Rest, Upload};
use std::io;
use std::pin::pin;

impl Call<'_> {
    /// Sends head and body. `Ok(false)`: the upstream answers already; what is left of the body is
    /// in `x.upload`.
    pub(super) async fn send(
        &mut self,
        x: &mut Exchange,
        stream: &Stream,
        head: &[u8],
        streamed: bool,
    ) -> Result<bool, Ended> {
        let body_bytes = match self.body(x) {
            RequestBody::Memory(bytes) => bytes.as_slice(),
            _ => &[],
        };
        let whole = head.len() + body_bytes.len();
        let mut buffer = Buffer::with_capacity(head.len().max(whole.min(BUFFER_BYTES)));
        buffer.append(head);
        let mut offset = buffer.append(body_bytes) as u64;
        let mut ended = false;
        if streamed {
            (buffer, ended) = self.with_first_piece(x, buffer).await?;
        }
        self.write(x, stream, buffer).await?;
        while let Some(length) = self.body(x).len().filter(|length| offset < *length) {
            if stream.quiet() != Quiet::Open {
                let kept = match &self.outgoing.body {
                    Some(RequestBody::Memory(own)) => RequestBody::Memory(own.clone()),
                    _ => std::mem::replace(&mut x.body, RequestBody::Consumed),
                };
                self.upload_later(x, stream, Rest::Kept(kept, offset), false);
                return Ok(false);
            }
            let Some(piece) = upload::piece_at(self.body(x), offset).await else {
                x.log(
                    Level::Crit,
                    format_args!("reading a buffered request body failed at {offset} of {length}"),
                );
                return Err(Ended::Client(500));
            };
            offset += piece.len() as u64;
            self.write(x, stream, piece).await?;
        }
        if streamed { self.stream_body(x, stream, ended).await } else { Ok(true) }
    }

    /// The body that is sent, as far as it is at hand.
    fn body<'x>(&'x self, x: &'x Exchange) -> &'x RequestBody {
        self.outgoing.body.as_ref().unwrap_or(&x.body)
    }

    /// The head with what has come of the client's body behind it, so that both leave at once; and
    /// whether its last chunk is among it.
    async fn with_first_piece(&self, x: &mut Exchange, head: Buffer) -> Result<(Buffer, bool), Ended> {
        if !x.source.has_bytes() || x.source.at_hand().0 == 0 {
            return Ok((head, false));
        }
        let piece = x.next_body_piece().await.map_err(Ended::Client)?;
        x.body = RequestBody::Consumed;
        let Some(piece) = piece else { return Ok((head, false)) };
        let chunked = self.is_chunked(x);
        let ended = chunked && !x.body_pending();
        let piece = if chunked { upload::framed(&piece, ended) } else { piece };
        let mut both = Buffer::with_capacity(head.len() + piece.len());
        both.append(head.filled());
        both.append(piece.filled());
        Ok((both, ended))
    }

    /// Whether a body that is passed on as it comes is sent in chunks.
    fn is_chunked(&self, x: &Exchange) -> bool {
        x.head.framing == Framing::Chunked && !self.settings.own_length
    }

    /// Passes the client's body on as it comes, until the upstream begins to answer.
    /// `ended`: its last chunk was sent already.
    async fn stream_body(
        &mut self,
        x: &mut Exchange,
        stream: &Stream,
        mut ended: bool,
    ) -> Result<bool, Ended> {
        let chunked = self.is_chunked(x);
        while x.body_pending() {
            let answers = loop {
                if stream.quiet() != Quiet::Open {
                    break true;
                }
                if wait_for_client(x, stream).await == Waited::Client {
                    break false;
                }
                // Under TLS what has come may be nothing of an answer: the next look tells.
            };
            if answers {
                x.body = RequestBody::Consumed;
                let body = std::mem::replace(&mut x.source, Source::None);
                self.upload_later(x, stream, Rest::Client(Box::new(body)), chunked);
                return Ok(false);
            }
            let piece = match x.next_body_piece().await {
                Ok(piece) => piece,
                Err(status) => return Err(Ended::Client(status)),
            };
            x.body = RequestBody::Consumed;
            let Some(piece) = piece else { break };
            let piece = if chunked {
                ended = !x.body_pending();
                upload::framed(&piece, ended)
            } else {
                piece
            };
            self.write(x, stream, piece).await?;
        }
        x.body = RequestBody::Consumed;
        if chunked && !ended {
            let mut last = Buffer::ordinary();
            last.append(LAST_CHUNK);
            self.write(x, stream, last).await?;
        }
        Ok(true)
    }

    /// The rest of the body is sent while the answer is read.
    fn upload_later(&self, x: &mut Exchange, stream: &Stream, rest: Rest, chunked: bool) {
        let settings = &x.here.settings;
        x.upload = Some(Box::new(Upload {
            rest,
            to: stream.clone(),
            chunked,
            send_timeout: self.settings.send_timeout,
            read_timeout: settings.client_body_timeout,
            limit: settings.client_max_body_size,
        }));
    }

    /// Writes all of a buffer. An upstream that stops reading because it has answered is no failure.
    async fn write(&mut self, x: &mut Exchange, stream: &Stream, buffer: Buffer) -> Result<(), Ended> {
        let bytes = buffer.len() as u64;
        let deadline = clock::now() + self.settings.send_timeout;
        // Pinned, as a future that is handed over is copied.
        let write = pin!(stream.write_all(buffer));
        match x.alarm.within(deadline, write).await {
            Ok((Ok(()), _)) => {
                self.sent = true;
                count_sent(x, bytes);
                Ok(())
            }
            Ok((Err(_), _)) if stream.quiet() == Quiet::Data => Ok(()),
            Ok((Err(e), _)) => Err(self.send_failed(x, stream, &e)),
            Err(_) => {
                timed_out(x, "sending request to upstream");
                Err(Ended::Failed(Failure::Timeout))
            }
        }
    }

    fn send_failed(&mut self, x: &Exchange, stream: &Stream, e: &io::Error) -> Ended {
        if !self.sent && stream.quiet() == Quiet::Closed {
            return Ended::Stale;
        }
        let failed = failed(["send()", "SSL_write()"], e);
        x.log(Level::Error, format_args!("{failed} while sending request to upstream"));
        Ended::Failed(Failure::Error)
    }
}

/// What moved first.
#[derive(PartialEq, Eq)]
enum Waited {
    /// The client has sent more, or its time is up, which its own read will tell.
    Client,
    /// Something came from the upstream.
    Upstream,
}

/// Waits until the client has sent more of its body, or something comes from the upstream.
async fn wait_for_client(x: &mut Exchange, upstream: &Stream) -> Waited {
    let timeout = x.here.settings.client_body_timeout;
    let Exchange { source, alarm, .. } = x;
    if source.is_done() || source.has_bytes() || source.owes_continue() {
        return Waited::Client;
    }
    let deadline = clock::now() + timeout;
    match alarm.within(deadline, first(source.readable(), upstream.readable())).await {
        Ok(First::Right(_)) => Waited::Upstream,
        Ok(First::Left(_)) | Err(_) => Waited::Client,
    }
}

fn count_sent(x: &mut Exchange, bytes: u64) {
    if let Some(attempt) = x.upstream.last_mut() {
        attempt.bytes_sent += bytes;
    }
}
