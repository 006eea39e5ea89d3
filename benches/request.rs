//! What a request meets on its walk: server names, locations, peers, added fields, its log line.

mod common;

use common::{REQUEST, plan, with_exchange};
use criterion::{Criterion, criterion_group, criterion_main};
use octroi::base::address::Address;
use octroi::base::buffer::Buffer;
use octroi::http::{HeadLimits, Parsed};
use octroi::pipeline::exchange::Exchange;
use octroi::plan::router::Destination;
use octroi::upstream::balance::{Balancer, Method, Tried, Verdict};
use octroi::upstream::group::{Group, PeerSettings};
use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

/// Paths asked for in turn, so that the branch predictor does not learn one.
const PATHS: usize = 64;

/// Puts `text` in place of what was there.
fn put(place: &mut Vec<u8>, text: &str) {
    place.clear();
    place.extend_from_slice(text.as_bytes());
}

fn locations(c: &mut Criterion) {
    let mut group = c.benchmark_group("router");
    for count in [1usize, 10, 1_000, 10_000] {
        let mut text = String::from("server { listen 8080; ");
        for n in 0..count {
            write!(text, "location /api/v{}/service{n}/ {{ return 200; }} ", n % 3)
                .expect("a String takes it");
        }
        text.push('}');
        let plan = plan(&text);
        let asked: Vec<String> = (0..PATHS)
            .map(|i| i * 7919 % count)
            .map(|n| format!("/api/v{}/service{n}/orders/12345", n % 3))
            .collect();
        with_exchange(&plan, "", |x| {
            let router = &plan.servers[0].router;
            let mut turn = 0;
            group.bench_function(format!("{count} prefixes"), |b| {
                b.iter(|| {
                    put(&mut x.uri, &asked[turn % PATHS]);
                    turn += 1;
                    assert!(matches!(black_box(router.find(x)), Ok(Destination::Location(_))));
                });
            });
            group.bench_function(format!("{count} prefixes, none of them"), |b| {
                put(&mut x.uri, "/app/index.html");
                b.iter(|| assert!(matches!(black_box(router.find(x)), Ok(Destination::Nowhere))));
            });
        });
    }
    for count in [10usize, 100, 1_000, 10_000] {
        let mut text = String::from("server { listen 8080; ");
        for n in 0..count {
            write!(text, "route GET /api/{{version}}/service{n}/{{id}} {{ return 200; }} ")
                .expect("a String takes it");
        }
        text.push('}');
        let plan = plan(&text);
        let asked: Vec<String> =
            (0..PATHS).map(|i| format!("/api/v{}/service{}/12345", i % 3, i * 7919 % count)).collect();
        with_exchange(&plan, "", |x| {
            x.head.method = octroi::http::Method::Get;
            let router = &plan.servers[0].router;
            let mut turn = 0;
            group.bench_function(format!("{count} routes"), |b| {
                b.iter(|| {
                    put(&mut x.uri, &asked[turn % PATHS]);
                    turn += 1;
                    x.values.clear();
                    assert!(matches!(black_box(router.find(x)), Ok(Destination::Location(_))));
                });
            });
        });
    }
    let text = "server { listen 8080; location / { return 200; } location ~ \\.php$ { return 201; } \
                location ~* ^/img/(?<name>[a-z]+)\\.(png|jpg)$ { return 202; } }";
    let plan = plan(text);
    with_exchange(&plan, "", |x| {
        put(&mut x.uri, "/img/logo.png");
        group.bench_function("second of 2 regular expressions", |b| {
            b.iter(|| assert!(black_box(plan.servers[0].router.find(x)).is_ok()));
        });
    });
    group.finish();
}

fn server_names(c: &mut Criterion) {
    let mut group = c.benchmark_group("server_names");
    let mut text = String::from("server_names_hash_max_size 8192; server { listen 8080; server_name _; } ");
    for n in 0..1_000 {
        write!(text, "server {{ listen 8080; server_name host{n}.example.com *.wild{n}.example.org; }} ")
            .expect("a String takes it");
    }
    let plan = plan(&text);
    for (name, host, server) in [
        ("exact, 1,000 servers", "host700.example.com", 701),
        ("wildcard, 1,000 servers", "www.a.wild700.example.org", 701),
        ("default, 1,000 servers", "www.example.net", 0),
    ] {
        with_exchange(&plan, "", |x| {
            put(&mut x.host, host);
            group.bench_function(name, |b| {
                b.iter(|| assert_eq!(black_box(plan.sites[0].names.find(x)), server));
            });
        });
    }
    group.finish();
}

