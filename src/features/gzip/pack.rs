//! The compressor at work on one body.

use crate::base::buffer::Buffer;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::filter::{Ask, Fault, Link};
use flate2::{Compress, Compression, FlushCompress, Status};
use std::cell::RefCell;

/// Compressors that a shard keeps for the next body: 16 x 270 KB = 4.3 MB. One costs more to make than
/// a small body to compress.
const FREE_MAX: usize = 16;

/// How hard to try, and how far back to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Effort {
    /// `gzip_comp_level`, 1 to 9.
    pub(super) level: u32,
    /// The logarithm of `gzip_window`, 9 to 15.
    pub(super) window_bits: u8,
}

thread_local! {
    static FREE: RefCell<Vec<(Effort, Compress)>> = const { RefCell::new(Vec::new()) };
}

/// Compresses one body.
pub(super) struct Packer {
    effort: Effort,
    /// Taken when the first bytes come, given back behind the last.
    compress: Option<Compress>,
    /// What came out and does not fill a buffer yet: the compressor gives little at a time.
    held: Option<Buffer>,
}

impl Packer {
    pub(super) fn new(effort: Effort) -> Packer {
        Packer { effort, compress: None, held: None }
    }

    fn give_back(&mut self) {
        let Some(mut compress) = self.compress.take() else { return };
        // The thread is ending when the list is gone: then the memory is simply freed.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < FREE_MAX {
                compress.reset();
                free.push((self.effort, compress));
            }
        });
    }
}

impl Drop for Packer {
    fn drop(&mut self) {
        self.give_back();
    }
}

fn take(effort: Effort) -> Compress {
    let kept = FREE.with(|free| {
        let mut free = free.borrow_mut();
        let at = free.iter().rposition(|(other, _)| *other == effort)?;
        Some(free.swap_remove(at).1)
    });
    kept.unwrap_or_else(|| Compress::new_gzip(Compression::new(effort.level), effort.window_bits))
}

impl Link for Packer {
    fn run(
        &mut self,
        x: &mut Exchange,
        input: &mut Buffer,
        ask: Ask,
        out: &mut Buffer,
    ) -> Result<bool, Fault> {
        let effort = self.effort;
        let compress = self.compress.get_or_insert_with(|| take(effort));
        let flush = match ask {
            Ask::More => FlushCompress::None,
            Ask::Flush => FlushCompress::Sync,
            Ask::End => FlushCompress::Finish,
        };
        if let Some(held) = self.held.take() {
            *out = held;
        }
        loop {
            if input.is_empty() && ask == Ask::More {
                if out.room() > 0 {
                    self.held = Some(std::mem::take(out));
                }
                return Ok(true);
            }
            if out.room() == 0 {
                return Ok(false);
            }
            let (taken, given) = (compress.total_in(), compress.total_out());
            let status = compress
                .compress(input.filled(), out.spare(), flush)
                .map_err(|e| Fault(format!("deflate() failed: {e}")))?;
            let (taken, given) = (compress.total_in() - taken, compress.total_out() - given);
            // Never more than the buffers hold.
            input.consume(taken as usize);
            out.advance(given as usize);
            if status == Status::StreamEnd {
                x.packed = Some((compress.total_in(), compress.total_out()));
                self.give_back();
                return Ok(true);
            }
            if ask == Ask::Flush && input.is_empty() && out.room() > 0 {
                return Ok(true);
            }
            if taken == 0 && given == 0 {
                return Err(Fault("deflate() does not come forward".to_owned()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::features::gzip::tests::through;
    use flate2::read::MultiGzDecoder;
    use std::io::Read;

    const EFFORT: Effort = Effort { level: 6, window_bits: 15 };

    fn unpacked(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        MultiGzDecoder::new(bytes).read_to_end(&mut out).unwrap();
        out
    }

    #[test]
    fn bodies_of_all_sizes_and_efforts() {
        // Half of it repeats, half does not.
        let mut seed = 1u32;
        let noise = (0..200_000).map(|n| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if n % 2 == 0 { b'a' } else { (seed >> 24) as u8 }
        });
        let noise: Vec<u8> = noise.collect();
        for (size, piece) in [(0, 1), (1, 1), (100, 3), (200_000, 16_384), (200_000, 60_000)] {
            for effort in [EFFORT, Effort { level: 1, window_bits: 9 }, Effort { level: 9, ..EFFORT }] {
                let body = noise.get(..size).unwrap();
                let (packed, _) = through(Box::new(Packer::new(effort)), body, piece, false);
                assert_eq!(unpacked(&packed), body, "{size} {piece} {effort:?}");
            }
        }
    }

    #[test]
    fn a_flush_gives_all_that_came() {
        let (packed, pieces) = through(Box::new(Packer::new(EFFORT)), b"onetwo", 3, true);
        assert_eq!(unpacked(&packed), b"onetwo");
        assert!(pieces >= 3);
        let mut first = [0; 3];
        flate2::read::GzDecoder::new(&packed[..]).read_exact(&mut first).unwrap();
        assert_eq!(&first, b"one");
    }

    #[test]
    fn compressors_are_used_again() {
        for _ in 0..3 {
            let (packed, _) = through(Box::new(Packer::new(EFFORT)), b"again and again", 4, false);
            assert_eq!(unpacked(&packed), b"again and again");
        }
    }
}
