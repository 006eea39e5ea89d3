//! `empty_gif`, `stub_status`, `secure_link`, `valid_referers`, and `types` in several blocks.

use crate::harness::*;

/// MD5 of `2147483647/secure/file secret` in base64url, made with `openssl md5 -binary | base64`.
const HASH: &str = "XKOZ9WOy7jMc_lyrCptaAA";

#[test]
fn a_picture_of_one_pixel() {
    let server = Server::http(
        "server { listen 127.0.0.1:%%PORT%%; location = /x.gif { empty_gif; expires 1h; } \
         location /inner { error_page 404 = /x.gif; return 404; } }",
    );
    let answer = server.get("/x.gif");
    assert_eq!((answer.status(), answer.get("Content-Type")), (200, Some("image/gif")));
    assert_eq!(answer.get("Content-Length"), Some("43"));
    assert_eq!(answer.get("Last-Modified"), Some("Mon, 28 Sep 1970 06:00:00 GMT"));
    assert_eq!(answer.get("Cache-Control"), Some("max-age=3600"));
    assert_eq!((answer.get("ETag"), answer.get("Accept-Ranges")), (None, None));
    assert!(answer.body.starts_with(b"GIF89a") && answer.body.ends_with(&[0, 0x3b]));
    let since = "Host: a\r\nIf-Modified-Since: Mon, 28 Sep 1970 06:00:00 GMT\r\n";
    assert_eq!(server.get_with("/x.gif", since).status(), 304);
    assert_eq!(server.get("/inner").status(), 200);
    let post = "POST /x.gif HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(server.ask(post).status(), 405);
    assert_eq!(
        server.ask("HEAD /x.gif HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").get("Content-Length"),
        Some("43")
    );
}

#[test]
fn numbers_of_connections() {
    let server = Server::http(
        "server { listen 127.0.0.1:%%PORT%%; keepalive_timeout 60s; location /status { stub_status; default_type text/html; } \
         location /numbers { return 200 \"$connections_active $connections_reading $connections_writing $connections_waiting\"; } }",
    );
    let get = "GET /status HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut first = server.client();
    first.send(get);
    let answer = first.recv();
    assert_eq!((answer.status(), answer.get("Content-Type")), (200, Some("text/plain")));
    let page = answer.text();
    let numbers: Vec<u64> = page.split(' ').filter_map(|word| word.trim().parse().ok()).collect();
    let [active, accepted, handled, requests, reading, writing, waiting] = numbers[..] else {
        panic!("{page}")
    };
    assert_eq!(
        page,
        format!(
            "Active connections: {active} \nserver accepts handled requests\n {accepted} {handled} {requests} \n\
             Reading: {reading} Writing: {writing} Waiting: {waiting} \n"
        )
    );
    assert!(accepted == handled && requests >= 1 && accepted >= 1, "{page}");
    assert_eq!((active, reading, writing, waiting), (1, 0, 1, 0));
    // The first waits now, another has sent half a head.
    let mut half = server.client();
    half.send("GET / HTTP/1.1\r\nHo");
    let mut third = server.client();
    eventually("the half head is being read", || {
        third.send("GET /numbers HTTP/1.1\r\nHost: a\r\n\r\n");
        third.recv().text() == "3 1 1 1"
    });
    first.send(get);
    let later: Vec<u64> =
        first.recv().text().split(' ').filter_map(|word| word.trim().parse().ok()).collect();
    assert_eq!(later[1], accepted + 2);
    assert!(later[3] >= requests + 3);
    let post = "POST /status HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(server.ask(post).status(), 405);
    assert_eq!(server.ask("HEAD /status HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").status(), 200);
}

