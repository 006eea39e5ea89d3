//! `mirror`: requests that are made once more on the side.

use crate::harness::*;

const POST: &str =
    "POST /a/b?x=1 HTTP/1.1\r\nHost: h\r\nX-Own: v\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";

#[test]
fn request_and_body_are_sent_twice() {
    let (original, copy) = (Upstream::ok("original"), Upstream::ok("copy"));
    let server = Setup::http(
        "server { listen 127.0.0.1:%%PORT%%; location / { mirror /mirror; proxy_pass http://%%UP%%; } \
         location = /mirror { internal; proxy_pass http://%%COPY%%$request_uri; } }",
    )
    .put("UP", original.address())
    .put("COPY", copy.address())
    .start();
    assert_eq!(server.ask(POST).text(), "original");
    eventually("the copy", || !copy.requests().is_empty());
    for upstream in [&original, &copy] {
        let request = upstream.requests().remove(0);
        assert!(request.head.starts_with("POST /a/b?x=1 HTTP/1."), "{}", request.head);
        assert_eq!((request.get("X-Own"), request.text().as_str()), (Some("v"), "hello"));
    }
    assert_eq!(server.get("/").text(), "original");
    eventually("the second copy", || copy.requests().len() == 2);
}

#[test]
fn a_large_body_from_its_file() {
    let (original, copy) = (Upstream::ok("original"), Upstream::ok("copy"));
    let server = Setup::http(
        "client_body_buffer_size 1k; server { listen 127.0.0.1:%%PORT%%; location / { mirror /mirror; proxy_pass http://%%UP%%; } \
         location = /mirror { internal; proxy_pass http://%%COPY%%; } }",
    )
    .put("UP", original.address())
    .put("COPY", copy.address())
    .start();
    let body = "0123456789".repeat(10_000);
    let request = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(server.ask(request).text(), "original");
    eventually("the copy", || !copy.requests().is_empty());
    assert!(copy.requests().remove(0).text() == body && original.requests().remove(0).text() == body);
}

#[test]
fn without_the_body() {
    let (original, copy) = (Upstream::ok("original"), Upstream::ok("copy"));
    let server = Setup::http(
        "server { listen 127.0.0.1:%%PORT%%; location / { mirror /mirror; mirror_request_body off; proxy_pass http://%%UP%%; } \
         location = /mirror { internal; proxy_pass http://%%COPY%%; proxy_pass_request_body off; proxy_set_header Content-Length \"\"; } }",
    )
    .put("UP", original.address())
    .put("COPY", copy.address())
    .start();
    assert_eq!(server.ask(POST).text(), "original");
    eventually("the copy", || !copy.requests().is_empty());
    let request = copy.requests().remove(0);
    assert_eq!((request.get("Content-Length"), request.text().as_str()), (None, ""));
    assert_eq!(original.requests().remove(0).text(), "hello");
}

#[test]
fn several_none_and_those_that_fail() {
    let server = Server::http(
        "log_format uri '$uri $args $request_method'; log_subrequest on;\n\
         server { listen 127.0.0.1:%%PORT%%; access_log off; mirror /m/1; mirror /m/2; \
         location / { proxy_pass http://127.0.0.1:%%PORT%%/answer/; } location /answer/ { mirror off; return 200 answer; } \
         location /none { mirror off; proxy_pass http://127.0.0.1:%%PORT%%/answer/; } \
         location /m/ { mirror off; access_log mirrored.log uri; return 204; } \
         location /down { mirror /refused; proxy_pass http://127.0.0.1:%%PORT%%/answer/; } location /refused { mirror off; proxy_pass http://127.0.0.1:1; } }",
    );
    assert_eq!(server.get("/none").text(), "answer");
    assert_eq!(server.get("/down").text(), "answer");
    assert_eq!(server.get("/x?a=1").text(), "answer");
    let mut lines = server.wait_lines("mirrored.log", 2);
    lines.sort();
    assert_eq!(lines, ["/m/1 a=1 GET", "/m/2 a=1 GET"]);
}

#[test]
fn the_client_is_the_same_after_the_request_is_over() {
    let slow = Upstream::new(|origin| {
        origin.request();
        origin.wait_release();
        origin.send("HTTP/1.1 500 Late\r\nContent-Length: 0\r\n\r\n");
    });
    let last = Upstream::ok("late");
    let server = Setup::http(
        "server { listen 127.0.0.1:%%PORT%%; set_real_ip_from 127.0.0.1;
            location / { mirror /mirror; proxy_pass http://127.0.0.1:%%PORT%%/answer/; }
            location /answer/ { return 200 answer; }
            location = /mirror { internal; proxy_intercept_errors on; error_page 500 = @late; proxy_pass http://%%SLOW%%; }
            location @late { proxy_set_header X-IP $remote_addr; proxy_pass http://%%LAST%%; } }",
    )
    .put("SLOW", slow.address())
    .put("LAST", last.address())
    .start();
    assert_eq!(server.get_with("/", "Host: a\r\nX-Real-IP: 192.0.2.1\r\n").text(), "answer");
    eventually("the mirrored request", || !slow.requests().is_empty());
    slow.release();
    eventually("the one after it", || !last.requests().is_empty());
    assert_eq!(last.last().get("x-ip"), Some("192.0.2.1"));
}

#[test]
fn a_slow_mirror_holds_nobody_up() {
    let copy = Upstream::new(|origin| {
        origin.request();
        origin.wait_release();
    });
    let server = Setup::http(
        "server { listen 127.0.0.1:%%PORT%%; location / { mirror /mirror; proxy_pass http://127.0.0.1:%%PORT%%/answer/; } \
         location /answer/ { return 200 answer; } location = /mirror { internal; proxy_pass http://%%COPY%%; } }",
    )
    .put("COPY", copy.address())
    .start();
    assert_eq!(server.get("/").text(), "answer");
    eventually("the copy", || !copy.requests().is_empty());
    copy.release();
}

#[test]
fn the_body_has_a_folder_whoever_answers() {
    if !as_root("the master must be another than its worker") {
        return;
    }
    let others = if program().is_octroi() {
        ""
    } else {
        "proxy_temp_path %%DIR%%/proxy; fastcgi_temp_path %%DIR%%/fastcgi; uwsgi_temp_path %%DIR%%/uwsgi; scgi_temp_path %%DIR%%/scgi;"
    };
    let copy = Upstream::ok("copy");
    let mut server = Setup::whole(&format!(
        "daemon off; user nobody nogroup; pid %%DIR%%/nginx.pid; error_log %%DIR%%/error.log info; events {{ }} http {{ access_log off; {others}
         client_body_buffer_size 1k; client_body_temp_path %%DIR%%/own/body; server {{ listen 127.0.0.1:%%PORT%%; root %%DIR%%;
         location / {{ mirror /mirror; error_page 405 =200 /x; }} location = /x {{ mirror off; return 200 done; }}
         location = /mirror {{ internal; client_body_temp_path %%DIR%%/own/other; proxy_pass http://%%COPY%%; }} }} }}"
    ))
    .put("COPY", copy.address())
    .file("y", "")
    .prepare();
    // Only the master may write here.
    std::fs::create_dir(server.path("own")).unwrap();
    server.keep_root();
    server.launch();
    let body = "0123456789".repeat(10_000);
    let head =
        format!("POST /y HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    assert_eq!(server.ask(head + &body).text(), "done");
    eventually("the copy", || !copy.requests().is_empty());
    assert!(copy.requests().remove(0).text() == body);
}
