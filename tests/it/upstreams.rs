//! `upstream {}`: who gets the next request, who is tried next, who is left alone.

use std::collections::BTreeMap;

use crate::harness::*;

/// Upstreams that answer with their own name, `a`, `b`, ...
fn named(count: usize) -> Vec<Upstream> {
    (0..count).map(|n| Upstream::ok(&name(n))).collect()
}

fn name(number: usize) -> String {
    char::from(b'a' + number as u8).to_string()
}

/// A server whose group `g` is written with `%%A%%`, `%%B%%`, ... for the upstreams.
fn group(ups: &[Upstream], servers: &str, location: &str) -> Server {
    let conf = format!(
        "upstream g {{ {servers} }} server {{ listen 127.0.0.1:%%PORT%%; location / {{ proxy_pass http://g; {location} }} }}"
    );
    let setup = Setup::http(&conf).put("DEAD", dead());
    ups.iter()
        .enumerate()
        .fold(setup, |setup, (n, up)| setup.put(&name(n).to_uppercase(), up.address()))
        .start()
}

/// An address where nobody listens, for the life of the test.
fn dead() -> String {
    let port = Box::leak(Box::new(Port::reserve()));
    port.address()
}

/// Who answers so many requests.
fn answers(server: &Server, count: usize) -> String {
    (0..count).map(|_| server.get("/").text()).collect()
}

fn tally(text: &str) -> BTreeMap<char, usize> {
    text.chars().fold(BTreeMap::new(), |mut counts, c| {
        *counts.entry(c).or_default() += 1;
        counts
    })
}

#[test]
fn round_robin_takes_turns() {
    let ups = named(3);
    let server = group(&ups, "server %%A%%; server %%B%%; server %%C%%;", "");
    assert_eq!(answers(&server, 6), "abcabc");
}

#[test]
fn weights_are_spread_smoothly() {
    let ups = named(3);
    let server = group(&ups, "server %%A%% weight=5; server %%B%%; server %%C%%;", "");
    assert_eq!(answers(&server, 14), "aabacaaaabacaa");
}

#[test]
fn down_gets_nothing() {
    let ups = named(2);
    let server = group(&ups, "server %%A%% down; server %%B%%;", "");
    assert_eq!(answers(&server, 4), "bbbb");
    assert_eq!(ups[0].connections(), 0);
}

#[test]
fn all_down() {
    let ups = named(1);
    let server = group(&ups, "server %%A%% down;", "");
    assert_eq!(server.get("/").status(), 502);
    server.wait_log("no live upstreams while connecting to upstream");
}

#[test]
fn backup_serves_when_the_others_are_gone() {
    let ups = named(2);
    let server = group(&ups, "server %%A%%; server %%B%% backup;", "");
    assert_eq!(answers(&server, 3), "aaa");
    let server = group(&ups, "server %%DEAD%%; server %%B%% backup;", "");
    assert_eq!(answers(&server, 3), "bbb");
}

#[test]
fn refused_connection_goes_to_the_next() {
    let ups = named(1);
    let server = group(&ups, "server %%DEAD%%; server %%A%%;", "");
    assert_eq!(answers(&server, 3), "aaa");
    assert!(server.log().contains("connect() failed (111: Connection refused) while connecting to upstream"));
}

#[test]
fn failed_server_rests() {
    // max_fails=1 fail_timeout=10s by default: after the refusal only the good one is asked.
    let ups = named(1);
    let server = group(&ups, "server %%DEAD%%; server %%A%%;", "");
    answers(&server, 8);
    assert_eq!(server.log().matches("Connection refused").count(), 1);
}

#[test]
fn failed_server_is_tried_again() {
    let ups = named(1);
    let server = group(&ups, "server %%DEAD%% fail_timeout=1s; server %%A%%;", "");
    answers(&server, 2);
    eventually("another try", || {
        pause(200);
        answers(&server, 2);
        server.log().matches("Connection refused").count() >= 2
    });
}

