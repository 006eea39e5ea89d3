//! Percent-encoding as nginx does it: which characters depends on where the text goes.

/// Where escaped text goes, which decides what is escaped. Control bytes, space, DEL and bytes above
/// 0x7f always are, except that a memcached key keeps the latter two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// A path: also `" # % < > ? \ ^ ` { | }`.
    Uri,
    /// The value of an argument: as a path, and `& + ;`.
    Args,
    /// Anything inside a URI: all but letters, digits and `- . _ ~`.
    UriComponent,
    /// A whole URI inside HTML: as a path, but `?` stays and `'` goes.
    Html,
    /// A URL in the attribute of a page that sends browsers on: what cannot stand in quotes.
    Refresh,
    /// A key of memcached: control bytes, space and `%`.
    Memcached,
}

/// How [`unescape`] treats what it decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unescape {
    /// Everything is decoded.
    All,
    /// Decoding ends behind the first `?`, encoded or not.
    Uri,
    /// As `Uri`, but what is no visible ASCII character above `%` stays encoded: for `Location`.
    Redirect,
}

/// Builds the set of bytes that are escaped.
const fn table(visible: &[u8], high: bool) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = byte <= 0x20 || (high && byte >= 0x7f);
        byte += 1;
    }
    let mut at = 0;
    while at < visible.len() {
        table[visible[at] as usize] = true;
        at += 1;
    }
    table
}

static URI: [bool; 256] = table(b"\"#%<>?\\^`{|}", true);
static ARGS: [bool; 256] = table(b"\"#%<>?\\^`{|}&+;", true);
static COMPONENT: [bool; 256] = table(b"!\"#$%&'()*+,/:;<=>?@[\\]^`{|}", true);
static HTML: [bool; 256] = table(b"\"#%'<>\\^`{|}", true);
static REFRESH: [bool; 256] = table(b"\"'<>\\^`{|}", true);
static MEMCACHED: [bool; 256] = table(b"%", false);

/// Appends `bytes` with everything encoded that may not stand there.
pub fn escape(kind: Escape, bytes: &[u8], out: &mut Vec<u8>) {
    let table = match kind {
        Escape::Uri => &URI,
        Escape::Args => &ARGS,
        Escape::UriComponent => &COMPONENT,
        Escape::Html => &HTML,
        Escape::Refresh => &REFRESH,
        Escape::Memcached => &MEMCACHED,
    };
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|&b| table[b as usize]) {
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((&byte, tail)) = tail.split_first() else { return };
        out.extend_from_slice(&[b'%', hex_digit(byte >> 4), hex_digit(byte & 15)]);
        rest = tail;
    }
    out.extend_from_slice(rest);
}

/// Appends `bytes` with `%xx` decoded, as nginx does where it forgives: of a sequence that is no
/// hexadecimal number, what was read of it is dropped, but for a first digit that is none.
pub fn unescape(kind: Unescape, bytes: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        if byte != b'%' {
            out.push(byte);
            if byte == b'?' && kind != Unescape::All {
                break;
            }
            continue;
        }
        let Some(&high) = bytes.get(at) else { break };
        at += 1;
        let Some(upper) = hex_value(high) else {
            out.push(high);
            continue;
        };
        let Some(&low) = bytes.get(at) else { break };
        at += 1;
        let Some(lower) = hex_value(low) else { continue };
        let decoded = upper << 4 | lower;
        if kind != Unescape::All && decoded == b'?' {
            out.push(decoded);
            break;
        }
        if kind == Unescape::Redirect && !(b'&'..0x7f).contains(&decoded) {
            out.extend_from_slice(&[b'%', high, low]);
        } else {
            out.push(decoded);
        }
    }
    // What follows the question mark is passed on as it is.
    out.extend_from_slice(bytes.get(at..).unwrap_or_default());
}

/// The value of a hexadecimal digit.
#[inline]
pub(super) fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// The digit of a value below 16, upper case as RFC 3986, 2.1 prefers.
#[inline]
fn hex_digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'A' + value - 10 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escaped(kind: Escape, text: &[u8]) -> String {
        let mut out = b"=".to_vec();
        escape(kind, text, &mut out);
        String::from_utf8_lossy(&out[1..]).into_owned()
    }

    fn unescaped(kind: Unescape, text: &str) -> String {
        let mut out = Vec::new();
        unescape(kind, text.as_bytes(), &mut out);
        out.escape_ascii().to_string()
    }

    #[test]
    fn each_kind_has_its_set() {
        let visible: Vec<u8> = (0x20..=0x7f).collect();
        let left = |kind| {
            visible.iter().filter(|b| escaped(kind, &[**b]).len() > 1).map(|&b| b as char).collect::<String>()
        };
        assert_eq!(left(Escape::Uri), " \"#%<>?\\^`{|}\x7f");
        assert_eq!(left(Escape::Args), " \"#%&+;<>?\\^`{|}\x7f");
        assert_eq!(left(Escape::UriComponent), " !\"#$%&'()*+,/:;<=>?@[\\]^`{|}\x7f");
        assert_eq!(left(Escape::Html), " \"#%'<>\\^`{|}\x7f");
        assert_eq!(left(Escape::Memcached), " %");
        assert_eq!(escaped(Escape::Uri, b"/a b\x00\xff/\x1f?"), "/a%20b%00%FF/%1F%3F");
        assert_eq!(escaped(Escape::Args, b""), "");
    }

    #[test]
    fn unescapes_with_nginx_leniences() {
        for (kind, text, want) in [
            (Unescape::All, "a%20b%2fc%2F", "a b/c/"),
            (Unescape::All, "%", ""),
            (Unescape::All, "a%4", "a"),
            (Unescape::All, "a%zb", "azb"),
            (Unescape::All, "a%4zb", "ab"),
            (Unescape::All, "a?%41", "a?A"),
            (Unescape::Uri, "a%41?%41", "aA?%41"),
            (Unescape::Uri, "a%3f%41", "a?%41"),
            (Unescape::Redirect, "%41%20%25%26%7f", "A%20%25&%7f"),
            (Unescape::Redirect, "%41?%41", "A?%41"),
        ] {
            assert_eq!(unescaped(kind, text), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn unescape_undoes_escape(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            for kind in [Escape::Uri, Escape::Args, Escape::UriComponent, Escape::Html, Escape::Memcached] {
                let (mut there, mut back) = (Vec::new(), Vec::new());
                escape(kind, &bytes, &mut there);
                unescape(Unescape::All, &there, &mut back);
                prop_assert_eq!(&back, &bytes);
            }
        }
    }
}
