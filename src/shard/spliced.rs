//! A large body that nothing has to look at: the kernel passes it from the upstream's socket to the
//! client's through a pipe.

use super::deliver::{Broken, Client, Sink, end_attempt, log_fault, timed_out};
use super::spool::PATIENCE;
use crate::base::buffer::Buffer;
use crate::base::clock;
use crate::base::limits::{SPLICE_PIECE_LEAST, SPLICE_SMALL_PIECES_MAX, SPLICE_TURN_BYTES};
use crate::base::process_settings::Level;
use crate::net::error_log::OsError;
use crate::net::h1_body::BodyFault;
use crate::net::splice::Pipe;
use crate::net::stream::Stream;
use crate::pipeline::exchange::Exchange;
use crate::upstream::client::UpstreamBody;
use std::io::ErrorKind;

/// Passes the body on until it ends, or until copying is better: when the client is slow, so that the rest
/// is to wait for it elsewhere, or the upstream sends in small pieces. Gives what was taken from the
/// upstream by then and is still to be sent.
pub(super) async fn pass(x: &mut Exchange, sink: &mut Sink<'_>) -> Result<Option<Buffer>, Broken> {
    sink.splices = false;
    let Client::H1(client) = sink.client else { return Ok(None) };
    let Some(mut pipe) = Pipe::take() else { return Ok(None) };
    sink.flush(x).await?;
    let (mut small, mut in_turn) = (0, 0);
    loop {
        let taken = match take(x, &mut pipe).await {
            Ok(taken) => taken,
            Err(fault) => {
                let received = x.upstream_body.as_ref().map_or(0, UpstreamBody::raw_received);
                end_attempt(x, received);
                log_fault(x, fault);
                return Err(Broken::Source);
            }
        };
        if taken.is_none_or(|taken| taken < SPLICE_PIECE_LEAST) {
            small += 1;
        }
        let taken = taken.unwrap_or(0);
        if let Some(attempt) = x.upstream.last_mut() {
            attempt.response_length += taken as u64;
        }
        let Some(body) = &x.upstream_body else { return Ok(None) };
        let (is_done, received) = (body.is_done(), body.raw_received());
        if is_done {
            end_attempt(x, received);
        }
        let may_spool = !is_done && x.passing.spool.is_some();
        if !give(x, sink, client, &mut pipe, may_spool).await? {
            return pipe.into_memory().map(Some).map_err(|_| Broken::Source);
        }
        if is_done {
            return Ok(None);
        }
        if small > SPLICE_SMALL_PIECES_MAX {
            return Ok(None);
        }
        in_turn += taken;
        if in_turn >= SPLICE_TURN_BYTES {
            // Others have their turn.
            in_turn = 0;
            if !wait(x, sink, client, may_spool).await? {
                return Ok(None);
            }
        }
    }
}

/// Takes what there is of the body, 0 bytes at its end; `None` when nothing was there although the socket
/// said so.
async fn take(x: &mut Exchange, pipe: &mut Pipe) -> Result<Option<usize>, BodyFault> {
    let Exchange { upstream_body: Some(body), alarm, .. } = x else { return Ok(Some(0)) };
    if let Some(taken) = body.splice(pipe)? {
        return Ok(Some(taken));
    }
    body.readable(alarm).await?;
    body.splice(pipe)
}

/// Sends all that lies in the pipe; false when the client turned out to be slow before it was empty.
async fn give(
    x: &mut Exchange,
    sink: &mut Sink<'_>,
    client: &Stream,
    pipe: &mut Pipe,
    may_spool: bool,
) -> Result<bool, Broken> {
    while pipe.held() > 0 {
        match pipe.empty(client) {
            Ok(sent) => x.bytes_sent += sent as u64,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() != ErrorKind::WouldBlock => {
                x.log(Level::Info, format_args!("send() failed {} while sending to client", OsError(&e)));
                return Err(Broken::Client { reset: false });
            }
            Err(_) => {
                if !wait(x, sink, client, may_spool).await? {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}

/// Waits until the client takes more, within `send_timeout`; false when it turned out to be slow, and the
/// answer `may_spool`.
async fn wait(
    x: &mut Exchange,
    sink: &mut Sink<'_>,
    client: &Stream,
    may_spool: bool,
) -> Result<bool, Broken> {
    let (begun, timeout) = (clock::now(), x.here.settings.send_timeout);
    let patience = if may_spool { PATIENCE.saturating_sub(sink.waited).min(timeout) } else { timeout };
    let waited = x.alarm.within(begun + patience, client.writable()).await;
    sink.waited += clock::now().saturating_duration_since(begun);
    match waited {
        Ok(Ok(())) => Ok(true),
        Ok(Err(_)) => Err(Broken::Client { reset: false }),
        Err(_) if may_spool => Ok(false),
        Err(_) => Err(timed_out(x)),
    }
}
