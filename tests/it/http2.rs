//! HTTP/2 for clients in clear text: requests, bodies both ways, limits, and the life of a connection.
//! What a client of good will cannot send is in `http2_abuse.rs`.

use crate::harness::*;
use crate::http2_client::*;
use http::Request;
use std::time::Duration;

const OK: &str = "server { listen 127.0.0.1:%%PORT%%; http2 on;
    location / { return 200 \"$request_method $request_uri $server_protocol $http2 $http_host $http_cookie\"; } }";

/// Bytes that show where they stand.
fn long(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at / 7 + at % 251) as u8).collect()
}

#[test]
fn requests_and_answers() {
    let server = Server::http(OK);
    with_client(&server, async |client, _| {
        let got = get(&client, "/one?two").await;
        assert_eq!((got.status, got.text().as_str()), (200, "GET /one?two HTTP/2.0 h2c a "));
        assert_eq!((got.get("content-length"), got.get("content-type")), ("28", "text/plain"));
        assert!(!got.get("date").is_empty() && !got.get("server").is_empty());
        assert_eq!(got.get("connection"), "");
        let head = ask(&client, request("HEAD", "/"), None).await;
        assert_eq!((head.status, head.get("content-length"), head.body.len()), (200, "22", 0));
        let post = ask(&client, request("POST", "/p"), Some(b"body".to_vec())).await;
        assert_eq!(post.text(), "POST /p HTTP/2.0 h2c a ");
        let mut cookies = request("GET", "/");
        for cookie in ["a=1", "b=2"] {
            cookies.headers_mut().append("cookie", cookie.parse().unwrap());
        }
        assert_eq!(ask(&client, cookies, None).await.text(), "GET / HTTP/2.0 h2c a a=1; b=2");
    });
    // The same port speaks HTTP/1.1.
    assert_eq!(server.get("/").text(), "GET / HTTP/1.1  localhost ");
}

#[test]
fn preface_in_pieces_and_without_http2() {
    let server = Server::http(OK);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for cut in [1, 3, 14, 18, 23, 24, 30] {
        let mut client = server.client();
        client.send(&preface[..cut]);
        pause(5);
        client.send(&preface[cut..]);
        // The server's own SETTINGS come first.
        assert_eq!(client.take(4).unwrap()[3], 4, "cut at {cut}");
    }
    assert_eq!(server.ask("PUT / HTTP/1.1\r\nHost: a\r\n\r\n").text(), "PUT / HTTP/1.1  a ");
    let server = Server::http("server { listen 127.0.0.1:%%PORT%%; location / { return 200; } }");
    let mut client = server.client();
    client.send(preface);
    assert!(client.take_until("\r\n").unwrap().contains(" 400 "));
}

#[test]
fn listen_http2_still_works() {
    let setup = Setup::http("server { listen 127.0.0.1:%%PORT%% http2; location / { return 200 $http2; } }");
    let outcome = setup.check();
    assert!(
        outcome.stderr.contains(
            "the \"listen ... http2\" directive is deprecated, use the \"http2\" directive instead"
        ),
        "{}",
        outcome.stderr
    );
    let server =
        Server::http("server { listen 127.0.0.1:%%PORT%% http2; location / { return 200 $http2; } }");
    with_client(&server, async |client, _| assert_eq!(get(&client, "/").await.text(), "h2c"));
}

