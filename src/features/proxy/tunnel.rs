//! `tunnel_pass` (ngx_http_tunnel_module): a client that asks for it with CONNECT (RFC 9110, 9.3.6) gets a
//! connection to the server it names, or to another, and what both say passes as it is.

use super::attempt::{look_up, no_live_upstreams};
use super::bind::Bind;
use super::compile::{members, named_groups};
use super::connect;
use super::outcome::note;
use super::retry::{Failure, NextUpstream};
use super::settings::MemberSlots;
use crate::base::address::Address;
use crate::base::buffer::Buffer;
use crate::base::clock;
use crate::base::process_settings::Level;
use crate::conf::{Arity, Context, Diagnostic, DirectiveSpec as D, Inherit, Scope};
use crate::features::resolver::{self, ResolverRef};
use crate::features::upstream::{self, Named};
use crate::http::Method;
use crate::net::h1_body::Frame;
use crate::pipeline::answer::{Answer, Body};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::passing::Passing;
use crate::pipeline::step::{Flow, Phase, WaitingStep};
use crate::pipeline::template::Template;
use crate::pipeline::trace::Attempt;
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end};
use crate::upstream::balance::{Tried, Verdict};
use crate::upstream::client::{Hold, Members, UpstreamBody};
use crate::upstream::pool::Kept;
use ahash::AHashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const HSL: Context = Context::HTTP.or(Context::SERVER).or(Context::LOCATION);
const ONE: Arity = Arity::Exactly(1);

/// Where a tunnel leads unless something else is said.
const ASKED_FOR: &str = "$host:$request_port";

/// The feature.
pub const TUNNEL: Feature = Feature {
    name: "tunnel",
    module: Some("http_tunnel"),
    directives: DIRECTIVES,
    variables: &[],
    http: look_for_faults,
    location,
    end: no_end,
};

const DIRECTIVES: &[D] = &[
    D::new(
        "tunnel_pass",
        Context::SERVER.or(Context::LOCATION).or(Context::IF_IN_LOCATION),
        Arity::Between(0, 1),
        "[address]",
        "$host:$request_port",
        "Makes tunnels for CONNECT: to the server that is asked for, to this address, or to an upstream's servers; variables are allowed. Whoever may ask reaches whatever the gateway reaches: say who may (allow, auth_basic), and which names and ports (map, if).",
    )
    .inherit(Inherit::Answers),
    D::new("tunnel_connect_timeout", HSL, ONE, "time", "60s", "How long connecting may take."),
    D::new("tunnel_send_timeout", HSL, ONE, "time", "60s", "How long the server may take nothing of what is sent to it."),
    D::new("tunnel_read_timeout", HSL, ONE, "time", "60s", "How long a tunnel may be silent in both directions."),
    D::new("tunnel_bind", HSL, Arity::Between(1, 2), "address [transparent] | off", "", "The address that connections come from; variables are allowed. With transparent it need not be this host's."),
    D::new("tunnel_socket_keepalive", HSL, Arity::Flag, "on | off", "off", "Whether these connections have TCP keepalive (SO_KEEPALIVE)."),
    D::new("tunnel_socket_rcvbuf", HSL, ONE, "size", "", "The size of the kernel's buffer for what a server sends (SO_RCVBUF); 0 leaves it to the system."),
    D::new("tunnel_socket_sndbuf", HSL, ONE, "size", "", "The same for what is sent to it (SO_SNDBUF)."),
    D::new("tunnel_next_upstream", HSL, Arity::AtLeast(1), "error | timeout | off ...", "error timeout", "When the next server, or the next address of a name, is tried."),
    D::new("tunnel_next_upstream_tries", HSL, ONE, "number", "0", "How many are tried; 0 for all."),
    D::new("tunnel_next_upstream_timeout", HSL, ONE, "time", "0", "For how long another may be tried; 0 for any time."),
    D::new("tunnel_buffer_size", HSL, ONE, "size", "4k|8k", "The size of a buffer of nginx's.")
        .accepted("what passes through a tunnel is read into buffers of 4 KB that all connections share"),
    D::new("tunnel_send_lowat", HSL, ONE, "size", "0", "An option of sockets on FreeBSD.")
        .accepted("Linux has no such option"),
];