#[test]
fn links_with_a_hash() {
    let server = Server::http(
        "server { listen 127.0.0.1:%%PORT%%; secure_link $arg_md5,$arg_expires; secure_link_md5 \"$arg_expires$uri secret\"; \
         location / { return 200 \"[$secure_link] [$secure_link_expires]\"; } \
         location /plain { secure_link $arg_md5; secure_link_md5 secret; return 200 \"[$secure_link] [$secure_link_expires]\"; } \
         location /none { secure_link_secret x; return 200 \"[$secure_link] [$secure_link_expires]\"; } }",
    );
    let ask = |target: &str| server.get(target).text();
    assert_eq!(ask(&format!("/secure/file?md5={HASH}&expires=2147483647")), "[1] [2147483647]");
    assert_eq!(ask(&format!("/secure/other?md5={HASH}&expires=2147483647")), "[] [2147483647]");
    assert_eq!(ask(&format!("/secure/file?md5={HASH}&expires=2147483646")), "[] [2147483646]");
    assert_eq!(ask(&format!("/secure/file?md5={HASH}&expires=0")), "[] []");
    assert_eq!(ask(&format!("/secure/file?md5={HASH}")), "[] []");
    assert_eq!(ask("/secure/file?md5=&expires=2147483647"), "[] [2147483647]");
    assert_eq!(ask("/old?md5=J7dyZnbBW5T-cGLt1KnT5Q&expires=1"), "[0] [1]");
    // MD5 of `secret`.
    assert_eq!(ask("/plain?md5=Xr4ilOzQ4PCOq3aQ0qbuaQ"), "[1] []");
    assert_eq!(ask("/plain?md5=Xr4ilOzQ4PCOq3aQ0qbuaQ=="), "[1] []");
    assert_eq!(ask("/plain?md5=Xr4ilOzQ4PCOq3aQ0qbuaA"), "[] []");
    assert_eq!(ask("/none?md5=Xr4ilOzQ4PCOq3aQ0qbuaQ"), "[] []");
}

#[test]
fn links_with_a_secret() {
    let server = Server::http(
        "server { listen 127.0.0.1:%%PORT%%; location /p/ { secure_link_secret secret; \
         location /p/inner { return 200 \"inner [$secure_link]\"; } return 200 \"[$secure_link]\"; } }",
    );
    let ask = |target: &str| server.get(target).text();
    // MD5 of `a/b.htmlsecret`, of `a/b.html?x=1secret`.
    assert_eq!(ask("/p/feb5bd57443ef28be74d29715cd1cff2/a/b.html"), "[a/b.html]");
    assert_eq!(ask("/p/FEB5BD57443EF28BE74D29715CD1CFF2/a/b.html"), "[a/b.html]");
    assert_eq!(ask("/p/332582b2b57ab54e5196cf8a1a3f8db5/a/b.html?x=1"), "[a/b.html?x=1]");
    assert_eq!(ask("/p/feb5bd57443ef28be74d29715cd1cff2/a/b.htm"), "[]");
    assert_eq!(ask("/p/feb5bd57443ef28be74d29715cd1cff2/"), "[]");
    assert_eq!(ask("/p/zzfeb5bd57443ef28be74d29715cd1cff2/a/b.html"), "[]");
    assert_eq!(ask("/p/inner"), "inner []");
}

#[test]
fn referers() {
    let server = Server::http(
        r#"server { listen 127.0.0.1:%%PORT%%; server_name here.example *.names.example "~^re\d\.example$";
            location / { return 200 "[$invalid_referer]"; }
            location /list { valid_referers none blocked server_names *.example.com example.* www.example.org/galleries/ ~\.google\. ~^exact/path; return 200 "[$invalid_referer]";
                location /list/inner { valid_referers only.example; return 200 "[$invalid_referer]"; } }
            location /strict { valid_referers .example.com; return 200 "[$invalid_referer]"; } }"#,
    );
    let ask = |target: &str, referer: &str| {
        let field = if referer == "-" { String::new() } else { format!("Referer: {referer}\r\n") };
        server.get_with(target, &format!("Host: here.example\r\n{field}")).text() == "[]"
    };
    for (referer, valid) in [
        ("-", true),
        ("", true),
        ("xxxx", true),
        ("ftp://www.example.net", true),
        ("http://a.b", true),
        ("http://here.example/x", true),
        ("HTTPS://Here.Example:81/x", true),
        ("http://a.names.example", true),
        ("http://names.example", false),
        ("http://re1.example/", true),
        ("http://rex.example/", false),
        ("http://a.example.com/", true),
        ("http://example.com/", true),
        ("http://example.net/", true),
        ("http://www.example.org/", false),
        ("http://www.example.org/galleries/1", true),
        ("http://www.example.org:8080/galleries/1", true),
        ("http://www.google.com/search", true),
        ("http://exact/path", true),
        ("http://other/path", false),
        ("http://evil.net/?http://here.example", false),
    ] {
        assert_eq!(ask("/list", referer), valid, "{referer}");
        assert!(ask("/", referer), "{referer}");
    }
    assert!(ask("/list/inner", "http://only.example/") && !ask("/list/inner", "http://here.example/"));
    // The regular expressions are those of the level above.
    assert!(ask("/list/inner", "http://www.google.com/"));
    assert!(!ask("/strict", "-") && !ask("/strict", "xxxx") && ask("/strict", "http://example.com/"));
    let long = format!("http://{}.example.com/", "a".repeat(300));
    assert!(!ask("/strict", &long));
}

