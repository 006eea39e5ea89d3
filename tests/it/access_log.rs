//! `access_log` and `log_format`.

use crate::harness::*;

/// The lines that a format writes for these requests.
fn lines(format: &str, requests: &[&str]) -> Vec<String> {
    let conf = format!(
        "log_format f {format}; server {{ listen 127.0.0.1:%%PORT%%; access_log %%DIR%%/f.log f; location / {{ return 200 ok; }} }}"
    );
    let server = Server::http(&conf);
    for request in requests {
        server.ask(request);
    }
    server.wait_lines("f.log", requests.len())
}

fn line(format: &str, request: &str) -> String {
    lines(format, &[request]).remove(0)
}

const GET: &str = "GET /p?q=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[test]
fn combined() {
    let server = Server::http("server { listen 127.0.0.1:%%PORT%%; return 200 ok; }");
    server.get_with("/p?q", "Host: a\r\nReferer: http://b/\r\nUser-Agent: test \"1\"\r\n");
    server.get("/");
    let lines = server.wait_lines("access.log", 2);
    let (start, end) = lines[0].split_once('[').unwrap();
    assert_eq!(start, "127.0.0.1 - - ");
    let (time, rest) = end.split_once("] ").unwrap();
    assert!(time.len() == 26 && time.as_bytes()[2] == b'/' && time.as_bytes()[21..22] != *b" ", "{time}");
    assert_eq!(rest, "\"GET /p?q HTTP/1.1\" 200 2 \"http://b/\" \"test \\x221\\x22\"");
    assert!(lines[1].ends_with("\"GET / HTTP/1.1\" 200 2 \"-\" \"-\""), "{}", lines[1]);
}

#[test]
fn user_of_basic_authentication() {
    let server = Server::http("server { listen 127.0.0.1:%%PORT%%; return 200 ok; }");
    server.get_with("/", "Host: a\r\nAuthorization: Basic YW5uYTpzZWNyZXQ=\r\n");
    assert!(server.wait_lines("access.log", 1)[0].starts_with("127.0.0.1 - anna ["));
}

#[test]
fn line_is_there_before_the_connection_closes() {
    let server = Server::http("server { listen 127.0.0.1:%%PORT%%; return 200 ok; }");
    for count in 1..=20 {
        let mut client = server.client();
        client.send(GET);
        client.rest();
        assert_eq!(server.access_log().lines().count(), count);
    }
}

#[test]
fn variables_of_a_format() {
    let format = "'$request_method|$uri|$args|$request_uri|$server_protocol|$status|$body_bytes_sent|$http_x_a|$request_length'";
    assert_eq!(line(format, GET), format!("GET|/p|q=1|/p?q=1|HTTP/1.1|200|2|-|{}", GET.len()));
}

#[test]
fn pieces_of_a_format_are_joined() {
    assert_eq!(line("'$uri' ' and ' \"$status\"", GET), "/p and 200");
}

#[test]
fn default_escape() {
    let request = b"GET /%01%22?\\ HTTP/1.1\r\nHost: a\r\nX-A: \xc3\xa9\"\\\tz\r\nConnection: close\r\n\r\n";
    let conf = "log_format f '$uri|$args|$http_x_a|$http_none'; server { listen 127.0.0.1:%%PORT%%; access_log %%DIR%%/f.log f; return 204; }";
    let server = Server::http(conf);
    server.ask(request);
    assert_eq!(server.wait_lines("f.log", 1)[0], r"/\x01\x22|\x5C|\xC3\xA9\x22\x5C\x09z|-");
}

