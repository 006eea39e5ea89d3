//! What happens when something runs out, descriptors, memory or a disk, or an upstream dies: requests are
//! served or refused, nothing hangs, no part of a body passes for all of it, and it ends by itself.

use std::time::{Duration, Instant};

use crate::harness::*;

/// Within this time all must be well again; a loaded machine gets some more.
const RECOVERY: Duration = Duration::from_secs(5);

/// A server with these lines in its main context, in front of an upstream.
fn before(up: &Upstream, main: &str, http: &str) -> Server {
    let mut server = prepared(up, main, http);
    server.launch();
    server
}

fn prepared(up: &Upstream, main: &str, http: &str) -> Server {
    let temporary = if program().is_octroi() {
        ""
    } else {
        "client_body_temp_path %%DIR%%/body; proxy_temp_path %%DIR%%/proxy;
         fastcgi_temp_path %%DIR%%/fastcgi; uwsgi_temp_path %%DIR%%/uwsgi; scgi_temp_path %%DIR%%/scgi;"
    };
    let text = format!(
        "daemon off; pid %%DIR%%/nginx.pid; error_log %%DIR%%/error.log info; {main}
         events {{ worker_connections 1024; }} http {{ access_log %%DIR%%/access.log; {temporary} {http} }}"
    );
    let mut server = Setup::whole(&text).put("UP", up.address()).prepare();
    server.allow_alerts();
    server
}

const PROXY: &str = "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; }
                     location /pid { return 200 $pid; } }";

/// How one request ended.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Outcome {
    /// With a whole answer of this status.
    Answered(u16),
    /// The connection was closed or reset before the answer was whole.
    Closed,
}

/// Waits for the end of a request that was sent; it fails the test to wait in vain, or to get what looks
/// like the whole of an answer and is not.
fn outcome(client: &mut Wire, body_bytes: usize) -> Outcome {
    let head = match client.take_until("\r\n\r\n") {
        Ok(head) => head,
        Err(End::Silent) => panic!("a request hangs"),
        Err(_) => return Outcome::Closed,
    };
    let status = head.get(9..12).and_then(|digits| digits.parse().ok()).unwrap();
    if status != 200 {
        return Outcome::Answered(status);
    }
    let wanted = format!("Content-Length: {body_bytes}");
    assert!(head.contains(&wanted), "another length: {head}");
    match client.take(body_bytes) {
        Ok(_) => Outcome::Answered(200),
        Err(End::Silent) => panic!("an answer hangs"),
        Err(_) => Outcome::Closed,
    }
}

/// Waits until requests are served as ever.
fn recovers(server: &Server, target: &str) {
    let start = Instant::now();
    eventually("a whole answer again", || {
        let mut client = server.client();
        client.try_send(format!("GET {target} HTTP/1.0\r\nHost: a\r\n\r\n"));
        String::from_utf8_lossy(&client.rest()).starts_with("HTTP/1.1 200 ")
    });
    assert!(start.elapsed() < RECOVERY, "it took {:?}", start.elapsed());
}

