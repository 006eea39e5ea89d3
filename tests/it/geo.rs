//! `geo` and `split_clients`: variables that depend on an address, or on a hash.

use crate::harness::*;

/// The bodies for these addresses in `$arg_ip`, with this in the block of `geo`.
fn values<const N: usize>(block: &str, addresses: [&str; N]) -> [String; N] {
    let server = Server::http(&format!(
        "geo $arg_ip $x {{ {block} }} server {{ listen 127.0.0.1:%%PORT%%; location / {{ return 200 $x; }} }}"
    ));
    addresses.map(|address| server.get(&format!("/?ip={address}")).text())
}

#[test]
fn networks() {
    let block = "default none; 10.0.0.0/8 ten; 10.1.0.0/16 one; 10.1.2.3 host; 10.1.2.0/24 two; 0.0.0.0/1 low; \
                 255.255.255.255 last; 2001:db8::/32 doc; 2001:db8:1::/48 \"doc one\"; 2001:db8:1::7 seven;";
    let addresses = [
        "10.200.0.1",
        "10.1.0.0",
        "10.1.2.3",
        "10.1.2.4",
        "10.2.0.0",
        "11.0.0.0",
        "192.0.2.1",
        "2001:db8::1",
        "2001:db8:1::1",
        "2001:db8:1::7",
        "2001:db9::",
        "::ffff:10.1.2.3",
        "::ffff:192.0.2.1",
        "nowhere",
        "",
        "10.1.2.3:80",
    ];
    let want = [
        "ten", "one", "host", "two", "ten", "low", "none", "doc", "doc one", "seven", "none", "host", "none",
        "last", "last", "last",
    ];
    assert_eq!(values(block, addresses), want);
}

#[test]
fn without_a_default() {
    assert_eq!(values("10.0.0.0/8 ten;", ["10.0.0.1", "1.2.3.4", "::1", "x"]), ["ten", "", "", ""]);
    assert_eq!(values("ranges; 10.0.0.0-10.0.0.1 ten;", ["10.0.0.1", "10.0.0.2", "::1"]), ["ten", "", ""]);
}

#[test]
fn networks_again_and_no_more() {
    let block = "default a; default b; 10.0.0.0/8 c; 10.0.0.0/8 d; 10.1.0.0/16 e; delete 10.1.0.0/16; 10.2.0.0/16 f; delete 10.2.0.0/24; \
                 ::/1 g; delete ::/1; 10.3.0.1/16 h;";
    let addresses = ["1.1.1.1", "10.0.0.1", "10.1.0.1", "10.2.0.1", "::1", "10.3.5.5"];
    assert_eq!(values(block, addresses), ["b", "d", "d", "f", "b", "h"]);
}

#[test]
fn ranges() {
    let block = "ranges; default none; 10.0.0.0-10.2.255.255 ten; 10.1.0.0-10.1.255.255 one; 10.1.2.0-10.1.2.255 two; \
                 10.1.2.0-10.1.2.9 begin; 10.1.2.250-10.1.2.255 end; 10.9.0.0-10.9.0.9 gone; delete 10.9.0.0-10.9.0.9; \
                 0.0.0.0-0.0.0.0 first; 224.0.0.0-255.255.255.254 high;";
    let addresses = [
        "10.0.0.0",
        "10.1.1.255",
        "10.1.2.0",
        "10.1.2.9",
        "10.1.2.10",
        "10.1.2.249",
        "10.1.2.250",
        "10.1.3.0",
        "10.2.255.255",
        "10.3.0.0",
        "10.9.0.5",
        "0.0.0.0",
        "0.0.0.1",
        "239.1.1.1",
        "255.255.255.255",
        "::ffff:10.1.2.3",
        "2001:db8::1",
        "nothing",
    ];
    let want = [
        "ten", "one", "begin", "begin", "two", "two", "end", "one", "ten", "none", "none", "first", "none",
        "high", "none", "begin", "none", "none",
    ];
    assert_eq!(values(block, addresses), want);
}

#[test]
fn warnings_name_what_is_twice_and_what_is_not_there() {
    let mut said = Vec::new();
    for block in [
        "10.0.0.0/8 a; 10.0.0.0/8 b;",
        "delete 10.0.0.0/8;",
        "10.0.0.1/8 a;",
        "ranges; 1.0.0.0-1.0.0.9 a; 1.0.0.0-1.0.0.9 b;",
        "ranges; default a; default b;",
        "ranges; delete 1.0.0.0-1.0.0.9;",
    ] {
        let text = format!("geo $x {{ {block} }} server {{ listen 127.0.0.1:%%PORT%%; }}");
        let outcome = Setup::http(&text).check();
        assert_eq!(outcome.code, Some(0), "{block}");
        let warning = outcome.stderr.lines().find(|line| line.contains("[warn]")).unwrap_or_default();
        said.push(warning.split("[warn] ").last().unwrap().split(" in /").next().unwrap().to_owned());
    }
    assert_eq!(
        said,
        [
            "duplicate network \"10.0.0.0/8\", value: \"b\", old value: \"a\"",
            "no network \"10.0.0.0/8\" to delete",
            "low address bits of 10.0.0.1/8 are meaningless",
            "duplicate range \"1.0.0.0-1.0.0.9\", value: \"b\", old value: \"a\"",
            "duplicate default geo range value: \"b\", old value: \"a\"",
            "no address range \"1.0.0.0-1.0.0.9\" to delete",
        ]
    );
}

