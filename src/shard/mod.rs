//! Floor 7, the data plane: shards, each a thread with its own runtime, sockets and state. It knows
//! the plan and the pipeline, and no feature by name.

mod accept;
mod aside;
mod connection;
mod core;
mod deliver;
mod drain;
pub mod explain;
mod file_body;
mod filtered;
mod generation;
mod head;
mod http2;
mod http2_answer;
mod http2_request;
mod http2_tunnel;
mod moving;
mod panic;
mod proxied;
mod request;
mod spliced;
mod spool;
mod term;
mod tls;
mod tunnel;
mod walk;

use self::core::Shard;
use crate::base::clock;
use crate::base::limits::MOVES_WAITING_MAX;
use crate::base::process_settings::Level;
use crate::bridge::handover::{self, Taker};
use crate::bridge::zone::Zones;
use crate::net::error_log::ErrorLog;
use crate::net::log_buffer;
use crate::net::runtime::{self, Driver};
use crate::net::sockets::{ListenSockets, Logs, Sockets};
use crate::pipeline::local::ShardFacts;
use crate::plan::Plan;
use accept::OwnSocket;
use generation::Generation;
use moving::{Moved, Neighbour};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often a shard that quits looks whether its last connection has ended.
const QUIT_LOOK: Duration = Duration::from_millis(10);

/// How often, and how many times, a shard that is told to stop looks whether it still accepts.
const STOP_LOOK: Duration = Duration::from_millis(1);
const STOP_LOOKS: u32 = 50;

/// Commands a shard may be behind with; the control plane sends one at a time.
const COMMANDS_MAX: usize = 16;

/// How long a shard may take to answer a command before it is taken for stuck.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// How long superfluous shards may take to answer that they keep what they have.
const STAY_WAIT: Duration = Duration::from_secs(1);

/// How long the flushing of logs is waited for when they are reopened.
const FLUSH_WAIT: Duration = Duration::from_secs(1);

/// The shards of this process, from the control plane's side.
pub struct Shards {
    driver: Driver,
    /// Those a reload made superfluous come last: they drain and then wait to be wanted again, since
    /// monoio does not give a ring back when its thread ends.
    threads: Vec<Handle>,
    /// How many of them serve.
    serving: usize,
}

struct Handle {
    commands: flume::Sender<Command>,
    thread: JoinHandle<()>,
    /// The shard has nothing more to do. Its thread stays until the process ends: a runtime that is
    /// dropped would free buffers that the kernel may still write to.
    ended: Arc<AtomicBool>,
    /// The shard as others see it that give their connections to it.
    neighbour: Neighbour,
}

/// What a shard is told.
enum Command {
    /// Take up this configuration; answer when it is in force.
    Load(Box<Load>, flume::Sender<Result<(), String>>),
    /// Hand no more over; answer when done.
    Stay(flume::Sender<()>),
    /// Write the logs' buffers out; answer when done.
    Flush(flume::Sender<()>),
    /// Finish what is under way.
    Quit,
    /// End now.
    Stop,
}

struct Load {
    plan: Arc<Plan>,
    shards: usize,
    /// Where its connections go, when it has no part any more.
    yields_to: Vec<Neighbour>,
    sockets: Vec<OwnSocket>,
    logs: Logs,
    zones: Zones,
    error_log: ErrorLog,
}

impl Shards {
    /// Starts one shard per entry of `pins`; returns when all of them listen.
    ///
    /// # Errors
    /// A thread, a runtime or a socket that could not be had.
    pub fn start(
        plan: Arc<Plan>,
        sockets: Sockets,
        logs: Logs,
        zones: Zones,
        error_log: ErrorLog,
        pins: Vec<Option<Vec<usize>>>,
    ) -> io::Result<Shards> {
        let driver = runtime::probe();
        error_log.write(
            Level::Notice,
            None,
            format_args!("using the \"{}\" event method, {} shard(s)", driver.name(), pins.len()),
        );
        let mut shards = Shards { driver, threads: Vec::new(), serving: 0 };
        shards.load(plan, sockets, logs, zones, error_log, pins).map_err(io::Error::other)?;
        Ok(shards)
    }

