//! `sub_filter`, `addition`, `charset`, and how they work together with `gzip` and ranges.

use crate::harness::*;
use flate2::read::GzDecoder;
use std::io::Read;

fn site(conf: &str) -> Setup {
    Setup::http(&format!(
        "types {{ text/html html; text/plain txt; }}
        charset_map A utf-8 {{ 80 D0B0; 81 E282AC; }}
        charset_map A B {{ 80 90; 81 91; }}
        server {{ listen 127.0.0.1:%%PORT%%; root %%DIR%%/www; {conf} }}"
    ))
    .file("www/a.html", "one two One TWO three")
    .file("www/a.txt", "one two One TWO three")
    .file("www/before.html", "<before>")
    .file("www/after.txt", "<after one>")
    .file("www/bytes.html", b"x\x80y\x81z")
    .file("www/utf8.html", "xаy€zж")
    .file("www/empty.html", "")
}

fn before(up: &Upstream, conf: &str) -> Server {
    Server::before(
        up,
        &format!("server {{ listen 127.0.0.1:%%PORT%%; location / {{ proxy_pass http://%%UP%%; {conf} }} }}"),
    )
}

fn ok(fields: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

// ------------------------------------------------------------------------------------- sub_filter

#[test]
fn texts_are_replaced() {
    let server = site(
        "location /once/ { alias %%DIR%%/www/; sub_filter one 1; sub_filter TWO $arg_x; }
        location /all/ { alias %%DIR%%/www/; sub_filter one 1; sub_filter two ''; sub_filter_once off; sub_filter_types text/plain; }
        location /var/ { alias %%DIR%%/www/; sub_filter $arg_a '<$arg_b>'; sub_filter_once off; }
        location /last/ { alias %%DIR%%/www/; sub_filter one 1; sub_filter_last_modified on; }",
    )
    .start();
    for (target, want) in [
        ("/once/a.html?x=22", "1 22 One TWO three"),
        ("/once/a.txt", "one two One TWO three"),
        ("/all/a.html", "1  1  three"),
        ("/all/a.txt", "1  1  three"),
        ("/var/a.html?a=T&b=x", "one <x>wo One <x>WO <x>hree"),
        ("/var/a.html", "one two One TWO three"),
        ("/once/empty.html", ""),
    ] {
        assert_eq!(server.get(target).answer(), (200, want.to_owned()), "{target}");
    }
    let plain = server.get("/a.html");
    let message = server.get("/once/a.html");
    assert_eq!((message.get("last-modified"), message.get("etag")), (None, None));
    assert_eq!((message.get("content-length"), message.get("accept-ranges")), (None, None));
    let message = server.get("/last/a.html");
    assert_eq!(message.get("last-modified"), plain.get("last-modified"));
    assert_eq!(message.get("etag"), Some(format!("W/{}", plain.get("etag").unwrap()).as_str()));
    assert_eq!(server.get_with("/once/a.html", "Host: a\r\nRange: bytes=0-1\r\n").status(), 200);
}

#[test]
fn text_across_the_parts_of_a_body() {
    let up = Upstream::new(|origin| {
        origin.answer("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n");
        for part in ["on", "e o", "neon", "eo", "n"] {
            origin.send(format!("{:x}\r\n{part}\r\n", part.len()));
            pause(5);
        }
        origin.send("0\r\n\r\n");
    });
    for buffering in ["on", "off"] {
        let server =
            before(&up, &format!("sub_filter one <1>; sub_filter_once off; proxy_buffering {buffering};"));
        assert_eq!(server.get("/").text(), "<1> <1><1>on");
    }
}

#[test]
fn what_is_no_text_is_not_held_back() {
    let up = Upstream::new(|origin| {
        origin.answer(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabc on\r\n",
        );
        origin.wait_release();
        origin.send("1\r\ne\r\n0\r\n\r\n");
    });
    let server = before(&up, "sub_filter one 1; proxy_buffering off;");
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.take_until("\r\n\r\n").unwrap();
    client.take_until("abc ").unwrap();
    up.release();
    assert!(client.take_until("0\r\n\r\n").unwrap().contains('1'));
}

#[test]
fn large_body_with_many_texts() {
    let body = "0123456789 lorem ipsum dolor ".repeat(20_000);
    let up = Upstream::always(ok("Content-Type: text/html\r\n", &body));
    let server =
        before(&up, "sub_filter lorem <a-much-longer-text>; sub_filter DOLOR d; sub_filter_once off;");
    let want = body.replace("lorem", "<a-much-longer-text>").replace("dolor", "d");
    assert!(server.get("/").text() == want);
}

#[test]
fn bad_texts_are_refused() {
    let refused = Setup::http("sub_filter '' x; server { }").refused();
    assert!(refused.starts_with("[emerg] empty search pattern in DIR/nginx.conf:"), "{refused}");
}

// --------------------------------------------------------------------------------------- addition

const ROUND: &str = "add_before_body /before.html; add_after_body /after.txt;";

#[test]
fn answers_round_a_body() {
    let server = site(&format!(
        "location /r/ {{ alias %%DIR%%/www/; {ROUND} }}
        location /types/ {{ alias %%DIR%%/www/; {ROUND} addition_types text/plain; }}
        location /missing/ {{ alias %%DIR%%/www/; add_before_body /nowhere; default_type text/html; }}
        location /off/ {{ {ROUND} location /off/in/ {{ alias %%DIR%%/www/; add_before_body ''; }} }}
        location /return {{ {ROUND} default_type text/html; return 200 text; }}
        location /404 {{ {ROUND} default_type text/html; return 404; }}"
    ))
    .start();
    let round = |text: &str| format!("<before>{text}<after one>");
    assert_eq!(server.get("/r/a.html").text(), round("one two One TWO three"));
    assert_eq!(server.get("/r/a.txt").text(), "one two One TWO three");
    assert_eq!(server.get("/types/a.txt").text(), round("one two One TWO three"));
    assert_eq!(server.get("/r/empty.html").text(), round(""));
    assert_eq!(server.get("/return").text(), round("text"));
    assert!(!server.get("/404").text().contains("<before>"));
    assert_eq!(server.get("/off/in/a.html").text(), "one two One TWO three<after one>");
    let missing = server.get("/missing/a.html").text();
    assert!(missing.contains("404 Not Found") && missing.ends_with("one two One TWO three"), "{missing}");
    let message = server.get("/r/a.html");
    assert_eq!((message.get("content-length"), message.get("accept-ranges")), (None, None));
    assert!(message.get("etag").unwrap().starts_with("W/\""));
    let old = server.ask("GET /r/a.html HTTP/1.0\r\n\r\n");
    assert_eq!((old.text(), old.get("connection")), (round("one two One TWO three"), Some("close")));
    let head = server.ask("HEAD /r/a.html HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!((head.status(), head.get("content-length")), (200, None));
}

#[test]
fn answers_of_upstreams_round_a_body() {
    let up = Upstream::echo();
    let server = Server::before(
        &up,
        "default_type text/html; server { listen 127.0.0.1:%%PORT%%;
            location / { add_before_body /one; add_after_body /two?x; return 200 MIDDLE; }
            location /one { proxy_pass http://%%UP%%; }
            location /two { proxy_pass http://%%UP%%; sub_filter GET got; sub_filter_types *; } }",
    );
    let text = server.get("/").text();
    let (one, two) = text.split_once("MIDDLE").unwrap();
    assert!(one.starts_with("GET /one HTTP/1.1\r\n"), "{text}");
    assert!(two.starts_with("got /two%3Fx HTTP/1.1\r\n"), "{text}");
}

#[test]
fn replaced_inside_and_compressed_together() {
    let server = site(&format!(
        "location /r/ {{ alias %%DIR%%/www/; {ROUND} sub_filter one 1; sub_filter_once off; gzip on; }}"
    ))
    .start();
    let message = server.get_with("/r/a.html", "Host: a\r\nAccept-Encoding: gzip\r\n");
    let mut text = String::new();
    GzDecoder::new(&message.body[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text, "<before>1 two 1 TWO three<after one>");
    assert_eq!(message.get("content-encoding"), Some("gzip"));
}

// ---------------------------------------------------------------------------------------- charset

#[test]
fn charset_of_types() {
    let server = site(
        "charset B;
        location /off/ { alias %%DIR%%/www/; charset off; }
        location /var/ { alias %%DIR%%/www/; charset $arg_c; }
        location /301 { return 301 /; }
        location /303 { return 303 /; }",
    )
    .start();
    for (target, want) in [
        ("/a.html", "text/html; charset=B"),
        ("/a.txt", "text/plain; charset=B"),
        ("/absent", "text/html; charset=B"),
        ("/off/a.html", "text/html"),
        ("/var/a.html?c=utf-8", "text/html; charset=utf-8"),
        ("/301", "text/html"),
        ("/303", "text/html; charset=B"),
    ] {
        assert_eq!(server.get(target).get("content-type"), Some(want), "{target}");
    }
}

#[test]
fn bodies_are_recoded() {
    let server = site(
        "location /byte/ { alias %%DIR%%/www/; source_charset A; charset B; }
        location /to/ { alias %%DIR%%/www/; source_charset A; charset utf-8; }
        location /from/ { alias %%DIR%%/www/; source_charset utf-8; charset A; }",
    )
    .start();
    let message = server.get("/byte/bytes.html");
    assert_eq!((&message.body[..], message.get("content-length")), (&b"x\x90y\x91z"[..], Some("5")));
    assert_eq!(message.get("accept-ranges"), Some("bytes"));
    let message = server.get_with("/byte/bytes.html", "Host: a\r\nRange: bytes=1-2\r\n");
    assert_eq!((message.status(), &message.body[..]), (206, &b"\x90y"[..]));
    let message = server.get_with("/byte/bytes.html", "Host: a\r\nRange: bytes=1-1,3-\r\n");
    assert_eq!(message.status(), 206);
    let parts = "Content-Type: text/html; charset=B\r\nContent-Range: bytes 1-1/5\r\n\r\n\u{fffd}\r\n";
    assert!(message.text().contains(parts), "{}", message.text());
    let message = server.get("/to/bytes.html");
    assert_eq!((message.text().as_str(), message.get("content-length")), ("xаy€z", None));
    assert_eq!(server.get_with("/to/bytes.html", "Host: a\r\nRange: bytes=1-2\r\n").status(), 200);
    assert_eq!(server.get("/from/utf8.html").body, b"x\x80y\x81z&#1078;");
}

#[test]
fn charsets_of_upstreams() {
    for (fields, conf, content_type, body) in [
        ("Content-Type: text/html; charset=A\r\n", "charset B;", "text/html; charset=A", &b"x\x80"[..]),
        (
            "Content-Type: text/html; charset=A\r\n",
            "charset B; override_charset on;",
            "text/html; charset=B",
            b"x\x90",
        ),
        (
            "Content-Type: text/css; charset=a\r\n",
            "charset B; override_charset on;",
            "text/css; charset=B",
            b"x\x90",
        ),
        (
            "Content-Type: text/html\r\nX-Accel-Charset: B\r\n",
            "charset A; source_charset A;",
            "text/html; charset=B",
            b"x\x90",
        ),
        (
            "Content-Type: text/html\r\nX-Accel-Charset: B\r\n",
            "charset A; source_charset A; proxy_ignore_headers X-Accel-Charset;",
            "text/html; charset=A",
            b"x\x80",
        ),
        (
            "Content-Type: text/html\r\nContent-Encoding: br\r\n",
            "charset B; source_charset A;",
            "text/html",
            b"x\x80",
        ),
        (
            "Content-Type: text/html; charset=C\r\n",
            "charset B; override_charset on;",
            "text/html; charset=C",
            b"x\x80",
        ),
    ] {
        let up = Upstream::always(ok(fields, b"x\x80"));
        let server = Server::before(
            &up,
            &format!(
                "charset_map A B {{ 80 90; }}
                server {{ listen 127.0.0.1:%%PORT%%; location / {{ proxy_pass http://%%UP%%; {conf} }} }}"
            ),
        );
        let message = server.get("/");
        assert_eq!(message.get("content-type"), Some(content_type), "{fields} {conf}");
        assert_eq!(message.body, body, "{fields} {conf}");
    }
}

#[test]
fn part_of_an_answer_gets_its_charset() {
    let server = site(
        "location /r/ { alias %%DIR%%/www/; add_before_body /sub/bytes.html; charset B; }
        location /sub/ { alias %%DIR%%/www/; source_charset A; }",
    )
    .start();
    assert_eq!(server.get("/r/before.html").body, b"x\x90y\x91z<before>");
}

#[test]
fn charsets_without_a_way_are_refused() {
    let refused = Setup::http("charset a; source_charset b; server { }").refused();
    assert!(
        refused.starts_with("[emerg] no \"charset_map\" between the charsets \"b\" and \"a\""),
        "{refused}"
    );
}
