#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

fn parse(input: &[u8]) -> (ResponseHead, Result<Parsed, ResponseFault>) {
    let mut head = ResponseHead::default();
    let outcome = head.parse(input, &HeadLimits::default());
    (head, outcome)
}

fn good(input: &str) -> ResponseHead {
    let (head, outcome) = parse(input.as_bytes());
    assert_eq!(outcome, Ok(Parsed::Complete), "{input:?}");
    head
}

#[test]
fn status_lines() {
    for (line, status, version, text, reason) in [
        ("HTTP/1.1 200 OK", 200, Version::Http11, "200 OK", "OK"),
        ("HTTP/1.0 404 Not Found", 404, Version::Http10, "404 Not Found", "Not Found"),
        ("HTTP/1.1 200", 200, Version::Http11, "200", ""),
        ("HTTP/1.1 200 ", 200, Version::Http11, "200 ", ""),
        ("HTTP/1.1   204 a\tb", 204, Version::Http11, "204 a\tb", "a\tb"),
        ("HTTP/1.2 999 x", 999, Version::Http11, "999 x", "x"),
        ("HTTP/1.1 403.14 Forbidden", 403, Version::Http11, "403.14 Forbidden", "14 Forbidden"),
        (
            "HTTP/1.1 101 Switching Protocols",
            101,
            Version::Http11,
            "101 Switching Protocols",
            "Switching Protocols",
        ),
        ("HTTP/1.1 200 \u{e9}", 200, Version::Http11, "200 \u{e9}", "\u{e9}"),
    ] {
        for end in ["\r\n", "\n"] {
            let input = format!("{line}{end}A: b{end}{end}rest");
            let (head, buf) = (good(&input), input.as_bytes());
            assert_eq!((head.status, head.version), (status, version), "{line}");
            assert_eq!(head.status_line.of(buf), text.as_bytes(), "{line}");
            assert_eq!(head.reason.of(buf), reason.as_bytes(), "{line}");
            assert_eq!((head.len, head.fields.list.len()), (input.len() - 4, 1));
        }
    }
}

