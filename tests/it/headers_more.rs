//! `more_set_headers` and its family: what of requests and answers is set and cleared.

use crate::harness::*;

const WHY: &str = "headers-more is a module of OpenResty's";

fn get_with(server: &Server, target: &str, fields: &str) -> Message {
    server.get_with(target, &format!("Host: localhost\r\n{fields}"))
}

#[test]
fn fields_of_answers() {
    if !only_octroi(WHY) {
        return;
    }
    let up = Upstream::always(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain; charset=utf-8\r\nX-Powered-By: php\r\n\
         X-Debug-One: 1\r\nX-Debug-Two: 2\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nETag: \"x\"\r\n\r\nup",
    );
    let server = Server::before(
        &up,
        "more_set_headers 'X-Http: http' 'X-Level: http';
         server { listen 127.0.0.1:%%PORT%%; more_set_headers 'X-Level: server';
           location / { proxy_pass http://%%UP%%;
             more_set_headers 'X-Level: location' 'X-Uri: $uri' 'Server: mine' 'X-Powered-By:';
             more_clear_headers X-Debug-* ETag;
             more_set_headers -t 'text/plain text/css' 'X-Type: text';
             more_set_headers -t image/png 'X-Type: image';
             more_set_headers -s '404 500' 'X-Status: bad'; more_set_headers -s 200 'X-Other: $arg_empty';
             more_set_headers -a 'Set-Cookie: c=3';
             add_header X-Debug-Own kept; }
           location /set { proxy_pass http://%%UP%%; more_set_headers 'Set-Cookie: d=4' 'Content-Type: text/css'; }
           location /none { more_set_headers -s 404 'X-Status: $status'; more_clear_headers Server; return 404; } }",
    );
    let answer = server.get("/a%20b");
    let all = |name: &str| answer.all(name);
    assert_eq!((all("X-Http"), all("X-Level")), (vec!["http"], vec!["location"]));
    assert_eq!((all("X-Uri"), all("Server")), (vec!["/a b"], vec!["mine"]));
    assert_eq!((all("X-Powered-By").len(), all("ETag").len()), (0, 0));
    assert_eq!(
        (all("X-Debug-One").len(), all("X-Debug-Two").len(), all("X-Debug-Own")),
        (0, 0, vec!["kept"])
    );
    assert_eq!((all("X-Type"), all("X-Status").len(), all("X-Other").len()), (vec!["text"], 0, 0));
    assert_eq!(all("Set-Cookie"), ["a=1", "b=2", "c=3"]);
    assert_eq!(answer.text(), "up");
    let set = server.get("/set");
    assert_eq!((set.all("Set-Cookie"), set.all("Content-Type")), (vec!["d=4"], vec!["text/css"]));
    let none = server.get("/none");
    assert_eq!((none.status(), none.get("X-Status"), none.get("Server")), (404, Some("404"), None));
    assert!(none.get("Date").is_some());
}

#[test]
fn fields_of_requests() {
    if !only_octroi(WHY) {
        return;
    }
    let up = Upstream::echo();
    let server = Server::before(
        &up,
        "server { listen 127.0.0.1:%%PORT%%;
           location / { proxy_pass http://%%UP%%;
             more_set_input_headers 'X-User: $remote_addr' 'X-Long: $arg_long'; more_set_input_headers -r 'X-There: new';
             more_set_input_headers -t text/plain 'X-Text: yes';
             more_clear_input_headers Cookie X-Secret-*;
             proxy_set_header X-Seen $http_x_user; }
           location /host { more_set_input_headers 'Host: other:81'; return 200 '$host $http_host'; }
           location /if { if ($arg_x) { more_set_input_headers 'X-If: yes'; } proxy_pass http://%%UP%%; } }",
    );
    let long = "l".repeat(6_000);
    let fields = "Cookie: a=1\r\nX-User: forged\r\nx-secret-a: 1\r\nX-Secret-B: 2\r\nX-There: old\r\nX-Kept: yes\r\nContent-Type: text/plain; a=b\r\n";
    assert_eq!(get_with(&server, &format!("/?long={long}"), fields).status(), 200);
    let seen = up.last();
    assert_eq!((seen.all("X-User"), seen.all("X-Seen")), (vec!["127.0.0.1"], vec!["127.0.0.1"]));
    assert_eq!(
        (seen.all("Cookie").len(), seen.all("x-secret-a").len(), seen.all("X-Secret-B").len()),
        (0, 0, 0)
    );
    assert_eq!(
        (seen.all("X-There"), seen.all("X-Kept"), seen.all("X-Text")),
        (vec!["new"], vec!["yes"], vec!["yes"])
    );
    assert_eq!(seen.all("X-Long"), [long.as_str()]);
    assert_eq!(get_with(&server, "/", "X-Text: mine\r\n").status(), 200);
    let seen = up.last();
    assert_eq!(
        (seen.all("X-There").len(), seen.all("X-Text"), seen.all("X-Long").len()),
        (0, vec!["mine"], 0)
    );
    assert_eq!(server.get("/if?x=1").status(), 200);
    assert_eq!(up.last().get("X-If"), Some("yes"));
    assert_eq!(server.get("/if").status(), 200);
    assert_eq!(up.last().get("X-If"), None);
}

#[test]
fn a_body_that_came_with_the_head_stays_what_it_is() {
    if !only_octroi(WHY) {
        return;
    }
    let up = Upstream::echo();
    let server = Server::before(
        &up,
        "server { listen 127.0.0.1:%%PORT%%;
           location / { more_set_input_headers 'X-New: 1' 'X-More: 2'; proxy_pass http://%%UP%%; } }",
    );
    let mut client = server.client();
    client.send(
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nfirstPOST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nsecond",
    );
    assert_eq!([client.recv().status(), client.recv().status()], [200, 200]);
    let came: Vec<_> =
        up.requests().iter().map(|request| (request.target().to_owned(), request.text())).collect();
    assert_eq!(came, [("/a".to_owned(), "first".to_owned()), ("/b".to_owned(), "second".to_owned())]);
    assert!(up.requests().iter().all(|request| request.get("X-New") == Some("1")));
}

#[test]
fn traces_go_on_to_upstreams() {
    if !only_octroi("nginx has it in a module of its own") {
        return;
    }
    let up = Upstream::echo();
    let server = Server::before(
        &up,
        "log_format traces '$otel_trace_id $otel_span_id $otel_parent_id $otel_parent_sampled $request_id';
         server { listen 127.0.0.1:%%PORT%%; access_log access.log traces;
           location / { otel_trace_context propagate; proxy_pass http://%%UP%%; }
           location /new { otel_trace_context inject; proxy_pass http://%%UP%%; }
           location /read { otel_trace_context extract; proxy_pass http://%%UP%%; }
           location /off { proxy_pass http://%%UP%%; } }",
    );
    let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let came = format!("00-{trace}-{parent}-01");
    let fields = format!("Traceparent: {came}\r\nTracestate: a=1\r\n");
    let asked = |target: &str, fields: &str| {
        assert_eq!(get_with(&server, target, fields).status(), 200);
        let seen = up.last();
        let parent = seen.all("traceparent").first().map(|value| (*value).to_owned());
        (parent.unwrap_or_default(), seen.get("tracestate").map(str::to_owned))
    };
    let (on, state) = asked("/", &fields);
    assert!(on.starts_with(&format!("00-{trace}-")) && on.ends_with("-01") && on != came, "{on}");
    assert_eq!(state.as_deref(), Some("a=1"));
    let (new, state) = asked("/new", &fields);
    assert!(new.ends_with("-00") && !new.contains(trace) && state.is_none(), "{new}");
    let (begun, _) = asked("/", "");
    assert_eq!(asked("/read", &fields).0, came);
    assert_eq!(asked("/off", &fields).0, came);
    let (anew, state) = asked("/", &format!("traceparent: {came}\r\n{fields}"));
    assert!(!anew.contains(trace) && state.is_none(), "{anew}");
    let lines = server.wait_lines("access.log", 6);
    let words: Vec<Vec<&str>> = lines.iter().map(|line| line.split(' ').collect()).collect();
    assert_eq!((words[0][0], words[0][2], words[0][3]), (trace, parent, "1"));
    assert_eq!(on, format!("00-{trace}-{}-01", words[0][1]));
    assert_eq!((words[2][0], words[2][2]), (words[2][4], "-"));
    assert_eq!(begun, format!("00-{}-{}-00", words[2][0], words[2][1]));
    assert_eq!((words[3][0], words[4][0]), (trace, "-"));
}
