//! `syslog:server=...,...`: the parameters that `error_log` and `access_log` have in common.

use crate::base::address::Address;
use crate::base::process_settings::{Level, Syslog};
use crate::features::upstream::address::Authority;
use crate::plan::builder::Builder;

/// How such a target begins.
pub const PREFIX: &str = "syslog:";

/// The port of a server without one (RFC 3164, 2).
const PORT: u16 = 514;

/// Characters of a tag at most (RFC 3164, 4.1.3).
const TAG_MAX: usize = 32;

/// The facilities in the order of their numbers, in nginx's words.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "intern", "lpr", "news", "uucp", "clock", "authpriv", "ftp",
    "ntp", "audit", "alert", "cron", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];

/// local7.
const FACILITY: u8 = 23;

/// Reads what follows `syslog:`. A server that is a name is looked up now; its first address counts.
///
/// # Errors
/// nginx's messages.
pub fn parse(text: &str, b: &Builder<'_>) -> Result<Syslog, String> {
    read(text, |server| server.resolve(b, PORT))
}

/// The same with whatever looks names up.
fn read(
    text: &str,
    resolve: impl Fn(&Authority<'_>) -> Result<Vec<Address>, &'static str>,
) -> Result<Syslog, String> {
    let (mut server, mut facility, mut severity, mut tag, mut hostname) = (None, None, None, None, true);
    for parameter in text.split(',') {
        if let Some(name) = parameter.strip_prefix("server=") {
            once(&mut server, "server", address(name, &resolve)?)?;
        } else if let Some(name) = parameter.strip_prefix("facility=") {
            let number = FACILITIES.iter().position(|known| *known == name);
            let number = number.ok_or_else(|| format!("unknown syslog facility \"{name}\""))?;
            once(&mut facility, "facility", number as u8)?;
        } else if let Some(name) = parameter.strip_prefix("severity=") {
            let level = Level::parse(name).ok_or_else(|| format!("unknown syslog severity \"{name}\""))?;
            once(&mut severity, "severity", level)?;
        } else if let Some(name) = parameter.strip_prefix("tag=") {
            once(&mut tag, "tag", checked_tag(name)?)?;
        } else if parameter == "nohostname" {
            hostname = false;
        } else {
            return Err(format!("unknown syslog parameter \"{parameter}\""));
        }
    }
    let (server, name) = server.ok_or("no syslog server specified")?;
    Ok(Syslog {
        server,
        name,
        facility: facility.unwrap_or(FACILITY),
        severity: severity.unwrap_or(Level::Info),
        tag: tag.unwrap_or_else(|| "nginx".to_owned()),
        hostname,
    })
}

fn once<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), String> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("duplicate syslog \"{name}\"")),
    }
}

fn address(
    name: &str,
    resolve: impl Fn(&Authority<'_>) -> Result<Vec<Address>, &'static str>,
) -> Result<(Address, String), String> {
    let fault = |message: &str| format!("{message} in syslog server \"{name}\"");
    let found = Authority::parse(name).and_then(|server| resolve(&server)).map_err(fault)?;
    let first = found.into_iter().next().ok_or_else(|| fault("host not found"))?;
    let shown = first.to_string();
    Ok((first, shown))
}

fn checked_tag(name: &str) -> Result<String, String> {
    if name.len() > TAG_MAX {
        return Err("syslog tag length exceeds 32".to_owned());
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err("syslog \"tag\" only allows alphanumeric characters and underscore".to_owned());
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(text: &str) -> Result<Syslog, String> {
        read(text, |server| server.literal(PORT).map(|address| vec![address]).ok_or("host not found"))
    }

    #[test]
    fn parameters_and_defaults() {
        let found = parse("server=127.0.0.1").unwrap();
        assert_eq!((found.name.as_str(), found.facility, found.severity), ("127.0.0.1:514", 23, Level::Info));
        assert_eq!((found.tag.as_str(), found.hostname), ("nginx", true));
        let found = parse("facility=kern,tag=a_1,severity=debug,nohostname,server=unix:/dev/log").unwrap();
        assert_eq!((found.name.as_str(), found.facility), ("unix:/dev/log", 0));
        assert_eq!((found.severity, found.tag.as_str(), found.hostname), (Level::Debug, "a_1", false));
        assert_eq!(parse("server=[::1]:12345").unwrap().name, "[::1]:12345");
    }

    #[test]
    fn errors_are_nginxs() {
        for (text, message) in [
            ("", "unknown syslog parameter \"\""),
            ("tag=a", "no syslog server specified"),
            ("server=127.0.0.1,server=127.0.0.1", "duplicate syslog \"server\""),
            ("server=127.0.0.1,tag=a,tag=b", "duplicate syslog \"tag\""),
            ("server=127.0.0.1,facility=local8", "unknown syslog facility \"local8\""),
            ("server=127.0.0.1,severity=err", "unknown syslog severity \"err\""),
            ("server=127.0.0.1,tag=a-b", "syslog \"tag\" only allows alphanumeric characters and underscore"),
            ("server=127.0.0.1,tag=abcdefghijklmnopqrstuvwxyz_01234567", "syslog tag length exceeds 32"),
            ("server=127.0.0.1,nohostnames", "unknown syslog parameter \"nohostnames\""),
            ("server=127.0.0.1:x", "invalid port in syslog server \"127.0.0.1:x\""),
            ("server=unix:", "no path in the unix domain socket in syslog server \"unix:\""),
        ] {
            assert_eq!(parse(text), Err(message.to_owned()), "{text}");
        }
    }
}
