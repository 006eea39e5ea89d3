//! Which location serves a path, and what `return` answers.

use crate::harness::*;

fn chosen(conf: &str, paths: &[(&str, &str)]) {
    let server = Server::http(&format!("server {{ listen 127.0.0.1:%%PORT%%; {conf} }}"));
    for (path, expected) in paths {
        assert_eq!(server.get(path).text(), *expected, "{path}");
    }
}

#[test]
fn order_of_the_kinds() {
    chosen(
        r"location = / { return 200 exact; }
          location / { return 200 root; }
          location /documents/ { return 200 documents; }
          location ^~ /images/ { return 200 images; }
          location ~* \.(gif|jpg)$ { return 200 pictures; }
          location ~ ^/Case { return 200 case; }",
        &[
            ("/", "exact"),
            ("/?x=1", "exact"),
            ("/index.html", "root"),
            ("/documents/a.html", "documents"),
            ("/documents/a.jpg", "pictures"),
            ("/images/a.gif", "images"),
            ("/a.GIF", "pictures"),
            ("/Case", "case"),
            ("/case", "root"),
        ],
    );
}

#[test]
fn longest_prefix_wins_whatever_the_order() {
    chosen(
        "location /a { return 200 a; } location /abc { return 200 abc; } location /ab { return 200 ab; } location / { return 200 root; }",
        &[("/a", "a"), ("/ab", "ab"), ("/abc", "abc"), ("/abcd", "abc"), ("/abd", "ab"), ("/b", "root")],
    );
}

#[test]
fn first_regex_wins() {
    chosen("location ~ ^/a { return 200 one; } location ~ ^/ab { return 200 two; }", &[("/ab", "one")]);
}

#[test]
fn longest_prefix_must_itself_be_marked_to_skip_regex() {
    chosen(
        "location ^~ /a { return 200 marked; } location /a/b { return 200 plain; } location ~ b { return 200 regex; }",
        &[("/a/b", "regex"), ("/a/x", "marked"), ("/axb", "marked")],
    );
}

#[test]
fn exact_wins_over_all() {
    chosen(
        "location ^~ /a { return 200 prefix; } location = /a { return 200 exact; }",
        &[("/a", "exact"), ("/a/", "prefix")],
    );
}

#[test]
fn modifier_without_a_space() {
    chosen(
        "location =/a { return 200 exact; } location ~^/b { return 200 regex; }",
        &[("/a", "exact"), ("/b", "regex")],
    );
}

#[test]
fn nothing_matches() {
    let server = Server::http("server { listen 127.0.0.1:%%PORT%%; location /a { return 200 a; } }");
    assert_eq!(server.get("/b").status(), 404);
}

#[test]
fn nested_regex_is_tried_within_the_prefix() {
    chosen(
        r"location /a/ { location ~ \.x$ { return 200 nested; } return 200 a; }
          location ~ \.x$ { return 200 outer; }",
        &[("/a/1.x", "nested"), ("/a/1.y", "a"), ("/b/1.x", "outer")],
    );
}

#[test]
fn captures() {
    chosen(
        r#"location ~ ^/users/(?<id>\d+)/(.+)$ { return 200 "$id $1 $2"; }"#,
        &[("/users/42/orders/7", "42 42 orders/7")],
    );
}

#[test]
fn path_is_decoded_before_it_is_matched() {
    chosen(
        "location /a/b { return 200 \"ab $uri\"; } location /c%20d { return 200 never; } location '/c d' { return 200 space; } location / { return 200 root; }",
        &[
            ("/%61/b", "ab /a/b"),
            ("/a%2Fb", "ab /a/b"),
            ("/a/%62?x", "ab /a/b"),
            ("/c%20d", "space"),
            ("/a/x/../b", "ab /a/b"),
            ("/a/./b", "ab /a/b"),
            ("/a/%2e%2e/a/b", "ab /a/b"),
            ("/x#/a/b", "root"),
        ],
    );
}

