//! Which address a new node gets.
//!
//! IPv4 addresses come from 100.64.0.0/10, the only range clients treat as their own. The
//! IPv6 address is computed from the IPv4 one and needs no pool.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The node inside this process; never anybody else's.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 1);

const POOL_FIRST: u32 = u32::from_be_bytes([100, 64, 0, 0]);
const POOL_LAST: u32 = u32::from_be_bytes([100, 127, 255, 255]);
const POOL_SIZE: u32 = POOL_LAST - POOL_FIRST + 1;

/// Whether nodes may have the address at all: inside the pool and not set aside by the clients themselves.
///
/// Set aside are 100.100.0.0/16 (the resolver 100.100.100.100, and parts used by the hosted service), 100.115.92.0/23
/// (`ChromeOS`), and the first and last address of the pool.
#[must_use]
pub fn is_assignable(address: Ipv4Addr) -> bool {
    let [_, second, third, _] = address.octets();
    let number = u32::from(address);
    let is_inside = number > POOL_FIRST && number < POOL_LAST;
    is_inside && second != 100 && !(second == 115 && matches!(third, 92 | 93)) && address != GATEWAY
}

/// `fd7a:115c:a1e0:ab12:4843:cd96:6200::/104` with the low 24 bits of the IPv4 address.
#[must_use]
pub fn ipv6_of(address: Ipv4Addr) -> Ipv6Addr {
    let [_, b, c, d] = address.octets();
    let low = u16::from_be_bytes([c, d]);
    Ipv6Addr::new(0xfd7a, 0x115c, 0xa1e0, 0xab12, 0x4843, 0xcd96, 0x6200 | u16::from(b), low)
}

/// A free address, or `None` when the pool is exhausted.
///
/// The search begins after the last address given out, and comes to those of nodes that left only when it has gone round:
/// peers may remember them for a while.
pub fn choose(after: Ipv4Addr, is_taken: impl Fn(Ipv4Addr) -> bool) -> Option<Ipv4Addr> {
    let start = u32::from(after).saturating_sub(POOL_FIRST) % POOL_SIZE;
    (1..=POOL_SIZE)
        .map(|step| Ipv4Addr::from(POOL_FIRST + (start + step) % POOL_SIZE))
        .find(|address| is_assignable(*address) && !is_taken(*address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_ranges_are_never_assigned() {
        for address in [
            "100.64.0.0",
            "100.64.0.1",
            "100.127.255.255",
            "100.100.100.100",
            "100.100.0.7",
            "100.115.92.1",
            "100.115.93.255",
            "100.63.255.255",
            "100.128.0.0",
            "192.168.1.1",
        ] {
            assert!(!is_assignable(address.parse().expect("a test address")), "{address}");
        }
        for address in ["100.64.0.2", "100.99.255.255", "100.101.0.0", "100.115.91.255", "100.115.94.0"] {
            assert!(is_assignable(address.parse().expect("a test address")), "{address}");
        }
    }

    #[test]
    fn the_search_skips_what_is_taken_and_wraps() {
        let address = |last| Ipv4Addr::new(100, 64, 0, last);
        assert_eq!(choose(GATEWAY, |_| false), Some(address(2)));
        assert_eq!(choose(address(2), |candidate| candidate == address(3)), Some(address(4)));
        assert_eq!(choose(Ipv4Addr::new(100, 127, 255, 254), |_| false), Some(address(2)));
        assert_eq!(choose(Ipv4Addr::new(100, 99, 255, 255), |_| false), Some(Ipv4Addr::new(100, 101, 0, 0)));
        assert_eq!(choose(GATEWAY, |_| true), None);
    }

    #[test]
    fn ipv6_holds_the_low_bits_of_ipv4() {
        let expected: Ipv6Addr = "fd7a:115c:a1e0:ab12:4843:cd96:627f:fe05".parse().expect("a test address");
        assert_eq!(ipv6_of(Ipv4Addr::new(100, 127, 254, 5)), expected);
    }
}
