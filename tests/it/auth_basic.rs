//! `auth_basic`: names, passwords and files of them.

use crate::harness::*;

/// A field with a name and a password.
fn basic(credentials: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for three in credentials.as_bytes().chunks(3) {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(*three.get(at).unwrap_or(&0)));
        for place in 0..4 {
            let digit = char::from(DIGITS[(bits >> (18 - 6 * place) & 63) as usize]);
            encoded.push(if place > three.len() { '=' } else { digit });
        }
    }
    format!("Host: a\r\nAuthorization: Basic {encoded}\r\n")
}

fn status(server: &Server, target: &str, credentials: &str) -> u16 {
    server.get_with(target, &basic(credentials)).status()
}

/// The password of each is `secret`.
const USERS: &str = "# of crypt(3)
des:abNANd1rDfiNc
md5:$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1:a comment
sha256:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA
sha512:$6$rounds=1500$saltsalt$34Syr0FSbWlp9hNFif0BNSVHRPxwiPh79DU920TQC0DoAPilRd9UG4mVZjASSDEENmIuJl1xJneHoAcjNgCp00
bcrypt:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a
apr1:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/
plain:{PLAIN}secret
sha:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=
ssha:{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0

broken:secret
empty:
";

#[test]
fn passwords_of_all_kinds() {
    let server = Setup::http(
        "log_format short '$request_uri $remote_user $status';
         server { listen 127.0.0.1:%%PORT%%; root %%DIR%%/www; access_log %%DIR%%/short.log short;
           auth_basic \"closed area\"; auth_basic_user_file users;
           location /open/ { auth_basic off; alias %%DIR%%/www/; } }",
    )
    .file("users", USERS)
    .file("www/f", "x")
    .start();
    for user in ["des", "md5", "sha256", "sha512", "bcrypt", "apr1", "plain", "sha", "ssha"] {
        assert_eq!(status(&server, "/f", &format!("{user}:secret")), 200, "{user}");
        assert_eq!(status(&server, "/f", &format!("{user}:Secret")), 401, "{user}");
    }
    for wrong in ["broken:secret", "empty:", "nobody:secret", "# of crypt(3)", "plain", "de:s", "dess:secret"]
    {
        assert_eq!(status(&server, "/f", wrong), 401, "{wrong}");
    }
    let asked = server.get("/f");
    assert_eq!((asked.status(), asked.get("www-authenticate")), (401, Some("Basic realm=\"closed area\"")));
    assert_eq!(server.get_with("/f", "Host: a\r\nAuthorization: Bearer x\r\n").status(), 401);
    assert_eq!(server.get("/open/f").status(), 200);
    server.wait_log("no user/password was provided for basic authentication, client: 127.0.0.1");
    server.wait_log("user \"des\": password mismatch, client: 127.0.0.1");
    server.wait_log(&format!("user \"nobody\" was not found in \"{}\", client: ", server.path("users")));
    let lines = server.wait_lines("short.log", 18);
    assert_eq!(&lines[..2], ["/f des 200", "/f des 401"]);
}

#[test]
fn files_that_change_or_are_not_there() {
    let mut server = Setup::http(
        "server { listen 127.0.0.1:%%PORT%%; root %%DIR%%/www;
           auth_basic $arg_realm; auth_basic_user_file $arg_file; }",
    )
    .file("users", "a:{PLAIN}one\n")
    .file("www/f", "x")
    .start();
    server.allow_alerts();
    assert_eq!(status(&server, "/f?file=users", "a:one"), 200);
    for (content, one, two) in
        [("a:{PLAIN}two\n", 401, 200), ("b:{PLAIN}one\n", 401, 401), ("a:{PLAIN}one", 200, 401)]
    {
        server.write("users", content);
        assert_eq!(status(&server, "/f?file=users", "a:one"), one, "{content}");
        assert_eq!(status(&server, "/f?file=users", "a:two"), two, "{content}");
    }
    let absolute = format!("/f?file={}", server.path("users"));
    assert_eq!(status(&server, &absolute, "a:one"), 200);
    // Whoever says nothing is asked before the file is.
    assert_eq!(server.get("/f?file=none&realm=here").get("www-authenticate"), Some("Basic realm=\"here\""));
    assert_eq!(status(&server, "/f?file=none", "a:one"), 403);
    assert_eq!(status(&server, "/f?file=www", "a:one"), 500);
    assert_eq!(status(&server, "/f?file=none&realm=off", "a:one"), 200);
    server.wait_log(&format!(
        "open() \"{}\" failed (2: No such file or directory), client: ",
        server.path("none")
    ));
    std::fs::remove_file(server.path("users")).unwrap();
    assert_eq!(status(&server, "/f?file=users", "a:one"), 403);
}

