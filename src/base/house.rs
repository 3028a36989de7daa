//! Which addresses are of the house: what is meant for its people never answers any other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether `address` is private (RFC 1918, RFC 4193), loopback, link-local, or in the ranges of a tailnet (100.64.0.0/10 and
/// `fd7a:115c:a1e0::/48`, the latter being a part of RFC 4193's).
#[must_use]
pub fn admits(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => admits_v4(address),
        IpAddr::V6(address) => admits_v6(address),
    }
}

fn admits_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    let tailnet = first == 100 && (64..128).contains(&second);
    address.is_private() || address.is_loopback() || address.is_link_local() || tailnet
}

fn admits_v6(address: Ipv6Addr) -> bool {
    address.is_loopback() || address.is_unicast_link_local() || address.is_unique_local()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_house_is_inside_and_the_internet_outside() {
        let inside = [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.9",
            "169.254.3.4",
            "100.64.0.1",
            "100.127.255.255",
            "::1",
            "fe80::1",
            "fd7a:115c:a1e0::1",
            "fc00::1",
            "::ffff:192.168.1.1",
        ];
        let outside = [
            "8.8.8.8",
            "172.32.0.1",
            "100.63.255.255",
            "100.128.0.0",
            "192.169.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "2001:db8::1",
            "::",
            "ff02::1",
            "::ffff:8.8.8.8",
        ];
        for text in inside {
            assert!(admits(text.parse().expect("an address")), "{text}");
        }
        for text in outside {
            assert!(!admits(text.parse().expect("an address")), "{text}");
        }
    }
}