#[test]
fn refused() {
    use ResponseFault::*;
    let ok = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n");
    for (input, want) in [
        ("hello".into(), InvalidStatusLine),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n".into(), InvalidStatusLine),
        ("http/1.1 200 OK\r\n\r\n".into(), InvalidStatusLine),
        ("HTTP/2 200 OK\r\n\r\n".into(), InvalidStatusLine),
        ("HTTP/2.0 200 OK\r\n\r\n".into(), InvalidStatusLine),
        ("HTTP/0.9 200 OK\r\n\r\n".into(), InvalidStatusLine),
        ("HTTP/1. 200 OK\r\n\r\n".into(), InvalidStatusLine),
        ("HTTP/1.1000 200 OK\r\n\r\n".into(), InvalidStatusLine),
        ("HTTP/1.1\t200 OK\r\n\r\n".into(), InvalidStatusLine),
        ("HTTP/1.1\r\n\r\n".into(), InvalidStatusLine),
        ("HTTP/1.1 \r\n\r\n".into(), InvalidStatusLine),
        ("HTTP/1.1 20\r\n\r\n".into(), InvalidStatusLine),
        ("HTTP/1.1 2000 OK\r\n\r\n".into(), InvalidStatusLine),
        ("HTTP/1.1 2x0 OK\r\n\r\n".into(), InvalidStatusLine),
        ("HTTP/1.1 -20 OK\r\n\r\n".into(), InvalidStatusLine),
        ("HTTP/1.1 099 OK\r\n\r\n".into(), InvalidStatusLine),
        ("HTTP/1.1 200OK\r\n\r\n".into(), InvalidStatusLine),
        ("HTTP/1.1 200 O\0K\r\n\r\n".into(), InvalidStatusLine),
        ("HTTP/1.1 200 O\rK\r\n\r\n".into(), InvalidStatusLine),
        ("HTTP/1.1 200\rOK\r\n\r\n".into(), InvalidStatusLine),
        (ok("a : b"), InvalidHeader),
        (ok(" folded"), InvalidHeader),
        (ok("a: b\r\n c"), InvalidHeader),
        (ok("nocolon"), InvalidHeader),
        (ok(": x"), InvalidHeader),
        (ok("a: \0"), InvalidHeader),
        (ok("a: b\rc"), InvalidHeader),
        (ok("HTTP/1.1 200 OK"), InvalidHeader),
        (ok("Content-Length: foo"), InvalidContentLength),
        (ok("Content-Length: -1"), InvalidContentLength),
        (ok("Content-Length: 1, 1"), InvalidContentLength),
        (ok("Content-Length: 99999999999999999999"), InvalidContentLength),
        (ok("Content-Length:"), InvalidContentLength),
        (ok("Content-Length: 0\r\nContent-Length: 0"), DuplicateHeader),
        (ok("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), DuplicateHeader),
        (ok("Transfer-Encoding: foo"), UnknownTransferEncoding),
        (ok("Transfer-Encoding: gzip, chunked"), UnknownTransferEncoding),
        (ok("Transfer-Encoding: identity"), UnknownTransferEncoding),
        (ok("Transfer-Encoding: chunked\r\nContent-Length: 0"), LengthAndTransferEncoding),
        (ok("Content-Length: 0\r\nTransfer-Encoding: chunked"), LengthAndTransferEncoding),
        ("HTTP/1.0 103 Early Hints\r\n\r\n".into(), EarlyHintsIn10),
        (ok(&format!("a: {}", "x".repeat(40_000))), HeadTooLarge),
        (ok(&"a:\r\n".repeat(1001)), TooManyFields),
    ] {
        assert_eq!(parse(input.as_bytes()).1, Err(want), "{:.60}", input);
        assert_eq!(want.status(), 502);
    }
}

#[test]
fn framing_depends_on_status_and_method() {
    use BodyFraming::*;
    for (status, lines, method, want) in [
        (200, "", Method::Get, UntilClose),
        (200, "Content-Length: 5\r\n", Method::Get, Length(5)),
        (200, "Content-Length: 0\r\n", Method::Post, Length(0)),
        (200, "Transfer-Encoding: Chunked\r\n", Method::Get, Chunked),
        (200, "Content-Length: 5\r\n", Method::Head, None),
        (200, "Transfer-Encoding: chunked\r\n", Method::Head, None),
        (204, "Content-Length: 5\r\n", Method::Get, None),
        (304, "Content-Length: 5\r\n", Method::Get, None),
        (304, "", Method::Get, None),
        (100, "Content-Length: 5\r\n", Method::Get, None),
        (103, "Content-Length: x\r\nTransfer-Encoding: y\r\n", Method::Get, None),
        (101, "Upgrade: x\r\n", Method::Get, None),
        (404, "", Method::Get, UntilClose),
    ] {
        let head = good(&format!("HTTP/1.1 {status} x\r\n{lines}\r\n"));
        assert_eq!(head.framing(method), Ok(want), "{status} {lines:?}");
    }
    let made_up = ResponseHead { status: 200, chunked: true, length: Some(1), ..ResponseHead::default() };
    assert_eq!(made_up.framing(Method::Get), Err(ResponseFault::LengthAndTransferEncoding));
}

#[test]
fn connection_and_upgrade() {
    for (input, keep_alive, upgrade) in [
        ("HTTP/1.1 200 x\r\n\r\n", true, false),
        ("HTTP/1.1 200 x\r\nConnection: Close\r\n\r\n", false, false),
        ("HTTP/1.1 200 x\r\nConnection: a, close\r\nConnection: keep-alive\r\n\r\n", false, false),
        ("HTTP/1.0 200 x\r\n\r\n", false, false),
        ("HTTP/1.0 200 x\r\nConnection: keep-alive\r\n\r\n", false, false),
        ("HTTP/1.1 101 x\r\nConnection: upgrade\r\n\r\n", false, true),
    ] {
        let head = good(input);
        assert_eq!((head.keep_alive, head.upgrade), (keep_alive, upgrade), "{input:?}");
    }
}

#[test]
fn repeated_and_odd_fields_are_dropped() {
    let input = "HTTP/1.1 200 OK\r\nExpires: a\r\nExpires: b\r\nDate: a\r\ndate: b\r\nServer: x\r\nServer: y\r\n\
                 Set-Cookie: a\r\nSet-Cookie: b\r\nx_y: 1\r\nx.y: 1\r\n(odd): 1\r\n\r\n";
    let head = good(input);
    assert_eq!((head.fields.list.len(), head.ignored), (7, 4));
    assert_eq!(head.fields.find(Known::Expires).unwrap().value.of(input.as_bytes()), b"a");
    assert_eq!(head.fields.all(Known::SetCookie).count(), 2);
}

#[test]
fn interim_heads_come_one_by_one() {
    let input = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";
    let mut head = ResponseHead::default();
    let (mut at, mut seen) = (0, vec![]);
    while head.status < 200 {
        assert_eq!(head.parse(&input[at..], &HeadLimits::default()), Ok(Parsed::Complete));
        at += head.len;
        seen.push((head.status, head.fields.list.len()));
    }
    assert_eq!(seen, [(100, 0), (103, 1), (200, 1)]);
    assert_eq!(&input[at..], b"a");
}

proptest! {
    #[test]
    fn never_panics(input in proptest::collection::vec(any::<u8>(), 0..120)) {
        let _ = parse(&input);
        let _ = parse(&[b"HTTP/1.1 200 OK\r\n", &input[..]].concat());
    }

    #[test]
    fn any_split_gives_the_same(
        line in "HTTP/1\\.[012x]{1,2} {1,2}[0-9]{2,4}( [a-z]{0,4})?",
        lines in "((\r\n|\n|\r)(Date: h|X-Y: z z|Connection: close|Content-Length: 5|Transfer-Encoding: chunked|[a: \t\u{1}]{0,4})){0,5}",
        step in 1usize..40,
    ) {
        let input = format!("{line}{lines}\r\n\r\nbody");
        let limits = HeadLimits { total_max: 90, ..HeadLimits::default() };
        let mut whole = ResponseHead::default();
        let outcome = whole.parse(input.as_bytes(), &limits);
        let mut split = ResponseHead::default();
        let mut end = 0;
        let split_outcome = loop {
            end = (end + step).min(input.len());
            let outcome = split.parse(&input.as_bytes()[..end], &limits);
            if outcome != Ok(Parsed::Partial) || end == input.len() {
                break outcome;
            }
        };
        prop_assert_eq!(outcome, split_outcome);
        if outcome == Ok(Parsed::Complete) {
            prop_assert_eq!(&whole.fields, &split.fields);
            prop_assert_eq!((whole.len, whole.status, whole.reason), (split.len, split.status, split.reason));
        }
    }
}
