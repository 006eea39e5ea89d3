//! Clients that mean harm, or are broken: the server must live on and serve the next.

use crate::harness::*;

const PROXY: &str = "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; } location /own { return 200 own; } }";

/// The server still serves, with the same process, and its log holds no alert (seen at its end).
fn lives(server: &Server) {
    assert_eq!(server.get("/own").text(), "own");
}

fn guarded(abuse: impl Fn(&Server, &Upstream)) {
    let up = Upstream::ok("up");
    let server = Server::before(&up, PROXY);
    lives(&server);
    let pids = server.pids();
    abuse(&server, &up);
    lives(&server);
    assert_eq!(server.pids(), pids, "a process died");
}

/// Bytes that look random and are the same every time (xorshift).
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[test]
fn noise_instead_of_a_request() {
    guarded(|server, up| {
        for seed in 0..40 {
            let mut client = server.client();
            client.try_send(noise(seed, 3000));
            client.half_close();
            let answer = String::from_utf8_lossy(&client.rest()).into_owned();
            assert!(
                answer.is_empty()
                    || answer.starts_with("HTTP/1.1 400 ")
                    || answer.contains("400 Bad Request"),
                "{answer}"
            );
        }
        assert_eq!(up.connections(), 0);
    });
}

#[test]
fn noise_behind_a_request() {
    guarded(|server, _| {
        for seed in 0..40 {
            let mut client = server.client();
            client.send(b"GET /own HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(client.recv().text(), "own");
            client.try_send(noise(seed, 2000));
            client.half_close();
            client.rest();
        }
    });
}

#[test]
fn one_byte_of_a_request_changed() {
    // Whatever comes of it: an answer or a close, never a hang and never two answers.
    guarded(|server, _| {
        let good = b"POST /own?a=b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc";
        for at in 0..good.len() - 3 {
            for byte in [0u8, b'\r', b'\n', b' ', b':', 0xff] {
                let mut bytes = good.to_vec();
                bytes[at] = byte;
                let mut client = server.client();
                client.try_send(&bytes);
                client.half_close();
                let answer = String::from_utf8_lossy(&client.rest()).into_owned();
                // A line feed may end the head early: what follows is then a request of its own.
                let answers = answer.matches("HTTP/1.1 ").count();
                assert!(answers <= 2, "byte {byte} at {at}: {answer}");
            }
        }
    });
}

#[test]
fn connections_that_are_opened_and_dropped() {
    guarded(|server, _| {
        for _ in 0..300 {
            drop(server.client());
        }
    });
}

#[test]
fn requests_whose_answers_are_not_read() {
    guarded(|server, _| {
        for _ in 0..100 {
            let mut client = server.client();
            // Dropped with the answer unread: a reset for the server.
            client.send("GET /own HTTP/1.1\r\nHost: a\r\n\r\n");
        }
    });
}

#[test]
fn requests_cut_at_any_byte() {
    guarded(|server, up| {
        let request =
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        for cut in 0..request.len() {
            let mut client = server.client();
            client.send(&request[..cut]);
            client.half_close();
            let answer = String::from_utf8_lossy(&client.rest()).into_owned();
            assert!(!answer.contains(" 200 "), "cut at {cut}: {answer}");
        }
        assert_eq!(up.requests().len(), 0, "a request that was cut was forwarded");
    });
}

#[test]
fn pipeline_that_nobody_reads() {
    // Thousands of requests whose answers pile up: bounded, and the server goes on.
    guarded(|server, _| {
        let before = server.private_memory();
        let mut client = server.client();
        let many = "GET /own HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
        let sender = std::thread::spawn(move || {
            let _ = (0..20).all(|_| client.try_send(&many));
            client
        });
        pause(300);
        lives(server);
        let grown = server.private_memory().saturating_sub(before);
        assert!(grown < 8_000_000, "{grown} bytes");
        drop(sender.join().unwrap());
    });
}

#[test]
fn slow_heads_do_not_block_others() {
    guarded(|server, _| {
        let mut slow: Vec<Wire> = (0..200).map(|_| server.client()).collect();
        for client in &mut slow {
            client.send("GET /own HTTP/1.1\r\nHost: a\r\nX-");
        }
        for _ in 0..20 {
            lives(server);
        }
        for client in &mut slow {
            client.send("A: b\r\n\r\n");
            assert_eq!(client.recv().text(), "own");
        }
    });
}

#[test]
fn chunk_extension_without_end() {
    guarded(|server, up| {
        let before = server.private_memory();
        let mut client = server.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;");
        let block = "x".repeat(100_000);
        for _ in 0..30 {
            if !client.try_send(&block) {
                break;
            }
        }
        let grown = server.private_memory().saturating_sub(before);
        assert!(grown < 4_000_000, "{grown} bytes");
        drop(client);
        assert_eq!(up.requests().len(), 0);
    });
}

#[test]
fn trailers_without_end() {
    guarded(|server, _| {
        let before = server.private_memory();
        let mut client = server.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n");
        let block = format!("X: {}\r\n", "y".repeat(1000)).repeat(100);
        for _ in 0..30 {
            if !client.try_send(&block) {
                break;
            }
        }
        let grown = server.private_memory().saturating_sub(before);
        assert!(grown < 4_000_000, "{grown} bytes");
    });
}

#[test]
fn body_in_chunks_of_one_byte() {
    let up = Upstream::ok("up");
    let server = Server::before(&up, PROXY);
    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("1\r\nx\r\n".repeat(50_000) + "0\r\n\r\n");
    assert_eq!(client.recv().text(), "up");
    assert_eq!(up.last().body.len(), 50_000);
}

#[test]
fn empty_lines_without_end() {
    guarded(|server, _| {
        let mut client = server.client();
        let _ = (0..50).all(|_| client.try_send("\r\n".repeat(10_000)));
    });
}

#[test]
fn upstream_that_sends_noise() {
    for seed in 0..20 {
        let up = Upstream::once(noise(seed, 500));
        let server = Server::before(&up, PROXY);
        let answer = server.exchange("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        if program().is_octroi() {
            assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        }
        lives(&server);
    }
}

#[test]
fn upstream_with_a_head_without_end() {
    let up = Upstream::new(|origin| {
        origin.request();
        origin.send("HTTP/1.1 200 OK\r\n");
        let lines = "X-A: b\r\n".repeat(10_000);
        while origin.send(&lines) {}
    });
    let server = Server::before(&up, PROXY);
    assert_eq!(server.get("/").status(), 502);
    lives(&server);
}

#[test]
fn upstream_with_interim_lines_in_the_body() {
    // A body that looks like a response is a body.
    let body = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let up = Upstream::ok(body);
    let server = Server::before(&up, PROXY);
    assert_eq!(server.get("/").text(), body);
}

#[test]
fn fields_cannot_be_split_by_variables() {
    // A decoded path holds a line break: it must not become a header line of its own.
    let up = Upstream::echo();
    let conf = "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; proxy_set_header X-Uri x; } location /in/ { proxy_pass http://%%UP%%/out/; } }";
    let server = Server::before(&up, conf);
    let head = server.get("/in/a%0d%0aX-Evil:%201").text();
    assert!(head.starts_with("GET /out/a%0D%0AX-Evil:%201 HTTP/1.") && !head.contains("\nX-Evil"), "{head}");
}

#[test]
fn redirect_cannot_be_split() {
    let up = Upstream::ok("");
    let server = Server::before(
        &up,
        "server { listen 127.0.0.1:%%PORT%%; location /dir/ { proxy_pass http://%%UP%%; } location ~ ^/x { location ~ /$ { proxy_pass http://%%UP%%; } } }",
    );
    let response = server.get("/dir?a%0d%0aX-Evil:1");
    assert_eq!(response.get("x-evil"), None);
    let location = response.get("location").unwrap();
    assert!(location.ends_with("/dir/?a%0d%0aX-Evil:1"), "{location}");
}

#[test]
fn upload_that_the_upstream_refuses_by_closing() {
    let up = Upstream::new(|origin| drop(origin.head()));
    let conf = "client_max_body_size 0; server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; proxy_request_buffering off; } location /own { return 200 own; } }";
    let server = Server::before(&up, conf);
    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n");
    let block = vec![b'x'; 100_000];
    let _ = (0..100).all(|_| client.try_send(&block));
    drop(client);
    lives(&server);
}

#[test]
fn descriptors_do_not_leak() {
    let up = Upstream::once("HTTP/1.1 200 OK\r\n\r\nclosed");
    let server = Server::before(&up, PROXY);
    let open = || -> usize {
        let count = |pid: u32| std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        server.pids().into_iter().map(count).sum()
    };
    server.get("/");
    lives(&server);
    let before = open();
    for _ in 0..100 {
        server.get("/");
        drop(server.client());
        let mut client = server.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    eventually("the descriptors closed", || open() <= before + 2);
}
