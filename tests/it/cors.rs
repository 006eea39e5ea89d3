//! `cors` and `problem_details`: what pages of other origins are told, and how errors are told to programs.

use crate::harness::*;

const WHY: &str = "nginx has neither";

fn get_with(server: &Server, target: &str, fields: &str) -> Message {
    server.get_with(target, &format!("Host: localhost\r\n{fields}"))
}

fn ask(server: &Server, method: &str, target: &str, fields: &str) -> Message {
    server.ask(format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n"))
}

fn allowed(answer: &Message) -> Vec<(String, String)> {
    let is_ours = |name: &str| name.to_ascii_lowercase().starts_with("access-control-") || name == "Vary";
    answer.headers.iter().filter(|(name, _)| is_ours(name)).cloned().collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

const PREFLIGHT: &str = "Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-a\r\n";

#[test]
fn a_preflight_is_answered_before_anybody_else_is_asked() {
    if !only_octroi(WHY) {
        return;
    }
    let up = Upstream::ok("up");
    let server = Server::before(
        &up,
        "limit_req_zone $server_name zone=one:1m rate=1r/m;
         server { listen 127.0.0.1:%%PORT%%;
           location / { deny all; limit_req zone=one; rewrite ^ /other last;
             cors origin=https://app.example.com,https://*.shop.example methods=GET,PUT headers=Authorization,X-A credentials max_age=10m;
             proxy_pass http://%%UP%%; }
           route PUT /r/{id} { cors origin=*; proxy_pass http://%%UP%%; }
           route GET /r/{id} { proxy_pass http://%%UP%%; } }",
    );
    for _ in 0..3 {
        let answer =
            ask(&server, "OPTIONS", "/a", &format!("Origin: https://app.example.com\r\n{PREFLIGHT}"));
        assert_eq!(answer.status(), 204);
        assert_eq!(
            allowed(&answer),
            pairs(&[
                ("Vary", "Origin"),
                ("Access-Control-Allow-Origin", "https://app.example.com"),
                ("Access-Control-Allow-Credentials", "true"),
                ("Access-Control-Allow-Methods", "GET, PUT"),
                ("Access-Control-Allow-Headers", "Authorization, X-A"),
                ("Access-Control-Max-Age", "600"),
            ])
        );
    }
    let below = ask(&server, "OPTIONS", "/a", &format!("Origin: https://a.shop.example\r\n{PREFLIGHT}"));
    assert_eq!(below.get("Access-Control-Allow-Origin"), Some("https://a.shop.example"));
    for origin in
        ["https://evil.example", "https://app.example.com.evil.example", "http://app.example.com", "null"]
    {
        let answer = ask(&server, "OPTIONS", "/a", &format!("Origin: {origin}\r\n{PREFLIGHT}"));
        assert_eq!(
            (answer.status(), allowed(&answer)),
            (403, pairs(&[("Vary", "Accept"), ("Vary", "Origin")])),
            "{origin}"
        );
    }
    // In a route, that of the method it is about.
    let routed = ask(&server, "OPTIONS", "/r/7", &format!("Origin: https://any.example\r\n{PREFLIGHT}"));
    assert_eq!((routed.status(), routed.get("Access-Control-Allow-Origin")), (204, Some("*")));
    assert_eq!(routed.get("Vary"), None);
    assert!(up.requests().is_empty());
    assert_eq!(ask(&server, "OPTIONS", "/r/7", "").text(), "up");
}

#[test]
fn answers_say_who_may_read_them() {
    if !only_octroi(WHY) {
        return;
    }
    let up = Upstream::always(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nAccess-Control-Allow-Origin: https://evil.example\r\n\
         access-control-allow-credentials: true\r\nVary: Accept\r\n\r\nup",
    );
    let server = Server::before(
        &up,
        "server { listen 127.0.0.1:%%PORT%%; cors origin=https://a.example expose=X-Total credentials;
           location / { proxy_pass http://%%UP%%; }
           location /off { cors off; proxy_pass http://%%UP%%; }
           location /no { return 403; } }",
    );
    let mine = [
        ("Vary", "Origin"),
        ("Access-Control-Allow-Origin", "https://a.example"),
        ("Access-Control-Allow-Credentials", "true"),
        ("Access-Control-Expose-Headers", "X-Total"),
    ];
    let answer = get_with(&server, "/", "Origin: https://a.example\r\n");
    let mut want = pairs(&[("Vary", "Accept")]);
    want.extend(pairs(&mine));
    assert_eq!((answer.text().as_str(), allowed(&answer)), ("up", want));
    for fields in ["Origin: https://evil.example\r\n", ""] {
        let answer = get_with(&server, "/", fields);
        assert_eq!(
            (answer.status(), allowed(&answer)),
            (200, pairs(&[("Vary", "Accept"), ("Vary", "Origin")]))
        );
    }
    let refused = get_with(&server, "/no", "Origin: https://a.example\r\nAccept: text/html\r\n");
    assert_eq!(refused.status(), 403);
    assert_eq!(refused.get("Access-Control-Allow-Origin"), Some("https://a.example"));
    let off = get_with(&server, "/off", "Origin: https://a.example\r\n");
    assert_eq!(off.get("Access-Control-Allow-Origin"), Some("https://evil.example"));
    let star = "server { listen 127.0.0.1:%%PORT%%; cors origin=* credentials; }";
    assert!(Setup::http(star).refused().contains("\"credentials\" cannot be given to \"origin=*\""));
}

#[test]
fn errors_are_objects_where_a_program_reads_them() {
    if !only_octroi(WHY) {
        return;
    }
    let up = Upstream::always("HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nits");
    let server = Server::before(
        &up,
        "server { listen 127.0.0.1:%%PORT%%;
           location /plain { return 403; }
           location /on { problem_details on; return 404; }
           location /off { cors origin=*; problem_details off; return 404; }
           location /page { problem_details on; error_page 404 =410 /own; return 404; }
           location = /own { return 200 own; }
           location /up { problem_details on; proxy_pass http://%%UP%%; }
           location /moved { problem_details on; return 301 /; }
           location /v { version_from $arg_v; version v1 { return 200; } }
           route GET /r/{id} { return 200; } }",
    );
    let object =
        |answer: &Message| (answer.status(), answer.get("Content-Type").unwrap_or_default().to_owned());
    let json = |status| (status, "application/problem+json".to_owned());
    let html = |status| (status, "text/html".to_owned());
    let browser = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
    let answer = server.get("/on");
    assert_eq!(object(&answer), json(404));
    assert_eq!(answer.text(), "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404}\n");
    assert_eq!(object(&get_with(&server, "/on", browser)), json(404));
    assert_eq!(object(&server.get("/plain")), html(403));
    assert_eq!(object(&server.get("/off")), html(404));
    assert_eq!(server.get("/page").answer(), (410, "own".to_owned()));
    assert_eq!(server.get("/up").answer(), (404, "its".to_owned()));
    assert_eq!(object(&server.get("/moved")), html(301));
    // auto, where the gateway's directives are used.
    let answer = server.get("/v?v=v2");
    assert_eq!((object(&answer), answer.get("Vary")), (json(404), Some("Accept")));
    assert_eq!(
        answer.text(),
        "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,\
         \"detail\":\"there is no version \\\"v2\\\"; the versions are v1\",\"versions\":[\"v1\"]}\n"
    );
    for (fields, is_object) in [
        ("Accept: application/json\r\n", true),
        ("Accept: application/problem+json\r\nAccept: text/html;q=0.9\r\n", true),
        ("Accept: */*\r\n", true),
        (browser, false),
        ("Accept: text/html\r\n", false),
        ("Accept: text/plain\r\n", false),
        ("Accept: application/problem+json;q=0\r\n", false),
    ] {
        let answer = get_with(&server, "/v?v=v2", fields);
        assert_eq!(object(&answer), if is_object { json(404) } else { html(404) }, "{fields}");
    }
    let refused = ask(&server, "POST", "/r/7", "");
    assert_eq!((object(&refused), refused.get("Allow")), (json(405), Some("GET, HEAD, OPTIONS")));
    let mut client = server.client();
    client.send("HEAD /on HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.recv_to_head();
    assert_eq!(object(&head), json(404));
}
