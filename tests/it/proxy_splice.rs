//! Large answers that nothing has to look at, which the kernel passes on: what their clients and the logs
//! see is what it always is.

use crate::harness::*;

/// Bytes of an answer: several times what goes through a pipe at once.
const LARGE: usize = 3 * 1024 * 1024 + 77;

fn large() -> Vec<u8> {
    let mut bytes = (0..251).collect::<Vec<u8>>().repeat(LARGE / 251 + 1);
    bytes.truncate(LARGE);
    bytes
}

fn head(framing: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n")
}

fn with_length() -> String {
    head(&format!("Content-Length: {LARGE}"))
}

fn server(up: &Upstream, conf: &str) -> Server {
    let text = format!(
        "log_format up '$upstream_response_length $upstream_bytes_received $body_bytes_sent $upstream_status';
         access_log %%DIR%%/up.log up; upstream up {{ server %%UP%%; keepalive 4; }}
         server {{ listen 127.0.0.1:%%PORT%%; location / {{ proxy_pass http://up; proxy_http_version 1.1;
         proxy_set_header Connection ''; {conf} }} }}"
    );
    Server::before(up, &text)
}

fn assert_large(body: &[u8]) {
    assert_eq!(body.len(), LARGE);
    assert!(body == large(), "the bytes are others, or in another order");
}

#[test]
fn bodies_with_a_length_come_whole_and_leave_the_connections_in_step() {
    let up = Upstream::new(|origin| {
        while origin.request().is_some() {
            origin.send(with_length());
            origin.send(large());
        }
    });
    for conf in ["", "proxy_buffering off;", "proxy_max_temp_file_size 0;"] {
        let server = server(&up, conf);
        let before = up.connections();
        let mut client = server.client();
        for _ in 0..5 {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_large(&client.recv().body);
        }
        assert_eq!(up.connections() - before, 1);
        let all = with_length().len() + LARGE;
        assert_eq!(server.wait_lines("up.log", 5), vec![format!("{LARGE} {all} {LARGE} 200"); 5]);
    }
}

#[test]
fn bodies_until_the_end_of_the_connection_come_whole() {
    let up = Upstream::new(|origin| {
        origin.request();
        origin.send(head("Connection: close"));
        origin.send(large());
    });
    let server = server(&up, "");
    // For HTTP/1.1 they are chunked, for HTTP/1.0 they go out as they come.
    assert_large(&server.get("/").body);
    assert_large(&server.ask("GET / HTTP/1.0\r\n\r\n").body);
    let sent = server.wait_lines("up.log", 2).remove(1);
    assert!(sent.ends_with(&format!(" {LARGE} 200")), "{sent}");
}

#[test]
fn answers_that_come_in_drips_are_whole() {
    let up = Upstream::new(|origin| {
        origin.request();
        origin.send(with_length());
        let body = large();
        let (begin, rest) = body.split_at(1000);
        let (drips, rest) = rest.split_at(4000);
        origin.send(begin);
        for drip in drips.chunks(200) {
            pause(2);
            origin.send(drip);
        }
        origin.send(rest);
    });
    assert_large(&server(&up, "").get("/").body);
}

#[test]
fn what_breaks_off_is_cut_for_the_client_too() {
    for (is_reset, line) in [
        (false, "upstream prematurely closed connection while reading upstream"),
        (true, "failed (104: Connection reset by peer) while reading upstream"),
    ] {
        let up = Upstream::new(move |origin| {
            // The body of the request stays unread: closing resets.
            if is_reset {
                origin.head()
            } else {
                origin.request()
            };
            origin.send(with_length());
            origin.send(&large()[..LARGE / 2]);
            origin.wait_release();
        });
        let server = server(&up, "");
        let mut client = server.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
        client.send([b'b'; 100_000]);
        client.recv_to_head();
        // The end of what came may be held back for a full buffer, and a reset may overtake it.
        let mut got = client.take(LARGE / 4).unwrap();
        up.release();
        got.extend_from_slice(&client.rest());
        assert!(got.len() <= LARGE / 2 && got == large()[..got.len()]);
        server.wait_log(line);
        server.wait_lines("up.log", 1);
        assert!(is_reset || got.len() == LARGE / 2);
    }
}

#[test]
fn answer_that_stops_coming_is_cut() {
    let up = Upstream::new(|origin| {
        origin.request();
        origin.send(with_length());
        origin.send(&large()[..LARGE / 2]);
        origin.gone();
    });
    let server = server(&up, "proxy_read_timeout 100ms;");
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.recv_to_head();
    // The end of what came may be held back for a full buffer.
    assert!((LARGE / 4..=LARGE / 2).contains(&client.rest().len()));
    server.wait_log("upstream timed out (110: Connection timed out) while reading upstream");
}

#[test]
fn client_that_leaves_ends_it() {
    let up = Upstream::new(|origin| {
        origin.request();
        origin.send(with_length());
        origin.send(&large()[..LARGE / 2]);
        origin.wait_release();
        origin.send(&large()[LARGE / 2..]);
        origin.gone();
    });
    let server = server(&up, "");
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.recv_to_head();
    client.take(LARGE / 4).unwrap();
    drop(client);
    pause(20);
    up.release();
    let logged = server.wait_lines("up.log", 1).remove(0);
    assert!(logged.ends_with(" 200"), "{logged}");
}

#[test]
fn slow_clients_get_all_of_it() {
    let up = Upstream::new(|origin| {
        while origin.request().is_some() {
            origin.send(head(&format!("Content-Length: {}", 8 * LARGE)));
            for _ in 0..8 {
                origin.send(large());
            }
        }
    });
    for conf in ["", "proxy_buffering off;", "proxy_max_temp_file_size 0;"] {
        let server = server(&up, conf);
        let mut client = server.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.recv_to_head();
        for _ in 0..8 {
            pause(30);
            assert_large(&client.take(LARGE).unwrap());
        }
        assert_eq!(server.wait_lines("up.log", 1).remove(0).split(' ').next(), Some("25166440"));
    }
}

#[test]
fn more_than_the_length_is_noticed() {
    let up = Upstream::new(|origin| {
        while origin.request().is_some() {
            let mut all = large();
            all.extend_from_slice(b"HTTP/1.1 200 OK\r\n\r\n");
            origin.send(with_length());
            origin.send(all);
        }
    });
    let server = server(&up, "");
    for _ in 0..2 {
        assert_large(&server.get("/").body);
    }
    assert_eq!(up.connections(), 2);
}
