//! A request that is walked through for somebody who wants to know what becomes of it: nothing is sent,
//! no other host is asked, and each step says what it decides.

use super::generation::Generation;
use super::request::{begin, head_limits, refused_head};
use super::walk::{self, Start, Stop};
use crate::base::address::Address;
use crate::base::clock;
use crate::bridge::zone::Zones;
use crate::conf::Place;
use crate::http::{Parsed, status};
use crate::net::deadline::Alarm;
use crate::net::error_log::ErrorLog;
use crate::net::sockets::Logs;
use crate::net::tls::handshake::Facts;
use crate::pipeline::answer::{Answer, Body};
use crate::pipeline::connection::Connection;
use crate::pipeline::exchange::{Exchange, Recycled};
use crate::pipeline::local::ShardFacts;
use crate::pipeline::settings::Satisfy;
use crate::pipeline::step::{Flow, PHASES, Phase, Relocation, Step};
use crate::plan::{LocationId, Plan};
use std::cell::Cell;
use std::fmt::Write;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How long one step may take: those that are run wait for a disk or a hash at most.
const STEP_TIME: Duration = Duration::from_secs(10);

/// Bytes of an answer's body that are shown.
const BODY_SHOWN: usize = 400;

/// The phases' names, as directives and documents use them.
const NAMES: [&str; PHASES] =
    ["post-read", "server-rewrite", "rewrite", "pre-access", "access", "admit", "pre-content", "content"];

/// A request to be explained.
pub struct Question {
    /// Its head, as a client would send it.
    pub head: Vec<u8>,
    /// At which of the plan's sockets it comes in,
    pub site: usize,
    /// by which address,
    pub local: Address,
    /// and from where.
    pub from: SocketAddr,
}

/// What tells where a part of the configuration is written.
pub type Where<'w> = &'w dyn Fn(Option<Place>) -> String;

/// What was found out, line by line, and how the error log is read.
struct Told<'t> {
    text: String,
    written: Where<'t>,
    log: &'t mut dyn FnMut() -> String,
}

impl Told<'_> {
    /// A line with its subject in front.
    fn line(&mut self, subject: &str, text: &str) {
        for (at, line) in text.lines().enumerate() {
            let subject = if at == 0 { subject } else { "" };
            let _ = writeln!(self.text, "{}", format!("{subject:<14} {line}").trim_end());
        }
    }

    /// What the error log has got meanwhile.
    fn log(&mut self) {
        let said = (self.log)();
        for line in said.lines() {
            // Without the time and the process: the message alone.
            let message = line.split_once("*1 ").map_or(line, |(_, message)| message);
            let message = message.split(", client: ").next().unwrap_or(message);
            self.line("", &format!("  log: {message}"));
        }
    }
}

/// Walks through the request and tells what is found.
pub async fn explain(
    plan: Arc<Plan>,
    logs: &Logs,
    question: Question,
    written: Where<'_>,
    log: &mut dyn FnMut() -> String,
) -> String {
    let mut told = Told { text: String::new(), written, log };
    let zones = Zones::default().renewed(&plan.zones).unwrap_or_default();
    let facts = ShardFacts { shard: 0, shards: 1, logs, zones: &zones };
    let generation = Rc::new(Generation::new(plan, &facts, ErrorLog::new(Vec::new())));
    let g = &generation;
    let names = g.plan.sites[question.site].names_at(&question.local);
    let first = g.plan.servers[names.default_server].own;
    let connection = Rc::new(connection(&question));
    let mut x = Recycled::take(&connection, &g.locals, g.here(first));
    x.alarm = Alarm::new(clock::now() + STEP_TIME);
    x.input = crate::base::buffer::Buffer::with_capacity(question.head.len().max(1));
    x.input.append(&question.head);
    let limits = head_limits(&g.here(first).settings.server);
    let begun = match read(&mut x, &limits) {
        Err(status) => Err(status),
        Ok(()) => {
            let host = String::from_utf8_lossy(x.head.host_name.of(x.input.filled())).to_ascii_lowercase();
            if names.tls {
                let known = names.known(host.as_bytes()).is_some();
                let _ = connection.tls.set(Rc::new(Facts::assumed(&host, known)));
            }
            begin(g, question.site, &mut x, None)
        }
    };
    server(g, &x, question.site, &question.local, &mut told);
    told.log();
    match begun {
        Ok(()) => walked(g, &mut x, &mut told).await,
        Err(status) => {
            told.line("request", &format!("is refused with {status}"));
            match walk::stand_in(g, &mut x, status) {
                Stop::Answer(answer) => answered(&mut x, answer, &mut told),
                Stop::Relocated(_) => told.line("answer", &format!("{status}, by an error_page")),
            }
        }
    }
    told.text
}

fn connection(question: &Question) -> Connection {
    Connection {
        stream: Default::default(),
        tls: Default::default(),
        nodelay: Default::default(),
        number: 1,
        accepted_from: Some(question.from),
        proxied: Default::default(),
        local: question.local.clone(),
        started: clock::now(),
        requests: Cell::new(1),
        generation: Default::default(),
        life: Default::default(),
        http2: Default::default(),
    }
}

