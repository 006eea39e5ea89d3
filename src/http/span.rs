//! A range of bytes in somebody else's buffer.

/// Where something stands in a buffer: `start..end`, in bytes. It holds no reference, so a head can
/// be recycled and its buffer moved while the span stays right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The span `start..end`. Offsets beyond 4 GiB saturate; heads are bounded far below that.
    pub fn new(start: usize, end: usize) -> Span {
        let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Span { start: narrow(start), end: narrow(end) }
    }

    /// The bytes meant, or none when the span does not lie inside `buf`.
    #[inline]
    pub fn of<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        buf.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// Length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    /// True when it covers no byte.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same bytes when the buffer's front grew by `by` bytes.
    pub fn shifted(&self, by: usize) -> Span {
        Span::new(self.start as usize + by, self.end as usize + by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_outside_its_buffer_is_empty() {
        for (start, end, want) in
            [(0, 3, &b"abc"[..]), (1, 1, b""), (2, 4, b""), (4, 9, b""), (3, 3, b""), (2, 1, b"")]
        {
            assert_eq!(Span { start, end }.of(b"abc"), want, "{start}..{end}");
        }
        assert_eq!(Span { start: 5, end: 2 }.len(), 0);
        assert!(Span::default().is_empty());
        assert_eq!(Span::new(1, 3).shifted(4), Span { start: 5, end: 7 });
        assert_eq!(Span::new(usize::MAX, usize::MAX).of(b"abc"), b"");
    }
}
