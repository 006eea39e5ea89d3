//! How an upstream's body is passed on, beside as it is: at a bounded rate, a part of it only, and with
//! which of its trailer fields.

use super::field_set::FieldSet;
use super::local::Slot;
use crate::base::buffer::Buffer;
use std::ops::Range;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What is to be done to the body.
#[derive(Default)]
pub struct Passing {
    /// Bytes a second it is read at; 0 for any.
    pub rate: u64,
    /// Its trailer fields are passed on, but for these.
    pub trailers_but: Option<Arc<FieldSet>>,
    /// Where it waits for a client that is slower than the upstream, if it may.
    pub spool: Option<Slot<Rc<SpoolRules>>>,
    /// As long as the upstream sends it is not asked whether the client is still there
    /// (`proxy_ignore_client_abort`).
    pub ignores_client_abort: bool,
    /// How long the upstream of a tunnel may take nothing of what is sent to it.
    pub tunnel_send_timeout: Option<Duration>,
    part: Option<Part>,
}

/// What an answer may take while it waits for its client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpoolRules {
    /// Bytes in memory: `proxy_buffers`. The last piece may go beyond.
    pub memory_bytes: usize,
    /// Bytes of a temporary file: `proxy_max_temp_file_size`. The last piece may go beyond.
    pub file_max: u64,
    /// Bytes that are written to it at once: `proxy_temp_file_write_size`.
    pub write_bytes: usize,
    /// Where it is made: `proxy_temp_path`.
    pub folder: PathBuf,
}

/// The part of the body that is passed on.
struct Part {
    /// Bytes before it that are still to come.
    skip: u64,
    /// Bytes of it that are still to come.
    left: u64,
}

impl Passing {
    /// Only these bytes are passed on.
    pub fn only(&mut self, range: Range<u64>) {
        self.part = Some(Part { skip: range.start, left: range.end.saturating_sub(range.start) });
    }

    /// What of the next piece is passed on; may be empty.
    pub fn cut(&mut self, mut piece: Buffer) -> Buffer {
        let Some(part) = &mut self.part else { return piece };
        let skipped = part.skip.min(piece.len() as u64);
        part.skip -= skipped;
        piece.consume(skipped as usize);
        if piece.len() as u64 > part.left {
            piece.truncate(part.left as usize);
        }
        part.left -= piece.len() as u64;
        piece
    }

    /// Whether all of it is passed on, as fast as it comes.
    pub fn is_plain(&self) -> bool {
        self.part.is_none() && self.rate == 0
    }

    /// Whether nothing more is passed on, although more may come.
    pub fn is_over(&self) -> bool {
        self.part.as_ref().is_some_and(|part| part.left == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_cut_out_of_pieces() {
        let mut passing = Passing::default();
        passing.only(3..8);
        let mut got = Vec::new();
        for piece in ["ab", "cdef", "gh", "ijk"] {
            assert!(!passing.is_over() || piece == "ijk");
            let mut buffer = Buffer::with_capacity(piece.len());
            buffer.append(piece.as_bytes());
            got.extend_from_slice(passing.cut(buffer).filled());
        }
        assert_eq!(got, b"defgh");
        assert!(passing.is_over());
    }
}
