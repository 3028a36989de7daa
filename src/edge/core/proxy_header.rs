//! The header that tells an upstream who the client is: the PROXY protocol, as `HAProxy`'s `proxy-protocol.txt` defines it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Which form of the header goes before a connection's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// A line of text (section 2.1).
    V1,
    /// Binary (section 2.2).
    V2,
}

/// Starts every header of version 2; no other protocol starts so.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, and a connection made on behalf of another.
const VERSION_AND_COMMAND: u8 = 0x21;
/// Address family in the upper half, "stream" in the lower.
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// The bytes that go before all others to an upstream, for a connection from `client` to `local`.
///
/// IPv4 inside IPv6 (RFC 4291, section 2.5.5.2) is told as IPv4. Where only one address is IPv4, both are told as IPv6, for a
/// header has room for one family.
#[must_use]
pub fn header(version: ProxyProtocol, client: SocketAddr, local: SocketAddr) -> Vec<u8> {
    let ends = one_family(client.ip().to_canonical(), local.ip().to_canonical());
    let ports = (client.port(), local.port());
    match version {
        ProxyProtocol::V1 => text(ends, ports).into_bytes(),
        ProxyProtocol::V2 => binary(ends, ports),
    }
}

fn one_family(client: IpAddr, local: IpAddr) -> (IpAddr, IpAddr) {
    match (client, local) {
        (IpAddr::V4(client), IpAddr::V6(_)) => (client.to_ipv6_mapped().into(), local),
        (IpAddr::V6(_), IpAddr::V4(local)) => (client, local.to_ipv6_mapped().into()),
        same => same,
    }
}

fn text((client, local): (IpAddr, IpAddr), (from, to): (u16, u16)) -> String {
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    format!("PROXY {family} {} {} {from} {to}\r\n", spelled(client), spelled(local))
}

/// The protocol wants groups of four digits, where the usual spelling of a mapped address ends as IPv4 does.
fn spelled(address: IpAddr) -> String {
    match address {
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => mapped(address),
        _ => address.to_string(),
    }
}

fn mapped(address: Ipv6Addr) -> String {
    let [.., high, low] = address.segments();
    format!("::ffff:{high:x}:{low:x}")
}

fn binary((client, local): (IpAddr, IpAddr), (from, to): (u16, u16)) -> Vec<u8> {
    let (family, length) = if client.is_ipv4() { (TCP_OVER_IPV4, 12) } else { (TCP_OVER_IPV6, 36) };
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([VERSION_AND_COMMAND, family, 0, length]);
    for address in [client, local] {
        match address {
            IpAddr::V4(address) => bytes.extend(address.octets()),
            IpAddr::V6(address) => bytes.extend(address.octets()),
        }
    }
    bytes.extend(from.to_be_bytes());
    bytes.extend(to.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::ProxyProtocol::{V1, V2};
    use super::*;

    /// `PROXY TCP6`, two whole IPv6 addresses and two ports of five digits (section 2.1).
    const LENGTH_MAX: usize = 104;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn line(client: &str, local: &str) -> String {
        String::from_utf8(header(V1, at(client), at(local))).expect("text")
    }

    #[test]
    fn version_1_is_a_line_of_text() {
        assert_eq!(
            line("203.0.113.7:56324", "192.168.1.2:443"),
            "PROXY TCP4 203.0.113.7 192.168.1.2 56324 443\r\n"
        );
        assert_eq!(
            line("[2001:db8::7%3]:56324", "[fd00::2]:443"),
            "PROXY TCP6 2001:db8::7 fd00::2 56324 443\r\n",
            "no zone"
        );
    }

    #[test]
    fn version_2_is_signature_length_and_addresses() {
        let start = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x21];
        let ports = [0xdc, 0x04, 0x01, 0xbb];
        let v4 = header(V2, at("203.0.113.7:56324"), at("192.168.1.2:443"));
        let addresses = [203, 0, 113, 7, 192, 168, 1, 2];
        assert_eq!(v4, [&start[..], &[0x11, 0, 12], &addresses, &ports].concat());
        let v6 = header(V2, at("[2001:db8::7]:56324"), at("[fd00::2]:443"));
        let client = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
        let local = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
        assert_eq!(v6, [&start[..], &[0x21, 0, 36], &client, &local, &ports].concat());
    }

    #[test]
    fn ipv4_inside_ipv6_is_ipv4_and_a_mixed_pair_is_ipv6() {
        let (plain, inside) = ("203.0.113.7:1", "[::ffff:203.0.113.7]:1");
        for version in [V1, V2] {
            let expected = header(version, at(plain), at("192.0.2.1:2"));
            assert_eq!(header(version, at(inside), at("[::ffff:192.0.2.1]:2")), expected);
            assert_eq!(header(version, at(inside), at("192.0.2.1:2")), expected);
        }
        assert_eq!(line(plain, "[fd00::2]:2"), "PROXY TCP6 ::ffff:cb00:7107 fd00::2 1 2\r\n");
        assert_eq!(line("[fd00::2]:2", inside), "PROXY TCP6 fd00::2 ::ffff:cb00:7107 2 1\r\n");
        let mixed = header(V2, at(plain), at("[fd00::2]:2"));
        assert_eq!(mixed[13..16], [0x21, 0, 36]);
        assert_eq!(mixed[16..32], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 203, 0, 113, 7]);
    }

    #[test]
    fn the_longest_line_is_as_long_as_promised() {
        let longest = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535";
        assert_eq!(line(longest, longest).len(), LENGTH_MAX);
    }

    proptest! {
        #[test]
        fn lengths_are_those_of_the_family(client: SocketAddr, local: SocketAddr) {
            let is_v4 = client.ip().to_canonical().is_ipv4() && local.ip().to_canonical().is_ipv4();
            let binary = header(V2, client, local);
            prop_assert_eq!(binary.len(), if is_v4 { 28 } else { 52 });
            prop_assert_eq!(usize::from(u16::from_be_bytes([binary[14], binary[15]])), binary.len() - 16);
            let text = String::from_utf8(header(V1, client, local)).expect("text");
            prop_assert!(text.len() <= if is_v4 { 56 } else { LENGTH_MAX }, "{}", text);
            prop_assert!(text.ends_with("\r\n"));
            let words: Vec<&str> = text.trim_end().split(' ').collect();
            prop_assert_eq!(words.len(), 6);
            prop_assert!(words[2..4].iter().all(|word| word.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4() == is_v4)));
        }
    }
}
