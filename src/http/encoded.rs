//! Raw paths that say one thing to who decodes them and another to who does not.

use super::escape::hex_value;

/// Whether the path of a raw target holds something that another server may cut into segments in
/// another way than we do: an encoded slash, backslash or NUL, or a segment `.` or `..` with an encoded
/// dot. `target` is path and arguments; the arguments are not looked at.
pub fn is_ambiguous(target: &[u8]) -> bool {
    let end = target.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(target.len());
    let path = target.get(..end).unwrap_or_default();
    path.contains(&b'%') && path.split(|byte| *byte == b'/').any(segment_is_ambiguous)
}

fn segment_is_ambiguous(segment: &[u8]) -> bool {
    let (mut rest, mut encoded, mut only_dots) = (segment, false, !segment.is_empty());
    while let Some((&byte, behind)) = rest.split_first() {
        let (byte, behind) = match decoded(rest) {
            Some(byte) => {
                encoded = true;
                (byte, rest.get(3..).unwrap_or_default())
            }
            None => (byte, behind),
        };
        if rest.first() == Some(&b'%') && matches!(byte, b'/' | b'\\' | 0) {
            return true;
        }
        only_dots &= byte == b'.';
        rest = behind;
    }
    encoded && only_dots
}

/// The path of a raw target as somebody reads it to whom an encoded slash is a character of a segment and
/// an encoded dot no dot: decoded, with `other` for each such character.
pub fn read_literally(target: &[u8], other: u8) -> Vec<u8> {
    let end = target.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(target.len());
    let mut rest = target.get(..end).unwrap_or_default();
    let mut path = Vec::with_capacity(rest.len());
    while let Some((&byte, behind)) = rest.split_first() {
        match decoded(rest) {
            Some(byte) => {
                path.push(if matches!(byte, b'/' | b'.') { other } else { byte });
                rest = rest.get(3..).unwrap_or_default();
            }
            None => {
                path.push(byte);
                rest = behind;
            }
        }
    }
    path
}

/// The byte that a text begins with, percent-encoded.
fn decoded(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    Some(hex_value(*high)? << 4 | hex_value(*low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_reading() {
        assert_eq!(read_literally(b"/a%2Fb/%2e%2E/c%20?x=%2F", b'!'), b"/a!b/!!/c ");
    }

    #[test]
    fn what_others_may_read_otherwise() {
        for target in [
            "/a%2Fb",
            "/a%2fb",
            "/a%5Cb",
            "/a%5cb",
            "/a%00",
            "/%2e",
            "/%2e%2E/b",
            "/.%2e",
            "/%2e./b?x",
            "/a/%2E",
            "/a%2F?x",
            "/%2f#f",
        ] {
            assert!(is_ambiguous(target.as_bytes()), "{target}");
        }
        for target in [
            "/",
            "",
            "/a/b?x=%2F",
            "/a/../b",
            "/a%20b",
            "/%2eb",
            "/a%2e",
            "/%252F",
            "/%",
            "/%2",
            "/a#%2f",
            "/..",
            "/%zz",
            "/a\\b",
        ] {
            assert!(!is_ambiguous(target.as_bytes()), "{target}");
        }
    }
}
