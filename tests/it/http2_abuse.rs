//! HTTP/2 clients of ill will: frames are written by hand. Each abuse ends, and others are served meanwhile.

use crate::harness::*;
use crate::http2_frames::*;
use crate::tls_client::{Client as TlsClient, authority};
use std::time::{Duration, Instant};

const OK: &str = "server { listen 127.0.0.1:%%PORT%%; http2 on; location / { return 200 ok; } }";

/// Heads that are malformed (RFC 9113, 8.1.1) and that h2 takes apart all the same.
fn malformed() -> Vec<Vec<(&'static str, &'static str)>> {
    let with = |name, value| [&GET[..], &[(name, value)]].concat();
    vec![
        with("connection", "close"),
        with("keep-alive", "timeout=5"),
        with("proxy-connection", "close"),
        with("transfer-encoding", "chunked"),
        with("upgrade", "websocket"),
        with("te", "gzip"),
        with(":path", "/twice"),
        with(":authority", "twice"),
        with(":status", "200"),
        GET[1..].to_vec(),
        vec![GET[0], GET[2], GET[3]],
        vec![GET[0], GET[1], GET[3]],
        vec![GET[0], GET[1], (":path", ""), GET[3]],
        vec![GET[0], GET[1], (":path", "/a b"), GET[3]],
        vec![GET[0], GET[1], GET[2], (":authority", "a b")],
        vec![("x", "y"), GET[0], GET[1], GET[2], GET[3]],
    ]
}

#[test]
fn malformed_heads_are_answered_and_logged() {
    let server = Server::http(&format!(
        "log_format l '$status $request_method $connection_requests'; access_log %%DIR%%/access.log l; {OK}"
    ));
    let mut all = malformed();
    // nginx ends the connection for an empty path.
    all.retain(|list| program().is_octroi() || !list.contains(&(":path", "")));
    let count = all.len();
    for list in all {
        let mut wire = begun(&server);
        wire.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &fields(&list)));
        wire.send(frame(HEADERS, END_STREAM | END_HEADERS, 3, &fields(&GET)));
        assert_eq!(outcome(&mut wire, 1).map(|block| block[0]), Ok(0x8c), "{list:?}");
        // The connection and its table of fields go on.
        assert_eq!(outcome(&mut wire, 3).map(|block| block[0]), Ok(0x88), "{list:?}");
    }
    let lines = server.wait_lines("access.log", 2 * count);
    assert_eq!(lines.iter().filter(|line| line.starts_with("400 ")).count(), count, "{lines:?}");
    assert!(server.log().contains("[info]"), "{}", server.log());
}

#[test]
fn a_head_that_does_not_end_is_given_up() {
    let server = Server::http(&format!("client_header_timeout 300ms; {OK}"));
    for cut in [12, 0, 3] {
        if cut == 3 && !only_octroi("nginx leaves it to keepalive_timeout") {
            continue;
        }
        let mut wire = begun(&server);
        wire.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &fields(&GET)));
        outcome(&mut wire, 1).unwrap();
        let head = frame(HEADERS, END_STREAM, 3, &fields(&GET));
        wire.send(if cut == 0 { &head[..] } else { &head[..cut] });
        let begun = Instant::now();
        assert!(outcome(&mut wire, 3).is_err(), "cut at {cut}");
        assert!(begun.elapsed() < Duration::from_secs(5), "cut at {cut}: {:?}", begun.elapsed());
    }
}

#[test]
fn a_request_is_as_long_as_its_frames_say() {
    let server = Server::http(
        "server { listen 127.0.0.1:%%PORT%%; http2 on; location / { return 200 $request_length; } }",
    );
    let block = fields(&GET);
    let mut wire = begun(&server);
    let length = block.len().to_string();
    let cut = 10;
    wire.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &block));
    wire.send(frame(HEADERS, END_STREAM, 3, &block[..cut]));
    wire.send(frame(CONTINUATION, END_HEADERS, 3, &block[cut..]));
    for stream in [1, 3] {
        let body = loop {
            let (kind, _, of, payload) = next(&mut wire).unwrap();
            if kind == DATA && of == stream {
                break payload;
            }
        };
        assert_eq!(body, length.as_bytes(), "{stream}");
    }
}