#[test]
fn satisfy_with_passwords() {
    let mut locations = String::new();
    let mut cases = Vec::new();
    for (rules, none, right, wrong) in [
        ("satisfy all; deny all;", 403, 403, 403),
        ("satisfy all; allow all;", 401, 200, 401),
        ("satisfy any; deny all;", 401, 200, 401),
        ("satisfy any; allow all;", 200, 200, 200),
        ("satisfy all; auth_request /no;", 401, 403, 401),
        ("satisfy any; auth_request /no;", 401, 200, 401),
        ("satisfy any; auth_request /yes;", 200, 200, 200),
        ("satisfy any; deny all; auth_request /no;", 401, 200, 401),
        ("satisfy any; auth_request /broken;", 500, 200, 500),
    ] {
        let path = format!("/{}", cases.len());
        locations += &format!("location {path}/ {{ {rules} auth_basic x; alias %%DIR%%/www/; }}\n");
        cases.push((path, rules, [none, right, wrong]));
    }
    let server = Setup::http(&format!(
        "server {{ listen 127.0.0.1:%%PORT%%; auth_basic_user_file users; error_page 401 /why;
           location = /why {{ return 200 \"log in\"; }}
           location = /yes {{ return 204; }} location = /no {{ return 403; }} location = /broken {{ return 404; }}
           {locations} }}"
    ))
    .file("users", "a:{PLAIN}one\n")
    .file("www/f", "x")
    .start();
    for (path, rules, want) in &cases {
        let target = format!("{path}/f");
        let answers = [
            server.get(&target),
            server.get_with(&target, &basic("a:one")),
            server.get_with(&target, &basic("a:two")),
        ];
        assert_eq!(answers.each_ref().map(|answer| answer.status()), *want, "{rules}");
        for answer in answers {
            // The question stands behind an error page too, and not where it was answered otherwise.
            if answer.status() != 500 {
                assert_eq!(answer.get("www-authenticate").is_some(), answer.status() == 401, "{rules}");
            }
            if answer.status() == 401 {
                assert_eq!(answer.text(), "log in", "{rules}");
            }
        }
    }
}

#[test]
fn many_at_once_with_two_shards() {
    let server = Setup::whole(
        "worker_processes 2; daemon off; pid %%DIR%%/nginx.pid; error_log %%DIR%%/error.log info; events { }
         http { access_log off; server { listen 127.0.0.1:%%PORT%% reuseport; root %%DIR%%/www;
           auth_basic x; auth_basic_user_file users; } }",
    )
    .file("users", USERS)
    .file("www/f", "x")
    .start();
    let mut clients: Vec<(Wire, u16)> = Vec::new();
    for number in 0..40 {
        let (credentials, status) = match number % 4 {
            0 => ("bcrypt:secret", 200),
            1 => ("bcrypt:wrong", 401),
            2 => ("sha512:secret", 200),
            _ => ("nobody:secret", 401),
        };
        let mut client = server.client();
        client.send(format!("GET /f HTTP/1.1\r\n{}\r\n", basic(credentials)));
        clients.push((client, status));
    }
    for (client, status) in &mut clients {
        assert_eq!(client.recv().status(), *status);
    }
}
