//! What path goes to the upstream, and which upstream `proxy_pass` means.

use crate::harness::*;

/// The target that arrives for a request to `path`, for a location written by the test.
fn target(conf: &str, path: &str) -> String {
    let up = Upstream::ok("");
    let server = Server::before(&up, &format!("server {{ listen 127.0.0.1:%%PORT%%; {conf} }}"));
    assert_eq!(server.get(path).status(), 200, "{path}");
    up.last().target().to_owned()
}

#[test]
fn without_a_uri_the_raw_path_goes_on() {
    let conf = "location / { proxy_pass http://%%UP%%; }";
    for path in [
        "/",
        "/a?b=c",
        "//a/./b/../c",
        "/%61%2Fb%20c",
        "/a%3Fb?",
        "/?",
        "/a+b%2B",
        "/%C3%A9",
        "/a;b=c",
        "/a//b?x=//y",
        "/~a!$&'()*,:@",
    ] {
        assert_eq!(target(conf, path), path);
    }
}

#[test]
fn with_a_uri_the_prefix_is_replaced() {
    let conf = "location /in/ { proxy_pass http://%%UP%%/out/; }";
    assert_eq!(target(conf, "/in/a?b=c"), "/out/a?b=c");
    assert_eq!(target(conf, "/in/"), "/out/");
    assert_eq!(target(conf, "/in/a/../b"), "/out/b");
    assert_eq!(target(conf, "//in//a"), "/out/a");
}

#[test]
fn with_a_uri_the_path_is_encoded_again() {
    let conf = "location /in/ { proxy_pass http://%%UP%%/out/; }";
    assert_eq!(target(conf, "/in/a%20b"), "/out/a%20b");
    assert_eq!(target(conf, "/in/a%3Fb%23c%25d"), "/out/a%3Fb%23c%25d");
    assert_eq!(target(conf, "/in/%61+b"), "/out/a+b");
    assert_eq!(target(conf, "/in/a%2Fb"), "/out/a/b");
    assert_eq!(target(conf, "/in/?q=%20+%2F"), "/out/?q=%20+%2F");
}

#[test]
fn with_a_uri_and_no_slash() {
    let conf = "location /in { proxy_pass http://%%UP%%/out; }";
    assert_eq!(target(conf, "/in/a"), "/out/a");
    assert_eq!(target(conf, "/inner"), "/outner");
    assert_eq!(target("location /in/ { proxy_pass http://%%UP%%/out; }", "/in/a"), "/outa");
}

#[test]
fn slash_alone_is_a_uri() {
    let conf = "location /in/ { proxy_pass http://%%UP%%/; }";
    assert_eq!(target(conf, "/in/a/b?c"), "/a/b?c");
}

#[test]
fn uri_with_a_query() {
    let conf = "location /in/ { proxy_pass http://%%UP%%/out?fixed=1&rest=; }";
    assert_eq!(target(conf, "/in/a"), "/out?fixed=1&rest=a");
}

#[test]
fn exact_location_with_a_uri() {
    assert_eq!(target("location = /in { proxy_pass http://%%UP%%/out/x; }", "/in?a=b"), "/out/x?a=b");
}

#[test]
fn regex_location_passes_the_raw_path() {
    assert_eq!(target("location ~ ^/r { proxy_pass http://%%UP%%; }", "/r%61?b"), "/r%61?b");
}

#[test]
fn named_location_passes_the_path() {
    let conf = "location / { error_page 404 = @up; return 404; } location @up { proxy_pass http://%%UP%%; }";
    assert_eq!(target(conf, "/a%20b?c"), "/a%20b?c");
}

#[test]
fn variables_in_the_uri_replace_all_of_it() {
    let conf = "location ~ ^/user/(.*)$ { proxy_pass http://%%UP%%/profile/$1?from=$arg_from; }";
    assert_eq!(target(conf, "/user/anna?from=x&y=z"), "/profile/anna?from=x");
    let conf = "location / { proxy_pass http://%%UP%%$request_uri; }";
    assert_eq!(target(conf, "/a%20b?c"), "/a%20b?c");
}

