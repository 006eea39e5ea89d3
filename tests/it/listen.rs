//! Where a server listens.

use std::net::Ipv6Addr;

use crate::harness::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

fn refused(text: &str) -> String {
    Setup::http(text).refused()
}

#[test]
fn several_ports_of_one_server() {
    let server = Server::http(
        "server { listen 127.0.0.1:%%PORT%%; listen 127.0.0.1:%%PORT_B%%; return 200 $server_port; }",
    );
    for placeholder in ["PORT", "PORT_B"] {
        let mut client = server.client_of(placeholder);
        client.send(GET);
        assert_eq!(client.recv().text(), server.value(placeholder));
    }
}

#[test]
fn port_alone_is_every_ipv4_address() {
    let server = Server::http("server { listen %%PORT%%; return 200 $server_addr; }");
    assert_eq!(server.get("/").text(), "127.0.0.1");
    let mut client = server.client_at(([127, 0, 0, 2], server.port()).into());
    client.send(GET);
    assert_eq!(client.recv().text(), "127.0.0.2");
}

#[test]
fn star_and_port() {
    let server = Server::http("server { listen *:%%PORT%%; return 200 any; }");
    assert_eq!(server.get("/").text(), "any");
}

#[test]
fn name_of_a_host() {
    let server = Server::http("server { listen localhost:%%PORT%%; return 200 named; }");
    assert_eq!(server.get("/").text(), "named");
}

#[test]
fn ipv6_address() {
    let server =
        Server::http("server { listen 127.0.0.1:%%PORT%%; listen [::1]:%%PORT%%; return 200 $remote_addr; }");
    let mut client = server.client_at((Ipv6Addr::LOCALHOST, server.port()).into());
    client.send(GET);
    assert_eq!(client.recv().text(), "::1");
    assert_eq!(server.get("/").text(), "127.0.0.1");
}

#[test]
fn ipv6_only_is_the_default() {
    let server = Server::http(
        "server { listen 127.0.0.1:%%PORT%%; return 200 four; } server { listen [::]:%%PORT%%; return 200 six; }",
    );
    assert_eq!(server.get("/").text(), "four");
    let mut client = server.client_at((Ipv6Addr::LOCALHOST, server.port()).into());
    client.send(GET);
    assert_eq!(client.recv().text(), "six");
}

#[test]
fn ipv6_and_ipv4_on_one_socket() {
    let server = Server::http("server { listen [::]:%%PORT%% ipv6only=off; return 200 $remote_addr; }");
    assert_eq!(server.get("/").text(), "::ffff:127.0.0.1");
}

#[test]
fn unix_socket() {
    let conf = "server { listen 127.0.0.1:%%PORT%%; return 204; }
                server { listen unix:%%DIR%%/front.sock; return 200 \"$remote_addr $server_addr $server_port.\"; }";
    let server = Server::http(conf);
    let mut client = server.client_unix("front.sock");
    client.send(GET);
    assert_eq!(client.recv().text(), format!("unix: unix:{} .", server.path("front.sock")));
}

#[test]
fn unix_socket_goes_with_the_server() {
    let mut server = Server::http("server { listen unix:%%DIR%%/front.sock; return 204; }");
    server.signal("QUIT");
    server.wait_exit();
    assert!(!std::fs::exists(server.path("front.sock")).unwrap());
}

#[test]
fn first_server_of_a_port_is_the_default() {
    let conf = "server { listen 127.0.0.1:%%PORT%%; server_name a; return 200 a; }
                server { listen 127.0.0.1:%%PORT%%; server_name b; return 200 b; }";
    let server = Server::http(conf);
    assert_eq!(server.get_host("/", "b").text(), "b");
    assert_eq!(server.get_host("/", "other").text(), "a");
}

#[test]
fn default_server_is_per_port() {
    let conf = "server { listen 127.0.0.1:%%PORT%%; listen 127.0.0.1:%%PORT_B%% default_server; server_name a; return 200 a; }
                server { listen 127.0.0.1:%%PORT%% default_server; listen 127.0.0.1:%%PORT_B%%; server_name b; return 200 b; }";
    let server = Server::http(conf);
    assert_eq!(server.get_host("/", "other").text(), "b");
    let mut client = server.client_of("PORT_B");
    client.send(GET.replace("Host: a", "Host: other"));
    assert_eq!(client.recv().text(), "a");
}

#[test]
fn more_exact_address_wins() {
    let conf = "server { listen 127.0.0.1:%%PORT%%; return 200 exact; }
                server { listen %%PORT%%; return 200 any; }";
    let server = Server::http(conf);
    assert_eq!(server.get("/").text(), "exact");
    let mut client = server.client_at(([127, 0, 0, 2], server.port()).into());
    client.send(GET);
    assert_eq!(client.recv().text(), "any");
}

#[test]
fn every_option_of_the_socket() {
    let conf = "server { listen 127.0.0.1:%%PORT%% default_server backlog=64 rcvbuf=64k sndbuf=64k deferred
                fastopen=16 reuseport so_keepalive=on; return 200 ok; }";
    assert_eq!(Server::http(conf).get("/").text(), "ok");
}

