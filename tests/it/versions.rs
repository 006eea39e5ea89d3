//! `version`, `deprecated`, `sunset` and `canary`: which version a request gets, how clients are told of
//! its end, and the share of the requests that goes elsewhere.

use crate::harness::*;

const WHY: &str = "nginx has no versions";

fn get_with(server: &Server, target: &str, fields: &str) -> Message {
    server.get_with(target, &format!("Host: localhost\r\n{fields}"))
}

#[test]
fn the_first_name_that_is_not_empty_chooses() {
    if !only_octroi(WHY) {
        return;
    }
    let (one, two) = (Upstream::ok("one"), Upstream::ok("two"));
    let server = Setup::http(
        "log_format versions '$status $api_version';
         server { listen 127.0.0.1:%%PORT%%; access_log access.log versions;
           error_page 418 /teapot;
           route GET /api/{version}/annonces/{id} {
             version_from $route_version;
             version v1 { proxy_pass http://%%ONE%%; }
             version v2 { proxy_set_header X-Version $api_version; proxy_pass http://%%TWO%%; }
           }
           location /annonces/ {
             set $asked $http_accept_version;
             proxy_set_header X-Outer yes;
             add_header X-Shared $api_version;
             version_from $asked $arg_version;
             version v1 { deprecated 2026-06-01; proxy_pass http://%%ONE%%/old/; }
             version v2 default { proxy_pass http://%%TWO%%; }
             version v3 { deny all; proxy_pass http://%%ONE%%; }
             version v4 { rewrite ^ /teapot last; }
             version v5 { if ($arg_x) { return 200 'if $api_version'; } return 418; }
           }
           location /plain/ { set $api_version v0; return 200 '$api_version'; }
           location /teapot { return 200 'teapot $api_version'; } }",
    )
    .put("ONE", one.address())
    .put("TWO", two.address())
    .start();
    assert_eq!(server.get("/api/v1/annonces/7").text(), "one");
    assert_eq!(server.get("/api/v2/annonces/7").text(), "two");
    assert_eq!((two.last().target(), two.last().get("X-Version")), ("/api/v2/annonces/7", Some("v2")));
    assert_eq!(server.get("/annonces/7").text(), "two");
    assert_eq!(two.last().get("X-Outer"), Some("yes"));
    let first = server.get("/annonces/7?version=v1");
    assert_eq!((first.text().as_str(), first.get("X-Shared")), ("one", Some("v1")));
    assert_eq!(one.last().target(), "/old/7?version=v1");
    assert_eq!(get_with(&server, "/annonces/7?version=v1", "Accept-Version: v2\r\n").text(), "two");
    assert_eq!(server.get("/annonces/?version=v3").status(), 403);
    assert_eq!(server.get("/annonces/?version=v4").text(), "teapot v4");
    assert_eq!(server.get("/annonces/?version=v5&x=1").text(), "if v5");
    assert_eq!(server.get("/annonces/?version=v5").text(), "teapot v5");
    assert_eq!(server.get("/plain/").text(), "v0");
    let lines = server.wait_lines("access.log", 10);
    assert_eq!(lines[..5], ["200 v1", "200 v2", "200 v2", "200 v1", "200 v2"]);
    assert_eq!(lines[9], "200 v0");
}

#[test]
fn versions_that_are_not_there_are_told_those_that_are() {
    if !only_octroi(WHY) {
        return;
    }
    let server = Server::http(
        "log_format versions '$status $api_version';
         server { listen 127.0.0.1:%%PORT%%; access_log access.log versions;
           location / { version_from $arg_v; version v1 { return 200; } version v2 { return 200; } } }",
    );
    let unknown = get_with(&server, "/?v=v<9", "Accept: text/html\r\n");
    assert_eq!(unknown.status(), 404);
    let text = unknown.text();
    assert!(text.contains("there is no version &quot;v&lt;9&quot;; the versions are v1, v2"), "{text}");
    let none = get_with(&server, "/", "Accept: text/html\r\n");
    assert_eq!(none.status(), 400);
    assert!(none.text().contains("no version is asked for; the versions are v1, v2"), "{}", none.text());
    assert_eq!(server.wait_lines("access.log", 2), ["404 -", "400 -"]);
}

#[test]
fn clients_are_told_of_the_end() {
    if !only_octroi(WHY) {
        return;
    }
    let up = Upstream::ok("up");
    let server = Server::before(
        &up,
        "server { listen 127.0.0.1:%%PORT%%;
           location /v1/ { deprecated 2026-06-01 https://docs.example.com/v1; sunset 2200-12-31 https://docs.example.com/v2;
             proxy_pass http://%%UP%%;
             location /v1/kept/ { deprecated off; sunset off; return 200 kept; } }
           location /v0/ { sunset 2020-02-29; rewrite ^ /v1/x last; }
           location /v0/paged/ { sunset 2020-02-29; error_page 410 /gone.txt; }
           location = /gone.txt { return 410 'gone for good'; } }",
    );
    let told = server.get("/v1/x");
    assert_eq!(told.text(), "up");
    assert_eq!(told.get("Deprecation"), Some("@1780272000"));
    assert_eq!(told.get("Sunset"), Some("Wed, 31 Dec 2200 00:00:00 GMT"));
    assert_eq!(
        told.all("Link"),
        [
            "<https://docs.example.com/v1>; rel=\"deprecation\"",
            "<https://docs.example.com/v2>; rel=\"sunset\""
        ]
    );
    let kept = server.get("/v1/kept/");
    assert!(kept.get("Deprecation").is_none() && kept.get("Sunset").is_none(), "{}", kept.head);
    let gone = get_with(&server, "/v0/x", "Accept: text/html\r\n");
    assert_eq!((gone.status(), gone.get("Sunset")), (410, Some("Sat, 29 Feb 2020 00:00:00 GMT")));
    assert!(gone.text().contains("this ended on 2020-02-29"), "{}", gone.text());
    assert_eq!(server.get("/v0/paged/").answer(), (410, "gone for good".to_owned()));
    assert_eq!(up.requests().len(), 1);
}

#[test]
fn a_canary_takes_its_share() {
    if !only_octroi(WHY) {
        return;
    }
    let (main, canary) = (Upstream::echo(), Upstream::echo());
    let server = Setup::http(
        "upstream stable { server %%MAIN%%; } upstream next { server %%CANARY%%; }
         log_format asked '$proxy_host $arg_key';
         server { listen 127.0.0.1:%%PORT%%; access_log access.log asked;
           location /half/ { canary 50% by=$arg_key to=next; proxy_pass http://stable/inner/; }
           location /none/ { canary 0% to=next; proxy_pass http://stable; }
           location /all/ { canary 100% by=$arg_key to=next; proxy_pass http://stable; }
           location /if/ { canary 100% to=next; proxy_pass http://stable; if ($arg_key) { add_header X-If yes; } } }",
    )
    .put("MAIN", main.address())
    .put("CANARY", canary.address())
    .start();
    for key in 0..40 {
        // The same key goes the same way.
        assert_eq!(server.get(&format!("/half/a?key={key}")).status(), 200);
        assert_eq!(server.get(&format!("/half/a?key={key}")).status(), 200);
    }
    let lines = server.wait_lines("access.log", 80);
    assert!(lines.as_slice().chunks(2).all(|pair| pair[0] == pair[1]), "{lines:?}");
    let taken = canary.requests().len();
    assert!((20..=60).contains(&taken), "{taken} of 80");
    assert_eq!(taken + main.requests().len(), 80);
    assert_eq!(
        (canary.last().target().starts_with("/inner/a?key="), canary.last().get("Host")),
        (true, Some("next"))
    );
    let asked = |path: &str| {
        let before = canary.requests().len();
        assert_eq!(server.get(path).status(), 200);
        canary.requests().len() > before
    };
    assert!(!asked("/none/") && asked("/all/") && asked("/all/?key=x") && asked("/if/?key=1"));
    // Without a key each request is on its own.
    let without = (0..40).filter(|_| asked("/half/a")).count();
    assert!((4..=36).contains(&without), "{without} of 40");
}

#[test]
fn wrong_lines_are_refused() {
    if !only_octroi(WHY) {
        return;
    }
    let refused = |location: &str| {
        let text = format!("server {{ listen 127.0.0.1:%%PORT%%; location /a/ {{ {location} }} }}");
        Setup::http(&text).refused()
    };
    for (location, want) in [
        ("canary 5% to=127.0.0.1:1;", "\"canary\" needs a \"proxy_pass\" beside it"),
        ("canary 5% by=$uri; proxy_pass http://127.0.0.1:1;", "\"canary\" must have \"to\" parameter"),
        ("canary 101% to=a; proxy_pass http://127.0.0.1:1;", "invalid percent value \"101%\""),
        ("canary 5% to=http://a; proxy_pass http://127.0.0.1:1;", "\"http://a\" is no name of an upstream"),
        ("canary 5% to=127.0.0.1:2 at=3; proxy_pass http://127.0.0.1:1;", "invalid parameter \"at=3\""),
        (
            "canary 5% to=127.0.0.1:2; proxy_pass http://$host;",
            "\"canary\" cannot be used with \"proxy_pass\" with variables",
        ),
        ("version_from $uri; version v1 { version v2 { } }", "\"version\" cannot be inside a version"),
    ] {
        let said = refused(location);
        assert!(said.contains(want), "{location}: {said}");
    }
}
