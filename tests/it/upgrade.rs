//! Changing the binary while it serves, workers that are replaced, and what is lost meanwhile: nothing.

use crate::clients::{Clients, Kept, Loss};
use crate::harness::*;

/// A daemon, as only such a one changes its binary under nginx.
fn daemon(main: &str, http: &str) -> Server {
    let mut server = Setup::whole(&conf(main, http)).prepare();
    server.launch_daemon();
    server
}

fn conf(main: &str, http: &str) -> String {
    let temporary = if program().is_octroi() {
        ""
    } else {
        "client_body_temp_path %%DIR%%/body; proxy_temp_path %%DIR%%/proxy;
         fastcgi_temp_path %%DIR%%/fastcgi; uwsgi_temp_path %%DIR%%/uwsgi; scgi_temp_path %%DIR%%/scgi;"
    };
    format!(
        "pid %%DIR%%/nginx.pid; error_log %%DIR%%/error.log info; {main}
         events {{ worker_connections 512; }} http {{ access_log off; {temporary} {http} }}"
    )
}

const PID: &str = "server { listen 127.0.0.1:%%PORT%%; return 200 $pid; }";

/// The second master, once it has started: its pid.
fn upgraded(server: &Server, old: u32) -> u32 {
    let mut new = old;
    eventually("a pid file of the new master", || {
        let text = server.read("nginx.pid");
        new = text.trim().parse().unwrap_or(old);
        text.ends_with('\n') && new != old
    });
    assert_eq!(server.read("nginx.pid.oldbin").trim(), old.to_string());
    new
}

/// The worker that serves now.
fn worker(server: &Server) -> u32 {
    server.get("/").text().parse().unwrap()
}

fn gone(pid: u32) {
    eventually(&format!("the end of process {pid}"), || !alive(pid));
}

#[test]
fn ten_upgrades_under_load_lose_nothing() {
    let mut server = daemon("worker_processes 2;", PID);
    let clients = Clients::of(server.port(), 3);
    for round in 0..10 {
        // The next one may want another number of shards: it inherits all sockets even so.
        server.configure(&conf(&format!("worker_processes {};", [1, 3, 2][round % 3]), PID));
        let old = server.pid();
        server.signal("USR2");
        let new = upgraded(&server, old);
        kill("WINCH", old.into());
        kill("QUIT", old.into());
        gone(old);
        assert_eq!(server.pid(), new);
        assert_eq!(server.read("nginx.pid.oldbin"), "");
    }
    assert_eq!(clients.losses(), []);
    let log = server.log();
    for line in ["changing binary", "start new binary process ", "using inherited sockets from \""] {
        assert!(log.contains(line), "{line}");
    }
}

#[test]
fn kept_connections_lose_nothing_where_they_are_given_time() {
    if !since("1.27.4", "keepalive_min_timeout") {
        return;
    }
    // Without it a worker that leaves closes what is idle, as it does in nginx, and a request may be on
    // its way just then.
    let kept = "keepalive_min_timeout 2s; server { listen 127.0.0.1:%%PORT%%; return 200 \"$pid!\\n\"; }";
    let server = daemon("worker_processes 2;", kept);
    let clients = Kept::of(server.port(), 2, 4);
    for _ in 0..5 {
        let old = server.pid();
        server.signal("USR2");
        upgraded(&server, old);
        kill("QUIT", old.into());
        gone(old);
    }
    let (asked, losses) = clients.losses();
    assert_eq!(losses, []);
    assert!(asked > 100, "{asked} requests only");
}

#[test]
fn hup_to_the_old_master_backs_out() {
    let mut server = daemon("", PID);
    let old = server.pid();
    let first = worker(&server);
    let clients = Clients::of(server.port(), 2);
    server.signal("USR2");
    let new = upgraded(&server, old);
    kill("WINCH", old.into());
    gone(first);
    let second = worker(&server);
    assert!(alive(old) && second != first);
    // The old master starts its worker as it was: it does not read the file again.
    server.configure("nonsense;");
    kill("HUP", old.into());
    eventually("another worker", || worker(&server) != second);
    kill("QUIT", new.into());
    gone(new);
    eventually("the old pid file", || server.read("nginx.pid").trim() == old.to_string());
    assert_eq!(server.read("nginx.pid.oldbin"), "");
    assert_ne!(worker(&server), second);
    pause(50);
    assert_eq!(clients.losses(), []);
    server.wait_log(&format!("new binary process {new} exited with code 0"));
}

#[test]
fn old_master_serves_again_when_the_new_one_dies() {
    let mut server = daemon("", PID);
    server.allow_alerts();
    let old = server.pid();
    let first = worker(&server);
    server.signal("USR2");
    let new = upgraded(&server, old);
    kill("WINCH", old.into());
    gone(first);
    let second = worker(&server);
    kill("KILL", new.into());
    kill("KILL", second.into());
    server.wait_log(&format!("new binary process {new} exited on signal 9"));
    eventually("the old pid file", || server.read("nginx.pid").trim() == old.to_string());
    // What the dying worker had accepted went with it.
    eventually("another worker", || served(&server).is_some_and(|pid| pid != first && pid != second));
}