#[test]
fn forms_of_so_keepalive() {
    for value in ["on", "off", "30m::10", "60:10:3", ":5:", "1m"] {
        let conf = format!("server {{ listen 127.0.0.1:8080 so_keepalive={value}; }}");
        assert_eq!(Setup::http(&conf).check().code, Some(0), "{value}");
    }
}

#[test]
fn same_address_twice_in_a_server() {
    let said = refused("server {\nlisten 127.0.0.1:8080;\nlisten 127.0.0.1:8080; }");
    assert!(said.starts_with("[emerg] a duplicate listen 127.0.0.1:8080 in DIR/nginx.conf:"), "{said}");
}

#[test]
fn two_default_servers() {
    let said = refused("server { listen 8080 default_server; }\nserver { listen 8080 default_server; }");
    assert!(
        said.starts_with("[emerg] a duplicate default server for 0.0.0.0:8080 in DIR/nginx.conf:"),
        "{said}"
    );
}

#[test]
fn options_twice_for_an_address() {
    let said = refused("server { listen 8080 backlog=1; }\nserver { listen 8080 backlog=2; }");
    assert!(
        said.starts_with("[emerg] duplicate listen options for 0.0.0.0:8080 in DIR/nginx.conf:"),
        "{said}"
    );
}

#[test]
fn same_name_twice_is_a_warning() {
    let conf = "server { listen 127.0.0.1:%%PORT%%; server_name a; return 200 first; }
                server { listen 127.0.0.1:%%PORT%%; server_name a; return 200 second; }";
    let server = Setup::http(conf).start();
    let warning = format!("[warn] conflicting server name \"a\" on 127.0.0.1:{}, ignored", server.port());
    assert!(server.read("stderr").contains(&warning), "{}", server.read("stderr"));
    assert_eq!(server.get_host("/", "a").text(), "first");
}

#[test]
fn unresolvable_host() {
    let said = refused("server { listen no-such-host.invalid:8080; }");
    assert!(
        said.starts_with(
            "[emerg] host not found in \"no-such-host.invalid:8080\" of the \"listen\" directive in DIR/"
        ),
        "{said}"
    );
}

#[test]
fn many_connections_at_once() {
    let server = Server::http("server { listen 127.0.0.1:%%PORT%%; return 200 ok; }");
    let mut clients: Vec<Wire> = (0..200).map(|_| server.client()).collect();
    clients.iter_mut().for_each(|client| client.send(GET));
    for client in &mut clients {
        assert_eq!(client.recv().text(), "ok");
    }
}

#[test]
fn several_workers_share_a_port() {
    // More than one process or thread: each must answer.
    let conf = "worker_processes 2; daemon off; pid nginx.pid; error_log error.log info; events { }
                http { access_log off; server { listen 127.0.0.1:%%PORT%% reuseport; return 200 ok; } }";
    let server = Setup::whole(conf).start();
    for _ in 0..50 {
        assert_eq!(server.get("/").text(), "ok");
    }
}
