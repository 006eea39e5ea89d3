//! The variables of a request.

use crate::harness::*;

/// What a variable is for a request.
fn values(template: &str, request: &str) -> String {
    let conf = format!(
        "server {{ listen 127.0.0.1:%%PORT%%; server_name name.here; root %%DIR%%/www; location /loc/ {{ return 200 \"{template}\"; }} location / {{ return 200 \"{template}\"; }} }}"
    );
    let server = Server::http(&conf);
    let text = server.ask(request).text();
    text.replace(&server.path(""), "DIR/").replace(&server.port().to_string(), "PORT")
}

fn get(template: &str, target: &str) -> String {
    values(template, &format!("GET {target} HTTP/1.1\r\nHost: Some.Host:81\r\nConnection: close\r\n\r\n"))
}

#[test]
fn of_the_request_line() {
    assert_eq!(
        get(
            "$request|$request_method|$request_uri|$uri|$document_uri|$args|$query_string|$is_args",
            "/a%20b?x=1&y"
        ),
        "GET /a%20b?x=1&y HTTP/1.1|GET|/a%20b?x=1&y|/a b|/a b|x=1&y|x=1&y|?"
    );
    assert_eq!(get("[$args][$is_args]", "/a"), "[][]");
    assert_eq!(get("[$args][$is_args]", "/a?"), "[][]");
    assert_eq!(get("$server_protocol $scheme [$https]", "/"), "HTTP/1.1 http []");
}

#[test]
fn of_the_connection() {
    assert_eq!(
        get("$remote_addr $server_addr $server_port $server_name", "/"),
        "127.0.0.1 127.0.0.1 PORT name.here"
    );
    let port: u16 = get("$remote_port", "/").parse().unwrap();
    assert!(port > 1024);
    assert_eq!(get("$connection_requests", "/"), "1");
    assert!(get("$connection", "/").parse::<u64>().unwrap() > 0);
    assert_eq!(get("$binary_remote_addr", "/"), "\x7f\0\0\x01");
}

#[test]
fn host() {
    assert_eq!(get("$host $http_host", "/"), "some.host Some.Host:81");
    assert_eq!(values("$host", "GET / HTTP/1.0\r\n\r\n"), "name.here");
}

#[test]
fn arguments() {
    assert_eq!(get("$arg_a|$arg_b|$arg_c|$arg_d", "/?a=1&B=2&c&d=%20+&a=3"), "1|2||%20+");
}

#[test]
fn cookies() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\nCookie: one=1; two=a=b;three=3\r\nConnection: close\r\n\r\n";
    assert_eq!(
        values("$cookie_one|$cookie_two|$cookie_three|$cookie_none|$http_cookie", request),
        "1|a=b|3||one=1; two=a=b;three=3"
    );
}

#[test]
fn cookies_of_several_lines() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\nCookie: one=1\r\nCookie: two=2\r\nConnection: close\r\n\r\n";
    assert_eq!(values("$cookie_two|$http_cookie", request), "2|one=1; two=2");
}

#[test]
fn header_fields() {
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: text/x\r\nContent-Length: 3\r\nX-Some-Field: v\r\nUser-Agent: u\r\nReferer: r\r\nConnection: close\r\n\r\nabc";
    assert_eq!(
        values(
            "$content_type|$content_length|$http_content_type|$http_x_some_field|$http_user_agent|$http_referer|$http_connection",
            request
        ),
        "text/x|3|text/x|v|u|r|close"
    );
}

#[test]
fn of_files() {
    assert_eq!(get("$document_root|$request_filename", "/a/b"), "DIR/www|DIR/www/a/b");
}

#[test]
fn of_the_server() {
    assert_eq!(
        get("$nginx_version", "/"),
        if program().is_octroi() { "1.31.5".to_owned() } else { program().version.clone() }
    );
    assert_eq!(
        get("$hostname", "/"),
        std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_lowercase()
    );
    assert!(get("$pid", "/").parse::<u32>().unwrap() > 1);
}

#[test]
fn of_the_moment() {
    assert!(get("$msec", "/").parse::<f64>().unwrap() > 1.7e9);
    assert_eq!(get("$time_iso8601", "/").len(), 25);
    assert_eq!(get("$time_local", "/").len(), 26);
    assert_eq!(get("$request_time", "/").len(), 5);
    assert_eq!(get("$status", "/"), "200");
}

#[test]
fn identifier_of_a_request() {
    let template = "$request_id";
    let (one, two) = (get(template, "/"), get(template, "/"));
    assert!(
        one.len() == 32 && one.chars().all(|c| c.is_ascii_hexdigit() && !c.is_ascii_uppercase()),
        "{one}"
    );
    assert_ne!(one, two);
    // The same within a request.
    let pair = get("$request_id $request_id", "/");
    assert_eq!(pair[..32], pair[33..]);
}

#[test]
fn length_of_a_request() {
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc";
    let conf = "log_format l $request_length; server { listen 127.0.0.1:%%PORT%%; access_log %%DIR%%/l.log l; location / { proxy_pass http://%%UP%%; } }";
    let up = Upstream::ok("");
    let server = Server::before(&up, conf);
    server.ask(request);
    assert_eq!(server.wait_lines("l.log", 1), [request.len().to_string()]);
}

#[test]
fn port_of_the_request() {
    if !since("1.29.3", "$request_port") {
        return;
    }
    assert_eq!(get("$request_port|$is_request_port", "/"), "81|:");
}

#[test]
fn body_of_the_request() {
    let up = Upstream::ok("");
    let conf = "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; proxy_set_header X-Body $request_body; } }";
    let server = Server::before(&up, conf);
    server.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc");
    assert_eq!(up.last().get("x-body"), Some("abc"));
}

#[test]
fn completion() {
    let up = Upstream::new(|origin| drop((origin.request(), origin.gone())));
    let conf = "log_format c '$request_completion.'; server { listen 127.0.0.1:%%PORT%%; access_log %%DIR%%/c.log c; location / { return 200 x; } location /up { proxy_pass http://%%UP%%; } }";
    let server = Server::before(&up, conf);
    server.get("/");
    let mut client = server.client();
    client.send("GET /up HTTP/1.1\r\nHost: a\r\n\r\n");
    up.wait_requests(1);
    drop(client);
    assert_eq!(server.wait_lines("c.log", 2), ["OK.", "."]);
}

#[test]
fn of_the_tcp_connection() {
    let text = get("$tcpinfo_rtt $tcpinfo_rttvar $tcpinfo_snd_cwnd $tcpinfo_rcv_space", "/");
    assert!(text.split(' ').all(|n| n.parse::<u64>().is_ok()), "{text}");
}
