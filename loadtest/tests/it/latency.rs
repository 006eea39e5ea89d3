//! Percentiles, and what a stall does to them.

use std::sync::Mutex;
use std::thread::sleep;
use std::time::Duration;

use octroi_load::outcome::ErrorKind;
use octroi_load::run::{Length, Load};

use crate::server::{Answer, get, load, measure, milliseconds, ok, serve};

#[test]
fn percentiles_follow_the_delays() {
    // Nine of ten answers take 5 ms, the tenth takes 100 ms.
    let url = serve(|request| {
        sleep(Duration::from_millis(if request.number % 10 == 9 { 100 } else { 5 }));
        ok()
    });
    let outcome = measure(&url, &get(), &load(8, 400));
    assert_eq!((outcome.replies, outcome.error_count()), (400, 0));
    assert_eq!(outcome.latencies.len(), 400);
    let between = |quantile, least, most| {
        let latency = outcome.latency_ns(quantile);
        assert!((milliseconds(least)..milliseconds(most)).contains(&latency), "{quantile}: {latency} ns");
    };
    between(0.5, 5, 60);
    between(0.85, 5, 95);
    between(0.95, 100, 1000);
    between(0.99, 100, 1000);
}

/// A server that stands still once, for all connections at the same time.
fn stalling_server(at: u64, stall: Duration) -> String {
    let gate = Mutex::new(());
    serve(move |request| {
        let _held = gate.lock().unwrap();
        if request.number == at {
            sleep(stall);
        }
        ok()
    })
}

#[test]
fn open_loop_sees_a_stall_as_clients_would() {
    // 500/s for 2 s with a stall of 500 ms: a quarter of the clients wait,
    // half of these for more than 250 ms, though only two connections stood.
    let url = stalling_server(300, Duration::from_millis(500));
    let load = Load { rate: Some(500.0), length: Length::Time(milliseconds(2000)), ..load(2, 0) };
    let outcome = measure(&url, &get(), &load);
    assert_eq!((outcome.replies, outcome.error_count()), (1000, 0));
    let delayed = outcome.latencies.count_between(milliseconds(100), u64::MAX);
    assert!(delayed >= 150, "{delayed} of 1000 were delayed by the stall");
    assert!(outcome.latency_ns(0.9) >= milliseconds(150), "{}", outcome.latency_ns(0.9));

    // The closed loop sends nothing meanwhile, so it does not see this.
    let url = stalling_server(300, Duration::from_millis(500));
    let outcome = measure(&url, &get(), &Load { rate: None, length: Length::Requests(1000), ..load });
    let delayed = outcome.latencies.count_between(milliseconds(400), u64::MAX);
    assert!((1..=2).contains(&delayed), "{delayed}");
}

#[test]
fn open_loop_sends_what_was_asked_for() {
    let url = serve(|_| ok());
    for threads in [1, 3] {
        let shape =
            Load { rate: Some(400.0), threads, length: Length::Time(milliseconds(500)), ..load(6, 0) };
        let outcome = measure(&url, &get(), &shape);
        assert_eq!((outcome.replies, outcome.error_count()), (200, 0), "{threads} threads");
        assert_eq!(outcome.latencies.len(), 200);
    }
    let outcome = measure(&url, &get(), &Load { rate: Some(1000.0), ..load(3, 100) });
    assert_eq!(outcome.replies, 100);
    assert!(outcome.seconds() >= 0.099, "{}", outcome.seconds());
}

#[test]
fn a_full_backlog_is_counted() {
    let url = serve(|_| {
        sleep(Duration::from_millis(50));
        ok()
    });
    let load = Load { rate: Some(1000.0), backlog_max: 5, ..load(1, 300) };
    let outcome = measure(&url, &get(), &load);
    let dropped = outcome.errors_of(ErrorKind::Dropped);
    assert!(dropped > 100, "{dropped}");
    assert_eq!(outcome.replies + dropped, 300);
    assert_eq!(outcome.error_count(), dropped);
}

#[test]
fn warm_up_is_not_counted() {
    // The first requests are slow: they belong to the warm-up.
    let url = serve(|request| {
        sleep(Duration::from_millis(if request.number < 4 { 1000 } else { 1 }));
        ok()
    });
    let outcome = measure(&url, &get(), &Load { warm_up_ns: milliseconds(1300), ..load(4, 100) });
    assert_eq!((outcome.replies, outcome.latencies.len()), (100, 100));
    assert!(outcome.all_replies >= 104);
    assert!(outcome.latencies.max() < milliseconds(900), "{}", outcome.latencies.max());
}

#[test]
fn a_server_that_falls_silent_is_seen() {
    // By time: what is under way at the end is still waited for.
    let url = serve(|request| if request.number < 50 { ok() } else { Answer::Silence });
    let load = Load { length: Length::Time(milliseconds(300)), timeout_ns: milliseconds(400), ..load(4, 0) };
    let outcome = measure(&url, &get(), &load);
    assert_eq!(outcome.replies, 50);
    assert_eq!(outcome.errors_of(ErrorKind::Timeout), 4);
    assert!(outcome.latencies.max() >= milliseconds(400));
}
