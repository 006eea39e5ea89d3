//! Which server a request's host chooses.

use crate::harness::*;

/// One server for each kind of name; every one says who it is.
const SERVERS: &str = r#"
    server { listen 127.0.0.1:%%PORT%%; server_name _; return 200 default; }
    server { listen 127.0.0.1:%%PORT%%; server_name exact.example.com other.example.com; return 200 exact; }
    server { listen 127.0.0.1:%%PORT%%; server_name *.example.com; return 200 front; }
    server { listen 127.0.0.1:%%PORT%%; server_name *.deep.example.com; return 200 deep; }
    server { listen 127.0.0.1:%%PORT%%; server_name mail.*; return 200 back; }
    server { listen 127.0.0.1:%%PORT%%; server_name .dotted.org; return 200 dotted; }
    server { listen 127.0.0.1:%%PORT%%; server_name ~^www\d+\.; return 200 regex; }
    server { listen 127.0.0.1:%%PORT%%; server_name ~^(?<who>[a-z]+)\.user\.net$; return 200 "$who $1"; }
    server { listen 127.0.0.1:%%PORT%%; server_name MiXed.org; return 200 "mixed $host $server_name"; }
    server { listen 127.0.0.1:%%PORT%%; server_name ""; return 200 "empty"; }
"#;

fn chosen(hosts: &[(&str, &str)]) {
    let server = Server::http(SERVERS);
    for (host, expected) in hosts {
        assert_eq!(server.get_host("/", host).text(), *expected, "{host}");
    }
}

#[test]
fn exact_names() {
    chosen(&[("exact.example.com", "exact"), ("other.example.com", "exact"), ("EXACT.example.COM", "exact")]);
}

#[test]
fn wildcard_in_front() {
    chosen(&[
        ("a.example.com", "front"),
        ("a.b.example.com", "front"),
        ("A.Example.Com", "front"),
        ("example.com", "default"),
        ("aexample.com", "default"),
    ]);
}

#[test]
fn longest_wildcard_wins() {
    chosen(&[("a.deep.example.com", "deep"), ("deep.example.com", "front")]);
}

#[test]
fn wildcard_behind() {
    chosen(&[("mail.org", "back"), ("mail.a.b", "back"), ("mail", "default"), ("mail.example.com", "front")]);
}

#[test]
fn dot_in_front_is_the_name_and_all_below() {
    chosen(&[
        ("dotted.org", "dotted"),
        ("a.dotted.org", "dotted"),
        ("a.b.dotted.org", "dotted"),
        ("xdotted.org", "default"),
    ]);
}

#[test]
fn regular_expressions() {
    chosen(&[("www1.anything", "regex"), ("www.anything", "default"), ("WWW12.x", "regex")]);
}

#[test]
fn captures_are_variables() {
    chosen(&[("anna.user.net", "anna anna"), ("anna7.user.net", "default")]);
}

#[test]
fn case_does_not_matter() {
    chosen(&[("mixed.ORG", "mixed mixed.org mixed.org")]);
}

#[test]
fn port_in_the_host_is_ignored() {
    chosen(&[
        ("exact.example.com:8080", "exact"),
        ("a.example.com:1", "front"),
        ("exact.example.com:", "exact"),
    ]);
}

#[test]
fn dot_at_the_end_is_ignored() {
    chosen(&[
        ("exact.example.com.", "exact"),
        ("a.example.com.", "front"),
        ("exact.example.com.:80", "exact"),
    ]);
}

#[test]
fn no_host_at_all() {
    let server = Server::http(SERVERS);
    assert_eq!(server.ask("GET / HTTP/1.0\r\n\r\n").text(), "empty");
    assert_eq!(server.ask("GET / HTTP/1.0\r\nHost:\r\n\r\n").status(), 400);
}

#[test]
fn host_of_an_absolute_target_wins() {
    let server = Server::http(SERVERS);
    let request =
        "GET http://exact.example.com/ HTTP/1.1\r\nHost: a.example.com\r\nConnection: close\r\n\r\n";
    assert_eq!(server.ask(request).text(), "exact");
}

#[test]
fn no_name_is_the_empty_name() {
    let server = Server::http(
        "server { listen 127.0.0.1:%%PORT%%; server_name a; return 200 a; }
         server { listen 127.0.0.1:%%PORT%%; return 200 \"empty [$server_name]\"; }",
    );
    assert_eq!(server.ask("GET / HTTP/1.0\r\n\r\n").text(), "empty []");
    assert_eq!(server.get_host("/", "b").text(), "a");
}

#[test]
fn exact_wins_over_regex_and_regex_come_in_order() {
    let server = Server::http(
        "server { listen 127.0.0.1:%%PORT%%; server_name ~^a; return 200 one; }
         server { listen 127.0.0.1:%%PORT%%; server_name ~^ab; return 200 two; }
         server { listen 127.0.0.1:%%PORT%%; server_name abc; return 200 exact; }
         server { listen 127.0.0.1:%%PORT%%; server_name *.abd; return 200 wild; }",
    );
    assert_eq!(server.get_host("/", "abc").text(), "exact");
    assert_eq!(server.get_host("/", "ab").text(), "one");
    assert_eq!(server.get_host("/", "a.abd").text(), "wild");
}

#[test]
fn addresses_as_names() {
    let server = Server::http(
        "server { listen 127.0.0.1:%%PORT%%; return 200 default; }
         server { listen 127.0.0.1:%%PORT%%; server_name 127.0.0.1; return 200 four; }
         server { listen 127.0.0.1:%%PORT%%; server_name [::1]; return 200 six; }",
    );
    assert_eq!(server.get_host("/", "127.0.0.1").text(), "four");
    assert_eq!(server.get_host("/", "127.0.0.1:99").text(), "four");
    assert_eq!(server.get_host("/", "[::1]:99").text(), "six");
}

#[test]
fn many_names() {
    let mut conf = String::from("server_names_hash_max_size 4096; server_names_hash_bucket_size 128;");
    for number in 0..200 {
        conf.push_str(&format!(
            "server {{ listen 127.0.0.1:%%PORT%%; server_name host{number}.example.com; return 200 {number}; }}\n"
        ));
    }
    let server = Server::http(&conf);
    for number in [0, 57, 199] {
        assert_eq!(server.get_host("/", &format!("host{number}.example.com")).text(), number.to_string());
    }
}

#[test]
fn next_request_of_a_connection_may_choose_another() {
    let server = Server::http(SERVERS);
    let mut client = server.client();
    for (host, expected) in
        [("exact.example.com", "exact"), ("a.deep.example.com", "deep"), ("x.dotted.org", "dotted")]
    {
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(client.recv().text(), expected);
    }
}
