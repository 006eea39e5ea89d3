//! HTTP/1 bytes to values: heads, request paths, the chunked coding.

mod common;

use common::{REQUEST, RESPONSE};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use octroi::http::chunked::Decoder;
use octroi::http::{HeadLimits, Parsed, RequestHead, ResponseHead, uri};
use std::hint::black_box;

/// The limits of nginx's defaults.
const LIMITS: HeadLimits = HeadLimits {
    line_max: 8192,
    total_max: 33_792,
    fields_max: 1000,
    underscores: false,
    ignore_invalid: true,
};

fn heads(c: &mut Criterion) {
    let mut group = c.benchmark_group("http1_head");
    group.throughput(Throughput::Bytes(REQUEST.len() as u64));
    let mut head = RequestHead::default();
    group.bench_function("request of 9 fields", |b| {
        b.iter(|| assert_eq!(head.parse(black_box(REQUEST), &LIMITS), Ok(Parsed::Complete)));
    });
    group.throughput(Throughput::Bytes(RESPONSE.len() as u64));
    let mut head = ResponseHead::default();
    group.bench_function("response of 7 fields", |b| {
        b.iter(|| assert_eq!(head.parse(black_box(RESPONSE), &LIMITS), Ok(Parsed::Complete)));
    });
    group.finish();
}

fn paths(c: &mut Criterion) {
    let mut group = c.benchmark_group("uri_normalise");
    let targets: [(&str, &[u8]); 3] = [
        ("as it is", b"/api/v1/users/12345/orders?page=2&size=50"),
        ("percent", b"/caf%C3%A9/menu%20du%20jour/12345/orders?page=2"),
        ("dots and slashes", b"/a/./b/../c//d/../e/f.html?x=1"),
    ];
    let mut out = Vec::with_capacity(256);
    for (name, target) in targets {
        group.throughput(Throughput::Bytes(target.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                assert!(uri::normalise(black_box(target), true, &mut out).is_ok());
            });
        });
    }
    group.finish();
}

fn chunked(c: &mut Criterion) {
    let mut group = c.benchmark_group("chunked_decode");
    for chunk_bytes in [64usize, 1024, 16 * 1024] {
        let body = coded(64 * 1024, chunk_bytes);
        group.throughput(Throughput::Bytes(body.len() as u64));
        let mut decoder = Decoder::upstream();
        group.bench_function(format!("chunks of {chunk_bytes} bytes"), |b| {
            b.iter(|| {
                decoder.clear();
                assert_eq!(decode(&mut decoder, black_box(&body)), 64 * 1024);
            });
        });
    }
    group.finish();
}

/// A body of `bytes` in the chunked coding.
fn coded(bytes: usize, chunk_bytes: usize) -> Vec<u8> {
    let mut body = Vec::new();
    for _ in 0..bytes / chunk_bytes {
        body.extend_from_slice(format!("{chunk_bytes:x}\r\n").as_bytes());
        body.resize(body.len() + chunk_bytes, b'x');
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    body
}

/// Decodes to the end; returns how many bytes of data there were.
fn decode(decoder: &mut Decoder, mut input: &[u8]) -> usize {
    let mut data_bytes = 0;
    while let Ok(step) = decoder.decode(input) {
        data_bytes += black_box(step.data.of(input)).len();
        if step.done || step.consumed == 0 {
            break;
        }
        input = &input[step.consumed..];
    }
    data_bytes
}

criterion_group!(benches, heads, paths, chunked);
criterion_main!(benches);
