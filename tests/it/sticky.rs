//! `sticky`: requests of a session go to the server that the first one went to.

use crate::harness::*;

/// A server whose group `g` has these lines; `%%A%%` ... `%%C%%` answer with their names.
struct Group {
    server: Server,
    _ups: Vec<Upstream>,
}

impl Group {
    /// Nothing where the binary is an nginx without `sticky`.
    fn new(lines: &str) -> Option<Group> {
        if !since("1.29.6", "sticky came to it then") {
            return None;
        }
        let conf = format!(
            "upstream g {{ {lines} }}
             server {{ listen 127.0.0.1:%%PORT%%; location / {{ proxy_pass http://g; proxy_next_upstream error http_503; }}
                 location /v {{ proxy_pass http://$arg_u; }} location /no {{ return 204; }} }}"
        );
        let ups: Vec<Upstream> = ["a", "b", "c"].map(Upstream::ok).into();
        let dead = Box::leak(Box::new(Port::reserve())).address();
        let setup = Setup::http(&conf).put("DEAD", dead);
        let setup = ups.iter().zip(["A", "B", "C"]).fold(setup, |s, (up, name)| s.put(name, up.address()));
        Some(Group { server: setup.start(), _ups: ups })
    }

    /// Who answers so many requests with these header lines.
    fn answers(&self, target: &str, headers: &str, count: usize) -> String {
        let headers = format!("Host: h\r\n{headers}");
        (0..count).map(|_| self.server.get_with(target, &headers).text()).collect()
    }
}

const ROUTES: &str = "server %%A%% route=one; server %%B%% route=two; server %%C%% route=three;";

#[test]
fn route_names_a_server() {
    let Some(group) = Group::new(&format!("{ROUTES} sticky route $arg_r $cookie_r;")) else { return };
    assert_eq!(group.answers("/?r=two", "", 3), "bbb");
    assert_eq!(group.answers("/", "Cookie: r=three\r\n", 2), "cc");
    // The first variable that is not empty counts, whether or not it names a server.
    assert_eq!(group.answers("/?r=one", "Cookie: r=three\r\n", 2), "aa");
    assert_eq!(group.server.get("/?r=none").get("Set-Cookie"), None);
    let others = group.answers("/", "", 6);
    assert!(["a", "b", "c"].iter().all(|name| others.contains(name)), "{others}");
}

#[test]
fn cookie_is_set_and_obeyed() {
    for method in ["", "least_conn;", "ip_hash;", "hash $arg_k;", "hash $arg_k consistent;", "random;"] {
        let Some(group) = Group::new(&format!("{method} {ROUTES} sticky cookie s;")) else { return };
        for (route, name) in [("one", "a"), ("two", "b"), ("three", "c")] {
            let answer = group.server.get_with("/?k=1", &format!("Host: h\r\nCookie: s={route}\r\n"));
            assert_eq!(answer.text(), name, "{method}");
            assert_eq!(answer.get("Set-Cookie"), Some(format!("s={route}").as_str()), "{method}");
        }
        let first = group.server.get("/");
        let cookie = first.get("Set-Cookie").unwrap_or_default().to_owned();
        assert_eq!(group.answers("/?k=5", &format!("Cookie: {cookie}\r\n"), 3), first.text().repeat(3));
    }
}

#[test]
fn servers_without_a_route_have_a_sum() {
    let Some(group) = Group::new("server %%A%%; server %%B%%; sticky cookie s;") else { return };
    let first = group.server.get("/");
    let cookie = first.get("Set-Cookie").unwrap_or_default().to_owned();
    let sum = cookie.strip_prefix("s=").unwrap_or_default();
    assert!(sum.len() == 32 && sum.bytes().all(|b| b.is_ascii_hexdigit()), "{cookie}");
    assert_eq!(group.answers("/", &format!("Cookie: {cookie}\r\n"), 3), first.text().repeat(3));
}

#[test]
fn cookie_has_all_its_parts() {
    let line = "sticky cookie s expires=max domain=$arg_d path=/p httponly secure samesite=$arg_s;";
    let Some(group) = Group::new(&format!("server %%A%% route=one; {line}")) else { return };
    let max = "; expires=Thu, 31-Dec-37 23:55:55 GMT; max-age=315360000";
    for (target, rest) in [
        ("/", "; httponly; secure; path=/p"),
        ("/?d=x.example&s=Lax", "; domain=x.example; httponly; secure; samesite=Lax; path=/p"),
        ("/?s=wrong", "; httponly; secure; samesite=strict; path=/p"),
    ] {
        let answer = group.server.get(target);
        assert_eq!(answer.get("Set-Cookie"), Some(format!("s=one{max}{rest}").as_str()), "{target}");
    }
    let Some(group) = Group::new("server %%A%% route=one; sticky cookie s \"expires=1h 3m\";") else {
        return;
    };
    let answer = group.server.get("/");
    let cookie = answer.get("Set-Cookie").unwrap_or_default();
    assert!(cookie.starts_with("s=one; expires=") && cookie.ends_with(" GMT; max-age=3780"), "{cookie}");
}

#[test]
fn where_the_server_is_gone_another_is_named() {
    let lines = "server %%DEAD%% route=gone; server %%B%% route=two; sticky cookie s;";
    let Some(group) = Group::new(lines) else { return };
    let answer = group.server.get_with("/", "Host: h\r\nCookie: s=gone\r\n");
    assert_eq!((answer.text().as_str(), answer.get("Set-Cookie")), ("b", Some("s=two")));
    // Nobody was asked here.
    assert_eq!(group.server.get("/no").get("Set-Cookie"), None);
    let Some(group) = Group::new("server %%DEAD%% route=gone; sticky cookie s;") else { return };
    let answer = group.server.get("/");
    assert_eq!((answer.status(), answer.get("Set-Cookie")), (502, Some("s=gone")));
}

#[test]
fn drained_servers_keep_their_sessions() {
    let lines = "server %%A%% route=one drain; server %%B%% route=two; sticky cookie s;";
    let Some(group) = Group::new(lines) else { return };
    assert_eq!(group.answers("/", "", 4), "bbbb");
    assert_eq!(group.answers("/", "Cookie: s=one\r\n", 3), "aaa");
    let Some(group) = Group::new("server %%A%% route=one down; server %%B%% route=two; sticky cookie s;")
    else {
        return;
    };
    assert_eq!(group.answers("/", "Cookie: s=one\r\n", 3), "bbb");
}

#[test]
fn sessions_hold_for_a_url_of_variables() {
    let Some(group) = Group::new(&format!("{ROUTES} sticky cookie s;")) else { return };
    let answer = group.server.get_with("/v?u=g", "Host: h\r\nCookie: s=three\r\n");
    assert_eq!((answer.text().as_str(), answer.get("Set-Cookie")), ("c", Some("s=three")));
}

#[test]
fn wrong_lines_are_refused() {
    if !since("1.29.6", "sticky came to it then") {
        return;
    }
    for (line, said) in [
        ("sticky cake s;", "unknown parameter \"cake\""),
        ("sticky route arg;", "invalid variable name \"arg\""),
        ("sticky cookie \"\";", "\"sticky\" directive empty cookie name"),
        ("sticky cookie s salt;", "unknown parameter \"salt\""),
        ("sticky cookie s path=;", "\"sticky\" directive no value for \"path\""),
        ("sticky cookie s secure secure;", "\"sticky\" directive parameter \"secure\" is duplicate"),
        ("sticky cookie s expires=x;", "\"sticky\" directive invalid \"expires\" parameter value"),
        ("sticky cookie s samesite=x;", "\"sticky\" directive invalid \"samesite\" parameter value"),
        ("server 127.0.0.1:2 route=;", "route is empty"),
        ("server 127.0.0.1:2 route=123456789012345678901234567890123;", "route is longer than 32"),
    ] {
        let refused = Setup::http(&format!("upstream u {{ server 127.0.0.1:1; {line} }}")).refused();
        assert!(refused.starts_with(&format!("[emerg] {said} in DIR/nginx.conf:")), "{line}: {refused}");
    }
}
