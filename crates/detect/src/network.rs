//! The network a client speaks from.
//!
//! A single address is the wrong unit: a home line has 2⁶⁴ IPv6 addresses to spend, and a rented block of 256 IPv4 addresses
//! acts as one. We group by what is handed out as one piece: a /24 of IPv4, a /48 of IPv6.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A /24 of IPv4 or a /48 of IPv6. Two addresses of one group compare equal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(u64);

/// Above the 48 bits an IPv6 group needs; tells the families apart.
const IPV6: u64 = 1 << 63;

impl Group {
    /// `::ffff:a.b.c.d` is the IPv4 client it stands for: dual-stack sockets hand out that form.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(u64::from(address.to_bits() >> 8)),
            IpAddr::V6(address) => Self(IPV6 | truncate_to_48_bits(address)),
        }
    }

    /// The first address of the group.
    pub fn address(self) -> IpAddr {
        if self.0 & IPV6 == 0 {
            IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(self.0 << 8).unwrap_or(0)))
        } else {
            IpAddr::V6(Ipv6Addr::from_bits(u128::from(self.0 & !IPV6) << 80))
        }
    }

    /// A stable number for hashing and storing in tables.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// What [`Group::bits`] gave. Any number names some group.
    pub fn from_bits(bits: u64) -> Self {
        if bits & IPV6 == 0 {
            Self(bits & 0xff_ffff)
        } else {
            Self(bits & (IPV6 | 0xffff_ffff_ffff))
        }
    }
}

fn truncate_to_48_bits(address: Ipv6Addr) -> u64 {
    let high = address.to_bits() >> 80;
    u64::try_from(high).unwrap_or(0)
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = if self.0 & IPV6 == 0 { 24 } else { 48 };
        write!(f, "{}/{bits}", self.address())
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_fall_into_groups() {
        for (address, group) in [
            ("203.0.113.7", "203.0.113.0/24"),
            ("203.0.113.255", "203.0.113.0/24"),
            ("0.0.0.0", "0.0.0.0/24"),
            ("255.255.255.255", "255.255.255.0/24"),
            ("::ffff:203.0.113.9", "203.0.113.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
            ("2001:db8:1:ffff::", "2001:db8:1::/48"),
            ("2001:db8:2::1", "2001:db8:2::/48"),
            ("::1", "::/48"),
        ] {
            assert_eq!(
                Group::of(address.parse().unwrap()).to_string(),
                group,
                "{address}"
            );
        }
    }

    #[test]
    fn families_never_share_a_group() {
        assert_ne!(
            Group::of("0.0.0.0".parse().unwrap()),
            Group::of("::1".parse().unwrap())
        );
    }

    proptest! {
        #[test]
        fn bits_name_the_group(bits in any::<u128>(), v4 in any::<bool>()) {
            let address = if v4 {
                IpAddr::V4(Ipv4Addr::from_bits(bits as u32))
            } else {
                IpAddr::V6(Ipv6Addr::from_bits(bits))
            };
            let group = Group::of(address);
            prop_assert_eq!(Group::from_bits(group.bits()), group);
        }
    }
}
