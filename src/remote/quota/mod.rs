//! Keepers of quotas: what a book's accounts count is brought to where it is kept, and taken from there.

mod file;
mod record;
mod redis;

pub use redis::check as check_redis;

use crate::base::process_settings::Level;
use crate::bridge::quota::{Book, StoreSpec};
use crate::net::error_log::{ErrorLog, OsError};
use file::CountsFile;
use redis::RedisStore;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often what has changed is written: half of the second that may be lost when the process is killed.
const SAVE_EVERY: Duration = Duration::from_millis(500);

/// How often accounts of windows that are over are looked for: every so many saves, a minute.
const CLOSE_EVERY: u32 = 120;

/// A book and the store that keeps its counts.
pub struct Keeper {
    book: Arc<Book>,
    store: Store,
}

enum Store {
    File(CountsFile),
    Redis(Box<RedisStore>),
}

impl Keeper {
    /// Opens the store of quotas: its book has what is kept there.
    ///
    /// # Errors
    /// The message for the log.
    pub fn open(spec: &StoreSpec, log: &ErrorLog) -> Result<(Arc<Book>, Keeper), String> {
        let book = Arc::new(Book::new(spec.clone()));
        let store = match spec {
            StoreSpec::File(folder) => {
                let opened = CountsFile::open(folder, &book, unix_s(), log);
                let refused = |error| format!("quota_store \"{}\": {}", folder.display(), OsError(&error));
                Store::File(opened.map_err(refused)?)
            }
            StoreSpec::Redis(url) => Store::Redis(Box::new(RedisStore::new(url, log)?)),
        };
        Ok((book.clone(), Keeper { book, store }))
    }

    /// Keeps the book until nobody counts in it any more, or this host's part in it `ends`.
    pub async fn run(self, ends: flume::Receiver<()>, log: ErrorLog) {
        let Keeper { book, store } = self;
        match store {
            Store::File(file) => keep_file(book, file, ends, log).await,
            Store::Redis(redis) => redis.keep(book, ends).await,
        }
    }
}

/// Writes what has changed, again and again.
async fn keep_file(book: Arc<Book>, mut file: CountsFile, ends: flume::Receiver<()>, log: ErrorLog) {
    let mut rounds = 0;
    let mut failing = false;
    loop {
        let is_last = tokio::select! {
            () = tokio::time::sleep(SAVE_EVERY) => Arc::strong_count(&book) == 1,
            _ = ends.recv_async() => true,
        };
        rounds += 1;
        let saved = {
            let book = book.clone();
            // A disk may take its time, and the control plane has other work.
            tokio::task::spawn_blocking(move || {
                let result = file.save(&book, unix_s(), is_last);
                if rounds % CLOSE_EVERY == 0 {
                    book.close_old(unix_s());
                }
                (file, result)
            })
        };
        let result = match saved.await {
            Ok((back, result)) => {
                file = back;
                result
            }
            Err(error) => {
                log.write(Level::Alert, None, format_args!("the keeper of quotas ended: {error}"));
                return;
            }
        };
        let folder = file.folder().display();
        match (&result, failing) {
            (Ok(()), true) => {
                log.write(Level::Notice, None, format_args!("quota_store \"{folder}\" is written to again"));
            }
            (Err(error), false) => {
                let error = OsError(error);
                let message = "counts go on in memory, and would be lost with this process";
                log.write(Level::Error, None, format_args!("quota_store \"{folder}\": {error}; {message}"));
            }
            _ => {}
        }
        failing = result.is_err();
        if book.was_full() {
            let message = "holds as many callers as it can, new ones are not counted";
            log.write(Level::Error, None, format_args!("quota_store \"{folder}\" {message}"));
        }
        if is_last {
            return;
        }
    }
}

/// Seconds since 1970.
fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
