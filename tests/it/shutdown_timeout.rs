//! `worker_shutdown_timeout`: what is old may finish, but not for ever.

use crate::harness::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A server with this timeout and this in its `/`.
fn conf(timeout: &str, location: &str) -> String {
    let temporary = if program().is_octroi() {
        ""
    } else {
        "client_body_temp_path %%DIR%%/body; proxy_temp_path %%DIR%%/proxy;
         fastcgi_temp_path %%DIR%%/fastcgi; uwsgi_temp_path %%DIR%%/uwsgi; scgi_temp_path %%DIR%%/scgi;"
    };
    format!(
        "daemon off; pid %%DIR%%/nginx.pid; error_log %%DIR%%/error.log info;
         worker_shutdown_timeout {timeout}; events {{ }} http {{ access_log %%DIR%%/access.log; {temporary}
         server {{ listen 127.0.0.1:%%PORT%%; location / {{ {location} }} location /new {{ return 204; }} }} }}"
    )
}

fn start(timeout: &str, location: &str, up: &Upstream) -> Server {
    Setup::whole(&conf(timeout, location)).put("UP", up.address()).start()
}

/// Answers nothing until the peer has gone.
fn silent() -> Upstream {
    Upstream::new(|origin| drop((origin.request(), origin.gone())))
}

/// Switches protocols and then echoes.
fn tunnel() -> Upstream {
    Upstream::new(|origin| {
        origin.head();
        origin.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        while let Ok(bytes) = origin.wire.take(4) {
            origin.send(bytes);
        }
    })
}

const TUNNEL: &str = "proxy_pass http://%%UP%%; proxy_http_version 1.1;
                      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;";

fn upgraded(server: &Server) -> Wire {
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(client.recv_to_head().status(), 101);
    client.send("ping");
    assert_eq!(client.take(4).unwrap(), b"ping");
    client
}

#[test]
fn connection_that_asked_nothing_is_closed_after_a_reload() {
    let server = start("20ms", "return 204;", &silent());
    let mut client = server.client();
    // Until it is accepted nobody can close it.
    assert_eq!(server.get("/").status(), 204);
    pause(20);
    server.reload();
    client.assert_closed();
}

#[test]
fn tunnel_is_closed_after_a_reload() {
    let up = tunnel();
    let server = start("20ms", TUNNEL, &up);
    let mut client = upgraded(&server);
    server.reload();
    client.assert_closed();
    eventually("the end of the upstream's side", || up.open() == 0);
    server.wait_lines("access.log", 1);
    assert!(server.access_log().contains("\" 101 "));
}

#[test]
fn tunnel_goes_on_within_the_time() {
    let up = tunnel();
    let server = start("1h", TUNNEL, &up);
    let mut client = upgraded(&server);
    server.reload();
    pause(100);
    client.send("pong");
    assert_eq!(client.take(4).unwrap(), b"pong");
}

#[test]
fn tunnel_is_closed_on_quit() {
    let up = tunnel();
    let mut server = start("50ms", TUNNEL, &up);
    let mut client = upgraded(&server);
    server.signal("QUIT");
    client.assert_closed();
    assert_eq!(server.wait_exit(), Some(0));
}

#[test]
fn request_that_waits_for_its_upstream_is_closed() {
    for (signal, abort) in [("HUP", "off"), ("HUP", "on"), ("QUIT", "off"), ("QUIT", "on")] {
        let up = silent();
        let location = format!("proxy_pass http://%%UP%%; proxy_ignore_client_abort {abort};");
        let mut server = start("20ms", &location, &up);
        let mut client = server.client();
        client.send(GET);
        up.wait_requests(1);
        server.signal(signal);
        client.assert_closed();
        eventually("the end of the upstream's side", || up.open() == 0);
        if signal == "QUIT" {
            assert_eq!(server.wait_exit(), Some(0), "{abort}");
        }
    }
}

#[test]
fn answer_that_is_cut_does_not_look_whole() {
    let up = Upstream::new(|origin| {
        origin.request();
        // Without a length: its end is that of the connection.
        origin.send("HTTP/1.0 200 OK\r\n\r\nhalf");
        origin.gone();
    });
    let server = start("20ms", "proxy_pass http://%%UP%%; proxy_buffering off;", &up);
    let mut client = server.client();
    client.send(GET);
    up.wait_requests(1);
    // Once its first part is there.
    client.take_until("half").unwrap();
    server.reload();
    let rest = String::from_utf8_lossy(&client.rest()).into_owned();
    assert!(!rest.contains("0\r\n\r\n"), "the last chunk of a body that was cut: {rest:?}");
    eventually("the end of the upstream's side", || up.open() == 0);
}

#[test]
fn request_that_ends_in_time_is_answered() {
    let up = Upstream::new(|origin| {
        origin.request();
        origin.wait_release();
        origin.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
    });
    let mut server = start("1h", "proxy_pass http://%%UP%%;", &up);
    let mut client = server.client();
    client.send(GET);
    up.wait_requests(1);
    server.signal("QUIT");
    server.wait_log("gracefully shutting down");
    up.release();
    assert_eq!(client.recv().text(), "late");
    assert_eq!(server.wait_exit(), Some(0));
}

#[test]
fn connection_that_moved_on_stays() {
    if !only_octroi("connections move on to the new configuration") {
        return;
    }
    let mut server = start("300ms", "return 200 one;", &silent());
    let mut client = server.client();
    client.send(GET);
    assert_eq!(client.recv().text(), "one");
    server.configure(&conf("300ms", "return 200 two;"));
    server.reload();
    eventually("the new answer", || server.get("/").text() == "two");
    client.send(GET);
    assert_eq!(client.recv().text(), "two");
    pause(500);
    client.send(GET);
    assert_eq!(client.recv().text(), "two");
}
