//! The PROXY protocol: where the bytes are cut changes nothing, and its TLVs are read without a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use octroi::http::proxy_protocol::{Read, V2_BYTES_MAX, read};

fuzz_target!(|data: &[u8]| {
    let whole = read(data);
    // What is decided from fewer bytes stays decided.
    let early = (0..data.len()).map(|cut| read(&data[..cut])).find(|early| *early != Ok(Read::Partial));
    if let Some(early) = early {
        assert_eq!(early, whole);
    }
    match whole {
        Ok(Read::Whole { len, header }) => {
            assert!(len <= data.len() && len <= V2_BYTES_MAX);
            let names = ["alpn", "ssl", "ssl_verify", "ssl_cn", "0xe0", "ssl_0x20", "none"];
            for name in header.iter().flat_map(|header| names.map(|name| header.tlv(name))) {
                let _ = name;
            }
        }
        Ok(Read::Partial) => assert!(data.len() < V2_BYTES_MAX),
        Err(fault) => assert!(!fault.explain(data).is_empty()),
    }
});
