#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

const H: &str = "Host: h\r\n";

/// Parses the whole input at once.
fn parse_with(input: &[u8], limits: &HeadLimits) -> (RequestHead, Result<Parsed, RequestFault>) {
    let mut head = RequestHead::default();
    let outcome = head.parse(input, limits);
    (head, outcome)
}

fn fault(input: &[u8]) -> Result<Parsed, RequestFault> {
    parse_with(input, &HeadLimits::default()).1
}

/// A head that has to be good.
fn good(input: &str) -> RequestHead {
    let (head, outcome) = parse_with(input.as_bytes(), &HeadLimits::default());
    assert_eq!(outcome, Ok(Parsed::Complete), "{input:?}");
    head
}

/// `GET /` in HTTP/1.1 with these lines.
fn get(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\n{lines}\r\n")
}

#[test]
fn request_lines() {
    for (line, method, path, version) in [
        ("GET / HTTP/1.1", Method::Get, "/", Version::Http11),
        ("GET / HTTP/1.0", Method::Get, "/", Version::Http10),
        ("GET / HTTP/1.00", Method::Get, "/", Version::Http10),
        ("GET / HTTP/1.01", Method::Get, "/", Version::Http11),
        ("GET / HTTP/1.2", Method::Get, "/", Version::Http11),
        ("GET / HTTP/1.999", Method::Get, "/", Version::Http11),
        ("GET   /   HTTP/1.1", Method::Get, "/", Version::Http11),
        ("GET / HTTP/1.1  ", Method::Get, "/", Version::Http11),
        ("HEAD /a?b=c#d HTTP/1.1", Method::Head, "/a?b=c#d", Version::Http11),
        ("POST /%41%zz HTTP/1.1", Method::Post, "/%41%zz", Version::Http11),
        ("PUT //a/../b HTTP/1.1", Method::Put, "//a/../b", Version::Http11),
        ("DELETE /\u{e9} HTTP/1.1", Method::Delete, "/\u{e9}", Version::Http11),
        ("OPTIONS /\"<>\\^`{|} HTTP/1.1", Method::Options, "/\"<>\\^`{|}", Version::Http11),
        ("PATCH /a HTTP/1.1", Method::Patch, "/a", Version::Http11),
        ("M-SEARCH /a HTTP/1.1", Method::Other, "/a", Version::Http11),
        ("_X /a HTTP/1.1", Method::Other, "/a", Version::Http11),
        ("MKCOL /a HTTP/1.1", Method::Mkcol, "/a", Version::Http11),
        ("GET http://h/p?q HTTP/1.1", Method::Get, "/p?q", Version::Http11),
        ("GET HTTP://h HTTP/1.1", Method::Get, "/", Version::Http11),
        ("GET https://h:8443/ HTTP/1.1", Method::Get, "/", Version::Http11),
        ("GET http://h?q HTTP/1.1", Method::Get, "?q", Version::Http11),
        ("GET http://h: HTTP/1.1", Method::Get, "/", Version::Http11),
        ("GET http://[::1]:80/x HTTP/1.1", Method::Get, "/x", Version::Http11),
        ("GET a+b.c-1://h/x HTTP/1.1", Method::Get, "/x", Version::Http11),
    ] {
        let input = format!("{line}\r\nHost: x\r\n\r\n");
        let head = good(&input);
        let buf = input.as_bytes();
        assert_eq!((head.method, head.version), (method, version), "{line}");
        assert_eq!(head.path.of(buf), path.as_bytes(), "{line}");
        assert_eq!(head.request_line.of(buf), line.as_bytes());
        assert_eq!(head.method_text.of(buf), line.split(' ').next().unwrap().as_bytes());
        assert_eq!(head.len, input.len());
        // The same with bare line feeds and with empty lines before it.
        let bare = format!("\r\n\n\r{}", input.replace("\r\n", "\n"));
        let head = good(&bare);
        assert_eq!((head.path.of(bare.as_bytes()), head.len), (path.as_bytes(), bare.len()));
        assert_eq!(head.request_line.of(bare.as_bytes()), line.as_bytes());
    }
}

