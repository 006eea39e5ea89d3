//! One question: which server is asked, how long, and over what.

use super::message::{Answer, Question};
use crate::base::process_settings::Level;
use crate::net::error_log::{ErrorLog, OsError};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout, timeout_at};

/// How long one server is waited for: nginx's `resend_timeout`, and its `tcp_timeout`.
const SERVER_WAIT: Duration = Duration::from_secs(5);

/// Times a question is sent to each server before it is given up, if somebody waits that long: ten
/// minutes of one server.
const ROUNDS_MAX: usize = 120;

/// Bytes of an answer over UDP: nginx's NGX_RESOLVER_UDP_SIZE. Without EDNS no server sends more
/// than 512.
const UDP_BYTES_MAX: usize = 4096;

/// What came of a question; the default is what comes of none.
#[derive(Debug)]
pub struct Outcome {
    /// The code, if it failed.
    pub code: Option<u8>,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
    /// What the name is an alias of.
    pub alias: Option<Box<str>>,
    /// How long all of it may be kept, seconds.
    pub ttl_s: u32,
}

impl Default for Outcome {
    fn default() -> Outcome {
        Outcome { code: None, addresses: Vec::new(), alias: None, ttl_s: u32::MAX }
    }
}

/// NXDOMAIN: for a name that the DNS cannot hold, as in nginx.
const NO_SUCH_NAME: u8 = 3;

/// SERVFAIL: for a question that nobody answered and nobody waits for.
const NO_ANSWER: u8 = 2;

/// Asks the servers in turn, from number `first` on, until one answers or nobody waits any more.
pub async fn ask(
    servers: &[SocketAddr],
    first: usize,
    question: &Question,
    log: &ErrorLog,
    is_awaited: &dyn Fn() -> bool,
) -> Outcome {
    let failed = |code| Outcome { code: Some(code), ..Outcome::default() };
    let Some(message) = question.message() else { return failed(NO_SUCH_NAME) };
    for _ in 0..ROUNDS_MAX {
        let until = Instant::now() + SERVER_WAIT;
        let mut waited = false;
        for server in servers.iter().cycle().skip(first).take(servers.len()) {
            match timeout(SERVER_WAIT, over_udp(*server, question, &message, log)).await {
                Ok(Ok(Answer::Failed(code))) => return failed(code),
                Ok(Ok(Answer::Records { addresses, alias, ttl_s })) => {
                    return Outcome { code: None, addresses, alias, ttl_s };
                }
                // It said nothing that helps; the next one may.
                Ok(Ok(Answer::Truncated)) => {}
                Ok(Err(error)) => {
                    let error = OsError(&error);
                    let message = format_args!("recv() failed {error} while resolving, resolver: {server}");
                    log.write(Level::Error, None, message);
                }
                Err(_) => waited = true,
            }
            if !is_awaited() {
                return failed(NO_ANSWER);
            }
        }
        if !waited {
            // All failed at once: they are not asked again before their time.
            tokio::time::sleep_until(until).await;
        }
        if !is_awaited() {
            return failed(NO_ANSWER);
        }
    }
    failed(NO_ANSWER)
}

/// Asks one server and reads until an answer makes sense.
async fn over_udp(
    server: SocketAddr,
    question: &Question,
    message: &[u8],
    log: &ErrorLog,
) -> io::Result<Answer> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(message).await?;
    let mut bytes = vec![0; UDP_BYTES_MAX];
    loop {
        let count = socket.recv(&mut bytes).await?;
        match question.read(bytes.get(..count).unwrap_or_default(), false) {
            Ok(Answer::Truncated) => return over_tcp(server, question, message, log).await,
            Ok(answer) => return Ok(answer),
            Err(fault) => log.write(Level::Error, None, format_args!("{fault}")),
        }
    }
}

/// Asks one server over TCP (RFC 1035, 4.2.2); the message goes behind its length.
async fn over_tcp(
    server: SocketAddr,
    question: &Question,
    message: &[u8],
    log: &ErrorLog,
) -> io::Result<Answer> {
    let exchange = async {
        let mut stream = TcpStream::connect(server).await?;
        // A message is bounded by its name.
        let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        stream.write_all(&[&length.to_be_bytes(), message].concat()).await?;
        loop {
            let length = stream.read_u16().await?;
            let mut bytes = vec![0; usize::from(length)];
            stream.read_exact(&mut bytes).await?;
            match question.read(&bytes, true) {
                Ok(answer) => return Ok(answer),
                Err(fault) => log.write(Level::Error, None, format_args!("{fault}")),
            }
        }
    };
    timeout_at(Instant::now() + SERVER_WAIT, exchange).await.unwrap_or(Ok(Answer::Truncated))
}
