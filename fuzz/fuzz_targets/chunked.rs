//! The chunked coding: where the bytes are cut changes nothing, and what was decoded is the same when
//! it is encoded and decoded again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use octroi::http::ChunkFault;
use octroi::http::chunked::{CHUNK_TAIL, Decoder, LAST_CHUNK, chunk_head};

fuzz_target!(|data: &[u8]| {
    let Some((&cut, bytes)) = data.split_first() else { return };
    let whole = decoded(bytes, bytes.len().max(1));
    let pieces = decoded(bytes, usize::from(cut).max(1));
    match (&whole, &pieces) {
        (Ok(whole), Ok(pieces)) => assert_eq!(whole, pieces),
        // The bytes before a fault may have been given out or not; the fault is the same.
        (Err(whole), Err(pieces)) => assert_eq!(whole, pieces),
        _ => panic!("the same bytes in pieces: {whole:?} {pieces:?}"),
    }
    if let Ok(Body { text, done: true, .. }) = &whole {
        let mut room = [0; 18];
        let mut again = Vec::new();
        if !text.is_empty() {
            again.extend_from_slice(chunk_head(text.len(), &mut room));
            again.extend_from_slice(text);
            again.extend_from_slice(CHUNK_TAIL);
        }
        again.extend_from_slice(LAST_CHUNK);
        let again = decoded(&again, 7).expect("what was encoded here can be decoded");
        assert!(again.done && again.text == *text);
    }
});

#[derive(Debug, PartialEq, Eq)]
struct Body {
    text: Vec<u8>,
    /// Bytes of the coding.
    consumed: usize,
    done: bool,
}

/// Decodes bytes that come `step` at a time.
fn decoded(bytes: &[u8], step: usize) -> Result<Body, ChunkFault> {
    let mut decoder = Decoder::new(false);
    let mut body = Body { text: Vec::new(), consumed: 0, done: false };
    let mut end = 0;
    while end < bytes.len() && !body.done {
        end = (end + step).min(bytes.len());
        loop {
            let input = &bytes[body.consumed..end];
            let progress = decoder.decode(input)?;
            assert!(progress.consumed <= input.len());
            body.text.extend_from_slice(progress.data.of(input));
            body.consumed += progress.consumed;
            body.done = progress.done;
            if progress.consumed == 0 || progress.done {
                break;
            }
        }
    }
    assert_eq!((decoder.is_done(), decoder.received()), (body.done, body.text.len() as u64));
    Ok(body)
}
