//! `route`: which template and method a request belongs to, what its parameters are, and what is refused.

use crate::harness::*;

const WHY: &str = "nginx has no routes";

fn with(routes: &str) -> Server {
    Server::http(&format!("server {{ listen 127.0.0.1:%%PORT%%; {routes} }}"))
}

fn ask(server: &Server, method: &str, target: &str) -> Message {
    server.ask(format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
}

#[test]
fn a_route_takes_what_its_template_matches() {
    if !only_octroi(WHY) {
        return;
    }
    let server = with(
        "route GET /api/{version}/annonces/{id} { return 200 'annonce $route_version $route_id'; }
         route GET /api/{version}/annonces/new { return 200 'new $route_version'; }
         route POST /api/{v}/annonces { return 201 'made $route_v'; }
         route * /api/{version}/orders/{*rest} { return 200 'orders $route_version $route_rest'; }
         route GET,M-SEARCH /files/{name} { return 200 '$request_method $route_name'; }
         location = /api/v1/annonces/7 { return 200 exact; }
         location ^~ /api/ { return 200 prefix; }
         location ~ annonces { return 200 regex; }
         location / { return 200 'root $route_id'; }",
    );
    for (target, want) in [
        ("/api/v1/annonces/8", "annonce v1 8"),
        ("/api/v1/annonces/8?x=/9", "annonce v1 8"),
        ("/api/v1/annonces/new", "new v1"),
        ("/api/v1/annonces/7", "exact"),
        ("/api//v1/x/../annonces/a%20b", "annonce v1 a b"),
        ("/api/v1/annonces/%C3%A9%ff", "annonce v1 \u{e9}\u{fffd}"),
        ("/api/v2/orders/a/b", "orders v2 a/b"),
        ("/api/v2/orders/", "prefix"),
        ("/api/v1/annonces/8/", "prefix"),
        ("/files/a.b", "GET a.b"),
        ("/x/annonces", "regex"),
        ("/x", "root "),
    ] {
        assert_eq!(server.get(target).text(), want, "{target}");
    }
    assert_eq!(ask(&server, "POST", "/api/v9/annonces").answer(), (201, "made v9".to_owned()));
    assert_eq!(ask(&server, "DELETE", "/api/v1/orders/7").text(), "orders v1 7");
    assert_eq!(ask(&server, "M-SEARCH", "/files/x").text(), "M-SEARCH x");
}

#[test]
fn head_is_get_unless_a_route_names_it() {
    if !only_octroi(WHY) {
        return;
    }
    let server = with(
        "route GET /a { return 200 get; } route GET /b { return 200 get; } route HEAD /b { return 204; }
         route POST /b { return 201; } route * /b { return 202; }",
    );
    let head = |target: &str| {
        let mut client = server.client();
        client.send(format!("HEAD {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client.recv_to_head().status()
    };
    assert_eq!((head("/a"), head("/b")), (200, 204));
    assert_eq!(server.get("/b").status(), 200);
    assert_eq!(ask(&server, "POST", "/b").status(), 201);
    assert_eq!(ask(&server, "OPTIONS", "/b").status(), 202);
    assert_eq!(ask(&server, "PATCH", "/b").status(), 202);
}

#[test]
fn a_method_without_a_route_is_told_those_that_have_one() {
    if !only_octroi(WHY) {
        return;
    }
    let up = Upstream::echo();
    let server = Server::before(
        &up,
        "log_format routes '$status $route';
         server { listen 127.0.0.1:%%PORT%%; access_log access.log routes; error_page 405 /told;
           route GET /a/{id} { proxy_pass http://%%UP%%; add_header Route one always; }
           route PUT,DELETE /a/{name} { proxy_pass http://%%UP%%; }
           route * /{*rest} { return 200 all; }
           location = /told { internal; return 405 told; } }",
    );
    let refused = ask(&server, "POST", "/a/7");
    assert_eq!(refused.answer(), (405, "told".to_owned()));
    let plain = with("route GET,PUT /a { return 200; } route REPORT /a { return 201; }");
    let refused = ask(&plain, "POST", "/a");
    assert_eq!((refused.status(), refused.get("Allow")), (405, Some("GET, HEAD, PUT, REPORT, OPTIONS")));
    // It asks what the others do, and is passed on.
    assert_eq!(ask(&server, "OPTIONS", "/a/7").status(), 200);
    assert_eq!(up.last().start.split(' ').next(), Some("OPTIONS"));
    assert_eq!(ask(&server, "POST", "/b").text(), "all");
    assert_eq!(server.wait_lines("access.log", 3)[1..], ["200 /a/{id}", "200 /{*rest}"]);
}

#[test]
fn a_raw_path_that_others_may_read_otherwise_is_refused() {
    if !only_octroi(WHY) {
        return;
    }
    let up = Upstream::ok("up");
    let server = Server::before(
        &up,
        "server { listen 127.0.0.1:%%PORT%%; error_log error.log info;
           route GET /a/{id} { proxy_pass http://%%UP%%; }
           route GET /a/{id}/{more} { proxy_pass http://%%UP%%; }
           route GET /open/{id}/{more} { route_encoded allow; proxy_pass http://%%UP%%; }
           location / { rewrite ^/old/(.*)$ /a/$1 last; return 200 location; } }",
    );
    for target in [
        "/a/b%2Fc",
        "/a/b%5cc",
        "/a/x/%2e%2e/b",
        "/a/%2E/b",
        "/a/b%00",
        "/a/b%2Fc%2Fd",
        "/a%2Fb",
        "/a/%2e%2e",
    ] {
        assert_eq!(server.get(target).status(), 400, "{target}");
    }
    assert!(server.log().contains("client sent a path with an encoded separator or dot segment to a route"));
    assert_eq!(server.get("/a/b%20c?d=%2F").text(), "up");
    assert_eq!(up.last().target(), "/a/b%20c?d=%2F");
    assert_eq!(server.get("/open/b%2Fc").text(), "up");
    assert_eq!(up.last().target(), "/open/b%2Fc");
    assert_eq!(server.get("/else/b%2Fc").text(), "location");
    // What a rewrite has made of it is what goes on.
    assert_eq!(server.get("/old/b%2Fc").text(), "up");
    assert_eq!(up.last().target(), "/a/b/c");
}

#[test]
fn what_holds_in_a_location_holds_in_a_route() {
    if !only_octroi(WHY) {
        return;
    }
    let up = Upstream::echo();
    let server = Server::before(
        &up,
        "server { listen 127.0.0.1:%%PORT%%;
           route * /a/{id} {
             set $who $route_id;
             if ($arg_x) { return 200 'if $who $route'; }
             limit_except GET { deny all; }
             proxy_set_header X-Id $route_id;
             proxy_pass http://%%UP%%/inner/$route_id$is_args$args; }
           route GET /files/{name} { alias %%DIR%%/files/$route_name.txt; }
           route GET /inside { internal; return 200; }
           route GET /shown/{*path} { root %%DIR%%; try_files /files/$route_path /files/a.txt =404; } }",
    );
    std::fs::create_dir_all(server.path("files/")).unwrap();
    server.write("files/a.txt", "text of a");
    assert_eq!(server.get("/a/7?x=1").text(), "if 7 /a/{id}");
    assert_eq!(server.get("/a/7?y=1").status(), 200);
    assert_eq!((up.last().target(), up.last().get("X-Id")), ("/inner/7?y=1", Some("7")));
    assert_eq!(ask(&server, "POST", "/a/7").status(), 403);
    assert_eq!(server.get("/files/a").text(), "text of a");
    assert_eq!(server.get("/files/b").status(), 404);
    assert_eq!(server.get("/inside").status(), 404);
    assert_eq!(server.get("/shown/x/y").text(), "text of a");
}

#[test]
fn errors_name_the_lines() {
    if !only_octroi(WHY) {
        return;
    }
    let refused =
        |text: &str| Setup::http(&format!("server {{ listen 127.0.0.1:%%PORT%%;\n{text}\n}}")).refused();
    let clash = refused("route GET /a/{x} { }\nroute PUT,GET /a/{y} { }");
    assert!(
        clash.contains("route \"PUT,GET /a/{y}\" cannot be told apart from \"GET /a/{x}\" in "),
        "{clash}"
    );
    let number = |rest: &str| rest.split(' ').next().unwrap_or_default().parse::<u32>().unwrap_or(0);
    let lines: Vec<u32> = clash.split("nginx.conf:").skip(1).map(number).collect();
    assert!(matches!(lines[..], [first, second] if second == first + 1), "{clash}");
    assert!(
        refused("route GET /a { proxy_pass http://127.0.0.1:1/b; }")
            .contains("\"proxy_pass\" cannot have URI part in a route")
    );
    assert!(refused("location / { route GET /a { } }").contains("\"route\" directive is not allowed here"));
    assert!(
        refused("route GET /a { route GET /a/b { } }").contains("\"route\" directive is not allowed here")
    );
    assert!(refused("location / { return 200 $route_id; }").contains("unknown \"route_id\" variable"));
}
