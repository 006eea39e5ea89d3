//! Request methods and protocol versions.

/// A request method, as far as nginx tells them apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    Patch,
    Connect,
    Trace,
    Mkcol,
    Copy,
    Move,
    Propfind,
    Proppatch,
    Lock,
    Unlock,
    /// A method with no meaning to the gateway; its text is in the request line.
    #[default]
    Other,
}

/// Every known method with its text.
const METHODS: [(Method, &str); 16] = [
    (Method::Get, "GET"),
    (Method::Head, "HEAD"),
    (Method::Post, "POST"),
    (Method::Put, "PUT"),
    (Method::Delete, "DELETE"),
    (Method::Options, "OPTIONS"),
    (Method::Patch, "PATCH"),
    (Method::Connect, "CONNECT"),
    (Method::Trace, "TRACE"),
    (Method::Mkcol, "MKCOL"),
    (Method::Copy, "COPY"),
    (Method::Move, "MOVE"),
    (Method::Propfind, "PROPFIND"),
    (Method::Proppatch, "PROPPATCH"),
    (Method::Lock, "LOCK"),
    (Method::Unlock, "UNLOCK"),
];

impl Method {
    /// The method with this text; methods are case-sensitive (RFC 9110, 9.1).
    #[inline]
    pub fn of(text: &[u8]) -> Method {
        match text {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"OPTIONS" => Method::Options,
            b"PATCH" => Method::Patch,
            b"CONNECT" => Method::Connect,
            b"TRACE" => Method::Trace,
            b"MKCOL" => Method::Mkcol,
            b"COPY" => Method::Copy,
            b"MOVE" => Method::Move,
            b"PROPFIND" => Method::Propfind,
            b"PROPPATCH" => Method::Proppatch,
            b"LOCK" => Method::Lock,
            b"UNLOCK" => Method::Unlock,
            _ => Method::Other,
        }
    }

    /// Every method that is known by name.
    pub fn all() -> impl Iterator<Item = Method> {
        METHODS.iter().map(|(method, _)| *method)
    }

    /// Its text; empty for [`Method::Other`].
    pub fn text(self) -> &'static str {
        METHODS.iter().find(|(method, _)| *method == self).map_or("", |(_, text)| text)
    }

    /// Whether a failed try may be repeated elsewhere without `non_idempotent`, as
    /// `proxy_next_upstream` counts it: all but POST, LOCK and PATCH.
    pub fn repeatable(self) -> bool {
        !matches!(self, Method::Post | Method::Lock | Method::Patch)
    }
}

/// The version a message was sent with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// A simple request, `GET /path`: no header, and the answer is a bare body.
    Http09,
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1, and any 1.x above it (RFC 9110, 2.5: a higher minor version is read as the highest
    /// one known).
    #[default]
    Http11,
    /// HTTP/2.
    Http2,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_method_match() {
        for (method, text) in METHODS {
            assert_eq!(Method::of(text.as_bytes()), method);
            assert_eq!(method.text(), text);
        }
        for odd in ["", "get", "GETS", "GE", "PROPPATCHX", "M-SEARCH"] {
            assert_eq!(Method::of(odd.as_bytes()), Method::Other, "{odd}");
        }
        assert_eq!(Method::Other.text(), "");
        assert!(Method::Get.repeatable() && Method::Other.repeatable() && !Method::Patch.repeatable());
        assert!(Version::Http09 < Version::Http10 && Version::Http10 < Version::Http11);
    }
}