fn peers(c: &mut Criterion) {
    let mut group = c.benchmark_group("balancer");
    let peer = |n: u16| PeerSettings::new(Address::Ip(([10, 0, (n >> 8) as u8, n as u8], 80).into()));
    let of = |count: u16| (0..count).map(peer).collect::<Vec<_>>();
    let uneven = (0..1_000).map(|n| PeerSettings { weight: 1 + u32::from(n) % 7, ..peer(n) }).collect();
    let all = of(1_000);
    let by_key = || Tried::by_key(b"/assets/app.js?version=12".to_vec());
    let by_address = || Tried::by_address(Some([192, 0, 2, 1].into()));
    let plain = Tried::default;
    type Begin<'a> = &'a dyn Fn() -> Tried;
    let cases: [(&str, Vec<PeerSettings>, Method, Begin<'_>); 10] = [
        ("1 peer", of(1), Method::RoundRobin, &plain),
        ("2 peers", of(2), Method::RoundRobin, &plain),
        ("1000 peers", all.clone(), Method::RoundRobin, &plain),
        ("1000 peers of seven weights", uneven, Method::RoundRobin, &plain),
        ("least_conn, 1000 peers", all.clone(), Method::LeastConn, &plain),
        ("ip_hash, 1000 peers", all.clone(), Method::IpHash, &by_address),
        ("hash, 1000 peers", all.clone(), Method::Hash, &by_key),
        ("hash consistent, 1000 peers", all.clone(), Method::consistent(&all), &by_key),
        ("random, 1000 peers", all.clone(), Method::Random { of_two: false }, &plain),
        ("random two, 1000 peers", all.clone(), Method::Random { of_two: true }, &plain),
    ];
    for (name, peers, method, begin) in cases {
        let balancer = Balancer::new(&Group { method, ..Group::new("pool", peers) });
        let now = Instant::now();
        group.bench_function(name, |b| {
            b.iter(|| {
                let peer = balancer.pick(&mut begin(), now).expect("all peers are well");
                balancer.done(black_box(peer), Verdict::Good, now);
            });
        });
    }
    group.finish();
}

/// Makes the exchange one that was answered.
fn answer(x: &mut Exchange) {
    let limits = HeadLimits {
        line_max: 8192,
        total_max: 33_792,
        fields_max: 1000,
        underscores: false,
        ignore_invalid: true,
    };
    let mut input = Buffer::ordinary();
    input.append(REQUEST);
    assert_eq!(x.head.parse(input.filled(), &limits), Ok(Parsed::Complete));
    x.input = input;
    put(&mut x.uri, "/assets/app.js");
    put(&mut x.args, "version=12");
    put(&mut x.host, "www.example.com");
    x.request_length = REQUEST.len() as u64;
    x.answer.status = 200;
    x.bytes_sent = 1234;
    x.body_bytes_sent = 1024;
}

fn templates(c: &mut Criterion) {
    let mut group = c.benchmark_group("templates");
    let plan = plan(
        "log_format long '$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \
         \"$http_referer\" \"$http_user_agent\" \"$http_x_forwarded_for\" rt=$request_time \
         host=$host uri=$uri args=$args scheme=$scheme'; \
         server { listen 8080; \
         location /combined { access_log /log/a.log combined buffer=64k; return 200; } \
         location /long { access_log /log/b.log long buffer=64k; return 200; } \
         location /fields { access_log off; return 200; \
         add_header X-Client $remote_addr; add_header X-Url $scheme://$host$request_uri; \
         add_header X-Frame-Options SAMEORIGIN; } }",
    );
    for (name, location) in [("log line, combined", "/combined"), ("log line, 13 variables", "/long")] {
        with_exchange(&plan, location, |x| {
            answer(x);
            let here = x.here.clone();
            group.bench_function(name, |b| {
                b.iter(|| here.settings.log_steps.iter().for_each(|step| step.log(black_box(x))));
            });
        });
    }
    with_exchange(&plan, "/fields", |x| {
        answer(x);
        let here = x.here.clone();
        group.bench_function("3 added fields", |b| {
            b.iter(|| {
                x.answer.fields.clear();
                here.settings.header_filters.iter().for_each(|filter| filter.filter(x));
                assert!(!x.answer.fields.is_empty());
            });
        });
    });
    group.finish();
}

criterion_group!(benches, locations, server_names, peers, templates);
criterion_main!(benches);
