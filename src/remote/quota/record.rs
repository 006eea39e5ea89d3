//! The records of a file of counts: lines of text, each with a sum over it, that say how much more was
//! used. What a window came to is the sum of its records, so several processes may write to one file.
//!
//! ```text
//! octroi quota 1
//! 1f0c93ab day 20780 17 consumer:mobile
//! ```

use crate::bridge::window::Window;
use std::io::Write;

/// The first line: what the file is, and of which kind.
pub(super) const HEAD: &[u8] = b"octroi quota 1\n";

/// Digits of a sum.
const SUM_DIGITS: usize = 8;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) window: Window,
    /// The window's number.
    pub(super) number: u64,
    /// Requests.
    pub(super) count: u64,
    pub(super) caller: Vec<u8>,
}

/// What a text could not be read of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Damage {
    /// Records.
    pub(super) records: u64,
    /// Where the first of them begins.
    pub(super) first_at: u64,
}

impl Record {
    /// Appends the record's line.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(b"00000000 ");
        // A Vec takes all that is written.
        let _ = write!(out, "{} {} {} ", self.window.name(), self.number, self.count);
        for &byte in &self.caller {
            match byte {
                b'%' => out.extend_from_slice(b"%25"),
                byte if byte.is_ascii_graphic() => out.push(byte),
                byte => drop(write!(out, "%{byte:02x}")),
            }
        }
        let text = out.get(begin + SUM_DIGITS..).unwrap_or_default();
        let digits = format!("{:08x}", sum(text));
        if let Some(place) = out.get_mut(begin..begin + SUM_DIGITS) {
            place.copy_from_slice(digits.as_bytes());
        }
        out.push(b'\n');
    }

    /// Reads a line, without its end; `None` if it is none, or was changed.
    fn read(line: &[u8]) -> Option<Record> {
        let (digits, text) = line.split_at_checked(SUM_DIGITS)?;
        let expected = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        if sum(text) != expected {
            return None;
        }
        let mut words = std::str::from_utf8(text).ok()?.strip_prefix(' ')?.splitn(4, ' ');
        let window = Window::of_name(words.next()?)?;
        let number = words.next()?.parse().ok()?;
        let count = words.next()?.parse().ok()?;
        Some(Record { window, number, count, caller: unescape(words.next()?)? })
    }
}

/// Reads the records of a text that follows a whole line. Damaged lines are passed over and told of; what
/// stands behind the last line's end is not looked at, since somebody may be writing it.
pub(super) fn read(text: &[u8], mut take: impl FnMut(Record)) -> Damage {
    let mut damage = Damage::default();
    let mut at = 0;
    while let Some(length) = text.get(at..).and_then(|rest| rest.iter().position(|&byte| byte == b'\n')) {
        let line = text.get(at..at + length).unwrap_or_default();
        match Record::read(line) {
            Some(record) => take(record),
            // Where a line was torn and the next writer began a new one.
            None if line.is_empty() => {}
            None => {
                if damage.records == 0 {
                    damage.first_at = at as u64;
                }
                damage.records += 1;
            }
        }
        at += length + 1;
    }
    damage
}

fn sum(text: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(text);
    sum.sum()
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2)?;
        out.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = behind;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn record(caller: &[u8], count: u64) -> Record {
        Record { window: Window::Day, number: 20_780, count, caller: caller.to_vec() }
    }

    fn written(records: &[Record]) -> Vec<u8> {
        let mut text = Vec::new();
        records.iter().for_each(|record| record.write(&mut text));
        text
    }

    fn all(text: &[u8]) -> (Vec<Record>, Damage) {
        let mut records = Vec::new();
        let damage = read(text, |record| records.push(record));
        (records, damage)
    }

    #[test]
    fn a_line_is_text() {
        let text = String::from_utf8(written(&[record(b"consumer:mobile", 17)])).unwrap();
        assert_eq!(&text[8..], " day 20780 17 consumer:mobile\n");
    }

    #[test]
    fn what_was_torn_or_changed_is_passed_over() {
        let records = [record(b"a", 1), record(b"b", 2), record(b"c", 3)];
        let text = written(&records);
        // The last line is not whole.
        let (read, damage) = all(&text[..text.len() - 1]);
        assert_eq!((&read[..], damage), (&records[..2], Damage::default()));
        // The process died in the middle of a line, and the next one began a new line.
        let torn = [&text[..text.len() - 5], b"\n", &written(&[record(b"d", 4)])].concat();
        let (read, damage) = all(&torn);
        assert_eq!((read.len(), damage.records), (3, 1));
        assert_eq!(read[2], record(b"d", 4));
        // A byte has changed.
        let length = text.len() / 3;
        let mut changed = text.clone();
        changed[length + 20] ^= 1;
        let (read, damage) = all(&changed);
        assert_eq!((read.len(), damage), (2, Damage { records: 1, first_at: length as u64 }));
        assert_eq!(all(b"\0\0\0\0\0\n\n").1.records, 1);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            callers in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
            number in any::<u64>(), count in any::<u64>(), kind in 0_usize..6,
        ) {
            let records: Vec<Record> = callers
                .into_iter()
                .map(|caller| Record { window: Window::ALL[kind], number, count, caller })
                .collect();
            let (read, damage) = all(&written(&records));
            prop_assert_eq!(read, records);
            prop_assert_eq!(damage, Damage::default());
        }

        /// Whatever lies in the file, reading it ends.
        #[test]
        fn no_text_is_too_strange(text in prop::collection::vec(any::<u8>(), 0..400)) {
            let (read, _) = all(&text);
            prop_assert!(read.is_empty());
        }
    }
}
