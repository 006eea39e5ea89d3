//! The `listen` directive: what it says, and which sockets all of them together need.

use super::builder::Builder;
use super::names::Names;
use crate::base::address::{Address, Listen, ListenOptions, TcpKeepalive};
use crate::conf::{Diagnostic, Directive, Word, value};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Ports one `listen` may name as a range.
const PORT_RANGE_MAX: usize = 1024;

/// Bytes of the path of a Unix socket, at most: `sun_path` of unix(7) without its last zero byte.
const UNIX_PATH_BYTES_MAX: usize = 107;

/// One `listen` line, understood.
pub struct ListenLine {
    /// The addresses it names: several for a range of ports or a host name.
    pub addresses: Vec<Address>,
    /// `default_server`.
    pub default_server: bool,
    /// `proxy_protocol`.
    pub proxy_protocol: bool,
    /// `ssl`.
    pub tls: bool,
    /// `http2`.
    pub http2: bool,
    /// The socket's options; `None` when the line sets none.
    pub options: Option<ListenOptions>,
}

/// Reads one line.
///
/// # Errors
/// What nginx refuses, in its words; and what is not built.
pub fn parse(b: &Builder<'_>, directive: &Directive) -> Result<ListenLine, Diagnostic> {
    let Some(first) = directive.args.first() else {
        return Err(b.directive_error(directive, "invalid number of arguments in \"listen\" directive"));
    };
    let addresses = addresses(b, first)?;
    let (proxy_protocol, tls, http2) = (false, false, false);
    let mut line = ListenLine { addresses, default_server: false, proxy_protocol, tls, http2, options: None };
    for word in &directive.args[1..] {
        option(b, &mut line, word)?;
    }
    Ok(line)
}

fn addresses(b: &Builder<'_>, word: &Word) -> Result<Vec<Address>, Diagnostic> {
    let text = word.text.as_str();
    let wrong = |what: &str| b.error(word, format!("{what} in \"{text}\" of the \"listen\" directive"));
    if let Some(path) = text.strip_prefix("unix:") {
        if path.is_empty() {
            return Err(wrong("no path in the unix domain socket"));
        }
        if path.len() > UNIX_PATH_BYTES_MAX {
            return Err(wrong("too long path in the unix domain socket"));
        }
        return Ok(vec![Address::Unix(path.into())]);
    }
    if text.contains(['/', '?']) {
        return Err(wrong("invalid host"));
    }
    let number = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let (host, ports) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, behind) = rest.split_once(']').ok_or_else(|| wrong("invalid host"))?;
            if !behind.is_empty() && !behind.starts_with(':') {
                return Err(wrong("invalid host"));
            }
            (host, behind.strip_prefix(':'))
        }
        None if text.split('-').all(number) => ("*", Some(text)),
        None => match text.rsplit_once(':') {
            Some((host, ports)) => (host, Some(ports)),
            None => (text, None),
        },
    };
    let ports = match ports {
        Some(ports) => port_range(ports).map_err(wrong)?,
        None => vec![80],
    };
    let ips: Vec<IpAddr> = match host {
        "" => return Err(wrong("no host")),
        "*" => vec![Ipv4Addr::UNSPECIFIED.into()],
        _ => match host.parse::<IpAddr>() {
            Ok(ip) if ip.is_ipv4() || text.starts_with('[') => vec![ip],
            Ok(_) => return Err(wrong("invalid port")),
            Err(_) if text.starts_with('[') => return Err(wrong("invalid IPv6 address")),
            Err(_) => b.resolve(host).map_err(wrong)?,
        },
    };
    let each =
        |ip: &IpAddr| ports.iter().map(|port| Address::Ip(SocketAddr::new(*ip, *port))).collect::<Vec<_>>();
    Ok(ips.iter().flat_map(each).collect())
}

fn port_range(text: &str) -> Result<Vec<u16>, &'static str> {
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or("invalid port");
    let Some((from, to)) = text.split_once('-') else { return Ok(vec![port(text)?]) };
    let (from, to) = (port(from)?, port(to)?);
    let range: Vec<u16> = (from..=to).collect();
    if range.is_empty() || range.len() > PORT_RANGE_MAX {
        return Err("invalid port range");
    }
    Ok(range)
}

