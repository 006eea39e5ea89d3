//! The flags: exit codes and the shape of what is printed.

use crate::harness::*;

const GOOD: &str = "server { listen 127.0.0.1:%%PORT%%; }";

#[test]
fn version_is_one_line_on_stderr() {
    let shown = run(&["-v"]);
    let (name, version) = (&program().name, &program().version);
    assert_eq!(shown.code, Some(0));
    assert_eq!(shown.stderr, format!("{name} version: {name}/{version}\n"));
    assert_eq!(shown.stdout, "");
}

#[test]
fn full_version_lists_configure_arguments() {
    let shown = run(&["-V"]);
    let last = shown.stderr.lines().last().unwrap();
    assert_eq!(shown.code, Some(0));
    assert!(last.starts_with("configure arguments:"), "{}", shown.stderr);
}

#[test]
fn full_version_names_the_language_spoken() {
    // Tools that read `nginx -V` look for the version of the language.
    if !only_octroi("a second version line") {
        return;
    }
    let shown = run(&["-V"]);
    let lines: Vec<&str> = shown.stderr.lines().collect();
    assert_eq!(lines[0], format!("octroi version: octroi/{}", program().version));
    assert!(
        lines[1].starts_with("nginx version: nginx/1.31.") && lines[1].ends_with("(language)"),
        "{}",
        lines[1]
    );
}

#[test]
fn help_lists_the_flags() {
    for flag in ["-h", "-?"] {
        let shown = run(&[flag]);
        let text = shown.stderr + &shown.stdout;
        assert_eq!(shown.code, Some(0));
        for listed in
            ["Usage:", "-v", "-V", "-t", "-T", "-q", "-s signal", "-p prefix", "-c filename", "-g directives"]
        {
            assert!(text.contains(listed), "no {listed:?} in {text}");
        }
    }
}

#[test]
fn help_lists_the_directives() {
    if !only_octroi("the list is made from the directives that are built") {
        return;
    }
    let shown = run(&["-h", "directives"]);
    let text = shown.stdout + &shown.stderr;
    assert_eq!(shown.code, Some(0));
    for name in ["proxy_pass", "server_name", "log_format", "worker_processes"] {
        assert!(text.contains(name), "no {name} in {text}");
    }
}

#[test]
fn unknown_flag_is_refused() {
    let shown = run(&["-x"]);
    assert_eq!(shown.code, Some(1));
    assert!(shown.stderr.contains("invalid option: \"x\""), "{}", shown.stderr);
}

#[test]
fn flags_that_lack_their_value_are_refused() {
    for (flag, said) in [
        ("-c", "option \"-c\" requires file name"),
        ("-p", "option \"-p\" requires directory name"),
        ("-g", "option \"-g\" requires parameter"),
        ("-s", "option \"-s\" requires parameter"),
        ("-e", "option \"-e\" requires file name"),
    ] {
        let shown = run(&[flag]);
        assert_eq!(shown.code, Some(1), "{flag}");
        assert!(shown.stderr.contains(said), "{flag}: {}", shown.stderr);
    }
}

#[test]
fn unknown_signal_is_refused() {
    let shown = run(&["-s", "dance"]);
    assert_eq!(shown.code, Some(1));
    assert!(shown.stderr.contains("invalid option: \"-s dance\""), "{}", shown.stderr);
}

#[test]
fn test_of_a_good_file() {
    let server = Setup::http(GOOD).prepare();
    let shown = server.run(&["-t"]);
    let file = server.path("nginx.conf");
    let name = &program().name;
    assert_eq!(shown.code, Some(0));
    assert_eq!(
        shown.stderr,
        format!(
            "{name}: the configuration file {file} syntax is ok\n\
             {name}: configuration file {file} test is successful\n"
        )
    );
}

#[test]
fn test_of_a_good_file_leaves_no_pid() {
    let server = Setup::http(GOOD).prepare();
    server.run(&["-t"]);
    assert_eq!(server.read("nginx.pid"), "");
}

