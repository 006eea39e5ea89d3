//! `proxy_bind` and `tunnel_bind`: the address that connections to upstreams come from.

use crate::base::process_settings::Level;
use crate::conf::{Diagnostic, Scope};
use crate::net::error_log::OsError;
use crate::net::stream::{Bound, BufferSizes};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::template::Template;
use crate::plan::builder::Builder;
use std::net::{IpAddr, SocketAddr};

/// Where connections come from.
pub struct Bind {
    from: From,
    /// The address need not be this host's.
    transparent: bool,
}

enum From {
    /// An address that the configuration names.
    Fixed(SocketAddr),
    /// One made of variables.
    Variable(Template),
}

/// A socket made ready before it is connected to `peer`, where its address or the sizes of its buffers
/// ask for that; `None` where nothing does.
///
/// # Errors
/// It cannot be had, which is logged.
pub fn socket(
    bind: Option<&Bind>,
    sizes: BufferSizes,
    x: &Exchange,
    peer: SocketAddr,
) -> Result<Option<Bound>, ()> {
    let bound = match bind {
        Some(bind) => bind.socket(x)?,
        None => None,
    };
    if sizes == BufferSizes::default() {
        return Ok(bound);
    }
    let bound = match bound {
        Some(bound) => bound,
        None => Bound::anywhere(peer).map_err(|(call, error)| {
            let error = OsError(&error);
            x.log(Level::Alert, format_args!("{call} failed {error} while connecting to upstream"));
        })?,
    };
    bound.set_buffers(sizes);
    Ok(Some(bound))
}

impl Bind {
    /// From the directive of this name; `None` leaves it to the system.
    ///
    /// # Errors
    /// No address, or an unknown parameter.
    pub fn compile(scope: &Scope<'_>, name: &str, b: &mut Builder<'_>) -> Result<Option<Bind>, Diagnostic> {
        let Some(directive) = scope.one(name) else { return Ok(None) };
        let Some((word, rest)) = directive.args.split_first() else { return Ok(None) };
        if word.text == "off" && rest.is_empty() {
            return Ok(None);
        }
        let from = match word.text.contains('$') {
            true => From::Variable(b.template(word)?),
            false => match address(word.text.as_bytes()) {
                Some(address) => From::Fixed(address),
                None => {
                    let message = format!("invalid address \"{}\"", word.text);
                    return Err(scope.error_at(directive, word, message));
                }
            },
        };
        let transparent = match rest.first() {
            None => false,
            Some(parameter) if parameter.text == "transparent" => true,
            Some(other) => {
                let message = format!("invalid parameter \"{}\"", other.text);
                return Err(scope.error_at(directive, other, message));
            }
        };
        if transparent {
            b.send_from_any_address();
        }
        Ok(Some(Bind { from, transparent }))
    }

    /// A socket for this request, with its address. `None` leaves that to the system: for an empty
    /// value, and for a wrong one, which is logged.
    ///
    /// # Errors
    /// The address cannot be had, which is logged.
    fn socket(&self, x: &Exchange) -> Result<Option<Bound>, ()> {
        let Some(from) = self.address(x) else { return Ok(None) };
        Bound::to(from, self.transparent).map(Some).map_err(|(call, error)| {
            let (level, call) = match call {
                "bind()" if from.port() == 0 => (Level::Crit, format!("bind({})", from.ip())),
                "bind()" => (Level::Crit, format!("bind({from})")),
                call => (Level::Alert, call.to_owned()),
            };
            let error = OsError(&error);
            x.log(level, format_args!("{call} failed {error} while connecting to upstream"));
        })
    }

    fn address(&self, x: &Exchange) -> Option<SocketAddr> {
        let template = match &self.from {
            From::Fixed(address) => return Some(*address),
            From::Variable(template) => template,
        };
        let value = template.value(x);
        let found = address(&value);
        if found.is_none() && !value.is_empty() {
            let shown = String::from_utf8_lossy(&value);
            x.log(Level::Error, format_args!("invalid local address \"{shown}\""));
        }
        found
    }

    /// Whether all requests come from one address.
    pub fn is_fixed(&self) -> bool {
        matches!(self.from, From::Fixed(_))
    }
}

/// An address with or without a port.
fn address(text: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0)).or_else(|_| text.parse()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, want) in [
            ("127.0.0.2", "127.0.0.2:0"),
            ("127.0.0.2:80", "127.0.0.2:80"),
            ("::1", "[::1]:0"),
            ("[::1]", "[::1]:0"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(address(text.as_bytes()).map(|found| found.to_string()).as_deref(), Some(want));
        }
        assert!(address(b"localhost").is_none() && address(b"").is_none() && address(b"1.2.3").is_none());
    }
}
