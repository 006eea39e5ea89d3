#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

/// A header of version 2 with this command, family and rest.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE.as_slice(), &[command, family], &length, rest].concat()
}

const V4: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0, 123, 0x16, 0x2e];

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(value.len()).unwrap().to_be_bytes();
    [&[kind, high, low], value].concat()
}

fn shown(read: &Read) -> String {
    match read {
        Read::Partial => "partial".to_owned(),
        Read::Whole { len, header: None } => format!("{len} nobody"),
        Read::Whole { len, header: Some(h) } => {
            format!("{len} {} {} {} {}", h.source, h.source_port, h.destination, h.destination_port)
        }
    }
}

#[test]
fn version_1() {
    for (text, want) in [
        ("PROXY TCP4 192.0.2.1 192.0.2.2 123 5678\r\nGET", "41 192.0.2.1 123 192.0.2.2 5678"),
        ("PROXY TCP6 2001:DB8::1 ::2 0 65535\r\n", "36 2001:DB8::1 0 ::2 65535"),
        // As in nginx, the family is not compared with the addresses.
        ("PROXY TCP4 ::1 ::2 1 2\r\n", "24 ::1 1 ::2 2"),
        ("PROXY UNKNOWN\r\n", "15 nobody"),
        ("PROXY UNKNOWN ::1 \x7f whatever\r\n", "30 nobody"),
        ("PROXY UNKNOWNS\r\n", "16 nobody"),
        ("", "partial"),
        ("PRO", "partial"),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 123 5678\r", "partial"),
    ] {
        assert_eq!(shown(&read(text.as_bytes()).unwrap()), want, "{text:?}");
    }
    for text in [
        "GET / HTTP/1.1\r\n",
        "PROXX",
        "PROXY TCP5 ::1 ::2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 123\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 123 5678 9\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 123 65536\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.x 1 2\r\n",
        "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4\r\n",
        "PROXY \r\n",
        "\r\nPROXY",
    ] {
        assert_eq!(read(text.as_bytes()), Err(Fault::Broken), "{text:?}");
    }
    assert_eq!(Fault::Broken.explain(b"GET / HTTP/1.0\r\nHost"), "broken header: \"GET / HTTP/1.0\"");
}

#[test]
fn version_1_is_bounded() {
    let long = format!("PROXY UNKNOWN {}", "x".repeat(200));
    assert_eq!(read(&long.as_bytes()[..106]), Ok(Read::Partial));
    assert_eq!(read(&long.as_bytes()[..107]), Err(Fault::Broken));
    let exact = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
    assert_eq!(shown(&read(exact.as_bytes()).unwrap()), "107 nobody");
    let over = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
    assert_eq!(read(over.as_bytes()), Err(Fault::Broken));
}

#[test]
fn version_2() {
    let v6 = [&[0x20, 1, 0xd, 0xb8], [0u8; 11].as_slice(), &[1], &[0u8; 15], &[2], &[0, 1, 0, 2]].concat();
    for (bytes, want) in [
        (v2(0x21, 0x11, &V4), "28 192.0.2.1 123 192.0.2.2 5678"),
        (v2(0x21, 0x21, &v6), "52 2001:db8::1 1 ::2 2"),
        (v2(0x20, 0x11, &V4), "28 nobody"),
        (v2(0x20, 0, &[]), "16 nobody"),
        (v2(0x21, 0, &[1, 2, 3]), "19 nobody"),
        (v2(0x21, 0x31, &[0; 216]), "232 nobody"),
        (v2(0x21, 0x12, &V4), "28 nobody"),
        (v2(0x2f, 0x11, &V4), "28 nobody"),
    ] {
        assert_eq!(shown(&read(&bytes).unwrap()), want);
        for cut in 0..bytes.len() {
            assert_eq!(read(&bytes[..cut]), Ok(Read::Partial), "{want} cut at {cut}");
        }
    }
    assert_eq!(read(&v2(0x11, 0x11, &V4)), Err(Fault::Version(1)));
    assert_eq!(read(&v2(0x21, 0x11, &V4[..11])), Err(Fault::TooShort));
    assert_eq!(read(&v2(0x21, 0x21, &V4)), Err(Fault::TooShort));
    let largest = v2(0x20, 0, &vec![0; V2_BYTES_MAX - V2_HEAD_BYTES]);
    assert_eq!(shown(&read(&largest).unwrap()), "4096 nobody");
    // Refused as soon as the length is known.
    assert_eq!(read(&v2(0x20, 0, &vec![0; V2_BYTES_MAX - V2_HEAD_BYTES + 1])[..16]), Err(Fault::TooLarge));
}