fn read(x: &mut Exchange, limits: &crate::http::HeadLimits) -> Result<(), u16> {
    match x.head.parse(x.input.filled(), limits) {
        Ok(Parsed::Complete) => Ok(()),
        Ok(Parsed::Partial) => Err(400),
        Err(fault) => Err(refused_head(x, fault)),
    }
}

/// Which server takes the request, and why the others of its address do not.
fn server(g: &Generation, x: &Exchange, site: usize, local: &Address, told: &mut Told<'_>) {
    let names = g.plan.sites[site].names_at(local);
    let shown = |server: usize| {
        let settings = &g.here(g.plan.servers[server].own).settings;
        let name = match settings.server.name.as_str() {
            "" => "\"\"",
            name => name,
        };
        format!("{name} {}", (told.written)(settings.place))
    };
    let host = String::from_utf8_lossy(&x.host).into_owned();
    let why = match names.known(&x.host) {
        Some(_) => "has the name",
        None => "is the default server of the address, where none has the name",
    };
    let chosen = format!("{}: {why} \"{host}\"", shown(x.server));
    let others: Vec<String> = names
        .servers()
        .into_iter()
        .filter(|other| *other != x.server)
        .map(|other| format!("  not {}: has another name", shown(other)))
        .collect();
    told.line("server", &chosen);
    told.line("", &others.join("\n"));
}

/// The phases, and what errors lead to.
async fn walked(g: &Rc<Generation>, x: &mut Exchange, told: &mut Told<'_>) {
    let mut start = Start::Top;
    loop {
        let stop = match phases(g, x, start, told).await {
            None => return,
            Some(Flow::Answer(Answer::Status(code))) => {
                let stop = walk::stand_in(g, x, code);
                if let Stop::Relocated(_) = stop {
                    let to = String::from_utf8_lossy(&x.uri).into_owned();
                    told.line("goes on", &format!("inside, by the error_page for {code}, to {to}"));
                }
                stop
            }
            Some(Flow::Answer(answer)) => Stop::Answer(answer),
            Some(Flow::Relocate(relocation)) => {
                match &relocation {
                    Relocation::Uri { uri, .. } => {
                        told.line("goes on", &format!("inside, to {}", String::from_utf8_lossy(uri)));
                    }
                    Relocation::Named(name) => told.line("goes on", &format!("inside, to @{name}")),
                }
                walk::relocate(g, x, relocation)
            }
            Some(Flow::Search) => walk::search_again(g, x),
            Some(Flow::Enter) => Stop::Relocated(Start::Location),
            Some(_) => walk::stand_in(g, x, 404),
        };
        told.log();
        match stop {
            Stop::Answer(answer) => return answered(x, answer, told),
            Stop::Relocated(from) => start = from,
        }
    }
}

/// Runs the phases; `None` when another host would have to be asked.
async fn phases(g: &Rc<Generation>, x: &mut Exchange, start: Start, told: &mut Told<'_>) -> Option<Flow> {
    let first = match start {
        Start::Top => Phase::PostRead,
        Start::ServerRewrite => Phase::ServerRewrite,
        Start::Search | Start::Location => Phase::Rewrite,
    };
    for number in first as usize..PHASES {
        if number == Phase::Rewrite as usize {
            let flow = match start {
                Start::Location => Flow::Next,
                _ => walk::find_location(g, x),
            };
            location(g, x, told);
            told.log();
            if !matches!(flow, Flow::Next) {
                return Some(flow);
            }
        }
        match phase(x, number, told).await {
            None => return None,
            Some(Flow::Next) => {}
            Some(other) => return Some(other),
        }
    }
    Some(walk::no_content(x))
}

async fn phase(x: &mut Exchange, number: usize, told: &mut Told<'_>) -> Option<Flow> {
    let here = x.here.clone();
    let settings = &here.settings;
    let weighs = number == Phase::Access as usize;
    if weighs {
        x.cover();
    }
    let any = weighs && settings.satisfy == Satisfy::Any;
    let (mut refusal, mut identified) = (None, false);
    for (step, name) in settings.steps[number].iter().zip(&settings.step_names[number]) {
        let flow = match run(x, step, NAMES[number], name, told).await {
            Ok(flow) => flow,
            Err(Elsewhere) => return None,
        };
        let verdict = verdict(&flow);
        let phase = NAMES[number];
        told.line(phase, &format!("{name}: {verdict}"));
        told.log();
        match flow {
            Flow::Answer(Answer::Status(status @ (401 | 403))) if any => {
                refusal = Some(if refusal == Some(401) { 401 } else { status });
            }
            Flow::Grant | Flow::Ask(_) if any => {
                told.line("", "  satisfy any: that is enough");
                return Some(Flow::Next);
            }
            Flow::Identify => identified = true,
            Flow::Refuse(status) => return Some(Flow::Answer(Answer::Status(status))),
            Flow::Next | Flow::Grant | Flow::Pause(_) | Flow::Ask(_) | Flow::Aside(_) => {}
            other => return Some(other),
        }
    }
    if any && identified {
        told.line("", "  satisfy any: that is enough");
        return Some(Flow::Next);
    }
    Some(refusal.map_or(Flow::Next, |status| Flow::Answer(Answer::Status(status))))
}

