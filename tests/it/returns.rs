//! `return`, error pages, `add_header`, `server_tokens`.

use crate::harness::*;

fn server(conf: &str) -> Server {
    Server::http(&format!("server {{ listen 127.0.0.1:%%PORT%%; {conf} }}"))
}

#[test]
fn conditions_of_a_text() {
    let server = Server::http(
        "server { listen 127.0.0.1:%%PORT%%; location / { return 200 text; } location /no { return 404 text; }
            location /page { error_page 412 = /other; return 200 text; } location /other { return 200 other; }
            location /own { error_page 404 =200 /text; return 404; } location /text { return 200 own; } }",
    );
    let answer = |target: &str, field: &str| {
        let message = server.get_with(target, &format!("Host: a\r\n{field}\r\n"));
        (message.status(), message.text().starts_with("<html>"))
    };
    for (target, field, status) in [
        ("/", "If-Match: \"a\"", 412),
        ("/", "If-Match: *", 200),
        ("/", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT", 412),
        ("/", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", 200),
        ("/", "If-None-Match: \"a\"", 200),
        ("/", "If-None-Match: *", 304),
        ("/no", "If-Match: \"a\"", 404),
        ("/own", "If-Match: \"a\"", 412),
        ("/own", "If-None-Match: *", 304),
    ] {
        assert_eq!(answer(target, field), (status, status == 412), "{target} {field}");
    }
    // Its page is weighed too, and has none of its own.
    assert_eq!(answer("/page", "If-Match: \"a\""), (412, true));
    assert_eq!(server.get("/page").text(), "text");
}

#[test]
fn text_with_a_code() {
    let response = server("return 201 made;").get("/");
    assert_eq!(response.start, "HTTP/1.1 201 Created");
    assert_eq!(response.text(), "made");
    assert_eq!(response.get("content-length"), Some("4"));
    assert_eq!(response.get("content-type"), Some("text/plain"));
}

#[test]
fn default_type_is_the_type_of_the_text() {
    let response = server("default_type application/json; return 200 '{}';").get("/");
    assert_eq!(response.get("content-type"), Some("application/json"));
}

#[test]
fn headers_of_an_answer_in_order() {
    let response = server("return 200 x;").get("/");
    assert_eq!(response.names(), ["Server", "Date", "Content-Type", "Content-Length", "Connection"]);
    assert_eq!(response.get("server"), Some(program().token().as_str()));
    let date = response.get("date").unwrap();
    assert!(date.len() == 29 && date.ends_with(" GMT") && date.as_bytes()[3] == b',', "{date}");
}

#[test]
fn code_alone_has_the_page_of_its_code() {
    let response = server("return 404;").get("/");
    let token = program().token();
    assert_eq!(response.start, "HTTP/1.1 404 Not Found");
    assert_eq!(response.get("content-type"), Some("text/html"));
    assert_eq!(
        response.text(),
        format!(
            "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n<center><h1>404 Not Found</h1></center>\r\n\
             <hr><center>{token}</center>\r\n</body>\r\n</html>\r\n"
        )
    );
}

#[test]
fn reason_phrases() {
    let codes = [
        (400, "Bad Request"),
        (403, "Forbidden"),
        (404, "Not Found"),
        (405, "Not Allowed"),
        (409, "Conflict"),
        (410, "Gone"),
        (411, "Length Required"),
        (413, "Request Entity Too Large"),
        (414, "Request-URI Too Large"),
        (415, "Unsupported Media Type"),
        (416, "Requested Range Not Satisfiable"),
        (429, "Too Many Requests"),
        (500, "Internal Server Error"),
        (501, "Not Implemented"),
        (502, "Bad Gateway"),
        (503, "Service Temporarily Unavailable"),
        (504, "Gateway Time-out"),
    ];
    let conf: String =
        codes.iter().map(|(code, _)| format!("location /{code} {{ return {code}; }}\n")).collect();
    let server = server(&conf);
    for (code, reason) in codes {
        let response = server.get(&format!("/{code}"));
        assert_eq!(response.start, format!("HTTP/1.1 {code} {reason}"));
        assert!(response.text().contains(&format!("<h1>{code} {reason}</h1>")), "{}", response.text());
    }
}

#[test]
fn code_without_a_name() {
    assert_eq!(server("return 299 x;").get("/").start.trim_end(), "HTTP/1.1 299");
}

#[test]
fn no_body_with_204_and_304() {
    for code in [204, 304] {
        let server = server(&format!("return {code};"));
        let text = server.exchange("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert!(text.starts_with(&format!("HTTP/1.1 {code} ")), "{text}");
        assert!(text.ends_with("\r\n\r\n"), "{text}");
        // A 204 must not have a length (RFC 9110, 8.6); that of a 304 would be the page's, which
        // nobody knows here.
        assert!(code != 204 || !text.to_lowercase().contains("content-length"), "{text}");
    }
}

#[test]
fn redirects() {
    let conf = "location /301 { return 301 http://b/x; } location /302 { return 302 /y?$args; } location /307 { return 307 /z; }
                location /308 { return 308 /z; } location /303 { return 303 /z; } location /url { return https://c$request_uri; }";
    let server = server(conf);
    let to = |path: &str| {
        let response = server.get(path);
        (response.status(), response.get("location").unwrap().to_owned())
    };
    let own = format!("http://localhost:{}", server.port());
    assert_eq!(to("/301"), (301, "http://b/x".to_owned()));
    assert_eq!(to("/302?a=b"), (302, format!("{own}/y?a=b")));
    assert_eq!(to("/303"), (303, format!("{own}/z")));
    assert_eq!(to("/307"), (307, format!("{own}/z")));
    assert_eq!(to("/308"), (308, format!("{own}/z")));
    assert_eq!(to("/url?q"), (302, "https://c/url?q".to_owned()));
    assert!(server.get("/301").text().contains("<h1>301 Moved Permanently</h1>"));
}

#[test]
fn close_without_an_answer() {
    let server = server("return 444;");
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.assert_closed();
    assert!(server.wait_lines("access.log", 1)[0].contains("\" 444 0 "));
}

#[test]
fn text_with_variables() {
    let server = server("return 200 '$request_method $host $arg_q $args';");
    assert_eq!(server.get("/?q=1&r=2").text(), "GET localhost 1 q=1&r=2");
}

#[test]
fn return_in_server_comes_before_locations() {
    assert_eq!(server("return 200 server; location / { return 200 location; }").get("/").text(), "server");
}

#[test]
fn answers_any_method() {
    let server = server("return 200 $request_method;");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"] {
        let request =
            format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        assert_eq!(server.ask(request).text(), method);
    }
}

#[test]
fn head_has_the_length_and_no_body() {
    let server = server("return 200 four;");
    let text = server.exchange("HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(text.contains("Content-Length: 4\r\n") && text.ends_with("\r\n\r\n"), "{text}");
}

#[test]
fn server_tokens_off_hides_the_version() {
    let response = server("server_tokens off; return 404;").get("/");
    assert_eq!(response.get("server"), Some(program().name.as_str()));
    assert!(response.text().contains(&format!("<center>{}</center>", program().name)), "{}", response.text());
}

#[test]
fn added_headers() {
    let response =
        server("add_header X-A one; add_header X-B $request_method; add_header X-C ''; return 200 x;")
            .get("/");
    assert_eq!(response.get("x-a"), Some("one"));
    assert_eq!(response.get("x-b"), Some("GET"));
    assert_eq!(response.get("x-c"), None);
}

#[test]
fn added_headers_repeat() {
    let response = server("add_header X-A one; add_header X-A two; return 200 x;").get("/");
    assert_eq!(response.all("x-a"), ["one", "two"]);
}

#[test]
fn added_headers_only_with_good_codes_unless_always() {
    let conf = "add_header X-Good good; add_header X-Always always always;
                location /200 { return 200; } location /204 { return 204; } location /301 { return 301 /; } location /308 { return 308 /; }
                location /404 { return 404; } location /500 { return 500; }";
    let server = server(conf);
    for (path, good) in
        [("/200", true), ("/204", true), ("/301", true), ("/308", true), ("/404", false), ("/500", false)]
    {
        let response = server.get(path);
        assert_eq!(response.get("x-good").is_some(), good, "{path}");
        assert_eq!(response.get("x-always"), Some("always"), "{path}");
    }
}

#[test]
fn added_headers_are_inherited_all_or_none() {
    let conf = "add_header X-Server server;
                location /none { return 200 x; }
                location /own { add_header X-Own own; return 200 x; location /own/inner { return 200 y; } }";
    let server = server(conf);
    assert_eq!(server.get("/none").get("x-server"), Some("server"));
    let own = server.get("/own");
    assert_eq!((own.get("x-server"), own.get("x-own")), (None, Some("own")));
    assert_eq!(server.get("/own/inner").get("x-own"), Some("own"));
}

#[test]
fn added_headers_on_the_servers_own_errors() {
    let server = server("add_header X-Always yes always; location / { return 204; }");
    // Refused before a location is chosen: the server's own headers are still there.
    assert_eq!(server.get("/%00").get("x-always"), Some("yes"));
}