#[test]
fn failures_are_counted_up_to_max_fails() {
    let ups = named(1);
    let server = group(&ups, "server %%DEAD%% max_fails=3 fail_timeout=60s; server %%A%%;", "");
    answers(&server, 20);
    assert_eq!(server.log().matches("Connection refused").count(), 3);
}

#[test]
fn max_fails_zero_never_rests() {
    let ups = named(1);
    let server = group(&ups, "server %%DEAD%% max_fails=0; server %%A%%;", "");
    answers(&server, 10);
    assert!(server.log().matches("Connection refused").count() >= 5);
}

#[test]
fn only_server_is_never_given_up() {
    let port = Port::reserve();
    let conf = "upstream g { server %%DEAD%%; } server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://g; } }";
    let server = Setup::http(conf).put("DEAD", port.address()).start();
    for _ in 0..3 {
        assert_eq!(server.get("/").status(), 502);
    }
    assert_eq!(server.log().matches("Connection refused").count(), 3);
}

#[test]
fn all_failed_is_502_and_all_are_tried_once() {
    let conf = "upstream g { server %%D1%%; server %%D2%%; } server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://g; } }";
    let server = Setup::http(conf).put("D1", dead()).put("D2", dead()).start();
    assert_eq!(server.get("/").status(), 502);
    assert_eq!(server.log().matches("Connection refused").count(), 2);
    assert_eq!(server.get("/").status(), 502);
    server.wait_log("no live upstreams");
}

#[test]
fn closed_without_an_answer_goes_to_the_next() {
    let ups = vec![Upstream::new(|origin| drop(origin.request())), Upstream::ok("b")];
    let server = group(&ups, "server %%A%%; server %%B%%;", "");
    assert_eq!(answers(&server, 1), "b");
    server.wait_log("upstream prematurely closed connection while reading response header from upstream");
}

#[test]
fn timeout_goes_to_the_next() {
    let ups = vec![Upstream::new(|origin| drop((origin.request(), origin.gone()))), Upstream::ok("b")];
    let server = group(&ups, "server %%A%%; server %%B%%;", "proxy_read_timeout 500ms;");
    assert_eq!(answers(&server, 1), "b");
}

#[test]
fn malformed_answer_stops_unless_it_is_asked_for() {
    let ups = || vec![Upstream::once("HTTP/1.1 200 OK\r\nX A: v\r\n\r\n"), Upstream::ok("b")];
    let first = ups();
    let server = group(&first, "server %%A%%; server %%B%%;", "");
    assert_eq!(server.get("/").status(), 502);
    let second = ups();
    let server = group(&second, "server %%A%%; server %%B%%;", "proxy_next_upstream invalid_header;");
    assert_eq!(answers(&server, 1), "b");
}

#[test]
fn statuses_go_to_the_next_if_they_are_named() {
    let error = |status: u16| format!("HTTP/1.1 {status} X\r\nContent-Length: 1\r\n\r\nx");
    for status in [500, 502, 503, 504, 403, 404, 429] {
        let ups = vec![Upstream::always(error(status)), Upstream::ok("b")];
        let server =
            group(&ups, "server %%A%%; server %%B%%;", &format!("proxy_next_upstream http_{status};"));
        assert_eq!(answers(&server, 1), "b", "{status}");
        let server = group(&ups, "server %%A%%; server %%B%%;", "");
        assert_eq!(server.get("/").status(), status);
    }
}

#[test]
fn last_answer_is_given_when_all_have_it() {
    let ups: Vec<Upstream> = ["one", "two"]
        .iter()
        .map(|text| Upstream::always(format!("HTTP/1.1 503 X\r\nContent-Length: 3\r\n\r\n{text}")))
        .collect();
    let server = group(&ups, "server %%A%%; server %%B%%;", "proxy_next_upstream http_503;");
    assert_eq!(server.get("/").answer(), (503, "two".to_owned()));
}

