//! Extended CONNECT (RFC 8441): WebSockets on streams of HTTP/2, an Upgrade to the upstream. NGINX has none.

use crate::harness::*;
use crate::http2_client::*;
use crate::tls_client::{Client as TlsClient, authority};
use bytes::Bytes;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use octroi::base::base64;
use sha1::{Digest, Sha1};
use std::time::Duration;

const TUNNEL: &str = "access_log %%DIR%%/access.log combined; server { listen 127.0.0.1:%%PORT%%; http2 on;
    location / { proxy_pass http://%%UP%%; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }
    location /own { return 200 own; } location /no { return 403; } }";

/// What a server of WebSockets answers a key with.
fn accept(key: &str) -> String {
    let mut text = Vec::new();
    let digest =
        Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    base64::encode(&digest, &mut text);
    String::from_utf8(text).unwrap()
}

fn agrees(origin: &mut Origin) {
    let request = origin.head().unwrap();
    origin.send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Own: yes\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        accept(request.get("sec-websocket-key").unwrap())
    ));
}

/// Bytes of a long message.
const LONG: usize = 200_000;

/// An upstream that agrees and then sends back what it gets, four bytes at a time or, after `LONG`, a long
/// message, and its end.
fn echo() -> Upstream {
    Upstream::new(|origin| {
        agrees(origin);
        while let Ok(mut bytes) = origin.wire.take(4) {
            if bytes == b"LONG" {
                bytes = origin.wire.take(LONG).unwrap();
            }
            origin.send(bytes);
        }
        origin.send("end!");
    })
}

fn asked(path: &str) -> Request<()> {
    Request::builder()
        .method("CONNECT")
        .uri(format!("http://a{path}"))
        .extension(Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat")
        .body(())
        .unwrap()
}

/// Asks for a tunnel.
async fn open(client: &Client, request: Request<()>) -> (Response<RecvStream>, SendStream<Bytes>) {
    while !client.is_extended_connect_protocol_enabled() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut client = client.clone().ready().await.unwrap();
    let (answer, send) = client.send_request(request, false).unwrap();
    (answer.await.unwrap(), send)
}

/// Reads so many bytes.
async fn take(body: &mut RecvStream, count: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < count {
        let piece = body.data().await.unwrap().unwrap();
        let _ = body.flow_control().release_capacity(piece.len());
        all.extend_from_slice(&piece);
    }
    all
}

fn tls_server(up: &Upstream) -> Server {
    let host = authority().sign("host");
    let conf =
        TUNNEL.replace("%%PORT%%;", "%%PORT%% ssl; ssl_certificate host.pem; ssl_certificate_key host.key;");
    let setup = Setup::http(&conf).put("UP", up.address());
    setup.file("host.pem", &host.pem).file("host.key", &host.key).start()
}

async fn talks(client: Client, up: &Upstream) {
    let (answer, mut send) = open(&client, asked("/chat?room=1")).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers().get("x-own").unwrap(), "yes");
    for name in ["sec-websocket-accept", "connection", "upgrade", "content-length", "transfer-encoding"] {
        assert!(answer.headers().get(name).is_none(), "{name}");
    }
    let request = up.last();
    assert_eq!(request.start, "GET /chat?room=1 HTTP/1.1");
    assert_eq!((request.get("upgrade"), request.get("connection")), (Some("websocket"), Some("upgrade")));
    assert_eq!(request.get("sec-websocket-version"), Some("13"));
    assert_eq!(request.get("sec-websocket-protocol"), Some("chat"));
    assert_eq!((request.get("content-length"), request.get("transfer-encoding")), (None, None));
    let mut body = answer.into_body();
    for message in ["ping", "pong", "\0\r\n\u{1}"] {
        send.send_data(message.into(), false).unwrap();
        assert_eq!(take(&mut body, 4).await, message.as_bytes());
    }
    let long = "0123".repeat(LONG / 4);
    send.send_data("LONG".into(), false).unwrap();
    let mut rest = Bytes::from(long.clone());
    let sent = async {
        while !rest.is_empty() {
            send.reserve_capacity(rest.len());
            let room = std::future::poll_fn(|cx| send.poll_capacity(cx)).await.unwrap().unwrap();
            send.send_data(rest.split_to(room.min(rest.len())), false).unwrap();
        }
        // The end of one side is not that of the other.
        send.send_data(Bytes::new(), true).unwrap();
    };
    let ((), back) = tokio::join!(sent, take(&mut body, long.len() + 4));
    assert_eq!(back, [long.as_bytes(), b"end!"].concat());
    while let Some(piece) = body.data().await {
        assert!(piece.unwrap().is_empty());
    }
    assert!(body.is_end_stream());
}

#[test]
fn a_websocket_is_an_upgrade_to_the_upstream() {
    if !only_octroi("nginx has no extended CONNECT") {
        return;
    }
    let up = echo();
    let server = Server::before(&up, TUNNEL);
    with_client(&server, async |client, _| talks(client, &up).await);
    let lines = server.wait_lines("access.log", 1);
    assert!(lines[0].contains("\"GET /chat?room=1 HTTP/2.0\" 200 200016 "), "{lines:?}");
    let server = tls_server(&up);
    with_tls_client(&server, (&TlsClient::new(), "host"), async |client, _| talks(client, &up).await);
}

