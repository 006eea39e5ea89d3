#![allow(clippy::unwrap_used)]

use super::*;
use crate::base::buffer::Buffer;
use crate::features::testing::{Bench, message};
use crate::pipeline::filter::{Ask, Chain, Fault, Link};

fn exchange<T>(walk: impl FnOnce(&mut Exchange) -> T) -> T {
    Bench::new("http { server { location / { } } }", &[&FEATURE]).exchange("/", walk)
}

/// What a link makes of a body that comes in pieces of this size, and in how many it comes out; with
/// a flush behind each where wanted.
pub(super) fn through(link: Box<dyn Link>, body: &[u8], piece: usize, flush: bool) -> (Vec<u8>, usize) {
    exchange(|x| run(x, link, body, piece, flush)).unwrap_or_else(|Fault(text)| panic!("{text}"))
}

/// The message of the fault.
pub(super) fn failed(link: Box<dyn Link>, body: &[u8]) -> String {
    exchange(|x| run(x, link, body, 1000, false)).map_or_else(|Fault(text)| text, |_| "no fault".to_owned())
}

fn run(
    x: &mut Exchange,
    link: Box<dyn Link>,
    body: &[u8],
    piece: usize,
    flush: bool,
) -> Result<(Vec<u8>, usize), Fault> {
    let mut chain = Chain::default();
    chain.push(Stage::Pack, link);
    let (mut all, mut pieces) = (Vec::new(), 0);
    let parts = body.chunks(piece).map(|part| (part, if flush { Ask::Flush } else { Ask::More }));
    for (part, ask) in parts.chain([(&[][..], Ask::End)]) {
        let mut buffer = Buffer::with_capacity(part.len());
        buffer.append(part);
        chain.give(buffer, ask);
        while let Some((out, _)) = chain.take(x)? {
            all.extend_from_slice(out.filled());
            pieces += 1;
        }
    }
    Ok((all, pieces))
}

#[test]
fn ratios_are_rounded() {
    for (packed, want) in [
        (Some((1000, 300)), "3.33"),
        (Some((1, 3)), "0.33"),
        (Some((1999, 1000)), "2.00"),
        (Some((2005, 1000)), "2.01"),
        (Some((0, 20)), "0.00"),
        (None, ""),
    ] {
        let shown = exchange(|x| {
            x.packed = packed;
            let mut out = Vec::new();
            assert_eq!(ratio(x, "", &mut out), packed.is_some());
            String::from_utf8(out).unwrap()
        });
        assert_eq!(shown, want, "{packed:?}");
    }
}

#[test]
fn errors_are_nginxs() {
    for (text, want) in [
        ("gzip_comp_level 0;", "value must be between 1 and 9"),
        ("gzip_comp_level 10;", "value must be between 1 and 9"),
        ("gzip_comp_level x;", "\"gzip_comp_level\" directive invalid number"),
        ("gzip_window 3k;", "\"gzip_window\" directive must be 512, 1k, 2k, 4k, 8k, 16k, or 32k"),
        ("gzip_proxied some;", "invalid value \"some\""),
        ("gzip_http_version 2;", "invalid value \"2\""),
        ("gzip_min_length 1x;", "\"gzip_min_length\" directive invalid value"),
        ("gzip_window 512; gzip_comp_level 9;", "no error"),
    ] {
        let bench = Bench::new(&format!("http {{ server {{ location / {{ {text} }} }} }}"), &[&FEATURE]);
        assert_eq!(message(bench.plan()), want, "{text}");
    }
}
