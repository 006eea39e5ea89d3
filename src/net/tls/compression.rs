//! Certificates compressed with zlib on their way (RFC 8879). rustls keeps what it compressed.

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use rustls::CertificateCompressionAlgorithm;
use rustls::compress::{
    CertCompressor, CertDecompressor, CompressionFailed, CompressionLevel, DecompressionFailed,
};
use std::io::{Read, Write};

/// zlib, both ways.
#[derive(Debug)]
pub struct Zlib;

impl CertCompressor for Zlib {
    fn compress(&self, input: Vec<u8>, level: CompressionLevel) -> Result<Vec<u8>, CompressionFailed> {
        let level = match level {
            CompressionLevel::Interactive => Compression::default(),
            CompressionLevel::Amortized => Compression::best(),
        };
        let mut encoder = ZlibEncoder::new(Vec::new(), level);
        encoder.write_all(&input).and_then(|()| encoder.finish()).map_err(|_| CompressionFailed)
    }

    fn algorithm(&self) -> CertificateCompressionAlgorithm {
        CertificateCompressionAlgorithm::Zlib
    }
}

impl CertDecompressor for Zlib {
    /// Fills `output`, whose length the other side announced and rustls has bounded.
    fn decompress(&self, input: &[u8], output: &mut [u8]) -> Result<(), DecompressionFailed> {
        let mut decoder = ZlibDecoder::new(input);
        decoder.read_exact(output).map_err(|_| DecompressionFailed)?;
        // Nothing may be behind it.
        match decoder.read(&mut [0]) {
            Ok(0) => Ok(()),
            _ => Err(DecompressionFailed),
        }
    }

    fn algorithm(&self) -> CertificateCompressionAlgorithm {
        CertificateCompressionAlgorithm::Zlib
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn there_and_back() {
        let plain = b"certificate ".repeat(100);
        let packed = Zlib.compress(plain.clone(), CompressionLevel::Amortized).unwrap();
        assert!(packed.len() < plain.len() / 4);
        let mut back = vec![0; plain.len()];
        Zlib.decompress(&packed, &mut back).unwrap();
        assert_eq!(back, plain);
        assert!(Zlib.decompress(&packed, &mut back[1..]).is_err());
        assert!(Zlib.decompress(&packed, &mut vec![0; plain.len() + 1]).is_err());
        assert!(Zlib.decompress(b"nonsense", &mut back).is_err());
    }
}
