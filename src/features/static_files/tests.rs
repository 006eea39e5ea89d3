//! Requests that end at a file, or at the lack of one.

#![allow(clippy::unwrap_used)]

use crate::features::testing::{Bench, message};
use crate::features::{index, static_files};
use crate::http::{HeadLimits, Parsed};
use crate::pipeline::answer::{Answer, Body};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::step::{Flow, Phase, Relocation, Step};
use crate::pipeline::{conditions, ranges};
use std::fs;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A folder of its own for a test.
pub(in crate::features) fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("octroi-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Asks the content steps of a location: the answer in one line, or where the request goes on.
pub(in crate::features) fn ask(bench: &Bench, location: &str, request: &str) -> String {
    bench.exchange(location, |x| {
        let (line, fields) = request.split_once('\n').unwrap_or((request, ""));
        let fields = fields.replace('\n', "\r\n");
        let text = format!("{line} HTTP/1.1\r\nHost: Test.example\r\n{fields}\r\n\r\n");
        x.input = crate::base::buffer::Buffer::ordinary();
        x.input.append(text.replace("\r\n\r\n\r\n", "\r\n\r\n").as_bytes());
        assert_eq!(x.head.parse(x.input.filled(), &HeadLimits::default()), Ok(Parsed::Complete));
        let (_, target) = line.split_once(' ').unwrap();
        let (path, args) = target.split_once('?').unwrap_or((target, ""));
        x.host.extend_from_slice(b"test.example");
        x.uri = path.as_bytes().to_vec();
        x.args = args.as_bytes().to_vec();
        let here = x.here.clone();
        for step in here.settings.steps(Phase::Content) {
            let Step::Waiting(step) = step else { panic!("a step that never waits") };
            match until_done(step.run(x)) {
                Flow::Next => {}
                Flow::Answer(answer) => return shown(x, answer),
                Flow::Relocate(Relocation::Uri { uri, args: None }) => {
                    return format!("-> {}", String::from_utf8(uri).unwrap());
                }
                _ => panic!("another flow"),
            }
        }
        "next".to_owned()
    })
}

/// Waits by asking again: what the file pool is waited for needs no waking then.
fn until_done<F: Future>(future: F) -> F::Output {
    let mut future: Pin<&mut F> = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn shown(x: &mut Exchange, answer: Answer) -> String {
    let (status, body) = match answer {
        Answer::Status(status) => (status, Body::None),
        Answer::Ready(mut body) => {
            match conditions::weigh(x, &mut body).and_then(|()| ranges::cut(x, &mut body)) {
                Ok(()) => (x.answer.status, body),
                Err(status) => (status, Body::None),
            }
        }
        Answer::Close => panic!("closed"),
    };
    let mut shown = status.to_string();
    for (name, value, _) in x.answer.fields.iter() {
        let value = match name {
            b"Last-Modified" | b"ETag" => "?".into(),
            _ => String::from_utf8_lossy(value),
        };
        shown += &format!(" {}={value}", String::from_utf8_lossy(name));
    }
    if let Body::File(mut file) = body {
        assert_eq!(x.answer.length, Some(file.remaining()));
        shown += &format!(" {}:", String::from_utf8_lossy(&x.answer.content_type));
        while let Some(piece) = until_done(file.next()).unwrap() {
            shown += &String::from_utf8_lossy(piece.filled());
        }
    }
    shown
}

fn bench(root: &str, more: &str) -> Bench {
    let text = format!("http {{ server {{ location / {{ root {root}; {more} }} }} }}");
    Bench::new(&text, &[&static_files::FEATURE, &index::FEATURE])
}

#[test]
fn files_and_what_is_none() {
    let folder = folder("static");
    fs::write(folder.join("a.html"), b"0123456789").unwrap();
    fs::create_dir(folder.join("d")).unwrap();
    let bench = bench(folder.to_str().unwrap(), "");
    for (request, want) in [
        ("GET /a.html", "200 Last-Modified=? ETag=? Accept-Ranges=bytes text/html:0123456789"),
        (
            "GET /a.html\nRange: bytes=2-4",
            "206 Last-Modified=? ETag=? Content-Range=bytes 2-4/10 text/html:234",
        ),
        ("GET /a.html\nRange: bytes=50-", "416 Content-Range=bytes */10"),
        ("GET /a.html\nIf-Match: \"x\"", "412"),
        ("GET /a.html\nIf-None-Match: *", "304 Last-Modified=? ETag=?"),
        ("POST /a.html", "405"),
        ("DELETE /a.html", "405"),
        ("GET /none", "404"),
        ("POST /none", "404"),
        ("GET /a.html/x", "404"),
        ("GET /d", "301 Location=http://test.example:8080/d/"),
        ("GET /d?a=b", "301 Location=http://test.example:8080/d/?a=b"),
        ("GET /d/", "next"),
    ] {
        assert_eq!(ask(&bench, "/", request), want, "{request}");
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn many_ranges_are_many_parts() {
    let folder = folder("parts");
    fs::write(folder.join("a"), b"0123456789").unwrap();
    let bench = bench(folder.to_str().unwrap(), "max_ranges 2;");
    let answer = ask(&bench, "/", "GET /a\nRange: bytes=0-1,-2");
    assert!(answer.starts_with("206 Last-Modified=? ETag=? multipart/byteranges; boundary="), "{answer}");
    assert!(answer.contains("Content-Range: bytes 8-9/10\r\n\r\n89\r\n--"), "{answer}");
    let whole = "200 Last-Modified=? ETag=? Accept-Ranges=bytes text/plain:0123456789";
    assert_eq!(ask(&bench, "/", "GET /a\nRange: bytes=0-1,3-4,6-7"), whole);
    let off = self::bench(folder.to_str().unwrap(), "max_ranges 0; etag off;");
    assert_eq!(ask(&off, "/", "GET /a\nRange: bytes=0-1"), "200 Last-Modified=? text/plain:0123456789");
    fs::remove_dir_all(folder).unwrap();
    assert_eq!(message(self::bench("/x", "max_ranges x;").plan()), "\"max_ranges\" directive invalid number");
}

#[test]
fn an_alias_is_not_left() {
    let folder = folder("alias");
    fs::create_dir(folder.join("in")).unwrap();
    fs::write(folder.join("in/a"), b"inside").unwrap();
    fs::write(folder.join("secret"), b"outside").unwrap();
    let text = format!("http {{ server {{ location /f {{ alias {}/in/; }} }} }}", folder.display());
    let bench = Bench::new(&text, &[&static_files::FEATURE, &index::FEATURE]);
    assert!(ask(&bench, "/f", "GET /fa").ends_with(":inside"));
    assert_eq!(ask(&bench, "/f", "GET /f../secret"), "403");
    assert_eq!(ask(&bench, "/f", "GET /f..secret"), "404");
    fs::remove_dir_all(folder).unwrap();
}
