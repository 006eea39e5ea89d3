//! An upstream's answer while its body is read: the connection, and where it goes afterwards.

use super::balance::{Balancer, Verdict};
use super::group::{Group, Keepalive, PeerSettings};
use super::pool::{Kept, Pool};
use crate::base::address::Address;
use crate::base::buffer::Buffer;
use crate::base::clock;
use crate::http::Fields;
use crate::http::chunked::Decoder;
use crate::net::deadline::Alarm;
use crate::net::h1_body::{BodyFault, Frame, H1Body};
use crate::net::splice::Pipe;
use crate::net::stream::Stream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One shard's state of a group as one location uses it.
#[derive(Clone)]
pub struct Members {
    /// The group.
    pub group: Arc<Group>,
    /// Which peer is next.
    pub balancer: Rc<Balancer>,
    /// Idle connections.
    pub pool: Rc<Pool>,
}

impl Members {
    /// Addresses that no configuration names: a URL made of variables led to them. Connections to
    /// them are not kept.
    pub fn of_addresses(name: &str, addresses: impl Iterator<Item = Address>) -> Members {
        let keepalive = Keepalive { connections: 0, ..Keepalive::default() };
        let group = Group { keepalive, ..Group::new(name, addresses.map(PeerSettings::new).collect()) };
        let balancer = Rc::new(Balancer::new(&group));
        Members { group: Arc::new(group), balancer, pool: Rc::new(Pool::new(keepalive)) }
    }
}

/// A peer held for one attempt: it counts as busy until the attempt is over, whichever way.
pub struct Hold {
    balancer: Rc<Balancer>,
    peer: usize,
    verdict: Verdict,
}

impl Hold {
    /// Holds `peer`, which the balancer has just picked.
    pub fn new(balancer: Rc<Balancer>, peer: usize) -> Hold {
        Hold { balancer, peer, verdict: Verdict::Neutral }
    }

    /// The peer.
    pub fn peer(&self) -> usize {
        self.peer
    }

    /// Says how the attempt ended; the last word counts.
    pub fn judge(&mut self, verdict: Verdict) {
        self.verdict = verdict;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.balancer.done(self.peer, self.verdict, clock::now());
    }
}

/// The rest of an upstream's answer.
pub struct UpstreamBody {
    body: Option<H1Body>,
    timeout: Duration,
    hold: Hold,
    /// The pool to give the connection back to, when the answer allows it to be kept.
    pool: Option<Rc<Pool>>,
    requests: u64,
    opened: Instant,
    /// Bytes read from the socket since the head, framing included.
    raw_received: u64,
    /// Parts are held back until a buffer is full (`proxy_buffering on`).
    gathered: bool,
    excess: bool,
    /// What read a chunked body to its end, if trailer fields followed.
    trailers: Option<Box<Decoder>>,
}

impl UpstreamBody {
    /// A body framed so, of which `ahead` was read with the head.
    pub fn new(
        kept: Kept,
        ahead: Buffer,
        frame: Frame,
        timeout: Duration,
        hold: Hold,
        pool: Option<Rc<Pool>>,
    ) -> Self {
        let Kept { stream, requests, opened } = kept;
        UpstreamBody {
            body: Some(H1Body::new(stream, ahead, frame)),
            timeout,
            hold,
            pool,
            requests,
            opened,
            raw_received: 0,
            gathered: false,
            excess: false,
            trailers: None,
        }
    }

    /// More came than the framing of the body allows for.
    pub fn has_excess(&self) -> bool {
        self.excess
    }

    /// Parts are to be held back until a buffer is full.
    pub fn gather(&mut self) {
        self.gathered = true;
    }

    /// Whether parts are held back until a buffer is full.
    pub fn is_gathered(&self) -> bool {
        self.gathered
    }

    /// Bytes read from the socket since the head, framing included.
    pub fn raw_received(&self) -> u64 {
        self.raw_received
    }

    /// The next piece; `None` at the end, and then the connection has gone back to its pool.
    ///
    /// # Errors
    /// The upstream failed before the end.
    pub async fn next(&mut self, alarm: &mut Alarm) -> Result<Option<Buffer>, BodyFault> {
        let Some(body) = &mut self.body else { return Ok(None) };
        let next = body.next(alarm, self.timeout).await;
        self.raw_received = body.raw_received();
        match next {
            Ok(Some(piece)) => {
                if body.is_done() {
                    self.finish();
                }
                Ok(Some(piece))
            }
            Ok(None) => {
                self.finish();
                Ok(None)
            }
            Err(fault) => {
                self.fail();
                Err(fault)
            }
        }
    }

    /// Whether the rest is such that the kernel may pass it on, and large enough for that.
    pub fn is_worth_splicing(&self) -> bool {
        self.body.as_ref().is_some_and(H1Body::is_worth_splicing)
    }

    /// Takes what has come into a pipe: how many bytes, 0 at the end; `None` when nothing has. At the end
    /// the connection has gone back to its pool.
    ///
    /// # Errors
    /// The upstream failed before the end.
    pub fn splice(&mut self, pipe: &mut Pipe) -> Result<Option<usize>, BodyFault> {
        let Some(body) = &mut self.body else { return Ok(Some(0)) };
        let taken = body.splice(pipe);
        self.raw_received = body.raw_received();
        if body.is_done() {
            self.finish();
        }
        taken.inspect_err(|_| self.fail())
    }

    /// Waits for more to come.
    ///
    /// # Errors
    /// Nothing came in time.
    pub async fn readable(&mut self, alarm: &mut Alarm) -> Result<(), BodyFault> {
        let Some(body) = &mut self.body else { return Ok(()) };
        let waited = body.readable(alarm, self.timeout).await;
        waited.inspect_err(|_| self.fail())
    }

    fn fail(&mut self) {
        self.hold.judge(Verdict::Failed);
        self.body = None;
    }

    /// Whether all was read.
    pub fn is_done(&self) -> bool {
        self.body.as_ref().is_none_or(H1Body::is_done)
    }

    /// Whether the next piece is in memory already.
    pub fn has_bytes(&self) -> bool {
        self.body.as_ref().is_some_and(H1Body::has_bytes)
    }

    /// The trailer fields that followed a chunked body, with the text they lie in, once all was read.
    pub fn trailers(&self) -> Option<(&Fields, &[u8])> {
        self.trailers.as_ref().map(|decoder| decoder.trailers())
    }

    /// Gives the connection back as soon as there is nothing more to read from it.
    pub fn settle(&mut self) {
        if self.is_done() {
            self.finish();
        }
    }

    /// How long the upstream may take between two parts of its answer.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The bare connection, with what was read of it, for a tunnel.
    pub fn into_tunnel(mut self) -> Option<(Stream, Buffer, Hold)> {
        let body = self.body.take()?;
        let (stream, ahead) = body.into_parts();
        Some((stream, ahead, self.hold))
    }

    fn finish(&mut self) {
        let Some(mut body) = self.body.take() else { return };
        self.trailers = body.take_trailers();
        let (stream, ahead) = body.into_parts();
        self.excess = !ahead.is_empty();
        // Bytes behind the answer belong to nothing that was asked: such a connection is not kept.
        if let (Some(pool), true) = (self.pool.take(), ahead.is_empty()) {
            pool.put(self.hold.peer(), Kept { stream, requests: self.requests, opened: self.opened });
        }
    }
}
