//! What a decision about a rate or a quota costs a request.

mod common;

use common::{plan, with_exchange};
use criterion::{Criterion, criterion_group, criterion_main};
use octroi::bridge::bucket::Level;
use octroi::bridge::lease::Leases;
use octroi::bridge::quota::{Book, OnFailure, Quota, StoreSpec};
use octroi::bridge::window::Window;
use octroi::bridge::zone::table::{Spare, Table};
use octroi::pipeline::step::{Flow, Phase, Step};
use std::hint::black_box;

/// A caller as plans know it.
const CALLER: &[u8] = b"consumer:mobile";

/// Thousandths of a request a second: a million requests.
const RATE: u64 = 1_000_000_000;

/// Noon of 2026-11-23.
const NOON: u64 = 1_795_435_200;

fn decisions(c: &mut Criterion) {
    let mut group = c.benchmark_group("limits");
    let table = Table::new(16 << 20, Spare::Oldest);
    let mut leases = Leases::new(RATE, 200_000, 2).expect("a rate of which shards lease");
    // A thousand requests each millisecond, so that all pass.
    let mut turn = 0;
    group.bench_function("a rate that is leased", |b| {
        b.iter(|| {
            turn += 1;
            let key = table.fingerprint(black_box(CALLER));
            black_box(leases.take(&table, key, turn / 1000))
        });
    });
    group.bench_function("a rate that is exact", |b| {
        b.iter(|| {
            turn += 1;
            let key = table.fingerprint(black_box(b"consumer:other"));
            let pass = |word| Some(Level::with_one_more(word, turn / 1000, RATE).word());
            black_box(table.update(key, pass))
        });
    });
    let book = Book::new(StoreSpec::File("/nowhere".into()));
    let account = book.account(Window::Day, CALLER).expect("an account");
    let limit = 1 << 35;
    let quota = Quota { limit, span: Window::Day.at(NOON), on_failure: OnFailure::Open };
    group.bench_function("a quota", |b| {
        b.iter(|| black_box(book.count(&account, black_box(&quota), NOON)));
    });
    let text = "plan free { rate 1000000r/s burst=200000; } plan_default free;
        server { listen 8080; location / { enforce_plan on; root /; } }";
    with_exchange(&plan(text), "/", |x| {
        let here = x.here.clone();
        let Some(Step::Quick(step)) = here.settings.steps(Phase::Admit).first() else { return };
        group.bench_function("the step of a plan, by address", |b| {
            b.iter(|| {
                x.limits.clear();
                assert!(matches!(step.run(x), Flow::Next | Flow::Answer(_)));
            });
        });
    });
    group.finish();
}

criterion_group!(all, decisions);
criterion_main!(all);
