//! Status codes in nginx's words: reason phrases and the built-in error pages.

use super::escape::{Escape, escape};

/// nginx: the request head is too large. Logged; the client is sent 400.
pub const HEADER_TOO_LARGE: u16 = 494;
/// nginx: the client's certificate is wrong. Logged; the client is sent 400.
pub const CERTIFICATE_ERROR: u16 = 495;
/// nginx: the client sent no certificate. Logged; the client is sent 400.
pub const NO_CERTIFICATE: u16 = 496;
/// nginx: plain HTTP came to a TLS port. Logged; the client is sent 400.
pub const HTTP_TO_HTTPS: u16 = 497;
/// nginx: the client closed the connection. Logged only.
pub const CLIENT_CLOSED: u16 = 499;

/// The reason phrase that nginx sends with a status; `None` for those it sends without one.
pub fn reason(status: u16) -> Option<&'static str> {
    Some(match status {
        100 => "Continue",
        101 => "Switching Protocols",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Time-out",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Large",
        415 => "Unsupported Media Type",
        416 => "Requested Range Not Satisfiable",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Temporarily Unavailable",
        504 => "Gateway Time-out",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => return None,
    })
}

/// The status on the wire for one that is logged: nginx's own codes are 400 to the client.
pub fn sent(status: u16) -> u16 {
    match status {
        HEADER_TOO_LARGE..=HTTP_TO_HTTPS => 400,
        _ => status,
    }
}

/// The title of the built-in page, such as `404 Not Found`; `None` where nginx has no page and sends
/// an empty body.
pub fn error_page_html(status: u16) -> Option<&'static str> {
    Some(match status {
        301 => "301 Moved Permanently",
        302 => "302 Found",
        303 => "303 See Other",
        307 => "307 Temporary Redirect",
        308 => "308 Permanent Redirect",
        400 => "400 Bad Request",
        401 => "401 Authorization Required",
        402 => "402 Payment Required",
        403 => "403 Forbidden",
        404 => "404 Not Found",
        405 => "405 Not Allowed",
        406 => "406 Not Acceptable",
        407 => "407 Proxy Authentication Required",
        408 => "408 Request Time-out",
        409 => "409 Conflict",
        410 => "410 Gone",
        411 => "411 Length Required",
        412 => "412 Precondition Failed",
        413 => "413 Request Entity Too Large",
        414 => "414 Request-URI Too Large",
        415 => "415 Unsupported Media Type",
        416 => "416 Requested Range Not Satisfiable",
        421 => "421 Misdirected Request",
        429 => "429 Too Many Requests",
        HEADER_TOO_LARGE => "400 Request Header Or Cookie Too Large",
        CERTIFICATE_ERROR => "400 The SSL certificate error",
        NO_CERTIFICATE => "400 No required SSL certificate was sent",
        HTTP_TO_HTTPS => "400 The plain HTTP request was sent to HTTPS port",
        500 => "500 Internal Server Error",
        501 => "501 Not Implemented",
        502 => "502 Bad Gateway",
        503 => "503 Service Temporarily Unavailable",
        504 => "504 Gateway Time-out",
        505 => "505 HTTP Version Not Supported",
        507 => "507 Insufficient Storage",
        _ => return None,
    })
}

/// Appends the whole built-in page; `server` is the token at its foot, `octroi` or `octroi/1.0`.
/// False, with nothing appended, where there is no page.
pub fn error_page(status: u16, server: &str, out: &mut Vec<u8>) -> bool {
    let Some(title) = error_page_html(status) else { return false };
    // nginx's own codes have a plain heading, and the particulars in a line of their own.
    let detail = title.get(4..).filter(|_| sent(status) != status);
    let heading = if detail.is_some() { "400 Bad Request" } else { title };
    let parts: &[&str] = &[
        "<html>\r\n<head><title>",
        title,
        "</title></head>\r\n<body>\r\n<center><h1>",
        heading,
        "</h1></center>\r\n",
        detail.map_or("", |_| "<center>"),
        detail.unwrap_or(""),
        detail.map_or("", |_| "</center>\r\n"),
        "<hr><center>",
        server,
        "</center>\r\n</body>\r\n</html>\r\n",
    ];
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
    true
}

/// What fills an error page up to more than 512 bytes, below which old MSIE and Chrome show a page of
/// their own instead.
const PADDING: &str = "<!-- so long that no browser puts a page of its own in its place  -->\r\n";

/// How often it is repeated: 6 x 71 bytes and the shortest page.
const PADDING_LINES: usize = 6;

/// Appends the padding of an error page (`msie_padding`).
pub fn padding(out: &mut Vec<u8>) {
    for _ in 0..PADDING_LINES {
        out.extend_from_slice(PADDING.as_bytes());
    }
}

/// Appends a page that sends a browser on to `location` (`msie_refresh`).
pub fn refresh_page(location: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"<html><head><meta http-equiv=\"Refresh\" content=\"0; URL=");
    escape(Escape::Refresh, location, out);
    out.extend_from_slice(b"\"></head><body></body></html>\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nginx_words() {
        for (status, want) in [
            (200, Some("OK")),
            (203, None),
            (302, Some("Moved Temporarily")),
            (413, Some("Request Entity Too Large")),
            (414, Some("Request-URI Too Large")),
            (416, Some("Requested Range Not Satisfiable")),
            (417, None),
            (422, None),
            (503, Some("Service Temporarily Unavailable")),
            (504, Some("Gateway Time-out")),
            (506, None),
            (599, None),
        ] {
            assert_eq!(reason(status), want, "{status}");
        }
    }

    #[test]
    fn pages() {
        let mut out = Vec::new();
        assert!(error_page(404, "octroi/1", &mut out));
        assert_eq!(
            String::from_utf8_lossy(&out),
            "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n<center><h1>404 Not Found</h1></center>\r\n\
             <hr><center>octroi/1</center>\r\n</body>\r\n</html>\r\n"
        );
        out.clear();
        assert!(error_page(494, "octroi", &mut out));
        assert_eq!(
            String::from_utf8_lossy(&out),
            "<html>\r\n<head><title>400 Request Header Or Cookie Too Large</title></head>\r\n<body>\r\n\
             <center><h1>400 Bad Request</h1></center>\r\n<center>Request Header Or Cookie Too Large</center>\r\n\
             <hr><center>octroi</center>\r\n</body>\r\n</html>\r\n"
        );
        assert!(!error_page(204, "octroi", &mut out) && !error_page(499, "octroi", &mut out));
        assert_eq!((sent(494), sent(497), sent(404), sent(499)), (400, 400, 404, 499));
    }

    #[test]
    fn pages_for_old_browsers() {
        let mut out = Vec::new();
        assert!(error_page(403, "octroi", &mut out));
        padding(&mut out);
        assert!(out.len() > 512, "{}", out.len());
        out.clear();
        refresh_page(b"a b\"?c=d%20", &mut out);
        assert_eq!(
            out,
            b"<html><head><meta http-equiv=\"Refresh\" content=\"0; URL=a%20b%22?c=d%20\"></head><body></body></html>\r\n"
        );
    }

    #[test]
    fn titles_begin_with_the_status_sent() {
        for status in 0..1000 {
            if let Some(title) = error_page_html(status) {
                assert_eq!(title.get(..3), Some(sent(status).to_string().as_str()));
            }
        }
    }
}
