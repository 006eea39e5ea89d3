#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

/// Body, trailers as `name=value`, bytes left over; or the fault, or `None` when the body is not done.
type Outcome = Result<Option<(Vec<u8>, Vec<String>, usize)>, ChunkFault>;

/// Feeds the input in pieces that end at the cuts.
fn feed(input: &[u8], cuts: &[usize]) -> Outcome {
    let mut decoder = Decoder::upstream();
    let (mut body, mut at) = (Vec::new(), 0);
    for end in cuts.iter().copied().chain([input.len()]) {
        while at < end && !decoder.is_done() {
            let piece = &input[at..end];
            let progress = decoder.decode(piece)?;
            assert!(progress.consumed > 0, "no progress");
            assert_eq!(progress.done, decoder.is_done());
            body.extend_from_slice(progress.data.of(piece));
            at += progress.consumed;
        }
    }
    if !decoder.is_done() {
        return Ok(None);
    }
    let (fields, text) = decoder.trailers();
    let text = |span: Span| String::from_utf8_lossy(span.of(text)).into_owned();
    let trailers = fields.list.iter().map(|f| text(f.name) + "=" + &text(f.value)).collect();
    assert_eq!(decoder.received(), body.len() as u64);
    Ok(Some((body, trailers, input.len() - at)))
}

/// Fed whole and byte by byte, which must agree.
fn decode(input: &[u8]) -> Outcome {
    let whole = feed(input, &[]);
    let each: Vec<usize> = (1..input.len()).collect();
    assert_eq!(feed(input, &each), whole, "{}", input.escape_ascii());
    whole
}

