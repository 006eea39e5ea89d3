//! Connections that a reload with fewer shards moves to the shards that stay: none is lost.

use crate::clients::Kept;
use crate::harness::*;

/// So many shards; the answer tells the round, and the request's place on its connection.
fn conf(shards: usize, round: usize) -> String {
    conf_with(shards, round, "")
}

fn conf_with(shards: usize, round: usize, slow: &str) -> String {
    format!(
        "worker_processes {shards}; daemon off; pid %%DIR%%/nginx.pid; error_log %%DIR%%/error.log notice;
         events {{ worker_connections 2048; }} http {{ access_log off; keepalive_requests 1000000;
         server {{ listen 127.0.0.1:%%PORT%%; {slow}
         location / {{ return 200 \"$connection $connection_requests {round}!\\n\"; }} }} }}"
    )
}

fn reload_to(server: &mut Server, shards: usize, round: usize) {
    server.configure(&conf(shards, round));
    server.reload();
    eventually("the reload", || server.get("/").text().ends_with(&format!(" {round}!\n")));
}

fn rounds_under_load(rounds: usize) {
    if !only_octroi("a worker of nginx that leaves closes what is kept open") {
        return;
    }
    let mut server = Setup::whole(&conf(2, 0)).start();
    let clients = Kept::of(server.port(), 3, 12);
    for round in 1..=rounds {
        reload_to(&mut server, [2, 1, 3, 1][round % 4], round);
    }
    let (asked, losses) = clients.losses();
    assert_eq!(losses, []);
    assert!(asked > 20 * rounds, "{asked} requests only");
}

#[test]
fn requests_on_kept_connections_survive_fewer_shards() {
    rounds_under_load(12);
}

#[test]
#[ignore = "takes a while; the one above is the same in short"]
fn requests_on_kept_connections_survive_a_hundred_reloads() {
    rounds_under_load(200);
}

/// How often a thread of the worker went to sleep so far.
fn sleeps(worker: u32, name: &str) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{worker}/task")).unwrap();
    let paths = tasks.map(|task| task.unwrap().path());
    let task =
        paths.into_iter().find(|path| std::fs::read_to_string(path.join("comm")).unwrap().trim() == name);
    let status = std::fs::read_to_string(task.unwrap().join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

#[test]
fn idle_connections_go_to_the_shard_that_stays() {
    if !only_octroi("a worker of nginx that leaves closes what is kept open") {
        return;
    }
    let mut server = Setup::whole(&conf(2, 0)).start();
    // More than wait with a buffer in hand: the others go at once, those when they are asked something.
    let mut clients: Vec<_> = (0..1200).map(|_| server.client()).collect();
    let ask = |client: &mut Wire| {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let text = client.recv().text().to_owned();
        let mut words = text.split(' ');
        (words.next().unwrap().to_owned(), words.next().unwrap().to_owned())
    };
    let numbers: Vec<String> = clients.iter_mut().map(|client| ask(client).0).collect();
    reload_to(&mut server, 1, 1);
    for (client, number) in clients.iter_mut().zip(&numbers) {
        assert_eq!(ask(client), (number.clone(), "2".to_owned()));
    }
    let worker = server.pids().into_iter().find(|pid| *pid != server.pid()).unwrap();
    let before = sleeps(worker, "shard 1");
    for client in &mut clients {
        assert_eq!(ask(client).1, "3");
    }
    let woken = sleeps(worker, "shard 1") - before;
    assert!(woken < 200, "the superfluous shard was woken {woken} times");
}

#[test]
fn what_came_with_the_request_before_moves_too() {
    if !only_octroi("a worker of nginx that leaves closes what is kept open") {
        return;
    }
    let upstream = Upstream::new(|origin| {
        origin.request();
        origin.wait_release();
        origin.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow");
    });
    let slow = format!("location /slow {{ proxy_pass http://{}; }}", upstream.address());
    let whole = |shards: usize, round: usize| conf_with(shards, round, &slow);
    let mut server = Setup::whole(&whole(3, 0)).start();
    let mut clients: Vec<_> = (0..6).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    eventually("all of them at the upstream", || upstream.requests().len() == clients.len());
    server.configure(&whole(1, 1));
    server.reload();
    eventually("the reload", || server.get("/").text().ends_with(" 1!\n"));
    upstream.release();
    for client in &mut clients {
        assert_eq!(client.recv().text(), "slow");
        assert!(client.recv().text().ends_with(" 2 1!\n"));
    }
}