/// The connection is ended by the server, in order or not, while this sends on.
fn is_ended(wire: &mut Wire, mut more: impl FnMut(usize) -> Vec<u8>) -> bool {
    let begun = Instant::now();
    for round in 0.. {
        if !wire.try_send(more(round)) {
            return true;
        }
        if begun.elapsed() > Duration::from_secs(15) {
            return false;
        }
    }
    true
}

/// What an abuse leaves behind is bounded.
fn assert_grew_little(server: &Server, before: u64) {
    let grew = server.private_memory().saturating_sub(before);
    assert!(grew < 64 << 20, "{grew} bytes");
}

/// Another client is served, soon.
fn assert_serves(server: &Server) {
    let begun = Instant::now();
    assert_eq!(server.get("/").status(), 200);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
fn requests_written_by_hand() {
    let server = Server::http(OK);
    let mut wire = begun(&server);
    wire.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &fields(&GET)));
    let block = outcome(&mut wire, 1).unwrap();
    assert_eq!(block[0], 0x88, "status 200");
}

#[test]
fn malformed_heads_are_refused() {
    let server = Server::http(OK);
    let good = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
    let with = |more: &[(&'static str, &'static str)]| [&good[..], more].concat();
    for list in [
        with(&[("X-Upper", "1")]),
        with(&[("connection", "close")]),
        with(&[("keep-alive", "1")]),
        with(&[("proxy-connection", "1")]),
        with(&[("transfer-encoding", "chunked")]),
        with(&[("upgrade", "h2c")]),
        with(&[("te", "gzip")]),
        with(&[("x", "a\r\nb: c")]),
        with(&[("x", "a\nb")]),
        with(&[("x", "a\0b")]),
        with(&[("a b", "c")]),
        with(&[("a:", "c")]),
        with(&[("a\r\nb", "c")]),
        with(&[("host", "b")]),
        with(&[("content-length", "5")]),
        with(&[("content-length", "x")]),
        with(&[(":path", "/again")]),
        with(&[(":method", "GET")]),
        with(&[("x", "1"), (":scheme", "http")]),
        with(&[(":unknown", "1")]),
        with(&[(":status", "200")]),
        vec![(":method", "GET"), (":scheme", "http"), (":authority", "a")],
        vec![(":method", "GET"), (":scheme", "http"), (":path", ""), (":authority", "a")],
        vec![(":method", "GET"), (":path", "/"), (":authority", "a")],
        vec![(":scheme", "http"), (":path", "/"), (":authority", "a")],
        vec![(":method", "GET"), (":scheme", "http"), (":path", "/")],
        vec![(":method", "G T"), (":scheme", "http"), (":path", "/"), (":authority", "a")],
        vec![(":method", "GET"), (":scheme", "http"), (":path", "/ HTTP/1.1\r\nx: y"), (":authority", "a")],
        vec![(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "u:p@a")],
        vec![(":method", "TRACE"), (":scheme", "http"), (":path", "/"), (":authority", "a")],
        vec![(":method", "CONNECT"), (":authority", "a:80")],
    ] {
        let mut wire = begun(&server);
        wire.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &fields(&list)));
        if let Ok(block) = outcome(&mut wire, 1) {
            assert!(is_refusal(&block), "{list:?} was served");
        }
    }
    assert_serves(&server);
}

#[test]
fn bodies_in_small_frames_are_no_abuse() {
    let up = Upstream::echo();
    let server = Server::before(
        &up,
        "server { listen 127.0.0.1:%%PORT%%; http2 on; location / { proxy_pass http://%%UP%%; } }",
    );
    let mut list = GET.to_vec();
    list[0] = (":method", "POST");
    let mut wire = begun(&server);
    for stream in [1, 3, 5] {
        wire.send(frame(HEADERS, END_HEADERS, stream, &fields(&list)));
        let mut body = frame(DATA, 0, stream, b"0123456789").repeat(300);
        body.extend(frame(DATA, END_STREAM, stream, b"end"));
        wire.send(body);
        assert_eq!(outcome(&mut wire, stream).map(|block| block[0]), Ok(0x88), "{stream}");
        assert_eq!(up.last().body.len(), 3003);
    }
}

