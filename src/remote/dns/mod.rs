//! The resolver: names of hosts into addresses, asked of the servers that `resolver` names.
//!
//! nginx's rules: A and AAAA are asked for together and both answers are awaited; an answer with an
//! error fails the name, and is not kept; one that makes no sense is mentioned and passed over, and
//! after five seconds the next server is asked; an answer that did not fit is asked for over TCP; an
//! alias is followed, at most fifty deep. Each question goes out from a port of its own.

mod exchange;
mod message;

pub use message::code_text;

use crate::bridge::errand::{Desk, Reply};
use crate::net::error_log::ErrorLog;
use exchange::{Outcome, ask};
use message::{Kind, Question};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Names that may be asked about at once, per `resolver`: each takes two sockets.
const FLYING_MAX: usize = 256;

/// Requests that may wait for one name; they cost nothing but their own memory, which shards bound.
const WAITING_MAX: usize = 64 * 1024;

/// Names that are kept, per `resolver`: at 300 bytes each a third of a megabyte.
const KEPT_MAX: usize = 1024;

/// Aliases that are followed: nginx's NGX_RESOLVER_MAX_RECURSION.
const ALIASES_MAX: usize = 50;

/// The code of a name that does not exist (RFC 1035, 4.1.1).
const NXDOMAIN: u8 = 3;

/// One `resolver`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The servers, at least one; they take turns.
    pub servers: Vec<SocketAddr>,
    /// `valid=`: how long an answer is kept, whatever it says.
    pub valid: Option<Duration>,
    /// IPv4 addresses are asked for.
    pub ipv4: bool,
    /// IPv6 addresses are asked for.
    pub ipv6: bool,
}

/// What a name came to.
pub type Answer = Result<Found, Failure>;

/// Addresses of a name.
#[derive(Clone, Debug)]
pub struct Found {
    /// At least one, IPv4 first.
    pub addresses: Arc<[IpAddr]>,
    /// How long they may be kept.
    pub until: Instant,
}

/// Why a name has no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A server says so; the code of its answer.
    Code(u8),
    /// Too many names are being asked about.
    Busy,
}

/// Answers the questions of one configuration about one `resolver`, until nobody can ask any more.
pub async fn serve(settings: Arc<Settings>, desk: Desk<Box<str>, Answer>, log: ErrorLog) {
    let resolver = Rc::new(Resolver {
        settings,
        log,
        kept: RefCell::default(),
        flying: RefCell::default(),
        turn: Cell::new(0),
        secret: RandomState::new(),
        asked: Cell::new(0),
    });
    while let Some(errand) = desk.next().await {
        resolver.clone().take(errand.question, errand.reply);
    }
}

/// The state of one `resolver`, on the control plane's thread.
struct Resolver {
    settings: Arc<Settings>,
    log: ErrorLog,
    kept: RefCell<HashMap<Box<str>, Kept>>,
    /// Who waits for the names that are being asked about.
    flying: RefCell<HashMap<Box<str>, Vec<Reply<Answer>>>>,
    /// The server that is asked next.
    turn: Cell<usize>,
    secret: RandomState,
    asked: Cell<u64>,
}

/// What is known of a name.
#[derive(Clone)]
struct Kept {
    meaning: Meaning,
    until: Instant,
}

#[derive(Clone)]
enum Meaning {
    Addresses(Arc<[IpAddr]>),
    Alias(Box<str>),
}

impl Resolver {
    /// Answers from what is known, waits with others for the same name, or begins to ask.
    fn take(self: Rc<Self>, name: Box<str>, reply: Reply<Answer>) {
        let mut flying = self.flying.borrow_mut();
        if let Some(waiting) = flying.get_mut(&name) {
            waiting.retain(Reply::is_awaited);
            match waiting.len() < WAITING_MAX {
                true => waiting.push(reply),
                false => reply.give(Err(Failure::Busy)),
            }
            return;
        }
        if flying.len() >= FLYING_MAX {
            return reply.give(Err(Failure::Busy));
        }
        flying.insert(name.clone(), vec![reply]);
        drop(flying);
        tokio::task::spawn_local(async move {
            let answer = self.look_up(&name).await;
            let waiting = self.flying.borrow_mut().remove(&name).unwrap_or_default();
            waiting.into_iter().for_each(|reply| reply.give(answer.clone()));
        });
    }

    /// Follows a name to its addresses.
    async fn look_up(&self, name: &str) -> Answer {
        let mut current: Box<str> = name.into();
        let mut valid_until: Option<Instant> = None;
        for _ in 0..=ALIASES_MAX {
            let Kept { meaning, until } = match self.known(&current) {
                Some(kept) => kept,
                None => self.ask_about(&current, name).await?,
            };
            let until = valid_until.map_or(until, |before| before.min(until));
            match meaning {
                Meaning::Addresses(addresses) => return Ok(Found { addresses, until }),
                Meaning::Alias(alias) => current = alias,
            }
            valid_until = Some(until);
        }
        Err(Failure::Code(NXDOMAIN))
    }

    fn known(&self, name: &str) -> Option<Kept> {
        self.kept.borrow().get(name).filter(|kept| kept.until > Instant::now()).cloned()
    }

    /// Asks for all kinds of addresses that are wanted. `wanted_for` is the name that requests wait for.
    async fn ask_about(&self, name: &str, wanted_for: &str) -> Result<Kept, Failure> {
        let first = self.turn.get() % self.settings.servers.len().max(1);
        self.turn.set(first + 1);
        let is_awaited = || {
            let flying = self.flying.borrow();
            flying.get(wanted_for).is_some_and(|waiting| waiting.iter().any(Reply::is_awaited))
        };
        let one = async |wanted: bool, kind| match wanted {
            true => {
                let question = Question { id: self.id(), name: name.into(), kind };
                ask(&self.settings.servers, first, &question, &self.log, &is_awaited).await
            }
            false => Outcome::default(),
        };
        let (v4, v6) = tokio::join!(one(self.settings.ipv4, Kind::A), one(self.settings.ipv6, Kind::Aaaa));
        if let Some(code) = v4.code.or(v6.code) {
            return Err(Failure::Code(code));
        }
        let ttl = Duration::from_secs(u64::from(v4.ttl_s.min(v6.ttl_s)));
        let addresses: Arc<[IpAddr]> = v4.addresses.into_iter().chain(v6.addresses).collect();
        let meaning = match (addresses.is_empty(), v4.alias.or(v6.alias)) {
            (false, _) => Meaning::Addresses(addresses),
            (true, Some(alias)) => Meaning::Alias(alias),
            (true, None) => return Err(Failure::Code(NXDOMAIN)),
        };
        let kept = Kept { meaning, until: Instant::now() + self.settings.valid.unwrap_or(ttl) };
        self.keep(name, kept.clone());
        Ok(kept)
    }

    fn keep(&self, name: &str, kept: Kept) {
        let mut all = self.kept.borrow_mut();
        if all.len() >= KEPT_MAX {
            let now = Instant::now();
            all.retain(|_, kept| kept.until > now);
        }
        if all.len() >= KEPT_MAX {
            // Nothing has run out: begin anew rather than look for the oldest each time.
            all.clear();
        }
        all.insert(name.into(), kept);
    }

    /// A number that nobody who did not see the question can guess.
    fn id(&self) -> u16 {
        let number = self.asked.get().wrapping_add(1);
        self.asked.set(number);
        let mut hasher = self.secret.build_hasher();
        hasher.write_u64(number);
        hasher.finish() as u16
    }
}
