//! Names that only a request tells, and the name servers that are asked for them.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::harness::*;

// ------------------------------------------------------------------------------- a name server

/// What the server answers to a question about IPv4 addresses; of others it has none.
enum Says {
    Addresses(&'static [[u8; 4]], u32),
    Alias(&'static str, u32),
    Code(u8),
    /// An answer with another number.
    WrongNumber,
    /// That it does not fit; over TCP this address.
    Truncated([u8; 4]),
    Nothing,
}

/// A name server of our own. What it says depends on the name and on how often it was asked for it.
struct NameServer {
    port: u16,
    asked: Arc<Mutex<HashMap<String, usize>>>,
    stopping: Arc<AtomicBool>,
}

impl NameServer {
    fn new(script: impl Fn(&str, usize) -> Says + Send + Sync + 'static) -> NameServer {
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            // Another process may have the port for UDP.
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let port = udp.local_addr().unwrap().port();
        let (asked, stopping) =
            (Arc::<Mutex<HashMap<String, usize>>>::default(), Arc::new(AtomicBool::new(false)));
        let script = Arc::new(script);
        let (counts, stop, says) = (asked.clone(), stopping.clone(), script.clone());
        thread::spawn(move || {
            let mut bytes = [0; 1024];
            while let Ok((count, from)) = udp.recv_from(&mut bytes) {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                if let Some(answer) = answer(&bytes[..count], &counts, &*says, false) {
                    let _ = udp.send_to(&answer, from);
                }
            }
        });
        let (counts, stop) = (asked.clone(), stopping.clone());
        thread::spawn(move || {
            while let Ok((mut stream, _)) = tcp.accept() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let mut length = [0; 2];
                if stream.read_exact(&mut length).is_err() {
                    continue;
                }
                let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut question).unwrap();
                if let Some(answer) = answer(&question, &counts, &*script, true) {
                    let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                    stream.write_all(&[&length[..], &answer].concat()).unwrap();
                    let _ = stream.shutdown(Shutdown::Both);
                }
            }
        });
        NameServer { port, asked, stopping }
    }

    /// How often it was asked for the IPv4 addresses of a name.
    fn asked(&self, name: &str) -> usize {
        self.asked.lock().unwrap().get(name).copied().unwrap_or(0)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        let waker = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let _ = waker.send_to(&[0; 12], (Ipv4Addr::LOCALHOST, self.port));
    }
}

fn answer(
    question: &[u8],
    asked: &Mutex<HashMap<String, usize>>,
    script: &dyn Fn(&str, usize) -> Says,
    over_tcp: bool,
) -> Option<Vec<u8>> {
    let mut labels = Vec::new();
    let mut at = 12;
    while let Some(&length) = question.get(at).filter(|length| **length > 0) {
        labels
            .push(String::from_utf8_lossy(question.get(at + 1..at + 1 + usize::from(length))?).into_owned());
        at += 1 + usize::from(length);
    }
    let is_v4 = question.get(at + 1..at + 3)? == [0, 1];
    let name = labels.join(".");
    let says = if is_v4 {
        let mut asked = asked.lock().unwrap();
        let count = asked.entry(name.clone()).or_default();
        *count += 1;
        script(&name, *count)
    } else {
        match script(&name, 1) {
            Says::Nothing => Says::Nothing,
            Says::Alias(to, ttl) => Says::Alias(to, ttl),
            _ => Says::Addresses(&[], 0),
        }
    };
    let mut out = question[..at + 5].to_vec();
    (out[2], out[3]) = (0x81, 0x80);
    let mut record = |kind: u8, ttl: u32, data: &[u8]| {
        out[7] += 1;
        out.extend_from_slice(&[0xc0, 12, 0, kind, 0, 1]);
        out.extend_from_slice(&ttl.to_be_bytes());
        out.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
        out.extend_from_slice(data);
    };
    match says {
        Says::Nothing => return None,
        Says::Addresses(addresses, ttl) => addresses.iter().for_each(|address| record(1, ttl, address)),
        Says::Alias(to, ttl) => {
            let labels = to.split('.').map(|label| [&[label.len() as u8], label.as_bytes()].concat());
            record(5, ttl, &[labels.collect::<Vec<_>>().concat(), vec![0]].concat());
        }
        Says::Code(code) => out[3] |= code,
        Says::WrongNumber => {
            record(1, 60, &[127, 0, 0, 1]);
            out[0] ^= 1;
        }
        Says::Truncated(address) if over_tcp => record(1, 60, &address),
        Says::Truncated(_) => out[2] |= 2,
    }
    Some(out)
}

const HERE: Says = Says::Addresses(&[[127, 0, 0, 1]], 3600);

// --------------------------------------------------------------------------------------- tests

