#![allow(clippy::unwrap_used)]

use super::*;
use crate::base::buffer::Buffer;
use crate::features::testing::{Bench, message};
use crate::pipeline::filter::{Ask, Chain};

const MAP: &str = "charset_map A utf-8 { 80 D0B0; 81 E282AC; 41 42; }
    charset_map A B { 80 90; 81 91; }";

fn bench(location: &str) -> Bench {
    Bench::new(&format!("http {{ {MAP} server {{ location / {{ {location} }} }} }}"), &[&FEATURE])
}

/// What becomes of a type and a body in pieces of this size.
fn recoded(location: &str, content_type: &str, body: &[u8], piece: usize) -> (String, Vec<u8>) {
    bench(location).exchange("/", |x| {
        x.answer.status = 200;
        x.answer.content_type.extend_from_slice(content_type.as_bytes());
        let here = x.here.clone();
        let mut chain = Chain::default();
        for (stage, filter) in &here.settings.body_filters {
            if let Begun::Through(link) = filter.begin(x) {
                chain.push(*stage, link);
            }
        }
        let mut all = Vec::new();
        for (part, ask) in body.chunks(piece).map(|part| (part, Ask::More)).chain([(&[][..], Ask::End)]) {
            let mut buffer = Buffer::with_capacity(part.len());
            buffer.append(part);
            chain.give(buffer, ask);
            while let Some((out, _)) = chain.take(x).unwrap_or_else(|fault| panic!("{}", fault.0)) {
                all.extend_from_slice(out.filled());
            }
        }
        (String::from_utf8_lossy(&x.answer.content_type).into_owned(), all)
    })
}

#[test]
fn types_get_a_charset() {
    for (location, content_type, want) in [
        ("charset B;", "text/html", "text/html; charset=B"),
        ("charset B;", "text/css", "text/css"),
        ("charset B; charset_types text/css;", "text/css", "text/css; charset=B"),
        ("charset off;", "text/html", "text/html"),
        ("charset B;", "text/html; charset=A", "text/html; charset=A"),
        ("charset B; override_charset on;", "text/html; charset=a", "text/html; charset=B"),
        ("charset B; override_charset on;", "text/html; charset=other", "text/html; charset=other"),
        ("charset B; source_charset B;", "text/html", "text/html; charset=B"),
        ("charset B;", "", ""),
    ] {
        assert_eq!(recoded(location, content_type, b"", 1).0, want, "{location} {content_type}");
    }
}

#[test]
fn bodies_are_recoded() {
    for piece in [1, 2, 3, 7, 100] {
        let recoded = |location: &str, body: &[u8]| recoded(location, "text/html", body, piece).1;
        assert_eq!(recoded("charset B; source_charset A;", b"x\x80\x81\xff"), b"x\x90\x91?");
        assert_eq!(recoded("charset A; source_charset B;", b"x\x90\x91\xff"), b"x\x80\x81?");
        assert_eq!(recoded("charset utf-8; source_charset A;", b"x\x80\x81\xffA"), "xа€?B".as_bytes());
        assert_eq!(
            recoded("charset A; source_charset UTF-8;", "xа€B ж😀".as_bytes()),
            b"x\x80\x81B &#1078;&#128512;"
        );
        // What is cut off at the end is not given.
        assert_eq!(recoded("charset A; source_charset utf-8;", b"x\xd0"), b"x");
        assert_eq!(recoded("charset A; source_charset utf-8;", b"x\xff\x80y"), b"x??y");
    }
    let long = "аб€ ".repeat(20_000);
    let (_, back) = recoded("charset A; source_charset utf-8;", "text/html", long.as_bytes(), 60_000);
    assert_eq!(back, b"\x80&#1073;\x81 ".repeat(20_000));
    let (_, out) = recoded("charset utf-8; source_charset A;", "text/html", &b"\x81".repeat(60_000), 60_000);
    assert_eq!(out, "€".repeat(60_000).as_bytes());
}

#[test]
fn errors_are_nginxs() {
    for (text, want) in [
        ("charset_map a A { 80 80; }", "\"charset_map\" between the same charsets \"a\" and \"A\""),
        (
            "charset_map utf-8 a { 80 80; }",
            "\"charset_map\" with \"utf-8\" charset should be given in the second column",
        ),
        (
            "charset_map a b { 80 80; } charset_map b A { 80 80; }",
            "duplicate \"charset_map\" between \"b\" and \"A\"",
        ),
        ("charset_map a b { 80; }", "invalid parameters number"),
        ("charset_map a b { 180 80; }", "invalid value \"180\""),
        ("charset_map a b { 80 x; }", "invalid value \"x\""),
        ("charset_map a utf-8 { 80 F09F9880; }", "invalid value \"F09F9880\""),
        ("charset a; source_charset b;", "no \"charset_map\" between the charsets \"b\" and \"a\""),
        ("charset a; source_charset A;", "no error"),
        ("charset $arg_a; source_charset b;", "no error"),
    ] {
        let bench = Bench::new(
            &format!("http {{ {text} server {{ }} }}"),
            &[&crate::features::variables::FEATURE, &FEATURE],
        );
        assert_eq!(message(bench.plan()), want, "{text}");
    }
}
