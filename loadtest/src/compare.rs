//! Two targets under the same load in interleaved rounds: A B, B A, A B, ...
//!
//! What drifts during a measurement (clock speed, neighbours) then touches
//! both alike, and the median of the rounds' ratios is what to look at.

use std::fmt::Write;
use std::io;

use serde_json::{Map, Value, json};

use crate::cpu::Usage;
use crate::outcome::Outcome;
use crate::report;
use crate::run::{Load, run};
use crate::target::Target;

/// What is compared; CPU time per request only where a process is known.
const FIGURES: [&str; 4] = ["rate", "p50", "p99", "cpu"];

/// One of the two sides.
#[derive(Debug)]
pub struct Side {
    /// What is loaded.
    pub target: Target,
    /// The server's process, if it is local and known.
    pub pid: Option<u32>,
}

/// A run of one side.
#[derive(Debug)]
pub struct Sample {
    /// What the tester counted.
    pub outcome: Outcome,
    /// CPU time of the server's process for each reply, in microseconds.
    pub cpu_us: Option<f64>,
}

/// A run of both sides.
#[derive(Debug)]
pub struct Round {
    /// Whether A ran first.
    pub a_first: bool,
    /// The run of A.
    pub a: Sample,
    /// The run of B.
    pub b: Sample,
}

/// All rounds of two sides.
#[derive(Debug)]
pub struct Comparison<'a> {
    a: &'a Side,
    b: &'a Side,
    load: &'a Load,
    rounds: Vec<Round>,
}

impl<'a> Comparison<'a> {
    /// Runs `rounds` rounds; `each` sees every round as it ends.
    ///
    /// # Errors
    /// As [`run`]; or a process that was named does not exist.
    pub fn run(
        a: &'a Side,
        b: &'a Side,
        load: &'a Load,
        rounds: u32,
        mut each: impl FnMut(&str),
    ) -> io::Result<Self> {
        let mut comparison = Self { a, b, load, rounds: Vec::with_capacity(rounds as usize) };
        each(&comparison.header());
        for index in 0..rounds {
            let round = if index % 2 == 0 {
                let first = sample(a, load)?;
                Round { a_first: true, a: first, b: sample(b, load)? }
            } else {
                let first = sample(b, load)?;
                Round { a_first: false, a: sample(a, load)?, b: first }
            };
            each(&line(index + 1, &round));
            comparison.rounds.push(round);
        }
        Ok(comparison)
    }

    /// Errors of both sides in all rounds.
    #[must_use]
    pub fn error_count(&self) -> u64 {
        self.rounds.iter().map(|round| round.a.outcome.error_count() + round.b.outcome.error_count()).sum()
    }

    /// The median over the rounds of A/B of a figure; `None` if no round has it.
    #[must_use]
    pub fn median_ratio(&self, figure: &str) -> Option<f64> {
        median(self.ratios(figure))
    }

