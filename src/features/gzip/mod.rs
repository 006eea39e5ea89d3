//! `gzip`: answers are compressed for clients that accept it. Beside it `gunzip`, which unpacks them for
//! those that do not, and `gzip_static`, for files that are kept compressed: what all three ask of a
//! request is said by the same directives.

mod accept;
pub mod gunzip;
mod pack;
pub mod precompressed;
#[cfg(test)]
mod tests;

use crate::conf::{Arity, Context, Diagnostic, DirectiveSpec as D, Inherit, Scope, Values};
use crate::http::Known;
use crate::pipeline::connection::push_decimal;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::filter::{Begun, BodyFilter, Stage};
use crate::pipeline::type_set::TypeSet;
use crate::pipeline::variable::VariableSpec;
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end};
use accept::Acceptance;
use pack::{Effort, Packer};

const HSL: Context = Context::HTTP.or(Context::SERVER).or(Context::LOCATION);

const ONE: Arity = Arity::Exactly(1);

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "gzip",
    module: Some("http_gzip"),
    directives: &[
        D::new("gzip", HSL.or(Context::IF_IN_LOCATION), Arity::Flag, "on | off", "off", "Whether answers with status 200, 403 or 404 are compressed for clients that accept gzip."),
        D::new("gzip_types", HSL, Arity::AtLeast(1), "mime-type ...", "text/html", "The media types that are compressed, beside text/html; * for any.").inherit(Inherit::Together),
        D::new("gzip_min_length", HSL, ONE, "length", "20", "Answers whose Content-Length is smaller are not compressed."),
        D::new("gzip_comp_level", HSL, ONE, "level", "1", "How hard the compressor tries, from 1 to 9."),
        D::new("gzip_window", HSL, ONE, "size", "32k", "How far back the compressor looks: 512, 1k, 2k, 4k, 8k, 16k or 32k."),
        D::new("gzip_proxied", HSL, Arity::AtLeast(1), "off | expired | no-cache | no-store | private | no_last_modified | no_etag | auth | any ...", "off", "Which answers to requests that came through a proxy (with a Via field) are compressed.").inherit(Inherit::Together),
        D::new("gzip_vary", HSL, Arity::Flag, "on | off", "off", "Whether answers that are compressed for some clients and not for others have the field Vary: Accept-Encoding."),
        D::new("gzip_http_version", HSL, ONE, "1.0 | 1.1", "1.1", "The lowest version of a request whose answer is compressed."),
        D::new("gzip_disable", HSL, Arity::AtLeast(1), "regex ... | msie6", "", "No answer is compressed for clients whose User-Agent matches one of these; msie6 means Internet Explorer 4 to 6.").inherit(Inherit::Together),
        D::new("gzip_buffers", HSL, Arity::Exactly(2), "number size", "32 4k|16 8k", "The buffers for compressed bodies.").values(Values::Buffers).accepted("one buffer at a time is compressed into, and sent"),
        D::new("gzip_hash", HSL, ONE, "size", "64k", "The size of a table of zlib's.").values(Values::Size).accepted("the compressor chooses its tables itself"),
        D::new("gzip_no_buffer", HSL, Arity::Flag, "on | off", "off", "Whether each piece of a compressed body is sent at once.").accepted("a piece is sent when a buffer is full or the body pauses"),
        D::new("postpone_gzipping", HSL, ONE, "size", "0", "How much of a body is gathered before it is compressed.").values(Values::Size).accepted("compressors are kept, so that there is nothing to wait for"),
    ],
    variables: &[VariableSpec {
        name: "gzip_ratio",
        family: false,
        eval: ratio,
        doc: "How many times smaller the compressed body was; none for one that was not compressed.",
    }],
    http,
    location,
    end: no_end,
};

/// What is wrong at the http level is told even where no server inherits it.
fn http(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    Gzip::compile(scope, b).map(drop)
}

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let gzip = Gzip::compile(scope, b)?;
    if scope.flag("gzip", false)? {
        b.body_filter(Stage::Pack, gzip);
    }
    if scope.flag("gzip_vary", false)? {
        b.body_filter(Stage::Last, Vary);
    }
    Ok(())
}

/// What one location says of it.
struct Gzip {
    acceptance: Acceptance,
    types: TypeSet,
    /// Bytes.
    min_length: u64,
    effort: Effort,
}

impl Gzip {
    fn compile(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<Gzip, Diagnostic> {
        Ok(Gzip {
            acceptance: Acceptance::compile(scope, b)?,
            types: TypeSet::compile(scope, "gzip_types", &[]),
            min_length: scope.size("gzip_min_length", 20)?,
            effort: Effort { level: level(scope)?, window_bits: window_bits(scope)? },
        })
    }
}

fn level(scope: &Scope<'_>) -> Result<u32, Diagnostic> {
    let level = scope.number("gzip_comp_level", 1)?;
    match (scope.one("gzip_comp_level"), u32::try_from(level)) {
        (_, Ok(level @ 1..=9)) => Ok(level),
        (Some(line), _) => Err(scope.error(line, "value must be between 1 and 9")),
        (None, _) => Ok(1),
    }
}

fn window_bits(scope: &Scope<'_>) -> Result<u8, Diagnostic> {
    let size = scope.size("gzip_window", 1 << 15)?;
    match (scope.one("gzip_window"), (9..=15u8).find(|bits| 1 << bits == size)) {
        (_, Some(bits)) => Ok(bits),
        (Some(line), None) => Err(scope
            .error(line, "\"gzip_window\" directive must be 512, 1k, 2k, 4k, 8k, 16k, or 32k".to_owned())),
        (None, None) => Ok(15),
    }
}

impl BodyFilter for Gzip {
    fn begin(&self, x: &mut Exchange) -> Begun {
        let answer = &mut x.answer;
        if !matches!(answer.status, 200 | 403 | 404)
            || answer.fields.find(Known::ContentEncoding).is_some_and(|coding| !coding.is_empty())
            || answer.length.is_some_and(|length| length < self.min_length)
            || !self.types.contains(&answer.content_type)
        {
            return Begun::Nothing;
        }
        answer.coding_varies = true;
        if !self.acceptance.allows(x) {
            return Begun::Nothing;
        }
        x.answer.fields.push_known(Known::ContentEncoding, b"Content-Encoding", b"gzip");
        x.answer.forget_length();
        x.answer.weaken_etag();
        Begun::Through(Box::new(Packer::new(self.effort)))
    }
}

/// `gzip_vary on`.
struct Vary;

impl BodyFilter for Vary {
    fn begin(&self, x: &mut Exchange) -> Begun {
        if x.answer.coding_varies {
            x.answer.fields.push_front(Known::Vary, b"Vary", b"Accept-Encoding");
        }
        Begun::Nothing
    }
}

/// `$gzip_ratio`, with two decimals, rounded.
fn ratio(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    let Some((before, after)) = x.packed.filter(|(_, after)| *after > 0) else { return false };
    let hundredths = u128::from(before) * 1000 / u128::from(after);
    let hundredths = u64::try_from(hundredths / 10 + u128::from(hundredths % 10 > 4)).unwrap_or(u64::MAX);
    push_decimal(out, hundredths / 100);
    out.push(b'.');
    if hundredths % 100 < 10 {
        out.push(b'0');
    }
    push_decimal(out, hundredths % 100);
    true
}
