//! The walk of a request:
//!
//! ```text
//! [PostRead -> ServerRewrite -> FindLocation -> Rewrite -> PreAccess -> Access -> Admit
//!   -> PreContent -> Content] -> deliver -> Log
//! ```

use super::aside;
use super::generation::Generation;
use crate::base::clock;
use crate::base::limits::{RELOCATIONS_MAX, SUBREQUEST_BODY_MAX, SUBREQUEST_DEPTH_MAX};
use crate::base::process_settings::Level;
use crate::http::{Framing, Known, Method, Version, status};
use crate::net::deadline::Elapsed;
use crate::pipeline::answer::{Answer, Body};
use crate::pipeline::body::{RequestBody, Source};
use crate::pipeline::browser::Browser;
use crate::pipeline::exchange::{Exchange, Recycled};
use crate::pipeline::file_path::FilePath;
use crate::pipeline::problem::{self, Problem, Problems};
use crate::pipeline::redirect;
use crate::pipeline::settings::{ErrorPage, Satisfy, ServerTokens};
use crate::pipeline::step::{Asked, Flow, PHASES, Phase, Relocation, Step, Subrequest};
use crate::plan::router::Destination;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

/// Leaves the phases with whatever is not `Flow::Next`.
macro_rules! stop_unless_next {
    ($flow:expr) => {
        match $flow {
            Flow::Next => {}
            other => return other,
        }
    };
}

/// What the walk does after a phase.
pub(super) enum Stop {
    /// The request is answered.
    Answer(Answer),
    /// It is another request now.
    Relocated(Start),
}

/// Where a request begins to walk.
#[derive(Clone, Copy)]
pub(super) enum Start {
    /// At the first phase.
    Top,
    /// At the server's rewrite phase: after an internal redirect.
    ServerRewrite,
    /// Where its location is looked for: after `rewrite` in a location.
    Search,
    /// In the location it was put in: after a move to a named one, or to a version.
    Location,
}

/// Walks a request to its answer. Errors leave through their error pages.
pub async fn run(g: &Rc<Generation>, x: &mut Exchange) -> Answer {
    walk(g, x, Start::Top).await
}

/// Answers with a status, through its error page where there is one.
pub async fn answer_status(g: &Rc<Generation>, x: &mut Exchange, status: u16) -> Answer {
    match stand_in(g, x, status) {
        Stop::Answer(answer) => answer,
        Stop::Relocated(start) => walk(g, x, start).await,
    }
}

async fn walk(g: &Rc<Generation>, x: &mut Exchange, mut start: Start) -> Answer {
    loop {
        let stop = match phases(g, x, start).await {
            Flow::Answer(Answer::Status(status)) => stand_in(g, x, status),
            Flow::Answer(answer) => Stop::Answer(answer),
            Flow::Relocate(relocation) => relocate(g, x, relocation),
            Flow::Search => search_again(g, x),
            Flow::Enter => Stop::Relocated(Start::Location),
            Flow::Refuse(status) => stand_in(g, x, status),
            // The phases end with an answer; nothing found is what nginx says then.
            Flow::Next | Flow::Grant | Flow::Identify | Flow::Pause(_) | Flow::Ask(_) | Flow::Aside(_) => {
                stand_in(g, x, 404)
            }
        };
        match stop {
            Stop::Answer(answer) => return answer,
            Stop::Relocated(from) => start = from,
        }
    }
}

async fn phases(g: &Rc<Generation>, x: &mut Exchange, start: Start) -> Flow {
    let first = match start {
        Start::Top => Phase::PostRead,
        Start::ServerRewrite => Phase::ServerRewrite,
        Start::Search | Start::Location => Phase::Rewrite,
    };
    for number in first as usize..PHASES {
        if number == Phase::Rewrite as usize && !matches!(start, Start::Location) {
            stop_unless_next!(find_location(g, x));
        }
        if number == Phase::Access as usize {
            x.cover();
        }
        // Most phases of most locations are empty.
        if x.here.settings.steps[number].is_empty() {
            continue;
        }
        stop_unless_next!(match number == Phase::Access as usize {
            true => access(g, x).await,
            false => phase(g, x, number).await,
        });
    }
    no_content(x)
}

