//! `gzip`, `gunzip`, `gzip_static`.

use crate::harness::*;
use flate2::read::{GzDecoder, MultiGzDecoder};
use flate2::write::GzEncoder;
use std::io::{Read, Write};

const GZIP: &str = "Host: a\r\nAccept-Encoding: gzip\r\n";

fn unpacked(message: &Message) -> String {
    assert_eq!(message.get("content-encoding"), Some("gzip"), "{}", message.head);
    let mut text = String::new();
    MultiGzDecoder::new(&message.body[..]).read_to_string(&mut text).unwrap();
    text
}

fn packed(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn answer(fields: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn site(conf: &str) -> Setup {
    Setup::http(&format!(
        "types {{ text/html html; text/plain txt; }} gzip on;
        server {{ listen 127.0.0.1:%%PORT%%; root %%DIR%%/www; {conf} }}"
    ))
    .file("www/a.html", "hello ".repeat(100))
    .file("www/a.txt", "hello ".repeat(100))
    .file("www/small.html", "x".repeat(19))
    .file("www/twenty.html", "x".repeat(20))
    .file("www/empty.html", "")
}

#[test]
fn file_is_compressed() {
    let server = site("gzip_vary on;").start();
    let plain = server.get("/a.html");
    assert_eq!((plain.get("content-encoding"), plain.get("vary")), (None, Some("Accept-Encoding")));
    assert_eq!((plain.get("accept-ranges"), plain.get("content-length")), (Some("bytes"), Some("600")));
    let message = server.get_with("/a.html", GZIP);
    assert_eq!(unpacked(&message), "hello ".repeat(100));
    assert_eq!(message.get("vary"), Some("Accept-Encoding"));
    assert_eq!(message.get("transfer-encoding"), Some("chunked"));
    assert_eq!((message.get("content-length"), message.get("accept-ranges")), (None, None));
    assert_eq!(message.get("etag"), Some(format!("W/{}", plain.get("etag").unwrap()).as_str()));
    assert_eq!(
        message.names(),
        [
            "Server",
            "Date",
            "Content-Type",
            "Last-Modified",
            "Transfer-Encoding",
            "Connection",
            "Vary",
            "ETag",
            "Content-Encoding"
        ]
    );
}

#[test]
fn which_answers_are_compressed() {
    let server = site(
        "location /403 { return 403 'text of a refusal'; default_type text/html; }
        location /500 { return 500 'text of a failure, long enough'; default_type text/html; }
        location /types/ { alias %%DIR%%/www/; gzip_types text/plain; }
        location /any/ { alias %%DIR%%/www/; gzip_types *; }
        location /min/ { alias %%DIR%%/www/; gzip_min_length 601; }
        location /off/ { alias %%DIR%%/www/; gzip off; }",
    )
    .start();
    for (path, want) in [
        ("/a.html", true),
        ("/a.txt", false),
        ("/small.html", false),
        ("/twenty.html", true),
        ("/absent", true),
        ("/403", false),
        ("/500", false),
        ("/types/a.txt", true),
        ("/types/a.html", true),
        ("/any/a.txt", true),
        ("/min/a.html", false),
        ("/off/a.html", false),
    ] {
        let coding = server.get_with(path, GZIP).get("content-encoding").map(str::to_owned);
        assert_eq!(coding.is_some(), want, "{path}");
    }
}

#[test]
fn what_clients_accept() {
    let server = site("").start();
    for (value, want) in [
        ("gzip", true),
        ("gzip, deflate, br", true),
        ("deflate, gzip;q=0.5", true),
        ("GZIP", true),
        ("gzip;q=0", false),
        ("identity", false),
        ("*", false),
        ("x-gzip", false),
    ] {
        let message = server.get_with("/a.html", &format!("Host: a\r\nAccept-Encoding: {value}\r\n"));
        assert_eq!(message.get("content-encoding").is_some(), want, "{value}");
    }
}

#[test]
fn old_versions_and_clients() {
    let server = site(
        "location /ten/ { alias %%DIR%%/www/; gzip_http_version 1.0; }
        location /dis/ { alias %%DIR%%/www/; gzip_disable msie6 \"robot[0-9]\"; }",
    )
    .start();
    let ask = |target: &str, version: &str, more: &str| {
        server.ask(format!("GET {target} HTTP/{version}\r\nHost: a\r\nAccept-Encoding: gzip\r\n{more}Connection: close\r\n\r\n"))
    };
    assert_eq!(ask("/a.html", "1.0", "").get("content-encoding"), None);
    let message = ask("/ten/a.html", "1.0", "");
    assert_eq!(unpacked(&message), "hello ".repeat(100));
    assert_eq!((message.get("transfer-encoding"), message.get("content-length")), (None, None));
    for (agent, want) in [
        ("curl", true),
        ("Robot7", false),
        ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.0)", false),
        ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; SV1)", true),
    ] {
        let message = ask("/dis/a.html", "1.1", &format!("User-Agent: {agent}\r\n"));
        assert_eq!(message.get("content-encoding").is_some(), want, "{agent}");
    }
}

#[test]
fn requests_through_proxies() {
    for (words, field, more, want) in [
        ("off", "", "", false),
        ("any", "", "", true),
        ("no-cache", "Cache-Control: no-cache\r\n", "", true),
        ("no-cache", "Cache-Control: private\r\n", "", false),
        ("no-store private", "Cache-Control: max-age=1, private\r\n", "", true),
        ("expired", "Expires: Thu, 01 Jan 1970 00:00:01 GMT\r\n", "", true),
        ("expired", "Expires: Thu, 31 Dec 2037 23:55:55 GMT\r\n", "", false),
        ("no-cache", "Expires: Thu, 01 Jan 1970 00:00:01 GMT\r\n", "", false),
        ("auth", "", "Authorization: Basic eDp5\r\n", true),
        ("no_last_modified", "Last-Modified: Thu, 01 Jan 1970 00:00:01 GMT\r\n", "", false),
        ("no_etag", "ETag: \"a\"\r\n", "", false),
        ("no_etag", "", "", true),
    ] {
        let up = Upstream::always(answer(&format!("Content-Type: text/html\r\n{field}"), [b'x'; 50]));
        let server = Server::before(
            &up,
            &format!(
                "gzip on; gzip_proxied {words}; server {{ listen 127.0.0.1:%%PORT%%; location / {{ proxy_pass http://%%UP%%; }} }}"
            ),
        );
        let message = server.get_with("/", &format!("{GZIP}Via: 1.1 x\r\n{more}"));
        assert_eq!(message.get("content-encoding").is_some(), want, "{words} {field}");
        let direct = server.get_with("/", GZIP);
        assert_eq!(direct.get("content-encoding"), Some("gzip"), "{words} {field}");
    }
}

fn before(up: &Upstream, conf: &str) -> Server {
    Server::before(
        up,
        &format!("server {{ listen 127.0.0.1:%%PORT%%; location / {{ proxy_pass http://%%UP%%; {conf} }} }}"),
    )
}

#[test]
fn large_body_of_an_upstream() {
    let body: String = (0..200_000).map(|n: u32| format!("{n} ")).collect();
    let up = Upstream::always(answer("Content-Type: text/html\r\n", &body));
    let server = before(&up, "gzip on; gzip_comp_level 9; gzip_window 4k;");
    let message = server.get_with("/", GZIP);
    assert!(message.body.len() < body.len() / 2);
    assert_eq!(unpacked(&message), body);
    assert_eq!(server.get("/").text(), body);
}

#[test]
fn streamed_body_is_flushed() {
    let up = Upstream::new(|origin| {
        origin.answer(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n",
        );
        origin.wait_release();
        origin.send("3\r\ntwo\r\n0\r\n\r\n");
    });
    let server = before(&up, "gzip on; proxy_buffering off;");
    let mut client = server.client();
    client.send(format!("GET / HTTP/1.1\r\n{GZIP}\r\n"));
    assert!(client.take_until("\r\n\r\n").unwrap().contains("Content-Encoding: gzip"));
    let size = client.take_until("\r\n").unwrap();
    let mut bytes = client.take(usize::from_str_radix(size.trim(), 16).unwrap()).unwrap();
    let mut first = [0; 3];
    GzDecoder::new(&bytes[..]).read_exact(&mut first).unwrap();
    assert_eq!(&first, b"one");
    up.release();
    client.take(2).unwrap();
    loop {
        let size = client.take_until("\r\n").unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        bytes.extend(client.take(size).unwrap());
        client.take(2).unwrap();
        if size == 0 {
            break;
        }
    }
    let mut text = String::new();
    GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text, "onetwo");
}

