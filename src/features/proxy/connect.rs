//! How a connection to a peer is made.

use super::attempt::timed_out;
use super::bind::{self, Bind};
use super::retry::Failure;
use crate::base::address::Address;
use crate::base::process_settings::Level;
use crate::conf::{Diagnostic, Scope};
use crate::net::error_log::OsError;
use crate::net::stream::{BufferSizes, Stream};
use crate::pipeline::exchange::Exchange;
use std::io;
use std::time::Instant;

/// What sockets to upstreams are like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// TCP keepalive.
    pub keepalive: bool,
    /// The kernel's buffers.
    pub buffers: BufferSizes,
}

impl Options {
    /// From the directives of these names: of keepalive, of what is received and what is sent.
    ///
    /// # Errors
    /// A wrong value.
    pub fn compile(scope: &Scope<'_>, [keepalive, receive, send]: [&str; 3]) -> Result<Options, Diagnostic> {
        let bytes = |name| {
            let bytes = u32::try_from(scope.size(name, 0)?).unwrap_or(u32::MAX);
            Ok(Some(bytes).filter(|&bytes| bytes > 0))
        };
        let buffers = BufferSizes { receive: bytes(receive)?, send: bytes(send)? };
        Ok(Options { keepalive: scope.flag(keepalive, false)?, buffers })
    }
}

/// Connects, from a certain address if `bind` says so.
///
/// # Errors
/// Why there is no connection; the reason is in the error log.
pub(super) async fn open(
    x: &mut Exchange,
    address: &Address,
    bind: Option<&Bind>,
    options: Options,
    deadline: Instant,
) -> Result<Stream, Failure> {
    let bound = match address {
        // No other server could be reached from there either.
        Address::Ip(ip) => bind::socket(bind, options.buffers, x, *ip).map_err(|()| Failure::Status(500))?,
        Address::Unix(_) => None,
    };
    let connected = match address {
        Address::Ip(ip) if let Some(bound) = bound => {
            x.alarm.within(deadline, Stream::connect_bound(bound, *ip)).await
        }
        Address::Ip(ip) => x.alarm.within(deadline, Stream::connect_tcp(*ip)).await,
        Address::Unix(path) => x.alarm.within(deadline, Stream::connect_unix(path)).await,
    };
    match connected {
        Ok(Ok(stream)) => {
            stream.set_nodelay();
            if matches!(address, Address::Unix(_)) {
                stream.set_buffers(options.buffers);
            }
            if options.keepalive {
                stream.set_keepalive();
            }
            Ok(stream)
        }
        Ok(Err(e)) => {
            log_connect(x, address, &e);
            Err(Failure::Error)
        }
        Err(_) => {
            timed_out(x, "connecting to upstream");
            Err(Failure::Timeout)
        }
    }
}

/// As nginx does, it names the address where the kernel refuses at once, and is graver about what a
/// server that is down or away does not cause.
fn log_connect(x: &Exchange, address: &Address, error: &io::Error) {
    let code = error.raw_os_error().unwrap_or_default();
    let level = match code {
        libc::ECONNREFUSED
        | libc::EAGAIN
        | libc::ECONNRESET
        | libc::ENETDOWN
        | libc::ENETUNREACH
        | libc::EHOSTDOWN
        | libc::EHOSTUNREACH
        | libc::ETIMEDOUT => Level::Error,
        _ => Level::Crit,
    };
    let at_once = matches!(address, Address::Unix(_))
        || !matches!(code, libc::ECONNREFUSED | libc::ECONNRESET | libc::ETIMEDOUT | libc::EHOSTUNREACH);
    let to = if at_once { format!(" to {address}") } else { String::new() };
    x.log(level, format_args!("connect(){to} failed {} while connecting to upstream", OsError(error)));
}