#[test]
fn slashes_are_merged() {
    chosen("location = /a/b { return 200 $uri; }", &[("//a///b", "/a/b"), ("/a//%2fb", "/a/b")]);
}

#[test]
fn slashes_are_kept_where_it_is_said() {
    chosen(
        "merge_slashes off; location / { return 200 $uri; } location = /a/b { return 200 merged; }",
        &[("/a//b", "/a//b"), ("/a/b", "merged")],
    );
}

#[test]
fn request_uri_is_raw() {
    chosen("location / { return 200 $request_uri; }", &[("//a/%2e%2e/%62?q=%20", "//a/%2e%2e/%62?q=%20")]);
}

#[test]
fn climbing_above_the_root_is_refused() {
    let server = Server::http("server { listen 127.0.0.1:%%PORT%%; location / { return 200 ok; } }");
    for path in ["/..", "/../", "/a/../../b", "/%2e%2e/", "/.%2e/x"] {
        assert_eq!(server.get(path).status(), 400, "{path}");
    }
}

#[test]
fn bad_escapes_are_refused() {
    let server = Server::http("server { listen 127.0.0.1:%%PORT%%; location / { return 200 ok; } }");
    for path in ["/%", "/%1", "/%zz", "/%1g", "/%00", "/a%00b"] {
        assert_eq!(server.get(path).status(), 400, "{path}");
    }
}

#[test]
fn escapes_in_the_query_are_nobodys_business() {
    chosen(
        "location / { return 200 $args; }",
        &[("/?%00%zz%", "%00%zz%"), ("/?a?b", "a?b"), ("/??", "?"), ("/?", "")],
    );
}

#[test]
fn directory_of_a_proxied_prefix_redirects() {
    let up = Upstream::ok("up");
    let conf = "server { listen 127.0.0.1:%%PORT%%; server_name front; location /dir/ { proxy_pass http://%%UP%%; } }";
    let server = Server::before(&up, conf);
    let response = server.get("/dir?a=b");
    assert_eq!(response.status(), 301);
    let expected = format!("http://localhost:{}/dir/?a=b", server.port());
    assert_eq!(response.get("location"), Some(expected.as_str()));
    assert_eq!(up.connections(), 0);
    assert_eq!(server.get("/dir/").status(), 200);
}

#[test]
fn relative_and_named_redirects() {
    let up = Upstream::ok("up");
    let conf = "absolute_redirect off; server { listen 127.0.0.1:%%PORT%%; location /dir/ { proxy_pass http://%%UP%%; } }";
    assert_eq!(Server::before(&up, conf).get("/dir").get("location"), Some("/dir/"));
    let conf = "server_name_in_redirect on; port_in_redirect off;
                server { listen 127.0.0.1:%%PORT%%; server_name front; location /dir/ { proxy_pass http://%%UP%%; } }";
    assert_eq!(Server::before(&up, conf).get("/dir").get("location"), Some("http://front/dir/"));
}

#[test]
fn exact_location_stops_the_redirect() {
    let up = Upstream::ok("up");
    let conf = "server { listen 127.0.0.1:%%PORT%%; location /dir/ { proxy_pass http://%%UP%%; } location = /dir { return 200 own; } }";
    assert_eq!(Server::before(&up, conf).get("/dir").text(), "own");
}

#[test]
fn prefix_that_is_not_proxied_does_not_redirect() {
    let server = Server::http("server { listen 127.0.0.1:%%PORT%%; location /dir/ { return 200 in; } }");
    assert_eq!(server.get("/dir").status(), 404);
}

#[test]
fn hundreds_of_locations() {
    let conf: String = (0..500).map(|n| format!("location /api/{n}/ {{ return 200 {n}; }}\n")).collect();
    chosen(&conf, &[("/api/0/", "0"), ("/api/49/x", "49"), ("/api/499/", "499")]);
}
