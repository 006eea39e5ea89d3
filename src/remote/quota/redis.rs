//! Counts of all hosts in a Redis: for each caller and window a hash, with what each host has leased and
//! the sum of it. A host says what it has used and how much it would like to hold in all, so that an
//! answer that was lost, a Redis that has forgotten everything and a lease that is given back are all the
//! same question.

use super::unix_s;
use crate::base::process_settings::Level;
use crate::bridge::quota::{Account, Book, Health, Kept, lease_of};
use crate::net::error_log::ErrorLog;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a connection to the Redis may take, and an answer: what is slower counts as away.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// How long it is until one that is away is tried again.
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// How long the keeper rests between two looks at what is wanted, while nothing can be had.
const AWAY_PAUSE: Duration = Duration::from_millis(50);

/// How often leases that lie idle are looked for, to be given back.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// Leases that are asked for at once: one round trip.
const BATCH_MAX: usize = 256;

/// How long a hash is kept behind its window, seconds: clocks of hosts differ.
const GRACE_S: u64 = 3600;

/// What is done to a hash. `KEYS[1]`: the hash. `ARGV`: the host; what it has used; how much it would like
/// to hold, the used included; the quota; how long the hash is kept.
const SCRIPT: &str = "
local mine = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')
local total = tonumber(redis.call('HGET', KEYS[1], 'total') or '0')
local used, want, limit = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if used > mine then
  total = total + used - mine
  mine = used
end
if want > mine then
  local more = math.min(want - mine, math.max(limit - total, 0))
  mine = mine + more
  total = total + more
else
  local less = mine - math.max(want, used)
  mine = mine - less
  total = total - less
end
redis.call('HSET', KEYS[1], ARGV[1], mine, 'total', total)
redis.call('EXPIRE', KEYS[1], ARGV[5])
return {mine, total}
";

/// The Redis, and whether it answers.
pub(super) struct RedisStore {
    client: Client,
    /// As it is shown: without a password.
    shown: String,
    /// This process, among all that count there.
    host: String,
    /// A connection and the name of the script there.
    connection: Option<(MultiplexedConnection, String)>,
    /// When it is tried again.
    retry_at: Option<Instant>,
    log: ErrorLog,
}

/// A lease to ask for.
struct Wish {
    account: Arc<Account>,
    number: u64,
    used: u64,
    want: u64,
    limit: u64,
}

/// Whether a URL names a Redis.
///
/// # Errors
/// What is wrong with it.
pub fn check(url: &str) -> Result<(), String> {
    Client::open(url).map(drop).map_err(|error| error.to_string())
}

impl RedisStore {
    pub(super) fn new(url: &str, log: &ErrorLog) -> Result<RedisStore, String> {
        let shown = shown(url);
        let client = Client::open(url).map_err(|error| format!("quota_store \"{shown}\": {error}"))?;
        let random = RandomState::new();
        let host = format!("{:016x}{:016x}", random.hash_one(0), random.hash_one(1));
        Ok(RedisStore { client, shown, host, connection: None, retry_at: None, log: log.clone() })
    }

    /// Leases what shards are about to need, and gives back what they do not, until nobody counts in the
    /// book any more, or this host's part in it `ends`.
    pub(super) async fn keep(mut self, book: Arc<Book>, ends: flume::Receiver<()>) {
        let mut sweep_at = Instant::now() + SWEEP_EVERY;
        self.connect(&book).await;
        loop {
            let (first, is_last) = tokio::select! {
                account = book.changed() => (account, false),
                () = tokio::time::sleep(RETRY_EVERY) => (None, Arc::strong_count(&book) == 1),
                _ = ends.recv_async() => (None, true),
            };
            let mut accounts: Vec<_> = first.into_iter().collect();
            accounts.extend(book.take_changed(BATCH_MAX));
            let now = Instant::now();
            if is_last {
                let all = book.all();
                self.ask(&book, all.iter().filter_map(|account| wish(account, false)).collect()).await;
                return;
            }
            if self.connection.is_none() && self.retry_at.is_none_or(|at| now >= at) {
                self.connect(&book).await;
            }
            if self.connection.is_none() {
                // Every request says that it wants a lease now.
                tokio::time::sleep(AWAY_PAUSE).await;
                continue;
            }
            self.ask(&book, accounts.iter().filter_map(|account| wish(account, true)).collect()).await;
            if now >= sweep_at {
                sweep_at = now + SWEEP_EVERY;
                let idle = book.all().iter().filter_map(idle).collect();
                self.ask(&book, idle).await;
                book.close_old(unix_s());
                if book.was_full() {
                    let message = "holds as many callers as it can, new ones are not counted";
                    self.say(Level::Error, format_args!("{message}"));
                }
            }
        }
    }

