//! `charset`: what `Content-Type` says of the charset, and the recoding of bodies into it.

mod maps;
mod recode;
#[cfg(test)]
mod tests;
mod utf8;

use crate::base::process_settings::Level;
use crate::conf::{Arity, Block, Context, Diagnostic, DirectiveSpec as D, Inherit, Scope};
use crate::http::Known;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::filter::{Begun, BodyFilter, Stage};
use crate::pipeline::template::Template;
use crate::pipeline::type_set::{TypeSet, split_charset};
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end};
use maps::Maps;
use recode::Recoder;
use std::sync::Arc;

const HSL_IF: Context = Context::HTTP.or(Context::SERVER).or(Context::LOCATION).or(Context::IF_IN_LOCATION);

const ONE: Arity = Arity::Exactly(1);

/// The types whose charset is told unless `charset_types` says other ones.
const TYPES: [&str; 5] =
    ["text/xml", "text/plain", "text/vnd.wap.wml", "application/javascript", "application/rss+xml"];

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "charset",
    module: Some("http_charset"),
    directives: &[
        D::new("charset", HSL_IF, ONE, "charset | off", "off", "The charset that Content-Type names, and that bodies of another one are recoded into."),
        D::new("source_charset", HSL_IF, ONE, "charset", "", "The charset that bodies are in where their Content-Type names none."),
        D::new("override_charset", HSL_IF, Arity::Flag, "on | off", "off", "Whether bodies are recoded whose Content-Type, from an upstream, names a charset already."),
        D::new(
            "charset_types",
            Context::HTTP.or(Context::SERVER).or(Context::LOCATION),
            Arity::AtLeast(1),
            "mime-type ...",
            "text/html text/xml text/plain text/vnd.wap.wml application/javascript application/rss+xml",
            "The media types that charset applies to, beside text/html; * for any.",
        )
        .inherit(Inherit::Together),
        D::new("charset_map", Context::HTTP, Arity::Exactly(2), "charset1 charset2", "", "A table between two charsets: each line is a byte of the first and a byte, or a character in UTF-8, of the second.")
            .block(Block::Entries)
            .inherit(Inherit::NeverMany),
    ],
    variables: &[],
    http,
    location,
    end: no_end,
};

/// The tables, for the locations.
#[derive(Default)]
struct Tables(Arc<Maps>);

fn http(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let mut maps = Maps::default();
    scope.here("charset_map").try_for_each(|block| maps.add(scope, block))?;
    b.store::<Tables>().0 = Arc::new(maps);
    Ok(())
}

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    let maps = b.store::<Tables>().0.clone();
    let name = |name: &str| scope.one(name).and_then(|line| line.args.first());
    let wanted = name("charset").filter(|word| word.text != "off");
    let source = name("source_charset");
    let wanted = wanted.map(|word| b.template(word)).transpose()?;
    let source = source.map(|word| b.template(word)).transpose()?;
    if let (Some(from), Some(to)) =
        (source.as_ref().and_then(Template::as_literal), wanted.as_ref().and_then(Template::as_literal))
        && !from.eq_ignore_ascii_case(to)
        && maps.way(from, to).is_none()
    {
        return Err(Diagnostic::new(Level::Emerg, no_way(from, to)));
    }
    let overriding = scope.flag("override_charset", false)?;
    // An upstream can name a charset too, to recode into; and a part of another answer gets that one's.
    if wanted.is_some() || source.is_some() || !maps.is_empty() {
        let types = TypeSet::compile(scope, "charset_types", &TYPES);
        b.body_filter(Stage::Charset, Charset { wanted, source, overriding, types, maps });
    }
    Ok(())
}

fn no_way(from: &[u8], to: &[u8]) -> String {
    let (from, to) = (String::from_utf8_lossy(from), String::from_utf8_lossy(to));
    format!("no \"charset_map\" between the charsets \"{from}\" and \"{to}\"")
}

/// What one location was told.
struct Charset {
    /// `charset`.
    wanted: Option<Template>,
    /// `source_charset`.
    source: Option<Template>,
    /// `override_charset`.
    overriding: bool,
    types: TypeSet,
    maps: Arc<Maps>,
}

impl Charset {
    /// Whether the configuration names this charset, here or in a table.
    fn knows(&self, name: &[u8]) -> bool {
        let own = [&self.wanted, &self.source].into_iter().flatten().filter_map(Template::as_literal);
        self.maps.knows(name) || own.into_iter().any(|own| own.eq_ignore_ascii_case(name))
    }

    /// The charset that the answer is to be in.
    fn destination(&self, x: &Exchange) -> Option<Vec<u8>> {
        // That of the answer it is a part of,
        if x.depth > 0 {
            return x.answer.charset.clone();
        }
        // or the one that the upstream named,
        if let Some(named) = &x.answer.charset {
            if !self.knows(named) {
                let named = String::from_utf8_lossy(named);
                x.log(Level::Error, format_args!("unknown charset \"{named}\" to override"));
                return None;
            }
            return Some(named.clone());
        }
        // or the location's own.
        let wanted = self.wanted.as_ref()?;
        let applies = match split_charset(&x.answer.content_type).1 {
            Some(_) => self.overriding,
            None => self.types.contains(&x.answer.content_type),
        };
        applies.then(|| wanted.value(x))
    }
}

impl BodyFilter for Charset {
    fn begin(&self, x: &mut Exchange) -> Begun {
        if x.answer.content_type.is_empty() {
            return Begun::Nothing;
        }
        let Some(to) = self.destination(x) else { return Begun::Nothing };
        let told = split_charset(&x.answer.content_type).1.map(<[u8]>::to_vec);
        let Some(from) = told.or_else(|| self.source.as_ref().map(|source| source.value(x))) else {
            set_charset(x, &to);
            return Begun::Nothing;
        };
        if from.eq_ignore_ascii_case(&to) {
            set_charset(x, &to);
            return Begun::Nothing;
        }
        if x.answer.fields.find(Known::ContentEncoding).is_some_and(|coding| !coding.is_empty()) {
            return Begun::Nothing;
        }
        let Some(table) = self.maps.way(&from, &to) else {
            x.log(Level::Error, format_args!("{}", no_way(&from, &to)));
            return Begun::Nothing;
        };
        set_charset(x, &to);
        if !matches!(**table, maps::Table::Bytes(_)) {
            x.answer.length = None;
        }
        Begun::Through(Box::new(Recoder::new(table.clone())))
    }
}

/// Names the charset in `Content-Type`; not for redirects, as old browsers took it for that of the page
/// they were sent to.
fn set_charset(x: &mut Exchange, charset: &[u8]) {
    if x.depth > 0 {
        return;
    }
    let (media_type, _) = split_charset(&x.answer.content_type);
    let len = media_type.len();
    x.answer.content_type.truncate(len);
    if !matches!(x.answer.status, 301 | 302) && !charset.is_empty() {
        x.answer.content_type.extend_from_slice(b"; charset=");
        x.answer.content_type.extend_from_slice(charset);
    }
}
