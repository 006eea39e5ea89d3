#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

/// Noon of 2026-11-23.
const NOON: u64 = 1_795_435_200;

fn quota(limit: u64, unix_s: u64, on_failure: OnFailure) -> Quota {
    Quota { limit, span: Window::Day.at(unix_s), on_failure }
}

fn file() -> Book {
    Book::new(StoreSpec::File("/q".into()))
}

fn shared() -> Book {
    Book::new(StoreSpec::Redis("redis://r".into()))
}

#[test]
fn alone_a_quota_is_exact() {
    let book = file();
    let account = book.account(Window::Day, b"a").unwrap();
    let ask = |unix_s| book.count(&account, &quota(3, unix_s, OnFailure::Open), unix_s);
    assert_eq!(
        [NOON; 4].map(ask),
        [Verdict::Passed(2), Verdict::Passed(1), Verdict::Passed(0), Verdict::Spent]
    );
    // The next day; and a clock that is put back goes on in it.
    assert_eq!(ask(NOON + 43_200), Verdict::Passed(2));
    assert_eq!(
        (ask(NOON), ask(NOON + 43_200), ask(NOON)),
        (Verdict::Passed(1), Verdict::Passed(0), Verdict::Spent)
    );
}

#[test]
fn threads_share_it() {
    let book = Arc::new(file());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let book = book.clone();
            std::thread::spawn(move || {
                let account = book.account(Window::Day, b"a").unwrap();
                let asked = quota(5000, NOON, OnFailure::Open);
                (0..3000).filter(|_| book.count(&account, &asked, NOON) != Verdict::Spent).count()
            })
        })
        .collect();
    let passed: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(passed, 5000);
}

#[test]
fn what_has_changed_waits_for_the_keeper_once() {
    let book = file();
    let asked = quota(100, NOON, OnFailure::Open);
    let accounts = [b"a", b"b"].map(|name| book.account(Window::Day, name).unwrap());
    for account in accounts.iter().chain(&accounts) {
        book.count(account, &asked, NOON);
    }
    assert_eq!(book.take_changed(9).len(), 2);
    assert_eq!(book.take_changed(9).len(), 0);
    book.count(&accounts[1], &asked, NOON);
    assert_eq!(book.take_changed(9).len(), 1);
    // More than the queue holds: all are looked through.
    let many: Vec<_> =
        (0..CHANGED_MAX + 9).map(|n| book.account(Window::Day, &n.to_le_bytes()).unwrap()).collect();
    for account in &many {
        book.count(account, &asked, NOON);
    }
    assert_eq!(book.take_changed(9).len(), many.len() + 2);
    assert_eq!(book.take_changed(9).len(), 0);
}

#[test]
fn accounts_of_windows_that_are_over_are_closed() {
    let book = file();
    let held = book.account(Window::Day, b"held").unwrap();
    for name in [&b"held"[..], b"day", b"year"] {
        let window = if name == b"year" { Window::Year } else { Window::Day };
        let account = book.account(window, name).unwrap();
        let asked = Quota { limit: 9, span: window.at(NOON), on_failure: OnFailure::Open };
        book.count(&account, &asked, NOON);
    }
    book.take_changed(9);
    book.close_old(NOON);
    assert_eq!(book.all().len(), 3);
    book.close_old(NOON + 86_400);
    let mut left: Vec<_> = book.all().iter().map(|account| account.caller.to_vec()).collect();
    left.sort();
    assert_eq!(left, [b"held".to_vec(), b"year".to_vec()]);
    drop(held);
    book.close_old(NOON + 86_400);
    assert_eq!((book.all().len(), book.count.load(Relaxed)), (1, 1));
}

#[test]
fn leases() {
    assert_eq!([1, 10, 30, 50, 100, 1000, 1_000_000].map(lease_of), [2, 2, 2, 4, 10, 100, 1000]);
}

#[test]
fn a_store_that_is_away() {
    let verdicts = |health, on_failure, limit| {
        let book = shared();
        book.set_health(health);
        let account = book.account(Window::Day, b"a").unwrap();
        let ask = || book.count(&account, &quota(limit, NOON, on_failure), NOON);
        (0..limit + 1).map(|_| ask()).collect::<Vec<_>>()
    };
    // Until the first lease is there, half of one passes.
    let early = verdicts(Health::Beginning, OnFailure::Closed, 100);
    assert_eq!(early[4..6], [Verdict::Passed(95), Verdict::Wait]);
    assert_eq!(verdicts(Health::Away, OnFailure::Closed, 100)[0], Verdict::Unknown);
    let open = verdicts(Health::Away, OnFailure::Open, 100);
    assert_eq!((open[99], open[100]), (Verdict::Passed(0), Verdict::Spent));
}

/// What a Redis does, in the same words as the script there.
#[derive(Default)]
struct Store {
    total: u64,
    hosts: Vec<u64>,
}

impl Store {
    fn lease(&mut self, host: usize, have: u64, want: u64, limit: u64) -> (u64, u64) {
        let mine = &mut self.hosts[host];
        if have > *mine {
            self.total += have - *mine;
            *mine = have;
        }
        if want > *mine {
            let more = (want - *mine).min(limit.saturating_sub(self.total));
            *mine += more;
            self.total += more;
        } else {
            let less = *mine - want.max(have);
            *mine -= less;
            self.total -= less;
        }
        (*mine, self.total)
    }
}

proptest! {
    /// Hosts that ask at any rate, and answers that come whenever: all together exceed the quota by half a
    /// lease for each host at most, and what is left for any of them is used in the end.
    #[test]
    fn hosts_together_keep_to_a_quota(
        limit in 2_u64..3000,
        hosts in 1_usize..4,
        steps in prop::collection::vec((0_usize..4, 0_u64..60, any::<bool>()), 1..200),
    ) {
        let lease = lease_of(limit);
        let asked = quota(limit, NOON, OnFailure::Closed);
        let all: Vec<_> = (0..hosts).map(|_| {
            let book = shared();
            book.set_health(Health::Well);
            let account = book.account(Window::Day, b"a").unwrap();
            (book, account)
        }).collect();
        let mut store = Store { total: 0, hosts: vec![0; hosts] };
        let mut passed = 0;
        let answer = |store: &mut Store, host: usize| {
            let (_, account) = &all[host];
            let Kept { number, count } = account.used();
            let (mine, total) = store.lease(host, count, count + lease, limit);
            account.set_lease(number, mine, total, NOON);
        };
        for (host, requests, answers) in steps {
            let host = host % hosts;
            let (book, account) = &all[host];
            for _ in 0..requests {
                passed += u64::from(matches!(book.count(account, &asked, NOON), Verdict::Passed(_)));
            }
            if answers {
                answer(&mut store, host);
            }
        }
        // Now everybody asks until nothing is left.
        for _ in 0..limit {
            for (host, (book, account)) in all.iter().enumerate() {
                while let Verdict::Passed(_) = book.count(account, &asked, NOON) {
                    passed += 1;
                }
                answer(&mut store, host);
            }
        }
        let most = limit + lease / 2 * hosts as u64;
        prop_assert!(passed <= most, "{} of {}, lease {}", passed, limit, lease);
        prop_assert!(passed >= limit, "{} of {}", passed, limit);
    }
}
