//! Settings of the core and proxy modules that no other file is about.

use std::time::Instant;

use crate::harness::*;

#[test]
fn answer_of_unknown_length_without_chunks() {
    let up = Upstream::always("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    let server = Server::before(
        &up,
        "chunked_transfer_encoding off; server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; } }",
    );
    let text = server.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(!text.to_lowercase().contains("chunked"), "{text}");
    assert!(text.ends_with("\r\n\r\nok"), "{text}");
}

#[test]
fn small_body_buffer_spills_to_a_file_and_nothing_is_lost() {
    let up = Upstream::echo();
    let conf = "client_body_buffer_size 1k; client_max_body_size 0;
        server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; } }";
    let server = Server::before(&up, conf);
    let body = "0123456789".repeat(20_000);
    let request = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    server.ask(request);
    assert_eq!(up.last().text(), body);
    server.wait_log("a client request body is buffered to a temporary file");
}

#[test]
fn forms_of_if_modified_since() {
    let server = Setup::http(
        "server { listen 127.0.0.1:%%PORT%%; root %%DIR%%/www;
           location /exact/ { alias %%DIR%%/www/; }
           location /before/ { alias %%DIR%%/www/; if_modified_since before; }
           location /off/ { alias %%DIR%%/www/; if_modified_since off; } }",
    )
    .file("www/f", "x")
    .start();
    let exact = server.get("/exact/f").get("last-modified").unwrap().to_owned();
    let later = "Host: a\r\nIf-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n";
    let at = format!("Host: a\r\nIf-Modified-Since: {exact}\r\n");
    for (path, header, status) in [
        ("/exact/f", at.as_str(), 304),
        ("/exact/f", later, 200),
        ("/before/f", later, 304),
        ("/off/f", at.as_str(), 200),
    ] {
        assert_eq!(server.get_with(path, header).status(), status, "{path} {header}");
    }
}

#[test]
fn invalid_header_names_are_dropped_or_refused() {
    let up = Upstream::ok("");
    let conf = "server { listen 127.0.0.1:%%PORT%%; ignore_invalid_headers on; location / { proxy_pass http://%%UP%%; } }";
    let server = Server::before(&up, conf);
    assert_eq!(server.get_with("/", "Host: a\r\nX_Y: 1\r\nX-Z: 2\r\n").status(), 200);
    assert_eq!((up.last().get("x_y"), up.last().get("x-z")), (None, Some("2")));
    let conf = conf.replace("ignore_invalid_headers on", "ignore_invalid_headers off");
    assert_eq!(Server::before(&up, &conf).get_with("/", "Host: a\r\nX Y: 1\r\n").status(), 400);
}

#[test]
fn internal_location_is_for_the_gateway_alone() {
    let server = Server::http(
        "server { listen 127.0.0.1:%%PORT%%; error_page 404 /inside; location /inside { internal; return 200 in; }
           location /gone { return 404; } }",
    );
    assert_eq!(server.get("/inside").status(), 404);
    assert_eq!(server.get("/gone").answer(), (404, "in".to_owned()));
}

#[test]
fn error_page_of_an_error_page() {
    let conf =
        "recursive_error_pages off; server { listen 127.0.0.1:%%PORT%%; error_page 404 /a; error_page 403 /b;
        location /a { return 403; } location /b { return 200 second; } location / { return 404; } }";
    let server = Server::http(conf);
    assert!(server.get("/x").text().contains("403 Forbidden"));
    let server = Server::http(&conf.replace("recursive_error_pages off", "recursive_error_pages on"));
    assert_eq!(server.get("/x").text(), "second");
}

#[test]
fn lingering_can_be_off_or_always() {
    for (form, lingers) in [("off", false), ("always", true)] {
        let conf = format!(
            "lingering_close {form}; lingering_time 1s; lingering_timeout 1s; keepalive_timeout 0;
             server {{ listen 127.0.0.1:%%PORT%%; return 204; }}"
        );
        let server = Server::http(&conf);
        let mut client = server.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let start = Instant::now();
        client.assert_answer_then_closed(204);
        // The server's end comes at once in both cases; what differs is whether it still reads.
        assert!(start.elapsed().as_secs() < 5);
        pause(100);
        client.try_send("x");
        pause(100);
        assert_eq!(client.try_send("x"), lingers, "{form}");
    }
}