#[test]
fn types_of_several_blocks() {
    let setup = Setup::http(
        "types { text/one a; text/two b; } types { text/three c; text/other a; } \
         server { listen 127.0.0.1:%%PORT%%; root %%DIR%%; default_type x/y; }",
    );
    let server = setup.file("f.a", "").file("f.b", "").file("f.c", "").file("f.html", "").start();
    let kinds = ["a", "b", "c", "html"]
        .map(|ext| server.get(&format!("/f.{ext}")).get("Content-Type").unwrap().to_owned());
    assert_eq!(kinds, ["text/other", "text/two", "text/three", "x/y"]);
    let outcome = server.run(&["-t"]);
    let warning =
        "duplicate extension \"a\", content type: \"text/other\", previous content type: \"text/one\"";
    assert!(outcome.stderr.contains(warning), "{}", outcome.stderr);
}

#[test]
fn browsers_are_modern_or_ancient() {
    let server = Server::http(
        "server { listen 127.0.0.1:%%PORT%%; add_header X-Is '$modern_browser|$ancient_browser|$msie';
            location /none { return 204; }
            location /some { modern_browser msie 6.0; modern_browser gecko 1.7; modern_browser_value m; ancient_browser_value a;
                location /some/inner { ancient_browser Lynx; return 204; } return 204; }
            location /rest { modern_browser unlisted; modern_browser opera 9; ancient_browser Lynx netscape4; return 204; } }",
    );
    let is = |target: &str, agent: &str| {
        let field = if agent.is_empty() { String::new() } else { format!("User-Agent: {agent}\r\n") };
        server.get_with(target, &format!("Host: a\r\n{field}")).get("x-is").unwrap().to_owned()
    };
    const IE6: &str = "Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)";
    const IE5: &str = "Mozilla/4.0 (compatible; MSIE 5.5; Windows NT 5.1)";
    const OPERA: &str = "Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.0; en) Opera 8.0";
    const GECKO: &str = "Mozilla/5.0 (X11; U; Linux i686; en-US; rv:1.7.8) Gecko/20050511 Firefox/1.0.4";
    for (target, agent, want) in [
        ("/none", GECKO, "|1|"),
        ("/none", IE6, "|1|1"),
        ("/some", "", "|a|"),
        ("/some", IE6, "m||1"),
        ("/some", IE5, "|a|1"),
        ("/some", OPERA, "|a|"),
        ("/some", GECKO, "m||"),
        ("/some", "curl/8", "|a|"),
        ("/some/inner", GECKO, "m||"),
        ("/rest", "", "1||"),
        ("/rest", "curl/8", "1||"),
        ("/rest", OPERA, "|1|"),
        ("/rest", "Opera/9.01 (X11)", "1||"),
        ("/rest", "Lynx/2.8", "|1|"),
        ("/rest", IE6, "|1|1"),
        ("/rest", "Mozilla/4.72 x", "|1|"),
        ("/rest", GECKO, "1||"),
    ] {
        assert_eq!(is(target, agent), want, "{target} {agent}");
    }
}
