//! Where `access_log` writes: paths with variables, compressed files, full disks, subrequests.

use crate::harness::*;
use std::io::Read;

#[test]
fn path_with_variables() {
    let conf = "log_format f '$uri'; server { listen 127.0.0.1:%%PORT%%; root %%DIR%%; access_log %%DIR%%/by_${arg_name}.log f; location / { return 204; } }";
    let server = Server::http(conf);
    server.get("/a?name=one");
    server.get("/b?name=two");
    server.get("/c?name=one");
    assert_eq!(server.wait_lines("by_one.log", 2), ["/a", "/c"]);
    assert_eq!(server.wait_lines("by_two.log", 1), ["/b"]);
    server.get("/d");
    assert_eq!(server.wait_lines("by_.log", 1), ["/d"]);
}

#[test]
fn relative_path_with_variables_starts_at_the_prefix() {
    let conf = "log_format f '$uri'; server { listen 127.0.0.1:%%PORT%%; root %%DIR%%; access_log by_${arg_name}.log f; location / { return 204; } }";
    let server = Server::http(conf);
    server.get("/a?name=x");
    server.wait_lines("by_x.log", 1);
}

#[test]
fn named_log_needs_the_root_directory() {
    let conf = "server { listen 127.0.0.1:%%PORT%%; root %%DIR%%/none; access_log %%DIR%%/by_${arg_name}.log combined; location / { return 204; } }";
    let server = Server::http(conf);
    server.get("/a?name=x");
    server.wait_log(
        "/none\" existence failed (2: No such file or directory) while logging request, client: 127.0.0.1",
    );
    assert_eq!(server.read("by_x.log"), "");
}

#[test]
fn named_log_that_cannot_be_opened() {
    let conf = "server { listen 127.0.0.1:%%PORT%%; root %%DIR%%; access_log %%DIR%%/no/${arg_name}.log combined; location / { return 204; } }";
    let server = Server::http(conf);
    assert_eq!(server.get("/a?name=x").status(), 204);
    server.wait_log(
        "/no/x.log\" failed (2: No such file or directory) while logging request, client: 127.0.0.1",
    );
}

/// Four names for a cache of three; the directory is moved away meanwhile.
#[test]
fn cache_of_named_logs() {
    let conf =
        "log_format f '$uri'; server { listen 127.0.0.1:%%PORT%%; root %%DIR%%; location / { return 204; }
        open_log_file_cache max=3 inactive=20s valid=1m min_uses=2; access_log %%DIR%%/logs/$arg_name f; }";
    let server = Setup::http(conf).file("logs/keep", "").start();
    let ask = |name: &str| {
        // To the end of the connection: then the line was written.
        server.exchange(format!("GET /x?name={name} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    };
    ["lru", "lru", "once", "first", "first", "second", "second"].into_iter().for_each(ask);
    std::fs::rename(server.path("logs"), server.path("moved")).unwrap();
    ["lru", "once", "first", "second"].into_iter().for_each(ask);
    let lines = |name: &str| server.read(&format!("moved/{name}")).lines().count();
    assert_eq!([lines("lru"), lines("once"), lines("first"), lines("second")], [2, 1, 3, 3]);
}

#[test]
fn wrong_caches() {
    for (line, said) in [
        ("open_log_file_cache inactive=1s", "\"open_log_file_cache\" must have \"max\" parameter"),
        ("open_log_file_cache max=x", "invalid \"open_log_file_cache\" parameter \"max=x\""),
        ("open_log_file_cache max=1 size=2", "invalid \"open_log_file_cache\" parameter \"size=2\""),
        ("access_log $arg_a combined buffer=1k", "buffered logs cannot have variables in name"),
        ("access_log a.log combined gzip=10", "invalid compression level \"10\""),
    ] {
        let refused = Setup::http(&format!("{line};")).refused();
        assert!(refused.starts_with(&format!("[emerg] {said} in DIR/nginx.conf:")), "{line}: {refused}");
    }
}

fn unzipped(server: &Server, name: &str) -> String {
    let mut text = String::new();
    let file = std::fs::File::open(server.path(name)).unwrap();
    let _ = flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text);
    text
}

#[test]
fn compressed_log() {
    let conf = "log_format f '$uri'; server { listen 127.0.0.1:%%PORT%%; location / { return 204; } access_log %%DIR%%/f.gz f gzip=9 buffer=1m flush=100ms; }";
    let server = Server::http(conf);
    server.get("/a");
    eventually("the first line", || unzipped(&server, "f.gz") == "/a\n");
    server.get("/b");
    server.get("/c");
    eventually("all lines", || unzipped(&server, "f.gz") == "/a\n/b\n/c\n");
}

#[test]
fn compressed_log_is_written_when_logs_are_reopened() {
    let conf = "log_format f '$uri'; server { listen 127.0.0.1:%%PORT%%; location / { return 204; } access_log %%DIR%%/f.gz f gzip; }";
    let server = Server::http(conf);
    server.get("/a");
    assert_eq!(server.read("f.gz"), "");
    server.signal("USR1");
    eventually("the line", || unzipped(&server, "f.gz") == "/a\n");
}

#[test]
fn full_disk_is_noted_once_and_serving_goes_on() {
    let conf = "server { listen 127.0.0.1:%%PORT%%; location / { return 204; } access_log /dev/full; }";
    let mut server = Setup::http(conf).start();
    server.allow_alerts();
    for _ in 0..5 {
        assert_eq!(server.get("/").status(), 204);
    }
    server.wait_log("[alert]");
    server.wait_log("write() to \"/dev/full\" failed (28: No space left on device)");
    assert_eq!(server.log().matches("/dev/full").count(), 1, "{}", server.log());
}

#[test]
fn subrequests_are_logged_where_wanted() {
    let conf = "log_format f '$uri $status'; server { listen 127.0.0.1:%%PORT%%; access_log %%DIR%%/f.log f;
        location /main { auth_request /loud; root %%DIR%%; } location /other { auth_request /quiet; root %%DIR%%; }
        location = /loud { log_subrequest on; return 204; } location = /quiet { return 204; } }";
    let server = Setup::http(conf).file("main", "").file("other", "").start();
    assert_eq!((server.get("/other").status(), server.get("/main").status()), (200, 200));
    assert_eq!(server.wait_lines("f.log", 3), ["/other 200", "/loud 204", "/main 200"]);
}
