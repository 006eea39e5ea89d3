//! The directives that say how a peer is chosen, and what a method goes by in a request.

use super::sticky::Sticky;
use crate::conf::{Diagnostic, Directive, Scope, Word};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::template::Template;
use crate::plan::builder::Builder;
use crate::upstream::balance::{Balancer, Method, Ring, Tried};
use crate::upstream::group::PeerSettings;
use std::sync::Arc;

/// What of a request decides about its peer.
#[derive(Clone, Default)]
pub struct Selector {
    pub(super) key: Key,
    /// `sticky`
    pub sticky: Option<Arc<Sticky>>,
}

/// What a method goes by.
#[derive(Clone, Default)]
pub(super) enum Key {
    /// Nothing.
    #[default]
    None,
    /// The client's address.
    Address,
    /// The key of `hash`.
    Text(Arc<Template>),
}

impl Selector {
    /// The beginning of a request's search for a peer of this balancer.
    pub fn begin(&self, x: &Exchange, balancer: &Balancer) -> Tried {
        let mut tried = match &self.key {
            Key::None => Tried::default(),
            Key::Address => Tried::by_address(x.peer().map(|peer| peer.ip())),
            Key::Text(key) => Tried::by_key(key.value(x)),
        };
        if let Some(sticky) = &self.sticky {
            sticky.prefer(x, balancer, &mut tried);
        }
        tried
    }
}

/// What the lines of a block have said so far.
#[derive(Default)]
pub(super) struct Chosen<'t> {
    line: Option<&'t Directive>,
    kind: Kind,
    /// The key of `hash`.
    pub(super) key: Key,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Kind {
    #[default]
    RoundRobin,
    LeastConn,
    IpHash,
    Hash,
    Consistent,
    Random,
    RandomOfTwo,
}

impl<'t> Chosen<'t> {
    /// Reads a line of the block if it names a method.
    pub(super) fn read(
        &mut self,
        scope: &Scope<'_>,
        line: &'t Directive,
        b: &mut Builder<'_>,
    ) -> Result<(), Diagnostic> {
        let invalid =
            |word: &Word| scope.error_at(line, word, format!("invalid parameter \"{}\"", word.text));
        let (kind, key) = match line.name.text.as_str() {
            "least_conn" => (Kind::LeastConn, Key::None),
            "ip_hash" => (Kind::IpHash, Key::Address),
            "hash" => {
                let Some((text, options)) = line.args.split_first() else { return Ok(()) };
                let kind = match options.first() {
                    None => Kind::Hash,
                    Some(word) if word.text == "consistent" => Kind::Consistent,
                    Some(word) => return Err(invalid(word)),
                };
                (kind, Key::Text(Arc::new(b.template(text)?)))
            }
            "random" => {
                if let Some(word) = line.args.first().filter(|word| word.text != "two") {
                    return Err(invalid(word));
                }
                match line.args.get(1) {
                    Some(word) if word.text.starts_with("least_time") => {
                        let message = "parameter \"least_time\" is not supported by Octroi (choosing of two by time is not built yet)";
                        return Err(scope.error_at(line, word, message));
                    }
                    Some(word) if word.text != "least_conn" => return Err(invalid(word)),
                    _ => {}
                }
                (if line.args.is_empty() { Kind::Random } else { Kind::RandomOfTwo }, Key::None)
            }
            _ => return Ok(()),
        };
        if self.line.is_some() {
            b.warn(scope.warning(line, "load balancing method redefined"));
        }
        (self.line, self.kind, self.key) = (Some(line), kind, key);
        Ok(())
    }

    /// Whether servers in lines that follow may be backups.
    pub(super) fn knows_backups(&self) -> bool {
        matches!(self.kind, Kind::RoundRobin | Kind::LeastConn)
    }

    /// The method for these peers.
    ///
    /// # Errors
    /// Weights that would make a ring too large.
    pub(super) fn method(&self, scope: &Scope<'_>, peers: &[PeerSettings]) -> Result<Method, Diagnostic> {
        Ok(match self.kind {
            Kind::RoundRobin => Method::RoundRobin,
            Kind::LeastConn => Method::LeastConn,
            Kind::IpHash => Method::IpHash,
            Kind::Hash => Method::Hash,
            Kind::Random => Method::Random { of_two: false },
            Kind::RandomOfTwo => Method::Random { of_two: true },
            Kind::Consistent => match (Ring::fits(peers), self.line) {
                (false, Some(line)) => {
                    let message = format!(
                        "the weights of all servers are more than {} together, too many for a consistent hash",
                        Ring::WEIGHT_MAX
                    );
                    return Err(scope.error(line, message));
                }
                _ => Method::consistent(peers),
            },
        })
    }
}