#[test]
fn a_length_that_lies_is_refused() {
    let up = Upstream::echo();
    let server = Server::before(
        &up,
        "server { listen 127.0.0.1:%%PORT%%; http2 on; location / { proxy_pass http://%%UP%%; } }",
    );
    for (length, body) in [("3", &b"abcdef"[..]), ("10", b"abc")] {
        let mut list = GET.to_vec();
        list[0] = (":method", "POST");
        list.push(("content-length", length));
        let mut wire = begun(&server);
        wire.send(frame(HEADERS, END_HEADERS, 1, &fields(&list)));
        wire.send(frame(DATA, END_STREAM, 1, body));
        assert_eq!(outcome(&mut wire, 1).map(|block| block[0]), Ok(0x8c), "{length}");
    }
    assert!(up.requests().is_empty());
}

#[test]
fn rapid_reset_ends_the_connection() {
    if !only_octroi("nginx bears more of them") {
        return;
    }
    let up = Upstream::new(|origin| {
        let _ = origin.request();
        origin.gone();
    });
    let server = Server::before(
        &up,
        "server { listen 127.0.0.1:%%PORT%%; http2 on; location / { return 200; } location /up { proxy_pass http://%%UP%%; } }",
    );
    let mut list = GET.to_vec();
    list[2] = (":path", "/up");
    let block = fields(&list);
    for apart in [false, true] {
        let before = up.connections();
        let mut wire = begun(&server);
        let mut sent = 0;
        let ended = is_ended(&mut wire, |round| {
            sent += 1;
            let stream = 2 * round as u32 + 1;
            let mut out = frame(HEADERS, END_STREAM | END_HEADERS, stream, &block);
            if apart {
                pause(1);
            }
            out.extend(frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
            out
        });
        assert!(ended, "{sent} requests were reset, and the connection goes on");
        let reached = up.connections() - before;
        assert!(apart || reached * 4 <= sent, "{reached} of {sent} reached the upstream");
    }
    assert_serves(&server);
}

#[test]
fn floods_of_frames_that_carry_nothing_end_the_connection() {
    if !only_octroi("nginx allows four times as much, which takes long") {
        return;
    }
    let server = Server::http(OK);
    let ping = frame(PING, 0, 0, &[0; 8]).repeat(500);
    let settings = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]).repeat(500);
    let window = frame(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes()).repeat(500);
    let priority = frame(2, 0, 1, &[0, 0, 0, 0, 16]).repeat(500);
    let before = server.private_memory();
    for (name, flood) in
        [("PING", ping), ("SETTINGS", settings), ("WINDOW_UPDATE", window), ("PRIORITY", priority)]
    {
        let mut wire = begun(&server);
        assert!(is_ended(&mut wire, |_| flood.clone()), "{name}");
        assert_serves(&server);
    }
    assert_grew_little(&server, before);
}

#[test]
fn empty_data_frames_end_the_connection() {
    if !only_octroi("nginx bears more of them") {
        return;
    }
    let up = Upstream::echo();
    let server = Server::before(
        &up,
        "server { listen 127.0.0.1:%%PORT%%; http2 on; location / { return 200; } location /up { proxy_pass http://%%UP%%; } }",
    );
    let mut list = GET.to_vec();
    (list[0], list[2]) = ((":method", "POST"), (":path", "/up"));
    for payload in [&b""[..], b"x"] {
        let mut wire = begun(&server);
        wire.send(frame(HEADERS, END_HEADERS, 1, &fields(&list)));
        let flood = frame(DATA, 0, 1, payload).repeat(500);
        assert!(is_ended(&mut wire, |_| flood.clone()), "{payload:?}");
        assert_serves(&server);
    }
}

