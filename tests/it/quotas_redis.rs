//! `quota_store redis://...`: what hosts count together, and what becomes of it when processes and the
//! Redis come and go.

use crate::harness::*;
use crate::quotas::{applies, ask, kill_all, with_consumers};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// The quota of these tests, and the lease that follows from it.
const QUOTA: usize = 100;
const LEASE: usize = 10;

/// A Redis of this test's own, without a memory beyond its process.
struct Redis {
    port: Port,
    child: Option<Child>,
}

impl Redis {
    /// `None` where there is no redis-server, which is reported.
    fn start() -> Option<Redis> {
        if !applies() {
            return None;
        }
        if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
            println!("skipped: redis-server is not installed");
            return None;
        }
        let mut redis = Redis { port: Port::reserve(), child: None };
        redis.launch();
        Some(redis)
    }

    fn launch(&mut self) {
        let port = self.port.number.to_string();
        let settings = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        let child = Command::new("redis-server").args(settings).stdout(Stdio::null()).spawn().unwrap();
        self.child = Some(child);
        eventually("the Redis answers", || {
            self.command("PING").is_some_and(|answer| answer.starts_with("+PONG"))
        });
    }

    /// Kills it: all that it knew is gone.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn command(&self, line: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.port.address()).ok()?;
        stream.set_read_timeout(Some(WAIT)).unwrap();
        stream.write_all(format!("{line}\r\n").as_bytes()).ok()?;
        let mut answer = [0; 4096];
        let length = stream.read(&mut answer).ok()?;
        Some(String::from_utf8_lossy(&answer[..length]).into_owned())
    }

    fn server(&self, directives: &str) -> Server {
        let address = self.port.address();
        with_consumers(&format!(
            "plan p {{ quota {QUOTA}/year; }} quota_store redis://{address}/3; {directives}"
        ))
        .start()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How many requests pass, one after the other, until none has for a while; so many at most. Where a lease
/// is on its way the answer says so, and the next request is made as if it were a second later.
fn use_up(servers: &[&Server], most: usize) -> usize {
    let (mut passed, mut refused) = (0, 0);
    for turn in 0.. {
        if passed == most || refused == 40 {
            break;
        }
        match ask(servers[turn % servers.len()], "a") {
            204 => (passed, refused) = (passed + 1, 0),
            _ => {
                refused += 1;
                pause(5);
            }
        }
    }
    passed
}

/// The first request of a host may come before the Redis is reached: that is tried again.
fn wait_leased(server: &Server) {
    eventually("a lease of the other consumer", || ask(server, "b") == 204);
}

#[test]
fn two_hosts_share_a_quota() {
    let Some(redis) = Redis::start() else { return };
    let (one, two) = (redis.server("quota_failure closed;"), redis.server("quota_failure closed;"));
    let passed = use_up(&[&one, &two], 10 * QUOTA);
    assert!((QUOTA - LEASE..=QUOTA + LEASE).contains(&passed), "{passed}");
    assert_eq!((ask(&one, "a"), ask(&two, "a")), (429, 429));
    // Another consumer has a quota of its own; the counts lie in the database that was named.
    wait_leased(&one);
    eventually("both are kept", || redis.command("INFO keyspace").unwrap().contains("db3:keys=2"));
    // And a third host has nothing left but what may pass ahead of its first lease.
    let three = redis.server("quota_failure closed;");
    assert!(use_up(&[&three], QUOTA) <= LEASE / 2);
}

#[test]
fn a_host_that_is_killed_takes_a_lease_along() {
    let Some(redis) = Redis::start() else { return };
    let (one, mut two) = (redis.server(""), redis.server(""));
    let mut passed = use_up(&[&one, &two], QUOTA / 2);
    kill_all(&mut two);
    two.launch();
    passed += use_up(&[&one, &two], 10 * QUOTA);
    assert!((QUOTA - LEASE..=QUOTA + LEASE).contains(&passed), "{passed}");
}

#[test]
fn a_host_that_ends_gives_back_what_it_has_not_used() {
    let Some(redis) = Redis::start() else { return };
    let (one, mut two) = (redis.server(""), redis.server(""));
    let mut passed = use_up(&[&two], 3);
    wait_leased(&two);
    two.end();
    passed += use_up(&[&one], 10 * QUOTA);
    assert!((QUOTA..=QUOTA + LEASE).contains(&passed), "{passed}");
}

#[test]
fn a_redis_that_forgets_is_told_again() {
    let Some(mut redis) = Redis::start() else { return };
    let (one, two) = (redis.server(""), redis.server(""));
    let mut passed = use_up(&[&one, &two], QUOTA / 2);
    redis.kill();
    // A lease is left: nobody notices. Beyond it requests pass, too (quota_failure open).
    for _ in 0..LEASE {
        passed += [&one, &two].into_iter().filter(|server| ask(server, "a") == 204).count();
    }
    assert_eq!(passed, QUOTA / 2 + 2 * LEASE);
    one.wait_log("does not answer: ");
    two.wait_log("does not answer: ");
    redis.launch();
    one.wait_log("answers again");
    two.wait_log("answers again");
    passed += use_up(&[&one, &two], 10 * QUOTA);
    assert!((QUOTA - LEASE..=QUOTA + LEASE).contains(&passed), "{passed}");
    assert_eq!(one.log().matches("does not answer").count(), 1, "{}", one.log());
}

#[test]
fn while_it_is_away_quota_failure_decides() {
    let Some(mut redis) = Redis::start() else { return };
    redis.kill();
    let (open, closed) = (redis.server(""), redis.server("quota_failure closed;"));
    closed.wait_log("does not answer: ");
    open.wait_log("does not answer: ");
    assert_eq!(use_up(&[&open], 20), 20);
    let refused = closed.get_with("/", "Host: a\r\nX-Api-Key: a\r\n");
    assert_eq!((refused.status(), refused.get("Retry-After")), (503, Some("1")));
    redis.launch();
    open.wait_log("answers again");
    closed.wait_log("answers again");
    eventually("a lease", || ask(&closed, "a") == 204);
    // What passed meanwhile counts.
    let passed = 21 + use_up(&[&open, &closed], 10 * QUOTA);
    assert!((QUOTA - LEASE..=QUOTA + LEASE).contains(&passed), "{passed}");
}

#[test]
fn one_that_is_full_or_slow_is_away() {
    let Some(redis) = Redis::start() else { return };
    let server = redis.server("quota_failure closed;");
    wait_leased(&server);
    assert!(redis.command("CONFIG SET maxmemory 1").unwrap().starts_with("+OK"));
    // What was leased still passes, then nothing.
    eventually("it is away", || ask(&server, "a") == 503);
    server.wait_log("does not answer: ");
    assert!(server.log().contains("OOM"), "{}", server.log());
    assert!(redis.command("CONFIG SET maxmemory 0").unwrap().starts_with("+OK"));
    server.wait_log("answers again");
    eventually("a lease", || ask(&server, "a") == 204);
    // It takes connections and answers none: no request waits for it.
    assert!(redis.command("CLIENT PAUSE 4000").unwrap().starts_with("+OK"));
    let begun = std::time::Instant::now();
    while ask(&server, "a") == 204 {}
    assert!(begun.elapsed().as_millis() < 3500, "{:?}", begun.elapsed());
    eventually("it is away again", || server.log().matches("does not answer").count() == 2);
}
