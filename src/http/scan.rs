//! Finding the byte that ends a run, many bytes at a time.

/// The byte 0x01 eight times over.
const ONES: u64 = 0x0101_0101_0101_0101;
/// The high bit of each of eight bytes.
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Steps of eight bytes before the wide ones.
const SHORT_BLOCKS: usize = 2;

/// Bytes looked at in one wide step: two 128-bit vectors, which every x86-64 and ARMv8 has.
const WIDE: usize = 32;

/// Steps of eight bytes in which the colon behind a known name is looked for.
const NAME_BLOCKS: usize = 3;

/// Index of the first control byte (below 0x20, or DEL), or the length when there is none. TAB, CR
/// and LF count: the caller says what each means.
#[inline]
pub(super) fn control(bytes: &[u8]) -> usize {
    first::<0x20>(bytes)
}

/// Index of the first space or control byte, or the length when there is none.
#[inline]
pub(super) fn space_or_control(bytes: &[u8]) -> usize {
    first::<0x21>(bytes)
}

/// Index of the first colon, if it stands where a known name may end and the bytes go on for a while.
#[inline]
pub(super) fn colon_in_name(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    for block in bytes.as_chunks::<8>().0.iter().take(NAME_BLOCKS) {
        let x = u64::from_le_bytes(*block) ^ (ONES * b':' as u64);
        // As below: the lowest flag is a true one.
        let hit = x.wrapping_sub(ONES) & !x & HIGH;
        if hit != 0 {
            return Some(at + hit.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    None
}

/// The bytes that are below `LIMIT` (at most 0x80) or DEL, each by its high bit.
///
/// `b - LIMIT` borrows into bit 7 exactly when b < LIMIT and bit 7 was clear. The borrow may also
/// spoil the bytes above, never those below, so the lowest flagged byte is always a true one.
#[inline]
fn flags<const LIMIT: u8>(block: &[u8; 8]) -> u64 {
    let x = u64::from_le_bytes(*block);
    let low = x.wrapping_sub(ONES * LIMIT as u64) & !x;
    let del = x ^ (ONES * 0x7f);
    let del = del.wrapping_sub(ONES) & !del;
    (low | del) & HIGH
}

/// Index of the first byte that is below `LIMIT` or DEL.
#[inline]
fn first<const LIMIT: u8>(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    // Most values are short.
    for _ in 0..SHORT_BLOCKS {
        let Some((block, tail)) = rest.split_first_chunk::<8>() else { break };
        let hit = flags::<LIMIT>(block);
        if hit != 0 {
            return bytes.len() - rest.len() + hit.trailing_zeros() as usize / 8;
        }
        rest = tail;
    }
    // Long values are passed over in wide steps, which the compiler turns into vector compares.
    while let Some((block, tail)) = rest.split_first_chunk::<WIDE>() {
        if block.iter().fold(false, |hit, &b| hit | (b < LIMIT) | (b == 0x7f)) {
            break;
        }
        rest = tail;
    }
    while let Some((block, tail)) = rest.split_first_chunk::<8>() {
        let hit = flags::<LIMIT>(block);
        if hit != 0 {
            return bytes.len() - rest.len() + hit.trailing_zeros() as usize / 8;
        }
        rest = tail;
    }
    let done = bytes.len() - rest.len();
    done + rest.iter().position(|&b| b < LIMIT || b == 0x7f).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_a_plain_loop(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let plain = |limit: u8| {
                bytes.iter().position(|&b| b < limit || b == 0x7f).unwrap_or(bytes.len())
            };
            prop_assert_eq!(control(&bytes), plain(0x20));
            prop_assert_eq!(space_or_control(&bytes), plain(0x21));
        }

        #[test]
        fn a_colon_that_is_found_is_the_first(bytes in proptest::collection::vec(0x38u8..0x3d, 0..40)) {
            let first = bytes.iter().position(|&b| b == b':');
            match colon_in_name(&bytes) {
                Some(at) => prop_assert_eq!(Some(at), first),
                None => prop_assert!(first.is_none_or(|at| at >= 24 || at >= bytes.len() / 8 * 8)),
            }
        }

        #[test]
        fn finds_the_only_one(at in 0usize..30, byte in any::<u8>()) {
            let mut bytes = [b'\xe9'; 30];
            bytes[at] = byte;
            let hit = byte < 0x20 || byte == 0x7f;
            prop_assert_eq!(control(&bytes), if hit { at } else { 30 });
        }
    }
}