#[test]
fn good() {
    for (input, body, trailers, left) in [
        ("0\r\n\r\n", "", &[][..], 0),
        ("5\r\nhello\r\n0\r\n\r\n", "hello", &[], 0),
        ("5\r\nhello\r\n0\r\n\r\nGET /", "hello", &[], 5),
        ("1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "abc", &[], 0),
        ("a\r\n0123456789\r\n0\r\n\r\n", "0123456789", &[], 0),
        ("A\r\n0123456789\r\n0\r\n\r\n", "0123456789", &[], 0),
        ("0000000000000005\r\nhello\r\n00\r\n\r\n", "hello", &[], 0),
        ("2;x=y\r\n\r\n\r\n0\r\n\r\n", "\r\n", &[], 0),
        ("1;\r\na\r\n0;a;b=\"c d\"\r\n\r\n", "a", &[], 0),
        ("1 \r\na\r\n0 \t;x\r\n\r\n", "a", &[], 0),
        ("1;a\tb\r\na\r\n0\r\n\r\n", "a", &[], 0),
        ("0\r\nX-Sum: 1\r\nx_y:2\r\n\r\n", "", &["X-Sum=1", "x_y=2"], 0),
        (
            "0\r\ngrpc-status: 0 \r\nHost: evil\r\nContent-Length: 5\r\nb:\r\n\r\nrest",
            "",
            &["grpc-status=0", "b="],
            4,
        ),
        ("0\r\nTransfer-Encoding: chunked\r\nAuthorization: x\r\nX-Forwarded-For: y\r\n\r\n", "", &[], 0),
        ("0\r\nx.y: dropped\r\n(odd): dropped\r\nz: 1\r\n\r\n", "", &["z=1"], 0),
    ] {
        let want = (body.as_bytes().to_vec(), trailers.iter().map(|t| t.to_string()).collect(), left);
        assert_eq!(decode(input.as_bytes()), Ok(Some(want)), "{input:?}");
    }
}

#[test]
fn refused() {
    use ChunkFault::*;
    for (input, fault) in [
        ("\r\n", Size),
        ("\n", Size),
        ("g\r\n", Size),
        ("-1\r\na", Size),
        ("+1\r\na", Size),
        ("0x1\r\na", Size),
        (" 1\r\na", Size),
        ("1_0\r\n", Size),
        (";x\r\n", Size),
        ("1 2\r\n", Size),
        ("1 x\r\n", Size),
        ("1,1\r\n", Size),
        ("1\0\r\n", Size),
        ("1\n", LineEnd),
        ("1\na\r\n0\r\n\r\n", LineEnd),
        ("1 \n", LineEnd),
        ("1;x\n", LineEnd),
        ("1\rX", LineEnd),
        ("1\r\r\n", LineEnd),
        ("1\r\nab", LineEnd),
        ("1\r\na\n", LineEnd),
        ("1\r\na\rb", LineEnd),
        ("1\r\na0\r\n\r\n", LineEnd),
        ("0\n\r\n", LineEnd),
        ("0\r\n\n", LineEnd),
        ("0\r\na: b\n\r\n", LineEnd),
        ("1;x\0\r\n", Extension),
        ("1;x\x7f\r\n", Extension),
        ("1;x\ry\r\n", LineEnd),
        ("8000000000000000\r\n", SizeOverflow),
        ("ffffffffffffffff\r\n", SizeOverflow),
        ("10000000000000000\r\n", SizeOverflow),
        ("00000000000000001\r\n", SizeOverflow),
        ("0\r\n x: y\r\n\r\n", Trailer),
        ("0\r\nx : y\r\n\r\n", Trailer),
        ("0\r\n: y\r\n\r\n", Trailer),
        ("0\r\nnothing\r\n\r\n", Trailer),
        ("0\r\nx: \0\r\n\r\n", Trailer),
        ("0\r\nx: a\rb\r\n\r\n", Trailer),
        ("0\r\n\rx\r\n", Trailer),
    ] {
        assert_eq!(decode(input.as_bytes()), Err(fault), "{input:?}");
    }
}

#[test]
fn unfinished() {
    for input in
        ["", "5", "5\r", "5\r\nhel", "5\r\nhello", "5\r\nhello\r\n", "0\r\n", "0\r\n\r", "0\r\na: b\r\n"]
    {
        assert_eq!(decode(input.as_bytes()), Ok(None), "{input:?}");
    }
    let mut decoder = Decoder::new(false);
    let progress = decoder.decode(b"7fffffffffffffff\r\nabc").unwrap();
    assert_eq!(progress, Progress { consumed: 21, data: Span::new(18, 21), done: false });
    assert_eq!(decoder.data_left(), i64::MAX as u64 - 3);
}

#[test]
fn bounds() {
    let extension = |n: usize| format!("1;{}\r\n", "x".repeat(n));
    assert!(matches!(decode(extension(1022).as_bytes()), Ok(None)));
    assert_eq!(decode(extension(1100).as_bytes()), Err(ChunkFault::Extension));
    // Short extensions without end, on chunks of one byte.
    let many = "1;xxxxxxxxxxxxxxx\r\na\r\n".repeat(4000);
    assert_eq!(feed(many.as_bytes(), &[]), Err(ChunkFault::Extension));
    // As many bytes of data as of extensions go on for ever.
    let fair = format!("20;{}\r\n{}\r\n", "x".repeat(20), "d".repeat(32)).repeat(4000);
    assert_eq!(feed(fair.as_bytes(), &[]), Ok(None));

    let trailer = |n: usize| format!("0\r\nx: {}\r\n\r\n", "y".repeat(n));
    assert!(matches!(feed(trailer(8000).as_bytes(), &[]), Ok(Some(_))));
    assert_eq!(feed(trailer(9000).as_bytes(), &[]), Err(ChunkFault::TrailerTooLarge));
    let lines = format!("0\r\n{}\r\n", "host: x\r\n".repeat(65));
    assert_eq!(feed(lines.as_bytes(), &[]), Err(ChunkFault::TrailerTooLarge));
}

#[test]
fn an_overlong_extension_is_too_long_whatever_ends_it() {
    for end in ["\n", "\0", "\r\n"] {
        let input = format!("1;{}{end}", "x".repeat(EXTENSION_MAX as usize));
        assert_eq!(decode(input.as_bytes()), Err(ChunkFault::Extension), "{}", end.escape_default());
    }
}

#[test]
fn a_fault_that_is_met_again_is_the_same() {
    let input = format!("1\r\na\r\n1;{}\n", "x".repeat(EXTENSION_MAX as usize / 2 + 1));
    assert_eq!(decode(input.as_bytes()), Err(ChunkFault::LineEnd));
}

#[test]
fn a_fault_behind_data_comes_with_the_next_call() {
    let mut decoder = Decoder::default();
    let progress = decoder.decode(b"2\r\nabX").unwrap();
    assert_eq!(progress, Progress { consumed: 5, data: Span::new(3, 5), done: false });
    assert_eq!(decoder.decode(b"X"), Err(ChunkFault::LineEnd));
}

#[test]
fn data_and_end_come_in_one_call_and_the_decoder_is_recycled() {
    let mut decoder = Decoder::new(false);
    let input = b"3\r\nabc\r\n0\r\na_b: 1\r\nc: 2\r\n\r\nNEXT";
    for _ in 0..2 {
        let progress = decoder.decode(input).unwrap();
        assert_eq!(progress, Progress { consumed: input.len() - 4, data: Span::new(3, 6), done: true });
        assert_eq!(decoder.trailers().0.list.len(), 1, "the underscore is dropped");
        assert_eq!(decoder.decode(b"NEXT").unwrap(), Progress { done: true, ..Progress::default() });
        decoder.clear();
        assert!(decoder.trailers().0.list.is_empty() && !decoder.is_done());
    }
}

#[test]
fn heads() {
    for (len, want) in [(0, "0\r\n"), (1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (0xabcdef, "abcdef\r\n")] {
        assert_eq!(chunk_head(len, &mut [0; 18]), want.as_bytes());
    }
    assert_eq!(chunk_head(u64::MAX as usize, &mut [0; 18]), b"ffffffffffffffff\r\n");
}

proptest! {
    #[test]
    fn encode_then_decode(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..70), 0..6),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut wire = Vec::new();
        for chunk in &chunks {
            wire.extend_from_slice(chunk_head(chunk.len(), &mut [0; 18]));
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(CHUNK_TAIL);
        }
        wire.extend_from_slice(LAST_CHUNK);
        let mut cuts: Vec<usize> = cuts.iter().map(|i| i.index(wire.len())).collect();
        cuts.sort_unstable();
        prop_assert_eq!(feed(&wire, &cuts), Ok(Some((chunks.concat(), vec![], 0))));
    }

    #[test]
    fn any_split_gives_the_same(input in "([0-9a-f]{1,2}|[;x \t]|\r\n|\r|\n|\0|a: b\r\n|0\r\n){0,14}") {
        let _ = decode(input.as_bytes());
    }

    #[test]
    fn never_panics(input in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = decode(&input);
    }
}
