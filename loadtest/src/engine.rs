//! The event loop of one thread: starts requests when the schedule says so,
//! moves connections on when the kernel says so.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::connection::{Connection, Exchange, Failure, Turn};
use crate::cpu;
use crate::outcome::{ErrorKind, Outcome};
use crate::schedule::{End, SECOND_NS, Schedule};
use crate::target::Target;

/// Bytes read at once; the buffer is shared by all connections of a thread,
/// small enough for its cache, large enough that a bulk body costs few calls.
const BUFFER_BYTES: usize = 64 * 1024;
/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 1024;
/// Wait before a connection that was refused is tried again: a server that is
/// down must not turn the tester into a busy loop.
const RECONNECT_NS: u64 = 10_000_000;
/// Longest sleep: how late a timeout, the end of the run or the progress
/// counters may be noticed.
const TICK_MAX_NS: u64 = 100_000_000;
/// Shortest tick, so that tiny timeouts don't make every turn a scan.
const TICK_MIN_NS: u64 = 1_000_000;
/// A timeout is noticed at most this fraction of it late.
const TICKS_PER_TIMEOUT: u64 = 8;
/// The timer's token; connections are numbered from 0.
const TIMER: Token = Token(usize::MAX - 1);

/// The run's clock: nanoseconds since its start, the same for all threads.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that shows 0 now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub fn now_ns(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// Totals that a thread shows to others while it runs, written once a tick.
#[derive(Debug, Default)]
pub struct Gauge {
    /// Complete replies, warm-up included.
    pub replies: AtomicU64,
    /// Errors of the measured window.
    pub errors: AtomicU64,
}

/// What one thread has to do.
#[derive(Debug)]
pub struct Share<'a> {
    /// What is asked of whom.
    pub target: &'a Target,
    /// Connections of this thread.
    pub connections: usize,
    /// Requests of this thread.
    pub schedule: Schedule,
    /// When sending ends; also where the measured window ends by time.
    pub end: End,
    /// When the measured window opens.
    pub measure_from_ns: u64,
    /// How long a request may take, connecting included.
    pub timeout_ns: u64,
    /// The run's clock.
    pub clock: Clock,
    /// Where to show progress.
    pub gauge: &'a Gauge,
}

/// The event loop of one thread.
pub struct Engine<'a> {
    share: Share<'a>,
    poll: Poll,
    timer: OwnedFd,
    connections: Vec<Connection>,
    /// Free connections, longest free first, so that all of them are used.
    idle: VecDeque<usize>,
    /// Connections with more to read than their turn allowed.
    again: VecDeque<usize>,
    /// Connections that were refused, and when to try again; in that order,
    /// since the wait is always the same.
    refused: VecDeque<(u64, usize)>,
    /// The request sent next, counted round the target's requests.
    request: usize,
    buffer: Box<[u8]>,
    outcome: Outcome,
    tick_ns: u64,
    next_tick_ns: u64,
    /// Sending is over whatever is left; set once the end is known.
    stop_ns: u64,
}

impl<'a> Engine<'a> {
    /// Readies the loop; connections are opened with their first request.
    ///
    /// # Errors
    /// The kernel refuses an epoll or timer descriptor.
    pub fn new(share: Share<'a>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)?;
        let tick_ns = (share.timeout_ns / TICKS_PER_TIMEOUT).clamp(TICK_MIN_NS, TICK_MAX_NS);
        Ok(Self {
            poll,
            timer,
            connections: (0..share.connections).map(|_| Connection::new(share.target.to_head)).collect(),
            idle: (0..share.connections).collect(),
            again: VecDeque::with_capacity(share.connections),
            refused: VecDeque::with_capacity(share.connections),
            request: 0,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            outcome: Outcome::new(share.measure_from_ns),
            tick_ns,
            next_tick_ns: 0,
            stop_ns: match share.end {
                End::At(end_ns) => end_ns.saturating_add(share.timeout_ns),
                End::Requests(_) => u64::MAX,
            },
            share,
        })
    }

