//! `map`: what a variable is that others decide.

use crate::harness::*;

/// A server with these maps that answers with `shown`.
fn server(maps: &str, shown: &str) -> Server {
    Server::http(&format!(
        "map_hash_bucket_size 256; {maps}\n\
         server {{ listen 127.0.0.1:%%PORT%%; \
         location / {{ return 200 \"{shown}\"; }} \
         location /keep {{ set $seen \"{shown}\"; set $args a=other; return 200 \"$seen then {shown}\"; }} \
         location ~ ^/groups/(.+)/(?<tail>.+)$ {{ return 200 \"[$1] {shown} [$1] [$tail]\"; }} }}"
    ))
}

/// The bodies for these targets.
fn bodies<const N: usize>(maps: &str, shown: &str, targets: [&str; N]) -> [String; N] {
    let server = server(maps, shown);
    targets.map(|target| server.get(target).text())
}

#[test]
fn strings_without_case() {
    let maps = "map $arg_a $x { default other; One 1; two 2; \"\" nothing; \"with space\" 3; ~x ~; }";
    let targets = ["/?a=one", "/?a=ONE", "/?a=Two", "/?a=", "/", "/?a=three", "/?a=axb", "/?a=X"];
    assert_eq!(bodies(maps, "$x", targets), ["1", "1", "2", "nothing", "nothing", "other", "~", "other"]);
}

#[test]
fn without_a_default() {
    assert_eq!(bodies("map $arg_a $x { one 1; }", "[$x]", ["/?a=one", "/?a=b", "/"]), ["[1]", "[]", "[]"]);
}

#[test]
fn words_that_mean_something_are_escaped() {
    let maps = r"map $arg_a $x { default none; \default d; \hostnames h; \include i; \volatile v; \~x tilde; \\\b slash; }";
    let targets = ["/?a=default", "/?a=hostnames", "/?a=include", "/?a=volatile", "/?a=~x", "/?a=zz"];
    assert_eq!(bodies(maps, "$x", targets), ["d", "h", "i", "v", "tilde", "none"]);
}

#[test]
fn host_names_and_masks() {
    let maps = "map $arg_a $x { hostnames; default none; example.com exact; *.example.com front; .example.org both; www.example.* end; *.deep.example.com deep; }";
    let targets = [
        "/?a=example.com",
        "/?a=example.com.",
        "/?a=A.Example.Com",
        "/?a=a.b.example.com.",
        "/?a=a.deep.example.com",
        "/?a=example.org",
        "/?a=x.example.org",
        "/?a=www.example.net",
        "/?a=www.example.a.b",
        "/?a=example.net",
        "/?a=.example.com",
        "/?a=.",
    ];
    let values =
        ["exact", "exact", "front", "front", "deep", "both", "both", "end", "end", "none", "front", "none"];
    assert_eq!(bodies(maps, "$x", targets), values);
}

#[test]
fn masks_mean_nothing_without_hostnames() {
    let maps = "map $arg_a $x { default none; *.a star; hostnames; *.b front; }";
    let targets = ["/?a=*.a", "/?a=x.a", "/?a=x.b", "/?a=*.a."];
    assert_eq!(bodies(maps, "$x", targets), ["star", "none", "front", "star"]);
}

#[test]
fn regular_expressions() {
    let maps = r#"map $arg_a $x { default none; whole string; ~^b(\d+)(?<rest>.*)$ "n=$1 r=$rest"; ~*^B.* caseless; "~^q{2,3}$" braces; ~whole never; ~(?!x)y look; }"#;
    let targets = ["/?a=b12cd", "/?a=b7", "/?a=bx", "/?a=BX", "/?a=whole", "/?a=qq", "/?a=q", "/?a=xy"];
    let values = ["n=12 r=cd", "n=7 r=", "caseless", "caseless", "string", "braces", "none", "look"];
    assert_eq!(bodies(maps, "$x", targets), values);
}

#[test]
fn groups_are_left_to_who_asks_next() {
    let maps = "map $arg_a $x { ~^(.)(?<tail>.*)$ $2; default d; }";
    // What stands before the variable has the location's groups, what stands behind it the map's.
    let targets = ["/groups/a/b?a=xyz", "/groups/a/b"];
    let shown = bodies(maps, "$x", targets);
    assert_eq!(shown[1], "[a] d [a] [b]");
    if program().is_octroi() {
        assert_eq!(shown[0], "[a] yz [x] [yz]");
    } else {
        // nginx measures with the one and copies from the other.
        assert_eq!(shown[0], "[x] yz [x] [yz]");
    }
}