/// Runs the steps of one phase.
async fn phase(g: &Rc<Generation>, x: &mut Exchange, number: usize) -> Flow {
    let here = x.here.clone();
    for step in &here.settings.steps[number] {
        match run_step(g, x, step).await {
            Flow::Next | Flow::Grant | Flow::Identify => {}
            other => return other,
        }
    }
    Flow::Next
}

/// Runs one step until it has come to something: what it asks for and waits for is done here.
async fn run_step(g: &Rc<Generation>, x: &mut Exchange, step: &Step) -> Flow {
    loop {
        let flow = match step {
            Step::Quick(step) => step.run(x),
            Step::Waiting(step) => step.run(x).await,
        };
        match flow {
            Flow::Ask(subrequest) => {
                let mut asked = ask(g, x, *subrequest).await;
                x.limits.take_over(std::mem::take(&mut asked.limits));
                x.asked = Some(asked);
            }
            Flow::Aside(requests) => {
                x.asked = None;
                for request in requests {
                    aside::begin(g, x, request);
                }
                return Flow::Next;
            }
            Flow::Pause(time) => {
                x.asked = None;
                return pause(x, time, Flow::Next).await;
            }
            other => {
                x.asked = None;
                return other;
            }
        }
    }
}

/// Runs the steps of Access and weighs them as `satisfy` says. What the gateway asks itself needs no
/// leave.
async fn access(g: &Rc<Generation>, x: &mut Exchange) -> Flow {
    let here = x.here.clone();
    let settings = &here.settings;
    let steps = settings.steps(Phase::Access);
    if steps.is_empty() || x.depth > 0 {
        return Flow::Next;
    }
    let any = settings.satisfy == Satisfy::Any;
    let mut refusal = None;
    let mut identified = false;
    for step in steps {
        match run_step(g, x, step).await {
            Flow::Next => {}
            Flow::Grant if any => {
                x.answer.fields.remove(Known::WwwAuthenticate);
                return Flow::Next;
            }
            Flow::Identify => identified = true,
            Flow::Grant => {}
            Flow::Refuse(401) => return unauthorized(x).await,
            Flow::Refuse(status) => return Flow::Answer(Answer::Status(status)),
            // A client that may identify itself is told so, whoever else refused it.
            Flow::Answer(Answer::Status(status @ (401 | 403))) if any => {
                if refusal != Some(401) {
                    refusal = Some(status);
                }
            }
            Flow::Answer(Answer::Status(401)) => return unauthorized(x).await,
            other => return other,
        }
    }
    if any && identified {
        x.answer.fields.remove(Known::WwwAuthenticate);
        return Flow::Next;
    }
    match refusal {
        None => Flow::Next,
        Some(401) => unauthorized(x).await,
        Some(status) => {
            x.log(Level::Error, format_args!("access forbidden by rule"));
            Flow::Answer(Answer::Status(status))
        }
    }
}

/// Answers with 401, after `auth_delay`.
async fn unauthorized(x: &mut Exchange) -> Flow {
    let refused = Flow::Answer(Answer::Status(401));
    let delay = x.here.settings.auth_delay;
    if delay.is_zero() {
        return refused;
    }
    x.log(Level::Info, format_args!("delaying unauthorized request"));
    pause(x, delay, refused).await
}

/// Goes on with `then` after `time`. A client that leaves meanwhile ends it.
fn pause<'a>(x: &'a mut Exchange, time: Duration, then: Flow) -> Pin<Box<dyn Future<Output = Flow> + 'a>> {
    Box::pin(async move {
        let until = clock::now() + time;
        if let Some(client) = x.watch() {
            match x.alarm.within(until, client.stirs()).await {
                Err(Elapsed) => return then,
                Ok(()) if client.is_gone() => {
                    x.log(Level::Info, format_args!("client prematurely closed connection"));
                    x.keep_alive = false;
                    return Flow::Answer(Answer::Status(499));
                }
                // A body, or the next request: the client cannot be watched any more.
                Ok(()) => {}
            }
        }
        let _ = x.alarm.within(until, std::future::pending::<()>()).await;
        then
    })
}

