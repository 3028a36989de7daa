//! Whom a stranger counts as when it is limited.

use std::net::{IpAddr, Ipv6Addr};

/// An IPv4 address, or the /64 of an IPv6 address, because one subscriber usually holds a whole /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source(Ipv6Addr);

impl Source {
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.to_ipv6_mapped()),
            IpAddr::V6(address) => Self(Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX))),
        }
    }

    /// Of the /64's first address; IPv4 as an IPv4-mapped IPv6 address.
    #[must_use]
    pub fn octets(self) -> [u8; 16] {
        self.0.octets()
    }
}