fn with_tlvs(tlvs: &[u8]) -> Header {
    match read(&v2(0x21, 0x11, &[&V4, tlvs].concat())).unwrap() {
        Read::Whole { header: Some(header), .. } => header,
        other => panic!("{other:?}"),
    }
}

#[test]
fn tlvs_by_name_and_number() {
    let ssl = [&[1, 0, 0, 0, 255], tlv(0x21, b"TLSv1.2").as_slice(), &tlv(0x25, b"RSA512")].concat();
    let header = with_tlvs(
        &[tlv(1, b"h2"), tlv(2, b"host"), tlv(3, b"crc"), tlv(5, b""), tlv(0x20, &ssl), tlv(0xae, b"x")]
            .concat(),
    );
    let bytes = |text: &'static str| Ok(Some(Tlv::Bytes(text.as_bytes())));
    for (name, want) in [
        ("alpn", bytes("h2")),
        ("0x01", bytes("h2")),
        ("0x1", bytes("h2")),
        ("authority", bytes("host")),
        ("0x3", bytes("crc")),
        ("unique_id", bytes("")),
        ("0x000ae", bytes("x")),
        ("0xff", Ok(None)),
        ("0x1ae", Ok(None)),
        ("netns", Ok(None)),
        ("ssl", Ok(Some(Tlv::Bytes(&ssl)))),
        ("ssl_verify", Ok(Some(Tlv::Number(255)))),
        ("ssl_version", bytes("TLSv1.2")),
        ("ssl_0x21", bytes("TLSv1.2")),
        ("ssl_key_alg", bytes("RSA512")),
        ("ssl_cn", Ok(None)),
        ("ssl_alpn", Err(TlvFault::Unknown)),
        ("crc32c", Err(TlvFault::Unknown)),
        ("", Err(TlvFault::Unknown)),
        ("0x", Err(TlvFault::Invalid)),
        ("0xg", Err(TlvFault::Invalid)),
        ("0x+1", Err(TlvFault::Invalid)),
        ("ssl_0xfffffffff", Err(TlvFault::Invalid)),
    ] {
        assert_eq!(header.tlv(name), want, "{name}");
    }
    assert_eq!(with_tlvs(&[]).tlv("ssl_cn"), Ok(None));
    assert_eq!(with_tlvs(&tlv(0x20, &[1, 2, 3, 4])).tlv("ssl_verify"), Err(TlvFault::Broken));
    let cut = with_tlvs(&[1, 0, 2, b'h', b'2', 2, 0]);
    assert_eq!((cut.tlv("alpn"), cut.tlv("netns")), (bytes("h2"), Err(TlvFault::Broken)));
    assert_eq!(with_tlvs(&[1, 0, 9, b'x']).tlv("alpn"), Err(TlvFault::Broken));
}

proptest! {
    /// Nothing makes it panic; what is whole stays so with more behind it, and every beginning of it
    /// is a beginning.
    #[test]
    fn any_bytes(bytes in any_header(), more in proptest::collection::vec(any::<u8>(), 0..8), name in "[a-z0-9x_]{0,8}") {
        match read(&bytes) {
            Ok(Read::Whole { len, header }) => {
                prop_assert!(len <= bytes.len() && len <= V2_BYTES_MAX);
                if let Some(header) = &header {
                    let _ = header.tlv(&name);
                    let _ = header.tlv("ssl_verify");
                }
                let longer = [bytes.as_slice(), &more].concat();
                prop_assert_eq!(read(&longer), Ok(Read::Whole { len, header }));
                for cut in 0..len {
                    prop_assert_eq!(read(&bytes[..cut]), Ok(Read::Partial));
                }
            }
            Ok(Read::Partial) => prop_assert!(bytes.len() < V2_BYTES_MAX),
            Err(fault) => {
                prop_assert!(!fault.explain(&bytes).is_empty());
                let longer = [bytes.as_slice(), &more].concat();
                prop_assert_eq!(read(&longer), Err(fault));
            }
        }
    }
}

/// Bytes that are often nearly a header.
fn any_header() -> impl Strategy<Value = Vec<u8>> {
    let rest = || proptest::collection::vec(any::<u8>(), 0..64);
    prop_oneof![
        rest(),
        "PROXY (TCP[4-6]|UNKNOWN) [0-9a-f.:]{0,9} [0-9a-f.:]{0,9} [0-9]{0,6} [0-9]{0,6}(\r\n)?"
            .prop_map(String::into_bytes),
        (any::<u8>(), 0u8..0x40, rest()).prop_map(|(command, family, rest)| v2(command, family, &rest)),
        (0u8..0x40, rest()).prop_map(|(family, rest)| v2(0x21, family, &rest)),
    ]
}
