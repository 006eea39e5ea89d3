//! The algorithms of signatures (RFC 7518, 3.1; RFC 8037). `none` is none.

/// An algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
#[repr(u8)]
pub enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    EdDsa,
}

/// Their names. `Ed25519` is the newer name of what `EdDSA` means here (RFC 9864).
const NAMES: [(&[u8], Algorithm); 14] = [
    (b"HS256", Algorithm::Hs256),
    (b"HS384", Algorithm::Hs384),
    (b"HS512", Algorithm::Hs512),
    (b"RS256", Algorithm::Rs256),
    (b"RS384", Algorithm::Rs384),
    (b"RS512", Algorithm::Rs512),
    (b"PS256", Algorithm::Ps256),
    (b"PS384", Algorithm::Ps384),
    (b"PS512", Algorithm::Ps512),
    (b"ES256", Algorithm::Es256),
    (b"ES384", Algorithm::Es384),
    (b"ES512", Algorithm::Es512),
    (b"EdDSA", Algorithm::EdDsa),
    (b"Ed25519", Algorithm::EdDsa),
];

impl Algorithm {
    /// The algorithm of this name, to the letter.
    pub fn parse(name: &[u8]) -> Option<Algorithm> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
    }
}

/// A set of algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Algorithms(u16);

impl Algorithms {
    /// None.
    pub const NONE: Algorithms = Algorithms(0);
    /// All that are offered.
    pub const ALL: Algorithms = Algorithms((1 << (Algorithm::EdDsa as u8 + 1)) - 1);

    /// One alone.
    pub fn of(algorithm: Algorithm) -> Algorithms {
        Algorithms(1 << algorithm as u8)
    }

    /// Both sets together.
    #[must_use]
    pub fn with(self, other: Algorithms) -> Algorithms {
        Algorithms(self.0 | other.0)
    }

    /// Whether it is in the set.
    pub fn has(self, algorithm: Algorithm) -> bool {
        self.0 & 1 << algorithm as u8 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_to_the_letter() {
        assert_eq!(Algorithm::parse(b"HS256"), Some(Algorithm::Hs256));
        for name in
            [&b"none"[..], b"None", b"nOnE", b"NONE", b"", b"hs256", b"HS256 ", b"HS1", b"ES256K", b"RSA1_5"]
        {
            assert_eq!(Algorithm::parse(name), None);
        }
        assert!(NAMES.iter().all(|(_, algorithm)| Algorithms::ALL.has(*algorithm)));
        let two = Algorithms::of(Algorithm::Rs256).with(Algorithms::of(Algorithm::EdDsa));
        assert!(
            two.has(Algorithm::EdDsa)
                && !two.has(Algorithm::Hs256)
                && !Algorithms::NONE.has(Algorithm::Hs256)
        );
    }
}