    /// Connects, and tells the Redis of all that was used here: it may have been away for long, or have
    /// forgotten.
    async fn connect(&mut self, book: &Arc<Book>) {
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER_TIMEOUT))
            .set_response_timeout(Some(ANSWER_TIMEOUT));
        let connected = async {
            let mut connection = self.client.get_multiplexed_async_connection_with_config(&settings).await?;
            let script: String =
                redis::cmd("SCRIPT").arg("LOAD").arg(SCRIPT).query_async(&mut connection).await?;
            RedisResult::Ok((connection, script))
        };
        match connected.await {
            Ok(connection) => {
                self.connection = Some(connection);
                self.retry_at = None;
                let all = book.all();
                let wishes = all.iter().filter_map(|account| wish(account, true));
                self.ask(book, wishes.filter(|wish| wish.used > 0).collect()).await;
                // Full ones let scripts be loaded and refuse to run them.
                if self.connection.is_some() && book.health() != Health::Well {
                    self.recovered(book);
                }
            }
            Err(error) => self.failed(book, &error),
        }
    }

    /// Asks for leases, so many in each round trip.
    async fn ask(&mut self, book: &Arc<Book>, wishes: Vec<Wish>) {
        for batch in wishes.chunks(BATCH_MAX) {
            let Some((connection, script)) = &mut self.connection else { return };
            let now = unix_s();
            let mut pipe = redis::pipe();
            for wish in batch {
                let Account { window, caller, .. } = &*wish.account;
                let mut key = format!("octroi:quota:{}:{}:", window.name(), wish.number).into_bytes();
                key.extend_from_slice(caller);
                let span = window.at(now);
                let left_s = if span.number == wish.number { span.left_s(now) } else { window.length_s() };
                pipe.cmd("EVALSHA").arg(&*script).arg(1).arg(key).arg(&self.host);
                pipe.arg(wish.used).arg(wish.want).arg(wish.limit).arg(left_s + GRACE_S);
            }
            let answers: RedisResult<Vec<(u64, u64)>> = pipe.query_async(connection).await;
            match answers {
                Ok(answers) => {
                    for (wish, (mine, total)) in batch.iter().zip(answers) {
                        wish.account.set_lease(wish.number, mine, total, now);
                    }
                    if book.health() != Health::Well {
                        self.recovered(book);
                    }
                }
                Err(error) => return self.failed(book, &error),
            }
        }
    }

    fn recovered(&self, book: &Book) {
        if book.health() == Health::Away {
            self.say(Level::Notice, format_args!("answers again"));
        }
        book.set_health(Health::Well);
    }

    fn failed(&mut self, book: &Book, error: &redis::RedisError) {
        self.connection = None;
        self.retry_at = Some(Instant::now() + RETRY_EVERY);
        // Said once, however long it lasts.
        if book.health() != Health::Away {
            let then = "until it answers, quota_failure says what becomes of requests beyond what was leased";
            self.say(Level::Error, format_args!("does not answer: {error}; {then}"));
        }
        book.set_health(Health::Away);
    }

    fn say(&self, level: Level, what: std::fmt::Arguments<'_>) {
        self.log.write(level, None, format_args!("quota_store \"{}\" {what}", self.shown));
    }
}

/// What an account would like to hold in the window that it is now: a lease beyond what was used, or
/// nothing more. `None` where nobody has asked yet, or there is nothing to give back.
fn wish(account: &Arc<Account>, with_lease: bool) -> Option<Wish> {
    let now = account.window.at(unix_s()).number;
    let Kept { number, count } = account.used();
    let (number, used) = if number >= now { (number, count) } else { (now, 0) };
    let (limit, leased) = account.wanted(number);
    if limit == 0 || !with_lease && leased <= used {
        return None;
    }
    let want = if with_lease { used + lease_of(limit) } else { used };
    Some(Wish { account: account.clone(), number, used, want, limit })
}

/// What an account gives back that was not used since the last time it was looked at.
fn idle(account: &Arc<Account>) -> Option<Wish> {
    let used = account.used();
    let mut seen = account.kept();
    let is_idle = *seen == used;
    *seen = used;
    drop(seen);
    wish(account, false).filter(|_| is_idle)
}

/// A URL without its password.
fn shown(url: &str) -> String {
    match url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1))) {
        Some((scheme, rest)) => format!("{scheme}://{rest}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        assert_eq!(shown("redis://127.0.0.1:6379/0"), "redis://127.0.0.1:6379/0");
        assert_eq!(shown("redis://:se@cret@host:1/2"), "redis://host:1/2");
        assert!(check("redis://localhost:6379/1").is_ok());
        assert!(check("redis://").is_err() && check("http://localhost").is_err());
    }
}