#[test]
fn next_upstream_can_be_off() {
    let ups = named(1);
    let server = group(&ups, "server %%DEAD%%; server %%A%%;", "proxy_next_upstream off;");
    assert_eq!(server.get("/").status(), 502);
}

#[test]
fn tries_are_bounded() {
    let ups = named(1);
    let server = group(
        &ups,
        "server %%DEAD%%; server %%DEAD2%%; server %%A%%;".replace("%%DEAD2%%", &dead()).as_str(),
        "proxy_next_upstream_tries 2;",
    );
    assert_eq!(server.get("/").status(), 502);
    assert_eq!(ups[0].connections(), 0);
}

#[test]
fn time_of_the_tries_is_bounded() {
    let slow = || Upstream::new(|origin| drop((origin.request(), origin.gone())));
    let ups = vec![slow(), slow(), Upstream::ok("c")];
    let directives = "proxy_read_timeout 700ms; proxy_next_upstream_timeout 500ms;";
    let server = group(&ups, "server %%A%%; server %%B%%; server %%C%%;", directives);
    assert_eq!(server.get("/").status(), 504);
    assert_eq!(ups[2].connections(), 0);
}

#[test]
fn post_that_was_sent_is_not_repeated() {
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc";
    let ups = vec![Upstream::new(|origin| drop(origin.request())), Upstream::ok("b")];
    let server = group(&ups, "server %%A%%; server %%B%%;", "");
    assert_eq!(server.ask(post).status(), 502);
    assert_eq!(ups[1].connections(), 0);
}

#[test]
fn post_is_repeated_if_it_is_asked_for() {
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc";
    let ups = vec![Upstream::new(|origin| drop(origin.request())), Upstream::ok("b")];
    let server =
        group(&ups, "server %%A%%; server %%B%%;", "proxy_next_upstream error timeout non_idempotent;");
    assert_eq!(server.ask(post).text(), "b");
    assert_eq!(ups[1].last().text(), "abc");
}

#[test]
fn post_that_was_not_sent_goes_to_the_next() {
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc";
    let ups = named(1);
    let server = group(&ups, "server %%DEAD%%; server %%A%%;", "");
    assert_eq!(server.ask(post).text(), "a");
    assert_eq!(ups[0].last().text(), "abc");
}

#[test]
fn answer_that_has_begun_is_not_repeated() {
    let ups = vec![Upstream::once("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), Upstream::ok("b")];
    let server = group(&ups, "server %%A%%; server %%B%%;", "");
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.recv_cut();
    assert_eq!(ups[1].connections(), 0);
}

#[test]
fn connections_to_a_server_can_be_bounded() {
    let slow = || {
        Upstream::new(|origin| {
            origin.request();
            origin.wait_release();
            origin.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
        })
    };
    let ups = vec![slow(), slow()];
    let server = group(&ups, "server %%A%% max_conns=1; server %%B%% max_conns=1;", "");
    let mut clients: Vec<Wire> = (0..3).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        pause(50);
    }
    assert_eq!(clients[2].recv().status(), 502);
    assert_eq!((ups[0].connections(), ups[1].connections()), (1, 1));
    ups.iter().for_each(Upstream::release);
    assert_eq!(clients[0].recv().status(), 200);
    assert_eq!(clients[1].recv().status(), 200);
}

#[test]
fn weights_share_out_a_hundred_requests() {
    let ups = named(2);
    let server = group(&ups, "server %%A%% weight=3; server %%B%% weight=1;", "");
    assert_eq!(tally(&answers(&server, 100)), BTreeMap::from([('a', 75), ('b', 25)]));
}

#[test]
fn ports_default_to_80_and_names_resolve() {
    let ups = named(1);
    let port = ups[0].address().rsplit(':').next().unwrap().to_owned();
    let server = group(&ups, &format!("server localhost:{port};"), "");
    assert_eq!(answers(&server, 2), "aa");
}
