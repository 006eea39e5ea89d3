//! Wrong configurations and what is said of them, in the words that those who know nginx search for:
//! `tests/wrong/configurations.txt`.

use crate::harness::*;

/// Runs of the binary at once.
const AT_ONCE: usize = 4;

/// A directive in its place among the blocks of a configuration that is right.
fn within(block: &str, directives: &str) -> String {
    let main = "pid %%DIR%%/nginx.pid;\nerror_log %%DIR%%/error.log;\n";
    let http = |text: &str| format!("{main}events {{}}\nhttp {{ access_log %%DIR%%/access.log; {text} }}\n");
    match block {
        "main" => format!("{main}{directives}\nevents {{}}\n"),
        "events" => format!("{main}events {{ {directives} }}\n"),
        "http" => http(directives),
        "upstream" => http(&format!("upstream u {{ server 127.0.0.1; {directives} }}")),
        "server" => http(&format!("server {{ {directives} }}")),
        "location" => http(&format!("server {{ location / {{ {directives} }} }}")),
        _ => panic!("no block: {block}"),
    }
}

/// The message without its place.
fn message(line: &str) -> &str {
    let message = line.strip_prefix("[emerg] ").or(line.split_once(": ").map(|(_, rest)| rest));
    let message = message.unwrap_or(line);
    message.rsplit_once(" in DIR/nginx.conf:").map_or(message, |(message, _)| message)
}

/// Runs the lines of one block through `-t`.
fn wrong_in(block: &str) {
    if !since("1.31.4", "the messages are those of this version") {
        return;
    }
    let text = include_str!("../wrong/configurations.txt");
    let mut lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut cases = Vec::new();
    while let (Some(line), Some(expected)) = (lines.next(), lines.next()) {
        let (named, directives) = line.split_once(": ").expect("BLOCK: DIRECTIVES");
        if named == block {
            cases.push((directives, expected.trim_start()));
        }
    }
    assert!(!cases.is_empty(), "no line of {block}");
    let part = cases.len().div_ceil(AT_ONCE);
    let faults: String = std::thread::scope(|scope| {
        let runs: Vec<_> = cases
            .chunks(part)
            .map(|part| scope.spawn(|| part.iter().filter_map(|case| fault(block, case)).collect::<String>()))
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert!(faults.is_empty(), "{faults}");
}

/// What is wrong with what is said of the directives.
fn fault(block: &str, (directives, expected): &(&str, &str)) -> Option<String> {
    let server = Setup::whole(&within(block, directives)).prepare();
    let outcome = server.run(&["-t"]);
    let said = outcome.stderr.lines().find(|line| line.contains("[emerg]")).unwrap_or_default();
    let said = server.tidy(said);
    let right = outcome.code == Some(1) && message(&said) == expected.replace("%%DIR%%", "DIR");
    (!right).then(|| format!("\n{block}: {directives}\n  expected: {expected}\n  said:     {said}"))
}

#[test]
fn wrong_in_main_and_events() {
    wrong_in("main");
    wrong_in("events");
}

#[test]
fn wrong_in_http() {
    wrong_in("http");
}

#[test]
fn wrong_in_an_upstream() {
    wrong_in("upstream");
}

#[test]
fn wrong_in_a_server() {
    wrong_in("server");
}

#[test]
fn wrong_in_a_location() {
    wrong_in("location");
}
