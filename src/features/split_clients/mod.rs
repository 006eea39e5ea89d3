//! `split_clients`: a variable whose value is one of several, each for its share of the clients.

use crate::conf::{Arity, Block, Context, Diagnostic, Directive, DirectiveSpec as D, Inherit, Scope};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::template::Template;
use crate::pipeline::variable::{Derive, Variable};
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end, nothing};

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "split_clients",
    module: Some("http_split_clients"),
    directives: &[D::new(
        "split_clients",
        Context::HTTP,
        Arity::Exactly(2),
        "string $variable",
        "",
        "Defines a variable that is one of several values by the hash of the string; each line is a share (`0.5%`, `*` for the rest) and a value.",
    )
    .block(Block::Entries)
    .inherit(Inherit::NeverMany)],
    variables: &[],
    http,
    location: nothing,
    end: no_end,
};

/// Shares are counted in hundredths of a percent.
pub const WHOLE: u32 = 10_000;

/// The digits behind the point of a share.
const DECIMALS: usize = 2;

/// Compiles every block. All names come first: a string may hold a variable that is defined further
/// down.
fn http(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    for block in scope.here("split_clients") {
        if let Some(name) = block.args.get(1) {
            b.declare(name)?;
        }
    }
    scope.here("split_clients").try_for_each(|block| split(scope, block, b))
}

fn split(scope: &Scope<'_>, block: &Directive, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let [source, name] = block.args.as_slice() else {
        return Err(scope.error(block, "invalid number of arguments in \"split_clients\" directive"));
    };
    let source = b.template(source)?;
    b.declare(name)?;
    let mut parts = Vec::new();
    let (mut sum, mut bound) = (0_u32, 0_u32);
    for line in block.body() {
        let share = &line.name.text;
        let [value] = line.args.as_slice() else {
            return Err(scope.error(line, "invalid number of the split_clients parameters"));
        };
        let invalid = || scope.error(line, format!("invalid percent value \"{share}\""));
        let hundredths = if share == "*" { None } else { Some(hundredths(share).ok_or_else(invalid)?) };
        sum = hundredths.map_or(WHOLE, |share| sum.saturating_add(share));
        if sum > WHOLE {
            return Err(scope.error(block, "percent total is greater than 100%"));
        }
        // The last share of a whole takes what rounding leaves.
        let below = match hundredths {
            Some(share) if sum < WHOLE => {
                bound += (u64::from(share) * u64::from(u32::MAX) / u64::from(WHOLE)) as u32;
                Some(bound)
            }
            _ => None,
        };
        parts.push(Part { below, value: value.text.as_bytes().into() });
    }
    b.derive(name, false, Split { source, parts: parts.into() });
    Ok(())
}

/// A share like `12.5%` in hundredths of a percent; more than none of it.
pub fn hundredths(text: &str) -> Option<u32> {
    let number = text.strip_suffix('%')?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > DECIMALS || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = format!("{whole}{fraction:0<DECIMALS$}");
    digits.parse().ok().filter(|&share| share > 0)
}

/// A block, compiled.
struct Split {
    source: Template,
    parts: Box<[Part]>,
}

/// A share of the clients.
struct Part {
    /// The hashes below this are of this part or of one before it; without, all the rest is.
    below: Option<u32>,
    value: Box<[u8]>,
}

impl Derive for Split {
    fn write(&self, x: &Exchange, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        self.source.write(x, out);
        let hash = murmur2(out.get(start..).unwrap_or_default());
        out.truncate(start);
        if let Some(part) = self.parts.iter().find(|part| part.below.is_none_or(|below| hash < below)) {
            out.extend_from_slice(&part.value);
        }
        true
    }

    fn depends_on(&self, is: &dyn Fn(&Variable) -> bool) -> bool {
        self.source.holds(is)
    }
}

/// MurmurHash2, the 32-bit one, with a seed of 0: nginx's, so that both split alike.
pub fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        let mut last = [0; 4];
        last.iter_mut().zip(tail).for_each(|(to, from)| *to = *from);
        hash = (hash ^ u32::from_le_bytes(last)).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::testing::{Bench, message};

    #[test]
    fn the_hash() {
        // From another implementation, with a seed of 0.
        for (text, hash) in [("", 0), ("a", 0x9268_5f5e), ("test", 0x1812_752e), ("hello", 0xe561_29cb)] {
            assert_eq!(murmur2(text.as_bytes()), hash, "{text}");
        }
    }

    #[test]
    fn shares() {
        for (text, share) in [
            ("1%", Some(100)),
            ("0.5%", Some(50)),
            ("99.99%", Some(9999)),
            ("100%", Some(10_000)),
            ("5.%", Some(500)),
            (".5%", Some(50)),
            ("0%", None),
            ("%", None),
            (".%", None),
            ("1", None),
            ("1.234%", None),
            ("-1%", None),
            ("1.2.3%", None),
            ("99999999999%", None),
        ] {
            assert_eq!(hundredths(text), share, "{text}");
        }
    }

    #[test]
    fn errors_are_nginxs() {
        for (text, want) in [
            ("split_clients a b {}", "invalid variable name \"b\""),
            ("split_clients a $b { 1 c; }", "invalid percent value \"1\""),
            ("split_clients a $b { 60% c; 60% d; }", "percent total is greater than 100%"),
            ("split_clients a $b { * c; 1% d; }", "percent total is greater than 100%"),
            ("split_clients $nowhere $b { * c; }", "unknown \"nowhere\" variable"),
            ("split_clients a $b { 60% c; 40% d; }", "no error"),
            ("split_clients a $b { 60% c; * d; }", "no error"),
            ("split_clients a $b { 60% c; 40% d; * e; }", "no error"),
        ] {
            let text = format!("http {{ {text} server {{ }} }}");
            assert_eq!(message(Bench::new(&text, &[&FEATURE]).plan()), want, "{text}");
        }
    }
}
