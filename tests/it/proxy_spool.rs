//! Answers that clients take more slowly than the upstream sends them: `proxy_buffers`,
//! `proxy_max_temp_file_size` and what belongs to them.

use std::os::unix::fs::MetadataExt;

use crate::harness::*;

/// Bytes of an answer: more than what the sockets on both sides of a server hold.
const LARGE: usize = 24 * 1024 * 1024;

const BUFFERED: &str = "an upstream response is buffered to a temporary file";

fn large() -> Vec<u8> {
    let mut bytes = (0..251).collect::<Vec<u8>>().repeat(LARGE / 251 + 1);
    bytes.truncate(LARGE);
    bytes
}

/// Answers each request with a large body, or a small one at `/small`, and keeps the connection.
fn upstream() -> Upstream {
    Upstream::new(|origin| {
        while let Some(request) = origin.request() {
            if request.target() == "/small" {
                origin.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsmall");
                continue;
            }
            origin.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"));
            origin.send(large());
        }
    })
}

/// Answers with chunks, and closes.
fn upstream_of_chunks() -> Upstream {
    Upstream::new(|origin| {
        if origin.request().is_some() {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
            origin.send(head);
            for part in large().chunks(100_000) {
                origin.send(format!("{:x}\r\n", part.len()));
                origin.send(part);
                origin.send("\r\n");
            }
            origin.send("0\r\n\r\n");
        }
    })
}

fn server(up: &Upstream, conf: &str) -> Server {
    let text = format!(
        "log_format up '$upstream_response_length $upstream_status'; access_log %%DIR%%/up.log up;
         upstream up {{ server %%UP%%; keepalive 4; }}
         server {{ listen 127.0.0.1:%%PORT%%;
         location / {{ proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ''; {conf} }} }}"
    );
    Server::before(up, &text)
}

/// A client that has asked, and read nothing but the head.
fn stalled(server: &Server) -> Wire {
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(client.recv_to_head().status(), 200);
    client
}

fn assert_large(body: &[u8]) {
    assert_eq!(body.len(), LARGE);
    assert!(body == large(), "the bytes are others, or in another order");
}

#[test]
fn a_slow_client_does_not_hold_its_upstream() {
    let up = upstream();
    let server = server(&up, "");
    let mut slow = stalled(&server);
    server.wait_log(BUFFERED);
    // The connection carries the next request as soon as the answer was read.
    eventually("the connection is free", || {
        let before = up.connections();
        assert_eq!(server.get("/small").text(), "small");
        // One connection more is the one for this request, if the other was still busy.
        up.connections() == before
            && up.requests().iter().any(|r| r.connection == 0 && r.target() == "/small")
    });
    assert_large(&slow.rest());
    let line = format!("{LARGE} 200");
    eventually("the log line", || server.read("up.log").lines().any(|found| *found == line));
}

#[test]
fn chunks_are_put_together_again() {
    let up = upstream_of_chunks();
    let server = server(&up, "");
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.recv_to_head().get("transfer-encoding"), Some("chunked"));
    server.wait_log(BUFFERED);
    eventually("the upstream is done", || up.open() == 0);
    let mut body = Vec::new();
    loop {
        let size = client.take_until("\r\n").unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        body.extend(client.take(size).unwrap());
        client.take(2).unwrap();
        if size == 0 {
            break;
        }
    }
    assert_large(&body);
}

#[test]
fn what_filters_change_waits_too() {
    // Bytes that cannot be compressed.
    let mut seed = 1_u32;
    let noise = move || {
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        seed
    };
    let body: Vec<u8> = std::iter::repeat_with(noise).take(LARGE / 4).flat_map(u32::to_le_bytes).collect();
    let sent = body.clone();
    let up = Upstream::new(move |origin| {
        if origin.request().is_some() {
            origin.send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n");
            origin.send(&sent);
        }
    });
    let server = server(&up, "gzip on; gzip_comp_level 1;");
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n");
    assert_eq!(client.recv_to_head().get("content-encoding"), Some("gzip"));
    server.wait_log(BUFFERED);
    eventually("the upstream is done", || up.open() == 0);
    let rest = client.rest();
    let (mut packed, mut at) = (Vec::new(), 0);
    loop {
        let line = rest[at..].iter().position(|byte| *byte == b'\r').unwrap();
        let size = std::str::from_utf8(&rest[at..at + line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        at += line + 2;
        packed.extend_from_slice(&rest[at..at + size]);
        at += size + 2;
        if size == 0 {
            break;
        }
    }
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed[..]), &mut unpacked).unwrap();
    assert!(unpacked == body, "{} bytes", unpacked.len());
}

