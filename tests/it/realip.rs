//! Who the client is when a proxy stands in front.

use crate::harness::*;

fn ask(server: &Server, target: &str, fields: &str) -> String {
    server.get_with(target, &format!("Host: localhost\r\n{fields}")).text()
}

#[test]
fn a_trusted_proxy_names_the_client() {
    let server = Server::http(
        "set_real_ip_from 127.0.0.0/8;
         server { listen 127.0.0.1:%%PORT%%;
            return 200 '$remote_addr $remote_port $realip_remote_addr'; }",
    );
    assert_eq!(ask(&server, "/", "X-Real-IP: 192.0.2.1:81\r\n"), "192.0.2.1 81 127.0.0.1");
    assert_eq!(ask(&server, "/", "X-Real-IP: 192.0.2.1\r\n"), "192.0.2.1  127.0.0.1");
    assert_eq!(ask(&server, "/", "X-Real-IP: [2001:DB8::1]:81\r\n"), "2001:db8::1 81 127.0.0.1");
    assert_eq!(ask(&server, "/", "X-Real-IP: 192.0.2.1, 192.0.2.2:82\r\n"), "192.0.2.2 82 127.0.0.1");
    assert!(ask(&server, "/", "X-Real-IP: somebody\r\n").starts_with("127.0.0.1 "));
    assert!(ask(&server, "/", "X-Forwarded-For: 192.0.2.1\r\n").starts_with("127.0.0.1 "));
    assert!(ask(&server, "/", "").ends_with(" 127.0.0.1"));
}

#[test]
fn others_are_not_believed() {
    let server = Server::http(
        "set_real_ip_from 127.0.0.2; set_real_ip_from 127.0.0.64/26; set_real_ip_from unix:;
         server { listen 127.0.0.1:%%PORT%%; return 200 $remote_addr; }",
    );
    assert_eq!(ask(&server, "/", "X-Real-IP: 192.0.2.1\r\n"), "127.0.0.1");
}

#[test]
fn names_of_hosts_and_unix_sockets() {
    let server = Server::http(
        "server { listen 127.0.0.1:%%PORT%%; set_real_ip_from localhost; return 200 $remote_addr; }
         server { listen unix:%%DIR%%/s; set_real_ip_from unix:;
            return 200 $remote_addr,$realip_remote_addr,$realip_remote_port; }
         server { listen unix:%%DIR%%/t; set_real_ip_from 0.0.0.0/0; return 200 $remote_addr; }",
    );
    assert_eq!(ask(&server, "/", "X-Real-IP: 192.0.2.1\r\n"), "192.0.2.1");
    for (socket, want) in [("s", "192.0.2.1,unix:,"), ("t", "unix:")] {
        let mut client = server.client_unix(socket);
        client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Real-IP: 192.0.2.1\r\nConnection: close\r\n\r\n");
        assert_eq!(client.recv().text(), want);
    }
}

#[test]
fn where_it_is_said() {
    let server = Server::http(
        "set_real_ip_from 127.0.0.1;
         server { listen 127.0.0.1:%%PORT%%; server_name any; real_ip_header X-Client; return 200 $remote_addr; }
         server { listen 127.0.0.1:%%PORT%%; server_name forwarded; real_ip_header X-Forwarded-For;
            return 200 $remote_addr; }
         server { listen 127.0.0.1:%%PORT%%; server_name all; real_ip_header X-Forwarded-For;
            set_real_ip_from 127.0.0.0/8; set_real_ip_from 10.0.0.0/8; real_ip_recursive on;
            return 200 $remote_addr; }",
    );
    let to = |host: &str, fields: &str| server.get_with("/", &format!("Host: {host}\r\n{fields}")).text();
    assert_eq!(to("any", "x-CLIENT: 192.0.2.1\r\nX-Client: 192.0.2.2\r\n"), "192.0.2.1");
    let chain = "X-Forwarded-For: 192.0.2.1, 192.0.2.2\r\nX-Forwarded-For: 10.0.0.2, 10.0.0.1\r\n";
    assert_eq!(to("forwarded", chain), "10.0.0.1");
    assert_eq!(to("all", chain), "192.0.2.2");
    assert_eq!(to("all", "X-Forwarded-For: 10.0.0.2,10.0.0.1\r\n"), "10.0.0.2");
    assert_eq!(to("all", "X-Forwarded-For: 192.0.2.1, x, 10.0.0.1\r\n"), "10.0.0.1");
}