#[test]
fn bad_request_lines() {
    use RequestFault::*;
    for (line, want) in [
        ("get / HTTP/1.1", InvalidMethod),
        ("Get / HTTP/1.1", InvalidMethod),
        ("GE1 / HTTP/1.1", InvalidMethod),
        ("G:T / HTTP/1.1", InvalidMethod),
        ("G!T / HTTP/1.1", InvalidMethod),
        (" GET / HTTP/1.1", InvalidMethod),
        ("\tGET / HTTP/1.1", InvalidMethod),
        ("GET\t/ HTTP/1.1", InvalidMethod),
        ("GET\r", InvalidMethod),
        ("\0", InvalidMethod),
        ("\x16\x03\x01\x02", InvalidMethod),
        ("{}", InvalidMethod),
        ("GET", InvalidMethod),
        ("GET ", InvalidRequest),
        ("GET HTTP/1.1", InvalidRequest),
        ("GET  \t/ HTTP/1.1", InvalidRequest),
        ("GET * HTTP/1.1", InvalidRequest),
        ("OPTIONS * HTTP/1.1", InvalidRequest),
        ("PRI * HTTP/2.0", InvalidRequest),
        ("GET ?a HTTP/1.1", InvalidRequest),
        ("GET a HTTP/1.1", InvalidRequest),
        ("GET %2f HTTP/1.1", InvalidRequest),
        ("GET /a b HTTP/1.1", InvalidRequest),
        ("GET / / HTTP/1.1", InvalidRequest),
        ("GET /\t HTTP/1.1", InvalidRequest),
        ("GET /\0 HTTP/1.1", InvalidRequest),
        ("GET /\x02 HTTP/1.1", InvalidRequest),
        ("GET /?\x1f HTTP/1.1", InvalidRequest),
        ("GET /\x7f HTTP/1.1", InvalidRequest),
        ("GET /a\rb HTTP/1.1", InvalidRequest),
        ("GET / HTTP/1.1\rX", InvalidRequest),
        ("GET / HTTP/1.1\r", InvalidRequest),
        ("GET / http/1.1", InvalidRequest),
        ("GET / HTTP1.1", InvalidRequest),
        ("GET / HTTP/", InvalidRequest),
        ("GET / HTTP/1", InvalidRequest),
        ("GET / HTTP/1.", InvalidRequest),
        ("GET / HTTP/1.x", InvalidRequest),
        ("GET / HTTP/.1", InvalidRequest),
        ("GET / HTTP/0.9", InvalidRequest),
        ("GET / HTTP/1.1000", InvalidRequest),
        ("GET / HTTP/1.1x", InvalidRequest),
        ("GET / HTTP/1.1 x", InvalidRequest),
        ("GET / HTTP/1.1\t", InvalidRequest),
        ("GET / HTTPS/1.1", InvalidRequest),
        ("GET / FTP/1.1", InvalidRequest),
        ("GET / HTTP/2", InvalidVersion),
        ("GET / HTTP/2.0", InvalidVersion),
        ("GET / HTTP/3.1", InvalidVersion),
        ("GET / HTTP/9.9", InvalidVersion),
        ("GET / HTTP/10.1", InvalidVersion),
        ("POST /", InvalidMethod09),
        ("HEAD / ", InvalidMethod09),
        ("FOO /", InvalidMethod09),
        ("GET http:/h/ HTTP/1.1", InvalidRequest),
        ("GET http:h HTTP/1.1", InvalidRequest),
        ("GET http//h HTTP/1.1", InvalidRequest),
        ("GET http://u@h/ HTTP/1.1", InvalidRequest),
        ("GET http://u:p@h/ HTTP/1.1", InvalidRequest),
        ("GET http://h:x/ HTTP/1.1", InvalidRequest),
        ("GET http://h:80x/ HTTP/1.1", InvalidRequest),
        ("GET http://h#f HTTP/1.1", InvalidRequest),
        ("GET http://a_b/ HTTP/1.1", InvalidRequest),
        ("GET http://a%20b/ HTTP/1.1", InvalidRequest),
        ("GET http://[::1/ HTTP/1.1", InvalidRequest),
        ("GET http://[::1]x/ HTTP/1.1", InvalidRequest),
        ("GET http://h", InvalidRequest),
        ("GET http:// HTTP/1.1", InvalidTargetHost),
        ("GET http:///p HTTP/1.1", InvalidTargetHost),
        ("GET http://?q HTTP/1.1", InvalidTargetHost),
        ("GET http://:80/ HTTP/1.1", InvalidTargetHost),
        ("GET http://./ HTTP/1.1", InvalidTargetHost),
        ("GET http://a..b/ HTTP/1.1", InvalidTargetHost),
        ("GET http://h:65536/ HTTP/1.1", InvalidTargetHost),
        ("GET http://1.2.3.4:123456/ HTTP/1.1", InvalidTargetHost),
        ("CONNECT / HTTP/1.1", InvalidRequest),
        ("CONNECT h HTTP/1.1", InvalidRequest),
        ("CONNECT h: HTTP/1.1", InvalidRequest),
        ("CONNECT h:x HTTP/1.1", InvalidRequest),
        ("CONNECT http://h:80 HTTP/1.1", InvalidRequest),
        ("CONNECT h:80/ HTTP/1.1", InvalidRequest),
        ("CONNECT h:80", InvalidRequest),
        ("CONNECT [::1]:80 HTTP/1.0", Connect),
        ("CONNECT h:99999 HTTP/1.1", InvalidTargetHost),
        ("TRACE / HTTP/1.1", Trace),
        ("TRACE / HTTP/1.0", Trace),
    ] {
        let input = format!("{line}\r\nHost: x\r\n\r\n");
        assert_eq!(fault(input.as_bytes()), Err(want), "{line:?}");
    }
}

