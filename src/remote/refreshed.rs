//! What is fetched from other hosts again and again, for as long as somebody uses it.

use super::https::Fetcher;
use crate::base::process_settings::Level;
use crate::net::error_log::ErrorLog;
use std::sync::Weak;
use std::time::Duration;

/// How long it is at least from one try to the next: what clients send must not make a host be asked more
/// often, and a host that has failed is asked again then.
const GAP: Duration = Duration::from_secs(10);

/// What is kept fresh.
pub trait Refreshed: Send + Sync + 'static {
    /// How long what was fetched is good.
    fn every(&self) -> Duration;

    /// Who wants it earlier says so there.
    fn early(&self) -> flume::Receiver<()>;

    /// Fetches it; false when that failed.
    fn refresh(&self, fetcher: &Fetcher) -> impl Future<Output = bool>;
}

/// Keeps it fresh until nobody holds it any more.
pub async fn keep<R: Refreshed>(kept: Weak<R>, log: ErrorLog) {
    let fetcher = match Fetcher::new() {
        Ok(fetcher) => fetcher,
        Err(error) => {
            log.write(Level::Alert, None, format_args!("nothing can be fetched: {error}"));
            return;
        }
    };
    loop {
        let (every, early) = {
            let Some(fresh) = kept.upgrade() else { return };
            let fetched = fresh.refresh(&fetcher).await;
            (if fetched { fresh.every() } else { GAP }, fresh.early())
        };
        let gap = GAP.min(every);
        tokio::time::sleep(gap).await;
        tokio::select! {
            () = tokio::time::sleep(every - gap) => {}
            // The last holder is gone when nobody can ask.
            asked = early.recv_async() => if asked.is_err() { return },
        }
    }
}
