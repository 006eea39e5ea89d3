//! What a fault of a head is about, as nginx's error log shows it.

use super::field::Field;
use super::span::Span;

/// Bytes shown of a header line that is too long, so that what follows it in the log still has room.
const LINE_SHOWN_MAX: usize = 1748;

/// `: "x\x20..."`: the line as far as it was read, and the byte that may not stand there.
pub(super) fn invalid_line(front: Span, buf: &[u8], out: &mut Vec<u8>) {
    let byte = buf.get(front.end as usize).copied().unwrap_or_default();
    out.extend_from_slice(b": \"");
    out.extend_from_slice(front.of(buf));
    out.extend_from_slice(format!("\\x{byte:02x}...\"").as_bytes());
}

/// `: "Name: front of its value..."`
pub(super) fn long_line(front: Span, buf: &[u8], out: &mut Vec<u8>) {
    let text = front.of(buf);
    out.extend_from_slice(b": \"");
    out.extend_from_slice(text.get(..LINE_SHOWN_MAX).unwrap_or(text));
    out.extend_from_slice(b"...\"");
}

/// `: "Name: value", previous value: "Name: value"`
pub(super) fn repeated(culprit: &Field, previous: &Field, buf: &[u8], out: &mut Vec<u8>) {
    field(culprit, buf, out);
    out.extend_from_slice(b", previous value");
    field(previous, buf, out);
}

/// `: "Name: value"`
pub(super) fn field(field: &Field, buf: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b": \"");
    out.extend_from_slice(field.name.of(buf));
    out.extend_from_slice(b": ");
    out.extend_from_slice(field.value.of(buf));
    out.push(b'"');
}

/// `: "value"`
pub(super) fn value(field: &Field, buf: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b": \"");
    out.extend_from_slice(field.value.of(buf));
    out.push(b'"');
}
