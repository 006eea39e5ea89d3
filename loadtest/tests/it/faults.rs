//! Every kind of error, counted as what it is.

use std::net::TcpListener;

use octroi_load::outcome::ErrorKind;
use octroi_load::run::Load;
use octroi_load::target::Shape;

use crate::server::{Answer, get, load, measure, milliseconds, ok, response, serve};

/// Sends `requests` to a server that answers each with `answer`, and expects
/// all of them to be errors of one kind.
fn all_are(kind: ErrorKind, requests: u64, answer: impl Fn() -> Answer + Send + Sync + 'static) {
    let url = serve(move |_| answer());
    let outcome = measure(&url, &get(), &load(3, requests));
    assert_eq!(outcome.errors_of(kind), requests, "{kind:?}: {:?} {:?}", outcome.errors, outcome.examples);
    assert_eq!(outcome.error_count(), requests);
    let statuses = [ErrorKind::Status4xx, ErrorKind::Status5xx].contains(&kind);
    assert_eq!(outcome.replies, if statuses { requests } else { 0 });
}

#[test]
fn statuses() {
    all_are(ErrorKind::Status4xx, 20, || Answer::Send(response(404, "no")));
    all_are(ErrorKind::Status5xx, 20, || Answer::Send(response(503, "busy")));
}

#[test]
fn truncated_bodies() {
    let cut = |text: &'static str| move || Answer::SendAndClose(text.as_bytes().to_vec());
    all_are(ErrorKind::ClosedEarly, 20, cut("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"));
    all_are(
        ErrorKind::ClosedEarly,
        20,
        cut("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
    );
    all_are(ErrorKind::ClosedEarly, 20, cut("HTTP/1.1 200 OK\r\nContent-"));
    all_are(ErrorKind::ClosedEarly, 20, cut(""));
}

#[test]
fn resets() {
    all_are(ErrorKind::Reset, 20, || Answer::Reset);
}

#[test]
fn broken_responses() {
    let send = |text: &'static str| move || Answer::Send(text.as_bytes().to_vec());
    all_are(ErrorKind::BadResponse, 20, send("SSH-2.0-OpenSSH\r\n"));
    all_are(ErrorKind::BadResponse, 20, send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello"));
    all_are(ErrorKind::BadResponse, 20, send("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"));
}

#[test]
fn refused_connections() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let outcome = measure(&url, &get(), &load(2, 6));
    assert_eq!((outcome.errors_of(ErrorKind::Connect), outcome.error_count()), (6, 6));
    assert!(outcome.examples[ErrorKind::Connect as usize].as_ref().unwrap().contains("refused"));
    let outcome = measure("unix:/nonexistent/octroi.sock", &get(), &load(2, 6));
    assert_eq!((outcome.errors_of(ErrorKind::Connect), outcome.error_count()), (6, 6));
}

#[test]
fn timeouts() {
    let url = serve(|_| Answer::Silence);
    let outcome = measure(&url, &get(), &Load { timeout_ns: milliseconds(100), ..load(2, 4) });
    assert_eq!((outcome.errors_of(ErrorKind::Timeout), outcome.error_count()), (4, 4));
    assert_eq!(outcome.latencies.len(), 4);
    assert!(outcome.latencies.min() >= milliseconds(99));
}

/// All kinds in one run, in turn, and the connections recover from each.
#[test]
fn mixed() {
    let url = serve(|request| match request.path() {
        "/404" => Answer::Send(response(404, "")),
        "/500" => Answer::Send(response(500, "")),
        "/cut" => Answer::SendAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello".to_vec()),
        "/reset" => Answer::Reset,
        "/bad" => Answer::Send(b"nonsense\r\n\r\n".to_vec()),
        "/silent" => Answer::Silence,
        _ => ok(),
    });
    let paths = ["/ok", "/404", "/500", "/cut", "/reset", "/bad", "/silent", "/ok"];
    let shape = Shape { paths: paths.map(str::to_owned).to_vec(), ..get() };
    let outcome = measure(&url, &shape, &Load { timeout_ns: milliseconds(1000), ..load(4, 40) });
    let counts = |kind| outcome.errors_of(kind);
    assert_eq!(counts(ErrorKind::Status4xx), 5, "{:?}", outcome.errors);
    assert_eq!(counts(ErrorKind::Status5xx), 5);
    assert_eq!(counts(ErrorKind::ClosedEarly), 5);
    assert_eq!(counts(ErrorKind::Reset), 5);
    assert_eq!(counts(ErrorKind::BadResponse), 5);
    assert_eq!(counts(ErrorKind::Timeout), 5);
    assert_eq!((outcome.replies, outcome.error_count()), (20, 30));
}
