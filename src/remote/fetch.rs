//! One small document over HTTP: a GET of HTTP/1.0, which ends with its connection. For what may be had
//! without TLS, because it is signed itself.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long one address may take; nginx's limit for answers about certificates.
const TIME_MAX: Duration = Duration::from_secs(60);

/// Fields of an answer's head, at most.
const FIELDS_MAX: usize = 64;

/// Gets `target` from a host at one of these addresses, in turn, and at most so many bytes with the head.
///
/// # Errors
/// What the last of them said or did not.
pub async fn get(
    host: &str,
    addresses: &[SocketAddr],
    target: &str,
    bytes_max: usize,
) -> Result<Vec<u8>, String> {
    let mut fault = "it has no address".to_owned();
    for address in addresses {
        let answer = timeout(TIME_MAX, from(host, *address, target, bytes_max)).await;
        match answer.unwrap_or_else(|_| Err("it timed out".to_owned())) {
            Ok(body) => return Ok(body),
            Err(what) => fault = format!("{what}, peer: {address}"),
        }
    }
    Err(fault)
}

async fn from(host: &str, address: SocketAddr, target: &str, bytes_max: usize) -> Result<Vec<u8>, String> {
    let broken = |what: &str, fault: std::io::Error| format!("{what} failed ({fault})");
    let mut socket = TcpStream::connect(address).await.map_err(|fault| broken("connect()", fault))?;
    let request = format!("GET {target} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.map_err(|fault| broken("send()", fault))?;
    let mut all = Vec::new();
    let limit = bytes_max as u64 + 1;
    socket.take(limit).read_to_end(&mut all).await.map_err(|fault| broken("recv()", fault))?;
    match all.len() > bytes_max {
        true => Err(format!("it sent more than {bytes_max} bytes")),
        false => body(all),
    }
}

/// The body of an answer that came whole.
fn body(mut all: Vec<u8>) -> Result<Vec<u8>, String> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut head = httparse::Response::new(&mut fields);
    let length = match head.parse(&all) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Err("it closed the connection too early".to_owned()),
        Err(fault) => return Err(format!("it sent an invalid answer ({fault})")),
    };
    if head.code != Some(200) {
        return Err(format!("it answered with the status {}", head.code.unwrap_or_default()));
    }
    let field = |name: &str| head.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
    if field("Transfer-Encoding").is_some() {
        return Err("it sent a transfer coding, which HTTP/1.0 has not".to_owned());
    }
    let announced = field("Content-Length").map(|field| {
        std::str::from_utf8(field.value).ok().and_then(|text| text.trim().parse::<usize>().ok())
    });
    let body = all.split_off(length);
    match announced {
        Some(announced) if announced != Some(body.len()) => {
            Err("it sent another length than it announced".to_owned())
        }
        _ => Ok(body),
    }
}

#[cfg(test)]
mod tests {

    #[test]
    fn bodies_come_whole_or_not_at_all() {
        let body = |text: &str| super::body(text.as_bytes().to_vec());
        assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), Ok(b"ok".to_vec()));
        assert_eq!(body("HTTP/1.0 200 OK\r\n\r\nok"), Ok(b"ok".to_vec()));
        for wrong in [
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nok",
            "HTTP/1.1 404 Not Found\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nConte",
            "garbage\r\n\r\n",
        ] {
            assert!(body(wrong).is_err(), "{wrong}");
        }
    }
}
