//! What it costs to find out who calls: a key by its hash, a token that was verified before.

mod common;

use aws_lc_rs::hmac;
use common::{plan, plan_with, with_exchange};
use criterion::{Criterion, criterion_group, criterion_main};
use octroi::base::base64;
use octroi::base::buffer::Buffer;
use octroi::features::api_key::table::{Filling, NEVER, show_hash};
use octroi::http::{HeadLimits, Parsed};
use octroi::pipeline::exchange::Exchange;
use octroi::pipeline::step::{Flow, Phase, Step};
use octroi::pipeline::veil::hash;
use std::fmt::Write;
use std::hint::black_box;

const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

/// Gives the exchange this head.
fn read(x: &mut Exchange, text: &str) {
    x.input = Buffer::with_capacity(text.len());
    x.input.append(text.as_bytes());
    assert!(matches!(x.head.parse(x.input.filled(), &HeadLimits::default()), Ok(Parsed::Complete)));
}

/// Runs the one step of Access, which must let the request in.
fn access(x: &mut Exchange) {
    let here = x.here.clone();
    let [Step::Quick(step)] = here.settings.steps(Phase::Access) else { panic!("not one quick step") };
    assert!(matches!(step.run(x), Flow::Identify));
}

fn keys(c: &mut Criterion) {
    let mut group = c.benchmark_group("keys");
    for count in [1_000_u32, 1_000_000] {
        let mut filling = Filling::default();
        for n in 0..count {
            let (key, owner) = (hash(format!("key{n}").as_bytes()), (n % 50_000).to_string());
            filling.add(key, owner.as_bytes(), NEVER).expect("there is room");
        }
        let table = filling.finish().expect("no key twice");
        let asked: Vec<String> = (0..1024).map(|n| format!("key{}", n * 7919 % count)).collect();
        let mut turn = 0;
        group.bench_function(format!("hashed and found among {count}"), |b| {
            b.iter(|| {
                turn += 1;
                let key = asked[turn % asked.len()].as_bytes();
                assert!(table.find(&hash(black_box(key))).is_some());
            });
        });
    }
    let mut text = String::new();
    for n in 0..1_000 {
        let hash = show_hash(&hash(format!("key{n}").as_bytes()));
        write!(text, "consumer c{n} {{ api_key sha256:{hash}; groups app; }} ").expect("a String takes it");
    }
    text += "server { listen 8080; location / { auth_api_key x; return 200; } }";
    let plan = plan(&text);
    with_exchange(&plan, "/", |x| {
        group.bench_function("a request with a key, from its head to its consumer", |b| {
            b.iter_batched(
                || (),
                |()| {
                    read(x, "GET / HTTP/1.1\r\nHost: a\r\nX-Api-Key: key7\r\n\r\n");
                    x.caller.clear();
                    x.cover();
                    access(x);
                },
                criterion::BatchSize::SmallInput,
            );
        });
    });
}

fn tokens(c: &mut Criterion) {
    let encoded = |bytes: &[u8]| {
        let mut out = Vec::new();
        base64::encode_url(bytes, &mut out);
        String::from_utf8(out).expect("digits")
    };
    let set = format!("{{\"keys\":[{{\"kty\":\"oct\",\"k\":\"{}\"}}]}}", encoded(SECRET));
    let claims = "{\"iss\":\"https://id.example.com\",\"sub\":\"248289761001\",\"aud\":\"api\",\"exp\":4000000000,\"nbf\":1000000000,\"iat\":1000000000,\"jti\":\"7f3c2b1a-90ab-4cde-8f01-23456789abcd\",\"scope\":\"ads:read ads:write\",\"azp\":\"mobile\"}";
    let front = format!("{}.{}", encoded(b"{\"alg\":\"HS256\",\"typ\":\"JWT\"}"), encoded(claims.as_bytes()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), front.as_bytes());
    let head = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {front}.{}\r\n\r\n",
        encoded(tag.as_ref())
    );
    let http =
        "server { listen 8080; location / { auth_jwt x; auth_jwt_key_file keys.json; auth_jwt_audience api;
       auth_jwt_issuer https://id.example.com; return 200; } }";
    let plan = plan_with(http, &[("/conf/keys.json", set)]);
    with_exchange(&plan, "/", |x| {
        read(x, &head);
        c.bench_function("a token that is known", |b| {
            b.iter(|| {
                x.caller.clear();
                access(x);
            });
        });
    });
}

criterion_group!(benches, keys, tokens);
criterion_main!(benches);
