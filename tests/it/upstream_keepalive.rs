//! Connections kept to upstreams.

use crate::harness::*;

/// Kept connections in a way that every nginx understands.
const KEPT: &str = "upstream g { server %%UP%%; keepalive 4; }
    server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://g; proxy_http_version 1.1; proxy_set_header Connection ''; } }";

#[test]
fn one_connection_serves_many_requests() {
    let up = Upstream::ok("ok");
    let server = Server::before(&up, KEPT);
    for _ in 0..10 {
        assert_eq!(server.get("/").text(), "ok");
    }
    assert_eq!((up.connections(), up.requests().len()), (1, 10));
    assert_eq!(up.last().get("connection"), None);
}

#[test]
fn kept_by_default() {
    if !since("1.29.7", "keepalive had to be asked for") {
        return;
    }
    let up = Upstream::ok("ok");
    let conf = "upstream g { server %%UP%%; } server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://g; } }";
    let server = Server::before(&up, conf);
    for _ in 0..5 {
        server.get("/");
    }
    assert_eq!(up.connections(), 1);
}

#[test]
fn not_kept_if_it_is_off() {
    if !since("1.29.7", "keepalive 0 was refused") {
        return;
    }
    let up = Upstream::ok("ok");
    let server = Server::before(&up, &KEPT.replace("keepalive 4", "keepalive 0"));
    for _ in 0..3 {
        server.get("/");
    }
    assert_eq!(up.connections(), 3);
}