#[test]
fn heads_without_end_end_the_connection() {
    if !only_octroi("nginx answers and goes on") {
        return;
    }
    let server = Server::http(OK);
    // CONTINUATION after CONTINUATION.
    let mut wire = begun(&server);
    wire.send(frame(HEADERS, END_STREAM, 1, &fields(&GET)));
    let more = frame(CONTINUATION, 0, 1, &fields(&[("x", "y")])).repeat(100);
    assert!(is_ended(&mut wire, |_| more.clone()));
    // A field that the table keeps, and names of it by one byte each: 4 KB a byte.
    let before = server.private_memory();
    let mut wire = begun(&server);
    let mut block = fields(&GET);
    block.extend([0x40, 1, b'x', 0x7f, 0xa1, 0x1e]);
    block.extend(vec![b'v'; 4000]);
    block.extend(vec![0xbe; 8000]);
    wire.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &block));
    if let Ok(block) = outcome(&mut wire, 1) {
        assert!(is_refusal(&block), "served");
    }
    assert_serves(&server);
    assert_grew_little(&server, before);
}

#[test]
fn streams_that_a_client_has_reset_for_it_end_the_connection() {
    if !only_octroi("nginx bears more of them") {
        return;
    }
    let up = Upstream::new(|origin| {
        let _ = origin.request();
        origin.gone();
    });
    let server = Server::before(
        &up,
        "server { listen 127.0.0.1:%%PORT%%; http2 on; location / { return 200; } location /up { proxy_pass http://%%UP%%; } }",
    );
    let mut list = GET.to_vec();
    list[2] = (":path", "/up");
    let block = fields(&list);
    // MadeYouReset: frames that have the server reset the stream.
    let no_window = |stream| frame(WINDOW_UPDATE, 0, stream, &[0; 4]);
    let overflow = |stream| frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffffu32.to_be_bytes());
    let data_behind_the_end = |stream| frame(DATA, 0, stream, b"x");
    let provocations: [Flood<'_>; 3] = [&no_window, &overflow, &data_behind_the_end];
    for (which, provoke) in provocations.into_iter().enumerate() {
        let before = up.connections();
        let mut wire = begun(&server);
        let mut sent = 0;
        let ended = is_ended(&mut wire, |round| {
            let mut out = Vec::new();
            for number in 0..8 {
                sent += 1;
                let stream = 2 * (8 * round as u32 + number) + 1;
                out.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, &block));
                out.extend(provoke(stream));
            }
            out
        });
        assert!(ended, "{which}: {sent} requests were reset, and the connection goes on");
        let reached = up.connections() - before;
        assert!(reached * 4 <= sent, "{which}: {reached} of {sent} reached the upstream");
        assert_serves(&server);
    }
}

#[test]
fn a_promise_of_a_client_ends_the_connection() {
    let server = Server::http(OK);
    let mut wire = begun(&server);
    // Not at its end, and not to be waited for.
    wire.send(frame(5, 0, 1, &[0, 0, 0, 2]));
    let code = loop {
        let (kind, _, _, payload) = next(&mut wire).expect("GOAWAY");
        if kind == GOAWAY {
            break payload[4..8].to_vec();
        }
    };
    assert_eq!(code, [0, 0, 0, 1]);
}

#[test]
fn downloads_through_tiny_windows_hold_nobody_up() {
    let server = Setup::http(
        "server { listen 127.0.0.1:%%PORT%%; http2 on; location / { root %%DIR%%; } location = / { return 200; } }",
    )
    .file("long", "x".repeat(1_000_000))
    .start();
    let before = server.private_memory();
    let mut list = GET.to_vec();
    list[2] = (":path", "/long");
    let block = fields(&list);
    let mut wires: Vec<Wire> = (0..4)
        .map(|_| {
            let mut wire = server.client();
            wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
            // SETTINGS_INITIAL_WINDOW_SIZE: 1.
            wire.send(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1]));
            for number in 0..100 {
                wire.send(frame(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, &block));
            }
            wire
        })
        .collect();
    for _ in 0..20 {
        for wire in &mut wires {
            for number in 0..100 {
                wire.send(frame(WINDOW_UPDATE, 0, 2 * number + 1, &1u32.to_be_bytes()));
            }
        }
        assert_serves(&server);
    }
    assert_grew_little(&server, before);
}

