//! Requests that the gateway makes on the side (`mirror`): tasks of their own, whose answers nobody waits
//! for.

use super::generation::Generation;
use super::panic;
use super::walk;
use crate::base::limits::ASIDE_MAX;
use crate::base::process_settings::Level;
use crate::http::Framing;
use crate::net::{log_buffer, runtime};
use crate::pipeline::body::RequestBody;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::step::Subrequest;
use std::cell::Cell;
use std::rc::Rc;

thread_local! {
    static UNDER_WAY: Cell<usize> = const { Cell::new(0) };
}

/// How many are under way on this shard.
pub fn under_way() -> usize {
    UNDER_WAY.get()
}

/// One of them, counted.
struct Counted;

impl Drop for Counted {
    fn drop(&mut self) {
        UNDER_WAY.set(UNDER_WAY.get().saturating_sub(1));
    }
}

/// Begins one, with the method and the body of `x`; beyond the bound it is left out, which is logged.
pub fn begin(g: &Rc<Generation>, x: &Exchange, asked: Subrequest) {
    if UNDER_WAY.get() >= ASIDE_MAX {
        let uri = String::from_utf8_lossy(&asked.uri);
        x.log(
            Level::Error,
            format_args!("{ASIDE_MAX} mirrored requests are under way, none to \"{uri}\" is made"),
        );
        return;
    }
    UNDER_WAY.set(UNDER_WAY.get() + 1);
    let counted = Counted;
    let mut sub = walk::subrequest(g, x, asked);
    // It goes on beside the request and has copies of what that one has.
    x.values.copy(&sub.values);
    sub.head.method = x.head.method;
    sub.body = match &x.body {
        RequestBody::Memory(bytes) => RequestBody::Memory(bytes.clone()),
        RequestBody::File(file) => RequestBody::File(file.shared()),
        RequestBody::Unread | RequestBody::Consumed => RequestBody::Memory(Vec::new()),
    };
    if let Some(length) = sub.body.len().filter(|_| x.head.framing != Framing::None) {
        sub.head.framing = Framing::Length(length);
    }
    let (generation, error_log) = (g.clone(), g.clone());
    let task = async move {
        let answer = walk::run(&generation, &mut sub).await;
        walk::forget(&mut sub, answer).await;
        if sub.here.settings.log_subrequest {
            walk::log(&mut sub);
            log_buffer::flush_turn();
        }
        drop(counted);
    };
    runtime::spawn(panic::caught(move || error_log.clone(), task));
}
