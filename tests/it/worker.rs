//! What a worker process is: its user, environment, directory, priority and limits; and how a reload
//! changes what a process cannot change in itself.

use crate::clients::Clients;
use crate::harness::*;

/// A configuration with these lines in its main context; its one answer is the worker's pid.
fn conf(main: &str) -> String {
    conf_with(main, "return 200 $pid;")
}

fn conf_with(main: &str, location: &str) -> String {
    let temporary = if program().is_octroi() {
        ""
    } else {
        "client_body_temp_path %%DIR%%/body; proxy_temp_path %%DIR%%/proxy;
         fastcgi_temp_path %%DIR%%/fastcgi; uwsgi_temp_path %%DIR%%/uwsgi; scgi_temp_path %%DIR%%/scgi;"
    };
    format!(
        "daemon off; pid %%DIR%%/nginx.pid; error_log %%DIR%%/error.log info; {main}
         events {{ }} http {{ access_log off; {temporary} server {{ listen 127.0.0.1:%%PORT%%;
         location / {{ return 200 $pid; }} location /asked {{ {location} }} }} }}"
    )
}

fn worker(server: &Server) -> u32 {
    server.get("/").text().parse().unwrap()
}

/// Reloads with these lines; the worker that serves then, which must be another one.
fn replaced(server: &mut Server, main: &str) -> u32 {
    let before = worker(server);
    server.configure(&conf(main));
    server.reload();
    eventually("another worker", || worker(server) != before);
    eventually("the end of the first one", || !alive(before));
    server.wait_log(&format!("worker process {before} exited with code 0"));
    worker(server)
}

fn directory(pid: u32) -> String {
    std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap().display().to_string()
}

/// The nice value of a process: field 19 of its stat, which are counted from behind the name.
fn nice(pid: u32) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(16)).unwrap().to_owned()
}

/// The soft limit that a line of /proc/PID/limits shows.
fn limit(pid: u32, name: &str) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn working_directory_is_the_workers_and_changes_with_a_reload() {
    let mut server =
        Setup::whole(&conf("working_directory %%DIR%%/one;")).file("one/x", "").file("two/x", "").start();
    assert_eq!(directory(worker(&server)), server.path("one"));
    assert_ne!(directory(server.pid()), server.path("one"));
    let next = replaced(&mut server, "working_directory %%DIR%%/two;");
    assert_eq!(directory(next), server.path("two"));
}

#[test]
fn working_directory_that_is_missing_ends_the_start() {
    if !only_octroi("nginx's master stays, without a worker") {
        return;
    }
    let mut server = Setup::whole(&conf("working_directory %%DIR%%/absent;")).prepare();
    server.allow_alerts();
    assert_eq!(server.run(&[]).code, Some(1));
    let line = format!("chdir(\"{}\") failed (2: No such file or directory)", server.path("absent"));
    assert!(server.log().contains(&line));
}

#[test]
fn second_worker_that_cannot_start_leaves_the_first_one() {
    if !only_octroi("nginx's workers go before those that replace them are ready") {
        return;
    }
    let mut server = Setup::whole(&conf("")).start();
    server.allow_alerts();
    let before = worker(&server);
    server.configure(&conf("working_directory %%DIR%%/absent;"));
    server.reload();
    server
        .wait_log("the new configuration was not taken up: the new worker process ended before it was ready");
    assert_eq!(worker(&server), before);
    // And the next reload is as good as any.
    server.write("there", "");
    let after = replaced(&mut server, "working_directory %%DIR%%;");
    assert_eq!(directory(after), server.path("").trim_end_matches('/'));
}

#[test]
fn second_worker_loses_nothing() {
    let mut server = Setup::whole(&conf("working_directory /;")).start();
    let descriptors = |pid: u32| std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let before = descriptors(server.pid());
    let clients = Clients::of(server.port(), 2);
    for round in 0..4 {
        replaced(&mut server, ["working_directory %%DIR%%;", "working_directory /;"][round % 2]);
    }
    assert_eq!(descriptors(server.pid()), before, "the master keeps what it had for workers");
    assert_eq!(clients.losses(), []);
}

