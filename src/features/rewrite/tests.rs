#![allow(clippy::unwrap_used)]
use super::*;
use crate::features::testing::{Bench, message};
use crate::http::Known;
use crate::pipeline::answer::{Answer, Body};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::step::{Flow, Phase, Step};

fn in_location(directives: &str) -> String {
    format!("http {{ server {{ location / {{ {directives} }} }} }}")
}

/// What the steps of location `/` answer with: status, type, `Location` and text.
fn answered(directives: &str, prepare: impl FnOnce(&mut Exchange)) -> String {
    Bench::new(&in_location(directives), &[&FEATURE]).exchange("/", |x| {
        prepare(x);
        let here = x.here.clone();
        for step in here.settings.steps(Phase::Rewrite) {
            let Step::Quick(step) = step else { panic!("a step that waits") };
            match step.run(x) {
                Flow::Next => {}
                Flow::Answer(answer) => return shown(x, answer),
                _ => panic!("neither next nor an answer"),
            }
        }
        "next".to_owned()
    })
}

fn shown(x: &Exchange, answer: Answer) -> String {
    let to = x.answer.fields.find(Known::Location).map(String::from_utf8_lossy);
    let kind = String::from_utf8_lossy(&x.answer.content_type);
    match answer {
        Answer::Close => format!("close {}", x.answer.status),
        Answer::Status(status) => format!("status {status} {}", to.unwrap_or_default()),
        Answer::Ready(Body::Bytes(text)) => {
            assert_eq!(x.answer.length, Some(text.len() as u64));
            format!("{} {kind} {}", x.answer.status, String::from_utf8_lossy(&text))
        }
        Answer::Ready(Body::None) => format!("{} {kind} {:?}", x.answer.status, x.answer.length),
        Answer::Ready(_) => panic!("another body"),
    }
}

#[test]
fn codes() {
    let plain = |directives: &str| answered(directives, |_| ());
    assert_eq!(plain("return 404;"), "status 404 ");
    assert_eq!(plain("return 404 '';"), "status 404 ");
    assert_eq!(plain("return 444;"), "close 444");
    assert_eq!(plain("return 408;"), "close 408");
    assert_eq!(plain("return 499;"), "close 499");
    assert_eq!(plain("return 204;"), "204  None");
    assert_eq!(plain("return 204 x;"), "204  None");
    assert_eq!(plain("return 200;"), "200 text/plain Some(0)");
    assert_eq!(plain("return 301;"), "status 301 ");
    assert_eq!(plain("return 700;"), "status 700 ");
}

#[test]
fn texts_and_their_types() {
    let plain = |directives: &str| answered(directives, |_| ());
    assert_eq!(plain("return 200 'a $b c'; set $b x;"), "200 text/plain a  c");
    assert_eq!(plain("set $b x; return 418 \"${b}y\";"), "418 text/plain xy");
    assert_eq!(plain("default_type ''; return 444 x;"), "444  x");
    let page = |x: &mut Exchange| x.uri = b"/a.b/page.HTML".to_vec();
    assert_eq!(answered("return 200 x;", page), "200 text/html x");
    let none = |x: &mut Exchange| x.uri = b"/a.html/page".to_vec();
    assert_eq!(answered("return 200 x;", none), "200 text/plain x");
}

#[test]
fn redirects() {
    let host = |x: &mut Exchange| x.host = b"example.com".to_vec();
    assert_eq!(answered("return 302 /x?y;", host), "status 302 http://example.com:8080/x?y");
    assert_eq!(answered("return 308 x;", host), "status 308 x");
    assert_eq!(
        answered("return https://other.example$none; set $none a;", host),
        "status 302 https://other.example"
    );
    assert_eq!(answered("absolute_redirect off; return 301 /x;", host), "status 301 /x");
    assert_eq!(
        answered("set $a \"\\r\\nb\"; return 301 /$a;", host),
        "status 301 http://example.com:8080/  b"
    );
}

#[test]
fn values_in_written_order() {
    let plain = |directives: &str| answered(directives, |_| ());
    assert_eq!(plain("set $a 1; set $b $a; set $a $a$b; return 200 $a-$b;"), "200 text/plain 11-1");
    assert_eq!(plain("set $a 1; break; return 200 $a;"), "next");
    let args = answered("set $args b=2;", |x| {
        x.args = b"a=1".to_vec();
    });
    assert_eq!(args, "next");
}

#[test]
fn levels_do_not_inherit() {
    let text = "http { server { return 403; location / { } } }";
    let plan = Bench::new(text, &[&FEATURE]).plan().unwrap();
    let counts = |name: &str| {
        let settings = plan.locations.iter().find(|found| found.name == name).unwrap();
        [Phase::ServerRewrite, Phase::Rewrite].map(|phase| settings.steps(phase).len())
    };
    assert_eq!((counts(""), counts("/")), ([1, 0], [0, 0]));
}

#[test]
fn errors_are_nginxs() {
    for (text, want) in [
        ("return 1000;", "invalid return code \"1000\""),
        ("return x;", "invalid return code \"x\""),
        ("return 100;", "invalid return code \"100\""),
        ("return http://a b;", "invalid return code \"http://a\""),
        ("set a b;", "invalid variable name \"a\""),
        ("set $ b;", "invalid variable name \"$\""),
        ("return 200 $nowhere;", "unknown \"nowhere\" variable"),
    ] {
        assert_eq!(message(Bench::new(&in_location(text), &[&FEATURE]).plan()), want, "{text}");
    }
}
