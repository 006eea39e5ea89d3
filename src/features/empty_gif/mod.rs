//! `empty_gif`: a picture of one transparent pixel.

use crate::conf::{Arity, Context, Diagnostic, DirectiveSpec as D, Inherit, Scope};
use crate::http::{Known, Method, date};
use crate::pipeline::answer::{Answer, Body};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::step::{Flow, Phase, QuickStep};
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end, nothing};

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "empty_gif",
    module: Some("http_empty_gif"),
    directives: &[D::new(
        "empty_gif",
        Context::LOCATION,
        Arity::Exactly(0),
        "",
        "",
        "Answers with a picture of one transparent pixel.",
    )
    .inherit(Inherit::Never)],
    variables: &[],
    http: nothing,
    location,
    end: no_end,
};

/// The picture (GIF89a): a screen of one pixel with two colours, of which the second, white, is the
/// transparent one; and an image of one pixel in that colour.
const PIXEL: [u8; 43] = [
    // Header; width, height, a table of two colours, the background is the second.
    b'G', b'I', b'F', b'8', b'9', b'a', 1, 0, 1, 0, 0x80, 1, 0, //
    // Black, white.
    0, 0, 0, 0xff, 0xff, 0xff, //
    // Graphic control: the second colour is transparent.
    0x21, 0xf9, 4, 1, 0, 0, 1, 0, //
    // The image: place, width, height; LZW of two bits: clear, 1, end.
    0x2c, 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 2, 0x4c, 1, 0, //
    // Trailer.
    0x3b,
];

/// Since when it is as it is: nginx's date, 28 September 1970, 06:00.
const MODIFIED_UNIX_S: i64 = 23_349_600;

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    if scope.context() == Context::LOCATION && scope.here("empty_gif").next().is_some() {
        b.quick(Phase::Content, EmptyGif);
    }
    Ok(())
}

struct EmptyGif;

impl QuickStep for EmptyGif {
    fn run(&self, x: &mut Exchange) -> Flow {
        if !matches!(x.method(), Method::Get | Method::Head) {
            return Flow::Answer(Answer::Status(405));
        }
        x.answer.status = 200;
        x.answer.reason.clear();
        x.answer.content_type.clear();
        x.answer.content_type.extend_from_slice(b"image/gif");
        x.answer.length = Some(PIXEL.len() as u64);
        x.answer.fields.set_known(Known::LastModified, b"Last-Modified", &date::http(MODIFIED_UNIX_S));
        Flow::Answer(Answer::Ready(Body::Bytes(PIXEL.to_vec())))
    }
}