#[test]
fn sixty_four_descriptors() {
    let up = Upstream::ok("served");
    let server = before(&up, "worker_rlimit_nofile 64;", PROXY);
    let mut clients: Vec<Wire> = (0..100).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    // As many as there is room for are served; the others wait at the door for a place.
    server.wait_log("(24: Too many open files)");
    // Each that goes makes room.
    let mut served = 0;
    for mut client in clients {
        match outcome(&mut client, 6) {
            Outcome::Answered(200) => served += 1,
            Outcome::Answered(500 | 502 | 503) | Outcome::Closed => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(served > 0, "nobody was served");
    recovers(&server, "/");
}

#[test]
fn sixty_four_megabytes() {
    large_answers_within(64 * 1024);
}

#[test]
fn memory_runs_out() {
    if !only_octroi("a worker that gets no memory ends, and another one takes its place") {
        return;
    }
    large_answers_within(16 * 1024);
}

/// Asks for more large answers at once than such a limit has room for.
fn large_answers_within(kilobytes: u32) {
    let body = "x".repeat(256 * 1024);
    let up = Upstream::ok(&body);
    let mut server = prepared(&up, "", PROXY);
    server.limit_data(kilobytes);
    server.launch();
    // Slow readers with large answers, each of which costs buffers.
    let mut clients: Vec<Option<Wire>> = (0..150)
        .map(|_| {
            let mut client = server.client();
            client.try_send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").then_some(client)
        })
        .collect();
    pause(100);
    for mut client in clients.iter_mut().filter_map(Option::take) {
        let end = outcome(&mut client, body.len());
        assert!(matches!(end, Outcome::Answered(200 | 500..=599) | Outcome::Closed), "{end:?}");
    }
    recovers(&server, "/");
}

#[test]
fn upstream_process_is_killed() {
    let silent = Upstream::new(|origin| drop((origin.request(), origin.gone())));
    let back = before(&silent, "", PROXY);
    let up = format!("127.0.0.1:{}", back.port());
    let conf = "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; } }";
    let mut server = Setup::http(conf).put("UP", up).start();
    server.allow_alerts();
    let worker: i64 = server.get("/pid").text().parse().unwrap();
    let mut client = server.client();
    client.send("GET /waits HTTP/1.1\r\nHost: a\r\n\r\n");
    silent.wait_requests(1);
    kill("KILL", worker);
    assert_eq!(client.recv().status(), 502);
    recovers(&server, "/pid");
}

#[test]
fn error_log_is_full() {
    let up = Upstream::new(|origin| drop(origin.request()));
    let text = format!("error_log /dev/full info; {PROXY}");
    let server = before(&up, "", &text);
    for _ in 0..20 {
        assert_eq!(server.get("/").status(), 502);
    }
    server.wait_lines("access.log", 20);
}

/// A folder of the server's with this little room; none where it cannot be had.
struct SmallDisk(String);

impl SmallDisk {
    fn mount(server: &Server, name: &str) -> Option<SmallDisk> {
        if !as_root("a small disk has to be mounted") {
            return None;
        }
        server.write(&format!("{name}/x"), "");
        let path = server.path(name);
        let options = "size=128k,mode=0777";
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "octroi-it", &path])
            .status()
            .is_ok_and(|status| status.success());
        if !mounted {
            println!("skipped: tmpfs cannot be mounted here");
        }
        mounted.then_some(SmallDisk(path))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").args(["-l", &self.0]).status();
    }
}

#[test]
fn disk_of_request_bodies_is_full() {
    let up = Upstream::ok("served");
    let conf = "client_body_temp_path %%DIR%%/small/body; client_body_buffer_size 8k; client_max_body_size 0;
                server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; } }";
    let mut server = Setup::http(conf).put("UP", up.address()).prepare();
    server.allow_alerts();
    let Some(_disk) = SmallDisk::mount(&server, "small") else { return };
    if !program().is_octroi() {
        return;
    }
    server.launch();
    let mut client = server.client();
    let size = 1 << 20;
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"));
    client.try_send("x".repeat(size));
    assert_eq!(client.recv().status(), 500);
    server.wait_log("No space left on device");
    assert!(up.requests().is_empty(), "a part of a body was sent on");
    // What was written is gone, and a body that fits fits.
    let small = "y".repeat(64 * 1024);
    let fits =
        server.ask(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{small}", small.len()));
    assert_eq!(fits.text(), "served");
    assert_eq!(up.last().body.len(), small.len());
}

#[test]
fn disk_of_answers_is_full() {
    let size = 4 << 20;
    let up = Upstream::ok(&"z".repeat(size));
    let conf = "proxy_temp_path %%DIR%%/small/proxy; proxy_max_temp_file_size 64m;
                server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%UP%%; } }";
    let mut server = Setup::http(conf).put("UP", up.address()).prepare();
    server.allow_alerts();
    let Some(_disk) = SmallDisk::mount(&server, "small") else { return };
    if !program().is_octroi() {
        return;
    }
    server.launch();
    for _ in 0..3 {
        let mut client = server.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        // The answer piles up while its client does not read.
        pause(200);
        let end = outcome(&mut client, size);
        assert!(matches!(end, Outcome::Answered(200) | Outcome::Closed), "{end:?}");
    }
    recovers(&server, "/");
}

#[test]
fn disk_of_logs_is_full_for_a_while() {
    let conf = "access_log %%DIR%%/small/access.log;
                server { listen 127.0.0.1:%%PORT%%; return 204; }";
    let mut server = Setup::http(conf).prepare();
    server.allow_alerts();
    let Some(disk) = SmallDisk::mount(&server, "small") else { return };
    server.launch();
    let filler = format!("{}/filler", disk.0);
    let _ = std::fs::write(&filler, "f".repeat(256 * 1024));
    for _ in 0..100 {
        assert_eq!(server.get("/").status(), 204);
    }
    std::fs::remove_file(&filler).unwrap();
    let lines = server.read("small/access.log").lines().count();
    eventually("lines again", || {
        server.get("/");
        server.read("small/access.log").lines().count() > lines
    });
}
