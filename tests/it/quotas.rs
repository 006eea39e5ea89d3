//! `quota`: what is kept of it in a folder.

use crate::harness::*;

const ONLY: &str = "nginx knows no plans";

/// Whether the binary knows plans at all.
pub fn applies() -> bool {
    only_octroi(ONLY)
}

/// The directive for a key, as `octroi key hash` prints it.
pub fn key_line(key: &str) -> String {
    run(&["key", "hash", key]).stdout.trim().to_owned()
}

/// A server with consumers `a` and `b`, whose keys are these names, under these directives.
pub fn with_consumers(directives: &str) -> Setup {
    let consumers: String =
        ["a", "b"].iter().map(|name| format!("consumer {name} {{ plan p; {} }} ", key_line(name))).collect();
    Setup::http(&format!(
        "{consumers} {directives}
         server {{ listen 127.0.0.1:%%PORT%%; auth_api_key octroi from=$http_x_api_key; enforce_plan on;
           location / {{ root %%DIR%%; try_files /none =204; }} }}"
    ))
}

/// The status of a request with this key.
pub fn ask(server: &Server, key: &str) -> u16 {
    server.get_with("/", &format!("Host: a\r\nX-Api-Key: {key}\r\n")).status()
}

/// What an answer says is left of the quota of the year.
fn left(server: &Server, key: &str) -> u64 {
    let answer = server.get_with("/", &format!("Host: a\r\nX-Api-Key: {key}\r\n"));
    let text = answer.get("RateLimit").unwrap();
    let (_, left) = text.split_once("\"year\";r=").unwrap();
    left.split(';').next().unwrap().parse().unwrap()
}

/// Kills master and workers. What is left of them is the pid file, which nobody is to take for another's.
pub fn kill_all(server: &mut Server) {
    for pid in server.pids() {
        kill("KILL", pid.into());
    }
    server.allow_alerts();
    server.wait_exit();
    std::fs::remove_file(server.path("nginx.pid")).unwrap();
}

const PLAN: &str = "plan p { quota 100/year; } quota_store file:%%DIR%%/kept;";

#[test]
fn counts_survive_reload_and_restart() {
    if !applies() {
        return;
    }
    let mut server = with_consumers(PLAN).start();
    assert_eq!(ask(&server, "wrong"), 401);
    assert_eq!([left(&server, "a"), left(&server, "a"), left(&server, "b")], [99, 98, 99]);
    server.reload();
    server.wait_log("exited with code 0");
    assert_eq!(left(&server, "a"), 97);
    // Whatever was counted until the end.
    server.end();
    server.launch();
    assert_eq!([left(&server, "a"), left(&server, "b")], [96, 98]);
    server.signal("QUIT");
    server.wait_exit();
    server.launch();
    assert_eq!([left(&server, "a"), left(&server, "b")], [95, 97]);
}

#[test]
fn a_process_that_is_killed_loses_a_second_at_most() {
    if !applies() {
        return;
    }
    let mut server = with_consumers(PLAN).start();
    assert_eq!([left(&server, "a"), left(&server, "a")], [99, 98]);
    let begun = std::time::Instant::now();
    eventually("the counts are kept", || server.read("kept/counts").contains(" 2 consumer:a\n"));
    // On an idle machine half a second.
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    kill_all(&mut server);
    server.launch();
    assert_eq!(left(&server, "a"), 97);
    // The worker alone: the master starts another.
    eventually("the counts are kept", || server.read("kept/counts").contains(" 1 consumer:a\n"));
    let pids = server.pids();
    kill("KILL", i64::from(pids[1]));
    eventually("another worker", || server.pids().get(1).is_some_and(|pid| *pid != pids[1]));
    assert_eq!(left(&server, "a"), 96);
}

#[test]
fn damage_is_told() {
    if !applies() {
        return;
    }
    let mut server = with_consumers(PLAN).start();
    assert_eq!([left(&server, "a"), left(&server, "b")], [99, 99]);
    server.end();
    let text = server.read("kept/counts").replace("1 consumer:a", "7 consumer:a");
    server.write("kept/counts", &text);
    server.launch();
    assert_eq!([left(&server, "a"), left(&server, "b")], [99, 98]);
    server.wait_log("records are damaged, the first at byte ");
    assert_eq!(server.read("kept/counts.damaged"), text);
}

#[test]
fn a_store_that_cannot_be_opened_is_an_error() {
    if !only_octroi(ONLY) {
        return;
    }
    const REFUSED: &str = "plan p { quota 5/day; } plan_default p; quota_store file:%%DIR%%/nginx.conf;
         server { listen 127.0.0.1:%%PORT%%; enforce_plan on; return 205; }";
    let mut server = Setup::http(REFUSED).prepare();
    let outcome = server.run(&[]);
    assert_ne!(outcome.code, Some(0));
    server.wait_log("/nginx.conf\": (20: Not a directory)");
    // A reload that brings it changes nothing.
    server.configure("server { listen 127.0.0.1:%%PORT%%; return 204; }");
    server.launch();
    let before = server.log().matches("(20: Not a directory)").count();
    server.configure(REFUSED);
    server.reload();
    eventually("it is refused", || server.log().matches("(20: Not a directory)").count() > before);
    assert_eq!(server.get("/").status(), 204);
}

#[test]
fn shards_share_a_quota() {
    if !applies() {
        return;
    }
    let consumers = format!("consumer a {{ plan p; {} }}", key_line("a"));
    let server = Setup::whole(&format!(
        "worker_processes 2; daemon off; pid %%DIR%%/nginx.pid; error_log %%DIR%%/error.log crit; events {{ }}
         http {{ access_log off; {consumers} plan p {{ quota 500/year; }} quota_store file:%%DIR%%/kept;
           server {{ listen 127.0.0.1:%%PORT%%; auth_api_key octroi from=$http_x_api_key; enforce_plan on;
             location / {{ root %%DIR%%; try_files /none =204; }} }} }}"
    ))
    .start();
    let passed: usize = std::thread::scope(|scope| {
        let client = |_| {
            scope.spawn(|| {
                let mut client = server.client();
                let mut ask = || {
                    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Api-Key: a\r\n\r\n");
                    client.recv().status()
                };
                (0..100).filter(|_| ask() == 204).count()
            })
        };
        let clients: Vec<_> = (0..8).map(client).collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert_eq!(passed, 500);
}
