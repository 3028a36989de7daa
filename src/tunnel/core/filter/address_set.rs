//! A set of addresses of both families, as sorted ranges.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Inclusive ranges; one range lies in one family.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct AddressSet(Vec<(IpAddr, IpAddr)>);

impl AddressSet {
    /// Every address there is.
    pub fn everything() -> Self {
        [
            (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into()),
            (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::from_bits(u128::MAX).into()),
        ]
        .into_iter()
        .collect()
    }

    /// Reads an address, a prefix, an inclusive range `a-b`, or `*`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::everything());
        }
        if let Some((first, last)) = text.split_once('-') {
            let range: (IpAddr, IpAddr) = (first.parse().ok()?, last.parse().ok()?);
            let is_range = range.0.is_ipv4() == range.1.is_ipv4() && range.0 <= range.1;
            return is_range.then(|| Self(vec![range]));
        }
        let prefix = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()?;
        Some(std::iter::once(prefix).collect())
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= address);
        // An IPv4 address sorts before every IPv6 address, so a range of the other family cannot contain it.
        after.checked_sub(1).is_some_and(|at| address <= self.0[at].1)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(IpAddr, IpAddr)> for AddressSet {
    fn from_iter<I: IntoIterator<Item = (IpAddr, IpAddr)>>(ranges: I) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().collect();
        ranges.sort_unstable();
        ranges.dedup_by(|next, kept| {
            let overlaps = next.0 <= kept.1;
            if overlaps {
                kept.1 = kept.1.max(next.1);
            }
            overlaps
        });
        Self(ranges)
    }
}

impl FromIterator<IpNet> for AddressSet {
    fn from_iter<I: IntoIterator<Item = IpNet>>(prefixes: I) -> Self {
        prefixes.into_iter().map(|prefix| (prefix.network(), prefix.broadcast())).collect()
    }
}

impl FromIterator<IpAddr> for AddressSet {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(addresses: I) -> Self {
        addresses.into_iter().map(|address| (address, address)).collect()
    }
}

impl FromIterator<Self> for AddressSet {
    fn from_iter<I: IntoIterator<Item = Self>>(sets: I) -> Self {
        sets.into_iter().flat_map(|set| set.0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn contains(set: &str, address: &str) -> bool {
        AddressSet::parse(set).expect("a spelling").contains(address.parse().expect("literal"))
    }

    #[test]
    fn each_spelling_is_read() {
        assert!(contains("100.64.0.1", "100.64.0.1") && !contains("100.64.0.1", "100.64.0.2"));
        assert!(contains("10.0.0.0/8", "10.255.255.255") && !contains("10.0.0.0/8", "11.0.0.0"));
        assert!(contains("10.0.0.5-10.0.0.7", "10.0.0.7") && !contains("10.0.0.5-10.0.0.7", "10.0.0.8"));
        assert!(contains("*", "0.0.0.0") && contains("*", "ffff::ffff"));
        assert!(contains("fd7a::/16", "fd7a::1") && !contains("10.0.0.0/8", "::10.0.0.1"));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "host", "10.0.0.7-10.0.0.5", "10.0.0.1-::1", "10.0.0.0/33", "cap:x"] {
            assert_eq!(AddressSet::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn merged_ranges_contain_what_the_single_ones_did(
            ranges in prop::collection::vec((any::<u8>(), any::<u8>()), 0..12),
            probe in any::<u8>(),
        ) {
            let address = |last: u8| IpAddr::from([10, 0, 0, last]);
            let expected = ranges.iter().any(|(a, b)| (*a.min(b)..=*a.max(b)).contains(&probe));
            let set: AddressSet = ranges.iter().map(|(a, b)| (address(*a.min(b)), address(*a.max(b)))).collect();
            prop_assert_eq!(set.contains(address(probe)), expected);
        }
    }
}
