//! `rewrite`, `if`, `limit_except`, and what they leave to the rest of a location.

use crate::harness::*;

fn server(conf: &str) -> Server {
    Server::http(&format!("server {{ listen 127.0.0.1:%%PORT%%; {conf} }}"))
}

/// What each path gets: the text of its answer, or the status and `Location` of a redirect.
fn answers(conf: &str, cases: &[(&str, &str)]) {
    let server = server(conf);
    for (path, want) in cases {
        let response = server.get(path);
        let found = match response.get("location") {
            Some(to) => format!("{} {}", response.status(), server.tidy(to)),
            None if response.status() == 200 => response.text(),
            None => response.status().to_string(),
        };
        assert_eq!(found, *want, "{conf}: {path}");
    }
}

/// A location that says what became of the request.
const SHOW: &str = "location /to/ { return 200 '$uri|$args'; }";

#[test]
fn a_path_and_its_arguments_are_replaced() {
    for (replacement, want) in [
        ("/to/$1", ["/to/a b|", "/to/c+d|x=1"]),
        ("/to/$1?", ["/to/a b|", "/to/c+d|"]),
        ("/to/$1?n=$1", ["/to/a b|n=a%20b", "/to/c+d|n=c%2Bd&x=1"]),
        ("/to/?n=$1?", ["/to/|n=a%20b", "/to/|n=c%2Bd"]),
        ("/to/$arg_x", ["/to/|", "/to/1|x=1"]),
    ] {
        let conf = format!("location / {{ rewrite ^/(.*)$ {replacement} last; }} {SHOW}");
        answers(&conf, &[("/a%20b", want[0]), ("/c+d?x=1", want[1])]);
    }
}

#[test]
fn a_redirect_encodes_what_it_took_out_of_the_path() {
    let conf = |rest: &str| format!("absolute_redirect off; location / {{ rewrite ^/(.*)$ {rest}; }}");
    answers(&conf("/to/$1 redirect"), &[("/a%20b?x=1", "302 /to/a%20b?x=1"), ("/a%26b", "302 /to/a&b")]);
    answers(&conf("/to/$1? permanent"), &[("/a%20b?x=1", "301 /to/a%20b")]);
    answers(&conf("/to/?n=$1 permanent"), &[("/a%26b?x=1", "301 /to/?n=a%26b&x=1")]);
    answers(&conf("http://other.example/$1 break"), &[("/a?x=1", "302 http://other.example/a?x=1")]);
    answers(&conf("$scheme://other.example/$1?"), &[("/a?x=1", "302 http://other.example/a")]);
    answers(&conf("/$1 redirect"), &[("/%0dX:y", "302 /%0DX:y")]);
}

#[test]
fn flags_say_where_the_request_goes_on() {
    let conf = format!(
        "location /last {{ rewrite ^ /to/1 last; rewrite ^ /to/2; }}
         location /break {{ rewrite ^ /to/1 break; return 200 never; }}
         location /none {{ rewrite ^ /to/1; rewrite ^/to/1$ /to/2; }}
         location /stop {{ rewrite ^ /to/1; break; return 200 never; }}
         location /after {{ rewrite ^/after/none$ /x last; return 200 '$uri'; }} {SHOW}"
    );
    answers(
        &conf,
        &[
            ("/last", "/to/1|"),
            ("/break", "404"),
            ("/none", "/to/2|"),
            ("/stop", "404"),
            ("/after/all", "/after/all"),
        ],
    );
}

#[test]
fn a_server_rewrites_before_the_location_is_found() {
    let conf = format!(
        "rewrite ^/x(.*)$ /to/$1 last; rewrite ^/y(.*)$ /to$1; rewrite ^/to(.*)$ /to/z$1 break; {SHOW} location / {{ return 200 rest; }}"
    );
    answers(&conf, &[("/x1", "/to/1|"), ("/y/2", "/to/z/2|"), ("/z", "rest")]);
}

#[test]
fn going_round_ends_with_an_error() {
    let server = server("location / { rewrite ^/(.*)$ /a$1 last; }");
    assert_eq!(server.get("/x").status(), 500);
    server.wait_log("rewrite or internal redirection cycle while processing \"/aaaaaaaaaaax\"");
    let server = self::server("location / { rewrite ^ ?x last; }");
    assert_eq!(server.get("/x").status(), 500);
    server.wait_log("the rewritten URI has a zero length");
}