#[test]
fn without_a_file_the_upstream_is_held() {
    let up = upstream();
    let server = server(&up, "proxy_max_temp_file_size 0;");
    let mut slow = stalled(&server);
    pause(200);
    assert!(!server.log().contains(BUFFERED));
    assert_large(&slow.rest());
}

#[test]
fn a_full_file_holds_the_upstream_until_it_is_read() {
    let up = upstream_of_chunks();
    let server = server(&up, "proxy_max_temp_file_size 1m; proxy_temp_file_write_size 8k;");
    let mut client = server.client();
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert_eq!(client.recv_to_head().status(), 200);
    server.wait_log(BUFFERED);
    pause(100);
    assert_eq!(up.open(), 1);
    assert_large(&client.rest());
    assert_eq!(server.log().matches(BUFFERED).count(), 1);
}

#[test]
fn what_was_read_before_the_upstream_broke_is_sent() {
    let up = Upstream::new(|origin| {
        if origin.request().is_some() {
            origin.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", LARGE + 1));
            origin.send(large());
        }
    });
    let server = server(&up, "");
    let mut slow = stalled(&server);
    server.wait_log("prematurely closed connection");
    assert_large(&slow.rest());
}

#[test]
fn a_client_that_leaves_is_noticed_between_two_parts() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n";
    let up = Upstream::always(format!("{head}{}", "x".repeat(9_000)));
    let slow = Upstream::new(move |origin| {
        origin.request();
        origin.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 9100\r\n\r\n{}", "x".repeat(9_000)));
        origin.wait_release();
        origin.send("y".repeat(100));
    });
    let server = Setup::http(
        "server { listen 127.0.0.1:%%PORT%%; limit_rate 1k;
            location / { proxy_pass http://%%UP%%; }
            location /slow { proxy_ignore_client_abort on; limit_rate 8k; proxy_pass http://%%SLOW%%; }
            location /file { root %%DIR%%; } }",
    )
    .put("UP", up.address())
    .put("SLOW", slow.address())
    .file("file", "x".repeat(9_000))
    .start();
    for target in ["/", "/file"] {
        let mut client = server.client();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client.recv_to_head();
        drop(client);
        let noticed = format!("request: \"GET {target} HTTP/1.1\"");
        eventually("the client's leaving", || {
            let log = server.log();
            log.lines()
                .any(|line| line.contains("client prematurely closed connection") && line.contains(&noticed))
        });
    }
    assert!(!server.log().contains("send() failed"));
    // One that only says that it has no more to ask gets all where clients are not watched.
    if !only_octroi("it waits for full buffers, and looks once the upstream is done") {
        return;
    }
    let mut client = server.client();
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    client.half_close();
    assert_eq!(client.recv_to_head().status(), 200);
    client.take(9_000).unwrap();
    slow.release();
    assert_eq!(client.take(100).unwrap().len(), 100);
}

#[test]
fn limit_rate_does_not_hold_the_upstream() {
    let up = upstream_of_chunks();
    let server = server(&up, "limit_rate 64k;");
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.recv_to_head().status(), 200);
    server.wait_log(BUFFERED);
    eventually("the upstream is done", || up.open() == 0);
}

#[test]
fn a_client_that_leaves_frees_everything() {
    let up = upstream();
    let server = server(&up, "");
    let slow = stalled(&server);
    server.wait_log(BUFFERED);
    drop(slow);
    assert_large(&stalled(&server).rest());
    eventually("the log line", || server.read("up.log").lines().count() == 2);
}

#[test]
fn without_buffering_nothing_waits() {
    let up = upstream();
    let server = server(&up, "proxy_buffering off;");
    let mut slow = stalled(&server);
    pause(200);
    assert!(!server.log().contains(BUFFERED));
    assert_large(&slow.rest());
}

#[test]
fn a_folder_that_is_none_slows_the_upstream() {
    if !only_octroi("nginx makes the folder when it starts") {
        return;
    }
    let up = upstream();
    let server = server(&up, "proxy_temp_path /proc/none;");
    let mut slow = stalled(&server);
    server.wait_log("a temporary file failed (2: No such file or directory) while reading upstream");
    assert_large(&slow.rest());
}

#[test]
fn the_folders_are_the_workers_own() {
    let up = Upstream::ok("");
    let server = server(&up, "proxy_temp_path answers; client_body_temp_path %%DIR%%/bodies;");
    let of_worker = std::fs::metadata(format!("/proc/{}", server.pids().last().unwrap())).unwrap().uid();
    for folder in ["answers", "bodies"] {
        let facts = std::fs::metadata(server.path(folder)).unwrap();
        assert_eq!((facts.uid(), facts.mode() & 0o777), (of_worker, 0o700), "{folder}");
    }
}
