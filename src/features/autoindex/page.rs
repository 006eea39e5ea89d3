//! The page of a directory in its four formats, byte for byte as nginx writes it.

use super::Format;
use crate::http::date;
use crate::http::uri::{Escape, escape};
use crate::net::directory::Entry;
use crate::net::file::FileKind;
use std::io::Write;

/// Columns for a name; a longer one is cut.
const NAME_COLUMNS: usize = 50;

/// How sizes and times are shown in HTML.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// `autoindex_exact_size`.
    pub exact_size: bool,
    /// Seconds that the times shown are east of UTC.
    pub offset_s: i32,
}

/// Puts directories first and sorts by name.
pub fn sort(entries: &mut [Entry]) {
    let is_file = |entry: &Entry| entry.kind != FileKind::Directory;
    entries.sort_unstable_by(|a, b| is_file(a).cmp(&is_file(b)).then_with(|| a.name.cmp(&b.name)));
}

/// Writes the page of the directory at this path; `callback` is the function's name for JSONP.
pub fn write(format: Format, path: &[u8], entries: &[Entry], shown: Shown, callback: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + entries.len() * 160);
    match format {
        Format::Html => html(path, entries, shown, &mut out),
        Format::Json => json(entries, &mut out),
        Format::Jsonp => {
            out.extend_from_slice(b"/* callback */\r\n");
            out.extend_from_slice(callback);
            out.push(b'(');
            json(entries, &mut out);
            out.extend_from_slice(b");");
        }
        Format::Xml => xml(entries, &mut out),
    }
    out
}

fn html(path: &[u8], entries: &[Entry], shown: Shown, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<html>\r\n<head><title>Index of ");
    push_html(path, out);
    out.extend_from_slice(b"</title></head>\r\n<body>\r\n<h1>Index of ");
    push_html(path, out);
    out.extend_from_slice(b"</h1><hr><pre><a href=\"../\">../</a>\r\n");
    for entry in entries {
        html_line(entry, shown, out);
    }
    out.extend_from_slice(b"</pre><hr></body>\r\n</html>\r\n");
}

fn html_line(entry: &Entry, shown: Shown, out: &mut Vec<u8>) {
    let is_directory = entry.kind == FileKind::Directory;
    out.extend_from_slice(b"<a href=\"");
    escape(Escape::UriComponent, &entry.name, out);
    out.extend_from_slice(if is_directory { b"/\">" } else { b"\">" });
    let mut columns = entry.name.len();
    if columns > NAME_COLUMNS {
        push_html(entry.name.get(..NAME_COLUMNS - 3).unwrap_or_default(), out);
        out.extend_from_slice(b"..&gt;</a>");
    } else {
        push_html(&entry.name, out);
        if is_directory && columns < NAME_COLUMNS {
            out.push(b'/');
            columns += 1;
        }
        out.extend_from_slice(b"</a>");
        out.resize(out.len() + NAME_COLUMNS - columns, b' ');
    }
    out.push(b' ');
    // `28/Sep/1970:12:00:00 +0000` has the parts that are wanted at fixed places.
    let time = date::common_log(entry.modified_unix_s, shown.offset_s);
    let (day, month, year, minute) = (&time[..2], &time[3..6], &time[7..11], &time[12..17]);
    out.extend_from_slice(&[day, b"-", month, b"-", year, b" ", minute, b" "].concat());
    let size = match (is_directory, shown.exact_size) {
        (true, true) => format!("{:>19}", "-"),
        (true, false) => format!("{:>7}", "-"),
        (false, true) => format!("{:>19}", entry.size),
        (false, false) => rounded(entry.size),
    };
    out.extend_from_slice(size.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// A size in seven columns: bytes below 10,000, else the nearest number of K, M or G.
fn rounded(size: u64) -> String {
    let (unit, scale) = match size {
        0..=9999 => return format!(" {size:>6}"),
        0x10_0000..0x4000_0000 => (1 << 20, 'M'),
        0x4000_0000.. => (1 << 30, 'G'),
        _ => (1 << 10, 'K'),
    };
    let up = u64::from(size % unit > unit / 2 - 1);
    format!("{:>6}{scale}", size / unit + up)
}

fn json(entries: &[Entry], out: &mut Vec<u8>) {
    out.push(b'[');
    for (at, entry) in entries.iter().enumerate() {
        out.extend_from_slice(if at == 0 { b"" } else { b"," });
        out.extend_from_slice(b"\r\n{ \"name\":\"");
        push_json(&entry.name, out);
        out.extend_from_slice(b"\", \"type\":\"");
        out.extend_from_slice(kind(entry));
        out.extend_from_slice(b"\", \"mtime\":\"");
        out.extend_from_slice(&date::http(entry.modified_unix_s));
        out.push(b'"');
        if entry.kind == FileKind::Regular {
            // Writing into memory does not fail.
            let _ = write!(out, ", \"size\":{}", entry.size);
        }
        out.extend_from_slice(b" }");
    }
    out.extend_from_slice(b"\r\n]");
}

fn xml(entries: &[Entry], out: &mut Vec<u8>) {
    out.extend_from_slice(b"<?xml version=\"1.0\"?>\r\n<list>\r\n");
    for entry in entries {
        out.push(b'<');
        out.extend_from_slice(kind(entry));
        out.extend_from_slice(b" mtime=\"");
        let time = date::iso8601(entry.modified_unix_s, 0);
        out.extend_from_slice(&time[..19]);
        out.extend_from_slice(b"Z\"");
        if entry.kind == FileKind::Regular {
            let _ = write!(out, " size=\"{}\"", entry.size);
        }
        out.push(b'>');
        push_html(&entry.name, out);
        out.extend_from_slice(b"</");
        out.extend_from_slice(kind(entry));
        out.extend_from_slice(b">\r\n");
    }
    out.extend_from_slice(b"</list>\r\n");
}

fn kind(entry: &Entry) -> &'static [u8] {
    match entry.kind {
        FileKind::Directory => b"directory",
        FileKind::Regular => b"file",
        FileKind::Other => b"other",
    }
}

fn push_html(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            other => out.push(other),
        }
    }
}

fn push_json(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            0..=0x1f => out.extend_from_slice(format!("\\u{byte:04X}").as_bytes()),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_nginx_rounds_them() {
        for (size, want) in [
            (0, "      0"),
            (9999, "   9999"),
            (10_000, "    10K"),
            (1_048_575, "  1024K"),
            (1_048_576, "     1M"),
            (1_572_863, "     1M"),
            (1_572_864, "     2M"),
            (1_073_741_823, "  1024M"),
            (1_073_741_824, "     1G"),
            (5_000_000_000, "     5G"),
        ] {
            assert_eq!(rounded(size), want, "{size}");
        }
    }

    #[test]
    fn texts() {
        let mut out = Vec::new();
        push_json(b"a\"\\\n\x01\x1f\xc3\xa9", &mut out);
        assert_eq!(out, b"a\\\"\\\\\\n\\u0001\\u001F\xc3\xa9");
    }
}
