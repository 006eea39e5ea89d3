//! `listen ... proxy_protocol`: what a balancer says before the connection's first byte.

use crate::harness::*;

const V1: &str = "PROXY TCP4 192.0.2.1 192.0.2.2 123 5678\r\n";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// What the header said, and who the client is.
const TELL: &str = "return 200 '$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr \
                    $proxy_protocol_server_port $remote_addr';";

fn telling() -> Server {
    Server::http(&format!("server {{ listen 127.0.0.1:%%PORT%% proxy_protocol; {TELL} }}"))
}

/// A header of version 2.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[command, family], &length, rest].concat()
}

const ADDRESSES: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0, 123, 0x16, 0x2e];

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(value.len()).unwrap().to_be_bytes();
    [&[kind, high, low], value].concat()
}

/// The answer to a request behind this header.
fn said(server: &Server, header: &[u8]) -> String {
    let mut client = server.client();
    client.send([header, GET.as_bytes()].concat());
    client.recv().text()
}

#[test]
fn version_1() {
    let server = telling();
    assert_eq!(said(&server, V1.as_bytes()), "192.0.2.1 123 192.0.2.2 5678 127.0.0.1");
    let v6 = b"PROXY TCP6 2001:DB8::1 2001:DB8::2 123 5678\r\n";
    assert_eq!(said(&server, v6), "2001:DB8::1 123 2001:DB8::2 5678 127.0.0.1");
    assert_eq!(said(&server, b"PROXY UNKNOWN\r\n"), "    127.0.0.1");
    assert_eq!(said(&server, b"PROXY UNKNOWN a b c\r\n"), "    127.0.0.1");
}

#[test]
fn version_2() {
    let server = telling();
    let told = "192.0.2.1 123 192.0.2.2 5678 127.0.0.1";
    assert_eq!(said(&server, &v2(0x21, 0x11, &ADDRESSES)), told);
    assert_eq!(said(&server, &v2(0x21, 0x11, &[&ADDRESSES[..], &tlv(1, b"h2")].concat())), told);
    let mut v6 = [0; 36];
    (v6[0], v6[15], v6[31], v6[33]) = (0x20, 1, 2, 80);
    assert_eq!(said(&server, &v2(0x21, 0x21, &v6)), "2000::1 80 ::2  127.0.0.1");
    for nobody in
        [v2(0x20, 0x11, &ADDRESSES), v2(0x20, 0, &[]), v2(0x21, 0x41, &[1]), v2(0x21, 0x12, &ADDRESSES)]
    {
        assert_eq!(said(&server, &nobody), "    127.0.0.1");
    }
}

#[test]
fn several_requests_follow_one_header() {
    let server = telling();
    let mut client = server.client();
    client.send(V1);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let first = client.recv().text();
    client.send(GET);
    assert_eq!(
        (first.as_str(), client.recv().text().as_str()),
        ("192.0.2.1 123 192.0.2.2 5678 127.0.0.1", &*first)
    );
}

#[test]
fn the_request_behind_the_header_is_no_second_one() {
    let server = Server::http(
        "server { listen 127.0.0.1:%%PORT%% proxy_protocol; return 200 $pipe$connection_requests; }",
    );
    assert_eq!(said(&server, V1.as_bytes()), ".1");
}

#[test]
fn a_header_in_pieces() {
    if !only_octroi("nginx wants the header in its first read") {
        return;
    }
    let server = telling();
    for header in [V1.as_bytes().to_vec(), v2(0x21, 0x11, &ADDRESSES)] {
        let mut client = server.client();
        for piece in header.chunks(7) {
            client.send(piece);
            pause(1);
        }
        client.send(GET);
        assert_eq!(client.recv().text(), "192.0.2.1 123 192.0.2.2 5678 127.0.0.1");
    }
}

#[test]
fn a_broken_header_ends_the_connection() {
    let server = telling();
    let broken = |bytes: &[u8], line: &str| {
        let mut client = server.client();
        client.send(bytes);
        client.assert_closed();
        server
            .wait_log(&format!("{line} while reading PROXY protocol, client: 127.0.0.1, server: 127.0.0.1:"));
    };
    broken(GET.as_bytes(), "broken header: \"GET / HTTP/1.1\"");
    broken(
        b"PROXY TCP4 192.0.2.1 192.0.2.x 123 5678\r\n\r\n",
        "broken header: \"PROXY TCP4 192.0.2.1 192.0.2.x 123 5678\"",
    );
    broken(
        b"PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\nGET",
        "broken header: \"PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\"",
    );
    broken(&v2(0x31, 0x11, &ADDRESSES), "unknown PROXY protocol version: 3");
    broken(&v2(0x21, 0x11, &[0; 5000]), "header is too large");
    assert_eq!(server.log().matches("[error]").count(), 5, "{}", server.log());
}

