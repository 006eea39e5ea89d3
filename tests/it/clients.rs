//! A small steady load, and what of it is lost while the processes change.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::harness::WAIT;

/// How one request of the steady clients ended, if not well.
#[derive(Debug, PartialEq, Eq)]
pub enum Loss {
    /// No connection could be made.
    Refused(String),
    /// It was made, and no whole answer came.
    Broken(String),
}

/// Clients that ask one request after another, each on a connection of its own.
pub struct Clients {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<(usize, Vec<Loss>)>>,
}

impl Clients {
    /// So many, of 127.0.0.1 and this port.
    pub fn of(port: u16, count: usize) -> Clients {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..count).map(|_| {
            let stop = stop.clone();
            thread::spawn(move || {
                let (mut asked, mut losses) = (0, Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    asked += 1;
                    losses.extend(ask(port).err());
                    thread::sleep(Duration::from_millis(1));
                }
                (asked, losses)
            })
        });
        Clients { threads: threads.collect(), stop }
    }

    /// Stops them; what was lost.
    pub fn losses(self) -> Vec<Loss> {
        self.stop.store(true, Ordering::Relaxed);
        let mut losses = Vec::new();
        let mut asked = 0;
        for thread in self.threads {
            let (count, lost) = thread.join().unwrap();
            asked += count;
            losses.extend(lost);
        }
        assert!(asked > 50, "the clients asked {asked} times only");
        losses
    }
}

fn ask(port: u16) -> Result<(), Loss> {
    let refused = |error: std::io::Error| Loss::Refused(error.to_string());
    let broken = |error: std::io::Error| Loss::Broken(error.to_string());
    let mut stream =
        TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), WAIT).map_err(refused)?;
    stream.set_read_timeout(Some(WAIT)).map_err(broken)?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").map_err(broken)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(broken)?;
    match answer.starts_with(b"HTTP/1.1 200 ") {
        true => Ok(()),
        false => Err(Loss::Broken(String::from_utf8_lossy(&answer).into_owned())),
    }
}

/// Clients that ask one request after another on connections that they keep.
pub struct Kept {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<(usize, Vec<Loss>)>>,
}

impl Kept {
    /// So many threads, each with so many connections, of which it uses one after the other.
    pub fn of(port: u16, threads: usize, each: usize) -> Kept {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..threads).map(|_| {
            let stop = stop.clone();
            thread::spawn(move || ask_in_turn(port, each, &stop))
        });
        Kept { threads: threads.collect(), stop }
    }

    /// Stops them; how often they asked, and what was lost.
    pub fn losses(self) -> (usize, Vec<Loss>) {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = (0, Vec::new());
        for thread in self.threads {
            let (asked, losses) = thread.join().unwrap();
            all.0 += asked;
            all.1.extend(losses);
        }
        all
    }
}

/// Whatever ends a connection counts as a loss, unless the answer before announced it.
fn ask_in_turn(port: u16, each: usize, stop: &AtomicBool) -> (usize, Vec<Loss>) {
    let mut kept: Vec<Option<TcpStream>> = (0..each).map(|_| None).collect();
    let (mut asked, mut losses) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        for place in &mut kept {
            asked += 1;
            match ask_on(place.take(), port) {
                Ok(stream) => *place = stream,
                Err(loss) => losses.push(loss),
            }
        }
    }
    (asked, losses)
}

/// Asks once; the connection, if it may be used again.
fn ask_on(stream: Option<TcpStream>, port: u16) -> Result<Option<TcpStream>, Loss> {
    let broken = |error: std::io::Error| Loss::Broken(error.to_string());
    let mut stream = match stream {
        Some(stream) => stream,
        None => TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), WAIT)
            .map_err(|error| Loss::Refused(error.to_string()))?,
    };
    stream.set_nodelay(true).map_err(broken)?;
    stream.set_read_timeout(Some(WAIT)).map_err(broken)?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").map_err(broken)?;
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    // The body is short and ends with a line feed, which nothing before its end does alone.
    while !answer.ends_with(b"!\n") {
        match stream.read(&mut part).map_err(broken)? {
            0 => return Err(Loss::Broken(format!("end after {}", String::from_utf8_lossy(&answer)))),
            n => answer.extend_from_slice(&part[..n]),
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    match answer.starts_with("HTTP/1.1 200 ") {
        true => Ok((!answer.contains("Connection: close")).then_some(stream)),
        false => Err(Loss::Broken(answer.into_owned())),
    }
}