#[test]
fn conditions() {
    let conf = |condition: &str| {
        format!("location / {{ if ({condition}) {{ return 200 'yes $1'; }} return 200 'no $1'; }}")
    };
    for (condition, cases) in [
        ("$arg_a", [("/?a=1", "yes "), ("/?a=0", "no "), ("/?a=00", "yes "), ("/", "no ")]),
        ("$arg_a = 1", [("/?a=1", "yes "), ("/?a=11", "no "), ("/?a=", "no "), ("/", "no ")]),
        ("$arg_a != 1", [("/?a=1", "no "), ("/?a=11", "yes "), ("/?a=", "yes "), ("/", "yes ")]),
        ("$arg_a = $arg_b", [("/?a=1&b=1", "yes "), ("/?a=1", "no "), ("/?a=", "yes "), ("/", "yes ")]),
        ("$arg_a ~ ^(b+)c", [("/?a=bbc", "yes bb"), ("/?a=BC", "no "), ("/?a=", "no "), ("/", "no ")]),
        ("$arg_a ~* ^(b+)c", [("/?a=bbc", "yes bb"), ("/?a=BC", "yes B"), ("/?a=", "no "), ("/", "no ")]),
        ("$arg_a !~ ^(b+)c", [("/?a=bbc", "no bb"), ("/?a=BC", "yes "), ("/?a=", "yes "), ("/", "yes ")]),
        ("$arg_a !~* ^(b+)c", [("/?a=bbc", "no bb"), ("/?a=BC", "no B"), ("/?a=", "yes "), ("/", "yes ")]),
    ] {
        answers(&conf(condition), &cases);
        answers(&conf(&format!(" {condition} ")), &cases[..1]);
    }
}

#[test]
fn conditions_about_files() {
    let setup = Setup::http(
        "server { listen 127.0.0.1:%%PORT%%; root %%DIR%%/site; set $is '';
            location / {
                if (-f $document_root$uri) { set $is ${is}f; }
                if (-d $document_root$uri) { set $is ${is}d; }
                if (-e $document_root$uri) { set $is ${is}e; }
                if (-x $document_root$uri) { set $is ${is}x; }
                if (!-f $document_root$uri) { set $is ${is}F; }
                if (!-d $document_root$uri) { set $is ${is}D; }
                if (!-e $document_root$uri) { set $is ${is}E; }
                if (!-x $document_root$uri) { set $is ${is}X; }
                return 200 $is;
            } }",
    );
    let server = setup.file("site/folder/file", "x").start();
    for (path, want) in
        [("/folder/file", "feDX"), ("/folder", "dexF"), ("/none", "FDEX"), ("/folder/file/x", "FDEX")]
    {
        assert_eq!(server.get(path).text(), want, "{path}");
    }
}