#[test]
fn a_header_that_never_comes() {
    let server = Server::http(
        "client_header_timeout 100ms; server { listen 127.0.0.1:%%PORT%% proxy_protocol; return 200 in; }",
    );
    server.client().assert_closed();
    if program().is_octroi() {
        let mut client = server.client();
        client.send("PROXY TC");
        client.assert_closed();
    }
}

#[test]
fn tlvs() {
    let server = Server::http(
        "server { listen 127.0.0.1:%%PORT%% proxy_protocol;
            return 200 '$proxy_protocol_tlv_alpn,$proxy_protocol_tlv_0x01,$proxy_protocol_tlv_0xAE,\
$proxy_protocol_tlv_netns,$proxy_protocol_tlv_ssl_verify,$proxy_protocol_tlv_ssl_cn,$proxy_protocol_tlv_ssl_0x22'; }
         server { listen 127.0.0.1:%%PORT%%; server_name wrong;
            return 200 '[$proxy_protocol_tlv_whatever]'; }",
    );
    let ssl = [&[1, 0, 0, 1, 0], tlv(0x22, b"name").as_slice()].concat();
    let rest = [&ADDRESSES[..], &tlv(1, b"h2"), &tlv(0x20, &ssl), &tlv(0xae, b"own")].concat();
    assert_eq!(said(&server, &v2(0x21, 0x11, &rest)), "h2,h2,own,,256,name,name");
    assert_eq!(said(&server, V1.as_bytes()), ",,,,,,");
    let mut client = server.client();
    client.send(v2(0x21, 0x11, &rest));
    client.send("GET / HTTP/1.1\r\nHost: wrong\r\nConnection: close\r\n\r\n");
    assert_eq!(client.recv().text(), "[]");
    server.wait_log("unknown PROXY protocol TLV \"whatever\"");
}

#[test]
fn the_client_is_whom_it_names() {
    let server = Server::http(
        "log_format l '$remote_addr:$remote_port'; set_real_ip_from 127.0.0.1; real_ip_header proxy_protocol;
         server { listen 127.0.0.1:%%PORT%% proxy_protocol; access_log %%DIR%%/l.log l;
            return 200 '$remote_addr $remote_port $realip_remote_addr'; }",
    );
    assert_eq!(said(&server, V1.as_bytes()), "192.0.2.1 123 127.0.0.1");
    let v6 = b"PROXY TCP6 2001:DB8::1 2001:DB8::2 123 5678\r\n";
    assert_eq!(said(&server, v6), "2001:db8::1 123 127.0.0.1");
    assert!(said(&server, b"PROXY UNKNOWN\r\n").starts_with("127.0.0.1 "));
    assert_eq!(server.wait_lines("l.log", 3)[..2], ["192.0.2.1:123", "2001:db8::1:123"]);
}

#[test]
fn on_a_unix_socket() {
    let server = Server::http(
        "server { listen unix:%%DIR%%/s proxy_protocol; listen 127.0.0.1:%%PORT%%; set_real_ip_from unix:;
            real_ip_header proxy_protocol; return 200 '$remote_addr $remote_port'; }",
    );
    let mut client = server.client_unix("s");
    client.send([V1, GET].concat());
    assert_eq!(client.recv().text(), "192.0.2.1 123");
    assert!(server.get("/").text().starts_with("127.0.0.1 "), "the other address speaks no PROXY protocol");
}

#[test]
fn one_address_of_a_wildcard() {
    let server = Server::http(&format!(
        "server {{ listen %%PORT%%; return 200 plain; }}
         server {{ listen 127.0.0.2:%%PORT%% proxy_protocol; {TELL} }}"
    ));
    assert_eq!(server.get("/").text(), "plain");
    let mut client = server.client_at(([127, 0, 0, 2], server.port()).into());
    client.send([V1, GET].concat());
    assert!(client.recv().text().starts_with("192.0.2.1 123 "));
}

#[test]
fn lines_that_differ_are_warned_of() {
    if !since("1.25.1", "earlier ones do not compare the lines") {
        return;
    }
    let outcome = Setup::http(
        "server { listen 127.0.0.1:%%PORT%% backlog=5; server_name a; }
         server { listen 127.0.0.1:%%PORT%% proxy_protocol; server_name b; }",
    )
    .check();
    assert_eq!(outcome.code, Some(0));
    assert!(outcome.stderr.contains("protocol options redefined for 127.0.0.1:"), "{}", outcome.stderr);
    let quiet = Setup::http(
        "server { listen 127.0.0.1:%%PORT%% proxy_protocol; server_name a; }
         server { listen 127.0.0.1:%%PORT%%; server_name b; }",
    )
    .check();
    assert!(!quiet.stderr.contains("redefined"), "{}", quiet.stderr);
}
