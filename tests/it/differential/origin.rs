//! The upstream of the comparison: what it answers depends on the request's
//! path and on nothing else.

use crate::harness::Origin;

/// Answers requests until the peer closes. The path's last part says how, as in [`named`]; any other
/// path is answered with the request line, so that a difference shows even where only the answer is
/// looked at.
pub fn answer(origin: &mut Origin) {
    while let Some(request) = origin.request() {
        let path = request.target().split('?').next().unwrap_or_default();
        let last = path.rsplit('/').next().unwrap_or_default();
        let head = request.start.starts_with("HEAD ");
        match named(last) {
            Some(answer) => {
                let whole = answer.replace('\n', "\r\n");
                let end = whole.find("\r\n\r\n").map_or(whole.len(), |at| at + 4);
                origin.send(if head { &whole[..end] } else { &whole });
                // A body without a length ends with its connection.
                if !whole.contains("Content-Length") && !whole.contains("chunked") {
                    return;
                }
            }
            None => {
                let body = format!("{}\n", request.start);
                let fields = "Content-Type: text/plain\r\nX-Origin: yes";
                let top = format!("HTTP/1.1 200 OK\r\n{fields}\r\nContent-Length: {}\r\n\r\n", body.len());
                origin.send(if head { top } else { top + &body });
            }
        }
    }
}

/// The answers by name. Line feeds stand for CRLF.
fn named(name: &str) -> Option<&'static str> {
    Some(match name {
        "chunked" => {
            "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nContent-Type: text/html\n\n5\nhello\n6\n world\n0\n\n"
        }
        "close" => "HTTP/1.1 200 OK\nContent-Type: text/html\n\nuntil the end",
        "old" => "HTTP/1.0 200 OK\nContent-Type: text/html\n\nfrom 1.0",
        "cookies" => {
            "HTTP/1.1 200 OK\nSet-Cookie: a=1; Path=/app/; Domain=origin.test\nSet-Cookie: b=2; path=/\nContent-Length: 2\n\nok"
        }
        "fields" => {
            "HTTP/1.1 200 OK\nX-Powered-By: origin\nX-Secret: s\nServer: origin\nDate: Thu, 01 Jan 1970 00:00:00 GMT\nX-Pad: p\n\
             Vary: Accept\nVary: Cookie\nCache-Control: private\nCache-Control: max-age=1\nLink: </a>; rel=preload\nX-Accel-Expires: 1\nContent-Length: 2\n\nok"
        }
        "dated" => {
            "HTTP/1.1 200 OK\nLast-Modified: Wed, 01 Jan 2020 00:00:00 GMT\nETag: \"e\"\nExpires: Wed, 01 Jan 2020 00:00:00 GMT\n\
             Content-Type: text/plain\nContent-Length: 10\n\n0123456789"
        }
        "ranges" => {
            "HTTP/1.1 200 OK\nAccept-Ranges: bytes\nLast-Modified: Wed, 01 Jan 2020 00:00:00 GMT\nContent-Type: text/plain\n\
             Content-Length: 10\n\n0123456789"
        }
        "text" => {
            "HTTP/1.1 200 OK\nContent-Type: text/html; charset=utf-8\nContent-Length: 45\n\n<p>text to be replaced: origin.test, text</p>"
        }
        "moved" => "HTTP/1.1 302 Found\nLocation: http://origin.test/app/next?x=1\nContent-Length: 0\n\n",
        "moved-relative" => "HTTP/1.1 301 Moved Permanently\nLocation: /app/next\nContent-Length: 0\n\n",
        "refresh" => "HTTP/1.1 200 OK\nRefresh: 3; url=http://origin.test/app/\nContent-Length: 2\n\nok",
        "none" => "HTTP/1.1 204 No Content\nX-Origin: yes\n\n",
        "unchanged" => "HTTP/1.1 304 Not Modified\nETag: \"e\"\n\n",
        "401" => {
            "HTTP/1.1 401 Unauthorized\nWWW-Authenticate: Basic realm=\"origin\"\nContent-Length: 2\n\nno"
        }
        "403" => "HTTP/1.1 403 Forbidden\nContent-Length: 9\n\nforbidden",
        "404" => "HTTP/1.1 404 Not Found\nContent-Type: text/plain\nContent-Length: 7\n\nno such",
        "500" => "HTTP/1.1 500 Internal Server Error\nContent-Length: 6\n\nbroken",
        "503" => "HTTP/1.1 503 Service Unavailable\nRetry-After: 5\nContent-Length: 4\n\nbusy",
        "own-status" => "HTTP/1.1 299 Of Its Own\nContent-Length: 2\n\nok",
        "garbage" => "garbage\n\n",
        "accel" => {
            "HTTP/1.1 200 OK\nX-Accel-Redirect: /protected/file.txt\nX-Accel-Limit-Rate: 0\nContent-Type: text/x-own\nContent-Length: 2\n\nok"
        }
        "accel-named" => "HTTP/1.1 200 OK\nX-Accel-Redirect: @named\nContent-Length: 2\n\nok",
        "charset" => {
            "HTTP/1.1 200 OK\nContent-Type: text/html\nX-Accel-Charset: koi8-r\nContent-Length: 2\n\nok"
        }
        "allowed" => "HTTP/1.1 204 No Content\nX-User: alice\nX-Auth: token\n\n",
        _ => return None,
    })
}
