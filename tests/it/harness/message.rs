//! A request or a response as values, read without the code under test.

pub(super) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// A request or a response.
#[derive(Debug, Clone, Default)]
pub struct Message {
    /// The request line or the status line.
    pub start: String,
    /// The header fields in order, repeats kept.
    pub headers: Vec<(String, String)>,
    /// The body, decoded.
    pub body: Vec<u8>,
    /// The sizes of the chunks, if it came chunked.
    pub chunks: Vec<usize>,
    /// The fields after the last chunk.
    pub trailers: Vec<(String, String)>,
    /// The head as it came.
    pub head: String,
    /// All of the body came.
    pub complete: bool,
    /// For a request at an upstream: the number of its connection, from 0.
    pub connection: usize,
}

impl Message {
    pub(super) fn parse(head: &str) -> Message {
        let mut lines = head.trim_end_matches("\r\n").split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let field = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("a header line: {line:?}"));
            (name.to_owned(), value.trim().to_owned())
        };
        let headers = lines.map(field).collect();
        Message { start, headers, head: head.to_owned(), complete: true, ..Message::default() }
    }

    /// The response that these bytes start with, and its length; none if they are no whole response,
    /// or what follows the head does not fit it.
    pub fn response_in(bytes: &[u8], to_head: bool) -> Option<(Message, usize)> {
        let end = find(bytes, b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        if !head.starts_with("HTTP/") || head.trim_end().split("\r\n").skip(1).any(|line| !line.contains(':'))
        {
            return None;
        }
        let mut message = Message::parse(head);
        let status = message.status();
        if to_head || status < 200 || status == 204 || status == 304 {
            return Some((message, end));
        }
        let rest = &bytes[end..];
        let used = if message.get("transfer-encoding").is_some() {
            message.chunks_in(rest)?
        } else {
            let length = message.get("content-length").and_then(|v| v.parse().ok()).unwrap_or(rest.len());
            message.body = rest.get(..length)?.to_vec();
            length
        };
        Some((message, end + used))
    }

    /// A chunked body at the start of these bytes; its length.
    fn chunks_in(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            let line_end = at + find(&bytes[at..], b"\r\n")?;
            let size = usize::from_str_radix(std::str::from_utf8(&bytes[at..line_end]).ok()?, 16).ok()?;
            at = line_end + 2;
            self.chunks.push(size);
            if size == 0 {
                break;
            }
            self.body.extend_from_slice(bytes.get(at..at + size)?);
            at += size + 2;
        }
        loop {
            let rest = bytes.get(at..)?;
            let length = find(rest, b"\r\n")?;
            at += length + 2;
            if length == 0 {
                return Some(at);
            }
            let line = String::from_utf8_lossy(&rest[..length]).into_owned();
            let (name, value) = line.split_once(':')?;
            self.trailers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    /// The status code of a response.
    pub fn status(&self) -> u16 {
        let code = self.start.split(' ').nth(1).unwrap_or_default();
        code.parse().unwrap_or_else(|_| panic!("a status line: {:?}", self.start))
    }

    /// The first field of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// All fields of that name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    /// The names of the fields, in order.
    pub fn names(&self) -> Vec<&str> {
        self.headers.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The target in a request line.
    pub fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// Status and body of a response.
    pub fn answer(&self) -> (u16, String) {
        (self.status(), self.text())
    }
}