#[test]
fn upstream_that_says_close_is_believed() {
    let up = Upstream::once("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    let server = Server::before(&up, KEPT);
    for _ in 0..3 {
        assert_eq!(server.get("/").text(), "ok");
    }
    assert_eq!(up.connections(), 3);
}

#[test]
fn http_1_0_answer_is_not_kept() {
    let up = Upstream::new(|origin| {
        origin.answer("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok");
        assert!(origin.gone());
    });
    let server = Server::before(&up, KEPT);
    for _ in 0..3 {
        assert_eq!(server.get("/").text(), "ok");
    }
    assert_eq!(up.connections(), 3);
}

#[test]
fn stale_connection_is_not_used() {
    // The upstream closes after each answer without saying so.
    let up = Upstream::once("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let server = Server::before(&up, KEPT);
    for _ in 0..20 {
        assert_eq!(server.get("/").text(), "ok");
    }
}

#[test]
fn connection_lost_under_a_request_is_tried_again() {
    // The second request is read, and then the connection closes: a fresh one must be tried.
    let up = Upstream::new(|origin| {
        origin.answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        origin.request();
    });
    let server = Server::before(&up, KEPT);
    for _ in 0..6 {
        assert_eq!(server.get("/").answer(), (200, "ok".to_owned()));
    }
}

#[test]
fn post_on_a_connection_lost_is_not_sent_twice() {
    let up = Upstream::new(|origin| {
        origin.answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        origin.request();
    });
    let server = Server::before(&up, KEPT);
    server.get("/");
    let post = "POST /once HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc";
    assert_eq!(server.ask(post).status(), 502);
    assert_eq!(up.requests().iter().filter(|request| request.start.starts_with("POST")).count(), 1);
}

#[test]
fn as_many_are_kept_as_is_said() {
    let up = Upstream::new(|origin| {
        while origin.request().is_some() {
            origin.wait_release();
            origin.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let server = Server::before(&up, KEPT);
    let mut clients: Vec<Wire> = (0..8).map(|_| server.client()).collect();
    clients.iter_mut().for_each(|client| client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    eventually("eight requests", || up.requests().len() == 8);
    up.release();
    clients.iter_mut().for_each(|client| assert_eq!(client.recv().text(), "ok"));
    eventually("four kept", || up.open() == 4);
    pause(100);
    assert_eq!(up.open(), 4);
}

#[test]
fn number_of_requests_of_a_connection_is_bounded() {
    let up = Upstream::ok("ok");
    let server = Server::before(&up, &KEPT.replace("keepalive 4;", "keepalive 4; keepalive_requests 3;"));
    for _ in 0..9 {
        server.get("/");
    }
    assert_eq!(up.connections(), 3);
}

#[test]
fn idle_connection_is_closed_after_its_time() {
    let up = Upstream::ok("ok");
    let server = Server::before(&up, &KEPT.replace("keepalive 4;", "keepalive 4; keepalive_timeout 1s;"));
    server.get("/");
    assert_eq!(up.open(), 1);
    eventually("the idle connection closed", || up.open() == 0);
}

#[test]
fn old_connection_is_closed_after_its_time() {
    let up = Upstream::ok("ok");
    let server = Server::before(&up, &KEPT.replace("keepalive 4;", "keepalive 4; keepalive_time 1s;"));
    for _ in 0..8 {
        server.get("/");
        pause(200);
    }
    assert!(up.connections() >= 2);
}

#[test]
fn connection_with_rest_of_an_answer_is_not_kept() {
    let up = Upstream::always(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    );
    let server = Server::before(&up, KEPT);
    for _ in 0..4 {
        assert_eq!(server.get("/").text(), "ok");
    }
}

#[test]
fn bytes_that_nobody_asked_for_close_an_idle_connection() {
    let up = Upstream::new(|origin| {
        origin.answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        pause(50);
        origin.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
        assert!(origin.gone());
    });
    let server = Server::before(&up, KEPT);
    for _ in 0..3 {
        assert_eq!(server.get("/").text(), "ok");
        pause(120);
    }
    assert_eq!(up.connections(), 3);
}

#[test]
fn answer_that_was_refused_half_way_is_not_kept() {
    // The client leaves: the upstream's connection is in the middle of an answer.
    let up = Upstream::new(|origin| {
        while let Some(request) = origin.request() {
            if request.target() == "/slow" {
                origin.gone();
                return;
            }
            origin.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let server = Server::before(&up, KEPT);
    let mut client = server.client();
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    up.wait_requests(1);
    drop(client);
    eventually("the upstream let go", || up.open() == 0);
    assert_eq!(server.get("/").text(), "ok");
}

#[test]
fn head_no_content_and_not_modified_keep_the_connection() {
    let up = Upstream::new(|origin| {
        while let Some(request) = origin.request() {
            origin.send(match request.target() {
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
            });
        }
    });
    let server = Server::before(&up, KEPT);
    assert_eq!(server.get("/204").status(), 204);
    assert_eq!(server.get("/304").status(), 304);
    assert_eq!(server.ask("HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").status(), 200);
    assert_eq!(server.get("/204").status(), 204);
    assert_eq!(up.connections(), 1);
}

#[test]
fn chunked_answers_keep_the_connection() {
    let up =
        Upstream::always("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nT: v\r\n\r\n");
    let server = Server::before(&up, KEPT);
    for _ in 0..4 {
        assert_eq!(server.get("/").text(), "ok");
    }
    assert_eq!(up.connections(), 1);
}

#[test]
fn answer_before_the_body_was_read_is_not_reused_wrongly() {
    // An early answer, body still under way: the next request must not follow on that connection.
    let up = Upstream::new(|origin| {
        while let Some(request) = origin.head() {
            let early = request.start.starts_with("POST");
            origin.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            if early {
                origin.gone();
                return;
            }
        }
    });
    let conf = KEPT.replace(
        "proxy_http_version",
        "proxy_request_buffering off; client_max_body_size 0; proxy_http_version",
    );
    let server = Server::before(&up, &conf);
    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nbegin");
    assert_eq!(client.recv().text(), "ok");
    drop(client);
    for _ in 0..3 {
        assert_eq!(server.get("/").text(), "ok");
    }
}

#[test]
fn connections_end_with_the_server() {
    let up = Upstream::ok("ok");
    let mut server = Server::before(&up, KEPT);
    server.get("/");
    server.signal("QUIT");
    assert_eq!(server.wait_exit(), Some(0));
    eventually("the kept connection closed", || up.open() == 0);
}
