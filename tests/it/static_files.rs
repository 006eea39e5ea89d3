//! Files: `root` and `index`.

use crate::harness::*;

fn site(conf: &str) -> Server {
    Setup::http(&format!(
        "types {{ text/html html; text/css css; }} default_type application/octet-stream;
        server {{ listen 127.0.0.1:%%PORT%%; root %%DIR%%/www; {conf} }}"
    ))
    .file("www/a.html", "<p>hello</p>")
    .file("www/a.css", "p{}")
    .file("www/other", "bytes")
    .file("www/with space.html", "space")
    .file("www/sub/index.html", "index of sub")
    .file("www/sub/page.html", "page")
    .file("www/empty/.keep", "")
    .file("www/zero.html", "")
    .start()
}

#[test]
fn file_with_its_type_and_dates() {
    let server = site("");
    let response = server.get("/a.html");
    assert_eq!(response.answer(), (200, "<p>hello</p>".to_owned()));
    assert_eq!(response.get("content-type"), Some("text/html"));
    assert_eq!(response.get("content-length"), Some("12"));
    assert_eq!(response.get("accept-ranges"), Some("bytes"));
    let modified = std::fs::metadata(server.path("www/a.html")).unwrap().modified().unwrap();
    let seconds = modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(response.get("etag"), Some(format!("\"{seconds:x}-c\"").as_str()));
    assert!(response.get("last-modified").unwrap().ends_with(" GMT"));
}

#[test]
fn type_by_the_ending() {
    let server = site("");
    assert_eq!(server.get("/a.css").get("content-type"), Some("text/css"));
    assert_eq!(server.get("/other").get("content-type"), Some("application/octet-stream"));
}

#[test]
fn path_is_decoded() {
    let server = site("");
    assert_eq!(server.get("/with%20space.html").text(), "space");
    assert_eq!(server.get("/sub/../a%2Ehtml?query").text(), "<p>hello</p>");
}

#[test]
fn missing_file() {
    let server = site("");
    assert_eq!(server.get("/absent").status(), 404);
    assert_eq!(server.get("/a.html/x").status(), 404);
    server.wait_log("open() \"");
    let log = server.log();
    assert!(log.contains("/www/absent\" failed (2: No such file or directory), client: 127.0.0.1"), "{log}");
}

#[test]
fn empty_file() {
    let response = site("").get("/zero.html");
    assert_eq!((response.status(), response.get("content-length")), (200, Some("0")));
}

#[test]
fn index_of_a_directory() {
    let server = site("");
    assert_eq!(server.get("/sub/").text(), "index of sub");
}

#[test]
fn index_by_other_names() {
    let server = site("index absent.html page.html;");
    assert_eq!(server.get("/sub/").text(), "page");
}

#[test]
fn index_goes_through_the_locations_again() {
    let server = site("location = /sub/index.html { return 200 redirected; } location / { }");
    assert_eq!(server.get("/sub/").text(), "redirected");
}

#[test]
fn directory_without_an_index() {
    let server = site("");
    assert_eq!(server.get("/empty/").status(), 403);
    server.wait_log("/www/empty/\" is forbidden");
    assert_eq!(server.get("/nowhere/").status(), 404);
}

#[test]
fn directory_without_its_slash() {
    let server = site("");
    let response = server.get("/sub?a=b");
    let expected = format!("http://localhost:{}/sub/?a=b", server.port());
    assert_eq!((response.status(), response.get("location")), (301, Some(expected.as_str())));
}

