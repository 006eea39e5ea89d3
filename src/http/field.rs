//! Header fields: where they stand, and which of them the gateway knows by name.

use super::span::Span;

/// Declares [`Known`], its names, and their number.
macro_rules! known {
    ($($variant:ident $name:literal)*) => {
        /// The header fields that mean something to the gateway. Computed once per field, so that
        /// nothing later compares names.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        #[repr(u8)]
        pub enum Known {
            /// Any other field.
            #[default]
            Other,
            $($variant,)*
        }

        /// Every known name in lower case with its variant.
        const NAMES: &[(Known, &str)] = &[$((Known::$variant, $name),)*];
    };
}

known! {
    Host "host"
    Connection "connection"
    ProxyConnection "proxy-connection"
    KeepAlive "keep-alive"
    ContentLength "content-length"
    TransferEncoding "transfer-encoding"
    Expect "expect"
    Upgrade "upgrade"
    Te "te"
    Trailer "trailer"
    ContentType "content-type"
    ContentEncoding "content-encoding"
    ContentRange "content-range"
    ContentDisposition "content-disposition"
    UserAgent "user-agent"
    Referer "referer"
    Origin "origin"
    Cookie "cookie"
    SetCookie "set-cookie"
    XForwardedFor "x-forwarded-for"
    XForwardedProto "x-forwarded-proto"
    XForwardedHost "x-forwarded-host"
    XRealIp "x-real-ip"
    XRequestId "x-request-id"
    XApiKey "x-api-key"
    Forwarded "forwarded"
    Authorization "authorization"
    ProxyAuthorization "proxy-authorization"
    ProxyAuthenticate "proxy-authenticate"
    WwwAuthenticate "www-authenticate"
    IfModifiedSince "if-modified-since"
    IfUnmodifiedSince "if-unmodified-since"
    IfMatch "if-match"
    IfNoneMatch "if-none-match"
    IfRange "if-range"
    Range "range"
    Accept "accept"
    AcceptEncoding "accept-encoding"
    AcceptLanguage "accept-language"
    AcceptRanges "accept-ranges"
    Via "via"
    Date "date"
    Age "age"
    Server "server"
    Location "location"
    Refresh "refresh"
    LastModified "last-modified"
    Etag "etag"
    Expires "expires"
    CacheControl "cache-control"
    Pragma "pragma"
    Vary "vary"
    Link "link"
    RetryAfter "retry-after"
    MaxForwards "max-forwards"
    Status "status"
    Traceparent "traceparent"
    Http2Settings "http2-settings"
    XAccelRedirect "x-accel-redirect"
    XAccelExpires "x-accel-expires"
    XAccelLimitRate "x-accel-limit-rate"
    XAccelBuffering "x-accel-buffering"
    XAccelCharset "x-accel-charset"
}

// `Fields` keeps one bit per known name in a u64; bit 0 is `Other`.
const _: () = assert!(NAMES.len() < 64);

/// Slots of the hash of names: eight per name, so that a seed without collisions is found in a few
/// tries while the whole table is eight cache lines.
const SLOTS: usize = 512;

/// What the hash looks at: first, middle and last letter, without case, and the length.
#[inline]
const fn key(name: &[u8]) -> u32 {
    let first = name[0] | 0x20;
    let middle = name[name.len() / 2] | 0x20;
    let last = name[name.len() - 1] | 0x20;
    u32::from_le_bytes([first, middle, last, name.len() as u8])
}

/// The slot of a key: the upper nine bits of the product.
#[inline]
const fn slot(key: u32, seed: u32) -> usize {
    (key.wrapping_mul(seed) >> 23) as usize % SLOTS
}

/// The table for a seed, or `None` when two names collide. A slot holds 1 + the index into NAMES.
const fn table(seed: u32) -> Option<[u8; SLOTS]> {
    let mut slots = [0u8; SLOTS];
    let mut index = 0;
    while index < NAMES.len() {
        let at = slot(key(NAMES[index].1.as_bytes()), seed);
        if slots[at] != 0 {
            return None;
        }
        slots[at] = index as u8 + 1;
        index += 1;
    }
    Some(slots)
}