fn option(b: &Builder<'_>, line: &mut ListenLine, word: &Word) -> Result<(), Diagnostic> {
    let text = word.text.as_str();
    let (name, given) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    let invalid = || b.error(word, format!("invalid {name} \"{text}\""));
    if matches!(name, "default_server" | "default") && given.is_none() {
        line.default_server = true;
        return Ok(());
    }
    if text == "proxy_protocol" {
        line.proxy_protocol = true;
        return Ok(());
    }
    if text == "ssl" {
        line.tls = true;
        return Ok(());
    }
    if text == "http2" {
        line.http2 = true;
        return Ok(());
    }
    let missing = match name {
        "quic" | "http3" => Some("HTTP/3 is not built yet"),
        "setfib" | "accept_filter" => Some("it exists on FreeBSD only"),
        "multipath" => Some("multipath TCP is not built yet"),
        _ => None,
    };
    if let Some(reason) = missing {
        let message = format!("the \"{name}\" parameter of \"listen\" is not supported by Octroi: {reason}");
        return Err(b.error(word, message));
    }
    let unix = matches!(line.addresses.first(), Some(Address::Unix(_)));
    let options = line.options.get_or_insert_with(ListenOptions::default);
    match (name, given) {
        // Every address has a socket per shard and its own bind already.
        ("bind" | "reuseport", None) => {}
        ("deferred", None) => options.deferred = true,
        ("backlog", Some(n)) => {
            options.backlog = n.parse().ok().filter(|n| *n > 0).ok_or_else(invalid)?;
        }
        ("rcvbuf", Some(n)) => options.rcvbuf = Some(size(n).ok_or_else(invalid)?),
        ("sndbuf", Some(n)) => options.sndbuf = Some(size(n).ok_or_else(invalid)?),
        ("fastopen", Some(n)) => options.fastopen = Some(n.parse().map_err(|_| invalid())?),
        // It says something of addresses of IPv6 only, and a name may have others too.
        ("ipv6only", Some(flag)) if flag.starts_with('o') => match flag {
            "on" => options.ipv6only = true,
            "off" => options.ipv6only = false,
            _ => return Err(b.error(word, format!("invalid ipv6only flags \"{flag}\""))),
        },
        ("so_keepalive", Some(text)) => {
            let keepalive = keepalive(text);
            let keepalive =
                keepalive.ok_or_else(|| b.error(word, format!("invalid so_keepalive value: \"{text}\"")))?;
            // A Unix socket has nothing to keep alive.
            options.keepalive = Some(keepalive).filter(|_| !unix);
        }
        _ => return Err(b.error(word, format!("invalid parameter \"{text}\""))),
    }
    Ok(())
}

fn size(text: &str) -> Option<u32> {
    value::size(text).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0)
}

fn keepalive(text: &str) -> Option<TcpKeepalive> {
    let none = TcpKeepalive { on: true, idle_s: None, interval_s: None, count: None };
    match text {
        "on" => return Some(none),
        "off" => return Some(TcpKeepalive { on: false, ..none }),
        _ => {}
    }
    let mut parts = text.split(':');
    let mut next = || parts.next().unwrap_or_default();
    let (idle, interval, count) = (next(), next(), next());
    if parts.next().is_some() {
        return None;
    }
    let seconds = |text: &str| -> Option<Option<u32>> {
        if text.is_empty() {
            return Some(None);
        }
        value::time_s(text).and_then(|s| u32::try_from(s).ok()).filter(|s| *s > 0).map(Some)
    };
    let count = if count.is_empty() { None } else { Some(count.parse().ok()?) };
    let keepalive = TcpKeepalive { idle_s: seconds(idle)?, interval_s: seconds(interval)?, count, ..none };
    (keepalive != none).then_some(keepalive)
}

/// An address while the servers are gathered.
pub struct AddressSites {
    /// The address and the options its socket gets.
    pub listen: Listen,
    /// Some line gave options; a second one may not.
    pub options_given: bool,
    /// Some line said `default_server`.
    pub default_given: bool,
    /// What the lines said of protocols.
    protocols: Protocols,
    /// The servers by name.
    pub names: Names,
}

/// What the lines for one address said of protocols: all of them together decide, and lines that
/// differ get a warning, unless it is only that the first said less.
#[derive(Default)]
struct Protocols {
    /// What the line before said; `None` when there was only one.
    before: Option<u8>,
    changed: bool,
}

impl Protocols {
    /// Takes one more line into account, `said` by those before it together, a bit for each protocol;
    /// true when it contradicts them. `options` are those of the line, `given` those of the address.
    fn contradicts(&mut self, said: u8, line: u8, options: bool, given: bool) -> bool {
        let differs = self.before.is_some_and(|before| before != line);
        let (before, contradicts) = match line {
            _ if said == line => (line, options && self.changed || differs),
            _ if said & line == said => (said, given && !options || self.changed),
            _ if said & line == line => (line, options || differs),
            // Each has something that the other has not.
            _ => (line, true),
        };
        self.before = Some(before);
        self.changed |= said != line;
        contradicts
    }
}