#[test]
fn coded_answers_stay_as_they_are() {
    let up = Upstream::always(answer("Content-Type: text/html\r\nContent-Encoding: br\r\n", [b'x'; 50]));
    let message = before(&up, "gzip on;").get_with("/", GZIP);
    assert_eq!((message.get("content-encoding"), message.text()), (Some("br"), "x".repeat(50)));
}

#[test]
fn cut_answer_stays_cut() {
    let up = Upstream::once("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 500\r\n\r\nfirst");
    let server = before(&up, "gzip on;");
    let mut client = server.client();
    client.send(format!("GET / HTTP/1.1\r\n{GZIP}\r\n"));
    client.recv_cut();
    server.wait_log("upstream prematurely closed connection");
}

#[test]
fn head_is_that_of_the_compressed_answer() {
    let server = site("").start();
    let message = server.ask(format!("HEAD /a.html HTTP/1.1\r\n{GZIP}Connection: close\r\n\r\n"));
    assert_eq!((message.get("content-encoding"), message.get("content-length")), (Some("gzip"), None));
}

#[test]
fn conditions_and_ranges() {
    let server = site("").start();
    let etag = server.get("/a.html").get("etag").unwrap().to_owned();
    let message = server.get_with("/a.html", &format!("{GZIP}If-None-Match: W/{etag}\r\n"));
    assert_eq!((message.status(), message.get("etag")), (304, Some(etag.as_str())));
    let message = server.get_with("/a.html", &format!("{GZIP}Range: bytes=0-5\r\n"));
    assert_eq!((message.status(), unpacked(&message).len()), (200, 600));
    let message = server.get_with("/a.html", "Host: a\r\nRange: bytes=0-5\r\n");
    assert_eq!((message.status(), message.text()), (206, "hello ".to_owned()));
    // Ranges of a type that is not compressed.
    assert_eq!(server.get_with("/a.txt", &format!("{GZIP}Range: bytes=0-5\r\n")).status(), 206);
}

