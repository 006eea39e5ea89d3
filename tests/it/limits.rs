//! `limit_req` and `limit_conn`.

use crate::harness::*;

/// Answers of so many requests, one after the other.
fn statuses(server: &Server, target: &str, count: usize) -> Vec<u16> {
    (0..count).map(|_| server.get(target).status()).collect()
}

#[test]
fn what_exceeds_the_burst_is_refused() {
    let server = Setup::http(
        "limit_req_zone $arg_k zone=one:1m rate=1r/m;
         log_format short '$request_uri $status $limit_req_status';
         server { listen 127.0.0.1:%%PORT%%; root %%DIR%%/www; access_log %%DIR%%/short.log short;
           location /a/ { alias %%DIR%%/www/; limit_req zone=one burst=2 nodelay; }
           location /b/ { alias %%DIR%%/www/; limit_req zone=one; limit_req_status 429; limit_req_log_level warn; }
           location /free/ { alias %%DIR%%/www/; } }",
    )
    .file("www/f", "x")
    .start();
    assert_eq!(statuses(&server, "/a/f?k=1", 5), [200, 200, 200, 503, 503]);
    assert_eq!(statuses(&server, "/a/f?k=2", 1), [200]);
    // One zone: what came elsewhere counts here.
    assert_eq!(statuses(&server, "/b/f?k=2", 1), [429]);
    assert_eq!(statuses(&server, "/b/f?k=3", 3), [200, 429, 429]);
    // Without a key nothing is counted.
    assert_eq!(statuses(&server, "/a/f", 5), [200; 5]);
    assert_eq!(statuses(&server, "/free/f?k=1", 1), [200]);
    let log = server.log();
    let line = log.lines().find(|line| line.contains("limiting requests")).unwrap();
    assert!(line.contains("[error]") && line.contains(": *"), "{line}");
    let (_, facts) = line.split_once("limiting requests, excess: ").unwrap();
    // A thousandth flows off in 62 ms.
    assert!(
        facts.starts_with("3.000 by zone \"one\", client: 127.0.0.1, ") || facts.starts_with("2.9"),
        "{line}"
    );
    assert!(log.lines().any(|line| line.contains("[warn]") && line.contains("limiting requests")), "{log}");
    let lines = server.wait_lines("short.log", 16);
    let of = |text: &str| lines.iter().filter(|line| line.as_str() == text).count();
    assert_eq!(of("/a/f?k=1 200 PASSED"), 3);
    assert_eq!(of("/a/f?k=1 503 REJECTED"), 2);
    assert_eq!(of("/a/f 200 -"), 5);
    assert_eq!(of("/free/f?k=1 200 -"), 1);
}