    /// Runs until all requests are answered or given up.
    ///
    /// # Errors
    /// The kernel refuses to wait for events.
    pub fn run(mut self) -> io::Result<Outcome> {
        let began_ns = self.share.clock.now_ns();
        let cpu_began_ns = cpu::of_this_thread_ns();
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            let now_ns = self.share.clock.now_ns();
            self.fill(now_ns);
            if now_ns >= self.next_tick_ns {
                self.tick(now_ns);
                if self.is_finished(now_ns) {
                    break;
                }
            }
            let wait = self.wait(now_ns)?;
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                if event.token() != TIMER {
                    self.turn(event.token().0, event.is_read_closed());
                }
            }
            for _ in 0..self.again.len() {
                if let Some(index) = self.again.pop_front() {
                    self.turn(index, false);
                }
            }
        }
        self.outcome.dropped(self.share.schedule.dropped());
        if let End::At(end_ns) = self.share.end {
            self.outcome.until_ns = self.outcome.until_ns.max(end_ns);
        }
        self.outcome.cpu_ns = cpu::of_this_thread_ns().saturating_sub(cpu_began_ns);
        self.outcome.running_ns = self.share.clock.now_ns().saturating_sub(began_ns);
        Ok(self.outcome)
    }

    /// Gives free connections what is due.
    fn fill(&mut self, now_ns: u64) {
        while self.refused.front().is_some_and(|&(when_ns, _)| when_ns <= now_ns) {
            self.idle.extend(self.refused.pop_front().map(|(_, index)| index));
        }
        self.share.schedule.absorb(now_ns);
        // Each free connection once: one that fails at once comes back here.
        for _ in 0..self.idle.len() {
            let Some(since_ns) = self.share.schedule.next(now_ns) else { return };
            let Some(index) = self.idle.pop_front() else { return };
            self.start(index, since_ns, now_ns);
        }
    }

    fn start(&mut self, index: usize, since_ns: u64, now_ns: u64) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let exchange = Exchange::new(since_ns, now_ns, self.request);
        self.request = if self.request + 1 < self.share.target.requests.len() { self.request + 1 } else { 0 };
        self.outcome.connects += u64::from(connection.is_closed());
        let registry: &Registry = self.poll.registry();
        let turn = connection.start(exchange, self.share.target, registry, Token(index), &mut self.buffer);
        match turn {
            Turn::Wait => {}
            Turn::Again => self.read_again(index),
            Turn::Replied(exchange, reply) => {
                self.outcome.reply(exchange.since_ns, now_ns, reply);
                self.idle.push_back(index);
            }
            Turn::Failed(exchange, failure) => self.failed(index, exchange, failure, now_ns),
        }
    }

    /// An event of a connection. Events of a closed predecessor may still be
    /// in the batch: all that a connection does is harmless without cause.
    fn turn(&mut self, index: usize, peer_closed: bool) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        match connection.ready(self.share.target, &mut self.buffer, peer_closed) {
            Turn::Wait => {}
            Turn::Again => self.read_again(index),
            Turn::Replied(exchange, reply) => {
                let now_ns = self.share.clock.now_ns();
                self.outcome.reply(exchange.since_ns, now_ns, reply);
                match self.share.schedule.next(now_ns) {
                    Some(since_ns) => self.start(index, since_ns, now_ns),
                    None => self.idle.push_back(index),
                }
            }
            Turn::Failed(exchange, failure) => {
                let now_ns = self.share.clock.now_ns();
                self.failed(index, exchange, failure, now_ns);
            }
        }
    }

    /// An event may name a connection that is in the list already.
    fn read_again(&mut self, index: usize) {
        if !self.again.contains(&index) {
            self.again.push_back(index);
        }
    }

    fn failed(&mut self, index: usize, exchange: Exchange, failure: Failure, now_ns: u64) {
        let kind = match failure {
            Failure::Socket(kind, error) => {
                self.outcome.failure(exchange.since_ns, now_ns, kind, || error.to_string());
                kind
            }
            Failure::Reply(kind, words) => {
                self.outcome.failure(exchange.since_ns, now_ns, kind, || words.to_owned());
                kind
            }
        };
        if kind == ErrorKind::Connect {
            self.refused.push_back((now_ns + RECONNECT_NS, index));
        } else {
            self.idle.push_back(index);
        }
    }

    /// Gives up requests that take too long. All have the same timeout and
    /// one is noticed at the latest a tick late, so a plain scan is enough.
    fn tick(&mut self, now_ns: u64) {
        self.next_tick_ns = now_ns + self.tick_ns;
        let timeout_ns = self.share.timeout_ns;
        for (index, connection) in self.connections.iter_mut().enumerate() {
            let late = connection.exchange().is_some_and(|exchange| now_ns >= exchange.sent_ns + timeout_ns);
            if let Some(exchange) = if late { connection.give_up() } else { None } {
                self.outcome.failure(exchange.since_ns, now_ns, ErrorKind::Timeout, || "no reply".to_owned());
                self.idle.push_back(index);
            }
        }
        if now_ns >= self.stop_ns {
            self.share.schedule.abandon();
        }
        self.share.gauge.replies.store(self.outcome.all_replies, Ordering::Relaxed);
        self.share.gauge.errors.store(self.outcome.error_count(), Ordering::Relaxed);
    }

    /// Nothing to send, nothing under way. Requests that were due before the
    /// end are still sent and answered: a stall at the end is a latency too.
    fn is_finished(&self, now_ns: u64) -> bool {
        self.share.schedule.is_over(now_ns)
            && self.connections.iter().all(|connection| connection.exchange().is_none())
    }

    /// How long to wait for events. The wait of epoll counts milliseconds, so
    /// the instants of an open loop are left to a timer descriptor.
    fn wait(&mut self, now_ns: u64) -> io::Result<Duration> {
        let schedule = &self.share.schedule;
        let pressing = !self.idle.is_empty() && schedule.is_pressing(now_ns);
        if pressing || !self.again.is_empty() {
            return Ok(Duration::ZERO);
        }
        // Without work left, look at once whether the last reply has come.
        if schedule.is_over(now_ns) {
            self.next_tick_ns = now_ns;
        }
        let until_ns = now_ns + self.tick_ns;
        let upcoming_ns = match schedule.upcoming_ns() {
            Some(upcoming_ns) if !self.idle.is_empty() => upcoming_ns.min(until_ns),
            _ => until_ns,
        };
        if upcoming_ns <= now_ns {
            return Ok(Duration::ZERO);
        }
        if upcoming_ns < until_ns {
            let left_ns = upcoming_ns - now_ns;
            let it_value =
                Timespec { tv_sec: (left_ns / SECOND_NS) as i64, tv_nsec: (left_ns % SECOND_NS) as i64 };
            let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
            // Setting it again also clears the expiry that nobody read.
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value })?;
        }
        let refused_ns = self.refused.front().map_or(u64::MAX, |&(when_ns, _)| when_ns);
        Ok(Duration::from_nanos(until_ns.min(refused_ns).saturating_sub(now_ns)))
    }
}
