//! What `proxy_pass` would do with a request, for `octroi explain`.

use super::compile::{Whom, read_variable};
use super::request::{self, Outgoing, Resolved};
use super::settings::{ProxySettings, Target};
use crate::base::clock;
use crate::pipeline::exchange::Exchange;
use crate::upstream::balance::Tried;
use crate::upstream::client::Members;

/// Whom it would ask, and the head of what it would send.
pub fn preview(settings: &ProxySettings, x: &mut Exchange) -> String {
    x.proxy_host.clear();
    let (whom, resolved) = match &settings.target {
        Target::Fixed { members, host, .. } => {
            x.proxy_host.extend_from_slice(host);
            let slots = members;
            let members = slots.members(&x.locals);
            let tried = slots.selector.begin(x, &members.balancer);
            (shown(&members, tried), None)
        }
        Target::Variable { url, groups, .. } => {
            let url = url.value(x);
            match read_variable(&url, groups, x) {
                Ok((Whom::Known(members, tried), resolved)) => (shown(&members, tried), Some(resolved)),
                Ok((Whom::Host { name, port }, resolved)) => (
                    format!("upstream {name}, port {port}, whose addresses are not looked up here"),
                    Some(resolved),
                ),
                Err(status) => {
                    let url = String::from_utf8_lossy(&url).into_owned();
                    return format!("{status}: \"{url}\" is no URL to pass a request on to");
                }
            }
        }
    };
    let sent = head(settings, x, resolved.as_ref());
    format!("{whom}\n{sent}")
}

/// The group, its servers, and which of them would be asked first by a shard that has just started.
fn shown(members: &Members, mut tried: Tried) -> String {
    const SHOWN_MAX: usize = 16;
    let peers = &members.group.peers;
    let labels: Vec<&str> = peers.iter().take(SHOWN_MAX).map(|peer| &*peer.label).collect();
    let more = if peers.len() > SHOWN_MAX { ", ..." } else { "" };
    let first = members.balancer.pick(&mut tried, clock::now()).and_then(|at| peers.get(at));
    let first = first.map_or("none of them can be asked".to_owned(), |peer| format!("first {}", peer.label));
    format!("upstream {}: {first}, of {}{more}", members.group.name, labels.join(", "))
}

fn head(settings: &ProxySettings, x: &mut Exchange, resolved: Option<&Resolved>) -> String {
    let Some(outgoing) = Outgoing::of(settings, x) else {
        return "500: \"proxy_method\" is no method".to_owned();
    };
    let mut head = Vec::new();
    if !request::write(settings, x, &outgoing, resolved, &mut head) {
        return "500: the request would have no path".to_owned();
    }
    String::from_utf8_lossy(&head).trim_end().replace('\r', "")
}
