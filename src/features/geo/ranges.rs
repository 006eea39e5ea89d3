//! The ranges of a `geo` with `ranges`, by nginx's rules: they are kept in parts of 65,536 addresses
//! each, and within a part a later range may lie in an earlier one, but not reach beyond it.

use super::segments::{Interval, ValueId};

/// The parts of the space of IPv4 addresses.
const PARTS: usize = 1 << 16;

/// Ranges while they are read.
#[derive(Default)]
pub struct Ranges {
    /// Those of each part, apart from each other and ascending; empty until the first is added.
    parts: Vec<Vec<Range>>,
}

/// A range within its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    start: u16,
    end: u16,
    value: ValueId,
}

/// What became of a range that was added.
#[derive(Debug, PartialEq, Eq)]
pub enum Added {
    /// It is there.
    New,
    /// It, or a part of it, was there with this value; it has the new one now.
    Again(ValueId),
    /// It reaches beyond this one, which it meets.
    Overlaps(u32, u32),
}

impl Ranges {
    /// Adds the addresses from `start` to `end`, both included.
    pub fn add(&mut self, start: u32, end: u32, value: ValueId) -> Added {
        if self.parts.is_empty() {
            self.parts = vec![Vec::new(); PARTS];
        }
        let mut added = Added::New;
        for (number, start, end) in pieces(start, end) {
            let Some(part) = self.parts.get_mut(number) else { break };
            match add(part, Range { start, end, value }) {
                Ok(None) => {}
                Ok(Some(old)) => added = Added::Again(old),
                Err(Range { start, end, .. }) => {
                    let base = (number as u32) << 16;
                    return Added::Overlaps(base | u32::from(start), base | u32::from(end));
                }
            }
        }
        added
    }

    /// Removes a range that was added; false when it, or a part of it, is not there.
    pub fn remove(&mut self, start: u32, end: u32) -> bool {
        let mut all = true;
        for (number, start, end) in pieces(start, end) {
            let part = self.parts.get_mut(number);
            let found = part.as_ref().and_then(|part| {
                part.binary_search_by_key(&start, |range| range.start)
                    .ok()
                    .filter(|&at| part.get(at).is_some_and(|range| range.end == end))
            });
            match (part, found) {
                (Some(part), Some(at)) => drop(part.remove(at)),
                _ => all = false,
            }
        }
        all
    }

    /// All of them.
    pub fn into_intervals(self) -> Vec<Interval<u32>> {
        let whole = |number: usize, low: u16| (number as u32) << 16 | u32::from(low);
        let parts = self.parts.into_iter().enumerate();
        parts
            .flat_map(|(number, part)| {
                part.into_iter().map(move |r| (whole(number, r.start), whole(number, r.end), r.value))
            })
            .collect()
    }
}

/// The pieces of a range, one in each part that it meets: the part's number, first and last address.
fn pieces(start: u32, end: u32) -> impl Iterator<Item = (usize, u16, u16)> {
    let (first, last) = (start >> 16, end >> 16);
    (first..=last).map(move |number| {
        let from = if number == first { start as u16 } else { 0 };
        let to = if number == last { end as u16 } else { u16::MAX };
        (number as usize, from, to)
    })
}

/// Adds a range to its part: the old value where the same range is there.
fn add(part: &mut Vec<Range>, new: Range) -> Result<Option<ValueId>, Range> {
    let behind = part.partition_point(|range| range.start <= new.end);
    let Some(at) = behind.checked_sub(1) else {
        part.insert(0, new);
        return Ok(None);
    };
    let Some(old) = part.get(at).copied().filter(|old| new.start <= old.end) else {
        part.insert(behind, new);
        return Ok(None);
    };
    if new.start < old.start || new.end > old.end {
        return Err(old);
    }
    // What is left of the old one in front of it, and behind it.
    let front = new.start.checked_sub(1).filter(|&end| end >= old.start && new.start > old.start);
    let back = new.end.checked_add(1).filter(|&start| start <= old.end);
    let left = [front.map(|end| Range { end, ..old }), Some(new), back.map(|start| Range { start, ..old })];
    let same = front.is_none() && back.is_none();
    part.splice(at..=at, left.into_iter().flatten());
    Ok(same.then_some(old.value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_within_ranges() {
        let mut ranges = Ranges::default();
        let list = [(100, 200, 1), (120, 130, 2), (100, 105, 3), (190, 200, 4), (50, 60, 5), (250, 300, 6)];
        for (start, end, value) in list {
            assert_eq!(ranges.add(start, end, value), Added::New, "{start}-{end}");
        }
        assert_eq!(ranges.add(120, 130, 7), Added::Again(2));
        assert_eq!(ranges.add(90, 110, 8), Added::Overlaps(106, 119));
        assert_eq!(ranges.add(240, 400, 8), Added::Overlaps(250, 300));
        assert!(ranges.remove(250, 300) && !ranges.remove(250, 300) && !ranges.remove(50, 59));
        assert_eq!(
            ranges.into_intervals(),
            [(50, 60, 5), (100, 105, 3), (106, 119, 1), (120, 130, 7), (131, 189, 1), (190, 200, 4)]
        );
    }

    #[test]
    fn ranges_over_several_parts() {
        let mut ranges = Ranges::default();
        assert_eq!(ranges.add(0x1_fff0, 0x3_000f, 1), Added::New);
        assert_eq!(ranges.add(0x2_0000, 0x2_ffff, 2), Added::Again(1));
        assert!(ranges.remove(0x1_fff0, 0x1_ffff) && !ranges.remove(0x1_0000, 0x2_ffff));
        assert_eq!(ranges.into_intervals(), [(0x3_0000, 0x3_000f, 1)]);
        let mut whole = Ranges::default();
        assert_eq!(whole.add(0, u32::MAX, 1), Added::New);
        assert_eq!(whole.into_intervals().len(), PARTS);
        assert!(!Ranges::default().remove(1, 2));
    }
}
