//! What old browsers get, and connections that end early or late: `msie_padding`, `msie_refresh`,
//! `keepalive_disable`, `keepalive_min_timeout`.

use crate::harness::*;

const MSIE: &str = "Host: a\r\nUser-Agent: Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)\r\n";
const CHROME: &str = "Host: a\r\nUser-Agent: AppleWebKit/537 (KHTML, like Gecko) Chrome/120 Safari/537\r\n";
const SAFARI: &str = "Host: a\r\nUser-Agent: (Intel Mac OS X) AppleWebKit (like Gecko) Safari/605\r\n";

fn server(conf: &str) -> Server {
    Server::http(&format!("server {{ listen 127.0.0.1:%%PORT%%; {conf} }}"))
}

#[test]
fn error_pages_are_padded_for_msie_and_chrome() {
    let server = server(
        "location /on { return 403; } location /off { msie_padding off; return 403; }
         location /moved { return 301 there; } location /text { return 403 text; }",
    );
    for (headers, path, long) in [
        (MSIE, "/on", true),
        (CHROME, "/on", true),
        ("Host: a\r\n", "/on", false),
        (SAFARI, "/on", false),
        (MSIE, "/off", false),
        (MSIE, "/moved", false),
        (MSIE, "/text", false),
    ] {
        let page = server.get_with(path, headers);
        assert_eq!(page.body.len() > 512, long, "{path} {headers}");
        assert_eq!(page.get("content-length"), Some(page.body.len().to_string().as_str()));
    }
    let old = server.exchange(format!("GET /on HTTP/1.0\r\n{MSIE}\r\n"));
    assert!(old.len() > 512, "{old}");
}

#[test]
fn msie_is_refreshed_instead_of_redirected() {
    let server = server(
        "msie_refresh on;
         location / { return 301 text; }
         location /space { return 302 'sp ace\"'; }
         location /other { return 307 text; }
         location /page { error_page 403 = http://else/where; return 403; }
         location /off { msie_refresh off; return 301 text; }",
    );
    for (path, url) in [("/", "text"), ("/space", "sp%20ace%22"), ("/page", "http://else/where")] {
        let page = server.get_with(path, MSIE);
        assert_eq!((page.status(), page.get("location")), (200, None), "{path}");
        assert_eq!(page.get("content-type"), Some("text/html"));
        assert!(page.text().contains(&format!("\"Refresh\" content=\"0; URL={url}\"")), "{}", page.text());
    }
    for (path, headers, status) in
        [("/other", MSIE, 307), ("/off", MSIE, 301), ("/", CHROME, 301), ("/page", "Host: a\r\n", 302)]
    {
        assert_eq!(server.get_with(path, headers).status(), status, "{path}");
    }
}

fn connection_after(server: &Server, method: &str, path: &str, headers: &str) -> String {
    let body = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
    let mut client = server.client();
    client.send(format!("{method} {path} HTTP/1.1\r\n{headers}{body}\r\n"));
    client.recv().get("connection").unwrap_or_default().to_owned()
}

#[test]
fn browsers_whose_connections_end() {
    let server = server(
        "location / { return 200 a; } location /safari { keepalive_disable safari; return 200 a; }
         location /none { keepalive_disable none; return 200 a; }
         location /both { keepalive_disable msie6 safari; return 200 a; }",
    );
    for (method, path, headers, want) in [
        ("GET", "/", MSIE, "keep-alive"),
        ("POST", "/", MSIE, "close"),
        ("POST", "/none", MSIE, "keep-alive"),
        ("POST", "/safari", MSIE, "keep-alive"),
        ("POST", "/both", MSIE, "close"),
        ("POST", "/", "Host: a\r\n", "keep-alive"),
        ("GET", "/", SAFARI, "keep-alive"),
        ("GET", "/safari", SAFARI, "close"),
        ("GET", "/both", SAFARI, "close"),
        ("GET", "/safari", CHROME, "keep-alive"),
    ] {
        assert_eq!(connection_after(&server, method, path, headers), want, "{method} {path} {headers}");
    }
}

#[test]
fn the_location_says_whether_the_connection_stays() {
    let server = server(
        "keepalive_timeout 0; error_page 404 /stays;
         location / { return 404; }
         location /stays { keepalive_timeout 10; return 200 a; }
         location /one { keepalive_timeout 10; keepalive_requests 1; return 200 a; }",
    );
    for (path, want) in [("/", "close"), ("/stays", "keep-alive"), ("/one", "close")] {
        assert_eq!(connection_after(&server, "GET", path, "Host: a\r\n"), want, "{path}");
    }
}

#[test]
fn an_idle_connection_is_spared_when_the_worker_ends() {
    if !since("1.27.4", "keepalive_min_timeout") {
        return;
    }
    let mut server =
        server("location / { return 200 a; } location /min { keepalive_min_timeout 60; return 200 b; }");
    let (mut spared, mut other) = (server.client(), server.client());
    for (client, path) in [(&mut spared, "/min"), (&mut other, "/")] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(client.recv().get("connection"), Some("keep-alive"));
    }
    server.signal("QUIT");
    other.assert_closed();
    spared.send("GET /min HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(spared.recv().get("connection"), Some("close"));
    spared.assert_closed();
    assert_eq!(server.wait_exit(), Some(0));
}

#[test]
fn keepalive_disable_refuses_unknown_browsers() {
    let text = "server { listen 127.0.0.1:%%PORT%%; keepalive_disable msie6 netscape; }";
    assert!(Setup::http(text).refused().contains("invalid value \"netscape\""));
}
