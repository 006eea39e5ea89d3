//! The language of nginx.conf: what is read, and the words in which it is refused.

use crate::harness::*;

/// A server that returns the text of one directive's argument, as it was written in the file.
fn returns(argument: &str) -> String {
    let server = Server::http(&format!("server {{ listen 127.0.0.1:%%PORT%%; return 200 {argument}; }}"));
    server.get("/").text()
}

/// What `-t` says about this text inside `http {}`.
fn refused(text: &str) -> String {
    Setup::http(text).refused()
}

/// What `-t` says about this file.
fn refused_whole(text: &str) -> String {
    Setup::whole(text).refused()
}

#[test]
fn words_and_quotes() {
    assert_eq!(returns("word"), "word");
    assert_eq!(returns("'single quoted'"), "single quoted");
    assert_eq!(returns("\"double quoted\""), "double quoted");
    assert_eq!(returns("'it is \"so\"'"), "it is \"so\"");
    assert_eq!(returns("\"it's\""), "it's");
    assert_eq!(returns("''"), "");
    assert_eq!(returns("a'b"), "a'b");
    assert_eq!(returns("a\"b"), "a\"b");
    assert_eq!(returns("'; # {}'"), "; # {}");
    assert_eq!(returns("a#b"), "a#b");
}

#[test]
fn escapes() {
    assert_eq!(returns(r"a\ b"), r"a\ b");
    assert_eq!(returns(r"a\;b"), r"a\;b");
    assert_eq!(returns(r"'a\'b'"), "a'b");
    assert_eq!(returns(r#""a\"b""#), "a\"b");
    assert_eq!(returns(r"'a\tb\nc\rd'"), "a\tb\nc\rd");
    assert_eq!(returns(r"'a\\b'"), r"a\b");
    assert_eq!(returns(r"'a\.b\d'"), r"a\.b\d");
    assert_eq!(returns(r#"'a\"b'"#), "a\"b");
}

#[test]
fn variables_in_braces() {
    assert_eq!(returns("\"${request_method}x\""), "GETx");
    assert_eq!(returns("${request_method}x"), "GETx");
    assert_eq!(returns("$request_method$uri"), "GET/");
    assert_eq!(returns("'a $uri b'"), "a / b");
}

#[test]
fn text_over_lines_and_comments() {
    assert_eq!(returns("'a\nb'"), "a\nb");
    assert_eq!(returns("# a comment; } {\n    text # and one more\n"), "text");
    assert_eq!(returns("\t\r\n  text\t\r\n"), "text");
}

#[test]
fn unknown_directive() {
    assert_eq!(
        refused_whole("events { }\nhttp {\n  server {\n    locaton / { }\n  }\n}\n"),
        "[emerg] unknown directive \"locaton\" in DIR/nginx.conf:4"
    );
    assert_eq!(
        refused_whole("\nevents { }\nnonsense;\n"),
        "[emerg] unknown directive \"nonsense\" in DIR/nginx.conf:3"
    );
}

#[test]
fn directive_of_nginx_that_is_not_built_is_refused_by_name() {
    if !only_octroi("nginx knows it") {
        return;
    }
    let server = Setup::http("xslt_types text/xml;").prepare();
    let shown = server.run(&["-t"]);
    assert_eq!(shown.code, Some(1));
    assert!(shown.stderr.contains("[emerg] ") && shown.stderr.contains("\"xslt_types\""), "{}", shown.stderr);
    assert!(shown.stderr.contains("-h directives"), "{}", shown.stderr);
}

#[test]
fn misspelt_directive_gets_a_suggestion() {
    if !only_octroi("nginx suggests nothing") {
        return;
    }
    let shown = Setup::http("server { prox_pass http://127.0.0.1; }").check();
    assert!(shown.stderr.contains("proxy_pass"), "{}", shown.stderr);
}

#[test]
fn directive_in_the_wrong_place() {
    assert_eq!(
        refused_whole("events { }\nlisten 80;\n"),
        "[emerg] \"listen\" directive is not allowed here in DIR/nginx.conf:2"
    );
    assert_eq!(
        refused_whole("events { }\nhttp {\n  proxy_pass http://127.0.0.1;\n}\n"),
        "[emerg] \"proxy_pass\" directive is not allowed here in DIR/nginx.conf:3"
    );
    assert_eq!(
        refused_whole("events { }\nhttp {\n  server {\n    location / {\n      server_name a;\n} } }\n"),
        "[emerg] \"server_name\" directive is not allowed here in DIR/nginx.conf:5"
    );
    assert_eq!(
        refused_whole("events {\n  worker_processes 1;\n}\n"),
        "[emerg] \"worker_processes\" directive is not allowed here in DIR/nginx.conf:2"
    );
    assert_eq!(
        refused_whole("http {\n  events { }\n}\n"),
        "[emerg] \"events\" directive is not allowed here in DIR/nginx.conf:2"
    );
}

#[test]
fn wrong_number_of_arguments() {
    let arity = |directive: &str| {
        refused_whole(&format!("events {{ }}\nhttp {{\n  server {{\n    {directive}\n  }}\n}}\n"))
    };
    for directive in [
        "listen;",
        "server_name;",
        "tcp_nodelay;",
        "tcp_nodelay on off;",
        "root;",
        "root a b;",
        "keepalive_timeout;",
        "return;",
    ] {
        let name = directive.trim_end_matches(';').split(' ').next().unwrap();
        assert_eq!(
            arity(directive),
            format!("[emerg] invalid number of arguments in \"{name}\" directive in DIR/nginx.conf:4")
        );
    }
    assert_eq!(
        arity("location / = x { }"),
        "[emerg] invalid number of arguments in \"location\" directive in DIR/nginx.conf:4"
    );
}

#[test]
fn block_or_no_block() {
    assert_eq!(
        refused_whole("events { }\nhttp;\n"),
        "[emerg] directive \"http\" has no opening \"{\" in DIR/nginx.conf:2"
    );
    assert_eq!(
        refused_whole("events { }\nhttp {\n  server_tokens off { }\n}\n"),
        "[emerg] directive \"server_tokens\" is not terminated by \";\" in DIR/nginx.conf:3"
    );
}

#[test]
fn braces_and_semicolons() {
    assert_eq!(refused_whole("events { }\n}\n"), "[emerg] unexpected \"}\" in DIR/nginx.conf:2");
    assert_eq!(refused_whole("events { }\n;\n"), "[emerg] unexpected \";\" in DIR/nginx.conf:2");
    assert_eq!(refused_whole("events { }\n{\n"), "[emerg] unexpected \"{\" in DIR/nginx.conf:2");
    assert_eq!(
        refused_whole("events { }\nhttp {\n"),
        "[emerg] unexpected end of file, expecting \"}\" in DIR/nginx.conf:3"
    );
    assert_eq!(
        refused_whole("events { }\npid x"),
        "[emerg] unexpected end of file, expecting \";\" or \"}\" in DIR/nginx.conf:2"
    );
    assert_eq!(refused_whole("events { }\npid x }\n"), "[emerg] unexpected \"}\" in DIR/nginx.conf:2");
}

#[test]
fn quotes_that_go_wrong() {
    assert_eq!(refused_whole("events { }\npid 'a'b;\n"), "[emerg] unexpected \"b\" in DIR/nginx.conf:2");
    let open = refused_whole("events { }\npid 'abc;\n");
    assert!(open.starts_with("[emerg] unexpected end of file, expecting "), "{open}");
}

#[test]
fn duplicates() {
    let twice = |text: &str| refused_whole(&format!("events {{ }}\nhttp {{\n{text}\n}}\n"));
    for directive in [
        "server_tokens on;",
        "client_max_body_size 1m;",
        "keepalive_timeout 1s;",
        "root a;",
        "tcp_nodelay on;",
        "proxy_http_version 1.1;",
        "proxy_read_timeout 1s;",
        "large_client_header_buffers 4 8k;",
    ] {
        let name = directive.split(' ').next().unwrap();
        assert_eq!(
            twice(&format!("{directive}\n{directive}")),
            format!("[emerg] \"{name}\" directive is duplicate in DIR/nginx.conf:4")
        );
    }
    assert_eq!(
        refused_whole("events { }\nhttp { }\nhttp { }\n"),
        "[emerg] \"http\" directive is duplicate in DIR/nginx.conf:3"
    );
    assert_eq!(
        refused_whole("pid a;\npid b;\nevents { }\n"),
        "[emerg] \"pid\" directive is duplicate in DIR/nginx.conf:2"
    );
}

#[test]
fn inner_block_may_repeat_what_the_outer_one_says() {
    let server = Server::http(
        "server_tokens on; server { listen 127.0.0.1:%%PORT%%; server_tokens off; return 200 $uri; }",
    );
    assert_eq!(server.get("/").get("server"), Some(program().name.as_str()));
}

#[test]
fn no_events_block() {
    let shown = Setup::whole("http { access_log off; }\n").check();
    assert_eq!(shown.code, Some(1));
    assert!(shown.stderr.contains("[emerg] no \"events\" section in configuration"), "{}", shown.stderr);
}

#[test]
fn include_of_a_file() {
    let conf = "server { listen 127.0.0.1:%%PORT%%; include parts/return.conf; }";
    let server = Setup::http(conf).file("parts/return.conf", "return 200 included;").start();
    assert_eq!(server.get("/").text(), "included");
}

#[test]
fn include_of_a_pattern_in_order() {
    let conf = "server { listen 127.0.0.1:%%PORT%%; include parts/*.conf; location / { return 204; } }";
    let server = Setup::http(conf)
        .file("parts/20.conf", "add_header X-Part two always;")
        .file("parts/10.conf", "add_header X-Part one always;")
        .file("parts/30.other", "nonsense;")
        .start();
    assert_eq!(server.get("/").all("x-part"), ["one", "two"]);
}

#[test]
fn include_of_a_pattern_that_matches_nothing() {
    let server = Server::http("include absent/*.conf; server { listen 127.0.0.1:%%PORT%%; return 204; }");
    assert_eq!(server.get("/").status(), 204);
}

#[test]
fn include_of_a_missing_file() {
    assert_eq!(
        refused_whole("events { }\ninclude absent.conf;\n"),
        "[emerg] open() \"DIR/absent.conf\" failed (2: No such file or directory) in DIR/nginx.conf:2"
    );
}

#[test]
fn include_names_the_file_of_the_error() {
    let said = Setup::http("include part.conf;").file("part.conf", "\n\nnonsense;\n").refused();
    assert_eq!(said, "[emerg] unknown directive \"nonsense\" in DIR/part.conf:3");
}

#[test]
fn include_must_close_its_own_blocks() {
    let said = Setup::http("include part.conf;").file("part.conf", "server {\n").refused();
    assert_eq!(said, "[emerg] unexpected end of file, expecting \"}\" in DIR/part.conf:2");
}

#[test]
fn include_relative_to_the_main_file() {
    // The path is taken from the directory of nginx.conf, not of the file that includes.
    let conf = "server { listen 127.0.0.1:%%PORT%%; include parts/a.conf; }";
    let server = Setup::http(conf)
        .file("parts/a.conf", "include parts/b.conf;")
        .file("parts/b.conf", "return 200 deep;")
        .start();
    assert_eq!(server.get("/").text(), "deep");
}

#[test]
fn blocks_nest() {
    let conf = "server { listen 127.0.0.1:%%PORT%%;
        location /a/ { location /a/b/ { location = /a/b/c { return 200 deepest; } return 200 inner; } return 200 outer; } }";
    let server = Server::http(conf);
    assert_eq!(server.get("/a/").text(), "outer");
    assert_eq!(server.get("/a/b/").text(), "inner");
    assert_eq!(server.get("/a/b/c").text(), "deepest");
}

#[test]
fn very_long_word_is_refused() {
    // nginx reads through a buffer of 4096 bytes, and a word must fit.
    let said = refused_whole(&format!("events {{ }}\npid '{}';\n", "a".repeat(5000)));
    assert!(said.starts_with("[emerg] too long parameter"), "{said}");
}

#[test]
fn unknown_variable() {
    let said = refused("server { return 200 $nonsense; }");
    assert_eq!(said, "[emerg] unknown \"nonsense\" variable");
}

#[test]
fn variable_with_no_name() {
    let said = refused_whole("events { }\nhttp {\nserver {\nreturn 200 \"a$\";\n} }\n");
    assert_eq!(said, "[emerg] invalid variable name in DIR/nginx.conf:4");
}

#[test]
fn unclosed_variable() {
    let said = refused_whole("events { }\nhttp {\nserver {\nreturn 200 \"${uri\";\n} }\n");
    assert_eq!(said, "[emerg] the closing bracket in \"uri\" variable is missing in DIR/nginx.conf:4");
}