/// Where the request belongs, and whether it may be there.
pub(super) fn find_location(g: &Rc<Generation>, x: &mut Exchange) -> Flow {
    let server = &g.plan.servers[x.server];
    let destination = match server.router.find(x) {
        Ok(destination) => destination,
        Err(status) => return Flow::Answer(Answer::Status(status)),
    };
    let id = match destination {
        Destination::Nowhere => server.own,
        Destination::Location(id)
        | Destination::Slash(id)
        | Destination::Ambiguous(id)
        | Destination::NoMethod(id, _) => id,
    };
    x.enter(g.here(id));
    let settings = &x.here.settings;
    if settings.internal && !x.internal {
        return Flow::Answer(Answer::Status(404));
    }
    if let Framing::Length(length) = x.head.framing {
        let limit = settings.client_max_body_size;
        // One that was refused is not refused once more on the way to the page that says so.
        let refused = matches!(x.body, RequestBody::Consumed);
        if limit > 0 && length > limit && x.depth == 0 && !refused {
            x.log(Level::Error, format_args!("client intended to send too large body: {length} bytes"));
            x.body = RequestBody::Consumed;
            return Flow::Answer(Answer::Status(413));
        }
    }
    match destination {
        Destination::Location(_) | Destination::Nowhere => Flow::Next,
        Destination::Slash(_) => {
            let path = [settings.name.as_bytes()].concat();
            slash_redirect(x, &path)
        }
        Destination::Ambiguous(_) => {
            x.log(
                Level::Info,
                format_args!("client sent a path with an encoded separator or dot segment to a route"),
            );
            Flow::Answer(Answer::Status(400))
        }
        Destination::NoMethod(_, template) => {
            let allow = server.router.routes().map_or(&b""[..], |routes| routes.allow(template));
            x.answer.clear();
            x.answer.fields.push(b"Allow", allow);
            Flow::Answer(Answer::Status(405))
        }
    }
}

/// Sends the client to the location's name with its slash.
fn slash_redirect(x: &mut Exchange, path: &[u8]) -> Flow {
    let mut escaped = Vec::with_capacity(path.len() + x.args.len() + 1);
    crate::http::uri::escape(crate::http::uri::Escape::Uri, path, &mut escaped);
    if !x.args.is_empty() {
        escaped.push(b'?');
        escaped.extend_from_slice(&x.args);
    }
    let mut location = Vec::new();
    redirect::location(x, &escaped, &mut location);
    x.answer.clear();
    x.answer.fields.push_known(Known::Location, b"Location", &location);
    Flow::Answer(Answer::Status(301))
}

/// Nothing in the location answers: nginx's words for a directory and for the rest.
pub(super) fn no_content(x: &mut Exchange) -> Flow {
    if x.uri.ends_with(b"/") {
        return Flow::Answer(Answer::Status(match FilePath::of(x) {
            Ok(path) => {
                x.log(Level::Error, format_args!("directory index of \"{}\" is forbidden", path.shown()));
                403
            }
            Err(status) => status,
        }));
    }
    Flow::Answer(Answer::Status(404))
}

/// Looks for the location of a rewritten path, within bounds.
pub(super) fn search_again(g: &Rc<Generation>, x: &mut Exchange) -> Stop {
    x.relocations += 1;
    if x.relocations > RELOCATIONS_MAX {
        let uri = String::from_utf8_lossy(&x.uri).into_owned();
        return cycle(g, x, format_args!("processing \"{uri}\""));
    }
    x.here = g.here(g.plan.servers[x.server].own).clone();
    Stop::Relocated(Start::Search)
}

/// The request went round too often.
fn cycle(g: &Rc<Generation>, x: &mut Exchange, doing: std::fmt::Arguments<'_>) -> Stop {
    x.log(Level::Error, format_args!("rewrite or internal redirection cycle while {doing}"));
    stand_in(g, x, 500)
}