#[test]
fn the_client_and_the_proxies_it_comes_by() {
    let conf = "geo $client { default other; 127.0.0.0/8 local; }\n\
        geo $named { proxy 127.0.0.1; default other; 127.0.0.0/8 local; 192.0.2.0/24 doc; 10.0.0.0/8 ten; }\n\
        geo $first { proxy 127.0.0.0/8; proxy 10.0.0.0/8; proxy_recursive; default other; 127.0.0.0/8 local; 192.0.2.0/24 doc; 10.0.0.0/8 ten; 2001:db8::/32 six; }\n\
        geo $arg_ip $by { ranges; proxy 1.1.1.1; default other; 192.0.2.0-192.0.2.255 doc; 1.1.1.1-1.1.1.1 proxy; }\n\
        server { listen 127.0.0.1:%%PORT%%; location / { return 200 \"$client $named $first $by\"; } }";
    let server = Server::http(conf);
    let ask = |target: &str, fields: &str| server.get_with(target, &format!("Host: a\r\n{fields}")).text();
    assert_eq!(ask("/", ""), "local local local other");
    assert_eq!(ask("/", "X-Forwarded-For: 192.0.2.1\r\n"), "local doc doc other");
    assert_eq!(ask("/", "X-Forwarded-For: 192.0.2.1, 10.0.0.1\r\n"), "local ten doc other");
    assert_eq!(ask("/", "X-Forwarded-For: 10.0.0.1, 192.0.2.1, 8.8.8.8\r\n"), "local other other other");
    assert_eq!(ask("/", "X-Forwarded-For: nobody\r\n"), "local local local other");
    assert_eq!(ask("/?ip=1.1.1.1", "X-Forwarded-For: 192.0.2.1\r\n"), "local doc doc doc");
    assert_eq!(ask("/?ip=1.1.1.1", ""), "local local local proxy");
    assert_eq!(ask("/?ip=1.1.1.2", "X-Forwarded-For: 192.0.2.1\r\n"), "local doc doc other");
    assert_eq!(ask("/", "X-Forwarded-For: [2001:db8::1]:443\r\n"), "local other six other");
    assert_eq!(
        ask("/", "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 10.0.0.1\r\n"),
        "local ten doc other"
    );
}

#[test]
fn a_client_on_a_unix_socket_is_the_last_address() {
    let conf = "geo $x { default none; 127.0.0.0/8 local; 255.255.255.255 unix; } geo $y { ranges; default none; 127.0.0.0-127.255.255.255 local; }\n\
        server { listen unix:%%DIR%%/s.sock; location / { return 200 \"$x $y\"; } }";
    let server = Server::http(conf);
    let mut client = server.client_unix("s.sock");
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(client.recv().text(), "unix none");
}

#[test]
fn values_are_kept_unless_volatile() {
    if !since("1.29.3", "volatile in geo") {
        return;
    }
    let block = "default other; 10.0.0.0/8 ten;";
    let conf = format!(
        "geo $arg_ip $kept {{ {block} }} geo $arg_ip $fresh {{ volatile; {block} }} geo $arg_ip $range {{ ranges; volatile; 10.0.0.0-10.0.0.9 ten; }}\n\
         server {{ listen 127.0.0.1:%%PORT%%; location / {{ set $seen \"$kept $fresh $range\"; set $args ip=1.2.3.4; return 200 \"$seen|$kept $fresh $range\"; }} }}"
    );
    assert_eq!(Server::http(&conf).get("/?ip=10.0.0.1").text(), "ten ten ten|ten other ");
}

#[test]
fn a_long_list_from_a_file() {
    let list: String = (0..50_000_u32)
        .map(|n| format!("10.{}.{}.0-10.{}.{}.99 v{};\n", n >> 8, n & 255, n >> 8, n & 255, n % 100))
        .collect();
    let setup = Setup::http(
        "geo $arg_ip $x { ranges; default none; include ranges.conf; }\n\
         server { listen 127.0.0.1:%%PORT%%; location / { return 200 $x; } }",
    );
    let server = setup.file("ranges.conf", list).start();
    let ask = |ip: &str| server.get(&format!("/?ip={ip}")).text();
    assert_eq!(
        [ask("10.0.0.0"), ask("10.1.0.99"), ask("10.1.0.100"), ask("10.195.79.5")],
        ["v0", "v56", "none", "v99"]
    );
}

#[test]
fn clients_are_split_as_nginx_splits_them() {
    let server = Server::http(
        "split_clients \"${arg_a}salt\" $x { 12.5% a; 37.25% b; 0.25% c; * \"\"; } split_clients $arg_a $y { 50% left; 50% right; }\n\
         split_clients $arg_a $z { 10% some; }\n\
         server { listen 127.0.0.1:%%PORT%%; location / { return 200 \"[$x $y $z]\"; } }",
    );
    let seen: String = (0..16).map(|n| server.get(&format!("/?a=client{n}")).text()).collect();
    assert_eq!(
        seen,
        "[b right ][ right ][ right ][a left ][a left some][a left ][ left ][ left ][ right ][b right ]\
         [ left some][ right ][ left ][b left some][a left ][ right ]"
    );
    assert_eq!(server.get("/").text(), "[ left some]");
}
