//! What one request led to, as named parts that can be compared.

use std::fmt;
use std::io::Read;

use super::script::LOG_FIELDS;
use crate::harness::{End, Message, Wire};

/// The parts of what is compared, by name.
pub struct Report {
    parts: Vec<(String, String)>,
    upstream: usize,
    lines: usize,
}

/// A part that is not the same.
pub struct Difference {
    /// Its name.
    pub part: String,
    /// What it is at nginx.
    pub theirs: Option<String>,
    /// What it is at Octroi.
    pub ours: Option<String>,
}

/// Fields of an answer that no two servers, or no two moments, have in common.
const OWN_FIELDS: &[&str] = &["server", "date"];

/// Of a request that is refused while it is read, each server knows as much as it has read until then.
const REFUSED: &[&str] = &["400", "405", "414", "501", "505"];
const KNOWN_LATE: &[&str] = &["uri", "host", "args"];

/// Where a server's page of its own names the server.
const NAME_OPENS: &str = "<hr><center>";
const NAME_CLOSES: &str = "</center>";

/// An `Expires` that is further away is no distance, but a date that was meant.
const RELATIVE_SECONDS: i64 = 1_000 * 86_400;

/// How much of a part is shown.
const SHOWN_BYTES: usize = 600;

impl Report {
    /// The answers that a client got for requests with these methods.
    pub fn of(methods: &[String], line: &str, client: &mut Wire) -> Report {
        let (bytes, end) = client.rest_or_silence();
        // A case has no request that keeps its connection: the wait for nothing would be long.
        assert_ne!(end, End::Silent, "the connection stays open: {line}");
        let mut report = Report { parts: Vec::new(), upstream: 0, lines: 0 };
        let mut rest = bytes.as_slice();
        let mut number = 0;
        while !rest.is_empty() {
            number += 1;
            let prefix = if number == 1 { String::new() } else { format!("answer {number}: ") };
            let to_head = methods.get(number - 1).is_some_and(|method| method == "HEAD");
            match Message::response_in(rest, to_head) {
                // It may be left out where the body is there already (RFC 9110, 10.1.1): then nobody waits.
                Some((message, used)) if message.status() == 100 => {
                    number -= 1;
                    rest = &rest[used..];
                }
                Some((mut message, used)) => {
                    normalise(&mut message);
                    report.message(&prefix, &message);
                    rest = &rest[used..];
                }
                None => {
                    report.part(format!("{prefix}bytes"), String::from_utf8_lossy(rest).into_owned());
                    break;
                }
            }
        }
        report
    }

    /// A request that reached the upstream of this name.
    pub fn saw(&mut self, name: &str, request: &Message) {
        self.upstream += 1;
        let prefix = format!("upstream {}: ", self.upstream);
        let mut request = request.clone();
        // nginx asks for the end of a connection that is not kept; in newer versions it is kept.
        request
            .headers
            .retain(|(name, value)| !(name.eq_ignore_ascii_case("connection") && value == "close"));
        self.part(format!("{prefix}at"), name.to_owned());
        self.message(&prefix, &request);
    }

    /// A line of the access log, without the port that names the request.
    pub fn logged(&mut self, line: &str) {
        self.lines += 1;
        let values: Vec<&str> = line.split('\t').collect();
        let refused = values.get(1).is_some_and(|status| REFUSED.contains(status));
        for (name, value) in LOG_FIELDS.iter().zip(values) {
            if refused && KNOWN_LATE.contains(name) {
                continue;
            }
            // Arguments that a rewrite removed are empty there, and none here.
            let value = if *name == "args" && value.is_empty() { "-" } else { value };
            self.part(format!("log {}: {name}", self.lines), value.to_owned());
        }
    }

    /// The parts that are not the same in both.
    pub fn differences(theirs: &Report, ours: &Report) -> Vec<Difference> {
        let of = |report: &Report, name: &str| {
            report.parts.iter().find(|(part, _)| part == name).map(|(_, value)| value.clone())
        };
        let mut names: Vec<&String> = theirs.parts.iter().map(|(name, _)| name).collect();
        let more = ours.parts.iter().map(|(name, _)| name).filter(|name| of(theirs, name).is_none());
        names.extend(more);
        let differences =
            names.into_iter().map(|name| (name, of(theirs, name), of(ours, name))).filter(|(_, t, o)| t != o);
        differences.map(|(name, theirs, ours)| Difference { part: name.clone(), theirs, ours }).collect()
    }