#[test]
fn rate_and_trailers() {
    let server = site(
        "location /slow/ { alias %%DIR%%/www/; limit_rate 1m; }
        location /trailer/ { alias %%DIR%%/www/; add_trailer X-T one; }",
    )
    .start();
    assert_eq!(unpacked(&server.get_with("/slow/a.html", GZIP)).len(), 600);
    let message = server.get_with("/trailer/a.html", GZIP);
    assert_eq!(unpacked(&message).len(), 600);
    assert_eq!(message.trailers, [("X-T".to_owned(), "one".to_owned())]);
}

#[test]
fn ratio_in_the_log() {
    let server = Setup::http(
        "log_format r '$status $gzip_ratio $body_bytes_sent'; gzip on;
        server { listen 127.0.0.1:%%PORT%%; root %%DIR%%/www; access_log %%DIR%%/r.log r; }",
    )
    .file("www/a.html", "hello ".repeat(1000))
    .start();
    let size = server.get_with("/a.html", GZIP).body.len();
    server.get("/a.html");
    let lines = server.wait_lines("r.log", 2);
    let ratio: f64 = lines[0].split(' ').nth(1).unwrap().parse().unwrap();
    assert!((ratio - 6000.0 / size as f64).abs() < 0.011, "{lines:?} {size}");
    assert_eq!(lines[1], "200 - 6000");
}