#[test]
fn bodies_of_any_length_both_ways() {
    let up = Upstream::new(|origin| {
        while let Some(request) = origin.request() {
            origin.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len()));
            origin.send(&request.body);
        }
    });
    let server = Server::before(
        &up,
        "server { listen 127.0.0.1:%%PORT%%; http2 on; client_max_body_size 0; proxy_http_version 1.1;
            location / { proxy_pass http://%%UP%%; }
            location /now/ { proxy_pass http://%%UP%%; proxy_request_buffering off; }
            location /raw/ { proxy_pass http://%%UP%%; proxy_buffering off; http2_chunk_size 1k; } }",
    );
    with_client(&server, async |client, _| {
        for path in ["/", "/now/", "/raw/"] {
            for bytes in [1, 1000, 70_000, 1_000_000] {
                let got = ask(&client, request("POST", path), Some(long(bytes))).await;
                assert_eq!((got.status, got.cut), (200, false), "{path} {bytes}");
                assert!(got.body == long(bytes), "{path} {bytes}: {} bytes came", got.body.len());
            }
        }
    });
    assert_eq!(up.requests()[0].get("content-length"), Some("1"));
}

#[test]
fn many_requests_at_a_time() {
    let up = Upstream::echo();
    let server = Server::before(
        &up,
        "server { listen 127.0.0.1:%%PORT%%; http2 on; location / { proxy_pass http://%%UP%%; } }",
    );
    with_client(&server, async |client, _| {
        let all: Vec<_> = (0..100)
            .map(|number| {
                let client = client.clone();
                tokio::task::spawn_local(async move { get(&client, &format!("/{number}")).await })
            })
            .collect();
        for (number, got) in all.into_iter().enumerate() {
            let text = got.await.unwrap().text();
            assert!(text.starts_with(&format!("GET /{number} HTTP/1.1\r\nHost: ")), "{text}");
        }
    });
}

#[test]
fn fields_go_through_as_they_are() {
    let up = Upstream::once(
        "HTTP/1.1 201 Made\r\nContent-Length: 2\r\nX-One: 1\r\nX-one: 2\r\nConnection: close\r\nKeep-Alive: x\r\n\r\nok",
    );
    let server = Server::before(
        &up,
        "server { listen 127.0.0.1:%%PORT%%; http2 on; location / { proxy_pass http://%%UP%%; add_header X-Added $http_x_mine; } }",
    );
    with_client(&server, async |client, _| {
        let mut request = request("GET", "/");
        request.headers_mut().insert("x-mine", "a, b".parse().unwrap());
        request.headers_mut().insert("te", "trailers".parse().unwrap());
        let got = ask(&client, request, None).await;
        assert_eq!((got.status, got.text().as_str(), got.get("x-added")), (201, "ok", "a, b"));
        let ones: Vec<_> = got.fields.get_all("x-one").iter().collect();
        assert_eq!(ones, ["1", "2"]);
        assert_eq!((got.get("connection"), got.get("keep-alive")), ("", ""));
    });
    assert_eq!(up.last().get("x-mine"), Some("a, b"));
}

#[test]
fn trailers_follow_the_body() {
    let up = Upstream::once(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-End: yes\r\n\r\n",
    );
    let server = Server::before(
        &up,
        "server { listen 127.0.0.1:%%PORT%%; http2 on; location / { proxy_pass http://%%UP%%; proxy_http_version 1.1; add_trailer X-Sum 17; } }",
    );
    with_client(&server, async |client, _| {
        let got = get(&client, "/").await;
        assert_eq!(got.text(), "abc");
        assert_eq!(got.trailers.unwrap().get("x-sum").unwrap(), "17");
    });
}

#[test]
fn filters_ranges_and_errors_are_those_of_http_1() {
    let server = Setup::http(
        "server { listen 127.0.0.1:%%PORT%%; http2 on; client_max_body_size 10;
            gzip on; gzip_types *; gzip_min_length 1; location / { root %%DIR%%; }
            location /none { return 444; } location /up { proxy_pass http://127.0.0.1:1; }
            location /page { error_page 418 /p.html; return 418; } location = /p.html { root %%DIR%%; } }",
    )
    .file("p.html", "0123456789".repeat(30_000))
    .start();
    with_client(&server, async |client, _| {
        let whole = get(&client, "/p.html").await;
        assert_eq!((whole.status, whole.body.len(), whole.get("content-length")), (200, 300_000, "300000"));
        let mut part = request("GET", "/p.html");
        part.headers_mut().insert("range", "bytes=5-14".parse().unwrap());
        let part = ask(&client, part, None).await;
        assert_eq!((part.status, part.text().as_str()), (206, "5678901234"));
        let mut packed = request("GET", "/p.html");
        packed.headers_mut().insert("accept-encoding", "gzip".parse().unwrap());
        let packed = ask(&client, packed, None).await;
        assert_eq!((packed.get("content-encoding"), packed.get("content-length")), ("gzip", ""));
        assert!(packed.body.len() < 10_000 && !packed.cut);
        assert_eq!(get(&client, "/missing").await.status, 404);
        assert_eq!(get(&client, "/page").await.status, 418);
        assert!(get(&client, "/none").await.cut);
        let large = ask(&client, request("POST", "/up"), Some(long(11))).await;
        assert_eq!(large.status, 413);
        let mut told = request("POST", "/up");
        told.headers_mut().insert("content-length", "100000".parse().unwrap());
        assert_eq!(ask(&client, told, Some(long(100_000))).await.status, 413);
        // All of that on one connection, which goes on.
        assert_eq!(get(&client, "/p.html").await.status, 200);
    });
}

#[test]
fn a_host_is_named_once() {
    let server = Server::http(OK);
    with_client(&server, async |client, _| {
        for (host, status) in [("a", 200), ("b", 400)] {
            let mut request = request("GET", "/");
            request.headers_mut().insert("host", host.parse().unwrap());
            assert_eq!(ask(&client, request, None).await.status, status, "{host}");
        }
        let user = Request::builder().uri("http://user:word@a/").body(()).unwrap();
        let got = ask(&client, user, None).await;
        assert!(got.status == 400 || got.cut, "{got:?}");
    });
}

#[test]
fn heads_are_bounded() {
    let server = Server::http(&format!("large_client_header_buffers 2 1k; {OK}"));
    with_client(&server, async |client, _| {
        let with = |bytes: usize| {
            let mut request = request("GET", "/");
            request.headers_mut().insert("x-long", "x".repeat(bytes).parse().unwrap());
            request
        };
        assert_eq!(ask(&client, with(500), None).await.status, 200);
        let got = ask(&client, with(1500), None).await;
        assert!(got.cut || (400..500).contains(&got.status), "{got:?}");
    });
}

#[test]
fn an_upstream_that_breaks_off_cuts_the_stream_only() {
    let up = Upstream::once("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort");
    let server = Server::before(
        &up,
        "server { listen 127.0.0.1:%%PORT%%; http2 on; location / { return 200 ok; }
            location /cut { proxy_pass http://%%UP%%; } location /down { proxy_pass http://127.0.0.1:1; } }",
    );
    with_client(&server, async |client, _| {
        let got = get(&client, "/cut").await;
        assert!(got.cut && got.text() == "short", "{got:?}");
        assert_eq!(get(&client, "/down").await.status, 502);
        assert_eq!(get(&client, "/").await.text(), "ok");
    });
}

#[test]
fn a_client_that_resets_is_logged_as_gone() {
    let up = Upstream::new(|origin| {
        let _ = origin.request();
        origin.gone();
    });
    let server = Server::before(
        &up,
        "access_log %%DIR%%/access.log combined; server { listen 127.0.0.1:%%PORT%%; http2 on; location / { proxy_pass http://%%UP%%; } }",
    );
    with_client(&server, async |client, _| {
        let mut client = client.ready().await.unwrap();
        let (answer, mut stream) = client.send_request(request("GET", "/left"), true).unwrap();
        while up.requests().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stream.send_reset(h2::Reason::CANCEL);
        drop(answer);
        tokio::time::sleep(Duration::from_millis(10)).await;
        while !server.access_log().contains("/left") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(server.access_log().contains("\"GET /left HTTP/2.0\" 499 0 "), "{}", server.access_log());
}

#[test]
fn number_of_requests_is_bounded() {
    let server = Server::http(&format!("keepalive_requests 3; {OK}"));
    with_client(&server, async |client, ended| {
        for number in 1..=3 {
            assert_eq!(get(&client, "/").await.status, 200, "{number}");
        }
        // GOAWAY, and the end.
        drop(client);
        let _ = ended.await.unwrap();
    });
}

#[test]
fn idle_connections_end() {
    let server = Server::http(&format!("keepalive_timeout 100ms; {OK}"));
    with_client(&server, async |client, ended| {
        assert_eq!(get(&client, "/").await.status, 200);
        ended.await.unwrap().unwrap();
        drop(client);
    });
}

#[test]
fn a_reload_and_a_quit_lose_no_stream() {
    for signal in ["HUP", "QUIT"] {
        let up = Upstream::new(|origin| {
            let _ = origin.request();
            origin.wait_release();
            origin.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
        });
        let server = Server::before(
            &up,
            "server { listen 127.0.0.1:%%PORT%%; http2 on; location / { proxy_pass http://%%UP%%; } }",
        );
        with_client(&server, async |client, ended| {
            let one = client.clone();
            let waiting = tokio::task::spawn_local(async move { get(&one, "/").await });
            while up.requests().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            server.signal(signal);
            tokio::time::sleep(Duration::from_millis(200)).await;
            up.release();
            let got = waiting.await.unwrap();
            assert_eq!((got.status, got.text().as_str()), (200, "late"), "{signal}");
            // The client was told to go: the connection ends by itself.
            drop(client);
            let _ = ended.await.unwrap();
        });
    }
}

#[test]
fn obsolete_directives_are_accepted() {
    let outcome = Setup::http(
        "http2_recv_buffer_size 128k; http2_pool_size 4k; http2_idle_timeout 3m; http2_recv_timeout 30s;
         http2_max_requests 1000; http2_max_field_size 4k; http2_max_header_size 16k; http2_streams_index_size 32;
         http2_max_concurrent_pushes 10; http2_push_preload off; http2_push off;
         http2_max_concurrent_streams 100; http2_body_preread_size 32k; http2_chunk_size 4k;
         server { listen 127.0.0.1:%%PORT%%; http2 on; location / { return 200; } }",
    )
    .check();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
}