    /// Puts a new configuration in force on all shards, whose number may change.
    ///
    /// # Errors
    /// What went wrong, for the log.
    pub fn load(
        &mut self,
        plan: Arc<Plan>,
        sockets: Sockets,
        logs: Logs,
        zones: Zones,
        error_log: ErrorLog,
        pins: Vec<Option<Vec<usize>>>,
    ) -> Result<(), String> {
        let shards = pins.len();
        for (number, pin) in pins.into_iter().enumerate().skip(self.threads.len()) {
            let handle = Handle::spawn(number, self.driver, pin).map_err(|e| format!("thread: {e}"))?;
            self.threads.push(handle);
        }
        let mut sockets = split(sockets, shards);
        sockets.resize_with(self.threads.len(), Vec::new);
        // The serving ones first: only when they accept on the sockets of the superfluous ones do
        // those let go of them.
        let mut parts: Vec<_> = self.threads.iter().zip(sockets).collect();
        let superfluous = parts.split_off(shards);
        let serving = parts.iter().map(|(handle, _)| handle.neighbour.clone()).collect();
        for (group, yields_to) in [(parts, Vec::new()), (superfluous, serving)] {
            let mut answers = Vec::new();
            for (handle, sockets) in group {
                let (answer, answered) = flume::bounded(1);
                let (plan, logs, error_log) = (plan.clone(), logs.clone(), error_log.clone());
                let zones = zones.clone();
                let yields_to = yields_to.clone();
                let load = Load { plan, shards, yields_to, sockets, logs, zones, error_log };
                handle
                    .commands
                    .send(Command::Load(Box::new(load), answer))
                    .map_err(|_| "a shard has ended")?;
                answers.push(answered);
            }
            for answered in answers {
                answered.recv_timeout(ANSWER_WAIT).map_err(|_| "a shard does not answer")??;
            }
        }
        self.serving = shards;
        Ok(())
    }

    /// Writes the buffers of all logs out, before the files under them are changed. Waits for it a
    /// short while only.
    pub fn flush_logs(&self) {
        let mut answers = Vec::new();
        for handle in &self.threads {
            let (answer, answered) = flume::bounded(1);
            if handle.commands.try_send(Command::Flush(answer)).is_ok() {
                answers.push(answered);
            }
        }
        for answered in answers {
            let _ = answered.recv_timeout(FLUSH_WAIT);
        }
    }

    /// Lets all shards finish what is under way.
    pub fn quit(&self) {
        // First nothing is on its way from one shard to another any more, lest it arrive where all has
        // ended.
        let mut answers = Vec::new();
        for handle in self.threads.iter().skip(self.serving) {
            let (answer, answered) = flume::bounded(1);
            if handle.commands.try_send(Command::Stay(answer)).is_ok() {
                answers.push(answered);
            }
        }
        for answered in answers {
            let _ = answered.recv_timeout(STAY_WAIT);
        }
        for handle in &self.threads {
            let _ = handle.commands.send(Command::Quit);
        }
    }

    /// Ends all shards now; their logs are written out.
    pub fn stop(&self) {
        for handle in &self.threads {
            let _ = handle.commands.send(Command::Stop);
        }
    }

    /// Whether all shards have ended.
    pub fn finished(&mut self) -> bool {
        self.threads.iter().all(Handle::has_ended)
    }

    /// Open connections of clients on each shard.
    pub fn connections(&self) -> Vec<usize> {
        self.threads
            .iter()
            .take(self.serving)
            .map(|handle| handle.neighbour.connections.load(Ordering::Relaxed))
            .collect()
    }
}

impl Handle {
    fn spawn(number: usize, driver: Driver, pin: Option<Vec<usize>>) -> io::Result<Handle> {
        let (commands, receiver) = flume::bounded(COMMANDS_MAX);
        let connections = Arc::new(AtomicUsize::new(0));
        let gauge = connections.clone();
        let (door, arrivals) = handover::handover(MOVES_WAITING_MAX);
        let ended = Arc::new(AtomicBool::new(false));
        let tell_end = ended.clone();
        let thread = std::thread::Builder::new().name(format!("shard {number}")).spawn(move || {
            if let Some(cpus) = pin {
                pin_to(&cpus);
            }
            let served = run(number, driver, receiver.clone(), gauge, arrivals);
            let main = async move {
                served.await;
                tell_end.store(true, Ordering::Release);
                std::future::pending::<()>().await;
            };
            if let Err(e) = runtime::run(driver, main) {
                // The control plane waits for an answer: it gets this one.
                while let Ok(Command::Load(_, answer)) = receiver.try_recv() {
                    let _ = answer.send(Err(format!("no runtime: {e}")));
                }
            }
        })?;
        Ok(Handle { commands, thread, ended, neighbour: Neighbour { door, connections } })
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire) || self.thread.is_finished()
    }
}