#[test]
fn variable_names_an_address() {
    let conf = "location / { proxy_pass http://$arg_to; }";
    let up = Upstream::ok("");
    let server = Server::before(&up, &format!("server {{ listen 127.0.0.1:%%PORT%%; {conf} }}"));
    let path = format!("/a%20b?to={}", up.address());
    assert_eq!(server.get(&path).status(), 200);
    // No URI part: the raw path.
    assert_eq!(up.last().target(), path);
    assert_eq!(up.last().get("host"), Some(up.address()));
}

#[test]
fn variable_names_an_upstream() {
    let conf = "upstream one { server %%UP%%; } server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://$arg_to/x; } }";
    let up = Upstream::ok("");
    let server = Server::before(&up, conf);
    assert_eq!(server.get("/?to=one").status(), 200);
    assert_eq!(up.last().target(), "/x");
    assert_eq!(up.last().get("host"), Some("one"));
}

#[test]
fn variable_names_something_unknown() {
    let server =
        Server::http("server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://$arg_to; } }");
    assert_eq!(server.get("/?to=nowhere").status(), 502);
    server.wait_log("no resolver defined to resolve nowhere");
    assert_eq!(server.get("/?to=").status(), 500);
}

#[test]
fn unix_socket() {
    let up = Upstream::unix(|origin| drop(origin.answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")));
    let server = Server::before(
        &up,
        "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%:/out/; } location /raw/ { proxy_pass http://%%UP%%; } }",
    );
    assert_eq!(server.get("/a").status(), 200);
    assert_eq!(up.last().target(), "/out/a");
    assert_eq!(up.last().get("host"), Some("localhost"));
    assert_eq!(server.get("/raw/b").status(), 200);
    assert_eq!(up.last().target(), "/raw/b");
}

#[test]
fn upstream_of_a_unix_socket() {
    let up = Upstream::unix(|origin| drop(origin.answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")));
    let server = Server::before(
        &up,
        "upstream u { server %%UP%%; } server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://u; } }",
    );
    assert_eq!(server.get("/").status(), 200);
}

#[test]
fn upstream_declared_after_its_use() {
    let up = Upstream::ok("late");
    let server = Server::before(
        &up,
        "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://u; } } upstream u { server %%UP%%; }",
    );
    assert_eq!(server.get("/").text(), "late");
}

#[test]
fn host_name_of_proxy_pass_is_resolved_at_start() {
    let up = Upstream::ok("local");
    let port = up.address().rsplit(':').next().unwrap().to_owned();
    let conf = "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://localhost:%%UPPORT%%; } }";
    let server = Setup::http(conf).put("UPPORT", port).start();
    assert_eq!(server.get("/").text(), "local");
    let said = Setup::http("server { location / { proxy_pass http://no-such-host.invalid; } }").refused();
    assert!(
        said.starts_with("[emerg] host not found in upstream \"no-such-host.invalid\" in DIR/nginx.conf:"),
        "{said}"
    );
}

#[test]
fn absolute_target_is_passed_as_a_path() {
    let up = Upstream::ok("");
    let server =
        Server::before(&up, "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; } }");
    server.ask("GET http://a/p%20q?r HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n");
    assert_eq!(up.last().target(), "/p%20q?r");
}

#[test]
fn redirects_of_the_upstream_are_rewritten() {
    let up = Upstream::new(|origin| {
        while let Some(request) = origin.request() {
            let host = request.get("host").unwrap().to_owned();
            origin.send(format!(
                "HTTP/1.1 302 Found\r\nLocation: http://{host}/out/next\r\nContent-Length: 0\r\n\r\n"
            ));
        }
    });
    let server = Server::before(
        &up,
        "server { listen 127.0.0.1:%%PORT%%; location /in/ { proxy_pass http://%%UP%%/out/; } }",
    );
    let expected = format!("http://localhost:{}/in/next", server.port());
    assert_eq!(server.get("/in/").get("location"), Some(expected.as_str()));
}
