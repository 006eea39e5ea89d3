//! `set_real_ip_from` and its companions: whom a trusted proxy says it speaks for is the client, for
//! all that comes after: access, limits, variables, logs.
//!
//! As in nginx a request is looked at twice, when its server is known and when its location is, and
//! the first time that a trusted proxy names somebody counts. What is said holds for the request and
//! all that happens inside of it, subrequests and internal redirects, and ends with it.

use crate::base::cidr::Cidr;
use crate::conf::{Arity, Context, Diagnostic, DirectiveSpec as D, Inherit, Scope, Word};
use crate::http::Known;
use crate::pipeline::connection::push_ip;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::forwarded::{self, Trusted};
use crate::pipeline::step::{Flow, Phase, QuickStep};
use crate::pipeline::variable::VariableSpec;
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end, nothing};
use std::net::SocketAddr;
use std::sync::Arc;

const HSL: Context = Context::HTTP.or(Context::SERVER).or(Context::LOCATION);

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "realip",
    module: Some("http_realip"),
    directives: &[
        D::new(
            "set_real_ip_from",
            HSL,
            Arity::Exactly(1),
            "address | CIDR | unix:",
            "",
            "Proxies that may say on whose behalf they ask: a network, a host's name (looked up when the configuration is read), or all that come over a Unix socket.",
        )
        .inherit(Inherit::Together),
        D::new(
            "real_ip_header",
            HSL,
            Arity::Exactly(1),
            "field | X-Real-IP | X-Forwarded-For | proxy_protocol",
            "X-Real-IP",
            "Where a trusted proxy says it: a field of the request, or the header of the PROXY protocol.",
        ),
        D::new(
            "real_ip_recursive",
            HSL,
            Arity::Flag,
            "on | off",
            "off",
            "Whether the client is the last address that is no trusted proxy's (on), or the last one (off).",
        ),
    ],
    variables: &[
        VariableSpec {
            name: "realip_remote_addr",
            family: false,
            eval: original_address,
            doc: "The address that the connection came from, whoever is the client.",
        },
        VariableSpec {
            name: "realip_remote_port",
            family: false,
            eval: original_port,
            doc: "The port that the connection came from, whoever is the client.",
        },
    ],
    http: nothing,
    location,
    end: no_end,
};

/// The step of a location.
#[derive(Clone)]
struct RealIp {
    trusted: Arc<Trusted>,
    said_in: SaidIn,
    recursive: bool,
}

/// Where a proxy names the client.
#[derive(Clone)]
enum SaidIn {
    /// In the first field of this name.
    Field(Box<[u8]>),
    /// In all fields X-Forwarded-For together.
    ForwardedFor,
    /// In the header of the PROXY protocol.
    ProxyProtocol,
}

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    for line in scope.here("set_real_ip_from") {
        let low_bits = |word: &&Word| Cidr::parse(&word.text).is_some_and(|(_, low)| low);
        if let Some(word) = line.args.first().filter(low_bits) {
            let message = format!("low address bits of {} are meaningless", word.text);
            b.warn(scope.warning(line, message));
        }
    }
    let mut trusted = Trusted::default();
    for word in scope.all("set_real_ip_from").iter().filter_map(|line| line.args.first()) {
        if word.text == "unix:" {
            trusted.unix = true;
        } else if let Some((network, _)) = Cidr::parse(&word.text) {
            trusted.networks.push(network);
        } else {
            let found = b.resolve(&word.text);
            let found = found
                .map_err(|what| b.error(word, format!("{what} in set_real_ip_from \"{}\"", word.text)))?;
            trusted.networks.extend(found.into_iter().map(Cidr::host));
        }
    }
    if trusted.networks.is_empty() && !trusted.unix {
        return Ok(());
    }
    let said_in = match scope.one("real_ip_header").and_then(|line| line.arg(0)) {
        Some("X-Forwarded-For") => SaidIn::ForwardedFor,
        Some("proxy_protocol") => SaidIn::ProxyProtocol,
        Some(name) => SaidIn::Field(name.as_bytes().into()),
        None => SaidIn::Field(b"X-Real-IP".as_slice().into()),
    };
    let recursive = scope.flag("real_ip_recursive", false)?;
    let step = RealIp { trusted: Arc::new(trusted), said_in, recursive };
    b.quick(Phase::PostRead, step.clone());
    b.quick(Phase::PreAccess, step);
    Ok(())
}

impl QuickStep for RealIp {
    fn run(&self, x: &mut Exchange) -> Flow {
        if x.real.get().is_none()
            && let Some(client) = self.client(x)
        {
            x.real.set(Some(client));
        }
        Flow::Next
    }
}

impl RealIp {
    /// Whom the other end of the connection speaks for; `None` if it may not say, or does not.
    fn client(&self, x: &Exchange) -> Option<SocketAddr> {
        let (from, buffer) = (x.connection.accepted_from, x.input.filled());
        let follow = |values: &mut dyn Iterator<Item = &[u8]>| {
            forwarded::client(from, values, &self.trusted, self.recursive)
        };
        match &self.said_in {
            SaidIn::Field(name) => {
                let field = x.head.fields.find_name(buffer, name)?;
                follow(&mut [field.value.of(buffer)].into_iter())
            }
            SaidIn::ForwardedFor => {
                let fields = x.head.fields.list.iter().rev();
                let mut named = fields.filter(|field| field.known == Known::XForwardedFor);
                follow(&mut named.by_ref().map(|field| field.value.of(buffer)))
            }
            SaidIn::ProxyProtocol => {
                let header = x.connection.proxied.get()?;
                let client = follow(&mut [header.source.as_bytes()].into_iter())?;
                Some(SocketAddr::new(client.ip(), header.source_port))
            }
        }
    }
}

fn original_address(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    match x.connection.accepted_from {
        Some(address) => push_ip(out, address.ip()),
        None => out.extend_from_slice(b"unix:"),
    }
    true
}

fn original_port(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    if let Some(address) = x.connection.accepted_from {
        crate::pipeline::connection::push_decimal(out, u64::from(address.port()));
    }
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::features::testing::{Bench, message};

    fn steps(text: &str, location: &str) -> usize {
        let text = format!("http {{ server {{ listen 8080; {text} }} }}");
        let plan = Bench::new(&text, &[&FEATURE]).plan().unwrap();
        let found = plan.locations.iter().find(|found| found.name == location).unwrap();
        found.steps(Phase::PreAccess).len()
    }

    #[test]
    fn a_step_only_where_somebody_is_trusted() {
        let text = "real_ip_header X-Forwarded-For; location /a { set_real_ip_from 127.0.0.1; real_ip_recursive on; }";
        assert_eq!((steps(text, ""), steps(text, "/a")), (0, 1));
        let text =
            "set_real_ip_from ::/0; set_real_ip_from unix:; location /a { real_ip_header proxy_protocol; }";
        assert_eq!((steps(text, ""), steps(text, "/a")), (1, 1));
    }

    #[test]
    fn errors_are_nginxs() {
        let wrong = |text: &str| {
            let text = format!("http {{ server {{ listen 8080; {text} }} }}");
            message(Bench::new(&text, &[&FEATURE]).plan())
        };
        assert_eq!(
            wrong("set_real_ip_from nowhere.invalid;"),
            "host not found in set_real_ip_from \"nowhere.invalid\""
        );
        assert_eq!(
            wrong("set_real_ip_from 10.0.0.0/33;"),
            "host not found in set_real_ip_from \"10.0.0.0/33\""
        );
    }
}