/// Pins this thread to CPUs; where the kernel refuses, it runs where it is put.
fn pin_to(cpus: &[usize]) {
    let mut set = rustix::thread::CpuSet::new();
    for &cpu in cpus {
        if cpu < rustix::thread::CpuSet::MAX_CPU {
            set.set(cpu);
        }
    }
    let _ = rustix::thread::sched_setaffinity(None, &set);
}

/// Deals the sockets out: number `i` of a group belongs to shard `i` modulo their number.
fn split(sockets: Sockets, shards: usize) -> Vec<Vec<OwnSocket>> {
    let mut parts: Vec<Vec<OwnSocket>> = (0..shards).map(|_| Vec::new()).collect();
    for ListenSockets { listen, descriptors } in sockets.listens {
        for (index, descriptor) in descriptors.into_iter().enumerate() {
            parts[index % shards].push(OwnSocket { address: listen.address.clone(), index, descriptor });
        }
    }
    parts
}

/// A shard's main task: commands, until it is told to end.
async fn run(
    number: usize,
    driver: Driver,
    commands: flume::Receiver<Command>,
    gauge: Arc<AtomicUsize>,
    arrivals: Taker<Moved>,
) {
    let mut shard: Option<Rc<Shard>> = None;
    let mut loops = accept::Loops::default();
    while let Ok(command) = commands.recv_async().await {
        clock::tick();
        match command {
            Command::Load(load, answer) => {
                let Load { plan, shards, yields_to, sockets, logs, zones, error_log } = *load;
                let facts = ShardFacts { shard: number, shards, logs: &logs, zones: &zones };
                let generation = Generation::new(plan, &facts, error_log);
                let current = match &shard {
                    Some(running) => {
                        running.switch(generation);
                        running.clone()
                    }
                    None => {
                        let first = Rc::new(Shard::new(driver, generation, gauge.clone()));
                        runtime::spawn(self::core::sweep(Rc::downgrade(&first)));
                        runtime::spawn(moving::take_up(first.clone(), arrivals.clone()));
                        shard = Some(first.clone());
                        first
                    }
                };
                let outcome = loops.set(&current, sockets).map_err(|e| format!("listening socket: {e}"));
                current.yield_to(yields_to);
                let _ = answer.send(outcome);
            }
            Command::Stay(answer) => {
                if let Some(shard) = &shard {
                    shard.yield_to(Vec::new());
                }
                let _ = answer.send(());
            }
            Command::Flush(answer) => {
                log_buffer::flush_all();
                let _ = answer.send(());
            }
            Command::Quit => {
                loops.stop();
                if let Some(shard) = &shard {
                    shard.quit();
                    term::begin_for_all(shard);
                }
                break;
            }
            Command::Stop => {
                loops.stop();
                stopped(&shard).await;
                return;
            }
        }
    }
    drain(&shard, &commands, &arrivals).await;
    log_buffer::flush_all();
}

/// Writes the logs out, and waits a moment for the accepts to be called off: sockets that the kernel
/// holds for them stay bound after the process's end, to the surprise of the next one.
async fn stopped(shard: &Option<Rc<Shard>>) {
    log_buffer::flush_all();
    for _ in 0..STOP_LOOKS {
        if shard.as_ref().is_none_or(|shard| !shard.accepts()) {
            return;
        }
        crate::net::deadline::sleep(STOP_LOOK).await;
    }
}

/// Waits for the last connection to end, or for the order to stop.
async fn drain(shard: &Option<Rc<Shard>>, commands: &flume::Receiver<Command>, arrivals: &Taker<Moved>) {
    while shard.as_ref().is_some_and(|shard| !shard.is_drained() || !arrivals.is_empty()) {
        match commands.try_recv() {
            Ok(Command::Stop) => return,
            Ok(Command::Flush(answer)) => {
                log_buffer::flush_all();
                let _ = answer.send(());
            }
            _ => {}
        }
        crate::net::deadline::sleep(QUIT_LOOK).await;
    }
}