    /// The last lines of the text report.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut out = String::from("median of A/B  ");
        for figure in FIGURES {
            let mut ratios = self.ratios(figure);
            ratios.sort_by(f64::total_cmp);
            if let (Some(least), Some(most), Some(median)) =
                (ratios.first(), ratios.last(), median(ratios.clone()))
            {
                // Writing to a String does not fail.
                let _ = write!(out, "{figure} {median:.3} ({least:.3} to {most:.3})  ");
            }
        }
        let total = |side: fn(&Round) -> &Sample| -> u64 {
            self.rounds.iter().map(|round| side(round).outcome.error_count()).sum()
        };
        let (a, b) = (total(|round| &round.a), total(|round| &round.b));
        out.truncate(out.trim_end().len());
        let _ = writeln!(out, "\nerrors  A {a}, B {b}");
        for (name, side) in [("A", (|round| &round.a) as fn(&Round) -> &Sample), ("B", |round| &round.b)] {
            let examples = self.rounds.iter().flat_map(|round| side(round).outcome.examples.iter().flatten());
            if let Some(example) = examples.into_iter().next() {
                let _ = writeln!(out, "        {name}: {example}");
            }
        }
        out
    }

    /// The whole comparison as an object.
    #[must_use]
    pub fn json(&self) -> Value {
        let side = |side: &Side, sample: &Sample| {
            let mut object = report::json(&side.target, self.load, &sample.outcome);
            object["server_cpu_us_per_request"] = sample.cpu_us.into();
            object
        };
        let per_figure = |value: &dyn Fn(&str) -> Option<f64>| -> Map<String, Value> {
            FIGURES.into_iter().map(|figure| (figure.to_owned(), value(figure).into())).collect()
        };
        let rounds: Vec<Value> = self
            .rounds
            .iter()
            .map(|round| {
                json!({
                    "order": if round.a_first { "AB" } else { "BA" },
                    "a": side(self.a, &round.a),
                    "b": side(self.b, &round.b),
                    "ratios": per_figure(&|figure| ratio(round, figure)),
                })
            })
            .collect();
        let medians = per_figure(&|figure| self.median_ratio(figure));
        json!({
            "a": self.a.target.url,
            "b": self.b.target.url,
            "median_ratios": medians,
            "errors_total": self.error_count(),
            "rounds": rounds,
        })
    }

    fn ratios(&self, figure: &str) -> Vec<f64> {
        self.rounds.iter().filter_map(|round| ratio(round, figure)).collect()
    }

    fn header(&self) -> String {
        let mut out = String::new();
        for (name, side) in [("A", self.a), ("B", self.b)] {
            let process = side.pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
            let _ = writeln!(out, "{name}  {}{process}", side.target.url);
        }
        let _ = writeln!(out, "each run: {}", report::describe(&self.a.target, self.load));
        let _ = write!(out, "round    ");
        for (figure, unit) in FIGURES.into_iter().zip(["/s", "us", "us", "us"]) {
            let _ = write!(
                out,
                "{:>11}{:>11}{:>7}",
                format!("{figure} A {unit}"),
                format!("{figure} B {unit}"),
                "A/B"
            );
        }
        out.push('\n');
        out
    }
}

/// Runs one side and weighs its process.
fn sample(side: &Side, load: &Load) -> io::Result<Sample> {
    let usage = || side.pid.map(|pid| Usage::of(pid).map_err(io::Error::other)).transpose();
    let before = usage()?;
    let outcome = run(&side.target, load)?;
    let cpu_us = before.zip(usage()?).filter(|_| outcome.all_replies > 0).map(|(before, after)| {
        // The warm-up is in both the time and the replies.
        after.since_ns(&before) as f64 / 1e3 / outcome.all_replies as f64
    });
    Ok(Sample { outcome, cpu_us })
}

fn line(number: u32, round: &Round) -> String {
    let mut out = format!("{number:>3} {}   ", if round.a_first { "A B" } else { "B A" });
    for figure in FIGURES {
        let cell = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1}"));
        let ratio = ratio(round, figure).map_or("-".to_owned(), |ratio| format!("{ratio:.3}"));
        let (a, b) = (cell(value(&round.a, figure)), cell(value(&round.b, figure)));
        // Writing to a String does not fail.
        let _ = write!(out, "{a:>11}{b:>11}{ratio:>7}");
    }
    out.push('\n');
    out
}

fn value(sample: &Sample, figure: &str) -> Option<f64> {
    let quantile_us = |quantile| sample.outcome.latency_ns(quantile) as f64 / 1e3;
    match figure {
        "rate" => Some(sample.outcome.rate()),
        "p50" => Some(quantile_us(0.5)),
        "p99" => Some(quantile_us(0.99)),
        "cpu" => sample.cpu_us,
        _ => None,
    }
}

/// A/B of one round, if both are known and B is not 0.
fn ratio(round: &Round, figure: &str) -> Option<f64> {
    let (a, b) = (value(&round.a, figure)?, value(&round.b, figure)?);
    (b > 0.0).then(|| a / b)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get(values.len().saturating_sub(1) / 2)?;
    Some((lower + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