#[test]
fn simple_requests() {
    for (input, len) in
        [("GET /\r\n", 7), ("GET /\n", 6), ("GET / \r\nmore", 8), ("\r\nGET /a\r\nHost: x\r\n", 10)]
    {
        let head = good(input);
        assert_eq!((head.version, head.len), (Version::Http09, len), "{input:?}");
        assert!(head.fields.list.is_empty() && !head.keep_alive && head.protocol.is_empty());
    }
}

#[test]
fn bad_fields() {
    use RequestFault::*;
    let h = |line: &str| format!("{H}{line}\r\n");
    for (lines, want) in [
        // Lines.
        (h(" folded"), InvalidHeader),
        (h("\tfolded"), InvalidHeader),
        (h("a: b\r\n c"), InvalidHeader),
        (h("a : b"), InvalidHeader),
        (h("a\t: b"), InvalidHeader),
        (h("a b: c"), InvalidHeader),
        (h(": b"), InvalidHeader),
        (h("nocolon"), InvalidHeader),
        (h("a\x02: b"), InvalidHeader),
        (h("a\0: b"), InvalidHeader),
        (h("a\x7fb: c"), InvalidHeader),
        (h("a: b\0"), InvalidHeader),
        (h("a: \0b"), InvalidHeader),
        (h("a: b\x01c"), InvalidHeader),
        (h("a: b\x1b[0m"), InvalidHeader),
        (h("a: b\x7f"), InvalidHeader),
        (h("a: b\rc"), InvalidHeader),
        (h("a: b\r\r"), InvalidHeader),
        (h("a: b\x0bc"), InvalidHeader),
        ("\rX".into(), InvalidHeader),
        // Host.
        (String::new(), HostMissing),
        ("X-Host: h\r\n".into(), HostMissing),
        (format!("{H}{H}"), DuplicateHost),
        (format!("{H}hOST: other\r\n"), DuplicateHost),
        ("Host:\r\n".into(), InvalidHost),
        ("Host: .\r\n".into(), InvalidHost),
        ("Host: a b\r\n".into(), InvalidHost),
        ("Host: a,b\t\r\nHost: c\r\n".into(), DuplicateHost),
        ("Host: a/b\r\n".into(), InvalidHost),
        ("Host: u@h\r\n".into(), InvalidHost),
        ("Host: http://h\r\n".into(), InvalidHost),
        ("Host: h:x\r\n".into(), InvalidHost),
        ("Host: h:99999\r\n".into(), InvalidHost),
        ("Host: h:80:80\r\n".into(), InvalidHost),
        ("Host: a..b\r\n".into(), InvalidHost),
        ("Host: [::1\r\n".into(), InvalidHost),
        ("Host: h\u{e9}\r\n".into(), InvalidHost),
        ("Host: h?x\r\n".into(), InvalidHost),
        ("Host: h#x\r\n".into(), InvalidHost),
        ("Host: h\\x\r\n".into(), InvalidHost),
        ("Host: localhost\x02\r\n".into(), InvalidHeader),
        // Content-Length.
        (h("Content-Length: 1\r\nContent-Length: 1"), DuplicateHeader),
        (h("Content-Length: 1\r\ncontent-length: 2"), DuplicateHeader),
        (h("Content-Length:"), InvalidContentLength),
        (h("Content-Length: -1"), InvalidContentLength),
        (h("Content-Length: +1"), InvalidContentLength),
        (h("Content-Length: 1, 1"), InvalidContentLength),
        (h("Content-Length: 1 1"), InvalidContentLength),
        (h("Content-Length: 0x10"), InvalidContentLength),
        (h("Content-Length: 1e3"), InvalidContentLength),
        (h("Content-Length: 1.0"), InvalidContentLength),
        (h("Content-Length: abc"), InvalidContentLength),
        (h("Content-Length: \u{661}"), InvalidContentLength),
        (h("Content-Length: 9223372036854775808"), InvalidContentLength),
        (h("Content-Length: 18446744073709551617"), InvalidContentLength),
        // Transfer-Encoding.
        (h("Transfer-Encoding: chunked\r\nContent-Length: 1"), LengthAndTransferEncoding),
        (h("Content-Length: 0\r\nTransfer-Encoding: chunked"), LengthAndTransferEncoding),
        (h("Content-Length: x\r\nTransfer-Encoding: chunked"), InvalidContentLength),
        (h("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), DuplicateHeader),
        (h("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"), DuplicateHeader),
        (h("Transfer-Encoding: gzip"), UnknownTransferEncoding),
        (h("Transfer-Encoding: gzip, chunked"), UnknownTransferEncoding),
        (h("Transfer-Encoding: chunked, chunked"), UnknownTransferEncoding),
        (h("Transfer-Encoding: chunked,"), UnknownTransferEncoding),
        (h("Transfer-Encoding: identity"), UnknownTransferEncoding),
        (h("Transfer-Encoding: xchunked"), UnknownTransferEncoding),
        (h("Transfer-Encoding: chunked;q=1"), UnknownTransferEncoding),
        (h("Transfer-Encoding: \"chunked\""), UnknownTransferEncoding),
        (h("Transfer-Encoding:"), UnknownTransferEncoding),
        (h("Transfer-Encoding : chunked"), InvalidHeader),
        (h("Transfer-Encoding: chun\0ked"), InvalidHeader),
        (h("Transfer-Encoding: \x0bchunked"), InvalidHeader),
        // The rest of the unique ones.
        (h("Expect: 100-continue\r\nExpect: 100-continue"), DuplicateHeader),
        (h("Authorization: a\r\nAuthorization: b"), DuplicateHeader),
        (h("Proxy-Authorization: a\r\nProxy-Authorization: b"), DuplicateHeader),
        (h("If-Modified-Since: a\r\nIf-Modified-Since: b"), DuplicateHeader),
        (h("If-Unmodified-Since: a\r\nIf-Unmodified-Since: b"), DuplicateHeader),
        (h("If-Match: a\r\nIf-Match: b"), DuplicateHeader),
        (h("If-None-Match: a\r\nIf-None-Match: b"), DuplicateHeader),
        (h("If-Range: a\r\nIf-Range: b"), DuplicateHeader),
        (h("Content-Range: a\r\nContent-Range: b"), DuplicateHeader),
    ] {
        assert_eq!(fault(get(&lines).as_bytes()), Err(want), "{lines:?}");
    }
    assert_eq!(
        fault(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Err(RequestFault::TransferEncodingIn10)
    );
    // An absolute target wins, but a bad or missing Host is still refused.
    for (lines, want) in [("", HostMissing), ("Host: a b\r\n", InvalidHost)] {
        let input = format!("GET http://h/ HTTP/1.1\r\n{lines}\r\n");
        assert_eq!(fault(input.as_bytes()), Err(want), "{lines:?}");
    }
}

#[test]
fn good_fields_and_their_meaning() {
    let of = |lines: &str| good(&get(&format!("{H}{lines}")));
    assert_eq!(of("").framing, Framing::None);
    assert_eq!(of("Content-Length: 0\r\n").framing, Framing::Length(0));
    assert_eq!(of("Content-Length:\t007 \r\n").framing, Framing::Length(7));
    assert_eq!(of("Content-Length: 9223372036854775807\r\n").framing, Framing::Length(i64::MAX as u64));
    assert_eq!(of("Transfer-Encoding: chunked\r\n").framing, Framing::Chunked);
    assert_eq!(of("transfer-encoding:CHUNKED\n").framing, Framing::Chunked);
    for (lines, keep_alive, upgrade) in [
        ("", true, false),
        ("Connection: close\r\n", false, false),
        ("Connection: Keep-Alive\r\n", true, false),
        ("Connection: keep-alive, CLOSE\r\n", false, false),
        ("Connection: close\r\nConnection: keep-alive\r\n", false, false),
        ("Connection: disclose\r\n", true, false),
        ("Connection: Upgrade\r\nUpgrade: websocket\r\n", true, true),
        ("Connection: keep-alive, upgrade\r\n", true, true),
        ("Connection: ,, ,\r\n", true, false),
    ] {
        let head = of(lines);
        assert_eq!((head.keep_alive, head.connection_upgrade), (keep_alive, upgrade), "{lines:?}");
    }
    let old = |lines: &str| good(&format!("GET / HTTP/1.0\r\n{lines}\r\n"));
    assert!(!old("").keep_alive && old("Connection: keep-alive\r\n").keep_alive);
    assert!(!old("Connection: upgrade\r\n").connection_upgrade);
    assert!(!old("Expect: 100-continue\r\n").expect_continue && old("").host.is_none());
    assert!(of("Expect: 100-Continue\r\n").expect_continue && !of("Expect: 200-ok\r\n").expect_continue);
    // What may come twice does.
    let twice = of(
        "Cookie: a\r\nCookie: b\r\nX-Forwarded-For: a\r\nX-Forwarded-For: b\r\nAccept: a\r\nAccept: b\r\n",
    );
    assert_eq!(twice.fields.all(Known::Cookie).count(), 2);
    assert_eq!(twice.fields.list.len(), 7);
    let bytes = b"GET / HTTP/1.1\r\nHost: h\r\nX: \xff\tb \r\n\r\n";
    let (head, outcome) = parse_with(bytes, &HeadLimits::default());
    assert_eq!(outcome, Ok(Parsed::Complete));
    assert_eq!(head.fields.find_name(bytes, b"x").unwrap().value.of(bytes), b"\xff\tb");
}

#[test]
fn hosts() {
    for (input, host, name, port) in [
        (get("Host: Example.COM.:80\r\n"), "Example.COM.:80", "Example.COM", 80),
        (get("Host: [::1]:8080\r\n"), "[::1]:8080", "[::1]", 8080),
        ("GET http://a.b:81/c HTTP/1.1\r\nHost: x\r\n\r\n".into(), "a.b:81", "a.b", 81),
        ("GET http://a.b HTTP/1.0\r\n\r\n".into(), "a.b", "a.b", 0),
        ("GET http://a.b./\r\n".into(), "a.b.", "a.b", 0),
    ] {
        let (head, buf) = (good(&input), input.as_bytes());
        assert_eq!(head.host.unwrap().of(buf), host.as_bytes());
        assert_eq!((head.host_name.of(buf), head.host_port), (name.as_bytes(), port));
        assert_eq!(head.host_capitals, host.contains('E'));
    }
    let input = "GET HTTPS://a.b:81/c HTTP/1.1\r\nHost: x\r\n\r\n";
    let (head, buf) = (good(input), input.as_bytes());
    assert_eq!(head.schema.of(buf), b"HTTPS");
    assert_eq!(head.authority.of(buf), b"a.b:81");
    assert_eq!(head.target.of(buf), b"HTTPS://a.b:81/c");
    assert_eq!(head.protocol.of(buf), b"HTTP/1.1");
}

#[test]
fn invalid_names_are_dropped_kept_or_refused() {
    let base = HeadLimits::default();
    let odd = HeadLimits { ignore_invalid: false, ..base };
    let under = HeadLimits { underscores: true, ..base };
    for (name, by_default, underscores_on, ignore_off) in [
        ("x-foo", Some(true), Some(true), Some(true)),
        ("x_foo", Some(false), Some(true), Some(true)),
        ("_foo", Some(false), Some(true), Some(true)),
        ("x.foo", Some(false), Some(false), Some(true)),
        (".foo", Some(false), Some(false), Some(true)),
        ("x!#$%&'*+^`|~", Some(false), Some(false), Some(true)),
        ("</kie>", Some(false), Some(false), None),
        ("x(y)", Some(false), Some(false), None),
        ("\u{e9}", Some(false), Some(false), None),
    ] {
        for (limits, want) in [(&base, by_default), (&under, underscores_on), (&odd, ignore_off)] {
            let input = get(&format!("{H}{name}: x\r\n"));
            let (head, outcome) = parse_with(input.as_bytes(), limits);
            match want {
                Some(kept) => {
                    assert_eq!(outcome, Ok(Parsed::Complete), "{name}");
                    assert_eq!(
                        (head.fields.list.len(), head.ignored),
                        (1 + kept as usize, !kept as u32),
                        "{name}"
                    );
                }
                None => assert_eq!(outcome, Err(RequestFault::InvalidHeader), "{name}"),
            }
        }
    }
    // A dropped name has no meaning either.
    let head = good(&get(&format!("{H}Content_Length: 5\r\nTransfer_Encoding: chunked\r\n")));
    assert_eq!(head.framing, Framing::None);
}

#[test]
fn limits() {
    use RequestFault::*;
    let limits = HeadLimits { line_max: 32, total_max: 100, fields_max: 3, ..HeadLimits::default() };
    let line = |n: usize| format!("GET /{} HTTP/1.1\r\n", "a".repeat(n - 16));
    let field = |n: usize| format!("X: {}\r\n", "a".repeat(n - 5));
    for (input, want) in [
        (line(32) + H + "\r\n", Ok(Parsed::Complete)),
        (line(33) + H + "\r\n", Err(LineTooLong)),
        (format!("GET /{}", "a".repeat(27)), Err(LineTooLong)),
        (format!("GET /{}", "a".repeat(26)), Ok(Parsed::Partial)),
        (line(20) + H + &field(32) + "\r\n", Ok(Parsed::Complete)),
        (line(20) + H + &field(33) + "\r\n", Err(HeaderTooLong)),
        (line(20) + H + &field(32).replace("\r\n", ""), Ok(Parsed::Partial)),
        (line(20) + H + &field(34).replace("\r\n", ""), Err(HeaderTooLong)),
        (line(29) + H + &field(30) + &field(30) + "\r\n", Ok(Parsed::Complete)),
        (line(29) + H + &field(30) + &field(31) + "\r\n", Err(HeadTooLarge)),
        (line(29) + H + &field(30) + &field(30) + "\r", Ok(Parsed::Partial)),
        (line(16) + H + "a:\r\nb:\r\n\r\n", Ok(Parsed::Complete)),
        (line(16) + H + "a:\r\nb:\r\nc:\r\n\r\n", Err(TooManyFields)),
        (line(16) + H + "a:\r\nb_:\r\nc:\r\n\r\n", Ok(Parsed::Complete)),
        ("\r\n".repeat(20) + &line(16) + H + "\r\n", Ok(Parsed::Complete)),
        ("\r\n".repeat(60), Err(LineTooLong)),
    ] {
        // `line` and `field` count their CRLF.
        let (_, outcome) = parse_with(input.as_bytes(), &limits);
        assert_eq!(outcome, want, "{input:?}, {} bytes", input.len());
        assert_eq!(drip(input.as_bytes(), 1, &limits).1, want, "{input:?} dripping");
    }
    assert_eq!((LineTooLong.status(), HeadTooLarge.status(), TooManyFields.status()), (414, 494, 494));
}

#[test]
fn a_dripping_head_is_the_same_head() {
    let input = get(&format!("{H}Cookie: {}\r\nContent-Length: 2\r\n", "c".repeat(8000)));
    let (head, outcome) = drip(input.as_bytes(), 1, &HeadLimits::default());
    assert_eq!((outcome, head.framing), (Ok(Parsed::Complete), Framing::Length(2)));
    assert_eq!(head.fields, good(&input).fields);
}

#[test]
fn pipelined_bytes_are_left_alone_and_the_head_is_recycled() {
    let one = "GET /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
    let two = "\r\nGET /2 HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n";
    let input = format!("{one}\0 \n{two}");
    let mut head = RequestHead::default();
    assert_eq!(head.parse(input.as_bytes(), &HeadLimits::default()), Ok(Parsed::Complete));
    assert_eq!((head.len, head.framing), (one.len(), Framing::Length(3)));
    let rest = &input.as_bytes()[one.len() + 3..];
    assert_eq!(head.parse(rest, &HeadLimits::default()), Ok(Parsed::Complete));
    assert_eq!((head.len, head.framing, head.keep_alive), (two.len(), Framing::None, false));
    assert_eq!(head, parse_with(rest, &HeadLimits::default()).0);
    // After a fault, too; and a partial head is forgotten on demand.
    assert!(head.parse(b"get", &HeadLimits::default()).is_err());
    assert_eq!(head.parse(b"GET / HT", &HeadLimits::default()), Ok(Parsed::Partial));
    head.clear();
    assert_eq!(head.parse(rest, &HeadLimits::default()), Ok(Parsed::Complete));
}

#[test]
fn log_messages() {
    for (input, want) in [
        ("get / HTTP/1.1\r\n", "client sent invalid method while reading client request line"),
        (
            "GET / HTTP/1.1\r\na b: c\r\n\r\n",
            "client sent invalid header line: \"a\\x20...\" while reading client request headers",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nHOST: b\r\n\r\n",
            "client sent duplicate host header: \"HOST: b\", previous value: \"Host: a\" while reading client request headers",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n",
            "client sent unknown \"Transfer-Encoding\": \"x\" while reading client request headers",
        ),
    ] {
        let (head, outcome) = parse_with(input.as_bytes(), &HeadLimits::default());
        let mut out = Vec::new();
        head.explain(outcome.unwrap_err(), input.as_bytes(), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), want);
        assert_eq!(head.request_line.of(input.as_bytes()), input.split("\r\n").next().unwrap().as_bytes());
    }
}

/// Feeds the input in steps until it is over, as a slow client would.
fn drip(input: &[u8], step: usize, limits: &HeadLimits) -> (RequestHead, Result<Parsed, RequestFault>) {
    let mut head = RequestHead::default();
    let mut end = 0;
    loop {
        end = (end + step).min(input.len());
        let outcome = head.parse(&input[..end], limits);
        if outcome != Ok(Parsed::Partial) || end == input.len() {
            return (head, outcome);
        }
    }
}

/// Every span of a head.
fn spans(head: &RequestHead) -> Vec<Span> {
    let mut spans: Vec<_> = head.fields.list.iter().flat_map(|f| [f.name, f.value]).collect();
    spans.push(head.request_line);
    spans.retain(|s| !s.is_empty());
    spans.sort_by_key(|s| s.start);
    spans
}

proptest! {
    #[test]
    fn never_panics(input in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = fault(&input);
        let _ = fault(&[b"GET / HTTP/1.1\r\n", &input[..]].concat());
    }

    #[test]
    fn any_split_gives_the_same(
        line in "(GET|POST|get|CONNECT|TRACE) (/|/a%20|http://h/|h:80|\\*)( HTTP/1\\.[01])?",
        lines in "((\r\n|\n|\r)(Host: h|Host: |X-Y: z z|a_b: 1|Connection: close, Upgrade|Content-Length: 5|Transfer-Encoding: chunked|[a: \t\u{1}]{0,4})){0,6}",
        step in 1usize..40,
    ) {
        let input = format!("{line}{lines}\r\n\r\nbody");
        let limits = HeadLimits { line_max: 40, total_max: 120, ..HeadLimits::default() };
        let (whole, outcome) = parse_with(input.as_bytes(), &limits);
        let (split, split_outcome) = drip(input.as_bytes(), step, &limits);
        prop_assert_eq!(outcome, split_outcome);
        if outcome == Ok(Parsed::Complete) {
            prop_assert_eq!(&whole.fields, &split.fields);
            prop_assert_eq!((whole.len, whole.framing, whole.host, whole.path), (split.len, split.framing, split.host, split.path));
            let spans = spans(&whole);
            prop_assert!(spans.windows(2).all(|w| w[0].end <= w[1].start), "{:?}", spans);
            prop_assert!(spans.iter().all(|s| s.end as usize <= whole.len));
        }
    }

    #[test]
    fn agrees_with_httparse(
        target in "/[a-z0-9/?=&.%-]{0,20}",
        fields in proptest::collection::vec(("[A-Za-z-]{1,12}", "[!-~]([ -~\t]{0,20}[!-~])?"), 0..8),
    ) {
        let mut input = format!("GET {target} HTTP/1.1\r\nHost: h\r\n");
        for (name, value) in &fields {
            input += &format!("X{name}: {value}\r\n");
        }
        input += "\r\n";
        let mut slots = [httparse::EMPTY_HEADER; 16];
        let mut other = httparse::Request::new(&mut slots);
        let len = other.parse(input.as_bytes()).unwrap().unwrap();
        let (head, outcome) = parse_with(input.as_bytes(), &HeadLimits::default());
        prop_assert_eq!(outcome, Ok(Parsed::Complete));
        prop_assert_eq!(head.len, len);
        prop_assert_eq!(head.path.of(input.as_bytes()), other.path.unwrap().as_bytes());
        prop_assert_eq!(head.fields.list.len(), other.headers.len());
        for (field, header) in head.fields.list.iter().zip(other.headers) {
            prop_assert_eq!(field.name.of(input.as_bytes()), header.name.as_bytes());
            prop_assert_eq!(field.value.of(input.as_bytes()), header.value);
        }
    }
}
