//! `auth_api_key`: which keys let a client in, where they may be, and that they go nowhere else.

use crate::harness::*;

const WHY: &str = "keys of callers are Octroi's own";

/// The directive for a key, as `octroi key hash` prints it.
fn line(key: &str) -> String {
    let shown = run(&["key", "hash", key]).stdout;
    shown.trim().trim_end_matches(';').to_owned()
}

/// The hash of a key in hexadecimal.
fn hash(key: &str) -> String {
    line(key).split(':').nth(1).unwrap().to_owned()
}

/// Consumers with a key each: `mobile` with m-key, `partner` with p-key, `old` with o-key, which has expired.
fn consumers() -> String {
    let (mobile, partner, old) = (line("m-key"), line("p-key"), line("o-key"));
    format!(
        "plan gold {{ rate 1000r/s; }} consumer mobile {{ {mobile} expires=2099-01-01; groups app public; plan gold; }}
         consumer partner {{ {partner}; }} consumer old {{ {old} expires=2020-01-01; }}
         log_format keys '$request|$request_uri|$args|$arg_key|$http_x_api_key|$http_cookie|$http_referer|$consumer|$status';"
    )
}

#[test]
fn a_key_names_its_consumer() {
    if !only_octroi(WHY) {
        return;
    }
    let server = Server::http(&format!(
        "{} server {{ listen 127.0.0.1:%%PORT%%; auth_api_key 'Le \"Bon\" Clone' from=$http_x_api_key,$arg_key,$cookie_key;
           add_header X-Who '$consumer|$consumer_groups|$consumer_plan|$auth_method' always;
           location / {{ root %%DIR%%; try_files /none =204; }}
           location /open {{ auth_api_key off; return 204; }} }}",
        consumers()
    ));
    for (target, fields, status, who) in [
        ("/", "X-Api-Key: m-key\r\n", 204, "mobile|app,public|gold|api_key"),
        ("/?a=1&key=m-key", "", 204, "mobile|app,public|gold|api_key"),
        ("/?KEY=p-key", "", 204, "partner|||api_key"),
        ("/?k%65y=p%2dkey", "", 204, "partner|||api_key"),
        ("/", "Cookie: a=b; key=p-key; c=d\r\n", 204, "partner|||api_key"),
        ("/?key=m-key", "X-Api-Key: m-key\r\n", 204, "mobile|app,public|gold|api_key"),
        ("/", "", 401, "|||"),
        ("/?key=&a=m-key", "X-Api-Key: \r\n", 401, "|||"),
        ("/", "X-Api-Key: M-key\r\n", 401, "|||"),
        ("/", "X-Api-Key: m-key2\r\n", 401, "|||"),
        ("/", "X-Api-Key: o-key\r\n", 401, "|||"),
        ("/", "X-Api-Key: ***\r\n", 401, "|||"),
        // Two different ones mean nothing, even if both are right.
        ("/?key=m-key", "X-Api-Key: p-key\r\n", 400, "|||"),
        ("/?key=m-key&key=x", "", 400, "|||"),
        ("/", "X-Api-Key: m-key\r\nX-Api-Key: p-key\r\n", 400, "|||"),
        ("/open?key=m-key", "", 204, "|||"),
    ] {
        let answer = server.get_with(target, &format!("Host: a\r\n{fields}"));
        assert_eq!((answer.status(), answer.get("x-who")), (status, Some(who)), "{target} {fields}");
        let challenge = answer.get("www-authenticate");
        assert_eq!(
            challenge,
            (status == 401).then_some("ApiKey realm=\"Le \\\"Bon\\\" Clone\""),
            "{target} {fields}"
        );
    }
    server.wait_log("no key was provided, client: 127.0.0.1");
    server.wait_log(&format!("the key sha256:{}... is unknown", &hash("M-key")[..12]));
    server.wait_log(&format!("the key sha256:{}... has expired", &hash("o-key")[..12]));
    server.wait_log("client sent different keys");
}

