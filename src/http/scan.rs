//! Finding the byte that ends a run, many bytes at a time.

/// The byte 0x01 eight times over.
const ONES: u64 = 0x0101_0101_0101_0101;
/// The high bit of each of eight bytes.
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Bytes looked at in one wide step: two 128-bit vectors, which every x86-64 and ARMv8 has.
const WIDE: usize = 32;

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

/// Index of the first byte that is below `LIMIT` (at most 0x80) or DEL.
///
/// `b - LIMIT` borrows into bit 7 exactly when b < LIMIT and bit 7 was clear. The borrow may also
/// spoil the bytes above, never those below, so the lowest flagged byte is always a true one.
#[inline]
fn first<const LIMIT: u8>(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    // Long values are passed over in wide steps, which the compiler turns into vector compares.
    while let Some((block, tail)) = rest.split_first_chunk::<WIDE>() {
        if block.iter().fold(false, |hit, &b| hit | (b < LIMIT) | (b == 0x7f)) {
            break;
        }
        rest = tail;
    }
    while let Some((block, tail)) = rest.split_first_chunk::<8>() {
        let x = u64::from_le_bytes(*block);
        let low = x.wrapping_sub(ONES * LIMIT as u64) & !x;
        let del = x ^ (ONES * 0x7f);
        let del = del.wrapping_sub(ONES) & !del;
        let hit = (low | del) & HIGH;
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
        fn finds_the_only_one(at in 0usize..30, byte in any::<u8>()) {
            let mut bytes = [b'\xe9'; 30];
            bytes[at] = byte;
            let hit = byte < 0x20 || byte == 0x7f;
            prop_assert_eq!(control(&bytes), if hit { at } else { 30 });
        }
    }
}
