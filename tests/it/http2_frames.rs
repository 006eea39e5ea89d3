//! Frames of HTTP/2 written by hand, for what a client of good will cannot send.

use crate::harness::*;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// Fields as literals that no table keeps (RFC 7541, 6.2.2).
pub fn fields(list: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in list {
        out.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            out.push(text.len() as u8);
            out.extend(text.as_bytes());
        }
    }
    out
}

pub const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];

/// A connection that has begun.
pub fn begun(server: &Server) -> Wire {
    let mut wire = server.client();
    wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    wire.send(frame(SETTINGS, 0, 0, &[]));
    wire
}

/// The next frame: kind, flags, stream, payload.
pub fn next(wire: &mut Wire) -> Result<(u8, u8, u32, Vec<u8>), End> {
    let head = wire.take(9)?;
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    Ok((head[3], head[4], stream, wire.take(length)?))
}

/// What becomes of one stream: `Ok` with the head's block, `Err` if it or the connection is ended.
pub fn outcome(wire: &mut Wire, stream: u32) -> Result<Vec<u8>, &'static str> {
    loop {
        match next(wire) {
            Ok((HEADERS, _, of, block)) if of == stream => return Ok(block),
            Ok((RST_STREAM, _, of, _)) if of == stream => return Err("reset"),
            Ok((GOAWAY, ..)) => return Err("goaway"),
            Ok(_) => {}
            Err(End::Silent) => panic!("the server says nothing"),
            Err(_) => return Err("closed"),
        }
    }
}

/// Whether a head's block begins with a status of 400 (indexed) or another 4xx (literal).
pub fn is_refusal(block: &[u8]) -> bool {
    // Indexed `:status` values: 8 is 200, 9 is 204, 10 is 206, 11 is 304, 12 is 400, 13 is 404.
    !matches!(block.first(), Some(0x88..=0x8b))
}