#[test]
fn request_under_way_is_finished_by_the_first_worker() {
    let up = Upstream::new(|origin| {
        origin.request();
        origin.wait_release();
        origin.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
    });
    let main =
        |directory: &str| conf_with(&format!("working_directory {directory};"), "proxy_pass http://%%UP%%;");
    let mut server = Setup::whole(&main("/")).put("UP", up.address()).start();
    let before = worker(&server);
    let mut client = server.client();
    client.send("GET /asked HTTP/1.1\r\nHost: a\r\n\r\n");
    up.wait_requests(1);
    server.configure(&main("%%DIR%%"));
    server.reload();
    eventually("another worker", || worker(&server) != before);
    assert!(alive(before));
    up.release();
    assert_eq!(client.recv().text(), "late");
    eventually("the end of the first one", || !alive(before));
}

#[test]
fn reload_that_changes_no_process_keeps_the_worker() {
    if !only_octroi("nginx starts new workers with every reload") {
        return;
    }
    let main = "working_directory /; env TZ; worker_priority 1;";
    let mut server = Setup::whole(&conf_with(main, "return 200 one;")).start();
    let before = worker(&server);
    server.configure(&conf_with(main, "return 200 two;"));
    server.reload();
    eventually("the new answer", || server.get("/asked").text() == "two");
    assert_eq!(worker(&server), before);
}

#[test]
fn pid_file_moves_with_a_reload() {
    let mut server = Setup::whole(&conf("")).start();
    let master = server.pid();
    server.configure(&conf("").replace("nginx.pid", "other.pid"));
    server.reload();
    eventually("the new pid file", || server.read("other.pid") == format!("{master}\n"));
    eventually("the end of the old one", || !std::fs::exists(server.path("nginx.pid")).unwrap());
    kill("QUIT", master.into());
    assert_eq!(server.wait_exit(), Some(0));
    assert!(!std::fs::exists(server.path("other.pid")).unwrap());
}

#[test]
fn priority_is_the_workers_and_changes_with_a_reload() {
    let mut server = Setup::whole(&conf("worker_priority 5;")).start();
    assert_eq!((nice(worker(&server)), nice(server.pid())), ("5".to_owned(), "0".to_owned()));
    let next = replaced(&mut server, "worker_priority +7;");
    assert_eq!(nice(next), "7");
}

#[test]
fn limit_of_core_files_is_the_workers() {
    let mut server = Setup::whole(&conf("worker_rlimit_core 64k;")).start();
    assert_eq!(limit(worker(&server), "Max core file size"), "65536");
    server.configure(&conf("worker_rlimit_core 32k;"));
    server.reload();
    eventually("the new limit", || limit(worker(&server), "Max core file size") == "32768");
}

#[test]
fn time_zone_is_set_by_env_and_changes_with_a_reload() {
    // nginx reads the zone before it sets the variable.
    if !only_octroi("env TZ=... is heeded at once") {
        return;
    }
    let at = |zone: &str| conf_with(&format!("env COLOUR; env TZ={zone};"), "return 200 $time_iso8601;");
    let mut server = Setup::whole(&at("UTC-9")).start();
    let time = server.get("/asked").text();
    assert!(time.ends_with("+09:00"), "{time}");
    server.configure(&at("UTC+3"));
    server.reload();
    eventually("the new zone", || server.get("/asked").text().ends_with("-03:00"));
}

#[test]
fn user_changes_with_a_reload() {
    if !as_root("the master must be root to choose its worker's user") {
        return;
    }
    let mut server = Setup::whole(&conf("user nobody nogroup;")).prepare();
    server.keep_root();
    server.launch();
    let owner = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
        line.split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!((owner(server.pid()), owner(worker(&server))), ("0".to_owned(), "65534".to_owned()));
    let next = replaced(&mut server, "user daemon daemon;");
    assert_eq!(owner(next), "1");
}

#[test]
fn values_are_checked() {
    for (line, message) in [
        ("worker_priority fast;", "\"worker_priority\" directive invalid number"),
        ("worker_rlimit_core much;", "\"worker_rlimit_core\" directive invalid value"),
        ("working_directory;", "invalid number of arguments in \"working_directory\" directive"),
        ("env A B;", "invalid number of arguments in \"env\" directive"),
    ] {
        let said = Setup::whole(&format!("{line} events {{ }}")).refused();
        // nginx says of the priority only what is wrong with it.
        let end = message.rsplit("directive ").next().unwrap_or_default();
        assert!(said.contains(end), "{line}: {said}");
    }
    if only_octroi("nginx takes a variable without a name") {
        let said = Setup::whole("env =x; events { }").refused();
        assert!(said.contains("invalid variable \"=x\" in \"env\""), "{said}");
    }
}
