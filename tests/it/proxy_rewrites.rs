//! What of an upstream's answer is rewritten, replaced or led elsewhere.

use crate::harness::*;

/// The answer to a GET of `/` when the upstream's has these lines, with directives in the location.
fn got(directives: &str, lines: &str) -> Message {
    let up = Upstream::always(format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{lines}\r\n"));
    let conf = format!(
        "server {{ listen 127.0.0.1:%%PORT%%; server_name localhost;
         location / {{ proxy_pass http://%%UP%%; {directives} }} }}"
    );
    let server = Server::before(&up, &conf);
    server.get("/?a=b")
}

/// One field of it.
fn field(directives: &str, name: &str, value: &str) -> String {
    let message = got(directives, &format!("{name}: {value}\r\n"));
    message.get(name).unwrap_or_default().to_owned()
}

#[test]
fn redirect_by_prefix() {
    let location = |directives: &str, value: &str| field(directives, "Location", value);
    let two = "proxy_redirect http://a/x/ http://b/; proxy_redirect http://a/ https://c/$arg_a/;";
    assert_eq!(location(two, "http://a/x/y"), "http://b/y");
    assert_eq!(location(two, "http://a/y?q"), "https://c/b/y?q");
    assert_eq!(location(two, "http://d/y"), "http://d/y");
    assert_eq!(location("proxy_redirect off;", "http://a/"), "http://a/");
    assert_eq!(
        location("proxy_redirect http://$arg_a/ http://$host.$arg_a/;", "http://b/y"),
        "http://localhost.b/y"
    );
}

#[test]
fn redirect_by_regex() {
    let location = |directives: &str, value: &str| field(directives, "Location", value);
    let regex = "proxy_redirect ~^http://([a-z]+)\\.in/(?<rest>.*)$ https://$1.example/$rest; proxy_redirect ~*^HTTP://X(/.*)$ https://x$1;";
    assert_eq!(location(regex, "http://shop.in/a?b"), "https://shop.example/a?b");
    assert_eq!(location(regex, "http://SHOP.in/a"), "http://SHOP.in/a");
    assert_eq!(location(regex, "http://x/a"), "https://x/a");
}

#[test]
fn rewritten_path_becomes_absolute() {
    let up = Upstream::always("HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://in/a\r\n\r\n");
    let conf = "server { listen 127.0.0.1:%%PORT%%; server_name localhost;
        location / { proxy_pass http://%%UP%%; proxy_redirect http://in/ /out/; }
        location /relative { absolute_redirect off; proxy_pass http://%%UP%%; proxy_redirect http://in/ /out/; } }";
    let server = Server::before(&up, conf);
    let absolute = format!("http://localhost:{}/out/a", server.port());
    assert_eq!(server.get("/").get("location"), Some(absolute.as_str()));
    assert_eq!(server.get("/relative").get("location"), Some("/out/a"));
}

#[test]
fn refresh_is_rewritten_behind_its_url() {
    let directives = "proxy_redirect http://a/ /b/;";
    assert_eq!(field(directives, "Refresh", "5; URL=http://a/x"), "5; URL=/b/x");
    assert_eq!(field(directives, "Refresh", "http://a/x"), "http://a/x");
    assert_eq!(field("proxy_redirect ~x$ y;", "Refresh", "5; url=http://a/x"), "5; url=y");
}

#[test]
fn redirect_lines_are_checked() {
    let wrong = |lines: &str| {
        let conf = format!("server {{ listen 127.0.0.1:%%PORT%%; location / {{ {lines} }} }}");
        Setup::http(&conf).refused()
    };
    for (lines, want) in [
        ("proxy_pass http://127.0.0.1:1; proxy_redirect sideways;", "invalid parameter \"sideways\""),
        (
            "proxy_pass http://127.0.0.1:1; proxy_redirect off; proxy_redirect a b;",
            "\"proxy_redirect\" directive is duplicate",
        ),
        (
            "proxy_pass http://127.0.0.1:1; proxy_redirect a b; proxy_redirect off;",
            "\"proxy_redirect\" directive is duplicate",
        ),
        (
            "proxy_redirect default; proxy_pass http://127.0.0.1:1;",
            "\"proxy_redirect default\" should be placed after the \"proxy_pass\" directive",
        ),
        (
            "proxy_pass http://$host; proxy_redirect default;",
            "\"proxy_redirect default\" cannot be used with \"proxy_pass\" directive with variables",
        ),
        (
            "proxy_pass http://127.0.0.1:1; proxy_cookie_path off; proxy_cookie_path a b;",
            "\"proxy_cookie_path\" directive is duplicate",
        ),
        ("proxy_pass http://127.0.0.1:1; proxy_cookie_flags a;", "invalid parameter \"a\""),
        ("proxy_pass http://127.0.0.1:1; proxy_ignore_headers X-Other;", "invalid value \"X-Other\""),
    ] {
        assert!(wrong(lines).contains(want), "{lines}: {}", wrong(lines));
    }
}

#[test]
fn cookie_domain() {
    let cookie = |directives: &str, value: &str| field(directives, "Set-Cookie", value);
    let names = "proxy_cookie_domain in.example .out.example; proxy_cookie_domain ~^(.+)\\.local$ $1.$host;";
    assert_eq!(cookie(names, "a=b; Domain=IN.example; Path=/"), "a=b; Domain=out.example; Path=/");
    assert_eq!(cookie(names, "a=b;domain=.in.example"), "a=b; domain=.out.example");
    assert_eq!(cookie(names, "a=b; Domain=shop.LOCAL"), "a=b; Domain=shop.localhost");
    assert_eq!(cookie(names, "a=b;Domain=sub.in.example"), "a=b;Domain=sub.in.example");
    assert_eq!(cookie("proxy_cookie_domain off;", "a=b; Domain=in.example"), "a=b; Domain=in.example");
}

#[test]
fn cookie_path() {
    let cookie = |directives: &str, value: &str| field(directives, "Set-Cookie", value);
    let paths = "proxy_cookie_path /in/ /out/; proxy_cookie_path ~^/v([0-9])/ /$1/; proxy_cookie_path ~*^/caseless(.*) $1;";
    assert_eq!(cookie(paths, "a=b; Path=/in/x; Secure"), "a=b; Path=/out/x; Secure");
    assert_eq!(cookie(paths, "a=b; Path=/v2/x"), "a=b; Path=/2/");
    assert_eq!(cookie(paths, "a=b; path=/CASELESS/x"), "a=b; path=/x");
    assert_eq!(cookie(paths, "a; Path=/in/x"), "a; Path=/in/x");
}

#[test]
fn cookie_flags() {
    let cookie = |directives: &str, value: &str| field(directives, "Set-Cookie", value);
    let flags = "proxy_cookie_flags one httponly; proxy_cookie_flags ~^sid nosecure samesite=strict; proxy_cookie_flags $arg_a secure;";
    assert_eq!(cookie(flags, "ONE=1"), "ONE=1; HttpOnly");
    assert_eq!(cookie(flags, "SID2=1; Secure; SameSite=Lax"), "SID2=1; SameSite=Strict");
    assert_eq!(cookie(flags, "b=1; Path=/"), "b=1; Path=/; Secure");
    assert_eq!(cookie(flags, "c=1;Secure"), "c=1;Secure");
}

#[test]
fn every_cookie_is_rewritten() {
    let message = got(
        "proxy_cookie_path / /x/;",
        "Set-Cookie: a=1; Path=/\r\nX-Between: v\r\nSet-Cookie: b=2\r\nSet-Cookie: c=3; Path=/c\r\n",
    );
    assert_eq!(message.all("set-cookie"), ["a=1; Path=/x/", "b=2", "c=3; Path=/x/c"]);
}

#[test]
fn errors_are_intercepted() {
    let up = Upstream::new(|origin| {
        while let Some(request) = origin.request() {
            let status = request.target().trim_start_matches('/').to_owned();
            origin.send(format!(
                "HTTP/1.1 {status} X\r\nContent-Length: 8\r\nX-Up: v\r\nWWW-Authenticate: a\r\nWWW-Authenticate: b\r\n\r\nupstream"
            ));
        }
    });
    let conf = "server { listen 127.0.0.1:%%PORT%%; error_page 404 500 =200 /page; error_page 401 /page; error_page 302 @named;
        location / { proxy_pass http://%%UP%%; proxy_intercept_errors on; }
        location = /page { return 200 page; } location @named { return 202 named; } }";
    let server = Server::before(&up, conf);
    let message = server.get("/500");
    assert_eq!((message.answer(), message.get("x-up")), ((200, "page".to_owned()), None));
    assert_eq!(server.get("/404").answer(), (200, "page".to_owned()));
    let message = server.get("/401");
    assert_eq!(
        (message.answer(), message.all("www-authenticate")),
        ((401, "page".to_owned()), vec!["a", "b"])
    );
    assert_eq!(server.get("/302").text(), "named");
    // A status without a page is the upstream's own.
    let message = server.get("/503");
    assert_eq!((message.answer(), message.get("x-up")), ((503, "upstream".to_owned()), Some("v")));
    assert_eq!(server.get("/200").text(), "upstream");
}

#[test]
fn intercepted_page_may_be_proxied() {
    let up = Upstream::new(|origin| {
        while let Some(request) = origin.request() {
            let (status, body) = if request.target() == "/page" { (200, "page") } else { (500, "fail") };
            origin.send(format!("HTTP/1.1 {status} X\r\nContent-Length: 4\r\n\r\n{body}"));
        }
    });
    let conf = "server { listen 127.0.0.1:%%PORT%%; error_page 500 /page;
        location / { proxy_pass http://%%UP%%; proxy_intercept_errors on; } }";
    let server = Server::before(&up, conf);
    let message = server.ask("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(message.answer(), (500, "page".to_owned()));
    assert_eq!(up.last().start, "GET /page HTTP/1.1");
}

const ACCEL: &str = "server { listen 127.0.0.1:%%PORT%%;
    location / { proxy_pass http://%%UP%%; proxy_cookie_path / /x/; }
    location /ignored { proxy_pass http://%%UP%%; proxy_ignore_headers X-Accel-Redirect; proxy_pass_header X-Accel-Redirect; }
    location /in/ { internal; return 200 \"$request_method $uri $args\"; }
    location @named { return 203 \"$request_method $uri\"; } }";

#[test]
fn accel_redirect_leads_elsewhere() {
    let up = Upstream::new(|origin| {
        while let Some(request) = origin.request() {
            let to = request.get("x-to").unwrap_or("/in/a%20b?c=%20d").to_owned();
            origin.send(format!(
                "HTTP/1.1 404 X\r\nContent-Length: 2\r\nX-Accel-Redirect: {to}\r\nContent-Type: text/own\r\nSet-Cookie: a=b; Path=/\r\n\
                 Cache-Control: no-cache\r\nContent-Disposition: inline\r\nExpires: never\r\nX-Other: v\r\n\r\nup"
            ));
        }
    });
    let server = Server::before(&up, ACCEL);
    let message = server.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx");
    assert_eq!(message.answer(), (200, "GET /in/a b c=%20d".to_owned()));
    for (name, value) in [
        ("content-type", Some("text/own")),
        ("set-cookie", Some("a=b; Path=/x/")),
        ("cache-control", Some("no-cache")),
        ("content-disposition", Some("inline")),
        ("expires", Some("never")),
        ("x-other", None),
        ("x-accel-redirect", None),
    ] {
        assert_eq!(message.get(name), value, "{name}");
    }
    let named = server.get_with("/x", "Host: a\r\nX-To: @named\r\n");
    assert_eq!(named.answer(), (203, "GET /x".to_owned()));
    for unsafe_uri in ["/in/../etc", "../in/a", "/in/%2e%2e/a", "/in/.."] {
        assert_eq!(
            server.get_with("/", &format!("Host: a\r\nX-To: {unsafe_uri}\r\n")).status(),
            404,
            "{unsafe_uri}"
        );
    }
    let message = server.get_with("/ignored", "Host: a\r\nX-To: /in/\r\n");
    assert_eq!((message.answer(), message.get("x-accel-redirect")), ((404, "up".to_owned()), Some("/in/")));
}

#[test]
fn accel_redirect_keeps_the_connections() {
    let up = Upstream::new(|origin| {
        while origin.request().is_some() {
            origin.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Accel-Redirect: /in/\r\n\r\n");
        }
    });
    let conf = "upstream kept { server %%UP%%; } server { listen 127.0.0.1:%%PORT%%;
        location / { proxy_pass http://kept; } location /in/ { return 200 in; } }";
    let server = Server::before(&up, conf);
    let mut client = server.client();
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.recv().status(), 200);
    }
    if since("1.29.7", "upstream connections were closed by default") {
        assert_eq!(up.connections(), 1);
    }
}

#[test]
fn accel_buffering_can_be_ignored() {
    let up = Upstream::new(|origin| {
        origin.request();
        origin.send("HTTP/1.1 200 OK\r\nX-Accel-Buffering: yes\r\nContent-Length: 10\r\n\r\nfirst");
        origin.wait_release();
        origin.send("other");
    });
    let conf = "server { listen 127.0.0.1:%%PORT%%;
        location / { proxy_pass http://%%UP%%; proxy_buffering off; proxy_ignore_headers X-Accel-Buffering; } }";
    let server = Server::before(&up, conf);
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.take_until("first").unwrap();
    up.release();
    assert_eq!(client.take(5).unwrap(), b"other");
}