#[test]
fn it_holds_for_logs_and_upstreams() {
    let upstream = Upstream::echo();
    let server = Server::before(
        &upstream,
        "log_format l '$remote_addr $realip_remote_addr';
         server { listen 127.0.0.1:%%PORT%%; access_log %%DIR%%/l.log l;
            location / { set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For;
                proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_pass http://%%UP%%; } }",
    );
    let seen = ask(&server, "/", "X-Forwarded-For: 10.1.1.1, 192.0.2.1\r\n");
    assert!(seen.contains("X-Forwarded-For: 10.1.1.1, 192.0.2.1, 192.0.2.1\r\n"), "{seen}");
    assert_eq!(server.wait_lines("l.log", 1), ["192.0.2.1 127.0.0.1"]);
}

#[test]
fn it_holds_for_access_and_limits() {
    let server = Setup::http(
        "limit_req_zone $binary_remote_addr zone=z:1m rate=1r/m;
         server { listen 127.0.0.1:%%PORT%%; root %%DIR%%; set_real_ip_from 127.0.0.1;
            location /open/ { deny 192.0.2.1; allow all; }
            location /late/ { real_ip_header X-Late; deny 192.0.2.1; allow all; }
            location /few/ { limit_req zone=z; } }",
    )
    .file("open/x", "in")
    .file("late/x", "in")
    .file("few/x", "in")
    .start();
    let status =
        |target: &str, fields: &str| server.get_with(target, &format!("Host: a\r\n{fields}")).status();
    assert_eq!(status("/open/x", "X-Real-IP: 192.0.2.1\r\n"), 403);
    assert_eq!(status("/open/x", "X-Real-IP: 192.0.2.2\r\n"), 200);
    assert_eq!(status("/late/x", "X-Late: 192.0.2.1\r\n"), 403);
    assert_eq!(status("/late/x", "X-Late: 192.0.2.2\r\n"), 200);
    let few = |client: &str| status("/few/x", &format!("X-Real-IP: {client}\r\n"));
    assert_eq!([few("192.0.2.1"), few("192.0.2.1"), few("192.0.2.2")], [200, 503, 200]);
}

#[test]
fn it_holds_for_the_error_log() {
    let server =
        Server::http("server { listen 127.0.0.1:%%PORT%%; set_real_ip_from 127.0.0.1; root %%DIR%%; }");
    assert_eq!(server.get_with("/none", "Host: a\r\nX-Real-IP: 192.0.2.1\r\n").status(), 404);
    server.wait_log(", client: 192.0.2.1, server: , request: \"GET /none HTTP/1.1\"");
}

#[test]
fn it_holds_through_redirects_and_ends_with_the_request() {
    let server = Setup::http(
        "server { listen 127.0.0.1:%%PORT%%; root %%DIR%%; add_header X-IP '$remote_addr $realip_remote_addr' always;
            location /a/ { set_real_ip_from 127.0.0.1; error_page 404 /b/x; }
            location /b/ { set_real_ip_from 192.0.2.0/24; } }",
    )
    .file("b/x", "there")
    .start();
    let mut client = server.client();
    // The second location trusts the client that the first one found; but one is enough.
    client.send("GET /a/none HTTP/1.1\r\nHost: a\r\nX-Real-IP: 192.0.2.1\r\n\r\n");
    let answer = client.recv();
    assert_eq!((answer.text().as_str(), answer.get("x-ip")), ("there", Some("192.0.2.1 127.0.0.1")));
    client.send("GET /b/x HTTP/1.1\r\nHost: a\r\nX-Real-IP: 192.0.2.1\r\n\r\n");
    assert_eq!(client.recv().get("x-ip"), Some("127.0.0.1 127.0.0.1"));
}

#[test]
fn the_servers_word_comes_before_the_locations() {
    let server = Setup::http(
        "server { listen 127.0.0.1:%%PORT%%; root %%DIR%%; add_header X-IP $remote_addr;
            set_real_ip_from 127.0.0.1; real_ip_header X-One;
            location / { real_ip_header X-Two; } }",
    )
    .file("x", "")
    .start();
    let ip = |fields: &str| {
        let answer = server.get_with("/x", &format!("Host: a\r\n{fields}"));
        answer.get("x-ip").map(str::to_owned)
    };
    assert_eq!(ip("X-One: 192.0.2.1\r\nX-Two: 192.0.2.2\r\n").as_deref(), Some("192.0.2.1"));
    assert_eq!(ip("X-Two: 192.0.2.2\r\n").as_deref(), Some("192.0.2.2"));
}

#[test]
fn a_subrequest_has_the_same_client() {
    if !program().is_octroi() && !since("1.31.0", "the module is optional in distributions") {
        return;
    }
    let upstream =
        Upstream::new(|origin| while origin.answer("HTTP/1.1 204 No Content\r\n\r\n").is_some() {});
    let server = Setup::http(
        "server { listen 127.0.0.1:%%PORT%%; root %%DIR%%; set_real_ip_from 127.0.0.1;
            location / { auth_request /auth; }
            location /auth { proxy_set_header X-IP $remote_addr; proxy_pass http://%%UP%%; } }",
    )
    .put("UP", upstream.address())
    .file("x", "in")
    .start();
    assert_eq!(ask(&server, "/x", "X-Real-IP: 192.0.2.1\r\n"), "in");
    assert_eq!(upstream.last().get("x-ip"), Some("192.0.2.1"));
}

#[test]
fn what_is_wrong_is_said() {
    let check = |text: &str| Setup::http(&format!("server {{ listen 127.0.0.1:%%PORT%%; {text} }}")).check();
    let outcome = check("set_real_ip_from 192.0.2.1/24;");
    assert_eq!(outcome.code, Some(0));
    assert!(
        outcome.stderr.contains("[warn] ")
            && outcome.stderr.contains("low address bits of 192.0.2.1/24 are meaningless in "),
        "{}",
        outcome.stderr
    );
    let refused =
        |text: &str| Setup::http(&format!("server {{ listen 127.0.0.1:%%PORT%%; {text} }}")).refused();
    let line = refused("set_real_ip_from nowhere.invalid;");
    assert!(line.contains("[emerg] "), "{line}");
    assert!(line.contains("host not found in set_real_ip_from \"nowhere.invalid\" in "), "{line}");
    let line = refused("real_ip_recursive maybe;");
    assert!(
        line.contains("invalid value \"maybe\" in \"real_ip_recursive\" directive, it must be"),
        "{line}"
    );
}