#[test]
fn json_escape() {
    let request =
        b"GET /%01%22%0A%08 HTTP/1.1\r\nHost: a\r\nX-A: \xc3\xa9\"\\\tz\r\nConnection: close\r\n\r\n";
    let conf = "log_format f escape=json '{\"u\":\"$uri\",\"a\":\"$http_x_a\",\"n\":\"$http_none\"}'; server { listen 127.0.0.1:%%PORT%%; access_log %%DIR%%/f.log f; return 204; }";
    let server = Server::http(conf);
    server.ask(request);
    assert_eq!(server.wait_lines("f.log", 1)[0], r#"{"u":"/\u0001\"\n\b","a":"é\"\\\tz","n":""}"#);
}

#[test]
fn no_escape() {
    assert_eq!(
        line(
            "escape=none '$http_x_a|$http_none'",
            "GET / HTTP/1.1\r\nHost: a\r\nX-A: \"\\\r\nConnection: close\r\n\r\n"
        ),
        "\"\\|"
    );
}

#[test]
fn times() {
    let text = line("'$time_iso8601|$msec|$request_time|$time_local'", GET);
    let parts: Vec<&str> = text.split('|').collect();
    assert!(parts[0].len() == 25 && parts[0].as_bytes()[10] == b'T', "{text}");
    let (seconds, millis) = parts[1].split_once('.').unwrap();
    assert!(seconds.parse::<u64>().unwrap() > 1_700_000_000 && millis.len() == 3, "{text}");
    assert!(parts[2].starts_with("0.") && parts[2].len() == 5, "{text}");
    assert!(parts[3].ends_with("+0000") || parts[3].len() == 26, "{text}");
}

#[test]
fn bytes_and_connection() {
    let conf = "log_format f '$bytes_sent|$body_bytes_sent|$connection_requests|$pipe|$connection'; server { listen 127.0.0.1:%%PORT%%; access_log %%DIR%%/f.log f; return 200 12345; }";
    let server = Server::http(conf);
    let mut client = server.client();
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send(get);
    let response = client.recv();
    client.send(get);
    client.recv();
    client.send(get.repeat(2));
    client.recv();
    client.recv();
    let lines = server.wait_lines("f.log", 4);
    let number = lines[0].rsplit('|').next().unwrap().to_owned();
    let size = response.head.len() + 5;
    for (count, line) in lines.iter().enumerate() {
        // The last but one was read together with the one behind it.
        let pipe = if count == 3 { "p" } else { "." };
        assert_eq!(*line, format!("{size}|5|{}|{pipe}|{number}", count + 1));
    }
}

#[test]
fn off() {
    let conf = "server { listen 127.0.0.1:%%PORT%%; location / { return 204; } location /quiet { access_log off; return 204; } }";
    let server = Server::http(conf);
    server.get("/quiet");
    server.get("/loud");
    let lines = server.wait_lines("access.log", 1);
    assert!(lines.len() == 1 && lines[0].contains("/loud"));
}

#[test]
fn several_logs_and_inheritance() {
    let conf = "log_format short $uri; server { listen 127.0.0.1:%%PORT%%; access_log %%DIR%%/one.log short; access_log %%DIR%%/two.log short;
        location /a { return 204; } location /b { access_log %%DIR%%/three.log short; return 204; } }";
    let server = Server::http(conf);
    server.get("/a");
    server.get("/b");
    assert_eq!(server.wait_lines("three.log", 1), ["/b"]);
    assert_eq!((server.read("one.log"), server.read("two.log")), ("/a\n".to_owned(), "/a\n".to_owned()));
    assert_eq!(server.access_log(), "");
}

#[test]
fn conditions() {
    let conf = "log_format short $uri; server { listen 127.0.0.1:%%PORT%%; access_log %%DIR%%/f.log short if=$arg_log; return 204; }";
    let server = Server::http(conf);
    for path in ["/a", "/b?log=", "/c?log=0", "/d?log=1", "/e?log=00"] {
        server.get(path);
    }
    assert_eq!(server.wait_lines("f.log", 2), ["/d", "/e"]);
}

#[test]
fn buffer_holds_lines_back_until_it_is_full() {
    let conf = "log_format long '$uri 0123456789012345678901234567890123456789012345678901234567890123456789'; server { listen 127.0.0.1:%%PORT%%; access_log %%DIR%%/f.log long buffer=1k; return 204; }";
    let server = Server::http(conf);
    for _ in 0..5 {
        server.get("/a");
    }
    assert_eq!(server.read("f.log"), "");
    for _ in 0..15 {
        server.get("/a");
    }
    let text = server.read("f.log");
    assert!(!text.is_empty() && text.ends_with('\n'), "{text}");
}

#[test]
fn buffer_is_flushed_in_time() {
    let conf = "server { listen 127.0.0.1:%%PORT%%; access_log %%DIR%%/f.log combined buffer=64k flush=1s; return 204; }";
    let server = Server::http(conf);
    server.get("/a");
    assert_eq!(server.read("f.log"), "");
    server.wait_lines("f.log", 1);
}

#[test]
fn buffer_is_flushed_when_logs_are_reopened() {
    let server = Server::http(
        "server { listen 127.0.0.1:%%PORT%%; access_log %%DIR%%/f.log combined buffer=64k; return 204; }",
    );
    server.get("/a");
    server.signal("USR1");
    server.wait_lines("f.log", 1);
}

