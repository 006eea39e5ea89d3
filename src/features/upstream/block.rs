//! One `upstream {}` block.

use super::address::Authority;
use super::method::{Chosen, Selector};
use super::sticky::{self, Sticky};
use super::zone;
use crate::conf::{Diagnostic, Directive, Scope, Word, value};
use crate::plan::builder::Builder;
use crate::upstream::group::{Group, Keepalive, PeerSettings};
use std::sync::Arc;
use std::time::Duration;

/// The port of a server that names none.
const DEFAULT_PORT: u16 = 80;

/// Parameters of `server` that nginx has and Octroi has not, with the reason; those with a value end
/// with `=`.
const REFUSED: &[(&str, &str)] = &[
    ("resolve", "names are resolved when the configuration is read"),
    ("service=", "discovery of upstreams is not built yet"),
    ("slow_start=", "this way of balancing is not built yet"),
];

/// Compiles the block, whose scope and directive these are. Its lines are read in order, as what a
/// `server` may be depends on the method named before it.
///
/// # Errors
/// What nginx refuses, in its words; and what is not built.
pub fn compile(
    scope: &Scope<'_>,
    block: &Directive,
    name: &Word,
    b: &mut Builder<'_>,
) -> Result<(Group, Selector), Diagnostic> {
    let mut peers = Vec::new();
    let mut chosen = Chosen::default();
    let mut sticks: Option<Sticky> = None;
    for line in scope.body() {
        match line.name.text.as_str() {
            "server" => server(scope, line, &chosen, b, &mut peers)?,
            "zone" => zone::declare(scope, line, b)?,
            "sticky" => sticks = Some(Sticky::compile(scope, line, b)?),
            _ => chosen.read(scope, line, b)?,
        }
    }
    if peers.is_empty() {
        return Err(scope.error(block, "no servers are inside upstream"));
    }
    if peers.iter().all(|peer| peer.backup) {
        return Err(scope.error_at(block, name, format!("no servers in upstream \"{}\"", name.text)));
    }
    let sticks = sticks.map(|sticky| Arc::new(sticky.over(&mut peers)));
    let (method, keepalive) = (chosen.method(scope, &peers)?, keepalive(scope)?);
    let is_shared = scope.here("zone").next().is_some();
    Ok((
        Group { method, keepalive, is_shared, ..Group::new(&name.text, peers) },
        Selector { key: chosen.key, sticky: sticks },
    ))
}

/// One `server` line: a peer for each of its addresses.
fn server(
    scope: &Scope<'_>,
    line: &Directive,
    chosen: &Chosen<'_>,
    b: &Builder<'_>,
    peers: &mut Vec<PeerSettings>,
) -> Result<(), Diagnostic> {
    let Some((word, parameters)) = line.args.split_first() else { return Ok(()) };
    let unspecified = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
    let mut settings = PeerSettings::new(crate::base::address::Address::Ip(unspecified));
    settings.server = word.text.as_str().into();
    for parameter in parameters {
        let text = parameter.text.as_str();
        if text == "backup" && !chosen.knows_backups() {
            let message = format!("balancing method does not support parameter \"{text}\"");
            return Err(scope.error_at(line, parameter, message));
        }
        if let Some(route) = text.strip_prefix("route=") {
            settings.sid = Some(sticky::route(route).map_err(|what| scope.error_at(line, parameter, what))?);
            continue;
        }
        if !apply(&mut settings, text) {
            return Err(scope.error_at(line, parameter, refusal(text)));
        }
    }
    let wrong = |what: &str| scope.error_at(line, word, format!("{what} in upstream \"{}\"", word.text));
    for address in
        Authority::parse(&word.text).and_then(|found| found.resolve(b, DEFAULT_PORT)).map_err(wrong)?
    {
        let label = address.to_string().into();
        peers.push(PeerSettings { address, label, ..settings.clone() });
    }
    Ok(())
}

/// Applies a parameter; false when there is none such, or its value is wrong.
fn apply(settings: &mut PeerSettings, parameter: &str) -> bool {
    // More than a counter of 32 bits can reach is as good as all it can.
    let count = |text: &str| value::number(text).map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    match parameter.split_once('=') {
        None if parameter == "backup" => settings.backup = true,
        None if parameter == "down" => (settings.down, settings.drain) = (true, false),
        None if parameter == "drain" => (settings.down, settings.drain) = (true, true),
        Some(("weight", text)) => match count(text) {
            Some(weight) if weight > 0 => settings.weight = weight,
            _ => return false,
        },
        Some(("max_conns", text)) => match count(text) {
            Some(most) => settings.max_conns = most,
            None => return false,
        },
        Some(("max_fails", text)) => match count(text) {
            Some(most) => settings.max_fails = most,
            None => return false,
        },
        Some(("fail_timeout", text)) => match value::time_s(text) {
            Some(seconds) => settings.fail_timeout = Duration::from_secs(seconds),
            None => return false,
        },
        _ => return false,
    }
    true
}

/// The message for a parameter that was not applied.
fn refusal(parameter: &str) -> String {
    let known = |name: &str| match name.ends_with('=') {
        true => parameter.starts_with(name),
        false => parameter == name,
    };
    match REFUSED.iter().find(|(name, _)| known(name)) {
        Some((name, reason)) => {
            format!("parameter \"{}\" is not supported by Octroi ({reason})", name.trim_end_matches('='))
        }
        None => format!("invalid parameter \"{parameter}\""),
    }
}

fn keepalive(scope: &Scope<'_>) -> Result<Keepalive, Diagnostic> {
    let mut keepalive = Keepalive::default();
    if let Some(line) = scope.here("keepalive").next() {
        if let Some(word) = line.args.first() {
            let connections = value::number(&word.text).ok_or_else(|| {
                let message = format!("invalid value \"{}\" in \"keepalive\" directive", word.text);
                scope.error_at(line, word, message)
            })?;
            keepalive.connections = usize::try_from(connections).unwrap_or(usize::MAX);
        }
        keepalive.local = match line.args.get(1) {
            None => false,
            Some(word) if word.text == "local" => true,
            Some(word) => {
                return Err(scope.error_at(line, word, format!("invalid parameter \"{}\"", word.text)));
            }
        };
    }
    let time =
        |name, default: Duration| scope.time_ms(name, default.as_millis() as u64).map(Duration::from_millis);
    keepalive.requests = scope.number("keepalive_requests", keepalive.requests)?;
    keepalive.time = time("keepalive_time", keepalive.time)?;
    keepalive.timeout = time("keepalive_timeout", keepalive.timeout)?;
    Ok(keepalive)
}