/// Makes it another request inside, within bounds.
pub(super) fn relocate(g: &Rc<Generation>, x: &mut Exchange, relocation: Relocation) -> Stop {
    x.relocations += 1;
    if x.relocations > RELOCATIONS_MAX {
        return match &relocation {
            Relocation::Uri { uri, .. } => {
                let uri = String::from_utf8_lossy(uri);
                cycle(g, x, format_args!("internally redirecting to \"{uri}\""))
            }
            Relocation::Named(name) => cycle(g, x, format_args!("redirect to named location \"@{name}\"")),
        };
    }
    match relocation {
        Relocation::Uri { uri, args } => {
            x.relocate(&uri, args.as_deref());
            x.enter(g.here(g.plan.servers[x.server].own));
            Stop::Relocated(Start::ServerRewrite)
        }
        Relocation::Named(name) => {
            let Some(&id) = g.plan.servers[x.server].named.get(&name) else {
                x.log(Level::Error, format_args!("could not find named location \"@{name}\""));
                return stand_in(g, x, 500);
            };
            x.enter(g.here(id));
            // The path stays what it is, and the client's spelling of it holds.
            x.internal = true;
            Stop::Relocated(Start::Location)
        }
    }
}

/// Runs what `post_action` names, once the answer is sent: another request inside, whose own answer
/// nobody gets. Where it leads to a location with a `post_action` that is run too, within the bound of
/// relocations.
pub async fn post_action(g: &Rc<Generation>, x: &mut Exchange) {
    while let Some(target) = x.here.settings.post_action.clone()
        && x.relocations <= RELOCATIONS_MAX
    {
        x.is_post_action = true;
        let relocation = match target.strip_prefix('@') {
            Some(name) => Relocation::Named(name.into()),
            None => Relocation::Uri { uri: target.as_bytes().to_vec(), args: Some(Vec::new()) },
        };
        if let Stop::Relocated(start) = relocate(g, x, relocation) {
            walk(g, x, start).await;
        }
        if let Some(mut upstream) = x.upstream_body.take() {
            upstream.settle();
        }
        x.end_upload();
    }
}

/// What stands in for a bare status: the `error_page` for it, else the built-in page.
pub(super) fn stand_in(g: &Rc<Generation>, x: &mut Exchange, status: u16) -> Stop {
    x.cover();
    // These end the connection, as in nginx: what follows on it cannot be told apart, or the
    // client is to come back another way.
    if matches!(status, 400 | 408 | 413 | 414 | 494..=497 | 499..=501) {
        x.keep_alive = false;
    }
    // Nobody is there to answer, or nginx does not answer: the log alone tells.
    if matches!(status, 408 | 444 | 499) || x.client_gone {
        x.answer.clear();
        x.answer.status = status;
        return Stop::Answer(Answer::Close);
    }
    let here = x.here.clone();
    let mut wanted = None;
    let pages = &here.settings.error_pages;
    if !pages.is_empty() && !x.in_error_page && x.relocations <= RELOCATIONS_MAX {
        // As in nginx: an error for which there is no page takes the turn too.
        x.in_error_page = !here.settings.recursive_error_pages;
        wanted = pages.iter().find(|page| page.statuses.contains(&status));
    }
    let Some(error_page) = wanted else {
        // This one is what the client gets, not the error whose page it may have come up in.
        x.error_status = None;
        let refresh = if matches!(status, 301 | 302) { refresh(x) } else { None };
        return Stop::Answer(refresh.unwrap_or_else(|| page(x, status)));
    };
    x.error_status = match error_page.overwrite {
        None => Some(status),
        Some(0) => None,
        Some(overwrite) => Some(overwrite),
    };
    serve_error_page(g, x, error_page)
}

