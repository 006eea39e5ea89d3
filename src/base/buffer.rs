//! Byte buffers from a free list of the thread, so that a request allocates none.
//!
//! ```text
//! 0        start      end         capacity
//! | consumed |  filled  |   spare   |
//! ```

use super::limits::{
    BUFFER_BYTES, FREE_BUFFERS_MAX, FREE_LARGE_BUFFERS_MAX, FREE_SMALL_BUFFERS_MAX, LARGE_BUFFER_BYTES,
    SMALL_BUFFER_BYTES,
};
use std::cell::RefCell;

/// A fixed-size byte buffer with a filled window. Dropped, its memory goes back to the free list
/// of the thread it is dropped on.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

thread_local! {
    static FREE: RefCell<FreeLists> =
        const { RefCell::new(FreeLists { small: Vec::new(), ordinary: Vec::new(), large: Vec::new() }) };
}

struct FreeLists {
    small: Vec<Box<[u8]>>,
    ordinary: Vec<Box<[u8]>>,
    large: Vec<Box<[u8]>>,
}

impl Buffer {
    /// A small buffer ([`SMALL_BUFFER_BYTES`]).
    pub fn small() -> Buffer {
        let bytes = FREE.with(|free| free.borrow_mut().small.pop());
        Buffer::over(bytes.unwrap_or_else(|| zeroed(SMALL_BUFFER_BYTES)))
    }

    /// An ordinary buffer ([`BUFFER_BYTES`]).
    pub fn ordinary() -> Buffer {
        let bytes = FREE.with(|free| free.borrow_mut().ordinary.pop());
        Buffer::over(bytes.unwrap_or_else(|| zeroed(BUFFER_BYTES)))
    }

    /// A large buffer ([`LARGE_BUFFER_BYTES`]).
    pub fn large() -> Buffer {
        let bytes = FREE.with(|free| free.borrow_mut().large.pop());
        Buffer::over(bytes.unwrap_or_else(|| zeroed(LARGE_BUFFER_BYTES)))
    }

    /// A buffer of at least `bytes`: from the free lists where one fits, else made for the occasion.
    pub fn with_capacity(bytes: usize) -> Buffer {
        if bytes <= SMALL_BUFFER_BYTES {
            Buffer::small()
        } else if bytes <= BUFFER_BYTES {
            Buffer::ordinary()
        } else if bytes <= LARGE_BUFFER_BYTES {
            Buffer::large()
        } else {
            Buffer::over(zeroed(bytes))
        }
    }

    fn over(bytes: Box<[u8]>) -> Buffer {
        Buffer { bytes, start: 0, end: 0 }
    }

    /// The filled bytes.
    #[inline]
    pub fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The filled bytes, to be changed in place.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// The bytes behind the filled ones, free to be written.
    #[inline]
    pub fn spare(&mut self) -> &mut [u8] {
        &mut self.bytes[self.end..]
    }

    /// How many bytes are filled.
    #[inline]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether nothing is filled.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// How many bytes fit in all.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// How many bytes may still be appended.
    #[inline]
    pub fn room(&self) -> usize {
        self.bytes.len() - self.end
    }

    /// Counts `n` bytes of the spare part as filled (at most all of it).
    #[inline]
    pub fn advance(&mut self, n: usize) {
        self.end = (self.end + n).min(self.bytes.len());
    }

    /// Drops `n` filled bytes from the front (at most all of them).
    #[inline]
    pub fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Keeps only the first `n` filled bytes.
    pub fn truncate(&mut self, n: usize) {
        self.end = (self.start + n).min(self.end);
    }

    /// Forgets everything filled.
    #[inline]
    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Appends what fits of `bytes` and returns how much that was.
    #[inline]
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.room());
        self.bytes[self.end..self.end + n].copy_from_slice(&bytes[..n]);
        self.end += n;
        n
    }

    /// Moves the filled bytes to the front, so that all that is free is spare.
    pub fn compact(&mut self) {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
    }

    /// Moves everything into a buffer of at least `bytes`.
    pub fn grow(&mut self, bytes: usize) {
        let mut larger = Buffer::with_capacity(bytes);
        larger.append(self.filled());
        *self = larger;
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        // The thread is ending when the list is gone: then the memory is simply freed.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            match bytes.len() {
                SMALL_BUFFER_BYTES if free.small.len() < FREE_SMALL_BUFFERS_MAX => free.small.push(bytes),
                BUFFER_BYTES if free.ordinary.len() < FREE_BUFFERS_MAX => free.ordinary.push(bytes),
                LARGE_BUFFER_BYTES if free.large.len() < FREE_LARGE_BUFFERS_MAX => free.large.push(bytes),
                _ => drop(bytes),
            }
        });
    }
}

fn zeroed(bytes: usize) -> Box<[u8]> {
    vec![0; bytes].into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_moves_and_never_leaves_the_memory() {
        let mut b = Buffer::ordinary();
        assert_eq!(b.append(b"hello world"), 11);
        b.consume(6);
        assert_eq!(b.filled(), b"world");
        b.compact();
        assert_eq!((b.filled(), b.room()), (&b"world"[..], BUFFER_BYTES - 5));
        b.consume(99);
        assert!(b.is_empty());
        b.advance(usize::MAX / 2);
        assert_eq!(b.len(), BUFFER_BYTES);
        assert_eq!(b.append(b"x"), 0);
    }

    #[test]
    fn memory_is_recycled_by_class() {
        let first = Buffer::ordinary();
        let address = first.bytes.as_ptr();
        drop(first);
        assert_eq!(Buffer::ordinary().bytes.as_ptr(), address);
        assert_eq!(Buffer::with_capacity(BUFFER_BYTES + 1).capacity(), LARGE_BUFFER_BYTES);
        let mut b = Buffer::with_capacity(10);
        b.append(b"kept");
        b.grow(100_000);
        assert_eq!(b.filled(), b"kept");
    }
}
