//! The body of an answer that is a file: what the kernel has in memory it sends itself, where that is
//! worth a call; the rest is read into buffers.

use super::deliver::{Broken, Client, Sink, timed_out};
use crate::base::clock;
use crate::base::limits::SENDFILE_BYTES;
use crate::base::process_settings::Level;
use crate::net::file::FileRange;
use crate::pipeline::exchange::Exchange;
use std::io::ErrorKind;

/// Sends the file to its end.
pub(super) async fn send(x: &mut Exchange, sink: &mut Sink<'_>, mut file: FileRange) -> Result<(), Broken> {
    loop {
        if sink.is_plain() && file.at_hand(SENDFILE_BYTES).is_some() {
            // Boxed, as only large files pay for it.
            Box::pin(by_kernel(x, sink, &mut file)).await?;
        }
        match file.next().await {
            Ok(Some(piece)) => sink.buffer(x, piece).await?,
            Ok(None) => return Ok(()),
            Err(e) => {
                x.log(
                    Level::Alert,
                    format_args!("reading a file failed while sending response to client ({e})"),
                );
                return Err(Broken::Source);
            }
        }
    }
}

/// Has the kernel send what it has in memory, until the rest is better read.
async fn by_kernel(x: &mut Exchange, sink: &mut Sink<'_>, file: &mut FileRange) -> Result<(), Broken> {
    let Client::H1(stream) = sink.client else { return Ok(()) };
    sink.flush(x).await?;
    let timeout = x.here.settings.send_timeout;
    while let Some((descriptor, offset, len)) = file.at_hand(SENDFILE_BYTES) {
        match stream.send_file_now(descriptor, offset, len) {
            // The file got shorter just now, which reading it tells.
            Ok(0) => return Ok(()),
            Ok(sent) => {
                file.sent(sent);
                x.bytes_sent += sent as u64;
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(e) => {
                x.log(Level::Info, format_args!("sendfile() failed ({e}) while sending to client"));
                return Err(Broken::Client { reset: false });
            }
        }
        // Also after a success: others have their turn before the next part.
        match x.alarm.within(clock::now() + timeout, stream.writable()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(Broken::Client { reset: false }),
            Err(_) => return Err(timed_out(x)),
        }
    }
    Ok(())
}
