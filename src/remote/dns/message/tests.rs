#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

fn question(kind: Kind) -> Question {
    Question { id: 0x1234, name: "a.example".into(), kind }
}

/// The name as a pointer to that of the question, type, class, TTL and data.
fn record(kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap().to_be_bytes();
    [&[0xc0, 12][..], &kind.to_be_bytes(), &[0, 1], &ttl.to_be_bytes(), &length, data].concat()
}

/// An answer to the question with these flags and records.
fn answer(question: &Question, flags: u16, records: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = question.message().unwrap();
    bytes[2..4].copy_from_slice(&flags.to_be_bytes());
    bytes[7] = u8::try_from(records.len()).unwrap();
    bytes.extend(records.concat());
    bytes
}

const OK: u16 = 0x8180;

#[test]
fn questions() {
    let bytes = question(Kind::Aaaa).message().unwrap();
    assert_eq!(bytes, b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x1c\0\x01");
    let named = |name: &str| Question { name: name.into(), ..question(Kind::A) }.message().is_some();
    let label = "x".repeat(63);
    assert!(named(&label) && named(&[&*label; 4].join(".")));
    for wrong in ["", ".", "a..b", ".a", "a.", &*"x".repeat(64), &*[&*label; 5].join(".")] {
        assert!(!named(wrong), "{wrong}");
    }
}

#[test]
fn addresses_and_aliases() {
    let asked = question(Kind::A);
    let read = |records: &[Vec<u8>]| asked.read(&answer(&asked, OK, records), false);
    let records = |addresses: &[[u8; 4]], alias: Option<&str>, ttl_s| {
        let addresses = addresses.iter().map(|&a| a.into()).collect();
        Ok(Answer::Records { addresses, alias: alias.map(Into::into), ttl_s })
    };
    assert_eq!(read(&[]), records(&[], None, u32::MAX));
    let one = record(1, 60, &[192, 0, 2, 1]);
    assert_eq!(
        read(&[one.clone(), record(1, 5, &[192, 0, 2, 2])]),
        records(&[[192, 0, 2, 1], [192, 0, 2, 2]], None, 5)
    );
    // `b` before the `example` of the question.
    let alias = record(5, 3, b"\x01B\xc0\x0e");
    assert_eq!(read(std::slice::from_ref(&alias)), records(&[], Some("b.example"), 3));
    assert_eq!(read(&[alias, one.clone()]), records(&[[192, 0, 2, 1]], Some("b.example"), 3));
    // Records of other types and negative times.
    assert_eq!(read(&[record(39, 9, b"\0"), one]), records(&[[192, 0, 2, 1]], None, 9));
    assert_eq!(read(&[record(1, u32::MAX, &[1, 1, 1, 1])]), records(&[[1; 4]], None, 0));
    let asked = question(Kind::Aaaa);
    let v6 = asked.read(&answer(&asked, OK, &[record(28, 1, &[1; 16])]), true).unwrap();
    assert!(matches!(v6, Answer::Records { addresses, .. } if addresses[0].is_ipv6()));
}

#[test]
fn codes() {
    let asked = question(Kind::A);
    let read = |flags: u16| asked.read(&answer(&asked, flags, &[]), false);
    for code in 2..=5 {
        assert_eq!(read(OK | code), Ok(Answer::Failed(code as u8)));
    }
    assert_eq!(read(OK | 0x200), Ok(Answer::Truncated));
    assert_eq!(read(OK | 1).unwrap_err(), "DNS error (1: Format error), query id:4660, name:\"a.example\"");
    assert_eq!(read(OK | 6).unwrap_err(), "DNS error (6: Unknown error), query id:4660");
    assert_eq!(read(0x0100).unwrap_err(), "invalid UDP DNS response 4660 fl:0100");
    let truncated = asked.read(&answer(&asked, OK | 0x200, &[]), true);
    assert_eq!(truncated.unwrap_err(), "invalid TCP DNS response 4660 fl:8380");
}

#[test]
fn faults() {
    let asked = question(Kind::A);
    let good = answer(&asked, OK, &[record(1, 60, &[192, 0, 2, 1])]);
    let fault = |bytes: &[u8]| asked.read(bytes, false).unwrap_err();
    for cut in 0..good.len() {
        let said = fault(&good[..cut]);
        assert!(said == "short DNS response" || said == "name is out of DNS response", "{said}");
    }
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        fault(&bytes)
    };
    assert_eq!(with(0, 0), "wrong ident 52 in DNS response for a.example, expect 4660");
    assert_eq!(with(5, 2), "invalid number of questions in DNS response");
    assert_eq!(with(12, 0), "zero-length domain name in DNS response");
    assert_eq!(with(12, 0x80), "invalid label type in DNS response");
    assert_eq!(with(13, b'b'), "unexpected DNS response for b.example");
    assert_eq!(with(24, 28), "unexpected DNS response for a.example");
    assert_eq!(with(26, 3), "unknown query class 3 in DNS response");
    let one = |record: Vec<u8>| fault(&answer(&asked, OK, &[record]));
    assert_eq!(one(record(1, 1, &[1, 2, 3])), "invalid A record in DNS response");
    assert_eq!(one(record(28, 1, &[0; 16])), "unexpected AAAA record in DNS response");
    assert_eq!(one(record(16, 1, b"text")), "no A or CNAME types in DNS response");
    // An alias that points to itself.
    assert_eq!(one(record(5, 1, &[0xc0, 39])), "compression pointers loop in DNS response");
    let mut class = record(1, 1, &[1; 4]);
    class[5] = 4;
    assert_eq!(one(class), "unexpected RR class 4 in DNS response");
}

proptest! {
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..80), at in 0usize..60, byte in any::<u8>()) {
        let asked = question(Kind::A);
        let _ = asked.read(&bytes, false);
        let records = [record(5, 3, b"\x01b\xc0\x0e"), record(1, 60, &[192, 0, 2, 1])];
        let mut nearly = answer(&asked, OK, &records);
        if let Some(changed) = nearly.get_mut(at) {
            *changed = byte;
        }
        nearly.extend_from_slice(&bytes);
        let _ = asked.read(&nearly, true);
    }
}