/// A perfect hash of the known names, found when the program is compiled.
const HASH: (u32, [u8; SLOTS]) = {
    let mut seed: u32 = 0x9e37_79b1;
    loop {
        if let Some(slots) = table(seed) {
            break (seed, slots);
        }
        seed = seed.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35e) | 1;
    }
};

// `scan::colon_in_name` looks so far.
const _: () = assert!(NAME_MAX < 24);

/// The slots of [`HASH`], once in memory.
static SLOT_TABLE: [u8; SLOTS] = HASH.1;

/// The longest known name, bytes.
const NAME_MAX: usize = {
    let mut longest = 0;
    let mut index = 0;
    while index < NAMES.len() {
        if NAMES[index].1.len() > longest {
            longest = NAMES[index].1.len();
        }
        index += 1;
    }
    longest
};

/// Whether a name is this one, in any case; `lower` holds lower-case letters, digits and hyphens.
#[inline]
fn same(name: &[u8], lower: &[u8]) -> bool {
    if name.len() != lower.len() {
        return false;
    }
    // The case bit may differ where a letter is wanted: letters alone have bit 6 set in `lower`.
    let differ = |name: u64, lower: u64| (name ^ lower) & !((lower & (0x40 * ONES)) >> 1);
    let word = |block: &[u8; 8]| u64::from_le_bytes(*block);
    let (Some(name_end), Some(lower_end)) = (name.last_chunk::<8>(), lower.last_chunk::<8>()) else {
        let mut pairs = name.iter().zip(lower);
        return pairs.all(|(&n, &l)| differ(n.into(), l.into()) == 0);
    };
    // The last eight bytes overlap the block before them unless the length is a multiple of eight.
    let mut unlike = differ(word(name_end), word(lower_end));
    for (n, l) in name.as_chunks::<8>().0.iter().zip(lower.as_chunks::<8>().0) {
        unlike |= differ(word(n), word(l));
    }
    unlike == 0
}

/// The byte 0x01 eight times over.
const ONES: u64 = 0x0101_0101_0101_0101;

impl Known {
    /// The known field with this name, in any case.
    #[inline]
    pub fn of(name: &[u8]) -> Known {
        if name.is_empty() || name.len() > NAME_MAX {
            return Known::Other;
        }
        let index = SLOT_TABLE[slot(key(name), HASH.0)] as usize;
        match index.checked_sub(1).and_then(|i| NAMES.get(i)) {
            Some((known, text)) if same(name, text.as_bytes()) => *known,
            _ => Known::Other,
        }
    }

    /// The name in lower case; empty for [`Known::Other`].
    pub fn name(self) -> &'static str {
        (self as usize).checked_sub(1).and_then(|i| NAMES.get(i)).map_or("", |(_, text)| text)
    }

    /// Its bit in a set of known names; 0 for [`Known::Other`].
    pub const fn bit(self) -> u64 {
        if matches!(self, Known::Other) { 0 } else { 1 << self as u8 }
    }
}

/// One header field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// Its name as sent.
    pub name: Span,
    /// Its value, without space at either end.
    pub value: Span,
    /// Which it is.
    pub known: Known,
    /// It is not passed on: its value was a secret, and is not here any more.
    pub hidden: bool,
}

impl Field {
    /// Whether it has this name, in any case.
    #[inline]
    fn is_named(&self, buf: &[u8], name: &[u8]) -> bool {
        self.name.len() == name.len() && self.name.of(buf).eq_ignore_ascii_case(name)
    }
}

/// Header fields in the order they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// The fields. Add to it by [`Fields::push`] only, or look-ups of known names miss them.
    pub list: Vec<Field>,
    /// One bit per known name in the list.
    present: u64,
}

impl Fields {
    /// Adds a field at the end.
    #[inline]
    pub fn push(&mut self, field: Field) {
        self.present |= field.known.bit();
        self.list.push(field);
    }

