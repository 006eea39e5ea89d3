//! `allow` and `deny`: who may come in, by address. The first rule that names the client decides.

use crate::base::cidr::Cidr;
use crate::base::process_settings::Level;
use crate::conf::{Arity, Context, Diagnostic, Directive, DirectiveSpec as D, Inherit, Scope};
use crate::pipeline::answer::Answer;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::settings::Satisfy;
use crate::pipeline::step::{Flow, Phase, QuickStep};
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const CONTEXTS: Context = Context::HTTP.or(Context::SERVER).or(Context::LOCATION).or(Context::LIMIT_EXCEPT);

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "access",
    module: Some("http_access"),
    directives: &[
        D::new(
            "allow",
            CONTEXTS,
            Arity::Exactly(1),
            "address | CIDR | unix: | all",
            "",
            "Lets clients of this address or network in. Of a level's allow and deny, the first that names the client decides.",
        )
        .inherit(Inherit::Together),
        D::new(
            "deny",
            CONTEXTS,
            Arity::Exactly(1),
            "address | CIDR | unix: | all",
            "",
            "Answers clients of this address or network with 403.",
        )
        .inherit(Inherit::Together),
    ],
    variables: &[],
    http: |scope, b| Access::compile(scope, b).map(drop),
    location,
    end: no_end,
};

/// The rules of one location, in order. An IPv4 address in IPv6's form is judged by the rules of IPv4
/// where there are any.
#[derive(Default)]
struct Access {
    v4: Vec<Rule<u32>>,
    v6: Vec<Rule<u128>>,
    /// Whether the first rule for Unix sockets is `deny`.
    unix: Option<bool>,
}

/// One rule: a network by its address and mask.
#[derive(Debug, PartialEq)]
struct Rule<Bits> {
    network: Bits,
    mask: Bits,
    deny: bool,
}

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let access = Access::compile(scope, b)?;
    if !access.v4.is_empty() || !access.v6.is_empty() || access.unix.is_some() {
        b.quick(Phase::Access, access);
    }
    Ok(())
}

impl Access {
    fn compile(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<Access, Diagnostic> {
        let mut access = Access::default();
        for line in lines(scope) {
            access.add(scope, line, b)?;
        }
        Ok(access)
    }

    fn add(&mut self, scope: &Scope<'_>, line: &Directive, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
        let deny = line.name.text == "deny";
        let Some(word) = line.args.first() else { return Ok(()) };
        match word.text.as_str() {
            "all" => {
                self.v4.push(Rule { network: 0, mask: 0, deny });
                self.v6.push(Rule { network: 0, mask: 0, deny });
                self.unix.get_or_insert(deny);
            }
            "unix:" => {
                self.unix.get_or_insert(deny);
            }
            text => {
                let (network, low_bits) = Cidr::parse(text)
                    .ok_or_else(|| scope.error_at(line, word, format!("invalid parameter \"{text}\"")))?;
                if low_bits {
                    let message = format!("low address bits of {text} are meaningless");
                    b.warn(scope.warning(line, message));
                }
                match network {
                    Cidr::V4(network, mask) => self.v4.push(Rule { network, mask, deny }),
                    Cidr::V6(network, mask) => self.v6.push(Rule { network, mask, deny }),
                }
            }
        }
        Ok(())
    }

    /// Whether the client is denied; `None` when no rule names it.
    fn denies(&self, client: Option<IpAddr>) -> Option<bool> {
        match client {
            None => self.unix,
            Some(IpAddr::V4(ip)) => self.denies_v4(ip),
            Some(IpAddr::V6(ip)) => match ip.to_ipv4_mapped() {
                Some(inner) if !self.v4.is_empty() => self.denies_v4(inner),
                _ => self.denies_v6(ip),
            },
        }
    }

    fn denies_v4(&self, ip: Ipv4Addr) -> Option<bool> {
        self.v4.iter().find(|rule| ip.to_bits() & rule.mask == rule.network).map(|rule| rule.deny)
    }

    fn denies_v6(&self, ip: Ipv6Addr) -> Option<bool> {
        self.v6.iter().find(|rule| ip.to_bits() & rule.mask == rule.network).map(|rule| rule.deny)
    }
}

/// The rules that hold here: those of the nearest level that has any of either kind.
fn lines<'t>(scope: &Scope<'t>) -> Vec<&'t Directive> {
    let mut level = Some(scope.clone());
    while let Some(scope) = level {
        let rules = scope.body().iter().filter(|line| matches!(line.name.text.as_str(), "allow" | "deny"));
        let rules: Vec<&Directive> = rules.collect();
        if !rules.is_empty() {
            return rules;
        }
        level = scope.parent();
    }
    Vec::new()
}

impl QuickStep for Access {
    fn run(&self, x: &mut Exchange) -> Flow {
        match self.denies(x.peer().map(|peer| peer.ip())) {
            None => Flow::Next,
            Some(false) => Flow::Grant,
            Some(true) => {
                // Under `satisfy any` this is known only when all have been asked.
                if x.here.settings.satisfy == Satisfy::All {
                    x.log(Level::Error, format_args!("access forbidden by rule"));
                }
                Flow::Answer(Answer::Status(403))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::features::testing::{Bench, message};

    /// The verdicts on some clients: `-` where no rule names them.
    fn verdicts(rules: &str, clients: &[&str]) -> String {
        let bench = Bench::new(&format!("http {{ {rules} }}"), &[&FEATURE]);
        let access = bench.level(|http, b| Access::compile(http, b).unwrap());
        let verdict = |client: &&str| match access.denies(client.parse().ok()) {
            None => '-',
            Some(true) => 'x',
            Some(false) => 'o',
        };
        clients.iter().map(verdict).collect()
    }

    #[test]
    fn the_first_rule_decides() {
        let clients = ["127.0.0.1", "10.1.2.3", "::1", "2001:db8::7", "::ffff:10.1.2.3", "unix:"];
        for (rules, want) in [
            ("", "------"),
            ("deny all;", "xxxxxx"),
            ("allow 127.0.0.1; deny all;", "oxxxxx"),
            ("deny 10.0.0.0/8; allow all;", "oxooxo"),
            ("allow all; deny 10.0.0.0/8;", "oooooo"),
            ("deny 10.0.0.0/8;", "-x--x-"),
            ("allow ::1; deny ::/0;", "--oxx-"),
            ("deny unix:; allow all;", "ooooox"),
            ("allow 2001:db8::/32; deny 10.1.2.3;", "-x-ox-"),
            ("deny 0.0.0.0/0;", "xx--x-"),
        ] {
            assert_eq!(verdicts(rules, &clients), want, "{rules}");
        }
    }

    #[test]
    fn a_level_with_either_kind_replaces_both() {
        let text = "http { deny 10.0.0.0/8; server {
            location /own { allow 127.0.0.1; } location /inherited { } } server { allow all; } }";
        let bench = Bench::new(text, &[&FEATURE]);
        let steps = |name| bench.exchange(name, |x| x.here.settings.steps(Phase::Access).len());
        assert_eq!((steps("/own"), steps("/inherited")), (1, 1));
    }

    #[test]
    fn errors_are_nginxs() {
        let wrong = |text: &str| message(Bench::new(&format!("http {{ {text} }}"), &[&FEATURE]).plan());
        assert_eq!(wrong("allow localhost;"), "invalid parameter \"localhost\"");
        assert_eq!(wrong("server { location / { deny 10.0.0.0/33; } }"), "invalid parameter \"10.0.0.0/33\"");
        assert_eq!(wrong("deny 10.0.0.1/8;"), "no error");
    }
}
