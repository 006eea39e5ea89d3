//! Messages of the DNS (RFC 1035, section 4): questions out, answers in. No socket, no clock.
//!
//! What is wrong with an answer is said in nginx's words, which its operators look for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of a message's header.
const HEADER_BYTES: usize = 12;

/// Bytes of a label (RFC 1035, 2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// Bytes of a name as text. The RFC allows 253; nginx resolves what four full labels make.
const NAME_BYTES_MAX: usize = 255;

/// Pointers and labels of one name: nginx's bound, enough for any name, and no loop outlives it.
const NAME_STEPS_MAX: usize = 128;

/// Class IN, and the type of an alias and of an alias of a whole tree.
const IN: u16 = 1;
const CNAME: u16 = 5;
const DNAME: u16 = 39;

/// The format of the question was wrong, or so the server says.
const FORMERR: u8 = 1;

/// The last of the codes that mean something here; see [`code_text`].
const REFUSED: u8 = 5;

/// Which addresses are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// IPv4.
    A = 1,
    /// IPv6 (RFC 3596).
    Aaaa = 28,
}

/// A question that was sent.
#[derive(Clone, Debug)]
pub struct Question {
    /// By which its answer is known.
    pub id: u16,
    /// The name, lower case, without a dot at its end.
    pub name: Box<str>,
    /// What is asked about it.
    pub kind: Kind,
}

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// That it knows better: the answer did not fit, TCP takes it.
    Truncated,
    /// With a code other than 0.
    Failed(u8),
    /// With records; none at all if the name has nothing of this kind.
    Records {
        /// The addresses.
        addresses: Vec<IpAddr>,
        /// What the name is an alias of, if it is one.
        alias: Option<Box<str>>,
        /// How long all of it may be kept, seconds.
        ttl_s: u32,
    },
}

/// What a code means.
pub fn code_text(code: u8) -> &'static str {
    match code {
        FORMERR => "Format error",
        2 => "Server failure",
        3 => "Host not found",
        4 => "Unimplemented",
        REFUSED => "Operation refused",
        _ => "Unknown error",
    }
}

impl Question {
    /// The question as a message; `None` if the name is none that the DNS can hold.
    pub fn message(&self) -> Option<Vec<u8>> {
        if self.name.is_empty() || self.name.len() > NAME_BYTES_MAX {
            return None;
        }
        let mut out = Vec::with_capacity(HEADER_BYTES + self.name.len() + 6);
        out.extend_from_slice(&self.id.to_be_bytes());
        // Recursion is desired; one question, no records.
        out.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        for label in self.name.split('.') {
            let length =
                u8::try_from(label.len()).ok().filter(|n| (1..=LABEL_BYTES_MAX as u8).contains(n))?;
            out.push(length);
            out.extend_from_slice(label.as_bytes());
        }
        out.push(0);
        out.extend_from_slice(&(self.kind as u16).to_be_bytes());
        out.extend_from_slice(&IN.to_be_bytes());
        Some(out)
    }

    /// Reads an answer to this question.
    ///
    /// # Errors
    /// It is none, in nginx's words for the log: another may still come.
    pub fn read(&self, bytes: &[u8], over_tcp: bool) -> Result<Answer, String> {
        let mut at = Reader { bytes, at: 0 };
        let (id, flags, questions, records) = (at.word()?, at.word()?, at.word()?, at.word()?);
        at.skip(4)?;
        let truncated = flags & 0x0200 != 0;
        // An answer (QR) to an ordinary query (OPCODE), reserved bit clear.
        if flags & 0xf840 != 0x8000 || truncated && over_tcp {
            let transport = if over_tcp { "TCP" } else { "UDP" };
            return Err(format!("invalid {transport} DNS response {id} fl:{flags:04X}"));
        }
        let code = (flags & 0xf) as u8;
        if code == FORMERR || code > REFUSED {
            let error = format!("DNS error ({code}: {}), query id:{id}", code_text(code));
            let named = code == FORMERR && id == self.id;
            return Err(if named { format!("{error}, name:\"{}\"", self.name) } else { error });
        }
        if questions != 1 {
            return Err("invalid number of questions in DNS response".to_owned());
        }
        self.check(&mut at, id)?;
        if truncated {
            return Ok(Answer::Truncated);
        }
        if code > 0 {
            return Ok(Answer::Failed(code));
        }
        self.records(&mut at, records)
    }