/// The answer would come from another host.
struct Elsewhere;

async fn run(
    x: &mut Exchange,
    step: &Step,
    phase: &str,
    name: &str,
    told: &mut Told<'_>,
) -> Result<Flow, Elsewhere> {
    match step {
        Step::Quick(step) => Ok(step.run(x)),
        Step::Waiting(step) => {
            if let Some(preview) = step.preview(x) {
                told.line(phase, &format!("{name}: passes the request on to"));
                told.line("", &preview.lines().map(|line| format!("  {line}\n")).collect::<String>());
                told.log();
                told.line("answer", "is the upstream's");
                return Err(Elsewhere);
            }
            let until = clock::now() + STEP_TIME;
            let mut timer = Alarm::new(until);
            match timer.within(until, step.run(x)).await {
                Ok(flow) => Ok(flow),
                Err(_) => {
                    told.line(phase, &format!("{name}: cannot be known here: it waits for something else"));
                    Err(Elsewhere)
                }
            }
        }
    }
}

fn verdict(flow: &Flow) -> String {
    match flow {
        Flow::Next => "goes on".to_owned(),
        Flow::Grant => "grants".to_owned(),
        Flow::Identify => "grants, by a credential".to_owned(),
        Flow::Refuse(status) => format!("refuses with {status}"),
        Flow::Pause(time) => format!("goes on, after {} ms", time.as_millis()),
        Flow::Ask(asked) => format!(
            "asks {} inside, whose answer decides; taken here as if it granted",
            String::from_utf8_lossy(&asked.uri)
        ),
        Flow::Aside(_) => "goes on, and sends a copy elsewhere".to_owned(),
        Flow::Answer(Answer::Status(status)) => format!("answers with {status}"),
        Flow::Answer(_) => "answers".to_owned(),
        Flow::Relocate(_) => "sends it on inside".to_owned(),
        Flow::Search => "has changed the path".to_owned(),
        Flow::Enter => "chooses a level within".to_owned(),
    }
}

/// Where the request is, and why nowhere else.
fn location(g: &Generation, x: &Exchange, told: &mut Told<'_>) {
    let settings = x.here.settings.clone();
    let server = &g.plan.servers[x.server];
    let router = &server.router;
    let found = g.plan.locations.iter().position(|other| Arc::ptr_eq(other, &settings));
    let is_route = |id: LocationId| router.routes().is_some_and(|routes| routes.is_route(id));
    let written = told.written;
    let shown = |id: LocationId| {
        let settings = &g.here(id).settings;
        let name = settings.name.clone();
        let kind = if is_route(id) { "route " } else { "location " };
        let line = format!("{kind}{}{name} {}", router.modifier(id), written(settings.place));
        (name, line)
    };
    let is_inner = |id: &LocationId| g.plan.locations.iter().any(|outer| outer.inner.contains(id));
    if let Some(id) = found.filter(is_inner) {
        told.line("", &format!("  within it, {}", written(g.here(id).settings.place)));
        return;
    }
    match found.filter(|found| *found != server.own) {
        Some(id) => told.line("location", &shown(id).1),
        None => told.line("location", "none: the server itself"),
    }
    let path = String::from_utf8_lossy(&x.uri).into_owned();
    told.line("", &format!("  path {path}"));
    if let Some(id) = found.filter(|id| is_route(*id)) {
        for (name, place) in router.routes().into_iter().flat_map(|routes| routes.parameters(id)) {
            let value = x.values.at(place).unwrap_or_default();
            told.line("", &format!("  $route_{name} = {}", String::from_utf8_lossy(&value)));
        }
    }
    for other in router.others(x, found, &shown) {
        told.line("", &format!("  not {other}"));
    }
}

/// What the client gets from the gateway itself.
fn answered(x: &mut Exchange, answer: Answer, told: &mut Told<'_>) {
    let body = match answer {
        Answer::Ready(body) => body,
        Answer::Close | Answer::Status(_) => return told.line("answer", "none: the connection is closed"),
    };
    if let Some(status) = x.error_status {
        x.answer.status = status;
    }
    let here = x.here.clone();
    here.settings.header_filters.iter().for_each(|filter| filter.filter(x));
    let code = x.answer.status;
    told.line("answer", &format!("{code} {}", status::reason(code).unwrap_or_default()));
    if !x.answer.content_type.is_empty() {
        told.line("", &format!("  Content-Type: {}", String::from_utf8_lossy(&x.answer.content_type)));
    }
    for (name, value, _) in x.answer.fields.iter() {
        told.line("", &format!("  {}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value)));
    }
    match body {
        Body::Bytes(bytes) if !bytes.is_empty() => {
            let shown = String::from_utf8_lossy(bytes.get(..BODY_SHOWN).unwrap_or(&bytes)).into_owned();
            told.line("", &shown.lines().map(|line| format!("  | {line}\n")).collect::<String>());
        }
        Body::File(_) => told.line("", "  a file"),
        _ => {}
    }
}
