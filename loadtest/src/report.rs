//! A run in text for people and in JSON for programs.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::outcome::{ErrorKind, Outcome};
use crate::run::{Length, Load};
use crate::target::Target;

/// The percentiles of every report: name and quantile.
pub const PERCENTILES: [(&str, f64); 6] =
    [("p50", 0.5), ("p75", 0.75), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

/// The report of one run, several lines.
#[must_use]
pub fn text(target: &Target, load: &Load, outcome: &Outcome) -> String {
    let mut out = String::new();
    let seconds = outcome.seconds();
    // Writing to a String does not fail.
    let _ = writeln!(out, "{}  {}", target.url, describe(target, load));
    let _ = writeln!(
        out,
        "replies   {} in {seconds:.2} s, {:.1}/s, {}/s",
        outcome.replies,
        outcome.rate(),
        bytes(outcome.wire_bytes as f64 / seconds.max(f64::MIN_POSITIVE)),
    );
    let classes = (1..=9).filter(|&class| outcome.statuses[class] > 0);
    let statuses: Vec<String> =
        classes.map(|class| format!("{class}xx {}", outcome.statuses[class])).collect();
    let _ = writeln!(out, "status    {}", or_none(&statuses));
    let _ = write!(out, "latency   ");
    for (name, quantile) in PERCENTILES {
        let _ = write!(out, "{name} {}  ", duration(outcome.latency_ns(quantile)));
    }
    let _ = writeln!(out, "max {}", duration(outcome.latencies.max()));
    let mean = duration(outcome.latencies.mean() as u64);
    let _ = writeln!(out, "          min {}  mean {mean}", duration(least_ns(outcome)));
    let errors: Vec<String> = ErrorKind::ALL
        .into_iter()
        .filter(|&kind| outcome.errors_of(kind) > 0)
        .map(|kind| match &outcome.examples[kind as usize] {
            Some(example) => format!("{} {} ({example})", kind.name(), outcome.errors_of(kind)),
            None => format!("{} {}", kind.name(), outcome.errors_of(kind)),
        })
        .collect();
    let _ = writeln!(out, "errors    {}", or_none(&errors));
    let _ = writeln!(
        out,
        "client    {:.2} us CPU a request, threads {:.0} % busy, {} connections opened",
        client_us(outcome),
        busy_percent(outcome),
        outcome.connects
    );
    if busy_percent(outcome) > BUSY_PERCENT_MAX && load.rate.is_some() {
        out.push_str(
            "          The tester itself is at its limit: latencies include its own. Use more --threads.\n",
        );
    }
    out
}

/// Above this the tester's own queueing shows in the latencies.
const BUSY_PERCENT_MAX: f64 = 90.0;

/// The same as an object. Times are microseconds unless named otherwise.
#[must_use]
pub fn json(target: &Target, load: &Load, outcome: &Outcome) -> Value {
    let us = |ns: u64| ns as f64 / 1e3;
    let mut latency = Map::new();
    latency.insert("min".into(), us(least_ns(outcome)).into());
    latency.insert("mean".into(), (outcome.latencies.mean() / 1e3).into());
    for (name, quantile) in PERCENTILES {
        latency.insert(name.into(), us(outcome.latency_ns(quantile)).into());
    }
    latency.insert("max".into(), us(outcome.latencies.max()).into());
    let errors: Map<String, Value> = ErrorKind::ALL
        .into_iter()
        .map(|kind| (kind.name().to_owned(), outcome.errors_of(kind).into()))
        .collect();
    let statuses: Map<String, Value> =
        (1..=9).map(|class| (format!("{class}xx"), outcome.statuses[class].into())).collect();
    json!({
        "url": target.url,
        "connections": load.connections,
        "threads": load.threads,
        "keep_alive": target.keep_alive,
        "rate_asked": load.rate,
        "warm_up_s": load.warm_up_ns as f64 / 1e9,
        "measured_s": outcome.seconds(),
        "replies": outcome.replies,
        "rate": outcome.rate(),
        "bytes": outcome.wire_bytes,
        "latency_us": latency,
        "status": statuses,
        "errors": errors,
        "errors_total": outcome.error_count(),
        "examples": outcome.examples.iter().flatten().collect::<Vec<_>>(),
        "connections_opened": outcome.connects,
        "client_cpu_us_per_request": client_us(outcome),
        "client_busy_percent": busy_percent(outcome),
    })
}

/// A latency in a unit that leaves three or four digits.
#[must_use]
pub fn duration(ns: u64) -> String {
    let value = ns as f64;
    match ns {
        0..=99_999 => format!("{:.1} us", value / 1e3),
        100_000..=999_999 => format!("{:.0} us", value / 1e3),
        1_000_000..=999_999_999 => format!("{:.2} ms", value / 1e6),
        _ => format!("{:.2} s", value / 1e9),
    }
}

/// The load in words.
#[must_use]
pub fn describe(target: &Target, load: &Load) -> String {
    let pace = match load.rate {
        Some(rate) => format!("open loop at {rate}/s"),
        None => "closed loop".to_owned(),
    };
    let length = match load.length {
        Length::Time(ns) => format!("{} s", ns as f64 / 1e9),
        Length::Requests(requests) => format!("{requests} requests"),
    };
    let (connections, threads) = (counted(load.connections, "connection"), counted(load.threads, "thread"));
    let keep_alive = if target.keep_alive { "" } else { ", no keep-alive" };
    format!("{connections}, {threads}, {pace}, {length}{keep_alive}")
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// The histogram's `min` is its largest value while it is empty.
fn least_ns(outcome: &Outcome) -> u64 {
    if outcome.latencies.is_empty() { 0 } else { outcome.latencies.min() }
}

/// CPU time of the tester for each reply, warm-up included on both sides.
fn client_us(outcome: &Outcome) -> f64 {
    outcome.cpu_ns as f64 / 1e3 / outcome.all_replies.max(1) as f64
}

fn busy_percent(outcome: &Outcome) -> f64 {
    outcome.cpu_ns as f64 * 100.0 / outcome.running_ns.max(1) as f64
}

fn bytes(count: f64) -> String {
    match count {
        ..1e3 => format!("{count:.0} B"),
        ..1e6 => format!("{:.1} kB", count / 1e3),
        ..1e9 => format!("{:.1} MB", count / 1e6),
        _ => format!("{:.2} GB", count / 1e9),
    }
}

fn or_none(parts: &[String]) -> String {
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (ns, text) in [(950, "0.9 us"), (12_340, "12.3 us"), (123_400, "123 us"), (1_234_000, "1.23 ms")]
        {
            assert_eq!(duration(ns), text);
        }
        assert_eq!(duration(2_000_000_000), "2.00 s");
    }

    #[test]
    fn amounts() {
        assert_eq!(bytes(999.0), "999 B");
        assert_eq!(bytes(1_500_000.0), "1.5 MB");
        assert_eq!(counted(1, "thread"), "1 thread");
    }
}
