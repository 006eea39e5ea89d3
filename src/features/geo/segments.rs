//! Addresses to values: the whole space of addresses cut where the value changes, so that a look-up
//! is one binary search, however many networks there are.

/// The number of a value among those of its block.
pub type ValueId = u32;

/// An address as a number.
pub trait Bits: Copy + Ord {
    /// The first address.
    const FIRST: Self;
    /// The address behind it; the last one has none.
    fn next(self) -> Option<Self>;
}

impl Bits for u32 {
    const FIRST: u32 = 0;

    fn next(self) -> Option<u32> {
        self.checked_add(1)
    }
}

impl Bits for u128 {
    const FIRST: u128 = 0;

    fn next(self) -> Option<u128> {
        self.checked_add(1)
    }
}

/// The space of addresses with a value for each.
pub struct Segments<B> {
    /// Where a value begins to hold, ascending; the first is the first address.
    starts: Vec<B>,
    values: Vec<ValueId>,
}

/// Addresses from one to another, both included, and their value.
pub type Interval<B> = (B, B, ValueId);

impl<B: Bits> Segments<B> {
    /// Cuts the space at these intervals; `default` holds outside of them. Two of them are apart, or
    /// one lies within the other and holds there.
    pub fn new(mut intervals: Vec<Interval<B>>, default: ValueId) -> Segments<B> {
        // Of two that begin at the same address the wider one comes first.
        intervals.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        let mut segments = Segments { starts: Vec::new(), values: Vec::new() };
        segments.cut(B::FIRST, default);
        let mut open: Vec<(B, ValueId)> = Vec::new();
        for (start, end, value) in intervals {
            segments.close(&mut open, default, |ended| ended < start);
            segments.cut(start, value);
            open.push((end, value));
        }
        segments.close(&mut open, default, |_| true);
        segments.starts.shrink_to_fit();
        segments.values.shrink_to_fit();
        segments
    }

    /// The value of an address.
    pub fn find(&self, address: B) -> Option<ValueId> {
        let behind = self.starts.partition_point(|start| *start <= address);
        self.values.get(behind.checked_sub(1)?).copied()
    }

    /// Ends the innermost open intervals as long as their last addresses are `past`.
    fn close(&mut self, open: &mut Vec<(B, ValueId)>, default: ValueId, past: impl Fn(B) -> bool) {
        while let Some((end, _)) = open.pop_if(|(end, _)| past(*end)) {
            let outer = open.last().map_or(default, |(_, value)| *value);
            if let Some(next) = end.next() {
                self.cut(next, outer);
            }
        }
    }

    /// From this address on, which is behind all others or the last of them, the value holds.
    fn cut(&mut self, start: B, value: ValueId) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.values.pop();
        }
        if self.values.last() != Some(&value) {
            self.starts.push(start);
            self.values.push(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nested_and_adjacent() {
        let segments = Segments::new(
            vec![(10, 19, 1), (10, 13, 2), (12, 12, 3), (14, 19, 2), (0, 4, 4), (u32::MAX, u32::MAX, 5)],
            0,
        );
        for (address, value) in
            [(0, 4), (4, 4), (5, 0), (10, 2), (12, 3), (13, 2), (19, 2), (20, 0), (u32::MAX, 5)]
        {
            assert_eq!(segments.find(address), Some(value), "{address}");
        }
        assert_eq!(Segments::<u128>::new(Vec::new(), 7).find(u128::MAX), Some(7));
        assert_eq!(Segments::new(vec![(0, u32::MAX, 1)], 0).starts.len(), 1);
    }

    proptest! {
        #[test]
        fn the_longest_prefix_wins(
            networks in prop::collection::vec((any::<u32>(), 0_u32..=32), 0..40),
            probes in prop::collection::vec(any::<u32>(), 20),
        ) {
            let mask = |bits: u32| u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            let mut list: Vec<(u32, u32, u32)> =
                networks.iter().map(|&(network, bits)| (network & mask(bits), bits, 0)).collect();
            list.sort_unstable();
            list.dedup();
            for (at, entry) in list.iter_mut().enumerate() {
                entry.2 = at as u32 + 1;
            }
            let intervals = list.iter().map(|&(net, bits, value)| (net, net | !mask(bits), value)).collect();
            let segments = Segments::new(intervals, 0);
            let edges = list.iter().flat_map(|&(net, bits, _)| [net, net | !mask(bits), net.wrapping_sub(1)]);
            for probe in probes.iter().copied().chain(edges) {
                let holding = list.iter().filter(|&&(net, bits, _)| probe & mask(bits) == net);
                let want = holding.max_by_key(|entry| entry.1).map_or(0, |entry| entry.2);
                prop_assert_eq!(segments.find(probe), Some(want));
            }
        }
    }
}