#[test]
fn head_of_a_file() {
    let text = site("").exchange("HEAD /a.html HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(text.contains("Content-Length: 12\r\n") && text.ends_with("\r\n\r\n"), "{text}");
}

#[test]
fn post_to_a_file() {
    let server = site("");
    let request = "POST /a.html HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(server.ask(request).status(), 405);
    assert_eq!(server.ask(request.replace("POST", "DELETE")).status(), 405);
}

#[test]
fn not_modified() {
    let server = site("");
    let response = server.get("/a.html");
    let (etag, modified) = (response.get("etag").unwrap(), response.get("last-modified").unwrap());
    for line in [
        format!("If-None-Match: {etag}"),
        format!("If-None-Match: \"x\", {etag}"),
        format!("If-None-Match: W/{etag}"),
        "If-None-Match: *".to_owned(),
        format!("If-Modified-Since: {modified}"),
    ] {
        let response = server.get_with("/a.html", &format!("Host: a\r\n{line}\r\n"));
        assert_eq!((response.status(), response.text().as_str()), (304, ""), "{line}");
        assert_eq!(response.get("etag"), Some(etag));
        assert_eq!(response.get("content-length"), None);
    }
}

#[test]
fn modified() {
    let server = site("");
    for line in [
        "If-None-Match: \"other\"",
        "If-Modified-Since: Thu, 01 Jan 1970 00:00:01 GMT",
        "If-Modified-Since: nonsense",
    ] {
        assert_eq!(server.get_with("/a.html", &format!("Host: a\r\n{line}\r\n")).status(), 200, "{line}");
    }
}

#[test]
fn preconditions() {
    let server = site("");
    for line in ["If-Match: \"other\"", "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:01 GMT"] {
        assert_eq!(server.get_with("/a.html", &format!("Host: a\r\n{line}\r\n")).status(), 412, "{line}");
    }
}

#[test]
fn large_file_arrives_whole() {
    let body: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let server =
        Setup::http("server { listen 127.0.0.1:%%PORT%%; root %%DIR%%/www; }").file("www/big", &body).start();
    assert_eq!(server.get("/big").body, body);
}

#[test]
fn root_with_a_variable_and_in_a_location() {
    let server = site("location /sub/ { root %%DIR%%/$arg_root; }");
    assert_eq!(server.get("/sub/page.html?root=www").text(), "page");
    assert_eq!(server.get("/sub/page.html?root=other").status(), 404);
}

#[test]
fn relative_root_is_below_the_prefix() {
    let server =
        Setup::http("server { listen 127.0.0.1:%%PORT%%; root www; }").file("www/a", "relative").start();
    assert_eq!(server.get("/a").text(), "relative");
}

#[test]
fn file_that_may_not_be_read() {
    use std::os::unix::fs::PermissionsExt;
    let server = site("");
    std::fs::set_permissions(server.path("www/a.css"), std::fs::Permissions::from_mode(0o000)).unwrap();
    assert_eq!(server.get("/a.css").status(), 403);
}

#[test]
fn added_headers_on_a_file() {
    let server = site("add_header X-A one;");
    assert_eq!(server.get("/a.html").get("x-a"), Some("one"));
    assert_eq!(server.get("/absent").get("x-a"), None);
}

#[test]
fn relative_root_of_a_variable_is_below_the_prefix_too() {
    let server = site(
        "location /sub/ { root $arg_root; } location ~ ^/whole/(.+) { alias $arg_root/$1; }
         location /shown { return 200 $document_root; root $arg_root; }",
    );
    let dir = server.path("");
    for (target, text) in [
        ("/sub/page.html?root=www", "page"),
        ("/whole/other?root=www", "bytes"),
        (&format!("/sub/page.html?root={dir}/www"), "page"),
    ] {
        assert_eq!(server.get(target).text(), text, "{target}");
    }
    let shown = server.get("/shown?root=www").text();
    assert_eq!(shown, format!("{}/www", dir.trim_end_matches('/')));
}

#[test]
fn a_large_file_waits_for_its_client_and_comes_in_parts() {
    let body: Vec<u8> = (0..251u8).collect::<Vec<u8>>().repeat(70_000);
    let server =
        Setup::http("server { listen 127.0.0.1:%%PORT%%; root %%DIR%%/www; }").file("www/big", &body).start();
    let mut slow = server.client();
    slow.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\nGET /big HTTP/1.1\r\nHost: a\r\nRange: bytes=1000001-3000000\r\n\r\n");
    assert_eq!(slow.recv_to_head().status(), 200);
    // Others are served meanwhile.
    let part = server.get_with("/big", "Host: a\r\nRange: bytes=5-1000004\r\n");
    assert!(part.body == body[5..1_000_005]);
    assert!(slow.take(body.len()).unwrap() == body);
    let part = slow.recv();
    assert_eq!(part.status(), 206);
    assert!(part.body == body[1_000_001..3_000_001]);
}

#[test]
fn a_large_file_that_gets_shorter_is_cut() {
    let mut server = Setup::http("server { listen 127.0.0.1:%%PORT%%; root %%DIR%%/www; }")
        .file("www/big", vec![b'x'; 30_000_000])
        .start();
    server.allow_alerts();
    let mut slow = server.client();
    slow.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(slow.recv_to_head().get("content-length"), Some("30000000"));
    server.write("www/big", "y");
    assert!(slow.rest().len() < 30_000_000);
}