/// What is sent in each round.
type Flood<'f> = &'f dyn Fn(u32) -> Vec<u8>;

#[test]
fn abuse_over_tls_ends_as_well() {
    if !only_octroi("nginx bears more") {
        return;
    }
    let host = authority().sign("host");
    let server = Setup::http(
        "client_header_timeout 1s; ssl_certificate host.pem; ssl_certificate_key host.key; http2 on;
         server { listen 127.0.0.1:%%PORT_1%% ssl; return 200; } server { listen 127.0.0.1:%%PORT%%; return 200; }",
    )
    .file("host.pem", &host.pem)
    .file("host.key", &host.key)
    .start();
    let mut client = TlsClient::new();
    let mut config = (*client.0).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    client.0 = std::sync::Arc::new(config);
    let port = server.value("PORT_1").parse().unwrap();
    let block = fields(&GET);
    let floods: [(&str, Flood<'_>); 5] = [
        ("PING", &|_| frame(PING, 0, 0, &[0; 8]).repeat(500)),
        ("SETTINGS", &|_| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]).repeat(500)),
        ("rapid reset", &|round| {
            let mut out = Vec::new();
            for number in 0..100 {
                let stream = 2 * (100 * round + number) + 1;
                out.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, &block));
                out.extend(frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
            }
            out
        }),
        ("CONTINUATION", &|round| match round {
            0 => frame(HEADERS, END_STREAM, 1, &block),
            _ => frame(CONTINUATION, 0, 1, &fields(&[("x", "y")])).repeat(100),
        }),
        ("a head that does not end", &|round| match round {
            0 => frame(HEADERS, END_STREAM, 1, &block),
            _ => {
                pause(100);
                frame(CONTINUATION, 0, 1, &[])
            }
        }),
    ];
    let before = server.private_memory();
    for (name, flood) in floods {
        let mut tls = client.connect(port, "host").unwrap();
        tls.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        tls.send(frame(SETTINGS, 0, 0, &[]));
        tls.socket.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let begun = Instant::now();
        for round in 0.. {
            assert!(begun.elapsed() < Duration::from_secs(15), "{name}");
            let mut stream = rustls::Stream::new(&mut tls.tls, &mut tls.socket);
            match std::io::Write::write_all(&mut stream, &flood(round)) {
                Ok(()) => {}
                // Nothing is taken: it is not read any more.
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        assert_serves(&server);
    }
    assert_grew_little(&server, before);
}

#[test]
fn a_client_whose_window_stays_shut_is_given_up() {
    let server = Setup::http(
        "send_timeout 200ms; server { listen 127.0.0.1:%%PORT%%; http2 on; location / { root %%DIR%%; } location = /x { return 200; } }",
    )
    .file("long", "x".repeat(100_000))
    .start();
    let mut list = GET.to_vec();
    list[2] = (":path", "/long");
    let mut wire = server.client();
    wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    // SETTINGS_INITIAL_WINDOW_SIZE: 0.
    wire.send(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    wire.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &fields(&list)));
    assert_eq!(outcome(&mut wire, 1).map(|block| block[0]), Ok(0x88));
    assert!(outcome(&mut wire, 1).is_err(), "the stream is reset");
}

#[test]
fn no_more_streams_than_allowed() {
    let up = Upstream::new(|origin| {
        let _ = origin.request();
        origin.wait_release();
    });
    let server = Server::before(
        &up,
        "server { listen 127.0.0.1:%%PORT%%; http2 on; http2_max_concurrent_streams 2; location / { proxy_pass http://%%UP%%; } }",
    );
    let mut wire = begun(&server);
    for stream in [1, 3] {
        wire.send(frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields(&GET)));
    }
    up.wait_requests(2);
    wire.send(frame(HEADERS, END_STREAM | END_HEADERS, 5, &fields(&GET)));
    assert_eq!(outcome(&mut wire, 5), Err("reset"));
    up.release();
}
