//! What a client still sends when its answer is out.

use crate::base::buffer::Buffer;
use crate::base::clock;
use crate::net::deadline::Alarm;
use crate::net::stream::Stream;
use crate::pipeline::exchange::Exchange;
use std::time::Duration;

/// Reads the rest of a body and throws it away, so that the connection can go on. False when that
/// takes too long.
pub async fn body(x: &mut Exchange, time: Duration, pause: Duration) -> bool {
    let until = clock::now() + time;
    loop {
        let now = clock::now();
        if now >= until {
            return false;
        }
        match x.source.next(&mut x.alarm, pause.min(until - now)).await {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// Lingering close: the answer's end is sent, and what still comes is read for a while, so that the
/// kernel does not reset the connection before the client has read its answer.
pub async fn linger(stream: &Stream, time: Duration, pause: Duration) {
    stream.shutdown_write();
    let until = clock::now() + time;
    let mut alarm = Alarm::new(clock::now() + pause);
    let mut scratch = Buffer::ordinary();
    loop {
        let now = clock::now();
        if now >= until {
            return;
        }
        if alarm.within((now + pause).min(until), stream.readable()).await.is_err() {
            return;
        }
        // Bounded per wake, so that a client that pours cannot hold the shard.
        for _ in 0..16 {
            match stream.discard(scratch.spare()) {
                Some(0) => break,
                Some(_) => {}
                None => return,
            }
        }
    }
}
