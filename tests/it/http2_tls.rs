//! HTTP/2 over TLS: what is agreed on in the handshake, and what a request on it is told of it.

use crate::harness::*;
use crate::http2_client::*;
use crate::tls_client::{Client as TlsClient, authority};
use http::Request;
use std::sync::Arc;

const LISTEN: &str = "listen 127.0.0.1:%%PORT%% ssl; ssl_certificate host.pem; ssl_certificate_key host.key;";

fn setup(conf: &str) -> Setup {
    let host = authority().sign("host");
    Setup::http(conf)
        .file("host.pem", &host.pem)
        .file("host.key", &host.key)
        .file("root.pem", &authority().pem)
}

/// A client that offers these protocols, and the one that is agreed on.
fn agreed(server: &Server, name: &str, offers: &[&str]) -> Result<String, String> {
    let mut client = TlsClient::new();
    let mut config = (*client.0).clone();
    config.alpn_protocols = offers.iter().map(|offer| offer.as_bytes().to_vec()).collect();
    client.0 = Arc::new(config);
    let mut tls = client.connect(server.port(), name)?;
    let agreed =
        tls.tls.alpn_protocol().map_or_else(String::new, |name| String::from_utf8_lossy(name).into_owned());
    if agreed == "http/1.1" {
        tls.send(format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"));
        assert!(tls.rest().0.starts_with(b"HTTP/1.1 200"));
    }
    Ok(agreed)
}

fn to(host: &str, path: &str) -> Request<()> {
    Request::builder().uri(format!("https://{host}{path}")).body(()).unwrap()
}

#[test]
fn requests_know_of_their_session() {
    let server = setup(&format!(
        "server {{ {LISTEN} http2 on; add_header X-Alpn $ssl_alpn_protocol;
         return 200 \"$server_protocol $http2 $scheme $https $ssl_protocol $ssl_cipher $ssl_server_name $ssl_session_reused\"; }}"
    ))
    .start();
    let client = TlsClient::new();
    for reused in [".", "r"] {
        with_tls_client(&server, (&client, "host.example"), async |client, _| {
            for _ in 0..3 {
                let got = ask(&client, to("host.example", "/"), None).await;
                let want =
                    format!("HTTP/2.0 h2 https on TLSv1.3 TLS_AES_256_GCM_SHA384 host.example {reused}");
                assert_eq!((got.status, got.text(), got.get("x-alpn")), (200, want, "h2"));
            }
        });
    }
    with_tls_client(&server, (&TlsClient::old(), "host"), async |client, _| {
        assert!(ask(&client, to("host", "/"), None).await.text().contains(" TLSv1.2 "));
    });
}

#[test]
fn the_protocol_is_agreed_on_by_the_name() {
    let block = |name: &str, conf: &str| {
        format!("server {{ {LISTEN} server_name {name}; {conf} return 200 $host; }}")
    };
    let server =
        setup(&[block("one", ""), block("two", "http2 on;"), block("three", "http2 off;")].concat()).start();
    for (name, offers, want) in [
        ("one", &["h2", "http/1.1"][..], "http/1.1"),
        ("two", &["http/1.1", "h2"], "h2"),
        ("two", &["http/1.1"], "http/1.1"),
        ("two", &[], ""),
        ("other", &["h2", "http/1.1"], "http/1.1"),
        ("three", &["h2", "http/1.1"], "http/1.1"),
    ] {
        assert_eq!(agreed(&server, name, offers).as_deref(), Ok(want), "{name} {offers:?}");
    }
    assert!(agreed(&server, "one", &["h2"]).is_err());
    // A connection of HTTP/2 asks for servers that have it only.
    with_tls_client(&server, (&TlsClient::new(), "two"), async |client, _| {
        for (host, status) in [("two", 200), ("one", 421), ("three", 421), ("other", 421), ("two", 200)] {
            assert_eq!(ask(&client, to(host, "/"), None).await.status, status, "{host}");
        }
    });
    assert!(server.log().contains("for which the negotiated protocol is disabled"), "{}", server.log());
}

#[test]
fn listen_http2_is_for_all_names_of_the_address() {
    let listen = LISTEN.replace(" ssl;", " ssl http2;");
    let server = setup(&format!(
        "server {{ {listen} server_name one; return 200 $server_name; }}
         server {{ {LISTEN} server_name two; return 200 $server_name; }}"
    ))
    .start();
    with_tls_client(&server, (&TlsClient::new(), "two"), async |client, _| {
        for host in ["one", "two"] {
            assert_eq!(ask(&client, to(host, "/"), None).await.text(), host);
        }
    });
}

#[test]
fn clients_that_show_a_certificate_keep_to_the_name() {
    let server = setup(&format!(
        "ssl_client_certificate root.pem; server {{ {LISTEN} http2 on; server_name open; return 200 open; }}
         server {{ {LISTEN} http2 on; server_name closed; ssl_verify_client on; return 200 \"$ssl_client_verify $ssl_client_s_dn\"; }}"
    ))
    .start();
    let client = TlsClient::presenting(&authority().sign("client"));
    with_tls_client(&server, (&client, "closed"), async |client, _| {
        let got = ask(&client, to("closed", "/"), None).await;
        assert_eq!(got.text(), "SUCCESS CN=client,O=Octroi");
        assert_eq!(ask(&client, to("open", "/"), None).await.text(), "open");
    });
    with_tls_client(&server, (&client, "open"), async |client, _| {
        let got = ask(&client, to("closed", "/"), None).await;
        assert_eq!(got.status, 421, "{}", got.text());
    });
    with_tls_client(&server, (&TlsClient::new(), "closed"), async |client, _| {
        let got = ask(&client, to("closed", "/"), None).await;
        assert_eq!(got.status, 400);
        assert!(got.text().contains("No required SSL certificate was sent"), "{}", got.text());
    });
}

#[test]
fn bodies_go_both_ways() {
    let up = Upstream::new(|origin| {
        while let Some(request) = origin.request() {
            origin.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len()));
            origin.send(&request.body);
        }
    });
    let big: Vec<u8> = (0..2_000_000u32).map(|n| (n * 7 % 251) as u8).collect();
    let server = setup(&format!(
        "server {{ {LISTEN} http2 on; client_max_body_size 0; root %%DIR%%; location / {{ }}
         location /up {{ proxy_pass http://%%UP%%; }} location /now {{ proxy_pass http://%%UP%%; proxy_request_buffering off; proxy_buffering off; }} }}"
    ))
    .put("UP", up.address())
    .file("big", &big)
    .start();
    with_tls_client(&server, (&TlsClient::new(), "host"), async |client, _| {
        assert!(get(&client, "/big").await.body == big);
        for path in ["/up", "/now"] {
            for bytes in [1, 20_000, big.len()] {
                let got = ask(&client, request("POST", path), Some(big[..bytes].to_vec())).await;
                assert!(got.status == 200 && got.body == big[..bytes], "{path} {bytes}");
            }
        }
        let all: Vec<_> = (0..20)
            .map(|_| {
                let client = client.clone();
                tokio::task::spawn_local(async move { get(&client, "/big").await })
            })
            .collect();
        for got in all {
            assert!(got.await.unwrap().body == big);
        }
    });
}

#[test]
fn an_idle_connection_ends_in_order() {
    let server =
        setup(&format!("server {{ {LISTEN} http2 on; keepalive_timeout 100ms; return 200 ok; }}")).start();
    with_tls_client(&server, (&TlsClient::new(), "host"), async |client, ended| {
        assert_eq!(get(&client, "/").await.text(), "ok");
        // GOAWAY, and close_notify: what ends without the latter is an error to the client.
        ended.await.unwrap().unwrap();
        drop(client);
    });
}