#[test]
fn values_of_variables_and_of_other_maps() {
    let maps = "map $a $b { a1 \"$a-$c\"; default ${uri}x; }\n\
                map $arg_a $a { default a$arg_a; z $arg_b$c; }\n\
                map $uri $c { /c c; default \"\"; }";
    let targets = ["/?a=1", "/c?a=1", "/d?a=2", "/c?a=z&b=a1"];
    assert_eq!(bodies(maps, "$a|$b", targets), ["a1|a1-", "a1|a1-c", "a2|/dx", "a1c|/cx"]);
}

#[test]
fn sources_of_several_parts() {
    let maps =
        "map \"$arg_a:$arg_b\" $x { a:b both; a: left; ~^:. right; : none; } map fixed $y { fixed f; }";
    let targets = ["/?a=A&b=b", "/?a=a", "/?b=q", "/"];
    assert_eq!(bodies(maps, "$x$y", targets), ["bothf", "leftf", "rightf", "nonef"]);
}

#[test]
fn values_are_kept_unless_volatile() {
    let body = "/keep?a=first";
    assert_eq!(bodies("map $arg_a $x { default $arg_a; }", "$x", [body]), ["first then first"]);
    assert_eq!(bodies("map $arg_a $x { volatile; default $arg_a; }", "$x", [body]), ["first then other"]);
    // What is kept below a volatile one is kept.
    let maps = "map $y $x { volatile; default $y; } map $arg_a $y { default $arg_a; }";
    assert_eq!(bodies(maps, "$x", [body]), ["first then first"]);
}

#[test]
fn a_value_is_kept_through_redirects() {
    let conf = "map $uri $x { /a a; /b b; } map $uri $v { volatile; /a a; /b b; }\n\
        server { listen 127.0.0.1:%%PORT%%; error_page 404 /b; \
        location /a { set $seen $x; return 404; } location /b { return 200 \"$x $v\"; } }";
    assert_eq!(Server::http(conf).get("/a").text(), "a b");
}

#[test]
fn a_map_can_be_set() {
    let conf = "map $uri $x { default map; }\n\
        server { listen 127.0.0.1:%%PORT%%; location / { return 200 $x; } \
        location /set { set $x set; return 200 $x; } }";
    let server = Server::http(conf);
    assert_eq!([server.get("/").text(), server.get("/set").text()], ["map", "set"]);
}

#[test]
fn the_last_of_a_name_counts() {
    assert_eq!(bodies("map $uri $x { default 1; } map $uri $X { default 2; }", "$x", ["/"]), ["2"]);
    // A family's name may be taken.
    assert_eq!(bodies("map $uri $http_a { default mine; }", "$http_a", ["/"]), ["mine"]);
}

#[test]
fn maps_that_lead_back_to_themselves_end() {
    let mut server = server("map $y $x { default a$y; } map $x $y { default b$x; }", "$x");
    server.allow_alerts();
    let text = server.get("/").text();
    assert_eq!(text.len(), 100, "{text}");
    server.wait_log("cycle while evaluating variable \"x\"");
    let maps = "map 1 $x { volatile; default $y$y; } map 1 $y { volatile; default $x$x; }";
    assert_eq!(bodies(maps, "$x", ["/"]), [""]);
}

#[test]
fn included_files() {
    let setup = Setup::http(
        "map $arg_a $x { default none; include list.map; include none*.map; four 4; }\n\
         server { listen 127.0.0.1:%%PORT%%; location / { return 200 $x; } }",
    );
    let server = setup.file("list.map", "one 1;\n# a comment\n\"two\" 2;\n~^th(.*) $1;\n").start();
    let asked = ["one", "two", "three", "four", "five"].map(|a| server.get(&format!("/?a={a}")).text());
    assert_eq!(asked, ["1", "2", "ree", "4", "none"]);
}

#[test]
fn many_values() {
    let list: String = (0..20_000).map(|n| format!("key{n} value{n};\n")).collect();
    let setup = Setup::http(
        "map_hash_max_size 65536; map $arg_a $x { include list.map; }\n\
         server { listen 127.0.0.1:%%PORT%%; location / { return 200 $x; } }",
    );
    let server = setup.file("list.map", list).start();
    assert_eq!(server.get("/?a=KEY19999").text(), "value19999");
    assert_eq!(server.get("/?a=key20000").text(), "");
}

#[test]
fn in_a_log_and_towards_an_upstream() {
    let upstream = Upstream::ok("hello");
    let server = Server::before(
        &upstream,
        "map $http_upgrade $connection_upgrade { default upgrade; '' close; }\n\
         log_format x '$connection_upgrade $missing'; map $uri $missing { /x 1; }\n\
         server { listen 127.0.0.1:%%PORT%%; access_log x.log x; \
         location / { proxy_pass http://%%UP%%; proxy_set_header X-Map $connection_upgrade; } }",
    );
    assert_eq!(server.get("/").status(), 200);
    assert_eq!(server.wait_lines("x.log", 1), ["close "]);
}