#[test]
fn test_of_a_good_file_binds_what_another_server_holds() {
    // `-t` beside a running server must not fail because the ports are in use.
    let server = Server::http(GOOD);
    assert_eq!(server.run(&["-t"]).code, Some(0));
}

#[test]
fn quiet_test_says_nothing_when_good() {
    let server = Setup::http(GOOD).prepare();
    let shown = server.run(&["-t", "-q"]);
    assert_eq!((shown.code, shown.stderr.as_str(), shown.stdout.as_str()), (Some(0), "", ""));
}

#[test]
fn quiet_test_still_says_what_is_wrong() {
    let server = Setup::http("nonsense;").prepare();
    let shown = server.run(&["-tq"]);
    assert_eq!(shown.code, Some(1));
    assert!(shown.stderr.contains("[emerg] unknown directive \"nonsense\""), "{}", shown.stderr);
}

#[test]
fn dump_prints_every_file_after_its_name() {
    let conf = "include part.conf;\nserver { listen 127.0.0.1:%%PORT%%; }";
    let server = Setup::http(conf).file("part.conf", "server_tokens off;\n").prepare();
    let shown = server.run(&["-T"]);
    let (main, part) = (server.path("nginx.conf"), server.path("part.conf"));
    assert_eq!(shown.code, Some(0));
    let expected = format!(
        "# configuration file {main}:\n{}\n# configuration file {part}:\nserver_tokens off;\n\n",
        server.read("nginx.conf")
    );
    assert_eq!(shown.stdout, expected);
    assert!(shown.stderr.contains("test is successful"), "{}", shown.stderr);
}

#[test]
fn bad_file_ends_with_the_place_on_stderr_and_in_the_log() {
    let server = Setup::whole("daemon off;\nevents { }\nhttp {\n    nonsense on;\n}\n").prepare();
    let shown = server.run(&[]);
    let line = format!("[emerg] unknown directive \"nonsense\" in {}:4", server.path("nginx.conf"));
    assert_eq!(shown.code, Some(1));
    assert!(shown.stderr.lines().next().unwrap().ends_with(&line), "{}", shown.stderr);
    let logged = server.log();
    let pid_part = logged.lines().next().unwrap_or_default();
    assert!(pid_part.contains("[emerg] ") && pid_part.contains("unknown directive \"nonsense\""), "{logged}");
    assert_eq!(server.read("nginx.pid"), "");
}

#[test]
fn missing_file_is_named() {
    let server = Setup::http(GOOD).prepare();
    let shown = run(&["-p", &server.path(""), "-e", "error.log", "-t", "-c", "absent.conf"]);
    let line =
        format!("[emerg] open() \"{}\" failed (2: No such file or directory)", server.path("absent.conf"));
    assert_eq!(shown.code, Some(1));
    assert!(shown.stderr.contains(&line), "{}", shown.stderr);
}

#[test]
fn taken_port_ends_the_start() {
    let server = Server::http(GOOD);
    let conf = format!(
        "daemon off; pid other.pid; events {{ }} http {{ access_log off; server {{ listen 127.0.0.1:{}; }} }}",
        server.port()
    );
    server.write("other.conf", conf);
    let shown = run(&["-p", &server.path(""), "-e", "other.log", "-c", "other.conf"]);
    assert_eq!(shown.code, Some(1));
    let line = format!("bind() to 127.0.0.1:{} failed (98: Address already in use)", server.port());
    assert!(shown.stderr.contains(&line), "{}", shown.stderr);
}

#[test]
fn global_directives_from_the_command_line() {
    let conf = "daemon off;\nevents { }\nhttp { access_log off; server { listen 127.0.0.1:%%PORT%%; return 200 \"$pid\"; } }";
    let server = Setup::whole(conf).argument("-g").argument("pid nginx.pid; error_log error.log;").start();
    assert_eq!(server.get("/").status(), 200);
}

#[test]
fn bad_global_directive_is_named() {
    let server = Setup::http(GOOD).prepare();
    let shown = server.run(&["-t", "-g", "nonsense;"]);
    assert_eq!(shown.code, Some(1));
    let first = shown.stderr.lines().next().unwrap();
    assert!(first.ends_with("[emerg] unknown directive \"nonsense\" in command line"), "{first}");
}

