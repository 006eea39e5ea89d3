//! Networks: an address and how many of its leading bits count (RFC 4632, RFC 4291).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network of IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cidr {
    /// The network's address, and the mask of the bits that count.
    V4(u32, u32),
    /// The same in 128 bits.
    V6(u128, u128),
}

impl Cidr {
    /// Reads `address` or `address/bits`, and tells whether bits behind those that count were set,
    /// which mean nothing; `None` if it is neither.
    pub fn parse(text: &str) -> Option<(Cidr, bool)> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) if bits.bytes().all(|b| b.is_ascii_digit()) => {
                (address, Some(bits.parse::<u32>().ok()?))
            }
            Some(_) => return None,
            None => (text, None),
        };
        match address.parse().ok()? {
            IpAddr::V4(ip) => {
                let bits = bits.unwrap_or(u32::BITS);
                let mask = if bits > u32::BITS { None } else { Some(u32::MAX.checked_shl(32 - bits)) }?;
                let (address, mask) = (ip.to_bits(), mask.unwrap_or(0));
                Some((Cidr::V4(address & mask, mask), address & !mask != 0))
            }
            IpAddr::V6(ip) => {
                let bits = bits.unwrap_or(u128::BITS);
                let mask = if bits > u128::BITS { None } else { Some(u128::MAX.checked_shl(128 - bits)) }?;
                let (address, mask) = (ip.to_bits(), mask.unwrap_or(0));
                Some((Cidr::V6(address & mask, mask), address & !mask != 0))
            }
        }
    }

    /// The network that is one address.
    pub fn host(address: IpAddr) -> Cidr {
        match address {
            IpAddr::V4(ip) => Cidr::V4(ip.to_bits(), u32::MAX),
            IpAddr::V6(ip) => Cidr::V6(ip.to_bits(), u128::MAX),
        }
    }

    /// Whether it holds an address. An IPv4 address that came in IPv6's form (RFC 4291, 2.5.5.2) is
    /// looked for in networks of IPv4 alone, as in nginx.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self, plain(address)) {
            (Cidr::V4(network, mask), IpAddr::V4(ip)) => ip.to_bits() & mask == *network,
            (Cidr::V6(network, mask), IpAddr::V6(ip)) => ip.to_bits() & mask == *network,
            _ => false,
        }
    }

    /// The first address.
    pub fn network(&self) -> IpAddr {
        match *self {
            Cidr::V4(network, _) => Ipv4Addr::from_bits(network).into(),
            Cidr::V6(network, _) => Ipv6Addr::from_bits(network).into(),
        }
    }
}

/// An IPv4 address in IPv6's form as the IPv4 address that it is.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or(address, IpAddr::V4),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn networks_are_read() {
        for (text, first, low_bits) in [
            ("192.0.2.0/24", "192.0.2.0", false),
            ("192.0.2.1/24", "192.0.2.0", true),
            ("192.0.2.1", "192.0.2.1", false),
            ("0.0.0.0/0", "0.0.0.0", false),
            ("10.0.0.1/0", "0.0.0.0", true),
            ("192.0.2.1/32", "192.0.2.1", false),
            ("2001:db8::/32", "2001:db8::", false),
            ("2001:db8::1/32", "2001:db8::", true),
            ("::/0", "::", false),
            ("::1", "::1", false),
            ("::1/128", "::1", false),
        ] {
            let (cidr, low) = Cidr::parse(text).unwrap();
            assert_eq!((cidr.network().to_string().as_str(), low), (first, low_bits), "{text}");
        }
        for text in [
            "",
            "localhost",
            "192.0.2.0/33",
            "::/129",
            "192.0.2.0/",
            "192.0.2.0/+8",
            "192.0.2/24",
            "1.2.3.4/-1",
        ] {
            assert_eq!(Cidr::parse(text), None, "{text}");
        }
    }

    #[test]
    fn addresses_are_found() {
        let holds =
            |network: &str, address: &str| Cidr::parse(network).unwrap().0.contains(address.parse().unwrap());
        assert!(holds("192.0.2.0/25", "192.0.2.127") && !holds("192.0.2.0/25", "192.0.2.128"));
        assert!(holds("0.0.0.0/0", "255.255.255.255") && holds("::/0", "ff::"));
        assert!(!holds("0.0.0.0/0", "::1") && !holds("::/0", "127.0.0.1"));
        assert!(holds("127.0.0.0/8", "::ffff:127.0.0.1") && !holds("::/0", "::ffff:127.0.0.1"));
        assert!(Cidr::host("::1".parse().unwrap()).contains("::1".parse().unwrap()));
    }
}
