//! `gunzip`: what an upstream (or a file) has compressed is unpacked for clients that cannot.

use super::accept::Acceptance;
use crate::base::buffer::Buffer;
use crate::conf::{Arity, Context, Diagnostic, DirectiveSpec as D, Scope, Values};
use crate::http::Known;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::filter::{Ask, Begun, BodyFilter, Fault, Link, Stage};
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end, nothing};
use flate2::{Decompress, FlushDecompress, Status};

const HSL: Context = Context::HTTP.or(Context::SERVER).or(Context::LOCATION);

/// The logarithm of the largest window there is: any body can be unpacked with it.
const WINDOW_BITS: u8 = 15;

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "gunzip",
    module: Some("http_gunzip"),
    directives: &[
        D::new(
            "gunzip",
            HSL,
            Arity::Flag,
            "on | off",
            "off",
            "Whether answers with Content-Encoding gzip are unpacked for clients that do not accept it.",
        ),
        D::new(
            "gunzip_buffers",
            HSL,
            Arity::Exactly(2),
            "number size",
            "32 4k|16 8k",
            "The buffers for unpacking.",
        )
        .values(Values::Buffers)
        .accepted("one buffer at a time is unpacked into, and sent"),
    ],
    variables: &[],
    http: nothing,
    location,
    end: no_end,
};

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    if scope.flag("gunzip", false)? {
        let acceptance = Acceptance::compile(scope, b)?;
        b.body_filter(Stage::Unpack, Gunzip { acceptance });
    }
    Ok(())
}

struct Gunzip {
    acceptance: Acceptance,
}

impl BodyFilter for Gunzip {
    fn begin(&self, x: &mut Exchange) -> Begun {
        let coding = x.answer.fields.find(Known::ContentEncoding);
        if !coding.is_some_and(|coding| coding.eq_ignore_ascii_case(b"gzip")) {
            return Begun::Nothing;
        }
        x.answer.coding_varies = true;
        if self.acceptance.allows(x) {
            return Begun::Nothing;
        }
        x.answer.fields.remove(Known::ContentEncoding);
        x.answer.forget_length();
        x.answer.weaken_etag();
        Begun::Through(Box::new(Unpacker { inflate: Decompress::new_gzip(WINDOW_BITS), ended: false }))
    }
}

/// Unpacks one body.
struct Unpacker {
    inflate: Decompress,
    /// A member has ended; what follows is another one (RFC 1952, 2.2).
    ended: bool,
}

impl Link for Unpacker {
    fn run(
        &mut self,
        _: &mut Exchange,
        input: &mut Buffer,
        ask: Ask,
        out: &mut Buffer,
    ) -> Result<bool, Fault> {
        loop {
            if self.ended && input.is_empty() {
                return Ok(true);
            }
            if out.room() == 0 {
                return Ok(false);
            }
            if std::mem::take(&mut self.ended) {
                self.inflate = Decompress::new_gzip(WINDOW_BITS);
            }
            let (taken, given) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self
                .inflate
                .decompress(input.filled(), out.spare(), FlushDecompress::Sync)
                .map_err(|e| Fault(format!("inflate() failed: {e}")))?;
            // Never more than the buffers hold.
            input.consume((self.inflate.total_in() - taken) as usize);
            out.advance((self.inflate.total_out() - given) as usize);
            if status == Status::StreamEnd {
                self.ended = true;
            } else if out.room() > 0 {
                // All was given that the input is good for.
                return match ask {
                    Ask::End => Err(Fault("inflate() returned -5 on response end".to_owned())),
                    Ask::More | Ask::Flush if input.is_empty() => Ok(true),
                    Ask::More | Ask::Flush => Err(Fault("inflate() does not come forward".to_owned())),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::features::gzip::tests::{failed, through};
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn packed(body: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    fn unpacker() -> Box<Unpacker> {
        Box::new(Unpacker { inflate: Decompress::new_gzip(WINDOW_BITS), ended: false })
    }

    #[test]
    fn bodies_and_members() {
        // 2 MB become 2 KB: the output of one piece fills many buffers.
        let zeros = vec![0; 2_000_000];
        for (body, piece) in [(&b"hello"[..], 1), (b"hello", 100), (b"", 5), (&zeros, 60_000)] {
            assert_eq!(through(unpacker(), &packed(body), piece, false).0, body);
        }
        let two = [packed(b"one"), packed(b"two")].concat();
        for piece in [1, 7, 1000] {
            assert_eq!(through(unpacker(), &two, piece, true).0, b"onetwo");
        }
    }

    #[test]
    fn what_is_broken_is_an_error() {
        let good = packed(b"hello hello hello");
        assert!(failed(unpacker(), &good[..good.len() - 1]).starts_with("inflate() returned"));
        assert!(failed(unpacker(), b"not packed at all").starts_with("inflate() failed"));
        assert!(failed(unpacker(), b"").starts_with("inflate() returned"));
    }
}
