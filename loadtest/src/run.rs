//! One run: shares the load among threads, shows progress, adds up.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::engine::{Clock, Engine, Gauge, Share};
use crate::outcome::Outcome;
use crate::schedule::{End, SECOND_NS, Schedule};
use crate::target::Target;

/// How often the main thread looks whether the run is over.
const WATCH: Duration = Duration::from_millis(20);
/// How many of these looks pass between two lines of progress.
const WATCHES_PER_LINE: u32 = 25;

/// When a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// Nanoseconds of sending, after the warm-up.
    Time(u64),
    /// Requests, after the warm-up.
    Requests(u64),
}

/// A load, the same for every target it is put on.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Connections of all threads together.
    pub connections: usize,
    /// Event loops.
    pub threads: usize,
    /// Requests a second in open loop; closed loop without.
    pub rate: Option<f64>,
    /// Sent before the measured window, not counted.
    pub warm_up_ns: u64,
    /// When it ends.
    pub length: Length,
    /// How long a request may take.
    pub timeout_ns: u64,
    /// Requests of an open loop that may wait for a connection.
    pub backlog_max: usize,
    /// Show progress, if standard error is a terminal.
    pub progress: bool,
}

/// Puts a load on a target and returns what came of it.
///
/// # Errors
/// The kernel refuses epoll, a timer or a thread; never for what a server does.
pub fn run(target: &Target, load: &Load) -> io::Result<Outcome> {
    raise_descriptor_limit();
    let clock = Clock::start();
    let gauges: Vec<Gauge> = (0..load.threads).map(|_| Gauge::default()).collect();
    let running = AtomicUsize::new(load.threads);
    thread::scope(|scope| {
        let mut handles = Vec::with_capacity(load.threads);
        for (index, gauge) in gauges.iter().enumerate() {
            let share = share(target, load, clock, index, gauge);
            let running = &running;
            let body = move || {
                let outcome = Engine::new(share).and_then(Engine::run);
                running.fetch_sub(1, Ordering::Release);
                outcome
            };
            handles.push(thread::Builder::new().name(format!("load-{index}")).spawn_scoped(scope, body)?);
        }
        if load.progress && io::stderr().is_terminal() {
            watch(&gauges, &running, clock);
        }
        let mut sum = Outcome::new(load.warm_up_ns);
        for handle in handles {
            let outcome = handle.join().map_err(|_| io::Error::other("a load thread panicked"))??;
            sum.add(&outcome);
        }
        Ok(sum)
    })
}

/// The part of thread `index`. In open loop the threads take the instants of
/// the whole schedule in turn, so together they keep its spacing.
fn share<'a>(target: &'a Target, load: &Load, clock: Clock, index: usize, gauge: &'a Gauge) -> Share<'a> {
    let threads = load.threads;
    let part = |whole: u64| whole / threads as u64 + u64::from((index as u64) < whole % threads as u64);
    let end = match load.length {
        Length::Time(ns) => End::At(load.warm_up_ns.saturating_add(ns)),
        Length::Requests(requests) => End::Requests(part(requests)),
    };
    let schedule = match load.rate {
        None => Schedule::closed(load.warm_up_ns, end),
        Some(rate) => {
            let interval_ns = SECOND_NS as f64 / rate;
            let (first_ns, own_ns) = (interval_ns * index as f64, interval_ns * threads as f64);
            let backlog_max = load.backlog_max.div_ceil(threads);
            Schedule::open(first_ns, own_ns, backlog_max, load.warm_up_ns, end)
        }
    };
    Share {
        target,
        connections: part(load.connections as u64) as usize,
        schedule,
        end,
        measure_from_ns: load.warm_up_ns,
        timeout_ns: load.timeout_ns,
        clock,
        gauge,
    }
}

/// Rewrites one line on the terminal until all threads are done.
fn watch(gauges: &[Gauge], running: &AtomicUsize, clock: Clock) {
    let mut before = (0, 0);
    let mut watches = 0;
    while running.load(Ordering::Acquire) > 0 {
        thread::sleep(WATCH);
        watches += 1;
        if watches % WATCHES_PER_LINE != 0 {
            continue;
        }
        let replies: u64 = gauges.iter().map(|gauge| gauge.replies.load(Ordering::Relaxed)).sum();
        let errors: u64 = gauges.iter().map(|gauge| gauge.errors.load(Ordering::Relaxed)).sum();
        let now_ns = clock.now_ns();
        let rate = (replies - before.1) as f64 * 1e9 / (now_ns - before.0).max(1) as f64;
        before = (now_ns, replies);
        let seconds = now_ns as f64 / 1e9;
        // A terminal that went away is no reason to stop measuring.
        let _ =
            write!(io::stderr(), "\r{seconds:6.1} s  {replies} replies  {rate:.0}/s  {errors} errors\x1b[K");
    }
    let _ = write!(io::stderr(), "\r\x1b[K");
}

/// As many descriptors as may be had without asking: one per connection.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        // Refused, the connections beyond the limit show up as errors.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}