    /// The order of fields with different names means nothing (RFC 9110, 5.3) and is not compared; that
    /// of fields with the same name is.
    fn message(&mut self, prefix: &str, message: &Message) {
        self.part(format!("{prefix}start"), message.start.clone());
        let mut names: Vec<String> = Vec::new();
        for (name, _) in &message.headers {
            if !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                names.push(name.clone());
            }
        }
        for name in &names {
            let values = message.all(name).join("\n");
            self.part(format!("{prefix}{}", name.to_ascii_lowercase()), format!("{name}: {values}"));
        }
        self.part(format!("{prefix}body"), message.text());
        for (name, value) in &message.trailers {
            self.part(format!("{prefix}trailer {}", name.to_ascii_lowercase()), value.clone());
        }
    }

    fn part(&mut self, name: String, value: String) {
        self.parts.push((name, value));
    }
}

/// Everything that is made alike before it is compared: the server's name, the time (an `Expires`
/// counts from now), the random boundary of parts, and a compressed body, which is compared as what it
/// decodes to.
fn normalise(message: &mut Message) {
    let now = message.get("date").and_then(seconds);
    for (_, value) in message.headers.iter_mut().filter(|(name, _)| name.eq_ignore_ascii_case("expires")) {
        if let (Some(now), Some(then)) = (now, seconds(value))
            && (-1..RELATIVE_SECONDS).contains(&(then - now))
        {
            // The second may have passed between the two.
            *value = format!("in about {} s", (then - now + 5) / 10 * 10);
        }
    }
    message.headers.retain(|(name, _)| !OWN_FIELDS.contains(&name.to_ascii_lowercase().as_str()));
    let sized = message.get("content-length").and_then(|v| v.parse().ok()) == Some(message.body.len());
    if message.get("content-encoding") == Some("gzip") {
        let mut plain = Vec::new();
        let read = flate2::read::MultiGzDecoder::new(message.body.as_slice()).read_to_end(&mut plain);
        message.body = if read.is_ok() { plain } else { b"not decoded".to_vec() };
    }
    let mark = "multipart/byteranges; boundary=";
    let boundary = message.get("content-type").and_then(|value| value.strip_prefix(mark)).map(str::to_owned);
    let mut text = bytes_as_text(&message.body);
    if let Some((before, rest)) = text.split_once(NAME_OPENS)
        && let Some((_, after)) = rest.split_once(NAME_CLOSES)
    {
        text = format!("{before}{NAME_OPENS}NAME{NAME_CLOSES}{after}");
    }
    if let Some(boundary) = boundary {
        text = text.replace(&boundary, "BOUNDARY");
    }
    message.body = text_as_bytes(&text);
    for (name, value) in &mut message.headers {
        if value.starts_with(mark) {
            *value = format!("{mark}BOUNDARY");
        }
        // The server's name on a page of its own, the boundary and the compression change it.
        if sized && name.eq_ignore_ascii_case("content-length") {
            *value = message.body.len().to_string();
        }
    }
}

/// A date of HTTP as seconds of a calendar whose months all have 31 days: enough for differences of
/// some days and for telling the past from the future.
fn seconds(date: &str) -> Option<i64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let parts: Vec<&str> = date.split([' ', ':']).collect();
    let [_, day, month, year, hour, minute, second, "GMT"] = parts[..] else { return None };
    let number = |text: &str| text.parse::<i64>().ok();
    let month = i64::try_from(MONTHS.find(month)? / 3).ok()?;
    let days = (number(year)? * 12 + month) * 31 + number(day)?;
    Some(((days * 24 + number(hour)?) * 60 + number(minute)?) * 60 + number(second)?)
}

/// A character per byte, so that text can be replaced in any body.
fn bytes_as_text(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

fn text_as_bytes(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (sign, value) in [('-', &self.theirs), ('+', &self.ours)] {
            let value = value.as_deref().map_or_else(|| "(none)".to_owned(), |v| format!("{v:?}"));
            let shown: String = value.chars().take(SHOWN_BYTES).collect();
            writeln!(f, "    {sign} {}: {shown}", self.part)?;
        }
        Ok(())
    }
}