/// What tunnels of one location are made with.
struct Tunnel {
    target: Target,
    connect_timeout: Duration,
    send_timeout: Duration,
    read_timeout: Duration,
    sockets: connect::Options,
    bind: Option<Bind>,
    next: NextUpstream,
}

/// Where they lead.
enum Target {
    /// To a group known when the configuration is read.
    Fixed(MemberSlots),
    /// To an address with variables.
    Variable {
        address: Template,
        /// The `upstream {}` blocks it may name; filled when all are known.
        groups: Arc<OnceLock<AHashMap<Box<str>, MemberSlots>>>,
        /// Who is asked for the addresses of other names, if anybody.
        resolver: Option<ResolverRef>,
    },
}

/// A level without `tunnel_pass` may still hold wrong values.
fn look_for_faults(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let nowhere = Target::Variable { address: Template::default(), groups: Arc::default(), resolver: None };
    match scope.body().iter().any(|directive| directive.name.text.starts_with("tunnel_")) {
        true => settings(scope, nowhere, b).map(drop),
        false => Ok(()),
    }
}

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let Some(pass) = scope.one("tunnel_pass") else { return look_for_faults(scope, b) };
    let word = pass.args.first();
    let text = word.map_or(ASKED_FOR, |word| word.text.as_str());
    let word = word.unwrap_or(&pass.name);
    let target = if text.contains('$') {
        let address = b.template_of(text, word)?;
        let resolver = resolver::of_location(scope, b)?;
        Target::Variable { address, groups: named_groups(b), resolver }
    } else {
        // As in nginx there is no usual port.
        if upstream::group(b, text).is_none()
            && upstream::named(text, 0).is_ok_and(|named| has_no_port(&named))
        {
            return Err(scope.error_at(pass, word, format!("no port in upstream \"{text}\"")));
        }
        let found = upstream::target(b, text, 0, word)?;
        Target::Fixed(members(&found, b))
    };
    let tunnel = settings(scope, target, b)?;
    b.settings().passes = true;
    b.allow_connect();
    b.waiting(Phase::Content, tunnel);
    Ok(())
}

fn settings(scope: &Scope<'_>, target: Target, b: &mut Builder<'_>) -> Result<Tunnel, Diagnostic> {
    let time = |name| scope.time_ms(name, 60_000).map(Duration::from_millis);
    Ok(Tunnel {
        target,
        connect_timeout: time("tunnel_connect_timeout")?,
        send_timeout: time("tunnel_send_timeout")?,
        read_timeout: time("tunnel_read_timeout")?,
        sockets: connect::Options::compile(
            scope,
            ["tunnel_socket_keepalive", "tunnel_socket_rcvbuf", "tunnel_socket_sndbuf"],
        )?,
        bind: Bind::compile(scope, "tunnel_bind", b)?,
        next: NextUpstream::for_tunnels(scope)?,
    })
}

impl WaitingStep for Tunnel {
    fn run<'a>(&'a self, x: &'a mut Exchange) -> Pin<Box<dyn Future<Output = Flow> + 'a>> {
        Box::pin(async move {
            if x.method() != Method::Connect {
                return Flow::Answer(Answer::Status(405));
            }
            match self.open(x).await {
                Ok(()) => Flow::Answer(Answer::Ready(Body::Tunnel)),
                Err(status) => Flow::Answer(Answer::Status(status)),
            }
        })
    }
}