    /// Forgets all fields, keeps the memory.
    pub fn clear(&mut self) {
        self.list.clear();
        self.present = 0;
    }

    /// Whether a field of this name came.
    #[inline]
    pub fn has(&self, known: Known) -> bool {
        self.present & known.bit() != 0
    }

    /// The first field of this name; `None` for [`Known::Other`].
    #[inline]
    pub fn find(&self, known: Known) -> Option<&Field> {
        if !self.has(known) {
            return None;
        }
        self.list.iter().find(|field| field.known == known)
    }

    /// Every field of this name, in order; none for [`Known::Other`].
    pub fn all(&self, known: Known) -> impl Iterator<Item = &Field> {
        let list = if self.has(known) { self.list.as_slice() } else { &[] };
        list.iter().filter(move |field| field.known == known)
    }

    /// The first field with this name in any case; `buf` is the buffer the fields stand in.
    pub fn find_name(&self, buf: &[u8], name: &[u8]) -> Option<&Field> {
        match Known::of(name) {
            Known::Other => self.list.iter().find(|field| field.is_named(buf, name)),
            known => self.find(known),
        }
    }

    /// Every field with this name in any case, in order.
    pub fn all_name<'a>(&'a self, buf: &'a [u8], name: &'a [u8]) -> impl Iterator<Item = &'a Field> {
        self.list.iter().filter(move |field| field.is_named(buf, name))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_name_is_found_in_any_case() {
        for (known, name) in NAMES {
            assert_eq!(Known::of(name.as_bytes()), *known, "{name}");
            assert_eq!(Known::of(name.to_ascii_uppercase().as_bytes()), *known, "{name}");
            assert_eq!(known.name(), *name);
            assert_eq!(known.bit().count_ones(), 1);
            assert_eq!(Known::of(name.replace('-', "_").as_bytes()) == *known, !name.contains('-'));
            assert_eq!(Known::of(format!("{name}x").as_bytes()), Known::Other);
        }
        assert_eq!(Known::Other.name(), "");
        assert_eq!(Known::of(b""), Known::Other);
    }

    #[test]
    fn look_ups() {
        let buf = b"CookieX-Apix-apiabc";
        let field = |n: (usize, usize), v: (usize, usize)| {
            let name = Span::new(n.0, n.1);
            Field { name, value: Span::new(v.0, v.1), known: Known::of(name.of(buf)), hidden: false }
        };
        let mut fields = Fields::default();
        fields.push(field((0, 6), (16, 17)));
        fields.push(field((6, 11), (17, 18)));
        fields.push(field((0, 6), (18, 19)));
        assert_eq!(fields.find(Known::Cookie).unwrap().value.of(buf), b"a");
        assert_eq!(fields.all(Known::Cookie).count(), 2);
        assert_eq!(fields.find_name(buf, b"x-API").unwrap().value.of(buf), b"b");
        assert_eq!(fields.find_name(buf, b"COOKIE").unwrap().value.of(buf), b"a");
        assert_eq!(fields.all_name(buf, b"cookie").count(), 2);
        assert!(fields.find(Known::Host).is_none() && fields.find_name(buf, b"x-ap").is_none());
        assert!(fields.find(Known::Other).is_none() && fields.all(Known::Other).next().is_none());
        fields.clear();
        assert!(!fields.has(Known::Cookie) && fields.list.is_empty());
    }

    proptest! {
        #[test]
        fn near_misses_are_others(index in 0..NAMES.len(), at: prop::sample::Index, byte: u8) {
            let (known, text) = NAMES[index];
            let mut name = text.as_bytes().to_vec();
            let at = at.index(name.len());
            name[at] = byte;
            let want = if name.eq_ignore_ascii_case(text.as_bytes()) { known } else { Known::Other };
            prop_assert_eq!(Known::of(&name), want);
        }

        #[test]
        fn only_the_names_themselves(name in proptest::collection::vec(any::<u8>(), 0..24)) {
            let known = Known::of(&name);
            prop_assert!(known == Known::Other || known.name().as_bytes().eq_ignore_ascii_case(&name));
        }
    }
}