#[test]
fn unpacked_for_those_who_cannot() {
    let text = "hello ".repeat(20_000);
    let up = Upstream::always(answer(
        "Content-Type: text/html\r\nETag: \"a\"\r\nContent-Encoding: gzip\r\nAccept-Ranges: bytes\r\n",
        packed(&text),
    ));
    let server = before(&up, "gunzip on; gzip_vary on;");
    let message = server.get("/");
    assert_eq!(message.text(), text);
    assert_eq!((message.get("content-encoding"), message.get("content-length")), (None, None));
    assert_eq!((message.get("etag"), message.get("accept-ranges")), (Some("W/\"a\""), None));
    assert_eq!(message.get("vary"), Some("Accept-Encoding"));
    let message = server.get_with("/", GZIP);
    assert_eq!(unpacked(&message), text);
    assert_eq!((message.get("etag"), message.get("vary")), (Some("\"a\""), Some("Accept-Encoding")));
}

#[test]
fn what_cannot_be_unpacked_is_cut() {
    let body = packed("hello");
    let up = Upstream::always(answer("Content-Encoding: gzip\r\n", &body[..body.len() - 2]));
    let server = before(&up, "gunzip on;");
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.recv_cut();
    server.wait_log("inflate() returned -5 on response end");
}

fn precompressed(conf: &str) -> Server {
    Setup::http(&format!("server {{ listen 127.0.0.1:%%PORT%%; root %%DIR%%/www; {conf} }}"))
        .file("www/a.html", "plain")
        .file("www/a.html.gz", packed("packed"))
        .file("www/b.html", "alone")
        .file("www/c.html.gz", packed("only packed"))
        .file("www/d.html", "file")
        .file("www/d.html.gz/x", "a folder")
        .start()
}

#[test]
fn neighbour_of_a_file() {
    let server = precompressed("gzip_static on; gzip_vary on;");
    let message = server.get_with("/a.html", GZIP);
    assert_eq!((unpacked(&message).as_str(), message.get("vary")), ("packed", Some("Accept-Encoding")));
    assert_eq!(
        (message.get("content-type"), message.get("accept-ranges")),
        (Some("text/html"), Some("bytes"))
    );
    let etag = message.get("etag").unwrap();
    let again = server.get_with("/a.html", &format!("{GZIP}If-None-Match: {etag}\r\n"));
    assert_eq!((again.status(), again.get("content-encoding")), (304, None));
    let part = server.get_with("/a.html", &format!("{GZIP}Range: bytes=0-1\r\n"));
    assert_eq!((part.status(), &part.body[..]), (206, &[0x1f, 0x8b][..]));
    let other = server.get_with("/a.html", &format!("{GZIP}If-Match: \"other\"\r\n"));
    assert_eq!((other.status(), other.get("vary")), (412, Some("Accept-Encoding")));
    assert_eq!(other.get("content-encoding"), None);
    let plain = server.get("/a.html");
    assert_eq!((plain.text().as_str(), plain.get("vary")), ("plain", Some("Accept-Encoding")));
    let alone = server.get_with("/b.html", GZIP);
    assert_eq!((alone.text().as_str(), alone.get("vary")), ("alone", None));
    assert_eq!(unpacked(&server.get_with("/c.html", GZIP)), "only packed");
    assert_eq!(server.get("/c.html").status(), 404);
    assert_eq!(server.get_with("/d.html", GZIP).text(), "file");
}

#[test]
fn neighbour_for_all() {
    let server = precompressed("gzip_static always; location /gunzip/ { alias %%DIR%%/www/; gunzip on; }");
    assert_eq!(unpacked(&server.get("/a.html")), "packed");
    assert_eq!(server.get("/gunzip/c.html").text(), "only packed");
    assert_eq!(server.get("/b.html").text(), "alone");
    let off = precompressed("gzip_static off;");
    assert_eq!(off.get_with("/a.html", GZIP).text(), "plain");
}

#[test]
fn values_are_checked() {
    for (line, message) in [
        ("gzip_comp_level 10;", "value must be between 1 and 9"),
        ("gzip_window 3k;", "\"gzip_window\" directive must be 512, 1k, 2k, 4k, 8k, 16k, or 32k"),
        ("gzip_proxied some;", "invalid value \"some\""),
        ("gzip_static maybe;", "invalid value \"maybe\""),
    ] {
        let refused = Setup::http(&format!("{line} server {{ }}")).refused();
        assert!(refused.starts_with(&format!("[emerg] {message} in DIR/nginx.conf:")), "{refused}");
    }
}
