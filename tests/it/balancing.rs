//! The methods of an `upstream {}`: whom `least_conn`, `ip_hash`, `hash` and `random` choose, and what
//! they do when that one is unfit.

use crate::harness::*;

/// A server whose group `g` is of upstreams that answer `a`, `b`, ... (`%%A%%`, `%%B%%`, ...).
struct Group {
    server: Server,
    _ups: Vec<Upstream>,
}

impl Group {
    fn new(method: &str, servers: &str) -> Group {
        let ups: Vec<Upstream> = ["a", "b", "c", "d"].map(Upstream::ok).into();
        Group::of(ups, method, servers)
    }

    fn of(ups: Vec<Upstream>, method: &str, servers: &str) -> Group {
        let conf = format!(
            "upstream g {{ {method}; {servers} }}
             server {{ listen 127.0.0.1:%%PORT%%; set_real_ip_from 127.0.0.0/8;
                 location / {{ proxy_pass http://g; }} location /v {{ proxy_pass http://$arg_u; }} }}"
        );
        let dead = Box::leak(Box::new(Port::reserve())).address();
        let setup = Setup::http(&conf).put("DEAD", dead);
        let names = ["A", "B", "C", "D"];
        let setup = ups.iter().zip(names).fold(setup, |setup, (up, name)| setup.put(name, up.address()));
        Group { server: setup.start(), _ups: ups }
    }

    /// Who answers for so many keys.
    fn by_key(&self, count: usize) -> String {
        (0..count).map(|n| self.server.get(&format!("/?k=key{n}")).text()).collect()
    }

    /// Who answers clients at these addresses.
    fn by_address(&self, clients: &[&str]) -> String {
        let ask =
            |client: &&str| self.server.get_with("/", &format!("Host: h\r\nX-Real-IP: {client}\r\n")).text();
        clients.iter().map(ask).collect()
    }
}

const THREE: &str = "server %%A%%; server %%B%%; server %%C%%;";

#[test]
fn hash_spreads_by_key_and_weight() {
    let plain = Group::new("hash $arg_k", THREE).by_key(24);
    assert_eq!(plain, "cbabccbaabbbbcbababbbacb");
    let weighted = "server %%A%%; server %%B%% weight=5; server %%C%% weight=2;";
    assert_eq!(Group::new("hash $arg_k", weighted).by_key(24), "bbbbcbacacbbbbbccacabcca");
}

#[test]
fn hash_goes_on_where_a_server_is_unfit() {
    let down = Group::new("hash $arg_k", "server %%A%%; server %%B%% down; server %%C%%;").by_key(24);
    assert_eq!(down, "ccaaccaaaaaacccaaaacaacc");
    // The same way past one that fails.
    let dead = Group::new("hash $arg_k", "server %%A%%; server %%DEAD%%; server %%C%%;").by_key(24);
    assert_eq!(dead, down);
}

#[test]
fn hash_without_a_key_takes_turns() {
    for method in ["hash $arg_none", "hash $arg_none consistent"] {
        assert_eq!(Group::new(method, THREE).by_key(6), "abcabc", "{method}");
    }
}

#[test]
fn consistent_hash_moves_only_the_keys_of_the_one_that_went() {
    let method = "hash $arg_k consistent";
    let ups = || ["a", "b", "c"].map(Upstream::ok).into_iter().collect::<Vec<_>>();
    // Hashes are those of the ports: the same upstreams have to be asked.
    let all = Group::of(ups(), method, "server %%A%%; server %%B%%; server %%C%%;");
    let before = all.by_key(30);
    let text = "upstream g { hash $arg_k consistent; server %%A%%; server %%C%%; }
        server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://g; } }";
    let (a, c) = (all.server.value("A").to_owned(), all.server.value("C").to_owned());
    let less = Group { server: Setup::http(text).put("A", a).put("C", c).start(), _ups: Vec::new() };
    for (before, after) in before.chars().zip(less.by_key(30).chars()) {
        assert!(before == after || before == 'b', "{before} became {after}");
    }
    for name in ['a', 'b', 'c'] {
        assert!(before.contains(name), "{before}");
    }
}

#[test]
fn ip_hash_goes_by_the_network() {
    let group = Group::new("ip_hash", THREE);
    let networks = ["10.0.0.1", "10.0.1.1", "10.0.2.1", "10.7.0.9", "192.0.2.5", "198.51.100.7"];
    assert_eq!(group.by_address(&networks), "abccaa");
    let neighbours = ["10.0.0.77", "10.0.1.200", "10.0.2.3", "10.7.0.1", "192.0.2.255", "198.51.100.0"];
    assert_eq!(group.by_address(&neighbours), "abccaa");
    let v6 = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "fe80::1", "::1", "2001:db8:1::1"];
    assert_eq!(group.by_address(&v6), "cabaca");
}

#[test]
fn ip_hash_moves_the_clients_of_one_that_is_down() {
    let networks = ["10.0.0.1", "10.0.1.1", "10.0.2.1", "10.7.0.9", "192.0.2.5", "198.51.100.7"];
    let group = Group::new("ip_hash", "server %%A%%; server %%B%% down; server %%C%% weight=2;");
    assert_eq!(group.by_address(&networks), "cccaca");
}

#[test]
fn least_conn_avoids_the_busy_one() {
    let hanging = Upstream::new(|origin| {
        while let Some(request) = origin.request() {
            if request.target() == "/hang" {
                origin.gone();
                return;
            }
            origin.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na");
        }
    });
    let group = Group::of(vec![hanging, Upstream::ok("b")], "least_conn", "server %%A%%; server %%B%%;");
    assert_eq!(group.by_key(4), "abab");
    let mut client = group.server.client();
    client.send("GET /hang HTTP/1.1\r\nHost: h\r\n\r\n");
    client.assert_quiet(200);
    assert_eq!(group.by_key(6), "bbbbbb");
}

#[test]
fn least_conn_takes_turns_by_weight() {
    let servers = "server %%A%% weight=3; server %%B%%; server %%C%% down; server %%D%% backup;";
    assert_eq!(Group::new("least_conn", servers).by_key(8), "aabaaaba");
    let lost = Group::new("least_conn", "server %%DEAD%%; server %%D%% backup;");
    assert_eq!(lost.by_key(3), "ddd");
}

#[test]
fn random_reaches_all_that_are_fit() {
    for method in ["random", "random two", "random two least_conn"] {
        let group = Group::new(method, "server %%A%%; server %%B%% down; server %%C%%; server %%DEAD%%;");
        let answers = group.by_key(60);
        assert!(answers.contains('a') && answers.contains('c') && !answers.contains('b'), "{answers}");
        assert_eq!(answers.len(), 60);
    }
}

#[test]
fn one_server_needs_no_method() {
    for method in ["hash $arg_k", "hash $arg_k consistent", "ip_hash", "random", "random two", "least_conn"] {
        assert_eq!(Group::new(method, "server %%A%%;").by_key(2), "aa", "{method}");
    }
}

#[test]
fn methods_hold_for_a_url_of_variables() {
    let group = Group::new("hash $arg_k", THREE);
    let by_variable: String = (0..12).map(|n| group.server.get(&format!("/v?u=g&k=key{n}")).text()).collect();
    assert_eq!(by_variable, group.by_key(12));
}

#[test]
fn keys_of_servers_before_the_method_may_be_backups() {
    let conf = "upstream g { server %%DEAD%%; server %%A%% backup; hash $arg_k; }
        server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://g; } }";
    let up = Upstream::ok("a");
    let dead = Port::reserve();
    let server = Setup::http(conf).put("A", up.address()).put("DEAD", dead.address()).start();
    assert_eq!(server.get("/?k=1").text(), "a");
}

#[test]
fn what_a_method_cannot_do_is_refused() {
    for (line, said) in [
        ("ip_hash; server 127.0.0.1:1 backup;", "balancing method does not support parameter \"backup\""),
        ("hash $uri; server 127.0.0.1:1 backup;", "balancing method does not support parameter \"backup\""),
        ("random; server 127.0.0.1:1 backup;", "balancing method does not support parameter \"backup\""),
        ("hash $uri constant; server 127.0.0.1:1;", "invalid parameter \"constant\""),
        ("random one; server 127.0.0.1:1;", "invalid parameter \"one\""),
        ("random two most_conn; server 127.0.0.1:1;", "invalid parameter \"most_conn\""),
        ("hash; server 127.0.0.1:1;", "invalid number of arguments in \"hash\" directive"),
    ] {
        let refused = Setup::http(&format!("upstream u {{ {line} }}")).refused();
        assert!(refused.starts_with(&format!("[emerg] {said} in DIR/nginx.conf:")), "{line}: {refused}");
    }
}

#[test]
fn a_second_method_is_named() {
    let group = Group::new("ip_hash; least_conn", THREE);
    group.server.wait_log("load balancing method redefined in");
    assert_eq!(group.by_key(3), "abc");
}

#[test]
fn a_zone_holds_for_all_workers() {
    let hanging = Upstream::new(|origin| {
        while let Some(request) = origin.request() {
            if request.target() == "/hang" {
                origin.gone();
                return;
            }
            origin.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na");
        }
    });
    let ups = [hanging, Upstream::ok("b")];
    let conf =
        "daemon off; pid %%DIR%%/nginx.pid; error_log %%DIR%%/error.log info; worker_processes 3; events { }
        http { access_log off; upstream g { zone z 64k; server %%A%% max_conns=1; server %%B%% backup; }
            server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://g; } } }";
    let setup = Setup::whole(conf).put("A", ups[0].address()).put("B", ups[1].address());
    let server = setup.start();
    let mut client = server.client();
    client.send("GET /hang HTTP/1.1\r\nHost: h\r\n\r\n");
    client.assert_quiet(200);
    // Each connection may come to another worker; all know that the first server is full.
    let answers: String = (0..12).map(|_| server.get("/").text()).collect();
    assert_eq!(answers, "bbbbbbbbbbbb");
}

#[test]
fn failures_in_a_zone_are_known_to_all_workers() {
    let up = Upstream::ok("a");
    let conf =
        "daemon off; pid %%DIR%%/nginx.pid; error_log %%DIR%%/error.log info; worker_processes 3; events { }
        http { access_log off; upstream g { zone z 64k; server %%DEAD%%; server %%A%%; }
            server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://g; } } }";
    let dead = Port::reserve();
    let server = Setup::whole(conf).put("A", up.address()).put("DEAD", dead.address()).start();
    let answers: String = (0..12).map(|_| server.get("/").text()).collect();
    assert_eq!(answers, "aaaaaaaaaaaa");
    assert_eq!(server.log().matches("Connection refused").count(), 1);
}

#[test]
fn wrong_zones_are_refused() {
    for (lines, said) in [
        ("upstream u { zone z 1k; server 127.0.0.1:1; }", "zone \"z\" is too small in DIR/nginx.conf:"),
        ("upstream u { zone z x; server 127.0.0.1:1; }", "invalid zone size \"x\" in DIR/nginx.conf:"),
        (
            "upstream u { zone z 64k; server 127.0.0.1:1; } upstream v { zone z 128k; server 127.0.0.1:1; }",
            "the size 131072 of shared memory zone \"z\" conflicts with already declared size 65536",
        ),
    ] {
        let refused = Setup::http(lines).refused();
        assert!(refused.starts_with(&format!("[emerg] {said}")), "{lines}: {refused}");
    }
    // nginx finds this when all is read and said to be well.
    let unsized_zone = Setup::http("upstream u { zone z; server 127.0.0.1:1; }").check();
    assert!(unsized_zone.stderr.contains("[emerg] zero size shared memory zone \"z\""), "{unsized_zone:?}");
    let shared = "upstream u { zone z; server 127.0.0.1:1; } upstream v { zone z 64k; server 127.0.0.1:1; }";
    assert!(Setup::http(shared).check().code == Some(0));
}