#[test]
fn requests_within_the_burst_wait_for_their_turn() {
    let server = Setup::http(
        "limit_req_zone $arg_k zone=one:1m rate=5r/s;
         log_format short '$status $limit_req_status';
         server { listen 127.0.0.1:%%PORT%%; access_log %%DIR%%/short.log short;
           location /one/ { alias %%DIR%%/www/; limit_req zone=one burst=3; }
           location /two/ { alias %%DIR%%/www/; limit_req zone=one burst=3 delay=2; } }",
    )
    .file("www/f", "x")
    .start();
    let begun = std::time::Instant::now();
    assert_eq!(statuses(&server, "/one/f?k=1", 3), [200; 3]);
    // The first at once, each other after the fifth of a second.
    assert!(begun.elapsed().as_millis() >= 390, "{:?}", begun.elapsed());
    let line = server.log().lines().find(|line| line.contains("delaying request")).unwrap().to_owned();
    assert!(line.contains("[warn]"), "{line}");
    let (_, facts) = line.split_once("delaying request, excess: ").unwrap();
    assert!(facts.contains(", by zone \"one\", client: 127.0.0.1, "), "{line}");
    // Two may come early, the third waits.
    let mut clients: Vec<Wire> = (0..4).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send("GET /two/f?k=2 HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    assert!(clients.iter_mut().all(|client| client.recv().status() == 200));
    let lines = server.wait_lines("short.log", 7);
    assert_eq!(lines.iter().filter(|line| line.as_str() == "200 DELAYED").count(), 3, "{lines:?}");
    // Who leaves while it waits is not served.
    let mut gone = server.client();
    gone.send("GET /one/f?k=2 HTTP/1.1\r\nHost: a\r\n\r\n");
    drop(gone);
    assert_eq!(server.wait_lines("short.log", 8)[7], "499 DELAYED");
}

#[test]
fn several_limits_and_dry_run() {
    let server = Setup::http(
        "limit_req_zone $arg_a zone=a:1m rate=1r/m;
         limit_req_zone $arg_b zone=b:1m rate=1r/m;
         log_format short '$status $limit_req_status';
         server { listen 127.0.0.1:%%PORT%%; access_log %%DIR%%/short.log short;
           limit_req zone=a burst=1 nodelay; limit_req zone=b nodelay;
           location /both/ { alias %%DIR%%/www/; }
           location /a/ { alias %%DIR%%/www/; limit_req zone=a burst=1 nodelay; }
           location /dry/ { alias %%DIR%%/www/; limit_req zone=b; limit_req_dry_run on; } }",
    )
    .file("www/f", "x")
    .start();
    // The second limit refuses; then the first does not count either.
    assert_eq!(statuses(&server, "/both/f?a=1&b=1", 3), [200, 503, 503]);
    assert_eq!(statuses(&server, "/a/f?a=1", 2), [200, 503]);
    // The last one has no key: the others decide.
    assert_eq!(statuses(&server, "/both/f?a=2", 3), [200, 200, 503]);
    assert_eq!(statuses(&server, "/both/f?b=2", 2), [200, 503]);
    assert_eq!(statuses(&server, "/dry/f?b=3", 3), [200; 3]);
    let lines = server.wait_lines("short.log", 13);
    assert_eq!(lines[10..], ["200 PASSED", "200 REJECTED_DRY_RUN", "200 REJECTED_DRY_RUN"]);
    server.wait_log("limiting requests, dry run, excess: ");
}

#[test]
fn a_limit_is_asked_once() {
    let server = Setup::http(
        "limit_req_zone x zone=one:1m rate=1r/m;
         server { listen 127.0.0.1:%%PORT%%; error_page 404 /page/f; limit_req zone=one burst=1 nodelay;
           location /page/ { alias %%DIR%%/www/; }
           location / { root %%DIR%%/www; } }",
    )
    .file("www/f", "x")
    .start();
    assert_eq!(server.get("/none").answer(), (404, "x".to_owned()));
    assert_eq!(server.get("/f").status(), 200);
    assert_eq!(server.get("/f").status(), 503);
}

#[test]
fn a_rate_may_be_told_by_each_request() {
    if !only_octroi("rates of nginx hold no variables") {
        return;
    }
    let server = Setup::http(
        "plan free { rate 1r/m burst=9; } plan_default free;
         map $arg_tier $tier_rate { default 1r/m; gold 1000r/s; none ''; wrong fast; }
         limit_req_zone $arg_k zone=one:1m rate=$tier_rate;
         limit_req_zone $arg_k zone=two:1m rate=$plan_rate;
         log_format short '$status $limit_req_status';
         server { listen 127.0.0.1:%%PORT%%; access_log %%DIR%%/short.log short;
           location /one/ { alias %%DIR%%/www/; limit_req zone=one nodelay; }
           location /two/ { alias %%DIR%%/www/; limit_req zone=two burst=1 nodelay; }
           location /both/ { alias %%DIR%%/www/; limit_req zone=two burst=1 nodelay; limit_req zone=one nodelay; } }",
    )
    .file("www/f", "x")
    .start();
    assert_eq!(statuses(&server, "/one/f?k=1", 2), [200, 503]);
    // A thousand a second flow off in a millisecond each.
    eventually("gold comes through", || server.get("/one/f?k=1&tier=gold").status() == 200);
    assert_eq!(statuses(&server, "/one/f?k=2&tier=none", 3), [200; 3]);
    assert_eq!(statuses(&server, "/one/f?k=3&tier=wrong", 1), [503]);
    server.wait_log("invalid rate \"fast\" of zone \"one\", client: ");
    assert_eq!(statuses(&server, "/two/f?k=4", 3), [200, 200, 503]);
    assert_eq!(statuses(&server, "/both/f?k=5", 2), [200, 503]);
    assert_eq!(statuses(&server, "/both/f?k=6&tier=none", 3), [200, 200, 503]);
}

/// A configuration with two shards, or workers.
fn two(text: &str) -> Setup {
    Setup::whole(&format!(
        "worker_processes 2; daemon off; pid %%DIR%%/nginx.pid; error_log %%DIR%%/error.log info; events {{ }}
         http {{ access_log off; {text} }}"
    ))
}

/// How many of so many requests, each on a connection of its own, get 200.
fn passed(server: &Server, target: &str, count: usize) -> usize {
    let mut clients: Vec<Wire> = (0..count).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    clients.iter_mut().filter_map(|client| (client.recv().status() == 200).then_some(())).count()
}

#[test]
fn limits_hold_over_all_shards() {
    let server = two("limit_req_zone x zone=slow:1m rate=1r/m; limit_req_zone x zone=fast:1m rate=100r/s;
         server { listen 127.0.0.1:%%PORT%% reuseport;
           location /slow/ { alias %%DIR%%/www/; limit_req zone=slow burst=19 nodelay; }
           location /fast/ { alias %%DIR%%/www/; limit_req zone=fast burst=40 nodelay; } }")
    .file("www/f", "x")
    .start();
    assert_eq!(passed(&server, "/slow/f", 60), 20);
    let begun = std::time::Instant::now();
    let fast = passed(&server, "/fast/f", 120);
    // The burst, one on top, and what the rate lets in meanwhile.
    let most = 41 + begun.elapsed().as_millis() as usize / 10 + 1;
    assert!((20..=most).contains(&fast), "{fast} of {most}");
}

#[test]
fn counts_survive_a_reload() {
    let text = |key: &str, size: &str| {
        format!(
            "limit_req_zone {key} zone=one:{size} rate=1r/m;
             server {{ listen 127.0.0.1:%%PORT%%; root %%DIR%%/www; limit_req zone=one burst=1 nodelay; }}"
        )
    };
    let mut server = Setup::http(&text("$uri", "1m")).file("www/f", "x").start();
    assert_eq!(statuses(&server, "/f", 3), [200, 200, 503]);
    let reloaded = |server: &Server, count: usize| {
        server.reload();
        eventually("the old workers end", || server.log().matches("exited with code 0").count() >= count);
    };
    reloaded(&server, 1);
    assert_eq!(statuses(&server, "/f", 1), [503]);
    // The same zone cannot have another key; the configuration before stays.
    server.configure(&text("$host", "1m"));
    server.reload();
    server.wait_log("limit_req \"one\" uses the \"$host\" key while previously it used the \"$uri\" key");
    assert_eq!(statuses(&server, "/f", 1), [503]);
    // Another size makes it another zone.
    server.configure(&text("$host", "2m"));
    reloaded(&server, 2);
    assert_eq!(statuses(&server, "/f", 1), [200]);
}

#[test]
fn so_many_at_once() {
    let up = Upstream::new(|origin| {
        if origin.request().is_some_and(|request| request.target().contains("held")) {
            origin.wait_release();
        }
        origin.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let server = two("limit_conn_zone $arg_k zone=one:1m; limit_conn_zone $server_name zone=all:1m;
         log_format short '$status $limit_conn_status';
         server { listen 127.0.0.1:%%PORT%% reuseport; server_name here; access_log %%DIR%%/short.log short;
           location / { proxy_pass http://%%UP%%; limit_conn one 2; limit_conn all 3; limit_conn_status 429; }
           location /dry { proxy_pass http://%%UP%%; limit_conn one 1; limit_conn_dry_run on; } }")
    .put("UP", up.address())
    .start();
    let mut clients: Vec<Wire> = (0..3).map(|_| server.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(format!("GET /held?k={} HTTP/1.1\r\nHost: a\r\n\r\n", number / 2));
        up.wait_requests(number + 1);
    }
    for (target, status) in [
        ("/?k=0", 429),
        ("/?k=1", 429),
        ("/?k=2", 429),
        ("/", 429),
        ("/dry?k=0", 200),
        ("/dry?k=5", 200),
        ("/dry", 200),
    ] {
        assert_eq!(server.get(target).status(), status, "{target}");
    }
    server.wait_log("limiting connections by zone \"one\", client: 127.0.0.1, server: here, ");
    server.wait_log("limiting connections by zone \"all\", client: 127.0.0.1, ");
    server.wait_log("limiting connections, dry run, by zone \"one\", client: 127.0.0.1, ");
    up.release();
    assert!(clients.iter_mut().all(|client| client.recv().status() == 200));
    let lines = server.wait_lines("short.log", 10);
    let count = |text: &str| lines.iter().filter(|line| line.as_str() == text).count();
    assert_eq!(
        ["429 REJECTED", "200 REJECTED_DRY_RUN", "200 PASSED", "200 -"].map(count),
        [4, 1, 4, 1],
        "{lines:?}"
    );
    // What is over counts no more.
    eventually("places are free", || server.get("/?k=0").status() == 200);
}

#[test]
fn a_key_that_auth_request_gives_is_counted() {
    if !only_octroi("nginx asks limits before anybody is known, and counts no request without a key") {
        return;
    }
    let up = Upstream::always("HTTP/1.1 204 No Content\r\nX-Who: anna\r\n\r\n");
    let server = Setup::http(
        "limit_req_zone $tier zone=one:1m rate=1r/m; limit_conn_zone $who zone=two:1m;
         map $who $known { default \"\"; anna gold; } map $known $tier { default \"\"; gold $known; }
         server { listen 127.0.0.1:%%PORT%%;
           location / { auth_request /ask; auth_request_set $who $upstream_http_x_who;
             limit_req zone=one burst=1 nodelay; limit_conn two 1; root %%DIR%%/www; }
           location = /ask { proxy_pass http://%%UP%%; } }",
    )
    .put("UP", up.address())
    .file("www/f", "x")
    .start();
    assert_eq!(statuses(&server, "/f", 3), [200, 200, 503]);
}