#[test]
fn a_key_goes_nowhere_else() {
    if !only_octroi(WHY) {
        return;
    }
    let upstream = Upstream::ok("x");
    let server = Setup::http(&format!(
        "{} server {{ listen 127.0.0.1:%%PORT%%; access_log %%DIR%%/keys.log keys; error_log error.log info;
           auth_api_key Keys from=$http_x_api_key,$arg_key,$cookie_key;
           location / {{ proxy_pass http://%%UPSTREAM%%; }}
           location /uri/ {{ proxy_pass http://%%UPSTREAM%%/other/; }}
           location /kept/ {{ auth_api_key_forward on; proxy_pass http://%%UPSTREAM%%; }}
           location /early/ {{ return 403; }}
           location /big/ {{ client_max_body_size 1; error_page 413 /shown; proxy_pass http://%%UPSTREAM%%; }}
           location /shown {{ auth_api_key off; return 200 shown; }} }}",
        consumers()
    ))
    .put("UPSTREAM", upstream.address())
    .start();
    let passed = |target: &str, fields: &str| {
        assert_eq!(server.get_with(target, &format!("Host: a\r\n{fields}")).status(), 200, "{target}");
        upstream.last().head
    };
    // What the upstream gets, whole.
    for (target, fields, line, rest) in [
        ("/a%20b?x=1&key=m-key&y=2", "A: b\r\n", "GET /a%20b?x=1&y=2 HTTP/1.1", "A: b\r\n"),
        ("/a?key=m-key", "", "GET /a HTTP/1.1", ""),
        ("/a?k%65y=m-key&b", "", "GET /a?b HTTP/1.1", ""),
        ("/uri/a?key=m-key&key=m-key", "", "GET /other/a HTTP/1.1", ""),
        ("/uri/a?c&key=m-key", "", "GET /other/a?c HTTP/1.1", ""),
        ("/a", "A: b\r\nX-Api-Key: m-key\r\nC: d\r\n", "GET /a HTTP/1.1", "A: b\r\nC: d\r\n"),
        ("/a", "Cookie: a=b; key=m-key; c=d\r\n", "GET /a HTTP/1.1", "Cookie: a=b; key=***; c=d\r\n"),
        (
            "/a",
            "X-Api-Key: m-key\r\nReferer: http://a/?b=c&key=m-key\r\n",
            "GET /a HTTP/1.1",
            "Referer: http://a/?b=c&key=***\r\n",
        ),
        ("/kept/?key=m-key", "X-Api-Key: m-key\r\n", "GET /kept/?key=m-key HTTP/1.1", "X-Api-Key: m-key\r\n"),
    ] {
        let head = passed(target, fields);
        let want = format!("{line}\r\nHost: {}\r\n", upstream.address());
        assert!(
            head.starts_with(&want) && head.ends_with(&format!("{rest}\r\n")),
            "{target} {fields}\n{head}"
        );
    }
    // Answered before anybody asks for the key, and refused: all the same.
    assert_eq!(server.get("/early/?key=m-key").status(), 403);
    assert_eq!(server.get("/a?key=wrong-one").status(), 401);
    assert_eq!(server.get("/a?key=wrong-one&key=m-key").status(), 400);
    let post = "POST /big/?key=m-key HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab";
    assert_eq!(server.ask(post).status(), 413);
    let lines = server.wait_lines("keys.log", 13);
    for (line, want) in lines.iter().zip([
        "GET /a%20b?x=1&key=***&y=2 HTTP/1.1|/a%20b?x=1&key=***&y=2|x=1&key=***&y=2|***|-|-|-|mobile|200",
        "GET /a?key=*** HTTP/1.1|/a?key=***|key=***|***|-|-|-|mobile|200",
        "GET /a?k%65y=***&b HTTP/1.1|/a?k%65y=***&b|k%65y=***&b|-|-|-|-|mobile|200",
        "GET /uri/a?key=***&key=*** HTTP/1.1|/uri/a?key=***&key=***|key=***&key=***|***|-|-|-|mobile|200",
        "GET /uri/a?c&key=*** HTTP/1.1|/uri/a?c&key=***|c&key=***|***|-|-|-|mobile|200",
        "GET /a HTTP/1.1|/a|-|-|***|-|-|mobile|200",
        "GET /a HTTP/1.1|/a|-|-|-|a=b; key=***; c=d|-|mobile|200",
        "GET /a HTTP/1.1|/a|-|-|***|-|http://a/?b=c&key=***|mobile|200",
        "GET /kept/?key=m-key HTTP/1.1|/kept/?key=m-key|key=m-key|m-key|m-key|-|-|mobile|200",
        "GET /early/?key=*** HTTP/1.1|/early/?key=***|key=***|***|-|-|-|-|403",
        "GET /a?key=*** HTTP/1.1|/a?key=***|key=***|***|-|-|-|-|401",
        "GET /a?key=***&key=*** HTTP/1.1|/a?key=***&key=***|key=***&key=***|***|-|-|-|-|400",
        "POST /big/?key=*** HTTP/1.1|/big/?key=***|-|-|-|-|-|-|413",
    ]) {
        assert_eq!(line, want);
    }
    let log = server.log();
    assert!(!log.contains("wrong-one") && !log.replace("/kept/?key=m-key", "").contains("m-key"), "{log}");
    server.wait_log("request: \"POST /big/?key=*** HTTP/1.1\"");
}

#[test]
fn credentials_and_addresses_together() {
    if !only_octroi(WHY) {
        return;
    }
    let server = Setup::http(&format!(
        "{} server {{ listen 127.0.0.1:%%PORT%%; auth_api_key Keys; root %%DIR%%; auth_basic_user_file users;
           add_header X-Who '$consumer|$remote_user' always;
           location /any/ {{ satisfy any; deny all; auth_basic Names; try_files /none =204; }}
           location /address/ {{ satisfy any; allow all; try_files /none =204; }}
           location /all/ {{ auth_basic Names; try_files /none =204; }}
           location /asked/ {{ satisfy any; auth_request /no; try_files /none =204; }}
           location /no {{ internal; return 401; }} }}",
        consumers()
    ))
    .file("users", "a:{PLAIN}b\n")
    .start();
    let basic = "Authorization: Basic YTpi\r\n";
    for (target, fields, status, who) in [
        ("/any/", "X-Api-Key: m-key\r\n", 204, "mobile|"),
        ("/any/", basic, 204, "|a"),
        ("/any/", "", 401, "|"),
        ("/any/", "X-Api-Key: wrong\r\n", 401, "|"),
        // The address was enough: nobody is known, whatever else the client says.
        ("/address/", "", 204, "|"),
        ("/address/", "X-Api-Key: wrong\r\n", 204, "|"),
        ("/all/", &format!("X-Api-Key: m-key\r\n{basic}"), 204, "mobile|a"),
        ("/all/", "X-Api-Key: m-key\r\n", 401, "|"),
        ("/all/", basic, 401, "|a"),
        ("/asked/", "X-Api-Key: m-key\r\n", 204, "mobile|"),
        ("/asked/", "", 401, "|"),
    ] {
        let answer = server.get_with(target, &format!("Host: a\r\n{fields}"));
        assert_eq!((answer.status(), answer.get("x-who")), (status, Some(who)), "{target} {fields}");
    }
    let both = server.get("/any/").all("www-authenticate").join(", ");
    assert_eq!(both, "Basic realm=\"Names\", ApiKey realm=\"Keys\"");
    let let_in = server.get_with("/any/", "Host: a\r\nX-Api-Key: m-key\r\n");
    assert_eq!(let_in.get("www-authenticate"), None);
}

#[test]
fn upstreams_are_told_who_calls_and_by_nobody_else() {
    if !only_octroi(WHY) {
        return;
    }
    let upstream = Upstream::ok("x");
    let server = Setup::http(
        &format!(
            "{} underscores_in_headers on; proxy_set_header Host a;
             server {{ listen 127.0.0.1:%%PORT%%; add_header X-Saw '$http_x_consumer_name';
               location / {{ auth_api_key Keys; identity_headers on; proxy_pass http://%%UPSTREAM%%; }}
               location /silent/ {{ auth_api_key Keys; proxy_pass http://%%UPSTREAM%%; }}
               location /nobody/ {{ identity_headers on; proxy_pass http://%%UPSTREAM%%; }}
               location /own/ {{ auth_api_key Keys; identity_headers on; proxy_set_header X-Consumer-Name x-$consumer;
                 proxy_pass http://%%UPSTREAM%%; }}
               location /plain/ {{ proxy_pass http://%%UPSTREAM%%; }} }}",
            consumers()
        ),
    )
    .put("UPSTREAM", upstream.address())
    .start();
    let forged =
        "X-Consumer-Name: admin\r\nx_consumer_groups: root\r\nX-Consumer_Id: 1\r\nX-Auth_Method: jwt\r\n";
    for (target, key, want) in [
        (
            "/",
            "m-key",
            "X-Consumer-Name: mobile\r\nX-Consumer-Groups: app,public\r\nX-Auth-Method: api_key\r\n",
        ),
        ("/", "p-key", "X-Consumer-Name: partner\r\nX-Auth-Method: api_key\r\n"),
        ("/silent/", "m-key", ""),
        ("/nobody/", "", ""),
        (
            "/own/",
            "m-key",
            "X-Consumer-Name: x-mobile\r\nX-Consumer-Groups: app,public\r\nX-Auth-Method: api_key\r\n",
        ),
    ] {
        let key = if key.is_empty() { String::new() } else { format!("X-Api-Key: {key}\r\n") };
        let answer = server.get_with(target, &format!("Host: a\r\n{forged}{key}"));
        assert_eq!((answer.status(), answer.get("x-saw")), (200, None), "{target}");
        let head = upstream.last().head;
        let told: String = head
            .lines()
            .filter(|line| line.to_ascii_lowercase().starts_with("x"))
            .map(|line| format!("{line}\r\n"))
            .collect();
        assert_eq!(told, want, "{target}");
    }
    // Where nobody asks who calls, they are fields as any other.
    server.get_with("/plain/", &format!("Host: a\r\n{forged}"));
    assert!(upstream.last().head.contains("X-Consumer-Name: admin\r\nx_consumer_groups: root\r\n"));
}

#[test]
fn a_limit_counts_by_the_consumer() {
    if !only_octroi(WHY) {
        return;
    }
    let server = Server::http(&format!(
        "{} limit_req_zone $consumer zone=c:1m rate=1r/m;
         server {{ listen 127.0.0.1:%%PORT%%; root %%DIR%%;
           location / {{ auth_api_key Keys; limit_req zone=c; try_files /none =204; }} }}",
        consumers()
    ));
    let status = |key: &str| server.get_with("/", &format!("Host: a\r\nX-Api-Key: {key}\r\n")).status();
    assert_eq!(["m-key", "m-key", "p-key", "p-key", "x"].map(status), [204, 503, 204, 503, 401]);
}

#[test]
fn keys_in_a_file() {
    if !only_octroi(WHY) {
        return;
    }
    let text = "consumer mobile { groups app; }
         api_key_file keys.tsv;
         server { listen 127.0.0.1:%%PORT%%; root %%DIR%%; add_header X-Who '$consumer|$consumer_groups' always;
           location / { auth_api_key Keys; try_files /none =204; } }";
    let keys = |keys: &[(&str, &str)]| {
        keys.iter().map(|(key, rest)| format!("{}\t{rest}\n", hash(key))).collect::<String>()
    };
    let server = Setup::http(text)
        .file(
            "keys.tsv",
            keys(&[("one", "mobile"), ("two", "stranger\t2099-01-01"), ("three", "old 2020-01-01")]),
        )
        .start();
    let who = |key: &str| {
        let answer = server.get_with("/", &format!("Host: a\r\nX-Api-Key: {key}\r\n"));
        format!("{} {}", answer.status(), answer.get("x-who").unwrap_or_default())
    };
    assert_eq!(who("one"), "204 mobile|app");
    assert_eq!(who("two"), "204 stranger|");
    assert_eq!(who("three"), "401 |");
    assert_eq!(who("four"), "401 |");
    // It is read again when it changes; what is wrong leaves what was right.
    server.write("keys.tsv", keys(&[("four", "new")]));
    eventually("the new key", || who("four") == "204 new|");
    assert_eq!(who("one"), "401 |");
    server.write("keys.tsv", "nonsense\n");
    server.wait_log("keys.tsv:1; the keys from before stay in force");
    assert_eq!(who("four"), "204 new|");
    server.write("keys.tsv", keys(&[("five", "newer")]));
    eventually("the newer key", || who("five") == "204 newer|");
    server.reload();
    assert_eq!(who("five"), "204 newer|");
    let refused = Setup::http(text).file("keys.tsv", "\nnonsense\n").refused();
    assert!(
        refused.contains("no SHA-256 of a key in hexadecimal in ") && refused.contains("keys.tsv:2"),
        "{refused}"
    );
}

#[test]
fn keys_are_made_hashed_and_listed() {
    if !only_octroi(WHY) {
        return;
    }
    let made = run(&["key", "new", "mobile", "expires=2099-01-01"]).stdout;
    let key = made.lines().find_map(|line| line.trim().strip_prefix("octroi_")).unwrap();
    let line = line(&format!("octroi_{key}"));
    assert!(
        made.contains(&format!("consumer mobile {{\n        {line} expires=2099-01-01;\n    }}")),
        "{made}"
    );
    let server = Setup::http(&format!(
        "consumer mobile {{ {line} expires=2099-01-01; }} api_key_file keys.tsv;
         server {{ listen 127.0.0.1:%%PORT%%; location / {{ auth_api_key Keys; }} }}"
    ))
    .file("keys.tsv", format!("{} partner\n", hash("p-key")))
    .start();
    let listed = run(&["key", "list", &server.path("nginx.conf")]).stdout;
    let own = line.split(':').nth(1).unwrap();
    assert_eq!(listed, format!("{own}\tmobile\t2099-01-01\n{}\tpartner\t-\n", hash("p-key")));
    for wrong in [
        &["key"][..],
        &["key", "new"],
        &["key", "new", "a,b"],
        &["key", "new", "a", "expires=x"],
        &["key", "x"],
    ] {
        assert_eq!(run(wrong).code, Some(1), "{wrong:?}");
    }
}

#[test]
fn what_a_caller_must_be() {
    if !only_octroi(WHY) {
        return;
    }
    let server = Server::http(&format!(
        "{} consumer boss {{ {}; groups app chiefs; }} auth_api_key Keys; require consumer mobile boss;
         server {{ listen 127.0.0.1:%%PORT%%; root %%DIR%%;
           location / {{ try_files /none =204; }}
           location /app/ {{ require group app partner; try_files /none =204; }}
           location /both/ {{ require group app; require group chiefs; try_files /none =204; }}
           location /address/ {{ satisfy any; allow all; try_files /none =204; }}
           location /open/ {{ auth_api_key off; require group app; try_files /none =204; }} }}",
        consumers(),
        line("b-key")
    ));
    for (target, mobile, partner, boss) in
        [("/", 204, 403, 204), ("/app/", 204, 403, 204), ("/both/", 403, 403, 204), ("/open/", 401, 401, 401)]
    {
        for (key, want) in [("m-key", mobile), ("p-key", partner), ("b-key", boss), ("x", 401)] {
            let answer = server.get_with(target, &format!("Host: a\r\nX-Api-Key: {key}\r\n"));
            assert_eq!(answer.status(), want, "{target} {key}");
        }
    }
    // Let in by its address, nobody is known.
    let answer = server.get("/address/");
    assert_eq!((answer.status(), answer.get("www-authenticate")), (401, Some("ApiKey realm=\"Keys\"")));
    server.wait_log("consumer \"mobile\" is none that \"require group chiefs\" lets in");
    server.wait_log("a caller is required, and nobody is known");
}