#[test]
fn upstream_variables() {
    let up = Upstream::ok("hello");
    let conf = "log_format u '$upstream_addr|$upstream_status|$upstream_response_length|$upstream_bytes_received|$upstream_http_x_a|$upstream_response_time|$upstream_connect_time|$upstream_header_time';
        server { listen 127.0.0.1:%%PORT%%; access_log %%DIR%%/u.log u; location / { proxy_pass http://%%UP%%; } location /own { return 204; } }";
    let server = Server::before(&up, conf);
    server.get("/");
    server.get("/own");
    let lines = server.wait_lines("u.log", 2);
    let parts: Vec<&str> = lines[0].split('|').collect();
    let size = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".len();
    assert_eq!(parts[..5], [up.address(), "200", "5", &size.to_string(), "-"]);
    for time in &parts[5..] {
        assert!(time.len() == 5 && time.starts_with("0."), "{}", lines[0]);
    }
    assert_eq!(lines[1], "-|-|-|-|-|-|-|-");
}

#[test]
fn upstream_variables_of_several_tries() {
    let dead = Port::reserve();
    let up = Upstream::ok("hello");
    let conf = "log_format u '$upstream_addr|$upstream_status|$upstream_response_length|$upstream_connect_time|$upstream_header_time'; upstream g { server %%DEAD%%; server %%UP%%; }
        server { listen 127.0.0.1:%%PORT%%; access_log %%DIR%%/u.log u; location / { proxy_pass http://g; } }";
    let server = Setup::http(conf).put("UP", up.address()).put("DEAD", dead.address()).start();
    server.get("/");
    let lines = server.wait_lines("u.log", 1);
    let parts: Vec<&str> = lines[0].split('|').collect();
    assert_eq!(parts[..3], [&format!("{}, {}", dead.address(), up.address()), "502, 200", "0, 5"]);
    assert!(parts[3].starts_with("-, 0.") && parts[4].starts_with("-, 0."), "{}", lines[0]);
}

#[test]
fn an_if_and_a_limit_except_have_logs_of_their_own() {
    let server = Server::http(
        "log_format o 'outer $uri'; log_format i 'inner $uri'; access_log %%DIR%%/l.log o;
         server { listen 127.0.0.1:%%PORT%%; root %%DIR%%;
            location /if/ { if ($arg_a) { access_log %%DIR%%/l.log i; } if ($arg_b) { access_log off; } if ($arg_c) { set $c 1; } }
            location /cond/ { if ($arg_a) { access_log %%DIR%%/l.log i if=$arg_d; } }
            location /limit/ { limit_except GET { access_log %%DIR%%/l.log i; deny all; } } }",
    );
    for target in ["/if/1", "/if/2?a=1", "/if/3?a=1&b=1", "/if/4?a=1&c=1", "/if/5?b=1&c=1"] {
        assert_eq!(server.get(target).status(), 404);
    }
    server.get("/cond/1?a=1");
    server.get("/cond/2?a=1&d=1");
    server.get("/limit/1");
    assert_eq!(
        server
            .ask("POST /limit/2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            .status(),
        403
    );
    let lines = [
        "outer /if/1",
        "inner /if/2",
        "outer /if/4",
        "outer /if/5",
        "inner /cond/2",
        "outer /limit/1",
        "inner /limit/2",
    ];
    assert_eq!(server.wait_lines("l.log", lines.len()), lines);
}

#[test]
fn upstream_field_is_a_variable() {
    let up = Upstream::always(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Some-Thing: v\r\nSet-Cookie: a=1; path=/\r\n\r\n",
    );
    let conf = "log_format u '$upstream_http_x_some_thing|$upstream_cookie_a|$sent_http_x_some_thing|$sent_http_content_length'; server { listen 127.0.0.1:%%PORT%%; access_log %%DIR%%/u.log u; location / { proxy_pass http://%%UP%%; } }";
    let server = Server::before(&up, conf);
    server.get("/");
    assert_eq!(server.wait_lines("u.log", 1), ["v|1|v|0"]);
}

#[test]
fn lines_of_many_clients_stay_whole() {
    let server = Server::http(
        "log_format f '$uri-$uri-$uri'; server { listen 127.0.0.1:%%PORT%%; access_log %%DIR%%/f.log f; return 204; }",
    );
    let mut clients: Vec<Wire> = (0..20).map(|_| server.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(20));
    }
    for client in &mut clients {
        (0..20).for_each(|_| assert_eq!(client.recv().status(), 204));
    }
    for line in server.wait_lines("f.log", 400) {
        let uri = line.split('-').next().unwrap();
        assert_eq!(line, format!("{uri}-{uri}-{uri}"));
    }
}
