//! Which peer owns an address: longest prefix over the allowed IPs of all peers (WireGuard's cryptokey routing).
//!
//! The same table routes outgoing packets and checks the source of incoming ones.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::peer::PeerIndex;

/// One exact-match table per prefix length in use, longest first: a household has two or three lengths per family.
#[derive(Debug, Default)]
pub struct Router {
    ipv4: Vec<PrefixTable>,
    ipv6: Vec<PrefixTable>,
}

#[derive(Debug)]
struct PrefixTable {
    /// Of an address left-aligned in 128 bits.
    mask: u128,
    peers: HashMap<u128, PeerIndex>,
}

impl Router {
    /// Gives `prefix` to `peer`; a later peer takes the same prefix over, as in WireGuard.
    pub fn insert(&mut self, prefix: IpNet, peer: PeerIndex) {
        let tables = match prefix {
            IpNet::V4(_) => &mut self.ipv4,
            IpNet::V6(_) => &mut self.ipv6,
        };
        let mask = mask(prefix.prefix_len());
        let at = tables.partition_point(|table| table.mask > mask);
        if tables.get(at).is_none_or(|table| table.mask != mask) {
            tables.insert(at, PrefixTable { mask, peers: HashMap::new() });
        }
        tables[at].peers.insert(align(prefix.network()) & mask, peer);
    }

    #[must_use]
    pub fn lookup(&self, address: IpAddr) -> Option<PeerIndex> {
        let tables = match address {
            IpAddr::V4(_) => &self.ipv4,
            IpAddr::V6(_) => &self.ipv6,
        };
        let bits = align(address);
        tables.iter().find_map(|table| table.peers.get(&(bits & table.mask)).copied())
    }
}

fn align(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn mask(prefix_length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix_length)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn net(text: &str) -> IpNet {
        text.parse().expect("literal prefix")
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("literal address")
    }

    #[test]
    fn the_longest_prefix_wins_in_either_order_of_insertion() {
        let [node, subnet, exit] = [1, 2, 3].map(PeerIndex);
        let mut router = Router::default();
        router.insert(net("0.0.0.0/0"), exit);
        router.insert(net("100.64.0.2/32"), node);
        router.insert(net("100.64.0.0/24"), subnet);
        assert_eq!(router.lookup(address("100.64.0.2")), Some(node));
        assert_eq!(router.lookup(address("100.64.0.3")), Some(subnet));
        assert_eq!(router.lookup(address("8.8.8.8")), Some(exit));
        assert_eq!(router.lookup(address("fd7a:115c:a1e0::2")), None, "families do not mix");
    }

    #[test]
    fn the_same_prefix_goes_to_the_last() {
        let mut router = Router::default();
        router.insert(net("10.0.0.0/8"), PeerIndex(1));
        router.insert(net("10.0.0.0/8"), PeerIndex(2));
        assert_eq!(router.lookup(address("10.1.2.3")), Some(PeerIndex(2)));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_linear_search(
            prefixes in prop::collection::vec((any::<[u8; 4]>(), 0u8..=32), 1..40),
            probe in any::<[u8; 4]>(),
        ) {
            let mut router = Router::default();
            let prefixes: Vec<IpNet> = prefixes
                .into_iter()
                .map(|(octets, length)| IpNet::new(IpAddr::from(octets), length).expect("valid length").trunc())
                .collect();
            for (position, prefix) in (0..).zip(&prefixes) {
                router.insert(*prefix, PeerIndex(position));
            }
            let probe = IpAddr::from(probe);
            let best = (0..)
                .zip(&prefixes)
                .filter(|(_, prefix)| prefix.contains(&probe))
                .max_by_key(|(position, prefix)| (prefix.prefix_len(), *position))
                .map(|(position, _)| PeerIndex(position));
            prop_assert_eq!(router.lookup(probe), best);
        }
    }
}