fn serve_error_page(g: &Rc<Generation>, x: &mut Exchange, error_page: &ErrorPage) -> Stop {
    let target = error_page.target.value(x);
    match target.first() {
        Some(b'/') => {
            let (path, args) = match target.iter().position(|b| *b == b'?') {
                Some(at) => (target[..at].to_vec(), Some(target[at + 1..].to_vec())),
                None => (target, Some(Vec::new())),
            };
            x.become_get();
            relocate(g, x, Relocation::Uri { uri: path, args })
        }
        Some(b'@') => {
            let name = String::from_utf8_lossy(&target[1..]).into_owned();
            relocate(g, x, Relocation::Named(name.into()))
        }
        _ => {
            // A URL: the client is sent there.
            let redirect =
                x.error_status.take().filter(|s| matches!(s, 301 | 302 | 303 | 307 | 308)).unwrap_or(302);
            x.answer.clear();
            x.answer.fields.push_known(Known::Location, b"Location", &target);
            Stop::Answer(refresh(x).unwrap_or_else(|| page(x, redirect)))
        }
    }
}

/// The page that sends MSIE on, in place of a redirect, where `msie_refresh` wants it.
fn refresh(x: &mut Exchange) -> Option<Answer> {
    if !x.here.settings.msie_refresh || !Browser::of(x).msie {
        return None;
    }
    let mut body = Vec::new();
    let mut own = Vec::new();
    redirect::location(x, b"/", &mut own);
    own.pop();
    // A path is named as it was written: the page's own address completes it.
    let location = x.answer.fields.find(Known::Location)?;
    let path = location.strip_prefix(own.as_slice()).filter(|path| path.starts_with(b"/"));
    status::refresh_page(path.unwrap_or(location), &mut body);
    x.answer.fields.remove(Known::Location);
    x.answer.status = 200;
    x.answer.reason.clear();
    x.answer.content_type.clear();
    x.answer.content_type.extend_from_slice(b"text/html");
    x.answer.length = Some(body.len() as u64);
    Some(Answer::Ready(Body::Bytes(body)))
}

/// The built-in page for a status. Fields that the step has put into the answer stay.
fn page(x: &mut Exchange, status: u16) -> Answer {
    let problem = x.problem.take();
    if status >= 400 && x.here.settings.problems == Problems::Auto {
        x.answer.fields.push_known(Known::Vary, b"Vary", b"Accept");
    }
    if status >= 400 && problem::is_wanted(x) {
        return object(x, status, problem.as_deref());
    }
    let token = match x.here.settings.server_tokens {
        ServerTokens::Off => crate::SERVER,
        ServerTokens::On | ServerTokens::Build => crate::SERVER_VERSION,
    };
    let mut body = Vec::new();
    let has_page = status::error_page(status, token, &mut body);
    // What the client is told is logged, too.
    let status = status::sent(status);
    if has_page && status >= 400 && x.here.settings.msie_padding && x.version() >= Version::Http10 {
        let browser = Browser::of(x);
        if browser.msie || browser.chrome {
            status::padding(&mut body);
        }
    }
    if let Some(problem) = problem {
        problem::tell(&problem, &mut body);
    }
    x.answer.status = status;
    x.answer.reason.clear();
    x.answer.content_type.clear();
    if has_page {
        x.answer.content_type.extend_from_slice(b"text/html");
    }
    x.answer.length = Some(body.len() as u64);
    Answer::Ready(Body::Bytes(body))
}

/// An error as an object that programs can read.
fn object(x: &mut Exchange, status: u16, problem: Option<&Problem>) -> Answer {
    let body = problem::object(status::sent(status), problem).into_bytes();
    x.answer.status = status;
    x.answer.reason.clear();
    x.answer.content_type.clear();
    x.answer.content_type.extend_from_slice(b"application/problem+json");
    x.answer.length = Some(body.len() as u64);
    Answer::Ready(Body::Bytes(body))
}

