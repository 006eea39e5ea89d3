//! Keeps answers about the certificates of a server fresh (`ssl_stapling`): the responders are asked when
//! the server begins, then before an answer ends to hold, and after failures less and less often.

use super::fetch;
use crate::base::process_settings::Level;
use crate::bridge::published::Published;
use crate::net::error_log::ErrorLog;
use crate::net::tls::ocsp::Asking;
use crate::net::tls::pairs::Pairs;
use crate::net::tls::server::TlsServer;
use std::cell::Cell;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::time::sleep;

/// Bytes of an answer with its head, at most: with the certificates of its signer it has about two thousand.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Responders that are asked at a time, by all servers together.
const ASKED_MAX: usize = 16;

/// How often is looked whether there is something to ask: new certificates, or a place among those asked.
const LOOK: Duration = Duration::from_millis(500);

/// How long after an answer the next one is asked for, seconds: nginx's, at most an hour, at least five
/// minutes, and five minutes before the answer ends to hold.
const REFRESH_S: (i64, i64) = (300, 3600);

/// How long after a failure, at first and at most. nginx waits five minutes each time.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

thread_local! {
    /// How many are asked now: there is one thread that asks.
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

/// When a certificate's responder is asked next.
struct Turn {
    at: Instant,
    retry: Duration,
}

/// Does so as long as the server is in use.
pub async fn keep_fresh(server: Weak<Published<TlsServer>>, log: ErrorLog) {
    let mut known: Option<Arc<Pairs>> = None;
    let mut turns: Vec<Turn> = Vec::new();
    loop {
        let Some(pairs) = server.upgrade().map(|server| server.current().0.pairs.clone()) else { return };
        if !known.as_ref().is_some_and(|known| Arc::ptr_eq(known, &pairs)) {
            let first = |_| Turn { at: Instant::now(), retry: RETRY.0 };
            turns = pairs.asking().map(first).collect();
            known = Some(pairs.clone());
        }
        for ((pair, asking), turn) in pairs.asking().zip(&mut turns) {
            if turn.at > Instant::now() || ASKED.get() >= ASKED_MAX {
                continue;
            }
            ASKED.set(ASKED.get() + 1);
            let answer = ask(asking).await;
            ASKED.set(ASKED.get() - 1);
            let wait = match answer {
                Ok((answer, until)) => {
                    pair.staple(answer, until);
                    turn.retry = RETRY.0;
                    refresh(until, now_s())
                }
                Err(what) => {
                    let host = &asking.host;
                    let message =
                        format_args!("{what} while requesting certificate status, responder: {host}");
                    log.write(Level::Error, None, message);
                    let wait = turn.retry;
                    turn.retry = (wait * 2).min(RETRY.1);
                    wait
                }
            };
            turn.at = Instant::now() + wait;
        }
        drop(pairs);
        sleep(LOOK).await;
    }
}

/// An answer, and until when it holds, seconds since 1970.
async fn ask(asking: &Asking) -> Result<(Vec<u8>, i64), String> {
    let answer = fetch::get(&asking.host, &asking.addresses, &asking.target(), ANSWER_BYTES_MAX).await?;
    let until = asking.read(&answer, now_s())?;
    Ok((answer, until.unwrap_or(i64::MAX)))
}

fn refresh(until: i64, now: i64) -> Duration {
    let (least, most) = REFRESH_S;
    let wait = until.saturating_sub(now).saturating_sub(least).min(most).max(least);
    Duration::from_secs(u64::try_from(wait).unwrap_or_default())
}

/// The time, seconds since 1970.
fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_refreshed_in_time() {
        let minutes = |until_s: i64| refresh(1_000_000 + until_s, 1_000_000).as_secs() / 60;
        assert_eq!((minutes(7 * 24 * 3600), minutes(3600), minutes(400), minutes(-5)), (60, 55, 5, 5));
        assert_eq!(refresh(i64::MAX, 1_000_000).as_secs(), 3600);
    }
}