/// A server that proxies to whatever host a request names, on the upstream's port.
fn proxying(upstream: &Upstream, names: &NameServer, more: &str) -> Server {
    let (_, port) = upstream.address().split_once(':').unwrap();
    Setup::http(&format!(
        "server {{ listen 127.0.0.1:%%PORT%%; resolver 127.0.0.1:%%DNS%% {more}
            location / {{ proxy_pass http://$host:%%UPPORT%%; add_header X-Addr $upstream_addr always; }} }}"
    ))
    .put("DNS", names.port)
    .put("UPPORT", port)
    .start()
}

#[test]
fn a_name_is_looked_up_and_kept() {
    let upstream = Upstream::ok("up");
    let names = NameServer::new(|_, _| HERE);
    let server = proxying(&upstream, &names, ";");
    for host in ["a.example", "A.Example", "a.example."] {
        let answer = server.get_host("/", host);
        assert_eq!(answer.answer(), (200, "up".to_owned()));
        assert_eq!(answer.get("x-addr"), Some(upstream.address()));
    }
    assert_eq!(names.asked("a.example"), 1);
}

#[test]
fn answers_are_kept_as_long_as_they_say_or_as_valid_says() {
    let upstream = Upstream::ok("up");
    let short =
        |_: &str, count| if count == 1 { Says::Addresses(&[[127, 0, 0, 1]], 1) } else { Says::Code(2) };
    let names = NameServer::new(short);
    let server = proxying(&upstream, &names, ";");
    let status = |server: &Server| server.get_host("/", "a.example").status();
    assert_eq!([status(&server), status(&server)], [200, 200]);
    let other = NameServer::new(short);
    let valid = proxying(&upstream, &other, "valid=1m;");
    assert_eq!(status(&valid), 200);
    pause(2100);
    assert_eq!((status(&server), status(&valid)), (502, 200));
}

#[test]
fn failures_are_not_kept() {
    let upstream = Upstream::ok("up");
    let names = NameServer::new(|name, count| match (name, count) {
        ("refused.example", 1) => Says::Code(5),
        ("none.example", 1) => Says::Addresses(&[], 0),
        (_, 1) => Says::Code(3),
        _ => HERE,
    });
    let server = proxying(&upstream, &names, ";");
    for (host, line) in [
        ("nx.example", "nx.example could not be resolved (3: Host not found), client: 127.0.0.1, "),
        ("refused.example", "refused.example could not be resolved (5: Operation refused), "),
        ("none.example", "none.example could not be resolved (3: Host not found), "),
    ] {
        assert_eq!(server.get_host("/", host).status(), 502);
        server.wait_log(line);
        assert_eq!(server.get_host("/", host).status(), 200);
    }
}

#[test]
fn an_alias_is_followed() {
    let upstream = Upstream::ok("up");
    let names = NameServer::new(|name, _| match name {
        "one.example" => Says::Alias("two.example", 60),
        "two.example" => Says::Alias("a.example", 60),
        "loop.example" => Says::Alias("loop.example", 60),
        _ => HERE,
    });
    let server = proxying(&upstream, &names, ";");
    assert_eq!(server.get_host("/", "one.example").status(), 200);
    assert_eq!(server.get_host("/", "one.example").status(), 200);
    assert_eq!((names.asked("one.example"), names.asked("two.example")), (1, 1));
    assert_eq!(server.get_host("/", "loop.example").status(), 502);
    server.wait_log("loop.example could not be resolved (3: Host not found)");
}

#[test]
fn all_addresses_are_tried() {
    let upstream = Upstream::ok("up");
    let names = NameServer::new(|_, _| Says::Addresses(&[[127, 0, 0, 77], [127, 0, 0, 1]], 60));
    let server = proxying(&upstream, &names, "; proxy_next_upstream error;");
    let port = upstream.address().split_once(':').unwrap().1;
    let answer = server.get_host("/", "a.example");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.get("x-addr"), Some(format!("127.0.0.77:{port}, 127.0.0.1:{port}").as_str()));
}

#[test]
fn nobody_answers() {
    let upstream = Upstream::ok("up");
    let names = NameServer::new(|_, _| Says::Nothing);
    let server = proxying(&upstream, &names, "; resolver_timeout 200ms;");
    let answer = server.get_host("/", "a.example");
    assert_eq!((answer.status(), answer.get("x-addr")), (502, None));
    server.wait_log("a.example could not be resolved (110: Operation timed out), client: 127.0.0.1, ");
}

#[test]
fn requests_for_one_name_wait_together() {
    let upstream = Upstream::ok("up");
    let names = NameServer::new(|name, _| {
        pause(if name == "slow.example" { 150 } else { 0 });
        HERE
    });
    let server = proxying(&upstream, &names, "ipv6=off;");
    let mut clients: Vec<Wire> = (0..8).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: slow.example\r\nConnection: close\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.recv().status(), 200);
    }
    assert_eq!(names.asked("slow.example"), 1);
}

#[test]
fn a_client_that_leaves_is_noticed_and_the_others_are_served() {
    let upstream = Upstream::ok("up");
    let names = NameServer::new(|_, _| {
        pause(400);
        HERE
    });
    let server = proxying(&upstream, &names, "ipv6=off;");
    let request = "GET / HTTP/1.1\r\nHost: slow.example\r\nConnection: close\r\n\r\n";
    let (mut gone, mut stays) = (server.client(), server.client());
    gone.send(request);
    stays.send(request);
    pause(100);
    drop(gone);
    assert_eq!(stays.recv().status(), 200);
    eventually("the client's 499", || server.access_log().contains(" 499 "));
}