/// Runs a subrequest to its end and keeps what came of it.
fn ask<'a>(
    g: &'a Rc<Generation>,
    x: &'a Exchange,
    asked: Subrequest,
) -> Pin<Box<dyn Future<Output = Asked> + 'a>> {
    Box::pin(async move {
        if x.depth >= SUBREQUEST_DEPTH_MAX {
            x.log(
                Level::Error,
                format_args!(
                    "subrequests cycle while processing \"{}\"",
                    String::from_utf8_lossy(&asked.uri)
                ),
            );
            let mut refused = Asked::default();
            refused.head.status = 500;
            refused.limits = x.limits.said();
            return refused;
        }
        let mut sub = subrequest(g, x, asked);
        let answer = run(g, &mut sub).await;
        let mut result = Asked::default();
        if let Answer::Ready(body) = answer {
            result.body = collect(&mut sub, body).await;
        }
        end_embedded(x, &sub);
        std::mem::swap(&mut result.head, &mut sub.answer);
        std::mem::swap(&mut result.limits, &mut sub.limits);
        result
    })
}

/// Writes the lines of a request that is over.
pub fn log(x: &mut Exchange) {
    x.cover();
    write_lines(x);
}

fn write_lines(x: &Exchange) {
    let here = x.here.clone();
    for step in &here.settings.log_steps {
        step.log(x);
    }
}

/// The exchange of a request that the gateway makes to itself on behalf of a client's.
pub(super) fn subrequest(g: &Rc<Generation>, x: &Exchange, asked: Subrequest) -> Recycled {
    let own = g.here(g.plan.servers[x.server].own);
    let mut sub = Recycled::take(&x.connection, &g.locals, own);
    sub.input = crate::base::buffer::Buffer::with_capacity(x.input.len());
    sub.input.append(x.input.filled());
    sub.head = x.head.clone();
    sub.head.method = Method::Get;
    sub.head.framing = Framing::None;
    sub.host.clone_from(&x.host);
    sub.real.set(x.real.get());
    sub.server = x.server;
    sub.uri = asked.uri;
    sub.args = asked.args;
    sub.internal = true;
    sub.uri_is_original = false;
    sub.depth = x.depth + 1;
    sub.caller.copy(&x.caller);
    sub.limits = x.limits.said();
    sub.source = Source::None;
    sub.body = RequestBody::Memory(Vec::new());
    // As in nginx, its variables are those of the request that asks.
    sub.values.swap(&x.values);
    sub
}

/// A request whose answer becomes a part of the client's: its exchange, and the answer's body.
pub(super) async fn embedded(g: &Rc<Generation>, x: &Exchange, asked: Subrequest) -> (Recycled, Answer) {
    let mut sub = subrequest(g, x, asked);
    let answer = run(g, &mut sub).await;
    (sub, answer)
}

/// Ends a subrequest: it is logged where that is wanted, and gives back the variables and the client,
/// whom it may have found out.
pub(super) fn end_embedded(x: &Exchange, sub: &Exchange) {
    if sub.here.settings.log_subrequest {
        write_lines(sub);
    }
    x.values.swap(&sub.values);
    x.real.set(sub.real.get());
}

/// Ends what nobody waits for: the first bytes of an answer are read, so that a short one leaves its
/// upstream's connection for the next.
pub(super) async fn forget(sub: &mut Exchange, answer: Answer) {
    if let Answer::Ready(body @ Body::Upstream) = answer {
        collect(sub, body).await;
    }
}

/// The first bytes of a subrequest's body; the rest is not read.
async fn collect(x: &mut Exchange, body: Body) -> Vec<u8> {
    let mut kept = Vec::new();
    match body {
        Body::None | Body::Tunnel => {}
        Body::Bytes(bytes) => kept = bytes,
        Body::File(mut file) => {
            while let (true, Ok(Some(piece))) = (kept.len() < SUBREQUEST_BODY_MAX, file.next().await) {
                kept.extend_from_slice(piece.filled());
            }
        }
        Body::Upstream => {
            let Some(mut upstream) = x.upstream_body.take() else { return kept };
            while let (true, Ok(Some(piece))) =
                (kept.len() < SUBREQUEST_BODY_MAX, upstream.next(&mut x.alarm).await)
            {
                kept.extend_from_slice(piece.filled());
            }
        }
    }
    kept.truncate(SUBREQUEST_BODY_MAX);
    kept
}
