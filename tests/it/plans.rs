//! `plan`, `plan_default` and `enforce_plan`.

use crate::harness::*;
use std::time::{Duration, Instant};

const ONLY: &str = "nginx knows no plans";

/// A server with these plans, one location that is held to them and one that is not.
fn with_plans(plans: &str) -> Setup {
    Setup::http(&format!(
        "{plans}
         set_real_ip_from 127.0.0.1; real_ip_header X-From;
         log_format short '$request_uri $status $plan_name $plan_status $plan_rate $plan_rate_remaining $plan_concurrency_remaining';
         server {{ listen 127.0.0.1:%%PORT%%; access_log %%DIR%%/short.log short;
           location /a/ {{ alias %%DIR%%/www/; enforce_plan on; }}
           location /b/ {{ alias %%DIR%%/www/; enforce_plan on; }}
           location /free/ {{ alias %%DIR%%/www/; }}
           location /held {{ proxy_pass http://%%UP%%; enforce_plan on; }} }}"
    ))
    .put("UP", "127.0.0.1:1")
    .file("www/f", "x")
}

#[test]
fn a_plan_has_one_bucket_across_locations() {
    if !only_octroi(ONLY) {
        return;
    }
    let server = with_plans("plan free { rate 1r/m burst=2; } plan_default free;").start();
    let statuses =
        ["/a/f", "/b/f", "/a/f", "/b/f", "/a/f", "/free/f"].map(|target| server.get(target).status());
    assert_eq!(statuses, [200, 200, 200, 429, 429, 200]);
    let page = server.get_with("/b/f", "Host: a\r\nAccept: text/html\r\n");
    assert!(page.text().contains("<h1>429 Too Many Requests</h1>"), "{}", page.text());
    let refused = server.get("/b/f");
    assert_eq!(refused.get("Content-Type"), Some("application/problem+json"));
    assert!(refused.text().contains("\"status\":429"), "{}", refused.text());
    assert!(
        refused.text().contains("\"detail\":\"the requests of this caller come too fast\""),
        "{}",
        refused.text()
    );
    assert_eq!(refused.get("RateLimit-Policy"), Some("\"rate\";q=1;w=60"));
    let wait: u64 = refused.get("Retry-After").unwrap().parse().unwrap();
    assert!((55..=63).contains(&wait), "{wait}");
    assert!(refused.get("RateLimit").unwrap().starts_with("\"rate\";r=0;t="), "{refused:?}");
    // Where it does not hold nothing is told.
    let free = server.get("/free/f");
    assert_eq!(
        (free.get("RateLimit"), free.get("RateLimit-Policy"), free.get("Retry-After")),
        (None, None, None)
    );
    server.wait_log("limiting requests, excess: ");
    let line = server.log().lines().find(|line| line.contains("by plan")).unwrap().to_owned();
    assert!(line.contains("[error]") && line.contains(" by plan \"free\", client: 127.0.0.1, "), "{line}");
    let lines = server.wait_lines("short.log", 9);
    assert_eq!(lines[0], "/a/f 200 free PASSED 1r/m 1 -");
    assert_eq!(lines[3], "/b/f 429 free REJECTED_RATE 1r/m 0 -");
    assert_eq!(lines[5], "/free/f 200 free - 1r/m - -");
}

#[test]
fn strangers_are_known_by_address_and_by_network() {
    if !only_octroi(ONLY) {
        return;
    }
    let server = with_plans("plan free { rate 1r/m; } plan_default free;").start();
    let from = |address: &str| server.get_with("/a/f", &format!("Host: a\r\nX-From: {address}\r\n")).status();
    assert_eq!((from("192.0.2.1"), from("192.0.2.1"), from("192.0.2.2")), (200, 429, 200));
    // A /64 is one caller; an IPv4 address in IPv6's form is that address.
    assert_eq!(
        (from("2001:db8:0:1::1"), from("2001:db8:0:1:2:3:4:5"), from("2001:db8:0:2::1")),
        (200, 429, 200)
    );
    assert_eq!(from("::ffff:192.0.2.1"), 429);
}

#[test]
fn what_is_left_is_told() {
    if !only_octroi(ONLY) {
        return;
    }
    let server = with_plans("plan gold { rate 1000r/s burst=20; concurrency 5; } plan_default gold;").start();
    let told = |target: &str| {
        let answer = server.get(target);
        assert_eq!(
            answer.get("RateLimit-Policy"),
            Some("\"rate\";q=1000;w=1, \"concurrency\";q=5;qu=\"concurrent-requests\"")
        );
        (answer.status(), answer.get("RateLimit").unwrap().to_owned())
    };
    assert_eq!(told("/a/f"), (200, "\"rate\";r=19;t=1, \"concurrency\";r=4".to_owned()));
    // Also by errors.
    let (status, text) = told("/a/none");
    assert!(
        status == 404 && text.starts_with("\"rate\";r=1") && text.ends_with(", \"concurrency\";r=4"),
        "{text}"
    );
}

#[test]
fn requests_under_way_are_counted_until_they_end() {
    if !only_octroi(ONLY) {
        return;
    }
    let up = Upstream::new(|origin| {
        while let Some(request) = origin.request() {
            match request.target() {
                "/held" => origin.wait_release(),
                // Half an answer, and the end of the connection.
                "/held/cut" => {
                    origin.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
                    return;
                }
                _ => {}
            }
            origin.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let server =
        with_plans("plan free { concurrency 2; } plan_default free;").put("UP", up.address()).start();
    let mut clients: Vec<Wire> = (0..2).map(|_| server.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
        up.wait_requests(number + 1);
    }
    let refused = server.get("/a/f");
    assert_eq!((refused.status(), refused.get("Retry-After")), (429, Some("1")));
    assert_eq!(refused.get("RateLimit"), Some("\"concurrency\";r=0"));
    server.wait_log("limiting requests under way by plan \"free\", client: ");
    // One ends as it should, the other one's client leaves.
    clients.pop();
    eventually("the place of who left is free", || server.get("/a/f").status() == 200);
    up.release();
    assert_eq!(clients.pop().map(|mut client| client.recv().status()), Some(200));
    // An upstream that breaks off, an answer without a file, a request that is refused: all end.
    for _ in 0..3 {
        server.client().send("GET /held/cut HTTP/1.1\r\nHost: a\r\n\r\n");
        eventually("an answer without a file", || server.get("/a/none").status() == 404);
        server.exchange(
            "POST /a/f HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\nConnection: close\r\n\r\n",
        );
    }
    eventually("all places are free", || server.get("/a/f").get("RateLimit") == Some("\"concurrency\";r=1"));
}

#[test]
fn a_request_is_weighed_once_and_its_subrequests_never() {
    if !only_octroi(ONLY) {
        return;
    }
    let server = Setup::http(
        "plan free { rate 1r/m burst=3; } plan_default free; enforce_plan on;
         server { listen 127.0.0.1:%%PORT%%; root %%DIR%%/www; error_page 404 /page;
           location /asked { auth_request /ask; }
           location = /ask { return 204; }
           location /denied { deny all; }
           location /off { enforce_plan off; } }",
    )
    .file("www/page", "page")
    .file("www/asked", "asked")
    .file("www/off", "off")
    .start();
    let left = |target: &str| {
        let answer = server.get(target);
        (
            answer.status(),
            answer
                .all("RateLimit")
                .iter()
                .map(|text| text[..text.len().min(10)].to_owned())
                .collect::<Vec<_>>(),
        )
    };
    let told = |text: &str| vec![format!("\"rate\";r={text}")];
    // No more is told than a minute's requests: one.
    assert_eq!(left("/asked"), (200, told("1")));
    assert_eq!(left("/none"), (404, told("1")));
    // One that Access refuses is told and not counted.
    assert_eq!(left("/denied"), (403, told("1")));
    assert_eq!(left("/denied"), (403, told("1")));
    assert_eq!(left("/asked"), (200, told("1")));
    assert_eq!(left("/asked"), (200, told("0")));
    assert_eq!(left("/asked"), (429, told("0")));
    assert_eq!(left("/off"), (200, vec![]));
}

#[test]
fn an_error_page_tells_when_to_come_back() {
    if !only_octroi(ONLY) {
        return;
    }
    let server = Setup::http(
        "plan free { rate 1r/m; } plan_default free;
         server { listen 127.0.0.1:%%PORT%%; error_page 429 /later;
           location / { enforce_plan on; root %%DIR%%/www; }
           location = /later { root %%DIR%%/www; } }",
    )
    .file("www/later", "later")
    .file("www/f", "x")
    .start();
    assert_eq!(server.get("/f").status(), 200);
    let refused = server.get("/f");
    assert_eq!(refused.answer(), (429, "later".to_owned()));
    assert!(refused.get("Retry-After").is_some() && refused.get("RateLimit").is_some(), "{refused:?}");
}

#[test]
fn a_reload_keeps_the_counts() {
    if !only_octroi(ONLY) {
        return;
    }
    let mut server = with_plans("plan free { rate 1r/m; } plan_default free;").start();
    assert_eq!(server.get("/a/f").status(), 200);
    server.configure(
        "plan free { rate 1r/m burst=1; } plan_default free;
         server { listen 127.0.0.1:%%PORT%%; location /a/ { alias %%DIR%%/www/; enforce_plan on; } }",
    );
    server.reload();
    eventually("the new plan", || server.get("/a/f").status() == 200);
    assert_eq!(server.get("/a/f").status(), 429);
}

#[test]
fn a_quota_holds_for_a_window_of_the_calendar() {
    if !only_octroi(ONLY) {
        return;
    }
    let server = with_plans("plan free { quota 3/year; quota 100/month; } plan_default free;").start();
    let told = || {
        let answer = server.get("/a/f");
        assert_eq!(
            answer.get("RateLimit-Policy"),
            Some("\"month\";q=100;w=2592000, \"year\";q=3;w=31536000")
        );
        let text = answer.get("RateLimit").unwrap().to_owned();
        let left = |name: &str| {
            let item = text.split(", ").find(|item| item.contains(name)).unwrap();
            let number = |name: &str| {
                let value = item.split(';').find_map(|word| word.strip_prefix(name)).unwrap();
                value.parse::<u64>().unwrap()
            };
            (number("r="), number("t="))
        };
        (answer.status(), left("month"), left("year"), answer.get("Retry-After").map(str::to_owned))
    };
    for n in 1..=3 {
        let (status, month, year, _) = told();
        assert_eq!((status, month.0, year.0), (200, 100 - n, 3 - n));
        assert!(month.1 <= 31 * 86_400 && year.1 <= 366 * 86_400 && month.1 <= year.1, "{month:?} {year:?}");
    }
    let (status, month, year, wait) = told();
    // What one quota refuses, the other one does not count.
    assert_eq!((status, month.0, year.0), (429, 97, 0));
    assert!(wait.unwrap().parse::<u64>().unwrap().abs_diff(year.1) <= 1);
    server.wait_log("limiting requests by a quota of plan \"free\", client: 127.0.0.1, ");
}

/// Asks on so many connections at once, so many times a second on all of them together, for so long. How
/// many requests passed, and within what time all of it happened.
fn press(server: &Server, connections: u32, per_second: u32, time: Duration) -> (u64, Duration) {
    let begun = Instant::now();
    let gap = Duration::from_secs(1) * connections / per_second;
    let passed = std::thread::scope(|scope| {
        let client = |number: u32| {
            scope.spawn(move || {
                let mut client = server.client();
                let mut passed = 0;
                let mut due = begun + gap * number / connections;
                while due < begun + time {
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    due += gap;
                    client.send("GET /f HTTP/1.1\r\nHost: a\r\n\r\n");
                    passed += u64::from(client.recv().status() == 200);
                }
                passed
            })
        };
        let clients: Vec<_> = (0..connections).map(client).collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    (passed, begun.elapsed())
}

const RATE: u32 = 500;
const BURST: u32 = 200;

fn two_shards() -> Server {
    Setup::whole(&format!(
        "worker_processes 2; daemon off; pid %%DIR%%/nginx.pid; error_log %%DIR%%/error.log crit; events {{ }}
         http {{ access_log off; plan p {{ rate {RATE}r/s burst={BURST}; }} plan_default p;
           server {{ listen 127.0.0.1:%%PORT%%; keepalive_requests 100000; enforce_plan on; root %%DIR%%/www; }} }}"
    ))
    .file("www/f", "x")
    .start()
}

#[test]
fn two_shards_let_no_more_in_than_rate_and_burst() {
    if !only_octroi(ONLY) {
        return;
    }
    let (passed, took) = press(&two_shards(), 64, 4 * RATE, Duration::from_millis(1500));
    let most = f64::from(RATE) * took.as_secs_f64() + f64::from(BURST);
    assert!(passed as f64 <= most, "{passed} in {took:?}");
}

/// By hand, on a machine that has nothing else to do: what may pass does, nearly all of it.
#[test]
#[ignore = "takes ten seconds and a quiet machine"]
fn two_shards_let_nearly_all_of_it_in() {
    let seconds = Duration::from_secs(10);
    let (passed, took) = press(&two_shards(), 64, 2 * RATE, seconds);
    let most = f64::from(RATE) * took.as_secs_f64() + f64::from(BURST);
    let least = 0.97 * (f64::from(RATE) * seconds.as_secs_f64() + f64::from(BURST));
    println!("{passed} of {most} in {took:?}");
    assert!(passed as f64 <= most && passed as f64 >= least, "{passed} in {took:?}");
}