#[test]
fn an_answer_that_does_not_fit_is_asked_for_over_tcp() {
    let upstream = Upstream::ok("up");
    let names = NameServer::new(|_, _| Says::Truncated([127, 0, 0, 1]));
    let server = proxying(&upstream, &names, ";");
    assert_eq!(server.get_host("/", "a.example").status(), 200);
}

#[test]
fn an_answer_with_another_number_is_passed_over() {
    let upstream = Upstream::ok("up");
    let names = NameServer::new(|_, count| if count == 1 { Says::WrongNumber } else { HERE });
    let server = proxying(&upstream, &names, "; resolver_timeout 300ms;");
    assert_eq!(server.get_host("/", "a.example").status(), 502);
    server.wait_log("in DNS response for a.example, expect ");
}

#[test]
fn several_servers_take_turns() {
    let upstream = Upstream::ok("up");
    let (one, two) = (NameServer::new(|_, _| HERE), NameServer::new(|_, _| HERE));
    let server = proxying(&upstream, &one, &format!("127.0.0.1:{};", two.port));
    for number in 0..4 {
        assert_eq!(server.get_host("/", &format!("n{number}.example")).status(), 200);
    }
    let asked = |names: &NameServer| names.asked.lock().unwrap().len();
    assert_eq!((asked(&one), asked(&two)), (2, 2));
}

#[test]
fn a_server_that_is_not_there_is_passed_over() {
    if !only_octroi("nginx asks the next one after five seconds") {
        return;
    }
    let upstream = Upstream::ok("up");
    let names = NameServer::new(|_, _| HERE);
    // Nobody listens on the first one's port.
    let server = proxying(&upstream, &names, "127.0.0.1:%%PORT_NOBODY%%; resolver_timeout 4s;");
    for number in 0..2 {
        assert_eq!(server.get_host("/", &format!("n{number}.example")).status(), 200);
    }
    server.wait_log("recv() failed (111: Connection refused) while resolving, resolver: 127.0.0.1:");
}

#[test]
fn both_kinds_of_addresses_unless_told_otherwise() {
    let upstream = Upstream::ok("up");
    let names = NameServer::new(|_, _| HERE);
    let server = proxying(&upstream, &names, "ipv4=off;");
    assert_eq!(server.get_host("/", "a.example").status(), 502);
    assert_eq!(names.asked("a.example"), 0);
}

#[test]
fn groups_and_addresses_need_no_resolver() {
    let upstream = Upstream::ok("up");
    let server = Server::before(
        &upstream,
        "upstream group { server %%UP%%; }
         server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://$http_to; } }",
    );
    let status = |to: &str| server.get_with("/", &format!("Host: a\r\nTo: {to}\r\n")).status();
    assert_eq!((status("group"), status(upstream.address())), (200, 200));
    assert_eq!(status("name.example:81"), 502);
    server.wait_log("no resolver defined to resolve name.example, client: 127.0.0.1, ");
    assert_eq!(status("name.example:99999"), 500);
    server.wait_log("invalid port in upstream \"name.example:99999\"");
}

#[test]
fn a_reload_asks_the_new_servers() {
    let upstream = Upstream::ok("up");
    let (one, two) = (NameServer::new(|_, _| HERE), NameServer::new(|_, _| HERE));
    let mut server = proxying(&upstream, &one, ";");
    assert_eq!(server.get_host("/", "a.example").status(), 200);
    let port = upstream.address().split_once(':').unwrap().1;
    server.configure(&format!(
        "server {{ listen 127.0.0.1:%%PORT%%; resolver 127.0.0.1:{};
            location / {{ proxy_pass http://$host:{port}; }} }}",
        two.port
    ));
    server.reload();
    eventually("the new configuration's question", || {
        server.get_host("/", "a.example").status() == 200 && two.asked("a.example") > 0
    });
}

#[test]
fn what_is_wrong_is_said() {
    let refused =
        |line: &str| Setup::http(&format!("server {{ listen 127.0.0.1:%%PORT%%; {line} }}")).refused();
    for (line, want) in [
        ("resolver valid=5s;", "no name servers defined in "),
        ("resolver 127.0.0.1 valid=x;", "invalid parameter: valid=x in "),
        ("resolver 127.0.0.1 ipv4=off ipv6=off;", "\"ipv4\" and \"ipv6\" cannot both be \"off\" in "),
        ("resolver 127.0.0.1:0;", "invalid port in resolver \"127.0.0.1:0\" in "),
        ("resolver nowhere.invalid;", "host not found in resolver \"nowhere.invalid\" in "),
        ("resolver 127.0.0.1; resolver 127.0.0.2;", "\"resolver\" directive is duplicate in "),
        ("resolver_timeout x;", "\"resolver_timeout\" directive invalid value in "),
    ] {
        let said = refused(line);
        assert!(said.starts_with(&format!("[emerg] {want}")), "{line}: {said}");
    }
}
