//! The command as a user runs it: output and exit codes.

use std::process::{Command, Output};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::server::{Answer, ok, response, serve};

fn octroi_load(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_octroi-load")).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn text_report() {
    let url = serve(|_| ok());
    let output = octroi_load(&[&url, "-n", "50", "-c", "2"]);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("replies   50 in ") && text.contains("errors    none"), "{text}");
    assert!(text.contains("p99.99 ") && text.contains("2xx 50"), "{text}");
    // Progress is for terminals.
    assert!(output.stderr.is_empty());
}

#[test]
fn json_report_and_file() {
    let url = serve(|_| ok());
    let path = std::env::temp_dir().join(format!("octroi-load-{}.json", std::process::id()));
    let output = octroi_load(&[&url, "-n", "50", "--json", "--out", path.to_str().unwrap()]);
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let written: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(printed, written);
    assert_eq!((&printed["replies"], &printed["errors_total"]), (&50.into(), &0.into()));
    let p50 = printed["latency_us"]["p50"].as_f64().unwrap();
    assert!(p50 > 0.0 && p50 <= printed["latency_us"]["max"].as_f64().unwrap());
}

#[test]
fn exit_codes() {
    let url = serve(|request| Answer::Send(response(if request.number < 3 { 500 } else { 200 }, "")));
    assert_eq!(octroi_load(&[&url, "-n", "20"]).status.code(), Some(1));
    let url = serve(|request| Answer::Send(response(if request.number < 3 { 500 } else { 200 }, "")));
    assert_eq!(octroi_load(&[&url, "-n", "20", "--max-errors", "3"]).status.code(), Some(0));
    for wrong in [
        &["--no-such-option"][..],
        &[],
        &["https://127.0.0.1/"],
        &["http://127.0.0.1/", "-c", "0"],
        &["http://127.0.0.1/", "-H", "nocolon"],
        &["http://127.0.0.1/", "--paths", "/nonexistent/paths"],
    ] {
        let output = octroi_load(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(!output.stderr.is_empty());
    }
    assert_eq!(octroi_load(&["--help"]).status.code(), Some(0));
}

#[test]
fn compare_prints_ratios() {
    let fast = serve(|_| ok());
    let slow = serve(|_| {
        sleep(Duration::from_millis(20));
        ok()
    });
    let options = ["compare", &fast, &slow, "-n", "40", "-c", "2", "--rounds", "3"];
    let output = octroi_load(&options);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("  1 A B") && text.contains("  2 B A") && text.contains("  3 A B"), "{text}");
    assert!(text.contains("median of A/B  rate ") && text.contains("p99 "), "{text}");

    // The servers live in this process, so it stands for both.
    let pid = std::process::id().to_string();
    let output = octroi_load(&[&options[..], &["--pid-a", &pid, "--pid-b", &pid, "--json"]].concat());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let median = |figure: &str| report["median_ratios"][figure].as_f64().unwrap();
    assert!(median("rate") > 1.5 && median("p50") < 0.7, "{report:#}");
    assert!(median("cpu") > 0.0);
    let rounds = report["rounds"].as_array().unwrap();
    let orders: Vec<&str> = rounds.iter().filter_map(|round| round["order"].as_str()).collect();
    assert_eq!(orders, ["AB", "BA", "AB"]);
    assert!(rounds.iter().all(|round| round["b"]["replies"] == 40));
}

#[test]
fn compare_counts_errors_of_both_sides() {
    let good = serve(|_| ok());
    let bad = serve(|_| Answer::Send(response(502, "")));
    let output = octroi_load(&["compare", &good, &bad, "-n", "5", "--rounds", "2"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("errors  A 0, B 10"), "{}", text(&output));
    let output = octroi_load(&["compare", &good, &good, "-n", "5", "--pid-a", "4294967295"]);
    assert_eq!(output.status.code(), Some(1));
}