/// Adds one line of server `server`; returns the addresses' places in `sites`. What is to be warned
/// of goes into `warnings`.
///
/// # Errors
/// Duplicates, in nginx's words.
pub fn add(
    b: &Builder<'_>,
    sites: &mut Vec<AddressSites>,
    line: &ListenLine,
    server: usize,
    directive: &Directive,
    warnings: &mut Vec<String>,
) -> Result<Vec<usize>, Diagnostic> {
    if line.http2 {
        let message = "the \"listen ... http2\" directive is deprecated, use the \"http2\" directive instead";
        warnings.push(message.to_owned());
    }
    let mut places = Vec::new();
    for address in &line.addresses {
        let known = sites.iter().position(|site| site.listen.address == *address);
        let place = match known {
            Some(place) => place,
            None => {
                let mut names = Names::new(server);
                names.proxy_protocol = line.proxy_protocol;
                names.tls = line.tls;
                sites.push(AddressSites {
                    listen: Listen { address: address.clone(), options: ListenOptions::default() },
                    options_given: false,
                    default_given: false,
                    protocols: Protocols::default(),
                    names,
                });
                sites.len() - 1
            }
        };
        let site = &mut sites[place];
        if let Some(options) = &line.options {
            if site.options_given {
                return Err(b.directive_error(directive, format!("duplicate listen options for {address}")));
            }
            site.options_given = true;
            site.listen.options = options.clone();
        }
        if line.default_server {
            if site.default_given {
                return Err(b.directive_error(directive, format!("a duplicate default server for {address}")));
            }
            site.default_given = true;
            site.names.default_server = server;
        }
        if known.is_some() {
            let bits = |proxy: bool, tls: bool| u8::from(proxy) | u8::from(tls) << 1;
            let (said, options) = (bits(site.names.proxy_protocol, site.names.tls), line.options.is_some());
            let says = bits(line.proxy_protocol, line.tls);
            if site.protocols.contradicts(said, says, options, site.options_given) {
                warnings.push(format!("protocol options redefined for {address}"));
            }
            site.names.proxy_protocol |= line.proxy_protocol;
            site.names.tls |= line.tls;
        }
        site.names.http2 |= line.http2;
        places.push(place);
    }
    Ok(places)
}

/// Folds specific addresses into a wildcard of the same family and port, as nginx does: one socket
/// accepts, and the local address tells whose servers are meant.
pub fn fold(sites: Vec<AddressSites>) -> (Vec<Listen>, Vec<super::Site>) {
    let wildcards: Vec<SocketAddr> = sites
        .iter()
        .filter_map(|site| match site.listen.address {
            Address::Ip(ip) if ip.ip().is_unspecified() => Some(ip),
            _ => None,
        })
        .collect();
    let wildcard_of = |address: &Address| match address {
        Address::Ip(ip) if !ip.ip().is_unspecified() => {
            let any: IpAddr =
                if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            let any = SocketAddr::new(any, ip.port());
            wildcards.contains(&any).then_some(Address::Ip(any))
        }
        _ => None,
    };
    let (folded, bound): (Vec<_>, Vec<_>) =
        sites.into_iter().partition(|site| wildcard_of(&site.listen.address).is_some());
    let mut listens = Vec::new();
    let mut places = Vec::new();
    for site in bound {
        listens.push(site.listen);
        places.push(super::Site { specific: Vec::new(), names: site.names });
    }
    for site in folded {
        let any = wildcard_of(&site.listen.address);
        if let Some(place) = listens.iter().position(|listen| Some(&listen.address) == any.as_ref()) {
            places[place].specific.push((site.listen.address, site.names));
        }
    }
    (listens, places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_of_one_address() {
        // The lines in order, each with whether it gives options; and which of them are warned of.
        let warned = |lines: &[(bool, bool)]| {
            let (mut protocols, mut said, mut given) =
                (Protocols::default(), u8::from(lines[0].0), lines[0].1);
            let mut contradicts = vec![false];
            for &(line, options) in &lines[1..] {
                given |= options;
                contradicts.push(protocols.contradicts(said, u8::from(line), options, given));
                said |= u8::from(line);
            }
            contradicts
        };
        assert_eq!(warned(&[(true, false), (true, false)]), [false, false]);
        assert_eq!(warned(&[(false, false), (true, false)]), [false, false]);
        assert_eq!(warned(&[(true, false), (false, false)]), [false, false]);
        assert_eq!(warned(&[(true, false), (false, true)]), [false, true]);
        assert_eq!(warned(&[(false, true), (true, false)]), [false, true]);
        assert_eq!(warned(&[(true, false), (false, false), (true, false)]), [false, false, true]);
        assert_eq!(warned(&[(false, false), (true, false), (false, false)]), [false, false, false]);
    }

    #[test]
    fn keepalive_and_ranges() {
        assert_eq!(
            keepalive("30m::10").map(|k| (k.idle_s, k.interval_s, k.count)),
            Some((Some(1800), None, Some(10)))
        );
        assert_eq!(keepalive("::"), None);
        assert_eq!(keepalive("1m").map(|k| k.idle_s), Some(Some(60)));
        assert_eq!(keepalive("1:2:3:4"), None);
        assert_eq!(port_range("8080-8082"), Ok(vec![8080, 8081, 8082]));
        assert_eq!(port_range("8082-8080"), Err("invalid port range"));
        assert_eq!(port_range("0"), Err("invalid port"));
        assert_eq!(port_range("65536"), Err("invalid port"));
    }
}