#[test]
fn second_usr2_is_ignored_on_both_sides() {
    let server = daemon("", PID);
    let old = server.pid();
    server.signal("USR2");
    let new = upgraded(&server, old);
    for (pid, count) in [(old, 1), (new, 2)] {
        kill("USR2", pid.into());
        let line = "the changing binary signal is ignored: you should shutdown or terminate before either old or new binary's process";
        eventually("the refusal", || server.log().matches(line).count() == count);
    }
    assert!(alive(old) && alive(new));
}

#[test]
fn binary_that_does_not_start_leaves_the_old_one() {
    let mut server = daemon("", PID);
    let old = server.pid();
    let first = worker(&server);
    server.configure("nonsense;");
    server.signal("USR2");
    server.wait_log("unknown directive \"nonsense\"");
    server.wait_log(" exited with code 1");
    eventually("the old pid file", || server.read("nginx.pid").trim() == old.to_string());
    assert_eq!(server.read("nginx.pid.oldbin"), "");
    assert_eq!(worker(&server), first);
    // And all works as before.
    server.configure(&conf("", PID));
    server.signal("USR2");
    upgraded(&server, old);
}

#[test]
fn binary_that_is_missing_leaves_the_old_one() {
    let mut server = Setup::whole(&conf("", PID)).prepare();
    server.allow_alerts();
    let binary = server.copy_binary();
    server.launch_daemon();
    let old = server.pid();
    let first = worker(&server);
    std::fs::remove_file(&binary).unwrap();
    server.signal("USR2");
    let line = format!("execve() failed while executing new binary process \"{}\"", binary.display());
    server.wait_log(&line);
    eventually("the old pid file", || server.read("nginx.pid").trim() == old.to_string());
    assert_eq!(worker(&server), first);
}

#[test]
fn unix_socket_outlives_the_old_master() {
    let server = daemon("", "server { listen unix:%%DIR%%/s.sock; return 200 $pid; }");
    let old = server.pid();
    server.signal("USR2");
    let new = upgraded(&server, old);
    kill("QUIT", old.into());
    gone(old);
    let mut client = server.client_unix("s.sock");
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.recv().status(), 200);
    kill("QUIT", new.into());
    gone(new);
    assert!(!std::fs::exists(server.path("s.sock")).unwrap());
}

#[test]
fn upgrade_in_the_foreground() {
    // nginx refuses USR2 under "daemon off", having no way to tell which master it is.
    if !only_octroi("the binary can be changed under \"daemon off\" too") {
        return;
    }
    let mut server = Server::http(PID);
    let old = server.pid();
    // Without another master WINCH is the terminal's word about its size.
    server.signal("WINCH");
    server.wait_log("signal 28 (SIGWINCH) received");
    let first = worker(&server);
    server.signal("USR2");
    let new = upgraded(&server, old);
    kill("WINCH", old.into());
    gone(first);
    server.signal("QUIT");
    gone(new);
    let second = worker(&server);
    assert_eq!(server.pid(), old);
    server.signal("QUIT");
    assert_eq!(server.wait_exit(), Some(0));
    gone(second);
}

#[test]
fn winch_stops_the_worker_and_hup_brings_the_next_one() {
    let mut server = daemon("", "server { listen 127.0.0.1:%%PORT%%; return 200 one; }");
    assert_eq!(server.get("/").text(), "one");
    server.configure(&conf("", "server { listen 127.0.0.1:%%PORT%%; return 200 two; }"));
    server.signal("WINCH");
    server.wait_log("stop accepting connections");
    eventually("the worker's end", || server.log().contains("exited with code 0"));
    // The socket is still there: who comes now waits for the next worker.
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.assert_quiet(100);
    server.reload();
    assert_eq!(client.recv().text(), "two");
}

#[test]
fn killed_worker_refuses_no_connection() {
    let mut server = daemon("", PID);
    server.allow_alerts();
    let clients = Clients::of(server.port(), 3);
    for _ in 0..5 {
        pause(30);
        let first = std::iter::repeat_with(|| served(&server)).flatten().next().unwrap();
        kill("KILL", first.into());
        eventually("another worker", || served(&server).is_some_and(|pid| pid != first));
    }
    let losses = clients.losses();
    // What the worker had accepted went with it; nobody was turned away at the door.
    let refused: Vec<&Loss> = losses.iter().filter(|loss| matches!(loss, Loss::Refused(_))).collect();
    assert!(refused.is_empty() && losses.len() <= 15, "{losses:?}");
}

/// The worker that serves now, if it answers.
fn served(server: &Server) -> Option<u32> {
    let mut client = server.client();
    client.try_send("GET / HTTP/1.0\r\n\r\n");
    let text = String::from_utf8_lossy(&client.rest()).into_owned();
    text.rsplit("\r\n").next()?.parse().ok()
}
