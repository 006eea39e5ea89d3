//! `proxy_bind`: the address that connections to upstreams come from.

use crate::base::process_settings::Level;
use crate::conf::{Diagnostic, Scope};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::template::Template;
use crate::plan::builder::Builder;
use std::net::{IpAddr, SocketAddr};

/// Where connections come from.
pub enum Bind {
    /// An address that the configuration names.
    Fixed(SocketAddr),
    /// One made of variables.
    Variable(Template),
}

impl Bind {
    /// From the configuration; `None` leaves it to the system.
    ///
    /// # Errors
    /// No address, or one that is not this host's (`transparent`).
    pub fn compile(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<Option<Bind>, Diagnostic> {
        let Some(directive) = scope.one("proxy_bind") else { return Ok(None) };
        let Some((word, rest)) = directive.args.split_first() else { return Ok(None) };
        if word.text == "off" && rest.is_empty() {
            return Ok(None);
        }
        if let Some(parameter) = rest.first() {
            let message = match parameter.text.as_str() {
                "transparent" => "\"proxy_bind ... transparent\" is not supported by Octroi".to_owned(),
                other => format!("invalid parameter \"{other}\""),
            };
            return Err(scope.error_at(directive, parameter, message));
        }
        if word.text.contains('$') {
            return Ok(Some(Bind::Variable(b.template(word)?)));
        }
        match address(word.text.as_bytes()) {
            Some(address) => Ok(Some(Bind::Fixed(address))),
            None => Err(scope.error_at(directive, word, format!("invalid address \"{}\"", word.text))),
        }
    }

    /// The address for this request. An empty value leaves it to the system; so does a wrong one,
    /// which is logged.
    pub fn address(&self, x: &Exchange) -> Option<SocketAddr> {
        let template = match self {
            Bind::Fixed(address) => return Some(*address),
            Bind::Variable(template) => template,
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
        matches!(self, Bind::Fixed(_))
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