    /// Whether the answer repeats the question.
    fn check(&self, at: &mut Reader<'_>, id: u16) -> Result<(), String> {
        let name = at.name()?;
        if name.is_empty() {
            return Err("zero-length domain name in DNS response".to_owned());
        }
        let (kind, class) = (at.word()?, at.word()?);
        if class != IN {
            return Err(format!("unknown query class {class} in DNS response"));
        }
        if kind != self.kind as u16 || *name != *self.name {
            return Err(format!("unexpected DNS response for {name}"));
        }
        if id != self.id {
            return Err(format!("wrong ident {id} in DNS response for {name}, expect {}", self.id));
        }
        Ok(())
    }

    fn records(&self, at: &mut Reader<'_>, count: u16) -> Result<Answer, String> {
        let (mut addresses, mut alias, mut ttl_s) = (Vec::new(), None, u32::MAX);
        for _ in 0..count {
            at.name()?;
            let (kind, class) = (at.word()?, at.word()?);
            if class != IN {
                return Err(format!("unexpected RR class {class} in DNS response"));
            }
            // A TTL is a positive number of 31 bits (RFC 2181, 8); another counts as 0.
            let ttl = u32::from_be_bytes(at.chunk()?);
            ttl_s = ttl_s.min(if ttl > i32::MAX as u32 { 0 } else { ttl });
            let length = usize::from(at.word()?);
            let begin = at.at;
            if kind == Kind::A as u16 || kind == Kind::Aaaa as u16 {
                addresses.push(self.address(at, kind, length)?);
            } else if kind == CNAME {
                alias = Some(at.name()?);
            } else if kind != DNAME {
                // nginx only mentions it; the record says nothing about the question.
            }
            at.at = begin;
            at.skip(length)?;
        }
        if count > 0 && addresses.is_empty() && alias.is_none() {
            return Err("no A or CNAME types in DNS response".to_owned());
        }
        Ok(Answer::Records { addresses, alias, ttl_s })
    }

    fn address(&self, at: &mut Reader<'_>, kind: u16, length: usize) -> Result<IpAddr, String> {
        let (name, right) = match kind {
            1 => ("A", 4),
            _ => ("AAAA", 16),
        };
        if kind != self.kind as u16 {
            return Err(format!("unexpected {name} record in DNS response"));
        }
        if length != right {
            return Err(format!("invalid {name} record in DNS response"));
        }
        Ok(match self.kind {
            Kind::A => Ipv4Addr::from(at.chunk::<4>()?).into(),
            Kind::Aaaa => Ipv6Addr::from(at.chunk::<16>()?).into(),
        })
    }
}

/// A message while it is read.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let chunk = rest.first_chunk::<N>().ok_or("short DNS response")?;
        self.at += N;
        Ok(*chunk)
    }

    fn word(&mut self) -> Result<u16, String> {
        self.chunk().map(u16::from_be_bytes)
    }

    fn skip(&mut self, count: usize) -> Result<(), String> {
        self.at += count;
        if self.at > self.bytes.len() { Err("short DNS response".to_owned()) } else { Ok(()) }
    }

    /// A name in lower case, which may point back into the message (RFC 1035, 4.1.4).
    fn name(&mut self) -> Result<Box<str>, String> {
        let mut name = String::new();
        let mut at = self.at;
        // Where reading goes on: behind the first pointer.
        let mut after = None;
        for _ in 0..NAME_STEPS_MAX {
            let length = usize::from(*self.bytes.get(at).ok_or("name is out of DNS response")?);
            at += 1;
            match length {
                0 => {
                    self.at = after.unwrap_or(at);
                    return Ok(name.into());
                }
                0xc0.. => {
                    let low = usize::from(*self.bytes.get(at).ok_or("name is out of DNS response")?);
                    after.get_or_insert(at + 1);
                    at = (length & 0x3f) << 8 | low;
                }
                0x40..0xc0 => return Err("invalid label type in DNS response".to_owned()),
                _ => {
                    let label = self.bytes.get(at..at + length).ok_or("name is out of DNS response")?;
                    if !name.is_empty() {
                        name.push('.');
                    }
                    // Of other bytes no name is made that was asked for, nor one worth asking.
                    name.extend(label.iter().map(|&b| b.to_ascii_lowercase() as char));
                    if name.len() > NAME_BYTES_MAX {
                        return Err("too long name in DNS response".to_owned());
                    }
                    at += length;
                }
            }
        }
        Err("compression pointers loop in DNS response".to_owned())
    }
}

#[cfg(test)]
mod tests;
