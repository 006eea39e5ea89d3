//! `octroi check`.

use crate::harness::*;

fn checked(conf: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let server = Setup::whole(conf).file("more.conf", "uwsgi_pass x;\n").prepare();
    let path = server.path("nginx.conf");
    let mut all = vec!["check", path.as_str()];
    all.extend_from_slice(arguments);
    let outcome = run(&all);
    (outcome.code, outcome.stdout.replace(server.path("").trim_end_matches('/'), "DIR") + &outcome.stderr)
}

const MIXED: &str = "events {}\nhttp {\n    sendfile on;\n    fastcgi_pass x;\n    server {\n        listen 8080;\n        include more.conf;\n        access_log a.log nope;\n        return 204;\n    }\n}\n";

#[test]
fn all_that_is_found_is_listed() {
    if !only_octroi("nginx has no such verb") {
        return;
    }
    let (code, text) = checked(MIXED, &[]);
    assert_eq!(code, Some(1), "{text}");
    let has = |part: &str| assert!(text.contains(part), "{part}: {text}");
    has("refused: 3\n  DIR/nginx.conf:4: directive \"fastcgi_pass\" is not supported by Octroi");
    has("instead: put an HTTP server in front of the application");
    has("  DIR/more.conf:1: directive \"uwsgi_pass\" is not supported by Octroi");
    has("  DIR/nginx.conf:8: unknown log format \"nope\"\n");
    has(
        "accepted without effect (nothing to do; the lines may go): 1\n  DIR/nginx.conf:3: \"sendfile\" has no effect: ",
    );
    has("supported: 5\n  events  DIR/nginx.conf:1\n  http  DIR/nginx.conf:2\n  listen  DIR/nginx.conf:6\n");
}

#[test]
fn the_same_for_programs() {
    if !only_octroi("nginx has no such verb") {
        return;
    }
    let (code, text) = checked(MIXED, &["--json"]);
    assert_eq!(code, Some(1), "{text}");
    let start = "{\"configuration\":\"DIR/nginx.conf\",\"code\":1,\"error\":null,\"refused\":[{\"directive\":\"fastcgi_pass\",\"file\":\"DIR/nginx.conf\",\"line\":4,\"message\":\"directive \\\"fastcgi_pass\\\" is not supported by Octroi";
    assert!(text.starts_with(start), "{text}");
    assert!(text.contains("\"without_effect\":[{\"directive\":\"sendfile\",\"file\":\"DIR/nginx.conf\",\"line\":3,\"reason\":\""), "{text}");
    assert!(
        text.contains("\"supported\":[{\"directive\":\"events\",\"file\":\"DIR/nginx.conf\",\"line\":1},"),
        "{text}"
    );
}

#[test]
fn codes_are_for_scripts() {
    if !only_octroi("nginx has no such verb") {
        return;
    }
    let (code, text) = checked("events {} http { sendfile on; server { listen 8080; return 204; } }", &[]);
    assert_eq!((code, text.contains("refused")), (Some(0), false), "{text}");
    let (code, text) = checked("events {}\nhttp { server {\n listen 8080", &[]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("not read to its end: [emerg] unexpected end of file"), "{text}");
    let (code, text) = checked("events {}", &["--loud"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("invalid option: \"--loud\""), "{text}");
}
