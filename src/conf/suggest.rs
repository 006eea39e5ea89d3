//! "Did you mean": the known name that takes the fewest typing errors to become the unknown one.

/// The nearest of the names, if it is near enough to be meant. The first of equals wins.
pub(super) fn nearest<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let word: Vec<char> = word.chars().take(MAX_CHARS + 1).collect();
    let bound = bound(word.len());
    let mut best: Option<(usize, &str)> = None;
    for name in names {
        let distance = distance(&word, name);
        if distance <= bound && distance > 0 && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, name));
        }
    }
    best.map(|(_, name)| name)
}

/// No directive is longer; a longer word is nobody's typing error.
const MAX_CHARS: usize = 64;

/// How many errors a word of this length may have: short words are all near each other.
fn bound(length: usize) -> usize {
    match length {
        0..=2 => 0,
        3..=5 => 1,
        6..=12 => 2,
        13..=MAX_CHARS => 3,
        _ => 0,
    }
}

/// How many characters must be added, removed, replaced or swapped with their neighbour
/// (the optimal string alignment distance).
fn distance(word: &[char], name: &str) -> usize {
    let name: Vec<char> = name.chars().collect();
    let width = name.len() + 1;
    let mut before = vec![0; width];
    let mut above: Vec<usize> = (0..width).collect();
    for (i, &a) in word.iter().enumerate() {
        let mut row = vec![i + 1; width];
        for (j, &b) in name.iter().enumerate() {
            let mut cost = (above[j] + usize::from(a != b)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a == name[j - 1] && word[i - 1] == b {
                cost = cost.min(before[j - 1] + 1);
            }
            row[j + 1] = cost;
        }
        before = std::mem::replace(&mut above, row);
    }
    above[name.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["server", "server_name", "root", "return", "proxy_pass", "if", "set"];

    #[test]
    fn near_names() {
        let near = |word| nearest(word, NAMES.iter().copied());
        assert_eq!(near("servre"), Some("server"));
        assert_eq!(near("Server"), Some("server"));
        assert_eq!(near("servername"), Some("server_name"));
        assert_eq!(near("proxypas"), Some("proxy_pass"));
        assert_eq!(near("rot"), Some("root"));
        assert_eq!(near("retrun"), Some("return"));
        assert_eq!(near("fi"), None);
        assert_eq!(near("listen"), None);
        assert_eq!(near(""), None);
        assert_eq!(near(&"server".repeat(5000)), None);
    }

    #[test]
    fn distances() {
        let between = |a: &str, b: &str| distance(&a.chars().collect::<Vec<_>>(), b);
        assert_eq!(between("abc", "abc"), 0);
        assert_eq!(between("abc", "acb"), 1);
        assert_eq!(between("", "abc"), 3);
        assert_eq!(between("kitten", "sitting"), 3);
    }
}
