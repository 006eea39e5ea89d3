//! `autoindex` and `random_index`: what a directory without index file is answered with.

use crate::harness::*;
use std::time::{Duration, SystemTime};

/// A server with these directives for `/`, over a directory with all sorts of names.
fn server(directives: &str) -> Server {
    let setup = Setup::http(&format!(
        "server {{ listen 127.0.0.1:%%PORT%%; root %%DIR%%/www; location / {{ {directives} }} location /off/ {{ }} }}"
    ));
    let long = format!("www/d/{}", "long".repeat(15));
    let names = [
        "www/d/file.txt",
        "www/d/a&b.txt",
        "www/d/a<b>.txt",
        "www/d/a \"quoted\".txt",
        "www/d/\u{e9}t\u{e9}.txt",
        "www/d/100%",
        "www/d/dir/inner",
        "www/d/zdir/x",
        "www/d/.hidden",
        "www/d/back\\slash",
        "www/d/tab\there",
        "www/d/x%20y",
        "www/off/a",
        "www/one/only.html",
        "www/idx/index.html",
        "www/d/q?x#y",
        "www/d/12345678901234567890123456789012345678901234567890",
        "www/d/1234567890123456789012345678901234567890123456789",
    ];
    let setup = names.iter().fold(setup, |setup, name| setup.file(name, "0123456789"));
    let big = setup.file(&long, vec![b'x'; 20_000]).file(&format!("{long}&more<"), vec![b'x'; 3_000_000]);
    let prepared = big.file("www/empty/.keep", "").start();
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for name in std::fs::read_dir(prepared.path("www/d")).unwrap() {
        std::fs::File::open(name.unwrap().path()).unwrap().set_modified(at).unwrap();
    }
    std::os::unix::fs::symlink("nowhere", prepared.path("www/d/dangling")).unwrap();
    std::os::unix::fs::symlink("dir", prepared.path("www/d/link")).unwrap();
    prepared
}

/// The lines of the page of `/d/`, but for that of the dangling link, whose time is that of the test.
fn lines(directives: &str, target: &str) -> Vec<String> {
    let text = server(directives).get(target).text();
    text.split("\r\n").filter(|line| !line.contains("dangling")).map(str::to_owned).collect()
}

#[test]
fn html() {
    let server = server("autoindex on;");
    let answer = server.get("/d/");
    assert_eq!((answer.status(), answer.get("Content-Type")), (200, Some("text/html")));
    // nginx sends the head before it looks.
    let chunked = answer.get("Transfer-Encoding").is_some();
    assert_eq!(
        (chunked, answer.get("Content-Length").is_some()),
        (!program().is_octroi(), program().is_octroi())
    );
    let text = answer.text();
    let shown: Vec<&str> = text.split("\r\n").filter(|line| !line.contains("dangling")).collect();
    let want = include_str!("listing/exact.html");
    assert_eq!(shown.join("\n"), want.trim_end_matches('\n').to_owned() + "\n");
    assert!(text.contains("<a href=\"dangling\">dangling</a>"));
    let head = server.ask("HEAD /d/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!((head.status(), head.get("Content-Type")), (200, Some("text/html")));
    assert_eq!(server.get("/d").status(), 301);
    assert_eq!((server.get("/off/").status(), server.get("/missing/").status()), (403, 404));
    assert_eq!(server.get("/idx/").text(), "0123456789");
    assert_eq!(server.get("/empty/").text().lines().count(), 6);
    let post = "POST /d/ HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(server.ask(post).status(), 403);
    server.wait_log("directory index of \"");
}

#[test]
fn html_with_rounded_sizes() {
    let want = include_str!("listing/rounded.html");
    let shown = lines("autoindex on; autoindex_exact_size off; autoindex_localtime on;", "/d/").join("\n");
    // The local time zone is the host's; the tests run in any.
    let without_time = |text: &str| -> Vec<String> {
        text.trim_end()
            .lines()
            .map(|line| {
                line.split("-Nov-2023")
                    .map(|part| {
                        part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ':' || c == ' ')
                            .trim_end_matches(|c: char| c.is_ascii_digit())
                    })
                    .collect()
            })
            .collect()
    };
    assert_eq!(without_time(&shown), without_time(want));
}

#[test]
fn json_and_its_padding() {
    let want = include_str!("listing/list.json");
    assert_eq!(lines("autoindex on; autoindex_format json;", "/d/").join("\n"), want.trim_end());
    let server = server("autoindex on; autoindex_format jsonp;");
    let plain = server.get("/one/");
    assert_eq!(plain.get("Content-Type"), Some("application/json"));
    let padded = server.get("/one/?callback=my.fn_1");
    assert_eq!(padded.get("Content-Type"), Some("application/javascript"));
    assert_eq!(padded.text(), format!("/* callback */\r\nmy.fn_1({});", plain.text()));
    assert_eq!(server.get("/one/?callback=a(b").status(), 400);
    assert_eq!(server.get(&format!("/one/?callback={}", "a".repeat(129))).status(), 400);
    assert_eq!(server.get("/empty/").text(), "[\r\n]");
}

#[test]
fn xml() {
    let want = include_str!("listing/list.xml");
    assert_eq!(
        lines("autoindex on; autoindex_format xml;", "/d/").join("\n"),
        want.trim_end().to_owned() + "\n"
    );
    let answer = server("autoindex on; autoindex_format xml;").get("/empty/");
    assert_eq!(answer.get("Content-Type"), Some("text/xml; charset=utf-8"));
    assert_eq!(answer.text(), "<?xml version=\"1.0\"?>\r\n<list>\r\n</list>\r\n");
}

#[test]
fn any_of_the_files() {
    let server = server("random_index on;");
    assert_eq!(server.get("/one/").text(), "0123456789");
    assert_eq!(server.get("/d/").status(), 200);
    assert_eq!(server.get("/idx/").text(), "0123456789");
    assert_eq!((server.get("/empty/").status(), server.get("/missing/").status()), (403, 404));
}
