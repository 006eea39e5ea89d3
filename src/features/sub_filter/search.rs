//! The search for several texts at once, in any case of ASCII letters.
//!
//! A window as long as the shortest text slides over the body. The last byte in it tells by a table how
//! far it may slide before any text can match (Wu and Manber's way with blocks of one byte), so that most
//! bytes are never looked at.

/// The texts.
pub(super) struct Needles {
    /// Lower case, in the order of the configuration; empty ones match nothing.
    texts: Vec<Vec<u8>>,
    /// The length of the shortest.
    shortest: usize,
    /// By the last byte in the window: how far it slides at least.
    slides: Box<[usize; 256]>,
}

/// What a search came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The text of this number begins here.
    Text {
        /// Where.
        at: usize,
        /// Its number.
        number: usize,
    },
    /// None; but from here on one may have begun, of which the rest is still to come.
    Perhaps(usize),
}

impl Needles {
    /// A search for these.
    pub(super) fn new(mut texts: Vec<Vec<u8>>) -> Needles {
        texts.iter_mut().for_each(|text| text.make_ascii_lowercase());
        let there = || texts.iter().filter(|text| !text.is_empty());
        let shortest = there().map(Vec::len).min().unwrap_or(0);
        let mut slides = Box::new([shortest; 256]);
        for text in there() {
            for (at, byte) in text.iter().take(shortest).enumerate() {
                for byte in [byte.to_ascii_lowercase(), byte.to_ascii_uppercase()] {
                    let slide = &mut slides[usize::from(byte)];
                    *slide = (*slide).min(shortest - 1 - at);
                }
            }
        }
        Needles { texts, shortest, slides }
    }

    /// Whether there is nothing to look for.
    pub(super) fn is_empty(&self) -> bool {
        self.shortest == 0
    }

    /// How many texts there are, empty ones included.
    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    /// How many there are to look for.
    pub(super) fn there(&self) -> usize {
        self.texts.iter().filter(|text| !text.is_empty()).count()
    }

    /// The length of one.
    pub(super) fn length(&self, number: usize) -> usize {
        self.texts.get(number).map_or(0, Vec::len)
    }

    /// The first text in `body` from `from` on; where several begin, the first of the configuration.
    /// Those that are `done` are not looked for. `last`: nothing follows the body's end.
    pub(super) fn find(&self, body: &[u8], from: usize, last: bool, done: &[bool]) -> Found {
        let mut window = from;
        while let Some(byte) = body.get(window + self.shortest - 1) {
            match self.slides[usize::from(*byte)] {
                0 => match self.begins(body.get(window..).unwrap_or_default(), last, done) {
                    Some(Begins::Whole(number)) => return Found::Text { at: window, number },
                    Some(Begins::Part) => return Found::Perhaps(window),
                    None => window += 1,
                },
                slide => window += slide,
            }
        }
        if last {
            return Found::Perhaps(body.len());
        }
        // What is left is shorter than any text.
        let open = |at: &usize| self.begins(body.get(*at..).unwrap_or_default(), last, done).is_some();
        Found::Perhaps((window.min(body.len())..body.len()).find(open).unwrap_or(body.len()))
    }

    /// Which text begins with these bytes, or is begun by them if they are not the last.
    fn begins(&self, bytes: &[u8], last: bool, done: &[bool]) -> Option<Begins> {
        let wanted = self
            .texts
            .iter()
            .enumerate()
            .filter(|(number, text)| !text.is_empty() && !done.get(*number).copied().unwrap_or_default());
        // A text that may still come goes before one that is there and stands behind it in the list.
        for (number, text) in wanted {
            let common = text.len().min(bytes.len());
            let same = |text: &[u8]| bytes.get(..common).is_some_and(|b| b.eq_ignore_ascii_case(text));
            match text.get(..common).is_some_and(same) {
                true if common == text.len() => return Some(Begins::Whole(number)),
                true if !last => return Some(Begins::Part),
                _ => {}
            }
        }
        None
    }
}

enum Begins {
    Whole(usize),
    Part,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needles(texts: &[&str]) -> Needles {
        Needles::new(texts.iter().map(|text| text.as_bytes().to_vec()).collect())
    }

    /// The places of all texts in a body, as a plain search would find them.
    fn plain(texts: &[&str], body: &[u8]) -> Vec<(usize, usize)> {
        let (mut found, mut at) = (Vec::new(), 0);
        while at < body.len() {
            let here = |text: &&str| {
                !text.is_empty()
                    && body[at..].len() >= text.len()
                    && body[at..at + text.len()].eq_ignore_ascii_case(text.as_bytes())
            };
            match texts.iter().position(here) {
                Some(number) => {
                    found.push((at, number));
                    at += texts[number].len();
                }
                None => at += 1,
            }
        }
        found
    }

    #[test]
    fn agrees_with_a_plain_search() {
        for texts in [
            &["a"][..],
            &["ab", "abc"],
            &["abc", "ab", "b"],
            &["bab", "aab", "cab"],
            &["", "cc"],
            &["aaaa", "aa", "A"],
        ] {
            let needles = needles(texts);
            let mut seed = 7u32;
            for size in 0..60 {
                let body: Vec<u8> = (0..size)
                    .map(|_| {
                        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        b"abcABC"[(seed >> 16) as usize % 6]
                    })
                    .collect();
                let (mut found, mut from) = (Vec::new(), 0);
                while let Found::Text { at, number } = needles.find(&body, from, true, &[]) {
                    found.push((at, number));
                    from = at + needles.length(number);
                }
                assert_eq!(found, plain(texts, &body), "{texts:?} {}", String::from_utf8_lossy(&body));
            }
        }
    }

    #[test]
    fn what_may_have_begun() {
        let needles = needles(&["hello", "help", "lo"]);
        for (body, want) in [
            ("say he", Found::Perhaps(4)),
            ("say hello", Found::Text { at: 4, number: 0 }),
            ("hel", Found::Perhaps(0)),
            ("hex", Found::Perhaps(3)),
            ("xxl", Found::Perhaps(2)),
            ("", Found::Perhaps(0)),
            ("hellhelp", Found::Text { at: 4, number: 1 }),
        ] {
            assert_eq!(needles.find(body.as_bytes(), 0, false, &[]), want, "{body}");
        }
        assert_eq!(needles.find(b"hel", 0, true, &[]), Found::Perhaps(3));
        assert_eq!(needles.find(b"hello", 0, false, &[true]), Found::Text { at: 3, number: 2 });
        assert!(Needles::new(vec![Vec::new()]).is_empty());
    }
}