#[test]
fn an_if_stands_in_for_its_location() {
    let up = Upstream::ok("upstream");
    let server = Server::before(
        &up,
        "server { listen 127.0.0.1:%%PORT%%; root %%DIR%%;
            location / {
                add_header X-In location;
                if ($arg_a) { add_header X-In a; }
                if ($arg_b) { add_header X-In b; }
                if ($arg_up) { proxy_pass http://%%UP%%; }
                if ($arg_page) { error_page 404 =200 /page; }
                if ($arg_root) { root %%DIR%%/other; }
            }
            location /named/ { proxy_pass http://%%UP%%/by/; if ($arg_a) { add_header X-In a; } }
            location = /page { return 200 page; } }",
    );
    server.write("file", "file");
    server.write("other/file", "other");
    let field = |path: &str| server.get(path).get("x-in").map(str::to_owned);
    assert_eq!(field("/file").as_deref(), Some("location"));
    assert_eq!(field("/file?a=1").as_deref(), Some("a"));
    assert_eq!(field("/file?a=1&b=1").as_deref(), Some("b"));
    assert_eq!(field("/file?b=1&root=1").as_deref(), Some("location"));
    assert_eq!(server.get("/file?root=1").text(), "other");
    assert_eq!(server.get("/none?up=1").text(), "upstream");
    assert_eq!(server.get("/none?page=1").answer(), (200, "page".to_owned()));
    // What answers is inherited, with what it does to the path.
    assert_eq!(field("/named/x?a=1").as_deref(), Some("a"));
    assert_eq!(up.last().target(), "/by/x?a=1");
}

#[test]
fn an_if_behind_one_with_an_upstream_loses_it() {
    let up = Upstream::ok("upstream");
    let mut server = Server::before(
        &up,
        "server { listen 127.0.0.1:%%PORT%%; root %%DIR%%;
            location / {
                if ($arg_up) { proxy_pass http://%%UP%%; }
                if ($arg_a) { add_header X-In a; }
                if ($arg_b) { set $b 1; }
                if ($arg_again) { proxy_pass http://%%UP%%; }
                if ($arg_go) { rewrite ^ /other/file last; }
            }
            location /other/ { if ($arg_a) { add_header X-In other; } } }",
    );
    server.allow_alerts();
    server.write("file", "file");
    std::fs::create_dir(server.path("other")).unwrap();
    server.write("other/file", "other");
    assert_eq!(server.get("/file?up=1").text(), "upstream");
    assert_eq!(server.get("/file?a=1&b=1").text(), "file");
    for target in ["/file?up=1&a=1", "/file?up=1&b=1", "/file?up=1&a=1&b=1"] {
        assert_eq!(server.get(target).status(), 500, "{target}");
    }
    server.wait_log("no upstream configuration");
    assert_eq!(server.get("/file?up=1&a=1&again=1").text(), "upstream");
    assert_eq!(server.get("/file?up=1&a=1&go=1").text(), "other");
}

#[test]
fn a_group_is_that_of_the_last_match() {
    answers(
        "location ~ ^/(.)(.*)$ { set $first $1; if ($arg_a ~ z) { return 200 'yes [$1]'; } return 200 'no [$1] [$first]'; }",
        &[("/xy", "no [] [x]"), ("/xy?a=z", "yes []")],
    );
    answers("location ~ ^/(a)(b)? { return 200 '$1$10|$2|$3|'; }", &[("/ab", "aa0|b||"), ("/a", "aa0|||")]);
    answers("location ~ ^/(?<n>x)|y { return 200 '[$n]'; }", &[("/x", "[x]"), ("/y", "[]")]);
    answers("location ~ '^/[a-z]{2}(?!no)' { return 200 yes; }", &[("/ab", "yes"), ("/abno", "404")]);
}

#[test]
fn a_match_without_end_is_an_error() {
    let server = server("location ~ ^/(a+)+$ { return 200 yes; } location / { return 200 no; }");
    let mut server = server;
    server.allow_alerts();
    assert_eq!(server.get("/aaaa").text(), "yes");
    assert_eq!(server.get(&format!("/{}b", "a".repeat(60))).status(), 500);
    server.wait_log("pcre2_match() failed: -47 on \"/aaa");
}

#[test]
fn proxied_paths_after_a_rewrite() {
    let up = Upstream::ok("");
    let server = Server::before(
        &up,
        "server { listen 127.0.0.1:%%PORT%%;
            location /plain/ { rewrite ^/plain/(.*)$ /to/$1 break; proxy_pass http://%%UP%%; }
            location /uri/ { rewrite ^/uri/x(.*)$ /to$1 break; proxy_pass http://%%UP%%/by/; }
            location /late/ { rewrite ^/late/x(.*)$ /to$1; break; proxy_pass http://%%UP%%/by/; }
            location /args/ { set $args z=1; proxy_pass http://%%UP%%; } }",
    );
    for (path, want) in [
        ("/plain/a%20b?x=1", "/to/a%20b?x=1"),
        ("/uri/a", "/by/a"),
        ("/uri/x/a?x=1", "/to/a?x=1"),
        ("/late/x/a", "/to/a"),
        ("/args/a?x=1", "/args/a?z=1"),
    ] {
        assert_eq!(server.get(path).status(), 200);
        assert_eq!(up.last().target(), want, "{path}");
    }
}

#[test]
fn limit_except_leaves_methods_to_the_location() {
    let up = Upstream::ok("upstream");
    let server = Server::before(
        &up,
        "server { listen 127.0.0.1:%%PORT%%;
            location / { root %%DIR%%; limit_except GET { proxy_pass http://%%UP%%; } }
            location /log { access_log off; return 200 x; limit_except get put { access_log off; } } }",
    );
    server.write("file", "file");
    assert_eq!(server.get("/file").text(), "file");
    let ask = |method: &str, path: &str| {
        server.ask(format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")).answer()
    };
    assert_eq!(ask("POST", "/file"), (200, "upstream".to_owned()));
    assert_eq!(ask("BREW", "/file"), (200, "upstream".to_owned()));
    assert_eq!(up.requests().len(), 2);
    // The directives of the rewrite family are not those of the block.
    assert_eq!(ask("PUT", "/log"), (200, "x".to_owned()));
    assert_eq!(ask("DELETE", "/log").0, 405);
}

#[test]
fn what_matches_is_logged_on_demand() {
    let server = server(
        "rewrite_log on;
         location / { rewrite ^/a(.*)$ /b$1; rewrite ^/z /q; if ($arg_a ~ x) { set $v 1; } rewrite ^/b /to redirect; }",
    );
    server.get("/a1?a=x");
    for line in [
        "\"^/a(.*)$\" matches \"/a1\"",
        "rewritten data: \"/b1\", args: \"a=x\"",
        "\"^/z\" does not match \"/b1\"",
        "\"x\" matches \"x\"",
        "rewritten redirect: \"/to?a=x\"",
    ] {
        server.wait_log(line);
    }
}

#[test]
fn variables_without_a_value_are_empty_and_logged() {
    let server = server(
        "location / { return 200 '[$v$v]'; } location /v { set $v 1; set $http_x 1; }
         location /off { uninitialized_variable_warn off; return 200 '[$w]'; } location /w { set $w 1; }
         location /x { if ($arg_a) { set $http_x own; } return 200 '$http_x'; }",
    );
    assert_eq!(server.get("/").text(), "[]");
    assert_eq!(server.get("/off").text(), "[]");
    assert_eq!(server.get_with("/x", "Host: a\r\nX: theirs\r\n").text(), "theirs");
    assert_eq!(server.get_with("/x?a=1", "Host: a\r\nX: theirs\r\n").text(), "own");
    server.wait_log("using uninitialized \"v\" variable");
    assert_eq!(server.log().matches("using uninitialized").count(), 1, "{}", server.log());
}

#[test]
fn alias_below_its_location() {
    let server = Setup::http(
        "server { listen 127.0.0.1:%%PORT%%;
            location /files/ { alias %%DIR%%/site/; location ~ \\.txt$ { add_header X-In text; } }
            location ~ ^/by/(\\w+)/(.*)$ { alias %%DIR%%/site/$1-$2; }
            location /moved/ { alias %%DIR%%/site/; rewrite ^ /elsewhere break; } }",
    )
    .file("site/a.txt", "a")
    .file("site/one-two", "both");
    let mut server = server.start();
    server.allow_alerts();
    assert_eq!(server.get("/files/a.txt").text(), "a");
    assert_eq!(server.get("/files/a.txt").get("x-in"), Some("text"));
    assert_eq!(server.get("/by/one/two").text(), "both");
    assert_eq!(server.get("/moved/a.txt").status(), 500);
    server.wait_log("\"alias\" cannot be used in location \"/moved/\" where URI was rewritten");
}

#[test]
fn refused() {
    for (conf, want) in [
        ("location / { if (a) { break; } }", "invalid condition \"a\""),
        ("location / { if $arg_a { break; } }", "invalid condition \"$arg_a\""),
        ("location / { if ($arg_a { break; } }", "invalid condition \"$arg_a\""),
        ("location / { if () { break; } }", "invalid condition \")\""),
        ("location / { if ($arg_a == b) { break; } }", "unexpected \"==\" in condition"),
        ("location / { if ($arg_a = b c) { break; } }", "invalid condition \"$arg_a\""),
        ("location / { if (-z b) { break; } }", "invalid condition \"-z\""),
        ("location / { if ($1) { break; } }", "unknown \"1\" variable"),
        ("location / { if ($arg_a) { if ($arg_b) { break; } } }", "\"if\" directive is not allowed here"),
        ("if ($arg_a) { add_header X y; }", "\"add_header\" directive is not allowed here"),
        ("rewrite ^ '' last;", "empty replacement"),
        ("rewrite ^ /x lost;", "invalid parameter \"lost\""),
        ("location / { limit_except BREW { } }", "invalid method \"BREW\""),
        ("return 200 '${a b}';", "the closing bracket in \"a\" variable is missing"),
        (
            "location / { if ($arg_a) { proxy_pass http://127.0.0.1:1/; } }",
            "\"proxy_pass\" cannot have URI part in location given by regular expression, or inside named location, or inside \"if\" statement, or inside \"limit_except\" block",
        ),
    ] {
        let said = Setup::http(&format!("server {{ listen 127.0.0.1:%%PORT%%; {conf} }}")).refused();
        assert!(said.contains(want), "{conf}: {said}");
    }
}
