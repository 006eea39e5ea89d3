//! `try_files`, and error pages as far as they lead on inside.

use crate::harness::*;

/// Asks a server with some files; `want` is the text of the answer, or its status.
fn answers(conf: &str, cases: &[(&str, &str)]) {
    let mut setup =
        Setup::http(&format!("server {{ listen 127.0.0.1:%%PORT%%; root %%DIR%%/site; {conf} }}"));
    for name in ["a.html", "folder/index.html", "folder/in", "other/in"] {
        setup = setup.file(&format!("site/{name}"), name);
    }
    let server = setup.start();
    for (path, want) in cases {
        let response = server.get(path);
        let found = match response.status() {
            200 => response.text(),
            status => status.to_string(),
        };
        assert_eq!(found, *want, "{conf}: {path}");
    }
}

#[test]
fn the_first_that_is_there() {
    answers(
        "location / { try_files $uri $uri/ /fall?u=$uri&$args; } location = /fall { return 200 '$uri $args'; }",
        &[
            ("/a.html", "a.html"),
            ("/folder/in", "folder/in"),
            ("/folder", "301"),
            ("/folder/", "folder/index.html"),
            ("/none?x=1", "/fall u=/none&x=1"),
        ],
    );
    // A directory is one only where a slash asks for it.
    answers(
        "location / { try_files $uri =404; }",
        &[("/a.html", "a.html"), ("/folder", "404"), ("/", "404")],
    );
    answers("location / { try_files /none$uri /other$uri =403; }", &[("/in", "other/in"), ("/x", "403")]);
    answers(
        "try_files $uri /a.html; location = /a.html { }",
        &[("/none", "a.html"), ("/folder/in", "folder/in")],
    );
}

#[test]
fn a_named_location_at_the_end() {
    answers(
        "location / { try_files /dev/null @api; } location @api { return 200 '$uri|$args'; }",
        &[("/a.html?x=1", "/a.html|x=1"), ("/%20", "/ |")],
    );
    answers("location / { try_files $uri @none; }", &[("/x", "500"), ("/a.html", "a.html")]);
}

#[test]
fn a_status_at_the_end() {
    answers(
        "error_page 403 /a.html; location / { try_files $uri =403; } location /x { try_files $uri =410; }",
        &[("/x", "410"), ("/none", "403")],
    );
    let server = Server::http("server { listen 127.0.0.1:%%PORT%%; location / { try_files /none =444; } }");
    assert_eq!(server.exchange("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "");
}

#[test]
fn going_round_ends_with_an_error() {
    answers("location / { try_files /none /more$uri; }", &[("/x", "500")]);
}

#[test]
fn below_an_alias() {
    let alias = "location /al/ { alias %%DIR%%/site/folder/; try_files";
    answers(&format!("{alias} $uri $uri/ =404; }}"), &[("/al/in", "folder/in"), ("/al/x", "404")]);
    answers(&format!("{alias} in =404; }}"), &[("/al/x", "folder/in")]);
    answers(
        "location ~ ^/al/(.*)$ { alias %%DIR%%/site/folder; try_files /$1 @none; }
         location @none { return 200 'none $uri'; }",
        &[("/al/in", "folder/in"), ("/al/x", "none /al/x")],
    );
}

#[test]
fn the_path_that_is_proxied() {
    let up = Upstream::ok("up");
    let server = Server::before(
        &up,
        "server { listen 127.0.0.1:%%PORT%%; root %%DIR%%;
            location / { try_files /real =404; proxy_pass http://%%UP%%; }
            location /uri/ { try_files /uri/real =404; proxy_pass http://%%UP%%/to/; } }",
    );
    server.write("real", "x");
    server.write("uri/real", "x");
    for (path, want) in [("/a%20b?x=1", "/a%20b?x=1"), ("/uri/a?x=1", "/to/real?x=1")] {
        assert_eq!(server.get(path).text(), "up");
        assert_eq!(up.last().target(), want);
    }
}

#[test]
fn an_if_has_no_files_to_try() {
    answers(
        "location / { try_files /a.html =404; if ($arg_a) { set $b 1; } }",
        &[("/folder/in", "a.html"), ("/folder/in?a=1", "folder/in")],
    );
}

#[test]
fn the_status_of_an_error_page() {
    let server = Server::http(
        "server { listen 127.0.0.1:%%PORT%%;
            error_page 404 /e; error_page 403 /never; error_page 302 /moved;
            location = /e { return 403; }
            location = /moved { return 200 'status $status'; }
            location = /go { return 302 /to; }
            location /n/ { error_page 404 =202 @n; return 404; }
            location @n { return 200 'named $uri $status'; }
            location /x { error_page 404 @none; return 404; } }",
    );
    // The error that comes up in the page of another is what the client gets.
    assert_eq!(server.get("/none").status(), 403);
    assert_eq!(server.get("/n/1").answer(), (202, "named /n/1 202".to_owned()));
    assert_eq!(server.get("/x").status(), 500);
    let moved = server.get("/go");
    assert_eq!(moved.answer(), (302, "status 302".to_owned()));
    assert!(moved.get("location").unwrap().ends_with("/to"));
}

#[test]
fn what_is_asked_once_the_answer_was_sent() {
    let up = Upstream::ok("to nobody");
    let server = Server::before(
        &up,
        "log_format told '$request_uri $uri'; access_log %%DIR%%/told.log told;
         server { listen 127.0.0.1:%%PORT%%;
            location /named { post_action @tell; return 200 answer; }
            location /path { post_action /tell/it; return 200 answer; }
            location /if { if ($arg_a) { post_action @tell; } return 200 answer; }
            location /none { post_action @none; return 200 answer; }
            location /tell/ { internal; proxy_pass http://%%UP%%; }
            location @tell { proxy_pass http://%%UP%%; } }",
    );
    let asked = |count: usize| {
        up.wait_requests(count);
        up.last().target().to_owned()
    };
    assert_eq!(server.get("/named?a=1").text(), "answer");
    assert_eq!(asked(1), "/named?a=1");
    assert_eq!(server.get("/path?a=1").text(), "answer");
    assert_eq!(asked(2), "/tell/it");
    assert_eq!(server.get("/if?a=1").text(), "answer");
    assert_eq!(asked(3), "/if?a=1");
    assert_eq!(server.get("/if").text(), "answer");
    assert_eq!(server.get("/none").text(), "answer");
    server.wait_log("could not find named location \"@none\"");
    let lines = server.wait_lines("told.log", 5);
    assert_eq!(lines[..2], ["/named?a=1 /named", "/path?a=1 /tell/it"]);
    // The connection serves what follows.
    let mut client = server.client();
    for _ in 0..2 {
        client.send("GET /named HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(client.recv().text(), "answer");
    }
    assert_eq!(asked(5), "/named");
}