impl Tunnel {
    /// Opens a connection, and makes it what the answer leads to.
    async fn open(&self, x: &mut Exchange) -> Result<(), u16> {
        x.upstream.begin_group();
        x.proxy_scheme = "";
        x.upstream_uri.clear();
        let (members, mut tried) = self.resolve(x).await?;
        let balancer = &members.balancer;
        let begun = clock::now();
        let mut left = self.next.tries(balancer.tries());
        loop {
            let Some(peer) = balancer.pick(&mut tried, clock::now()) else {
                return Err(no_live_upstreams(&members, x));
            };
            left = left.saturating_sub(1);
            let mut hold = Hold::new(balancer.clone(), peer);
            let failure = match self.attempt(x, &members, peer).await {
                Ok(kept) => {
                    hold.judge(Verdict::Good);
                    self.answer(x, kept, hold);
                    return Ok(());
                }
                Err(failure) => failure,
            };
            hold.judge(Verdict::Failed);
            drop(hold);
            if balancer.is_disabled(peer, clock::now()) {
                let message = "upstream server temporarily disabled while connecting to upstream";
                x.log(Level::Warn, format_args!("{message}"));
            }
            note(x, failure.status());
            // Nothing was sent, so anything may be tried again.
            if left == 0 || !self.next.allows(failure, Method::Connect, false, true, begun) {
                return Err(failure.status());
            }
        }
    }

    /// Where this request leads.
    async fn resolve(&self, x: &mut Exchange) -> Result<(Members, Tried), u16> {
        let (address, groups, resolver) = match &self.target {
            Target::Fixed(slots) => return Ok(begin(slots, x)),
            Target::Variable { address, groups, resolver } => (address.value(x), groups, resolver),
        };
        let text = String::from_utf8_lossy(&address);
        let known = groups.get().and_then(|all| all.get(text.to_ascii_lowercase().as_str()));
        if let Some(slots) = known {
            return Ok(begin(slots, x));
        }
        let failed = |x: &Exchange, what: &str| {
            x.log(Level::Info, format_args!("{what} in upstream \"{text}\""));
            500
        };
        match upstream::named(&text, 0) {
            Ok(named) if has_no_port(&named) => Err(failed(x, "no port")),
            Ok(Named::Address(address)) => {
                Ok((Members::of_addresses(&text, std::iter::once(address)), Tried::default()))
            }
            Ok(Named::Host { name, port }) => {
                Ok((look_up(resolver.as_ref(), x, name, port, false).await?, Tried::default()))
            }
            Err(what) => Err(failed(x, what)),
        }
    }

    async fn attempt(&self, x: &mut Exchange, members: &Members, peer: usize) -> Result<Kept, Failure> {
        let settings = &members.group.peers[peer];
        x.upstream.attempts.push(Attempt::begin(settings.label.clone(), clock::now()));
        let deadline = clock::now() + self.connect_timeout;
        let stream = connect::open(x, &settings.address, self.bind.as_ref(), self.sockets, deadline).await?;
        if let Some(attempt) = x.upstream.last_mut() {
            let ms = attempt.elapsed_ms(clock::now());
            (attempt.connect_ms, attempt.header_ms) = (Some(ms), Some(ms));
        }
        Ok(Kept { stream, requests: 1, opened: clock::now() })
    }

    fn answer(&self, x: &mut Exchange, kept: Kept, hold: Hold) {
        x.answer.clear();
        x.answer.status = 200;
        x.passing = Passing::default();
        x.passing.tunnel_send_timeout = Some(self.send_timeout);
        let (nothing, timeout) = (Buffer::default(), self.read_timeout);
        x.upstream_body = Some(UpstreamBody::new(kept, nothing, Frame::UntilClose, timeout, hold, None));
    }
}

fn has_no_port(named: &Named<'_>) -> bool {
    match named {
        Named::Address(Address::Ip(ip)) => ip.port() == 0,
        Named::Address(Address::Unix(_)) => false,
        Named::Host { port, .. } => *port == 0,
    }
}

fn begin(slots: &MemberSlots, x: &Exchange) -> (Members, Tried) {
    let members = slots.members(&x.locals);
    let tried = slots.selector.begin(x, &members.balancer);
    (members, tried)
}
