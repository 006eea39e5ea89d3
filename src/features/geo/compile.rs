//! A `geo` block becomes two cut spaces of addresses and the values.

use super::ranges::{Added, Ranges};
use super::segments::{Interval, Segments, ValueId};
use crate::base::cidr::Cidr;
use crate::conf::{Diagnostic, Directive, Scope, Word};
use crate::http::Known;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::forwarded::{self, Trusted};
use crate::pipeline::variable::{Derive, Variable};
use crate::plan::builder::Builder;
use ahash::AHashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Warnings that one block gives; a list of 100,000 networks may have as many duplicates.
const WARNINGS_MAX: usize = 20;

/// Compiles every geo. All names come first: a source may be a variable that is defined further down.
pub fn http(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    for block in scope.here("geo") {
        source(scope, block)?;
        if let Some(name) = block.args.last() {
            b.declare(name)?;
        }
    }
    scope.here("geo").try_for_each(|block| geo(scope, block, b))
}

fn geo(scope: &Scope<'_>, block: &Directive, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let Some(name) = block.args.last() else {
        return Err(scope.error(block, "invalid number of arguments in \"geo\" directive"));
    };
    let source = source(scope, block)?.map(|(text, word)| b.variable(text, word));
    b.declare(name)?;
    let mut parts = Parts::default();
    block.body().iter().try_for_each(|line| parts.line(scope, line, b))?;
    let volatile = parts.volatile;
    b.derive(name, volatile, parts.finish(source));
    Ok(())
}

/// The variable with the address, where one is named before the variable that is set.
fn source<'t>(scope: &Scope<'_>, block: &'t Directive) -> Result<Option<(&'t str, &'t Word)>, Diagnostic> {
    let [source, _] = block.args.as_slice() else { return Ok(None) };
    match source.text.strip_prefix('$') {
        Some(text) => Ok(Some((text, source))),
        None => {
            let message = format!("invalid variable name \"{}\"", source.text);
            Err(scope.error_at(block, source, message))
        }
    }
}

/// A block as far as it was read.
#[derive(Default)]
struct Parts {
    by_ranges: bool,
    /// A network or the default of them was read: it is too late for `ranges`.
    begun: bool,
    volatile: bool,
    recursive: bool,
    proxies: Vec<Cidr>,
    /// The default of ranges; that of networks is the network of all addresses.
    default: Option<ValueId>,
    ranges: Ranges,
    /// By address and mask.
    v4: AHashMap<(u32, u32), ValueId>,
    v6: AHashMap<(u128, u128), ValueId>,
    values: Vec<Box<[u8]>>,
    /// The numbers of the values by their texts: lists name few values often.
    known: AHashMap<Box<[u8]>, ValueId>,
    warnings: usize,
}

impl Parts {
    fn line(&mut self, scope: &Scope<'_>, line: &Directive, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
        match (line.name.text.as_str(), line.args.as_slice()) {
            ("ranges", []) if self.begun => {
                let message = "the \"ranges\" directive must be the first directive inside \"geo\" block";
                Err(scope.error(line, message))
            }
            ("ranges", []) => {
                self.by_ranges = true;
                Ok(())
            }
            ("proxy_recursive", []) => {
                self.recursive = true;
                Ok(())
            }
            ("volatile", []) => {
                self.volatile = true;
                Ok(())
            }
            ("proxy", [network]) => {
                let network = self.network(scope, line, &network.text, b)?;
                self.proxies.push(network);
                Ok(())
            }
            (first, [second]) if self.by_ranges => self.range(scope, line, (first, &second.text), b),
            (first, [second]) => self.cidr(scope, line, (first, &second.text), b),
            _ => Err(scope.error(line, "invalid number of the geo parameters")),
        }
    }

    fn range(
        &mut self,
        scope: &Scope<'_>,
        line: &Directive,
        (first, second): (&str, &str),
        b: &mut Builder<'_>,
    ) -> Result<(), Diagnostic> {
        if first == "default" {
            let value = self.value(second);
            if let Some(old) = self.default.replace(value) {
                let old = self.shown(old);
                let message =
                    format!("duplicate default geo range value: \"{second}\", old value: \"{old}\"");
                self.warn(scope, line, message, b);
            }
            return Ok(());
        }
        let text = if first == "delete" { second } else { first };
        let range = text.split_once('-').and_then(|(start, end)| Some((address(start)?, address(end)?)));
        let Some((start, end)) = range.filter(|(start, end)| start <= end) else {
            return Err(scope.error(line, format!("invalid range \"{text}\"")));
        };
        if first == "delete" {
            if !self.ranges.remove(start, end) {
                self.warn(scope, line, format!("no address range \"{text}\" to delete"), b);
            }
            return Ok(());
        }
        let value = self.value(second);
        match self.ranges.add(start, end, value) {
            Added::New => {}
            Added::Again(old) => {
                let old = self.shown(old);
                let message =
                    format!("duplicate range \"{text}\", value: \"{second}\", old value: \"{old}\"");
                self.warn(scope, line, message, b);
            }
            Added::Overlaps(start, end) => {
                let (start, end) = (Ipv4Addr::from_bits(start), Ipv4Addr::from_bits(end));
                return Err(scope.error(line, format!("range \"{text}\" overlaps \"{start}-{end}\"")));
            }
        }
        Ok(())
    }

