//! `octroi explain`: what it tells of a request, and that it asks nobody.

use crate::harness::*;

const WHY: &str = "nginx has no such verb";

const CONF: &str = "
    upstream annonces { server 127.0.0.1:1; server 127.0.0.1:2; }
    server { listen 127.0.0.1:%%PORT%%; server_name other; return 404; }
    server { listen 127.0.0.1:%%PORT%%; server_name api.example.com;
        location = /exact { return 200 exact; }
        route GET /api/{version}/annonces/{id} {
            allow 127.0.0.1; deny all;
            proxy_set_header X-Id $route_id;
            proxy_pass http://annonces;
        }
        route POST /api/{version}/annonces { proxy_pass http://annonces; }
        route * /any/{*rest} { satisfy any; auth_request /auth; deny all; proxy_pass http://annonces/$route_rest; }
        location /api/ { return 418; }
        location ~ \\.php$ { add_header X-Kind php always; return 403 'no php'; }
        location / { rewrite ^/old/(.*)$ /exact last; error_page 404 /gone; }
        location /gone { return 410 'it is gone'; }
        location /versions/ {
            version_from $arg_v;
            version v1 { deprecated 2026-01-01; canary 100% to=127.0.0.1:3; proxy_pass http://annonces/old/; }
        }
    }";

fn told(server: &Server, arguments: &[&str]) -> (Option<i32>, String, String) {
    let conf = server.path("nginx.conf");
    let all: Vec<&str> =
        ["explain"].into_iter().chain(arguments.iter().copied()).chain(["-c", &conf]).collect();
    let outcome = run(&all);
    (outcome.code, outcome.stdout, outcome.stderr)
}

fn fine(server: &Server, arguments: &[&str]) -> String {
    let (code, stdout, stderr) = told(server, arguments);
    assert_eq!(code, Some(0), "{stderr}");
    server.tidy(&stdout)
}

#[test]
fn a_request_that_is_passed_on() {
    if !only_octroi(WHY) {
        return;
    }
    let server = Setup::http(CONF).prepare();
    let url = format!("GET http://api.example.com:{}/api/v1/annonces/7?x=1", server.port());
    let text = fine(&server, &[&url, "-H", "X-From: here"]);
    for line in [
        "has the name \"api.example.com\"",
        "  not other (",
        "location       route /api/{version}/annonces/{id} (",
        "  $route_version = v1",
        "  $route_id = 7",
        "is not the whole path",
        "  not route /api/{version}/annonces: the path has more segments",
        "  not route /any/{*rest}: segment 1 is \"api\", not \"any\"",
        "  not location /api/ (",
        "begins the path, but what is found counts before it",
        "does not match",
        "access         access: grants",
        "content        proxy: passes the request on to",
        "upstream annonces: first 127.0.0.1:1, of 127.0.0.1:1, 127.0.0.1:2",
        "  GET /api/v1/annonces/7?x=1 HTTP/1.1",
        "  X-Id: 7",
        "  X-From: here",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let refused = fine(&server, &[&url, "--from", "192.0.2.1"]);
    assert!(refused.contains("access         access: answers with 403"), "{refused}");
    assert!(refused.contains("log: access forbidden by rule"), "{refused}");
    assert!(refused.contains("answer         403 Forbidden"), "{refused}");
    assert!(server.access_log().is_empty(), "nothing is logged");
}

#[test]
fn requests_that_the_gateway_answers() {
    if !only_octroi(WHY) {
        return;
    }
    let server = Setup::http(CONF).prepare();
    let host = format!("http://api.example.com:{}", server.port());
    let ask = |request: &str| fine(&server, &[&request.replace("HOST", &host)]);
    let text = ask("DELETE HOST/api/v1/annonces/7");
    assert!(text.contains("405 Not Allowed") && text.contains("Allow: GET, HEAD, OPTIONS"), "{text}");
    let text = ask("GET HOST/a.php");
    assert!(text.contains("X-Kind: php") && text.contains("| no php"), "{text}");
    let text = ask("GET HOST/old/x");
    assert!(text.contains("rewrite: has changed the path"), "{text}");
    assert!(text.contains("location = /exact ("), "{text}");
    let text = ask("GET HOST/none");
    assert!(
        text.contains("goes on        inside, by the error_page for 404, to /gone")
            && text.contains("| it is gone"),
        "{text}"
    );
    let text = ask("GET HOST/versions/x?v=v1");
    for line in [
        "rewrite        version: chooses a level within",
        "  within it, (",
        ": first 127.0.0.1:3, of 127.0.0.1:3",
        "  GET /old/x?v=v1 HTTP/1.1",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let text = ask("GET HOST/versions/x");
    assert!(text.contains("| {\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":400"), "{text}");
    let text = ask("GET HOST/any/a/b");
    assert!(text.contains("asks /auth inside, whose answer decides"), "{text}");
    let text = ask("GET HOST/api/v1/annonces/a%2Fb");
    assert!(text.contains("400 Bad Request") && text.contains("log: client sent a path"), "{text}");
    let text = fine(&server, &["GET /", "-H", "Host: nobody"]);
    assert!(
        text.contains("is the default server of the address, where none has the name \"nobody\""),
        "{text}"
    );
}

#[test]
fn what_it_cannot_do_it_says() {
    if !only_octroi(WHY) {
        return;
    }
    let server = Setup::http(CONF).prepare();
    for (arguments, want) in [
        (&["GET"][..], "\"GET\" is neither a URL nor a path"),
        (&["https://api.example.com/"], "nothing listens that speaks https"),
        (&["http://api.example.com:1/"], "nothing listens on port 1"),
        (&["/", "-z"], "invalid option: \"-z\""),
    ] {
        let (code, _, stderr) = told(&server, arguments);
        assert!(code == Some(1) && stderr.contains(want), "{arguments:?} {stderr}");
    }
    let text = fine(&server, &["http://api.example.com/exact"]);
    assert!(text.contains(", since nothing listens on port 80 for http"), "{text}");
    let broken = Setup::http("server { listen 127.0.0.1:%%PORT%%; rout GET / { } }").prepare();
    let (code, _, stderr) = told(&broken, &["/"]);
    assert!(code == Some(1) && stderr.contains("unknown directive \"rout\""), "{stderr}");
}