#[test]
fn many_tunnels_and_requests_share_a_connection() {
    if !only_octroi("nginx has no extended CONNECT") {
        return;
    }
    let up = echo();
    let server = Server::before(&up, TUNNEL);
    with_client(&server, async |client, _| {
        let mut open_ones = Vec::new();
        for _ in 0..20 {
            open_ones.push(open(&client, asked("/")).await);
        }
        for (number, (_, send)) in open_ones.iter_mut().enumerate() {
            send.send_data(format!("{number:04}").into(), false).unwrap();
        }
        let got = get(&client, "/own").await;
        assert_eq!(got.text(), "own", "{got:?}");
        for (number, (answer, _)) in open_ones.iter_mut().enumerate() {
            assert_eq!(take(answer.body_mut(), 4).await, format!("{number:04}").as_bytes());
        }
    });
}

#[test]
fn what_breaks_off_breaks_off_on_the_other_side() {
    if !only_octroi("nginx has no extended CONNECT") {
        return;
    }
    // The upstream: what it has not read makes its end a reset.
    let up = Upstream::new(|origin| {
        agrees(origin);
        origin.wait_release();
    });
    let server = Server::before(&up, TUNNEL);
    with_client(&server, async |client, _| {
        let (mut answer, mut send) = open(&client, asked("/")).await;
        send.send_data("unread".into(), false).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        up.release();
        let end = answer.body_mut().data().await;
        assert_eq!(end.unwrap().unwrap_err().reason(), Some(h2::Reason::CANCEL));
        assert_eq!(get(&client, "/own").await.text(), "own");
    });
    // The client.
    let up = Upstream::new(|origin| {
        agrees(origin);
        assert!(origin.wire.take(1).is_err());
    });
    let server = Server::before(&up, TUNNEL);
    with_client(&server, async |client, _| {
        let (_answer, mut send) = open(&client, asked("/")).await;
        send.send_reset(h2::Reason::CANCEL);
        while up.open() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(get(&client, "/own").await.text(), "own");
    });
}

#[test]
fn who_does_not_switch_is_not_taken_for_a_tunnel() {
    if !only_octroi("nginx has no extended CONNECT") {
        return;
    }
    let up = Upstream::new(|origin| {
        while let Some(request) = origin.head() {
            let answer = match request.target() {
                "/wrong" => "HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: AAAA\r\n\r\n",
                "/without" => "HTTP/1.1 101 OK\r\nUpgrade: websocket\r\n\r\n",
                "/moved" => "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            };
            origin.send(answer);
        }
    });
    let server = Server::before(&up, TUNNEL);
    with_client(&server, async |client, _| {
        for (path, status) in
            [("/own", 501), ("/", 501), ("/no", 403), ("/moved", 302), ("/wrong", 502), ("/without", 502)]
        {
            let (answer, _send) = open(&client, asked(path)).await;
            assert_eq!(answer.status().as_u16(), status, "{path}");
        }
        let mut long = asked("/");
        long.headers_mut().insert("content-length", "3".parse().unwrap());
        let (answer, _send) = open(&client, long).await;
        assert_eq!(answer.status(), 400);
        assert_eq!(get(&client, "/own").await.text(), "own");
    });
}

#[test]
fn silence_ends_a_tunnel() {
    if !only_octroi("nginx has no extended CONNECT") {
        return;
    }
    let up = echo();
    let conf = TUNNEL.replace("location / {", "location / { proxy_read_timeout 200ms;");
    let server = Server::before(&up, &conf);
    with_client(&server, async |client, _| {
        let (mut answer, mut send) = open(&client, asked("/")).await;
        send.send_data("ping".into(), false).unwrap();
        assert_eq!(take(answer.body_mut(), 4).await, b"ping");
        let end = answer.body_mut().data().await;
        assert!(end.is_none_or(|piece| piece.is_err()));
    });
}

#[test]
fn reloads_close_no_tunnel_and_lose_no_stream() {
    if !only_octroi("nginx has no extended CONNECT") {
        return;
    }
    let up = echo();
    let other = Upstream::ok("fine");
    let conf =
        TUNNEL.replace("location /own {", "location /up { proxy_pass http://%%OTHER%%/; } location /own {");
    let server = Setup::http(&conf).put("UP", up.address()).put("OTHER", other.address()).start();
    let port = server.port();
    in_time(async {
        let (client, _ended) = connect(port).await;
        let (mut answer, mut send) = open(&client, asked("/")).await;
        let over = std::rc::Rc::new(std::cell::Cell::new(false));
        // Each asks until it is told to go elsewhere, and goes on there.
        let askers: Vec<_> = (0..8)
            .map(|_| {
                let over = over.clone();
                tokio::task::spawn_local(async move {
                    let (mut asked, mut connections) = (0, 0);
                    while !over.get() {
                        let (client, _ended) = connect(port).await;
                        connections += 1;
                        while let Ok(mut ready) = client.clone().ready().await
                            && !over.get()
                        {
                            let Ok((answer, _)) = ready.send_request(request("GET", "/up"), true) else {
                                break;
                            };
                            let answer =
                                answer.await.unwrap_or_else(|e| panic!("request {asked} is lost: {e}"));
                            let mut body = answer.into_body();
                            assert_eq!(take(&mut body, 4).await, b"fine");
                            asked += 1;
                        }
                    }
                    (asked, connections)
                })
            })
            .collect();
        for round in 0..20 {
            server.signal("HUP");
            tokio::time::sleep(Duration::from_millis(60)).await;
            let message = format!("{round:04}");
            send.send_data(message.clone().into(), false).unwrap();
            assert_eq!(take(answer.body_mut(), 4).await, message.as_bytes());
        }
        over.set(true);
        for asker in askers {
            let (asked, connections) = asker.await.unwrap();
            assert!(asked > 20 && connections > 5, "{asked} on {connections}");
        }
    });
    assert!(!server.access_log().contains("\" 4") && !server.access_log().contains("\" 5"));
}
