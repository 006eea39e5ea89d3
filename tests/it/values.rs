//! Values of directives: sizes, times, flags, and those that are refused.

use crate::harness::*;

/// What `-t` says about this text inside `http {}`.
fn refused(text: &str) -> String {
    Setup::http(text).refused()
}

/// What `-t` says about this file.
fn refused_whole(text: &str) -> String {
    Setup::whole(text).refused()
}

#[test]
fn numbers_are_not_octal_and_sizes_have_units() {
    for value in ["0", "1", "1k", "1K", "1m", "1M", "1g", "1G"] {
        assert_eq!(Setup::http(&format!("client_max_body_size {value};")).check().code, Some(0), "{value}");
    }
    for value in ["", "k", "1x", "-1", "1.5m", "1kk", "99999999999999999999"] {
        let said = refused(&format!("client_max_body_size '{value}';"));
        assert!(
            said.starts_with("[emerg] \"client_max_body_size\" directive invalid value in DIR/nginx.conf:"),
            "{value}: {said}"
        );
    }
}

#[test]
fn times_have_units() {
    for value in ["0", "1", "1s", "1m", "1h", "1d", "1w", "1h30m", "'1h 30m'", "500ms"] {
        assert_eq!(Setup::http(&format!("client_body_timeout {value};")).check().code, Some(0), "{value}");
    }
    for value in ["", "1x", "30m1h", "-1s", "1.5s"] {
        let said = refused(&format!("client_body_timeout '{value}';"));
        assert!(
            said.starts_with("[emerg] \"client_body_timeout\" directive invalid value in DIR/nginx.conf:"),
            "{value}: {said}"
        );
    }
}

#[test]
fn flags_are_on_or_off_in_any_case() {
    for value in ["on", "off", "ON", "Off"] {
        assert_eq!(Setup::http(&format!("tcp_nodelay {value};")).check().code, Some(0), "{value}");
    }
    assert_eq!(
        refused_whole("events { }\nhttp {\n  tcp_nodelay yes;\n}\n"),
        "[emerg] invalid value \"yes\" in \"tcp_nodelay\" directive, it must be \"on\" or \"off\" in DIR/nginx.conf:3"
    );
}

#[test]
fn bad_values_are_named() {
    let said = |text: &str| refused_whole(&format!("events {{ }}\nhttp {{\n{text}\n}}\n"));
    let mut wrong = String::new();
    for (text, expected) in [
        ("server { listen 0; }", "invalid port in \"0\" of the \"listen\" directive"),
        ("server { listen 65536; }", "invalid port in \"65536\" of the \"listen\" directive"),
        ("server { listen 127.0.0.1:x; }", "invalid port in \"127.0.0.1:x\" of the \"listen\" directive"),
        ("server { listen 80 nonsense; }", "invalid parameter \"nonsense\""),
        ("server { listen 80 backlog=x; }", "invalid backlog \"backlog=x\""),
        ("server { listen 80 so_keepalive=x; }", "invalid so_keepalive value: \"x\""),
        ("server { location ~ '(' { } }", "pcre2_compile() failed: missing closing parenthesis in \"(\""),
        ("server { location nonsense / { } }", "invalid location modifier \"nonsense\""),
        ("server { location / { } location / { } }", "duplicate location \"/\""),
        ("server { location = /a { } location = /a { } }", "duplicate location \"/a\""),
        ("server { location /a/ { location /b/ { } } }", "location \"/b/\" is outside location \"/a/\""),
        (
            "server { location = /a { location /a/b { } } }",
            "location \"/a/b\" cannot be inside the exact location \"/a\"",
        ),
        (
            "server { location /a { location @b { } } }",
            "named location \"@b\" can be on the server level only",
        ),
        ("server { return 1000; }", "invalid return code \"1000\""),
        ("server { return nonsense; }", "invalid return code \"nonsense\""),
        ("server { location / { proxy_pass 127.0.0.1; } }", "invalid URL prefix"),
        (
            "server { location ~ / { proxy_pass http://127.0.0.1/; } }",
            "\"proxy_pass\" cannot have URI part in location given by regular expression, or inside named location, or inside \"if\" statement, or inside \"limit_except\" block",
        ),
        (
            "server { location @a { proxy_pass http://127.0.0.1/; } }",
            "\"proxy_pass\" cannot have URI part in location given by regular expression, or inside named location, or inside \"if\" statement, or inside \"limit_except\" block",
        ),
        (
            "server { location / { proxy_pass http://127.0.0.1; proxy_pass http://127.0.0.1; } }",
            "\"proxy_pass\" directive is duplicate",
        ),
        ("upstream u { }", "no servers are inside upstream"),
        ("upstream u { server 127.0.0.1 weight=0; }", "invalid parameter \"weight=0\""),
        ("upstream u { server 127.0.0.1 nonsense; }", "invalid parameter \"nonsense\""),
        ("upstream u { server 127.0.0.1 max_fails=x; }", "invalid parameter \"max_fails=x\""),
        ("upstream u { server 127.0.0.1; }\nupstream u { server 127.0.0.1; }", "duplicate upstream \"u\""),
        ("log_format a $uri;\nlog_format a $uri;", "duplicate \"log_format\" name \"a\""),
        ("access_log a.log nonsense;", "unknown log format \"nonsense\""),
        ("access_log a.log combined flush=1s;", "no buffer is defined for access_log \"a.log\""),
        ("access_log a.log combined buffer=x;", "invalid buffer size \"x\""),
        ("proxy_http_version 1.2;", "invalid value \"1.2\""),
        ("proxy_next_upstream nonsense;", "invalid value \"nonsense\""),
        ("server { server_name ~(; }", "pcre2_compile() failed: missing closing parenthesis in \"(\""),
        ("keepalive_timeout x;", "invalid value"),
    ] {
        let line = said(text);
        if !(line.starts_with("[emerg] ") && line.contains(expected)) {
            wrong.push_str(&format!("{text}\n  said: {line}\n  want: {expected}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