#[test]
fn modules_that_are_not_built_in_are_not_loaded() {
    if !only_octroi("nginx loads modules from files") {
        return;
    }
    let said = Setup::whole("load_module modules/ngx_http_perl_module.so;\nevents { }\n").refused();
    assert!(said.contains("ngx_http_perl_module.so"), "{said}");
}

#[test]
fn upstream_that_cannot_be_reached_in_time() {
    // A listener with a full queue takes no further connection.
    let full = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = full.local_addr().unwrap();
    let mut held = Vec::new();
    for _ in 0..400 {
        match std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_millis(100)) {
            Ok(stream) => held.push(stream),
            Err(_) => break,
        }
    }
    let conf = "proxy_connect_timeout 1s; server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; } }";
    let server = Setup::http(conf).put("UP", address).start();
    assert_eq!(server.get("/").status(), 504);
    server.wait_log("upstream timed out (110: Connection timed out) while connecting to upstream");
}

#[test]
fn upstream_that_does_not_read() {
    let up = Upstream::new(|origin| {
        origin.head();
        origin.wait_release();
    });
    let conf = "client_max_body_size 0; proxy_send_timeout 1s; proxy_request_buffering off;
        server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; } }";
    let server = Server::before(&up, conf);
    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
    let block = vec![b'x'; 1_000_000];
    let mut sent = 0;
    while sent < 100 && client.try_send(&block) {
        sent += 1;
        if server.log().contains("upstream timed out") {
            break;
        }
    }
    server.wait_log("upstream timed out (110: Connection timed out) while sending request to upstream");
    up.release();
}

#[test]
fn redirects_of_an_upstream_can_be_rewritten_or_left() {
    let up = Upstream::always("HTTP/1.1 302 Found\r\nLocation: http://other/x\r\nContent-Length: 0\r\n\r\n");
    let conf = "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; proxy_redirect http://other/ https://here/; }
        location /off { proxy_pass http://%%UP%%; proxy_redirect off; } }";
    let server = Server::before(&up, conf);
    assert_eq!(server.get("/").get("location"), Some("https://here/x"));
    assert_eq!(server.get("/off").get("location"), Some("http://other/x"));
}

#[test]
fn limit_of_descriptors_and_affinity_of_the_worker() {
    let server = Setup::whole(
        "daemon off; pid %%DIR%%/nginx.pid; error_log %%DIR%%/error.log info; worker_rlimit_nofile 512;
         worker_cpu_affinity 1; events { }
         http { access_log off; server { listen 127.0.0.1:%%PORT%%; return 200 ok; } }\n",
    )
    .start();
    assert_eq!(server.get("/").text(), "ok");
    let worker = server.pids().into_iter().max().unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{worker}/limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(line.split_whitespace().nth(3), Some("512"), "{line}");
    let pinned = std::fs::read_dir(format!("/proc/{worker}/task")).unwrap().any(|task| {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap_or_default();
        status.lines().any(|line| line == "Cpus_allowed_list:\t0")
    });
    assert!(pinned, "no thread of the worker is pinned to CPU 0");
}

#[test]
fn more_header_fields_than_the_default_may_be_allowed() {
    if !since("1.29.8", "max_headers") {
        return;
    }
    let conf = "max_headers 1500; large_client_header_buffers 4 16k;
        server { listen 127.0.0.1:%%PORT%%; location / { return 200 a; } }";
    let server = Server::http(conf);
    let fields = |count: usize| format!("Host: a\r\n{}", "X-A: b\r\n".repeat(count));
    assert_eq!(server.get_with("/", &fields(1400)).status(), 200);
    assert_eq!(server.get_with("/", &fields(1600)).status(), 400);
}