#[test]
fn global_directive_given_twice_is_refused() {
    let server = Setup::http(GOOD).prepare();
    let shown = server.run(&["-t", "-g", "pid other.pid;"]);
    assert_eq!(shown.code, Some(1));
    assert!(shown.stderr.contains("[emerg] \"pid\" directive is duplicate in "), "{}", shown.stderr);
}

#[test]
fn signal_stop_ends_the_server() {
    let mut server = Server::http(GOOD);
    assert_eq!(server.run(&["-s", "stop"]).code, Some(0));
    assert_eq!(server.wait_exit(), Some(0));
    assert_eq!(server.read("nginx.pid"), "");
}

#[test]
fn signal_quit_ends_the_server() {
    let mut server = Server::http(GOOD);
    assert_eq!(server.run(&["-s", "quit"]).code, Some(0));
    assert_eq!(server.wait_exit(), Some(0));
}

#[test]
fn signal_reload_reads_the_file_again() {
    let mut server = Server::http("server { listen 127.0.0.1:%%PORT%%; return 200 one; }");
    server.configure("server { listen 127.0.0.1:%%PORT%%; return 200 two; }");
    assert_eq!(server.run(&["-s", "reload"]).code, Some(0));
    eventually("the new answer", || server.get("/").text() == "two");
}

#[test]
fn signal_reopen_makes_a_new_log() {
    let server = Server::http("server { listen 127.0.0.1:%%PORT%%; return 204; }");
    std::fs::rename(server.path("access.log"), server.path("access.old")).unwrap();
    assert_eq!(server.run(&["-s", "reopen"]).code, Some(0));
    eventually("a new access.log", || std::fs::exists(server.path("access.log")).unwrap());
}

#[test]
fn signal_without_a_server_fails() {
    let server = Setup::http(GOOD).prepare();
    let shown = server.run(&["-s", "stop"]);
    assert_eq!(shown.code, Some(1));
    let line = format!("open() \"{}\" failed (2: No such file or directory)", server.path("nginx.pid"));
    assert!(shown.stderr.contains(&line), "{}", shown.stderr);
}

#[test]
fn signal_with_a_bad_file_fails() {
    let mut server = Server::http(GOOD);
    server.configure("nonsense;");
    let shown = server.run(&["-s", "reload"]);
    assert_eq!(shown.code, Some(1));
    assert!(shown.stderr.contains("[emerg] unknown directive \"nonsense\""), "{}", shown.stderr);
}

#[test]
fn daemon_detaches_and_writes_the_pid_of_the_master() {
    let conf = "pid nginx.pid; events { } http { access_log off; server { listen 127.0.0.1:%%PORT%%; return 200 \"$pid\"; } }";
    let server = Setup::whole(conf).prepare();
    assert_eq!(server.run(&[]).code, Some(0));
    eventually("the pid file", || server.read("nginx.pid").ends_with('\n'));
    let master = server.pid();
    eventually("an answer", || std::net::TcpStream::connect(("127.0.0.1", server.port())).is_ok());
    let worker: u32 = server.get("/").text().parse().unwrap();
    assert_ne!(worker, master);
    assert!(alive(master));
    server.signal("TERM");
    eventually("the end of the master", || !alive(master));
    eventually("the end of the worker", || !alive(worker));
    assert_eq!(server.read("nginx.pid"), "");
}

#[test]
fn daemon_with_a_bad_file_fails_in_the_foreground() {
    let server = Setup::whole("events { } http { nonsense; }").prepare();
    assert_eq!(server.run(&[]).code, Some(1));
}

#[test]
fn one_process_serves_without_a_master() {
    let conf = "master_process off; daemon off; pid nginx.pid; events { }
                http { access_log off; server { listen 127.0.0.1:%%PORT%%; return 200 \"$pid\"; } }";
    let server = Setup::whole(conf).start();
    assert_eq!(server.get("/").text(), server.pid().to_string());
}