    fn cidr(
        &mut self,
        scope: &Scope<'_>,
        line: &Directive,
        (first, second): (&str, &str),
        b: &mut Builder<'_>,
    ) -> Result<(), Diagnostic> {
        self.begun = true;
        if first == "delete" {
            let removed = match self.network(scope, line, second, b)? {
                Cidr::V4(network, mask) => self.v4.remove(&(network, mask)),
                Cidr::V6(network, mask) => self.v6.remove(&(network, mask)),
            };
            if removed.is_none() {
                self.warn(scope, line, format!("no network \"{second}\" to delete"), b);
            }
            return Ok(());
        }
        let value = self.value(second);
        let old = if first == "default" {
            let old = self.v4.insert((0, 0), value);
            self.v6.insert((0, 0), value).or(old)
        } else {
            match self.network(scope, line, first, b)? {
                Cidr::V4(network, mask) => self.v4.insert((network, mask), value),
                Cidr::V6(network, mask) => self.v6.insert((network, mask), value),
            }
        };
        if let Some(old) = old {
            let old = self.shown(old);
            let message = format!("duplicate network \"{first}\", value: \"{second}\", old value: \"{old}\"");
            self.warn(scope, line, message, b);
        }
        Ok(())
    }

    fn network(
        &mut self,
        scope: &Scope<'_>,
        line: &Directive,
        text: &str,
        b: &mut Builder<'_>,
    ) -> Result<Cidr, Diagnostic> {
        let Some((network, low_bits)) = Cidr::parse(text) else {
            return Err(scope.error(line, format!("invalid network \"{text}\"")));
        };
        if low_bits {
            self.warn(scope, line, format!("low address bits of {text} are meaningless"), b);
        }
        Ok(network)
    }

    fn value(&mut self, text: &str) -> ValueId {
        if let Some(&id) = self.known.get(text.as_bytes()) {
            return id;
        }
        let id = self.values.len() as ValueId;
        self.values.push(text.as_bytes().into());
        self.known.insert(text.as_bytes().into(), id);
        id
    }

    fn shown(&self, id: ValueId) -> String {
        self.values
            .get(id as usize)
            .map_or_else(String::new, |text| String::from_utf8_lossy(text).into_owned())
    }

    fn warn(&mut self, scope: &Scope<'_>, line: &Directive, message: String, b: &mut Builder<'_>) {
        self.warnings += 1;
        if self.warnings < WARNINGS_MAX {
            b.warn(scope.warning(line, message));
        } else if self.warnings == WARNINGS_MAX {
            b.warn(scope.warning(line, format!("{message}; more of this block is not shown")));
        }
    }

    fn finish(mut self, source: Option<Variable>) -> Geo {
        let nothing = self.value("");
        let default = self.default.unwrap_or(nothing);
        let (v4, v6) = if self.by_ranges {
            (self.ranges.into_intervals(), Vec::new())
        } else {
            let v4 =
                self.v4.into_iter().map(|((start, mask), value)| (start, start | !mask, value)).collect();
            let v6: Vec<Interval<u128>> =
                self.v6.into_iter().map(|((start, mask), value)| (start, start | !mask, value)).collect();
            (v4, v6)
        };
        Geo {
            source,
            proxies: (!self.proxies.is_empty()).then_some(Trusted { networks: self.proxies, unix: false }),
            recursive: self.recursive,
            by_ranges: self.by_ranges,
            v4: Segments::new(v4, default),
            v6: Segments::new(v6, default),
            values: self.values.into(),
        }
    }
}

/// An IPv4 address. nginx reads the last one as a failure to read any.
fn address(text: &str) -> Option<u32> {
    text.parse::<Ipv4Addr>().ok().map(Ipv4Addr::to_bits).filter(|&bits| bits != u32::MAX)
}

/// A geo, compiled.
struct Geo {
    /// What holds the address, where it is not the client's.
    source: Option<Variable>,
    /// Those whose X-Forwarded-For counts.
    proxies: Option<Trusted>,
    recursive: bool,
    by_ranges: bool,
    v4: Segments<u32>,
    v6: Segments<u128>,
    values: Box<[Box<[u8]>]>,
}

impl Derive for Geo {
    fn write(&self, x: &Exchange, out: &mut Vec<u8>) -> bool {
        let id = match self.address(x, out) {
            Some(IpAddr::V4(ip)) => self.v4.find(ip.to_bits()),
            Some(IpAddr::V6(ip)) => match ip.to_ipv4_mapped() {
                Some(inner) => self.v4.find(inner.to_bits()),
                None if self.by_ranges => self.v4.find(u32::MAX),
                None => self.v6.find(ip.to_bits()),
            },
            // What is no address stands for the last one.
            None => self.v4.find(u32::MAX),
        };
        if let Some(value) = id.and_then(|id| self.values.get(id as usize)) {
            out.extend_from_slice(value);
        }
        true
    }

    fn depends_on(&self, is: &dyn Fn(&Variable) -> bool) -> bool {
        self.source.as_ref().is_some_and(is)
    }
}

impl Geo {
    /// The address that is looked up; `out` is used and left as it was.
    fn address(&self, x: &Exchange, out: &mut Vec<u8>) -> Option<IpAddr> {
        let from = match &self.source {
            None => x.peer(),
            Some(variable) => {
                let start = out.len();
                let has = variable.write(x, out);
                let text = std::str::from_utf8(out.get(start..)?).ok().filter(|_| has);
                let ip = text.and_then(|text| text.parse::<IpAddr>().ok());
                out.truncate(start);
                Some(SocketAddr::new(ip?, 0))
            }
        };
        let named = self.proxies.as_ref().and_then(|proxies| {
            let fields = x.head.fields.list.iter().rev().filter(|field| field.known == Known::XForwardedFor);
            let values = fields.map(|field| field.value.of(x.input.filled()));
            forwarded::client(from, values, proxies, self.recursive)
        });
        named.or(from).map(|address| address.ip())
    }
}
